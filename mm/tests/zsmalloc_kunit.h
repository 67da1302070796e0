/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the KUnit suites of zsmalloc: objects whose bytes are known, a model to
 * compare the pool with, and migration as the migration core does it.
 */
#ifndef _MM_TESTS_ZSMALLOC_KUNIT_H
#define _MM_TESTS_ZSMALLOC_KUNIT_H

#include <kunit/static_stub.h>
#include <kunit/test-bug.h>
#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../zsmalloc.h"
#include "zsmalloc_test.h"

#define GFP_TEST	(GFP_KERNEL | __GFP_HIGHMEM | __GFP_MOVABLE)
#define MAX_OBJS	16384
/* As large a part of a page as @bytes are of 4 KB, so that zspages have as many slots */
#define SCALED(bytes)	((bytes) * (unsigned int)(PAGE_SIZE / 4096))
#define MAX_BAD		64

struct obj {
	unsigned long handle;
	u32 size;
	u32 seed;
};

struct zst {
	struct kunit *test;
	struct zs_pool *pool;
	unsigned long pages_before;	/* zspages of all pools, before the test */
	u32 seed;
	unsigned int nr;		/* objects in objs[] */
	struct obj *objs;
	u8 *want, *copy;		/* a page each */
	unsigned int nr_bad;
	struct page *bad[MAX_BAD];	/* pages that pass for bad */
	unsigned int nr_looks;		/* at pages, whether they are */

	/*
	 * State of single tests and of their static stubs, which find it by
	 * current_zst(). It starts as zeroes, so that a test that fails leaves none of
	 * it to the next.
	 */
	atomic_t nr_report_lines;
	int nr_until_failure;		/* allocations or copies; 0: none fails */
	int nr_until_bad;		/* copies; 0: no zspage goes bad */
	int nr_copies;
	unsigned int nr_supplies;	/* pieces of memory that evacuation asked for */
	struct page *given[ZS_MAX_PAGES];	/* before an allocation failed */
	unsigned int nr_given;
	size_t size_of_pool;
	struct kmem_cache *cache;	/* of memory that the allocator uses for itself */
	struct kmem_cache *class_cache;	/* of size classes */
	void (*meanwhile)(struct zst *t);	/* once, during an allocation */
	void *unreachable;		/* a descriptor that no handle can name */
	unsigned int nr_unreachable;
	unsigned int nr_set_tries;	/* to allocate a class set */
	unsigned int nr_clock_reads;
	int empty_node;
	gfp_t gfp_of_last_page;
	gfp_t gfp_of_classes;
	struct zspage *unreadable;
	struct page *unreadable_page;
	unsigned int nr_unreadable;	/* how often it was to be read */
	struct zspage *dest_gone_bad;
	struct zspage *opened;		/* by object_is_opened() */
	struct zspage *opened_meanwhile;
	struct zspage *half_bad;	/* see copy_but_bad_ones(), copy_once() */
	bool copied;
	struct scatterlist busy_sg[2];
	struct {			/* see lose_what_was_written() */
		struct obj *obj;
		unsigned int losses;	/* tries from now on that are lost */
		unsigned int tries;
		unsigned int moved;
	} unlucky;
	struct {			/* see count_waits() */
		unsigned int waits;	/* how often isolation waited for readers */
		bool close;		/* the reader closes its object meanwhile */
	} patience;
	struct {			/* see watch_search() */
		unsigned int tried;
		unsigned int in_this_hold;
		unsigned int longest_hold;
		unsigned int evacuations;	/* that began */
		void (*between_holds)(struct zst *t);	/* once, when some were tried */
		unsigned long freed_in_between;
	} search;
	struct {			/* see supply_of_what_was_freed() */
		unsigned long bytes;
		unsigned long pages;
	} supplied;
	struct {			/* see alloc_meanwhile() */
		struct zs_pool *pool;
		int nid;
		size_t size;
		unsigned long handle;
	} other;
	struct {			/* see block_supply() */
		struct size_class *class;
		void *blocks[8];	/* those that were allocated and not freed */
		unsigned int allocated;
		unsigned int most;	/* blocks without guests, between evacuations */
	} spare;
};

