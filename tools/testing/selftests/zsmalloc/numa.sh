#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A process that swaps to zram is moved between NUMA nodes, by migratepages and by its
# cpuset. Its data must stay intact, and the pages that it swaps in must be on the node
# that the cpuset allows.

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
((${#nodes[@]} >= 2)) || skip_test "there is only one NUMA node: boot with numa=fake=2"
need_file /proc/self/numa_maps CONFIG_NUMA
need_controller memory cpuset
zswap_off
count_migrations
begin_checks

# pages_on NODE: the number of pages of the load on this node
pages_on() {
	# This counts anonymous memory, not the program and its libraries.
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
		say "cpuset.mems set to node ${nodes[i % 2]}: the process has $here pages on it, $there on the other node"
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
	check "migratepages moves a process that swaps to zram" by_migratepages
else
	skip "migratepages moves a process that swaps to zram" \
		"the command migratepages is missing"
fi
check "cpuset.mems moves a process that swaps to zram" by_cpuset
check "data of the moved process is intact" intact
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
