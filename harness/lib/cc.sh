#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# cc.sh COMPILER ARGS...: the kernel's compiler, through ccache unless it gets an assembler
# file.  With CCACHE_DEPEND, ccache does not see what such a file includes with .incbin:
# zImage and bzImage, which include the compressed kernel, would have that of an earlier
# build.
for source; do :; done
case $source in
*.S) exec "$@" ;;
esac
exec ccache "$@"
