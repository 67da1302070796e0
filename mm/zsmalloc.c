// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * zsmalloc: an allocator for compressed pages whose memory can be migrated
 *
 * Objects of at most a page are packed into zspages: runs of single pages, cut
 * into equal slots without regard to page borders.  All that is known about a
 * zspage stands in its descriptor, struct zspage: which pages, which slots are
 * in use.  The pages themselves hold the users' bytes and nothing else.
 *
 * A handle names a descriptor and a slot.  There is no table in between, so
 * looking an object up takes its descriptor and its class's slot size, and
 * moving a page is replacing one pointer in zspage->pages[], whatever is stored
 * in the page and however many readers it has.
 *
 * The hard part is to free a page that a reader may be reading, without making
 * readers wait.  A reader pins the zspage and then looks where its pages are.
 * Migration first publishes the new page, then looks for pins.  So the reader
 * finds the new page, or migration finds the pin.  If there are pins, migration
 * puts the old page on zspage->stale and begins a *round*.  The round ends when
 * all pins that existed at its beginning are gone.  Then the old page is freed.
 *
 * Writers use the same pages, but what they write to a page that is just being
 * copied may be lost.  They look at zspage->moves before and after, and write
 * again if a page was moved in between.
 *
 * Moving an object (zs_compact()) must not change its handle either.  A zspage
 * whose objects were all moved gives its pages back and lives on as a *forwarder*,
 * with a link for each object that tells where it went, until the last of them
 * is freed.  A zspage that took objects in knows which handles own these
 * *guests*; when it is evacuated in turn, their links are changed to where they
 * go then.  So at most one link leads to an object, however often it was moved.
 * The zspage that the handle names is the object's *home*.  The zspage that the
 * home's link names is its *host*.
 *
 * While its objects are moved, a zspage is *frozen*.  A frozen zspage cannot be
 * pinned, and a pinned zspage cannot be frozen.  A task that finds a zspage frozen
 * waits for class->lock, and then looks the object up again.  A zspage is thawed
 * before the lock is dropped under which it was frozen.  But it stays frozen if it
 * was evacuated: it is a forwarder then, or no link names it any more.
 *
 * Locks, outermost first:
 *
 *  page lock		page->zspage.  Held for all pages of a zspage while it
 *			is freed or evacuated, so a locked page's zspage stays.
 *  class->lock		slots, fullness, isolation, page moves and object moves
 *			of the zspages of one size class
 *  zspage->moves	a sequence count, written under class->lock
 *
 * There is no pool-wide lock.  Opening and closing an object takes no lock, unless
 * objects of its zspage are being moved or a round is under way: then it takes
 * class->lock.
 *
 * Lifetimes: an object keeps the descriptor that its handle names.  A zspage
 * that has no objects left is freed at once if no page of it is isolated and its
 * page locks can be taken.  Otherwise a worker frees it, which tries again until it
 * gets them; if pages are isolated, after the last isolation has ended.  A
 * descriptor that guests were moved out of is freed after a grace period, as a
 * reader may just have read the link of one.  Zspages keep their pool, and pools
 * keep the module.
 */

/*
 * Memory ordering: all accesses that meet without a common lock.  Each entry has
 * the name of its litmus test in Documentation/litmus-tests/zsmalloc/, where the
 * same test without one of the barriers shows what that is for.  An arrow leads
 * from the stores to the loads.
 *
 * Pages that are replaced
 *
 *  pin+move		zspage_move_page(): pages[] with release, then the exchange of
 *			pins in zspage_next_round() <-> zspage_trypin(): increment,
 *			then pages[].  The reader has the new page, or is counted.
 *  move+leave+pin	The same if the round begins in a later lock hold.
 *  late+read		The same for a reader that pins during a round.
 *  copy+read		zspage_move_page(): contents, pages[] with release ->
 *			zspage_page(): address dependency.  The new page has its
 *			contents.
 *  read+free		Reads of the page, then the decrement in zspage_unpin() ->
 *			the exchange in zspage_next_round(), then the page is freed.
 *  leave+leave		The same through class->lock, if a reader of another page was
 *			the last early one: zspage_leave_round().
 *  read+put+put	The same if the core has the last reference.
 *  unpin+round		zspage_unpin(): decrement <-> the exchange that begins a round.
 *			The reader is not counted, or knows of the round.
 *  late+next		zspage_next_round(): ZS_PIN_ROUND -> zspage_finish_pin().  A
 *			pin is counted as early or noted as late, and not both.
 *  early+freeze	The sign of pins in a round -> zspage_freeze().  The zspage
 *			stays while a round waits for zspage_unpin_early().
 *  put+wait		zs_free_drained(): page count, wait queue <-> zs_wait_stale():
 *			wait queue, page count.  No wake-up is lost.
 *
 * Writers
 *
 *  write+move		zs_obj_write(): bytes, smp_mb(), moves <-> zspage_move_page():
 *			moves, smp_mb(), the copy.  The bytes are copied, or written
 *			again.  And pages[], moves -> moves, pages[]: the next try
 *			writes to the new page.
 *  write+freeze	Bytes, then the decrement in zspage_unpin() -> zspage_freeze(),
 *			then the copy.  An object that is moved has all bytes.
 *
 * Objects that are moved
 *
 *  pin+freeze		zspage_trypin() <-> zspage_freeze(): one of the two fails.
 *  pin+thaw		All that a failed evacuation did, zspage_thaw() with release ->
 *			zspage_trypin(), then the second look at the link.
 *  frozen+wait		zspage_evacuate() -> class_wait_thaw(), through class->lock.
 *			A reader of a frozen zspage waits once.
 *  forwarder+link		Links, zspage_make_forwarder() with release -> zs_pin_slow() with
 *			acquire.  A forwarder has its links.
 *  link+host		zspage_move_guests(): the link with release -> the first look
 *			in zs_pin_forwarded(): address dependency.  The host is valid.
 *  link+read		The copy, then the link with release -> the second look with
 *			acquire, then the bytes.
 *  link+move+read	The same if a page of the host was replaced after the copy.
 *  return		The same if the object left and came back to the same slot:
 *			not the bytes of the object that was there meanwhile.
 *  end+link, end+forwarder	Links and forwarder do not change while the object is pinned:
 *			zs_pinned() reads them plainly.
 *  vain+free		The link, then call_rcu() -> zs_pin_forwarded(), under RCU.  A
 *			host that is pinned in vain is unpinned before it is freed.
 *  keep+free		The same if the pin is not in vain: the object keeps the host.
 *
 * Pages, zspages and pools
 *
 *  adopt+isolate	zspage_adopt(): page->zspage, then the movable mark -> the
 *			migration core: page lock with acquire, then page->zspage.
 *			Mark and lock are bits of one word, which this rests on.
 *  release+isolate	zs_release_pages(): page->zspage, page lock with release ->
 *			the core: page lock with acquire, then page->zspage.
 *  defer+worker	zspage_defer_free(): llist_add() -> zs_free_deferred():
 *			llist_del_all().  The worker sees the dead zspage.
 *  classes+malloc	zs_add_node(): classes, nodes[] with release -> zs_node_classes():
 *			address dependency.  A node's classes are initialised.
 *  pool+pool		zs_pool_put() -> the last zs_pool_put().  All uses of the pool
 *			come before it is freed.
 */

#include <kunit/static_stub.h>
#include <linux/debugfs.h>
#include <linux/highmem.h>
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

/* The geometries in use, by ascending size; the same for every pool. */
static struct zs_geometry zs_geos[ZS_NR_STEPS] __ro_after_init;
static unsigned int zs_nr_geos __ro_after_init;
/* Which of them a size goes to, by zs_size_step(). */
static u16 zs_geo_of_step[ZS_NR_STEPS] __ro_after_init;
/* The smallest size that is stored in a page of its own. */
static size_t zs_huge_size __ro_after_init;

/* Memory per slot, in 1/256 bytes, of a zspage and its descriptor */
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

/* A zspage of several pages has more slots than pages, or there is no use in it. */
static unsigned int zs_geo_cost(const struct zs_geometry *geo, unsigned long page_size)
{
	if (geo->pages > 1 && geo->slots <= geo->pages)
		return UINT_MAX;
	return zs_slot_cost(geo->pages, geo->slots, page_size);
}

/**
 * zs_fit - the cheapest way to cut zspages into slots of @size bytes
 * @size: bytes per slot, at most @page_size
 * @page_size: bytes per page
 * @max_pages: longest zspage allowed
 * @max_slots: most slots per zspage allowed
 *
 * The cheapest takes the least memory per slot, the descriptor included. The result is
 * the shortest zspage that is not more than 1/ZS_FIT_SLACK above that: most classes have
 * a zspage that is not full, which costs more the longer it is, and short ones are easier
 * to empty. If pages are too short for more than one slot each, a zspage is a single
 * page, which can be freed by itself.
 *
 * Context: any, a pure function.
 * Return: the geometry, without what compaction needs.
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
	/* This ends, as the cheapest one is good enough. */
	pages = 0;
	do {
		geo = zs_cut(size, ++pages, page_size, max_slots);
	} while (zs_geo_cost(&geo, page_size) > lowest + lowest / ZS_FIT_SLACK);
	return geo;
}

/* Bytes for the links of a forwarder that do not find room in its descriptor */
static size_t zs_extra_links(const struct zs_geometry *geo, unsigned int nr_links)
{
	nr_links -= min(nr_links, geo->pages);
	return kmalloc_size_roundup(nr_links * sizeof(unsigned long));
}

/* Evacuating a zspage frees at least this many times what it adds. */
#define ZS_PAYBACK	2

/*
 * What an evacuation adds stays for as long as one of these objects does: the
 * descriptor as a forwarder, a link for each object, and a note of its owner.  This is if
 * all go to one host; see zspage_count_need() for what it is if not.
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

/* The groups of zspages with slots in use and free slots */
#define ZS_PARTLY_USED	GENMASK(ZS_99, ZS_10)

/* Those in which no zspage has more than @max_natives */
static unsigned long __init zs_pay_groups(const struct zs_geometry *geo)
{
	unsigned int more = min(geo->max_natives + 1, geo->slots);

	return ZS_PARTLY_USED & (BIT(zs_fullness(more, geo->slots)) - 1);
}

