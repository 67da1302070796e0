#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make selftest: the kselftests of zsmalloc with zram and zswap, on this project's
# kernel and on the base kernel; then those of the kernel's own kselftests that use
# zsmalloc, on both.  Ends with a table of the results and figures of both, which is also
# a page, build/kselftest/report.html.
#   QUICK=1     a short version, on this project's kernel only
#   SELFTESTS   only these, "cma.sh zswap.sh cgroup:test_zswap"
#   SIDES       "ours base" (default), or one of them
#   LOCKDEP=1   on kernels with lockdep and the like, whose figures are of no use
#   MINUTES     minutes of each load under compaction, instead of six seconds
# Fails if a check fails on ours, if a test that the base kernel passes does not pass
# on ours, or if the kernel printed a warning.  Writes "passed failed" to
# build/kselftest.count.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"
. "$LIB/guest.sh"

WORK=$BUILD/kselftest
COUNT=$BUILD/kselftest.count
SUITE=tools/testing/selftests
knob QUICK
knob SELFTESTS
knob SIDES 'ours base'
knob LOCKDEP
knob MINUTES
DISK_MB=1024

LIMIT=2700		# seconds a guest may take
WORK_SECONDS=6		# see zsmalloc_lib.sh
X86=x86${LOCKDEP:+-debug} INSTALL=install${LOCKDEP:+-debug}	# in the directory of a side
# For a guest without the host's root
ROOT_PROGRAMS=(awk basename bash cat chmod cut date dd df dirname dmesg env expr find getconf grep
	head id insmod ln ls mkdir mkswap mktemp modprobe mount mv od paste
	readlink realpath rm rmdir rmmod sed seq sleep sort stat swapoff swapon sync tail tee
	timeout touch tr truncate umount uname uniq wc)
# The machines, each with its own table, see machine_of()
MACHINES=(zsmalloc reporting unplug low_zone small cma sleep others)
declare -A ON_MACHINE=(		# and all others on "zsmalloc"
	[give_back.sh]='reporting unplug' [low_zone.sh]=low_zone [small_memory.sh]=small
	[sleep.sh]=sleep [cma_swap.sh]=cma
)
TESTS=()
# The kernel's own that allocate huge pages, migrate, swap, or use zram or zswap
OTHERS=(zram:zram.sh cgroup:test_zswap cgroup:test_memcontrol)
OTHERS+=(mm:ksft_{compaction,migration,memory_failure,thp}.sh)

if [[ -n $QUICK ]]; then
	SIDES=ours WORK_SECONDS=2 OTHERS=()
	TESTS=({zram_swap,memory_failure}.sh)
fi
if [[ -n $MINUTES ]]; then
	[[ $MINUTES =~ ^[1-9][0-9]*$ ]] ||
		die "MINUTES must be a positive number, not '$MINUTES'"
	WORK_SECONDS=$((MINUTES * 60))
	LIMIT=$((LIMIT + MINUTES * 60 * 30))	# all loads
fi
if [[ -n $SELFTESTS ]]; then
	OTHERS=()
	for test in $SELFTESTS; do
		if [[ $test == *:* ]]; then
			OTHERS+=("$test")
		else
			[[ -f $TOP/$SUITE/zsmalloc/$test ]] || die "no test $test"
			TESTS+=("$test")
		fi
	done
elif [[ -z $QUICK ]]; then
	mapfile -t TESTS < <(sed -n 's/^TEST_PROGS [:+]= //p' "$TOP/$SUITE/zsmalloc/Makefile" |
		tr ' ' '\n')
fi

tests_on() { # tests_on MACHINE
	local test
	[[ $1 != others ]] || { printf '%s\n' "${OTHERS[@]}"; return; }
	for test in "${TESTS[@]}"; do
		[[ " ${ON_MACHINE[$test]:-zsmalloc} " != *" $1 "* ]] || echo "zsmalloc:$test"
	done
}

