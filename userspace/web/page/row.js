// One line of the list, and what is shown when it is opened.
import {el, textNodes, clock, when, msOf, severity, hue, copy, ms as msText} from './base.js';
import {explainRecord} from './explain.js';

export const isExchange = record => record.attributes?.['http.server.request.duration'] !== undefined || record.attributes?.['http.client.request.duration'] !== undefined;
export const durationOf = record => 1000 * (record.attributes['http.server.request.duration'] ?? record.attributes['http.client.request.duration'] ?? 0);
export const statusClass = status => (status >= 500 ? 'error' : status >= 400 ? 'warn' : 'info');
export const requestOf = record => record.attributes?.['correlation.id'] || record.trace_id || '';

function severityOf(record) {
	if (isExchange(record)) return statusClass(record.attributes['http.response.status_code'] || 0);
	return severity(record.severity_number || 0);
}

function exchangeBody(record) {
	const a = record.attributes;
	return [
		el('span', {class: 'dir'}, a['network.direction'] === 'client' ? '→ out' : '← in'), ' ',
		el('b', {}, a['http.request.method'] || ''), ' ', textNodes(String(a['url.path'] || '')), ' ',
		el('span', {class: 'status s-' + statusClass(a['http.response.status_code'])}, String(a['http.response.status_code'] || '–')), ' ',
		el('span', {class: 'dim'}, msText(durationOf(record))),
	];
}

// Ids that people can tell apart in a narrow column: a hash by its beginning, a counter by its end.
const shortId = id => (id.length <= 11 ? id : /^[0-9a-f-]{16,}$/i.test(id) ? id.slice(0, 8) : '…' + id.slice(-9));

export function chip(record) {
	const id = requestOf(record), known = explainRecord(record);
	if (!id) return el('span', {class: 'noid', title: known.text}, known.why || 'no id');
	const tip = `Request ${id}\n${known.text}${known.source ? `\nThe id is ${known.source}.` : ''}\n\nClick to see the whole request.`;
	return el('a', {class: 'chip h' + hue(id), href: '#/request/' + encodeURIComponent(id), title: tip, tabindex: '-1',
		'aria-label': `request ${id}, known by ${known.how}`}, el('i'), shortId(id));
}

// `act`: what the list does when a service or a field is chosen.
export function row(record, act) {
	const t = msOf(record.observed_timestamp), level = severityOf(record);
	const service = record.resource?.['service.name'] || 'unknown';
	const li = el('li', {class: 'row s-' + level, tabindex: '-1', 'data-uid': record.uid});
	li.record = record;
	li.append(el('div', {class: 'line'},
		el('time', {datetime: record.observed_timestamp, title: when(t)}, clock(t)),
		el('span', {class: 'sev'}, isExchange(record) ? 'HTTP' : (record.severity_text || '·').slice(0, 5).toUpperCase()),
		el('button', {class: 'svc h' + hue(service), type: 'button', tabindex: '-1', title: 'Only lines of ' + service, onclick: e => { e.stopPropagation(); act.service(service); }}, service),
		chip(record),
		el('span', {class: 'body'}, ...(isExchange(record) ? exchangeBody(record) : [textNodes(record.body || '')]))));
	return li;
}

function field(key, value, act) {
	return el('div', {class: 'kv'}, el('dt', {}, key),
		el('dd', {}, el('button', {type: 'button', class: 'value', title: `Search ${key}=${value}`, onclick: () => act.field(key, value)}, textNodes(String(value)))));
}

function known(record) {
	const k = explainRecord(record), id = requestOf(record);
	return el('p', {class: 'known ' + (id ? 'yes' : 'no')},
		el('b', {}, id ? k.how : k.why || 'none'), ' ', k.text, k.source && ` The id is ${k.source}.`, k.helps && ` ${k.helps}`);
}

export function details(record, act) {
	const id = requestOf(record), t = msOf(record.observed_timestamp);
	const json = el('button', {class: 'button small', type: 'button', onclick: e => copy(JSON.stringify(record, null, 2), e.currentTarget)}, 'Copy JSON');
	const fields = Object.entries(record.attributes || {}), resource = Object.entries(record.resource || {});
	const top = ['severity_text', 'trace_id', 'span_id', 'timestamp', 'uid'].filter(key => record[key]).map(key => [key, record[key]]);
	return el('div', {class: 'details'},
		el('pre', {class: 'whole'}, textNodes(record.body || '')),
		!isExchange(record) && known(record),
		el('div', {class: 'actions'},
			id && el('a', {class: 'button small primary', href: '#/request/' + encodeURIComponent(id)}, 'Show the request'),
			el('button', {class: 'button small', type: 'button', onclick: () => act.around(t)}, 'Lines around it'), json),
		el('div', {class: 'fields'},
			el('section', {}, el('h2', {}, 'About the line'), el('dl', {}, ...fields.map(([k, v]) => field(k, v, act)), ...top.map(([k, v]) => field(k, v, act)))),
			el('section', {}, el('h2', {}, 'Who wrote it'), el('dl', {}, ...resource.map(([k, v]) => field(k, v, act))))));
}
