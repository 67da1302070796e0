// SPDX-License-Identifier: GPL-2.0
/*
 * Torture test of zsmalloc.
 *
 * Threads of several kinds use one pool in random order, all at once, and are
 * delayed at the race points of the allocator. Every read is checked against bytes
 * that follow from the object and its version. One more thread takes a CPU offline,
 * and online again, while the others have objects open. Now and then all threads are
 * parked, and the pool has to agree with what it was asked for.
 *
 * Starts at boot if zsmalloc_torture.seconds is on the command line, or when
 * that parameter is written; writing 0 ends it early.  The result is the last
 * line printed, and parameter "result".  Nothing else should use
 * zsmalloc meanwhile: pages of other pools are taken for leaks.
 *
 * Each thread's sequence of operations follows from the seed and the number of
 * the thread.  How they interleave does not, so that a seed makes a failure
 * likely again, but not certain.
 */
#define pr_fmt(fmt) "zsmalloc-torture: " fmt

#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/reboot.h>
#include <linux/rwsem.h>
#include <linux/scatterlist.h>
#include <linux/sched/debug.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/torture.h>
#include <linux/wait.h>

#include "../zsmalloc.h"
#include "zsmalloc_test.h"

/*
 * Of the torture framework, only this macro: its threads, and its CPU hotplug, are for
 * tests that begin and end with a module, and cannot be parked.
 */
torture_param(uint, seed, 0, "Of all random numbers; 0: a new one each time");
torture_param(uint, users, 6, "Threads that allocate, write and free");
torture_param(uint, readers, 4, "Threads that read, and hold open");
torture_param(uint, migrators, 2, "Threads that migrate pages");
torture_param(uint, compactors, 2, "Threads that call zs_compact()");
torture_param(uint, shrinkers, 1, "Threads that do what memory reclaim does");
torture_param(uint, pools, 1, "Threads that create and destroy pools");
torture_param(uint, hotplug, 1, "Threads that take a CPU offline, and online again");
torture_param(uint, objects, 1024, "Most objects there are at a time");
torture_param(uint, sizes, 4, "Most different sizes that nearly all of them have");
torture_param(uint, round_ms, 2000, "Milliseconds between two checks of the pool");
torture_param(uint, delays, 16, "Delay a thread at one of so many race points, 0: never");
torture_param(uint, faults, 0, "Fail an allocation in one of so many operations, 0: never");
torture_param(uint, fifo, 1, "Make every second user and reader a real-time thread");
torture_param(uint, stall, 60, "Seconds without progress after which a thread is reported");
torture_param(uint, interval, 10, "Seconds between two progress reports");
torture_param(uint, shutdown, 0, "Power off at the end, or restart if that is impossible");

#define ZT_MAX_SIZES	64U
#define ZT_MAX_OPEN	4U	/* objects that a thread holds open at a time */
#define ZT_BATCH	16U	/* pages that are migrated in one go */
#define ZT_LOOK		32U	/* zspages to choose from */
#define ZT_FOCUS	4	/* at one point, one of so many is delayed */
#define ZT_RECENT	1024U
#define ZT_MAX_REPORTS	20	/* of errors; the rest is only counted */

enum zt_count {
	ZT_READS,
	ZT_FORWARDED,
	ZT_WRITES,
	ZT_MALLOCS,
	ZT_ENOMEM,
	ZT_FREES,
	ZT_MIGRATED,
	ZT_NOT_MIGRATED,
	ZT_PUTBACKS,
	ZT_COMPACTED,
	ZT_POOLS,
	ZT_FAULTS,
	ZT_OFFLINED,
	ZT_NR_COUNTS,
};

static const char * const zt_count_names[ZT_NR_COUNTS] = {
	[ZT_READS]		= "reads",
	[ZT_FORWARDED]		= "forwarded reads",
	[ZT_WRITES]		= "writes",
	[ZT_MALLOCS]		= "mallocs",
	[ZT_ENOMEM]		= "failed mallocs",
	[ZT_FREES]		= "frees",
	[ZT_MIGRATED]		= "migrations",
	[ZT_NOT_MIGRATED]	= "failed migrations",
	[ZT_PUTBACKS]		= "putbacks",
	[ZT_COMPACTED]		= "compacted pages",
	[ZT_POOLS]		= "pools",
	[ZT_FAULTS]		= "faults",
	[ZT_OFFLINED]		= "offlined cpus",
};

/* See mm/zsmalloc.h. */
static struct zt_point {
	const char *name;
	enum zs_race_context context;
	const char *same_name;		/* the string of the allocator, once seen */
	unsigned long passed_by_others;
} zt_points[] =
#define ZS_POINT(name, context)	{ #name, ZS_RACE_##context },
	ZS_RACE_POINTS;
#undef ZS_POINT

struct zt_thread {
	void (*op)(struct zt_thread *t);
	const char *kind;
	unsigned int nr;
	struct task_struct *task;
	bool realtime;

	struct rnd_state rnd;		/* of the choice of operations */
	struct rnd_state delay_rnd;	/* of delays, the number of which depends on the others */
	bool atomic;			/* must not sleep at a race point */
	bool forwarded;			/* of the object in hand; see zt_race() */
	bool faulty;			/* an allocation is to fail */
	u64 stamp;			/* of the last bytes written */
	u8 *buf[ZT_MAX_OPEN];
	u8 *copy;
	u8 *want;

	unsigned long ops;
	unsigned long counts[ZT_NR_COUNTS];
	unsigned long passed[ARRAY_SIZE(zt_points)];
	const char *where;		/* the last race point or operation */

	unsigned long seen_ops;		/* the control thread's */
	unsigned long seen_at;		/* in jiffies */
};

struct zt_object {
	unsigned long handle;		/* 0: none */
	u32 size;
	u64 stamp;			/* what its bytes are made of */
};

/*
 * A thread that allocates, writes or frees the object has it locked for writing, and a
 * thread that reads it for reading. No thread waits for these locks.
 */
struct zt_slot {
	struct rw_semaphore lock;
	struct zt_object obj;
};

