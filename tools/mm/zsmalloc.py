#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Looks into the pools of zsmalloc, in a dump or in a running kernel, and prints
the pages that zram and zswap have stored in them.

  zsmalloc.py -c vmcore -s vmlinux zram zram0 17     a dump
  zsmalloc.py -s vmlinux pools                       the running kernel (as root)
  drgn -c vmcore -s vmlinux zsmalloc.py check        in drgn

The kernel has no list of all pools.  A pool is found by its user: the zram
devices (zram_index_idr) and zswap (zswap_pools) are searched.  With --scan, the
struct page of all memory is searched, too: a page of zsmalloc leads to its
zspage, to the class and to the pool.  So pools of other users are found, and
pools that were destroyed while they had objects.

POOL is the name of a pool, as in debugfs, or its address.  Numbers are decimal,
or hexadecimal with 0x.  The layout of the data is described in
Documentation/mm/zsmalloc.rst, "Reading a dump".

A running kernel goes on while it is read.  So what is printed may never have been
true at one time, and `check` may find equations that do not hold for a moment.

The exit status is 0 if all is well, and 1 after an error, which is one line on
stderr.  `check` also exits with 1 if an equation does not hold.

This needs drgn (https://github.com/osandov/drgn), and for zstd Python 3.14 or
the module zstandard.
"""

import argparse
import bisect
import logging
import os
import struct
import sys
import zlib

try:
    import drgn
    from drgn.helpers.linux import idr, list as lists, mm, xarray
except ImportError:
    sys.exit("zsmalloc.py: the Python module drgn is not installed")

STALE = 1
MAGIC = 0x7A737067
# enum zs_fullness, by the share of slots in use
GROUPS = ["empty", *(f"<{10 * i}%" for i in range(1, 10)), "<100%", "full", "bad", "growing"]
NO_BITS = "the bit of slot {} is not set, so its object was freed"


class Wrong(Exception):
    """What is wrong with the input or with the data, in one line"""


def number(text):
    try:
        value = int(text, 0)
    except ValueError:
        raise Wrong(f"'{text}' is not a number") from None
    if not 0 <= value < 1 << 64:
        raise Wrong(f"{text} does not fit into 64 bits")
    return value


def span(text):
    """The first and the last number of N or N-M"""
    first, dash, last = text.partition("-")
    first = number(first)
    last = number(last) if dash else first
    if last < first:
        raise Wrong(f"'{text}' ends before it begins")
    return first, last


def bits(mask):
    """The numbers of the bits that are set"""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def hexdump(data, base=0):
    last = None
    for at in range(0, len(data), 16):
        row = data[at:at + 16]
        if row == last and at + 16 < len(data):
            if not skipped:
                print("*")
            skipped = True
            continue
        last, skipped = row, False
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        halves = row[:8].hex(" "), row[8:].hex(" ")
        print(f"{base + at:08x}  {halves[0]:23}  {halves[1]:23}  |{text}|")


# Decompression.  The formats are simple enough to do without other modules.

class Stream:
    """Compressed bytes, and what they have been decompressed to"""

    def __init__(self, data, size, history=b""):
        self.data = data
        self.at = 0
        self.size = size + len(history)
        self.history = len(history)
        self.out = bytearray(history)

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def le16(self):
        return self.byte() | self.byte() << 8

    def literals(self, count):
        if self.at + count > len(self.data):
            raise IndexError
        self.append(self.data[self.at:self.at + count])
        self.at += count

    def copy(self, distance, count):
        """Repeat bytes that came before; they may overlap the new ones."""
        if not 0 < distance <= len(self.out):
            raise IndexError
        chunk = bytes(self.out[-distance:][:count])
        self.append((chunk * (count // len(chunk) + 1))[:count])

    def append(self, data):
        if len(self.out) + len(data) > self.size:
            raise IndexError
        self.out += data

    def result(self):
        return bytes(self.out[self.history:])


def unpack_lz4(data, size, dictionary):
    stream = Stream(data, size, dictionary)

    def length(n):
        more = 255 if n == 15 else 0
        while more == 255:
            more = stream.byte()
            n += more
        return n

    while True:
        token = stream.byte()
        stream.literals(length(token >> 4))
        if stream.at == len(data):
            return stream.result()
        distance = stream.le16()
        stream.copy(distance, length(token & 15) + 4)


def unpack_lzo(data, size, dictionary):
    """lzo and lzo-rle, see Documentation/staging/lzo.rst"""
    del dictionary      # zram has none for lzo
    stream = Stream(data, size)
    runs = False        # version 1 of the format has runs of zeros
    literals = 0        # that came after the last instruction; 4: a long string

    def length(n, most):
        if n:
            return n
        n = most
        while True:
            more = stream.byte()
            n += more or 255
            if more:
                return n

    if data[0] == 17 and len(data) >= 5:
        runs = data[1] > 0
        stream.at = 2
    if data[stream.at] > 17:
        literals = min(data[stream.at] - 17, 4)
        stream.literals(stream.byte() - 17)

    while True:
        code = stream.byte()
        if code < 16 and literals == 0:
            stream.literals(3 + length(code, 15))
            literals = 4
            continue
        tail = code & 3
        if code < 16:
            far = literals == 4
            distance = (stream.byte() << 2) + (code >> 2) + (2049 if far else 1)
            count = 3 if far else 2
        elif code < 32:
            here = stream.at
            word = stream.le16()
            if runs and code & 8 and word & 0xFFFC == 0xFFFC:
                stream.append(bytes((stream.byte() << 3 | code & 7) + 4))
                literals = word & 3
                stream.literals(literals)
                continue
            stream.at = here
            count = 2 + length(code & 7, 7)
            word = stream.le16()
            distance = 16384 + ((code & 8) << 11) + (word >> 2)
            if distance == 16384:
                return stream.result()
            tail = word & 3
        elif code < 64:
            count = 2 + length(code & 31, 31)
            word = stream.le16()
            distance = (word >> 2) + 1
            tail = word & 3
        else:
            count = 3 + (code >> 5 & 1) if code < 128 else 5 + (code >> 5 & 3)
            distance = (stream.byte() << 3) + (code >> 2 & 7) + 1
        stream.copy(distance, count)
        literals = tail
        stream.literals(literals)


def unpack_zstd(data, size, dictionary):
    try:
        from compression import zstd
    except ImportError:
        try:
            import zstandard
        except ImportError:
            raise Wrong("zstd takes Python 3.14 or the Python module zstandard") from None
        known = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        return zstandard.ZstdDecompressor(dict_data=known).decompress(
            data, max_output_size=size)
    known = None
    if dictionary:
        raw = dictionary[:4] != b"\x37\xa4\x30\xec"
        known = zstd.ZstdDict(dictionary, is_raw=raw)
    return zstd.decompress(data, zstd_dict=known)


def unpack_deflate(data, size, dictionary):
    del dictionary
    # With the default parameters, there is no header.
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
    except zlib.error:
        return zlib.decompressobj().decompress(data, size)


UNPACK = {
    "lz4": unpack_lz4,
    "lz4hc": unpack_lz4,
    "lzo": unpack_lzo,
    "lzo-rle": unpack_lzo,
    "zstd": unpack_zstd,
    "deflate": unpack_deflate,
}


def unpack(algorithm, data, size, dictionary=b""):
    if algorithm not in UNPACK:
        raise Wrong(f"this cannot decompress {algorithm}; "
                    "the compressed bytes are printed with --compressed")
    try:
        page = UNPACK[algorithm](data, size, dictionary)
    except Wrong:
        raise
    except Exception as error:  # of a library, or past the end
        raise Wrong(f"the {len(data)} bytes are not what {algorithm} wrote"
                    f"{': ' if str(error) else ''}{error}") from None
    if len(page) != size:
        raise Wrong(f"{algorithm} made {len(page)} bytes of a page of {size}")
    return page


def count(number_, noun):
    return f"{number_} {noun}{'' if number_ == 1 else 's'}"


# The kernel's data

class Kernel:
    """The program that drgn reads, and what all zspages have in common"""

    def __init__(self, prog, page_offset=None):
        self.prog = prog
        self.live = bool(prog.flags & drgn.ProgramFlags.IS_LIVE)
        if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
            raise Wrong("this is not a Linux kernel")
        try:
            self.zspage_type = prog.type("struct zspage")
            self.page_type = prog.type("struct page")
        except LookupError:
            raise Wrong("the types of zsmalloc are not known: "
                        "pass the kernel that was running, with debug information, "
                        "with -s vmlinux") from None
        if not self.zspage_type.has_member("moves"):
            raise Wrong("this kernel has an older zsmalloc, with another layout")

        flags = prog.platform.flags
        self.order = "little" if flags & drgn.PlatformFlags.IS_LITTLE_ENDIAN else "big"
        self.word = 8 if flags & drgn.PlatformFlags.IS_64_BIT else 4
        self.word_format = ("<" if self.order == "little" else ">") + \
            ("Q" if self.word == 8 else "I")
        # ZSPAGE_ALIGN, ZS_SLOT_BITS and ZS_GENERATION_SHIFT are macros.
        self.align, self.slot_bits = (8, 12) if self.word == 8 else (128, 7)
        self.magic = self.zspage_type.has_member("magic")
        self.generations = 8 if self.magic and self.word == 8 else 1
        self.place_mask = (1 << 60 if self.generations > 1 else 1 << 8 * self.word) - 1

        self.page_size = int(prog["PAGE_SIZE"])
        self.page_offset = page_offset or self.find_page_offset()
        self.at_pages = drgn.offsetof(self.zspage_type, "pages")
        self.at_list = drgn.offsetof(self.zspage_type, "list")
        self.class_size = drgn.sizeof(prog.type("struct size_class"))
        self.nr_classes = int(prog["zs_nr_geos"])
        self.nr_groups = int(prog["ZS_NR_FULLNESS"])
        self.full, self.bad, self.growing, self.most = (
            int(prog[name]) for name in ("ZS_FULL", "ZS_BAD", "ZS_GROWING", "ZS_99"))
        self.states = ("new", "live", "frozen", "forwarder", "dead")
        try:
            self.nr_nodes = int(prog["nr_node_ids"])
        except LookupError:
            self.nr_nodes = 1
        self.set_shift = int(prog["zs_set_shift"])
        self.zsmalloc_type = int(prog["PGTY_zsmalloc"])
        self.pages0 = mm.pfn_to_page(prog, 0).value_()
        self.linear = mm.phys_to_virt(prog, 0).value_()
        self.page_struct = drgn.sizeof(self.page_type)
        self.known_pools = {}

    def find_page_offset(self):
        """PAGE_OFFSET, which is where the linear map begins"""
        prog = self.prog
        machine = prog.platform.arch
        if machine == drgn.Architecture.X86_64:
            return int(prog["page_offset_base"])
        if machine == drgn.Architecture.AARCH64:
            for line in prog["VMCOREINFO"].string_().decode().splitlines():
                if line.startswith("NUMBER(VA_BITS)="):
                    return (1 << 64) - (1 << int(line.partition("=")[2]))
            raise Wrong("VMCOREINFO has no VA_BITS: pass --page-offset")
        if machine == drgn.Architecture.RISCV64:
            return int(prog["kernel_map"].page_offset)
        return mm.phys_to_virt(prog, 0).value_()

    def read(self, address, size):
        return self.prog.read(address, size)

    def words(self, address, count):
        data = self.read(address, count * self.word)
        return [word for word, in struct.iter_unpack(self.word_format, data)]

    def walk(self, head, what):
        """The addresses of the entries of a list, also of one that never ends"""
        seen = set()
        at = self.words(head, 1)[0]
        while at != head:
            if at in seen or not at:
                raise Wrong(f"{what}: the list at {head:#x} does not lead back to its head")
            seen.add(at)
            yield at
            at = self.words(at, 1)[0]

    # Locations

    def encode(self, address, slot):
        return ((address - self.page_offset) // self.align << self.slot_bits | slot) + 1

    def decode(self, location):
        """Descriptor, slot and generation"""
        place = (location & self.place_mask) - 1
        if place < 0:
            raise Wrong("0 is no handle")
        slot = place & (1 << self.slot_bits) - 1
        address = (place >> self.slot_bits) * self.align + self.page_offset
        return address & (1 << 8 * self.word) - 1, slot, \
            location // (self.place_mask + 1)

    # Pages

    def pfn(self, page):
        """The page frame number of the struct page at address page"""
        if self.word == 8 and (page - self.pages0) % self.page_struct == 0:
            return (page - self.pages0) // self.page_struct
        return mm.page_to_pfn(drgn.Object(self.prog, "struct page *", page)).value_()

    def read_page(self, page, offset, size):
        pfn = self.pfn(page)
        if self.word == 8:
            return self.read(self.linear + pfn * self.page_size + offset, size)
        return self.prog.read(pfn * self.page_size + offset, size, True)

    def page(self, address):
        return drgn.Object(self.prog, "struct page *", address)

    def scan(self):
        """All pages of zsmalloc, as (pfn, address of the zspage)"""
        at_type = drgn.offsetof(self.page_type, "page_type")
        at_zspage = drgn.offsetof(self.page_type, "private")
        top = at_type + 3 if self.order == "little" else at_type
        chunk = 1 << 14
        for start, end, mem_map in mm.for_each_valid_page_range(self.prog):
            base = mem_map.value_()
            for first in range(start, end, chunk):
                count = min(chunk, end - first)
                data = self.read(base + first * self.page_struct,
                                 count * self.page_struct)
                for i, kind in enumerate(data[top::self.page_struct]):
                    if kind == self.zsmalloc_type:
                        at = i * self.page_struct + at_zspage
                        yield first + i, struct.unpack_from(
                            self.word_format, data, at)[0] & ~STALE

    # Pools

    def pool(self, address):
        if address not in self.known_pools:
            self.known_pools[address] = Pool(self, address)
        return self.known_pools[address]

    def zram_devices(self):
        try:
            devices = self.prog["zram_index_idr"].address_of_()
        except LookupError:
            return
        for number_, entry in idr.idr_for_each(devices):
            yield number_, drgn.Object(self.prog, "struct zram *", entry)

    def zswap_pools(self):
        try:
            head = self.prog["zswap_pools"].address_of_()
        except LookupError:
            return
        yield from lists.list_for_each_entry("struct zswap_pool", head, "list")

    def find_pools(self, scan=False):
        """All pools, with their users"""
        pools = {}
        for number_, zram in self.zram_devices():
            if zram.mem_pool:
                pools[zram.mem_pool.value_()] = f"zram{number_}"
        for zswap in self.zswap_pools():
            if zswap.zs_pool:
                name = zswap.tfm_name.string_().decode(errors="replace")
                pools[zswap.zs_pool.value_()] = f"zswap, {name}"
        if scan:
            for zspage in sorted({zspage for _, zspage in self.scan() if zspage}):
                try:
                    pool = Zspage(self, zspage).klass.pool.address
                except (Wrong, drgn.FaultError):
                    continue
                pools.setdefault(pool, "its pages")
        return [(self.pool(address), user) for address, user in pools.items()]

    def named_pools(self, name, scan=False):
        """The pools with a name, or at an address; all if there is no name"""
        if name and name.startswith("0x"):
            return [self.pool(number(name))]
        found = [pool for pool, _ in self.find_pools(scan)
                 if not name or pool.name == name]
        if not found and name:
            raise Wrong(f"no pool '{name}' was found{'' if scan else '; try --scan'}")
        return found


class Pool:
    def __init__(self, kernel, address):
        self.kernel = kernel
        self.address = address
        self.pool = drgn.Object(kernel.prog, "struct zs_pool", address=address)
        try:
            self.name = self.pool.name.string_().decode(errors="replace")
            sets = kernel.words(self.pool.sets.address_,
                                kernel.nr_nodes << kernel.set_shift)
        except drgn.FaultError:
            raise Wrong(f"{address:#x} is not a pool: there is no memory") from None
        self.sets = {index: at for index, at in enumerate(sets) if at}
        self.known_classes = {}

    def number(self, field):
        return self.pool.member_(field).counter.value_()

    def classes(self):
        """From class set to class set, those of a node together, by the size of slots"""
        for base in self.sets.values():
            for i in range(self.kernel.nr_classes):
                yield self.klass(base + i * self.kernel.class_size)

    def nodes(self):
        """The nodes that have class sets; with the number of sets if it is not 1"""
        shift = self.kernel.set_shift
        sets = [index >> shift for index in self.sets]
        return [f"{nid}" + (f"x{sets.count(nid)}" if sets.count(nid) > 1 else "")
                for nid in sorted(set(sets))]

    def klass(self, address):
        if address not in self.known_classes:
            self.known_classes[address] = Class(self, address)
        return self.known_classes[address]

    def set_of(self, address):
        """The number of the set, within its node, that has a class at @address, or None"""
        size = self.kernel.class_size
        for index, base in self.sets.items():
            if (address - base) % size == 0 and \
               0 <= (address - base) // size < self.kernel.nr_classes:
                return index & (1 << self.kernel.set_shift) - 1
        return None

    def owns_class(self, address):
        return self.set_of(address) is not None


class Class:
    def __init__(self, pool, address):
        self.kernel = pool.kernel
        self.pool = pool
        self.address = address
        self.object = drgn.Object(pool.kernel.prog, "struct size_class", address=address)
        self.read()

    def read(self):
        now = self.object.read_()
        geo = now.geo
        self.size, self.pages, self.slots = (
            geo.member_(name).value_() for name in ("size", "pages", "slots"))
        if not (0 < self.size <= self.kernel.page_size and 0 < self.pages <= 64 and
                0 < self.slots <= 1 << self.kernel.slot_bits):
            raise Wrong(f"the class at {self.address:#x} has no valid geometry")
        self.nid = now.nid.value_()
        for name in ("inuse", "groups", "nr_live", "nr_pages", "nr_forwarders",
                     "link_bytes", "forwarded", "guest_blocks", "nr_stale",
                     "nr_isolated"):
            setattr(self, name, now.member_(name).value_())
        # self.slots is that of the geometry
        self.usable_slots = now.slots.value_()
        self.nr = now.nr.value_()
        self.descriptor_size = now.cache.object_size.value_()
        # The number of the class in debugfs, as zs_size_step() has it
        least = max(32, self.kernel.page_size >> self.kernel.slot_bits)
        self.number = -(-max(self.size - least, 0) // 16)

    def __str__(self):
        return f"class {self.number} of {self.size} bytes, node {self.nid}"

    def locked(self):
        try:
            return self.object.lock.rlock.raw_lock.val.counter.value_() != 0
        except (AttributeError, LookupError):
            return False        # !SMP, PREEMPT_RT, or another kind of lock

    def group(self, fullness):
        """The zspages of a fullness group"""
        head = self.object.zspages[fullness].address_
        for at in self.kernel.walk(head, str(self)):
            yield Zspage(self.kernel, at - self.kernel.at_list)

    def live(self):
        for fullness in range(self.kernel.nr_groups):
            yield from self.group(fullness)

    def forwarders(self):
        for at in self.kernel.walk(self.object.forwarders.address_, str(self)):
            yield Zspage(self.kernel, at - self.kernel.at_list)

    def fullness(self, inuse):
        """As zs_fullness()"""
        if not inuse:
            return 0
        return self.kernel.full if inuse == self.slots else \
            1 + inuse * self.kernel.most // self.slots


class Zspage:
    """A descriptor, and what can be read of it without looking at other zspages"""

    def __init__(self, kernel, address):
        self.kernel = kernel
        self.address = address
        if address % kernel.align:
            raise Wrong(f"{address:#x} is not a zspage: "
                        f"not aligned to {kernel.align} bytes")
        try:
            now = drgn.Object(kernel.prog, "struct zspage", address=address).read_()
            klass = now.member_("class").value_()
        except drgn.FaultError:
            raise Wrong(f"{address:#x} is not a zspage: there is no memory") from None
        if kernel.magic and now.magic.value_() != MAGIC:
            raise Wrong(f"{address:#x} is not a zspage: "
                        f"its magic number is {now.magic.value_():#x}")
        try:
            pool = drgn.Object(kernel.prog, "struct size_class", address=klass).pool.value_()
            self.klass = kernel.pool(pool).klass(klass) \
                if kernel.pool(pool).owns_class(klass) else None
        except (drgn.FaultError, Wrong):
            self.klass = None
        state = now.state.value_()
        if not self.klass or state >= len(kernel.states):
            raise Wrong(f"{address:#x} is not a zspage: {klass:#x} is no class of a pool")

        self.state = kernel.states[state]
        for name in ("early", "nr_pages", "fullness", "isolated", "inuse", "hint", "nr_guests",
                     "nr_links", "nr_stale", "nr_draining"):
            setattr(self, name, now.member_(name).value_())
        self.was_host = bool(now.was_host.value_())
        self.pins = now.pins.counter.value_()
        self.moves = now.moves.seqcount.sequence.value_()
        self.first_stale = now.stale.value_()
        self.first_guests = now.guests.value_()     # and far_links
        geo = self.klass
        nr_words = -(-geo.slots // (8 * kernel.word))
        words = kernel.words(address + kernel.at_pages, geo.pages + nr_words)
        self.near_links = words[:geo.pages]
        self.pages = words[:self.nr_pages]          # if it is no forwarder
        self.bitmap = 0
        for i, word in enumerate(words[geo.pages:]):
            self.bitmap |= word << i * 8 * kernel.word
        self.bitmap &= (1 << geo.slots) - 1
        self.generations = None
        if kernel.generations > 1:
            self.generations = kernel.read(
                address + kernel.at_pages + len(words) * kernel.word, geo.slots)

    def __str__(self):
        return f"zspage {self.address:#x}"

    @property
    def forwarder(self):
        return self.state == "forwarder"

    def slots(self):
        """As zspage_slots()"""
        geo = self.klass
        return geo.slots if self.nr_pages == geo.pages else \
            self.nr_pages * self.kernel.page_size // geo.size

    def frozen(self):
        return bool(self.pins & 1 << 30)

    def in_round(self):
        return self.pins < 0 and not self.frozen()

    def nr_pins(self):
        return self.pins & (1 << 29) - 1

    def has(self, slot):
        return slot < self.klass.slots and self.bitmap >> slot & 1

    def handle(self, slot):
        """The handle of the native in a slot, or of the object that was there"""
        handle = self.kernel.encode(self.address, slot)
        if self.generations:
            handle |= self.generations[slot] * (self.kernel.place_mask + 1)
        return handle

    def links(self):
        """(slot, link) of all objects that a forwarder was made or last trimmed with"""
        slots = list(bits(self.bitmap))
        near = self.near_links[:len(slots)]
        far = []
        if len(slots) > len(near):
            far = self.kernel.words(self.first_guests, len(slots) - len(near))
        return list(zip(slots, near + far))

    def link(self, slot):
        rank = (self.bitmap & (1 << slot) - 1).bit_count()
        if rank < len(self.near_links):
            return self.near_links[rank]
        at = self.first_guests + (rank - len(self.near_links)) * self.kernel.word
        return self.kernel.words(at, 1)[0]

    def owners(self):
        """The handles of the guests, in no particular order"""
        if self.forwarder or not self.nr_guests:
            return []
        block_type = self.kernel.prog.type("struct zs_guest_block")
        owners, at = [], self.first_guests
        here = (self.nr_guests - 1) % 3 + 1         # only the first block is not full
        while at and len(owners) < self.nr_guests:
            block = drgn.Object(self.kernel.prog, block_type, address=at).read_()
            owners += block.owner.value_()[:here]
            at, here = block.next.value_(), 3
        if at or len(owners) != self.nr_guests:
            raise Wrong(f"{self}: its guest blocks have {len(owners)} guests"
                        f"{' or more' if at else ''}, nr_guests is {self.nr_guests}")
        return owners

    def stale(self):
        """The pages that were replaced, the newest first"""
        pages, at = [], self.first_stale
        for _ in range(self.nr_stale):
            if not at:
                break
            pages.append(at)
            page = drgn.Object(self.kernel.prog, "struct zpdesc", address=at)
            # The oldest one has the notes of the round in this place.
            at = page.next.value_() if len(pages) < self.nr_stale else 0
        return pages

    def late(self):
        """The address of the notes of late pins, or 0"""
        pages = self.stale()
        if not pages:
            return 0
        return drgn.Object(self.kernel.prog, "struct zpdesc",
                           address=pages[-1]).late.value_()

    def parts(self, slot, length=None):
        """The pieces of a slot: (page index, offset, length) once or twice"""
        at, left = slot * self.klass.size, length or self.klass.size
        while left:
            offset = at % self.kernel.page_size
            here = min(left, self.kernel.page_size - offset)
            yield at // self.kernel.page_size, offset, here
            at, left = at + here, left - here

    def read(self, slot, length=None):
        return b"".join(
            self.kernel.read_page(self.pages[index], offset, here)
            for index, offset, here in self.parts(slot, length))


class Place:
    """Where an object is"""

    def __init__(self, kernel, handle):
        self.kernel = kernel
        self.handle = handle
        address, self.home_slot, generation = kernel.decode(handle)
        try:
            self.home = Zspage(kernel, address)
        except Wrong as wrong:
            raise Wrong(f"{handle:#x} is no handle: {wrong}") from None
        home, slot = self.home, self.home_slot
        if slot >= home.klass.slots:
            raise Wrong(f"{handle:#x} is no handle: "
                        f"{home} has {home.klass.slots} slots, not slot {slot}")
        if not home.has(slot):
            raise Wrong(f"{handle:#x}: {NO_BITS.format(slot)}")
        if home.generations and home.generations[slot] != generation:
            raise Wrong(f"{handle:#x}: its generation is {generation}, the slot's is "
                        f"{home.generations[slot]}, so the object was freed")
        self.link = None
        self.host, self.slot = home, slot
        if home.state == "dead":
            raise Wrong(f"{handle:#x}: {home} is dead, so the object was freed")
        if home.forwarder:
            self.link = home.link(slot)
            if not self.link:
                raise Wrong(f"{handle:#x}: its link is 0, so the object was freed")
            address, self.slot, _ = kernel.decode(self.link)
            self.host = Zspage(kernel, address)
            if self.host.forwarder or not self.host.has(self.slot):
                raise Wrong(f"{handle:#x}: its link {self.link:#x} leads to a "
                            "slot that is not in use")

    def same(self, other):
        return (self.host.address, self.slot, self.host.pages, self.host.moves) == \
            (other.host.address, other.slot, other.host.pages, other.host.moves)

    def pool(self):
        return self.home.klass.pool

    def kind(self, length=None):
        parts = list(self.host.parts(self.slot, length))
        return ("native" if self.link is None else "forwarded") + \
            (", straddles" if len(parts) > 1 else "")


def read_object(kernel, handle, length):
    """The bytes of an object.  In a running kernel it may be moved meanwhile."""
    for _ in range(16):
        place = Place(kernel, handle)
        if length > place.host.klass.size:
            raise Wrong(f"{handle:#x}: {length} bytes are not in a slot of "
                        f"{place.host.klass.size}")
        data = place.host.read(place.slot, length)
        if not kernel.live or place.same(Place(kernel, handle)):
            return data, place
    raise Wrong(f"{handle:#x}: the object is moved all the time; try again")


# zram and zswap

class Stored:
    """A page that zram or zswap has stored"""

    def __init__(self, name):
        self.name = name
        self.handle = 0
        self.length = 0
        self.how = "empty"      # or same, huge, the algorithm, on disk
        self.note = ""
        self.data = None        # compressed
        self.place = None
        self.dictionary = b""

    def fetch(self, kernel):
        if self.handle and self.length:
            self.data, self.place = read_object(kernel, self.handle, self.length)

    def page(self, kernel):
        if self.how == "same":
            return struct.pack(kernel.word_format, self.handle) * \
                (kernel.page_size // kernel.word)
        if self.how == "empty":
            return bytes(kernel.page_size)
        if self.how == "disk":
            raise Wrong(f"{self.name} is not in memory: {self.note}")
        if self.data is None:
            self.fetch(kernel)
        if self.how == "huge":
            return self.data
        return unpack(self.how, self.data, kernel.page_size, self.dictionary)


class Zram:
    def __init__(self, kernel, name):
        self.kernel = kernel
        try:
            wanted = int(name.removeprefix("/dev/").removeprefix("zram"))
        except ValueError:
            raise Wrong(f"'{name}' is not a zram device, such as zram0") from None
        devices = dict(kernel.zram_devices())
        if wanted not in devices:
            have = ", ".join(f"zram{n}" for n in devices) or "none"
            raise Wrong(f"there is no zram{wanted}; the zram devices are: {have}")
        self.name = f"zram{wanted}"
        self.zram = devices[wanted].read_()
        if not self.zram.mem_pool or not self.zram.table:
            raise Wrong(f"{self.name} is not set up: it has no disksize")
        self.pages = self.zram.disksize.value_() // kernel.page_size
        prog = kernel.prog
        self.shift, self.writeback, self.huge, self.priority = (
            int(prog[flag]) for flag in
            ("ZRAM_SAME", "ZRAM_WB", "ZRAM_HUGE", "ZRAM_COMP_PRIORITY_BIT1"))
        self.algorithms = {}

    def algorithm(self, priority):
        if priority not in self.algorithms:
            comp = self.zram.comps[priority]
            if not comp:
                raise Wrong(f"{self.name} has no compressor of priority {priority}")
            params = self.zram.params[priority]
            size = params.dict_sz.value_()
            dictionary = self.kernel.read(params.dict.value_(), size) if size else b""
            self.algorithms[priority] = \
                comp.ops.name.string_().decode(errors="replace"), dictionary
        return self.algorithms[priority]

    def stored(self, index):
        if index >= self.pages:
            raise Wrong(f"{self.name} has {self.pages} pages: there is no page {index}")
        entry = self.zram.table[index].read_()
        flags = entry.attr.flags.value_()
        stored = Stored(f"{self.name} page {index}")
        stored.handle = entry.handle.value_()
        stored.length = flags & (1 << self.shift) - 1
        if flags >> self.writeback & 1:
            stored.how = "disk"
            stored.note = f"block {stored.handle} of the backing device"
        elif flags >> self.shift & 1:
            stored.how = "same"
            stored.note = f"the word {stored.handle:#x} all over"
            stored.length = 0
        elif stored.handle and stored.length:
            stored.how, stored.dictionary = self.algorithm(flags >> self.priority & 3)
            if flags >> self.huge & 1 or stored.length == self.kernel.page_size:
                stored.how = "huge"
        return stored

    def handles(self):
        """(handle, index) of all pages that are in the pool"""
        entry = self.kernel.prog.type("struct zram_table_entry")
        size, chunk = drgn.sizeof(entry), 1 << 12
        at_flags = drgn.offsetof(entry, "attr") + \
            drgn.offsetof(self.kernel.prog.type("struct attr"), "flags")
        flags_format = self.kernel.word_format[0] + "I"
        base = self.zram.table.value_()
        elsewhere = 1 << self.shift | 1 << self.writeback
        for first in range(0, self.pages, chunk):
            count = min(chunk, self.pages - first)
            data = self.kernel.read(base + first * size, count * size)
            for i in range(count):
                handle, = struct.unpack_from(self.kernel.word_format, data, i * size)
                flags, = struct.unpack_from(flags_format, data, i * size + at_flags)
                if handle and not flags & elsewhere:
                    yield handle, first + i


class Zswap:
    def __init__(self, kernel):
        self.kernel = kernel
        try:
            self.trees = kernel.prog["zswap_trees"]
            self.nr_trees = kernel.prog["nr_zswap_trees"]
        except LookupError:
            raise Wrong("this kernel has no zswap") from None
        # swp_entry() of include/linux/swapops.h
        self.type_shift = 8 * kernel.word - 1 - 5

    def tree(self, kind, i):
        return self.trees[kind] + i

    def stored(self, kind, offset):
        if kind >= self.trees.type_.length or not self.trees[kind]:
            raise Wrong(f"there is no swap device of type {kind}")
        i = offset >> 14        # ZSWAP_ADDRESS_SPACE_SHIFT
        if i >= self.nr_trees[kind].value_():
            raise Wrong(f"the swap device of type {kind} has no page {offset}")
        entry = xarray.xa_load(self.tree(kind, i), offset)
        if not entry:
            raise Wrong(f"zswap does not have page {offset} of the swap device of type {kind}")
        return self.entry(entry)

    def entry(self, pointer):
        entry = drgn.Object(self.kernel.prog, "struct zswap_entry *", pointer).read_()[0]
        value = entry.swpentry.val.value_()
        kind = value >> self.type_shift
        offset = value & (1 << self.type_shift) - 1
        stored = Stored(f"zswap page {kind} {offset}")
        stored.handle = entry.handle.value_()
        stored.length = entry.length.value_()
        stored.how = entry.pool.tfm_name.string_().decode(errors="replace")
        if stored.length == self.kernel.page_size:
            stored.how = "huge"
        return stored

    def all(self):
        for kind in range(self.trees.type_.length):
            if not self.trees[kind]:
                continue
            for i in range(self.nr_trees[kind].value_()):
                for _, entry in xarray.xa_for_each(self.tree(kind, i)):
                    yield self.entry(entry)


def find_users(kernel):
    """What zram and zswap have stored, by handle"""
    users = {}
    for number_, zram in kernel.zram_devices():
        if zram.mem_pool and zram.table:
            for handle, index in Zram(kernel, str(number_)).handles():
                users[handle] = f"zram{number_} page {index}"
    try:
        for stored in Zswap(kernel).all():
            users[stored.handle] = stored.name
    except Wrong:
        pass    # no zswap
    return users


# The equations

class Check:
    """The equations of struct zspage, struct size_class and struct zs_pool"""

    def __init__(self, pool):
        self.pool = pool
        self.kernel = pool.kernel
        self.wrong = []
        self.notes = []
        self.nr = 0
        self.zspages = self.nr_forwarders = 0

    def equal(self, where, left, have, right, want):
        self.nr += 1
        if have != want:
            self.wrong.append(f"{where}: {left} is {have}, but {right} is {want}")

    def holds(self, where, text, condition):
        self.nr += 1
        if not condition:
            self.wrong.append(f"{where}: not so: {text}")

    def run(self):
        pages = 0
        for klass in self.pool.classes():
            before = len(self.wrong)
            try:
                pages += self.check_class(klass)
            except (Wrong, drgn.FaultError) as error:
                self.wrong.append(f"{klass}: {describe(error)}")
            if len(self.wrong) > before and klass.locked():
                self.notes.append(f"{klass}: its lock was held, so its equations "
                                  "need not hold")
        self.check_pool(pages)

    def check_class(self, klass):
        klass.read()
        inuse = guests = blocks = slots = pages = stale = isolated = live = 0
        linked = {}     # by the host's location, the handles that forwarders link there
        hosted = {}
        for group in range(self.kernel.nr_groups):
            count = 0
            for zspage in klass.group(group):
                self.check_zspage(zspage, klass, group)
                for owner in zspage.owners():
                    hosted[owner] = zspage.address
                count += 1
                inuse += zspage.inuse
                slots += zspage.inuse if group == self.kernel.bad else zspage.slots()
                pages += zspage.nr_pages
                stale += zspage.nr_stale
                isolated += zspage.isolated
                guests += zspage.nr_guests
                blocks += -(-zspage.nr_guests // 3)
            self.equal(klass, f"nr[{group}]", klass.nr[group], "that list", count)
            self.equal(klass, f"bit {group} of groups", klass.groups >> group & 1,
                       "whether that list has zspages", int(count > 0))
            live += count
        self.equal(klass, "nr_live", klass.nr_live, "the zspages on its lists", live)
        self.equal(klass, "inuse", klass.inuse, "the sum of its zspages", inuse)
        self.equal(klass, "slots", klass.usable_slots, "the sum of its zspages", slots)
        self.equal(klass, "nr_pages", klass.nr_pages, "the sum of its zspages", pages)
        self.holds(klass, "at most one zspage is growing",
                   klass.nr[self.kernel.growing] <= 1)
        self.equal(klass, "nr_stale", klass.nr_stale, "the sum of its zspages", stale)
        self.equal(klass, "nr_isolated", klass.nr_isolated, "the sum of its zspages",
                   isolated)
        self.equal(klass, "forwarded", klass.forwarded, "the guests of its zspages", guests)
        self.equal(klass, "guest_blocks", klass.guest_blocks, "the blocks of them", blocks)

        forwarders = links = far = 0
        for home in klass.forwarders():
            self.check_forwarder(home, klass)
            made_with = home.links()
            for slot, link in made_with:
                if link:
                    linked[home.handle(slot)] = link
            forwarders += 1
            links += home.nr_links
            more = max(len(made_with) - klass.pages, 0) * self.kernel.word
            if more:        # with room for an rcu_head
                far += kmalloc_size(max(more, 2 * self.kernel.word))
        self.equal(klass, "nr_forwarders", klass.nr_forwarders,
                   "the list of forwarders", forwarders)
        self.equal(klass, "forwarded", klass.forwarded, "the links of its forwarders", links)
        self.equal(klass, "link_bytes", klass.link_bytes, "the far links of them", far)
        self.check_links(klass, linked, hosted)
        self.zspages += live
        self.nr_forwarders += forwarders
        return pages

    def check_links(self, klass, linked, hosted):
        """Each link leads to a host that has a record of the handle, and back."""
        slots = set()
        for handle, link in linked.items():
            address, slot, _ = self.kernel.decode(link)
            self.equal(klass, f"the host of {handle:#x}", hex(address),
                       "the zspage with its record", hex(hosted.get(handle, 0)))
            host = Zspage(self.kernel, address)
            self.holds(host, f"slot {slot}, to which a link leads, is in use",
                       not host.forwarder and host.has(slot))
            self.holds(host, f"one link leads to slot {slot}",
                       (address, slot) not in slots)
            slots.add((address, slot))
        for handle, address in hosted.items():
            self.holds(f"zspage {address:#x}", f"a link leads to its guest {handle:#x}",
                       handle in linked)

    def check_zspage(self, zspage, klass, group):
        inuse = zspage.bitmap.bit_count()
        self.equal(zspage, "its class", hex(zspage.klass.address), "the class of its list",
                   hex(klass.address))
        self.equal(zspage, "state", zspage.state, "that of a zspage on its list", "live")
        self.equal(zspage, "inuse", zspage.inuse, "the weight of the bitmap", inuse)
        self.equal(zspage, "fullness", zspage.fullness, "its list", group)
        if group != self.kernel.bad:
            self.equal(zspage, "fullness", zspage.fullness, "that of its slots and pages",
                       klass.fullness(inuse) if zspage.nr_pages == klass.pages
                       else self.kernel.growing)
        self.holds(zspage, "nr_pages is that of its class at most",
                   0 < zspage.nr_pages <= klass.pages)
        self.holds(zspage, "slots in use are in its pages",
                   zspage.bitmap.bit_length() <= zspage.slots())
        self.holds(zspage, "nr_guests is at most inuse", zspage.nr_guests <= inuse)
        self.holds(zspage, "isolated is at most the number of pages",
                   zspage.isolated <= zspage.nr_pages)
        first_free = (~zspage.bitmap & zspage.bitmap + 1).bit_length() - 1
        self.holds(zspage, "all slots below hint are in use",
                   zspage.hint <= min(first_free, klass.slots))
        self.holds(zspage, "moves is even", zspage.moves % 2 == 0)
        in_round = zspage.in_round()
        for name in ("nr_stale", "nr_draining", "early"):
            self.equal(zspage, f"{name} > 0", getattr(zspage, name) > 0,
                       "whether pins says that there is a round", in_round)
        self.holds(zspage, "nr_draining is at most nr_stale",
                   zspage.nr_draining <= zspage.nr_stale)
        self.holds(zspage, "it is not frozen", not zspage.frozen())
        self.equal(zspage, "nr_stale", zspage.nr_stale, "the list of stale pages",
                   len(zspage.stale()))
        for page in zspage.pages:
            self.check_page(zspage, page, 0)
        for page in zspage.stale():
            self.check_page(zspage, page, STALE)

    def check_page(self, zspage, address, stale):
        page = drgn.Object(self.kernel.prog, "struct page", address=address).read_()
        where = f"page frame {self.kernel.pfn(address):#x}"
        self.equal(where, "its type", page.page_type.value_() >> 24 & 0xFF,
                   "that of zsmalloc", self.kernel.zsmalloc_type)
        self.equal(where, "its zspage", hex(page.private.value_()), "the owner of the page",
                   hex(zspage.address | stale))
        self.holds(where, "it has a reference", page._refcount.counter.value_() > 0)

    def check_forwarder(self, home, klass):
        self.equal(home, "its class", hex(home.klass.address), "the class of its list",
                   hex(klass.address))
        self.equal(home, "state", home.state, "that of its list", "forwarder")
        links = sum(1 for _, link in home.links() if link)
        self.holds(home, "it has links", links)
        self.equal(home, "nr_links", home.nr_links, "its links that are not 0", links)
        self.equal(home, "inuse", home.inuse, "that of a forwarder", 0)
        self.holds(home, "it is frozen", home.pins < 0 and home.frozen())

    def check_pool(self, pages):
        pool = self.pool
        have, refs = pool.number("pages"), pool.number("refs")
        added = sum(klass.nr_forwarders * klass.descriptor_size + klass.link_bytes +
                    klass.guest_blocks *
                    drgn.sizeof(self.kernel.prog.type("struct zs_guest_block"))
                    for klass in pool.classes())
        self.equal("the pool", "added", pool.number("added"), "the sum of its classes", added)
        more_pages = have - pages
        more_refs = refs - 1 - self.zspages - self.nr_forwarders
        self.holds("the pool", f"it has the {pages} pages of its zspages, "
                   f"pages is {have}", more_pages >= 0)
        # Its user's reference is dropped when it is destroyed.
        self.holds("the pool", f"{self.zspages} zspages and {self.nr_forwarders} forwarders "
                   f"have references, refs is {refs}", more_refs >= -1)
        if more_pages > 0 or more_refs > 0:
            self.notes.append(f"{more_refs} zspages with {more_pages} pages are on no list: "
                              "they are new, or about to be freed")
        if more_refs == -1:
            self.notes.append("its user has destroyed the pool, but not freed its objects")


def kmalloc_size(size):
    """kmalloc_size_roundup(), of small sizes"""
    if not size or size > 8192:
        return size
    for odd in (96, 192):
        if odd * 2 // 3 < size <= odd:
            return odd
    return max(8, 1 << (size - 1).bit_length())


# The commands

def describe(error):
    if isinstance(error, drgn.FaultError):
        return f"address {error.address:#x} is not in the dump or not readable"
    text = " ".join(str(error).split())
    if isinstance(error, LookupError):
        text = text.strip("'\"")
    return text or type(error).__name__


def print_table(rows, right=()):
    """Columns, those with a number in right adjusted to the right"""
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:>{width}}" if i in right else f"{cell:{width}}"
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def cmd_pools(kernel, args):
    rows = [("pool", "name", "found by", "nodes", "pages", "objects", "forwarded")]
    for pool, user in kernel.find_pools(args.scan):
        classes = list(pool.classes())
        rows.append([f"{pool.address:#x}", pool.name, user,
                     ",".join(pool.nodes()),
                     str(pool.number("pages")),
                     str(sum(klass.inuse for klass in classes)),
                     str(sum(klass.forwarded for klass in classes))])
    if len(rows) == 1:
        raise Wrong("no pools were found")
    print_table(rows, right=(4, 5, 6))


def cmd_classes(kernel, args):
    for pool in kernel.named_pools(args.pool, args.scan):
        print(f"pool {pool.name} at {pool.address:#x}; "
              "zspages by the share of their slots that is in use")
        rows = [["node", "set", "class", "size", "pages/slots", *GROUPS[1:], "objects", "pages",
                 "forwarders", "forwarded"]]
        for klass in pool.classes():
            if not args.all and not klass.nr_live and not klass.nr_forwarders:
                continue
            rows.append([str(cell) for cell in (
                klass.nid, pool.set_of(klass.address), klass.number, klass.size,
                f"{klass.pages}/{klass.slots}",
                *(nr or "." for nr in klass.nr[1:]), klass.inuse,
                klass.nr_pages, klass.nr_forwarders, klass.forwarded)])
        print_table(rows, right=range(len(rows[0])))


def page_words(kernel, address):
    """What is worth knowing of a page, in words"""
    page = kernel.page(address)
    words = [f"page frame {kernel.pfn(address):#x}",
             count(page._refcount.counter.value_(), "reference")]
    if mm.PageLocked(page):
        words.append("locked")
    flags = mm.page_flags(page).value_()
    for flag, text in (("PG_movable_ops_isolated", "isolated"), ("PG_hwpoison", "bad")):
        try:
            if flags >> int(kernel.prog[flag]) & 1:
                words.append(text)
        except LookupError:
            pass
    return ", ".join(words)


def guests_by_slot(kernel, zspage):
    """The owners of the guests, by the slots to which their links lead"""
    guests = {}
    for owner in zspage.owners():
        address, slot, _ = kernel.decode(owner)
        try:
            guests[kernel.decode(Zspage(kernel, address).link(slot))[1]] = owner
        except (Wrong, drgn.FaultError):
            raise Wrong(f"{zspage}: its record of the guest {owner:#x} is wrong") from None
    return guests


def print_slots(kernel, zspage, users, index=None):
    """The slots in use of a zspage, or those of them that have bytes in one page"""
    guests = guests_by_slot(kernel, zspage)
    rows = []
    for slot in bits(zspage.bitmap):
        parts = list(zspage.parts(slot))
        if index is not None and index not in [part[0] for part in parts]:
            continue
        where = " + ".join(f"page {i} at {offset:#05x}" for i, offset, _ in parts)
        handle = guests.get(slot) or zspage.handle(slot)
        kind = "guest" if slot in guests else "native"
        rows.append([f"  slot {slot}", where, kind, f"handle {handle:#x}",
                     users.get(handle, "no user found") if users is not None else ""])
    if rows:
        print_table(rows)


def print_zspage(kernel, zspage):
    klass = zspage.klass
    print(f"{zspage} of pool {klass.pool.name}, {klass}")
    print(f"  {zspage.state}, {'had ' if zspage.forwarder else ''}"
          f"{count(zspage.nr_pages, 'page')}, {count(klass.slots if zspage.forwarder else zspage.slots(), 'slot')}, "
          f"{count(zspage.moves // 2, 'page move')}" +
          (", guests were moved out of it" if zspage.was_host else ""))
    if zspage.frozen():
        pins = "frozen"
    elif zspage.in_round():
        pins = f"{count(zspage.nr_pins(), 'pin')}, in a round that waits for {zspage.early} of them"
    else:
        pins = count(zspage.nr_pins(), "pin")
    print(f"  pins {zspage.pins & 0xFFFFFFFF:#x}: {pins}")


def cmd_zspage(kernel, args):
    zspage = Zspage(kernel, number(args.address))
    users = find_users(kernel) if args.users else None
    print_zspage(kernel, zspage)
    if zspage.forwarder:
        print(f"  {count(zspage.nr_links, 'link')} of {zspage.bitmap.bit_count()} are left")
        rows = []
        for slot, link in zspage.links():
            row = [f"  slot {slot}", f"handle {zspage.handle(slot):#x}",
                   "freed", "", ""]
            if link:
                host, there, _ = kernel.decode(link)
                row[2:4] = f"link {link:#x}", f"zspage {host:#x} slot {there}"
                if users is not None:
                    row[4] = users.get(zspage.handle(slot), "no user found")
            rows.append(row)
        print_table(rows)
        return
    group = GROUPS[zspage.fullness] if zspage.fullness < len(GROUPS) else zspage.fullness
    print(f"  group {group}: {count(zspage.inuse, 'slot')} in use, "
          f"{count(zspage.inuse - zspage.nr_guests, 'native')} and "
          f"{count(zspage.nr_guests, 'guest')}; {count(zspage.isolated, 'page')} isolated")
    if zspage.state == "dead" and zspage.frozen():
        return      # its pages were freed
    for i, page in enumerate(zspage.pages):
        print(f"  page {i}: {page_words(kernel, page)}")
    for page in zspage.stale():
        print(f"  stale: {page_words(kernel, page)}")
    print_slots(kernel, zspage, users)


def print_place(kernel, place, length=None):
    klass = place.pool().name, place.host.klass
    print(f"handle {place.handle:#x}, pool {klass[0]}, {klass[1]}")
    print(f"  home: {place.home} slot {place.home_slot}, {place.home.state}")
    if place.link is not None:
        print(f"  link {place.link:#x}: {place.host} slot {place.slot}, {place.host.state}")
    for index, offset, here in place.host.parts(place.slot, length):
        pfn = kernel.pfn(place.host.pages[index])
        print(f"  {count(here, 'byte')} in page {index}, page frame {pfn:#x}, "
              f"at offset {offset:#x}: physical address {pfn * kernel.page_size + offset:#x}")


def cmd_handle(kernel, args):
    handle = number(args.handle)
    place = Place(kernel, handle)
    print_place(kernel, place)
    if args.bytes:
        data, place = read_object(kernel, handle, place.host.klass.size)
        hexdump(data)


def print_stored(kernel, stored, args):
    out = sys.stdout.buffer
    if args.raw or args.compressed:
        data = stored.page(kernel) if args.raw else (stored.fetch(kernel) or stored.data)
        if data is None:
            raise Wrong(f"{stored.name} is not in the pool: "
                        f"{stored.note or 'it is ' + stored.how}")
        if args.raw or not out.isatty():
            out.write(data)
        else:
            hexdump(data)
        return
    how = {"same": "not compressed", "huge": "incompressible", "empty": "empty",
           "disk": "not in memory"}.get(stored.how, stored.how)
    if args.list:
        if stored.how == "empty":
            return
        stored.fetch(kernel)
        print(f"{stored.name}: {stored.length} bytes, {how}, " + (
            f"handle {stored.handle:#x}, {stored.place.kind(stored.length)}"
            if stored.place else stored.note))
        return
    page = stored.page(kernel)
    print(f"{stored.name}: {stored.length} bytes, {how}" +
          (f": {stored.note}" if stored.note else ""))
    if stored.place:
        print_place(kernel, stored.place, stored.length)
    hexdump(page)


def cmd_zram(kernel, args):
    zram = Zram(kernel, args.device)
    first, last = span(args.index) if args.index else (0, zram.pages - 1)
    if not args.index:
        args.list = True
    for index in range(first, last + 1):
        stored = zram.stored(index)
        if stored.how == "empty" and not args.raw and not args.list:
            raise Wrong(f"{stored.name} is empty: nothing was written to it, or it was freed")
        print_stored(kernel, stored, args)


def cmd_zswap(kernel, args):
    zswap = Zswap(kernel)
    if args.type is None:
        args.list = True
        for stored in zswap.all():
            print_stored(kernel, stored, args)
        return
    if args.offset is None:
        raise Wrong("zswap takes the type and the offset of a swap entry, or neither")
    print_stored(kernel, zswap.stored(number(args.type), number(args.offset)), args)


def cmd_pfn(kernel, args):
    pfn = number(args.pfn)
    ranges = [(start, end) for start, end, _ in mm.for_each_valid_page_range(kernel.prog)]
    at = bisect.bisect_right(ranges, (pfn, 1 << 64)) - 1
    if at < 0 or not ranges[at][0] <= pfn < ranges[at][1]:
        raise Wrong(f"there is no page frame {pfn:#x}")
    page = mm.pfn_to_page(kernel.prog, pfn)
    if page.page_type.value_() >> 24 & 0xFF != kernel.zsmalloc_type:
        raise Wrong(f"page frame {pfn:#x} is not a page of zsmalloc")
    zspage = page.private.value_()
    if not zspage:
        raise Wrong(f"page frame {pfn:#x} was a page of zsmalloc, and is about to be freed")
    zspage = Zspage(kernel, zspage & ~STALE)
    users = find_users(kernel) if args.users else None
    print(page_words(kernel, page.value_()))
    print_zspage(kernel, zspage)
    if page.value_() in zspage.stale():
        print("  a stale page: it was replaced, and readers may still use it")
        return
    if zspage.forwarder or page.value_() not in zspage.pages:
        raise Wrong(f"{zspage} does not have page frame {pfn:#x} any more")
    index = zspage.pages.index(page.value_())
    print(f"  page {index} of the zspage has bytes of these slots:")
    print_slots(kernel, zspage, users, index)


def cmd_check(kernel, args):
    pools = kernel.named_pools(args.pool, args.scan)
    if not pools:
        raise Wrong("no pools were found")
    failed = 0
    pages = {}
    if args.scan:
        for _, zspage in kernel.scan():
            try:
                pool = Zspage(kernel, zspage).klass.pool.address
            except Wrong:
                pool = None
            pages[pool] = pages.get(pool, 0) + 1
        if None in pages:
            print(f"note: {pages.pop(None)} pages of zsmalloc have no zspage: "
                  "they are about to be freed")
    for pool in pools:
        check = Check(pool)
        check.run()
        if args.scan:
            check.equal("the pool", "the number of pages that name it",
                        pages.get(pool.address, 0), "pages, with stale ones",
                        pool.number("pages") + sum(k.nr_stale for k in pool.classes()))
        for line in check.wrong:
            print(f"pool {pool.name}: {line}")
        for line in check.notes:
            print(f"note: pool {pool.name}: {line}")
        print(f"pool {pool.name}: {check.zspages} zspages, {check.nr_forwarders} forwarders, "
              f"{check.nr} equations, " +
              (f"{len(check.wrong)} DO NOT HOLD" if check.wrong else "all hold"))
        failed += bool(check.wrong)
    return 1 if failed else 0


def cmd_memory(kernel, args):
    names = ("used", "pages", "stale", "descriptors", "forwarders", "links", "guests")
    rows = [["pool", *names, "late pins", "classes"]]
    for pool in kernel.named_pools(args.pool, args.scan):
        sums = dict.fromkeys(names, 0)
        late = 0
        for klass in pool.classes():
            sums["used"] += klass.inuse * klass.size
            sums["pages"] += klass.nr_pages * kernel.page_size
            sums["stale"] += klass.nr_stale * kernel.page_size
            sums["descriptors"] += klass.nr_live * klass.descriptor_size
            sums["forwarders"] += klass.nr_forwarders * klass.descriptor_size
            sums["links"] += klass.link_bytes
            sums["guests"] += klass.guest_blocks * \
                drgn.sizeof(kernel.prog.type("struct zs_guest_block"))
            if klass.nr_stale:
                late += sum(kmalloc_size(klass.slots) for zspage in klass.live()
                            if zspage.late())
        rows.append([pool.name, *(str(sums[name]) for name in names), str(late),
                     str(len(pool.sets) * kernel.nr_classes * kernel.class_size)])
    if len(rows) == 1:
        raise Wrong("no pools were found")
    print_table(rows, right=range(1, len(rows[0])))
    if args.explain:
        print("""
bytes of:
  used         the part of the pages that is in slots in use
  pages        pages of zspages
  stale        replaced pages that readers hold
  descriptors  descriptors of zspages that have pages
  forwarders   descriptors of forwarders
  links        links of forwarders that are not in their descriptors
  guests       guest blocks
  late pins    the counts of late pins in rounds
  classes      the size classes of all nodes""")


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Wrong(f"{message}; see --help")


def parse():
    def command(name, function, text, pool=None):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        if pool:
            sub.add_argument("pool", metavar="POOL", nargs=pool,
                             help="name or address of a pool")
        if pool or name == "pools":
            sub.add_argument("--scan", action="store_true",
                             help="also find pools by the pages of all memory")
        return sub

    def stored(sub):
        how = sub.add_mutually_exclusive_group()
        how.add_argument("-r", "--raw", action="store_true",
                         help="write the page itself to stdout")
        how.add_argument("--compressed", action="store_true",
                         help="print the compressed bytes")
        how.add_argument("-l", "--list", action="store_true", help="one line for each page")

    def users(sub):
        sub.add_argument("-u", "--users", action="store_true",
                         help="also find out which page of zram or zswap each handle is of")

    parser = Parser(prog="zsmalloc.py", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--core", metavar="DUMP", help="a dump (default: this kernel)")
    parser.add_argument("-s", "--symbols", metavar="VMLINUX", action="append",
                        help="the kernel with debug information, or a module with it")
    parser.add_argument("--architecture", metavar="ARCH", help="of the machine, such as "
                        "x86_64, if the dump does not have it, like kdump of QEMU")
    parser.add_argument("--page-offset", metavar="ADDRESS",
                        help="PAGE_OFFSET, where this cannot find it")
    parser.add_argument("--traceback", action="store_true",
                        help="of an error, for those who change this script")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True,
                                     parser_class=Parser)
    command("pools", cmd_pools, "list the pools")
    sub = command("classes", cmd_classes, "the fullness of the zspages of each class", "?")
    sub.add_argument("-a", "--all", action="store_true", help="also classes without zspages")
    sub = command("zspage", cmd_zspage, "one zspage: slots, pages, pins, guests, links")
    sub.add_argument("address", metavar="ADDRESS")
    users(sub)
    sub = command("handle", cmd_handle, "where the object of a handle is")
    sub.add_argument("handle", metavar="HANDLE")
    sub.add_argument("-b", "--bytes", action="store_true", help="also print its slot")
    sub = command("zram", cmd_zram, "print pages of a zram device")
    sub.add_argument("device", metavar="DEVICE", help="zram0")
    sub.add_argument("index", metavar="INDEX", nargs="?",
                     help="number of the page, or FIRST-LAST; without it, list all")
    stored(sub)
    sub = command("zswap", cmd_zswap, "print a page that is in zswap")
    sub.add_argument("type", metavar="TYPE", nargs="?",
                     help="number of the swap device; without it, list all")
    sub.add_argument("offset", metavar="OFFSET", nargs="?", help="page in the swap device")
    stored(sub)
    sub = command("pfn", cmd_pfn, "the zspage and the slots of a page frame")
    sub.add_argument("pfn", metavar="PFN")
    users(sub)
    command("check", cmd_check, "check the equations of pools", "?")
    sub = command("memory", cmd_memory, "bytes of memory by what they are for", "?")
    sub.add_argument("-e", "--explain", action="store_true", help="explain the columns")
    return parser.parse_args()


def open_program(args):
    """drgn's program if drgn runs this script, otherwise that of the options"""
    if "prog" in globals():
        if args.core or args.symbols:
            raise Wrong("pass -c and -s to drgn, before the name of this script")
        return globals()["prog"]
    # Its warnings, of missing debug information, would come in addition to our own error.
    logging.getLogger("drgn").setLevel(logging.CRITICAL)
    platform = None
    if args.architecture:
        name = args.architecture.upper()
        if name not in drgn.Architecture.__members__:
            raise Wrong(f"drgn does not know the architecture '{args.architecture}'")
        platform = drgn.Platform(drgn.Architecture[name])
    prog = drgn.Program(platform)
    what = args.core or "/proc/kcore"
    try:
        if args.core:
            prog.set_core_dump(args.core)
        else:
            prog.set_kernel()
    except Exception as error:
        raise Wrong(f"{what} cannot be read: {describe(error)}") from None
    for path in args.symbols or ():
        if not os.access(path, os.R_OK):
            raise Wrong(f"{path} cannot be read")
    try:
        prog.load_debug_info(args.symbols, default=not args.symbols)
    except drgn.MissingDebugInfoError:
        pass        # of modules; whether the types are known is looked at later
    except Exception as error:
        raise Wrong(f"the debug information cannot be read: {describe(error)}") from None
    return prog


def main():
    # argparse of Python 3.14 has colours, also for --help
    os.environ.setdefault("NO_COLOR", "1")
    traceback = "--traceback" in sys.argv
    try:
        args = parse()
        offset = number(args.page_offset) if args.page_offset else None
        kernel = Kernel(open_program(args), offset)
        status = args.function(kernel, args) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if traceback:
            raise
        sys.stdout.flush()
        known = isinstance(error, (Wrong, drgn.FaultError, OSError))
        print(f"zsmalloc.py: {'' if known else 'damaged data: '}{describe(error)}",
              file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
