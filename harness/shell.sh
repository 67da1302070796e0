#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make shell: a busybox shell in the guest, with zram swap set up.
#   ZS_CMDLINE   more of the kernel command line
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/guest.sh"

knob ZS_CMDLINE

main() {
	local status=0
	[[ -t 0 ]] || die "make shell needs a terminal"
	prepare_guest x86
	"$LIB/data.sh"
	choose_cpu "$BUILD/x86/vmlinux"
	step "Guest with 640 MB; leave it with 'exit' (or Ctrl-A X)"
	# guest() has the console in a file, and a limit.
	"${GUEST_MACHINE[@]}" -smp "$GUEST_CPUS" -m 640M "${QEMU_CPU[@]}" \
		-nodefaults -no-user-config -display none -no-reboot \
		-chardev stdio,id=tty,mux=on,signal=off -serial chardev:tty \
		-mon chardev=tty -serial null \
		-kernel "$BUILD/x86/vmlinux" -initrd "$BUILD/initramfs.gz" \
		-append "$GUEST_CMDLINE quiet zs.job=shell $ZS_CMDLINE" \
		-drive "file=$BUILD/data.img,if=virtio,format=raw,readonly=on" || status=$?
	((status == 0)) && return
	rm -f "$BUILD/x86/vmlinux.kvm"	# the next command tries KVM again
	die "QEMU failed with status $status"
}

main
