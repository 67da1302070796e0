#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make soak: zram and zswap swap real data in and out, and each byte is verified,
# while memory is compacted in a loop, on a debug kernel; then 500 pools are created and
# destroyed, while debugfs is read.
#   soak.sh [MINUTES]
#   MINUTES   how long (default 10)
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/guest.sh"

knob MINUTES 10

MINUTES=${1:-$MINUTES}
MEMORY=768	# MB
WORKERS=(zram1 zram2 zswap1 zswap2)

console=$LOGS/soak.log
results=$BUILD/soak.results
swap=$BUILD/soak-swap.img

boot() {
	local status=0
	rm -f "$swap"
	truncate -s 96M "$swap"
	step "Soak: $MINUTES minutes in a guest with $MEMORY MB, $GUEST_CPUS CPUs, lockdep"
	follow "$console" 's/^guest: /    /p' \
		guest "$BUILD/x86-debug/vmlinux" "${MEMORY}M" $((MINUTES * 60 + 600)) \
		"$console" "$results" \
		"kunit.enable=0 zs.job=soak zs.args=$((MINUTES * 60))" \
		-initrd "$BUILD/initramfs.gz" \
		-drive "file=$BUILD/data.img,if=virtio,format=raw,readonly=on" \
		-drive "file=$swap,if=virtio,format=raw,cache=unsafe" || status=$?
	rm -f "$swap"
	check_guest 'the guest' "$status" "$console" "$GUEST_END 0"
}

r() { guest_result "$results" "$1" 0; }
row() { printf '  %-44s %s\n' "$1" "$2"; }

sum() { # sum SUFFIX: of all workers
	local worker n=0
	for worker in "${WORKERS[@]}"; do
		n=$((n + $(r "${worker}_$1")))
	done
	echo "$n"
}

table() {
	printf '\n'
	row 'bytes checked' "$(sum checked)"
	row '  wrong' "$(sum wrong)"
	row 'pages stored in zswap / loaded / written back' "$(r zswpout) / $(r zswpin) / $(r zswpwb)"
	row 'pages written to zram / read' "$(r zram_writes) / $(r zram_reads)"
	row 'pages written to the disk / read' "$(r disk_writes) / $(r disk_reads)"
	row 'compactions of all memory' "$(r compactions)"
	row 'pages migrated / failed, all owners' "$(r pgmigrate_success) / $(r pgmigrate_fail)"
	row 'zsmalloc pages isolated' "$(r zs_isolated)"
	row '  migrated / failed / put back' "$(r zs_migrated) / $(r zs_not_migrated) / $(r zs_putback)"
	row 'pools created and destroyed / readings of debugfs' "$(r resets) / $(r readings)"
}

check() {
	local error wrong worker counter
	error=$(guest_result "$results" error)
	[[ -z $error ]] || problem "$error"
	[[ $(r finished) == 1 ]] || problem "the soak did not finish"
	wrong=$(sum wrong)
	((wrong == 0)) || problem "$wrong wrong bytes"
	for worker in "${WORKERS[@]}"; do
		(($(r "${worker}_checked") > 0)) || problem "worker $worker checked nothing"
	done
	for counter in zswpout zswpin zram_writes zram_reads disk_writes pswpin pswpout \
		pgmigrate_success; do
		(($(r $counter) > 0)) || problem "$counter is 0: this half did not really swap"
	done
	(($(r readings) > 10)) || problem "debugfs was read only $(r readings) times"
	[[ $(r zs_migrated) == 'not traced' ]] || (($(r zs_migrated) > 0)) ||
		problem "no zsmalloc page was migrated"
}

main() {
	[[ $MINUTES =~ ^[1-9][0-9]*$ ]] ||
		die "MINUTES must be a positive number, not '$MINUTES'"
	prepare_guest x86-debug
	"$LIB/data.sh"
	trap 'rm -f "$swap"' EXIT
	boot
	table
	check
	finish soak "$MINUTES minutes, $(sum checked) bytes checked, none wrong, no splat"
}

main
