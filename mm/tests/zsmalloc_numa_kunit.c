// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc: nodes and class sets
 */
#include <linux/nodemask.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>
#include <trace/events/kmem.h>

#include "zsmalloc_kunit.h"

static const struct test_size long_and_page[] = {
	{ "long", LONG_SIZE },
	{ "page", PAGE_SIZE },
};

KUNIT_ARRAY_PARAM_DESC(long_and_page, long_and_page, name);

static const struct test_size small_long_and_page[] = {
	{ "small", 32 },
	{ "long", LONG_SIZE },
	{ "page", PAGE_SIZE },
};

KUNIT_ARRAY_PARAM_DESC(small_long_and_page, small_long_and_page, name);

static void pages_come_from_the_requested_node(struct kunit *test)
{
	size_t size = param_size(test);
	struct zst *t = test->priv;
	int nid;

	if (num_node_state(N_MEMORY) < 2)
		kunit_skip(test, "one node only");
	for_each_node_state(nid, N_MEMORY) {
		struct zspage *zspage;
		unsigned long handle;
		unsigned int slot;

		handle = zs_malloc(t->pool, size, GFP_TEST, nid);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
		zspage = zs_decode_location(handle, &slot);
		for (unsigned int i = 0; i < zspage->class->geo.pages; i++)
			KUNIT_EXPECT_EQ(test, nid,
					page_to_nid(zpdesc_page(zspage->pages[i])));
		zs_free(t->pool, handle);
	}
}

static void needs_two_nodes(struct kunit *test, int nid[2])
{
	if (num_node_state(N_MEMORY) < 2)
		kunit_skip(test, "one node only");
	nid[0] = first_memory_node;
	nid[1] = next_memory_node(nid[0]);
}

static int obj_node(const struct obj *o)
{
	return page_to_nid(zpdesc_page(obj_host(o)->pages[0]));
}

static void free_slots_of_the_requested_node_are_used_first(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, size)->geo.slots;
	unsigned int pages = test_class(t, size)->geo.pages;
	int nid[2];

	needs_two_nodes(test, nid);
	for (unsigned int i = 0; i < 2 * slots; i++) {
		struct obj *o = obj_alloc_node(t, size, nid[i % 2]);

		KUNIT_EXPECT_EQ(test, obj_node(o), nid[i % 2]);
		/* One zspage on either node */
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool),
				min(i + 1, 2U) * pages);
	}
	/* Without a node, free slots are used, which only this node has. */
	obj_alloc_node(t, size, nid[1]);
	for (unsigned int i = 1; i < slots; i++)
		KUNIT_EXPECT_EQ(test, nid[1],
				obj_node(obj_alloc_node(t, size, NUMA_NO_NODE)));
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 3 * pages);
	expect_all_intact(t);
}

static unsigned int nr_classes(struct zs_pool *pool, int nid)
{
	struct size_class *class;
	unsigned int nr = 0;

	for_each_class(class, pool, nid)
		nr++;
	return nr;
}

static struct zs_pool *measured_pool(size_t size)
{
	current_zst()->size_of_pool = size;
	return kvzalloc(size, GFP_KERNEL);
}

/* A kernel for a thousand nodes may run on a machine with few of them. */
static void pool_takes_no_memory_for_unused_nodes(struct kunit *test)
{
	static const char name[] = "kunit-nodes";
	struct zst *t = test->priv;
	struct zs_pool *pool;
	unsigned int geos;
	int node;

	kunit_activate_static_stub(test, zs_alloc_pool, measured_pool);
	pool = zs_create_pool(name);
	kunit_deactivate_static_stub(test, zs_alloc_pool);
	KUNIT_ASSERT_NOT_NULL(test, pool);
	KUNIT_EXPECT_EQ(test, t->size_of_pool, sizeof(*pool) + sizeof(name) +
			zs_nr_sets() * sizeof(struct size_class *));
	zs_geometries(&geos);
	KUNIT_EXPECT_EQ(test, nr_classes(pool, NUMA_NO_NODE), geos);
	KUNIT_EXPECT_EQ(test, nr_classes(pool, TEST_NODE), geos);

	/* One after the other */
	for_each_node_state(node, N_MEMORY) {
		unsigned long handle;

		if (node != TEST_NODE) {
			KUNIT_EXPECT_NULL(test, node_class(pool, 100, node));
			KUNIT_EXPECT_EQ(test, nr_classes(pool, node), 0);
		}
		handle = zs_malloc(pool, 100, GFP_TEST, node);
		KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
		zs_free(pool, handle);
		KUNIT_EXPECT_NOT_NULL(test, node_class(pool, 100, node));
		KUNIT_EXPECT_EQ(test, nr_classes(pool, node), geos);
	}
	KUNIT_EXPECT_EQ(test, nr_classes(pool, NUMA_NO_NODE),
			num_node_state(N_MEMORY) * geos);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(pool) ?: "", "");
	zs_destroy_pool(pool);
}

