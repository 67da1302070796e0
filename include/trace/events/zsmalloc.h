/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM zsmalloc

#if !defined(_TRACE_ZSMALLOC_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_ZSMALLOC_H

#include <linux/tracepoint.h>

#ifndef __ZSMALLOC_TRACE_ENUMS
#define __ZSMALLOC_TRACE_ENUMS
/* The results of an attempt to isolate a page, and of one to evacuate a zspage */
enum zs_isolation {
	ZS_ISOLATED,
	ZS_ISOLATION_NO_ZSPAGE,	/* the page was freed or replaced */
	ZS_ISOLATION_BAD,	/* the page is bad */
	ZS_ISOLATION_DEAD,	/* the zspage is dead */
	ZS_ISOLATION_STALE,	/* too many of its pages are stale or isolated */
};

enum zs_outcome {
	ZS_EVACUATED,
	ZS_OUTCOME_ISOLATED,	/* a page is isolated */
	ZS_OUTCOME_OPEN,	/* an object is open */
	ZS_OUTCOME_LOCKED,	/* a page is locked */
	ZS_OUTCOME_BAD,	/* a page is bad */
	ZS_OUTCOME_NO_GAIN,	/* it would add too much memory, or there is no room */
	ZS_OUTCOME_NO_MEMORY,	/* memory is to be allocated first */
	ZS_OUTCOME_NO_ROOM,	/* hosts have turned out to be bad */
	ZS_OUTCOME_UNREADABLE,	/* an object could not be copied */
};
#endif

TRACE_DEFINE_ENUM(ZS_ISOLATED);
TRACE_DEFINE_ENUM(ZS_ISOLATION_NO_ZSPAGE);
TRACE_DEFINE_ENUM(ZS_ISOLATION_BAD);
TRACE_DEFINE_ENUM(ZS_ISOLATION_DEAD);
TRACE_DEFINE_ENUM(ZS_ISOLATION_STALE);

TRACE_DEFINE_ENUM(ZS_EVACUATED);
TRACE_DEFINE_ENUM(ZS_OUTCOME_ISOLATED);
TRACE_DEFINE_ENUM(ZS_OUTCOME_OPEN);
TRACE_DEFINE_ENUM(ZS_OUTCOME_LOCKED);
TRACE_DEFINE_ENUM(ZS_OUTCOME_BAD);
TRACE_DEFINE_ENUM(ZS_OUTCOME_NO_GAIN);
TRACE_DEFINE_ENUM(ZS_OUTCOME_NO_MEMORY);
TRACE_DEFINE_ENUM(ZS_OUTCOME_NO_ROOM);
TRACE_DEFINE_ENUM(ZS_OUTCOME_UNREADABLE);

/*
 * The migration of a page of a pool by the migration core. The counters in /proc/vmstat
 * do not tell the pages of different owners apart; these events tell which pages were
 * zsmalloc's, and of which pool. A page that is not zsmalloc's any more has pool "-".
 */
TRACE_EVENT(zs_isolate_page,
	    TP_PROTO(const char *pool, unsigned long pfn, enum zs_isolation result),
	    TP_ARGS(pool, pfn, result),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(unsigned long, pfn)
			     __field(int, result)),
	    TP_fast_assign(__assign_str(pool);
			   __entry->pfn = pfn;
			   __entry->result = result;),
	    TP_printk("pool=%s pfn=0x%lx result=%s", __get_str(pool), __entry->pfn,
		      __print_symbolic(__entry->result,
				       { ZS_ISOLATED, "isolated" },
				       { ZS_ISOLATION_NO_ZSPAGE, "no_zspage" },
				       { ZS_ISOLATION_BAD, "bad" },
				       { ZS_ISOLATION_DEAD, "dead" },
				       { ZS_ISOLATION_STALE, "stale" }))
);

/*
 * @stale: the page was migrated, but readers still hold the old page. Not a bool in the
 * event, because bpftrace does not know that type on a kernel without BTF.
 */