/* From the largest size down, as that is the one that smaller ones may share. */
static void __init zs_init_geometries(void)
{
	unsigned int step = ZS_NR_STEPS, shared = 0;
	struct zs_geometry *geo = NULL;

	while (step--) {
		struct zs_geometry fit;
		unsigned int cost;

		fit = zs_fit(ZS_MIN_SIZE + step * ZS_SIZE_STEP, PAGE_SIZE,
			     ZS_MAX_PAGES, ZS_MAX_SLOTS);
		cost = zs_slot_cost(fit.pages, fit.slots, PAGE_SIZE);
		if (!geo || shared > cost + cost / ZS_SHARE_SLACK) {
			geo = &zs_geos[zs_nr_geos++];
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
		swap(zs_geos[i], zs_geos[zs_nr_geos - 1 - i]);
	for (step = 0; step < ZS_NR_STEPS; step++)
		zs_geo_of_step[step] = zs_nr_geos - 1 - zs_geo_of_step[step];
}

/* Which of the geometries a size goes to */
static unsigned int zs_geo_index(unsigned int size)
{
	return zs_geo_of_step[zs_size_step(size)];
}

/*
 * The classes of node @nid, or NULL.  They are initialised, by an address dependency.
 * Pairs with zs_add_node().
 */
static struct size_class *zs_node_classes(struct zs_pool *pool, int nid)
{
	return READ_ONCE(pool->nodes[nid]);
}

/* NULL if @nid has no classes yet */
VISIBLE_IF_ZSMALLOC_TEST
struct size_class *zs_class(struct zs_pool *pool, unsigned int size, int nid)
{
	struct size_class *classes = zs_node_classes(pool, nid);

	return classes ? &classes[zs_geo_index(size)] : NULL;
}

VISIBLE_IF_ZSMALLOC_TEST
bool zs_node_has_memory(int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_node_has_memory, nid);

	return node_state(nid, N_MEMORY);
}

/*
 * Whether reclaim for node @nid packs the classes of @class_nid.  A node that has no
 * memory serves no class.  But it may have classes, from when it had memory: the first
 * node that has memory packs these, too.
 */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_node_serves(int nid, int class_nid)
{
	return nid == (zs_node_has_memory(class_nid) ? class_nid : first_memory_node);
}

/* See for_each_class(). */
VISIBLE_IF_ZSMALLOC_TEST
struct size_class *zs_next_class(struct zs_walk *walk)
{
	struct size_class *class = walk->class;
	int node = 0;

	if (class) {
		node = class->nid;
		if (++class < zs_node_classes(walk->pool, node) + zs_nr_geos)
			goto found;
		node++;
	}
	for (; node < nr_node_ids; node++) {
		class = zs_node_classes(walk->pool, node);
		if (class && (walk->nid == NUMA_NO_NODE ||
			      zs_node_serves(walk->nid, node)))
			goto found;
	}
	return NULL;

found:
	walk->class = class;
	return class;
}

/*
 * Descriptor caches, shared by all classes whose descriptors have one size
 */

#define ZS_NR_CACHES	((sizeof(struct zspage) +			\
			  ZS_MAX_PAGES * sizeof(struct zpdesc *) +	\
			  ZS_MAX_SLOTS / BITS_PER_BYTE +		\
			  ZS_MAX_SLOTS * (ZS_GENERATIONS > 1)) /	\
			 ZSPAGE_SIZE_STEP + 2)

static struct kmem_cache *zs_caches[ZS_NR_CACHES] __ro_after_init;

/* What debug builds add is no reason for other geometries. */
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
		 * Handles reach the linear map only, and not every architecture
		 * has the pool of KFENCE in there.
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
 * The first mistake of each kind is a warning with a trace, as it is a bug of the
 * pool's user.  It is likely to be repeated for every object, so that the reports
 * after it are a line each, at a limited rate.
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
	for (int nid = 0; nid < nr_node_ids; nid++)
		kvfree(pool->nodes[nid]);
	kvfree(pool);
	/* zs_exit() waits for this work before the code below it goes. */
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
 * A page that was replaced is stale.  The pins that existed when it was replaced
 * may be those of readers of the old page, later ones cannot: the page must be
 * held for the former, and need not be for the latter.  A pin does not say when it
 * was taken, so the two are told apart only in a *round*.  A round begins
 * when a page is replaced and there are pins: these are early, and counted.  It
 * ends when the last early pin has gone, and frees the pages that were stale when
 * it began.  Pages that are replaced meanwhile wait for the next round, and so for
 * all pins that exist when that begins.
 *
 * During a round zspage->pins is negative, which sends readers to slow paths:
 * they take class->lock, and note their pins as late, by slot.  An unpin is
 * that of a late reader of the slot if there is one, else that of an early one.
 * So two readers of one object cannot be told apart.  If one of them is early and
 * one late, the pages may be held until no reader has this object open.
 */

/* Pages that a round leaves behind, to be freed when class->lock was dropped */
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
		zpdesc_put(zpdesc);
		/* zs_wait_stale() looks at the page count. */
		wake_up_var(zpdesc);
		zpdesc = next;
	}
	kfree(late);
}

/*
 * For noting late pins, which can be done without: no reserves, and no reclaim, as
 * the context may be atomic.
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
 * A page was replaced while there was no round, or the last early pin of a round
 * has gone.  Begin a round if there are pins and pages for it, and have all other
 * stale pages freed.
 *
 * The exchange is fully ordered.  Pairs with zspage_trypin(): a reader that is
 * not counted here finds what replaced the pages.
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
	/* They take the notes of the round along, see zspage_late(). */
	drained->pages = *link;
	*link = NULL;
}

/* An early pin has gone. */
static void zspage_leave_round(struct zspage *zspage,
			       struct zs_drained *drained)
	__must_hold(&zspage->class->lock)
{
	if (!--zspage->early)
		zspage_next_round(zspage, drained);
}

/* Whether the round goes on that was under way when pins were @pins */
static bool zspage_same_round(struct zspage *zspage, int pins)
	__must_hold(&zspage->class->lock)
{
	pins ^= atomic_read(&zspage->pins);
	return !(pins & (ZS_PIN_SLOW | ZS_PIN_ROUND));
}

/*
 * @pins is what a pin was added to.  In a round the pin is late.  The round may
 * have ended before the lock is taken, and the next one may have begun, for which
 * the pin is early.  But this next one cannot have ended, as the pin is still
 * there: so two values of ZS_PIN_ROUND tell rounds apart.
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
		/* The first one brings the memory, which takes no lock. */
		spin_unlock(&class->lock);
		memory = zs_alloc_late(class->geo.slots);
		spin_lock(&class->lock);
	}
	if (zspage_same_round(zspage, pins)) {
		u8 **late = zspage_late(zspage);

		if (!*late)
			swap(*late, memory);
		/* What cannot be noted is waited for, as if it was early. */
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
 * Hold the object in @slot of @zspage open; fails if the zspage is frozen.  From
 * here until zspage_unpin() no object of it is moved, and no page that is found
 * in pages[] is freed, though it may be replaced.
 *
 * Fully ordered: the pin is visible before pages[] is read.  Pairs with the
 * exchange in zspage_next_round(), which comes after pages[] was changed.  And a
 * reader that pins a zspage that was frozen sees all that was done meanwhile;
 * pairs with zspage_thaw().
 */
static bool zspage_trypin(struct zspage *zspage, unsigned int slot)
{
	/*
	 * An increment cannot fail.  If failed attempts were not to be counted,
	 * it would take a loop.  ZS_FROZEN leaves room for more failed attempts
	 * than there are tasks: after one, a task waits until the zspage was
	 * thawed or evacuated.
	 */
	return zspage_finish_pin(zspage, slot, atomic_fetch_inc(&zspage->pins));
}

static noinline void zspage_unpin_slow(struct zspage *zspage, unsigned int slot)
{
	struct size_class *class = zspage->class;
	struct zs_drained drained = { };

	spin_lock(&class->lock);
	/*
	 * First, as the next round is not to wait for this pin.  The lock orders
	 * it: pins are looked at for freeing pages, and for freezing, under it.
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

/* The round began after the look at pins, so it counted this pin as early. */
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
 * Close the object in @slot of @zspage.  The object keeps the zspage from being
 * freed until the caller returns to its user.
 *
 * The zspage may be frozen as soon as the pin is gone.  The slow path decrements
 * under class->lock, which freezing takes.  Otherwise the zspage is touched after
 * the decrement only if a round waits for this pin, and a zspage in a round is not
 * frozen.
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
	 * Release: all that was done to the zspage comes before.  Pairs with
	 * zspage_trypin().  Failed attempts to pin are not counted any more.
	 */
	atomic_set_release(&zspage->pins, 0);
}

/* A zspage of @class was found frozen.  Wait until it was thawed or evacuated. */
static void class_wait_thaw(struct size_class *class)
{
	zs_race("wait_thaw");
	spin_lock(&class->lock);
	spin_unlock(&class->lock);
}

/*
 * Forwarders and guests
 *
 * A zspage that is evacuated may have natives, which its own handles name, and
 * guests, which those of forwarders do. For its natives it becomes a forwarder: it has
 * a link for each, in the order of the slots that they had, which its bitmap still
 * shows. As many links as it had pages are in place of these, the others are in memory
 * of their own. For its guests, links that there are already are changed; to find
 * these, a zspage that has guests notes which handles own them, in blocks of three.
 */

/* Links that a forwarder was made with, live or not */
static unsigned int forwarder_max_links(struct zspage *forwarder)
{
	return bitmap_weight(zspage_bitmap(forwarder), forwarder->class->geo.slots);
}

/*
 * The link of the object that was in @slot of @home when that became a forwarder; NULL
 * if there was none.
 */
static unsigned long *forwarder_link(struct zspage *home, unsigned int slot)
{
	unsigned long *bitmap = zspage_bitmap(home);

	if (unlikely(slot >= home->class->geo.slots || !test_bit(slot, bitmap)))
		return NULL;
	return forwarder_link_at(home, bitmap_weight(bitmap, slot));
}

/*
 * @zspage was found on a list of its class, or by a link from a zspage of its class, and
 * the class is locked. For clang, which does not know that it is the same class.
 */
static __always_inline void zspage_assert_locked(struct zspage *zspage)
	__assumes_ctx_lock(&zspage->class->lock)
{
	lockdep_assert_held(&zspage->class->lock);
}

/* Objects of @zspage that its own handles name */
static unsigned int zspage_natives(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	return zspage->inuse - zspage->nr_guests;
}

/*
 * Guests come and go under class->lock.  Blocks that are to spare meanwhile are
 * on a list of the caller, which frees what is left of it without the lock.
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

/* How many guests are in the first block */
static unsigned int zspage_first_guests(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	return (zspage->nr_guests - 1) % ZS_GUESTS_PER_BLOCK + 1;
}

/* The last one; it may as well be the first to go. */
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
	/* The gap is filled with another one. */
	block->owner[i] = zspage_last_guest(zspage);
	zspage_drop_last_guest(zspage, blocks);
}