static struct size_class *classes_of_no_node(int nid, gfp_t gfp)
{
	struct size_class *classes;
	unsigned int geos;

	zs_geometries(&geos);
	classes = kvcalloc(geos, sizeof(*classes), GFP_KERNEL);
	for (unsigned int i = 0; classes && i < geos; i++)
		classes[i].nid = NUMA_NO_NODE;
	return classes;
}

static void classes_know_their_node(struct kunit *test)
{
	struct zst *t = test->priv;
	int node;

	zst_destroy(t);
	kunit_activate_static_stub(test, zs_alloc_classes, classes_of_no_node);
	t->pool = zs_create_pool("kunit");
	KUNIT_ASSERT_NOT_NULL(test, t->pool);
	for_each_node_state(node, N_MEMORY) {
		struct size_class *class;

		obj_alloc_node(t, 100, node);
		for_each_class(class, t->pool, node)
			KUNIT_EXPECT_EQ(test, class->nid, node);
	}
	kunit_deactivate_static_stub(test, zs_alloc_classes);
	expect_all_intact(t);
}

/* Called by any thread that allocates memory: the test is in @data. */
static void note_gfp_of_classes(void *data, unsigned long call_site, const void *memory,
				size_t size, size_t bytes, gfp_t gfp, int nid)
{
	struct zst *t = data;
	unsigned int geos;

	zs_geometries(&geos);
	if (kunit_get_current_test() == t->test && size == geos * sizeof(struct size_class))
		t->gfp_of_classes = gfp;
}

static void end_of_gfp(void *data)
{
	unregister_trace_kmalloc(note_gfp_of_classes, data);
	tracepoint_synchronize_unregister();
}

/* Flags for zones and nodes apply to the pages of a zspage only. */
static void classes_are_not_in_movable_memory(struct kunit *test)
{
	const gfp_t of_pages = __GFP_HIGHMEM | __GFP_MOVABLE | __GFP_THISNODE;
	struct zst *t = test->priv;

	if (register_trace_kmalloc(note_gfp_of_classes, t))
		kunit_skip(test, "no CONFIG_TRACEPOINTS");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, end_of_gfp, t));
	kvfree(zs_alloc_classes(TEST_NODE, GFP_KERNEL | of_pages));
	KUNIT_EXPECT_TRUE(test, !!t->gfp_of_classes);
	KUNIT_EXPECT_FALSE(test, !!(t->gfp_of_classes & of_pages));
	/* Nor may they be taken from the reserves. */
	KUNIT_EXPECT_TRUE(test, !!(t->gfp_of_classes & __GFP_NOMEMALLOC));
}

/* As zswap allocates, and with a lock held */
static void first_object_of_a_node_in_atomic_context(struct kunit *test)
{
	struct zst *t = test->priv;
	static DEFINE_SPINLOCK(lock);
	unsigned long handle;
	int nid[2];

	needs_two_nodes(test, nid);
	spin_lock_bh(&lock);
	handle = zs_malloc(t->pool, 100, GFP_NOWAIT | __GFP_HIGHMEM | __GFP_MOVABLE,
			   nid[1]);
	spin_unlock_bh(&lock);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_EXPECT_NOT_NULL(test, node_class(t->pool, 100, nid[1]));
	zs_free(t->pool, handle);
}

