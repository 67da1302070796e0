#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make run: the main job on real data, with zsmalloc page migration off and on.
# Ends with a table of both, and writes a page with maps of the guests' memory,
# build/run/report.html (see report/run.py), and a still of it, run.svg.  Fails if data was damaged, if the kernel printed a
# warning, or if migration made no difference.
#   QUICK=1       a smaller guest, for make test
#   RUN_TIMEOUT   seconds that a guest may take
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/guest.sh"

knob QUICK
knob RUN_TIMEOUT 240

# MEMORY of the guest.  At most DATA is swapped out in it, until zram takes POOL (all
# in MB).  Of each KEEP runs of RUN pages one stays.
if [[ -n $QUICK ]]; then
	MEMORY=320 DATA=500 POOL=215
else
	MEMORY=512 DATA=768 POOL=370
fi
KEEP=8 RUN=64
REPORT=$BUILD/run/report.html
STILL=$BUILD/run/run.svg

# The type of zsmalloc's pages in struct page, which differs from kernel to kernel
zsmalloc_type() {
	sed -n -E 's/^\tPGTY_zsmalloc[[:space:]]*= (0x[0-9a-f]+),$/\1/p' \
		"$BUILD/tree/include/linux/page-flags.h"
}

boot() { # boot off|on TYPE
	local name=$1 type=$2 label="the guest with migration $1" migration=1 start=$SECONDS
	local console=$LOGS/run-$name.log results=$BUILD/run-$name.results status=0
	[[ $name == on ]] || migration=0
	step "Guest with $MEMORY MB, $GUEST_CPUS CPUs, zsmalloc page migration $name (about a minute)"
	follow "$console" 's/\r//; s/^guest: /    /p' \
		guest "$BUILD/x86/vmlinux" "${MEMORY}M" "$RUN_TIMEOUT" "$console" "$results" \
		"kunit.enable=0 zsmalloc.migration=$migration zs.job=run zs.args=$DATA,$POOL,$KEEP,$RUN,$type" \
		-initrd "$BUILD/initramfs.gz" \
		-drive "file=$BUILD/data.img,if=virtio,format=raw,readonly=on" || status=$?
	info "took $(elapsed $((SECONDS - start)))"

	check_guest "$label" "$status" "$console" "$GUEST_END 0"
	[[ -z $(guest_result "$results" error) ]] ||
		problem "$label: $(guest_result "$results" error)"
	[[ $(guest_result "$results" finished) == 1 ]] ||
		problem "$label: the job did not finish"
	[[ $(guest_result "$results" wrong none) == 0 ]] ||
		problem "$label: $(guest_result "$results" wrong unknown) wrong bytes"
	(($(guest_result "$results" checked 0) > 0)) ||
		problem "$label: no byte was checked"
}

off() { guest_result "$BUILD/run-off.results" "$1" '?'; }
on()  { guest_result "$BUILD/run-on.results" "$1" '?'; }

row()  { printf '  %-38s %18s %18s\n' "$1" "$2" "$3"; }
both() { row "$1" "$(off "$2")" "$(on "$2")"; }

ratio() { # ratio ORIG COMPRESSED
	awk -v a="$1" -v b="$2" 'BEGIN { if (b + 0) printf "%.2f", a / b; else print "?" }'
}

table() {
	printf '\n'
	row '' 'migration off' 'migration on'
	both 'data swapped out, MB' swapped_mb
	row 'compression ratio (data / pool memory)' \
		"$(ratio "$(off orig)" "$(off mem_used)")" \
		"$(ratio "$(on orig)" "$(on mem_used)")"
	both 'zsmalloc pages, all data in swap' zspages_full
	both 'zsmalloc pages, at huge page request' zspages
	both 'free memory then, MB' free_mb
	both 'free in 2 MB blocks, before compaction' huge_free_before
	both 'free in 2 MB blocks, after compaction' huge_free_after
	both 'huge pages obtained (2 MB each)' huge
	both 'zsmalloc pages isolated' zs_isolated
	both '  not isolated' zs_not_isolated
	both 'zsmalloc pages migrated' zs_migrated
	both '  failed' zs_not_migrated
	both '  put back' zs_putback
	both 'all owners, since boot: isolated' compact_isolated
	both '  migrated' pgmigrate_success
	both '  failed' pgmigrate_fail
	both 'bytes checked after swap-in' checked
	both '  wrong' wrong
	both 'duration, s' duration
	printf '\n  free blocks per order 0..10 (4 KB .. 4 MB)\n'
	printf '    %-22s %s\n' 'off, before compaction' "$(off buddy_before)" \
		'off, after' "$(off buddy_after)" \
		'on, before compaction' "$(on buddy_before)" \
		'on, after' "$(on buddy_after)"
}

number() { [[ $1 =~ ^[0-9]+$ ]] && echo "$1" || echo "$2"; }

compare() {
	local huge_off huge_on migrated
	huge_off=$(number "$(off huge)" 0)
	huge_on=$(number "$(on huge)" 0)
	migrated=$(on zs_migrated)
	((huge_on > huge_off)) ||
		problem "migration made no difference: $huge_off huge pages without, $huge_on with"
	[[ $migrated == 'not traced' ]] || (($(number "$migrated" 0) > 0)) ||
		problem "no zsmalloc page was migrated"
	[[ $(off zs_migrated) == 'not traced' ]] || (($(number "$(off zs_migrated)" 1) == 0)) ||
		problem "zsmalloc pages were migrated although migration was off"
}

main() {
	local type
	rm -f "$REPORT" "$STILL"
	prepare_guest x86
	"$LIB/data.sh"
	type=$(zsmalloc_type)
	[[ -n $type ]] || die "PGTY_zsmalloc is not in build/tree/include/linux/page-flags.h"
	boot off "$type"
	boot on "$type"
	table
	compare
	make_report run.py "$BUILD"/run-{off,on}.results "$REPORT" "$STILL"
	finish run "$(on huge) huge pages with migration, $(off huge) without; $(on checked) bytes checked, none wrong"
}

main
