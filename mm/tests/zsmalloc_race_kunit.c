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
 *	new_zspages_are_nobodys_yet
 * malloc - free: class->lock.  A dead zspage is on no list.
 *	nobody_gets_at_a_dead_zspage
 * malloc - read, write: They use different slots, and readers and writers read
 * no list and no count.
 *	users_migration_and_compaction_at_once
 * malloc - isolate: The pages of a new zspage are shown to the migration core
 * under class->lock, together with its first object.
 *	new_zspages_are_nobodys_yet
 *	emptied_while_isolated_and_used_again_stays
 * malloc - migrate: class->lock.
 *	allocating_from_a_zspage_that_moves
 * malloc - putback: class->lock, under which putback sees an object that was
 * allocated after the zspage had been emptied.
 *	emptied_while_isolated_and_used_again_stays
 * malloc - compact: class->lock.  A zspage is on no list while it is evacuated.
 *	users_migration_and_compaction_at_once
 * malloc - worker: A dead zspage is on no list.
 *	nobody_gets_at_a_dead_zspage
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
 *	a_zspage_dies_as_it_is_isolated
 * free - migrate: A zspage that is isolated when its last object is freed is
 * left to the end of the last isolation.
 *	the_last_object_goes_as_its_page_moves
 * free - putback: The same.
 *	last_isolation_ends_as_the_last_object_goes
 * free - compact: class->lock.  The home of the object tells where it is.
 * After the lock was dropped, compaction does not touch a zspage that it
 * evacuated.
 *	an_object_is_freed_as_it_moves
 *	an_object_is_freed_as_its_host_is_evacuated
 * free - worker: A zspage becomes dead once.
 *	a_locked_page_defers_freeing
 *	a_locked_page_holds_up_no_other_pool
 *
 * read - read: A round waits for early pins only, and counts them.
 *	later_readers_do_not_hold_replaced_pages
 *	a_round_ends_before_a_late_pin_is_noted
 *	two_readers_of_one_object_in_a_round
 * read - write: The user excludes readers of an object that it writes.
 * read - isolate, putback: Neither uses data that the other changes.
 *	open_objects_do_not_hinder_migration
 * read - migrate: A reader pins the zspage and then reads pages[].  Migration
 * stores to pages[] and then reads the pins.
 *	pages_move_under_a_reader
 *	pages_move_under_a_copying_reader
 *	readers_do_not_wait_for_migration
 *	a_round_begins_as_a_reader_leaves
 *	the_last_reader_wakes_migration
 *	the_node_is_asked_for_as_the_page_moves
 * read - migrate, and compact, too:
 *	held_across_two_moves_and_compaction
 *	a_round_waits_for_a_reader_that_counted_down
 * read - compact: A zspage that is pinned cannot be frozen, and one that is
 * frozen cannot be pinned.  A forwarder cannot be pinned either.
 *	compaction_leaves_pinned_zspages_alone
 *	users_wait_for_an_evacuation
 *	users_wait_for_an_evacuation_that_fails
 *	others_do_not_wait_for_an_evacuation
 *	home_becomes_a_stub_before_the_pin
 * read - compact, of a guest: The link is read before and after the host is
 * pinned, under RCU.
 *	a_guest_moves_on_before_the_pin
 *	the_node_is_asked_for_as_the_object_moves
 *	a_guest_returns_to_its_slot_before_the_pin
 *	a_vain_pin_takes_part_in_a_round
 *	a_host_is_freed_in_a_round_of_a_vain_pin
 *	a_reader_lets_go_of_a_host_that_its_guest_left
 *	a_guest_stays_once_its_host_is_pinned
 *	readers_of_a_guest_wait_until_its_link_is_set
 *	a_host_stays_until_its_reader_has_left_the_round
 *	a_host_goes_that_was_evacuated_in_part
 * read, write - worker: The object keeps its zspage from being freed.
 *
 * write - write: The user excludes other writers of an object that it writes.
 * write - isolate, putback: As read - isolate, putback.
 * write - migrate: A writer reads moves before and after it writes, and writes
 * again if they changed.
 *	writes_are_not_lost_to_a_move
 *	a_writer_may_lose_twice
 *	writes_after_the_copy_are_repeated
 *	writers_wait_for_a_copy
 * write - compact: As read - compact.
 *	home_becomes_a_stub_before_the_pin
 *	users_wait_for_an_evacuation
 *
 * isolate - isolate: class->lock.
 *	a_zspage_can_be_isolated_in_part
 * isolate - migrate: class->lock.
 *	two_pages_move_at_once
 * isolate - putback: class->lock.
 *	emptied_while_isolated_freed_by_putback
 * isolate - compact: Compaction holds the page locks of a zspage that it
 * evacuates, and does not evacuate a zspage that is isolated.
 *	evacuation_and_isolation_exclude_each_other
 * isolate - worker: The worker holds the page locks of a zspage that it frees.
 *	the_worker_locks_pages_as_they_are_isolated
 *	a_dead_zspage_is_not_isolated
 *
 * migrate - migrate: class->lock.
 *	two_pages_move_at_once
 * migrate - putback: class->lock.  The last isolation to end has the zspage
 * freed.
 *	emptied_while_isolated_freed_by_putback
 *	emptied_while_isolated_freed_by_migration
 * migrate - compact: class->lock.  An isolated zspage is not evacuated.
 *	compaction_leaves_moving_zspages_alone
 * migrate - worker: The worker does not get a page lock that the migration core
 * holds.
 *	the_last_object_goes_as_its_page_moves
 * putback - worker: The same.
 *	last_isolation_ends_as_the_last_object_goes
 * putback - putback: class->lock.
 *	emptied_while_isolated_freed_by_putback
 * putback - compact: An isolated zspage is not evacuated.
 *	isolated_zspages_are_left_alone_by_compaction
 *
 * compact - compact: class->lock, held for one zspage at a time.  A zspage that
 * leaves its list moves the searches that have stopped at it.
 *	two_compactions_at_once
 *	classes_are_compacted_in_parallel
 *	others_are_evacuated_as_some_are_searched
 * compact - compact, by memory reclaim: One task at a time packs a pool on a
 * node.
 *	reclaim_packs_a_pool_once_at_a_time
 * compact - worker: A dead zspage is on no list.
 *	nobody_gets_at_a_dead_zspage
 * worker - worker: There is one work item, which is never run twice at once.
 *
 * end - isolate: The page lock keeps the zspage, and that keeps the pool.
 *	a_pool_ends_as_its_last_page_is_isolated
 * end - migrate, putback: The isolation keeps the zspage, and that keeps the
 * pool.
 *	a_pool_ends_as_its_last_page_moves
 *	destroyed_while_isolated_freed_by_putback
 *	destroyed_while_isolated_freed_by_migration
 * end - compact, by the shrinker: shrinker_free() waits for it.
 *	a_pool_ends_as_reclaim_packs_it
 * end - worker: zs_destroy_pool() waits until the worker has looked at each
 * zspage.
 *	a_pool_ends_as_the_worker_frees
 *	a_pool_ends_as_its_last_page_is_unlocked
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

	/* What it does that with, and what came of it */
	struct obj *obj;
	struct page *page;
	struct list_head pages;
	unsigned long handle;
	unsigned long result;
	bool ok;
};

