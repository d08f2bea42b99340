// Services: rate, errors and durations of each, from the sums that the pipeline keeps.
import {el, svg, api, hue, number, short, ms as msText, clock, plural, skeleton, failure} from './base.js';

const RANGES = [['5m', '5 min'], ['15m', '15 min'], ['1h', '1 hour'], ['6h', '6 hours'], ['24h', '24 hours'], ['', 'all time']];
const sum = list => list.reduce((a, b) => a + b, 0);

// Two series as areas, the second on top of the first's axis.
function spark(all, bad, from, step, unit) {
	const n = all.length, most = Math.max(1, ...all), w = 240, h = 44;
	const bars = [];
	for (let i = 0; i < n; i++) {
		const high = all[i] / most * (h - 2), low = bad[i] / most * (h - 2), x = i / n * w, width = Math.max(1, w / n - 1);
		if (all[i]) bars.push(svg('rect', {class: 'all', x, y: h - Math.max(high, 1), width, height: Math.max(high, 1)}));
		if (bad[i]) bars.push(svg('rect', {class: 'bad', x, y: h - Math.max(low, 2), width, height: Math.max(low, 2)}));
	}
	const peak = all.indexOf(Math.max(...all));
	const text = sum(all) ? `${plural(sum(all), unit)}, most at ${clock(Date.parse(from) + peak * step, 0)}` : `no ${unit}s`;
	return el('div', {class: 'spark', role: 'img', 'aria-label': text, title: text}, svg('svg', {viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: 'none', 'aria-hidden': 'true'}, ...bars));
}

export class Services {
	constructor(page) {
		this.page = page;
		this.range = el('div', {class: 'segments', role: 'radiogroup', 'aria-label': 'Time'});
		this.body = el('div', {class: 'service-list'});
		this.root = el('section', {class: 'services', 'aria-label': 'Services'}, el('header', {class: 'view-head'}, el('h1', {}, 'Services'), this.range), this.body);
	}

	show(args) {
		this.since = args.since === 'all' ? '' : args.since || '15m';
		this.range.replaceChildren(...RANGES.map(([value, text]) => el('button', {type: 'button', role: 'radio', 'aria-checked': String(value === this.since), onclick: () => this.page.go('services', {since: value || 'all'})}, text)));
		this.body.replaceChildren(skeleton(6));
		this.load();
	}

	hide() { clearTimeout(this.again); this.shown = Symbol(); }
	key() { return false; }

	async load() {
		const mine = this.shown = Symbol();
		clearTimeout(this.again);
		try {
			const data = await api('services', {since: this.since, steps: 60});
			if (mine !== this.shown) return;
			this.page.connection('live', 'live');
			this.draw(data);
		} catch (error) {
			if (mine !== this.shown) return;
			this.body.replaceChildren(error.status === 404 ? this.none() : failure(error, () => this.load()));
		}
		this.again = setTimeout(() => this.load(), 5000);
	}

	none() {
		return el('div', {class: 'empty'}, el('h2', {}, 'No service has written anything in this time'),
			el('p', {}, 'Rates and durations are summed up in windows of 10 seconds; the first appear shortly after the first line.'),
			this.since ? el('button', {class: 'button', type: 'button', onclick: () => this.page.go('services', {since: 'all'})}, 'Look at all time') : '');
	}

	draw(data) {
		const active = data.services.filter(s => sum(s.lines) + sum(s.requests) > 0).sort((a, b) => sum(b.requests) * 2 + sum(b.lines) - sum(a.requests) * 2 - sum(a.lines));
		if (!active.length) { this.body.replaceChildren(this.none()); return; }
		const seconds = data.steps * data.step_ms / 1000;
		this.body.replaceChildren(el('p', {class: 'axis-note dim'}, `${clock(Date.parse(data.from), 0)} to now, ${data.step_ms / 1000} s a bar`),
			...active.map(service => this.card(service, data, seconds)),
			data.others ? el('p', {class: 'note'}, `${number(data.others)} lines and requests of more services than are shown here.`) : '');
	}

	card(s, data, seconds) {
		const lines = sum(s.lines), errors = sum(s.errors), requests = sum(s.requests), failed = sum(s.failed);
		const busy = list => { const used = list.findIndex(n => n > 0); return used < 0 ? seconds : (list.length - used) * data.step_ms / 1000; };
		const rate = (n, list) => { const r = n / busy(list); return r >= 10 ? short(r) : r.toFixed(r < 1 ? 2 : 1); };
		const figure = (value, unit, level) => el('span', {class: 'figure ' + (level || '')}, el('b', {}, value), ' ', unit);
		const share = n => (n < 0.001 ? '<0.1' : (n * 100).toFixed(n < 0.1 ? 1 : 0));
		const title = el('h2', {}, el('a', {class: 'svc h' + hue(s.name), href: '#/lines?since=' + (this.since || 'all') + '&service=' + encodeURIComponent(s.name)}, s.name));
		const logged = el('p', {}, figure(rate(lines, s.lines), 'lines/s'), errors ? figure(number(errors), errors === 1 ? 'error' : 'errors', 'bad') : figure('no', 'errors', 'ok'));
		const chart = spark(s.lines, s.errors, data.from, data.step_ms, 'line');
		const gaps = s.gaps ? el('p', {class: 'note bad'}, `${plural(s.gaps, 'gap')}, ${number(s.lost_bytes)} bytes lost`) : '';
		if (!requests) return el('article', {class: 'card service flat'}, title, el('div', {class: 'chart'}, chart), el('div', {class: 'chart'}, logged), gaps);
		return el('article', {class: 'card service'}, title,
			el('div', {class: 'chart'}, el('h3', {}, 'Lines'), chart, logged),
			el('div', {class: 'chart'}, el('h3', {}, 'Requests'), spark(s.requests, s.failed, data.from, data.step_ms, 'request'),
				el('p', {}, figure(rate(requests, s.requests), 'requests/s'), failed ? figure(share(failed / requests) + ' %', 'failed', 'bad') : figure('none', 'failed', 'ok'))),
			el('div', {class: 'durations'}, el('h3', {}, 'Time to answer'), el('dl', {class: 'facts'}, ...[['half', s.p50_ms], ['95 %', s.p95_ms], ['99 %', s.p99_ms], ['longest', s.max_ms]].map(([k, v]) => el('div', {}, el('dt', {}, k), el('dd', {}, msText(v)))))), gaps);
	}
}
