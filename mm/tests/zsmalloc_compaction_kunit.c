// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc: compaction, forwarders, guests and the shrinker
 */
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/tracepoint.h>
#include <trace/events/kmem.h>

#include "zsmalloc_kunit.h"

static struct size_class *obj_class(struct zst *t, const struct obj *o)
{
	return test_class(t, o->size);
}

static unsigned long class_zspages(struct size_class *class)
{
	unsigned long nr = 0;

	for (int f = 0; f < ZS_NR_FULLNESS; f++)
		nr += class->nr[f];
	return nr;
}

/* As few zspages as the class's live objects, counted by the test, can do with. */
static void expect_packed(struct zst *t, size_t size)
{
	struct size_class *class = test_class(t, size);
	unsigned int live = 0;

	for (unsigned int i = 0; i < t->nr; i++)
		live += obj_class(t, &t->objs[i]) == class;
	KUNIT_EXPECT_EQ(t->test, class->inuse, live);
	KUNIT_EXPECT_EQ(t->test, class_zspages(class),
			DIV_ROUND_UP(live, class->geo.slots));
}

static void compaction_packs_objects(struct kunit *test)
{
	static const u16 sizes[] = { 64, 208, 512, 1000, 1536, 2720, 3400 };
	struct zst *t = test->priv;
	unsigned long promised;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++)
		sparse_zspages(t, SCALED(sizes[i]), 6, 2);
	/* Of no use to compaction: full, and huge */
	fill_zspage(t, SCALED(96));
	obj_alloc(t, PAGE_SIZE);

	promised = zs_freeable_pages(t->pool, TEST_NODE);
	KUNIT_EXPECT_GT(test, promised, 0);
	KUNIT_EXPECT_GE(test, zst_compact(t), promised);
	for (int i = 0; i < ARRAY_SIZE(sizes); i++)
		expect_packed(t, SCALED(sizes[i]));
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
}

static void compaction_of_a_packed_pool_frees_nothing(struct kunit *test)
{
	struct zst *t = test->priv;

	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	obj_alloc(t, SCALED(100));
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	fill_zspage(t, SCALED(200));
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
}

static void forwarded_objects_can_be_written(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);

	sparse_zspages(t, size, 4, 2);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	KUNIT_ASSERT_GT(test, test_class(t, size)->forwarded, 0);
	for (unsigned int i = 0; i < t->nr; i++)
		obj_write(t, &t->objs[i]);
	expect_all_intact(t);
}

/* Guests of @host that come from another home than the first object */
static unsigned int others_in(struct zst *t, struct zspage *host)
{
	unsigned int nr = 0;

	for (unsigned int i = 1; i < t->nr; i++)
		nr += obj_is_forwarded(&t->objs[i]) &&
		      obj_host(&t->objs[i]) == host &&
		      obj_zspage(&t->objs[i]) != obj_zspage(&t->objs[0]);
	return nr;
}

static bool nth_copy_fails(struct zspage *dest, unsigned int dest_slot,
			   struct zspage *source, unsigned int source_slot)
{
	struct zst *t = current_zst();

	t->nr_copies++;
	if (fails_now(t))
		return false;
	zst_copy_slot(dest, dest_slot, source, source_slot);
	return true;
}

static bool copies_fail_from_nth_on(struct zspage *dest, unsigned int dest_slot,
				    struct zspage *source, unsigned int source_slot)
{
	struct zst *t = current_zst();

	if (++t->nr_copies >= t->nr_until_failure)
		return false;
	zst_copy_slot(dest, dest_slot, source, source_slot);
	return true;
}

/* It may sleep, as no lock is held. */
static void *nth_supply_fails(size_t size, gfp_t gfp)
{
	struct zst *t = current_zst();

	t->nr_supplies++;
	return fails_now(t) ? NULL : kmalloc(size, GFP_KERNEL);
}

/*
 * Stop at the @nth object to copy, then for want of the @nth piece of memory.
 * Objects that were moved until then stay where they are. Returns how many pages were
 * freed.
 */
static unsigned long compact_and_fail(struct zst *t, unsigned int nth)
{
	unsigned long freed;

	t->nr_copies = 0;
	t->nr_until_failure = nth;
	kunit_activate_static_stub(t->test, zs_copy_slot, copies_fail_from_nth_on);
	freed = zst_compact(t);
	kunit_deactivate_static_stub(t->test, zs_copy_slot);
	expect_quiet(t);

	t->nr_until_failure = nth;
	kunit_activate_static_stub(t->test, zs_alloc_supply, nth_supply_fails);
	freed += zst_compact(t);
	kunit_deactivate_static_stub(t->test, zs_alloc_supply);
	expect_quiet(t);
	t->nr_until_failure = 0;
	return freed;
}

/*
 * The first object's host is evacuated in turn, again and again, with guests
 * from several homes and natives of its own; still one hop away.
 */
static void objects_can_be_moved_many_times(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int guests = 0, natives = 0, homes = 0;
	unsigned long freed;

	sparse_zspages(t, SCALED(160), 3, 2);
	for (int round = 0; round < 20; round++) {
		struct zspage *host = obj_host(&t->objs[0]);
		unsigned long was = obj_where(&t->objs[0]);

		/* Few are left in there besides, and room elsewhere */
		for (unsigned int i = 1, natives_left = 1, guests_left = 3;
		     i < t->nr;) {
			struct obj *o = &t->objs[i];
			bool keep = true;

			if (obj_zspage(o) == host)
				keep = natives_left && natives_left--;
			else if (obj_host(o) == host)
				keep = obj_zspage(o) != obj_zspage(&t->objs[0]) &&
				       guests_left && guests_left--;
			if (keep)
				i++;
			else
				obj_free(t, o);
		}
		guests = max_t(unsigned int, guests, host->nr_guests);
		natives += host->inuse - host->nr_guests;
		homes += others_in(t, host);
		for (unsigned int i = 1; i < t->nr; i += 3)
			if (obj_host(&t->objs[i]) != host)
				obj_free(t, &t->objs[i]);

		freed = round % 2 ? compact_and_fail(t, round / 2 + 1) : 0;
		KUNIT_EXPECT_GT(test, freed + zst_compact(t), 0);
		KUNIT_EXPECT_NE(test, obj_where(&t->objs[0]), was);
		sparse_zspages(t, SCALED(160), 2, 2);
	}
	KUNIT_EXPECT_GE(test, guests, 2);
	KUNIT_EXPECT_GT(test, natives, 0);
	KUNIT_EXPECT_GT(test, homes, 0);
}

static void forwarders_are_freed_with_their_last_object(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = test_class(t, size);

	sparse_zspages(t, size, 10, 2);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	KUNIT_EXPECT_GT(test, class->nr_forwarders, 0);
	KUNIT_EXPECT_GT(test, pool_added(t->pool), 0);
	/* Hosts first, if they only have natives; forwarders keep their guests */
	while (t->nr) {
		unsigned int i = 0;

		while (i < t->nr - 1 && obj_is_forwarded(&t->objs[i]))
			i++;
		obj_free(t, &t->objs[i]);
		expect_all_intact(t);
	}
	KUNIT_EXPECT_EQ(test, class->nr_forwarders, 0);
	KUNIT_EXPECT_EQ(test, pool_added(t->pool), 0);
	KUNIT_EXPECT_EQ(test, class->forwarded, 0);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
}

static void double_free_through_a_forwarder_is_reported(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned long handle;

	sparse_zspages(t, size, 10, 2);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	for (unsigned int i = 0; i < t->nr; i++) {
		if (!obj_is_forwarded(&t->objs[i]) ||
		    obj_zspage(&t->objs[i])->nr_links < 2)
			continue;
		handle = t->objs[i].handle;
		obj_free(t, &t->objs[i]);
		kunit_warning_suppress(test) {
			zs_free(t->pool, handle);
			t->pool->reported = 0;
			/* A slot that was free when the zspage was evacuated */
			zs_free(t->pool, handle + 1);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
		}
		expect_all_intact(t);
		return;
	}
	KUNIT_FAIL(test, "no forwarder with two objects\n");
}

static void compaction_skips_zspages_with_open_objects(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct scatterlist sg[2];
	struct zspage *open;

	sparse_zspages(t, size, 2, 2);
	open = obj_zspage(&t->objs[0]);
	zs_obj_read_sg_begin(t->pool, t->objs[0].handle, sg, size);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	KUNIT_EXPECT_EQ(test, open->state, ZSPAGE_LIVE);
	zs_obj_read_sg_end(t->pool, t->objs[0].handle);

	/* Likewise a guest: it is its host that has to stay. */
	for (unsigned int i = 0; i < t->nr; i++) {
		struct obj *o = &t->objs[i];
		unsigned long where;

		if (!obj_is_forwarded(o))
			continue;
		where = obj_where(o);
		sparse_zspages(t, size, 3, 2);
		thin_out(t, i + 1, 4);
		zs_obj_read_sg_begin(t->pool, o->handle, sg, size);
		zst_compact(t);
		KUNIT_EXPECT_EQ(test, obj_where(o),
				where);
		fill(t->want, o->size, o->seed);
		sg_copy_to_buffer(sg, sg_nents(sg), t->copy, o->size);
		KUNIT_EXPECT_MEMEQ(test, t->copy, t->want, o->size);
		zs_obj_read_sg_end(t->pool, o->handle);
		zst_compact(t);
		expect_packed(t, size);
		return;
	}
	KUNIT_FAIL(test, "nothing was moved\n");
}

static void compaction_skips_isolated_zspages(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	LIST_HEAD(list);

	needs_migration(test);
	sparse_zspages(t, size, 6, 2);
	isolate_pool(t->pool, &list);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	KUNIT_EXPECT_EQ(test, migrate(&list), 0);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	expect_packed(t, size);
}

/* The locked one is the emptiest. It does not keep the others from being evacuated. */
static void compaction_skips_zspages_with_locked_pages(struct kunit *test)
{
	static const unsigned int keep[] = { 2, 5, 11, 20 };
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, SCALED(384))->geo.slots;
	struct zspage *locked;
	struct page *page;

	for (int i = 0; i < ARRAY_SIZE(keep); i++)
		fill_zspage(t, SCALED(384));
	keep_if(t, 0, n, n % slots < keep[n / slots]);

	locked = obj_zspage(&t->objs[0]);
	page = zpdesc_page(locked->pages[1]);
	lock_page(page);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	expect_packed(t, SCALED(384));
	KUNIT_EXPECT_EQ(test, locked->state, ZSPAGE_LIVE);
	KUNIT_EXPECT_PTR_EQ(test, zpdesc_page(locked->pages[1]), page);
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
}