TRACE_EVENT(zs_migrate_page,
	    TP_PROTO(const char *pool, unsigned long src, unsigned long dst,
		     int ret, bool stale),
	    TP_ARGS(pool, src, dst, ret, stale),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(unsigned long, src)
			     __field(unsigned long, dst)
			     __field(int, ret)
			     __field(int, stale)),
	    TP_fast_assign(__assign_str(pool);
			   __entry->src = src;
			   __entry->dst = dst;
			   __entry->ret = ret;
			   __entry->stale = stale;),
	    TP_printk("pool=%s src=0x%lx dst=0x%lx ret=%d stale=%d",
		      __get_str(pool), __entry->src, __entry->dst,
		      __entry->ret, __entry->stale)
);

TRACE_EVENT(zs_putback_page,
	    TP_PROTO(const char *pool, unsigned long pfn),
	    TP_ARGS(pool, pfn),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(unsigned long, pfn)),
	    TP_fast_assign(__assign_str(pool);
			   __entry->pfn = pfn;),
	    TP_printk("pool=%s pfn=0x%lx", __get_str(pool), __entry->pfn)
);

/*
 * zs_compact() or the shrinker has tried to evacuate a zspage of slots of @size bytes,
 * with @natives objects that its own handles name, and @guests others.
 */
TRACE_EVENT(zs_evacuate,
	    TP_PROTO(const char *pool, unsigned int size, unsigned int natives,
		     unsigned int guests, enum zs_outcome result),
	    TP_ARGS(pool, size, natives, guests, result),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(unsigned int, size)
			     __field(unsigned int, natives)
			     __field(unsigned int, guests)
			     __field(int, result)),
	    TP_fast_assign(__assign_str(pool);
			   __entry->size = size;
			   __entry->natives = natives;
			   __entry->guests = guests;
			   __entry->result = result;),
	    TP_printk("pool=%s size=%u natives=%u guests=%u result=%s",
		      __get_str(pool), __entry->size, __entry->natives,
		      __entry->guests,
		      __print_symbolic(__entry->result,
				       { ZS_EVACUATED, "evacuated" },
				       { ZS_OUTCOME_ISOLATED, "isolated" },
				       { ZS_OUTCOME_OPEN, "open" },
				       { ZS_OUTCOME_LOCKED, "locked" },
				       { ZS_OUTCOME_BAD, "bad" },
				       { ZS_OUTCOME_NO_GAIN, "no_gain" },
				       { ZS_OUTCOME_NO_MEMORY, "no_memory" },
				       { ZS_OUTCOME_NO_ROOM, "no_room" },
				       { ZS_OUTCOME_UNREADABLE, "unreadable" }))
);

/* The worker is to free a dead zspage of slots of @size bytes. */
TRACE_EVENT(zs_defer_free,
	    TP_PROTO(const char *pool, unsigned int size),
	    TP_ARGS(pool, size),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(unsigned int, size)),
	    TP_fast_assign(__assign_str(pool);
			   __entry->size = size;),
	    TP_printk("pool=%s size=%u", __get_str(pool), __entry->size)
);

/* Memory reclaim has had the pool packed for node @nid: pages @asked for, and @freed. */
TRACE_EVENT(zs_shrink,
	    TP_PROTO(const char *pool, int nid, unsigned long asked, unsigned long freed),
	    TP_ARGS(pool, nid, asked, freed),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(int, nid)
			     __field(unsigned long, asked)
			     __field(unsigned long, freed)),
	    TP_fast_assign(__assign_str(pool);
			   __entry->nid = nid;
			   __entry->asked = asked;
			   __entry->freed = freed;),
	    TP_printk("pool=%s nid=%d asked=%lu freed=%lu", __get_str(pool),
		      __entry->nid, __entry->asked, __entry->freed)
);

#endif /* _TRACE_ZSMALLOC_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
