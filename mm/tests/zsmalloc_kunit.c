// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc.
 *
 * The name of each test says what it expects. Every object is filled with bytes made
 * from a seed of its own and compared as a whole, both by zs_obj_read_begin() and as a
 * scatterlist. Pages are migrated by the migration core, isolate_movable_ops_page()
 * and migrate_pages(), never by calling the callbacks of the allocator. After each
 * test nothing may be left of its pools.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/kasan.h>
#include <linux/kthread.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/vmstat.h>
#include <trace/events/printk.h>

#include "zsmalloc_kunit.h"

static const struct test_size small_and_long[] = {
	{ "small", 32 },
	{ "long", LONG_SIZE },
};
KUNIT_ARRAY_PARAM_DESC(small_and_long, small_and_long, name);

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

/* Reads @len bytes of an object, which cannot be served, both ways. */
static void expect_zeroes(struct zst *t, const struct obj *o, size_t len)
{
	size_t some = min(len, PAGE_SIZE);
	struct scatterlist sg[2];
	u8 *mem;

	memset(t->copy, 0xaa, PAGE_SIZE);
	mem = zs_obj_read_begin(t->pool, o->handle, len, t->copy);
	if (mem != t->copy)
		some = min(some, PAGE_SIZE - offset_in_page(mem));
	KUNIT_EXPECT_TRUE(t->test, all_zero(mem, some));
	zs_obj_read_end(t->pool, o->handle, len, mem);

	some = clamp(len, 1, 2 * PAGE_SIZE);
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

	for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (lengths[i] && lengths[i] <= size)
			continue;
		kunit_warning_suppress(test) {
			t->pool->reported = 0;
			zs_obj_write(t->pool, o->handle, t->want, lengths[i]);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
			t->pool->reported = 0;
			expect_zeroes(t, o, lengths[i]);
			/* Two reads, and one trace */
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
			t->pool->reported = 0;
			expect_zeroes(t, o, lengths[i]);
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
	KUNIT_ASSERT_GT(test, compact(t), 0);
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
		memset(t->want, 0xff, o->size);
		zs_obj_write(t->pool, o->handle, t->want, o->size);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
	}
	expect_all_intact(t);
	expect_quiet(t);
}

static void use_after_free_of_forwarded_object_is_reported(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;

	sparse_zspages(t, size, 10, 2);
	KUNIT_ASSERT_GT(test, compact(t), 0);
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
	/* A slot that the zspage does not have */
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
	KUNIT_ASSERT_GT(test, compact(t), 0);

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

static void random_operations_agree_with_a_model(struct kunit *test)
{
	struct zst *t = test->priv;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 20261122);
	for (unsigned int i = 0; i < 20000; i++) {
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

/* Failing allocations, each in turn */

static bool fails_now(struct zst *t)
{
	return t->nr_until_failure && !--t->nr_until_failure;
}

static struct zs_pool *no_pool(size_t size)
{
	return NULL;
}

static struct zspage *no_descriptor(struct size_class *class, gfp_t gfp, int nid)
{
	return NULL;
}

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

static unsigned int short_bulk(gfp_t gfp, int nid, unsigned int nr,
			       struct zpdesc **pages)
{
	pages[0] = give(gfp, nid);
	return !!pages[0];
}

static unsigned int no_bulk(gfp_t gfp, int nid, unsigned int nr,
			    struct zpdesc **pages)
{
	return 0;
}

static struct zpdesc *nth_single_fails(gfp_t gfp, int nid)
{
	return fails_now(current_zst()) ? NULL : give(gfp, nid);
}

static void expect_enomem(struct zst *t, size_t size)
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

static struct size_class *no_classes(int nid, gfp_t gfp)
{
	return NULL;
}

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

static struct shrinker *no_shrinker(struct zs_pool *pool)
{
	return NULL;
}

static void pool_works_without_a_shrinker(struct kunit *test)
{
	struct zst *t = test->priv;

	destroy(t);
	kunit_activate_static_stub(test, zs_alloc_shrinker, no_shrinker);
	t->pool = zs_create_pool("kunit");
	kunit_deactivate_static_stub(test, zs_alloc_shrinker);
	KUNIT_ASSERT_NOT_NULL(test, t->pool);
	KUNIT_EXPECT_NULL(test, t->pool->shrinker);

	sparse_zspages(t, long_size(test), 10, 2);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	free_all(t);
	destroy(t);
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

	t->nr_unreachable -= zspage == t->unreachable;
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
			nr_node_ids * sizeof(struct size_class *));
	zs_geometries(&geos);
	KUNIT_EXPECT_EQ(test, nr_classes(pool, NUMA_NO_NODE), geos);
	KUNIT_EXPECT_EQ(test, nr_classes(pool, TEST_NODE), geos);

	/* One after the other */
	for_each_node_state(node, N_MEMORY) {
		unsigned long handle;

		if (node != TEST_NODE) {
			KUNIT_EXPECT_NULL(test, zs_class(pool, 100, node));
			KUNIT_EXPECT_EQ(test, nr_classes(pool, node), 0);
		}
		handle = zs_malloc(pool, 100, GFP_TEST, node);
		KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
		zs_free(pool, handle);
		KUNIT_EXPECT_NOT_NULL(test, zs_class(pool, 100, node));
		KUNIT_EXPECT_EQ(test, nr_classes(pool, node), geos);
	}
	KUNIT_EXPECT_EQ(test, nr_classes(pool, NUMA_NO_NODE),
			num_node_state(N_MEMORY) * geos);
	KUNIT_EXPECT_STREQ(test, zs_check_pool(pool) ?: "", "");
	zs_destroy_pool(pool);
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
	KUNIT_EXPECT_NOT_NULL(test, zs_class(t->pool, 100, nid[1]));
	zs_free(t->pool, handle);
}

/* Objects get memory of their node, but share the lists of another node. */
static void node_works_without_classes(struct kunit *test)
{
	size_t size = long_size(test);
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, size)->geo.slots;
	unsigned int pages = test_class(t, size)->geo.pages;
	int nid[2];

	needs_two_nodes(test, nid);
	kunit_activate_static_stub(test, zs_alloc_classes, no_classes);
	for (unsigned int i = 0; i < 2 * slots; i++) {
		KUNIT_EXPECT_EQ(test, nid[1],
				obj_node(obj_alloc_node(t, size, nid[1])));
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool),
				(i / slots + 1) * pages);
	}
	KUNIT_EXPECT_NULL(test, zs_class(t->pool, size, nid[1]));
	KUNIT_EXPECT_EQ(test, zs_class(t->pool, size, nid[0])->inuse, 2 * slots);
	thin_out(t, 0, 2);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, nid[1]), 0);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_classes);

	/* The next one has classes, whatever the others have. */
	obj_alloc_node(t, size, nid[1]);
	KUNIT_ASSERT_NOT_NULL(test, zs_class(t->pool, size, nid[1]));
	KUNIT_EXPECT_EQ(test, zs_class(t->pool, size, nid[1])->inuse, 1);
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
	KUNIT_EXPECT_NULL(test, zs_class(t->pool, 100, nid[1]));
	expect_all_intact(t);
}

