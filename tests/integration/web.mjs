// What a person does with the live page, done in a real Chromium. Each step says what it shows; the first that
// fails ends the test with a screenshot. Called by web.sh.
import {createRequire} from 'node:module';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import {spawn} from 'node:child_process';

const {PLAYWRIGHT, PAGE, GUARDED, SHOP, TOKEN, TAPLINE, STORE, SPARE, SHOTS, STEPS} = process.env;
const {chromium} = createRequire(PLAYWRIGHT + '/')('playwright-core');
const browser = await chromium.launch({executablePath: '/usr/bin/chromium', args: ['--no-sandbox']});
const problems = [];
const done = [];
let page;

async function open(url, options = {}) {
	const context = await browser.newContext({viewport: {width: 1360, height: 850}, colorScheme: 'light', ...options});
	const p = await context.newPage();
	p.setDefaultTimeout(30000);
	p.on('pageerror', error => problems.push(`script error: ${error.stack}`));
	p.on('console', message => { if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) problems.push(`console: ${message.text()}`); });
	await p.goto(url);
	return p;
}

async function step(name, act) {
	if (STEPS && !name.includes(STEPS) && !name.startsWith('the page')) return;
	const began = Date.now();
	try {
		await act();
		assert.deepEqual(problems, []);
		done.push(name);
		console.log(`ok ${String(Date.now() - began).padStart(5)} ms  ${name}`);
	} catch (error) {
		if (page) await page.screenshot({path: `${SHOTS}/web-failed.png`}).catch(() => {});
		console.log(`FAILED: ${name}\n${error.stack}`);
		await browser.close();
		process.exit(1);
	}
}

async function until(what, check) {
	const deadline = Date.now() + 30000;
	let last;
	while (Date.now() < deadline) {
		last = await check();
		if (last) return last;
		await new Promise(resolve => setTimeout(resolve, 100));
	}
	assert.fail(`never: ${what}`);
}

const ask = (path, id, base = SHOP) => fetch(base + path, {headers: {'X-Request-ID': id, Connection: 'close'}}).then(a => a.text());
const api = path => fetch(PAGE + '/api/' + path).then(a => a.json());
const rows = () => page.locator('#list .row');
const bodies = () => page.locator('#list .row .body').allTextContents();
const shot = name => page.screenshot({path: `${SHOTS}/web-${name}.png`});
const go = async hash => { await page.goto(PAGE + '/' + hash); };
const settled = () => until('the search has ended', async () => await page.locator('#view .skeleton').count() === 0);
const fits = async () => assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth), true, 'wider than the screen');
const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

await step('the page opens and shows lines', async () => {
	page = await open(PAGE + '/');
	await rows().first().waitFor();
	assert.match(await page.title(), /tapline/);
	assert.ok(await rows().count() > 50);
	await until('it is live', async () => await page.locator('#connection').textContent() === 'live');
	assert.ok(await page.locator('.bars rect').count() > 0, 'no chart');
});

await step('a line arrives by itself', async () => {
	await ask('/order/arrival77', 'req-arrival');
	await until('the line', async () => (await bodies()).some(text => text.includes('/order/arrival77')));
	await shot('lines-light');
});

await step('paused, lines wait and are told by number; then they are shown', async () => {
	await page.getByRole('button', {name: 'Pause'}).click();
	const before = await rows().count();
	await ask('/order/whilepaused', 'req-paused');
	await until('the number of new lines', async () => /new line/.test(await page.locator('.fresh').textContent()) && await page.locator('.fresh').isVisible());
	assert.equal(await rows().count(), before);
	await until('it is paused', async () => await page.locator('#connection').textContent() === 'paused');
	await page.getByRole('button', {name: 'Go on'}).click();
	await until('the line', async () => (await bodies()).some(text => text.includes('whilepaused')));
});

