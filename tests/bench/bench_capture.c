/* SPDX-License-Identifier: Apache-2.0 */
/* What capture adds to a write, interleaved in one run: a child writes batches to its stdout (a
 * file in /dev/shm opened to append, and with it the worst case, since the write itself is cheap)
 * and to its stderr (a pipe that a process empties), and calls getppid, while the parent goes round
 * and round through nothing attached / attached and not selected / selected and drained. Thread CPU
 * time of the child. What is added is taken within each round, because the machine's speed drifts
 * between rounds; medians of the rounds, smallest and largest. usage: bench_capture [ROUNDS
 * [RING_MIB]]     needs the rights of the inspector; selects its own child only */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/inspector.h"
#include "agent/ring.h"
#include "userspace/base/clock.h"
#include "userspace/base/msg.h"

#define BATCH 20000
#define ROUNDS_MAX 64

enum state { BARE, UNSELECTED, SELECTED, STATES };
enum job { WRITE_128, WRITE_4K, PIPE_128, GETPPID, JOBS };

static const char *const job_names[] = {"write 128 B", "write 4 KiB", "pipe 128 B", "getppid"};

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * TL_SEC + (uint64_t)t.tv_nsec;
}

static double run_job(enum job job)
{
	static char bytes[4096];
	size_t size = job == WRITE_4K ? 4096 : 128;
	unsigned n = job == WRITE_4K ? BATCH / 4 : BATCH;
	int fd = job == PIPE_128 ? 2 : 1;
	uint64_t start;

	memset(bytes, 'x', sizeof(bytes));
	bytes[size - 1] = '\n';
	if (ftruncate(1, 0) < 0)
		_exit(1);
	start = thread_ns();
	for (unsigned i = 0; i < n; i++) {
		if (job == GETPPID)
			(void)getppid();
		else if (write(fd, bytes, size) < 0)
			_exit(1);
	}
	return (double)(thread_ns() - start) / n;
}

static void child(int orders, int answers)
{
	enum job job;

	while (read(orders, &job, sizeof(job)) == sizeof(job)) {
		double ns = run_job(job);

		if (write(answers, &ns, sizeof(ns)) != sizeof(ns))
			break;
	}
	_exit(0);
}

static void empty(int pipe_end)
{
	static char bytes[65536];

	while (read(pipe_end, bytes, sizeof(bytes)) > 0)
		;
	_exit(0);
}

struct bench {
	pid_t pid, reader;
	uint64_t ring_bytes;
	int orders, answers;
	double ns[STATES][JOBS][ROUNDS_MAX];
	uint64_t events, lost;
};

static int start_child(struct bench *bench)
{
	int orders[2], answers[2], errors[2], out;

	if (pipe(errors) < 0)
		return -errno;
	bench->reader = fork();
	if (bench->reader == 0) {
		close(errors[1]);
		empty(errors[0]);
	}
	close(errors[0]);
	if (bench->reader < 0 || pipe(orders) < 0 || pipe(answers) < 0)
		return -errno;
	bench->pid = fork();
	if (bench->pid == 0) {
		out = open("/dev/shm", O_TMPFILE | O_WRONLY | O_APPEND, 0600);
		if (out < 0 || dup2(out, 1) < 0 || dup2(errors[1], 2) < 0)
			_exit(1);
		close(errors[1]);
		close(orders[1]);
		child(orders[0], answers[1]);
	}
	close(errors[1]);
	close(orders[0]);
	bench->orders = orders[1];
	bench->answers = answers[0];
	fcntl(bench->answers, F_SETFL, O_NONBLOCK);
	return bench->pid < 0 ? -errno : 0;
}

static void drain(struct bench *bench, struct tl_capture *capture, struct tl_ring *ring)
{
	const struct tl_event *event;

	while ((event = tl_ring_next(ring))) {
		if (event->type == TL_EV_FILE)
			(void)tl_capture_decide(capture, &((const struct tl_ev_file *)event)->file,
						TL_VERDICT_LOG);
		bench->events += event->type == TL_EV_LOG;
	}
	tl_ring_release(ring);
}

/* One job in the child, the ring drained each millisecond meanwhile. */
static double measure(struct bench *bench, enum job job, struct tl_capture *capture,
		      struct tl_ring *ring)
{
	const struct timespec pause = {0, 1000000};
	double ns;