static struct folio *folio_on_node(struct folio *src, unsigned long nid)
{
	return __folio_alloc_node(GFP_TEST | __GFP_THISNODE, 0, nid);
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
	KUNIT_EXPECT_GT(test, compact(t), 0);
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

		KUNIT_EXPECT_GE(test, compact(t), freeable[0]);
		for (unsigned int i = 0; i < t->nr; i++)
			KUNIT_EXPECT_EQ(test, obj_node(&t->objs[i]),
					nid[i >= t->nr / 2]);
		expect_all_intact(t);
		free_all(t);
	}
}

/*
 * Migration
 */

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

/* Replaces the first page of a zspage, and returns the old one. */
static struct page *replace_page(struct zst *t, struct zspage *zspage)
{
	struct page *old = zpdesc_page(zspage->pages[0]);
	struct target target = { .gfp = GFP_TEST };
	LIST_HEAD(list);

	get_page(old);
	KUNIT_ASSERT_TRUE(t->test, isolate(old, &list));
	KUNIT_EXPECT_EQ(t->test, migrate_to(&list, &target, MIGRATE_ASYNC), 0);
	return old;
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
		struct page *old = replace_page(t, zspage);

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

static void *no_memory_for(size_t size)
{
	return NULL;
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
	old = replace_page(t, zspage);
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
	return kmem_cache_zalloc(current_zst()->cache, GFP_NOWAIT);
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
	t->cache = kmem_cache_create("kunit-zs-notes", zspage->class->geo.slots,
				     0, SLAB_NO_MERGE, NULL);
	KUNIT_ASSERT_NOT_NULL(test, t->cache);
	kunit_activate_static_stub(test, zs_alloc_late, notes_of_cache);
	zs_obj_read_sg_begin(t->pool, o[0].handle, sg[0], o->size);
	put_page(replace_page(t, zspage));
	put_page(replace_page(t, zspage));
	zs_obj_read_sg_begin(t->pool, o[1].handle, sg[1], o->size);
	zs_obj_read_sg_begin(t->pool, o[2].handle, sg[2], o->size);
	KUNIT_EXPECT_NOT_NULL(test, *zspage_late(zspage));
	zs_obj_read_sg_end(t->pool, o[1].handle);
	zs_obj_read_sg_end(t->pool, o[0].handle);
	zs_obj_read_sg_end(t->pool, o[2].handle);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 0);
	kunit_deactivate_static_stub(test, zs_alloc_late);
	kmem_cache_destroy(t->cache);
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
	old = replace_page(t, zspage);
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

/* If @close, the first wait ends as the reader of objs[0] closes it. */
static unsigned int count_waits_of(struct zst *t, enum migrate_mode mode,
				   bool close)
{
	struct target target = { .gfp = GFP_TEST };
	LIST_HEAD(list);

	t->patience.waits = 0;
	t->patience.close = close;
	KUNIT_EXPECT_GT(t->test, isolate_pool(t->pool, &list), 0);
	WRITE_ONCE(zs_race_hook, count_waits);
	KUNIT_EXPECT_EQ(t->test, migrate_to(&list, &target, mode), 0);
	WRITE_ONCE(zs_race_hook, NULL);
	return t->patience.waits;
}

static const struct batch_mode {
	const char *name;
	enum migrate_mode mode;
} batch_modes[] = {
	{ "MIGRATE_ASYNC", MIGRATE_ASYNC },
	{ "MIGRATE_SYNC_LIGHT", MIGRATE_SYNC_LIGHT },
};
KUNIT_ARRAY_PARAM_DESC(batch_modes, batch_modes, name);

/* The core may have unmapped other pages: nothing may wait before they are mapped. */
static void migration_in_a_batch_does_not_wait_for_readers(struct kunit *test)
{
	const struct batch_mode *batch = test->param_value;
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
	KUNIT_EXPECT_EQ(test, count_waits_of(t, batch->mode, false), 0);
	for (unsigned int i = 0; i < zspages; i++) {
		struct obj *o = &t->objs[i * slots];

		KUNIT_EXPECT_EQ(test, obj_zspage(o)->nr_stale,
				obj_zspage(o)->class->geo.pages);
		zs_obj_read_sg_end(t->pool, o->handle);
	}
	expect_quiet(t);
	expect_all_intact(t);
}

/*
 * CMA and memory offlining want the memory: until the object is closed, but no
 * longer than a while, and not again for the next page of the same zspage.
 */
static void synchronous_migration_waits_for_readers_once(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = fill_zspage(t, long_size(test));
	struct scatterlist sg[2];

	needs_migration(test);
	KUNIT_EXPECT_EQ(test, count_waits_of(t, MIGRATE_SYNC, false), 0);
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	KUNIT_EXPECT_EQ(test, count_waits_of(t, MIGRATE_SYNC, true), 1);
	expect_quiet(t);
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	KUNIT_EXPECT_EQ(test, count_waits_of(t, MIGRATE_SYNC, false), 1);
	KUNIT_EXPECT_EQ(test, obj_zspage(o)->nr_stale,
			obj_zspage(o)->class->geo.pages);
	zs_obj_read_sg_end(t->pool, o->handle);
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

static void end_isolation(struct zst *t, struct list_head *list, bool migrates)
{
	if (migrates)
		KUNIT_EXPECT_EQ(t->test, migrate(list), 0);
	else
		putback_movable_pages(list);
}

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

/*
 * Compaction of objects
 */

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
		sparse_zspages(t, sizes[i], 6, 2);
	/* Of no use to compaction: full, and huge */
	fill_zspage(t, 96);
	obj_alloc(t, PAGE_SIZE);

	promised = zs_freeable_pages(t->pool, TEST_NODE);
	KUNIT_EXPECT_GT(test, promised, 0);
	KUNIT_EXPECT_GE(test, compact(t), promised);
	for (int i = 0; i < ARRAY_SIZE(sizes); i++)
		expect_packed(t, sizes[i]);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_EQ(test, compact(t), 0);
}

static void compaction_of_a_packed_pool_frees_nothing(struct kunit *test)
{
	struct zst *t = test->priv;

	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	obj_alloc(t, 100);
	KUNIT_EXPECT_EQ(test, compact(t), 0);
	fill_zspage(t, 200);
	KUNIT_EXPECT_EQ(test, compact(t), 0);
}

static void forwarded_objects_can_be_written(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);

