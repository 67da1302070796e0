// SPDX-License-Identifier: GPL-2.0
/*
 * Helpers of the KUnit suites of zsmalloc; see zsmalloc_kunit.h
 */
#include "zsmalloc_kunit.h"

/*
 * Objects
 */

/* The object's bytes, read both ways, are those that were written last. */
bool obj_intact(struct zst *t, const struct obj *o)
{
	struct scatterlist sg[2];
	bool ok;
	u8 *mem;

	fill(t->want, o->size, o->seed);

	mem = zs_obj_read_begin(t->pool, o->handle, o->size, t->copy);
	ok = !memcmp(mem, t->want, o->size);
	zs_obj_read_end(t->pool, o->handle, o->size, mem);

	/* The caller does not initialise the entries. */
	memset(sg, 0, sizeof(sg));
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	ok = ok && (sg_is_last(&sg[0]) || sg_is_last(&sg[1]));
	if (ok)
		sg_copy_to_buffer(sg, sg_nents(sg), t->copy, o->size);
	zs_obj_read_sg_end(t->pool, o->handle);
	return ok && !memcmp(t->copy, t->want, o->size);
}

struct obj *obj_alloc_node(struct zst *t, size_t size, int nid)
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

/* Where an object is, as if that was its handle. */
unsigned long obj_where(const struct obj *o)
{
	struct zspage *home;
	unsigned int slot;

	home = zs_decode_location(o->handle, &slot);
	if (home->state != ZSPAGE_FORWARDER)
		return o->handle & ZS_PLACE_MASK;
	return *forwarder_link_at(home, bitmap_weight(zspage_bitmap(home), slot));
}

/* A zspage of objects of @size, all slots in use; returns the first. */
struct obj *fill_zspage(struct zst *t, size_t size)
{
	unsigned int slots = test_class(t, size)->geo.slots;
	struct obj *first = &t->objs[t->nr];

	while (slots--)
		obj_alloc(t, size);
	KUNIT_ASSERT_PTR_EQ(t->test, obj_zspage(first),
			    obj_zspage(&t->objs[t->nr - 1]));
	return first;
}

/* Keeps every @nth object from @first on. */
void thin_out(struct zst *t, unsigned int first, unsigned int nth)
{
	keep_if(t, first, n, n % nth == 0);
}

/* As many objects as @zspages have slots, and then only every @nth of them */
void sparse_zspages(struct zst *t, size_t size, unsigned int zspages, unsigned int nth)
{
	unsigned int first = t->nr;

	zspages *= test_class(t, size)->geo.slots;
	while (zspages--)
		obj_alloc(t, size);
	thin_out(t, first, nth);
}

/* A size whose zspages have several pages, and objects that straddle them. */
size_t long_size(struct kunit *test)
{
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--)
		if (geo[nr].pages >= 3 && geo[nr].slots > geo[nr].pages)
			return geo[nr].size;
	kunit_skip(test, "no class with three pages per zspage");
}

/*
 * The model, and the equations of the pool
 */

/* By the promise of struct zs_guest_block: all blocks are full but the first. */
static unsigned int times_in_guests(struct zspage *host, unsigned long owner)
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
static bool agrees_with_model(struct zst *t, struct zspage *zspage)
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

void expect_model(struct zst *t)
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

void expect_all_intact(struct zst *t)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (!obj_intact(t, &t->objs[i]))
			KUNIT_FAIL_AND_ABORT(t->test, "object %u, %u bytes: wrong bytes\n",
					     i, t->objs[i].size);
	KUNIT_EXPECT_STREQ(t->test, zs_check_pool(t->pool) ?: "", "");
}

/* No zspage of the pool has a pin, an isolated page or a replaced page. */
void expect_quiet(struct zst *t)
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
unsigned long zst_compact(struct zst *t)
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
 * Pages that go bad: by a static stub for the flag, as not every machine has that,
 * and until the end of the test.
 */
bool passes_for_bad(struct page *page)
{
	struct zst *t = current_zst();

	t->nr_looks++;
	for (unsigned int i = 0; i < t->nr_bad; i++)
		if (t->bad[i] == page)
			return true;
	return false;
}

void go_bad(struct zst *t, struct page *page)
{
	KUNIT_ASSERT_LT(t->test, t->nr_bad, MAX_BAD);
	t->bad[t->nr_bad++] = page;
	kunit_activate_static_stub(t->test, zs_page_is_bad, passes_for_bad);
}

/*
 * Allocations that fail, and other static stubs
 */

/* Until an allocation has failed, the test has a reference to each page. */
static struct zpdesc *give(gfp_t gfp, int nid)
{
	struct page *page = alloc_pages_node(nid, gfp, 0);
	struct zst *t = current_zst();

	if (page && t->nr_until_failure) {
		get_page(page);
		t->given[t->nr_given++] = page;
	}
	return page_zpdesc(page);
}

unsigned int short_bulk(gfp_t gfp, int nid, unsigned int nr, struct zpdesc **pages)
{
	pages[0] = give(gfp, nid);
	return !!pages[0];
}

unsigned int no_bulk(gfp_t gfp, int nid, unsigned int nr, struct zpdesc **pages)
{
	return 0;
}

struct zpdesc *nth_single_fails(gfp_t gfp, int nid)
{
	return fails_now(current_zst()) ? NULL : give(gfp, nid);
}

struct size_class *no_classes(int nid, gfp_t gfp)
{
	return NULL;
}

void *no_memory_for(size_t size)
{
	return NULL;
}

void *no_supply(size_t size, gfp_t gfp)
{
	return NULL;
}

