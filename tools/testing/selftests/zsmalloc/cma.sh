#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A whole CMA area that is full of zsmalloc pages is allocated: while no task uses the
# objects, while tasks read, write, allocate and free objects, while objects are held
# open for a short time each, and while objects are held open all the time.

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects held open at a time
HOLD_MS=50	# time each of them is held open
LIMIT=45	# seconds within which the whole area must be allocated

start_test 9
need_cma
need_hold
need_zram
zswap_off
count_migrations
begin_checks
say "CMA area $(basename "$AREA"): $PAGES pages on node $NODE"

# Allocations use the area when the rest of its node is full.
fill() {
	local inside
	empty_node
	fill_node "$NODE" 24 || return
	inside=$(hold_inside "$FIRST" "$LAST")
	say "$inside of $(hold objects) objects are in the CMA area"
	# At 1.6 KB per object, this is half of the area.
	((inside >= PAGES * PAGE_SIZE / 1600 / 2))
}

# allocate NAME: tries to allocate the whole area until it succeeds or LIMIT is reached
allocate() {
	local name=$1 tries=0 start end now migrations status=1
	migrations=$(migrated)
	start=$(now_ms)
	now=$start
	end=$((start + LIMIT * 1000))
	while ((status && now < end)); do
		write "$AREA/alloc" "$PAGES" $(((end - now) / 1000 + 1)) && status=0
		tries=$((tries + 1))
		now=$(now_ms)
	done
	((status)) || (($(cat "$AREA/used") == PAGES)) || status=1
	say "CMA area, $name: $( ((status)) && echo not\ )allocated after $((now - start)) ms and $tries attempts"
	figure "cma.$name.got" "$((!status))"
	figure "cma.$name.attempts" "$tries"
	figure "cma.$name.ms" "$((now - start))"
	figure "cma.$name.migrated" "$(($(migrated) - migrations))"
	return "$status"
}

# An allocated area must not contain any object.
none_inside() {
	local inside
	hold_set churn 0
	inside=$(hold_inside "$FIRST" "$LAST")
	((inside == 0)) || { say "$inside objects are still in the CMA area"; return 1; }
}

undisturbed() {
	fill && allocate idle && none_inside
}

# Objects that are allocated in the area after it was freed must leave it, too.
refilled() {
	local i status=0
	hold_set churn 1
	for i in 1 2 3; do
		free_area
		sleep $((SECONDS_OF_WORK / 4))
		allocate "again$i" || status=1
	done
	none_inside || status=1
	free_area
	return "$status"
}

users_active() {
	local status=0
	zram_swap 128M || return
	fill || return
	start_load users -m 64 -n 3 || return
	start_compaction "$SYS"
	hold_set churn 1
	allocate users || status=1
	none_inside || status=1
	free_area
	stop_compaction || status=1
	end_load users || status=1
	zram_end_all
	return "$status"
}

open_for_a_while() {
	local status=0
	fill || return
	hold_set hold_ms $HOLD_MS && hold_set open $OPEN || return
	allocate opened || status=1
	none_inside || status=1
	free_area
	return "$status"
}

# Pages of open objects are kept for their readers, so the area cannot be allocated, but
# the objects must leave it.
open_all_the_time() {
	local inside
	fill || return
	hold_set hold_ms 0 && hold_set open $OPEN || return
	LIMIT=10 allocate held
	inside=$(hold_inside "$FIRST" "$LAST")
	figure cma.held.objects_left "$inside"
	((inside == 0)) || { say "$inside objects were not moved out of the CMA area"; return 1; }
}

closed_again() {
	hold_set open 0 || return
	free_area
	allocate closed && none_inside
}

check "the CMA area is allocated while its objects are idle" undisturbed
check "objects are intact after the CMA area was allocated" hold_is_intact
check "the CMA area is refilled and allocated three times" refilled
check "the CMA area is allocated while memory is used and compacted" users_active
check "the CMA area is allocated while objects are opened for $HOLD_MS ms each" open_for_a_while
check "objects that were opened for $HOLD_MS ms each are intact" hold_is_intact
check "objects that stay open are moved out of the CMA area" open_all_the_time
check "the CMA area is allocated after open objects were closed" closed_again
check "objects that stayed open are intact" hold_is_intact
ktap_finished
