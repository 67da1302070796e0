#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What users do to zram and zswap for a long time, each while memory and zram are
# compacted: fio writes and reads a device, which is then reset; swap is turned off and on
# under pressure; a device is filled to its mem_limit, thinned out and filled again; zswap
# writes back because limits of a cgroup change; idle and incompressible pages are
# recompressed. Each part takes ZSMALLOC_TEST_SECONDS. On a kernel with lockdep and the
# like, ten minutes each: make selftest SELFTESTS=endurance.sh LOCKDEP=1 MINUTES=10

. "$(dirname "$0")/zsmalloc_lib.sh"

MB=48		# the memory of each load
LIMIT_MB=12	# the mem_limit of a device

start_test 8
need_zram
need_file $ZSWAP/enabled CONFIG_ZSWAP
need_command mkswap swapon fallocate rmmod
need_controller memory
zswap_off
count_migrations
begin_checks

TAINTED=$(cat /proc/sys/kernel/tainted)

parts_end() { PART_END=$((SECONDS + SECONDS_OF_WORK)); }	# of the part that begins

# ended NAME ROUNDS MOVED-BEFORE: reports a part, in which something must have happened
ended() {
	local moved=$(($(migrated) - $3))
	say "$1: $2 rounds, $moved pages migrated"
	figure "endurance.$1.rounds" "$2"
	figure "endurance.$1.migrated" "$moved"
	(($2 > 0 && moved > 0)) || fail "nothing was done, or no page was migrated"
}

fio_and_reset() {
	local rounds=0 moved status=0
	moved=$(migrated)
	zram_end_all
	zram_new || return
	parts_end
	while ((SECONDS < PART_END && status == 0)); do
		write "$SYS/disksize" 64M || return
		start_compaction "$SYS"
		timeout -s KILL "$WRITE_SECONDS" fio --name=zram --filename="$ZRAM" \
			--ioengine=psync --direct=1 --rw=randrw --bs=4k --size=32M --numjobs=2 \
			--loops=2 --group_reporting --refill_buffers \
			--buffer_compress_percentage=50 > "$TMP/fio" 2>&1 < /dev/null || status=1
		stop_compaction || status=1
		((status == 0)) || say "$(tail -n 3 "$TMP/fio" | paste -s -d' ')"
		write "$SYS/reset" 1 || status=1
		wait_for 10 no_zspages_left ||
			fail "$(vm nr_zspages) zsmalloc pages are left after a reset" || status=1
		rounds=$((rounds + 1))
	done
	ended fio "$rounds" "$moved" && ((status == 0))
}

# Pages of the device that is turned off go to the other one, because the cgroup is full.
swap_off_and_on() {
	local rounds=0 moved status=0 first
	moved=$(migrated)
	new_cgroup swap && write "$CGROUP/memory.max" 16M || return
	zram_swap 256M lz4 || return
	first=$ZRAM
	zram_new && zram_swap_on 256M lz4 || return
	start_load swap -m $MB || { CGROUP=; return 1; }
	start_compaction "$SYS"
	parts_end
	while ((SECONDS < PART_END && status == 0)); do
		for device in "$first" "$ZRAM"; do
			limited swapoff "$device" || fail "swapoff of $device failed" || status=1
			swapon -p 32767 "$device" || fail "swapon of $device failed" || status=1
		done
		rounds=$((rounds + 1))
	done
	stop_compaction || status=1
	end_load swap || status=1
	CGROUP=
	zram_end_all
	ended swapoff "$rounds" "$moved" && ((status == 0))
}

disk() { # disk COMMAND...: runs a command of zs_disk
	limited "$DIR/zs_disk" -w 1-240 -r 5 "$ZRAM" "$TMP/state" "$@" > "$TMP/disk" ||
		fail "zs_disk $1: $(tail -n 1 "$TMP/disk")"
}

# zram counts the pages of an object before it refuses it, so that its maximum may be a few
# zspages above the limit.
within_limit() {
	local most
	most=$(mm_stat 5)
	((most <= (LIMIT_MB << 20) * 101 / 100)) ||
		fail "the device has used $most bytes, and its limit is $LIMIT_MB MB"
}

start_limited() { # $ZRAM, which is empty
	rm -f "$TMP/state"
	write "$SYS/comp_algorithm" lz4 && write "$SYS/disksize" 128M &&
		write "$SYS/mem_limit" "${LIMIT_MB}M"
}

