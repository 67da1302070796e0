#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks that zram's mem_limit limits memory.  In each round, a device is filled up to the
# limit with pages that compress to a few bytes, nearly all of them are discarded at
# random, and the device is compacted.  The survivors of all rounds must not make the
# device take much more memory than the limit allows.
#
# mem_limit counts the pages of zsmalloc.  It does not count descriptors and handles,
# which come from slab caches; their size depends on the objects and on the design of the
# allocator.  Therefore this test counts all memory, pages and slabs, and compares it with
# the memory of a device that was filled once, up to the same limit and with the same kind
# of pages.  In no round may the difference exceed 1 % of the limit.  The measurement needs
# no knowledge of the allocator, so it is the same for each allocator.

. "$(dirname "$0")/zsmalloc_lib.sh"

LIMIT_MB=16
LIMIT=$((LIMIT_MB << 20))
ROUNDS=$((SECONDS_OF_WORK < 4 ? 3 : 6))
SLABS=/sys/kernel/slab

start_test 5
need_zram
need_file $SLABS/kmalloc-32/slabs CONFIG_SLUB_DEBUG
need_file /proc/sys/vm/stat_refresh CONFIG_VM_EVENT_COUNTERS
begin_checks

# The caches of zsmalloc, and those of kmalloc for small sizes.  A cache that was merged
# with others is a link to the common cache.
caches() {
	readlink -f $SLABS/zs* $SLABS/kmalloc-{8,16,32,64,96,128,192,256,512,1k} | sort -u
}

# Frees empty slabs.  Objects in them would take memory that is not seen as added.
shrink_slabs() {
	local cache
	for cache in $(caches); do
		[[ ! -e $cache/shrink ]] || write "$cache/shrink" 1
	done
}

slab_bytes() { # of all their slabs
	local cache sum=0 order nr
	for cache in $(caches); do
		[[ -e $cache/slabs ]] || continue
		order=$(< "$cache/order")
		read -r nr _ < "$cache/slabs"
		sum=$((sum + (nr * PAGE_SIZE << order)))
	done
	echo "$sum"
}

pages_bytes() { echo $(($(exact_vm nr_zspages) * PAGE_SIZE)); }

disk() { # disk [-c CHOICE] COMMAND...: runs zs_disk; its result is in $TMP/disk
	local options=("${KIND[@]}")
	[[ $1 != -c ]] || { options+=(-c "$2"); shift 2; }
	limited "$DIR/zs_disk" "${options[@]}" "$ZRAM" "$TMP/state" "$@" > "$TMP/disk" ||
		fail "zs_disk $1: $(tail -n 1 "$TMP/disk")"
}

pack() { # The second compaction evacuates zspages that the first one had to skip.
	write "$SYS/compact" 1 && write "$SYS/compact" 1
}

result() { awk -v key="$1" '$1 == key { n = $2 } END { print n + 0 }' "$TMP/disk"; }

new_device() {
	zram_end_all
	rm -f "$TMP/state"
	zram_new && write "$SYS/comp_algorithm" lz4 &&
		write "$SYS/disksize" "${DISK_MB}M" &&
		write "$SYS/mem_limit" "${LIMIT_MB}M" || return
	# The baseline contains the zram table of the first device. Slabs that remain
	# of an earlier device are used by the next one, so they count.
	[[ -z ${SLAB_BEFORE:-} ]] || return 0
	shrink_slabs
	PAGES_BEFORE=$(pages_bytes)
	SLAB_BEFORE=$(slab_bytes)
}

# measure STATE: reports the memory of the device in that state, and sets TOTAL
measure() {
	local pages slab
	sleep 0.3
	pages=$(($(pages_bytes) - PAGES_BEFORE))
	slab=$(($(slab_bytes) - SLAB_BEFORE))
	TOTAL=$((pages + slab))
	say "$1: $((pages >> 10)) KB of pages, $((slab >> 10)) KB of slabs, $(($(mm_stat 3) >> 10)) KB counted for the limit; $(($(mm_stat 1) / PAGE_SIZE)) pages stored"
}

# Fills the device up to its limit
fill_up() {
	disk fill || return
	(($(result refused) > 0)) ||
		fail "zram refused no page: only $(mm_stat 3) of $LIMIT bytes are used"
}

# memory_is_limited NAME: fills, thins out and packs a device with pages of $KIND
memory_is_limited() {
	local name=$1 fresh peak=0 keep round stored choice=0
	new_device || return
	fill_up || return
	measure "$name objects, filled once"
	fresh=$TOTAL
	stored=$(mm_stat 1)
	say "$name objects: $(($(mm_stat 2) * PAGE_SIZE / stored)) bytes on average"
	figure "mem_limit.$name.object_bytes" $(($(mm_stat 2) * PAGE_SIZE / stored))

	new_device || return
	for ((round = 1; round <= ROUNDS; round++)); do
		fill_up || return
		measure "$name objects, round $round, filled"
		((TOTAL <= peak)) || peak=$TOTAL
		# Two steps, so that the second one moves objects that have moved before.
		for keep in '4 1' '12 1'; do
			# shellcheck disable=SC2086 # two numbers
			disk -c "$((++choice))" thin $keep || return
			pack
			measure "$name objects, round $round, 1 of ${keep% *} of the last fill kept, packed"
			((TOTAL <= peak)) || peak=$TOTAL
		done
	done
	# TOTAL is now the memory for the survivors of all rounds.
	figure "mem_limit.$name.bytes_per_survivor" \
		$((TOTAL * PAGE_SIZE / $(mm_stat 1)))
	fill_up || return
	measure "$name objects, filled after all rounds"
	((TOTAL <= peak)) || peak=$TOTAL
	disk -c "$((++choice))" thin 2 2 && pack && fill_up || return
	measure "$name objects, half kept, packed and filled"
	((TOTAL <= peak)) || peak=$TOTAL
	figure "mem_limit.$name.kb_filled_once" $((fresh >> 10))
	figure "mem_limit.$name.kb_at_most" $((peak >> 10))
	figure "mem_limit.$name.over_percent" \
		"$(awk "BEGIN { printf \"%.2f\", ($peak - $fresh) * 100 / $LIMIT }")"
	figure "mem_limit.$name.stored_percent_of_once" $(($(mm_stat 1) * 100 / stored))
	(((peak - fresh) * 100 <= LIMIT)) ||
		fail "the device took $(((peak - fresh) >> 10)) KB more than one that was filled once"
}

intact() { # Survivors of all rounds and the pages of the last fill are right.
	disk check && (($(result checked) > 0 && $(result wrong) == 0))
}

# In each page, one word differs from the others.
KIND=(-w 1-1) DISK_MB=2048
check "tiny objects: refilled zram takes at most 1 % of mem_limit more than zram filled once" \
	memory_is_limited tiny
check "tiny objects are intact after zram was refilled" intact
KIND=(-w 1-12) DISK_MB=1024
check "mixed objects: refilled zram takes at most 1 % of mem_limit more than zram filled once" \
	memory_is_limited mixed
check "mixed objects are intact after zram was refilled" intact
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
