// SPDX-License-Identifier: GPL-2.0
/*
 * Benchmark of zsmalloc, for any implementation of it: only the public API and
 * the migration core are used.  harness/bench.sh builds this file into a kernel
 * that runs it at the end of boot and powers off.
 *
 * Results are lines "ZSBENCH <scenario>.<what> <value>" on the console.  Times
 * are in nanoseconds; where the machine counts instructions as time (QEMU with
 * -icount shift=0), in instructions.  The loop around a call is included.
 * "ZSBENCH FAIL" means that an object had wrong contents, or worse.
 */
#define pr_fmt(fmt) "ZSBENCH " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/reboot.h>
#include <linux/sched/cputime.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/zsmalloc.h>

/* UML's ktime_get_ns() goes in steps of 256 ns. */
#ifdef CONFIG_UML
#include <os.h>
#define now_ns()	((u64)os_nsecs())
#else
#define now_ns()	ktime_get_ns()
#endif

#define MAX_OBJECTS	400000U
#define SPEED_OBJECTS	40000U
#define NR_HOT		64U		/* objects read over and over, or held open */
#define HOT_ROUNDS	4000U
#define WRITE_SIZE	500U
#define NR_SAMPLES	200000U
#define REPEAT		5		/* the best time counts: the host is busy, too */
#define MAX_PFNS	65536U
#define BATCH		32		/* pages per migrate_pages(), as compaction */
#define MAX_THREADS	2U
#define GFP_OBJECT	(GFP_NOIO | __GFP_NOWARN | __GFP_HIGHMEM | __GFP_MOVABLE)

struct worker {
	u64 (*fn)(struct worker *w);	/* returns how many operations it did */
	unsigned int id, nr;		/* this thread, of how many */
	u64 ops, ns;
	void *buf;			/* for objects in two pages */
	struct completion done;
};

static struct worker workers[MAX_THREADS];
static atomic_t nr_ready;
static bool migrator_stop;

/* The objects, all allocated before anything is measured */
static struct zs_pool *pool;
static unsigned int nr_objects;
static unsigned long *handles;		/* 0: freed */
static u16 *sizes;
static u32 *order;			/* a random order of them */
static unsigned long hot[MAX_THREADS][NR_HOT];
static u16 hot_size[MAX_THREADS][NR_HOT];
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

