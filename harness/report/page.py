# SPDX-License-Identifier: GPL-2.0
"""What all reports share: the page around them, bars, tables, and the reading of data."""

import datetime
import html
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))


class Torn(Exception):
    """Data that is missing, incomplete or contradicts itself."""


def esc(text):
    return html.escape(str(text), quote=True)


def num(value, digits=0):
    """A number with separators between thousands"""
    return f'{value:,.{digits}f}'


def plural(count, word):
    return f'{num(count)} {word}{"" if count == 1 else "s"}'


def times(ratio):
    """A ratio in words, as long as it has a short name"""
    return f'{ratio:.1f} times' if ratio < 10 else f'{ratio:.0f} times'


def nice_ticks(top, count=5):
    """Round numbers from 0 to at least top"""
    top = max(top, 1)
    step = 1
    while step * count < top:
        step = {1: 2, 2: 5, 5: 10}[int(str(step)[0])] * 10 ** (len(str(step)) - 1)
    return list(range(0, int(-(-top // step)) * step + 1, step))


def read_results(path):
    """The lines KEY VALUE of a guest, the last one of each key"""
    try:
        with open(path, encoding='ascii') as file:
            text = file.read().replace('\r', '')
    except (OSError, UnicodeDecodeError) as error:
        raise Torn(f'{path}: {getattr(error, "strerror", None) or error}') from error
    if text and not text.endswith('\n'):
        raise Torn(f'{path}: the last line is incomplete')
    return dict(line.partition(' ')[::2] for line in text.splitlines() if line)


def integer(results, key, path):
    """The value of a key, which must be a number"""
    value = results.get(key)
    if value is None:
        raise Torn(f'{path}: no line "{key}"')
    if not re.fullmatch(r'\d+', value):
        raise Torn(f'{path}: {key} is "{value[:40]}", not a number')
    return int(value)


def when(path):
    stamp = datetime.datetime.fromtimestamp(os.path.getmtime(path), datetime.timezone.utc)
    return stamp.strftime('%Y-%m-%d %H:%M UTC')


def legend(kinds):
    """kinds: pairs (class, name)"""
    items = ''.join(f'<li><i class="{kind}"></i>{esc(name)}</li>' for kind, name in kinds)
    return f'<ul class="legend">{items}</ul>'


def table(heads, rows):
    """rows: (class, cells); the first cell names the row"""
    lines = ['<div class="scroll"><table><thead><tr>']
    lines += [f'<th scope="col">{esc(head)}</th>' for head in heads]
    lines.append('</tr></thead><tbody>')
    for kind, cells in rows:
        span = f' colspan="{len(heads)}"' if len(cells) == 1 else ''
        lines.append(f'<tr class="{kind}">' if kind else '<tr>')
        lines += [f'<td{span}>{esc(cell)}</td>' for cell in cells]
        lines.append('</tr>')
    lines.append('</tbody></table></div>')
    return '\n'.join(lines)


def page(title, over, headline, lead, score, body):
    """A page that needs no other file.  score is beside the lead, body below."""
    with open(os.path.join(HERE, 'page.css'), encoding='utf-8') as file:
        css = file.read()
    with open(os.path.join(HERE, 'page.js'), encoding='utf-8') as file:
        script = file.read()
    return f'''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{esc(title)}</title>
<style>
{css}</style>
</head>
<body>
<main>
<p class="over">{esc(over)}</p>
<h1>{esc(headline)}</h1>
<div class="top">
<p class="lead">{esc(lead)}</p>
{score}
</div>
{body}
</main>
<div id="tip" role="status"></div>
<script>
//<![CDATA[
{script}//]]>
</script>
</body>
</html>
'''


def write(path, text):
    """Replaces a file, so that there is an old or a new one, never half of one"""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + '.new', 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(path + '.new', path)


def main(make, outputs):
    """Calls make(), which returns the text of each output.  Without complete data there
    is no page, not even an old one."""
    try:
        texts = make()
    except Torn as error:
        for path in outputs:
            if os.path.exists(path):
                os.remove(path)
        raise SystemExit(f'error: no report: {error}') from None
    for path, text in zip(outputs, texts):
        write(path, text)
