// SPDX-License-Identifier: GPL-2.0
/*
 * Writes, discards and verifies pages of a block device:
 *
 *	zs_disk [options] DEVICE STATE fill		write all pages that are not
 *							present
 *	zs_disk [options] DEVICE STATE thin N M		discard pages at random, and keep
 *							one in N of the last fill and
 *							one in M of earlier fills
 *	zs_disk [options] DEVICE STATE check		read and compare all pages that
 *							are present
 *	zs_disk [options] DEVICE STATE read SECONDS	read and compare random pages
 *							for SECONDS
 *
 * The file STATE keeps, from one command to the next, which pages are present.  It has
 * one byte for each page: the number of the fill that wrote the page, 0 if it is not
 * present.
 *
 * All words of a page except for a few are equal, so that it compresses to a few bytes;
 * zram would not store a page whose words are all equal.  A percentage of the pages has
 * random contents instead.
 *
 * Exits with status 1 if a page is wrong or cannot be read.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/types.h>

#include "kselftest.h"

#define PAGE	4096UL
#define WORDS	(PAGE / 8)
#define CHUNK	32	/* pages that are written at a time */
#define ENOUGH	64	/* the device is full if it refuses so many pages in a row */

static int disk;
static __u8 *version;
static size_t nr_pages;
static __u8 *buffer;		/* CHUNK pages */
static __u64 want[WORDS];

static unsigned int seed = 1;
static unsigned int min_words = 1, max_words = 1;
static unsigned int random_percent;

