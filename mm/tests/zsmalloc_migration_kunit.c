// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc: isolation and migration of pages, and their readers
 */
#include <linux/kasan.h>
#include <linux/workqueue.h>

#include "zsmalloc_kunit.h"

static const struct test_size long_and_page[] = {
	{ "long", LONG_SIZE },
	{ "page", PAGE_SIZE },
};

KUNIT_ARRAY_PARAM_DESC(long_and_page, long_and_page, name);

static void every_page_migrates_and_keeps_its_bytes(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int pages;
	LIST_HEAD(list);

	needs_migration(test);
	for (u32 size = 1; size <= PAGE_SIZE; size += PAGE_SIZE / 1024)
		obj_alloc(t, size);
	obj_alloc(t, PAGE_SIZE);

	for (int round = 0; round < 3; round++) {
		pages = isolate_pool(t->pool, &list);
		KUNIT_EXPECT_EQ(test, pages, pool_pages(t->pool));
		/* Nothing needs to wait for it */
		expect_all_intact(t);
		KUNIT_EXPECT_EQ(test, migrate(&list), 0);
		KUNIT_EXPECT_EQ(test, pages, pool_pages(t->pool));
		KUNIT_EXPECT_EQ(test, all_zspages() - t->pages_before, pages);
		expect_all_intact(t);
		for (unsigned int i = round; i < t->nr; i += 3)
			obj_write(t, &t->objs[i]);
	}
	expect_all_intact(t);
}

/* After a migration, the allocator has no reference to the old page. */
static void replaced_page_is_freed_at_once(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage;
	LIST_HEAD(list);

	needs_migration(test);
	zspage = obj_zspage(fill_zspage(t, long_size(test)));
	for (unsigned int i = 0; i < zspage->class->geo.pages; i++) {
		struct page *page = zpdesc_page(zspage->pages[i]);

		get_page(page);
		KUNIT_ASSERT_TRUE(test, isolate(page, &list));
		KUNIT_EXPECT_EQ(test, migrate(&list), 0);
		KUNIT_EXPECT_PTR_NE(test, zpdesc_page(zspage->pages[i]), page);
		KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
		/* The core may still come across it. */
		KUNIT_EXPECT_FALSE(test, isolate(page, &list));
		put_page(page);
	}
	expect_all_intact(t);
}

static void open_objects_do_not_prevent_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct page *old[ZS_MAX_PAGES];
	unsigned int pages, refused;
	struct obj *first, *o;
	struct target target = { .gfp = GFP_TEST };
	struct scatterlist sg[2];
	struct zspage *zspage;
	LIST_HEAD(list);
	u8 *mem;

	needs_migration(test);
	first = fill_zspage(t, long_size(test));
	zspage = obj_zspage(first);
	pages = zspage->class->geo.pages;
	for (unsigned int i = 0; i < pages; i++) {
		old[i] = zpdesc_page(zspage->pages[i]);
		get_page(old[i]);
	}

	/* One object open in place, and one that straddles, as a list */
	mem = zs_obj_read_begin(t->pool, first->handle, first->size, t->copy);
	KUNIT_ASSERT_PTR_NE(test, mem, t->copy);
	for (o = first + 1;; o++) {
		KUNIT_ASSERT_PTR_NE(test, o, &t->objs[t->nr]);
		zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
		if (sg_nents(sg) == 2)
			break;
		zs_obj_read_sg_end(t->pool, o->handle);
	}

	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages);
	KUNIT_EXPECT_EQ(test, migrate_to(&list, &target, MIGRATE_ASYNC), 0);
	for (unsigned int i = 0; i < pages; i++) {
		KUNIT_EXPECT_PTR_NE(test, zpdesc_page(zspage->pages[i]), old[i]);
		/* This test's reference, and the open objects' */
		KUNIT_EXPECT_EQ(test, page_ref_count(old[i]), 2);
	}
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, pages);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	KUNIT_EXPECT_EQ(test, all_zspages() - t->pages_before, pages);

	/* Held back once over is enough. */
	refused = pages - isolate_zspage(zspage, &list);
	KUNIT_EXPECT_EQ(test, refused, pages);

	/* Others are read and written meanwhile */
	for (unsigned int i = 1; i < t->nr; i++)
		if (&t->objs[i] != o)
			obj_write(t, &t->objs[i]);
	expect_all_intact(t);

	fill(t->want, first->size, first->seed);
	KUNIT_EXPECT_MEMEQ(test, mem, t->want, first->size);
	fill(t->want, o->size, o->seed);
	sg_copy_to_buffer(sg, sg_nents(sg), t->copy, o->size);
	KUNIT_EXPECT_MEMEQ(test, t->copy, t->want, o->size);

	zs_obj_read_sg_end(t->pool, o->handle);
	KUNIT_EXPECT_EQ(test, page_ref_count(old[0]), 2);
	zs_obj_read_end(t->pool, first->handle, first->size, mem);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 0);
	for (unsigned int i = 0; i < pages; i++) {
		KUNIT_EXPECT_EQ(test, page_ref_count(old[i]), 1);
		put_page(old[i]);
	}

	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages);
	KUNIT_EXPECT_EQ(test, migrate(&list), 0);
	expect_all_intact(t);
}

static void expect_refs(struct zst *t, struct page *page, int refs)
{
	KUNIT_EXPECT_EQ(t->test, page_ref_count(page), refs);
	put_page(page);
}

