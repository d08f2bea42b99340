// The lines: search, filters, the list and its live tail.
//
// The list holds what a search found, newest first; the stream adds on top what comes after it. While a
// person reads further down, or has paused, new lines wait (at most WAITING_MAX, then the oldest of them
// go and are counted); a button says how many. A search that ends for its budget is continued until the
// list is filled or all was searched.
import {$, el, api, ApiError, say, skeleton, failure, number, plural, msOf, when, ago, copy} from './base.js';
import {Histogram} from './histogram.js';
import {row, details, requestOf} from './row.js';

const PAGE = 200, PARTS_MAX = 60, LIVE_MAX = 1000, LIST_MAX = 5000, WAITING_MAX = 1000;
const RANGES = [['5m', 'Last 5 min'], ['15m', 'Last 15 min'], ['1h', 'Last hour'], ['6h', 'Last 6 hours'], ['24h', 'Last 24 hours'], ['7d', 'Last 7 days'], ['', 'All time']];
const LEVELS = [['', 'Any severity'], ['debug', 'Debug and above'], ['info', 'Info and above'], ['warn', 'Warnings and errors'], ['error', 'Errors only']];

const quote = text => (/^[\w.\/:@+-]+$/.test(text) ? text : `"${text.replaceAll('"', '')}"`);

export class Lines {
	constructor(page) {
		this.page = page; // {go, connection}
		this.paused = false;
		this.waiting = [];
		this.lost = 0;
		this.services = [];
		this.act = {
			service: name => this.go({service: name}),
			field: (key, value) => this.go({q: `${this.filter.q ? this.filter.q + ' ' : ''}${key}=${quote(String(value))}`}),
			around: ms => this.go({from: String(Math.round(ms - 5000)), to: String(Math.round(ms + 5000)), q: '', id: ''}),
		};
		this.build();
	}

	build() {
		const select = (id, label, options) => el('select', {id, 'aria-label': label, onchange: () => this.submit()}, ...options.map(([value, text]) => el('option', {value}, text)));
		this.q = el('input', {id: 'q', type: 'search', placeholder: 'Search words, "a phrase", field=value', 'aria-label': 'Search', autocomplete: 'off', spellcheck: 'false', enterkeyhint: 'search'});
		this.id = el('input', {id: 'request', type: 'search', placeholder: 'Request id', 'aria-label': 'Request id', autocomplete: 'off', spellcheck: 'false'});
		this.service = select('service', 'Service', [['', 'All services']]);
		this.level = select('severity', 'Severity', LEVELS);
		this.kind = select('kind', 'Lines or HTTP exchanges', [['', 'Log lines'], ['1', 'HTTP exchanges']]);
		this.since = select('since', 'Time', RANGES);
		this.pause = el('button', {id: 'pause', class: 'button', type: 'button', 'aria-pressed': 'false', title: 'Pause (p)', onclick: () => this.setPaused(!this.paused)}, 'Pause');
		this.more = el('button', {class: 'button filters', type: 'button', 'aria-expanded': 'false', 'aria-controls': 'filters', onclick: () => this.toggleFilters()}, 'Filters');
		const filters = el('div', {id: 'filters', class: 'filter-row'}, this.service, this.level, this.id, this.kind);
		const form = el('form', {class: 'search', role: 'search', onsubmit: e => { e.preventDefault(); this.submit(); }},
			el('div', {class: 'main-row'}, el('span', {class: 'q-box'}, this.q, el('kbd', {'aria-hidden': 'true'}, '/')), this.since, this.more, this.pause), filters,
			el('button', {class: 'quiet', type: 'submit', tabindex: '-1'}, 'Search'));
		this.histogram = new Histogram((from, to) => this.go({from: String(from), to: String(to)}));
		this.summary = el('div', {class: 'summary'});
		this.fresh = el('button', {class: 'fresh', type: 'button', hidden: true, onclick: () => this.toNewest()});
		this.list = el('ol', {id: 'list', class: 'rows', 'aria-label': 'Log lines, newest first'});
		this.foot = el('div', {class: 'foot'});
		this.scroller = el('div', {class: 'scroller', tabindex: '-1'}, this.list, this.foot);
		this.root = el('section', {class: 'lines', 'aria-label': 'Lines'}, el('h1', {class: 'quiet'}, 'Lines'), form, this.histogram.root, this.summary, el('div', {class: 'fresh-box'}, this.fresh), this.scroller);
		this.listen();
	}

