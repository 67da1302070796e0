// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc: its interface, sizes and handles, allocation and freeing.
 * Other topics have suites of their own.
 *
 * The name of each test says what it expects. Every object is filled with bytes made
 * from a seed of its own and compared as a whole, both by zs_obj_read_begin() and as a
 * scatterlist. Pages are migrated by the migration core, isolate_movable_ops_page()
 * and migrate_pages(), never by calling the callbacks of the allocator. After each
 * test nothing may be left of its pools.
 */
#include <linux/kthread.h>
#include <linux/tracepoint.h>
#include <trace/events/printk.h>

#include "zsmalloc_kunit.h"

static const struct test_size small_and_long[] = {
	{ "small", 32 },
	{ "long", LONG_SIZE },
};

KUNIT_ARRAY_PARAM_DESC(small_and_long, small_and_long, name);

static const struct test_size small_long_and_page[] = {
	{ "small", 32 },
	{ "long", LONG_SIZE },
	{ "page", PAGE_SIZE },
};

KUNIT_ARRAY_PARAM_DESC(small_long_and_page, small_long_and_page, name);

/*
 * The interface at its edges
 */

/* nr_node_ids is not known when the kernel is compiled. */
#define KNOWN_NODES	(INT_MAX - 1)

static const struct bad_node {
	const char *name;
	int nid;
} bad_nodes[] = {
	{ "INT_MIN", INT_MIN },
	{ "below NUMA_NO_NODE", NUMA_NO_NODE - 1 },
	{ "nr_node_ids", KNOWN_NODES },
	{ "MAX_NUMNODES", MAX_NUMNODES },
	{ "INT_MAX", INT_MAX },
};

KUNIT_ARRAY_PARAM_DESC(bad_nodes, bad_nodes, name);

static void nodes_out_of_range_are_refused(struct kunit *test)
{
	const struct bad_node *bad = test->param_value;
	int nid = bad->nid == KNOWN_NODES ? nr_node_ids : bad->nid;
	struct zst *t = test->priv;

	KUNIT_EXPECT_EQ(test, zs_malloc(t->pool, 1, GFP_TEST, nid),
			(unsigned long)-EINVAL);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool), 0);
}

static void sizes_out_of_range_are_refused(struct kunit *test)
{
	struct zst *t = test->priv;

	KUNIT_EXPECT_EQ(test, zs_malloc(t->pool, 0, GFP_TEST, NUMA_NO_NODE),
			(unsigned long)-EINVAL);
	KUNIT_EXPECT_EQ(test, zs_malloc(t->pool, PAGE_SIZE + 1, GFP_TEST,
					NUMA_NO_NODE), (unsigned long)-ENOSPC);
	KUNIT_EXPECT_EQ(test, zs_malloc(t->pool, SIZE_MAX, GFP_TEST,
					NUMA_NO_NODE), (unsigned long)-ENOSPC);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool), 0);
}

static void every_size_keeps_its_bytes(struct kunit *test)
{
	struct zst *t = test->priv;

	for (size_t size = 1; size <= PAGE_SIZE; size += PAGE_SIZE / 4096)
		obj_alloc(t, size);
	obj_alloc(t, PAGE_SIZE);
	expect_all_intact(t);

	for (unsigned int i = 0; i < t->nr; i += 2)
		obj_write(t, &t->objs[i]);
	expect_all_intact(t);
}

static void every_slot_of_every_class_keeps_its_bytes(struct kunit *test)
{
	struct zst *t = test->priv;
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--) {
		/* One slot more, so that a second zspage begins. */
		for (unsigned int i = 0; i <= geo[nr].slots; i++)
			obj_alloc(t, geo[nr].size - i % ZS_SIZE_STEP);
		KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool),
				2 * geo[nr].pages);
		expect_all_intact(t);
		free_all(t);
		KUNIT_EXPECT_EQ(test, zs_get_total_pages(t->pool), 0);
	}
}

static void free_ignores_null_and_errors(struct kunit *test)
{
	struct zst *t = test->priv;

	obj_alloc(t, 100);
	zs_free(t->pool, 0);
	zs_free(t->pool, (unsigned long)-ENOMEM);
	zs_free(t->pool, (unsigned long)-ENOSPC);
	expect_all_intact(t);
}

/* Called by any thread that prints a line: the test is in @data. */
static void count_report_lines(void *data, const char *text, size_t len)
{
	struct zst *t = data;

	if (strnstr(text, "zsmalloc: pool kunit: ", len))
		atomic_inc(&t->nr_report_lines);
}

static void end_of_report_lines(void *data)
{
	unregister_trace_console(count_report_lines, data);
	tracepoint_synchronize_unregister();
}

/* Counts, until the test ends, lines that report a mistake without a trace. */
static bool watch_report_lines(struct zst *t)
{
	return !register_trace_console(count_report_lines, t) &&
	       !kunit_add_action_or_reset(t->test, end_of_report_lines, t);
}

static void double_free_is_reported_and_changes_nothing(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage;
	unsigned long handle;
	unsigned int slot;
	struct obj *o;

	obj_alloc(t, 100);
	obj_alloc(t, 100);
	o = obj_alloc(t, 100);
	handle = o->handle;
	obj_free(t, o);

	kunit_warning_suppress(test) {
		zs_free(t->pool, handle);
		zs_free(t->pool, handle);
		/* One trace for both */
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		t->pool->reported = 0;
		/* A slot that the zspage does not have */
		zs_free(t->pool, handle + ZS_MAX_SLOTS - 1 -
				 (handle - ZS_HANDLE_BIAS) % ZS_MAX_SLOTS);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
		t->pool->reported = 0;
		/* The handle that the slot's next object will have */
		zspage = zs_decode_location(handle, &slot);
		zs_free(t->pool, zspage_handle(zspage, slot));
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 3);
	}
	KUNIT_EXPECT_EQ(test, obj_zspage(&t->objs[0])->inuse, 2);
	expect_all_intact(t);
}

static void double_free_reports_are_rate_limited(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned long handle;
	struct obj *o;
	int lines;

	obj_alloc(t, 100);
	o = obj_alloc(t, 100);
	handle = o->handle;
	obj_free(t, o);

	if (!watch_report_lines(t))
		kunit_skip(test, "no CONFIG_TRACEPOINTS");
	kunit_warning_suppress(test) {
		for (int i = 0; i < 100; i++)
			zs_free(t->pool, handle);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	lines = atomic_read(&t->nr_report_lines);
	KUNIT_EXPECT_GT(test, lines, 0);
	/* It may take longer than the interval of the limit. */
	KUNIT_EXPECT_LT(test, lines, 50);
	expect_all_intact(t);
}

static bool all_zero(const void *mem, size_t len)
{
	return !memchr_inv(mem, 0, len);
}

/*
 * Reads @len bytes of an object, which cannot be served. Returns whether zeroes were
 * copied to the buffer.
 */
static bool expect_zeroes(struct zst *t, const struct obj *o, size_t len)
{
	size_t some = min(len, PAGE_SIZE);
	u8 *mem;

	memset(t->copy, 0xaa, PAGE_SIZE);
	mem = zs_obj_read_begin(t->pool, o->handle, len, t->copy);
	if (mem != t->copy)
		some = min(some, PAGE_SIZE - offset_in_page(mem));
	KUNIT_EXPECT_TRUE(t->test, all_zero(mem, some));
	zs_obj_read_end(t->pool, o->handle, len, mem);
	return mem == t->copy;
}

/* The same, as a scatterlist */
static void expect_sg_of_zeroes(struct zst *t, const struct obj *o, size_t len)
{
	size_t some = clamp(len, 1, 2 * PAGE_SIZE);
	struct scatterlist sg[2];

	zs_obj_read_sg_begin(t->pool, o->handle, sg, len);
	KUNIT_ASSERT_EQ(t->test, sg_nents(sg), DIV_ROUND_UP(some, PAGE_SIZE));
	KUNIT_EXPECT_EQ(t->test, sg_nents_for_len(sg, some), sg_nents(sg));
	for (int i = 0; i < sg_nents(sg); i++) {
		KUNIT_EXPECT_GT(t->test, sg[i].length, 0);
		KUNIT_EXPECT_TRUE(t->test, all_zero(sg_virt(&sg[i]), sg[i].length));
	}
	zs_obj_read_sg_end(t->pool, o->handle);
}

static void refuse_lengths(struct zst *t, const struct obj *o, size_t size)
{
	const size_t lengths[] = {
		0, size + 1, min(2 * size, PAGE_SIZE), PAGE_SIZE, PAGE_SIZE + 1,
		3 * PAGE_SIZE, (size_t)UINT_MAX + 1, SIZE_MAX,
	};
	struct kunit *test = t->test;
	unsigned int slot, offset;
	struct zspage *host;

	host = zs_decode_location(obj_where(o), &slot);
	offset = offset_in_page(slot * host->class->geo.size);
	for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (lengths[i] && lengths[i] <= size)
			continue;
		kunit_warning_suppress(test) {
			t->pool->reported = 0;
			zs_obj_write(t->pool, o->handle, t->want, lengths[i]);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
			t->pool->reported = 0;
			/* Copied or mapped as the object would be */
			KUNIT_EXPECT_EQ(test, expect_zeroes(t, o, lengths[i]),
					zs_straddles(offset, lengths[i]));
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
			t->pool->reported = 0;
			expect_sg_of_zeroes(t, o, lengths[i]);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 3);
			/* One trace only */
			expect_zeroes(t, o, lengths[i]);
			expect_sg_of_zeroes(t, o, lengths[i]);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 3);
		}
		KUNIT_EXPECT_EQ(test, atomic_read(&obj_host(o)->pins), 0);
	}
}

