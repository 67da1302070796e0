#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make model: the models of the protocol in harness/models/, with spin.
#   model.sh [PATTERN]   only rows that match
#   MODEL_TIMEOUT        seconds that a search may take (default 300)
# Rows of kind "all" search all states: no assertion may fail, and no task may be
# stuck.  "waits" rows search for a cycle in which a task retries forever.  "bug" rows
# have a bug, or lack something that the protocol relies on; the search must find the
# text given ("cycle": the search is that of "waits").
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

DIR=$BUILD/models
MEMORY=6000	# MB, for each search
knob MODEL_TIMEOUT 300

# kind; model; flags; text that shows that the bug was found
ROWS="
all;   write;   MOVERS=3
waits; write;
bug;   write;   START_ODD;                        word
bug;   write;   NO_SECOND_LOOK;                   word
bug;   write;   REPEAT_ONCE;                      word
bug;   write;   NO_MOVES;                         word
all;   pin;     READS=2 MOVES=3
all;   pin;     READERS=3 OBJECTS=2 MOVES=3 FREEZES=1
all;   pin;     READERS=3 OBJECTS=1 READS=2 LATE_MAX=1
waits; pin;     READERS=3 OBJECTS=2 FREEZES=1
waits; pin;     RELAY=2 MEMORY=1 MOVES=4
waits; pin;     RELAY=2 FAILS=2 MOVES=4
bug;   pin;     RELAY=2 MEMORY=0;                 cycle
bug;   pin;     RELAY=1 MEMORY=1;                 cycle
bug;   pin;     RELAY=2 MEMORY=1 ALL_EARLY;       cycle
bug;   pin;     LOOK_FIRST;                       freed
bug;   pin;     NO_ROUND;                         freed
bug;   pin;     FREE_LATER;                       freed
bug;   pin;     NO_PARITY;                        !(early)
bug;   pin;     LATE_UNCOUNTED;                   early>=0
bug;   pin;     KEEP_LATE;                        !(early)
bug;   pin;     ONE_ROUND;                        !(stale)
bug;   pin;     PLAIN_STORE;                      count>=0
bug;   pin;     ONE_LOOK;                         !(early)
bug;   pin;     STALE_LOOK;                       early>=0
bug;   pin;     FREEZE_COUNT FREEZES=1;           slow
bug;   pin;     THAW_KEEPS FREEZES=1;             !(count)
all;   zspage;  CORES=1
all;   zspage;  COMPACTS=0
all;   zspage;  USERS=1
all;   zspage;  USERS=1 COMPACTS=0 AGAIN=1
all;   zspage;  USERS=1 CORES=1 COMPACTS=2 READS=2
all;   zspage;  USERS=1 CORES=1 VISITORS=1
all;   zspage;  USERS=1 COMPACTS=0 VISITORS=1
all;   zspage;  PAGES=3 CORES=3 ALL_MOVE USERS=1 COMPACTS=0
waits; zspage;  CORES=1
bug;   zspage;  LOOK_FIRST COMPACTS=0;            refs
bug;   zspage;  NO_ROUND CORES=1;                 refs
bug;   zspage;  FREEZE_COUNT CORES=1;             slow
bug;   zspage;  THAW_FORWARDER CORES=1;                refs
bug;   zspage;  VAIN_NO_RCU USERS=1 CORES=1 COMPACTS=0 VISITORS=1; freed
bug;   zspage;  FREE_STALE USERS=1 CORES=1 COMPACTS=0 VISITORS=1; refs
bug;   zspage;  NO_STALE_BOUND USERS=1 ROUNDS=2 COMPACTS=0; <=2
bug;   zspage;  FREE_ISOLATED COMPACTS=0 CORES=1; listed
bug;   zspage;  FREE_UNLOCKED COMPACTS=0 USERS=1 CORES=1; freed
bug;   zspage;  ISOLATE_DEAD USERS=1 COMPACTS=0;  listed
bug;   zspage;  FORGET_EMPTY USERS=1 COMPACTS=0;  pool_freed
bug;   zspage;  COMPACT_ISOLATED CORES=1;         owned
bug;   zspage;  COMPACT_UNLOCKED CORES=1;         freed
bug;   zspage;  STAY_FROZEN CORES=1;              cycle
bug;   zspage;  NO_POOL_REF USERS=1 COMPACTS=0;   pool_freed
all;   compact;
all;   compact; OWNERS=7 PAIR EVACUATIONS=1
all;   compact; OWNERS=3 CORE=1 EVACUATIONS=1
all;   compact; OWNERS=1 COMPACTORS=2
all;   compact; OTHER
all;   compact; OTHER OWNERS=1 CORE=1
all;   compact; TRIM OWNERS=1
all;   compact; TRIM OTHER OWNERS=1
all;   compact; TRIM EVACUATIONS=1
waits; compact; EVACUATIONS=1
waits; compact; TRIM EVACUATIONS=1
bug;   compact; THAW_FORWARDER;                        has_page
bug;   compact; NO_LINK_CHECK;                    has_page
bug;   compact; NO_LINK_CHECK OTHER OWNERS=1;     has_page
bug;   compact; SAME_HOST EVACUATIONS=1;          freed
bug;   compact; PIN_NO_RCU EVACUATIONS=1;         freed
bug;   compact; VAIN_NO_RCU;                      freed
bug;   compact; UNPIN_TOUCHES;                    freed
bug;   compact; FREEZE_COUNT OTHER OWNERS=1 CORE=1 EVACUATIONS=1; freed
bug;   compact; NO_RETURN OTHER OWNERS=1;         was_returned
bug;   compact; TRIM TRIM_UNSEEN OTHER OWNERS=1;  has_page
bug;   compact; TRIM TRIM_READ_ONCE EVACUATIONS=1; again
bug;   compact; TRIM TRIM_FREES EVACUATIONS=1;    former_freed
bug;   compact; TRIM TRIM_END_NO_RCU EVACUATIONS=1; former_freed
bug;   compact; NO_WAS_HOST;                      freed
bug;   compact; WAS_HOST_LATE;                    freed
bug;   compact; MOVE_PINNED;                      count
bug;   compact; MOVE_ISOLATED CORE=1;             owned
bug;   compact; MOVE_UNLOCKED CORE=1 EVACUATIONS=1; locked
bug;   compact; FORWARDER_FIRST;                       h!=7
bug;   compact; LINK_FIRST;                       has_page
bug;   compact; FREE_ISOLATED CORE=1 EVACUATIONS=0; listed
bug;   compact; FREE_UNLOCKED CORE=1 EVACUATIONS=0; locked
bug;   compact; KEEP_GUEST;                       guests
bug;   compact; NO_UNDO OWNERS=7 PAIR EVACUATIONS=1; .
bug;   compact; LATE_PAGES;                       freed
"