enum busy {
	BUSY_OPEN,		/* an object is open */
	BUSY_LOCKED,		/* a page is locked */
	BUSY_ISOLATED,		/* a page is isolated */
	NR_BUSY,
};

/*
 * @nr zspages with one object each that cannot be evacuated; then two that can, and
 * two more that are half full. Those that were allocated last are tried first.
 */
static void sparse_zspages_and_busy_ones(struct zst *t, size_t size, unsigned int nr)
{
	unsigned int slots = test_class(t, size)->geo.slots, sparse = 2 + nr;

	for (unsigned int n = 0; n < sparse + 2; n++)
		fill_zspage(t, size);
	keep_if(t, 0, n, n % (n / slots < sparse ? slots : 2) == 0);
	for (unsigned int n = 2; n < sparse; n++) {
		struct zspage *zspage = obj_zspage(&t->objs[n]);

		switch ((enum busy)(n % NR_BUSY)) {
		case BUSY_OPEN:
			zs_obj_read_sg_begin(t->pool, t->objs[n].handle, t->busy_sg, size);
			break;
		case BUSY_LOCKED:
			zpdesc_lock(zspage->pages[0]);
			break;
		case BUSY_ISOLATED:
			zspage->isolated++;
			zspage->class->nr_isolated++;
			break;
		case NR_BUSY:
			break;
		}
	}
}

static void end_busy(struct zst *t, unsigned int nr)
{
	for (unsigned int n = 2; n < 2 + nr; n++) {
		struct zspage *zspage = obj_zspage(&t->objs[n]);

		switch ((enum busy)(n % NR_BUSY)) {
		case BUSY_OPEN:
			zs_obj_read_sg_end(t->pool, t->objs[n].handle);
			break;
		case BUSY_LOCKED:
			zpdesc_unlock(zspage->pages[0]);
			break;
		case BUSY_ISOLATED:
			zspage->isolated--;
			zspage->class->nr_isolated--;
			break;
		case NR_BUSY:
			break;
		}
	}
}

/* Around the most that are tried in one hold of the lock, and many */
static const unsigned int nr_busy[] = { 1, 2, 3, 15, 16, 17, 40, 100 };

static void nr_busy_desc(const unsigned int *nr, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u", *nr);
}

KUNIT_ARRAY_PARAM(nr_busy, nr_busy, nr_busy_desc);

static void watch_search(const char *point)
{
	struct kunit *test = kunit_get_current_test();
	void (*act)(struct zst *t);
	struct zst *t;

	/* Other threads come by here, too. They belong to no test. */
	if (!test)
		return;
	t = test->priv;
	if (!strcmp(point, "tried")) {
		t->search.tried++;
		t->search.in_this_hold++;
	} else if (!strcmp(point, "frozen")) {
		t->search.evacuations++;
	} else if (!strcmp(point, "searching")) {
		t->search.longest_hold = max(t->search.longest_hold,
					     t->search.in_this_hold);
		t->search.in_this_hold = 0;
		act = t->search.between_holds;
		if (!t->search.tried || !act)
			return;
		t->search.between_holds = NULL;
		act(t);
	}
}

static void watch(struct zst *t, void (*between_holds)(struct zst *t))
{
	t->search.tried = 0;
	t->search.in_this_hold = 0;
	t->search.longest_hold = 0;
	t->search.evacuations = 0;
	t->search.between_holds = between_holds;
	WRITE_ONCE(zs_race_hook, watch_search);
}

static unsigned long watched_compact(struct zst *t,
				     void (*between_holds)(struct zst *t))
{
	unsigned long freed;

	watch(t, between_holds);
	freed = zs_compact(t->pool);
	WRITE_ONCE(zs_race_hook, NULL);
	KUNIT_EXPECT_TRUE(t->test, !t->search.between_holds);
	expect_all_intact(t);
	expect_model(t);
	return freed;
}

/*
 * However many there are, all others are evacuated by the same call, and fuller ones,
 * too. Each is tried once, and not too many in one hold of the lock.
 */
static void busy_zspages_do_not_stop_compaction(struct kunit *test)
{
	const unsigned int nr = *(const unsigned int *)test->param_value;
	struct zst *t = test->priv;

	sparse_zspages_and_busy_ones(t, SCALED(256), nr);
	KUNIT_EXPECT_GE(test, watched_compact(t, NULL),
			3 * test_class(t, SCALED(256))->geo.pages);
	KUNIT_EXPECT_TRUE(test, obj_is_forwarded(&t->objs[0]));
	KUNIT_EXPECT_TRUE(test, obj_is_forwarded(&t->objs[1]));
	KUNIT_EXPECT_LE(test, t->search.tried, nr);
	KUNIT_EXPECT_LE(test, t->search.longest_hold, 16);
	end_busy(t, nr);
}

/* Reclaim skips them, too, and ends when it has freed as much as it was to free. */
static void busy_zspages_do_not_stop_reclaim(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int pages = test_class(t, SCALED(256))->geo.pages;
	struct shrinker *shrinker = t->pool->shrinker;
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL, .nid = TEST_NODE, .nr_to_scan = 1,
	};

	sparse_zspages_and_busy_ones(t, SCALED(256), 40);
	KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc), pages);
	KUNIT_EXPECT_TRUE(test, obj_is_forwarded(&t->objs[1]));
	KUNIT_EXPECT_FALSE(test, obj_is_forwarded(&t->objs[0]));
	end_busy(t, 40);
	expect_all_intact(t);
}

/*
 * All busy zspages are freed, also the one that is to be tried next, and new ones are
 * allocated.
 */
static void free_and_allocate(struct zst *t)
{
	end_busy(t, 40);
	for (unsigned int n = 2; n < 42; n++)
		zs_free(t->pool, t->objs[n].handle);
	t->nr -= 40;
	memmove(&t->objs[2], &t->objs[42], (t->nr - 2) * sizeof(*t->objs));
	zs_flush_deferred();
	for (unsigned int n = 0; n < 4; n++)
		obj_alloc(t, SCALED(256));
}

static void zspages_are_freed_and_allocated_during_a_search(struct kunit *test)
{
	struct zst *t = test->priv;

	sparse_zspages_and_busy_ones(t, SCALED(256), 40);
	watched_compact(t, free_and_allocate);
	expect_packed(t, SCALED(256));
}

static void compact_in_between(struct zst *t)
{
	t->search.freed_in_between = zs_compact(t->pool);
}

/* Two searches do not disturb each other. */
static void compaction_during_a_search_of_another_task(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int pages = test_class(t, SCALED(256))->geo.pages;

	sparse_zspages_and_busy_ones(t, SCALED(256), 40);
	KUNIT_EXPECT_EQ(test, watched_compact(t, compact_in_between), 0);
	KUNIT_EXPECT_GE(test, t->search.freed_in_between, 3 * pages);
	KUNIT_EXPECT_LE(test, t->search.tried, 2 * 40);
	end_busy(t, 40);
}

static const struct packer {
	const char *name;
	bool is_shrinker;
} packers[] = {
	{ "zs_compact" },
	{ "shrinker", .is_shrinker = true },
};

KUNIT_ARRAY_PARAM_DESC(packers, packers, name);

/* Memory that one zspage did not get is not asked for again by the same call. */
static void compaction_ends_at_the_first_failed_allocation(struct kunit *test)
{
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL, .nid = TEST_NODE, .nr_to_scan = 128,
	};
	const struct packer *packer = test->param_value;
	struct zst *t = test->priv;
	struct shrinker *shrinker = t->pool->shrinker;

	sparse_zspages(t, SCALED(256), 4, 2);
	sparse_zspages(t, SCALED(512), 4, 2);
	sparse_zspages(t, SCALED(1536), 4, 2);
	kunit_activate_static_stub(test, zs_alloc_supply, nth_supply_fails);
	t->nr_until_failure = 1;
	t->nr_supplies = 0;
	if (packer->is_shrinker)
		KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc),
				SHRINK_STOP);
	else
		KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	KUNIT_EXPECT_EQ(test, t->nr_supplies, 1);
	/* A class that was not searched is still promised. */
	KUNIT_EXPECT_GT(test, shrinker->count_objects(shrinker, &sc), 0);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	expect_packed(t, SCALED(256));
	expect_packed(t, SCALED(512));
	expect_packed(t, SCALED(1536));
}

/* Bytes that debug builds add to a descriptor, and that the limits do not count */
static size_t debug_bytes(const struct size_class *class)
{
	return kmem_cache_size(class->cache) -
	       zspage_descriptor_size(class->geo.pages, class->geo.slots);
}

/* Whether evacuating @nr natives pays if each of their hosts has room for @room */
static bool evacuation_pays(const struct zs_geometry *geo, unsigned int nr,
			    unsigned int room)
{
	unsigned int blocks = nr / room * DIV_ROUND_UP(room, ZS_GUESTS_PER_BLOCK) +
			      DIV_ROUND_UP(nr % room, ZS_GUESTS_PER_BLOCK);

	return zspage_descriptor_size(geo->pages, geo->slots) +
	       kmalloc_size_roundup((nr - min(nr, geo->pages)) * sizeof(long)) +
	       blocks * sizeof(struct zs_guest_block) <= geo->pages * PAGE_SIZE / 2;
}

/* So many guests, each in another host, that evacuating their home does not pay */
static unsigned int too_many_hosts(const struct zs_geometry *geo)
{
	unsigned int nr = 1;

	while (evacuation_pays(geo, nr, 1))
		nr++;
	return nr;
}

