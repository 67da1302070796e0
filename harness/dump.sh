#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make dump: tools/mm/zsmalloc.py and scripts/gdb/linux/zsmalloc.py look into the pools
# of a guest: in its dump, in a filtered dump, in the running guest from outside and from
# inside.  The pages that they print are compared with those that were written.
#   DUMP_TIMEOUT   seconds that the guest may run
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/guest.sh"
. "$LIB/sid.sh"

knob DUMP_TIMEOUT 1800

PACKAGES=(python3-drgn makedumpfile)
MEMORY=384	# MB
# PAGES known pages are written, each EVERYth stays.  HELD go to zswap.
PAGES=6000 EVERY=4 HELD=600

WORK=$BUILD/dump
COUNT=$BUILD/dump.count
console=$LOGS/dump.log
results=$WORK/results
guest_pid=
passed=0 failed=0
out=	# what the last command has printed

ok()  { passed=$((passed + 1)); info "ok: $1"; }
bad() { failed=$((failed + 1)); problem "$1: $2"; }

last_words() { tr '\r' '\n' < "$1" | grep -v '^$' | tail -n 1; }
last_line() { tail -n 1 <<< "$1"; }

# try TEXT COMMAND...: COMMAND must succeed
try() {
	local text=$1
	shift
	if out=$("$@" 2> "$WORK/stderr"); then
		ok "$text"
	else
		bad "$text" "$(tail -n 1 "$WORK/stderr") $(last_line "$out")"
	fi
}

same() { # same TEXT HAVE WANT
	if [[ $2 == "$3" ]]; then
		ok "$1: $2"
	else
		bad "$1" "'$2', not '$3'"
	fi
}

r() { guest_result "$results" "$1" "${2-0}"; }

# The reader, in the root of Debian sid, where build/ is /mnt.  Its source is a list of
# options: a dump, or the guest.
reader() {
	sid_run "$BUILD" /mnt/tree/tools/mm/zsmalloc.py "${source[@]}" "$@"
}

symbols=(-s /mnt/x86-dump/vmlinux)
use_dump() { source=(-c "/mnt/dump/$1" "${symbols[@]}"); }

qmp() { "$LIB/dump.py" qmp "$WORK/qmp" "$@"; }

stop_guest() {
	[[ -z $guest_pid ]] || qmp quit > /dev/null 2>&1 || true
}

boot() {
	local start=$SECONDS share='security_model=none,readonly=on,multidevs=remap'
	step "A guest with $MEMORY MB fills zram and zswap with known pages (a minute or two)"
	: > "$results"
	rm -f "$WORK"/{qmp,go,gdb}
	guest "$BUILD/x86-dump/vmlinux" "${MEMORY}M" "$DUMP_TIMEOUT" "$console" "$results" \
		"numa=fake=2 zs.job=dump zs.args=$PAGES,$EVERY,$HELD" \
		-chardev "socket,id=go,path=$WORK/go,server=on,wait=off" \
		-device virtio-serial-pci -device virtserialport,chardev=go \
		-initrd "$BUILD/initramfs.gz" -device vmcoreinfo \
		-drive "file=$WORK/pages.img,if=virtio,format=raw,readonly=on" \
		-virtfs "local,path=$SID,mount_tag=host,$share" \
		-virtfs "local,path=$BUILD,mount_tag=build,$share" \
		-qmp "unix:$WORK/qmp,server=on,wait=off" \
		-gdb "unix:path=$WORK/gdb,server=on,wait=off" &
	guest_pid=$!
	wait_for ready
	info "took $(elapsed $((SECONDS - start)))"
}

# wait_for KEY: until the guest has written this result
wait_for() {
	until grep -a -q "^$1 " "$results"; do
		if ! kill -0 "$guest_pid" 2> /dev/null; then
			guest_pid=
			die "the guest ended early: $(r error 'see build/logs/dump.log')"
		fi
		[[ -z $(r error '') ]] || die "the guest: $(r error)"
		sleep 0.5
	done
}

# tell LINE: a line for the guest's job
tell() {
	python3 -c 'import socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
line.sendall(sys.argv[2].encode() + b"\n")' "$WORK/go" "$1"
}

