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
