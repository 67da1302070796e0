// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * zsmalloc: an allocator for compressed pages whose memory can be migrated
 *
 * A *zspage* is a few single pages, which need not be adjacent, cut into slots of equal
 * size. A slot holds one object or is free. Slots are cut without regard to page
 * boundaries, so an object may lie in two pages. The *descriptor* of a zspage, struct
 * zspage, holds everything that is known about it. The pages hold the users' bytes and
 * nothing else. A *class* is the zspages of one pool, slot size and NUMA node; a pool for
 * which CPUs contend has several such classes, see "Class sets". In a small class, a
 * zspage gets its pages one by one, see "Growing zspages". A *location* is a
 * descriptor and the number of a slot, encoded in one word. An object's *handle* is the
 * location where it was allocated.
 *
 *	handle = (descriptor, slot)
 *	              |
 *	              v
 *	struct zspage                          pages
 *	+-----------------------------+        +----------------------------+
 *	| class ---> lock, slot size  |    .-->| object 0 | object 1 | obje |
 *	| pages[0] -------------------+----'   +----------------------------+
 *	| pages[1] -------------------+----.   +----------------------------+
 *	| bitmap of the slots in use  |    '-->| ct 2 | object 3 |   free   |
 *	| pins, moves, stale pages    |        +----------------------------+
 *	+-----------------------------+
 *
 * Finding an object takes only its descriptor, the slot size of its class and pages[].
 * Moving a page is copying it and then replacing one pointer in pages[], no matter how
 * many objects are in the page or how many readers it has.
 *
 * How a page moves under a reader
 *
 * The hard part is to know when the old page, which may still be read, can be freed,
 * although readers take no lock:
 *
 *	reader				migration, holding class->lock
 *	------				------------------------------
 *	pins++				copy the old page to the new one
 *	page = pages[i]			pages[i] = new page
 *	read the page			look at pins
 *	pins--				  0: free the old page
 *					  else: free it later, at the end of a *round*
 *
 * A reader that opens an object first *pins* its zspage, until it closes the object;
 * only then does it look up the page. Migration looks at the pins after it has published
 * the new page. Each side has a full barrier between these two steps. Therefore a reader
 * that migration does not see finds the new page. A reader that it sees may have the old
 * page, which is *stale* now.
 *
 * Waiting until there are no pins might take for ever, as new readers come. So there are
 * rounds. The pins that exist when a round begins are *early*, and counted. The round
 * ends when the last early pin is gone, and frees the pages that were stale when it
 * began. Pins that are taken during the round are *late*. They do not prolong it, because
 * their readers cannot have any of these pages. Pages that are replaced during a round
 * wait for the next one, which begins when this one ends. pins is negative during a round,
 * so that readers which pin or unpin the zspage take class->lock, too: there a late pin
 * is noted, by slot, and an unpin takes a note back, or else was early.
 *
 * At most as many pages of a zspage are stale as it has pages. After that, none of them
 * is isolated, and so none is migrated, until stale pages have been freed.
 *
 * Writers pin the zspage, too, and write to the page that they find. A copy of the page
 * that is made at the same time may miss what they write. Therefore a writer reads the
 * sequence count zspage->moves before and after it writes, and writes again if a page
 * was moved in between.
 *
 * How an object moves
 *
 * zs_compact() *evacuates* zspages: it moves all objects of a zspage to free slots of
 * other zspages, and frees its pages. The objects' handles must not change, so the
 * descriptor stays, as a *forwarder*. Instead of pages it has a *link* for each object
 * whose handle names it: the location where the object is now. A forwarder is freed with
 * the last of these objects. If half of them were freed, compaction *trims* it: its other
 * links are moved to less memory.
 *
 *	handle ---> home: a forwarder         host
 *	            +--------------------+    +----------------------------+
 *	            | link of the slot --+--->| slot: the object           |
 *	            +--------------------+    | guests: the object's handle|
 *	                                      +----------------------------+
 *
 * The zspage that an object's handle names is its *home*. If the object is in another
 * zspage, that zspage is its *host*, the object is a *guest* there, and the host has a
 * record of its handle. When the host is evacuated in turn, that record leads to the
 * home, and the link there is changed. So an object is found by following at most one
 * link, however often it was moved. A reader reads the link, pins the host, and reads
 * the link again. If it has changed, the object was moved meanwhile: the reader unpins
 * the host and starts again. It does the same if the home was trimmed, which it finds out
 * by the home's sequence count, moves.
 *
 * A zspage is *frozen* while objects are moved out of it. A frozen zspage cannot be
 * pinned, and a pinned zspage cannot be frozen. A task that finds a zspage frozen that
 * is no forwarder waits for class->lock, and then looks the object up again. If the
 * evacuation fails, the zspage is thawed before class->lock is dropped. Guests that were
 * moved until then stay in their new hosts, and their old slots may be used again. If the
 * evacuation succeeds, the zspage stays frozen. It becomes a forwarder or, if no handle
 * names it, it is dead and about to be freed. No link names it any more.
 *
 * Locks, outermost first
 *
 *  page lock		guards page->zspage of each page that the migration core can
 *			find. A task that evacuates or frees a zspage holds the locks of
 *			all its pages. So a page that another task has locked keeps its
 *			zspage. The task that evacuates the zspage cannot rely on that,
 *			see class_compact().
 *  class->lock		guards slots, fullness, isolation, page moves and object moves
 *			of all zspages of one size class
 *  zspage->moves	a sequence count, written under class->lock: for writers, while
 *			a page is moved; and in a forwarder, for readers, while it is
 *			trimmed
 *
 * There is no pool-wide lock. Opening and closing an object takes no lock, unless
 * objects of its zspage are being moved or a round of its zspage is under way: then it
 * takes class->lock.
 *
 * Lifetimes
 *
 *  page in pages[]	A pin keeps each page that the reader finds in pages[] after it
 *			has pinned the zspage from being freed.
 *  descriptor		It is kept by each object whose handle names it, and by each
 *			object in the zspage; by an isolated page; by a locked page
 *			whose page->zspage names it, unless the task that evacuates the
 *			zspage has locked the page; and, if it is on a list of its
 *			class, by class->lock.
 *  host		A reader that has just read a link may find that the object has
 *			left the host which the link named. Only RCU keeps that host
 *			then: a descriptor that guests were moved out of is freed after
 *			a grace period.
 *  far links		A forwarder keeps them until it is trimmed. Then they are freed
 *			after a grace period, because readers may be looking at them.
 *  class, pool		A zspage keeps its pool, with all classes. A pool keeps the
 *			module.
 *
 * zs_free() frees a zspage together with its last object if no page of the zspage is
 * isolated and it gets all page locks, which it only tries, holding class->lock.
 * Otherwise a worker frees the zspage. The worker is handed it by zs_free() or, if pages
 * are isolated, by the end of the last isolation, and tries again until it gets the page
 * locks.
 */

/*
 * Memory ordering: all pairs of accesses that meet without a common lock, and whose order
 * matters. Each entry has the name of its litmus test in
 * Documentation/litmus-tests/zsmalloc/. The same test without one of the barriers shows
 * what that barrier is for. "A -> B": if the first access of B sees the last store of A,
 * all of B comes after all of A. "A <-> B": both sides store and then load, and at least
 * one of them sees the store of the other.
 *
 * The order does not matter for estimates, see ZS_ESTIMATE(); for the generation and the
 * bit of a slot, which debug builds read, because neither changes while the object exists;
 * and for the counters of a pool, pool->reported, pool->shrinking, pool->set_mask,
 * pool->set_failed and zs_no_host.pins.
 *
 * Pages that are replaced
 *
 *  pin+move		zspage_trypin(): increment of pins, then pages[] <->
 *			zspage_move_page(): pages[] with release, then the exchange of
 *			pins in zspage_next_round(). The reader finds the new page, or
 *			migration finds the pin.
 *  move+leave+pin	The same if the round begins in a later hold of class->lock.
 *  late+read		The same for a reader that pins during a round.
 *  copy+read		zspage_move_page(): contents, then pages[] with release ->
 *			zspage_page(): pages[], then contents by address dependency. The
 *			reader finds the contents of the new page.
 *  read+free		Reads of the page, then the decrement in zspage_unpin() -> the
 *			exchange in zspage_next_round(), then the page is freed. All
 *			reads of a page come before it is freed.
 *  leave+leave		The same through class->lock, if another reader with the last
 *			early pin ends the round: zspage_leave_round().
 *  read+put+put	The same if the migration core drops the last reference to the
 *			page.
 *  unpin+round		zspage_unpin(): decrement <-> the exchange that begins a round.
 *			The round does not count the reader, or the reader learns of the
 *			round.
 *  late+next		zspage_next_round(): ZS_PIN_ROUND -> zspage_finish_pin(). A pin
 *			is counted as early or noted as late, never both.
 *  early+freeze	The sign of pins in a round -> zspage_freeze(). The zspage is
 *			not frozen, and so not freed, before zspage_unpin_early() has
 *			left the round.
 *  put+wait		zs_free_drained(): page->zspage, then the wait queue <->
 *			zs_wait_stale(): wait queue, then page->zspage. Isolation that
 *			waits until a page is no longer stale is woken.
 *
 * Writers
 *
 *  write+move		zs_obj_write(): bytes, smp_mb(), moves <-> zspage_move_page():
 *			moves, smp_mb(), copy. The copy has the bytes, or they are
 *			written again. And zspage_move_page(): pages[], then moves ->
 *			zs_obj_write(): moves, then pages[]. They are written again to
 *			the new page.
 *  write+freeze	Bytes, then the decrement in zspage_unpin() -> zspage_freeze(),
 *			then the copy. An object that is moved has all its bytes.
 *
 * Objects that are moved
 *
 *  pin+freeze		zspage_trypin() <-> zspage_freeze(). One of the two fails.
 *  pin+thaw		Everything that a failed evacuation did, then zspage_thaw() with
 *			release -> zspage_trypin(), then the second look at the link. A
 *			reader that pins after the thaw sees that the link has changed.
 *  frozen+wait		zspage_evacuate() -> class_wait_thaw(), through class->lock. A
 *			reader waits at most once for each evacuation.
 *  forwarder+link	zspage_make_forwarder(): links, then state with release ->
 *			zs_pin_slow(): state with acquire, then links. A forwarder has
 *			its links.
 *  link+host		zspage_move_guests(): link with release -> the first look at it
 *			in zs_pin_forwarded(), then the host by address dependency. The
 *			host's descriptor is initialised.
 *  grow+link		class_grow(): pages[], then, in a later hold of class->lock, the
 *			link with release -> the second look at it with acquire, then
 *			pages[]. The reader finds the page by which the host has grown.
 *  link+read		zspage_move_guests(): copy, then link with release -> the second
 *			look at it with acquire, then the bytes. The reader finds the
 *			object's bytes.
 *  link+move+read	The same if a page of the host was replaced after the copy.
 *  return		The same if the object was moved away and then back to the same
 *			slot. The reader does not find bytes of the object that was
 *			there in between.
 *  end+link, end+forwarder
 *			Neither the value of the link nor the state of the home changes
 *			while the object is pinned, so zs_pinned() finds what zs_pin()
 *			has found.
 *  trim+link		forwarder_trim(): moves, then the bitmap and far_links, then
 *			moves again -> forwarder_read_link(): moves, then the number of
 *			the link and far_links, then moves again. Both are from before
 *			or both from after the trim.
 *  trim+head		The same for the former far links, in which kfree_rcu() stores.
 *  trim+pin		forwarder_trim(): moves, then, in a later hold of class->lock, a
 *			link, zspage_thaw() with release -> zspage_trypin(), then
 *			zs_pin_forwarded(): moves. A second look at the former address
 *			of a link is recognised.
 *  trim+free		far_links, then kfree_rcu() -> forwarder_read_link() and the
 *			second look, under RCU. Far links are freed after that.
 *  vain+free		The link, then call_rcu() -> zs_pin_forwarded(), under RCU. A
 *			reader that has pinned a host which the object has left unpins
 *			it before the host is freed.
 *  keep+free		The same if the object is in the host: a pinned object is not
 *			moved, so it keeps the host.
 *
 * Pages, zspages and pools
 *
 *  adopt+isolate	zspage_adopt(): page->zspage, then the movable mark -> the
 *			migration core: page lock with acquire, then page->zspage. The
 *			core finds the zspage of a page that is marked. This relies on
 *			mark and lock being bits of one word.
 *  release+isolate	zs_release_pages(): page->zspage, then page unlock with release
 *			-> the core: page lock with acquire, then page->zspage. The core
 *			does not find a zspage that was freed.
 *  defer+worker	zspage_defer_free(): llist_add() -> zs_free_deferred():
 *			llist_del_all(). The worker sees the dead zspage.
 *  classes+malloc	zs_add_set(): classes, then sets[] with release -> zs_set():
 *			sets[], then the classes by address dependency. The classes of
 *			a set are initialised.
 *  pool+pool		zs_pool_put() -> the last zs_pool_put(). All uses of the pool
 *			come before it is freed.
 */

#include <kunit/static_stub.h>
#include <linux/debugfs.h>
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "zsmalloc.h"

#define CREATE_TRACE_POINTS
#include <trace/events/zsmalloc.h>

VISIBLE_IF_ZSMALLOC_TEST
bool zs_migration __ro_after_init = IS_ENABLED(CONFIG_MIGRATION);
#ifdef CONFIG_MIGRATION
module_param_named(migration, zs_migration, bool, 0444);
MODULE_PARM_DESC(migration, "Let the kernel move the pages of pools (default: yes; no: they are allocated as unmovable)");
#endif

#ifdef CONFIG_ZSMALLOC_RACE_POINTS
zs_race_hook_t *zs_race_hook;
EXPORT_SYMBOL_GPL(zs_race_hook);
#endif

static struct workqueue_struct *zs_wq __ro_after_init;
static struct dentry *zs_debugfs __ro_after_init;

/*
 * Size classes
 */

/* The geometries in use, in ascending order of size; the same for every pool */
static struct zs_geometry *zs_geos __ro_after_init;
static unsigned int zs_nr_geos __ro_after_init;
/* The index of the geometry that serves a size, by zs_size_step() */
static u16 zs_geo_of_step[ZS_NR_STEPS] __ro_after_init;
/* The smallest size at which an object takes a page of its own */
static size_t zs_huge_size __ro_after_init;

/* Memory that a zspage and its descriptor take per slot, in 1/256 bytes */
static unsigned int zs_slot_cost(unsigned int pages, unsigned int slots,
				 unsigned long page_size)
{
	size_t bytes = pages * page_size + zspage_descriptor_size(pages, slots);

	return bytes * 256 / slots;
}

static struct zs_geometry zs_cut(unsigned int size, unsigned int pages,
				 unsigned long page_size, unsigned int max_slots)
{
	return (struct zs_geometry){
		.size = size,
		.pages = pages,
		.slots = min(pages * page_size / size, max_slots),
	};
}

/*
 * The cost of a geometry. A zspage of several pages must have more slots than pages;
 * otherwise single pages would do as well.
 */
static unsigned int zs_geo_cost(const struct zs_geometry *geo, unsigned long page_size)
{
	if (geo->pages > 1 && geo->slots <= geo->pages)
		return UINT_MAX;
	return zs_slot_cost(geo->pages, geo->slots, page_size);
}

/**
 * zs_fit - choose the geometry of zspages with slots of @size bytes
 * @size: bytes per slot, at most @page_size
 * @page_size: bytes per page
 * @max_pages: the most pages that a zspage may have
 * @max_slots: the most slots that a zspage may have
 *
 * The cheapest geometry takes the least memory per slot, including the descriptor. The
 * result is the shortest zspage that costs at most 1/ZS_FIT_SLACK more than that. There
 * are two reasons to prefer short zspages: most classes have one that is not full, which
 * wastes more memory the longer it is, and short ones are easier to empty. If no length
 * gives more slots than pages, the zspage is a single page, which can be freed by itself.
 *
 * Context: any, a pure function.
 * Return: the geometry, in which max_natives and pay_groups are not set.
 */
VISIBLE_IF_ZSMALLOC_TEST
struct zs_geometry zs_fit(unsigned int size, unsigned long page_size,
			  unsigned int max_pages, unsigned int max_slots)
{
	unsigned int lowest = UINT_MAX, pages;
	struct zs_geometry geo;

	for (pages = 1; pages <= max_pages; pages++) {
		geo = zs_cut(size, pages, page_size, max_slots);
		lowest = min(lowest, zs_geo_cost(&geo, page_size));
	}
	/* This ends at the cheapest one at the latest. */
	pages = 0;
	do {
		geo = zs_cut(size, ++pages, page_size, max_slots);
	} while (zs_geo_cost(&geo, page_size) > lowest + lowest / ZS_FIT_SLACK);
	return geo;
}

/* Bytes of memory for those of @nr_links links that have no room in the descriptor */
static size_t zs_extra_links(const struct zs_geometry *geo, unsigned int nr_links)
{
	if (nr_links <= geo->pages)
		return 0;
	return kmalloc_size_roundup(max((nr_links - geo->pages) * sizeof(unsigned long),
					sizeof(struct zs_far_links)));
}

/* An evacuation pays if it frees at least this many times the memory that it adds. */
#define ZS_PAYBACK	2

/*
 * The most natives that a zspage may have if evacuating it pays. An evacuation adds the
 * descriptor, which stays as a forwarder, a link for each native, and guest blocks for
 * their owners. All of this may stay until the last of the natives is freed. The blocks
 * are counted as if all natives had one host; zspage_count_need() counts what they
 * really take.
 */
static unsigned int __init zs_max_natives(const struct zs_geometry *geo)
{
	size_t pays = geo->pages * PAGE_SIZE / ZS_PAYBACK;
	unsigned int nr = geo->slots;

	while (nr && zspage_descriptor_size(geo->pages, geo->slots) +
	       zs_extra_links(geo, nr) +
	       DIV_ROUND_UP(nr, ZS_GUESTS_PER_BLOCK) * sizeof(struct zs_guest_block) > pays)
		nr--;
	return nr;
}

/* The groups whose zspages have both used and free slots */
#define ZS_PARTLY_USED	GENMASK(ZS_99, ZS_10)

/* Those of them in which no zspage has more than @max_natives objects */
static unsigned long __init zs_pay_groups(const struct zs_geometry *geo)
{
	unsigned int more = min(geo->max_natives + 1, geo->slots);

	return ZS_PARTLY_USED & (BIT(zs_fullness(more, geo->slots)) - 1);
}

/* Begin with the largest size, because smaller sizes may share its geometry. */
static int __init zs_init_geometries(void)
{
	/* Large pages have thousands of steps, but not two hundred geometries. */
	static struct zs_geometry geos[ZS_NR_STEPS] __initdata;
	unsigned int step = ZS_NR_STEPS, shared = 0;
	struct zs_geometry *geo = NULL;

	while (step--) {
		struct zs_geometry fit;
		unsigned int cost;

		fit = zs_fit(ZS_MIN_SIZE + step * ZS_SIZE_STEP, PAGE_SIZE,
			     ZS_MAX_PAGES, ZS_MAX_SLOTS);
		cost = zs_slot_cost(fit.pages, fit.slots, PAGE_SIZE);
		if (!geo || shared > cost + cost / ZS_SHARE_SLACK) {
			geo = &geos[zs_nr_geos++];
			*geo = fit;
			geo->max_natives = zs_max_natives(geo);
			geo->pay_groups = zs_pay_groups(geo);
			shared = cost;
		}
		if (geo->slots == 1)
			zs_huge_size = fit.size - ZS_SIZE_STEP + 1;
		zs_geo_of_step[step] = zs_nr_geos - 1;
	}

	for (unsigned int i = 0; i < zs_nr_geos / 2; i++)
		swap(geos[i], geos[zs_nr_geos - 1 - i]);
	for (step = 0; step < ZS_NR_STEPS; step++)
		zs_geo_of_step[step] = zs_nr_geos - 1 - zs_geo_of_step[step];
	zs_geos = kmemdup(geos, zs_nr_geos * sizeof(*geos), GFP_KERNEL);
	return zs_geos ? 0 : -ENOMEM;
}

/* The index of the geometry that serves @size */
static unsigned int zs_geo_index(unsigned int size)
{
	return zs_geo_of_step[zs_size_step(size)];
}

/*
 * Class sets
 *
 * A *class set* is a class of each slot size, all of one node. A pool has one set for each
 * node that its objects are on. When the pool is large and CPUs wait for the locks of its
 * classes, it gets more sets, among which the CPUs are divided: CPUs with different sets
 * take different locks, as long as their own sets have free slots. An object is freed in
 * the set where it was allocated.
 *
 * A zspage stays in its class, so each set has zspages of its own that are not full. For
 * that reason only large pools have several sets, and a free slot of another set is used
 * before a new zspage is allocated, unless the lock of that class is taken. Before memory
 * is reclaimed, or taken from reserves, these locks are waited for, too.
 */

#define ZS_MAX_SETS	32

/* log2 of the number of sets that a node may have */
static unsigned int zs_set_shift __ro_after_init;

VISIBLE_IF_ZSMALLOC_TEST unsigned long zs_set_pages __read_mostly = ZS_SET_PAGES;

/* The index of a set of node @nid in pool->sets[] */
VISIBLE_IF_ZSMALLOC_TEST
unsigned int zs_set_index(int nid, unsigned int set)
{
	return ((unsigned int)nid << zs_set_shift) + set;
}