enum zt_state { ZT_PARK, ZT_RUN };

static struct zs_pool *zt_pool;
static struct zt_slot *zt_slots;
static struct zt_thread *zt_threads;
static unsigned int zt_nr_threads;
static struct zt_thread *zt_checker;	/* the control thread's own */
static unsigned long *zt_inuse;		/* objects by class */

/* Changed while all threads are parked */
static unsigned int zt_sizes[ZT_MAX_SIZES];
static unsigned int zt_nr_sizes;
static unsigned int zt_window;		/* how many of the slots are used */
static struct zt_point *zt_focus;	/* where threads are delayed the most */
/* Changed while they run */
static unsigned int zt_fill;		/* percent of the objects that exist */

/* Pages that were part of a zspage not long ago, and may still be */
static unsigned long zt_recent[ZT_RECENT];

static enum zt_state zt_state;
static atomic_t zt_parked;
static const char zt_parked_at[] = "parked";
static DECLARE_WAIT_QUEUE_HEAD(zt_wait);
static atomic_t zt_errors;

static unsigned int zt_seconds;
static unsigned long zt_end;		/* in jiffies */
static bool zt_ready;
static const char *zt_result = "none";

#define zt_error(fmt, ...)						\
	do {								\
		if (atomic_inc_return(&zt_errors) <= ZT_MAX_REPORTS)	\
			pr_err("ERROR: " fmt, ##__VA_ARGS__);		\
	} while (0)

static u32 zt_random(struct zt_thread *t, u32 below)
{
	return prandom_u32_state(&t->rnd) % below;
}

static void zt_count(struct zt_thread *t, enum zt_count what, unsigned long nr)
{
	WRITE_ONCE(t->counts[what], t->counts[what] + nr);
}

static void zt_at(struct zt_thread *t, const char *where)
{
	WRITE_ONCE(t->where, where);
}

/*
 * Delays
 */

static int zt_thread_fn(void *arg);

static struct zt_point *zt_find_point(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(zt_points); i++)
		if (READ_ONCE(zt_points[i].same_name) == name)
			return &zt_points[i];
	for (unsigned int i = 0; i < ARRAY_SIZE(zt_points); i++)
		if (!strcmp(name, zt_points[i].name)) {
			WRITE_ONCE(zt_points[i].same_name, name);
			return &zt_points[i];
		}
	zt_error("unknown race point %s\n", name);
	return NULL;
}

/* At the point of this round, each delay is a long one. */
static void zt_delay(struct zt_thread *t, struct zt_point *point, bool focus)
{
	u32 r = prandom_u32_state(&t->delay_rnd);
	bool may_sleep = !t->atomic &&
			 zs_race_may_sleep(point->context, t->forwarded);
	unsigned int us = r >> 8;

	switch (focus ? 0 : r % 64) {
	case 0:
		if (may_sleep)
			usleep_range(100, 100 + us % 5000);
		else
			udelay(50 + us % 500);
		break;
	case 1 ... 7:
		udelay(us % 50);
		break;
	case 8 ... 23:
		if (may_sleep)
			schedule();
		else
			udelay(us % 10);
		break;
	default:
		for (us %= 256; us; us--)
			cpu_relax();
	}
}

/*
 * No atomic operations and no locks: they would be the barriers that may be
 * missing in the allocator.  Others than our threads also pass, such as the
 * worker; of these, not every one is counted.
 */
static void zt_race(const char *name)
{
	struct zt_point *point = zt_find_point(name);
	bool focus = point == READ_ONCE(zt_focus);
	struct zt_thread *t;

	if (!point)
		return;
	if (!in_task() || kthread_func(current) != zt_thread_fn) {
		WRITE_ONCE(point->passed_by_others,
			   READ_ONCE(point->passed_by_others) + 1);
		if (delays && focus)
			udelay(5);
		return;
	}
	t = kthread_data(current);
	WRITE_ONCE(t->passed[point - zt_points],
		   t->passed[point - zt_points] + 1);
	zt_at(t, point->name);
	/* Only a thread that follows a link comes by these. */
	if (point->context == ZS_RACE_RCU)
		t->forwarded = true;
	if (delays && prandom_u32_state(&t->delay_rnd) %
		      (focus ? ZT_FOCUS : delays) == 0)
		zt_delay(t, point, focus);
}

/*
 * Failing allocations
 */

#ifdef CONFIG_FAULT_INJECTION

static void zt_faults_begin(struct zt_thread *t)
{
	t->faulty = faults && !zt_random(t, faults);
	if (t->faulty)
		WRITE_ONCE(current->fail_nth,
			   1 + zt_random(t, 1U << zt_random(t, 6)));
}

static void zt_faults_end(struct zt_thread *t)
{
	zt_count(t, ZT_FAULTS, t->faulty && !READ_ONCE(current->fail_nth));
	WRITE_ONCE(current->fail_nth, 0);
}

#else

static void zt_faults_begin(struct zt_thread *t)
{
}

static void zt_faults_end(struct zt_thread *t)
{
}

#endif

/*
 * Objects
 */

/* No two writes have the same stamp. */
static void zt_bytes(u8 *buf, const struct zt_object *o)
{
	u64 word = o->stamp;
	u64 *p = (u64 *)buf;

	for (unsigned int i = 0; i < o->size; i += sizeof(*p)) {
		word = (word + 1) * 0x9e3779b97f4a7c15ULL;
		*p++ = word ^ word >> 29;
	}
}

static void zt_compare(struct zt_thread *t, const struct zt_object *o,
		       const u8 *bytes, const char *how)
{
	unsigned int i = 0;

	zt_bytes(t->want, o);
	if (!memcmp(bytes, t->want, o->size))
		return;
	while (i + 1 < o->size && bytes[i] == t->want[i])
		i++;
	zt_error("%s/%u: object %#lx of %u bytes, stamp %#llx%s, %s: byte %u is %#x, not %#x\n",
		 t->kind, t->nr, o->handle, o->size, o->stamp,
		 t->forwarded ? ", forwarded" : "", how, i, bytes[i],
		 t->want[i]);
}

