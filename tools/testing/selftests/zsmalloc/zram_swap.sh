#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# zram as swap: a process verifies and rewrites a working set that is several times as
# large as its memory limit, while memory and zram are compacted. Its data compresses like
# that of typical processes. This is done with several compressors, with data that does
# not compress, with recompression, and with writeback.

. "$(dirname "$0")/zsmalloc_lib.sh"

ALGORITHMS=(lz4 zstd lzo-rle)
MB=64		# the working set
LIMIT=20	# MB of memory for the working set

start_test $((${#ALGORITHMS[@]} + 10))
need_zram
need_command mkswap swapon losetup
zswap_off
need_controller memory
{ new_cgroup zram_swap && write "$CGROUP/memory.max" ${LIMIT}M; } ||
	skip_test "cannot limit memory"
count_migrations
begin_checks

# with_algorithm NAME ALGORITHM ZS_LOAD-OPTION...
with_algorithm() {
	local name=$1 algorithm=$2 swapins swapouts status=0
	shift 2
	zram_swap 256M "$algorithm" || fail "no swap on zram" || return
	swapins=$(vm pswpin)
	swapouts=$(vm pswpout)
	start_load "$name" -m $MB "$@" || return
	swapouts=$(($(vm pswpout) - swapouts))
	say "load '$name': zram stores $(mm_stat 1) bytes in $(mm_stat 3) bytes of memory, $(mm_stat 8) pages do not compress"
	((swapouts * PAGE_SIZE >= (MB - LIMIT) * 1048576)) ||
		fail "only $swapouts pages were swapped out to zram" || status=1
	disturb "$SECONDS_OF_WORK" "$SYS" || status=1
	swapins=$(($(vm pswpin) - swapins))
	end_load "$name" || status=1
	figure "zram_swap.$name.migrated" "$MOVED"
	figure "zram_swap.$name.checked" "$(load_result "$name" checked)"
	((swapins > 0)) || fail "nothing was swapped in" || status=1
	return "$status"
}

# Recompresses idle pages, and pages that the first algorithm could not compress
recompression() {
	local before after status=0
	zram_end_all
	zram_new && write "$SYS/recomp_algorithm" "algo=zstd priority=1" &&
		zram_swap_on 256M lz4 || fail "no swap on zram" || return
	start_load recompressed -m $MB -n 5 || return
	start_compaction "$SYS"
	write "$SYS/idle" all
	before=$(mm_stat 2)
	write "$SYS/recompress" "type=idle" || fail "recompression failed" || status=1
	write "$SYS/recompress" "type=huge" || fail "recompression failed" || status=1
	after=$(mm_stat 2)
	sleep $((SECONDS_OF_WORK / 2))
	stop_compaction || status=1
	say "recompression: $before compressed bytes before, $after after it"
	((after < before)) || fail "nothing was recompressed" || status=1
	end_load recompressed || status=1
	return "$status"
}

writeback() {
	local loop reads writes status=0
	zram_end_all
	truncate -s 128M "$DISK_DIR/zsmalloc-$$" || return
	at_exit rm -f "$DISK_DIR/zsmalloc-$$"
	loop=$(losetup -f --show "$DISK_DIR/zsmalloc-$$") ||
		fail "no loop device" || return
	at_exit losetup -d "$loop"
	zram_new && write "$SYS/backing_dev" "$loop" && zram_swap_on 256M lz4 ||
		fail "no swap on zram with a backing device" || return
	start_load written_back -m $MB -n 6 || return
	start_compaction "$SYS"
	write "$SYS/writeback" "type=huge" || fail "writeback failed" || status=1
	write "$SYS/idle" all
	write "$SYS/writeback" "type=idle" || fail "writeback failed" || status=1
	sleep $((SECONDS_OF_WORK / 2))
	stop_compaction || status=1
	end_load written_back || status=1
	read -r _ reads writes < "$SYS/bd_stat"
	say "writeback: $writes pages written to the disk, $reads read from it"
	((writes > 0)) || fail "nothing was written back" || status=1
	((reads > 0)) || fail "nothing was read from the disk" || status=1
	return "$status"
}

swap_in_use() { # of a device that stays full of data until end_swap
	zram_swap 256M && start_load busy -m $MB -n 7
}

end_swap() {
	end_load busy && swapoff "$ZRAM"
}

busy_is_not_removed() {
	! write /sys/class/zram-control/hot_remove "${ZRAM#/dev/zram}" ||
		fail "a zram device in use was removed" || return
	! write "$SYS/reset" 1 || fail "a zram device in use was reset"
}

hot_add_hot_remove() {
	local i n status=0
	for i in 1 2 3 4 5; do
		n=$(cat /sys/class/zram-control/hot_add) || return
		at_exit zram_end "$n"
		write "/sys/block/zram$n/disksize" 16M || status=1
		limited dd if=/dev/urandom of="/dev/zram$n" bs=64k count=64 status=none ||
			status=1
		# Half of the devices are removed while they contain data.
		((i % 2)) || write "/sys/block/zram$n/reset" 1 || status=1
		write /sys/class/zram-control/hot_remove "$n" || status=1
		[[ ! -e /sys/block/zram$n ]] || fail "zram$n still exists after its removal" || status=1
	done
	return "$status"
}

reset_empties() { # $ZRAM is not in use here.
	write "$SYS/reset" 1 || fail "zram cannot be reset" || return
	(($(cat "$SYS/disksize") == 0 && $(mm_stat 3) == 0)) ||
		fail "zram is not empty after its reset: mm_stat is $(cat "$SYS/mm_stat")"
}

zram_new || ktap_exit_fail_msg "cannot add a zram device"
available=$(tr -d '[]' < "$SYS/comp_algorithm")
for algorithm in "${ALGORITHMS[@]}"; do
	statement="swapped data compressed with $algorithm is intact"
	if [[ " $available " == *" $algorithm "* ]]; then
		check "$statement" with_algorithm "$algorithm" "$algorithm" -n 1
	else
		skip "$statement" "zram has no $algorithm"
	fi
done
check "swapped data that does not compress is intact" with_algorithm random '' -r 100 -n 2

if [[ -e $SYS/recomp_algorithm && " $available " == *" zstd "* ]]; then
	check "swapped data that was recompressed is intact" recompression
else
	skip "swapped data that was recompressed is intact" "needs CONFIG_ZRAM_MULTI_COMP and zstd"
fi
if [[ -e $SYS/backing_dev ]]; then
	check "swapped data that was written back is intact" writeback
else
	skip "swapped data that was written back is intact" "needs CONFIG_ZRAM_WRITEBACK"
fi

# Unloads the module while a device contains data
unload() {
	zram_end_all
	zram_new && write "$SYS/disksize" 32M &&
		limited dd if=/dev/urandom of="$ZRAM" bs=1M count=8 oflag=direct 2> /dev/null ||
		return
	(($(vm nr_zspages) > ZSPAGES_BEFORE)) || fail "zram stored no data" || return
	rmmod zram || return
	[[ ! -e /sys/class/zram-control ]] || fail "the module zram is still loaded" || return
	nothing_leaked
}

check "a zram device is in use as swap" swap_in_use
check "a zram device in use is neither removed nor reset" busy_is_not_removed
check "zram devices are added and removed while another one is in use" hot_add_hot_remove
check "swapped data is intact after other devices were removed" end_swap
check "resetting a zram device frees all its memory" reset_empties
check "all zsmalloc pages of the test are freed" nothing_leaked
if [[ -d /sys/module/zram/holders ]] && command -v rmmod > /dev/null; then
	check "unloading the module zram frees all zsmalloc pages" unload
else
	skip "unloading the module zram frees all zsmalloc pages" "zram is not a module"
fi
ktap_finished
