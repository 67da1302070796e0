// SPDX-License-Identifier: GPL-2.0
/*
 * Benchmark of zsmalloc, for any implementation of it: it uses only the public API,
 * the migration core and the shrinker of a pool.  harness/bench.sh builds this file
 * into a kernel.  If the command line has "zs_bench=" and the parts to measure, or
 * "all", the kernel runs them at the end of boot and powers off.
 *
 * Results are lines "ZSBENCH <scenario>.<figure> <value>" on the console.  Times
 * are in nanoseconds, or in instructions if the machine counts instructions as time
 * (QEMU with -icount shift=0).  The loop around a call is included.
 * "ZSBENCH FAIL" means that an object had wrong contents, or a worse error.
 */
#define pr_fmt(fmt) "ZSBENCH " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/reboot.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sched/cputime.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/zsmalloc.h>

#include "slab.h"

/* UML's ktime_get_ns() goes in steps of 256 ns. */
#ifdef CONFIG_UML
#include <os.h>
#define now_ns()	((u64)os_nsecs())
#else
#define now_ns()	ktime_get_ns()
#endif

#define MAX_OBJECTS	700000U		/* about 1 GB */
#define SPEED_OBJECTS	40000U
#define NR_HOT		64U		/* objects read over and over, or held open */
#define HOT_ROUNDS	4000U
#define WRITE_SIZE	500U
#define NR_SAMPLES	200000U
#define NR_WAKEUPS	20000U
#define WAKEUP_NS	(50 * NSEC_PER_USEC)
#define NR_LOCKS	128U		/* about as many as there are classes */
#define MIXED_ROUNDS	10
#define REPEAT		5		/* the best time counts: the host is busy, too */
#define MAX_PFNS	65536U
#define BATCH		32		/* pages per migrate_pages(), as compaction */
#define MAX_CPUS	2U
#define MAX_THREADS	24U	/* of the mixed load in one pool */
#define NR_RECLAIMERS	8U
#define SURVIVOR_OBJECTS 60000U
#define GENERATIONS	8U
#define AGEING_OBJECTS	400000U
#define AGEING_ROUNDS	200U
#define MAX_POOLS	32U
#define POOL_OBJECTS	2000U		/* in each of these pools */
#define NR_MALLOCS	100000U
#define COUNT_ROUNDS	32U
#define SCAN_BATCH	128U		/* as do_shrink_slab() does */
#define GFP_OBJECT	(GFP_NOIO | __GFP_NOWARN | __GFP_HIGHMEM | __GFP_MOVABLE)

struct worker {
	u64 (*fn)(struct worker *w);	/* returns how many operations it did */
	unsigned int id, nr;		/* this thread, of how many */
	u64 ops, ns;
	void *buf;			/* for objects in two pages */
	struct completion done;
};

static struct worker workers[MAX_THREADS + NR_RECLAIMERS];
static atomic_t nr_ready;
static bool disturber_stop;

/* The objects, all allocated before anything is measured */
static struct zs_pool *pool;
static struct zs_pool *own_pool[MAX_THREADS];	/* or the same for all */
static unsigned int nr_objects;
static unsigned long *handles;		/* 0: freed */
static u32 *sizes;
static u32 *order;			/* a random order of them */
static unsigned long hot[MAX_CPUS][NR_HOT];
static u32 hot_size[MAX_CPUS][NR_HOT];
static u32 *samples;
static unsigned long *pfns;
static void *expected;

static const char *scenario;
static bool failed;

static void report(const char *what, u64 num, u64 den)
{
	u64 hundredths = den ? div64_u64(num * 100 + den / 2, den) : 0;
	u32 fraction;
	u64 whole = div_u64_rem(hundredths, 100, &fraction);

	pr_info("%s.%s %llu.%02u\n", scenario, what, whole, fraction);
}

static void fail(const char *why)
{
	failed = true;
	pr_info("FAIL %s: %s\n", scenario, why);
}

/* Contents and sizes */

static void fill(void *buf, unsigned int i, unsigned int size)
{
	u64 word = (i + 1) * 0x9e3779b97f4a7c15ULL;
	u64 *p = buf;

	for (; size; size -= min(size, 8U)) {
		*p++ = word;
		word += 0xd1b54a32d192ed03ULL;
	}
}

/* 64 bytes to a page, 10 % of them a page, 3/8 of a page in the mean */
static unsigned int random_size(struct rnd_state *rnd)
{
	u32 a = prandom_u32_state(rnd) % (PAGE_SIZE / 8 * 7);
	u32 b = prandom_u32_state(rnd) % (PAGE_SIZE / 8 * 7);

	return prandom_u32_state(rnd) % 10 ? 64 + min(a, b) : PAGE_SIZE;
}

static void setup(unsigned int nr, unsigned int fixed_size)
{
	struct rnd_state rnd;
	unsigned int i, k;

	nr_objects = nr;
	prandom_seed_state(&rnd, 1);
	for (i = 0; i < nr; i++) {
		sizes[i] = fixed_size ?: random_size(&rnd);
		order[i] = i;
	}
	for (i = nr - 1; i; i--) {
		k = prandom_u32_state(&rnd) % (i + 1);
		swap(order[i], order[k]);
	}
	pool = zs_create_pool("zs_bench");
	if (!pool)
		panic("no pool");
}

static void write_all(void)
{
	unsigned int i;

	for (i = 0; i < nr_objects; i++) {
		fill(expected, i, sizes[i]);
		zs_obj_write(pool, handles[i], expected, sizes[i]);
	}
}

static bool is_wrong(struct zs_pool *in, unsigned int i)
{
	void *p = zs_obj_read_begin(in, handles[i], sizes[i], workers[0].buf);
	bool wrong;

	fill(expected, i, sizes[i]);
	wrong = memcmp(p, expected, sizes[i]) != 0;
	zs_obj_read_end(in, handles[i], sizes[i], p);
	return wrong;
}

static void verify_all(void)
{
	unsigned int i, bad = 0;

	for (i = 0; i < nr_objects; i++)
		bad += handles[i] && is_wrong(pool, i);
	if (bad)
		fail("wrong contents");
}

static void free_all(void)
{
	unsigned int i;

	for (i = 0; i < nr_objects; i++) {
		if (handles[i])
			zs_free(pool, handles[i]);
		handles[i] = 0;
	}
}

/* Threads, most of them one per CPU, all starting at the same moment */

