#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A process takes more memory than there is, including swap to zram, until the OOM killer
# kills it. Before that, another process has freed most of its memory in small pieces, so
# that zsmalloc pages have free slots. Memory reclaim must make use of these when no memory
# is left. The test records how much memory was stored and left just before the kill.

. "$(dirname "$0")/zsmalloc_lib.sh"

FREE_MB=128		# free memory at the start
KILL_SECONDS=200	# time within which the OOM killer must act
CLASSES=		# the pool's file in debugfs

start_test 6
[[ $(cat /proc/sys/vm/panic_on_oom) == 0 ]] || skip_test "panic_on_oom is set"
need_zram
(($(meminfo MemFree) < FREE_MB * 3 / 2)) ||
	need_file /proc/sys/vm/nr_hugepages CONFIG_HUGETLBFS
need_command mkswap swapon
[[ $(awk 'NR > 1' /proc/swaps) == '' ]] || skip_test "swap other than the test's is in use"
[[ ! -e /proc/sys/vm/nr_hugepages ]] || set_for_test /proc/sys/vm/nr_hugepages 0
zswap_off
begin_checks

# Huge pages take all free memory except for FREE_MB, so that the test is short and
# finds the same amount of free memory on each machine.
little_memory() {
	local free want
	write /proc/sys/vm/drop_caches 3
	write /proc/sys/vm/compact_memory 1
	free=$(meminfo MemFree)
	want=$(((free - FREE_MB) / 2))
	((free > FREE_MB / 2)) || fail "only $free MB of memory are free" || return
	((want <= 0)) || write /proc/sys/vm/nr_hugepages "$want"
	say "$(meminfo MemFree) MB of memory are free after hugetlb took the rest"
	(($(meminfo MemFree) < FREE_MB * 3 / 2))
}

# The first process fills memory, most of which is swapped out, and frees two thirds of
# it. The OOM killer kills the second process before the first one.
with_holes() {
	zram_swap 2G lz4 || return
	CLASSES=/sys/kernel/debug/zsmalloc/${ZRAM#/dev/}/classes
	LOAD_SECONDS=150 start_load before -m $((FREE_MB * 3 / 2)) -k 3 -i || return
	say "zsmalloc pages with holes: $(vm nr_zspages) pages, $(meminfo MemFree) MB of memory free"
}

# line FILE KEY: a recorded value, in KB
line() { awk -v key="$2:" '$1 == key { print $2 }' "$TMP/end/$1"; }

end_of_memory() {
	local files=(/proc/meminfo "$SYS/mm_stat") watch load
	mkdir "$TMP/end"
	[[ ! -e $CLASSES ]] || files+=("$CLASSES")
	timeout -s KILL $((KILL_SECONDS + 20)) "$DIR/zs_oom" $KILL_SECONDS "$TMP/end" \
		"${files[@]}" &
	watch=$!
	(
		echo 1000 > /proc/self/oom_score_adj
		exec timeout -s KILL $KILL_SECONDS "$DIR/zs_load" -p -m 4096 -n 2 \
			-o "$TMP/taker"
	) &
	load=$!
	wait $load 2> /dev/null
	wait_for 10 test -s "$TMP/end/ms" && return
	kill -KILL $watch 2> /dev/null
	fail "the OOM killer killed no process within $KILL_SECONDS seconds"
}

was_recorded() {
	local ms swapped free zs classes=()
	[[ -s $TMP/end/ms ]] || fail "the state before the kill was not recorded" || return
	ms=$(< "$TMP/end/ms")
	swapped=$((($(line meminfo SwapTotal) - $(line meminfo SwapFree)) / 4))
	free=$(line meminfo MemFree)
	zs=$(($(awk '{ print $3 }' "$TMP/end/mm_stat") >> 10))
	say "before the kill, after $ms ms: $swapped pages in swap, $zs KB of zsmalloc pages, $free KB free, $(line meminfo Slab) KB of slabs"
	figure oom.ms "$ms"
	figure oom.pages_in_swap "$swapped"
	figure oom.zsmalloc_kb "$zs"
	figure oom.bytes_per_page "$((zs * 1024 / swapped))"
	figure oom.free_kb "$free"
	if [[ -e $TMP/end/classes ]]; then
		# Columns are found by name, and counted from the end in the line "Total".
		read -r -a classes < <(awk '
			/obj_allocated/ { for (i = 1; i <= NF; i++) at[$i] = i }
			/^ *Total/ {
				missing = at["pages_per_zspage"] ? 1 : 0
				print $(at["pages_used"] - 1), $(at["freeable"] - 1 - missing)
			}' "$TMP/end/classes")
		say "before the kill, compaction could have freed ${classes[1]} of ${classes[0]} zsmalloc pages"
		figure oom.freeable_pages "${classes[1]}"
	fi
	((swapped > 0 && zs > 0))
}

check "less than $((FREE_MB * 3 / 2)) MB of memory are free" little_memory
check "freed objects leave holes in zsmalloc pages" with_holes
check "the OOM killer kills a process that takes too much memory" end_of_memory
check "the state just before the kill was recorded" was_recorded
[[ ! -e /proc/sys/vm/nr_hugepages ]] || write /proc/sys/vm/nr_hugepages 0
check "memory of the surviving process is intact" end_load before
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
