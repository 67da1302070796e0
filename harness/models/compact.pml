/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Objects on the move: stubs, their links, and the hosts that these name.
 *
 * Four zspages of one class.  Object 0 was moved before: its home is zspage 0, a
 * stub, and it is a guest of zspage 1.  Object 1 is a native of zspage 1, object
 * 2 of zspage 2.  Zspage 3 always has an object more, which nobody uses.  An
 * object has a slot of its own in every zspage.
 *
 *	owner		the owner of an object: zs_pin() with zs_pin_forwarded(),
 *			writing and reading it, zs_pinned() and zs_unpin(), and at
 *			last zs_free() with stub_drop_link()
 *	compact		class_evacuate() of any zspage, to any others; copying and
 *			allocating may fail at each object.  Then what
 *			class_compact() does after the lock
 *	core		the migration core with the page of a zspage:
 *			zs_isolate_page(), then zs_putback_page() or the pin and
 *			unpin of zs_migrate_page(), whatever page it was
 *	worker		zs_free_deferred()
 *
 * Left out: replaced pages, and with them the stale list (zspage.pml), and
 * writing as a page moves (write.pml); who gets the slot that an object has left,
 * but its contents are lost there; the pool; memory budgets.  A grace period ends
 * as soon as it may, and freed memory is not used again, so whoever touches it is
 * caught.  Memory is sequentially consistent here: the barriers are not modelled.
 *
 * -D flags: OWNERS (a bit for each object), READS (each), EVACUATIONS,
 * COMPACTORS, CORE (which zspage's page it has), PAIR (object 2 is a native of
 * zspage 1, and there is no zspage 2).  These bring in a bug, which has
 * to be found:
 * THAW_STUB		a stub is thawed, so it can be pinned
 * NO_LINK_CHECK	zs_pin_forwarded() does not look at the link again
 * SAME_HOST		... and tries the same host again that was frozen
 * PIN_NO_RCU		... and pins without RCU
 * UNPIN_NO_RCU		zs_unpin() of a guest's host without RCU
 * NO_WAS_HOST		hosts are freed without a grace period
 * WAS_HOST_LATE	... if there are objects left after a failed evacuation
 * MOVE_PINNED		class_find_source() does not look at the pins
 * MOVE_ISOLATED	... at isolation
 * MOVE_UNLOCKED	... and takes no page locks
 * STUB_FIRST		a stub is made before its links
 * LINK_FIRST		a guest's link tells where it goes before it is there
 * FREE_ISOLATED	zs_free() does not look whether pages are isolated
 * FREE_UNLOCKED	zs_free() does not take the page lock
 * KEEP_GUEST		stub_drop_link() leaves the guest on the host's list
 * NO_UNDO		natives that were moved are not taken back after a failure
 * LATE_PAGES		the stub is looked at after the lock, for its pages
 */
#ifndef OWNERS
#define OWNERS 3
#endif
#ifndef READS
#define READS 1
#endif
#ifndef EVACUATIONS
#define EVACUATIONS 2
#endif
#ifndef COMPACTORS
#define COMPACTORS 1
#endif
#define FROZEN	(-100)
#define NONE	7

/* Zspages */
short pins[4];
bool stub[4], was_host[4], freed[4];
bool listed[4];			/* on a list of its class: not ZS_DEAD */
byte inuse[4];			/* bitmap of used slots; bit 3: nobody's */
byte guests[4];			/* the same, of guests */
byte nr_links[4];		/* of stubs */
bool isolated[4];
bool has_page[4];		/* zspage->pages[] */

bool locked[4], owned[4];	/* their pages: lock, page->zspage */
bool page_freed[4];
byte valid[4];			/* slots that hold what their object holds */

byte link[3] = NONE;		/* by object; they are in the stubs */
bool lock;			/* class->lock */
byte deferred;			/* zspages on zs_deferred, a bit each */

/*
 * RCU: who is in a read-side critical section, and for which of these a freed
 * zspage waits.
 */
byte readers;
byte waits[4];

#define ALIVE(z)	assert(!freed[z])

inline class_lock()	{ atomic { !lock -> lock = 1 } }
inline class_unlock()	{ lock = 0 }
inline lock_page(z)	{ atomic { !locked[z] -> locked[z] = 1 } }
inline trylock_page(z)	{ atomic { ok = !locked[z]; locked[z] = 1 } }
inline unlock_page(z)	{ atomic { assert(locked[z]); locked[z] = 0 } }