dump() {
	step "Dumping the guest: ELF, kdump, and filtered by makedumpfile"
	rm -f "$WORK"/guest.*
	qmp dump-guest-memory paging=false protocol="file:$WORK/guest.elf" format=elf \
		> /dev/null
	qmp dump-guest-memory paging=false protocol="file:$WORK/guest.pipe" \
		format=kdump-zlib > /dev/null
	# QEMU writes it for a pipe, with headers at the end.
	sid_run "$BUILD" sh -c 'makedumpfile -R /mnt/dump/guest.kdump < /mnt/dump/guest.pipe' \
		> "$LOGS/makedumpfile.log" 2>&1 ||
		bad 'makedumpfile -R' "$(last_words "$LOGS/makedumpfile.log")"
	# Without pages that are free, zero, of the cache or of processes
	cp "$WORK/guest.elf" "$WORK/guest.plain"
	chmod u+w "$WORK/guest.plain"
	"$LIB/dump.py" plain "$WORK/guest.plain"
	filter 31 guest.filtered
	# makedumpfile 1.7.8 does not know the compound pages of 7.3: it takes their tail
	# pages for those of processes.  Slabs are among them, and so are descriptors.
	filter 23 guest.mostly
	rm -f "$WORK/guest.plain"
	info "$(cd "$WORK" && du -m guest.* | awk '{ printf "%s: %d MB  ", $2, $1 }')"
}

filter() { # filter LEVEL FILE
	sid_run "$BUILD" makedumpfile -d "$1" -c /mnt/dump/guest.plain "/mnt/dump/$2" \
		> "$LOGS/makedumpfile.log" 2>&1 ||
		bad "makedumpfile -d $1" "$(last_words "$LOGS/makedumpfile.log")"
}

# All pages of zsmalloc are in the dump from which most pages were left out.
all_kept() {
	try 'the page frames of zsmalloc' in_drgn guest.elf '
from drgn.helpers.linux.mm import for_each_valid_pfn_and_page
for pfn, page in for_each_valid_pfn_and_page(prog):
    if page.page_type.value_() >> 24 == int(prog["PGTY_zsmalloc"]):
        print(pfn)'
	echo "$out" > "$WORK/pfns"
	try 'makedumpfile -d 31 keeps them' in_drgn guest.filtered '
for pfn in open("/mnt/dump/pfns"):
    prog.read(int(pfn) * 4096, 4096, physical=True)'
	same '  all of them' "$(grep -c . "$WORK/pfns")" "$(reader memory |
		awk 'NR > 1 { n += ($3 + $4) / 4096 } END { print n }')"
}

in_drgn() { # in_drgn DUMP CODE
	sid_run "$BUILD" drgn -c "/mnt/dump/$1" "${symbols[@]}" -e "$2"
}

# all_pages NAME: reads all pages of both devices and compares them
all_pages() {
	local device
	for device in zram0 zram1; do
		try "$1: the pages of $device are read" \
			reader_to "$WORK/read" zram "$device" "0-$((PAGES - 1))" --raw
		try "$1: they are those that were written" \
			"$LIB/dump.py" compare "$WORK/pages.img" "$WORK/read" 0 "$EVERY"
	done
}

reader_to() { # reader_to FILE ARGS...
	local file=$1
	shift
	reader "$@" > "$file"
}

# at_least TEXT FILE REGEX: how many lines match, one at least
at_least() {
	local n
	n=$(grep -c -E "$3" "$2" || true)
	if ((n)); then
		ok "$1: $n"
	else
		bad "$1" 'none'
	fi
}

count() { grep -c -E "$2" "$1" || true; }

read_zram() {
	local list=$WORK/zram0.list
	try 'the pages of zram0 are listed' reader_to "$list" zram zram0 --list
	at_least 'native objects' "$list" ', native'
	at_least 'forwarded objects' "$list" ', forwarded'
	at_least 'native objects in two pages' "$list" ', native, straddles'
	at_least 'forwarded objects in two pages' "$list" ', forwarded, straddles'
	same 'incompressible pages, as zram counts them' \
		"$(count "$list" ', incompressible')" "$(r huge_zram0 none)"
	same 'same-filled pages, as zram counts them' \
		"$(count "$list" ', not compressed')" "$(r same_zram0 none)"
	same 'forwarded objects, as debugfs counts them' \
		"$(count "$list" ', forwarded')" "$(r forwarded_zram0 none)"
}

read_memory() {
	local pool
	try 'the memory of the pools' reader memory
	for pool in zram0 zram1; do
		same "memory of $pool, as in debugfs" \
			"$(awk -v pool="$pool" '$1 == pool {
				print $2, $3, $4, $5, $6, $7, $8 }' <<< "$out")" \
			"$(r "memory_$pool" none)"
	done
}