/* With what debug builds add */
static size_t class_descriptor_size(const struct size_class *class)
{
	return kmem_cache_size(class->cache);
}

/* What zs_compact() has added to the memory that the class takes */
static size_t class_added(const struct size_class *class)
	__must_hold(&class->lock)
{
	return class->nr_forwarders * class_descriptor_size(class) +
	       class->link_bytes + class->guest_blocks * sizeof(struct zs_guest_block);
}

/*
 * An object that was moved is being freed: forget where it went.  Returns the
 * zspage and the slot that it is in, or NULL if it was freed before.
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
	/* Read after this only if the object is used after free, which 0 shows. */
	WRITE_ONCE(*link, 0);
	zspage_assert_locked(host);
	zspage_remove_guest(host, handle, blocks);
	class->forwarded--;
	if (!--home->nr_links) {
		list_del(&home->list);
		class->nr_forwarders--;
		class->link_bytes -= zs_extra_links(&class->geo,
						    forwarder_max_links(home));
	}
	added -= class_added(class);
	if (added)
		atomic_long_sub(added, &class->pool->added);
	return host;
}

/* From here on, @forwarder may be freed as soon as class->lock is dropped. */
static void zspage_make_forwarder(struct zspage *forwarder, unsigned long *near_links,
				  unsigned long *far_links)
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
	/* The links first, readers go by this.  Pairs with zs_pin_slow(). */
	smp_store_release(&forwarder->state, ZSPAGE_FORWARDER);
}

/*
 * Looking objects up
 */

/*
 * Stands in for the host of an object that was freed before: no length fits into
 * its slots, so that nothing is read or written.  It is unpinned, but never pinned:
 * see zs_follow().
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

/* The zspage and the slot that a link leads to; 0: the object was freed before. */
static __always_inline struct zspage *zs_follow(unsigned long where,
						unsigned int *slot)
{
	if (unlikely(!where)) {
		*slot = 0;
		/*
		 * Each task that unpins it has been here before.  So its count
		 * is never lower than this less the number of tasks.
		 */
		atomic_set(&zs_no_host.pins, ZS_PIN_COUNT);
		return &zs_no_host;
	}
	return zs_decode_location(where, slot);
}

/*
 * Pin the host of an object that was moved; returns where it is.  RCU keeps the
 * host that the link names, until the pin and the second look at the link have
 * shown that the object is in there: then it is the object that keeps the host.
 * 0 if the object was freed before.
 */
static unsigned long zs_pin_forwarded(struct zspage *home, unsigned int slot)
{
	unsigned long *link = forwarder_link(home, slot);

	while (link) {
		struct zspage *host;
		unsigned long where;
		bool pinned;

		rcu_read_lock();
		/* Once: it changes as the object moves.  Its pages come with it. */
		where = READ_ONCE(*link);
		if (unlikely(!where)) {
			rcu_read_unlock();
			break;
		}
		host = zs_decode_location(where, &slot);
		zs_race("link_read");
		pinned = zspage_trypin(host, slot);
		zs_race("link_pinned");
		/*
		 * The object may have left and come back to the same slot, which
		 * held another one meanwhile.  So that its bytes are read after
		 * this look; pairs with the release in zspage_move_guests().
		 */
		if (pinned && smp_load_acquire(link) != where) {
			/* The object is elsewhere: only RCU keeps this host. */
			zs_race("unpin_vain");
			zspage_unpin_slow(host, slot);
			rcu_read_unlock();
			continue;
		}
		rcu_read_unlock();
		if (pinned)
			return where;
		class_wait_thaw(home->class);
	}
	return 0;
}

/*
 * The object is being moved, or has been, or its home is in a round.  @pins is what
 * a pin of the home was added to.  Returns where the object is, as a handle; 0 if it
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
		/* A forwarder's links come with it.  Pairs with zspage_make_forwarder(). */
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
 * Pin the zspage that a handle names.  Returns what the pin was added to: negative
 * if there is more to do, by zs_pin_slow().  A forwarder stays frozen, so looking at it
 * first only keeps its pins bounded.
 */
static __always_inline int zs_pin_home(struct zspage *home)
{
	int pins = ZS_FROZEN;

	zspage_check_magic(home);
	/* Rarely it is, and then lockdep is to know of it. */
	might_lock(&home->class->lock);
	if (likely(READ_ONCE(home->state) != ZSPAGE_FORWARDER)) {
		zs_race("looked_up");
		/* As zspage_trypin() does */
		pins = atomic_fetch_inc(&home->pins);
		if (likely(pins >= 0))
			zs_race("pinned");
	}
	return pins;
}

/*
 * Look @handle up and hold its object open.  The caller owns the object, which
 * keeps the descriptor that the handle names.  Returns the zspage and the slot
 * that the object is in; it stays there until zspage_unpin().
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

/* Where the object is that zs_pin_slow() has pinned */
static noinline unsigned long zs_pinned_slow(unsigned long handle)
{
	unsigned int slot;
	struct zspage *home = zs_decode_location(handle, &slot);
	unsigned long *link = forwarder_link(home, slot);
	unsigned long where = link ? READ_ONCE(*link) : 0;

	if (unlikely(!where))
		zs_report_stale(home->class->pool, handle);
	return where;
}

/* What zs_pin() returned: nothing of this changes while the object is pinned. */
static struct zspage *zs_pinned(unsigned long handle, unsigned int *slot)
{
	struct zspage *home = zs_decode_location(handle, slot);

	if (likely(home->state != ZSPAGE_FORWARDER))
		return home;
	return zs_follow(zs_pinned_slow(handle), slot);
}

/*
 * The zspage's page at @index, which a pin keeps.  zs_migrate_page() publishes
 * a page after its contents; the address dependency orders what is read from
 * it after this.
 */
static struct page *zspage_page(struct zspage *zspage, unsigned int index)
{
	return zpdesc_page(READ_ONCE(zspage->pages[index]));
}

/* Does the kernel know of @page that it is bad?  A function for the tests. */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_page_is_bad(struct page *page)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_page_is_bad, page);

	return PageHWPoison(page);
}

/*
 * Copy @len bytes from one page to another.  If they cannot be read, and the
 * architecture can tell, that is reported: so @from is not tried again.
 *
 * Whole pages are copied by this, too, and not by copy_mc_highpage(): where KASAN
 * goes by tags in pointers, that may take the tag of @to away, and accesses to it
 * would be checked no more.  A new page comes with a tag of its own, and kmap
 * returns a pointer that has it.
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
 * Descriptors and pages.  Each allocation is a function of its own, so that
 * tests can make it fail.
 */

VISIBLE_IF_ZSMALLOC_TEST
struct zs_pool *zs_alloc_pool(size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_pool, size);

	return kvzalloc(size, GFP_KERNEL);
}

/*
 * Memory for the classes of node @nid.  @gfp is that of a zspage: what it says of zones
 * and nodes is said of pages.
 */
VISIBLE_IF_ZSMALLOC_TEST
struct size_class *zs_alloc_classes(int nid, gfp_t gfp)
{
	size_t size = zs_nr_geos * sizeof(struct size_class);

	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_classes, nid, gfp);

	gfp = (gfp & (GFP_KERNEL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL)) |
	      __GFP_NOMEMALLOC | __GFP_NOWARN;
	/* vmalloc() may be called with spinlocks held, but not with softirqs off. */
	if (in_interrupt())
		return kzalloc_node(size, gfp, nid);
	return kvzalloc_node(size, gfp, nid);
}

VISIBLE_IF_ZSMALLOC_TEST
struct zspage *zs_alloc_descriptor(struct size_class *class, gfp_t gfp, int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_descriptor, class, gfp, nid);

	/* A node whose memory is all movable has none for descriptors. */
	gfp &= ~(__GFP_HIGHMEM | __GFP_MOVABLE | __GFP_THISNODE);
	return kmem_cache_alloc_node(class->cache, gfp | __GFP_ZERO, nid);
}

/* The descriptor was not used. */
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
 * For evacuating one zspage, which gives back at least ZS_PAYBACK times as much.  So
 * tasks that reclaim memory, which have PF_MEMALLOC, may take it from the reserves.
 */
VISIBLE_IF_ZSMALLOC_TEST
void *zs_alloc_supply(size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_supply, size);

	return kmalloc(size, GFP_NOWAIT);
}

/*
 * Node @nid gets classes, which takes memory: returns NULL if there is none.  Tasks
 * that come here at once get those of one of them.
 */
static struct size_class *zs_add_node(struct zs_pool *pool, int nid, gfp_t gfp)
{
	struct size_class *classes = zs_alloc_classes(nid, gfp), *others;

	if (!classes)
		return NULL;
	for (unsigned int i = 0; i < zs_nr_geos; i++) {
		struct size_class *class = &classes[i];

		class->geo = zs_geos[i];
		class->nid = nid;
		class->pool = pool;
		class->cache = *zs_cache(&class->geo);
		guard(spinlock_init)(&class->lock);
		for (int f = 0; f < ZS_NR_FULLNESS; f++)
			INIT_LIST_HEAD(&class->zspages[f]);
		INIT_LIST_HEAD(&class->forwarders);
	}
	/* Initialised, and then to be found.  Pairs with zs_node_classes(). */
	others = cmpxchg_release(&pool->nodes[nid], NULL, classes);
	if (!others)
		return classes;
	kvfree_atomic(classes);
	return others;
}

/* Add @sign for each of the pages to its zone; mostly they are of one zone. */
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
 * Whether handles lead back to @zspage.  If not, its memory is not in the linear
 * map: KFENCE has a pool elsewhere on some architectures, and the skip_kfence file
 * of a slab cache can be written.  This is a check for all builds, as every object
 * of such a zspage would be some other memory.
 */
static bool zspage_is_reachable(struct zspage *zspage)
{
	unsigned long last = zs_encode_location(zspage, ZS_MAX_SLOTS - 1);
	unsigned int slot;

	return !IS_ERR_OR_NULL((void *)last) &&
	       zs_decode_location(last, &slot) == zspage;
}

/*
 * The class of the same size on node @nid; it is @class if the node has no classes, and
 * no memory can be had for them.
 */
static struct size_class *class_on_node(struct size_class *class, int nid, gfp_t gfp)
{
	struct size_class *classes = zs_node_classes(class->pool, nid);

	if (unlikely(!classes))
		classes = zs_add_node(class->pool, nid, gfp & ~__GFP_DIRECT_RECLAIM);
	return classes ? &classes[zs_geo_index(class->geo.size)] : class;
}

/*
 * A zspage that no list or page names yet, of the size of @class.  It belongs to the
 * node where its first page was found, see class_on_node().
 */
