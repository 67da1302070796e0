// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of zsmalloc's races: each forces one interleaving, the same one
 * in each run.
 *
 * The test's own thread is the director.  Actors are threads that do one
 * operation each.  An actor stops at the race point of ../zsmalloc.h at which
 * the director told it to stop:
 *
 *	reader = actor(t, "reader", reads);
 *	reader->obj = o;
 *	run_to(reader, "pinned");	starts it and waits until it has stopped
 *	migrate_zspage(t, zspage);	an operation that comes in between
 *	finish(reader);			lets it run to its end
 *	expect_ok(reader);
 *
 * If an actor does not get to its race point within ten seconds, the test fails
 * and prints the place of each actor.
 *
 * A stopped actor sleeps if the list of race points says that it may.  If it
 * may not, it spins, and takes a CPU unless the kernel can preempt it there.
 * The director needs one CPU, and a test is skipped if no other CPU is left for
 * an actor to spin on.  With two CPUs one actor at a time can spin, with one
 * CPU none.
 *
 * Table of races
 * ==============
 *
 * Any two of these operations may meet on one zspage.  The table tells why each
 * pair is safe, and which tests of this file or of zsmalloc_kunit.c cover it.
 *
 *  malloc, free, write
 *  read		in place, by copy, or as a scatterlist: all three alike
 *  isolate, migrate,
 *  putback		by the migration core
 *  compact		by zs_compact() or the shrinker: alike until the end
 *  worker		frees the zspages that zs_free() could not free
 *  end			of the pool: zs_destroy_pool() and the last zspage
 *
 * malloc - malloc: class->lock.  A new zspage is on no list before it has an
 * object.
 *	new_zspage_is_private
 *	waits_for_a_lock_add_sets
 *	set_whose_lock_is_taken_is_passed_over
 *	slots_of_locked_sets_are_used_before_reclaim
 * malloc - free: class->lock.  A dead zspage is on no list.
 *	dead_zspage_is_unreachable
 * malloc - read, write: They use different slots, and readers and writers read
 * no list and no count.
 *	users_migration_and_compaction_at_once
 * malloc - isolate: The pages of a new zspage are shown to the migration core
 * under class->lock, together with its first object.
 *	new_zspage_is_private
 *	zspage_emptied_while_isolated_is_used_again
 * malloc - migrate: class->lock.
 *	object_allocated_during_migration
 * malloc - putback: class->lock, under which putback sees an object that was
 * allocated after the zspage had been emptied.
 *	zspage_emptied_while_isolated_is_used_again
 * malloc - compact: class->lock.  A zspage is on no list while it is evacuated.
 *	users_migration_and_compaction_at_once
 * malloc - worker: A dead zspage is on no list.
 *	dead_zspage_is_unreachable
 *
 * free - free: class->lock.  The task that frees the last object frees the
 * zspage.  A second free of the same object is reported and changes nothing.
 *	users_migration_and_compaction_at_once
 *	double_free_is_reported_and_changes_nothing
 * free - read, write: The user does not free an object that is read or
 * written.  That object keeps the zspage.
 *	users_migration_and_compaction_at_once
 * free - isolate: A dead zspage is not isolated, and is not freed while the
 * migration core has one of its pages locked.
 *	zspage_dies_during_isolation
 * free - migrate: A zspage that is isolated when its last object is freed is
 * left to the end of the last isolation.
 *	last_object_freed_during_migration
 * free - putback: The same.
 *	last_object_freed_while_isolation_ends
 * free - compact: class->lock.  The home of the object tells where it is.
 * After the lock was dropped, compaction does not touch a zspage that it
 * evacuated.
 *	object_freed_during_evacuation
 *	guest_freed_during_evacuation_of_its_host
 * free - worker: A zspage becomes dead once.
 *	locked_page_defers_freeing
 *	locked_page_does_not_delay_other_pools
 *
 * read - read: A round waits for early pins only, and counts them.
 *	later_readers_do_not_hold_replaced_pages
 *	round_ends_before_a_late_pin_is_noted
 *	two_readers_of_one_object_in_a_round
 * read - write: The user excludes readers of an object that it writes.
 * read - isolate, putback: Neither uses data that the other changes.  Isolation of
 * a stale page may wait until the last reader that may have it has unpinned.
 *	open_objects_do_not_prevent_migration
 *	last_reader_wakes_isolation
 * read - migrate: A reader pins the zspage and then reads pages[].  Migration
 * stores to pages[] and then reads the pins.
 *	pages_migrate_under_a_reader
 *	pages_migrate_under_a_copying_reader
 *	readers_do_not_wait_for_migration
 *	round_begins_while_a_reader_unpins
 *	page_migrates_during_handle_to_nid
 * read - migrate, and compact, too:
 *	reader_across_two_migrations_and_compaction
 *	round_waits_for_a_reader_that_counted_down
 * read - compact: A zspage that is pinned cannot be frozen, and one that is
 * frozen cannot be pinned.  A forwarder cannot be pinned either.
 *	compaction_skips_pinned_zspages
 *	users_wait_for_an_evacuation
 *	users_wait_for_a_failing_evacuation
 *	other_objects_do_not_wait_for_an_evacuation
 *	home_becomes_a_forwarder_before_the_pin
 * read - compact, of a guest: The link is read before and after the host is
 * pinned, under RCU.
 *	guest_moves_on_before_the_pin
 *	object_moves_during_handle_to_nid
 *	guest_returns_to_its_slot_before_the_pin
 *	vain_pin_counts_in_a_round
 *	host_is_freed_while_a_round_waits_for_a_vain_pin
 *	reader_unpins_a_host_that_its_guest_left
 *	guest_stays_in_a_pinned_host
 *	reader_of_a_guest_waits_for_the_new_link
 *	host_stays_until_its_reader_left_the_round
 *	partly_evacuated_host_is_freed_under_a_reader
 * read - compact, which trims the home: The reader looks at moves before and after it
 * looks for the link, and after the pin.  RCU keeps far links that were replaced.
 *	home_is_trimmed_under_a_reader
 *	home_is_trimmed_while_a_reader_closes
 *	home_is_trimmed_and_guest_moves_before_the_pin
 * read, write - worker: The object keeps its zspage from being freed.
 *
 * write - write: The user excludes other writers of an object that it writes.
 * write - isolate, putback: As read - isolate, putback.
 * write - migrate: A writer reads moves before and after it writes, and writes
 * again if they changed.
 *	writes_are_not_lost_to_migration
 *	writer_retries_until_no_page_moved
 *	write_after_the_copy_is_repeated
 *	writer_waits_while_a_page_is_copied
 * write - compact: As read - compact.
 *	home_becomes_a_forwarder_before_the_pin
 *	users_wait_for_an_evacuation
 *
 * isolate - isolate: class->lock.
 *	zspage_can_be_isolated_in_part
 * isolate - migrate: class->lock.
 *	two_pages_migrate_at_once
 * isolate - putback: class->lock.
 *	zspage_emptied_while_isolated_is_freed
 * isolate - compact: Compaction holds the page locks of a zspage that it
 * evacuates, and does not evacuate a zspage that is isolated.
 *	isolated_zspage_is_not_evacuated
 *	evacuated_zspage_is_not_isolated
 *	evacuated_host_without_natives_is_dead
 *	evacuated_pages_are_not_counted
 * isolate - worker: The worker holds the page locks of a zspage that it frees.
 *	worker_locks_pages_during_isolation
 *	dead_zspage_is_not_isolated
 *
 * migrate - migrate: class->lock.
 *	two_pages_migrate_at_once
 * migrate - putback: class->lock.  The last isolation to end has the zspage
 * freed.
 *	zspage_emptied_while_isolated_is_freed
 *	zspage_emptied_while_isolated_is_freed
 * migrate - compact: class->lock.  An isolated zspage is not evacuated.
 *	compaction_skips_zspages_whose_pages_migrate
 * migrate - worker: The worker does not get a page lock that the migration core
 * holds.
 *	last_object_freed_during_migration
 * putback - worker: The same.
 *	last_object_freed_while_isolation_ends
 * putback - putback: class->lock.
 *	zspage_emptied_while_isolated_is_freed
 * putback - compact: An isolated zspage is not evacuated.
 *	compaction_skips_isolated_zspages
 *
 * compact - compact: class->lock, held for one zspage at a time.  A zspage that
 * leaves its list moves the searches that have stopped at it.
 *	two_compactions_at_once
 *	classes_are_compacted_in_parallel
 *	compaction_during_a_search_of_another_task
 * compact - compact, by memory reclaim: One task at a time packs a pool on a
 * node.
 *	pool_is_packed_by_one_reclaimer_at_a_time
 * compact - worker: A dead zspage is on no list.
 *	dead_zspage_is_unreachable
 * worker - worker: There is one work item, which is never run twice at once.
 *
 * end - isolate: The page lock keeps the zspage, and that keeps the pool.
 *	pool_destroyed_during_isolation
 * end - migrate, putback: The isolation keeps the zspage, and that keeps the
 * pool.
 *	pool_destroyed_during_migration_or_putback
 *	pool_destroyed_while_pages_are_isolated
 *	pool_destroyed_while_pages_are_isolated
 * end - compact, by the shrinker: shrinker_free() waits for it.
 *	pool_destroyed_during_shrinker
 * end - worker: zs_destroy_pool() waits until the worker has looked at each
 * zspage.
 *	pool_destroyed_while_the_worker_frees
 *	pool_destroyed_after_the_worker_missed_a_page_lock
 *	pool_put_by_the_worker_is_freed_by_the_return
 * end - all others: The user does not call them for a pool that it destroys.
 * If it did not free all objects, they stay, and so does the pool.
 *	objects_outlive_a_destroyed_pool
 *	forwarded_objects_outlive_a_destroyed_pool
 */
#include <kunit/static_stub.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/string.h>

#include "zsmalloc_kunit.h"

/*
 * Actors
 */

#define MAX_ACTORS	3
#define PATIENCE	(10 * HZ)

static const struct point {
	const char *name;
	enum zs_race_context context;
} allocators_points[] =
#define ZS_POINT(name, context)	{ #name, ZS_RACE_##context },
	ZS_RACE_POINTS;
#undef ZS_POINT

/* Actors pass these themselves. */
static const struct point own_points[] = {
	{ "open", ZS_RACE_SLEEPS },	/* between read_sg_begin and read_sg_end */
};

static const struct point *find_point(const char *name)
{
	for (int i = 0; i < ARRAY_SIZE(allocators_points); i++)
		if (!strcmp(allocators_points[i].name, name))
			return &allocators_points[i];
	for (int i = 0; i < ARRAY_SIZE(own_points); i++)
		if (!strcmp(own_points[i].name, name))
			return &own_points[i];
	return NULL;
}

struct actor {
	struct zst t;		/* the test's, with buffers of its own */
	const char *name;
	void (*act)(struct actor *a);
	struct task_struct *task;
	struct completion end;
	const char *stop;	/* the point to stop at */
	const char *at;		/* the point where it stands */
	const char *passed;	/* the last point it came by */
	const char *no_room;	/* the point where no CPU was left to stand on */
	bool moved;		/* it has followed a link to its object */
	unsigned long until;	/* stands no longer than that, in jiffies */
	int left, ended;	/* when it left its last stop, and ended */
	bool done;

	/* Arguments of @act, and its results */
	struct obj *obj;
	struct page *page;
	struct list_head pages;
	unsigned long handle;
	unsigned long result;
	int cpu;		/* that it runs on; -1: any */
	bool ok;
};

/*
 * All that the threads of a test share. Not in struct zst: pass() is also called by
 * threads that belong to no test, such as a worker of the allocator, which cannot ask
 * for the current test, and may still run when the test has ended. race_init() and
 * actor() reset it, so that nothing is left to the next test.
 */
static struct {
	struct actor cast[MAX_ACTORS];
	unsigned int nr_cast;
	atomic_t now;		/* numbers the ends of stops, and of actors */
	bool curtain;		/* something went wrong: no actor stops any more */
	bool overdue;		/* an actor has spun for so long that it set the curtain */
	atomic_t spinning;	/* actors that spin, each on a CPU of its own */
} stage;

/* The memory accesses of an actor before its stop, or its end, come before these. */
static const char *stands_at(struct actor *a)
{
	/* Pairs with stand() */
	return smp_load_acquire(&a->at);
}

