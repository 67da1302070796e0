# shellcheck shell=bash disable=SC2034,SC2054
# Starts a guest.  Sourced after lib.sh.

GUEST_MACHINE=(qemu-system-x86_64 -machine q35)
GUEST_CPUS=2
GUEST_END='ZS-GUEST-END'	# printed by the guest's init before it powers off

# KVM where there is one, else QEMU's own translation, one thread per CPU.
# QEMU looks for translations of a page at each store to it.  Where a page held
# the text of programs before there are thousands of them, and a store takes up
# to 0.2 s: one for each address at which the text was mapped.  So programs are
# mapped where they always are (norandmaps), and the kernel copies words, not
# bytes, as it would in `rep movsb` (erms).
QEMU_CPU=(-accel tcg,thread=multi -cpu max,la57=off,erms=off,fsrm=off)
[[ ! -w /dev/kvm ]] || QEMU_CPU=(-accel kvm "${QEMU_CPU[@]}")

# A translated CPU on a busy host may stand still for a while: only what lasts
# longer than that is a lockup.
GUEST_CMDLINE='console=ttyS0 panic=-1 tsc=reliable watchdog_thresh=30'
GUEST_CMDLINE+=' rcupdate.rcu_cpu_stall_timeout=60 norandmaps'

# guest VMLINUX MEMORY SECONDS CONSOLE RESULTS CMDLINE [QEMU-ARGS...]
# Boots a kernel, console and results (ttyS1) going to files; RESULTS may be
# empty.  Returns QEMU's status, 124 when the guest took longer than SECONDS.
guest() {
	local vmlinux=$1 memory=$2 seconds=$3 console=$4 results=$5 cmdline=$6
	local status=0
	shift 6
	[[ -f $vmlinux ]] || die "no kernel at $vmlinux"
	: > "$console"
	if [[ -n $results ]]; then
		: > "$results"
		set -- -serial "file:$results" "$@"
	fi
	timeout --foreground -k 5 "$seconds" "${GUEST_MACHINE[@]}" \
		-smp "$GUEST_CPUS" -m "$memory" "${QEMU_CPU[@]}" \
		-nodefaults -no-user-config -display none -no-reboot \
		-serial "file:$console" -kernel "$vmlinux" \
		-append "$GUEST_CMDLINE $cmdline" \
		"$@" > "$console.qemu" 2>&1 < /dev/null || status=$?
	if ((status == 124 || status == 137)); then
		warn "the guest was still running after $seconds seconds and was stopped"
		return 124
	fi
	if ((status)); then
		warn "QEMU failed (status $status):"
		cat "$console.qemu" >&2
	fi
	return "$status"
}

# A value the guest's program wrote as "KEY VALUE": result FILE KEY [DEFAULT]
result() {
	local value
	value=$(tr -d '\r' < "$1" | awk -v key="$2" \
		'$1 == key { sub(/^[^ ]+ /, ""); print }' | tail -n 1)
	echo "${value:-${3:-}}"
}
