#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make distclean: removes what this project keeps in its cache directory, and
# the directory if nothing else is in it.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

rm -rf "$CACHE/ccache" "$CACHE"/linux-* "$CACHE"/fetch.* "$CACHE/lock"
# What is in the root of Debian sid belongs to root.
if [[ -e $CACHE/sid || -e $CACHE/sid.new ]]; then
	find_root || die "removing $CACHE/sid takes root; run:  sudo rm -rf '$CACHE/sid' '$CACHE/sid.new'"
	"${as_root[@]}" rm -rf --one-file-system "$CACHE/sid" "$CACHE/sid.new"
fi
rm -f "$CACHE/sid.ok" "$CACHE/sid.lock"
[[ ! -d $CACHE ]] || rmdir "$CACHE" 2> /dev/null ||
	warn "$CACHE holds other files and was kept"
