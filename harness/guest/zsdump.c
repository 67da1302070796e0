// SPDX-License-Identifier: GPL-2.0
/*
 * Fills zram and zswap with known pages, for make dump.
 *
 *	zsdump thin DEVICE EVERY
 *
 * Discards the pages of a zram device, except each one whose number is a multiple of
 * EVERY: so most zspages are partly used.
 *
 *	zsdump hold SOURCE FIRST PAGES
 *
 * Pages out PAGES pages of SOURCE, from FIRST, and keeps them.  Prints a result
 * "swapped PAGE TYPE OFFSET" for each that has a swap entry, and then writes "held" to
 * stdout.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

/* /proc/PID/pagemap, see Documentation/admin-guide/mm/pagemap.rst */
#define SWAPPED		(1ULL << 62)
#define SWAP_TYPE(e)	((e) & 0x1f)
#define SWAP_OFFSET(e)	((e) >> 5 & ((1ULL << 50) - 1))

static unsigned long number(const char *text)
{
	return strtoul(text, NULL, 10);
}

static void thin(const char *device, unsigned long every)
{
	int fd = open(device, O_RDWR);
	uint64_t range[2], size;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size))
		die(device);
	for (uint64_t page = 0; page < size / PAGE; page++) {
		if (page % every == 0)
			continue;
		range[0] = page * PAGE;
		range[1] = PAGE;
		if (ioctl(fd, BLKDISCARD, range))
			die("BLKDISCARD");
	}
	close(fd);
}

static void hold(const char *source, unsigned long first, unsigned long pages)
{
	int fd = open(source, O_RDONLY), map = open("/proc/self/pagemap", O_RDONLY);
	unsigned long nodes = 0x3;
	unsigned char *mem;

	if (fd < 0 || map < 0)
		die(source);
	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	madvise(mem, pages * PAGE, MADV_NOHUGEPAGE);
	/* Pages of both nodes, so that the pool has classes for both */
	if (syscall(SYS_mbind, mem, pages * PAGE, MPOL_INTERLEAVE, &nodes, 3, 0))
		die("mbind");
	read_all(fd, mem, pages * PAGE, first * PAGE);
	/* Pages that are still on their way to the LRU lists are passed over. */
	for (int i = 0; i < 3; i++)
		if (madvise(mem, pages * PAGE, MADV_PAGEOUT))
			die("MADV_PAGEOUT");
	for (unsigned long i = 0; i < pages; i++) {
		uint64_t entry;

		read_all(map, &entry, sizeof(entry), ((uintptr_t)mem / PAGE + i) * sizeof(entry));
		if (entry & SWAPPED)
			result("swapped %lu %lu %lu", first + i,
			       (unsigned long)SWAP_TYPE(entry),
			       (unsigned long)SWAP_OFFSET(entry));
	}
	printf("held\n");
	fflush(stdout);
	pause();
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "thin") && number(argv[3]))
		thin(argv[2], number(argv[3]));
	else if (argc == 5 && !strcmp(argv[1], "hold") && number(argv[4]))
		hold(argv[2], number(argv[3]), number(argv[4]));
	else
		quit("usage: zsdump thin DEVICE EVERY | hold SOURCE FIRST PAGES");
	return 0;
}