inline rcu_lock()	{ readers = readers | me }
inline rcu_end_one(z)
{
	if
	:: waits[z] & me ->
	   waits[z] = waits[z] & ~me;
	   freed[z] = waits[z] == 0
	:: else
	fi
}
inline rcu_unlock()
{
	d_step {
		readers = readers & ~me;
		rcu_end_one(0); rcu_end_one(1); rcu_end_one(2); rcu_end_one(3)
	}
}
inline free_descriptor(z)
{
	atomic {
		ALIVE(z);
		assert(!waits[z]);	/* once */
#ifndef NO_WAS_HOST
		if
		:: was_host[z] -> waits[z] = readers
		:: else
		fi;
#endif
		freed[z] = waits[z] == 0
	}
}

/* Part with a locked page. */
inline release_page(z)
{
	atomic { assert(owned[z] && locked[z]); owned[z] = 0 };
	atomic { locked[z] = 0; assert(!page_freed[z]); page_freed[z] = 1 }
}
inline free_zspage(z)
{
	atomic {
		ALIVE(z);
		assert(!listed[z] && !stub[z] && !inuse[z] && !guests[z] && !isolated[z]);
		assert(has_page[z])
	}
	release_page(z);
	free_descriptor(z)
}

inline trypin(z)
{
	/* Counts in vain if it is frozen, here at most twice; thawing forgets that. */
	atomic {
		ALIVE(z);
		ok = pins[z] >= 0;
		if :: ok || pins[z] < FROZEN + 2 -> pins[z]++ :: else fi
	}
}
inline unpin(z)
{
	atomic { ALIVE(z); pins[z]--; assert(pins[z] >= 0) };
	ALIVE(z)			/* a look at the stale list */
}

/* While an object is pinned, its slot is there and is its. */
#define READABLE()	assert(has_page[h] && !page_freed[h] && valid[h] >> object & 1)

proctype owner(byte object; byte home)
{
	byte h, n, me = 1 << object;
	bool ok, forwarded;

	for (n : 1 .. READS) {
		/* zs_pin() */
		do
		:: ALIVE(home);
		   forwarded = stub[home];
		   if
		   :: forwarded -> break
		   :: else
		   fi;
		   trypin(home);
		   if
		   :: !ok -> class_lock(); class_unlock()
		   :: else -> h = home; break
		   fi
		od;
		if
		:: forwarded ->
#ifdef SAME_HOST
		   h = link[object];
#endif
		   do
		   ::
#ifndef PIN_NO_RCU
		      rcu_lock();
#endif
		      atomic {
			ALIVE(home);
#ifndef SAME_HOST
			h = link[object];
#endif
			assert(h != NONE)
		      }
		      trypin(h);
		      if
		      :: !ok ->
			 rcu_unlock();
			 class_lock();
			 class_unlock()
		      :: else ->
#ifndef NO_LINK_CHECK
			 ALIVE(home);
			 if
			 :: link[object] != h -> unpin(h); rcu_unlock();
#ifdef SAME_HOST
			    h = link[object]
#endif
			 :: else -> rcu_unlock(); break
			 fi
#else
			 rcu_unlock();
			 break
#endif
		      fi
		   od
		:: else
		fi;

		READABLE();
		/* Write it; what others have of it is not up to date any more. */
		d_step {
			READABLE();
			valid[0] = valid[0] & ~me; valid[1] = valid[1] & ~me;
			valid[2] = valid[2] & ~me; valid[3] = valid[3] & ~me;
			valid[h] = valid[h] | me
		}
		READABLE();

		/* zs_pinned() */
		ALIVE(home);
		if
		:: stub[home] -> assert(link[object] == h)
		:: else -> assert(home == h)
		fi;
		/* zs_unpin() */
		if
		:: home == h -> unpin(h)
		:: else ->
#ifndef UNPIN_NO_RCU
		   rcu_lock();
#endif
		   unpin(h);
		   rcu_unlock()
		fi
	}
	n = 0; forwarded = 0;

	/* zs_free() */
	class_lock();
	ALIVE(home);
	if
	:: stub[home] ->
	   atomic {
		h = link[object];
		link[object] = NONE;
		ALIVE(h);
#ifndef KEEP_GUEST
		assert(guests[h] & me);
		guests[h] = guests[h] & ~me;
#endif
		assert(nr_links[home] > 0);
		nr_links[home]--
	   }
	:: else -> h = home
	fi;
	atomic {
		ALIVE(h);
		assert(inuse[h] & me);
		inuse[h] = inuse[h] & ~me;
		valid[h] = valid[h] & ~me
	}
	forwarded = stub[home] && !nr_links[home];
#ifdef FREE_ISOLATED
	n = !inuse[h];
#else
	n = !inuse[h] && !isolated[h];
#endif
	if
	:: n ->
	   assert(listed[h]);
	   listed[h] = 0;
#ifdef FREE_UNLOCKED
	   ok = 1;
	   locked[h] = 1
#else
	   trylock_page(h)
#endif
	:: else
	fi;
	class_unlock();
	if
	:: n && ok -> free_zspage(h)
	:: n && !ok -> atomic { assert(!(deferred >> h & 1)); deferred = deferred | 1 << h }
	:: else
	fi;
	if
	:: forwarded -> free_descriptor(home)
	:: else
	fi
}

