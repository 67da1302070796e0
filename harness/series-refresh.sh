#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make series-refresh: folds what has changed in the files of the project since into the
# patches of series/ where it belongs, and writes these anew.
#   PATCH=NNNN   what has no place goes into this patch: new files, and changes of lines
#                of the base if several patches change the file
# lib/absorb.py tells how a place is found.  The messages of the patches stay; edit them in
# series/.  What was folded is listed, by patch, for review: git diff series/
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/patches.sh"

knob PATCH

REPO=$BUILD/series.repo
NEW=$BUILD/series.new

rewrite() {
	local name tag status=0 changed=0
	rm -rf "$NEW"
	mkdir -p "$NEW"
	while IFS= read -r name; do
		tag=$(tag_of "$name")
		scratch_git "$REPO" format-patch -q -1 --stdout -N --zero-commit --no-signature \
			--no-renames -B --stat=76 --abbrev=12 "$tag" > "$NEW/$name"
		cmp -s "$NEW/$name" "$SERIES/$name" || changed=$((changed + 1))
	done < <(series_names)
	cp "$NEW"/*.patch "$SERIES/" || status=$?
	rm -rf "$NEW"
	((!status)) || die "writing series/ failed"
	info "$changed patches were written anew"
}

main() {
	local number=''
	"$LIB/deps.sh" tree
	mkdir -p "$LOGS"
	[[ -z $PATCH ]] || number=$(number_of "$PATCH")
	"$HARNESS/tree.sh" > "$LOGS/series.log" 2>&1 || { cat "$LOGS/series.log" >&2; exit 1; }
	step "Applying the patches of series/ to the files of the base"
	series_repo "$REPO" "$BUILD/base" "$BUILD/tree.list" || die "series/ does not apply"
	{
		cat "$BUILD/tree.list"
		scratch_git "$REPO" diff --name-only --no-renames base series
	} | LC_ALL=C sort -u > "$REPO/.git/paths"
	step "Folding what has changed into the patches"
	python3 -B "$LIB/absorb.py" "$REPO" "$BUILD/tree" "$number" ||
		die "series/ is as it was"
	rewrite
	"$HARNESS/series.sh" check
}

main
