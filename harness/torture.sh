#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make torture: mm/tests/zsmalloc_torture.c on each of four kernels, two CPUs each:
#   uml    user-mode Linux at native speed: KASAN, lockdep, failing allocations
#   debug  x86-64: lockdep, poisoned memory, failing allocations, leaks
#   rt     x86-64: PREEMPT_RT, lockdep
#   kcsan  x86-64: data races and missing barriers
#   torture.sh [MINUTES]
#   MINUTES           for each kernel (default 5)
#   TORTURE_CONFIGS   only these kernels, "uml rt"
#   TORTURE_SEED      repeats the random numbers of an earlier run
#   TORTURE_PARAMS    more parameters of the test, for the kernel command line
# Ends with a table and a verdict.
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

# Additions to the command line, by kernel.  KCSAN sees a race only if the other CPU
# accesses the word that it watches at that moment: few objects, used all the time.
declare -A cmdline=(
	[uml]='zsmalloc_torture.faults=8'
	[debug]='numa=fake=2 zsmalloc_torture.faults=8 slab_debug=FZP page_poison=1'
	[rt]=''
	[kcsan]='zsmalloc_torture.objects=32'
)

declare -A took others	# by kernel: seconds; reports of races not in zsmalloc

boot() { # boot CONFIG CONSOLE
	local config=$1 console=$2 limit=$((minutes * 60 + 300)) start=$SECONDS status=0
	local line="oops=panic zs.job=torture zs.args=$((minutes * 60))"
	line+=" zsmalloc_torture.seed=$TORTURE_SEED zsmalloc_torture.interval=30"
	line+=" ${cmdline[$config]} $TORTURE_PARAMS"
	if [[ $config == uml ]]; then
		# shellcheck disable=SC2086 # several arguments
		uml "$BUILD/torture-uml/linux" "$MEMORY" "$limit" "$console" \
			"initrd=$BUILD/initramfs.gz" stderr=1 panic=-1 $line || status=$?
	else
		guest "$BUILD/torture-$config/vmlinux" "$MEMORY" "$limit" "$console" \
			/dev/null "$line" -initrd "$BUILD/initramfs.gz" || status=$?
	fi
	took[$config]=$((SECONDS - start))
	return "$status"
}

# The last report, if any, as "KEY=VALUE" lines
figures() { # figures CONSOLE
	tr -d '\r' < "$1" | sed -n "/${REPORT_RE}end:/p" | tail -n 1 |
		sed -E 's/ ([a-z ]+)=([0-9]+)/\n\1=\2/g'
}


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
		'compacted pages' pools faults 'failed mallocs' 'offlined cpus'; do
		[[ $figure != fa* || ${cmdline[$config]} == *faults=* ]] || continue
		# User-mode Linux has no CPU hotplug.
		[[ $figure != off* || $config != uml ]] || continue
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
		'compacted pages' pools faults 'offlined cpus' errors; do
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
	local config console status
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
		follow "$console" \
			"s/^.*$REPORT_RE/    /; T; s/ writes=.* errors/ ... errors/; p" \
			boot "$config" "$console" || status=$?
		check "$config" "$console" "$status"
	done

	table
	finish torture "${#configs[@]} kernels, $minutes minutes each, no error and no splat"
}

main