static struct size_class *count_and_fail(int nid, gfp_t gfp)
{
	struct zst *t = current_zst();

	t->nr_set_tries++;
	KUNIT_EXPECT_FALSE(t->test, gfp & __GFP_RECLAIM);
	return NULL;
}

/* At most one, and another one in each second */
static void expect_few_tries_since(struct zst *t, unsigned long start)
{
	KUNIT_EXPECT_GE(t->test, t->nr_set_tries, 1);
	KUNIT_EXPECT_LE(t->test, t->nr_set_tries, 1 + (jiffies - start) / HZ);
}

/* Objects get memory of their node, but share the lists of another node. */
static void node_works_without_classes(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, size)->geo.slots;
	unsigned int pages = test_class(t, size)->geo.pages;
	unsigned long start = jiffies;
	int nid[2];

	needs_two_nodes(test, nid);
	kunit_activate_static_stub(test, zs_alloc_classes, count_and_fail);
	for (unsigned int i = 0; i < 2 * slots; i++) {
		KUNIT_EXPECT_EQ(test, nid[1],
				obj_node(obj_alloc_node(t, size, nid[1])));
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool),
				(i / slots + 1) * pages);
	}
	expect_few_tries_since(t, start);
	KUNIT_EXPECT_NULL(test, node_class(t->pool, size, nid[1]));
	KUNIT_EXPECT_EQ(test, node_class(t->pool, size, nid[0])->inuse, 2 * slots);
	thin_out(t, 0, 2);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, nid[1]), 0);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_classes);

	/* The next one has classes, whatever the others have. */
	t->pool->set_failed = jiffies - HZ;
	obj_alloc_node(t, size, nid[1]);
	KUNIT_ASSERT_NOT_NULL(test, node_class(t->pool, size, nid[1]));
	KUNIT_EXPECT_EQ(test, node_class(t->pool, size, nid[1])->inuse, 1);
	expect_all_intact(t);
	expect_model(t);
}

/*
 * Only the mark of the node is taken away for a moment. The caller of zs_malloc() sees
 * no more than that of a node that is offline.
 */
static void allocation_for_an_offline_node_succeeds(struct kunit *test)
{
	size_t size = param_size(test);
	struct zst *t = test->priv;
	unsigned long handle;
	bool was_online;
	int nid;

	if (nr_node_ids < 2)
		kunit_skip(test, "one node only");
	nid = nr_node_ids - 1;
	was_online = node_online(nid);
	if (was_online)
		node_set_offline(nid);
	handle = zs_malloc(t->pool, size, GFP_TEST, nid);
	if (was_online)
		node_set_online(nid);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
	zs_free(t->pool, handle);
}

/* Memory of t->empty_node, and all the caller may do to get some, is used up. */
static unsigned int no_bulk_on_empty_node(gfp_t gfp, int nid, unsigned int nr,
					  struct zpdesc **pages)
{
	return 0;
}

static struct zpdesc *none_on_empty_node(gfp_t gfp, int nid)
{
	struct zst *t = current_zst();

	t->gfp_of_last_page = gfp;
	if (nid != t->empty_node)
		return page_zpdesc(alloc_pages_node(nid, gfp, 0));
	if (gfp & __GFP_THISNODE)
		return NULL;
	/* As the page allocator falls back */
	return page_zpdesc(alloc_pages_node(next_memory_node(nid), gfp, 0));
}

/* There is memory on the first node. */
static struct zpdesc *first_nodes_page(gfp_t gfp, int nid)
{
	if (nid == current_zst()->empty_node && (gfp & __GFP_THISNODE))
		return NULL;
	return page_zpdesc(alloc_pages_node(first_memory_node, gfp, 0));
}