static void guests_are_not_moved_to_too_many_hosts(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int slots = 0, nr = 0, nr_geos;
	const struct zs_geometry *geos, *geo = NULL;

	geos = zs_geometries(&nr_geos);
	for (unsigned int i = 0; i < nr_geos && !geo; i++) {
		nr = too_many_hosts(&geos[i]);
		slots = geos[i].slots;
		if (nr <= geos[i].max_natives && (nr + 1) * slots <= MAX_OBJS)
			geo = &geos[i];
	}
	if (!geo)
		kunit_skip(test, "links are too small to matter");

	for (unsigned int i = 0; i <= nr; i++)
		fill_zspage(t, geo->size);
	/* Room for one object in each but the first, which has as many */
	keep_if(t, 0, n, n < slots ? n < nr : n % slots);
	kunit_activate_static_stub(test, zs_alloc_supply, nth_supply_fails);
	watch(t, NULL);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	WRITE_ONCE(zs_race_hook, NULL);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	KUNIT_EXPECT_EQ(test, pool_added(t->pool), 0);
	/* It is not even begun. */
	KUNIT_EXPECT_EQ(test, t->nr_supplies, 0);
	KUNIT_EXPECT_EQ(test, t->search.evacuations, 0);

	/* An object and a host less, and it does. */
	obj_free(t, &t->objs[0]);
	KUNIT_EXPECT_EQ(test, zst_compact(t), geo->pages);
	KUNIT_EXPECT_GT(test, pool_added(t->pool), 0);
	KUNIT_EXPECT_LE(test, pool_added(t->pool), geo->pages * PAGE_SIZE / 2 +
			debug_bytes(test_class(t, geo->size)));
}

/* No memory is free but pages that compaction has freed, and half a page. */
static void *supply_of_what_was_freed(size_t size, gfp_t gfp)
{
	struct zst *t = current_zst();
	unsigned long freed = t->supplied.pages - pool_pages(t->pool);

	if (t->supplied.bytes + size > freed * PAGE_SIZE + PAGE_SIZE / 2)
		return NULL;
	t->supplied.bytes += size;
	return kmalloc(size, GFP_KERNEL);
}

/* Each of them has its own memory for notes of its guests. */
static void guests_are_moved_to_many_hosts(struct kunit *test)
{
	const unsigned int nr = 6;
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, SCALED(128));
	unsigned int slots = class->geo.slots;

	for (unsigned int i = 0; i <= nr; i++)
		fill_zspage(t, SCALED(128));
	/* Room for one object in each but the first, which has as many */
	keep_if(t, 0, n, n < slots ? n < nr : n % slots);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	KUNIT_EXPECT_EQ(test, class->forwarded, nr);
	KUNIT_EXPECT_EQ(test, class->guest_blocks, nr);
}

/* The memory that the evacuation adds is counted, not that of guests from before. */
static void evacuation_pays_whatever_guests_its_hosts_have(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, SCALED(128));
	unsigned int slots = class->geo.slots, pays = class->geo.pages * PAGE_SIZE / 2;
	unsigned int blocks = DIV_ROUND_UP(slots / 2, ZS_GUESTS_PER_BLOCK), nr, own;

	/* So many hosts that the blocks of their guests take more than an evacuation may */
	nr = pays / (blocks * sizeof(struct zs_guest_block)) + 1;
	if (slots % 2 || nr >= slots / 2 || (2 * nr + 1) * slots > MAX_OBJS)
		kunit_skip(test, "guest blocks are too small to matter");
	sparse_zspages(t, SCALED(128), 2 * nr, 2);
	KUNIT_EXPECT_EQ(test, zst_compact(t), nr * class->geo.pages);
	KUNIT_ASSERT_EQ(test, class->nr[ZS_FULL], nr);
	KUNIT_ASSERT_GT(test, class->guest_blocks * sizeof(struct zs_guest_block), pays);

	/* One more zspage, with an object for each host, and room for one in each */
	own = t->nr;
	fill_zspage(t, SCALED(128));
	keep_if(t, own, n, n < nr);
	for (unsigned int i = own; i--;)
		if (!obj_is_forwarded(&t->objs[i]) &&
		    obj_host(&t->objs[i])->inuse == slots)
			obj_free(t, &t->objs[i]);
	KUNIT_ASSERT_EQ(test, class->nr[ZS_FULL], 0);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
}

static void compaction_frees_more_than_it_allocates(struct kunit *test)
{
	static const u16 sizes[] = { 64, 208, 512, 1000, 1536, 2720, 3400 };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++)
		sparse_zspages(t, SCALED(sizes[i]), 6, 4);
	t->supplied.bytes = 0;
	t->supplied.pages = pool_pages(t->pool);
	kunit_activate_static_stub(test, zs_alloc_supply, supply_of_what_was_freed);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	KUNIT_EXPECT_GT(test, t->supplied.bytes, 0);
	for (int i = 0; i < ARRAY_SIZE(sizes); i++)
		expect_packed(t, SCALED(sizes[i]));
}

static unsigned long bad_inuse(struct size_class *class)
{
	unsigned long inuse = 0;
	struct zspage *zspage;

	list_for_each_entry(zspage, &class->zspages[ZS_BAD], list)
		inuse += zspage->inuse;
	return inuse;
}

/* @nr zspages with a free slot each, and a page that goes bad; returns the class */
static struct size_class *bad_zspages(struct zst *t, size_t size, unsigned int nr)
{
	struct size_class *class = test_class(t, size);
	unsigned int pages = class->geo.pages, first = t->nr;

	for (unsigned int i = 0; i < nr; i++) {
		struct zspage *zspage = obj_zspage(fill_zspage(t, size));

		go_bad(t, zpdesc_page(zspage->pages[i % pages]));
	}
	keep_if(t, first, n, n % class->geo.slots);
	return class;
}

/* Nor do they slow zs_malloc() down: each is looked at once in its life. */
static void bad_zspages_get_no_new_objects(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = bad_zspages(t, size, 40);
	unsigned int pages = class->geo.pages, was = t->nr, slots = class->geo.slots;

	for (unsigned int i = 0; i < 2 * slots; i++) {
		struct obj *o;

		t->nr_looks = 0;
		o = obj_alloc(t, size);
		KUNIT_EXPECT_LE(test, t->nr_looks, i < 4 ? 16 * pages : pages);
		for (unsigned int n = 0; n < was; n++)
			KUNIT_ASSERT_PTR_NE(test, obj_zspage(o),
					    obj_zspage(&t->objs[n]));
	}
	KUNIT_EXPECT_EQ(test, class->nr[ZS_BAD], 40);
	KUNIT_EXPECT_EQ(test, bad_inuse(class), 40 * (slots - 1));
	expect_all_intact(t);

	/* They are freed with their last objects, like others. */
	while (t->nr > was)
		obj_free(t, &t->objs[t->nr - 1]);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 40 * pages);
	for (unsigned int i = 0; i < t->nr; i += 2)
		obj_free(t, &t->objs[i]);
	expect_all_intact(t);
	free_all(t);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_EQ(test, class->nr[ZS_BAD], 0);
	KUNIT_EXPECT_EQ(test, bad_inuse(class), 0);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
}

static const struct bad_first {
	const char *name;
	bool last;
} bad_firsts[] = {
	{ "first zspage goes bad first" },
	{ "last zspage goes bad first", .last = true },
};

KUNIT_ARRAY_PARAM_DESC(bad_firsts, bad_firsts, name);

/* Neither from a page that is known to be bad nor to one */
static void compaction_skips_bad_zspages(struct kunit *test)
{
	const struct bad_first *param = test->param_value;
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = test_class(t, size);
	struct zspage *bad, *other;
	unsigned int both;

	sparse_zspages(t, size, 2, 2);
	both = t->nr;
	bad = obj_zspage(&t->objs[param->last ? both - 1 : 0]);
	other = obj_zspage(&t->objs[param->last ? 0 : both - 1]);
	go_bad(t, zpdesc_page(bad->pages[0]));
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	KUNIT_EXPECT_EQ(test, bad->fullness, ZS_BAD);
	/* There is no promise of room that is not used. */
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);

	/* Those beside bad ones are packed, and by themselves. */
	go_bad(t, zpdesc_page(other->pages[1]));
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	sparse_zspages(t, size, 2, 2);
	KUNIT_EXPECT_GT(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	for (unsigned int i = 0; i < both; i++)
		KUNIT_EXPECT_FALSE(test, obj_is_forwarded(&t->objs[i]));
	KUNIT_EXPECT_EQ(test, bad->nr_guests, 0);
	free_all(t);
	KUNIT_EXPECT_EQ(test, bad_inuse(class), 0);
}

/* Its other pages can still be migrated, and the last isolation frees it. */
static void bad_zspage_is_freed_by_the_last_putback(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class;
	struct zspage *zspage;
	unsigned int pages;
	LIST_HEAD(list);

	needs_migration(test);
	class = bad_zspages(t, size, 1);
	pages = class->geo.pages;
	zspage = obj_zspage(&t->objs[0]);
	obj_alloc(t, size);
	KUNIT_ASSERT_EQ(test, zspage->fullness, ZS_BAD);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages - 1);
	KUNIT_EXPECT_EQ(test, migrate(&list), 0);
	expect_all_intact(t);

	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), pages - 1);
	free_all(t);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	KUNIT_EXPECT_EQ(test, zspage->fullness, ZS_BAD);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
	putback_movable_pages(&list);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
}

/* Nothing is copied in vain: a zspage is evacuated if all of it fits elsewhere. */
static void compaction_begins_only_if_there_is_room(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, SCALED(256));
	unsigned int slots = class->geo.slots;
	struct zspage *first, *last;

	/* Two zspages, and one object more than one of them can hold */
	fill_zspage(t, SCALED(256));
	fill_zspage(t, SCALED(256));
	while (t->nr > slots + 1)
		obj_free(t, &t->objs[t->nr / 2]);
	KUNIT_ASSERT_EQ(test, class_zspages(class), 2);
	t->nr_copies = 0;
	kunit_activate_static_stub(test, zs_copy_slot, nth_copy_fails);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	KUNIT_EXPECT_EQ(test, t->nr_copies, 0);
	/* No zspage is even looked at: with open objects they would be passed over. */
	first = obj_zspage(&t->objs[0]);
	last = obj_zspage(&t->objs[t->nr - 1]);
	KUNIT_ASSERT_PTR_NE(test, first, last);
	atomic_inc(&first->pins);
	atomic_inc(&last->pins);
	watch(t, NULL);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	WRITE_ONCE(zs_race_hook, NULL);
	KUNIT_EXPECT_EQ(test, t->search.tried, 0);
	atomic_dec(&first->pins);
	atomic_dec(&last->pins);
	obj_free(t, &t->objs[slots / 2]);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	KUNIT_EXPECT_GT(test, t->nr_copies, 0);
	kunit_deactivate_static_stub(test, zs_copy_slot);
}

static bool copy_what_is_readable(struct zspage *dest, unsigned int dest_slot,
				  struct zspage *source, unsigned int source_slot)
{
	if (source == current_zst()->unreadable)
		return false;
	zst_copy_slot(dest, dest_slot, source, source_slot);
	return true;
}

