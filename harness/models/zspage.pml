/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One zspage from zs_malloc() to the end of its pool: who keeps its pages and
 * its descriptor, and who frees them.
 *
 * The zspage has two pages, and its objects lie in both of them; with PAGES=3 there
 * is one more, so that three are moved at once.
 *
 *	init		zs_malloc() of a new zspage; in the end zs_destroy_pool()
 *	user		the owner of an object: zs_pin(), zspage_page() twice,
 *			zs_unpin(), zs_free(); perhaps zs_malloc() again, zs_free()
 *	core		the migration core with one page: zs_isolate_page(), then
 *			zs_migrate_page(), which may fail, or zs_putback_page()
 *	compact		class_evacuate(), which may fail, and what class_compact()
 *			does after the lock
 *	worker		zs_free_deferred()
 *
 * Left out: what is in the pages (write.pml); where objects went that were
 * evacuated (compact.pml), here that is elsewhere, and reading them ends at once;
 * the core's own look at a page before it is locked, but for the reference that
 * it takes.  Freed memory is not used again, so whoever touches it is caught.
 * Memory is sequentially consistent here: the barriers are not modelled.
 *
 * -D flags: USERS, READS (each), AGAIN (who allocates again), CORES, ROUNDS (of
 * each core), COMPACTS, PAGES (2 or 3), ALL_MOVE (no page is put back, and no copy
 * fails).  These bring in a bug, which has to be found:
 * PINS_FIRST		zspage_unpin() looks at the pins, then takes the list
 * KEEP_LIST		... does not look at the pins at all
 * PIN_ALONE		... pins again even if nobody has a pin any more
 * BLIND_PIN		... or even if it is frozen
 * MIGRATE_PINS_FIRST	migration looks at the pins before it publishes the page
 * MIGRATE_PIN_LATE	migration pins only after class->lock
 * THAW_STUB		a stub is thawed, so it can be pinned
 * NO_STALE_BOUND	zs_isolate_page() does not count pages that are held back
 * FREE_ISOLATED	zs_free() does not look whether pages are isolated
 * FREE_UNLOCKED	zs_free() does not take the page locks
 * ISOLATE_DEAD		zs_isolate_page() does not refuse a dead zspage
 * FORGET_EMPTY		the end of the last isolation leaves an empty zspage alone
 * COMPACT_ISOLATED	class_find_source() does not look whether pages are isolated
 * COMPACT_UNLOCKED	... and does not take the page locks
 * STAY_FROZEN		evacuation that failed does not thaw
 * NO_POOL_REF		zspages hold no reference to the pool
 */
#ifndef USERS
#define USERS 2
#endif
#ifndef READS
#define READS 1
#endif
#ifndef AGAIN
#define AGAIN 0
#endif
#ifndef CORES
#define CORES 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef COMPACTS
#define COMPACTS 1
#endif
#ifndef PAGES
#define PAGES 2
#endif
#define NR_PAGES	(PAGES + CORES * ROUNDS)
#define FROZEN		(-100)

/* The zspage */
short pins;
byte pages[PAGES];
byte stale;			/* pages that are on the list, a bit each */
byte nr_stale;
byte inuse, isolated, nr_links;
bool listed;			/* on a list of its class: not ZS_DEAD */
bool stub, deferred, freed;

/* Pages; bits */
byte refs[NR_PAGES];
bool locked[NR_PAGES];
bool owned[NR_PAGES];		/* page->zspage */
bool movable[NR_PAGES];		/* the mark that the core acts on */

bool lock;			/* class->lock */
byte pool_refs = 1;
bool pool_freed;
byte unused = PAGES;		/* next page to move to */
byte users_left = USERS, compacts_left = COMPACTS;

#define ALIVE()		assert(!freed)	/* the descriptor */

