#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make mutate: for every line of mm/zsmalloc.c and .h, does a test fail without it?
# lib/mutate.py puts some 1,500 small mutations (a statement dropped, a condition
# always true, + for -, ...) into one kernel; its command line has the number of the
# one to use.  Therefore a mutation costs a run of the suites, but no build.
#   mutate.sh                all that have no result yet, about 4 s each
#   mutate.sh list           only lists the mutations, and those left out
#   SAMPLE=n SEED=s          n of them at random, the same ones for the same seed
#   LINES_OF=a-b             only those in these lines of zsmalloc.c, or
#                            zsmalloc.h:a-b
#   FUNCTIONS='glob ...'     only those in these functions
#   OPS='drop ...'           only these operators; "order" (a plain access instead of
#                            READ_ONCE() and the like) is only used if it is named,
#                            because x86 does not show it, see the litmus tests
#   AT_ONCE=n                mutations at the same time (default 2)
# Results are kept in build/mutate/ as long as the sources and the tests stay the same,
# so that a run can be stopped and continued.  mutants/equivalent lists mutations that
# no test could notice, with the reasons.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/suites.sh"

knob SAMPLE 0
knob SEED $((EPOCHSECONDS % 100000))
knob LINES_OF
knob FUNCTIONS
knob OPS

WORK=$BUILD/mutate
EQUIVALENT=$HARNESS/mutants/equivalent
# A variable whose assignment is dropped has the same bad value each time.
FLAGS='-ftrivial-auto-var-init=pattern'

generate() { # generate [NUMBERS-TO-LEAVE-OUT]: to WORK/new
	rm -rf "$WORK/new"
	python3 "$LIB/mutate.py" "$BUILD/tree" "$WORK/new" "$WORK/uml/.config" "$@"
}

install_new() {
	local path
	for path in "$WORK"/new/mm/*; do
		# As new files, because hard links must not be written to
		rm -f "$WORK/tree/mm/${path##*/}"
		cp "$path" "$WORK/tree/mm/"
	done
}

# The numbers of the mutations in the lines that the compiler rejects
refused() {
	# An error in a header is about where its macro is expanded.
	sed -n -E '
		s|^.*/?(mm/zsmalloc\.[ch]):([0-9]+):[0-9]+: error: .*|\1 \2|p
		/\.h:[0-9:]+ error: /,/mm\/zsmalloc\.[ch]:.*: note: in expansion/ {
			s|^.*/?(mm/zsmalloc\.[ch]):([0-9]+):[0-9]+: note: in expansion .*|\1 \2|p
		}' "$WORK/logs/build.log" | sort -u |
		while read -r file line; do
			awk -F '\t' -v file="$file" -v line="$line" '
			$2 == file && $3 <= line && $3 >= best {
				if ($3 > best)
					text = ""
				best = $3
				text = text $1 "\n"
			}
			END { printf "%s", text }' "$WORK/new/list"
		done | sort -n -u
}

# Mutations that do not compile are left out, in a few rounds.
compile_all() {
	local rounds=6
	: > "$WORK/left_out"
	while ((rounds--)); do
		generate "$WORK/left_out" > "$WORK/generated"
		install_new
		if compile "$WORK" "$FLAGS"; then
			mv "$WORK/uml/mutant" "$WORK/mutants"
			compile "$WORK" "$FLAGS -DZS_REACHED" ||
				die "compiling failed, see build/mutate/logs/build.log"
			mv "$WORK/uml/mutant" "$WORK/reacher"
			return
		fi
		refused > "$WORK/refused"
		[[ -s $WORK/refused ]] || break
		sort -n -u "$WORK/left_out" "$WORK/refused" > "$WORK/left_out.new"
		mv "$WORK/left_out.new" "$WORK/left_out"
	done
	die "compiling failed, see build/mutate/logs/build.log"
}

