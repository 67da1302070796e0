#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes the report of make run, and a still of it:

    run.py OFF.results ON.results REPORT.html STILL.svg

The results are those that the guest wrote, see jobs/hugepages and zspages.c.  All figures
and sentences of the report are made of them.
"""

import json
import re
import sys

import page
from page import Torn, esc, integer, num, plural

# The letters of zspages.c
KINDS = (
    ('z', 'zsmalloc', 'zsmalloc'),
    ('m', 'movable', 'other movable memory'),
    ('u', 'unmovable', 'unmovable, and all else'),
    ('H', 'huge', 'huge pages that the guest got'),
    ('f', 'free', 'free'),
)
LETTERS = {kind[0] for kind in KINDS} | {'h'}
SIDES = ('off', 'on')
COLUMNS = 16		# pageblocks side by side in a map
ACROSS = 32		# pages side by side in a pageblock
ORDERS = 11
PAGE_KB = 4


class Map:
    """Physical memory: the pages of each pageblock, packed as the guest wrote them"""

    def __init__(self, results, name, path):
        self.block = integer(results, f'map_{name}_block', path)
        end = results.get(f'map_{name}_end', '').split()
        if len(end) != 2 or not all(part.isdigit() for part in end) or not self.block:
            raise Torn(f'{path}: the map "{name}" has no end')
        self.blocks, self.counts = [], []
        for at in range(int(end[0])):
            packed = results.get(f'map_{name}_{at}')
            if packed is None:
                raise Torn(f'{path}: the map "{name}" lacks pageblock {at}')
            if not re.fullmatch(r'([a-zA-Z]\d*)+', packed):
                raise Torn(f'{path}: the map "{name}": pageblock {at} is not readable')
            count = dict.fromkeys(LETTERS, 0)
            for letter, run in re.findall(r'([a-zA-Z])(\d*)', packed):
                if letter not in count:
                    raise Torn(f'{path}: the map "{name}": pageblock {at} has a "{letter}"')
                count[letter] += int(run or 1)
            want = min(self.block, int(end[1]) - at * self.block)
            if sum(count.values()) != want:
                raise Torn(f'{path}: the map "{name}": pageblock {at} has '
                           f'{sum(count.values())} pages, not {want}')
            self.blocks.append(packed)
            self.counts.append(count)

    def pages(self, letter):
        return sum(count[letter] for count in self.counts)

    def blocks_with(self, letter):
        return sum(count[letter] > 0 for count in self.counts)

    def blocks_full_of(self, letter):
        return sum(count[letter] == self.block for count in self.counts)


class Side:
    """The guest with migration off, or on"""

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.results = page.read_results(path)
        if 'error' in self.results:
            raise Torn(f'{path}: the guest reports: {self.results["error"]}')
        if self.results.get('finished') != '1':
            raise Torn(f'{path}: the guest did not finish')
        self.before = Map(self.results, 'before', path)
        self.after = Map(self.results, 'after', path)
        self.huge = self.number('huge')
        if self.after.pages('H') != self.huge * self.after.block:
            raise Torn(f'{path}: {self.huge} huge pages, but '
                       f'{self.after.pages("H")} pages in the map are of huge pages')
        self.buddy = {moment: self.orders(f'buddy_{moment}') for moment in ('before', 'after')}
        self.read_samples()

    def number(self, key):
        return integer(self.results, key, self.path)

    def text(self, key):
        if key not in self.results:
            raise Torn(f'{self.path}: no line "{key}"')
        return self.results[key]

    def seconds(self, key):
        if not re.fullmatch(r'\d+(\.\d+)?', self.text(key)):
            raise Torn(f'{self.path}: {key} is "{self.text(key)}", not a time')
        return float(self.text(key))

    def orders(self, key):
        values = self.text(key).split()
        if len(values) != ORDERS or not all(value.isdigit() for value in values):
            raise Torn(f'{self.path}: {key} does not have {ORDERS} numbers')
        return [int(value) for value in values]

    def read_samples(self):
        """Seconds since compaction began, huge pages, migrated pages of zsmalloc"""
        start = self.seconds('mark_compaction')
        self.request = self.seconds('mark_request') - start
        self.end = self.seconds('mark_end') - start
        samples = []
        for at in range(self.number('samples')):
            values = self.text(f'sample_{at}').split()
            if len(values) != 3 or not all(value.isdigit() for value in values):
                raise Torn(f'{self.path}: sample_{at} does not have three numbers')
            samples.append((int(values[0]) / 1000 - start, int(values[1]), int(values[2])))
        if len(samples) < 2 or not 0 <= self.request <= self.end:
            raise Torn(f'{self.path}: {len(samples)} samples, a request after '
                       f'{self.request:.2f} s that ends after {self.end:.2f} s')
        huge, moved = samples[0][1:]
        self.samples = [(max(0.0, at), h - huge, m - moved) for at, h, m in samples]
        self.samples = [s for i, s in enumerate(self.samples)
                        if s[0] > 0 or self.samples[i + 1:i + 2] and self.samples[i + 1][0] > 0]

    @property
    def migrated(self):
        """Migrations of zsmalloc's pages during compaction and the request"""
        return self.samples[-1][2]

    @property
    def possible(self):
        """Huge pages that the free memory would make in one piece"""
        return self.number('free_mb') * 1024 // (PAGE_KB * self.before.block)


