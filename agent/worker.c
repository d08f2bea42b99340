/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's loop.
 *
 * A drain takes finished events off the ring up to DRAIN_BYTES, turns them into records and state
 * in one frame, appends the frame to the local log, and only then gives the events back to the
 * kernel. Killed before the append, the next worker finds the same events; killed after it, the
 * next worker skips them by the ring position in the frame.
 *
 * No event wakes us: a timer does, `drain-interval` while there is traffic, growing to
 * `idle-interval` without; the programs force one wake-up when the ring passes its fill mark. When
 * the log is full we stop draining and the kernel counts what the ring then refuses; what was
 * accepted is never dropped. */
#include "agent/worker_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/web/metrics_server.h"

#define DRAIN_BYTES (4u << 20)
#define FRAME_BYTES (16u << 20) /* of one frame, about: one more event may come on top */
#define SEGMENTS 8		/* of the local log, at least (log.h) */
#define LINE_EXTRA (256u << 10) /* what a record's attributes and extents take beside its line */
#define STOP_DRAIN_NS (5 * TL_SEC)
#define FULL_RETRY_US 50000

static volatile sig_atomic_t stop_asked;

static void on_stop(int signal_number)
{
	(void)signal_number;
	stop_asked = 1;
}

static bool inspector_gone(const struct tl_worker *worker)
{
	struct pollfd p = {.fd = worker->options->inspector};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/* Waits a little after a failed append. Returns false when waiting does not help: the disk has
 * failed, or we are to stop. */
static bool wait_for_room(struct tl_worker *worker, int r)
{
	static struct tl_msg_gate gate;
	uint64_t now = tl_mono_ns();

	if (r == -EIO) {
		tl_msg(TL_ERROR,
		       "the local log %s cannot be written any more: its disk or file system has "
		       "failed (dmesg says "
		       "more). The agent ends; what was appended stays there, the rest is in the "
		       "ring",
		       worker->log_dir);
		return false;
	}
	worker->counters.log_full++;
	tl_msg_limited(&gate, 10000, TL_WARNING,
		       "the local log %s takes no more (%s): capture goes on in the ring, what "
		       "that refuses is "
		       "counted; free space, raise --log-size, or bring the broker back",
		       worker->log_dir, strerror(-r));
	worker->control->heartbeat_ns = now;
	if (now >= worker->next_second_ns) {
		worker->next_second_ns = now + TL_SEC;
		(void)tl_inspect_stats(worker->options->inspector, &worker->stats);
		tl_worker_status_write(worker, false);
	}
	if (stop_asked || inspector_gone(worker))
		return false;
	usleep(FULL_RETRY_US);
	return true;
}

/* A smaller piece from the front. The state behind the records tells what became of the ring, so it
 * stays together and comes last: killed between two pieces, the next worker makes the first one's
 * records again, under the same uids. */
static size_t smaller_piece(const struct tl_frame *frame, size_t n)
{
	size_t records = n;

	while (records > 0 && frame->entries[records - 1].type >= TL_STATE_WORKER &&
	       frame->entries[records - 1].type <= TL_STATE_LINE_END)
		records--;
	return records > 0 && records < n ? records : n / 2;
}

static void remove_first(struct tl_frame *frame, size_t n)
{
	frame->n -= n;
	memmove(frame->entries, frame->entries + n, frame->n * sizeof(*frame->entries));
}

/* Appends the frame, waiting as long as the log is full; one larger than a segment goes in pieces.
 * Returns false when it stayed full until we were told to stop, or is broken: the frame keeps what
 * was not appended. */
static bool append_frame(struct tl_worker *worker)
{
	struct tl_frame *frame = &worker->frame, piece;
	size_t n = frame->n;

	/* The next worker starts from the last whole frame. */
	if (frame->failed || frame->bytes.failed) {
		tl_msg(TL_ERROR, "out of memory for a frame of the local log");
		abort();
	}
	while (frame->n) {
		int r;

		piece = *frame;
		piece.n = n;
		r = tl_frame_append(&piece, worker->log, NULL);
		if (r == -EMSGSIZE && n > 1) {
			n = smaller_piece(frame, n);
			continue;
		}
		if (r == -EMSGSIZE) {
			tl_msg(TL_ERROR,
			       "an entry of %zu bytes is larger than a segment of the local log "
			       "and is dropped: "
			       "raise --log-size",
			       frame->entries[0].len);
			worker->counters.lost[TL_LOST_LOG_FULL] += frame->entries[0].len;
		} else if (r < 0 && !wait_for_room(worker, r)) {
			worker->log_refused = true;
			return false;
		}
		if (r == 0 || r == -EMSGSIZE)
			remove_first(frame, n);
		n = frame->n;
	}
	tl_frame_clear(frame);
	worker->counters.frames++;
	return true;
}

static void tick(struct tl_worker *worker, uint64_t now)
{
	uint64_t lines, corr;

	if (now < worker->next_deadline_ns)
		return;
	lines = tl_lines_tick(worker->lines, now);
	corr = tl_corr_tick(worker->corr, now);
	worker->next_deadline_ns = lines < corr ? lines : corr;
	if (worker->next_deadline_ns > now + 100 * TL_MS)
		worker->next_deadline_ns = now + 100 * TL_MS;
}

/* Takes what is in the ring, up to DRAIN_BYTES. Returns the number of events, -EAGAIN when the log
 * refused until stop. */
static int64_t drain(struct tl_worker *worker)
{
	uint64_t start = tl_ring_position(worker->ring);
	const struct tl_event *event = NULL;
	int64_t n = 0;

	while (tl_ring_position(worker->ring) - start < DRAIN_BYTES &&
	       worker->frame.bytes.len < worker->frame_max &&
	       (event = tl_ring_next(worker->ring))) {
		tl_worker_event(worker, event);
		n++;
	}
	worker->saw_end = event == NULL;
	if (worker->saw_end && worker->rows_fresh)
		tl_worker_rows_apply(worker);
	/* Under a backlog the rest of an open line is still in the ring: time passes only where the
	 * ring was emptied. */
	if (worker->saw_end)
		tick(worker, tl_mono_ns());
	tl_worker_save(worker, false);
	if (worker->frame.n && !append_frame(worker))
		return -EAGAIN;
	if (n)
		tl_ring_release(worker->ring);
	return n;
}

static void each_second(struct tl_worker *worker, uint64_t now)
{
	worker->next_second_ns = now + TL_SEC;
	worker->control->heartbeat_ns = now;
	worker->wall_offset = tl_mono_to_wall_offset();
	(void)tl_inspect_stats(worker->options->inspector, &worker->stats);
	tl_worker_rows_read(worker);
	tl_enrich_tick(worker->enrich, now);
	tl_worker_status_write(worker, false);
	if (worker->settings->metrics)
		tl_worker_metrics_streams(worker);
}

/* Sleeps until the next drain: short while lines come, longer when it is quiet. */
static void wait_next(struct tl_worker *worker, uint64_t now)
{
	const struct tl_agent_settings *settings = worker->settings;
	uint64_t quiet = now - worker->last_event_ns, ns = settings->drain_ns;
	struct pollfd p[2] = {
		{.fd = worker->options->inspector, .events = POLLHUP},
		{.fd = tl_ring_poll_fd(worker->ring), .events = POLLIN},
	};
	struct timespec timeout;

	if (quiet > 500 * TL_MS)
		ns = settings->idle_ns;
	else if (quiet > 20 * TL_MS)
		ns = settings->drain_ns * 2;
	if (worker->next_deadline_ns > now && worker->next_deadline_ns - now < ns)
		ns = worker->next_deadline_ns - now;
	timeout = (struct timespec){(time_t)(ns / TL_SEC), (long)(ns % TL_SEC)};
	(void)ppoll(p, p[1].fd >= 0 ? 2 : 1, &timeout, NULL);
	if (p[0].revents & (POLLHUP | POLLERR))
		stop_asked = 1;
}

static void work(struct tl_worker *worker)
{
	while (!stop_asked) {
		int64_t n = drain(worker);
		uint64_t now = tl_mono_ns();

		if (n < 0)
			return;
		if (n > 0)
			worker->last_event_ns = now;
		if (now >= worker->next_second_ns)
			each_second(worker, now);
		if (worker->saw_end)
			wait_next(worker, now);
	}
}

static void tell_refused(const struct tl_worker *worker)
{
	bool pinned = worker->settings->pin_dir && strcmp(worker->settings->pin_dir, "none") != 0;

	tl_msg(TL_ERROR,
	       "the local log takes no more, so %llu bytes of the ring did not get into it; %s",
	       (unsigned long long)tl_ring_pending(worker->ring),
	       pinned ? "they stay in the kernel: free space and start the agent again"
		      : "without --pin they are lost with it");
}

/* What is in the ring still becomes records; then everything open is given out. Returns false when
 * the log refused: then what it has not got is for the next agent, open lines too. */
static bool finish(struct tl_worker *worker)
{
	uint64_t until = tl_mono_ns() + STOP_DRAIN_NS;

	(void)tl_inspect_stats(worker->options->inspector, &worker->stats);
	tl_worker_rows_read(worker);
	while (!worker->log_refused && drain(worker) >= 0 && !worker->saw_end &&
	       tl_mono_ns() < until)
		;
	if (!worker->log_refused) {
		tl_worker_rows_apply(worker);
		tl_lines_flush(worker->lines);
		tl_corr_flush(worker->corr);
		tl_worker_save(worker, false);
		if (worker->frame.n && append_frame(worker))
			tl_ring_release(worker->ring);
	}
	if (worker->log_refused)
		tell_refused(worker);
	return !worker->log_refused;
}

static int map_control(struct tl_worker *worker, struct tl_error *error)
{
	void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
			  worker->options->fds.control, 0);

	if (page == MAP_FAILED)
		return tl_error_set(error, -errno, "cannot map the control page: %s",
				    strerror(errno));
	worker->control = page;
	worker->control->heartbeat_ns = tl_mono_ns();
	return 0;
}

