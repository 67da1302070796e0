#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# zswap with a swap file: while memory is compacted, data is stored and loaded. It is
# written back when a limit is reached and when the cgroup is reclaimed, and it must not be
# written back if that is forbidden. Then zswap reaches the limit of all its memory, and the
# compressor is changed while zswap is in use.

. "$(dirname "$0")/zsmalloc_lib.sh"

MB=64		# the working set
LIMIT=56	# MB of memory for the working set, in zswap and outside
COMPRESSORS=(zstd lz4 lzo)
PERCENT=30	# of all memory may be in zswap
LIMIT_HITS=/sys/kernel/debug/zswap/pool_limit_hit

start_test 8
need_file $ZSWAP/enabled CONFIG_ZSWAP
need_command mkswap swapon fallocate
need_controller memory
SWAP=$DISK_DIR/zsmalloc-swap-$$
at_exit rm -f "$SWAP"
{ fallocate -l 512M "$SWAP" && chmod 600 "$SWAP"; } ||
	skip_test "$DISK_DIR has no space for a swap file of 512 MB"
at_exit swapoff "$SWAP"
{ limited mkswap "$SWAP" && swapon -p 32767 "$SWAP"; } > /dev/null 2>&1 ||
	skip_test "the file system of $DISK_DIR does not support swap files, see ZSMALLOC_TEST_DIR"
set_for_test $ZSWAP/compressor lzo || skip_test "zswap does not have the compressor lzo"
set_for_test $ZSWAP/shrinker_enabled N
set_for_test $ZSWAP/max_pool_percent $PERCENT
set_for_test $ZSWAP/enabled Y || skip_test "zswap cannot be enabled"
count_migrations
begin_checks

# begin NAME: makes a cgroup for the next load
begin() {
	new_cgroup "$1" && write "$CGROUP/memory.max" ${LIMIT}M
}

stat_of() { # stat_of KEY: of $CGROUP
	awk -v key="$1" '$1 == key { print $2 }' "$CGROUP/memory.stat"
}

# finish NAME: ends the load, which checks its data, and reports what zswap did
finish() {
	local status=0
	STORED=$(stat_of zswpout) LOADED=$(stat_of zswpin) WRITTEN=$(stat_of zswpwb)
	end_load "$1" || status=1
	say "zswap, load '$1': $STORED pages stored, $LOADED loaded, $WRITTEN written back"
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

reclaim() { # reclaims the cgroup's memory during about half of the load
	local i
	for ((i = 0; i < SECONDS_OF_WORK * 2; i++)); do
		write "$CGROUP/memory.reclaim" 8M
		sleep 0.2
	done
}

# With the shrinker, reclaim writes back pages of the cgroup that are in zswap.
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

# zswap stores nothing from its limit on until it is below accept_threshold_percent of that.
pool_limit_reached() { # pool_limit_reached MB
	local hits stored status=0
	hits=$(cat $LIMIT_HITS) || return
	begin pool || return
	write $ZSWAP/max_pool_percent 1
	start_load pool -m "$1" -n 6 || status=1
	(($(cat $LIMIT_HITS) > hits)) || fail "the limit was not reached" || status=1
	stored=$(stat_of zswpout)
	disturb "$SECONDS_OF_WORK" || status=1
	(($(stat_of zswpout) > stored)) || fail "nothing more was stored" || status=1
	write $ZSWAP/max_pool_percent $PERCENT
	finish pool || status=1
	((WRITTEN > 0)) || fail "nothing was written back" || status=1
	return "$status"
}

# Pages that were stored stay in the pool of the compressor that was set at that time.
compressor_changes() {
	local compressor changed=0 status=0
	begin changed || return
	start_load changed -m $MB -n 5 || return
	for compressor in "${COMPRESSORS[@]}"; do
		write $ZSWAP/compressor "$compressor" && changed=$((changed + 1))
		disturb $((SECONDS_OF_WORK / 3)) || status=1
	done
	finish changed || status=1
	((changed > 1)) || fail "the kernel has only $changed of the compressors ${COMPRESSORS[*]}" || status=1
	return "$status"
}

swapoff_loads_all() { # swapoff loads all pages that zswap still stores.
	timeout 60 swapoff "$SWAP" || fail "swapoff failed" || return
	nothing_leaked
}

check "data that zswap stores and loads is intact" store_load
check "zswap writes data back at memory.zswap.max" limit_reached
check "memory.reclaim makes zswap write data back" reclaimed
check "zswap writes no data back if memory.zswap.writeback is 0" writeback_forbidden
# A load of 4 % of the memory takes more than 1 % when it is compressed.
percent_4=$(($(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo) / 1024 / 25))
if [[ ! -e $LIMIT_HITS ]]; then
	ktap_test_skip "zswap stores data again after its pool was full: needs CONFIG_DEBUG_FS"
elif ((percent_4 > 256)); then
	ktap_test_skip "zswap stores data again after its pool was full: too much memory to fill 1 % of it"
else
	check "zswap stores data again after its pool was full" \
		pool_limit_reached $((percent_4 > MB ? percent_4 : MB))
fi
check "data is intact after the compressor of zswap was changed" compressor_changes
check "swapoff loads all data and frees all zsmalloc pages" swapoff_loads_all
check "zswap is empty after swapoff" test "$(cat /sys/kernel/debug/zswap/stored_pages 2> /dev/null || echo 0)" = 0
ktap_finished
