# SPDX-License-Identifier: GPL-2.0
#
# gdb helper commands and functions for Linux kernel debugging
#
#  zsmalloc: pools, classes, zspages and handles
#
# tools/mm/zsmalloc.py does more, and also reads dumps that gdb cannot.

import gdb

from linux import lists, mm, radixtree, utils

zspage_type = utils.CachedType("struct zspage")
zram_type = utils.CachedType("struct zram")
zswap_pool_type = utils.CachedType("struct zswap_pool")

STATES = ("new", "live", "frozen", "forwarder", "dead")
MAGIC = 0x7a737067

# ZS_PIN_FROZEN, and the bits below ZS_PIN_ROUND
PIN_FROZEN = 1 << 30
PIN_COUNT = (1 << 29) - 1

GUESTS_PER_BLOCK = 3


def ulong(value):
    return int(value.cast(utils.get_ulong_type()))


def has_field(gdbtype, name):
    return name in (field.name for field in gdbtype.fields())


class Locations:
    """The coding of handles and links, see "Handles" in mm/zsmalloc.h"""

    def __init__(self):
        self.ops = mm.page_ops().ops
        wide = utils.get_ulong_type().sizeof == 8
        self.align, self.slot_bits = (8, 12) if wide else (128, 7)
        self.generations = wide and has_field(zspage_type.get_type(), "magic")
        self.place_mask = (1 << 60) - 1 if self.generations else \
            (1 << utils.get_ulong_type().sizeof * 8) - 1

    def encode(self, zspage, slot):
        offset = (ulong(zspage) - self.ops.PAGE_OFFSET) // self.align
        return (offset << self.slot_bits | slot) + 1

    def decode(self, location):
        """The zspage, which is checked, and the slot"""
        place = (location & self.place_mask) - 1
        if place < 0:
            raise gdb.GdbError("0 is no handle")
        address = (place >> self.slot_bits) * self.align + self.ops.PAGE_OFFSET
        return zspage_at(address), place & (1 << self.slot_bits) - 1

    def generation(self, location):
        return location // (self.place_mask + 1)


def zspage_at(address):
    zspage = gdb.Value(address).cast(zspage_type.get_type().pointer())
    try:
        state = int(zspage["state"])
        if has_field(zspage_type.get_type(), "magic"):
            good = int(zspage["magic"]) == MAGIC
        else:
            # Without a magic number any memory that looks like it will do.
            good = int(zspage["class"]["geo"]["slots"]) > 0
    except gdb.MemoryError:
        good = False
    if not good or state >= len(STATES):
        raise gdb.GdbError("0x%x is not a zspage" % address)
    return zspage


def bitmap(zspage):
    """The bits of the slots as a number, and the address after them"""
    geo = zspage["class"]["geo"]
    width = utils.get_ulong_type().sizeof * 8
    words = (int(geo["slots"]) + width - 1) // width
    at = zspage["near_links"][int(geo["pages"])].address
    value = 0
    for i in range(words):
        value |= int(at[i]) << i * width
    return value, at + words


def slots(mask):
    return [slot for slot in range(mask.bit_length()) if mask >> slot & 1]


def handle_of(where, zspage, slot):
    handle = where.encode(zspage, slot)
    if where.generations:
        bytes_at = bitmap(zspage)[1].cast(gdb.lookup_type("unsigned char").pointer())
        handle |= int(bytes_at[slot]) * (where.place_mask + 1)
    return handle


def link_of(zspage, slot):
    """The link of the object that was in a slot of a forwarder"""
    pages = int(zspage["class"]["geo"]["pages"])
    rank = bin(bitmap(zspage)[0] & (1 << slot) - 1).count("1")
    if rank < pages:
        return int(zspage["near_links"][rank])
    return int(zspage["far_links"]["links"][rank - pages])


def guests_of(where, zspage):
    """The handles of the guests, by the slots to which their links lead"""
    guests = {}
    left = int(zspage["nr_guests"])
    block = zspage["guests"]
    here = (left - 1) % GUESTS_PER_BLOCK + 1
    while left > 0 and block:
        for i in range(here):
            owner = int(block["owner"][i])
            home, slot = where.decode(owner)
            guests[where.decode(link_of(home, slot))[1]] = owner
        left -= here
        here = GUESTS_PER_BLOCK
        block = block["next"]
    return guests


