#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Provides the pristine base tree, of Linux BASE, as build/base, from the first of:
#   KSRC=dir     a clean Linux tree
#   apt          Debian's package linux-source-X.Y, from the mirror that this
#                machine uses, with a private apt state
#   kernel.org   the newest X.Y.z tarball
# Trees that were fetched are kept in the cache.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/debian.sh"

[[ $BASE =~ ^[1-9][0-9]*\.(0|[1-9][0-9]*)$ ]] ||
	die "BASE=$BASE is not a release of Linux, such as 7.3"
SERIES=$BASE
PACKAGE=linux-source-$SERIES
FETCHED=$CACHE/linux-$SERIES

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

from_apt() {
	local work deb suite version unpacked
	start_work deb tree
	download_deb "$PACKAGE" "about 170 MB" || return
	step "Unpacking it (about 30 seconds, 1.8 GB)"
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
