#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measures how long a driver, such as that of a camera, waits for 4 MB of a CMA area while
# memory is swapped to zram: a process reads and writes more memory than its node has, so
# that its pages and those of zsmalloc are in the area. Reclaim keeps some of the node's
# memory free, and that is in the area, too.

. "$(dirname "$0")/zsmalloc_lib.sh"

BLOCKS=cma_swap	# names the figures
BLOCK=$(((4 << 20) / PAGE_SIZE))
WANTED=$((SECONDS_OF_WORK < 4 ? 64 : 1000))	# allocations
LIMIT_MS=2000	# the 99th percentile must not exceed this
LEAST_PERCENT=90	# of the allocations must succeed
MB=256		# memory of the process

start_test 5
need_cma
need_zram
need_command numactl mkswap swapon
need_kcompactd
# With THP, the kernel would keep as much memory free as the area has.
set_for_test /proc/sys/vm/min_free_kbytes 4096
zswap_off
count_migrations
begin_checks
BLOCKS_OF_AREA=$((PAGES / BLOCK))
say "CMA area $(basename "$AREA"): $BLOCKS_OF_AREA blocks of 4 MB on node $NODE"

start_swapping() {
	zram_swap 1G lz4 || return
	LOAD_WITH="numactl --membind=$NODE" LOAD_SECONDS=120 \
		start_load swapping -m $MB -p
}

used_mb() { echo $(((PAGES * PAGE_SIZE >> 20) - $(meminfo CmaFree))); }

area_is_used() { (($(used_mb) * 4 >= PAGES * PAGE_SIZE >> 20)); }

# All blocks of the area are allocated, one after another. Then the area is given back, and
# used by the process, to a quarter at least, before the next round.
one_by_one() {
	local nr=0 rounds=0 used=0 cpu moved start
	cpu=$(kcompactd_ms) moved=$(migrated) start=$(now_ms)
	while ((nr < WANTED)); do
		wait_for 60 area_is_used ||
			fail "$(meminfo CmaFree) MB of the CMA area stay free" || return
		sleep 1
		used=$((used + $(used_mb))) rounds=$((rounds + 1))
		limited "$DIR/zs_time" "$BLOCKS_OF_AREA" "$AREA/alloc" "$BLOCK" >> "$TMP/timed" ||
			fail "the blocks were not allocated within the time limit" || return
		nr=$((nr + BLOCKS_OF_AREA))
		free_area
	done
	figure cma_swap.seconds $((($(now_ms) - start) / 1000))
	figure cma_swap.used_mb $((used / rounds))
	figure cma_swap.kcompactd_ms $(($(kcompactd_ms) - cpu))
	figure cma_swap.migrated $(($(migrated) - moved))
	report_times timed || return
	((P99_US <= LIMIT_MS * 1000)) || return
	(($(migrated) > moved)) || fail "no page was migrated" || return
	(((NR - FAILURES) * 100 >= NR * LEAST_PERCENT)) ||
		fail "$FAILURES of $NR allocations failed"
}

check "the node is full except for its CMA area" make_ballast
check "memory is swapped to zram" start_swapping
check "blocks of 4 MB of the CMA area are allocated while memory is swapped" one_by_one
check "swapped data is intact after its pages were moved out of the CMA area" end_load swapping
umount "$TMP/ballast"
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