/* Neither neighbours nor the memory beside the pages of a zspage are read or written. */
static void lengths_out_of_range_are_refused(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = test_class(t, param_size(test))->geo.size;

	fill_zspage(t, size);
	for (unsigned int n = 0; n < t->nr; n++) {
		/* Those in the middle of long lists are like the others. */
		if (n > 8 && n < t->nr - 8)
			continue;
		memset(t->want, 0xff, PAGE_SIZE);
		refuse_lengths(t, &t->objs[n], size);
	}
	expect_all_intact(t);
}

/* By a line each, after the first one had a trace */
static void every_refused_access_is_reported(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, 100);

	if (!watch_report_lines(t))
		kunit_skip(test, "no CONFIG_TRACEPOINTS");
	t->pool->reported = BIT(ZS_WRONG_LENGTH);
	zs_obj_write(t->pool, o->handle, t->want, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_report_lines), 1);
	expect_zeroes(t, o, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_report_lines), 2);
	expect_sg_of_zeroes(t, o, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_report_lines), 3);
	expect_all_intact(t);
}

static void refused_read_needs_no_buffer(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int copied = 0;

	fill_zspage(t, size);
	kunit_warning_suppress(test) {
		for (unsigned int i = 0; i < t->nr; i++) {
			u8 *mem = zs_obj_read_begin(t->pool, t->objs[i].handle,
						    PAGE_SIZE, NULL);

			KUNIT_ASSERT_NOT_NULL(test, mem);
			KUNIT_EXPECT_TRUE(test, all_zero(mem, PAGE_SIZE));
			copied += offset_in_page(i * size) != 0;
			zs_obj_read_end(t->pool, t->objs[i].handle, PAGE_SIZE, mem);
		}
	}
	KUNIT_EXPECT_GT(test, copied, 0);
	expect_all_intact(t);
}

static void forwarded_objects_refuse_lengths_out_of_range(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;

	sparse_zspages(t, size, 10, 2);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	memset(t->want, 0xff, PAGE_SIZE);
	for (unsigned int i = 0; i < t->nr; i++)
		if (obj_is_forwarded(&t->objs[i]))
			refuse_lengths(t, &t->objs[i], size);
	expect_all_intact(t);
}

/* Reads and writes an object that was freed. */
static void expect_stale(struct zst *t, const struct obj *o)
{
	struct kunit *test = t->test;

	kunit_warning_suppress(test) {
		t->pool->reported = 0;
		expect_zeroes(t, o, o->size);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		t->pool->reported = 0;
		expect_sg_of_zeroes(t, o, o->size);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
		t->pool->reported = 0;
		memset(t->want, 0xff, o->size);
		zs_obj_write(t->pool, o->handle, t->want, o->size);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 3);
	}
	expect_all_intact(t);
	expect_quiet(t);
}

static void use_after_free_of_forwarded_object_is_reported(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;

	sparse_zspages(t, size, 10, 2);
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);
	for (unsigned int i = 0; i < t->nr; i++) {
		struct obj stale = t->objs[i];

		if (!obj_is_forwarded(&stale) || obj_zspage(&stale)->nr_links < 2)
			continue;
		obj_free(t, &t->objs[i]);
		expect_stale(t, &stale);
		/* A slot that was free when the zspage was evacuated */
		stale.handle++;
		expect_stale(t, &stale);
		/* However often that was done before */
		atomic_set(&zs_no_host.pins, 0);
		expect_stale(t, &stale);
		KUNIT_EXPECT_EQ(test, atomic_read(&zs_no_host.pins), ZS_PIN_COUNT - 1);
		return;
	}
	KUNIT_FAIL(test, "no forwarder with two objects\n");
}

static void use_after_free_is_reported(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, param_size(test));
	struct obj *first, stale;

	if (!IS_ENABLED(CONFIG_DEBUG_VM))
		kunit_skip(test, "no CONFIG_DEBUG_VM");
	first = fill_zspage(t, class->geo.size);
	stale = first[1];
	obj_free(t, &first[1]);
	expect_stale(t, &stale);
	/* The handle that the slot's next object will have */
	stale.handle = zspage_handle(obj_zspage(&stale), 1);
	expect_stale(t, &stale);
	/* A slot that the zspage does not have, unless it has all that there can be */
	if (class->geo.slots == ZS_MAX_SLOTS)
		return;
	stale.handle += class->geo.slots - 1;
	expect_stale(t, &stale);
}

