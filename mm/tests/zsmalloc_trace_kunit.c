// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc: the events that its tracepoints report
 */
#include <linux/shrinker.h>
#include <linux/tracepoint.h>
#include <trace/events/zsmalloc.h>

#include "zsmalloc_kunit.h"

/* Events of the test's pool since forget_events() */
static struct {
	const char *pool;
	unsigned int isolations[ZS_ISOLATION_STALE + 1];
	unsigned int outcomes[ZS_OUTCOME_UNREADABLE + 1];
	unsigned int deferred, shrinks;
	unsigned int size, natives, guests;	/* of the last zspage */
	unsigned long asked, freed;
	unsigned long pfn;			/* of the last page */
	int nid;
} seen;

static bool is_ours(const char *pool)
{
	return !strcmp(pool, seen.pool);
}

static void see_isolation(void *data, const char *pool, unsigned long pfn,
			  enum zs_isolation result)
{
	if (!is_ours(pool) && result != ZS_ISOLATION_NO_ZSPAGE)
		return;
	seen.isolations[result]++;
	seen.pfn = pfn;
}

static void see_evacuation(void *data, const char *pool, unsigned int size,
			   unsigned int natives, unsigned int guests,
			   enum zs_outcome result)
{
	if (!is_ours(pool))
		return;
	seen.outcomes[result]++;
	seen.size = size;
	seen.natives = natives;
	seen.guests = guests;
}

static void see_deferred(void *data, const char *pool, unsigned int size)
{
	if (!is_ours(pool))
		return;
	seen.deferred++;
	seen.size = size;
}

static void see_shrink(void *data, const char *pool, int nid, unsigned long asked,
		       unsigned long freed)
{
	if (!is_ours(pool))
		return;
	seen.shrinks++;
	seen.nid = nid;
	seen.asked = asked;
	seen.freed = freed;
}

static void stop_watching(void *data)
{
	unregister_trace_zs_isolate_page(see_isolation, NULL);
	unregister_trace_zs_evacuate(see_evacuation, NULL);
	unregister_trace_zs_defer_free(see_deferred, NULL);
	unregister_trace_zs_shrink(see_shrink, NULL);
	tracepoint_synchronize_unregister();
}

static void forget_events(struct zst *t)
{
	memset(&seen, 0, sizeof(seen));
	seen.pool = t->pool->name;
}

static int trace_suite_init(struct kunit *test)
{
	int ret = zst_init(test);

	if (ret)
		return ret;
	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		kunit_skip(test, "no CONFIG_TRACEPOINTS");
	forget_events(test->priv);
	if (register_trace_zs_isolate_page(see_isolation, NULL) ||
	    register_trace_zs_evacuate(see_evacuation, NULL) ||
	    register_trace_zs_defer_free(see_deferred, NULL) ||
	    register_trace_zs_shrink(see_shrink, NULL))
		return -ENOMEM;
	return kunit_add_action_or_reset(test, stop_watching, NULL);
}

static void isolations_are_traced(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage;
	struct page *page;
	LIST_HEAD(list);

	needs_migration(test);
	obj_alloc(t, PAGE_SIZE);
	zspage = obj_zspage(&t->objs[0]);
	page = zpdesc_page(zspage->pages[0]);

	KUNIT_EXPECT_TRUE(test, isolate(page, &list));
	KUNIT_EXPECT_EQ(test, seen.isolations[ZS_ISOLATED], 1);
	KUNIT_EXPECT_EQ(test, seen.pfn, page_to_pfn(page));
	end_isolation(t, &list, false);

	/* All pages of the zspage are isolated already. */
	zspage->isolated++;
	zspage->class->nr_isolated++;
	KUNIT_EXPECT_FALSE(test, isolate(page, &list));
	zspage->isolated--;
	zspage->class->nr_isolated--;
	KUNIT_EXPECT_EQ(test, seen.isolations[ZS_ISOLATION_STALE], 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&t->pool->not_isolated), 1);

	go_bad(t, page);
	KUNIT_EXPECT_FALSE(test, isolate(page, &list));
	KUNIT_EXPECT_EQ(test, seen.isolations[ZS_ISOLATION_BAD], 1);
}

