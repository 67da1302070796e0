/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pins and drain rounds of one zspage: when is a replaced page freed?
 *
 * The zspage has one page, which is moved several times.
 *
 *	reader		zspage_pin(), a look at pages[], zspage_unpin()
 *	relay		two readers that take turns for ever: each pins before the
 *			other unpins, so the zspage is pinned all the time
 *	mover		zs_migrate_page(), under class->lock
 *	freezer		zspage_freeze() and zspage_thaw(), under class->lock
 *
 * Left out: the life of the zspage and of its pages before and after (zspage.pml),
 * forwarders and hosts (compact.pml).  Freed pages are not used again, so a reader that
 * touches one is caught.  Memory is sequentially consistent here: the barriers are
 * not modelled.
 *
 * -D flags: READERS, READS (each), OBJECTS (fewer than READERS: some readers have
 * one object open together), MOVES, FREEZES, MEMORY (for the counts of late pins; 0:
 * there never is any; 1: always; 2: perhaps), FAILS (so often it is missing, then
 * never again), LATE_MAX (the highest count), RELAY (no readers, but a relay of that
 * many objects, 1 or 2).
 *
 * The promise is that pages are freed although readers take turns.  It has two
 * limits, which have to be found: the readers of a relay have one object open
 * (RELAY=1), or there is never memory for the counts (RELAY=2 MEMORY=0).
 *
 * These bring in a bug, which has to be found:
 * LOOK_FIRST		migration looks at the pins before it publishes the page
 * NO_ROUND		... and frees the replaced page at once
 * FREE_LATER		a round's end frees pages that were replaced during the round
 * NO_PARITY		a pin does not look which round it belongs to
 * ALL_EARLY		a round waits for the pins taken during the round, too
 * LATE_UNCOUNTED	without memory for its count, a late pin is not counted
 * KEEP_LATE		the end of a round does not forget the counts of late pins
 * ONE_ROUND		... and begins no round for the pages replaced meanwhile
 * PLAIN_STORE		the beginning of a round does not notice a new pin
 * ONE_LOOK		an unpin does not look whether a round began before it
 * STALE_LOOK		an unpin does not look again whether the round is over
 * FREEZE_COUNT		freezing looks at the count of pins, not at rounds
 * THAW_KEEPS		thawing keeps pins that were in vain
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef READS
#define READS 1
#endif
#ifndef OBJECTS
#define OBJECTS READERS
#endif
#ifndef MOVES
#define MOVES 2
#endif
#ifndef FREEZES
#define FREEZES 0
#endif
#ifndef MEMORY
#define MEMORY 2
#endif
#ifndef LATE_MAX
#define LATE_MAX 255
#endif

/* zspage->pins */
short count;
bool slow, frozen;		/* slow here: a round is under way */
bit parity;			/* of the round */

byte page;			/* zspage->pages[0] */
byte stale;			/* pages that are on the list, a bit each */
byte draining;			/* those of them that the round frees */
short early;
short late[4];
bool memory;			/* for late[] */
#ifdef FAILS
byte fails;
#endif
bit round;			/* parity of the last round */
byte rounds;			/* for an assertion: how many */
byte freed;			/* pages, a bit each */
bool lock;			/* class->lock */

inline class_lock()	{ atomic { !lock -> lock = 1 } }
inline class_unlock()	{ lock = 0 }

/*
 * zspage_next_round(): pages that are freed without a round are in list.  This and
 * leave_round() have the lock, but pins are counted without.
 */
inline begin_round()
{
#ifdef PLAIN_STORE
	p = count;
	if
	:: !p -> list = list | stale; stale = 0; draining = 0;
	   d_step { count = 0; slow = 0; parity = 0 }
	:: else ->
	   early = p; draining = stale; round = !round;
	   d_step { count = p; slow = 1; parity = round }
	fi;
	p = 0
#else
	do
	:: p = count;
	   if
	   :: !p ->
	      atomic {
		if
		:: count == p -> slow = 0; parity = 0;
		   list = list | stale; stale = 0; draining = 0;
		   break
		:: else
		fi
	      }
	   :: else ->
	      atomic {
		if
		:: count == p ->
		   slow = 1; round = !round; parity = round;
		   early = p; draining = stale;
		   rounds++; p = 0;
		   break
		:: else
		fi
	      }
	   fi
	od
#endif
}

/* An early pin has gone; pages to free are in list. */
inline leave_round()
{
	atomic { early--; assert(early >= 0 && slow) };
	if
	:: early == 0 ->
	   atomic {
#ifdef FREE_LATER
		list = stale; stale = 0;
#else
		list = draining; stale = stale & ~draining;
#endif
		draining = 0;
#ifndef KEEP_LATE
		late[0] = 0; late[1] = 0; late[2] = 0; late[3] = 0;
#endif
		memory = 0
	   };
#ifndef ONE_ROUND
	   if
	   :: stale -> begin_round()
	   :: else -> atomic { slow = 0; parity = 0 }
	   fi
#else
	   atomic { slow = 0; parity = 0 }
#endif
	:: else
	fi
}

