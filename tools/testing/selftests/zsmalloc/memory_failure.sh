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

start_test 9
need_failures
need_hold
need_zram
at_exit unpoison_all
zswap_off
count_migrations
begin_checks
BEFORE=$(machine)

fill() {
	empty_node
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=32
}

# Objects that are far from each other
nth() { echo $(($1 * ($(hold objects) / (SOFT + HARD)))); }

objects_move() { # objects_move NAME
	local i pfn now moved=0
	for ((i = 0; i < SOFT; i++)); do
		pfn=$(frame_of "$(nth $i)") || return
		soft_offline "$pfn" || continue
		now=$(frame_of "$(nth $i)") || return
		((now == pfn)) || ! is_poisoned "$pfn" || moved=$((moved + 1))
	done
	say "$moved of $SOFT pages went offline, their objects are elsewhere"
	figure "memory_failure.$1" "$moved"
	((moved == SOFT))
}

# While 2 objects of 3 may be open
objects_move_from_readers() {
	local status=0
	unpoison_all || return
	fill || return
	hold_set hold_ms 20 && hold_set open 256 || return
	objects_move offlined_while_open || status=1
	hold_set open 0
	return "$status"
}

failures_are_reported() {
	local i pfn before status=0
	before=$(corrupted_kb)
	for ((i = SOFT; i < SOFT + HARD; i++)); do
		pfn=$(frame_of "$(nth $i)") || return
		hard_offline "$pfn" || status=1
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
	for pfn in "${FAILED[@]}"; do
		flags=$(flags_of "$pfn")
		(((flags & POISONED) && !(flags & FREE))) ||
			fail "page frame $pfn: flags $flags" || status=1
	done
	return "$status"
}

pool_goes_on() {
	fill && hold_is_intact
}

check "a pool is filled" fill
check "soft offlining moves the objects" objects_move offlined
check "... also while objects are open" objects_move_from_readers
check "the objects are intact" hold_is_intact
check "a hard failure is reported" failures_are_reported
check "everybody goes on, and all data is intact" others_go_on
check "pages that failed are not used again" not_used_again
check "a new pool does" pool_goes_on
check "nothing is left behind" nothing_left_behind "$BEFORE"
ktap_finished