	sparse_zspages(t, size, 4, 2);
	KUNIT_ASSERT_GT(test, compact(t), 0);
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
	copy_bytes(dest, dest_slot, source, source_slot);
	return true;
}

static bool copies_fail_from_nth_on(struct zspage *dest, unsigned int dest_slot,
				    struct zspage *source, unsigned int source_slot)
{
	struct zst *t = current_zst();

	if (++t->nr_copies >= t->nr_until_failure)
		return false;
	copy_bytes(dest, dest_slot, source, source_slot);
	return true;
}

/* It may sleep, as no lock is held. */
static void *nth_supply_fails(size_t size)
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
	freed = compact(t);
	kunit_deactivate_static_stub(t->test, zs_copy_slot);
	expect_quiet(t);

	t->nr_until_failure = nth;
	kunit_activate_static_stub(t->test, zs_alloc_supply, nth_supply_fails);
	freed += compact(t);
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

	sparse_zspages(t, 160, 3, 2);
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
		KUNIT_EXPECT_GT(test, freed + compact(t), 0);
		KUNIT_EXPECT_NE(test, obj_where(&t->objs[0]), was);
		sparse_zspages(t, 160, 2, 2);
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
	KUNIT_ASSERT_GT(test, compact(t), 0);
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
	KUNIT_ASSERT_GT(test, compact(t), 0);
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
	KUNIT_EXPECT_GT(test, compact(t), 0);
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
		compact(t);
		KUNIT_EXPECT_EQ(test, obj_where(o),
				where);
		fill(t->want, o->size, o->seed);
		sg_copy_to_buffer(sg, sg_nents(sg), t->copy, o->size);
		KUNIT_EXPECT_MEMEQ(test, t->copy, t->want, o->size);
		zs_obj_read_sg_end(t->pool, o->handle);
		compact(t);
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
	KUNIT_EXPECT_EQ(test, compact(t), 0);
	KUNIT_EXPECT_EQ(test, migrate(&list), 0);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	expect_packed(t, size);
}

/* The locked one is the emptiest. It does not keep the others from being evacuated. */
static void compaction_skips_zspages_with_locked_pages(struct kunit *test)
{
	static const unsigned int keep[] = { 2, 5, 11, 20 };
	struct zst *t = test->priv;
	unsigned int slots = test_class(t, 384)->geo.slots;
	struct zspage *locked;
	struct page *page;

	for (int i = 0; i < ARRAY_SIZE(keep); i++)
		fill_zspage(t, 384);
	keep_if(t, 0, n, n % slots < keep[n / slots]);

	locked = obj_zspage(&t->objs[0]);
	page = zpdesc_page(locked->pages[1]);
	lock_page(page);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	expect_packed(t, 384);
	KUNIT_EXPECT_EQ(test, locked->state, ZSPAGE_LIVE);
	KUNIT_EXPECT_PTR_EQ(test, zpdesc_page(locked->pages[1]), page);
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, compact(t), 0);
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

	sparse_zspages_and_busy_ones(t, 256, nr);
	KUNIT_EXPECT_GE(test, watched_compact(t, NULL),
			3 * test_class(t, 256)->geo.pages);
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
	unsigned int pages = test_class(t, 256)->geo.pages;
	struct shrinker *shrinker = t->pool->shrinker;
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL, .nid = TEST_NODE, .nr_to_scan = 1,
	};

	sparse_zspages_and_busy_ones(t, 256, 40);
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
		obj_alloc(t, 256);
}

static void zspages_are_freed_and_allocated_during_a_search(struct kunit *test)
{
	struct zst *t = test->priv;

	sparse_zspages_and_busy_ones(t, 256, 40);
	watched_compact(t, free_and_allocate);
	expect_packed(t, 256);
}

static void compact_in_between(struct zst *t)
{
	t->search.freed_in_between = zs_compact(t->pool);
}

/* Two searches do not disturb each other. */
static void compaction_during_a_search_of_another_task(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int pages = test_class(t, 256)->geo.pages;

	sparse_zspages_and_busy_ones(t, 256, 40);
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

	sparse_zspages(t, 256, 4, 2);
	sparse_zspages(t, 512, 4, 2);
	sparse_zspages(t, 1536, 4, 2);
	kunit_activate_static_stub(test, zs_alloc_supply, nth_supply_fails);
	t->nr_until_failure = 1;
	t->nr_supplies = 0;
	if (packer->is_shrinker)
		KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc),
				SHRINK_STOP);
	else
		KUNIT_EXPECT_EQ(test, compact(t), 0);
	KUNIT_EXPECT_EQ(test, t->nr_supplies, 1);
	/* A class that was not searched is still promised. */
	KUNIT_EXPECT_GT(test, shrinker->count_objects(shrinker, &sc), 0);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	expect_packed(t, 256);
	expect_packed(t, 512);
	expect_packed(t, 1536);
}

/* Bytes that debug builds add to a descriptor, and that the limits do not count */
static size_t debug_bytes(const struct size_class *class)
{
	return kmem_cache_size(class->cache) -
	       zspage_descriptor_size(class->geo.pages, class->geo.slots);
}