/* One of them always has an object open, but none has one open for long. */
static void overlapping_readers_release_replaced_pages(struct kunit *test)
{
	struct zst *t = test->priv;
	struct scatterlist sg[2][2];
	struct zspage *zspage;
	struct obj *o;

	needs_migration(test);
	o = fill_zspage(t, long_size(test));
	zspage = obj_zspage(o);
	zs_obj_read_sg_begin(t->pool, o[0].handle, sg[0], o->size);
	for (int i = 0; i < 1000; i++) {
		unsigned int now = i % 2, next = !now;
		struct page *old = replace_first_page(t, zspage, MIGRATE_ASYNC);

		zs_obj_read_sg_begin(t->pool, o[next].handle, sg[next], o->size);
		KUNIT_ASSERT_EQ(test, zspage->nr_stale, 1);
		sg_copy_to_buffer(sg[now], sg_nents(sg[now]), t->copy, o->size);
		fill(t->want, o->size, o[now].seed);
		KUNIT_ASSERT_MEMEQ(test, t->copy, t->want, o->size);
		zs_obj_read_sg_end(t->pool, o[now].handle);
		KUNIT_ASSERT_EQ(test, zspage->nr_stale, 0);
		expect_refs(t, old, 1);
	}
	zs_obj_read_sg_end(t->pool, o[0].handle);
	expect_all_intact(t);
}

/* Without memory to note them, later readers hold the page, too. */
static void late_reader_without_memory_holds_the_page(struct kunit *test)
{
	struct zst *t = test->priv;
	struct scatterlist sg[3][2];
	struct zspage *zspage;
	struct page *old;
	struct obj *o;

	needs_migration(test);
	o = fill_zspage(t, long_size(test));
	zspage = obj_zspage(o);
	zs_obj_read_sg_begin(t->pool, o[0].handle, sg[0], o->size);
	old = replace_first_page(t, zspage, MIGRATE_ASYNC);
	kunit_activate_static_stub(test, zs_alloc_late, no_memory_for);
	zs_obj_read_sg_begin(t->pool, o[1].handle, sg[1], o->size);
	kunit_deactivate_static_stub(test, zs_alloc_late);
	/* With memory again */
	zs_obj_read_sg_begin(t->pool, o[2].handle, sg[2], o->size);
	zs_obj_read_sg_end(t->pool, o[0].handle);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 1);
	zs_obj_read_sg_end(t->pool, o[1].handle);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 0);
	expect_refs(t, old, 1);
	zs_obj_read_sg_end(t->pool, o[2].handle);
	expect_all_intact(t);
}

static void *notes_of_cache(size_t size)
{
	struct zst *t = current_zst();
	void *notes = kmem_cache_zalloc(t->cache, GFP_NOWAIT);

	act_meanwhile(t);
	return notes;
}

/* The notes are freed with their round: the cache is empty then. */
static void notes_of_late_pins_are_freed(struct kunit *test)
{
	struct zst *t = test->priv;
	struct scatterlist sg[3][2];
	struct zspage *zspage;
	struct obj *o;

	needs_migration(test);
	o = fill_zspage(t, long_size(test));
	zspage = obj_zspage(o);
	t->cache = private_cache(test, "kunit-zs-notes", zspage->class->geo.slots);
	kunit_activate_static_stub(test, zs_alloc_late, notes_of_cache);
	zs_obj_read_sg_begin(t->pool, o[0].handle, sg[0], o->size);
	put_page(replace_first_page(t, zspage, MIGRATE_ASYNC));
	put_page(replace_first_page(t, zspage, MIGRATE_ASYNC));
	zs_obj_read_sg_begin(t->pool, o[1].handle, sg[1], o->size);
	zs_obj_read_sg_begin(t->pool, o[2].handle, sg[2], o->size);
	KUNIT_EXPECT_NOT_NULL(test, *zspage_late(zspage));
	zs_obj_read_sg_end(t->pool, o[1].handle);
	zs_obj_read_sg_end(t->pool, o[0].handle);
	zs_obj_read_sg_end(t->pool, o[2].handle);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 0);
	kunit_deactivate_static_stub(test, zs_alloc_late);
	expect_all_freed_to(test, t->cache);
	expect_all_intact(t);
}

static void another_late_reader(struct zst *t)
{
	zs_obj_read_sg_begin(t->pool, t->objs[2].handle, t->busy_sg, t->objs[2].size);
}

static void end_of_the_round(struct zst *t)
{
	zs_obj_read_sg_end(t->pool, t->objs[0].handle);
}

static const struct vain_notes {
	const char *name;
	void (*meanwhile)(struct zst *t);
} vain_notes[] = {
	{ "another reader has allocated them", another_late_reader },
	{ "the round has ended", end_of_the_round },
};

KUNIT_ARRAY_PARAM_DESC(vain_notes, vain_notes, name);