await step('typing searches', async () => {
	await page.getByRole('searchbox', {name: 'Search'}).fill('refused');
	await until('only lines with the word', async () => { const all = await bodies(); return all.length > 0 && all.every(text => text.includes('refused')); });
	assert.match(page.url(), /q=refused/);
	await until('the count', async () => /lines/.test(await page.locator('.summary').textContent()));
});

await step('filters: severity, service, request id', async () => {
	await page.getByRole('searchbox', {name: 'Search'}).fill('');
	await page.getByLabel('Severity').selectOption('warn');
	await until('warnings and errors only', async () => { const all = await page.locator('#list .sev').allTextContents(); return all.length && all.every(text => /WARN|ERROR/.test(text)); });
	await page.getByLabel('Severity').selectOption('');
	await until('the services are offered', async () => await page.locator('#service option').count() > 2);
	await page.getByLabel('Service', {exact: true}).selectOption('stock');
	await until('lines of stock only', async () => { const all = await page.locator('#list .svc').allTextContents(); return all.length && all.every(text => text === 'stock'); });
	await page.getByLabel('Service', {exact: true}).selectOption('');
	await page.getByRole('searchbox', {name: 'Request id'}).fill('req-arrival');
	await until('the lines of the request', async () => { const n = await rows().count(); return n >= 2 && n <= 6; });
});

await step('a line opens, and a field of it becomes a filter', async () => {
	await go('#/lines?q=shipped');
	await rows().first().locator('.body').click();
	await page.locator('.details .known').waitFor();
	assert.match(await page.locator('.details .known').textContent(), /thread|unit|text itself|proved/);
	await shot('opened');
	await page.locator('.kv', {hasText: 'log.iostream'}).getByRole('button').click();
	await until('the field is searched', async () => await page.locator('#q').inputValue() === 'shipped log.iostream=stdout');
	await rows().first().waitFor();
});

