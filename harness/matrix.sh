#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make matrix: the allocator and its tests in other architectures, page sizes and
# configurations.  Each line of matrix/cells.tsv is a cell: its objects are compiled with
# W=1 and read by sparse, its kernel is built and booted three times in QEMU: for the
# KUnit suites, for a smoke test (zram swap during compaction, guest/zssmoke.c), and for
# the torture test.
#   MATRIX='glob ...'  only these cells, by name
#   OBJECTS=1          only compile the objects, as make test does for a few cells
#   FRESH=1            forget all results
#   MINUTES            of torture in each cell (default 1; 0: none)
# A result is kept as long as sources, options and compiler stay the same, so that a run
# can be stopped and continued; a cell that failed is repeated.  Ends with a table.  What
# was not run is named below it, with the reason.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"
. "$LIB/sid.sh"
# Following the calls into these, which are read anyway, takes shellcheck too long.
# shellcheck source=/dev/null
. "$LIB/guest.sh"
# shellcheck source=/dev/null
. "$LIB/matrix.sh"

knob MATRIX '*'
knob FRESH
knob MINUTES 1
knob OBJECTS

MATRIX_DIR=$HARNESS/matrix
WORK=$BUILD/matrix${OBJECTS:+-objects}
KUNIT=$BUILD/tree/tools/testing/kunit/kunit.py

# A translated CPU that shares two real ones with other work is slow.
GUEST_SECONDS=2400
SMOKE_MB=64
MODULE_LOADS=100

# The columns of the present cell
cell='' platform='' objects='' job='' cpus='' memory='' options='' boot='' title=''
arch='' compiler='' image='' platform_options='' console='' qemu=''
sid_qemu=''	# its package, if it is that of Debian sid
dir=''	# build/matrix/CELL: its results
out=''	# where it is built, perhaps that of an earlier cell

read_cell() { # read_cell NAME
	IFS=$'\t' read -r cell platform objects job cpus memory options boot title \
		< <(row_of "$1" "$MATRIX_DIR/cells.tsv")
	IFS=$'\t' read -r _ arch compiler image platform_options console qemu \
		< <(row_of "$platform" "$MATRIX_DIR/platforms.tsv")
	IN_SID=
	case $compiler in
	-) compiler= ;;
	sid:clang) IN_SID=clang compiler= ;;
	sid:*) IN_SID=gcc compiler=${compiler#sid:} ;;
	esac
	[[ $boot != - ]] || boot=
	sid_qemu=
	[[ $qemu != 'sid '* ]] || read -r _ sid_qemu qemu <<< "$qemu"
	[[ -z $OBJECTS ]] || job=objects
	dir=$WORK/$cell
	out=$WORK/$objects
	[[ $objects != - ]] || out=$dir
}

# The fragments of the present cell; the OPTION=value ones in a file of their own
fragments() {
	local option all
	mkdir -p "$dir"
	: > "$dir/values"
	IFS=, read -ra all <<< "common,$platform_options,$options"
	for option in "${all[@]}"; do
		if [[ $option == *=* ]]; then
			echo "CONFIG_$option" >> "$dir/values"
		elif [[ -f $MATRIX_DIR/$option.config ]]; then
			echo "$MATRIX_DIR/$option.config"
		else
			echo "$CONFIGS/$option.config"
		fi
	done
	echo "$dir/values"
}

# seen FILE: its name for cross()
seen() {
	if [[ $IN_SID == gcc ]]; then
		in_sid_path "$1"
	else
		echo "$1"
	fi
}

# cross PROGRAM ARGS...: runs gcc or a tool that goes with it.  Programs for the guest are
# compiled by gcc, even if the kernel is compiled by clang.
cross() {
	if [[ $IN_SID == gcc ]]; then
		sid_run "$BUILD" "$compiler$1" "${@:2}"
	else
		"$compiler$1" "${@:2}"
	fi
}

compiler_version() {
	if [[ $IN_SID == clang ]]; then
		sid_run "$BUILD" "clang$CLANG" --version
	else
		cross gcc --version
	fi
}

# A hash of everything that decides the result of the present cell
cell_id() {
	local files
	mapfile -t files < <(fragments)
	(
		cat "${files[@]}" "$LIB/matrix.sh" "$HARNESS/guest/zssmoke.c" \
			"$BUILD/base.id" "$HARNESS/base-edits.patch"
		row_of "$cell" "$MATRIX_DIR/cells.tsv"
		row_of "$platform" "$MATRIX_DIR/platforms.tsv"
		cd "$BUILD/tree" || exit
		cat mm/zsmalloc.[ch] mm/zpdesc.h mm/tests/zsmalloc* \
			include/linux/zsmalloc.h include/trace/events/zsmalloc.h
		echo "$MINUTES"
		compiler_version
	) | sha256sum | cut -c 1-16
}