# Page frames to which pages were migrated, and what is in them
read_migrated() {
	local pfn n=0 index user
	for pfn in $(awk '$1 == "migrated" { print $2 }' "$results" | tr -d '\r'); do
		try "page frame $pfn, to which a page was migrated" reader pfn "$pfn" --users
		user=$(grep -o -m 1 'zram0 page [0-9]*' <<< "$out" || true)
		[[ -n $user ]] || { bad "page frame $pfn" 'no object of zram0 is in it'; continue; }
		index=${user##* }
		try "  $user is in it" reader_to "$WORK/read" zram zram0 "$index" --raw
		try '  its bytes' "$LIB/dump.py" compare "$WORK/pages.img" "$WORK/read" \
			"$index" "$EVERY"
		n=$((n + 1))
		((n < 2)) || break
	done
	((n)) || bad 'migrated pages' 'none of zram0 was migrated'
}

# zswap does not have pages of zeros.
read_zswap() {
	local index type offset n=0 list=$WORK/zswap.list
	try 'the pages of zswap are listed' reader_to "$list" zswap
	while read -r index type offset; do
		if grep -q "^zswap page $type $offset:" "$list"; then
			n=$((n + 1))
			((n % 97 == 1)) || continue
			try "page $offset of swap device $type" \
				reader_to "$WORK/read" zswap "$type" "$offset" --raw
			try '  its bytes' "$LIB/dump.py" compare "$WORK/pages.img" \
				"$WORK/read" "$index" 1
		elif ! cmp -s -n 4096 -i $((index * 4096)):0 "$WORK/pages.img" /dev/zero; then
			bad "page $offset of swap device $type" 'not found, and not of zeros'
		fi
	done < <(awk '$1 == "swapped" { print $2, $3, $4 }' "$results" | tr -d '\r')
	if ((n)); then
		ok "pages in zswap: $n"
	else
		bad 'pages in zswap' 'none'
	fi
}

# refuses TEXT REGEX ARGS...: the reader ends with status 1 and with one line
refuses() {
	local text=$1 regex=$2 status=0
	shift 2
	out=$(reader "$@" 2> "$WORK/stderr" > "$WORK/stdout") || status=$?
	if ((status != 1)); then
		bad "refused: $text" "exit status $status"
	elif [[ $(wc -l < "$WORK/stderr") != 1 ]] || ! grep -q -E "$regex" "$WORK/stderr"; then
		bad "refused: $text" "$(tail -n 1 "$WORK/stderr")"
	else
		ok "refused: $text: $(< "$WORK/stderr")"
	fi
}

field() { # field REGEX: the first match in $out
	grep -o -m 1 -E "$1" <<< "$out" | tail -n 1 || true
}

wrong_input() {
	local handle zspage address index page_offset
	refuses 'no command' 'required'
	refuses 'an unknown command' 'invalid choice' pool
	refuses 'a device that does not exist' 'there is no zram7' zram zram7 0
	refuses 'a device that is none' 'not a zram device' zram sda 0
	refuses 'a page past the end' 'there is no page' zram zram0 "$PAGES"
	refuses 'a page that was freed' 'is empty' zram zram0 1
	refuses 'no number' 'not a number' handle 12q
	refuses 'handle 0' 'no handle' handle 0
	refuses 'a handle of no memory' 'no handle' handle 0x0fffffffffffffff
	refuses 'an address of no zspage' 'not a zspage' zspage 0x10
	refuses 'a page frame of the kernel' 'not a page of zsmalloc' pfn 0x1000
	refuses 'a page frame that does not exist' 'no page frame' pfn 0xfffffff
	refuses 'an unknown pool' "no pool 'zram9'" check zram9
	refuses 'a swap entry without a page' 'does not have|has no page' zswap 0 60000

	# A handle of the generation before, and one of a slot that is free
	index=$(sed -n -E 's/^zram0 page ([0-9]+):.*lz4.*native$/\1/p' "$WORK/zram0.list" |
		head -n 1)
	try 'one page of zram0' reader zram zram0 "$index"
	handle=$(field 'handle 0x[0-9a-f]+')
	handle=${handle#handle }
	address=$(field 'physical address 0x[0-9a-f]+')
	zspage=$(field 'zspage 0x[0-9a-f]+')
	refuses 'a handle that was freed' 'generation|was freed' \
		handle "$(printf '%#x' $((handle ^ 1 << 60)))"
	refuses 'a slot that does not exist' 'no handle' \
		handle "$(printf '%#x' $(((handle | 0xfff) + 1)))"

	step "Damaged dumps"
	head -c 100000 "$WORK/guest.elf" > "$WORK/torn.elf"
	use_dump torn.elf
	refuses 'a dump of which most is missing' . pools
	head -c $(($(stat -c %s "$WORK/guest.elf") / 3)) "$WORK/guest.elf" > "$WORK/torn.elf"
	refuses 'a dump of which two thirds are missing' . check
	cp "$WORK/pages.img" "$WORK/torn.elf"
	refuses 'a file that is no dump' 'cannot be read' pools
	source=(-c /mnt/dump/guest.elf -s /mnt/dump/guest.elf)
	refuses 'symbols that are none' 'debug information|vmlinux|types' pools
	source=(-c /mnt/dump/none "${symbols[@]}")
	refuses 'a dump that does not exist' 'No such file' pools

	use_dump damaged.elf
	address=${address#physical address }
	"$LIB/dump.py" damage "$WORK/guest.elf" "$WORK/damaged.elf" "$address" \
		ffffffffffffffffffffffff
	refuses 'an object with other bytes' 'lz4' zram zram0 "$index"
	# pins is the first field: a live zspage that is frozen
	page_offset=$(in_drgn guest.elf 'print(prog["page_offset_base"].value_())' \
		2> /dev/null)
	zspage=${zspage#zspage }
	"$LIB/dump.py" damage "$WORK/guest.elf" "$WORK/damaged.elf" \
		"$(printf '%#x' $((zspage - page_offset)))" 000000c0
	refuses_check 'a zspage that is frozen' 'not frozen'
}

# The reader finds the equation that does not hold.
refuses_check() {
	local status=0
	out=$(reader check 2>&1) || status=$?
	if ((status == 1)) && grep -q -E "$2" <<< "$out"; then
		ok "found: $1: $(grep -m 1 -E "$2" <<< "$out")"
	else
		bad "not found: $1" "$(last_line "$out")"
	fi
}

read_dump() {
	step "Reading the dump with tools/mm/zsmalloc.py"
	use_dump guest.elf
	try 'the pools' reader pools
	same 'pools' "$(grep -c -E '^0x[0-9a-f]+ +(zram[012]|zswap)' <<< "$out")" 4
	same 'nodes of the pool of zswap' "$(awk '/zswap/ { print $5 }' <<< "$out")" '0,1'
	try 'the classes' reader classes zram0
	try 'all equations' reader check
	info "$(last_line "$out")"
	try 'all equations, and all pages' reader check --scan
	try 'all equations, as a script of drgn' sid_run "$BUILD" drgn -c /mnt/dump/guest.elf \
		"${symbols[@]}" /mnt/tree/tools/mm/zsmalloc.py check
	all_pages 'ELF'
	read_zram
	read_memory
	read_migrated
	read_zswap
	step "Wrong input"
	wrong_input
	step "Other dumps"
	use_dump guest.kdump
	refuses 'a dump that does not tell the architecture' 'ARCH' pools
	source+=(--architecture x86_64)
	try 'kdump: all equations' reader check
	all_pages 'kdump'
	use_dump guest.mostly
	try 'filtered: all equations' reader check
	all_pages 'filtered'
	all_kept
}

# The session of "Reading a dump" in Documentation/mm/zsmalloc.rst, for those who change it
session() {
	local index handle zspage
	run() {
		printf ' # zsmalloc.py -c vmcore -s vmlinux %s\n' "$*"
		reader "$@" | sed 's/^/ /'
	}
	index=$(sed -n -E 's/^zram0 page ([0-9]+):.*forwarded, straddles$/\1/p' \
		"$WORK/zram0.list" | sed -n 2p)
	use_dump guest.elf
	run pools
	run check
	run memory
	run zram zram0 "$((index - EVERY))-$((index + EVERY))" --list
	run zram zram0 "$index"
	handle=$(reader zram zram0 "$index" | grep -o -m 1 'handle 0x[0-9a-f]*')
	run handle "${handle#handle }"
	for zspage in $(reader handle "${handle#handle }" | grep -o 'zspage 0x[0-9a-f]*' |
		grep -o '0x.*'); do
		run zspage "$zspage" --users
	done
	run pfn "$(awk '$1 == "migrated" { print $2; exit }' "$results" | tr -d '\r')" --users
	run zswap | sed -n 1,5p
	run zswap 0 1
}

# in_gdb COMMAND...: in the running guest, which waits meanwhile
in_gdb() {
	local commands=() command
	for command; do
		commands+=(-ex "$command")
	done
	gdb -q -batch -nx -iex "add-auto-load-safe-path $BUILD" "$BUILD/x86-dump/vmlinux" \
		-ex 'set pagination off' -ex "target remote $WORK/gdb" \
		"${commands[@]}" -ex detach 2>&1
}

read_gdb() {
	local list=$WORK/zram0.list kind index handle want have zspage pool
	step "The running guest, in gdb"
	use_dump guest.elf
	try 'lx-zsmalloc-pools' in_gdb lx-zsmalloc-pools
	same 'pools in gdb' "$(grep -c -E '^0x[0-9a-f]+ (zram|zswap)' <<< "$out")" 4
	pool=$(awk '$2 == "zram0:" { print $1 }' <<< "$out")
	try 'lx-zsmalloc-classes' in_gdb "lx-zsmalloc-classes $pool"
	reader classes zram0 | awk '$3 ~ /^[0-9]+$/ { n += $(NF - 3) } END { print n + 0 }' \
		> "$WORK/objects"
	same 'objects of all classes' \
		"$(awk '$1 ~ /^[0-9]$/ { n += $8 } END { print n + 0 }' <<< "$out")" \
		"$(< "$WORK/objects")"
	for kind in native forwarded 'native, straddles' 'forwarded, straddles'; do
		read -r index handle < <(sed -n -E \
			"s/^zram0 page ([0-9]+):.*handle (0x[0-9a-f]+), $kind\$/\1 \2/p" "$list" |
			head -n 1)
		want=$(reader handle "$handle" | sed -n -E \
			's/.* bytes in page ([0-9]+), page frame (0x[0-9a-f]+), at offset (0x[0-9a-f]+).*/\1 \2 \3/p')
		try "lx-zsmalloc-handle, $kind, zram0 page $index" in_gdb "lx-zsmalloc-handle $handle"
		have=$(sed -n -E \
			's/.* bytes in page ([0-9]+), page frame (0x[0-9a-f]+), at offset (0x[0-9a-f]+).*/\1 \2 \3/p' <<< "$out")
		same '  page, page frame and offset' "${have//$'\n'/; }" "${want//$'\n'/; }"
		zspage=$(grep -o -E 'zspage 0x[0-9a-f]+' <<< "$out" | tail -n 1)
		try '  lx-zsmalloc-zspage' in_gdb "lx-zsmalloc-zspage ${zspage#zspage }"
		same '  its slots have the handle' "$(grep -c "handle $handle\$" <<< "$out")" 1
	done
	out=$(in_gdb 'lx-zsmalloc-handle 0' 'lx-zsmalloc-zspage 0x1000' 'lx-zsmalloc-handle' || true)
	if grep -q 'is no handle' <<< "$out" && ! grep -q Traceback <<< "$out"; then
		ok 'wrong input in gdb is refused'
	else
		bad 'wrong input in gdb' "$(last_line "$out")"
	fi
}

read_running() {
	step "The running guest, from inside (a few minutes)"
	tell live
	wait_for live
	same 'all equations, from inside' "$(r live none)" 0
	same 'pages that differ, from inside' "$(r live_wrong none)" 0
}

main() {
	local status=0
	"$LIB/deps.sh" profile
	prepare_guest x86-dump
	mkdir -p "$WORK"
	rm -f "$COUNT"
	need_space "$BUILD" 3000 'dumps'
	sid_root "${PACKAGES[@]}" || die "no drgn: $sid_why"
	"$LIB/dump.py" pages "$WORK/pages.img" "$PAGES"
	trap stop_guest EXIT
	boot
	dump
	read_dump
	session > "$WORK/session" 2>&1
	read_gdb
	read_running
	tell end
	wait "$guest_pid" || status=$?
	guest_pid=
	check_guest 'the guest' "$status" "$console" "$GUEST_END 0"
	[[ $(r finished) == 1 ]] || problem 'the job did not finish'
	((${#problems[@]})) || rm -f "$WORK"/guest.* "$WORK"/{torn,damaged}.elf
	echo "$passed $((failed + (${#problems[@]} && !failed)))" > "$COUNT"
	finish dump "$passed checks passed, none failed" \
		"$passed checks passed, ${#problems[@]} problems"
}

main