static __u64 mix(__u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static __u64 random_state = 1;	/* for the choice of pages, not for contents */

static __u64 next_random(void)
{
	return mix(random_state += 0x9e3779b97f4a7c15ULL);
}

static void contents(size_t page, __u64 *words)
{
	__u64 r = mix(((__u64)seed << 48) ^ page << 8 ^ version[page]);
	unsigned int nr = min_words + r % (max_words - min_words + 1);
	unsigned int i;

	if ((r >> 32) % 100 < random_percent) {
		for (i = 0; i < WORDS; i++)
			words[i] = mix(r + i);
		return;
	}
	memset(words, r >> 56, PAGE);
	for (i = 0; i < nr; i++) {
		r = mix(r + i);
		words[r % WORDS] = r;
	}
}

static bool write_pages(size_t first, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		contents(first + i, (__u64 *)(buffer + i * PAGE));
	return pwrite(disk, buffer, nr * PAGE, first * PAGE) == (ssize_t)(nr * PAGE);
}

static void discard(size_t first, size_t nr)
{
	__u64 range[2] = { first * PAGE, nr * PAGE };

	if (ioctl(disk, BLKDISCARD, range))
		ksft_exit_fail_msg("BLKDISCARD: %s\n", strerror(errno));
}

static __u8 last_fill(void)
{
	__u8 last = 0;

	for (size_t page = 0; page < nr_pages; page++)
		if (version[page] > last)
			last = version[page];
	return last;
}

static void fill(void)
{
	size_t page = 0, written = 0, refused = 0, in_a_row = 0, nr, i;
	__u8 new = last_fill() + 1;

	if (!new)
		ksft_exit_fail_msg("the device was filled too often\n");

	while (page < nr_pages && in_a_row < ENOUGH) {
		if (version[page]) {
			page++;
			continue;
		}
		for (nr = 0; nr < CHUNK && page + nr < nr_pages; nr++) {
			if (version[page + nr])
				break;
			version[page + nr] = new;
		}
		if (write_pages(page, nr)) {
			written += nr;
			in_a_row = 0;
			page += nr;
			continue;
		}
		/* Some of them may have been written: discard all, then write one by one. */
		discard(page, nr);
		for (i = 0; i < nr; i++, page++) {
			if (write_pages(page, 1)) {
				written++;
				in_a_row = 0;
			} else {
				version[page] = 0;
				refused++;
				in_a_row++;
			}
		}
	}
	printf("written %zu\nrefused %zu\n", written, refused);
}

static void thin(unsigned int keep_new, unsigned int keep_old)
{
	size_t page, kept = 0;
	__u8 last = last_fill();

	for (page = 0; page < nr_pages; page++) {
		if (!version[page])
			continue;
		if (next_random() % (version[page] == last ? keep_new : keep_old) == 0) {
			kept++;
			continue;
		}
		discard(page, 1);
		version[page] = 0;
	}
	printf("kept %zu\n", kept);
}

static bool page_is_right(size_t page)
{
	if (version[page])
		contents(page, want);
	else
		memset(want, 0, PAGE);
	if (pread(disk, buffer, PAGE, page * PAGE) == PAGE &&
	    !memcmp(buffer, want, PAGE))
		return true;
	ksft_print_msg("page %zu of fill %u is wrong\n", page, version[page]);
	return false;
}

static size_t check(void)
{
	size_t page, checked = 0, wrong = 0;

	for (page = 0; page < nr_pages && wrong < 5; page++) {
		if (!version[page])
			continue;
		wrong += !page_is_right(page);
		checked++;
	}
	printf("checked %zu\nwrong %zu\n", checked, wrong);
	return wrong;
}

static size_t read_at_random(unsigned int seconds)
{
	time_t end = time(NULL) + seconds;
	size_t checked = 0, wrong = 0;

	while (!wrong && (checked % 64 || time(NULL) < end)) {
		wrong += !page_is_right(next_random() % nr_pages);
		checked++;
	}
	printf("checked %zu\nwrong %zu\n", checked, wrong);
	return wrong;
}

static void open_state(const char *name)
{
	int file = open(name, O_RDWR | O_CREAT, 0600);

	if (file < 0 || ftruncate(file, nr_pages))
		ksft_exit_fail_msg("%s: %s\n", name, strerror(errno));
	version = mmap(NULL, nr_pages, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (version == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	close(file);
}

static int help(void)
{
	fprintf(stderr,
		"usage: zs_disk [options] DEVICE STATE fill|thin N M|check|read SECONDS\n"
		"  -w MIN-MAX  number of words in a page that differ from the others (1-1)\n"
		"  -r PERCENT  percentage of pages that do not compress (0)\n"
		"  -n SEED     seed of the contents (1)\n"
		"  -c SEED     seed of the choice of pages (1)\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *command;
	unsigned int number, other;
	__u64 bytes;
	int c;

	while ((c = getopt(argc, argv, "w:r:n:c:")) != -1) {
		switch (c) {
		case 'w':
			if (sscanf(optarg, "%u-%u", &min_words, &max_words) != 2 ||
			    !min_words || max_words < min_words)
				return help();
			break;
		case 'r':
			random_percent = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 'c':
			random_state = strtoul(optarg, NULL, 0);
			break;
		default:
			return help();
		}
	}
	if (argc - optind < 3)
		return help();
	command = argv[optind + 2];
	number = argc - optind > 3 ? strtoul(argv[optind + 3], NULL, 0) : 0;
	other = argc - optind > 4 ? strtoul(argv[optind + 4], NULL, 0) : 0;

	disk = open(argv[optind], O_RDWR | O_DIRECT);
	if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes))
		ksft_exit_fail_msg("%s: %s\n", argv[optind], strerror(errno));
	nr_pages = bytes / PAGE;
	open_state(argv[optind + 1]);
	buffer = mmap(NULL, CHUNK * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED || mlock(buffer, CHUNK * PAGE))
		ksft_exit_fail_msg("allocating memory failed: %s\n", strerror(errno));

	if (!strcmp(command, "fill"))
		fill();
	else if (!strcmp(command, "thin") && number && other)
		thin(number, other);
	else if (!strcmp(command, "check"))
		return check() != 0;
	else if (!strcmp(command, "read") && number)
		return read_at_random(number) != 0;
	else
		return help();
	return 0;
}