/* So many guests, each in another host, that evacuating their home does not pay */
static unsigned int too_many_hosts(const struct zs_geometry *geo)
{
	unsigned int nr = 0;
	size_t added;

	do {
		nr++;
		added = zspage_descriptor_size(geo->pages, geo->slots) +
			kmalloc_size_roundup((nr - min(nr, geo->pages)) * sizeof(long)) +
			nr * sizeof(struct zs_guest_block);
	} while (added <= geo->pages * PAGE_SIZE / 2);
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
	KUNIT_EXPECT_EQ(test, compact(t), 0);
	KUNIT_EXPECT_EQ(test, pool_added(t->pool), 0);

	/* An object and a host less, and it does. */
	obj_free(t, &t->objs[0]);
	KUNIT_EXPECT_EQ(test, compact(t), geo->pages);
	KUNIT_EXPECT_GT(test, pool_added(t->pool), 0);
	KUNIT_EXPECT_LE(test, pool_added(t->pool), geo->pages * PAGE_SIZE / 2 +
			debug_bytes(test_class(t, geo->size)));
}

/* No memory is free but pages that compaction has freed, and half a page. */
static void *supply_of_what_was_freed(size_t size)
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
	struct size_class *class = test_class(t, 128);
	unsigned int slots = class->geo.slots;

	for (unsigned int i = 0; i <= nr; i++)
		fill_zspage(t, 128);
	/* Room for one object in each but the first, which has as many */
	keep_if(t, 0, n, n < slots ? n < nr : n % slots);
	KUNIT_EXPECT_EQ(test, compact(t), class->geo.pages);
	KUNIT_EXPECT_EQ(test, class->forwarded, nr);
	KUNIT_EXPECT_EQ(test, class->guest_blocks, nr);
}

static void compaction_frees_more_than_it_allocates(struct kunit *test)
{
	static const u16 sizes[] = { 64, 208, 512, 1000, 1536, 2720, 3400 };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++)
		sparse_zspages(t, sizes[i], 6, 4);
	t->supplied.bytes = 0;
	t->supplied.pages = pool_pages(t->pool);
	kunit_activate_static_stub(test, zs_alloc_supply, supply_of_what_was_freed);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	KUNIT_EXPECT_GT(test, t->supplied.bytes, 0);
	for (int i = 0; i < ARRAY_SIZE(sizes); i++)
		expect_packed(t, sizes[i]);
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
	KUNIT_EXPECT_EQ(test, class->bad_inuse, 40 * (slots - 1));
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
	KUNIT_EXPECT_EQ(test, class->bad_inuse, 0);
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
	KUNIT_EXPECT_EQ(test, compact(t), 0);
	KUNIT_EXPECT_EQ(test, bad->fullness, ZS_BAD);
	/* There is no promise of room that is not used. */
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);

	/* Those beside bad ones are packed, and by themselves. */
	go_bad(t, zpdesc_page(other->pages[1]));
	KUNIT_EXPECT_EQ(test, compact(t), 0);
	sparse_zspages(t, size, 2, 2);
	KUNIT_EXPECT_GT(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	for (unsigned int i = 0; i < both; i++)
		KUNIT_EXPECT_FALSE(test, obj_is_forwarded(&t->objs[i]));
	KUNIT_EXPECT_EQ(test, bad->nr_guests, 0);
	free_all(t);
	KUNIT_EXPECT_EQ(test, class->bad_inuse, 0);
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
	struct size_class *class = test_class(t, 256);
	unsigned int slots = class->geo.slots;

	/* Two zspages, and one object more than one of them can hold */
	fill_zspage(t, 256);
	fill_zspage(t, 256);
	while (t->nr > slots + 1)
		obj_free(t, &t->objs[t->nr / 2]);
	KUNIT_ASSERT_EQ(test, class_zspages(class), 2);
	t->nr_copies = 0;
	kunit_activate_static_stub(test, zs_copy_slot, nth_copy_fails);
	KUNIT_EXPECT_EQ(test, compact(t), 0);
	KUNIT_EXPECT_EQ(test, t->nr_copies, 0);
	obj_free(t, &t->objs[slots / 2]);
	KUNIT_EXPECT_EQ(test, compact(t), class->geo.pages);
	KUNIT_EXPECT_GT(test, t->nr_copies, 0);
	kunit_deactivate_static_stub(test, zs_copy_slot);
}

static bool copy_what_is_readable(struct zspage *dest, unsigned int dest_slot,
				  struct zspage *source, unsigned int source_slot)
{
	if (source == current_zst()->unreadable)
		return false;
	copy_bytes(dest, dest_slot, source, source_slot);
	return true;
}

/* It is tried first. */
static void failed_evacuation_does_not_stop_others(struct kunit *test)
{
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, 256);
	unsigned int slots = class->geo.slots, zspages;

	/* One object each in two, the second of which is tried first */
	for (int i = 0; i < 3; i++)
		fill_zspage(t, 256);
	keep_if(t, 0, n, n % slots == 0 || n / slots == 2);
	obj_free(t, &t->objs[t->nr / 2]);
	t->unreadable = obj_zspage(&t->objs[1]);

	kunit_activate_static_stub(test, zs_copy_slot, copy_what_is_readable);
	zspages = compact(t) / class->geo.pages;
	kunit_deactivate_static_stub(test, zs_copy_slot);
	KUNIT_EXPECT_FALSE(test, obj_is_forwarded(&t->objs[1]));
	KUNIT_EXPECT_TRUE(test, obj_is_forwarded(&t->objs[0]));
	KUNIT_EXPECT_GE(test, zspages, 1);
}

/* No matter which of the objects cannot be copied */
static void failed_copy_undoes_the_evacuation(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned int objects;

	sparse_zspages(t, size, 2, 2);
	objects = min(obj_zspage(&t->objs[0])->inuse,
		      obj_zspage(&t->objs[t->nr - 1])->inuse);
	kunit_activate_static_stub(test, zs_copy_slot, copies_fail_from_nth_on);
	for (unsigned int n = 1; n <= objects; n++) {
		t->nr_copies = 0;
		t->nr_until_failure = n;
		KUNIT_EXPECT_EQ(test, compact(t), 0);
		/* The other zspage is tried, too, and fails at once. */
		KUNIT_EXPECT_EQ(test, t->nr_copies, n + 1);
		expect_quiet(t);
	}
	t->nr_until_failure = 0;
	kunit_deactivate_static_stub(test, zs_copy_slot);
	KUNIT_EXPECT_GT(test, compact(t), 0);
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
		KUNIT_EXPECT_EQ(test, compact(t), 0);
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
	KUNIT_EXPECT_EQ(test, compact(t), class->geo.pages);
	atomic_dec(&other->pins);
}

/* A page of the zspage that this object is copied to goes bad. */
static bool dest_goes_bad(struct zspage *dest, unsigned int dest_slot,
			  struct zspage *source, unsigned int source_slot)
{
	struct zst *t = current_zst();