static void reused_slot_has_a_new_handle(struct kunit *test)
{
	size_t size = param_size(test);
	struct zst *t = test->priv;

	if (ZS_GENERATIONS == 1)
		kunit_skip(test, "no 64-bit debug build");
	fill_zspage(t, size);
	for (int round = 0; round < 2 * ZS_GENERATIONS; round++) {
		struct obj stale = t->objs[t->nr - 1], *again;

		obj_free(t, &t->objs[t->nr - 1]);
		again = obj_alloc(t, size);
		KUNIT_EXPECT_EQ(test, obj_where(again), obj_where(&stale));
		KUNIT_EXPECT_NE(test, again->handle, stale.handle);
		/* Not 0, and far from the error values */
		KUNIT_EXPECT_GT(test, (long)again->handle, 0);
		expect_stale(t, &stale);
		kunit_warning_suppress(test) {
			t->pool->reported = 0;
			zs_free(t->pool, stale.handle);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
	}
	expect_all_intact(t);
}

/* A new descriptor is often at the address of one that was freed. */
static void new_zspages_begin_with_different_generations(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned long different = 0;

	if (ZS_GENERATIONS == 1)
		kunit_skip(test, "no 64-bit debug build");
	for (int i = 0; i < ZS_GENERATIONS; i++) {
		struct obj *o = obj_alloc(t, PAGE_SIZE);

		different |= o->handle ^ t->objs[0].handle;
	}
	KUNIT_EXPECT_NE(test, different & ~ZS_PLACE_MASK, 0);
}

static void stale_handle_does_not_reach_a_guest(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int nr = 0, reused = 0;
	struct zspage *dense;
	struct obj *freed;

	if (ZS_GENERATIONS == 1)
		kunit_skip(test, "no 64-bit debug build");
	freed = kunit_kcalloc(test, MAX_OBJS, sizeof(*freed), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, freed);
	dense = obj_zspage(fill_zspage(t, size));
	for (int i = 1; i < 10; i++)
		fill_zspage(t, size);
	/* Of the dense zspage every fourth object is freed, of others all but these. */
	for (unsigned int n = 0; n < t->nr; n++)
		if (!(n % 4) == (obj_zspage(&t->objs[n]) == dense))
			freed[nr++] = t->objs[n];
	keep_if(t, 0, n, !(n % 4) != (obj_zspage(&t->objs[n]) == dense));
	KUNIT_ASSERT_GT(test, zst_compact(t), 0);

	for (unsigned int n = 0; n < nr; n++)
		for (unsigned int i = 0; i < t->nr; i++)
			if (obj_is_forwarded(&t->objs[i]) &&
			    obj_where(&t->objs[i]) ==
				(freed[n].handle & ZS_PLACE_MASK)) {
				expect_stale(t, &freed[n]);
				reused++;
			}
	KUNIT_EXPECT_GT(test, reused, 0);
}

static void class_index_ascends_with_slot_size(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int last = zs_lookup_class_index(t->pool, 1);

	for (unsigned int size = 2; size <= PAGE_SIZE; size++) {
		unsigned int index = zs_lookup_class_index(t->pool, size);
		bool same = test_class(t, size) ==
			    test_class(t, size - 1);

		KUNIT_ASSERT_GE(test, index, last);
		KUNIT_ASSERT_EQ(test, index == last, same);
		KUNIT_ASSERT_EQ(test, index,
				zs_size_step(test_class(t, size)->geo.size));
		last = index;
	}
	/* Out of range: an answer, not a crash. */
	KUNIT_EXPECT_EQ(test, zs_lookup_class_index(t->pool, 0),
			zs_lookup_class_index(t->pool, 1));
	KUNIT_EXPECT_EQ(test, zs_lookup_class_index(t->pool, UINT_MAX), last);
}

static void huge_objects_take_a_page_each(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t huge = zs_huge_class_size(t->pool);
	const struct zs_geometry *geo;

	KUNIT_ASSERT_GT(test, huge, 1);
	KUNIT_ASSERT_LE(test, huge, PAGE_SIZE);
	geo = &test_class(t, huge)->geo;
	KUNIT_EXPECT_EQ(test, geo->pages, 1);
	KUNIT_EXPECT_EQ(test, geo->slots, 1);
	KUNIT_EXPECT_PTR_EQ(test, test_class(t, huge),
			    test_class(t, PAGE_SIZE));
	KUNIT_EXPECT_GT(test, test_class(t, huge - 1)->geo.slots, 1);

	for (int i = 0; i < 10; i++) {
		obj_alloc(t, i % 2 ? huge : PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool), t->nr);
	}
	expect_all_intact(t);
}

static void page_sized_objects_need_no_buffer(struct kunit *test)
{
	struct zst *t = test->priv;

	for (int i = 0; i < 20; i++) {
		struct obj *o = obj_alloc(t, PAGE_SIZE);
		struct scatterlist sg[2];
		u8 *mem;

		fill(t->want, PAGE_SIZE, o->seed);
		mem = zs_obj_read_begin(t->pool, o->handle, PAGE_SIZE, NULL);
		KUNIT_EXPECT_MEMEQ(test, mem, t->want, PAGE_SIZE);
		zs_obj_read_end(t->pool, o->handle, PAGE_SIZE, mem);

		zs_obj_read_sg_begin(t->pool, o->handle, sg, PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, sg_nents(sg), 1);
		KUNIT_EXPECT_EQ(test, sg->offset, 0);
		zs_obj_read_sg_end(t->pool, o->handle);
	}
}

/* Only an object that lies in two pages is copied. */
static void only_straddling_objects_are_copied(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int straddling = 0;
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--) {
		for (unsigned int i = 0; i < geo[nr].slots; i++) {
			u32 offset = offset_in_page(i * geo[nr].size);
			u32 size = geo[nr].size;
			struct scatterlist sg[2];
			struct obj *o;
			bool copied;
			u8 *mem;

			o = obj_alloc(t, size);
			mem = zs_obj_read_begin(t->pool, o->handle, size,
						t->copy);
			copied = mem == t->copy;
			zs_obj_read_end(t->pool, o->handle, size, mem);
			zs_obj_read_sg_begin(t->pool, o->handle, sg, size);
			KUNIT_ASSERT_EQ(test, copied, offset + size > PAGE_SIZE);
			KUNIT_ASSERT_EQ(test, sg_nents(sg), 1 + copied);
			zs_obj_read_sg_end(t->pool, o->handle);
			straddling += copied;
		}
		expect_all_intact(t);
		free_all(t);
	}
	KUNIT_EXPECT_GT(test, straddling, 0);
}

#define POISON	0xa5

/* Reading @len bytes of @o hands out no more than that, in either way. */
static void expect_reads_exactly(struct zst *t, const struct obj *o, size_t len)
{
	unsigned int slot, offset, in_sg = 0;
	struct scatterlist sg[2];
	size_t copied;
	u8 *mem;

	zs_decode_location(o->handle, &slot);
	offset = offset_in_page(slot * obj_zspage(o)->class->geo.size);
	copied = offset + len > PAGE_SIZE ? len : 0;
	fill(t->want, o->size, o->seed);

	memset(t->copy, POISON, PAGE_SIZE);
	mem = zs_obj_read_begin(t->pool, o->handle, len, t->copy);
	KUNIT_EXPECT_EQ(t->test, mem == t->copy, !!copied);
	KUNIT_EXPECT_MEMEQ(t->test, mem, t->want, len);
	zs_obj_read_end(t->pool, o->handle, len, mem);
	/* The buffer need not be longer. */
	KUNIT_EXPECT_NULL(t->test, memchr_inv(t->copy + copied, POISON,
					      PAGE_SIZE - copied));

	zs_obj_read_sg_begin(t->pool, o->handle, sg, len);
	KUNIT_ASSERT_EQ(t->test, sg_nents(sg), 1 + !!copied);
	for (int i = 0; i < sg_nents(sg); i++) {
		KUNIT_EXPECT_EQ(t->test, sg[i].offset, i ? 0 : offset);
		KUNIT_EXPECT_LE(t->test, sg[i].offset + sg[i].length, PAGE_SIZE);
		in_sg += sg[i].length;
	}
	KUNIT_EXPECT_EQ(t->test, in_sg, len);
	KUNIT_EXPECT_EQ(t->test, sg_copy_to_buffer(sg, sg_nents(sg), t->copy, len),
			len);
	zs_obj_read_sg_end(t->pool, o->handle);
	KUNIT_EXPECT_MEMEQ(t->test, t->copy, t->want, len);
}

/* Writing @len bytes of @o leaves the rest of it as it was. */
static void expect_writes_exactly(struct zst *t, struct obj *o, size_t len)
{
	u8 *mem;

	memset(t->copy, POISON, PAGE_SIZE);
	zs_obj_write(t->pool, o->handle, t->copy, len);
	fill(t->want, o->size, o->seed);
	memset(t->want, POISON, len);
	mem = zs_obj_read_begin(t->pool, o->handle, o->size, t->copy);
	KUNIT_EXPECT_MEMEQ(t->test, mem, t->want, o->size);
	zs_obj_read_end(t->pool, o->handle, o->size, mem);
	obj_write(t, o);
}

/* Of an object less than all may be read and written: up to the page's end, too. */
static void only_requested_bytes_are_read_and_written(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int size = long_size(test), slots;

	fill_zspage(t, size);
	slots = t->nr;
	for (unsigned int i = 0; i < slots; i++) {
		struct obj *o = &t->objs[i];
		unsigned int to_end = PAGE_SIZE - offset_in_page(i * size);
		const unsigned int lens[] = {
			1, to_end - 1, to_end, to_end + 1, size - 1, size,
		};

		for (int j = 0; j < ARRAY_SIZE(lens); j++) {
			if (!lens[j] || lens[j] > size)
				continue;
			expect_reads_exactly(t, o, lens[j]);
			expect_writes_exactly(t, o, lens[j]);
		}
	}
	expect_all_intact(t);
}

/*
 * Pure functions
 */

