// SPDX-License-Identifier: GPL-2.0
/*
 * What make run draws: the contents of physical memory, and huge pages over time.
 *
 *	zspages map NAME TYPE	the contents of each page, by pageblock
 *	zspages watch		samples until SIGTERM, then prints them
 *
 * TYPE is PGTY_zsmalloc of the running kernel's page-flags.h.
 *
 * The contents of a page are those that the kernel states: /proc/kpageflags has a flag
 * for all contents but zsmalloc's.  These have a type of their own in struct page, which
 * no flag shows, so it is read from struct page through /proc/kcore.  The note VMCOREINFO
 * there says where struct page is.  (The page owner would not do: a page to which
 * compaction moved contents of zsmalloc has compaction as its owner.)  Whether the right
 * memory was read is checked twice: free pages must have the type of free pages, or none,
 * and the pages of zsmalloc must be as many as the kernel counts.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define HAS(flags, name)	(((flags) >> KPF_##name) & 1)
#define MAX_SAMPLES		20000
#define ATTEMPTS	10	/* to read a map without a change meanwhile */
#define MS_PER_SAMPLE		5

static void *allocate(size_t n, size_t size)
{
	void *mem = calloc(n, size);

	if (!mem)
		die("calloc");
	return mem;
}

/* Returns the size of a small file, of which BUF keeps what fits and a zero */
static size_t read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	size_t have = 0;
	ssize_t n;

	if (fd < 0)
		die(path);
	while (have < size - 1) {
		n = read(fd, buf + have, size - 1 - have);
		if (n < 0)
			die(path);
		if (!n)
			break;
		have += n;
	}
	buf[have] = '\0';
	close(fd);
	return have;
}

/* A counter in the text of /proc/vmstat */
static unsigned long counter(const char *text, const char *name)
{
	const char *at = text;
	size_t length = strlen(name);

	while (at) {
		if (!strncmp(at, name, length) && at[length] == ' ')
			return strtoul(at + length, NULL, 10);
		at = strchr(at, '\n');
		if (at)
			at++;
	}
	quit("/proc/vmstat has no %s", name);
}

/* /proc/kcore: an ELF file whose segments are the kernel's memory */
struct kcore {
	int fd;
	Elf64_Phdr *segments;
	unsigned int nr;
	char *info;	/* the text of the note VMCOREINFO */
};

static void find_info(struct kcore *core, const Elf64_Phdr *segment)
{
	char *notes = allocate(segment->p_filesz, 1);
	size_t at = 0;

	read_all(core->fd, notes, segment->p_filesz, segment->p_offset);
	while (at + sizeof(Elf64_Nhdr) <= segment->p_filesz) {
		Elf64_Nhdr *note = (void *)(notes + at);
		char *name = (char *)(note + 1);
		char *text = name + (note->n_namesz + 3) / 4 * 4;

		if (!strcmp(name, "VMCOREINFO")) {
			core->info = strndup(text, note->n_descsz);
			break;
		}
		at = text - notes + (note->n_descsz + 3) / 4 * 4;
	}
	free(notes);
}

static void open_core(struct kcore *core)
{
	Elf64_Ehdr head;

	core->info = NULL;
	core->fd = open("/proc/kcore", O_RDONLY);
	if (core->fd < 0)
		die("/proc/kcore");
	read_all(core->fd, &head, sizeof(head), 0);
	core->nr = head.e_phnum;
	core->segments = allocate(core->nr, sizeof(*core->segments));
	read_all(core->fd, core->segments, core->nr * sizeof(*core->segments), head.e_phoff);
	for (unsigned int i = 0; i < core->nr; i++) {
		if (core->segments[i].p_type == PT_NOTE)
			find_info(core, &core->segments[i]);
	}
	if (!core->info)
		quit("/proc/kcore has no VMCOREINFO");
}

static unsigned long info(const struct kcore *core, const char *key, int base)
{
	const char *at = strstr(core->info, key);

	if (!at || (at > core->info && at[-1] != '\n'))
		quit("VMCOREINFO has no %s", key);
	return strtoul(at + strlen(key), NULL, base);
}

