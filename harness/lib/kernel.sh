#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Builds one kernel from build/tree:  kernel.sh uml|x86|x86-debug|x86-dump|torture-...
#   uml        user-mode Linux with KASAN and lockdep, for KUnit
#   x86        small QEMU guest, for run and shell
#   x86-debug  the same with lockdep and the KUnit suites, for test, soak and check
#   x86-dump   the same as x86 with debug information, for dump
#   torture-uml, torture-debug, torture-rt, torture-kcsan   see torture.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/kbuild.sh"

main() {
	[[ $(uname -m) == x86_64 ]] ||
		die "the kernels are built with the native compiler: an x86_64 machine is needed, this is $(uname -m)"
	"$LIB/deps.sh" build
	kernel_env
	build_lock
	need_space "$BUILD" 1500 "a kernel build"
	case ${1:-} in
	uml)
		step "Building user-mode Linux with KASAN (first time about 9 minutes)"
		configure_uml "$BUILD/uml"
		build "$BUILD/uml" um linux 'user-mode Linux' 700
		;;
	x86)
		step "Building the guest kernel (first time about 8 minutes)"
		configure "$BUILD/x86" x86_64 "$CONFIGS"/{x86,run}.config
		build "$BUILD/x86" x86_64 vmlinux 'guest kernel' 920
		;;
	x86-debug)
		step "Building the debug guest kernel (first time about 9 minutes)"
		configure_x86_debug "$BUILD/x86-debug"
		build "$BUILD/x86-debug" x86_64 vmlinux 'debug guest kernel' 1000
		;;
	x86-dump)
		step "Building the guest kernel with debug information (first time about 10 minutes)"
		configure "$BUILD/x86-dump" x86_64 "$CONFIGS"/{x86,host-root,x86-dump}.config
		build "$BUILD/x86-dump" x86_64 vmlinux 'guest kernel with debug information' 1130
		build "$BUILD/x86-dump" x86_64 scripts_gdb 'gdb scripts' 0
		;;
	torture-uml)
		step "Building user-mode Linux for the torture (first time about 5 minutes)"
		configure "$BUILD/$1" um "$CONFIGS"/torture{,-uml}.config
		build "$BUILD/$1" um linux "$1" 590
		;;
	torture-debug | torture-rt | torture-kcsan)
		step "Building the guest kernel $1 (first time about 6 minutes)"
		configure "$BUILD/$1" x86_64 "$CONFIGS"/torture{,-x86}.config \
			"$CONFIGS/$1.config"
		build "$BUILD/$1" x86_64 vmlinux "$1" 800
		;;
	*)
		die "usage: kernel.sh uml|x86|x86-debug|x86-dump|torture-uml|torture-debug|torture-rt|torture-kcsan"
		;;
	esac
}

main "$@"
