/* SPDX-License-Identifier: Apache-2.0 */
/* Whole services by chance, for the rules that go by place. A model knows whose each line is: a
 * pool whose requests another thread reads, threads that read for themselves, a pool that does
 * both, an event loop; each with or without access logs, late lines, waits in the middle, jobs on
 * the same threads (nobody's, and one that each request leaves behind), forms that jobs and
 * requests share, logs that come only after the next response; with little to do or always more
 * than can be done; the same lines each time or not; responses whole or in pieces; met from the
 * start or at work; of one thread or several. No line may get a
 * wrong id, whatever the mixture; how many get one is counted over all, so that the rules are known
 * to be in use. */
#include "tests/unit/correlate_fixture.h"

#define CONNS 24
#define WORKERS 6
#define STEPS 6000
#define CONFIRMS 100

enum service { HAND_OVER, DEDICATED, LOOP, MIXED, SERVICES };

/* What a worker (of a loop: a task) is at. */
struct work {
	bool busy, job;
	unsigned conn, request, steps;
	bool begun, answered; /* its response */
};

struct model {
	struct bed bed;
	unsigned seed;
	enum service service;
	bool access, late, jobs, shared_forms, deferred, many_waits, after_jobs, busy, steady,
		pieces;
	unsigned workers;
	unsigned queue[4 * CONNS], queued; /* connection, JOB, or JOB + request it was made by */
	bool was_read[CONNS];		   /* by the reactor */
	unsigned request[CONNS];	   /* being served or queued on it, 0 none */
	unsigned requests;
	struct work work[WORKERS];
	unsigned truth[MAX_LINES]; /* request of each line, 0 nobody's */
	uint64_t right[TL_HOWS], lines;
};

#define JOB 1000u

static unsigned draw(struct model *m, unsigned n)
{
	return (unsigned)rand_r(&m->seed) / 7 % n;
}

static struct who thread_of(const struct model *m, unsigned worker)
{
	return (struct who){10, m->service == LOOP ? 20 : 20 + worker, 0, TL_UNIT_THREAD};
}

static void judge(struct model *m)
{
	for (unsigned i = 0; i < m->bed.n_lines; i++) {
		const struct noted *noted = &m->bed.lines[i];
		char id[16];

		snprintf(id, sizeof(id), "id%u", m->truth[i]);
		if (noted->how == TL_HOW_NONE || noted->how == HELD)
			continue;
		if (!m->truth[i] || strcmp(noted->id, id) != 0)
			printf("seed %u line %u \"%.*s\": is %s, was given %s by %d\n", m->seed, i,
			       (int)noted->line.bytes.len, noted->line.bytes.data, id, noted->id,
			       noted->how);
		assert_true(m->truth[i]);
		assert_string_equal(noted->id, id);
		m->right[noted->how]++;
	}
}

/* The notes are as many as a trace of one service gives; then it begins anew. */
static void write_line(struct model *m, unsigned worker, const char *text, unsigned truth)
{
	struct who who = thread_of(m, worker);

	if (m->bed.n_lines + 1 >= MAX_LINES || m->bed.deaf)
		return;
	m->truth[m->bed.n_lines] = truth;
	m->lines++;
	say(&m->bed, &who, text);
}

static void arrive(struct model *m)
{
	const struct who reactor = {10, m->service == LOOP ? 20 : 19, 0, TL_UNIT_THREAD};
	unsigned conn = draw(m, CONNS);
	char id[16];

	if (m->request[conn])
		return;
	m->request[conn] = ++m->requests;
	snprintf(id, sizeof(id), "id%u", m->requests);
	m->was_read[conn] = m->service != DEDICATED && (m->service != MIXED || draw(m, 2));
	if (m->was_read[conn])
		request(&m->bed, conn, &reactor, id);
	m->queue[m->queued++] = conn;
}

/* Takes the next thing to do; one that reads for itself reads it now. */
static void take(struct model *m, unsigned worker, bool waited)
{
	struct who who = thread_of(m, worker);
	struct work *work = &m->work[worker];
	unsigned what = m->queue[0];
	char id[16];

	if (waited)
		waits(&m->bed, &who);
	memmove(m->queue, m->queue + 1, --m->queued * sizeof(m->queue[0]));
	*work = (struct work){
		.busy = true, .job = what >= JOB, .steps = m->steady ? 2 : 1 + draw(m, 5)};
	if (what > JOB) {
		work->steps = 1;
		work->request = what - JOB;
	}
	if (work->job)
		return;
	work->conn = what;
	work->request = m->request[what];
	snprintf(id, sizeof(id), "id%u", work->request);
	if (!m->was_read[what])
		request(&m->bed, what, &who, id);
}

static void finish(struct model *m, unsigned worker)
{
	struct work *work = &m->work[worker];

	if (!work->job)
		m->request[work->conn] = 0;
	if (!work->job && m->after_jobs && m->queued < 3 * CONNS)
		m->queue[m->queued++] = JOB + work->request;
	work->busy = false;
	if (m->busy)
		arrive(m);
	/* A thread that finds more to do does not wait for it. */
	if (m->queued && m->service != LOOP)
		take(m, worker, false);
}