	listen() {
		for (const input of [this.q, this.id])
			input.addEventListener('input', () => { clearTimeout(this.typing); this.typing = setTimeout(() => this.submit(true), 350); });
		this.list.addEventListener('click', e => {
			const line = e.target.closest('.line');
			if (line && !e.target.closest('a, button') && !getSelection().toString()) this.toggle(line.parentElement);
		});
		this.list.addEventListener('focusin', e => { const li = e.target.closest('.row'); if (li) this.mark(li); });
		this.scroller.addEventListener('scroll', () => {
			if (this.scroller.scrollTop < 4 && this.waiting.length && !this.paused) this.flush();
			if (this.scroller.scrollTop + this.scroller.clientHeight > this.scroller.scrollHeight - 600) this.loadOlder();
		}, {passive: true});
	}

	// --- what is asked for ---

	go(change) { this.page.go('lines', {...this.filter, ...('since' in change ? {from: '', to: ''} : {}), ...change}); }

	submit(replace = false) {
		clearTimeout(this.typing);
		const change = {q: this.q.value.trim(), id: this.id.value.trim(), service: this.service.value, severity: this.level.value, http: this.kind.value};
		if (this.since.value !== 'fixed') Object.assign(change, {since: this.since.value || 'all', from: '', to: ''});
		this.page.go('lines', {...this.filter, ...change}, replace);
	}

	question() {
		const f = this.filter, parts = [];
		if (f.q) parts.push(f.q);
		if (f.service) parts.push(`service="${f.service.replaceAll('"', '')}"`);
		if (f.severity && !f.http) parts.push(`severity>=${f.severity}`);
		if (f.id) parts.push(`request="${f.id.replaceAll('"', '')}"`);
		return parts.join(' ');
	}

	args() {
		const f = this.filter, iso = ms => new Date(Number(ms)).toISOString();
		const time = f.from ? {since: iso(f.from), until: iso(f.to)} : f.since === 'all' ? {} : {since: f.since || '15m'};
		return {q: this.question(), http: f.http, ...time};
	}

	// Shows the view for these arguments of the address.
	show(args) {
		const changed = JSON.stringify(args) !== JSON.stringify(this.filter);
		this.filter = args;
		this.fillForm();
		if (changed || this.busy || !this.list.children.length) this.search();
		else this.resume();
	}

	fillForm() {
		const f = this.filter, set = (input, value) => { if (document.activeElement !== input) input.value = value || ''; };
		set(this.q, f.q);
		set(this.id, f.id);
		this.fillServices();
		this.level.value = f.severity || '';
		this.kind.value = f.http || '';
		this.level.disabled = Boolean(f.http); // exchanges have a status instead
		this.since.querySelector('[value=fixed]')?.remove();
		if (f.from) this.since.append(el('option', {value: 'fixed'}, `${when(Number(f.from)).slice(0, -4)} – ${when(Number(f.to)).slice(0, -4)}`));
		this.since.value = f.from ? 'fixed' : f.since === 'all' ? '' : f.since || '15m';
		const n = [f.service, f.severity, f.id, f.http].filter(Boolean).length;
		this.more.textContent = n ? `Filters (${n})` : 'Filters';
	}