static void slots_of_other_nodes_are_used_before_reclaim(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, size)->geo.slots;
	unsigned int pages = test_class(t, size)->geo.pages;
	int nid[2];

	needs_two_nodes(test, nid);
	obj_alloc_node(t, size, nid[1]);
	t->empty_node = nid[0];
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk_on_empty_node);
	kunit_activate_static_stub(test, zs_alloc_single, none_on_empty_node);
	for (unsigned int i = 1; i < 3 * slots; i++) {
		t->gfp_of_last_page = 0;
		KUNIT_EXPECT_EQ(test, nid[1],
				obj_node(obj_alloc_node(t, size, nid[0])));
		/* New zspages are of the other node, too. */
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool),
				(i / slots + 1) * pages);
		/* It has looked for memory that is free, and only then for more. */
		KUNIT_EXPECT_EQ(test, !(i % slots),
				!!(t->gfp_of_last_page & __GFP_DIRECT_RECLAIM));
		KUNIT_EXPECT_EQ(test, !!(i % slots),
				!!(t->gfp_of_last_page & __GFP_THISNODE));
	}
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
	expect_all_intact(t);
}

static void slots_of_other_nodes_are_used_before_reserves(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned long handle, pages;
	int nid[2];

	needs_two_nodes(test, nid);
	obj_alloc_node(t, size, nid[1]);
	pages = pool_pages(t->pool);
	t->empty_node = nid[0];
	t->gfp_of_last_page = __GFP_HIGH;
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk_on_empty_node);
	kunit_activate_static_stub(test, zs_alloc_single, none_on_empty_node);
	handle = zs_malloc(t->pool, size, GFP_ATOMIC | __GFP_HIGHMEM | __GFP_MOVABLE, nid[0]);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
	KUNIT_EXPECT_FALSE(test, t->gfp_of_last_page & __GFP_HIGH);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	zs_free(t->pool, handle);
}

/* Of all nodes with a free slot the nearest is taken, not the one with the lowest number. */
static void slots_of_the_nearest_node_are_used(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, size)->geo.slots;
	unsigned int pages = 0, nodes = num_node_state(N_MEMORY);
	struct zoneref *z;
	int node, last;

	if (nodes < 3)
		kunit_skip(test, "no three nodes");
	/* From the last but one, the order is another than from the first. */
	t->empty_node = NUMA_NO_NODE;
	for_each_node_state(node, N_MEMORY)
		if (next_memory_node(node) < MAX_NUMNODES)
			t->empty_node = node;
	for_each_node_state(node, N_MEMORY)
		if (node != t->empty_node)
			obj_alloc_node(t, size, node);
	pages = pool_pages(t->pool);

	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk_on_empty_node);
	kunit_activate_static_stub(test, zs_alloc_single, none_on_empty_node);
	last = t->empty_node;
	for (z = node_zonelist(t->empty_node, GFP_TEST)->_zonerefs; zonelist_zone(z); z++) {
		if (zonelist_node_idx(z) == last)
			continue;
		last = zonelist_node_idx(z);
		for (unsigned int i = 1; i < slots; i++)
			KUNIT_EXPECT_EQ(test, last,
					obj_node(obj_alloc_node(t, size, t->empty_node)));
	}
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
	KUNIT_EXPECT_EQ(test, t->nr, (nodes - 1) * slots);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	expect_all_intact(t);
}

/* Neither memory nor slots of another node */
static void thisnode_allocation_uses_no_other_node(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	int nid[2];

	needs_two_nodes(test, nid);
	obj_alloc_node(t, size, nid[1]);
	t->empty_node = nid[0];
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk_on_empty_node);
	kunit_activate_static_stub(test, zs_alloc_single, none_on_empty_node);
	KUNIT_EXPECT_EQ(test, zs_malloc(t->pool, size, GFP_TEST | __GFP_THISNODE, nid[0]),
			(unsigned long)-ENOMEM);
	KUNIT_EXPECT_EQ(test, nid[1], obj_node(obj_alloc_node(t, size, nid[0])));
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
}

static bool not_on_empty_node(int nid)
{
	return nid != current_zst()->empty_node && node_state(nid, N_MEMORY);
}

