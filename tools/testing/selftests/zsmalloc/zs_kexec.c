// SPDX-License-Identifier: GPL-2.0
/*
 * Loads a kernel that kexec starts later:  zs_kexec KERNEL INITRD COMMAND-LINE
 * Starts it at once:  zs_kexec -e
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/reboot.h>

#include "kselftest.h"

static int open_or_fail(const char *name)
{
	int file = open(name, O_RDONLY);

	if (file < 0)
		ksft_exit_fail_msg("%s: %s\n", name, strerror(errno));
	return file;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "-e")) {
		syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			LINUX_REBOOT_CMD_KEXEC, NULL);
		ksft_exit_fail_msg("kexec: %s\n", strerror(errno));
	}
	if (argc != 4) {
		fprintf(stderr, "usage: zs_kexec KERNEL INITRD COMMAND-LINE | zs_kexec -e\n");
		return 2;
	}
	if (syscall(SYS_kexec_file_load, open_or_fail(argv[1]), open_or_fail(argv[2]),
		    strlen(argv[3]) + 1, argv[3], 0UL))
		ksft_exit_fail_msg("kexec_file_load: %s\n", strerror(errno));
	return 0;
}
