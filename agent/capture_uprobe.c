/* SPDX-License-Identifier: Apache-2.0 */
/* Uprobes: one perf event and one link an attachment, for one process, so that other processes of
 * the same library run without a trap. Nothing is pinned: the kernel takes a dead agent's traps
 * out, and what it told the programs is taken back when the maps are taken over.
 *
 * Putting one in takes 0.1 ms; taking one out 100 ms, in which the kernel waits for all CPUs. A
 * thread does that, so that nobody waits for it: its queue holds links that nobody else knows any
 * more, at most as many as there were attachments. It runs until the process ends, which takes out
 * what is left. */
#include <pthread.h>
#include <signal.h>

#include "agent/capture_internal.h"
#include "bpf/tapline.skel.h"

struct tl_uprobe {
	struct bpf_link *link;
	struct tl_uprobe *next; /* in the queue */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct tl_uprobe *first; /* owned */
	bool runs;
} leaving = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static struct bpf_program *program_of(const struct tl_capture *capture, enum tl_probe_kind kind)
{
	const struct tapline_bpf *skel = capture->skel;
	struct bpf_program *const programs[TL_PROBE_KINDS] = {
		[TL_PROBE_GO_BORN] = skel->progs.tl_go_born,
		[TL_PROBE_GO_QUEUED] = skel->progs.tl_go_queued,
		[TL_PROBE_GO_ASKS] = skel->progs.tl_go_asks,
		[TL_PROBE_GO_WRITES] = skel->progs.tl_go_writes,
		[TL_PROBE_PY_BORN] = skel->progs.tl_py_born,
		[TL_PROBE_PY_END] = skel->progs.tl_py_end,
		[TL_PROBE_TLS_READ] = skel->progs.tl_tls_read,
		[TL_PROBE_TLS_WRITE] = skel->progs.tl_tls_write,
		[TL_PROBE_TLS_READ_EX] = skel->progs.tl_tls_read_ex,
		[TL_PROBE_TLS_WRITE_EX] = skel->progs.tl_tls_write_ex,
		[TL_PROBE_TLS_HANDSHAKE] = skel->progs.tl_tls_handshake,
		[TL_PROBE_TLS_END] = skel->progs.tl_tls_end,
		[TL_PROBE_TLS_LEAVE] = skel->progs.tl_tls_leave,
		[TL_PROBE_GO_TLS_READ] = skel->progs.tl_tls_go_read,
		[TL_PROBE_GO_TLS_WRITE] = skel->progs.tl_tls_go_write,
		[TL_PROBE_GO_TLS_HANDSHAKE] = skel->progs.tl_tls_go_handshake,
		[TL_PROBE_GO_TLS_LEAVE] = skel->progs.tl_tls_go_leave,
	};

	return programs[kind];
}

/* Of C functions only: a return probe moves the return address, which Go's runtime checks. */
static bool at_return(enum tl_probe_kind kind)
{
	return kind == TL_PROBE_PY_BORN || kind == TL_PROBE_TLS_LEAVE;
}

void tl_uprobe_choose(struct tl_capture *capture)
{
	/* A record of several kilobytes needs a place to be made in, and a perf array has none. */
	bool room = capture->ring != TL_RING_PERF;

	bpf_program__set_autoload(capture->skel->progs.tl_tls_leave, room);
	bpf_program__set_autoload(capture->skel->progs.tl_tls_go_leave, room);
}

int tl_capture_probe(struct tl_capture *capture, uint32_t tgid, const char *path, uint64_t offset,
		     enum tl_probe_kind kind, struct tl_uprobe **ret_probe)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = at_return(kind));
	struct bpf_program *program = program_of(capture, kind);
	_cleanup_(freep) struct tl_uprobe *probe = NULL;

	if (bpf_program__fd(program) < 0 ||
	    (kind >= TL_PROBE_TLS_READ && capture->ring == TL_RING_PERF))
		return -ENOTSUP;
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return -ENOMEM;
	probe->link = bpf_program__attach_uprobe_opts(program, (pid_t)tgid, path, offset, &opts);
	if (!probe->link)
		return -errno;
	*ret_probe = TAKE_PTR(probe);
	return 0;
}

static void take_out(struct tl_uprobe *probe)
{
	bpf_link__destroy(probe->link);
	free(probe);
}

static void *take_out_all(void *unused)
{
	(void)unused;
	for (;;) {
		struct tl_uprobe *probe;

		pthread_mutex_lock(&leaving.lock);
		while (!leaving.first)
			pthread_cond_wait(&leaving.filled, &leaving.lock);
		probe = leaving.first;
		leaving.first = probe->next;
		pthread_mutex_unlock(&leaving.lock);
		take_out(probe);
	}
	return NULL;
}

/* Called with the lock. */
static bool has_thread(void)
{
	sigset_t all, before;
	pthread_t thread;

	if (leaving.runs)
		return true;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	leaving.runs = pthread_create(&thread, NULL, take_out_all, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (leaving.runs)
		pthread_detach(thread);
	return leaving.runs;
}

void tl_uprobe_free(struct tl_uprobe *probe)
{
	bool queued;

	if (!probe)
		return;
	pthread_mutex_lock(&leaving.lock);
	queued = has_thread();
	if (queued) {
		probe->next = leaving.first;
		leaving.first = probe;
		pthread_cond_signal(&leaving.filled);
	}
	pthread_mutex_unlock(&leaving.lock);
	if (!queued)
		take_out(probe);
}

/* Takes every entry out of a map. `key` is room for one of its keys. */
static void empty(const struct bpf_map *map, void *key)
{
	int fd = bpf_map__fd(map);

	while (bpf_map_get_next_key(fd, NULL, key) == 0)
		if (bpf_map_delete_elem(fd, key) < 0 && errno != ENOENT)
			return;
}

void tl_capture_unprobed(struct tl_capture *capture)
{
	int fd = bpf_map__fd(capture->skel->maps.tl_procs);
	struct tl_context_key context;
	struct tl_tls_key tls;
	uint32_t key, next;

	for (bool more = bpf_map_get_next_key(fd, NULL, &next) == 0; more;
	     more = bpf_map_get_next_key(fd, &key, &next) == 0) {
		const uint64_t args[] = {next};

		key = next;
		(void)tl_capture_run(capture->skel->progs.tl_ctl_unprobed, args, ARRAY_SIZE(args));
	}
	/* Their ends went unseen. */
	empty(capture->skel->maps.tl_contexts, &context);
	empty(capture->skel->maps.tl_tls_socks, &tls);
}

void tl_capture_forget_tls(struct tl_capture *capture, uint32_t tgid)
{
	int fd = bpf_map__fd(capture->skel->maps.tl_tls_socks);
	struct tl_tls_key key, next;

	for (bool more = bpf_map_get_next_key(fd, NULL, &next) == 0; more;) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (key.tgid == tgid)
			(void)bpf_map_delete_elem(fd, &key);
	}
}
