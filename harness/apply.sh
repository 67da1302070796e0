#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make apply KSRC=dir: applies the patches of series/ to a Linux tree: with git am to a git
# repository, and otherwise to the files.  If a hunk does not fit, the tree stays as it is,
# and the message says which hunk of which patch, and what it found.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/patches.sh"

REPO=$BUILD/apply.repo

is_repository() { # is_repository DIR: DIR is the top of one that has the kernel's files
	local top
	top=$(git -C "$1" rev-parse --show-toplevel 2> /dev/null) || return 1
	[[ $(realpath "$top") == "$1" ]] &&
		git -C "$1" ls-files --error-unmatch mm/Kconfig > /dev/null 2>&1
}

# What keeps git am from working on a repository, before anything is done
check_repository() { # check_repository DIR
	local dir=$1 path git_dir paths
	git_dir=$(git -C "$dir" rev-parse --absolute-git-dir)
	for path in rebase-apply rebase-merge MERGE_HEAD CHERRY_PICK_HEAD; do
		[[ ! -e $git_dir/$path ]] ||
			die "a git am, rebase, merge or cherry-pick is under way in $dir; finish it first"
	done
	git -C "$dir" diff --cached --quiet ||
		die "$dir has changes in its index; commit or stash them first"
	mapfile -t paths < <(series_paths)
	path=$(git -C "$dir" status --porcelain -- "${paths[@]}" | head -n 3)
	[[ -z $path ]] ||
		die "$dir has changes in files that the series touches; commit or stash them first:
$path"
	git -C "$dir" var GIT_COMMITTER_IDENT > /dev/null 2>&1 ||
		die "git does not know who commits in $dir; set user.name and user.email there"
}

series_paths() {
	local name
	while IFS= read -r name; do
		patch_paths "$SERIES/$name"
	done < <(series_names) | sort -u
}

to_repository() { # to_repository DIR
	local dir=$1 log=$LOGS/apply.log
	# As they fit this tree, see apply_rewrite() in patches.sh
	rm -rf "$REPO.patches"
	scratch_git "$REPO" format-patch -q --zero-commit --no-signature -N --no-renames -B \
		-o "$REPO.patches" base..series
	if ! git -C "$dir" am -q --keep-cr "$REPO.patches"/*.patch > "$log" 2>&1; then
		git -C "$dir" am --abort >> "$log" 2>&1 || true
		cat "$log" >&2
		die "git am failed; $dir is as it was"
	fi
}

# The files that the patches made in the scratch repository, to a tree without git
to_files() { # to_files DIR
	local dir=$1 path
	while IFS= read -r path; do
		if [[ -e $REPO/$path ]]; then
			mkdir -p "$dir/$(dirname "$path")"
			# A new file, in case that the old one is a hard link
			cp -p "$REPO/$path" "$dir/$path.zs-new"
			touch "$dir/$path.zs-new"
			mv -f "$dir/$path.zs-new" "$dir/$path"
		else
			rm -f "$dir/$path"
		fi
	done < <(scratch_git "$REPO" diff --name-only --no-renames base series)
}

main() {
	local dir how n
	"$LIB/deps.sh" tree
	mkdir -p "$LOGS"
	[[ -n $KSRC ]] || die "say which tree: make apply KSRC=/path/to/linux"
	[[ -d $KSRC ]] || die "KSRC=$KSRC is not a directory"
	dir=$(realpath "$KSRC")
	[[ -f $dir/Makefile && -f $dir/mm/Kconfig && -f $dir/Kbuild ]] ||
		die "KSRC=$dir is not a Linux source tree"
	[[ -w $dir/mm ]] || die "KSRC=$dir is not writable"
	if is_repository "$dir"; then
		check_repository "$dir"
		how='git am'
	else
		how='the files'
	fi
	step "Trying the patches on a copy of the files that they touch"
	series_repo "$REPO" "$dir" ||
		die "the series does not fit $dir, which is as it was"
	n=$(series_names | wc -l)
	step "Applying $n patches to $dir ($how)"
	if [[ $how == 'git am' ]]; then
		to_repository "$dir"
	else
		to_files "$dir"
	fi
	finish apply "$n patches are in $dir"
}

main