# equivalent LIST: the numbers of the mutations listed as equivalent, and the reasons.
# An entry without a reason is an error, one without a mutation a warning.
equivalent() {
	[[ -f $EQUIVALENT ]] || return 0
	awk -F '\t' '
	FILENAME == ARGV[1] && /^#/ { next }
	FILENAME == ARGV[1] && /^\t/ { reason[last] = reason[last] " " $2; next }
	FILENAME == ARGV[1] && NF { last = $0; reason[last] = "" }
	FILENAME == ARGV[1] { next }
	{
		name = $4 ": " $6
		if (name in reason) {
			seen[name] = 1
			print $1 "\t" reason[name]
		}
	}
	END {
		for (name in reason) {
			if (!(name in seen))
				print "warning: no such mutation any more, remove it from mutants/equivalent: " name > "/dev/stderr"
			if (reason[name] == "") {
				print "error: no reason in mutants/equivalent: " name > "/dev/stderr"
				bad = 1
			}
		}
		exit bad
	}' "$EQUIVALENT" "$1"
}

# The numbers of the selected mutations
selected() {
	local range=$LINES_OF file=mm/zsmalloc.c ops
	read -ra ops <<< "$OPS"
	if [[ $range == *:* ]]; then
		file=mm/${range%%:*}
		range=${range#*:}
	fi
	awk -F '\t' -v range="$range" -v file="$file" -v ops=" ${ops[*]} " \
		-v functions="$FUNCTIONS" '
	function glob(name,	n, i, globs, re) {
		n = split(functions, globs, " ")
		for (i = 1; i <= n; i++) {
			re = globs[i]
			gsub(/\*/, ".*", re)
			if (name ~ "^" re "$")
				return 1
		}
		return !n
	}
	BEGIN { split(range, ends, "-") }
	range != "" && ($2 != file || $3 < ends[1] + 0 || $3 > (ends[2] ? ends[2] : ends[1]) + 0) { next }
	ops == "  " ? $5 == "order" : !index(ops, " " $5 " ") { next }
	glob($4) { print $1 }' "$WORK/new/list" |
		awk -v sample="$SAMPLE" -v seed="$SEED" '
		BEGIN { srand(seed) }
		{ printf "%s\t%s\n", sample ? rand() : 0, $0 }' |
		sort -t $'\t' -k 1,1g -k 2,2n | cut -f 2 |
		if ((SAMPLE)); then head -n "$SAMPLE"; else cat; fi
}

describe() { # describe NUMBER: file:line, function, text
	awk -F '\t' -v n="$1" '$1 == n { print $2 ":" $3 ": " $4 ": " $6 }' "$WORK/new/list"
}

# one SLOT NUMBER: tests a mutation, in a process of its own
one() {
	local n=$2 log=$WORK/console.$1 what verdict=SURVIVED ran left
	# Not in a subshell, which could not end the kernel
	suites_pass "$WORK/mutants" "$log" "zs_mutant=$n" > "$log.what" || verdict=caught
	what=$(< "$log.what")
	if ! grep -a -q "zs_mutant is $n of" "$log"; then
		verdict=ERROR
		what="the number did not arrive: $what"
	fi
	[[ $verdict != ERROR ]] || cp "$log" "$WORK/console.error"
	printf '%s\t%s\t%s\n' "$n" "$verdict" "$what" >> "$RESULTS"
	ran=$(($(wc -l < "$RESULTS") - KNOWN))
	left=$(((TODO - ran) * (SECONDS - BEGAN) / ran))
	printf '    %4d of %d, %s left  %-8s %s\n' "$ran" "$TODO" \
		"$(elapsed "$left")" "$verdict" "$(describe "$n" | cut -c 1-100)"
	[[ $verdict != caught ]] || printf '%32s by %s\n' '' "$what"
}

report() { # on the selected mutations
	local caught survived unreached errors text
	awk -F '\t' 'NR == FNR { asked[$1] = 1; next } $1 in asked' \
		"$WORK/asked" "$RESULTS" > "$WORK/results.asked"
	caught=$(grep -c -P '\tcaught\t' "$WORK/results.asked" || true)
	survived=$(grep -c -P '\tSURVIVED\t' "$WORK/results.asked" || true)
	unreached=$(grep -c -P '\tUNREACHED\t' "$WORK/results.asked" || true)
	errors=$(grep -c -P '\tERROR\t' "$WORK/results.asked" || true)
	{ grep -P '\t(SURVIVED|UNREACHED|ERROR)\t' "$WORK/results.asked" || true; } | sort -n |
		while IFS=$'\t' read -r n verdict _; do
			echo "$verdict $(describe "$n")"
		done > "$WORK/survivors"
	step "Not noticed (also in build/mutate/survivors)"
	sed 's/^/    /' "$WORK/survivors"
	info "seed $SEED; left out: $(wc -l < "$WORK/left_out") that do not compile, $(wc -l < "$WORK/equivalent") listed as equivalent"
	text="$(wc -l < "$WORK/results.asked") mutations, $caught caught, $survived survived, $unreached in code that no test runs"
	((!errors)) || text+=", $errors in error"
	verdict "$text"
	((caught && !survived && !unreached && !errors))
}

# reach GLOB [ARGS...]: adds the mutations that these suites reach to WORK/reached
reach() {
	local log=$WORK/console.none glob=$1
	shift
	run_suites "$WORK/reacher" "$log" "$glob" "$TIMEOUT" "$@" > "$WORK/what" ||
		die "the tests fail without any mutation: $(cat "$WORK/what")"
	sed -n -E "s/^${STAMP}zs_reached ([0-9]+)\r?$/\2/p" "$log" >> "$WORK/reached"
}

main() {
	local began
	[[ $# == 0 || $* == list ]] || die "usage: mutate.sh [list]"
	mkdir -p "$WORK/logs" "$WORK/results"
	"$LIB/deps.sh" tree build
	"$HARNESS/tree.sh"
	kernel_env
	build_lock
	need_space "$BUILD" 1500 "the mutants' kernel"
	step "Making a tree of its own (20 seconds)"
	link_tree "$BUILD/tree" "$WORK/tree"
	step "Building user-mode Linux (first time about 9 minutes)"
	build_first "$WORK"
	RESULTS=$WORK/results/$(suites_id)-$(sha256sum < "$LIB/mutate.py" | cut -c 1-16)
	touch "$RESULTS"
	step "Building it with all mutations"
	compile_all
	info "$(cat "$WORK/generated"), see build/mutate/new/unmutated"
	info "$(wc -l < "$WORK/left_out") do not compile and are left out"
	equivalent "$WORK/new/list" > "$WORK/equivalent" ||
		die "update harness/mutants/equivalent"
	selected | grep -v -x -F -f <(cut -f 1 "$WORK/equivalent"; cat "$WORK/left_out"; echo none) \
		> "$WORK/asked" || die "no mutation is left to run"
	if [[ ${1:-} == list ]]; then
		while read -r n; do
			echo "$n $(describe "$n")"
		done < "$WORK/asked"
		return
	fi

	step "Testing without a mutation"
	trap end_all EXIT
	began=$SECONDS
	suites_pass "$WORK/mutants" "$WORK/console.none" zs_mutant=0 > "$WORK/what" ||
		die "the tests fail without any mutation: $(cat "$WORK/what")"
	TIMEOUT=$((60 + 3 * (SECONDS - began)))
	: > "$WORK/reached"
	reach 'zsmalloc*' 'kunit.filter="speed>slow"'
	reach 'zsmalloc.users_*'
	[[ -s $WORK/reached ]] || die "no line is reached by any test"
	sort -n -u -o "$WORK/reached" "$WORK/reached"
	# A mutation in code that no test runs is not tested.
	cut -f 1 "$RESULTS" > "$WORK/known"
	grep -v -x -F -f "$WORK/known" "$WORK/asked" | grep -v -x -F -f "$WORK/reached" |
		while read -r n; do
			printf '%s\tUNREACHED\t\n' "$n"
		done >> "$RESULTS" || true
	cut -f 1 "$RESULTS" > "$WORK/known"
	grep -v -x -F -f "$WORK/known" "$WORK/asked" > "$WORK/todo" || true
	KNOWN=$(wc -l < "$RESULTS")
	TODO=$(wc -l < "$WORK/todo")
	step "$TODO mutations, $AT_ONCE at a time; $(($(wc -l < "$WORK/asked") - TODO)) are known"
	BEGAN=$SECONDS
	in_parallel "$AT_ONCE" one < "$WORK/todo"
	report
}

main "$@"