static bool has_ended(struct actor *a)
{
	/* Pairs with actor_thread() */
	return smp_load_acquire(&a->done);
}

/* An actor that has ended may have left its task_struct to a new thread. */
static struct actor *actor_of(struct task_struct *task)
{
	for (unsigned int i = 0; i < stage.nr_cast; i++) {
		struct actor *a = &stage.cast[i];

		if (a->task == task && !has_ended(a))
			return a;
		/* A worker of the allocator, see worker() */
		if (!a->act && (task->flags & PF_WQ_WORKER))
			return a;
	}
	return NULL;
}

/* All but the one that the director needs */
static unsigned int spare_cpus(void)
{
	return num_online_cpus() - 1;
}

/* Preemption takes the CPU from an actor that spins there. */
static bool preempted_at(enum zs_race_context context)
{
	/* There class->lock can be held by a thread that does not run. */
	if (context == ZS_RACE_LOCKED)
		return IS_ENABLED(CONFIG_PREEMPT_RT);
	return IS_ENABLED(CONFIG_PREEMPT_RCU) && preempt_model_preemptible();
}

/* The list has to be right, as far as this kernel is able to tell. */
static void check_context(struct actor *a, enum zs_race_context context)
{
	if (zs_race_may_sleep(context, a->moved))
		might_sleep();
	else if (context == ZS_RACE_LOCKED)
		WARN_ON_ONCE(IS_ENABLED(CONFIG_PREEMPT_COUNT) &&
			     !IS_ENABLED(CONFIG_PREEMPT_RT) && preemptible());
	else if (context == ZS_RACE_RCU)
		RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "no RCU at a race point");
}

/*
 * The memory accesses of the test meanwhile come before the return. An actor that spins
 * ends the test after a while, as the director may not get a CPU to do so.
 */
static void stand(struct actor *a, const struct point *point)
{
	bool sleeps = zs_race_may_sleep(point->context, a->moved);
	bool takes_cpu = !sleeps && !preempted_at(point->context);
	unsigned long end = jiffies + PATIENCE;

	if (takes_cpu && !atomic_add_unless(&stage.spinning, 1, spare_cpus())) {
		WRITE_ONCE(a->no_room, point->name);
		return;
	}
	/* Pairs with stands_at() */
	smp_store_release(&a->at, point->name);
	while (stands_at(a) && !READ_ONCE(stage.curtain)) {
		unsigned long until = READ_ONCE(a->until);

		if (until && time_after(jiffies, until))
			break;
		if (sleeps) {
			usleep_range(50, 100);
			continue;
		}
		if (time_after(jiffies, end)) {
			WRITE_ONCE(stage.overdue, true);
			WRITE_ONCE(stage.curtain, true);
		}
		cpu_relax();
	}
	if (takes_cpu)
		atomic_dec(&stage.spinning);
	WRITE_ONCE(a->left, atomic_inc_return(&stage.now));
}

static void release(struct actor *a)
{
	/* Pairs with stand() */
	smp_store_release(&a->at, NULL);
}

static void pass(const char *name)
{
	struct actor *a = actor_of(current);
	const struct point *point;
	const char *stop;

	if (!a)
		return;
	WRITE_ONCE(a->passed, name);
	point = find_point(name);
	if (WARN_ONCE(!point, "no race point: %s\n", name))
		return;
	/* Only a thread that follows a link comes by these. */
	if (point->context == ZS_RACE_RCU)
		a->moved = true;
	check_context(a, point->context);
	stop = READ_ONCE(a->stop);
	if (stop && !strcmp(stop, name))
		stand(a, point);
}

static int actor_thread(void *data)
{
	struct actor *a = data;

	a->act(a);
	WRITE_ONCE(a->ended, atomic_inc_return(&stage.now));
	/* Pairs with has_ended() */
	smp_store_release(&a->done, true);
	complete_all(&a->end);
	return 0;
}

static struct actor *actor(struct zst *t, const char *name,
			   void (*act)(struct actor *a))
{
	struct actor *a = &stage.cast[stage.nr_cast];

	KUNIT_ASSERT_LT(t->test, stage.nr_cast, MAX_ACTORS);
	memset(a, 0, sizeof(*a));
	a->t = *t;
	a->t.seed = (stage.nr_cast + 1) << 24 | t->seed;
	a->t.want = kunit_kzalloc(t->test, PAGE_SIZE, GFP_KERNEL);
	a->t.copy = kunit_kzalloc(t->test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(t->test, a->t.want);
	KUNIT_ASSERT_NOT_NULL(t->test, a->t.copy);
	a->name = name;
	a->act = act;
	a->cpu = -1;
	INIT_LIST_HEAD(&a->pages);
	init_completion(&a->end);
	stage.nr_cast++;
	return a;
}

/* @a is to stop at @point, which there must be. */
static void set_stop(struct actor *a, const char *point)
{
	if (!find_point(point))
		KUNIT_FAIL_AND_ABORT(a->t.test, "no race point: %s", point);
	WRITE_ONCE(a->stop, point);
}

/* Whichever thread of a workqueue gets to @point stops there. */
static struct actor *worker(struct zst *t, const char *point)
{
	struct actor *a = actor(t, "worker", NULL);

	set_stop(a, point);
	return a;
}

static void start(struct actor *a)
{
	struct task_struct *task;

	task = kthread_create(actor_thread, a, "zs_race/%s", a->name);
	KUNIT_ASSERT_FALSE(a->t.test, IS_ERR(task));
	a->task = task;
	if (a->cpu >= 0)
		kthread_bind(task, a->cpu);
	wake_up_process(task);
}

static void fail_with_scene(struct actor *failed, const char *how)
{
	struct kunit *test = failed->t.test;

	WRITE_ONCE(stage.curtain, true);
	for (unsigned int i = 0; i < stage.nr_cast; i++) {
		struct actor *a = &stage.cast[i];

		kunit_err(test, "%s: %s%s, last came by %s\n", a->name,
			  a->done ? "done" : a->at ? "stands at " : "running",
			  a->at && !a->done ? a->at : "",
			  a->passed ?: "no point");
	}
	KUNIT_FAIL_AND_ABORT(test, "%s %s", failed->name, how);
}

static void skip_without_a_cpu(struct kunit *test, const char *point)
{
	/* A skip would replace the failure. */
	if (test->status == KUNIT_FAILURE)
		KUNIT_FAIL_AND_ABORT(test, "no CPU left to spin at %s", point);
	kunit_skip(test, "no CPU left for an actor that spins at %s", point);
}

/* For tests that have to be skipped before they take references to pages. */
static void needs_room_at(struct zst *t, const char *point)
{
	const struct point *p = find_point(point);

	if (!zs_race_may_sleep(p->context, true) && !preempted_at(p->context) &&
	    !spare_cpus())
		skip_without_a_cpu(t->test, point);
}

/* Wait until @a stands where it is to stop. */
static void expect_stop(struct actor *a)
{
	unsigned long end = jiffies + PATIENCE;

	while (!stands_at(a)) {
		bool ended = has_ended(a);
		const char *no_room = READ_ONCE(a->no_room);

		if (no_room)
			skip_without_a_cpu(a->t.test, no_room);
		if (ended)
			fail_with_scene(a, "ended before it got to its stop");
		if (time_after(jiffies, end))
			fail_with_scene(a, "did not get to its stop");
		usleep_range(50, 100);
	}
}

static void run_to(struct actor *a, const char *point)
{
	set_stop(a, point);
	if (a->task)
		release(a);
	else
		start(a);
	expect_stop(a);
}

/* Does @a, which stands, hold a class->lock? */
static bool holds_lock(struct actor *a)
{
	return find_point(stands_at(a))->context == ZS_RACE_LOCKED;
}

/* Lets @a continue, from its stop or from the start. */
static void let_go(struct actor *a)
{
	WRITE_ONCE(a->stop, NULL);
	if (a->task || !a->act)
		release(a);
	else
		start(a);
}

static void finish(struct actor *a)
{
	if (!a->until)
		let_go(a);
	if (!wait_for_completion_timeout(&a->end, PATIENCE))
		fail_with_scene(a, "did not end");
}

/* @a is let go, and has to wait for an actor that stands, and can sleep there. */
static void expect_waiting(struct actor *a)
{
	let_go(a);
	msleep(20);
	KUNIT_EXPECT_FALSE_MSG(a->t.test, has_ended(a),
			       "%s did not wait", a->name);
}

/*
 * @a is let go, and has to wait until @other continues, which holds a lock. Spinning
 * for that may take the CPU that the test runs on: so @other continues by itself,
 * after a while.
 */
static void expect_waits_for(struct actor *a, struct actor *other)
{
	WRITE_ONCE(other->stop, NULL);
	WRITE_ONCE(other->until, jiffies + msecs_to_jiffies(40) + 1);
	let_go(a);
	finish(other);
	finish(a);
	KUNIT_EXPECT_GT_MSG(a->t.test, a->ended, other->left,
			    "%s did not wait for %s", a->name, other->name);
}

static void expect_ok(struct actor *a)
{
	KUNIT_EXPECT_TRUE_MSG(a->t.test, a->ok, "%s", a->name);
}

static void reads(struct actor *a)
{
	a->ok = obj_intact(&a->t, a->obj);
}

static void reads_sg(struct actor *a)
{
	struct scatterlist sg[2];

	fill(a->t.want, a->obj->size, a->obj->seed);
	zs_obj_read_sg_begin(a->t.pool, a->obj->handle, sg, a->obj->size);
	pass("open");
	sg_copy_to_buffer(sg, sg_nents(sg), a->t.copy, a->obj->size);
	zs_obj_read_sg_end(a->t.pool, a->obj->handle);
	a->ok = !memcmp(a->t.copy, a->t.want, a->obj->size);
}

/* The bytes are compared by expect_end(). */
static void writes(struct actor *a)
{
	obj_write(&a->t, a->obj);
	a->ok = true;
}

static void frees(struct actor *a)
{
	zs_free(a->t.pool, a->handle);
}

static void allocates(struct actor *a)
{
	a->handle = zs_malloc(a->t.pool, a->result, GFP_TEST, TEST_NODE);
}

static void isolates(struct actor *a)
{
	a->ok = isolate(a->page, &a->pages);
}

static void migrates(struct actor *a)
{
	a->ok = !migrate(&a->pages);
}

static void puts_back(struct actor *a)
{
	putback_movable_pages(&a->pages);
}

static void compacts(struct actor *a)
{
	a->result = zs_compact(a->t.pool);
}

static void reclaims(struct actor *a)
{
	drop_slab();
}

static void asks_for_the_node(struct actor *a)
{
	int nid = zs_handle_to_nid(a->t.pool, a->obj->handle);

	a->ok = nid == a->result;
}

static void destroys(struct actor *a)
{
	zs_destroy_pool(a->t.pool);
}

/* The object is the actor's now. */
static void give_to_free(struct zst *t, struct actor *a, struct obj *o)
{
	a->handle = o->handle;
	*o = t->objs[--t->nr];
}

/*
 * Scenes
 */

/* As many_size(), and less than @limit */
static size_t many_size_below(struct kunit *test, size_t limit)
{
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--)
		if (geo[nr].pages >= 2 && geo[nr].slots >= 12 && geo[nr].size < limit)
			return geo[nr].size;
	kunit_skip(test, "no class with 12 slots in two pages");
}

/* Many slots, so that fullness groups tell zspages apart; and several pages. */
static size_t many_size(struct kunit *test)
{
	return many_size_below(test, SIZE_MAX);
}

/* An object in two pages of a full zspage */
static struct obj *straddler(struct zst *t)
{
	struct obj *o = fill_zspage(t, long_size(t->test));
	unsigned int slot;

	for (;; o++) {
		KUNIT_ASSERT_PTR_NE(t->test, o, &t->objs[t->nr]);
		zs_decode_location(o->handle, &slot);
		if (zs_straddles(offset_in_page(slot * o->size), o->size))
			return o;
	}
}

/* The only object of a zspage that is the next to be evacuated: objs[0] */
static struct obj *lonely(struct zst *t)
{
	size_t size = many_size(t->test);
	unsigned int slots = test_class(t, size)->geo.slots;