static void zt_compare_sg(struct zt_thread *t, const struct zt_object *o,
			  struct scatterlist *sg, const char *how)
{
	sg_copy_to_buffer(sg, sg_nents(sg), t->copy, o->size);
	zt_compare(t, o, t->copy, how);
}

/* Reads an object that the caller has locked, either way. */
static void zt_read(struct zt_thread *t, struct zs_pool *pool,
		    const struct zt_object *o)
{
	struct scatterlist sg[2];
	u8 *bytes;

	zt_at(t, "read");
	t->forwarded = false;
	if (zt_random(t, 2)) {
		bytes = zs_obj_read_begin(pool, o->handle, o->size, t->buf[0]);
		zt_compare(t, o, bytes, "read");
		zs_obj_read_end(pool, o->handle, o->size, bytes);
	} else {
		zs_obj_read_sg_begin(pool, o->handle, sg, o->size);
		zt_compare_sg(t, o, sg, "read as a scatterlist");
		zs_obj_read_sg_end(pool, o->handle);
	}
	zt_count(t, ZT_READS, 1);
	zt_count(t, ZT_FORWARDED, t->forwarded);
}

static void zt_write(struct zt_thread *t, struct zs_pool *pool,
		     struct zt_object *o)
{
	zt_at(t, "write");
	t->forwarded = false;
	o->stamp = ++t->stamp;
	zt_bytes(t->want, o);
	zs_obj_write(pool, o->handle, t->want, o->size);
	zt_count(t, ZT_WRITES, 1);
}

/* Mostly of few sizes, for zspages that have many neighbours. */
static unsigned int zt_size(struct zt_thread *t)
{
	unsigned int size = zt_sizes[zt_random(t, zt_nr_sizes)];

	if (!zt_random(t, 32))
		return 1 + zt_random(t, PAGE_SIZE);
	return size - zt_random(t, min(size, ZS_SIZE_STEP));
}

static gfp_t zt_gfp(struct zt_thread *t)
{
	gfp_t gfp = __GFP_NOWARN | __GFP_HIGHMEM | __GFP_MOVABLE;

	switch (zt_random(t, 4)) {
	case 0:
		return gfp | GFP_NOWAIT;
	case 1:
		return gfp | GFP_NOIO;
	default:
		return gfp | GFP_KERNEL;
	}
}

static int zt_node(struct zt_thread *t)
{
	int nid = zt_random(t, nr_node_ids + 1);

	return nid < nr_node_ids && node_online(nid) ? nid : NUMA_NO_NODE;
}

/* Leaves o->handle 0 if there is no memory. */
static void zt_malloc(struct zt_thread *t, struct zs_pool *pool,
		      struct zt_object *o, unsigned int size)
{
	unsigned long handle;

	zt_at(t, "malloc");
	zt_faults_begin(t);
	handle = zs_malloc(pool, size, zt_gfp(t), zt_node(t));
	zt_faults_end(t);
	if (IS_ERR_OR_NULL((void *)handle)) {
		if (handle != (unsigned long)-ENOMEM)
			zt_error("%s/%u: zs_malloc() of %u bytes returned %ld\n",
				 t->kind, t->nr, size, (long)handle);
		zt_count(t, ZT_ENOMEM, 1);
		return;
	}
	o->handle = handle;
	o->size = size;
	zt_count(t, ZT_MALLOCS, 1);
	zt_write(t, pool, o);
}

static DEFINE_SPINLOCK(zt_atomic_lock);

static void zt_free(struct zt_thread *t, struct zs_pool *pool,
		    struct zt_object *o)
{
	zt_at(t, "free");
	t->atomic = zt_random(t, 2);
	/* Swap slots are freed under such a lock. */
	if (t->atomic)
		spin_lock(&zt_atomic_lock);
	zs_free(pool, o->handle);
	if (t->atomic)
		spin_unlock(&zt_atomic_lock);
	t->atomic = false;
	o->handle = 0;
	zt_count(t, ZT_FREES, 1);
}

static struct zt_slot *zt_any_slot(struct zt_thread *t)
{
	return &zt_slots[zt_random(t, zt_window)];
}

/*
 * The threads' operations
 */

/* Real-time threads would leave nothing to the others. */
static void zt_pause(struct zt_thread *t, unsigned int max_us)
{
	usleep_range(max_us / 8, max_us / 8 + 1 + zt_random(t, max_us));
}

static void zt_use(struct zt_thread *t, unsigned int fill)
{
	struct zt_slot *slot = zt_any_slot(t);
	struct zt_object *o = &slot->obj;

	if (!down_write_trylock(&slot->lock))
		return;
	if (!o->handle) {
		if (zt_random(t, 100) < fill)
			zt_malloc(t, zt_pool, o, zt_size(t));
	} else if (zt_random(t, 100) >= fill) {
		if (zt_random(t, 2))
			zt_read(t, zt_pool, o);
		zt_free(t, zt_pool, o);
	} else {
		if (zt_random(t, 2))
			zt_write(t, zt_pool, o);
		if (zt_random(t, 2))
			zt_read(t, zt_pool, o);
	}
	up_write(&slot->lock);
}

/* Hands the object over to all threads. */
static bool zt_publish(struct zt_thread *t, struct zt_object *o)
{
	struct zt_slot *slot = zt_any_slot(t);
	bool empty;

	if (!down_write_trylock(&slot->lock))
		return false;
	empty = !slot->obj.handle;
	if (empty)
		slot->obj = *o;
	up_write(&slot->lock);
	return empty;
}

/* Many objects of one size, few of which stay: something to pack. */
static void zt_scatter(struct zt_thread *t)
{
	unsigned int size = zt_size(t), keep = 2 + zt_random(t, 7);
	struct zt_object o[32] = { };

	for (unsigned int i = 0; i < ARRAY_SIZE(o); i++)
		zt_malloc(t, zt_pool, &o[i], size);
	for (unsigned int i = 0; i < ARRAY_SIZE(o); i++)
		if (o[i].handle &&
		    (zt_random(t, keep) || !zt_publish(t, &o[i])))
			zt_free(t, zt_pool, &o[i]);
}

