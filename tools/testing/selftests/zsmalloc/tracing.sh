#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs what Documentation/mm/zsmalloc.rst suggests: a program for bpftrace that shows how
# long tasks hold objects open, while swap is on zram; another one that shows which page
# frames keep a CMA area from being allocated, while objects in the area are held open;
# and trace-cmd and perf with the tracepoints of zsmalloc.

. "$(dirname "$0")/zsmalloc_lib.sh"

OPEN=256	# objects held open at a time
HOLD_MS=50	# time each of them is held open at first

# The programs, as in the documentation
# shellcheck disable=SC2016 # bpftrace has variables, too
READERS='
kprobe:zs_obj_read_begin, kprobe:zs_obj_read_sg_begin /elapsed < 1e10/ {
  @open[comm, tid, arg1] = elapsed / 1000;
}
kprobe:zs_obj_read_end, kprobe:zs_obj_read_sg_end /@open[comm, tid, arg1]/ {
  $us = elapsed / 1000 - @open[comm, tid, arg1];
  @us[comm] = hist($us); @max_us[comm] = max($us);
  delete(@open[comm, tid, arg1]);
}
interval:s:10 { exit(); }'

FRAMES='
tracepoint:zsmalloc:zs_migrate_page /args->stale/ {
  @held[args->src] = str(args->pool);
}
tracepoint:zsmalloc:zs_isolate_page /args->result && @held[args->pfn] == ""/ {
  @refused[args->pfn] = (str(args->pool), args->result);
}
tracepoint:kmem:mm_page_free {
  delete(@held[args->pfn]); delete(@refused[args->pfn]);
}
tracepoint:page_isolation:test_pages_isolated /args->fin_pfn < args->end_pfn/ {
  printf("page frame %lu is not free\n", args->fin_pfn);
}
tracepoint:cma:cma_alloc_finish /args->errorno/ {
  printf("%s: %lu pages of %s, error %d\n", comm, args->count,
    str(args->name), args->errorno);
  exit();
}'

start_test 15
STAT=/sys/kernel/debug/zsmalloc/zs_hold/migration
need_file $TRACING/events/zsmalloc/zs_isolate_page "the tracepoints of zsmalloc"
need_cma
need_hold
need_zram
zswap_off
count_migrations
begin_checks

# try COMMAND...: sets WHY to the reason if it does not work, otherwise to nothing
try() {
	local status=0
	WHY=
	command -v "$1" > /dev/null || { WHY="the command $1 is missing"; return; }
	limited "$@" < /dev/null > "$TMP/try" 2>&1 || status=$?
	if ((status == 128 + 9)); then
		WHY="$1 is not done after $WRITE_SECONDS seconds"
	elif ((status)); then
		WHY="$1: $(grep . "$TMP/try" | tail -n 1)"
	fi
}

# --- bpftrace ---------------------------------------------------------------

# start_bpftrace NAME PROGRAM: in the background, with its output in $TMP/NAME. Returns
# when all probes are attached.
start_bpftrace() {
	NAME=$1 FILES=
	: > "$TMP/$NAME"
	bpftrace -e "$2" < /dev/null > "$TMP/$NAME" 2>&1 &
	TRACER=$!
	wait_for 120 is_attached || fail "bpftrace has not attached its probes" || return
	! has_ended || fail "bpftrace: $(grep . "$TMP/$NAME" | tail -n 1)"
}

# bpftrace tells that it attaches probes before it does. It opens a file for each.
is_attached() {
	local files=$FILES
	! has_ended || return 0
	grep -q '^Attach' "$TMP/$NAME" || return
	FILES=$(find "/proc/$TRACER/fd" | wc -l)
	[[ $FILES == "$files" ]] || { sleep 1; return 1; }
}

has_ended() { ! kill -0 "$TRACER" 2> /dev/null; }

finish_bpftrace() {
	wait_for 60 has_ended || fail "bpftrace has not ended" || return
	wait "$TRACER" || fail "bpftrace has ended with status $?" || return
	say "bpftrace, of each map some lines:"
	awk 'NF && seen[substr($0, 1, 6)]++ < 20 { print "#   " $0 }' "$TMP/$NAME"
}

# --- readers ----------------------------------------------------------------

use_objects() {
	zram_swap 128M && start_load swap -m 64 || return
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=16 &&
		hold_set hold_ms $HOLD_MS && hold_set open $OPEN
}

watch_readers() {
	start_bpftrace readers "$READERS" || return
	# What is open now stays open.
	hold_set hold_ms 0
	finish_bpftrace
}

max_us() { # max_us COMM
	awk -v begin="@max_us[$1]: " 'index($0, begin) == 1 { n = $2 } END { print n + 0 }' \
		"$TMP/readers"
}

finds_readers() {
	grep -q -F '@us[zs_load]:' "$TMP/readers" && (($(max_us zs_load) > 0)) || return
	for holder in zs_hold/0 zs_hold/1; do
		(($(max_us $holder) >= HOLD_MS * 900)) || return
	done
}