passed=0 failed=0

# Makes build/kselftest/SIDE/tree: that kernel with the selftests.  The files are hard
# links and must not be written to.  Modules are built next to their source, as new
# files.
make_tree() { # make_tree SIDE FROM
	local tree=$WORK/$1/tree
	link_tree "$2" "$tree"
	rm -rf "${tree:?}/$SUITE/zsmalloc"
	cp -rp "$TOP/$SUITE/zsmalloc" "$tree/$SUITE/"
}

build_side() { # build_side SIDE
	local BUILD=$WORK/$1 LOGS=$WORK/$1/logs
	mkdir -p "$LOGS"
	kernel_env
	configure "$BUILD/$X86" x86_64 "$CONFIGS/x86.config" ${LOCKDEP:+"$CONFIGS/x86-debug.config"} \
		"$CONFIGS"/{host-root,x86-selftest}.config "$TOP/$SUITE/zsmalloc/config"
	build "$BUILD/$X86" x86_64 bzImage "$1, kernel" 1350
	build "$BUILD/$X86" x86_64 modules "$1, symbols for modules" 0
	build "$BUILD/$X86" x86_64 headers "$1, headers" 0
	with_progress "$1, selftests" 0 "$LOGS/selftests.log" install_tests ||
		die "building the selftests failed"
	[[ -f $BUILD/$INSTALL/zsmalloc/zs_hold/zs_hold.ko ]] ||
		die "the selftests of zsmalloc were not built, see ${LOGS#"$TOP"/}/selftests.log"
}

install_tests() { # with the caller's BUILD
	local targets='zsmalloc' target
	for target in "${OTHERS[@]}"; do
		target=${target%%:*}
		[[ " $targets " == *" $target "* ]] || targets+=" $target"
	done
	rm -rf "${BUILD:?}/$INSTALL"
	make -C "$BUILD/tree/$SUITE" O="$BUILD/$X86" ARCH=x86_64 CC="$KCC" \
		TARGETS="$targets" KSFT_INSTALL_PATH="$BUILD/$INSTALL" install &&
		make -C "$BUILD/tree" O="$BUILD/$X86" ARCH=x86_64 CC="$KCC" \
			INSTALL_MOD_PATH="$BUILD/$INSTALL/modules" modules_install
}

# A root file system with the tests and what they call, for a guest that does not have the
# host's by 9p
root_image() { # root_image SIDE-DIRECTORY IMAGE
	local dir=$WORK/root name program library
	rm -rf "$dir" "$2"
	mkdir -p "$dir"/{bin,lib,tmp,run,mnt/tests,proc,sys,dev,var/tmp}
	for name in "${ROOT_PROGRAMS[@]}"; do
		program=$(type -P "$name") || die "the command $name is missing"
		cp -L "$program" "$dir/bin/"
		while read -r library; do
			mkdir -p "$dir${library%/*}"
			cp -L "$library" "$dir$library"
		done < <(ldd "$program" | grep -o '/[^ ]*')
	done
	ln -s bash "$dir/bin/sh"
	mkdir -p "$dir/sbin" "$dir/usr"
	ln -s ../bin "$dir/usr/bin"
	cp -a "$1/$INSTALL/." "$dir/mnt/tests/"
	mkdir "$dir/boot"
	cp "$1/$X86/arch/x86/boot/bzImage" "$BUILD/initramfs.gz" "$dir/boot/"
	truncate -s 256M "$2"
	mkfs.ext4 -q -F -d "$dir" "$2" || die "mkfs.ext4 failed"
	rm -rf "$dir"
}

