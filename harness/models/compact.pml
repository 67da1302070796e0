/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Objects on the move: forwarders, their links, and the hosts that these name.
 *
 * Four zspages of one class.  Object 0 was moved before: its home is zspage 0, a
 * forwarder, and it is a guest of zspage 1.  Object 1 is a native of zspage 1, object
 * 2 of zspage 2.  Zspage 3 always has an object more, which stays there.  An
 * object has a slot of its own in every zspage.
 *
 *	owner		the owner of an object: zs_pin() with zs_pin_forwarded(),
 *			writing and reading it, zs_pinned() and zspage_unpin(), and
 *			at last zs_free() with forwarder_drop_link()
 *	compact		zspage_evacuate() of any zspage, to any others; copying and
 *			allocating may fail at each object.  Then what
 *			class_compact() does after the lock
 *	core		the migration core with the page of a zspage:
 *			zs_isolate_page(), then zs_putback_page() or
 *			zs_migrate_page(), whatever page it was: a drain round
 *			begins if there are pins
 *	worker		zs_free_deferred()
 *	trim		with TRIM: forwarder_trim() of zspage 0, and kfree_rcu() of what
 *			its links were in
 *	other		with OTHER: zs_malloc() and zs_free() of an object that gets the
 *			slot in zspage 1 that object 0 has left
 *
 * With OTHER, objects 0 and 1 are both guests of zspage 1, and came from zspage 0.
 * So an evacuation of zspage 1 may move object 0 and fail at object 1; zspage 1
 * thaws, another object has the slot and is freed, and an evacuation of the host
 * that object 0 went to brings it back to the same slot.
 *
 * Left out: replaced pages, of which a round takes care (pin.pml, zspage.pml), and
 * writing as a page moves (write.pml); what gets the slots that other objects have
 * left, but their contents are lost there; the pool; memory budgets.  One page is
 * replaced, so there is at most one round, and there is memory for its counts of
 * late pins.  A grace period ends as soon as it may, and freed memory is not used
 * again, so a task that touches it is caught.  Memory is sequentially consistent
 * here: the barriers are not modelled, as those of the second look at a link.
 *
 * -D flags: OWNERS (a bit for each object), READS (each), EVACUATIONS,
 * COMPACTORS, CORE (which zspage's page it has), OTHER, TRIM, PAIR (object 2 is a native
 * of zspage 1, and there is no zspage 2).  These bring in a bug, or assert what is not
 * so, which has to be found:
 * THAW_FORWARDER		a forwarder is thawed, so it can be pinned
 * NO_LINK_CHECK	zs_pin_forwarded() does not look at the link again
 * SAME_HOST		... and tries the same host again that was frozen
 * PIN_NO_RCU		... and pins without RCU
 * VAIN_NO_RCU		... and unpins without RCU if the pin was in vain
 * UNPIN_TOUCHES	zspage_unpin() touches the zspage after the count is down
 * FREEZE_COUNT		freezing looks at the count of pins, not at rounds
 * NO_RETURN		a link that is the same again was the same all the time
 * TRIM_UNSEEN		zs_pin_forwarded() does not look at moves after the pin
 * TRIM_READ_ONCE	forwarder_read_link() does not look at moves after the link
 * TRIM_FREES		former links are freed without a grace period
 * TRIM_END_NO_RCU	zs_pinned() looks for the link without RCU
 * NO_WAS_HOST		hosts are freed without a grace period
 * WAS_HOST_LATE	... if there are objects left after a failed evacuation
 * MOVE_PINNED		class_find_source() does not look at the pins
 * MOVE_ISOLATED	... at isolation
 * MOVE_UNLOCKED	... and takes no page locks
 * FORWARDER_FIRST		a forwarder is made before its links
 * LINK_FIRST		a guest's link tells where it goes before it is there
 * FREE_ISOLATED	zs_free() does not look whether pages are isolated
 * FREE_UNLOCKED	zs_free() does not take the page lock
 * KEEP_GUEST		forwarder_drop_link() leaves the guest on the host's list
 * NO_UNDO		natives that were moved are not taken back after a failure
 * LATE_PAGES		the forwarder is looked at after the lock, for its pages
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
#define NONE	7