	fillServices() {
		const names = [...new Set([...this.services, this.filter.service].filter(Boolean))].sort();
		this.service.replaceChildren(el('option', {value: ''}, 'All services'), ...names.map(name => el('option', {value: name}, name)));
		this.service.value = this.filter.service || '';
	}

	toggleFilters() {
		const open = this.root.classList.toggle('filters-open');
		this.more.setAttribute('aria-expanded', String(open));
	}

	async search() {
		this.stop();
		this.abort = new AbortController();
		const {signal} = this.abort;
		this.waiting = [];
		this.lost = 0;
		this.next = null;
		this.showFresh();
		this.list.replaceChildren();
		this.foot.replaceChildren(skeleton(12));
		this.scroller.scrollTop = 0;
		this.busy = true;
		this.histogramNow();
		try {
			const answer = await api('search', {...this.args(), limit: PAGE}, signal);
			this.newest = answer.newest;
			this.took = answer.took_ms;
			this.foot.replaceChildren();
			this.append(answer.records);
			await this.continue(answer, PAGE, signal);
			this.follow();
			if (answer.records.length) say(`${plural(this.list.children.length, 'line')} shown`);
		} catch (error) {
			if (error.name === 'AbortError') return;
			this.fail(error);
		} finally {
			if (!signal.aborted) this.busy = false;
		}
	}

	// Goes on with a search that its budget ended, until `want` lines are there.
	async continue(answer, want, signal) {
		let missing = want - answer.records.length;
		while (answer.end === 'time' && missing > 0) {
			this.foot.replaceChildren(el('p', {class: 'working'}, `Searching … back to ${when(msOf(answer.searched_to)).slice(0, -4)}`));
			answer = await api('search', {...this.args(), limit: missing, before: answer.next}, signal);
			this.append(answer.records);
			missing -= answer.records.length;
		}
		this.next = answer.next;
		this.ending();
	}

	async loadOlder() {
		if (!this.next || this.busy || this.list.children.length >= LIST_MAX) return;
		this.busy = true;
		const {signal} = this.abort;
		this.foot.replaceChildren(skeleton(4));
		try {
			const answer = await api('search', {...this.args(), limit: PAGE, before: this.next}, signal);
			this.append(answer.records);
			await this.continue(answer, PAGE, signal);
		} catch (error) {
			if (error.name !== 'AbortError') this.foot.replaceChildren(failure(error, () => { this.busy = false; this.loadOlder(); }));
		} finally {
			if (!signal.aborted) this.busy = false;
		}
	}

	fail(error) {
		this.list.replaceChildren();
		if (error instanceof ApiError && error.status === 404) {
			this.foot.replaceChildren(this.welcome());
			this.page.connection('wait', 'waiting for lines');
			this.retry = setTimeout(() => this.search(), 2000);
		} else if (error.status !== 401) {
			this.foot.replaceChildren(failure(error, () => this.search()));
			if (error.status === 0) { this.page.connection('bad', 'no connection'); this.retry = setTimeout(() => this.search(), 3000); }
		}
		this.summary.replaceChildren();
	}

	// --- the list ---

	append(records) {
		const rows = records.map(record => row(record, this.act));
		// Where another day begins, the row says so.
		let before = this.list.lastElementChild ? msOf(this.list.lastElementChild.record.observed_timestamp) : Date.now();
		for (const li of rows) {
			const t = msOf(li.record.observed_timestamp);
			if (new Date(t).toDateString() !== new Date(before).toDateString()) li.dataset.day = new Date(t).toLocaleDateString(undefined, {weekday: 'long', month: 'long', day: 'numeric'});
			before = t;
		}
		this.list.append(...rows);
		if (this.list.firstChild && !this.list.querySelector('[tabindex="0"].row')) this.list.firstChild.tabIndex = 0;
	}

