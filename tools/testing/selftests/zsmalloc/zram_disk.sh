#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# zram with ext4: while memory and zram are compacted, directory trees are copied to it
# and on it, compared, deleted, trimmed and copied again. Then fio, if it is installed,
# writes and verifies data.
#
# ZSMALLOC_TEST_TREES	directories to copy

. "$(dirname "$0")/zsmalloc_lib.sh"

read -r -a TREES <<< "${ZSMALLOC_TEST_TREES:-/usr/include/linux /usr/share/perl5}"

start_test 8
need_zram
need_command mkfs.ext4 fsck.ext4 fstrim diff
grep -q -w ext4 /proc/filesystems || skip_test "needs CONFIG_EXT4_FS"
for i in "${!TREES[@]}"; do
	[[ -d ${TREES[i]} ]] || unset "TREES[i]"
done
((${#TREES[@]})) || skip_test "no directories to copy, see ZSMALLOC_TEST_TREES"
count_migrations
zram_new || skip_test "cannot add a zram device"
begin_checks
MNT=$TMP/mnt

make_fs() {
	mkdir "$MNT" && write "$SYS/disksize" 256M || return
	limited mkfs.ext4 -q -F "$ZRAM" && mount -t ext4 "$ZRAM" "$MNT" || return
	at_exit umount "$MNT"
	MIGRATED_BEFORE=$(migrated)
	start_compaction "$SYS"
}

copied() { # copied DIRECTORY: succeeds if it equals the original trees
	local tree
	for tree in "${TREES[@]}"; do
		diff -r --no-dereference "$tree" "$1/${tree##*/}" > "$TMP/diff" 2>&1 ||
			fail "the copy of $tree differs in $(wc -l < "$TMP/diff") lines of diff: $(head -n 1 "$TMP/diff")" ||
			return
	done
}

# Empties the page cache, so that files are read from zram
remount() {
	umount "$MNT" && mount -t ext4 "$ZRAM" "$MNT"
}

copy_in() {
	mkdir "$MNT/first"
	limited cp -a "${TREES[@]}" "$MNT/first/" || return
	remount && copied "$MNT/first" || return
	say "zram stores $(find "$MNT/first" -type f | wc -l) files, $(mm_stat 1) bytes in $(mm_stat 3) bytes of memory"
}

copy_again() {
	mkdir "$MNT/second"
	limited cp -a "$MNT"/first/* "$MNT/second/" || return
	remount && copied "$MNT/second" && copied "$MNT/first"
}

delete_and_trim() {
	local before after
	limited sync
	before=$(mm_stat 1)
	limited rm -rf "$MNT/first"
	limited sync
	limited fstrim "$MNT" || fail "fstrim failed" || return
	after=$(mm_stat 1)
	say "zram stored $before bytes before deleting and trimming, $after bytes after it"
	((after < before * 3 / 4)) || fail "trimming freed too little" || return
	copied "$MNT/second"
}

fill_holes() {
	mkdir "$MNT/third"
	limited cp -a "$MNT"/second/* "$MNT/third/" || return
	remount && copied "$MNT/third" && copied "$MNT/second"
}

fs_is_sound() {
	wait_for 60 some_migrated || fail "no page migrated" || return
	stop_compaction || return
	figure zram_disk.migrated "$(migrated)"
	umount "$MNT" || return
	fsck.ext4 -f -n "$ZRAM" > "$TMP/fsck" 2>&1 ||
		fail "$(tail -n 1 "$TMP/fsck")"
}

verified_io() {
	local status=0
	zram_new && write "$SYS/disksize" 64M || return
	start_compaction "$SYS"
	# Half of the blocks are written twice, in different sizes.
	timeout 120 fio --name=zram --filename="$ZRAM" --ioengine=psync --direct=1 \
		--rw=randwrite --bsrange=4k-64k --size=48M --io_size=72M --norandommap \
		--buffer_compress_percentage=60 --refill_buffers --randrepeat=1 \
		--verify=crc32c --verify_fatal=1 --serialize_overlap=1 \
		> "$TMP/fio" 2>&1 < /dev/null || status=1
	stop_compaction || status=1
	grep -q 'WRITE:' "$TMP/fio" || status=1
	((status == 0)) || say "$(tail -n 3 "$TMP/fio" | paste -s -d' ')"
	return "$status"
}

check "an ext4 file system is made on zram" make_fs
check "trees that were copied to zram are intact" copy_in
check "trees that were copied on zram are intact" copy_again
check "deleting and trimming one of two copies leaves the other intact" delete_and_trim
check "trees that were copied to trimmed space are intact" fill_holes
check "fsck finds no error in the file system on zram" fs_is_sound
if command -v fio > /dev/null; then
	check "data that fio wrote to zram is intact" verified_io
else
	skip "data that fio wrote to zram is intact" "the command fio is missing"
fi
check "all zsmalloc pages of the test are freed" nothing_leaked
ktap_finished
