#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Folds the changes of files into the patches where they belong.

absorb.py REPO NEW [PATCH]

REPO is a repository with a linear history: a commit with the tag "base", and a commit for
each patch, with a tag p0001, p0002 and so on. NEW is a directory with the files as the last
patch shall leave them, and REPO/.git/paths lists them. The commits are written anew, to the
branch "series"; the tags are moved.

Each hunk of the difference goes into the first patch after which all lines that it changes
are there, next to each other, in this patch and in all later ones. For lines that are only
added, these are the line before and the line after. So a hunk never conflicts with a patch.
Nor does it go before a patch that brings a name which it uses: lines of C that contain a
name with an underscore go where that name occurs in C for the first time, or later.

If these lines are all of the base, no patch has made them. The hunk goes into the only patch
that touches the file, or else into PATCH. The same holds for files that no patch has. What
has no place is listed, and then nothing is changed.
"""
import os
import re
import subprocess
import sys


def git(*args, data=None, env=None):
    command = ['git', '-C', REPO, '-c', 'core.autocrlf=false', '-c', 'core.quotePath=false',
               '-c', 'gc.auto=0']
    done = subprocess.run(command + list(args), input=data, env=env, check=True,
                          stdout=subprocess.PIPE)
    return done.stdout


def text(*args):
    return git(*args).decode('utf-8', 'surrogateescape')


def split(data):
    """Lines with their ends, so that a missing newline at the end is kept"""
    return data.splitlines(keepends=True)


def hunks(old, new):
    """(start, end, start, end) of each difference; old and new are ids of blobs"""
    found = []
    for line in text('diff', '-U0', '--no-color', '--no-ext-diff', '--text', old,
                     new).split('\n'):
        match = re.match(r'@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@', line)
        if match:
            a, b, c, d = (int(x) if x else 1 for x in match.groups())
            # A start without lines is the line before.
            a -= b > 0
            c -= d > 0
            found.append((a, a + b, c, c + d))
    return found


class Snapshot:
    """The files after a patch: path -> (mode, blob)"""

    def __init__(self, commit):
        self.commit = commit
        self.files = {}
        self.changed = False
        for entry in text('ls-tree', '-r', '-z', commit).split('\0'):
            if entry:
                meta, path = entry.split('\t', 1)
                mode, _, blob = meta.split(' ')
                self.files[path] = (mode, blob)


def blob_of(data):
    return git('hash-object', '-w', '--stdin', data=data).decode().strip()


def contents(blob):
    return split(git('cat-file', 'blob', blob)) if blob else []


class Lines:
    """Where each line of the last state of a file is after another patch"""

    def __init__(self, snapshot, path, last):
        self.there = path in snapshot.files
        if not self.there:
            return
        blob = snapshot.files[path][1]
        self.lines = contents(blob)
        size = len(contents(last))
        self.to = list(range(size))
        if blob != last:
            self.to = [None] * size
            at = (0, 0)
            for a, b, c, d in hunks(blob, last) + [(len(self.lines),) * 2 + (size,) * 2]:
                for i in range(c - at[1]):
                    self.to[at[1] + i] = at[0] + i
                at = (b, d)

    def place(self, start, end):
        """The lines of this state that are lines start to end of the last; None if not"""
        if not self.there:
            return None
        size = len(self.to)
        first = -1 if start == 0 else self.to[start - 1]
        after = len(self.lines) if end == size else self.to[end]
        if start == end:
            if first is None or after is None or after != first + 1:
                return None
            return after, after
        here = self.to[start:end]
        if None in here or here[-1] - here[0] != end - start - 1:
            return None
        return here[0], here[-1] + 1


def number(tag):
    return int(tag[1:])


def names_in(lines):
    """Names of C with an underscore, which words of comments rarely have"""
    return set(re.findall(rb'\b[A-Za-z]\w*_\w+', b''.join(lines)))


class Absorber:
    def __init__(self, new, patch):
        self.new = new
        self.tags = sorted(text('tag', '-l', 'p[0-9]*').split())
        self.snapshots = [Snapshot('base')] + [Snapshot(tag) for tag in self.tags]
        self.names = {}         # name -> the first snapshot that has it
        for k, snapshot in enumerate(self.snapshots):
            for path, (_, blob) in snapshot.files.items():
                if path.endswith(('.c', '.h')) and (not k or snapshot.files[path] !=
                                                    self.snapshots[k - 1].files.get(path)):
                    for name in names_in(contents(blob)):
                        self.names.setdefault(name, k)
        self.patch = None
        if patch:
            names = [number(tag) for tag in self.tags]
            if int(patch) not in names:
                sys.exit(f'error: there is no patch {patch}')
            self.patch = names.index(int(patch)) + 1
        self.lost = []
        self.report = []

    def touching(self, path):
        """The patches that change a file"""
        return [k for k in range(1, len(self.snapshots))
                if self.snapshots[k].files.get(path) != self.snapshots[k - 1].files.get(path)]

    def note(self, k, what):
        self.report.append((k, f'{self.tags[k - 1][1:]}  {what}'))

    def set_file(self, path, first, entry):
        for snapshot in self.snapshots[first:]:
            if entry is None:
                snapshot.files.pop(path, None)
            else:
                snapshot.files[path] = entry
            snapshot.changed = True

    def whole_file(self, path, entry):
        """A file that is new or gone"""
        if entry is None:
            first = next(k for k, s in enumerate(self.snapshots) if path in s.files)
            first = first or self.patch
        else:
            first = self.patch
        what = f'{path}: ' + ('the file is gone' if entry is None else 'new file')
        if not first:
            self.lost.append(what + ', and no patch has it')
            return
        self.set_file(path, first, entry)
        self.note(first, what)

    def mode(self, path, mode):
        patches = self.touching(path)
        first = patches[0] if patches else self.patch
        if not first:
            self.lost.append(f'{path}: another mode, and no patch changes the file')
            return
        for snapshot in self.snapshots[first:]:
            if path in snapshot.files:
                snapshot.files[path] = (mode, snapshot.files[path][1])
                snapshot.changed = True
        self.note(first, f'{path}: mode {mode[-3:]}')

    def contents(self, path, data):
        last = self.snapshots[-1].files[path][1]
        new = blob_of(data)
        states = [Lines(snapshot, path, last) for snapshot in self.snapshots]
        before = contents(last)
        after = split(data)
        edits = {}          # snapshot -> [(start, end, lines)]
        for a, b, c, d in hunks(last, new):
            places = [state.place(a, b) for state in states]
            first = len(places) - 1
            while first > 0 and places[first - 1] is not None:
                first -= 1
            if first and path.endswith(('.c', '.h')):
                used = names_in(after[c:d]) - names_in(before[a:b])
                first = max([first] + [self.names.get(name, 0) for name in used])
            what = f'{path}: line {a + 1}' + (f' to {b}' if b > a + 1 else '')
            if first == 0:
                patches = self.touching(path)
                if self.patch:
                    first = self.patch
                elif len(patches) == 1:
                    first = patches[0]
                else:
                    self.lost.append(what + ': the lines are those of the base, and ' + (
                        'several patches change' if patches else 'no patch changes') +
                        ' this file')
                    continue
            for k in range(first, len(places)):
                edits.setdefault(k, []).append(places[k] + (after[c:d],))
            self.note(first, what)
        for k, changes in edits.items():
            lines = list(states[k].lines)
            # From the last to the first, in the order of the last state: two places may be
            # one where the lines between them are not there yet.
            for start, end, inserted in reversed(changes):
                lines[start:end] = inserted
            snapshot = self.snapshots[k]
            snapshot.files[path] = (snapshot.files[path][0], blob_of(b''.join(lines)))
            snapshot.changed = True

    def run(self, paths):
        for path in paths:
            source = os.path.join(self.new, path)
            entry = self.snapshots[-1].files.get(path)
            if not os.path.isfile(source):
                if entry:
                    self.whole_file(path, None)
                continue
            with open(source, 'rb') as file:
                data = file.read()
            mode = '100755' if os.access(source, os.X_OK) else '100644'
            if not entry:
                self.whole_file(path, (mode, blob_of(data)))
                continue
            if git('cat-file', 'blob', entry[1]) != data:
                self.contents(path, data)
            if entry[0] != mode:
                self.mode(path, mode)

    def commit(self):
        parent = text('rev-parse', 'base^{commit}').strip()
        index = os.path.join(REPO, '.git', 'absorb.index')
        env = dict(os.environ, GIT_INDEX_FILE=index)
        for tag, snapshot in zip(self.tags, self.snapshots[1:]):
            if os.path.exists(index):
                os.unlink(index)
            entries = ''.join(f'{mode} {blob}\t{path}\0' for path, (mode, blob)
                              in snapshot.files.items())
            git('update-index', '-z', '--index-info',
                data=entries.encode('utf-8', 'surrogateescape'), env=env)
            tree = git('write-tree', env=env).decode().strip()
            if tree == text('rev-parse', parent + '^{tree}').strip():
                sys.exit(f'error: patch {tag[1:]} would be empty; remove it from '
                         'series/series first')
            name, mail, date = text('log', '-1', '--format=%an%n%ae%n%ad', '--date=raw',
                                    tag).strip().split('\n')
            who = dict(env, GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=mail,
                       GIT_AUTHOR_DATE=date, GIT_COMMITTER_NAME=name,
                       GIT_COMMITTER_EMAIL=mail, GIT_COMMITTER_DATE=date)
            message = git('log', '-1', '--format=%B', tag)
            parent = git('commit-tree', tree, '-p', parent, data=message.rstrip() + b'\n',
                         env=who).decode().strip()
            git('tag', '-f', tag, parent)
        git('checkout', '-q', '-f', '-B', 'series', parent)


def main():
    new, patch = sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ''
    with open(os.path.join(REPO, '.git', 'paths'), encoding='utf-8') as file:
        paths = file.read().split('\n')
    absorber = Absorber(new, patch)
    absorber.run([path for path in paths if path])
    if absorber.lost:
        for what in absorber.lost:
            print('    ' + what)
        print('error: these have no place; name a patch for them: '
              'make series-refresh PATCH=NNNN')
        sys.exit(1)
    for _, what in sorted(absorber.report, key=lambda x: x[0]):
        print('    ' + what)
    absorber.commit()


REPO = sys.argv[1]
main()
