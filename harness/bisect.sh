#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make bisect: each patch of series/ in turn is checked (checkpatch --strict, kernel-doc),
# compiled (W=1, and sparse if it is installed; zsmalloc also without page migration, SMP
# and debug options), and built into two kernels, one for user-mode Linux with KASAN and
# lockdep, one for x86-64 with lockdep and three NUMA nodes.  Both boot and run KUnit: the
# suite in harness/bisect/, which every zsmalloc passes, and those of the series as soon as
# there are any.  With the first and with the last of them, mm/ is also compiled for arm64
# with pages of 64 KB and for i386, where `make matrix` boots the last one.
#   PATCHES='glob ...'   only these, by the names in series/
#   FRESH=1              forget all results
#   BISECT_TIMEOUT       seconds that KUnit may take with one patch (default 1800)
# A result is kept as long as the patches up to this one, the base, the configuration and
# the compiler stay the same, so that a run can be stopped and continued.  The first run
# builds two kernels, about 20 minutes; then each patch takes 2 to 9 minutes.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"
. "$LIB/guest.sh"
. "$LIB/patches.sh"

knob PATCHES '*'
knob FRESH
knob BISECT_TIMEOUT 1800

WORK=$BUILD/bisect
REPO=$WORK/repo
RESULTS=$WORK/results
SMOKE=zsmalloc_smoke_kunit.c
PARTS=(checkpatch kernel-doc W=1 sparse kernel kunit x86 others)
# Where the ends of the series are compiled, too: the ARCH, and how names of tools begin
declare -A OTHERS=([arm64]=aarch64-linux-gnu- [i386]=i686-linux-gnu-)
ENDS=

# The patches asked for, in the order of the series
chosen() {
	local globs glob name names found
	read -ra globs <<< "$PATCHES"
	names=$(series_names) || exit 1
	for glob in "${globs[@]}"; do
		found=0
		while IFS= read -r name; do
			# shellcheck disable=SC2053 # a glob
			[[ $name != $glob && ${name%.patch} != $glob ]] || found=1
		done <<< "$names"
		((found)) || die "no patch is called $glob"
	done
	while IFS= read -r name; do
		for glob in "${globs[@]}"; do
			# shellcheck disable=SC2053 # a glob
			if [[ $name == $glob || ${name%.patch} == $glob ]]; then
				echo "$name"
				break
			fi
		done
	done <<< "$names"
}

# The first and the last patch with objects of the kernel
ends() {
	series_names | while IFS= read -r name; do
		! patch_paths "$SERIES/$name" | grep -q '^mm/.*\.c$' || echo "$name"
	done | sed -n '1p; $p' | paste -s -d ' '
}

# Everything that decides the result of a patch
result_id() { # result_id NAME
	{
		series_names | sed "/^$1\$/q" | while IFS= read -r name; do
			cat "$SERIES/$name"
		done
		cat "$BUILD/base.id" "$CONFIGS"/{uml-debug,x86,x86-debug}.config \
			"$HARNESS/bisect/$SMOKE"
		"${KCC##* }" --version
	} | sha256sum | cut -c 1-16
}

# Makes the sources in build/bisect/tree those of a commit, and adds the smoke test.
place() { # place COMMIT
	local path new=$WORK/new
	scratch_git "$REPO" checkout -q "$1"
	while IFS= read -r path; do
		if [[ -e $REPO/$path ]]; then
			cp -p "$REPO/$path" "$new"
			if [[ $path == mm/Makefile ]]; then
				echo "obj-\$(CONFIG_KUNIT) += ${SMOKE%.c}.o" >> "$new"
			fi
			put "$new" "$path"
		else
			rm -f "$WORK/tree/$path"
			# make would take an object without its source for up to date.
			rm -f "$WORK"/{uml,x86,bare}/"${path%.c}.o"
		fi
	done < "$WORK/paths"
	cp "$HARNESS/bisect/$SMOKE" "$new"
	put "$new" "mm/$SMOKE"
}

