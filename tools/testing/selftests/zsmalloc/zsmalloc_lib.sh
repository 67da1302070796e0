# shellcheck shell=bash disable=SC2034 # used by those who source it
# SPDX-License-Identifier: GPL-2.0
#
# What the tests of zsmalloc share. Source it first.
#
# ZSMALLOC_TEST_SECONDS	how long each load works while it is disturbed (8)
# ZSMALLOC_TEST_DIR	where to make files for swap and writeback, on a disk
#			(/var/tmp)
# ZSMALLOC_TEST_EJECT	whether a memory device may be unplugged: it is gone then

DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$DIR/../kselftest/ktap_helpers.sh"

SECONDS_OF_WORK=${ZSMALLOC_TEST_SECONDS:-8}
DISK_DIR=${ZSMALLOC_TEST_DIR:-/var/tmp}
ZSWAP=/sys/module/zswap/parameters
TRACING=/sys/kernel/tracing
PAGE_SIZE=$(getconf PAGESIZE)
WRITE_SECONDS=120	# the longest that anything may be written

say() { ktap_print_msg "$*"; }

fail() { say "$*"; return 1; }

# A measured value, for whoever compares two kernels: figure KEY VALUE
figure() { ktap_print_msg "figure $1 $2"; }

# --- undoing everything, also after a failure -------------------------------

UNDO=()

at_exit() { # at_exit COMMAND...: run when the test ends, last one first
	UNDO+=("$(printf '%q ' "$@")")
}

