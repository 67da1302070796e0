/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One zspage from zs_malloc() to the end of its pool: what keeps its pages and
 * its descriptor, and which task frees them.
 *
 * The zspage has two pages, and its objects lie in both of them; with PAGES=3 there
 * is one more, so that three are moved at once.
 *
 *	init		zs_malloc() of a new zspage; in the end zs_destroy_pool()
 *	user		the owner of an object: zs_pin(), zspage_page() twice,
 *			zspage_unpin(), zs_free(); perhaps zs_malloc() again, zs_free()
 *	visitor		the owner of an object that was a guest here and has gone
 *			elsewhere, after the first look at the link: the pin and the
 *			unpin that zs_pin_forwarded() does in vain
 *	core		the migration core with one page: zs_isolate_page(), then
 *			zs_migrate_page(), which may fail, or zs_putback_page()
 *	compact		zspage_evacuate(), which may fail, and what class_compact()
 *			does after the lock
 *	worker		zs_free_deferred()
 *
 * Left out: what is in the pages (write.pml); where objects went that were
 * evacuated (compact.pml), here that is elsewhere, and reading them ends at once;
 * the core's own look at a page before it is locked, but for the reference that
 * it takes; how often the worker tries, which waits for each page lock here, and keeps
 * those that it has.  More about pins and rounds is in pin.pml.  Freed memory is not used
 * again, so a task that touches it is caught.  Memory is sequentially consistent
 * here: the barriers are not modelled.
 *
 * -D flags: USERS, READS (each), AGAIN (which user allocates again), VISITORS (0 or
 * 1), CORES, ROUNDS (of each core), COMPACTS, PAGES (2 or 3), ALL_MOVE (no page is
 * put back, and no copy fails).  These bring in a bug, which has to be found:
 * LOOK_FIRST		migration looks at the pins before it publishes the page
 * NO_ROUND		... and frees the replaced page at once
 * FREEZE_COUNT		freezing looks at the count of pins, not at rounds
 * THAW_FORWARDER		a forwarder is thawed, so it can be pinned
 * VAIN_NO_RCU		the visitor unpins without RCU
 * FREE_STALE		zspage_free() frees replaced pages that a round will free
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
#ifndef VISITORS
#define VISITORS 0
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
#define STALE(p)	(stale >> (p) & 1)
#define NR_STALE	(STALE(0) + STALE(1) + STALE(2) + STALE(3) + STALE(4) + STALE(5))

/* The zspage */
short count;			/* zspage->pins, of which slow: a round is under way */
bool slow, frozen;
bit parity;
byte pages[PAGES];
byte stale;			/* pages that are on the list, a bit each */
byte draining;			/* those of them that the round frees */
short early;
short late[USERS];		/* by slot */
bool memory;			/* for late[] */
bit round;			/* parity of the last round */
byte inuse, isolated, nr_links;
bool listed;			/* on a list of class->zspages[] */
bool forwarder, deferred, freed;
bool visited;			/* RCU: the visitor is in a read-side critical section */
bool waits;			/* ... for the end of which a freed zspage waits */

/* Pages; bits */
byte refs[NR_PAGES];
bool locked[NR_PAGES];
bool owned[NR_PAGES];		/* page->zspage */
bool movable[NR_PAGES];		/* the mark that the core acts on */

bool lock;			/* class->lock */
byte pool_refs = 1;
bool pool_freed;
byte unused = PAGES;		/* next page to move to */
byte users_left = USERS + VISITORS, compacts_left = COMPACTS;

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

/* zs_free_drained() */
inline put_pages(list)
{
	atomic {
		for (i : 0 .. NR_PAGES - 1) {
			if
			:: list >> i & 1 -> put_page(i)
			:: else
			fi
		}
		list = 0; i = 0
	}
}

/*
 * zspage_next_round(), begun by a migration: pages that are freed without a round
 * are in list.  This and leave_round() have the lock, but pins are counted without.
 */
inline begin_round()
{
	do
	:: a = count;
	   atomic {
		ALIVE();
		if
		:: count == a && !a ->
		   slow = 0; parity = 0;
		   list = list | stale; stale = 0; draining = 0;
		   break
		:: count == a && a ->
		   slow = 1; round = !round; parity = round;
		   early = a; draining = stale;
		   break
		:: else
		fi
	   }
	od;
	a = 0
}

/* An early pin has gone; pages to free are in list. */
inline leave_round()
{
	atomic { ALIVE(); early--; assert(early >= 0 && slow) };
	if
	:: early == 0 ->
	   atomic {
		list = draining; stale = stale & ~draining;
		draining = 0; memory = 0;
		late[0] = 0; late[USERS - 1] = 0
	   };
	   if
	   :: stale -> begin_round()
	   :: else -> atomic { slow = 0; parity = 0 }
	   fi
	:: else
	fi
}

/* ok if pinned.  In vain if it is frozen, here at most twice: see the thaw. */
inline trypin(slot)
{
	atomic {
		ALIVE();
		v_slow = slow; v_parity = parity;
		ok = !frozen;
		if :: ok || count < 2 -> count++ :: else fi
	}
	if
	:: ok && v_slow ->
	   class_lock();
	   ALIVE();
	   if
	   :: slow && parity == v_parity ->
	      if
	      :: memory
	      :: !memory -> memory = 1
	      :: !memory
	      fi;
	      if
	      :: memory -> late[slot]++
	      :: else -> early++
	      fi
	   :: else
	   fi;
	   class_unlock()
	:: else
	fi;
	v_slow = 0; v_parity = 0
}

