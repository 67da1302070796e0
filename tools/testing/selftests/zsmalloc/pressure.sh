#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory and swap run out. zram at its mem_limit refuses pages, and no data may be lost. If
# a cgroup has neither memory nor swap left, its process must be killed soon, other
# processes must not wait long, and the pressure must be reported.

. "$(dirname "$0")/zsmalloc_lib.sh"

KILL_SECONDS=60		# time within which a process must be killed
LATE_MS=5000		# the longest time that another process may wait

start_test 6
need_zram
need_command mkswap swapon
need_controller memory
new_cgroup pressure || skip_test "cannot make a cgroup"
zswap_off
begin_checks

event() { awk -v key="$1" '$1 == key { print $2 }' "$CGROUP/memory.events"; }

# Starts another process, which runs a short command repeatedly and records the longest
# time that the command took.
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

# Pages that zram refuses because of its mem_limit must stay in memory.
limited_zram() {
	local refused status=0
	write "$CGROUP/memory.max" 64M
	zram_swap 128M lzo-rle || return
	write "$SYS/mem_limit" 8M || return
	start_load refused -m 48 || return
	start_compaction "$SYS"
	sleep "$SECONDS_OF_WORK"
	refused=$(awk '{ print $2 }' "$SYS/io_stat")
	say "zram with a limit of 8 MB: $(mm_stat 3) bytes used, $refused writes refused, $(event oom_kill) processes killed"
	((refused > 0)) || fail "zram did not reach its limit" || status=1
	(($(mm_stat 3) <= 8 << 20)) || fail "zram exceeded its limit" || status=1
	stop_compaction || status=1
	end_load refused || status=1
	zram_end_all
	return "$status"
}

# The process takes more than memory and swap together can hold.
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
		fail "the process was not killed within $KILL_SECONDS seconds" || return
	seconds=$((SECONDS - start))
	wait $pid 2> /dev/null
	say "the process that exceeded memory and swap was killed after $seconds seconds"
	figure pressure.killed_after_s "$seconds"
}

was_killed() { (($(event oom_kill) > $1)); }

others_waited() {
	kill "$WATCH"
	stop_compaction || return
	say "longest wait of another process: $(cat "$TMP/worst") ms"
	figure pressure.longest_wait_ms "$(cat "$TMP/worst")"
	(($(cat "$TMP/worst") <= LATE_MS))
}

pressure_is_reported() {
	local total
	total=$(awk -F= '/^some/ { print $NF }' "$CGROUP/memory.pressure")
	say "memory pressure: tasks of the cgroup waited for memory for $total us"
	((total > 0))
}

# The pages of the killed process were freed, so the same zram can store those of another.
next_process() {
	write "$CGROUP/memory.max" 24M
	start_load next -m 28 -r 0 && end_load next
}

check "zram stays within its mem_limit, and no data is lost" limited_zram
check "a process that exceeds memory and swap is killed" killed
check "other processes wait at most $LATE_MS ms while memory runs out" others_waited
if [[ -e $CGROUP/memory.pressure ]]; then
	check "memory pressure of the cgroup is reported" pressure_is_reported
else
	skip "memory pressure of the cgroup is reported" "needs CONFIG_PSI"
fi
check "another process can swap to the same zram after the kill" next_process
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
