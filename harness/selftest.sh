#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make selftest: the kselftests of zsmalloc with zram and zswap, on this project's
# kernel and on the base kernel; then those of the kernel's own kselftests that use
# zsmalloc, on both.  Ends with a table of the results and figures of both, which is also
# a page, build/kselftest/report.html.
#   QUICK=1     a short version, on this project's kernel only
#   SELFTESTS   only these, "cma.sh zswap.sh cgroup:test_zswap"
#   SIDES       "ours base" (default), or one of them
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
DISK_MB=1024

MEMORY=1536M
DIMM=256M		# that can be unplugged
# The tests of zsmalloc need two nodes, CMA and movable memory; the kernel's own must
# have none of these.
declare -A CMDLINE=([zsmalloc]='numa=fake=2 cma=64M movablecore=1G' [others]='')
LIMIT=2700		# seconds a guest may take
WORK_SECONDS=6		# see zsmalloc_lib.sh
TESTS=(zsmalloc)
# The kernel's own that allocate huge pages, migrate, swap, or use zram or zswap
OTHERS=(zram:zram.sh cgroup:test_zswap cgroup:test_memcontrol)
OTHERS+=(mm:ksft_{compaction,migration,memory_failure,thp}.sh)

if [[ -n $QUICK ]]; then
	SIDES=ours WORK_SECONDS=2 OTHERS=()
	TESTS=(zsmalloc:{zram_swap,memory_failure}.sh)
fi
if [[ -n $SELFTESTS ]]; then
	TESTS=() OTHERS=()
	for test in $SELFTESTS; do
		if [[ $test == *:* ]]; then
			OTHERS+=("$test")
		else
			[[ -f $TOP/$SUITE/zsmalloc/$test ]] || die "no test $test"
			TESTS+=("zsmalloc:$test")
		fi
	done
fi

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
	configure "$BUILD/x86" x86_64 "$CONFIGS/x86.config" \
		"$CONFIGS"/{host-root,x86-selftest}.config "$TOP/$SUITE/zsmalloc/config"
	build "$BUILD/x86" x86_64 vmlinux "$1, kernel" 1350
	build "$BUILD/x86" x86_64 modules "$1, symbols for modules" 0
	build "$BUILD/x86" x86_64 headers "$1, headers" 0
	with_progress "$1, selftests" 0 "$LOGS/selftests.log" install_tests ||
		die "building the selftests failed"
	[[ -f $BUILD/install/zsmalloc/zs_hold/zs_hold.ko ]] ||
		die "the selftests of zsmalloc were not built, see ${LOGS#"$TOP"/}/selftests.log"
}

install_tests() { # with the caller's BUILD
	local targets='zsmalloc' target
	for target in "${OTHERS[@]}"; do
		target=${target%%:*}
		[[ " $targets " == *" $target "* ]] || targets+=" $target"
	done
	rm -rf "$BUILD/install"
	make -C "$BUILD/tree/$SUITE" O="$BUILD/x86" ARCH=x86_64 CC="$KCC" \
		TARGETS="$targets" KSFT_INSTALL_PATH="$BUILD/install" install &&
		make -C "$BUILD/tree" O="$BUILD/x86" ARCH=x86_64 CC="$KCC" \
			INSTALL_MOD_PATH="$BUILD/install/modules" modules_install
}