static struct zspage *zspage_alloc(struct size_class *class, gfp_t gfp, int nid)
{
	struct zs_pool *pool = class->pool;
	struct zspage *zspage;
	unsigned int nr;

	zspage = zs_alloc_descriptor(class, gfp, nid);
	if (!zspage)
		return NULL;
	/* Handles carry no tag, and lists compare pointers from either source. */
	zspage = kasan_reset_tag(zspage);
	if (unlikely(!zspage_is_reachable(zspage))) {
		if (!test_and_set_bit(ZS_UNREACHABLE, &pool->reported))
			pr_err("zsmalloc: pool %s: a descriptor is not in the linear map, so it can have no handles; is skip_kfence of its slab cache 0?\n",
			       pool->name);
		zs_discard_descriptor(class, zspage);
		return NULL;
	}

	if (!zs_migration)
		gfp &= ~__GFP_MOVABLE;
	nr = class->geo.pages == 1 ? 0 :
	     zs_alloc_bulk(gfp, nid, class->geo.pages, zspage->pages);
	/* A bulk that came back short need not be out of memory. */
	for (; nr < class->geo.pages; nr++) {
		zspage->pages[nr] = zs_alloc_single(gfp, nid);
		if (!zspage->pages[nr])
			goto fail;
	}

	class = class_on_node(class, page_to_nid(zpdesc_page(zspage->pages[0])),
			      gfp);
	seqcount_spinlock_init(&zspage->moves, &class->lock);
	zspage->class = class;
	zspage_init_generations(zspage);
	zspage->state = ZSPAGE_NEW;
	zspage_set_magic(zspage, ZSPAGE_MAGIC);
	zs_pages_added(zspage->pages, nr);
	atomic_long_add(nr, &pool->pages);
	atomic_long_inc(&pool->refs);
	return zspage;

fail:
	while (nr--)
		zpdesc_put(zspage->pages[nr]);
	zs_discard_descriptor(class, zspage);
	return NULL;
}

/*
 * Tie a page to @zspage and show it to the migration core, in this order: the
 * core acts on the mark, and takes the page lock before it gets here.  The mark
 * and the type stay until the page is back in the page allocator.
 */
static void zspage_adopt(struct zspage *zspage, struct zpdesc *zpdesc)
{
	zpdesc->zspage = zspage;
	__zpdesc_set_zsmalloc(zpdesc);
	if (zs_migration) {
		/*
		 * Pairs with folio_trylock() in isolate_movable_ops_page(): the
		 * mark is a bit of the same word as the page lock.
		 */
		smp_mb__before_atomic();
		__zpdesc_set_movable(zpdesc);
	}
}

/*
 * Free pages that are locked.  A task that waits for one of these locks, or has a
 * reference to one of the pages, then finds page->zspage cleared.
 */
static void zs_release_pages(struct zs_pool *pool, struct zpdesc **pages,
			     unsigned int nr)
{
	zs_pages_removed(pages, nr);
	for (unsigned int i = 0; i < nr; i++) {
		pages[i]->zspage = NULL;
		zpdesc_unlock(pages[i]);
		__free_page(zpdesc_page(pages[i]));
	}
	atomic_long_sub(nr, &pool->pages);
}

/* Touches neither class nor pool, which may have been freed before. */
static void zspage_free_memory(struct zspage *zspage)
{
	zspage_set_magic(zspage, 0);
	/* NULL if it was no forwarder, as it has no guests. */
	kfree(zspage->far_links);
	kfree(zspage);
}

static void zspage_free_rcu(struct rcu_head *rcu)
{
	zspage_free_memory(container_of(rcu, struct zspage, rcu));
}

/*
 * A reader may have read the link of a guest before the guest was moved from here.
 * The guest does not keep this descriptor any more, and the reader is about to pin
 * it, under RCU.  So then it is freed after a grace period.
 */
static void zspage_free_descriptor(struct zspage *zspage)
{
	struct zs_pool *pool = zspage->class->pool;

	if (zspage->was_host)
		call_rcu(&zspage->rcu, zspage_free_rcu);
	else
		zspage_free_memory(zspage);
	zs_pool_put(pool);
}

/* For a zspage that is dead, so that no other task changes it */
static bool zspage_is_idle(struct zspage *zspage)
	__context_unsafe(/* dead */)
{
	return !atomic_read(&zspage->pins) && !zspage->nr_stale;
}

/* Free a dead zspage, with all of its pages locked.  It is no forwarder. */
static void zspage_free(struct zspage *zspage)
{
	struct size_class *class = zspage->class;

	VM_WARN_ON_ONCE(zspage->state != ZSPAGE_DEAD);
	VM_WARN_ON_ONCE(zspage->nr_guests);
	VM_WARN_ON_ONCE(!zspage->was_host && !zspage_is_idle(zspage));

	zs_release_pages(class->pool, zspage->pages, class->geo.pages);
	zspage_free_descriptor(zspage);
}

static void zspage_unlock_pages(struct zspage *zspage, unsigned int nr)
{
	while (nr--)
		zpdesc_unlock(zspage->pages[nr]);
}

static bool zspage_trylock_pages(struct zspage *zspage)
{
	for (unsigned int i = 0; i < zspage->class->geo.pages; i++)
		if (!zpdesc_trylock(zspage->pages[i])) {
			zspage_unlock_pages(zspage, i);
			return false;
		}
	return true;
}

/*
 * Deferred free: zs_free() may not sleep for page locks, and the migration
 * core holds one when a zspage's last isolation ends.
 *
 * A dead zspage cannot be isolated any more, so its pages[] stand still.
 *
 * The worker does not sleep for page locks either, as there is one for all pools: a
 * zspage whose pages are locked is left for later, and holds up no other.
 */

/* How long it may take to find that a page is not locked any more, in jiffies */
#define ZS_MAX_DELAY	(HZ / 10)

static LLIST_HEAD(zs_deferred);
/* Those with a locked page.  Only the worker adds to it and takes from it. */
static LLIST_HEAD(zs_left);
static void zs_free_deferred(struct work_struct *work);
static DECLARE_DELAYED_WORK(zs_deferred_work, zs_free_deferred);

