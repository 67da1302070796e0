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
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../zsmalloc.h"
#include "zsmalloc_test.h"

#define GFP_TEST	(GFP_KERNEL | __GFP_HIGHMEM | __GFP_MOVABLE)
#define MAX_OBJS	16384
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
	void *unreachable;		/* a descriptor that no handle can name */
	unsigned int nr_unreachable;
	int empty_node;
	gfp_t gfp_of_last_page;
	struct zspage *unreadable;
	struct page *unreadable_page;
	unsigned int nr_unreadable;	/* how often it was to be read */
	struct zspage *dest_gone_bad;
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
		unsigned int waits;	/* how often migration waited for readers */
		bool close;		/* the reader closes its object meanwhile */
	} patience;
	struct {			/* see watch_search() */
		unsigned int tried;
		unsigned int in_this_hold;
		unsigned int longest_hold;
		void (*between_holds)(struct zst *t);	/* once, when some were tried */
		unsigned long freed_in_between;
	} search;
	struct {			/* see supply_of_what_was_freed() */
		unsigned long bytes;
		unsigned long pages;
	} supplied;
};

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

#define NAMES_PARAM(names)	KUNIT_ARRAY_PARAM(names, names, name_of_param)

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

/* The object's bytes, read both ways, are those that were written last. */
static inline bool obj_intact(struct zst *t, const struct obj *o)
{
	struct scatterlist sg[2];
	bool ok;
	u8 *mem;

	fill(t->want, o->size, o->seed);

	mem = zs_obj_read_begin(t->pool, o->handle, o->size, t->copy);
	ok = !memcmp(mem, t->want, o->size);
	zs_obj_read_end(t->pool, o->handle, o->size, mem);

	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	sg_copy_to_buffer(sg, sg_nents(sg), t->copy, o->size);
	zs_obj_read_sg_end(t->pool, o->handle);
	return ok && !memcmp(t->copy, t->want, o->size);
}

/* Where objects are allocated, whichever CPU a test runs on */
#define TEST_NODE	first_memory_node

static inline struct size_class *test_class(struct zst *t, unsigned int size)
{
	return zs_class(t->pool, size, TEST_NODE);
}

static inline struct obj *obj_alloc_node(struct zst *t, size_t size, int nid)
{
	struct obj *o = &t->objs[t->nr];

	KUNIT_ASSERT_LT(t->test, t->nr, MAX_OBJS);
	o->size = size;
	o->handle = zs_malloc(t->pool, size, GFP_TEST, nid);
	KUNIT_ASSERT_FALSE(t->test, IS_ERR_OR_NULL((void *)o->handle));
	t->nr++;
	obj_write(t, o);
	return o;
}

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

/* Where an object is, as if that was its handle. */
static inline unsigned long obj_where(const struct obj *o)
{
	struct zspage *home;
	unsigned int slot;

	home = zs_decode_location(o->handle, &slot);
	if (home->state != ZSPAGE_FORWARDER)
		return o->handle & ZS_PLACE_MASK;
	return *forwarder_link_at(home, bitmap_weight(zspage_bitmap(home), slot));
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

/* By the promise of struct zs_guest_block: all blocks are full but the first. */
static inline unsigned int times_in_guests(struct zspage *host,
					   unsigned long owner)
{
	unsigned int behind = 0, times = 0, here;
	struct zs_guest_block *block;

	if (!host->guests)
		return 0;
	for (block = host->guests->next; block; block = block->next)
		behind += ZS_GUESTS_PER_BLOCK;
	/* If the count is wrong, it is not too many. */
	here = min(host->nr_guests - behind, ZS_GUESTS_PER_BLOCK);
	for (block = host->guests; block; block = block->next) {
		for (unsigned int i = 0; i < here; i++)
			times += block->owner[i] == owner;
		here = ZS_GUESTS_PER_BLOCK;
	}
	return times;
}

/*
 * The counts of a zspage are those of the objects that the test has: each is in a
 * slot of its own, and owned by the handle that was returned for it.
 */
static inline bool agrees_with_model(struct zst *t, struct zspage *zspage)
{
	unsigned int natives = 0, guests = 0;

	for (unsigned int i = 0; i < t->nr; i++) {
		struct obj *o = &t->objs[i];

		natives += obj_zspage(o) == kasan_reset_tag(zspage);
		if (zspage->state != ZSPAGE_FORWARDER && obj_is_forwarded(o) &&
		    obj_host(o) == kasan_reset_tag(zspage)) {
			if (times_in_guests(zspage, o->handle) != 1)
				return false;
			guests++;
		}
	}
	if (zspage->state == ZSPAGE_FORWARDER)
		return zspage->nr_links == natives;
	return zspage->nr_guests == guests && zspage->inuse == natives + guests;
}

static inline void expect_model(struct zst *t)
{
	struct size_class *class;

	for_each_class(class, t->pool, NUMA_NO_NODE) {
		struct zspage *zspage;

		for (int f = 0; f < ZS_NR_FULLNESS; f++)
			list_for_each_entry(zspage, &class->zspages[f], list)
				KUNIT_ASSERT_TRUE(t->test,
						  agrees_with_model(t, zspage));
		list_for_each_entry(zspage, &class->forwarders, list)
			KUNIT_ASSERT_TRUE(t->test, agrees_with_model(t, zspage));
	}
}

static inline void expect_all_intact(struct zst *t)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (!obj_intact(t, &t->objs[i]))
			KUNIT_FAIL_AND_ABORT(t->test, "object %u, %u bytes: wrong bytes\n",
					     i, t->objs[i].size);
	KUNIT_EXPECT_STREQ(t->test, zs_check_pool(t->pool) ?: "", "");
}

