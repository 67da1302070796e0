#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# sparse, with three things that Linux 7.3 uses and the released sparse 0.6.4
# does not know: C23's typeof_unqual, strlen of a literal as a constant, and the
# extensions that RISC-V names with underscores, _zicsr_zifencei.
args=()
for arg; do
	[[ $arg != -march=rv* ]] || arg=${arg%%_*}
	args+=("$arg")
done
exec sparse -D__typeof_unqual__=__typeof__ \
	'-D__builtin_strlen(s)=(sizeof(s)-1)' "${args[@]}"