static void zt_user(struct zt_thread *t)
{
	unsigned int fill = READ_ONCE(zt_fill);

	if (zt_random(t, 100) > fill && !zt_random(t, 4))
		zt_scatter(t);
	for (unsigned int nr = 1 + zt_random(t, 16); nr; nr--)
		zt_use(t, fill);
}

struct zt_open {
	struct zt_slot *slot;
	bool forwarded;
	u8 *bytes;			/* NULL: opened as a scatterlist */
	struct scatterlist sg[2];
};

static bool zt_open(struct zt_thread *t, struct zt_open *open, u8 *buf)
{
	struct zt_slot *slot = zt_any_slot(t);
	struct zt_object *o = &slot->obj;

	if (!down_read_trylock(&slot->lock))
		return false;
	if (!o->handle) {
		up_read(&slot->lock);
		return false;
	}
	open->slot = slot;
	open->bytes = NULL;
	t->forwarded = false;
	if (zt_random(t, 2))
		open->bytes = zs_obj_read_begin(zt_pool, o->handle, o->size,
						buf);
	else
		zs_obj_read_sg_begin(zt_pool, o->handle, open->sg, o->size);
	open->forwarded = t->forwarded;
	zt_count(t, ZT_READS, 1);
	zt_count(t, ZT_FORWARDED, t->forwarded);
	return true;
}

static void zt_check_open(struct zt_thread *t, struct zt_open *open,
			  const char *how)
{
	t->forwarded = open->forwarded;
	if (open->bytes)
		zt_compare(t, &open->slot->obj, open->bytes, how);
	else
		zt_compare_sg(t, &open->slot->obj, open->sg, how);
}

static void zt_close(struct zt_thread *t, struct zt_open *open)
{
	struct zt_object *o = &open->slot->obj;

	t->forwarded = open->forwarded;
	if (open->bytes)
		zs_obj_read_end(zt_pool, o->handle, o->size, open->bytes);
	else
		zs_obj_read_sg_end(zt_pool, o->handle);
	up_read(&open->slot->lock);
}

static void zt_reader(struct zt_thread *t)
{
	unsigned int max = zt_random(t, 4) ? 1 : ZT_MAX_OPEN, nr = 0;
	struct zt_open open[ZT_MAX_OPEN];
	bool hold = !zt_random(t, 8);

	zt_at(t, "open");
	while (nr < max && zt_open(t, &open[nr], t->buf[nr]))
		nr++;
	for (unsigned int i = 0; i < nr; i++)
		zt_check_open(t, &open[i], "just opened");
	if (nr && hold) {
		zt_at(t, "held open");
		zt_pause(t, 1U << zt_random(t, 15));
		for (unsigned int i = 0; i < nr; i++)
			zt_check_open(t, &open[i], "held open");
	}
	zt_at(t, "close");
	while (nr--)
		zt_close(t, &open[nr]);
}

/* Pages of some zspages of a class, one each or all of them */
static unsigned int zt_class_pages(struct zt_thread *t, struct size_class *class,
				   unsigned long *pfns)
{
	bool all = zt_random(t, 2);
	unsigned int first = zt_random(t, ZS_NR_FULLNESS);
	unsigned int looked = 0, nr = 0;
	struct zspage *zspage;

	spin_lock(&class->lock);
	for (unsigned int f = 0; f < ZS_NR_FULLNESS; f++) {
		struct list_head *list;

		list = &class->zspages[(first + f) % ZS_NR_FULLNESS];
		list_for_each_entry(zspage, list, list) {
			unsigned int i = 0, end = zspage->nr_pages;

			if (nr == ZT_BATCH || looked++ == ZT_LOOK)
				goto out;
			if (zt_random(t, 2))
				continue;
			if (!all) {
				i = zt_random(t, end);
				end = i + 1;
			}
			for (; i < end && nr < ZT_BATCH; i++)
				pfns[nr++] = page_to_pfn(zpdesc_page(zspage->pages[i]));
		}
	}
out:
	spin_unlock(&class->lock);
	return nr;
}

/*
 * Isolates pages of @pool, and some that may have been freed, or replaced, or
 * be on their way.
 */
static unsigned int zt_isolate(struct zt_thread *t, struct zs_pool *pool,
			       struct list_head *list)
{
	unsigned long pfns[ZT_BATCH];
	unsigned int isolated = 0, nr;
	struct size_class *class;

	zt_at(t, "isolate pages");
	class = zs_class(pool, zt_size(t), zt_random(t, zs_nr_sets()));
	if (!class)
		return 0;
	nr = zt_class_pages(t, class, pfns);
	for (unsigned int i = 0; i < nr; i++) {
		unsigned long *recent = &zt_recent[zt_random(t, ZT_RECENT)];
		struct page *page;

		swap(pfns[i], pfns[zt_random(t, nr)]);
		if (zt_random(t, 4)) {
			WRITE_ONCE(*recent, pfns[i]);
			page = pfn_to_page(pfns[i]);
		} else {
			page = pfn_to_page(READ_ONCE(*recent) ?: pfns[i]);
		}
		if (!isolate_movable_ops_page(page, ISOLATE_UNEVICTABLE))
			continue;
		list_add_tail(&page->lru, list);
		isolated++;
	}
	return isolated;
}

static struct folio *zt_new_folio(struct folio *src, unsigned long private)
{
	struct zt_thread *t = (struct zt_thread *)private;

	if (!zt_random(t, 32))
		return NULL;
	return folio_alloc(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 0);
}