	ending() {
		const n = this.list.children.length;
		if (n === 0) this.foot.replaceChildren(this.nothing());
		else if (!this.next) this.foot.replaceChildren(el('p', {class: 'end'}, 'That is all.'));
		else if (n >= LIST_MAX) this.foot.replaceChildren(el('p', {class: 'end'}, `${number(n)} lines are shown. Choose a time on the chart, or search for more words.`));
		else this.foot.replaceChildren(el('button', {class: 'button', type: 'button', onclick: () => this.loadOlder()}, 'Older lines'));
	}

	welcome() {
		const command = `tapline run --web ${location.host} -- ./your-service`;
		return el('div', {class: 'empty'}, el('h2', {}, 'Nothing has been captured yet'),
			el('p', {}, 'tapline reads what a service writes, from the outside; nothing in the service is changed. Start it with a command of yours, or tap what already runs:'),
			el('pre', {}, command, '\n', `tapline run --web ${location.host} --comm nginx`),
			el('button', {class: 'button', type: 'button', onclick: e => copy(command, e.currentTarget)}, 'Copy the command'),
			el('p', {class: 'dim'}, 'Lines appear here as they are written. This page looks again by itself.'));
	}

	nothing() {
		const f = this.filter, narrowed = f.q || f.service || f.severity || f.id;
		const all = !f.from && f.since === 'all';
		const box = el('div', {class: 'empty'}, el('h2', {}, narrowed ? 'No line matches' : 'No lines in this time'));
		if (narrowed) box.append(el('p', {}, 'All words must be in the line, and all filters must fit. ', el('code', {}, 'time*'), ' finds beginnings, ', el('code', {}, '-word'), ' leaves lines out.'));
		else if (!f.from) box.append(el('p', {}, 'The services that are tapped have written nothing. A service that keeps its output in a buffer shows it late: ', el('code', {}, 'PYTHONUNBUFFERED=1'), ', ', el('code', {}, 'stdbuf -oL'), ' or ', el('code', {}, 'tapline run --tty'), ' help.'));
		const actions = el('div', {class: 'actions'});
		if (narrowed) actions.append(el('button', {class: 'button', type: 'button', onclick: () => this.go({q: '', service: '', severity: '', id: ''})}, 'Clear the filters'));
		if (!all) actions.append(el('button', {class: 'button', type: 'button', onclick: () => this.go({since: 'all', from: '', to: ''})}, 'Look at all time'));
		box.append(actions);
		this.tellNewest(box);
		return box;
	}

	async tellNewest(box) {
		const health = await api('health').catch(() => null);
		if (health?.store?.newest) box.append(el('p', {class: 'dim'}, `The store holds ${plural(health.store.records, 'line')}; the newest came ${ago(msOf(health.store.newest))}.`));
	}

	toggle(li) {
		const open = li.querySelector('.details');
		if (open) open.remove();
		else li.append(details(li.record, this.act));
		li.classList.toggle('open', !open);
		say(open ? 'closed' : 'opened');
	}

	mark(li) {
		for (const other of this.list.querySelectorAll('.row[tabindex="0"]')) other.tabIndex = -1;
		li.tabIndex = 0;
		this.current = li;
	}

	move(step) {
		const from = this.current?.isConnected ? this.current : null;
		const to = from ? (step > 0 ? from.nextElementSibling : from.previousElementSibling) : this.list.firstElementChild;
		if (!to) return;
		to.focus({preventScroll: true});
		to.scrollIntoView({block: 'nearest'});
	}

	key(e) {
		const on = document.activeElement?.closest?.('.row');
		if (e.key === 'j' || e.key === 'ArrowDown') this.move(1);
		else if (e.key === 'k' || e.key === 'ArrowUp') this.move(-1);
		else if (e.key === 'Enter' && on && document.activeElement === on) this.toggle(on);
		else if (e.key === 'r' && on && requestOf(on.record)) location.hash = '#/request/' + encodeURIComponent(requestOf(on.record));
		else if (e.key === 'p') this.setPaused(!this.paused);
		else if (e.key === '.') this.toNewest();
		else if (e.key === '/') { this.q.focus(); this.q.select(); }
		else return false;
		return true;
	}