static struct actor cast[MAX_ACTORS];
static unsigned int nr_cast;
static atomic_t now;
/* Something went wrong: nobody stops any more. */
static bool curtain;
/* An actor has spun for so long that it set the curtain. */
static bool overdue;
/* Actors that spin, each on a CPU of its own */
static atomic_t spinning;

static struct actor *actor_of(struct task_struct *task)
{
	for (unsigned int i = 0; i < nr_cast; i++) {
		if (cast[i].task == task)
			return &cast[i];
		/* A worker of the allocator's, see worker(). */
		if (!cast[i].act && (task->flags & PF_WQ_WORKER))
			return &cast[i];
	}
	return NULL;
}

/* What an actor did before it stopped, or ended, is to be seen after these. */
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
 * And what the test did meanwhile, after this.  An actor that spins ends the test
 * after a while, as the director may not get a CPU to do so.
 */
static void stand(struct actor *a, const struct point *point)
{
	bool sleeps = zs_race_may_sleep(point->context, a->moved);
	bool takes_cpu = !sleeps && !preempted_at(point->context);
	unsigned long end = jiffies + PATIENCE;

	if (takes_cpu && !atomic_add_unless(&spinning, 1, spare_cpus())) {
		WRITE_ONCE(a->no_room, point->name);
		return;
	}
	/* Pairs with stands_at() */
	smp_store_release(&a->at, point->name);
	while (stands_at(a) && !READ_ONCE(curtain)) {
		unsigned long until = READ_ONCE(a->until);

		if (until && time_after(jiffies, until))
			break;
		if (sleeps) {
			usleep_range(50, 100);
			continue;
		}
		if (time_after(jiffies, end)) {
			WRITE_ONCE(overdue, true);
			WRITE_ONCE(curtain, true);
		}
		cpu_relax();
	}
	if (takes_cpu)
		atomic_dec(&spinning);
	WRITE_ONCE(a->left, atomic_inc_return(&now));
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
	WRITE_ONCE(a->ended, atomic_inc_return(&now));
	/* Pairs with has_ended() */
	smp_store_release(&a->done, true);
	complete_all(&a->end);
	return 0;
}

static struct actor *actor(struct zst *t, const char *name,
			   void (*act)(struct actor *a))
{
	struct actor *a = &cast[nr_cast];

	KUNIT_ASSERT_LT(t->test, nr_cast, MAX_ACTORS);
	memset(a, 0, sizeof(*a));
	a->t = *t;
	a->t.seed = (nr_cast + 1) << 24 | t->seed;
	a->t.want = kunit_kzalloc(t->test, PAGE_SIZE, GFP_KERNEL);
	a->t.copy = kunit_kzalloc(t->test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(t->test, a->t.want);
	KUNIT_ASSERT_NOT_NULL(t->test, a->t.copy);
	a->name = name;
	a->act = act;
	INIT_LIST_HEAD(&a->pages);
	init_completion(&a->end);
	nr_cast++;
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
	wake_up_process(task);
}

static void fail_with_scene(struct actor *who, const char *what)
{
	struct kunit *test = who->t.test;

	WRITE_ONCE(curtain, true);
	for (unsigned int i = 0; i < nr_cast; i++) {
		struct actor *a = &cast[i];

		kunit_err(test, "%s: %s%s, last came by %s\n", a->name,
			  a->done ? "done" : a->at ? "stands at " : "running",
			  a->at && !a->done ? a->at : "",
			  a->passed ?: "no point");
	}
	KUNIT_FAIL_AND_ABORT(test, "%s %s", who->name, what);
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

/* Let @a go on, from where it stands or from the start. */
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

/* @a is let go, and has to wait for somebody who stands, and can sleep there. */
static void expect_waiting(struct actor *a)
{
	let_go(a);
	msleep(20);
	KUNIT_EXPECT_FALSE_MSG(a->t.test, has_ended(a),
			       "%s did not wait", a->name);
}

/*
 * @a is let go, and has to wait until @other goes on, who holds a lock.  Spinning
 * for that may take the CPU that the test runs on: so @other goes by itself,
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

static void writes(struct actor *a)
{
	obj_write(&a->t, a->obj);
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

/* Many slots, so that fullness groups tell zspages apart; and several pages. */
static size_t many_size(struct kunit *test)
{
	const struct zs_geometry *geo;
	unsigned int nr;

	geo = zs_geometries(&nr);
	while (nr--)
		if (geo[nr].pages >= 2 && geo[nr].slots >= 12)
			return geo[nr].size;
	kunit_skip(test, "no class with 12 slots in two pages");
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

	KUNIT_ASSERT_GT(t->test, compact(t), 0);
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

/* Nobody but the test has them any more. */
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
	nr_cast = 0;
}

/*
 * Readers and page migration
 */

static const char * const reader_points[] = {
	"looked_up", "pinned", "read", "read_half", "open", "unpin",
};

/* Wherever the reader is, the page moves, and stays while it is needed. */
static void pages_migrate_under_a_reader(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);
	unsigned int pages = zspage->class->geo.pages;
	struct page *old[ZS_MAX_PAGES];

	for (int i = 0; i < ARRAY_SIZE(reader_points); i++) {
		struct actor *reader = actor(t, "reader", reads_sg);

		reader->obj = o;
		get_pages(zspage, old);
		run_to(reader, reader_points[i]);
		migrate_zspage(t, zspage);
		KUNIT_EXPECT_EQ_MSG(test, zspage->nr_stale,
				    i == 0 ? 0 : pages, "%s", reader_points[i]);
		finish(reader);
		expect_ok(reader);
		put_replaced_pages(t, old, pages);
		expect_end(t);
	}
}

static void pages_migrate_under_a_copying_reader(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);

	for (int i = 0; i < ARRAY_SIZE(reader_points); i++) {
		struct actor *reader;

		if (!strcmp(reader_points[i], "open"))
			continue;
		reader = actor(t, "reader", reads);
		reader->obj = o;
		run_to(reader, reader_points[i]);
		migrate_zspage(t, obj_zspage(o));
		finish(reader);
		expect_ok(reader);
		expect_end(t);
	}
}