# A file is replaced, not written, because it may be a link to that of the base; and only
# if it differs, so that make builds no more than needed.
put() { # put FILE PATH
	local target=$WORK/tree/$2
	! cmp -s "$1" "$target" || return 0
	mkdir -p "$(dirname "$target")"
	cp "$1" "$target.zs-new"
	touch "$target.zs-new"
	mv -f "$target.zs-new" "$target"
}

# The functions of kbuild.sh, with build/bisect for build
configure_both() {
	local BUILD=$WORK LOGS=$WORK/logs SUITE_CONFIG=$WORK/suites
	local suites=$WORK/tree/mm/tests/zsmalloc.kunitconfig stamp
	if [[ -f $suites ]]; then
		cp "$suites" "$SUITE_CONFIG"
	else
		grep -v KUNIT_TEST "$TOP/mm/tests/zsmalloc.kunitconfig" > "$SUITE_CONFIG"
	fi
	stamp=$(cat "$SUITE_CONFIG" "$WORK/tree/mm/Kconfig" \
		"$CONFIGS"/{uml-debug,x86,x86-debug}.config | sha256sum)
	[[ $stamp != "$(cat "$WORK/x86/zs.stamp" 2> /dev/null)" ]] || return 0
	configure_uml "$WORK/uml"
	configure_x86_debug "$WORK/x86"
	echo "$stamp" > "$WORK/x86/zs.stamp"
}

uml_make() { # uml_make DIR LOG ARGS...
	local BUILD=$WORK
	kmake "$WORK/$1" um -j"$JOBS" "${@:3}" >> "$2" 2>&1 < /dev/null
}

x86_make() { # x86_make LOG ARGS...
	local BUILD=$WORK
	kmake "$WORK/x86" x86_64 -j"$JOBS" "${@:2}" >> "$1" 2>&1 < /dev/null
}

# Other objects, with the options of bisect/bare.config
bare_configure() {
	local BUILD=$WORK LOGS=$WORK/logs stamp
	stamp=$(cat "$HARNESS/bisect/bare.config" "$WORK/tree/mm/Kconfig" | sha256sum)
	[[ $stamp != "$(cat "$WORK/bare/zs.stamp" 2> /dev/null)" ]] || return 0
	configure "$WORK/bare" um "$HARNESS/bisect/bare.config"
	echo "$stamp" > "$WORK/bare/zs.stamp"
}

