#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# sparse, with two things that Linux 7.3 uses and the released sparse 0.6.4
# does not know: C23's typeof_unqual, and strlen of a literal as a constant.
exec sparse -D__typeof_unqual__=__typeof__ \
	'-D__builtin_strlen(s)=(sizeof(s)-1)' "$@"
