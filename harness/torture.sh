#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make torture MINUTES=n: mm/tests/zsmalloc_torture.c for n minutes (default 5)
# on each of four kernels, two CPUs each:
#   uml    user-mode Linux at native speed: KASAN, lockdep, failing allocations
#   debug  x86-64: lockdep, poisoned memory, failing allocations, leaks
#   rt     x86-64: PREEMPT_RT, lockdep
#   kcsan  x86-64: data races and missing barriers
# TORTURE_CONFIGS="uml rt" chooses among them, TORTURE_SEED=n repeats a run's
# random numbers, TORTURE_PARAMS has more of the test's parameters for the
# kernel command line.  Ends with one table, and one verdict.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/guest.sh"

MEMORY=1G
REPORT_RE='zsmalloc-torture: '

knob MINUTES 5
knob TORTURE_CONFIGS 'uml debug rt kcsan'
knob TORTURE_SEED 0
knob TORTURE_PARAMS

minutes=${1:-$MINUTES}
read -r -a configs <<< "$TORTURE_CONFIGS"

# What each of them adds to the command line.  KCSAN sees a race only if someone
# comes to the very word that it is watching: few objects, used all the time.
declare -A cmdline=(
	[uml]='zsmalloc_torture.faults=8'
	[debug]='numa=fake=2 zsmalloc_torture.faults=8 slab_debug=FZP page_poison=1'
	[rt]=''
	[kcsan]='zsmalloc_torture.objects=32'
)

boot() { # boot CONFIG CONSOLE
	local config=$1 console=$2 limit=$((minutes * 60 + 300))
	local line="oops=panic zs.job=torture zs.args=$((minutes * 60))"
	line+=" zsmalloc_torture.seed=$TORTURE_SEED zsmalloc_torture.interval=30"
	line+=" ${cmdline[$config]} $TORTURE_PARAMS"
	if [[ $config == uml ]]; then
		# shellcheck disable=SC2086 # several arguments
		uml "$BUILD/torture-uml/linux" "$MEMORY" "$limit" "$console" \
			"initrd=$BUILD/initramfs.gz" stderr=1 panic=-1 $line
	else
		guest "$BUILD/torture-$config/vmlinux" "$MEMORY" "$limit" "$console" \
			/dev/null "$line" -initrd "$BUILD/initramfs.gz"
	fi
}

# The last report as "KEY=VALUE" lines; nothing if there is none
figures() { # figures CONSOLE
	tr -d '\r' < "$1" | sed -n "/${REPORT_RE}end:/p" | tail -n 1 |
		sed -E 's/ ([a-z ]+)=([0-9]+)/\n\1=\2/g'
}

declare -A took others

check() { # check CONFIG CONSOLE STATUS
	local config=$1 console=$2 status=$3 figure value log=$2
	others[$config]=-
	if [[ $config == kcsan ]]; then
		log=$console.ours
		without_others_races "$console" "$console.others" \
			"$(nm "$BUILD/torture-kcsan/mm/zsmalloc.o" |
				awk '$2 ~ /[tT]/ { print $3 }')" > "$log"
		others[$config]=$(< "$console.others")
		grep -a -q 'kcsan: enabled' "$console" ||
			problem "kcsan: it was not enabled"
	fi
	check_guest "$config" "$status" "$log" "$GUEST_END 0"
	grep -a -q -E "Brought up [12] nodes?, $GUEST_CPUS CPUs" "$console" ||
		problem "$config: not $GUEST_CPUS CPUs"
	grep -a -q "${REPORT_RE}end: SUCCESS" "$console" ||
		problem "$config: the torture did not end in success"

	figures "$console" > "$console.figures"
	for figure in reads 'forwarded reads' writes frees migrations putbacks \
		'compacted pages' pools faults 'failed mallocs'; do
		[[ $figure != fa* || ${cmdline[$config]} == *faults=* ]] || continue
		value=$(sed -n "s/^$figure=//p" "$console.figures")
		((${value:-0} > 0)) || problem "$config: no $figure"
	done
}

row() { # row NAME CELL...
	local cell
	printf '  %-22s' "$1"
	shift
	for cell; do
		printf ' %11s' "${cell:--}"
	done
	printf '\n'
}

table() {
	local config figure cells
	printf '\n'
	row '' "${configs[@]}"
	for figure in seed operations reads 'forwarded reads' writes mallocs \
		'failed mallocs' frees migrations 'failed migrations' putbacks \
		'compacted pages' pools faults errors; do
		cells=()
		for config in "${configs[@]}"; do
			cells+=("$(sed -n "s/^$figure=//p" \
				"$LOGS/torture-$config.log.figures")")
		done
		row "$figure" "${cells[@]}"
	done
	cells=()
	for config in "${configs[@]}"; do
		cells+=("${others[$config]}")
	done
	row "races of others" "${cells[@]}"
	cells=()
	for config in "${configs[@]}"; do
		cells+=("$(elapsed "${took[$config]}")")
	done
	row 'took, boot included' "${cells[@]}"
}

main() {
	local config console status start
	[[ $minutes =~ ^[1-9][0-9]*$ ]] ||
		die "MINUTES must be a positive number, not '$minutes'"
	[[ $TORTURE_SEED =~ ^[0-9]+$ ]] || die "TORTURE_SEED must be a number, not '$TORTURE_SEED'"
	((${#configs[@]})) || die "TORTURE_CONFIGS is empty"
	for config in "${configs[@]}"; do
		[[ -v cmdline[$config] ]] ||
			die "TORTURE_CONFIGS: any of ${!cmdline[*]}, not '$config'"
	done
	prepare_guest "${configs[@]/#/torture-}"

	for config in "${configs[@]}"; do
		step "Torture, $config: $minutes minutes, $GUEST_CPUS CPUs"
		console=$LOGS/torture-$config.log
		status=0
		start=$SECONDS
		# The test's reports
		follow "$console" \
			"s/^.*$REPORT_RE/    /; T; s/ writes=.* errors/ ... errors/; p" \
			boot "$config" "$console" || status=$?
		took[$config]=$((SECONDS - start))
		check "$config" "$console" "$status"
	done

	table
	finish torture "${#configs[@]} kernels, $minutes minutes each, no error and no splat"
}

main