	// --- the live tail ---

	follow() {
		if (this.filter.from) { this.page.connection('fixed', 'fixed time'); this.pause.disabled = true; return; }
		this.pause.disabled = false;
		const stream = new EventSource(`api/stream?${new URLSearchParams({q: this.question(), after: this.newest, ...(this.filter.http ? {http: 1} : {})})}`);
		this.stream = stream;
		const alive = e => {
			this.newest = Number(e.lastEventId) || this.newest;
			this.page.connection(this.paused ? 'paused' : 'live', this.paused ? 'paused' : 'live');
			clearTimeout(this.silent);
			this.silent = setTimeout(() => this.page.connection('bad', 'no signal'), 25000);
		};
		stream.addEventListener('begin', alive);
		stream.addEventListener('beat', alive);
		stream.addEventListener('records', e => { alive(e); this.arrive(JSON.parse(e.data)); });
		stream.addEventListener('skipped', e => { alive(e); this.lost += JSON.parse(e.data).records; this.showFresh(); this.tell(); });
		stream.addEventListener('error', () => {
			this.page.connection('bad', stream.readyState === EventSource.CLOSED ? 'not connected' : 'connecting again');
			if (stream.readyState === EventSource.CLOSED) this.retry = setTimeout(() => this.search(), 3000);
		});
		this.ticking = setInterval(() => { if (!this.paused && !document.hidden) this.histogramNow(true); }, 5000);
	}

	stop() {
		this.abort?.abort();
		this.stream?.close();
		this.stream = null;
		clearTimeout(this.retry);
		clearTimeout(this.silent);
		clearInterval(this.ticking);
	}

	arrive(records) {
		records.sort((a, b) => (a.observed_timestamp < b.observed_timestamp ? -1 : 1));
		this.waiting.push(...records);
		if (this.waiting.length > WAITING_MAX) this.lost += this.waiting.splice(0, this.waiting.length - WAITING_MAX).length;
		if (!this.paused && this.scroller.scrollTop < 4 && !this.list.querySelector('.row.open')) this.flush();
		else this.showFresh();
		clearTimeout(this.soon);
		this.soon = setTimeout(() => { if (!this.paused) this.histogramNow(true); }, 1000);
	}

	flush() {
		const n = this.waiting.length;
		if (!n) return;
		if (!this.list.children.length) this.foot.replaceChildren();
		const rows = this.waiting.reverse().map(record => row(record, this.act));
		for (const li of rows) li.classList.add('new');
		this.waiting = [];
		this.list.prepend(...rows);
		if (!this.list.querySelector('[tabindex="0"].row')) rows[0].tabIndex = 0;
		while (this.list.children.length > LIVE_MAX && this.list.lastChild !== this.current) this.trim();
		this.showFresh();
		say(plural(n, 'new line'));
	}

	// What leaves the end of a live list would leave a hole before older lines: they are searched for anew.
	trim() {
		this.list.lastChild.remove();
		this.next = null;
		this.foot.replaceChildren(el('p', {class: 'end'}, `The newest ${number(LIVE_MAX)} lines. Pause, or choose a time on the chart, to read older ones.`));
	}

	toNewest() {
		for (const open of this.list.querySelectorAll('.row.open')) this.toggle(open);
		this.scroller.scrollTop = 0;
		if (this.paused) this.setPaused(false);
		else this.flush();
	}

	setPaused(paused) {
		if (this.filter.from) return;
		this.paused = paused;
		this.pause.textContent = paused ? 'Go on' : 'Pause';
		this.pause.setAttribute('aria-pressed', String(paused));
		this.pause.title = paused ? 'Go on (p)' : 'Pause (p)';
		this.root.classList.toggle('is-paused', paused);
		this.page.connection(paused ? 'paused' : 'live', paused ? 'paused' : 'live');
		say(paused ? 'Paused' : 'Live');
		if (!paused) { this.scroller.scrollTop = 0; this.flush(); this.histogramNow(); }
		this.showFresh();
	}

