# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2054
# Boots kernels: guest() in QEMU, uml() those of user-mode Linux.  Only sourced.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$LIB/splat.sh"

GUEST_MACHINE=(qemu-system-x86_64 -machine q35)
GUEST_CPUS=2
GUEST_END='ZS-GUEST-END'	# printed by the guest's init before it powers off

# kvm or tcg; not set: KVM if it can run the kernel, otherwise TCG
knob ACCEL
[[ $ACCEL =~ ^(kvm|tcg|)$ ]] || die "ACCEL: kvm or tcg, not '$ACCEL'"

# TCG, QEMU's own translation, with one thread per CPU.
# QEMU looks up translations of a page at each store to it.  If the page was text of
# programs earlier, there are thousands of translations, one for each address at which
# the text was mapped, and a store takes up to 0.2 s.  Therefore programs are always
# mapped at the same address (norandmaps), and the kernel copies words instead of the
# bytes of `rep movsb` (erms).
TRANSLATED=(-accel tcg,thread=multi -cpu max,la57=off,erms=off,fsrm=off)

# CPU models to try with KVM, the best one first.  Some virtual machines announce
# MSR 0x10a (arch-capabilities) but reject it; Nehalem is the best model without xsave.
KVM_CPUS=(host host,arch-capabilities=off Nehalem)
KVM_SILENCE=8		# seconds until the first output of a trial guest, at the most
KVM_SECONDS=30		# seconds until its end; TCG is faster than a KVM that needs more
SILENCE=120		# seconds until the first output of any other guest

declare -A KVM_SAID	# kernels for which ask_kvm() has printed its answer

# Guests get QEMU_CPU if the script sets it; qemu-user has a variable of this name.
unset QEMU_CPU

# QEMU exits with status 0 after Ctrl-C, and the shell would continue.
trap 'exit 130' INT

# A translated CPU on a busy host may stop for a while; these times are longer.
GUEST_CMDLINE='console=ttyS0 panic=-1 tsc=reliable watchdog_thresh=30'
GUEST_CMDLINE+=' rcupdate.rcu_cpu_stall_timeout=60 norandmaps'

# run_qemu CONSOLE SECONDS SILENCE ARGS...
# Runs QEMU, with its own output in CONSOLE.qemu.  Returns its status; 124 if it was
# stopped: after SECONDS, or after SILENCE if the console was still empty.
# Sets why, of the caller, to the error, or to nothing.
run_qemu() {
	local console=$1 seconds=$2 silence=$3 status=0 watcher
	shift 3
	: > "$console"
	rm -f "$console.silent"
	stop_silent "$console" "$silence" $$ &
	watcher=$!
	# If a signal ends QEMU, the shell reports that in the same file.
	{
		# shellcheck disable=SC2016 # for that shell
		timeout --foreground -k 5 "$seconds" \
			sh -c 'ulimit -c 0; echo $$ > "$0"; exec "$@"' "$console.pid" \
			"${GUEST_MACHINE[@]}" -smp "$GUEST_CPUS" \
			-nodefaults -no-user-config -display none -no-reboot \
			-serial "file:$console" "$@" < /dev/null || status=$?
	} > "$console.qemu" 2>&1
	kill "$watcher" 2> /dev/null || true
	wait "$watcher" 2> /dev/null || true

	((status != 137)) || status=124
	[[ ! -e $console.silent ]] || status=124
	why=$(qemu_words "$console.qemu" | sed 's/^qemu-[^:]*: //; s/^error: //; q')
	if [[ -n $why ]]; then
		((status)) || why=	# only a remark
	elif [[ -e $console.silent ]]; then
		why="the guest wrote nothing in $silence seconds"
	elif ((status == 124)); then
		why="the guest was still running after $seconds seconds"
	elif ((status)); then
		why="QEMU ended with status $status"
	fi
	[[ -n $why || -s $console ]] || why='the guest ended without any output'
	rm -f "$console.silent" "$console.pid"
	return "$status"
}