def is_forwarder(zspage):
    return STATES[int(zspage["state"])] == "forwarder"


def class_name(cls):
    return "class of %d bytes, node %d" % (cls["geo"]["size"], cls["nid"])


def write_zspage(zspage):
    cls = zspage["class"]
    pins = int(zspage["pins"]["counter"])
    if pins & PIN_FROZEN:
        text = "frozen"
    else:
        text = "%d pins" % (pins & PIN_COUNT)
        if pins < 0:
            text += ", in a round that waits for %d of them" % zspage["early"]
    gdb.write("zspage 0x%x of pool %s, %s\n" % (ulong(zspage), cls["pool"]["name"].string(),
                                                class_name(cls)))
    gdb.write("  %s, %s\n" % (STATES[int(zspage["state"])], text))


def write_parts(where, zspage, slot):
    """The one or two pieces of a slot"""
    geo = zspage["class"]["geo"]
    at, left = slot * int(geo["size"]), int(geo["size"])
    size = where.ops.PAGE_SIZE
    while left:
        index, offset = at // size, at % size
        here = min(left, size - offset)
        page = zspage["pages"][index].cast(utils.get_page_type().pointer())
        gdb.write("  %d bytes in page %d, page frame 0x%x, at offset 0x%x: address 0x%x\n" %
                  (here, index, int(where.ops.page_to_pfn(page)), offset,
                   int(where.ops.page_to_virt(page)) + offset))
        at += here
        left -= here


def argument(text, usage):
    """The value of the only argument, an expression"""
    if not text.strip():
        raise gdb.GdbError("Usage: " + usage)
    try:
        return gdb.parse_and_eval(text)
    except gdb.error as error:
        raise gdb.GdbError(str(error))


class LxZsmallocCommand(gdb.Command):
    """What the commands have in common: an error is one line."""

    def __init__(self, name):
        super(LxZsmallocCommand, self).__init__(name, gdb.COMMAND_DATA)

    def invoke(self, arg, from_tty):
        try:
            zspage_type.get_type()
        except gdb.error:
            raise gdb.GdbError("This kernel has no zsmalloc, or no debug information of it")
        try:
            self.run(arg)
        except (gdb.error, UnicodeDecodeError) as error:
            raise gdb.GdbError("damaged data: %s" % error)


class LxZsmallocPools(LxZsmallocCommand):
    """List the zsmalloc pools of zram and zswap.

Usage: lx-zsmalloc-pools"""

    def __init__(self):
        super(LxZsmallocPools, self).__init__("lx-zsmalloc-pools")

    def run(self, arg):
        if arg:
            raise gdb.GdbError("Usage: lx-zsmalloc-pools")
        pools = []
        # A kernel may have one, the other, or both.
        try:
            tree = gdb.parse_and_eval("zram_index_idr")["idr_rt"]
        except gdb.error:
            tree = None
        if tree:
            for index, slot in radixtree.for_each_slot(tree):
                zram = slot.dereference().cast(zram_type.get_type().pointer())
                pools.append((zram["mem_pool"], "zram%d" % index))
        try:
            head = gdb.parse_and_eval("zswap_pools")
        except gdb.error:
            head = None
        if head:
            for pool in lists.list_for_each_entry(
                    head, zswap_pool_type.get_type().pointer(), "list"):
                pools.append((pool["zs_pool"], "zswap, %s" % pool["tfm_name"].string()))
        for pool, user in pools:
            if pool:
                gdb.write("0x%x %s: %d pages, of %s\n" % (
                    ulong(pool), pool["name"].string(), pool["pages"]["counter"], user))


