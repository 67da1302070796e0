# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The patches of series/, applied as commits in throw-away repositories.  Only sourced.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SERIES=$TOP/series

# git without the settings of this user and machine, in a repository that is thrown away
scratch_git() { # scratch_git DIR ARGS...
	local dir=$1
	shift
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -C "$dir" \
		-c user.name=series -c user.email=series@localhost \
		-c core.autocrlf=false -c commit.gpgSign=false -c gc.auto=0 \
		-c core.hooksPath=/dev/null -c core.fileMode=true "$@"
}

# The names of the patches in their order.  series/series and the files must agree.
series_names() {
	local name
	[[ -s $SERIES/series ]] || die "series/series is missing or empty"
	while IFS= read -r name; do
		[[ -f $SERIES/$name ]] || die "series/series names $name, which does not exist"
		echo "$name"
	done < <(grep -v -E '^(#|$)' "$SERIES/series")
	for name in "$SERIES"/*.patch; do
		grep -q -x -F -- "${name##*/}" "$SERIES/series" ||
			die "series/${name##*/} is not in series/series"
	done
}

# The subject of a patch, without [PATCH]
subject_of() { # subject_of FILE
	awk '/^Subject: / { text = $0; next }
		text != "" && /^ / { text = text $0; next }
		text != "" { sub(/^Subject: (\[[^]]*\] )?/, "", text); print text; exit }' "$1"
}

# The paths that patches touch, on either side
patch_paths() { # patch_paths FILE...
	sed -n -E 's/^(---|\+\+\+) [ab]\/([^\t]*).*/\2/p; s/^diff --git a\/(.*) b\/\1$/\1/p' "$@" |
		LC_ALL=C sort -u
}

# patch_hunks DIR: which hunks of the last patch do not fit the files in DIR, with reasons;
# see hunks.py
patch_hunks() { # patch_hunks DIR PATCH
	python3 -B "$LIB/hunks.py" "$1" "$2"
}

# With three lines around each change as in the base, or else with two
apply_one() { # apply_one DIR NAME
	local context
	for context in 3 2; do
		scratch_git "$1" am -q --keep-cr --committer-date-is-author-date "-C$context" \
			"$SERIES/$2" > "$1/.git/am.log" 2>&1 && return
		scratch_git "$1" am --abort > /dev/null 2>&1 || true
	done
	return 1
}

# A patch that replaces whole files fits those of other releases, too: those whose blobs
# are in series/replaced.  Here they get the contents that the patch expects, and its
# commit gets the former parent.
apply_rewrite() { # apply_rewrite DIR NAME
	local dir=$1 patch=$SERIES/$2 path parent found=0
	while IFS= read -r path; do
		[[ -f $dir/$path ]] || continue
		grep -q -s "^$(scratch_git "$dir" hash-object "$path") $path " "$SERIES/replaced" ||
			continue
		python3 -B "$LIB/hunks.py" --old "$patch" "$path" > "$dir/.git/old"
		cp "$dir/.git/old" "$dir/$path"
		found=1
	done < <(awk '/^diff --git / { path = substr($4, 3) } /^dissimilarity / { print path }' "$patch")
	((found)) || return
	parent=$(scratch_git "$dir" rev-parse HEAD)
	scratch_git "$dir" commit -q -a -m 'as the patch expects'
	if ! apply_one "$dir" "$2"; then
		scratch_git "$dir" reset -q --hard "$parent"
		return 1
	fi
	parent=$(
		IFS=$'\n' read -r -d '' GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE < <(
			scratch_git "$dir" log -1 --format='%an%n%ae%n%ad' --date=raw
			printf '\0')
		export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
		scratch_git "$dir" log -1 --format=%B |
			scratch_git "$dir" commit-tree 'HEAD^{tree}' -p "$parent"
	)
	scratch_git "$dir" reset -q --hard "$parent"
}

# series_repo DIR SOURCE [PATHS]: makes DIR a repository with the files of SOURCE that the
# patches touch, or that the file PATHS lists, and a commit for each patch.  The first
# commit has the tag "base", and the one of each patch a tag of its number, p0001.  If a
# patch does not apply, this says why, and fails.
series_repo() {
	local dir=$1 source=$2 paths=${3:-/dev/null} path name names
	names=$(series_names) || exit 1
	rm -rf "$dir"
	mkdir -p "$dir"
	scratch_git "$dir" init -q -b series
	while IFS= read -r path; do
		[[ -f $source/$path ]] || continue
		mkdir -p "$dir/$(dirname "$path")"
		cp -p "$source/$path" "$dir/$path"
	done < <(
		{
			while IFS= read -r name; do
				patch_paths "$SERIES/$name"
			done <<< "$names"
			cat "$paths"
		} | LC_ALL=C sort -u)
	scratch_git "$dir" add -A -f
	scratch_git "$dir" commit -q --allow-empty -m base
	scratch_git "$dir" tag base
	while IFS= read -r name; do
		if ! apply_one "$dir" "$name" && ! apply_rewrite "$dir" "$name"; then
			echo "series/$name does not apply:" >&2
			patch_hunks "$dir" "$SERIES/$name" >&2 || cat "$dir/.git/am.log" >&2
			return 1
		fi
		scratch_git "$dir" tag "$(tag_of "$name")"
	done <<< "$names"
}

tag_of() { echo "p${1%%-*}"; } # tag_of NAME

# number_of N: as in the names of patches, 7 is 0007
number_of() {
	local n=${1%%-*}
	[[ $n =~ ^[0-9]+$ ]] || die "$1 is not the number of a patch; series/series has them"
	printf '%04d\n' "$((10#$n))"
}
