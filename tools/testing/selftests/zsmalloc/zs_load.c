// SPDX-License-Identifier: GPL-2.0
/*
 * Fills memory that is swapped out and in, and verifies every byte of it.
 *
 * The contents of a page are computed from the seed, the page's number and the number
 * of times it was rewritten.  Only that number is kept elsewhere.
 *
 *	fill all pages, page them out, report "ready"
 *	until told to stop: verify, rewrite and page out random pages
 *	verify all pages, report the results
 *
 * With -t, the work is to read one random page at a time, which is timed if it is a fault
 * that reads the page from swap.
 *
 * Exits with status 1 if a byte is wrong, or if a page is lost and -l is not given.
 */

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <linux/types.h>

#include "kselftest.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define PAGE	4096UL
#define RUN	16	/* pages that are freed at a time */
#define CHUNK	64	/* pages that are paged out at a time */
#define TEXT	0x40000
#define MOST_FAULTS	1000000UL	/* of which the times are kept */

static size_t nr_pages;
static __u8 *area;
static __u8 *version;	/* of each page; FREED if it was freed */
#define FREED	0xff

static unsigned int seed = 1;
static unsigned int random_percent = 10;
static unsigned int work_seconds;
static unsigned int keep_one_in;
static bool idle, losses_allowed, no_page_out, time_faults;
static FILE *report;

static size_t checked, wrong, lost, rewritten;
static __u32 *fault_ns;		/* the times of faults that read from swap */
static size_t nr_faults;
static sigjmp_buf read_failed;
static char text[TEXT + 128];

static __u64 mix(__u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static __u64 random_state;	/* for the choice of pages, not for contents */

static __u64 next_random(void)
{
	return mix(random_state += 0x9e3779b97f4a7c15ULL);
}

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(report, format, args);
	va_end(args);
	fflush(report);
}

/* Words of different frequencies compress like prose and source code. */
static void make_text(void)
{
	static char words[1024][12];
	size_t at = 0;

	for (unsigned int i = 0; i < 1024; i++) {
		__u64 r = mix(seed * 1024ULL + i);
		unsigned int len = 2 + r % 9;

		for (unsigned int j = 0; j < len; j++)
			words[i][j] = 'a' + (r >> (5 * j + 4)) % 26;
		words[i][len] = i % 16 ? ' ' : '\n';
	}
	for (__u64 n = 0; at < TEXT; n++) {
		__u64 r = mix(n ^ (__u64)seed << 32);
		const char *word = words[(r % 1024) * (r >> 32) % 1024 >> (r >> 60)];
		size_t len = strlen(word);

		memcpy(text + at, word, len);
		at += len;
	}
}

/* The kinds of pages that are common in processes */
static void contents(size_t page, unsigned int v, __u8 *buffer)
{
	__u64 key = mix((__u64)seed << 40 ^ page), r = mix(key + v);
	unsigned int kind = key % 100;
	__u64 *words = (__u64 *)buffer;
	size_t i;

	if (kind < random_percent) {
		for (i = 0; i < PAGE / 8; i++)
			words[i] = mix(r + i);
		return;
	}
	kind = (key >> 32) % 100;
	if (kind < 50) {		/* text */
		for (i = 0; i < PAGE; i += 128, r = mix(r + i))
			memcpy(buffer + i, text + r % TEXT, 128);
	} else if (kind < 85) {		/* records with pointers and counters */
		for (i = 0; i < PAGE / 8; i += 4) {
			words[i] = 0xffff888000000000ULL + (r & 0x3fffffc0);
			words[i + 1] = 0;
			words[i + 2] = i * 3 + v;
			words[i + 3] = r & 0xff;
			r = mix(r + i);
		}
	} else if (kind < 95) {		/* mostly zeros */
		memset(buffer, 0, PAGE);
		for (i = 0; i < 20; i++, r = mix(r + i))
			words[r % 512] = r;
	} else {			/* equal bytes, which zram does not store */
		memset(buffer, r & 0xff, PAGE);
	}
}

static void on_bus_error(int sig)
{
	(void)sig;
	siglongjmp(read_failed, 1);
}