# boot SIDE NAME TEST...
boot() {
	local side=$1 name=$2 start=$SECONDS status=0
	local dir=$WORK/$1 console=$LOGS/kselftest-$1-$2.log
	local results=$WORK/$1/$2.tap disk=$WORK/disk.img devices
	local memory=$MEMORY share='security_model=none,readonly=on,multidevs=remap'
	shift 2
	step "$name on $side, in a guest with $MEMORY, $GUEST_CPUS CPUs"
	rm -f "$disk"
	truncate -s "${DISK_MB}M" "$disk"
	mkfs.ext4 -q -F "$disk" || die "mkfs.ext4 failed"
	devices=(-drive "file=$disk,if=virtio,format=raw")
	if [[ $name == zsmalloc ]]; then
		memory+=,slots=1,maxmem=4G
		devices+=(-object "memory-backend-ram,id=dimm,size=$DIMM")
		devices+=(-device "pc-dimm,memdev=dimm")
	else
		truncate -s "${DISK_MB}M" "$disk.swap"
		devices+=(-drive "file=$disk.swap,if=virtio,format=raw")
	fi
	# The top level of the TAP report
	follow "$results" 's/\r//; s/^((not )?ok [0-9]+ selftests: )/    \1/p' \
		guest "$dir/x86/vmlinux" "$memory" "$LIMIT" "$console" "$results" \
		"${CMDLINE[$name]} zs.job=selftest zs.seconds=$WORK_SECONDS zs.args=$(IFS=,; echo "$*")" \
		-initrd "$BUILD/initramfs.gz" \
		-virtfs "local,path=/,mount_tag=host,$share" \
		-virtfs "local,path=$dir/install,mount_tag=tests,$share" \
		"${devices[@]}" || status=$?
	rm -f "$disk" "$disk.swap"
	info "took $(elapsed $((SECONDS - start)))"
	unexpected "$console" > "$console.checked"
	check_guest "$name on $side" "$status" "$console.checked" "$GUEST_END 0"
	[[ $(guest_result "$results" kselftest-end none) != none ]] ||
		problem "$name on $side did not finish, see ${results#"$TOP"/}"
	[[ $(guest_result "$results" left-over nothing) == nothing ]] ||
		problem "$name on $side did not clean up: $(guest_result "$results" left-over)"
}

# The console without the messages that a test provokes while it runs
unexpected() {
	tr -d '\r' < "$1" | awk '
		/kselftest: Running tests in / { test = $NF }
		/zsmalloc selftest: / { test = $NF }
		test == "memory_failure.sh" && /Read-error on swap|I\/O error/ { next }
		test ~ /pressure.sh|oom.sh|cgroup/ && /[Oo]ut of memory|oom-kill|Call Trace/ { next }
		test ~ /pressure.sh|oom.sh/ && /Write-error on swap|I\/O error/ { next }
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

figures() { # figures TAP-FILE: "KEY VALUE" lines
	tr -d '\r' < "$1" | sed -n -E 's/^# # figure ([^ ]+) (.*)/\1 \2/p'
}

# both NAME: the table of checks and figures on both kernels
both() {
	local side
	printf '\n  %-88s %9s %9s\n' "$1" base ours
	for side in base ours; do
		[[ -s $WORK/$side/$1.tap ]] || continue
		checks "$WORK/$side/$1.tap" | awk -v side="$side" -F'\t' -v OFS='\t' \
			'{ print side, $1 " " $3, $2 }'
		figures "$WORK/$side/$1.tap" | awk -v side="$side" -v OFS='\t' \
			'{ print side, "  = " $1, $2 }'
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
	local files=()
	((${#TESTS[@]} == 0)) || files+=("$WORK/zsmalloc.tsv")
	((${#OTHERS[@]} == 0)) || files+=("$WORK/others.tsv")
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
	local side
	rm -f "$COUNT" "$WORK"/*/*.tap "$WORK/report.html"
	"$LIB/deps.sh" selftest
	prepare_guest
	need_space "$BUILD" 5000 "two kernels and a disk"
	mkdir -p "$LOGS" "$WORK"
	trap 'rm -f "$WORK"/disk.img{,.swap}' EXIT
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
		((${#TESTS[@]} == 0)) || boot "$side" zsmalloc "${TESTS[@]}"
		((${#OTHERS[@]} == 0)) || boot "$side" others "${OTHERS[@]}"
	done

	((${#TESTS[@]} == 0)) || both zsmalloc
	((${#OTHERS[@]} == 0)) || both others
	if [[ " $SIDES " == *' ours '* ]]; then
		((${#TESTS[@]} == 0)) || count zsmalloc
		((${#OTHERS[@]} == 0)) || count_others
	fi
	report
	echo "$passed $((failed + (${#problems[@]} && !failed)))" > "$COUNT"
	finish selftest "$passed checks passed, none failed" \
		"$passed checks passed, $failed failed, ${#problems[@]} problems"
}

main
