#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes build/initramfs.gz: busybox, the guest's jobs and its test programs.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

OUT=$BUILD/initramfs.gz
PROGRAMS=(zsdump zspages zsrun zssoak zsswapon zsusers)

main() {
	local root=$BUILD/initramfs.dir program
	if [[ -f $OUT && -z $(find "$HARNESS/guest" "$LIB/initramfs.sh" -newer "$OUT" -print -quit) ]]; then
		return 0
	fi
	"$LIB/deps.sh" build guest
	step "Making the guest's initramfs"
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/jobs"
	cp "$(command -v busybox)" "$root/bin/busybox"
	install -m 755 "$HARNESS/guest/init" "$root/init"
	cp "$HARNESS/guest/lib.sh" "$HARNESS"/guest/jobs/* "$root/jobs/"
	for program in "${PROGRAMS[@]}"; do
		gcc -O2 -Wall -Wextra -Wno-unused-function -static \
			-o "$root/bin/$program" "$HARNESS/guest/$program.c" ||
			die "compiling harness/guest/$program.c failed"
	done
	(cd "$root" && find . | LC_ALL=C sort |
		cpio -o -H newc -R 0:0 --quiet --reproducible) | gzip -1n > "$OUT.new" ||
		{ disk_hint; die "making the initramfs failed"; }
	mv "$OUT.new" "$OUT"
}

main
