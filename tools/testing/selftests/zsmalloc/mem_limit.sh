#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What zram's mem_limit is worth: a device is filled up to it with pages that
# compress to a few bytes, nearly all of them are discarded at random, the rest is
# packed together and stays, the device is filled up again, and so on.  Nothing that
# this leaves behind may make the device take much more memory than the limit allows.
#
# mem_limit is about the pages that zsmalloc takes.  Descriptors and handles, which
# come from slab caches, are not in there; how large they are depends on the
# objects, and is a matter of the allocator's design.  So what counts here is all
# memory, pages and slabs, and the measure is a device that was filled to the same
# limit with the same kind of pages, once: a driven one may take 1 % of the limit
# more than that, at any time.  What is measured needs no knowledge of the allocator,
# so it is the same for any.

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

# Bytes of all slabs in zsmalloc's own caches, and in those that small pieces come
# from.  A cache that was merged with others is a link to what it was merged with.
slab_bytes() {
	local cache sum=0 order nr
	for cache in $(readlink -f $SLABS/zs* $SLABS/kmalloc-{8,16,32,64,96,128,192,256,512,1k} |
			sort -u); do
		[[ -e $cache/slabs ]] || continue
		order=$(< "$cache/order")
		read -r nr _ < "$cache/slabs"
		sum=$((sum + (nr * PAGE_SIZE << order)))
	done
	echo "$sum"
}

pages_bytes() { echo $(($(exact_vm nr_zspages) * PAGE_SIZE)); }

disk() { # disk [-c CHOICE] COMMAND...: of zs_disk; its result in $TMP/disk
	local options=("${KIND[@]}")
	[[ $1 != -c ]] || { options+=(-c "$2"); shift 2; }
	limited "$DIR/zs_disk" "${options[@]}" "$ZRAM" "$TMP/state" "$@" > "$TMP/disk" ||
		fail "zs_disk $1: $(tail -n 1 "$TMP/disk")"
}

pack() { # a second time for what a first one was in the way of
	write "$SYS/compact" 1 && write "$SYS/compact" 1
}

result() { awk -v key="$1" '$1 == key { n = $2 } END { print n + 0 }' "$TMP/disk"; }

new_device() {
	zram_end_all
	rm -f "$TMP/state"
	zram_new && write "$SYS/comp_algorithm" lz4 &&
		write "$SYS/disksize" "${DISK_MB}M" &&
		write "$SYS/mem_limit" "${LIMIT_MB}M" || return
	# The first one's own table is there now. Slabs that are left of an earlier
	# one are used by the next, so they count.
	[[ -z ${SLAB_BEFORE:-} ]] || return 0
	PAGES_BEFORE=$(pages_bytes)
	SLAB_BEFORE=$(slab_bytes)
}

# measure WHAT: sets TOTAL
measure() {
	local pages slab
	sleep 0.3
	pages=$(($(pages_bytes) - PAGES_BEFORE))
	slab=$(($(slab_bytes) - SLAB_BEFORE))
	TOTAL=$((pages + slab))
	say "$1: $((pages >> 10)) KB of pages, $((slab >> 10)) KB of slabs, $(($(mm_stat 3) >> 10)) KB for the limit; $(($(mm_stat 1) / PAGE_SIZE)) pages stored"
}

# As full as it gets: to the limit
fill_up() {
	disk fill || return
	(($(result refused) > 0)) ||
		fail "nothing was refused: only $(mm_stat 3) bytes of $LIMIT are used"
}

# driven NAME: a device of pages of that KIND
driven() {
	local name=$1 fresh peak=0 keep round stored choice=0
	new_device || return
	fill_up || return
	measure "filled once"
	fresh=$TOTAL
	stored=$(mm_stat 1)
	say "an object has $(($(mm_stat 2) * PAGE_SIZE / stored)) bytes"
	figure "mem_limit.$name.object_bytes" $(($(mm_stat 2) * PAGE_SIZE / stored))

	new_device || return
	for ((round = 1; round <= ROUNDS; round++)); do
		fill_up || return
		measure "round $round, full"
		((TOTAL <= peak)) || peak=$TOTAL
		# In two steps, so that what was moved once is moved again.
		for keep in '4 1' '12 1'; do
			# shellcheck disable=SC2086 # two numbers
			disk -c "$((++choice))" thin $keep || return
			pack
			measure "... of the last ones one in ${keep% *} stays, packed"
			((TOTAL <= peak)) || peak=$TOTAL
		done
	done
	# The last measure was of what stayed, of all rounds.
	figure "mem_limit.$name.bytes_per_survivor" \
		$((TOTAL * PAGE_SIZE / $(mm_stat 1)))
	fill_up || return
	measure "full again"
	((TOTAL <= peak)) || peak=$TOTAL
	disk -c "$((++choice))" thin 2 2 && pack && fill_up || return
	measure "full at the end"
	((TOTAL <= peak)) || peak=$TOTAL
	figure "mem_limit.$name.kb_filled_once" $((fresh >> 10))
	figure "mem_limit.$name.kb_at_most" $((peak >> 10))
	figure "mem_limit.$name.over_percent" \
		"$(awk "BEGIN { printf \"%.2f\", ($peak - $fresh) * 100 / $LIMIT }")"
	figure "mem_limit.$name.stored_percent_of_once" $(($(mm_stat 1) * 100 / stored))
	(((peak - fresh) * 100 <= LIMIT)) ||
		fail "$(((peak - fresh) >> 10)) KB more than a device that was filled once"
}

intact() { # what went through all that, and what is there now
	disk check && (($(result checked) > 0 && $(result wrong) == 0))
}

# One word of a page differs from the others.
KIND=(-w 1-1) DISK_MB=2048
check "tiny objects keep to the limit" driven tiny
check "... and are intact" intact
KIND=(-w 1-12) DISK_MB=1024
check "small objects of many sizes keep to the limit" driven mixed
check "... and are intact" intact
check "no zsmalloc page is left" nothing_leaked
ktap_finished
