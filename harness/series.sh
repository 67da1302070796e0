#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make series: build/series has the patches of series/ for `git am`, and the same in one
# mbox, after a proof that the base and all of them are the project.
#   series.sh         proves that, and writes build/series
#   series.sh check   only proves it; seconds
# The patches are applied with git am to the files of the base that they touch.  Each file
# of the project must be the same then, byte for byte.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/patches.sh"

OUT=$BUILD/series
REPO=$BUILD/series.repo
TREE=$BUILD/tree

# The first file of the project that the patches do not make, and what to do about it
compare() {
	local path bad=0 first=''
	cd "$REPO"
	while IFS= read -r path; do
		if [[ ! -e $TREE/$path && ! -e $path ]]; then
			continue
		elif cmp -s "$TREE/$path" "$path" &&
			[[ $(stat -c %A "$TREE/$path") == "$(stat -c %A "$path")" ]]; then
			continue
		fi
		bad=$((bad + 1))
		: "${first:=$path}"
	done < <(
		{
			cat "$BUILD/tree.list"
			scratch_git . diff --name-only --no-renames base series
		} | LC_ALL=C sort -u)
	cd "$TOP"
	((bad)) || return 0
	echo "$first is not what the patches of series/ make, nor are $((bad - 1)) other files:" >&2
	if [[ ! -e $REPO/$first ]]; then
		echo "    no patch adds it" >&2
	elif [[ ! -e $TREE/$first ]]; then
		echo "    the project does not have it any more" >&2
	elif cmp -s "$TREE/$first" "$REPO/$first"; then
		echo "    its mode is $(stat -c %a "$TREE/$first"), the patches make $(stat -c %a "$REPO/$first")" >&2
	else
		diff -u --label "series/ $first" --label "$first" "$REPO/$first" "$TREE/$first" |
			head -n 20 | sed 's/^/    /' >&2 || true
	fi
	if [[ -e $REPO/$first ]]; then
		echo "make series-refresh folds such changes into the patches where they belong" >&2
	else
		echo "make series-refresh PATCH=NNNN puts new files into that patch" >&2
	fi
	return 1
}

prove() {
	step "Applying the patches of series/ to the files of the base"
	series_repo "$REPO" "$BUILD/base" "$BUILD/tree.list" || return
	compare || return
	info "base + series/ is the project: $(wc -l < "$BUILD/tree.list") files, $(series_names | wc -l) patches"
}

# The cover letter, with the list of patches and the sizes of the changes at its end
cover() { # cover VERSION NUMBER
	local author
	author=$(scratch_git "$REPO" log -1 --format='%an <%ae>' series)
	echo "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001"
	echo "From: $author"
	echo "Date: $(date -R)"
	sed "1s/^Subject: /Subject: [RFC PATCH 00\/$1] /" "$SERIES/0000-cover-letter"
	echo
	scratch_git "$REPO" shortlog -w75,2,4 base..series < /dev/null
	scratch_git "$REPO" diff --no-renames --shortstat base series
	printf '\n-- \nbase: %s\n' "$(cat "$BUILD/base.id")"
}

export_patches() {
	local n
	rm -rf "$OUT"
	mkdir -p "$OUT"
	scratch_git "$REPO" format-patch -q -n --rfc --zero-commit --no-signature --no-renames -B \
		--stat=76 -o "$OUT" base..series
	n=$(series_names | wc -l)
	cat "$OUT"/*.patch > "$OUT/mbox"
	[[ ! -f $SERIES/0000-cover-letter ]] || cover "$n" > "$OUT/0000-cover-letter"
	# What is written must give the same files as what it was made of.
	scratch_git "$REPO" checkout -q -b exported base
	scratch_git "$REPO" am -q --keep-cr "$OUT/mbox" > "$LOGS/series.log" 2>&1 ||
		{ cat "$LOGS/series.log" >&2; die "build/series/mbox does not apply with git am"; }
	scratch_git "$REPO" diff --quiet series exported ||
		die "build/series/mbox does not give the files that series/ gives"
	info "build/series/mbox applies to the base with git am"
}

main() {
	"$LIB/deps.sh" tree
	mkdir -p "$LOGS"
	case ${1:-} in
	check)
		"$HARNESS/tree.sh" > "$LOGS/series.log" 2>&1 || { cat "$LOGS/series.log" >&2; exit 1; }
		prove || problem 'series/ is not the project, see above'
		finish 'series check' 'series/ makes the project'
		;;
	'')
		"$HARNESS/tree.sh"
		prove || problem 'series/ is not the project, see above'
		((${#problems[@]})) || { step "Writing build/series"; export_patches; }
		finish series "$(series_names | wc -l) patches; apply them with: git am build/series/*.patch"
		;;
	*)
		die "usage: series.sh [check]"
		;;
	esac
}

main "$@"
