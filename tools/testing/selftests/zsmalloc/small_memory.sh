#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A machine with little memory, such as a router: 64 MB with zram of 24 MB as swap. How
# much memory does an empty device take, how much a full one for each page that it stores?
# A process then uses more memory than is free, while memory and zram are compacted. No
# task may be killed, and no byte may be lost.

. "$(dirname "$0")/zsmalloc_lib.sh"

ZRAM_MB=24
MOST_EMPTY=512	# KB that an empty device may take
MOST=128	# MB of memory that a machine of this kind has

start_test 6
(($(meminfo MemTotal) <= MOST)) ||
	skip_test "the machine has $(meminfo MemTotal) MB of memory: it is meant for at most $MOST MB"
need_zram
need_command mkswap swapon
zswap_off
set_for_test /proc/sys/vm/page-cluster 0
begin_checks
KILLS=$(vm oom_kill)


taken_kb() { # all memory that the kernel takes: zsmalloc, slabs, vmalloc, per-CPU data
	awk '/^(Slab|VmallocUsed|Percpu):/ { n += $2 } END { print n }' /proc/meminfo
}

empty_device() {
	local before after
	zram_new && write "$SYS/disksize" 1M && write "$SYS/reset" 1 || return
	before=$(taken_kb)
	write "$SYS/comp_algorithm" lz4 && write "$SYS/disksize" ${ZRAM_MB}M || return
	after=$(taken_kb)
	say "an empty zram device of $ZRAM_MB MB takes $((after - before)) KB"
	figure small_memory.empty_kb $((after - before))
	zram_end_all
	((after - before <= MOST_EMPTY))
}

full_device() {
	local before after pages
	before=$(($(taken_kb) + $(exact_vm nr_zspages) * PAGE_SIZE / 1024))
	zram_swap ${ZRAM_MB}M lz4 || return
	start_load full -m $((ZRAM_MB - 2)) -i -n 3 || return
	pages=$(($(mm_stat 1) / PAGE_SIZE))
	after=$(($(taken_kb) + $(exact_vm nr_zspages) * PAGE_SIZE / 1024))
	say "zram stores $pages pages in $((after - before)) KB of all memory, $(mm_stat 2) bytes compressed, $(mm_stat 3) in zsmalloc pages"
	figure small_memory.pages "$pages"
	figure small_memory.bytes_per_page $(((after - before) * 1024 / pages))
	end_load full
}

use_it() {
	local mb swapouts
	zram_swap ${ZRAM_MB}M lz4 || return
	mb=$(($(meminfo MemFree) + ZRAM_MB / 2))
	swapouts=$(vm pswpout)
	LOAD_SECONDS=120 start_load small -m $mb -p -n 4 || return
	start_compaction "$SYS"
	sleep "$SECONDS_OF_WORK"
	stop_compaction || return
	swapouts=$(($(vm pswpout) - swapouts))
	say "a process used $mb MB of memory; $swapouts pages were swapped out"
	figure small_memory.swapped_out "$swapouts"
	((swapouts > 0)) || fail "nothing was swapped out"
}

no_kill() {
	(($(vm oom_kill) == KILLS)) || fail "$(($(vm oom_kill) - KILLS)) tasks were killed"
}

check "an empty zram device takes little memory" empty_device
check "a zram device is filled, and its data are intact" full_device
check "a process uses more memory than is free, under compaction" use_it
check "its data are intact" end_load small
check "no task was killed for want of memory" no_kill
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