static struct folio *folio_on_node(struct folio *src, unsigned long nid)
{
	return __folio_alloc_node(GFP_TEST | __GFP_THISNODE, 0, nid);
}

/* Wherever it is looked for, an object is where it is when its page is looked at. */
static void page_migrates_during_handle_to_nid(struct kunit *test)
{
	static const char * const points[] = { "looked_up", "pinned", "read", "unpin" };
	struct zst *t = test->priv;
	struct obj *o = fill_zspage(t, long_size(test));
	struct zspage *zspage = obj_zspage(o);

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct actor *asker = actor(t, "asker", asks_for_the_node);
		int old = page_to_nid(zpdesc_page(zspage->pages[0]));
		int new = next_memory_node(old);
		struct page *pages[ZS_MAX_PAGES];
		LIST_HEAD(list);

		if (new >= MAX_NUMNODES)
			new = first_memory_node;
		asker->obj = o;
		asker->result = i < 3 ? new : old;
		get_pages(zspage, pages);
		run_to(asker, points[i]);
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
}

/* A guest goes to another host as it is asked where it is. */
static void object_moves_during_handle_to_nid(struct kunit *test)
{
	static const char * const points[] = { "link_read", "link_pinned" };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct obj *o = lonely_guest(t, true);
		struct actor *asker = actor(t, "asker", asks_for_the_node);
		unsigned long was = obj_where(o);

		asker->obj = o;
		asker->result = TEST_NODE;
		run_to(asker, points[i]);
		KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
		KUNIT_EXPECT_EQ(test, obj_where(o) != was, i == 0);
		finish(asker);
		expect_ok(asker);
		expect_end(t);
		free_all(t);
	}
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

/* Wherever migration is, readers do not wait for it. */
static void readers_do_not_wait_for_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);

	for (int i = 0; i < ARRAY_SIZE(move_points); i++) {
		struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));

		run_to(migrator, move_points[i]);
		for (unsigned int n = 0; n < t->nr; n++)
			KUNIT_EXPECT_TRUE(test, obj_intact(t, &t->objs[n]));
		finish(migrator);
		expect_ok(migrator);
		expect_end(t);
	}
}

/* Two pages of one zspage move at once. */
static void two_pages_migrate_at_once(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);
	struct page *old[ZS_MAX_PAGES];

	needs_room_at(t, "migrate_copy");
	for (int i = 0; i < ARRAY_SIZE(move_points); i++) {
		struct actor *migrator, *other;

		get_pages(zspage, old);
		migrator = migrator_of(t, page_of(zspage, 0));
		other = migrator_of(t, page_of(zspage, 1));
		run_to(migrator, move_points[i]);
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
}

/*
 * Rounds: a replaced page waits for the readers that were there
 */

/* Replaces the first page, and returns the old one, with a reference. */
static struct page *replace_page(struct zst *t, struct zspage *zspage)
{
	struct page *old = page_of(zspage, 0);
	LIST_HEAD(pages);

	get_page(old);
	KUNIT_ASSERT_TRUE(t->test, isolate(old, &pages));
	KUNIT_EXPECT_EQ(t->test, migrate(&pages), 0);
	return old;
}

static void expect_free(struct zst *t, struct page *page)
{
	put_replaced_pages(t, &page, 1);
}

static void expect_held(struct zst *t, struct page *page)
{
	KUNIT_EXPECT_EQ(t->test, page_ref_count(page), 2);
}

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

/* A later reader is there when the early one goes: it holds nothing back. */
static void later_readers_do_not_hold_replaced_pages(struct kunit *test)
{
	static const char * const points[] = {
		"pinned", "read", "open", "unpin", "unpin_looked",
	};
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);

	for (int i = 0; i < ARRAY_SIZE(points) - 1; i++) {
		struct actor *early = reader_of(t, "early", o);
		struct actor *late = reader_of(t, "late", o - 1);
		struct page *old, *newer;

		run_to(early, "open");
		old = replace_page(t, zspage);
		run_to(late, points[i]);
		expect_held(t, old);
		expect_read(early);
		expect_free(t, old);
		/* Now it is the early one. */
		newer = replace_page(t, zspage);
		expect_held(t, newer);
		expect_read(late);
		expect_free(t, newer);
		expect_end(t);
	}
}

/* The round begins while a reader closes its object, at each step of that. */
static void round_begins_while_a_reader_unpins(struct kunit *test)
{
	static const char * const points[] = { "unpin", "unpin_looked" };
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);

	for (int i = 0; i < 2 * ARRAY_SIZE(points); i++) {
		struct actor *early = reader_of(t, "early", o);
		struct actor *late = reader_of(t, "late", o - 1);
		struct page *old;

		run_to(early, points[i / 2]);
		old = replace_page(t, zspage);
		expect_held(t, old);
		if (i % 2)
			run_to(late, "open");
		expect_read(early);
		expect_free(t, old);
		if (i % 2)
			expect_read(late);
		expect_end(t);
	}
}

/*
 * A reader has counted down in a round that began just before.  The round waits
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
	old = replace_page(t, zspage);
	run_to(reader, "unpin_early");
	newer = replace_page(t, zspage);
	expect_held(t, old);
	expect_held(t, newer);
	compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	expect_read(reader);
	expect_free(t, old);
	expect_free(t, newer);
	expect_end(t);
}

/*
 * A reader has pinned in a round and is not noted yet: the round goes on, or has
 * ended, or the next one has begun, for which it is early.
 */
static void round_ends_before_a_late_pin_is_noted(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);

	for (int rounds = 0; rounds < 3; rounds++) {
		struct actor *early = reader_of(t, "early", o);
		struct actor *late = reader_of(t, "late", o - 1);
		struct page *old, *newer = NULL;

		run_to(early, "open");
		old = replace_page(t, zspage);
		run_to(late, "pin_late");
		if (rounds == 2)
			newer = replace_page(t, zspage);
		if (rounds) {
			expect_read(early);
			expect_free(t, old);
		}
		run_to(late, "open");
		KUNIT_EXPECT_EQ(test, zspage->early, rounds != 1);
		KUNIT_EXPECT_EQ(test, !zspage->nr_stale || !*zspage_late(zspage),
				rounds != 0);
		if (!rounds) {
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
}

/* Pins have no names: which of two readers of one object has gone is not known. */
static void two_readers_of_one_object_in_a_round(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);

	for (int late_first = 0; late_first < 2; late_first++) {
		struct actor *early = reader_of(t, "early", o);
		struct actor *late = reader_of(t, "late", o);
		struct page *old;

		run_to(early, "open");
		old = replace_page(t, zspage);
		run_to(late, "open");
		expect_read(late_first ? late : early);
		expect_held(t, old);
		expect_read(late_first ? early : late);
		expect_free(t, old);
		expect_end(t);
	}
}