# An object that was opened twice is listed once.
lists_open_objects() {
	local nr
	nr=$(grep -c '^@open\[zs_hold/' "$TMP/readers")
	say "$nr open objects of zs_hold are listed"
	((nr <= OPEN && nr >= OPEN * 3 / 4))
}

# --- page frames ------------------------------------------------------------

fill_area() {
	empty_node
	fill_node "$NODE" 24 && hold_set hold_ms 0 && hold_set open $OPEN
}

watch_frames() { # watch_frames NAME
	start_bpftrace "$1" "$FRAMES" || return
	! write "$AREA/alloc" "$PAGES" || fail "the CMA area was allocated" || return
	finish_bpftrace && grep -q '^tee: .*, error -' "$TMP/$1"
}

in_map() { # in_map NAME MAP POOL: the page frames that the map has with this pool
	sed -n "s/^@$2\[\([0-9]*\)]: (\?$3\(\|, [0-9]*)\)$/\1/p" "$TMP/$1" | sort
}

# blocks NAME MAP POOL: whether the frame that is not free is in the map
blocks() {
	local pfn
	pfn=$(sed -n 's/^page frame \([0-9]*\) is not free$/\1/p' "$TMP/$1" | tail -n 1)
	in_map "$@" | grep -q -x "${pfn:-none}" ||
		fail "page frame ${pfn:-?} is not one of @$2 with pool $3"
}

finds_frames() {
	local held stale inside
	blocks frames held zs_hold || return
	held=$(in_map frames held zs_hold | wc -l)
	inside=$(in_map frames held zs_hold | awk "\$1 >= $FIRST && \$1 <= $LAST" | wc -l)
	stale=$(awk '$1 == "stale_now" { print $2 }' "$STAT")
	say "$held page frames are held, $inside of them in the area; debugfs: ${stale:-unknown}"
	((inside > 0)) || return
	[[ -z $stale ]] || ((held <= stale && held >= stale * 9 / 10))
}

# The pool of a page that was replaced earlier is not known.
finds_them_again() {
	blocks again refused - &&
		[[ -z $(comm -23 <(in_map frames held zs_hold) <(in_map again refused -)) ]]
}

closed_again() {
	hold_set open 0 && write "$AREA/alloc" "$PAGES"
}

# --- other tools ------------------------------------------------------------

# Each runs a command that allocates the area.
with_trace_cmd() {
	trace-cmd record -o "$TMP/trace.dat" -e zsmalloc -e cma -e page_isolation "$@" &&
		trace-cmd report -i "$TMP/trace.dat"
}

with_perf() {
	perf record -o "$TMP/perf.data" -a -e 'zsmalloc:*' -e 'cma:*' "$@" &&
		perf script -i "$TMP/perf.data"
}

# finds_migrations COMMAND: has the area allocated, which is full of objects, by COMMAND
finds_migrations() {
	local before nr
	free_area
	hold_set churn 1
	sleep 2
	hold_set churn 0
	before=$(migrated)
	"$1" tee "$AREA/alloc" <<< "$PAGES" > "$TMP/$1" 2>&1 ||
		fail "$(tail -n 1 "$TMP/$1")" || return
	nr=$(grep -c 'zs_migrate_page: .*pool=zs_hold src=0x.* ret=0 ' "$TMP/$1")
	say "$nr migrations were recorded, out of $(($(migrated) - before)):"
	grep -m 4 -E 'zs_(isolate|migrate)_page:|cma_alloc' "$TMP/$1" | sed 's/^/#   /'
	((nr > 0 && nr <= $(migrated) - before))
}

# check_tool STATEMENT COMMAND...: like check; skips it if WHY is set
check_tool() {
	if [[ -n $WHY ]]; then
		skip "$1" "$WHY"
	else
		check "$@"
	fi
}

check "zram and a module open objects" use_objects
try bpftrace -e 'kprobe:zs_obj_read_begin { exit(); } interval:ms:1 { exit(); }'
check_tool "bpftrace runs while objects are opened" watch_readers
check_tool "bpftrace shows how long zram and a module hold objects open" finds_readers
check_tool "bpftrace lists the objects that are still open" lists_open_objects
check "swapped data is intact" end_load swap
zram_end_all
check "objects in the CMA area are held open" fill_area
check_tool "bpftrace runs while the CMA area cannot be allocated" watch_frames frames
check_tool "bpftrace shows which page frames are held, and by which pool" finds_frames
check_tool "bpftrace runs after these page frames were replaced" watch_frames again
check_tool "bpftrace shows page frames that were replaced earlier" finds_them_again
check "the CMA area is allocated after open objects were closed" closed_again
try trace-cmd list -e zsmalloc
check_tool "trace-cmd records migrations of zsmalloc pages" finds_migrations with_trace_cmd
try perf list tracepoint
check_tool "perf records migrations of zsmalloc pages" finds_migrations with_perf
check "objects are intact" hold_is_intact
empty_node
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
