// SPDX-License-Identifier: GPL-2.0
/*
 * A user of zsmalloc that fills memory with objects, holds some of them open,
 * frees and allocates others, and verifies the contents of all. It uses only
 * the allocator's interface.
 *
 * Parameters. All except the first three exist only in sysfs, while the module
 * is loaded:
 *   mbytes	amount of data to store, in MB
 *   node	NUMA node on which objects are allocated
 *   hold_ms	time for which each object is held open, in ms; 0: until "open"
 *		is written the next time
 *   open	number of objects that are held open; a write first checks and
 *		closes all open objects
 *   churn	if true, other objects are freed and allocated all the time
 *   check	a write checks every object
 *   thin	a write of N frees all objects except one in N, chosen at random
 *   compact	a write compacts the pool; a read returns the number of pages that
 *		this has freed
 *   range	a write sets FIRST and LAST; a read returns the number of objects
 *		that lie in these page frames, at least in part
 *   frame	a write sets the number of an object; a read returns the page
 *		frame in which that object starts
 *   adopt	a write of a page frame number takes a reference to that page, as
 *		soft offlining does; the page must have failed, and been freed
 *		afterwards
 *   blocks	a write of ORDER, NUMBER and, if wanted, DMA or DMA32 allocates this
 *		number of blocks of kernel memory, from that zone or a lower one, and
 *		frees them; a read returns how many of them were allocated
 *   objects	number of objects
 *   opened	how often an object was opened
 *   checked	how often the contents of an object were checked
 *   wrong	how often these contents were wrong
 */

#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/zsmalloc.h>

#define HOLDERS	2	/* threads that hold objects open */
#define MIN_LEN	48

struct object {
	unsigned long handle;	/* 0: not allocated */
	u32 seed;
	u32 len;
};

struct held {
	struct object *object;	/* NULL: none is open */
	struct scatterlist sg[2];
};

struct holder {
	struct task_struct *task;
	unsigned int nr;
	unsigned int first;	/* the holder opens objects first .. end - 1 */
	unsigned int end;
	u8 *buffer;
	u8 *want;
	struct rnd_state rnd;
	struct held held[];
};

static struct zs_pool *pool;
static struct object *objects;
static unsigned int capacity;
static unsigned int nr_objects;

static struct holder *holders[HOLDERS];
static unsigned int nr_open;
static struct task_struct *churner;
/* Serializes starting and stopping of threads, and checks of all objects */
static DEFINE_MUTEX(control);

static atomic_t opened, checked, wrong;

static unsigned int mbytes = 16;
module_param(mbytes, uint, 0444);

static int node = NUMA_NO_NODE;
module_param(node, int, 0444);

static unsigned int hold_ms;
module_param(hold_ms, uint, 0644);

/* Lengths as after compression; one object in 16 does not compress. */
static u32 random_len(struct rnd_state *rnd)
{
	u32 r = prandom_u32_state(rnd);

	if (r % 16 == 0)
		return PAGE_SIZE;
	return MIN_LEN + (r >> 8) % (r % 3 ? 3200 : 1200);
}

/*
 * Writes the object's contents to a buffer of PAGE_SIZE bytes. Each word of it is
 * different.
 */
static void contents(const struct object *object, u8 *buffer)
{
	u64 *words = (u64 *)buffer, x = object->seed;
	unsigned int i;

	for (i = 0; i < DIV_ROUND_UP(object->len, sizeof(x)); i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		words[i] = x;
	}
}

static void compare(const struct object *object, const u8 *have, u8 *want)
{
	contents(object, want);
	atomic_inc(&checked);
	if (!memcmp(have, want, object->len))
		return;
	if (atomic_inc_return(&wrong) <= 5)
		pr_err("zs_hold: object %td of %u bytes has wrong contents\n",
		       object - objects, object->len);
}

static int make_object(struct object *object, struct rnd_state *rnd, u8 *buffer)
{
	unsigned long handle;

	object->len = random_len(rnd);
	object->seed = prandom_u32_state(rnd);
	handle = zs_malloc(pool, object->len, GFP_KERNEL | __GFP_HIGHMEM |
			   __GFP_MOVABLE | __GFP_NORETRY | __GFP_NOWARN, node);
	if (IS_ERR_VALUE(handle))
		return (int)handle;
	contents(object, buffer);
	zs_obj_write(pool, handle, buffer, object->len);
	object->handle = handle;
	return 0;
}

static void check_object(const struct object *object, u8 *buffer, u8 *want)
{
	void *mem = zs_obj_read_begin(pool, object->handle, object->len, buffer);

	compare(object, mem, want);
	zs_obj_read_end(pool, object->handle, object->len, mem);
}

/*
 * Each thread has its own part of the objects, so that no object is freed while
 * it is held open. The first parts belong to the holders, the last one to the
 * churner.
 */