static void geometry_is_within_its_limits(struct kunit *test)
{
	for (unsigned int shift = 12; shift <= 16; shift += 2)
		for (unsigned int max_pages = 4; max_pages <= 16; max_pages++)
			for (unsigned int bits = 7; bits <= 12; bits += 5) {
				unsigned int page = 1 << shift;
				unsigned int max_slots = 1 << bits;
				unsigned int size = max(32U, page >> bits);

				for (; size <= page; size += ZS_SIZE_STEP) {
					struct zs_geometry geo;

					geo = zs_fit(size, page, max_pages,
						     max_slots);
					KUNIT_ASSERT_EQ(test, geo.size, size);
					KUNIT_ASSERT_GE(test, geo.pages, 1);
					KUNIT_ASSERT_LE(test, geo.pages,
							max_pages);
					KUNIT_ASSERT_GE(test, geo.slots, 1);
					KUNIT_ASSERT_LE(test, geo.slots,
							max_slots);
					KUNIT_ASSERT_LE(test,
							geo.slots * geo.size,
							geo.pages * page);
					/* The last page has slots of its own. */
					KUNIT_ASSERT_LT(test,
							(geo.pages - 1) * page / size,
							geo.slots);
					/* At most one slot short of full */
					if (geo.slots < max_slots)
						KUNIT_ASSERT_GT(test,
								(geo.slots + 1) * size,
								geo.pages * page);
					if (geo.slots == 1)
						KUNIT_ASSERT_EQ(test,
								geo.pages, 1);
				}
				KUNIT_EXPECT_EQ(test, zs_fit(page, page, max_pages,
							     max_slots).pages, 1);
				KUNIT_EXPECT_EQ(test, zs_fit(page, page, max_pages,
							     max_slots).slots, 1);
			}
}

static void classes_ascend_and_cover_every_size(struct kunit *test)
{
	struct zst *t = test->priv;
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	for (unsigned int i = 1; i < nr; i++)
		KUNIT_EXPECT_GT(test, geo[i].size, geo[i - 1].size);
	KUNIT_EXPECT_EQ(test, geo[nr - 1].size, PAGE_SIZE);

	for (unsigned int size = 1; size <= PAGE_SIZE; size++) {
		struct size_class *class = test_class(t, size);

		KUNIT_ASSERT_GE(test, class->geo.size, size);
		/* The smallest that is large enough */
		if (class->geo.size != geo[0].size)
			KUNIT_ASSERT_LT(test, (class - 1)->geo.size, size);
	}
}

/* In 1/256 bytes, the descriptor included */
static unsigned int slot_cost(const struct zs_geometry *geo)
{
	size_t bytes = geo->pages * PAGE_SIZE +
		       zspage_descriptor_size(geo->pages, geo->slots);

	return bytes * 256 / geo->slots;
}

/* The most that a slot may cost if sizes with slots at @cost share it */
static unsigned int most_for(unsigned int cost)
{
	return cost + cost / ZS_SHARE_SLACK;
}

static void sizes_share_a_class_if_it_costs_little(struct kunit *test)
{
	struct zst *t = test->priv;
	const struct zs_geometry *geo;
	unsigned int nr, size;

	for (size = ZS_MIN_SIZE; size <= PAGE_SIZE; size += ZS_SIZE_STEP) {
		struct zs_geometry own = zs_fit(size, PAGE_SIZE, ZS_MAX_PAGES,
						ZS_MAX_SLOTS);

		KUNIT_EXPECT_LE(test, slot_cost(&test_class(t, size)->geo),
				most_for(slot_cost(&own)));
	}
	/* And no class that could be done without */
	geo = zs_geometries(&nr);
	for (unsigned int i = 1; i < nr; i++)
		KUNIT_EXPECT_GT(test, slot_cost(&geo[i]),
				most_for(slot_cost(&geo[i - 1])));
}

static void handles_are_decoded_at_their_limits(struct kunit *test)
{
	static const unsigned int slots[] = { 0, 1, ZS_MAX_SLOTS - 1 };
	/* The first byte of memory, and the last descriptor there can be */
	unsigned long offsets[] = {
		0, ZSPAGE_ALIGN,
#ifdef CONFIG_64BIT
		(ZS_GENERATIONS > 1 ? (1UL << 51) - ZSPAGE_ALIGN : 1UL << 52) -
			ZSPAGE_ALIGN,
#else
		-PAGE_OFFSET - 2 * PAGE_SIZE,
#endif
	};

	for (int i = 0; i < ARRAY_SIZE(offsets); i++)
		for (int j = 0; j < ARRAY_SIZE(slots); j++) {
			void *zspage = (void *)(PAGE_OFFSET + offsets[i]);
			unsigned long handle;
			unsigned int slot;

			handle = zs_encode_location(zspage, slots[j]);
			KUNIT_EXPECT_NE(test, handle, 0);
			KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
			KUNIT_EXPECT_PTR_EQ(test, (void *)zs_decode_location(handle, &slot),
					    zspage);
			KUNIT_EXPECT_EQ(test, slot, slots[j]);
		}
}

/*
 * Allocation and freeing
 */

static void zspages_are_freed_with_their_last_object(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned int pages = test_class(t, size)->geo.pages;

	fill_zspage(t, size);
	fill_zspage(t, size);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 2 * pages);
	KUNIT_EXPECT_EQ(test, all_zspages() - t->pages_before, 2 * pages);
	while (t->nr > 1)
		obj_free(t, &t->objs[t->nr - 1]);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	free_all(t);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
}

static void fullest_zspage_is_used_first(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = 64;
	struct zspage *full, *nearly, *sparse;
	unsigned int slots = test_class(t, size)->geo.slots;
	unsigned long freed;
	struct obj *again;

	full = obj_zspage(fill_zspage(t, size));
	nearly = obj_zspage(fill_zspage(t, size));
	sparse = obj_zspage(fill_zspage(t, size));
	for (unsigned int i = 0; i < slots / 2; i++)
		obj_free(t, &t->objs[2 * slots]);
	freed = obj_where(&t->objs[slots]);
	obj_free(t, &t->objs[slots]);
	KUNIT_EXPECT_EQ(test, nearly->inuse, slots - 1);
	KUNIT_EXPECT_EQ(test, full->inuse, slots);

	again = obj_alloc(t, size);
	KUNIT_EXPECT_EQ(test, obj_where(again), freed);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, size)), sparse);
	expect_all_intact(t);
}

/* The search for a free slot begins at the hint. All slots below it are in use. */
static void lowest_slot_that_may_be_free_is_known(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage = obj_zspage(fill_zspage(t, 64));
	unsigned int slots = zspage->class->geo.slots, slot;

	KUNIT_EXPECT_EQ(test, zspage->hint, slots);
	zs_decode_location(t->objs[slots / 2].handle, &slot);
	obj_free(t, &t->objs[slots / 2]);
	KUNIT_EXPECT_EQ(test, zspage->hint, slot);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, 64)), zspage);
	KUNIT_EXPECT_EQ(test, zspage->hint, slot + 1);
}

static const struct class_kind {
	const char *name;
	unsigned int small_class;
} class_kinds[] = {
	{ "large_classes", 0 },
	{ "small_classes", UINT_MAX },
	{ "both", 4 },
};

KUNIT_ARRAY_PARAM_DESC(class_kinds, class_kinds, name);

static void random_operations_agree_with_a_model(struct kunit *test)
{
	const struct class_kind *kind = test->param_value;
	struct zst *t = test->priv;
	struct rnd_state rnd;

	zs_small_class = kind->small_class;
	prandom_seed_state(&rnd, 20261122);
	/* As many bytes with pages of any size */
	for (unsigned int i = 0; i < 20000 / SCALED(1); i++) {
		u32 r = prandom_u32_state(&rnd);

		if (t->nr < 1000 && (r & 1 || !t->nr)) {
			/* Few sizes, so that zspages fill up */
			obj_alloc(t, 1 + (r >> 8) % 16 * (PAGE_SIZE - 1) / 15);
		} else {
			struct obj *o = &t->objs[(r >> 8) % t->nr];

			KUNIT_ASSERT_TRUE(test, obj_intact(t, o));
			if (r & 2)
				obj_free(t, o);
			else
				obj_write(t, o);
		}
		if (i % 1000 == 0)
			expect_all_intact(t);
	}
	expect_all_intact(t);
}