undo_all() {
	local i pid
	trap '' INT TERM HUP
	# Nothing runs in the background any more, nor writes.
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

set_for_test() { # set_for_test FILE VALUE: and back to what it was at the end
	local was
	was=$(cat "$1") || return
	at_exit write "$1" "$was"
	write "$1" "$2"
}

# --- nothing is written without a time limit --------------------------------

# A task that waits in the kernel may heed no signal but KILL. timeout itself dies
# of it, too, so it does not wait for a task that heeds not even that one.
limited() { # limited COMMAND...
	timeout -s KILL "$WRITE_SECONDS" "$@"
}

# write FILE VALUE [SECONDS]: ERROR says why it failed. After SECONDS the writer is
# killed; when it is still there after that, it is left behind, and this is said.
write() {
	local errors=$TMP/$BASHPID.errors writers=$TMP/$BASHPID.writers
	local start=$SECONDS status=0 group pid
	timeout -s KILL "${3:-$WRITE_SECONDS}" tee "$1" <<< "$2" \
		> /dev/null 2> "$errors" &
	group=$!	# of timeout and tee
	echo "$group" > "$writers"
	wait "$group" 2> /dev/null || status=$?
	: > "$writers"
	((status)) || return 0
	ERROR=$(< "$errors")
	ERROR=${ERROR##*: }
	((status == 128 + 9)) || return 1
	ERROR="not done after $((SECONDS - start)) seconds"
	wait_for 5 all_ended "$group" ||
		for pid in $(left_of "$group"); do
			ERROR+=", process $pid cannot be killed, it waits in '$(cat "/proc/$pid/wchan")'"
		done
	fail "writing '$2' to $1: $ERROR"
}

left_of() { # left_of GROUP: its processes
	cat /proc/[0-9]*/stat 2> /dev/null |
		awk -v group="$1" '$5 == group && $3 != "Z" { print $1 }'
}

all_ended() { [[ -z $(left_of "$1") ]]; }

# --- beginning and end ------------------------------------------------------

skip_test() { # skip_test WHY: all of this file
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
	# For who reads the console: whose messages these are
	write /dev/kmsg "zsmalloc selftest: $(basename "$0")"
}

# After everything was looked for that may be missing
begin_checks() {
	ZSPAGES_BEFORE=$(vm nr_zspages)
	ktap_set_plan "$PLAN"
}

need_command() {
	local command
	for command; do
		command -v "$command" > /dev/null ||
			skip_test "no command $command"
	done
}

need_file() { # need_file FILE WHAT-IT-TAKES
	[[ -e $1 ]] || skip_test "no $1: needs $2"
}

check() { # check WHAT COMMAND...
	local what=$1
	shift
	if "$@"; then
		ktap_test_pass "$what"
	else
		ktap_test_fail "$what"
	fi
}

skip() { # skip WHAT WHY
	ktap_test_skip "$1: $2"
}

# --- looking at the kernel --------------------------------------------------

vm() { awk -v key="$1" '$1 == key { print $2 }' /proc/vmstat; }

# /proc/vmstat lags behind by what CPUs have not added to it yet.
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

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}

# Pages that zsmalloc was seen to move, where it has a tracepoint for that;
# otherwise those of anybody.
count_migrations() {
	local event=$TRACING/events/zsmalloc/zs_migrate_page
	if write "$event/trigger" hist:keys=ret; then
		at_exit write "$event/trigger" '!hist:keys=ret'
		MIGRATIONS=$event/hist
	else
		MIGRATIONS=
		say "no tracepoints of zsmalloc, migration is counted for all kinds of pages"
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

zswap_off() { # so that what is swapped out gets to zram
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

# zram_swap SIZE [ALGORITHM]: of a new device instead of those added earlier
zram_swap() {
	zram_end_all
	zram_new && zram_swap_on "$@"
}

zram_swap_on() { # zram_swap_on SIZE [ALGORITHM]: of $ZRAM, before any other swap
	[[ -z ${2:-} ]] || write "$SYS/comp_algorithm" "$2" || return
	write "$SYS/disksize" "$1" || return
	limited mkswap "$ZRAM" > /dev/null || return
	swapon -p 32767 "$ZRAM"
}

no_zspages_left() { (($(vm nr_zspages) <= ZSPAGES_BEFORE)); }

# Once all users are gone. zspages that are being moved are freed a bit later.
nothing_leaked() {
	zram_end_all
	wait_for 10 no_zspages_left ||
		fail "$(vm nr_zspages) zsmalloc pages, $ZSPAGES_BEFORE before the test"
}

# mm_stat FIELD: 1 original bytes, 2 compressed, 3 memory, 8 incompressible
mm_stat() { awk -v n="$1" '{ print $n }' "$SYS/mm_stat"; }

need_controller() { # need_controller NAME...: of cgroup v2, sets CGROUPS
	local controller
	CGROUPS=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[[ -n $CGROUPS ]] || skip_test "cgroup v2 is not mounted"
	for controller; do
		! grep -q -w "$controller" "$CGROUPS/cgroup.subtree_control" || continue
		write "$CGROUPS/cgroup.subtree_control" "+$controller" ||
			skip_test "no $controller controller in cgroup v2"
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

# start_load NAME OPTION...: zs_load in the background, in $CGROUP if that is
# set. Returns once all of its memory was paged out; LOAD_SECONDS is how long
# that may take.
start_load() {
	local name=$1
	shift
	(
		[[ -z ${CGROUP:-} ]] || write "$CGROUP/cgroup.procs" "$BASHPID"
		exec "$DIR/zs_load" -o "$TMP/$name" "$@"
	) &
	LOADS[$name]=$!
	if ! wait_for "${LOAD_SECONDS:-60}" load_is_ready "$name" ||
	   ! kill -0 "${LOADS[$name]}" 2> /dev/null; then
		say "the load $name did not get its memory paged out"
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

# end_load NAME: it checks all of its memory; succeeds if that was right
end_load() {
	local status=0
	kill -TERM "${LOADS[$1]}" 2> /dev/null
	wait "${LOADS[$1]}" || status=$?
	say "$1: $(paste -s -d' ' "$TMP/$1") (status $status)"
	((status == 0 && $(load_result "$1" checked) > 0))
}

# Compacts memory, and the zram devices given, until stop_compaction
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

stop_compaction() { # succeeds if it was done at all
	: > "$TMP/enough"
	wait "$COMPACTOR" 2> /dev/null
	(($(cat "$COMPACTED") > 0)) || fail "memory was not compacted"
}

some_migrated() { (($(migrated) > MIGRATED_BEFORE)); }

# disturb SECONDS [ZRAM-SYSFS...]: compacts for so long, and longer if no page was
# moved yet, but not for ever. Sets MOVED.
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

# --- the module zs_hold: a user that can say where its objects are ----------

HOLD=/sys/module/zs_hold/parameters

need_hold() {
	[[ -f $DIR/zs_hold/zs_hold.ko ]] ||
		skip_test "zs_hold/zs_hold.ko was not built: needs CONFIG_MODULES and the kernel's build directory in KDIR"
	need_command insmod rmmod
	[[ ! -d $HOLD ]] || skip_test "zs_hold is already loaded"
	at_exit rmmod zs_hold
}

# fill_node NODE MB: leaves so much of the node's memory free, and fills the rest
fill_node() {
	local free
	free=$(awk '$3 == "MemFree:" { print int($4 / 1024) }' \
		"/sys/devices/system/node/node$1/meminfo")
	((free > $2)) || { say "only $free MB are free on node $1"; return 1; }
	# Descriptors and unused ends of pages take some, too.
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

# Objects that lie in page frames FIRST..LAST, wholly or in part
hold_inside() {
	hold_set range "$1 $2" && hold range
}

# Checks every object, those that are held open as well
hold_is_intact() {
	local before
	hold_set churn 0 && hold_set open 0 || return
	before=$(hold checked)
	hold_set check 1 || return
	say "objects: $(hold objects), opened $(hold opened) times, checked $(hold checked) times, wrong $(hold wrong)"
	(($(hold checked) - before >= $(hold objects) * 9 / 10 && $(hold wrong) == 0))
}

node_of_block() { # node_of_block MEMORY-BLOCK-DIRECTORY
	local link
	for link in "$1"/node*; do
		[[ ! -e $link ]] || { echo "${link##*/node}"; return; }
	done
	return 1
}

# Memory blocks are numbered by their address.
block_pages() { echo $((0x$(cat /sys/devices/system/memory/block_size_bytes) / PAGE_SIZE)); }

# --- CMA --------------------------------------------------------------------

need_cma() { # sets AREA, and its PAGES, FIRST, LAST and NODE
	local dir
	need_file /sys/kernel/debug/cma CONFIG_CMA_DEBUGFS
	AREA=
	for dir in /sys/kernel/debug/cma/*/; do
		[[ -e $dir/alloc && $(cat "$dir/used") == 0 ]] && AREA=$dir && break
	done
	[[ -n $AREA ]] || skip_test "no CMA area that is not in use: boot with cma=64M"
	PAGES=$(cat "$AREA/count")
	FIRST=$(cat "$AREA/base_pfn")
	LAST=$((FIRST + PAGES - 1))
	need_file /sys/devices/system/memory/block_size_bytes CONFIG_MEMORY_HOTPLUG
	NODE=$(node_of_block "/sys/devices/system/memory/memory$((FIRST / $(block_pages)))") ||
		skip_test "cannot tell the node of the CMA area"
	at_exit free_area
}

free_area() { write "$AREA/free" "$PAGES"; }

# --- pages that fail --------------------------------------------------------

SOFT_OFFLINE=/sys/devices/system/memory/soft_offline_page
INJECT=/sys/kernel/debug/hwpoison
FAILED=()	# page frames, until they are in use again

can_fail() { [[ -e $SOFT_OFFLINE && -e $INJECT/corrupt-pfn && -e /proc/kpageflags ]]; }

need_failures() {
	need_file $SOFT_OFFLINE CONFIG_MEMORY_FAILURE
	need_file $INJECT/corrupt-pfn CONFIG_HWPOISON_INJECT
	need_file /proc/kpageflags CONFIG_PROC_PAGE_MONITOR
}

POISONED=$((1 << 19)) FREE=$((1 << 10))	# of /proc/kpageflags

flags_of() { # flags_of PFN
	od -A n -t u8 -j $(($1 * 8)) -N 8 /proc/kpageflags
}

is_poisoned() { (($(flags_of "$1") & POISONED)); }

corrupted_kb() { awk '$1 == "HardwareCorrupted:" { print $2 }' /proc/meminfo; }

soft_offline() { # soft_offline PFN
	# One that was isolated just then can be tried again.
	write $SOFT_OFFLINE $(($1 * PAGE_SIZE)) ||
		write $SOFT_OFFLINE $(($1 * PAGE_SIZE)) || return
	FAILED+=("$1")
}

hard_offline() { # hard_offline PFN
	# It reports that it could not help.
	write $INJECT/corrupt-pfn "$1"
	FAILED+=("$1")
	is_poisoned "$1" || fail "page frame $1 is not marked"
}

# A page that was freed after it had failed has no reference left. It would be
# lost once it is not marked any more, so it gets the reference that a page has
# which was soft-offlined.
unpoison() { # unpoison PFN
	hold_set adopt "$1"
	write $INJECT/unpoison-pfn "$1" && ! is_poisoned "$1"
}

# All objects are freed, and the pages that failed are given back.
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
	((${#left[@]} == 0)) || fail "page frames ${left[*]} are still out of use: $ERROR"
}

# What a test has to put right again
machine() {
	echo "$(corrupted_kb) kB failed"
	awk 'NR > 1 { print "swap on", $1 }' /proc/swaps
	ls -d /sys/block/zram* "$HOLD" 2> /dev/null
}

# nothing_left_behind BEFORE: the machine's state then
nothing_left_behind() {
	zram_end_all
	unpoison_all || return
	nothing_leaked || return
	[[ $(machine) == "$1" ]] ||
		fail "there was $(paste -s -d, <<< "$1"), and is $(machine | paste -s -d,)"
}