# The objects of the kernel that the sources of a patch are compiled to
objects() { # objects PATH...
	local path
	for path; do
		case $path in
		mm/z*.h | include/*/zsmalloc.h | mm/tests/zsmalloc_check.c)
			echo mm/zsmalloc.o
			;;
		mm/*.c)
			echo "${path%.c}.o"
			;;
		esac
	done | sort -u | while IFS= read -r path; do
		if [[ -f $WORK/tree/${path%.o}.c ]]; then
			echo "$path"
		fi
	done
}

# Findings that a patch does not cause: the name of a test may be long in a shell script,
# and MAINTAINERS has a pattern that matches all files in mm/tests/.
CHECKPATCH=(--strict --no-summary --show-types --ignore FILE_PATH_CHANGES
	--max-line-length=100)

check_patch() { # check_patch PATCH LOG
	# It takes a file that git knows for a source file, so it gets a copy in build/.
	cp "$1" "$WORK/checked.patch"
	# Findings in shell scripts are those of make check.
	(
		cd "$WORK"
		perl "$WORK/tree/scripts/checkpatch.pl" --root="$WORK/tree" \
			"${CHECKPATCH[@]}" checked.patch 2> /dev/null || true
	) |
		awk -v RS= '
			/^(ERROR|WARNING|CHECK):/ && !/FILE: [^ ]*\.(sh|py):/ && \
				!/FILE: [^ ]*\/(config|settings|Makefile|\.gitignore):/ { print; print "" }
		' > "$2"
	result checkpatch "$(grep -c -E '^(ERROR|WARNING|CHECK):' "$2")" "$2"
}

# Comments of kernel-doc in the touched files: what this patch adds
kernel_doc() { # kernel_doc LOG PATH...
	local log=$1 path
	shift
	: > "$log.now"
	: > "$log.before"
	for path; do
		[[ $path == *.[ch] && -f $WORK/tree/$path ]] || continue
		kernel_doc_of "$WORK/tree" "$path" >> "$log.now"
		mkdir -p "$WORK/before/$(dirname "$path")"
		if scratch_git "$REPO" show "$before:$path" > "$WORK/before/$path" 2> /dev/null; then
			kernel_doc_of "$WORK/before" "$path" >> "$log.before"
		fi
	done
	sort -u "$log.before" -o "$log.before"
	sort -u "$log.now" | comm -13 "$log.before" - > "$log"
	result kernel-doc "$(wc -l < "$log")" "$log"
}

kernel_doc_of() { # kernel_doc_of TREE PATH: its findings, without line numbers
	(cd "$1" && python3 -B "$WORK/tree/tools/docs/kernel-doc" -none -Wall "$2" 2>&1 || true) |
		sed -E 's/:[0-9]+/:/' | grep -F "$2" || true
}

# result PART NUMBER-OF-FINDINGS LOG
result() {
	if (($2)); then
		echo "$1=FAILED: $2 findings" >> "$out"
		info "$1: $2 findings, see ${3#"$TOP"/}"
		sed -n '1,6s/^/        /p' "$3"
	else
		echo "$1=ok" >> "$out"
	fi
}

# W=1 and sparse, on the objects that are in this kernel
compile() { # compile LOG PATH...
	local log=$1 objects=() sparse=() other=() bare=() object path
	shift
	while IFS= read -r object; do
		if grep -q -x -F "$object" "$WORK/objects" || [[ $object == mm/tests/* ]]; then
			objects+=("$object")
		else
			other+=("${object%.o}.c")
		fi
	done < <(objects "$@")
	if ((!${#objects[@]})); then
		echo "W=1=-${other[0]:+ (not in this kernel: ${other[*]})}" >> "$out"
		echo "sparse=-" >> "$out"
		return
	fi
	! command -v sparse > /dev/null ||
		sparse=(C=2 "CHECK=$LIB/sparse.sh" CF=-D__CHECK_ENDIAN__)
	: > "$log"
	if [[ " ${objects[*]} " == *' mm/zsmalloc.o '* ]]; then
		bare=(mm/zsmalloc.o)
		bare_configure
	fi
	if ! uml_make uml "$log" W=1 "${sparse[@]}" "${objects[@]}" ||
		{ ((${#bare[@]})) && ! uml_make bare "$log" W=1 "${bare[@]}"; }; then
		echo "W=1=FAILED: does not compile" >> "$out"
		grep -E '(error|warning):|\*\*\*' "$log" | head -n 10 | sed 's/^/        /'
		return
	fi
	for path; do
		grep -E "/${path//./\\.}:.*warning:.*\[-W" "$log" || true
	done > "$log.gcc"
	result W=1 "$(wc -l < "$log.gcc")" "$log.gcc"
	((!${#other[@]})) || sed -i "\$s|\$| (not in this kernel: ${other[*]})|" "$out"
	if ((${#sparse[@]})); then
		grep -E '(warning|error):' "$log" | grep -v '\[-W' |
			grep -E 'zsmalloc|zpdesc' > "$log.sparse" || true
		result sparse "$(wc -l < "$log.sparse")" "$log.sparse"
	else
		echo "sparse=not installed" >> "$out"
	fi
}

build_kernels() { # build_kernels LOG
	: > "$1"
	if uml_make uml "$1" linux && x86_make "$1" vmlinux; then
		echo kernel=ok >> "$out"
		return
	fi
	echo "kernel=FAILED: does not build" >> "$out"
	grep -E '(error|undefined)|\*\*\*' "$1" | head -n 10 | sed 's/^/        /'
	return 1
}

# Boots a kernel and runs all suites that it has.
run_kunit() { # run_kunit kunit|x86 LOG
	local part=$1 log=$2 status=0 report=$2.report passed failed skipped numbers
	if [[ $part == kunit ]]; then
		uml "$WORK/uml/linux" 1G "$BISECT_TIMEOUT" "$log" console=tty kunit_shutdown=halt \
			kunit.enable=1 'kunit.filter_glob=zsmalloc*' || status=$?
	else
		# What KVM can run does not differ from patch to patch.
		[[ -v QEMU_CPU ]] || choose_cpu "$WORK/x86/vmlinux"
		guest "$WORK/x86/vmlinux" 1024M "$BISECT_TIMEOUT" "$log" '' \
			"numa=fake=3 kunit.enable=1 kunit.autorun=1 kunit.filter_glob=zsmalloc* kunit_shutdown=reboot" ||
			status=$?
	fi
	python3 -B "$WORK/tree/tools/testing/kunit/kunit.py" parse "$log" > "$report" 2>&1 || true
	passed=$(count_of "$report" passed)
	skipped=$(count_of "$report" skipped)
	failed=$(($(count_of "$report" failed) + $(count_of "$report" crashed) +
		$(count_of "$report" errors)))
	numbers="$passed passed"
	((!skipped)) || numbers+=", $skipped skipped"
	numbers+=$(sed -n -E 's/\r$//; s/.*smoke: migrated ([0-9]+), with.* ([0-9]+)$/; \1 and \2 pages migrated/p
		s/.*smoke: compaction freed ([0-9]+) of.*/, \1 freed/p' "$log" | tr -d '\n')
	if ! splat_check "$log" > "$log.splat" 2>&1; then
		sed -n '1,12s/^/        /p' "$log.splat"
		echo "$part=FAILED: the kernel complains; $numbers" >> "$out"
	elif ((failed || !passed)); then
		grep -E 'FAILED|CRASHED|EXPECT|ASSERT' "$report" | head -n 10 | sed 's/^/        /'
		echo "$part=FAILED: $failed tests of $((passed + failed))" >> "$out"
	elif ((status == 124)); then
		echo "$part=FAILED: not done after $BISECT_TIMEOUT seconds" >> "$out"
	else
		echo "$part=$numbers" >> "$out"
	fi
}