	if (fails_now(t))
		return false;
	copy_bytes(dest, dest_slot, source, source_slot);
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
	struct size_class *class = test_class(t, 256);
	unsigned int slots = class->geo.slots, natives = slots / 4;
	struct zspage *source, *others[3];

	/* A quarter of the first is in use, and of the others a half. */
	for (int i = 0; i < 1 + ARRAY_SIZE(others); i++)
		fill_zspage(t, 256);
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
	KUNIT_EXPECT_EQ(test, compact(t), end->fails ? 0 : class->geo.pages);
	kunit_deactivate_static_stub(test, zs_copy_slot);
	KUNIT_EXPECT_EQ(test, t->nr_until_bad, 0);
	KUNIT_EXPECT_EQ(test, t->nr_until_failure, 0);
	KUNIT_EXPECT_EQ(test, source->state, end->fails ? ZSPAGE_LIVE : ZSPAGE_FORWARDER);
	KUNIT_EXPECT_EQ(test, t->dest_gone_bad->fullness, ZS_BAD);
	KUNIT_EXPECT_EQ(test, t->dest_gone_bad->nr_guests, end->fails ? 0 : natives / 2);
	KUNIT_EXPECT_EQ(test, class->forwarded, end->fails ? 0 : natives);
	KUNIT_EXPECT_EQ(test, class->bad_inuse,
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
	unsigned int zspages;

	if (most + 1 >= slots)
		kunit_skip(test, "links are too small to matter");
	KUNIT_ASSERT_GT(test, most, 0);
	zspages = DIV_ROUND_UP(slots, slots - most - 1);
	for (unsigned int i = 0; i < zspages; i++)
		fill_zspage(t, ZS_MIN_SIZE);
	keep_if(t, 0, n, n % slots <= most);
	KUNIT_EXPECT_EQ(test, zs_freeable_pages(t->pool, TEST_NODE), 0);
	KUNIT_EXPECT_EQ(test, compact(t), 0);

	obj_free(t, &t->objs[0]);
	KUNIT_EXPECT_EQ(test, compact(t), class->geo.pages);
	KUNIT_EXPECT_EQ(test, class->forwarded, most);
	KUNIT_EXPECT_LE(test, pool_added(t->pool),
			class->geo.pages * PAGE_SIZE / 2 + debug_bytes(class));
}

/* A limit of the user's holds for all memory that objects take. */
static void total_pages_include_links_and_guest_blocks(struct kunit *test)
{
	struct zst *t = test->priv;

	while (pool_added(t->pool) < 3 * PAGE_SIZE) {
		sparse_zspages(t, 128, 8, 8);
		KUNIT_ASSERT_GT(test, compact(t), 0);
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
	struct size_class *class = test_class(t, 512);
	struct zspage *zspage;
	unsigned long promised;

	sparse_zspages(t, 512, 4, 2);
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
	sparse_zspages(t, 512, 6, 2);
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
		unsigned int pages = class->geo.pages;
		unsigned long bytes = 0;
		struct zspage *forwarder;

		sparse_zspages(t, sizes[i], 12, 4);
		KUNIT_EXPECT_GT(test, compact(t), 0);
		list_for_each_entry(forwarder, &class->forwarders, list) {
			unsigned int nr = bitmap_weight(zspage_bitmap(forwarder),
							class->geo.slots);
			size_t extra = nr > pages ? (nr - pages) * sizeof(long) : 0;

			KUNIT_EXPECT_EQ(test, !forwarder->far_links, !extra);
			KUNIT_EXPECT_EQ(test, ksize(forwarder->far_links),
					kmalloc_size_roundup(extra));
			bytes += kmalloc_size_roundup(extra);
			more += !!extra;
		}
		KUNIT_EXPECT_EQ(test, class->link_bytes, bytes);
		free_all(t);
	}
	KUNIT_EXPECT_GT(test, more, 0);
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
			sparse_zspages(t, sizes[i], 16, 2 + round % 2);
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
		KUNIT_EXPECT_GE(test, compact(t), promised);
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
	KUNIT_EXPECT_GT(test, compact(t), 0);
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
		sparse_zspages(t, 700, 6, 3);
		KUNIT_EXPECT_GT(test, compact(t), 0);
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

	sparse_zspages(t, 512, 4, 2);
	kunit_activate_static_stub(test, zs_alloc_supply, no_memory_for);
	KUNIT_EXPECT_EQ(test, compact(t), 0);
	kunit_deactivate_static_stub(test, zs_alloc_supply);

	for (int n = 1; failed; n++) {
		KUNIT_ASSERT_LT(test, n, 1000);
		sparse_zspages(t, 512, 4, 2);
		sparse_zspages(t, 1536, 4, 2);
		t->nr_until_failure = n;
		kunit_activate_static_stub(test, zs_alloc_supply,
					   nth_supply_fails);
		compact(t);
		kunit_deactivate_static_stub(test, zs_alloc_supply);
		failed = t->nr_until_failure == 0;
		t->nr_until_failure = 0;
		compact(t);
		expect_packed(t, 512);
		expect_packed(t, 1536);
		free_all(t);
		KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
	}
}

static void *nth_supply_of_cache_fails(size_t size)
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
	const slab_flags_t flags = SLAB_SKIP_KFENCE | SLAB_NO_MERGE;
	size_t size = param_size(test);
	struct zst *t = test->priv;
	struct size_class *class = test_class(t, size);
	struct kmem_cache *descriptors, *was = class->cache;
	unsigned int own, guests = 0;

