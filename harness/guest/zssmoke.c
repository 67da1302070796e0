// SPDX-License-Identifier: GPL-2.0
/*
 * The smoke test of make matrix, for architectures without a shell: the first and only
 * program of the guest.
 *
 *	/init MEGABYTES [LOADS [PRESSURE [NODE]]]
 *
 * Makes zram0 a swap device, pages out MEGABYTES of data, frees most of them, and lets
 * the kernel compact memory while another process reads what is left.  Then it compares
 * all of it.  With LOADS it does this so many times, and each time loads the modules in
 * /modules first and unloads them at the end.  "migrated" is what debugfs says of the
 * pool.  If PRESSURE is not 0, a process takes so much memory meanwhile that the kernel
 * swaps, and zram packs its objects.  If NODE is not 0, that node, whose memory is offline
 * at first, gets it when the pool has objects already, loses it while objects are there, and
 * gets it again.  Where there is /proc/allocinfo, it must agree with what the allocator says
 * of its own memory.  The arguments follow "--" on the kernel command line.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DEVICE	"/dev/zram0"
#define POOLS	"/sys/kernel/debug/zsmalloc"
#define STATS	POOLS "/zram0/migration"
#define NODES	"/sys/devices/system/node"

/* In the order in which they are loaded */
static const char * const modules[] = { "zsmalloc", "zram" };

static size_t page_size;

static void __attribute__((noreturn)) end(int status)
{
	printf("ZS-GUEST-END %d\n", status);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) die(const char *what)
{
	printf("guest: FAILED: %s: %s\n", what, strerror(errno));
	end(1);
}

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(file);
	close(fd);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* Each page has noise at its start, so that it compresses to a size of its own. */
static void fill_page(unsigned char *mem, size_t page)
{
	size_t noise = mix(page) % (page_size * 3 / 4) / 8 * 8;

	for (size_t i = 0; i < page_size; i += 8) {
		uint64_t value = i < noise ? mix(page * page_size + i) : page;

		memcpy(mem + i, &value, 8);
	}
}

static int kept(size_t page)
{
	return mix(page + 1) % 6 == 0;
}

/*
 * Memory of the allocator in bytes, as /proc/allocinfo, and as vmstat and debugfs have it.
 * "slab" is of descriptors, links and guest blocks.
 */
struct accounts {
	unsigned long long pages, slab;
};

static struct accounts allocinfo(FILE *in)
{
	struct accounts sum = { 0, 0 };
	char line[512], func[64];
	unsigned long long bytes;

	while (fgets(line, sizeof(line), in)) {
		const char *name = strstr(line, "func:");

		if (!strstr(line, "mm/zsmalloc.c:") || !name ||
		    sscanf(line, "%llu", &bytes) != 1 || sscanf(name, "func:%63s", func) != 1)
			continue;
		if (!strcmp(func, "zs_alloc_bulk") || !strcmp(func, "zs_alloc_single"))
			sum.pages += bytes;
		else if (!strcmp(func, "zs_alloc_descriptor") || !strcmp(func, "zs_alloc_supply"))
			sum.slab += bytes;
	}
	return sum;
}

static unsigned long long vmstat(const char *file, const char *key)
{
	unsigned long long value;
	char name[64];
	FILE *in;

	/* Adds what each CPU has counted, to the sums */
	put("/proc/sys/vm/stat_refresh", "1");
	in = fopen(file, "r");
	if (!in)
		die(file);
	while (fscanf(in, "%63s %llu", name, &value) == 2) {
		if (strcmp(name, key))
			continue;
		fclose(in);
		return value;
	}
	errno = ENOENT;
	die(key);
}

static struct accounts own_accounts(void)
{
	struct accounts sum = { vmstat("/proc/vmstat", "nr_zspages") * page_size, 0 };
	DIR *pools = opendir(POOLS);
	struct dirent *pool;

	if (!pools)
		die(POOLS);
	while ((pool = readdir(pools))) {
		unsigned long long descriptors, forwarders, links, guests;
		char line[512];
		int found = 0;
		FILE *in;

		if (pool->d_name[0] == '.')
			continue;
		snprintf(line, sizeof(line), POOLS "/%s/memory", pool->d_name);
		in = fopen(line, "r");
		if (!in)
			die(line);
		while (fgets(line, sizeof(line), in))
			found |= sscanf(line, " Total %*u %*u %*u %llu %llu %llu %llu",
					&descriptors, &forwarders, &links, &guests) == 4;
		fclose(in);
		errno = EPROTO;
		if (!found)
			die(pool->d_name);
		sum.slab += descriptors + forwarders + links + guests;
	}
	closedir(pools);
	return sum;
}

