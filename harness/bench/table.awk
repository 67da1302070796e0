# SPDX-License-Identifier: GPL-2.0
# Prints a table for each platform in bench.csv:
#   awk -F, -v names="PLATFORM=TITLE\n..." -f title.awk -f table.awk bench.csv

function spread(m, a, b) { return m + 0 ? sprintf("%.1f", (b - a) * 100 / m) : "-" }

NR == 1 { next }

$1 != last {
	last = $1
	printf "\n  %-58s %12s %6s %12s %6s %7s\n", title($1), \
		"base", "+-%", "ours", "+-%", "ratio"
}
{
	printf "%s %-58s %12s %6s %12s %6s %7s\n", $4, $3, $5, \
		spread($5, $6, $7), $8, spread($8, $9, $10), $11
}
