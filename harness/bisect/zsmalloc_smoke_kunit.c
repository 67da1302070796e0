// SPDX-License-Identifier: GPL-2.0
/*
 * A KUnit suite for each step of the series, and for the zsmalloc of the base: it knows
 * no more than the interface. make bisect puts it into its tree.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/zsmalloc.h>

#define NR_OBJS		3000U
#define GFP_SMOKE	(GFP_KERNEL | __GFP_HIGHMEM | __GFP_MOVABLE)

struct smoke_obj {
	unsigned long handle;
	u32 size, seed;
};

struct smoke {
	struct zs_pool *pool;
	struct rnd_state rnd;
	struct smoke_obj *objs;
	unsigned int nr;
	u8 *want, *copy;
	/* A thread that holds objs[0] open */
	struct completion opened, close, closed;
	bool intact;
};

static void smoke_fill(struct smoke *s, const struct smoke_obj *o)
{
	struct rnd_state rnd;

	prandom_seed_state(&rnd, o->seed);
	prandom_bytes_state(&rnd, s->want, o->size);
}

static void smoke_alloc(struct kunit *test, u32 size)
{
	struct smoke *s = test->priv;
	struct smoke_obj *o = &s->objs[s->nr];

	KUNIT_ASSERT_LT(test, s->nr, NR_OBJS);
	o->size = size;
	o->seed = prandom_u32_state(&s->rnd);
	o->handle = zs_malloc(s->pool, size, GFP_SMOKE, NUMA_NO_NODE);
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL((void *)o->handle));
	smoke_fill(s, o);
	zs_obj_write(s->pool, o->handle, s->want, size);
	s->nr++;
}

static void smoke_free(struct smoke *s, unsigned int i)
{
	zs_free(s->pool, s->objs[i].handle);
	s->objs[i] = s->objs[--s->nr];
}

/* Each object has the bytes that were written, read in both ways. */
static void smoke_check(struct kunit *test)
{
	struct smoke *s = test->priv;

	for (unsigned int i = 0; i < s->nr; i++) {
		struct smoke_obj *o = &s->objs[i];
		struct scatterlist sg[2] = { };
		void *mem;
		bool ok;

		smoke_fill(s, o);
		mem = zs_obj_read_begin(s->pool, o->handle, o->size, s->copy);
		ok = !memcmp(mem, s->want, o->size);
		zs_obj_read_end(s->pool, o->handle, o->size, mem);
		zs_obj_read_sg_begin(s->pool, o->handle, sg, o->size);
		sg_copy_to_buffer(sg, sg_nents(sg), s->copy, o->size);
		zs_obj_read_sg_end(s->pool, o->handle);
		if (!ok || memcmp(s->copy, s->want, o->size))
			KUNIT_FAIL_AND_ABORT(test, "object %u has wrong bytes", i);
	}
}

static struct folio *smoke_folio(struct folio *src, unsigned long private)
{
	return folio_alloc(GFP_SMOKE, 0);
}

/* Migrates all pages that drivers let go, and returns how many. */
static unsigned int smoke_migrate(struct kunit *test)
{
	unsigned int isolated = 0, failed = 0;
	struct zone *zone;
	LIST_HEAD(list);

	if (!IS_ENABLED(CONFIG_MIGRATION))
		return 0;
	for_each_populated_zone(zone) {
		unsigned long pfn = zone->zone_start_pfn;

		for (; pfn < zone_end_pfn(zone); pfn++) {
			struct page *page = pfn_to_online_page(pfn);

			if (page && PageZsmalloc(page) &&
			    isolate_movable_ops_page(page, ISOLATE_UNEVICTABLE)) {
				list_add_tail(&page->lru, &list);
				isolated++;
			}
		}
	}
	if (isolated)
		failed = migrate_pages(&list, smoke_folio, NULL, 0, MIGRATE_SYNC,
				       MR_COMPACTION, NULL);
	if (!list_empty(&list))
		putback_movable_pages(&list);
	return isolated - failed;
}

/*
 * The zsmalloc of the base locks the zspage for a reader, and takes the lock of the pool
 * before it, which migration takes, too. So the reader is another task.
 */