static void isolations_of_dead_zspages_are_traced(struct kunit *test)
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
	lock_page(locked);
	KUNIT_EXPECT_EQ(test, seen.deferred, 0);
	free_all(t);
	KUNIT_EXPECT_EQ(test, seen.deferred, 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&t->pool->deferred), 1);
	KUNIT_EXPECT_FALSE(test, isolate(page, &list));
	KUNIT_EXPECT_EQ(test, seen.isolations[ZS_ISOLATION_DEAD], 1);
	unlock_page(locked);
	zst_flush_deferred(test);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&t->pool->deferred), 0);
	put_page(locked);
	put_page(page);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&t->pool->not_isolated), 0);
}

#ifdef CONFIG_MIGRATION
extern const struct movable_operations zsmalloc_mops;

static void isolations_of_former_pages_are_traced(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	page_zpdesc(page)->zspage = NULL;
	KUNIT_EXPECT_FALSE(test, zsmalloc_mops.isolate_page(page, ISOLATE_UNEVICTABLE));
	KUNIT_EXPECT_EQ(test, seen.isolations[ZS_ISOLATION_NO_ZSPAGE], 1);
	KUNIT_EXPECT_EQ(test, seen.pfn, page_to_pfn(page));
	__free_page(page);
}
#else
static void isolations_of_former_pages_are_traced(struct kunit *test)
{
	kunit_skip(test, "no CONFIG_MIGRATION");
}
#endif

/* Two zspages with half of their slots in use. The one that is not kept from it moves. */
static struct zspage *two_halves(struct zst *t)
{
	sparse_zspages(t, PAGE_SIZE / 8, 2, 2);
	return obj_zspage(&t->objs[0]);
}

static void opens(struct zst *t, struct zspage *zspage)
{
	atomic_inc(&zspage->pins);
}

static void closes(struct zst *t, struct zspage *zspage)
{
	atomic_dec(&zspage->pins);
}

static void isolates(struct zst *t, struct zspage *zspage)
{
	zspage->isolated++;
	zspage->class->nr_isolated++;
}

static void puts_back(struct zst *t, struct zspage *zspage)
{
	zspage->isolated--;
	zspage->class->nr_isolated--;
}

static void locks(struct zst *t, struct zspage *zspage)
{
	lock_page(zpdesc_page(zspage->pages[0]));
}

static void unlocks(struct zst *t, struct zspage *zspage)
{
	unlock_page(zpdesc_page(zspage->pages[0]));
}

static void makes_bad(struct zst *t, struct zspage *zspage)
{
	go_bad(t, zpdesc_page(zspage->pages[0]));
}

/* These four concern both zspages, and are called for each. */
static bool is_first(struct zst *t, struct zspage *zspage)
{
	return zspage == obj_zspage(&t->objs[0]);
}

static void makes_unreadable(struct zst *t, struct zspage *zspage)
{
	if (is_first(t, zspage))
		kunit_activate_static_stub(t->test, zs_copy_slot, no_copy);
}

static void makes_readable(struct zst *t, struct zspage *zspage)
{
	if (is_first(t, zspage))
		kunit_deactivate_static_stub(t->test, zs_copy_slot);
}

static void takes_memory(struct zst *t, struct zspage *zspage)
{
	if (is_first(t, zspage))
		kunit_activate_static_stub(t->test, zs_alloc_supply, no_supply);
}

static void gives_memory(struct zst *t, struct zspage *zspage)
{
	if (is_first(t, zspage))
		kunit_deactivate_static_stub(t->test, zs_alloc_supply);
}

static const struct outcome {
	const char *name;
	enum zs_outcome outcome;
	void (*before)(struct zst *t, struct zspage *zspage);	/* for each of the two */
	void (*after)(struct zst *t, struct zspage *zspage);
} outcomes[] = {
	{ "evacuated", ZS_EVACUATED },
	{ "isolated", ZS_OUTCOME_ISOLATED, isolates, puts_back },
	{ "open", ZS_OUTCOME_OPEN, opens, closes },
	{ "locked", ZS_OUTCOME_LOCKED, locks, unlocks },
	{ "bad", ZS_OUTCOME_BAD, makes_bad },
	{ "unreadable", ZS_OUTCOME_UNREADABLE, makes_unreadable, makes_readable },
	{ "no memory", ZS_OUTCOME_NO_MEMORY, takes_memory, gives_memory },
};