def headline(off, on):
    if on.huge <= off.huge:
        return (f'No more huge pages with migration of zsmalloc\u2019s pages: {on.huge} '
                f'with it, {off.huge} without')
    if not off.huge:
        return f'{num(on.huge)} huge pages instead of none, once zsmalloc\u2019s pages can move'
    return (f'{page.times(on.huge / off.huge).capitalize()} as many huge pages, once '
            'zsmalloc\u2019s pages can move')


def lead(off, on):
    before = off.before
    size = PAGE_KB * before.block // 1024
    text = (f'A guest swapped out {num(off.number("swapped_mb"))} MB to zram, and most of it '
            f'was freed again. {num(off.number("free_mb"))} MB are free, enough for '
            f'{plural(off.possible, "huge page")} of {size} MB. But the '
            f'{plural(before.pages("z"), "page")} that zsmalloc still holds lie in '
            f'{num(before.blocks_with("z"))} of the {plural(len(before.blocks), "pageblock")}, '
            'and a huge page needs a whole one. ')
    text += f'With migration off they stay where they are: the guest gets {num(off.huge)}. '
    if not on.migrated:
        return text + f'With migration on none of them moved, and the guest gets {num(on.huge)}.'
    return text + (f'With migration on the kernel moves pages of zsmalloc '
                   f'{num(on.migrated)} times, until they lie in '
                   f'{plural(on.after.blocks_with("z"), "pageblock")}, and the guest gets '
                   f'{num(on.huge)}.')


def score(off, on):
    most = max(off.possible, on.possible, off.huge, on.huge, 1)
    rows = []
    for side in (off, on):
        share = 100 * side.huge / most
        inside = share > 45
        place = 'class="value inside"' if inside else f'class="value" style="left:{share:.2f}%"'
        label = f'<span {place}>{num(side.huge)} <small>huge pages</small></span>'
        rows.append(f'<div class="{side.name}"><span class="name">Migration {side.name}</span>'
                    f'<div class="track" data-tip="Migration {side.name}\n{side.huge} huge pages of '
                    f'{side.possible} that its free memory would make">'
                    f'<div class="fill" style="width:{share:.2f}%">{label if inside else ""}</div>'
                    f'{"" if inside else label}</div></div>')
    rows.append(f'<div><span class="of">The whole width is {num(most)} huge pages: all free '
                'memory, if it lay in one piece.</span></div>')
    return f'<div class="score">{"".join(rows)}</div>'


