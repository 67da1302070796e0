#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory is filled with zsmalloc pages and most of them are freed again, so some
# are left in nearly every pageblock. Then hugetlb and THP ask for huge pages
# while swapping goes on.

. "$(dirname "$0")/zsmalloc_lib.sh"

ENOUGH=60	# percent of the free memory has to be had in huge pages

start_test 6
need_file /sys/class/zram-control/hot_add CONFIG_ZRAM
need_file /proc/sys/vm/nr_hugepages CONFIG_HUGETLBFS
need_file /sys/kernel/mm/transparent_hugepage/enabled CONFIG_TRANSPARENT_HUGEPAGE
need_command mkswap swapon timeout
[[ $(awk '$1 == "Hugepagesize:" { print $2 }' /proc/meminfo) == 2048 ]] ||
	skip_test "huge pages are not of 2 MB"
set_for_test /proc/sys/vm/nr_hugepages 0
for knob in enabled defrag; do
	file=/sys/kernel/mm/transparent_hugepage/$knob
	at_exit write $file "$(sed 's/.*\[\(.*\)\].*/\1/' $file)"
	write $file madvise
done
# Huge pages are to be made by moving pages, not by swapping them out.
set_for_test /proc/sys/vm/swappiness 0
zswap_off
count_migrations
begin_checks

# Free memory in blocks of 2 MB and more, in huge pages
free_huge() {
	awk '{ size = 1; for (i = 14; i <= NF; i++) { n += $i * size; size *= 2 } }
	     END { print n + 0 }' /proc/buddyinfo
}

# As much as can be made of them
whole_blocks() {
	write /proc/sys/vm/drop_caches 3
	write /proc/sys/vm/compact_memory 1
	free_huge
}

fragment() {
	local free huge
	WHOLE=$(whole_blocks)
	free=$(meminfo MemFree)
	# Most of it does not compress, so it takes nearly as much memory.
	zram_swap "$((free * 3 / 2))M" lz4 || return
	LOAD_SECONDS=150 start_load fragments -m $((free * 105 / 100)) -r 70 -k 3 || return
	huge=$(free_huge)
	say "$(vm nr_zspages) zsmalloc pages, $(meminfo MemFree) MB free, $huge blocks of 2 MB are whole"
	figure huge.blocks_before "$huge"
	((huge < $(meminfo MemFree) / 2 / 2)) ||
		fail "memory is not fragmented"
}

# got NAME WANTED GOT MS
got() {
	say "$1: $3 of $2 huge pages in $4 ms"
	figure "huge.$1.wanted" "$2"
	figure "huge.$1.got" "$3"
	figure "huge.$1.ms" "$4"
	(($3 * 100 >= $2 * ENOUGH))
}

hugetlb() {
	local want have start ms migrations
	want=$(($(meminfo MemFree) * 9 / 10 / 2))
	migrations=$(migrated)
	start=$(now_ms)
	timeout 60 sh -c "echo $want > /proc/sys/vm/nr_hugepages"
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

# None may have got lost on the way.
all_memory_is_back() {
	local whole
	whole=$(whole_blocks)
	say "$whole blocks of 2 MB are whole, $WHOLE were before the test"
	figure huge.blocks_lost $((WHOLE - whole))
	# Others have allocated meanwhile.
	((whole >= WHOLE * 9 / 10))
}

check "memory is full of zsmalloc pages" fragment
check "hugetlb gets its pages" hugetlb
check "THP gets its pages" thp
check "what was moved is intact" end_load fragments
zram_end_all
check "all memory is whole again" all_memory_is_back
check "no huge page is left in use" test "$(cat /proc/sys/vm/nr_hugepages)" = 0
ktap_finished