	KUNIT_ASSERT_EQ(t->test, t->nr, 0);
	fill_zspage(t, size);
	sparse_zspages(t, size, 2, 2);
	while (--slots)
		obj_free(t, &t->objs[slots]);
	KUNIT_ASSERT_EQ(t->test, obj_zspage(&t->objs[0])->inuse, 1);
	return &t->objs[0];
}

/*
 * A guest, alone in a host that is the next to be evacuated; or with an object
 * of the host's own, so that the host will be a forwarder.
 */
static struct obj *lonely_guest(struct zst *t, bool with_native)
{
	struct obj *o = lonely(t);
	unsigned int natives = with_native;
	struct zspage *host;

	KUNIT_ASSERT_GT(t->test, zst_compact(t), 0);
	KUNIT_ASSERT_TRUE(t->test, obj_is_forwarded(o));
	sparse_zspages(t, o->size, 3, 2);
	host = obj_host(o);
	for (unsigned int i = t->nr - 1; i; i--) {
		if (obj_host(&t->objs[i]) != host)
			continue;
		if (natives && obj_zspage(&t->objs[i]) == host)
			natives--;
		else
			obj_free(t, &t->objs[i]);
	}
	KUNIT_ASSERT_EQ(t->test, host->nr_guests, 1);
	KUNIT_ASSERT_EQ(t->test, host->inuse, 1 + with_native);
	return o;
}

static void migrate_zspage(struct zst *t, struct zspage *zspage)
{
	LIST_HEAD(pages);

	KUNIT_EXPECT_EQ(t->test, isolate_zspage(zspage, &pages),
			zspage->class->geo.pages);
	KUNIT_EXPECT_EQ(t->test, migrate(&pages), 0);
}

static void get_pages(struct zspage *zspage, struct page **pages)
{
	for (unsigned int i = 0; i < zspage->class->geo.pages; i++) {
		pages[i] = zpdesc_page(zspage->pages[i]);
		get_page(pages[i]);
	}
}

/* Only the test has a reference to each. */
static void put_replaced_pages(struct zst *t, struct page **pages,
			       unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		KUNIT_EXPECT_EQ(t->test, page_ref_count(pages[i]), 1);
		put_page(pages[i]);
	}
}

static void expect_end(struct zst *t)
{
	expect_quiet(t);
	expect_all_intact(t);
	expect_model(t);
}

/* The slot of its home that the handle of @o names */
static unsigned int zspage_slot(const struct obj *o)
{
	unsigned int slot;

	zs_decode_location(o->handle, &slot);
	return slot;
}

/*
 * Readers and page migration
 */

static struct actor *reader_of(struct zst *t, const char *name, struct obj *o)
{
	struct actor *reader = actor(t, name, reads_sg);

	reader->obj = o;
	return reader;
}

static void expect_read(struct actor *reader)
{
	finish(reader);
	expect_ok(reader);
}

static const struct reader_place {
	const char *point;
	bool pinned;
} reader_places[] = {
	{ "looked_up" },
	{ "pinned",	.pinned = true },
	{ "read",	.pinned = true },
	{ "read_half",	.pinned = true },
	{ "open",	.pinned = true },
	{ "unpin",	.pinned = true },
};

KUNIT_ARRAY_PARAM_DESC(reader_places, reader_places, point);

/* Pages migrate wherever the reader is, and stay as long as it needs them. */
static void pages_migrate_under_a_reader(struct kunit *test)
{
	const struct reader_place *place = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);
	unsigned int pages = zspage->class->geo.pages;
	struct actor *reader = reader_of(t, "reader", o);
	struct page *old[ZS_MAX_PAGES];

	get_pages(zspage, old);
	run_to(reader, place->point);
	migrate_zspage(t, zspage);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, place->pinned ? pages : 0);
	expect_read(reader);
	put_replaced_pages(t, old, pages);
	expect_end(t);
}

static const char * const copying_points[] = {
	"looked_up", "pinned", "read", "read_half", "unpin",
};

KUNIT_ARRAY_PARAM(copying_points, copying_points, name_of_param);

static void pages_migrate_under_a_copying_reader(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *reader = actor(t, "reader", reads);

	reader->obj = o;
	run_to(reader, param_name(test));
	migrate_zspage(t, obj_zspage(o));
	expect_read(reader);
	expect_end(t);
}

static const struct page_query {
	const char *point;
	bool answered;		/* the node of the page was read before */
} page_queries[] = {
	{ "looked_up" },
	{ "pinned" },
	{ "read" },
	{ "unpin", .answered = true },
};

KUNIT_ARRAY_PARAM_DESC(page_queries, page_queries, point);

/* The answer is the node of the page at the time when it was read. */
static void page_migrates_during_handle_to_nid(struct kunit *test)
{
	const struct page_query *query = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = fill_zspage(t, long_size(test));
	struct zspage *zspage = obj_zspage(o);
	struct actor *asker = actor(t, "asker", asks_for_the_node);
	int old = page_to_nid(zpdesc_page(zspage->pages[0]));
	int new = next_memory_node(old);
	struct page *pages[ZS_MAX_PAGES];
	LIST_HEAD(list);

	if (new >= MAX_NUMNODES)
		new = first_memory_node;
	asker->obj = o;
	asker->result = query->answered ? old : new;
	get_pages(zspage, pages);
	run_to(asker, query->point);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list),
			zspage->class->geo.pages);
	KUNIT_EXPECT_EQ(test, 0,
			migrate_pages(&list, folio_on_node, NULL, new,
				      MIGRATE_ASYNC, MR_COMPACTION, NULL));
	finish(asker);
	expect_ok(asker);
	put_replaced_pages(t, pages, zspage->class->geo.pages);
	KUNIT_EXPECT_EQ(test, zs_handle_to_nid(t->pool, o->handle), new);
	expect_end(t);
}

static const struct object_query {
	const char *point;
	bool pinned;
} object_queries[] = {
	{ "link_read" },
	{ "link_pinned", .pinned = true },
};

KUNIT_ARRAY_PARAM_DESC(object_queries, object_queries, point);

/* A guest is moved to another host, unless its host is pinned. */
static void object_moves_during_handle_to_nid(struct kunit *test)
{
	const struct object_query *query = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *asker = actor(t, "asker", asks_for_the_node);
	unsigned long was = obj_where(o);

	asker->obj = o;
	asker->result = TEST_NODE;
	run_to(asker, query->point);
	KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
	KUNIT_EXPECT_EQ(test, obj_where(o) == was, query->pinned);
	finish(asker);
	expect_ok(asker);
	expect_end(t);
}

static struct actor *migrator_of(struct zst *t, struct page *page)
{
	struct actor *migrator = actor(t, "migrator", migrates);

	KUNIT_ASSERT_TRUE(t->test, isolate(page, &migrator->pages));
	return migrator;
}

static struct page *page_of(struct zspage *zspage, unsigned int index)
{
	return zpdesc_page(zspage->pages[index]);
}

static const char * const move_points[] = {
	"migrate", "migrate_copy", "migrate_publish", "migrated",
};

KUNIT_ARRAY_PARAM(move_points, move_points, name_of_param);

static void readers_do_not_wait_for_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));

	run_to(migrator, param_name(test));
	for (unsigned int n = 0; n < t->nr; n++)
		KUNIT_EXPECT_TRUE(test, obj_intact(t, &t->objs[n]));
	finish(migrator);
	expect_ok(migrator);
	expect_end(t);
}

static void two_pages_migrate_at_once(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);
	struct actor *migrator, *other;
	struct page *old[ZS_MAX_PAGES];

	needs_room_at(t, param_name(test));
	get_pages(zspage, old);
	migrator = migrator_of(t, page_of(zspage, 0));
	other = migrator_of(t, page_of(zspage, 1));
	run_to(migrator, param_name(test));
	if (holds_lock(migrator))
		expect_waits_for(other, migrator);
	finish(other);
	finish(migrator);
	expect_ok(migrator);
	expect_ok(other);
	put_replaced_pages(t, old, 2);
	for (unsigned int n = 2; n < zspage->class->geo.pages; n++)
		put_page(old[n]);
	expect_end(t);
}

/*
 * Class sets: CPUs that wait for each other's locks
 */

/* Stands, on CPU @cpu, and holds the lock of the class of @o */
static struct actor *lock_holder(struct zst *t, struct obj *o, int cpu)
{
	struct actor *holder = migrator_of(t, page_of(obj_zspage(o), 0));

	holder->cpu = cpu;
	run_to(holder, "migrate_copy");
	return holder;
}

static const struct lock_waits {
	const char *name;
	unsigned int before;	/* the wait: the time waited, in nanoseconds */
	u64 wait;		/* how long it takes, in nanoseconds */
	unsigned long age;	/* of the first wait, in jiffies */
	bool small;		/* too small for two sets on each node */
	bool all;		/* the pool has all sets already */
	bool added;		/* the pool gets sets during the wait */
	bool adds;
} lock_waits[] = {
	{ "many_short", ZS_LONG_WAIT - 1, 1, .adds = true },
	{ "few_short", ZS_LONG_WAIT - 2, 1 },
	{ "one_long", 0, ZS_LONG_WAIT },
	{ "several_long", ZS_LONG_WAIT - ZS_WAIT_MAX, ZS_LONG_WAIT, .adds = true },
	{ "very_long", ZS_LONG_WAIT - ZS_WAIT_MAX, 1ULL << 32, .adds = true },
	{ "seldom", ZS_LONG_WAIT - 1, 1, .age = 2 * HZ },
	{ "small_pool", ZS_LONG_WAIT - 1, 1, .small = true },
	{ "all_sets", ZS_LONG_WAIT - 1, 1, .all = true },
	{ "sets_added_meanwhile", ZS_LONG_WAIT - 1, 1, .added = true },
};

KUNIT_ARRAY_PARAM_DESC(lock_waits, lock_waits, name);

/* Each time it is read, a wait has passed. */
static u64 clock_of_waits(void)
{
	const struct lock_waits *waits = kunit_get_current_test()->param_value;

	return ++current_zst()->nr_clock_reads * waits->wait;
}

static void allocates_by_that_clock(struct actor *a)
{
	/* KUnit's static stubs are those of this thread's test. */
	current->kunit_test = a->t.test;
	allocates(a);
	current->kunit_test = NULL;
}

static void waits_for_a_lock_add_sets(struct kunit *test)
{
	const struct lock_waits *waits = test->param_value;
	unsigned int mask, counted = min_t(u64, waits->wait, ZS_WAIT_MAX);
	struct actor *holder, *waiter;
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct size_class *class = test_class(t, size);
	struct page *old[ZS_MAX_PAGES];
	struct obj *o;

	needs_room_at(t, "migrate_copy");
	fill_zspage(t, size);
	o = obj_alloc(t, size);
	zs_set_pages = pool_pages(t->pool) / (2 * num_node_state(N_MEMORY)) + waits->small;
	if (waits->all)
		zs_set_pages = 0;
	mask = waits->all ? zs_set_index(1, 0) - 1 : 0;
	WRITE_ONCE(t->pool->set_mask, mask);
	get_pages(obj_zspage(o), old);
	holder = lock_holder(t, o, 1);
	kunit_activate_static_stub(test, zs_clock, clock_of_waits);
	waiter = actor(t, "waiter", allocates_by_that_clock);
	waiter->result = size;
	waiter->cpu = 0;
	run_to(waiter, "malloc_wait");
	/* The holder of the lock does not use these. */
	class->waited = waits->before;
	class->first_wait = jiffies - waits->age;
	if (waits->added) {
		mask = 1;
		WRITE_ONCE(t->pool->set_mask, mask);
	}
	finish(holder);
	finish(waiter);
	kunit_deactivate_static_stub(test, zs_clock);
	KUNIT_EXPECT_EQ(test, READ_ONCE(t->pool->set_mask), waits->adds ? 1 : mask);
	KUNIT_EXPECT_EQ(test, class->waited,
			waits->age ? counted :
			waits->added ? waits->before :
			waits->before + counted >= ZS_LONG_WAIT ? 0 :
			waits->before + counted);
	zs_free(t->pool, waiter->handle);
	put_replaced_pages(t, old, 1);
	for (unsigned int n = 1; n < class->geo.pages; n++)
		put_page(old[n]);
	expect_end(t);
}