/* Reclaim does not ask for such a node, so another one has to pack its zspages. */
static void node_without_memory_is_packed_by_another(struct kunit *test)
{
	size_t size = long_size(test);
	struct shrink_control sc = { .gfp_mask = GFP_KERNEL, .nr_to_scan = 1000 };
	struct zst *t = test->priv;
	struct shrinker *shrinker = t->pool->shrinker;
	unsigned long freeable, pages;
	int nid[2], node;

	needs_two_nodes(test, nid);
	for (unsigned int i = 8 * test_class(t, size)->geo.slots; i--;)
		obj_alloc_node(t, size, nid[1]);
	thin_out(t, 0, 2);
	freeable = zs_freeable_pages(t->pool, nid[1]);
	KUNIT_EXPECT_GT(test, freeable, 0);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, nid[0]), 0);

	t->empty_node = nid[1];
	kunit_activate_static_stub(test, zs_node_has_memory, not_on_empty_node);
	for_each_node_state(node, N_MEMORY)
		KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, node),
				node == nid[0] ? freeable : 0);
	sc.nid = nid[0];
	pages = pool_pages(t->pool);
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc), freeable);
	KUNIT_EXPECT_GE(test, shrinker->scan_objects(shrinker, &sc), freeable);
	KUNIT_EXPECT_LE(test, pool_pages(t->pool), pages - freeable);
	kunit_deactivate_static_stub(test, zs_node_has_memory);
	expect_all_intact(t);
	expect_model(t);
}

/* An object for such a node is allocated nearby, and the node gets no classes. */
static void node_without_memory_gets_no_classes(struct kunit *test)
{
	struct zst *t = test->priv;
	int nid[2];

	needs_two_nodes(test, nid);
	t->empty_node = nid[1];
	kunit_activate_static_stub(test, zs_node_has_memory, not_on_empty_node);
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk_on_empty_node);
	kunit_activate_static_stub(test, zs_alloc_single, first_nodes_page);
	KUNIT_EXPECT_EQ(test, nid[0], obj_node(obj_alloc_node(t, 100, nid[1])));
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
	kunit_deactivate_static_stub(test, zs_node_has_memory);
	KUNIT_EXPECT_NULL(test, node_class(t->pool, 100, nid[1]));
	expect_all_intact(t);
}

/* Migrates one page of @zspage to node @nid. */
static void migrate_to_node(struct zst *t, struct zspage *zspage, unsigned int index,
			    int nid)
{
	LIST_HEAD(list);

	KUNIT_ASSERT_TRUE(t->test, isolate(zpdesc_page(zspage->pages[index]), &list));
	KUNIT_EXPECT_EQ(t->test, 0,
			migrate_pages(&list, folio_on_node, NULL, nid,
				      MIGRATE_SYNC, MR_COMPACTION, NULL));
}

static int node_of_first_byte(const struct obj *o)
{
	struct zspage *host;
	unsigned int slot;

	host = zs_decode_location(obj_where(o), &slot);
	return page_to_nid(zpdesc_page(host->pages[slot * host->class->geo.size /
						   PAGE_SIZE]));
}

static void expect_known_nodes(struct zst *t)
{
	for (unsigned int i = 0; i < t->nr; i++)
		KUNIT_EXPECT_EQ(t->test, node_of_first_byte(&t->objs[i]),
				zs_handle_to_nid(t->pool, t->objs[i].handle));
}

static void handle_to_nid_follows_the_object(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int forwarded = 0;
	struct zspage *zspage;
	int node;

	needs_migration(test);
	for_each_node_state(node, N_MEMORY) {
		for (unsigned int i = 4 * test_class(t, size)->geo.slots; i--;) {
			struct obj *o = obj_alloc_node(t, size, node);

			KUNIT_EXPECT_EQ(test, zs_handle_to_nid(t->pool, o->handle), node);
		}
	}
	expect_known_nodes(t);
	thin_out(t, 0, 2);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	expect_known_nodes(t);

	/* One page of each of two zspages is migrated from node to node. */
	for_each_node_state(node, N_MEMORY) {
		zspage = obj_host(&t->objs[0]);
		migrate_to_node(t, zspage, 0, node);
		expect_known_nodes(t);
		zspage = obj_host(&t->objs[t->nr - 1]);
		migrate_to_node(t, zspage, zspage->class->geo.pages - 1, node);
		expect_known_nodes(t);
	}
	for (unsigned int i = 0; i < t->nr; i++)
		forwarded += obj_is_forwarded(&t->objs[i]);
	KUNIT_EXPECT_GT(test, forwarded, 0);
	expect_quiet(t);
	expect_all_intact(t);
}

