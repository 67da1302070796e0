/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The internals of zsmalloc, shared by the allocator and its tests: first handles,
 * geometry and fullness groups, with small pure functions; then the data structures,
 * with the lock that guards each field; then race points, and the functions that tests
 * may call.
 */
#ifndef _MM_ZSMALLOC_H
#define _MM_ZSMALLOC_H

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kasan.h>
#include <linux/llist.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/nodemask.h>
#include <linux/ratelimit_types.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/zsmalloc.h>

#include "zpdesc.h"

/*
 * Handles
 * =======
 *
 * A *location* is a descriptor and the number of a slot, encoded in one word:
 *
 *	(descriptor's offset in the linear map / ZSPAGE_ALIGN)
 *		<< ZS_SLOT_BITS | slot, plus ZS_HANDLE_BIAS
 *
 * A *handle* is the location where an object was allocated, and does not change while
 * the object lives. A *link* is the location where a forwarded object is now.
 *
 * On 64-bit, descriptors are aligned to 8 bytes and slots have 12 bits, which leaves
 * room for offsets of up to 55 bits. On 32-bit, descriptors are aligned to 128 bytes,
 * which leaves 7 bits for the slot: a location there is the offset of one of the first
 * 128 bytes of the descriptor, plus the bias.
 *
 * The bias keeps handles from being 0, which zram takes for "no object": offset 0 is
 * real memory on some machines. A handle cannot be an error value either. That would
 * take an offset of 55 bits on 64-bit, and on 32-bit one in the last page below 4 GB,
 * which no linear map reaches.
 *
 * On 64-bit, debug builds put a *generation* into bits of a handle that are above the
 * memory of any machine. Each slot has one, which changes when the slot becomes free: its
 * object was freed, or was a guest that was moved out, or a move to the slot failed or was
 * undone. So the handle of a freed object differs from the next handles of its slot, until
 * the slot has become free seven more times. When a forwarded object is freed, its slot in
 * the host becomes free. The generation in its home does not change, but its link becomes
 * 0. Links have no generation, because the object's handle is checked instead.
 */
#ifdef CONFIG_64BIT
#define ZSPAGE_ALIGN		8UL
#define ZS_SLOT_BITS		12
#else
#define ZSPAGE_ALIGN		128UL
#define ZS_SLOT_BITS		7
#endif
#define ZS_MAX_SLOTS		((unsigned int)BIT(ZS_SLOT_BITS))
#define ZS_HANDLE_BIAS		1UL

#if defined(CONFIG_64BIT) && defined(CONFIG_DEBUG_VM)
#define ZS_GENERATION_SHIFT	60	/* leaves 2 PB of memory */
#define ZS_GENERATIONS		8	/* bit 63 stays 0: no error value */
#define ZS_PLACE_MASK		(BIT(ZS_GENERATION_SHIFT) - 1)
#else
#define ZS_GENERATIONS		1
#define ZS_PLACE_MASK		(~0UL)
#endif

struct zspage;

/* Encode a location. For a handle, which may have a generation, see zspage_handle(). */
static inline unsigned long zs_encode_location(const struct zspage *zspage,
					       unsigned int slot)
{
	unsigned long offset;

	offset = (unsigned long)kasan_reset_tag(zspage) - PAGE_OFFSET;
	return (offset / ZSPAGE_ALIGN << ZS_SLOT_BITS | slot) + ZS_HANDLE_BIAS;
}

/* Decode a location, or a handle, of which the generation is ignored. */
static inline struct zspage *zs_decode_location(unsigned long location,
						unsigned int *slot)
{
	location = (location & ZS_PLACE_MASK) - ZS_HANDLE_BIAS;
	*slot = location & (ZS_MAX_SLOTS - 1);
	return (void *)((location >> ZS_SLOT_BITS) * ZSPAGE_ALIGN + PAGE_OFFSET);
}

/*
 * Geometry
 * ========
 *
 * Sizes are rounded up to steps of 16 bytes, for all page sizes. A step has a size class
 * of its own only if objects of its size would take over 1/ZS_SHARE_SLACK more memory in
 * slots of the next larger class. Classes are shared because each class costs memory:
 * most classes have a zspage that is not full. That costs more with larger pages, so the
 * best slack for a pool grows with the square root of the page size.
 */
#define ZS_SIZE_STEP		16U
#define ZS_MIN_SIZE		MAX(32U, (unsigned int)(PAGE_SIZE / ZS_MAX_SLOTS))
#define ZS_NR_STEPS		((PAGE_SIZE - ZS_MIN_SIZE) / ZS_SIZE_STEP + 1)
#define ZS_MAX_PAGES		CONFIG_ZSMALLOC_CHAIN_SIZE
#define ZS_FIT_SLACK		64
#define ZS_SHARE_SLACK		(128 >> (PAGE_SHIFT - 12) / 2)

/**
 * struct zs_geometry - how the zspages of one class are cut
 * @size: bytes per slot
 * @pages: pages per zspage
 * @slots: slots per zspage
 * @max_natives: evacuating a zspage does not pay if it has more natives than this; see
 *		 zs_max_natives(). Natives are the objects that the zspage's own handles
 *		 name.
 * @pay_groups: a bit for each group of partly used zspages in which no zspage has more
 *		than @max_natives objects
 */
