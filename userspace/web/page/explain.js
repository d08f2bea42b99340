// What tapline's words mean, in plain English. docs/correlation.md and docs/operating.md say more.

export const HOW = {
	app: 'The service said so itself: its structured line carries an id field.',
	unit: 'Exact. The goroutine that received this request wrote the line, before its response was complete.',
	'unit-bracket': 'The goroutine that wrote the response of this request, which another had received, wrote the line in between. Lines of this form have proved to belong so.',
	thread: 'The thread that received this request, and later wrote its response, wrote the line. This service has proved to keep a request on one thread.',
	'thread-bracket': 'The thread that wrote the response of this request wrote the line, and was given no other work in between. Lines of this form have proved to belong so.',
	echo: 'The thread had sent the id of this request on to another service, and had no other work since. This service has proved to work so.',
	tail: 'The thread had just finished the response of this request and touched nothing else since, as for access logs. Lines of this form have proved to follow each response.',
	'inline-token': 'Exact by content. The text itself holds the id of exactly one request of this process.',
	single: 'Only one request was open at that moment.',
	none: 'No id, because none could be proved. A wrong id would be worse than none.',
};

export const WHY = {
	'no-request': ['The process was serving no request at that moment.', ''],
	'gate-closed': ['tapline does not yet trust that this service keeps a request on one thread.', 'It opens by itself after enough requests that overlap. If one was handed to another thread, it stays closed for good.'],
	'foreign-unit': ['The line was written by a thread or goroutine that serves no request itself: a background job or a logger thread.', ''],
	'after-response': ['The request had been answered completely when the line was written.', ''],
	cut: ['The thread may have been given other work between this line and the response.', ''],
	unproved: ['The place would fit a request, but lines of this form have not proved to belong to requests.', 'Traffic proves them; forms that background work shares stay unproved.'],
	ambiguous: ['More than one request fits this line.', ''],
	batched: ['The service keeps its output in a buffer, so lines of several requests arrive in one write.', 'Set PYTHONUNBUFFERED=1, start it under stdbuf -oL, or use tapline run --tty.'],
	shared: ['Pieces of several threads make up this line.', ''],
	unanswered: ['The response did not come in time, or came from another thread.', 'A longer --hold helps when responses are slow.'],
	desync: ['The connection is not understood: tapline came in the middle of it, or it is not HTTP/1.', ''],
	lost: ['An event of the process was lost meanwhile, so nothing about it is certain.', 'A larger --ring-size helps.'],
	restart: ['The agent was restarted while the line waited for its request.', ''],
	'unit-unknown': ['This Go version or build does not let its goroutine id be read for certain.', ''],
	full: ['A table of the agent was full.', ''],
	off: ['Ids are switched off.', 'Leave out --no-correlate.'],
};

export const SOURCE = source => (source === 'generated' ? 'made by tapline, since the caller sent none' : source ? `from the header ${source}` : '');

// Causes of loss: what happened, what helps.
export const CAUSE = {
	ring_full: ['The kernel’s buffer was full: lines came faster than the agent took them.', 'Give a larger --ring-size.'],
	fault: ['The memory of a write could not be read at that moment.', ''],
	undecided: ['Too much was written before it was clear whether the file is a log.', 'Name the file with --path.'],
	map_full: ['A table in the kernel was full.', 'Select fewer processes.'],
	too_long: ['One write was longer than what is taken of one call.', ''],
	iovecs: ['One write had more pieces than are taken of one call.', ''],
	compat: ['A 32-bit program: its calls are seen, but not read.', ''],
	recursion: ['The kernel skipped the program, as it does under contention.', 'Try --backend kretprobe.multi.'],
	reader_gone: ['No agent was running.', 'Keep the agent’s maps pinned, so that the kernel goes on recording.'],
	log_full: ['The local log was full, because what comes after it did not take the records.', 'See whether the broker or the store is up; --log-size gives more time.'],
	memory: ['A table of the agent for unfinished lines was full.', ''],
	stalled: ['The agent gave no sign of life for so long that the kernel side stood down.', 'See why it hangs.'],
};

export function explainRecord(record) {
	const a = record.attributes || {};
	const how = a['correlation.how'] || 'none';
	if (how === 'none') {
		const [text, helps] = WHY[a['correlation.why']] || [HOW.none, ''];
		return {how, why: a['correlation.why'] || '', text: `No request id: ${text}`, helps, source: ''};
	}
	return {how, why: '', text: HOW[how] || how, helps: '', source: SOURCE(a['correlation.source'])};
}
