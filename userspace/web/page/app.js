// The page: which view is shown, keys, theme, connection. The address after # says all that is asked
// for, so that back, forward and a copied link work.
import {$, api, onTokenNeeded} from './base.js';
import {Lines} from './lines.js';
import {Request} from './request.js';
import {Services} from './services.js';
import {Health, verdict} from './health.js';

const THEMES = ['system', 'light', 'dark'];

const page = {
	// Shows a view by changing the address; `replace` for what is still being typed.
	go(view, args, replace = false) {
		const used = Object.entries(args).filter(([, v]) => v !== undefined && v !== null && v !== '');
		const hash = `#/${view}${used.length ? '?' + new URLSearchParams(used) : ''}`;
		if (hash === location.hash) views[view].show(Object.fromEntries(used));
		else if (replace) { history.replaceState(null, '', hash); route(); }
		else location.hash = hash;
	},
	// To where one came from; whoever opened a link to a request has only the lines to go to.
	back() {
		if (this.cameFrom) history.back();
		else location.hash = '#/lines';
	},
	connection(state, text) {
		const pill = $('connection');
		if (pill.dataset.state === state && pill.textContent === text) return;
		pill.dataset.state = state;
		pill.textContent = text;
	},
};

const views = {lines: new Lines(page), request: new Request(page), services: new Services(page), health: new Health(page)};
let current = null;

function route() {
	const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
	const [name, ...rest] = path.split('/');
	const view = views[name] ? name : 'lines';
	if (current && current !== views[view]) { current.hide(); page.cameFrom = true; }
	if (current !== views[view]) {
		current = views[view];
		$('view').replaceChildren(current.root);
		$('view').className = 'view-' + view;
	}
	for (const tab of document.querySelectorAll('.tabs a')) {
		const on = tab.dataset.view === view || (view === 'request' && tab.dataset.view === 'lines');
		if (on) tab.setAttribute('aria-current', 'page');
		else tab.removeAttribute('aria-current');
	}
	document.title = {lines: 'Lines', request: 'Request', services: 'Services', health: 'Health'}[view] + ' · tapline';
	let id = '';
	try { id = decodeURIComponent(rest.join('/')); } catch { /* no id */ }
	current.show(Object.fromEntries(new URLSearchParams(query || '')), id);
}

function setTheme(theme) {
	if (theme === 'system') delete document.documentElement.dataset.theme;
	else document.documentElement.dataset.theme = theme;
	try { localStorage.setItem('tapline.theme', theme); } catch { /* for this page only */ }
	$('theme').title = `Theme: ${theme} (t)`;
	$('theme').setAttribute('aria-label', `Theme: ${theme}`);
}

function nextTheme() {
	const dark = matchMedia('(prefers-color-scheme: dark)').matches;
	const now = document.documentElement.dataset.theme || 'system';
	// The first press shall change what one sees.
	const order = dark ? ['system', 'light', 'dark'] : ['system', 'dark', 'light'];
	setTheme(order[(order.indexOf(now) + 1) % THEMES.length]);
}

document.addEventListener('keydown', e => {
	if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
	const target = e.target, typing = target.matches('input, textarea, select');
	if (e.key === 'Escape') {
		if (typing && target.value && target.type === 'search') { target.value = ''; target.dispatchEvent(new Event('input')); }
		else if (typing) target.blur();
		else if (current === views.request) page.back();
		return;
	}
	if (typing) {
		if (e.key === 'ArrowDown' && target.type === 'search') { views.lines.move(1); e.preventDefault(); }
		return;
	}
	const tab = {1: 'lines', 2: 'services', 3: 'health'}[e.key];
	if (tab) location.hash = '#/' + tab;
	else if (e.key === 't') nextTheme();
	else if (e.key === '?') $('keys').showModal();
	else if (e.key === '/' && current !== views.lines) { location.hash = '#/lines'; setTimeout(() => $('q').focus(), 50); }
	else if (target.matches('button, a, summary') && e.key === 'Enter') return;
	else if (!current.key(e)) return;
	e.preventDefault();
});

// The last addresses of each view are kept, so that the tabs lead back to where one was.
for (const tab of document.querySelectorAll('.tabs a'))
	addEventListener('hashchange', () => { if (location.hash.startsWith('#/' + tab.dataset.view)) tab.href = location.hash; });

onTokenNeeded(() => { if (!$('login').open) $('login').showModal(); });
async function login() {
	const answer = await fetch('api/session', {method: 'POST', headers: {Authorization: 'Bearer ' + $('token').value.trim()}}).catch(() => null);
	if (answer?.ok) { $('login').close(); $('token').value = ''; route(); }
	else $('login-error').textContent = answer ? 'This is not the token.' : 'tapline does not answer.';
}
$('login-go').addEventListener('click', login);
$('token').addEventListener('keydown', e => { if (e.key === 'Enter') { e.preventDefault(); login(); } });
$('login').addEventListener('cancel', e => e.preventDefault());

async function watch() {
	const health = document.hidden ? null : await api('health').catch(() => null);
	if (health) {
		const v = verdict(health);
		$('health-dot').hidden = !(v === 'bad' || v === 'meh');
		$('health-dot').className = v;
		$('health-dot').title = v === 'bad' ? 'something was lost' : 'something needs a look';
		const found = health.store && await api('services', {since: '24h', steps: 1}).catch(() => null);
		if (found) { views.lines.services = found.services.map(s => s.name); if (current === views.lines && document.activeElement !== $('service')) views.lines.fillServices(); }
	}
	setTimeout(watch, 10000);
}

$('theme').addEventListener('click', nextTheme);
$('help').addEventListener('click', () => $('keys').showModal());
addEventListener('hashchange', route);
document.addEventListener('visibilitychange', () => { if (current === views.lines) current.seen(!document.hidden); });
setTheme(document.documentElement.dataset.theme || 'system');
route();
watch();
