#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Pages of zsmalloc fail. Soft offlining moves their objects away; hard offlining
# cannot, but everything else has to go on, and the page must not be used again
# when its objects are freed. The errors are injected: the memory itself stays
# readable, so nothing is lost.

. "$(dirname "$0")/zsmalloc_lib.sh"

SOFT=40		# pages
HARD=8
SOFT_OFFLINE=/sys/devices/system/memory/soft_offline_page
INJECT=/sys/kernel/debug/hwpoison
POISONED=$((1 << 19)) FREE=$((1 << 10))	# of /proc/kpageflags

start_test 8
need_file $SOFT_OFFLINE CONFIG_MEMORY_FAILURE
need_file $INJECT/corrupt-pfn CONFIG_HWPOISON_INJECT
need_file /proc/kpageflags CONFIG_PROC_PAGE_MONITOR
need_hold
need_zram
at_exit unpoison
zswap_off
count_migrations
begin_checks
frames=()

unpoison() {
	local pfn
	empty_node
	for pfn in "${frames[@]}"; do
		write $INJECT/unpoison-pfn "$pfn"
	done
	frames=()
}

flags_of() { # flags_of PFN
	od -A n -t u8 -j $(($1 * 8)) -N 8 /proc/kpageflags | tr -d ' '
}

corrupted_kb() { awk '$1 == "HardwareCorrupted:" { print $2 }' /proc/meminfo; }

frame() { # frame OBJECT
	hold_set frame "$1" && hold frame
}

fill() {
	empty_node
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=32
}

# Objects that are far from each other
nth() { echo $(($1 * ($(hold objects) / (SOFT + HARD)))); }

soft_offline() { # soft_offline NAME
	local i pfn now moved=0
	for ((i = 0; i < SOFT; i++)); do
		pfn=$(frame "$(nth $i)") || return
		# One that was isolated just then can be tried again.
		write $SOFT_OFFLINE $((pfn * PAGE_SIZE)) ||
			write $SOFT_OFFLINE $((pfn * PAGE_SIZE)) || continue
		frames+=("$pfn")
		now=$(frame "$(nth $i)") || return
		((now == pfn || !($(flags_of "$pfn") & POISONED))) || moved=$((moved + 1))
	done
	say "$moved of $SOFT pages went offline, their objects are elsewhere"
	figure "memory_failure.$1" "$moved"
	((moved == SOFT))
}

# While 2 objects of 3 may be open
soft_offline_with_readers() {
	local status=0
	unpoison
	fill || return
	hold_set hold_ms 20 && hold_set open 256 || return
	soft_offline offlined_while_open || status=1
	hold_set open 0
	return "$status"
}

hard_offline() {
	local i pfn before status=0
	before=$(corrupted_kb)
	hard=()
	for ((i = SOFT; i < SOFT + HARD; i++)); do
		pfn=$(frame "$(nth $i)") || return
		# It reports that it could not help.
		write $INJECT/corrupt-pfn "$pfn"
		hard+=("$pfn")
		frames+=("$pfn")
		(($(flags_of "$pfn") & POISONED)) ||
			fail "page frame $pfn is not marked" || status=1
	done
	say "$((($(corrupted_kb) - before) / 4)) pages are reported to have failed"
	(($(corrupted_kb) - before == HARD * 4)) || status=1
	return "$status"
}

# Compaction meets the pages that failed
others_go_on() {
	local status=0
	zram_swap 128M || return
	start_load others -m 64 || return
	start_compaction "$SYS"
	hold_set churn 1
	sleep "$SECONDS_OF_WORK"
	stop_compaction || status=1
	end_load others || status=1
	zram_end_all
	hold_is_intact || status=1
	return "$status"
}

# Once freed they are in nobody's hands, not free either.
not_used_again() {
	local pfn flags status=0
	empty_node || return
	for pfn in "${frames[@]}"; do
		flags=$(flags_of "$pfn")
		(((flags & POISONED) && !(flags & FREE))) ||
			fail "page frame $pfn: $(printf 'flags 0x%x' "$flags")" || status=1
	done
	return "$status"
}

pool_goes_on() {
	fill && hold_is_intact
}

check "a pool is filled" fill
check "soft offlining moves the objects" soft_offline offlined
check "... also while objects are open" soft_offline_with_readers
check "the objects are intact" hold_is_intact
check "a hard failure is reported" hard_offline
check "everybody goes on, and all data is intact" others_go_on
check "pages that failed are not used again" not_used_again
check "a new pool does" pool_goes_on
ktap_finished