/* The zspage whose evacuation fails is tried first. */
static void failed_evacuation_does_not_stop_others(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, SCALED(256));
	unsigned int slots = class->geo.slots, zspages;

	/* One object each in two, the second of which is tried first */
	for (int i = 0; i < 3; i++)
		fill_zspage(t, SCALED(256));
	keep_if(t, 0, n, n % slots == 0 || n / slots == 2);
	obj_free(t, &t->objs[t->nr / 2]);
	t->unreadable = obj_zspage(&t->objs[1]);

	kunit_activate_static_stub(test, zs_copy_slot, copy_what_is_readable);
	zspages = zst_compact(t) / class->geo.pages;
	kunit_deactivate_static_stub(test, zs_copy_slot);
	KUNIT_EXPECT_FALSE(test, obj_is_forwarded(&t->objs[1]));
	KUNIT_EXPECT_TRUE(test, obj_is_forwarded(&t->objs[0]));
	KUNIT_EXPECT_GE(test, zspages, 1);
}

/* Each object in turn cannot be copied. */
static void failed_copy_undoes_the_evacuation(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct zspage *one, *other;
	unsigned int objects;

	sparse_zspages(t, size, 2, 2);
	one = obj_zspage(&t->objs[0]);
	other = obj_zspage(&t->objs[t->nr - 1]);
	/*
	 * In two groups: a host that was on another list meanwhile comes back to the front
	 * of its own, which a search in that list has passed.
	 */
	while (one->fullness == other->fullness)
		obj_free(t, &t->objs[t->nr - 1]);
	objects = min(one->inuse, other->inuse);
	kunit_activate_static_stub(test, zs_copy_slot, copies_fail_from_nth_on);
	for (unsigned int n = 1; n <= objects; n++) {
		t->nr_copies = 0;
		t->nr_until_failure = n;
		KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
		/* The other zspage is tried, too, and fails at once. */
		KUNIT_EXPECT_EQ(test, t->nr_copies, n + 1);
		expect_quiet(t);
	}
	t->nr_until_failure = 0;
	kunit_deactivate_static_stub(test, zs_copy_slot);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	expect_packed(t, size);
}

static bool copy_bytes_of_readable_pages(struct page *to, size_t to_offset,
					 struct page *from, size_t from_offset,
					 size_t len)
{
	struct zst *t = current_zst();

	if (from == t->unreadable_page) {
		t->nr_unreadable++;
		return false;
	}
	memcpy_page(to, to_offset, from, from_offset, len);
	return true;
}

/*
 * Of the first zspage only objects are left that lie in two pages, so it is the
 * first half that cannot be read, or the second; of the first object or the last.
 */
static void half_readable_object_is_not_moved(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = test_class(t, size);
	unsigned int slots = class->geo.slots;
	struct zspage *source, *other;
	LIST_HEAD(list);

	source = obj_zspage(fill_zspage(t, size));
	other = obj_zspage(fill_zspage(t, size));
	keep_if(t, 0, n, n < slots ? zs_straddles(n * size % PAGE_SIZE, size) : n == slots);
	KUNIT_ASSERT_GE(test, t->nr, 3);

	atomic_inc(&other->pins);
	for (unsigned int i = 0; i < class->geo.pages; i++) {
		t->nr_unreadable = 0;
		t->unreadable_page = zpdesc_page(source->pages[i]);
		kunit_activate_static_stub(test, zs_copy_bytes,
					   copy_bytes_of_readable_pages);
		KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
		KUNIT_EXPECT_EQ(test, t->nr_unreadable, 1);
		KUNIT_EXPECT_EQ(test, class->forwarded, 0);
		KUNIT_EXPECT_EQ(test, other->inuse, 1);
		if (IS_ENABLED(CONFIG_MIGRATION) && zs_migration) {
			KUNIT_EXPECT_EQ(test, isolate_zspage(source, &list),
					class->geo.pages);
			KUNIT_EXPECT_EQ(test, migrate(&list), 1);
			KUNIT_EXPECT_PTR_EQ(test, zpdesc_page(source->pages[i]),
					    t->unreadable_page);
		}
		kunit_deactivate_static_stub(test, zs_copy_bytes);
		expect_all_intact(t);
	}
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	atomic_dec(&other->pins);
}

/* A page of the zspage that this object is copied to goes bad. */
static bool dest_goes_bad(struct zspage *dest, unsigned int dest_slot,
			  struct zspage *source, unsigned int source_slot)
{
	struct zst *t = current_zst();

	if (fails_now(t))
		return false;
	zst_copy_slot(dest, dest_slot, source, source_slot);
	if (t->nr_until_bad && !--t->nr_until_bad) {
		t->bad[t->nr_bad++] = zpdesc_page(dest->pages[0]);
		t->dest_gone_bad = dest;
	}
	return true;
}

static const struct evacuation_end {
	const char *name;
	bool fails;
} evacuation_ends[] = {
	{ "evacuation succeeds" },
	{ "evacuation fails", .fails = true },
};

KUNIT_ARRAY_PARAM_DESC(evacuation_ends, evacuation_ends, name);

/*
 * The objects that are copied after that are moved to another host. If the evacuation
 * fails, those that were moved to the bad one are moved back, too.
 */
static void host_that_goes_bad_gets_no_more_guests(struct kunit *test)
{
	const struct evacuation_end *end = test->param_value;
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, SCALED(256));
	unsigned int slots = class->geo.slots, natives = slots / 4;
	struct zspage *source, *others[3];

	/* A quarter of the first is in use, and of the others a half. */
	for (int i = 0; i < 1 + ARRAY_SIZE(others); i++)
		fill_zspage(t, SCALED(256));
	source = obj_zspage(&t->objs[0]);
	for (int i = 0; i < ARRAY_SIZE(others); i++) {
		others[i] = obj_zspage(&t->objs[(i + 1) * slots]);
		atomic_inc(&others[i]->pins);
	}
	keep_if(t, 0, n, n % slots < (n < slots ? natives : slots / 2));

	t->nr_until_bad = natives / 2;
	t->nr_until_failure = end->fails ? natives : 0;
	kunit_activate_static_stub(test, zs_page_is_bad, passes_for_bad);
	kunit_activate_static_stub(test, zs_copy_slot, dest_goes_bad);
	KUNIT_EXPECT_EQ(test, zst_compact(t), end->fails ? 0 : class->geo.pages);
	kunit_deactivate_static_stub(test, zs_copy_slot);
	KUNIT_EXPECT_EQ(test, t->nr_until_bad, 0);
	KUNIT_EXPECT_EQ(test, t->nr_until_failure, 0);
	KUNIT_EXPECT_EQ(test, source->state, end->fails ? ZSPAGE_LIVE : ZSPAGE_FORWARDER);
	KUNIT_EXPECT_EQ(test, t->dest_gone_bad->fullness, ZS_BAD);
	KUNIT_EXPECT_EQ(test, t->dest_gone_bad->nr_guests, end->fails ? 0 : natives / 2);
	KUNIT_EXPECT_EQ(test, class->forwarded, end->fails ? 0 : natives);
	KUNIT_EXPECT_EQ(test, bad_inuse(class),
			slots / 2 + (end->fails ? 0 : natives / 2));
	for (int i = 0; i < ARRAY_SIZE(others); i++)
		atomic_dec(&others[i]->pins);
}

/*
 * Zspages with so many objects that links and guest blocks would take more than half
 * of the memory that is freed. With one object less, they are evacuated.
 */
static void evacuation_has_to_pay(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, ZS_MIN_SIZE);
	unsigned int slots = class->geo.slots, most = class->geo.max_natives;
	unsigned int zspages, left = most;

	if (most + 1 >= slots)
		kunit_skip(test, "links are too small to matter");
	KUNIT_ASSERT_GT(test, most, 0);
	zspages = DIV_ROUND_UP(slots, slots - most - 1);
	for (unsigned int i = 0; i < zspages; i++)
		fill_zspage(t, ZS_MIN_SIZE);
	keep_if(t, 0, n, n % slots <= most);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);

	/* The limit is for one host. Several need blocks that are not full. */
	while (!evacuation_pays(&class->geo, left, slots - most - 1))
		left--;
	keep_if(t, 0, n, n < left || n > most);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	KUNIT_EXPECT_EQ(test, class->forwarded, left);
	KUNIT_EXPECT_LE(test, pool_added(t->pool),
			class->geo.pages * PAGE_SIZE / 2 + debug_bytes(class));
}

/* A limit of the user's holds for all memory that objects take. */
static void total_pages_include_links_and_guest_blocks(struct kunit *test)
{
	struct zst *t = test->priv;

	while (pool_added(t->pool) < 3 * PAGE_SIZE) {
		sparse_zspages(t, SCALED(128), 8, 8);
		KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	}
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool),
			pool_pages(t->pool) + pool_added(t->pool) * 4 / 3 / PAGE_SIZE);
	free_all(t);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool), 0);
}

/* An open object keeps it; reclaim is not sent there again until more is free. */
static void shrinker_does_not_repeat_a_vain_promise(struct kunit *test)
{
	struct shrink_control sc = { .gfp_mask = GFP_KERNEL, .nid = TEST_NODE };
	struct zst *t = test->priv;
	struct shrinker *shrinker = t->pool->shrinker;
	struct size_class *class = test_class(t, SCALED(512));
	struct zspage *zspage;
	unsigned long promised;

	sparse_zspages(t, SCALED(512), 4, 2);
	for (int f = ZS_10; f <= ZS_99; f++)
		list_for_each_entry(zspage, &class->zspages[f], list)
			atomic_inc(&zspage->pins);
	promised = shrinker->count_objects(shrinker, &sc);
	KUNIT_EXPECT_EQ(test, promised, 2 * class->geo.pages);
	sc.nr_to_scan = 128;
	for (int again = 0; again < 2; again++) {
		watch(t, NULL);
		KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc),
				SHRINK_STOP);
		WRITE_ONCE(zs_race_hook, NULL);
		/* Without a promise there is no search. */
		KUNIT_EXPECT_EQ(test, !t->search.tried, again);
		KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc), 0);
	}

	for (int f = ZS_10; f <= ZS_99; f++)
		list_for_each_entry(zspage, &class->zspages[f], list)
			atomic_dec(&zspage->pins);
	/* More has become free: some of these take the slots that were free. */
	sparse_zspages(t, SCALED(512), 6, 2);
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc), class->geo.pages);
	/* Time has passed. */
	class->vain_until = jiffies;
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc),
			promised + class->geo.pages);
	KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc),
			promised + class->geo.pages);
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc), 0);
	expect_all_intact(t);
}