/* Notes that turn out not to be needed after they were allocated */
static void notes_allocated_in_vain_are_freed(struct kunit *test)
{
	const struct vain_notes *vain = test->param_value;
	bool round_ends = vain->meanwhile == end_of_the_round;
	struct zst *t = test->priv;
	struct scatterlist sg[2][2];
	struct zspage *zspage;
	struct obj *o;

	needs_migration(test);
	o = fill_zspage(t, long_size(test));
	zspage = obj_zspage(o);
	t->cache = private_cache(test, "kunit-zs-notes", zspage->class->geo.slots);
	kunit_activate_static_stub(test, zs_alloc_late, notes_of_cache);
	zs_obj_read_sg_begin(t->pool, o[0].handle, sg[0], o->size);
	put_page(replace_first_page(t, zspage, MIGRATE_ASYNC));
	t->meanwhile = vain->meanwhile;
	zs_obj_read_sg_begin(t->pool, o[1].handle, sg[1], o->size);
	KUNIT_EXPECT_NULL(test, t->meanwhile);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, !round_ends);
	if (!round_ends) {
		/* Both late pins are noted: neither holds the replaced page. */
		zs_obj_read_sg_end(t->pool, o[0].handle);
		KUNIT_EXPECT_EQ(test, zspage->nr_stale, 0);
		zs_obj_read_sg_end(t->pool, o[2].handle);
	}
	zs_obj_read_sg_end(t->pool, o[1].handle);
	kunit_deactivate_static_stub(test, zs_alloc_late);
	expect_all_freed_to(test, t->cache);
	expect_quiet(t);
	expect_all_intact(t);
}

/* More readers of one object than can be noted hold the page, too. */
static void late_readers_beyond_the_notes_hold_the_page(struct kunit *test)
{
	struct zst *t = test->priv;
	struct scatterlist sg[2];
	struct zspage *zspage;
	struct page *old;
	struct obj *o;

	needs_migration(test);
	o = fill_zspage(t, long_size(test));
	zspage = obj_zspage(o);
	zs_obj_read_sg_begin(t->pool, o[0].handle, sg, o->size);
	old = replace_first_page(t, zspage, MIGRATE_ASYNC);
	for (int i = 0; i < U8_MAX + 2; i++)
		zs_obj_read_sg_begin(t->pool, o[1].handle, sg, o->size);
	zs_obj_read_sg_end(t->pool, o[0].handle);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 1);
	for (int i = 0; i < U8_MAX + 2; i++) {
		KUNIT_EXPECT_EQ(test, zspage->nr_stale, 1);
		zs_obj_read_sg_end(t->pool, o[1].handle);
	}
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 0);
	expect_refs(t, old, 1);
	expect_all_intact(t);
}

/*
 * What was written is lost, and the pages move: as if they had been copied before
 * it was written.
 */
static void lose_what_was_written(const char *point)
{
	struct kunit *test = kunit_get_current_test();
	struct zspage *zspage;
	unsigned int size, slot;
	struct zst *t;
	LIST_HEAD(list);

	/* Other threads come by here, too. They belong to no test. */
	if (!test || strcmp(point, "written"))
		return;
	t = test->priv;
	t->unlucky.tries++;
	if (!t->unlucky.losses)
		return;
	t->unlucky.losses--;
	zspage = zs_decode_location(t->unlucky.obj->handle, &slot);
	size = zspage->class->geo.size;
	for (unsigned int i = 0; i < t->unlucky.obj->size; i++) {
		u8 *byte = map_byte(zspage, slot * size + i);

		*byte = ~*byte;
		kunmap_local(byte);
	}
	/* One page, as only so many may be held back by the writer's pin. */
	if (isolate(zpdesc_page(zspage->pages[0]), &list) && !migrate(&list))
		t->unlucky.moved++;
}

static const struct lost_tries {
	const char *name;
	unsigned int nr;
} lost_tries[] = {
	{ "one try lost", 1 },
	{ "two tries lost", 2 },
};

KUNIT_ARRAY_PARAM_DESC(lost_tries, lost_tries, name);

/* All of the object, wherever its pages are by then, and nothing else */
static void write_is_repeated_as_a_whole(struct kunit *test)
{
	const struct lost_tries *lost = test->param_value;
	struct zst *t = test->priv;

	if (!IS_ENABLED(CONFIG_ZSMALLOC_RACE_POINTS))
		kunit_skip(test, "no race points");
	needs_migration(test);
	fill_zspage(t, long_size(test));
	for (unsigned int i = 0; i < t->nr; i++) {
		t->unlucky.obj = &t->objs[i];
		t->unlucky.losses = lost->nr;
		t->unlucky.tries = 0;
		t->unlucky.moved = 0;
		WRITE_ONCE(zs_race_hook, lose_what_was_written);
		obj_write(t, t->unlucky.obj);
		WRITE_ONCE(zs_race_hook, NULL);
		KUNIT_ASSERT_EQ(test, t->unlucky.moved, lost->nr);
		KUNIT_EXPECT_EQ(test, t->unlucky.tries, lost->nr + 1);
		expect_all_intact(t);
		expect_quiet(t);
	}
}

static void isolated_pages_can_be_put_back(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage;
	unsigned int pages;
	LIST_HEAD(list);

	needs_migration(test);
	zspage = obj_zspage(fill_zspage(t, long_size(test)));
	pages = zspage->class->geo.pages;
	for (int round = 0; round < 3; round++) {
		KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages);
		KUNIT_EXPECT_EQ(test, zspage->isolated, pages);
		/* Not twice */
		KUNIT_EXPECT_FALSE(test, isolate(zpdesc_page(zspage->pages[0]),
						 &list));
		expect_all_intact(t);
		putback_movable_pages(&list);
		KUNIT_EXPECT_EQ(test, zspage->isolated, 0);
		expect_all_intact(t);
	}
}