struct zs_geometry {
	unsigned int size;
	unsigned int pages;
	unsigned int slots;
	unsigned int max_natives;
	unsigned long pay_groups;
};

/* The number of steps above the smallest size: the class index in debugfs and zram */
static inline unsigned int zs_size_step(unsigned int size)
{
	if (size <= ZS_MIN_SIZE)
		return 0;
	return DIV_ROUND_UP(size - ZS_MIN_SIZE, ZS_SIZE_STEP);
}

/*
 * Whether an object of @len bytes lies in two pages. A slot may lie in two pages although
 * the object in it is short, and lies in one.
 */
static inline bool zs_straddles(unsigned int offset, size_t len)
{
	return offset + len > PAGE_SIZE;
}

/*
 * Fullness groups. Each live zspage is on the list of its group. The groups are named
 * like the columns of debugfs: in a zspage of ZS_10 at least one slot is in use, but
 * fewer than 10 % of them are. A live zspage is in ZS_EMPTY only if its last object was
 * freed, or moved, while pages of it are isolated.
 *
 * A page is *bad* if the kernel knows that its memory is faulty. A zspage that was found
 * to have a bad page is in the group ZS_BAD, whatever its fullness, until it is freed. No
 * objects are allocated in it, moved to it or moved out of it any more.
 *
 * A zspage is *growing* as long as it has fewer pages than its geometry, see "Growing
 * zspages". Then it is in the group ZS_GROWING, whatever its fullness, unless it is bad.
 *
 * ZS_BAD and the groups after it do not depend on the slots in use.
 */
enum zs_fullness {
	ZS_EMPTY,
	ZS_10,
	ZS_99 = 10,
	ZS_FULL,
	ZS_BAD,
	ZS_GROWING,
	ZS_NR_FULLNESS,
};

/* The number of groups whose zspages have both used and free slots */
#define ZS_NR_PARTLY		(ZS_99 - ZS_10 + 1)

static inline enum zs_fullness zs_fullness(unsigned int inuse,
					   unsigned int slots)
{
	if (!inuse)
		return ZS_EMPTY;
	if (inuse == slots)
		return ZS_FULL;
	return ZS_10 + inuse * ZS_NR_PARTLY / slots;
}

/**
 * struct size_class - the zspages of one slot size in one class set of a pool
 * @geo: the geometry of the zspages; constant
 * @nid: the node on which the first page of each zspage was allocated, unless there was
 *	 no memory for the classes of that node; constant
 * @pool: the pool; constant
 * @cache: the slab cache of the descriptors; constant
 * @lock: guards slots, fullness and isolation of every zspage of the class, and the moves
 *	  of pages and objects. zs_free() takes it in atomic context: a task that holds it
 *	  must not sleep, walk a list of unbounded length or free pages. Two walks have no
 *	  fixed bound: zspage_count_need() passes over any number of bad zspages, but sets
 *	  each of them aside, so that it is met once in its life; and @searches has an
 *	  entry for each task that is compacting the class. The longest holds with a bound
 *	  are an evacuation, which copies all objects of a zspage, and
 *	  zspage_remove_guest(), which walks the guest blocks of one, at most a third as
 *	  many as it has slots. The shrinker does not take the lock to count the pages that
 *	  it can free: it reads @inuse, @slots, @groups, @nr, @vain_room and @vain_until,
 *	  which may be inconsistent.
 * @waited: how long zs_malloc() has waited for @lock, from @first_wait on, in nanoseconds
 * @inuse: slots in use; the sum of zspage->inuse
 * @slots: slots that are in use or may be used: the sum of zspage_slots() of the live
 *	   zspages, and for those of ZS_BAD of zspage->inuse
 * @groups: a bit for each list of @zspages that is not empty; derived from @nr
 * @nr_live: live zspages; the sum of @nr
 * @vain_room: free slots that were left when compaction last freed fewer pages than it
 *	       wanted, if they would do for evacuating another zspage. The shrinker
 *	       promises nothing for that many slots.
 * @vain_until: when @vain_room expires, in jiffies. Nothing tells the class when an open
 *		object is closed or a page is unlocked.
 * @nr_pages: pages of the live zspages; the sum of zspage->nr_pages
 * @nr: the number of zspages on each list of @zspages
 * @zspages: the live zspages of each fullness group, the one that was added last first
 * @forwarders: the forwarders; those that are sparse are at the end, see
 *		forwarder_is_sparse()
 * @nr_forwarders: the number of forwarders
 * @link_bytes: bytes of memory for links that have no room in their forwarder's
 *		descriptor
 * @forwarded: objects that are in another zspage than their home; the sum of nr_links of
 *	       all forwarders, and the sum of nr_guests of all other zspages
 * @guest_blocks: the number of struct zs_guest_block in which these objects are recorded
 * @nr_stale: stale pages, the sum of zspage->nr_stale
 * @nr_isolated: isolated pages, the sum of zspage->isolated
 * @searches: a struct zs_search for each compaction of the class that is under way
 * @first_wait: the beginning of the second in which @waited counts, in jiffies
 * @lost: bytes lost in slots of larger classes, see "Classes without zspages"
 */