/* Migrates isolated pages, or puts them back. */
static void zt_migrate(struct zt_thread *t, struct list_head *list,
		       unsigned int nr)
{
	static const enum migrate_mode modes[] = {
		MIGRATE_ASYNC, MIGRATE_SYNC_LIGHT, MIGRATE_SYNC,
	};
	unsigned int moved = 0;

	if (!nr)
		return;
	if (!zt_random(t, 4)) {
		zt_at(t, "put back");
		putback_movable_pages(list);
		zt_count(t, ZT_PUTBACKS, nr);
		return;
	}
	zt_at(t, "migrate pages");
	zt_faults_begin(t);
	migrate_pages(list, zt_new_folio, NULL, (unsigned long)t,
		      modes[zt_random(t, ARRAY_SIZE(modes))], MR_COMPACTION,
		      &moved);
	zt_faults_end(t);
	if (!list_empty(list))
		putback_movable_pages(list);
	zt_count(t, ZT_MIGRATED, moved);
	zt_count(t, ZT_NOT_MIGRATED, nr - moved);
}

static void zt_migrator(struct zt_thread *t)
{
	LIST_HEAD(list);
	unsigned int nr;

	nr = zt_isolate(t, zt_pool, &list);
	if (!zt_random(t, 8))
		zt_pause(t, 10000);
	zt_migrate(t, &list, nr);
	zt_pause(t, 1000);
}

static void zt_compactor(struct zt_thread *t)
{
	unsigned long freed;

	zt_at(t, "compact");
	zt_faults_begin(t);
	freed = zs_compact(zt_pool);
	zt_faults_end(t);
	zt_count(t, ZT_COMPACTED, freed);
	zt_pause(t, 1000);
}

/* As reclaim does it: for some pages, and with the memory set aside for it */
static void zt_shrinker(struct zt_thread *t)
{
	struct shrinker *shrinker = zt_pool->shrinker;
	struct shrink_control sc = { .gfp_mask = GFP_KERNEL };
	unsigned int noreclaim;
	unsigned long freed = 0;

	zt_at(t, "shrink");
	noreclaim = memalloc_noreclaim_save();
	fs_reclaim_acquire(sc.gfp_mask);
	zt_faults_begin(t);
	if (shrinker->count_objects(shrinker, &sc)) {
		sc.nr_to_scan = 1 + zt_random(t, 64);
		freed = shrinker->scan_objects(shrinker, &sc);
	}
	zt_faults_end(t);
	fs_reclaim_release(sc.gfp_mask);
	memalloc_noreclaim_restore(noreclaim);
	if (freed != SHRINK_STOP)
		zt_count(t, ZT_COMPACTED, freed);
	zt_pause(t, 1000);
}

/* A pool of its own, destroyed while some of its pages are isolated */
static void zt_pool_user(struct zt_thread *t)
{
	struct zt_object o[32] = { };
	unsigned int nr = 1 + zt_random(t, ARRAY_SIZE(o)), isolated;
	struct zs_pool *pool;
	LIST_HEAD(list);

	zt_at(t, "create a pool");
	zt_faults_begin(t);
	pool = zs_create_pool("torture-short");
	zt_faults_end(t);
	if (!pool)
		return;
	for (unsigned int i = 0; i < nr; i++)
		zt_malloc(t, pool, &o[i], zt_size(t));
	if (zt_random(t, 2)) {
		for (unsigned int i = 0; i < nr; i++)
			if (o[i].handle && zt_random(t, 2))
				zt_free(t, pool, &o[i]);
		zs_compact(pool);
	}
	isolated = zt_isolate(t, pool, &list);
	for (unsigned int i = 0; i < nr; i++)
		if (o[i].handle) {
			zt_read(t, pool, &o[i]);
			zt_free(t, pool, &o[i]);
		}
	zt_at(t, "destroy a pool");
	zs_destroy_pool(pool);
	zt_count(t, ZT_POOLS, 1);
	zt_pause(t, 4000);
	zt_migrate(t, &list, isolated);
	zt_pause(t, 4000);
}

/*
 * CPU hotplug. A CPU is online again when its thread parks: while it goes offline,
 * pages that it has counted in NR_ZSPAGES are in no sum.
 */

static unsigned int zt_nr_hotplug;	/* threads; 0 where no CPU can be offline */

#ifdef CONFIG_HOTPLUG_CPU

static unsigned int zt_nr_hotplug_cpus(void)
{
	unsigned int cpu, nr = 0;

	for_each_online_cpu(cpu)
		nr += cpu_is_hotpluggable(cpu);
	return num_online_cpus() > 1 ? nr : 0;
}

/* nr_cpu_ids if there is none */
static unsigned int zt_hotplug_cpu(struct zt_thread *t)
{
	unsigned int cpu, nr = zt_nr_hotplug_cpus();

	if (!nr)
		return nr_cpu_ids;
	nr = zt_random(t, nr);
	for_each_online_cpu(cpu)
		if (cpu_is_hotpluggable(cpu) && !nr--)
			return cpu;
	return nr_cpu_ids;
}

/* Pins are held, pages migrate and zspages are evacuated meanwhile. */
static void zt_hotplug(struct zt_thread *t)
{
	unsigned int cpu = zt_hotplug_cpu(t);
	int ret, tries = 100;

	zt_at(t, "take a CPU offline");
	/* It may be refused: while the kernel boots, or for the last CPU. */
	if (cpu < nr_cpu_ids && !remove_cpu(cpu)) {
		zt_count(t, ZT_OFFLINED, 1);
		zt_pause(t, 50000);
		zt_at(t, "take a CPU online");
		while ((ret = add_cpu(cpu)) < 0 && tries--)
			msleep(20);
		if (ret < 0)
			zt_error("CPU %u does not come online again: %d\n", cpu, ret);
	}
	/* Most of the time all CPUs are online, for threads that meet. */
	for (unsigned int nr = zt_random(t, 50); nr; nr--) {
		if (READ_ONCE(zt_state) == ZT_PARK)
			break;
		zt_pause(t, 20000);
	}
}

static const char *zt_why_no_hotplug(void)
{
	if (num_online_cpus() == 1)
		return "one CPU";
	return zt_nr_hotplug_cpus() ? NULL : "no CPU can be offline";
}

#else

static void zt_hotplug(struct zt_thread *t)
{
}

static const char *zt_why_no_hotplug(void)
{
	return "no CONFIG_HOTPLUG_CPU";
}

#endif