/* Look at each zspage of @list once.  Returns whether one was freed. */
static bool zs_free_listed(struct llist_node *list)
{
	struct zspage *zspage, *next;
	bool freed = false;

	llist_for_each_entry_safe(zspage, next, list, deferred) {
		zs_race("deferred");
		if (zspage_trylock_pages(zspage)) {
			zs_race("deferred_lock");
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

/* A work item is never run twice at the same time. */
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
	/* Twice as long each time that none could be freed */
	delay = freed ? 1 : min(2 * delay, ZS_MAX_DELAY);
	queue_delayed_work(zs_wq, &zs_deferred_work, delay);
}

/* Whatever the worker waits for, it comes at once. */
static void zspage_defer_free(struct zspage *zspage)
{
	if (llist_add(&zspage->deferred, &zs_deferred))
		mod_delayed_work(zs_wq, &zs_deferred_work, 0);
}

/*
 * Wait until all that was deferred has been freed, pools included, but for zspages with
 * a page that is locked: the worker looks at each zspage once after this was called.
 * Returns whether that is all.
 */
VISIBLE_IF_ZSMALLOC_TEST
bool zs_flush_deferred(void)
{
	/* Not a run that is under way: it may have been past a page when that was unlocked. */
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

static bool zspage_check(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;
	unsigned int slots = class->geo.slots;
	unsigned int inuse = bitmap_weight(zspage_bitmap(zspage), slots);

	zspage_check_magic(zspage);
	return !WARN_ONCE(zspage->inuse != inuse || zspage->nr_guests > inuse ||
			  zspage->state != ZSPAGE_LIVE ||
			  !zspage_check_round(zspage) ||
			  zspage->isolated > class->geo.pages ||
			  (zspage->fullness != ZS_BAD &&
			   zspage->fullness != zs_fullness(inuse, slots)) ||
			  find_first_zero_bit(zspage_bitmap(zspage), slots) <
				zspage->hint,
			  "zsmalloc: zspage of %u x %u: %u bits set, inuse %u, guests %u, hint %u, isolated %u, fullness %u, pins %#x, stale %u, draining %u, early %u\n",
			  slots, class->geo.size, inuse, zspage->inuse,
			  zspage->nr_guests, zspage->hint, zspage->isolated,
			  zspage->fullness, atomic_read(&zspage->pins),
			  zspage->nr_stale, zspage->nr_draining, zspage->early);
}

/**
 * struct zs_search - how far a search for zspages to evacuate has got
 * @node: on class->searches
 * @next: zspage->list of the zspage to look at next; or the end of the group's list
 * @fullness: that group.  They are searched by fullness, each from front to back.
 * @over: there is nothing more to find
 *
 * The search goes on in the next hold of class->lock where it stopped.  So it looks
 * once at every zspage that stays where it is, and each hold of the lock can be short.
 * It comes to an end: zspages that come to the group it is in are behind it.
 */
struct zs_search {
	struct hlist_node	node;
	struct list_head	*next;
	unsigned int		fullness;
	bool			over;
};

/* @zspage leaves its list: searches that would look at it next go on behind it. */
static void zspage_skip(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;
	struct zs_search *search;

	hlist_for_each_entry(search, &class->searches, node)
		if (search->next == &zspage->list)
			search->next = zspage->list.next;
}

/* The next zspage that is neither empty, full nor bad; NULL: that was all. */
static struct zspage *class_search(struct size_class *class, struct zs_search *search)
	__must_hold(&class->lock)
{
	struct zspage *zspage;

	while (search->next == &class->zspages[search->fullness]) {
		if (search->fullness == ZS_99)
			return NULL;
		search->next = class->zspages[++search->fullness].next;
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

/* @zspage lives: it may be allocated from, isolated, and evacuated. */
static void zspage_enlist(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	zspage_list_add(zspage, zs_fullness(zspage->inuse, zspage->class->geo.slots));
	WRITE_ONCE(zspage->state, ZSPAGE_LIVE);
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		zspage_check(zspage);
}

/* @zspage does not live any more. */
static void zspage_unlist(struct zspage *zspage, enum zspage_state state)
	__must_hold(&zspage->class->lock)
{
	zspage_list_del(zspage);
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

/* After slots of a zspage that lives were taken or returned */
static void zspage_update_fullness(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	unsigned int slots = zspage->class->geo.slots;

	if (likely(zspage->fullness != ZS_BAD))
		zspage_set_fullness(zspage, zs_fullness(zspage->inuse, slots));
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		zspage_check(zspage);
}

/* Zspages to look at under one hold of class->lock */
#define ZS_TRIES	16

/*
 * Is a page of @zspage known to be bad?  Then @zspage is set aside, so that this is
 * found once in its life, and no search has to walk past it.
 */
static bool zspage_is_bad(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	struct size_class *class = zspage->class;

	for (unsigned int i = 0; i < class->geo.pages; i++)
		if (unlikely(zs_page_is_bad(zpdesc_page(zspage->pages[i])))) {
			class->bad_inuse += zspage->inuse;
			zspage_set_fullness(zspage, ZS_BAD);
			return true;
		}
	return false;
}

/*
 * A zspage with a free slot: of the fullest group, the last used one.  If there
 * are too many bad ones on the way, the next search gets further.
 */
static struct zspage *class_find_zspage(struct size_class *class)
	__must_hold(&class->lock)
{
	for (unsigned int tries = ZS_TRIES; tries; tries--) {
		unsigned long groups = class->groups & ~(BIT(ZS_FULL) | BIT(ZS_BAD));
		struct zspage *zspage;

		if (!groups)
			break;
		zspage = list_first_entry(&class->zspages[__fls(groups)],
					  struct zspage, list);
		zspage_assert_locked(zspage);
		if (likely(!zspage_is_bad(zspage)))
			return zspage;
	}
	return NULL;
}

/*
 * The equations
 */

/*
 * Allocating and freeing
 */

/* There is a free slot.  The caller updates the fullness. */
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

/* Allocate an object in a zspage of @class that has a free slot; 0 if there is none. */
static unsigned long class_malloc(struct size_class *class)
{
	unsigned long handle = 0;
	struct zspage *zspage;

	spin_lock(&class->lock);
	zspage = class_find_zspage(class);
	if (zspage) {
		zspage_assert_locked(zspage);
		handle = zspage_handle(zspage, zspage_take_slot(zspage));
		zspage_update_fullness(zspage);
	}
	spin_unlock(&class->lock);

	return handle;
}

/* Allocate the first object in @zspage, which is new. */
static unsigned long zspage_malloc_first(struct zspage *zspage)
{
	struct size_class *class = zspage->class;
	unsigned long handle;

	spin_lock(&class->lock);
	/*
	 * From here on the core tries to isolate the pages.  An isolation that
	 * ends while the zspage has no object would free it.  So its first
	 * object is allocated in the same hold of the lock, which isolating takes.
	 */
	for (unsigned int i = 0; i < class->geo.pages; i++)
		zspage_adopt(zspage, zspage->pages[i]);
	handle = zspage_handle(zspage, zspage_take_slot(zspage));
	zspage_enlist(zspage);
	spin_unlock(&class->lock);

	return handle;
}

/*
 * The nodes that have memory, from the nearest to @nid to the farthest: as the page
 * allocator takes them.  With __GFP_THISNODE there is @nid only.  Each of their zones
 * has an entry, and those of a node stand together.  The end is an entry without zone.
 */
static struct zoneref *zs_near_nodes(int nid, gfp_t gfp)
{
	return node_zonelist(nid, gfp)->_zonerefs;
}

/* The node of an entry.  It is read once, as it changes when memory comes or goes. */
static bool zs_node_of(struct zoneref *z, int *nid)
{
	struct zone *zone = READ_ONCE(z->zone);

	if (zone)
		*nid = zone_to_nid(zone);
	return zone;
}

/*
 * Node @nid has no classes.  It gets them if it has memory; but if there is no memory
 * for classes just now, those of the nearest node that has some do as well.
 */
static noinline struct size_class *zs_classes_slow(struct zs_pool *pool, int nid,
						   gfp_t gfp)
{
	struct zoneref *z = zs_near_nodes(nid, GFP_KERNEL);
	struct size_class *classes = NULL;

	if (zs_node_has_memory(nid))
		classes = zs_add_node(pool, nid, gfp & ~__GFP_DIRECT_RECLAIM);
	for (; !classes && zs_node_of(z, &nid); z++)
		classes = zs_node_classes(pool, nid);
	/* All that have classes have lost their memory. */
	for (nid = 0; !classes; nid++)
		classes = zs_node_classes(pool, nid);
	return classes;
}

/* A free slot in a class of the same size as @class, on another node near @nid; or 0 */
static unsigned long class_malloc_elsewhere(struct size_class *class, gfp_t gfp, int nid)
{
	struct size_class *other, *last = class;
	struct zoneref *z = zs_near_nodes(nid, gfp);
	unsigned long handle = 0;

	for (; !handle && zs_node_of(z, &nid); z++) {
		other = zs_class(class->pool, class->geo.size, nid);
		if (!other || other == class || other == last)
			continue;
		handle = class_malloc(other);
		last = other;
	}
	return handle;
}

/*
 * @class, which is that of node @nid unless this has no classes, has no free slot.  If
 * the node has no memory at hand either, then a slot of another node is better than
 * reclaim.
 */
static noinline unsigned long class_malloc_slow(struct size_class *class,
						gfp_t gfp, int nid)
{
	gfp_t at_hand = (gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) |
			__GFP_THISNODE | __GFP_NOMEMALLOC | __GFP_NOWARN;
	struct zspage *new = NULL;

	if (nr_node_ids > 1 && nid != NUMA_NO_NODE)
		new = zspage_alloc(class, at_hand, nid);
	if (nr_node_ids > 1 && !new) {
		int near = nid == NUMA_NO_NODE ? numa_mem_id() : nid;
		unsigned long handle = class_malloc_elsewhere(class, gfp, near);

		if (handle)
			return handle;
	}
	if (!new)
		new = zspage_alloc(class, gfp, nid);
	if (!new)
		return (unsigned long)-ENOMEM;
	zs_race("malloc_new");
	return zspage_malloc_first(new);
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
 * @pool: where from
 * @size: its size in bytes, 1 to PAGE_SIZE
 * @gfp: how to allocate memory if the pool has no free slot of this size.
 *	 __GFP_HIGHMEM and __GFP_MOVABLE are welcome.
 * @nid: the node that the object should be on, or NUMA_NO_NODE
 *
 * A free slot on @nid is used first, then memory that is free there; then a slot
 * on another node that has memory, the nearest first, and only then is memory
 * reclaimed.  NUMA_NO_NODE stands for the CPU's node, but any free slot goes before new
 * memory; so does a @nid that is offline, as a user may have read it before the node
 * went.
 *
 * With __GFP_THISNODE in @gfp slots of other nodes are not used either; unless @nid is
 * offline, has no memory, or has none free for the pool's lists of it, some 50 KB: then
 * objects of @nid share those of another node until it has.  The rest of
 * @gfp, and the cpuset of the task, hold for new memory only: a free slot may be on a
 * node on which the task may not allocate.
 *
 * The object's contents are undefined until zs_obj_write().
 *
 * Context: any in which @gfp may be used; takes a spinlock (not from
 * interrupts).
 * Return: a handle, which is neither 0 nor an error value; or, to be tested
 * with IS_ERR_VALUE(), -EINVAL for @size 0 or if there can be no node @nid, -ENOSPC
 * for a @size above PAGE_SIZE, -ENOMEM.
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

	classes = zs_node_classes(pool, node);
	/* If there can be one node only, it has classes. */
	if (MAX_NUMNODES > 1 && unlikely(!classes))
		classes = zs_classes_slow(pool, node, gfp);
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
		class->bad_inuse--;
	return true;
}

/*
 * Whether @handle is that of the object that its slot is used for now, or was last.
 * If there are no generations, it is taken to be.
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
 * @locked: whether its pages are locked
 * @forwarder: a forwarder whose last object was freed
 * @blocks: blocks that guests have left
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
		zspage = forwarder_drop_link(home, handle, &slot, &reap->blocks);
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
 * No other task finds a dead zspage. It may be the last reference to the pool, which
 * keeps the class: so it must not be freed while the class is locked.
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
 * @pool: where it was allocated
 * @handle: what zs_malloc() returned; 0 and error values are ignored
 *
 * The caller has closed the object and does not use @handle any more.  Freeing
 * twice is reported, and does nothing else, as long as the object's neighbours
 * keep its zspage and its slot has not been used again, by an allocation or by
 * zs_compact(); beyond that it is a use after free like any other.  With
 * CONFIG_DEBUG_VM and words of 64 bits the slot may have been used again, up to
 * seven times.  The first report of a pool is a warning with a trace, further ones
 * are a line each, at a limited rate.
 *
 * Context: any but interrupts; takes a spinlock.
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

/* Where @slot begins: returns the index of its page, and the offset in there. */
static unsigned int zspage_locate(struct zspage *zspage, unsigned int slot,
				  unsigned int *offset)
{
	unsigned long pos = (unsigned long)slot * zspage->class->geo.size;

	*offset = offset_in_page(pos);
	return pos >> PAGE_SHIFT;
}

/* Copy an object that lies in the page at @index, from @offset on, and the next. */
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
 * Whether a slot of @zspage has @len bytes.  0 wraps to the largest length there
 * is, so that one compare refuses it, too: no object is empty, and scatterlists
 * must have no empty entry.
 */
static __always_inline bool zspage_length_fits(struct zspage *zspage, size_t len)
{
	return likely(len - 1 < zspage->class->geo.size);
}

/*
 * Whether there is an object that has @handle.  Its bit was set before its user got
 * the handle, so no lock is needed to see it.
 */
static bool zs_handle_is_live(unsigned long handle)
{
	unsigned int slot;
	struct zspage *home = zs_decode_location(handle, &slot);

	if (!zs_handle_is_current(handle))
		return false;
	/* Other bits of the word change meanwhile, under class->lock. */
	return data_race(test_bit(slot, zspage_bitmap(home)));
}

/*
 * Whether @len bytes of an object that is pinned in @zspage may be read or written.
 * Debug builds also catch the use of an object that was freed, as neither KASAN nor
 * the slab allocator know of objects.
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
	else if (zspage != &zs_no_host)	/* which was reported before */
		zs_report(pool, ZS_WRONG_LENGTH,
			  "access to %zu bytes of handle %#lx, in a slot of %u bytes",
			  len, handle, zspage->class->geo.size);
}

/*
 * What a read gets that cannot be served: zeroes, and not another object's bytes.
 * They are mapped, or copied, in the same cases as an object's bytes would be:
 * that is what zs_obj_read_end() goes by.  No more than a page is zeroed, as no
 * buffer for an object is longer, whatever @len says.
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

/* The same as a scatterlist, of as many bytes as two entries can have */
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

/* Apart from the path that calls nothing, which needs no stack frame then */
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
 * @pool: where it was allocated
 * @handle: what zs_malloc() returned
 * @mem_len: its size, as given to zs_malloc()
 * @local_copy: a buffer of @mem_len bytes, for an object that lies in two
 *		pages; may be NULL if @mem_len is PAGE_SIZE, as such an object
 *		never does
 *
 * An open object does not keep its page from being migrated; only the memory of
 * the replaced page is held back.  As long as it is, opening an object of the same
 * zspage takes a spinlock, and may wait while a page of the class is copied;
 * otherwise page migration does not make this wait.
 * zs_compact() makes it wait while it moves the objects of one zspage, this one
 * among them, and leaves open objects alone.  Sleeping while one is open is
 * fine.  Freeing it is not.  How much is held back is limited, though: once as
 * many pages of a zspage were replaced as it has, none of them is migrated again
 * before an object that was open all the while is closed.
 *
 * A @mem_len of 0, or for which the object's slot is too small, is reported, and
 * zeroes are read: up to a page of them.  The object has to be closed all the same.
 * So is an object that was freed before, if CONFIG_DEBUG_VM is set or zs_compact()
 * had moved it, and as long as its neighbours keep the zspage.  With CONFIG_DEBUG_VM
 * and words of 64 bits that also holds if its slot was used again, but a slot's
 * handles repeat: each has the value of the eighth one before it.
 *
 * Context: any but interrupts; on PREEMPT_RT it may sleep.  The result may be a
 * local mapping, see kmap_local_page(): to be ended in reverse order, and by the
 * same task.
 * Return: the object's bytes, in place or in @local_copy, read-only and valid
 * until zs_obj_read_end().
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
 * @handle_mem: what zs_obj_read_begin() returned
 *
 * Context: as zs_obj_read_begin(); takes a spinlock while a replaced page of the
 * zspage is held back, and frees it if no other reader needs it.
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
 * @pool: where it was allocated
 * @handle: what zs_malloc() returned
 * @sg: two entries, to be filled in; one is used unless the object lies in
 *	two pages
 * @mem_len: the object's size, as given to zs_malloc()
 *
 * As zs_obj_read_begin(), but never copies.  If @mem_len is not valid, the entries
 * are of the zero page, and of up to a page each.
 *
 * Context: any but interrupts; on PREEMPT_RT it may sleep.
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
 * Context: as zs_obj_read_sg_begin(); may take a spinlock, as zs_obj_read_end().
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
 * zs_obj_write - fill an object
 * @pool: where it was allocated
 * @handle: what zs_malloc() returned
 * @handle_mem: the bytes to store
 * @mem_len: how many, at most the size given to zs_malloc()
 *
 * The object must not be written or read by others meanwhile.  A @mem_len of 0, or
 * for which the object's slot is too small, is reported, and nothing is written.
 *
 * Waits while a page of the object's zspage is copied to its replacement, and
 * like zs_obj_read_begin().
 *
 * Context: any but interrupts; on PREEMPT_RT it may sleep.
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
	 * Bytes that go to a page while it is copied may not get to its
	 * replacement.  So wait until no copy is under way, write, and start
	 * over if one has begun since; however often.  Writing twice does no
	 * harm.
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
		 * The bytes before the look at moves: either this sees a move,
		 * or the move's copy sees the bytes.  Pairs with the barrier
		 * in zspage_move_page().
		 */
		smp_mb();
		zs_race("written");
	} while (read_seqcount_retry(&zspage->moves, seq));

	zspage_unpin(zspage, slot);
}
EXPORT_SYMBOL_GPL(zs_obj_write);

/**
 * zs_handle_to_nid - the node that an object is on
 * @pool: where it was allocated
 * @handle: what zs_malloc() returned
 *
 * The node of the page in which the object begins, as it is now: pages may be migrated,
 * and zs_compact() may move the object, so it is a hint as soon as it is returned.  It
 * is meant for a user that allocates another object in place of this one, and wants it
 * on the same node, as zram does when it compresses an object anew.
 *
 * Like reading, this waits while zs_compact() moves the objects of one zspage, this one
 * among them, and takes a spinlock while a replaced page of the zspage is held back.
 *
 * Context: any but interrupts; on PREEMPT_RT it may sleep.
 * Return: the node; NUMA_NO_NODE if it is found that the object was freed before, which
 * is reported then, as by zs_obj_read_begin().
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
 * One page is not isolated any more.  A zspage that was emptied meanwhile, and
 * not used again, was left to the last of them.  The caller holds the lock of
 * a page of @zspage, so it cannot be freed right here.
 */
static void zspage_end_isolation(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	lockdep_assert_held(&zspage->class->lock);
	if (--zspage->isolated || zspage->inuse)
		return;
	zspage_unlist(zspage, ZSPAGE_DEAD);
	zspage_defer_free(zspage);
}

/*
 * @page is locked, and freeing a zspage takes the locks of all its pages: so
 * page->zspage is stable, and what it points to stays.  It is NULL if the page
 * was freed or replaced: the core may find the page until its last reference goes.
 *
 * A page that is known to be bad stays where it is, so it is not isolated.
 */
static bool zs_isolate_page(struct page *page, isolate_mode_t mode)
{
	struct zspage *zspage = page_zpdesc(page)->zspage;
	struct size_class *class;
	bool isolated;

	if (!zspage || zs_page_is_bad(page))
		return false;

	class = zspage->class;
	zs_race("isolate");
	spin_lock(&class->lock);
	/*
	 * A reader that sleeps with an object open holds back every page that
	 * is replaced meanwhile.  Let that be the zspage once over, no more.
	 * Pages that no reader needs, and which a task is about to free, do not
	 * count.
	 */
	isolated = zspage->state == ZSPAGE_LIVE &&
		   zspage->isolated + zspage->nr_stale < class->geo.pages;
	if (isolated)
		zspage->isolated++;
	spin_unlock(&class->lock);

	trace_zs_isolate_page(class->pool->name, page_to_pfn(page), isolated);
	return isolated;
}

static unsigned int zspage_index(struct zspage *zspage, struct zpdesc *zpdesc)
{
	unsigned int i = 0;

	while (zspage->pages[i] != zpdesc)
		i++;
	return i;
}

/* Copy a page, like the allocations a function of its own for the tests. */
VISIBLE_IF_ZSMALLOC_TEST
int zs_copy_page(struct zpdesc *new, struct zpdesc *old)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_copy_page, new, old);

	if (!zs_copy_bytes(zpdesc_page(new), 0, zpdesc_page(old), 0, PAGE_SIZE))
		return -EHWPOISON;
	return 0;
}

/* @zpdesc was replaced.  It waits for the pins there are, if any. */
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

/* Make @new what @old is.  If it can't be read, @old stays what it is. */
static int zspage_move_page(struct zspage *zspage, struct zpdesc *new,
			    struct zpdesc *old, struct zs_drained *drained)
	__must_hold(&zspage->class->lock)
{
	unsigned int index = zspage_index(zspage, old);
	int failed;

	write_seqcount_begin(&zspage->moves);
	/*
	 * moves before the copy: write_seqcount_begin() orders stores only.
	 * Pairs with the barrier in zs_obj_write().
	 */
	smp_mb();
	zs_race("migrate_copy");
	failed = zs_copy_page(new, old);
	if (!failed) {
		zs_race("migrate_publish");
		zpdesc_get(new);
		zspage_adopt(zspage, new);
		/*
		 * The contents before the pointer, for readers, which do not
		 * look at moves.  Pairs with zspage_page().
		 */
		smp_store_release(&zspage->pages[index], new);
	}
	write_seqcount_end(&zspage->moves);
	if (failed)
		return -EHWPOISON;

	old->zspage = NULL;
	if (zpdesc_zone(new) != zpdesc_zone(old)) {
		zs_pages_added(&new, 1);
		zs_pages_removed(&old, 1);
	}
	zspage_add_stale(zspage, old, drained);
	return 0;
}

/*
 * How long a page migration that may sleep waits for readers. Decompressing takes
 * microseconds; but a range of memory has thousands of pages.
 */
#define ZS_STALE_WAIT_MS	2

VISIBLE_IF_ZSMALLOC_TEST
unsigned long zs_stale_timeout(void)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_stale_timeout);

	return msecs_to_jiffies(ZS_STALE_WAIT_MS);
}