	showFresh() {
		const n = this.waiting.length;
		this.fresh.hidden = n === 0;
		this.fresh.textContent = `↑ ${plural(n, 'new line')}${n >= WAITING_MAX ? ' and more' : ''}`;
		this.tell();
	}

	tell() {
		const h = this.counted, parts = [];
		if (h && (h.total || !h.complete_from)) {
			parts.push(el('b', {}, `${h.complete_from ? 'at least ' : ''}${plural(h.total, this.filter.http ? 'exchange' : 'line')}`));
			const errors = h.counts.error.reduce((a, b) => a + b, 0), warnings = h.counts.warn.reduce((a, b) => a + b, 0);
			if (errors) parts.push(el('span', {class: 'bad'}, plural(errors, 'error')));
			if (warnings) parts.push(el('span', {class: 'meh'}, plural(warnings, 'warning')));
		}
		if (this.took !== undefined) parts.push(el('span', {class: 'dim'}, `found in ${this.took < 10 ? this.took.toFixed(1) : Math.round(this.took)} ms`));
		if (this.lost) parts.push(el('span', {class: 'meh', title: 'More came than a page can show. They are all in the store: search finds them.'}, `${plural(this.lost, 'line')} passed too fast to show`));
		if (this.filter?.from) parts.push(el('button', {class: 'link', type: 'button', onclick: () => this.go({since: this.filter.since || '15m', from: '', to: ''})}, 'back to live'));
		this.summary.replaceChildren(...parts);
	}

	// A chart that its budget ended is gone on with from where it stopped, so it fills from the newest to the
	// oldest. One that took several parts is not drawn anew every few seconds.
	async histogramNow(again = false) {
		const mine = this.abort;
		if (again && (this.counting || (this.parts > 1 && Date.now() - this.countedAt < 30000))) return;
		const turn = this.counting = {};
		try {
			const args = this.args();
			const sum = await api('histogram', {...args, steps: innerWidth < 600 ? 45 : 90}, mine.signal);
			const n = sum.counts.info.length, fixed = {since: sum.from, until: new Date(Date.parse(sum.from) + n * sum.step_ms - 1).toISOString(), step_ms: sum.step_ms};
			for (this.parts = 1; mine === this.abort && turn === this.counting; this.parts++) {
				this.counted = sum;
				this.countedAt = Date.now();
				this.histogram.show(sum);
				this.tell();
				if (!sum.complete_from || this.parts >= PARTS_MAX) break;
				const part = await api('histogram', {...args, ...fixed, before: sum.complete_from}, mine.signal);
				for (const level of Object.keys(sum.counts)) part.counts[level].forEach((count, i) => { sum.counts[level][i] += count; });
				sum.total += part.total;
				sum.complete_from = part.complete_from;
			}
		} catch { /* the search says what is wrong */ }
		if (turn === this.counting) this.counting = null;
	}

	// The list stays as it is while another view is shown; what comes meanwhile is asked for afterwards.
	hide() {
		this.scrolled = this.scroller.scrollTop;
		this.stop();
	}

	resume() {
		if (this.busy) { this.search(); return; }
		this.stop();
		this.abort = new AbortController();
		this.scroller.scrollTop = this.scrolled || 0;
		this.follow();
		this.histogramNow();
	}

	// A page that nobody sees keeps no connection: a browser has six for all its tabs.
	seen(visible) {
		clearTimeout(this.unseen);
		if (!visible) this.unseen = setTimeout(() => { if (this.stream) { this.stop(); this.slept = true; } }, 30000);
		else if (this.slept) { this.slept = false; this.scrolled = this.scroller.scrollTop; this.resume(); }
	}
}