static const struct {
	const char *name;
	void (*op)(struct zt_thread *t);
	unsigned int *nr;
	bool may_be_realtime;
} zt_kinds[] = {
	{ "user", zt_user, &users, true },
	{ "reader", zt_reader, &readers, true },
	{ "migrator", zt_migrator, &migrators },
	{ "compactor", zt_compactor, &compactors },
	{ "shrinker", zt_shrinker, &shrinkers },
	{ "pool", zt_pool_user, &pools },
	{ "hotplug", zt_hotplug, &zt_nr_hotplug },
};

static int zt_thread_fn(void *arg)
{
	struct zt_thread *t = arg;

	if (t->realtime)
		sched_set_fifo_low(current);
	while (!kthread_should_stop()) {
		if (READ_ONCE(zt_state) == ZT_PARK) {
			zt_at(t, zt_parked_at);
			atomic_inc(&zt_parked);
			wait_event_idle(zt_wait,
					READ_ONCE(zt_state) != ZT_PARK ||
					kthread_should_stop());
			atomic_dec(&zt_parked);
			continue;
		}
		t->op(t);
		if (t->realtime)
			zt_pause(t, 1000);
		WRITE_ONCE(t->ops, t->ops + 1);
		cond_resched();
	}
	return 0;
}

/*
 * Control
 */

static unsigned long zt_sum(enum zt_count what)
{
	unsigned long sum = 0;

	for (unsigned int i = 0; i < zt_nr_threads; i++)
		sum += READ_ONCE(zt_threads[i].counts[what]);
	return sum;
}

static unsigned long zt_operations(void)
{
	unsigned long sum = 0;

	for (unsigned int i = 0; i < zt_nr_threads; i++)
		sum += READ_ONCE(zt_threads[i].ops);
	return sum;
}

static bool zt_is_parked(struct zt_thread *t)
{
	return READ_ONCE(t->where) == zt_parked_at;
}

/* A thread that hangs cannot be stopped: returns false, to give up. */
static bool zt_all_progress(void)
{
	bool ok = true;

	for (unsigned int i = 0; i < zt_nr_threads; i++) {
		struct zt_thread *t = &zt_threads[i];
		unsigned long ops = READ_ONCE(t->ops);

		if (ops != t->seen_ops || zt_is_parked(t)) {
			t->seen_ops = ops;
			t->seen_at = jiffies;
		} else if (time_after(jiffies, t->seen_at + stall * HZ)) {
			zt_error("%s/%u stalled for %u s after %lu operations, last at \"%s\"\n",
				 t->kind, t->nr, stall, ops,
				 READ_ONCE(t->where));
			sched_show_task(t->task);
			ok = false;
		}
	}
	return ok;
}

/* Many objects are allocated, and then freed: the rest is there to be packed. */
static void zt_new_fill(void)
{
	static const unsigned int fills[] = { 2, 30, 60, 98 };

	WRITE_ONCE(zt_fill, fills[zt_random(zt_checker, ARRAY_SIZE(fills))]);
}

static void zt_new_round(void)
{
	zt_nr_sizes = 1 + zt_random(zt_checker, sizes);
	for (unsigned int i = 0; i < zt_nr_sizes; i++)
		zt_sizes[i] = 1 + zt_random(zt_checker, PAGE_SIZE >>
					    zt_random(zt_checker, 5));
	/* Few objects that all threads use, or many */
	zt_window = max(1U, objects >> zt_random(zt_checker, 5));
	/* The worker that frees is not parked. */
	WRITE_ONCE(zt_focus, &zt_points[zt_random(zt_checker,
						  ARRAY_SIZE(zt_points))]);
}

static bool zt_run_threads(void)
{
	unsigned long end = jiffies + msecs_to_jiffies(round_ms);

	for (unsigned int i = 0; i < zt_nr_threads; i++)
		zt_threads[i].seen_at = jiffies;
	WRITE_ONCE(zt_state, ZT_RUN);
	wake_up_all(&zt_wait);
	do {
		if (!zt_random(zt_checker, 8))
			zt_new_fill();
		msleep(50);
		if (!zt_all_progress())
			return false;
	} while (time_before(jiffies, end));

	WRITE_ONCE(zt_state, ZT_PARK);
	while (atomic_read(&zt_parked) < zt_nr_threads) {
		msleep(20);
		if (!zt_all_progress())
			return false;
	}
	return true;
}

/* While all threads are parked, no zspage is pinned or isolated. */
static void zt_check_quiet(struct size_class *class)
{
	unsigned long held = 0;
	struct zspage *zspage;

	spin_lock(&class->lock);
	for (int f = 0; f < ZS_NR_FULLNESS; f++)
		list_for_each_entry(zspage, &class->zspages[f], list)
			held += atomic_read(&zspage->pins) ||
				zspage->nr_stale || zspage->isolated;
	spin_unlock(&class->lock);
	if (held)
		zt_error("%lu zspages of %u bytes are pinned, isolated or have replaced pages\n",
			 held, class->geo.size);
}

/* All threads are parked: the pool has to agree with the objects. */
static void zt_check(unsigned long other_zspages)
{
	unsigned long inuse, pages, used;
	struct zs_pool_stats stats;
	struct size_class *class;
	const char *wrong;

	/* The kernel may have a page locked for a moment. */
	for (int tries = 100; !zs_flush_deferred() && tries; tries--)
		msleep(20);
	memset(zt_inuse, 0, zs_nr_classes() * sizeof(*zt_inuse));
	for (unsigned int i = 0; i < objects; i++) {
		struct zt_object *o = &zt_slots[i].obj;
		struct zspage *home;
		unsigned int slot;

		if (!o->handle)
			continue;
		home = zs_decode_location(o->handle, &slot);
		zt_inuse[zs_class_number(home->class)]++;
		zt_read(zt_checker, zt_pool, o);
		if (i % 256 == 0)
			cond_resched();
	}
	for_each_class(class, zt_pool, NUMA_NO_NODE) {
		spin_lock(&class->lock);
		inuse = class->inuse;
		spin_unlock(&class->lock);
		used = zt_inuse[zs_class_number(class)];
		if (inuse != used)
			zt_error("%lu slots of %u bytes in use by %lu objects\n",
				 inuse, class->geo.size, used);
		zt_check_quiet(class);
	}
	wrong = zs_check_pool(zt_pool);
	if (wrong)
		zt_error("an equation of the pool does not hold: %s\n", wrong);
	pages = atomic_long_read(&zt_pool->pages);
	if (all_zspages() != other_zspages + pages)
		zt_error("%lu zspages in all, %lu in the pool, but %lu elsewhere\n",
			 all_zspages(), pages, other_zspages);
	/* The kernel may call the shrinker, too. */
	zs_pool_stats(zt_pool, &stats);
	if (atomic_long_read(&stats.pages_compacted) < zt_sum(ZT_COMPACTED))
		zt_error("%ld pages compacted by statistics, %lu by results\n",
			 atomic_long_read(&stats.pages_compacted),
			 zt_sum(ZT_COMPACTED));
}