static void zspage_can_be_isolated_in_part(struct kunit *test)
{
	struct zst *t = test->priv;
	LIST_HEAD(moving);
	LIST_HEAD(staying);
	struct zpdesc *last;
	struct zspage *zspage;
	unsigned int pages;

	needs_migration(test);
	zspage = obj_zspage(fill_zspage(t, long_size(test)));
	pages = zspage->class->geo.pages;
	last = zspage->pages[pages - 1];
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[0]), &moving));
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(last), &staying));
	KUNIT_EXPECT_EQ(test, zspage->isolated, 2);
	KUNIT_EXPECT_EQ(test, migrate(&moving), 0);
	KUNIT_EXPECT_EQ(test, zspage->isolated, 1);
	expect_all_intact(t);
	putback_movable_pages(&staying);
	KUNIT_EXPECT_EQ(test, zspage->isolated, 0);
	KUNIT_EXPECT_PTR_EQ(test, zspage->pages[pages - 1], last);
	expect_all_intact(t);
}

static int cannot_be_read(struct zpdesc *new, struct zpdesc *old)
{
	return -EHWPOISON;
}

/* A page without a target, and pages that turn out to be unreadable */
static void failed_migration_changes_nothing(struct kunit *test)
{
	struct zst *t = test->priv;
	struct target target = { .gfp = GFP_TEST, .failing = 1 };
	struct zpdesc *was[ZS_MAX_PAGES];
	struct zspage *zspage;
	unsigned int pages;
	LIST_HEAD(list);

	needs_migration(test);
	zspage = obj_zspage(fill_zspage(t, long_size(test)));
	pages = zspage->class->geo.pages;
	memcpy(was, zspage->pages, pages * sizeof(*was));

	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(was[0]), &list));
	KUNIT_EXPECT_NE(test, migrate_to(&list, &target, MIGRATE_SYNC), 0);

	kunit_activate_static_stub(test, zs_copy_page, cannot_be_read);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages);
	KUNIT_EXPECT_EQ(test, migrate(&list), pages);
	kunit_deactivate_static_stub(test, zs_copy_page);

	KUNIT_EXPECT_MEMEQ(test, was, zspage->pages, pages * sizeof(*was));
	expect_quiet(t);
	expect_all_intact(t);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages);
	KUNIT_EXPECT_EQ(test, migrate(&list), 0);
	expect_all_intact(t);
}

static void expect_migrated(struct zst *t, long nr_free, long held, long failed)
{
	KUNIT_EXPECT_EQ(t->test, atomic_long_read(&t->pool->migrated_free), nr_free);
	KUNIT_EXPECT_EQ(t->test, atomic_long_read(&t->pool->migrated_held), held);
	KUNIT_EXPECT_EQ(t->test, atomic_long_read(&t->pool->not_migrated), failed);
}

/* Each migration of a page is counted once, by how it ended. */
static void migrations_are_counted(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = fill_zspage(t, long_size(test));
	unsigned int pages = obj_zspage(o)->class->geo.pages;
	struct target target = { .gfp = GFP_TEST };
	struct scatterlist sg[2];
	LIST_HEAD(list);

	needs_migration(test);
	isolate_zspage(obj_zspage(o), &list);
	KUNIT_EXPECT_EQ(test, migrate_to(&list, &target, MIGRATE_ASYNC), 0);
	expect_migrated(t, pages, 0, 0);
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	isolate_zspage(obj_zspage(o), &list);
	KUNIT_EXPECT_EQ(test, migrate_to(&list, &target, MIGRATE_ASYNC), 0);
	expect_migrated(t, pages, pages, 0);
	zs_obj_read_sg_end(t->pool, o->handle);
	kunit_activate_static_stub(test, zs_copy_page, cannot_be_read);
	isolate_zspage(obj_zspage(o), &list);
	KUNIT_EXPECT_EQ(test, migrate_to(&list, &target, MIGRATE_ASYNC), pages);
	kunit_deactivate_static_stub(test, zs_copy_page);
	expect_migrated(t, pages, pages, pages);
	expect_all_intact(t);
}

static void count_waits(const char *point)
{
	struct kunit *test = kunit_get_current_test();
	struct zst *t;

	/* Other threads come by here, too. They belong to no test. */
	if (!test || strcmp(point, "stale_wait"))
		return;
	t = test->priv;
	t->patience.waits++;
	if (t->patience.close)
		zs_obj_read_sg_end(t->pool, t->objs[0].handle);
}

static unsigned int count_waits_of_migration(struct zst *t, enum migrate_mode mode)
{
	struct target target = { .gfp = GFP_TEST };
	LIST_HEAD(list);

	t->patience.waits = 0;
	t->patience.close = false;
	WRITE_ONCE(zs_race_hook, count_waits);
	KUNIT_EXPECT_GT(t->test, isolate_pool(t->pool, &list), 0);
	KUNIT_EXPECT_EQ(t->test, migrate_to(&list, &target, mode), 0);
	WRITE_ONCE(zs_race_hook, NULL);
	return t->patience.waits;
}

/*
 * @page, which was replaced, is not isolated. If @close, the first wait ends as the reader
 * of objs[0] closes it.
 */
static unsigned int count_waits_of_isolation(struct zst *t, struct page *page,
					     isolate_mode_t mode, bool close)
{
	t->patience.waits = 0;
	t->patience.close = close;
	WRITE_ONCE(zs_race_hook, count_waits);
	KUNIT_EXPECT_FALSE(t->test, isolate_movable_ops_page(page, mode));
	WRITE_ONCE(zs_race_hook, NULL);
	return t->patience.waits;
}

