# SPDX-License-Identifier: GPL-2.0
# zsmalloc, rebuilt around migration: the commands of this project.
# Everything is made in build/, what was downloaded is kept in the cache.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help tree series run test soak torture shell check model mutants mutate
.PHONY: bench litmus selftest clean distclean

export KSRC ZS_CACHE

help:
	@echo 'zsmalloc, rebuilt around migration - a series against Linux 7.3'
	@echo
	@echo '  make run             compare huge page allocation with zsmalloc page'
	@echo '                       migration off and on, on real data, in QEMU'
	@echo '  make test            KUnit on user-mode Linux (KASAN, lockdep) and on'
	@echo '                       x86-64 (lockdep), a short make run and make selftest'
	@echo '  make selftest        the kselftests: zram, huge pages, CMA, memory'
	@echo '                       offlining, on this kernel and on the base; QUICK=1'
	@echo '  make soak MINUTES=10 zram and zswap swap and verify under constant'
	@echo '                       compaction on a debug kernel'
	@echo '  make torture MINUTES=5'
	@echo '                       all operations at once, at random, with delays and'
	@echo '                       failing allocations, on four kernels: KASAN, lockdep,'
	@echo '                       PREEMPT_RT, KCSAN'
	@echo '  make bench           side by side with the base kernel: instructions on'
	@echo '                       x86-64, nanoseconds in user-mode Linux; also'
	@echo '                       BENCH_PLATFORMS="users users_2": zram and zswap,'
	@echo '                       "arm64_16k arm64_64k": larger pages'
	@echo '  make shell           a shell in the guest, with zram swap set up'
	@echo '  make tree            build/tree: Linux 7.3 plus this project'
	@echo '  make series          build/series: the project as a patch for git am'
	@echo '  make check           checkpatch, sparse and shellcheck on our files'
	@echo '  make model           models of the locking protocol in spin: all states,'
	@echo '                       and bugs that have to be found'
	@echo '  make litmus          the memory ordering in the kernel'"'"'s memory model: each'
	@echo '                       pair of accesses without a lock, and each barrier'
	@echo '                       left out; herd7 comes from a private root of Debian'
	@echo '                       sid, HERD7=command names another'
	@echo '  make mutants         bring known bugs back, one by one: the tests must fail'
	@echo '  make mutate SAMPLE=100'
	@echo '                       1,500 small changes of the source by script: which of'
	@echo '                       them does no test notice?  All: two hours'
	@echo '  make clean           remove build/;  make distclean: the cache too'
	@echo
	@echo 'The first run fetches Linux 7.3 (170 MB) and builds kernels (8 minutes'
	@echo 'each on two CPUs); later ones reuse them.  Missing tools are installed'
	@echo 'with apt where possible.  Set on the command line if needed:'
	@echo '  KSRC=dir     base on this clean Linux tree instead of fetching one'
	@echo '  JOBS=n       parallel compile jobs (default: all CPUs)'
	@echo '  ACCEL=tcg    guests without KVM; kvm: an error where KVM cannot run them'
	@echo '               (default: KVM if a trial boot with it succeeds)'
	@echo '  ZS_CACHE=dir cache of downloads and compiles (~/.cache/zsmalloc)'

tree series run test selftest check model litmus mutants mutate shell bench:
	@harness/$@.sh

soak torture:
	@harness/$@.sh $(MINUTES)

clean:
	rm -rf build

distclean: clean
	@harness/distclean.sh
