#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measures how long a driver waits for 1 MB of a CMA area that is full of zsmalloc pages.
# All blocks of the area are allocated, one after another: while no object is open, while
# a module holds objects open, and while objects are opened because zram is read.

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects held open at a time
HOLD_MS=20	# time each of them is held open
ROUNDS=$((SECONDS_OF_WORK < 4 ? 1 : 2))
BLOCK=$(((1 << 20) / PAGE_SIZE))
KIND=(-w 40-240 -r 20)	# pages that zram compresses to objects of 1 to 4 KB
LIMIT_MS=2000	# the 99th percentile must not exceed this

start_test 6
need_cma
need_hold
need_zram
need_command numactl
zswap_off
count_migrations
begin_checks
NR=$((PAGES / BLOCK))
say "CMA area $(basename "$AREA"): $NR blocks of 1 MB on node $NODE"

free_on_node() { # in MB
	awk '$3 == "MemFree:" { print int($4 / 1024) }' \
		"/sys/devices/system/node/node$NODE/meminfo"
}

# A file in tmpfs takes the node's memory, except for the area and 32 MB, so that objects
# fill the area in each round. The area is allocated while the file is written.
make_ballast() {
	local mb
	mkdir "$TMP/ballast" || return
	write "$AREA/alloc" "$PAGES" || fail "the empty CMA area cannot be allocated" || return
	write /proc/sys/vm/drop_caches 3
	mb=$(($(free_on_node) - 32))
	mount -t tmpfs -o "mpol=bind:$NODE,size=${mb}M" tmpfs "$TMP/ballast" || return
	at_exit umount "$TMP/ballast"
	limited dd if=/dev/zero of="$TMP/ballast/file" bs=1M count="$mb" 2> "$TMP/dd" ||
		fail "$(tail -n 1 "$TMP/dd")" || return
	free_area
	say "$(free_on_node) MB of node $NODE are free, $(meminfo CmaFree) MB of them in the CMA area"
	(($(meminfo CmaFree) >= (PAGES * PAGE_SIZE >> 20) * 95 / 100))
}

# The area is so full that most blocks contain pages that must be migrated.
is_full() {
	(($(meminfo CmaFree) * 8 <= PAGES * PAGE_SIZE >> 20)) ||
		fail "$(meminfo CmaFree) MB of the CMA area are free"
}

# one_by_one NAME: allocates all blocks of the area; writes the times to $TMP/NAME
one_by_one() {
	is_full || return
	limited "$DIR/zs_time" "$NR" "$AREA/alloc" "$BLOCK" >> "$TMP/$1" ||
		fail "only $(wc -l < "$TMP/$1") blocks of the CMA area were allocated within the time limit"
}

# report NAME: reports the times in $TMP/NAME
report() {
	report_times "$1" "cma_blocks.$1" || return
	figure "cma_blocks.$1.migrated" "$MOVED"
	((NR_TIMED == NR * ROUNDS && P99_US <= LIMIT_MS * 1000))
}

# blocks NAME FILL BEGIN END: ROUNDS times, calls FILL and BEGIN, allocates all blocks
# and calls END
blocks() {
	local name=$1 status=0 round before
	MOVED=0
	for ((round = 0; round < ROUNDS && status == 0; round++)); do
		"$2" || return
		"$3" || status=1
		before=$(migrated)
		((status)) || one_by_one "$name" || status=1
		MOVED=$((MOVED + $(migrated) - before))
		"$4" || status=1
		free_area
	done
	report "$name" && ((status == 0))
}

hold_fill() {
	empty_node
	fill_node "$NODE" 12
}

hold_begin() { hold_set hold_ms $HOLD_MS && hold_set open $OPEN; }

hold_end() { hold_is_intact; }

# zram allocates objects on the node of the page that is written.
disk() { # disk COMMAND...: runs a command of zs_disk
	limited numactl --preferred="$NODE" "$DIR/zs_disk" "${KIND[@]}" "$ZRAM" \
		"$TMP/state" "$@" > "$TMP/disk" || fail "$(cat "$TMP/disk")"
}

zram_fill() {
	local mb=$(($(free_on_node) - 12))
	zram_end_all
	rm -f "$TMP/state"
	zram_new && write "$SYS/comp_algorithm" lz4 &&
		write "$SYS/disksize" 512M && write "$SYS/mem_limit" "${mb}M" &&
		disk fill || return
	say "zram stores $(($(mm_stat 1) >> 20)) MB of data in $(($(mm_stat 3) >> 20)) MB of memory"
}

zram_begin() {
	local i
	READERS=()
	for i in 1 2; do
		timeout -s KILL "$WRITE_SECONDS" "$DIR/zs_disk" "${KIND[@]}" -c $i \
			"$ZRAM" "$TMP/state" read "$WRITE_SECONDS" > "$TMP/reader$i" &
		READERS+=($!)
	done
	sleep 0.5
}

zram_end_readers() {
	local pid alive=0
	for pid in "${READERS[@]}"; do
		kill -0 "$pid" 2> /dev/null && alive=$((alive + 1))
	done
	# A reader that has ended has found an error.
	kill "${READERS[@]}" 2> /dev/null
	wait "${READERS[@]}" 2> /dev/null
	((alive == 2)) || fail "a reader of zram ended early: $(cat "$TMP"/reader?)" || return
	disk check
}

no_begin() { :; }

check "the node is full except for its CMA area" make_ballast
check "blocks of the CMA area are allocated while no object is open" \
	blocks idle hold_fill no_begin hold_end
check "blocks of the CMA area are allocated while objects are opened for $HOLD_MS ms each" \
	blocks held hold_fill hold_begin hold_end
empty_node
check "blocks of the CMA area are allocated while zram is read" \
	blocks zram zram_fill zram_begin zram_end_readers
zram_end_all
check "the CMA area is allocated after all objects were freed" write "$AREA/alloc" "$PAGES"
free_area
umount "$TMP/ballast"
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
