#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes build/tree: the base plus this project.  Only files whose content
# differs are touched, so that kernel builds stay incremental.
#
# The project is laid over the base in three ways:
#   mm/ include/ Documentation/ tools/ scripts/   whole files, at the same path
#   harness/base-edits.patch   edits of files of the base
#   MAINTAINERS                one section of the base's MAINTAINERS
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

OVERLAY_DIRS=(mm include Documentation tools scripts)
EDITS=$HARNESS/base-edits.patch
BASE_DIR=$BUILD/base
TREE=$BUILD/tree
STAGE=$BUILD/overlay
MANIFEST=$BUILD/tree.list

# Paths a patch names on one side: patch_paths PATCH '---'|'+++'
patch_paths() {
	sed -n -E "s|^$2 [ab]/([^\t]*).*|\1|p" "$1"
}

# Replaces the section of FILE that has the heading of SECTION's first line,
# or inserts it in alphabetical order.
merge_maintainers() { # merge_maintainers FILE SECTION > NEW
	LC_ALL=C awk -v section="$2" '
	BEGIN {
		while ((getline line < section) > 0)
			text = text line "\n"
		sub(/\n+$/, "\n", text)
		heading = substr(text, 1, index(text, "\n") - 1)
	}
	# A heading is followed by a line such as "M:<tab>...".
	{ lines[NR] = $0 }
	END {
		for (i = 1; i <= NR; i++) {
			if (lines[i] == heading && lines[i + 1] ~ /^[A-Z]:\t/)
				at = i
		}
		for (i = 1; i <= NR; i++) {
			is_heading = lines[i - 1] == "" && lines[i + 1] ~ /^[A-Z]:\t/
			if (!done && (at ? i == at : is_heading && lines[i] > heading)) {
				printf "%s\n", text
				done = 1
			}
			if (i == at) {
				while (i <= NR && lines[i] != "")
					i++
				continue
			}
			print lines[i]
		}
		if (!done)
			printf "\n%s", text
	}' "$1"
}

# Fills $STAGE with the final content of every file that differs from the
# base, and $STAGE.removed with the files the project removes from it.
stage_project() {
	local dir path
	rm -rf "$STAGE"
	mkdir -p "$STAGE"
	: > "$STAGE.removed"

	for dir in "${OVERLAY_DIRS[@]}"; do
		[[ -d $TOP/$dir ]] || continue
		while IFS= read -r path; do
			mkdir -p "$STAGE/$(dirname "$path")"
			cp "$TOP/$path" "$STAGE/$path"
		done < <(find "$dir" -type f ! -name '*.orig' ! -name '*.rej' \
			! -name '*~' ! -name '.*.swp' ! -name '*.o')
	done

	if [[ -f $EDITS ]]; then
		while IFS= read -r path; do
			[[ ! -e $STAGE/$path ]] ||
				die "$path is both a file of this project and edited by harness/base-edits.patch; keep one"
			[[ -f $BASE_DIR/$path ]] ||
				die "harness/base-edits.patch edits $path, which the base tree does not have"
			mkdir -p "$STAGE/$(dirname "$path")"
			cp "$BASE_DIR/$path" "$STAGE/$path"
		done < <(patch_paths "$EDITS" ---)
		if ! patch -p1 -f -s --no-backup-if-mismatch -d "$STAGE" \
			-i "$EDITS" > "$LOGS/patch.log" 2>&1; then
			cat "$LOGS/patch.log" >&2
			die "harness/base-edits.patch does not apply to $(cat "$BUILD/base.id"): $(
				find "$STAGE" -name '*.rej' -printf '%P ' | sed 's/\.rej / /g')"
		fi
		while IFS= read -r path; do
			[[ -f $STAGE/$path ]] || echo "$path" >> "$STAGE.removed"
		done < <(patch_paths "$EDITS" ---)
	fi

	if [[ -f $TOP/MAINTAINERS ]]; then
		merge_maintainers "$BASE_DIR/MAINTAINERS" "$TOP/MAINTAINERS" > "$STAGE/MAINTAINERS"
	fi
}

# Puts FILE at PATH of the tree through a new file, so that a hard link to the
# base is never written through, with a fresh time stamp for make.
replace_in_tree() { # replace_in_tree FILE PATH
	local target=$TREE/$2
	mkdir -p "$(dirname "$target")"
	cp --no-preserve=timestamps "$1" "$target.zs-new"
	mv -f "$target.zs-new" "$target"
}

copy_base() {
	local link=(cp -a --link) entry
	# KSRC is copied: with links, a change of one tree would change the other.
	[[ -z $KSRC ]] || link=(cp -a --reflink=auto)
	rm -rf "$TREE" "$TREE.new" "$MANIFEST"
	mkdir -p "$TREE.new"
	copy_entries() {
		for entry in "$BASE_DIR"/* "$BASE_DIR"/.[!.]*; do
			case ${entry##*/} in
			.git | '.[!.]*') continue ;;
			esac
			"${link[@]}" "$entry" "$TREE.new/" || return 1
		done
	}
	if ! copy_entries 2> "$LOGS/copy.log"; then
		# The cache may be on another file system.
		need_space "$BUILD" 2500 "a copy of the kernel tree"
		rm -rf "$TREE.new"
		mkdir -p "$TREE.new"
		link=(cp -a --reflink=auto)
		copy_entries ||
			{ disk_hint; die "copying the base tree to build/tree failed"; }
	fi
	cp "$BUILD/base.id" "$TREE.id.new"
	mv "$TREE.new" "$TREE"
	mv "$TREE.id.new" "$TREE.id"
}

apply_stage() {
	local path changed=0 now=$STAGE.list
	(cd "$STAGE" && find . -type f -printf '%P\n' | LC_ALL=C sort) > "$now"

	# If this is interrupted, the next run must know the old and the new files.
	touch "$MANIFEST"
	LC_ALL=C sort -u "$MANIFEST" "$now" "$STAGE.removed" > "$MANIFEST.new"
	mv "$MANIFEST.new" "$MANIFEST"

	while IFS= read -r path; do
		cmp -s "$STAGE/$path" "$TREE/$path" && continue
		replace_in_tree "$STAGE/$path" "$path"
		info "updated $path"
		changed=$((changed + 1))
	done < "$now"

	while IFS= read -r path; do
		[[ -e $TREE/$path ]] || continue
		rm -f "$TREE/$path"
		info "removed $path"
		changed=$((changed + 1))
	done < "$STAGE.removed"

	# Files that an earlier state of the project has put there, and this one does not
	while IFS= read -r path; do
		if [[ -f $BASE_DIR/$path ]]; then
			replace_in_tree "$BASE_DIR/$path" "$path"
			info "restored $path"
		else
			rm -f "$TREE/$path"
			info "removed $path"
		fi
		changed=$((changed + 1))
	done < <(LC_ALL=C sort -u "$now" "$STAGE.removed" | LC_ALL=C comm -13 - "$MANIFEST")

	LC_ALL=C sort -u "$now" "$STAGE.removed" > "$MANIFEST.new"
	mv "$MANIFEST.new" "$MANIFEST"
	step "build/tree: $(wc -l < "$MANIFEST") files differ from the base, $changed updated now"
}

main() {
	"$LIB/deps.sh" tree
	build_lock
	"$LIB/fetch.sh"
	mkdir -p "$LOGS"
	if [[ ! -d $TREE ]] || ! cmp -s "$BUILD/base.id" "$TREE.id"; then
		step "Making build/tree from the base (about 10 seconds)"
		copy_base
	fi
	stage_project
	apply_stage
}

main