/* SIGTERM and SIGINT are blocked, so they do not interrupt system calls. */
static bool told_to_stop(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT);
}

static void rewrite_page(size_t page)
{
	version[page] = (version[page] + 1) % FREED;
	contents(page, version[page], area + page * PAGE);
}

static void check_page(size_t page, bool then_rewrite)
{
	static __u64 buffer[PAGE / 8];
	const __u8 *want = (__u8 *)buffer, *have = area + page * PAGE;
	size_t at;

	if (version[page] == FREED)
		return;
	contents(page, version[page], (__u8 *)buffer);
	if (sigsetjmp(read_failed, 1)) {
		lost++;
		/* Replace the lost page with a new one. */
		madvise(area + page * PAGE, PAGE, MADV_DONTNEED);
		rewrite_page(page);
		return;
	}
	at = memcmp(have, want, PAGE) ? 0 : PAGE;
	while (at < PAGE && have[at] == want[at])
		at++;
	if (at < PAGE && ++wrong <= 5)
		ksft_print_msg("page %zu, version %u, byte %zu: 0x%02x instead of 0x%02x\n",
			       page, version[page], at, have[at], want[at]);
	checked++;
	if (then_rewrite) {
		rewrite_page(page);
		rewritten++;
	}
}

static void page_out(size_t first, size_t nr)
{
	if (no_page_out)
		return;
	if (first + nr > nr_pages)
		nr = nr_pages - first;
	if (madvise(area + first * PAGE, nr * PAGE, MADV_PAGEOUT) && errno != EINTR)
		ksft_exit_fail_msg("MADV_PAGEOUT: %s\n", strerror(errno));
}

static void fill(void)
{
	size_t page;

	for (page = 0; page < nr_pages && !told_to_stop(); page++) {
		contents(page, 0, area + page * PAGE);
		/* Page out during the fill, since all pages may not fit in memory. */
		if (page % CHUNK == CHUNK - 1)
			page_out(page + 1 - CHUNK, CHUNK);
	}
	/* Told to stop before all pages were filled: the others have no contents. */
	memset(version + page, FREED, nr_pages - page);
	for (page = 0; page < nr_pages; page += 4096)
		page_out(page, 4096);
}

/* Frees runs of pages at random, and keeps one in keep_one_in of them. */
static void thin_out(void)
{
	for (size_t page = 0; page < nr_pages; page += RUN) {
		size_t nr = nr_pages - page < RUN ? nr_pages - page : RUN;

		if (next_random() % keep_one_in == 0)
			continue;
		madvise(area + page * PAGE, nr * PAGE, MADV_DONTNEED);
		memset(version + page, FREED, nr);
	}
}

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void time_fault(size_t page)
{
	struct rusage before, after;
	__u64 start, end;

	getrusage(RUSAGE_SELF, &before);
	start = now_ns();
	__atomic_load_n(area + page * PAGE, __ATOMIC_RELAXED);
	end = now_ns();
	getrusage(RUSAGE_SELF, &after);
	if (after.ru_majflt > before.ru_majflt && nr_faults < MOST_FAULTS)
		fault_ns[nr_faults++] = end - start < UINT32_MAX ? end - start : UINT32_MAX;
}

static void work_on_faults(void)
{
	size_t page = next_random() % nr_pages;

	if (version[page] != FREED)
		time_fault(page);
	check_page(page, next_random() % 4 == 0);
	page_out(page, 1);
}

static int compare_ns(const void *a, const void *b)
{
	__u32 x = *(const __u32 *)a, y = *(const __u32 *)b;

	return x < y ? -1 : x > y;
}

/* The time that this share of the faults did not exceed */
static __u32 percentile(double share)
{
	return nr_faults ? fault_ns[(size_t)(share * (nr_faults - 1))] : 0;
}

static void report_faults(double seconds)
{
	qsort(fault_ns, nr_faults, sizeof(*fault_ns), compare_ns);
	say("faults %zu\nfaults_per_s %.0f\n", nr_faults, nr_faults / seconds);
	say("p50_us %u\np99_us %u\np999_us %u\nmax_us %u\n", percentile(0.5) / 1000,
	    percentile(0.99) / 1000, percentile(0.999) / 1000, percentile(1) / 1000);
}

