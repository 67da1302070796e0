#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make bench: the base kernel's zsmalloc and this project's side by side, with
# the same benchmark (bench/zs_bench.c) built into the same kernel.
#   BENCH_PLATFORMS  "x86 uml" (default), or others:
#                    x86: instructions, counted by QEMU on one CPU, exact
#                    uml: nanoseconds at native speed on two CPUs; needs an
#                         idle machine
#                    arm64_16k, arm64_64k: as x86, with larger pages
#                    users: zram and zswap, instructions of whole system calls
#                    users_2: the same, and fio and sort, on two CPUs, with KVM if
#                         it works; nanoseconds; needs an idle machine, too
#                    profile: the functions in which the instructions of
#                         zs_malloc(), zs_free(), a read and munmap() are spent
#   BENCH_ONLY       only these parts of "density survivor ageing shrinker speed pools
#                    curve migrate latency wakeup pressure", separated by commas
#                    (default all)
#   ROUNDS           boots of each kernel, in turns (default 3)
#   BENCH_TREE       measure this kernel tree instead of build/tree
#   BENCH_VARIANT    measure this project with a patch of bench/variants/, by name,
#                    which brings back one thing of the base: shows what it costs
# Ends with a table, which is also in build/bench/bench.csv, and as a plot in
# bench.svg and a page report.html; the profile is in profile.csv.  Fails if an object had wrong contents
# or the kernel printed a warning.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"
. "$LIB/guest.sh"

knob BENCH_PLATFORMS 'x86 uml'
knob BENCH_ONLY all
knob BENCH_TREE
knob BENCH_VARIANT
knob ROUNDS 3

BENCH=$BUILD/bench
VARIANTS=$HARNESS/bench/variants
OURS=$(realpath -m "${BENCH_TREE:-$BUILD/tree}")
LIMIT=1200		# seconds a boot may take
PARTS='density survivor ageing shrinker speed pools curve migrate latency wakeup pressure'
declare -A NAMES=(
	[x86]='x86-64, 1 CPU: instructions unless noted'
	[uml]='UML, native, 2 CPUs: ns unless noted'
	[users]='x86-64, 1 CPU: instructions per page'
	[users_2]='x86-64, 2 CPUs of a guest: ns per page unless noted'
	[profile]='x86-64, 1 CPU: instructions per operation'
	[arm64_16k]='arm64, pages of 16 KB, 1 CPU: instructions unless noted'
	[arm64_64k]='arm64, pages of 64 KB, 1 CPU: instructions unless noted'
)

COUNTED=(-accel tcg -icount 'shift=0,sleep=off')

