// Health: is every byte accounted for, where are records now, why ids are missing.
import {$, el, api, number, bytes, plural, msOf, ago, short, skeleton, failure} from './base.js';
import {CAUSE, WHY, HOW} from './explain.js';

const total = object => Object.values(object || {}).reduce((a, b) => a + b, 0);

// What a status says, in one word for the dot beside the tab.
export function verdict(health) {
	const agent = health.agent;
	if (!health.store) return 'wait';
	if (!agent) return 'none';
	if (total(agent.dropped_bytes) + total(agent.dropped_events) + (agent.bytes?.gaps || 0) > 0) return 'bad';
	if (health.store.dead_letters > 0 || Date.now() - msOf(agent.time) > 15000) return 'meh';
	return 'ok';
}

export class Health {
	constructor(page) {
		this.page = page;
		this.body = el('div', {}, skeleton(8));
		this.root = el('section', {class: 'health', 'aria-label': 'Health'}, el('header', {class: 'view-head'}, el('h1', {}, 'Health')), this.body);
	}

	show() { this.shown = true; this.load(); }
	hide() { this.shown = false; clearTimeout(this.again); }
	key() { return false; }

	async load() {
		clearTimeout(this.again);
		try {
			const health = await api('health');
			if (!this.shown) return;
			this.page.connection('live', 'live');
			this.draw(health);
		} catch (error) {
			if (this.shown) this.body.replaceChildren(failure(error, () => this.load()));
		}
		if (this.shown) this.again = setTimeout(() => this.load(), 2000);
	}

	draw(health) {
		const focus = document.activeElement?.id;
		this.body.replaceChildren(this.banner(health), this.way(health), this.losses(health), this.ids(health.agent), this.rest(health));
		if (focus) $(focus)?.focus();
	}

	banner(health) {
		const agent = health.agent, v = verdict(health);
		const lost = (agent?.bytes?.gaps || 0), dropped = total(agent?.dropped_events);
		const text = !health.store ? ['Nothing is stored yet', health.store_why]
			: !agent ? ['No agent on this host', `The page shows what is in the store; losses are told by the agents where they run. (${health.agent_why})`]
			: v === 'bad' ? [lost ? `${bytes(lost)} lost` : 'Something was dropped', `${dropped ? plural(dropped, 'event') + ' dropped. ' : ''}Each loss is told in the lines at its place, and below by cause.`]
			: v === 'meh' ? (health.store.dead_letters ? ['Some records could not be stored', 'They are kept as dead letters; see below.'] : ['The agent has not spoken for a while', `Its last word is from ${ago(msOf(agent.time))}.`])
			: ['Every byte is accounted for', `${number(agent.bytes.seen)} bytes were written by tapped processes; none of them is missing.`];
		return el('div', {class: 'banner ' + (v === 'none' ? 'wait' : v), role: 'status'}, el('i', {'aria-hidden': 'true'}), el('div', {}, el('h2', {}, text[0]), el('p', {}, text[1])));
	}

	// kernel -> agent -> local log -> store, with what is where.
	way(health) {
		const agent = health.agent, store = health.store;
		const stop = (name, value, ...more) => el('li', {}, el('h3', {}, name), el('b', {}, value), ...more.map(m => el('span', {class: 'dim'}, m)));
		const fill = agent ? agent.ring_pending_bytes / agent.ring_bytes : 0;
		return el('ol', {class: 'way', 'aria-label': 'The way of a line'},
			agent && stop('Kernel', bytes(agent.bytes.seen), 'written by tapped processes', `ring ${(fill * 100).toFixed(fill < 0.1 ? 1 : 0)} % full of ${bytes(agent.ring_bytes)}`),
			agent && stop('Agent', short(agent.records) + ' lines', `${short(agent.exchanges)} HTTP exchanges`, `${agent.state}, ${agent.backend}`),
			agent && stop('Local log', bytes(agent.log?.unread_bytes || 0), 'on the way to the store', agent.log?.outage_seconds ? `bridges ${agent.log.outage_seconds > 7200 ? Math.round(agent.log.outage_seconds / 3600) + ' h' : Math.round(agent.log.outage_seconds / 60) + ' min'} more` : ''),
			store ? stop('Store', short(store.records) + ' lines', `${short(store.exchanges)} exchanges, ${bytes(store.bytes)}`, store.newest ? `newest ${ago(msOf(store.newest))}` : 'empty') : stop('Store', '–', 'none yet'),
			stop('Page', plural(health.page.streams, 'reader'), `${number(health.page.skipped_records)} lines passed too fast to show`));
	}