/* It has a free slot, but the task gets a zspage of its own set at once. */
static void set_whose_lock_is_taken_is_passed_over(struct kunit *test)
{
	struct actor *holder, *other;
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned int pages = test_class(t, size)->geo.pages;
	struct page *old[ZS_MAX_PAGES];
	struct obj *o = obj_alloc(t, size);

	needs_room_at(t, "migrate_copy");
	WRITE_ONCE(t->pool->set_mask, 1);
	get_pages(obj_zspage(o), old);
	holder = lock_holder(t, o, 0);
	other = actor(t, "other CPU", allocates);
	other->result = size;
	other->cpu = 1;
	start(other);
	if (!wait_for_completion_timeout(&other->end, PATIENCE))
		fail_with_scene(other, "waits for a lock of another set");
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), 2 * pages);
	finish(holder);
	zs_free(t->pool, other->handle);
	put_replaced_pages(t, old, 1);
	for (unsigned int n = 1; n < pages; n++)
		put_page(old[n]);
	expect_end(t);
}

static struct zpdesc *no_single(gfp_t gfp, int nid)
{
	return NULL;
}

/* Nor are reserves used, or -ENOMEM returned, while another set has a free slot. */
static void slots_of_locked_sets_are_used_before_reclaim(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	unsigned int pages = test_class(t, size)->geo.pages;
	struct obj *o = obj_alloc(t, size);
	struct page *old[ZS_MAX_PAGES];
	struct actor *holder;
	unsigned long handle;

	needs_room_at(t, "migrate_copy");
	if (!add_second_set(t->pool))
		kunit_skip(test, "not two CPUs");
	use_cpu(test, 1);
	get_pages(obj_zspage(o), old);
	holder = migrator_of(t, page_of(obj_zspage(o), 0));
	holder->cpu = 0;
	run_to(holder, "migrate_copy");
	kunit_activate_static_stub(test, zs_alloc_bulk, no_bulk);
	kunit_activate_static_stub(test, zs_alloc_single, no_single);
	/* It leaves by itself, because this thread waits for its lock. */
	WRITE_ONCE(holder->until, jiffies + HZ / 2);
	handle = zs_malloc(t->pool, size, GFP_NOWAIT | __GFP_HIGHMEM | __GFP_MOVABLE,
			   TEST_NODE);
	kunit_deactivate_static_stub(test, zs_alloc_single);
	kunit_deactivate_static_stub(test, zs_alloc_bulk);
	finish(holder);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_EXPECT_EQ(test, test_class(t, size)->inuse, 2);
	zs_free(t->pool, handle);
	put_replaced_pages(t, old, 1);
	for (unsigned int n = 1; n < pages; n++)
		put_page(old[n]);
	expect_end(t);
}

/*
 * Rounds: a replaced page waits for the readers that pinned its zspage before
 */

static void expect_free(struct zst *t, struct page *page)
{
	put_replaced_pages(t, &page, 1);
}

static void expect_held(struct zst *t, struct page *page)
{
	KUNIT_EXPECT_EQ(t->test, page_ref_count(page), 2);
}

/* Not "unpin_looked": a reader does not pass it in a round. */
static const char * const pinned_points[] = { "pinned", "read", "open", "unpin" };

KUNIT_ARRAY_PARAM(pinned_points, pinned_points, name_of_param);

/* The late reader still has its object open when the early one closes its own. */
static void later_readers_do_not_hold_replaced_pages(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);
	struct actor *early = reader_of(t, "early", o);
	struct actor *late = reader_of(t, "late", o - 1);
	struct page *old, *newer;

	run_to(early, "open");
	old = replace_first_page(t, zspage, MIGRATE_SYNC);
	run_to(late, param_name(test));
	expect_held(t, old);
	expect_read(early);
	expect_free(t, old);
	/* For the next page that is replaced, the late reader is early. */
	newer = replace_first_page(t, zspage, MIGRATE_SYNC);
	expect_held(t, newer);
	expect_read(late);
	expect_free(t, newer);
	expect_end(t);
}

static const struct round_begin {
	const char *name;
	const char *point;
	bool late;		/* another reader pins in the round */
} round_begins[] = {
	{ "unpin", "unpin" },
	{ "unpin, late reader", "unpin", .late = true },
	{ "unpin_looked", "unpin_looked" },
	{ "unpin_looked, late reader", "unpin_looked", .late = true },
};

KUNIT_ARRAY_PARAM_DESC(round_begins, round_begins, name);

static void round_begins_while_a_reader_unpins(struct kunit *test)
{
	const struct round_begin *begin = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *early = reader_of(t, "early", o);
	struct actor *late = reader_of(t, "late", o - 1);
	struct page *old;

	run_to(early, begin->point);
	old = replace_first_page(t, obj_zspage(o), MIGRATE_SYNC);
	expect_held(t, old);
	if (begin->late)
		run_to(late, "open");
	expect_read(early);
	expect_free(t, old);
	if (begin->late)
		expect_read(late);
	expect_end(t);
}

/*
 * A reader has counted down in a round that began just before. The round waits
 * for it, pages that are replaced meanwhile wait for the next one, and the
 * zspage is not evacuated.
 */
static void round_waits_for_a_reader_that_counted_down(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct zspage *zspage = obj_zspage(o);
	struct actor *reader = reader_of(t, "reader", o);
	struct page *old, *newer;

	run_to(reader, "unpin_looked");
	old = replace_first_page(t, zspage, MIGRATE_SYNC);
	run_to(reader, "unpin_early");
	newer = replace_first_page(t, zspage, MIGRATE_SYNC);
	expect_held(t, old);
	expect_held(t, newer);
	zst_compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	expect_read(reader);
	expect_free(t, old);
	expect_free(t, newer);
	expect_end(t);
}

static const struct late_pin {
	const char *name;
	bool ended;		/* the round in which the reader pinned */
	bool next_began;	/* for this round, the reader is early */
} late_pins[] = {
	{ "round continues" },
	{ "round has ended", .ended = true },
	{ "next round has begun", .ended = true, .next_began = true },
};

KUNIT_ARRAY_PARAM_DESC(late_pins, late_pins, name);

/* A reader has pinned in a round, and its pin is not noted yet. */
static void round_ends_before_a_late_pin_is_noted(struct kunit *test)
{
	const struct late_pin *pin = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);
	struct actor *early = reader_of(t, "early", o);
	struct actor *late = reader_of(t, "late", o - 1);
	struct page *old, *newer = NULL;

	run_to(early, "open");
	old = replace_first_page(t, zspage, MIGRATE_SYNC);
	run_to(late, "pin_late");
	if (pin->next_began)
		newer = replace_first_page(t, zspage, MIGRATE_SYNC);
	if (pin->ended) {
		expect_read(early);
		expect_free(t, old);
	}
	run_to(late, "open");
	KUNIT_EXPECT_EQ(test, zspage->early, !pin->ended || pin->next_began);
	KUNIT_EXPECT_EQ(test, !zspage->nr_stale || !*zspage_late(zspage), pin->ended);
	if (!pin->ended) {
		expect_read(early);
		expect_free(t, old);
	}
	if (newer)
		expect_held(t, newer);
	expect_read(late);
	if (newer)
		expect_free(t, newer);
	expect_end(t);
}

static const struct leaving {
	const char *name;
	bool late_first;
} leavings[] = {
	{ "early reader first" },
	{ "late reader first", .late_first = true },
};

KUNIT_ARRAY_PARAM_DESC(leavings, leavings, name);

/* Pins have no names: it is not known which of two readers of an object has unpinned. */
static void two_readers_of_one_object_in_a_round(struct kunit *test)
{
	const struct leaving *leaving = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *early = reader_of(t, "early", o);
	struct actor *late = reader_of(t, "late", o);
	struct page *old;

	run_to(early, "open");
	old = replace_first_page(t, obj_zspage(o), MIGRATE_SYNC);
	run_to(late, "open");
	expect_read(leaving->late_first ? late : early);
	expect_held(t, old);
	expect_read(leaving->late_first ? early : late);
	expect_free(t, old);
	expect_end(t);
}

static unsigned long long_timeout(void)
{
	return PATIENCE / 2;
}

static void isolates_patiently(struct actor *a)
{
	/* KUnit's static stubs are those of this thread's test. */
	current->kunit_test = a->t.test;
	isolates(a);
	current->kunit_test = NULL;
}

/* Isolation that waits for the reader of a stale page ends when it closes its object. */
static void last_reader_wakes_isolation(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *isolator = actor(t, "isolator", isolates_patiently);
	struct actor *reader = reader_of(t, "reader", o);
	unsigned long start;

	kunit_activate_static_stub(test, zs_stale_timeout, long_timeout);
	run_to(reader, "open");
	isolator->page = replace_first_page(t, obj_zspage(o), MIGRATE_SYNC);
	run_to(isolator, "stale_wait");
	expect_waiting(isolator);
	start = jiffies;
	finish(reader);
	finish(isolator);
	KUNIT_EXPECT_LT(test, jiffies - start, PATIENCE / 4);
	KUNIT_EXPECT_FALSE(test, isolator->ok);
	kunit_deactivate_static_stub(test, zs_stale_timeout);
	expect_ok(reader);
	expect_free(t, isolator->page);
	expect_end(t);
}

/* One page migrates twice, and compaction is tried, under one reader. */
static void reader_across_two_migrations_and_compaction(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct zspage *zspage = obj_zspage(o);
	struct actor *reader = reader_of(t, "reader", o);
	struct page *old[2];

	run_to(reader, "open");
	for (int i = 0; i < 2; i++)
		old[i] = replace_first_page(t, zspage, MIGRATE_SYNC);
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 2);
	zst_compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	expect_held(t, old[0]);
	expect_read(reader);
	put_replaced_pages(t, old, 2);
	expect_end(t);
}

/*
 * Writers and page migration
 */

static const char * const writer_points[] = {
	"looked_up", "pinned", "write", "write_half", "written", "unpin",
};

KUNIT_ARRAY_PARAM(writer_points, writer_points, name_of_param);

static void writes_are_not_lost_to_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *writer = actor(t, "writer", writes);

	writer->obj = o;
	run_to(writer, param_name(test));
	migrate_zspage(t, obj_zspage(o));
	finish(writer);
	expect_end(t);
}

static const char * const retried_points[] = { "write", "write_half", "written" };

KUNIT_ARRAY_PARAM(retried_points, retried_points, name_of_param);

static void writer_retries_until_no_page_moved(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *writer = actor(t, "writer", writes);
	LIST_HEAD(pages);

	writer->obj = o;
	for (int retries = 0; retries < 2; retries++) {
		run_to(writer, param_name(test));
		KUNIT_ASSERT_TRUE(test, isolate(page_of(obj_zspage(o), 0), &pages));
		KUNIT_EXPECT_EQ(test, migrate(&pages), 0);
	}
	run_to(writer, param_name(test));
	finish(writer);
	expect_end(t);
}

static const struct half {
	const char *name;
	const char *point;	/* before it is written */
	unsigned int page;	/* where it is, from the object's first page on */
} halves[] = {
	{ "first half", "write", 0 },
	{ "second half", "write_half", 1 },
};

KUNIT_ARRAY_PARAM_DESC(halves, halves, name);

/* The writer has seen no move, then the page is copied, then the writer writes. */
static void write_after_the_copy_is_repeated(struct kunit *test)
{
	const struct half *half = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *writer = actor(t, "writer", writes);
	struct actor *migrator;
	unsigned int slot, index;

	zs_decode_location(o->handle, &slot);
	index = slot * o->size / PAGE_SIZE + half->page;
	migrator = migrator_of(t, page_of(obj_zspage(o), index));
	writer->obj = o;
	run_to(writer, half->point);
	run_to(migrator, "migrate_publish");
	run_to(writer, "written");
	finish(migrator);
	expect_ok(migrator);
	finish(writer);
	expect_end(t);
}

static const char * const copy_points[] = { "migrate_copy", "migrate_publish" };

KUNIT_ARRAY_PARAM(copy_points, copy_points, name_of_param);

static void writer_waits_while_a_page_is_copied(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));
	struct actor *writer = actor(t, "writer", writes);

	writer->obj = o;
	run_to(migrator, param_name(test));
	expect_waits_for(writer, migrator);
	expect_ok(migrator);
	expect_end(t);
}

/*
 * Freeing, isolation and the worker
 */