/* A zspage of objects of @size, all slots in use; returns the first. */
static inline struct obj *fill_zspage(struct zst *t, size_t size)
{
	unsigned int slots = test_class(t, size)->geo.slots;
	struct obj *first = &t->objs[t->nr];

	while (slots--)
		obj_alloc(t, size);
	KUNIT_ASSERT_PTR_EQ(t->test, obj_zspage(first),
			    obj_zspage(&t->objs[t->nr - 1]));
	return first;
}

/* A size whose zspages have several pages, and objects that straddle them. */
static inline size_t long_size(struct kunit *test)
{
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--)
		if (geo[nr].pages >= 3 && geo[nr].slots > geo[nr].pages)
			return geo[nr].size;
	kunit_skip(test, "no class with three pages per zspage");
}

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

/*
 * Pages that go bad: by a static stub for the flag, as not every machine has that,
 * and until the end of the test.
 */
static inline bool passes_for_bad(struct page *page)
{
	struct zst *t = current_zst();

	t->nr_looks++;
	for (unsigned int i = 0; i < t->nr_bad; i++)
		if (t->bad[i] == page)
			return true;
	return false;
}

static inline void go_bad(struct zst *t, struct page *page)
{
	KUNIT_ASSERT_LT(t->test, t->nr_bad, MAX_BAD);
	t->bad[t->nr_bad++] = page;
	kunit_activate_static_stub(t->test, zs_page_is_bad, passes_for_bad);
}

/*
 * Migration as the core's users do it
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

static inline struct folio *new_folio(struct folio *src, unsigned long private)
{
	struct target *target = (struct target *)private;

	if (target->failing && !--target->failing)
		return NULL;
	return folio_alloc(target->gfp, 0);
}

/* Returns how many pages stayed where they are; these were put back. */
static inline int migrate_to(struct list_head *list, struct target *target,
			     enum migrate_mode mode)
{
	int failed;

	failed = migrate_pages(list, new_folio, NULL, (unsigned long)target,
			       mode, MR_COMPACTION, NULL);
	if (!list_empty(list))
		putback_movable_pages(list);
	return failed;
}

static inline int migrate(struct list_head *list)
{
	struct target target = { .gfp = GFP_TEST };

	return migrate_to(list, &target, MIGRATE_SYNC);
}

static inline unsigned int isolate_zspage(struct zspage *zspage,
					  struct list_head *list)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < zspage->class->geo.pages; i++)
		nr += isolate(zpdesc_page(zspage->pages[i]), list);
	return nr;
}

/* Isolates every page of the pool.  Only the caller uses it. */
static inline unsigned int isolate_pool(struct zs_pool *pool,
					struct list_head *list)
{
	struct size_class *class;
	unsigned int nr = 0;

	for_each_class(class, pool, NUMA_NO_NODE)
		for (int f = 0; f < ZS_NR_FULLNESS; f++) {
			struct zspage *zspage;

			list_for_each_entry(zspage, &class->zspages[f], list)
				nr += isolate_zspage(zspage, list);
		}
	return nr;
}

static inline void needs_migration(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no CONFIG_MIGRATION");
	if (!zs_migration)
		kunit_skip(test, "zsmalloc.migration=0");
}