static void handle_to_nid_of_a_freed_object_is_reported(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned long handle;

	if (!IS_ENABLED(CONFIG_DEBUG_VM))
		kunit_skip(test, "no CONFIG_DEBUG_VM");
	/* A neighbour keeps the zspage. */
	obj_alloc(t, 100);
	handle = obj_alloc(t, 100)->handle;
	obj_free(t, &t->objs[1]);
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, zs_handle_to_nid(t->pool, handle), NUMA_NO_NODE);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	expect_quiet(t);
}

static void compaction_stays_within_each_node(struct kunit *test)
{
	size_t size = long_size(test);
	struct shrink_control sc = { .gfp_mask = GFP_KERNEL, .nr_to_scan = 1000 };
	struct zst *t = test->priv;
	struct shrinker *shrinker = t->pool->shrinker;
	unsigned int nr = 8 * test_class(t, size)->geo.slots;
	int nid[2];

	needs_two_nodes(test, nid);
	for (int round = 0; round < 2; round++) {
		unsigned long pages, freeable[2];

		for (int n = 0; n < 2; n++) {
			unsigned int first = t->nr;

			for (unsigned int i = 0; i < nr; i++)
				obj_alloc_node(t, size, nid[n]);
			thin_out(t, first, 2);
		}
		for (int n = 0; n < 2; n++)
			freeable[n] = zs_freeable_pages(t->pool, nid[n]);
		KUNIT_EXPECT_GT(test, freeable[0], 0);
		KUNIT_EXPECT_EQ(test, freeable[0], freeable[1]);

		/* Memory is short on the second node, but not on the first. */
		pages = pool_pages(t->pool);
		sc.nid = nid[1];
		KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc),
				freeable[1]);
		KUNIT_EXPECT_GE(test, shrinker->scan_objects(shrinker, &sc),
				freeable[1]);
		KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, nid[1]), 0);
		KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, nid[0]),
				freeable[0]);
		KUNIT_EXPECT_LE(test, pool_pages(t->pool),
				pages - freeable[1]);

		KUNIT_EXPECT_GE(test, zst_compact(t), freeable[0]);
		for (unsigned int i = 0; i < t->nr; i++)
			KUNIT_EXPECT_EQ(test, obj_node(&t->objs[i]),
					nid[i >= t->nr / 2]);
		expect_all_intact(t);
		free_all(t);
	}
}

/* Class sets */

static void needs_two_sets(struct kunit *test)
{
	struct zst *t = test->priv;

	if (!add_second_set(t->pool))
		kunit_skip(test, "not two CPUs");
}

static struct size_class *second_set(struct zst *t, size_t size, int nid)
{
	return zs_class(t->pool, size, zs_set_index(nid, 1));
}

static void cpus_allocate_from_their_sets(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, size)->geo.slots;
	struct obj *o;

	needs_two_sets(test);
	use_cpu(test, 0);
	o = fill_zspage(t, size);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(o)->class, test_class(t, size));
	KUNIT_EXPECT_NULL(test, second_set(t, size, TEST_NODE));
	use_cpu(test, 1);
	o = fill_zspage(t, size);
	KUNIT_ASSERT_NOT_NULL(test, second_set(t, size, TEST_NODE));
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(o)->class, second_set(t, size, TEST_NODE));
	KUNIT_EXPECT_EQ(test, obj_zspage(o)->class->nid, TEST_NODE);
	KUNIT_EXPECT_EQ(test, test_class(t, size)->inuse, slots);
	expect_all_intact(t);
	expect_model(t);

	/* A CPU frees objects of the other one. */
	use_cpu(test, 0);
	while (t->nr > slots)
		obj_free(t, &t->objs[t->nr - 1]);
	KUNIT_EXPECT_EQ(test, second_set(t, size, TEST_NODE)->inuse, 0);
	use_cpu(test, 1);
	free_all(t);
	KUNIT_EXPECT_EQ(test, test_class(t, size)->inuse, 0);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
}

