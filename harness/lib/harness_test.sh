#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Tests of the harness itself, with stand-ins for QEMU, herd7 and kernels, and tests
# that lists in the project agree with its code; about 20 seconds.  Writes "passed
# failed" to build/harness_test.count.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/guest.sh"
. "$LIB/kbuild.sh"
. "$LIB/herd7.sh"
. "$LIB/matrix.sh"

mkdir -p "$BUILD"
tmp=$(mktemp -d "$BUILD/harness_test.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

ok() { # ok NAME STATUS
	if (($2 == 0)); then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "    FAILED: self-test: $1"
	fi
}
# yes/no NAME COMMAND...: the command must succeed / fail
yes() { judge 0 "$@"; }
no()  { judge 1 "$@"; }

judge() { # judge 0|1 NAME COMMAND...
	local want=$1 name=$2 status=0
	shift 2
	("$@") > "$tmp/out" 2>&1 || status=1
	ok "$name" $((status != want))
	((status == want)) || head -n 20 "$tmp/out" | sed 's/^/        /'
}

healthy='[    0.000000] Linux version 7.3
[    0.010000] KernelAddressSanitizer initialized (generic)
[    0.090000] smp: Brought up 1 node, 2 CPUs
ZS-GUEST-END 0'

splat_test() { # splat_test LINE: splat_check() must find it in a healthy log
	printf '%s\n[    1.0] %s\n' "$healthy" "$1" > "$tmp/log"
	no "splat: this line fails: $1" splat_check "$tmp/log" 'ZS-GUEST-END 0'
}

test_splats() {
	local line
	echo "$healthy" > "$tmp/log"
	yes 'splat: a healthy log passes' splat_check "$tmp/log" 'ZS-GUEST-END 0'
	no 'splat: another exit status of the guest fails' splat_check "$tmp/log" 'ZS-GUEST-END 1'
	: > "$tmp/log"
	no 'splat: an empty log fails' splat_check "$tmp/log"
	no 'splat: a missing log fails' splat_check "$tmp/none"
	while IFS= read -r line; do
		splat_test "$line"
	done <<-'END'
		BUG: KASAN: slab-use-after-free in zs_free+0x10/0x20
		BUG: kernel NULL pointer dereference, address: 0000000000000008
		WARNING: CPU: 0 PID: 1 at mm/zsmalloc.c:100 zs_malloc+0x10/0x20
		WARNING: mm/zsmalloc.c:100 at zs_malloc+0x10/0x20, CPU#0: sh/1
		WARNING: possible circular locking dependency detected
		WARNING: inconsistent lock state
		WARNING: suspicious RCU usage
		Oops: general protection fault, probably for non-canonical address
		Kernel panic - not syncing: Attempted to kill init!
		INFO: task zssoak:100 blocked for more than 120 seconds.
		watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:1]
		rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
		BUG: Bad page state in process sh  pfn:12345
		UBSAN: array-index-out-of-bounds in mm/zsmalloc.c:100:10
		BUG: sleeping function called from invalid context at mm/zsmalloc.c:1
		refcount_t: underflow; use-after-free.
		Call Trace:
		kmemleak: 1 new suspected memory leaks
		sh: page allocation failure: order:0, mode:0xcc0
	END
}

test_config() {
	printf 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x"\n' > "$tmp/config"
	printf 'CONFIG_A=y\n# CONFIG_B is not set\n' > "$tmp/want"
	yes 'configuration as in the fragment passes' check_config "$tmp/want" "$tmp/config"
	printf 'CONFIG_B=y\n' > "$tmp/want"
	no 'configuration: an option that is off fails' check_config "$tmp/want" "$tmp/config"
	printf 'CONFIG_D=y\n' > "$tmp/want"
	no 'configuration: an unknown option fails' check_config "$tmp/want" "$tmp/config"
	printf '# CONFIG_A is not set\n' > "$tmp/want"
	no 'configuration: an option that is on fails' check_config "$tmp/want" "$tmp/config"
}

# litmus_case RESULT OBSERVATION [COMMAND]: a litmus test that states RESULT, and a
# stand-in for herd7 that prints OBSERVATION and runs COMMAND
litmus_case() {
	local dir=$tmp/litmus
	rm -rf "$dir"
	mkdir -p "$dir/tests" "$dir/model"
	touch "$dir/model/lock.cat" "$dir/model/linux-kernel.cfg"
	printf 'C a\n\n(*\n * Result: %s\n *)\n' "$1" > "$dir/tests/a.litmus"
	[[ -n $1 ]] || echo 'C a' > "$dir/tests/a.litmus"
	printf '#!/bin/sh\necho "%b"\n%s\n' "$2" "${3:-}" > "$dir/herd7"
	chmod +x "$dir/herd7"
}

litmus_verdict() { # litmus_verdict [PATTERN]: of the litmus test of litmus_case
	# shellcheck disable=SC2317 # called by litmus_herd()
	in_there() { here "$@"; }
	LITMUS_TESTS=$tmp/litmus/tests LITMUS_TIMEOUT=1
	litmus_prepare "$tmp/litmus/run" "$tmp/litmus/model" "${1:-.}"
	litmus_all "$tmp/litmus/run" "$tmp/litmus/herd7"
}

test_litmus() {
	litmus_case Never 'Observation a Never 0 3'
	yes 'litmus: the result that the test states passes' litmus_verdict
	no 'litmus: a pattern without any test fails' litmus_verdict none
	litmus_case 'Sometimes DATARACE' 'Flag data-race\nObservation a Sometimes 1 3'
	yes 'litmus: a race that the test states passes' litmus_verdict
	litmus_case Never 'Observation a Sometimes 1 3'
	no 'litmus: another result fails' litmus_verdict
	litmus_case Sometimes 'Observation a Never 0 3'
	no 'litmus: Never instead of Sometimes fails' litmus_verdict
	litmus_case Sometimes 'Observation a Always 3 0'
	no 'litmus: Always instead of Sometimes fails' litmus_verdict
	litmus_case Never 'Observation b Never 0 3'
	no 'litmus: the result of another test fails' litmus_verdict
	litmus_case Never 'Observation a Never 0 0'
	no 'litmus: a test without any execution fails' litmus_verdict
	litmus_case Never 'Flag data-race\nObservation a Never 0 3'
	no 'litmus: a race that the test does not state fails' litmus_verdict
	litmus_case 'Never DATARACE' 'Observation a Never 0 3'
	no 'litmus: a race that is stated but not found fails' litmus_verdict
	litmus_case Never 'Flag unmatched-rcu-lock\nObservation a Never 0 3'
	no 'litmus: a warning of the model fails' litmus_verdict
	litmus_case '' 'Observation a Never 0 3'
	no 'litmus: a test that states no result fails' litmus_verdict
	litmus_case Perhaps 'Observation a Never 0 3'
	no 'litmus: a test that states an unknown result fails' litmus_verdict
	litmus_case Never 'Observation a Never 0 3' 'exit 2'
	no 'litmus: an error of herd7 fails' litmus_verdict
	# shellcheck disable=SC2016 # expanded by the stand-in
	litmus_case Never 'Observation a Never 0 3' 'kill -9 $$'
	no 'litmus: a signal that ends herd7 fails' litmus_verdict
	litmus_case Never ''
	no 'litmus: no result of herd7 fails' litmus_verdict
	litmus_case Never 'Observation a Never 0 3' 'exec sleep 20'
	no 'litmus: a time-out of herd7 fails' litmus_verdict
	rm "$tmp/litmus/herd7"
	no 'litmus: a missing herd7 fails' litmus_verdict
}

