/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the KUnit suites and the torture test of zsmalloc
 */
#ifndef _MM_TESTS_ZSMALLOC_TEST_H
#define _MM_TESTS_ZSMALLOC_TEST_H

#include <linux/mmzone.h>
#include <linux/vmstat.h>

/*
 * Pages of all pools, with those of per-cpu counters: exact while no task allocates
 * or frees any
 */
static inline unsigned long all_zspages(void)
{
	unsigned long pages = 0;
	struct zone *zone;

	for_each_populated_zone(zone)
		pages += zone_page_state_snapshot(zone, NR_ZSPAGES);
	return pages;
}

#endif /* _MM_TESTS_ZSMALLOC_TEST_H */
