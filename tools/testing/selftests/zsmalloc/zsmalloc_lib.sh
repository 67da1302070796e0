# shellcheck shell=bash disable=SC2034 # the tests use the variables
# SPDX-License-Identifier: GPL-2.0
#
# Functions shared by the tests of zsmalloc. A test sources this file first.
#
# ZSMALLOC_TEST_SECONDS	duration of each load under compaction (8)
# ZSMALLOC_TEST_DIR	directory on a disk for swap and writeback files (/var/tmp)
# ZSMALLOC_TEST_EJECT	if set, a memory device may be unplugged; it stays unplugged

DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$DIR/../kselftest/ktap_helpers.sh"

SECONDS_OF_WORK=${ZSMALLOC_TEST_SECONDS:-8}
DISK_DIR=${ZSMALLOC_TEST_DIR:-/var/tmp}
ZSWAP=/sys/module/zswap/parameters
TRACING=/sys/kernel/tracing
PAGE_SIZE=$(getconf PAGESIZE)
WRITE_SECONDS=120	# time limit of each write

say() { ktap_print_msg "$*"; }

fail() { say "$*"; return 1; }

# figure KEY VALUE: prints a measured value, for comparisons of two kernels
figure() { ktap_print_msg "figure $1 $2"; }

# --- undoing all changes, also after a failure ------------------------------

UNDO=()

at_exit() { # at_exit COMMAND...: runs when the test ends, in reverse order
	UNDO+=("$(printf '%q ' "$@")")
}