static unsigned long long_timeout(void)
{
	return PATIENCE / 2;
}

static void migrates_patiently(struct actor *a)
{
	/* KUnit's static stubs are those of this thread's test. */
	current->kunit_test = a->t.test;
	migrates(a);
	current->kunit_test = NULL;
}

/* Migration that waits for a reader goes on when that closes its object. */
static void last_reader_wakes_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct actor *migrator = actor(t, "migrator", migrates_patiently);
	struct actor *reader = reader_of(t, "reader", o);
	struct page *page = page_of(obj_zspage(o), 0);
	unsigned long start;

	kunit_activate_static_stub(test, zs_stale_timeout, long_timeout);
	KUNIT_ASSERT_TRUE(test, isolate(page, &migrator->pages));
	run_to(reader, "open");
	run_to(migrator, "stale_wait");
	expect_waiting(migrator);
	start = jiffies;
	finish(reader);
	finish(migrator);
	KUNIT_EXPECT_LT(test, jiffies - start, PATIENCE / 4);
	kunit_deactivate_static_stub(test, zs_stale_timeout);
	expect_ok(reader);
	expect_ok(migrator);
	expect_end(t);
}

/* One page moves twice, and compaction tries its luck, under one reader. */
static void reader_across_two_migrations_and_compaction(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct zspage *zspage = obj_zspage(o);
	struct actor *reader = actor(t, "reader", reads_sg);
	struct page *old[2];
	LIST_HEAD(pages);

	reader->obj = o;
	run_to(reader, "open");
	for (int i = 0; i < 2; i++) {
		old[i] = page_of(zspage, 0);
		get_page(old[i]);
		KUNIT_ASSERT_TRUE(test, isolate(old[i], &pages));
		KUNIT_EXPECT_EQ(test, migrate(&pages), 0);
	}
	KUNIT_EXPECT_EQ(test, zspage->nr_stale, 2);
	compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	KUNIT_EXPECT_EQ(test, page_ref_count(old[0]), 2);
	finish(reader);
	expect_ok(reader);
	put_replaced_pages(t, old, 2);
	expect_end(t);
}

/*
 * Writers and page migration
 */

static const char * const writer_points[] = {
	"looked_up", "pinned", "write", "write_half", "written", "unpin",
};

static void writes_are_not_lost_to_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);

	for (int i = 0; i < ARRAY_SIZE(writer_points); i++) {
		struct actor *writer = actor(t, "writer", writes);

		writer->obj = o;
		run_to(writer, writer_points[i]);
		migrate_zspage(t, obj_zspage(o));
		finish(writer);
		expect_end(t);
	}
}

/* A writer that loses goes on until it has won. */
static void writer_retries_until_no_page_moved(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	struct zspage *zspage = obj_zspage(o);

	for (int i = 2; i < 5; i++) {
		struct actor *writer = actor(t, "writer", writes);
		LIST_HEAD(pages);

		writer->obj = o;
		for (int loses = 0; loses < 2; loses++) {
			run_to(writer, writer_points[i]);
			KUNIT_ASSERT_TRUE(test, isolate(page_of(zspage, 0), &pages));
			KUNIT_EXPECT_EQ(test, migrate(&pages), 0);
		}
		run_to(writer, writer_points[i]);
		finish(writer);
		expect_end(t);
	}
}

/* The writer has seen no move, then the page is copied, then it writes. */
static void write_after_the_copy_is_repeated(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);
	unsigned int slot, index;

	for (unsigned int half = 0; half < 2; half++) {
		struct actor *writer = actor(t, "writer", writes);
		struct actor *migrator;

		zs_decode_location(o->handle, &slot);
		index = slot * o->size / PAGE_SIZE + half;
		migrator = migrator_of(t, page_of(obj_zspage(o), index));
		writer->obj = o;
		run_to(writer, half ? "write_half" : "write");
		run_to(migrator, "migrate_publish");
		run_to(writer, "written");
		finish(migrator);
		expect_ok(migrator);
		finish(writer);
		expect_end(t);
	}
}

/* A writer that comes while the page is copied waits for the end of that. */
static void writer_waits_while_a_page_is_copied(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = straddler(t);

	for (int i = 1; i < 3; i++) {
		struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));
		struct actor *writer = actor(t, "writer", writes);

		writer->obj = o;
		run_to(migrator, move_points[i]);
		expect_waits_for(writer, migrator);
		expect_ok(migrator);
		expect_end(t);
	}
}

/*
 * Freeing, isolation and the worker
 */

/* Starts freeing the only object of a zspage whose first page is isolated. */
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

/* The last isolation ends as the last object is freed, whichever is first. */
static void last_object_freed_while_isolation_ends(struct kunit *test)
{
	struct zst *t = test->priv;

	for (int i = 0; i < 4; i++) {
		bool moves = i & 1, free_first = i & 2;
		struct actor *mover = actor(t, "mover", moves ? migrates : puts_back);
		struct actor *freer = free_of_the_last(t, &mover->pages);

		run_to(freer, "free");
		run_to(mover, moves ? "migrate" : "putback");
		finish(free_first ? freer : mover);
		finish(free_first ? mover : freer);
		expect_all_freed(t);
	}
}

/* The last object is freed while its page is being copied, or has just been. */
static void last_object_freed_during_migration(struct kunit *test)
{
	struct zst *t = test->priv;

	for (int i = 1; i < ARRAY_SIZE(move_points); i++) {
		struct actor *migrator = actor(t, "migrator", migrates);
		struct actor *freer = free_of_the_last(t, &migrator->pages);

		run_to(migrator, move_points[i]);
		if (holds_lock(migrator))
			expect_waits_for(freer, migrator);
		finish(freer);
		finish(migrator);
		expect_ok(migrator);
		expect_all_freed(t);
	}
}

