# SPDX-License-Identifier: GPL-2.0
# Makes bench.csv of all figures:  awk -f summary.awk keys.tsv VALUES
# VALUES has a line "PLATFORM SIDE KEY VALUE" for each figure of each boot.

BEGIN { FS = "\t"; OFS = "," }

function sorted(s,   n, i, j, t) {
	n = split(s, v, " ")
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) {
			t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
		}
	min = v[1]; max = v[n]
	median = n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

NR == FNR && /^#/ { next }
NR == FNR { order[++nr] = $1; better[$1] = $2; text[$1] = $3; next }
{
	split($0, f, " ")
	if (!(f[1] in seen)) { seen[f[1]] = 1; platform[++np] = f[1] }
	values[f[1], f[2], f[3]] = values[f[1], f[2], f[3]] " " f[4]
}

END {
	print "platform", "key", "what", "better", "base", "base_min", "base_max", \
		"ours", "ours_min", "ours_max", "ratio"
	for (p = 1; p <= np; p++)
		for (i = 1; i <= nr; i++) {
			k = order[i]
			b = values[platform[p], "base", k]
			o = values[platform[p], "ours", k]
			if (b == "" || o == "")
				continue
			sorted(b); bm = median; b0 = min; b1 = max
			sorted(o)
			gsub(",", "", text[k])
			print platform[p], k, text[k], better[k], bm, b0, b1, \
				median, min, max, bm + 0 ? sprintf("%.3f", median / bm) : "-"
		}
}
