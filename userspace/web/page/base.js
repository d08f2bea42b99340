// What all parts of the page use: elements, the API, numbers and times as text.
// Text of services is only ever put in as text nodes; nothing here or elsewhere parses HTML.

export const $ = id => document.getElementById(id);

// el('button', {class: 'chip', onclick: f, title: '...'}, child, 'text')
export function el(tag, props = {}, ...children) {
	const e = document.createElement(tag);
	for (const [key, value] of Object.entries(props)) {
		if (value === undefined || value === null || value === false) continue;
		if (key.startsWith('on')) e.addEventListener(key.slice(2), value);
		else if (key === 'class') e.className = value;
		else e.setAttribute(key, value === true ? '' : value);
	}
	e.append(...children.filter(child => child !== null && child !== undefined && child !== false));
	return e;
}

export function svg(tag, props = {}, ...children) {
	const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [key, value] of Object.entries(props)) if (value !== null && value !== undefined) e.setAttribute(key, value);
	e.append(...children);
	return e;
}

export class ApiError extends Error {
	constructor(status, message) { super(message); this.status = status; }
}

let askForToken = () => {};
export const onTokenNeeded = f => { askForToken = f; };

export async function api(path, args = {}, signal) {
	const used = Object.fromEntries(Object.entries(args).filter(([, v]) => v !== undefined && v !== null && v !== ''));
	let answer;
	try {
		answer = await fetch(`api/${path}?${new URLSearchParams(used)}`, {signal});
	} catch (error) {
		if (error.name === 'AbortError') throw error;
		throw new ApiError(0, 'tapline does not answer. Does it still run?');
	}
	const body = await answer.json().catch(() => ({}));
	if (answer.status === 401) askForToken();
	if (!answer.ok) throw new ApiError(answer.status, body.error || `status ${answer.status}`);
	return body;
}

const pad = (n, width = 2) => String(n).padStart(width, '0');

// Nanoseconds since 1970 of an RFC 3339 time, as a number of ms with a fraction (exact to 0.25 µs) ...
export const msOf = time => Date.parse(time.slice(0, 19) + 'Z') + Number('0' + (time.slice(19, -1) || '.0')) * 1000;
// ... and as people read it.
export function clock(ms, fraction = 3) {
	const d = new Date(ms);
	return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}` + (fraction ? '.' + pad(d.getMilliseconds(), 3) : '');
}
export function day(ms) {
	return new Date(ms).toLocaleDateString(undefined, {month: 'short', day: 'numeric'});
}
export const isToday = ms => new Date(ms).toDateString() === new Date().toDateString();
export const when = ms => (isToday(ms) ? '' : day(ms) + ' ') + clock(ms);

export function ago(ms) {
	const s = Math.max(0, (Date.now() - ms) / 1000);
	if (s < 2) return 'now';
	if (s < 60) return `${Math.floor(s)} s ago`;
	if (s < 3600) return `${Math.floor(s / 60)} min ago`;
	if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
	return `${Math.floor(s / 86400)} d ago`;
}

export const number = n => Math.round(n).toLocaleString('en-US');
export const plural = (n, one, many = one + 's') => `${number(n)} ${n === 1 ? one : many}`;
export function short(n) {
	if (n < 1000) return n < 10 && n % 1 ? n.toFixed(1) : String(Math.round(n));
	if (n < 1e6) return (n / 1e3).toFixed(n < 1e4 ? 1 : 0) + 'k';
	return (n / 1e6).toFixed(n < 1e7 ? 1 : 0) + 'M';
}
export function bytes(n) {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
	if (n < 1024) return plural(n, 'byte');
	let i = 0;
	for (; n >= 1024 && i < 4; i++) n /= 1024;
	return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}
export function ms(n) {
	if (n < 1) return `${Math.round(n * 1000)} µs`;
	if (n < 10) return `${n.toFixed(2)} ms`;
	if (n < 1000) return `${n.toFixed(n < 100 ? 1 : 0)} ms`;
	return `${(n / 1000).toFixed(2)} s`;
}

// The same name has the same hue everywhere, one of twelve that can be told apart.
export function hue(name) {
	let h = 2166136261;
	for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 16777619);
	return ((h ^ (h >>> 13)) >>> 0) % 12;
}

const caret = c => '^' + String.fromCharCode(c.charCodeAt(0) ^ 0x40);
// ESC sequences (colours kept as classes, all else dropped), other control characters (shown as ^G
// and so on), and characters that turn the direction of text around (shown as marks).
const SPECIAL = /\x1b\[([0-9;]*)m|\x1b\[[0-9;?<=>]*[ -\/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -\/]*[0-~]?|([\x00-\x08\x0b-\x1f\x7f])|([\u202a-\u202e\u2066-\u2069\u200e\u200f])/g;

// Text of a service as nodes, with ANSI colours as spans.
export function textNodes(text) {
	const out = document.createDocumentFragment();
	let at = 0, classes = new Set();
	const add = piece => {
		if (!piece) return;
		out.append(classes.size ? el('span', {class: [...classes].join(' ')}, piece) : piece);
	};
	for (const match of text.matchAll(SPECIAL)) {
		add(text.slice(at, match.index));
		at = match.index + match[0].length;
		if (match[1] !== undefined) classes = sgr(classes, match[1]);
		else if (match[2]) add(caret(match[2]));
		else if (match[3]) add('⟨' + match[3].charCodeAt(0).toString(16) + '⟩');
	}
	add(text.slice(at));
	return out;
}

function sgr(classes, codes) {
	const next = new Set(classes);
	const drop = prefix => { for (const c of next) if (c.startsWith(prefix)) next.delete(c); };
	const list = (codes || '0').split(';').map(Number);
	for (let i = 0; i < list.length; i++) {
		const code = list[i];
		if (code === 0) next.clear();
		else if (code === 1) next.add('a-bold');
		else if (code === 2) next.add('a-dim');
		else if (code === 4) next.add('a-under');
		else if (code === 22) { next.delete('a-bold'); next.delete('a-dim'); }
		else if (code === 24) next.delete('a-under');
		else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) { drop('a-c'); next.add('a-c' + code % 10); }
		else if (code === 39) drop('a-c');
		else if (code === 38 || code === 48) i += list[i + 1] === 5 ? 2 : 4;
	}
	return next;
}

export const severity = n => (n >= 17 ? 'error' : n >= 13 ? 'warn' : n >= 9 ? 'info' : n >= 1 ? 'debug' : 'unset');

let saying;
export function say(text) {
	clearTimeout(saying);
	saying = setTimeout(() => { $('say').textContent = text; }, 300);
}

export function copy(text, button) {
	const old = button.textContent;
	const done = word => { button.textContent = word; setTimeout(() => { button.textContent = old; }, 1200); };
	if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => done('copied'), () => done('not allowed'));
	else done('needs https');
}

export const skeleton = n => el('div', {class: 'skeleton', 'aria-hidden': 'true'}, ...Array.from({length: n}, () => el('i')));
export const failure = (error, retry) => el('div', {class: 'empty bad-box', role: 'alert'},
	el('h2', {}, 'This did not work'), el('p', {}, error.message), retry && el('button', {class: 'button', type: 'button', onclick: retry}, 'Try again'));