struct size_class {
	struct zs_geometry	geo;
	int			nid;
	struct zs_pool		*pool;
	struct kmem_cache	*cache;

	/*
	 * The shrinker reads fields up to @vain_until for each class. Together with
	 * @lock they fill one cache line at most, if a spinlock_t is small: without lock
	 * debugging, and not on PREEMPT_RT.
	 */
	spinlock_t		lock ____cacheline_aligned_in_smp;

	unsigned int		waited __guarded_by(&lock);
	unsigned long		inuse __guarded_by(&lock);
	unsigned long		slots __guarded_by(&lock);
	unsigned long		groups __guarded_by(&lock);
	unsigned long		nr_live __guarded_by(&lock);
	unsigned long		vain_room __guarded_by(&lock);
	unsigned long		vain_until __guarded_by(&lock);

	unsigned long		nr_pages __guarded_by(&lock);
	unsigned long		nr[ZS_NR_FULLNESS] __guarded_by(&lock);
	struct list_head	zspages[ZS_NR_FULLNESS] __guarded_by(&lock);
	struct list_head	forwarders __guarded_by(&lock);
	unsigned long		nr_forwarders __guarded_by(&lock);
	unsigned long		link_bytes __guarded_by(&lock);
	unsigned long		forwarded __guarded_by(&lock);
	unsigned long		guest_blocks __guarded_by(&lock);
	unsigned long		nr_stale __guarded_by(&lock);
	unsigned long		nr_isolated __guarded_by(&lock);
	struct hlist_head	searches __guarded_by(&lock);
	unsigned long		first_wait __guarded_by(&lock);
	unsigned int		lost __guarded_by(&lock);
};

/*
 * The kinds of reports about a pool. All but the last one are mistakes of its user, which
 * zs_report() reports. ZS_UNREACHABLE is a descriptor outside the linear map, which
 * zspage_alloc() reports, once and without a stack trace.
 */
enum zs_mistake {
	ZS_DOUBLE_FREE,
	ZS_WRONG_LENGTH,
	ZS_USE_AFTER_FREE,
	ZS_UNREACHABLE,
};

/**
 * struct zs_pool - the objects of one user
 * @name: the name that the user gave it
 * @refs: references: one of the user, until zs_destroy_pool(), and one of each zspage,
 *	  forwarders included. A long, because a machine may have more pages than an int
 *	  can count, and each of them may be a zspage.
 * @pages: pages of all zspages. Neither stale pages nor those of an evacuated zspage are
 *	   counted.
 * @added: bytes that zs_compact() has added; the sum of class_added() of all classes
 * @most_added: the most that @added has been since it was 0; not valid while it is 0
 * @stats: see struct zs_pool_stats
 * @migrated_free: page migrations after which the replaced page was free
 * @migrated_held: page migrations after which readers still held the replaced page
 * @not_migrated: page migrations that failed
 * @not_isolated: isolations that were refused because too many pages of the zspage were
 *		  stale or isolated
 * @deferred: dead zspages that the worker has not freed yet
 * @reported: a bit for each enum zs_mistake that was reported. The first report of each
 *	      mistake of the user has a stack trace.
 * @reports: limits the rate of further reports of mistakes
 * @free_work: frees the pool, whose last reference may be dropped in atomic context
 * @shrinker: compacts the pool when memory is short; NULL if there was no memory for it
 * @shrinking: the nodes for which @shrinker is compacting the pool
 * @debugfs: its debugfs directory
 * @set_mask: the number of class sets that a node may have, minus 1; that number is a
 *	      power of two. A CPU allocates from set (its own number & @set_mask). Only
 *	      pool_add_sets() changes it, to a larger number.
 * @set_failed: when there was last no memory for a class set, in jiffies
 * @sets: the class sets, by zs_set_index(), each with its classes in ascending order of
 *	  slot size. The first set of a node is NULL if no zspage was needed on that node
 *	  yet, or if there was no memory for the set. At least one node has a first set.
 *	  Each entry is set once, by zs_add_set(), and read without a lock. The sets are
 *	  freed with the pool.
 *
 * No lock guards the pool: all counts are atomic; the bits of @reported and @shrinking are
 * set and cleared by atomic operations; @reports and @free_work need no lock of the caller.
 * The other fields, except @set_mask, @set_failed and @sets, do not change after
 * zs_create_pool().
 */
struct zs_pool {
	const char		*name;
	atomic_long_t		refs;
	atomic_long_t		pages;
	atomic_long_t		added;
	atomic_long_t		most_added;
	struct zs_pool_stats	stats;
	atomic_long_t		migrated_free;
	atomic_long_t		migrated_held;
	atomic_long_t		not_migrated;
	atomic_long_t		not_isolated;
	atomic_long_t		deferred;
	unsigned long		reported;
	struct ratelimit_state	reports;
	struct work_struct	free_work;
	struct shrinker		*shrinker;
	nodemask_t		shrinking;
	struct dentry		*debugfs;
	unsigned int		set_mask;
	unsigned long		set_failed;
	struct size_class	*sets[];
};

