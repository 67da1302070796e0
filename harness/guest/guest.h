/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the guest's programs.  Each includes it once. */
#ifndef ZS_GUEST_H
#define ZS_GUEST_H

#define PAGE	4096UL

/* Progress, on the console */
static void say(const char *fmt, ...)
{
	va_list args;

	printf("guest: ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* A line "KEY VALUE" for the host, on the second serial port */
static void result(const char *fmt, ...)
{
	static FILE *out;
	va_list args;

	if (!out)
		out = fopen("/dev/ttyS1", "w");
	if (!out)
		return;
	va_start(args, fmt);
	vfprintf(out, fmt, args);
	va_end(args);
	fprintf(out, "\n");
	fflush(out);
}

static void __attribute__((noreturn)) quit(const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	say("FAILED: %s", text);
	result("error %s", text);
	exit(1);
}

static void __attribute__((noreturn)) die(const char *what)
{
	quit("%s: %s", what, strerror(errno));
}

/* A hash, so that each run chooses the same pages, without a pattern */
static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline void read_all(int fd, void *to, size_t size, off_t at)
{
	while (size) {
		ssize_t n = pread(fd, to, size, at);

		if (n <= 0)
			die("reading the source");
		to = (char *)to + n;
		size -= n;
		at += n;
	}
}

/* Compares one page, reports the first few differences */
static inline unsigned long count_wrong(const unsigned char *have,
					const unsigned char *want,
					unsigned long page)
{
	static int reported;
	unsigned long wrong = 0, first = 0;

	if (!memcmp(have, want, PAGE))
		return 0;
	for (unsigned long i = 0; i < PAGE; i++) {
		if (have[i] == want[i])
			continue;
		if (!wrong++)
			first = i;
	}
	if (reported++ < 5)
		say("page %lu: %lu bytes differ, the first at %lu: %02x, not %02x",
		    page, wrong, first, have[first], want[first]);
	return wrong;
}

static inline unsigned long swapped_kb(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *in = fopen("/proc/self/status", "r");

	if (!in)
		die("/proc/self/status");
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "VmSwap: %lu", &kb) == 1)
			break;
	}
	fclose(in);
	return kb;
}

static inline int run_hook(const char *script)
{
	char command[256];
	int status;

	snprintf(command, sizeof(command), "/bin/sh %s", script);
	status = system(command);
	if (status < 0 || !WIFEXITED(status))
		return 255;
	return WEXITSTATUS(status);
}

#endif
