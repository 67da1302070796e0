#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# zswap in front of a swap file: data is stored and loaded, written back because
# a limit is reached, because the cgroup is reclaimed, or not at all where that
# is forbidden, and the compressor is changed under it, while memory is compacted.

. "$(dirname "$0")/zsmalloc_lib.sh"

MB=64		# the working set
LIMIT=56	# MB of memory for it, and for what zswap has of it
COMPRESSORS=(zstd lz4 lzo)

start_test 7
need_file $ZSWAP/enabled CONFIG_ZSWAP
need_command mkswap swapon fallocate
need_controller memory
SWAP=$DISK_DIR/zsmalloc-swap-$$
at_exit rm -f "$SWAP"
{ fallocate -l 512M "$SWAP" && chmod 600 "$SWAP"; } ||
	skip_test "no room for a swap file of 512 MB in $DISK_DIR"
at_exit swapoff "$SWAP"
{ limited mkswap "$SWAP" && swapon -p 32767 "$SWAP"; } > /dev/null 2>&1 ||
	skip_test "no swap file on the file system of $DISK_DIR, see ZSMALLOC_TEST_DIR"
set_for_test $ZSWAP/compressor lzo || skip_test "no compressor lzo"
set_for_test $ZSWAP/shrinker_enabled N
set_for_test $ZSWAP/max_pool_percent 30
set_for_test $ZSWAP/enabled Y || skip_test "zswap cannot be enabled"
count_migrations
begin_checks

# begin NAME: a cgroup for the next load
begin() {
	new_cgroup "$1" && write "$CGROUP/memory.max" ${LIMIT}M
}

stat_of() { # stat_of KEY: of $CGROUP
	awk -v key="$1" '$1 == key { print $2 }' "$CGROUP/memory.stat"
}

# finish NAME: the load's data is checked, and what happened is told
finish() {
	local status=0
	STORED=$(stat_of zswpout) LOADED=$(stat_of zswpin) WRITTEN=$(stat_of zswpwb)
	end_load "$1" || status=1
	say "$1: $STORED pages stored, $LOADED loaded, $WRITTEN written back"
	figure "zswap.$1.written_back" "$WRITTEN"
	figure "zswap.$1.migrated" "$MOVED"
	((STORED > 0 && LOADED > 0)) || fail "zswap was not used" || status=1
	return "$status"
}

store_load() {
	begin stored || return
	start_load stored -m $MB || return
	disturb "$SECONDS_OF_WORK" && finish stored
}

limit_reached() {
	begin limited || return
	write "$CGROUP/memory.zswap.max" 8M || return
	start_load limited -m $MB -n 2 || return
	disturb "$SECONDS_OF_WORK" || return
	(($(cat "$CGROUP/memory.zswap.current") <= 9 << 20)) ||
		fail "$(cat "$CGROUP/memory.zswap.current") bytes are in zswap" || return
	finish limited || return
	((WRITTEN > 0)) || fail "nothing was written back"
}

reclaim() { # what can be, for half of the time
	local i
	for ((i = 0; i < SECONDS_OF_WORK * 2; i++)); do
		write "$CGROUP/memory.reclaim" 8M
		sleep 0.2
	done
}

# With the shrinker, reclaim gets at what zswap has of the cgroup.
reclaimed() {
	local status=0
	begin reclaimed || return
	start_load reclaimed -m $MB -n 3 || return
	write $ZSWAP/shrinker_enabled Y
	reclaim &
	disturb "$SECONDS_OF_WORK" || status=1
	wait $!
	write $ZSWAP/shrinker_enabled N
	finish reclaimed || status=1
	((WRITTEN > 0)) || fail "nothing was written back" || status=1
	return "$status"
}

writeback_forbidden() {
	begin kept || return
	write "$CGROUP/memory.zswap.writeback" 0 || return
	start_load kept -m $MB -n 4 || return
	write "$CGROUP/memory.reclaim" 16M
	disturb $((SECONDS_OF_WORK / 2)) && finish kept || return
	((WRITTEN == 0)) || fail "$WRITTEN pages were written back"
}

# What was stored stays with the old one's pool.
compressor_changes() {
	local compressor changed=0 status=0
	begin changed || return
	start_load changed -m $MB -n 5 || return
	for compressor in "${COMPRESSORS[@]}"; do
		write $ZSWAP/compressor "$compressor" && changed=$((changed + 1))
		disturb $((SECONDS_OF_WORK / 3)) || status=1
	done
	finish changed || status=1
	((changed > 1)) || fail "of ${COMPRESSORS[*]} the kernel has only $changed" || status=1
	return "$status"
}

swap_goes() { # everything that is still in zswap is loaded
	timeout 60 swapoff "$SWAP" || fail "swapoff failed" || return
	nothing_leaked
}

check "what zswap stores it loads" store_load
check "data is written back at memory.zswap.max" limit_reached
check "data is written back by memory.reclaim" reclaimed
check "memory.zswap.writeback forbids that" writeback_forbidden
check "the compressor changes" compressor_changes
check "swapoff loads all" swap_goes
check "zswap is empty" test "$(cat /sys/kernel/debug/zswap/stored_pages 2> /dev/null || echo 0)" = 0
ktap_finished