/*
 * When zs_malloc() has waited for a class's lock for so many nanoseconds of a second, on all
 * CPUs together, the pool should have more sets. A single wait counts as ZS_WAIT_MAX at most:
 * it may be that of a task that was preempted.
 */
#define ZS_LONG_WAIT	(10 * NSEC_PER_MSEC)
#define ZS_WAIT_MAX	(ZS_LONG_WAIT / 4)

/*
 * A pool gets more sets only if it has this many pages for each of them then. The zspages
 * of one set that are not full have some 150 free pages between them.
 */
#define ZS_SET_PAGES	4096

/* A class with fewer zspages than this is small: a new zspage begins with a single page. */
#define ZS_SMALL_CLASS	4

/* The most bytes that a class without zspages may lose in slots of larger classes */
#define ZS_MAX_LOST	(PAGE_SIZE / 2)

/*
 * A zspage records its guests in blocks, each guest by its handle, which is called its
 * owner. The owners are in no particular order. All blocks except the first are full.
 * They are guarded by class->lock.
 */
#define ZS_GUESTS_PER_BLOCK	3U

struct zs_guest_block {
	struct zs_guest_block	*next;
	unsigned long		owner[ZS_GUESTS_PER_BLOCK];
};

/*
 * The links of a forwarder for which its descriptor has no room. When a forwarder is
 * trimmed, this is replaced by a smaller one and freed after a grace period. Until then,
 * readers may find @rcu where links were. They do not use what they find, because
 * zspage->moves has changed; see forwarder_read_link().
 */
struct zs_far_links {
	union {
		struct rcu_head		rcu;
		DECLARE_FLEX_ARRAY(unsigned long, links);
	};
};

/*
 * zspage->pins is a count with flags above it. It is negative if the zspage is frozen or
 * in a round, so that a reader finds out about both by a single look at the sign.
 *
 * A zspage is frozen while zs_compact() evacuates it, and for good if that succeeds. Any
 * attempt to pin it fails then, but is added to the count. Only zs_pin_home() makes no
 * attempt if it finds that the zspage is a forwarder.
 *
 * In a round, stale pages wait for pins to be removed; see zspage_next_round().
 */
#define ZS_PIN_SLOW		INT_MIN
#define ZS_PIN_FROZEN		((int)BIT(30))
#define ZS_PIN_ROUND		((int)BIT(29))	/* alternates from round to round */
#define ZS_PIN_COUNT		(ZS_PIN_ROUND - 1)
#define ZS_FROZEN		(ZS_PIN_SLOW | ZS_PIN_FROZEN)

/**
 * enum zspage_state - the life of a zspage
 * @ZSPAGE_NEW: only the task that allocated it knows it. If a growing zspage gets its page
 *		instead, its descriptor is freed: zspage_discard().
 * @ZSPAGE_LIVE: on the list of its fullness group in class->zspages[]. Its pages may be
 *		 isolated. Objects may be allocated in it, and it may be evacuated, unless
 *		 the group is ZS_BAD.
 * @ZSPAGE_FROZEN: being evacuated, within one hold of class->lock
 * @ZSPAGE_FORWARDER: evacuated, with links to its objects in place of its pages; on
 *		      class->forwarders until the last of these objects is freed
 * @ZSPAGE_DEAD: has no objects, and is about to be freed. It has no pages any more if it
 *		 was evacuated.
 *
 *	NEW
 *	 |
 *	 | (1)
 *	 v          (2)
 *	LIVE --------------------> DEAD ---> freed (6)
 *	 |  ^                       ^
 *	 |  |                       |
 *	 | (3)                      |
 *	 v  |       (4)             |
 *	FROZEN ---------------------+
 *	 |
 *	 | (5)
 *	 v
 *	FORWARDER ---> freed with the last of its objects (7)
 *
 *	(1) zspage_malloc_first(): the first object is allocated
 *	(2) zs_free(): the last object is freed, and no page is isolated; or
 *	    zspage_end_isolation(): the last isolation ends, and no object is left
 *	(3) zspage_evacuate() begins; if it fails, the zspage becomes live again
 *	(4) zspage_evacuate() has moved all objects; all of them were guests
 *	(5) zspage_evacuate() has moved all objects; natives were among them
 *	(6) zspage_free(), called by zs_reap() or by the worker, zs_free_deferred(); after
 *	    (4) class_compact() frees the pages and calls zspage_free_descriptor()
 *	(7) zs_free(): zs_reap() calls zspage_free_descriptor()
 *
 * A live zspage or a forwarder is on the list that is named above; the others are on no
 * list of their class.
 *
 * pins is negative while the zspage is FROZEN or a FORWARDER, and while it is DEAD after
 * (4). While it is LIVE, pins is negative in a round; and around FROZEN, because
 * zspage_freeze() comes before the state is changed to it, and zspage_thaw() comes after
 * the state is changed back. If zspage_prepare_source() cannot lock all pages, it freezes
 * and thaws the zspage, which stays LIVE.
 *
 * The state is written under class->lock, except NEW. Tasks without the lock read it only
 * to find out whether the zspage is a forwarder, which it remains until it is freed; and
 * zspage_free() checks that it is DEAD.
 */
