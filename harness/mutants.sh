#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make mutants: do the tests notice?  Each patch of harness/mutants/ brings one
# bug back, into a copy of build/tree; the KUnit suites have to fail on it.
#   mutants.sh           all of them, about 12 s each
#   mutants.sh check     only that every patch applies, a second
#   MUTANTS='glob ...'   only these, by name
# First of all the suites have to pass without a mutant.  A patch begins with
# what it breaks; "Upstream" says that zsmalloc once had that very bug.
. "$(dirname "${BASH_SOURCE[0]}")/kernel.sh"
. "$HARNESS/splat.sh"

MUTANT_DIR=$HARNESS/mutants
WORK=$BUILD/mutants
TIMEOUT=600	# seconds; less once it is known how long it takes without a mutant
FILES=(mm/zsmalloc.c mm/zsmalloc.h)

mutants() { # the names asked for
	local globs glob path name found
	read -ra globs <<< "${MUTANTS:-*}"
	for glob in "${globs[@]}"; do
		found=0
		for path in "$MUTANT_DIR"/$glob.patch; do
			[[ -f $path ]] || continue
			found=1
			name=${path##*/}
			echo "${name%.patch}"
		done
		((found)) || die "no mutant is called $glob"
	done
}

# The files of the project, with PATCH, to DIR
mutate() { # mutate DIR [PATCH]
	local dir=$1 patch=${2:-} file
	rm -rf "$WORK/new"
	mkdir -p "$WORK/new/mm"
	for file in "${FILES[@]}"; do
		cp "$WORK/source/$file" "$WORK/new/$file"
	done
	[[ -z $patch ]] ||
		patch -p1 -s -f --no-backup-if-mismatch -d "$WORK/new" -i "$patch" \
			> "$WORK/patch.log" 2>&1 ||
		return 1
	# By a new file each, as hard links must not be written to; only what
	# differs, for make.
	for file in "${FILES[@]}"; do
		cmp -s "$WORK/new/$file" "$dir/$file" && continue
		mv -f "$WORK/new/$file" "$dir/$file"
		touch "$dir/$file"
	done
}

check() {
	local name patch bad=0 n=0
	while IFS= read -r name; do
		n=$((n + 1))
		patch=$MUTANT_DIR/$name.patch
		if [[ $(head -c 4 "$patch") == '--- ' ]]; then
			echo "    $name does not say what it breaks"
		elif ! patch --dry-run -p1 -s -f -d "$TOP" -i "$patch" \
			> "$WORK/patch.log" 2>&1; then
			echo "    $name does not apply:"
			sed 's/^/        /' "$WORK/patch.log"
		else
			continue
		fi
		bad=$((bad + 1))
	done < <(mutants)
	info "$n mutants, $bad of them in error"
	((n && !bad))
}

# A kernel build takes 17 s of CPU time if nothing changed, and three links if
# anything did.  So a mutant's objects are compiled by the commands that the first
# build has left, and linked once, by the last command of its link.  The table of
# symbols stays that of the first build: names in a trace may be a bit off.
OBJECTS=(mm/zsmalloc.o mm/tests/zsmalloc_kunit.o mm/tests/zsmalloc_race_kunit.o)

build_first() { # build_first WORK
	local BUILD=$1 LOGS=$1/logs SUITE_CONFIG=$1/tree/mm/tests/zsmalloc.kunitconfig
	local object dir
	configure_uml "$BUILD/uml"
	# Those of the last mutant would pass for up to date.
	for object in "${OBJECTS[@]}"; do
		rm -f "$BUILD/uml/$object"
	done
	build "$BUILD/uml" um linux 'user-mode Linux' 700
	rm -f "$BUILD/uml/vmlinux.unstripped"
	kmake "$BUILD/uml" um V=1 linux > "$LOGS/link.log" 2>&1 < /dev/null ||
		die "linking once more failed, see ${LOGS#"$TOP"/}/link.log"
	{
		echo 'set -e'
		for object in "${OBJECTS[@]}"; do
			dir=${object%/*}
			sed -n "s|^savedcmd_$object := ||p" \
				"$BUILD/uml/$dir/.${object##*/}.cmd"
		done
		sed -n 's/^+ \(.* -o\) vmlinux\.unstripped /\1 mutant /p' "$LOGS/link.log"
	} > "$BUILD/compile"
	(($(wc -l < "$BUILD/compile") == ${#OBJECTS[@]} + 2)) ||
		die "not found: how this kernel compiles and links"
}

compile() { # compile WORK
	(cd "$1/uml" && bash "$1/compile") > "$1/logs/build.log" 2>&1 < /dev/null
}

STAMP='(\[ *[0-9.]+\] )?'	# before each line of a console

# What the console says first that is wrong: the splat, if there is one, and the
# test.  Its result comes after the splat, or not at all: then the test before.
first_words() { # first_words WORK
	awk -v stamp="^$STAMP" -v splat="$(sed -n -E '/^[0-9]+:/ { s/:.*//p; q }' "$1/splat")" '
	{ sub(/\r$/, ""); sub(stamp, "") }
	NR == splat { text = ": " substr($0, 1, 70) }
	/^    (not )?ok [0-9]+ / {
		name = $1 == "not" ? $4 : $3
		if ($1 == "not" || text != "") {
			print name text
			found = 1
			exit
		}
		last = name
	}
	END {
		if (!found)
			print "died or hung" (last ? " after " last : "") text
	}' "$1/uml/test.log"
}

wrong() { # wrong WORK: a splat or a failed test so far
	local log=$1/uml/test.log
	: > "$1/splat"
	[[ -s $log ]] || return 1
	! splat_check "$log" > "$1/splat" 2>&1 ||
		grep -a -q -E "^$STAMP +not ok " "$log"
}

kernel=		# the pid of the one that runs

# suites WORK GLOB [FILTER]: what noticed, on stdout; fails if somebody did.
# kunit.py runs everything to its end; here the first thing wrong is enough.
suites() {
	local log=$1/uml/test.log tmp=${TMPDIR:-/tmp} planned passed
	local end=$((SECONDS + TIMEOUT))
	[[ ! -w /dev/shm ]] || tmp=/dev/shm
	# A new file: whoever had the old one open has no say in this.
	rm -f "$log"
	{
		TMPDIR=$tmp "$1/uml/mutant" mem=1G seccomp=on ncpus=2 console=tty \
			kunit_shutdown=halt kunit.enable=1 "kunit.filter_glob=$2" \
			${3:+"kunit.filter=\"$3\""} > "$log" 2>&1 < /dev/null 9>&- &
		kernel=$!
		while kill -0 "$kernel"; do
			sleep 0.5
			if wrong "$1"; then
				# Its name comes a little later.
				sleep 2
				break
			fi
			((SECONDS < end)) || break
		done
		# UML makes a session of its own, so nothing but its pid will do; and
		# of a softer signal it makes a warning.
		kill -KILL "$kernel" || true
		wait "$kernel" || true
		kernel=
	} 2> /dev/null
	planned=$(sed -n -E "s/^${STAMP}1\.\.([0-9]+)\r?$/\2/p" "$log")
	passed=$(grep -a -c -E "^${STAMP}ok [0-9]+ zsmalloc" "$log" || true)
	if wrong "$1" || [[ -z $planned || $passed != "$planned" ]]; then
		first_words "$1"
		return 1
	fi
}

noticed() { # noticed WORK: by the quick tests, or by the one with a crowd
	suites "$1" 'zsmalloc*' 'speed>slow' && suites "$1" 'zsmalloc.users_*'
}

main() {
	local name file what start=$SECONDS began caught=0 survived=() errors=() text
	mkdir -p "$WORK/logs"
	if [[ ${1:-} == check ]]; then
		check
		return
	fi
	[[ $# == 0 ]] || die "usage: mutants.sh [check]"
	check || die "mutants that do not apply: bring them up to date"
	"$HARNESS/deps.sh" tree build
	"$HARNESS/tree.sh"
	kernel_env
	build_lock
	# As they are now, whatever is edited meanwhile
	rm -rf "$WORK/source"
	mkdir -p "$WORK/source/mm"
	for file in "${FILES[@]}"; do
		cp "$TOP/$file" "$WORK/source/$file"
	done
	need_space "$BUILD" 1500 "the mutants' kernel"
	step "Making a tree for them (20 seconds)"
	link_tree "$BUILD/tree" "$WORK/tree"
	step "Building user-mode Linux, and testing without a mutant (first time about 9 minutes)"
	build_first "$WORK"
	compile "$WORK" || die "compiling failed, see build/mutants/logs/build.log"
	trap '[[ -z $kernel ]] || kill -KILL "$kernel" 2> /dev/null' EXIT
	began=$SECONDS
	noticed "$WORK" > "$WORK/what" ||
		die "the tests fail without any mutant: $(cat "$WORK/what")"
	TIMEOUT=$((60 + 2 * (SECONDS - began)))

	step "$(mutants | wc -l) mutants (about 12 seconds each)"
	while IFS= read -r name; do
		began=$SECONDS
		if ! mutate "$WORK/tree" "$MUTANT_DIR/$name.patch"; then
			errors+=("$name")
			what='ERROR: does not apply'
		elif ! compile "$WORK"; then
			errors+=("$name")
			what='ERROR: does not build, see build/mutants/logs/build.log'
		elif noticed "$WORK" > "$WORK/what"; then
			survived+=("$name")
			what='SURVIVED'
		else
			caught=$((caught + 1))
			what=$(cat "$WORK/what")
		fi
		printf '    %-40s %4d s  %s\n' "$name" $((SECONDS - began)) "$what"
	done < <(mutants)
	mutate "$WORK/tree"

	info "took $(elapsed $((SECONDS - start)))"
	((!${#survived[@]})) || printf 'survived: %s\n' "${survived[@]}"
	((!${#errors[@]})) || printf 'in error: %s\n' "${errors[@]}"
	text="$((caught + ${#survived[@]} + ${#errors[@]})) mutants, $caught caught, ${#survived[@]} survived"
	((!${#errors[@]})) || text+=", ${#errors[@]} in error"
	verdict "$text"
	((caught && !${#survived[@]} && !${#errors[@]}))
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