KUNIT_ARRAY_PARAM_DESC(outcomes, outcomes, name);

static void outcomes_of_evacuations_are_traced(struct kunit *test)
{
	const struct outcome *want = test->param_value;
	struct zst *t = test->priv;
	struct zspage *zspages[2] = { two_halves(t), obj_zspage(&t->objs[t->nr - 1]) };
	bool evacuated = want->outcome == ZS_EVACUATED;
	struct size_class *class = zspages[0]->class;
	const unsigned int natives[2] = { zspages[0]->inuse, zspages[1]->inuse };

	KUNIT_ASSERT_PTR_NE(test, zspages[0], zspages[1]);
	for (int i = 0; want->before && i < 2; i++)
		want->before(t, zspages[i]);
	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), evacuated ? class->geo.pages : 0);
	for (int i = 0; want->after && i < 2; i++)
		want->after(t, zspages[i]);
	KUNIT_EXPECT_GT(test, seen.outcomes[want->outcome], 0);
	KUNIT_EXPECT_EQ(test, seen.size, class->geo.size);
	KUNIT_EXPECT_TRUE(test, seen.natives == natives[0] || seen.natives == natives[1]);
	KUNIT_EXPECT_EQ(test, seen.guests, 0);
	for (int i = 0; i < ARRAY_SIZE(seen.outcomes); i++)
		/* The first look at the zspage finds that memory is to be allocated. */
		if (i != want->outcome && i != ZS_OUTCOME_NO_MEMORY)
			KUNIT_EXPECT_EQ(test, seen.outcomes[i], 0);
}

/* Links for so many objects would take too much memory. */
static void evacuations_without_gain_are_traced(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, 32);
	unsigned int natives = class->geo.max_natives;

	if (natives >= class->geo.slots - 1)
		kunit_skip(test, "an evacuation pays with any number of objects");
	sparse_zspages(t, 32, 8, 1);
	keep_if(t, 0, n, n % class->geo.slots <= natives);
	zs_compact(t->pool);
	if (class->inuse + class->geo.slots > class->nr_live * class->geo.slots)
		kunit_skip(test, "too few slots are free for an evacuation");
	KUNIT_EXPECT_GT(test, seen.outcomes[ZS_OUTCOME_NO_GAIN], 0);
	KUNIT_EXPECT_EQ(test, seen.outcomes[ZS_EVACUATED], 0);
	KUNIT_EXPECT_EQ(test, seen.natives, natives + 1);
}

static void reclaim_is_traced(struct kunit *test)
{
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL, .nid = TEST_NODE, .nr_to_scan = 1,
	};
	struct zst *t = test->priv;
	struct shrinker *shrinker = t->pool->shrinker;
	unsigned int pages = two_halves(t)->class->geo.pages;

	KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc), pages);
	KUNIT_EXPECT_EQ(test, seen.shrinks, 1);
	KUNIT_EXPECT_EQ(test, seen.nid, TEST_NODE);
	KUNIT_EXPECT_EQ(test, seen.asked, 1);
	KUNIT_EXPECT_EQ(test, seen.freed, pages);
	KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc), SHRINK_STOP);
	KUNIT_EXPECT_EQ(test, seen.shrinks, 2);
	KUNIT_EXPECT_EQ(test, seen.freed, 0);
}

static struct kunit_case trace_cases[] = {
	KUNIT_CASE(isolations_are_traced),
	KUNIT_CASE(isolations_of_dead_zspages_are_traced),
	KUNIT_CASE(isolations_of_former_pages_are_traced),
	KUNIT_CASE_PARAM(outcomes_of_evacuations_are_traced, outcomes_gen_params),
	KUNIT_CASE(evacuations_without_gain_are_traced),
	KUNIT_CASE(reclaim_is_traced),
	{ }
};

static struct kunit_suite trace_suite = {
	.name = "zsmalloc_trace",
	.init = trace_suite_init,
	.exit = zst_exit,
	.test_cases = trace_cases,
};

kunit_test_suite(trace_suite);
