/* SPDX-License-Identifier: Apache-2.0 */
/* The privileged side: one loop that answers the worker and scans /proc.
 *
 * Nothing that comes over the pair is trusted, because the worker reads bytes that strangers wrote:
 * a request has one of the known types and exactly that type's size, enumerations are checked, and
 * only selected processes are talked about. A bad request is answered with an error and has no
 * effect. The worker sends the next request after the last reply; a reply that finds no room means
 * that it does not keep to that, and ends the service rather than block it. */
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "agent/inspector_probe.h"
#include "agent/inspector_proto.h"
#include "agent/inspector_scan.h"
#include "agent/procfs.h"
#include "userspace/base/clock.h"

#define STREAMS_MAX (1u << 20) /* rows of one snapshot at most: 64 MiB */
#define STOP_POLL_MS 500       /* how soon a stop is noticed */

struct inspector {
	const struct tl_inspector_options *options; /* borrowed */
	struct tl_capture *capture;		    /* borrowed */
	int fd, proc;
	struct tl_scan *scan;
	struct tl_probes *probes;
	struct tl_stream_row *rows; /* owned: snapshot of the streams for TL_INSPECT_STREAMS */
	uint32_t n_rows, cap_rows;
	uint64_t data[TL_INSPECT_DATA_MAX / sizeof(uint64_t)]; /* of the reply being made */
};

/* What a handler says beside its result. */
struct reply {
	size_t len; /* bytes of inspector.data */
	int fd;	    /* closed after sending; -1 none */
};

static void inspector_freep(struct inspector **inspector)
{
	if (!*inspector)
		return;
	tl_scan_freep(&(*inspector)->scan);
	/* Told before the first of them is taken out: some alone would show a part. */
	if ((*inspector)->probes)
		tl_capture_unprobed((*inspector)->capture);
	tl_probes_freep(&(*inspector)->probes);
	closep(&(*inspector)->proc);
	free((*inspector)->rows);
	free(*inspector);
}

static void put(struct inspector *inspector, struct reply *reply, const void *data, size_t len)
{
	memcpy(inspector->data, data, len);
	reply->len = len;
}

static int on_process(struct inspector *inspector, const union tl_inspect_request *request,
		      struct reply *reply)
{
	uint32_t tgid = request->process.tgid;
	struct tl_procfs_stat stat;
	struct tl_proc_info info;
	int r;

	/* Gone comes first: the kernel has unselected it then. */
	if (tl_procfs_stat(inspector->proc, tgid, &stat) < 0)
		return -ESRCH;
	if (!tl_scan_is_selected(inspector->scan, tgid))
		return -EPERM;
	if (request->process.want_exe)
		reply->fd = tl_procfs_open_exe(inspector->proc, tgid);
	/* After the descriptor: what it proves about the process's identity holds for both. */
	r = tl_procfs_info(inspector->proc, tgid, tl_scan_mounts(inspector->scan), &info);
	if (r == 0 && info.start_ns != stat.start_ns)
		r = -ESRCH;
	if (r < 0) {
		closep(&reply->fd);
		reply->fd = -1;
	} else {
		put(inspector, reply, &info, sizeof(info));
	}
	return r;
}

/* Looks for a selected process that reads a pipe. */
struct reader {
	struct inspector *inspector;
	const struct tl_file_id *file;
};

static int reads_pipe(void *arg, uint32_t pid)
{
	struct reader *reader = arg;
	bool reads, writes;

	if (!tl_scan_is_selected(reader->inspector->scan, pid) ||
	    tl_procfs_pipe_ends(reader->inspector->proc, pid, reader->file, &reads, &writes) < 0)
		return 0;
	/* Who holds both ends is a writer that did not close what it inherited. */
	return reads && !writes;
}

static int on_pipe_reader(struct inspector *inspector, const union tl_inspect_request *request,
			  struct reply *reply)
{
	struct reader reader = {inspector, &request->pipe.file};

	(void)reply;
	if (!tl_scan_is_selected(inspector->scan, request->pipe.tgid))
		return -EPERM;
	return tl_procfs_each(inspector->proc, reads_pipe, &reader);
}

static int on_decide(struct inspector *inspector, const union tl_inspect_request *request,
		     struct reply *reply)
{
	uint32_t verdict = request->decide.verdict;