# The results are lines KEY=VALUE of a file; nothing but "id" and what was done is there.
set_result() { echo "$1=$2" >> "$dir/result.new"; }

build_cell() { # fails, with the reason as a result, if the kernel was not built
	local files compiled=(mm/zsmalloc.o) file log=$LOGS/matrix-$cell-objects.log
	local CROSS=$compiler check=$LIB/sparse.sh
	mapfile -t files < <(fragments)
	(configure "$out" "$arch" "${files[@]}") > "$dir/configure.log" 2>&1 || {
		cat "$dir/configure.log" >&2
		set_result build 'FAILED: its options cannot be set'
		return 1
	}
	if grep -q '^CONFIG_ZSMALLOC_KUNIT_TEST=y' "$out/.config"; then
		for file in mm/tests/zsmalloc*.c; do
			# This one is a part of zsmalloc.c.
			[[ $file == */zsmalloc_check.c ]] || compiled+=("${file%.c}.o")
		done
	fi
	if [[ -n $IN_SID ]]; then
		cp "$check" "$dir/sparse.sh"
		check=$(in_sid_path "$dir/sparse.sh")
	fi
	with_progress "$cell, objects" 0 "$log" kmake "$out" "$arch" -j"$JOBS" C=2 \
		"CHECK=$check" CF=-D__CHECK_ENDIAN__ W=1 "${compiled[@]}" || {
		set_result build "FAILED: see ${log#"$TOP"/}"
		return 1
	}
	set_result sparse "$(findings "$log")"
	[[ $job != objects ]] || {
		set_result build objects
		set_result static "$(cross size "$(seen "$out/mm/zsmalloc.o")" |
			awk 'NR == 2 { print $2 + $3 }') bytes of static data"
		return
	}
	(
		build "$out" "$arch" "${image##*/}" "$cell" 1000
		[[ $job != modules ]] || build "$out" "$arch" modules "$cell, modules" 0
	) || {
		set_result build "FAILED: see build/logs/${out##*/}.log"
		return 1
	}
	set_result build ok
}

# boot_cell WHAT SECONDS CMDLINE [QEMU-ARGS...]: sets log to its console
# shellcheck disable=SC2034 # guest() has these variables
boot_cell() {
	local what=$1 seconds=$2 line=$3 status=0
	local GUEST_CPUS=$cpus GUEST_MACHINE QEMU_CPU GUEST_CMDLINE
	shift 3
	log=$LOGS/matrix-$cell-$what.log
	GUEST_CMDLINE="console=$console panic=-1 oops=panic rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=30"
	read -ra GUEST_MACHINE <<< "${qemu%% -accel *}"
	# The present directory is /mnt there, so the names of files are relative.
	[[ -z $sid_qemu ]] || GUEST_MACHINE=("$LIB/sid.sh" "$sid_qemu" -- "${GUEST_MACHINE[@]}")
	if [[ $qemu == *' -accel '* ]]; then
		read -ra QEMU_CPU <<< "-accel ${qemu#* -accel }"
	else
		choose_cpu "$out/$image"
	fi
	(guest "${out#"$TOP"/}/$image" "${memory}M" "$seconds" "${log#"$TOP"/}" '' \
		"$boot $line" "$@") \
		2> "$log.err" || status=$?
	return "$status"
}

kunit_cell() {
	local log status=0 report=$LOGS/matrix-$cell-kunit.txt bad
	boot_cell kunit "$GUEST_SECONDS" 'kunit.enable=1 kunit.autorun=1 kunit.filter_glob=zsmalloc* kunit_shutdown=reboot' ||
		status=$?
	python3 "$KUNIT" parse "$log" > "$report" 2>&1 || true
	bad=$(kunit_problem "$log" "$report" "$status" "$cpus")
	set_result kunit "${bad:+FAILED: $bad, }$(kunit_numbers "$report")"
	set_result race "$(suite_numbers "$log" zsmalloc_race)"
	skips "$log" > "$dir/skips"
}

smoke_initramfs() { # makes DIR/initramfs.gz
	local root=$dir/initramfs module
	rm -rf "$root"
	mkdir -p "$root/modules" "$root/dev" "$root/proc" "$root/sys"
	cp "$HARNESS/guest/zssmoke.c" "$dir/zssmoke.c"
	cross gcc -O2 -Wall -Wextra -static -o "$(seen "$root/init")" \
		"$(seen "$dir/zssmoke.c")" > "$dir/initramfs.log" 2>&1 || return
	if [[ $job == modules ]]; then
		for module in mm/zsmalloc.ko drivers/block/zram/zram.ko; do
			cp "$out/$module" "$root/modules/"
		done
	fi
	(cd "$root" && find . | LC_ALL=C sort |
		cpio -o -H newc -R 0:0 --quiet --reproducible) | gzip -1n > "$dir/initramfs.gz"
}