# search MODEL WANT FLAGS...: writes the report of pan to the file out
search() {
	local model=$1 want=$2 mode=-DSAFETY look=() flags=()
	shift 2
	flags=("${@/#/-D}")
	if [[ $want == cycle ]]; then
		mode=-DNP
		look=(-l)
	fi
	spin -a "${flags[@]}" "$HARNESS/models/$model.pml" > spin.log 2>&1 ||
		{ cat spin.log >&2; return 1; }
	gcc -O1 -w "$mode" -DCOLLAPSE -DVECTORSZ=2048 "-DMEMLIM=$MEMORY" \
		-o pan pan.c || return 1
	# Its status is 0 even if it has found a bug.
	timeout "$MODEL_TIMEOUT" ./pan "${look[@]}" -m2000000 -w24 > out 2>&1
}

# The report says that every state was seen, without an error.
complete() {
	grep -q 'errors: 0$' out && grep -q 'states, stored' out &&
		! grep -q -E 'Search not completed|max search depth|memory limit|out of memory|hash-compact|bitstate' out
}

found() { # the first error in the report
	sed -n 's/^pan:1: \(assertion violated \)\?\(.*\) (at depth .*/\2/p' out
}

row() { # row KIND MODEL FLAGS EXPECTED; sets result
	local kind=$1 model=$2 expected=$4 want=safety flags
	read -ra flags <<< "$3"
	[[ $kind != waits && $expected != cycle ]] || want=cycle
	rm -f out
	if ! search "$model" "$want" "${flags[@]}"; then
		result='FAILED: the search did not end'
	elif [[ $kind != bug ]]; then
		result='ok, all states'
		complete || result="FAILED: $(found | grep . || echo incomplete)"
	elif found | grep -q -e "$expected"; then
		result="ok, found: $(found)"
	else
		result="FAILED: not found as '$expected' but: $(found)"
	fi
}

main() {
	local pattern=${1:-.} rows=0 start=$SECONDS from kind model flags expected states depth
	build_lock
	rm -rf "$DIR"
	mkdir -p "$DIR" "$LOGS"
	"$LIB/deps.sh" model
	cd "$DIR"
	step "Models of the protocol, every state (about 4 minutes)"
	printf '%-6s %-8s %-50s %9s %6s %4s  %s\n' kind model flags states depth s result
	while IFS=';' read -r kind model flags expected; do
		[[ -n $kind && "$kind;$model;$flags" =~ $pattern ]] || continue
		model=${model// /}
		flags=$(xargs <<< "$flags")
		from=$SECONDS
		row "$kind" "$model" "$flags" "${expected// /}"
		[[ $result == ok* ]] || problem "$kind $model $flags: $result"
		rows=$((rows + 1))
		read -r states < <(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out 2> /dev/null) || states=-
		read -r depth < <(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' out 2> /dev/null) || depth=-
		printf '%-6s %-8s %-50s %9s %6s %4s  %s\n' "$kind" "$model" "$flags" \
			"$states" "$depth" $((SECONDS - from)) "$result"
	done <<< "$ROWS"
	info "took $(elapsed $((SECONDS - start)))"
	((rows)) || die "no model matches '$pattern'"
	finish model "$rows rows: every state seen, every bug found" \
		"${#problems[@]} of $rows rows"
}

main "$@"