enum zspage_state {
	ZSPAGE_NEW,
	ZSPAGE_LIVE,
	ZSPAGE_FROZEN,
	ZSPAGE_FORWARDER,
	ZSPAGE_DEAD,
};

/*
 * page->zspage of a stale page has this bit. Then the allocator does not follow it, but a
 * debugger does. When the page is no longer stale, page->zspage is NULL.
 */
#define ZSPAGE_STALE		1UL

#define ZSPAGE_MAGIC		0x7a737067	/* "zspg" */
/*
 * The size of a descriptor is a multiple of this, so that few caches serve all classes.
 */
#define ZSPAGE_SIZE_STEP	MAX(16UL, ZSPAGE_ALIGN)

/**
 * struct zspage - the descriptor, which holds everything that is known about a zspage
 * @pins: how often objects of it are open, with flags; negative if it is frozen or in a
 *	  round. Users pin and unpin without a lock. Each read-modify-write of it is fully
 *	  ordered or under class->lock; see zspage_trypin() and zspage_unpin().
 * @moves: odd while a page is replaced, or while a forwarder is trimmed; changed under
 *	   class->lock. A writer that sees it change must write again, and a reader of a
 *	   link must look for it again.
 * @class: its class, and through it its pool; constant
 * @stale: stale pages: replaced, but readers may still use them; the newest first. The
 *	   oldest one has the notes of the round, see zspage_late().
 * @early: pins that the round waits for: those that existed when it began, and late ones
 *	   that could not be noted
 * @state: an enum zspage_state. A byte of its own, because it is written under
 *	   class->lock but read without it.
 * @nr_pages: the pages that it has, or had when it was evacuated: class->geo.pages unless
 *	      it is growing. It is changed under class->lock. Tasks without the lock read it
 *	      only if the zspage is dead.
 * @fullness: an enum zs_fullness: the group whose list it is on if it is ZSPAGE_LIVE
 * @isolated: pages that the migration core has isolated. If there are any, the zspage is
 *	      neither freed nor evacuated.
 * @inuse: slots in use, the weight of the bitmap; 0 in a forwarder
 * @hint: all slots below this one are in use
 * @nr_guests: objects in it that the handle of another zspage names
 * @nr_links: in a forwarder, instead: objects that its own handles name, which are all in
 *	      other zspages
 * @nr_stale: the number of pages on @stale
 * @nr_draining: how many of these the round will free, the oldest ones; 0 if there is no
 *		 round
 * @round: whether ZS_PIN_ROUND was set in the last round
 * @was_host: guests were moved out of it, so its descriptor is freed after a grace
 *	      period. It is set under class->lock, never reverts, and is read when the
 *	      zspage is dead or a forwarder without objects.
 * @guests: the record of the guests' owners
 * @far_links: in a forwarder, instead: the links that have no room in @near_links, or
 *	       NULL; see zs_link_at()
 * @list: on class->zspages[@fullness] or on class->forwarders; guarded by class->lock
 * @deferred: if it is ZSPAGE_DEAD, instead: on the list of the worker that frees it
 * @rcu: instead: frees the descriptor of a zspage that @was_host, and its links
 * @magic: ZSPAGE_MAGIC, until the descriptor is freed
 * @pages: class->geo.pages pointers to pages, of which @nr_pages are set, followed by the
 *	   bitmap of used slots. An entry is changed under class->lock and read with or
 *	   without it; see zspage_page().
 * @near_links: in a forwarder, instead: class->geo.pages links. All links are
 *		changed under class->lock and read with or without it.
 *
 * On 64-bit without debug options, the fields before @pages fill 64 bytes. A further field
 * makes most descriptors larger.
 *
 * A descriptor lives as long as any object that its handles name or that is in it. So a
 * task that owns an object may dereference the descriptor of its home, and also that of
 * its host while the object is open. A task without an object needs the lock of a page
 * whose page->zspage names the descriptor, see zs_isolate_page(); or class->lock, if the
 * zspage is on a list of the class. For the task that evacuates the zspage the lock of
 * its pages is not enough, see class_compact(). A reader that has read a link, and has not
 * yet pinned the host that it names, needs RCU, see zs_pin_forwarded().
 *
 * Invariants:
 *
 * inuse == weight of the bitmap, unless it is a forwarder
 * in a round: nr_stale, nr_draining and early are above 0, and pins is negative
 * not in a round: all three are 0, and pins is negative only if it is frozen
 * live handles that name it == inuse - nr_guests; in a forwarder, nr_links
 * class->inuse == sum of inuse
 * a class has at most one zspage in ZS_GROWING, and no slot of it is used that is not in
 *		  its pages
 * pool->pages == sum of nr_pages of all zspages that have pages; forwarders and evacuated
 *		  ones have none
 *
 * In debug builds, zspage_check() checks a zspage each time that its slots have changed.
 * Tests call zs_check_pool(), in mm/tests/zsmalloc_check.c, which checks all zspages of a
 * pool that is not in use, and the sums.
 */
struct zspage {
	atomic_t		pins;
	seqcount_spinlock_t	moves;
	struct size_class	*class;
	struct zpdesc		*stale __guarded_by(&class->lock);
	unsigned int		early __guarded_by(&class->lock);
	u8			state;
	u8			nr_pages;

