#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory is filled with zsmalloc pages, and most of them are freed, so that nearly every
# pageblock contains some. Then kcompactd makes large free blocks, hugetlb and THP request
# huge pages, and the kernel requests smaller blocks, all while a process swaps.

. "$(dirname "$0")/zsmalloc_lib.sh"

ENOUGH=60	# percent of the requested blocks must be obtained

start_test 9
need_zram
need_file /proc/sys/vm/nr_hugepages CONFIG_HUGETLBFS
need_file /sys/kernel/mm/transparent_hugepage/enabled CONFIG_TRANSPARENT_HUGEPAGE
need_command mkswap swapon
[[ $(awk '$1 == "Hugepagesize:" { print $2 }' /proc/meminfo) == 2048 ]] ||
	skip_test "the size of huge pages is not 2 MB"
set_for_test /proc/sys/vm/nr_hugepages 0
for knob in enabled defrag; do
	file=/sys/kernel/mm/transparent_hugepage/$knob
	at_exit write $file "$(sed 's/.*\[\(.*\)\].*/\1/' $file)"
	write $file madvise
done
# Huge pages must be obtained by migrating pages, not by swapping them out.
set_for_test /proc/sys/vm/swappiness 0
PROACTIVE=/proc/sys/vm/compaction_proactiveness
need_file $PROACTIVE CONFIG_COMPACTION
set_for_test $PROACTIVE 0
need_hold
zswap_off
count_migrations
begin_checks

# Free memory in blocks of at least 2 MB, in units of 2 MB
free_huge() {
	awk '{ size = 1; for (i = 14; i <= NF; i++) { n += $i * size; size *= 2 } }
	     END { print n + 0 }' /proc/buddyinfo
}

fragment() {
	local free huge
	write /proc/sys/vm/drop_caches 3
	free=$(meminfo MemFree)
	# Most of the data does not compress, so zram takes nearly as much memory for it.
	zram_swap "$((free * 3 / 2))M" lz4 || return
	LOAD_SECONDS=150 start_load fragments -m $((free * 105 / 100)) -r 70 -k 3 || return
	huge=$(free_huge)
	say "fragmented memory: $(vm nr_zspages) zsmalloc pages, $(meminfo MemFree) MB free, $huge free blocks of 2 MB"
	figure huge.blocks_before "$huge"
	((huge < $(meminfo MemFree) / 2 / 2)) ||
		fail "memory is not fragmented"
}

# got NAME WANTED GOT MS: reports the blocks, and succeeds if they are enough
got() {
	say "$1: obtained $3 of $2 blocks in $4 ms"
	figure "huge.$1.wanted" "$2"
	figure "huge.$1.got" "$3"
	figure "huge.$1.ms" "$4"
	(($3 * 100 >= $2 * ENOUGH))
}

free_for_kernel() { # in pages; the kernel does not allocate from ZONE_MOVABLE
	awk '$4 != "Movable" {
		for (i = 5; i <= NF; i++)
			n += $i * 2 ^ (i - 5)
	} END { print n + 0 }' /proc/buddyinfo
}

# kcompactd makes free blocks although no task requests any.
proactive() {
	local before scanned migrations start ms
	before=$(free_huge) migrations=$(migrated)
	scanned=$(vm compact_daemon_migrate_scanned)
	start=$(now_ms)
	write $PROACTIVE 100
	wait_for 30 blocks_made $((before * 5 / 4 + 1))
	ms=$(($(now_ms) - start))
	write $PROACTIVE 0
	figure huge.kcompactd.made $(($(free_huge) - before))
	figure huge.kcompactd.ms "$ms"
	say "kcompactd: $before free blocks of 2 MB before, $(free_huge) after $ms ms, $(($(migrated) - migrations)) pages migrated"
	(($(vm compact_daemon_migrate_scanned) > scanned)) ||
		fail "kcompactd did not scan any page" || return
	(($(free_huge) > before && $(migrated) > migrations))
}

blocks_made() { (($(free_huge) >= $1)); }

# kernel_blocks ORDER: blocks such as the kernel allocates for stacks, tables and buffers
kernel_blocks() {
	local want start have
	want=$(($(free_for_kernel) * 6 / 10 >> $1))
	start=$(now_ms)
	hold_set blocks "$1 $want" || return
	have=$(hold blocks)
	got "order$1" "$want" "$have" $(($(now_ms) - start))
}

hugetlb() {
	local want have start ms migrations
	want=$(($(meminfo MemFree) * 9 / 10 / 2))
	migrations=$(migrated)
	start=$(now_ms)
	write /proc/sys/vm/nr_hugepages "$want" 60
	ms=$(($(now_ms) - start))
	have=$(cat /proc/sys/vm/nr_hugepages)
	figure huge.hugetlb.migrated "$(($(migrated) - migrations))"
	write /proc/sys/vm/nr_hugepages 0
	got hugetlb $want "$have" $ms
}

thp() {
	timeout 100 "$DIR/zs_thp" $(($(meminfo MemFree) / 2)) > "$TMP/thp" ||
		fail "zs_thp failed" || return
	got thp "$(load_result thp wanted)" "$(load_result thp got)" "$(load_result thp ms)"
}

check "zsmalloc pages fragment memory" fragment
check "proactive compaction makes free blocks of 2 MB" proactive
check "hugetlb gets at least $ENOUGH % of the requested huge pages" hugetlb
check "THP gets at least $ENOUGH % of the requested huge pages" thp
insmod "$DIR/zs_hold/zs_hold.ko" mbytes=1
check "the kernel gets at least $ENOUGH % of the requested blocks of 8 pages" kernel_blocks 3
check "the kernel gets at least $ENOUGH % of the requested blocks of 16 pages" kernel_blocks 4
empty_node
check "swapped data is intact after compaction" end_load fragments
check "all zsmalloc pages of the test are freed" nothing_leaked
check "hugetlb keeps no huge page" test "$(cat /proc/sys/vm/nr_hugepages)" = 0
ktap_finished