/* A task that frees the only object of a zspage whose first page is isolated */
static struct actor *free_of_the_last(struct zst *t, struct list_head *pages)
{
	struct actor *freer = actor(t, "freer", frees);
	struct obj *o = obj_alloc(t, long_size(t->test));

	KUNIT_ASSERT_TRUE(t->test, isolate(page_of(obj_zspage(o), 0), pages));
	give_to_free(t, freer, o);
	return freer;
}

static void expect_all_freed(struct zst *t)
{
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(t->test, pool_pages(t->pool), 0);
	KUNIT_EXPECT_EQ(t->test, all_zspages(), t->pages_before);
	expect_end(t);
}

static const struct isolation_end {
	const char *name;
	void (*act)(struct actor *a);
	const char *point;
	bool free_first;
} isolation_ends[] = {
	{ "putback, then free", puts_back, "putback" },
	{ "free, then putback", puts_back, "putback", .free_first = true },
	{ "migration, then free", migrates, "migrate" },
	{ "free, then migration", migrates, "migrate", .free_first = true },
};

KUNIT_ARRAY_PARAM_DESC(isolation_ends, isolation_ends, name);

static void last_object_freed_while_isolation_ends(struct kunit *test)
{
	const struct isolation_end *end = test->param_value;
	struct zst *t = test->priv;
	struct actor *mover = actor(t, "mover", end->act);
	struct actor *freer = free_of_the_last(t, &mover->pages);

	run_to(freer, "free");
	run_to(mover, end->point);
	finish(end->free_first ? freer : mover);
	finish(end->free_first ? mover : freer);
	expect_all_freed(t);
}

/* From the copy on: before that, see last_object_freed_while_isolation_ends(). */
static const char * const late_move_points[] = {
	"migrate_copy", "migrate_publish", "migrated",
};

KUNIT_ARRAY_PARAM(late_move_points, late_move_points, name_of_param);

static void last_object_freed_during_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *migrator = actor(t, "migrator", migrates);
	struct actor *freer = free_of_the_last(t, &migrator->pages);

	run_to(migrator, param_name(test));
	if (holds_lock(migrator))
		expect_waits_for(freer, migrator);
	finish(freer);
	finish(migrator);
	expect_ok(migrator);
	expect_all_freed(t);
}

/* The core has locked a page when its zspage dies: it must not isolate the page. */
static void zspage_dies_during_isolation(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, long_size(test));
	struct actor *isolator = actor(t, "isolator", isolates);

	isolator->page = page_of(obj_zspage(o), 1);
	run_to(isolator, "isolate");
	obj_free(t, o);
	/* The worker does not get the page lock, which the isolator has. */
	msleep(20);
	KUNIT_EXPECT_GT(test, pool_pages(t->pool), 0);
	finish(isolator);
	KUNIT_EXPECT_FALSE(test, isolator->ok);
	expect_all_freed(t);
}

static const struct worker_place {
	const char *point;
	bool has_locks;		/* of all pages */
} worker_places[] = {
	{ "deferred" },
	{ "deferred_lock", .has_locks = true },
};

KUNIT_ARRAY_PARAM_DESC(worker_places, worker_places, point);

static void worker_locks_pages_during_isolation(struct kunit *test)
{
	const struct worker_place *place = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, long_size(test));
	struct zspage *zspage = obj_zspage(o);
	struct actor *w = worker(t, place->point);
	unsigned int nr = zspage->class->geo.pages;
	struct page *pages[ZS_MAX_PAGES];
	LIST_HEAD(list);

	get_pages(zspage, pages);
	lock_page(pages[0]);
	obj_free(t, o);
	if (place->has_locks)
		unlock_page(pages[0]);
	expect_stop(w);
	if (!place->has_locks)
		unlock_page(pages[0]);
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), 0);
	let_go(w);
	zs_flush_deferred();
	/* Nor are they isolated when they have been freed. */
	for (unsigned int n = 0; n < nr; n++)
		KUNIT_EXPECT_FALSE(test, isolate(pages[n], &list));
	put_replaced_pages(t, pages, nr);
	expect_all_freed(t);
}

/* By zs_malloc(), by isolation, and by zs_compact() */
static void dead_zspage_is_unreachable(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, long_size(test));
	struct zspage *zspage = obj_zspage(o);
	struct actor *freer = actor(t, "freer", frees);
	LIST_HEAD(pages);

	give_to_free(t, freer, o);
	run_to(freer, "free_dead");
	KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &pages), 0);
	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	o = obj_alloc(t, long_size(test));
	KUNIT_EXPECT_PTR_NE(test, obj_zspage(o), zspage);
	finish(freer);
	obj_free(t, o);
	expect_all_freed(t);
}

/* The object that @allocator has allocated is the test's now. */
static struct obj *adopt(struct zst *t, struct actor *allocator)
{
	struct obj *o = &t->objs[t->nr];

	KUNIT_ASSERT_FALSE(t->test, IS_ERR_OR_NULL((void *)allocator->handle));
	*o = (struct obj){ .handle = allocator->handle, .size = allocator->result };
	t->nr++;
	obj_write(t, o);
	return o;
}

/* Two tasks that find no free slot allocate a zspage each, for themselves at first. */
static void new_zspage_is_private(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *allocator = actor(t, "allocator", allocates);
	size_t size = long_size(test);
	struct obj *o;

	allocator->result = size;
	run_to(allocator, "malloc_new");
	o = obj_alloc(t, size);
	KUNIT_EXPECT_EQ(test, zs_compact(t->pool), 0);
	migrate_zspage(t, obj_zspage(o));
	finish(allocator);
	KUNIT_EXPECT_PTR_NE(test, obj_zspage(adopt(t, allocator)), obj_zspage(o));
	expect_end(t);
}

static void object_allocated_during_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, long_size(test));
	struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));
	struct actor *allocator = actor(t, "allocator", allocates);

	allocator->result = o->size;
	run_to(migrator, param_name(test));
	if (holds_lock(migrator))
		expect_waits_for(allocator, migrator);
	finish(allocator);
	finish(migrator);
	KUNIT_EXPECT_PTR_EQ(test, obj_zspage(adopt(t, allocator)), obj_zspage(o));
	expect_end(t);
}

/*
 * Compaction
 */

static void expect_moved(struct kunit *test, const struct obj *o,
			 unsigned long was)
{
	KUNIT_EXPECT_NE(test, obj_where(o), was);
}

static const struct use {
	const char *name;
	void (*act)(struct actor *a);
} uses[] = {
	{ "read", reads },
	{ "read as a scatterlist", reads_sg },
	{ "write", writes },
};

KUNIT_ARRAY_PARAM_DESC(uses, uses, name);

/* Between the look at home and the pin, home becomes a forwarder. */
static void home_becomes_a_forwarder_before_the_pin(struct kunit *test)
{
	const struct use *use = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct actor *user = actor(t, "user", use->act);

	user->obj = o;
	run_to(user, "looked_up");
	KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
	KUNIT_EXPECT_TRUE(test, obj_is_forwarded(o));
	run_to(user, "link_read");
	finish(user);
	expect_ok(user);
	expect_end(t);
}

static void compaction_skips_pinned_zspages(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct actor *reader = reader_of(t, "reader", o);

	run_to(reader, param_name(test));
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	KUNIT_EXPECT_FALSE(test, obj_is_forwarded(o));
	expect_read(reader);
	expect_end(t);
}

static const struct use_of_frozen {
	const char *name;
	void (*act)(struct actor *a);
	const char *point;
} uses_of_frozen[] = {
	{ "read, frozen", reads, "frozen" },
	{ "read, natives_moved", reads, "natives_moved" },
	{ "read as a scatterlist, frozen", reads_sg, "frozen" },
	{ "read as a scatterlist, natives_moved", reads_sg, "natives_moved" },
	{ "write, frozen", writes, "frozen" },
	{ "write, natives_moved", writes, "natives_moved" },
};

KUNIT_ARRAY_PARAM_DESC(uses_of_frozen, uses_of_frozen, name);

/* A user of an object in a frozen zspage waits, and finds the object moved. */
static void users_wait_for_an_evacuation(struct kunit *test)
{
	const struct use_of_frozen *use = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct actor *compactor = actor(t, "compactor", compacts);
	struct actor *user = actor(t, "user", use->act);

	user->obj = o;
	run_to(compactor, use->point);
	run_to(user, "wait_thaw");
	expect_waits_for(user, compactor);
	KUNIT_EXPECT_TRUE(test, obj_is_forwarded(o));
	expect_ok(user);
	expect_end(t);
}

/* Other objects of the pool are used meanwhile, of the same class or of another. */
static void other_objects_do_not_wait_for_an_evacuation(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t), *other;
	struct actor *compactor = actor(t, "compactor", compacts);
	struct actor *reader = actor(t, "reader", reads);

	other = obj_alloc(t, PAGE_SIZE);
	run_to(compactor, "frozen");
	for (unsigned int i = 1; i < t->nr; i++)
		KUNIT_EXPECT_TRUE(test, obj_intact(t, &t->objs[i]));
	obj_write(t, other);
	obj_free(t, obj_alloc(t, PAGE_SIZE));
	reader->obj = o;
	expect_waits_for(reader, compactor);
	expect_ok(reader);
	expect_end(t);
}

static const struct host_fate {
	const char *name;
	bool with_native;
} host_fates[] = {
	{ "host is freed" },
	{ "host becomes a forwarder", .with_native = true },
};

KUNIT_ARRAY_PARAM_DESC(host_fates, host_fates, name);

/* The link is read; before its host is pinned, the object is moved to another host. */
static void guest_moves_on_before_the_pin(struct kunit *test)
{
	const struct host_fate *fate = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, fate->with_native);
	struct actor *reader = actor(t, "reader", reads);
	unsigned long was = obj_where(o);

	reader->obj = o;
	run_to(reader, "link_read");
	KUNIT_EXPECT_GT(test, zst_compact(t), 0);
	expect_moved(test, o, was);
	/* Without the reader, a grace period would end here. */
	msleep(50);
	run_to(reader, "link_pinned");
	expect_read(reader);
	expect_end(t);
}

static const char * const host_pinned_points[] = {
	"link_pinned", "read", "open", "unpin",
};

KUNIT_ARRAY_PARAM(host_pinned_points, host_pinned_points, name_of_param);

/* Also before the reader has compared the link with the one that it had read. */
static void guest_stays_in_a_pinned_host(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *reader = reader_of(t, "reader", o);
	unsigned long was = obj_where(o);

	run_to(reader, param_name(test));
	KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
	KUNIT_EXPECT_EQ(test, obj_where(o), was);
	expect_read(reader);
	expect_end(t);
}

/* The guest is copied, but its link still names the old host, which is frozen. */
static void reader_of_a_guest_waits_for_the_new_link(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *compactor = actor(t, "compactor", compacts);
	struct actor *reader = actor(t, "reader", reads);
	unsigned long was = obj_where(o);

	reader->obj = o;
	run_to(compactor, "guest_moved");
	run_to(reader, "wait_thaw");
	/* With the new link, the guest is read while the evacuation continues. */
	run_to(compactor, "natives_moved");
	expect_moved(test, o, was);
	KUNIT_EXPECT_TRUE(test, obj_intact(t, o));
	expect_waits_for(reader, compactor);
	expect_ok(reader);
	expect_end(t);
}

static const struct host_round {
	const char *name;
	const char *begins, *compacted;	/* the reader's point at each */
} host_rounds[] = {
	{ "compacted at unpin", "open", "unpin" },
	{ "compacted at open", "read", "open" },
	{ "compacted at unpin_early", "unpin_looked", "unpin_early" },
};

KUNIT_ARRAY_PARAM_DESC(host_rounds, host_rounds, name);

/* A round waits for the reader of a guest: its host is not evacuated until then. */
static void host_stays_until_its_reader_left_the_round(struct kunit *test)
{
	const struct host_round *round = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, false);
	struct actor *reader = reader_of(t, "reader", o);
	unsigned long was = obj_where(o);
	struct page *old;

	run_to(reader, round->begins);
	old = replace_first_page(t, obj_host(o), MIGRATE_SYNC);
	run_to(reader, round->compacted);
	zst_compact(t);
	KUNIT_EXPECT_EQ(test, obj_where(o), was);
	expect_held(t, old);
	expect_read(reader);
	expect_free(t, old);
	expect_end(t);
}

