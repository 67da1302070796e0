#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Tests of the harness itself, a few seconds.  Writes "passed failed" to
# build/harness_test.count.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/guest.sh"
. "$LIB/kbuild.sh"
. "$LIB/herd7.sh"

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

splat_test() { # splat_test LINE: it has to be found in a healthy log
	printf '%s\n[    1.0] %s\n' "$healthy" "$1" > "$tmp/log"
	no "splat not found: $1" splat_check "$tmp/log" 'ZS-GUEST-END 0'
}

test_splats() {
	local line
	echo "$healthy" > "$tmp/log"
	yes 'healthy log passes' splat_check "$tmp/log" 'ZS-GUEST-END 0'
	no 'bad exit status fails' splat_check "$tmp/log" 'ZS-GUEST-END 1'
	: > "$tmp/log"
	no 'empty log fails' splat_check "$tmp/log"
	no 'missing log fails' splat_check "$tmp/none"
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
	yes 'config as asked' check_config "$tmp/want" "$tmp/config"
	printf 'CONFIG_B=y\n' > "$tmp/want"
	no 'option off' check_config "$tmp/want" "$tmp/config"
	printf 'CONFIG_D=y\n' > "$tmp/want"
	no 'option unknown' check_config "$tmp/want" "$tmp/config"
	printf '# CONFIG_A is not set\n' > "$tmp/want"
	no 'option on' check_config "$tmp/want" "$tmp/config"
}

# litmus_case RESULT OBSERVATION [COMMAND]: a litmus test that says RESULT, and a
# stand-in for herd7 that runs COMMAND and has OBSERVATION for it
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

litmus_verdict() { # with what litmus_case left: litmus_verdict [PATTERN]
	# shellcheck disable=SC2317 # called by litmus_herd()
	in_there() { here "$@"; }
	LITMUS_TESTS=$tmp/litmus/tests LITMUS_TIMEOUT=1
	litmus_prepare "$tmp/litmus/run" "$tmp/litmus/model" "${1:-.}"
	litmus_all "$tmp/litmus/run" "$tmp/litmus/herd7"
}

test_litmus() {
	litmus_case Never 'Observation a Never 0 3'
	yes 'the result that a litmus test says passes' litmus_verdict
	no 'no litmus test at all fails' litmus_verdict none
	litmus_case 'Sometimes DATARACE' 'Flag data-race\nObservation a Sometimes 1 3'
	yes 'so does a race that it says' litmus_verdict
	litmus_case Never 'Observation a Sometimes 1 3'
	no 'another result fails' litmus_verdict
	litmus_case Sometimes 'Observation a Never 0 3'
	no 'a weakened test that is not reached fails' litmus_verdict
	litmus_case Sometimes 'Observation a Always 3 0'
	no 'Always is not Sometimes' litmus_verdict
	litmus_case Never 'Observation b Never 0 3'
	no 'the result of another test fails' litmus_verdict
	litmus_case Never 'Observation a Never 0 0'
	no 'a test without any execution fails' litmus_verdict
	litmus_case Never 'Flag data-race\nObservation a Never 0 3'
	no 'a race that it does not say fails' litmus_verdict
	litmus_case 'Never DATARACE' 'Observation a Never 0 3'
	no 'a race that is not there fails' litmus_verdict
	litmus_case Never 'Flag unmatched-rcu-lock\nObservation a Never 0 3'
	no 'a warning of the model fails' litmus_verdict
	litmus_case '' 'Observation a Never 0 3'
	no 'a test that says no result fails' litmus_verdict
	litmus_case Perhaps 'Observation a Never 0 3'
	no 'a test that says an unknown result fails' litmus_verdict
	litmus_case Never 'Observation a Never 0 3' 'exit 2'
	no 'herd7 that fails fails' litmus_verdict
	# shellcheck disable=SC2016 # expanded by the stand-in
	litmus_case Never 'Observation a Never 0 3' 'kill -9 $$'
	no 'herd7 that is killed fails' litmus_verdict
	litmus_case Never ''
	no 'herd7 without a result fails' litmus_verdict
	litmus_case Never 'Observation a Never 0 3' 'exec sleep 20'
	no 'herd7 that takes too long fails' litmus_verdict
	rm "$tmp/litmus/herd7"
	no 'no herd7 fails' litmus_verdict
}

