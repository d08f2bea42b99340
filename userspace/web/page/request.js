// One request: its HTTP exchanges as a waterfall, and its lines across services in order, each with how
// its id is known.
import {el, svg, api, msOf, when, ms as msText, textNodes, severity, hue, plural, skeleton, failure, copy, say} from './base.js';
import {HOW, explainRecord} from './explain.js';
import {durationOf, statusClass} from './row.js';

const serviceOf = record => record.resource?.['service.name'] || 'unknown';

export class Request {
	constructor(page) {
		this.page = page;
		this.root = el('section', {class: 'request', 'aria-label': 'Request'});
	}

	async show(args, id) {
		this.id = id;
		this.root.replaceChildren(skeleton(10));
		this.page.connection('fixed', 'one request');
		try {
			const answer = await api('request', {id});
			if (this.id !== id) return;
			this.draw(answer);
			// A request that runs is looked at again.
			clearTimeout(this.again);
			if (this.end > Date.now() - 5000) this.again = setTimeout(() => this.show(args, id), 2000);
		} catch (error) {
			if (this.id === id) this.root.replaceChildren(failure(error, () => this.show(args, id)));
		}
	}

	hide() { clearTimeout(this.again); this.id = null; }
	key() { return false; }

	draw(answer) {
		const time = record => msOf(record.observed_timestamp);
		const lines = answer.records.map(record => ({record, at: time(record)})).sort((a, b) => a.at - b.at);
		const calls = answer.exchanges.map(record => ({record, at: time(record), ms: durationOf(record)})).sort((a, b) => a.at - b.at || b.ms - a.ms);
		if (!lines.length && !calls.length) { this.root.replaceChildren(this.unknown()); return; }
		this.begin = Math.min(...lines.map(l => l.at), ...calls.map(c => c.at));
		this.end = Math.max(...lines.map(l => l.at), ...calls.map(c => c.at + c.ms));
		this.nest(calls);
		this.root.replaceChildren(this.head(lines, calls), answer.cut ? el('p', {class: 'note'}, 'There is more of this request than is shown here; search for its id to see all.') : '',
			calls.length ? this.waterfall(calls, lines) : this.noCalls(), this.lines(lines), this.legend(lines));
		say(`Request with ${plural(lines.length, 'line')} and ${plural(calls.length, 'HTTP exchange')}`);
	}

	unknown() {
		return el('div', {class: 'empty'}, el('h2', {}, 'No line has this id'),
			el('p', {}, el('code', {}, this.id)),
			el('p', {}, 'Ids are compared as a whole. It may have left the store already, or its lines may have no id: a line gets one only where it is proved.'),
			el('a', {class: 'button', href: '#/lines?since=all&q=' + encodeURIComponent('"' + this.id + '"')}, 'Search the text of lines for it'));
	}

	noCalls() {
		return el('p', {class: 'note'}, 'No HTTP exchange of this request was seen. Exchanges are read from plain HTTP/1 connections of tapped processes.');
	}

	// A call lies in the smallest one that was under way while it was.
	nest(calls) {
		calls.forEach((call, i) => {
			const around = calls.slice(0, i).filter(c => c.at <= call.at && c.at + c.ms >= call.at + call.ms).pop();
			call.depth = around ? around.depth + 1 : 0;
		});
	}

	head(lines, calls) {
		const services = [...new Set([...calls, ...lines].map(x => serviceOf(x.record)))];
		const first = calls[0]?.record.attributes, errors = lines.filter(l => (l.record.severity_number || 0) >= 17).length;
		const sources = [...new Set([...lines, ...calls].map(x => x.record.attributes?.['correlation.source']).filter(Boolean))];
		const traces = [...new Set([...lines, ...calls].map(x => x.record.trace_id).filter(t => t && t !== this.id))];
		return el('header', {class: 'request-head'},
			el('a', {class: 'back', href: '#/lines', onclick: e => { e.preventDefault(); this.page.back(); }}, '← Lines'),
			el('h1', {}, first ? el('span', {}, el('b', {}, first['http.request.method']), ' ', textNodes(String(first['url.path'] || '')), ' ', el('span', {class: 'status s-' + statusClass(first['http.response.status_code'])}, String(first['http.response.status_code'] || '–'))) : 'Request'),
			el('p', {class: 'request-id'}, el('code', {}, this.id), el('button', {class: 'button small', type: 'button', onclick: e => copy(this.id, e.currentTarget)}, 'Copy'), sources.length ? el('span', {class: 'dim'}, sources.map(s => (s === 'generated' ? 'made by tapline' : s)).join(', ')) : ''),
			el('dl', {class: 'facts'},
				...[['Took', msText(calls[0]?.ms ?? this.end - this.begin)], ['Began', when(this.begin)], ['Services', String(services.length)], ['Lines', String(lines.length)], ...(errors ? [['Errors', String(errors)]] : [])]
					.map(([key, value]) => el('div', {class: key === 'Errors' ? 'bad' : ''}, el('dt', {}, key), el('dd', {}, value)))),
			traces.length ? el('p', {class: 'note'}, 'It belongs to a trace, which may hold more requests: ', ...traces.slice(0, 3).map(t => el('a', {href: '#/request/' + encodeURIComponent(t)}, t))) : '');
	}