/* The length of pool->sets[] */
VISIBLE_IF_ZSMALLOC_TEST
unsigned int zs_nr_sets(void)
{
	return zs_set_index(nr_node_ids, 0);
}

static int zs_set_node(unsigned int index)
{
	return index >> zs_set_shift;
}

/*
 * The classes of the set with this index, or NULL if there is no such set. The address
 * dependency orders the initialisation of the classes before their use. Pairs with
 * zs_add_set().
 */
static struct size_class *zs_set(struct zs_pool *pool, unsigned int index)
{
	return READ_ONCE(pool->sets[index]);
}

/* The first set of node @nid */
static struct size_class *zs_first_set(struct zs_pool *pool, int nid)
{
	return zs_set(pool, zs_set_index(nid, 0));
}

/* The class for @size of the set with this index; NULL if there is no such set */
VISIBLE_IF_ZSMALLOC_TEST
struct size_class *zs_class(struct zs_pool *pool, unsigned int size, unsigned int index)
{
	struct size_class *classes = zs_set(pool, index);

	return classes ? &classes[zs_geo_index(size)] : NULL;
}

/* The number of the set that this CPU uses, on each node. The task may change the CPU. */
static unsigned int pool_this_set(struct zs_pool *pool)
{
	return raw_smp_processor_id() & READ_ONCE(pool->set_mask);
}

/* Double the number of sets if @pool is large enough. zs_malloc() allocates them. */
static void pool_add_sets(struct zs_pool *pool)
{
	unsigned int mask = READ_ONCE(pool->set_mask);
	unsigned long more = 2 * (mask + 1);

	if (more <= BIT(zs_set_shift) &&
	    atomic_long_read(&pool->pages) >= more * zs_set_pages * num_node_state(N_MEMORY))
		cmpxchg(&pool->set_mask, mask, more - 1);
}

VISIBLE_IF_ZSMALLOC_TEST
u64 zs_clock(void)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_clock);

	return ktime_get_ns();
}

VISIBLE_IF_ZSMALLOC_TEST
bool zs_node_has_memory(int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_node_has_memory, nid);

	return node_state(nid, N_MEMORY);
}

/*
 * Whether memory reclaim for node @nid compacts the classes of node @class_nid. A node
 * that has lost its memory may still have classes, but there is no reclaim for it: the
 * first node that has memory serves its classes, too.
 */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_node_serves(int nid, int class_nid)
{
	return nid == (zs_node_has_memory(class_nid) ? class_nid : first_memory_node);
}

/* A walk comes to the classes of the next set; fails if there is none. */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_walk_set(struct zs_walk *walk)
{
	while (walk->set < zs_nr_sets()) {
		unsigned int index = walk->set++;

		walk->next = zs_set(walk->pool, index);
		if (walk->next && (walk->nid == NUMA_NO_NODE ||
				   zs_node_serves(walk->nid, zs_set_node(index)))) {
			walk->end = walk->next + zs_nr_geos;
			return true;
		}
	}
	return false;
}

/* Descriptor caches, each shared by all classes whose descriptors have the same size */

#define ZS_NR_CACHES	((sizeof(struct zspage) +			\
			  ZS_MAX_PAGES * sizeof(struct zpdesc *) +	\
			  ZS_MAX_SLOTS / BITS_PER_BYTE +		\
			  ZS_MAX_SLOTS * (ZS_GENERATIONS > 1)) /	\
			 ZSPAGE_SIZE_STEP + 2)

static struct kmem_cache *zs_caches[ZS_NR_CACHES] __ro_after_init;

/*
 * The size of a descriptor with its generations. They are not part of
 * zspage_descriptor_size(), so that debug builds have the same geometries as others.
 */
static size_t zs_cache_size(const struct zs_geometry *geo)
{
	return ALIGN(zspage_descriptor_size(geo->pages, geo->slots) +
		     zs_generations_size(geo->slots), ZSPAGE_SIZE_STEP);
}

static struct kmem_cache **zs_cache(const struct zs_geometry *geo)
{
	return &zs_caches[zs_cache_size(geo) / ZSPAGE_SIZE_STEP];
}

static void zs_destroy_caches(void)
{
	for (unsigned int i = 0; i < ZS_NR_CACHES; i++)
		kmem_cache_destroy(zs_caches[i]);
}

static int __init zs_create_caches(void)
{
	for (unsigned int i = 0; i < zs_nr_geos; i++) {
		struct kmem_cache **cache = zs_cache(&zs_geos[i]);
		size_t size = zs_cache_size(&zs_geos[i]);
		char name[24];

		if (*cache)
			continue;
		snprintf(name, sizeof(name), "zspage-%zu", size);
		/*
		 * Handles can only name descriptors in the linear map, and on some
		 * architectures the pool of KFENCE is outside of it.
		 */
		*cache = kmem_cache_create(name, size, ZSPAGE_ALIGN,
					   SLAB_SKIP_KFENCE | SLAB_NO_MERGE,
					   NULL);
		if (!*cache) {
			zs_destroy_caches();
			return -ENOMEM;
		}
	}
	return 0;
}

/*
 * Mistakes of users
 */

/*
 * A mistake is a bug of the pool's user, so the first one of each kind is reported by a
 * warning with a stack trace. Such a bug is likely to occur with many objects.
 * Therefore each further report is one line, and their rate is limited.
 */
static noinline __cold __printf(3, 4)
void zs_report(struct zs_pool *pool, enum zs_mistake mistake,
	       const char *format, ...)
{
	struct va_format text;
	va_list args;

	va_start(args, format);
	text.fmt = format;
	text.va = &args;
	if (!test_and_set_bit(mistake, &pool->reported))
		WARN(1, "zsmalloc: pool %s: %pV\n", pool->name, &text);
	else if (__ratelimit(&pool->reports))
		pr_err("zsmalloc: pool %s: %pV\n", pool->name, &text);
	va_end(args);
}

/*
 * References to the pool
 */

static void zs_pool_free(struct work_struct *work)
{
	struct zs_pool *pool = container_of(work, struct zs_pool, free_work);

	zs_race("pool_free");
	for (unsigned int i = 0; i < zs_nr_sets(); i++)
		kvfree(pool->sets[i]);
	kvfree(pool);
	/* zs_exit() waits for this work before the module is unloaded. */
	module_put(THIS_MODULE);
}

static void zs_pool_put(struct zs_pool *pool)
{
	if (atomic_long_dec_and_test(&pool->refs))
		queue_work(zs_wq, &pool->free_work);
}

/*
 * Pins and replaced pages
 *
 * A page that was replaced is *stale* until it is freed. A reader that had pinned the
 * zspage before the page was replaced may be reading it; a reader that pinned the zspage
 * later has the new page. So a stale page must be kept for the pins that existed when it
 * was replaced, and only for these. A pin does not tell when it was taken: the two kinds
 * are told apart only in a *round*.
 *
 * A round begins when a page is replaced while there are pins. These pins are *early*,
 * and are counted. The round ends when the last early pin is gone. Then the pages are
 * freed that were stale when it began. Pages that are replaced during the round wait for
 * the next one, which begins when this one ends, with all pins that exist then as its
 * early ones.
 *
 * Pins that are taken during a round are *late*. zspage->pins is negative in a round,
 * which sends readers to slow paths under class->lock. A reader that pins the zspage adds
 * its pin to the *notes* of the round, which count the late pins of each slot. A reader
 * that unpins the zspage takes a late pin of its slot off the notes; if there is none,
 * the pin counts as early.
 *
 * So two readers of one object cannot be told apart. If one of them is early and the
 * other is late, the stale pages may be kept until no reader has this object open.
 */

/* Stale pages that no reader needs any more, to be freed after class->lock was dropped */
struct zs_drained {
	struct zpdesc *pages;
	unsigned int nr;
};

static void zs_free_drained(struct zs_drained *drained)
{
	struct zpdesc *zpdesc = drained->pages;
	u8 *late = NULL;

	while (drained->nr) {
		struct zpdesc *next = zpdesc->next;

		if (!--drained->nr)
			late = zpdesc->late;
		WRITE_ONCE(zpdesc->zspage, NULL);
		/*
		 * The put is fully ordered: wake_up_var() looks for tasks to wake after
		 * the store. Pairs with zs_wait_stale().
		 */
		zpdesc_put(zpdesc);
		wake_up_var(zpdesc);
		zpdesc = next;
	}
	kfree(late);
}

/*
 * Memory for the notes of late pins. A round works without them, so this does not use
 * the reserves. It does not reclaim memory, because the context may be atomic.
 */
VISIBLE_IF_ZSMALLOC_TEST
void *zs_alloc_late(size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_late, size);

	return kzalloc(size, GFP_NOWAIT | __GFP_NOMEMALLOC);
}

static bool zspage_in_round(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	return zspage->nr_draining;
}

/*
 * Called when a page has been replaced and there is no round, or when the last early
 * pin of a round is gone. If there are both pins and pages that were replaced since the
 * last round began, begin the next round for these pages. All other stale pages are put
 * on @drained.
 *
 * The exchange is fully ordered. Pairs with zspage_trypin(): a reader that is not
 * counted here finds the pages that have replaced the stale ones.
 */
static void zspage_next_round(struct zspage *zspage, struct zs_drained *drained)
	__must_hold(&zspage->class->lock)
{
	unsigned int newer = zspage->nr_stale - zspage->nr_draining;
	int pins = atomic_read(&zspage->pins), count, next;
	struct zpdesc **link = &zspage->stale;

	lockdep_assert_held(&zspage->class->lock);
	do {
		count = pins & ZS_PIN_COUNT;
		next = count;
		if (count && newer)
			next |= ZS_PIN_SLOW | (zspage->round ? 0 : ZS_PIN_ROUND);
	} while (!atomic_try_cmpxchg(&zspage->pins, &pins, next));

	if (next < 0) {
		zspage->round = !zspage->round;
		zspage->early = count;
	} else {
		newer = 0;
	}
	drained->nr = zspage->nr_stale - newer;
	zspage->class->nr_stale -= drained->nr;
	zspage->nr_stale = newer;
	zspage->nr_draining = newer;
	while (newer--)
		link = &(*link)->next;
	/*
	 * The notes of the round that ends stay with its oldest page, see zspage_late(). The
	 * page that is the oldest one from now on has none yet: that is the same field.
	 */
	drained->pages = *link;
	*link = NULL;
}

/* An early pin is gone. The last one ends the round. */
static void zspage_leave_round(struct zspage *zspage,
			       struct zs_drained *drained)
	__must_hold(&zspage->class->lock)
{
	if (!--zspage->early)
		zspage_next_round(zspage, drained);
}

/* Whether the round in which zspage->pins was @pins is still under way */
static bool zspage_same_round(struct zspage *zspage, int pins)
	__must_hold(&zspage->class->lock)
{
	pins ^= atomic_read(&zspage->pins);
	return !(pins & (ZS_PIN_SLOW | ZS_PIN_ROUND));
}

/*
 * Complete a pin; fails if the zspage is frozen. @pins is the value that the pin was
 * added to. If there was a round, the pin is late and must be noted.
 *
 * Before the lock is taken, that round may end and the next one may begin, in which the
 * pin is early. The next round cannot end while the pin exists. So no more than two
 * rounds need to be told apart, by the value of ZS_PIN_ROUND.
 */
static bool zspage_finish_pin(struct zspage *zspage, unsigned int slot,
			      int pins)
{
	struct size_class *class = zspage->class;
	u8 *memory = NULL;

	if (likely(pins >= 0))
		return true;
	if (pins & ZS_PIN_FROZEN)
		return false;

	zs_race("pin_late");
	spin_lock(&class->lock);
	if (zspage_same_round(zspage, pins) && !*zspage_late(zspage)) {
		/*
		 * The reader with the first late pin allocates the notes, without the
		 * lock.
		 */
		spin_unlock(&class->lock);
		memory = zs_alloc_late(class->geo.slots);
		spin_lock(&class->lock);
	}
	if (zspage_same_round(zspage, pins)) {
		u8 **late = zspage_late(zspage);

		if (!*late)
			swap(*late, memory);
		/* The round waits for a pin that cannot be noted, as if it were early. */
		if (*late && (*late)[slot] < U8_MAX)
			(*late)[slot]++;
		else
			zspage->early++;
	}
	spin_unlock(&class->lock);
	kfree(memory);
	return true;
}

/*
 * Pin @zspage for a user of the object in @slot; fails if the zspage is frozen. From
 * here until zspage_unpin() no object of the zspage is moved, and a page that is found
 * in pages[] is not freed, though it may be replaced.
 *
 * The increment is fully ordered, so that the pin is visible before pages[] is read.
 * Pairs with the exchange in zspage_next_round(), which comes after pages[] was
 * changed. And a reader that pins a zspage after it was thawed sees everything that was
 * done while it was frozen. Pairs with zspage_thaw().
 */
static bool zspage_trypin(struct zspage *zspage, unsigned int slot)
{
	/*
	 * The increment also counts failed attempts; not to count them would take a
	 * loop. ZS_FROZEN leaves room for more of them than there are tasks: after a
	 * failed attempt a task waits until the zspage was thawed or evacuated.
	 */
	return zspage_finish_pin(zspage, slot, atomic_fetch_inc(&zspage->pins));
}

static noinline void zspage_unpin_slow(struct zspage *zspage, unsigned int slot)
{
	struct size_class *class = zspage->class;
	struct zs_drained drained = { };

	spin_lock(&class->lock);
	/*
	 * Decrement first, because the next round must not wait for this pin. The lock
	 * provides the ordering: pages are freed, and zspages are frozen, according to
	 * a value of pins that is read under it.
	 */
	atomic_dec(&zspage->pins);
	if (zspage_in_round(zspage)) {
		u8 *late = *zspage_late(zspage);

		if (late && late[slot])
			late[slot]--;
		else
			zspage_leave_round(zspage, &drained);
	}
	spin_unlock(&class->lock);
	zs_free_drained(&drained);
}

/* A round began between the look at pins and the decrement, so this pin is early. */
static noinline void zspage_unpin_early(struct zspage *zspage)
{
	struct size_class *class = zspage->class;
	struct zs_drained drained = { };

	zs_race("unpin_early");
	spin_lock(&class->lock);
	zspage_leave_round(zspage, &drained);
	spin_unlock(&class->lock);
	zs_free_drained(&drained);
}

/*
 * Remove the pin of a user of the object in @slot.
 *
 * As soon as the pin is gone, the zspage may be frozen and its objects may be moved. So
 * it must not be touched after that, with two exceptions. The slow path decrements
 * under class->lock, which is also held for freezing a zspage. And a round that waits
 * for this pin keeps the zspage from being frozen. If the object is not moved, it keeps
 * the zspage: its user does not free it before this call has returned.
 */
static __always_inline void zspage_unpin(struct zspage *zspage,
					 unsigned int slot)
{
	might_lock(&zspage->class->lock);
	zs_race("unpin");
	if (unlikely(atomic_read(&zspage->pins) < 0)) {
		zspage_unpin_slow(zspage, slot);
		return;
	}
	zs_race("unpin_looked");
	if (unlikely(atomic_add_negative(-1, &zspage->pins)))
		zspage_unpin_early(zspage);
}

static bool zspage_freeze(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	lockdep_assert_held(&zspage->class->lock);
	return atomic_cmpxchg(&zspage->pins, 0, ZS_FROZEN) == 0;
}

static void zspage_thaw(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	/*
	 * Release: everything that was done to the zspage comes before this. Pairs with
	 * zspage_trypin(). Failed attempts to pin it are discarded from the count.
	 */
	atomic_set_release(&zspage->pins, 0);
}

/* Wait until a zspage of @class that was found frozen has been thawed or evacuated. */
static void class_wait_thaw(struct size_class *class)
{
	zs_race("wait_thaw");
	spin_lock(&class->lock);
	spin_unlock(&class->lock);
}

/*
 * Forwarders and guests
 *
 * The objects in a zspage are natives, which its own handles name, or guests, which the
 * handles of forwarders name. Evacuating the zspage moves both kinds to other zspages,
 * their new hosts:
 *
 * For its natives it becomes a forwarder. It gets a link for each of them, in the order
 * of the slots that they had. The bitmap shows the slots that have links. The first links,
 * as many as pages[] has entries, take its place; the others, the far links, are in
 * memory of their own.
 *
 * A guest has a link already, in the forwarder that its handle names. That link is
 * changed. So that it can be found, each host has a record of the handles of its guests,
 * their owners, in blocks of three.
 *
 * If the zspage has no natives, nothing names it any more, and it is freed.
 */

/*
 * The links for which @forwarder has room: those that it had when it was made or last
 * trimmed, including the links of objects freed since.
 */
static unsigned int forwarder_max_links(struct zspage *forwarder)
{
	return bitmap_weight(zspage_bitmap(forwarder), forwarder->class->geo.slots);
}

/*
 * The number of the link of the object that was in @slot of @home when it became a
 * forwarder; -1 if there is no such link
 */
static int forwarder_rank(struct zspage *home, unsigned int slot)
{
	unsigned long *bitmap = zspage_bitmap(home);

	if (unlikely(slot >= home->class->geo.slots || !test_bit(slot, bitmap)))
		return -1;
	return bitmap_weight(bitmap, slot);
}

/* The link of that object; NULL if there is none */
static unsigned long *forwarder_link(struct zspage *home, unsigned int slot)
	__must_hold(&home->class->lock)
{
	int rank = forwarder_rank(home, slot);

	return rank < 0 ? NULL : forwarder_link_at(home, rank);
}

/*
 * The caller holds the lock of a class, and has found @zspage on a list of that class
 * or by a link from a zspage of that class. This tells clang that it is the lock of the
 * class of @zspage.
 */
static __always_inline void zspage_assert_locked(struct zspage *zspage)
	__assumes_ctx_lock(&zspage->class->lock)
{
	lockdep_assert_held(&zspage->class->lock);
}

/* The number of natives, which are the objects that the zspage's own handles name */
static unsigned int zspage_natives(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	return zspage->inuse - zspage->nr_guests;
}

/*
 * Guests are added and removed under class->lock, but guest blocks are neither
 * allocated nor freed under it. Blocks are taken from a list of the caller and put back
 * on it; the caller frees the rest of that list without the lock.
 */
static void zs_push_block(struct zs_guest_block **blocks, struct zs_guest_block *block)
{
	block->next = *blocks;
	*blocks = block;
}

static struct zs_guest_block *zs_pop_block(struct zs_guest_block **blocks)
{
	struct zs_guest_block *block = *blocks;

	*blocks = block->next;
	return block;
}

static void zs_free_blocks(struct zs_guest_block *blocks)
{
	while (blocks)
		kfree(zs_pop_block(&blocks));
}

static bool zs_has_blocks(const struct zs_guest_block *blocks, unsigned int nr)
{
	for (; blocks && nr; blocks = blocks->next)
		nr--;
	return !nr;
}

static void zspage_add_guest(struct zspage *zspage, unsigned long owner,
			     struct zs_guest_block **blocks)
	__must_hold(&zspage->class->lock)
{
	unsigned int i;

	lockdep_assert_held(&zspage->class->lock);
	i = zspage->nr_guests++ % ZS_GUESTS_PER_BLOCK;

	if (i == 0) {
		zspage->class->guest_blocks++;
		zs_push_block(&zspage->guests, zs_pop_block(blocks));
	}
	zspage->guests->owner[i] = owner;
}

/* The number of guests in the first block */
static unsigned int zspage_first_guests(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	return (zspage->nr_guests - 1) % ZS_GUESTS_PER_BLOCK + 1;
}

/* The owner of the guest that was added last, which is the easiest to remove */
static unsigned long zspage_last_guest(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	return zspage->guests->owner[zspage_first_guests(zspage) - 1];
}

static void zspage_drop_last_guest(struct zspage *zspage,
				   struct zs_guest_block **blocks)
	__must_hold(&zspage->class->lock)
{
	lockdep_assert_held(&zspage->class->lock);
	if (--zspage->nr_guests % ZS_GUESTS_PER_BLOCK == 0) {
		zspage->class->guest_blocks--;
		zs_push_block(blocks, zs_pop_block(&zspage->guests));
	}
}

static void zspage_remove_guest(struct zspage *zspage, unsigned long owner,
				struct zs_guest_block **blocks)
	__must_hold(&zspage->class->lock)
{
	unsigned int nr = zspage_first_guests(zspage), i = 0;
	struct zs_guest_block *block = zspage->guests;

	while (block->owner[i] != owner) {
		if (++i == nr) {
			block = block->next;
			nr = ZS_GUESTS_PER_BLOCK;
			i = 0;
		}
	}
	/* Fill the gap with the last guest. */
	block->owner[i] = zspage_last_guest(zspage);
	zspage_drop_last_guest(zspage, blocks);
}

/* The size of a descriptor, including whatever debug builds add to it */
static size_t class_descriptor_size(const struct size_class *class)
{
	return kmem_cache_size(class->cache);
}

/* The bytes that zs_compact() has added to the memory of the class */
static size_t class_added(const struct size_class *class)
	__must_hold(&class->lock)
{
	return class->nr_forwarders * class_descriptor_size(class) +
	       class->link_bytes + class->guest_blocks * sizeof(struct zs_guest_block);
}

/*
 * class_added() of a class has changed by @bytes. The first ones after added was 0 replace
 * most_added. It may miss what two tasks add at the same time, but it is an estimate, too,
 * see ZS_SLAB_SLACK.
 */