/* No zspage of the pool has a pin, an isolated page or a replaced page. */
static inline void expect_quiet(struct zst *t)
{
	struct size_class *class;

	for_each_class(class, t->pool, NUMA_NO_NODE)
		for (int f = 0; f < ZS_NR_FULLNESS; f++) {
			struct zspage *zspage;

			list_for_each_entry(zspage, &class->zspages[f], list) {
				KUNIT_EXPECT_EQ(t->test, 0,
						atomic_read(&zspage->pins));
				KUNIT_EXPECT_EQ(t->test, 0, zspage->nr_stale);
				KUNIT_EXPECT_EQ(t->test, 0, zspage->isolated);
			}
		}
}

/* Compacts, and compares the result with the pages that the pool has lost. */
static inline unsigned long compact(struct zst *t)
{
	unsigned long before = pool_pages(t->pool);
	struct zs_pool_stats was, is;
	unsigned long freed;

	zs_pool_stats(t->pool, &was);
	freed = zs_compact(t->pool);
	zs_pool_stats(t->pool, &is);
	KUNIT_EXPECT_EQ(t->test, freed, before - pool_pages(t->pool));
	KUNIT_EXPECT_EQ(t->test, all_zspages() - t->pages_before,
			pool_pages(t->pool));
	KUNIT_EXPECT_EQ(t->test, freed,
			atomic_long_read(&is.pages_compacted) -
			atomic_long_read(&was.pages_compacted));
	expect_all_intact(t);
	expect_model(t);
	return freed;
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
		for (unsigned int n = 0; __first + n < __t->nr; n++) {		\
			struct obj __o = __t->objs[__first + n];		\
										\
			if (condition)						\
				__t->objs[__kept++] = __o;			\
			else							\
				zs_free(__t->pool, __o.handle);			\
		}								\
		__t->nr = __kept;						\
	} while (0)

/* Keeps every @nth object from @first on. */
static inline void thin_out(struct zst *t, unsigned int first, unsigned int nth)
{
	keep_if(t, first, n, n % nth == 0);
}

/* As many objects as @zspages have slots, and then only every @nth of them */
static inline void sparse_zspages(struct zst *t, size_t size,
				  unsigned int zspages, unsigned int nth)
{
	unsigned int first = t->nr;

	zspages *= test_class(t, size)->geo.slots;
	while (zspages--)
		obj_alloc(t, size);
	thin_out(t, first, nth);
}

static inline u8 *map_byte(struct zspage *zspage, size_t pos)
{
	struct page *page = zpdesc_page(zspage->pages[pos >> PAGE_SHIFT]);

	return (u8 *)kmap_local_page(page) + offset_in_page(pos);
}

/* Does the same as zs_copy_slot(), for its static stubs. */
static inline void copy_bytes(struct zspage *dest, unsigned int dest_slot,
			      struct zspage *source, unsigned int source_slot)
{
	size_t size = source->class->geo.size;

	for (size_t i = 0; i < size; i++) {
		u8 *to = map_byte(dest, dest_slot * size + i);
		u8 *from = map_byte(source, source_slot * size + i);

		*to = *from;
		kunmap_local(from);
		kunmap_local(to);
	}
}

/* The core may have a page locked for a moment. */
static inline void flush_deferred(struct kunit *test)
{
	for (int tries = 100; !zs_flush_deferred(); msleep(20))
		KUNIT_ASSERT_GT(test, tries--, 0);
}

static inline void destroy(struct zst *t)
{
	zs_destroy_pool(t->pool);
	t->pool = NULL;
	flush_deferred(t->test);
}

static inline int zst_init(struct kunit *test)
{
	struct zst *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	test->priv = t;
	t->test = test;
	flush_deferred(test);
	t->pages_before = all_zspages();
	t->objs = kvcalloc(MAX_OBJS, sizeof(*t->objs), GFP_KERNEL);
	t->want = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	t->copy = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	t->pool = zs_create_pool("kunit");
	if (!t->objs || !t->want || !t->copy || !t->pool)
		return -ENOMEM;
	return 0;
}

static inline void zst_exit(struct kunit *test)
{
	struct zst *t = test->priv;

	if (!t)
		return;
	/* If the test ended early */
	WRITE_ONCE(zs_race_hook, NULL);
	if (t->pool) {
		expect_quiet(t);
		free_all(t);
		destroy(t);
	}
	kvfree(t->objs);
	KUNIT_EXPECT_EQ_MSG(test, all_zspages(), t->pages_before,
			    "the test left pages behind");
}

#endif /* _MM_TESTS_ZSMALLOC_KUNIT_H */