	descriptors = kmem_cache_create("kunit-zspage", kmem_cache_size(was),
					ZSPAGE_ALIGN, flags, NULL);
	t->cache = kmem_cache_create("kunit-zs-supply", 256, 0, flags, NULL);
	KUNIT_ASSERT_NOT_NULL(test, descriptors);
	KUNIT_ASSERT_NOT_NULL(test, t->cache);
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
		compact(t);
		if (n % 2)
			kunit_deactivate_static_stub(test, zs_copy_slot);
		t->nr_until_failure = 0;
		compact(t);
		KUNIT_EXPECT_GT(test, class->guest_blocks, 0);
		KUNIT_EXPECT_GT(test, class->nr_forwarders, 0);
		thin_out(t, 0, 3);
	}
	free_all(t);

	/* A guest is moved to a new host, with a new guest block: the old one is freed. */
	t->nr_until_failure = 0;
	sparse_zspages(t, size, 2, 2);
	KUNIT_EXPECT_EQ(test, compact(t), class->geo.pages);
	own = t->nr;
	fill_zspage(t, size);
	thin_out(t, own, 2);
	for (unsigned int i = own; i--;)
		if (obj_is_forwarded(&t->objs[i]) ? guests++ : true)
			obj_free(t, &t->objs[i]);
	KUNIT_EXPECT_EQ(test, compact(t), class->geo.pages);
	KUNIT_EXPECT_EQ(test, class->guest_blocks, 1);
	free_all(t);
	kunit_deactivate_static_stub(test, zs_alloc_supply);

	zs_flush_deferred();
	rcu_barrier();
	class->cache = was;
	kunit_warning_suppress(test) {
		kmem_cache_destroy(descriptors);
		kmem_cache_destroy(t->cache);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
}

/* An object is opened as memory is had to evacuate its zspage. */
static void *supply_for_another(size_t size)
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

	t->cache = kmem_cache_create("kunit-zs-supply", 1024, 0,
				     SLAB_SKIP_KFENCE | SLAB_NO_MERGE, NULL);
	KUNIT_ASSERT_NOT_NULL(test, t->cache);
	for (int i = 0; i < 4; i++)
		fill_zspage(t, size);
	first = obj_zspage(&t->objs[0]);
	/* A quarter of the first is in use, a half of the next, and most of the others. */
	keep_if(t, 0, n, n % slots < (n < slots ? slots / 4 :
				      n < 2 * slots ? slots / 2 : slots * 3 / 4));
	t->opened_meanwhile = first;
	kunit_activate_static_stub(test, zs_alloc_supply, supply_for_another);
	KUNIT_EXPECT_EQ(test, compact(t), class->geo.pages);
	kunit_deactivate_static_stub(test, zs_alloc_supply);
	KUNIT_EXPECT_EQ(test, first->state, ZSPAGE_LIVE);
	atomic_dec(&first->pins);
	free_all(t);
	zs_flush_deferred();
	rcu_barrier();
	kunit_warning_suppress(test) {
		kmem_cache_destroy(t->cache);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
}


static void forwarded_objects_outlive_a_destroyed_pool(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zs_pool *pool = t->pool;

	sparse_zspages(t, 1000, 6, 2);
	KUNIT_EXPECT_GT(test, compact(t), 0);
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

/*
 * Files in debugfs
 */

static struct dentry *pool_file(const char *pool, const char *name)
{
	struct dentry *top = debugfs_lookup("zsmalloc", NULL);
	struct dentry *dir = debugfs_lookup(pool, top);
	struct dentry *file = name ? debugfs_lookup(name, dir) : dget(dir);

	dput(dir);
	dput(top);
	return file;
}

static bool has_file(const char *pool, const char *name)
{
	struct dentry *file = pool_file(pool, name);

	dput(file);
	return file;
}

/* The text is freed with the test. */
static char *read_file(struct kunit *test, const char *pool, const char *name)
{
	const size_t size = SZ_64K;
	char *text = kunit_kzalloc(test, size, GFP_KERNEL);
	struct vfsmount *mnt;
	struct seq_file *m;
	struct file *file;
	struct path path;

	KUNIT_ASSERT_NOT_NULL(test, text);
	path.dentry = pool_file(pool, name);
	KUNIT_ASSERT_NOT_NULL(test, path.dentry);
	mnt = vfs_kern_mount(path.dentry->d_sb->s_type, 0, "debugfs", NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(mnt));
	path.mnt = mnt;
	file = dentry_open(&path, O_RDONLY, current_cred());
	KUNIT_EXPECT_FALSE(test, IS_ERR(file));
	if (!IS_ERR(file)) {
		/* Reading it as a file takes a user's buffer. */
		m = file->private_data;
		m->buf = text;
		m->size = size;
		KUNIT_EXPECT_EQ(test, m->op->show(m, NULL), 0);
		KUNIT_EXPECT_FALSE(test, seq_has_overflowed(m));
		m->buf = NULL;
		m->count = 0;
		__fput_sync(file);
	}
	dput(path.dentry);
	mntput(mnt);
	return text;
}

#define MAX_COLUMNS	20

/* The numbers of the next line; how many. */
static unsigned int numbers_of_line(char **text, unsigned long *numbers)
{
	char *line = strsep(text, "\n"), *word;
	unsigned int nr = 0;

	while ((word = strsep(&line, " ")) && nr < MAX_COLUMNS)
		if (*word && !kstrtoul(word, 10, &numbers[nr]))
			nr++;
	return nr;
}

/* A pool of several classes, with zspages full and not, forwarders and guests */
static void fill_pool(struct kunit *test, struct zst *t)
{
	sparse_zspages(t, long_size(test), 8, 2);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	sparse_zspages(t, long_size(test), 6, 3);
	sparse_zspages(t, PAGE_SIZE / 8, 7, 2);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	sparse_zspages(t, PAGE_SIZE / 8, 3, 5);
	for (int i = 0; i < 3; i++)
		obj_alloc(t, PAGE_SIZE);
	obj_alloc(t, 100);
}

/* The sum over all nodes of what @geo has */
static void class_numbers(struct zst *t, const struct zs_geometry *geo,
			  unsigned long *want)
{
	unsigned long zspages = 0;

	memset(want, 0, MAX_COLUMNS * sizeof(*want));
	want[0] = zs_size_step(geo->size);
	want[1] = geo->size;
	for (int nid = 0; nid < nr_node_ids; nid++) {
		struct size_class *class = zs_class(t->pool, geo->size, nid);

		if (!class)
			continue;
		for (int f = 0; f < ZS_NR_FULLNESS; f++) {
			if (f == ZS_BAD)
				want[18] += class->nr[f];
			else if (f != ZS_EMPTY)
				want[1 + f] += class->nr[f];
			zspages += class->nr[f];
		}
		want[14] += class->inuse;
	}
	want[13] = zspages * geo->slots;
	want[15] = zspages * geo->pages;
	want[16] = geo->pages;
}

static void classes_file_shows_every_class(struct kunit *test)
{
	unsigned long want[MAX_COLUMNS], total[MAX_COLUMNS] = { };
	unsigned long numbers[MAX_COLUMNS], freeable = 0;
	const struct zs_geometry *geos;
	struct zst *t = test->priv;
	unsigned int nr;
	char *text;

	if (!IS_ENABLED(CONFIG_ZSMALLOC_STAT))
		kunit_skip(test, "no CONFIG_ZSMALLOC_STAT");
	fill_pool(test, t);
	text = read_file(test, "kunit", "classes");
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, " class  size "));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, " 10%       20% "));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, " 90%       99%      100% "));
	numbers_of_line(&text, numbers);
	numbers_of_line(&text, numbers);

	geos = zs_geometries(&nr);
	for (unsigned int i = 0; i < nr; i++) {
		class_numbers(t, &geos[i], want);
		KUNIT_ASSERT_EQ(test, numbers_of_line(&text, numbers), 19);
		KUNIT_EXPECT_MEMEQ(test, numbers, want, 17 * sizeof(*want));
		KUNIT_EXPECT_EQ(test, numbers[18], want[18]);
		for (unsigned int c = 2; c < 19; c++)
			total[c] += numbers[c];
		freeable += numbers[17];
	}
	for (nr = 0, want[0] = 0; nr < nr_node_ids; nr++)
		want[0] += zs_freeable_pages(t->pool, nr);
	KUNIT_EXPECT_GT(test, freeable, 0);
	KUNIT_EXPECT_EQ(test, freeable, want[0]);
	KUNIT_EXPECT_EQ(test, total[15], pool_pages(t->pool));
	KUNIT_EXPECT_EQ(test, total[14], t->nr);

	/* An empty line, and the sums; those of the last but one make no sense. */
	KUNIT_EXPECT_EQ(test, numbers_of_line(&text, numbers), 0);
	KUNIT_EXPECT_EQ(test, numbers_of_line(&text, numbers), 16);
	KUNIT_EXPECT_MEMEQ(test, numbers, &total[2], 14 * sizeof(*total));
	KUNIT_EXPECT_EQ(test, numbers[14], freeable);
	KUNIT_EXPECT_EQ(test, numbers[15], total[18]);
}