static void pool_add_bytes(struct zs_pool *pool, long bytes)
{
	long added = atomic_long_add_return(bytes, &pool->added);

	if (added == bytes || added > atomic_long_read(&pool->most_added))
		atomic_long_set(&pool->most_added, added);
}

/*
 * Whether half of the links of @forwarder, or more, are 0, and the others take less memory
 * for far links. If so, this stays so until it is trimmed.
 */
static bool forwarder_is_sparse(struct zspage *forwarder)
	__must_hold(&forwarder->class->lock)
{
	const struct zs_geometry *geo = &forwarder->class->geo;
	unsigned int max = forwarder_max_links(forwarder);

	return forwarder->nr_links <= max / 2 &&
	       zs_extra_links(geo, forwarder->nr_links) < zs_extra_links(geo, max);
}

/*
 * Clear the link of a forwarded object that is being freed. Returns its host, and in
 * @slot its slot there; NULL if the object was freed before.
 */
static struct zspage *forwarder_drop_link(struct zspage *home, unsigned long handle,
					  unsigned int *slot,
					  struct zs_guest_block **blocks)
	__must_hold(&home->class->lock)
{
	struct size_class *class = home->class;
	unsigned long *link = forwarder_link(home, *slot);
	size_t added = class_added(class);
	struct zspage *host;

	if (!link || !*link)
		return NULL;
	host = zs_decode_location(*link, slot);
	/* A reader of this link uses it after free. 0 makes that detectable. */
	WRITE_ONCE(*link, 0);
	zspage_assert_locked(host);
	zspage_remove_guest(host, handle, blocks);
	class->forwarded--;
	if (!--home->nr_links) {
		list_del(&home->list);
		class->nr_forwarders--;
		class->link_bytes -= zs_extra_links(&class->geo,
						    forwarder_max_links(home));
	} else if (forwarder_is_sparse(home)) {
		list_move_tail(&home->list, &class->forwarders);
	}
	added -= class_added(class);
	if (added)
		pool_add_bytes(class->pool, -(long)added);
	return host;
}

/*
 * Make a forwarder of a zspage that was evacuated. From here on other tasks may free it
 * as soon as class->lock is dropped, though the caller has locked the pages that it had.
 */
static void zspage_make_forwarder(struct zspage *forwarder, unsigned long *near_links,
				  struct zs_far_links *far_links)
	__must_hold(&forwarder->class->lock)
{
	struct size_class *class = forwarder->class;

	lockdep_assert_held(&class->lock);
	memcpy(forwarder->near_links, near_links,
	       class->geo.pages * sizeof(*near_links));
	forwarder->far_links = far_links;
	list_add(&forwarder->list, &class->forwarders);
	class->nr_forwarders++;
	class->link_bytes += zs_extra_links(&class->geo, forwarder->nr_links);
	/* Release: links before the state. Pairs with zs_pin_slow(). */
	smp_store_release(&forwarder->state, ZSPAGE_FORWARDER);
}

/*
 * Drop the links of @forwarder that are 0, and move the others close together. @far_links
 * is memory for those that have no room in the descriptor. Returns the former far links,
 * which readers may still use under RCU.
 *
 * Readers do not take the lock. They look at moves before and after they look for a link,
 * see forwarder_read_link().
 */
static struct zs_far_links *forwarder_trim(struct zspage *forwarder,
					   struct zs_far_links *far_links)
	__must_hold(&forwarder->class->lock)
{
	struct size_class *class = forwarder->class;
	unsigned long *bitmap = zspage_bitmap(forwarder);
	struct zs_far_links *old = forwarder->far_links;
	size_t added = class_added(class);
	unsigned int slot, rank = 0, nr = 0;

	class->link_bytes -= zs_extra_links(&class->geo, forwarder_max_links(forwarder));
	write_seqcount_begin(&forwarder->moves);
	for_each_set_bit(slot, bitmap, class->geo.slots) {
		unsigned long link = *forwarder_link_at(forwarder, rank++);

		if (link)
			WRITE_ONCE(*zs_link_at(forwarder->near_links, class->geo.pages,
					       far_links, nr++), link);
		else
			__clear_bit(slot, bitmap);
	}
	WRITE_ONCE(forwarder->far_links, far_links);
	write_seqcount_end(&forwarder->moves);
	class->link_bytes += zs_extra_links(&class->geo, nr);
	/* It is not sparse any more. */
	list_move(&forwarder->list, &class->forwarders);
	pool_add_bytes(class->pool, class_added(class) - added);
	return old;
}

/*
 * Looking objects up
 */

/*
 * Takes the place of the host if an object was freed before it is opened. No length
 * fits into its slots, so nothing is read or written. It is never pinned, only
 * unpinned; see zs_follow().
 */
static struct size_class zs_no_class;
VISIBLE_IF_ZSMALLOC_TEST
struct zspage zs_no_host = {
	.class = &zs_no_class,
};

static noinline __cold void zs_report_stale(struct zs_pool *pool,
					    unsigned long handle)
{
	zs_report(pool, ZS_USE_AFTER_FREE, "use after free of handle %#lx",
		  handle);
}

/*
 * The zspage and the slot at the location @where, or zs_no_host if @where is 0, which
 * means that the object was freed before.
 */
static __always_inline struct zspage *zs_follow(unsigned long where,
						unsigned int *slot)
{
	if (unlikely(!where)) {
		*slot = 0;
		/*
		 * Each task passes here before it unpins zs_no_host. So its count is at
		 * most the number of tasks below ZS_PIN_COUNT, and never negative.
		 */
		atomic_set(&zs_no_host.pins, ZS_PIN_COUNT);
		return &zs_no_host;
	}
	return zs_decode_location(where, slot);
}

/**
 * struct zs_look - a look at the link of a forwarded object
 * @link: the address of the link, which RCU keeps
 * @moves: zspage->moves of the object's home. If it has changed, the home was trimmed, and
 *	   the link may be at another address now.
 */
struct zs_look {
	unsigned long *link;
	unsigned int moves;
};

/*
 * The location of the object that was in @slot of @home, which is a forwarder; 0 if the
 * object was freed before. The caller is in an RCU read-side critical section.
 *
 * The number, the address and the value of the link belong together only if moves has not
 * changed. This is looked at before the link is read, too, so that no number is used that
 * is too large for smaller far links; and after that, because they may be waiting to be
 * freed, with an rcu_head in the place of links.
 */
static unsigned long forwarder_read_link(struct zspage *home, unsigned int slot,
					 struct zs_look *look)
{
	unsigned long where = 0;
	int rank;

	do {
		look->moves = read_seqcount_begin(&home->moves);
		rank = forwarder_rank(home, slot);
		if (rank < 0)
			continue;
		zs_race("link_ranked");
		look->link = forwarder_link_at(home, rank);
		if (read_seqcount_retry(&home->moves, look->moves))
			continue;
		zs_race("link_found");
		/*
		 * The link may change at any time. The address dependency orders the
		 * initialisation of the host. Pairs with zspage_move_guests().
		 */
		where = data_race(READ_ONCE(*look->link));
	} while (read_seqcount_retry(&home->moves, look->moves));
	return rank < 0 ? 0 : where;
}

/*
 * Pin the host of a forwarded object. Returns the object's location, or 0 if the object
 * was freed before.
 *
 * RCU keeps the host that the link names until the host is pinned and a second look at
 * the link has shown that the object is still there. From then on the object keeps the
 * host: it is neither moved nor freed while it is open.
 */
static unsigned long zs_pin_forwarded(struct zspage *home, unsigned int slot)
{
	for (;;) {
		struct zs_look look;
		struct zspage *host;
		unsigned int host_slot;
		unsigned long where;
		bool pinned, moved;

		rcu_read_lock();
		where = forwarder_read_link(home, slot, &look);
		if (unlikely(!where)) {
			rcu_read_unlock();
			return 0;
		}
		host = zs_decode_location(where, &host_slot);
		zs_race("link_read");
		pinned = zspage_trypin(host, host_slot);
		zs_race("link_pinned");
		/*
		 * The object may have been moved away and back to the same slot, which
		 * another object has used in between. Acquire: the bytes are read after
		 * this look. Pairs with zspage_move_guests(). The look was at the present
		 * link only if the home was not trimmed before.
		 */
		moved = data_race(smp_load_acquire(look.link)) != where ||
			read_seqcount_retry(&home->moves, look.moves);
		if (pinned && moved) {
			/* The object is elsewhere; only RCU keeps this host. */
			zs_race("unpin_vain");
			zspage_unpin_slow(host, host_slot);
		}
		rcu_read_unlock();
		if (pinned && !moved)
			return where;
		if (!pinned)
			class_wait_thaw(home->class);
	}
}

/*
 * Pin an object after zs_pin_home() has returned negative @pins: its home is a
 * forwarder, frozen or in a round. Returns the object's location, or 0 if the object
 * was freed before.
 */
static noinline unsigned long zs_pin_slow(unsigned long handle, int pins)
{
	unsigned int slot;
	struct zspage *home = zs_decode_location(handle, &slot);
	unsigned long where;

	while (!zspage_finish_pin(home, slot, pins)) {
		if (READ_ONCE(home->state) != ZSPAGE_FORWARDER)
			class_wait_thaw(home->class);
		/* Acquire: state before links. Pairs with zspage_make_forwarder(). */
		if (smp_load_acquire(&home->state) == ZSPAGE_FORWARDER) {
			where = zs_pin_forwarded(home, slot);
			if (unlikely(!where))
				zs_report_stale(home->class->pool, handle);
			return where;
		}
		pins = atomic_fetch_inc(&home->pins);
	}
	zs_race("pinned");
	return handle;
}

/*
 * Add a pin to @home, which a handle names. Returns the value that it was added to; if
 * that is negative, zs_pin_slow() must do the rest. If @home is a forwarder, which
 * stays frozen, no pin is added: a forwarder cannot be pinned, and failed attempts
 * would add up in pins.
 */
static __always_inline int zs_pin_home(struct zspage *home)
{
	int pins = ZS_FROZEN;

	zspage_check_magic(home);
	/* The slow paths take this lock. Let lockdep know of it in all cases. */
	might_lock(&home->class->lock);
	if (likely(READ_ONCE(home->state) != ZSPAGE_FORWARDER)) {
		zs_race("looked_up");
		/* Like zspage_trypin() */
		pins = atomic_fetch_inc(&home->pins);
		if (likely(pins >= 0))
			zs_race("pinned");
	}
	return pins;
}

/*
 * Pin the zspage that the object of @handle is in. Returns that zspage, and in @slot
 * the object's slot; the object stays there until zspage_unpin(). The caller owns the
 * object, which keeps the descriptor that the handle names.
 */
static __always_inline struct zspage *zs_pin(unsigned long handle,
					     unsigned int *slot)
{
	struct zspage *home = zs_decode_location(handle, slot);
	int pins = zs_pin_home(home);

	if (likely(pins >= 0))
		return home;
	return zs_follow(zs_pin_slow(handle, pins), slot);
}

/* The location of a forwarded object that zs_pin_slow() has pinned */
static noinline unsigned long zs_pinned_slow(unsigned long handle)
{
	unsigned int slot;
	struct zspage *home = zs_decode_location(handle, &slot);
	struct zs_look look;
	unsigned long where;

	rcu_read_lock();
	where = forwarder_read_link(home, slot, &look);
	rcu_read_unlock();
	if (unlikely(!where))
		zs_report_stale(home->class->pool, handle);
	return where;
}

/*
 * The zspage and the slot that zs_pin() has returned, which do not change until
 * unpinned
 */
static struct zspage *zs_pinned(unsigned long handle, unsigned int *slot)
{
	struct zspage *home = zs_decode_location(handle, slot);

	if (likely(home->state != ZSPAGE_FORWARDER))
		return home;
	return zs_follow(zs_pinned_slow(handle), slot);
}

/*
 * The page at @index of @zspage. The caller's pin keeps the page from being freed; or
 * the caller holds class->lock, which keeps it from being replaced. The address
 * dependency orders the page's contents. Pairs with zspage_move_page().
 */
static struct page *zspage_page(struct zspage *zspage, unsigned int index)
{
	return zpdesc_page(READ_ONCE(zspage->pages[index]));
}

/* Whether the kernel knows @page to be bad; a function of its own for the tests */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_page_is_bad(struct page *page)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_page_is_bad, page);

	return PageHWPoison(page);
}

/*
 * Copy @len bytes from one page to another. Fails if the architecture can tell that
 * they cannot be read. Then this reports @from to the kernel, and a worker will mark it
 * as bad. So it is known to be bad soon, but not yet when this returns.
 *
 * Whole pages are copied by this function, too. copy_mc_highpage() may remove the KASAN
 * tag of @to if KASAN uses tagged pointers, and accesses to @to would not be checked
 * any more. A new page has a tag of its own, and kmap_local_page() returns a pointer
 * with it.
 */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_copy_bytes(struct page *to, size_t to_offset, struct page *from,
		   size_t from_offset, size_t len)
{
	char *d, *s;
	bool ok;

	KUNIT_STATIC_STUB_REDIRECT(zs_copy_bytes, to, to_offset, from,
				   from_offset, len);

	d = kmap_local_page(to);
	s = kmap_local_page(from);
	ok = !copy_mc_to_kernel(d + to_offset, s + from_offset, len);
	kunmap_local(s);
	kunmap_local(d);
	if (!ok)
		memory_failure_queue(page_to_pfn(from), 0);
	return ok;
}

/*
 * Descriptors and pages. Each allocation is a function of its own, so that tests can
 * make it fail.
 */

VISIBLE_IF_ZSMALLOC_TEST
struct zs_pool *zs_alloc_pool(size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_pool, size);

	return kvzalloc(size, GFP_KERNEL);
}

/*
 * Memory for a class set of node @nid. @gfp is that of a zspage, whose flags for zones
 * and nodes apply to its pages only.
 */
VISIBLE_IF_ZSMALLOC_TEST
struct size_class *zs_alloc_classes(int nid, gfp_t gfp)
{
	size_t size = zs_nr_geos * sizeof(struct size_class);

	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_classes, nid, gfp);

	gfp = (gfp & (GFP_KERNEL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL)) |
	      __GFP_NOMEMALLOC | __GFP_NOWARN;
	/* vmalloc() may be called with spinlocks held, but not with softirqs disabled. */
	if (in_interrupt())
		return kzalloc_node(size, gfp, nid);
	return kvzalloc_node(size, gfp, nid);
}

VISIBLE_IF_ZSMALLOC_TEST
struct zspage *zs_alloc_descriptor(struct size_class *class, gfp_t gfp, int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_descriptor, class, gfp, nid);

	/* A node may have movable memory only, which descriptors cannot use. */
	gfp &= ~(__GFP_HIGHMEM | __GFP_MOVABLE | __GFP_THISNODE);
	return kmem_cache_alloc_node(class->cache, gfp | __GFP_ZERO, nid);
}

/* Free a descriptor that was not used. */
VISIBLE_IF_ZSMALLOC_TEST
void zs_discard_descriptor(struct size_class *class, struct zspage *zspage)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_discard_descriptor, class, zspage);

	kmem_cache_free(class->cache, zspage);
}

VISIBLE_IF_ZSMALLOC_TEST
unsigned int zs_alloc_bulk(gfp_t gfp, int nid, unsigned int nr,
			   struct zpdesc **pages)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_bulk, gfp, nid, nr, pages);

	return alloc_pages_bulk_node(gfp, nid, nr, (struct page **)pages);
}

VISIBLE_IF_ZSMALLOC_TEST
struct zpdesc *zs_alloc_single(gfp_t gfp, int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_single, gfp, nid);

	return page_zpdesc(alloc_pages_node(nid, gfp, 0));
}

/*
 * Memory for evacuating one zspage, or for trimming a forwarder. An evacuation frees at
 * least ZS_PAYBACK times as many bytes, and a slab that is allocated for it is used by the
 * next ones, too. Therefore its memory may come from the reserves if the task reclaims
 * memory, and has PF_MEMALLOC. That of a trim does not, see class_trim_forwarders().
 */
VISIBLE_IF_ZSMALLOC_TEST
void *zs_alloc_supply(size_t size, gfp_t gfp)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_supply, size, gfp);

	return kmalloc(size, gfp);
}

/*
 * Add the set with this index. Returns NULL if there is no memory for it. If several tasks
 * do this at the same time, all of them get the set of one task.
 */
static struct size_class *zs_add_set(struct zs_pool *pool, unsigned int index, gfp_t gfp)
{
	struct size_class *classes, *others;
	int nid = zs_set_node(index);

	classes = zs_alloc_classes(nid, gfp);
	if (!classes)
		return NULL;
	for (unsigned int i = 0; i < zs_nr_geos; i++) {
		struct size_class *class = &classes[i];

		class->geo = zs_geos[i];
		class->nid = nid;
		class->pool = pool;
		class->cache = *zs_cache(&class->geo);
		guard(spinlock_init)(&class->lock);
		class->first_wait = jiffies;
		for (int f = 0; f < ZS_NR_FULLNESS; f++)
			INIT_LIST_HEAD(&class->zspages[f]);
		INIT_LIST_HEAD(&class->forwarders);
	}
	/* Release: classes before the pointer. Pairs with zs_set(). */
	others = cmpxchg_release(&pool->sets[index], NULL, classes);
	if (!others)
		return classes;
	kvfree_atomic(classes);
	return others;
}

/* Add @sign to the count of each page's zone. Mostly all pages are in one zone. */
static void zs_count_in_zones(struct zpdesc **pages, unsigned int nr, int sign)
{
	for (unsigned int first = 0, end; first < nr; first = end) {
		int zone = page_zone_id(zpdesc_page(pages[first]));

		for (end = first + 1; end < nr; end++)
			if (page_zone_id(zpdesc_page(pages[end])) != zone)
				break;
		mod_zone_page_state(zpdesc_zone(pages[first]), NR_ZSPAGES,
				    sign * (int)(end - first));
	}
}

static void zs_pages_added(struct zpdesc **pages, unsigned int nr)
{
	zs_count_in_zones(pages, nr, 1);
}

static void zs_pages_removed(struct zpdesc **pages, unsigned int nr)
{
	zs_count_in_zones(pages, nr, -1);
}

/*
 * Whether handles lead back to @zspage. They do not if the descriptor is not in the
 * linear map. KFENCE's pool is outside of it on some architectures, and writing to the
 * skip_kfence file of a slab cache lets the cache use that pool. All builds check this,
 * because the handles of such a zspage would name some other memory.
 */
static bool zspage_is_reachable(struct zspage *zspage)
{
	unsigned long last = zs_encode_location(zspage, ZS_MAX_SLOTS - 1);
	unsigned int slot;

	return !IS_ERR_OR_NULL((void *)last) &&
	       zs_decode_location(last, &slot) == zspage;
}

/*
 * Add the set with this index. Returns NULL if there is no memory for it at hand.
 *
 * A pool becomes large when memory becomes short, so this may fail for long. Therefore it
 * does not wake kswapd, and does not try again for a second.
 */
static struct size_class *zs_try_set(struct zs_pool *pool, unsigned int index, gfp_t gfp)
{
	unsigned long failed = READ_ONCE(pool->set_failed);
	struct size_class *classes;

	if (time_in_range_open(jiffies, failed, failed + HZ))
		return NULL;
	classes = zs_add_set(pool, index, gfp & ~__GFP_RECLAIM);
	if (!classes)
		WRITE_ONCE(pool->set_failed, jiffies);
	return classes;
}

/*
 * The class of the same size on node @nid, in the set that this CPU uses there, or else in
 * the first one; @class itself if the node has no set, and no memory for one can be
 * allocated
 */
static struct size_class *class_on_node(struct size_class *class, int nid, gfp_t gfp)
{
	struct zs_pool *pool = class->pool;
	struct size_class *classes;

	classes = zs_set(pool, zs_set_index(nid, pool_this_set(pool))) ?:
		  zs_first_set(pool, nid) ?: zs_try_set(pool, zs_set_index(nid, 0), gfp);
	return classes ? &classes[zs_geo_index(class->geo.size)] : class;
}

/*
 * A count that is read without class->lock. Any value that it has during the call will
 * do, and it need not be consistent with other counts.
 */
#define ZS_ESTIMATE(count)	data_race(READ_ONCE(count))

VISIBLE_IF_ZSMALLOC_TEST unsigned int zs_small_class __read_mostly = ZS_SMALL_CLASS;

/* Whether zspages of @class begin with a single page */
static bool class_is_small(struct size_class *class)
{
	return ZS_ESTIMATE(class->nr_live) < zs_small_class;
}

/*
 * Allocate a zspage of the size of @class. It is new: no list and no page names it. It
 * belongs to the class of the node on which its first page was allocated, see
 * class_on_node(). If @first is that page, it belongs to @class, and has no other page if
 * @class is small. @first is freed if this fails.
 */
static struct zspage *zspage_alloc(struct size_class *class, gfp_t gfp, int nid,
				   struct zpdesc *first)
{
	unsigned int nr = 0, want = class->geo.pages;
	struct zs_pool *pool = class->pool;
	struct zspage *zspage;