was_refused() {
	awk '$1 == "refused" && $2 { found = 1 } END { exit !found }' "$TMP/disk" ||
		fail "zram refused no page"
}

mem_limit() {
	local rounds=0 moved status=0
	moved=$(migrated)
	zram_end_all
	zram_new && start_limited || return
	start_compaction "$SYS"
	parts_end
	while ((SECONDS < PART_END && status == 0)); do
		# zs_disk counts up to 255 fills.
		if ((rounds % 100 == 99)); then
			write "$SYS/reset" 1 && start_limited || status=1
		fi
		{ disk fill && was_refused && within_limit && disk thin 3 2 && disk check; } ||
			status=1
		rounds=$((rounds + 1))
	done
	stop_compaction || status=1
	ended mem_limit "$rounds" "$moved" && ((status == 0))
}

limits_of_cgroup() {
	local rounds=0 moved status=0 swap=$DISK_DIR/zsmalloc-swap-$$ written
	zram_end_all
	moved=$(migrated)
	at_exit rm -f "$swap"
	{ fallocate -l 256M "$swap" && chmod 600 "$swap"; } || return
	at_exit swapoff "$swap"
	{ limited mkswap "$swap" && swapon -p 32767 "$swap"; } > /dev/null 2>&1 || return
	write $ZSWAP/enabled Y && new_cgroup zswap && write "$CGROUP/memory.max" 32M || return
	start_load zswap -m $MB -n 2 || { CGROUP=; write $ZSWAP/enabled N; swapoff "$swap"; return 1; }
	start_compaction
	parts_end
	while ((SECONDS < PART_END && status == 0)); do
		for limit in 4M 12M; do
			write "$CGROUP/memory.zswap.max" $limit || status=1
			write "$CGROUP/memory.reclaim" 4M	# Less may be reclaimed.
			sleep 1
		done
		rounds=$((rounds + 1))
	done
	stop_compaction || status=1
	written=$(awk '$1 == "zswpwb" { print $2 }' "$CGROUP/memory.stat")
	end_load zswap || status=1
	CGROUP=
	write $ZSWAP/enabled N || status=1
	swapoff "$swap" || status=1
	((written > 0)) || fail "zswap has written nothing back" || status=1
	ended zswap "$rounds" "$moved" && ((status == 0))
}

recompression() {
	local rounds=0 moved status=0 before
	moved=$(migrated)
	zram_end_all
	zram_new && write "$SYS/recomp_algorithm" "algo=zstd priority=1" &&
		zram_swap_on 256M lz4 || return
	start_load recompressed -m $MB -n 3 || return
	before=$(mm_stat 2)
	start_compaction "$SYS"
	parts_end
	while ((SECONDS < PART_END && status == 0)); do
		{ write "$SYS/idle" all && write "$SYS/recompress" "type=idle" &&
			write "$SYS/recompress" "type=huge"; } ||
			fail "recompression failed" || status=1
		((rounds || $(mm_stat 2) < before)) || fail "nothing was recompressed" || status=1
		rounds=$((rounds + 1))
		sleep 1
	done
	stop_compaction || status=1
	end_load recompressed || status=1
	ended recompression "$rounds" "$moved" && ((status == 0))
}

unload() {
	rmmod zram || return
	[[ ! -e /sys/class/zram-control ]]
}

statement="a device is written and read by fio, and reset, again and again"
if command -v fio > /dev/null; then
	check "$statement" fio_and_reset
else
	skip "$statement" "the command fio is missing"
fi
check "data is intact while swap is turned off and on under pressure" swap_off_and_on
check "a device that is filled again and again keeps its mem_limit and its data" mem_limit
check "data is intact while zswap writes back at changing limits of a cgroup" limits_of_cgroup
zram_new
if [[ -e $SYS/recomp_algorithm ]] && zram_has zstd; then
	check "data that is recompressed again and again is intact" recompression
else
	skip "data that is recompressed again and again is intact" \
		"needs CONFIG_ZRAM_MULTI_COMP and zstd"
fi
check "all zsmalloc pages of the test are freed" nothing_leaked
if [[ -d /sys/module/zram/holders ]]; then
	check "the module zram can be unloaded" unload
else
	skip "the module zram can be unloaded" "zram is not a module"
fi
check "the kernel is no more tainted than before" test "$(cat /proc/sys/kernel/tainted)" = "$TAINTED"
ktap_finished