static int smoke_reader(void *data)
{
	struct smoke *s = data;
	struct smoke_obj *o = &s->objs[0];
	void *mem = zs_obj_read_begin(s->pool, o->handle, o->size, s->copy);

	complete(&s->opened);
	wait_for_completion(&s->close);
	s->intact = !memcmp(mem, s->want, o->size);
	zs_obj_read_end(s->pool, o->handle, o->size, mem);
	complete(&s->closed);
	return 0;
}

static void objects_keep_their_bytes(struct kunit *test)
{
	struct smoke *s = test->priv;

	while (s->nr < NR_OBJS)
		smoke_alloc(test, 1 + prandom_u32_state(&s->rnd) % PAGE_SIZE);
	smoke_check(test);
	for (unsigned int i = 0; i < NR_OBJS / 2; i++)
		smoke_free(s, prandom_u32_state(&s->rnd) % s->nr);
	smoke_check(test);
	while (s->nr < NR_OBJS)
		smoke_alloc(test, 1 + prandom_u32_state(&s->rnd) % PAGE_SIZE);
	smoke_check(test);
}

static void pages_are_migrated(struct kunit *test)
{
	struct smoke *s = test->priv;
	unsigned int moved, moved_open;
	struct task_struct *reader;

	while (s->nr < 500)
		smoke_alloc(test, 1 + prandom_u32_state(&s->rnd) % PAGE_SIZE);
	moved = smoke_migrate(test);
	smoke_check(test);
	smoke_fill(s, &s->objs[0]);
	reader = kthread_run(smoke_reader, s, "smoke_reader");
	KUNIT_ASSERT_FALSE(test, IS_ERR(reader));
	wait_for_completion(&s->opened);
	moved_open = smoke_migrate(test);
	complete(&s->close);
	wait_for_completion(&s->closed);
	KUNIT_EXPECT_TRUE(test, s->intact);
	smoke_check(test);
	pr_info("smoke: migrated %u, with an open object %u\n", moved, moved_open);
}

static void pools_are_compacted(struct kunit *test)
{
	struct smoke *s = test->priv;
	unsigned long freed, pages;

	while (s->nr < NR_OBJS)
		smoke_alloc(test, 400 + 800 * (s->nr % 3));
	for (unsigned int i = 0; i < s->nr; i++)
		if (i % 4)
			smoke_free(s, i);
	pages = zs_get_total_pages(s->pool);
	freed = zs_compact(s->pool);
	smoke_check(test);
	smoke_migrate(test);
	smoke_check(test);
	freed += zs_compact(s->pool);
	smoke_check(test);
	pr_info("smoke: compaction freed %lu of %lu pages\n", freed, pages);
}

static int smoke_init(struct kunit *test)
{
	struct smoke *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);

	if (!s)
		return -ENOMEM;
	test->priv = s;
	init_completion(&s->opened);
	init_completion(&s->close);
	init_completion(&s->closed);
	prandom_seed_state(&s->rnd, 1);
	s->objs = kunit_kcalloc(test, NR_OBJS, sizeof(*s->objs), GFP_KERNEL);
	s->want = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	s->copy = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	s->pool = zs_create_pool("smoke");
	return s->objs && s->want && s->copy && s->pool ? 0 : -ENOMEM;
}

static void smoke_exit(struct kunit *test)
{
	struct smoke *s = test->priv;

	if (!s || !s->pool)
		return;
	while (s->nr)
		smoke_free(s, s->nr - 1);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(s->pool), 0);
	zs_destroy_pool(s->pool);
}

static struct kunit_case smoke_cases[] = {
	KUNIT_CASE(objects_keep_their_bytes),
	KUNIT_CASE(pages_are_migrated),
	KUNIT_CASE(pools_are_compacted),
	{ }
};

static struct kunit_suite smoke_suite = {
	.name = "zsmalloc_smoke",
	.init = smoke_init,
	.exit = smoke_exit,
	.test_cases = smoke_cases,
};

kunit_test_suite(smoke_suite);