/* Zspages */
short count[4];			/* zspage->pins, of which slow: a round is under way */
bool slow[4], frozen[4];
short early[4];
byte late[4];			/* by slot, a bit each: an object has one reader */
bool forwarder[4], was_host[4], freed[4];
bool listed[4];			/* on a list of class->zspages[] */
byte inuse[4];			/* bitmap of used slots; bit 3: not of an object here */
byte guests[4];			/* the same, of guests */
byte nr_links[4];		/* of forwarders */
bool isolated[4];
bool has_page[4];		/* zspage->pages[] */

bool locked[4], owned[4];	/* their pages: lock, page->zspage */
bool page_freed[4];
byte valid[4];			/* slots that hold what their object holds */

byte link[3] = NONE;		/* by object; they are in the forwarders */
#ifdef TRIM
byte moves;			/* of zspage 0; odd while it is trimmed */
bool trimmed;			/* its links are at another address, */
byte former[2];			/* and these are at the former one: */
#define RCU_HEAD	6	/* then this, */
bool former_freed;		/* and then it is freed, */
byte former_waits;		/* when these readers have left */
#endif
bool lock;			/* class->lock */
byte deferred;			/* zspages on zs_deferred, a bit each */

/*
 * RCU: the readers that are in a read-side critical section, and those of them
 * that a freed zspage waits for
 */
byte readers;
byte waits[4];
#ifdef NO_RETURN
bool reused, returned;		/* the slot of object 0; object 0 after that */
#endif

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
#ifdef TRIM
		;
		if
		:: former_waits & me ->
		   former_waits = former_waits & ~me;
		   former_freed = !former_waits
		:: else
		fi
#endif
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
		assert(!listed[z] && !forwarder[z] && !inuse[z] && !guests[z] && !isolated[z]);
		assert(has_page[z]);
		/* Else a round waits for an unpin in vain. */
		assert(was_host[z] || !count[z] && !slow[z])
	}
	release_page(z);
	free_descriptor(z)
}

/* ok if pinned.  In vain if it is frozen, here at most twice: see the thaw. */
inline trypin(z)
{
	atomic {
		ALIVE(z);
		in_round = slow[z];
		ok = !frozen[z];
		if :: ok || count[z] < 2 -> count[z]++ :: else fi
	}
#ifdef CORE
	if
	:: ok && in_round ->
	   class_lock();
	   atomic {
		ALIVE(z);
		if :: slow[z] -> late[z] = late[z] | me :: else fi
	   }
	   class_unlock()
	:: else
	fi;
	in_round = 0
#endif
}
/* The round frees its pages. */
inline leave_round(z)
{
	atomic {
		ALIVE(z);
		early[z]--;
		assert(early[z] >= 0 && slow[z]);
		if
		:: !early[z] -> slow[z] = 0; late[z] = 0
		:: else
		fi
	}
}
/* Without a round nothing of the zspage is touched after the count is down. */
inline unpin(z)
{
#ifdef CORE
	atomic { ALIVE(z); in_round = slow[z] || frozen[z] };
	if
	:: in_round ->
	   class_lock();
	   atomic { ALIVE(z); count[z]--; assert(count[z] >= 0 && !frozen[z]) };
	   if
	   :: slow[z] && late[z] & me -> late[z] = late[z] & ~me
	   :: slow[z] && !(late[z] & me) -> leave_round(z)
	   :: else
	   fi;
	   class_unlock()
	:: else ->
#endif
	   atomic {
		ALIVE(z);
		count[z]--;
		assert(count[z] >= 0 && !frozen[z]);
		in_round = slow[z]
	   }
#ifdef CORE
	   if
	   :: in_round ->
	      class_lock();
	      leave_round(z);
	      class_unlock()
	   :: else
	   fi
	fi;
#endif
#ifdef UNPIN_TOUCHES
	ALIVE(z);
#endif
	in_round = 0
}
inline thaw(z)
{
	atomic { assert(frozen[z]); frozen[z] = 0; count[z] = 0 }
}