static int pipe_reader(void *arg, uint32_t tgid, const struct tl_file_id *file)
{
	struct tl_worker *worker = arg;

	return tl_inspect_pipe_reader(worker->options->inspector, tgid, file);
}

static int decide(void *arg, const struct tl_file_id *file, enum tl_verdict verdict)
{
	struct tl_worker *worker = arg;

	return tl_inspect_decide(worker->options->inspector, file, verdict);
}

static void ignore_sock(void *arg, uint64_t sock, uint64_t sock_ino)
{
	struct tl_worker *worker = arg;
	const struct tl_sock_key key = {sock, sock_ino};

	(void)tl_inspect_ignore_sock(worker->options->inspector, &key);
}

static int make_lines(struct tl_worker *worker, struct tl_error *error)
{
	const struct tl_agent_settings *settings = worker->settings;
	const struct tl_streams_options streams = {
		.max = TL_STREAMS_MAX,
		.paths = (const char *const *)settings->paths.items,
		.n_paths = settings->paths.n,
		.pipe_reader = pipe_reader,
		.decide = decide,
		.arg = worker,
	};
	const struct tl_lines_options lines = {
		.max_line = (uint32_t)settings->max_line,
		.max_open = 65536,
		.max_bytes = 64 << 20,
		.partial_ns = settings->partial_ns,
		.join_ns = settings->join_ns,
		.multiline = settings->multiline,
		.custom = (const char *const *)settings->multiline_rules.items,
		.n_custom = settings->multiline_rules.n,
		.ready = tl_worker_line_ready,
		.arg = worker,
	};

	worker->streams = tl_streams_new(&streams);
	if (!worker->streams)
		return tl_error_set(error, -ENOMEM, "no memory for the stream table");
	return tl_lines_new(&lines, &worker->lines, error);
}