/* Guests of t->half_bad are copied, its natives cannot be. */
static bool copy_but_bad_ones(struct zspage *dest, unsigned int dest_slot,
			      struct zspage *source, unsigned int source_slot)
{
	if (source == current_zst()->half_bad && !source->nr_guests)
		return false;
	zst_copy_slot(dest, dest_slot, source, source_slot);
	return true;
}

static void fails_to_compact(struct actor *a)
{
	/* KUnit's static stubs are those of this thread's test. */
	current->kunit_test = a->t.test;
	compacts(a);
	current->kunit_test = NULL;
}

/* A user that waited finds its object where it was, and leaves no pin behind. */
static void users_wait_for_a_failing_evacuation(struct kunit *test)
{
	const struct use *use = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct actor *compactor = actor(t, "compactor", fails_to_compact);
	struct actor *user = actor(t, "user", use->act);

	user->obj = o;
	t->half_bad = obj_zspage(o);
	kunit_activate_static_stub(test, zs_copy_slot, copy_but_bad_ones);
	run_to(compactor, "frozen");
	run_to(user, "wait_thaw");
	expect_waits_for(user, compactor);
	kunit_deactivate_static_stub(test, zs_copy_slot);
	KUNIT_EXPECT_FALSE(test, obj_is_forwarded(o));
	expect_ok(user);
	expect_end(t);
}

static void evacuate_guests_only(struct zst *t, struct zspage *host)
{
	t->half_bad = host;
	kunit_activate_static_stub(t->test, zs_copy_slot, copy_but_bad_ones);
	zs_compact(t->pool);
	kunit_deactivate_static_stub(t->test, zs_copy_slot);
	KUNIT_EXPECT_EQ(t->test, host->state, ZSPAGE_LIVE);
}

/*
 * A host whose evacuation failed half way has lost its guests, and is freed like
 * any other zspage. A reader that has read the link of such a guest may still
 * pin the host.
 */
static void partly_evacuated_host_is_freed_under_a_reader(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *reader = reader_of(t, "reader", o);
	struct zspage *host = obj_host(o);
	unsigned long was = obj_where(o);

	run_to(reader, "link_read");
	evacuate_guests_only(t, host);
	expect_moved(test, o, was);
	for (unsigned int n = 1; n < t->nr; n++)
		if (obj_zspage(&t->objs[n]) == host)
			obj_free(t, &t->objs[n--]);
	msleep(50);
	expect_read(reader);
	expect_end(t);
}

static struct obj *native_of(struct zst *t, struct zspage *host)
{
	for (unsigned int n = 0; n < t->nr; n++)
		if (obj_zspage(&t->objs[n]) == host)
			return &t->objs[n];
	KUNIT_FAIL_AND_ABORT(t->test, "the host has no native");
}

static const struct vain_pin {
	const char *name;
	bool late;
} vain_pins[] = {
	{ "before the round" },
	{ "in the round", .late = true },
};

KUNIT_ARRAY_PARAM_DESC(vain_pins, vain_pins, name);

/* A reader pins a host in vain, as its object was moved on. */
static void vain_pin_counts_in_a_round(struct kunit *test)
{
	const struct vain_pin *pin = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *reader = reader_of(t, "reader", o), *other;
	struct zspage *host = obj_host(o);
	struct page *old;

	other = reader_of(t, "other", native_of(t, host));
	run_to(reader, "link_read");
	evacuate_guests_only(t, host);
	if (pin->late)
		run_to(other, "open");
	else
		run_to(reader, "link_pinned");
	old = replace_first_page(t, host, MIGRATE_SYNC);
	expect_held(t, old);
	if (pin->late)
		run_to(reader, "pin_late");
	expect_read(reader);
	if (pin->late) {
		expect_held(t, old);
		expect_read(other);
	}
	expect_free(t, old);
	expect_end(t);
}

/* The guest was moved on before the pin, and the host has other objects. */
static void reader_unpins_a_host_that_its_guest_left(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *reader = reader_of(t, "reader", o);
	struct zspage *host = obj_host(o);
	unsigned long was = obj_where(o);

	run_to(reader, "link_read");
	evacuate_guests_only(t, host);
	expect_moved(test, o, was);
	expect_read(reader);
	KUNIT_EXPECT_EQ(test, atomic_read(&host->pins), 0);
	expect_end(t);
}

/* Frees the objects whose home is @zspage, and the zspage with them. */
static void free_natives(struct zst *t, struct zspage *zspage)
{
	for (unsigned int n = 1; n < t->nr; n++)
		if (obj_zspage(&t->objs[n]) == zspage)
			obj_free(t, &t->objs[n--]);
	/* Without a reader, a grace period would end here. */
	msleep(50);
}

/* The reader keeps the descriptor by RCU until it has left the round. */
static void host_is_freed_while_a_round_waits_for_a_vain_pin(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *reader = reader_of(t, "reader", o);
	struct zspage *host = obj_host(o);
	struct page *old;

	run_to(reader, "link_read");
	evacuate_guests_only(t, host);
	run_to(reader, "link_pinned");
	old = replace_first_page(t, host, MIGRATE_SYNC);
	run_to(reader, "unpin_vain");
	free_natives(t, host);
	expect_held(t, old);
	expect_read(reader);
	expect_free(t, old);
	expect_end(t);
}

/* The first object of t->half_bad is copied. After that no object can be. */
static bool copy_once(struct zspage *dest, unsigned int dest_slot,
		      struct zspage *source, unsigned int source_slot)
{
	struct zst *t = current_zst();

	if (t->copied)
		return false;
	t->copied = source == t->half_bad;
	zst_copy_slot(dest, dest_slot, source, source_slot);
	return true;
}

/* Two guests, alone in one host; returns the one that is moved first. */
static struct obj *two_guests(struct zst *t)
{
	size_t size = many_size(t->test);
	unsigned int slots = test_class(t, size)->geo.slots;
	struct zspage *host;
	struct obj *o;

	KUNIT_ASSERT_EQ(t->test, t->nr, 0);
	fill_zspage(t, size);
	sparse_zspages(t, size, 2, 2);
	while (--slots > 1)
		obj_free(t, &t->objs[slots]);
	zst_compact(t);
	sparse_zspages(t, size, 3, 2);
	host = obj_host(&t->objs[0]);
	KUNIT_ASSERT_PTR_EQ(t->test, obj_host(&t->objs[1]), host);
	for (unsigned int i = t->nr - 1; i > 1; i--)
		if (obj_host(&t->objs[i]) == host)
			obj_free(t, &t->objs[i]);
	KUNIT_ASSERT_EQ(t->test, host->nr_guests, 2);
	KUNIT_ASSERT_EQ(t->test, host->inuse, 2);
	o = &t->objs[0];
	return host->guests->owner[1] == o->handle ? o : o + 1;
}

/*
 * A guest is moved out of its host, whose evacuation then fails; another object is
 * stored in the slot and freed; and the guest is moved back to the very slot. A
 * reader that has read the link before finds it unchanged: the bytes that it reads
 * must be those of after that, see the acquire in zs_pin_forwarded().
 */
static void guest_returns_to_its_slot_before_the_pin(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = two_guests(t), *other;
	struct actor *reader = reader_of(t, "reader", o);
	struct zspage *host = obj_host(o), *refuge;
	unsigned long was = obj_where(o);
	unsigned int nr;

	run_to(reader, "link_read");
	t->half_bad = host;
	kunit_activate_static_stub(test, zs_copy_slot, copy_once);
	zs_compact(t->pool);
	kunit_deactivate_static_stub(test, zs_copy_slot);
	refuge = obj_host(o);
	KUNIT_ASSERT_PTR_NE(test, refuge, host);
	KUNIT_ASSERT_EQ(test, host->state, ZSPAGE_LIVE);

	/* No room is left but in the host, until its slot is used again. */
	do {
		other = obj_alloc(t, o->size);
	} while (obj_where(other) != was && t->nr < MAX_OBJS);
	KUNIT_ASSERT_EQ(test, obj_where(other), was);
	nr = t->nr;
	for (unsigned int slots = host->class->geo.slots / 2; host->inuse < slots;)
		obj_alloc(t, o->size);
	obj_free(t, &t->objs[nr - 1]);

	/* The refuge is the emptiest now, and the host the only one with room. */
	for (unsigned int i = t->nr - 1; i > 1; i--)
		if (obj_host(&t->objs[i]) == refuge)
			obj_free(t, &t->objs[i]);
	KUNIT_ASSERT_EQ(test, refuge->inuse, 1);
	zs_compact(t->pool);
	KUNIT_ASSERT_EQ(test, obj_where(o), was);

	run_to(reader, "link_pinned");
	expect_read(reader);
	expect_end(t);
}

/* Compaction that evacuates nothing, because nothing can be copied, but trims */
static void trim(struct zst *t, struct zspage *home)
{
	unsigned int links = bitmap_weight(zspage_bitmap(home), home->class->geo.slots);

	KUNIT_ASSERT_LE(t->test, home->nr_links, links / 2);
	kunit_activate_static_stub(t->test, zs_copy_slot, no_copy);
	KUNIT_EXPECT_EQ(t->test, zs_compact(t->pool), 0);
	kunit_deactivate_static_stub(t->test, zs_copy_slot);
	KUNIT_EXPECT_EQ(t->test, bitmap_weight(zspage_bitmap(home), home->class->geo.slots),
			home->nr_links);
	/* Without a reader, a grace period would end here. */
	msleep(50);
}

/*
 * A forwarder that can be trimmed, with so many objects left that some of its links stay
 * in far_links. They take 64 bytes at most then, and more before, so that the trim pays
 * whatever the smallest size of kmalloc() is. There is room in other zspages.
 */
static struct zspage *sparse_forwarder(struct zst *t)
{
	const size_t size = PAGE_SIZE / 64;
	struct size_class *class = test_class(t, size);
	unsigned int slots = class->geo.slots, kept = class->geo.pages + 8;
	struct zspage *home;

	KUNIT_ASSERT_EQ(t->test, t->nr, 0);
	KUNIT_ASSERT_LT(t->test, 2 * kept, slots / 2);
	fill_zspage(t, size);
	home = obj_zspage(&t->objs[0]);
	sparse_zspages(t, size, 4, 2);
	while (slots-- > 2 * kept)
		obj_free(t, &t->objs[slots]);
	KUNIT_ASSERT_GT(t->test, zst_compact(t), 0);
	KUNIT_ASSERT_EQ(t->test, home->state, ZSPAGE_FORWARDER);
	KUNIT_ASSERT_EQ(t->test, home->nr_links, 2 * kept);
	for (unsigned int i = t->nr; i--;)
		if (obj_zspage(&t->objs[i]) == home && zspage_slot(&t->objs[i]) % 2 == 0)
			obj_free(t, &t->objs[i]);
	KUNIT_ASSERT_EQ(t->test, home->nr_links, kept);
	return home;
}

/* The object of @home with the first link, or with the last one */
static struct obj *linked_by(struct zst *t, struct zspage *home, bool last)
{
	struct obj *found = NULL;

	for (unsigned int i = 0; i < t->nr; i++) {
		struct obj *o = &t->objs[i];

		if (obj_zspage(o) != home)
			continue;
		if (!found || (zspage_slot(o) > zspage_slot(found)) == last)
			found = o;
	}
	KUNIT_ASSERT_NOT_NULL(t->test, found);
	return found;
}

static const struct trim_place {
	const char *name;
	const char *point;
	bool last;
} trim_places[] = {
	{ "first link, link_ranked", "link_ranked" },
	{ "first link, link_found", "link_found" },
	{ "first link, link_read", "link_read" },
	{ "first link, link_pinned", "link_pinned" },
	{ "first link, read", "read" },
	{ "first link, open", "open" },
	{ "last link, link_ranked", "link_ranked", .last = true },
	{ "last link, link_found", "link_found", .last = true },
	{ "last link, link_read", "link_read", .last = true },
	{ "last link, link_pinned", "link_pinned", .last = true },
	{ "last link, read", "read", .last = true },
	{ "last link, open", "open", .last = true },
};

KUNIT_ARRAY_PARAM_DESC(trim_places, trim_places, name);