	u8			fullness __guarded_by(&class->lock);
	u8			isolated __guarded_by(&class->lock);
	u16			inuse __guarded_by(&class->lock);
	u16			hint __guarded_by(&class->lock);
	/*
	 * Guarded by class->lock, too, but clang cannot find the lock from within a
	 * union.
	 */
	union {
		u16		nr_guests;
		u16		nr_links;
	};
	u8			nr_stale __guarded_by(&class->lock);
	u8			nr_draining : 6 __guarded_by(&class->lock);
	u8			round : 1 __guarded_by(&class->lock);
	u8			was_host : 1;
	union {
		struct zs_guest_block	*guests;	/* class->lock */
		struct zs_far_links	*far_links;
	};
	union {
		struct list_head	list;
		struct llist_node	deferred;
		struct rcu_head		rcu;
	};
#ifdef CONFIG_DEBUG_VM
	unsigned int		magic;
#endif
	union {
		DECLARE_FLEX_ARRAY(struct zpdesc *, pages);
		DECLARE_FLEX_ARRAY(unsigned long, near_links);
	};
};

static_assert(!(ZS_MAX_PAGES >> 6), "nr_draining has 6 bits");

#ifdef CONFIG_DEBUG_VM
static inline void zspage_set_magic(struct zspage *zspage, unsigned int magic)
{
	zspage->magic = magic;
}

static inline void zspage_check_magic(const struct zspage *zspage)
{
	WARN_ONCE(zspage->magic != ZSPAGE_MAGIC, "zsmalloc: bad handle or page, magic %#x\n",
		  zspage->magic);
}
#else
static inline void zspage_set_magic(struct zspage *zspage, unsigned int magic)
{
}

static inline void zspage_check_magic(const struct zspage *zspage)
{
}
#endif

/*
 * The notes of a round: the number of late pins for each slot. NULL if there are none,
 * or if there was no memory. Every round has a stale page, and the oldest one has the
 * pointer to the notes: it is the last one of the list, so it does not need that field
 * for a pointer to the next one.
 */
static inline u8 **zspage_late(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct zpdesc *oldest = zspage->stale;

	for (unsigned int i = 1; i < zspage->nr_stale; i++)
		oldest = oldest->next;
	return &oldest->late;
}

/*
 * The slots that lie in the pages of @zspage. Each further page has at least one more,
 * because a slot is no longer than a page, and zs_fit() chooses no more pages than it needs.
 */
static inline unsigned int zspage_slots(const struct zspage *zspage)
{
	const struct zs_geometry *geo = &zspage->class->geo;

	if (likely(zspage->nr_pages == geo->pages))
		return geo->slots;
	return PAGE_SIZE * zspage->nr_pages / geo->size;
}

static inline unsigned long *zspage_bitmap(struct zspage *zspage)
{
	return (unsigned long *)&zspage->pages[zspage->class->geo.pages];
}

#if ZS_GENERATIONS > 1
/* A generation for each slot, after the bitmap; written under class->lock */
static inline u8 *zspage_generations(struct zspage *zspage)
{
	return (u8 *)(zspage_bitmap(zspage) +
		      BITS_TO_LONGS(zspage->class->geo.slots));
}

static inline size_t zs_generations_size(unsigned int slots)
{
	return slots;
}

/*
 * A new descriptor is often at the address of the one that was freed last. Let it begin
 * with another generation, so that most of its handles differ.
 */
static inline void zspage_init_generations(struct zspage *zspage)
{
	static atomic_t first;

	memset(zspage_generations(zspage),
	       (unsigned int)atomic_inc_return(&first) % ZS_GENERATIONS,
	       zspage->class->geo.slots);
}

/* To be called when @slot becomes free */
static inline void zspage_next_generation(struct zspage *zspage, unsigned int slot)
{
	u8 *generation = &zspage_generations(zspage)[slot];

	WRITE_ONCE(*generation, (*generation + 1) % ZS_GENERATIONS);
}

/* The handle of the native in @slot, or of the next native if there is none */
static inline unsigned long zspage_handle(struct zspage *zspage, unsigned int slot)
{
	unsigned long generation = READ_ONCE(zspage_generations(zspage)[slot]);

	return zs_encode_location(zspage, slot) |
	       generation << ZS_GENERATION_SHIFT;
}
#else
static inline size_t zs_generations_size(unsigned int slots)
{
	return 0;
}

static inline void zspage_init_generations(struct zspage *zspage)
{
}

static inline void zspage_next_generation(struct zspage *zspage, unsigned int slot)
{
}

static inline unsigned long zspage_handle(struct zspage *zspage, unsigned int slot)
{
	return zs_encode_location(zspage, slot);
}
#endif

/*
 * Link number @rank of a forwarder. A forwarder's bitmap shows the slots that its
 * objects had when it was evacuated, and its links are in the order of these slots. The
 * first links, as many as pages[] had entries, are in @near, the rest is in @far. A link is 0
 * if its object was freed. Forwarders are trimmed, see forwarder_trim(): then the links
 * that are 0 go, and their slots are no longer in the bitmap.
 */