/* The size of the memory that @links links take which have no room in the descriptor */
static size_t far_size(struct size_class *class, unsigned int links)
{
	if (links <= class->geo.pages)
		return 0;
	return kmalloc_size_roundup(max((links - class->geo.pages) * sizeof(long),
					sizeof(struct rcu_head)));
}

/* Its descriptor, and the links that do not fit in there; that is counted, too. */
static void forwarders_have_only_the_links_they_need(struct kunit *test)
{
	const size_t sizes[] = {
		PAGE_SIZE / 64, PAGE_SIZE / 32, PAGE_SIZE / 8, long_size(test),
	};
	struct zst *t = test->priv;
	unsigned int more = 0;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct size_class *class = test_class(t, sizes[i]);
		unsigned long bytes = 0;
		struct zspage *forwarder;

		sparse_zspages(t, sizes[i], 12, 4);
		KUNIT_EXPECT_GT(test, zst_compact(t), 0);
		list_for_each_entry(forwarder, &class->forwarders, list) {
			unsigned int nr = bitmap_weight(zspage_bitmap(forwarder),
							class->geo.slots);
			size_t extra = far_size(class, nr);

			KUNIT_EXPECT_EQ(test, !forwarder->far_links, !extra);
			KUNIT_EXPECT_EQ(test, ksize(forwarder->far_links), extra);
			bytes += extra;
			more += !!extra;
		}
		KUNIT_EXPECT_EQ(test, class->link_bytes, bytes);
		free_all(t);
	}
	KUNIT_EXPECT_GT(test, more, 0);
}

/* Slabs stay when most of what is in them was freed, until all of it was. */
static void total_pages_include_slabs_that_stay(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned long most;

	sparse_zspages(t, PAGE_SIZE / 64, 48, 4);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	most = pool_added(t->pool);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool),
			pool_pages(t->pool) + most * 4 / 3 / PAGE_SIZE);
	thin_out(t, 0, t->nr);
	zst_compact(t);
	KUNIT_EXPECT_LT(test, pool_added(t->pool) * 4 / 3, most);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool),
			pool_pages(t->pool) + most / PAGE_SIZE);
	free_all(t);
	KUNIT_EXPECT_EQ(test, pool_added(t->pool), 0);
	zst_flush_deferred(test);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool), 0);

	/* What had been added before does not count any more. */
	sparse_zspages(t, PAGE_SIZE / 64, 4, 4);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool),
			pool_pages(t->pool) + pool_added(t->pool) * 4 / 3 / PAGE_SIZE);
}

/* Of all forwarders of @class; @links is set to the number of their live objects. */
static size_t least_far_bytes(struct size_class *class, unsigned long *links)
{
	struct zspage *forwarder;
	size_t bytes = 0;

	*links = 0;
	list_for_each_entry(forwarder, &class->forwarders, list) {
		bytes += far_size(class, forwarder->nr_links);
		*links += forwarder->nr_links;
	}
	return bytes;
}

/*
 * Forwarders keep memory for at most twice as many links as they have, or else are trimmed
 * by the next compaction. Their objects stay where they are, and a double free of one that
 * has lost its link is still reported.
 */
static void forwarders_that_lose_objects_are_trimmed(struct kunit *test)
{
	static const unsigned int nths[] = { 2, 3, 5 };
	struct zst *t = test->priv;
	struct size_class *class;
	size_t size = size_for_trimming();
	unsigned long links, forwarded, far_before;
	struct obj freed;

	/* No forwarder loses its last object: in the end, one of 4 * 2 * 3 * 5 is left. */
	while (test_class(t, size)->geo.slots < 120)
		size /= 2;
	class = test_class(t, size);
	sparse_zspages(t, size, 24, 4);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	far_before = class->link_bytes;
	KUNIT_ASSERT_EQ(test, far_before, least_far_bytes(class, &links));
	for (int i = 0; i < ARRAY_SIZE(nths); i++) {
		struct zspage *forwarder;

		/* Two objects of one forwarder, of which only the first is kept */
		freed = t->objs[1];
		KUNIT_ASSERT_TRUE(test, obj_is_forwarded(&freed));
		KUNIT_ASSERT_PTR_EQ(test, obj_zspage(&freed), obj_zspage(&t->objs[0]));
		thin_out(t, 0, nths[i]);
		KUNIT_EXPECT_EQ(test, class->link_bytes, far_before);
		forwarded = class->forwarded;
		zst_compact(t);
		/* The last links may take the least that kmalloc() gives. */
		if (least_far_bytes(class, &links) < far_before)
			KUNIT_EXPECT_LT(test, class->link_bytes, far_before);
		KUNIT_EXPECT_GE(test, class->forwarded, forwarded);
		list_for_each_entry(forwarder, &class->forwarders, list)
			KUNIT_EXPECT_LE(test, ksize(forwarder->far_links),
					far_size(class, 2 * forwarder->nr_links));
		KUNIT_EXPECT_LE(test, class->link_bytes,
				2 * least_far_bytes(class, &links));
		KUNIT_EXPECT_EQ(test, class->forwarded, links);
		far_before = class->link_bytes;
		expect_all_intact(t);
		expect_quiet(t);

		kunit_warning_suppress(test) {
			t->pool->reported = 0;
			zs_free(t->pool, freed.handle);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
		expect_quiet(t);
	}
}

/* Not before: the links that a trim copies are at most as many as were freed. */
static void forwarder_is_trimmed_when_half_is_free(struct kunit *test)
{
	struct zst *t = test->priv;
	const size_t size = size_for_trimming();
	struct zs_far_links *far_before;
	struct zspage *home;
	unsigned int links;

	sparse_zspages(t, size, 12, 4);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	home = obj_zspage(&t->objs[0]);
	KUNIT_ASSERT_EQ(test, home->state, ZSPAGE_FORWARDER);
	links = home->nr_links;
	far_before = home->far_links;
	KUNIT_ASSERT_GT(test, links, 2 * home->class->geo.pages);
	for (unsigned int i = t->nr; i-- && home->nr_links > links / 2 + 1;)
		if (obj_zspage(&t->objs[i]) == home)
			obj_free(t, &t->objs[i]);
	zst_compact(t);
	KUNIT_EXPECT_PTR_EQ(test, home->far_links, far_before);
	obj_free(t, &t->objs[0]);
	KUNIT_ASSERT_EQ(test, home->nr_links, links / 2);
	zst_compact(t);
	KUNIT_EXPECT_PTR_NE(test, home->far_links, far_before);
	expect_all_intact(t);
	expect_quiet(t);
}

/* Memory is freed some time after a trim, so reclaim must not take reserves for it. */
static void *supply_without_reserves(size_t size, gfp_t gfp)
{
	current_zst()->nr_supplies++;
	KUNIT_EXPECT_TRUE(kunit_get_current_test(), gfp & __GFP_NOMEMALLOC);
	KUNIT_EXPECT_FALSE(kunit_get_current_test(), gfp & __GFP_DIRECT_RECLAIM);
	return kmalloc(size, gfp);
}

/* Without memory, a forwarder stays as it is. */
static void trimming_without_memory_does_no_harm(struct kunit *test)
{
	struct zst *t = test->priv;
	const size_t size = size_for_trimming();
	struct size_class *class = test_class(t, size);
	unsigned long far_before;

	sparse_zspages(t, size, 12, 4);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	/* There is room for no evacuation, but links to trim. */
	while (class->inuse < class->nr_live * class->geo.slots)
		obj_alloc(t, size);
	keep_if(t, 0, n, !obj_is_forwarded(&__o) || n % 3 == 0);
	while (class->inuse < class->nr_live * class->geo.slots)
		obj_alloc(t, size);
	far_before = class->link_bytes;
	KUNIT_ASSERT_GT(test, far_before, 0);
	kunit_activate_static_stub(test, zs_alloc_supply, no_supply);
	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	KUNIT_EXPECT_EQ(test, class->link_bytes, far_before);
	expect_all_intact(t);
	expect_quiet(t);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	kunit_activate_static_stub(test, zs_alloc_supply, supply_without_reserves);
	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	KUNIT_EXPECT_GT(test, t->nr_supplies, 0);
	KUNIT_EXPECT_LT(test, class->link_bytes, far_before);
	expect_all_intact(t);
	expect_quiet(t);
}

static void *supply_for_evacuations_only(size_t size, gfp_t gfp)
{
	return gfp & __GFP_NOMEMALLOC ? NULL : kmalloc(size, gfp);
}

/* Pages are freed in other classes though there is no memory for trimming. */
static void trimming_does_not_stop_compaction(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *larger = test_class(t, PAGE_SIZE / 8);
	unsigned int first;

	sparse_zspages(t, PAGE_SIZE / 64, 12, 4);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	thin_out(t, 0, 4);
	first = t->nr;
	sparse_zspages(t, PAGE_SIZE / 8, 4, 2);
	KUNIT_ASSERT_GT(test, t->nr, first);
	kunit_activate_static_stub(test, zs_alloc_supply, supply_for_evacuations_only);
	KUNIT_EXPECT_GE(test, zs_compact(t->pool), 2 * larger->geo.pages);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	KUNIT_EXPECT_EQ(test, larger->nr_live, 2);
	expect_all_intact(t);
	expect_quiet(t);
}

static void shrinker_frees_as_much_as_it_counts(struct kunit *test)
{
	static const u16 sizes[] = { 64, 208, 512, 1536, 2720 };
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL,
		.nid = TEST_NODE,
	};
	struct zst *t = test->priv;
	struct shrinker *shrinker = t->pool->shrinker;

	for (int round = 0; round < 6; round++) {
		unsigned long pages, promised, freed;

		for (int i = 0; i < ARRAY_SIZE(sizes); i++)
			sparse_zspages(t, SCALED(sizes[i]), 16, 2 + round % 2);
		thin_out(t, 0, 2);

		/* A little, as asked for */
		pages = pool_pages(t->pool);
		sc.nr_to_scan = 1;
		if (shrinker->count_objects(shrinker, &sc)) {
			freed = shrinker->scan_objects(shrinker, &sc);
			KUNIT_EXPECT_GE(test, freed, 1);
			KUNIT_EXPECT_LE(test, freed, ZS_MAX_PAGES);
			KUNIT_EXPECT_EQ(test, pages - freed,
					pool_pages(t->pool));
		}
		/* And all of it */
		promised = shrinker->count_objects(shrinker, &sc);
		KUNIT_EXPECT_EQ(test, promised, zs_freeable_pages(t->pool, TEST_NODE));
		KUNIT_EXPECT_GE(test, zst_compact(t), promised);
		KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc), 0);
		sc.nr_to_scan = 128;
		KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc),
				SHRINK_STOP);
	}
}