static struct tl_learn *make_learn(const struct tl_worker *worker)
{
	unsigned sets = 0;

	(void)tl_learn_sets(worker->settings->uprobes, &sets, NULL);
	return tl_learn_new(worker->options->inspector, sets);
}

static int make_correlation(struct tl_worker *worker, struct tl_error *error)
{
	static char host[256];
	const struct tl_agent_settings *settings = worker->settings;
	struct tl_corr_options corr = {
		.hold_ns = settings->hold_ns,
		.gate_confirms = (uint32_t)settings->gate_confirms,
		.off = !settings->correlate,
		.instance = worker->instance,
		.wall_offset = &worker->wall_offset,
		.released = tl_worker_line_released,
		.exchange = tl_worker_exchange,
		.ignore = ignore_sock,
		.arg = worker,
	};
	struct tl_enrich_options enrich = {
		.service_name = settings->service_name, .host_name = host, .max = 16384};
	uint64_t instance;
	int r = tl_levels_parse(settings->levels, &corr.levels, error);

	if (r < 0)
		return r;
	if (!settings->inline_tokens)
		corr.levels &= ~(1u << TL_HOW_APP | 1u << TL_HOW_INLINE);
	gethostname(host, sizeof(host) - 1);
	tl_random(&instance, sizeof(instance));
	snprintf(worker->instance, sizeof(worker->instance), "%016llx",
		 (unsigned long long)instance);
	worker->learn = make_learn(worker);
	if (!worker->learn)
		return tl_error_set(error, -ENOMEM, "out of memory for the table of processes");
	worker->enrich = tl_enrich_new(&enrich);
	if (!worker->enrich)
		return tl_error_set(error, -ENOMEM, "no memory for the process table");
	return tl_corr_new(&corr, &worker->corr, error);
}

static int open_log(struct tl_worker *worker, struct tl_error *error)
{
	const struct tl_log_options options = {
		.dir = worker->log_dir,
		.max_bytes = worker->settings->log_bytes,
		.sync_ms = (uint32_t)(worker->settings->log_sync_ns / TL_MS),
		.checkpoint = tl_worker_checkpoint,
		.arg = worker,
	};

	return tl_log_open(&options, &worker->log, error);
}