/*
 * Whether readers hold @page, which was replaced.  The references are the core's
 * and, as long as the page is stale, the zspage's.
 *
 * CMA and memory offlining (MIGRATE_SYNC) want the memory, and may sleep: readers
 * get a short while to close their objects, but only once, before a second page
 * of their zspage is replaced.  In other modes the core may hold a batch of
 * unmapped pages, for which page faults wait.
 */
static bool zs_wait_stale(struct page *page, enum migrate_mode mode,
			  unsigned int nr_stale)
{
	if (mode == MIGRATE_SYNC && nr_stale == 1) {
		zs_race("stale_wait");
		wait_var_event_timeout(page, page_ref_count(page) <= 1,
				       zs_stale_timeout());
	}
	return page_ref_count(page) > 1;
}

/*
 * Both pages are locked.  @page is isolated, which keeps its zspage until
 * zspage_end_isolation(), and from there the lock of @newpage does.
 */
static int zs_migrate_page(struct page *newpage, struct page *page,
			   enum migrate_mode mode)
{
	struct zpdesc *new = page_zpdesc(newpage), *old = page_zpdesc(page);
	struct zspage *zspage = old->zspage;
	struct size_class *class = zspage->class;
	struct zs_drained drained = { };
	struct zs_pool *pool = class->pool;
	unsigned int nr_stale = 0;
	bool stale = false;
	int ret;