#if EVACUATIONS
/* Any zspage that is on a list but the source, or none: it failed */
inline move_object(o)
{
	if
	:: listed[1] -> d = 1
	:: listed[2] -> d = 2
	:: listed[3] -> d = 3
	:: d = NONE
	fi;
	if
	:: d != NONE -> atomic {
		ALIVE(d);
		assert(has_page[d] && !page_freed[d] && !(inuse[d] >> o & 1));
		assert(has_page[s] && !page_freed[s] && inuse[s] >> o & 1);
		inuse[d] = inuse[d] | 1 << o;
		guests[d] = guests[d] | 1 << o;
#ifdef LINK_FIRST
		if :: guests[s] >> o & 1 -> link[o] = d :: else fi
	   };
	   atomic {
#endif
		if
		:: valid[s] >> o & 1 -> valid[d] = valid[d] | 1 << o
		:: else -> valid[d] = valid[d] & ~(1 << o)
		fi
	   }
	:: else
	fi
}

proctype compact()
{
	byte s, d, o, n, old[3], moved;
	bool ok;

	for (n : 1 .. EVACUATIONS) {
		class_lock();
		if
		:: s = 1
		:: s = 2
		:: s = 3
		fi;
		/* class_find_source() */
		ok = listed[s] && inuse[s];
#ifndef MOVE_ISOLATED
		ok = ok && !isolated[s];
#endif
		if
		:: ok -> atomic {
			ALIVE(s);
#ifdef MOVE_PINNED
			pins[s] = FROZEN
#else
			ok = pins[s] == 0;
			if :: ok -> pins[s] = FROZEN :: else fi
#endif
		   }
		:: else
		fi;
#ifndef MOVE_UNLOCKED
		if
		:: ok ->
		   trylock_page(s);
		   if
		   :: ok
		   :: else -> pins[s] = 0
		   fi
		:: else
		fi;
#else
		if :: ok -> locked[s] = 1 :: else fi;
#endif
		if
		:: !ok -> class_unlock()
		:: else ->
		   listed[s] = 0;
		   /* zspage_move_guests() */
		   for (o : 0 .. 2) {
			if
			:: ok && guests[s] >> o & 1 ->
			   move_object(o);
			   if
			   :: d == NONE -> ok = 0
			   :: else ->
			      atomic {
				inuse[s] = inuse[s] & ~(1 << o);
				guests[s] = guests[s] & ~(1 << o);
				valid[s] = valid[s] & ~(1 << o);
#ifndef WAS_HOST_LATE
				was_host[s] = 1
#endif
			      }
			      link[o] = d
			   fi
			:: else
			fi
		   }
		   /* zspage_move_natives() */
		   moved = 0;
		   for (o : 1 .. 2) {
			if
			:: ok && inuse[s] >> o & 1 ->
			   move_object(o);
			   old[o] = d;
			   if
			   :: d == NONE -> ok = 0
			   :: else -> moved = moved | 1 << o
			   fi
			:: else
			fi
		   }
		   /* The object that nobody uses cannot move either. */
		   ok = ok && s != 3;
		   if
		   :: !ok ->
#ifndef NO_UNDO
		      for (o : 1 .. 2) {
			if
			:: moved >> o & 1 -> atomic {
				d = old[o];
				guests[d] = guests[d] & ~(1 << o);
				inuse[d] = inuse[d] & ~(1 << o);
				valid[d] = valid[d] & ~(1 << o)
			   }
			:: else
			fi
		      }
#endif
		      listed[s] = 1;
		      unlock_page(s);
		      atomic { assert(pins[s] < 0); pins[s] = 0 };
		      class_unlock()
		   :: else ->
#ifdef WAS_HOST_LATE
		      was_host[s] = 1;
#endif
		      atomic {
			inuse[s] = 0;
			valid[s] = 0;
			assert(has_page[s]);
			has_page[s] = 0
		      }
		      if
		      :: moved ->
#ifdef STUB_FIRST
			 stub[s] = 1;
#endif
			 for (o : 1 .. 2) {
				if
				:: moved >> o & 1 ->
				   atomic { link[o] = old[o]; nr_links[s]++ }
				:: else
				fi
			 }
#ifndef STUB_FIRST
			 stub[s] = 1;
#endif
			 assert(pins[s] < 0);
#ifdef THAW_STUB
			 pins[s] = 0;
#endif
			 class_unlock();
#ifdef LATE_PAGES
			 ALIVE(s);
#endif
			 release_page(s)
		      :: else ->
			 class_unlock();
			 release_page(s);
			 free_descriptor(s)
		      fi
		   fi
		fi;
		s = 0; d = 0; moved = 0; old[1] = 0; old[2] = 0
	}
}
#endif