undo_all() {
	local i pid
	trap '' INT TERM HUP
	# First stop all background jobs and writers.
	# shellcheck disable=SC2046
	kill -KILL $(jobs -p) 2> /dev/null
	# shellcheck disable=SC2013
	for pid in $(cat "$TMP"/*.writers); do
		kill -KILL "-$pid"
	done 2> /dev/null
	for ((i = ${#UNDO[@]} - 1; i >= 0; i--)); do
		eval "${UNDO[i]}" > /dev/null 2>&1
	done
	UNDO=()
	wait
}

set_for_test() { # set_for_test FILE VALUE: restores the old value at the end
	local was
	was=$(cat "$1") || return
	at_exit write "$1" "$was"
	write "$1" "$2"
}

# --- writing with a time limit ----------------------------------------------

# A task that waits in the kernel may react to no signal except KILL. timeout sends KILL
# to itself, too, so it does not wait for a task that KILL does not end.
limited() { # limited COMMAND...
	timeout -s KILL "$WRITE_SECONDS" "$@"
}

# write FILE VALUE [SECONDS]: sets ERROR to the reason if it fails. The writer is killed
# after SECONDS. If it survives, it is left behind, and a message says so.
write() {
	local errors=$TMP/$BASHPID.errors writers=$TMP/$BASHPID.writers
	local start=$SECONDS status=0 group pid
	timeout -s KILL "${3:-$WRITE_SECONDS}" tee "$1" <<< "$2" \
		> /dev/null 2> "$errors" &
	group=$!	# the process group of timeout and tee
	echo "$group" > "$writers"
	wait "$group" 2> /dev/null || status=$?
	: > "$writers"
	((status)) || return 0
	ERROR=$(< "$errors")
	ERROR=${ERROR##*: }
	((status == 128 + 9)) || return 1
	ERROR="not done after $((SECONDS - start)) seconds"
	wait_for 5 all_ended "$group" ||
		for pid in $(processes_of "$group"); do
			ERROR+=", and process $pid cannot be killed: it waits in '$(cat "/proc/$pid/wchan")'"
		done
	fail "writing '$2' to $1: $ERROR"
}

processes_of() { # processes_of GROUP: prints those that have not ended
	cat /proc/[0-9]*/stat 2> /dev/null |
		awk -v group="$1" '$5 == group && $3 != "Z" { print $1 }'
}

all_ended() { [[ -z $(processes_of "$1") ]]; }

# --- beginning and end ------------------------------------------------------

skip_test() { # skip_test WHY: skips the whole test file
	ktap_skip_all "$*"
	exit "$KSFT_SKIP"
}

start_test() { # start_test NUMBER-OF-CHECKS
	ktap_print_header
	[[ $(id -u) -eq 0 ]] || skip_test "must be run as root"
	PLAN=$1
	trap undo_all EXIT
	trap 'exit 1' INT TERM HUP
	TMP=$(mktemp -d "${TMPDIR:-/tmp}/zsmalloc.XXXXXX") ||
		skip_test "cannot make a temporary directory"
	at_exit rm -rf "$TMP"
	need_command timeout
	# Tells a reader of the console which test the following messages belong to
	write /dev/kmsg "zsmalloc selftest: $(basename "$0")"
}

# Called when nothing that the test needs is missing
begin_checks() {
	ZSPAGES_BEFORE=$(vm nr_zspages)
	ktap_set_plan "$PLAN"
}

need_command() {
	local command
	for command; do
		command -v "$command" > /dev/null ||
			skip_test "the command $command is missing"
	done
}

need_file() { # need_file FILE REQUIREMENT
	[[ -e $1 ]] || skip_test "$1 is missing: needs $2"
}

# check STATEMENT COMMAND...: the statement is true if the command succeeds. It must be
# understood without the lines around it, because reports of failures quote it alone.
check() {
	local statement=$1
	shift
	if "$@"; then
		ktap_test_pass "$statement"
	else
		ktap_test_fail "$statement"
	fi
}

skip() { # skip STATEMENT WHY
	ktap_test_skip "$1: $2"
}

# --- looking at the kernel --------------------------------------------------

vm() { awk -v key="$1" '$1 == key { print $2 }' /proc/vmstat; }

# Each CPU adds its own counts to /proc/vmstat with a delay; this adds them at once.
exact_vm() {
	write /proc/sys/vm/stat_refresh 1
	vm "$1"
}

meminfo() { # meminfo KEY: in MB
	awk -v key="$1:" '$1 == key { print int($2 / 1024) }' /proc/meminfo
}

now_ms() {
	local up
	read -r up _ < /proc/uptime
	echo "$((10#${up/./} * 10))"
}

# wait_for SECONDS COMMAND...: repeats the command until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}

# Counts migrated zsmalloc pages if the kernel has the tracepoint for that, and migrated
# pages of all kinds if not.
count_migrations() {
	local event=$TRACING/events/zsmalloc/zs_migrate_page
	if write "$event/trigger" hist:keys=ret; then
		at_exit write "$event/trigger" '!hist:keys=ret'
		MIGRATIONS=$event/hist
	else
		MIGRATIONS=
		say "zsmalloc has no tracepoints: migrated pages of all kinds are counted"
	fi
}

migrated() {
	if [[ -n $MIGRATIONS ]]; then
		awk '/ret: +0 / { n = $NF } END { print n + 0 }' "$MIGRATIONS"
	else
		vm pgmigrate_success
	fi
}

# --- users ------------------------------------------------------------------

zswap_off() { # Swapped-out pages must reach zram.
	[[ ! -e $ZSWAP/enabled ]] || set_for_test $ZSWAP/enabled N
}

need_zram() {
	if [[ ! -e /sys/class/zram-control ]] && modprobe -q zram 2> /dev/null; then
		at_exit modprobe -q -r zram
	fi
	need_file /sys/class/zram-control/hot_add "CONFIG_ZRAM"
}

zram_new() { # zram_new: sets ZRAM and SYS
	local n
	n=$(cat /sys/class/zram-control/hot_add) || return
	ZRAM=/dev/zram$n
	SYS=/sys/block/zram$n
	ZRAMS+=("$n")
	at_exit zram_end "$n"
	wait_for 5 test -b "$ZRAM"
}
ZRAMS=()

zram_end_all() {
	local n
	for n in "${ZRAMS[@]}"; do
		zram_end "$n"
	done
	ZRAMS=()
}

zram_end() { # zram_end NUMBER
	[[ -e /sys/block/zram$1 ]] || return 0
	swapoff "/dev/zram$1" 2> /dev/null
	umount "/dev/zram$1" 2> /dev/null
	write "/sys/block/zram$1/reset" 1
	write /sys/class/zram-control/hot_remove "$1"
}

zram_has() { # zram_has ALGORITHM
	tr -d '[]' < "$SYS/comp_algorithm" | grep -q -w -- "$1"
}

# zram_swap SIZE [ALGORITHM]: swap on a new device, which replaces all earlier ones
zram_swap() {
	zram_end_all
	zram_new && zram_swap_on "$@"
}

zram_swap_on() { # zram_swap_on SIZE [ALGORITHM]: on $ZRAM, with the highest priority
	[[ -z ${2:-} ]] || write "$SYS/comp_algorithm" "$2" || return
	write "$SYS/disksize" "$1" || return
	limited mkswap "$ZRAM" > /dev/null || return
	swapon -p 32767 "$ZRAM"
}

no_zspages_left() { (($(vm nr_zspages) <= ZSPAGES_BEFORE)); }

# Called when all users of zsmalloc have ended. Isolated zspages are freed with a delay.
nothing_leaked() {
	zram_end_all
	wait_for 10 no_zspages_left ||
		fail "there are $(vm nr_zspages) zsmalloc pages, and were $ZSPAGES_BEFORE before the test"
}

# mm_stat FIELD: 1 original bytes, 2 compressed, 3 memory, 8 incompressible
mm_stat() { awk -v n="$1" '{ print $n }' "$SYS/mm_stat"; }

need_controller() { # need_controller NAME...: controllers of cgroup v2; sets CGROUPS
	local controller
	CGROUPS=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[[ -n $CGROUPS ]] || skip_test "cgroup v2 is not mounted"
	for controller; do
		! grep -q -w "$controller" "$CGROUPS/cgroup.subtree_control" || continue
		write "$CGROUPS/cgroup.subtree_control" "+$controller" ||
			skip_test "cgroup v2 has no $controller controller"
		at_exit write "$CGROUPS/cgroup.subtree_control" "-$controller"
	done
}

new_cgroup() { # new_cgroup NAME: sets CGROUP
	CGROUP=$CGROUPS/zsmalloc-$1-$$
	mkdir "$CGROUP" || return
	at_exit end_cgroup "$CGROUP"
}

end_cgroup() {
	write "$1/cgroup.kill" 1
	wait_for 10 rmdir "$1"
}

# start_load NAME OPTION...: starts zs_load in the background, in $CGROUP if it is set.
# Returns when all memory of the load was paged out, or fails after LOAD_SECONDS.
start_load() {
	local name=$1
	shift
	# The results of an earlier load of this name say that it was ready.
	rm -f "$TMP/$name"
	(
		[[ -z ${CGROUP:-} ]] || write "$CGROUP/cgroup.procs" "$BASHPID"
		exec "$DIR/zs_load" -o "$TMP/$name" "$@"
	) &
	LOADS[$name]=$!
	if ! wait_for "${LOAD_SECONDS:-60}" load_is_ready "$name" ||
	   ! kill -0 "${LOADS[$name]}" 2> /dev/null; then
		say "the memory of the load '$name' was not paged out"
		return 1
	fi
}
declare -A LOADS

load_is_ready() {
	grep -q '^ready' "$TMP/$1" 2> /dev/null ||
		! kill -0 "${LOADS[$1]}" 2> /dev/null
}

load_result() { # load_result NAME KEY
	awk -v key="$2" '$1 == key { n = $2 } END { print n + 0 }' "$TMP/$1"
}

# end_load NAME: ends the load, which then checks all of its memory; succeeds if its
# contents are right
end_load() {
	local status=0
	kill -TERM "${LOADS[$1]}" 2> /dev/null
	wait "${LOADS[$1]}" || status=$?
	say "load '$1': $(paste -s -d' ' "$TMP/$1") (status $status)"
	((status == 0 && $(load_result "$1" checked) > 0))
}

# start_compaction [ZRAM-SYSFS...]: compacts memory and these zram devices until
# stop_compaction
start_compaction() {
	COMPACTED=$TMP/compactions
	echo 0 > "$COMPACTED"
	rm -f "$TMP/enough"
	(
		n=0
		while [[ ! -e $TMP/enough ]]; do
			write /proc/sys/vm/compact_memory 1
			for sys; do
				write "$sys/compact" 1
			done
			echo $((++n)) > "$COMPACTED"
			sleep 0.1
		done
	) &
	COMPACTOR=$!
}

stop_compaction() { # succeeds if memory was compacted at least once
	: > "$TMP/enough"
	wait "$COMPACTOR" 2> /dev/null
	(($(cat "$COMPACTED") > 0)) || fail "memory was not compacted"
}

some_migrated() { (($(migrated) > MIGRATED_BEFORE)); }

# disturb SECONDS [ZRAM-SYSFS...]: compacts for SECONDS, and then for up to 60 more until
# a page is migrated. Sets MOVED to the number of migrated pages.
disturb() {
	local seconds=$1 status=0
	shift
	MIGRATED_BEFORE=$(migrated)
	start_compaction "$@"
	sleep "$seconds"
	wait_for 60 some_migrated || fail "no page migrated" || status=1
	stop_compaction || status=1
	MOVED=$(($(migrated) - MIGRATED_BEFORE))
	return "$status"
}

# --- the module zs_hold: a user that can tell where its objects are ---------

HOLD=/sys/module/zs_hold/parameters

need_hold() {
	[[ -f $DIR/zs_hold/zs_hold.ko ]] ||
		skip_test "zs_hold/zs_hold.ko was not built: building it needs CONFIG_MODULES and the kernel's build directory in KDIR"
	need_command insmod rmmod
	[[ ! -d $HOLD ]] || skip_test "zs_hold is already loaded"
	at_exit rmmod zs_hold
}

# fill_node NODE MB: fills the node's free memory with objects, except for MB
fill_node() {
	local free
	free=$(awk '$3 == "MemFree:" { print int($4 / 1024) }' \
		"/sys/devices/system/node/node$1/meminfo")
	((free > $2)) || { say "node $1 has only $free MB of free memory"; return 1; }
	# The factor leaves memory for descriptors and for unused ends of pages.
	insmod "$DIR/zs_hold/zs_hold.ko" "node=$1" mbytes=$(((free - $2) * 96 / 100))
}

empty_node() {
	[[ ! -d $HOLD ]] || rmmod zs_hold
}

hold() { cat "$HOLD/$1"; }

hold_set() { write "$HOLD/$1" "$2"; }

frame_of() { # frame_of OBJECT
	hold_set frame "$1" && hold frame
}

# hold_inside FIRST LAST: the number of objects that lie in these page frames, at least
# in part
hold_inside() {
	hold_set range "$1 $2" && hold range
}

# Closes and checks every object
hold_is_intact() {
	local before
	hold_set churn 0 && hold_set open 0 || return
	before=$(hold checked)
	hold_set check 1 || return
	say "zs_hold: $(hold objects) objects; opened $(hold opened) times, checked $(hold checked) times, wrong $(hold wrong) times"
	(($(hold checked) - before >= $(hold objects) * 9 / 10 && $(hold wrong) == 0))
}

node_of_block() { # node_of_block MEMORY-BLOCK-DIRECTORY
	local link
	for link in "$1"/node*; do
		[[ ! -e $link ]] || { echo "${link##*/node}"; return; }
	done
	return 1
}

# The number of a memory block is its first page frame divided by this.
block_pages() { echo $((0x$(cat /sys/devices/system/memory/block_size_bytes) / PAGE_SIZE)); }

# --- the host of a virtual machine ------------------------------------------

# The program behind this virtio port answers requests, see give_back.sh.
need_host() {
	local name
	HOST_PORT=
	for name in /sys/class/virtio-ports/*/name; do
		[[ -e $name && $(< "$name") == zsmalloc.host ]] || continue
		HOST_PORT=/dev/$(basename "$(dirname "$name")")
	done
	[[ -n $HOST_PORT ]] ||
		skip_test "no virtio port zsmalloc.host: needs a host that measures the guest's memory"
}

# host REQUEST...: sets ANSWER, an array; fails if the host has not done it
host() {
	local port words
	exec {port}<> "$HOST_PORT" || return
	echo "$*" >&"$port"
	read -r -t 150 -a words <&"$port"
	exec {port}>&-
	[[ ${words[0]:-} == ok ]] ||
		fail "the host's answer to '$*' is '${words[*]:-nothing}'" || return
	ANSWER=("${words[@]:1}")
}

# --- CMA --------------------------------------------------------------------

need_cma() { # sets AREA, PAGES, FIRST, LAST and NODE
	local dir
	need_file /sys/kernel/debug/cma CONFIG_CMA_DEBUGFS
	AREA=
	for dir in /sys/kernel/debug/cma/*/; do
		[[ -e $dir/alloc && $(cat "$dir/used") == 0 ]] && AREA=$dir && break
	done
	[[ -n $AREA ]] || skip_test "no unused CMA area: boot with cma=64M"
	PAGES=$(cat "$AREA/count")
	FIRST=$(cat "$AREA/base_pfn")
	LAST=$((FIRST + PAGES - 1))
	need_file /sys/devices/system/memory/block_size_bytes CONFIG_MEMORY_HOTPLUG
	NODE=$(node_of_block "/sys/devices/system/memory/memory$((FIRST / $(block_pages)))") ||
		skip_test "the NUMA node of the CMA area is unknown"
	at_exit free_area
}

free_area() { write "$AREA/free" "$PAGES"; }

# report_times NAME KEY: reports the times that zs_time wrote to $TMP/NAME, as figures that
# begin with KEY. Sets NR_TIMED, FAILURES, and the 99th percentile P99_US.
report_times() {
	local p50 max
	[[ -s $TMP/$1 ]] || return
	NR_TIMED=$(wc -l < "$TMP/$1")
	FAILURES=$(awk '$2 { n++ } END { print n + 0 }' "$TMP/$1")
	read -r p50 P99_US max < <(sort -n "$TMP/$1" | awk '
		{ us[NR] = $1 }
		END { print us[int((NR + 1) / 2)], us[int(NR * 0.99 + 0.99)], us[NR] }')
	say "CMA blocks, $1: $NR_TIMED allocations, $FAILURES failed; median $p50 us, 99th percentile $P99_US us, maximum $max us"
	figure "$2.blocks" "$NR_TIMED"
	figure "$2.failed" "$FAILURES"
	figure "$2.p50_us" "$p50"
	figure "$2.p99_us" "$P99_US"
	figure "$2.max_us" "$max"
}

# --- kcompactd --------------------------------------------------------------

need_kcompactd() {
	need_command pgrep getconf
	KCOMPACTD=$(pgrep -d ' ' '^kcompactd[0-9]+$') || skip_test "kcompactd does not run"
	TICK_MS=$((1000 / $(getconf CLK_TCK)))
}

# CPU time of all kcompactd threads since boot, in ms
kcompactd_ms() {
	local thread ticks=0
	for thread in $KCOMPACTD; do
		ticks=$((ticks + $(sed 's/.*) //' "/proc/$thread/stat" |
			awk '{ print $12 + $13 }')))
	done
	echo $((ticks * TICK_MS))
}

# --- memory failures --------------------------------------------------------

SOFT_OFFLINE=/sys/devices/system/memory/soft_offline_page
INJECT=/sys/kernel/debug/hwpoison
FAILED=()	# page frames that failed and are not unpoisoned yet

can_inject_failures() { [[ -e $SOFT_OFFLINE && -e $INJECT/corrupt-pfn && -e /proc/kpageflags ]]; }

need_failures() {
	need_file $SOFT_OFFLINE CONFIG_MEMORY_FAILURE
	need_file $INJECT/corrupt-pfn CONFIG_HWPOISON_INJECT
	need_file /proc/kpageflags CONFIG_PROC_PAGE_MONITOR
}

POISONED=$((1 << 19)) FREE=$((1 << 10))	# bits in /proc/kpageflags

flags_of() { # flags_of PFN
	od -A n -t u8 -j $(($1 * 8)) -N 8 /proc/kpageflags
}

is_poisoned() { (($(flags_of "$1") & POISONED)); }

corrupted_kb() { awk '$1 == "HardwareCorrupted:" { print $2 }' /proc/meminfo; }

soft_offline() { # soft_offline PFN
	# The first attempt may fail because another task has isolated the page.
	write $SOFT_OFFLINE $(($1 * PAGE_SIZE)) ||
		write $SOFT_OFFLINE $(($1 * PAGE_SIZE)) || return
	FAILED+=("$1")
}

hard_offline() { # hard_offline PFN
	# This fails, because the kernel cannot move the objects of such a page.
	write $INJECT/corrupt-pfn "$1"
	FAILED+=("$1")
	is_poisoned "$1" || fail "page frame $1 is not marked as poisoned"
}

# A page that was freed after it had failed has no reference left. Without one, it would
# be lost when it is unpoisoned. Therefore it gets a reference, such as soft offlining
# takes.
unpoison() { # unpoison PFN
	hold_set adopt "$1"
	write $INJECT/unpoison-pfn "$1" && ! is_poisoned "$1"
}

# Frees all objects, unpoisons all pages that failed, and returns them to the kernel.
unpoison_all() {
	local pfn left=()
	empty_node || return
	((${#FAILED[@]})) || return 0
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=0 || return
	for pfn in "${FAILED[@]}"; do
		wait_for 10 unpoison "$pfn" || left+=("$pfn")
	done
	FAILED=("${left[@]}")
	empty_node
	((${#left[@]} == 0)) || fail "page frames ${left[*]} cannot be unpoisoned: $ERROR"
}

# The state that a test must restore
machine_state() {
	echo "$(corrupted_kb) kB failed"
	awk 'NR > 1 { print "swap on", $1 }' /proc/swaps
	ls -d /sys/block/zram* "$HOLD" 2> /dev/null
}

# state_is_restored BEFORE: undoes all changes, and compares with machine_state before
# the test
state_is_restored() {
	zram_end_all
	unpoison_all || return
	nothing_leaked || return
	[[ $(machine_state) == "$1" ]] ||
		fail "the machine's state was '$(paste -s -d, <<< "$1")', and is '$(machine_state | paste -s -d,)'"
}
