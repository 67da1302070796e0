#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Searches the console log of a guest for warnings and errors of the kernel, and for the
# mark that the guest prints at its end.
#   splat.sh LOG [END-MARK]
# On any finding the status is not 0, the first line printed says what was found, and the
# others are its context.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SPLAT_RE='BUG:|BUG at |WARNING:|WARNING at |KASAN|KCSAN:|UBSAN|Oops'
SPLAT_RE+='|general protection|[Kk]ernel panic|unable to handle|Bad page'
SPLAT_RE+='|INFO: possible|possible (circular|recursive|irq lock|deadlock)'
SPLAT_RE+='|inconsistent lock|suspicious RCU|INFO: rcu|INFO: task .* blocked'
SPLAT_RE+='|INFO: trying to register|soft lockup|hard LOCKUP|Call Trace'
SPLAT_RE+='|kmemleak|sleeping function called|scheduling while atomic'
SPLAT_RE+='|page allocation failure|refcount_t:|list_(add|del) corruption'
SPLAT_RE+='|DEBUG_LOCKS_WARN_ON|stack trace:|Out of memory|oom-kill|segfault'
SPLAT_RE+='|I/O error|Read-error on swap|Write-error on swap'

# Lines of a healthy kernel that match the expression above
HARMLESS_RE='KernelAddressSanitizer initialized|KASAN: (initialized|shadow)'
HARMLESS_RE+='|kmemleak: Kernel memory leak detector initialized'
HARMLESS_RE+='|kmemleak: Automatic memory scanning thread started'

# splat_check LOG [END-MARK]
splat_check() {
	local log=$1 mark=${2:-} hits
	if [[ ! -s $log ]]; then
		echo "no console output in $log: the guest did not start" >&2
		return 1
	fi
	hits=$(grep -a -n -E "$SPLAT_RE" "$log" | grep -a -v -E "$HARMLESS_RE" |
		tr -d '\r' || true)
	if [[ -n $hits ]]; then
		echo "kernel splat in $log, $(wc -l <<< "$hits") lines: ${hits%%$'\n'*}" >&2
		sed -n 2,5p <<< "$hits" >&2
		echo '--- context of the first' >&2
		sed -n "$(splat_range "${hits%%:*}")p" "$log" >&2
		echo '---' >&2
		return 1
	fi
	if [[ -n $mark ]] && ! grep -a -q -F -- "$mark" "$log"; then
		echo "the guest died or hung before its end ('$mark' is not in $log), last lines:" >&2
		tail -n 10 "$log" >&2
		return 1
	fi
}

splat_range() {
	local line=$1
	echo "$((line > 3 ? line - 3 : 1)),$((line + 40))"
}

# without_others_races CONSOLE COUNT FUNCTIONS: KCSAN also finds races of the kernel's
# core.  Prints CONSOLE without the reports that have none of FUNCTIONS, and writes the
# number of these reports to the file COUNT.
without_others_races() {
	awk -v functions="$3" -v count="$2" '
	BEGIN {
		n = split(functions, f, "\n")
		for (i = 1; i <= n; i++)
			ours[f[i]] = 1
	}
	function end_report() {
		if (is_report && !is_ours)
			others++
		else
			printf "%s", text
		text = ""
		inside = is_report = is_ours = below = 0
	}
	{
		line = $0
		sub(/\r$/, "", line)
		sub(/^\[ *[0-9.]+\](\[[^]]*\])? /, "", line)
	}
	line ~ /^=+$/ && !inside { inside = 1; text = $0 "\n"; next }
	!inside { print; next }
	{ text = text $0 "\n" }
	line ~ /BUG: KCSAN:/ { is_report = 1 }
	# Functions below an interrupt, or below the sleep at a race point, do not
	# take part in the race.
	line == "" { below = 0 }
	line ~ /^ (asm_|usleep_range)/ { below = 1 }
	line ~ /^ [^ ]+\+0x/ && !below {
		name = line
		sub(/^ /, "", name)
		sub(/\+0x.*/, "", name)
		sub(/\.(isra|constprop|part|cold).*/, "", name)
		if (name in ours)
			is_ours = 1
	}
	line ~ /^=+$/ { end_report() }
	END {
		# Cut off in the middle
		printf "%s", text
		print others + 0 > count
	}' "$1"
}

main() {
	(($# == 1 || $# == 2)) || die "usage: splat.sh LOG [END-MARK]"
	splat_check "$@"
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