class LxZsmallocClasses(LxZsmallocCommand):
    """Show how many zspages the classes of a zsmalloc pool have.

Usage: lx-zsmalloc-classes POOL

POOL is an expression for a struct zs_pool pointer, or its address."""

    def __init__(self):
        super(LxZsmallocClasses, self).__init__("lx-zsmalloc-classes")

    def run(self, arg):
        pool = argument(arg, "lx-zsmalloc-classes POOL")
        pool = pool.cast(gdb.lookup_type("struct zs_pool").pointer())
        count = int(gdb.parse_and_eval("zs_nr_geos"))
        try:
            nodes = int(gdb.parse_and_eval("nr_node_ids"))
        except gdb.error:
            nodes = 1
        shift = int(gdb.parse_and_eval("zs_set_shift"))
        full = int(gdb.parse_and_eval("ZS_FULL"))
        growing = int(gdb.parse_and_eval("ZS_GROWING"))
        gdb.write("node set   size pages slots   partly     full  objects forwarders forwarded\n")
        for index in range(nodes << shift):
            classes = pool["sets"][index]
            if not classes:
                continue
            for i in range(count):
                cls = classes[i]
                if not cls["nr_live"] and not cls["nr_forwarders"]:
                    continue
                partly = sum(int(cls["nr"][group]) for group in (*range(1, full), growing))
                gdb.write("%4d %3d %6d %5d %5d %8d %8d %8d %10d %9d\n" % (
                    cls["nid"], index & (1 << shift) - 1, cls["geo"]["size"], cls["geo"]["pages"], cls["geo"]["slots"],
                    partly, cls["nr"][full], cls["inuse"], cls["nr_forwarders"],
                    cls["forwarded"]))


class LxZsmallocZspage(LxZsmallocCommand):
    """Show a zspage: state, pins, pages, and its slots in use with their handles.

Usage: lx-zsmalloc-zspage ZSPAGE

ZSPAGE is an expression for a struct zspage pointer, or its address."""

    def __init__(self):
        super(LxZsmallocZspage, self).__init__("lx-zsmalloc-zspage")

    def run(self, arg):
        zspage = zspage_at(ulong(argument(arg, "lx-zsmalloc-zspage ZSPAGE")))
        where = Locations()
        write_zspage(zspage)
        used = slots(bitmap(zspage)[0])
        if is_forwarder(zspage):
            for slot in used:
                link = link_of(zspage, slot)
                gdb.write("  slot %d: handle 0x%x, %s\n" % (
                    slot, handle_of(where, zspage, slot),
                    "link 0x%x" % link if link else "freed"))
            return
        for i in range(int(zspage["nr_pages"])):
            page = zspage["pages"][i].cast(utils.get_page_type().pointer())
            gdb.write("  page %d: page frame 0x%x, struct page 0x%x\n" % (
                i, int(where.ops.page_to_pfn(page)), ulong(page)))
        guests = guests_of(where, zspage)
        for slot in used:
            handle = guests.get(slot) or handle_of(where, zspage, slot)
            gdb.write("  slot %d: %s, handle 0x%x\n" % (
                slot, "guest" if slot in guests else "native", handle))


class LxZsmallocHandle(LxZsmallocCommand):
    """Show where the object of a zsmalloc handle is.

Usage: lx-zsmalloc-handle HANDLE

HANDLE is an expression, such as zram->table[17].handle."""

    def __init__(self):
        super(LxZsmallocHandle, self).__init__("lx-zsmalloc-handle")

    def run(self, arg):
        handle = ulong(argument(arg, "lx-zsmalloc-handle HANDLE"))
        where = Locations()
        try:
            zspage, slot = where.decode(handle)
        except gdb.GdbError as error:
            raise gdb.GdbError("0x%x is no handle: %s" % (handle, error))
        if not bitmap(zspage)[0] >> slot & 1:
            raise gdb.GdbError("0x%x: slot %d is free, so its object was freed" %
                               (handle, slot))
        if handle_of(where, zspage, slot) != handle:
            raise gdb.GdbError("0x%x: its generation is %d, so its object was freed" %
                               (handle, where.generation(handle)))
        write_zspage(zspage)
        gdb.write("  slot %d\n" % slot)
        if is_forwarder(zspage):
            link = link_of(zspage, slot)
            if not link:
                raise gdb.GdbError("0x%x: its link is 0, so its object was freed" % handle)
            zspage, slot = where.decode(link)
            gdb.write("link 0x%x\n" % link)
            write_zspage(zspage)
            gdb.write("  slot %d\n" % slot)
        write_parts(where, zspage, slot)


LxZsmallocPools()
LxZsmallocClasses()
LxZsmallocZspage()
LxZsmallocHandle()