/* Reads the part of the kernel's memory that there is; the rest is filled with ones. */
static void read_core(const struct kcore *core, uint64_t from, char *to, size_t size)
{
	memset(to, 0xff, size);
	for (unsigned int i = 0; i < core->nr; i++) {
		const Elf64_Phdr *segment = &core->segments[i];
		uint64_t first = segment->p_vaddr, end = first + segment->p_memsz;

		if (segment->p_type != PT_LOAD)
			continue;
		if (first < from)
			first = from;
		if (end > from + size)
			end = from + size;
		if (first < end)
			read_all(core->fd, to + (first - from), end - first,
				 segment->p_offset + (first - segment->p_vaddr));
	}
}

/* The first page frame behind the machine's memory */
static unsigned long end_of_memory(void)
{
	unsigned long end = 0;
	char line[256], *last;
	FILE *in = fopen("/proc/iomem", "r");

	if (!in)
		die("/proc/iomem");
	while (fgets(line, sizeof(line), in)) {
		last = strchr(line, '-');
		if (last && line[0] != ' ' && strstr(line, ": System RAM"))
			end = (strtoul(last + 1, NULL, 16) + 1) / PAGE;
	}
	fclose(in);
	if (!end)
		quit("/proc/iomem has no System RAM");
	return end;
}

/*
 * h: no memory; f: free; H: huge page; z: zsmalloc; m: other memory that can be moved,
 * which is on the list of an LRU or mapped by processes; u: all else
 */
static char contents(uint64_t flags, uint32_t type, uint32_t zsmalloc)
{
	if (HAS(flags, NOPAGE))
		return 'h';
	if (HAS(flags, BUDDY))
		return 'f';
	if (HAS(flags, HUGE))
		return 'H';
	if (type >> 24 == zsmalloc)
		return 'z';
	if (HAS(flags, LRU) || HAS(flags, ANON) || HAS(flags, SWAPCACHE))
		return 'm';
	return 'u';
}

/* Prints a pageblock: each letter with the number of pages in a row, if not one */
static void print_block(const char *name, unsigned long block, const char *map,
			unsigned long pages)
{
	static char text[4096];
	unsigned long run;
	char *to = text;

	for (unsigned long i = 0; i < pages; i += run) {
		for (run = 1; i + run < pages && map[i + run] == map[i]; run++)
			;
		*to++ = map[i];
		if (run > 1)
			to += sprintf(to, "%lu", run);
	}
	*to = '\0';
	result("map_%s_%lu %s", name, block, text);
}

/* Where struct page of each page frame is, and what is known of it */
struct layout {
	unsigned long vmemmap, size, offset;	/* of page_type */
	uint32_t free, zsmalloc;	/* the types */
	unsigned long end, block;	/* page frames, page frames of a pageblock */
};

