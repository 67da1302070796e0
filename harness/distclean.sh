#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make distclean: removes this project's files from its cache directory, and the
# directory if it has no other files.  The Makefile removes build/.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

main() {
	rm -rf "$CACHE/ccache" "$CACHE"/linux-* "$CACHE"/fetch.* "$CACHE/lock"
	# The files in the root of Debian sid belong to root.
	if [[ -e $CACHE/sid || -e $CACHE/sid.new ]]; then
		find_root || die "removing $CACHE/sid takes root; run:  sudo rm -rf '$CACHE/sid' '$CACHE/sid.new'"
		"${as_root[@]}" rm -rf --one-file-system "$CACHE/sid" "$CACHE/sid.new"
	fi
	rm -f "$CACHE/sid.ok" "$CACHE/sid.lock"
	[[ ! -d $CACHE ]] || rmdir "$CACHE" 2> /dev/null ||
		warn "$CACHE holds other files and was kept"
}

main