bool no_copy(struct zspage *dest, unsigned int dest_slot,
	     struct zspage *source, unsigned int source_slot)
{
	return false;
}

/* A cache of which the allocator gets memory for itself, by static stubs */
struct kmem_cache *private_cache(struct kunit *test, const char *name, size_t size)
{
	struct kmem_cache *cache;

	cache = kmem_cache_create(name, size,
				  max(ZSPAGE_ALIGN, __alignof__(struct size_class)),
				  SLAB_SKIP_KFENCE | SLAB_NO_MERGE, NULL);
	KUNIT_ASSERT_NOT_NULL(test, cache);
	return cache;
}

/* Destroys the cache, which tells whether all of its memory was freed. */
void expect_all_freed_to(struct kunit *test, struct kmem_cache *cache)
{
	kunit_warning_suppress(test) {
		kmem_cache_destroy(cache);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
}

/* Does the same as zs_copy_slot(), for its static stubs. */
void zst_copy_slot(struct zspage *dest, unsigned int dest_slot,
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

void expect_enomem(struct zst *t, size_t size)
{
	KUNIT_EXPECT_EQ(t->test, zs_malloc(t->pool, size, GFP_TEST, NUMA_NO_NODE),
			(unsigned long)-ENOMEM);
	while (t->nr_given) {
		struct page *page = t->given[--t->nr_given];

		KUNIT_EXPECT_EQ(t->test, page_ref_count(page), 1);
		put_page(page);
	}
	KUNIT_EXPECT_EQ(t->test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_EQ(t->test, all_zspages(), t->pages_before);
	KUNIT_EXPECT_STREQ(t->test, zs_check_pool(t->pool) ?: "", "");
}

/*
 * Migration as the users of the migration core do it
 */

void needs_migration(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no CONFIG_MIGRATION");
	if (!zs_migration)
		kunit_skip(test, "zsmalloc.migration=0");
}

#ifndef CONFIG_MIGRATION
/* The tests that replace these are linked, too, and skipped. */
int zs_copy_page(struct zpdesc *new, struct zpdesc *old)
{
	return -EOPNOTSUPP;
}

unsigned long zs_stale_timeout(void)
{
	return 0;
}
#endif

static struct folio *new_folio(struct folio *src, unsigned long private)
{
	struct target *target = (struct target *)private;

	if (target->failing && !--target->failing)
		return NULL;
	return folio_alloc(target->gfp, 0);
}

/* Returns how many pages stayed where they are; these were put back. */
int migrate_to(struct list_head *list, struct target *target, enum migrate_mode mode)
{
	int failed;

	failed = migrate_pages(list, new_folio, NULL, (unsigned long)target,
			       mode, MR_COMPACTION, NULL);
	if (!list_empty(list))
		putback_movable_pages(list);
	return failed;
}

unsigned int isolate_zspage(struct zspage *zspage, struct list_head *list)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < zspage->nr_pages; i++)
		nr += isolate(zpdesc_page(zspage->pages[i]), list);
	return nr;
}

/* Isolates every page of the pool.  Only the caller uses it. */
unsigned int isolate_pool(struct zs_pool *pool, struct list_head *list)
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

void end_isolation(struct zst *t, struct list_head *list, bool migrates)
{
	if (migrates)
		KUNIT_EXPECT_EQ(t->test, migrate(list), 0);
	else
		putback_movable_pages(list);
}

/* Replaces the first page of a zspage, and returns the old one. */
struct page *replace_first_page(struct zst *t, struct zspage *zspage,
				enum migrate_mode mode)
{
	struct page *old = zpdesc_page(zspage->pages[0]);
	struct target target = { .gfp = GFP_TEST };
	LIST_HEAD(list);

	get_page(old);
	KUNIT_ASSERT_TRUE(t->test, isolate(old, &list));
	KUNIT_EXPECT_EQ(t->test, migrate_to(&list, &target, mode), 0);
	return old;
}

struct folio *folio_on_node(struct folio *src, unsigned long nid)
{
	return __folio_alloc_node(GFP_TEST | __GFP_THISNODE, 0, nid);
}

/*
 * Before and after each test
 */

/* The core may have a page locked for a moment. */
void zst_flush_deferred(struct kunit *test)
{
	for (int tries = 100; !zs_flush_deferred(); msleep(20))
		KUNIT_ASSERT_GT(test, tries--, 0);
}

void zst_destroy(struct zst *t)
{
	zs_destroy_pool(t->pool);
	t->pool = NULL;
	zst_flush_deferred(t->test);
}

int zst_init(struct kunit *test)
{
	struct zst *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	test->priv = t;
	t->test = test;
	zst_flush_deferred(test);
	t->pages_before = all_zspages();
	/* Zspages have all of their pages from the beginning, except in tests of growing. */
	zs_small_class = 0;
	t->objs = kvcalloc(MAX_OBJS, sizeof(*t->objs), GFP_KERNEL);
	t->want = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	t->copy = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	t->pool = zs_create_pool("kunit");
	if (!t->objs || !t->want || !t->copy || !t->pool)
		return -ENOMEM;
	return 0;
}

void zst_exit(struct kunit *test)
{
	struct zst *t = test->priv;

	zs_small_class = ZS_SMALL_CLASS;
	if (!t)
		return;
	/* If the test ended early */
	WRITE_ONCE(zs_race_hook, NULL);
	zs_set_pages = ZS_SET_PAGES;
	if (t->pool) {
		expect_quiet(t);
		free_all(t);
		zst_destroy(t);
	}
	kvfree(t->objs);
	KUNIT_EXPECT_EQ_MSG(test, all_zspages(), t->pages_before,
			    "the test left pages behind");
}
