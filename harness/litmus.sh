#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make litmus: the tests in Documentation/litmus-tests/zsmalloc/, with herd7 and
# the memory model of the base tree.
#   litmus.sh [PATTERN]     only tests whose name matches
# herd7 comes from a private root of Debian sid, see sid.sh; HERD7=command names
# another.
#
# Each test says its result in a comment, as all of the kernel's do: "Result:
# Never", "Sometimes" or "Always", and DATARACE after it if the model finds a data
# race.  It is an error if herd7 does not come to the same.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/herd7.sh"

LITMUS_DIR=$BUILD/litmus
knob HERD7

main() {
	local start=$SECONDS nr
	mkdir -p "$LOGS"
	build_lock
	"$LIB/fetch.sh"
	litmus_prepare "$LITMUS_DIR" "$BUILD/base/tools/memory-model" "${1:-.}"
	if [[ -n $HERD7 ]]; then
		command -v "${HERD7%% *}" > /dev/null ||
			die "litmus: nothing was checked, HERD7=$HERD7 is no command"
		in_there() { here "$@"; }
	elif ! sid_root herdtools7; then
		die "litmus: nothing was checked, there is no herd7: $sid_why (HERD7=command names one)"
	fi
	nr=$(wc -l < "$LITMUS_DIR/list")
	step "Litmus tests of the memory ordering, $nr (a minute)"
	litmus_all "$LITMUS_DIR" "${HERD7:-herd7}" || problem 'tests failed, see above'
	info "took $(elapsed $((SECONDS - start)))"
	finish litmus "$nr tests: each has the result that it says" \
		"$(grep -c '  ok, ' "$LITMUS_DIR/results") of $nr tests are ok"
}

main "$@"