/* The core has locked a page as its zspage dies: it must not get it. */
static void zspage_dies_during_isolation(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, long_size(test));
	struct actor *isolator = actor(t, "isolator", isolates);

	isolator->page = page_of(obj_zspage(o), 1);
	run_to(isolator, "isolate");
	obj_free(t, o);
	/* The worker does not get the page lock that the isolator has. */
	msleep(20);
	KUNIT_EXPECT_GT(test, pool_pages(t->pool), 0);
	finish(isolator);
	KUNIT_EXPECT_FALSE(test, isolator->ok);
	expect_all_freed(t);
}

/* The worker locks pages as the core tries to isolate them. */
static void worker_locks_pages_during_isolation(struct kunit *test)
{
	static const char * const points[] = { "deferred", "deferred_lock" };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct obj *o = obj_alloc(t, long_size(test));
		struct zspage *zspage = obj_zspage(o);
		struct actor *w = worker(t, points[i]);
		unsigned int nr = zspage->class->geo.pages;
		struct page *pages[ZS_MAX_PAGES];
		LIST_HEAD(list);

		get_pages(zspage, pages);
		lock_page(pages[0]);
		obj_free(t, o);
		if (i)
			unlock_page(pages[0]);
		expect_stop(w);
		if (!i)
			unlock_page(pages[0]);
		KUNIT_EXPECT_EQ(test, isolate_zspage(zspage, &list), 0);
		let_go(w);
		zs_flush_deferred();
		/* Too late, the other way round */
		for (unsigned int n = 0; n < nr; n++)
			KUNIT_EXPECT_FALSE(test, isolate(pages[n], &list));
		put_replaced_pages(t, pages, nr);
		expect_all_freed(t);
	}
}

/* A dead zspage is nobody's: not malloc's, nor the core's, nor zs_compact()'s. */
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

/* Two that found no room get a zspage each, and nobody else gets at a new one. */
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
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL((void *)allocator->handle));
	o = &t->objs[t->nr++];
	*o = (struct obj){ .handle = allocator->handle, .size = size };
	obj_write(t, o);
	KUNIT_EXPECT_PTR_NE(test, obj_zspage(o), obj_zspage(&t->objs[0]));
	expect_end(t);
}

/* An object is allocated in a zspage one of whose pages is just moving. */
static void object_allocated_during_migration(struct kunit *test)
{
	struct zst *t = test->priv;
	size_t size = long_size(test);
	struct obj *o = obj_alloc(t, size);

	for (int i = 0; i < ARRAY_SIZE(move_points); i++) {
		struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));
		struct actor *allocator = actor(t, "allocator", allocates);
		struct obj *new;

		allocator->result = size;
		run_to(migrator, move_points[i]);
		if (holds_lock(migrator))
			expect_waits_for(allocator, migrator);
		finish(allocator);
		finish(migrator);
		new = &t->objs[t->nr++];
		*new = (struct obj){ .handle = allocator->handle, .size = size };
		KUNIT_EXPECT_PTR_EQ(test, obj_zspage(new), obj_zspage(o));
		obj_write(t, new);
		expect_end(t);
		obj_free(t, new);
	}
}

/*
 * Compaction
 */

static void expect_moved(struct kunit *test, const struct obj *o,
			 unsigned long was)
{
	KUNIT_EXPECT_NE(test, obj_where(o), was);
}

/* Between the look at home and the pin, home becomes a forwarder. */
static void home_becomes_a_forwarder_before_the_pin(struct kunit *test)
{
	static void (* const acts[])(struct actor *a) = { reads, reads_sg, writes };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(acts); i++) {
		struct obj *o = lonely(t);
		struct actor *user = actor(t, "user", acts[i]);

		user->obj = o;
		run_to(user, "looked_up");
		KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
		KUNIT_EXPECT_TRUE(test, obj_is_forwarded(o));
		run_to(user, "link_read");
		finish(user);
		if (acts[i] != writes)
			expect_ok(user);
		expect_end(t);
		free_all(t);
	}
}

/* Once pinned, an object stays where it is. */
static void compaction_skips_pinned_zspages(struct kunit *test)
{
	static const char * const points[] = { "pinned", "read", "open", "unpin" };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct obj *o = lonely(t);
		struct actor *reader = actor(t, "reader", reads_sg);

		reader->obj = o;
		run_to(reader, points[i]);
		KUNIT_EXPECT_GT(test, compact(t), 0);
		KUNIT_EXPECT_FALSE(test, obj_is_forwarded(o));
		finish(reader);
		expect_ok(reader);
		expect_end(t);
		free_all(t);
	}
}

static const char * const evacuation_points[] = { "frozen", "natives_moved" };

/* Who comes while its zspage is frozen waits, and finds the object moved. */
static void users_wait_for_an_evacuation(struct kunit *test)
{
	static void (* const acts[])(struct actor *a) = { reads, reads_sg, writes };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(acts) * 2; i++) {
		struct obj *o = lonely(t);
		struct actor *compactor = actor(t, "compactor", compacts);
		struct actor *user = actor(t, "user", acts[i / 2]);

		user->obj = o;
		run_to(compactor, evacuation_points[i % 2]);
		run_to(user, "wait_thaw");
		expect_waits_for(user, compactor);
		KUNIT_EXPECT_TRUE(test, obj_is_forwarded(o));
		if (acts[i / 2] != writes)
			expect_ok(user);
		expect_end(t);
		free_all(t);
	}
}

/* Others of the pool do not wait, of the same class or of another. */
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

/*
 * The link is read; before its host is pinned, the object moves on, and the host
 * is freed (but for RCU), or lives on as a forwarder.
 */
static void guest_moves_on_before_the_pin(struct kunit *test)
{
	struct zst *t = test->priv;

	for (int with_native = 0; with_native < 2; with_native++) {
		struct obj *o = lonely_guest(t, with_native);
		struct actor *reader = actor(t, "reader", reads);
		unsigned long was = obj_where(o);

		reader->obj = o;
		run_to(reader, "link_read");
		KUNIT_EXPECT_GT(test, compact(t), 0);
		expect_moved(test, o, was);
		/* Were it not for the reader, a grace period would end here. */
		msleep(50);
		run_to(reader, "link_pinned");
		finish(reader);
		expect_ok(reader);
		expect_end(t);
		free_all(t);
	}
}

/* The host is pinned: the guest stays, whether the reader knows it or not. */
static void guest_stays_in_a_pinned_host(struct kunit *test)
{
	static const char * const points[] = { "link_pinned", "read", "open", "unpin" };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct obj *o = lonely_guest(t, true);
		struct actor *reader = actor(t, "reader", reads_sg);
		unsigned long was = obj_where(o);

		reader->obj = o;
		run_to(reader, points[i]);
		KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
		KUNIT_EXPECT_EQ(test, obj_where(o), was);
		finish(reader);
		expect_ok(reader);
		expect_end(t);
		free_all(t);
	}
}