static unsigned int part(unsigned int n)
{
	return mult_frac(nr_objects, n, HOLDERS + 1);
}

static void open_object(struct holder *holder, struct held *held)
{
	struct object *object;
	unsigned int nr = holder->end - holder->first;
	unsigned int at = prandom_u32_state(&holder->rnd) % nr;
	unsigned int i;

	/* Most objects may have been freed by "thin". */
	for (i = 0; i < nr; i++, at = (at + 1) % nr) {
		object = &objects[holder->first + at];
		if (object->handle)
			break;
	}
	if (i == nr)
		return;
	zs_obj_read_sg_begin(pool, object->handle, held->sg, object->len);
	held->object = object;
	atomic_inc(&opened);
}

static void close_object(struct holder *holder, struct held *held)
{
	struct object *object = held->object;

	if (!object)
		return;
	/* The scatterlist must be valid until the object is closed. */
	sg_copy_to_buffer(held->sg, sg_nents(held->sg), holder->buffer, object->len);
	compare(object, holder->buffer, holder->want);
	zs_obj_read_sg_end(pool, object->handle);
	held->object = NULL;
}

/*
 * Holds objects open for hold_ms each: closes one after another, and opens another
 * one in its place.
 */
static int hold(void *data)
{
	struct holder *holder = data;
	unsigned int i, ms, many;

	for (i = 0; i < holder->nr; i++)
		open_object(holder, &holder->held[i]);
	for (i = 0; !kthread_should_stop(); i = (i + 1) % holder->nr) {
		ms = READ_ONCE(hold_ms);
		if (!ms) {
			schedule_timeout_interruptible(HZ / 10);
			continue;
		}
		/* If a tick is too long for one object, replace several per tick. */
		many = max(1, holder->nr * jiffies_to_msecs(1) / ms);
		if (i % many == 0)
			schedule_timeout_interruptible(msecs_to_jiffies(ms * many / holder->nr));
		close_object(holder, &holder->held[i]);
		open_object(holder, &holder->held[i]);
	}
	for (i = 0; i < holder->nr; i++)
		close_object(holder, &holder->held[i]);
	return 0;
}

static void free_holder(struct holder *holder)
{
	kfree(holder->buffer);
	kfree(holder->want);
	kvfree(holder);
}

static void stop_holders(void)
{
	unsigned int i;

	for (i = 0; i < HOLDERS; i++) {
		if (!holders[i])
			continue;
		kthread_stop(holders[i]->task);
		free_holder(holders[i]);
		holders[i] = NULL;
	}
	nr_open = 0;
}

static int start_holder(unsigned int i, unsigned int nr)
{
	struct holder *holder = kvzalloc(struct_size(holder, held, nr), GFP_KERNEL);

	if (!holder)
		return -ENOMEM;
	holder->nr = nr;
	holder->first = part(i);
	holder->end = part(i + 1);
	holder->buffer = kmalloc(PAGE_SIZE, GFP_KERNEL);
	holder->want = kmalloc(PAGE_SIZE, GFP_KERNEL);
	prandom_seed_state(&holder->rnd, i + 1);
	holder->task = ERR_PTR(-ENOMEM);
	if (holder->buffer && holder->want)
		holder->task = kthread_run(hold, holder, "zs_hold/%u", i);
	if (IS_ERR(holder->task)) {
		int err = PTR_ERR(holder->task);

		free_holder(holder);
		return err;
	}
	holders[i] = holder;
	return 0;
}

static int open_set(const char *val, const struct kernel_param *kp)
{
	unsigned int i, nr;
	int err = kstrtouint(val, 0, &nr);

	if (err)
		return err;
	if (!pool)
		return -EBUSY;	/* not on the command line */
	guard(mutex)(&control);
	stop_holders();
	if (!nr)
		return 0;
	nr = min(DIV_ROUND_UP(nr, HOLDERS), part(1));
	for (i = 0; i < HOLDERS && !err; i++)
		err = start_holder(i, nr);
	if (err)
		stop_holders();
	else
		nr_open = nr * HOLDERS;
	return err;
}

static const struct kernel_param_ops open_ops = {
	.set = open_set,
	.get = param_get_uint,
};
module_param_cb(open, &open_ops, &nr_open, 0644);

static int churn_objects(void *data)
{
	u8 *buffer = kmalloc(PAGE_SIZE, GFP_KERNEL);
	u8 *want = kmalloc(PAGE_SIZE, GFP_KERNEL);
	unsigned int first = part(HOLDERS), nr = nr_objects - first;
	struct object *object;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 4711);
	while (!kthread_should_stop()) {
		object = &objects[first + prandom_u32_state(&rnd) % nr];
		if (buffer && want && object->handle) {
			check_object(object, buffer, want);
			zs_free(pool, object->handle);
			object->handle = 0;
		}
		/* If this fails, the object stays unallocated until its next turn. */
		if (buffer && want)
			make_object(object, &rnd, buffer);
		/* Leave CPU time to other users. */
		if (prandom_u32_state(&rnd) % 64 == 0)
			schedule_timeout_interruptible(1);
		cond_resched();
	}
	kfree(buffer);
	kfree(want);
	return 0;
}

