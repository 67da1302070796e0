#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Too little memory, and too little swap: zram at its mem_limit refuses pages, and
# nothing is lost; a cgroup that is out of both is killed, and soon; meanwhile
# others go on, and pressure is reported.

. "$(dirname "$0")/zsmalloc_lib.sh"

KILL_SECONDS=60		# to kill who takes too much
LATE_MS=5000		# the longest that another process may have to wait

start_test 6
need_zram
need_command mkswap swapon
need_controller memory
new_cgroup pressure || skip_test "cannot make a cgroup"
zswap_off
begin_checks

event() { awk -v key="$1" '$1 == key { print $2 }' "$CGROUP/memory.events"; }

# Somebody else who does a little now and then, and writes down the longest it
# took.
start_watch() {
	(
		worst=0
		while :; do
			start=$(now_ms)
			ls /proc/sys/vm > /dev/null
			sleep 0.1
			ms=$(($(now_ms) - start))
			((ms <= worst)) || worst=$ms
			echo "$worst" > "$TMP/worst"
		done
	) &
	WATCH=$!
}

# With a mem_limit, zram refuses what exceeds it: that stays in memory.
limited_zram() {
	local refused status=0
	write "$CGROUP/memory.max" 64M
	zram_swap 128M lzo-rle || return
	write "$SYS/mem_limit" 8M || return
	start_load refused -m 48 || return
	start_compaction "$SYS"
	sleep "$SECONDS_OF_WORK"
	refused=$(awk '{ print $2 }' "$SYS/io_stat")
	say "zram: $(mm_stat 3) bytes of 8 MB, $refused writes refused; $(event oom_kill) killed"
	((refused > 0)) || fail "the limit was not reached" || status=1
	(($(mm_stat 3) <= 8 << 20)) || fail "zram exceeded its limit" || status=1
	stop_compaction || status=1
	end_load refused || status=1
	zram_end_all
	return "$status"
}

# More than fits in memory and swap together
killed() {
	local start before seconds pid
	before=$(event oom_kill)
	write "$CGROUP/memory.max" 24M
	zram_swap 16M lzo-rle || return
	start_compaction "$SYS"
	start_watch
	start=$SECONDS
	(
		write "$CGROUP/cgroup.procs" "$BASHPID"
		exec "$DIR/zs_load" -m 128 -o "$TMP/killed"
	) &
	pid=$!
	wait_for $KILL_SECONDS was_killed "$before" ||
		fail "not killed within $KILL_SECONDS seconds" || return
	seconds=$((SECONDS - start))
	wait $pid 2> /dev/null
	say "killed after $seconds seconds"
	figure pressure.killed_after_s "$seconds"
}

was_killed() { (($(event oom_kill) > $1)); }

others_waited() {
	kill "$WATCH"
	stop_compaction || return
	say "the longest wait of another process: $(cat "$TMP/worst") ms"
	figure pressure.longest_wait_ms "$(cat "$TMP/worst")"
	(($(cat "$TMP/worst") <= LATE_MS))
}

pressure_is_reported() {
	local total
	total=$(awk -F= '/^some/ { print $NF }' "$CGROUP/memory.pressure")
	say "some waited for memory for $total us"
	((total > 0))
}

# The same zram, emptied by the death of its user, takes the next one's pages.
next_one() {
	write "$CGROUP/memory.max" 24M
	start_load next -m 28 -r 0 && end_load next
}

check "zram keeps to its limit, and nothing is lost" limited_zram
check "who takes more than there is gets killed" killed
check "others do not wait long" others_waited
if [[ -e $CGROUP/memory.pressure ]]; then
	check "pressure is reported" pressure_is_reported
else
	skip "pressure is reported" "needs CONFIG_PSI"
fi
check "the next one can swap" next_one
check "no zsmalloc page is left" nothing_leaked
ktap_finished