# The litmus tests, their table, and the functions that they stand for
test_litmus_table() {
	local dir=Documentation/litmus-tests/zsmalloc file
	for file in "$dir"/*.litmus; do
		echo "${file##*/} $(litmus_expected "$file")"
		[[ $(head -n 1 "$file") == "C $(basename "$file" .litmus)" ]] ||
			echo "$file has another name inside"
	done | sort > "$tmp/tests"
	grep -E '^[^ ]+\.litmus ' "$dir/README" | tr -s ' ' | sort > "$tmp/table"
	yes 'there are litmus tests' test -s "$tmp/tests"
	yes 'their README has each with its result, and no other' \
		cmp "$tmp/tests" "$tmp/table"
	grep -h -o -E '\b(zs|zspage|class|stub)_[a-z_]+\(\)' "$dir"/* | sort -u > "$tmp/named"
	sed -n -E 's/^[a-z].*[ *]((zs|zspage|class|stub)_[a-z_]+)\(.*/\1()/p' \
		mm/zsmalloc.[ch] | sort -u > "$tmp/functions"
	yes 'every function that a litmus test names exists' \
		diff /dev/null <(comm -23 "$tmp/named" "$tmp/functions")
	grep -h -o -E '[a-z][a-z+-]*\.litmus' mm/zsmalloc.[ch] "$dir"/* | sort -u > "$tmp/named"
	yes 'every litmus test that is named exists' \
		diff /dev/null <(comm -23 "$tmp/named" <(cut -d ' ' -f 1 "$tmp/tests" | sort))
}

# ended STATUS LINE COMMAND...: COMMAND ends with that status and last line
ended() {
	local status=0 want=$1 line=$2
	shift 2
	("$@") > "$tmp/said" 2>&1 || status=$?
	cat "$tmp/said"
	((status == want)) && [[ $(tail -n 1 "$tmp/said") == "$line" ]]
}

# After problems TEXT..., the end of a command that may have a text for failures
epilogue() {
	problems=("$@")
	finish job 'all is well' "${if_failed:-}"
}

with_standin_linux() { # with_standin_linux COMMAND: a kernel that does that
	printf '#!/bin/sh\n%s\n' "$1" > "$tmp/linux"
	chmod +x "$tmp/linux"
	GUEST_CPUS=3 uml "$tmp/linux" 1G 1 "$tmp/console" panic=-1
}

guest_problems() { # guest_problems STATUS: with the console of a healthy guest
	problems=()
	echo "$healthy" > "$tmp/log"
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
	local if_failed
	yes 'a command without problems ends well' ended 0 'job: OK, all is well' epilogue
	yes 'one with problems does not' ended 1 'job: FAILED, 2 problems' epilogue one two
	if_failed='1 of 9' yes 'it may say how many' ended 1 'job: FAILED, 1 of 9' epilogue one
	yes 'it names each problem' grep -q '^problem: one$' "$tmp/said"
	echo 'guest: of an earlier guest' > "$tmp/grows"
	yes 'a file is followed, with the status of the command' \
		ended 7 ' two' follow "$tmp/grows" 's/^guest://p' write_slowly
	ok 'from its first line, and only what the script prints' \
		"$(printf ' one\n two\n' | cmp -s - "$tmp/said"; echo $?)"
	# shellcheck disable=SC2016 # expanded by the stand-in
	yes 'user-mode Linux gets its arguments' with_standin_linux 'echo "$@"'
	yes 'which are these' grep -q -x 'mem=1G seccomp=on ncpus=3 panic=-1' "$tmp/console"
	yes 'its status is returned' ended 9 '' with_standin_linux 'exit 9'
	yes 'it is stopped' ended 124 '' with_standin_linux 'exec sleep 9'
	yes 'a healthy guest has no problem' ended 0 '' guest_problems 0
	yes 'one that was stopped has one' ended 0 'a guest took too long' guest_problems 124
	yes 'and one with a status' ended 0 'a guest ended with status 3' guest_problems 3
}

test_bench() {
	local table=$HARNESS/bench/keys.tsv
	bench() {
		printf 'x86 ours a.b %s\nx86 base a.b %s\n' 3 4 1 8 2 6 > "$tmp/values"
		awk -f "$HARNESS/bench/summary.awk" "$tmp/keys" "$tmp/values" > "$tmp/bench.csv"
		cat "$tmp/bench.csv"
		[[ $(tail -n +2 "$tmp/bench.csv") == 'x86,a.b,a and b,-,6,4,8,2,1,3,0.333' ]]
	}
	# shellcheck disable=SC2016 # awk's fields
	yes 'the figures of bench are a table' awk -F '\t' '
		/^#/ { next }
		NF != 3 || $1 !~ /^[a-z0-9_.]+$/ || $2 !~ /^[-+=]$/ || $1 in seen { print; bad = 1 }
		{ seen[$1] = 1 }
		END { exit bad || length(seen) < 100 }' "$table"
	printf '# a comment\na.b\t-\ta and b,\nc\t+\tnot measured\n' > "$tmp/keys"
	yes 'of several boots bench has the median and the range' bench
}

# Every variable that the scripts take, with its default, is in README.md, and its name
# in the help; and the reverse.  "computed" stands for a default that is no constant.
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
	yes 'there are variables to set' test -s "$tmp/knobs"
	yes 'the README of the harness has each, with its default' \
		diff "$tmp/knobs" "$tmp/explained"
	awk '{ print $1 }' "$tmp/knobs" | sort -u > "$tmp/names"
	sed -n 's/^##//p; s/^[a-z]*:.* ##//p' Makefile | grep -o -E '\b[A-Z][A-Z0-9_]*=' |
		tr -d = | sort -u > "$tmp/helped"
	yes 'the help names each' diff "$tmp/names" "$tmp/helped"
	# shellcheck disable=SC2016 # as they are written
	grep -v -h "^knob \|^[[:space:]]*#" "$HARNESS"/*.sh "$LIB"/{[!h],herd}*.sh |
		grep -o -E '\$\{[A-Z][A-Z0-9_]*:?[-=+]' | tr -d '${:=+-' | sort -u > "$tmp/read"
	yes 'nothing else is taken from the environment' diff /dev/null <(
		comm -23 "$tmp/read" <(sort "$tmp/names" - <<< $'HOME\nTMPDIR\nXDG_CACHE_HOME'))

	awk -f "$LIB/help.awk" Makefile | sed -n 's/^  make \([a-z]*\) .*/\1/p' | sort > "$tmp/helped"
	for command in "$HARNESS"/*.sh clean help; do
		basename "$command" .sh
	done | sort > "$tmp/commands"
	yes 'the help has each command' diff "$tmp/commands" "$tmp/helped"
	for command in "$HARNESS"/*.sh; do
		command=$(basename "$command" .sh)
		make -n "$command" 2>&1 | grep -q "harness/$command\.sh" ||
			echo "$command"
	done > "$tmp/unmade"
	yes 'and make runs each' diff /dev/null "$tmp/unmade"
	for command in "$HARNESS"/*.sh "$LIB"/*.{sh,py,awk}; do
		grep -q "\`$(basename "$command")\`" "$HARNESS/README.md" || echo "$command"
	done > "$tmp/unnamed"
	yes 'the README of the harness names each script' diff /dev/null "$tmp/unnamed"
}

# copy_scripts DIR: to DIR/harness, for a small copy of the project
copy_scripts() {
	mkdir -p "$1/harness/lib"
	cp -p "$HARNESS"/*.sh "$1/harness/"
	cp -p "$LIB"/*.sh "$1/harness/lib/"
}

# The overlay, in a small copy of the project over a small base
overlay() { bash "$tmp/p/harness/tree.sh"; }

test_overlay() {
	local p=$tmp/p k=$tmp/k
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

	yes 'overlay is made' overlay
	yes 'project file replaces' grep -q mine "$p/build/tree/mm/a.c"
	yes 'project file is added' grep -q new "$p/build/tree/mm/n.c"
	yes 'base edit is applied' grep -q TWO "$p/build/tree/mm/b.c"
	yes 'base is untouched' grep -q one "$k/mm/a.c"
	yes 'base is untouched by edits' grep -q two "$k/mm/b.c"
	yes 'MAINTAINERS has ours' grep -q 'new' "$p/build/tree/MAINTAINERS"
	no 'MAINTAINERS lost the old' grep -q 'old' "$p/build/tree/MAINTAINERS"
	yes 'MAINTAINERS keeps the rest' grep -q 'ZZ' "$p/build/tree/MAINTAINERS"

	touch "$tmp/mark"
	yes 'overlay again' overlay
	ok 'second time touches nothing' \
		"$(find "$p/build/tree" -type f -newer "$tmp/mark" | wc -l)"

	rm "$p/mm/a.c" "$p/mm/n.c"
	yes 'overlay after removal' overlay
	yes 'base file is restored' grep -q one "$p/build/tree/mm/a.c"
	no 'removed file is gone' test -e "$p/build/tree/mm/n.c"

	sed -i 's/^-two/-other/' "$p/harness/base-edits.patch"
	no 'reject is an error' overlay
	cp "$tmp/out" "$tmp/reject"
	yes 'reject names the file' grep -q 'mm/b.c' "$tmp/reject"
	KSRC=$tmp/none
	no 'unknown KSRC is an error' overlay
	KSRC=$p
	no 'KSRC that is no kernel is an error' overlay
	unset KSRC
}

# The block of ordering pairs in the code names every pair that is tested.
test_ordering() {
	sed -n '/^ \* Memory ordering:/,/^ \*\//p' mm/zsmalloc.c |
		grep -o -E '^ \*  [a-z+, ]+' | tr ', ' '\n' | grep '[a-z]' |
		sort > "$tmp/pairs"
	# In the README only these have a text; the others are weaker versions.
	awk '/\.litmus / { name = $1 } /^    / && name { print name; name = "" }' \
		Documentation/litmus-tests/zsmalloc/README |
		sed 's/\.litmus$//' | sort > "$tmp/tests"
	yes 'there are pairs' test -s "$tmp/pairs"
	yes 'every pair has a litmus test, and the reverse' cmp "$tmp/pairs" "$tmp/tests"
}

# The table of races names tests that exist, and all tests of races.
test_matrix() {
	local doc=Documentation/mm/zsmalloc.rst suites=(mm/tests/zsmalloc*_kunit.c)
	sed -n '/^Races$/,/^Watching it$/p' "$doc" > "$tmp/matrix"
	sed -n -E 's/^\tKUNIT_CASE(_SLOW)?\((.*)\),$/\2/p' "${suites[@]}" | sort > "$tmp/cases"
	sed -n -E 's/^\tKUNIT_CASE(_SLOW)?\((.*)\),$/\2/p' \
		mm/tests/zsmalloc_race_kunit.c | sort > "$tmp/races"
	grep -o -E '\b[a-z]+(_[a-z]+){3,}\b' "$tmp/matrix" | sort -u > "$tmp/named"
	yes 'the table of races is there' test -s "$tmp/named"
	ok 'every test that the table names exists' \
		"$(comm -23 <(grep -v -x zsmalloc_race_kunit "$tmp/named") "$tmp/cases" | wc -l)"
	ok 'every test of a race is in the table' \
		"$(comm -13 "$tmp/named" "$tmp/races" | wc -l)"
}

# Every point of the list is somewhere in the allocator.  One that is not in the
# list does not compile.
test_points() {
	grep -h -o -E 'zs_race\("[a-z_]+"\)' mm/zsmalloc.c | cut -d '"' -f 2 |
		sort -u > "$tmp/points"
	sed -n 's/^\tZS_POINT(\([a-z_]*\), .*/\1/p' mm/zsmalloc.h | sort > "$tmp/known"
	yes 'there are race points' test -s "$tmp/points"
	yes 'the list of race points is that of the code' cmp "$tmp/points" "$tmp/known"
}