	/*
	 * It may have gone bad since it was isolated.  Reading it could be fatal
	 * where copies are not machine-check safe.
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
	if (!ret) {
		nr_stale = zspage->nr_stale;
		zspage_end_isolation(zspage);
	}
	spin_unlock(&class->lock);
	zs_race("migrated");
	zs_free_drained(&drained);

	if (nr_stale)
		stale = zs_wait_stale(page, mode, nr_stale);
	atomic_long_inc(ret ? &pool->not_migrated :
			stale ? &pool->migrated_held : &pool->migrated_free);
	trace_zs_migrate_page(pool->name, page_to_pfn(page),
			      page_to_pfn(newpage), ret, stale);
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
 * struct zs_supply - memory for the next evacuation, had before class->lock is taken
 * @blocks: for guests
 * @far_links: for the links of a forwarder that its descriptor has no room for
 * @links_size: its size
 * @need_blocks: how many blocks the next evacuation may take
 * @need_links: how large its links will be
 *
 * So no evacuation fails half way for want of memory, unless zspages that were counted
 * on go bad meanwhile; and no slab page is allocated or freed under the lock.  What is
 * left over serves the evacuation after that.
 */
struct zs_supply {
	struct zs_guest_block *blocks;
	unsigned long *far_links;
	size_t links_size;
	unsigned int need_blocks;
	size_t need_links;
};

/**
 * struct zs_evacuation - evacuating one zspage
 * @dest: where objects are moved to; its fullness is to be updated
 * @supply: memory for it
 * @near_links: where its objects go, if it becomes a forwarder: as many as it has
 *		pages, for which these have to make room first.  The rest is in
 *		supply->far_links.
 * @pages: what is left of the zspage, to be freed without a lock: its pages,
 * @dead: and itself, unless it became a forwarder
 */
struct zs_evacuation {
	struct zspage *dest;
	struct zs_supply *supply;
	unsigned long near_links[ZS_MAX_PAGES];
	struct zpdesc *pages[ZS_MAX_PAGES];
	struct zspage *dead;
};

/**
 * struct zs_compaction - a call of zs_compact(), or of the shrinker
 * @wanted: pages to free
 * @freed: pages freed
 * @supply: memory for the next evacuation
 * @starved: there was none, so that the call ends
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

/* For a forwarder; NULL if its descriptor has room for all of its links */
static unsigned long *zs_take_far_links(struct zs_supply *supply)
{
	unsigned long *far_links = NULL;

	if (supply->need_links) {
		swap(far_links, supply->far_links);
		supply->links_size = 0;
	}
	return far_links;
}

/* Guests that were moved leave blocks.  Keep no more of them than were needed. */
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

static bool zs_get_supply(struct zs_supply *supply)
{
	if (supply->need_links && supply->links_size != supply->need_links) {
		kfree(supply->far_links);
		supply->far_links = zs_alloc_supply(supply->need_links);
		supply->links_size = supply->far_links ? supply->need_links : 0;
		if (!supply->far_links)
			return false;
	}
	while (!zs_has_blocks(supply->blocks, supply->need_blocks)) {
		struct zs_guest_block *block = zs_alloc_supply(sizeof(*block));

		if (!block)
			return false;
		zs_push_block(&supply->blocks, block);
	}
	return true;
}

/* What compaction has to do with: all zspages that have objects, but bad ones */
static unsigned long class_nr_used_zspages(struct size_class *class)
	__must_hold(&class->lock)
{
	unsigned long nr = 0;

	for (int f = ZS_10; f <= ZS_FULL; f++)
		nr += class->nr[f];
	return nr;
}

/* Slots in use in there */
static unsigned long class_nr_used_slots(struct size_class *class)
	__must_hold(&class->lock)
{
	return class->inuse - class->bad_inuse;
}

/*
 * Pages that zs_compact() can free, if nothing is in its way; of @kept free slots it
 * is known that something is.  Without class->lock this is a guess, as it races with
 * all that changes the counts, but it is never more than what there is in zspages that
 * it may pay to evacuate.
 */
static unsigned long class_freeable(struct size_class *class, unsigned long kept)
{
	unsigned long slots = class->geo.slots, zspages = 0, pay = 0, used, room;
	/* Mostly one or two groups.  Any value that it has meanwhile will do. */
	unsigned long groups = data_race(READ_ONCE(class->groups));
	unsigned int f;

	groups &= ZS_PARTLY_USED | BIT(ZS_FULL);
	for_each_set_bit(f, &groups, ZS_FULL + 1) {
		/* The same. */
		unsigned long nr = data_race(READ_ONCE(class->nr[f]));

		zspages += nr;
		if (BIT(f) & class->geo.pay_groups)
			pay += nr;
	}
	room = zspages * slots;
	/* The same, and they need not belong together. */
	used = data_race(READ_ONCE(class->inuse) - READ_ONCE(class->bad_inuse)) + kept;
	if (!pay || room <= used)
		return 0;
	return min((room - used) / slots, pay) * class->geo.pages;
}

/*
 * What the shrinker promises to free.  A promise that was not kept is not made again
 * at once, but for slots that have become free since.
 */
static unsigned long class_promise(struct size_class *class)
{
	unsigned long vain_room, until;

	/* Mostly there are none.  Too late a look costs a promise, or a loop over nothing. */
	if (!(data_race(READ_ONCE(class->groups)) & class->geo.pay_groups))
		return 0;
	/* The same */
	vain_room = data_race(READ_ONCE(class->vain_room));
	until = data_race(READ_ONCE(class->vain_until));
	if (!time_in_range_open(jiffies, until - HZ, until))
		vain_room = 0;
	return class_freeable(class, vain_room);
}

/*
 * What evacuating @source may need: a block for each three objects that go to the same
 * zspage, and one more in case that one of these goes bad meanwhile.
 * class_find_zspage() is going to find them in this order.
 *
 * Returns whether it pays.  It does not if the objects go to many hosts, as each of
 * these may need a block for a single guest; nor if there is not enough room, as some
 * zspages turned out to be bad.
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
	for (int f = ZS_99; f >= ZS_10 && left; f--) {
		struct zspage *zspage, *next;

		list_for_each_entry_safe(zspage, next, &class->zspages[f], list) {
			unsigned int nr;

			zspage_assert_locked(zspage);
			if (zspage == source || zspage_is_bad(zspage))
				continue;
			nr = min(left, class->geo.slots - zspage->inuse);
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
	return !left && added <= (long)(class->geo.pages * PAGE_SIZE / ZS_PAYBACK);
}

/*
 * Make @zspage ready to be evacuated: frozen, and with its pages locked.  If @supply
 * does not suffice, the search looks at it again when there is more.
 */
static bool zspage_prepare_source(struct zspage *zspage, struct zs_search *search,
				  struct zs_supply *supply)
	__must_hold(&zspage->class->lock)
{
	/* Then there is less room than was found. */
	if (zspage_is_bad(zspage))
		return false;
	if (!zspage_count_need(zspage, supply)) {
		supply->need_blocks = 0;
		supply->need_links = 0;
		return false;
	}
	if (!zs_supply_suffices(supply)) {
		search->next = &zspage->list;
		return false;
	}
	if (!zspage_freeze(zspage))
		return false;
	if (zspage_trylock_pages(zspage))
		return true;
	zspage_thaw(zspage);
	return false;
}

/*
 * Find a zspage to evacuate, the emptiest first: no object of it is open, other
 * zspages of the class have room for all of them, and it pays.  Returns it frozen and
 * with its pages locked; or NULL, then the search may go on in another hold of the
 * lock, with more supply if @supply does not suffice.
 */
static struct zspage *class_find_source(struct size_class *class,
					struct zs_search *search,
					struct zs_supply *supply)
	__must_hold(&class->lock)
{
	unsigned long zspages = class_nr_used_zspages(class);
	unsigned long slots = class->geo.slots;

	supply->need_blocks = 0;
	supply->need_links = 0;
	if (zspages * slots - class_nr_used_slots(class) < slots) {
		search->over = true;
		return NULL;
	}

	for (unsigned int tries = ZS_TRIES; tries; tries--) {
		struct zspage *zspage = class_search(class, search);

		if (!zspage) {
			search->over = true;
			break;
		}
		zspage_assert_locked(zspage);
		if (!zspage->isolated && !atomic_read(&zspage->pins) &&
		    zspage_natives(zspage) <= class->geo.max_natives) {
			if (zspage_prepare_source(zspage, search, supply))
				return zspage;
			/* It has looked at many zspages: enough for one hold. */
			break;
		}
		zs_race("tried");
	}
	return NULL;
}

/*
 * Copy the slot as a whole, as the object's length is not known.  No page of the
 * two is replaced meanwhile, as that takes class->lock; and no reader is in the new
 * slot, as no link names it yet.
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
 * Whether @dest can take one more guest. If not, its fullness, which is updated once for
 * all guests that it took, is updated. One that goes bad meanwhile gets no more.
 */
static bool zspage_has_room(struct zspage *dest)
{
	if (!dest)
		return false;
	zspage_assert_locked(dest);
	if (dest->inuse < dest->class->geo.slots && !zspage_is_bad(dest))
		return true;
	zspage_update_fullness(dest);
	return false;
}

/*
 * Copy the object in @slot of @source, which @owner names, to the fullest zspage
 * that has room, as a guest.  @where tells where that is.  No link is changed yet.
 */
static int zspage_move_object(struct zspage *source, unsigned int slot,
			      unsigned long owner, struct zs_evacuation *ev,
			      unsigned long *where)
	__must_hold(&source->class->lock)
{
	struct size_class *class = source->class;
	struct zspage *dest = ev->dest;
	unsigned int dest_slot;

	if (!zspage_has_room(dest)) {
		dest = class_find_zspage(class);
		ev->dest = dest;
		/* All zspages that have room may have bad pages. */
		if (!dest)
			return -ENOENT;
	}
	zspage_assert_locked(dest);
	/* They were counted for other zspages, which have gone bad. */
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
 * Guests are moved one by one, and the link of each is changed at once.  If another
 * guest or a native cannot be moved, those that were moved stay where they are then.
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
		link = forwarder_link(home, slot);
		zs_decode_location(*link, &slot);
		ret = zspage_move_object(source, slot, owner, ev, &where);
		if (ret)
			return ret;
		zspage_return_slot(source, slot);
		zspage_drop_last_guest(source, &ev->supply->blocks);
		source->was_host = true;
		zs_race("guest_moved");
		/* After the copy.  Pairs with zs_pin_forwarded(). */
		smp_store_release(link, where);
	}
	return 0;
}

/* Link number @rank of the forwarder that @ev may end with */
static unsigned long *ev_link(struct zs_evacuation *ev, struct size_class *class,
			      unsigned int rank)
{
	return zs_link_at(ev->near_links, class->geo.pages, ev->supply->far_links, rank);
}

/*
 * Natives go all or none, as their links become those of the forwarder: by the rank of
 * their slots, the only ones that the bitmap has left.
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
		dest = zs_decode_location(*ev_link(ev, class, i++),
					&dest_slot);
		zspage_assert_locked(dest);
		zspage_remove_guest(dest, zspage_handle(source, slot),
				    &ev->supply->blocks);
		zspage_return_slot(dest, dest_slot);
		zspage_update_fullness(dest);
	}
	return ret;
}

/* Move the objects of @source, which is frozen and has its pages locked, into others. */
static bool zspage_evacuate(struct zspage *source, struct zs_evacuation *ev)
	__must_hold(&source->class->lock)
{
	struct size_class *class = source->class;
	unsigned int natives = zspage_natives(source);
	size_t added = class_added(class);
	int ret;

	zs_race("frozen");
	/* Not a place to move its own objects to */
	zspage_unlist(source, ZSPAGE_FROZEN);
	ret = zspage_move_guests(source, ev);
	if (!ret)
		ret = zspage_move_natives(source, ev);
	if (ev->dest) {
		zspage_assert_locked(ev->dest);
		zspage_update_fullness(ev->dest);
	}
	if (ret) {
		/* Back at the front of its list, so the search is past it. */
		zspage_enlist(source);
		zspage_unlock_pages(source, class->geo.pages);
		zspage_thaw(source);
	} else {
		/* There are no replaced pages: without pins they would be free. */
		memcpy(ev->pages, source->pages,
		       class->geo.pages * sizeof(*source->pages));
		memset(source->pages, 0,
		       class->geo.pages * sizeof(*source->pages));
		zs_race("natives_moved");
		if (natives) {
			zspage_make_forwarder(source, ev->near_links,
					      zs_take_far_links(ev->supply));
		} else {
			WRITE_ONCE(source->state, ZSPAGE_DEAD);
			ev->dead = source;
		}
	}
	atomic_long_add(class_added(class) - added, &class->pool->added);
	return !ret;
}

