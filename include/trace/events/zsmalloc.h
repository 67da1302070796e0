/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM zsmalloc

#if !defined(_TRACE_ZSMALLOC_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_ZSMALLOC_H

#include <linux/tracepoint.h>

/*
 * The migration of a page of a pool by the migration core. The counters in /proc/vmstat
 * do not tell the pages of different owners apart; these events tell which pages were
 * zsmalloc's, and of which pool.
 */
TRACE_EVENT(zs_isolate_page,
	    TP_PROTO(const char *pool, unsigned long pfn, bool isolated),
	    TP_ARGS(pool, pfn, isolated),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(unsigned long, pfn)
			     __field(bool, isolated)),
	    TP_fast_assign(__assign_str(pool);
			   __entry->pfn = pfn;
			   __entry->isolated = isolated;),
	    TP_printk("pool=%s pfn=0x%lx isolated=%d", __get_str(pool),
		      __entry->pfn, __entry->isolated)
);

/* @stale: the page was migrated, but readers still hold the old page. */
TRACE_EVENT(zs_migrate_page,
	    TP_PROTO(const char *pool, unsigned long src, unsigned long dst,
		     int ret, bool stale),
	    TP_ARGS(pool, src, dst, ret, stale),
	    TP_STRUCT__entry(__string(pool, pool)
			     __field(unsigned long, src)
			     __field(unsigned long, dst)
			     __field(int, ret)
			     __field(bool, stale)),
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

#endif /* _TRACE_ZSMALLOC_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