	losses(health) {
		const agent = health.agent, rows = [];
		for (const [cause, n] of Object.entries(agent?.dropped_bytes || {})) if (n) rows.push([cause, bytes(n)]);
		for (const [cause, n] of Object.entries(agent?.dropped_events || {})) if (n) rows.push([cause, plural(n, 'event')]);
		const letters = health.store?.dead_letter_reasons || [];
		const table = (label, head, body) => el('table', {'aria-label': label}, el('thead', {}, el('tr', {}, ...head.map(h => el('th', {scope: 'col'}, h)))), el('tbody', {}, ...body));
		return el('section', {class: 'card', 'aria-label': 'Losses'}, el('h2', {}, 'Losses by cause'),
			!agent ? el('p', {class: 'dim'}, 'Losses are counted by the agent, which does not run here.') : rows.length
				? table('Losses', ['Cause', 'Lost', 'What happened', 'What helps'], rows.map(([cause, n]) => el('tr', {}, el('th', {scope: 'row'}, el('code', {}, cause)), el('td', {class: 'num bad'}, n), el('td', {}, CAUSE[cause]?.[0] || ''), el('td', {class: 'dim'}, CAUSE[cause]?.[1] || ''))))
				: el('p', {class: 'ok-line'}, 'None. Every cause has a counter, and all of them are zero.'),
			letters.length ? el('h2', {}, 'Dead letters') : '',
			letters.length ? table('Dead letters', ['Stage', 'Count', 'Reason'], letters.map(l => el('tr', {}, el('th', {scope: 'row'}, l.stage), el('td', {class: 'num'}, number(l.count)), el('td', {}, l.reason)))) : '');
	}

	ids(agent) {
		if (!agent?.correlation?.how) return '';
		const how = Object.entries(agent.correlation.how).filter(([, n]) => n > 0), all = how.reduce((a, [, n]) => a + n, 0) || 1;
		const why = Object.entries(agent.correlation.why || {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
		const bar = el('div', {class: 'share', role: 'img', 'aria-label': how.map(([k, n]) => `${k} ${Math.round(n / all * 100)} percent`).join(', ')}, ...how.map(([k, n]) => { const i = el('i', {class: 'how-' + k, title: `${k}: ${number(n)}`}); i.style.flexGrow = n; return i; }));
		return el('section', {class: 'card', 'aria-label': 'Request ids'}, el('h2', {}, 'How lines got their request'), bar,
			el('dl', {class: 'explain'}, ...how.map(([k, n]) => el('div', {}, el('dt', {}, el('i', {class: 'how-' + k}), k, el('span', {class: 'num'}, number(n))), el('dd', {}, HOW[k] || '')))),
			why.length ? el('h2', {}, 'Why some have none') : '',
			why.length ? el('dl', {class: 'explain'}, ...why.map(([k, n]) => el('div', {}, el('dt', {}, el('a', {href: '#/lines?since=all&q=' + encodeURIComponent(`correlation.why=${k}`)}, k), el('span', {class: 'num'}, number(n))), el('dd', {}, WHY[k]?.[0] || '', WHY[k]?.[1] ? el('em', {}, ' ' + WHY[k][1]) : '')))) : '');
	}

	rest(health) {
		const agent = health.agent;
		const facts = [['Store', health.store?.path], ['Oldest line', health.store?.oldest && ago(msOf(health.store.oldest))], ['Agent', agent && `${agent.version}, pid ${agent.pid}`], ['Backend', agent?.backend_why], ['Streams', agent?.streams && String(agent.streams.length)]].filter(([, v]) => v);
		return el('section', {class: 'card', 'aria-label': 'Facts'}, el('dl', {class: 'plain'}, ...facts.map(([k, v]) => el('div', {}, el('dt', {}, k), el('dd', {}, v)))));
	}
}
