#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make distclean: removes what this project keeps in its cache directory, and
# the directory if nothing else is in it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rm -rf "$CACHE/ccache" "$CACHE"/linux-* "$CACHE"/fetch.* "$CACHE/lock"
[[ ! -d $CACHE ]] || rmdir "$CACHE" 2> /dev/null ||
	warn "$CACHE holds other files and was kept"