def one_map(side, moment):
    memory = getattr(side, moment)
    total = sum(memory.pages(letter) for letter in LETTERS - {'h'})
    rows = -(-len(memory.blocks) // COLUMNS)
    mb = PAGE_KB * memory.block * COLUMNS // 1024
    ticks = ''.join(f'<span class="tick" style="top:{100 * row / rows:.2f}%">{row * mb}'
                    f'{"" if row else " MB"}</span>'
                    for row in range(0, rows, 4))
    stack = ''.join(
        f'<i class="{kind}" style="flex:{memory.pages(letter)} 0 0" '
        f'data-tip="{esc(name)}\n{plural(memory.pages(letter), "page")}, '
        f'{100 * memory.pages(letter) / total:.1f} % of memory"></i>'
        for letter, kind, name in KINDS if memory.pages(letter))
    words = (f'<b>{plural(memory.pages("z"), "page")} of zsmalloc</b> in '
             f'{num(memory.blocks_with("z"))} of {plural(len(memory.blocks), "pageblock")}')
    if moment == 'before':
        right = f'{plural(memory.blocks_full_of("f"), "pageblock")} entirely free'
    else:
        right = f'<b>{plural(side.huge, "huge page")}</b>'
    name = f'Migration {side.name}, {"before" if moment == "before" else "with the huge pages"}'
    label = (f'{name}: {plural(memory.pages("z"), "page")} of zsmalloc in '
             f'{num(memory.blocks_with("z"))} pageblocks, {num(memory.pages("f"))} pages free')
    return (f'<figure class="map card"><div class="head"><b>Migration {side.name}</b>'
            f'<span>{right}</span></div>'
            f'<div class="plot">{ticks}<canvas id="{side.name}-{moment}" tabindex="0" role="img" '
            f'aria-label="{esc(label)}"></canvas></div><div class="stack">{stack}</div>'
            f'<figcaption class="caption">{words}</figcaption></figure>',
            {'id': f'{side.name}-{moment}', 'name': name, 'blocks': memory.blocks})


def maps(off, on):
    size = PAGE_KB * off.before.block // 1024
    parts = ['<h2>What is in physical memory</h2>',
             f'<p class="say">Each tile is a pageblock of {size} MB, in the order of addresses, '
             f'each dot in it a page of {PAGE_KB} KB. Dust keeps a tile from becoming a huge page. '
             'Point at a tile, or move with the arrow keys, to see its numbers; the same '
             'pageblock is marked in all maps.</p>',
             page.legend([kind[1:] for kind in KINDS])]
    data = []
    for moment, title in (('before', 'Before <span>most of the data is freed, memory is in '
                           'pieces</span>'),
                          ('after', 'After <span>memory was compacted, and the guest holds all '
                           'huge pages that it could get</span>')):
        parts.append(f'<h3>{title}</h3><div class="two">')
        for side in (off, on):
            text, one = one_map(side, moment)
            parts.append(text)
            data.append(one)
        parts.append('</div>')
    kinds = [{'letter': letter, 'id': kind, 'name': name} for letter, kind, name in KINDS]
    packed = json.dumps({'block': off.before.block, 'columns': COLUMNS, 'across': ACROSS,
                         'kinds': kinds, 'list': data}, separators=(',', ':'))
    parts.append(f'<script type="application/json" id="maps">{packed}</script>')
    return '\n'.join(parts)


def size_of(order):
    kb = PAGE_KB << order
    return f'{kb} K' if kb < 1024 else f'{kb // 1024} M'


def in_orders(side, top):
    whole = side.before.block.bit_length() - 1
    columns = []
    for order in range(ORDERS):
        bars = []
        lines = [f'Blocks of {size_of(order)}B, order {order}']
        for moment in ('before', 'after'):
            count = side.buddy[moment][order]
            mb = (count * PAGE_KB << order) / 1024
            lines.append(f'{moment} compaction: {num(count)}, {num(mb, 1)} MB')
            bars.append(f'<i class="{moment}" style="height:{90 * mb / top:.2f}%"></i>')
        wide = ' class="wide"' if order >= whole else ''
        tip = esc('\n'.join(lines))
        columns.append(f'<div{wide} data-tip="{tip}">'
                       f'<div class="bars">{"".join(bars)}</div><small>{size_of(order).replace(" ", "")}</small></div>')
    free = [sum(count * PAGE_KB << order for order, count in enumerate(side.buddy[moment])
                if order >= whole) / 1024 for moment in ('before', 'after')]
    return (f'<div class="card"><div class="head"><b>Migration {side.name}</b><span>in whole '
            f'pageblocks: {num(free[0])} MB before, {num(free[1])} MB after</span></div>'
            f'<div class="columns">{"".join(columns)}</div></div>')


def orders(off, on):
    top = max((count * PAGE_KB << order) / 1024 for side in (off, on)
              for counts in side.buddy.values() for order, count in enumerate(counts))
    return ('<h2>Free memory by the size of its blocks</h2>'
            '<p class="say">The height is the memory in free blocks of a size, before and after '
            'compaction, on the same scale for both guests. A huge page needs a block on the '
            'shaded ground.</p>'
            + page.legend((('before', 'before compaction'), ('after', 'after compaction')))
            + f'<div class="two">{in_orders(off, top or 1)}{in_orders(on, top or 1)}</div>')


def step_path(points, end, top):
    """Coordinates in a box of 1000 by 1000, as steps"""
    text, last = '', None
    for x, y in points + [(end, points[-1][1])]:
        at, up = 1000 * min(x, end) / end, 1000 - 1000 * y / top
        text += f'M{at:.1f} {up:.1f}' if last is None else f'H{at:.1f}' + (
            f'V{up:.1f}' if up != last else '')
        last = up
    return text


def panel(height, series, end, kind, marks):
    """series: (name, class, end label, points); marks: (x, y, class, text)"""
    ticks = page.nice_ticks(max(y for _, _, _, points in series for _, y in points))
    top = ticks[-1]
    lines = ''.join(f'<path class="grid" d="M0 {1000 - 1000 * y / top:.1f}H1000"/>' for y in ticks)
    texts = ''.join(f'<span class="y" style="bottom:{100 * y / top:.2f}%">{num(y)}</span>'
                    for y in ticks)
    labels = []
    for _, name, label, points in series:
        path = step_path(points, end, top)
        if name == 'move':
            lines += f'<path class="area" d="{path}V1000H0Z"/>'
        lines += f'<path class="{name}" d="{path}"/>'
        labels.append([100 * points[-1][1] / top, label])
    labels.sort()
    for low, high in zip(labels, labels[1:]):	# not one over the other
        high[0] = max(high[0], low[0] + 1800 / height)
    texts += ''.join(f'<span class="end" style="bottom:{at:.2f}%">{esc(label)}</span>'
                     for at, label in labels)
    texts += ''.join(f'<i class="dot {name}" style="left:{100 * x / end:.2f}%;'
                     f'top:{100 - 100 * y / top:.2f}%" data-tip="{esc(text)}"></i>'
                     for x, y, name, text in marks)
    unit, factor = ('s', 1) if end > 4 else ('ms', 1000)
    times = [x for x in page.nice_ticks(end * factor, 8) if x <= end * factor * 0.98]
    texts += ''.join(f'<span class="x" style="left:{100 * x / factor / end:.2f}%">{num(x)}'
                     f'{" " + unit if x == times[-1] else ""}</span>' for x in times)
    data = [[name, [[round(x, 3), y] for x, y in points]] for name, _, _, points in series]
    return (f'<div class="lines {kind}" style="height:{height}px" data-end="{end:.3f}" '
            f'data-series="{esc(json.dumps(data, separators=(",", ":")))}">'
            f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">{lines}'
            f'</svg>{texts}<div class="cross"></div></div>')


def over_time(off, on):
    end = max(off.end, on.end, 0.1)
    huge, moved = [], []
    for side in (off, on):
        huge.append((f'huge pages, migration {side.name}', side.name,
                     f'{side.name}: {num(side.huge)}', [s[:2] for s in side.samples]))
        moved.append((f'pages moved, migration {side.name}', 'move' if side.name == 'on' else 'off',
                      f'{side.name}: {num(side.migrated)}', [(s[0], s[2]) for s in side.samples]))

    def at_request(side, column):
        return max((s[column] for s in side.samples if s[0] <= side.request), default=0)

    def marks(column, kind):
        return [(side.request, at_request(side, column), 'was' if side is off else kind,
                 f'Migration {side.name}: huge pages are requested from here on') for side in (off, on)]
    rate = ''
    if on.migrated:
        early = at_request(on, 2)
        rate = (f' With migration on, {"all" if early == on.migrated else num(early) + " of the"} '
                f'{num(on.migrated)} migrations are those of compaction'
                f'{"." if early == on.migrated else "; the others are made for the request."}')
    return ('<h2>Huge pages over time, and the migrations for them</h2>'
            '<p class="say">Time begins as the guest asks for all of memory to be compacted. '
            'At the ring it requests as many huge pages as it can get.'
            f'{esc(rate)}</p><div class="card">'
            '<p class="chart-name">Huge pages obtained</p>'
            + panel(220, huge, end, '', marks(1, ''))
            + '<p class="chart-name">Migrations of zsmalloc\u2019s pages</p>'
            + panel(120, moved, end, 'last', marks(2, 'move')) + '</div>')


ROWS = (
    ('Data', ()),
    ('data swapped out, MB', 'swapped_mb'),
    ('bytes before compression', 'orig'),
    ('compressed', '>compr'),
    ('memory that zram took for them, bytes', '>mem_used'),
    ('Memory', ()),
    ('zsmalloc pages, all data in swap', 'zspages_full'),
    ('zsmalloc pages, at the request', 'zspages'),
    ('free memory then, MB', 'free_mb'),
    ('free in whole pageblocks, before compaction', 'huge_free_before'),
    ('after compaction', '>huge_free_after'),
    ('huge pages obtained', '*huge'),
    ('Migration', ()),
    ('zsmalloc pages isolated, in the whole run', 'zs_isolated'),
    ('not isolated', '>zs_not_isolated'),
    ('zsmalloc pages migrated, in the whole run', 'zs_migrated'),
    ('failed', '>zs_not_migrated'),
    ('put back', '>zs_putback'),
    ('pages of all owners isolated, since boot', 'compact_isolated'),
    ('migrated', '>pgmigrate_success'),
    ('failed', '>pgmigrate_fail'),
    ('Check', ()),
    ('bytes compared after they were swapped in', 'checked'),
    ('wrong', '>wrong'),
    ('duration of the guest, s', 'duration'),
    ('Free blocks of order 0 to 10', ()),
    ('before compaction', 'buddy_before'),
    ('after', 'buddy_after'),
    ('Pageblocks by the type for which the kernel means them', ()),
    ('before compaction', 'blocks_before'),
    ('with the huge pages', 'blocks_after'),
)


def figures(off, on):
    rows = []
    for name, key in ROWS:
        if not key:
            rows.append(('group', [name]))
            continue
        kind = {'>': 'sub', '*': 'key'}.get(key[0], '')
        key = key.lstrip('>*')
        cells = [name]
        for side in (off, on):
            value = side.text(key)
            if key.startswith('blocks_'):	# types without any are left out
                value = ', '.join(pair.replace('=', ' ') for pair in value.split()
                                  if not pair.endswith('=0'))
            elif not key.startswith('buddy_') and value != 'not traced':
                value = num(side.number(key))
            cells.append(value)
        rows.append((kind, cells))
    return ('<h2>All figures</h2><div class="card">'
            + page.table(['', 'migration off', 'migration on'], rows) + '</div>')


def notes(off, on):
    pcp = ', '.join(f'{num(side.number("pcp_" + moment))} {side.name} {moment}'
                    for side in (off, on) for moment in ('before', 'after'))
    items = (
        'Both guests run the same kernel, which differs only in the parameter '
        'zsmalloc.migration, with the same data. Linux 7.3 itself migrates these pages, too: '
        'this is what migration is good for, not a comparison with it.',
        'Maps: /proc/kpageflags of the guest tells free pages, huge pages, and movable ones '
        '(on the list of an LRU, or mapped by processes). No flag there tells zsmalloc\u2019s '
        'pages; they are known by their type in struct page, which the guest reads from '
        '/proc/kcore at the place that its VMCOREINFO states. The guest compares their number '
        'with nr_zspages in /proc/vmstat, and the type of free pages with VMCOREINFO, and '
        'writes no map if they differ.',
        '\u201cUnmovable, and all else\u201d are the pages with none of these marks: the kernel\u2019s '
        'own, and those in between, like free pages on the lists of the CPUs '
        f'({pcp}, from /proc/zoneinfo).',
        'Free blocks are those of /proc/buddyinfo, the types of pageblocks those of '
        '/proc/pagetypeinfo.',
        'Over time: the guest samples htlb_buddy_alloc_success of /proc/vmstat, and the '
        'histogram of the tracepoint zs_migrate_page, every few milliseconds.',
    )
    return ('<h2>Where the figures come from</h2><ul class="notes">'
            + ''.join(f'<li>{esc(item)}</li>' for item in items) + '</ul>')


def report(off, on):
    mb = round(sum(off.before.pages(letter) for letter in LETTERS) * PAGE_KB / 1024)
    over = (f'zsmalloc \u00b7 make run \u00b7 guest with {num(mb)} MB, Linux {off.text("kernel")} '
            f'\u00b7 {page.when(on.path)}')
    body = (maps(off, on) + orders(off, on) + over_time(off, on)
            + figures(off, on) + notes(off, on))
    return page.page('zsmalloc: make run', over, headline(off, on), lead(off, on),
                     score(off, on), body)


# The still has a tile for each pageblock, filled from below in proportion to its contents.
STILL = {'width': 860, 'tile': (23, 13), 'gap': 2.5, 'left': 14, 'top': 128, 'order': 'umzHf'}
STILL_STYLE = '''
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;fill:#16191d}
.g{fill:#fff}rect.f{stroke:#8b939e}.s{fill:#59616b}.z{fill:#d55e00}.m{fill:#3f9bd6}.u{fill:#454c56}.f{fill:#e8ebee}.H{fill:#009e73}
@media(prefers-color-scheme:dark){text{fill:#eceef0}.g{fill:#0d1117}.s{fill:#9ea8b3}.z{fill:#ff8a33}
.m{fill:#56b4e9}.u{fill:#59626e}.f{fill:#252b33}.H{fill:#10a37f}}
'''


def still_map(memory, left, top):
    width, height = STILL['tile']
    gap = STILL['gap']
    paths = {letter: '' for letter in STILL['order']}
    for at, count in enumerate(memory.counts):
        x = left + at % COLUMNS * (width + gap)
        y = top + at // COLUMNS * (height + gap) + height
        for letter in STILL['order']:
            if count[letter]:
                part = height * count[letter] / memory.block
                paths[letter] += f'M{x:g} {y:.5g}h{width}v-{part:.3g}h-{width}z'
                y -= part
    return ''.join(f'<path class="{letter}" d="{path}"/>' for letter, path in paths.items() if path)


def still(off, on):
    width, height = STILL['tile']
    side_width = COLUMNS * (width + STILL['gap']) - STILL['gap']
    rows = -(-len(off.after.blocks) // COLUMNS)
    bottom = STILL['top'] + rows * (height + STILL['gap'])
    total = bottom + 48
    right = STILL['width'] - STILL['left'] - side_width
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {STILL["width"]} {total:g}" '
             f'width="{STILL["width"]}" height="{total:g}" role="img">',
             f'<title>{esc(headline(off, on))}: {off.huge} and {on.huge}</title>',
             f'<style>{STILL_STYLE}</style><rect class="g" width="100%" height="100%" rx="8"/>',
             f'<text x="{STILL["left"]}" y="34" font-size="21" font-weight="700">'
             f'{esc(headline(off, on))}</text>']
    mb = round(sum(off.after.pages(letter) for letter in LETTERS) * PAGE_KB / 1024)
    parts.append(f'<text class="s" x="{STILL["left"]}" y="57" font-size="14">Memory of a guest with '
                 f'{num(mb)} MB that was compacted, and holds all huge pages that it could get. '
                 f'A tile is {PAGE_KB * off.after.block // 1024} MB.</text>')
    for side, left in ((off, STILL['left']), (on, right)):
        parts.append(f'<text x="{left:g}" y="97" font-size="18"><tspan font-weight="700">'
                     f'{num(side.huge)} huge pages</tspan><tspan class="s" dx="8" font-size="15">'
                     f'migration {side.name}</tspan></text>')
        parts.append(f'<text class="s" x="{left:g}" y="117" font-size="13">'
                     f'{plural(side.after.pages("z"), "page")} of zsmalloc in '
                     f'{num(side.after.blocks_with("z"))} of {len(side.after.blocks)} tiles</text>')
        parts.append(still_map(side.after, left, STILL['top']))
    x = STILL['left']
    for letter, _, name in KINDS:
        name = name.replace(' that the guest got', '').replace(', and all else', '')
        parts.append(f'<rect class="{letter}" x="{x:g}" y="{bottom + 17:g}" width="13" height="13" '
                     f'rx="3"/><text class="s" x="{x + 19:g}" y="{bottom + 28:g}" font-size="13">'
                     f'{esc(name)}</text>')
        x += 19 + 7.2 * len(name) + 16
    parts.append('</svg>\n')
    return '\n'.join(parts)


def main():
    if len(sys.argv) != 5:
        raise SystemExit('usage: run.py OFF.results ON.results REPORT.html STILL.svg')

    def make():
        off, on = (Side(name, path) for name, path in zip(SIDES, sys.argv[1:]))
        return report(off, on), still(off, on)
    page.main(make, sys.argv[3:])


main()