/* All objects are freed. */
static void zt_check_empty(void)
{
	struct size_class *class;

	for_each_class(class, zt_pool, NUMA_NO_NODE) {
		spin_lock(&class->lock);
		if (class->inuse || class->nr_forwarders || class->link_bytes ||
		    class->forwarded || class->guest_blocks)
			zt_error("left of %u bytes: %lu used, %lu forwarders, %lu, %lu, %lu\n",
				 class->geo.size, class->inuse,
				 class->nr_forwarders, class->link_bytes,
				 class->forwarded, class->guest_blocks);
		spin_unlock(&class->lock);
	}
	if (zs_get_total_pages(zt_pool))
		zt_error("the empty pool has %lu pages\n",
			 zs_get_total_pages(zt_pool));
	if (atomic_long_read(&zt_pool->refs) != 1)
		zt_error("the empty pool has %ld references\n",
			 atomic_long_read(&zt_pool->refs));
}

static void zt_report(const char *head, u32 seed_used)
{
	char counts[400];
	int len = 0;

	for (int i = 0; i < ZT_NR_COUNTS; i++)
		len += scnprintf(counts + len, sizeof(counts) - len, " %s=%lu",
				 zt_count_names[i], zt_sum(i));
	pr_info("%s seed=%u operations=%lu%s errors=%d\n", head, seed_used,
		zt_operations(), counts, atomic_read(&zt_errors));
}

/* A point that no thread has passed is not tested. */
static void zt_report_points(void)
{
	for (unsigned int p = 0; p < ARRAY_SIZE(zt_points); p++) {
		unsigned long passed = READ_ONCE(zt_points[p].passed_by_others);

		for (unsigned int i = 0; i < zt_nr_threads; i++)
			passed += READ_ONCE(zt_threads[i].passed[p]);
		pr_info("point %s passed=%lu\n", zt_points[p].name, passed);
	}
}

static bool zt_init_thread(struct zt_thread *t, const char *kind,
			   unsigned int nr, u32 seed_used)
{
	u8 *bufs = kvmalloc_array(ZT_MAX_OPEN + 2, PAGE_SIZE, GFP_KERNEL);

	if (!bufs)
		return false;
	for (unsigned int i = 0; i < ZT_MAX_OPEN; i++)
		t->buf[i] = bufs + i * PAGE_SIZE;
	t->copy = bufs + ZT_MAX_OPEN * PAGE_SIZE;
	t->want = t->copy + PAGE_SIZE;
	t->kind = kind;
	t->nr = nr;
	t->where = "start";
	t->stamp = (u64)(t - zt_threads + 1) << 40;
	prandom_seed_state(&t->rnd, (u64)nr << 32 | seed_used);
	prandom_seed_state(&t->delay_rnd, (u64)~nr << 32 | seed_used);
	return true;
}

/* The last of the threads is the control thread, for its checks. */
static bool zt_setup(u32 seed_used)
{
	unsigned int nr = 0;

	zt_nr_threads = 0;
	for (unsigned int k = 0; k < ARRAY_SIZE(zt_kinds); k++)
		zt_nr_threads += *zt_kinds[k].nr;
	zt_inuse = kcalloc(zs_nr_classes(), sizeof(*zt_inuse), GFP_KERNEL);
	zt_slots = kvcalloc(objects, sizeof(*zt_slots), GFP_KERNEL);
	zt_threads = kvcalloc(zt_nr_threads + 1, sizeof(*zt_threads),
			      GFP_KERNEL);
	zt_pool = zs_create_pool("torture");
	if (!zt_inuse || !zt_slots || !zt_threads || !zt_pool)
		return false;
	/* All CPUs have class sets of their own, however small the pool is. */
	WRITE_ONCE(zt_pool->set_mask, zs_set_index(1, 0) - 1);
	for (unsigned int i = 0; i < objects; i++)
		init_rwsem(&zt_slots[i].lock);
	for (unsigned int k = 0; k < ARRAY_SIZE(zt_kinds); k++)
		for (unsigned int i = 0; i < *zt_kinds[k].nr; i++, nr++) {
			struct zt_thread *t = &zt_threads[nr];

			t->op = zt_kinds[k].op;
			t->realtime = fifo && zt_kinds[k].may_be_realtime &&
				      i % 2;
			if (!zt_init_thread(t, zt_kinds[k].name, nr, seed_used))
				return false;
		}
	zt_checker = &zt_threads[nr];
	return zt_init_thread(zt_checker, "checker", nr, seed_used);
}

static void zt_stop_threads(void)
{
	for (unsigned int i = 0; i < zt_nr_threads; i++)
		if (zt_threads[i].task)
			kthread_stop_put(zt_threads[i].task);
}

static bool zt_start_threads(void)
{
	zt_state = ZT_PARK;
	for (unsigned int i = 0; i < zt_nr_threads; i++) {
		struct zt_thread *t = &zt_threads[i];
		struct task_struct *task;

		task = kthread_create(zt_thread_fn, t, "zst-%s/%u", t->kind, i);
		if (IS_ERR(task))
			return false;
		/* It may not live to be stopped. */
		t->task = get_task_struct(task);
		wake_up_process(task);
	}
	return true;
}

