#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make check: checkpatch --strict on the kernel files of this project, shellcheck on
# its scripts, sparse on its objects, and clang's context analysis, which proves that
# fields are only used under their locks.  Any finding fails.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"
. "$LIB/sid.sh"

check_patch() { # check_patch FILE...
	local errors=$LOGS/checkpatch.err
	step "checkpatch --strict"
	(($#)) || die "no source files in mm/, include/ and tools/"
	# Its errors go to a file: it also calls spdxcheck.py, which needs the tree
	# to be a git repository.
	perl "$BUILD/tree/scripts/checkpatch.pl" --root="$BUILD/tree" --strict \
		--no-summary --terse --show-types -f "$@" 2> "$errors" ||
		problem 'checkpatch, see above'
	! grep -E '^(Can|Could not|Must be run)' "$errors" ||
		die "checkpatch did not run, see build/logs/checkpatch.err"
}

check_scripts() {
	step "shellcheck"
	shellcheck -x -P SCRIPTDIR harness/*.sh harness/lib/*.sh .ci/run \
		tools/testing/selftests/zsmalloc/*.sh || problem 'shellcheck, see above'
}

check_objects() {
	local objects=(mm/zsmalloc.o) log=$LOGS/sparse.log file
	step "sparse (needs the debug kernel's configuration)"
	"$LIB/kernel.sh" x86-debug
	kernel_env
	for file in mm/tests/zsmalloc*.c; do
		# This one is a part of zsmalloc.c.
		[[ $file == */zsmalloc_check.c ]] || objects+=("${file%.c}.o")
	done
	# With C=2 sparse reads the sources of all objects, built anew or not.
	kmake "$BUILD/x86-debug" x86_64 C=2 "CHECK=$LIB/sparse.sh" \
		CF=-D__CHECK_ENDIAN__ W=1 "${objects[@]}" > "$log" 2>&1 < /dev/null ||
		{ cat "$log" >&2; die "sparse did not run"; }
	grep -q '^  CHECK .*mm/zsmalloc' "$log" || die "sparse was not run on mm/zsmalloc.c"
	! grep -E '(warning|error):' "$log" | grep -E 'zsmalloc|zpdesc' ||
		problem 'sparse, see above'
}

# The analysis takes clang 23, which comes from a private root of Debian sid, where build/
# is /mnt.
context_build() { # context_build LOG TARGET...
	local log=$1
	shift
	sid_run "$BUILD" make -C /mnt/tree O=/mnt/context ARCH=x86_64 LLVM="$CLANG" -j"$JOBS" \
		--no-print-directory "$@" >> "$log" 2>&1 < /dev/null
}

check_context() {
	local dir=$BUILD/context log=$LOGS/context.log
	step "clang's context analysis (the first time about 4 minutes)"
	if ! sid_root "${CLANG_PACKAGES[@]}"; then
		problem "clang's context analysis was not run: $sid_why"
		return
	fi
	mkdir -p "$dir"
	: > "$log"
	# The options of the debug kernel, which has all tests
	if ! cmp -s "$BUILD/x86-debug/.config" "$dir/config.from"; then
		cp "$BUILD/x86-debug/.config" "$dir/.config"
		"$BUILD/tree/scripts/config" --file "$dir/.config" \
			-e WARN_CONTEXT_ANALYSIS -d DEBUG_INFO_BTF
		context_build "$log" olddefconfig prepare ||
			die "configuring a kernel for clang failed, see build/logs/context.log"
		cp "$BUILD/x86-debug/.config" "$dir/config.from"
	fi
	grep -q '^CONFIG_WARN_CONTEXT_ANALYSIS=y' "$dir/.config" ||
		die "CONFIG_WARN_CONTEXT_ANALYSIS cannot be set with this clang"
	rm -f "$dir/mm/zsmalloc.o"
	: > "$log"
	context_build "$log" mm/zsmalloc.o || problem 'clang, see below'
	grep -q -e '-Wthread-safety' "$dir/mm/.zsmalloc.o.cmd" ||
		problem "mm/zsmalloc.o was compiled without the context analysis"
	! grep -E '(warning|error):' "$log" || problem "clang's context analysis, see above"
}

# The variants of make bench follow the allocator.
check_variants() {
	local patch copy
	copy=$(mktemp -d)
	for patch in "$HARNESS"/bench/variants/*.patch; do
		rm -rf "$copy/mm"
		mkdir "$copy/mm"
		cp mm/zsmalloc.[ch] "$copy/mm/"
		LC_ALL=C patch -s -p1 -d "$copy" -i "$patch" ||
			problem "${patch#"$TOP"/} does not fit mm/zsmalloc.[ch]"
	done
	rm -rf "$copy"
}

main() {
	local files
	"$LIB/deps.sh" tree build check
	"$HARNESS/tree.sh"
	mapfile -t files < <(find mm include tools -type f -name '*.[ch]' | sort)
	check_patch "${files[@]}"
	check_scripts
	check_variants
	"$HARNESS/series.sh" check || problem 'series/ is not the project, see above'
	check_objects
	check_context
	finish check "${#files[@]} files, no findings" 'findings above'
}

main