static const struct busy_host {
	const char *name;
	bool isolated, migrates;
} busy_hosts[] = {
	{ "page locked" },
	{ "page isolated, putback", .isolated = true },
	{ "page isolated, migration", .isolated = true, .migrates = true },
};

KUNIT_ARRAY_PARAM_DESC(busy_hosts, busy_hosts, name);

/* The last guest is freed through its forwarder while its host cannot be freed. */
static void busy_host_emptied_through_forwarders_is_freed_later(struct kunit *test)
{
	const struct busy_host *busy = test->param_value;
	struct zst *t = test->priv;
	struct zspage *host = NULL;
	struct page *page;
	LIST_HEAD(list);

	needs_migration(test);
	sparse_zspages(t, long_size(test), 2, 2);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	for (unsigned int i = 0; i < t->nr;) {
		if (!obj_is_forwarded(&t->objs[i]))
			obj_free(t, &t->objs[i]);
		else
			host = obj_host(&t->objs[i++]);
	}
	KUNIT_ASSERT_NOT_NULL(test, host);
	KUNIT_EXPECT_EQ(test, host->inuse, host->nr_guests);
	page = zpdesc_page(host->pages[1]);
	if (busy->isolated)
		KUNIT_ASSERT_TRUE(test, isolate(page, &list));
	else
		lock_page(page);
	free_all(t);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), host->class->geo.pages);
	if (busy->isolated)
		end_isolation(t, &list, busy->migrates);
	else
		unlock_page(page);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
}

static void pages_of_hosts_can_be_migrated(struct kunit *test)
{
	struct zst *t = test->priv;
	LIST_HEAD(list);

	needs_migration(test);
	for (int round = 0; round < 3; round++) {
		sparse_zspages(t, SCALED(700), 6, 3);
		KUNIT_EXPECT_GT(test, zst_compact(t), 0);
		isolate_pool(t->pool, &list);
		KUNIT_EXPECT_EQ(test, migrate(&list), 0);
		expect_all_intact(t);
	}
}

/* Fewer zspages are evacuated, nothing leaks, and the next call evacuates the rest. */
static void compaction_survives_allocation_failure(struct kunit *test)
{
	struct zst *t = test->priv;
	bool failed = true;

	sparse_zspages(t, SCALED(512), 4, 2);
	kunit_activate_static_stub(test, zs_alloc_supply, no_supply);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);

	for (int n = 1; failed; n++) {
		KUNIT_ASSERT_LT(test, n, 1000);
		sparse_zspages(t, SCALED(512), 4, 2);
		sparse_zspages(t, SCALED(1536), 4, 2);
		t->nr_until_failure = n;
		kunit_activate_static_stub(test, zs_alloc_supply,
					   nth_supply_fails);
		zst_compact(t);
		kunit_deactivate_static_stub(test, zs_alloc_supply);
		failed = t->nr_until_failure == 0;
		t->nr_until_failure = 0;
		zst_compact(t);
		expect_packed(t, SCALED(512));
		expect_packed(t, SCALED(1536));
		free_all(t);
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	}
}

/* zs_compact() gets no memory, which says nothing of reclaim with its reserves. */
static void room_is_in_vain_if_reclaim_lacks_memory(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned long promised;
	unsigned int noreclaim;

	sparse_zspages(t, SCALED(512), 4, 2);
	promised = zs_freeable_pages(t->pool, TEST_NODE);
	KUNIT_ASSERT_GT(test, promised, 0);
	kunit_activate_static_stub(test, zs_alloc_supply, no_supply);
	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), promised);
	noreclaim = memalloc_noreclaim_save();
	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	memalloc_noreclaim_restore(noreclaim);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
}

static void *supply_by_flags(size_t size, gfp_t gfp)
{
	/* Trimming does not use the reserves. */
	if (!(gfp & __GFP_NOMEMALLOC)) {
		current_zst()->nr_supplies++;
		KUNIT_EXPECT_EQ(kunit_get_current_test(), !!(gfp & __GFP_DIRECT_RECLAIM),
				!!(current->flags & PF_MEMALLOC));
	}
	return kmalloc(size, gfp);
}

/* With __GFP_DIRECT_RECLAIM no slab of several pages comes from the reserves. */
static void only_reclaim_may_take_reserves(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int noreclaim;

	kunit_activate_static_stub(test, zs_alloc_supply, supply_by_flags);
	sparse_zspages(t, SCALED(512), 4, 2);
	KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
	KUNIT_EXPECT_GT(test, t->nr_supplies, 0);
	t->nr_supplies = 0;
	sparse_zspages(t, SCALED(1536), 4, 2);
	noreclaim = memalloc_noreclaim_save();
	KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
	memalloc_noreclaim_restore(noreclaim);
	KUNIT_EXPECT_GT(test, t->nr_supplies, 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	expect_all_intact(t);
	expect_quiet(t);
}

static void *nth_supply_of_cache_fails(size_t size, gfp_t gfp)
{
	struct zst *t = current_zst();

	if (fails_now(t) || size > kmem_cache_size(t->cache))
		return NULL;
	return kmem_cache_alloc(t->cache, GFP_NOWAIT);
}

static const struct test_size metadata_sizes[] = {
	{ "all links in the descriptor", LONG_SIZE },
	{ "links beyond the descriptor", PAGE_SIZE / 8 },
};

KUNIT_ARRAY_PARAM_DESC(metadata_sizes, metadata_sizes, name);

/*
 * The memory that the allocator uses for itself comes from caches of the test: when
 * they are destroyed they tell whether all of it was freed.
 */
static void all_metadata_is_freed(struct kunit *test)
{
	size_t size = param_size(test);
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, size);
	struct kmem_cache *descriptors, *was = class->cache;
	unsigned int own, guests = 0;

	descriptors = private_cache(test, "kunit-zspage", kmem_cache_size(was));
	t->cache = private_cache(test, "kunit-zs-supply", 256);
	class->cache = descriptors;

	/* A zspage that gets no pages */
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk);
	kunit_activate_static_stub(test, zs_alloc_single, nth_single_fails);
	t->nr_until_failure = 1;
	expect_enomem(t, size);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);

	/* Evacuations that fail here and there, and some that do not */
	kunit_activate_static_stub(test, zs_alloc_supply, nth_supply_of_cache_fails);
	for (unsigned int n = 0; n < 20; n++) {
		sparse_zspages(t, size, 4, 2);
		t->nr_until_failure = n;
		if (n % 2)
			kunit_activate_static_stub(test, zs_copy_slot,
						   nth_copy_fails);
		zst_compact(t);
		if (n % 2)
			kunit_deactivate_static_stub(test, zs_copy_slot);
		t->nr_until_failure = 0;
		zst_compact(t);
		KUNIT_EXPECT_GT(test, class->guest_blocks, 0);
		KUNIT_EXPECT_GT(test, class->nr_forwarders, 0);
		thin_out(t, 0, 3);
	}
	free_all(t);

	/* A guest is moved to a new host, with a new guest block: the old one is freed. */
	t->nr_until_failure = 0;
	sparse_zspages(t, size, 2, 2);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	own = t->nr;
	fill_zspage(t, size);
	thin_out(t, own, 2);
	for (unsigned int i = own; i--;)
		if (obj_is_forwarded(&t->objs[i]) ? guests++ : true)
			obj_free(t, &t->objs[i]);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	KUNIT_EXPECT_EQ(test, class->guest_blocks, 1);
	free_all(t);
	kunit_deactivate_static_stub(test, zs_alloc_supply);

	zs_flush_deferred();
	rcu_barrier();
	class->cache = was;
	expect_all_freed_to(test, descriptors);
	expect_all_freed_to(test, t->cache);
}

/* Memory for evacuations, of which blocks are counted until they are freed */
static void *block_supply(size_t size, gfp_t gfp)
{
	struct zst *t = current_zst();
	void *memory = kmalloc(size, GFP_KERNEL);

	if (size != sizeof(struct zs_guest_block))
		return memory;
	t->spare.allocated++;
	for (int i = 0; i < ARRAY_SIZE(t->spare.blocks); i++)
		if (!t->spare.blocks[i]) {
			t->spare.blocks[i] = memory;
			return memory;
		}
	KUNIT_FAIL(t->test, "too many blocks\n");
	return memory;
}

/* Called by any thread that frees memory: the test is in @data. */
static void note_freed_block(void *data, unsigned long call_site, const void *memory)
{
	struct zst *t = data;

	for (int i = 0; i < ARRAY_SIZE(t->spare.blocks); i++)
		if (memory && t->spare.blocks[i] == memory)
			t->spare.blocks[i] = NULL;
}

static void end_of_freed_blocks(void *data)
{
	unregister_trace_kfree(note_freed_block, data);
	tracepoint_synchronize_unregister();
}

/* Blocks that were allocated, and have no guests */
static unsigned int spare_blocks(struct zst *t)
{
	unsigned int nr = 0;

	for (int i = 0; i < ARRAY_SIZE(t->spare.blocks); i++)
		nr += !!t->spare.blocks[i];
	return nr - t->spare.class->guest_blocks;
}

static void watch_spare_blocks(const char *point)
{
	struct kunit *test = kunit_get_current_test();
	struct zst *t;

	/* Other threads come by here, too. They belong to no test. */
	if (!test || strcmp(point, "searching"))
		return;
	t = test->priv;
	t->spare.most = max(t->spare.most, spare_blocks(t));
}

/*
 * A block that an evacuation leaves is used for the next one. What is more than that
 * may need is freed at once.
 */