stop_silent() { # stop_silent CONSOLE SECONDS PARENT
	local end=$((SECONDS + $2))
	while sleep 0.5 && [[ ! -s $1 ]] && kill -0 "$3" 2> /dev/null; do
		((SECONDS >= end)) || continue
		touch "$1.silent"
		kill -9 "$(< "$1.pid")" 2> /dev/null
		break
	done
}

qemu_words() { # qemu_words FILE: the errors that QEMU printed
	grep -a -v -E '^$|warning:|terminating on signal|^[^ ]*/guest.sh: line ' "$1" |
		cut -c 1-200 || true
}

# choose_cpu VMLINUX: sets QEMU_CPU for guests with that kernel
choose_cpu() {
	local model='' why=''
	if [[ $ACCEL == tcg ]]; then
		QEMU_CPU=("${TRANSLATED[@]}")
		return
	fi
	ask_kvm "$1"
	if [[ -n $model ]]; then
		QEMU_CPU=(-accel kvm -cpu "$model")
	elif [[ $ACCEL == kvm ]]; then
		die "ACCEL=kvm, but KVM cannot run ${1#"$TOP"/}: $why"
	else
		QEMU_CPU=("${TRANSLATED[@]}")
	fi
}

# ask_kvm VMLINUX: sets model and why, of the caller: the CPU model with which KVM can
# run a kernel, or why it cannot.  This is tried, because many virtual machines have a
# /dev/kvm that does not work.  The answer is kept next to the kernel, in three lines: a
# hash of the kernel and the machine that it holds for, the CPU model, the error.
ask_kvm() {
	local file=$1.kvm key known='' tried=''
	key=$({ machine && cat "$1" "$LIB/guest.sh"; } | sha256sum)
	[[ ! -f $file ]] || { read -r known && read -r model && read -r why; } < "$file" || true
	# A user who sets ACCEL=kvm may have repaired KVM.
	if [[ $known != "$key" || ($ACCEL == kvm && -z $model) ]]; then
		try_kvm "$1"
		printf '%s\n' "$key" "$model" "$why" > "$file.new"
		mv "$file.new" "$file"
	else
		tried=' when it was tried'
	fi
	[[ ! -v KVM_SAID[$1] ]] || return 0
	KVM_SAID[$1]=1
	if [[ -n $model ]]; then
		info "QEMU with KVM, -cpu $model"
	elif [[ $ACCEL != kvm ]]; then
		info "QEMU without KVM, which did not work$tried: $why"
	fi
}