# machine_of NAME SIDE: sets memory, cmdline, devices, qemu and ram, of the caller.  The first disk is
# for files of the tests.
machine_of() {
	memory=1536M cmdline='' ram='' qemu=()
	devices=(-drive "file=$disk,if=virtio,format=raw")
	case $1 in
	zsmalloc)
		# Two nodes, CMA and movable memory, and a memory device that can be unplugged
		memory+=,slots=1,maxmem=4G
		cmdline='numa=fake=2 cma=64M movablecore=1G'
		devices+=(-object "memory-backend-ram,id=dimm,size=256M")
		devices+=(-device "pc-dimm,memdev=dimm")
		;;
	reporting)
		# A host that learns which memory is free
		memory=768M ram=768
		devices+=(-device "virtio-balloon-pci,free-page-reporting=on")
		;;
	unplug)
		# Most memory can be unplugged, although the kernel uses it as any other
		memory=256M,slots=1,maxmem=4G ram=256,512
		cmdline=memhp_default_state=online_kernel
		devices+=(-object "memory-backend-ram,id=vmem,size=512M")
		devices+=(-device "virtio-mem-pci,id=vmem0,memdev=vmem,requested-size=512M")
		devices+=(-device "virtio-balloon-pci,free-page-reporting=on")
		;;
	low_zone)
		memory=768M qemu=(-machine "q35,max-ram-below-4g=192M")
		;;
	small)
		memory=64M
		;;
	cma)
		# A phone: one node, and memory that is either for all or for CMA
		memory=384M cmdline=cma=64M
		;;
	sleep)
		# Nothing of 9p, which does not sleep.  The machine starts again to resume.
		memory=384M cmdline="resume=/dev/vdb zs.root=/dev/vdc zs.sleep=reboot"
		truncate -s "${DISK_MB}M" "$disk.swap"
		root_image "$WORK/$2" "$disk.root"
		devices+=(-drive "file=$disk.swap,if=virtio,format=raw")
		devices+=(-drive "file=$disk.root,if=virtio,format=raw,readonly=on")
		qemu=(-action reboot=reset)
		;;
	others)
		truncate -s "${DISK_MB}M" "$disk.swap"
		devices+=(-drive "file=$disk.swap,if=virtio,format=raw")
		;;
	esac
	[[ -n $ram ]] || return 0
	devices+=(-device virtio-serial-pci -qmp "unix:$SOCKETS/qmp,server=on,wait=off")
	devices+=(-chardev "socket,id=host,path=$SOCKETS/port,server=on,wait=off")
	devices+=(-device "virtserialport,chardev=host,name=zsmalloc.host")
}