	(void)reply;
	if (verdict > TL_VERDICT_IGNORE)
		return -EINVAL;
	return tl_capture_decide(inspector->capture, &request->decide.file,
				 (enum tl_verdict)verdict);
}

static int on_ignore_sock(struct inspector *inspector, const union tl_inspect_request *request,
			  struct reply *reply)
{
	(void)reply;
	return tl_capture_ignore_sock(inspector->capture, &request->sock.sock);
}

static int on_set_unit(struct inspector *inspector, const union tl_inspect_request *request,
		       struct reply *reply)
{
	const struct tl_inspect_unit_req *unit = &request->unit;

	(void)reply;
	if (unit->unit.unit_kind >= TL_UNIT_KINDS)
		return -EINVAL;
	if (!tl_scan_is_selected(inspector->scan, unit->tgid))
		return -EPERM;
	return tl_capture_set_unit(inspector->capture, unit->tgid, unit->start_ns, &unit->unit);
}

static int on_module(struct inspector *inspector, const union tl_inspect_request *request,
		     struct reply *reply)
{
	const struct tl_inspect_module_req *module = &request->module;
	struct tl_module_info info;
	int r;

	if (memchr(module->glob, '\0', sizeof(module->glob)) == NULL)
		return -EINVAL;
	if (!tl_scan_is_selected(inspector->scan, module->tgid))
		return -EPERM;
	r = tl_probes_module(inspector->probes, module->tgid, module->glob, &info, &reply->fd);
	if (r >= 0)
		put(inspector, reply, &info, sizeof(info));
	return r;
}

static int on_probe(struct inspector *inspector, const union tl_inspect_request *request,
		    struct reply *reply)
{
	const struct tl_inspect_probe_req *probe = &request->probe;
	struct tl_procfs_stat stat;

	(void)reply;
	if (probe->at.kind >= TL_PROBE_KINDS)
		return -EINVAL;
	/* Gone comes first, as above. */
	if (tl_procfs_stat(inspector->proc, probe->tgid, &stat) < 0)
		return -ESRCH;
	if (!tl_scan_is_selected(inspector->scan, probe->tgid))
		return -EPERM;
	return tl_probes_attach(inspector->probes, probe->tgid, probe->start_ns, &probe->at);
}

static int on_slot(struct inspector *inspector, const union tl_inspect_request *request,
		   struct reply *reply)
{
	(void)reply;
	if (!tl_scan_is_selected(inspector->scan, request->slot.tgid))
		return -EPERM;
	return tl_probes_slot(request->slot.tgid, request->slot.address);
}

static int on_jvm(struct inspector *inspector, const union tl_inspect_request *request,
		  struct reply *reply)
{
	struct tl_jvm_layout layout;
	int r;

	if (!tl_scan_is_selected(inspector->scan, request->jvm.tgid))
		return -EPERM;
	r = tl_probes_jvm(request->jvm.tgid, &request->jvm.words, &layout);
	if (r >= 0)
		put(inspector, reply, &layout, sizeof(layout));
	return r;
}

static int on_forget(struct inspector *inspector, const union tl_inspect_request *request,
		     struct reply *reply)
{
	struct tl_stream last = {0};
	int r = tl_capture_forget(inspector->capture, &request->file.file, &last);

	if (r >= 0)
		put(inspector, reply, &last, sizeof(last));
	return r;
}

static int on_stream(struct inspector *inspector, const union tl_inspect_request *request,
		     struct reply *reply)
{
	struct tl_stream stream = {0};
	int r = tl_capture_stream(inspector->capture, &request->file.file, &stream);

	if (r >= 0)
		put(inspector, reply, &stream, sizeof(stream));
	return r;
}

static int on_stats(struct inspector *inspector, const union tl_inspect_request *request,
		    struct reply *reply)
{
	struct tl_stats stats = {0};
	int r = tl_capture_stats(inspector->capture, &stats);

	(void)request;
	if (r >= 0)
		put(inspector, reply, &stats, sizeof(stats));
	return r;
}

static int on_scan(struct inspector *inspector, const union tl_inspect_request *request,
		   struct reply *reply)
{
	(void)request;
	(void)reply;
	return tl_scan_run(inspector->scan, true);
}

