# SPDX-License-Identifier: GPL-2.0
# Makes a plot (SVG) of bench.csv:
#   awk -F, -v names="PLATFORM=TITLE\n..." -f title.awk -f plot.awk bench.csv
# A bar for each figure, to the right if ours is better, with a length that is the
# factor on a logarithmic scale; below these the cost of operations by the size of the
# pool.

function escape(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	return s
}

function text(x, y, s, attributes) {
	body = body sprintf("<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, attributes, escape(s))
}

function line(x1, y1, x2, y2, colour) {
	body = body sprintf("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", \
		x1, y1, x2, y2, colour)
}

# The position of a factor on the scale
function at(factor,   x) {
	x = log(factor) / log(2)
	x = x < -LOW ? -LOW : x > HIGH ? HIGH : x
	return LEFT + (x + LOW) * STEP
}

function scale(   i) {
	for (i = -LOW; i <= HIGH; i++)
		text(LEFT + (i + LOW) * STEP, y, i < 0 ? "1/" 2 ^ -i : 2 ^ i, \
			"text-anchor=\"middle\" fill=\"#666\"")
	y += 6
}

function bar(what, factor, from, to,   a, b, i) {
	for (i = -LOW; i <= HIGH; i++)
		line(LEFT + (i + LOW) * STEP, y, LEFT + (i + LOW) * STEP, y + ROW, i ? "#e4e4e4" : "#666")
	a = at(factor < 1 ? factor : 1)
	b = at(factor < 1 ? 1 : factor)
	body = body sprintf("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", \
		a, y + 2, b - a + 0.5, ROW - 4, factor < 1 ? "#d95f02" : "#1b7f9e")
	text(LEFT - 8, y + ROW - 4, what, "text-anchor=\"end\"")
	text(LEFT + (LOW + HIGH) * STEP + 12, y + ROW - 4, sprintf("%s / %s", from, to), "fill=\"#666\"")
	y += ROW
}

# curve[side, operation, size] of one platform
function curves(   o, s, i, x, px, py, top, most, colour, height) {
	height = 140
	for (o = 1; o <= 3; o++) {
		x = 40 + (o - 1) * 320
		most = 0
		for (i = 1; i <= 5; i++)
			for (s = 1; s <= 2; s++)
				if (curve[SIDES[s], OPERATIONS[o], SIZES[i]] + 0 > most)
					most = curve[SIDES[s], OPERATIONS[o], SIZES[i]] + 0
		if (!most)
			continue
		top = y + 20
		text(x, y + 8, OPERATIONS[o] ", by MB in the pool", "font-weight=\"bold\"")
		line(x, top + height, x + 270, top + height, "#666")
		for (i = 1; i <= 5; i++)
			text(x + i * 50, top + height + 16, SIZES[i], "text-anchor=\"middle\" fill=\"#666\"")
		for (s = 1; s <= 2; s++) {
			px = ""
			colour = s == 1 ? "#d95f02" : "#1b7f9e"
			for (i = 1; i <= 5; i++) {
				v = curve[SIDES[s], OPERATIONS[o], SIZES[i]]
				if (v == "")
					continue
				if (px != "")
					line(px, py, x + i * 50, top + height - v / most * height * 0.9, colour)
				px = x + i * 50
				py = top + height - v / most * height * 0.9
			}
			if (px != "")
				text(px + 6, py + 4, SIDES[s] " " curve[SIDES[s], OPERATIONS[o], SIZES[5]], "fill=\"" colour "\"")
		}
	}
	y += height + 50
}

function end_platform() {
	if (last == "")
		return
	y += 14
	if (has_curve)
		curves()
	split("", curve)
	has_curve = 0
}

BEGIN {
	LEFT = 400; STEP = 64; LOW = 2; HIGH = 5; ROW = 17
	split("base ours", SIDES, " ")
	split("malloc read free", OPERATIONS, " ")
	split("4 16 64 256 1024", SIZES, " ")
	y = 24
	text(20, y, "zsmalloc: base kernel against this one; to the right: this one is better, by that factor; base / ours", \
		"font-size=\"14\" font-weight=\"bold\"")
	y += 12
}

FNR == 1 { next }

$1 != last {
	end_platform()
	last = $1
	y += 26
	text(20, y, title($1), "font-size=\"13\" font-weight=\"bold\"")
	y += 18
	scale()
}

$2 ~ /^curve\./ {
	split(substr($2, 7), part, "_")
	curve["base", part[1], part[2]] = $5
	curve["ours", part[1], part[2]] = $8
	has_curve = 1
	next
}

$4 != "=" && $5 > 0 && $8 > 0 { bar($3, $4 == "+" ? $8 / $5 : $5 / $8, $5, $8) }

END {
	end_platform()
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1080\" height=\"%d\" font-family=\"sans-serif\" font-size=\"11\">\n", y + 10
	printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n%s</svg>\n", body
}
