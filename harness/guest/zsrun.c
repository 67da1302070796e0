// SPDX-License-Identifier: GPL-2.0
/*
 * The workload of make run.
 *
 *	zsrun SOURCE MEGABYTES POOL KEEP RUN HOOK
 *
 * Fills anonymous memory with up to MEGABYTES of real data from SOURCE and
 * pages all of it out, until zram takes POOL megabytes of memory.  Then it
 * frees most of it, like processes that exit on a machine that has been up for
 * a while: of KEEP runs of RUN pages one stays, chosen without any pattern, so
 * that the remaining pages are spread over all of memory.  Then it runs HOOK,
 * and finally swaps the kept pages in and compares every byte with SOURCE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

#define CHUNK	(1UL << 20)

static unsigned long keep_one_in, run;

static int kept(unsigned long page)
{
	return mix(page / run) % keep_one_in == 0;
}

/* Memory that zram takes: the third number of mm_stat, in bytes */
static unsigned long zram_mb(void)
{
	unsigned long used = 0;
	FILE *in = fopen("/sys/block/zram0/mm_stat", "r");

	if (!in || fscanf(in, "%*u %*u %lu", &used) != 1)
		quit("/sys/block/zram0/mm_stat cannot be read");
	fclose(in);
	return used >> 20;
}

/* Returns the number of bytes loaded */
static size_t load(int fd, unsigned char *mem, size_t size, unsigned long pool)
{
	size_t at;

	for (at = 0; at < size; at += CHUNK) {
		if (at % (8 * CHUNK) == 0 && zram_mb() >= pool)
			break;
		read_all(fd, mem + at, CHUNK, at);
		if (madvise(mem + at, CHUNK, MADV_PAGEOUT))
			die("MADV_PAGEOUT");
		posix_fadvise(fd, at, CHUNK, POSIX_FADV_DONTNEED);
		if (at % (16 * CHUNK) == 0)
			say("paged out %zu of %zu MB", at >> 20, size >> 20);
	}
	/* Pages that were in use during the first pass */
	for (int round = 0; round < 3; round++) {
		if (madvise(mem, at, MADV_PAGEOUT))
			die("MADV_PAGEOUT");
	}
	return at;
}

static void thin_out(unsigned char *mem, unsigned long pages)
{
	unsigned long start = 0;

	for (unsigned long page = 0; page <= pages; page++) {
		if (page < pages && !kept(page))
			continue;
		if (page > start && madvise(mem + start * PAGE,
					    (page - start) * PAGE, MADV_DONTNEED))
			die("MADV_DONTNEED");
		start = page + 1;
	}
}

static void verify(int fd, unsigned char *mem, unsigned long pages)
{
	static unsigned char want[CHUNK];
	unsigned long checked = 0, wrong = 0;

	for (unsigned long page = 0; page < pages; page++) {
		unsigned char *have = mem + page * PAGE;
		size_t in_chunk = page * PAGE % CHUNK;

		if (page % (64 * CHUNK / PAGE) == 0)
			say("checked %lu of %lu MB", page * PAGE >> 20, pages * PAGE >> 20);
		if (in_chunk == 0)
			read_all(fd, want, CHUNK, page * PAGE);
		if (!kept(page))
			continue;
		wrong += count_wrong(have, want + in_chunk, page);
		checked += PAGE;
		if (page % 64 == 0)
			posix_fadvise(fd, 0, page * PAGE, POSIX_FADV_DONTNEED);
	}
	result("checked %lu", checked);
	result("wrong %lu", wrong);
	say("%lu bytes checked, %lu wrong", checked, wrong);
}

int main(int argc, char **argv)
{
	unsigned long swapped;
	unsigned char *mem;
	size_t size;
	int fd, status;

	if (argc != 7)
		quit("usage: zsrun SOURCE MEGABYTES POOL KEEP RUN HOOK");
	fd = open(argv[1], O_RDONLY);
	if (fd < 0)
		die(argv[1]);
	size = strtoul(argv[2], NULL, 10) << 20;
	keep_one_in = strtoul(argv[4], NULL, 10);
	run = strtoul(argv[5], NULL, 10);
	if (!size || !keep_one_in || !run)
		quit("MEGABYTES, KEEP and RUN must be positive numbers");
	if ((size_t)lseek(fd, 0, SEEK_END) < size)
		quit("%s holds less than %s MB", argv[1], argv[2]);

	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	madvise(mem, size, MADV_NOHUGEPAGE);

	size = load(fd, mem, size, strtoul(argv[3], NULL, 10));
	swapped = swapped_kb();
	result("swapped_mb %lu", swapped >> 10);
	run_hook("/jobs/filled");
	if (swapped < (size >> 10) * 9 / 10)
		quit("only %lu of %zu kB could be paged out", swapped, size >> 10);

	thin_out(mem, size / PAGE);
	say("gave pages back, %lu MB are left in swap", swapped_kb() >> 10);

	status = run_hook(argv[6]);
	if (status)
		quit("%s ended with status %d", argv[6], status);

	verify(fd, mem, size / PAGE);
	return 0;
}
