# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The cells of make matrix: their names, what the consoles of their guests say, and the
# table.  Only sourced, by scripts that have sourced guest.sh before; shellcheck would read
# what it needs once more for each of them, and take minutes.

row_of() { # row_of NAME TSV
	awk -F'\t' -v name="$1" '$1 == name' "$2"
}

cells_named() { # cells_named TSV GLOBS: the names that match, in the order of the file
	local globs glob name found=() all
	mapfile -t all < <(awk -F'\t' '!/^#/ { print $1 }' "$1")
	read -ra globs <<< "$2"
	for glob in "${globs[@]}"; do
		# shellcheck disable=SC2053 # a glob
		for name in "${all[@]}"; do
			[[ $name != $glob ]] || continue 2
		done
		die "no cell is called $glob; there are: ${all[*]}"
	done
	for name in "${all[@]}"; do
		for glob in "${globs[@]}"; do
			# shellcheck disable=SC2053 # a glob
			[[ $name == $glob ]] || continue
			found+=("$name")
			break
		done
	done
	printf '%s\n' "${found[@]}"
}

# The group of deps.sh with the tools of PLATFORM; nothing for x86_64, which all have; if
# they are those of Debian sid, its name of the architecture
deps_of() { # deps_of PLATFORM
	case $1 in
	x86_64*) ;;
	arm64*) echo arm64 ;;
	loongarch64) echo loong64 ;;
	*) echo "$1" ;;
	esac
}

value() { # value KEY RESULT
	[[ ! -f $2 ]] || sed -n "s/^$1=//p" "$2" | tail -n 1
}

# What sparse, and the compiler with W=1, found in this project's files
findings() { # findings LOG
	local n
	if ! grep -q '^  CHECK .*mm/zsmalloc' "$1"; then
		echo 'FAILED: sparse was not run'
		return
	fi
	n=$(grep -E '(warning|error):' "$1" | grep -c -E 'zsmalloc|zpdesc') || true
	((!n)) && echo ok || echo "FAILED: $n warnings, see ${1#"$TOP"/}"
}

# The numbers that KUnit itself prints for a suite, "63+2 skipped"
suite_numbers() { # suite_numbers CONSOLE SUITE
	tr -d '\r' < "$1" | awk -v suite="$2" '
	$0 ~ "# " suite ": pass:" {
		for (i = 1; i <= NF; i++) {
			split($i, f, ":")
			n[f[1]] = f[2]
		}
		seen = 1
	}
	END {
		if (!seen)
			print "FAILED: it did not end"
		else if (n["fail"] || !n["pass"] && n["skip"] != n["total"])
			print "FAILED: " n["fail"] + 0 " of " n["total"]
		else
			print n["pass"] (n["skip"] ? "+" n["skip"] " skipped" : "")
	}'
}

kunit_numbers() { # kunit_numbers REPORT: of all suites, likewise
	local passed skipped
	passed=$(count_of "$1" passed) skipped=$(count_of "$1" skipped)
	echo "$passed$( ((!skipped)) || echo "+$skipped skipped")"
}

# kunit_problem CONSOLE REPORT STATUS CPUS: why the suites did not pass; nothing if they did
kunit_problem() {
	local console=$1 failed
	failed=$(($(count_of "$2" failed) + $(count_of "$2" crashed) +
		$(count_of "$2" errors)))
	if ! splat_check "$console" > "$console.splat" 2>&1; then
		echo "the kernel printed a warning or died"
	elif ((failed)); then
		echo "$failed tests"
	elif (($3 == 124)); then
		echo "it took too long"
	elif (($3 || ! $(count_of "$2" passed))); then
		echo "the guest ended with status $3"
	elif (($4 > 1)) && ! grep -a -q -E "Brought up [0-9]+ nodes?, $4 CPUs" "$console"; then
		echo "not $4 CPUs"
	fi
}

# skips CONSOLE: "TEST: why" of each skipped test.  A test all of whose cases were skipped has
# no reason of its own.
skips() {
	tr -d '\r' < "$1" | sed -n -E 's/^.* ok [0-9]+ (.*) # SKIP (.+)$/\1: \2/p'
}

# smoke_result CONSOLE STATUS LOADS MIGRATES: of zssmoke.c
smoke_result() {
	local console=$1 lines migrated
	if ! splat_check "$console" "ZS-GUEST-END 0" > "$console.splat" 2>&1 || (($2)); then
		echo "FAILED: see ${console#"$TOP"/}"
		return
	fi
	lines=$(tr -d '\r' < "$console" | grep -a -c 'guest: swapped=.* wrong=0 ') || true
	migrated=$(tr -d '\r' < "$console" | sed -n 's/.*guest: swapped=.* migrated=//p' |
		awk '{ n += $1 } END { print n + 0 }')
	if ((lines != ($3 ? $3 : 1))); then
		echo "FAILED: $lines rounds"
	elif (($4 && !migrated)); then
		echo "FAILED: no page was migrated"
	else
		echo "$migrated migrated$( ((!$3)) || echo ", $3 loads")"
	fi
}

torture_result() { # torture_result CONSOLE STATUS MINUTES
	local console=$1
	if ! splat_check "$console" > "$console.splat" 2>&1 || (($2)) ||
		! grep -a -q 'zsmalloc-torture: end: SUCCESS' "$console"; then
		echo "FAILED: see ${console#"$TOP"/}"
	else
		echo "$3 min"
	fi
}

# time_left RAN SECONDS LEFT: a guess by the cells of this run
time_left() {
	local each=900
	[[ -z ${OBJECTS:-} ]] || each=60
	((!$1)) || each=$(($2 / $1))
	echo "$3 cells to do, about $((each * $3 / 60)) minutes"
}

# table DIR CELL...: of DIR/CELL/result, then what was not run or failed, and why, and
# the reasons of skipped tests
table() {
	local work=$1 name key text cells format='  %-17s %-9s %-9s %-15s %-15s %-20s %-9s %6s\n'
	shift
	printf '\n'
	# shellcheck disable=SC2059 # the same for all rows
	printf "$format" cell build sparse KUnit races 'zram swap' torture 'time, s'
	for name; do
		cells=()
		for key in build sparse kunit race zram torture seconds; do
			text=$(value "$key" "$work/$name/result")
			case $text in
			'not run'*) text='not run' ;;
			FAILED*) text=FAILED ;;
			esac
			cells+=("${text:--}")
		done
		# shellcheck disable=SC2059
		printf "$format" "$name" "${cells[@]}"
	done
	printf '\n'
	for name; do
		if [[ ! -f $work/$name/result ]]; then
			echo "  $name: not run"
			continue
		fi
		sed -n -E "s/^([a-z]+)=((not run|FAILED).*)/  $name: \1: \2/p
			s/^static=/  $name: /p" "$work/$name/result"
	done
	printf '\n  skipped tests, by reason:\n'
	for name; do
		[[ ! -s $work/$name/skips ]] || sed "s/^/$name: /" "$work/$name/skips"
	done | awk -F': ' '
	{ n[$3]++; if (!index(where[$3], " " $1 " ")) where[$3] = where[$3] " " $1 " " }
	END { for (why in n) { gsub(/  +/, " ", where[why]); print "    " why ":" where[why] } }' | sort
}
