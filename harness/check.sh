#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make check: checkpatch --strict on our kernel files, sparse on the objects
# made from them, shellcheck on the harness.  Any finding fails.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"

"$LIB/deps.sh" tree build check
"$HARNESS/tree.sh"

step "checkpatch --strict"
mapfile -t files < <(find mm include tools -type f -name '*.[ch]' | sort)
((${#files[@]})) || die "no source files in mm/, include/ and tools/"
# Its errors are kept apart: it also calls spdxcheck.py, which needs the tree
# to be a git repository.
if ! perl "$BUILD/tree/scripts/checkpatch.pl" --root="$BUILD/tree" --strict \
	--no-summary --terse --show-types -f "${files[@]}" 2> "$LOGS/checkpatch.err"; then
	problem 'checkpatch, see above'
fi
! grep -E '^(Can|Could not|Must be run)' "$LOGS/checkpatch.err" ||
	die "checkpatch did not run, see build/logs/checkpatch.err"

step "shellcheck"
shellcheck -x -P SCRIPTDIR harness/*.sh harness/lib/*.sh .ci/run \
	tools/testing/selftests/zsmalloc/*.sh || problem 'shellcheck, see above'

step "sparse (needs the debug kernel's configuration)"
"$LIB/kernel.sh" x86-debug
kernel_env
objects=(mm/zsmalloc.o)
for file in mm/tests/zsmalloc*.c; do
	[[ ! -f $file ]] || objects+=("${file%.c}.o")
done
log=$LOGS/sparse.log
# With C=2 sparse looks at the sources of the objects, built anew or not.
kmake "$BUILD/x86-debug" x86_64 C=2 "CHECK=$LIB/sparse.sh" CF=-D__CHECK_ENDIAN__ W=1 "${objects[@]}" \
	> "$log" 2>&1 < /dev/null || { cat "$log" >&2; die "sparse did not run"; }
grep -q '^  CHECK .*mm/zsmalloc' "$log" || die "sparse was not run on mm/zsmalloc.c"
if grep -E '(warning|error):' "$log" | grep -E 'zsmalloc|zpdesc'; then
	problem 'sparse, see above'
fi

finish check "${#files[@]} files, no findings" 'findings above'