static const struct any_mode {
	const char *name;
	enum migrate_mode mode;
} any_modes[] = {
	{ "MIGRATE_ASYNC", MIGRATE_ASYNC },
	{ "MIGRATE_SYNC_LIGHT", MIGRATE_SYNC_LIGHT },
	{ "MIGRATE_SYNC", MIGRATE_SYNC },
};

KUNIT_ARRAY_PARAM_DESC(any_modes, any_modes, name);

/* The core may have unmapped other pages: nothing may wait before they are mapped. */
static void migration_does_not_wait_for_readers(struct kunit *test)
{
	const struct any_mode *any = test->param_value;
	const unsigned int zspages = 32;
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct scatterlist sg[2];
	unsigned int slots;

	needs_migration(test);
	for (unsigned int i = 0; i < zspages; i++)
		fill_zspage(t, size);
	slots = t->nr / zspages;
	for (unsigned int i = 0; i < zspages; i++)
		zs_obj_read_sg_begin(t->pool, t->objs[i * slots].handle, sg, size);
	KUNIT_EXPECT_EQ(test, count_waits_of_migration(t, any->mode), 0);
	for (unsigned int i = 0; i < zspages; i++) {
		struct obj *o = &t->objs[i * slots];

		KUNIT_EXPECT_EQ(test, obj_zspage(o)->nr_stale,
				obj_zspage(o)->class->geo.pages);
		zs_obj_read_sg_end(t->pool, o->handle);
	}
	expect_quiet(t);
	expect_all_intact(t);
}

static unsigned long short_timeout(void)
{
	return 1;
}

/*
 * CMA and memory offlining want the memory, and may sleep: they wait for the readers of a
 * page that was replaced, but not for ever, and not for the next ones if that was in vain.
 */
static void isolation_waits_for_readers(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = fill_zspage(t, long_size(test));
	struct scatterlist sg[2];
	struct page *old;

	needs_migration(test);
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	old = replace_first_page(t, obj_zspage(o), MIGRATE_SYNC);
	KUNIT_EXPECT_EQ(test, count_waits_of_isolation(t, old, ISOLATE_ASYNC_MIGRATE, false),
			0);
	kunit_activate_static_stub(test, zs_stale_timeout, short_timeout);
	KUNIT_EXPECT_EQ(test, count_waits_of_isolation(t, old, ISOLATE_UNEVICTABLE, false), 1);
	kunit_deactivate_static_stub(test, zs_stale_timeout);
	KUNIT_EXPECT_EQ(test, count_waits_of_isolation(t, old, ISOLATE_UNEVICTABLE, false), 0);
	kunit_activate_static_stub(test, zs_stale_timeout, short_timeout);
	KUNIT_EXPECT_EQ(test, count_waits_of_isolation(t, old, ISOLATE_UNEVICTABLE, true), 1);
	KUNIT_EXPECT_EQ(test, count_waits_of_isolation(t, old, ISOLATE_UNEVICTABLE, false), 0);
	kunit_deactivate_static_stub(test, zs_stale_timeout);
	KUNIT_EXPECT_EQ(test, page_ref_count(old), 1);
	put_page(old);
	expect_quiet(t);
	expect_all_intact(t);
}

/* After a wait in vain, there are waits again when the pause is over. */
static void isolation_waits_again_later(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = fill_zspage(t, long_size(test));
	struct scatterlist sg[2];
	struct page *old;

	needs_migration(test);
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	old = replace_first_page(t, obj_zspage(o), MIGRATE_SYNC);
	kunit_activate_static_stub(test, zs_stale_timeout, short_timeout);
	KUNIT_EXPECT_EQ(test, count_waits_of_isolation(t, old, ISOLATE_UNEVICTABLE, false), 1);
	kunit_deactivate_static_stub(test, zs_stale_timeout);
	KUNIT_EXPECT_EQ(test, zs_stale_timeout(), 0);
	for (int tries = 100; !zs_stale_timeout(); msleep(20))
		KUNIT_ASSERT_GT(test, tries--, 0);
	KUNIT_EXPECT_EQ(test, count_waits_of_isolation(t, old, ISOLATE_UNEVICTABLE, false), 1);
	zs_obj_read_sg_end(t->pool, o->handle);
	put_page(old);
	expect_quiet(t);
	expect_all_intact(t);
}

static int copies_are_counted(struct zpdesc *new, struct zpdesc *old)
{
	current_zst()->nr_copies++;
	copy_highpage(zpdesc_page(new), zpdesc_page(old));
	return 0;
}

/* It is not even isolated, and not copied if it went bad after that. */
static void bad_page_is_not_migrated(struct kunit *test)
{
	struct zst *t = test->priv;
	struct page *first, *last;
	struct zspage *zspage;
	unsigned int pages;
	LIST_HEAD(list);

	needs_migration(test);
	zspage = obj_zspage(fill_zspage(t, long_size(test)));
	pages = zspage->class->geo.pages;
	first = zpdesc_page(zspage->pages[0]);
	last = zpdesc_page(zspage->pages[pages - 1]);

	go_bad(t, first);
	KUNIT_EXPECT_FALSE(test, isolate(first, &list));
	KUNIT_EXPECT_EQ(test, zspage->isolated, 0);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages - 1);

	go_bad(t, last);
	t->nr_copies = 0;
	kunit_activate_static_stub(test, zs_copy_page, copies_are_counted);
	KUNIT_EXPECT_EQ(test, migrate(&list), 1);
	kunit_deactivate_static_stub(test, zs_copy_page);
	KUNIT_EXPECT_EQ(test, t->nr_copies, pages - 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&t->pool->migrated_free), pages - 2);
	/* The core may have tried it more than once. */
	KUNIT_EXPECT_GT(test, atomic_long_read(&t->pool->not_migrated), 0);

	KUNIT_EXPECT_PTR_EQ(test, zpdesc_page(zspage->pages[0]), first);
	KUNIT_EXPECT_PTR_EQ(test, zpdesc_page(zspage->pages[pages - 1]), last);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	expect_quiet(t);
	expect_all_intact(t);
}