smoke_cell() {
	local log status=0 loads=0 megabytes=$SMOKE_MB pressure=0 node=0
	if ! smoke_initramfs; then
		set_result zram "not run: no C library for ${compiler}gcc"
		return
	fi
	[[ $job != modules ]] || loads=$MODULE_LOADS megabytes=8
	[[ $job != pressure ]] || pressure=1
	[[ $job != node ]] || node=3
	boot_cell smoke "$GUEST_SECONDS" "kunit.enable=0 -- $megabytes $loads $pressure $node" \
		-initrd "${dir#"$TOP"/}/initramfs.gz" || status=$?
	set_result zram "$(smoke_result "$log" "$status" "$loads" \
		"$(grep -c '^CONFIG_MIGRATION=y' "$out/.config")")"
}

torture_cell() {
	local log status=0
	if ((!MINUTES)); then
		set_result torture 'not run: MINUTES=0'
		return
	fi
	# There is no root, and the kernel would panic instead of waiting for one.
	boot_cell torture $((MINUTES * 60 + 900)) "root=/dev/none rootwait kunit.enable=0 zsmalloc_torture.seconds=$((MINUTES * 60)) zsmalloc_torture.shutdown=1" ||
		status=$?
	set_result torture "$(torture_result "$log" "$status" "$MINUTES")"
}

run_cell() { # run_cell ID
	local began=$SECONDS part parts='kunit torture smoke'
	rm -f "$dir"/result{,.new} "$dir/skips"
	set_result id "$1"
	if ! build_cell || [[ $job == objects ]]; then
		parts=
	elif [[ $job == modules ]]; then
		set_result kunit 'not run: the suites can only be built in'
		set_result torture 'not run: it can only be built in'
		parts=smoke
	fi
	for part in $parts; do
		"${part}_cell"
		info "$cell: $(tail -n 1 "$dir/result.new")"
	done
	set_result seconds $((SECONDS - began))
	mv "$dir/result.new" "$dir/result"
}

# The tools of the present platform.  What cannot be installed is a reason not to run it.
tools() {
	local group packages=(${sid_qemu:+"$sid_qemu"}) why
	group=$(deps_of "$platform")
	case $IN_SID in
	clang) packages+=("${CLANG_PACKAGES[@]}" sparse) ;;
	gcc)
		packages+=("${KERNEL_PACKAGES[@]}" sparse "gcc-${compiler%-}"
			"libc6-dev-$group-cross")
		group=
		;;
	esac
	if [[ -n $group ]] && ! "$LIB/deps.sh" "$group" > "$dir/deps.log" 2>&1; then
		why=$(sed -n 's/^error: //p' "$dir/deps.log")
	elif ((${#packages[@]})) && ! sid_root "${packages[@]}"; then
		why="no root of Debian sid with ${packages[*]}: $sid_why"
	else
		return 0
	fi
	printf 'id=%s\nbuild=not run: %s\n' "$id" "$why" > "$dir/result"
	return 1
}

main() {
	local name id='' names left known=0 ran=0 not_run=0 start=$SECONDS
	[[ $MINUTES =~ ^[0-9]+$ ]] || die "MINUTES must be a number, not '$MINUTES'"
	names=$(cells_named "$MATRIX_DIR/cells.tsv" "$MATRIX") || exit 1
	left=$(wc -l <<< "$names")
	"$LIB/deps.sh" tree build guest check
	"$HARNESS/tree.sh"
	kernel_env
	build_lock
	need_space "$BUILD" "$([[ $OBJECTS ]] && echo 500 || echo 6000)" "the kernels of the matrix"
	mkdir -p "$WORK" "$LOGS"
	for name in $names; do
		read_cell "$name"
		mkdir -p "$dir"
		[[ -z $FRESH ]] || rm -f "$dir/result"
	done
	for name in $names; do
		read_cell "$name"
		if ! tools; then
			left=$((left - 1))
			continue
		fi
		id=$(cell_id)
		if [[ $(value id "$dir/result") == "$id" ]] && ! grep -q '=FAILED' "$dir/result"; then
			known=$((known + 1))
		else
			step "$title ($(time_left "$ran" $((SECONDS - start)) "$left"))"
			run_cell "$id"
			ran=$((ran + 1))
		fi
		left=$((left - 1))
	done
	((!known)) || info "$known results were known already"
	# shellcheck disable=SC2086 # several arguments
	table "$WORK" $names | tee "$WORK/table.txt"
	for name in $names; do
		! grep -q '=FAILED' "$WORK/$name/result" || problem "$name failed, see above"
		! grep -q '^build=not run' "$WORK/$name/result" || not_run=$((not_run + 1))
	done
	finish matrix "$(($(wc -l <<< "$names") - not_run)) cells, none failed; $not_run not run"
}

main "$@"