int zst_init(struct kunit *test);
void zst_exit(struct kunit *test);
void zst_flush_deferred(struct kunit *test);
void zst_destroy(struct zst *t);

/* Of the test that a static stub works for, as it is called in the test's own thread */
static inline struct zst *current_zst(void)
{
	return kunit_get_current_test()->priv;
}

/* Parameters of a test that are nothing but names */
static inline void name_of_param(const char * const *name, char *desc)
{
	strscpy(desc, *name, KUNIT_PARAM_DESC_SIZE);
}

static inline const char *param_name(struct kunit *test)
{
	return *(const char * const *)test->param_value;
}

/* Without the memory that compaction adds, which zs_get_total_pages() counts, too */
static inline unsigned long pool_pages(struct zs_pool *pool)
{
	return atomic_long_read(&pool->pages);
}

static inline unsigned long pool_added(struct zs_pool *pool)
{
	return atomic_long_read(&pool->added);
}

static inline void fill(u8 *buf, u32 size, u32 seed)
{
	struct rnd_state rnd;

	prandom_seed_state(&rnd, seed);
	prandom_bytes_state(&rnd, buf, size);
}

static inline void obj_write(struct zst *t, struct obj *o)
{
	o->seed = ++t->seed;
	fill(t->want, o->size, o->seed);
	zs_obj_write(t->pool, o->handle, t->want, o->size);
}

/* Where objects are allocated, whichever CPU a test runs on */
#define TEST_NODE	first_memory_node

/* The class of the node's first set */
static inline struct size_class *node_class(struct zs_pool *pool, unsigned int size, int nid)
{
	return zs_class(pool, size, zs_set_index(nid, 0));
}

static inline struct size_class *test_class(struct zst *t, unsigned int size)
{
	return node_class(t->pool, size, TEST_NODE);
}

/* CPU 0 uses the first set of each node, and CPU 1 the second, unless this fails. */
static inline bool add_second_set(struct zs_pool *pool)
{
	if (zs_set_index(1, 0) < 2 || !cpu_online(0) || !cpu_online(1))
		return false;
	WRITE_ONCE(pool->set_mask, 1);
	return true;
}

/* Lasts until the end of the test, which is the end of the thread. */
static inline void use_cpu(struct kunit *test, unsigned int cpu)
{
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpumask_of(cpu)));
}

bool obj_intact(struct zst *t, const struct obj *o);
struct obj *obj_alloc_node(struct zst *t, size_t size, int nid);
unsigned long obj_where(const struct obj *o);
struct obj *fill_zspage(struct zst *t, size_t size);
void sparse_zspages(struct zst *t, size_t size, unsigned int zspages, unsigned int nth);
void thin_out(struct zst *t, unsigned int first, unsigned int nth);
size_t long_size(struct kunit *test);

static inline struct obj *obj_alloc(struct zst *t, size_t size)
{
	return obj_alloc_node(t, size, TEST_NODE);
}

/* The last object takes the place of the one that is freed. */
static inline void obj_free(struct zst *t, struct obj *o)
{
	zs_free(t->pool, o->handle);
	*o = t->objs[--t->nr];
}

static inline void free_all(struct zst *t)
{
	while (t->nr)
		obj_free(t, &t->objs[t->nr - 1]);
}

static inline struct zspage *obj_zspage(const struct obj *o)
{
	unsigned int slot;

	return zs_decode_location(o->handle, &slot);
}

static inline bool obj_is_forwarded(const struct obj *o)
{
	return obj_zspage(o)->state == ZSPAGE_FORWARDER;
}

static inline struct zspage *obj_host(const struct obj *o)
{
	unsigned int slot;

	return zs_decode_location(obj_where(o), &slot);
}

/*
 * Frees the objects from objs[@first] on, but for those that @condition is true for,
 * in which @n is the number of the object, counted from @first. An object is freed
 * before the next one is looked at, so the zspage that was emptied last is the first
 * of its list.
 */
