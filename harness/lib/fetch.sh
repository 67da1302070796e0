#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Provides the pristine base tree, of Linux BASE, as build/base, from the first of:
#   KSRC=dir     a clean Linux tree
#   apt          Debian's package linux-source-X.Y, from the mirror that this
#                machine uses, with a private apt state
#   kernel.org   the newest X.Y.z tarball
# Trees that were fetched are kept in the cache.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $BASE =~ ^[1-9][0-9]*\.(0|[1-9][0-9]*)$ ]] ||
	die "BASE=$BASE is not a release of Linux, such as 7.3"
SERIES=$BASE
PACKAGE=linux-source-$SERIES
SUITES=(trixie-backports forky sid trixie bookworm-backports)
FETCHED=$CACHE/linux-$SERIES
tried=()

# makefile_value FILE NAME
makefile_value() { sed -n "s/^$2 *= *//p" "$1" | head -n 1; }

tree_version() {
	printf '%s.%s.%s' "$(makefile_value "$1/Makefile" VERSION)" \
		"$(makefile_value "$1/Makefile" PATCHLEVEL)" \
		"$(makefile_value "$1/Makefile" SUBLEVEL)"
}

is_kernel_tree() {
	[[ -f $1/Makefile && -f $1/mm/Kconfig && -f $1/Kbuild ]]
}

# use_tree DIR ID: points build/base at a tree.  tree.sh starts anew if the id changes.
use_tree() {
	mkdir -p "$BUILD"
	if [[ $(readlink "$BUILD/base" 2> /dev/null) != "$1" ]]; then
		rm -rf "$BUILD/base"
		ln -s "$1" "$BUILD/base"
	fi
	if [[ $(cat "$BUILD/base.id" 2> /dev/null) != "$2" ]]; then
		echo "$2" > "$BUILD/base.id"
	fi
}

from_ksrc() {
	local dir version
	[[ -d $KSRC ]] || die "KSRC=$KSRC is not a directory"
	dir=$(cd "$KSRC" && pwd)
	is_kernel_tree "$dir" || die "KSRC=$dir is not a Linux source tree"
	[[ ! -e $dir/.config && ! -d $dir/include/config ]] ||
		die "KSRC=$dir was built in; run 'make mrproper' there first (or give a clean copy)"
	version=$(tree_version "$dir")
	[[ $version == "$SERIES".* ]] ||
		warn "KSRC=$dir is Linux $version; this project is written against $SERIES, patches may not apply"
	step "Base: Linux $version in $dir (KSRC)"
	use_tree "$dir" "ksrc $dir $version"
}

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