# Makes build/bench/SIDE/tree: the tree FROM plus the benchmark.  The files are
# hard links and must not be written to; those that change are unlinked.
make_tree() { # make_tree SIDE FROM [VARIANT]
	local dir=$BENCH/$1 from=$2 variant=${3:-} file
	# make compares time stamps, which mean nothing between two origins.
	[[ $(cat "$dir/origin" 2> /dev/null) == "$from" ]] || rm -rf "$dir"
	link_tree "$from" "$dir/tree"
	echo "$from" > "$dir/origin"
	[[ $(cat "$dir/variant" 2> /dev/null) == "$variant" ]] || rm -f "$dir"/*/mm/zsmalloc.o
	echo "$variant" > "$dir/variant"
	if [[ -n $variant ]]; then
		for file in mm/zsmalloc.c mm/zsmalloc.h; do
			cp --remove-destination "$from/$file" "$dir/tree/$file"
		done
		LC_ALL=C patch -s -p1 -d "$dir/tree" -i "$VARIANTS/$variant.patch" ||
			die "the variant $variant does not fit mm/zsmalloc.[ch]"
	fi
	cp "$HARNESS/bench/zs_bench.c" "$dir/tree/mm/"	# newer than its object
	cp --remove-destination "$from/mm/Makefile" "$dir/tree/mm/Makefile"
	cat >> "$dir/tree/mm/Makefile" <<- 'EOT'
	obj-y += zs_bench.o
	# UML does not say how wide its physical addresses are, and without that the
	# base's zsmalloc has no bits for the class in its handles and locks more.
	ifdef CONFIG_UML
	CFLAGS_zsmalloc.o := -DMAX_POSSIBLE_PHYSMEM_BITS=36
	endif
	EOT
}

build_side() { # build_side SIDE PLATFORM
	local BUILD=$BENCH/$1 LOGS=$BENCH/$1/logs
	mkdir -p "$LOGS"
	kernel_env
	case $2 in
	x86 | users | users_2 | profile)
		configure "$BUILD/x86" x86_64 "$CONFIGS/x86.config" \
			"$CONFIGS/host-root.config"
		build "$BUILD/x86" x86_64 vmlinux "$1, x86" 920
		;;
	uml)
		configure "$BUILD/uml" um "$HARNESS/bench/uml.config"
		build "$BUILD/uml" um linux "$1, UML" 590
		;;
	arm64_*)
		local CROSS=aarch64-linux-gnu- size=${2#arm64_}
		mkdir -p "$BUILD/$2"
		echo "CONFIG_ARM64_${size^^}_PAGES=y" > "$BUILD/$2/pages.config"
		configure "$BUILD/$2" arm64 "$HARNESS/bench/arm64.config" \
			"$BUILD/$2/pages.config"
		build "$BUILD/$2" arm64 Image "$1, $2" 900
		;;
	esac
}

users() { # users SIDE COUNTED CONSOLE CMDLINE [QEMU-ARGS...]
	local swap=$BENCH/swap.img status=0
	truncate -s 2G "$swap"
	guest "$BENCH/$1/x86/vmlinux" 2G "$LIMIT" "$3" "$3.results" \
		"zs.job=users zs.args=$2 $4" -initrd "$BUILD/initramfs.gz" \
		-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
		-drive "file=$BUILD/data.img,if=virtio,format=raw,readonly=on" \
		-drive "file=$swap,if=virtio,format=raw" "${@:5}" || status=$?
	rm -f "$swap"
	return "$status"
}

# gdb's commands that log each instruction from the first one of FUNCTION to its
# return, once: for the first call for which CONDITION holds.
window() { # window FUNCTION [CONDITION]
	cat <<- EOT
	hbreak $1 ${2:+if $2}
	continue
	monitor log in_asm,exec,nochain
	set \$after = *(long *)\$rsp
	delete
	hbreak *\$after
	continue
	monitor log in_asm
	delete
	EOT
}

# observe SIDE NAME PHASES COMMAND...: runs a guest with gdb attached; stdin has the
# commands for gdb.  PHASES: see profile.awk.
observe() {
	local at=$BENCH/$1/profile-$2 vmlinux=$BENCH/$1/x86/vmlinux phases=$3 gdb status=0
	shift 3
	rm -f "$at".{log,gdb}
	mkfifo "$at.log"
	cat > "$at.commands"
	# Held open here, so that awk ends even if QEMU does not start.
	exec 7<> "$at.log"
	awk -v phases="$phases" -f "$HARNESS/bench/profile.awk" "$at.log" \
		> "$at.functions" 7>&- &
	(
		until [[ -S $at.gdb ]]; do
			kill -0 $$ || exit	# QEMU did not start
			sleep 0.2
		done
		exec gdb -nx -batch -ex 'set pagination off' -ex 'set confirm off' \
			-ex "target remote $at.gdb" -x "$at.commands" \
			-ex 'monitor quit' "$vmlinux"
	) > "$at.gdb.log" 2>&1 < /dev/null 7>&- &
	gdb=$!
	"$@" -S -gdb "unix:$at.gdb,server=on,wait=off" -d in_asm -D "$at.log" ||
		status=$?
	exec 7>&-
	kill "$gdb" 2> /dev/null || true
	wait
	rm -f "$at".{log,gdb}
	return "$status"
}

profile() { # profile SIDE CONSOLE
	local all='nokaslr clearcpuid=rep_good,erms,fsrm' size=$((256 << 20))
	local functions what
	local -A expected=([calls]=3 [users]=1)
	# Not the first calls, which still share the CPU with boot.  regs->si is the
	# length for munmap().
	observe "$1" calls "do_malloc=zs_malloc=zs_malloc() \
			do_read_hot=zs_obj_read_begin=read do_free=zs_free=zs_free()" \
		guest "$BENCH/$1/x86/vmlinux" 2G "$LIMIT" "$2" '' \
			"zs_bench=speed $all" < <(
		printf '%s\n' 'hbreak do_free' continue continue continue delete
		window do_malloc
		window do_read_hot
		window do_free
	) || return
	observe "$1" users "__x64_sys_munmap=zs_free=munmap()" \
		users "$1" 1 "$2" "$all" \
		< <(window __x64_sys_munmap "*(long *)(\$rdi + 13 * 8) == $size") || return
	for what in calls users; do
		functions=$BENCH/$1/profile-$what.functions
		# A phase is missing if gdb missed a breakpoint.
		if [[ $(cut -d' ' -f1 "$functions" | sort -u | wc -l) != "${expected[$what]}" ]]; then
			cat "${functions%.functions}.gdb.log" >&2
			return 1
		fi
		sed "s/^/$1 /" "$functions" >> "$BENCH/profile"
	done
}

profile_table() {
	awk -v OFS=, '
	{ n[$2, $3, $1] = $4; total[$2, $1] += $4; seen[$2, $3] = 1; phases[$2] = 1 }
	END {
		for (phase in phases)
			print phase, "all", total[phase, "base"] + 0, total[phase, "ours"] + 0
		for (key in seen) {
			split(key, f, SUBSEP)
			print f[1], f[2], n[key, "base"] + 0, n[key, "ours"] + 0
		}
	}' "$BENCH/profile" | sort -t, -k1,1 -k4,4gr -k3,3gr > "$BENCH/profile.csv"
	awk -F, -v title="${NAMES[profile]}" '
	BEGIN { printf "\n  %-58s %12s %19s\n", title, "base", "ours" }
	$3 >= 1 || $4 >= 1 {
		printf "  %-58s %12.1f %19.1f\n", \
			$2 == "all" ? $1 : "      " $2, $3, $4
	}' "$BENCH/profile.csv"
}

boot() { # boot SIDE PLATFORM ROUND
	local dir=$BENCH/$1 console=$BENCH/$1/$2-$3.log start=$SECONDS status=0
	local GUEST_CPUS=1 QEMU_CPU
	step "Round $3 of $nr_rounds: $1 on $2 (a minute or two)"
	case $2 in
	x86)
		# A repeated string instruction counts as one instruction per
		# repetition, of one byte or of eight.  Therefore the kernel copies
		# without them.
		QEMU_CPU=("${COUNTED[@]}" -cpu 'max,la57=off')
		guest "$dir/x86/vmlinux" 2G "$LIMIT" "$console" '' \
			"zs_bench=$BENCH_ONLY clearcpuid=rep_good,erms,fsrm" || status=$?
		;;
	uml)
		GUEST_CPUS=2
		uml "$dir/uml/linux" 2G "$LIMIT" "$console" stderr=1 panic=-1 \
			"zs_bench=$BENCH_ONLY" || status=$?
		;;
	users)
		QEMU_CPU=("${COUNTED[@]}" -cpu 'max,la57=off')
		users "$1" 1 "$console" clearcpuid=rep_good,erms,fsrm || status=$?
		;;
	profile)
		QEMU_CPU=("${COUNTED[@]}" -cpu 'max,la57=off')
		info "with a log of every instruction: three minutes"
		profile "$1" "$console" ||
			problem "$1, profile: see ${console%/*}/profile-*.log"
		info "took $(elapsed $((SECONDS - start)))"
		return
		;;
	users_2)
		GUEST_CPUS=2
		choose_cpu "$BENCH/base/x86/vmlinux"	# the same for both kernels
		users "$1" 0 "$console" '' || status=$?
		;;
	arm64_*)
		local GUEST_MACHINE=(qemu-system-aarch64 -machine virt)
		local GUEST_CMDLINE='console=ttyAMA0 panic=-1'
		QEMU_CPU=("${COUNTED[@]}" -cpu cortex-a76)
		guest "$dir/$2/arch/arm64/boot/Image" 4G "$LIMIT" "$console" '' \
			"zs_bench=$BENCH_ONLY" || status=$?
		;;
	esac
	info "took $(elapsed $((SECONDS - start)))"
	check_guest "$1 on $2, round $3" "$status" "$console" 'ZSBENCH DONE'
	tr -d '\r' < "$console" | sed -n -E 's/^.*ZSBENCH ((FAIL|SKIP) .*)/    \1/p'
	tr -d '\r' < "$console" | sed -n -E \
		"s/^.*ZSBENCH ([a-z0-9_.]+) ([0-9.]+)\$/$2 $1 \1 \2/p" >> "$BENCH/values"
}

summary() { # of build/bench/values, to bench.csv
	awk -f "$HARNESS/bench/summary.awk" "$HARNESS/bench/keys.tsv" \
		"$BENCH/values" > "$BENCH/bench.csv"
}

# with_titles PROGRAM: runs bench/PROGRAM.awk on bench.csv, with the platforms' titles
with_titles() {
	local platform names=
	for platform in "${!NAMES[@]}"; do
		names+="$platform=${NAMES[$platform]}"$'\n'
	done
	awk -F, -v names="$names" -f "$HARNESS/bench/title.awk" \
		-f "$HARNESS/bench/$1.awk" "$BENCH/bench.csv"
}

table() {
	with_titles table
	printf '\n  Medians of %s boots each, speeds the best of 5 in each; +-%%: from the lowest to the highest, in %% of the median.\n' "$ROUNDS"
	printf '  First column: + more is better, - less is better.  Times include the loop.\n'
	printf '  All memory: pages, slabs, vmalloc and per-CPU data since before the pool.\n'
	[[ " $BENCH_PLATFORMS " != *' uml '* ]] ||
		cat <<- EOT
		  In UML with several CPUs, turning interrupts off or on is a system call, in both
		  kernels: page allocation and all other code that does so is slower than on hardware.
		EOT
}

ageing() { # the rounds of that scenario
	local line
	while IFS= read -r line; do
		if [[ $line == 'worse '* ]]; then
			problem "${line#worse }"
		else
			printf '  %s\n' "$line"
		fi
	done < <(awk -f "$HARNESS/bench/ageing.awk" "$BENCH/values")
}

report() {
	local platform titles=()
	for platform in "${!NAMES[@]}"; do
		titles+=("$platform=${NAMES[$platform]}")
	done
	make_report bench.py "$BENCH/bench.csv" "$BENCH/profile.csv" "$BENCH/report.html" \
		"$ROUNDS" "${titles[@]}"
}

lock_bench() {
	mkdir -p "$BENCH"
	exec 8> "$BENCH/lock"
	flock -n 8 || { info "waiting for another make bench"; flock 8; }
}

main() {
	local platform side round nr_rounds parts
	[[ $ROUNDS =~ ^[1-9][0-9]*$ ]] || die "ROUNDS=$ROUNDS is not a number"
	for platform in $BENCH_PLATFORMS; do
		[[ -n ${NAMES[$platform]:-} ]] ||
			die "BENCH_PLATFORMS: ${!NAMES[*]}, not '$platform'"
	done
	parts=${PARTS// /|}
	[[ $BENCH_ONLY =~ ^(all|(($parts)(,|$))+)$ ]] ||
		die "BENCH_ONLY: ${PARTS// /,}, not '$BENCH_ONLY'"
	[[ -z $BENCH_VARIANT || -f $VARIANTS/$BENCH_VARIANT.patch ]] ||
		die "BENCH_VARIANT: $(cd "$VARIANTS" && printf '%s ' *.patch | sed 's/\.patch//g')not '$BENCH_VARIANT'"
	"$LIB/deps.sh" tree build guest
	[[ $BENCH_PLATFORMS != *arm64* ]] || "$LIB/deps.sh" arm64
	[[ $BENCH_PLATFORMS != *profile* ]] || "$LIB/deps.sh" profile
	if [[ $BENCH_PLATFORMS =~ users|profile ]]; then
		"$LIB/deps.sh" selftest
		"$LIB/initramfs.sh"
	fi
	[[ -n $BENCH_TREE ]] || "$HARNESS/tree.sh"
	[[ ! $BENCH_PLATFORMS =~ users|profile ]] || "$LIB/data.sh"
	need_space "$BUILD" 4000 "the benchmark's kernels"
	lock_bench
	trap 'rm -f "$BENCH/swap.img"' EXIT
	step "Making the two trees (about 20 seconds)"
	(
		build_lock	# only while the trees are read
		make_tree base "$(realpath "$BUILD/base")"
		make_tree ours "$OURS" "$BENCH_VARIANT"
	)
	for platform in $BENCH_PLATFORMS; do
		for side in base ours; do
			step "Building $side for $platform (first time up to 8 minutes)"
			build_side "$side" "$platform"
		done
	done

	: > "$BENCH/values"
	: > "$BENCH/profile"
	rm -f "$BENCH"/{profile.csv,report.html}
	for platform in $BENCH_PLATFORMS; do
		nr_rounds=$ROUNDS
		[[ $platform != profile ]] || nr_rounds=1	# the same every time
		for ((round = 1; round <= nr_rounds; round++)); do
			boot base "$platform" "$round"
			boot ours "$platform" "$round"
		done
	done
	summary
	table
	ageing
	[[ ! -s $BENCH/profile ]] || profile_table
	with_titles plot > "$BENCH/bench.svg"
	report
	finish bench "$(($(wc -l < "$BENCH/bench.csv") - 1)) figures in ${BENCH#"$TOP"/}/bench.csv$(
		[[ ! -s $BENCH/profile ]] || echo " and a profile in profile.csv")"
}

main
