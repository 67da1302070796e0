#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Pages of zsmalloc fail. Soft offlining moves their objects to other pages. Objects of a
# page that failed hard cannot be moved, but all other objects must stay usable, and the
# page must not be used again when its objects are freed. The errors are injected: the
# memory itself stays readable, so no data is lost.

. "$(dirname "$0")/zsmalloc_lib.sh"

SOFT=40		# pages that are soft-offlined
HARD=8		# pages that fail hard

start_test 9
need_failures
need_hold
need_zram
at_exit unpoison_all
zswap_off
count_migrations
begin_checks
BEFORE=$(machine_state)

fill() {
	empty_node
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=32
}

# nth N: the number of the Nth of SOFT + HARD objects that are far from each other
nth() { echo $(($1 * ($(hold objects) / (SOFT + HARD)))); }

objects_move() { # objects_move NAME
	local i pfn now moved=0
	for ((i = 0; i < SOFT; i++)); do
		pfn=$(frame_of "$(nth $i)") || return
		soft_offline "$pfn" || continue
		now=$(frame_of "$(nth $i)") || return
		((now == pfn)) || ! is_poisoned "$pfn" || moved=$((moved + 1))
	done
	say "$moved of $SOFT pages were soft-offlined and their objects moved"
	figure "memory_failure.$1" "$moved"
	((moved == SOFT))
}

# 2 of 3 objects may be open at any time.
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
	say "the kernel reports $((($(corrupted_kb) - before) / 4)) failed pages"
	(($(corrupted_kb) - before == HARD * 4)) || status=1
	return "$status"
}

# Compaction scans the pages that failed.
others_are_intact() {
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

# After their objects were freed, failed pages must be neither allocated nor free.
not_used_again() {
	local pfn flags status=0
	empty_node || return
	for pfn in "${FAILED[@]}"; do
		flags=$(flags_of "$pfn")
		(((flags & POISONED) && !(flags & FREE))) ||
			fail "the failed page frame $pfn has flags $flags" || status=1
	done
	return "$status"
}

new_pool_works() {
	fill && hold_is_intact
}

check "a pool is filled with objects" fill
check "soft offlining moves the objects of $SOFT pages" objects_move offlined
check "soft offlining moves the objects of $SOFT pages while objects are opened" \
	objects_move_from_readers
check "objects are intact after soft offlining" hold_is_intact
check "hard failures of $HARD pages are reported" failures_are_reported
check "swapped data and objects are intact after hard failures" others_are_intact
check "failed pages are not used again after their objects are freed" not_used_again
check "a new pool can be filled after hard failures" new_pool_works
check "the test restores the machine's state" state_is_restored "$BEFORE"
ktap_finished
