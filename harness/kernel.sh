#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Builds one kernel from build/tree:  kernel.sh uml|x86|x86-debug|torture-...
#   uml        user-mode Linux with KASAN and lockdep, for KUnit
#   x86        lean QEMU guest, for make run and make shell
#   x86-debug  the same with lockdep and the KUnit suite, for test and soak
#   torture-uml, torture-debug, torture-rt, torture-kcsan   see torture.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CONFIGS=$HARNESS/configs
SUITE_CONFIG=$BUILD/tree/mm/tests/zsmalloc.kunitconfig

# check_config FRAGMENT CONFIG: every option must be set as it was asked for.
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

line_lost() { # adds to the caller's $bad
	printf 'error: asked for "%s", Kconfig made it "%s"\n' "$1" \
		"$(grep -E "^(# )?${name}[ =]" "$2" || echo "no such option")" >&2
	bad=1
}

configure() { # configure DIR ARCH FRAGMENT...
	local dir=$1 arch=$2
	shift 2
	mkdir -p "$dir"
	# The last word on an option wins.
	cat "$@" | tac | awk -F= '!/^CONFIG_/ || !seen[$1]++' | tac > "$dir/zs.fragment"
	KCONFIG_ALLCONFIG=$dir/zs.fragment kmake "$dir" "$arch" allnoconfig \
		> "$LOGS/config.log" 2>&1 < /dev/null ||
		{ cat "$LOGS/config.log" >&2; die "configuring $dir failed"; }
	check_config "$dir/zs.fragment" "$dir/.config" ||
		die "these options have unmet dependencies or do not exist in this tree"
}

configure_uml() { # configure_uml DIR
	local dir=$1 suite=$SUITE_CONFIG
	mkdir -p "$dir"
	[[ -f $suite ]] || die "$suite is missing"
	# kunit.py itself refuses options that did not get their value.
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

# The options of the KUnit suite that make sense beyond UML
suite_options() {
	grep -E '^CONFIG_(KUNIT|ZSMALLOC)' "$SUITE_CONFIG"
}

build() { # build DIR ARCH TARGET LABEL EXPECTED
	local dir=$1 arch=$2 target=$3 label=$4 expected=$5
	with_progress "$label" "$expected" "$LOGS/${dir##*/}.log" \
		kmake "$dir" "$arch" -j"$JOBS" "$target" ||
		die "building $label failed, see build/logs/${dir##*/}.log"
}

main() {
	[[ $(uname -m) == x86_64 ]] ||
		die "the kernels are built with the native compiler: an x86_64 machine is needed, this is $(uname -m)"
	"$HARNESS/deps.sh" build
	kernel_env
	build_lock
	need_space "$BUILD" 1500 "a kernel build"
	case ${1:-} in
	uml)
		step "Building user-mode Linux with KASAN (first time about 9 minutes)"
		configure_uml "$BUILD/uml"
		build "$BUILD/uml" um linux 'user-mode Linux' 700
		;;
	x86)
		step "Building the guest kernel (first time about 8 minutes)"
		configure "$BUILD/x86" x86_64 "$CONFIGS/x86.config"
		build "$BUILD/x86" x86_64 vmlinux 'guest kernel' 920
		;;
	x86-debug)
		step "Building the debug guest kernel (first time about 9 minutes)"
		mkdir -p "$BUILD"
		suite_options > "$BUILD/suite.config"
		configure "$BUILD/x86-debug" x86_64 "$CONFIGS/x86.config" \
			"$CONFIGS/x86-debug.config" "$BUILD/suite.config"
		build "$BUILD/x86-debug" x86_64 vmlinux 'debug guest kernel' 1000
		;;
	torture-uml)
		step "Building user-mode Linux for the torture (first time about 5 minutes)"
		configure "$BUILD/$1" um "$CONFIGS"/torture{,-uml}.config
		build "$BUILD/$1" um linux "$1" 590
		;;
	torture-debug | torture-rt | torture-kcsan)
		step "Building the guest kernel $1 (first time about 6 minutes)"
		configure "$BUILD/$1" x86_64 "$CONFIGS"/torture{,-x86}.config \
			"$CONFIGS/$1.config"
		build "$BUILD/$1" x86_64 vmlinux "$1" 800
		;;
	*)
		die "usage: kernel.sh uml|x86|x86-debug|torture-uml|torture-debug|torture-rt|torture-kcsan"
		;;
	esac
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