inline free_pages()
{
	atomic { freed = freed | list; list = 0 }
}

/* ok if pinned.  In vain if it is frozen, here at most twice: see the thaw. */
inline pin(o)
{
	atomic {
		v_slow = slow; v_parity = parity; v_rounds = rounds;
		ok = !frozen;
		if :: ok || count < 2 -> count++ :: else fi
	}
	if
	:: ok && v_slow ->
	   class_lock();
	   /* So one bit tells rounds apart. */
	   assert(rounds <= v_rounds + 1);
#ifdef NO_PARITY
	   if
	   :: slow ->
#else
	   if
	   :: slow && parity == v_parity ->
#endif
#ifdef ALL_EARLY
	      early++
#else
	      if
	      :: memory
#if MEMORY
	      :: !memory -> memory = 1
#endif
#ifdef FAILS
	      :: !memory && fails < FAILS -> fails++
#elif MEMORY != 1
	      :: !memory
#endif
	      fi;
	      if
	      :: memory && late[o] < LATE_MAX -> late[o]++
#ifndef LATE_UNCOUNTED
	      :: else -> early++
#else
	      :: else
#endif
	      fi
#endif
	   :: else
	   fi;
	   class_unlock()
	:: else
	fi;
	v_slow = 0; v_parity = 0; v_rounds = 0
}

inline unpin(o)
{
	if
	:: slow || frozen ->
	   class_lock();
	   atomic { count--; assert(count >= 0 && !frozen) };
	   if
#ifdef STALE_LOOK
	   :: true ->
#else
	   :: slow ->
#endif
	      if
	      :: late[o] > 0 -> late[o]--
	      :: else -> leave_round()
	      fi
	   :: else
	   fi;
	   class_unlock();
	   free_pages()
	:: else ->
	   atomic { count--; assert(count >= 0 && !frozen); ok = slow };
#ifndef ONE_LOOK
	   if
	   :: ok ->
	      class_lock();
	      leave_round();
	      class_unlock();
	      free_pages()
	   :: else
	   fi
#endif
	fi;
	ok = 0
}

proctype reader(byte object)
{
	byte n, list, p, v_rounds;
	bool ok, v_slow;
	bit v_parity;

	for (n : 1 .. READS) {
		do
		:: pin(object);
		   if
		   :: ok -> break
		   :: else -> class_lock(); class_unlock()
		   fi
		od;
		ok = 0;
		atomic { p = page; assert(!(freed >> p & 1)) };
		atomic { assert(!(freed >> p & 1)); p = 0 };
		unpin(object)
	}
	n = 0
}

#ifdef RELAY
active proctype relay()
{
	byte list, p, v_rounds;
	bool ok, v_slow;
	bit v_parity;

	pin(0);
	do
	:: pin(RELAY - 1);
	   unpin(0);
	   pin(0);
	   unpin(RELAY - 1);
	   /* The mover gets on in the end. */
	   if
	   :: !stale || lock ->
progress:     skip
	   :: else
	   fi
	od
}
#endif

proctype mover()
{
	byte n, list, p;
#ifdef LOOK_FIRST
	bool look;
#endif

	for (n : 1 .. MOVES) {
		class_lock();
#ifdef LOOK_FIRST
		look = !slow && !count;
#endif
		page++;
		stale = stale | 1 << (page - 1);
#if defined(NO_ROUND)
		list = stale; stale = 0;
#elif defined(LOOK_FIRST)
		if
		:: look -> list = stale; stale = 0
		:: !look && !slow -> begin_round()
		:: else
		fi;
		look = 0;
#else
		if
		:: !slow -> begin_round()
		:: else
		fi;
#endif
		/* Without a round no page is held. */
		assert(slow || !stale);
		class_unlock();
		free_pages()
	}
	n = 0
}

#if FREEZES
proctype freezer()
{
	byte n;

	for (n : 1 .. FREEZES) {
		class_lock();
#ifdef FREEZE_COUNT
		atomic { if :: !count -> frozen = 1 :: else fi };
#else
		atomic { if :: !count && !slow -> frozen = 1 :: else fi };
#endif
		if
		:: frozen ->
		   assert(!slow && !stale && !early && !late[0] && !late[1] && !late[2] && !late[3]);
#ifdef THAW_KEEPS
		   frozen = 0
#else
		   atomic { frozen = 0; count = 0 }
#endif
		:: else
		fi;
		class_unlock()
	}
	n = 0
}
#endif

init {
	byte i;

	atomic {
#ifndef RELAY
		for (i : 1 .. READERS) {
			run reader(i % OBJECTS)
		}
		i = 0;
#endif
		run mover();
#if FREEZES
		run freezer()
#endif
	}
	(timeout) ->
	assert(!count && !frozen);
	assert(!early);
	assert(!stale && !draining);
	assert(!slow && !memory);
	assert(freed == (1 << page) - 1)
}
