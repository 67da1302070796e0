# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # used by the scripts that source it
# Builds a kernel for KUnit repeatedly, with different sources of zsmalloc, and runs the
# suites up to the first failure.  Only sourced, by mutants.sh and mutate.sh.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/kbuild.sh"
. "$LIB/guest.sh"

TIMEOUT=600	# seconds; less as soon as the time without a mutant is known
STALLED=60	# seconds without output after which the quick tests hang
knob AT_ONCE 2	# kernels; each has two CPUs and idles half of the time
FILES=(mm/zsmalloc.c mm/zsmalloc.h)

# A kernel build takes 17 s of CPU time if nothing changed, and three links if a file
# did.  Therefore the objects of a mutant are compiled by the commands that the first
# build has saved, and linked once, by the last command of its link.  The table of
# symbols is that of the first build, so names in a trace may be slightly wrong.
OBJECTS=(mm/zsmalloc.o mm/tests/zsmalloc_kunit_lib.o mm/tests/zsmalloc_kunit.o
	mm/tests/zsmalloc_numa_kunit.o mm/tests/zsmalloc_migration_kunit.o
	mm/tests/zsmalloc_compaction_kunit.o mm/tests/zsmalloc_debugfs_kunit.o
	mm/tests/zsmalloc_trace_kunit.o mm/tests/zsmalloc_race_kunit.o)

