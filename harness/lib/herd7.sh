# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Runs litmus tests with herd7 and judges their results.  Only sourced.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/sid.sh"

LITMUS_TESTS=$TOP/Documentation/litmus-tests/zsmalloc
knob LITMUS_TIMEOUT 120	# seconds, for each test

# The result that TEST states, or nothing: litmus_expected TEST
litmus_expected() {
	sed -n -E 's/^[( ]\* Result: +((Never|Sometimes|Always)( DATARACE)?) *$/\1/p' "$1"
}

# litmus_judge TEST OUTPUT STATUS: prints the result of herd7, or the error
litmus_judge() {
	local test=$1 output=$2 status=$3 name=${1##*/} expected found states
	name=${name%.litmus}
	expected=$(litmus_expected "$test")
	if ((status == 124)); then
		echo "herd7 took more than $LITMUS_TIMEOUT seconds"
		return 1
	elif ((status)); then
		echo "herd7 failed with status $status: $(tail -n 1 "$output")"
		return 1
	elif [[ $(wc -l <<< "$expected") != 1 || -z $expected ]]; then
		echo 'its comment has not one line "Result: Never", "Sometimes" or "Always"'
		return 1
	fi
	read -r found states < <(awk -v name="$name" '
		$1 == "Observation" && $2 == name { print $3, $4 + $5 }' "$output") || true
	if [[ -z $found ]]; then
		echo "herd7 has no result for $name: $(tail -n 1 "$output")"
		return 1
	elif [[ $states == 0 ]]; then
		echo 'no execution is possible, so this tests nothing'
		return 1
	fi
	! grep -q '^Flag data-race$' "$output" || found+=' DATARACE'
	if grep '^Flag' "$output" | grep -q -v -x 'Flag data-race'; then
		echo "herd7 warns: $(grep '^Flag' "$output" | xargs)"
		return 1
	elif [[ $found != "$expected" ]]; then
		echo "$found instead of $expected"
		return 1
	fi
	echo "$found"
}

# Copies the model and the tests to DIR, with a list: litmus_prepare DIR MODEL PATTERN
litmus_prepare() {
	local dir=$1 model=$2 pattern=$3 test
	rm -rf "$dir"
	mkdir -p "$dir/tests" "$dir/out"
	cp "$model"/linux-kernel.* "$model/lock.cat" "$dir/" ||
		die "no memory model in $model"
	for test in "$LITMUS_TESTS"/*.litmus; do
		[[ -f $test && ${test##*/} =~ $pattern ]] || continue
		cp "$test" "$dir/tests/"
		test=${test##*/}
		echo "${test%.litmus}"
	done | LC_ALL=C sort > "$dir/list"
	[[ -s $dir/list ]] || die "no litmus test matches '$pattern' in ${LITMUS_TESTS#"$TOP"/}"
}

# Runs all tests of DIR, with in_there, and prints the name of each that is done.
litmus_herd() { # litmus_herd DIR HERD7
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_there "$1" xargs -a list -P "$JOBS" -n 1 sh -c '
		timeout --foreground -k 5 "$1" $2 -conf linux-kernel.cfg "tests/$3.litmus" \
			> "out/$3" 2>&1
		echo $? > "out/$3.status"
		echo "$3"' sh "$LITMUS_TIMEOUT" "$2"
}

# herd7 runs in the root of Debian sid; here() is for HERD7=command.
here() { (cd "$1" && "${@:2}"); }
in_there() { sid_run "$@"; }

# Runs all tests of DIR and prints a line each; fails if one does.
litmus_all() { # litmus_all DIR HERD7
	local dir=$1 name result
	: > "$dir/results"
	litmus_herd "$dir" "$2" | while read -r name; do
		if result=$(litmus_judge "$dir/tests/$name.litmus" "$dir/out/$name" \
			"$(< "$dir/out/$name.status")"); then
			result="ok, $result"
		else
			result="FAILED: $result"
		fi
		printf '%-42s %6s s  %s\n' "$name" "$(awk '
			$1 == "Time" { seconds = $NF }
			END { print seconds == "" ? "-" : seconds }' "$dir/out/$name")" \
			"$result" | tee -a "$dir/results"
	done || return 1
	# One without a line was not run.
	[[ $(wc -l < "$dir/results") == $(wc -l < "$dir/list") ]] &&
		! grep -q ' FAILED: ' "$dir/results"
}
