// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Functions for the tests of zsmalloc that use its internals. This file is a part of
 * mm/zsmalloc.c, which includes it at its end if any of these tests is built.
 *
 * The checks are the equations of struct zspage, struct size_class and struct zs_pool.
 * Each returns NULL, or the first equation that does not hold.
 */

#define ZS_WRONG(equation)	((equation) ? NULL : #equation)

/* A guest is at the location that its link names, in a slot that is in use. */
static const char *zspage_check_guest(struct zspage *zspage, unsigned long owner)
	__must_hold(&zspage->class->lock)
{
	struct zspage *home, *host;
	unsigned long *link;
	unsigned int slot;

	home = zs_decode_location(owner, &slot);
	if (home->state != ZSPAGE_FORWARDER)
		return "the home of a guest is a forwarder";
	zspage_assert_locked(home);
	link = forwarder_link(home, slot);
	if (!link || !*link)
		return "a guest has a link";
	host = zs_decode_location(*link, &slot);
	return ZS_WRONG(host == kasan_reset_tag(zspage)) ?:
	       ZS_WRONG(test_bit(slot, zspage_bitmap(host)));
}

static const char *zspage_check_guests(struct zspage *zspage)
	__must_hold(&zspage->class->lock)
{
	unsigned int here = zspage_first_guests(zspage), nr = 0;
	struct zs_guest_block *block;

	for (block = zspage->guests; block; block = block->next) {
		for (unsigned int i = 0; i < here; i++) {
			const char *wrong = zspage_check_guest(zspage, block->owner[i]);

			if (wrong)
				return wrong;
		}
		nr += here;
		here = ZS_GUESTS_PER_BLOCK;
	}
	return ZS_WRONG(nr == zspage->nr_guests);
}

static const char *forwarder_check(struct zspage *forwarder)
	__must_hold(&forwarder->class->lock)
{
	unsigned int max = forwarder_max_links(forwarder), nr = 0;

	zspage_check_magic(forwarder);
	for (unsigned int i = 0; i < max; i++)
		nr += !!*forwarder_link_at(forwarder, i);
	return ZS_WRONG(forwarder->state == ZSPAGE_FORWARDER) ?:
	       ZS_WRONG(nr && nr == forwarder->nr_links) ?:
	       ZS_WRONG(!forwarder->inuse) ?:
	       ZS_WRONG(atomic_read(&forwarder->pins) < 0);
}

/* Live zspages, and their objects */
static const char *class_check_zspages(struct size_class *class, unsigned long *zspages)
	__must_hold(&class->lock)
{
	unsigned long inuse = 0, guests = 0, blocks = 0, slots = 0, stale = 0, live = 0;
	unsigned long isolated = 0, pages = 0;
	struct zspage *zspage;
	const char *wrong;

	for (int f = 0; f < ZS_NR_FULLNESS; f++) {
		unsigned long nr = 0;

		list_for_each_entry(zspage, &class->zspages[f], list) {
			zspage_assert_locked(zspage);
			wrong = ZS_WRONG(zspage_check(zspage)) ?:
				ZS_WRONG(zspage->fullness == f) ?:
				zspage_check_guests(zspage);
			if (wrong)
				return wrong;
			inuse += zspage->inuse;
			slots += f == ZS_BAD ? zspage->inuse : zspage_slots(zspage);
			pages += zspage->nr_pages;
			stale += zspage->nr_stale;
			isolated += zspage->isolated;
			guests += zspage->nr_guests;
			blocks += DIV_ROUND_UP(zspage->nr_guests, ZS_GUESTS_PER_BLOCK);
			nr++;
		}
		wrong = ZS_WRONG(nr == class->nr[f]) ?:
			ZS_WRONG(!nr == !(class->groups & BIT(f)));
		if (wrong)
			return wrong;
		live += nr;
	}
	*zspages = live;
	return ZS_WRONG(live == class->nr_live) ?:
	       ZS_WRONG(inuse == class->inuse) ?:
	       ZS_WRONG(slots == class->slots) ?:
	       ZS_WRONG(pages == class->nr_pages) ?:
	       ZS_WRONG(class->nr[ZS_GROWING] <= 1) ?:
	       ZS_WRONG(stale == class->nr_stale) ?:
	       ZS_WRONG(isolated == class->nr_isolated) ?:
	       ZS_WRONG(guests == class->forwarded) ?:
	       ZS_WRONG(blocks == class->guest_blocks);
}

static const char *class_check_forwarders(struct size_class *class)
	__must_hold(&class->lock)
{
	unsigned long forwarded = 0, forwarders = 0, link_bytes = 0;
	struct zspage *zspage;
	bool sparse = false;

	list_for_each_entry(zspage, &class->forwarders, list) {
		const char *wrong;

		zspage_assert_locked(zspage);
		wrong = forwarder_check(zspage);
		if (!wrong && sparse && !forwarder_is_sparse(zspage))
			wrong = "sparse forwarders are at the end of the list";
		if (wrong)
			return wrong;
		sparse = forwarder_is_sparse(zspage);
		forwarded += zspage->nr_links;
		link_bytes += zs_extra_links(&class->geo, forwarder_max_links(zspage));
		forwarders++;
	}
	return ZS_WRONG(forwarders == class->nr_forwarders) ?:
	       ZS_WRONG(forwarded == class->forwarded) ?:
	       ZS_WRONG(link_bytes == class->link_bytes);
}

/* All equations of a pool, which must not be in use during the call */
const char *zs_check_pool(struct zs_pool *pool)
{
	unsigned long pages = 0, zspages = 0, forwarders = 0, added = 0;
	struct size_class *class;

	for_each_class(class, pool, NUMA_NO_NODE) {
		unsigned long nr = 0;
		const char *wrong;

		spin_lock(&class->lock);
		wrong = class_check_zspages(class, &nr) ?: class_check_forwarders(class);
		zspages += nr;
		pages += class->nr_pages;
		forwarders += class->nr_forwarders;
		added += class_added(class);
		spin_unlock(&class->lock);
		if (wrong)
			return wrong;
	}
	return ZS_WRONG(pages == atomic_long_read(&pool->pages)) ?:
	       ZS_WRONG(added == atomic_long_read(&pool->added)) ?:
	       ZS_WRONG(zspages + forwarders + 1 == atomic_long_read(&pool->refs));
}

#undef ZS_WRONG

/* All geometries in use, by ascending size */
const struct zs_geometry *zs_geometries(unsigned int *nr)
{
	*nr = zs_nr_geos;
	return zs_geos;
}

/* The largest number of classes that a pool can have */
unsigned int zs_nr_classes(void)
{
	return zs_nr_geos * zs_nr_sets();
}

/* A number below zs_nr_classes() that no other class of the pool has */
unsigned int zs_class_number(const struct size_class *class)
{
	unsigned int index = zs_set_index(class->nid, 0);

	while (zs_class(class->pool, class->geo.size, index) != class)
		index++;
	return index * zs_nr_geos + zs_geo_index(class->geo.size);
}