from_apt() {
	local site suite work deb version unpacked apt=() error sites
	if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
		tried+=("apt: this machine has no apt-get and dpkg-deb")
		return 1
	fi
	sites=$(debian_sites) || sites=
	if [[ -z $sites ]]; then
		tried+=("apt: no Debian mirror in this machine's apt sources")
		return 1
	fi
	start_work state/lists/partial cache/archives/partial etc
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
			if ! apt-cache "${apt[@]}" show "$PACKAGE" > /dev/null 2>&1; then
				tried+=("apt, suite $suite: has no package $PACKAGE")
				continue
			fi
			step "Fetching $PACKAGE from Debian's $suite (about 170 MB)"
			if ! (cd "$work" && with_progress 'download' 0 "$LOGS/fetch.log" \
				apt-get "${apt[@]}" download "$PACKAGE"); then
				tried+=("apt, suite $suite: $(grep -m1 '^E:' "$LOGS/fetch.log" || echo 'download failed')")
				continue
			fi
			deb=$(echo "$work"/*.deb)
			step "Unpacking it (about 30 seconds, 1.8 GB)"
			mkdir -p "$work/deb" "$work/tree"
			unpack_deb() {
				dpkg-deb --fsys-tarfile "$deb" |
					tar -x -C "$work/deb" --no-same-owner &&
				tar -x -C "$work/tree" --no-same-owner \
					-f "$work/deb/usr/src/$PACKAGE.tar.xz"
			}
			with_progress 'unpack' 0 "$LOGS/fetch.log" unpack_deb ||
				die "unpacking $PACKAGE failed; nothing was left behind, fix the cause and run again"
			unpacked=$(echo "$work"/tree/*)
			is_kernel_tree "$unpacked" ||
				die "$PACKAGE does not have a kernel tree at the expected place"
			version=$(dpkg-deb --field "$deb" Version)
			finish_fetch "$unpacked" "$PACKAGE $version ($suite)"
			return 0
		done
	done
	return 1
}

apt_source_line() { # apt_source_line SITE SUITE
	local key=/usr/share/keyrings/debian-archive-keyring.gpg options=
	[[ ! -f $key ]] || options="[signed-by=$key] "
	echo "deb $options$1 $2 main"
}

from_kernel_org() {
	local index name work get url=https://cdn.kernel.org/pub/linux/kernel/v${BASE%.*}.x
	if command -v curl > /dev/null; then
		get=(curl -fsSL --connect-timeout 15 --retry 2)
	elif command -v wget > /dev/null; then
		get=(wget -q -O - --connect-timeout=15 --tries=2)
	else
		tried+=("kernel.org: neither curl nor wget is installed")
		return 1
	fi
	if ! index=$("${get[@]}" "$url/sha256sums.asc" 2> /dev/null); then
		tried+=("kernel.org: $url cannot be reached")
		return 1
	fi
	name=$(grep -o "linux-$SERIES\(\.[0-9]*\)\?\.tar\.xz" <<< "$index" | sort -V | tail -n 1)
	if [[ -z $name ]]; then
		tried+=("kernel.org: has no $SERIES release")
		return 1
	fi
	start_work tree
	step "Fetching $name from kernel.org (about 150 MB)"
	if ! "${get[@]}" "$url/$name" > "$work/$name"; then
		tried+=("kernel.org: download of $name failed")
		return 1
	fi
	grep " $name\$" <<< "$index" > "$work/sum"
	(cd "$work" && sha256sum --quiet -c sum) ||
		die "$name from kernel.org does not match its checksum; run again"
	step "Unpacking it (about 30 seconds, 1.8 GB)"
	tar -x -C "$work/tree" --no-same-owner -f "$work/$name" ||
		{ disk_hint; die "unpacking $name failed; nothing was left behind"; }
	finish_fetch "$(echo "$work"/tree/*)" "$name"
}

# finish_fetch UNPACKED DESCRIPTION: moves a tree to its final name.  The description
# is written last; without it the tree does not count as complete.
finish_fetch() {
	rm -rf "$FETCHED" "$FETCHED.id"
	mv "$1" "$FETCHED"
	echo "$2" > "$FETCHED.id.new"
	mv "$FETCHED.id.new" "$FETCHED.id"
}

main() {
	mkdir -p "$LOGS" "$CACHE" || die "cannot write to $BUILD and $CACHE"
	if [[ -n $KSRC ]]; then
		from_ksrc
		return 0
	fi

	# Other checkouts share the cache: one of them fetches, the others wait.
	exec 8> "$CACHE/lock"
	flock -n 8 || { info "waiting for another command that fetches the kernel source"; flock 8; }
	if [[ ! -f $FETCHED.id ]] || ! is_kernel_tree "$FETCHED"; then
		if ! from_apt && ! from_kernel_org; then
			printf 'error: no Linux %s source tree.  Tried:\n' "$SERIES" >&2
			printf '  KSRC: not set\n' >&2
			printf '  %s\n' "${tried[@]}" >&2
			printf 'Give one with:  make KSRC=/path/to/linux-%s\n' "$SERIES" >&2
			disk_hint
			exit 1
		fi
		step "Base: Linux $(tree_version "$FETCHED"), $(cat "$FETCHED.id")"
	fi
	use_tree "$FETCHED" "$(cat "$FETCHED.id")"
}

main
