// SPDX-License-Identifier: GPL-2.0
/* swapon with a priority, which busybox does not have: zsswapon DEVICE PRIO */
#include <stdio.h>
#include <stdlib.h>
#include <sys/swap.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	if (swapon(argv[1], SWAP_FLAG_PREFER | (atoi(argv[2]) & SWAP_FLAG_PRIO_MASK))) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
