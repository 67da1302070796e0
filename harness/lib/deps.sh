#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Installs missing tools:  deps.sh GROUP...
# The groups are tree, build, guest, selftest, check, model, profile, sid, deb, and those of
# other architectures: arm64, i386, arm, riscv64, s390x, ppc64le, ppc44x and mips64el.
# apt installs the tools if that is possible without a password; otherwise the command
# to run is printed.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

have_cmd()    { command -v "$1" > /dev/null; }
have_header() {
	have_cmd gcc && printf '#include <%s>\n' "$1" | gcc -E - > /dev/null 2>&1
}
have_static_busybox() {
	local bb
	bb=$(command -v busybox) || return 1
	# A dynamic one has an interpreter, which the guest lacks.
	have_cmd readelf && ! LC_ALL=C readelf -l "$bb" | grep -q INTERP
}
# debootstrap is for root, so it may be outside of a user's PATH.
have_debootstrap() { PATH=$PATH:/usr/sbin:/sbin have_cmd debootstrap; }

missing=()
want() { # want PACKAGE TEST...
	local package=$1
	shift
	"$@" || missing+=("$package")
}

# want_cross ARCHITECTURE COMPILER PACKAGE QEMU: a cross compiler with its C library, by
# Debian's name of the architecture, and QEMU
want_cross() {
	want "gcc-$2" have_cmd "$2-gcc"
	want "libc6-dev-$1-cross" test -f "/usr/$2/include/stdio.h"
	want "$3" have_cmd "$4"
}

want_group() { # want_group GROUP
	case $1 in
	tree)
		want xz-utils have_cmd xz
		want patch have_cmd patch
		want diffutils have_cmd cmp
		want gawk have_cmd awk
		want git have_cmd git
		;;
	build)
		want gcc have_cmd gcc
		want make have_cmd make
		want libc6-dev have_header stdio.h
		want linux-libc-dev have_header linux/types.h
		want binutils have_cmd ld
		want flex have_cmd flex
		want bison have_cmd bison
		want bc have_cmd bc
		want python3 have_cmd python3
		want perl have_cmd perl
		want libelf-dev have_header gelf.h
		want libssl-dev have_header openssl/ssl.h
		want ccache have_cmd ccache
		want cpio have_cmd cpio
		;;
	guest)
		want qemu-system-x86 have_cmd qemu-system-x86_64
		want busybox-static have_static_busybox
		want cpio have_cmd cpio
		;;
	selftest)
		want e2fsprogs have_cmd mkfs.ext4
		want rsync have_cmd rsync
		want kmod have_cmd insmod
		want mount have_cmd losetup
		want fio have_cmd fio
		want numactl have_cmd migratepages
		want libcap-dev have_header sys/capability.h
		want libnuma-dev have_header numa.h
		want bpftrace have_cmd bpftrace
		want trace-cmd have_cmd trace-cmd
		want linux-perf have_cmd perf
		;;
	arm64)
		want_cross arm64 aarch64-linux-gnu qemu-system-arm qemu-system-aarch64
		;;
	i386)
		want_cross i386 i686-linux-gnu qemu-system-x86 qemu-system-i386
		;;
	arm)
		want_cross armhf arm-linux-gnueabihf qemu-system-arm qemu-system-arm
		;;
	riscv64)
		want_cross riscv64 riscv64-linux-gnu qemu-system-misc qemu-system-riscv64
		want opensbi \
			test -f /usr/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin
		;;
	s390x)
		want_cross s390x s390x-linux-gnu qemu-system-misc qemu-system-s390x
		;;
	ppc64le)
		want_cross ppc64el powerpc64le-linux-gnu qemu-system-ppc qemu-system-ppc64
		want qemu-slof test -f /usr/share/qemu/slof.bin
		;;
	mips64el)
		want_cross mips64el mips64el-linux-gnuabi64 qemu-system-mips \
			qemu-system-mips64el
		;;
	ppc44x)
		want gcc-powerpc-linux-gnu have_cmd powerpc-linux-gnu-gcc
		;;
	profile)
		want gdb have_cmd gdb
		;;
	model)
		want spin have_cmd spin
		want gcc have_cmd gcc
		want libc6-dev have_header stdio.h
		;;
	sid)
		want debootstrap have_debootstrap
		want debian-archive-keyring \
			test -f /usr/share/keyrings/debian-archive-keyring.gpg
		;;
	deb)
		want dpkg-dev have_cmd dpkg-buildpackage
		want debhelper have_cmd dh_listpackages
		want libdw-dev have_header dwarf.h
		want rsync have_cmd rsync
		want kmod have_cmd depmod
		want e2fsprogs test -x /sbin/mke2fs
		want_group sid
		;;
	check)
		want sparse have_cmd sparse
		want perl have_cmd perl
		want shellcheck have_cmd shellcheck
		;;
	*)
		die "deps.sh: unknown group '$1'"
		;;
	esac
}

install_missing() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "${missing[@]}"
}

main() {
	local group log=$LOGS/apt-install.log
	for group; do
		want_group "$group"
	done
	((${#missing[@]})) || return 0
	mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

	if ! have_cmd apt-get; then
		die "missing tools; install the tools of these Debian packages: ${missing[*]}"
	fi

	if ! find_root; then
		die "missing tools; run:  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
	fi

	step "Installing with apt (about a minute): ${missing[*]}"
	with_progress 'apt-get update' 0 "$log" "${as_root[@]}" apt-get update ||
		warn "apt-get update failed, trying with the existing package lists"
	with_progress 'apt-get install' 0 "$log" install_missing ||
		die "apt could not install: ${missing[*]} (log: ${log#"$TOP"/})"
}

main "$@"