static int add_row(void *arg, const struct tl_file_id *file, const struct tl_stream *stream)
{
	struct inspector *inspector = arg;

	if (inspector->n_rows == inspector->cap_rows) {
		uint32_t cap = inspector->cap_rows ? 2 * inspector->cap_rows : 1024;
		struct tl_stream_row *rows;

		if (cap > STREAMS_MAX)
			return -E2BIG;
		rows = reallocarray(inspector->rows, cap, sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		inspector->rows = rows;
		inspector->cap_rows = cap;
	}
	inspector->rows[inspector->n_rows++] = (struct tl_stream_row){*file, *stream};
	return 0;
}

static void free_rows(struct inspector *inspector)
{
	free(TAKE_PTR(inspector->rows));
	inspector->n_rows = inspector->cap_rows = 0;
}

static int on_streams(struct inspector *inspector, const union tl_inspect_request *request,
		      struct reply *reply)
{
	uint32_t cursor = request->streams.cursor, n = request->streams.max;
	int r;

	if (cursor == 0) {
		free_rows(inspector);
		r = tl_capture_streams(inspector->capture, add_row, inspector);
		if (r < 0) {
			free_rows(inspector);
			return r;
		}
	}
	if (cursor >= inspector->n_rows) {
		free_rows(inspector);
		return 0;
	}
	if (n > inspector->n_rows - cursor)
		n = inspector->n_rows - cursor;
	if (n > TL_INSPECT_ROWS_MAX)
		n = TL_INSPECT_ROWS_MAX;
	put(inspector, reply, inspector->rows + cursor, n * sizeof(*inspector->rows));
	return (int)n;
}

static const struct {
	size_t size; /* of the request; 0 no such type */
	int (*handle)(struct inspector *inspector, const union tl_inspect_request *request,
		      struct reply *reply);
} calls[TL_INSPECT_TYPES] = {
	[TL_INSPECT_PROCESS] = {sizeof(struct tl_inspect_process_req), on_process},
	[TL_INSPECT_PIPE_READER] = {sizeof(struct tl_inspect_pipe_req), on_pipe_reader},
	[TL_INSPECT_DECIDE] = {sizeof(struct tl_inspect_decide_req), on_decide},
	[TL_INSPECT_IGNORE_SOCK] = {sizeof(struct tl_inspect_sock_req), on_ignore_sock},
	[TL_INSPECT_SET_UNIT] = {sizeof(struct tl_inspect_unit_req), on_set_unit},
	[TL_INSPECT_MODULE] = {sizeof(struct tl_inspect_module_req), on_module},
	[TL_INSPECT_PROBE] = {sizeof(struct tl_inspect_probe_req), on_probe},
	[TL_INSPECT_SLOT] = {sizeof(struct tl_inspect_slot_req), on_slot},
	[TL_INSPECT_JVM] = {sizeof(struct tl_inspect_jvm_req), on_jvm},
	[TL_INSPECT_FORGET] = {sizeof(struct tl_inspect_file_req), on_forget},
	[TL_INSPECT_STREAM] = {sizeof(struct tl_inspect_file_req), on_stream},
	[TL_INSPECT_STATS] = {sizeof(struct tl_inspect_plain_req), on_stats},
	[TL_INSPECT_SCAN] = {sizeof(struct tl_inspect_plain_req), on_scan},
	[TL_INSPECT_STREAMS] = {sizeof(struct tl_inspect_streams_req), on_streams},
};

static int dispatch(struct inspector *inspector, const union tl_inspect_request *request,
		    size_t len, struct reply *reply)
{
	if (len < sizeof(request->type) || request->type >= TL_INSPECT_TYPES ||
	    calls[request->type].size == 0 || len != calls[request->type].size)
		return -EINVAL;
	return calls[request->type].handle(inspector, request, reply);
}

static int send_reply(struct inspector *inspector, int result, const struct reply *reply)
{
	struct tl_inspect_reply head = {.result = result, .len = (uint32_t)reply->len};
	struct iovec iov[2] = {{&head, sizeof(head)}, {inspector->data, reply->len}};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (reply->fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(&control.align), &reply->fd, sizeof(int));
	}
	do
		n = sendmsg(inspector->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Takes one request and answers it. Returns 1, 0 when the worker has closed its end, or -errno. */
static int serve_one(struct inspector *inspector)
{
	struct reply reply = {.fd = -1};
	union tl_inspect_request request;
	struct iovec iov = {&request, sizeof(request)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;
	int r;

	memset(&request, 0, sizeof(request));
	n = recvmsg(inspector->fd, &message, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return 0;
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	r = message.msg_flags & MSG_TRUNC ? -EINVAL
					  : dispatch(inspector, &request, (size_t)n, &reply);
	r = send_reply(inspector, r, &reply);
	closep(&reply.fd);
	if (r == -EPIPE || r == -ECONNRESET)
		return 0;
	return r < 0 ? r : 1;
}

static bool stopped(const struct inspector *inspector)
{
	return inspector->options->stop && *inspector->options->stop;
}

static int until(uint64_t deadline_ns, bool has_stop)
{
	uint64_t now = tl_mono_ns();
	int ms = has_stop ? STOP_POLL_MS : -1;

	if (deadline_ns == UINT64_MAX)
		return ms;
	if (deadline_ns <= now)
		return 0;
	deadline_ns = (deadline_ns - now + TL_MS - 1) / TL_MS;
	return ms >= 0 && deadline_ns > (uint64_t)ms ? ms : (int)deadline_ns;
}

static int loop(struct inspector *inspector, struct tl_error *error)
{
	uint64_t every = inspector->options->scan_ms * TL_MS;
	uint64_t next = every ? tl_mono_ns() + every : UINT64_MAX;
	struct pollfd pollfd = {.fd = inspector->fd, .events = POLLIN};
	int r;

	while (!stopped(inspector)) {
		r = poll(&pollfd, 1, until(next, inspector->options->stop != NULL));
		if (r < 0 && errno != EINTR)
			return tl_error_set(error, -errno, "cannot wait for the worker: %s",
					    strerror(errno));
		if (r > 0) {
			r = serve_one(inspector);
			if (r == 0)
				return 0;
			if (r < 0)
				return tl_error_set(error, r, "cannot answer the worker: %s",
						    strerror(-r));
		}
		if (tl_mono_ns() >= next) {
			/* A listing that failed once (memory) is tried again. */
			(void)tl_scan_run(inspector->scan, false);
			tl_probes_sweep(inspector->probes);
			next = tl_mono_ns() + every;
		}
	}
	return 0;
}

/* Tells the programs whether children are followed. */
static int set_follow_fork(struct inspector *inspector)
{
	struct tl_capture_fds fds = {.control = -1};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct tl_control *control;

	tl_capture_fds(inspector->capture, &fds);
	if (fds.control < 0)
		return 0;
	control = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fds.control, 0);
	if (control == MAP_FAILED)
		return -errno;
	__atomic_store_n(&control->follow_fork, inspector->options->selectors->follow_fork,
			 __ATOMIC_RELAXED);
	munmap(control, page);
	return 0;
}

int tl_inspector_serve(int fd, const struct tl_inspector_options *options, struct tl_error *error)
{
	_cleanup_(inspector_freep) struct inspector *inspector = calloc(1, sizeof(*inspector));
	int buffer = 4 * TL_INSPECT_MAX, r;

	if (!inspector)
		return tl_error_set(error, -ENOMEM, "out of memory for the inspector");
	inspector->options = options;
	inspector->capture = options->capture;
	inspector->fd = fd;
	inspector->proc = tl_procfs_open();
	if (inspector->proc < 0)
		return tl_error_set(error, inspector->proc, "cannot open /proc: %s",
				    strerror(-inspector->proc));
	/* A host with a tiny default must still have room for one reply. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	r = tl_scan_new(options, inspector->proc, &inspector->scan, error);
	if (r < 0)
		return r;
	inspector->probes = tl_probes_new(options->capture, inspector->proc);
	if (!inspector->probes)
		return tl_error_set(error, -ENOMEM, "out of memory for the inspector");
	/* Those of a worker before this one have gone with it. */
	tl_capture_unprobed(options->capture);
	r = set_follow_fork(inspector);
	if (r >= 0)
		r = tl_scan_run(inspector->scan, true);
	if (r < 0)
		return tl_error_set(error, r, "cannot select the processes: %s", strerror(-r));
	return loop(inspector, error);
}