static void blocks_left_by_an_evacuation_are_used_or_freed(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, SCALED(256));
	unsigned int slots = class->geo.slots;
	struct zspage *host = NULL;

	t->spare.class = class;
	if (register_trace_kfree(note_freed_block, t))
		kunit_skip(test, "no CONFIG_TRACEPOINTS");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, end_of_freed_blocks, t));
	kunit_activate_static_stub(test, zs_alloc_supply, block_supply);

	/* A host with one guest, and another one with two. Each needs up to two blocks. */
	for (unsigned int nr = 1; nr <= 2; nr++) {
		unsigned int first = t->nr;

		fill_zspage(t, SCALED(256));
		host = obj_zspage(fill_zspage(t, SCALED(256)));
		keep_if(t, first, n, n < nr || n >= slots + nr);
		t->spare.allocated = 0;
		t->spare.most = 0;
		WRITE_ONCE(zs_race_hook, watch_spare_blocks);
		KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
		WRITE_ONCE(zs_race_hook, NULL);
		KUNIT_EXPECT_EQ(test, host->nr_guests, nr);
		/* The one with guests, and those for the next evacuation */
		KUNIT_EXPECT_EQ(test, t->spare.allocated, 1 + 2);
		KUNIT_EXPECT_EQ(test, t->spare.most, 2);
		KUNIT_EXPECT_EQ(test, spare_blocks(t), 0);
	}

	/* The two guests are moved to the first host, whose block has room for them. */
	keep_if(t, 0, n, n != 1 && n != 2 && n < slots + 2);
	KUNIT_ASSERT_EQ(test, host->inuse, 2);
	KUNIT_ASSERT_EQ(test, obj_host(&t->objs[0])->inuse, slots - 2);
	t->spare.most = 0;
	WRITE_ONCE(zs_race_hook, watch_spare_blocks);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	WRITE_ONCE(zs_race_hook, NULL);
	KUNIT_EXPECT_EQ(test, class->guest_blocks, 1);
	KUNIT_EXPECT_EQ(test, t->spare.most, 2);
	KUNIT_EXPECT_EQ(test, spare_blocks(t), 0);
	free_all(t);
	KUNIT_EXPECT_EQ(test, spare_blocks(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
}

/* An object is opened as memory is had to evacuate its zspage. */
static void *supply_for_another(size_t size, gfp_t gfp)
{
	struct zst *t = current_zst();

	if (t->opened_meanwhile)
		atomic_inc(&t->opened_meanwhile->pins);
	t->opened_meanwhile = NULL;
	return kmem_cache_alloc(t->cache, GFP_KERNEL);
}

/* The links for one zspage are of the wrong size for the next, and are freed. */
static void links_of_the_wrong_size_are_freed(struct kunit *test)
{
	const unsigned int size = PAGE_SIZE / 32;
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, size);
	unsigned int slots = class->geo.slots;
	struct zspage *first;

	t->cache = private_cache(test, "kunit-zs-supply", 1024);
	for (int i = 0; i < 4; i++)
		fill_zspage(t, size);
	first = obj_zspage(&t->objs[0]);
	/* A quarter of the first is in use, a half of the next, and most of the others. */
	keep_if(t, 0, n, n % slots < (n < slots ? slots / 4 :
				      n < 2 * slots ? slots / 2 : slots * 3 / 4));
	t->opened_meanwhile = first;
	kunit_activate_static_stub(test, zs_alloc_supply, supply_for_another);
	KUNIT_EXPECT_EQ(test, zst_compact(t), class->geo.pages);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	KUNIT_EXPECT_EQ(test, first->state, ZSPAGE_LIVE);
	atomic_dec(&first->pins);
	free_all(t);
	zs_flush_deferred();
	rcu_barrier();
	expect_all_freed_to(test, t->cache);
}

static void forwarded_objects_outlive_a_destroyed_pool(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zs_pool *pool = t->pool;

	sparse_zspages(t, SCALED(1000), 6, 2);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	kunit_warning_suppress(test) {
		zs_destroy_pool(pool);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	for (unsigned int i = 0; i < t->nr; i++)
		KUNIT_EXPECT_TRUE(test, obj_intact(t, &t->objs[i]));
	free_all(t);
	t->pool = NULL;
	zs_flush_deferred();
	rcu_barrier();
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
}

/* Documentation/mm/zsmalloc.rst states these bounds. */
static void expect_bounds(struct zst *t)
{
	const size_t bytes_per_guest = DIV_ROUND_UP(sizeof(struct zs_guest_block),
						    ZS_GUESTS_PER_BLOCK);
	struct size_class *class;

	for_each_class(class, t->pool, NUMA_NO_NODE) {
		size_t half = class->geo.pages * PAGE_SIZE / 2;
		unsigned long hosts = 0;

		for (int f = ZS_10; f <= ZS_FULL; f++)
			hosts += class->nr[f];
		KUNIT_ASSERT_LE(t->test, class->nr_forwarders, class->forwarded);
		KUNIT_ASSERT_LE(t->test, class->link_bytes, class->nr_forwarders *
				(half - zspage_descriptor_size(class->geo.pages,
							       class->geo.slots)));
		KUNIT_ASSERT_LE(t->test,
				class->guest_blocks * sizeof(struct zs_guest_block),
				class->forwarded * bytes_per_guest +
				hosts * sizeof(struct zs_guest_block));
	}
}

/*
 * Objects are allocated and freed for long, and compaction runs now and then. Its
 * forwarders, links and guest blocks stay within bounds, and take no more memory in the
 * second half of the time than in the first, but for chance.
 */
static void overhead_does_not_grow_over_time(struct kunit *test)
{
	const unsigned long steps = IS_ENABLED(CONFIG_UML) ? 10000000 : 200000;
	unsigned long freed = 0, most[2] = { };
	const unsigned int live = 4000;
	struct zst *t = test->priv;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 7);
	for (unsigned long i = 0; i < steps; i++) {
		u32 r = prandom_u32_state(&rnd);
		struct obj *o = &t->objs[r % live];

		if (o->handle) {
			zs_free(t->pool, o->handle);
			o->handle = 0;
		} else {
			o->size = SCALED(32 + (r >> 13) % 16 * 250);
			o->handle = zs_malloc(t->pool, o->size, GFP_TEST,
					      NUMA_NO_NODE);
			KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(o->handle));
			zs_obj_write(t->pool, o->handle, &o->handle,
				     sizeof(o->handle));
		}
		if (i % 2000 == 0) {
			unsigned int half = i >= steps / 2;

			expect_bounds(t);
			freed += zs_compact(t->pool);
			expect_bounds(t);
			most[half] = max(most[half], pool_added(t->pool));
			cond_resched();
		}
	}
	for (unsigned int i = 0; i < live; i++) {
		struct obj *o = &t->objs[i];
		unsigned long *mem;

		if (!o->handle)
			continue;
		mem = zs_obj_read_begin(t->pool, o->handle, o->size, t->copy);
		KUNIT_EXPECT_EQ(test, *mem, o->handle);
		zs_obj_read_end(t->pool, o->handle, o->size, mem);
	}
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
	kunit_info(test, "%lu steps, %lu pages freed, at most %lu bytes of forwarders and guests in the first half, %lu in the second\n",
		   steps, freed, most[0], most[1]);
	KUNIT_EXPECT_GT(test, freed, 0);
	KUNIT_EXPECT_GT(test, most[0], 0);
	KUNIT_EXPECT_LE(test, most[1], most[0] * 5 / 4);
	for (unsigned int i = 0; i < live; i++)
		zs_free(t->pool, t->objs[i].handle);
	KUNIT_EXPECT_EQ(test, pool_added(t->pool), 0);
}

/* A zspage that was emptied while it is isolated stays, but no object is moved there. */
static void empty_zspages_are_no_room(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, SCALED(256))->geo.slots;
	LIST_HEAD(list);

	needs_migration(test);
	fill_zspage(t, SCALED(256));
	fill_zspage(t, SCALED(256));
	KUNIT_ASSERT_TRUE(test, isolate(zpdesc_page(obj_zspage(&t->objs[0])->pages[0]),
					&list));
	keep_if(t, 0, n, n == slots);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	putback_movable_pages(&list);
}

static void zspages_of_several_groups_are_promised(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, SCALED(256));
	unsigned int slots = class->geo.slots;
	const unsigned int kept[] = { 1, slots / 4, slots / 2 };

	for (int i = 0; i < ARRAY_SIZE(kept); i++)
		fill_zspage(t, SCALED(256));
	keep_if(t, 0, n, n % slots < kept[n / slots]);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 2 * class->geo.pages);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 2 * class->geo.pages);
}

/*
 * Stands in for zs_page_is_bad(), which is called before the zspage is frozen. The first
 * time compaction still lacks the memory for the evacuation.
 */
static bool object_is_opened(struct page *page)
{
	struct zst *t = current_zst();

	if (!t->bad[0]) {
		t->bad[0] = page;
	} else if (t->bad[0] == page && !t->opened) {
		t->opened = page_zpdesc(page)->zspage;
		atomic_inc(&t->opened->pins);
	}
	return false;
}

static void many_open_zspages_are_tried_in_several_holds(struct kunit *test)
{
	struct zst *t = test->priv;

	sparse_zspages(t, SCALED(256), 40, 8);
	for (unsigned int i = 0; i < t->nr; i++)
		atomic_inc(&obj_zspage(&t->objs[i])->pins);
	KUNIT_EXPECT_EQ(test, watched_compact(t, NULL), 0);
	KUNIT_EXPECT_GE(test, t->search.tried, 40);
	KUNIT_EXPECT_LE(test, t->search.longest_hold, 16);
	for (unsigned int i = 0; i < t->nr; i++)
		atomic_dec(&obj_zspage(&t->objs[i])->pins);
}

static void zspage_opened_just_before_the_freeze_is_not_evacuated(struct kunit *test)
{
	struct zst *t = test->priv;

	sparse_zspages(t, SCALED(256), 2, 8);
	kunit_activate_static_stub(test, zs_page_is_bad, object_is_opened);
	zs_compact(t->pool);
	kunit_deactivate_static_stub(test, zs_page_is_bad);
	KUNIT_ASSERT_NOT_NULL(test, t->opened);
	KUNIT_EXPECT_EQ(test, t->opened->state, ZSPAGE_LIVE);
	atomic_dec(&t->opened->pins);
}

/*
 * Growing zspages
 */

/* A size whose zspages have several pages, with several slots in each */
static size_t many_slots_size(struct kunit *test)
{
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--)
		if (geo[nr].pages >= 2 && geo[nr].slots > 4 * geo[nr].pages)
			return geo[nr].size;
	kunit_skip(test, "no class with several pages, and slots in each");
}