# kcsan_report READER BELOW: a report of KCSAN's, as the console has it
kcsan_report() {
	local bar='=================================================================='
	printf '[   41.1] %s\n' "$bar" "BUG: KCSAN: data-race in writer / $1" '' \
		'write to 0xffff888000000cb8 of 8 bytes by interrupt on cpu 0:' \
		' writer+0x29/0x50' ' asm_sysvec_apic_timer_interrupt+0x16/0x20' \
		' zs_malloc+0x43f/0x580' '' \
		'read to 0xffff888000000cb8 of 8 bytes by task 70 on cpu 0:' \
		" $1+0x101/0x150" " $2+0x331/0x3a0" '' "$bar"
}

# races_left WANT-LEFT WANT-OTHERS: of $tmp/log
races_left() {
	without_others_races "$tmp/log" "$tmp/others" $'zs_malloc\nzs_free' \
		> "$tmp/ours"
	[[ $(grep -c 'BUG: KCSAN' "$tmp/ours") == "$1" && $(< "$tmp/others") == "$2" ]] &&
		[[ $(grep -c healthy "$tmp/ours") == 2 ]]
}

test_races() {
	log_of() { echo healthy; "$@"; echo healthy; }
	log_of kcsan_report zs_free.isra.0 user > "$tmp/log"
	yes "our own race is kept" races_left 1 0
	log_of kcsan_report memcpy zs_free > "$tmp/log"
	yes "a race in what we call is kept" races_left 1 0
	log_of kcsan_report reader user > "$tmp/log"
	yes "others' race that interrupts us is not" races_left 0 1
	log_of kcsan_report usleep_range_state zs_free > "$tmp/log"
	yes "nor that of a thread asleep at a race point" races_left 0 1
	{ log_of true; kcsan_report reader user | head -n 4; } > "$tmp/log"
	yes "a report that was cut off is kept" races_left 1 0
}