/* Zspages may still be on their way to be freed, so this may wait for a while. */
static void check_allocinfo(void)
{
	struct accounts info = { 0, 0 }, own = { 1, 1 };

	for (int i = 0; i < 50 && memcmp(&info, &own, sizeof(own)); i++) {
		FILE *in = fopen("/proc/allocinfo", "r");

		if (!in)
			return;
		usleep(100000);
		info = allocinfo(in);
		fclose(in);
		own = own_accounts();
	}
	printf("guest: allocinfo: pages=%llu of %llu slab=%llu of %llu\n", info.pages, own.pages,
	       info.slab, own.slab);
	errno = EIO;
	if (!info.pages || memcmp(&info, &own, sizeof(own)))
		die("/proc/allocinfo does not agree");
}

/* Both are sums: free ones and those whose old page is still held */
static unsigned long migrated(void)
{
	unsigned long free = 0, held = 0;
	FILE *in = fopen(STATS, "r");

	if (!in || fscanf(in, "free %lu held %lu", &free, &held) != 2)
		die(STATS);
	fclose(in);
	return free + held;
}

static unsigned long swapped_kb(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *in = fopen("/proc/self/status", "r");

	if (!in)
		die("/proc/self/status");
	while (fgets(line, sizeof(line), in))
		if (sscanf(line, "VmSwap: %lu", &kb) == 1)
			break;
	fclose(in);
	return kb;
}

static void swap_on(size_t megabytes)
{
	uint32_t head[3] = { 1, 0, 0 };
	char *page = calloc(1, page_size), size[32];
	int fd;

	snprintf(size, sizeof(size), "%zuM", 2 * megabytes);
	put("/sys/block/zram0/disksize", size);
	head[1] = (2 * megabytes << 20) / page_size - 1;
	memcpy(page + 1024, head, sizeof(head));
	memcpy(page + page_size - 10, "SWAPSPACE2", 10);
	fd = open(DEVICE, O_RDWR);
	if (fd < 0 || write(fd, page, page_size) != (ssize_t)page_size || fsync(fd))
		die(DEVICE);
	close(fd);
	free(page);
	if (swapon(DEVICE, 0))
		die("swapon");
}

static void swap_off(void)
{
	if (swapoff(DEVICE))
		die("swapoff");
	put("/sys/block/zram0/reset", "1");
}

/* Returns the number of pages that do not have their contents */
static size_t wrong_pages(const unsigned char *mem, size_t pages, unsigned int one_in)
{
	unsigned char *want = malloc(page_size);
	size_t wrong = 0;

	for (size_t page = 0; page < pages; page++) {
		if (!kept(page) || mix(page + 2) % one_in)
			continue;
		fill_page(want, page);
		wrong += !!memcmp(mem + page * page_size, want, page_size);
	}
	free(want);
	return wrong;
}

static void page_out(unsigned char *mem, size_t size)
{
	for (int round = 0; round < 3; round++)
		if (madvise(mem, size, MADV_PAGEOUT))
			die("MADV_PAGEOUT");
}

/* Takes memory until a part of it was swapped out */
static void press(void)
{
	size_t chunk = 1 << 20;
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	while (!pid) {
		unsigned char *mem = mmap(NULL, chunk, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (mem == MAP_FAILED)
			_exit(1);
		for (size_t i = 0; i < chunk; i += page_size)
			for (size_t j = 0; j < page_size / 8; j += 8)
				*(uint64_t *)(mem + i + j) = mix((uintptr_t)mem + i + j);
		if (swapped_kb() > 32 << 10)
			_exit(0);
	}
	errno = ENOMEM;
	if (waitpid(pid, &status, 0) != pid || status)
		die("a process that takes all memory");
}

/* Sets the state of all memory of @node; fails if a block of it stays busy. */
static void node_memory(int node, const char *state)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int blocks = 0;
	DIR *dir;

	snprintf(path, sizeof(path), NODES "/node%d", node);
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((entry = readdir(dir))) {
		int fd, tries = 0;

		if (strncmp(entry->d_name, "memory", 6) || !strchr("0123456789", entry->d_name[6]))
			continue;
		snprintf(path, sizeof(path), NODES "/node%d/%s/state", node, entry->d_name);
		fd = open(path, O_WRONLY);
		if (fd < 0)
			die(path);
		while (write(fd, state, strlen(state)) < 0)
			if (errno != EBUSY || ++tries == 20)
				die(path);
		close(fd);
		blocks++;
	}
	closedir(dir);
	errno = ENOENT;
	if (!blocks)
		die("a node without memory blocks");
}