static struct zs_pool *no_pool(size_t size)
{
	return NULL;
}

static struct zspage *no_descriptor(struct size_class *class, gfp_t gfp, int nid)
{
	act_meanwhile(current_zst());
	return NULL;
}

/*
 * Growing zspages
 */

/* The pages of @nr objects, if only the last zspage has fewer pages than its geometry */
static unsigned int pages_of(const struct zs_geometry *geo, unsigned int nr)
{
	return nr / geo->slots * geo->pages +
	       DIV_ROUND_UP((unsigned long)(nr % geo->slots) * geo->size, PAGE_SIZE);
}

static void small_classes_get_pages_when_objects_need_them(struct kunit *test)
{
	const struct zs_geometry *geo;
	struct zst *t = test->priv;
	unsigned int nr;

	zs_small_class = UINT_MAX;
	geo = zs_geometries(&nr);
	for (; nr--; geo++) {
		struct size_class *class = test_class(t, geo->size);

		/* Large pages have thousands of slots. */
		if (geo->slots > 512)
			continue;
		for (unsigned int n = 1; n <= geo->slots + geo->slots / 2; n++) {
			obj_alloc(t, geo->size);
			KUNIT_ASSERT_EQ(test, pool_pages(t->pool), pages_of(geo, n));
			KUNIT_ASSERT_EQ(test, class->nr[ZS_GROWING],
					pages_of(geo, n) % geo->pages != 0);
		}
		expect_all_intact(t);
		free_all(t);
		KUNIT_ASSERT_EQ(test, pool_pages(t->pool), 0);
		KUNIT_ASSERT_EQ(test, class->nr_live, 0);
	}
}

static void large_classes_get_whole_zspages(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = test_class(t, size);

	zs_small_class = 2;
	fill_zspage(t, size);
	fill_zspage(t, size);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 2 * class->geo.pages);
	obj_alloc(t, size);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 3 * class->geo.pages);
	KUNIT_EXPECT_EQ(test, class->nr[ZS_GROWING], 0);
	expect_all_intact(t);
}

static void growing_zspages_are_filled_last(struct kunit *test)
{
	struct zspage *complete, *growing;
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned long pages;

	zs_small_class = UINT_MAX;
	complete = obj_zspage(fill_zspage(t, size));
	growing = obj_zspage(obj_alloc(t, size));
	while (growing->nr_pages < 2 || growing->inuse < zspage_slots(growing))
		obj_alloc(t, size);
	pages = pool_pages(t->pool);
	/* A free slot in each: the first objects are those of the complete zspage. */
	obj_free(t, &t->objs[t->nr - 1]);
	obj_free(t, &t->objs[0]);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, size)), complete);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, size)), growing);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, size)), growing);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages + 1);
	expect_all_intact(t);
}

/*
 * Classes without zspages
 */

/* Makes zspages with @nr or more free slots, but none without an object. */
static void leave_room(struct zst *t, const struct zs_geometry *geo, unsigned int nr)
{
	unsigned int first = t->nr;

	zs_small_class = 0;
	for (unsigned int room = 0; room < nr; room += geo->slots - 1)
		fill_zspage(t, geo->size);
	thin_out(t, first, geo->slots);
	zs_small_class = ZS_SMALL_CLASS;
}

/* A geometry that is followed by another one with slots of nearly the same size */
static const struct zs_geometry *middle_geometry(void)
{
	unsigned int nr;
	const struct zs_geometry *geo = zs_geometries(&nr);

	while (geo->size < PAGE_SIZE / 8)
		geo++;
	return geo;
}

static struct size_class *class_of_next_object(struct zst *t, size_t size)
{
	return obj_zspage(obj_alloc(t, size))->class;
}

static void objects_take_larger_slots_until_half_a_page_is_lost(struct kunit *test)
{
	const struct zs_geometry *geo = middle_geometry(), *larger = geo + 1;
	unsigned int nr = PAGE_SIZE / 2 / (larger->size - geo->size);
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, geo->size);

	/* When the class has had a zspage, it counts what is lost from 0. */
	for (int times = 0; times < 2; times++) {
		unsigned long pages;

		leave_room(t, larger, nr + 2 * geo->slots);
		pages = pool_pages(t->pool);
		for (unsigned int i = 0; i < nr; i++)
			KUNIT_ASSERT_PTR_EQ(test, class_of_next_object(t, geo->size),
					    test_class(t, larger->size));
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages);
		for (unsigned int i = 0; i < geo->slots + 1; i++)
			KUNIT_ASSERT_PTR_EQ(test, class_of_next_object(t, geo->size), class);
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool), pages + geo->pages + 1);
		expect_all_intact(t);
		free_all(t);
	}
}

static void slots_that_are_much_larger_are_not_taken(struct kunit *test)
{
	const struct zs_geometry *geo;
	struct zst *t = test->priv;
	unsigned int nr;

	geo = zs_geometries(&nr);
	if (geo[1].size - geo->size <= geo->size / 4)
		kunit_skip(test, "the smallest class is followed closely");
	leave_room(t, geo + 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, class_of_next_object(t, geo->size), test_class(t, geo->size));
	expect_all_intact(t);
}

static void pools_with_class_sets_take_no_larger_slots(struct kunit *test)
{
	const struct zs_geometry *geo = middle_geometry();
	struct zst *t = test->priv;

	use_cpu(test, 0);
	leave_room(t, geo + 1, 1);
	if (!add_second_set(t->pool))
		kunit_skip(test, "not two CPUs");
	KUNIT_EXPECT_EQ(test, class_of_next_object(t, geo->size)->geo.size, geo->size);
	expect_all_intact(t);
}

static struct zpdesc *single_meanwhile(gfp_t gfp, int nid)
{
	act_meanwhile(current_zst());
	return page_zpdesc(alloc_pages_node(nid, gfp, 0));
}

static struct zpdesc *no_page(gfp_t gfp, int nid)
{
	return NULL;
}

/* A growing zspage without a free slot */
static struct zspage *full_growing(struct zst *t, size_t size)
{
	struct zspage *zspage;

	zs_small_class = UINT_MAX;
	zspage = obj_zspage(obj_alloc(t, size));
	while (zspage->inuse < zspage_slots(zspage))
		obj_alloc(t, size);
	KUNIT_ASSERT_EQ(t->test, zspage->fullness, ZS_GROWING);
	return zspage;
}

static void growing_zspages_stay_as_they_are_without_memory(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct zspage *zspage = full_growing(t, size);

	kunit_activate_static_stub(test, zs_alloc_single, no_page);
	KUNIT_EXPECT_EQ(test, zs_malloc(t->pool, size, GFP_TEST, TEST_NODE),
			(unsigned long)-ENOMEM);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 1);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, size)), zspage);
	KUNIT_EXPECT_EQ(test, zspage->nr_pages, 2);
	expect_all_intact(t);
}

static void free_first_object(struct zst *t)
{
	obj_free(t, t->objs);
}

static void free_all_objects(struct zst *t)
{
	free_all(t);
}

/* Another task frees the growing zspage while a page for it is allocated. */
static void page_outlives_the_zspage_that_it_was_allocated_for(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned long handle;

	full_growing(t, size);
	kunit_activate_static_stub(test, zs_alloc_single, single_meanwhile);
	t->meanwhile = free_all_objects;
	handle = zs_malloc(t->pool, size, GFP_TEST, TEST_NODE);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_EXPECT_EQ(test, t->nr, 0);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 1);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
	zs_free(t->pool, handle);
}

static struct zpdesc *noted_single_meanwhile(gfp_t gfp, int nid)
{
	struct zst *t = current_zst();
	struct zpdesc *zpdesc = single_meanwhile(gfp, nid);

