#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# make deb: a kernel with this project as Debian packages, in build/deb, made by the kernel's
# own bindeb-pkg from Debian's configuration for cloud guests; then a guest with Debian boots
# from the package that is installed in it, and swaps under load while memory is compacted:
# to a zram device that systemd-zram-generator has set up, and to a disk behind zswap.
#   DEB_CONFIG=file   another configuration, such as that of your machine in /boot
#   MINUTES           of load, half of them with each kind of swap (default 4)
# The packages do not have debug information.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$LIB/kbuild.sh"
. "$LIB/guest.sh"
. "$LIB/debian.sh"

knob DEB_CONFIG
knob MINUTES 4

OUT=$BUILD/deb
LINUX=$OUT/linux
ROOT=$OUT/root
DISK=$OUT/debian.img
SWAP=$OUT/swap.img
SUITE=trixie
MEMORY=768	# MB
PACKAGES=(systemd-sysv systemd-zram-generator udev kmod initramfs-tools procps stress-ng)
console=$LOGS/deb.log

# Debian's configuration, from the package that belongs to its kernel source
debian_config() {
	local kept=$CACHE/config-$BASE-cloud work deb suite
	if [[ ! -s $kept ]]; then
		start_work deb
		download_deb "linux-config-$BASE" '1 MB' ||
			die "no configuration of Debian's kernel: ${tried[*]}; give one with DEB_CONFIG=file"
		dpkg-deb -x "$deb" "$work/deb"
		xz -dc "$work/deb/usr/src/linux-config-$BASE/config.amd64_none_cloud-amd64.xz" \
			> "$kept.new" || die "$deb does not have the configuration for cloud guests"
		mv "$kept.new" "$kept"
	fi
	DEB_CONFIG=$kept
}

configure_deb() {
	mkdir -p "$LINUX"
	# Modules are not signed, because there is no key, and Rust is not used.
	sed -E '/^CONFIG_(LOCALVERSION|DEBUG_INFO|MODULE_SIG|SYSTEM_TRUSTED|RUST)/d' "$DEB_CONFIG" \
		> "$LINUX/.config"
	cat >> "$LINUX/.config" <<-EOF
		CONFIG_LOCALVERSION="-zsmalloc"
		CONFIG_DEBUG_INFO_NONE=y
		# CONFIG_MODULE_SIG is not set
		# CONFIG_RUST is not set
		CONFIG_SYSTEM_TRUSTED_KEYS=""
		CONFIG_SYSTEM_REVOCATION_KEYS=""
		CONFIG_ZSMALLOC_STAT=y
	EOF
	kmake "$LINUX" x86_64 olddefconfig > "$LOGS/config.log" 2>&1 < /dev/null ||
		{ cat "$LOGS/config.log" >&2; die "$DEB_CONFIG is not a configuration of a kernel"; }
	for option in ZSMALLOC ZSMALLOC_STAT ZSWAP COMPACTION SERIAL_8250_CONSOLE; do
		grep -q "^CONFIG_$option=y" "$LINUX/.config" ||
			die "with this configuration, CONFIG_$option is not set"
	done
}

