#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measures page faults that read from zram and from zswap, with and without compaction of
# memory. A process reads random pages of memory that is swapped out. Little memory is free.
# It is compacted without pause, by a task that wants huge pages and returns them, by
# compact_memory and by kcompactd. THP is on.

. "$(dirname "$0")/zsmalloc_lib.sh"

MB=256		# the memory that is swapped out
TIME=$((SECONDS_OF_WORK * 5))	# seconds of each measurement
LEAST=$((TIME * 100))	# so many faults must be measured
LIMIT_MS=200	# the 99th percentile must not exceed this
SPARE=160	# MB that stay free
WANTED=40	# huge pages that are wanted again and again
PROACTIVE=/proc/sys/vm/compaction_proactiveness
HUGE=/proc/sys/vm/nr_hugepages
THP=/sys/kernel/mm/transparent_hugepage/enabled

start_test 8
need_file $PROACTIVE CONFIG_COMPACTION
need_file $THP CONFIG_TRANSPARENT_HUGEPAGE
need_file $HUGE CONFIG_HUGETLB_PAGE
HUGE_MB=$(($(awk '$1 == "Hugepagesize:" { print $2 }' /proc/meminfo) / 1024))
need_zram
need_command mkswap swapon fallocate
need_kcompactd
set_for_test $PROACTIVE 0
set_for_test $HUGE 0
set_for_test /proc/sys/vm/page-cluster 0	# A fault reads one page.
was=$(sed 's/.*\[\(.*\)\].*/\1/' $THP)
at_exit write $THP "$was"
write $THP always
zswap_off
count_migrations
begin_checks

# Huge pages take the free memory, except for SPARE. They stay where they are.
take_memory() {
	local nr=$((($(meminfo MemFree) - SPARE) / HUGE_MB))
	((nr < 0)) || write $HUGE "$nr"
}

start_flat_out() {
	local nr
	nr=$(cat $HUGE)
	write $PROACTIVE 100
	rm -f "$TMP/enough"
	while [[ ! -e $TMP/enough ]]; do
		echo $((nr + WANTED)) > $HUGE
		echo 1 > /proc/sys/vm/compact_memory
		echo "$nr" > $HUGE
	done &
	COMPACTOR=$!
}

end_flat_out() {
	: > "$TMP/enough"
	wait "$COMPACTOR"
	write $PROACTIVE 0
}

# faults NAME: times the faults of a load, NAME.compacting: while memory is compacted
faults() {
	local name=$1 key status=0
	take_memory
	LOAD_SECONDS=120 start_load "$name" -m $MB -t || return
	MOVED=$(migrated) CPU_MS=$(kcompactd_ms)
	[[ $name != *.compacting ]] || start_flat_out
	sleep "$TIME"
	kill -TERM "${LOADS[$name]}"	# It reports its times and then checks its memory.
	[[ $name != *.compacting ]] || end_flat_out
	MOVED=$(($(migrated) - MOVED)) CPU_MS=$(($(kcompactd_ms) - CPU_MS))
	end_load "$name" || status=1
	write $HUGE 0
	for key in faults faults_per_s p50_us p99_us p999_us max_us; do
		figure "faults.$name.$key" "$(load_result "$name" $key)"
	done
	(($(load_result "$name" faults) >= LEAST)) ||
		fail "only $(load_result "$name" faults) faults read from swap" || return
	(($(load_result "$name" p99_us) <= LIMIT_MS * 1000)) ||
		fail "one fault of a hundred took more than $LIMIT_MS ms" || return
	return "$status"
}

# compacting NAME: faults NAME.compacting, with what was migrated meanwhile
compacting() {
	faults "$1.compacting" || return
	figure "faults.$1.compacting.moved" "$MOVED"
	figure "faults.$1.compacting.kcompactd_ms" "$CPU_MS"
	((MOVED > 0)) || fail "no page was migrated"
}

zswap_on() {
	SWAP=$DISK_DIR/zsmalloc-swap-$$
	at_exit rm -f "$SWAP"
	{ fallocate -l $((MB * 2))M "$SWAP" && chmod 600 "$SWAP"; } || return
	at_exit swapoff "$SWAP"
	{ limited mkswap "$SWAP" && swapon -p 32767 "$SWAP"; } > /dev/null 2>&1 || return
	set_for_test $ZSWAP/compressor lz4 && set_for_test $ZSWAP/max_pool_percent 50 &&
		set_for_test $ZSWAP/shrinker_enabled N && write $ZSWAP/enabled Y
}

no_disk() { # Faults must have read from zswap and not from the disk.
	local pages
	pages=$(vm pswpin)
	((pages == FROM_DISK)) || fail "$((pages - FROM_DISK)) pages were read from the disk"
}

check "zram is in use as swap" zram_swap 1G lz4
check "faults that read from zram are timed" faults zram
check "faults that read from zram are timed while memory is compacted" compacting zram
zram_end_all
if [[ -e $ZSWAP/enabled ]]; then
	FROM_DISK=$(vm pswpin)
	check "zswap is in use" zswap_on
	check "faults that read from zswap are timed" faults zswap
	check "faults that read from zswap are timed while memory is compacted" compacting zswap
	check "no page was read from the disk" no_disk
else
	for statement in "zswap is in use" "faults that read from zswap are timed" \
		"faults that read from zswap are timed while memory is compacted" \
		"no page was read from the disk"; do
		skip "$statement" "needs CONFIG_ZSWAP"
	done
fi
[[ -z ${SWAP:-} ]] || swapoff "$SWAP"
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
