# SPDX-License-Identifier: GPL-2.0
# Compares the rounds of the scenario ageing, see zs_bench.c:  awk -f ageing.awk VALUES
# VALUES is that of summary.awk.  Prints a line for each platform, and one that begins with
# "worse" for what must not be: a round in which ours takes more memory than the base, in all
# boots, or a shrinker that promises 5 % more or less than it can free.

$3 ~ /^ageing.round_/ {
	if (!(($1, $2, $3) in least) || $4 < least[$1, $2, $3])
		least[$1, $2, $3] = $4
	if ($4 > most[$1, $2, $3])
		most[$1, $2, $3] = $4
	rounds[$1, $3] = 1
}
$2 == "ours" && $3 ~ /^ageing.(promised_in_vain|not_promised)$/ && $4 > 5 {
	print "worse " $1 ": " $3 " is " $4 " %, more than 5 %"
}
END {
	for (key in rounds) {
		split(key, f, SUBSEP)
		if (!((f[1], "base", f[2]) in least) || !((f[1], "ours", f[2]) in least))
			continue
		nr[f[1]]++
		ratio = least[f[1], "ours", f[2]] / most[f[1], "base", f[2]]
		if (ratio > 1)
			worse[f[1]]++
		if (ratio > worst[f[1]])
			worst[f[1]] = ratio
	}
	for (platform in nr) {
		printf "%s: a pool that grows old takes at most %.4f times the memory of the base, " \
			"in the worst of %d rounds\n", platform, worst[platform], nr[platform]
		if (worse[platform])
			printf "worse %s: in %d of %d rounds a pool that grows old takes more memory\n", \
				platform, worse[platform], nr[platform]
	}
}