# The litmus tests, the table in their README, and the functions that they name
test_litmus_table() {
	local dir=Documentation/litmus-tests/zsmalloc file
	for file in "$dir"/*.litmus; do
		echo "${file##*/} $(litmus_expected "$file")"
		[[ $(head -n 1 "$file") == "C $(basename "$file" .litmus)" ]] ||
			echo "$file has another name inside"
	done | sort > "$tmp/tests"
	grep -E '^[^ ]+\.litmus ' "$dir/README" | tr -s ' ' | sort > "$tmp/table"
	yes 'there are litmus tests' test -s "$tmp/tests"
	yes 'the README of the litmus tests has exactly these, with their results' \
		cmp "$tmp/tests" "$tmp/table"
	grep -h -o -E '\b(zs|zspage|class|forwarder)_[a-z_]+\(\)' "$dir"/* | sort -u > "$tmp/named"
	sed -n -E 's/^[a-z].*[ *]((zs|zspage|class|forwarder)_[a-z_]+)\(.*/\1()/p' \
		mm/zsmalloc.[ch] | sort -u > "$tmp/functions"
	yes 'every function that a litmus test names exists' \
		diff /dev/null <(comm -23 "$tmp/named" "$tmp/functions")
	grep -h -o -E '[a-z][a-z+-]*\.litmus' mm/zsmalloc.[ch] "$dir"/* | sort -u > "$tmp/named"
	yes 'every litmus test that is named exists' \
		diff /dev/null <(comm -23 "$tmp/named" <(cut -d ' ' -f 1 "$tmp/tests" | sort))
}

# ended STATUS LINE COMMAND...: COMMAND ends with this status and this last line
ended() {
	local status=0 want=$1 line=$2
	shift 2
	("$@") > "$tmp/said" 2>&1 || status=$?
	cat "$tmp/said"
	((status == want)) && [[ $(tail -n 1 "$tmp/said") == "$line" ]]
}

# epilogue PROBLEM...: finish() after these; if_failed is its text for failures
epilogue() {
	problems=("$@")
	finish job 'all is well' "${if_failed:-}"
}

with_standin_linux() { # with_standin_linux COMMAND: boots a kernel that runs COMMAND
	printf '#!/bin/sh\n%s\n' "$1" > "$tmp/linux"
	chmod +x "$tmp/linux"
	GUEST_CPUS=3 uml "$tmp/linux" 1G 1 "$tmp/console" panic=-1
}

# guest_problems STATUS [LINE]: those of a guest with a healthy console, and this line
guest_problems() {
	problems=()
	printf '%s\n' "${2:-}" "$healthy" > "$tmp/log"
	check_guest 'a guest' "$1" "$tmp/log" 'ZS-GUEST-END 0'
	echo "${problems[*]}"
}

write_slowly() {
	printf 'guest: one\nother\n' >> "$tmp/grows"
	sleep 0.2
	echo 'guest: two' >> "$tmp/grows"
	return 7
}

test_common() {
	local if_failed line
	yes 'finish: a command without problems succeeds' ended 0 'job: OK, all is well' epilogue
	yes 'finish: a command with problems fails' ended 1 'job: FAILED, 2 problems' epilogue one two
	if_failed='1 of 9' yes 'finish: a command has its own text for failures' ended 1 'job: FAILED, 1 of 9' epilogue one
	yes 'finish: each problem is printed' grep -q '^problem: one$' "$tmp/said"
	echo 'guest: of an earlier guest' > "$tmp/grows"
	yes 'follow: the status is that of the command' \
		ended 7 ' two' follow "$tmp/grows" 's/^guest://p' write_slowly
	ok 'follow: prints new lines, as the script says' \
		"$(printf ' one\n two\n' | cmp -s - "$tmp/said"; echo $?)"
	echo 'only 3 of 8 kB' > "$tmp/lines"
	for line in {0..8}' of 8 MB'; do echo "$line"; done >> "$tmp/lines"
	yes 'live: without a terminal there is a line for each quarter' \
		ended 0 '8 of 8 MB' live < "$tmp/lines"
	ok 'live: no other lines, and no colour' \
		"$(printf '%s\n' 'only 3 of 8 kB' {0,2,4,6,8}' of 8 MB' | cmp -s - "$tmp/said"; echo $?)"
	# shellcheck disable=SC2016 # expanded by the stand-in
	yes 'uml: a kernel that exits succeeds' with_standin_linux 'echo "$@"'
	yes 'uml: the kernel gets its arguments' grep -q -x 'mem=1G seccomp=on ncpus=3 panic=-1' "$tmp/console"
	yes 'uml: the status is that of the kernel' ended 9 '' with_standin_linux 'exit 9'
	yes 'uml: a kernel that hangs is stopped' ended 124 '' with_standin_linux 'exec sleep 9'
	printf '#!/bin/sh\necho cached "$@"\n' > "$tmp/ccache"
	chmod +x "$tmp/ccache"
	yes 'cc: a C file is compiled through ccache' \
		ended 0 'cached echo -c a.c' env PATH="$tmp:$PATH" "$LIB/cc.sh" echo -c a.c
	yes 'cc: an assembler file is not' \
		ended 0 '-c a.S' env PATH="$tmp:$PATH" "$LIB/cc.sh" echo -c a.S
	yes 'check_guest: a healthy guest has no problem' ended 0 '' guest_problems 0
	yes 'check_guest: a guest that was stopped has one' ended 0 'a guest took too long' guest_problems 124
	yes 'check_guest: a guest that failed has one' ended 0 'a guest ended with status 3' guest_problems 3
	yes 'check_guest: a problem quotes the warning' ended 0 \
		"a guest: kernel splat in $tmp/log, 1 lines: 1:WARNING: at mm" guest_problems 0 $'WARNING: at mm\r'
}

test_bench() {
	local table=$HARNESS/bench/keys.tsv
	aged() { # aged REGEX LINES
		awk -f "$HARNESS/bench/ageing.awk" "$tmp/values" > "$tmp/aged"
		cat "$tmp/aged"
		grep -q "$1" "$tmp/aged" && [[ $(wc -l < "$tmp/aged") == "$2" ]]
	}
	bench() {
		printf 'x86 ours a.b %s\nx86 base a.b %s\n' 3 4 1 8 2 6 > "$tmp/values"
		awk -f "$HARNESS/bench/summary.awk" "$tmp/keys" "$tmp/values" > "$tmp/bench.csv"
		cat "$tmp/bench.csv"
		[[ $(tail -n +2 "$tmp/bench.csv") == 'x86,a.b,a and b,-,6,4,8,2,1,3,0.333' ]]
	}
	# shellcheck disable=SC2016 # awk's fields
	yes 'bench: each row of keys.tsv has three columns and a key of its own' awk -F '\t' '
		/^#/ { next }
		NF != 3 || $1 !~ /^[a-z0-9_.]+$/ || $2 !~ /^[-+=]$/ || $1 in seen { print; bad = 1 }
		{ seen[$1] = 1 }
		END { exit bad || length(seen) < 100 }' "$table"
	printf '# a comment\na.b\t-\ta and b,\nc\t+\tnot measured\n' > "$tmp/keys"
	yes 'bench: the figures of several boots give median and range' bench
	printf 'x86 %s\n' 'base ageing.round_1 10' 'base ageing.round_1 12' 'ours ageing.round_1 11' \
		'base ageing.round_2 10' 'ours ageing.round_2 9' > "$tmp/values"
	yes 'bench: rounds of a pool that grows old are compared' aged 'worst of 2 rounds' 1
	echo 'x86 ours ageing.round_2 13' > "$tmp/more"
	sed -i '/ours ageing.round_2/d' "$tmp/values"
	cat "$tmp/more" >> "$tmp/values"
	yes 'bench: a round that takes more memory is found' aged '^worse x86: in 1 of 2 rounds' 2
	echo 'x86 ours ageing.not_promised 5.01' >> "$tmp/values"
	yes 'bench: a wrong promise of the shrinker is found' aged '^worse x86: ageing.not_promised' 3
}

# run_data SIDE HUGE: what a guest of make run writes, with HUGE huge pages of four pages
# in a memory of three pageblocks
run_data() {
	local n=1000 key
	for key in swapped_mb orig compr mem_used zspages_full zspages free_mb \
		huge_free_before huge_free_after zs_isolated zs_not_isolated zs_migrated \
		zs_not_migrated zs_putback compact_isolated pgmigrate_success \
		pgmigrate_fail checked wrong duration pcp_before pcp_after; do
		echo "$key $((n += $1))"
	done
	cat <<- END
		kernel 7.3
		buddy_before 0 1 2 3 4 5 6 7 8 9 10
		buddy_after 10 11 12 13 14 15 16 17 18 19 20
		blocks_before Unmovable=71 Movable=72 CMA=0
		blocks_after Unmovable=81 Movable=82
		map_before_block 4
		map_before_0 u2mz
		map_before_1 zf2z
		map_before_2 hf
		map_before_end 3 10
		map_after_block 4
		map_after_0 u2mz
		map_after_1 $([[ $2 == 1 ]] && echo H4 || echo zf3)
		map_after_2 hf
		map_after_end 3 10
		huge $2
		mark_compaction 7.50
		mark_request 7.60
		mark_end 8.25
		sample_0 7400 3 5
		sample_1 7500 3 11
		sample_2 8200 $((3 + $2)) 340
		samples 3
		finished 1
	END
}

# run_report: the page of $tmp/{off,on}.results, over an older one
run_report() {
	echo old > "$tmp/report.html"
	python3 -B "$HARNESS/report/run.py" "$tmp"/{off,on}.results "$tmp/report.html" "$tmp/still.svg"
}

# well_formed FILE: a page or picture that is XML and needs no other file
well_formed() {
	python3 -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' "$1" &&
		! grep -E '(src|href)=|@import|url\(|https?://[^w]' "$1"
}

# bench_report, selftest_report: the pages of $tmp/bench.csv and of $tmp/checks.tsv
bench_report() {
	echo old > "$tmp/report.html"
	python3 -B "$HARNESS/report/bench.py" "$tmp/bench.csv" "$tmp/profile.csv" \
		"$tmp/report.html" 3 'x86=instructions of <x86>'
}

selftest_report() {
	echo old > "$tmp/report.html"
	python3 -B "$HARNESS/report/selftest.py" "$tmp/report.html" "$tmp/checks.tsv"
}

# refused COMMAND REASON: the command ends with this error, and there is no page
refused() {
	! "$1" > "$tmp/said" 2>&1 || return 1
	cat "$tmp/said"
	[[ $(wc -l < "$tmp/said") == 1 && ! -e $tmp/report.html ]] &&
		grep -q "^error: no report: .*$2" "$tmp/said"
}

test_other_reports() {
	local head='platform,key,what,better,base,base_min,base_max,ours,ours_min,ours_max,ratio'
	local page=$tmp/report.html
	printf '%s\n' "$head" 'x86,speed.a,a call,-,1234,1230,1240,617,610,620,0.500' \
		'x86,migrate.b,pages,+,10,9,11,4,3,5,0.400' \
		'x86,migrate.c,... failed,-,7,5,9,6,4,8,0.857' > "$tmp/bench.csv"
	printf 'zs_free(),all,31.5,22.25\n' > "$tmp/profile.csv"
	yes 'report of bench: a page is made' bench_report
	yes 'report of bench: it is well-formed' well_formed "$page"
	yes 'report of bench: it counts what is better and worse' \
		grep -q '<h1>1 of 3 figures better than .*, 1 worse<' "$page"
	yes 'report of bench: it has the figures' grep -q '>1,234<.*>617<' "$page"
	yes 'report of bench: it has the ranges' grep -q '1230 to 1240' "$page"
	yes 'report of bench: it has the titles' grep -q 'instructions of &lt;x86&gt;' "$page"
	yes 'report of bench: it has the profile' grep -q '>31.5<' "$page"
	echo 'zs_free(),all,31.5' > "$tmp/profile.csv"
	yes 'report of bench: a torn profile is an error' refused bench_report 'profile.csv: line 1'
	rm "$tmp/profile.csv"
	yes 'report of bench: there may be no profile' bench_report
	echo 'x86,speed.d,d,-,1,1,1,2,2' >> "$tmp/bench.csv"
	yes 'report of bench: a torn line is an error' refused bench_report 'line 5 has 9 columns'
	printf '%s\nx86,a.b,c,-,1,1,1,?,2,2,2' "$head" > "$tmp/bench.csv"
	yes 'report of bench: half a line is an error' refused bench_report 'incomplete'
	echo >> "$tmp/bench.csv"
	yes 'report of bench: a figure that is no number is an error' refused bench_report 'no number'

	printf '%s\t%s\t%s\n' base 'zsmalloc:a.sh one is intact' FAILED \
		ours 'zsmalloc:a.sh one is intact' ok ours 'cgroup:b two' skipped \
		base '  = a.time' 4321 ours '  = a.time' 17 > "$tmp/checks.tsv"
	yes 'report of selftest: a page is made' selftest_report
	yes 'report of selftest: it is well-formed' well_formed "$page"
	yes 'report of selftest: it counts checks' \
		grep -q '<h1>1 check passed, none failed, 1 skipped<' "$page"
	yes 'report of selftest: it lists what differs' grep -q '>a.sh: one is intact<' "$page"
	yes 'report of selftest: it has the figures' grep -q '>4,321<' "$page"
	sed -i "s/ one is intact\tok/ \tok/" "$tmp/checks.tsv"
	yes 'report of selftest: a check may have no name' selftest_report
	sed -i 's/\tok$/\tFAILED/' "$tmp/checks.tsv"
	yes 'report of selftest: a page of failures is made' selftest_report
	yes 'report of selftest: it says that a check failed' grep -q '<h1>1 of 2 checks failed<' "$page"
	printf 'ours\ta.sh one\n' >> "$tmp/checks.tsv"
	yes 'report of selftest: a torn line is an error' refused selftest_report 'line 6 is no result'
	: > "$tmp/checks.tsv"
	yes 'report of selftest: no results are an error' refused selftest_report 'no check'
}

# torn SED-SCRIPT REASON: with these changes of the data there is an error and no page
torn() {
	sed -i "$1" "$tmp/on.results"
	! run_report > "$tmp/said" 2>&1 || return 1
	cat "$tmp/said"
	[[ $(wc -l < "$tmp/said") == 1 && ! -e $tmp/report.html && ! -e $tmp/still.svg ]] &&
		grep -q "^error: no report: .*on\.results: $2" "$tmp/said"
}

# The page has each number of a guest's data, some with separators.
has_numbers() {
	local number
	while read -r number; do
		grep -q -E "[ >(]${number}[ <]" "$tmp/report.html" || { echo "no $number"; return 1; }
	done < <(sed -n -E 's/^(swap|orig|compr|mem_|zs|free_|huge|compact|pgm|check|wrong|dur|buddy|pcp)[^ ]* //p' \
		"$1" | sed -E 's/^([0-9])([0-9]{3})$/\1,\2/')
}

test_report() {
	local file name change reason
	run_data 1 0 > "$tmp/off.results"
	run_data 2 1 > "$tmp/on.results"
	cp "$tmp/on.results" "$tmp/whole.results"
	yes 'report: a page is made' run_report
	for file in report.html still.svg; do
		yes "report: $file is well-formed and needs no other file" well_formed "$tmp/$file"
	done
	yes 'report: it has all numbers, migration off' has_numbers "$tmp/off.results"
	yes 'report: it has all numbers, migration on' has_numbers "$tmp/on.results"
	yes 'report: it has the maps' grep -q '"blocks":\["u2mz","H4","hf"\]' "$tmp/report.html"
	yes 'report: it says how many huge pages there are' \
		grep -q '<h1>1 huge pages\? instead of none' "$tmp/report.html"
	yes 'report: it says where the pages are' \
		grep -q 'the 3 pages that .* lie in 2 of the 3 pageblocks' "$tmp/report.html"
	while IFS='|' read -r name change reason; do
		cp "$tmp/whole.results" "$tmp/on.results"
		yes "report: $name is an error" torn "$change" "$reason"
	done <<-'END'
		a missing pageblock|/^map_after_1 /d|the map "after" lacks pageblock 1
		a pageblock that is too short|s/u2mz/u2z/|the map "before": pageblock 0 has 3 pages, not 4
		an unknown letter|s/zf2z/zf2q/|the map "before": pageblock 1 has a "q"
		a map without its end|/^map_before_end/d|the map "before" has no end
		a huge page that no map shows|s/^huge 1/huge 2/|2 huge pages, but 4 pages
		a missing figure|/^checked /d|no line "checked"
		a figure that is no number|s/^huge_free_before .*/huge_free_before ?/|huge_free_before is "?"
		a missing sample|/^sample_1 /d|no line "sample_1"
		half a sample|s/^sample_1 .*/sample_1 7500 3/|sample_1 does not have three numbers
		missing orders of free blocks|s/^buddy_after .*/buddy_after 1 2/|buddy_after does not have 11
		a guest that did not finish|/^finished/d|the guest did not finish
		an error of the guest|$a error no memory|the guest reports: no memory
		an empty file|d|the guest did not finish
	END
	head -c -3 "$tmp/whole.results" > "$tmp/on.results"
	yes 'report: half a line is an error' torn '' 'the last line is incomplete'
	rm "$tmp/on.results"
	echo > "$tmp/whole.results"
	no 'report: a missing file is an error' run_report
	no 'report: then there is no page' test -e "$tmp/report.html"
}