/* Copied, but the link still says where it was: that is frozen. */
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
	/* From here on it is found, while the evacuation goes on. */
	run_to(compactor, "natives_moved");
	expect_moved(test, o, was);
	KUNIT_EXPECT_TRUE(test, obj_intact(t, o));
	expect_waits_for(reader, compactor);
	expect_ok(reader);
	expect_end(t);
}

/* A reader of a guest leaves a round in its host, which stays until then. */
static void host_stays_until_its_reader_left_the_round(struct kunit *test)
{
	static const char * const points[][2] = {
		{ "open", "unpin" },
		{ "read", "open" },
		{ "unpin_looked", "unpin_early" },
	};
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct obj *o = lonely_guest(t, false);
		struct actor *reader = reader_of(t, "reader", o);
		unsigned long was = obj_where(o);
		struct page *old;

		run_to(reader, points[i][0]);
		old = replace_page(t, obj_host(o));
		run_to(reader, points[i][1]);
		compact(t);
		KUNIT_EXPECT_EQ(test, obj_where(o), was);
		expect_held(t, old);
		expect_read(reader);
		expect_free(t, old);
		expect_end(t);
		free_all(t);
	}
}

/* Of its objects, guests are copied and natives can't be. */
static struct zspage *half_bad;

static bool copy_but_bad_ones(struct zspage *dest, unsigned int dest_slot,
			      struct zspage *source, unsigned int source_slot)
{
	if (source == half_bad && !source->nr_guests)
		return false;
	copy_bytes(dest, dest_slot, source, source_slot);
	return true;
}

static void fails_to_compact(struct actor *a)
{
	/* KUnit's static stubs are those of this thread's test. */
	current->kunit_test = a->t.test;
	compacts(a);
	current->kunit_test = NULL;
}

/* Who waited finds its object where it was, and has left no pin. */
static void users_wait_for_a_failing_evacuation(struct kunit *test)
{
	static void (* const acts[])(struct actor *a) = { reads, reads_sg, writes };
	struct zst *t = test->priv;

	kunit_activate_static_stub(test, zs_copy_slot, copy_but_bad_ones);
	for (int i = 0; i < ARRAY_SIZE(acts); i++) {
		struct obj *o = lonely(t);
		struct actor *compactor = actor(t, "compactor", fails_to_compact);
		struct actor *user = actor(t, "user", acts[i]);

		user->obj = o;
		half_bad = obj_zspage(o);
		run_to(compactor, "frozen");
		run_to(user, "wait_thaw");
		expect_waits_for(user, compactor);
		KUNIT_EXPECT_FALSE(test, obj_is_forwarded(o));
		if (acts[i] != writes)
			expect_ok(user);
		expect_end(t);
		free_all(t);
	}
	kunit_deactivate_static_stub(test, zs_copy_slot);
}

static void evacuate_guests_only(struct zst *t, struct zspage *host)
{
	half_bad = host;
	kunit_activate_static_stub(t->test, zs_copy_slot, copy_but_bad_ones);
	zs_compact(t->pool);
	kunit_deactivate_static_stub(t->test, zs_copy_slot);
	KUNIT_EXPECT_EQ(t->test, host->state, ZSPAGE_LIVE);
}

/*
 * A host whose evacuation failed half way has lost its guests, and is freed like
 * any other zspage.  A reader that has read the link of such a guest may still
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

/* A reader pins a host in vain, as its object has left: in a round, early or late. */
static void vain_pin_counts_in_a_round(struct kunit *test)
{
	struct zst *t = test->priv;

	for (int late = 0; late < 2; late++) {
		struct obj *o = lonely_guest(t, true), *native = NULL;
		struct actor *reader = reader_of(t, "reader", o);
		struct zspage *host = obj_host(o);
		struct actor *other;
		struct page *old;

		for (unsigned int n = 1; n < t->nr; n++)
			if (obj_zspage(&t->objs[n]) == host)
				native = &t->objs[n];
		KUNIT_ASSERT_NOT_NULL(test, native);
		other = reader_of(t, "other", native);
		run_to(reader, "link_read");
		evacuate_guests_only(t, host);
		if (late)
			run_to(other, "open");
		else
			run_to(reader, "link_pinned");
		old = replace_page(t, host);
		expect_held(t, old);
		if (late)
			run_to(reader, "pin_late");
		expect_read(reader);
		if (late) {
			expect_held(t, old);
			expect_read(other);
		}
		expect_free(t, old);
		expect_end(t);
		free_all(t);
	}
}

/* A host that the guest has left before the pin, but others have not, is unpinned. */
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
	/* Were it not for a reader, a grace period would end here. */
	msleep(50);
}

/*
 * A host is freed while a round waits for a vain pin: the reader keeps the
 * descriptor by RCU until it has left the round, which frees the replaced page.
 */
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
	old = replace_page(t, host);
	run_to(reader, "unpin_vain");
	free_natives(t, host);
	expect_held(t, old);
	expect_read(reader);
	expect_free(t, old);
	expect_end(t);
}

/* Of its objects the first is copied.  After that nothing can be. */
static bool copied;

static bool copy_once(struct zspage *dest, unsigned int dest_slot,
		      struct zspage *source, unsigned int source_slot)
{
	if (copied)
		return false;
	copied = source == half_bad;
	copy_bytes(dest, dest_slot, source, source_slot);
	return true;
}

/* Two guests, alone in one host; returns the one that leaves first. */
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
	compact(t);
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
 * A guest leaves its host, whose evacuation then fails, another object is stored
 * in the slot and freed, and the guest comes back to the very slot.  A reader that
 * has read the link before finds it unchanged: what it reads must be of after
 * that, see the acquire in zs_pin_forwarded().
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
	copied = false;
	half_bad = host;
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

/* An object is freed while it moves, or between the moves. */
static void object_freed_during_evacuation(struct kunit *test)
{
	static const char * const points[] = { "frozen", "natives_moved", "evacuated" };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct obj *o = lonely(t);
		struct actor *compactor = actor(t, "compactor", compacts);
		struct actor *freer = actor(t, "freer", frees);

		run_to(compactor, points[i]);
		give_to_free(t, freer, o);
		if (holds_lock(compactor))
			expect_waits_for(freer, compactor);
		/* The forwarder goes with it, at once. */
		finish(freer);
		finish(compactor);
		expect_end(t);
		free_all(t);
		expect_all_freed(t);
	}
}