#ifdef CORE
proctype core()
{
	bool ok;

	trylock_page(CORE);
	if
	:: ok ->
	   ok = owned[CORE];
	   if
	   :: ok ->
	      class_lock();
	      ALIVE(CORE);
	      ok = listed[CORE];
	      if :: ok -> isolated[CORE] = 1 :: else fi;
	      class_unlock()
	   :: else
	   fi;
	   unlock_page(CORE)
	:: else
	fi;
	if
	:: ok ->
	   lock_page(CORE);
	   assert(owned[CORE]);
	   ALIVE(CORE);
	   class_lock();
	   if
	   :: atomic { assert(pins[CORE] >= 0); pins[CORE]++ };
	      ok = 1
	   :: ok = 0
	   fi;
	   ALIVE(CORE);
	   isolated[CORE] = 0;
	   if
	   :: !inuse[CORE] -> atomic {
		assert(listed[CORE] && !(deferred >> CORE & 1));
		listed[CORE] = 0;
		deferred = deferred | 1 << CORE
	      }
	   :: else
	   fi;
	   class_unlock();
	   if
	   :: ok -> unpin(CORE)
	   :: else
	   fi;
	   unlock_page(CORE)
	:: else
	fi
}

proctype worker()
{
	byte z;

end:	do
	:: atomic { deferred -> z = (deferred >> 1 & 1 -> 1 : (deferred >> 2 & 1 -> 2 : 3)) };
	   deferred = deferred & ~(1 << z);
	   lock_page(z);
	   free_zspage(z)
	od
}
#endif

init {
	byte i;

	atomic {
		for (i : 1 .. 3) {
			listed[i] = 1;
			owned[i] = 1;
			has_page[i] = 1
		}
		stub[0] = 1; pins[0] = FROZEN; nr_links[0] = 1; link[0] = 1; guests[1] = 1;
		inuse[3] = 8;
#ifdef PAIR
		listed[2] = 0; owned[2] = 0; has_page[2] = 0;
		page_freed[2] = 1; freed[2] = 1;
		inuse[1] = 7; valid[1] = 7;
#else
		inuse[1] = 3; inuse[2] = 4;
		valid[1] = 3; valid[2] = 4;
#endif
#if OWNERS & 1
		run owner(0, 0);
#endif
#if OWNERS & 2
		run owner(1, 1);
#endif
#if OWNERS & 4
#ifdef PAIR
		run owner(2, 1);
#else
		run owner(2, 2);
#endif
#endif
#ifdef CORE
		run worker();
		run core();
#endif
#if EVACUATIONS
		for (i : 1 .. COMPACTORS) {
			run compact()
		}
#endif
		i = 0
	}
	(timeout) ->
	assert(!readers && !deferred);
	/* What its owner has freed left nothing; what it has not is still there. */
	for (i : 0 .. 3) {
		assert(!pins[i] || pins[i] < 0 && (stub[i] || freed[i]));
		assert(!((inuse[i] | guests[i]) & OWNERS));
		assert(page_freed[i] == (i && !inuse[i]));
		assert(freed[i] == (!inuse[i] && !nr_links[i]))
	}
}