static void get_layout(struct layout *layout, const struct kcore *core, uint32_t zsmalloc)
{
	char text[32];

	layout->vmemmap = info(core, "SYMBOL(vmemmap)=", 16);
	layout->size = info(core, "SIZE(page)=", 10);
	/* page_type and _mapcount are a union. */
	layout->offset = info(core, "OFFSET(page._mapcount)=", 10);
	layout->free = (info(core, "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=", 0) & UINT32_MAX) >> 24;
	layout->zsmalloc = zsmalloc;
	layout->end = end_of_memory();
	read_text("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, sizeof(text));
	layout->block = strtoul(text, NULL, 10) / PAGE;
	if (!layout->block || layout->offset + sizeof(uint32_t) > layout->size)
		quit("pageblocks of %lu pages, struct page of %lu bytes, type at %lu",
		     layout->block, layout->size, layout->offset);
}

/* What a reading of the map found, to be compared with what the kernel counts */
struct found {
	unsigned long zspages;
	unsigned long free, typed, strange;	/* free pages; with their type, with another */
};

static void read_map(const struct layout *layout, const struct kcore *core, uint64_t *flags,
		     char *structs, char *map, struct found *found)
{
	unsigned long pages;
	uint32_t type;
	int fd;

	memset(found, 0, sizeof(*found));
	fd = open("/proc/kpageflags", O_RDONLY);
	if (fd < 0)
		die("/proc/kpageflags");
	for (unsigned long pfn = 0; pfn < layout->end; pfn += pages) {
		pages = layout->end - pfn < layout->block ? layout->end - pfn : layout->block;
		read_all(fd, flags, pages * sizeof(*flags), pfn * sizeof(*flags));
		read_core(core, layout->vmemmap + pfn * layout->size, structs,
			  pages * layout->size);
		for (unsigned long i = 0; i < pages; i++) {
			memcpy(&type, structs + i * layout->size + layout->offset, sizeof(type));
			map[pfn + i] = contents(flags[i], type, layout->zsmalloc);
			found->zspages += map[pfn + i] == 'z';
			if (map[pfn + i] != 'f')
				continue;
			found->free++;
			/* Pages of a free block but the first have no type. */
			if (type >> 24 == layout->free)
				found->typed++;
			else if (type != UINT32_MAX)
				found->strange++;
		}
	}
	close(fd);
}

static void map_memory(const char *name, uint32_t zsmalloc)
{
	unsigned long counted, blocks;
	static char text[65536];
	struct layout layout;
	struct found found;
	struct kcore core;
	char *structs, *map;
	uint64_t *flags;

	open_core(&core);
	get_layout(&layout, &core, zsmalloc);
	flags = allocate(layout.block, sizeof(*flags));
	structs = allocate(layout.block, layout.size);
	map = allocate(layout.end, 1);
	/* A page may be allocated or freed between two looks at it. */
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		read_map(&layout, &core, flags, structs, map, &found);
		/* Folds the counters of the CPUs. */
		read_text("/proc/sys/vm/stat_refresh", text, sizeof(text));
		read_text("/proc/vmstat", text, sizeof(text));
		counted = counter(text, "nr_zspages");
		if (found.zspages == counted && found.typed && !found.strange)
			break;
	}
	if (found.zspages != counted)
		quit("%lu pages have the type of zsmalloc, the kernel counts %lu",
		     found.zspages, counted);
	if (!found.typed || found.strange)
		quit("of %lu free pages %lu have the type of free blocks, %lu one of others",
		     found.free, found.typed, found.strange);

	blocks = (layout.end + layout.block - 1) / layout.block;
	result("map_%s_block %lu", name, layout.block);
	for (unsigned long i = 0; i < blocks; i++) {
		unsigned long first = i * layout.block;

		print_block(name, i, map + first, layout.end - first < layout.block ?
			    layout.end - first : layout.block);
	}
	result("map_%s_end %lu %lu", name, blocks, layout.end);
}

struct sample {
	unsigned long ms, huge, migrated;
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static unsigned long uptime_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Migrations of zsmalloc's pages that succeeded, from the tracepoint's histogram */
static unsigned long zs_migrated(void)
{
	static char text[16384];
	unsigned long value;
	char *at;

	read_text("/sys/kernel/tracing/events/zsmalloc/zs_migrate_page/hist", text, sizeof(text));
	at = strstr(text, "{ ret: ");
	for (; at; at = strstr(at + 1, "{ ret: ")) {
		if (strtol(at + 7, NULL, 10) == 0 &&
		    sscanf(at, "%*[^}]} hitcount: %lu", &value) == 1)
			return value;
	}
	return 0;
}

/*
 * All that was allocated and not yet given back is counted, because nr_hugepages stays
 * until the kernel has finished a request.
 */
static void watch(void)
{
	struct sample *samples = allocate(MAX_SAMPLES, sizeof(*samples));
	struct timespec pause = { .tv_nsec = MS_PER_SAMPLE * 1000000L };
	static char text[65536];
	unsigned int n = 0;

	signal(SIGTERM, stop);
	while (!stopped && n < MAX_SAMPLES) {
		struct sample *now = &samples[n];

		now->ms = uptime_ms();
		read_text("/proc/vmstat", text, sizeof(text));
		now->huge = counter(text, "htlb_buddy_alloc_success");
		now->migrated = zs_migrated();
		/* Of equal samples in a row, the first and the last are of interest. */
		if (n > 1 && now->huge == now[-1].huge && now->migrated == now[-1].migrated &&
		    now->huge == now[-2].huge && now->migrated == now[-2].migrated)
			now[-1] = *now;
		else
			n++;
		nanosleep(&pause, NULL);
	}
	for (unsigned int i = 0; i < n; i++)
		result("sample_%u %lu %lu %lu", i, samples[i].ms, samples[i].huge,
		       samples[i].migrated);
	result("samples %u", n);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "map"))
		map_memory(argv[2], strtoul(argv[3], NULL, 0));
	else if (argc == 2 && !strcmp(argv[1], "watch"))
		watch();
	else
		quit("usage: zspages map NAME TYPE | zspages watch");
	return 0;
}