static void work(void)
{
	size_t page = next_random() % nr_pages, nr = 1 + next_random() % 32;

	for (; nr && page < nr_pages; nr--, page++)
		check_page(page, next_random() % 4 == 0);
	page_out(next_random() % nr_pages, CHUNK);
}

static void help(void)
{
	fprintf(stderr,
		"usage: zs_load [options]\n"
		"  -m MB       amount of memory (64)\n"
		"  -s SECONDS  duration of the work; 0: until SIGTERM (0)\n"
		"  -i          do not access the memory until the end\n"
		"  -p          leave paging out to memory reclaim\n"
		"  -r PERCENT  percentage of pages that do not compress (10)\n"
		"  -k N        free all except one in N pages after the fill\n"
		"  -l          lost pages are not an error\n"
		"  -t          time faults\n"
		"  -n SEED     seed of the contents (1)\n"
		"  -o FILE     file for the results (standard output)\n");
	exit(2);
}

static void options(int argc, char **argv)
{
	unsigned long mbytes = 64;
	int c;

	report = stdout;
	while ((c = getopt(argc, argv, "m:s:ipr:k:ltn:o:")) != -1) {
		switch (c) {
		case 'm':
			mbytes = strtoul(optarg, NULL, 0);
			break;
		case 's':
			work_seconds = strtoul(optarg, NULL, 0);
			break;
		case 'i':
			idle = true;
			break;
		case 'p':
			no_page_out = true;
			break;
		case 'r':
			random_percent = strtoul(optarg, NULL, 0);
			break;
		case 'k':
			keep_one_in = strtoul(optarg, NULL, 0);
			break;
		case 'l':
			losses_allowed = true;
			break;
		case 't':
			time_faults = true;
			break;
		case 'n':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 'o':
			report = fopen(optarg, "w");
			if (!report)
				ksft_exit_fail_msg("%s: %s\n", optarg, strerror(errno));
			break;
		default:
			help();
		}
	}
	if (optind < argc || !mbytes)
		help();
	nr_pages = (mbytes << 20) / PAGE;
}

int main(int argc, char **argv)
{
	struct sigaction bus = { .sa_handler = on_bus_error };
	sigset_t ends;
	time_t end;
	__u64 start;

	options(argc, argv);
	if (sysconf(_SC_PAGESIZE) != PAGE)
		ksft_exit_skip("the page size is %ld bytes, not %lu\n",
			       sysconf(_SC_PAGESIZE), PAGE);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);

	area = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	version = calloc(nr_pages, 1);
	fault_ns = calloc(time_faults ? MOST_FAULTS : 1, sizeof(*fault_ns));
	if (area == MAP_FAILED || !version || !fault_ns)
		ksft_exit_fail_msg("allocating memory failed: %s\n", strerror(errno));
	/* Only single pages are swapped in this test. */
	madvise(area, nr_pages * PAGE, MADV_NOHUGEPAGE);
	/* The versions must not be swapped out: they are needed to find lost pages. */
	mlock(version, nr_pages);
	if (time_faults)
		mlock(fault_ns, MOST_FAULTS * sizeof(*fault_ns));
	random_state = seed;
	make_text();

	fill();
	sigaction(SIGBUS, &bus, NULL);
	if (keep_one_in)
		thin_out();
	say("ready 1\n");

	start = now_ns();
	end = time(NULL) + work_seconds;
	while (!told_to_stop() && (!work_seconds || time(NULL) < end)) {
		if (idle)
			usleep(50000);
		else if (time_faults)
			work_on_faults();
		else
			work();
	}
	if (time_faults)
		report_faults((now_ns() - start) / 1e9);
	for (size_t page = 0; page < nr_pages; page++)
		check_page(page, false);
	say("pages %zu\nchecked %zu\nrewritten %zu\nlost %zu\nwrong %zu\n",
	    nr_pages, checked, rewritten, lost, wrong);
	return wrong || (lost && !losses_allowed);
}