# The answer depends on the kernel and on the output of machine().
machine() {
	cat /proc/sys/kernel/random/boot_id
	sed -E '/^$/q; /MHz|bogomips/d' /proc/cpuinfo	# a VM may be moved
	grep -s . /sys/module/kvm*/parameters/* || true
	[[ ! -w /dev/kvm ]] || echo writable
	command -v "${GUEST_MACHINE[0]}" || true
	"${GUEST_MACHINE[0]}" --version || true
}

try_kvm() { # try_kvm VMLINUX: sets model and why, of the caller
	local console=$1.kvm.log reasons='' status
	"$LIB/initramfs.sh"
	step "Trying KVM with ${1#"$TOP"/} (a few seconds)"
	for model in "${KVM_CPUS[@]}"; do
		status=0
		run_qemu "$console" "$KVM_SECONDS" "$KVM_SILENCE" \
			-accel kvm -cpu "$model" -m 512M -kernel "$1" \
			-append "$GUEST_CMDLINE kunit.enable=0 zs.job=probe zs.args=$GUEST_CPUS" \
			-initrd "$BUILD/initramfs.gz" || status=$?
		if grep -a -q "$GUEST_END 0" "$console"; then
			why=
			return
		fi
		why=${why:-"the guest ended early, see ${console#"$TOP"/}"}
		reasons+="${reasons:+; }-cpu $model: $why"
		# If a guest hangs, it hangs with the other models, too.
		((status != 124)) || break
	done
	model='' why=$reasons
}

# no_guest VMLINUX CONSOLE ERROR: exits, with the caller's why
no_guest() {
	local words
	words=$(qemu_words "$2.qemu" | head -n 5 | sed 's/^/    /')
	rm -f "$1.kvm"	# the next command tries KVM again
	die "$3:${words:+$'\n'}${words:- $why}"
}

# guest VMLINUX MEMORY SECONDS CONSOLE RESULTS CMDLINE [QEMU-ARGS...]
# Boots a kernel in QEMU, with console and results (ttyS1) in files; RESULTS may be
# empty.  Returns 124 if the guest took longer than SECONDS.  Exits if the guest does
# not start, or if QEMU fails.
guest() {
	local vmlinux=$1 memory=$2 seconds=$3 console=$4 results=$5 cmdline=$6
	local status=0 why=''
	shift 6
	[[ -f $vmlinux ]] || die "no kernel at $vmlinux"
	if [[ ! -v QEMU_CPU ]]; then
		local QEMU_CPU
		choose_cpu "$vmlinux"
	fi
	if [[ -n $results ]]; then
		: > "$results"
		set -- -serial "file:$results" "$@"
	fi
	run_qemu "$console" "$seconds" "$SILENCE" -m "$memory" "${QEMU_CPU[@]}" \
		-kernel "$vmlinux" -append "$GUEST_CMDLINE $cmdline" "$@" || status=$?
	[[ -s $console ]] || no_guest "$vmlinux" "$console" "the guest did not start"
	if ((status == 124)); then
		warn "the guest was still running after $seconds seconds and was stopped"
		qemu_words "$console.qemu" | head -n 5 >&2
	elif ((status)); then
		no_guest "$vmlinux" "$console" 'QEMU failed while the guest was running'
	fi
	return "$status"
}

# The directory for the memory of user-mode Linux, which is a file.  On tmpfs it is
# fast and may be executable.
uml_tmp() {
	if [[ -w /dev/shm ]]; then
		echo /dev/shm
	else
		echo "${TMPDIR:-/tmp}"
	fi
}

# uml_command LINUX MEMORY ARGS...: sets uml_command to the command that boots LINUX.
# (kunit.py has a command of its own, see kunit.sh.)
uml_command() {
	uml_command=(env "TMPDIR=$(uml_tmp)" "$1" "mem=$2" seccomp=on
		"ncpus=$GUEST_CPUS" "${@:3}")
}

# uml LINUX MEMORY SECONDS CONSOLE ARGS...
# Boots user-mode Linux, with the console in a file.  Returns its status; 124 if it was
# stopped after SECONDS.
uml() {
	local seconds=$3 console=$4 uml_command status=0
	uml_command "$1" "$2" "${@:5}"
	timeout --foreground -k 5 "$seconds" "${uml_command[@]}" \
		> "$console" 2>&1 < /dev/null || status=$?
	((status != 137)) || status=124
	return "$status"
}

# check_guest NAME STATUS CONSOLE END-MARK: finds problems after guest() or uml()
check_guest() {
	local said
	case $2 in
	0)   ;;
	124) problem "$1 took too long" ;;
	*)   problem "$1 ended with status $2" ;;
	esac
	if ! said=$(splat_check "$3" "$4" 2>&1); then
		echo "$said" >&2
		problem "$1: ${said%%$'\n'*}"
	fi
}

# prepare_guest KERNEL...: everything that guest() and uml() need for these kernels
prepare_guest() {
	local kernel
	"$LIB/deps.sh" tree build guest
	"$HARNESS/tree.sh"
	"$LIB/initramfs.sh"
	for kernel; do
		"$LIB/kernel.sh" "$kernel"
	done
}

# A value the guest's job wrote as "KEY VALUE": guest_result FILE KEY [DEFAULT]
guest_result() {
	local value
	value=$(tr -d '\r' < "$1" | awk -v key="$2" \
		'$1 == key { sub(/^[^ ]+ /, ""); print }' | tail -n 1)
	echo "${value:-${3:-}}"
}
