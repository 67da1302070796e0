#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which hunks of a patch do not fit the files in a directory, and why.

hunks.py DIR PATCH prints a line for each hunk that does not fit, with the first line that
differs, and exits with status 0 if there is one, and otherwise 1.

hunks.py --old PATCH PATH prints the lines that the patch expects in a file which it
replaces.
"""
import os
import re
import sys


def read_lines(path):
    with open(path, encoding='utf-8', errors='surrogateescape', newline='') as file:
        return file.read().split('\n')


class File:
    """The part of a patch that is about one file."""

    def __init__(self, path):
        self.path = path
        self.new = self.deleted = False
        self.hunks = []     # (line, old lines, new lines)


def parse(lines):
    files, i = [], 0
    while i < len(lines):
        line = lines[i]
        i += 1
        match = re.match(r'diff --git a/(.*) b/(.*)$', line)
        if match:
            files.append(File(match[2]))
        elif files and line.startswith('new file mode'):
            files[-1].new = True
        elif files and line.startswith('deleted file mode'):
            files[-1].deleted = True
        match = re.match(r'@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@', line)
        if not match or not files:
            continue
        left, right = int(match[2] or 1), int(match[3] or 1)
        old, new = [], []
        while (left > 0 or right > 0) and i < len(lines):
            kind, text = lines[i][:1] or ' ', lines[i][1:]
            i += 1
            if kind in ' -':
                old.append(text)
                left -= 1
            if kind in ' +':
                new.append(text)
                right -= 1
        files[-1].hunks.append((int(match[1]), old, new))
    return files


def find(lines, wanted, near):
    """The place of WANTED in LINES that is nearest to NEAR; None if there is none"""
    best = None
    for at in range(len(lines) - len(wanted) + 1):
        if lines[at:at + len(wanted)] == wanted and \
                (best is None or abs(at - near) < abs(best - near)):
            best = at
    return best


def differs(lines, wanted, near):
    """Where WANTED fits best, and the first line of it that is not there"""
    best, score = near, -1
    for at in range(max(0, near - 400), min(len(lines), near + 400)):
        here = sum(a == b for a, b in zip(lines[at:], wanted))
        if here > score or (here == score and abs(at - near) < abs(best - near)):
            best, score = at, here
    for i, text in enumerate(wanted):
        there = lines[best + i] if best + i < len(lines) else None
        if there != text:
            return best + i + 1, text, there
    return best + 1, '', None


def print_old(patch, path):
    part = next(part for part in parse(read_lines(patch)) if part.path == path)
    text = ''.join(line + '\n' for _, old, _ in part.hunks for line in old)
    sys.stdout.buffer.write(text.encode('utf-8', 'surrogateescape'))
    return 0


def main():
    root, patch = sys.argv[-2:]
    if sys.argv[1] == '--old':
        return print_old(root, patch)
    found = 0
    for part in parse(read_lines(patch)):
        path = os.path.join(root, part.path)
        if part.new:
            if os.path.lexists(path):
                print(f'    {part.path}: the patch adds this file, and it exists')
                found += 1
            continue
        if not os.path.isfile(path):
            print(f'    {part.path}: the file does not exist')
            found += 1
            continue
        lines, shift = read_lines(path), 0
        for n, (start, old, new) in enumerate(part.hunks, 1):
            near = start - 1 + shift
            at = find(lines, old, near)
            if at is not None:
                lines[at:at + len(old)] = new
                shift += len(new) - len(old)
                continue
            found += 1
            where = f'    {part.path}: hunk {n} of {len(part.hunks)}, line {start}: '
            if new and find(lines, new, near) is not None:
                print(where + 'the change is there already')
                continue
            line, want, have = differs(lines, old, near)
            print(where + f'line {line} is not the one that the patch expects')
            print(f'        expected: {want}')
            print('        found:    ' + ('(end of the file)' if have is None else have))
    return 0 if found else 1


sys.exit(main())
