#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make mutants: mutation test.  Each patch of harness/mutants/ reintroduces one bug,
# in a copy of build/tree; the KUnit suites must fail on it.
#   mutants.sh           all of them, about 6 s each
#   mutants.sh check     only checks that every patch applies; a few seconds
#   mutants.sh refresh   writes the patches anew: those that apply to the last commit
#                        are merged with what has changed since, the others are
#                        applied with fuzz and listed for review; no kernel
#   MUTANTS='glob ...'   only these, by name
#   FRESH=1              forget all results
#   AT_ONCE              mutants at the same time (default 2)
# First the suites must pass without a mutant.  A patch begins with a sentence on
# the bug; "Upstream" in it means that zsmalloc once had this bug.  A line "Needs: two
# nodes", "two zones" or "memory failure" means that the mutant is tested on x86-64 in
# QEMU, because user-mode Linux has none of these; about 2 minutes each.
# A result is kept as long as the patch, the sources and the tests stay the same, so
# that a run can be stopped and continued.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/suites.sh"

knob MUTANTS '*'
knob FRESH

MUTANT_DIR=$HARNESS/mutants
WORK=$BUILD/mutants

mutants() { # the names asked for
	local globs glob path name found
	read -ra globs <<< "$MUTANTS"
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

# The lines before the patch proper: the bug, and the needs of the mutant
header() { # header PATCH
	sed '/^--- /,$d' "$1"
}

needs() { # needs NAME
	header "$MUTANT_DIR/$1.patch" | sed -n 's/^Needs: //p'
}

# apply PATCH FROM TO FUZZ: the files of FROM, with PATCH, to TO
apply() {
	local file
	rm -rf "$3"
	mkdir -p "$3/mm"
	for file in "${FILES[@]}"; do
		cp "$2/$file" "$3/$file"
	done
	LC_ALL=C patch -p1 -f "-F$4" --no-backup-if-mismatch -d "$3" -i "$1" \
		> "$3.log" 2>&1
}

# The patch that makes TO of FROM, with the function of each hunk
difference() { # difference FROM TO
	local file
	for file in "${FILES[@]}"; do
		LC_ALL=C diff -u -p --label "a/$file" --label "b/$file" \
			"$1/$file" "$2/$file" || true
	done
}

hunk_functions() { # hunk_functions < PATCH
	sed -n -E 's/^@@ [^@]+ @@ ?(.*)/\1/p'
}

check() {
	local name patch bad=0 n=0 where new=$WORK/check
	while IFS= read -r name; do
		n=$((n + 1))
		patch=$MUTANT_DIR/$name.patch
		if [[ $(head -c 4 "$patch") == '--- ' ]]; then
			echo "    $name does not begin with its bug"
		elif [[ ! $(needs "$name") =~ ^(|two nodes|two zones|memory failure)$ ]]; then
			echo "    $name has unknown needs: $(needs "$name")"
		elif ! apply "$patch" "$TOP" "$new" 0; then
			echo "    $name does not apply without fuzz, see mutants.sh refresh:"
			sed 's/^/        /' "$new.log"
		else
			# Old patches do not name functions.
			where=$(hunk_functions < "$patch")
			if [[ -z ${where//[$'\n ']/} ]] ||
				[[ $where == "$(difference "$TOP" "$new" | hunk_functions)" ]]; then
				continue
			fi
			echo "    $name applies to a function other than this one:"
			printf '        %s\n' "${where//$'\n'/$'\n        '}"
		fi
		bad=$((bad + 1))
	done < <(mutants)
	info "$n mutants, $bad of them in error"
	((n && !bad))
}

# merge PATCH FROM TO: the bug that PATCH makes of the sources in FROM, made of the
# present ones, to TO; fails if both change the same place
merge() {
	local file
	apply "$1" "$2" "$3" 0 || return
	for file in "${FILES[@]}"; do
		git merge-file -q "$3/$file" "$2/$file" "$TOP/$file" || return
	done
	[[ -n $(difference "$TOP" "$3") ]]
}

# Lists the patches to review: after fuzz, a patch may have another bug than its first
# line says.
refresh() {
	local name patch file new=$WORK/refresh last=$WORK/last fuzzy=0 failed=0 changed=0
	mkdir -p "$last/mm"
	for file in "${FILES[@]}"; do
		git show "HEAD:$file" > "$last/$file" 2> /dev/null || rm -f "$last/$file"
	done
	while IFS= read -r name; do
		patch=$MUTANT_DIR/$name.patch
		if merge "$patch" "$last" "$new"; then
			{ header "$patch"; difference "$TOP" "$new"; } > "$new.patch"
			cmp -s "$new.patch" "$patch" || changed=$((changed + 1))
			cp "$new.patch" "$patch"
			continue
		fi
		if ! apply "$patch" "$TOP" "$new" 3; then
			failed=$((failed + 1))
			echo "=== $name does not apply, write it anew by hand: $(head -n 1 "$patch")"
			sed 's/^/    /' "$new.log"
			sed '1,/^+++ /d; s/^/    was  /' "$patch"
			continue
		fi
		{ header "$patch"; difference "$TOP" "$new"; } > "$new.patch"
		if grep -q ' with fuzz ' "$new.log"; then
			fuzzy=$((fuzzy + 1))
			echo "=== $name applied with fuzz, is this still the bug?  $(head -n 1 "$patch")"
			sed '1,/^+++ /d; s/^/    was  /' "$patch"
			sed '1,/^+++ /d; s/^/    now  /' "$new.patch"
		elif grep -q '^Hunk ' "$new.log"; then
			info "$name: only lines moved"
		fi
		cmp -s "$new.patch" "$patch" || changed=$((changed + 1))
		cp "$new.patch" "$patch"
	done < <(mutants)
	info "$changed patches written anew, $fuzzy to review, $failed do not apply"
	((!failed))
}

# put_into_tree FROM: copies the files that differ to the tree, with new time stamps,
# and prints the lines of WORK/compile that must be run.
put_into_tree() {
	local file lines=
	for file in "${FILES[@]}"; do
		cmp -s "$1/$file" "$WORK/tree/$file" && continue
		# As new files, because hard links must not be written to
		cp "$1/$file" "$WORK/tree/$file.new"
		mv -f "$WORK/tree/$file.new" "$WORK/tree/$file"
		[[ $file == *.h ]] || lines=1
		[[ $file != *.h ]] || touch "$WORK/all"
	done
	[[ -e $WORK/all ]] || echo "$lines"
}

# build_mutant SLOT FROM: builds SLOT's kernel of the sources in FROM, one at a time
build_mutant() {
	local lines
	exec 8> "$WORK/lock"
	flock 8
	# The tests include the header: a change of it, and its end, compile everything.
	lines=$(put_into_tree "$2")
	if ! compile "$WORK" '' "$lines"; then
		touch "$WORK/all"
		exec 8>&-
		return 1
	fi
	cmp -s "$WORK/tree/mm/zsmalloc.h" "$WORK/source/mm/zsmalloc.h" && rm -f "$WORK/all"
	mv -f "$WORK/uml/mutant" "$WORK/kernel.$1"
	exec 8>&-
}

result_of() { # result_of NAME: the file of its result
	echo "$WORK/results/$1.$({ echo "$ID"; cat "$MUTANT_DIR/$1.patch"; } |
		sha256sum | cut -c 1-16)"
}

# say NAME SECONDS VERDICT [WHAT]: records a result and prints it
say() {
	local file
	file=$(result_of "$1")
	printf '%s\t%s\n' "$3" "${4:-}" > "$file"
	printf '    %-40s %4d s  %s\n' "$1" "$2" "${4:-$3}"
}

# on_uml SLOT NAME: tests a mutant, in a process of its own
on_uml() {
	local began=$SECONDS new=$WORK/new.$1
	if ! apply "$MUTANT_DIR/$2.patch" "$WORK/source" "$new" 0; then
		say "$2" 0 ERROR 'ERROR: does not apply'
	elif ! build_mutant "$1" "$new"; then
		say "$2" $((SECONDS - began)) ERROR \
			'ERROR: does not build, see build/mutants/logs/build.log'
	# Not in a subshell, which could not end the kernel
	elif suites_pass "$WORK/kernel.$1" "$WORK/console.$1" > "$WORK/what.$1"; then
		say "$2" $((SECONDS - began)) SURVIVED
	else
		say "$2" $((SECONDS - began)) caught "$(< "$WORK/what.$1")"
	fi
}

# As suites_pass(), in QEMU; status 2 means that the guest did not come to the suites.  The
# suites run to their end, because guest() does not return earlier.
suites_pass_on_x86() {
	local log=$WORK/console.x86 seconds=$((TIMEOUT > 400 ? TIMEOUT : 400))
	GUEST_CPUS=2 guest "$WORK/x86-debug/vmlinux" 1024M "$seconds" "$log" '' \
		"numa=fake=3 kunit.enable=1 kunit.autorun=1 kunit.filter_glob=zsmalloc* kunit.filter=speed>slow kunit_shutdown=reboot" \
		> "$WORK/logs/guest.log" 2>&1 || true
	# A guest on a busy host may die before any test, because its timer stands still.
	grep -a -q -E "^${STAMP}KTAP version" "$log" || return 2
	passed "$log" "$log.splat" && return
	first_words "$log" "$log.splat"
	return 1
}

build_x86() { # build_x86 WORK
	local BUILD=$1
	kmake "$BUILD/x86-debug" x86_64 -j"$JOBS" vmlinux \
		> "$BUILD/logs/x86-debug.log" 2>&1 < /dev/null
}

build_first_x86() { # build_first_x86 WORK
	local BUILD=$1 LOGS=$1/logs object
	configure_x86_debug "$BUILD/x86-debug"
	# make would take those of the last mutant for up to date.
	for object in "${OBJECTS[@]}"; do
		rm -f "$BUILD/x86-debug/$object"
	done
	build "$BUILD/x86-debug" x86_64 vmlinux 'debug guest kernel' 1000
}

on_x86() { # on_x86 NAME
	local began=$SECONDS what status=0
	if ! apply "$MUTANT_DIR/$1.patch" "$WORK/source" "$WORK/new" 0; then
		say "$1" 0 ERROR 'ERROR: does not apply'
	else
		put_into_tree "$WORK/new" > /dev/null
		if ! build_x86 "$WORK"; then
			say "$1" $((SECONDS - began)) ERROR \
				'ERROR: does not build, see build/mutants/logs/x86-debug.log'
			return
		fi
		what=$(suites_pass_on_x86) || status=$?
		case $status in
		0) say "$1" $((SECONDS - began)) SURVIVED ;;
		1) say "$1" $((SECONDS - began)) caught "x86: $what" ;;
		*) say "$1" $((SECONDS - began)) ERROR 'ERROR: the guest did not come to the suites' ;;
		esac
	fi
}

