#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# A private root of Debian sid in the cache, for tools that this machine's own system
# does not have, or has only in an older version.
#   sid.sh PACKAGE...                 makes the root, and installs missing packages
#   sid.sh PACKAGE... -- COMMAND...   also runs COMMAND in it; the current directory
#                                     is /mnt there
# If sourced: sid_root PACKAGE... and sid_run DIR COMMAND...
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SID=$CACHE/sid
# What kernels are built with, besides a compiler
KERNEL_PACKAGES=(make gcc libc6-dev flex bison bc libelf-dev libssl-dev perl python3)
CLANG=-23
# shellcheck disable=SC2034 # for check.sh and matrix.sh
CLANG_PACKAGES=("clang$CLANG" "lld$CLANG" "llvm$CLANG" "${KERNEL_PACKAGES[@]}")
sid_why=	# why there is no root
proxies=()

# A root that is not complete is made anew.
sid_complete() { [[ -f $SID.ok && -f $SID/var/lib/dpkg/status ]]; }

sid_lacks() { # sid_lacks PACKAGE...: those that are not installed in the root
	awk -v wanted="$*" '
	BEGIN {
		n = split(wanted, list, " ")
		for (i = 1; i <= n; i++)
			missing[list[i]] = 1
	}
	/^Package: / { package = $2 }
	/^Status: install ok installed/ { delete missing[package] }
	END { for (package in missing) print package }' "$SID/var/lib/dpkg/status"
}

# in_sid USER:GROUP DIR COMMAND...: runs COMMAND in the root, with DIR as /mnt.  Mounts
# are visible only in there, and end with the last process, even if this script is
# killed.  The shell is process 1, which signals do not end.
in_sid() {
	local user=$1 dir=$2
	shift 2
	# shellcheck disable=SC2016 # expanded by the shell in the root
	"${as_root[@]}" unshare --fork --pid --kill-child --mount-proc="$SID/proc" \
		sh -c 'root=$1 user=$2 dir=$3
			shift 3
			mount --bind "$dir" "$root/mnt" || exit 125
			chroot --userspec="$user" "$root" env -i -C /mnt "$@"
			exit $?' \
		sh "$SID" "$user" "$dir" \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/mnt LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		"${proxies[@]}" "$@"
}

# The proxies that apt uses on this machine, for debootstrap's wget and for apt in the
# root
find_proxies() {
	local scheme value
	proxies=()
	for scheme in http https; do
		value=$(apt-config shell value "Acquire::$scheme::Proxy" | sed "s/^value='\(.*\)'/\1/")
		[[ -n $value ]] || value=$(printenv "${scheme}_proxy") || continue
		proxies+=("${scheme}_proxy=$value")
	done
}

sid_make() { # sid_make PACKAGE...
	local site sites list=$* new=$SID.new log=$LOGS/sid.log
	sites=$(debian_sites 2> /dev/null) || sites=
	sid_why="no Debian mirror in this machine's apt sources"
	for site in $sites; do
		rm -f "$SID.ok"
		"${as_root[@]}" rm -rf --one-file-system "$SID" "$new"
		step "Making a root of Debian sid, once, for: $* (1 to 3 minutes, 0.5 GB)"
		if with_progress 'debootstrap' 0 "$log" "${as_root[@]}" \
			env PATH="$PATH:/usr/sbin:/sbin" "${proxies[@]}" unshare --mount \
			debootstrap --variant=minbase --include="${list// /,}" \
			sid "$new" "$site" 2> /dev/null; then
			"${as_root[@]}" mv "$new" "$SID"
			touch "$SID.ok"
			return 0
		fi
		sid_why="debootstrap from $site: $(grep -m 1 '^E: ' "$log" ||
			tail -n 1 "$log")"
		"${as_root[@]}" rm -rf --one-file-system "$new"
	done
	return 1
}

sid_install() { # sid_install PACKAGE...
	local log=$LOGS/sid.log get=(apt-get -y --no-install-recommends)
	step "Installing in the root of Debian sid: $* (a minute or more)"
	# A failure before the installation itself does no harm.  An old state of a
	# mirror is accepted, like by debootstrap.
	fetch_packages() {
		"${as_root[@]}" cp /etc/resolv.conf "$SID/etc/resolv.conf" &&
			in_sid 0:0 / apt-get -o Acquire::Check-Valid-Until=false update &&
			in_sid 0:0 / "${get[@]}" install --download-only "$@"
	}
	sid_why="apt-get"
	if ! with_progress 'download' 0 "$log" fetch_packages "$@" 2> /dev/null; then
		sid_why+=": $(grep -m 1 '^E: ' "$log" || tail -n 1 "$log")"
		return 1
	fi
	rm -f "$SID.ok"
	if ! with_progress 'install' 0 "$log" \
		in_sid 0:0 / "${get[@]}" install "$@" 2> /dev/null; then
		sid_why+=": $(grep -m 1 '^E: ' "$log" || tail -n 1 "$log")"
		return 1
	fi
	touch "$SID.ok"
}

sid_lock() { # sid_lock -s|-x
	flock -n "$1" 7 && return
	info "waiting for another command in the root of Debian sid"
	flock "$1" 7
}

sid_has() { sid_complete && [[ -z $(sid_lacks "$@") ]]; }

# sid_root PACKAGE...: makes sure that the packages are in the root.  Fails with the
# reason in sid_why.  Other commands may use the root, but no command installs anything
# in it before the caller ends.
sid_root() {
	local lacks
	mkdir -p "$CACHE" "$LOGS"
	find_root || { sid_why='chroot takes root, and sudo asks for a password'; return 1; }
	exec 7> "$CACHE/sid.lock"
	sid_lock -s
	! sid_has "$@" || return 0

	flock -u 7
	sid_lock -x
	"$LIB/deps.sh" sid 2> "$LOGS/sid-deps.log" || {
		sid_why="no debootstrap: $(tail -n 1 "$LOGS/sid-deps.log")"
		return 1
	}
	find_proxies
	if ! sid_complete; then
		sid_why=$(need_space "$CACHE" 1500 'a root of Debian sid' 2>&1) || return 1
		sid_make "$@" || return 1
	fi
	mapfile -t lacks < <(sid_lacks "$@")
	((${#lacks[@]} == 0)) || sid_install "${lacks[@]}" || return 1
	flock -s 7
}

# sid_run DIR COMMAND...: runs COMMAND in the root, after sid_root, as the calling user
sid_run() {
	in_sid "$(id -u):$(id -g)" "$@"
}

# The name that a file in build/ has if build/ is DIR
in_sid_path() { echo "/mnt/${1#"$BUILD"/}"; }

main() {
	local packages=() dir=$OLDPWD
	while (($#)) && [[ $1 != -- ]]; do
		packages+=("$1")
		shift
	done
	((${#packages[@]})) || die "sid.sh: which packages?"
	sid_root "${packages[@]}" || die "no root of Debian sid with ${packages[*]}: $sid_why"
	if (($# > 1)); then
		sid_run "$dir" "${@:2}"
	else
		step "The root of Debian sid is $SID, with: ${packages[*]}"
	fi
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