	waterfall(calls, lines) {
		const span = Math.max(this.end - this.begin, 0.001), share = t => (t - this.begin) / span * 100;
		const rows = calls.map(call => {
			const a = call.record.attributes, service = serviceOf(call.record), out = a['network.direction'] === 'client';
			const left = share(call.at), width = Math.max(call.ms / span * 100, 0.4);
			const bar = el('i', {class: `bar h${hue(service)} ${out ? 'out' : 'in'} s-${statusClass(a['http.response.status_code'])}`});
			bar.style.left = `${left}%`;
			bar.style.width = `${Math.min(width, 100 - left)}%`;
			// Behind the bar, before it, or where it fills the row, in it.
			const side = left + width <= 80 ? 'behind' : left > 20 ? 'before' : 'inside';
			const label = el('span', {class: 'took ' + side}, msText(call.ms));
			if (side !== 'inside') label.style.left = `${side === 'before' ? left : left + width}%`;
			const name = el('div', {class: 'who'}, el('span', {class: 'svc h' + hue(service)}, service), ' ', el('span', {class: 'dim'}, out ? 'calls' : 'answers'), ' ', el('b', {}, a['http.request.method'] || ''), ' ', textNodes(String(a['url.path'] || '')));
			name.style.paddingLeft = `${call.depth * 14}px`;
			const text = `${service} ${out ? 'calls' : 'answers'} ${a['http.request.method']} ${a['url.path']}: status ${a['http.response.status_code'] || 'unknown'}, ${msText(call.ms)}, begins after ${msText(call.at - this.begin)}`;
			return el('li', {tabindex: '0', title: text, 'aria-label': text}, name, el('div', {class: 'track'}, bar, label), el('span', {class: 'status s-' + statusClass(a['http.response.status_code'])}, String(a['http.response.status_code'] || '–')));
		});
		const ticks = el('div', {class: 'track ticks', 'aria-hidden': 'true'}, ...lines.map(line => {
			const tick = el('i', {class: 'tick s-' + severity(line.record.severity_number || 0)});
			tick.style.left = `${share(line.at)}%`;
			return tick;
		}));
		const axis = el('div', {class: 'track axis', 'aria-hidden': 'true'}, ...[0, 0.25, 0.5, 0.75, 1].map(x => el('span', {}, msText(span * x))));
		return el('section', {class: 'waterfall', 'aria-label': 'HTTP exchanges'}, el('h2', {}, plural(calls.length, 'HTTP exchange')),
			el('div', {class: 'wf-axis'}, el('span'), axis, el('span')), el('ol', {}, ...rows),
			el('div', {class: 'wf-axis'}, el('span', {class: 'dim'}, 'lines'), ticks, el('span')));
	}

	lines(lines) {
		const rows = lines.map(({record, at}) => {
			const known = explainRecord(record), service = serviceOf(record);
			const tip = `${known.text}${known.source ? ` The id is ${known.source}.` : ''}`;
			const badge = el('button', {type: 'button', class: 'how', title: tip, 'aria-label': `known by ${known.how}: ${tip}`, 'aria-expanded': 'false', onclick: e => this.explain(e.currentTarget, tip)}, known.how);
			return el('li', {class: 'row s-' + severity(record.severity_number || 0)}, el('div', {class: 'line'},
				el('time', {title: when(at)}, '+' + msText(at - this.begin)), el('span', {class: 'sev'}, (record.severity_text || '·').slice(0, 5).toUpperCase()),
				el('span', {class: 'svc h' + hue(service)}, service), badge, el('span', {class: 'body'}, textNodes(record.body || ''))));
		});
		return el('section', {'aria-label': 'Lines of the request'}, el('h2', {}, plural(lines.length, 'line')),
			rows.length ? el('ol', {class: 'rows of-request'}, ...rows) : el('p', {class: 'note'}, 'No line of this request is known. A service may log nothing, or its lines cannot be attributed for certain.'));
	}

	explain(badge, tip) {
		const li = badge.closest('.row'), open = li.querySelector('.known');
		badge.setAttribute('aria-expanded', String(!open));
		if (open) open.remove();
		else li.append(el('p', {class: 'known yes', role: 'note'}, tip));
	}

	legend(lines) {
		const hows = new Map();
		for (const {record} of lines) { const how = explainRecord(record).how; hows.set(how, (hows.get(how) || 0) + 1); }
		if (!hows.size) return '';
		return el('section', {class: 'legend', 'aria-label': 'How the ids are known'}, el('h2', {}, 'How tapline knows'),
			el('dl', {}, ...[...hows].map(([how, n]) => el('div', {}, el('dt', {}, el('span', {class: 'how'}, how), el('span', {class: 'dim'}, plural(n, 'line'))), el('dd', {}, HOW[how] || '')))));
	}
}
