#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make series: the whole project as one patch for `git am` or `patch -p1`.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

OUT=$BUILD/series
PATCH=$OUT/0001-mm-zsmalloc-rebuild-around-page-migration.patch

copy() { # copy SIDE TREE PATH
	[[ -f $2/$3 ]] || return 0
	mkdir -p "$OUT/$1/$(dirname "$3")"
	cp "$2/$3" "$OUT/$1/$3"
}

# The changed files only, side by side as a/ and b/, and the difference in changes
compare() {
	local path status=0
	rm -rf "$OUT"
	mkdir -p "$OUT/a" "$OUT/b"
	while IFS= read -r path; do
		copy a "$BUILD/base" "$path"
		copy b "$BUILD/tree" "$path"
	done < "$BUILD/tree.list"
	cd "$OUT"
	# git ends with status 1 if there are differences.
	GIT_CONFIG_GLOBAL=/dev/null git diff --no-index --no-prefix --no-color \
		--no-ext-diff -M a b > changes || status=$?
	[[ $status -eq 1 && -s changes ]] ||
		die "the project does not differ from the base: there is nothing to export"
}

message() { # the patch, in the format of git am
	local author
	author=$(git -C "$TOP" log -1 --format='%an <%ae>' 2> /dev/null || true)
	: "${author:=zsmalloc project <zsmalloc@localhost>}"
	echo "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001"
	echo "From: $author"
	echo "Date: $(date -R)"
	echo "Subject: [PATCH] mm/zsmalloc: rebuild around page migration"
	echo
	if [[ -f $HARNESS/series-message.txt ]]; then
		cat "$HARNESS/series-message.txt"
	else
		echo "Replace the allocator for compressed pages used by zram and zswap."
	fi
	echo
	echo "Signed-off-by: $author"
	echo "---"
	git diff --no-index --stat=72 a b || true
	echo
	cat changes
	printf -- '-- \nbase: %s\n' "$(cat "$BUILD/base.id")"
}

main() {
	"$LIB/deps.sh" tree
	"$HARNESS/tree.sh"
	step "Writing the patch"
	compare
	message > "$PATCH"
	rm -rf a b changes
	step "Checking that it applies to the base"
	patch -p1 -f -s --dry-run -d "$BUILD/base" -i "$PATCH" ||
		die "the patch does not apply to build/base"
	info "${PATCH#"$TOP"/}"
	finish series "$(grep -c '^diff --git' "$PATCH") files, $(wc -l < "$PATCH") lines; apply with: git am ${PATCH#"$TOP"/}"
}

main
