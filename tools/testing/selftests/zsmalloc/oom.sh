#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A machine driven to its end: a process takes more memory than there is, swap to
# zram included, until the OOM killer ends it. Another one was there before, which
# gave back most of its memory in small pieces: zsmalloc's pages have holes then,
# which memory reclaim has to close when there is no memory to do it with. How much
# fitted, and what was left, is taken down just before the end.

. "$(dirname "$0")/zsmalloc_lib.sh"

FREE_MB=128		# to begin with
KILL_SECONDS=200	# until the OOM killer has to act
CLASSES=		# of the pool, in debugfs

start_test 6
[[ $(cat /proc/sys/vm/panic_on_oom) == 0 ]] || skip_test "panic_on_oom is set"
need_zram
(($(meminfo MemFree) < FREE_MB * 3 / 2)) ||
	need_file /proc/sys/vm/nr_hugepages CONFIG_HUGETLBFS
need_command mkswap swapon
[[ $(awk 'NR > 1' /proc/swaps) == '' ]] || skip_test "there is other swap"
[[ ! -e /proc/sys/vm/nr_hugepages ]] || set_for_test /proc/sys/vm/nr_hugepages 0
zswap_off
begin_checks

# All memory but a little is in huge pages: the test is short then, and what is left
# is alike on any machine.
little_memory() {
	local free want
	write /proc/sys/vm/drop_caches 3
	write /proc/sys/vm/compact_memory 1
	free=$(meminfo MemFree)
	want=$(((free - FREE_MB) / 2))
	((free > FREE_MB / 2)) || fail "only $free MB are free" || return
	((want <= 0)) || write /proc/sys/vm/nr_hugepages "$want"
	say "$(meminfo MemFree) MB are free"
	(($(meminfo MemFree) < FREE_MB * 3 / 2))
}

# Another process: fills memory, most of it swapped out, and gives back two thirds.
# It would be killed after the one that takes too much.
with_holes() {
	zram_swap 2G lz4 || return
	CLASSES=/sys/kernel/debug/zsmalloc/${ZRAM#/dev/}/classes
	LOAD_SECONDS=150 start_load before -m $((FREE_MB * 3 / 2)) -k 3 -i || return
	say "$(vm nr_zspages) zsmalloc pages, $(meminfo MemFree) MB free"
}

# line FILE KEY: a value that was taken down, in KB
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
	fail "it ended, but not by the OOM killer, or not within $KILL_SECONDS seconds"
}

took_down() {
	local ms swapped free zs classes=()
	[[ -s $TMP/end/ms ]] || fail "nothing was taken down" || return
	ms=$(< "$TMP/end/ms")
	swapped=$((($(line meminfo SwapTotal) - $(line meminfo SwapFree)) / 4))
	free=$(line meminfo MemFree)
	zs=$(($(awk '{ print $3 }' "$TMP/end/mm_stat") >> 10))
	say "after $ms ms: $swapped pages in swap, $zs KB of zsmalloc pages, $free KB free, $(line meminfo Slab) KB of slabs"
	figure oom.ms "$ms"
	figure oom.pages_in_swap "$swapped"
	figure oom.zsmalloc_kb "$zs"
	figure oom.bytes_per_page "$((zs * 1024 / swapped))"
	figure oom.free_kb "$free"
	if [[ -e $TMP/end/classes ]]; then
		# By the names of the columns, counted from the end of "Total"
		read -r -a classes < <(awk '
			/obj_allocated/ { for (i = 1; i <= NF; i++) at[$i] = i }
			/^ *Total/ {
				missing = at["pages_per_zspage"] ? 1 : 0
				print $(at["pages_used"] - 1), $(at["freeable"] - 1 - missing)
			}' "$TMP/end/classes")
		say "${classes[1]} of ${classes[0]} pages could have been freed by packing"
		figure oom.freeable_pages "${classes[1]}"
	fi
	((swapped > 0 && zs > 0))
}

check "there is little memory" little_memory
check "zsmalloc's pages have holes" with_holes
check "a process that takes too much is killed" end_of_memory
check "it was seen what there was then" took_down
[[ ! -e /proc/sys/vm/nr_hugepages ]] || write /proc/sys/vm/nr_hugepages 0
check "the other one's memory is intact" end_load before
check "no zsmalloc page is left" nothing_leaked
ktap_finished
