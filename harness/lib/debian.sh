# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Downloads packages of Debian that this machine's own release does not have.  Only sourced.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SUITES=(trixie-backports forky sid trixie bookworm-backports)
tried=()	# what has failed, and why

# start_work DIR...: sets work, of the caller, to a new directory in the cache that has
# these directories and is removed at exit
start_work() {
	need_space "$CACHE" 3500 "the kernel source"
	work=$CACHE/fetch.$$
	rm -rf "$CACHE"/fetch.*
	mkdir -p "${@/#/$work/}"
	# shellcheck disable=SC2064 # expanded now
	trap "rm -rf '$work'" EXIT
}

apt_source_line() { # apt_source_line SITE SUITE
	local key=/usr/share/keyrings/debian-archive-keyring.gpg options=
	[[ ! -f $key ]] || options="[signed-by=$key] "
	echo "deb $options$1 $2 main"
}

# download_deb PACKAGE SIZE: downloads a package from the first suite that has it, with an
# apt state of its own, to work, of the caller, after start_work.  Sets deb and suite, of
# the caller.  Fails with reasons in tried.
download_deb() {
	local package=$1 size=$2 site apt error sites
	if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
		tried+=("apt: this machine has no apt-get and dpkg-deb")
		return 1
	fi
	sites=$(debian_sites) || sites=
	if [[ -z $sites ]]; then
		tried+=("apt: no Debian mirror in this machine's apt sources")
		return 1
	fi
	mkdir -p "$work"/{state/lists/partial,cache/archives/partial,etc}
	# apt's own user for downloads may have no access to the cache.
	apt=(-o "Dir::State=$work/state" -o "Dir::State::lists=$work/state/lists"
	     -o Dir::State::status=/dev/null -o "Dir::Cache=$work/cache"
	     -o "Dir::Etc::sourcelist=$work/etc/sources.list"
	     -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root
	     -o Acquire::Languages=none -o Acquire::Retries=2
	     -o APT::Update::Error-Mode=any -o Debug::NoLocking=1)

	for site in $sites; do
		for suite in "${SUITES[@]}"; do
			error=
			apt_source_line "$site" "$suite" > "$work/etc/sources.list"
			if ! error=$(apt-get "${apt[@]}" update 2>&1); then
				tried+=("apt, suite $suite: $(grep -m1 '^E:' <<< "$error" || tail -n1 <<< "$error")")
				continue
			fi
			if ! apt-cache "${apt[@]}" show "$package" > /dev/null 2>&1; then
				tried+=("apt, suite $suite: has no package $package")
				continue
			fi
			step "Fetching $package from Debian's $suite ($size)"
			if ! (cd "$work" && with_progress 'download' 0 "$LOGS/fetch.log" \
				apt-get "${apt[@]}" download "$package"); then
				tried+=("apt, suite $suite: $(grep -m1 '^E:' "$LOGS/fetch.log" || echo 'download failed')")
				continue
			fi
			# shellcheck disable=SC2034 # of the caller
			deb=$(echo "$work"/*.deb)
			return 0
		done
	done
	return 1
}
