#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Does a guest give memory back to its host? Memory is filled, three quarters of it are
# freed at random, and memory and zsmalloc's pools are compacted: first with zram as swap,
# then with a pool of which some objects are held open. Free page reporting of
# virtio-balloon and unplugging of virtio-mem need memory that is free in large blocks, so
# the host gets back only what was packed.
#
# The host's side is a program behind the virtio port "zsmalloc.host" that tells how much
# of the guest's memory is resident on the host, and plugs and unplugs memory:
# harness/lib/host.py.
#
# ZSMALLOC_TEST_MAP	a command that is told the name of each measurement

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects that are held open
KEEP=4		# of so many pages or objects, one stays
MOST_KEPT=50	# percentage of free memory that may stay with the host
MOST_KEPT_OPEN=85	# the same if as many objects are open as there are blocks of 2 MB
LEAST_UNPLUGGED=50	# percentage of the wanted memory that must be unplugged
LEAST_UNPLUGGED_OPEN=15	# the same if as many objects are open as there are blocks of 2 MB
SPARE=64	# MB of free memory that stay in the guest when memory is unplugged

start_test 12
need_host
need_zram
need_command mkswap swapon
need_hold
zswap_off
DATA=$(($(meminfo MemTotal) * 6 / 5))	# MB that are swapped out
begin_checks

# With migration off, figures have names of their own.
NAME=give_back
[[ $(cat /sys/module/zsmalloc/parameters/migration 2> /dev/null) != N ]] || NAME=give_back.off

used() { echo $(($(meminfo MemTotal) - $(meminfo MemFree))); }

# measure STATE: records the host's and the guest's view of the guest's memory, in MB
measure() {
	host rss || return
	RESIDENT=$((ANSWER[1] / 1024))
	say "$1: $RESIDENT MB of the guest's memory are resident, at most $((ANSWER[2] / 1024)) MB since the last measurement, $((ANSWER[0] / 1024)) MB of QEMU; the guest uses $(used) MB, $(($(vm nr_zspages) * PAGE_SIZE >> 20)) MB of them for zsmalloc"
	figure "$NAME.$1.resident_mb" "$RESIDENT"
	figure "$NAME.$1.peak_mb" "$((ANSWER[2] / 1024))"
	figure "$NAME.$1.used_mb" "$(used)"
	[[ -z ${ZSMALLOC_TEST_MAP:-} ]] || $ZSMALLOC_TEST_MAP "$1"
}

compact() { # compact COMMAND...: the command compacts the pool
	write /proc/sys/vm/drop_caches 1
	write /proc/sys/vm/compact_memory 1
	measure "$STATE.compacted" || return
	"$@" || return
	write /proc/sys/vm/compact_memory 1
	measure "$STATE.packed"
}

fill_swap() {
	zram_swap 4G lz4 || fail "no swap on zram" || return
	LOAD_SECONDS=900 start_load swap -m "$DATA" -k "$KEEP" -i || return
	measure "$STATE.freed"
}

fill_pool() {
	local mb
	write /proc/sys/vm/drop_caches 1
	mb=$(($(meminfo MemFree) * 80 / 100))
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes="$mb" || return
	hold_set thin "$KEEP" && hold_set open "$OPEN" || return
	wait_for 10 all_open || fail "$(hold opened) objects are open, not $OPEN" || return
	measure "$STATE.freed"
}

all_open() { (($(hold opened) >= OPEN)); }

# Much of what the guest does not use must have gone back to the host.
gave_back() { # gave_back PERCENTAGE: of free memory that may stay
	local kept=$((RESIDENT - $(used))) free
	free=$(meminfo MemFree)
	say "$kept of $free MB that are free in the guest are still resident on the host"
	figure "$NAME.$STATE.kept_mb" "$kept"
	((kept * 100 <= free * $1))
}

# As much as is free, except for SPARE, is unplugged, and plugged again, in blocks of 2 MB.
unplug() { # unplug PERCENTAGE: must be unplugged
	local want before unplugged
	before=$PLUGGED
	want=$((($(meminfo MemFree) - SPARE) / 2 * 2))
	((want <= before)) || want=$before
	host plug $((before - want)) || return
	unplugged=$((before - ANSWER[0] / 1024))
	say "of $want MB that should be unplugged, $unplugged MB were"
	figure "$NAME.$STATE.unplug_wanted_mb" "$want"
	figure "$NAME.$STATE.unplugged_mb" "$unplugged"
	[[ -z ${ZSMALLOC_TEST_MAP:-} ]] || $ZSMALLOC_TEST_MAP "$STATE.unplugged"
	host plug "$before" || return
	((unplugged * 100 >= want * $1))
}

end_pool() {
	hold_set open 0 && hold_set check 1 || return
	say "zs_hold: checked $(hold checked) times, wrong $(hold wrong) times"
	(($(hold checked) > OPEN && $(hold wrong) == 0)) && empty_node
}

check_unplug() { # check_unplug STATEMENT PERCENTAGE
	if ((PLUGGED)); then
		check "$1" unplug "$2"
	else
		skip "$1" "the guest has no memory that can be unplugged"
	fi
}

host plugged || ktap_exit_fail_msg "the host does not answer"
PLUGGED=$((ANSWER[0] / 1024))
check "the host measures the guest's memory" measure start
STATE=swap
check "memory is swapped to zram and three quarters of it are freed" fill_swap
check "memory and zram are compacted" compact write "$SYS/compact" 1
check "the host gets back what is free, with zram as swap" gave_back $MOST_KEPT
check_unplug "free memory is unplugged, with zram as swap" $LEAST_UNPLUGGED
check "swapped memory is intact" end_load swap
zram_end_all
STATE=open
check "a pool is filled, and three quarters of its objects are freed" fill_pool
check "memory and the pool are compacted while $OPEN objects are open" compact hold_set compact 1
check "the host gets back what is free, while $OPEN objects are open" gave_back $MOST_KEPT_OPEN
check_unplug "free memory is unplugged, while $OPEN objects are open" $LEAST_UNPLUGGED_OPEN
check "all objects are intact" end_pool
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