# boot SIDE MACHINE [off]: with off, zsmalloc's pages cannot be moved
boot() {
	local side=$1 name=$2 run=$2${3:+-$3} start=$SECONDS status=0 tests host=
	local dir=$WORK/$1 console=$LOGS/kselftest-$1-$2${3:+-$3}.log
	local results=$WORK/$1/$run.tap disk=$WORK/disk.img devices memory cmdline ram qemu
	local share='security_model=none,readonly=on,multidevs=remap'
	tests=$(tests_on "$name" | paste -s -d,)
	rm -f "$disk"
	truncate -s "${DISK_MB}M" "$disk"
	mkfs.ext4 -q -F "$disk" || die "mkfs.ext4 failed"
	machine_of "$name" "$side"
	[[ -z ${3:-} ]] || cmdline+=' zsmalloc.migration=0'
	[[ -z $MINUTES ]] || cmdline+=" zs.timeout=$LIMIT"
	step "$name on $side${3:+, migration off}, in a guest with ${memory%%,*}, $GUEST_CPUS CPUs"
	if [[ -n $ram ]]; then
		rm -f "$SOCKETS"/*
		"$LIB/host.py" "$SOCKETS/qmp" "$SOCKETS/port" "$ram" 2> "$console.host" &
		host=$!
	fi
	[[ $name == sleep ]] ||
		devices+=(-virtfs "local,path=/,mount_tag=host,$share"
			-virtfs "local,path=$dir/$INSTALL,mount_tag=tests,$share")
	# The top level of the TAP report
	follow "$results" 's/\r//; s/^((not )?ok [0-9]+ selftests: )/    \1/p' \
		guest "$dir/$X86/vmlinux" "$memory" "$LIMIT" "$console" "$results" \
		"$cmdline zs.job=selftest zs.seconds=$WORK_SECONDS zs.args=$tests" \
		-initrd "$BUILD/initramfs.gz" "${devices[@]}" "${qemu[@]}" || status=$?
	if [[ -n $host ]]; then
		kill "$host" 2> /dev/null || true
		wait "$host" 2> /dev/null || true
		[[ ! -s $console.host ]] || problem "$name on $side: $(tail -n 1 "$console.host")"
	fi
	rm -f "$disk"{,.swap,.root}
	info "took $(elapsed $((SECONDS - start)))"
	unexpected "$console" > "$console.checked"
	check_guest "$run on $side" "$status" "$console.checked" "$GUEST_END 0"
	[[ $(guest_result "$results" kselftest-end none) != none ]] ||
		problem "$run on $side did not finish, see ${results#"$TOP"/}"
	[[ $name != sleep || $(boots "$console") -ge 4 ]] ||
		problem "$run on $side: $(boots "$console") boots instead of 4: with two hibernations and kexec"
	[[ $(guest_result "$results" left-over nothing) == nothing ]] ||
		problem "$run on $side did not clean up: $(guest_result "$results" left-over)"
}

boots() { # boots CONSOLE: how often a kernel has started
	grep -c 'Linux version' "$1" || true
}

# The console without the messages that a test provokes while it runs
unexpected() {
	tr -d '\r' < "$1" | awk '
		/kselftest: Running tests in / { test = $NF }
		/zsmalloc selftest: / { test = $NF }
		test == "memory_failure.sh" && /Read-error on swap|I\/O error/ { next }
		test ~ /pressure.sh|oom.sh|cgroup/ && /[Oo]ut of memory|oom-kill|Call Trace/ { next }
		test ~ /pressure.sh|oom.sh/ && /Write-error on swap|I\/O error/ { next }
		# kswapd may lack a page for a table of swap slots.
		test == "cma_swap.sh" && /kswapd.*page allocation failure|Call Trace/ { next }
		{ print }'
}

# The results of a boot as "TEST<tab>ok|FAILED|skipped<tab>CHECK" lines.  A test
# file that ends badly without a failed check is a failed check.
checks() { # checks TAP-FILE
	tr -d '\r' < "$1" | awk -v OFS='\t' '
	function verdict(line) {
		return line ~ /^not ok/ ? "FAILED" : line ~ /# SKIP/ ? "skipped" : "ok"
	}
	function text(line) {
		sub(/^(not )?ok [0-9]+ (- )?/, "", line)
		sub(/ *# (SKIP|XFAIL).*/, "", line)
		return line
	}
	/^# selftests: / { test = $3 $4; n = bad = 0; why = "" }
	/^(# )?(not )?ok [0-9]+ / && !/ok [0-9]+ selftests: / {
		line = $0
		sub(/^# /, "", line)
		n++
		bad += verdict(line) == "FAILED"
		print test, verdict(line), text(line)
	}
	/^# 1\.\.0 # SKIP/ { why = ": " substr($0, 14) }
	/^(not )?ok [0-9]+ selftests: / {
		ended = $0
		sub(/^.*selftests: [^#]*/, "", ended)
		if (verdict($0) == "FAILED" && !bad)
			print test, "FAILED", "ended badly " ended
		else if (!n)
			print test, verdict($0), "all of it" why
		test = ""
	}
	END { if (test != "") print test, "FAILED", "did not end" }'
}

figures() { # "KEY VALUE" lines of the TAP report that is read
	tr -d '\r' | sed -n -E 's/^# # figure ([^ ]+) (.*)/\1 \2/p'
}

# both NAME: the table of checks and figures on both kernels
both() {
	local side file
	printf '\n  %-88s %9s %9s\n' "$1" base ours
	for side in base ours; do
		[[ -s $WORK/$side/$1.tap ]] || continue
		checks "$WORK/$side/$1.tap" | awk -v side="$side" -F'\t' -v OFS='\t' \
			'{ print side, $1 " " $3, $2 }'
		# With migration off, only figures are of interest.
		for file in "$WORK/$side/$1.tap" "$WORK/$side/$1-off.tap"; do
			[[ ! -f $file ]] || cat "$file"
		done | figures |
			awk -v side="$side" -v OFS='\t' '{ print side, "  = " $1, $2 }'
	done | tee "$WORK/$1.tsv" | awk -F'\t' '
		!($2 in seen) { seen[$2] = 1; order[++n] = $2 }
		value[$1, $2] != "FAILED" { value[$1, $2] = $3 }
		END {
			for (i = 1; i <= n; i++) {
				b = value["base", order[i]]
				o = value["ours", order[i]]
				printf "%s %-88s %9s %9s\n", b == "ok" && o != "ok" && o != "" ? \
					"!" : " ", order[i], b == "" ? "-" : b, o == "" ? "-" : o
			}
		}' | sed -E 's/^(.) zsmalloc:/\1 /' | tee "$WORK/$1.table"
}

report() {
	local files=() name
	for name; do
		files+=("$WORK/$name.tsv")
	done
	make_report selftest.py "$WORK/report.html" "${files[@]}"
}

count() { # count NAME: the checks on ours
	local p f
	p=$(checks "$WORK/ours/$1.tap" | grep -c -P '\tok\t' || true)
	f=$(checks "$WORK/ours/$1.tap" | grep -c -P '\tFAILED\t' || true)
	passed=$((passed + p)) failed=$((failed + f))
	((f == 0)) || problem "$f checks of $1 failed on ours"
	((p + f)) || problem "$1: nothing was checked"
}

count_others() { # The kernel's own tests may fail, but then on both kernels
	passed=$((passed + $(checks "$WORK/ours/others.tap" | grep -c -P '\tok\t' || true)))
	! grep '^!' "$WORK/others.table" > /dev/null ||
		problem "a test that passes on the base kernel does not pass on ours"
}

main() {
	local side name names=()
	rm -f "$COUNT" "$WORK"/*/*.tap "$WORK/report.html"
	"$LIB/deps.sh" selftest
	prepare_guest
	need_space "$BUILD" 5000 "two kernels and a disk"
	mkdir -p "$LOGS" "$WORK"
	SOCKETS=$(mktemp -d)
	trap 'rm -rf "$WORK"/disk.img{,.swap,.root} "$SOCKETS"' EXIT
	for name in "${MACHINES[@]}"; do
		[[ -z $(tests_on "$name") ]] || names+=("$name")
	done
	step "Making the trees (about 20 seconds)"
	(
		build_lock	# only while the trees are read
		for side in $SIDES; do
			case $side in
			ours) make_tree ours "$BUILD/tree" ;;
			base) make_tree base "$(realpath "$BUILD/base")" ;;
			*)    die "SIDES: ours and base, not '$side'" ;;
			esac
		done
	)
	for side in $SIDES; do
		step "Building $side (first time up to 10 minutes)"
		build_side "$side"
	done
	for side in $SIDES; do
		for name in "${names[@]}"; do
			boot "$side" "$name"
			[[ $side != ours || ! $name =~ ^(reporting|unplug)$ ]] ||
				boot "$side" "$name" off
		done
	done

	for name in "${names[@]}"; do
		both "$name"
		[[ " $SIDES " == *' ours '* ]] || continue
		if [[ $name == others ]]; then
			count_others
		else
			count "$name"
		fi
	done
	report "${names[@]}"
	echo "$passed $((failed + (${#problems[@]} && !failed)))" > "$COUNT"
	finish selftest "$passed checks passed, none failed" \
		"$passed checks passed, $failed failed, ${#problems[@]} problems"
}

main