/* An object is freed through its forwarder as its host is evacuated. */
static void guest_freed_during_evacuation_of_its_host(struct kunit *test)
{
	static const char * const points[] = {
		"free", "frozen", "guest_moved", "natives_moved", "evacuated",
	};
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct obj *o = lonely_guest(t, true);
		struct actor *compactor = actor(t, "compactor", compacts);
		struct actor *freer = actor(t, "freer", frees);

		give_to_free(t, freer, o);
		if (i == 0) {
			/* zs_free() has begun and knows nothing yet. */
			run_to(freer, points[i]);
			finish(compactor);
		} else {
			run_to(compactor, points[i]);
			if (holds_lock(compactor))
				expect_waits_for(freer, compactor);
		}
		finish(freer);
		finish(compactor);
		expect_end(t);
		free_all(t);
		expect_all_freed(t);
	}
}

/* The core gets no page of a zspage while it is evacuated, nor the reverse. */
static void evacuation_and_isolation_exclude_each_other(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);
	struct zspage *zspage = obj_zspage(o);
	struct actor *isolator = actor(t, "isolator", isolates);
	struct actor *compactor;
	struct page *page = page_of(zspage, 0);
	LIST_HEAD(pages);

	isolator->page = page;
	run_to(isolator, "isolate");
	compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	finish(isolator);
	expect_ok(isolator);
	compact(t);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_LIVE);
	putback_movable_pages(&isolator->pages);
	expect_end(t);
	free_all(t);

	o = lonely(t);
	zspage = obj_zspage(o);
	page = page_of(zspage, 0);
	compactor = actor(t, "compactor", compacts);
	needs_room_at(t, evacuation_points[0]);
	get_page(page);
	for (int i = 0; i < ARRAY_SIZE(evacuation_points); i++) {
		run_to(compactor, evacuation_points[i]);
		KUNIT_EXPECT_FALSE(test, isolate(page, &pages));
	}
	run_to(compactor, "evacuated");
	KUNIT_EXPECT_FALSE(test, isolate(page, &pages));
	finish(compactor);
	KUNIT_EXPECT_EQ(test, zspage->state, ZSPAGE_FORWARDER);
	KUNIT_EXPECT_FALSE(test, isolate(page, &pages));
	put_replaced_pages(t, &page, 1);
	expect_end(t);
}

/* A zspage is not evacuated while a page of it moves, at any step. */
static void compaction_skips_zspages_whose_pages_migrate(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = lonely(t);

	for (int i = 0; i < ARRAY_SIZE(move_points); i++) {
		struct actor *migrator = migrator_of(t, page_of(obj_zspage(o), 0));
		struct actor *compactor = actor(t, "compactor", compacts);
		bool locked;

		run_to(migrator, move_points[i]);
		locked = holds_lock(migrator);
		if (locked)
			expect_waits_for(compactor, migrator);
		finish(compactor);
		if (!locked)
			KUNIT_EXPECT_FALSE(test, obj_is_forwarded(o));
		finish(migrator);
		expect_ok(migrator);
		expect_end(t);
		free_all(t);
		o = lonely(t);
	}
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
	static const char * const points[] = { "frozen", "natives_moved", "evacuated" };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct actor *one = actor(t, "one", compacts);
		struct actor *two = actor(t, "two", compacts);
		unsigned long before;
		long counted;

		sparse_zspages(t, many_size(test), 6, 3);
		before = pool_pages(t->pool);
		counted = pages_compacted(t);
		run_to(one, points[i]);
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
		free_all(t);
	}
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
	KUNIT_ASSERT_LT(test, many_size(test), size);
	sparse_zspages(t, many_size(test), 4, 2);
	two = actor(t, "two", compacts);
	run_to(two, "evacuated");
	expect_waits_for(two, one);
	expect_end(t);
}

/*
 * The end of a pool
 */

static void end_pool(struct zst *t)
{
	zs_flush_deferred();
	KUNIT_EXPECT_EQ(t->test, all_zspages(), t->pages_before);
	nr_cast = 0;
	t->pool = zs_create_pool("kunit");
	KUNIT_ASSERT_NOT_NULL(t->test, t->pool);
}

/* The pool is destroyed while the core has a page of it in its hands. */
static void pool_destroyed_during_migration_or_putback(struct kunit *test)
{
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(move_points) + 1; i++) {
		bool moves = i < ARRAY_SIZE(move_points);
		struct actor *mover = actor(t, "mover", moves ? migrates : puts_back);
		struct actor *destroyer = actor(t, "destroyer", destroys);
		struct obj *o = obj_alloc(t, long_size(test));

		KUNIT_ASSERT_TRUE(test, isolate(page_of(obj_zspage(o), 0),
						&mover->pages));
		obj_free(t, o);
		run_to(mover, moves ? move_points[i] : "putback");
		if (holds_lock(mover)) {
			expect_waits_for(destroyer, mover);
		} else {
			let_go(destroyer);
			msleep(20);
		}
		finish(mover);
		finish(destroyer);
		end_pool(t);
	}
}

/* ... while the worker is about to free its last zspage, or it itself. */
static void pool_destroyed_while_the_worker_frees(struct kunit *test)
{
	static const char * const points[] = { "deferred", "deferred_lock", "pool_free" };
	struct zst *t = test->priv;

	for (int i = 0; i < ARRAY_SIZE(points); i++) {
		struct actor *destroyer = actor(t, "destroyer", destroys);
		struct actor *w = worker(t, points[i]);
		struct obj *o = obj_alloc(t, long_size(test));
		struct page *page = page_of(obj_zspage(o), 0);

		get_page(page);
		lock_page(page);
		obj_free(t, o);
		unlock_page(page);
		if (i < 2)
			expect_stop(w);
		if (i == 2) {
			let_go(destroyer);
			expect_stop(w);
		}
		expect_waiting(destroyer);
		let_go(w);
		finish(destroyer);
		put_replaced_pages(t, &page, 1);
		end_pool(t);
	}
}

/* ... while the worker has just not got a page lock. */
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
	/* It is not for the next try of the worker, which is late. */
	KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before);
	put_replaced_pages(t, &page, 1);
	end_pool(t);
}

