// SPDX-License-Identifier: GPL-2.0
/*
 * Measures the time of writes to a file of the kernel:  zs_time NUMBER FILE VALUE
 * Prints a line for each write: the time in microseconds, and the error or 0.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

static long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	unsigned long nr = argc == 4 ? strtoul(argv[1], NULL, 0) : 0;

	if (!nr) {
		fprintf(stderr, "usage: zs_time NUMBER FILE VALUE\n");
		return 2;
	}
	/* Page faults of this program must not be part of the time. */
	mlockall(MCL_CURRENT | MCL_FUTURE);

	while (nr--) {
		int error = 0, file = open(argv[2], O_WRONLY);
		long long start;

		if (file < 0)
			ksft_exit_fail_msg("%s: %s\n", argv[2], strerror(errno));
		start = now_us();
		if (write(file, argv[3], strlen(argv[3])) < 0)
			error = errno;
		printf("%lld %d\n", now_us() - start, error);
		fflush(stdout);
		close(file);
	}
	return 0;
}