	get_page(zpdesc_page(zpdesc));
	t->given[t->nr_given++] = zpdesc_page(zpdesc);
	return zpdesc;
}

/* Another task frees an object while a page for the growing zspage is allocated. */
static void slot_that_is_freed_meanwhile_is_used_before_a_page(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct zspage *zspage = full_growing(t, size);
	unsigned long handle;

	obj_alloc(t, size);
	while (zspage->inuse < zspage_slots(zspage))
		obj_alloc(t, size);
	kunit_activate_static_stub(test, zs_alloc_single, noted_single_meanwhile);
	t->meanwhile = free_first_object;
	handle = zs_malloc(t->pool, size, GFP_TEST, TEST_NODE);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	/* Only the test has a reference to the page. */
	KUNIT_ASSERT_EQ(test, t->nr_given, 1);
	KUNIT_EXPECT_EQ(test, page_ref_count(t->given[0]), 1);
	put_page(t->given[--t->nr_given]);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 2);
	KUNIT_EXPECT_EQ(test, all_zspages() - t->pages_before, 2);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
	zs_free(t->pool, handle);
	expect_all_intact(t);
}

static void page_is_freed_if_there_is_no_descriptor_for_it(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);

	full_growing(t, size);
	kunit_activate_static_stub(test, zs_alloc_single, noted_single_meanwhile);
	kunit_activate_static_stub(test, zs_alloc_descriptor, no_descriptor);
	t->meanwhile = free_all_objects;
	/* This looks for references to the page. */
	expect_enomem(t, size);
	kunit_deactivate_static_stub(test, zs_alloc_descriptor);
	kunit_deactivate_static_stub(test, zs_alloc_single);
}

static void alloc_same_size(struct zst *t)
{
	t->other.handle = zs_malloc(t->pool, t->other.size, GFP_TEST, TEST_NODE);
}

static struct zspage *descriptor_meanwhile(struct size_class *class, gfp_t gfp, int nid)
{
	act_meanwhile(current_zst());
	gfp &= ~(__GFP_HIGHMEM | __GFP_MOVABLE | __GFP_THISNODE);
	return kmem_cache_alloc_node(class->cache, gfp | __GFP_ZERO, nid);
}

/* Two tasks make a growing zspage at the same time. One of the two gets both pages. */
static void one_zspage_of_a_class_grows(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = test_class(t, size);

	zs_small_class = UINT_MAX;
	t->other.size = size;
	kunit_activate_static_stub(test, zs_alloc_descriptor, descriptor_meanwhile);
	t->meanwhile = alloc_same_size;
	obj_alloc(t, size);
	kunit_deactivate_static_stub(test, zs_alloc_descriptor);
	KUNIT_EXPECT_EQ(test, class->nr_live, 1);
	KUNIT_EXPECT_EQ(test, class->nr[ZS_GROWING], 1);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 2);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
	zs_free(t->pool, t->other.handle);
	expect_all_intact(t);
}

static void growing_zspages_have_as_many_stale_pages_as_pages(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct scatterlist sg[2];
	struct zspage *zspage;
	LIST_HEAD(list);

	needs_migration(test);
	zspage = full_growing(t, size);
	zs_obj_read_sg_begin(t->pool, t->objs->handle, sg, size);
	put_page(replace_first_page(t, zspage, MIGRATE_ASYNC));
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), 0);
	/* With another page, one of the two can be isolated. */
	obj_alloc(t, size);
	KUNIT_EXPECT_EQ(test, zspage->nr_pages, 2);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), 1);
	/* It grows while that page is isolated. */
	while (zspage->nr_pages < 3)
		obj_alloc(t, size);
	end_isolation(t, &list, true);
	zs_obj_read_sg_end(t->pool, t->objs->handle);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), 3);
	end_isolation(t, &list, true);
	expect_all_intact(t);
	expect_quiet(t);
}

static void growing_zspages_may_lose_their_objects_while_isolated(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct zspage *zspage;
	LIST_HEAD(list);

	needs_migration(test);
	zspage = full_growing(t, size);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), 1);
	free_all(t);
	KUNIT_EXPECT_EQ(test, zspage->fullness, ZS_GROWING);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(t->pool) ?: "", "");
	/* It is used again, */
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(obj_alloc(t, size)), zspage);
	free_all(t);
	/* and freed when the isolation ends. */
	end_isolation(t, &list, false);
	zst_flush_deferred(test);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_EQ(test, test_class(t, size)->nr[ZS_GROWING], 0);
}

/* Failing allocations, each in turn */

static void pool_creation_fails_without_memory(struct kunit *test)
{
	kunit_activate_static_stub(test, zs_alloc_pool, no_pool);
	KUNIT_EXPECT_NULL(test, zs_create_pool("none"));
	kunit_deactivate_static_stub(test, zs_alloc_pool);
	kunit_activate_static_stub(test, zs_alloc_classes, no_classes);
	KUNIT_EXPECT_NULL(test, zs_create_pool("none"));
	kunit_deactivate_static_stub(test, zs_alloc_classes);
	KUNIT_EXPECT_NULL(test, zs_create_pool(NULL));
	zs_destroy_pool(NULL);
}

static struct zs_pool *pool_of_cache(size_t size)
{
	struct zst *t = current_zst();

	return size > kmem_cache_size(t->cache) ? NULL :
	       kmem_cache_zalloc(t->cache, GFP_KERNEL);
}

static struct size_class *classes_of_cache(int nid, gfp_t gfp)
{
	struct zst *t = current_zst();
	struct size_class *classes = kmem_cache_zalloc(t->class_cache, GFP_KERNEL);

	act_meanwhile(t);
	return classes;
}

static void alloc_meanwhile(struct zst *t)
{
	t->other.handle = zs_malloc(t->other.pool, 100, GFP_TEST, t->other.nid);
}

/* The memory comes from caches of the test, which tell whether all of it was freed. */
static void all_memory_of_a_pool_is_freed(struct kunit *test)
{
	static const char name[] = "kunit-caches";
	struct zst *t = test->priv;
	unsigned int geos, sets;
	int node;

	zs_geometries(&geos);
	t->cache = private_cache(test, "kunit-zs-pool", sizeof(name) +
				 struct_size_t(struct zs_pool, sets, zs_nr_sets()));
	t->class_cache = private_cache(test, "kunit-zs-classes",
				       geos * sizeof(struct size_class));
	kunit_activate_static_stub(test, zs_alloc_pool, pool_of_cache);
	kunit_activate_static_stub(test, zs_alloc_classes, no_classes);
	KUNIT_EXPECT_NULL(test, zs_create_pool(name));
	kunit_activate_static_stub(test, zs_alloc_classes, classes_of_cache);
	t->other.pool = zs_create_pool(name);
	KUNIT_ASSERT_NOT_NULL(test, t->other.pool);
	sets = add_second_set(t->other.pool) ? 2 : 1;
	for (unsigned int i = 0; i < sets * nr_node_ids; i++) {
		unsigned long handle;

		node = i / sets;
		if (!node_state(node, N_MEMORY))
			continue;
		use_cpu(test, i % sets);
		/* Another task adds the class set while this one allocates it. */
		t->other.nid = node;
		t->other.handle = 0;
		t->meanwhile = alloc_meanwhile;
		handle = zs_malloc(t->other.pool, 100, GFP_TEST, node);
		KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
		KUNIT_EXPECT_NOT_NULL(test, zs_class(t->other.pool, 100,
						     zs_set_index(node, i % sets)));
		zs_free(t->other.pool, handle);
		zs_free(t->other.pool, t->other.handle);
	}
	t->meanwhile = NULL;
	kunit_deactivate_static_stub(test, zs_alloc_classes);
	kunit_deactivate_static_stub(test, zs_alloc_pool);
	zs_destroy_pool(t->other.pool);
	zst_flush_deferred(test);
	expect_all_freed_to(test, t->cache);
	expect_all_freed_to(test, t->class_cache);
}