/* The real flag; see go_bad() for other tests. */
static void pages_marked_by_memory_failure_are_bad(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage;
	struct page *page;
	LIST_HEAD(list);

	needs_migration(test);
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no CONFIG_MEMORY_FAILURE");
	zspage = obj_zspage(obj_alloc(t, PAGE_SIZE));
	page = zpdesc_page(zspage->pages[0]);
	SetPageHWPoison(page);
	KUNIT_EXPECT_FALSE(test, isolate(page, &list));
	ClearPageHWPoison(page);
	KUNIT_ASSERT_TRUE(test, isolate(page, &list));
	SetPageHWPoison(page);
	KUNIT_EXPECT_EQ(test, migrate(&list), 1);
	ClearPageHWPoison(page);
	KUNIT_EXPECT_PTR_EQ(test, zpdesc_page(zspage->pages[0]), page);
	expect_all_intact(t);
}

static struct folio *new_folio_with_tag(struct folio *src, unsigned long private)
{
	struct folio *folio = folio_alloc(GFP_TEST, 0);
	u8 *tag = (u8 *)private;

	if (folio)
		*tag = page_kasan_tag(folio_page(folio, 0));
	return folio;
}

/* KASAN checks accesses to a page that was migrated, as to any other. */
static void migrated_page_has_its_own_kasan_tag(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage;
	struct page *page;
	LIST_HEAD(list);
	u8 tag = KASAN_TAG_KERNEL;

	needs_migration(test);
	if (!IS_ENABLED(CONFIG_KASAN_SW_TAGS) && !IS_ENABLED(CONFIG_KASAN_HW_TAGS))
		kunit_skip(test, "pointers have no tags here");
	if (!kasan_enabled())
		kunit_skip(test, "nothing checks tags");
	zspage = obj_zspage(obj_alloc(t, PAGE_SIZE));
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[0]), &list));
	KUNIT_EXPECT_EQ(test, migrate_pages(&list, new_folio_with_tag, NULL,
					    (unsigned long)&tag, MIGRATE_SYNC,
					    MR_COMPACTION, NULL), 0);
	page = zpdesc_page(zspage->pages[0]);
	KUNIT_EXPECT_NE(test, tag, KASAN_TAG_KERNEL);
	KUNIT_EXPECT_EQ(test, page_kasan_tag(page), tag);
	expect_all_intact(t);
}

static const struct end_of_isolation {
	const char *name;
	bool migrates;
} ends_of_isolation[] = {
	{ "putback" },
	{ "migration", .migrates = true },
};

KUNIT_ARRAY_PARAM_DESC(ends_of_isolation, ends_of_isolation, name);

/* By the end of the last isolation; that of the other page ends in the other way. */
static void zspage_emptied_while_isolated_is_freed(struct kunit *test)
{
	const struct end_of_isolation *end = test->param_value;
	struct zst *t = test->priv;
	struct zspage *zspage;
	unsigned int pages;
	LIST_HEAD(first);
	LIST_HEAD(last);

	needs_migration(test);
	zspage = obj_zspage(fill_zspage(t, long_size(test)));
	pages = zspage->class->geo.pages;
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[0]), &first));
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[1]), &last));
	free_all(t);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	KUNIT_EXPECT_EQ(test, zspage->fullness, ZS_EMPTY);

	end_isolation(t, &first, !end->migrates);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");

	end_isolation(t, &last, end->migrates);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
}

static void zspage_emptied_while_isolated_is_used_again(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct zspage *zspage;
	LIST_HEAD(list);

	needs_migration(test);
	zspage = obj_zspage(fill_zspage(t, size));
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[0]), &list));
	free_all(t);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, size)), zspage);
	KUNIT_EXPECT_EQ(test, migrate(&list), 0);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool),
			zspage->class->geo.pages);
	expect_all_intact(t);
}

static void locked_page_defers_freeing(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int pages;
	struct page *page;
	LIST_HEAD(list);

	obj_alloc(t, long_size(test));
	pages = pool_pages(t->pool);
	page = zpdesc_page(obj_zspage(&t->objs[0])->pages[1]);
	get_page(page);
	lock_page(page);
	free_all(t);
	msleep(20);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	unlock_page(page);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	/* The core comes too late */
	KUNIT_EXPECT_FALSE(test, isolate(page, &list));
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	put_page(page);
}

/* The tries of the worker, which belongs to no test, to free zspages */
static struct {
	unsigned int nr;	/* failed tries since the last zspage was freed */
	unsigned int freed;	/* zspages */
	unsigned long last;	/* the time of the last failed try, in jiffies */
	unsigned long gap;	/* the time from the first of these tries to the second */
	unsigned int late;	/* tries in a row that came after the longest delay */
	struct work_struct *work;	/* the worker's */
} tries;