	zspage = zs_alloc_descriptor(class, gfp, nid);
	if (!zspage)
		goto free_first;
	/*
	 * Remove KASAN's tag. Handles cannot have it, and pointers that are decoded
	 * from handles are compared with pointers from lists.
	 */
	zspage = kasan_reset_tag(zspage);
	if (unlikely(!zspage_is_reachable(zspage))) {
		if (!test_and_set_bit(ZS_UNREACHABLE, &pool->reported))
			pr_err("zsmalloc: pool %s: a descriptor is not in the linear map, so it can have no handles; is skip_kfence of its slab cache 0?\n",
			       pool->name);
		goto discard;
	}

	if (first) {
		zspage->pages[nr++] = first;
		if (class_is_small(class))
			want = 1;
	}
	if (want > nr + 1)
		nr += zs_alloc_bulk(gfp, nid, want - nr, zspage->pages + nr);
	/* The bulk allocator may return fewer pages although there is memory. */
	for (; nr < want; nr++) {
		zspage->pages[nr] = zs_alloc_single(gfp, nid);
		if (!zspage->pages[nr])
			goto free_pages;
	}

	if (!first)
		class = class_on_node(class, page_to_nid(zpdesc_page(zspage->pages[0])),
				      gfp);
	seqcount_spinlock_init(&zspage->moves, &class->lock);
	zspage->class = class;
	zspage_init_generations(zspage);
	zspage->state = ZSPAGE_NEW;
	zspage->nr_pages = nr;
	zspage_set_magic(zspage, ZSPAGE_MAGIC);
	zs_pages_added(zspage->pages, nr);
	atomic_long_add(nr, &pool->pages);
	atomic_long_inc(&pool->refs);
	return zspage;

free_pages:
	first = NULL;
	while (nr--)
		zpdesc_put(zspage->pages[nr]);
discard:
	zs_discard_descriptor(class, zspage);
free_first:
	if (first)
		zpdesc_put(first);
	return NULL;
}

/*
 * Make @zpdesc a page of @zspage: set page->zspage, and then the movable mark. When the
 * core finds the mark, it takes the page lock and calls zs_isolate_page(), which reads
 * page->zspage. The mark and the page type stay until the page is back in the page
 * allocator.
 */
static void zspage_adopt(struct zspage *zspage, struct zpdesc *zpdesc)
{
	zpdesc->zspage = zspage;
	__zpdesc_set_zsmalloc(zpdesc);
	if (zs_migration) {
		/*
		 * page->zspage before the mark. Pairs with folio_trylock() in
		 * isolate_movable_ops_page(): the mark is a bit of the same word as the
		 * page lock.
		 */
		smp_mb__before_atomic();
		__zpdesc_set_movable(zpdesc);
	}
}

/*
 * Free pages that are locked. A task that waits for one of these locks, or has a
 * reference to one of the pages, finds page->zspage cleared when it has the lock.
 */
static void zs_release_pages(struct zpdesc **pages, unsigned int nr)
{
	zs_pages_removed(pages, nr);
	for (unsigned int i = 0; i < nr; i++) {
		pages[i]->zspage = NULL;
		zpdesc_unlock(pages[i]);
		__free_page(zpdesc_page(pages[i]));
	}
}

/* Free a descriptor. Its class and pool must not be used: they may have been freed. */
static void zspage_free_memory(struct zspage *zspage)
{
	zspage_set_magic(zspage, 0);
	/*
	 * A zspage that was no forwarder has @guests in this place, which is NULL because
	 * no guests are left.
	 */
	kfree(zspage->far_links);
	kfree(zspage);
}

static void zspage_free_rcu(struct rcu_head *rcu)
{
	zspage_free_memory(container_of(rcu, struct zspage, rcu));
}

static bool zspage_was_host(const struct zspage *zspage)
{
	/* Other bits of the byte may change, under class->lock: see zspage_is_idle(). */
	return data_race(!!zspage->was_host);
}

/*
 * A reader may have read the link of a guest before the guest was moved out of @zspage,
 * and may be about to pin @zspage. The guest does not keep the descriptor any more;
 * only RCU does. So if guests were moved out of a zspage, its descriptor is freed after
 * a grace period.
 */
static void zspage_free_descriptor(struct zspage *zspage)
{
	struct zs_pool *pool = zspage->class->pool;

	if (zspage_was_host(zspage))
		call_rcu(&zspage->rcu, zspage_free_rcu);
	else
		zspage_free_memory(zspage);
	zs_pool_put(pool);
}

/*
 * Whether a dead zspage has no pins and no stale pages. If guests were moved out of it, it
 * may have both: a reader with an old link may pin it in vain, and a round may wait for
 * that pin, see zs_pin_forwarded(). Otherwise no task changes either of them.
 */
static bool __maybe_unused zspage_is_idle(struct zspage *zspage)
	__context_unsafe(/* dead */)
{
	return !atomic_read(&zspage->pins) && !zspage->nr_stale;
}

/* Free a dead zspage and its pages, all of which are locked. It is no forwarder. */
static void zspage_free(struct zspage *zspage)
{
	struct size_class *class = zspage->class;

	VM_WARN_ON_ONCE(zspage->state != ZSPAGE_DEAD);
	VM_WARN_ON_ONCE(zspage->nr_guests);
	VM_WARN_ON_ONCE(!zspage_was_host(zspage) && !zspage_is_idle(zspage));

	zs_release_pages(zspage->pages, zspage->nr_pages);
	atomic_long_sub(zspage->nr_pages, &class->pool->pages);
	zspage_free_descriptor(zspage);
}

static void zspage_unlock_pages(struct zspage *zspage, unsigned int nr)
{
	while (nr--)
		zpdesc_unlock(zspage->pages[nr]);
}

static bool zspage_trylock_pages(struct zspage *zspage)
{
	for (unsigned int i = 0; i < zspage->nr_pages; i++)
		if (!zpdesc_trylock(zspage->pages[i])) {
			zspage_unlock_pages(zspage, i);
			return false;
		}
	return true;
}

/*
 * Deferred free: a worker frees dead zspages whose page locks could not be taken at
 * once. zs_free() must not sleep, and when the last isolation of a zspage ends, the
 * migration core holds the lock of one of its pages.
 *
 * A dead zspage cannot be isolated, so its pages[] do not change any more.
 *
 * The worker does not sleep for page locks either, because there is one worker for all
 * pools: it tries a zspage with a locked page again later, and goes on with the others.
 */

/* The longest delay after which the worker tries a zspage again, in jiffies */
#define ZS_MAX_DELAY	(HZ / 10)

static LLIST_HEAD(zs_deferred);
/* Zspages with a locked page. Only the worker changes this list. */
static LLIST_HEAD(zs_left);
static void zs_free_deferred(struct work_struct *work);
static DECLARE_DELAYED_WORK(zs_deferred_work, zs_free_deferred);

/* Try to free each zspage of @list. Returns whether one was freed. */
static bool zs_free_listed(struct llist_node *list)
{
	struct zspage *zspage, *next;
	bool freed = false;

	llist_for_each_entry_safe(zspage, next, list, deferred) {
		zs_race("deferred");
		if (zspage_trylock_pages(zspage)) {
			zs_race("deferred_lock");
			atomic_long_dec(&zspage->class->pool->deferred);
			zspage_free(zspage);
			freed = true;
		} else {
			zs_race("deferred_again");
			llist_add(&zspage->deferred, &zs_left);
		}
		cond_resched();
	}
	return freed;
}

/* A work item never runs concurrently with itself, so @delay needs no lock. */
static void zs_free_deferred(struct work_struct *work)
{
	static unsigned long delay = 1;
	struct llist_node *left = llist_del_all(&zs_left);
	bool freed = zs_free_listed(llist_del_all(&zs_deferred));

	freed |= zs_free_listed(left);
	if (llist_empty(&zs_left)) {
		delay = 1;
		return;
	}
	/* Double the delay each time that no zspage could be freed. */
	delay = freed ? 1 : min(2 * delay, ZS_MAX_DELAY);
	queue_delayed_work(zs_wq, &zs_deferred_work, delay);
}

/* Have the worker free @zspage. It runs at once, even if its next run was delayed. */
static void zspage_defer_free(struct zspage *zspage)
{
	struct size_class *class = zspage->class;

	atomic_long_inc(&class->pool->deferred);
	trace_zs_defer_free(class->pool->name, class->geo.size);
	/* From here on the worker may free it. */
	if (llist_add(&zspage->deferred, &zs_deferred))
		mod_delayed_work(zs_wq, &zs_deferred_work, 0);
}

/*
 * Wait until the worker has looked at all deferred zspages once after this was called,
 * and until the pools whose last reference this drops are freed. Returns false if a
 * zspage is left because one of its pages is locked.
 */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_flush_deferred(void)
{
	/*
	 * Not a run that is under way: it may have passed a zspage that is unlocked
	 * now.
	 */
	mod_delayed_work(zs_wq, &zs_deferred_work, 0);
	flush_delayed_work(&zs_deferred_work);
	flush_workqueue(zs_wq);
	return llist_empty(&zs_deferred) && llist_empty(&zs_left);
}

/*
 * Fullness
 */

static bool zspage_check_round(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	int pins = atomic_read(&zspage->pins);
	bool round = pins < 0 && !(pins & ZS_PIN_FROZEN);

	return round == !!zspage->nr_draining && round == !!zspage->early &&
	       round == !!zspage->nr_stale &&
	       zspage->nr_draining <= zspage->nr_stale;
}

/* The group of a live zspage that is not bad */
static enum zs_fullness zspage_group(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	const struct zs_geometry *geo = &zspage->class->geo;

	if (zspage->nr_pages < geo->pages)
		return ZS_GROWING;
	return zs_fullness(zspage->inuse, geo->slots);
}

static bool zspage_check(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;
	unsigned int slots = class->geo.slots;
	unsigned int inuse = bitmap_weight(zspage_bitmap(zspage), zspage_slots(zspage));

	zspage_check_magic(zspage);
	return !WARN_ONCE(zspage->inuse != inuse || zspage->nr_guests > inuse ||
			  inuse != bitmap_weight(zspage_bitmap(zspage), slots) ||
			  !zspage->nr_pages || zspage->nr_pages > class->geo.pages ||
			  zspage->state != ZSPAGE_LIVE ||
			  !zspage_check_round(zspage) ||
			  zspage->isolated > zspage->nr_pages ||
			  (zspage->fullness != ZS_BAD &&
			   zspage->fullness != zspage_group(zspage)) ||
			  find_first_zero_bit(zspage_bitmap(zspage), slots) <
				zspage->hint,
			  "zsmalloc: zspage of %u x %u in %u pages: %u bits set, inuse %u, guests %u, hint %u, isolated %u, fullness %u, pins %#x, stale %u, draining %u, early %u\n",
			  slots, class->geo.size, zspage->nr_pages, inuse, zspage->inuse,
			  zspage->nr_guests, zspage->hint, zspage->isolated,
			  zspage->fullness, atomic_read(&zspage->pins),
			  zspage->nr_stale, zspage->nr_draining, zspage->early);
}

/**
 * struct zs_search - the position of a search for zspages to evacuate
 * @node: on class->searches
 * @next: zspage->list of the zspage to look at next, or the head of the list at its end
 * @fullness: the group whose list that is. Groups are searched in the order of fullness,
 *	      each from front to back, and ZS_GROWING after them.
 * @over: no zspage is left to look at
 *
 * The search continues in the next hold of class->lock where it stopped in the last one,
 * so each hold can be short. It looks at each zspage once, with two exceptions. If there
 * is not enough memory to evacuate the zspage, the search looks at it again when more was
 * allocated, see zspage_prepare_source(). And if the zspage changes its group, the search
 * may look at it once in each of its groups, or never. The search ends, because a zspage
 * that joins the current group is added at the front of the list, which the search has
 * passed.
 */
struct zs_search {
	struct hlist_node	node;
	struct list_head	*next;
	unsigned int		fullness;
	bool			over;
};

/* @zspage is taken off its list: searches that would look at it next skip it. */
static void zspage_skip(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;
	struct zs_search *search;

	hlist_for_each_entry(search, &class->searches, node)
		if (search->next == &zspage->list)
			search->next = zspage->list.next;
}

/*
 * The next zspage that is neither empty, full nor bad, and at last the growing one; NULL if
 * there is none left
 */
static struct zspage *class_search(struct size_class *class, struct zs_search *search)
	__must_hold(&class->lock)
{
	struct zspage *zspage;

	while (search->next == &class->zspages[search->fullness]) {
		if (search->fullness == ZS_GROWING)
			return NULL;
		search->fullness = search->fullness == ZS_99 ? ZS_GROWING : search->fullness + 1;
		search->next = class->zspages[search->fullness].next;
	}
	zspage = list_entry(search->next, struct zspage, list);
	search->next = zspage->list.next;
	return zspage;
}

static void zspage_list_add(struct zspage *zspage, enum zs_fullness fullness)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	lockdep_assert_held(&class->lock);
	class->nr[fullness]++;
	class->groups |= BIT(fullness);
	list_add(&zspage->list, &class->zspages[fullness]);
	zspage->fullness = fullness;
}

static void zspage_list_del(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	lockdep_assert_held(&class->lock);
	if (!--class->nr[zspage->fullness])
		class->groups &= ~BIT(zspage->fullness);
	zspage_skip(zspage);
	list_del(&zspage->list);
}

/* Put @zspage on the list of its group and make it live. */
static void zspage_enlist(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	zspage_list_add(zspage, zspage_group(zspage));
	class->nr_live++;
	class->nr_pages += zspage->nr_pages;
	class->slots += zspage_slots(zspage);
	WRITE_ONCE(zspage->state, ZSPAGE_LIVE);
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		zspage_check(zspage);
}

/* Take @zspage, which is live, off its list. Its new state is @state. */
static void zspage_unlist(struct zspage *zspage, enum zspage_state state)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	zspage_list_del(zspage);
	class->nr_live--;
	class->nr_pages -= zspage->nr_pages;
	/* A bad zspage has no objects any more, so none of its slots is counted. */
	if (zspage->fullness != ZS_BAD)
		class->slots -= zspage_slots(zspage);
	WRITE_ONCE(zspage->state, state);
}

static void zspage_set_fullness(struct zspage *zspage, enum zs_fullness fullness)
	__must_hold(&zspage->class->lock)
{
	if (zspage->fullness == fullness)
		return;
	zspage_list_del(zspage);
	zspage_list_add(zspage, fullness);
}

/* To be called after slots of a live zspage were taken or returned */
static void zspage_update_fullness(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	unsigned int slots = zspage->class->geo.slots;

	if (likely(zspage->fullness < ZS_BAD))
		zspage_set_fullness(zspage, zs_fullness(zspage->inuse, slots));
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		zspage_check(zspage);
}

/* The most zspages that a search looks at in one hold of class->lock */
#define ZS_TRIES	16

/*
 * Set @zspage aside in ZS_BAD if a page of it is known to be bad, so that this is found
 * only once, and later searches do not look at it. Returns whether it is bad.
 */
static bool zspage_set_aside_if_bad(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	for (unsigned int i = 0; i < zspage->nr_pages; i++)
		if (unlikely(zs_page_is_bad(zpdesc_page(zspage->pages[i])))) {
			class->slots -= zspage_slots(zspage) - zspage->inuse;
			zspage_set_fullness(zspage, ZS_BAD);
			return true;
		}
	return false;
}

/* The growing zspage of @class, or NULL */
static struct zspage *class_growing(struct size_class *class)
	__must_hold(&class->lock)
{
	return list_first_entry_or_null(&class->zspages[ZS_GROWING], struct zspage, list);
}

/*
 * The growing zspage if it has a free slot; or else an empty one, which will be freed if its
 * slots are not used; or NULL. Not inline, because most classes have other free slots.
 */
static noinline struct zspage *class_find_rest(struct size_class *class)
	__must_hold(&class->lock)
{
	struct zspage *zspage = class_growing(class);

	if (zspage) {
		zspage_assert_locked(zspage);
		if (zspage->inuse < zspage_slots(zspage))
			return zspage;
	}
	return list_first_entry_or_null(&class->zspages[ZS_EMPTY], struct zspage, list);
}

/*
 * A zspage with a free slot: of the fullest group, the one that was added last; if all are
 * full, see class_find_rest(). NULL if there is none, or if the search meets too many bad
 * ones. It sets these aside, so the next search gets further.
 */
static __always_inline struct zspage *class_find_zspage(struct size_class *class)
	__must_hold(&class->lock)
{
	for (unsigned int tries = ZS_TRIES; tries; tries--) {
		unsigned long groups = class->groups & ZS_PARTLY_USED;
		struct zspage *zspage;

		if (likely(groups))
			zspage = list_first_entry(&class->zspages[__fls(groups)],
						  struct zspage, list);
		else
			zspage = class_find_rest(class);
		if (!zspage)
			break;
		zspage_assert_locked(zspage);
		if (likely(!zspage_set_aside_if_bad(zspage)))
			return zspage;
	}
	return NULL;
}

/*
 * Allocating and freeing
 */

/* Take the lowest free slot. There must be one. The caller updates the fullness. */
static unsigned int zspage_take_slot(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;
	unsigned int word = zspage->hint / BITS_PER_LONG, slot;
	unsigned long *bitmap = zspage_bitmap(zspage);

	lockdep_assert_held(&class->lock);
	while (bitmap[word] == ULONG_MAX)
		word++;
	slot = word * BITS_PER_LONG + ffz(bitmap[word]);
	__set_bit(slot, bitmap);
	zspage->hint = slot + 1;
	zspage->inuse++;
	class->inuse++;
	return slot;
}

/* Allocate an object in @zspage, which has a free slot. */
static __always_inline unsigned long zspage_malloc(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	unsigned long handle = zspage_handle(zspage, zspage_take_slot(zspage));

	zspage_update_fullness(zspage);
	return handle;
}

/* Allocate an object in a free slot of @class. Returns 0 if no free slot is found. */
static __always_inline unsigned long class_take_slot(struct size_class *class)
	__must_hold(&class->lock)
{
	struct zspage *zspage = class_find_zspage(class);

	if (!zspage)
		return 0;
	zspage_assert_locked(zspage);
	return zspage_malloc(zspage);
}

/*
 * Take the lock of @class, which another CPU has, and count the time. When zs_malloc() has
 * waited for long, the pool gets more sets. A wait that began before it got others does not
 * count: it does not tell whether these are enough.
 */
static noinline void class_lock_slow(struct size_class *class)
	__acquires(&class->lock)
{
	unsigned int mask = READ_ONCE(class->pool->set_mask);
	u64 start = zs_clock();

	zs_race("malloc_wait");
	spin_lock(&class->lock);
	if (!time_in_range_open(jiffies, class->first_wait, class->first_wait + HZ)) {
		class->first_wait = jiffies;
		class->waited = 0;
	}
	if (mask == READ_ONCE(class->pool->set_mask))
		class->waited += min_t(u64, zs_clock() - start, ZS_WAIT_MAX);
	if (class->waited >= ZS_LONG_WAIT) {
		class->waited = 0;
		pool_add_sets(class->pool);
	}
}

/* class_take_slot(), which needs class->lock: wait for it if necessary */
static __always_inline unsigned long class_malloc(struct size_class *class)
{
	unsigned long handle;

	/* Lockdep learns little from spin_trylock(). */
	might_lock(&class->lock);
	if (unlikely(!spin_trylock(&class->lock)))
		class_lock_slow(class);
	handle = class_take_slot(class);
	spin_unlock(&class->lock);

	return handle;
}

/* Whether @class has a free slot; an estimate */
static bool class_has_room(struct size_class *class)
{
	return ZS_ESTIMATE(class->slots) != ZS_ESTIMATE(class->inuse);
}

/* class_malloc(), except that it does not wait for the lock, but returns 0 then */
static unsigned long class_try_malloc(struct size_class *class)
{
	unsigned long handle;

	if (!spin_trylock(&class->lock))
		return 0;
	handle = class_take_slot(class);
	spin_unlock(&class->lock);

	return handle;
}

/*
 * Classes without zspages
 *
 * In a small pool, a page for each class would take much of the memory. Therefore an
 * object whose class has no zspage is allocated in a free slot of a larger class, if its
 * slots are at most a quarter larger. The class counts the bytes that are lost by that.
 * When they would be more than half a page, it gets a zspage, which has half a page of
 * free slots on average. Objects stay where they were allocated. Once the class has got a
 * zspage, it counts from 0: this matters when it has lost its last one.
 *
 * The count is not exact. Tasks that allocate at the same time may exceed the limit by an
 * object each, and an object that is freed is not subtracted, because a slot does not tell
 * the size of its object. A pool with several class sets is large, and does not do this.
 */

/*
 * Allocate an object of the size of @class in a larger class, if @class has no zspage.
 * Returns 0 if no free slot is found.
 */
static unsigned long class_malloc_larger(struct size_class *class)
{
	unsigned int index = zs_geo_index(class->geo.size);

	/* A class without zspages is small, except for tests that want none to be. */
	if (ZS_ESTIMATE(class->nr_live) || !class_is_small(class) ||
	    READ_ONCE(class->pool->set_mask))
		return 0;
	for (struct size_class *larger = class + 1; ++index < zs_nr_geos; larger++) {
		unsigned int lost = larger->geo.size - class->geo.size;
		unsigned long handle;

		if (lost > class->geo.size / 4 ||
		    ZS_ESTIMATE(class->lost) + lost > ZS_MAX_LOST)
			break;
		handle = class_has_room(larger) ? class_try_malloc(larger) : 0;
		if (!handle)
			continue;
		spin_lock(&class->lock);
		class->lost += lost;
		spin_unlock(&class->lock);
		return handle;
	}
	return 0;
}

