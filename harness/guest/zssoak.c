// SPDX-License-Identifier: GPL-2.0
/*
 * One worker of make soak.
 *
 *	zssoak NAME SOURCE MEGABYTES SECONDS SEED
 *
 * Has a region of anonymous memory and knows the contents of each page of it.
 * Until the time is up it fills random parts with real data from SOURCE, pages
 * parts out, frees parts, and reads parts and compares every byte.  At the end it
 * reads everything.
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
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define PART	256UL		/* pages handled at a time */
#define EMPTY	UINT32_MAX	/* page was never written: must read as zeros */

static unsigned char *mem;
static uint32_t *want;		/* page of SOURCE that each page must equal */
static unsigned long pages, source_pages;
static int source;
static uint64_t seed;

static unsigned char buffer[PART * PAGE];
static unsigned long checked, wrong, filled;

static unsigned long pick(unsigned long limit)
{
	seed = mix(seed);
	return seed % limit;
}

static void fill(unsigned long first)
{
	unsigned long from = pick(source_pages - PART);

	read_all(source, buffer, sizeof(buffer), from * PAGE);
	for (unsigned long i = 0; i < PART; i++) {
		/* Leave some unchanged, so that neighbours differ in age */
		if (pick(8) == 0)
			continue;
		memcpy(mem + (first + i) * PAGE, buffer + i * PAGE, PAGE);
		want[first + i] = from + i;
		filled++;
	}
}

static void check(unsigned long first)
{
	static const unsigned char zeros[PAGE];
	unsigned char one[PAGE];

	for (unsigned long i = first; i < first + PART; i++) {
		const unsigned char *expected = zeros;

		if (want[i] != EMPTY) {
			read_all(source, one, PAGE, want[i] * PAGE);
			expected = one;
		}
		wrong += count_wrong(mem + i * PAGE, expected, i);
		checked += PAGE;
	}
}

static void give_back(unsigned long first)
{
	for (unsigned long i = first; i < first + PART; i++) {
		if (pick(2))
			continue;
		if (madvise(mem + i * PAGE, PAGE, MADV_DONTNEED))
			die("MADV_DONTNEED");
		want[i] = EMPTY;
	}
}

static void page_out(unsigned long first)
{
	/* EAGAIN: some pages were in use, as intended */
	if (madvise(mem + first * PAGE, PART * PAGE, MADV_PAGEOUT) && errno != EAGAIN)
		die("MADV_PAGEOUT");
}

int main(int argc, char **argv)
{
	time_t end, next_report;
	const char *name;
	off_t size;

	if (argc != 6)
		quit("usage: zssoak NAME SOURCE MEGABYTES SECONDS SEED");
	name = argv[1];
	source = open(argv[2], O_RDONLY);
	if (source < 0)
		die(argv[2]);
	size = lseek(source, 0, SEEK_END);
	source_pages = size / PAGE;
	pages = strtoul(argv[3], NULL, 10) * (1048576 / PAGE) / PART * PART;
	end = time(NULL) + strtol(argv[4], NULL, 10);
	seed = strtoul(argv[5], NULL, 10);
	if (!pages || source_pages <= PART)
		quit("MEGABYTES must be positive, SOURCE larger than a megabyte");

	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	want = malloc(pages * sizeof(*want));
	if (mem == MAP_FAILED || !want)
		die("memory");
	madvise(mem, pages * PAGE, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < pages; i++)
		want[i] = EMPTY;

	for (unsigned long at = 0; at < pages; at += PART) {
		fill(at);
		page_out(at);
	}

	next_report = time(NULL);
	while (time(NULL) < end && !wrong) {
		unsigned long first = pick(pages / PART) * PART;

		switch (pick(8)) {
		case 0:
			fill(first);
			break;
		case 1:
			give_back(first);
			break;
		case 2:
		case 3:
			check(first);
			break;
		default:
			page_out(first);
			break;
		}
		if (time(NULL) >= next_report) {
			say("%s: %lu MB checked, %lu wrong bytes, %lu MB in swap",
			    name, checked >> 20, wrong, swapped_kb() >> 10);
			next_report = time(NULL) + 30;
		}
	}
	for (unsigned long at = 0; at < pages; at += PART)
		check(at);

	result("%s_checked %lu", name, checked);
	result("%s_wrong %lu", name, wrong);
	result("%s_filled %lu", name, filled);
	say("%s: done, %lu MB checked, %lu wrong bytes", name, checked >> 20, wrong);
	return wrong ? 1 : 0;
}