/* Give a slot back, class->lock held, which this drops. */
inline free_slot(z, mask)
{
	atomic {
		ALIVE(z);
		assert(inuse[z] & mask);
		inuse[z] = inuse[z] & ~mask;
		valid[z] = valid[z] & ~mask;
#ifdef FREE_ISOLATED
		dead = !inuse[z]
#else
		dead = !inuse[z] && !isolated[z]
#endif
	}
	if
	:: dead ->
	   assert(listed[z]);
	   listed[z] = 0;
#ifdef FREE_UNLOCKED
	   ok = 1;
	   locked[z] = 1
#else
	   trylock_page(z)
#endif
	:: else
	fi;
	class_unlock();
	if
	:: dead && ok -> free_zspage(z)
	:: dead && !ok -> atomic { assert(!(deferred >> z & 1)); deferred = deferred | 1 << z }
	:: else
	fi;
	ok = 0; dead = 0
}

#ifdef TRIM
/* What is at the address of the link that was found */
inline at_address(value)
{
	atomic {
		ALIVE(home);
		if
		:: !home && !found && trimmed ->
		   assert(!former_freed);
		   value = former[object]
		:: else -> value = link[object]
		fi
	}
}
/* forwarder_read_link(); one that was trimmed is not trimmed again */
inline read_link(value)
{
	do
	:: atomic { moves != 1 -> m = moves };
	   found = trimmed;
	   if
	   :: moves == m ->
	      at_address(value);
#ifdef TRIM_READ_ONCE
	      break
#else
	      if
	      :: moves == m -> break
	      :: else
	      fi
#endif
	   :: else
	   fi
	od
}
#endif

/* While an object is pinned, its slot is there and is its. */
#define READABLE()	assert(has_page[h] && !page_freed[h] && valid[h] >> object & 1)

proctype owner(byte object; byte home)
{
	byte h, n, me = 1 << object;
	bool ok, forwarded, in_round, dead;
#ifdef NO_RETURN
	bool was_returned;
#endif
#ifdef TRIM
	byte m, again;
	bool found;
#endif

	for (n : 1 .. READS) {
		/* zs_pin() */
		do
		:: ALIVE(home);
		   forwarded = forwarder[home];
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
#ifdef TRIM
		      read_link(h);
		      assert(h < 4);
#else
		      atomic {
			ALIVE(home);
#ifndef SAME_HOST
			h = link[object];
#endif
#ifdef NO_RETURN
			was_returned = returned;
#endif
			assert(h != NONE)
		      }
#endif
		      trypin(h);
		      if
		      :: !ok ->
			 rcu_unlock();
			 class_lock();
			 class_unlock()
		      :: else ->
#ifndef NO_LINK_CHECK
			 ALIVE(home);
#ifdef TRIM
			 at_address(again);
#ifndef TRIM_UNSEEN
			 if :: moves != m -> again = NONE :: else fi;
#endif
#endif
			 if
#ifdef TRIM
			 :: again != h ->
#else
			 :: link[object] != h ->
#endif
#ifdef VAIN_NO_RCU
			    rcu_unlock();
			    unpin(h);
#else
			    unpin(h);
			    rcu_unlock();
#endif
#ifdef SAME_HOST
			    h = link[object]
#endif
			 :: else ->
#ifdef NO_RETURN
			    assert(object || returned == was_returned);
#endif
			    rcu_unlock();
			    break
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
#ifdef TRIM
		:: forwarder[home] ->
#ifndef TRIM_END_NO_RCU
		   rcu_lock();
#endif
		   read_link(again);
		   rcu_unlock();
		   assert(again == h);
		   again = 0
#else
		:: forwarder[home] -> assert(link[object] == h)
#endif
		:: else -> assert(home == h)
		fi;
		unpin(h)
	}
	n = 0; forwarded = 0;

	/* zs_free() */
	class_lock();
	ALIVE(home);
	if
	:: forwarder[home] ->
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
	forwarded = forwarder[home] && !nr_links[home];
	free_slot(h, me);
	if
	:: forwarded -> free_descriptor(home)
	:: else
	fi
}

