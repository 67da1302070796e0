#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A process that swaps to zram is moved from node to node, by migratepages and by
# its cpuset. Its data is intact, and what it swaps in comes to the node where it
# may be.

. "$(dirname "$0")/zsmalloc_lib.sh"

MB=64
ROUNDS=4

start_test 5
need_zram
need_command mkswap swapon
nodes=()
for dir in /sys/devices/system/node/node[0-9]*; do
	[[ ! -d $dir ]] || nodes+=("${dir##*/node}")
done
((${#nodes[@]} >= 2)) || skip_test "only one node: boot with numa=fake=2"
need_file /proc/self/numa_maps CONFIG_NUMA
need_controller memory cpuset
zswap_off
count_migrations
begin_checks

# pages_on NODE: the load's pages there
pages_on() {
	# Anonymous memory that can be swapped, not its program and libraries
	awk -v node="N$1=" '/ anon=/ && !/ file=/ {
		for (i = 1; i <= NF; i++)
			if (index($i, node) == 1)
				n += substr($i, length(node) + 1)
	} END { print n + 0 }' "/proc/${LOADS[numa]}/numa_maps"
}

swapping() {
	zram_swap 128M && new_cgroup numa || return
	write "$CGROUP/memory.max" 40M
	start_load numa -m $MB || return
	MIGRATED_BEFORE=$(migrated)
	start_compaction "$SYS"
}

by_migratepages() {
	local i from to status=0
	for ((i = 0; i < ROUNDS; i++)); do
		from=${nodes[i % 2]} to=${nodes[(i + 1) % 2]}
		timeout 60 migratepages "${LOADS[numa]}" "$from" "$to" || status=1
		sleep $((SECONDS_OF_WORK / 4))
	done
	return "$status"
}

by_cpuset() {
	local i here there status=0
	for ((i = 0; i < ROUNDS; i++)); do
		write "$CGROUP/cpuset.mems" "${nodes[i % 2]}" ||
			fail "cannot set cpuset.mems" || return
		sleep $((1 + SECONDS_OF_WORK / 4))
		here=$(pages_on "${nodes[i % 2]}")
		there=$(pages_on "${nodes[(i + 1) % 2]}")
		say "node ${nodes[i % 2]}: $here pages there, $there on the other one"
		((here > 0 && there <= here / 20)) || status=1
	done
	return "$status"
}

intact() {
	local status=0
	wait_for 60 some_migrated || fail "no page migrated" || status=1
	figure numa.migrated "$(migrated)"
	stop_compaction || status=1
	end_load numa || status=1
	return "$status"
}

check "a process swaps to zram" swapping
if command -v migratepages > /dev/null; then
	check "migratepages moves it" by_migratepages
else
	skip "migratepages moves it" "no command migratepages"
fi
check "cpuset.mems moves it, and what it swaps in" by_cpuset
check "its data is intact" intact
check "no zsmalloc page is left" nothing_leaked
ktap_finished