/* Without a round nothing of the zspage is touched after the count is down. */
inline unpin(slot)
{
	atomic { ALIVE(); ok = slow || frozen };
	if
	:: ok ->
	   class_lock();
	   atomic { ALIVE(); count--; assert(count >= 0 && !frozen) };
	   if
	   :: slow ->
	      if
	      :: late[slot] > 0 -> late[slot]--
	      :: else -> leave_round()
	      fi
	   :: else
	   fi;
	   class_unlock();
	   put_pages(list)
	:: else ->
	   atomic { ALIVE(); count--; assert(count >= 0 && !frozen); ok = slow };
	   if
	   :: ok ->
	      class_lock();
	      leave_round();
	      class_unlock();
	      put_pages(list)
	   :: else
	   fi
	fi;
	ok = 0
}

inline thaw()
{
	atomic { assert(frozen); frozen = 0; count = 0 }
}

inline free_descriptor()
{
	atomic { ALIVE(); assert(!waits); waits = visited; freed = !visited };
#ifndef NO_POOL_REF
	put_pool()
#endif
}

/* zspage_free(), zs_release_pages(): all pages are locked */
inline free_zspage()
{
	atomic {
		ALIVE();
		assert(!listed && !forwarder && !isolated);
		/* Its users have unpinned, so a round waits for the visitor. */
		assert(VISITORS || !count && !slow && !stale)
	}
#ifdef FREE_STALE
	list = stale;
	put_pages(list);
#endif
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
	:: forwarder ->
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

proctype user(byte slot)
{
	byte n, i, a, b, list;
	bool ok, v_slow;
	bit v_parity;

	for (n : 1 .. READS) {
		/* zs_pin() */
		do
		:: ALIVE();
		   if
		   :: forwarder -> break
		   :: else
		   fi;
		   trypin(slot);
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
		   assert(!forwarder);
		   unpin(slot)
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

#if VISITORS
/* Another object has the slot that the visitor's object had. */
proctype visitor()
{
	byte i, a, list;
	bool ok, v_slow;
	bit v_parity;

	trypin(0);
#ifdef VAIN_NO_RCU
	atomic { visited = 0; freed = freed || waits; waits = 0 };
#endif
	if
	:: ok -> unpin(0)
	:: else
	fi;
	atomic { visited = 0; freed = freed || waits; waits = 0 };
	users_left--
}
#endif

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
	byte n, i, a, page = which, new, list;
	bool ok;
#ifdef LOOK_FIRST
	bool look;
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
		      ok = ok && isolated + NR_STALE < PAGES;
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
		   assert(!frozen);
#ifdef LOOK_FIRST
		   look = !slow && !count;
#endif
		   if
		   :: /* zspage_move_page() */
		      assert(pages[which] == page);
		      ok = 1;
		      atomic { owned[new] = 1; movable[new] = 1; refs[new]++ };
		      pages[which] = new;
		      owned[page] = 0;
		      stale = stale | 1 << page;
		      assert(NR_STALE <= PAGES);
#if defined(NO_ROUND)
		      list = stale; stale = 0;
#elif defined(LOOK_FIRST)
		      if
		      :: look -> list = stale; stale = 0
		      :: !look && !slow -> begin_round()
		      :: else
		      fi;
#else
		      if
		      :: !slow -> begin_round()
		      :: else
		      fi;
#endif
		      /* Without a round no page is held. */
		      assert(slow || !stale);
		      end_isolation()
#ifndef ALL_MOVE
		   :: skip		/* it could not be read */
#endif
		   fi;
		   class_unlock();
		   put_pages(list);
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
	byte a, i, list;

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
#ifdef FREEZE_COUNT
			ok = !count;
#else
			ok = !count && !slow;
#endif
			frozen = ok
		   }
		:: else
		fi;
		if
		:: ok ->
#ifndef COMPACT_UNLOCKED
		   trylock_pages();
		   if
		   :: !ok -> thaw()
		   :: else
		   fi
#endif
		:: else
		fi;
		if
		:: !ok -> class_unlock()
		:: else ->
		   listed = 0;
		   assert(!slow && !stale && !early && !late[0] && !late[USERS - 1]);
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
		      thaw();
#endif
		      class_unlock()
		   :: atomic { nr_links = inuse; inuse = 0 };
		      atomic { old[0] = pages[0]; old[1] = pages[1]; old[PAGES - 1] = pages[PAGES - 1] };
		      forwarder = 1;
		      assert(frozen);
#ifdef THAW_FORWARDER
		      thaw();
#endif
		      class_unlock();
		      /* From here on the forwarder may go. */
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
			run user(i - 1)
		}
		i = 0;
#if VISITORS
		visited = 1;
		run visitor();
#endif
#if COMPACTS
		run compact()
#endif
	}
	/* zs_destroy_pool(): all users of the pool are done with it */
	!users_left && !compacts_left;
	put_pool();
	(timeout) ->
	assert(pool_freed && freed && !waits);
	assert(!early);
	assert(!stale && !draining);
	assert(!slow && !memory);
	assert(frozen -> forwarder : !count);
	for (i : 0 .. NR_PAGES - 1) {
		assert(!refs[i])
	}
}