/* Otherwise each set would have zspages that are not full. */
static void slots_of_other_sets_are_used_before_new_memory(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, size)->geo.slots;
	unsigned int pages = test_class(t, size)->geo.pages;

	needs_two_sets(test);
	for (unsigned int i = 0; i < 3 * slots; i++) {
		/* The sets take turns at getting the new zspages. */
		use_cpu(test, (i % slots ? i : i / slots) % 2);
		obj_alloc(t, size);
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool), (i / slots + 1) * pages);
	}
	expect_all_intact(t);
	expect_model(t);
}

/* And tries again after a second, not for each object. */
static void cpu_uses_the_first_set_without_memory_for_its_own(struct kunit *test)
{
	unsigned long start = jiffies;
	struct zst *t = test->priv;
	struct obj *o;

	needs_two_sets(test);
	use_cpu(test, 1);
	kunit_activate_static_stub(test, zs_alloc_classes, count_and_fail);
	o = fill_zspage(t, 100);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(o)->class, test_class(t, 100));
	KUNIT_EXPECT_NULL(test, second_set(t, 100, TEST_NODE));
	expect_few_tries_since(t, start);
	kunit_deactivate_static_stub(test, zs_alloc_classes);

	/* The next object has the CPU's own set. */
	t->pool->set_failed = jiffies - HZ;
	o = obj_alloc(t, 100);
	KUNIT_EXPECT_NOT_NULL(test, second_set(t, 100, TEST_NODE));
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(o)->class, second_set(t, 100, TEST_NODE));
	expect_all_intact(t);
}

/* Objects stay in their set, and the shrinker counts and packs all sets. */
static void each_set_is_packed(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int pages = test_class(t, size)->geo.pages;
	unsigned long freeable;

	needs_two_sets(test);
	for (unsigned int cpu = 0; cpu < 2; cpu++) {
		use_cpu(test, cpu);
		for (unsigned int i = 0; i < 4; i++)
			fill_zspage(t, size);
	}
	thin_out(t, 0, 4);
	freeable = zs_freeable_pages(t->pool, TEST_NODE);
	KUNIT_EXPECT_GE(test, freeable, 4 * pages);
	KUNIT_EXPECT_EQ(test, zst_compact(t), freeable);
	KUNIT_EXPECT_LE(test, test_class(t, size)->nr_live, 2);
	KUNIT_EXPECT_LE(test, second_set(t, size, TEST_NODE)->nr_live, 2);
	KUNIT_EXPECT_GT(test, second_set(t, size, TEST_NODE)->nr_forwarders, 0);
	expect_all_intact(t);
}

/* The class is that of the first set of another node, whatever the CPU. */
static void node_without_memory_uses_all_sets_of_another(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned long pages;
	struct obj *o;
	int nid[2];

	needs_two_nodes(test, nid);
	needs_two_sets(test);
	use_cpu(test, 0);
	fill_zspage(t, size);
	use_cpu(test, 1);
	o = obj_alloc(t, size);
	KUNIT_ASSERT_PTR_EQ(test, obj_zspage(o)->class, second_set(t, size, TEST_NODE));
	pages = pool_pages(t->pool);
	t->empty_node = nid[1];
	kunit_activate_static_stub(test, zs_node_has_memory, not_on_empty_node);
	o = obj_alloc_node(t, size, nid[1]);
	kunit_deactivate_static_stub(test, zs_node_has_memory);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(o)->class, second_set(t, size, TEST_NODE));
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	expect_all_intact(t);
}

static void slots_of_all_sets_of_a_node_are_used_before_reclaim(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int pages = test_class(t, size)->geo.pages;
	struct obj *o;
	int nid[2];

	needs_two_nodes(test, nid);
	needs_two_sets(test);
	use_cpu(test, 0);
	obj_alloc_node(t, size, nid[1]);
	obj_free(t, t->objs);
	use_cpu(test, 1);
	o = obj_alloc_node(t, size, nid[1]);
	KUNIT_ASSERT_PTR_EQ(test, obj_zspage(o)->class, second_set(t, size, nid[1]));
	t->empty_node = nid[0];
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk_on_empty_node);
	kunit_activate_static_stub(test, zs_alloc_single, none_on_empty_node);
	use_cpu(test, 0);
	o = obj_alloc_node(t, size, nid[0]);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(o)->class, second_set(t, size, nid[1]));
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
	expect_all_intact(t);
}