# bindeb-pkg puts the packages beside its directory.
packages() {
	local log=$LOGS/deb-build.log
	rm -f "$OUT"/*.deb
	with_progress 'kernel and modules' 6000 "$log" \
		kmake "$LINUX" x86_64 -j"$JOBS" bindeb-pkg DPKG_FLAGS=-d \
			KDEB_COMPRESS=gzip DEB_BUILD_PROFILES=pkg.linux-upstream.nokerneldbg ||
		die "building the packages failed, see ${log#"$TOP"/}"
	image=$(find "$OUT" -maxdepth 1 -name 'linux-image-*.deb' ! -name '*-dbg_*')
	[[ -n $image ]] || die "bindeb-pkg has made no linux-image package, see ${log#"$TOP"/}"
	info "$(cd "$OUT" && echo *.deb)"
}

in_root() { "${as_root[@]}" chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

make_root() {
	local site list="${PACKAGES[*]}" log=$LOGS/deb-root.log
	[[ ! -f $ROOT.ok ]] || return 0
	for site in $(debian_sites); do
		"${as_root[@]}" rm -rf --one-file-system "$ROOT"
		step "Making a root of Debian $SUITE (2 minutes, 0.7 GB)"
		if with_progress debootstrap 0 "$log" "${as_root[@]}" env PATH="$PATH:/usr/sbin:/sbin" \
			debootstrap --variant=minbase --include="${list// /,}" \
			"$SUITE" "$ROOT" "$site"; then
			touch "$ROOT.ok"
			return 0
		fi
	done
	die "debootstrap failed, see ${log#"$TOP"/}"
}

# The guest's own settings, and the package, in the root; then a disk with all of it
make_disk() {
	local log=$LOGS/deb-install.log
	install_package() {
		"${as_root[@]}" cp "$image" "$ROOT/tmp/linux-image.deb" &&
			"${as_root[@]}" cp -r "$HARNESS/guest/deb/." "$ROOT/" &&
			in_root dpkg -i /tmp/linux-image.deb &&
			in_root rm /tmp/linux-image.deb &&
			in_root systemctl enable zsmalloc-check.service &&
			in_root systemctl mask serial-getty@ttyS0.service &&
			"${as_root[@]}" cp "$ROOT/boot/vmlinuz-$release" "$OUT/vmlinuz" &&
			"${as_root[@]}" cp "$ROOT/boot/initrd.img-$release" "$OUT/initrd.img" &&
			"${as_root[@]}" chown "$(id -u):$(id -g)" "$OUT/vmlinuz" "$OUT/initrd.img"
	}
	step "Installing the package in the root (a minute)"
	with_progress 'dpkg -i' 0 "$log" install_package ||
		die "the package cannot be installed, see ${log#"$TOP"/}"
	rm -f "$DISK"
	truncate -s 2G "$DISK" "$SWAP"
	with_progress 'disk' 0 "$log" "${as_root[@]}" /sbin/mke2fs -q -t ext4 -F -d "$ROOT" "$DISK" ||
		die "the disk of the guest cannot be made, see ${log#"$TOP"/}"
	/sbin/mkswap -q "$SWAP" || /sbin/mkswap "$SWAP" > /dev/null
}

boot() {
	local status=0
	choose_cpu "$OUT/vmlinuz"
	step "Booting Debian from its package, and $MINUTES minutes of load (about $((MINUTES + 4)) minutes)"
	follow "$console" 's/^(.*\] )?zsmalloc-check: /    /p' \
		guest "$OUT/vmlinuz" "${MEMORY}M" $((MINUTES * 60 + 1500)) "$console" '' \
		"root=/dev/vda rw systemd.show_status=false zsmalloc.minutes=$MINUTES" \
		-initrd "$OUT/initrd.img" \
		-drive "file=$DISK,if=virtio,format=raw,cache=unsafe" \
		-drive "file=$SWAP,if=virtio,format=raw,cache=unsafe" || status=$?
	check_guest 'the guest' "$status" "$console" "$GUEST_END 0"
}

main() {
	local image='' release option
	[[ $MINUTES =~ ^[1-9][0-9]*$ ]] || die "MINUTES must be a positive number, not '$MINUTES'"
	step "Packages of a kernel with Debian's configuration (an hour and more on two CPUs) and a guest"
	"$LIB/deps.sh" tree build guest deb
	find_root || die "chroot takes root, and sudo asks for a password"
	"$HARNESS/tree.sh"
	"$LIB/initramfs.sh"
	kernel_env
	build_lock
	mkdir -p "$OUT" "$LOGS"
	need_space "$BUILD" 9000 "a kernel with all modules of cloud guests, and a guest's disk"
	[[ -n $DEB_CONFIG ]] || debian_config
	[[ -s $DEB_CONFIG ]] || die "DEB_CONFIG=$DEB_CONFIG is not there, or empty"
	configure_deb
	step "Building them: $(grep -c '=m$' "$LINUX/.config") modules"
	packages
	release=$(cat "$LINUX/include/config/kernel.release")
	make_root
	make_disk
	boot
	finish deb "Debian runs on $release; to install it: dpkg -i ${image#"$TOP"/}"
}

main
