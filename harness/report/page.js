// SPDX-License-Identifier: GPL-2.0
// Of all reports: numbers under the pointer, and the maps of memory.
'use strict';

const tip = document.getElementById('tip');

function show_tip(html, x, y) {
	tip.innerHTML = html;
	tip.style.display = 'block';
	const width = tip.offsetWidth, height = tip.offsetHeight;
	const right = document.documentElement.clientWidth + scrollX - 12;
	const left = Math.max(scrollX + 12, Math.min(x + 14, right - width));
	const below = y + 18 + height < scrollY + innerHeight;
	tip.style.left = left + 'px';
	tip.style.top = (below ? y + 18 : y - 14 - height) + 'px';
}

function hide_tip() { tip.style.display = 'none'; }

function text(value) {
	return String(value).replace(/[&<>]/g, c => ({'&': '&amp;', '<': '&lt;', '>': '&gt;'}[c]));
}

// Elements with data-tip: lines of text, of which the first is the heading
for (const element of document.querySelectorAll('[data-tip]')) {
	element.addEventListener('pointermove', event => {
		const [head, ...rest] = element.dataset.tip.split('\n');
		show_tip('<b>' + text(head) + '</b>' + rest.map(text).join('<br>'), event.pageX, event.pageY);
	});
	element.addEventListener('pointerleave', hide_tip);
}

// Lines over time: data-series has [name, unit, [[x, y], ...]] for each line
function value_at(points, x) {
	let value = null;
	for (const [px, py] of points) {
		if (px > x)
			break;
		value = py;
	}
	return value;
}

const charts = [...document.querySelectorAll('.lines[data-series]')];

for (const chart of charts) {
	const end = Number(chart.dataset.end);
	chart.addEventListener('pointermove', event => {
		const box = chart.getBoundingClientRect();
		const x = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * end;
		let html = '<b>after ' + (end > 4 ? x.toFixed(2) + ' s' : Math.round(x * 1000) + ' ms') + '</b>';
		for (const other of charts) {
			const cross = other.querySelector('.cross');
			cross.style.left = x / end * 100 + '%';
			cross.style.display = 'block';
			for (const [name, points] of JSON.parse(other.dataset.series)) {
				const value = value_at(points, x);
				html += '<div><span>' + text(name) + '</span><span>' +
					(value === null ? '-' : value.toLocaleString('en')) + '</span></div>';
			}
		}
		show_tip(html, event.pageX, event.pageY);
	});
	chart.addEventListener('pointerleave', () => {
		hide_tip();
		for (const other of charts)
			other.querySelector('.cross').style.display = 'none';
	});
}

// Maps of memory: a tile for each pageblock, a dot for each page.  The same pageblock
// is marked in all maps.
const source = document.getElementById('maps');
const maps = source ? JSON.parse(source.textContent) : null;

function unpack(packed) {
	let pages = '';
	for (const [, letter, count] of packed.matchAll(/([a-zA-Z])(\d*)/g))
		pages += letter.repeat(Number(count || 1));
	return pages;
}

function draw_map(map) {
	const context = map.canvas.getContext('2d');
	const style = getComputedStyle(document.documentElement);
	const colour = {};
	for (const {letter, id} of maps.kinds)
		colour[letter] = style.getPropertyValue('--' + id).trim();
	const {width, height, gap} = map;
	context.clearRect(0, 0, map.canvas.width, map.canvas.height);
	map.blocks.forEach((pages, block) => {
		const left = block % maps.columns * (width + gap);
		const top = Math.floor(block / maps.columns) * (height + gap);
		for (let at = 0, run; at < pages.length; at += run) {
			const row = Math.floor(at / maps.across);
			const from = at % maps.across;
			for (run = 1; from + run < maps.across && pages[at + run] === pages[at]; run++)
				;
			if (!colour[pages[at]])
				continue;
			context.fillStyle = colour[pages[at]];
			context.fillRect(left + from * map.dot, top + row * map.dot, run * map.dot, map.dot);
		}
		if (pages[0] === 'H') {
			context.strokeStyle = style.getPropertyValue('--frame').trim();
			context.lineWidth = map.dot;
			context.strokeRect(left + 1.5 * map.dot, top + 1.5 * map.dot,
				width - 3 * map.dot, height - 3 * map.dot);
		}
		if (block === maps.marked) {
			context.strokeStyle = style.getPropertyValue('--ink').trim();
			context.lineWidth = 2 * map.dot;
			context.strokeRect(left, top, width, height);
		}
	});
}

function mark(block) {
	if (maps.marked === block)
		return;
	maps.marked = block;
	maps.list.forEach(draw_map);
}

function describe(map, block) {
	const pages = map.blocks[block], count = {};
	for (const letter of pages)
		count[letter] = (count[letter] || 0) + 1;
	const mb = pages => (pages * 4 / 1024).toLocaleString('en');
	const from = block * maps.block;
	let html = '<b>Pageblock ' + block + ', ' + mb(from) + '\u2013' + mb(from + pages.length) +
		' MB</b>' + text(map.name);
	for (const {letter, id, name} of maps.kinds) {
		if (count[letter])
			html += '<div><span><i class="' + id + '"></i>' + text(name) + '</span><span>' +
				count[letter] + (count[letter] === 1 ? ' page' : ' pages') + '</span></div>';
	}
	return html;
}

function start_map(map) {
	map.canvas = document.getElementById(map.id);
	map.blocks = map.blocks.map(unpack);
	map.dot = 2;
	map.width = maps.across * map.dot;
	map.height = Math.ceil(maps.block / maps.across) * map.dot;
	map.gap = 3 * map.dot;
	const rows = Math.ceil(map.blocks.length / maps.columns);
	map.canvas.width = maps.columns * (map.width + map.gap) - map.gap;
	map.canvas.height = rows * (map.height + map.gap) - map.gap;

	function at(event) {
		const box = map.canvas.getBoundingClientRect();
		const scale = map.canvas.width / box.width;
		const column = Math.floor((event.clientX - box.left) * scale / (map.width + map.gap));
		const row = Math.floor((event.clientY - box.top) * scale / (map.height + map.gap));
		return Math.max(0, Math.min(map.blocks.length - 1,
			row * maps.columns + Math.min(column, maps.columns - 1)));
	}
	map.canvas.addEventListener('pointermove', event => {
		mark(at(event));
		show_tip(describe(map, maps.marked), event.pageX, event.pageY);
	});
	for (const leave of ['pointerleave', 'blur'])
		map.canvas.addEventListener(leave, () => { mark(null); hide_tip(); });
	map.canvas.addEventListener('keydown', event => {
		const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -maps.columns,
			ArrowDown: maps.columns}[event.key];
		if (step === undefined)
			return;
		event.preventDefault();
		const block = Math.max(0, Math.min(map.blocks.length - 1,
			maps.marked === null ? 0 : maps.marked + step));
		mark(block);
		const box = map.canvas.getBoundingClientRect(), scale = box.width / map.canvas.width;
		show_tip(describe(map, block),
			box.left + scrollX + (block % maps.columns + 0.5) * (map.width + map.gap) * scale,
			box.top + scrollY + (Math.floor(block / maps.columns) + 1) * (map.height + map.gap) * scale);
	});
}

if (maps) {
	maps.marked = null;
	maps.list.forEach(start_map);
	maps.list.forEach(draw_map);
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change',
		() => maps.list.forEach(draw_map));
}