/* The numbers that file @name has of each class are those of @want(), and its sums. */
static void expect_file(struct kunit *test, const char *name, unsigned int columns,
			void (*want)(struct size_class *class, unsigned long *numbers))
{
	unsigned long numbers[MAX_COLUMNS], total[MAX_COLUMNS] = { };
	const struct zs_geometry *geos;
	struct zst *t = test->priv;
	unsigned int nr;
	char *text;

	text = read_file(test, "kunit", name);
	numbers_of_line(&text, numbers);
	numbers_of_line(&text, numbers);
	geos = zs_geometries(&nr);
	for (unsigned int i = 0; i < nr; i++) {
		unsigned long line[MAX_COLUMNS] = { };

		for (int nid = 0; nid < nr_node_ids; nid++)
			if (zs_class(t->pool, geos[i].size, nid))
				want(zs_class(t->pool, geos[i].size, nid), line);
		KUNIT_ASSERT_EQ(test, numbers_of_line(&text, numbers), columns + 2);
		KUNIT_EXPECT_EQ(test, numbers[0], zs_size_step(geos[i].size));
		KUNIT_EXPECT_EQ(test, numbers[1], geos[i].size);
		KUNIT_EXPECT_MEMEQ(test, numbers + 2, line, columns * sizeof(*line));
		for (unsigned int c = 0; c < columns; c++)
			total[c] += line[c];
	}
	for (unsigned int c = 0; c < columns; c++)
		KUNIT_EXPECT_GT(test, total[c], 0);
	KUNIT_EXPECT_EQ(test, numbers_of_line(&text, numbers), 0);
	KUNIT_EXPECT_EQ(test, numbers_of_line(&text, numbers), columns);
	KUNIT_EXPECT_MEMEQ(test, numbers, total, columns * sizeof(*total));
}

static void compaction_numbers(struct size_class *class, unsigned long *numbers)
{
	numbers[0] += class->nr_forwarders;
	numbers[1] += class->forwarded;
}

static void compaction_file_shows_forwarders(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_ZSMALLOC_STAT))
		kunit_skip(test, "no CONFIG_ZSMALLOC_STAT");
	fill_pool(test, test->priv);
	expect_file(test, "compaction", 2, compaction_numbers);
}

static void memory_numbers(struct size_class *class, unsigned long *numbers)
{
	size_t descriptor = kmem_cache_size(class->cache);
	struct zspage *zspage;

	for (int f = 0; f < ZS_NR_FULLNESS; f++)
		list_for_each_entry(zspage, &class->zspages[f], list) {
			numbers[0] += zspage->inuse * class->geo.size;
			numbers[1] += class->geo.pages * PAGE_SIZE;
			numbers[2] += zspage->nr_stale * PAGE_SIZE;
			numbers[3] += descriptor;
			numbers[6] += DIV_ROUND_UP(zspage->nr_guests, ZS_GUESTS_PER_BLOCK) *
				      sizeof(struct zs_guest_block);
		}
	list_for_each_entry(zspage, &class->forwarders, list) {
		numbers[4] += descriptor;
		if (zspage->far_links)
			numbers[5] += ksize(zspage->far_links);
	}
}

static void memory_file_shows_all_memory(struct kunit *test)
{
	struct zst *t = test->priv;
	struct scatterlist sg[2];
	struct obj *o;

	if (!IS_ENABLED(CONFIG_ZSMALLOC_STAT))
		kunit_skip(test, "no CONFIG_ZSMALLOC_STAT");
	needs_migration(test);
	fill_pool(test, t);
	/* A forwarder whose links are more than its descriptor has room for */
	sparse_zspages(t, PAGE_SIZE / 16, 4, 4);
	KUNIT_EXPECT_GT(test, compact(t), 0);
	o = fill_zspage(t, long_size(test));
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	put_page(replace_page(t, obj_zspage(o)));
	expect_file(test, "memory", 7, memory_numbers);
	zs_obj_read_sg_end(t->pool, o->handle);
}

static const struct pool_end {
	const char *name;
	bool leaks;
} pool_ends[] = {
	{ "empty pool" },
	{ "pool with an object", .leaks = true },
};
KUNIT_ARRAY_PARAM_DESC(pool_ends, pool_ends, name);