/*
 * The class of the size of @class in set number @set of node @nid, if it is another one
 * and may have a free slot, or NULL
 */
static struct size_class *class_with_room(struct size_class *class, int nid,
					  unsigned int set)
{
	struct size_class *other = zs_class(class->pool, class->geo.size,
					    zs_set_index(nid, set));

	return other && other != class && class_has_room(other) ? other : NULL;
}

/*
 * @class has no free slot. Use one of another set of its node. Otherwise each set would
 * have zspages that are not full. But do not wait for a lock: then it is better if @class
 * gets a zspage, from which the next objects are allocated, too. Returns 0 if no free slot
 * is found.
 */
static unsigned long class_malloc_beside(struct size_class *class)
{
	unsigned int mask = READ_ONCE(class->pool->set_mask);
	unsigned int cpu = raw_smp_processor_id();
	unsigned long handle = 0;

	/* A zspage with a single slot has a free one only while its page is isolated. */
	if (!mask || class->geo.slots == 1)
		return 0;
	/* @class may be in any set: the task may have changed the CPU. */
	for (unsigned int i = 0; !handle && i <= mask; i++) {
		struct size_class *other = class_with_room(class, class->nid,
							   (cpu + i) & mask);

		handle = other ? class_try_malloc(other) : 0;
	}
	return handle;
}

/*
 * Growing zspages
 *
 * Most classes have a zspage that is not full. In a small pool, the free slots of these
 * zspages would take more memory than the objects. Therefore a zspage of a small class
 * begins with a single page, and is given another page each time that the class has no
 * free slot. Until it has all pages of its geometry it is *growing*; after that it never
 * loses a page.
 *
 * A class has at most one growing zspage. Its free slots are used when no other zspage of
 * the class has any, for new objects and for objects that are moved. A zspage of a large
 * class gets all of its pages at once: taking the lock for each page would make zs_malloc()
 * slower, and the memory saved would be little next to what the class has.
 */

/* Add a page to the growing zspage of @class, and return it; NULL if there is none. */
static struct zspage *class_grow(struct size_class *class, struct zpdesc *zpdesc)
	__must_hold(&class->lock)
{
	struct zspage *zspage = class_growing(class);

	if (!zspage)
		return NULL;
	zspage_assert_locked(zspage);
	if (zspage_set_aside_if_bad(zspage))
		return NULL;
	class->slots -= zspage_slots(zspage);
	zspage->pages[zspage->nr_pages++] = zpdesc;
	zspage_adopt(zspage, zpdesc);
	class->nr_pages++;
	class->slots += zspage_slots(zspage);
	zspage_set_fullness(zspage, zspage_group(zspage));
	return zspage;
}

/*
 * Allocate an object in the growing zspage of @class, to which the page is added; or, if
 * objects were freed meanwhile, in a free slot, and free the page. Returns 0 if there is
 * neither.
 */
static unsigned long class_malloc_page(struct size_class *class, struct zpdesc *zpdesc)
{
	unsigned long handle, found;
	struct zspage *zspage;

	spin_lock(&class->lock);
	found = class_take_slot(class);
	handle = found;
	zspage = found ? NULL : class_grow(class, zpdesc);
	if (zspage) {
		zspage_assert_locked(zspage);
		handle = zspage_malloc(zspage);
		/* The object keeps the zspage, and class->lock keeps the page. */
		zs_pages_added(&zpdesc, 1);
		atomic_long_inc(&class->pool->pages);
	}
	spin_unlock(&class->lock);
	if (found)
		zpdesc_put(zpdesc);

	return handle;
}

/* Whether @class has a growing zspage; an estimate */
static bool class_has_growing(struct size_class *class)
{
	return ZS_ESTIMATE(class->groups) & BIT(ZS_GROWING);
}

/* Free the descriptor of a new zspage whose page was given to another one. */
static void zspage_discard(struct zspage *zspage)
{
	struct size_class *class = zspage->class;

	zspage_set_magic(zspage, 0);
	zs_discard_descriptor(class, zspage);
	zs_pool_put(class->pool);
}

/*
 * Allocate the first object in @new, which is a new zspage. If it is to grow, and the class
 * has a growing zspage, for example because another CPU was faster, that one gets its page.
 */
static unsigned long zspage_malloc_first(struct zspage *new)
{
	struct size_class *class = new->class;
	struct zspage *growing = NULL;
	unsigned long handle;

	spin_lock(&class->lock);
	if (new->nr_pages < class->geo.pages)
		growing = class_grow(class, new->pages[0]);
	if (growing) {
		zspage_assert_locked(growing);
		handle = zspage_malloc(growing);
	} else {
		/*
		 * From here on the core may isolate the pages. An isolation that ends while
		 * the zspage has no object frees it. So the first object is allocated in the
		 * same hold of the lock, which isolating a page takes.
		 */
		for (unsigned int i = 0; i < new->nr_pages; i++)
			zspage_adopt(new, new->pages[i]);
		handle = zspage_handle(new, zspage_take_slot(new));
		zspage_enlist(new);
		class->lost = 0;
	}
	spin_unlock(&class->lock);
	if (growing)
		zspage_discard(new);

	return handle;
}

/*
 * Allocate an object of the size of @class in new memory: in a page that a growing zspage
 * gets, or in a new zspage. Returns 0 if there is no memory.
 */
static unsigned long class_malloc_new(struct size_class *class, gfp_t gfp, int nid)
{
	struct zpdesc *first = NULL;
	unsigned long handle = 0;
	struct zspage *new;

	if (!zs_migration)
		gfp &= ~__GFP_MOVABLE;
	if (class_has_growing(class) || (class_is_small(class) && class->geo.pages > 1)) {
		first = zs_alloc_single(gfp, nid);
		if (!first)
			return 0;
		class = class_on_node(class, page_to_nid(zpdesc_page(first)), gfp);
		zs_race("malloc_page");
		if (class_has_growing(class))
			handle = class_malloc_page(class, first);
	}
	if (handle)
		return handle;
	new = zspage_alloc(class, gfp, nid, first);
	if (!new)
		return 0;
	zs_race("malloc_new");
	return zspage_malloc_first(new);
}

/*
 * The zones from which the page allocator takes memory for node @nid: those of the
 * nearest node first, and those of one node together. With __GFP_THISNODE there are
 * only those of @nid. The last entry has no zone.
 */
static struct zoneref *zs_near_nodes(int nid, gfp_t gfp)
{
	return node_zonelist(nid, gfp)->_zonerefs;
}

/*
 * The node of an entry; false at the end. Memory hotplug may change the entry at any
 * time, so it is read once.
 */
static bool zs_node_of(struct zoneref *z, int *nid)
{
	struct zone *zone = READ_ONCE(z->zone);

	if (zone)
		*nid = zone_to_nid(zone);
	return zone;
}

/*
 * Node @nid does not have the set that this CPU uses. Add it, or the first set of the node,
 * if the node has memory. If the node has none, or if there is no memory for the set, use
 * the first set of the nearest node that has one, which may be @nid.
 */
static noinline struct size_class *zs_set_slow(struct zs_pool *pool, int nid, gfp_t gfp)
{
	unsigned int set = zs_first_set(pool, nid) ? pool_this_set(pool) : 0;
	struct zoneref *z = zs_near_nodes(nid, GFP_KERNEL);
	unsigned int index = zs_set_index(nid, set);
	struct size_class *classes = NULL;
	int near;

	if (zs_node_has_memory(nid))
		classes = zs_set(pool, index) ?: zs_try_set(pool, index, gfp);
	for (; !classes && zs_node_of(z, &near); z++)
		classes = zs_first_set(pool, near);
	/* All nodes that have sets have lost their memory. */
	for (near = 0; !classes; near++)
		classes = zs_first_set(pool, near);
	return classes;
}

/*
 * Allocate an object of the size of @class in a free slot of another set or node, the
 * nearest to @nid first. Returns 0 if no free slot is found.
 */
static unsigned long class_malloc_elsewhere(struct size_class *class, gfp_t gfp, int nid)
{
	unsigned int sets = READ_ONCE(class->pool->set_mask) + 1;
	struct zoneref *z = zs_near_nodes(nid, gfp);
	int last = NUMA_NO_NODE;

	for (; zs_node_of(z, &nid); z++) {
		if (nid == last)
			continue;
		for (unsigned int set = 0; set < sets; set++) {
			struct size_class *other = class_with_room(class, nid, set);
			unsigned long handle = other ? class_malloc(other) : 0;

			if (handle)
				return handle;
		}
		last = nid;
	}
	return 0;
}

/*
 * @class has no free slot. If node @nid, or that of the CPU, has no free memory either, a
 * slot of another set or node is better than reclaim. For that, memory at hand is what can
 * be had without reclaim and without reserves.
 */
static noinline unsigned long class_malloc_slow(struct size_class *class,
						gfp_t gfp, int nid)
{
	gfp_t at_hand = (gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL | __GFP_HIGH)) |
			__GFP_THISNODE | __GFP_NOMEMALLOC | __GFP_NOWARN;
	bool others = nr_node_ids > 1 || READ_ONCE(class->pool->set_mask);
	int near = nid == NUMA_NO_NODE ? numa_mem_id() : nid;
	unsigned long handle = class_malloc_beside(class) ?: class_malloc_larger(class);

	/* Without @nid, a free slot of any node is preferred to new memory. */
	if (!handle && others && (nid != NUMA_NO_NODE || nr_node_ids == 1))
		handle = class_malloc_new(class, at_hand, near);
	if (!handle && others)
		handle = class_malloc_elsewhere(class, gfp, near);
	if (!handle)
		handle = class_malloc_new(class, gfp, nid);
	/* Objects may have been freed meanwhile. */
	return handle ?: class_malloc(class) ?: (unsigned long)-ENOMEM;
}

static bool zs_node_is_online(int nid)
{
	return (unsigned int)nid < nr_node_ids && node_online(nid);
}

/* NUMA_NO_NODE, or a node that this machine can have */
static bool zs_hint_is_valid(int nid)
{
	return nid == NUMA_NO_NODE ||
	       ((unsigned int)nid < nr_node_ids && node_possible(nid));
}

/**
 * zs_malloc - allocate an object
 * @pool: the pool to allocate it from
 * @size: its size in bytes, 1 to PAGE_SIZE
 * @gfp: flags for allocating memory if the pool has no free slot of this size, best with
 *	 __GFP_HIGHMEM and __GFP_MOVABLE
 * @nid: the node that the object should be on, or NUMA_NO_NODE
 *
 * A free slot on @nid is used first, which may be up to a quarter larger if the node has no
 * zspage for objects of this size; then free memory of @nid; then a free slot on
 * another node that has memory, the nearest first. Only after that does the call reclaim
 * memory itself; kswapd may have been woken before. NUMA_NO_NODE means the node of the
 * CPU, except that any free slot is preferred to new memory. An offline @nid is taken for
 * NUMA_NO_NODE: a user may have read the number before the node was taken offline.
 *
 * If the pool has several class sets, a free slot of another set is used before new memory,
 * but if the lock of its class is taken, only when there is no free memory on @nid.
 *
 * With __GFP_THISNODE in @gfp, slots of other nodes are not used, except if @nid is
 * offline, if it has no memory, or if it has no free memory for the pool's size classes
 * of that node, some 64 KB. Until it has, its objects share the classes of another node.
 * The other flags in @gfp and the cpuset of the task apply to new memory only: a free
 * slot may be on a node on which the task must not allocate.
 *
 * The object's contents are undefined until zs_obj_write().
 *
 * Context: any in which @gfp may be used, except interrupts; takes a spinlock.
 * Return: a handle, which is never 0, or an error value, see IS_ERR_VALUE(): -EINVAL if
 * @size is 0 or there cannot be a node @nid, -ENOSPC if @size is above PAGE_SIZE, -ENOMEM
 * if there is no memory.
 */
unsigned long zs_malloc(struct zs_pool *pool, size_t size, gfp_t gfp,
			const int nid)
{
	struct size_class *classes, *class;
	int hint = nid, node = nid;
	unsigned long handle;

	if (unlikely(!zs_node_is_online(nid))) {
		if (!zs_hint_is_valid(nid))
			return (unsigned long)-EINVAL;
		hint = NUMA_NO_NODE;
		node = numa_mem_id();
	}
	if (unlikely(!size))
		return (unsigned long)-EINVAL;
	if (unlikely(size > PAGE_SIZE))
		return (unsigned long)-ENOSPC;

	classes = zs_set(pool, zs_set_index(node, pool_this_set(pool)));
	if (unlikely(!classes))
		classes = zs_set_slow(pool, node, gfp);
	class = &classes[zs_geo_index(size)];
	handle = class_malloc(class);
	if (unlikely(!handle))
		handle = class_malloc_slow(class, gfp, hint);
	return handle;
}
EXPORT_SYMBOL_GPL(zs_malloc);

static bool zspage_return_slot(struct zspage *zspage, unsigned int slot)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	if (unlikely(slot >= class->geo.slots ||
		     !__test_and_clear_bit(slot, zspage_bitmap(zspage))))
		return false;
	zspage_next_generation(zspage, slot);
	if (slot < zspage->hint)
		zspage->hint = slot;
	zspage->inuse--;
	class->inuse--;
	if (unlikely(zspage->fullness == ZS_BAD))
		class->slots--;
	return true;
}

/*
 * Whether @handle has the present generation of its slot. If not, its object was freed.
 * The handle of a freed object may pass, because generations repeat, and because a slot of
 * a forwarder keeps its generation. Without generations, every handle passes.
 */
static bool zs_handle_is_current(unsigned long handle)
{
	unsigned int slot;
	struct zspage *home = zs_decode_location(handle, &slot);

	return slot < home->class->geo.slots &&
	       handle == zspage_handle(home, slot);
}

/**
 * struct zs_reap - memory to be freed after class->lock was dropped
 * @dead: a zspage whose last object was freed
 * @locked: whether all pages of @dead are locked
 * @forwarder: a forwarder whose last object was freed
 * @blocks: guest blocks that are not needed any more
 */
struct zs_reap {
	struct zspage *dead;
	bool locked;
	struct zspage *forwarder;
	struct zs_guest_block *blocks;
};

/* Free the object in @slot of @home; fails if it was freed before. */
static __always_inline bool zspage_free_slot(struct zspage *home, unsigned int slot,
					     unsigned long handle, struct zs_reap *reap)
	__must_hold(&home->class->lock)
{
	struct zspage *zspage = home;

	if (ZS_GENERATIONS > 1 && !zs_handle_is_current(handle))
		return false;
	if (unlikely(home->state == ZSPAGE_FORWARDER)) {
		/* Without a pointer to it, @reap stays in registers. */
		struct zs_guest_block *blocks = NULL;

		zspage = forwarder_drop_link(home, handle, &slot, &blocks);
		reap->blocks = blocks;
		if (!zspage)
			return false;
		if (!home->nr_links)
			reap->forwarder = home;
	}
	zspage_assert_locked(zspage);
	if (unlikely(!zspage_return_slot(zspage, slot)))
		return false;

	if (zspage->inuse || zspage->isolated) {
		zspage_update_fullness(zspage);
	} else {
		zspage_unlist(zspage, ZSPAGE_DEAD);
		reap->dead = zspage;
		reap->locked = zspage_trylock_pages(zspage);
	}
	return true;
}

/*
 * Free what zspage_free_slot() has left. No task changes the objects or the pages of a
 * dead zspage any more, though zs_isolate_page() may look at its state, and a reader with
 * an old link may pin it in vain. Its reference to the pool may be the last one, and the
 * pool keeps the class. So the zspage must not be freed while class->lock is held.
 */
static __always_inline void zs_reap(const struct zs_reap *reap)
{
	if (reap->dead)
		zs_race("free_dead");
	if (reap->locked)
		zspage_free(reap->dead);
	else if (reap->dead)
		zspage_defer_free(reap->dead);
	if (unlikely(reap->forwarder))
		zspage_free_descriptor(reap->forwarder);
	zs_free_blocks(reap->blocks);
}

/**
 * zs_free - free an object
 * @pool: the pool that it was allocated from
 * @handle: the handle that zs_malloc() returned; 0 and error values are ignored
 *
 * The caller must have closed the object, and must not use @handle any more.
 *
 * A double free is reported and otherwise ignored, provided that other objects keep the
 * zspage and that the slot has not been used again, by an allocation or by zs_compact().
 * With CONFIG_DEBUG_VM on 64-bit, the slot may have been used again up to seven times.
 * In all other cases a double free is a use after free like any other. The first double
 * free of a pool is reported by a warning with a stack trace, each further one by one
 * line, at a limited rate.
 *
 * Context: any except interrupts; takes a spinlock.
 */
void zs_free(struct zs_pool *pool, unsigned long handle)
{
	struct size_class *class;
	struct zs_reap reap = { };
	struct zspage *home;
	unsigned int slot;
	bool freed;

	if (IS_ERR_OR_NULL((void *)handle))
		return;

	home = zs_decode_location(handle, &slot);
	class = home->class;
	zs_race("free");
	spin_lock(&class->lock);
	freed = zspage_free_slot(home, slot, handle, &reap);
	spin_unlock(&class->lock);
	if (likely(freed))
		zs_reap(&reap);
	else
		zs_report(pool, ZS_DOUBLE_FREE, "double free of handle %#lx",
			  handle);
}
EXPORT_SYMBOL_GPL(zs_free);

/*
 * Reading and writing
 */

/* The index of the page in which @slot begins, and the offset in that page */
static unsigned int zspage_locate(struct zspage *zspage, unsigned int slot,
				  unsigned int *offset)
{
	unsigned long pos = (unsigned long)slot * zspage->class->geo.size;

	*offset = offset_in_page(pos);
	return pos >> PAGE_SHIFT;
}

/* Copy an object that begins at @offset in the page at @index, and ends in the next. */
static noinline void *zspage_copy_halves(struct zspage *zspage,
					 unsigned int index, unsigned int offset,
					 void *to, size_t len)
{
	size_t head = PAGE_SIZE - offset;

	memcpy_from_page(to, zspage_page(zspage, index), offset, head);
	zs_race("read_half");
	memcpy_from_page(to + head, zspage_page(zspage, index + 1), 0,
			 len - head);
	return to;
}

/*
 * Whether @len is a valid length in a slot of @zspage. 0 is not, because no object is
 * empty, and a scatterlist must not have an empty entry. 0 less 1 is the largest
 * number, so that one comparison is enough.
 */
static __always_inline bool zspage_length_fits(struct zspage *zspage, size_t len)
{
	return likely(len - 1 < zspage->class->geo.size);
}

/*
 * Whether there is an object that has @handle. Its bit was set before its user got the
 * handle, so no lock is needed to see the bit.
 *
 * The answer is wrong for a forwarded object that was freed, until the forwarder is
 * trimmed. zs_may_access() does not need it then, because zs_follow() has returned
 * zs_no_host, in which no length fits.
 */
static bool zs_handle_is_live(unsigned long handle)
{
	unsigned int slot;
	struct zspage *home = zs_decode_location(handle, &slot);

	if (!zs_handle_is_current(handle))
		return false;
	/* Other bits of the word may change, under class->lock. */
	return data_race(test_bit(slot, zspage_bitmap(home)));
}

/*
 * Whether @len bytes of an object that is pinned in @zspage may be read or written.
 * Debug builds also detect that the object was freed: neither KASAN nor the slab
 * allocator knows about objects.
 */
static __always_inline bool zs_may_access(unsigned long handle,
					  struct zspage *zspage, size_t len)
{
	return zspage_length_fits(zspage, len) &&
	       (!IS_ENABLED(CONFIG_DEBUG_VM) || zs_handle_is_live(handle));
}

static noinline __cold void zs_refuse(struct zs_pool *pool, unsigned long handle,
				      struct zspage *zspage, size_t len)
{
	if (zspage_length_fits(zspage, len))
		zs_report_stale(pool, handle);
	else if (zspage != &zs_no_host)	/* reported before */
		zs_report(pool, ZS_WRONG_LENGTH,
			  "access to %zu bytes of handle %#lx, in a slot of %u bytes",
			  len, handle, zspage->class->geo.size);
}

/*
 * Refuse a read: the reader gets zeroes instead of another object's bytes. They are
 * mapped if the object's bytes would be mapped, and copied if these would be copied,
 * because zs_obj_read_end() makes the same distinction. At most a page is zeroed,
 * whatever @len is, because no buffer for an object is longer.
 */
static noinline __cold void *zs_refuse_read(struct zs_pool *pool,
					    unsigned long handle,
					    struct zspage *zspage,
					    unsigned int slot, size_t len,
					    void *local_copy)
{
	unsigned int offset;

	zs_refuse(pool, handle, zspage, len);
	zspage_locate(zspage, slot, &offset);
	if (!zs_straddles(offset, len))
		return kmap_local_page(ZERO_PAGE(0)) + offset;
	if (!local_copy)
		return page_address(ZERO_PAGE(0));
	return memset(local_copy, 0, min(len, PAGE_SIZE));
}

/* The same for a scatterlist, which gets at most two pages */
static noinline __cold void zs_refuse_sg(struct zs_pool *pool,
					 unsigned long handle,
					 struct zspage *zspage,
					 struct scatterlist *sg, size_t len)
{
	size_t first = clamp(len, 1, PAGE_SIZE);