static int worker_thread(void *arg)
{
	struct worker *w = arg;
	u64 start;

	atomic_inc(&nr_ready);
	while (atomic_read(&nr_ready) < w->nr) {
		cpu_relax();
		cond_resched();
	}
	start = now_ns();
	w->ops = w->fn(w);
	w->ns = now_ns() - start;
	complete(&w->done);
	return 0;
}

static void start(unsigned int id, unsigned int nr, unsigned int cpu,
		  u64 (*fn)(struct worker *w))
{
	struct worker *w = &workers[id];
	struct task_struct *task;

	w->fn = fn;
	w->id = id;
	w->nr = nr;
	init_completion(&w->done);
	task = kthread_create(worker_thread, w, "zs_bench/%u", id);
	if (IS_ERR(task))
		panic("no thread");
	kthread_bind(task, cpu);
	wake_up_process(task);
}

/*
 * Returns the thousandths of a nanosecond per operation.  Threads that share a CPU share
 * its time, too, which counts once.
 */
static u64 run(unsigned int nr, u64 (*fn)(struct worker *w))
{
	unsigned int id, cpus = min(nr, num_online_cpus());
	u64 ns = 0, ops = 0;

	atomic_set(&nr_ready, 0);
	for (id = 0; id < nr; id++)
		start(id, nr, id % cpus, fn);
	for (id = 0; id < nr; id++) {
		wait_for_completion(&workers[id].done);
		ns += workers[id].ns;
		ops += workers[id].ops;
	}
	return div64_u64(ns * cpus * 1000, ops * nr);
}

static void keep_best(u64 *best, u64 now)
{
	if (!*best || now < *best)
		*best = now;
}

/* The operations.  Threads share the objects out among them, or read all. */

static unsigned int first_of(struct worker *w)
{
	return nr_objects / w->nr * w->id;
}

static unsigned int end_of(struct worker *w)
{
	return w->id + 1 == w->nr ? nr_objects : first_of(w) + nr_objects / w->nr;
}

static unsigned long allocate(struct zs_pool *from, unsigned int size)
{
	unsigned long handle = zs_malloc(from, size, GFP_OBJECT, NUMA_NO_NODE);

	if (IS_ERR_VALUE(handle))
		panic("zs_malloc failed");
	return handle;
}

static u64 do_malloc(struct worker *w)
{
	unsigned int i, end = end_of(w);

	for (i = first_of(w); i < end; i++)
		handles[i] = allocate(pool, sizes[i]);
	return end - first_of(w);
}

static u64 do_free(struct worker *w)
{
	unsigned int i, end = end_of(w);

	for (i = first_of(w); i < end; i++) {
		zs_free(pool, handles[order[i]]);
		handles[order[i]] = 0;
	}
	return end - first_of(w);
}

static u64 read_hot(struct worker *w, unsigned int set)
{
	unsigned int i, round;
	void *p;

	for (round = 0; round < HOT_ROUNDS; round++) {
		for (i = 0; i < NR_HOT; i++) {
			p = zs_obj_read_begin(pool, hot[set][i], hot_size[set][i], w->buf);
			zs_obj_read_end(pool, hot[set][i], hot_size[set][i], p);
		}
	}
	return HOT_ROUNDS * NR_HOT;
}

static u64 do_read_hot(struct worker *w)
{
	return read_hot(w, w->id);
}

/* All threads read the same objects, in the same order at the same time */
static u64 do_read_same(struct worker *w)
{
	return read_hot(w, 0);
}

static u64 read_all(struct worker *w, unsigned int k)
{
	unsigned int i;
	void *p;

	for (i = 0; i < nr_objects; i++) {
		u32 n = order[k];

		p = zs_obj_read_begin(pool, handles[n], sizes[n], w->buf);
		zs_obj_read_end(pool, handles[n], sizes[n], p);
		if (++k == nr_objects)
			k = 0;
	}
	return nr_objects;
}

static u64 do_read_random(struct worker *w)
{
	return read_all(w, first_of(w));
}

static u64 do_write(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < nr_objects; i++)
		zs_obj_write(pool, handles[order[i]], expected, WRITE_SIZE);
	return nr_objects;
}

/* Reads every second object; do_compact() frees and packs the others. */
static u64 do_sample_reads(struct worker *w)
{
	unsigned int i, bad = 0;
	u64 start;
	void *p;

	for (i = 0; i < NR_SAMPLES; i++) {
		u32 n = order[i % nr_objects] & ~1;

		fill(expected, n, sizes[n]);
		start = now_ns();
		p = zs_obj_read_begin(pool, handles[n], sizes[n], w->buf);
		bad += memcmp(p, expected, sizes[n]) != 0;
		zs_obj_read_end(pool, handles[n], sizes[n], p);
		samples[i] = min_t(u64, now_ns() - start, U32_MAX);
	}
	if (bad)
		fail("wrong contents while pages or objects move");
	WRITE_ONCE(disturber_stop, true);
	return NR_SAMPLES;
}

/*
 * Reads and frees an object of its own, and allocates the one that it freed
 * before that.
 */
static u64 do_mixed(struct worker *w)
{
	struct zs_pool *mine = own_pool[w->id];
	unsigned int i, first = first_of(w), nr = end_of(w) - first;
	unsigned int n, hole = MAX_OBJECTS;
	void *p;

	for (i = 0; i < nr; i++) {
		n = first + order[first + i] % nr;
		if (n == hole)
			continue;
		p = zs_obj_read_begin(mine, handles[n], sizes[n], w->buf);
		zs_obj_read_end(mine, handles[n], sizes[n], p);
		zs_free(mine, handles[n]);
		if (hole != MAX_OBJECTS)
			handles[hole] = allocate(mine, sizes[hole]);
		hole = n;
	}
	handles[hole] = allocate(mine, sizes[hole]);
	return nr;
}

/* The cost of a cache line that another CPU had last: only locks are taken */
static struct {
	spinlock_t lock;	/* guards count */
	unsigned long count;
} ____cacheline_aligned_in_smp locks[NR_LOCKS];
static bool own_locks;

static u64 do_lock(struct worker *w)
{
	unsigned int i, end = end_of(w);

	for (i = first_of(w); i < end; i++) {
		unsigned int n = order[i] % NR_LOCKS;

		if (own_locks)
			n = n / w->nr * w->nr + w->id;
		spin_lock(&locks[n].lock);
		locks[n].count++;
		spin_unlock(&locks[n].lock);
	}
	return end - first_of(w);
}

