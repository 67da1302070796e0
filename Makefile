# SPDX-License-Identifier: GPL-2.0
# zsmalloc, rebuilt around migration: the commands of this project.
# Each harness/NAME.sh is the command `make NAME`.  Everything is made in build/;
# downloads and compiled objects are kept in a cache.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
COMMANDS := $(patsubst harness/%.sh,%,$(wildcard harness/*.sh))
.PHONY: help clean $(COMMANDS)

# `make help` prints the comments that have two #, see harness/lib/help.awk.  In
# them NAME=VALUE is a variable that the target takes; harness/README.md explains
# each and has its default.

##@ zsmalloc, rebuilt around migration: a series against Linux 7.3

##@ Try it
run:      ## huge pages obtained with zsmalloc page migration off and on
##           QUICK=1 RUN_TIMEOUT=240
shell:    ## a shell in the guest, with zram swap
##           ZS_CMDLINE='more of the kernel command line'

##@ Test it
test:     ## all quick tests: the harness's own, KUnit on user-mode Linux
##           and on x86-64, a short make run and a short make selftest
##           KUNIT_TIMEOUT=600
selftest: ## kselftests with zram and zswap, on this and the base kernel
##           QUICK=1 SELFTESTS='cma.sh cgroup:test_zswap' SIDES='ours base' LOCKDEP=1 MINUTES=10
torture:  ## all operations at once, at random, on four debug kernels
##           MINUTES=5 TORTURE_CONFIGS='uml debug rt kcsan' TORTURE_SEED=0
##           TORTURE_PARAMS='more parameters of the test'
dump:     ## look into the pools of a guest, with drgn in dumps and with gdb
##           DUMP_TIMEOUT=1800
soak:     ## zram and zswap swapping during compaction, on a debug kernel
##           MINUTES=10
model:    ## model-check the locking protocol with spin
##           MODEL_TIMEOUT=300
litmus:   ## check the memory ordering in the kernel's memory model
##           HERD7=command LITMUS_TIMEOUT=120
mutants:  ## mutation test: the test suites must fail with each known bug
##           MUTANTS='glob ...' FRESH=1 AT_ONCE=2
mutate:   ## small changes by script: find those that no test notices
##           SAMPLE=100 SEED=1 FUNCTIONS='glob ...' LINES_OF=1-200
##           OPS='drop ...' AT_ONCE=2
matrix:   ## KUnit, zram and torture in other architectures and configurations
##           MATRIX='glob ...' FRESH=1 MINUTES=1 OBJECTS=1
check:    ## checkpatch, sparse, clang's context analysis, shellcheck

##@ Measure it
bench:    ## this kernel side by side with the base kernel
##           BENCH_PLATFORMS='x86 uml users users_2 profile arm64_16k'
##           BENCH_ONLY='speed,migrate' ROUNDS=3 BENCH_TREE=dir
##           BENCH_VARIANT=pool-lock: one thing of the base brought back

##@ Get it
apply:    ## apply the series to your own tree: make apply KSRC=dir
deb:      ## build/deb: a kernel to install, as Debian packages, and a guest that runs it
##           DEB_CONFIG=/boot/config-... MINUTES=4
series:   ## build/series: the project as patches for git am
series-refresh: ## fold changes of files into the patches of series/
##           PATCH=NNNN
bisect:   ## check, build and boot each patch of the series in turn
##           PATCHES='glob ...' FRESH=1 BISECT_TIMEOUT=1800
tree:     ## build/tree: Linux 7.3 plus this project
clean:    ## remove build/
distclean: clean ## remove build/ and the cache
help:     ## this text
	@awk -f harness/lib/help.awk Makefile

##@ For all of them
## KSRC=dir           base on this clean Linux tree instead of fetching one; with
##                    make apply: the tree to change
## BASE=7.2           base on this release instead of 7.3
## JOBS=n             parallel compile jobs (default: all CPUs)
## ACCEL=tcg          guests without KVM; kvm: an error if KVM cannot run them
##                    (default: KVM if a trial boot with it succeeds)
## ZS_CACHE=dir       cache of downloads and compiles (~/.cache/zsmalloc)
## CCACHE_MAXSIZE=5G  the largest size of the cache of compiles
##
## The first command fetches Linux 7.3 (170 MB) and builds kernels (8 minutes
## each on two CPUs); later ones reuse them.  Missing tools are installed with
## apt if possible.  harness/README.md explains all variables.

$(COMMANDS):
	@harness/$@.sh

clean:
	rm -rf build