/* A segment must hold the longest line with all about it, and should hold a drain. */
static int check_log_size(struct tl_worker *worker, struct tl_error *error)
{
	uint64_t need = worker->settings->max_line + LINE_EXTRA, segment;
	struct tl_log_usage usage;

	tl_log_usage(worker->log, &usage);
	segment = usage.max_bytes / SEGMENTS;
	if (segment < need)
		return tl_error_set(
			error, -ENOSPC,
			"the local log in %s may take %llu KiB only, which is too little for lines "
			"of up to %llu "
			"KiB (--max-line): it needs %llu KiB. %s",
			worker->log_dir, (unsigned long long)usage.max_bytes >> 10,
			(unsigned long long)worker->settings->max_line >> 10,
			(unsigned long long)(need * SEGMENTS) >> 10,
			worker->settings->log_bytes
				? "Raise --log-size"
				: "Free space, choose another --state, or set --log-size");
	worker->frame_max = segment / 2 < FRAME_BYTES ? segment / 2 : FRAME_BYTES;
	return 0;
}

static int start_forward(struct tl_worker *worker, struct tl_error *error)
{
	const struct tl_forward_options options = {
		.kafka = &worker->settings->kafka,
		.log_dir = worker->log_dir,
		.consumer = "kafka",
		.last = &worker->forward_usage,
	};

	if (!worker->settings->kafka.brokers)
		return 0;
	return tl_forward_start(&options, &worker->forward, error);
}

static int start(struct tl_worker *worker, struct tl_error *error)
{
	const struct tl_agent_settings *settings = worker->settings;
	int r;

	if (asprintf(&worker->log_dir, "%s/log", settings->state_dir) < 0)
		return tl_error_set(error, -ENOMEM, "no memory");
	worker->wall_offset = tl_mono_to_wall_offset();
	worker->started_ns = worker->last_event_ns = tl_mono_ns();
	if ((r = tl_redact_new((const char *const *)settings->redact.items, settings->redact.n,
			       &worker->redact, error)) < 0 ||
	    (r = map_control(worker, error)) < 0 || (r = open_log(worker, error)) < 0 ||
	    (r = check_log_size(worker, error)) < 0 || (r = make_lines(worker, error)) < 0 ||
	    (r = make_correlation(worker, error)) < 0 || (r = tl_worker_recover(worker, error)) < 0)
		return r;
	if (worker->ring_position)
		tl_ring_skip_to(worker->ring, worker->ring_position);
	if ((r = start_forward(worker, error)) < 0)
		return r;
	tl_metric_collect(tl_worker_metrics, worker);
	if (settings->metrics && (r = tl_metrics_serve(settings->metrics, error)) < 0)
		return r;
	return 0;
}

static void done(struct tl_worker *worker)
{
	uint64_t left = 0;

	tl_log_closep(&worker->log);
	worker->log = NULL;
	if (worker->forward)
		left = tl_forward_stop(TAKE_PTR(worker->forward),
				       (unsigned)(worker->settings->stop_ns / TL_MS));
	if (left)
		tl_msg(TL_WARNING,
		       "%llu entries are not acknowledged by the broker yet; they stay in %s and "
		       "go out when "
		       "the agent is started again",
		       (unsigned long long)left, worker->log_dir);
	tl_worker_status_write(worker, true);
}

int tl_worker_main(const struct tl_worker_options *options)
{
	static struct tl_worker worker;
	struct sigaction action = {.sa_handler = on_stop};
	struct tl_error error = {0};
	int r;

	worker.options = options;
	worker.settings = options->settings;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	prctl(PR_SET_NAME, "tapline-worker");
	umask(077);
	/* The mapping of perf buffers may need CAP_IPC_LOCK, so it comes first. */
	r = tl_ring_open(&options->fds, &worker.ring, &error);
	if (r == 0)
		r = tl_drop_privileges(&error);
	if (r == 0)
		r = start(&worker, &error);
	/* The first answer comes after the first scan: from here on what is selected is captured.
	 */
	if (r == 0 && tl_inspect_stats(options->inspector, &worker.stats) < 0)
		r = tl_error_set(&error, -EPIPE, "the inspector process has ended");
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		return r == -EINVAL ? 2 : 1;
	}
	tl_msg(TL_INFO, "capturing with %s (%s), %s ring of %llu KiB; state in %s",
	       options->backend, options->backend_why, options->ring,
	       (unsigned long long)options->fds.ring_bytes >> 10, worker.settings->state_dir);
	if (worker.settings->ready_fd >= 0 && write((int)worker.settings->ready_fd, "1", 1) != 1)
		tl_msg(TL_DEBUG, "nobody waits for us");
	work(&worker);
	r = finish(&worker) ? 0 : 1;
	done(&worker);
	return r;
}