# A QEMU that fails, in a small copy of the project.  $tmp/standin says how:
#   msr    aborts with KVM, as where a virtual machine's host lacks an MSR
#   model  the same, with -cpu host only
#   hang   with KVM the guest hangs before its first word
#   dead   it always fails
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

# in_standin COMMAND...: in that copy, with what is set up for its guests
in_standin() {
	# shellcheck disable=SC2016 # for that shell
	PATH=$tmp/bin:$PATH bash -c '. "$0/harness/lib/common.sh"; . "$LIB/guest.sh"
		machine() { echo "${MACHINE:-this one}"; }
		kernel=$BUILD/x86/vmlinux
		eval "$1"' "$tmp/q" "$*"
}

# chosen STAND-IN WHAT CALLS: what choose_cpu says, after so many trials
chosen() {
	echo "$1" > "$tmp/standin"
	: > "$tmp/calls"
	# shellcheck disable=SC2016 # for that shell
	in_standin 'choose_cpu "$kernel"; echo "chosen: ${QEMU_CPU[*]}"' 2>&1 | tee "$tmp/said"
	grep -q "chosen: -accel $2" "$tmp/said" &&
		[[ $(wc -l < "$tmp/calls") == "$3" ]]
}

# ends STAND-IN REASON CALLS COMMAND...: one error at once, and nothing after it
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
	yes 'the answer depends on the boot' \
		grep -q -f /proc/sys/kernel/random/boot_id "$tmp/machine"
	yes 'and on QEMU' grep -q 'QEMU emulator version 0' "$tmp/machine"
	yes 'KVM that aborts is not used' chosen msr "$tcg" 3
	yes 'what QEMU said is said' grep -q 'KVM.*: -cpu host: failed to set MSR' "$tmp/said"
	yes 'and not tried again' chosen msr "$tcg" 0
	yes 'which is said' grep -q 'without KVM' "$tmp/said"
	MACHINE=other yes 'but on another machine' chosen msr "$tcg" 3
	yes 'and back on this one' chosen msr "$tcg" 3
	echo 'other' > "$tmp/q/build/x86/vmlinux"
	yes 'and with another kernel' chosen msr "$tcg" 3
	# shellcheck disable=SC2016 # for in_standin's shell
	ACCEL=kvm no 'ACCEL=kvm is an error then' in_standin 'choose_cpu "$kernel"'
	cp "$tmp/out" "$tmp/said"
	yes 'that says why' grep -q 'error: ACCEL=kvm.*failed to set MSR' "$tmp/said"
	ACCEL=kvm yes 'ACCEL=kvm tries again' chosen model 'kvm -cpu host,arch' 2
	yes 'and that is kept' chosen model 'kvm -cpu host,arch' 0
	ACCEL=tcg yes 'ACCEL=tcg does not try' chosen model "$tcg" 0
	ACCEL=xen no 'another ACCEL is an error' chosen model "$tcg" 0
	yes 'that says what there is' grep -q "error: ACCEL: kvm or tcg, not 'xen'" "$tmp/said"
	echo dead > "$tmp/standin"
	no 'a guest that KVM does not start any more is an error' in_standin "$boot"
	yes 'KVM is tried again then' chosen msr "$tcg" 3
	yes 'a guest works without KVM' in_standin "$boot"
	yes 'it ran to its end' grep -q 'ZS-GUEST-END 0' "$tmp/q/build/log"
	rm -f "$tmp/q/build/x86/vmlinux.kvm"
	yes 'a guest that hangs with KVM is not tried thrice' chosen hang "$tcg" 1

	yes 'run: QEMU that fails' ends dead 'no such machine' 4 "$h/run.sh"
	export ACCEL=tcg
	yes 'run: guest that hangs' ends mute 'wrote nothing in 1 seconds' 1 "$h/run.sh"
	yes 'kunit: QEMU that fails' ends dead 'no such machine' 1 "$h/lib/kunit.sh" x86
	yes 'soak: QEMU that fails' ends dead 'no such machine' 1 "$h/soak.sh" 1
	TORTURE_CONFIGS=debug yes 'torture: QEMU that fails' \
		ends dead 'no such machine' 1 "$h/torture.sh" 1
	unset ACCEL
}

step "Self-test of the harness (a few seconds)"
test_matrix
test_ordering
test_points
yes 'every mutant applies, see mutants.sh check' "$HARNESS/mutants.sh" check
test_splats
test_litmus
test_litmus_table
test_races
test_common
test_bench
test_knobs
test_config
test_overlay
test_qemu
echo "$passed $failed" > "$BUILD/harness_test.count"
info "self-test: $passed passed, $failed failed"
((!failed))