/* ZS_MAX_DELAY of the worker */
#define LONGEST_DELAY	(HZ / 10)

static void note_tries(const char *point)
{
	unsigned long gap;

	if (!strcmp(point, "deferred_lock")) {
		WRITE_ONCE(tries.nr, 0);
		WRITE_ONCE(tries.freed, tries.freed + 1);
	} else if (!strcmp(point, "deferred_again")) {
		gap = jiffies - tries.last;
		tries.last = jiffies;
		tries.work = current_work();
		WRITE_ONCE(tries.late, gap < LONGEST_DELAY ? 0 : tries.late + 1);
		if (tries.nr == 1)
			tries.gap = gap;
		WRITE_ONCE(tries.nr, tries.nr + 1);
	}
}

/* An object in a page of its own is freed while that is locked. */
static struct page *free_with_locked_page(struct zst *t)
{
	struct page *page = zpdesc_page(obj_zspage(obj_alloc(t, PAGE_SIZE))->pages[0]);

	get_page(page);
	lock_page(page);
	free_all(t);
	return page;
}

static void unlock_and_put(struct page *page)
{
	unlock_page(page);
	put_page(page);
}

/* Wait until @count, of the worker, is at least @least, for up to ten seconds. */
static void expect_at_least(struct kunit *test, unsigned int least, unsigned int *count)
{
	for (int ms = 0; ms < 10000 && READ_ONCE(*count) < least; ms += 20)
		msleep(20);
	KUNIT_EXPECT_GE(test, READ_ONCE(*count), least);
}

/* The time since the try before the first one is unknown, and may be long. */
static void wait_for_longest_delay(struct kunit *test)
{
	WRITE_ONCE(tries.late, 0);
	expect_at_least(test, 3, &tries.late);
}

/*
 * The worker tries a locked page again after a delay, which is doubled from try to try
 * up to a limit. If no zspage is left, the worker does not run, and the delay is short
 * for the next one. It is also short after a zspage was freed.
 */
static void worker_delays_its_tries(struct kunit *test)
{
	bool short_at_first = false, short_after_a_free = false;
	struct zst *t = test->priv;

	WRITE_ONCE(zs_race_hook, note_tries);
	/* On a busy machine a try may come late, but none comes early. */
	for (int n = 0; n < 5 && !(short_at_first && short_after_a_free); n++) {
		struct page *left, *other;

		if (test->status == KUNIT_FAILURE)
			break;
		left = free_with_locked_page(t);
		wait_for_longest_delay(test);
		unlock_and_put(left);
		zst_flush_deferred(test);
		KUNIT_EXPECT_FALSE(test, tries.work && work_pending(tries.work));

		left = free_with_locked_page(t);
		expect_at_least(test, 2, &tries.nr);
		short_at_first |= tries.gap < LONGEST_DELAY;
		wait_for_longest_delay(test);

		WRITE_ONCE(tries.freed, 0);
		other = free_with_locked_page(t);
		unlock_and_put(other);
		expect_at_least(test, 1, &tries.freed);
		expect_at_least(test, 2, &tries.nr);
		short_after_a_free |= tries.gap < LONGEST_DELAY;
		unlock_and_put(left);
		zst_flush_deferred(test);
	}
	WRITE_ONCE(zs_race_hook, NULL);
	KUNIT_EXPECT_TRUE(test, short_at_first);
	KUNIT_EXPECT_TRUE(test, short_after_a_free);
}

static void dead_zspage_is_not_isolated(struct kunit *test)
{
	struct zst *t = test->priv;
	struct page *locked, *page;
	struct zspage *zspage;
	LIST_HEAD(list);

	needs_migration(test);
	obj_alloc(t, long_size(test));
	zspage = obj_zspage(&t->objs[0]);
	locked = zpdesc_page(zspage->pages[0]);
	page = zpdesc_page(zspage->pages[1]);
	get_page(page);
	get_page(locked);
	/* The worker waits for the first page, and the second is not locked. */
	lock_page(locked);
	free_all(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_DEAD);
	KUNIT_EXPECT_FALSE(test, isolate(page, &list));
	unlock_page(locked);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	put_page(locked);
	put_page(page);
}

/* NR_ZSPAGES of each zone, by where the pages of the pool are */
static void expect_zone_counters(struct zst *t, const unsigned long *before)
{
	struct zone *zone;
	int i = 0;

	for_each_populated_zone(zone) {
		struct size_class *class;
		unsigned long here = 0;

		for_each_class(class, t->pool, NUMA_NO_NODE)
			for (int f = 0; f < ZS_NR_FULLNESS; f++) {
				struct zspage *zspage;

				list_for_each_entry(zspage, &class->zspages[f], list)
					for (int p = 0; p < class->geo.pages; p++)
						here += page_zone(zpdesc_page(zspage->pages[p])) ==
							zone;
			}
		KUNIT_EXPECT_EQ(t->test, zone_page_state_snapshot(zone, NR_ZSPAGES),
				before[i++] + here);
	}
}

