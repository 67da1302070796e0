#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes build/data.img, real data that guests swap: kernel sources, and programs and
# libraries of this machine, half and half.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SIZE_MB=768
OUT=$BUILD/data.img

# take BYTES FILE-LIST: the contents of the files, up to BYTES
take() {
	# head closes the pipe when it has enough; that is no error.
	{ xargs -0 cat 2> /dev/null || true; } < "$2" | head -c "$1" || true
}

main() {
	local lists=$BUILD/data.lists rest
	[[ ! -f $OUT ]] || (($(stat -c %s "$OUT") != SIZE_MB << 20)) || return 0
	need_space "$BUILD" $((SIZE_MB + 100)) "the test data"
	step "Collecting $SIZE_MB MB of real data (about 10 seconds)"
	mkdir -p "$lists"
	find -L /usr/bin /usr/lib /usr/sbin -xdev -type f -size +64k \
		\( -perm /111 -o -name '*.so*' \) -print0 2> /dev/null |
		LC_ALL=C sort -z > "$lists/programs" || true
	find "$BUILD/base/" -type f -name '*.c' -size +4k -print0 |
		LC_ALL=C sort -z > "$lists/sources"

	take $((SIZE_MB << 19)) "$lists/programs" > "$OUT.new"
	# If a small machine has fewer programs, sources fill the rest.
	rest=$(((SIZE_MB << 20) - $(stat -c %s "$OUT.new")))
	take $rest "$lists/sources" >> "$OUT.new"
	(($(stat -c %s "$OUT.new") == SIZE_MB << 20)) ||
		{ disk_hint; die "could not collect $SIZE_MB MB of data"; }
	mv "$OUT.new" "$OUT"
}

main