inline class_lock()	{ atomic { assert(!pool_freed); !lock -> lock = 1 } }
inline class_unlock()	{ atomic { assert(!pool_freed); lock = 0 } }
inline lock_page(p)	{ atomic { !locked[p] -> locked[p] = 1 } }
inline trylock_page(p)	{ atomic { ok = !locked[p]; locked[p] = 1 } }
inline unlock_page(p)	{ atomic { assert(locked[p]); locked[p] = 0 } }
/* The last reference takes it to the page allocator, never while it is locked. */
inline put_page(p)
{
	atomic {
		assert(refs[p] > 0);
		refs[p]--;
		if
		:: !refs[p] -> assert(!locked[p] && !owned[p]); movable[p] = 0
		:: else
		fi
	}
}
inline put_pool()
{
	atomic {
		assert(pool_refs > 0);
		pool_refs--;
		pool_freed = pool_refs == 0
	}
}

/* zspage_put_stale(), of a list that nobody else has */
inline put_stale(list)
{
	atomic {
		for (i : 0 .. NR_PAGES - 1) {
			if
			:: list >> i & 1 -> put_page(i); nr_stale--
			:: else
			fi
		}
		list = 0; i = 0
	}
}

/* Counts in vain if it is frozen, here at most twice; thawing forgets that. */
inline trypin()
{
	atomic {
		ALIVE();
		ok = pins >= 0;
		if :: ok || pins < FROZEN + 2 -> pins++ :: else fi
	}
}

inline unpin()
{
	do
	:: atomic { ALIVE(); pins--; assert(pins >= 0); ok = pins == 0 };
	   if
	   :: !ok -> break
	   :: else
	   fi;
	   ALIVE();
	   if
	   :: !stale -> break
	   :: else
	   fi;
#ifdef PINS_FIRST
	   ok = pins > 0;
#endif
	   atomic { ALIVE(); list = stale; stale = 0 };
	   if
	   :: !list -> break
	   :: else
	   fi;
	   ALIVE();
#if defined(KEEP_LIST)
	   ok = 0;
#elif defined(BLIND_PIN)
	   ok = pins > 0;
	   if :: ok -> pins++ :: else fi;
#elif defined(PIN_ALONE)
	   ok = pins > 0;
	   atomic { if :: ok && pins >= 0 -> pins++ :: else -> ok = 0 fi };
#elif defined(PINS_FIRST)
	   atomic { if :: ok && pins >= 0 -> pins++ :: else -> ok = 0 fi };
#else
	   atomic {
		ok = pins > 0;
		if :: ok -> pins++ :: else fi
	   }
#endif
	   if
	   :: !ok -> put_stale(list); ALIVE(); break
	   :: else -> atomic { ALIVE(); stale = stale | list; list = 0 }
	   fi
	od;
	ok = 0
}

inline free_descriptor()
{
	atomic { ALIVE(); freed = 1 };
#ifndef NO_POOL_REF
	put_pool()
#endif
}

/* zspage_free(), zs_release_pages(): all pages are locked */
inline free_zspage()
{
	atomic { ALIVE(); assert(!listed && !stub && !pins && !nr_stale && !isolated) };
	atomic { a = pages[0]; owned[a] = 0 };
	unlock_page(a);
	put_page(a);
	ALIVE();
	atomic { a = pages[1]; owned[a] = 0 };
	unlock_page(a);
	put_page(a);
#if PAGES == 3
	ALIVE();
	atomic { a = pages[2]; owned[a] = 0 };
	unlock_page(a);
	put_page(a);
#endif
	free_descriptor();
	a = 0
}

/* zspage_trylock_pages(); ok if it did */
inline trylock_pages()
{
	trylock_page(pages[0]);
	if
	:: ok ->
	   trylock_page(pages[1]);
	   if
#if PAGES == 3
	   :: ok ->
	      trylock_page(pages[2]);
	      if
	      :: ok
	      :: else -> unlock_page(pages[1]); unlock_page(pages[0])
	      fi
#else
	   :: ok
#endif
	   :: else -> unlock_page(pages[0])
	   fi
	:: else
	fi
}

inline defer_free()	{ atomic { assert(!deferred); deferred = 1 } }

