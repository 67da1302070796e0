#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Runs the KUnit suites:  kunit.sh uml|x86 [GLOB]
# Prints kunit.py's report; writes "passed failed" to build/kunit-PLATFORM.count
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/guest.sh"

KUNIT=$BUILD/tree/tools/testing/kunit/kunit.py
knob KUNIT_TIMEOUT 600	# seconds, for each platform

run_uml() { # run_uml GLOB
	# kunit.py gives the kernel mem=1G itself.
	(cd "$BUILD/tree" && TMPDIR=$(uml_tmp) timeout --foreground -k 5 $((KUNIT_TIMEOUT + 30)) \
		python3 "$KUNIT" exec --build_dir "$BUILD/uml" \
		--timeout "$KUNIT_TIMEOUT" --kernel_args seccomp=on \
		--kernel_args "ncpus=$GUEST_CPUS" "$1") < /dev/null
}

run_x86() { # run_x86 GLOB CONSOLE REPORT
	: > "$3"
	guest "$BUILD/x86-debug/vmlinux" 1024M "$KUNIT_TIMEOUT" "$2" "$2.results" \
		"numa=fake=3 kunit.enable=1 kunit.autorun=1 kunit.filter_glob=$1 kunit_shutdown=reboot" ||
		return
	python3 "$KUNIT" parse "$2" > "$3" 2>&1
}

main() {
	local platform=${1:-} glob=${2:-*} report log status=0 passed failed
	report=$LOGS/kunit-$platform.txt
	mkdir -p "$LOGS"
	rm -f "$BUILD/kunit-$platform.count"
	case $platform in
	uml)
		step "KUnit on user-mode Linux, $GUEST_CPUS CPUs, KASAN, lockdep (about 3 minutes)"
		log=$BUILD/uml/test.log
		rm -f "$log"
		run_uml "$glob" > "$report" 2>&1 || status=$?
		;;
	x86)
		step "KUnit on x86-64 in QEMU, $GUEST_CPUS CPUs, lockdep (about a minute)"
		log=$LOGS/kunit-x86-console.log
		run_x86 "$glob" "$log" "$report" || status=$?
		;;
	*)
		die "usage: kunit.sh uml|x86 [GLOB]"
		;;
	esac

	passed=$(count_of "$report" passed)
	failed=$(($(count_of "$report" failed) + $(count_of "$report" crashed) +
		$(count_of "$report" errors)))

	# kunit.py's lines, without the time stamps, failures included
	sed -n -E 's/^\[[0-9:]+\] //; /PASSED|FAILED|CRASHED|SKIPPED|ERROR|EXPECT|ASSERT|Expected|not ok/p' "$report" |
		sed 's/^/    /'

	if ! splat_check "$log"; then
		failed=$((failed + 1))
	elif ! grep -a -q -E "Brought up [13] nodes?, $GUEST_CPUS CPUs" "$log"; then
		echo "FAILED: the kernel did not bring up $GUEST_CPUS CPUs" >&2
		failed=$((failed + 1))
	elif ((status || passed == 0)) && ((!failed)); then
		echo "FAILED: kunit.py ended with status $status, $passed tests passed:" >&2
		tail -n 15 "$report" >&2
		failed=1
	fi
	echo "$passed $failed" > "$BUILD/kunit-$platform.count"
	info "KUnit on $platform: $passed passed, $failed failed"
	((!failed))
}

main "$@"
