#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make check: checkpatch --strict on the kernel files of this project, shellcheck on
# its scripts, sparse on its objects.  Any finding fails.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"

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
		[[ ! -f $file ]] || objects+=("${file%.c}.o")
	done
	# With C=2 sparse reads the sources of all objects, built anew or not.
	kmake "$BUILD/x86-debug" x86_64 C=2 "CHECK=$LIB/sparse.sh" \
		CF=-D__CHECK_ENDIAN__ W=1 "${objects[@]}" > "$log" 2>&1 < /dev/null ||
		{ cat "$log" >&2; die "sparse did not run"; }
	grep -q '^  CHECK .*mm/zsmalloc' "$log" || die "sparse was not run on mm/zsmalloc.c"
	! grep -E '(warning|error):' "$log" | grep -E 'zsmalloc|zpdesc' ||
		problem 'sparse, see above'
}

main() {
	local files
	"$LIB/deps.sh" tree build check
	"$HARNESS/tree.sh"
	mapfile -t files < <(find mm include tools -type f -name '*.[ch]' | sort)
	check_patch "${files[@]}"
	check_scripts
	check_objects
	finish check "${#files[@]} files, no findings" 'findings above'
}

main