/* zs_free() of an object that its owner does not use any more */
inline free_object()
{
	class_lock();
	ALIVE();
	if
	:: stub ->
	   nr_links--;
	   ok = nr_links == 0;
	   class_unlock();
	   if
	   :: ok -> free_descriptor()
	   :: else
	   fi
	:: else ->
	   assert(inuse > 0);
	   inuse--;
#ifdef FREE_ISOLATED
	   ok = !inuse;
#else
	   ok = !inuse && !isolated;
#endif
	   if
	   :: ok ->
	      assert(listed);
	      listed = 0;
#ifndef FREE_UNLOCKED
	      trylock_pages();
#else
	      locked[pages[0]] = 1; locked[pages[1]] = 1; locked[pages[PAGES - 1]] = 1;
#endif
	      class_unlock();
	      if
	      :: ok -> free_zspage()
	      :: else -> defer_free()
	      fi
	   :: else -> class_unlock()
	   fi
	fi;
	ok = 0
}

proctype user()
{
	byte n, i, a, b, list;
	bool ok;

	for (n : 1 .. READS) {
		/* zs_pin() */
		do
		:: ALIVE();
		   if
		   :: stub -> break
		   :: else
		   fi;
		   trypin();
		   if
		   :: !ok -> class_lock(); class_unlock()
		   :: else -> break
		   fi
		od;
		if
		:: ok ->
		   /* Wherever it is, it may be read until the object is closed. */
		   atomic { a = pages[0]; assert(refs[a]) };
		   atomic { b = pages[1]; assert(refs[a] && refs[b]) };
		   atomic { assert(refs[a] && refs[b]); a = 0; b = 0 };
		   assert(!stub);
		   unpin()
		:: else
		fi
	}
	n = 0;
	free_object();
#if AGAIN
	/* zs_malloc(), if this zspage is still there to be found */
	class_lock();
	if
	:: listed && n < AGAIN -> inuse++; ok = 1
	:: else
	fi;
	class_unlock();
	if
	:: ok -> free_object()
	:: else
	fi;
#endif
	users_left--
}

/* zspage_end_isolation(), class->lock held */
inline end_isolation()
{
	ALIVE();
	assert(isolated > 0);
	isolated--;
#ifndef FORGET_EMPTY
	if
	:: !isolated && !inuse -> assert(listed); listed = 0; defer_free()
	:: else
	fi
#endif
}

/* @which: of the pages of the zspage */
proctype core(byte which)
{
	byte n, i, page = which, new, list;
	bool ok;
#ifdef MIGRATE_PINS_FIRST
	bool early;
#endif

	for (n : 1 .. ROUNDS) {
		/* isolate_movable_ops_page() */
		atomic {
			ok = refs[page] && movable[page];
			if :: ok -> refs[page]++ :: else -> break fi
		}
		trylock_page(page);
		if
		:: ok ->
		   /* zs_isolate_page() */
		   ok = owned[page];
		   if
		   :: ok ->
		      class_lock();
		      ALIVE();
		      ok = 1;
#ifndef ISOLATE_DEAD
		      ok = ok && listed;
#endif
#ifndef NO_STALE_BOUND
		      ok = ok && isolated + nr_stale < PAGES;
#endif
		      if :: ok -> isolated++ :: else fi;
		      class_unlock()
		   :: else
		   fi;
		   unlock_page(page)
		:: else
		fi;
		if
		:: !ok -> put_page(page); break
		:: else
		fi;

		lock_page(page);
		assert(owned[page]);
		ok = 0;
		if
#ifndef ALL_MOVE
		:: skip
#endif
		:: /* zs_migrate_page(); @new is locked until the core is through */
		   atomic {
			new = unused; unused++;
			assert(!refs[new]); refs[new] = 1; locked[new] = 1
		   }
		   class_lock();
		   ALIVE();
#ifdef MIGRATE_PINS_FIRST
		   early = pins == 0;
#endif
#ifndef MIGRATE_PIN_LATE
		   atomic { assert(pins >= 0); pins++ };
#endif
		   if
		   :: /* zspage_move_page() */
		      assert(pages[which] == page);
		      ok = 1;
		      atomic { owned[new] = 1; movable[new] = 1; refs[new]++ };
		      pages[which] = new;
		      owned[page] = 0;
		      atomic { nr_stale++; assert(nr_stale <= PAGES) };
#ifdef MIGRATE_PINS_FIRST
		      if
		      :: early -> put_page(page); nr_stale--
		      :: else -> stale = stale | 1 << page
		      fi;
#else
		      stale = stale | 1 << page;
#endif
		      end_isolation()
#ifndef ALL_MOVE
		   :: skip		/* it could not be read */
#endif
		   fi;
		   class_unlock();
#ifdef MIGRATE_PIN_LATE
		   pins++;
#endif
		   if
		   :: ok -> unpin(); ok = 1
		   :: else -> unpin()
		   fi;
		   unlock_page(new);
		   put_page(new)
		fi;
		if
		:: !ok ->
		   /* zs_putback_page() */
		   class_lock();
		   end_isolation();
		   class_unlock()
		:: else
		fi;
		unlock_page(page);
		put_page(page);
		if
		:: ok -> page = new
		:: else
		fi;
		new = 0
	}
	n = 0; ok = 0
}