/* Returns false if threads hang: then nothing can be cleaned up. */
static bool zt_rounds(u32 seed_used, unsigned long other_zspages)
{
	unsigned long next_report = jiffies + interval * HZ;

	do {
		zt_new_round();
		if (!zt_run_threads())
			return false;
		zt_check(other_zspages);
		if (time_after(jiffies, next_report)) {
			zt_report("so far:", seed_used);
			next_report = jiffies + interval * HZ;
		}
	} while (time_before(jiffies, READ_ONCE(zt_end)) &&
		 !atomic_read(&zt_errors));
	return true;
}

static void zt_end_pool(unsigned long other_zspages)
{
	for (unsigned int i = 0; i < objects; i++)
		if (zt_slots[i].obj.handle)
			zt_free(zt_checker, zt_pool, &zt_slots[i].obj);
	zt_check(other_zspages);
	zt_check_empty();
	zs_destroy_pool(zt_pool);
	zt_pool = NULL;
	if (all_zspages() != other_zspages)
		zt_error("%lu zspages are left, of %lu before\n",
			 all_zspages(), other_zspages);
	/* Descriptors of forwarders are freed, too, before a search for leaks. */
	rcu_barrier();
}

static void zt_free_all(void)
{
	for (unsigned int i = 0; zt_threads && i <= zt_nr_threads; i++)
		kvfree(zt_threads[i].buf[0]);
	kvfree(zt_threads);
	kvfree(zt_slots);
	kfree(zt_inuse);
	zs_destroy_pool(zt_pool);
	zt_threads = NULL;
	zt_slots = NULL;
	zt_inuse = NULL;
	zt_pool = NULL;
}

static void zt_torture(u32 seed_used)
{
	unsigned long other_zspages = all_zspages();
	bool hang = false;

	if (!zt_setup(seed_used)) {
		zt_error("no memory to begin with\n");
		zt_nr_threads = 0;
	} else {
		WRITE_ONCE(zs_race_hook, zt_race);
		if (zt_start_threads())
			hang = !zt_rounds(seed_used, other_zspages);
		else
			zt_error("no threads\n");
		if (!hang) {
			zt_stop_threads();
			WRITE_ONCE(zs_race_hook, NULL);
			zt_end_pool(other_zspages);
		}
	}
	zt_report_points();
	zt_report(atomic_read(&zt_errors) ? "end: FAILURE" : "end: SUCCESS",
		  seed_used);
	if (!hang)
		zt_free_all();
}

static int zt_control(void *unused)
{
	const char *no_hotplug = hotplug ? zt_why_no_hotplug() : NULL;
	u32 seed_used = seed;

	while (!seed_used)
		seed_used = get_random_u32();
	zt_nr_hotplug = no_hotplug ? 0 : hotplug;
	pr_info("start: seed=%u seconds=%u users=%u readers=%u migrators=%u compactors=%u shrinkers=%u pools=%u hotplug=%u%s%s%s objects=%u sizes=%u round_ms=%u delays=%u faults=%u fifo=%u\n",
		seed_used, zt_seconds, users, readers, migrators, compactors,
		shrinkers, pools, zt_nr_hotplug, no_hotplug ? " (" : "",
		no_hotplug ?: "", no_hotplug ? ")" : "", objects, sizes, round_ms, delays, faults,
		fifo);
	if (!objects || !sizes || sizes > ZT_MAX_SIZES)
		zt_error("objects and sizes must not be 0, sizes at most %u\n",
			 ZT_MAX_SIZES);
	else if (faults && !IS_ENABLED(CONFIG_FAULT_INJECTION))
		zt_error("faults need CONFIG_FAULT_INJECTION\n");
	else
		zt_torture(seed_used);
	WRITE_ONCE(zt_result, atomic_read(&zt_errors) ? "FAILURE" : "SUCCESS");
	if (shutdown) {
		if (kernel_can_power_off())
			kernel_power_off();
		else
			kernel_restart(NULL);
	}
	return 0;
}

static DEFINE_MUTEX(zt_start_lock);

static int zt_start(void)
{
	struct task_struct *task;

	if (!strcmp(READ_ONCE(zt_result), "running"))
		return -EBUSY;
	atomic_set(&zt_errors, 0);
	WRITE_ONCE(zt_end, jiffies + zt_seconds * HZ);
	WRITE_ONCE(zt_result, "running");
	task = kthread_run(zt_control, NULL, "zst-control");
	if (IS_ERR(task))
		WRITE_ONCE(zt_result, "none");
	return PTR_ERR_OR_ZERO(task);
}

/* On the command line this comes before zsmalloc is there. */
static int zt_set_seconds(const char *val, const struct kernel_param *kp)
{
	unsigned int value;
	int ret = kstrtouint(val, 0, &value);

	if (ret)
		return ret;
	guard(mutex)(&zt_start_lock);
	if (!value) {
		WRITE_ONCE(zt_end, jiffies);
		return 0;
	}
	zt_seconds = value;
	return zt_ready ? zt_start() : 0;
}

static const struct kernel_param_ops zt_seconds_ops = {
	.set = zt_set_seconds,
	.get = param_get_uint,
};
module_param_cb(seconds, &zt_seconds_ops, &zt_seconds, 0644);
MODULE_PARM_DESC(seconds, "Start, for that long; 0: end (default 0)");

static int zt_get_result(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", READ_ONCE(zt_result));
}

static const struct kernel_param_ops zt_result_ops = {
	.get = zt_get_result,
};
module_param_cb(result, &zt_result_ops, NULL, 0444);
MODULE_PARM_DESC(result, "none, running, SUCCESS or FAILURE");

static int __init zt_init(void)
{
	guard(mutex)(&zt_start_lock);
	zt_ready = true;
	return zt_seconds ? zt_start() : 0;
}
late_initcall(zt_init);

MODULE_DESCRIPTION("Torture test of zsmalloc");
MODULE_LICENSE("GPL");
