#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A CMA area that is full of zsmalloc pages is allocated, all of it: with nobody
# at them, with users that read, write, allocate and free, with objects that are
# held open for a while, and with objects that are held open all the time.

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects held open at a time
HOLD_MS=50	# for how long
LIMIT=45	# seconds until all of it has to be had

start_test 9
need_cma
need_hold
need_zram
zswap_off
count_migrations
begin_checks
say "CMA area $(basename "$AREA"): $PAGES pages on node $NODE"

# The area is filled last, as the rest of its node is full then.
fill() {
	local inside
	empty_node
	fill_node "$NODE" 24 || return
	inside=$(hold_inside "$FIRST" "$LAST")
	say "$inside of $(hold objects) objects are in the area"
	# At 1.6 KB an object: at least half of the area
	((inside >= PAGES * PAGE_SIZE / 1600 / 2))
}

# allocate NAME: all of the area at once, and again until that succeeds or time is
# up
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
	say "$name: $( ((status)) && echo not) allocated after $((now - start)) ms, $tries attempts"
	figure "cma.$name.got" "$((!status))"
	figure "cma.$name.attempts" "$tries"
	figure "cma.$name.ms" "$((now - start))"
	figure "cma.$name.migrated" "$(($(migrated) - migrations))"
	return "$status"
}

# What was allocated is nobody else's any more.
none_inside() {
	local inside
	hold_set churn 0
	inside=$(hold_inside "$FIRST" "$LAST")
	((inside == 0)) || { say "$inside objects are still in the area"; return 1; }
}

undisturbed() {
	fill && allocate idle && none_inside
}

again() { # what came back to the area has to leave it again
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

# The pages that readers have found stay theirs, so the area cannot be had, but
# the objects have to leave it.
open_all_the_time() {
	local inside
	fill || return
	hold_set hold_ms 0 && hold_set open $OPEN || return
	LIMIT=10 allocate held
	inside=$(hold_inside "$FIRST" "$LAST")
	figure cma.held.objects_left "$inside"
	((inside == 0)) || { say "$inside objects were not moved"; return 1; }
}

closed_again() {
	hold_set open 0 || return
	free_area
	allocate closed && none_inside
}

check "all of the area is allocated" undisturbed
check "the objects are intact" hold_is_intact
check "... again and again, as it fills" again
check "... while memory is used and compacted" users_active
check "... while objects are opened for $HOLD_MS ms" open_for_a_while
check "the objects are intact after that" hold_is_intact
check "objects that are held open leave the area" open_all_the_time
check "... and all of it is allocated once they are closed" closed_again
check "the objects are intact at the end" hold_is_intact
ktap_finished