static void log_answer(struct model *m, unsigned worker)
{
	struct work *work = &m->work[worker];
	struct who who = thread_of(m, worker);

	if (m->service != LOOP && !m->steady && draw(m, 4) == 0)
		waits(&m->bed, &who);
	if (m->access)
		write_line(m, worker, "access \"x\" 200", work->request);
	if (m->late && draw(m, 3) == 0)
		write_line(m, worker, m->shared_forms ? "done 1" : "late 1", work->request);
	finish(m, worker);
}

static const char *next_text(struct model *m, const struct work *work)
{
	if (m->shared_forms && draw(m, 3) == 0)
		return "done 2";
	if (work->job)
		return work->request ? "cleaned 3" : "job 3";
	if (m->steady)
		return work->steps ? "begin 4" : "worked 5";
	return draw(m, 2) ? "step 4" : "other step of 5";
}

static void go_on(struct model *m, unsigned worker)
{
	struct who who = thread_of(m, worker);
	struct work *work = &m->work[worker];

	if (work->answered) {
		log_answer(m, worker);
		return;
	}
	if ((!m->steady || work->steps < 2) &&
	    (draw(m, m->many_waits ? 3 : 12) == 0 || (m->service == LOOP && draw(m, 2))))
		waits(&m->bed, &who);
	if (work->steps--) {
		write_line(m, worker, next_text(m, work), work->request);
		return;
	}
	if (work->job) {
		finish(m, worker);
		return;
	}
	if (m->pieces && !work->begun && draw(m, 2)) {
		put(&m->bed, work->conn, &who, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
		work->begun = true;
		work->steps = 0;
		return;
	}
	if (work->begun)
		put(&m->bed, work->conn, &who, "k");
	else
		answer(&m->bed, work->conn, &who);
	work->answered = true;
	if (!m->deferred || draw(m, 30))
		log_answer(m, worker);
}

static void step(struct model *m)
{
	unsigned worker = draw(m, m->workers);

	if (m->busy || draw(m, 3) == 0)
		arrive(m);
	if (m->jobs && draw(m, 25) == 0 && m->queued < 2 * CONNS)
		m->queue[m->queued++] = JOB;
	if (draw(m, 2000) == 0)
		m->bed.lost_gen++;
	if (draw(m, 200) == 0)
		tl_corr_tick(m->bed.corr, m->bed.now += 600000000);
	if (m->work[worker].busy)
		go_on(m, worker);
	else if (m->queued)
		take(m, worker, m->service != LOOP || draw(m, 2));
}

static void run(struct model *m)
{
	bed_init(&m->bed, (struct tl_corr_options){.gate_confirms = CONFIRMS});
	/* The agent may come when they are at work. */
	m->bed.deaf = draw(m, 3) == 0;
	for (int i = 0; i < STEPS; i++) {
		if (i == STEPS / 10)
			m->bed.deaf = false;
		step(m);
	}
	tl_corr_flush(m->bed.corr);
	judge(m);
	bed_done(&m->bed);
}

static void services_by_chance_never_give_a_wrong_id(void **state)
{
	const char *rounds = getenv("ROUNDS");
	uint64_t right[TL_HOWS] = {0}, lines = 0;

	(void)state;
	for (int round = 0; round < (rounds ? atoi(rounds) : 160); round++) {
		struct model *m = calloc(1, sizeof(*m));

		m->seed = (unsigned)round + 1;
		m->service = (enum service)(round % SERVICES);
		m->access = draw(m, 3);
		m->late = draw(m, 2);
		m->jobs = draw(m, 2);
		m->shared_forms = draw(m, 4) == 0;
		m->deferred = draw(m, 3) == 0;
		m->many_waits = draw(m, 2);
		m->after_jobs = draw(m, 3) == 0;
		m->busy = draw(m, 3) == 0;
		m->steady = draw(m, 3) == 0;
		m->pieces = draw(m, 3) == 0;
		m->workers = draw(m, 4) ? WORKERS : 1;
		run(m);
		for (int i = 0; i < TL_HOWS; i++)
			right[i] += m->right[i];
		lines += m->lines;
		free(m);
	}
	printf("# %llu lines: thread %llu, thread-bracket %llu, tail %llu\n",
	       (unsigned long long)lines, (unsigned long long)right[TL_HOW_THREAD],
	       (unsigned long long)right[TL_HOW_THREAD_BRACKET],
	       (unsigned long long)right[TL_HOW_TAIL]);
	assert_true(right[TL_HOW_THREAD] > 1000);
	assert_true(right[TL_HOW_THREAD_BRACKET] > 500);
	assert_true(right[TL_HOW_TAIL] > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_by_chance_never_give_a_wrong_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