static int churn_set(const char *val, const struct kernel_param *kp)
{
	struct task_struct *task;
	bool on;
	int err = kstrtobool(val, &on);

	if (err)
		return err;
	if (!pool)
		return -EBUSY;
	guard(mutex)(&control);
	if (on == !!churner)
		return 0;
	if (!on) {
		kthread_stop(churner);
		churner = NULL;
		return 0;
	}
	task = kthread_run(churn_objects, NULL, "zs_hold/churn");
	if (IS_ERR(task))
		return PTR_ERR(task);
	churner = task;
	return 0;
}

static int churn_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%d\n", !!churner);
}

static const struct kernel_param_ops churn_ops = {
	.set = churn_set,
	.get = churn_get,
};
module_param_cb(churn, &churn_ops, NULL, 0644);

static int check_set(const char *val, const struct kernel_param *kp)
{
	u8 *buffer, *want;
	unsigned int i;
	int err = 0;

	if (!pool)
		return -EBUSY;
	guard(mutex)(&control);
	if (churner)
		return -EBUSY;
	buffer = kmalloc(PAGE_SIZE, GFP_KERNEL);
	want = kmalloc(PAGE_SIZE, GFP_KERNEL);
	for (i = 0; i < nr_objects && buffer && want; i++) {
		if (objects[i].handle)
			check_object(&objects[i], buffer, want);
		cond_resched();
	}
	if (!buffer || !want)
		err = -ENOMEM;
	kfree(buffer);
	kfree(want);
	return err;
}

static const struct kernel_param_ops check_ops = {
	.set = check_set,
};
module_param_cb(check, &check_ops, NULL, 0200);

static int thin_set(const char *val, const struct kernel_param *kp)
{
	struct rnd_state rnd;
	unsigned int i, n;
	int err = kstrtouint(val, 0, &n);

	if (err)
		return err;
	if (!n)
		return -EINVAL;
	if (!pool)
		return -EBUSY;
	guard(mutex)(&control);
	if (churner || nr_open)
		return -EBUSY;
	prandom_seed_state(&rnd, 815);
	for (i = 0; i < nr_objects; i++) {
		if (prandom_u32_state(&rnd) % n && objects[i].handle) {
			zs_free(pool, objects[i].handle);
			objects[i].handle = 0;
		}
		cond_resched();
	}
	return 0;
}

static const struct kernel_param_ops thin_ops = {
	.set = thin_set,
};
module_param_cb(thin, &thin_ops, NULL, 0200);

static unsigned int compacted;

static int compact_set(const char *val, const struct kernel_param *kp)
{
	if (!pool)
		return -EBUSY;
	compacted = zs_compact(pool);
	return 0;
}

static const struct kernel_param_ops compact_ops = {
	.set = compact_set,
	.get = param_get_uint,
};
module_param_cb(compact, &compact_ops, &compacted, 0600);

static unsigned long range_first, range_last;

static int range_set(const char *val, const struct kernel_param *kp)
{
	if (sscanf(val, "%lu %lu", &range_first, &range_last) != 2)
		return -EINVAL;
	return 0;
}

static bool lies_inside(const struct object *object)
{
	struct scatterlist sg[2], *entry;
	bool in = false;
	int i;

	zs_obj_read_sg_begin(pool, object->handle, sg, object->len);
	for_each_sg(sg, entry, sg_nents(sg), i) {
		unsigned long pfn = page_to_pfn(sg_page(entry));

		in |= range_first <= pfn && pfn <= range_last;
	}
	zs_obj_read_sg_end(pool, object->handle);
	return in;
}

static int range_get(char *buffer, const struct kernel_param *kp)
{
	unsigned int i, nr = 0;

	if (!pool)
		return -EBUSY;
	guard(mutex)(&control);
	if (churner)
		return -EBUSY;
	for (i = 0; i < nr_objects; i++) {
		nr += objects[i].handle && lies_inside(&objects[i]);
		cond_resched();
	}
	return sysfs_emit(buffer, "%u\n", nr);
}

static const struct kernel_param_ops range_ops = {
	.set = range_set,
	.get = range_get,
};
module_param_cb(range, &range_ops, NULL, 0600);

static unsigned int frame_object;

static int frame_set(const char *val, const struct kernel_param *kp)
{
	unsigned int nr;
	int err = kstrtouint(val, 0, &nr);

	if (!err && nr >= nr_objects)
		err = -ERANGE;
	if (!err)
		frame_object = nr;
	return err;
}

