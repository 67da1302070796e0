#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes the report of make bench:

    bench.py BENCH.csv PROFILE.csv REPORT.html ROUNDS [PLATFORM=TITLE]...

BENCH.csv is what bench/summary.awk makes.  PROFILE.csv need not exist.
"""

import csv
import math
import os
import re
import sys

import page
from page import Torn, esc, num, plural

HEAD = ['platform', 'key', 'what', 'better', 'base', 'base_min', 'base_max', 'ours',
        'ours_min', 'ours_max', 'ratio']
GROUPS = {
    'speed': 'Speed of single calls', 'pools': 'One pool, or one for each thread',
    'migrate': 'Migration', 'latency': 'Latency of reads', 'wakeup': 'Wake-ups',
    'pressure': 'Allocation under memory pressure', 'shrinker': 'Shrinker',
    'users': 'zram and zswap', 'survivor': 'Survivors of compaction',
    'ageing': 'A pool that grows old',
}
LOW, HIGH = -2, 4	# powers of two at the ends of the scale


class Figure:
    """One row of bench.csv"""

    def __init__(self, row, path, line):
        if len(row) != len(HEAD):
            raise Torn(f'{path}: line {line} has {len(row)} columns, not {len(HEAD)}')
        self.platform, self.key, self.what, self.better = row[:4]
        if self.better not in ('-', '+', '='):
            raise Torn(f'{path}: line {line}: "{self.better}" is not -, + or =')
        try:
            values = [float(value) for value in row[4:10]]
        except ValueError:
            raise Torn(f'{path}: line {line} has a figure that is no number') from None
        if not all(math.isfinite(value) for value in values):
            raise Torn(f'{path}: line {line} has a figure that is not finite')
        self.base, self.base_range = values[0], (values[1], values[2])
        self.ours, self.ours_range = values[3], (values[4], values[5])
        self.shown = row[4], row[7]

    @property
    def group(self):
        return self.key.partition('.')[0]

    @property
    def verdict(self):
        """better or worse only if no boot of one kernel is within the range of the other"""
        if self.better == '=':
            return 'neither'
        if (self.base_range[0] <= self.ours_range[1] and self.ours_range[0] <= self.base_range[1]):
            return 'same'
        return 'better' if (self.ours > self.base) == (self.better == '+') else 'worse'

    def factor(self, base, ours):
        """How much better ours is: above or below 1; None if it has no number"""
        if base <= 0 or ours <= 0:
            return None
        return ours / base if self.better == '+' else base / ours


def read(path):
    try:
        with open(path, encoding='utf-8', newline='') as file:
            text = file.read()
    except OSError as error:
        raise Torn(f'{path}: {error.strerror}') from error
    if not text.endswith('\n'):
        raise Torn(f'{path}: the last line is incomplete')
    rows = list(csv.reader(text.splitlines()))
    if rows[0] != HEAD:
        raise Torn(f'{path}: the first line does not name the columns')
    figures = [Figure(row, path, at) for at, row in enumerate(rows[1:], 2)]
    if not figures:
        raise Torn(f'{path}: no figures')
    return figures


def shown(text):
    value = float(text)
    return num(value, 0 if value == int(value) else 1) if value >= 1000 else text


def at(factor):
    """The place of a factor on the scale, in %"""
    return 100 * (min(max(math.log2(factor), LOW), HIGH) - LOW) / (HIGH - LOW)


def bar(figure):
    if figure.verdict == 'neither':
        return ''
    factor = figure.factor(figure.base, figure.ours)
    if factor is None:
        if figure.base == figure.ours:
            return ''
        factor = 2.0 ** (HIGH if (figure.ours > figure.base) == (figure.better == '+') else LOW)
    left, right = sorted((at(1), at(factor)))
    text = (f'<i class="bar {figure.verdict}" style="left:{left:.2f}%;'
            f'width:{max(right - left, 0.3):.2f}%"></i>')
    # The worst and the best pair of boots
    low = figure.factor(figure.base_range[figure.better == '+'], figure.ours_range[figure.better != '+'])
    high = figure.factor(figure.base_range[figure.better != '+'], figure.ours_range[figure.better == '+'])
    if low and high:
        left, right = sorted((at(low), at(high)))
        text += f'<i class="spread" style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
    return text


def row(figure):
    word = {'better': 'better, in all boots', 'worse': 'worse, in all boots',
            'same': 'the ranges of the boots overlap',
            'neither': 'neither more nor less is better'}[figure.verdict]
    tip = (f'{figure.what}\nbase {shown(figure.shown[0])} ({figure.base_range[0]:g} to '
           f'{figure.base_range[1]:g})\nthis {shown(figure.shown[1])} ({figure.ours_range[0]:g} to '
           f'{figure.ours_range[1]:g})\n{word}\n{figure.key}')
    what = figure.what
    sub = ' sub' if what.startswith('...') else ''
    return (f'<div class="versus" data-tip="{esc(tip)}"><span class="what{sub}">'
            f'{esc(what.removeprefix("... "))}</span><span class="scale">{bar(figure)}</span>'
            f'<span class="from">{esc(shown(figure.shown[0]))}</span>'
            f'<span class="to {figure.verdict}">{esc(shown(figure.shown[1]))}</span></div>')


def axis():
    marks = ''
    for power in range(LOW, HIGH + 1):
        name = f'1/{2 ** -power}' if power < 0 else f'{2 ** power} \u00d7' if power else 'same'
        marks += f'<span style="left:{100 * (power - LOW) / (HIGH - LOW):.2f}%">{name}</span>'
    return (f'<div class="versus axis"><span class="what"></span><span class="scale">{marks}</span>'
            '<span class="from">base</span><span class="to">this</span></div>')


def platform(name, title, figures):
    text = f'<h2>{esc(title)}</h2>'
    groups = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    for group, rows in groups.items():
        heading = GROUPS.get(group)
        if heading is None:
            heading = (f'A pool of {num(int(group))} objects' if group.isdigit()
                       else 'By the size of the pool' if group == 'curve' else group)
        text += (f'<h3>{esc(heading)}</h3><div class="card">{axis()}'
                 + ''.join(row(figure) for figure in rows) + '</div>')
    return text


def profile(path, title):
    """The functions in which instructions are spent"""
    if not os.path.exists(path):
        return ''
    rows = []
    with open(path, encoding='utf-8', newline='') as file:
        for line, cells in enumerate(csv.reader(file), 1):
            if len(cells) != 4 or not all(re.fullmatch(r'[\d.]+(e[-+]\d+)?', c) for c in cells[2:]):
                raise Torn(f'{path}: line {line} does not have two names and two numbers')
            base, ours = (float(cell) for cell in cells[2:])
            if max(base, ours) >= 1:
                rows.append(('key', [cells[0], num(base, 1), num(ours, 1)]) if cells[1] == 'all'
                            else ('sub', [cells[1], num(base, 1), num(ours, 1)]))
    if not rows:
        return ''
    return (f'<h2>{esc(title)}</h2><div class="card">'
            + page.table(['', 'base', 'this'], rows) + '</div>')


def best(figures, verdict):
    """The figure with the largest factor"""
    found = [(abs(math.log2(f)), figure, f) for figure in figures if figure.verdict == verdict
             for f in [figure.factor(figure.base, figure.ours)] if f]
    return max(found, key=lambda one: one[0])[1:] if found else None


def report(figures, titles, profile_path, rounds, path):
    count = {verdict: sum(figure.verdict == verdict for figure in figures)
             for verdict in ('better', 'worse', 'same', 'neither')}
    judged = len(figures) - count['neither']
    headline = (f'{num(count["better"])} of {num(judged)} figures better than with the base '
                f'kernel, {num(count["worse"])} worse')
    if rounds == 1:
        lead = ('Each kernel was booted once, so differences may be chance, except in instructions '
                'that QEMU counts.')
    else:
        lead = (f'Each kernel was booted {num(rounds)} times. A figure counts as better or worse only '
                'if every boot of one kernel is beyond all boots of the other; '
                f'{num(count["same"])} {"is" if count["same"] == 1 else "are"} not.')
    for verdict, word in (('better', 'gain'), ('worse', 'loss')):
        found = best(figures, verdict)
        if found:
            figure, factor = found
            lead += (f' The largest {word} is \u201c{figure.what.removeprefix("... ")}\u201d: '
                     f'{shown(figure.shown[0])} with the base kernel, {shown(figure.shown[1])} here '
                     f'({titles.get(figure.platform, figure.platform)}).')
    share = ''.join(f'<i class="{verdict}" style="flex:{count[verdict]} 0 0" '
                    f'data-tip="{count[verdict]} {word}"></i>'
                    for verdict, word in (('better', 'better'), ('same', 'not told apart'),
                                          ('worse', 'worse')) if count[verdict])
    score = ('<div class="score"><div><span class="name">All figures that have a better side</span>'
             f'<div class="stack tall">{share}</div></div>'
             + page.legend((('better', f'{num(count["better"])} better'),
                            ('same', f'{num(count["same"])} not told apart'),
                            ('worse', f'{num(count["worse"])} worse'))) + '</div>')
    body = ('<p class="say">A bar to the right: this project is better, by the factor on the scale; '
            'a bar to the left: the base kernel is. The thin line goes from the least to the most '
            'favourable pair of boots. Point at a row to see its range.</p>')
    platforms = {}
    for figure in figures:
        platforms.setdefault(figure.platform, []).append(figure)
    for name, some in platforms.items():
        body += platform(name, titles.get(name, name), some)
    body += profile(profile_path, titles.get('profile', 'Profile'))
    body += ('<h2>Where the figures come from</h2><ul class="notes"><li>Medians of all boots, as in '
             'bench.csv. Both kernels are built alike and run the same benchmark. '
             'harness/MEASURED.md says how each is measured, and what it depends on.</li></ul>')
    return page.page('zsmalloc: make bench', f'zsmalloc \u00b7 make bench \u00b7 {page.when(path)}',
                     headline, lead, score, body)


def main():
    if len(sys.argv) < 5 or not sys.argv[4].isdigit():
        raise SystemExit('usage: bench.py BENCH.csv PROFILE.csv REPORT.html ROUNDS '
                         '[PLATFORM=TITLE]...')
    titles = dict(argument.partition('=')[::2] for argument in sys.argv[5:])

    def make():
        return [report(read(sys.argv[1]), titles, sys.argv[2], int(sys.argv[4]), sys.argv[1])]
    page.main(make, [sys.argv[3]])


main()
