#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make litmus: the tests in Documentation/litmus-tests/zsmalloc/, with herd7 and
# the memory model of the base tree.
#   litmus.sh [PATTERN]   only tests whose name matches
#   HERD7                 this command, not herd7 from a private root of Debian sid,
#                         see sid.sh
#   LITMUS_TIMEOUT        seconds that a test may take (default 120)
# Each test states its result in a comment, like all litmus tests of the kernel:
# "Result: Never", "Sometimes" or "Always", followed by DATARACE if the model finds a
# data race.  Any other result of herd7 is an error.
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
			die "litmus: nothing was checked, HERD7=$HERD7 is not a command"
		in_there() { here "$@"; }
	elif ! sid_root herdtools7; then
		die "litmus: nothing was checked, there is no herd7: $sid_why (HERD7=command names one)"
	fi
	nr=$(wc -l < "$LITMUS_DIR/list")
	step "Litmus tests of the memory ordering, $nr (a minute)"
	litmus_all "$LITMUS_DIR" "${HERD7:-herd7}" || problem 'tests failed, see above'
	info "took $(elapsed $((SECONDS - start)))"
	finish litmus "$nr tests: each has the result that it states" \
		"$(grep -c '  ok, ' "$LITMUS_DIR/results") of $nr tests are ok"
}

main "$@"