build_first() { # build_first WORK
	local BUILD=$1 LOGS=$1/logs SUITE_CONFIG=$1/tree/mm/tests/zsmalloc.kunitconfig
	local object dir
	configure_uml "$BUILD/uml"
	# make would take those of the last mutant for up to date.
	for object in "${OBJECTS[@]}"; do
		rm -f "$BUILD/uml/$object"
	done
	build "$BUILD/uml" um linux 'user-mode Linux' 700
	rm -f "$BUILD/uml/vmlinux.unstripped"
	kmake "$BUILD/uml" um V=1 linux > "$LOGS/link.log" 2>&1 < /dev/null ||
		die "linking once more failed, see ${LOGS#"$TOP"/}/link.log"
	for object in "${OBJECTS[@]}"; do
		dir=${object%/*}
		sed -n "s|^savedcmd_$object := ||p" \
			"$BUILD/uml/$dir/.${object##*/}.cmd"
	done > "$BUILD/compile"
	sed -n 's/^+ \(.* -o\) vmlinux\.unstripped /\1 mutant /p' "$LOGS/link.log" \
		> "$BUILD/link"
	(($(wc -l < "$BUILD/compile") == ${#OBJECTS[@]} &&
		$(wc -l < "$BUILD/link") == 1)) ||
		die "the commands that compile and link this kernel were not found"
}

# compile WORK [FLAGS [LINES]]: makes WORK/uml/mutant, by the commands in LINES of
# WORK/compile (default: all)
compile() {
	{
		echo 'set -e'
		sed -n -E "${3:-}s/ -c -o / ${2:-}&/p" "$1/compile"
		cat "$1/link"
	} > "$1/commands"
	(cd "$1/uml" && bash "$1/commands") > "$1/logs/build.log" 2>&1 < /dev/null
}

STAMP='(\[ *[0-9.]+\] )?'	# before each line of a console

# first_words CONSOLE SPLAT: the first failure: the splat, if there is one, and the name
# of the test.  If the test with the splat has no result, the last one that has.
first_words() {
	awk -v stamp="^$STAMP" -v splat="$(sed -n -E '/^[0-9]+:/ { s/:.*//p; q }' "$2")" '
	{ sub(/\r$/, ""); sub(stamp, "") }
	NR == splat { text = ": " substr($0, 1, 70) }
	/^        # Subtest: / { parameterised = $3 }
	/^    (    )?(not )?ok [0-9]+ / {
		failed = $1 == "not"
		name = failed ? $4 : $3
		# Of a parameter; its name may have several words.
		if (/^        /) {
			sub(/^ *(not )?ok [0-9]+ /, "")
			sub(/ # SKIP .*/, "")
			name = parameterised " (" $0 ")"
		}
		if (failed || text != "") {
			print name text
			found = 1
			exit
		}
		last = name
	}
	END {
		if (!found)
			print "died or hung" (last ? " after " last : "") text
	}' "$1"
}

wrong() { # wrong CONSOLE SPLAT: there is a splat or a failed test so far
	: > "$2"
	[[ -s $1 ]] || return 1
	! splat_check "$1" > "$2" 2>&1 ||
		grep -a -q -E "^$STAMP +not ok " "$1"
}

# passed CONSOLE SPLAT: nothing is wrong, and every suite has ended
passed() {
	local planned passed
	planned=$(sed -n -E "s/^${STAMP}1\.\.([0-9]+)\r?$/\2/p" "$1")
	passed=$(grep -a -c -E "^${STAMP}ok [0-9]+ zsmalloc" "$1" || true)
	! wrong "$1" "$2" && [[ -n $planned && $passed == "$planned" ]]
}

kernel=		# pid of the kernel that runs
end_kernel() {
	# UML makes a session of its own, so a signal to the process group would miss
	# it; and it turns a signal other than KILL into a warning.
	[[ -z $kernel ]] || kill -KILL "$kernel" 2> /dev/null || true
}

workers=()	# the processes of in_parallel()
end_all() {
	end_kernel
	((!${#workers[@]})) || kill "${workers[@]}" 2> /dev/null || true
}

# run_suites KERNEL CONSOLE GLOB STALLED [ARGS...]: fails, and prints the first failure,
# as soon as there is one.  kunit.py would run all suites to their end.
run_suites() {
	local image=$1 log=$2 glob=$3 stalled=$4 uml_command size=0 now
	local end=$((SECONDS + TIMEOUT)) heard=$SECONDS
	shift 4
	uml_command "$image" 1G console=tty kunit_shutdown=halt kunit.enable=1 \
		"kunit.filter_glob=$glob" "$@"
	# A new file, which no process of an earlier run has open
	rm -f "$log"
	{
		"${uml_command[@]}" > "$log" 2>&1 < /dev/null 8>&- 9>&- &
		kernel=$!
		while kill -0 "$kernel"; do
			sleep 0.3
			if wrong "$log" "$log.splat"; then
				# The name of the test follows a little later.
				for ((now = 0; now < 8; now++)); do
					[[ $(first_words "$log" "$log.splat") == died* ]] || break
					sleep 0.3
				done
				break
			fi
			now=$(stat -c %s "$log")
			((now == size)) || heard=$SECONDS
			size=$now
			((SECONDS < end && SECONDS < heard + stalled)) || break
		done
		end_kernel
		wait "$kernel" || true
		kernel=
	} 2> /dev/null
	passed "$log" "$log.splat" && return
	first_words "$log" "$log.splat"
	return 1
}

# suites_pass KERNEL CONSOLE [ARGS...]: runs the quick tests and, if they pass, the slow one
# with many users; fails, and prints the first failure, if one of them fails
suites_pass() {
	local image=$1 log=$2
	shift 2
	run_suites "$image" "$log" 'zsmalloc*' "$STALLED" \
		'kunit.filter="speed>slow"' "$@" &&
		run_suites "$image" "$log" 'zsmalloc.users_*' "$TIMEOUT" "$@"
}

# A hash of everything that decides the results of the suites, except the mutants
suites_id() {
	(
		cd "$BUILD/tree" || exit
		cat "${FILES[@]}" mm/zpdesc.h mm/tests/* include/linux/zsmalloc.h \
			include/trace/events/zsmalloc.h "$BUILD/base.id" \
			"$CONFIGS"/{uml-debug,x86,x86-debug}.config "$LIB/suites.sh"
		"${KCC##* }" --version
	) | sha256sum | cut -c 1-16
}

# in_parallel N COMMAND: calls COMMAND SLOT LINE for each line of stdin, each in a
# process of its own, N at the same time; slots are numbered from 0.
in_parallel() {
	local n=$1 command=$2 line slot pid done_pid
	local -A slot_of=()
	local free=()
	for ((slot = 0; slot < n; slot++)); do
		free+=("$slot")
	done
	while IFS= read -r line; do
		if ((!${#free[@]})); then
			wait -n -p done_pid "${!slot_of[@]}" || true
			free+=("${slot_of[$done_pid]}")
			unset "slot_of[$done_pid]"
		fi
		slot=${free[0]}
		free=("${free[@]:1}")
		(
			workers=()
			trap end_kernel EXIT
			trap 'exit 130' INT TERM
			"$command" "$slot" "$line"
		) < /dev/null &
		pid=$!
		slot_of[$pid]=$slot
		workers=("${!slot_of[@]}")
	done
	for pid in "${!slot_of[@]}"; do
		wait "$pid" || true
	done
	workers=()
}