/* The link gets another number and another address wherever the reader is. */
static void home_is_trimmed_under_a_reader(struct kunit *test)
{
	const struct trim_place *place = test->param_value;
	struct zst *t = test->priv;
	struct zspage *home = sparse_forwarder(t);
	struct obj *o = linked_by(t, home, place->last);
	struct actor *reader = reader_of(t, "reader", o);

	run_to(reader, place->point);
	trim(t, home);
	expect_read(reader);
	expect_end(t);
}

static const struct trim_closing {
	const char *name;
	const char *point;
	bool last;
} trim_closings[] = {
	{ "first link, link_ranked", "link_ranked" },
	{ "first link, link_found", "link_found" },
	{ "last link, link_ranked", "link_ranked", .last = true },
	{ "last link, link_found", "link_found", .last = true },
};

KUNIT_ARRAY_PARAM_DESC(trim_closings, trim_closings, name);

/* The same for a reader that closes the object, and so looks for the link again */
static void home_is_trimmed_while_a_reader_closes(struct kunit *test)
{
	const struct trim_closing *place = test->param_value;
	struct zst *t = test->priv;
	struct zspage *home = sparse_forwarder(t);
	struct obj *o = linked_by(t, home, place->last);
	struct actor *reader = reader_of(t, "reader", o);
	struct zspage *host = obj_host(o);

	run_to(reader, "open");
	run_to(reader, place->point);
	trim(t, home);
	expect_read(reader);
	KUNIT_EXPECT_EQ(test, atomic_read(&host->pins), 0);
	expect_end(t);
}

/*
 * A reader has read a link. The home is trimmed, so the link has another address; the
 * object is moved to another host; and its slot is used again. The host is live again, so
 * the reader can pin it, and the link has not changed at the address that the reader knows.
 */
static void home_is_trimmed_and_guest_moves_before_the_pin(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *home = sparse_forwarder(t), *host;
	struct obj *o = linked_by(t, home, true), *other;
	struct actor *reader = reader_of(t, "reader", o);
	unsigned long was = obj_where(o);

	host = obj_host(o);
	run_to(reader, "link_read");
	trim(t, home);
	/* The host is the emptiest zspage now, and there is room for its objects. */
	sparse_zspages(t, o->size, 4, 2);
	for (unsigned int i = t->nr, natives = 1; i--;) {
		struct obj *guest = &t->objs[i];

		if (obj_host(guest) != host || obj_zspage(guest) == home)
			continue;
		if (natives && obj_zspage(guest) == host)
			natives--;
		else
			obj_free(t, guest);
	}
	evacuate_guests_only(t, host);
	o = linked_by(t, home, true);
	expect_moved(test, o, was);
	do {
		other = obj_alloc(t, o->size);
	} while (obj_where(other) != was && t->nr < MAX_OBJS);
	KUNIT_ASSERT_EQ(test, obj_where(other), was);

	run_to(reader, "link_pinned");
	expect_read(reader);
	KUNIT_EXPECT_EQ(test, atomic_read(&host->pins), 0);
	expect_end(t);
}

static const char * const evacuation_points[] = {
	"frozen", "natives_moved", "evacuated",
};

KUNIT_ARRAY_PARAM(evacuation_points, evacuation_points, name_of_param);

static void object_freed_during_evacuation(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct actor *compactor = actor(t, "compactor", compacts);
	struct actor *freer = actor(t, "freer", frees);

	run_to(compactor, param_name(test));
	give_to_free(t, freer, o);
	if (holds_lock(compactor))
		expect_waits_for(freer, compactor);
	/* The forwarder is freed with it, at once. */
	finish(freer);
	finish(compactor);
	expect_end(t);
	free_all(t);
	expect_all_freed(t);
}

static const struct guest_free {
	const char *point;
	bool freer_stops;	/* there, and not the compactor */
} guest_frees[] = {
	{ "free", .freer_stops = true },
	{ "frozen" },
	{ "guest_moved" },
	{ "natives_moved" },
	{ "evacuated" },
};

KUNIT_ARRAY_PARAM_DESC(guest_frees, guest_frees, point);

static void guest_freed_during_evacuation_of_its_host(struct kunit *test)
{
	const struct guest_free *way = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, true);
	struct actor *compactor = actor(t, "compactor", compacts);
	struct actor *freer = actor(t, "freer", frees);

	give_to_free(t, freer, o);
	if (way->freer_stops) {
		/* zs_free() has begun, and has not read the link. */
		run_to(freer, way->point);
		finish(compactor);
	} else {
		run_to(compactor, way->point);
		if (holds_lock(compactor))
			expect_waits_for(freer, compactor);
	}
	finish(freer);
	finish(compactor);
	expect_end(t);
	free_all(t);
	expect_all_freed(t);
}

/* Neither while its page is being isolated nor after that */
static void isolated_zspage_is_not_evacuated(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage = obj_zspage(lonely(t));
	struct actor *isolator = actor(t, "isolator", isolates);

	isolator->page = page_of(zspage, 0);
	run_to(isolator, "isolate");
	zst_compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	finish(isolator);
	expect_ok(isolator);
	zst_compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	putback_movable_pages(&isolator->pages);
	expect_end(t);
}

/* At no step of an evacuation, nor after it */
static void evacuated_zspage_is_not_isolated(struct kunit *test)
{
	struct zst *t = test->priv;
	struct zspage *zspage = obj_zspage(lonely(t));
	struct actor *compactor = actor(t, "compactor", compacts);
	struct page *page = page_of(zspage, 0);
	LIST_HEAD(pages);

	needs_room_at(t, "frozen");
	get_page(page);
	for (int i = 0; i < ARRAY_SIZE(evacuation_points); i++) {
		run_to(compactor, evacuation_points[i]);
		KUNIT_EXPECT_FALSE(test, isolate(page, &pages));
	}
	finish(compactor);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_FORWARDER);
	KUNIT_EXPECT_FALSE(test, isolate(page, &pages));
	put_replaced_pages(t, &page, 1);
	expect_end(t);
}

/* Nothing names it any more, but readers may have a stale link to it. */
static void evacuated_host_without_natives_is_dead(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely_guest(t, false);
	struct zspage *host = obj_host(o);
	struct actor *compactor = actor(t, "compactor", compacts);

	run_to(compactor, "evacuated");
	KUNIT_EXPECT_PTR_NE(test, obj_host(o), host);
	KUNIT_EXPECT_EQ(test, host->state, ZSPAGE_DEAD);
	finish(compactor);
	expect_end(t);
}

/*
 * What an evacuation adds is counted from here on, so a pool at its limit would be above
 * it if its former pages still counted until they are free.
 */
static void evacuated_pages_are_not_counted(struct kunit *test)
{
	struct zst *t = test->priv;
	unsigned int pages = obj_zspage(lonely(t))->class->geo.pages;
	struct actor *compactor = actor(t, "compactor", compacts);
	unsigned long before = pool_pages(t->pool);

	run_to(compactor, "evacuated");
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), before - pages);
	finish(compactor);
	expect_end(t);
}

static void compaction_skips_zspages_whose_pages_migrate(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));
	struct actor *compactor = actor(t, "compactor", compacts);
	bool locked;

	run_to(migrator, param_name(test));
	locked = holds_lock(migrator);
	if (locked)
		expect_waits_for(compactor, migrator);
	finish(compactor);
	if (!locked)
		KUNIT_EXPECT_FALSE(test, obj_is_forwarded(o));
	finish(migrator);
	expect_ok(migrator);
	expect_end(t);
}

static long pages_compacted(struct zst *t)
{
	struct zs_pool_stats stats;

	zs_pool_stats(t->pool, &stats);
	return atomic_long_read(&stats.pages_compacted);
}

/* Two compactions of one class: each page is freed, and counted, once. */
static void two_compactions_at_once(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *one = actor(t, "one", compacts);
	struct actor *two = actor(t, "two", compacts);
	unsigned long before;
	long counted;

	sparse_zspages(t, many_size(test), 6, 3);
	before = pool_pages(t->pool);
	counted = pages_compacted(t);
	run_to(one, param_name(test));
	if (holds_lock(one))
		expect_waits_for(two, one);
	finish(two);
	finish(one);
	KUNIT_EXPECT_EQ(test, one->result + two->result,
			before - pool_pages(t->pool));
	KUNIT_EXPECT_EQ(test, one->result + two->result,
			pages_compacted(t) - counted);
	KUNIT_EXPECT_GT(test, one->result, 0);
	expect_end(t);
}

/* One class is compacted while another one is. */
static void classes_are_compacted_in_parallel(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *one, *two;
	size_t size;

	/* The greater class first, as a compaction begins with the smallest. */
	size = long_size(test);
	sparse_zspages(t, size, 4, 2);
	one = actor(t, "one", compacts);
	run_to(one, "frozen");
	sparse_zspages(t, many_size_below(test, size), 4, 2);
	two = actor(t, "two", compacts);
	run_to(two, "evacuated");
	expect_waits_for(two, one);
	expect_end(t);
}

/*
 * The end of a pool
 */

/* The test has destroyed its pool. */
static void expect_pool_freed(struct zst *t)
{
	t->pool = NULL;
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(t->test, all_zspages(), t->pages_before);
}

static const struct last_move {
	const char *point;
	void (*act)(struct actor *a);
} last_moves[] = {
	{ "migrate", migrates },
	{ "migrate_copy", migrates },
	{ "migrate_publish", migrates },
	{ "migrated", migrates },
	{ "putback", puts_back },
};

KUNIT_ARRAY_PARAM_DESC(last_moves, last_moves, point);

/* The core has isolated the last page of the pool. */
static void pool_destroyed_during_migration_or_putback(struct kunit *test)
{
	const struct last_move *move = test->param_value;
	struct zst *t = test->priv;
	struct actor *mover = actor(t, "mover", move->act);
	struct actor *destroyer = actor(t, "destroyer", destroys);
	struct obj *o = obj_alloc(t, long_size(test));

	KUNIT_ASSERT_TRUE(test, isolate(page_of(obj_zspage(o), 0), &mover->pages));
	obj_free(t, o);
	run_to(mover, move->point);
	if (holds_lock(mover)) {
		expect_waits_for(destroyer, mover);
	} else {
		let_go(destroyer);
		msleep(20);
	}
	finish(mover);
	finish(destroyer);
	expect_pool_freed(t);
}

static const struct last_free {
	const char *point;
	bool frees_pool;	/* and not the last zspage */
} last_frees[] = {
	{ "deferred" },
	{ "deferred_lock" },
	{ "pool_free", .frees_pool = true },
};

KUNIT_ARRAY_PARAM_DESC(last_frees, last_frees, point);

/* The worker is about to free the last zspage of the pool, or the pool. */
static void pool_destroyed_while_the_worker_frees(struct kunit *test)
{
	const struct last_free *last = test->param_value;
	struct zst *t = test->priv;
	struct actor *destroyer = actor(t, "destroyer", destroys);
	struct actor *w = worker(t, last->point);
	struct obj *o = obj_alloc(t, long_size(test));
	struct page *page = page_of(obj_zspage(o), 0);

	get_page(page);
	lock_page(page);
	obj_free(t, o);
	unlock_page(page);
	if (last->frees_pool)
		let_go(destroyer);
	expect_stop(w);
	expect_waiting(destroyer);
	let_go(w);
	finish(destroyer);
	put_replaced_pages(t, &page, 1);
	expect_pool_freed(t);
}

static void pool_destroyed_after_the_worker_missed_a_page_lock(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *destroyer = actor(t, "destroyer", destroys);
	struct actor *w = worker(t, "deferred_again");
	struct obj *o = obj_alloc(t, long_size(test));
	struct page *page = page_of(obj_zspage(o), 0);

	get_page(page);
	lock_page(page);
	obj_free(t, o);
	expect_stop(w);
	unlock_page(page);
	expect_waiting(destroyer);
	let_go(w);
	finish(destroyer);
	/* The zspage is not left to the next try of the worker, which comes later. */
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
	put_replaced_pages(t, &page, 1);
	expect_pool_freed(t);
}