/* A file that outlives its pool would be read after free. */
static void debugfs_files_are_removed_with_their_pool(struct kunit *test)
{
	static const char * const files[] = {
		NULL, "classes", "compaction", "memory", "migration",
	};
	const struct pool_end *end = test->param_value;
	struct zst *t = test->priv;
	unsigned long handle = 0;
	struct zs_pool *pool;

	if (!IS_ENABLED(CONFIG_ZSMALLOC_STAT))
		kunit_skip(test, "no CONFIG_ZSMALLOC_STAT");
	pool = zs_create_pool("kunit-files");
	KUNIT_ASSERT_NOT_NULL(test, pool);
	if (end->leaks)
		handle = zs_malloc(pool, 100, GFP_TEST, NUMA_NO_NODE);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
	for (int i = 0; i < ARRAY_SIZE(files); i++)
		KUNIT_EXPECT_TRUE(test, has_file("kunit-files", files[i]));
	kunit_warning_suppress(test) {
		zs_destroy_pool(pool);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, end->leaks);
	}
	KUNIT_EXPECT_FALSE(test, has_file("kunit-files", NULL));
	/* The object keeps the pool, but not the files. */
	if (end->leaks)
		zs_free(pool, handle);
	zs_flush_deferred();
	/* Files of other pools stay. */
	KUNIT_EXPECT_TRUE(test, has_file("kunit", NULL));
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 0);
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
			o->size = 32 + (r >> 13) % 16 * 250;
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

/*
 * The end of a pool
 */

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
	destroy(t);
	KUNIT_EXPECT_EQ(test, all_zspages() - t->pages_before, pages);
	end_isolation(t, &list, end->migrates);
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
}

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
	KUNIT_CASE(refused_read_needs_no_buffer),
	KUNIT_CASE(forwarded_objects_refuse_lengths_out_of_range),
	KUNIT_CASE(use_after_free_of_forwarded_object_is_reported),
	KUNIT_CASE_PARAM(use_after_free_is_reported, small_and_long_gen_params),
	KUNIT_CASE_PARAM(reused_slot_has_a_new_handle, small_and_long_gen_params),
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
	KUNIT_CASE(random_operations_agree_with_a_model),
	KUNIT_CASE(pool_creation_fails_without_memory),
	KUNIT_CASE(pool_works_without_a_shrinker),
	KUNIT_CASE(failed_allocation_leaks_nothing),
	KUNIT_CASE(unreachable_descriptors_are_refused),
	KUNIT_CASE(short_bulk_allocation_is_completed_singly),
	KUNIT_CASE_PARAM(pages_come_from_the_requested_node, long_and_page_gen_params),
	KUNIT_CASE(pool_takes_no_memory_for_unused_nodes),
	KUNIT_CASE(first_object_of_a_node_in_atomic_context),
	KUNIT_CASE(node_works_without_classes),
	KUNIT_CASE_PARAM(allocation_for_an_offline_node_succeeds, small_long_and_page_gen_params),
	KUNIT_CASE(free_slots_of_the_requested_node_are_used_first),
	KUNIT_CASE(slots_of_other_nodes_are_used_before_reclaim),
	KUNIT_CASE(slots_of_the_nearest_node_are_used),
	KUNIT_CASE(thisnode_allocation_uses_no_other_node),
	KUNIT_CASE(node_without_memory_is_packed_by_another),
	KUNIT_CASE(node_without_memory_gets_no_classes),
	KUNIT_CASE(handle_to_nid_follows_the_object),
	KUNIT_CASE(handle_to_nid_of_a_freed_object_is_reported),
	KUNIT_CASE(compaction_stays_within_each_node),
	KUNIT_CASE(every_page_migrates_and_keeps_its_bytes),
	KUNIT_CASE(replaced_page_is_freed_at_once),
	KUNIT_CASE(open_objects_do_not_prevent_migration),
	KUNIT_CASE(overlapping_readers_release_replaced_pages),
	KUNIT_CASE(late_reader_without_memory_holds_the_page),
	KUNIT_CASE(notes_of_late_pins_are_freed),
	KUNIT_CASE(late_readers_beyond_the_notes_hold_the_page),
	KUNIT_CASE_PARAM(write_is_repeated_as_a_whole, lost_tries_gen_params),
	KUNIT_CASE(isolated_pages_can_be_put_back),
	KUNIT_CASE(zspage_can_be_isolated_in_part),
	KUNIT_CASE(failed_migration_changes_nothing),
	KUNIT_CASE(migrations_are_counted),
	KUNIT_CASE_PARAM(migration_in_a_batch_does_not_wait_for_readers, batch_modes_gen_params),
	KUNIT_CASE(synchronous_migration_waits_for_readers_once),
	KUNIT_CASE(bad_page_is_not_migrated),
	KUNIT_CASE(migrated_page_has_its_own_kasan_tag),
	KUNIT_CASE(pages_marked_by_memory_failure_are_bad),
	KUNIT_CASE_PARAM(zspage_emptied_while_isolated_is_freed, ends_of_isolation_gen_params),
	KUNIT_CASE(zspage_emptied_while_isolated_is_used_again),
	KUNIT_CASE(locked_page_defers_freeing),
	KUNIT_CASE(dead_zspage_is_not_isolated),
	KUNIT_CASE_PARAM(zone_counters_follow_migration, long_and_page_gen_params),
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
	KUNIT_CASE(shrinker_frees_as_much_as_it_counts),
	KUNIT_CASE_PARAM(busy_host_emptied_through_forwarders_is_freed_later, busy_hosts_gen_params),
	KUNIT_CASE(pages_of_hosts_can_be_migrated),
	KUNIT_CASE(compaction_survives_allocation_failure),
	KUNIT_CASE_PARAM(all_metadata_is_freed, metadata_sizes_gen_params),
	KUNIT_CASE(links_of_the_wrong_size_are_freed),
	KUNIT_CASE(forwarded_objects_outlive_a_destroyed_pool),
	KUNIT_CASE(classes_file_shows_every_class),
	KUNIT_CASE(compaction_file_shows_forwarders),
	KUNIT_CASE(memory_file_shows_all_memory),
	KUNIT_CASE_PARAM(debugfs_files_are_removed_with_their_pool, pool_ends_gen_params),
	KUNIT_CASE_SLOW(overhead_does_not_grow_over_time),
	KUNIT_CASE_PARAM(pool_destroyed_while_pages_are_isolated, ends_of_isolation_gen_params),
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