static struct zpdesc *single_on_last_node(gfp_t gfp, int nid)
{
	nid = next_memory_node(first_memory_node);
	return page_zpdesc(alloc_pages_node(nid, gfp | __GFP_THISNODE, 0));
}

/* A page for a growing zspage comes from another node: a zspage there gets it. */
static void zspages_grow_by_pages_of_their_node(struct kunit *test)
{
	struct zspage *growing, *other;
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = test_class(t, size);
	int nid[2];

	needs_two_nodes(test, nid);
	zs_small_class = UINT_MAX;
	growing = obj_zspage(obj_alloc_node(t, size, nid[0]));
	while (growing->inuse < zspage_slots(growing))
		obj_alloc_node(t, size, nid[0]);
	kunit_activate_static_stub(test, zs_alloc_single, single_on_last_node);
	other = obj_zspage(obj_alloc_node(t, size, nid[0]));
	KUNIT_EXPECT_EQ(test, other->class->nid, nid[1]);
	while (other->inuse < zspage_slots(other))
		obj_alloc_node(t, size, nid[1]);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc_node(t, size, nid[0])), other);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	KUNIT_EXPECT_EQ(test, growing->nr_pages, 1);
	KUNIT_EXPECT_EQ(test, class->nr_pages, 1);
	KUNIT_EXPECT_EQ(test, other->nr_pages, 2);
	for (unsigned int i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, page_to_nid(zpdesc_page(other->pages[i])), nid[1]);
	/* With memory there, the first one grows again. */
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc_node(t, size, nid[0])), growing);
	KUNIT_EXPECT_EQ(test, growing->nr_pages, 2);
	expect_all_intact(t);
}

static struct kunit_case numa_cases[] = {
	KUNIT_CASE_PARAM(pages_come_from_the_requested_node, long_and_page_gen_params),
	KUNIT_CASE(pool_takes_no_memory_for_unused_nodes),
	KUNIT_CASE(classes_know_their_node),
	KUNIT_CASE(classes_are_not_in_movable_memory),
	KUNIT_CASE(first_object_of_a_node_in_atomic_context),
	KUNIT_CASE(node_works_without_classes),
	KUNIT_CASE_PARAM(allocation_for_an_offline_node_succeeds, small_long_and_page_gen_params),
	KUNIT_CASE(free_slots_of_the_requested_node_are_used_first),
	KUNIT_CASE(zspages_grow_by_pages_of_their_node),
	KUNIT_CASE(slots_of_other_nodes_are_used_before_reclaim),
	KUNIT_CASE(slots_of_other_nodes_are_used_before_reserves),
	KUNIT_CASE(slots_of_the_nearest_node_are_used),
	KUNIT_CASE(thisnode_allocation_uses_no_other_node),
	KUNIT_CASE(node_without_memory_is_packed_by_another),
	KUNIT_CASE(node_without_memory_gets_no_classes),
	KUNIT_CASE(handle_to_nid_follows_the_object),
	KUNIT_CASE(handle_to_nid_of_a_freed_object_is_reported),
	KUNIT_CASE(compaction_stays_within_each_node),
	KUNIT_CASE(cpus_allocate_from_their_sets),
	KUNIT_CASE(slots_of_other_sets_are_used_before_new_memory),
	KUNIT_CASE(cpu_uses_the_first_set_without_memory_for_its_own),
	KUNIT_CASE(each_set_is_packed),
	KUNIT_CASE(node_without_memory_uses_all_sets_of_another),
	KUNIT_CASE(slots_of_all_sets_of_a_node_are_used_before_reclaim),
	{ }
};

static struct kunit_suite numa_suite = {
	.name = "zsmalloc_numa",
	.init = zst_init,
	.exit = zst_exit,
	.test_cases = numa_cases,
};

kunit_test_suite(numa_suite);
