#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
What make dump does outside of the guest, apart from the reader itself.

  dump.py pages FILE NR            write known pages
  dump.py qmp SOCKET COMMAND...    NAME [KEY=VALUE]...: a command of QEMU's monitor
  dump.py compare PAGES READ FIRST EVERY
                                   compare pages that were read with the known ones
  dump.py plain FILE               change the header of an ELF dump, for makedumpfile
  dump.py damage FROM TO PHYSICAL HEX
                                   copy a dump, with other bytes at a physical address
"""

import json
import random
import shutil
import socket
import struct
import sys

PAGE = 4096
# Random bytes of pages that can be compressed; the rest repeats.
SIZES = (60, 200, 480, 900, 1500, 2300, 3000)


def known_page(index):
    """Same-filled, zeros, incompressible, or with more or less random bytes"""
    rng = random.Random(index)
    kind = rng.randrange(10)
    if kind == 0:
        return struct.pack("<Q", rng.randrange(1, 1 << 64)) * (PAGE // 8)
    if kind == 1 and index % 8 == 0:
        return bytes(PAGE)
    if kind == 2:
        return rng.randbytes(PAGE)
    head = rng.randbytes(rng.choice(SIZES))
    words = b"known page %d, " % index
    # Runs of zeros, of various lengths, for lzo-rle
    while len(head) < PAGE:
        head += bytes(rng.randrange(200)) + words * rng.randrange(1, 8)
    return head[:PAGE]


def pages(path, count):
    with open(path, "wb") as file:
        for index in range(int(count)):
            file.write(known_page(index))


def qmp(path, name, *arguments):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(300)
    connection.connect(path)
    stream = connection.makefile("rw")
    stream.readline()   # the greeting

    def execute(command, **kwargs):
        stream.write(json.dumps({"execute": command, "arguments": kwargs}) + "\n")
        stream.flush()
        while True:
            answer = json.loads(stream.readline())
            if "event" not in answer:
                break
        if "error" in answer:
            sys.exit(f"QEMU: {answer['error']['desc']}")
        return answer["return"]

    values = {"false": False, "true": True}
    execute("qmp_capabilities")
    arguments = dict(argument.split("=", 1) for argument in arguments)
    print(json.dumps(execute(name, **{key: values.get(value, value)
                                      for key, value in arguments.items()})))


def compare(known, read, first, every):
    """Of the known pages, only each EVERYth was kept: zram reads the others as zeros."""
    first, every, wrong, nr = int(first), int(every), [], 0
    with open(known, "rb") as want, open(read, "rb") as have:
        want.seek(first * PAGE)
        index = first
        while page := have.read(PAGE):
            expected = want.read(PAGE)
            if index % every:
                expected = bytes(PAGE)
            if page != expected:
                wrong.append(index)
            index += 1
            nr += 1
    if wrong or not nr:
        sys.exit(f"{len(wrong)} of {nr} pages are wrong, such as page {wrong[0]}"
                 if wrong else "nothing was read")
    print(nr)


def plain(path):
    """
    QEMU 7.2 puts section headers between the ELF header and the program headers.
    makedumpfile only accepts dumps without section headers.
    """
    with open(path, "r+b") as file:
        header = bytearray(file.read(64))
        at, = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(at)
        segments = file.read(size * count)
        struct.pack_into("<QQ", header, 32, 64, 0)
        struct.pack_into("<HHHHHH", header, 52, 64, size, count, 64, 0, 0)
        file.seek(0)
        file.write(header + segments)


def damage(source, target, physical, data):
    """The segments of QEMU's ELF dumps have physical addresses."""
    physical, data = int(physical, 0), bytes.fromhex(data)
    shutil.copyfile(source, target)
    with open(target, "r+b") as file:
        header = file.read(64)
        at, size, count = (struct.unpack_from("<Q", header, 32)[0],
                           *struct.unpack_from("<HH", header, 54))
        if count == 0xFFFF:
            sys.exit("too many segments")
        for i in range(count):
            file.seek(at + i * size)
            kind, _, offset, _, start, length = struct.unpack("<IIQQQQ", file.read(40))
            if kind == 1 and start <= physical < start + length:
                file.seek(offset + physical - start)
                file.write(data)
                return
    sys.exit(f"{physical:#x} is not in the dump")


if __name__ == "__main__":
    {"pages": pages, "qmp": qmp, "compare": compare, "plain": plain,
     "damage": damage}[sys.argv[1]](*sys.argv[2:])
