#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make test: all quick tests.  The harness's own, whether series/ is the project, the
# objects of three cells of make matrix, KUnit on user-mode Linux and on x86-64, a short
# make run and a short make selftest.
# Ends with "N passed, N failed" alone on its line.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

passed=0 failed=0

add() { passed=$((passed + $1)) failed=$((failed + $2)); }

one() { # one NAME COMMAND...: the command is one test
	local name=$1
	shift
	if "$@"; then
		add 1 0
	else
		add 0 1
		echo "FAILED: $name"
	fi
}

counted() { # counted NAME COUNT-FILE COMMAND...: the command counts its tests
	local name=$1 file=$2 p=0 f=0 status=0
	shift 2
	rm -f "$file"
	"$@" || status=$?
	[[ ! -f $file ]] || read -r p f < "$file"
	# The command failed without a failed test, or ran no test
	((f || (!status && p))) || f=1
	add "$p" "$f"
	((f == 0)) || echo "FAILED: $name"
}

kunit() { # kunit PLATFORM KERNEL
	"$LIB/kernel.sh" "$2" && "$LIB/kunit.sh" "$1"
}

main() {
	local start=$SECONDS
	mkdir -p "$LOGS"
	if "$LIB/deps.sh" tree build guest && "$HARNESS/tree.sh"; then
		counted 'self-test' "$BUILD/harness_test.count" "$LIB/harness_test.sh"
		one 'the patches make the project' "$HARNESS/series.sh" check
		one 'make matrix, objects of 3 cells' env OBJECTS=1 \
			MATRIX='arm64_64k i386_pae x86_no_migration' "$HARNESS/matrix.sh"
		counted 'KUnit, user-mode Linux' "$BUILD/kunit-uml.count" kunit uml uml
		counted 'KUnit, x86-64' "$BUILD/kunit-x86.count" kunit x86 x86-debug
		one 'make run, short' env QUICK=1 "$HARNESS/run.sh"
		counted 'make selftest, short' "$BUILD/kselftest.count" \
			env QUICK=1 "$HARNESS/selftest.sh"
	else
		add 0 1
		echo "FAILED: setting up the tools and the tree"
	fi
	info "took $(elapsed $((SECONDS - start)))"
	verdict "$passed passed, $failed failed"
	((passed && !failed))
}

main