/* One pool has a page that stays locked.  Another one is destroyed meanwhile. */
static void locked_page_does_not_delay_other_pools(struct kunit *test)
{
	struct zst *t = test->priv;
	struct obj *o = obj_alloc(t, long_size(test));
	struct page *page = page_of(obj_zspage(o), 0);
	unsigned long pages = pool_pages(t->pool), handle;
	struct zs_pool *pool = t->pool;

	get_page(page);
	lock_page(page);
	obj_free(t, o);

	for (int i = 0; i < 2; i++) {
		struct actor *destroyer = actor(t, "destroyer", destroys);
		struct actor *w = worker(t, i ? "pool_free" : "deferred_lock");
		struct zspage *zspage;
		struct page *other;
		unsigned int slot;

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
		if (!i) {
			/* Its zspage is freed, without any help. */
			expect_stop(w);
			let_go(w);
			finish(destroyer);
		} else {
			/* It goes itself. */
			let_go(destroyer);
			expect_stop(w);
			let_go(w);
			finish(destroyer);
		}
		put_replaced_pages(t, &other, 1);
		KUNIT_EXPECT_EQ(test, all_zspages(), t->pages_before + pages);
		nr_cast = 0;
	}

	KUNIT_EXPECT_EQ(test, zs_get_total_pages(pool), pages);
	unlock_page(page);
	/* No other zspage is deferred that would wake the worker. */
	for (int ms = 0; ms < 2000 && zs_get_total_pages(pool); ms += 20)
		msleep(20);
	put_replaced_pages(t, &page, 1);
	expect_all_freed(t);
}

/* The core comes across a page whose zspage goes with the pool. */
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
	end_pool(t);
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
	/* zs_compact() was asked for by name. */
	KUNIT_EXPECT_GT(test, zs_compact(t->pool), 0);
	finish(reclaimer);
	expect_end(t);

	sparse_zspages(t, many_size(test), 8, 4);
	KUNIT_EXPECT_NE(test, shrinker->scan_objects(shrinker, &sc), SHRINK_STOP);
	expect_end(t);
	free_all(t);
}

/* Reclaim packs the pool as it ends: the end waits for that. */
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
	end_pool(t);
}

static int race_init(struct kunit *test)
{
	int ret;

	needs_migration(test);
	ret = zst_init(test);
	if (ret)
		return ret;
	nr_cast = 0;
	curtain = false;
	overdue = false;
	atomic_set(&spinning, 0);
	WRITE_ONCE(zs_race_hook, pass);
	return 0;
}

/* The test ended early: this is what @a has, or was to do away with. */
static void give_back(struct actor *a)
{
	putback_movable_pages(&a->pages);
	if (a->act == frees && !a->task)
		zs_free(a->t.pool, a->handle);
}

static void race_exit(struct kunit *test)
{
	struct zst *t = test->priv;
	bool stuck = false;

	if (!t)
		return;
	WRITE_ONCE(curtain, true);
	for (unsigned int i = 0; i < nr_cast; i++)
		if (cast[i].task && !cast[i].done)
			stuck |= !wait_for_completion_timeout(&cast[i].end,
							      PATIENCE);
	WRITE_ONCE(zs_race_hook, NULL);
	if (READ_ONCE(overdue))
		KUNIT_FAIL(test, "an actor that spins was not let go in time\n");
	if (stuck) {
		KUNIT_FAIL(test, "an actor hangs; its pool is left to it\n");
		return;
	}
	for (unsigned int i = 0; i < nr_cast; i++)
		give_back(&cast[i]);
	zst_exit(test);
}

static struct kunit_case race_cases[] = {
	KUNIT_CASE(pages_migrate_under_a_reader),
	KUNIT_CASE(pages_migrate_under_a_copying_reader),
	KUNIT_CASE(page_migrates_during_handle_to_nid),
	KUNIT_CASE(object_moves_during_handle_to_nid),
	KUNIT_CASE(readers_do_not_wait_for_migration),
	KUNIT_CASE(two_pages_migrate_at_once),
	KUNIT_CASE(later_readers_do_not_hold_replaced_pages),
	KUNIT_CASE(round_begins_while_a_reader_unpins),
	KUNIT_CASE(round_waits_for_a_reader_that_counted_down),
	KUNIT_CASE(round_ends_before_a_late_pin_is_noted),
	KUNIT_CASE(two_readers_of_one_object_in_a_round),
	KUNIT_CASE(last_reader_wakes_migration),
	KUNIT_CASE(reader_across_two_migrations_and_compaction),
	KUNIT_CASE(writes_are_not_lost_to_migration),
	KUNIT_CASE(writer_retries_until_no_page_moved),
	KUNIT_CASE(write_after_the_copy_is_repeated),
	KUNIT_CASE(writer_waits_while_a_page_is_copied),
	KUNIT_CASE(last_object_freed_while_isolation_ends),
	KUNIT_CASE(last_object_freed_during_migration),
	KUNIT_CASE(zspage_dies_during_isolation),
	KUNIT_CASE(worker_locks_pages_during_isolation),
	KUNIT_CASE(dead_zspage_is_unreachable),
	KUNIT_CASE(new_zspage_is_private),
	KUNIT_CASE(object_allocated_during_migration),
	KUNIT_CASE(home_becomes_a_forwarder_before_the_pin),
	KUNIT_CASE(compaction_skips_pinned_zspages),
	KUNIT_CASE(users_wait_for_an_evacuation),
	KUNIT_CASE(users_wait_for_a_failing_evacuation),
	KUNIT_CASE(other_objects_do_not_wait_for_an_evacuation),
	KUNIT_CASE(guest_moves_on_before_the_pin),
	KUNIT_CASE(guest_stays_in_a_pinned_host),
	KUNIT_CASE(reader_of_a_guest_waits_for_the_new_link),
	KUNIT_CASE(host_stays_until_its_reader_left_the_round),
	KUNIT_CASE(partly_evacuated_host_is_freed_under_a_reader),
	KUNIT_CASE(vain_pin_counts_in_a_round),
	KUNIT_CASE(host_is_freed_while_a_round_waits_for_a_vain_pin),
	KUNIT_CASE(guest_returns_to_its_slot_before_the_pin),
	KUNIT_CASE(reader_unpins_a_host_that_its_guest_left),
	KUNIT_CASE(object_freed_during_evacuation),
	KUNIT_CASE(guest_freed_during_evacuation_of_its_host),
	KUNIT_CASE(evacuation_and_isolation_exclude_each_other),
	KUNIT_CASE(compaction_skips_zspages_whose_pages_migrate),
	KUNIT_CASE(two_compactions_at_once),
	KUNIT_CASE(classes_are_compacted_in_parallel),
	KUNIT_CASE(pool_destroyed_during_migration_or_putback),
	KUNIT_CASE(pool_destroyed_while_the_worker_frees),
	KUNIT_CASE(pool_destroyed_after_the_worker_missed_a_page_lock),
	KUNIT_CASE(locked_page_does_not_delay_other_pools),
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
