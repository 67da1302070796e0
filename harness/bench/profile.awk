# SPDX-License-Identifier: GPL-2.0
# Prints the instructions per operation of each function, as PHASE FUNCTION
# INSTRUCTIONS, from QEMU's log (-d in_asm,exec,nochain).
#   awk -v phases='FIRST=OPERATION=NAME ...' -f profile.awk LOG
# A phase begins when FIRST is entered; its number of operations is how often OPERATION
# is entered in it.  The log is on only while a phase runs.  Its blocks are straight
# runs of instructions.  Their translation has the number of instructions, or their
# flags have it if QEMU executed only the first few (for a timer, or one by one next to
# a breakpoint).
BEGIN {
	for (n = split(phases, f, " "); n; n--) {
		split(f[n], p, "=")
		operation[p[1]] = p[2]
		name[p[1]] = p[3]
	}
}

function digit(s, i) { return index("123456789abcdef", substr(s, i, 1)) }

/^IN:/ { symbol = $2; block = "" }
/^0x/ {
	if (block == "") {
		block = substr($1, 3, length($1) - 3)
		instructions = 0
		symbols[block] = symbol
		if (!(symbol in entry) || block < entry[symbol])
			entry[symbol] = block
	}
	if (++instructions > blocks[block])
		blocks[block] = instructions
}
/^Trace/ {
	split($4, f, "/")
	block = f[2]
	symbol = symbols[block]
	if (symbol in operation && block == entry[symbol])
		phase = symbol
	if (phase == "")
		next
	if (block == entry[operation[phase]])
		operations[phase]++
	few = digit(f[4], 6) % 2 * 256 + digit(f[4], 7) * 16 + digit(f[4], 8)
	if (few)
		spent[phase, symbol] += few
	else
		count[phase, block]++
}
END {
	for (key in count) {
		split(key, f, SUBSEP)
		spent[f[1], symbols[f[2]]] += count[key] * blocks[f[2]]
	}
	for (key in spent) {
		split(key, f, SUBSEP)
		if (operations[f[1]])
			print name[f[1]], f[2], spent[key] / operations[f[1]]
	}
}
