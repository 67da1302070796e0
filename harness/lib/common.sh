# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # used by the scripts that source it
# Shared by every harness script: places, messages, progress, problems.
# It changes to the top of the repository.

! declare -F step > /dev/null || return 0	# sourced already

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$TOP"

# knob NAME [DEFAULT]: a variable that may be set on the command line of make.  Each
# has a row in README.md and is named by `make help`.
knob() { [[ -n ${!1:-} ]] || printf -v "$1" '%s' "${2:-}"; }

knob KSRC
knob JOBS "$(nproc)"
knob ZS_CACHE "${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/zsmalloc"

# The kernel release this project is written against
knob BASE 7.3

BUILD=$TOP/build
CACHE=$ZS_CACHE
LOGS=$BUILD/logs
HARNESS=$TOP/harness
LIB=$HARNESS/lib

# in_colour FD: colour only on a terminal, and not if NO_COLOR is set
in_colour() { [[ -t $1 && -z ${NO_COLOR:-} ]]; }

# paint FD COLOUR TEXT: prints TEXT on FD, in an ANSI colour (1: bold, 31: red ...)
paint() {
	if in_colour "$1"; then
		printf '\033[%sm%s\033[0m' "$2" "$3" >&"$1"
	else
		printf '%s' "$3" >&"$1"
	fi
}

# Messages.  A step names the work that begins, and how long it usually takes.
step() { paint 1 '1;34' '==>'; printf ' '; paint 1 1 "$*"; printf '\n'; }
info() { printf '    %s\n' "$*"; }
warn() { paint 2 33 'warning:'; printf ' %s\n' "$*" >&2; }
die()  { paint 2 '1;31' 'error:'; printf ' %s\n' "$*" >&2; exit 1; }

# The last line of each command
verdict() {
	local colour='1;32'
	[[ $* != *': FAILED,'* ]] || colour='1;31'
	printf '\n'
	paint 1 "$colour" "$*"
	printf '\n'
}

problems=()	# found so far
problem() { problems+=("$*"); }