static void growing_zspages_are_hosts(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = many_slots_size(test);
	struct size_class *class = test_class(t, size);
	struct zspage *growing, *complete;
	unsigned long promised;

	zs_small_class = UINT_MAX;
	complete = obj_zspage(fill_zspage(t, size));
	growing = obj_zspage(obj_alloc(t, size));
	KUNIT_ASSERT_EQ(test, growing->nr_pages, 1);
	KUNIT_ASSERT_GT(test, zspage_slots(growing), 3);
	/* The growing zspage has room for two objects of the other one. */
	keep_if(t, 0, n, n < 2 || n == class->geo.slots);
	promised = zs_freeable_pages(t->pool, TEST_NODE);
	KUNIT_EXPECT_EQ(test, promised, class->geo.pages);
	KUNIT_EXPECT_EQ(test, zst_compact(t), promised);
	KUNIT_EXPECT_EQ(test, complete->state, ZSPAGE_FORWARDER);
	for (unsigned int i = 0; i < t->nr; i++)
		KUNIT_EXPECT_PTR_EQ(test, obj_host(&t->objs[i]), growing);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 1);
	/* Nothing is left to be gained. */
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	/* It grows on, with guests. */
	while (class->nr[ZS_GROWING])
		obj_alloc(t, size);
	expect_all_intact(t);
	expect_model(t);
}

/* It frees as many pages as it has, not as many as others have. */
static void growing_zspages_are_evacuated(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = many_slots_size(test);
	struct size_class *class = test_class(t, size);
	struct zspage *complete, *growing;
	struct obj *o;

	zs_small_class = UINT_MAX;
	complete = obj_zspage(fill_zspage(t, size));
	o = obj_alloc(t, size);
	growing = obj_zspage(o);
	/* No other zspage has a free slot. */
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	obj_free(t, &t->objs[0]);
	o = &t->objs[0];
	KUNIT_ASSERT_PTR_EQ(test, obj_zspage(o), growing);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 1);
	KUNIT_EXPECT_EQ(test, growing->state, ZSPAGE_FORWARDER);
	KUNIT_EXPECT_PTR_EQ(test, obj_host(o), complete);
	KUNIT_EXPECT_EQ(test, class->nr[ZS_GROWING], 0);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), class->geo.pages);
	/* The next one is another zspage. */
	KUNIT_EXPECT_PTR_NE(test, obj_zspage(obj_alloc(t, size)), growing);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), class->geo.pages + 1);
	expect_all_intact(t);
	expect_model(t);
}

/* There is room for another zspage, too, but one of its objects is open. */
static void growing_zspages_are_evacuated_after_others(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = many_slots_size(test);
	struct size_class *class = test_class(t, size);
	struct scatterlist sg[2];
	struct zspage *growing;

	zs_small_class = UINT_MAX;
	fill_zspage(t, size);
	growing = obj_zspage(obj_alloc(t, size));
	keep_if(t, 0, n, n < 2 || n == class->geo.slots);
	zs_obj_read_sg_begin(t->pool, t->objs->handle, sg, size);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 1);
	zs_obj_read_sg_end(t->pool, t->objs->handle);
	KUNIT_EXPECT_EQ(test, growing->state, ZSPAGE_FORWARDER);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), class->geo.pages);
	expect_all_intact(t);
}

/* The end of the isolation frees it, so moving objects to it would not free as many pages. */
static void growing_zspages_without_objects_are_no_hosts(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = many_slots_size(test);
	struct size_class *class = test_class(t, size);
	struct zspage *growing;
	LIST_HEAD(list);

	needs_migration(test);
	zs_small_class = UINT_MAX;
	fill_zspage(t, size);
	growing = obj_zspage(obj_alloc(t, size));
	KUNIT_EXPECT_EQ(test, isolate_zspage(growing, &list), 1);
	keep_if(t, 0, n, n < 2);
	KUNIT_EXPECT_EQ(test, growing->fullness, ZS_GROWING);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 0);
	end_isolation(t, &list, false);
	zst_flush_deferred(test);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), class->geo.pages);
	expect_all_intact(t);
}

/* It has fewer free slots than there are objects to move, so its own object is moved. */
static void objects_are_not_moved_to_pages_that_are_not_there(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = many_slots_size(test);
	struct size_class *class = test_class(t, size);
	struct zspage *growing;
	unsigned int room;

	zs_small_class = UINT_MAX;
	fill_zspage(t, size);
	growing = obj_zspage(obj_alloc(t, size));
	room = zspage_slots(growing) - 1;
	KUNIT_ASSERT_LT(test, room + 1, class->geo.slots);
	keep_if(t, 0, n, n < room + 1 || n == class->geo.slots);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_EQ(test, zst_compact(t), 1);
	KUNIT_EXPECT_EQ(test, growing->state, ZSPAGE_FORWARDER);
}

static void bad_zspages_do_not_grow(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = many_slots_size(test);
	struct size_class *class = test_class(t, size);
	struct zspage *bad;

	zs_small_class = UINT_MAX;
	/* One has free slots when it goes bad, the other has none. */
	for (unsigned int full = 0; full < 2; full++) {
		bad = obj_zspage(obj_alloc(t, size));
		while (full && bad->inuse < zspage_slots(bad))
			obj_alloc(t, size);
		go_bad(t, zpdesc_page(bad->pages[0]));
		KUNIT_EXPECT_PTR_NE(test, obj_zspage(obj_alloc(t, size)), bad);
		KUNIT_EXPECT_EQ(test, bad->fullness, ZS_BAD);
		KUNIT_EXPECT_EQ(test, bad->nr_pages, 1);
		KUNIT_EXPECT_EQ(test, class->nr[ZS_GROWING], 1);
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 2 + full);
		expect_all_intact(t);
		obj_free(t, &t->objs[t->nr - 1]);
		KUNIT_EXPECT_EQ(test, class->nr[ZS_GROWING], 0);
	}
	free_all(t);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
}

static struct kunit_case compaction_cases[] = {
	KUNIT_CASE(empty_zspages_are_no_room),
	KUNIT_CASE(zspages_of_several_groups_are_promised),
	KUNIT_CASE(zspage_opened_just_before_the_freeze_is_not_evacuated),
	KUNIT_CASE(many_open_zspages_are_tried_in_several_holds),
	KUNIT_CASE(compaction_packs_objects),
	KUNIT_CASE(compaction_of_a_packed_pool_frees_nothing),
	KUNIT_CASE(forwarded_objects_can_be_written),
	KUNIT_CASE(objects_can_be_moved_many_times),
	KUNIT_CASE(forwarders_are_freed_with_their_last_object),
	KUNIT_CASE(double_free_through_a_forwarder_is_reported),
	KUNIT_CASE(compaction_skips_zspages_with_open_objects),
	KUNIT_CASE(compaction_skips_isolated_zspages),
	KUNIT_CASE(compaction_skips_zspages_with_locked_pages),
	KUNIT_CASE_PARAM(busy_zspages_do_not_stop_compaction, nr_busy_gen_params),
	KUNIT_CASE(busy_zspages_do_not_stop_reclaim),
	KUNIT_CASE(zspages_are_freed_and_allocated_during_a_search),
	KUNIT_CASE(compaction_during_a_search_of_another_task),
	KUNIT_CASE_PARAM(compaction_ends_at_the_first_failed_allocation, packers_gen_params),
	KUNIT_CASE(guests_are_moved_to_many_hosts),
	KUNIT_CASE(guests_are_not_moved_to_too_many_hosts),
	KUNIT_CASE(evacuation_pays_whatever_guests_its_hosts_have),
	KUNIT_CASE(compaction_frees_more_than_it_allocates),
	KUNIT_CASE(bad_zspages_get_no_new_objects),
	KUNIT_CASE_PARAM(compaction_skips_bad_zspages, bad_firsts_gen_params),
	KUNIT_CASE(bad_zspage_is_freed_by_the_last_putback),
	KUNIT_CASE(compaction_begins_only_if_there_is_room),
	KUNIT_CASE(failed_evacuation_does_not_stop_others),
	KUNIT_CASE(failed_copy_undoes_the_evacuation),
	KUNIT_CASE(half_readable_object_is_not_moved),
	KUNIT_CASE_PARAM(host_that_goes_bad_gets_no_more_guests, evacuation_ends_gen_params),
	KUNIT_CASE(evacuation_has_to_pay),
	KUNIT_CASE(total_pages_include_links_and_guest_blocks),
	KUNIT_CASE(shrinker_does_not_repeat_a_vain_promise),
	KUNIT_CASE(forwarders_have_only_the_links_they_need),
	KUNIT_CASE(total_pages_include_slabs_that_stay),
	KUNIT_CASE(forwarders_that_lose_objects_are_trimmed),
	KUNIT_CASE(forwarder_is_trimmed_when_half_is_free),
	KUNIT_CASE(trimming_without_memory_does_no_harm),
	KUNIT_CASE(trimming_does_not_stop_compaction),
	KUNIT_CASE(shrinker_frees_as_much_as_it_counts),
	KUNIT_CASE_PARAM(busy_host_emptied_through_forwarders_is_freed_later,
			 busy_hosts_gen_params),
	KUNIT_CASE(pages_of_hosts_can_be_migrated),
	KUNIT_CASE(compaction_survives_allocation_failure),
	KUNIT_CASE(room_is_in_vain_if_reclaim_lacks_memory),
	KUNIT_CASE(only_reclaim_may_take_reserves),
	KUNIT_CASE_PARAM(all_metadata_is_freed, metadata_sizes_gen_params),
	KUNIT_CASE(blocks_left_by_an_evacuation_are_used_or_freed),
	KUNIT_CASE(links_of_the_wrong_size_are_freed),
	KUNIT_CASE(forwarded_objects_outlive_a_destroyed_pool),
	KUNIT_CASE_SLOW(overhead_does_not_grow_over_time),
	KUNIT_CASE(growing_zspages_are_hosts),
	KUNIT_CASE(growing_zspages_are_evacuated),
	KUNIT_CASE(growing_zspages_are_evacuated_after_others),
	KUNIT_CASE(growing_zspages_without_objects_are_no_hosts),
	KUNIT_CASE(objects_are_not_moved_to_pages_that_are_not_there),
	KUNIT_CASE(bad_zspages_do_not_grow),
	{ }
};

static struct kunit_suite compaction_suite = {
	.name = "zsmalloc_compaction",
	.init = zst_init,
	.exit = zst_exit,
	.test_cases = compaction_cases,
};

kunit_test_suite(compaction_suite);