#ifdef TRIM
proctype trim()
{
	class_lock();
	if
	:: nr_links[0] ->
	   ALIVE(0);
	   moves = 1;
	   atomic {
		former[0] = link[0];
		former[1] = link[1];
		trimmed = 1
	   }
	   moves = 2;
	   class_unlock();
	   atomic { former[0] = RCU_HEAD; former[1] = RCU_HEAD };
	   atomic {
#ifndef TRIM_FREES
		former_waits = readers;
#endif
		former_freed = !former_waits
	   }
	:: else -> class_unlock()
	fi
}
#endif

#if EVACUATIONS
#ifdef OTHER
proctype other()
{
	bool ok, dead;

	class_lock();
	if
	:: listed[1] && !(inuse[1] & 1) ->
	   atomic {
		ALIVE(1);
		assert(!(valid[1] & 1));
		inuse[1] = inuse[1] | 1
	   }
	   class_unlock();
	   class_lock();
#ifdef NO_RETURN
	   reused = 1;
#endif
	   free_slot(1, 1)
	:: else -> class_unlock()
	fi
}
#endif

/* Any zspage that is on a list but the source, or none: it failed */
inline move_object(o)
{
	if
	:: listed[1] && !(inuse[1] >> o & 1) -> d = 1
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
#if defined(MOVE_PINNED)
			ok = 1;
#elif defined(FREEZE_COUNT)
			ok = !count[s];
#else
			ok = !count[s] && !slow[s];
#endif
			frozen[s] = ok
		   }
		:: else
		fi;
#ifndef MOVE_UNLOCKED
		if
		:: ok ->
		   trylock_page(s);
		   if
		   :: ok
		   :: else -> thaw(s)
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
#ifdef NO_RETURN
			      returned = returned || !o && d == 1 && reused;
#endif
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
		   /* Objects that are not of the three stay, too. */
		   ok = ok && s != 3;
#ifdef OTHER
		   ok = ok && !(inuse[s] & 1);
#endif
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
		      thaw(s);
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
#ifdef FORWARDER_FIRST
			 forwarder[s] = 1;
#endif
			 for (o : 1 .. 2) {
				if
				:: moved >> o & 1 ->
				   atomic { link[o] = old[o]; nr_links[s]++ }
				:: else
				fi
			 }
#ifndef FORWARDER_FIRST
			 forwarder[s] = 1;
#endif
			 assert(frozen[s]);
#ifdef THAW_FORWARDER
			 thaw(s);
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
	   assert(!frozen[CORE]);
	   if
	   :: /* One page was replaced */
	      atomic {
		ALIVE(CORE);
		assert(!slow[CORE] && !early[CORE] && !late[CORE]);
		if
		:: count[CORE] -> slow[CORE] = 1; early[CORE] = count[CORE]
		:: else
		fi
	      }
	   :: skip
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
	   unlock_page(CORE)
	:: else
	fi
}

#endif

#if defined(CORE) || defined(OTHER)
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
		forwarder[0] = 1; frozen[0] = 1; nr_links[0] = 1; link[0] = 1; guests[1] = 1;
#ifdef OTHER
		nr_links[0] = 2; link[1] = 1; guests[1] = 3;
		run other();
#endif
#ifdef TRIM
		run trim();
#endif
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
#ifdef OTHER
		run owner(1, 0);
#else
		run owner(1, 1);
#endif
#endif
#if OWNERS & 4
#ifdef PAIR
		run owner(2, 1);
#else
		run owner(2, 2);
#endif
#endif
#if defined(CORE) || defined(OTHER)
		run worker();
#endif
#ifdef CORE
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
	/* Objects that were freed left nothing; those that were not are still there. */
	for (i : 0 .. 3) {
		assert(frozen[i] -> forwarder[i] || freed[i] : !count[i]);
		assert(!slow[i] && !early[i] && !late[i]);
		assert(!((inuse[i] | guests[i]) & OWNERS));
		assert(page_freed[i] == (i && !inuse[i]));
		assert(freed[i] == (!inuse[i] && !nr_links[i]))
	}
}
