#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory blocks that are full of zsmalloc pages are taken offline and online
# again: with nobody at them, with users that read, write, allocate and free, with
# objects that are held open for a while, and with objects that are held open all
# the time. A block with pages that failed goes offline once these are not in use.
# Then a memory device is unplugged while it is used, if that is allowed.

. "$(dirname "$0")/zsmalloc_lib.sh"

BLOCKS=2	# at most, each time
ROUNDS=2
OPEN=256	# objects held open at a time
HOLD_MS=50	# for how long
LIMIT=45	# seconds until a block has to be offline
SOFT=4		# pages of a block that fail softly, another one hard
MEMORY=/sys/devices/system/memory

start_test 15
need_file $MEMORY/block_size_bytes CONFIG_MEMORY_HOTPLUG
NODE=
blocks=()
DEVICE=		# that can be unplugged
device_blocks=()
for dir in "$MEMORY"/memory[0-9]*; do
	if [[ -n ${ZSMALLOC_TEST_EJECT:-} && -e $dir/firmware_node/eject ]]; then
		device=$(realpath "$dir/firmware_node")
		[[ $device != "${DEVICE:=$device}" ]] || device_blocks+=("$dir")
		continue
	fi
	# What must not be moved may be in any zone but this.
	[[ $(cat "$dir/state") == online && $(cat "$dir/valid_zones") == Movable ]] ||
		continue
	[[ -z $NODE || -e $dir/node$NODE ]] || continue
	((${#blocks[@]} < BLOCKS)) || continue
	# Some hold what the kernel took while it booted: they never go.
	write "$dir/state" offline || continue
	write "$dir/state" online_movable
	: "${NODE:=$(node_of_block "$dir")}"
	blocks+=("$dir")
done
((${#blocks[@]})) ||
	skip_test "no memory block in ZONE_MOVABLE that can go offline: needs CONFIG_MEMORY_HOTREMOVE, boot with movablecore=1G"
((BLOCK_PAGES = $(block_pages)))
need_hold
need_zram
at_exit all_online
at_exit unpoison_all
zswap_off
count_migrations
begin_checks
BEFORE=$(machine)
say "blocks of $((BLOCK_PAGES * PAGE_SIZE >> 20)) MB on node $NODE: ${blocks[*]##*/}"

all_online() {
	local dir
	for dir in "${blocks[@]}"; do
		[[ $(cat "$dir/state") == online ]] || write "$dir/state" online_movable
	done
}

inside() { # inside BLOCK: objects in it
	local n=${1##*memory}
	hold_inside $((n * BLOCK_PAGES)) $(((n + 1) * BLOCK_PAGES - 1))
}

fill() {
	local dir n
	empty_node
	all_online
	# One block is free elsewhere for each that is taken offline.
	fill_node "$NODE" 24 || return
	for dir in "${blocks[@]}"; do
		n=$(inside "$dir")
		say "$n of $(hold objects) objects are in ${dir##*/}"
		# At 1.6 KB an object: at least half of the block
		((n >= BLOCK_PAGES * PAGE_SIZE / 1600 / 2)) || return
	done
}

# offline BLOCK: within $LIMIT seconds, and its memory must really be gone.
offline() {
	local total left
	total=$(meminfo MemTotal)
	write "$1/state" offline "$LIMIT" || fail "${1##*/}: $ERROR" || return
	[[ $(cat "$1/state") == offline ]] || fail "${1##*/} is not offline" || return
	left=$((total - $(meminfo MemTotal)))
	((left >= (BLOCK_PAGES * PAGE_SIZE >> 20) - 1)) ||
		{ say "${1##*/} is offline, but memory shrank by $left MB only"; return 1; }
}

# take_offline NAME: all blocks, one after the other
take_offline() {
	local name=$1 dir start ms got=0 longest=0 migrations
	migrations=$(migrated)
	for dir in "${blocks[@]}"; do
		start=$(now_ms)
		offline "$dir" && got=$((got + 1))
		ms=$(($(now_ms) - start))
		((ms <= longest)) || longest=$ms
	done
	say "$name: $got of ${#blocks[@]} blocks offline, at most $longest ms each"
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

again() {
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

# The pages that readers have found stay theirs, so a block cannot go offline,
# but the objects have to leave it.
open_all_the_time() {
	local dir left=0
	fill || return
	hold_set hold_ms 0 && hold_set open $OPEN || return
	LIMIT=10 take_offline held
	for dir in "${blocks[@]}"; do
		left=$((left + $(inside "$dir")))
	done
	figure offline.held.objects_left "$left"
	((left == 0)) || { say "$left objects were not moved"; return 1; }
}

closed_again() {
	hold_set open 0 || return
	take_offline closed && none_inside
}

# frames_in BLOCK NUMBER: of objects, sets FRAMES, the last one last
frames_in() {
	local n=${1##*memory} objects pfn i
	local frames=()
	objects=$(hold objects)
	# Those of a block are neighbours: look here and there, far from each other.
	for ((i = 0; i < 500 && ${#frames[@]} < $2; i++)); do
		pfn=$(frame_of $((i * (objects * 618 / 1000) % objects))) || return
		((pfn / BLOCK_PAGES != n)) || frames+=("$pfn")
	done
	readarray -t FRAMES < <(printf '%s\n' "${frames[@]}" | sort -n -u)
	((${#FRAMES[@]} == $2)) || fail "found ${#FRAMES[@]} pages in ${1##*/}"
}

# The objects in pages that fail softly are moved. Those in the page that fails hard,
# the last one, cannot be moved.
fail_pages() { # fail_pages BLOCK
	local pfn
	fill && frames_in "$1" $((SOFT + 1)) || return
	for pfn in "${FRAMES[@]:0:SOFT}"; do
		soft_offline "$pfn" || fail "soft offlining: $ERROR" || return
	done
	hard_offline "${FRAMES[SOFT]}"
}

# So the block has to stay, and this has to be said soon. Before the kernel gets to
# that page, it has to get past the other ones.
failed_page_in_use() { # failed_page_in_use BLOCK
	local start
	fail_pages "$1" || return
	start=$(now_ms)
	! write "$1/state" offline "$LIMIT" ||
		fail "${1##*/} went offline, and its page ${FRAMES[SOFT]} is in use" || return
	say "${1##*/}: $ERROR, after $(($(now_ms) - start)) ms"
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

# As its owner does who wants the memory back
unplug() {
	local start total
	start=$(now_ms)
	total=$(meminfo MemTotal)
	write "$DEVICE/eject" 1 || fail "it cannot be ejected" || return
	wait_for "$LIMIT" no_device_blocks || fail "it was not ejected" || return
	say "unplugged in $(($(now_ms) - start)) ms, $((total - $(meminfo MemTotal))) MB"
	figure offline.unplugged.ms "$(($(now_ms) - start))"
	((total - $(meminfo MemTotal) >= ${#blocks[@]} * (BLOCK_PAGES * PAGE_SIZE >> 20) - 1))
}

use_device() {
	all_online
	blocks=("${device_blocks[@]}")
	all_online
	NODE=$(node_of_block "${blocks[0]}")
}

# As they are marked, the block cannot go online again until it is unplugged.
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

check "memory goes offline" undisturbed
check "the objects are intact" hold_is_intact
check "... again and again, as it fills" again
check "... while it is used and compacted" while_used users_active
check "... while objects are opened for $HOLD_MS ms" open_for_a_while
check "the objects are intact after that" hold_is_intact
check "objects that are held open leave the memory" open_all_the_time
check "... and it goes offline once they are closed" closed_again
check "the objects are intact at the end" hold_is_intact
all_online
if can_fail; then
	check "memory with a failed page in use stays online" failed_page_in_use "${blocks[0]}"
	check "... and goes offline once it is unpoisoned" unpoisoned "${blocks[0]}"
else
	skip "memory with a failed page in use stays online" "needs CONFIG_HWPOISON_INJECT"
	skip "... and goes offline once it is unpoisoned" "needs CONFIG_HWPOISON_INJECT"
fi
DEVICE_NEEDS="needs CONFIG_ACPI_HOTPLUG_MEMORY, a device, as QEMU's pc-dimm, and ZSMALLOC_TEST_EJECT=1"
if ((${#device_blocks[@]} >= 2)) && can_fail; then
	check "memory with failed pages that were freed goes offline" device_fails
else
	skip "memory with failed pages that were freed goes offline" \
		"$DEVICE_NEEDS, of two blocks, and CONFIG_HWPOISON_INJECT"
fi
if ((${#device_blocks[@]})); then
	check "a memory device is unplugged while it is used" device_is_unplugged
	check "the objects are intact without it" hold_is_intact
else
	skip "a memory device is unplugged while it is used" "$DEVICE_NEEDS"
	skip "the objects are intact without it" "$DEVICE_NEEDS"
fi
check "nothing is left behind" nothing_left_behind "$BEFORE"
ktap_finished