proctype worker()
{
	byte a, i;

end:	atomic { deferred -> ALIVE() };
	lock_page(pages[0]);
	lock_page(pages[1]);
#if PAGES == 3
	lock_page(pages[2]);
#endif
	free_zspage()
}

#if COMPACTS
proctype compact()
{
	byte n, old[PAGES];
	bool ok;

	for (n : 1 .. COMPACTS) {
		/* class_find_source(): it looks at what is listed */
		class_lock();
#ifdef COMPACT_ISOLATED
		ok = listed && inuse;
#else
		ok = listed && inuse && !isolated;
#endif
		if
		:: ok -> atomic {
			ALIVE();
			ok = pins == 0;
			if :: ok -> pins = FROZEN :: else fi
		   }
		:: else
		fi;
		if
		:: ok ->
#ifndef COMPACT_UNLOCKED
		   trylock_pages();
		   if
		   :: !ok -> atomic { assert(pins < 0); pins = 0 }
		   :: else
		   fi
#endif
		:: else
		fi;
		if
		:: !ok -> class_unlock()
		:: else ->
		   listed = 0;
		   if
		   :: /* No memory, or an object could not be read */
		      listed = 1;
#ifndef COMPACT_UNLOCKED
		      unlock_page(pages[0]);
		      unlock_page(pages[1]);
#if PAGES == 3
		      unlock_page(pages[2]);
#endif
#endif
#ifndef STAY_FROZEN
		      atomic { assert(pins < 0); pins = 0 };
#endif
		      class_unlock()
		   :: atomic { nr_links = inuse; inuse = 0 };
		      atomic { old[0] = pages[0]; old[1] = pages[1]; old[PAGES - 1] = pages[PAGES - 1] };
		      stub = 1;
		      assert(pins < 0);
#ifdef THAW_STUB
		      pins = 0;
#endif
		      class_unlock();
		      /* From here on the stub may go. */
		      owned[old[0]] = 0;
		      owned[old[1]] = 0;
#if PAGES == 3
		      owned[old[2]] = 0;
#endif
#ifndef COMPACT_UNLOCKED
		      unlock_page(old[0]);
		      unlock_page(old[1]);
#if PAGES == 3
		      unlock_page(old[2]);
#endif
#endif
#if PAGES == 3
		      put_page(old[2]);
#endif
		      put_page(old[0]);
		      put_page(old[1])
		   fi
		fi
	}
	compacts_left = 0
}
#endif

init {
	byte i;

	atomic {
		for (i : 0 .. PAGES - 1) {
			pages[i] = i;
			refs[i] = 1
		}
#ifndef NO_POOL_REF
		pool_refs++;
#endif
		run worker();
		for (i : 0 .. CORES - 1) {
			run core(i)
		}
		i = 0
	}
	/* zs_malloc(), of all objects at once */
	class_lock();
	atomic { owned[0] = 1; movable[0] = 1 };
	atomic { owned[1] = 1; movable[1] = 1 };
#if PAGES == 3
	atomic { owned[2] = 1; movable[2] = 1 };
#endif
	assert(!deferred);
	listed = 1;
	inuse = USERS;
	class_unlock();
	atomic {
		for (i : 1 .. USERS) {
			run user()
		}
		i = 0;
#if COMPACTS
		run compact()
#endif
	}
	/* zs_destroy_pool(): whoever uses the pool is through with it */
	!users_left && !compacts_left;
	put_pool();
	(timeout) ->
	assert(pool_freed && freed && !stale && (!pins || pins < 0 && stub));
	for (i : 0 .. NR_PAGES - 1) {
		assert(!refs[i])
	}
}