	zs_refuse(pool, handle, zspage, len);
	sg_init_table(sg, len > PAGE_SIZE ? 2 : 1);
	sg_set_page(sg, ZERO_PAGE(0), first, 0);
	if (len > PAGE_SIZE)
		sg_set_page(sg_next(sg), ZERO_PAGE(0),
			    min(len - first, PAGE_SIZE), 0);
}

/* Read the object in @slot of @zspage, which is pinned. */
static __always_inline void *zs_read_pinned(struct zs_pool *pool,
					    unsigned long handle,
					    struct zspage *zspage,
					    unsigned int slot, size_t mem_len,
					    void *local_copy)
{
	unsigned int index, offset;

	if (unlikely(!zs_may_access(handle, zspage, mem_len)))
		return zs_refuse_read(pool, handle, zspage, slot, mem_len,
				      local_copy);
	index = zspage_locate(zspage, slot, &offset);

	zs_race("read");
	if (!zs_straddles(offset, mem_len))
		return kmap_local_page(zspage_page(zspage, index)) + offset;
	return zspage_copy_halves(zspage, index, offset, local_copy, mem_len);
}

/* A function of its own, so that the fast path needs no stack frame */
static noinline void *zs_read_begin_slow(struct zs_pool *pool,
					 unsigned long handle, size_t mem_len,
					 void *local_copy, int pins)
{
	unsigned int slot;
	struct zspage *zspage;

	zspage = zs_follow(zs_pin_slow(handle, pins), &slot);
	return zs_read_pinned(pool, handle, zspage, slot, mem_len, local_copy);
}

/**
 * zs_obj_read_begin - open an object for reading
 * @pool: the pool that it was allocated from
 * @handle: the handle that zs_malloc() returned
 * @mem_len: the object's size, as given to zs_malloc()
 * @local_copy: a buffer of @mem_len bytes, for an object that lies in two pages. It may
 *		be NULL if @mem_len is PAGE_SIZE, because such an object never does.
 *
 * The caller may sleep while the object is open, but must not free the object.
 *
 * An open object does not keep the pages of its zspage from being migrated. But a page
 * that is replaced while the object is open is not freed before the object is closed. As
 * long as a zspage has such replaced pages, opening one of its objects takes a spinlock,
 * and may wait while a page of the size class is copied or a zspage of it is evacuated.
 * Otherwise this does not wait for page migration. A zspage can have as many replaced
 * pages as it has pages. After that none of its pages is migrated until the objects are
 * closed that keep them.
 *
 * zs_compact() does not move the objects of a zspage while one of them is open. Opening
 * an object waits while zs_compact() moves the objects of its zspage.
 *
 * If @mem_len is 0 or larger than the object's slot, this is reported, and zeroes are
 * read instead, up to a page of them. The object must be closed all the same. This also
 * holds for an object that was freed, if other objects keep the zspage, and if
 * CONFIG_DEBUG_VM is set or zs_compact() had moved the object. With CONFIG_DEBUG_VM on
 * 64-bit the slot may even have been used again; but the handles of a slot repeat, each
 * being equal to the eighth one before it.
 *
 * Context: any except interrupts; may sleep on PREEMPT_RT. The result may be a local
 * mapping, see kmap_local_page(): such mappings must be ended in reverse order, and by
 * the task that has made them.
 * Return: the object's bytes, in place or in @local_copy; read-only, and valid until
 * zs_obj_read_end().
 */
void *zs_obj_read_begin(struct zs_pool *pool, unsigned long handle,
			size_t mem_len, void *local_copy)
{
	unsigned int slot;
	struct zspage *home = zs_decode_location(handle, &slot);
	int pins = zs_pin_home(home);

	if (unlikely(pins < 0))
		return zs_read_begin_slow(pool, handle, mem_len, local_copy,
					  pins);
	return zs_read_pinned(pool, handle, home, slot, mem_len, local_copy);
}
EXPORT_SYMBOL_GPL(zs_obj_read_begin);

/**
 * zs_obj_read_end - close an object
 * @pool: as for zs_obj_read_begin()
 * @handle: as for zs_obj_read_begin()
 * @mem_len: as for zs_obj_read_begin()
 * @handle_mem: the address that zs_obj_read_begin() returned
 *
 * Context: as for zs_obj_read_begin(). As long as the zspage has replaced pages, this
 * takes a spinlock, and frees those that no other reader needs.
 */
void zs_obj_read_end(struct zs_pool *pool, unsigned long handle,
		     size_t mem_len, void *handle_mem)
{
	unsigned int slot, offset;
	struct zspage *zspage;

	zspage = zs_pinned(handle, &slot);
	zspage_locate(zspage, slot, &offset);
	if (!zs_straddles(offset, mem_len))
		kunmap_local(handle_mem);
	zspage_unpin(zspage, slot);
}
EXPORT_SYMBOL_GPL(zs_obj_read_end);

/**
 * zs_obj_read_sg_begin - open an object for reading, as a scatterlist
 * @pool: the pool that it was allocated from
 * @handle: the handle that zs_malloc() returned
 * @sg: two entries, to be filled in; only one is used unless the object lies in two pages
 * @mem_len: the object's size, as given to zs_malloc()
 *
 * Like zs_obj_read_begin(), but never copies. If zeroes are read instead of the object,
 * each entry has up to a page of them.
 *
 * Context: any except interrupts; may sleep on PREEMPT_RT.
 */
void zs_obj_read_sg_begin(struct zs_pool *pool, unsigned long handle,
			  struct scatterlist *sg, size_t mem_len)
{
	unsigned int slot, index, offset;
	struct zspage *zspage;
	size_t head;

	zspage = zs_pin(handle, &slot);
	index = zspage_locate(zspage, slot, &offset);
	if (unlikely(!zs_may_access(handle, zspage, mem_len))) {
		zs_refuse_sg(pool, handle, zspage, sg, mem_len);
		return;
	}

	zs_race("read");
	if (!zs_straddles(offset, mem_len)) {
		sg_init_table(sg, 1);
		sg_set_page(sg, zspage_page(zspage, index), mem_len, offset);
		return;
	}

	head = PAGE_SIZE - offset;
	sg_init_table(sg, 2);
	sg_set_page(sg, zspage_page(zspage, index), head, offset);
	zs_race("read_half");
	sg_set_page(sg_next(sg), zspage_page(zspage, index + 1),
		    mem_len - head, 0);
}
EXPORT_SYMBOL_GPL(zs_obj_read_sg_begin);

/**
 * zs_obj_read_sg_end - close an object opened by zs_obj_read_sg_begin()
 * @pool: as for zs_obj_read_sg_begin()
 * @handle: as for zs_obj_read_sg_begin()
 *
 * Context: as for zs_obj_read_sg_begin(); may take a spinlock like zs_obj_read_end().
 */
void zs_obj_read_sg_end(struct zs_pool *pool, unsigned long handle)
{
	struct zspage *zspage;
	unsigned int slot;

	zspage = zs_pinned(handle, &slot);
	zspage_unpin(zspage, slot);
}
EXPORT_SYMBOL_GPL(zs_obj_read_sg_end);

/**
 * zs_obj_write - write an object
 * @pool: the pool that it was allocated from
 * @handle: the handle that zs_malloc() returned
 * @handle_mem: the bytes to store
 * @mem_len: the number of bytes, at most the size given to zs_malloc()
 *
 * The caller must exclude other readers and writers of the object. If @mem_len is 0 or
 * larger than the object's slot, this is reported, and nothing is written. The same holds
 * if the object was freed, in the cases that zs_obj_read_begin() reports.
 *
 * This waits while a page of the object's zspage is copied to its replacement, and in
 * the cases in which zs_obj_read_begin() waits.
 *
 * Context: any except interrupts; may sleep on PREEMPT_RT.
 */
void zs_obj_write(struct zs_pool *pool, unsigned long handle,
		  void *handle_mem, size_t mem_len)
{
	unsigned int slot, index, offset, seq;
	struct zspage *zspage;
	size_t head;

	zspage = zs_pin(handle, &slot);
	index = zspage_locate(zspage, slot, &offset);
	if (unlikely(!zs_may_access(handle, zspage, mem_len))) {
		zs_refuse(pool, handle, zspage, mem_len);
		zspage_unpin(zspage, slot);
		return;
	}
	head = min(mem_len, PAGE_SIZE - offset);

	/*
	 * Bytes that are written to a page while it is copied may not reach its
	 * replacement. So wait until no copy is under way, write, and start over if one
	 * has begun since, however often. Writing twice does no harm.
	 */
	do {
		seq = read_seqcount_begin(&zspage->moves);
		zs_race("write");
		memcpy_to_page(zspage_page(zspage, index), offset, handle_mem,
			       head);
		zs_race("write_half");
		if (zs_straddles(offset, mem_len))
			memcpy_to_page(zspage_page(zspage, index + 1), 0,
				       handle_mem + head, mem_len - head);
		/*
		 * The bytes before the second look at moves: either this sees that a
		 * page moves, or the copy has the bytes. Pairs with the barrier in
		 * zspage_move_page().
		 */
		smp_mb();
		zs_race("written");
	} while (read_seqcount_retry(&zspage->moves, seq));

	zspage_unpin(zspage, slot);
}
EXPORT_SYMBOL_GPL(zs_obj_write);

/**
 * zs_handle_to_nid - the node that an object is on
 * @pool: the pool that it was allocated from
 * @handle: the handle that zs_malloc() returned
 *
 * This is the node of the page in which the object begins. It is a hint: the page may be
 * migrated and zs_compact() may move the object as soon as it is returned. It is meant
 * for a user that replaces an object and wants the new one on the same node, for example
 * when it compresses the object again.
 *
 * Like zs_obj_read_begin(), this waits while zs_compact() moves the objects of the
 * zspage, and takes a spinlock as long as the zspage has replaced pages.
 *
 * Context: any except interrupts; may sleep on PREEMPT_RT.
 * Return: the node; NUMA_NO_NODE if the object was freed, in the cases that
 * zs_obj_read_begin() reports.
 */
int zs_handle_to_nid(struct zs_pool *pool, unsigned long handle)
{
	unsigned int slot, index, offset;
	int nid = NUMA_NO_NODE;
	struct zspage *zspage;

	zspage = zs_pin(handle, &slot);
	if (likely(zs_may_access(handle, zspage, 1))) {
		index = zspage_locate(zspage, slot, &offset);
		zs_race("read");
		nid = page_to_nid(zspage_page(zspage, index));
	} else {
		zs_refuse(pool, handle, zspage, 1);
	}
	zspage_unpin(zspage, slot);
	return nid;
}
EXPORT_SYMBOL_GPL(zs_handle_to_nid);

/*
 * Migration of pages
 */

#ifdef CONFIG_MIGRATION

/*
 * The isolation of one page ends. With the last one, a zspage without objects is freed:
 * zs_free() has left that to the end of the isolation. The caller holds the lock of a
 * page of @zspage, so the worker must free it.
 */
static void zspage_end_isolation(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	lockdep_assert_held(&zspage->class->lock);
	zspage->class->nr_isolated--;
	if (--zspage->isolated || zspage->inuse)
		return;
	zspage_unlist(zspage, ZSPAGE_DEAD);
	zspage_defer_free(zspage);
}

/*
 * The longest time for which isolation waits until the readers of a replaced page have
 * closed their objects. Decompressing an object takes microseconds, but its reader may
 * have been preempted. If a task has waited that long in vain, no task waits for a time
 * that is ZS_STALE_PAUSE times as long, because a range of memory that is to be freed may
 * have thousands of such pages.
 */
#define ZS_STALE_WAIT_MS	100
#define ZS_STALE_PAUSE		10

/* When a task last waited in vain, in jiffies */
static unsigned long zs_waited_in_vain;

VISIBLE_IF_ZSMALLOC_TEST
unsigned long zs_stale_timeout(void)
{
	unsigned long timeout = msecs_to_jiffies(ZS_STALE_WAIT_MS);
	unsigned long last = READ_ONCE(zs_waited_in_vain);

	KUNIT_STATIC_STUB_REDIRECT(zs_stale_timeout);

	return time_in_range(jiffies, last, last + timeout * ZS_STALE_PAUSE) ? 0 : timeout;
}

/* Whether a page was replaced, but readers may still use it; @zspage is its page->zspage */
static bool zspage_of_stale(const struct zspage *zspage)
{
	return (unsigned long)zspage & ZSPAGE_STALE;
}

static bool zs_page_is_stale(struct page *page)
{
	return zspage_of_stale(READ_ONCE(page_zpdesc(page)->zspage));
}

/*
 * The core meets a page again that it has replaced. Where it may sleep, it wants the
 * memory of a range, for CMA or to take it offline, and tries to isolate what is left of
 * the range once it has migrated the rest. The range is not free before the readers of
 * all its stale pages have closed their objects. So wait for that here, rather than when
 * the page is migrated, because readers of other pages close their objects meanwhile.
 *
 * A reference of the core keeps the page. Nothing keeps the zspage or the pool, which may
 * be gone after the wait, and with the last pool the module could be unloaded.
 */
static void zs_wait_stale(struct page *page)
{
	unsigned long timeout = zs_stale_timeout();

	if (!timeout || !try_module_get(THIS_MODULE))
		return;
	zs_race("stale_wait");
	if (!wait_var_event_timeout(page, !zs_page_is_stale(page), timeout))
		WRITE_ONCE(zs_waited_in_vain, jiffies);
	module_put(THIS_MODULE);
}

/*
 * The core has locked @page. Freeing a zspage takes the locks of all its pages, so
 * page->zspage does not change, and the zspage is not freed. page->zspage names no zspage
 * if the page was freed or replaced: the core may find the page until its last reference
 * is dropped.
 *
 * A page that is known to be bad is not isolated, because it must not be copied.
 */
static bool zs_isolate_page(struct page *page, isolate_mode_t mode)
{
	struct zspage *zspage = READ_ONCE(page_zpdesc(page)->zspage);
	enum zs_isolation result = ZS_ISOLATED;
	struct size_class *class;

	if (zspage_of_stale(zspage)) {
		if (!(mode & ISOLATE_ASYNC_MIGRATE))
			zs_wait_stale(page);
		zspage = NULL;
	}
	if (!zspage || zs_page_is_bad(page)) {
		trace_zs_isolate_page(zspage ? zspage->class->pool->name : "-",
				      page_to_pfn(page),
				      zspage ? ZS_ISOLATION_BAD : ZS_ISOLATION_NO_ZSPAGE);
		return false;
	}

	class = zspage->class;
	zs_race("isolate");
	spin_lock(&class->lock);
	/*
	 * While an object is open, replaced pages of its zspage are not freed. Allow at
	 * most as many of them as the zspage has pages. Pages that no reader needs and
	 * that a task is about to free do not count.
	 */
	if (zspage->state != ZSPAGE_LIVE) {
		result = ZS_ISOLATION_DEAD;
	} else if (zspage->isolated + zspage->nr_stale >= zspage->nr_pages) {
		result = ZS_ISOLATION_STALE;
	} else {
		zspage->isolated++;
		class->nr_isolated++;
	}
	spin_unlock(&class->lock);

	if (result == ZS_ISOLATION_STALE)
		atomic_long_inc(&class->pool->not_isolated);
	trace_zs_isolate_page(class->pool->name, page_to_pfn(page), result);
	return result == ZS_ISOLATED;
}

static unsigned int zspage_index(struct zspage *zspage, struct zpdesc *zpdesc)
{
	unsigned int i = 0;

	while (zspage->pages[i] != zpdesc)
		i++;
	return i;
}

/* Copy a page; like the allocations, a function of its own for the tests */
VISIBLE_IF_ZSMALLOC_TEST
int zs_copy_page(struct zpdesc *new, struct zpdesc *old)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_copy_page, new, old);

	if (!zs_copy_bytes(zpdesc_page(new), 0, zpdesc_page(old), 0, PAGE_SIZE))
		return -EHWPOISON;
	return 0;
}

/* @zpdesc was replaced. It is stale now, and must be kept for the pins that exist now. */
static void zspage_add_stale(struct zspage *zspage, struct zpdesc *zpdesc,
			     struct zs_drained *drained)
	__must_hold(&zspage->class->lock)
{
	zpdesc->next = zspage->stale;
	zspage->stale = zpdesc;
	zspage->nr_stale++;
	zspage->class->nr_stale++;
	if (!zspage_in_round(zspage))
		zspage_next_round(zspage, drained);
}

/* Replace the page @old of @zspage by @new. If @old cannot be read, nothing changes. */
static int zspage_move_page(struct zspage *zspage, struct zpdesc *new,
			    struct zpdesc *old, struct zs_drained *drained)
	__must_hold(&zspage->class->lock)
{
	unsigned int index = zspage_index(zspage, old);
	int failed;

	write_seqcount_begin(&zspage->moves);
	/*
	 * Order the store to moves before the loads of the copy: write_seqcount_begin()
	 * orders stores only. Pairs with the barrier in zs_obj_write().
	 */
	smp_mb();
	zs_race("migrate_copy");
	failed = zs_copy_page(new, old);
	if (!failed) {
		zs_race("migrate_publish");
		zpdesc_get(new);
		zspage_adopt(zspage, new);
		/*
		 * Release: contents before the pointer, for readers, which do not look
		 * at moves. Pairs with zspage_page().
		 */
		smp_store_release(&zspage->pages[index], new);
	}
	write_seqcount_end(&zspage->moves);
	if (failed)
		return -EHWPOISON;

	old->zspage = (void *)((unsigned long)zspage | ZSPAGE_STALE);
	if (zpdesc_zone(new) != zpdesc_zone(old)) {
		zs_pages_added(&new, 1);
		zs_pages_removed(&old, 1);
	}
	zspage_add_stale(zspage, old, drained);
	return 0;
}

/*
 * Both pages are locked. The isolation of @page keeps the zspage until it ends in
 * zspage_end_isolation(), and from then on the lock of @newpage keeps the zspage.
 */
static int zs_migrate_page(struct page *newpage, struct page *page,
			   enum migrate_mode mode)
{
	struct zpdesc *new = page_zpdesc(newpage), *old = page_zpdesc(page);
	struct zspage *zspage = old->zspage;
	struct size_class *class = zspage->class;
	struct zs_drained drained = { };
	struct zs_pool *pool = class->pool;
	bool held;
	int ret;

	/*
	 * The page may have become bad since it was isolated. Reading it could be fatal
	 * on architectures without a machine-check-safe copy.
	 */
	if (zs_page_is_bad(page)) {
		atomic_long_inc(&pool->not_migrated);
		trace_zs_migrate_page(pool->name, page_to_pfn(page),
				      page_to_pfn(newpage), -EHWPOISON, false);
		return -EHWPOISON;
	}

	zs_race("migrate");
	spin_lock(&class->lock);
	ret = zspage_move_page(zspage, new, old, &drained);
	if (!ret)
		zspage_end_isolation(zspage);
	spin_unlock(&class->lock);
	zs_race("migrated");
	zs_free_drained(&drained);

	held = !ret && zs_page_is_stale(page);
	atomic_long_inc(ret ? &pool->not_migrated :
			held ? &pool->migrated_held : &pool->migrated_free);
	trace_zs_migrate_page(pool->name, page_to_pfn(page),
			      page_to_pfn(newpage), ret, held);
	return ret;
}

static void zs_putback_page(struct page *page)
{
	struct zspage *zspage = page_zpdesc(page)->zspage;
	struct size_class *class = zspage->class;

	trace_zs_putback_page(class->pool->name, page_to_pfn(page));
	zs_race("putback");
	spin_lock(&class->lock);
	zspage_end_isolation(zspage);
	spin_unlock(&class->lock);
}

const struct movable_operations zsmalloc_mops = {
	.isolate_page = zs_isolate_page,
	.migrate_page = zs_migrate_page,
	.putback_page = zs_putback_page,
};

static int __init zs_register_mops(void)
{
	return set_movable_ops(&zsmalloc_mops, PGTY_zsmalloc);
}

static void zs_unregister_mops(void)
{
	set_movable_ops(NULL, PGTY_zsmalloc);
}

#else

static int __init zs_register_mops(void)
{
	return 0;
}

static void zs_unregister_mops(void)
{
}

#endif /* CONFIG_MIGRATION */

/*
 * Compaction of objects
 */

/**
 * struct zs_supply - memory for the next evacuation or trim, allocated without class->lock
 * @blocks: spare guest blocks
 * @far_links: memory for the links that have no room in a forwarder's descriptor
 * @links_size: the size of @far_links in bytes
 * @need_blocks: the most blocks that the next evacuation may take
 * @need_links: the size of the far links that it will take
 *
 * So no evacuation runs out of memory halfway, unless a zspage whose room was counted
 * turns out to be bad; and no slab page is allocated or freed under the lock. Memory that
 * is left over is used for the evacuation after that.
 */
struct zs_supply {
	struct zs_guest_block *blocks;
	struct zs_far_links *far_links;
	size_t links_size;
	unsigned int need_blocks;
	size_t need_links;
};

/**
 * struct zs_evacuation - the evacuation of one zspage
 * @dest: the zspage that objects are being moved to; its fullness is not updated yet
 * @supply: the memory for it
 * @near_links: the first links of the forwarder, class->geo.pages of them. They are here
 *		until its pages[] are not needed any more. The other links are in
 *		supply->far_links.
 * @pages: the pages of the zspage, to be freed without a lock
 * @nr_pages: how many these are
 * @dead: the zspage, to be freed then, too; NULL if it became a forwarder
 */
