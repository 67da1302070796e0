#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What kcompactd costs while objects are held open for long: memory is fragmented by
# zsmalloc pages, some of which have an object open all the time, and proactive
# compaction tries to make blocks of it. It must not try the same again and again.

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects held open, until the end
SECONDS_OF_TRYING=$((SECONDS_OF_WORK * 10))
((SECONDS_OF_TRYING <= 60)) || SECONDS_OF_TRYING=60
MOST_PERCENT=50	# of a CPU's time
SLEEPER=$((SECONDS_OF_TRYING / 5))

start_test 6
PROACTIVE=/proc/sys/vm/compaction_proactiveness
need_file $PROACTIVE CONFIG_COMPACTION
need_zram
need_command mkswap swapon pgrep getconf
THREADS=$(pgrep -d ' ' '^kcompactd[0-9]+$') || skip_test "kcompactd does not run"
TICK_MS=$((1000 / $(getconf CLK_TCK)))
need_hold
set_for_test $PROACTIVE 0
# Blocks are to be made by moving pages, not by swapping them out.
set_for_test /proc/sys/vm/swappiness 0
zswap_off
count_migrations
begin_checks

# CPU time of all of them so far, in ms
cpu_ms() {
	local thread ticks=0
	for thread in $THREADS; do
		ticks=$((ticks + $(sed 's/.*) //' "/proc/$thread/stat" |
			awk '{ print $12 + $13 }')))
	done
	echo $((ticks * TICK_MS))
}

free_huge() { # free memory in blocks of 2 MB and more, in such blocks
	awk '{ size = 1; for (i = 14; i <= NF; i++) { n += $i * size; size *= 2 } }
	     END { print n + 0 }' /proc/buddyinfo
}

# Memory full of zsmalloc pages, and then two thirds free again, in small pieces; the
# objects that will be held open lie in some of these.
fragment() {
	local free
	write /proc/sys/vm/drop_caches 3
	free=$(meminfo MemFree)
	zram_swap "$((free * 3 / 2))M" lz4 || return
	LOAD_SECONDS=200 start_load fragments -m $((free * 105 / 100)) -r 70 -k 3 -i ||
		return
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=$(($(meminfo MemFree) / 8)) || return
	say "$(vm nr_zspages) zsmalloc pages, $(hold objects) objects of zs_hold, $(meminfo MemFree) MB free, $(free_huge) blocks of 2 MB are whole"
	(($(free_huge) < $(meminfo MemFree) * 3 / 8)) || fail "memory is not fragmented"
}

# trying NAME SECONDS: what kcompactd does in that time
trying() {
	local name=$1 seconds=$2 cpu moved scanned huge
	cpu=$(cpu_ms) moved=$(migrated) huge=$(free_huge)
	scanned=$(vm compact_daemon_migrate_scanned)
	write $PROACTIVE 100
	sleep "$seconds"
	write $PROACTIVE 0
	cpu=$(($(cpu_ms) - cpu)) moved=$(($(migrated) - moved))
	scanned=$(($(vm compact_daemon_migrate_scanned) - scanned))
	say "$name: $cpu ms of CPU time in $seconds seconds, $scanned pages looked at, $moved moved, $huge blocks of 2 MB before, $(free_huge) after"
	figure "kcompactd.$name.cpu_ms" "$cpu"
	figure "kcompactd.$name.moved" "$moved"
	figure "kcompactd.$name.scanned" "$scanned"
	figure "kcompactd.$name.blocks_made" $(($(free_huge) - huge))
	((scanned > 0)) || fail "kcompactd did not look at any page" || return
	((cpu <= seconds * 1000 * MOST_PERCENT / 100)) ||
		fail "more than $MOST_PERCENT % of a CPU"
}

held() {
	hold_set hold_ms 0 && hold_set open $OPEN && trying held "$SECONDS_OF_TRYING"
}

# It did what can be done: what is left is not worth much.
later() { trying held_later "$SLEEPER"; }

check "memory is fragmented" fragment
check "kcompactd uses little CPU time while $OPEN objects are open" held
check "... and in the time after that" later
check "the objects are intact" hold_is_intact
empty_node
check "what was moved is intact" end_load fragments
check "no zsmalloc page is left" nothing_leaked
ktap_finished