/* zs_destroy_pool() finds the last zspage in the hands of the worker. */
static void pool_put_by_the_worker_is_freed_by_the_return(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *destroyer = actor(t, "destroyer", destroys);
	struct actor *w = worker(t, "deferred_lock");
	struct obj *o = obj_alloc(t, long_size(test));
	struct page *page = page_of(obj_zspage(o), 0);

	get_page(page);
	lock_page(page);
	obj_free(t, o);
	unlock_page(page);
	expect_stop(w);
	expect_waiting(destroyer);
	/* The reference of the zspage is the last one to the pool. */
	set_stop(w, "pool_free");
	release(w);
	expect_stop(w);
	expect_waiting(destroyer);
	let_go(w);
	finish(destroyer);
	put_replaced_pages(t, &page, 1);
	expect_pool_freed(t);
}

static const struct other_end {
	const char *point;	/* where the worker stops */
	bool before_destroy;
} other_ends[] = {
	{ "deferred_lock", .before_destroy = true },
	{ "pool_free" },
};

KUNIT_ARRAY_PARAM_DESC(other_ends, other_ends, point);

/* A page of the test's pool stays locked while another pool is destroyed. */
static void locked_page_does_not_delay_other_pools(struct kunit *test)
{
	const struct other_end *end = test->param_value;
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, long_size(test));
	struct page *page = page_of(obj_zspage(o), 0), *other;
	unsigned long pages = pool_pages(t->pool), handle;
	struct actor *destroyer = actor(t, "destroyer", destroys);
	struct actor *w = worker(t, end->point);
	struct zs_pool *pool = t->pool;
	struct zspage *zspage;
	unsigned int slot;

	get_page(page);
	lock_page(page);
	obj_free(t, o);

	destroyer->t.pool = zs_create_pool("kunit-other");
	KUNIT_ASSERT_NOT_NULL(test, destroyer->t.pool);
	handle = zs_malloc(destroyer->t.pool, long_size(test), GFP_TEST, TEST_NODE);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	zspage = zs_decode_location(handle, &slot);
	other = page_of(zspage, 0);
	get_page(other);
	lock_page(other);
	zs_free(destroyer->t.pool, handle);
	unlock_page(other);
	if (!end->before_destroy)
		let_go(destroyer);
	expect_stop(w);
	let_go(w);
	finish(destroyer);
	put_replaced_pages(t, &other, 1);
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before + pages);

	KUNIT_EXPECT_EQ(test, zs_get_total_pages(pool), pages);
	unlock_page(page);
	/* No other zspage is deferred that would wake the worker. */
	for (int ms = 0; ms < 2000 && zs_get_total_pages(pool); ms += 20)
		msleep(20);
	put_replaced_pages(t, &page, 1);
	expect_all_freed(t);
}

/* The core has found a page of the last zspage of the pool. */
static void pool_destroyed_during_isolation(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *isolator = actor(t, "isolator", isolates);
	struct actor *destroyer = actor(t, "destroyer", destroys);
	struct obj *o = obj_alloc(t, long_size(test));

	isolator->page = page_of(obj_zspage(o), 0);
	run_to(isolator, "isolate");
	obj_free(t, o);
	finish(destroyer);
	KUNIT_EXPECT_GT(test, all_zspages(), t->pages_before);
	finish(isolator);
	KUNIT_EXPECT_FALSE(test, isolator->ok);
	expect_pool_freed(t);
}

/* Two tasks reclaim memory: the second one leaves the pool to the first. */
static void pool_is_packed_by_one_reclaimer_at_a_time(struct kunit *test)
{
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL, .nid = TEST_NODE, .nr_to_scan = 1000,
	};
	struct zst *t = test->priv;
	struct shrinker *shrinker = t->pool->shrinker;
	struct actor *reclaimer = actor(t, "reclaimer", reclaims);
	unsigned long before;

	sparse_zspages(t, many_size(test), 8, 4);
	run_to(reclaimer, "evacuated");
	before = pool_pages(t->pool);
	KUNIT_EXPECT_GT(test, shrinker->count_objects(shrinker, &sc), 0);
	KUNIT_EXPECT_EQ(test, shrinker->scan_objects(shrinker, &sc), SHRINK_STOP);
	KUNIT_EXPECT_EQ(test, pool_pages(t->pool), before);
	/* zs_compact() packs the pool in any case. */
	KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
	finish(reclaimer);
	expect_end(t);

	sparse_zspages(t, many_size(test), 8, 4);
	KUNIT_EXPECT_NE(test, shrinker->scan_objects(shrinker, &sc), SHRINK_STOP);
	expect_end(t);
}

/* zs_destroy_pool() waits for the shrinker. */
static void pool_destroyed_during_shrinker(struct kunit *test)
{
	struct zst *t = test->priv;
	struct actor *reclaimer = actor(t, "reclaimer", reclaims);
	struct actor *destroyer = actor(t, "destroyer", destroys);

	sparse_zspages(t, many_size(test), 4, 2);
	run_to(reclaimer, "evacuated");
	free_all(t);
	expect_waiting(destroyer);
	finish(reclaimer);
	finish(destroyer);
	expect_pool_freed(t);
}

static int race_init(struct kunit *test)
{
	int ret;

	needs_migration(test);
	ret = zst_init(test);
	if (ret)
		return ret;
	/* Not stage.cast: an actor of another test may hang. See actor(). */
	stage.nr_cast = 0;
	stage.curtain = false;
	stage.overdue = false;
	atomic_set(&stage.spinning, 0);
	WRITE_ONCE(zs_race_hook, pass);
	return 0;
}

/* The test ended early: @a still has pages, an object, or has destroyed the pool. */
static void give_back(struct zst *t, struct actor *a)
{
	putback_movable_pages(&a->pages);
	if (a->act == frees && !a->task)
		zs_free(a->t.pool, a->handle);
	if (a->act == destroys && a->task && a->t.pool == t->pool)
		t->pool = NULL;
}

static void race_exit(struct kunit *test)
{
	struct zst *t = test->priv;
	bool stuck = false;

	if (!t)
		return;
	WRITE_ONCE(stage.curtain, true);
	for (unsigned int i = 0; i < stage.nr_cast; i++)
		if (stage.cast[i].task && !stage.cast[i].done)
			stuck |= !wait_for_completion_timeout(&stage.cast[i].end,
							      PATIENCE);
	WRITE_ONCE(zs_race_hook, NULL);
	if (READ_ONCE(stage.overdue))
		KUNIT_FAIL(test, "an actor that spins was not let go in time\n");
	if (stuck) {
		KUNIT_FAIL(test, "an actor hangs; its pool is left to it\n");
		return;
	}
	for (unsigned int i = 0; i < stage.nr_cast; i++)
		give_back(t, &stage.cast[i]);
	zst_exit(test);
}

static struct kunit_case race_cases[] = {
	KUNIT_CASE_PARAM(pages_migrate_under_a_reader, reader_places_gen_params),
	KUNIT_CASE_PARAM(pages_migrate_under_a_copying_reader, copying_points_gen_params),
	KUNIT_CASE_PARAM(page_migrates_during_handle_to_nid, page_queries_gen_params),
	KUNIT_CASE_PARAM(object_moves_during_handle_to_nid, object_queries_gen_params),
	KUNIT_CASE_PARAM(readers_do_not_wait_for_migration, move_points_gen_params),
	KUNIT_CASE_PARAM(waits_for_a_lock_add_sets, lock_waits_gen_params),
	KUNIT_CASE(set_whose_lock_is_taken_is_passed_over),
	KUNIT_CASE(slots_of_locked_sets_are_used_before_reclaim),
	KUNIT_CASE_PARAM(two_pages_migrate_at_once, move_points_gen_params),
	KUNIT_CASE_PARAM(later_readers_do_not_hold_replaced_pages, pinned_points_gen_params),
	KUNIT_CASE_PARAM(round_begins_while_a_reader_unpins, round_begins_gen_params),
	KUNIT_CASE(round_waits_for_a_reader_that_counted_down),
	KUNIT_CASE_PARAM(round_ends_before_a_late_pin_is_noted, late_pins_gen_params),
	KUNIT_CASE_PARAM(two_readers_of_one_object_in_a_round, leavings_gen_params),
	KUNIT_CASE(last_reader_wakes_isolation),
	KUNIT_CASE(reader_across_two_migrations_and_compaction),
	KUNIT_CASE_PARAM(writes_are_not_lost_to_migration, writer_points_gen_params),
	KUNIT_CASE_PARAM(writer_retries_until_no_page_moved, retried_points_gen_params),
	KUNIT_CASE_PARAM(write_after_the_copy_is_repeated, halves_gen_params),
	KUNIT_CASE_PARAM(writer_waits_while_a_page_is_copied, copy_points_gen_params),
	KUNIT_CASE_PARAM(last_object_freed_while_isolation_ends, isolation_ends_gen_params),
	KUNIT_CASE_PARAM(last_object_freed_during_migration, late_move_points_gen_params),
	KUNIT_CASE(zspage_dies_during_isolation),
	KUNIT_CASE_PARAM(worker_locks_pages_during_isolation, worker_places_gen_params),
	KUNIT_CASE(dead_zspage_is_unreachable),
	KUNIT_CASE(new_zspage_is_private),
	KUNIT_CASE_PARAM(object_allocated_during_migration, move_points_gen_params),
	KUNIT_CASE_PARAM(home_becomes_a_forwarder_before_the_pin, uses_gen_params),
	KUNIT_CASE_PARAM(compaction_skips_pinned_zspages, pinned_points_gen_params),
	KUNIT_CASE_PARAM(users_wait_for_an_evacuation, uses_of_frozen_gen_params),
	KUNIT_CASE_PARAM(users_wait_for_a_failing_evacuation, uses_gen_params),
	KUNIT_CASE(other_objects_do_not_wait_for_an_evacuation),
	KUNIT_CASE_PARAM(guest_moves_on_before_the_pin, host_fates_gen_params),
	KUNIT_CASE_PARAM(guest_stays_in_a_pinned_host, host_pinned_points_gen_params),
	KUNIT_CASE(reader_of_a_guest_waits_for_the_new_link),
	KUNIT_CASE_PARAM(host_stays_until_its_reader_left_the_round, host_rounds_gen_params),
	KUNIT_CASE(partly_evacuated_host_is_freed_under_a_reader),
	KUNIT_CASE_PARAM(vain_pin_counts_in_a_round, vain_pins_gen_params),
	KUNIT_CASE(host_is_freed_while_a_round_waits_for_a_vain_pin),
	KUNIT_CASE(guest_returns_to_its_slot_before_the_pin),
	KUNIT_CASE(reader_unpins_a_host_that_its_guest_left),
	KUNIT_CASE_PARAM(home_is_trimmed_under_a_reader, trim_places_gen_params),
	KUNIT_CASE_PARAM(home_is_trimmed_while_a_reader_closes, trim_closings_gen_params),
	KUNIT_CASE(home_is_trimmed_and_guest_moves_before_the_pin),
	KUNIT_CASE_PARAM(object_freed_during_evacuation, evacuation_points_gen_params),
	KUNIT_CASE_PARAM(guest_freed_during_evacuation_of_its_host, guest_frees_gen_params),
	KUNIT_CASE(isolated_zspage_is_not_evacuated),
	KUNIT_CASE(evacuated_zspage_is_not_isolated),
	KUNIT_CASE(evacuated_host_without_natives_is_dead),
	KUNIT_CASE(evacuated_pages_are_not_counted),
	KUNIT_CASE_PARAM(compaction_skips_zspages_whose_pages_migrate, move_points_gen_params),
	KUNIT_CASE_PARAM(two_compactions_at_once, evacuation_points_gen_params),
	KUNIT_CASE(classes_are_compacted_in_parallel),
	KUNIT_CASE_PARAM(pool_destroyed_during_migration_or_putback, last_moves_gen_params),
	KUNIT_CASE_PARAM(pool_destroyed_while_the_worker_frees, last_frees_gen_params),
	KUNIT_CASE(pool_destroyed_after_the_worker_missed_a_page_lock),
	KUNIT_CASE(pool_put_by_the_worker_is_freed_by_the_return),
	KUNIT_CASE_PARAM(locked_page_does_not_delay_other_pools, other_ends_gen_params),
	KUNIT_CASE(pool_destroyed_during_isolation),
	KUNIT_CASE(pool_is_packed_by_one_reclaimer_at_a_time),
	KUNIT_CASE(pool_destroyed_during_shrinker),
	{ }
};

static struct kunit_suite race_suite = {
	.name = "zsmalloc_race",
	.init = race_init,
	.exit = race_exit,
	.test_cases = race_cases,
};

kunit_test_suite(race_suite);