static void zone_counters_follow_migration(struct kunit *test)
{
	struct target there = { .gfp = GFP_KERNEL | GFP_DMA };
	struct target back = { .gfp = GFP_KERNEL };
	struct zone *zone, *from, *to;
	struct zst *t = test->priv;
	unsigned long before[32];
	struct zspage *zspage;
	struct page *page;
	unsigned int last;
	LIST_HEAD(list);
	int nr = 0;

	needs_migration(test);
	if (!IS_ENABLED(CONFIG_ZONE_DMA))
		kunit_skip(test, "no ZONE_DMA to migrate to");
	for_each_populated_zone(zone) {
		KUNIT_ASSERT_LT(test, nr, ARRAY_SIZE(before));
		before[nr++] = zone_page_state_snapshot(zone, NR_ZSPAGES);
	}
	zspage = obj_zspage(fill_zspage(t, param_size(test)));
	last = zspage->class->geo.pages - 1;
	from = page_zone(zpdesc_page(zspage->pages[last]));
	to = &NODE_DATA(first_memory_node)->node_zones[0];
	if (from == to || !populated_zone(to))
		kunit_skip(test, "one zone only");
	/* On a mips with 16 MB of ZONE_DMA, the kernel itself may be in all of it. */
	page = alloc_page(there.gfp | __GFP_NOWARN);
	if (!page)
		kunit_skip(test, "no free page in ZONE_DMA");
	__free_page(page);
	expect_zone_counters(t, before);

	/* One of its pages, and back; the rest stays where it was. */
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[last]), &list));
	KUNIT_ASSERT_EQ(test, migrate_to(&list, &there, MIGRATE_SYNC), 0);
	KUNIT_ASSERT_PTR_EQ(test, page_zone(zpdesc_page(zspage->pages[last])), to);
	expect_zone_counters(t, before);
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[last]), &list));
	KUNIT_ASSERT_EQ(test, migrate_to(&list, &back, MIGRATE_SYNC), 0);
	KUNIT_ASSERT_PTR_NE(test, page_zone(zpdesc_page(zspage->pages[last])), to);
	expect_zone_counters(t, before);

	/* A page that cannot be copied counts where it stays. */
	kunit_activate_static_stub(test, zs_copy_page, cannot_be_read);
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[last]), &list));
	KUNIT_ASSERT_EQ(test, migrate_to(&list, &there, MIGRATE_SYNC), 1);
	kunit_deactivate_static_stub(test, zs_copy_page);
	expect_zone_counters(t, before);

	/* Pages of two zones are freed. */
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(zspage->pages[last]), &list));
	KUNIT_ASSERT_EQ(test, migrate_to(&list, &there, MIGRATE_SYNC), 0);
	free_all(t);
	zs_flush_deferred();
	expect_zone_counters(t, before);
}

static void pool_destroyed_while_pages_are_isolated(struct kunit *test)
{
	const struct end_of_isolation *end = test->param_value;
	struct zst *t = test->priv;
	unsigned int pages;
	LIST_HEAD(list);

	needs_migration(test);
	obj_alloc(t, long_size(test));
	obj_alloc(t, PAGE_SIZE);
	pages = isolate_pool(t->pool, &list);
	KUNIT_EXPECT_EQ(test, pages, pool_pages(t->pool));
	free_all(t);
	zst_destroy(t);
	KUNIT_EXPECT_EQ(test, all_zspages() - t->pages_before, pages);
	end_isolation(t, &list, end->migrates);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
}

static struct kunit_case migration_cases[] = {
	KUNIT_CASE(every_page_migrates_and_keeps_its_bytes),
	KUNIT_CASE(replaced_page_is_freed_at_once),
	KUNIT_CASE(open_objects_do_not_prevent_migration),
	KUNIT_CASE(overlapping_readers_release_replaced_pages),
	KUNIT_CASE(late_reader_without_memory_holds_the_page),
	KUNIT_CASE(notes_of_late_pins_are_freed),
	KUNIT_CASE_PARAM(notes_allocated_in_vain_are_freed, vain_notes_gen_params),
	KUNIT_CASE(late_readers_beyond_the_notes_hold_the_page),
	KUNIT_CASE_PARAM(write_is_repeated_as_a_whole, lost_tries_gen_params),
	KUNIT_CASE(isolated_pages_can_be_put_back),
	KUNIT_CASE(zspage_can_be_isolated_in_part),
	KUNIT_CASE(failed_migration_changes_nothing),
	KUNIT_CASE(migrations_are_counted),
	KUNIT_CASE_PARAM(migration_does_not_wait_for_readers, any_modes_gen_params),
	KUNIT_CASE(isolation_waits_for_readers),
	KUNIT_CASE(isolation_waits_again_later),
	KUNIT_CASE(bad_page_is_not_migrated),
	KUNIT_CASE(migrated_page_has_its_own_kasan_tag),
	KUNIT_CASE(pages_marked_by_memory_failure_are_bad),
	KUNIT_CASE_PARAM(zspage_emptied_while_isolated_is_freed, ends_of_isolation_gen_params),
	KUNIT_CASE(zspage_emptied_while_isolated_is_used_again),
	KUNIT_CASE(locked_page_defers_freeing),
	KUNIT_CASE(worker_delays_its_tries),
	KUNIT_CASE(dead_zspage_is_not_isolated),
	KUNIT_CASE_PARAM(zone_counters_follow_migration, long_and_page_gen_params),
	KUNIT_CASE_PARAM(pool_destroyed_while_pages_are_isolated, ends_of_isolation_gen_params),
	{ }
};

static struct kunit_suite migration_suite = {
	.name = "zsmalloc_migration",
	.init = zst_init,
	.exit = zst_exit,
	.test_cases = migration_cases,
};

kunit_test_suite(migration_suite);
