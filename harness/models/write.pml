/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Writers against page moves: no byte that was written is lost.
 *
 * One zspage of two pages, and an object that lies in both, two words in the
 * first and one in the second.  Each page may be moved, and each copy may fail.
 *
 *	writer		zs_obj_write()
 *	mover		zs_migrate_page() and zspage_move_page(), under class->lock
 *
 * Left out: pins, which keep the zspage and its replaced pages (zspage.pml).
 * Memory is sequentially consistent here: the barriers are not modelled.
 *
 * -D flags: MOVERS.  These bring in a bug, which has to be found:
 * START_ODD		write without waiting for the end of a copy
 * NO_SECOND_LOOK	do not look at moves afterwards
 * REPEAT_ONCE		write again once, whatever happens meanwhile
 * NO_MOVES		the mover does not count
 */
#ifndef MOVERS
#define MOVERS 2
#endif
#define NR_PAGES	(2 + MOVERS)

bit word[2 * NR_PAGES];		/* a page's words; 1: what was written */
byte pages[2];			/* zspage->pages */
byte moves;			/* zspage->moves */
byte unused = 2;		/* next page to move to */
bit lock;			/* class->lock */
byte ended;

inline write_object()
{
	p = pages[0];
	word[2 * p] = 1;
	word[2 * p + 1] = 1;
	p = pages[1];
	word[2 * p] = 1
}

proctype writer()
{
	byte seq, p;

	do
	::
#ifdef START_ODD
	   seq = moves;
#else
	   atomic { moves % 2 == 0 -> seq = moves };
#endif
	   write_object();
#ifdef NO_SECOND_LOOK
	   break
#else
	   if
	   :: moves == seq -> break
	   :: else ->
#ifdef REPEAT_ONCE
	      write_object();
	      break
#endif
	   fi
#endif
	od;
	ended++
}

proctype mover()
{
	byte new, i;
	bit w;

	if
	:: i = 0
	:: i = 1
	fi;
	atomic { !lock -> lock = 1; new = unused; unused++ };
#ifndef NO_MOVES
	moves++;
#endif
	w = word[2 * pages[i]];
	word[2 * new] = w;
	w = word[2 * pages[i] + 1];
	word[2 * new + 1] = w;
	if
	:: pages[i] = new
	:: skip				/* the page could not be read */
	fi;
#ifndef NO_MOVES
	moves++;
#endif
	lock = 0;
	ended++
}

init {
	byte i;

	atomic {
		pages[1] = 1;
		run writer();
		for (i : 1 .. MOVERS) {
			run mover()
		}
	}
	ended == 1 + MOVERS;
	assert(word[2 * pages[0]] && word[2 * pages[0] + 1] && word[2 * pages[1]])
}
