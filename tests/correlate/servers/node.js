// node's http under test: `node node.js PORT`. One thread; children are promises, late lines are timers.
'use strict';
const http = require('http');
const fs = require('fs');
const crypto = require('crypto');

const say = (kind, gt, text) => fs.writeSync(1, `level=info class=${kind} gt=${gt} msg="${text}"\n`);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const pause = () => (Math.random() < 0.5 ? sleep(Math.random() * 2) : Promise.resolve());
let flight = null;

function truth(request) {
	const id = (request.headers['x-request-id'] || '').trim();
	return id ? crypto.createHash('sha256').update(id, 'latin1').digest('hex').slice(0, 12) : 'none';
}

async function extras(path, gt) {
	if (path === '/child') {
		pause().then(() => say('child', gt, "child's work"));
	} else if (path === '/pool') {
		await fs.promises.stat('/');
		say('pool', gt, 'after the file system');
	} else if (path === '/late') {
		setTimeout(() => say('after-response', gt, 'late'), Math.random() * 50);
	} else if (path === '/cache') {
		flight = flight || pause().then(() => { say('sync', gt, 'computed for all'); flight = null; });
		await flight;
		say('after-await', gt, 'shared result');
	}
}

async function serve(request, response) {
	const gt = truth(request);
	const path = request.url.split('?')[0];
	say('sync', gt, `begin ${request.method} ${path}`);
	for await (const _ of request) ;
	await pause();
	say('after-await', gt, 'worked');
	await extras(path, gt);
	if (path === '/empty' || path === '/notmod') {
		response.writeHead(path === '/empty' ? 204 : 304);
		response.end();
	} else {
		if (path !== '/chunked') response.setHeader('Content-Length', gt.length + 1);
		response.end(`${gt}\n`);
	}
	say('access-log', gt, `${path} done`);
}

function every(name, text) {
	const rate = Number(process.env[name] || 0);
	if (rate) setInterval(() => say('background', '-', text), 1000 / rate);
}

say('startup', '-', 'starting');
every('BACKGROUND', 'housekeeping');
every('JOBS', 'timer');
http.createServer((request, response) => serve(request, response).catch(() => response.destroy()))
	.listen(Number(process.argv[2]), '127.0.0.1', 1024);