await step('a request shows its lines across services in order, how each is known, and its exchanges', async () => {
	await go('#/lines?q=refused');
	await settled();
	await page.locator('#list .chip').first().click();
	await page.locator('.waterfall li').first().waitFor();
	assert.match(page.url(), /#\/request\/req-/);
	const names = await page.locator('.of-request .svc').allTextContents();
	assert.ok(names.includes('shop') && names.includes('stock'), names.join());
	const times = (await page.locator('.of-request time').allTextContents()).map(text => parseFloat(text.slice(1)) * (text.endsWith('µs') ? 0.001 : 1));
	assert.deepEqual(times, [...times].sort((a, b) => a - b));
	assert.match(await page.locator('.of-request .how').first().getAttribute('title'), /request/);
	await page.locator('.of-request .how').first().click();
	await page.locator('.of-request .known').waitFor();
	assert.equal(await page.locator('.waterfall li').count(), 3);
	for (const text of await page.locator('.waterfall .took').allTextContents()) assert.match(text, /[0-9] (ms|µs|s)/);
	assert.match(await page.locator('.request-head h1').textContent(), /GET \/fail\/\d+ 500/);
	await shot('request-light');
	await page.emulateMedia({colorScheme: 'dark'});
	await shot('request-dark');
	await page.emulateMedia({colorScheme: 'light'});
	await ask('/fail/elsewhere', 'req-elsewhere');
	await page.keyboard.press('Escape');
	await until('back at the lines', async () => /#\/lines\?q=refused/.test(page.url()));
	await until('what came meanwhile', async () => (await bodies()).some(text => text.includes('req-elsewhere')));
});

await step('the chart: a time is chosen with the mouse and with keys', async () => {
	await go('#/lines?since=all');
	await until('the chart', async () => await page.locator('.bars rect').count() > 0);
	await settled();
	const box = await page.locator('.plot').boundingBox();
	await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
	await page.mouse.down();
	await page.mouse.move(box.x + box.width - 2, box.y + 20, {steps: 4});
	await shot('brush');
	await page.mouse.up();
	await until('the time is in the address', async () => /from=\d+&to=\d+/.test(page.url()));
	await until('the time is fixed', async () => await page.locator('#connection').textContent() === 'fixed time');
	await page.getByRole('button', {name: 'back to live'}).click();
	await until('live again', async () => await page.locator('#connection').textContent() === 'live');
	await page.locator('.histogram').focus();
	await page.keyboard.press('ArrowLeft');
	await page.keyboard.press('Shift+ArrowLeft');
	assert.match(await page.locator('.histogram').getAttribute('aria-valuetext'), /line/);
	await page.keyboard.press('Enter');
	await until('the time is in the address', async () => /from=\d+/.test(page.url()));
});

await step('what a hostile line holds is text', async () => {
	await go('#/lines');
	await settled();
	await ask('/hostile', 'req-hostile');
	await until('the hostile lines', async () => (await bodies()).some(text => text.includes('<img src=x onerror=')));
	await page.locator('#list .row', {hasText: '<script>'}).first().locator('.body').click();
	await page.locator('.details').waitFor();
	const all = (await bodies()).join('\n');
	assert.ok(!/[\u001b\u0007\u202e]/.test(all), 'control characters reach the page');
	assert.ok(all.includes('red and green'), 'the text between colours is lost');
	assert.equal(await page.locator('#list .a-c1', {hasText: 'red'}).count() > 0, true, 'colours are lost');
	await go('#/request/req-hostile');
	await page.locator('.of-request .row').first().waitFor();
	await go('#/request/' + encodeURIComponent('<img src=x onerror="window.pwned=6">'));
	await page.locator('.empty').waitFor();
	await go('#/lines?service=' + encodeURIComponent('<svg onload=window.pwned=7>'));
	await settled();
	assert.equal(await page.evaluate(() => window.pwned), undefined);
	assert.equal(await page.locator('#view img, #view script, #view iframe, #view a[href^="javascript"]').count(), 0);
});

await step('services and health have their figures', async () => {
	await until('the windows of metrics', async () => (await api('services')).services.some(s => s.name === 'shop' && s.requests.some(n => n > 0)));
	await go('#/services');
	await page.locator('.service', {hasText: 'shop'}).locator('.spark rect.bad').first().waitFor({state: 'attached'});
	assert.match(await page.locator('.service', {hasText: 'shop'}).textContent(), /failed/);
	await shot('services');
	await page.keyboard.press('3');
	await page.locator('.banner').waitFor();
	assert.match(await page.locator('.banner').textContent(), /Every byte is accounted for/);
	assert.match(await page.locator('.health').textContent(), /None\. Every cause has a counter/);
	await shot('health');
});

await step('empty states teach', async () => {
	await go('#/lines?q=unicorn');
	await page.locator('.empty').waitFor();
	assert.match(await page.locator('.empty').textContent(), /No line matches/);
	await shot('empty');
	await page.getByRole('button', {name: 'Clear the filters'}).click();
	await rows().first().waitFor();
	await go('#/lines?q=' + encodeURIComponent('severity>=loud'));
	await page.locator('.bad-box').waitFor();
	assert.match(await page.locator('.bad-box').textContent(), /trace, debug, info, warn/);
});

await step('dark and light: by the system and by the switch, kept', async () => {
	await go('#/lines');
	await settled();
	const light = await background();
	await page.emulateMedia({colorScheme: 'dark'});
	const dark = await background();
	assert.notEqual(light, dark);
	await shot('lines-dark');
	await page.emulateMedia({colorScheme: 'light'});
	await page.getByRole('button', {name: /Theme/}).click();
	assert.equal(await background(), dark);
	await page.reload();
	assert.equal(await background(), dark);
	await page.keyboard.press('t');
	assert.equal(await background(), light);
	await page.keyboard.press('t');
});

await step('with the keyboard alone', async () => {
	await go('#/lines');
	await settled();
	await page.keyboard.press('/');
	await page.keyboard.type('refused');
	await until('found', async () => { const all = await bodies(); return all.length > 0 && all.every(text => text.includes('refused')); });
	await page.keyboard.press('ArrowDown');
	await page.keyboard.press('j');
	assert.equal(await page.evaluate(() => document.activeElement.matches('#list .row:nth-child(2)')), true, 'the second line has no focus');
	assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
	await page.keyboard.press('Enter');
	await page.locator('.details').waitFor();
	await page.keyboard.press('r');
	await page.locator('.waterfall').waitFor();
	await page.keyboard.press('Escape');
	await page.locator('#list').waitFor();
	await page.keyboard.press('?');
	await page.locator('#keys[open]').waitFor();
	await page.keyboard.press('Escape');
	await page.keyboard.press('2');
	await page.locator('.service').first().waitFor();
	await page.keyboard.press('1');
	await settled();
	await page.evaluate(() => document.activeElement.blur());
	await page.keyboard.press('p');
	await until('it is paused', async () => await page.locator('#connection').textContent() === 'paused');
	await page.keyboard.press('.');
	await until('live', async () => await page.locator('#connection').textContent() === 'live');
	const reached = new Set();
	for (let i = 0; i < 16; i++) {
		await page.keyboard.press('Tab');
		reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
	}
	for (const wanted of ['q', 'since', 'pause', 'service', 'severity', 'request', 'histogram']) assert.ok(reached.has(wanted), `Tab does not reach ${wanted}: ${[...reached]}`);
	const named = await page.evaluate(() => [...document.querySelectorAll('button, input, select, a[href]')].filter(e => e.offsetParent && !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML));
	assert.deepEqual(named, [], 'controls without a name');
});

await step('on a screen of 360 pixels', async () => {
	await page.setViewportSize({width: 360, height: 740});
	await go('#/lines');
	await settled();
	await fits();
	await shot('phone-lines');
	await page.getByRole('button', {name: /^Filters/}).click();
	assert.equal(await page.locator('#severity').isVisible(), true);
	await fits();
	await rows().first().locator('.body').click();
	await page.locator('.details').waitFor();
	await fits();
	await shot('phone-opened');
	await go('#/request/req-000023');
	await page.locator('.waterfall').waitFor();
	await fits();
	await shot('phone-request');
	for (const view of ['services', 'health']) {
		await go('#/' + view);
		await page.locator(view === 'services' ? '.service' : '.banner').first().waitFor();
		await fits();
		await shot('phone-' + view);
	}
	await page.setViewportSize({width: 1360, height: 850});
});

await step('axe-core finds nothing to complain of, light and dark', async () => {
	const axe = fs.readFileSync(PLAYWRIGHT + '/node_modules/axe-core/axe.min.js', 'utf8');
	for (const [colorScheme, hash] of [['light', '#/lines?q=refused'], ['light', '#/services'], ['dark', '#/request/req-000300'], ['dark', '#/lines?q=unicorn'], ['dark', '#/health']]) {
		await page.emulateMedia({colorScheme, reducedMotion: 'reduce'});
		await go(hash);
		await page.locator('#list .row, .waterfall, .service, .banner, .empty').first().waitFor();
		await settled();
		if (hash.includes('refused')) await rows().first().locator('.body').click();
		await page.evaluate(axe);
		const found = await page.evaluate(() => window.axe.run(document, {resultTypes: ['violations']}));
		assert.deepEqual(found.violations.map(v => `${hash} ${colorScheme}: ${v.id} at ${v.nodes[0].target.join(' ')}`), []);
	}
	await page.emulateMedia({colorScheme: 'light', reducedMotion: null});
});

// Reads a stream's text for a while.
async function listen(path, headers, enough) {
	const stop = new AbortController();
	let text = '';
	const answer = await fetch(PAGE + path, {headers, signal: stop.signal});
	const timer = setTimeout(() => stop.abort(), 8000);
	try {
		for await (const piece of answer.body) {
			text += Buffer.from(piece).toString();
			if (enough(text)) break;
		}
	} catch (error) {
		if (error.name !== 'AbortError') throw error;
	}
	clearTimeout(timer);
	stop.abort();
	return text;
}

await step('a stream goes on where Last-Event-ID says', async () => {
	const {newest} = await api('search?limit=1');
	const text = await listen('/api/stream', {'Last-Event-ID': String(newest - 3)}, t => t.includes('event: records'));
	const records = JSON.parse(/event: records\ndata: (.*)\n/.exec(text)[1]);
	assert.equal(records.length >= 3, true, `${records.length} records instead of 3`);
});

await step('a reader that stops reading delays nobody, and is told how much it missed', async () => {
	const {newest} = await api('search?limit=1');
	const socket = net.connect(Number(new URL(PAGE).port), '127.0.0.1');
	socket.write('GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
	await until('the stream begins', async () => socket.readableLength > 0 || socket.read() !== null);
	socket.pause();
	await go('#/lines');
	await settled();
	for (let i = 0; i < 4; i++) await ask('/burst/4000', `req-burst-${i}`);
	await until('all lines are in the store', async () => (await api('search?limit=1')).newest >= newest + 16000);
	await until('the page tells what it left out', async () => /passed too fast to show/.test(await page.locator('.summary').textContent()));
	assert.ok(await rows().count() <= 1500, 'the page grows without bound');
	let text = '';
	socket.on('data', piece => { text += piece; });
	socket.resume();
	await until('the slow reader is told', async () => /event: skipped/.test(text));
	socket.destroy();
	await shot('burst');
});

await step('the token: a dialog asks for it, a link brings it, the address forgets it', async () => {
	await page.context().close();
	page = await open(GUARDED + '/');
	await page.locator('#login[open]').waitFor();
	await page.getByLabel('Token', {exact: true}).fill('not the token at all');
	await page.getByRole('button', {name: 'Open'}).click();
	await until('it is refused', async () => /not the token/.test(await page.locator('#login-error').textContent()));
	await shot('login');
	await page.getByLabel('Token', {exact: true}).fill(TOKEN);
	await page.keyboard.press('Enter');
	await rows().first().waitFor();
	await page.context().close();
	page = await open(`${GUARDED}/?token=${TOKEN}`);
	await rows().first().waitFor();
	assert.ok(!page.url().includes(TOKEN), 'the token stays in the address');
	assert.equal(await page.evaluate(() => document.cookie), '', 'scripts can read the cookie');
	await until('it is live', async () => await page.locator('#connection').textContent() === 'live');
});

await step('losses are told by cause, and what helps', async () => {
	await page.goto(GUARDED + '/#/health');
	await page.locator('.banner.bad').waitFor();
	const text = await page.locator('.health').textContent();
	for (const wanted of [/1,000 bytes lost/, /ring_full/, /lines came faster than the agent took them/, /--ring-size/, /recursion/, /3 events/]) assert.match(text, wanted);
	assert.equal(await page.locator('#health-dot').isVisible(), true);
	await shot('losses');
});

async function serve() {
	const server = spawn(TAPLINE, ['web', '--store', STORE, '--listen', `127.0.0.1:${SPARE}`], {stdio: 'ignore'});
	await until('it serves', () => fetch(`http://127.0.0.1:${SPARE}/healthz`).then(a => a.ok, () => false));
	return server;
}

await step('tapline goes away and comes back: the page says so, and goes on', async () => {
	await page.context().close();
	let server = await serve();
	try {
		page = await open(`http://127.0.0.1:${SPARE}/`);
		await until('it is live', async () => await page.locator('#connection').textContent() === 'live');
		server.kill('SIGKILL');
		await until('the page says so', async () => /connect/.test(await page.locator('#connection').textContent()));
		await ask('/order/meanwhile', 'req-meanwhile');
		await shot('away');
		server = await serve();
		await until('it is live again', async () => await page.locator('#connection').textContent() === 'live');
		await until('what came meanwhile', async () => (await bodies()).some(text => text.includes('meanwhile')));
	} finally {
		server.kill('SIGKILL');
	}
});

fs.writeFileSync(`${SHOTS}/web-steps.txt`, done.join('\n') + '\n');
await browser.close();