/*
 * No more of @class can be evacuated.  If there is room for more, something was in the
 * way: open objects, isolated or locked pages, no memory, or that it would not pay.
 */
static void class_note_vain_room(struct size_class *class)
	__must_hold(&class->lock)
{
	unsigned long slots = class->geo.slots;
	unsigned long room = class_nr_used_zspages(class) * slots -
			     class_nr_used_slots(class);

	WRITE_ONCE(class->vain_until, jiffies + HZ);
	WRITE_ONCE(class->vain_room, room < slots ? 0 : room);
}

/* Pack the objects of @class, until enough pages were freed. */
static void class_compact(struct size_class *class, struct zs_compaction *compaction)
{
	struct zs_supply *supply = &compaction->supply;
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
		if (!source)
			compaction->starved = !zs_get_supply(supply);
		if (evacuated) {
			zs_race("evacuated");
			zs_release_pages(class->pool, ev.pages,
					 class->geo.pages);
			if (ev.dead)
				zspage_free_descriptor(ev.dead);
			zs_trim_supply(supply);
			compaction->freed += class->geo.pages;
		}
		zs_race("searching");
		cond_resched();
		spin_lock(&class->lock);
	}
	hlist_del(&search.node);
	if (compaction->freed < compaction->wanted)
		class_note_vain_room(class);
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
 * zs_compact - pack objects together and free the pages that this empties
 * @pool: the pool
 *
 * Handles stay valid.  Zspages are left alone if an object of theirs is open, or
 * one of their pages is isolated, locked or known to be bad; or if the memory that
 * evacuating them adds, for links and for owners of objects, is more than half of
 * what it frees.  However many these are, all others are found: each zspage is looked
 * at, and mostly once.  May be called by several CPUs at once, and next to anything
 * else.
 *
 * The memory that is added is had for one zspage at a time, whose pages are freed then.
 * If there is none, compaction ends.  Memory reclaim, which does the same through the
 * pool's shrinker, takes it from the kernel's reserves.
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

/* What a shrinker may promise to free on node @nid. */
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

/* Classes of which nothing was promised are not searched. */
static unsigned long zs_shrinker_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct zs_compaction compaction = { .wanted = sc->nr_to_scan };
	struct zs_pool *pool = shrinker->private_data;
	struct size_class *class;

	/*
	 * All tasks that reclaim memory come here at the same time.  A second one
	 * would find no more to free, and wait for the locks that the first one takes.
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
	return pool_end_compaction(pool, &compaction) ?: SHRINK_STOP;
}

VISIBLE_IF_ZSMALLOC_TEST
struct shrinker *zs_alloc_shrinker(struct zs_pool *pool)
{
	KUNIT_STATIC_STUB_REDIRECT(zs_alloc_shrinker, pool);

	return shrinker_alloc(SHRINKER_NUMA_AWARE, "mm-zspool:%s", pool->name);
}

/* A pool can do without: then it is packed by zs_compact() only. */
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
 * Slabs are not full, so what was added takes this part more.  It is an estimate: after
 * many rounds of compaction a tenth to a third was measured.
 */
#define ZS_SLAB_SLACK		3

/**
 * zs_get_total_pages - the memory that a pool's objects take
 * @pool: the pool
 *
 * This is what users hold against a limit.  So it counts the pages, and the memory
 * that zs_compact() has added to find objects that it moved: that of slabs, which it
 * can only estimate.
 *
 * Context: any.
 * Return: in pages.
 */
unsigned long zs_get_total_pages(struct zs_pool *pool)
{
	unsigned long added = atomic_long_read(&pool->added);

	return atomic_long_read(&pool->pages) +
	       (added + added / ZS_SLAB_SLACK) / PAGE_SIZE;
}
EXPORT_SYMBOL_GPL(zs_get_total_pages);

/**
 * zs_huge_class_size - the size from which an object takes a page of its own
 * @pool: any pool
 *
 * Compressing a page to that size or more saves nothing.
 *
 * Context: any.
 * Return: in bytes.
 */
size_t zs_huge_class_size(struct zs_pool *pool)
{
	return zs_huge_size;
}
EXPORT_SYMBOL_GPL(zs_huge_class_size);

/**
 * zs_lookup_class_index - the size class of a size, as a number
 * @pool: the pool
 * @size: in bytes, 1 to PAGE_SIZE
 *
 * Context: any.
 * Return: a number that is the same for two sizes if their objects take the
 * same space, and greater for the size that takes more.
 */
unsigned int zs_lookup_class_index(struct zs_pool *pool, unsigned int size)
{
	size = min_t(unsigned int, size, PAGE_SIZE);
	return zs_size_step(zs_geos[zs_geo_index(size)].size);
}
EXPORT_SYMBOL_GPL(zs_lookup_class_index);

/**
 * zs_pool_stats - read a pool's statistics
 * @pool: the pool
 * @stats: where to put them
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

/* Tools read these columns by position. */
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
		unsigned long zspages = 0;

		for (int nid = 0; nid < nr_node_ids; nid++) {
			struct size_class *class = zs_class(pool, geo->size, nid);

			if (!class)
				continue;
			spin_lock(&class->lock);
			for (int f = 0; f < ZS_NR_FULLNESS; f++)
				t.nr[f] += class->nr[f];
			t.used += class->inuse;
			t.freeable += class_freeable(class, 0);
			spin_unlock(&class->lock);
		}

		for (int f = 0; f < ZS_NR_FULLNESS; f++) {
			zspages += t.nr[f];
			total.nr[f] += t.nr[f];
		}
		t.allocated = zspages * geo->slots;
		t.pages = zspages * geo->pages;

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

/* What zs_compact() has left behind. */
static int compaction_show(struct seq_file *m, void *unused)
{
	struct zs_pool *pool = m->private;
	unsigned long forwarders = 0, forwarded = 0;

	seq_printf(m, " %5s %5s %10s %10s\n\n", "class", "size", "forwarders", "forwarded");
	for (unsigned int i = 0; i < zs_nr_geos; i++) {
		unsigned long nr_forwarders = 0, nr_forwarded = 0;
		unsigned int size = zs_geos[i].size;

		for (int nid = 0; nid < nr_node_ids; nid++) {
			struct size_class *class = zs_class(pool, size, nid);

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

/* All memory by what it is for, in bytes */
enum zs_memory {
	ZS_MEMORY_USED,		/* of the pages, that of slots in use */
	ZS_MEMORY_PAGES,
	ZS_MEMORY_STALE,	/* replaced pages that readers hold */
	ZS_MEMORY_DESCRIPTORS,	/* of zspages with pages */
	ZS_MEMORY_FORWARDERS,
	ZS_MEMORY_LINKS,
	ZS_MEMORY_GUESTS,
	ZS_NR_MEMORY,
};

static void class_add_memory(struct size_class *class, unsigned long *bytes)
{
	unsigned long zspages = 0;

	spin_lock(&class->lock);
	for (int f = 0; f < ZS_NR_FULLNESS; f++)
		zspages += class->nr[f];
	bytes[ZS_MEMORY_USED] += class->inuse * class->geo.size;
	bytes[ZS_MEMORY_PAGES] += zspages * class->geo.pages * PAGE_SIZE;
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

		for (int nid = 0; nid < nr_node_ids; nid++)
			if (zs_class(pool, size, nid))
				class_add_memory(zs_class(pool, size, nid), bytes);
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

/* How page migration ended, since the pool was created. */
static int migration_show(struct seq_file *m, void *unused)
{
	struct zs_pool *pool = m->private;

	seq_printf(m, "free %lu\n", atomic_long_read(&pool->migrated_free));
	seq_printf(m, "held %lu\n", atomic_long_read(&pool->migrated_held));
	seq_printf(m, "failed %lu\n", atomic_long_read(&pool->not_migrated));
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
 * @name: what to call it in debugfs, traces and messages; copied
 *
 * If there is no memory for the pool's shrinker, the pool goes without.
 *
 * A pool takes memory for each node that its objects are to be on: here for one node,
 * and for another one when zs_malloc() comes to it.
 *
 * Context: process context, may sleep.
 * Return: the pool, or NULL if there is no memory for it or no @name.
 */
struct zs_pool *zs_create_pool(const char *name)
{
	size_t size = struct_size_t(struct zs_pool, nodes, nr_node_ids);
	struct zs_pool *pool;
	size_t name_size;

	/* Built in, zs_init() may have failed. */
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
	if (!zs_add_node(pool, first_memory_node, GFP_KERNEL)) {
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
 * @pool: the pool, all of its objects freed; or NULL
 *
 * Pages that the migration core is about to move, or has locked, are no obstacle; the
 * rest of the pool goes when they do.
 *
 * Objects that were not freed are reported.  They stay as they are, and so do
 * their memory, the pool and the module.
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
	 * So that the module can go when its last user has returned from here, unless
	 * a page is locked or isolated.
	 */
	zs_flush_deferred();
}
EXPORT_SYMBOL_GPL(zs_destroy_pool);

static int __init zs_init(void)
{
	int ret;

	zs_init_geometries();
	ret = zs_create_caches();
	if (ret)
		return ret;
	/* Freeing memory is what reclaim waits for. */
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
	return ret;
}

static void __exit zs_exit(void)
{
	debugfs_remove(zs_debugfs);
	zs_unregister_mops();
	/*
	 * zs_pool_free() may still run, for all that it freed the last pool.  No
	 * zspage is left for the worker to come back to: it would keep the module.
	 */
	destroy_workqueue(zs_wq);
	/* zspage_free_rcu() */
	rcu_barrier();
	zs_destroy_caches();
}

module_init(zs_init);
module_exit(zs_exit);

MODULE_DESCRIPTION("Allocator for compressed pages whose memory can be migrated");
MODULE_LICENSE("Dual BSD/GPL");

#if IS_ENABLED(CONFIG_ZSMALLOC_RACE_POINTS)
#include "tests/zsmalloc_check.c"
#endif