#define keep_if(t, first, n, condition)						\
	do {									\
		struct zst *__t = (t);						\
		unsigned int __first = (first), __kept = __first;		\
										\
		for (unsigned int __i = __first; __i < __t->nr; __i++) {	\
			const unsigned int n = __i - __first;			\
			struct obj __o = __t->objs[__i];			\
										\
			if (condition)						\
				__t->objs[__kept++] = __o;			\
			else							\
				zs_free(__t->pool, __o.handle);			\
		}								\
		__t->nr = __kept;						\
	} while (0)

/* Sizes as parameters of a test */
struct test_size {
	const char *name;
	size_t size;
};

#define LONG_SIZE	0U	/* long_size() */

static inline size_t param_size(struct kunit *test)
{
	const struct test_size *size = test->param_value;

	return size->size == LONG_SIZE ? long_size(test) : size->size;
}

/* The model, and the equations of the pool */
void expect_model(struct zst *t);
void expect_all_intact(struct zst *t);
void expect_quiet(struct zst *t);
unsigned long zst_compact(struct zst *t);

/* Pages that go bad */
bool passes_for_bad(struct page *page);
void go_bad(struct zst *t, struct page *page);

/* A byte of the memory of a zspage */
static inline u8 *map_byte(struct zspage *zspage, size_t pos)
{
	struct page *page = zpdesc_page(zspage->pages[pos >> PAGE_SHIFT]);

	return (u8 *)kmap_local_page(page) + offset_in_page(pos);
}

/* Allocations that fail, and other static stubs */
static inline bool fails_now(struct zst *t)
{
	return t->nr_until_failure && !--t->nr_until_failure;
}

/*
 * Of objects whose forwarders can be trimmed: half of their links take less memory, also if
 * kmalloc() gives 64 bytes at least
 */
static inline size_t size_for_trimming(void)
{
	return PAGE_SIZE / (kmalloc_size_roundup(1) < 64 ? 64 : 128);
}

/* What another task does during the first allocation by a static stub */
static inline void act_meanwhile(struct zst *t)
{
	void (*act)(struct zst *t) = t->meanwhile;

	t->meanwhile = NULL;
	if (act)
		act(t);
}

struct kmem_cache *private_cache(struct kunit *test, const char *name, size_t size);
void expect_all_freed_to(struct kunit *test, struct kmem_cache *cache);

unsigned int short_bulk(gfp_t gfp, int nid, unsigned int nr, struct zpdesc **pages);
unsigned int no_bulk(gfp_t gfp, int nid, unsigned int nr, struct zpdesc **pages);
struct zpdesc *nth_single_fails(gfp_t gfp, int nid);
struct size_class *no_classes(int nid, gfp_t gfp);
void *no_memory_for(size_t size);
void *no_supply(size_t size, gfp_t gfp);
bool no_copy(struct zspage *dest, unsigned int dest_slot,
	     struct zspage *source, unsigned int source_slot);
void zst_copy_slot(struct zspage *dest, unsigned int dest_slot,
		   struct zspage *source, unsigned int source_slot);
void expect_enomem(struct zst *t, size_t size);

/*
 * Migration as the users of the migration core do it
 */

static inline bool isolate(struct page *page, struct list_head *list)
{
	if (!isolate_movable_ops_page(page, ISOLATE_UNEVICTABLE))
		return false;
	list_add_tail(&page->lru, list);
	return true;
}

struct target {
	gfp_t gfp;
	int failing;	/* the n-th allocation from now fails, if positive */
};

int migrate_to(struct list_head *list, struct target *target, enum migrate_mode mode);

static inline int migrate(struct list_head *list)
{
	struct target target = { .gfp = GFP_TEST };

	return migrate_to(list, &target, MIGRATE_SYNC);
}

void needs_migration(struct kunit *test);
unsigned int isolate_zspage(struct zspage *zspage, struct list_head *list);
unsigned int isolate_pool(struct zs_pool *pool, struct list_head *list);
void end_isolation(struct zst *t, struct list_head *list, bool migrates);
struct page *replace_first_page(struct zst *t, struct zspage *zspage,
				enum migrate_mode mode);
struct folio *folio_on_node(struct folio *src, unsigned long nid);

#endif /* _MM_TESTS_ZSMALLOC_KUNIT_H */