compile_others() { # compile_others LOG PATH...
	local log=$1 arch path BUILD=$WORK LOGS=$WORK/logs CROSS
	shift
	: > "$log"
	for arch in "${!OTHERS[@]}"; do
		CROSS=${OTHERS[$arch]}
		configure "$WORK/$arch" "$arch" "$HARNESS/bisect"/{others,"$arch"}.config
		if ! kmake "$WORK/$arch" "$arch" -j"$JOBS" W=1 mm/ >> "$log" 2>&1 < /dev/null; then
			grep -E '(error|warning):|\*\*\*' "$log" | head -n 10 | sed 's/^/        /'
			echo "others=FAILED: mm/ does not compile for $arch" >> "$out"
			return
		fi
	done
	for path; do
		grep -E "/${path//./\\.}:.*warning:.*\[-W" "$log" || true
	done > "$log.gcc"
	result others "$(wc -l < "$log.gcc")" "$log.gcc"
}

one() { # one NAME
	local name=$1 number=${1%%-*} start=$SECONDS before out=$RESULTS/${1%%-*}.new id paths
	id=$(result_id "$name")
	if [[ $(sed -n 's/^id=//p' "$RESULTS/$number" 2> /dev/null) == "$id" ]]; then
		info "$number: as before"
		return
	fi
	step "$number $(subject_of "$SERIES/$name")"
	rm -f "$RESULTS/$number"
	before=$(tag_of "$name")~1
	: > "$out"
	mapfile -t paths < <(patch_paths "$SERIES/$name")
	place "$(tag_of "$name")"
	check_patch "$SERIES/$name" "$WORK/logs/$number.checkpatch"
	kernel_doc "$WORK/logs/$number.kernel-doc" "${paths[@]}"
	if ! printf '%s\n' "${paths[@]}" | grep -q -E '^(mm|include|lib|drivers)/'; then
		echo 'kernel=- (no file of the kernel)' >> "$out"
	else
		configure_both
		compile "$WORK/logs/$number.compile" "${paths[@]}"
		if build_kernels "$WORK/logs/$number.build"; then
			run_kunit kunit "$WORK/logs/$number.console"
			run_kunit x86 "$WORK/logs/$number.x86"
		fi
		[[ " $ENDS " != *" $name "* ]] ||
			compile_others "$WORK/logs/$number.others" "${paths[@]}"
	fi
	echo "time=$(elapsed $((SECONDS - start)))" >> "$out"
	echo "id=$id" >> "$out"
	mv "$out" "$RESULTS/$number"
	grep -v -E '^id=' "$RESULTS/$number" | sed 's/^/    /'
}