static void slot_that_is_freed_during_allocation_is_used(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned long handle;

	fill_zspage(t, size);
	kunit_activate_static_stub(test, zs_alloc_descriptor, no_descriptor);
	KUNIT_EXPECT_EQ(test, zs_malloc(t->pool, size, GFP_TEST, TEST_NODE),
			(unsigned long)-ENOMEM);
	t->meanwhile = free_first_object;
	handle = zs_malloc(t->pool, size, GFP_TEST, TEST_NODE);
	kunit_deactivate_static_stub(test, zs_alloc_descriptor);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
	zs_free(t->pool, handle);
}

static struct shrinker *no_shrinker(struct zs_pool *pool)
{
	return NULL;
}

static void pool_works_without_a_shrinker(struct kunit *test)
{
	struct zst *t = test->priv;
	bool traced;

	zst_destroy(t);
	traced = watch_report_lines(t);
	kunit_activate_static_stub(test, zs_alloc_shrinker, no_shrinker);
	t->pool = zs_create_pool("kunit");
	kunit_deactivate_static_stub(test, zs_alloc_shrinker);
	KUNIT_ASSERT_NOT_NULL(test, t->pool);
	if (traced)
		KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_report_lines), 1);
	KUNIT_EXPECT_NULL(test, t->pool->shrinker);

	sparse_zspages(t, long_size(test), 10, 2);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	free_all(t);
	zst_destroy(t);
}

static void failed_allocation_leaks_nothing(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned int pages = test_class(t, size)->geo.pages;

	kunit_activate_static_stub(test, zs_alloc_descriptor, no_descriptor);
	expect_enomem(t, size);
	kunit_deactivate_static_stub(test, zs_alloc_descriptor);

	/* Each page in turn; short_bulk brings the first one */
	kunit_activate_static_stub(test, zs_alloc_single, nth_single_fails);
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk);
	for (unsigned int n = 1; n <= pages; n++) {
		t->nr_until_failure = n;
		expect_enomem(t, size);
	}
	kunit_activate_static_stub(test, zs_alloc_bulk, short_bulk);
	for (unsigned int n = 1; n < pages; n++) {
		t->nr_until_failure = n;
		expect_enomem(t, size);
	}
	t->nr_until_failure = 0;
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
	kunit_deactivate_static_stub(test, zs_alloc_single);

	fill_zspage(t, size);
	expect_all_intact(t);
}

/* A descriptor that no handle can name */
static struct zspage *unreachable_descriptor(struct size_class *class, gfp_t gfp,
					     int nid)
{
	struct zst *t = current_zst();

	t->nr_unreachable++;
	return t->unreachable;
}

static void discard_unreachable(struct size_class *class, struct zspage *zspage)
{
	struct zst *t = current_zst();

	/* KASAN's tag, if there was one, is gone. */
	t->nr_unreachable -= zspage == kasan_reset_tag(t->unreachable);
}

static void unreachable_descriptors_are_refused(struct kunit *test)
{
	struct zst *t = test->priv;
	void *descriptors[] = {
		/* In the linear map, but between two that are aligned */
		t->want + ZSPAGE_ALIGN / 2,
		/* Below the linear map */
		(void *)(PAGE_OFFSET - ZSPAGE_ALIGN),
#ifdef CONFIG_64BIT
		/* Far above it, as KFENCE's pool may be */
		(void *)(PAGE_OFFSET + (1UL << 55)),
#endif
	};
	bool traced;

	traced = watch_report_lines(t);
	kunit_activate_static_stub(test, zs_alloc_descriptor,
				   unreachable_descriptor);
	kunit_activate_static_stub(test, zs_discard_descriptor,
				   discard_unreachable);
	for (int i = 0; i < ARRAY_SIZE(descriptors); i++) {
		t->unreachable = descriptors[i];
		expect_enomem(t, long_size(test));
		KUNIT_EXPECT_EQ(test, t->nr_unreachable, 0);
	}
	kunit_deactivate_static_stub(test, zs_discard_descriptor);
	kunit_deactivate_static_stub(test, zs_alloc_descriptor);
	if (traced)
		KUNIT_EXPECT_EQ(test, atomic_read(&t->nr_report_lines), 1);

	fill_zspage(t, long_size(test));
	expect_all_intact(t);
}

static void short_bulk_allocation_is_completed_singly(struct kunit *test)
{
	struct zst *t = test->priv;

	kunit_activate_static_stub(test, zs_alloc_bulk, short_bulk);
	fill_zspage(t, long_size(test));
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk);
	fill_zspage(t, long_size(test));
	expect_all_intact(t);
}

/*
 * The end of a pool
 */

