/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * zsmalloc internals, shared by the allocator and its tests.
 *
 * Small pure functions first (geometry, handles, fullness), then the data
 * with the lock that guards each field, then what the tests may call.
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
 * A handle is (descriptor, slot) and never changes while its object lives:
 *
 *	(descriptor's offset in the linear map, less its alignment bits)
 *		<< ZS_SLOT_BITS | slot, plus ZS_HANDLE_BIAS
 *
 * 64-bit: 8-byte aligned descriptors and 12 slot bits leave room for offsets
 * of up to 55 bits.  32-bit: 128-byte aligned descriptors leave 7 bits for
 * the slot, and the handle is the offset of one of the descriptor's first 128
 * bytes, plus the bias.
 *
 * The bias keeps 0 free, which zram takes for "no object"; offset 0 is real
 * memory on some machines.  Error values cannot occur either: on 64-bit they
 * would need a 55-bit offset, on 32-bit one within a page of 4 GB, where no
 * linear map gets to.
 *
 * Debug builds for 64-bit use bits that no machine's memory is large enough for: a
 * generation, that of the slot when the object was allocated.  So the handle of an
 * object that was freed is not that of the next seven objects in the same slot.
 * Links have none: they are followed only by those that have checked a handle.
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
#define ZS_GENERATION_SHIFT	60	/* memory ends at 2 PB then */
#define ZS_GENERATIONS		8	/* bit 63 stays 0: no error value */
#define ZS_PLACE_MASK		(BIT(ZS_GENERATION_SHIFT) - 1)
#else
#define ZS_GENERATIONS		1
#define ZS_PLACE_MASK		(~0UL)
#endif

struct zspage;

/* The handle without a generation; zspage_handle() has it all. */
static inline unsigned long zs_encode_location(const struct zspage *zspage,
					     unsigned int slot)
{
	unsigned long offset;

	offset = (unsigned long)kasan_reset_tag(zspage) - PAGE_OFFSET;
	return (offset / ZSPAGE_ALIGN << ZS_SLOT_BITS | slot) + ZS_HANDLE_BIAS;
}

static inline struct zspage *zs_decode_location(unsigned long handle,
					      unsigned int *slot)
{
	handle = (handle & ZS_PLACE_MASK) - ZS_HANDLE_BIAS;
	*slot = handle & (ZS_MAX_SLOTS - 1);
	return (void *)((handle >> ZS_SLOT_BITS) * ZSPAGE_ALIGN + PAGE_OFFSET);
}

/*
 * Geometry
 * ========
 *
 * Sizes are rounded up to steps of 16 bytes, on any page size.  A step has a
 * class of its own only if its objects would take more than 1/ZS_SHARE_SLACK
 * above that in slots of the next larger class: a class costs memory, too, as it
 * mostly has a zspage that is not full.  That costs more where pages are larger:
 * the slack that is best for a pool grows with the square root of the page size.
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
 * @max_natives: the most objects with handles of their own that a zspage may have
 *		 if evacuating it is to pay; see zs_max_natives()
 * @pay_groups: a bit for each fullness group that has no zspage with more objects than
 *		that
 */
struct zs_geometry {
	unsigned int size;
	unsigned int pages;
	unsigned int slots;
	unsigned int max_natives;
	unsigned long pay_groups;
};

/* Steps from the smallest size; the class index that debugfs and zram see. */
static inline unsigned int zs_size_step(unsigned int size)
{
	if (size <= ZS_MIN_SIZE)
		return 0;
	return DIV_ROUND_UP(size - ZS_MIN_SIZE, ZS_SIZE_STEP);
}

/* One object (its true length, not its slot) lies in two pages. */
static inline bool zs_straddles(unsigned int offset, size_t len)
{
	return offset + len > PAGE_SIZE;
}

/*
 * Fullness groups: a zspage is on the list of its group.  The names are the
 * columns of debugfs: ZS_10 has slots in use, but less than 10 % of them.
 *
 * A zspage that was found to have a bad page is in none of them, but in ZS_BAD.
 * Its free slots are not used any more, and it is not evacuated.  It stays there
 * until it is freed.
 */
enum zs_fullness {
	ZS_EMPTY,
	ZS_10,
	ZS_99 = 10,
	ZS_FULL,
	ZS_BAD,
	ZS_NR_FULLNESS,
};

/* Groups of zspages with slots in use and free slots */
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
 * struct size_class - all zspages of one slot size on one node, in a pool
 * @geo: their geometry; constant
 * @nid: the node that their first pages were allocated on, except where there was
 *	 no memory for classes of their node; constant
 * @pool: the pool; constant
 * @cache: where their descriptors come from; constant
 * @lock: guards slots, fullness and isolation of every zspage of the class,
 *	  and the moves of their pages.  zs_free() takes it in atomic context:
 *	  no sleeping, no unbounded walk and no freeing of pages under it.
 *	  The shrinker counts what it can free without it: it reads inuse, groups,
 *	  nr, bad_inuse, vain_room and vain_until, which need not belong together then.
 * @inuse: slots in use, the sum of zspage->inuse
 * @groups: a bit for each list of @zspages that is not empty, to find one at once
 * @bad_inuse: the part of @inuse that is in zspages of ZS_BAD
 * @vain_room: free slots that the last search could have done without, but for what was
 *	    in its way.  The shrinker promises nothing for that many.
 * @vain_until: until when @vain_room counts, in jiffies: objects are closed and pages
 *		  unlocked without notice
 * @nr: zspages on each list
 * @zspages: the zspages that have pages, by fullness; of each group the last
 *	     used first
 * @forwarders: those that have none any more
 * @nr_forwarders: how many these are
 * @link_bytes: memory that the links of forwarders take which are not in descriptors
 * @forwarded: objects that live in another zspage than the one that their
 *	       handle names; the sum of nr_links of all forwarders, and of
 *	       nr_guests of all others
 * @guest_blocks: struct zs_guest_block that note who owns them
 * @nr_stale: replaced pages that readers hold, the sum of zspage->nr_stale
 * @searches: of compactions that are under way, for zspages to evacuate
 */
struct size_class {
	struct zs_geometry	geo;
	int			nid;
	struct zs_pool		*pool;
	struct kmem_cache	*cache;

	spinlock_t		lock ____cacheline_aligned_in_smp;

	unsigned long		inuse __guarded_by(&lock);
	unsigned long		groups __guarded_by(&lock);
	/* One cache line so far: the shrinker looks at all classes. */
	unsigned long		bad_inuse __guarded_by(&lock);
	unsigned long		vain_room __guarded_by(&lock);
	unsigned long		vain_until __guarded_by(&lock);

	unsigned long		nr[ZS_NR_FULLNESS] __guarded_by(&lock);
	struct list_head	zspages[ZS_NR_FULLNESS] __guarded_by(&lock);
	struct list_head	forwarders __guarded_by(&lock);
	unsigned long		nr_forwarders __guarded_by(&lock);
	unsigned long		link_bytes __guarded_by(&lock);
	unsigned long		forwarded __guarded_by(&lock);
	unsigned long		guest_blocks __guarded_by(&lock);
	unsigned long		nr_stale __guarded_by(&lock);
	struct hlist_head	searches __guarded_by(&lock);
};

/* What is reported of a pool; see zs_report(). */
enum zs_mistake {
	ZS_DOUBLE_FREE,
	ZS_WRONG_LENGTH,
	ZS_USE_AFTER_FREE,
	ZS_UNREACHABLE,		/* not a mistake of the user */
};

/**
 * struct zs_pool - one user's objects
 * @name: the user's name for it
 * @refs: one for the user until zs_destroy_pool(), one for every zspage, forwarders
 *	  included.  Long enough for a zspage per page of any machine, which an
 *	  int is not.
 * @pages: pages in use, the sum over all zspages.  Replaced pages that an open
 *	   object holds back are not counted.
 * @added: bytes that zs_compact() has added: the sum of class_added() of all classes
 * @stats: see struct zs_pool_stats
 * @migrated_free: migrations after which the replaced page was free
 * @migrated_held: those after which readers still held it
 * @not_migrated: those that failed
 * @reported: a bit for each kind of mistake, enum zs_mistake, that was reported
 *	      with a trace
 * @reports: limits the rate of further reports
 * @free_work: frees the pool; its last reference may go in atomic context
 * @shrinker: packs objects together when memory is short; NULL if there was no
 *	      memory for it
 * @shrinking: the nodes on which @shrinker packs objects just now
 * @debugfs: its debugfs directory
 * @nodes: the classes of each node, by slot size, ascending; NULL as long as no
 *	   zspage was to be on the node.  There is one node at least that has
 *	   classes.  Set once, by zs_add_node(), read without a lock, and freed with
 *	   the pool.
 */
struct zs_pool {
	const char		*name;
	atomic_long_t		refs;
	atomic_long_t		pages;
	atomic_long_t		added;
	struct zs_pool_stats	stats;
	atomic_long_t		migrated_free;
	atomic_long_t		migrated_held;
	atomic_long_t		not_migrated;
	unsigned long		reported;
	struct ratelimit_state	reports;
	struct work_struct	free_work;
	struct shrinker		*shrinker;
	nodemask_t		shrinking;
	struct dentry		*debugfs;
	struct size_class	*nodes[];
};

/*
 * The guests of a zspage, by the handles that own them, in no order.  All blocks
 * are full but the first.
 */
#define ZS_GUESTS_PER_BLOCK	3U

struct zs_guest_block {
	struct zs_guest_block	*next;
	unsigned long		owner[ZS_GUESTS_PER_BLOCK];
};

/*
 * zspage->pins is a count, and flags above it.  It is negative if either of two
 * things holds: so pinning takes a look at the sign, and no more.
 *
 * A zspage is frozen while zs_compact() evacuates it, and from then on if it is a
 * forwarder.  No attempt to pin it succeeds then, but each is counted.
 *
 * In a round, replaced pages wait for pins; see zspage_next_round().
 */
#define ZS_PIN_SLOW		INT_MIN
#define ZS_PIN_FROZEN		((int)BIT(30))
#define ZS_PIN_ROUND		((int)BIT(29))	/* which of two rounds in turn */
#define ZS_PIN_COUNT		(ZS_PIN_ROUND - 1)
#define ZS_FROZEN		(ZS_PIN_SLOW | ZS_PIN_FROZEN)

/**
 * enum zspage_state - the life of a zspage
 * @ZSPAGE_NEW: allocated; only the task that allocated it knows of it
 * @ZSPAGE_LIVE: on the list of its fullness in class->zspages[]: it may be allocated
 *		 from, isolated, and evacuated
 * @ZSPAGE_FROZEN: being evacuated, in one hold of class->lock; on no list
 * @ZSPAGE_FORWARDER: evacuated: its pages were freed, and in their place it has links
 *		      to where its objects are now; on class->forwarders
 * @ZSPAGE_DEAD: about to be freed, on no list; no object names it
 *
 *	NEW ----> LIVE ----> DEAD
 *	          |  ^         ^
 *	          v  |         |
 *	         FROZEN -------+		it had guests only
 *	            |
 *	            v
 *	        FORWARDER			freed with its last object
 *
 * NEW ends in class_malloc(), which takes the first slot. LIVE ends in zs_free() with the
 * last object; or, if pages were isolated then, when the last isolation ends; or in
 * zspage_evacuate().
 *
 * pins is not negative if the zspage is NEW or LIVE and in no round, and is negative if it
 * is FROZEN or a FORWARDER. A zspage that is LIVE has negative pins in a round, and
 * between zspage_freeze() and zspage_evacuate(), or zspage_thaw().
 *
 * The state is written under class->lock. It is read without, too, but only to tell
 * whether the zspage is a forwarder, which it never ceases to be.
 */
enum zspage_state {
	ZSPAGE_NEW,
	ZSPAGE_LIVE,
	ZSPAGE_FROZEN,
	ZSPAGE_FORWARDER,
	ZSPAGE_DEAD,
};

#define ZSPAGE_MAGIC		0x7a737067	/* "zspg" */
/* Descriptor sizes are multiples of it, so that few caches serve all classes. */
#define ZSPAGE_SIZE_STEP	MAX(16UL, ZSPAGE_ALIGN)

/**
 * struct zspage - the descriptor: all there is to know about a zspage
 * @pins: objects held open; negative: frozen, or in a round.  No lock: users pin
 *	  and unpin.  Every read-modify-write of it is fully ordered, or under
 *	  class->lock; see zspage_trypin() and zspage_unpin().
 * @moves: odd while a page is replaced; a writer that sees it change has to
 *	   write again
 * @class: its class, and through it its pool; constant
 * @stale: replaced pages that pinned readers may still use, the newest first; and
 *	   notes of the round, see zspage_late()
 * @early: pins that this round waits for: those that were there when it began,
 *	   and late ones that could not be noted
 * @state: an enum zspage_state.  A byte of its own, as it is written under class->lock
 *	   and read without.
 * @was_host: guests were moved out of it, all or some.  Never reverts.
 * @fullness: an enum zs_fullness: which list it is on if it is ZSPAGE_LIVE
 * @isolated: pages that the migration core has isolated.  While there are any
 *	      the zspage is neither freed nor evacuated.
 * @inuse: slots in use, the weight of the bitmap; of a forwarder: 0
 * @hint: all slots below are in use
 * @nr_guests: objects that the handle of another zspage names
 * @nr_links: of a forwarder instead: objects of its own, which all live elsewhere
 * @nr_stale: replaced pages on @stale
 * @nr_draining: how many of these the round frees, the oldest; 0: there is no round
 * @round: ZS_PIN_ROUND of the last round
 * @guests: the owners of the guests
 * @far_links: of a forwarder instead: the locations of its objects, except for those in
 *	       @near_links; see zs_link_at()
 * @list: on class->zspages[@fullness], or on class->forwarders; class->lock
 * @deferred: instead, if ZSPAGE_DEAD: waits for the worker that frees it
 * @rcu: instead, frees a descriptor that @was_host, and its links
 * @magic: ZSPAGE_MAGIC
 * @pages: class->geo.pages pages, and then the bitmap of used slots.  Changed
 *	   under class->lock, read with or without; see zspage_page()
 * @near_links: of a forwarder instead of pages: the locations of its first objects
 *
 * The descriptor lives as long as any object's handle names it, so whoever
 * owns an object may dereference it freely.  Others need a page of it locked
 * (see zs_isolate_page()), or its class locked and it on a list, or, for the
 * host that a forwarder's link names, RCU.
 *
 * inuse == weight of the bitmap, unless it is a forwarder
 * nr_stale, nr_draining and early: all 0, and pins not negative unless frozen, or
 * none of them 0, and pins negative
 * handles that name it: inuse - nr_guests, or of a forwarder nr_links
 * class->inuse == sum of inuse; pool->pages == sum of geo.pages
 */
struct zspage {
	atomic_t		pins;
	seqcount_spinlock_t	moves;
	struct size_class	*class;
	struct zpdesc		*stale __guarded_by(&class->lock);
	unsigned int		early __guarded_by(&class->lock);
	u8			state;
	bool			was_host;

	u8			fullness __guarded_by(&class->lock);
	u8			isolated __guarded_by(&class->lock);
	u16			inuse __guarded_by(&class->lock);
	u16			hint __guarded_by(&class->lock);
	/* class->lock, too; but clang finds no lock for the members of a union. */
	union {
		u16		nr_guests;
		u16		nr_links;
	};
	u8			nr_stale __guarded_by(&class->lock);
	u8			nr_draining : 7 __guarded_by(&class->lock);
	u8			round : 1 __guarded_by(&class->lock);
	union {
		struct zs_guest_block	*guests;	/* class->lock */
		unsigned long		*far_links;
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
 * Notes of a round: by slot, how many pins came after its beginning; NULL if there
 * is no such pin, or no memory.  They belong to the oldest stale page, as a round
 * has one; it is the last of the list, so there is room for them.
 */
static inline u8 **zspage_late(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct zpdesc *oldest = zspage->stale;

	for (unsigned int i = 1; i < zspage->nr_stale; i++)
		oldest = oldest->next;
	return &oldest->late;
}

static inline unsigned long *zspage_bitmap(struct zspage *zspage)
{
	return (unsigned long *)&zspage->pages[zspage->class->geo.pages];
}

#if ZS_GENERATIONS > 1
/* One for each slot, after the bitmap; class->lock */
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
 * A new zspage is often where the last one was that was freed.  So that its handles
 * are others, mostly.
 */
static inline void zspage_init_generations(struct zspage *zspage)
{
	static atomic_t first;

	memset(zspage_generations(zspage),
	       (unsigned int)atomic_inc_return(&first) % ZS_GENERATIONS,
	       zspage->class->geo.slots);
}

/* The object in @slot is freed. */
static inline void zspage_next_generation(struct zspage *zspage, unsigned int slot)
{
	u8 *generation = &zspage_generations(zspage)[slot];

	WRITE_ONCE(*generation, (*generation + 1) % ZS_GENERATIONS);
}

/* The handle of the object that @slot is used for, or was last */
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
 * Link number @rank of a forwarder. The links are in the order of the slots in its
 * bitmap, which is that of the moment of evacuation: as many as it had pages are in
 * @near, the rest is in @far. They are read without a lock: nothing but the values
 * changes until the forwarder is freed. 0: the object was freed.
 */
static inline unsigned long *zs_link_at(unsigned long *near, unsigned int nr_near,
					unsigned long *far, unsigned int rank)
{
	return rank < nr_near ? &near[rank] : &far[rank - nr_near];
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
 * Race points: places between two steps where other threads may come in.  Tests
 * stop a thread there, or delay it; see mm/tests/.  Without such a test in the
 * kernel nothing is left of them.
 *
 * The list says of each point in which context it is.  A thread may sleep there
 * only by this: preemptible() does not know it without CONFIG_PREEMPT_COUNT.
 */
enum zs_race_context {
	ZS_RACE_SLEEPS,		/* a thread may sleep, unless its caller may not */
	ZS_RACE_LOCKED,		/* class->lock is held */
	ZS_RACE_RCU,		/* in an RCU read-side critical section */
	ZS_RACE_MOVED_RCU,	/* the same if the object was moved, else SLEEPS */
};

/* Users of the list define ZS_POINT(), which says what becomes of each line. */
#define ZS_RACE_POINTS {									\
	ZS_POINT(malloc_new, SLEEPS)		/* a new zspage, on no list */			\
	ZS_POINT(free, SLEEPS)			/* zs_free() before the lock */			\
	ZS_POINT(free_dead, SLEEPS)		/* a dead zspage, not freed yet */		\
	ZS_POINT(deferred, SLEEPS)		/* the worker, before the page locks */		\
	ZS_POINT(deferred_lock, SLEEPS)		/* the worker has all page locks */		\
	ZS_POINT(deferred_again, SLEEPS)	/* it does not get them, and leaves it */	\
	ZS_POINT(looked_up, SLEEPS)		/* home is no forwarder, not pinned yet */		\
	ZS_POINT(pin_late, MOVED_RCU)		/* pinned in a round, before the lock */	\
	ZS_POINT(pinned, SLEEPS)		/* home pinned, so it is no forwarder */		\
	ZS_POINT(link_read, RCU)		/* link read, host not pinned */		\
	ZS_POINT(link_pinned, RCU)		/* host pinned, link not looked at again */	\
	ZS_POINT(unpin_vain, RCU)		/* host pinned, but the object is elsewhere */	\
	ZS_POINT(wait_thaw, SLEEPS)		/* met a frozen zspage */			\
	ZS_POINT(read, SLEEPS)			/* pinned, before looking for the page */	\
	ZS_POINT(read_half, SLEEPS)		/* the first of two pages copied */		\
	ZS_POINT(unpin, SLEEPS)			/* before the look at pins */			\
	ZS_POINT(unpin_looked, SLEEPS)		/* no round seen, before counting down */	\
	ZS_POINT(unpin_early, SLEEPS)		/* counted down in a round, before the lock */	\
	ZS_POINT(write, SLEEPS)			/* moves read, nothing written */		\
	ZS_POINT(write_half, SLEEPS)		/* the first of two pages done */		\
	ZS_POINT(written, SLEEPS)		/* written, moves not looked at again */	\
	ZS_POINT(isolate, SLEEPS)		/* page->zspage read, before the lock */	\
	ZS_POINT(migrate, SLEEPS)		/* before the lock */				\
	ZS_POINT(migrate_copy, LOCKED)		/* moves odd, before the copy */		\
	ZS_POINT(migrate_publish, LOCKED)	/* copied, not published */			\
	ZS_POINT(migrated, SLEEPS)		/* lock dropped, replaced page not freed */	\
	ZS_POINT(stale_wait, SLEEPS)		/* waiting for readers of a replaced page */	\
	ZS_POINT(putback, SLEEPS)		/* before the lock */				\
	ZS_POINT(tried, LOCKED)			/* a zspage that cannot be evacuated now */	\
	ZS_POINT(searching, SLEEPS)		/* between two lock holds of one search */	\
	ZS_POINT(frozen, LOCKED)		/* frozen, nothing moved */			\
	ZS_POINT(guest_moved, LOCKED)		/* a guest's copy made, link not changed */	\
	ZS_POINT(natives_moved, LOCKED)		/* natives copied, no forwarder yet */		\
	ZS_POINT(evacuated, SLEEPS)		/* forwarder made, lock dropped, pages not freed */	\
	ZS_POINT(destroy, SLEEPS)		/* before the user's reference goes */		\
	ZS_POINT(pool_free, SLEEPS)		/* last reference gone, pool not freed */	\
}

/* Without preemption to help, may a thread sleep there? */
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

/* A @point that is not in the list does not compile. */
static __always_inline void zs_race(const char *point)
{
#define ZS_POINT(name, ...)	-(!__builtin_strcmp(point, #name))
	const int known[] = ZS_RACE_POINTS;
#undef ZS_POINT

	BUILD_BUG_ON_MSG(!known[0], "a race point that is not in ZS_RACE_POINTS");
	zs_race_call(point);
}

/* The classes of a pool, one after the other */
struct zs_walk {
	struct zs_pool		*pool;
	int			nid;
	struct size_class	*class;
};

/*
 * For each class of @pool that node @nid serves, or for all with NUMA_NO_NODE: node by
 * node, from the smallest slot to the largest.  See zs_node_serves().  The caller keeps
 * the pool, and that keeps its classes.
 */
#define for_each_class(class, pool, nid)				\
	for (struct zs_walk __walk = { pool, nid };			\
	     (class = zs_next_class(&__walk));)

/*
 * Functions of the allocator that tests call or replace. Without such a test in the
 * kernel they are static. As VISIBLE_IF_KUNIT, and for the torture test, too, which
 * needs no KUnit.
 */
#if IS_ENABLED(CONFIG_ZSMALLOC_RACE_POINTS)
#define VISIBLE_IF_ZSMALLOC_TEST
extern bool zs_migration;
extern struct zspage zs_no_host;
unsigned int zs_nr_classes(void);
unsigned int zs_class_number(const struct size_class *class);
struct size_class *zs_class(struct zs_pool *pool, unsigned int size, int nid);
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
void *zs_alloc_supply(size_t size);
struct size_class *zs_alloc_classes(int nid, gfp_t gfp);
struct shrinker *zs_alloc_shrinker(struct zs_pool *pool);
unsigned long zs_freeable_pages(struct zs_pool *pool, int nid);
const char *zs_check_pool(struct zs_pool *pool);
bool zs_flush_deferred(void);
struct size_class *zs_next_class(struct zs_walk *walk);
struct zs_geometry zs_fit(unsigned int size, unsigned long page_size,
			  unsigned int max_pages, unsigned int max_slots);
#else
#define VISIBLE_IF_ZSMALLOC_TEST	static
#endif

#endif /* _MM_ZSMALLOC_H */