# A line for each patch; a problem for each part that failed
table() {
	local name number part value
	printf '\n%-5s %-11s %-11s %-6s %-7s %-8s %-52s %-52s %s\n' patch "${PARTS[@]}"
	while IFS= read -r name; do
		number=${name%%-*}
		if [[ ! -f $RESULTS/$number ]]; then
			problem "$name: not run"
			continue
		fi
		for part in "${PARTS[@]}"; do
			value=$(sed -n "s/^$part=//p" "$RESULTS/$number")
			[[ $value != FAILED* ]] || problem "$name: $part: ${value#FAILED: }"
			case $part in
			checkpatch) printf '%-5s %-11s' "$number" "${value%%:*}" ;;
			kernel-doc) printf ' %-11s' "${value%%:*}" ;;
			W=1) printf ' %-6s' "$(cut -d ' ' -f 1 <<< "${value%%:*}")" ;;
			sparse) printf ' %-7s' "${value%%:*}" ;;
			kernel) printf ' %-8s' "$(cut -d ' ' -f 1 <<< "${value%%:*}")" ;;
			kunit | x86) printf ' %-52s' "${value%%:*}" ;;
			others) printf ' %s' "${value%%:*}" ;;
			esac
		done
		printf '\n'
	done < <(chosen)
}

main() {
	local names name
	"$LIB/deps.sh" tree build guest arm64 i386
	names=$(chosen)
	ENDS=$(ends)
	"$LIB/fetch.sh"
	"$LIB/initramfs.sh"	# for a trial boot with KVM
	kernel_env
	mkdir -p "$WORK/logs" "$RESULTS" "$LOGS"
	# It takes long, and other commands need none of its files.
	exec 9> "$WORK/lock"
	flock -n 9 || { info "waiting for another make bisect"; flock 9; }
	[[ -z $FRESH ]] || rm -f "$RESULTS"/*
	step "Applying the patches of series/ to the files of the base"
	series_repo "$REPO" "$BUILD/base" || die "the series does not apply to the base"
	scratch_git "$REPO" diff --name-only --no-renames base series > "$WORK/paths"
	if [[ $(cat "$WORK/tree.id" 2> /dev/null) != "$(cat "$BUILD/base.id")" ]]; then
		need_space "$BUILD" 5000 "a kernel tree and two kernels"
		rm -rf "$WORK"/{uml,x86} "$WORK/tree.id"
		link_tree "$BUILD/base" "$WORK/tree"
		cp "$BUILD/base.id" "$WORK/tree.id"
	fi
	if [[ ! -f $WORK/uml/linux || ! -f $WORK/x86/vmlinux ]]; then
		# The objects that all patches share come from the cache of make test.
		step "Building both kernels with all patches (first time about 20 minutes)"
		place series
		configure_both
		if ! uml_make uml "$WORK/logs/all.build" linux ||
			! x86_make "$WORK/logs/all.build" vmlinux; then
			die "the kernels with all patches do not build, see build/bisect/logs/all.build"
		fi
		(cd "$WORK/uml" && find mm -name '*.o') > "$WORK/objects"
	fi
	while IFS= read -r name; do
		one "$name"
	done <<< "$names"
	table
	finish bisect "$(wc -l <<< "$names") patches, each builds and passes" \
		"${#problems[@]} problems; the first patch with one broke it"
}

main
