# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Configures and builds kernels.  Only sourced.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

CONFIGS=$HARNESS/configs
SUITE_CONFIG=$BUILD/tree/mm/tests/zsmalloc.kunitconfig

knob CCACHE_MAXSIZE 5G
CROSS=	# how the names of the compiler and its tools begin
# The compiler: nothing for that of this machine, or gcc or clang for one in the root of
# Debian sid.  Scripts that set it have sourced sid.sh and called sid_root.
IN_SID=

# The environment of every kernel build: ccache, and nothing that changes between
# builds, so that objects are found in the cache.
kernel_env() {
	export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
	export KBUILD_BUILD_USER=zsmalloc KBUILD_BUILD_HOST=localhost
	export CCACHE_DIR=$CACHE/ccache CCACHE_BASEDIR=$BUILD
	export CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE
	# The compiler's own list of headers saves a run of the preprocessor.
	export CCACHE_DEPEND=1 CCACHE_SLOPPINESS=time_macros
	unset ARCH CROSS_COMPILE KCONFIG_CONFIG KBUILD_OUTPUT MAKEFLAGS MFLAGS
	if command -v ccache > /dev/null; then
		KCC="$LIB/cc.sh gcc"
	else
		KCC=gcc
	fi
}

# kmake BUILD-DIR ARCH ARGS...: runs make in build/tree
kmake() {
	local dir=$1 arch=$2 tools=(CROSS_COMPILE="$CROSS")
	shift 2
	if [[ -n $IN_SID ]]; then
		[[ $IN_SID == gcc ]] || tools=(LLVM="$CLANG")
		sid_run "$BUILD" make -C /mnt/tree O="$(in_sid_path "$dir")" ARCH="$arch" \
			"${tools[@]}" --no-print-directory "$@"
		return
	fi
	make -C "$BUILD/tree" O="$dir" ARCH="$arch" CROSS_COMPILE="$CROSS" \
		CC="${KCC%gcc}${CROSS}gcc" HOSTCC="$KCC" \
		--no-print-directory "$@"
}

# check_config FRAGMENT CONFIG: each option of FRAGMENT must have its value in CONFIG.
check_config() {
	local fragment=$1 config=$2 line name bad=0
	while IFS= read -r line; do
		name=${line%%=*}
		case $line in
		CONFIG_*=n)
			! grep -q "^$name=" "$config" || line_lost "$line" "$config"
			;;
		CONFIG_*=*)
			grep -q -x -F -- "$line" "$config" || line_lost "$line" "$config"
			;;
		'# CONFIG_'*' is not set')
			name=${line#'# '}
			name=${name%' is not set'}
			! grep -q "^$name=" "$config" || line_lost "$line" "$config"
			;;
		esac
	done < "$fragment"
	return "$bad"
}

line_lost() { # line_lost LINE CONFIG: sets bad, of check_config()
	printf 'error: asked for "%s", Kconfig made it "%s"\n' "$1" \
		"$(grep -E "^(# )?${name}[ =]" "$2" || echo "no such option")" >&2
	bad=1
}

configure() { # configure DIR ARCH FRAGMENT...
	local dir=$1 arch=$2 fragment=$1/zs.fragment
	shift 2
	mkdir -p "$dir"
	# If fragments differ on an option, the last one wins.
	cat "$@" | tac | awk -F= '!/^CONFIG_/ || !seen[$1]++' | tac > "$fragment"
	[[ -z $IN_SID ]] || fragment=$(in_sid_path "$fragment")
	kmake "$dir" "$arch" KCONFIG_ALLCONFIG="$fragment" allnoconfig \
		> "$LOGS/config.log" 2>&1 < /dev/null ||
		{ cat "$LOGS/config.log" >&2; die "configuring $dir failed"; }
	check_config "$dir/zs.fragment" "$dir/.config" ||
		die "these options have unmet dependencies or do not exist in this tree"
}

configure_uml() { # configure_uml DIR
	local dir=$1 suite=$SUITE_CONFIG
	mkdir -p "$dir"
	[[ -f $suite ]] || die "$suite is missing"
	# kunit.py itself rejects options that did not get their value.
	(cd "$BUILD/tree" && python3 tools/testing/kunit/kunit.py config \
		--build_dir "$dir" --make_options "CC=$KCC" \
		--make_options "HOSTCC=$KCC" --kunitconfig "$suite" \
		--kunitconfig "$CONFIGS/uml-debug.config") \
		> "$LOGS/config.log" 2>&1 < /dev/null ||
		{ cat "$LOGS/config.log" >&2; die "configuring $dir failed"; }
	kmake "$dir" um olddefconfig >> "$LOGS/config.log" 2>&1 < /dev/null ||
		{ cat "$LOGS/config.log" >&2; die "configuring $dir failed"; }
	check_config "$CONFIGS/uml-debug.config" "$dir/.config" ||
		die "these options have unmet dependencies or do not exist in this tree"
}

configure_x86_debug() { # configure_x86_debug DIR
	local suite=$BUILD/suite.config
	# The options of the KUnit suites that are not about user-mode Linux
	grep -E '^CONFIG_(KUNIT|ZSMALLOC)' "$SUITE_CONFIG" > "$suite"
	configure "$1" x86_64 "$CONFIGS/x86.config" "$CONFIGS/x86-debug.config" "$suite"
}

build() { # build DIR ARCH TARGET LABEL EXPECTED
	local dir=$1 arch=$2 target=$3 label=$4 expected=$5
	with_progress "$label" "$expected" "$LOGS/${dir##*/}.log" \
		kmake "$dir" "$arch" -j"$JOBS" "$target" ||
		die "building $label failed, see build/logs/${dir##*/}.log"
}
