#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measures the CPU time of kcompactd while objects are held open. zsmalloc pages fragment
# memory, some of them contain objects that stay open, and proactive compaction tries to
# make large free blocks. It must not retry the same pages without end.

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects held open until the end
FIRST_SECONDS=$((SECONDS_OF_WORK * 10))
((FIRST_SECONDS <= 60)) || FIRST_SECONDS=60
MOST_PERCENT=50	# of the time of one CPU
SECOND_SECONDS=$((FIRST_SECONDS / 5))

start_test 6
PROACTIVE=/proc/sys/vm/compaction_proactiveness
need_file $PROACTIVE CONFIG_COMPACTION
need_zram
need_command mkswap swapon
need_kcompactd
need_hold
set_for_test $PROACTIVE 0
# Free blocks must be made by migrating pages, not by swapping them out.
set_for_test /proc/sys/vm/swappiness 0
zswap_off
count_migrations
begin_checks

free_huge() { # free memory in blocks of at least 2 MB, in units of 2 MB
	awk '{ size = 1; for (i = 14; i <= NF; i++) { n += $i * size; size *= 2 } }
	     END { print n + 0 }' /proc/buddyinfo
}

# Fills memory with zsmalloc pages and frees two thirds of it in small pieces. The objects
# that will be held open are allocated in some of these pieces.
fragment() {
	local free
	write /proc/sys/vm/drop_caches 3
	free=$(meminfo MemFree)
	zram_swap "$((free * 3 / 2))M" lz4 || return
	LOAD_SECONDS=200 start_load fragments -m $((free * 105 / 100)) -r 70 -k 3 -i ||
		return
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=$(($(meminfo MemFree) / 8)) || return
	say "fragmented memory: $(vm nr_zspages) zsmalloc pages, $(hold objects) objects of zs_hold, $(meminfo MemFree) MB free, $(free_huge) free blocks of 2 MB"
	(($(free_huge) < $(meminfo MemFree) * 3 / 8)) || fail "memory is not fragmented"
}

# run_kcompactd NAME SECONDS: measures proactive compaction during SECONDS
run_kcompactd() {
	local name=$1 seconds=$2 cpu moved scanned huge
	cpu=$(kcompactd_ms) moved=$(migrated) huge=$(free_huge)
	scanned=$(vm compact_daemon_migrate_scanned)
	write $PROACTIVE 100
	sleep "$seconds"
	write $PROACTIVE 0
	cpu=$(($(kcompactd_ms) - cpu)) moved=$(($(migrated) - moved))
	scanned=$(($(vm compact_daemon_migrate_scanned) - scanned))
	say "kcompactd, $name: $cpu ms of CPU time in $seconds seconds, $scanned pages scanned, $moved migrated, $huge free blocks of 2 MB before, $(free_huge) after"
	figure "kcompactd.$name.cpu_ms" "$cpu"
	figure "kcompactd.$name.moved" "$moved"
	figure "kcompactd.$name.scanned" "$scanned"
	figure "kcompactd.$name.blocks_made" $(($(free_huge) - huge))
	((scanned > 0)) || fail "kcompactd did not scan any page" || return
	((cpu <= seconds * 1000 * MOST_PERCENT / 100)) ||
		fail "kcompactd used more than $MOST_PERCENT % of a CPU"
}

held() {
	hold_set hold_ms 0 && hold_set open $OPEN && run_kcompactd held "$FIRST_SECONDS"
}

# Compaction that is still useful was done in the first period.
held_later() { run_kcompactd held_later "$SECOND_SECONDS"; }

check "zsmalloc pages fragment memory" fragment
check "kcompactd uses at most $MOST_PERCENT % of a CPU while $OPEN objects are open" held
check "kcompactd uses at most $MOST_PERCENT % of a CPU in a second period with open objects" \
	held_later
check "objects that stayed open are intact" hold_is_intact
empty_node
check "swapped data is intact after compaction" end_load fragments
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