	if (write(bench->orders, &job, sizeof(job)) != sizeof(job))
		return -1;
	while (read(bench->answers, &ns, sizeof(ns)) != sizeof(ns)) {
		if (ring)
			drain(bench, capture, ring);
		nanosleep(&pause, NULL);
	}
	return ns;
}

static int round_of(struct bench *bench, enum state state, int round, struct tl_error *error)
{
	const struct tl_capture_options options = {
		.ring_bytes = bench->ring_bytes,
		.wire = true,
		.wire_max = 4096,
		.undecided_max = 64 * 1024,
		.max_streams = 1024,
		.max_procs = 1024,
		.max_socks = 1024,
	};
	struct tl_capture *capture = NULL;
	struct tl_capture_fds fds;
	struct tl_ring *ring = NULL;
	struct tl_stats stats = {0};
	bool reused;
	int r;

	if (state != BARE) {
		if ((r = tl_capture_open(&options, &capture, &reused, error)) < 0)
			return r;
		tl_capture_fds(capture, &fds);
		if ((r = tl_ring_open(&fds, &ring, error)) < 0)
			return r;
		(void)tl_capture_select(capture, (uint32_t)bench->pid,
					state == SELECTED ? TL_SELECTED : 0);
	}
	(void)measure(bench, WRITE_128, capture,
		      ring); /* warm, and file and pipe get their verdict */
	(void)measure(bench, PIPE_128, capture, ring);
	for (int job = 0; job < JOBS; job++)
		bench->ns[state][job][round] = measure(bench, (enum job)job, capture, ring);
	if (capture) {
		(void)tl_capture_stats(capture, &stats);
		bench->lost += stats.lost_bytes[TL_LOST_RING_FULL];
		tl_ring_close(ring);
		tl_capture_close(capture, false);
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct summary {
	double median, min, max;
};

static struct summary summarize(const double *values, int n)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	qsort(sorted, (size_t)n, sizeof(*sorted), compare);
	return (struct summary){sorted[n / 2], sorted[0], sorted[n - 1]};
}

static void report_added(struct bench *bench, enum state state, int job, int rounds)
{
	double added[ROUNDS_MAX], ratio[ROUNDS_MAX];
	struct summary ns;

	for (int i = 0; i < rounds; i++) {
		added[i] = bench->ns[state][job][i] - bench->ns[BARE][job][i];
		ratio[i] = bench->ns[state][job][i] / bench->ns[BARE][job][i];
	}
	ns = summarize(added, rounds);
	printf(" %+6.0f ns %.2fx (%+.0f..%+.0f)", ns.median, summarize(ratio, rounds).median,
	       ns.min, ns.max);
}

static void report(struct bench *bench, int rounds)
{
	printf("%-12s %8s   %-32s %s\n", "call", "bare ns", "attached, not selected",
	       "selected and captured");
	for (int job = 0; job < JOBS; job++) {
		printf("%-12s %8.0f  ", job_names[job],
		       summarize(bench->ns[BARE][job], rounds).median);
		report_added(bench, UNSELECTED, job, rounds);
		printf("  ");
		report_added(bench, SELECTED, job, rounds);
		printf("\n");
	}
	printf("%llu events drained, %llu bytes lost, %d rounds\n",
	       (unsigned long long)bench->events, (unsigned long long)bench->lost, rounds);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	int rounds = argc > 1 ? atoi(argv[1]) : 7, r = 0;
	struct tl_error error = {0};

	tl_msg_init("bench_capture", TL_WARNING);
	bench.ring_bytes = (uint64_t)(argc > 2 ? atoi(argv[2]) : 32)
			   << 20; /* the agent's default */
	if (rounds < 1 || rounds > ROUNDS_MAX || start_child(&bench) < 0)
		return 2;
	for (int round = 0; round < rounds && r == 0; round++)
		for (int state = 0; state < STATES && r == 0; state++)
			r = round_of(&bench, (enum state)state, round, &error);
	close(bench.orders);
	waitpid(bench.pid, NULL, 0);
	waitpid(bench.reader, NULL, 0);
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		return 1;
	}
	report(&bench, rounds);
	return 0;
}
