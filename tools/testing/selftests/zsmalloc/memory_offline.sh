#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory blocks that are full of zsmalloc pages are taken offline and online: while no
# task uses the objects, while tasks read, write, allocate and free objects, while objects
# are held open for a short time each, and while objects are held open all the time. A
# block with failed pages can be taken offline only if these pages are not in use. Finally,
# a memory device is unplugged while it is used, if this is allowed.

. "$(dirname "$0")/zsmalloc_lib.sh"

BLOCKS=2	# the most that are taken offline
ROUNDS=2
OPEN=256	# objects held open at a time
HOLD_MS=50	# time each of them is held open
LIMIT=45	# seconds within which a block must be offline
SOFT=4		# pages of a block that are soft-offlined; one more fails hard
MEMORY=/sys/devices/system/memory

start_test 15
need_file $MEMORY/block_size_bytes CONFIG_MEMORY_HOTPLUG
NODE=
blocks=()
DEVICE=		# a memory device that can be unplugged
device_blocks=()
for dir in "$MEMORY"/memory[0-9]*; do
	if [[ -n ${ZSMALLOC_TEST_EJECT:-} && -e $dir/firmware_node/eject ]]; then
		device=$(realpath "$dir/firmware_node")
		[[ $device != "${DEVICE:=$device}" ]] || device_blocks+=("$dir")
		continue
	fi
	# Pages that cannot be moved are never in ZONE_MOVABLE.
	[[ $(cat "$dir/state") == online && $(cat "$dir/valid_zones") == Movable ]] ||
		continue
	[[ -z $NODE || -e $dir/node$NODE ]] || continue
	((${#blocks[@]} < BLOCKS)) || continue
	# Blocks with memory that the kernel took at boot can never be taken offline.
	write "$dir/state" offline || continue
	write "$dir/state" online_movable
	: "${NODE:=$(node_of_block "$dir")}"
	blocks+=("$dir")
done
((${#blocks[@]})) ||
	skip_test "no memory block in ZONE_MOVABLE can be taken offline: needs CONFIG_MEMORY_HOTREMOVE, and booting with movablecore=1G"
((BLOCK_PAGES = $(block_pages)))
need_hold
need_zram
at_exit all_online
at_exit unpoison_all
zswap_off
count_migrations
begin_checks
BEFORE=$(machine_state)
say "memory blocks of $((BLOCK_PAGES * PAGE_SIZE >> 20)) MB on node $NODE: ${blocks[*]##*/}"

all_online() {
	local dir
	for dir in "${blocks[@]}"; do
		[[ $(cat "$dir/state") == online ]] || write "$dir/state" online_movable
	done
}

inside() { # inside BLOCK: the number of objects in it
	local n=${1##*memory}
	hold_inside $((n * BLOCK_PAGES)) $(((n + 1) * BLOCK_PAGES - 1))
}

fill() {
	local dir n
	empty_node
	all_online
	# Other memory can hold the objects of each block that is taken offline.
	fill_node "$NODE" 24 || return
	for dir in "${blocks[@]}"; do
		n=$(inside "$dir")
		say "$n of $(hold objects) objects are in ${dir##*/}"
		# At 1.6 KB per object, this is half of the block.
		((n >= BLOCK_PAGES * PAGE_SIZE / 1600 / 2)) || return
	done
}

# offline BLOCK: takes it offline within LIMIT seconds, and checks that memory shrank
offline() {
	local total left
	total=$(meminfo MemTotal)
	write "$1/state" offline "$LIMIT" || fail "${1##*/}: $ERROR" || return
	[[ $(cat "$1/state") == offline ]] || fail "${1##*/} is not offline" || return
	left=$((total - $(meminfo MemTotal)))
	((left >= (BLOCK_PAGES * PAGE_SIZE >> 20) - 1)) ||
		{ say "${1##*/} is offline, but memory shrank by only $left MB"; return 1; }
}

# take_offline NAME: takes all blocks offline, one after another
take_offline() {
	local name=$1 dir start ms got=0 longest=0 migrations
	migrations=$(migrated)
	for dir in "${blocks[@]}"; do
		start=$(now_ms)
		offline "$dir" && got=$((got + 1))
		ms=$(($(now_ms) - start))
		((ms <= longest)) || longest=$ms
	done
	say "memory blocks, $name: $got of ${#blocks[@]} taken offline in at most $longest ms each"
	figure "offline.$name.got" "$got"
	figure "offline.$name.ms" "$longest"
	figure "offline.$name.migrated" "$(($(migrated) - migrations))"
	((got == ${#blocks[@]}))
}

none_inside() {
	local dir n status=0
	hold_set churn 0
	for dir in "${blocks[@]}"; do
		n=$(inside "$dir")
		((n == 0)) || { say "$n objects are still in ${dir##*/}"; status=1; }
	done
	return "$status"
}

undisturbed() {
	fill && take_offline idle && none_inside
}

# Objects that are allocated in a block that is online again must leave it, too.
refilled() {
	local i status=0
	hold_set churn 1
	for ((i = 1; i <= ROUNDS; i++)); do
		all_online
		sleep $((SECONDS_OF_WORK / 4))
		take_offline "again$i" || status=1
	done
	none_inside || status=1
	return "$status"
}

while_used() { # while_used COMMAND...
	local status=0
	fill || return
	zram_swap 128M || return
	start_load users -m 64 -n 3 || return
	start_compaction "$SYS"
	hold_set churn 1
	"$@" || status=1
	stop_compaction || status=1
	end_load users || status=1
	zram_end_all
	return "$status"
}

users_active() {
	take_offline users && none_inside
}

open_for_a_while() {
	local status=0
	fill || return
	hold_set hold_ms $HOLD_MS && hold_set open $OPEN || return
	take_offline opened || status=1
	none_inside || status=1
	return "$status"
}

# Pages of open objects are kept for their readers, so a block cannot be taken offline,
# but the objects must leave it.
open_all_the_time() {
	local dir left=0
	fill || return
	hold_set hold_ms 0 && hold_set open $OPEN || return
	LIMIT=10 take_offline held
	for dir in "${blocks[@]}"; do
		left=$((left + $(inside "$dir")))
	done
	figure offline.held.objects_left "$left"
	((left == 0)) || { say "$left objects were not moved out of the memory blocks"; return 1; }
}

closed_again() {
	hold_set open 0 || return
	take_offline closed && none_inside
}

# frames_in BLOCK NUMBER: sets FRAMES to page frames of objects in the block, in
# ascending order
frames_in() {
	local n=${1##*memory} objects pfn i
	local frames=()
	objects=$(hold objects)
	# Objects with similar numbers are in the same block: try numbers that are far
	# from each other.
	for ((i = 0; i < 500 && ${#frames[@]} < $2; i++)); do
		pfn=$(frame_of $((i * (objects * 618 / 1000) % objects))) || return
		((pfn / BLOCK_PAGES != n)) || frames+=("$pfn")
	done
	readarray -t FRAMES < <(printf '%s\n' "${frames[@]}" | sort -n -u)
	((${#FRAMES[@]} == $2)) || fail "found ${#FRAMES[@]} instead of $2 pages with objects in ${1##*/}"
}

# The objects of soft-offlined pages are moved. The objects of the page that fails hard,
# which is the last one, cannot be moved.
fail_pages() { # fail_pages BLOCK
	local pfn
	fill && frames_in "$1" $((SOFT + 1)) || return
	for pfn in "${FRAMES[@]:0:SOFT}"; do
		soft_offline "$pfn" || fail "soft offlining failed: $ERROR" || return
	done
	hard_offline "${FRAMES[SOFT]}"
}

# A block with a failed page in use must stay online, and the kernel must report this
# soon. Before it reaches that page, it must skip the soft-offlined ones.
failed_page_in_use() { # failed_page_in_use BLOCK
	local start
	fail_pages "$1" || return
	start=$(now_ms)
	! write "$1/state" offline "$LIMIT" ||
		fail "${1##*/} was taken offline while its page ${FRAMES[SOFT]} was in use" || return
	say "offlining ${1##*/} failed after $(($(now_ms) - start)) ms: $ERROR"
	[[ $ERROR == "Device or resource busy" ]] || return
	hold_is_intact
}

unpoisoned() { # unpoisoned BLOCK
	unpoison_all && offline "$1"
	all_online
}

device_is_unplugged() {
	[[ ${blocks[0]} == "${device_blocks[0]}" ]] || use_device || return
	while_used unplug
}

no_device_blocks() {
	local dir
	for dir in "${device_blocks[@]}"; do
		[[ ! -e $dir ]] || return
	done
}

# Ejects the memory device, like a hypervisor that takes memory back from a guest
unplug() {
	local start total
	start=$(now_ms)
	total=$(meminfo MemTotal)
	write "$DEVICE/eject" 1 || fail "the memory device cannot be ejected" || return
	wait_for "$LIMIT" no_device_blocks || fail "the memory device was not ejected within $LIMIT seconds" || return
	say "memory device: $((total - $(meminfo MemTotal))) MB unplugged in $(($(now_ms) - start)) ms"
	figure offline.unplugged.ms "$(($(now_ms) - start))"
	((total - $(meminfo MemTotal) >= ${#blocks[@]} * (BLOCK_PAGES * PAGE_SIZE >> 20) - 1))
}

use_device() {
	all_online
	blocks=("${device_blocks[@]}")
	all_online
	NODE=$(node_of_block "${blocks[0]}")
}

# A block with poisoned pages cannot be set online, so it stays offline until the device
# is unplugged.
device_fails() {
	local failed=${device_blocks[-1]}
	use_device || return
	if fail_pages "$failed" && empty_node && offline "$failed"; then
		FAILED=()
		unset "blocks[-1]"
	else
		unpoison_all
		return 1
	fi
}

check "memory blocks are taken offline while their objects are idle" undisturbed
check "objects are intact after memory blocks were taken offline" hold_is_intact
check "memory blocks are refilled and taken offline $ROUNDS times" refilled
check "memory blocks are taken offline while memory is used and compacted" \
	while_used users_active
check "memory blocks are taken offline while objects are opened for $HOLD_MS ms each" \
	open_for_a_while
check "objects that were opened for $HOLD_MS ms each are intact" hold_is_intact
check "objects that stay open are moved out of memory blocks" open_all_the_time
check "memory blocks are taken offline after open objects were closed" closed_again
check "objects that stayed open are intact" hold_is_intact
all_online
if can_inject_failures; then
	check "a memory block with a failed page in use stays online" \
		failed_page_in_use "${blocks[0]}"
	check "a memory block is taken offline after its failed pages are unpoisoned" \
		unpoisoned "${blocks[0]}"
else
	skip "a memory block with a failed page in use stays online" \
		"needs CONFIG_HWPOISON_INJECT"
	skip "a memory block is taken offline after its failed pages are unpoisoned" \
		"needs CONFIG_HWPOISON_INJECT"
fi
DEVICE_NEEDS="needs CONFIG_ACPI_HOTPLUG_MEMORY, a memory device such as QEMU's pc-dimm, and ZSMALLOC_TEST_EJECT=1"
if ((${#device_blocks[@]} >= 2)) && can_inject_failures; then
	check "a memory block is taken offline after its failed pages are freed" device_fails
else
	skip "a memory block is taken offline after its failed pages are freed" \
		"$DEVICE_NEEDS, two memory blocks in the device, and CONFIG_HWPOISON_INJECT"
fi
if ((${#device_blocks[@]})); then
	check "a memory device is unplugged while memory is used and compacted" device_is_unplugged
	check "objects are intact after a memory device was unplugged" hold_is_intact
else
	skip "a memory device is unplugged while memory is used and compacted" "$DEVICE_NEEDS"
	skip "objects are intact after a memory device was unplugged" "$DEVICE_NEEDS"
fi
check "the test restores the machine's state" state_is_restored "$BEFORE"
ktap_finished
