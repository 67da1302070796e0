# SPDX-License-Identifier: GPL-2.0
# Shared by the guest's jobs.

RESULTS=/dev/ttyS1

say()    { echo "guest: $*" > /dev/console; }
result() { echo "$*" > $RESULTS; }
fail()   { say "FAILED: $*"; result "error $*"; exit 1; }

vmstat() { awk -v key="$1" '$1 == key { print $2 }' /proc/vmstat; }

# zram_swap DEVICE SIZE ALGORITHM PRIORITY
zram_swap() {
	echo "$3" > "/sys/block/$1/comp_algorithm" || fail "$1: no $3"
	echo "$2" > "/sys/block/$1/disksize" || fail "$1: disksize $2"
	mkswap "/dev/$1" > /dev/null || fail "mkswap /dev/$1"
	zsswapon "/dev/$1" "$4" || fail "swapon /dev/$1"
}

# Free blocks of every order, all zones added up
buddy() {
	awk '{ for (i = 5; i <= NF; i++) n[i - 5] += $i }
	     END { for (i = 0; i in n; i++) printf "%s%d", i ? " " : "", n[i] }' \
		/proc/buddyinfo
}

# Free memory that lies in blocks of at least order 9, counted in huge pages
huge_free() {
	awk '{ size = 1; for (i = 14; i <= NF; i++) { n += $i * size; size *= 2 } }
	     END { print n + 0 }' /proc/buddyinfo
}

# Pageblocks by the type for which they are meant, as NAME=NUMBER
block_types() {
	awk '/^Number of blocks type/ { last = split($0, name); next }
	     last && $1 == "Node" { for (i = 5; i <= last; i++) n[i] += $i }
	     END { for (i = 5; i <= last; i++) printf "%s%s=%d", (i > 5 ? " " : ""), name[i], n[i] }' \
		/proc/pagetypeinfo
}

# Free pages on the lists of the CPUs, which are not in free blocks
per_cpu_free() { awk '$1 == "count:" { n += $2 } END { print n + 0 }' /proc/zoneinfo; }

uptime_s() { cut -d ' ' -f 1 /proc/uptime; }

# Tracepoints are counted by histograms, one line per value of the key.
TRACING=/sys/kernel/tracing/events/zsmalloc

count_event() { # count_event EVENT KEY
	[ ! -d "$TRACING/$1" ] || echo "hist:keys=$2" > "$TRACING/$1/trigger"
}

# event_hits EVENT [KEY-VALUE-REGEX]: how often, with a key that matches
event_hits() {
	[ -f "$TRACING/$1/hist" ] || { echo 'not traced'; return; }
	awk -v value="${2:-.*}" '
		/hitcount:/ && $0 ~ "^\\{ *[a-z_]+: *" value " *\\}" { n += $NF }
		END { print n + 0 }' "$TRACING/$1/hist"
}

# param NAME: its value on the kernel command line
param() { sed -n "s/.*\bzs\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

# mount_9p TAG DIRECTORY
mount_9p() {
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro "$1" "$2"
}

# The host's root, read-only, except some directories that have memory mounted on them;
# or that of a disk, zs.root=
host=/host
host_root() {
	local root
	root=$(param root)
	mkdir -p $host
	if [ -n "$root" ]; then
		mount -t ext4 -o ro "$root" $host || fail "cannot mount $root"
	else
		mount_9p host $host || fail "cannot mount the host's root"
	fi
	for dir in tmp run mnt; do
		mount -t tmpfs -o size=64m $dir $host/$dir || fail "cannot mount on /$dir"
	done
	mount -t proc proc $host/proc
	mount -t sysfs sysfs $host/sys
	mount -t debugfs debug $host/sys/kernel/debug
	mount -t tracefs trace $host/sys/kernel/tracing
	mount -t devtmpfs dev $host/dev
	mkdir -p $host/dev/shm $host/dev/pts
	mount -t tmpfs -o size=64m shm $host/dev/shm
	mount -t devpts pts $host/dev/pts
	ln -s /proc/self/fd $host/dev/fd
	ln -s /proc/self/fd/0 $host/dev/stdin
	ln -s /proc/self/fd/1 $host/dev/stdout
	ln -s /proc/self/fd/2 $host/dev/stderr
}