static inline unsigned long *zs_link_at(unsigned long *near, unsigned int nr_near,
					struct zs_far_links *far, unsigned int rank)
{
	return rank < nr_near ? &near[rank] : &far->links[rank - nr_near];
}

static inline unsigned long *forwarder_link_at(struct zspage *forwarder,
					       unsigned int rank)
{
	return zs_link_at(forwarder->near_links, forwarder->class->geo.pages,
			  forwarder->far_links, rank);
}

static inline size_t zspage_descriptor_size(unsigned int pages,
					    unsigned int slots)
{
	return ALIGN(offsetof(struct zspage, pages) +
		     pages * sizeof(struct zpdesc *) +
		     BITS_TO_LONGS(slots) * sizeof(unsigned long),
		     ZSPAGE_SIZE_STEP);
}

/*
 * Race points are named places between two steps of the allocator. Tests stop or delay
 * a thread there while other threads run; see mm/tests/. A kernel without such tests
 * has no code for them.
 *
 * The list gives the context of each point. Tests rely on it to decide whether a thread
 * may sleep there, because preemptible() does not tell without CONFIG_PREEMPT_COUNT.
 */
enum zs_race_context {
	ZS_RACE_SLEEPS,		/* a thread may sleep if its caller may */
	ZS_RACE_LOCKED,		/* class->lock is held */
	ZS_RACE_RCU,		/* in an RCU read-side critical section */
	ZS_RACE_MOVED_RCU,	/* RCU if the object is forwarded, otherwise SLEEPS */
};

/* A user of the list defines ZS_POINT(), which is expanded for each point. */
#define ZS_RACE_POINTS {								\
	ZS_POINT(malloc_wait, SLEEPS)		/* the lock is taken, not waiting yet */ \
	ZS_POINT(malloc_page, SLEEPS)		/* a page to grow by, in no zspage */	\
	ZS_POINT(malloc_new, SLEEPS)		/* a new zspage, on no list */		\
	ZS_POINT(free, SLEEPS)			/* zs_free() before the lock */		\
	ZS_POINT(free_dead, SLEEPS)		/* a dead zspage, not freed yet */	\
	ZS_POINT(deferred, SLEEPS)		/* the worker before the page locks */	\
	ZS_POINT(deferred_lock, SLEEPS)		/* the worker with all page locks */	\
	ZS_POINT(deferred_again, SLEEPS)	/* the worker fails to lock a page */	\
	ZS_POINT(looked_up, SLEEPS)		/* home no forwarder, not pinned */	\
	ZS_POINT(pin_late, MOVED_RCU)		/* pinned in a round, not noted */	\
	ZS_POINT(pinned, SLEEPS)		/* home pinned, so no forwarder */	\
	ZS_POINT(link_ranked, RCU)		/* number of the link known */		\
	ZS_POINT(link_found, RCU)		/* its address known, not read */	\
	ZS_POINT(link_read, RCU)		/* link read, host not pinned */	\
	ZS_POINT(link_pinned, RCU)		/* host pinned, link not reread */	\
	ZS_POINT(unpin_vain, RCU)		/* host pinned, object elsewhere */	\
	ZS_POINT(wait_thaw, SLEEPS)		/* a zspage was found frozen */		\
	ZS_POINT(read, SLEEPS)			/* pinned, page not looked up */	\
	ZS_POINT(read_half, SLEEPS)		/* first of two pages copied */		\
	ZS_POINT(unpin, SLEEPS)			/* pins not looked at */		\
	ZS_POINT(unpin_looked, SLEEPS)		/* no round seen, still pinned */	\
	ZS_POINT(unpin_early, SLEEPS)		/* unpinned in a round, no lock yet */	\
	ZS_POINT(write, SLEEPS)			/* moves read, nothing written */	\
	ZS_POINT(write_half, SLEEPS)		/* first of two pages written */	\
	ZS_POINT(written, SLEEPS)		/* written, moves not reread */		\
	ZS_POINT(isolate, SLEEPS)		/* page->zspage read, no lock yet */	\
	ZS_POINT(migrate, SLEEPS)		/* before the lock */			\
	ZS_POINT(migrate_copy, LOCKED)		/* moves is odd, nothing copied */	\
	ZS_POINT(migrate_publish, LOCKED)	/* copied, not published */		\
	ZS_POINT(migrated, SLEEPS)		/* lock dropped, old page not freed */	\
	ZS_POINT(stale_wait, SLEEPS)		/* waiting for readers of a page */	\
	ZS_POINT(putback, SLEEPS)		/* before the lock */			\
	ZS_POINT(tried, LOCKED)			/* a zspage that is passed over */	\
	ZS_POINT(searching, SLEEPS)		/* between two holds of the lock */	\
	ZS_POINT(frozen, LOCKED)		/* frozen, nothing moved */		\
	ZS_POINT(guest_moved, LOCKED)		/* guest copied, link not changed */	\
	ZS_POINT(natives_moved, LOCKED)		/* natives copied, no forwarder yet */	\
	ZS_POINT(evacuated, SLEEPS)		/* lock dropped, pages not freed */	\
	ZS_POINT(trimmed, SLEEPS)		/* after a try to trim a forwarder */	\
	ZS_POINT(destroy, SLEEPS)		/* user's reference not dropped */	\
	ZS_POINT(pool_free, SLEEPS)		/* no references, pool not freed */	\
}

