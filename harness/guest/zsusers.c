// SPDX-License-Identifier: GPL-2.0
/*
 * Measures zram and zswap, the users of zsmalloc, for make bench.
 *
 *	zsusers SOURCE MEGABYTES PROCESSES NAME [busy]
 *
 * Each of the processes fills MEGABYTES of memory with real data from SOURCE,
 * pages all of it out, touches every page, compares all of it with SOURCE, pages
 * it out again and unmaps it.  Prints the times of paging out, touching and unmapping,
 * in nanoseconds per page, as results NAME_store_PROCESSES and so on.  With "busy", one
 * more process pages memory in and out all the time, and only the time of unmapping is
 * printed, as NAME_unmap_busy.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define CHUNK		(1UL << 20)
#define MAX_PROCESSES	8
#define BUSY_PAGES	64	/* that are touched, on average, before all are paged out */

enum { STORE, LOAD, UNMAP, NR_TIMES };

static struct shared {
	pthread_barrier_t barrier;
	uint64_t ns[MAX_PROCESSES][NR_TIMES];
	unsigned long wrong[MAX_PROCESSES];
	bool busy;	/* the additional process has begun */
	bool done;	/* it should end */
} *shared;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* All processes begin at the same time. */
static uint64_t begin(void)
{
	pthread_barrier_wait(&shared->barrier);
	return now();
}

static void page_out(unsigned char *mem, size_t size)
{
	if (madvise(mem, size, MADV_PAGEOUT))
		die("MADV_PAGEOUT");
}

/* Pages out pages that were in use at first, and checks that most are out. */
static void page_out_rest(unsigned char *mem, size_t size)
{
	for (int i = 0; i < 3; i++)
		page_out(mem, size);
	if (swapped_kb() < (size >> 10) * 95 / 100)
		quit("only %lu of %zu kB could be paged out", swapped_kb(), size >> 10);
}

/* Memory with real data, at this place of the source or at its beginning */
static unsigned char *filled(int fd, size_t size, off_t *at)
{
	unsigned char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		die("mmap");
	madvise(mem, size, MADV_NOHUGEPAGE);
	if (*at + (off_t)size > lseek(fd, 0, SEEK_END))
		*at = 0;
	read_all(fd, mem, size, *at);
	return mem;
}

static void busy_process(int fd, size_t size)
{
	off_t from = 0;
	unsigned char *mem = filled(fd, size, &from);
	uint64_t at = 0;

	page_out_rest(mem, size);
	__atomic_store_n(&shared->busy, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&shared->done, __ATOMIC_ACQUIRE)) {
		at = mix(at);
		*(volatile unsigned char *)(mem + at % (size / PAGE) * PAGE) += 1;
		if (at % BUSY_PAGES == 0)
			page_out(mem, size);
	}
	exit(0);
}

static void start_busy_process(int fd, size_t size)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid)
		busy_process(fd, size);
	while (!__atomic_load_n(&shared->busy, __ATOMIC_ACQUIRE)) {
		if (waitpid(pid, &status, WNOHANG))
			quit("a process failed");
		usleep(10000);
	}
}

static void process(unsigned int id, int fd, size_t size)
{
	static unsigned char want[CHUNK];
	unsigned char *mem, sum = 0;
	off_t from = id * size;
	uint64_t start;

	mem = filled(fd, size, &from);

	start = begin();
	page_out(mem, size);
	shared->ns[id][STORE] = now() - start;
	page_out_rest(mem, size);

	start = begin();
	for (size_t at = 0; at < size; at += PAGE)
		sum += *(volatile unsigned char *)(mem + at);
	shared->ns[id][LOAD] = now() - start;

	for (size_t at = 0; at < size; at += PAGE) {
		if (at % CHUNK == 0)
			read_all(fd, want, CHUNK, from + at);
		shared->wrong[id] += count_wrong(mem + at, want + at % CHUNK,
						 at / PAGE);
	}
	/* Swapped in, they may be clean: write them out once more. */
	for (size_t at = 0; at < size; at += PAGE)
		*(volatile unsigned char *)(mem + at) += 1;
	page_out(mem, size);
	page_out_rest(mem, size);

	start = begin();
	munmap(mem, size);
	shared->ns[id][UNMAP] = now() - start;
	exit(sum & 0);
}

int main(int argc, char **argv)
{
	static const char * const names[NR_TIMES] = { "store", "load", "unmap" };
	char with[16];
	unsigned int nr;
	pthread_barrierattr_t attr;
	unsigned long wrong = 0;
	size_t size;
	bool busy;
	int fd, status;

	busy = argc == 6 && !strcmp(argv[5], "busy");
	if (argc != 5 + busy)
		quit("usage: zsusers SOURCE MEGABYTES PROCESSES NAME [busy]");
	fd = open(argv[1], O_RDONLY);
	if (fd < 0)
		die(argv[1]);
	size = strtoul(argv[2], NULL, 10) << 20;
	nr = strtoul(argv[3], NULL, 10);
	if (!size || !nr || nr > MAX_PROCESSES)
		quit("MEGABYTES and PROCESSES must be positive, and PROCESSES at most %u",
		     MAX_PROCESSES);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->barrier, &attr, nr);

	if (busy)
		start_busy_process(fd, size / 2);
	for (unsigned int i = 0; i < nr; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			process(i, fd, size);
	}
	for (unsigned int i = 0; i < nr; i++) {
		/* The other processes may wait for this one forever. */
		if (wait(&status) < 0 || status)
			quit("a process failed");
	}
	__atomic_store_n(&shared->done, true, __ATOMIC_RELEASE);
	if (busy && (wait(&status) < 0 || status))
		quit("a process failed");
	for (unsigned int i = 0; i < nr; i++)
		wrong += shared->wrong[i];
	if (wrong)
		quit("%lu bytes were wrong", wrong);
	for (unsigned int t = 0; t < NR_TIMES; t++) {
		uint64_t ns = 0;

		for (unsigned int i = 0; i < nr; i++)
			ns += shared->ns[i][t];
		snprintf(with, sizeof(with), "%u", nr);
		if (!busy || t == UNMAP)
			say("ZSBENCH users.%s_%s_%s %.1f", argv[4], names[t],
			    busy ? "busy" : with, (double)ns / (nr * (size / PAGE)));
	}
	return 0;
}
