#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measures how long a driver, such as that of a camera, waits for 4 MB of CMA while memory is
# swapped to zram. A process reads and writes more memory than there is, so its pages and
# those of zsmalloc are in the CMA area. The blocks of the area are allocated one after
# another. Then the area is given back, and the next round begins when half of it is used
# again.

. "$(dirname "$0")/zsmalloc_lib.sh"

BLOCK=$(((4 << 20) / PAGE_SIZE))
WANTED=$((SECONDS_OF_WORK < 4 ? 64 : 1000))	# allocations
LIMIT_MS=4000	# the 99th percentile must not exceed this
LEAST_PERCENT=90	# of the allocations must succeed

start_test 5
need_cma
need_zram
need_command mkswap swapon
need_kcompactd
[[ $(cat /sys/devices/system/node/online 2> /dev/null) != *[-,]* ]] ||
	skip_test "the machine has several nodes, whose memory is used before the CMA area"
! awk '/zone +Movable/ { in_it = 1 } in_it && /managed/ { pages = $2; exit }
	END { exit !pages }' /proc/zoneinfo ||
	skip_test "the machine has a movable zone, which is used before the CMA area"
zswap_off
count_migrations
begin_checks
NR=$((PAGES / BLOCK))
MB=$(($(meminfo MemAvailable) * 3 / 2))
say "CMA area $(basename "$AREA"): $NR blocks of 4 MB; $MB MB are in use, $(meminfo MemAvailable) MB available"

used_mb() { echo $(((PAGES * PAGE_SIZE >> 20) - $(meminfo CmaFree))); }

area_is_used() { (($(used_mb) * 2 >= PAGES * PAGE_SIZE >> 20)); }

start_swapping() {
	zram_swap 2G lz4 && LOAD_SECONDS=$WRITE_SECONDS start_load swapping -m "$MB" -p
}

one_by_one() {
	local nr=0 rounds=0 used=0 cpu moved start
	cpu=$(kcompactd_ms) moved=$(migrated) start=$(now_ms)
	while ((nr < WANTED)); do
		wait_for 60 area_is_used ||
			fail "$(meminfo CmaFree) MB of the CMA area stay free" || return
		used=$((used + $(used_mb))) rounds=$((rounds + 1))
		limited "$DIR/zs_time" "$NR" "$AREA/alloc" "$BLOCK" >> "$TMP/timed" ||
			fail "the blocks were not allocated within the time limit" || return
		nr=$((nr + NR))
		free_area
	done
	figure cma_swap.seconds $((($(now_ms) - start) / 1000))
	figure cma_swap.used_mb $((used / rounds))
	figure cma_swap.kcompactd_ms $(($(kcompactd_ms) - cpu))
	figure cma_swap.migrated $(($(migrated) - moved))
	report_times timed cma_swap || return
	((P99_US <= LIMIT_MS * 1000)) || return
	(($(migrated) > moved)) || fail "no page was migrated" || return
	(((NR_TIMED - FAILURES) * 100 >= NR_TIMED * LEAST_PERCENT)) ||
		fail "$FAILURES of $NR_TIMED allocations failed"
}

check "memory is swapped to zram" start_swapping
check "blocks of 4 MB of the CMA area are allocated while memory is swapped" one_by_one
check "swapped data is intact after its pages were moved out of the CMA area" end_load swapping
check "the CMA area is allocated when nothing is swapped" write "$AREA/alloc" "$PAGES"
free_area
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
