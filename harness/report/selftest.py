#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes the report of make selftest:

    selftest.py REPORT.html RESULTS...

RESULTS has lines SIDE<tab>TEST CHECK<tab>VERDICT, and SIDE<tab>  = FIGURE<tab>VALUE, with
the sides base and ours, as selftest.sh writes them.
"""

import re
import sys

import page
from page import Torn, esc, num, plural

SIDES = (('base', 'base kernel'), ('ours', 'this project'))
VERDICTS = ('ok', 'FAILED', 'skipped')


def read(paths):
    """{test: {check: {side: verdict}}}, {figure: {side: value}}"""
    tests, figures = {}, {}
    for path in paths:
        try:
            with open(path, encoding='utf-8') as file:
                text = file.read()
        except OSError as error:
            raise Torn(f'{path}: {error.strerror}') from error
        if text and not text.endswith('\n'):
            raise Torn(f'{path}: the last line is incomplete')
        for at, line in enumerate(text.splitlines(), 1):
            cells = line.split('\t')
            if len(cells) != 3 or cells[0] not in dict(SIDES):
                raise Torn(f'{path}: line {at} is no result')
            side, name, value = cells
            if name.startswith('  = '):
                figures.setdefault(name[4:], {})[side] = value
                continue
            test, _, check = name.partition(' ')
            check = check.strip() or 'a check without a name'
            if value not in VERDICTS:
                raise Torn(f'{path}: line {at} has the verdict "{value[:20]}"')
            verdicts = tests.setdefault(test.removeprefix('zsmalloc:'), {}).setdefault(check, {})
            if verdicts.get(side) != 'FAILED':	# it failed once, so it failed
                verdicts[side] = value
    if not tests:
        raise Torn('no check has a result')
    return tests, figures


def tally(tests, side):
    all_of_it = [sides.get(side) for checks in tests.values() for sides in checks.values()]
    return {verdict: all_of_it.count(verdict) for verdict in VERDICTS}


def present(tests):
    """The kernels that were tested"""
    return [one for one in SIDES if sum(tally(tests, one[0]).values())]


def dots(checks, side, name):
    text = ''
    for check, sides in checks.items():
        verdict = sides.get(side)
        if verdict is None:
            text += f'<i class="check none" data-tip="{esc(check)}\nnot run on the {name}"></i>'
            continue
        mark = {'ok': '', 'FAILED': '\u00d7', 'skipped': '\u2013'}[verdict]
        text += (f'<i class="check {verdict}" data-tip="{esc(check)}\n{verdict} on the '
                 f'{name}">{mark}</i>')
    return text


def matrix(tests):
    text = '<div class="card">'
    for test, checks in tests.items():
        text += f'<div class="test"><b>{esc(test)}</b>'
        for side, name in present(tests):
            text += f'<span class="who">{name}</span><span class="checks">{dots(checks, side, name)}</span>'
        text += '</div>'
    return text + '</div>'


def differing(tests):
    rows = []
    for test, checks in tests.items():
        for check, sides in checks.items():
            seen = [sides.get(side) for side, _ in present(tests)]
            if 'FAILED' in seen or (None not in seen and len(set(seen)) > 1):
                rows.append(('', [f'{test}: {check}'] + [value or 'not run' for value in seen]))
    if not rows:
        return ('<p>No check failed.</p>' if len(present(tests)) == 1 else
                '<p>No check failed, and none differs between the two kernels.</p>')
    return ('<div class="card">' + page.table([''] + [name for _, name in present(tests)], rows) + '</div>')


def figure_bars(figures, kernels):
    if len(kernels) == 1:	# nothing to compare with
        (side, label), = kernels
        rows = [('', [name, sides.get(side, '-')]) for name, sides in figures.items()]
        return f'<div class="card">{page.table(["", label], rows)}</div>'
    rows = ''
    for name, sides in figures.items():
        numbers = {side: float(value) for side, value in sides.items()
                   if re.fullmatch(r'\d+(\.\d+)?', value)}
        top = max(numbers.values(), default=0) or 1
        rows += f'<div class="pair"><span class="what">{esc(name)}</span>'
        for side, label in kernels:
            value = sides.get(side)
            width = 100 * numbers.get(side, 0) / top
            rows += (f'<span class="who">{label}</span><span class="scale"><i class="bar {side}" '
                     f'style="width:{width:.2f}%"></i></span><span class="to">'
                     f'{esc("-" if value is None else num(int(value)) if value.isdigit() else value)}'
                     '</span>')
        rows += '</div>'
    return f'<div class="card">{rows}</div>'


def report(tests, figures, path):
    ours, base = tally(tests, 'ours'), tally(tests, 'base')
    total = sum(ours.values())
    if not total:
        headline = f'{num(base["ok"])} of {plural(sum(base.values()), "check")} pass on the base kernel'
    elif ours['FAILED']:
        headline = f'{num(ours["FAILED"])} of {plural(total, "check")} failed'
    else:
        headline = f'{plural(ours["ok"], "check")} passed, none failed'
        if ours['skipped']:
            headline += f', {num(ours["skipped"])} skipped'
    lead = f'{plural(len(tests), "test program")} ran in a guest. '
    parts = []
    for counts, name in ((ours, 'With this project'), (base, 'With the base kernel')):
        if sum(counts.values()):
            parts.append(f'{name}, {num(counts["ok"])} checks passed, {num(counts["FAILED"])} failed '
                         f'and {num(counts["skipped"])} were skipped.')
    lead += ' '.join(parts)
    score = '<div class="score">'
    for side, name in present(tests):
        counts = tally(tests, side)
        segments = ''.join(f'<i class="{verdict}" style="flex:{counts[verdict]} 0 0" '
                           f'data-tip="{name}\n{counts[verdict]} {verdict}"></i>'
                           for verdict in VERDICTS if counts[verdict])
        score += (f'<div><span class="name">{name}: {num(counts["ok"])} ok, {num(counts["FAILED"])} '
                  f'failed, {num(counts["skipped"])} skipped</span>'
                  f'<div class="stack tall">{segments}</div></div>')
    score += '</div>'
    body = ('<h2>Every check</h2><p class="say">A square is a check. Point at it to read what it '
            'checks.</p>'
            + page.legend((('ok', 'ok'), ('FAILED', 'failed (\u00d7)'), ('skipped', 'skipped (\u2013)')))
            + matrix(tests)
            + '<h2>Checks that failed, or that differ</h2>' + differing(tests))
    if figures:
        body += ('<h2>Figures</h2><p class="say">What the tests measured in passing, each on a scale '
                 'of its own. Times depend on what else the machine does.</p>' + figure_bars(figures, present(tests)))
    return page.page('zsmalloc: make selftest', f'zsmalloc \u00b7 make selftest \u00b7 {page.when(path)}',
                     headline, lead, score, body)


def main():
    if len(sys.argv) < 3:
        raise SystemExit('usage: selftest.py REPORT.html RESULTS...')

    def make():
        return [report(*read(sys.argv[2:]), sys.argv[2])]
    page.main(make, [sys.argv[1]])


main()
