// SPDX-License-Identifier: GPL-2.0
/*
 * Requests transparent huge pages:  zs_thp MB
 * Prints how many it wanted and got, and the time in milliseconds.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "kselftest.h"

#define HUGE_PAGE	(2UL << 20)

static unsigned long huge_kb(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kb = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "AnonHugePages: %lu kB", &kb) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kb;
}

int main(int argc, char **argv)
{
	unsigned long mbytes = argc == 2 ? strtoul(argv[1], NULL, 0) : 0;
	size_t i, nr = mbytes / 2;
	struct timespec start, end;
	char *area;

	if (!nr) {
		fprintf(stderr, "usage: zs_thp MB\n");
		return 2;
	}
	area = mmap(NULL, (nr + 1) * HUGE_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	area += HUGE_PAGE - (uintptr_t)area % HUGE_PAGE;
	if (madvise(area, nr * HUGE_PAGE, MADV_HUGEPAGE))
		ksft_exit_fail_msg("MADV_HUGEPAGE: %s\n", strerror(errno));

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < nr; i++)
		area[i * HUGE_PAGE] = 1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("wanted %zu\ngot %lu\nms %ld\n", nr, huge_kb() / 2048,
	       (end.tv_sec - start.tv_sec) * 1000 +
	       (end.tv_nsec - start.tv_nsec) / 1000000);
	return 0;
}
