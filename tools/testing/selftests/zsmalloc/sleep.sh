#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Suspend and hibernation while zsmalloc's memory is in use: a process has its memory in
# zram, objects of a pool are held open, and memory and zram are compacted up to the moment
# at which tasks are frozen. Afterwards all bytes must be intact, and the pages that the
# kernel counts must be those of the pools. The image of hibernation is written to a disk
# that is also used as swap: beside zram, and behind zswap.
#
# The machine sleeps only if ZSMALLOC_TEST_SLEEP is set:
#   test		it suspends; hibernation restores the image without a reboot
#   reboot	it hibernates and reboots; the kernel's command line must have resume= with
#		the disk ZSMALLOC_TEST_SWAP
# ZSMALLOC_TEST_SWAP	a disk or partition, whose contents are lost, for the image

. "$(dirname "$0")/zsmalloc_lib.sh"

MB=96		# memory of the process
POOL_MB=48	# of the pool
OPEN=256	# objects that are held open
SLEEP=4		# seconds until the clock wakes the machine
SLEEP_SECONDS=1200	# time limit of a sleep
POWER=/sys/power
ALARM=/sys/class/rtc/rtc0/wakealarm
HOW=${ZSMALLOC_TEST_SLEEP:-}
DISK=${ZSMALLOC_TEST_SWAP:-}

start_test 11
[[ $HOW =~ ^(test|reboot)$ ]] || skip_test "the machine must be allowed to sleep: set ZSMALLOC_TEST_SLEEP"
need_file $POWER/state CONFIG_SUSPEND
need_file $ALARM "CONFIG_RTC_INTF_SYSFS and a clock that can wake the machine"
need_file /sys/kernel/debug/zsmalloc CONFIG_ZSMALLOC_STAT
need_zram
need_hold
need_command mkswap swapon swapoff
zswap_off
set_for_test /proc/sys/vm/page-cluster 0
[[ $HOW == test ]] && MODE=test_resume || MODE=reboot
begin_checks

# setup NAME: fills a pool, and memory that is swapped out
setup() {
	LOAD=$1
	insmod "$DIR/zs_hold/zs_hold.ko" mbytes=$POOL_MB && hold_set open $OPEN || return
	LOAD_SECONDS=200 start_load "$LOAD" -m $MB -i -n ${#LOADS[@]}
}

setup_zram() { zram_swap 256M lz4 && setup "$1"; }

disk_swap() {
	limited mkswap "$DISK" > /dev/null && swapon "$DISK" && at_exit swapoff "$DISK"
}

setup_zram_and_disk() { disk_swap && setup_zram zram; }

setup_zswap() {
	local before
	zram_end_all
	before=$(zswap_pages)
	write $ZSWAP/enabled Y && setup zswap || return
	say "zswap stores $(($(zswap_pages) - before)) pages more"
	(($(zswap_pages) - before > MB * 256 / 2)) || fail "zswap stores too few pages"
}

zswap_pages() { cat /sys/kernel/debug/zswap/stored_pages; }

# asleep COMMAND...: compacts until the command has put the machine to sleep and it is
# awake again
asleep() {
	local before status=0
	before=$(exact_vm nr_zspages)
	start_compaction "${SYSFS[@]}"
	wait_for 60 has_compacted || status=1
	"$@" || fail "$* failed: $ERROR" || status=1
	stop_compaction || status=1
	say "compacted $(cat "$COMPACTED") times; $before zsmalloc pages before, $(exact_vm nr_zspages) after"
	return "$status"
}

has_compacted() { grep -q "[1-9]" "$COMPACTED"; }

suspend_to() { # suspend_to STATE [MEM_SLEEP]
	local before
	before=$(cat $POWER/suspend_stats/success)
	[[ -z ${2:-} ]] || write $POWER/mem_sleep "$2" || return
	write $ALARM 0 && write $ALARM +$SLEEP && write $POWER/state "$1" $SLEEP_SECONDS || return
	(($(cat $POWER/suspend_stats/success) > before)) || fail "the machine did not sleep"
}

# The write returns when the image was restored, or with an error.
hibernate() {
	write $POWER/disk "$MODE" && write $POWER/state disk $SLEEP_SECONDS
}

pages_of_pools() { # columns are found by name; the line "Total" has two columns less
	awk '
		/obj_allocated/ { for (i = 1; i <= NF; i++) if ($i == "pages_used") at = i - 1 }
		/^ *Total/ { n += $at }
		END { print n + 0 }' /sys/kernel/debug/zsmalloc/*/classes
}

counts_agree() { (($(pages_of_pools) == $(exact_vm nr_zspages))); }

still_intact() {
	local status=0
	hold_is_intact || status=1
	wait_for 10 counts_agree ||
		fail "the pools have $(pages_of_pools) pages, the kernel counts $(exact_vm nr_zspages)" ||
		status=1
	empty_node
	end_load "$LOAD" || status=1
	return "$status"
}

can() { grep -q -w -- "$2" "$1" 2> /dev/null; } # can FILE WORD

check "a process has its memory in zram, and objects are open" setup_zram suspend
SYSFS=("$SYS")
# A guest that reboots from hibernation need not have a clock that wakes it: QEMU's does not
# end suspend to idle.
if [[ $HOW == test ]] && can $POWER/state freeze; then
	check "the machine suspends to idle while memory and zram are compacted" asleep suspend_to freeze
else
	skip "the machine suspends to idle while memory and zram are compacted" "it cannot, or ZSMALLOC_TEST_SLEEP is not test"
fi
if [[ $HOW == test ]] && can $POWER/mem_sleep deep; then
	check "the machine suspends to RAM while memory and zram are compacted" asleep suspend_to mem deep
else
	skip "the machine suspends to RAM while memory and zram are compacted" "it cannot, or ZSMALLOC_TEST_SLEEP is not test"
fi
check "all bytes are intact then, and counts agree" still_intact

WITH_DISK=(
	"a process has its memory in zram, beside a disk for the image"
	"the machine hibernates while memory and zram are compacted"
	"all bytes are intact after hibernation with zram, and counts agree"
	"a process has its memory in zswap, in front of the disk for the image"
	"the machine hibernates while memory is compacted"
	"all bytes are intact after hibernation with zswap, and counts agree"
)
if [[ -b $DISK ]] && can $POWER/disk "$MODE"; then
	check "${WITH_DISK[0]}" setup_zram_and_disk
	SYSFS=("$SYS")
	check "${WITH_DISK[1]}" asleep hibernate
	check "${WITH_DISK[2]}" still_intact
	check "${WITH_DISK[3]}" setup_zswap
	SYSFS=()
	check "${WITH_DISK[4]}" asleep hibernate
	check "${WITH_DISK[5]}" still_intact
	# Pages of other processes may be in zswap.
	swapoff "$DISK"
else
	for statement in "${WITH_DISK[@]}"; do
		skip "$statement" "needs CONFIG_HIBERNATION, and a disk in ZSMALLOC_TEST_SWAP"
	done
fi
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