static u64 do_malloc_own(struct worker *w)
{
	unsigned int i, end = end_of(w);

	for (i = first_of(w); i < end; i++)
		handles[i] = allocate(own_pool[w->id], sizes[i]);
	return end - first_of(w);
}

static u64 do_free_own(struct worker *w)
{
	unsigned int i, end = end_of(w);

	for (i = first_of(w); i < end; i++) {
		zs_free(own_pool[w->id], handles[i]);
		handles[i] = 0;
	}
	return end - first_of(w);
}

/* Frees most of every second object, packs the rest, and fills it up again. */
static u64 do_compact(struct worker *w)
{
	unsigned int i;
	u64 pages = 0;

	while (!READ_ONCE(disturber_stop)) {
		for (i = 1; i < nr_objects; i += 2) {
			if (i % 8 == 1)
				continue;
			zs_free(pool, handles[i]);
			handles[i] = 0;
		}
		cond_resched();
		pages += zs_compact(pool);
		for (i = 1; i < nr_objects; i += 2) {
			if (handles[i])
				continue;
			handles[i] = allocate(pool, sizes[i]);
			fill(w->buf, i, sizes[i]);
			zs_obj_write(pool, handles[i], w->buf, sizes[i]);
		}
	}
	return pages;
}

/* Memory */

static unsigned long node_pages(struct pglist_data *pgdat, enum node_stat_item item)
{
	long pages = atomic_long_read(&pgdat->vm_stat[item]);
	int cpu;

	for_each_online_cpu(cpu)
		pages += per_cpu_ptr(pgdat->per_cpu_nodestats, cpu)->vm_node_stat_diff[item];
	return pages;
}

struct memory {
	unsigned long taken;	/* pages for objects, slabs, vmalloc and per-CPU data */
	unsigned long free;	/* free pages: the same by other means, with noise */
};

/* Waits until deferred work has freed its memory. */
static void free_deferred(void)
{
	ssleep(1);
	rcu_barrier();
	kvfree_rcu_barrier();
}

static struct memory count_memory(void)
{
	struct memory m = { .taken = pcpu_nr_pages() };
	struct pglist_data *pgdat;
	struct zone *zone;
	int cpu;

	for_each_populated_zone(zone) {
		m.taken += zone_page_state_snapshot(zone, NR_ZSPAGES);
		m.free += zone_page_state_snapshot(zone, NR_FREE_PAGES);
		for_each_online_cpu(cpu)
			m.free += per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;
	}
	for_each_online_pgdat(pgdat) {
		m.taken += node_pages(pgdat, NR_SLAB_UNRECLAIMABLE_B);
		m.taken += node_pages(pgdat, NR_SLAB_RECLAIMABLE_B);
		m.taken += node_pages(pgdat, NR_VMALLOC);
	}
	return m;
}

static struct memory memory_now(void)
{
	free_deferred();
	return count_memory();
}

static void report_density(const char *what, const char *what_free, struct memory before)
{
	struct memory now = memory_now();
	unsigned int i;
	u64 bytes = 0;

	for (i = 0; i < nr_objects; i++) {
		if (handles[i])
			bytes += sizes[i];
	}
	report(what, bytes * 100, (u64)(now.taken - before.taken) * PAGE_SIZE);
	report(what_free, bytes * 100, (u64)(before.free - now.free) * PAGE_SIZE);
}

static void density(const char *name, unsigned int nr)
{
	unsigned long pages, pages_before;
	struct memory before;
	unsigned int i;
	u64 t;

	scenario = name;
	if (si_mem_available() < nr / 5 * 2 + nr / 20) {
		pr_info("SKIP %s objects do not fit this machine's memory\n", name);
		return;
	}
	before = memory_now();
	setup(nr, 0);
	run(1, do_malloc);
	write_all();
	report("pages_full", zs_get_total_pages(pool), 1);
	report_density("density", "density_free", before);
	verify_all();

	for (i = 0; i < nr / 2; i++) {
		zs_free(pool, handles[order[i]]);
		handles[order[i]] = 0;
	}
	report_density("density_half", "density_half_free", before);
	pages_before = zs_get_total_pages(pool);
	t = now_ns();
	zs_compact(pool);
	t = now_ns() - t;
	pages = zs_get_total_pages(pool);
	report("pages_before", pages_before, 1);
	report("pages_compacted", pages_before - pages, 1);
	report("pages_after", pages, 1);
	report("compact_cost", t, pages_before - pages);
	report_density("density_compacted", "density_compacted_free", before);
	verify_all();

	free_all();
	zs_destroy_pool(pool);
}

/* Ten times, half of the objects are freed at random, and as many others are stored. */
static void churn(const char *name, unsigned int nr)
{
	struct memory before = memory_now();
	struct rnd_state rnd;
	unsigned int i;

	scenario = name;
	if (si_mem_available() < nr / 5 * 2 + nr / 20)
		return;
	setup(nr, 0);
	run(1, do_malloc);
	prandom_seed_state(&rnd, 2);
	for (int round = 0; round < 10; round++) {
		for (i = 0; i < nr; i++) {
			if (prandom_u32_state(&rnd) & 1)
				continue;
			zs_free(pool, handles[i]);
			handles[i] = 0;
		}
		for (i = 0; i < nr; i++) {
			if (handles[i])
				continue;
			sizes[i] = random_size(&rnd);
			handles[i] = allocate(pool, sizes[i]);
		}
	}
	report_density("density_churned", "density_churned_free", before);

	free_all();
	zs_destroy_pool(pool);
}

/*
 * Objects that stay while the objects around them are freed and allocated.  In each
 * generation SURVIVOR_OBJECTS objects of one size are stored, and all but every
 * n-th in the order of allocation are freed; then the pool is compacted.
 *
 * n is the number of objects in a zspage of this project, for pages of 4 KB, when this
 * was written, so that about one object per zspage stays.  It comes from a table, so
 * that the same objects stay on any kernel.
 */
static const struct {
	unsigned int size, every;
} survivor_sizes[] = {
	{ 32, 128 }, { 48, 170 }, { 64, 64 }, { 112, 73 },
	{ 208, 39 }, { 400, 51 }, { 1024, 4 }, { 2048, 2 },
};

/*
 * All memory.  Empty slabs that are kept for later allocations are freed first: with
 * few objects they would be a large part of it.
 */