# README.md and the help must have exactly the variables that the scripts declare, and
# README.md their defaults.  "computed" stands for a default that is not a constant.
test_knobs() {
	local scripts=("$HARNESS"/*.sh "$LIB"/*.sh) command
	sed -n -E '/^knob [A-Z]/ { s/^knob +//; s/[\t].*//; s/ .*\$.*/ computed/; p }' \
		"${scripts[@]}" | tr -d "'" | sort -u > "$tmp/knobs"
	awk -F ' *[|] *' '
		$2 !~ /^`[A-Z_0-9]+`$/ { next }
		{ gsub(/`/, "", $2) }
		$4 ~ /^`[^`]*`$/ { gsub(/`/, "", $4); print $2, $4; next }
		$4 == "not set" { print $2; next }
		{ print $2, "computed" }' "$HARNESS/README.md" | sort -u > "$tmp/explained"
	yes 'scripts declare variables' test -s "$tmp/knobs"
	yes 'the README of the harness has exactly these, with their defaults' \
		diff "$tmp/knobs" "$tmp/explained"
	awk '{ print $1 }' "$tmp/knobs" | sort -u > "$tmp/names"
	sed -n 's/^##//p; s/^[a-z]*:.* ##//p' Makefile | grep -o -E '\b[A-Z][A-Z0-9_]*=' |
		tr -d = | sort -u > "$tmp/helped"
	yes 'make help names exactly these variables' diff "$tmp/names" "$tmp/helped"
	# shellcheck disable=SC2016 # the text of scripts
	grep -v -h "^knob \|^[[:space:]]*#" "$HARNESS"/*.sh "$LIB"/{[!h],herd}*.sh |
		grep -o -E '\$\{[A-Z][A-Z0-9_]*:?[-=+]' | tr -d '${:=+-' | sort -u > "$tmp/read"
	yes 'scripts read no other variable of the environment' diff /dev/null <(
		comm -23 "$tmp/read" <(sort "$tmp/names" - <<< $'HOME\nNO_COLOR\nTMPDIR\nXDG_CACHE_HOME'))

	awk -f "$LIB/help.awk" Makefile | sed -n 's/^  make \([a-z-]*\) .*/\1/p' | sort > "$tmp/helped"
	for command in "$HARNESS"/*.sh clean help; do
		basename "$command" .sh
	done | sort > "$tmp/commands"
	yes 'make help has exactly the commands of harness/' diff "$tmp/commands" "$tmp/helped"
	for command in "$HARNESS"/*.sh; do
		command=$(basename "$command" .sh)
		make -n "$command" 2>&1 | grep -q "harness/$command\.sh" ||
			echo "$command"
	done > "$tmp/unmade"
	yes 'make runs the script of each command' diff /dev/null "$tmp/unmade"
	for command in "$HARNESS"/*.sh "$LIB"/*.{sh,py,awk}; do
		grep -q "\`$(basename "$command")\`" "$HARNESS/README.md" || echo "$command"
	done > "$tmp/unnamed"
	yes 'the README of the harness names each script' diff /dev/null "$tmp/unnamed"
}

# copy_scripts DIR: copies the scripts to DIR/harness, for a small copy of the project
copy_scripts() {
	mkdir -p "$1/harness/lib"
	cp -p "$HARNESS"/*.sh "$1/harness/"
	cp -p "$LIB"/*.sh "$1/harness/lib/"
}

# The overlay, in a small copy of the project over a small base
overlay() { bash "$tmp/p/harness/tree.sh"; }

test_overlay() {
	local p=$tmp/p k=$tmp/k base=$BASE
	mkdir -p "$p/mm" "$k/mm"
	copy_scripts "$p"
	printf 'VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 1\n' > "$k/Makefile"
	touch "$k/Kbuild" "$k/mm/Kconfig"
	echo 'one' > "$k/mm/a.c"
	echo 'two' > "$k/mm/b.c"
	printf 'List\n\nA\nM:\ta\n\nZSMALLOC\nM:\told\nF:\tx\n\nZZ\nM:\tz\n' > "$k/MAINTAINERS"
	printf 'ZSMALLOC\nM:\tnew\n' > "$p/MAINTAINERS"
	echo 'mine' > "$p/mm/a.c"
	echo 'new' > "$p/mm/n.c"
	printf -- '--- a/mm/b.c\n+++ b/mm/b.c\n@@ -1 +1 @@\n-two\n+TWO\n' > "$p/harness/base-edits.patch"
	export KSRC=$k

	yes 'tree: it is made' overlay
	yes 'tree: a file of the project replaces one of the base' grep -q mine "$p/build/tree/mm/a.c"
	yes 'tree: a file of the project is added' grep -q new "$p/build/tree/mm/n.c"
	yes 'tree: an edit of a base file is applied' grep -q TWO "$p/build/tree/mm/b.c"
	yes 'tree: the base keeps a file that is replaced' grep -q one "$k/mm/a.c"
	yes 'tree: the base keeps a file that is edited' grep -q two "$k/mm/b.c"
	yes 'tree: MAINTAINERS has the new section' grep -q 'new' "$p/build/tree/MAINTAINERS"
	no 'tree: MAINTAINERS does not have the old section' grep -q 'old' "$p/build/tree/MAINTAINERS"
	yes 'tree: MAINTAINERS keeps other sections' grep -q 'ZZ' "$p/build/tree/MAINTAINERS"

	touch "$tmp/mark"
	yes 'tree: it is made again' overlay
	ok 'tree: the second time no file changes' \
		"$(find "$p/build/tree" -type f -newer "$tmp/mark" | wc -l)"

	rm "$p/mm/a.c" "$p/mm/n.c"
	yes 'tree: it is made after files were removed' overlay
	yes 'tree: the file of the base is restored' grep -q one "$p/build/tree/mm/a.c"
	no 'tree: the file of the project is removed' test -e "$p/build/tree/mm/n.c"

	sed -i 's/^-two/-other/' "$p/harness/base-edits.patch"
	no 'tree: an edit that does not apply is an error' overlay
	cp "$tmp/out" "$tmp/reject"
	yes 'tree: that error names the file' grep -q 'mm/b.c' "$tmp/reject"
	KSRC=$tmp/none
	no 'tree: a KSRC that does not exist is an error' overlay
	KSRC=$p
	no 'tree: a KSRC that is not a kernel is an error' overlay
	unset KSRC
	export BASE=7.x
	no 'tree: a BASE that is not a release is an error' overlay
	cp "$tmp/out" "$tmp/reject"
	yes 'tree: that error names it' grep -q 'BASE=7.x is not a release' "$tmp/reject"
	BASE=$base
}

# A small copy of the project in $tmp/s over a base in $tmp/b: patch 1 adds mm/n.c, patch 2
# adds a line to it, and patch 3 edits mm/b.c.
make_standin_series() {
	local p=$tmp/s k=$tmp/b r=$tmp/r
	mkdir -p "$p/mm" "$p/series" "$k/mm" "$r/mm"
	copy_scripts "$p"
	cp "$LIB"/*.py "$p/harness/lib/"
	printf 'VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 1\n' > "$k/Makefile"
	touch "$k/Kbuild" "$k/mm/Kconfig"
	printf 'base %s\n' {1..30} > "$k/mm/b.c"
	cp "$k/mm/b.c" "$r/mm/"
	in_series init -q
	in_series add -A
	in_series commit -q -m base
	printf 'first %s\n' {1..9} > "$r/mm/n.c"
	in_series add -A
	in_series commit -q -m 'one: a file'
	sed -i '4a second' "$r/mm/n.c"
	in_series commit -q -a -m 'two: a line'
	sed -i 's/base 7$/third/' "$r/mm/b.c"
	in_series commit -q -a -m 'three: an edit'
	cp "$r/mm/n.c" "$p/mm/"
	in_series diff HEAD~1 > "$p/harness/base-edits.patch"
	in_series format-patch -q --zero-commit --no-signature -N -o "$p/series" HEAD~3
	(cd "$p/series" && ls) > "$tmp/names"
	mv "$tmp/names" "$p/series/series"
}

in_series() {
	GIT_CONFIG_GLOBAL=/dev/null git -C "$tmp/r" -c user.name=a -c user.email=a@localhost "$@"
}

# in_copy COMMAND...: a command of the small copy, over the small base; prints what it says
in_copy() {
	local status=0
	KSRC=${KSRC:-$tmp/b} bash "$tmp/s/harness/$1.sh" "${@:2}" > "$tmp/said" 2>&1 || status=1
	cat "$tmp/said"
	return "$status"
}

# has NUMBER TEXT: a patch of the small copy has a line that it adds or removes
has() { grep -q -x -F -e "$2" "$tmp/s/series/$1"-*.patch; }

test_series() {
	local p=$tmp/s t=$tmp/t
	unset KSRC PATCH
	make_standin_series
	yes 'series: the patches make the project' in_copy series check
	yes 'series: build/series has them, numbered' in_copy series
	yes 'series: each has its number' grep -q '^Subject: \[RFC PATCH 2/3\] two: a line' "$p"/build/series/0002-*.patch
	yes 'series: the mbox has all of them' test "$(grep -c '^Subject: ' "$p/build/series/mbox")" == 3

	sed -i 's/first 2/FIRST 2/; s/first 9/FIRST 9/' "$p/mm/n.c"
	no 'series: a change that no patch has is an error' in_copy series check
	yes 'series: that error names the file' grep -q '^mm/n.c is not what' "$tmp/said"
	yes 'series: and the command that folds it in' grep -q 'make series-refresh' "$tmp/said"
	yes 'series-refresh: the change is folded in' in_copy series-refresh
	yes 'series-refresh: into the patch that has made the lines' has 0001 '+FIRST 9'
	no 'series-refresh: and no other one' has 0002 '+FIRST 9'
	yes 'series-refresh: a second time nothing changes' in_copy series-refresh
	yes 'series-refresh: and says so' grep -q '    0 patches were written anew' "$tmp/said"
	sed -i 's/^second/SECOND/; s/^first 5/FIRST 5\nmore/' "$p/mm/n.c"
	yes 'series-refresh: adjacent lines of two patches' in_copy series-refresh
	yes 'series-refresh: both go into the later patch' has 0002 '+FIRST 5'
	yes 'series-refresh: with what is removed' has 0002 '-first 5'
	sed -i 's/^SECOND/above\n&\nbelow/' "$p/mm/n.c"
	yes 'series-refresh: lines before and after the line of a patch' in_copy series-refresh
	yes 'series-refresh: stay in their order' test "$(grep -E '^\+(above|SECOND|below)' "$p"/series/0002-*.patch | tr -d '\n')" == '+above+SECOND+below'
	sed -i 's/^SECOND/&_name/' "$p/mm/n.c"
	yes 'series-refresh: a name' in_copy series-refresh
	sed -i 's/^FIRST 9/& with SECOND_name/' "$p/mm/n.c"
	yes 'series-refresh: a line that uses the name' in_copy series-refresh
	yes 'series-refresh: is not changed before the name is there' has 0002 '+FIRST 9 with SECOND_name'
	sed -i 's/^third$/THIRD/; s/^+third$/+THIRD/' "$p/harness/base-edits.patch"
	yes 'series-refresh: an edit of a base file' in_copy series-refresh
	yes 'series-refresh: stays in its patch' has 0003 '+THIRD'
	printf -- '@@ -20 +20 @@\n-base 20\n+twenty\n' >> "$p/harness/base-edits.patch"
	yes 'series-refresh: other lines of the base' in_copy series-refresh
	yes 'series-refresh: go into the only patch of the file' has 0003 '+twenty'
	cp -r "$p/series" "$tmp/series.before"
	echo new > "$p/mm/m.c"
	no 'series-refresh: a new file needs PATCH' in_copy series-refresh
	yes 'series-refresh: the error lists it' grep -q '^    mm/m.c: new file' "$tmp/said"
	yes 'series-refresh: then series/ is as it was' diff -r "$p/series" "$tmp/series.before"
	PATCH=7 no 'series-refresh: PATCH must exist' in_copy series-refresh
	PATCH=2 yes 'series-refresh: PATCH gets a new file' in_copy series-refresh
	yes 'series-refresh: and has it' has 0002 '+++ b/mm/m.c'
	echo more >> "$p/mm/m.c"
	chmod +x "$p/mm/m.c"
	yes 'series-refresh: a mode' in_copy series-refresh
	yes 'series-refresh: goes into the patch that adds the file' has 0002 'new file mode 100755'
	rm "$p/mm/m.c"
	yes 'series-refresh: a file that is gone' in_copy series-refresh
	no 'series-refresh: is in no patch' has 0002 '+++ b/mm/m.c'
	touch "$p/series/0009-extra.patch"
	no 'series: a patch that is not listed is an error' in_copy series check
	rm "$p/series/0009-extra.patch"

	cp -r "$tmp/b" "$t"
	export KSRC=$t
	yes 'apply: a tree without git' in_copy apply
	yes 'apply: the tree has the files' cmp "$p/mm/n.c" "$t/mm/n.c"
	cp -r "$t" "$t.before"
	no 'apply: a second time is an error' in_copy apply
	yes 'apply: which says why' grep -q 'mm/n.c: the patch adds this file, and it exists' "$tmp/said"
	rm -rf "$t"
	cp -r "$tmp/b" "$t"
	sed -i 's/base 8/other/' "$t/mm/b.c"
	cp -r "$t/." "$t.before"
	rm -rf "$t.before"
	cp -r "$t" "$t.before"
	no 'apply: a hunk that does not fit is an error' in_copy apply
	yes 'apply: which names the patch' grep -q '^series/0003-three-an-edit.patch does not apply' "$tmp/said"
	yes 'apply: and the hunk' grep -q 'mm/b.c: hunk 1 of 2, .*line 8 is not' "$tmp/said"
	yes 'apply: and what it found' grep -q 'found:    other' "$tmp/said"
	yes 'apply: then the tree is as it was' diff -r "$t" "$t.before"
	rm -rf "$t"
	cp -r "$tmp/b" "$t"
	sed -i 's/base 4/other/; s/base 10/other/' "$t/mm/b.c"
	yes 'apply: two lines around a change are enough' in_copy apply
	rm -rf "$t"
	cp -r "$tmp/b" "$t"
	git -C "$t" init -q
	git -C "$t" config user.name a
	git -C "$t" config user.email a@localhost
	git -C "$t" add -A
	git -C "$t" commit -q -m base
	echo mine >> "$t/mm/b.c"
	no 'apply: changes that are not committed are an error' in_copy apply
	yes 'apply: which names the file' grep -q ' M mm/b.c' "$tmp/said"
	git -C "$t" checkout -q mm/b.c
	yes 'apply: a git repository' in_copy apply
	yes 'apply: gets a commit for each patch' test "$(git -C "$t" rev-list --count HEAD)" == 4

	# A file that is replaced as a whole, and the one of another release
	export KSRC=$tmp/b
	printf 'old %s\n' {1..40} > "$tmp/b/mm/w.c"
	printf '%s: another file, altogether\n' {a..z} {A..Z} > "$p/mm/w.c"
	PATCH=3 yes 'series-refresh: a file of the base that no patch has' in_copy series-refresh
	yes 'series: is replaced as a whole' grep -q '^dissimilarity index' "$p"/series/0003-*.patch
	KSRC=$t
	git -C "$t" reset -q --hard HEAD~3
	printf 'elder %s\n' {1..40} > "$t/mm/w.c"
	git -C "$t" add mm/w.c
	git -C "$t" commit -q -m elder
	no 'apply: an unknown file is not replaced' in_copy apply
	yes 'apply: and named' grep -q 'mm/w.c: hunk 1 of 1' "$tmp/said"
	echo "$(git hash-object "$t/mm/w.c") mm/w.c elder" > "$p/series/replaced"
	yes 'apply: that of a known release is' in_copy apply
	yes 'apply: with the same result' cmp "$p/mm/w.c" "$t/mm/w.c"
	yes 'apply: and the history of the tree' test "$(git -C "$t" log --format=%s | tr '\n' ,)" \
		== 'three: an edit,two: a line,one: a file,elder,base,'
	unset KSRC
}

# The litmus tests must be those of the pairs in the block on memory ordering.
test_ordering() {
	sed -n '/^ \* Memory ordering:/,/^ \*\//p' mm/zsmalloc.c |
		grep -o -E '^ \*  [a-z+, ]+' | tr ', ' '\n' | grep '[a-z]' |
		sort > "$tmp/pairs"
	# Only these have a text in the README; the others are weaker versions.
	awk '/\.litmus / { name = $1 } /^    / && name { print name; name = "" }' \
		Documentation/litmus-tests/zsmalloc/README |
		sed 's/\.litmus$//' | sort > "$tmp/tests"
	yes 'the code lists ordering pairs' test -s "$tmp/pairs"
	yes 'the litmus tests are exactly those of the pairs' cmp "$tmp/pairs" "$tmp/tests"
}

# The documentation and the selftest have the same programs for bpftrace.
test_programs() {
	sed -n "/^ # bpftrace -e '\$/,/'\$/{/ -e '\$/d; s/^ //; p}" \
		Documentation/mm/zsmalloc.rst > "$tmp/documented"
	sed -n "/^[A-Z]*='\$/,/'\$/{/='\$/d; p}" \
		tools/testing/selftests/zsmalloc/tracing.sh > "$tmp/run"
	yes 'the documentation has programs for bpftrace' test -s "$tmp/documented"
	yes 'tracing.sh runs exactly these' cmp "$tmp/documented" "$tmp/run"
}

# The table of races must name all tests of races, and only tests that exist.
test_matrix() {
	local doc=mm/tests/zsmalloc_race_kunit.c suites=(mm/tests/zsmalloc*_kunit.c)
	sed -n '/^ \* Table of races$/,/^ \*\/$/p' "$doc" > "$tmp/matrix"
	sed -n -E 's/^\tKUNIT_CASE(_SLOW|_PARAM)?\(([a-z_]+)[,)].*/\2/p' "${suites[@]}" | sort > "$tmp/cases"
	sed -n -E 's/^\tKUNIT_CASE(_SLOW|_PARAM)?\(([a-z_]+)[,)].*/\2/p' \
		mm/tests/zsmalloc_race_kunit.c | sort > "$tmp/races"
	grep -o -E '\b[a-z]+(_[a-z]+){3,}\b' "$tmp/matrix" | sort -u > "$tmp/named"
	yes 'there is a table of races' test -s "$tmp/named"
	ok 'every test that the table names exists' \
		"$(comm -23 <(grep -v -x zsmalloc_race_kunit "$tmp/named") "$tmp/cases" | wc -l)"
	ok 'every test of a race is in the table' \
		"$(comm -13 "$tmp/named" "$tmp/races" | wc -l)"
}

# Each race point in the list must be used in the allocator.  (A race point that is not
# in the list does not compile.)
# The cells of make matrix: what their table names, and what is read from a console
test_cells() {
	local dir=$HARNESS/matrix work=$tmp/cells
	{
		awk -F'\t' '!/^#/ && NF != 9 { print "cells.tsv: " $0 }' "$dir/cells.tsv"
		awk -F'\t' '!/^#/ && NF != 7 { print "platforms.tsv: " $0 }' "$dir/platforms.tsv"
		awk -F'\t' '!/^#/ && $7 !~ /^(sid qemu-[a-z-]+ )?(qemu-system-[a-z0-9_]+ -machine .*|-)$/ {
			print "platforms.tsv: " $0 }' "$dir/platforms.tsv"
		awk -F'\t' '!/^#/ { print $2 }' "$dir/cells.tsv" | sort -u > "$tmp/used"
		awk -F'\t' '!/^#/ { print $1 }' "$dir/platforms.tsv" | sort > "$tmp/there"
		diff "$tmp/used" "$tmp/there"
		awk -F'\t' '!/^#/ { print FILENAME ~ /cells/ ? $7 : $5 }' "$dir"/*.tsv |
			tr , '\n' | grep -v = | sort -u | while IFS= read -r name; do
				[[ -f $dir/$name.config || -f $CONFIGS/$name.config ]] ||
					echo "no fragment $name"
			done
	} > "$tmp/cells.bad" || true
	yes 'the cells name platforms and fragments that exist' diff /dev/null "$tmp/cells.bad"
	yes 'a glob names cells, in the order of their table' \
		test "$(cells_named "$dir/cells.tsv" 's390x arm64_*k' | tr '\n' ' ')" \
		== 'arm64_4k arm64_16k arm64_64k s390x '
	no 'a glob without a cell is an error' cells_named "$dir/cells.tsv" 'arm64_4k vax'

	printf '%s\r\n' '[    1.0]     ok 7 tagged # SKIP no tags' \
		'[    1.1] # zsmalloc_race: pass:60 fail:0 skip:2 total:62' > "$tmp/console"
	yes 'the numbers of a suite' \
		test "$(suite_numbers "$tmp/console" zsmalloc_race)" == '60+2 skipped'
	yes 'a suite that did not end has failed' \
		test "$(suite_numbers "$tmp/console" zsmalloc)" == 'FAILED: it did not end'
	yes 'why a test was skipped' test "$(skips "$tmp/console")" == 'tagged: no tags'
	echo 'guest: swapped=1 checked=1 wrong=0 migrated=7' > "$tmp/console"
	yes 'a smoke test that did not end has failed' \
		grep -q '^FAILED' <(smoke_result "$tmp/console" 0 0 1)
	echo 'ZS-GUEST-END 0' >> "$tmp/console"
	yes 'a smoke test' test "$(smoke_result "$tmp/console" 0 0 1)" == '7 migrated'
	yes 'as many rounds as loads' \
		grep -q '^FAILED' <(smoke_result "$tmp/console" 0 100 1)
	sed -i s/=7/=0/ "$tmp/console"
	yes 'pages must be migrated' grep -q '^FAILED' <(smoke_result "$tmp/console" 0 0 1)
	yes 'unless there is no migration' \
		test "$(smoke_result "$tmp/console" 0 0 0)" == '0 migrated'
	echo '  CHECK   ../mm/zsmalloc.c' > "$tmp/log"
	yes 'no findings' test "$(findings "$tmp/log")" == ok
	echo 'mm/zsmalloc.h:1:2: warning: odd' >> "$tmp/log"
	yes 'findings' grep -q '^FAILED' <(findings "$tmp/log")

	mkdir -p "$work/one"
	printf '%s\n' build=ok 'zram=not run: no libc' > "$work/one/result"
	table "$work" one two > "$tmp/table"
	yes 'the table says why a part was not run' grep -q 'one: zram: not run: no libc' "$tmp/table"
	yes 'and that a cell was not run' grep -q 'two: not run' "$tmp/table"
}

test_points() {
	grep -h -o -E 'zs_race\("[a-z_]+"\)' mm/zsmalloc.c | cut -d '"' -f 2 |
		sort -u > "$tmp/points"
	sed -n 's/^\tZS_POINT(\([a-z_]*\), .*/\1/p' mm/zsmalloc.h | sort > "$tmp/known"
	yes 'the allocator has race points' test -s "$tmp/points"
	yes 'each race point in the list is used' cmp "$tmp/points" "$tmp/known"
}

# kcsan_report READER BELOW: a report of KCSAN on a console
kcsan_report() {
	local bar='=================================================================='
	printf '[   41.1] %s\n' "$bar" "BUG: KCSAN: data-race in writer / $1" '' \
		'write to 0xffff888000000cb8 of 8 bytes by interrupt on cpu 0:' \
		' writer+0x29/0x50' ' asm_sysvec_apic_timer_interrupt+0x16/0x20' \
		' zs_malloc+0x43f/0x580' '' \
		'read to 0xffff888000000cb8 of 8 bytes by task 70 on cpu 0:' \
		" $1+0x101/0x150" " $2+0x331/0x3a0" '' "$bar"
}

# races_left KEPT REMOVED: the numbers of reports in $tmp/log
races_left() {
	without_others_races "$tmp/log" "$tmp/others" $'zs_malloc\nzs_free' \
		> "$tmp/ours"
	[[ $(grep -c 'BUG: KCSAN' "$tmp/ours") == "$1" && $(< "$tmp/others") == "$2" ]] &&
		[[ $(grep -c healthy "$tmp/ours") == 2 ]]
}

test_races() {
	log_of() { echo healthy; "$@"; echo healthy; }
	log_of kcsan_report zs_free.isra.0 user > "$tmp/log"
	yes 'kcsan: a race in zsmalloc is kept' races_left 1 0
	log_of kcsan_report memcpy zs_free > "$tmp/log"
	yes 'kcsan: a race in a function called by zsmalloc is kept' races_left 1 0
	log_of kcsan_report reader user > "$tmp/log"
	yes 'kcsan: a race in an interrupt of zsmalloc is removed' races_left 0 1
	log_of kcsan_report usleep_range_state zs_free > "$tmp/log"
	yes 'kcsan: a race in the sleep at a race point is removed' races_left 0 1
	{ log_of true; kcsan_report reader user | head -n 4; } > "$tmp/log"
	yes 'kcsan: an incomplete report is kept' races_left 1 0
}

# A stand-in for QEMU, in a small copy of the project.  $tmp/standin has its behaviour:
#   msr    aborts with KVM, like on a virtual machine whose host lacks an MSR
#   model  the same, with -cpu host only
#   hang   with KVM the guest hangs before its first output
#   dead   always fails
#   mute   every guest hangs
make_standin() {
	local p=$tmp/q script
	mkdir -p "$p"/build/{logs,x86,x86-debug,torture-debug} "$tmp/bin"
	copy_scripts "$p"
	sed -i -E 's/^(KVM_SILENCE|SILENCE)=[0-9]+/\1=1/' "$p/harness/lib/guest.sh"
	for script in tree lib/deps lib/kernel lib/initramfs lib/data; do
		printf '#!/bin/sh\n' > "$p/harness/$script.sh"
	done
	touch "$p"/build/{x86,x86-debug,torture-debug}/vmlinux
	mkdir -p "$p/build/tree/include/linux"
	printf '\tPGTY_zsmalloc = 0xf6,\n' > "$p/build/tree/include/linux/page-flags.h"
	cat > "$tmp/bin/qemu-system-x86_64" <<- 'END'
		#!/usr/bin/env bash
		[[ $1 != --version ]] || { echo 'QEMU emulator version 0'; exit; }
		dir=${0%/*}/..
		echo "$*" >> "$dir/calls"
		how=$(< "$dir/standin")
		[[ $how != dead ]] || { echo 'qemu-system-x86_64: no such machine' >&2; exit 1; }
		[[ $how != mute ]] || exec sleep 30
		if [[ $* == *'-accel kvm'* ]]; then
			[[ $how != hang ]] || exec sleep 30
			if [[ $how == msr || ($how == model && $* == *'-cpu host '*) ]]; then
				echo 'qemu-system-x86_64: warning: a feature is missing' >&2
				echo 'qemu-system-x86_64: error: failed to set MSR 0x10a to 0x0' >&2
				kill -ABRT $$
			fi
		fi
		console=$*
		console=${console#*-serial file:}
		echo 'ZS-GUEST-END 0' > "${console%% *}"
	END
	chmod +x "$tmp/bin/qemu-system-x86_64"
}

# in_standin COMMAND...: runs COMMAND in the small copy, after sourcing guest.sh
in_standin() {
	# shellcheck disable=SC2016 # for that shell
	PATH=$tmp/bin:$PATH bash -c '. "$0/harness/lib/common.sh"; . "$LIB/guest.sh"
		machine() { echo "${MACHINE:-this one}"; }
		kernel=$BUILD/x86/vmlinux
		eval "$1"' "$tmp/q" "$*"
}

# chosen STAND-IN CPU CALLS: choose_cpu chooses CPU after so many trials
chosen() {
	echo "$1" > "$tmp/standin"
	: > "$tmp/calls"
	# shellcheck disable=SC2016 # for that shell
	in_standin 'choose_cpu "$kernel"; echo "chosen: ${QEMU_CPU[*]}"' 2>&1 | tee "$tmp/said"
	grep -q "chosen: -accel $2" "$tmp/said" &&
		[[ $(wc -l < "$tmp/calls") == "$3" ]]
}

# ends STAND-IN REASON CALLS COMMAND...: COMMAND ends at its first error, for REASON
ends() {
	local how=$1 reason=$2 calls=$3
	shift 3
	echo "$how" > "$tmp/standin"
	: > "$tmp/calls"
	! PATH=$tmp/bin:$PATH timeout 20 "$@" > "$tmp/said" 2>&1 < /dev/null || return 1
	cat "$tmp/said"
	[[ $(grep -c '^error: ' "$tmp/said") == 1 && $(wc -l < "$tmp/calls") == "$calls" ]] &&
		grep '^error: ' -A 9 "$tmp/said" | grep -q "$reason" &&
		! grep -q -E '^  |problem|FAILED' <(sed '1,/^error: /d; /^    qemu/d' "$tmp/said") &&
		! grep -q -E 'migration (off|on) +m|bytes checked|operations' "$tmp/said"
}

test_qemu() {
	local h=$tmp/q/harness tcg='tcg,thread=multi'
	# shellcheck disable=SC2016 # for in_standin's shell
	local boot='guest "$kernel" 1M 9 "$BUILD/log" "" ""'
	unset ACCEL MACHINE
	make_standin
	# shellcheck disable=SC2016 # for that shell
	PATH=$tmp/bin:$PATH bash -c '. "$0/lib/common.sh"; . "$LIB/guest.sh"; machine' "$h" > "$tmp/machine"
	yes 'kvm: the answer depends on the boot of the machine' \
		grep -q -f /proc/sys/kernel/random/boot_id "$tmp/machine"
	yes 'kvm: the answer depends on the version of QEMU' grep -q 'QEMU emulator version 0' "$tmp/machine"
	yes 'kvm: not used if it aborts' chosen msr "$tcg" 3
	yes 'kvm: the error of QEMU is printed' grep -q 'KVM.*: -cpu host: failed to set MSR' "$tmp/said"
	yes 'kvm: not tried again' chosen msr "$tcg" 0
	yes 'kvm: the kept answer is printed' grep -q 'without KVM' "$tmp/said"
	MACHINE=other yes 'kvm: tried again on another machine' chosen msr "$tcg" 3
	yes 'kvm: tried again back on the first machine' chosen msr "$tcg" 3
	echo 'other' > "$tmp/q/build/x86/vmlinux"
	yes 'kvm: tried again with another kernel' chosen msr "$tcg" 3
	# shellcheck disable=SC2016 # for in_standin's shell
	ACCEL=kvm no 'ACCEL=kvm: an error if KVM does not work' in_standin 'choose_cpu "$kernel"'
	cp "$tmp/out" "$tmp/said"
	yes 'ACCEL=kvm: the error has the reason' grep -q 'error: ACCEL=kvm.*failed to set MSR' "$tmp/said"
	ACCEL=kvm yes 'ACCEL=kvm: KVM is tried again' chosen model 'kvm -cpu host,arch' 2
	yes 'ACCEL=kvm: the new answer is kept' chosen model 'kvm -cpu host,arch' 0
	ACCEL=tcg yes 'ACCEL=tcg: KVM is not tried' chosen model "$tcg" 0
	ACCEL=xen no 'ACCEL: another value is an error' chosen model "$tcg" 0
	yes 'ACCEL: the error has the values' grep -q "error: ACCEL: kvm or tcg, not 'xen'" "$tmp/said"
	echo dead > "$tmp/standin"
	no 'guest: an error if KVM does not start it any more' in_standin "$boot"
	yes 'guest: KVM is tried again after this error' chosen msr "$tcg" 3
	yes 'guest: one without KVM succeeds' in_standin "$boot"
	yes 'guest: one without KVM runs to its end' grep -q 'ZS-GUEST-END 0' "$tmp/q/build/log"
	rm -f "$tmp/q/build/x86/vmlinux.kvm"
	yes 'kvm: other CPU models are not tried after a guest that hangs' chosen hang "$tcg" 1

	yes 'run: ends if QEMU fails' ends dead 'no such machine' 4 "$h/run.sh"
	export ACCEL=tcg
	yes 'run: ends if the guest hangs' ends mute 'wrote nothing in 1 seconds' 1 "$h/run.sh"
	yes 'kunit: ends if QEMU fails' ends dead 'no such machine' 1 "$h/lib/kunit.sh" x86
	yes 'soak: ends if QEMU fails' ends dead 'no such machine' 1 "$h/soak.sh" 1
	TORTURE_CONFIGS=debug yes 'torture: ends if QEMU fails' \
		ends dead 'no such machine' 1 "$h/torture.sh" 1
	unset ACCEL
}

main() {
	step "Self-test of the harness (20 seconds)"
	test_matrix
	test_cells
	test_ordering
	test_programs
	test_points
	yes 'every mutant applies, see mutants.sh check' "$HARNESS/mutants.sh" check
	test_splats
	test_litmus
	test_litmus_table
	test_races
	test_common
	test_bench
	test_report
	test_other_reports
	test_knobs
	test_config
	test_overlay
	test_series
	test_qemu
	echo "$passed $failed" > "$BUILD/harness_test.count"
	info "self-test: $passed passed, $failed failed"
	((!failed))
}

main