# The suites must pass without a mutant, or the results mean nothing.
test_uml() {
	local began
	step "Building user-mode Linux, and testing without a mutant (first time about 9 minutes)"
	build_first "$WORK"
	rm -f "$WORK/all"
	compile "$WORK" || die "compiling failed, see build/mutants/logs/build.log"
	mv "$WORK/uml/mutant" "$WORK/kernel"
	began=$SECONDS
	suites_pass "$WORK/kernel" "$WORK/console" > "$WORK/what" ||
		die "the tests fail without any mutant: $(< "$WORK/what")"
	# Two at a time, and the machine may have other work, too
	TIMEOUT=$((60 + 4 * (SECONDS - began)))
}

test_x86() {
	local what
	step "Building the debug guest kernel, and testing without a mutant (first time about 9 minutes)"
	build_first_x86 "$WORK"
	what=$(suites_pass_on_x86) ||
		die "the tests fail without any mutant, on x86: ${what:-the guest did not start, see build/mutants/logs/guest.log}"
	grep -a -q 'Brought up 3 nodes' "$WORK/console.x86" ||
		die "the guest does not have three nodes"
}

todo() { # todo uml|x86: the names without a result
	local name
	while IFS= read -r name; do
		[[ $1 == uml && -z $(needs "$name") || $1 == x86 && -n $(needs "$name") ]] ||
			continue
		[[ -f $(result_of "$name") ]] || echo "$name"
	done < <(mutants)
}