struct zs_evacuation {
	struct zspage *dest;
	struct zs_supply *supply;
	unsigned long near_links[ZS_MAX_PAGES];
	struct zpdesc *pages[ZS_MAX_PAGES];
	unsigned int nr_pages;
	struct zspage *dead;
};

/**
 * struct zs_compaction - a call of zs_compact(), or of the shrinker
 * @wanted: pages to free
 * @freed: pages freed
 * @supply: the memory for the next evacuation
 * @starved: there was no memory for the next evacuation, so the call ends
 */
struct zs_compaction {
	unsigned long wanted;
	unsigned long freed;
	struct zs_supply supply;
	bool starved;
};

static bool zs_supply_suffices(const struct zs_supply *supply)
{
	return (!supply->need_links || supply->links_size == supply->need_links) &&
	       zs_has_blocks(supply->blocks, supply->need_blocks);
}

/* The far links of a forwarder; NULL if its descriptor has room for all links */
static struct zs_far_links *zs_take_far_links(struct zs_supply *supply)
{
	struct zs_far_links *far_links = NULL;

	if (supply->need_links) {
		swap(far_links, supply->far_links);
		supply->links_size = 0;
	}
	return far_links;
}

/* Guests that were moved have left their blocks. Keep no more blocks than were needed. */
static void zs_trim_supply(struct zs_supply *supply)
{
	struct zs_guest_block **rest = &supply->blocks;

	for (unsigned int nr = supply->need_blocks; nr && *rest; nr--)
		rest = &(*rest)->next;
	zs_free_blocks(*rest);
	*rest = NULL;
}

static void zs_free_supply(struct zs_supply *supply)
{
	kfree(supply->far_links);
	zs_free_blocks(supply->blocks);
}

/* Allocate the far links that are needed; fails if there is no memory. */
static bool zs_get_far_links(struct zs_supply *supply, gfp_t gfp)
{
	if (!supply->need_links || supply->links_size == supply->need_links)
		return true;
	kfree(supply->far_links);
	supply->far_links = zs_alloc_supply(supply->need_links, gfp);
	supply->links_size = supply->far_links ? supply->need_links : 0;
	return supply->far_links;
}

/*
 * Allocate what the next evacuation may need; fails if there is no memory.
 *
 * Compaction does not reclaim memory. If it is called by reclaim, no allocation does, and
 * __GFP_DIRECT_RECLAIM has another effect: slabs of more pages than necessary do not come
 * from the reserves.
 */
static bool zs_get_supply(struct zs_supply *supply)
{
	gfp_t gfp = current->flags & PF_MEMALLOC ? GFP_NOIO | __GFP_NOWARN : GFP_NOWAIT;

	if (!zs_get_far_links(supply, gfp))
		return false;
	while (!zs_has_blocks(supply->blocks, supply->need_blocks)) {
		struct zs_guest_block *block = zs_alloc_supply(sizeof(*block), gfp);

		if (!block)
			return false;
		zs_push_block(&supply->blocks, block);
	}
	return true;
}

/* The number of free slots that compaction may use: not those of zspages in ZS_EMPTY */
static unsigned long class_room(struct size_class *class)
	__must_hold(&class->lock)
{
	return class->slots - class->nr[ZS_EMPTY] * class->geo.slots - class->inuse;
}

/*
 * An estimate of the pages that zs_compact() can free, if nothing is in its way. @kept
 * free slots are not counted, because something is known to be in the way there.
 *
 * The result may be too low: a group is left out if its zspages may have more than
 * geo.max_natives objects, although those of them that have many guests may be evacuated;
 * and so is the growing zspage.
 * Without class->lock, the counts may also change while they are read. But the result is
 * never more than the pages of zspages that it may pay to evacuate.
 */
static unsigned long class_freeable(struct size_class *class, unsigned long kept)
{
	unsigned long groups = ZS_ESTIMATE(class->groups), wanted, pay = 0;
	long room = ZS_ESTIMATE(class->slots) - ZS_ESTIMATE(class->inuse) - kept;
	long slots = class->geo.slots;
	unsigned int f;

	if (groups & BIT(ZS_EMPTY))
		room -= ZS_ESTIMATE(class->nr[ZS_EMPTY]) * slots;
	if (room < slots)
		return 0;
	wanted = room / slots;
	groups &= class->geo.pay_groups;
	for_each_set_bit(f, &groups, ZS_FULL) {
		pay += ZS_ESTIMATE(class->nr[f]);
		if (pay >= wanted)
			break;
	}
	return min(wanted, pay) * class->geo.pages;
}

/*
 * The number of pages that the shrinker promises to free. A promise that was not kept
 * is not repeated for a second, except for slots that have become free since. Estimates
 * cost a promise or a useless search at worst.
 */
static unsigned long class_promise(struct size_class *class)
{
	unsigned long vain_room, until;

	/* Most classes have no zspage that it pays to evacuate. */
	if (!(ZS_ESTIMATE(class->groups) & class->geo.pay_groups))
		return 0;
	vain_room = ZS_ESTIMATE(class->vain_room);
	until = ZS_ESTIMATE(class->vain_until);
	if (vain_room && !time_in_range_open(jiffies, until - HZ, until))
		vain_room = 0;
	return class_freeable(class, vain_room);
}

/*
 * Count the memory that evacuating @source may need: a guest block for every three
 * objects that are moved to the same host, and one more in case one of the hosts turns
 * out to be bad. The hosts are counted in the order in which class_find_zspage() is
 * going to find them. There are at most as many hosts as objects to move. This passes
 * over bad zspages, however many there are, and sets each of them aside.
 *
 * Returns whether the evacuation pays. It does not if the objects have so many hosts
 * that the blocks take too much memory, because each host may need a block for a single
 * guest. Nor does it if there is not enough room, because some zspages turned out to be
 * bad.
 */
static bool zspage_count_need(struct zspage *source, struct zs_supply *supply)
	__must_hold(&source->class->lock)
{
	struct size_class *class = source->class;
	unsigned int left = source->inuse, natives = zspage_natives(source);
	long blocks = -(long)DIV_ROUND_UP(source->nr_guests, ZS_GUESTS_PER_BLOCK);
	long added;

	supply->need_links = zs_extra_links(&class->geo, natives);
	supply->need_blocks = 1;
	/* The growing zspage comes last. */
	for (int f = ZS_99; f >= ZS_EMPTY && left; f--) {
		int group = f == ZS_EMPTY ? ZS_GROWING : f;
		struct zspage *zspage, *next;

		list_for_each_entry_safe(zspage, next, &class->zspages[group], list) {
			unsigned int nr;

			zspage_assert_locked(zspage);
			if (zspage == source || !zspage->inuse || zspage_set_aside_if_bad(zspage))
				continue;
			nr = min(left, zspage_slots(zspage) - zspage->inuse);
			supply->need_blocks += DIV_ROUND_UP(nr, ZS_GUESTS_PER_BLOCK);
			blocks += DIV_ROUND_UP(zspage->nr_guests + nr, ZS_GUESTS_PER_BLOCK);
			blocks -= DIV_ROUND_UP(zspage->nr_guests, ZS_GUESTS_PER_BLOCK);
			left -= nr;
			if (!left)
				break;
		}
	}
	added = supply->need_links + blocks * (long)sizeof(struct zs_guest_block);
	if (natives)
		added += zspage_descriptor_size(class->geo.pages, class->geo.slots);
	return !left && added <= (long)(source->nr_pages * PAGE_SIZE / ZS_PAYBACK);
}

/* Whether something that is easy to see keeps @zspage from being evacuated */
static enum zs_outcome zspage_look_at_source(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	if (zspage->isolated)
		return ZS_OUTCOME_ISOLATED;
	if (atomic_read(&zspage->pins))
		return ZS_OUTCOME_OPEN;
	if (zspage_natives(zspage) > zspage->class->geo.max_natives)
		return ZS_OUTCOME_NO_GAIN;
	return ZS_EVACUATED;
}

/*
 * Freeze @zspage and lock its pages. If this fails because @supply does not suffice,
 * the search is set back to @zspage, to look at it again when there is more memory.
 */
static enum zs_outcome zspage_prepare_source(struct zspage *zspage,
					     struct zs_search *search,
					     struct zs_supply *supply)
	__must_hold(&zspage->class->lock)
{
	/* The caller has counted the free slots of @zspage as room. It must count again. */
	if (zspage_set_aside_if_bad(zspage))
		return ZS_OUTCOME_BAD;
	if (!zspage_count_need(zspage, supply)) {
		supply->need_blocks = 0;
		supply->need_links = 0;
		return ZS_OUTCOME_NO_GAIN;
	}
	if (!zs_supply_suffices(supply)) {
		search->next = &zspage->list;
		return ZS_OUTCOME_NO_MEMORY;
	}
	if (!zspage_freeze(zspage))
		return ZS_OUTCOME_OPEN;
	if (zspage_trylock_pages(zspage))
		return ZS_EVACUATED;
	zspage_thaw(zspage);
	return ZS_OUTCOME_LOCKED;
}

static void zspage_trace_outcome(struct zspage *zspage, enum zs_outcome outcome)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	trace_zs_evacuate(class->pool->name, class->geo.size, zspage_natives(zspage),
			  zspage->nr_guests, outcome);
}

/*
 * There is no room for the objects of a zspage that has all of its pages: go on with the
 * growing one, or end the search if there is not enough room for it either.
 */
static void class_search_growing(struct size_class *class, struct zs_search *search)
	__must_hold(&class->lock)
{
	struct zspage *growing = class_growing(class);

	if (!growing || class_room(class) < zspage_slots(growing)) {
		search->over = true;
	} else if (search->fullness != ZS_GROWING) {
		search->fullness = ZS_GROWING;
		search->next = &growing->list;
	}
}

/*
 * Find a zspage to evacuate, the emptiest group first. None of its objects is open,
 * other zspages of the class have room for all of them, and evacuating it pays. Returns
 * it frozen and with its pages locked.
 *
 * If this returns NULL, the search may continue in another hold of class->lock, unless
 * it is over. If @supply does not suffice, the caller allocates what it needs first.
 */
static struct zspage *class_find_source(struct size_class *class,
					struct zs_search *search,
					struct zs_supply *supply)
	__must_hold(&class->lock)
{
	supply->need_blocks = 0;
	supply->need_links = 0;
	if (class_room(class) < class->geo.slots)
		class_search_growing(class, search);

	for (unsigned int tries = ZS_TRIES; tries && !search->over; tries--) {
		struct zspage *zspage = class_search(class, search);
		enum zs_outcome outcome;

		if (!zspage) {
			search->over = true;
			break;
		}
		zspage_assert_locked(zspage);
		outcome = zspage_look_at_source(zspage);
		if (outcome == ZS_EVACUATED) {
			outcome = zspage_prepare_source(zspage, search, supply);
			if (outcome == ZS_EVACUATED)
				return zspage;
			zspage_trace_outcome(zspage, outcome);
			/* zspage_count_need() may have looked at many zspages. */
			break;
		}
		zspage_trace_outcome(zspage, outcome);
		zs_race("tried");
	}
	return NULL;
}

/*
 * Copy a whole slot, because the object's length is not known. class->lock keeps the
 * pages of both zspages from being replaced. No reader uses the new slot yet, because
 * no link names it.
 */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_copy_slot(struct zspage *dest, unsigned int dest_slot,
		  struct zspage *source, unsigned int source_slot)
	__must_hold(&source->class->lock)
{
	size_t left = source->class->geo.size;
	size_t to = dest_slot * left, from = source_slot * left;
	bool ok = true;

	KUNIT_STATIC_STUB_REDIRECT(zs_copy_slot, dest, dest_slot, source,
				   source_slot);

	while (left && ok) {
		size_t len = min3(left, PAGE_SIZE - offset_in_page(to),
				  PAGE_SIZE - offset_in_page(from));

		ok = zs_copy_bytes(zspage_page(dest, to >> PAGE_SHIFT),
				   offset_in_page(to),
				   zspage_page(source, from >> PAGE_SHIFT),
				   offset_in_page(from), len);
		to += len;
		from += len;
		left -= len;
	}
	return ok;
}

/*
 * Update the fullness of @dest, once for all guests that it took, if it can take no more:
 * because it is full, or because it has turned out to be bad. Returns whether that is so.
 */
static bool zspage_finish_if_full(struct zspage *dest)
	__must_hold(&dest->class->lock)
{
	if (dest->inuse < zspage_slots(dest) && !zspage_set_aside_if_bad(dest))
		return false;
	zspage_update_fullness(dest);
	return true;
}

/*
 * Copy the object in @slot of @source, whose handle is @owner, to the fullest zspage
 * that has room, and make it a guest there. @where is set to its new location. No link
 * is changed yet.
 */
static int zspage_move_object(struct zspage *source, unsigned int slot,
			      unsigned long owner, struct zs_evacuation *ev,
			      unsigned long *where)
	__must_hold(&source->class->lock)
{
	struct size_class *class = source->class;
	struct zspage *dest = ev->dest;
	unsigned int dest_slot;

	if (dest) {
		zspage_assert_locked(dest);
		if (zspage_finish_if_full(dest))
			dest = NULL;
	}
	if (!dest)
		dest = class_find_zspage(class);
	ev->dest = dest;
	/* All zspages that have room may be bad. */
	if (!dest)
		return -ENOENT;
	zspage_assert_locked(dest);
	/* The blocks were counted for other hosts, which turned out to be bad. */
	if (dest->nr_guests % ZS_GUESTS_PER_BLOCK == 0 && !ev->supply->blocks)
		return -ENOENT;
	dest_slot = zspage_take_slot(dest);
	if (!zs_copy_slot(dest, dest_slot, source, slot)) {
		zspage_return_slot(dest, dest_slot);
		return -EHWPOISON;
	}
	zspage_add_guest(dest, owner, &ev->supply->blocks);
	*where = zs_encode_location(dest, dest_slot);
	return 0;
}

/*
 * Move the guests of @source one by one, and change the link of each at once. If
 * another guest or a native cannot be moved later, these guests stay in their new
 * hosts.
 */
static int zspage_move_guests(struct zspage *source, struct zs_evacuation *ev)
	__must_hold(&source->class->lock)
{
	while (source->nr_guests) {
		unsigned long owner = zspage_last_guest(source);
		unsigned long *link, where;
		struct zspage *home;
		unsigned int slot;
		int ret;

		home = zs_decode_location(owner, &slot);
		zspage_assert_locked(home);
		link = forwarder_link(home, slot);
		zs_decode_location(*link, &slot);
		ret = zspage_move_object(source, slot, owner, ev, &where);
		if (ret)
			return ret;
		zspage_return_slot(source, slot);
		zspage_drop_last_guest(source, &ev->supply->blocks);
		source->was_host = true;
		zs_race("guest_moved");
		/* Release: copy before the link. Pairs with zs_pin_forwarded(). */
		smp_store_release(link, where);
	}
	return 0;
}

/* Link number @rank of the forwarder that @ev may make */
static unsigned long *ev_link(struct zs_evacuation *ev, struct size_class *class,
			      unsigned int rank)
{
	return zs_link_at(ev->near_links, class->geo.pages, ev->supply->far_links, rank);
}

/*
 * Move all natives of @source or none, because their new locations become the links of
 * the forwarder. These are numbered by the ranks of the slots in the bitmap: only
 * natives are left in it.
 */
static int zspage_move_natives(struct zspage *source, struct zs_evacuation *ev)
	__must_hold(&source->class->lock)
{
	struct size_class *class = source->class;
	unsigned long *bitmap = zspage_bitmap(source);
	unsigned int slot, dest_slot, nr = 0, i = 0;
	int ret;

	for_each_set_bit(slot, bitmap, class->geo.slots) {
		ret = zspage_move_object(source, slot, zspage_handle(source, slot),
					 ev, ev_link(ev, class, nr));
		if (ret)
			goto undo;
		nr++;
	}
	class->inuse -= nr;
	class->forwarded += nr;
	source->inuse = 0;
	source->nr_links = nr;
	return 0;

undo:
	for_each_set_bit(slot, bitmap, class->geo.slots) {
		struct zspage *dest;

		if (i == nr)
			break;
		dest = zs_decode_location(*ev_link(ev, class, i++), &dest_slot);
		zspage_assert_locked(dest);
		zspage_remove_guest(dest, zspage_handle(source, slot),
				    &ev->supply->blocks);
		zspage_return_slot(dest, dest_slot);
		zspage_update_fullness(dest);
	}
	return ret;
}

/*
 * Evacuate @source, which is frozen and has its pages locked. If not all of its objects
 * can be moved, this returns false, and @source is live again.
 */
static bool zspage_evacuate(struct zspage *source, struct zs_evacuation *ev)
	__must_hold(&source->class->lock)
{
	struct size_class *class = source->class;
	unsigned int natives = zspage_natives(source), guests = source->nr_guests;
	size_t added = class_added(class);
	int ret;

	zs_race("frozen");
	/* Off its list, so that it is not found as a host for its own objects */
	zspage_unlist(source, ZSPAGE_FROZEN);
	ret = zspage_move_guests(source, ev);
	if (!ret)
		ret = zspage_move_natives(source, ev);
	if (ev->dest) {
		zspage_assert_locked(ev->dest);
		zspage_update_fullness(ev->dest);
	}
	if (ret) {
		/* This adds it to the front of its list, which the search has passed. */
		zspage_enlist(source);
		zspage_unlock_pages(source, source->nr_pages);
		zspage_thaw(source);
	} else {
		/* There are no stale pages, because there are no pins. */
		ev->nr_pages = source->nr_pages;
		memcpy(ev->pages, source->pages, ev->nr_pages * sizeof(*source->pages));
		memset(source->pages, 0, ev->nr_pages * sizeof(*source->pages));
		zs_race("natives_moved");
		if (natives) {
			zspage_make_forwarder(source, ev->near_links,
					      zs_take_far_links(ev->supply));
		} else {
			WRITE_ONCE(source->state, ZSPAGE_DEAD);
			ev->dead = source;
		}
		/*
		 * Before the bytes are added: the pool, which may be at its limit, must not
		 * seem to grow until the pages are free.
		 */
		atomic_long_sub(ev->nr_pages, &class->pool->pages);
	}
	pool_add_bytes(class->pool, class_added(class) - added);
	trace_zs_evacuate(class->pool->name, class->geo.size, natives, guests,
			  !ret ? ZS_EVACUATED :
			  ret == -ENOENT ? ZS_OUTCOME_NO_ROOM : ZS_OUTCOME_UNREADABLE);
	return !ret;
}

/*
 * Compaction of @class has freed fewer pages than it wanted. If there is room for the
 * objects of another zspage, something was in the way: open objects, isolated or locked
 * pages, a lack of memory, or that evacuating it would not pay. Note that room for
 * class_promise().
 */
static void class_note_vain_room(struct size_class *class)
	__must_hold(&class->lock)
{
	unsigned long room = class_room(class);

	WRITE_ONCE(class->vain_until, jiffies + HZ);
	WRITE_ONCE(class->vain_room, room < class->geo.slots ? 0 : room);
}

/*
 * The most forwarders that memory reclaim trims in a class at a time. The memory that a
 * trim gives back is free only after a grace period, so it must not take much for many of
 * them. zs_compact() has no such bound.
 */
#define ZS_TRIMS	256

/*
 * Trim sparse forwarders of @class. This drops class->lock for each of them. No memory is
 * allocated for it from the kernel's reserves, because memory that is given back only after
 * a grace period cannot refill them in time. If there is no memory, compaction goes on with
 * other classes: an evacuation gives back its memory at once.
 */
static void class_trim_forwarders(struct size_class *class,
				  struct zs_compaction *compaction)
	__must_hold(&class->lock)
{
	struct zs_supply *supply = &compaction->supply;
	unsigned long tries = compaction->wanted == ULONG_MAX ? ULONG_MAX : ZS_TRIMS;
	bool starved = false;

	/* No evacuation of this class is to come. */
	supply->need_blocks = 0;
	for (; tries && !starved; tries--) {
		struct zs_far_links *old = NULL;
		struct zspage *forwarder;

		if (list_empty(&class->forwarders))
			break;
		forwarder = list_last_entry(&class->forwarders, struct zspage, list);
		zspage_assert_locked(forwarder);
		if (!forwarder_is_sparse(forwarder))
			break;
		supply->need_links = zs_extra_links(&class->geo, forwarder->nr_links);
		if (zs_supply_suffices(supply))
			old = forwarder_trim(forwarder, zs_take_far_links(supply));
		spin_unlock(&class->lock);
		if (old)
			kfree_rcu(old, rcu);
		else
			starved = !zs_get_far_links(supply, GFP_NOWAIT | __GFP_NOMEMALLOC);
		zs_race("trimmed");
		cond_resched();
		spin_lock(&class->lock);
	}
}

/*
 * Evacuate zspages of @class until enough pages were freed. If there are not enough
 * zspages for that, trim forwarders, too: their links take much less memory than pages.
 *
 * When class->lock was dropped, @source must not be touched if it has become a forwarder:
 * another task may have freed it. The locks of its former pages, which are held until
 * zs_release_pages(), do not keep it, though page->zspage still names it.
 */