# finish NAME TEXT [TEXT-IF-FAILED]: prints the problems and the verdict of a command,
# and exits with status 1 if there are problems
finish() {
	local text
	if ((!${#problems[@]})); then
		verdict "$1: OK, $2"
		return
	fi
	for text in "${problems[@]}"; do
		printf '\n'
		paint 1 31 'problem:'
		printf ' %s\n' "$text"
	done
	verdict "$1: FAILED, ${3:-${#problems[@]} problems}"
	exit 1
}

# Prints lines as they come.  Those that end in "N of M MB" are progress: a bar on a terminal,
# elsewhere one for each quarter.
live() {
	local bar='' green='' end=''
	[[ ! -t 1 ]] || bar=1
	! in_colour 1 || { green=$'\033[32m' end=$'\033[0m'; }
	exec awk -v bar="$bar" -v green="$green" -v end="$end" '
		match($0, /[0-9]+ of [0-9]+ MB$/) {
			split(substr($0, RSTART), n, " of ")
			share = n[2] > 0 ? n[1] / n[2] : 0
			if (share < last)
				next_quarter = 0
			last = share
			if (bar) {
				line = sprintf("%24s", "")
				gsub(/ /, ".", line)
				done = substr("========================", 1, share * 24)
				printf "\r\033[K    %s%s%s%s %s", green, done, end, \
					substr(line, length(done) + 1), substr($0, match($0, /[^ ]/))
				open = 1
			} else if (share >= next_quarter) {
				print
				while (next_quarter <= share)
					next_quarter += 0.25
			}
			fflush()
			next
		}
		{
			if (open)
				printf "\r\033[K"
			open = 0
			print
			fflush()
		}
		END { if (open) printf "\r\033[K" }'
}

# make_report PROGRAM ARGS...: makes a page with report/PROGRAM, whose arguments include
# the page, an .html
make_report() {
	local argument log=$LOGS/report.log
	step "Making the report"
	if ! python3 -B "$HARNESS/report/$1" "${@:2}" 2> "$log"; then
		problem "$(tail -n 1 "$log" | sed 's/^error: //')"
		return
	fi
	for argument in "${@:2}"; do
		[[ $argument != *.html ]] || info "${argument#"$TOP"/}"
	done
}

# Numbers from kunit.py's last line:
#   Testing complete. Ran 65 tests: passed: 63, failed: 1, skipped: 1
count_of() { # count_of REPORT WORD
	local n
	n=$(sed -n "s/.*Testing complete.*\b$2: \([0-9]*\).*/\1/p" "$1" | tail -n 1)
	echo "${n:-0}"
}

# follow FILE SED-SCRIPT COMMAND...: runs COMMAND, with its status; the script prints
# lines of FILE as soon as COMMAND writes them
follow() {
	local file=$1 script=$2 running follower status=0
	shift 2
	: > "$file"
	# tail prints the last lines, and ends, when this one ends.
	while kill -0 $$ 2> /dev/null; do sleep 0.5; done > /dev/null 2>&1 &
	running=$!
	tail -n +1 -s 0.2 -f --pid="$running" "$file" 2> /dev/null |
		LC_ALL=C sed -u -n -E "$script" | live &
	follower=$!
	"$@" || status=$?
	kill "$running" 2> /dev/null || true
	wait "$running" "$follower" 2> /dev/null || true
	return "$status"
}

elapsed() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# need_space DIR MEGABYTES PURPOSE: exits if DIR has less free space
need_space() {
	local dir=$1 need=$2 purpose=$3 have
	mkdir -p "$dir" || die "cannot create $dir"
	have=$(df -Pm "$dir" | awk 'NR == 2 { print $4 }')
	((have >= need)) || die "$purpose needs $need MB in $dir, only $have MB are free"
}

# After a step has failed: warns of full disks
disk_hint() {
	local dir have
	for dir in "$BUILD" "$CACHE" "${TMPDIR:-/tmp}"; do
		[[ -d $dir ]] || continue
		have=$(df -Pm "$dir" | awk 'NR == 2 { print $4 }')
		((have >= 100)) || warn "the disk holding $dir is full ($have MB free)"
	done
}

# link_tree FROM TO: copies a source tree, as hard links if possible.  The files of the
# copy must be replaced, never written to.
link_tree() {
	local from=$1 to=$2 entry
	rm -rf "$to"
	mkdir -p "$to"
	for entry in "$from"/*; do
		cp -a --link "$entry" "$to/" 2> /dev/null ||
			cp -a --reflink=auto "$entry" "$to/" ||
			{ disk_hint; die "copying $from to $to failed"; }
	done
}

# with_progress LABEL EXPECTED LOG COMMAND...
# Runs COMMAND with its output in LOG and shows its progress: the number of objects
# compiled, of EXPECTED ones, and the time (0: only the time).
# The command stays in the foreground, so that it receives Ctrl-C.
with_progress() {
	local label=$1 expected=$2 log=$3 start=$SECONDS watcher status=0
	shift 3
	mkdir -p "$(dirname "$log")"
	: > "$log"
	progress_loop "$label" "$expected" "$log" $$ 7>&- 8>&- 9>&- &
	watcher=$!
	"$@" >> "$log" 2>&1 < /dev/null || status=$?
	kill "$watcher" 2> /dev/null || true
	wait "$watcher" 2> /dev/null || true
	[[ ! -t 1 ]] || printf '\r\033[K'
	if ((status)); then
		printf -- '--- last lines of %s\n' "${log#"$TOP"/}" >&2
		grep -n -i -E 'error|fatal|\*\*\*' "$log" | tail -n 15 >&2 || true
		tail -n 15 "$log" >&2
		disk_hint
		return "$status"
	fi
	info "$label: done in $(elapsed $((SECONDS - start)))"
}

progress_loop() {
	local label=$1 expected=$2 log=$3 parent=$4 start=$SECONDS count text
	local pause=30
	[[ ! -t 1 ]] || pause=2
	while sleep "$pause" && kill -0 "$parent" 2> /dev/null; do
		text=$(elapsed $((SECONDS - start)))
		if ((expected)); then
			count=$(grep -c -E '^  (CC|AS|HOSTCC) ' "$log" || true)
			text="$count of about $expected objects, $text"
		fi
		if [[ -t 1 ]]; then
			printf '\r\033[K    %s: %s' "$label" "$text"
		else
			info "$label: $text"
		fi
	done
}

# Sets as_root to the command that runs another one as root; fails if that needs a
# password.
find_root() {
	as_root=()
	[[ $(id -u) -ne 0 ]] || return 0
	as_root=(sudo -n)
	command -v sudo > /dev/null && sudo -n true 2> /dev/null
}

# The Debian mirrors in this machine's own apt configuration, the best one first
debian_sites() {
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --format '$(ORIGIN)|$(SITE)' 'Created-By: Packages' |
		awk -F'|' '$2 !~ /security/ && $2 != "" {
			rank = $1 == "Debian" ? 1 : ($1 == "" ? 2 : 3)
			print rank, $2
		}' | sort -s -k1,1n | awk '$1 < 3 && !seen[$2]++ { print $2 }'
}

# A second command in the same build/ waits here for the first one.
build_lock() {
	mkdir -p "$BUILD"
	exec 9> "$BUILD/lock"
	flock -n 9 || { info "waiting for another command in build/"; flock 9; }
}