static int frame_get(char *buffer, const struct kernel_param *kp)
{
	const struct object *object = &objects[frame_object];
	struct scatterlist sg[2];
	unsigned long pfn;

	if (!pool)
		return -EBUSY;
	guard(mutex)(&control);
	if (churner)
		return -EBUSY;
	if (!object->handle)
		return -ENOENT;
	zs_obj_read_sg_begin(pool, object->handle, sg, object->len);
	pfn = page_to_pfn(sg_page(sg));
	zs_obj_read_sg_end(pool, object->handle);
	return sysfs_emit(buffer, "%lu\n", pfn);
}

static const struct kernel_param_ops frame_ops = {
	.set = frame_set,
	.get = frame_get,
};
module_param_cb(frame, &frame_ops, NULL, 0600);

static int adopt_set(const char *val, const struct kernel_param *kp)
{
	unsigned long pfn;
	struct page *page;
	int err = kstrtoul(val, 0, &pfn);

	if (err)
		return err;
	page = pfn_to_online_page(pfn);
	if (!page)
		return -ENXIO;
	/* The page is neither free nor allocated, so no other task uses it. */
	if (!PageHWPoison(page) || page_count(page))
		return -EBUSY;
	page_ref_inc(page);
	return 0;
}

static const struct kernel_param_ops adopt_ops = {
	.set = adopt_set,
};
module_param_cb(adopt, &adopt_ops, NULL, 0200);

static unsigned int blocks_got;

static int blocks_set(const char *val, const struct kernel_param *kp)
{
	unsigned int order, nr, i;
	struct page *page, *next;
	char zone[8] = "";
	LIST_HEAD(blocks);
	gfp_t gfp = 0;

	if (sscanf(val, "%u %u %7s", &order, &nr, zone) < 2 || order > MAX_PAGE_ORDER)
		return -EINVAL;
	if (!strcmp(zone, "DMA"))
		gfp = __GFP_DMA;
	else if (!strcmp(zone, "DMA32"))
		gfp = __GFP_DMA32;
	else if (*zone)
		return -EINVAL;
	for (i = 0; i < nr; i++) {
		/* This reclaims and compacts, but does not invoke the OOM killer. */
		page = alloc_pages(GFP_KERNEL | __GFP_RETRY_MAYFAIL |
				   __GFP_NOWARN | gfp, order);
		if (!page)
			break;
		list_add(&page->lru, &blocks);
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	blocks_got = i;
	list_for_each_entry_safe(page, next, &blocks, lru)
		__free_pages(page, order);
	return 0;
}

static const struct kernel_param_ops blocks_ops = {
	.set = blocks_set,
	.get = param_get_uint,
};
module_param_cb(blocks, &blocks_ops, &blocks_got, 0600);

module_param_named(objects, nr_objects, uint, 0444);
module_param_named(opened, opened.counter, int, 0444);
module_param_named(checked, checked.counter, int, 0444);
module_param_named(wrong, wrong.counter, int, 0444);

static void free_objects(void)
{
	unsigned int i;

	for (i = 0; i < nr_objects; i++) {
		if (objects[i].handle)
			zs_free(pool, objects[i].handle);
		cond_resched();
	}
	zs_destroy_pool(pool);
	kvfree(objects);
}

static int __init zs_hold_init(void)
{
	unsigned long want = (unsigned long)mbytes << 20, stored = 0;
	struct rnd_state rnd;
	u8 *buffer;
	int err = 0;

	/* The mean of random_len() is more than twice this. */
	capacity = want / 500 + 3 * (HOLDERS + 1);
	buffer = kmalloc(PAGE_SIZE, GFP_KERNEL);
	objects = kvcalloc(capacity, sizeof(*objects), GFP_KERNEL);
	pool = zs_create_pool("zs_hold");
	if (!buffer || !objects || !pool) {
		if (pool)
			zs_destroy_pool(pool);
		kvfree(objects);
		kfree(buffer);
		return -ENOMEM;
	}
	prandom_seed_state(&rnd, 1);
	while (nr_objects < capacity && stored < want && !err) {
		if (fatal_signal_pending(current))
			err = -EINTR;
		else
			err = make_object(&objects[nr_objects], &rnd, buffer);
		if (!err)
			stored += objects[nr_objects++].len;
		cond_resched();
	}
	kfree(buffer);
	if (err)
		free_objects();
	return err;
}

static void __exit zs_hold_exit(void)
{
	stop_holders();
	if (churner)
		kthread_stop(churner);
	free_objects();
}

module_init(zs_hold_init);
module_exit(zs_hold_exit);

MODULE_DESCRIPTION("Holds zsmalloc objects open, replaces and verifies them");
MODULE_LICENSE("GPL");