static void objects_outlive_a_destroyed_pool(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zs_pool *pool = t->pool;
	LIST_HEAD(list);

	for (int i = 0; i < 10; i++)
		obj_alloc(t, 500 * (i % 3 + 1));
	kunit_warning_suppress(test) {
		zs_destroy_pool(pool);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	zs_flush_deferred();
	/* Leaked, not lost: they can still be moved, read and freed. */
	if (IS_ENABLED(CONFIG_MIGRATION)) {
		KUNIT_EXPECT_GT(test, isolate_pool(pool, &list), 0);
		KUNIT_EXPECT_EQ(test, migrate(&list), 0);
	}
	for (unsigned int i = 0; i < t->nr; i++)
		KUNIT_EXPECT_TRUE(test, obj_intact(t, &t->objs[i]));
	free_all(t);
	t->pool = NULL;
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
}

/*
 * All at once
 */

static const u16 crowd_sizes[] = { 32, 64, 200, 1000, 2720, 4096 };

struct crowd {
	struct zst *t;
	unsigned int first, nr;		/* objs[] of one user */
	unsigned long ops;
	unsigned long errors;
	u8 *want, *copy;
};

static void nap_with_object_open(struct zst *t, struct obj *o)
{
	struct scatterlist sg[2];

	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	usleep_range(100, 1000);
	zs_obj_read_sg_end(t->pool, o->handle);
}

/* Leaves holes, and work for compaction */
static void crowd_free_most(struct crowd *c, struct zst *t)
{
	for (unsigned int i = 0; i < c->nr; i++)
		if (i % 5) {
			zs_free(t->pool, t->objs[c->first + i].handle);
			t->objs[c->first + i].handle = 0;
		}
}

static int crowd_user(void *data)
{
	struct crowd *c = data;
	struct zst t = *c->t;
	struct rnd_state rnd;

	t.want = c->want;
	t.copy = c->copy;
	t.seed = c->first << 16;
	prandom_seed_state(&rnd, c->first + 1);
	while (!kthread_should_stop()) {
		u32 r = prandom_u32_state(&rnd);
		struct obj *o = &t.objs[c->first + (r >> 16) % c->nr];

		if (!o->handle) {
			/* Few classes, so that their zspages fill up */
			o->size = crowd_sizes[r % ARRAY_SIZE(crowd_sizes)];
			o->handle = zs_malloc(t.pool, o->size, GFP_TEST,
					      NUMA_NO_NODE);
			if (IS_ERR_VALUE(o->handle)) {
				c->errors++;
				o->handle = 0;
				continue;
			}
			obj_write(&t, o);
		} else {
			if (r % 64 == 2)
				nap_with_object_open(&t, o);
			if (!obj_intact(&t, o))
				c->errors++;
			if (r % 256 == 0) {
				crowd_free_most(c, &t);
			} else if (r % 4 == 0) {
				zs_free(t.pool, o->handle);
				o->handle = 0;
			} else if (r % 4 == 1) {
				obj_write(&t, o);
			}
		}
		c->ops++;
		cond_resched();
	}
	return 0;
}

/*
 * Isolates zspages as the compaction of the core does: by walking over page frames,
 * without knowing the pool that they belong to.
 */
static unsigned long migrate_all_memory(void)
{
	struct target target = { .gfp = GFP_TEST | __GFP_NOWARN };
	unsigned long pfn, moved = 0;
	struct zone *zone;
	LIST_HEAD(list);

	for_each_populated_zone(zone)
		for (pfn = zone->zone_start_pfn; pfn < zone_end_pfn(zone); pfn++) {
			struct page *page = pfn_to_online_page(pfn);

			if (!page || !PageZsmalloc(page) ||
			    !isolate(page, &list))
				continue;
			if (pfn % 7 == 0)
				putback_movable_pages(&list);
			else if (!migrate_to(&list, &target, pfn % 2 ?
					     MIGRATE_ASYNC : MIGRATE_SYNC))
				moved++;
			cond_resched();
		}
	return moved;
}

static int crowd_compactor(void *data)
{
	unsigned long *freed = data;
	struct zs_pool *pool = (void *)freed[0];

	freed[0] = 0;
	while (!kthread_should_stop()) {
		freed[0] += zs_compact(pool);
		cond_resched();
	}
	return 0;
}

static int crowd_migrator(void *data)
{
	unsigned long *moved = data;

	while (!kthread_should_stop())
		*moved += migrate_all_memory();
	return 0;
}

static void users_migration_and_compaction_at_once(struct kunit *test)
{
	struct task_struct *tasks[2], *compactors[2], *migrator;
	unsigned long freed[ARRAY_SIZE(compactors)], moved_too = 0;
	struct crowd crowd[ARRAY_SIZE(tasks)] = { };
	struct zst *t = test->priv;
	unsigned long end, moved = 0;
	const unsigned int nr = 1500;

	needs_migration(test);
	zs_small_class = ZS_SMALL_CLASS;
	for (int i = 0; i < ARRAY_SIZE(tasks); i++) {
		crowd[i].t = t;
		crowd[i].first = i * nr;
		crowd[i].nr = nr;
		crowd[i].want = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
		crowd[i].copy = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, crowd[i].want);
		KUNIT_ASSERT_NOT_NULL(test, crowd[i].copy);
	}
	for (int i = 0; i < ARRAY_SIZE(tasks); i++) {
		tasks[i] = kthread_run(crowd_user, &crowd[i], "zs_user/%d", i);
		if (IS_ERR(tasks[i]))
			KUNIT_FAIL(test, "no thread\n");
	}
	for (int i = 0; i < ARRAY_SIZE(compactors); i++) {
		freed[i] = (unsigned long)t->pool;
		compactors[i] = kthread_run(crowd_compactor, &freed[i],
					    "zs_compact/%d", i);
		if (IS_ERR(compactors[i]))
			KUNIT_FAIL(test, "no thread\n");
	}
	migrator = kthread_run(crowd_migrator, &moved_too, "zs_migrate");
	if (IS_ERR(migrator))
		KUNIT_FAIL(test, "no thread\n");
	end = jiffies + 4 * HZ;
	while (time_before(jiffies, end))
		moved += migrate_all_memory();
	if (!IS_ERR(migrator))
		kthread_stop(migrator);
	for (int i = 0; i < ARRAY_SIZE(compactors); i++) {
		if (IS_ERR(compactors[i]))
			continue;
		kthread_stop(compactors[i]);
		kunit_info(test, "compactor %d: %lu pages freed\n", i, freed[i]);
		KUNIT_EXPECT_GT(test, freed[i], 0);
	}
	for (int i = 0; i < ARRAY_SIZE(tasks); i++) {
		if (IS_ERR(tasks[i]))
			continue;
		kthread_stop(tasks[i]);
		kunit_info(test, "user %d: %lu operations\n", i, crowd[i].ops);
		KUNIT_EXPECT_GT(test, crowd[i].ops, 0);
		KUNIT_EXPECT_EQ(test, crowd[i].errors, 0);
	}
	kunit_info(test, "%lu + %lu pages moved\n", moved, moved_too);
	KUNIT_EXPECT_GT(test, moved, 0);
	KUNIT_EXPECT_GT(test, moved_too, 0);
	zs_flush_deferred();

	/* The test frees the remaining objects at its end. */
	for (unsigned int i = 0; i < nr * ARRAY_SIZE(tasks); i++)
		if (t->objs[i].handle)
			t->objs[t->nr++] = t->objs[i];
	expect_quiet(t);
	expect_all_intact(t);
}

static struct kunit_case zst_cases[] = {
	KUNIT_CASE_PARAM(nodes_out_of_range_are_refused, bad_nodes_gen_params),
	KUNIT_CASE(sizes_out_of_range_are_refused),
	KUNIT_CASE(every_size_keeps_its_bytes),
	KUNIT_CASE(every_slot_of_every_class_keeps_its_bytes),
	KUNIT_CASE(free_ignores_null_and_errors),
	KUNIT_CASE(double_free_is_reported_and_changes_nothing),
	KUNIT_CASE(double_free_reports_are_rate_limited),
	KUNIT_CASE_PARAM(lengths_out_of_range_are_refused, small_long_and_page_gen_params),
	KUNIT_CASE(every_refused_access_is_reported),
	KUNIT_CASE(refused_read_needs_no_buffer),
	KUNIT_CASE(forwarded_objects_refuse_lengths_out_of_range),
	KUNIT_CASE(use_after_free_of_forwarded_object_is_reported),
	KUNIT_CASE_PARAM(use_after_free_is_reported, small_and_long_gen_params),
	KUNIT_CASE_PARAM(reused_slot_has_a_new_handle, small_and_long_gen_params),
	KUNIT_CASE(new_zspages_begin_with_different_generations),
	KUNIT_CASE(stale_handle_does_not_reach_a_guest),
	KUNIT_CASE(class_index_ascends_with_slot_size),
	KUNIT_CASE(huge_objects_take_a_page_each),
	KUNIT_CASE(page_sized_objects_need_no_buffer),
	KUNIT_CASE(only_straddling_objects_are_copied),
	KUNIT_CASE(only_requested_bytes_are_read_and_written),
	KUNIT_CASE(geometry_is_within_its_limits),
	KUNIT_CASE(sizes_share_a_class_if_it_costs_little),
	KUNIT_CASE(classes_ascend_and_cover_every_size),
	KUNIT_CASE(handles_are_decoded_at_their_limits),
	KUNIT_CASE(zspages_are_freed_with_their_last_object),
	KUNIT_CASE(fullest_zspage_is_used_first),
	KUNIT_CASE(lowest_slot_that_may_be_free_is_known),
	KUNIT_CASE_PARAM(random_operations_agree_with_a_model, class_kinds_gen_params),
	KUNIT_CASE(small_classes_get_pages_when_objects_need_them),
	KUNIT_CASE(large_classes_get_whole_zspages),
	KUNIT_CASE(growing_zspages_are_filled_last),
	KUNIT_CASE(objects_take_larger_slots_until_half_a_page_is_lost),
	KUNIT_CASE(slots_that_are_much_larger_are_not_taken),
	KUNIT_CASE(pools_with_class_sets_take_no_larger_slots),
	KUNIT_CASE(growing_zspages_stay_as_they_are_without_memory),
	KUNIT_CASE(page_outlives_the_zspage_that_it_was_allocated_for),
	KUNIT_CASE(slot_that_is_freed_meanwhile_is_used_before_a_page),
	KUNIT_CASE(page_is_freed_if_there_is_no_descriptor_for_it),
	KUNIT_CASE(one_zspage_of_a_class_grows),
	KUNIT_CASE(growing_zspages_have_as_many_stale_pages_as_pages),
	KUNIT_CASE(growing_zspages_may_lose_their_objects_while_isolated),
	KUNIT_CASE(pool_creation_fails_without_memory),
	KUNIT_CASE(all_memory_of_a_pool_is_freed),
	KUNIT_CASE(slot_that_is_freed_during_allocation_is_used),
	KUNIT_CASE(pool_works_without_a_shrinker),
	KUNIT_CASE(failed_allocation_leaks_nothing),
	KUNIT_CASE(unreachable_descriptors_are_refused),
	KUNIT_CASE(short_bulk_allocation_is_completed_singly),
	KUNIT_CASE(objects_outlive_a_destroyed_pool),
	KUNIT_CASE_SLOW(users_migration_and_compaction_at_once),
	{ }
};

static struct kunit_suite zst_suite = {
	.name = "zsmalloc",
	.init = zst_init,
	.exit = zst_exit,
	.test_cases = zst_cases,
};

kunit_test_suite(zst_suite);
