// Lines over time, by severity: an SVG above the list. Dragging over it, or the arrow keys, choose a time.
import {el, svg, clock, when, number, plural} from './base.js';

const LEVELS = ['unset', 'debug', 'info', 'warn', 'error'];
const HEIGHT = 56;

export class Histogram {
	constructor(onRange) {
		this.onRange = onRange;
		this.svg = svg('svg', {class: 'bars', preserveAspectRatio: 'none', height: HEIGHT, 'aria-hidden': 'true'});
		this.brush = el('div', {class: 'brush', hidden: true});
		this.tip = el('div', {class: 'tip', hidden: true});
		this.scale = el('div', {class: 'scale', 'aria-hidden': 'true'});
		this.plot = el('div', {class: 'plot'}, this.svg, this.brush, this.tip);
		this.root = el('div', {class: 'histogram', tabindex: '0', role: 'slider', 'aria-label': 'Lines over time. Arrow keys choose a time, Enter takes it.',
			'aria-valuemin': '0', 'aria-valuemax': '1', 'aria-valuenow': '0', 'aria-valuetext': 'nothing chosen'}, this.plot, this.scale);
		this.listen();
	}

	totals(i) { return LEVELS.reduce((sum, level) => sum + this.data.counts[level][i], 0); }
	timeOf(i) { return this.from + i * this.data.step_ms; }
	get n() { return this.data ? this.data.counts.info.length : 0; }

	show(data) {
		this.data = data;
		this.from = Date.parse(data.from);
		const n = this.n, most = Math.max(1, ...Array.from({length: n}, (_, i) => this.totals(i)));
		this.svg.setAttribute('viewBox', `0 0 ${n} ${HEIGHT}`);
		const shapes = [];
		if (data.complete_from) {
			const upto = Math.min(n, Math.max(0, (Date.parse(data.complete_from) - this.from) / data.step_ms));
			shapes.push(svg('rect', {class: 'uncounted', x: 0, y: 0, width: upto, height: HEIGHT}));
		}
		for (let i = 0; i < n; i++) {
			let y = HEIGHT;
			for (const level of LEVELS) {
				const count = data.counts[level][i];
				if (!count) continue;
				const h = Math.max(1.5, count / most * (HEIGHT - 4));
				y -= h;
				shapes.push(svg('rect', {class: 'b-' + level, x: i + 0.08, y: Math.max(0, y), width: 0.84, height: h}));
			}
		}
		this.svg.replaceChildren(...shapes);
		this.root.setAttribute('aria-valuemax', String(Math.max(1, n - 1)));
		this.root.classList.toggle('none', data.total === 0);
		this.drawScale();
	}

	drawScale() {
		const span = this.n * this.data.step_ms, seconds = this.data.step_ms < 60000;
		const text = t => (span > 86400000 ? when(t).slice(0, -7) : clock(t, 0).slice(0, seconds ? 8 : 5));
		const marks = [0, 0.25, 0.5, 0.75, 1].map(share => el('span', {}, text(this.from + share * span)));
		this.scale.replaceChildren(...marks);
	}

	indexAt(event) {
		const box = this.plot.getBoundingClientRect();
		return Math.max(0, Math.min(this.n - 1, Math.floor((event.clientX - box.left) / box.width * this.n)));
	}

	select(a, b) {
		this.a = a; this.b = b;
		if (a === null) { this.brush.hidden = true; this.tip.hidden = true; return; }
		const low = Math.min(a, b), high = Math.max(a, b);
		this.brush.hidden = false;
		this.brush.style.left = `${low / this.n * 100}%`;
		this.brush.style.width = `${(high - low + 1) / this.n * 100}%`;
		this.showTip(low, high);
		this.root.setAttribute('aria-valuenow', String(high));
		this.root.setAttribute('aria-valuetext', this.tip.textContent);
	}

	showTip(low, high) {
		const sums = LEVELS.map(level => this.data.counts[level].slice(low, high + 1).reduce((x, y) => x + y, 0));
		const total = sums.reduce((x, y) => x + y, 0);
		const seconds = this.data.step_ms < 1000 ? 3 : 0;
		this.tip.replaceChildren(el('b', {}, plural(total, 'line')), ` ${clock(this.timeOf(low), seconds)} – ${clock(this.timeOf(high + 1), seconds)}`,
			sums[4] ? el('span', {class: 'bad'}, ` ${plural(sums[4], 'error')}`) : '', sums[3] ? el('span', {class: 'meh'}, ` ${plural(sums[3], 'warning')}`) : '');
		this.tip.hidden = false;
		const at = (low + high + 1) / 2 / this.n;
		this.tip.style.left = `${at * 100}%`;
		this.tip.dataset.side = at < 0.2 ? 'left' : at > 0.8 ? 'right' : 'middle';
	}

	take() {
		if (this.a === null || this.a === undefined) return;
		const low = Math.min(this.a, this.b), high = Math.max(this.a, this.b);
		this.select(null);
		this.onRange(this.timeOf(low), this.timeOf(high + 1));
	}

	listen() {
		let down = null;
		this.plot.addEventListener('pointerdown', e => {
			if (!this.data) return;
			down = this.indexAt(e);
			this.plot.setPointerCapture(e.pointerId);
			this.select(down, down);
		});
		this.plot.addEventListener('pointermove', e => {
			if (!this.data) return;
			const i = this.indexAt(e);
			if (down !== null) this.select(down, i);
			else this.showTip(i, i);
		});
		this.plot.addEventListener('pointerup', () => { if (down !== null) { down = null; this.take(); } });
		this.plot.addEventListener('pointercancel', () => { down = null; this.select(null); });
		this.plot.addEventListener('pointerleave', () => { if (down === null && this.brush.hidden) this.tip.hidden = true; });
		this.root.addEventListener('keydown', e => this.onKey(e));
		this.root.addEventListener('blur', () => { if (down === null) this.select(null); });
	}

	onKey(e) {
		if (!this.data || e.ctrlKey || e.metaKey) return;
		const step = {ArrowLeft: -1, ArrowRight: 1}[e.key], has = this.a !== null && this.a !== undefined;
		if (step) {
			const b = Math.max(0, Math.min(this.n - 1, has ? this.b + step : step < 0 ? this.n - 1 : 0));
			this.select(e.shiftKey && has ? this.a : b, b);
		} else if (e.key === 'Enter' && has) this.take();
		else if (e.key === 'Escape' && has) this.select(null);
		else return;
		e.preventDefault();
		e.stopPropagation();
	}
}
