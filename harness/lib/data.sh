#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes build/data.img, the real data the guest swaps: kernel sources and this
# machine's own programs and libraries, half and half.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SIZE_MB=768
OUT=$BUILD/data.img

[[ ! -f $OUT ]] || (($(stat -c %s "$OUT") != SIZE_MB << 20)) || exit 0

need_space "$BUILD" $((SIZE_MB + 100)) "the test data"
step "Collecting $SIZE_MB MB of real data (about 10 seconds)"

# take BYTES FILE-LIST: the files one after the other, up to BYTES
take() {
	# head closes the pipe when it has enough; that is no error.
	{ xargs -0 cat 2> /dev/null || true; } < "$2" | head -c "$1" || true
}

lists=$BUILD/data.lists
mkdir -p "$lists"
find -L /usr/bin /usr/lib /usr/sbin -xdev -type f -size +64k \
	\( -perm /111 -o -name '*.so*' \) -print0 2> /dev/null |
	LC_ALL=C sort -z > "$lists/programs" || true
find "$BUILD/base/" -type f -name '*.c' -size +4k -print0 |
	LC_ALL=C sort -z > "$lists/sources"

half=$((SIZE_MB << 19))
take $half "$lists/programs" > "$OUT.new"
# A small machine may not have that many programs: more sources then.
rest=$(((SIZE_MB << 20) - $(stat -c %s "$OUT.new")))
take $rest "$lists/sources" >> "$OUT.new"
(($(stat -c %s "$OUT.new") == SIZE_MB << 20)) ||
	{ disk_hint; die "could not collect $SIZE_MB MB of data"; }
mv "$OUT.new" "$OUT"