/* Whether a thread may sleep at a point of @context; @moved: the object is forwarded */
static inline bool zs_race_may_sleep(enum zs_race_context context, bool moved)
{
	return context == ZS_RACE_SLEEPS ||
	       (context == ZS_RACE_MOVED_RCU && !moved);
}

#ifdef CONFIG_ZSMALLOC_RACE_POINTS
typedef void zs_race_hook_t(const char *point);
extern zs_race_hook_t *zs_race_hook;

static inline void zs_race_call(const char *point)
{
	zs_race_hook_t *hook = READ_ONCE(zs_race_hook);

	if (hook)
		hook(point);
}
#else
static inline void zs_race_call(const char *point)
{
}
#endif

/*
 * A call with a @point that is not in the list does not compile. ZS_POINT() has no comma
 * here, so the whole list is one expression, the only element of known[]: a sum of -1 for
 * the point that is named @point, and 0 for each other one.
 */
static __always_inline void zs_race(const char *point)
{
#define ZS_POINT(name, ...)	-(!__builtin_strcmp(point, #name))
	const int known[] = ZS_RACE_POINTS;
#undef ZS_POINT

	BUILD_BUG_ON_MSG(!known[0], "a race point that is not in ZS_RACE_POINTS");
	zs_race_call(point);
}

/*
 * Functions and variables of the allocator that tests use or replace. They are static
 * in a kernel without such tests. This resembles VISIBLE_IF_KUNIT, but serves the
 * torture test, too, which does not need KUnit.
 */
#if IS_ENABLED(CONFIG_ZSMALLOC_RACE_POINTS)
#define VISIBLE_IF_ZSMALLOC_TEST
extern bool zs_migration;
extern unsigned long zs_set_pages;
extern unsigned int zs_small_class;
extern struct zspage zs_no_host;
unsigned int zs_nr_classes(void);
unsigned int zs_class_number(const struct size_class *class);
struct size_class *zs_class(struct zs_pool *pool, unsigned int size, unsigned int index);
unsigned int zs_set_index(int nid, unsigned int set);
unsigned int zs_nr_sets(void);
u64 zs_clock(void);
bool zs_node_has_memory(int nid);
bool zs_node_serves(int nid, int class_nid);
const struct zs_geometry *zs_geometries(unsigned int *nr);
struct zspage *zs_alloc_descriptor(struct size_class *class, gfp_t gfp, int nid);
void zs_discard_descriptor(struct size_class *class, struct zspage *zspage);
unsigned int zs_alloc_bulk(gfp_t gfp, int nid, unsigned int nr,
			   struct zpdesc **pages);
struct zpdesc *zs_alloc_single(gfp_t gfp, int nid);
bool zs_page_is_bad(struct page *page);
bool zs_copy_bytes(struct page *to, size_t to_offset, struct page *from,
		   size_t from_offset, size_t len);
int zs_copy_page(struct zpdesc *new, struct zpdesc *old);
unsigned long zs_stale_timeout(void);
bool zs_copy_slot(struct zspage *dest, unsigned int dest_slot,
		  struct zspage *source, unsigned int source_slot);
struct zs_pool *zs_alloc_pool(size_t size);
void *zs_alloc_late(size_t size);
void *zs_alloc_supply(size_t size, gfp_t gfp);
struct size_class *zs_alloc_classes(int nid, gfp_t gfp);
struct shrinker *zs_alloc_shrinker(struct zs_pool *pool);
unsigned long zs_freeable_pages(struct zs_pool *pool, int nid);
const char *zs_check_pool(struct zs_pool *pool);
bool zs_flush_deferred(void);
struct zs_geometry zs_fit(unsigned int size, unsigned long page_size,
			  unsigned int max_pages, unsigned int max_slots);
#else
#define VISIBLE_IF_ZSMALLOC_TEST	static
#endif

/* A walk over the classes of a pool; see for_each_class() */
struct zs_walk {
	struct zs_pool		*pool;
	int			nid;
	unsigned int		set;		/* the index of the set after the current one */
	struct size_class	*next;		/* the next class of the current set */
	struct size_class	*end;		/* after the last class of that set */
};

VISIBLE_IF_ZSMALLOC_TEST bool zs_walk_set(struct zs_walk *walk);

/* The next class of a walk; NULL after the last one */
static inline struct size_class *zs_next_class(struct zs_walk *walk)
{
	if (walk->next == walk->end && !zs_walk_set(walk))
		return NULL;
	return walk->next++;
}

/*
 * Walk the classes of @pool whose zspages are compacted for node @nid, see
 * zs_node_serves(), or all classes if @nid is NUMA_NO_NODE. They come set by set, those of
 * one node together, from the smallest to the largest slot size. The caller must keep the
 * pool, which keeps its classes.
 */
#define for_each_class(class, pool, nid)				\
	for (struct zs_walk __walk = { pool, nid };			\
	     (class = zs_next_class(&__walk));)

#endif /* _MM_ZSMALLOC_H */
