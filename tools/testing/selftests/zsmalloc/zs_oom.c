// SPDX-License-Identifier: GPL-2.0
/*
 * Records the state just before memory runs out:  zs_oom SECONDS DIRECTORY FILE...
 *
 * Reads the files repeatedly until the OOM killer has killed a process.  Then writes
 * their last contents before the kill to files of the same names in the directory, and
 * the time until the kill to the file "ms" there.  Exits with status 1 if no process
 * was killed within SECONDS.
 *
 * This program allocates no memory while it reads, and the OOM killer does not kill it.
 */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

#define MAX_FILES	8
#define MAX_SIZE	65536
#define PAUSE_US	50000

static char text[2][MAX_FILES][MAX_SIZE];	/* one is being read, the other is complete */
static char vmstat[MAX_SIZE];

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

static void read_all(int file, char *buffer)
{
	ssize_t got, len = 0;

	while (len < MAX_SIZE - 1) {
		got = pread(file, buffer + len, MAX_SIZE - 1 - len, len);
		if (got <= 0)
			break;
		len += got;
	}
	buffer[len] = 0;
}

static int open_or_fail(const char *name)
{
	int file = open(name, O_RDONLY);

	if (file < 0)
		ksft_exit_fail_msg("%s: %s\n", name, strerror(errno));
	return file;
}

static unsigned long killed(int file)
{
	const char *line;

	read_all(file, vmstat);
	line = strstr(vmstat, "\noom_kill ");
	return line ? strtoul(line + strlen("\noom_kill "), NULL, 10) : 0;
}

static void write_to(const char *dir, const char *name, const char *what)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	if (!file || fputs(what, file) < 0 || fclose(file))
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
}

int main(int argc, char **argv)
{
	int i, nr = argc - 3, last = 0, files[MAX_FILES], counters, adj;
	long seconds, start, took;
	unsigned long before;
	char ms[32];

	if (nr < 1 || nr > MAX_FILES) {
		fprintf(stderr, "usage: zs_oom SECONDS DIRECTORY FILE...\n");
		return 2;
	}
	seconds = strtol(argv[1], NULL, 0);
	counters = open_or_fail("/proc/vmstat");
	for (i = 0; i < nr; i++)
		files[i] = open_or_fail(argv[i + 3]);
	adj = open("/proc/self/oom_score_adj", O_WRONLY);
	if (adj < 0 || write(adj, "-1000", 5) != 5)
		ksft_exit_fail_msg("oom_score_adj: %s\n", strerror(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		ksft_exit_fail_msg("mlockall: %s\n", strerror(errno));

	before = killed(counters);
	start = now_ms();
	for (;;) {
		for (i = 0; i < nr; i++)
			read_all(files[i], text[!last][i]);
		took = now_ms() - start;
		if (killed(counters) != before)
			break;
		last = !last;
		if (took > seconds * 1000)
			return 1;
		usleep(PAUSE_US);
	}
	for (i = 0; i < nr; i++)
		write_to(argv[2], basename(argv[i + 3]), text[last][i]);
	snprintf(ms, sizeof(ms), "%ld\n", took);
	write_to(argv[2], "ms", ms);
	return 0;
}