static unsigned long long zspages_on(int node)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), NODES "/node%d/vmstat", node);
	return vmstat(path, "nr_zspages");
}

/* From now on this process takes memory from @node only; from any node if it is 0. */
static void use_node(int node)
{
	unsigned long mask = node ? 1UL << node : 0;

	if (syscall(SYS_set_mempolicy, node ? MPOL_BIND : MPOL_DEFAULT, node ? &mask : NULL,
		    node ? 8 * sizeof(mask) : 0))
		die("set_mempolicy");
}

/* Kernels without CONFIG_COMPACTION do not have this file. */
static void compact_memory(void)
{
	static const char file[] = "/proc/sys/vm/compact_memory";

	if (!access(file, F_OK))
		put(file, "1");
}

static void smoke(size_t megabytes, int pressure, int node)
{
	size_t size = megabytes << 20, pages = size / page_size, left = 0, wrong;
	unsigned long swapped;
	unsigned char *mem;
	int status;
	pid_t pid;

	swap_on(megabytes);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	for (size_t page = 0; page < pages; page++) {
		if (node && page == pages / 2) {
			page_out(mem, size / 2);
			node_memory(node, "online_movable");
			use_node(node);
		}
		fill_page(mem + page * page_size, page);
	}
	page_out(mem, size);
	if (node)
		use_node(0);
	swapped = swapped_kb();
	for (size_t page = 0; page < pages; page++) {
		if (kept(page))
			left++;
		else if (madvise(mem + page * page_size, page_size, MADV_DONTNEED))
			die("MADV_DONTNEED");
	}

	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(wrong_pages(mem, pages, 4) != 0);
	for (int round = 0; round < 4; round++)
		compact_memory();
	if (waitpid(pid, &status, 0) != pid || status) {
		errno = EIO;
		die("wrong contents during compaction");
	}
	if (pressure) {
		press();
		put("/sys/block/zram0/compact", "1");
	}
	if (node) {
		unsigned long long zspages = zspages_on(node);

		node_memory(node, "offline");
		printf("guest: node %d: zspages=%llu, %llu without its memory\n", node, zspages,
		       zspages_on(node));
		errno = EPROTO;
		if (!zspages || zspages_on(node))
			die("zspages of the node");
		node_memory(node, "online_movable");
	}
	for (int round = 0; round < 2; round++)
		compact_memory();
	check_allocinfo();
	wrong = wrong_pages(mem, pages, 1);
	printf("guest: swapped=%lu checked=%zu wrong=%zu migrated=%lu\n", swapped, left,
	       wrong, migrated());
	fflush(stdout);
	munmap(mem, size);
	swap_off();
	errno = EIO;
	if (wrong)
		die("wrong contents");
	errno = EAGAIN;
	if (swapped < size / 1024 / 2)
		die("half of the data was not swapped out");
}

static void load(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		die(path);
	close(fd);
}

static void unload(const char *name)
{
	if (syscall(SYS_delete_module, name, O_NONBLOCK))
		die(name);
}

int main(int argc, char **argv)
{
	int megabytes = argc > 1 ? atoi(argv[1]) : 0, loads = argc > 2 ? atoi(argv[2]) : 0;
	int pressure = argc > 3 ? atoi(argv[3]) : 0, node = argc > 4 ? atoi(argv[4]) : 0;

	page_size = sysconf(_SC_PAGESIZE);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL) ||
	    (mount("dev", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY) ||
	    mount("debug", "/sys/kernel/debug", "debugfs", 0, NULL))
		die("mount");
	if (megabytes <= 0) {
		errno = EINVAL;
		die("the number of megabytes");
	}
	for (int i = 0; i < loads; i++) {
		load(modules[0]);
		load(modules[1]);
		smoke(megabytes, pressure, node);
		unload(modules[1]);
		unload(modules[0]);
	}
	if (!loads)
		smoke(megabytes, pressure, node);
	end(0);
}