static void class_compact(struct size_class *class, struct zs_compaction *compaction)
{
	struct zs_supply *supply = &compaction->supply;
	/* At the end of the list of ZS_EMPTY, so the search begins with the next one. */
	struct zs_search search = {
		.next = &class->zspages[ZS_EMPTY],
		.fullness = ZS_EMPTY,
	};

	spin_lock(&class->lock);
	hlist_add_head(&search.node, &class->searches);
	while (!search.over && !compaction->starved &&
	       compaction->freed < compaction->wanted) {
		struct zs_evacuation ev = { .supply = supply };
		struct zspage *source = class_find_source(class, &search, supply);
		bool evacuated = false;

		if (source) {
			zspage_assert_locked(source);
			evacuated = zspage_evacuate(source, &ev);
		}
		spin_unlock(&class->lock);
		if (evacuated) {
			zs_race("evacuated");
			zs_release_pages(ev.pages, ev.nr_pages);
			if (ev.dead)
				zspage_free_descriptor(ev.dead);
			zs_trim_supply(supply);
			compaction->freed += ev.nr_pages;
		}
		/*
		 * For the zspage that was found and takes more than there is; or, after
		 * an evacuation, for the next one, which is likely to take as much.
		 */
		if (compaction->freed < compaction->wanted)
			compaction->starved = !zs_get_supply(supply);
		zs_race("searching");
		cond_resched();
		spin_lock(&class->lock);
	}
	hlist_del(&search.node);
	if (compaction->freed < compaction->wanted) {
		/* Reclaim may have the memory that zs_compact() did not get. */
		if (!compaction->starved || current->flags & PF_MEMALLOC)
			class_note_vain_room(class);
		class_trim_forwarders(class, compaction);
	}
	spin_unlock(&class->lock);
}

static unsigned long pool_end_compaction(struct zs_pool *pool,
					 struct zs_compaction *compaction)
{
	zs_free_supply(&compaction->supply);
	atomic_long_add(compaction->freed, &pool->stats.pages_compacted);
	return compaction->freed;
}

/**
 * zs_compact - pack objects together and free the pages that become empty
 * @pool: the pool
 *
 * Handles stay valid. A zspage is not evacuated if one of its objects is open, if one of
 * its pages is isolated, locked or known to be bad, or if the memory that this would add,
 * for links and for owners of objects, is more than half of the memory that it would
 * free. Such zspages do not keep other ones from being found, however many they are. Any
 * number of calls may run concurrently with each other and with all other operations on
 * the pool, except its destruction.
 *
 * The memory that is added is allocated for one zspage at a time, whose pages are freed
 * next. If there is none, compaction ends. Memory reclaim does the same through the
 * pool's shrinker, and may take this memory from the kernel's reserves.
 *
 * Context: process context, may sleep.
 * Return: the number of pages freed.
 */
unsigned long zs_compact(struct zs_pool *pool)
{
	struct zs_compaction compaction = { .wanted = ULONG_MAX };
	struct size_class *class;

	for_each_class(class, pool, NUMA_NO_NODE) {
		if (compaction.starved)
			break;
		class_compact(class, &compaction);
	}
	return pool_end_compaction(pool, &compaction);
}
EXPORT_SYMBOL_GPL(zs_compact);

/* The number of pages that the shrinker promises to free for node @nid */
VISIBLE_IF_ZSMALLOC_TEST
unsigned long zs_freeable_pages(struct zs_pool *pool, int nid)
{
	unsigned long freeable = 0;
	struct size_class *class;

	for_each_class(class, pool, nid)
		freeable += class_promise(class);
	return freeable;
}

static unsigned long zs_shrinker_count(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	return zs_freeable_pages(shrinker->private_data, sc->nid);
}

/* Classes for which nothing is promised are not searched. */
static unsigned long zs_shrinker_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct zs_compaction compaction = { .wanted = sc->nr_to_scan };
	struct zs_pool *pool = shrinker->private_data;
	struct size_class *class;

	/*
	 * All tasks that reclaim memory call this at the same time. A second one would
	 * find nothing more to free, and would wait for the locks that the first one
	 * takes.
	 */
	if (node_test_and_set(sc->nid, pool->shrinking))
		return SHRINK_STOP;
	for_each_class(class, pool, sc->nid) {
		if (compaction.starved || compaction.freed >= compaction.wanted)
			break;
		if (class_promise(class))
			class_compact(class, &compaction);
	}
	node_clear(sc->nid, pool->shrinking);
	trace_zs_shrink(pool->name, sc->nid, compaction.wanted, compaction.freed);
	return pool_end_compaction(pool, &compaction) ?: SHRINK_STOP;
}

VISIBLE_IF_ZSMALLOC_TEST
struct shrinker *zs_alloc_shrinker(struct zs_pool *pool)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_shrinker, pool);

	return shrinker_alloc(SHRINKER_NUMA_AWARE, "mm-zspool:%s", pool->name);
}

/* A pool without a shrinker is compacted by zs_compact() only. */
static void zs_pool_add_shrinker(struct zs_pool *pool)
{
	pool->shrinker = zs_alloc_shrinker(pool);
	if (!pool->shrinker) {
		pr_warn("zsmalloc: pool %s: no memory for a shrinker, going on without\n",
			pool->name);
		return;
	}
	pool->shrinker->count_objects = zs_shrinker_count;
	pool->shrinker->scan_objects = zs_shrinker_scan;
	pool->shrinker->private_data = pool;
	shrinker_register(pool->shrinker);
}

/*
 * Statistics
 */

/*
 * Slabs are not full, so the memory that zs_compact() has added takes 1/ZS_SLAB_SLACK
 * more than its own size. And a slab is not free before all objects in it are. So after
 * most of that memory was freed, slabs were measured to take as much as before, when
 * guest blocks and links were left here and there. Both are estimates.
 */
#define ZS_SLAB_SLACK		3

/**
 * zs_get_total_pages - the memory that the objects of a pool take
 * @pool: the pool
 *
 * Users compare this with a limit. So it includes the memory that zs_compact() has added
 * to find the objects that it moved, which is in slabs and can only be estimated.
 *
 * Context: any.
 * Return: the memory in pages.
 */
unsigned long zs_get_total_pages(struct zs_pool *pool)
{
	unsigned long added = atomic_long_read(&pool->added);
	unsigned long most = added ? atomic_long_read(&pool->most_added) : 0;

	return atomic_long_read(&pool->pages) +
	       max(added + added / ZS_SLAB_SLACK, most) / PAGE_SIZE;
}
EXPORT_SYMBOL_GPL(zs_get_total_pages);

/**
 * zs_huge_class_size - the smallest size at which an object takes a page of its own
 * @pool: any pool
 *
 * Compressing a page to this size or more saves nothing.
 *
 * Context: any.
 * Return: the size in bytes.
 */
size_t zs_huge_class_size(struct zs_pool *pool)
{
	return zs_huge_size;
}
EXPORT_SYMBOL_GPL(zs_huge_class_size);

/**
 * zs_lookup_class_index - the number of the size class of a size
 * @pool: the pool
 * @size: the size in bytes, 1 to PAGE_SIZE
 *
 * An object may take the space of one that is up to a quarter larger, as long as its class
 * has no zspage. The number does not depend on that.
 *
 * Context: any.
 * Return: a number that is the same for two sizes if their objects take the same space,
 * and otherwise greater for the size whose objects take more.
 */
unsigned int zs_lookup_class_index(struct zs_pool *pool, unsigned int size)
{
	size = min_t(unsigned int, size, PAGE_SIZE);
	return zs_size_step(zs_geos[zs_geo_index(size)].size);
}
EXPORT_SYMBOL_GPL(zs_lookup_class_index);

/**
 * zs_pool_stats - read the statistics of a pool
 * @pool: the pool
 * @stats: where to store them
 *
 * Context: any.
 */
void zs_pool_stats(struct zs_pool *pool, struct zs_pool_stats *stats)
{
	atomic_long_set(&stats->pages_compacted,
			atomic_long_read(&pool->stats.pages_compacted));
}
EXPORT_SYMBOL_GPL(zs_pool_stats);

#ifdef CONFIG_ZSMALLOC_STAT

struct zs_class_totals {
	unsigned long nr[ZS_NR_FULLNESS];
	unsigned long allocated;
	unsigned long used;
	unsigned long pages;
	unsigned long freeable;
};

static void zs_show_totals(struct seq_file *m, const struct zs_class_totals *t)
{
	for (int f = ZS_10; f <= ZS_FULL; f++)
		seq_printf(m, " %9lu", t->nr[f]);
	seq_printf(m, " %13lu %10lu %10lu", t->allocated, t->used, t->pages);
}

/*
 * Tools read these columns by their position, and the selftest oom.sh by their names.
 * mm/tests/zsmalloc_debugfs_kunit.c has the position and the meaning of each column of
 * this file and of the two files below, and Documentation/mm/zsmalloc.rst explains them.
 * Change both with the columns.
 */
static int classes_show(struct seq_file *m, void *unused)
{
	struct zs_class_totals total = { };
	struct zs_pool *pool = m->private;

	seq_printf(m, " %5s %5s", "class", "size");
	for (int f = ZS_10; f < ZS_99; f++)
		seq_printf(m, " %8d%%", f * 10);
	seq_printf(m, " %9s %9s %13s %10s %10s %16s %8s %8s\n\n", "99%", "100%",
		   "obj_allocated", "obj_used", "pages_used",
		   "pages_per_zspage", "freeable", "bad");

	for (unsigned int i = 0; i < zs_nr_geos; i++) {
		const struct zs_geometry *geo = &zs_geos[i];
		struct zs_class_totals t = { };

		for (unsigned int set = 0; set < zs_nr_sets(); set++) {
			struct size_class *class = zs_class(pool, geo->size, set);
			struct zspage *growing;

			if (!class)
				continue;
			spin_lock(&class->lock);
			for (int f = 0; f < ZS_NR_FULLNESS; f++)
				t.nr[f] += class->nr[f];
			growing = class_growing(class);
			if (growing) {
				zspage_assert_locked(growing);
				t.nr[zs_fullness(growing->inuse, zspage_slots(growing))]++;
			}
			t.allocated += class->slots;
			t.used += class->inuse;
			t.pages += class->nr_pages;
			t.freeable += class_freeable(class, 0);
			spin_unlock(&class->lock);
		}

		for (int f = 0; f < ZS_NR_FULLNESS; f++)
			total.nr[f] += t.nr[f];

		seq_printf(m, " %5u %5u", zs_size_step(geo->size), geo->size);
		zs_show_totals(m, &t);
		seq_printf(m, " %16u %8lu %8lu\n", geo->pages, t.freeable,
			   t.nr[ZS_BAD]);

		total.allocated += t.allocated;
		total.used += t.used;
		total.pages += t.pages;
		total.freeable += t.freeable;
	}

	seq_printf(m, "\n %5s %5s", "Total", "");
	zs_show_totals(m, &total);
	seq_printf(m, " %16s %8lu %8lu\n", "", total.freeable, total.nr[ZS_BAD]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(classes);

/* The forwarders and forwarded objects that compaction has left */
static int compaction_show(struct seq_file *m, void *unused)
{
	struct zs_pool *pool = m->private;
	unsigned long forwarders = 0, forwarded = 0;

	seq_printf(m, " %5s %5s %10s %10s\n\n", "class", "size", "forwarders", "forwarded");
	for (unsigned int i = 0; i < zs_nr_geos; i++) {
		unsigned long nr_forwarders = 0, nr_forwarded = 0;
		unsigned int size = zs_geos[i].size;

		for (unsigned int set = 0; set < zs_nr_sets(); set++) {
			struct size_class *class = zs_class(pool, size, set);

			if (!class)
				continue;
			spin_lock(&class->lock);
			nr_forwarders += class->nr_forwarders;
			nr_forwarded += class->forwarded;
			spin_unlock(&class->lock);
		}
		seq_printf(m, " %5u %5u %10lu %10lu\n", zs_size_step(size), size,
			   nr_forwarders, nr_forwarded);
		forwarders += nr_forwarders;
		forwarded += nr_forwarded;
	}
	seq_printf(m, "\n %5s %5s %10lu %10lu\n", "Total", "", forwarders, forwarded);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(compaction);

/*
 * The memory of objects, and the memory that is needed to find them, by its use, in bytes.
 * This does not include zspages that are new or dead, the notes of rounds, the memory that
 * compaction has allocated and not used yet, and the classes.
 */
enum zs_memory {
	ZS_MEMORY_USED,		/* slots in use, a part of the pages */
	ZS_MEMORY_PAGES,
	ZS_MEMORY_STALE,	/* replaced pages that are not freed yet */
	ZS_MEMORY_DESCRIPTORS,	/* of zspages with pages */
	ZS_MEMORY_FORWARDERS,
	ZS_MEMORY_LINKS,
	ZS_MEMORY_GUESTS,
	ZS_NR_MEMORY,
};

static void class_add_memory(struct size_class *class, unsigned long *bytes)
{
	unsigned long zspages;

	spin_lock(&class->lock);
	zspages = class->nr_live;
	bytes[ZS_MEMORY_USED] += class->inuse * class->geo.size;
	bytes[ZS_MEMORY_PAGES] += class->nr_pages * PAGE_SIZE;
	bytes[ZS_MEMORY_STALE] += class->nr_stale * PAGE_SIZE;
	bytes[ZS_MEMORY_DESCRIPTORS] += zspages * class_descriptor_size(class);
	bytes[ZS_MEMORY_FORWARDERS] += class->nr_forwarders * class_descriptor_size(class);
	bytes[ZS_MEMORY_LINKS] += class->link_bytes;
	bytes[ZS_MEMORY_GUESTS] += class->guest_blocks * sizeof(struct zs_guest_block);
	spin_unlock(&class->lock);
}

static void zs_show_memory(struct seq_file *m, const unsigned long *bytes)
{
	for (int i = 0; i < ZS_NR_MEMORY; i++)
		seq_printf(m, " %12lu", bytes[i]);
	seq_putc(m, '\n');
}

static int memory_show(struct seq_file *m, void *unused)
{
	unsigned long total[ZS_NR_MEMORY] = { };
	struct zs_pool *pool = m->private;

	seq_printf(m, " %5s %5s %12s %12s %12s %12s %12s %12s %12s\n\n", "class",
		   "size", "used", "pages", "stale", "descriptors", "forwarders", "links",
		   "guests");
	for (unsigned int i = 0; i < zs_nr_geos; i++) {
		unsigned long bytes[ZS_NR_MEMORY] = { };
		unsigned int size = zs_geos[i].size;

		for (unsigned int set = 0; set < zs_nr_sets(); set++)
			if (zs_class(pool, size, set))
				class_add_memory(zs_class(pool, size, set), bytes);
		seq_printf(m, " %5u %5u", zs_size_step(size), size);
		zs_show_memory(m, bytes);
		for (int j = 0; j < ZS_NR_MEMORY; j++)
			total[j] += bytes[j];
	}
	seq_printf(m, "\n %5s %5s", "Total", "");
	zs_show_memory(m, total);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(memory);

/*
 * How page migrations have ended since the pool was created; and what is under way: stale
 * pages, isolated pages, and dead zspages
 */
static int migration_show(struct seq_file *m, void *unused)
{
	unsigned long stale = 0, isolated = 0;
	struct zs_pool *pool = m->private;
	struct size_class *class;

	for_each_class(class, pool, NUMA_NO_NODE) {
		spin_lock(&class->lock);
		stale += class->nr_stale;
		isolated += class->nr_isolated;
		spin_unlock(&class->lock);
	}
	seq_printf(m, "free %lu\n", atomic_long_read(&pool->migrated_free));
	seq_printf(m, "held %lu\n", atomic_long_read(&pool->migrated_held));
	seq_printf(m, "failed %lu\n", atomic_long_read(&pool->not_migrated));
	seq_printf(m, "refused %lu\n", atomic_long_read(&pool->not_isolated));
	seq_printf(m, "stale_now %lu\n", stale);
	seq_printf(m, "isolated_now %lu\n", isolated);
	seq_printf(m, "deferred_now %lu\n", atomic_long_read(&pool->deferred));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(migration);

static void zs_pool_add_debugfs(struct zs_pool *pool)
{
	pool->debugfs = debugfs_create_dir(pool->name, zs_debugfs);
	debugfs_create_file("classes", 0444, pool->debugfs, pool,
			    &classes_fops);
	debugfs_create_file("compaction", 0444, pool->debugfs, pool,
			    &compaction_fops);
	debugfs_create_file("memory", 0444, pool->debugfs, pool, &memory_fops);
	debugfs_create_file("migration", 0444, pool->debugfs, pool,
			    &migration_fops);
}

static void __init zs_create_debugfs(void)
{
	zs_debugfs = debugfs_create_dir("zsmalloc", NULL);
}

#else

static void zs_pool_add_debugfs(struct zs_pool *pool)
{
}

static void __init zs_create_debugfs(void)
{
}

#endif /* CONFIG_ZSMALLOC_STAT */

/*
 * Pools
 */

/**
 * zs_create_pool - create a pool
 * @name: its name in debugfs, traces and messages; copied
 *
 * If there is no memory for a shrinker, the pool has none.
 *
 * A pool needs memory for each node that its objects are to be on, and for each class set.
 * It is allocated for one node here, and for another node or set when zs_malloc() first
 * needs it.
 *
 * Context: process context, may sleep.
 * Return: the pool, or NULL if there is no memory for it, if @name is NULL, or if zsmalloc
 * is built in and its initialisation has failed.
 */
struct zs_pool *zs_create_pool(const char *name)
{
	size_t size = struct_size_t(struct zs_pool, sets, zs_nr_sets());
	struct zs_pool *pool;
	size_t name_size;

	/* If zsmalloc is built in, zs_init() may have failed. */
	if (!name || !zs_wq)
		return NULL;
	name_size = strlen(name) + 1;
	pool = zs_alloc_pool(size + name_size);
	if (!pool)
		return NULL;

	pool->name = memcpy((char *)pool + size, name, name_size);
	atomic_long_set(&pool->refs, 1);
	INIT_WORK(&pool->free_work, zs_pool_free);
	ratelimit_state_init(&pool->reports, DEFAULT_RATELIMIT_INTERVAL,
			     DEFAULT_RATELIMIT_BURST);
	if (!zs_add_set(pool, zs_set_index(first_memory_node, 0), GFP_KERNEL)) {
		kvfree(pool);
		return NULL;
	}
	zs_pool_add_shrinker(pool);
	__module_get(THIS_MODULE);
	zs_pool_add_debugfs(pool);
	return pool;
}
EXPORT_SYMBOL_GPL(zs_create_pool);

/**
 * zs_destroy_pool - destroy a pool
 * @pool: the pool, whose objects must all have been freed; or NULL
 *
 * This does not wait for pages that the migration core has isolated or locked. The rest
 * of the pool is freed when these are put back, migrated or unlocked.
 *
 * Objects that were not freed are reported. They stay valid, and keep their memory, the
 * pool and the module.
 *
 * Context: process context, may sleep.
 */
void zs_destroy_pool(struct zs_pool *pool)
{
	struct size_class *class;
	unsigned long live = 0;

	if (!pool)
		return;

	debugfs_remove(pool->debugfs);
	shrinker_free(pool->shrinker);
	for_each_class(class, pool, NUMA_NO_NODE) {
		spin_lock(&class->lock);
		live += class->inuse;
		spin_unlock(&class->lock);
	}
	WARN(live, "zsmalloc: pool %s destroyed with %lu live objects, which leak\n",
	     pool->name, live);
	zs_race("destroy");
	zs_pool_put(pool);
	/*
	 * Wait, so that the module can be unloaded after its last user has returned
	 * from here, unless a page is locked or isolated.
	 */
	zs_flush_deferred();
}
EXPORT_SYMBOL_GPL(zs_destroy_pool);

static int __init zs_init(void)
{
	int ret;

	zs_set_shift = ilog2(min(nr_cpu_ids, ZS_MAX_SETS));
	ret = zs_init_geometries();
	if (ret)
		return ret;
	ret = zs_create_caches();
	if (ret)
		goto free_geometries;
	/* WQ_MEM_RECLAIM, because memory reclaim may wait for what the workqueue frees */
	zs_wq = alloc_workqueue("zsmalloc", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!zs_wq) {
		ret = -ENOMEM;
		goto destroy_caches;
	}
	ret = zs_register_mops();
	if (ret)
		goto destroy_wq;
	zs_create_debugfs();
	return 0;

destroy_wq:
	destroy_workqueue(zs_wq);
	zs_wq = NULL;
destroy_caches:
	zs_destroy_caches();
free_geometries:
	kfree(zs_geos);
	zs_geos = NULL;
	zs_nr_geos = 0;
	return ret;
}

static void __exit zs_exit(void)
{
	debugfs_remove(zs_debugfs);
	zs_unregister_mops();
	/*
	 * zs_pool_free() may still be running after it has freed the last pool. The
	 * worker has no zspage to try again, because that zspage would keep the module.
	 */
	destroy_workqueue(zs_wq);
	/* Wait for zspage_free_rcu(). */
	rcu_barrier();
	zs_destroy_caches();
	kfree(zs_geos);
}

module_init(zs_init);
module_exit(zs_exit);

MODULE_DESCRIPTION("Allocator for compressed pages whose memory can be migrated");
MODULE_LICENSE("Dual BSD/GPL");

#if IS_ENABLED(CONFIG_ZSMALLOC_RACE_POINTS)
#include "tests/zsmalloc_check.c"
#endif
