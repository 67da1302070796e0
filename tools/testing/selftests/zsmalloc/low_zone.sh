#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A low zone that is scarce is filled with objects, as all memory is. Is it given back when
# the kernel needs memory of that zone? Half of the objects were freed before that, so that
# memory reclaim can pack the rest. It packs all zones, and may give up on single pages when
# what it has freed is in other ones; for blocks, memory is compacted, too.

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects that are held open

start_test 8
need_hold
need_file /proc/pagetypeinfo CONFIG_PROC_FS
# The zone below the highest one that has at least 32 MB
read -r ZONE ZONE_PAGES < <(awk '
	/^Node/ { zone = $4 }
	/^ +managed/ && $2 > 8192 { zones[++n] = zone " " $2 }
	END { if (n > 1) print zones[n - 1] }' /proc/zoneinfo)
[[ ${ZONE:-} =~ ^DMA ]] || skip_test "there is no low zone of 32 MB or more below another one"
zswap_off
begin_checks

zone_stat() { # zone_stat KEY: of the low zone, in pages
	awk -v zone="$ZONE" -v key="$1" '
		/^Node/ { at = $4 == zone }
		at && ($1 == key || $1 " " $2 == key) { print $NF; exit }' /proc/zoneinfo
}

fill_all() {
	local mb
	write /proc/sys/vm/drop_caches 3
	mb=$(($(meminfo MemFree) * 85 / 100))
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes="$mb" || return
	write /proc/sys/vm/stat_refresh 1
	say "$(zone_stat nr_zspages) of $ZONE_PAGES pages of the zone $ZONE are zsmalloc pages, $(zone_stat 'pages free') are free"
	(($(zone_stat nr_zspages) > ZONE_PAGES / 2))
}

# blocks NAME ORDER PERCENT: of a third of the zone, so much must be allocated in blocks
blocks() {
	local want=$((ZONE_PAGES / 3 >> $2)) got
	hold_set blocks "$2 $want $ZONE"
	got=$(hold blocks)
	say "$1: $got of $want blocks of $((1 << $2)) pages in the zone $ZONE"
	figure "low_zone.$1.wanted" "$want"
	figure "low_zone.$1.got" "$got"
	((got * 100 >= want * $3))
}

intact() {
	hold_set open 0 && hold_set check 1 || return
	say "zs_hold: checked $(hold checked) times, wrong $(hold wrong) times"
	(($(hold checked) > 0 && $(hold wrong) == 0)) && empty_node
}

open_some() {
	hold_set open $OPEN && wait_for 10 all_open
}

all_open() { (($(hold opened) >= OPEN)); }

check "all memory is filled with objects, most of the low zone, too" fill_all
check "half of the objects are freed" hold_set thin 2
check "half of a third of the low zone is allocated in pages" blocks pages 0 50
check "a third of the low zone is allocated in blocks of 16 pages" blocks of_16 4 90
check "objects are held open" open_some
check "a third of the low zone is allocated in blocks of 16 pages, while objects are open" blocks open 4 90
check "all objects are intact" intact
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