/* 64 bytes to a page, 10 % of them a page, 1.5 KB in the mean */
static unsigned int random_size(struct rnd_state *rnd)
{
	u32 a = prandom_u32_state(rnd) % 3584;
	u32 b = prandom_u32_state(rnd) % 3584;

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

static void verify_all(void)
{
	void *buf = workers[0].buf, *p;
	unsigned int i, bad = 0;

	for (i = 0; i < nr_objects; i++) {
		if (!handles[i])
			continue;
		fill(expected, i, sizes[i]);
		p = zs_obj_read_begin(pool, handles[i], sizes[i], buf);
		bad += memcmp(p, expected, sizes[i]) != 0;
		zs_obj_read_end(pool, handles[i], sizes[i], p);
	}
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

/* Threads, one per CPU, all starting at the same moment */

static int worker_thread(void *arg)
{
	struct worker *w = arg;
	u64 start;

	atomic_inc(&nr_ready);
	while (atomic_read(&nr_ready) < w->nr)
		cpu_relax();
	start = now_ns();
	w->ops = w->fn(w);
	w->ns = now_ns() - start;
	complete(&w->done);
	return 0;
}

static void start(unsigned int id, unsigned int nr, u64 (*fn)(struct worker *w))
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
	kthread_bind(task, id);
	wake_up_process(task);
}

/* Returns the thousandths of a nanosecond per operation. */
static u64 run(unsigned int nr, u64 (*fn)(struct worker *w))
{
	u64 ns = 0, ops = 0;
	unsigned int id;

	atomic_set(&nr_ready, 0);
	for (id = 0; id < nr; id++)
		start(id, nr, fn);
	for (id = 0; id < nr; id++) {
		wait_for_completion(&workers[id].done);
		ns += workers[id].ns;
		ops += workers[id].ops;
	}
	return div64_u64(ns * 1000, ops);
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

static u64 do_malloc(struct worker *w)
{
	unsigned int i, end = end_of(w);

	for (i = first_of(w); i < end; i++) {
		handles[i] = zs_malloc(pool, sizes[i], GFP_OBJECT, NUMA_NO_NODE);
		if (IS_ERR_VALUE(handles[i]))
			panic("zs_malloc failed");
	}
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

/* The same objects by all threads, in the same order at the same time */
static u64 do_read_same(struct worker *w)
{
	return read_hot(w, 0);
}

static u64 do_read_random(struct worker *w)
{
	unsigned int i, k = first_of(w);
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

static u64 do_write(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < nr_objects; i++)
		zs_obj_write(pool, handles[order[i]], expected, WRITE_SIZE);
	return nr_objects;
}

static u64 do_sample_reads(struct worker *w)
{
	unsigned int i, bad = 0;
	u64 start;
	void *p;

	for (i = 0; i < NR_SAMPLES; i++) {
		u32 n = order[i % nr_objects];

		fill(expected, n, sizes[n]);
		start = now_ns();
		p = zs_obj_read_begin(pool, handles[n], sizes[n], w->buf);
		bad += memcmp(p, expected, sizes[n]) != 0;
		zs_obj_read_end(pool, handles[n], sizes[n], p);
		samples[i] = min(now_ns() - start, (u64)U32_MAX);
	}
	if (bad)
		fail("wrong contents while pages move");
	WRITE_ONCE(migrator_stop, true);
	return NR_SAMPLES;
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

static struct memory memory_now(void)
{
	struct memory m = { .taken = pcpu_nr_pages() };
	struct pglist_data *pgdat;
	struct zone *zone;
	int cpu;

	/* Deferred work first: whatever is to be freed shall be free. */
	ssleep(1);
	rcu_barrier();
	kvfree_rcu_barrier();
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

/* Moves each page of zsmalloc that there is now.  Returns how many moved. */
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

	while (!READ_ONCE(migrator_stop))
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
	const unsigned int part = SPEED_OBJECTS / MAX_THREADS;
	unsigned int set, i, n;

	for (set = 0; set < MAX_THREADS; set++) {
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
	u64 best = 0;

	scenario = "speed";
	speed_with(1, one);
	if (num_online_cpus() > 1)
		speed_with(2, two);

	setup(SPEED_OBJECTS, 0);
	run(1, do_malloc);
	write_all();
	for (i = 0; i < nr_objects; i++)
		n += straddles(i);
	report("straddling", n * 100ULL, nr_objects);
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

static void report_samples(const char *p50, const char *p99, const char *p999)
{
	sort(samples, NR_SAMPLES, sizeof(*samples), compare_u32, NULL);
	report(p50, samples[NR_SAMPLES / 2], 1);
	report(p99, samples[NR_SAMPLES / 100 * 99], 1);
	report(p999, samples[NR_SAMPLES / 1000 * 999], 1);
}

/* How long reading and checking takes while another CPU migrates every page */
static void latency(void)
{
	if (num_online_cpus() < 2)
		return;
	scenario = "latency";
	setup(SPEED_OBJECTS, 0);
	run(1, do_malloc);
	write_all();

	run(1, do_sample_reads);
	report_samples("quiet_p50", "quiet_p99", "quiet_p999");

	migrator_stop = false;
	atomic_set(&nr_ready, 0);
	start(1, 2, do_migrate);
	start(0, 2, do_sample_reads);
	wait_for_completion(&workers[0].done);
	wait_for_completion(&workers[1].done);
	report_samples("moving_p50", "moving_p99", "moving_p999");
	report("moves_per_ms", workers[1].ops * NSEC_PER_MSEC, workers[1].ns);

	verify_all();
	free_all();
	zs_destroy_pool(pool);
}

static int __init zs_bench(void)
{
	unsigned int i;

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

	density("4000", 4000);
	density("40000", 40000);
	density("400000", MAX_OBJECTS);
	speed();
	migration();
	latency();

	pr_info("%s\n", failed ? "FAILED" : "DONE");
	kernel_power_off();
	return 0;
}
late_initcall(zs_bench);