static struct memory memory_packed(void)
{
	struct kmem_cache *cache;

	free_deferred();
	mutex_lock(&slab_mutex);
	list_for_each_entry(cache, &slab_caches, list)
		kmem_cache_shrink(cache);
	mutex_unlock(&slab_mutex);
	return count_memory();
}

static void store(struct zs_pool *in, unsigned int i)
{
	handles[i] = allocate(in, sizes[i]);
	fill(expected, i, sizes[i]);
	zs_obj_write(in, handles[i], expected, sizes[i]);
}

/* The survivors' handles come first, those of the rest after the last survivor's. */
static void survivors_of(unsigned int size, unsigned int every)
{
	unsigned int rest = DIV_ROUND_UP(SURVIVOR_OBJECTS, every) * GENERATIONS;
	unsigned int i, generation, nr = 0;
	struct memory before, now;
	char name[24];

	if (si_mem_available() < (u64)(rest + SURVIVOR_OBJECTS) * size / PAGE_SIZE * 3 / 2) {
		pr_info("SKIP survivors of %u bytes do not fit this machine's memory\n", size);
		return;
	}
	before = memory_packed();
	setup(rest + SURVIVOR_OBJECTS, size);
	for (generation = 1; generation <= GENERATIONS; generation++) {
		for (i = 0; i < SURVIVOR_OBJECTS; i++)
			store(pool, i % every ? rest + i : nr++);
		for (i = 0; i < SURVIVOR_OBJECTS; i++) {
			if (handles[rest + i])
				zs_free(pool, handles[rest + i]);
			handles[rest + i] = 0;
		}
		cond_resched();
		zs_compact(pool);
		if (!is_power_of_2(generation))
			continue;
		now = memory_packed();
		snprintf(name, sizeof(name), "%u_%u", size, generation);
		report(name, (u64)(now.taken - before.taken) * PAGE_SIZE, nr);
	}
	snprintf(name, sizeof(name), "%u_pages", size);
	report(name, (u64)zs_get_total_pages(pool) * PAGE_SIZE, nr);
	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

static void survivors(void)
{
	unsigned int i;

	scenario = "survivor";
	/* Memory that a first pool of many objects leaves is not counted for a size. */
	setup(SURVIVOR_OBJECTS, survivor_sizes[0].size);
	run(1, do_malloc);
	free_all();
	zs_destroy_pool(pool);
	free_deferred();
	for (i = 0; i < ARRAY_SIZE(survivor_sizes); i++)
		survivors_of(survivor_sizes[i].size,
			     survivor_sizes[i].every * (PAGE_SIZE / SZ_4K));
}

/* Shrinkers.  No header has their list; mm/shrinker_debug.c declares it like this. */

extern struct mutex shrinker_mutex;
extern struct list_head shrinker_list;

/* The last shrinker that was registered: that of the newest pool */
static struct shrinker *newest_shrinker(void)
{
	struct shrinker *newest;

	mutex_lock(&shrinker_mutex);
	newest = list_last_entry(&shrinker_list, struct shrinker, list);
	mutex_unlock(&shrinker_mutex);
	return newest;
}

/* On every node, like reclaim */
static unsigned long count_once(struct shrinker *shrinker)
{
	unsigned long nr = 0, ret;
	int nid;

	for_each_online_node(nid) {
		struct shrink_control sc = { .gfp_mask = GFP_KERNEL, .nid = nid };

		ret = shrinker->count_objects(shrinker, &sc);
		nr += ret == SHRINK_EMPTY ? 0 : ret;
	}
	return nr;
}

/*
 * The size of a new object.  Sizes wander: in the course of 40 rounds they become half
 * as large and then large again, as if other programs were running.
 */
static unsigned int wandering_size(struct rnd_state *rnd, unsigned int round)
{
	unsigned int phase = round % 40, size = random_size(rnd);

	if (size == PAGE_SIZE)
		return size;
	return 32 + size * (20 + abs((int)phase - 20)) / 40;
}

/* Stores an object anew, as recompression in zram does: the old one is freed last. */
static void recompress(unsigned int i)
{
	unsigned long old = handles[i];

	sizes[i] = sizes[i] * 3 / 4;
	store(pool, i);
	zs_free(pool, old);
}

/*
 * A pool that grows old.  In each round one object in 20 is replaced by one of another
 * size; every object of more than 1000 bytes that has not been recompressed is, to three
 * quarters, except for those that take a page; and the pool is compacted.  Reported are
 * all memory per byte stored after each round, and by how much the shrinker's count, which
 * is the column "freeable" in debugfs, differs from the pages that compaction then frees.
 */
static void ageing(void)
{
	u64 bytes, pages = 0, missed = 0, unexpected = 0;
	struct memory before, now;
	struct shrinker *shrinker;
	unsigned int round, i, n;
	struct rnd_state rnd;
	char name[24];

	scenario = "ageing";
	if (si_mem_available() < AGEING_OBJECTS / 5 * 2 + AGEING_OBJECTS / 20) {
		pr_info("SKIP the objects do not fit this machine's memory\n");
		return;
	}
	before = memory_packed();
	prandom_seed_state(&rnd, 2);
	setup(AGEING_OBJECTS, 0);
	shrinker = newest_shrinker();
	run(1, do_malloc);
	write_all();
	/* order[i]: whether it was recompressed */
	memset(order, 0, nr_objects * sizeof(*order));
	for (round = 1; round <= AGEING_ROUNDS; round++) {
		unsigned long promised, freed;

		for (n = 0; n < nr_objects / 20; n++) {
			i = prandom_u32_state(&rnd) % nr_objects;
			zs_free(pool, handles[i]);
			sizes[i] = wandering_size(&rnd, round);
			order[i] = 0;
			store(pool, i);
		}
		cond_resched();
		for (i = 0; i < nr_objects; i++) {
			if (order[i] || sizes[i] <= 1000 || sizes[i] == PAGE_SIZE)
				continue;
			recompress(i);
			order[i] = 1;
			if (i % 1024 == 0)
				cond_resched();
		}
		promised = count_once(shrinker);
		freed = zs_compact(pool);
		pages += freed;
		if (promised > freed)
			unexpected += promised - freed;
		else
			missed += freed - promised;

		now = memory_packed();
		for (i = 0, bytes = 0; i < nr_objects; i++)
			bytes += sizes[i];
		snprintf(name, sizeof(name), "round_%u", round);
		report(name, (u64)(now.taken - before.taken) * PAGE_SIZE * 1000, bytes);
	}
	report("packed", pages, AGEING_ROUNDS);
	report("promised_in_vain", unexpected * 100, pages);
	report("not_promised", missed * 100, pages);
	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

/* Page migration */

static struct folio *new_folio(struct folio *src, unsigned long private)
{
	return folio_alloc(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 0);
}

static unsigned int migrate_batch(struct list_head *list)
{
	unsigned int moved = 0;

	if (list_empty(list))
		return 0;
	if (migrate_pages(list, new_folio, NULL, 0, MIGRATE_ASYNC, MR_COMPACTION, &moved))
		putback_movable_pages(list);
	return moved;
}

/* Moves all pages of zsmalloc.  Returns the number of pages moved. */
static unsigned int migrate_all(unsigned int *tried)
{
	unsigned int i, n = 0, moved = 0, batch = 0;
	struct zone *zone;
	unsigned long pfn;
	LIST_HEAD(list);

	for_each_populated_zone(zone) {
		for (pfn = zone->zone_start_pfn; pfn < zone_end_pfn(zone); pfn++) {
			struct page *page = pfn_to_online_page(pfn);

			if (page && PageZsmalloc(page) &&
			    page_has_movable_ops(page) && n < MAX_PFNS)
				pfns[n++] = pfn;
		}
	}
	for (i = 0; i < n; i++) {
		struct page *page = pfn_to_page(pfns[i]);

		if (isolate_movable_ops_page(page, ISOLATE_ASYNC_MIGRATE)) {
			list_add_tail(&page->lru, &list);
			batch++;
		}
		if (batch == BATCH || i + 1 == n) {
			moved += migrate_batch(&list);
			batch = 0;
		}
		cond_resched();
	}
	*tried = n;
	return moved;
}

static u64 do_migrate(struct worker *w)
{
	unsigned int tried;
	u64 moved = 0;

	while (!READ_ONCE(disturber_stop))
		moved += migrate_all(&tried);
	return moved;
}

static void migration(void)
{
	static struct scatterlist sg[NR_HOT][2];
	void *buf = workers[0].buf;
	unsigned int i, n, tried, moved;
	u64 t, cpu, best = 0;

	scenario = "migrate";
	setup(SPEED_OBJECTS, 0);
	run(1, do_malloc);
	write_all();

	for (i = 0; i < REPEAT; i++) {
		t = now_ns();
		moved = migrate_all(&tried);
		t = now_ns() - t;
		keep_best(&best, div_u64(t * 1000, moved));
	}
	report("cost", best, 1000);
	report("failed", tried - moved, 1);

	for (i = 0; i < NR_HOT; i++) {
		n = SPEED_OBJECTS / NR_HOT * i;
		zs_obj_read_sg_begin(pool, handles[n], sg[i], sizes[n]);
	}
	t = now_ns();
	cpu = task_sched_runtime(current);
	moved = migrate_all(&tried);
	cpu = task_sched_runtime(current) - cpu;
	t = now_ns() - t;
	report("open_tried", tried, 1);
	report("open_moved", moved, 1);
	report("open_failed", tried - moved, 1);
	/* UML counts CPU time in ticks. */
	if (!IS_ENABLED(CONFIG_UML))
		report("open_cost", cpu, moved);
	report("open_elapsed", t, moved);
	for (i = 0; i < NR_HOT; i++) {
		n = SPEED_OBJECTS / NR_HOT * i;
		fill(expected, n, sizes[n]);
		if (sg_copy_to_buffer(sg[i], sg_nents(sg[i]), buf, sizes[n]) != sizes[n] ||
		    memcmp(buf, expected, sizes[n]))
			fail("wrong contents in an open object");
		zs_obj_read_sg_end(pool, handles[n]);
	}
	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

/* Speed */

/* Objects that lie in two pages, which are copied when read */
static bool straddles(unsigned int i)
{
	void *buf = workers[0].buf;
	void *p = zs_obj_read_begin(pool, handles[i], sizes[i], buf);

	zs_obj_read_end(pool, handles[i], sizes[i], p);
	return p == buf;
}

/* Each thread's objects are spread over its own part of the pool. */
static void choose_hot(bool may_straddle)
{
	const unsigned int part = SPEED_OBJECTS / MAX_CPUS;
	unsigned int set, i, n;

	for (set = 0; set < MAX_CPUS; set++) {
		for (i = 0; i < NR_HOT; i++) {
			n = part * set + part / NR_HOT * i;
			while (!may_straddle && straddles(n))
				n++;
			hot[set][i] = handles[n];
			hot_size[set][i] = sizes[n];
		}
	}
}

static void speed_with(unsigned int nr, const char * const names[6])
{
	u64 best[6] = {};
	unsigned int i;

	setup(SPEED_OBJECTS, 0);
	run(nr, do_malloc);	/* warm */
	run(nr, do_free);
	for (i = 0; i < REPEAT; i++) {
		keep_best(&best[0], run(nr, do_malloc));
		write_all();
		choose_hot(false);
		keep_best(&best[1], run(nr, do_read_hot));
		keep_best(&best[5], run(nr, do_read_same));
		choose_hot(true);
		keep_best(&best[2], run(nr, do_read_hot));
		keep_best(&best[3], run(nr, do_read_random));
		verify_all();
		keep_best(&best[4], run(nr, do_free));
	}
	for (i = 0; i < 6 && names[i]; i++)
		report(names[i], best[i], 1000);
	zs_destroy_pool(pool);
}

/* One object in eight stays, most of them in another place.  They become the first ones. */
static void thin_out_and_pack(void)
{
	unsigned int i, k = 0, left = 0;

	for (i = 0; i < nr_objects; i++) {
		if (i % 8) {
			zs_free(pool, handles[i]);
			continue;
		}
		handles[left] = handles[i];
		sizes[left++] = sizes[i];
	}
	for (i = 0; i < nr_objects; i++) {
		if (order[i] < left)
			order[k++] = order[i];
		if (i >= left)
			handles[i] = 0;
	}
	nr_objects = left;
	zs_compact(pool);
}

/* Objects that compaction has moved */
static void speed_packed(void)
{
	u64 best[2] = {};
	unsigned int i;

	for (i = 0; i < REPEAT; i++) {
		setup(SPEED_OBJECTS, 0);
		run(1, do_malloc);
		thin_out_and_pack();
		write_all();
		keep_best(&best[0], run(1, do_read_random));
		verify_all();
		keep_best(&best[1], run(1, do_free));
		zs_destroy_pool(pool);
	}
	report("read_packed_1", best[0], 1000);
	report("free_packed_1", best[1], 1000);
}

static void speed(void)
{
	static const char * const one[6] = {
		"malloc_1", "read_hot_1", "read_hot_mixed_1", "read_random_1", "free_1"
	};
	static const char * const two[6] = {
		"malloc_2", "read_hot_2", "read_hot_mixed_2", "read_random_2", "free_2",
		"read_same_2"
	};
	unsigned int i, n = 0;
	u64 best = 0, copied = 0;

	scenario = "speed";
	speed_with(1, one);
	if (num_online_cpus() > 1)
		speed_with(2, two);
	speed_packed();

	/* Of sizes that are all equally frequent */
	setup(SPEED_OBJECTS, 0);
	for (i = 0; i < nr_objects; i++)
		sizes[i] = 64 + i * 7919 % (PAGE_SIZE - 63);
	run(1, do_malloc);
	write_all();
	for (i = 0; i < nr_objects; i++) {
		if (straddles(i)) {
			copied += sizes[i];
			n++;
		}
	}
	report("straddling", n * 100ULL, nr_objects);
	report("straddling_bytes", copied, nr_objects);
	free_all();
	zs_destroy_pool(pool);

	setup(SPEED_OBJECTS / 10, WRITE_SIZE);
	run(1, do_malloc);
	write_all();
	fill(expected, 0, WRITE_SIZE);
	for (i = 0; i < REPEAT; i++)
		keep_best(&best, run(1, do_write));
	report("write_1", best, 1000);
	write_all();
	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

static int compare_u32(const void *a, const void *b)
{
	return cmp_int(*(const u32 *)a, *(const u32 *)b);
}

static void report_sample(const char *name, const char *what, unsigned int i)
{
	char key[24];

	snprintf(key, sizeof(key), "%s_%s", name, what);
	report(key, samples[i], 1);
}

static void report_samples(unsigned int nr, const char *name)
{
	sort(samples, nr, sizeof(*samples), compare_u32, NULL);
	report_sample(name, "p50", nr / 2);
	report_sample(name, "p99", nr / 100 * 99);
	report_sample(name, "p999", nr / 1000 * 999);
	report_sample(name, "max", nr - 1);
}

/* Runs @sample on the first CPU while @disturb works, on the last CPU. */
static u64 disturbed(u64 (*sample)(struct worker *w), u64 (*disturb)(struct worker *w))
{
	unsigned int cpus = min(num_online_cpus(), MAX_CPUS);

	disturber_stop = false;
	atomic_set(&nr_ready, 0);
	/* With one CPU, cpus is 1: neither thread waits for the other one. */
	start(1, cpus, cpus - 1, disturb);
	start(0, cpus, 0, sample);
	wait_for_completion(&workers[0].done);
	wait_for_completion(&workers[1].done);
	return div64_u64(workers[1].ops * NSEC_PER_MSEC, workers[1].ns);
}

/*
 * How long reading and checking takes: undisturbed, while another CPU migrates
 * every page, and while it compacts the pool.
 */
static void latency(void)
{
	u64 rate;

	if (num_online_cpus() < 2)
		return;
	scenario = "latency";
	setup(SPEED_OBJECTS, 0);
	run(1, do_malloc);
	write_all();

	run(1, do_sample_reads);
	report_samples(NR_SAMPLES, "quiet");
	rate = disturbed(do_sample_reads, do_migrate);
	report_samples(NR_SAMPLES, "moving");
	report("moves_per_ms", rate, 1);
	rate = disturbed(do_sample_reads, do_compact);
	report_samples(NR_SAMPLES, "packing");
	report("packed_per_ms", rate, 1);

	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

/*
 * On a single CPU: how late a thread of the highest priority wakes up.  That is
 * how long the interrupted thread cannot be preempted because it holds a lock, and
 * as long as a reader on another CPU may wait for this lock.
 */
static u64 do_sample_wakeups(struct worker *w)
{
	unsigned int i;

	sched_set_fifo(current);
	for (i = 0; i < NR_WAKEUPS; i++) {
		ktime_t expires = ktime_add_ns(ktime_get(), WAKEUP_NS + i % 64 * 300);
		u64 late;

		set_current_state(TASK_IDLE);
		schedule_hrtimeout(&expires, HRTIMER_MODE_ABS);
		late = ktime_to_ns(ktime_sub(ktime_get(), expires));
		samples[i] = min_t(u64, late, U32_MAX);
	}
	WRITE_ONCE(disturber_stop, true);
	return NR_WAKEUPS;
}

static u64 do_reads(struct worker *w)
{
	u64 ops = 0;

	while (!READ_ONCE(disturber_stop))
		ops += read_all(w, 0);
	return ops;
}

static void wakeups(void)
{
	if (num_online_cpus() > 1 || !IS_ENABLED(CONFIG_PREEMPTION))
		return;
	scenario = "wakeup";
	setup(SPEED_OBJECTS, 0);
	run(1, do_malloc);
	write_all();

	disturbed(do_sample_wakeups, do_reads);
	report_samples(NR_WAKEUPS, "reading");
	disturbed(do_sample_wakeups, do_migrate);
	report_samples(NR_WAKEUPS, "moving");
	disturbed(do_sample_wakeups, do_compact);
	report_samples(NR_WAKEUPS, "packing");

	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

/* Pages after a load, and after compaction, in hundredths of a percent of those before */
struct growth {
	u64 loaded, packed;
};

/*
 * Each of @nr threads has its own part of the objects, in one pool or in its own.  The last
 * of several rounds counts.  Rounds of more threads than CPUs take long; there is one.
 */
static u64 mixed(unsigned int nr, bool own, struct growth *growth)
{
	unsigned int k, rounds = nr > MAX_CPUS ? 1 : MIXED_ROUNDS;
	unsigned long before;
	u64 result;

	for (k = 0; k < nr; k++) {
		own_pool[k] = k && own ? zs_create_pool("zs_bench2") : pool;
		if (!own_pool[k])
			panic("no pool");
	}
	run(nr, do_malloc_own);
	before = zs_get_total_pages(pool);
	for (k = 0; k < rounds; k++)
		result = run(nr, do_mixed);
	if (growth) {
		growth->loaded = zs_get_total_pages(pool) * 10000 / before;
		zs_compact(pool);
		growth->packed = zs_get_total_pages(pool) * 10000 / before;
	}
	run(nr, do_free_own);
	for (k = 0; k < nr; k++) {
		if (own_pool[k] != pool)
			zs_destroy_pool(own_pool[k]);
	}
	zs_destroy_pool(pool);
	return result;
}

/* Two CPUs use one size, or each its own, which is nearly as large. */
static u64 mixed_sizes(bool two, struct growth *growth)
{
	unsigned int i;

	setup(SPEED_OBJECTS, 1024);
	for (i = SPEED_OBJECTS / 2; two && i < SPEED_OBJECTS; i++)
		sizes[i] = 960;
	return mixed(2, false, growth);
}

/* The same load in one pool, and in a pool for each thread */
static void pools(void)
{
	u64 best[6] = {}, best_lock[2] = {};
	struct growth one, same;
	unsigned int i;

	if (num_online_cpus() < 2)
		return;
	scenario = "pools";
	for (i = 0; i < NR_LOCKS; i++)
		spin_lock_init(&locks[i].lock);
	for (i = 0; i < 2 * REPEAT; i++) {
		own_locks = i % 2;
		setup(SPEED_OBJECTS, 0);
		keep_best(&best_lock[i % 2], run(2, do_lock));
		keep_best(&best[i % 2], mixed(2, i % 2, i % 2 ? NULL : &one));
		setup(SPEED_OBJECTS, 0);
		keep_best(&best[2 + i % 2], mixed(MAX_THREADS, i % 2, NULL));
		keep_best(&best[4 + i % 2], mixed_sizes(i % 2, i % 2 ? NULL : &same));
	}
	report("one", best[0], 1000);
	report("own", best[1], 1000);
	report("one_pages", one.loaded, 100);
	report("one_24", best[2], 1000);
	report("own_24", best[3], 1000);
	report("same_size", best[4], 1000);
	report("own_size", best[5], 1000);
	report("same_size_pages", same.loaded, 100);
	report("same_size_packed", same.packed, 100);
	report("lock_one", best_lock[0], 1000);
	report("lock_own", best_lock[1], 1000);
}

/* The cost of operations in pools of different size, in MB if pages have 4 KB */
static void curve(void)
{
	static const unsigned int mbytes[] = { 4, 16, 64, 256, 1024 };
	unsigned int i, k, nr;

	scenario = "curve";
	for (i = 0; i < ARRAY_SIZE(mbytes); i++) {
		u64 best[3] = {};
		char name[24];

		nr = MAX_OBJECTS / 1024 * mbytes[i];
		if (si_mem_available() < nr / 5 * 2 + nr / 20) {
			pr_info("SKIP a pool of %u MB does not fit this machine's memory\n",
				mbytes[i]);
			continue;
		}
		setup(nr, 0);
		for (k = 0; k < 3; k++) {
			keep_best(&best[0], run(1, do_malloc));
			if (!k)		/* UML's memory is there once it was written to. */
				write_all();
			keep_best(&best[1], run(1, do_read_random));
			keep_best(&best[2], run(1, do_free));
		}
		snprintf(name, sizeof(name), "malloc_%u", mbytes[i]);
		report(name, best[0], 1000);
		snprintf(name, sizeof(name), "read_%u", mbytes[i]);
		report(name, best[1], 1000);
		snprintf(name, sizeof(name), "free_%u", mbytes[i]);
		report(name, best[2], 1000);
		zs_destroy_pool(pool);
	}
}

static unsigned long scan_once(struct shrinker *shrinker)
{
	unsigned long nr = 0, ret;
	int nid;

	for_each_online_node(nid) {
		struct shrink_control sc = {
			.gfp_mask = GFP_KERNEL,
			.nid = nid,
			.nr_to_scan = SCAN_BATCH,
			.nr_scanned = SCAN_BATCH,
		};

		ret = shrinker->scan_objects(shrinker, &sc);
		nr += ret == SHRINK_STOP ? 0 : ret;
	}
	return nr;
}

/* Thousandths of a nanosecond that echo 2 > /proc/sys/vm/drop_caches takes */
static u64 drop_cost(void)
{
	u64 t, best = 0;
	unsigned int i, k;

	drop_slab();
	for (i = 0; i < REPEAT; i++) {
		t = now_ns();
		for (k = 0; k < COUNT_ROUNDS; k++)
			drop_slab();
		keep_best(&best, div_u64((now_ns() - t) * 1000, COUNT_ROUNDS));
	}
	return best;
}

static void report_pools(const char *what, unsigned int nr, u64 num, u64 den)
{
	char name[24];

	snprintf(name, sizeof(name), "%s_%u", what, nr);
	report(name, num, den);
}

/*
 * The cost of the shrinkers of @nr pools, each with objects of all sizes half of
 * which were freed at random: to count the pages that can be freed, to free them, to
 * scan when none is left, and finally a pass over all shrinkers.
 */
static void shrinkers_of(unsigned int nr)
{
	static struct shrinker *shrinker[MAX_POOLS];
	static struct zs_pool *pools[MAX_POOLS];
	u64 t, best_count = 0, best_idle = 0, none, all;
	unsigned long promised = 0, freed = 0, n;
	unsigned int i, k, round, bad = 0;
	char name[24];

	none = drop_cost();
	for (i = 0; i < nr; i++) {
		struct shrinker *last = newest_shrinker();

		snprintf(name, sizeof(name), "zs_bench_%u", i);
		if (!i)
			setup(nr * POOL_OBJECTS, 0);
		pools[i] = i ? zs_create_pool(name) : pool;
		if (!pools[i])
			panic("no pool");
		shrinker[i] = newest_shrinker();
		if (shrinker[i] == last)
			panic("no shrinker");
	}
	for (i = 0; i < nr_objects; i++)
		store(pools[i % nr], i);
	for (i = 0; i < nr_objects / 2; i++) {
		zs_free(pools[order[i] % nr], handles[order[i]]);
		handles[order[i]] = 0;
	}
	free_deferred();

	for (round = 0; round < REPEAT; round++) {
		t = now_ns();
		for (k = 0; k < COUNT_ROUNDS; k++) {
			promised = 0;
			for (i = 0; i < nr; i++)
				promised += count_once(shrinker[i]);
		}
		keep_best(&best_count, div_u64((now_ns() - t) * 1000, COUNT_ROUNDS));
	}
	report_pools("count", nr, best_count, nr * 1000);
	report_pools("promised", nr, promised, nr);

	t = now_ns();
	for (i = 0; i < nr; i++) {
		while ((n = scan_once(shrinker[i])))
			freed += n;
	}
	t = now_ns() - t;
	report_pools("freed", nr, freed, nr);
	report_pools("scan", nr, t, freed);

	for (round = 0; round < REPEAT; round++) {
		t = now_ns();
		for (k = 0; k < COUNT_ROUNDS; k++) {
			for (i = 0; i < nr; i++)
				scan_once(shrinker[i]);
		}
		keep_best(&best_idle, div_u64((now_ns() - t) * 1000, COUNT_ROUNDS));
	}
	report_pools("idle", nr, best_idle, nr * 1000);

	all = drop_cost();
	report_pools("pass", nr, all > none ? all - none : 0, nr * 1000);

	for (i = 0; i < nr_objects; i++) {
		if (!handles[i])
			continue;
		bad += is_wrong(pools[i % nr], i);
		zs_free(pools[i % nr], handles[i]);
		handles[i] = 0;
	}
	if (bad)
		fail("wrong contents");
	for (i = 0; i < nr; i++)
		zs_destroy_pool(pools[i]);
}

static void shrinkers(void)
{
	scenario = "shrinker";
	shrinkers_of(1);
	shrinkers_of(8);
	shrinkers_of(MAX_POOLS);
}

/*
 * How long zs_malloc() takes while tasks reclaim.  Most of every second object is
 * freed and then allocated again, so that reclaim finds pages to free.
 */
static u64 do_sample_mallocs(struct worker *w)
{
	unsigned int i, nr = 0;
	u64 start;

	while (nr < NR_MALLOCS) {
		for (i = 1; i < nr_objects; i += 2) {
			if (i % 8 == 1)
				continue;
			zs_free(pool, handles[i]);
			handles[i] = 0;
		}
		cond_resched();
		for (i = 1; i < nr_objects; i += 2) {
			if (handles[i])
				continue;
			start = now_ns();
			handles[i] = allocate(pool, sizes[i]);
			start = now_ns() - start;
			if (nr < NR_MALLOCS)
				samples[nr++] = min_t(u64, start, U32_MAX);
			fill(w->buf, i, sizes[i]);
			zs_obj_write(pool, handles[i], w->buf, sizes[i]);
			cond_resched();
		}
	}
	WRITE_ONCE(disturber_stop, true);
	return NR_MALLOCS;
}

/* Like a task that writes 2 to drop_caches in a loop */
static u64 do_reclaim(struct worker *w)
{
	u64 passes = 0;

	while (!READ_ONCE(disturber_stop)) {
		drop_slab();
		passes++;
		cond_resched();
	}
	return passes;
}

static void pressure(void)
{
	struct zs_pool_stats stats;
	unsigned int i;
	u64 passes = 0;
	long packed;

	if (num_online_cpus() < 2)
		return;
	scenario = "pressure";
	setup(SPEED_OBJECTS, 0);
	run(1, do_malloc);
	write_all();

	run(1, do_sample_mallocs);	/* warm */
	run(1, do_sample_mallocs);
	report_samples(NR_MALLOCS, "quiet");

	zs_pool_stats(pool, &stats);
	packed = atomic_long_read(&stats.pages_compacted);
	disturber_stop = false;
	/* They do not wait for each other: there are more of them than CPUs. */
	for (i = MAX_THREADS; i < MAX_THREADS + NR_RECLAIMERS; i++)
		start(i, 1, i % num_online_cpus(), do_reclaim);
	run(1, do_sample_mallocs);
	for (i = MAX_THREADS; i < MAX_THREADS + NR_RECLAIMERS; i++) {
		wait_for_completion(&workers[i].done);
		passes += workers[i].ops;
	}
	zs_pool_stats(pool, &stats);
	packed = atomic_long_read(&stats.pages_compacted) - packed;
	report_samples(NR_MALLOCS, "reclaim");
	report("passes_per_ms", passes * NSEC_PER_MSEC, workers[0].ns);
	report("packed_per_ms", packed * NSEC_PER_MSEC, workers[0].ns);

	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

/* Names, separated by commas, or "all" */
static char *wanted;
core_param(zs_bench, wanted, charp, 0);

static bool is_wanted(const char *name)
{
	return strstr(wanted, name) || strstr(wanted, "all");
}

static int __init zs_bench(void)
{
	unsigned int i;

	if (!wanted)
		return 0;
	handles = vzalloc(array_size(MAX_OBJECTS, sizeof(*handles)));
	sizes = vzalloc(array_size(MAX_OBJECTS, sizeof(*sizes)));
	order = vzalloc(array_size(MAX_OBJECTS, sizeof(*order)));
	samples = vzalloc(array_size(NR_SAMPLES, sizeof(*samples)));
	pfns = vzalloc(array_size(MAX_PFNS, sizeof(*pfns)));
	expected = kzalloc(PAGE_SIZE, GFP_KERNEL);
	for (i = 0; i < MAX_THREADS; i++)
		workers[i].buf = kzalloc(PAGE_SIZE, GFP_KERNEL);
	if (!handles || !sizes || !order || !samples || !pfns || !expected ||
	    !workers[0].buf || !workers[1].buf)
		panic("no memory");

	if (is_wanted("density")) {
		density("1000", 1000);
		churn("1000", 1000);
		density("4000", 4000);
		churn("4000", 4000);
		density("40000", 40000);
		churn("40000", 40000);
		density("400000", 400000);
	}
	if (is_wanted("survivor"))
		survivors();
	if (is_wanted("ageing"))
		ageing();
	if (is_wanted("shrinker"))
		shrinkers();
	if (is_wanted("speed"))
		speed();
	if (is_wanted("pools"))
		pools();
	if (is_wanted("curve"))
		curve();
	if (is_wanted("migrate"))
		migration();
	if (is_wanted("latency"))
		latency();
	if (is_wanted("wakeup"))
		wakeups();
	if (is_wanted("pressure"))
		pressure();

	pr_info("%s\n", failed ? "FAILED" : "DONE");
	kernel_power_off();
	return 0;
}
late_initcall(zs_bench);