main() {
	local name start=$SECONDS caught=0 survived=() errors=() text verdict
	mkdir -p "$WORK/logs" "$WORK/results"
	if [[ ${1:-} == check || ${1:-} == refresh ]]; then
		"$1"
		return
	fi
	[[ $# == 0 ]] || die "usage: mutants.sh [check|refresh]"
	check || die "some mutants do not apply: update them, see mutants.sh refresh"
	"$LIB/deps.sh" tree build
	"$HARNESS/tree.sh"
	kernel_env
	build_lock
	[[ -z $FRESH ]] || rm -f "$WORK"/results/*
	ID=$(suites_id)
	# A copy, so that the sources can be edited during the run
	rm -rf "$WORK/source"
	mkdir -p "$WORK/source/mm"
	for name in "${FILES[@]}"; do
		cp "$BUILD/tree/$name" "$WORK/source/$name"
	done
	todo uml > "$WORK/todo.uml"
	todo x86 > "$WORK/todo.x86"
	info "$(($(mutants | wc -l) - $(cat "$WORK"/todo.* | wc -l))) results are known already"
	trap end_all EXIT
	if [[ -s $WORK/todo.uml || -s $WORK/todo.x86 ]]; then
		need_space "$BUILD" 1500 "the mutants' kernel"
		step "Making a tree for the mutants (20 seconds)"
		link_tree "$BUILD/tree" "$WORK/tree"
	fi
	if [[ -s $WORK/todo.uml ]]; then
		test_uml
		step "$(wc -l < "$WORK/todo.uml") mutants, $AT_ONCE at a time (about 6 seconds each)"
		in_parallel "$AT_ONCE" on_uml < "$WORK/todo.uml"
		put_into_tree "$WORK/source" > /dev/null
	fi
	if [[ -s $WORK/todo.x86 ]]; then
		"$LIB/deps.sh" guest
		test_x86
		step "$(wc -l < "$WORK/todo.x86") mutants on x86-64 (about 2 minutes each)"
		while IFS= read -r name <&7; do
			on_x86 "$name"
		done 7< "$WORK/todo.x86"
		put_into_tree "$WORK/source" > /dev/null
	fi

	while IFS= read -r name; do
		verdict=$(cut -f 1 "$(result_of "$name")" 2> /dev/null || echo ERROR)
		case $verdict in
		caught) caught=$((caught + 1)) ;;
		SURVIVED) survived+=("$name") ;;
		*)
			errors+=("$name")
			rm -f "$(result_of "$name")"
			;;
		esac
	done < <(mutants)
	info "took $(elapsed $((SECONDS - start)))"
	((!${#survived[@]})) || printf 'survived: %s\n' "${survived[@]}"
	((!${#errors[@]})) || printf 'in error: %s\n' "${errors[@]}"
	text="$((caught + ${#survived[@]} + ${#errors[@]})) mutants, $caught caught, ${#survived[@]} survived"
	((!${#errors[@]})) || text+=", ${#errors[@]} in error"
	verdict "$text"
	((caught && !${#survived[@]} && !${#errors[@]}))
}

main "$@"
