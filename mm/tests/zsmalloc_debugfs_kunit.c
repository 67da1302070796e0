// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc: files in debugfs
 */
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/seq_file.h>

#include "zsmalloc_kunit.h"

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

/* A size that fill_pool() does not use otherwise, of zspages with several pages */
static size_t growing_size(struct kunit *test)
{
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--)
		if (geo[nr].pages > 1 && geo[nr].size != long_size(test))
			return geo[nr].size;
	kunit_skip(test, "no two classes with several pages");
}

/* A pool of several classes, with zspages full, not full and growing, forwarders and guests */
static void fill_pool(struct kunit *test, struct zst *t)
{
	sparse_zspages(t, long_size(test), 8, 2);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	sparse_zspages(t, long_size(test), 6, 3);
	sparse_zspages(t, PAGE_SIZE / 8, 7, 2);
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	sparse_zspages(t, PAGE_SIZE / 8, 3, 5);
	for (int i = 0; i < 3; i++)
		obj_alloc(t, PAGE_SIZE);
	obj_alloc(t, 100);
	zs_small_class = UINT_MAX;
	for (int i = 0; i < 2; i++)
		obj_alloc(t, growing_size(test));
	zs_small_class = 0;
}

/* What the zspages of @class add; the growing one counts by the slots that it has now. */
static void add_zspages(struct size_class *class, unsigned long *want)
{
	struct zspage *zspage;

	for (int f = 0; f < ZS_NR_FULLNESS; f++)
		list_for_each_entry(zspage, &class->zspages[f], list) {
			unsigned int slots = zspage_slots(zspage);

			if (f == ZS_GROWING)
				want[1 + zs_fullness(zspage->inuse, slots)]++;
			want[13] += f == ZS_BAD ? zspage->inuse : slots;
			want[15] += zspage->nr_pages;
		}
}

/* The sum over all class sets of what @geo has */
static void class_numbers(struct zst *t, const struct zs_geometry *geo,
			  unsigned long *want)
{
	memset(want, 0, MAX_COLUMNS * sizeof(*want));
	want[0] = zs_size_step(geo->size);
	want[1] = geo->size;
	for (unsigned int set = 0; set < zs_nr_sets(); set++) {
		struct size_class *class = zs_class(t->pool, geo->size, set);

		if (!class)
			continue;
		for (int f = 0; f < ZS_NR_FULLNESS; f++) {
			if (f == ZS_BAD)
				want[18] += class->nr[f];
			else if (f != ZS_EMPTY && f != ZS_GROWING)
				want[1 + f] += class->nr[f];
		}
		add_zspages(class, want);
		want[14] += class->inuse;
	}
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

		for (unsigned int set = 0; set < zs_nr_sets(); set++)
			if (zs_class(t->pool, geos[i].size, set))
				want(zs_class(t->pool, geos[i].size, set), line);
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
			numbers[1] += zspage->nr_pages * PAGE_SIZE;
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
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	o = fill_zspage(t, long_size(test));
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	put_page(replace_first_page(t, obj_zspage(o), MIGRATE_ASYNC));
	expect_file(test, "memory", 7, memory_numbers);
	zs_obj_read_sg_end(t->pool, o->handle);
}

/* Also what is under way: a stale page, two isolated ones, and five dead zspages */
static void migration_file_shows_how_migrations_ended(struct kunit *test)
{
	struct zst *t = test->priv;
	struct scatterlist sg[2];
	LIST_HEAD(list);
	struct obj *o;

	if (!IS_ENABLED(CONFIG_ZSMALLOC_STAT))
		kunit_skip(test, "no CONFIG_ZSMALLOC_STAT");
	needs_migration(test);
	o = obj_alloc(t, long_size(test));
	zs_obj_read_sg_begin(t->pool, o->handle, sg, o->size);
	put_page(replace_first_page(t, obj_zspage(o), MIGRATE_ASYNC));
	for (int i = 1; i < 3; i++)
		KUNIT_EXPECT_TRUE(test, isolate(zpdesc_page(obj_zspage(o)->pages[i]), &list));
	atomic_long_set(&t->pool->migrated_free, 3);
	atomic_long_set(&t->pool->migrated_held, 2);
	atomic_long_set(&t->pool->not_migrated, 1);
	atomic_long_set(&t->pool->not_isolated, 4);
	atomic_long_add(5, &t->pool->deferred);
	KUNIT_EXPECT_STREQ(test, read_file(test, "kunit", "migration"),
			   "free 3\nheld 2\nfailed 1\nrefused 4\n"
			   "stale_now 1\nisolated_now 2\ndeferred_now 5\n");
	atomic_long_sub(5, &t->pool->deferred);
	end_isolation(t, &list, false);
	zs_obj_read_sg_end(t->pool, o->handle);
	KUNIT_EXPECT_STREQ(test, read_file(test, "kunit", "migration"),
			   "free 3\nheld 2\nfailed 1\nrefused 4\n"
			   "stale_now 0\nisolated_now 0\ndeferred_now 0\n");
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

static struct kunit_case debugfs_cases[] = {
	KUNIT_CASE(classes_file_shows_every_class),
	KUNIT_CASE(compaction_file_shows_forwarders),
	KUNIT_CASE(memory_file_shows_all_memory),
	KUNIT_CASE(migration_file_shows_how_migrations_ended),
	KUNIT_CASE_PARAM(debugfs_files_are_removed_with_their_pool, pool_ends_gen_params),
	{ }
};

static struct kunit_suite debugfs_suite = {
	.name = "zsmalloc_debugfs",
	.init = zst_init,
	.exit = zst_exit,
	.test_cases = debugfs_cases,
};

kunit_test_suite(debugfs_suite);
