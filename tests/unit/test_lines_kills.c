/* SPDX-License-Identifier: Apache-2.0 */
/* The property that frames exist for: random writers, losses and ends of processes, an agent that
 * saves a frame now and then and is killed now and then, and still each line comes out once, as a
 * slow model says, and tiles its stream with the holes. */
#include "tests/unit/lines_fixture.h"
#include "tests/unit/lines_model.h"

#define PROCS 4
#define THREADS 3
#define MAX_LINE 40
#define PARTIAL_NS (1000 * MS)

/* --- the script: what the kernel tells, and what it hides --- */

enum op_kind { OP_LOG, OP_EXIT, OP_TICK, OP_TRAILING, OP_RELEASE };

struct op {
	enum op_kind kind;
	unsigned stream;
	struct tl_ev_log event; /* EXIT: h.tgid, h.start_ns; TICK: h.time_ns */
	char *data;		/* owned */
	uint64_t hole;		/* LOG, TRAILING: bytes lost before */
};

struct script {
	struct op *ops;
	size_t n, cap;
	uint64_t now;
	uint64_t lost[MODEL_STREAMS];	 /* the kernel's counter */
	uint64_t pending[MODEL_STREAMS]; /* of it, not told by an event yet */
	uint64_t start[PROCS];
	struct {
		char *data;
		uint32_t len, off;
		unsigned stream;
	} call[PROCS][THREADS]; /* goes on */
	bool traces;		/* text for joining */
};

static unsigned below(unsigned n)
{
	return (unsigned)rand() % n;
}

static struct op *op_new(struct script *s, enum op_kind kind)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 1024;
		s->ops = realloc(s->ops, s->cap * sizeof(*s->ops));
		assert_non_null(s->ops);
	}
	s->ops[s->n] = (struct op){.kind = kind};
	return &s->ops[s->n++];
}

static uint32_t random_text(struct script *s, char *out, uint32_t max)
{
	static const char *const bits[] = {"\n",       "\n",	       "\r\n",
					   "\r",       "\xe2\x82\xac", "\xf0\x9f\x98\x80",
					   "\xc3\xa9", "\xff",	       "\x80\x80\x80\x80",
					   "a",	       "bcd",	       "words and words"};
	static const char *const traces[] = {"a.BException: x\n",
					     "\tat a.B.c(B.java:1)\n",
					     "Caused by: a.C: y\n",
					     "ERROR x\n",
					     "Traceback (most recent call last):\n",
					     "  File \"a\"\n",
					     "E: bad\n",
					     "\n",
					     "panic: x\n",
					     "goroutine 1 [running]:\n",
					     "main.main()\n",
					     "plain\n",
					     "12 x"};
	uint32_t len = 0;

	while (len < max) {
		const char *bit = s->traces && below(3) ? traces[below(13)] : bits[below(12)];
		uint32_t n = (uint32_t)strlen(bit);

		if (below(40) == 0)
			out[len++] = 0;
		if (n > max - len)
			n = max - len;
		memcpy(out + len, bit, n);
		len += n;
	}
	return len;
}

static void make_call(struct script *s, unsigned proc, unsigned thread)
{
	__auto_type call = &s->call[proc][thread];
	unsigned kind = below(80);
	uint32_t len = kind == 0   ? 1024
		       : kind == 1 ? 4096
		       : kind == 2 ? 1000 + below(4000)
				   : 1 + below(60);

	call->data = malloc(len + 1);
	call->len = random_text(s, call->data, len);
	call->off = 0;
	call->stream = below(MODEL_STREAMS);
	if (below(3) == 0)
		call->data[len - 1] = '\n';
	/* Half of the processes write line by line, until they mix once. */
	if (proc % 2 && !s->traces && below(300))
		for (uint32_t i = 0; i + 1 < len; i++)
			if (call->data[i] == '\n')
				call->data[i] = 'n';
}

/* The next event of a thread's call: some or all of the bytes left; perhaps it is lost. */
static void make_event(struct script *s, unsigned proc, unsigned thread)
{
	__auto_type call = &s->call[proc][thread];
	struct op *op;
	uint32_t n;

	if (!call->data)
		make_call(s, proc, thread);
	n = call->len - call->off;
	if (below(4) == 0)
		n = 1 + below(n);
	s->now += 1 + below(1000000);
	if (below(12) == 0) {
		s->lost[call->stream] += n;
		s->pending[call->stream] += n;
	} else {
		op = op_new(s, OP_LOG);
		op->stream = call->stream;
		op->hole = s->pending[call->stream];
		s->pending[call->stream] = 0;
		op->event = (struct tl_ev_log){
			.h = {.type = TL_EV_LOG,
			      .len = n,
			      .tgid = 100 + proc,
			      .tid = 10 * proc + thread + 1,
			      .start_ns = s->start[proc],
			      .time_ns = s->now,
			      .flags = (call->off ? 0 : TL_EVF_FIRST) |
				       (call->off + n < call->len ? TL_EVF_MORE : 0)},
			.file = {.ino = 500 + call->stream},
			.lost_bytes = s->lost[call->stream],
			.call_off = call->off,
			.call_len = call->len,
		};
		op->data = malloc(n);
		memcpy(op->data, call->data + call->off, n);
	}
	call->off += n;
	if (call->off == call->len) {
		free(call->data);
		call->data = NULL;
	}
}

static void make_trailing(struct script *s, unsigned stream)
{
	struct op *op;

	if (!s->pending[stream])
		return;
	op = op_new(s, OP_TRAILING);
	op->stream = stream;
	op->hole = s->pending[stream];
	op->event.lost_bytes = s->lost[stream];
	s->pending[stream] = 0;
}

static void make_exit(struct script *s, unsigned proc)
{
	struct op *op = op_new(s, OP_EXIT);

	op->event.h.tgid = 100 + proc;
	op->event.h.start_ns = s->start[proc];
	for (unsigned t = 0; t < THREADS; t++) {
		free(s->call[proc][t].data);
		s->call[proc][t].data = NULL;
	}
	s->start[proc] += 1000;
}

static void make_script(struct script *s, unsigned n, bool traces)
{
	*s = (struct script){.now = 1000 * MS, .traces = traces};
	for (unsigned p = 0; p < PROCS; p++)
		s->start[p] = 1 + p;
	for (unsigned i = 0; i < n; i++) {
		unsigned what = below(200);

		if (what == 0)
			make_exit(s, below(PROCS));
		else if (what < 3)
			make_trailing(s, below(MODEL_STREAMS));
		else if (what < 5)
			s->now += (200 + below(2000)) * MS;
		else if (what < 10)
			op_new(s, OP_TICK)->event.h.time_ns = s->now;
		else if (what < 20)
			op_new(s, OP_RELEASE);
		else
			make_event(s, below(PROCS), below(THREADS));
	}
	for (unsigned i = 0; i < MODEL_STREAMS; i++)
		make_trailing(s, i);
	for (unsigned p = 0; p < PROCS; p++)
		make_exit(s, p);
	op_new(s, OP_RELEASE);
}

static void script_done(struct script *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->ops[i].data);
	for (unsigned p = 0; p < PROCS; p++)
		for (unsigned t = 0; t < THREADS; t++)
			free(s->call[p][t].data);
	free(s->ops);
}

/* --- the agent: what it did since its last frame is gone with it --- */

struct entry {
	uint16_t type;
	size_t len;
	char *data;
};

struct agent {
	struct bed bed; /* its lines; got: records, of which `committed` are in the log */
	struct tl_streams *streams;
	size_t committed;
	struct entry *log;
	size_t n_log, cap_log;
	size_t next, committed_next; /* op */
	uint64_t holes, committed_holes;
	size_t kills, frames;
	bool traces;
};

/* Every fourth line is held, the same ones in every life. */
static void agent_ready(void *arg, struct tl_line *line)
{
	struct agent *agent = arg;

	if ((line->extents[0].from * 7 + line->stream) % 4 == 0 && line->stage != TL_LINE_HELD &&
	    agent->bed.n_held < 256) {
		line->stage = TL_LINE_HELD;
		agent->bed.held[agent->bed.n_held++] = line;
		return;
	}
	bed_finish(&agent->bed, line);
}

static void agent_start(struct agent *agent)
{
	const struct tl_streams_options streams = {.max = 100};
	const struct tl_lines_options lines = {.max_line = agent->traces ? 60 : MAX_LINE,
					       .partial_ns = PARTIAL_NS,
					       .multiline = agent->traces ? "auto" : "off",
					       .ready = agent_ready,
					       .arg = agent};

	agent->streams = tl_streams_new(&streams);
	assert_non_null(agent->streams);
	bed_open(&agent->bed, &lines);
}

static void agent_stop(struct agent *agent)
{
	tl_lines_free(agent->bed.lines);
	tl_streams_free(agent->streams);
	agent->bed.n_held = 0;
}

static void log_add(struct agent *agent, const struct tl_frame *frame)
{
	assert_false(frame->failed);
	for (size_t i = 0; i < frame->n; i++) {
		struct entry *entry;

		if (agent->n_log == agent->cap_log) {
			agent->cap_log = agent->cap_log ? agent->cap_log * 2 : 1024;
			agent->log = realloc(agent->log, agent->cap_log * sizeof(*agent->log));
			assert_non_null(agent->log);
		}
		entry = &agent->log[agent->n_log++];
		*entry = (struct entry){frame->entries[i].type, frame->entries[i].len,
					malloc(frame->entries[i].len)};
		memcpy(entry->data, frame->bytes.data + frame->entries[i].from, entry->len);
	}
}

static void log_clear(struct agent *agent)
{
	for (size_t i = 0; i < agent->n_log; i++)
		free(agent->log[i].data);
	agent->n_log = 0;
}

static void save(struct agent *agent, struct tl_frame *frame, bool all)
{
	const struct tl_state_worker state = {.next_stream = tl_streams_next_number(agent->streams),
					      .next_line = tl_lines_next_id(agent->bed.lines)};

	tl_streams_save(agent->streams, frame, all);
	tl_lines_save(agent->bed.lines, frame, all);
	tl_frame_add(frame, TL_STATE_WORKER, &state, sizeof(state));
}

/* Now and then the frame begins a new segment, with a checkpoint in front of it. */
static void agent_frame(struct agent *agent)
{
	struct tl_frame frame = {0}, checkpoint = {0};

	save(agent, &frame, false);
	if (below(8) == 0) {
		save(agent, &checkpoint, true);
		log_clear(agent);
		log_add(agent, &checkpoint);
	}
	log_add(agent, &frame);
	tl_frame_done(&frame);
	tl_frame_done(&checkpoint);
	agent->committed = agent->bed.n;
	agent->committed_next = agent->next;
	agent->committed_holes = agent->holes;
	agent->frames++;
}

static void agent_kill(struct agent *agent)
{
	agent_stop(agent);
	while (agent->bed.n > agent->committed)
		free(agent->bed.got[--agent->bed.n].body);
	agent_start(agent);
	for (size_t i = 0; i < agent->n_log; i++) {
		const struct entry *entry = &agent->log[i];
		struct tl_span data = {entry->data, entry->len};
		struct tl_state_worker state;

		if (entry->type == TL_STATE_WORKER) {
			memcpy(&state, entry->data, sizeof(state));
			tl_streams_set_next_number(agent->streams, state.next_stream);
			tl_lines_set_next_id(agent->bed.lines, state.next_line);
		} else if (entry->type == TL_STATE_STREAM || entry->type == TL_STATE_STREAM_END) {
			assert_int_equal(tl_streams_recover(agent->streams, entry->type, data), 0);
		} else {
			assert_int_equal(tl_lines_recover(agent->bed.lines, entry->type, data), 0);
		}
	}
	tl_lines_resume(agent->bed.lines);
	agent->next = agent->committed_next;
	agent->holes = agent->committed_holes;
	agent->kills++;
}

static void agent_release(struct agent *agent)
{
	for (size_t i = 0; i < agent->bed.n_held; i++)
		bed_finish(&agent->bed, agent->bed.held[i]);
	agent->bed.n_held = 0;
}

static void agent_log(struct agent *agent, const struct op *op)
{
	uint64_t offset, hole;
	struct tl_stream_info *info = tl_streams_bytes(agent->streams, &op->event, &offset, &hole);

	assert_non_null(info);
	assert_int_equal(hole, op->hole);
	agent->holes += hole;
	if (hole)
		tl_lines_hole(agent->bed.lines, info->number);
	tl_lines_bytes(agent->bed.lines, info, &op->event, op->data, offset);
}

static void agent_trailing(struct agent *agent, const struct op *op)
{
	const struct tl_stream_row row = {.file = {.ino = 500 + op->stream},
					  .stream = {.lost_bytes = op->event.lost_bytes,
						     .last_ns = UINT64_MAX / 2}};
	struct tl_stream_info *info;
	uint64_t offset;

	assert_int_equal(tl_streams_trailing(agent->streams, &row, &info, &offset), op->hole);
	agent->holes += op->hole;
	tl_lines_hole(agent->bed.lines, info->number);
}

static void agent_op(struct agent *agent, const struct op *op)
{
	switch (op->kind) {
	case OP_LOG:
		agent_log(agent, op);
		break;
	case OP_EXIT:
		tl_lines_exit(agent->bed.lines, op->event.h.tgid, op->event.h.start_ns);
		break;
	case OP_TICK:
		tl_lines_tick(agent->bed.lines, op->event.h.time_ns);
		break;
	case OP_TRAILING:
		agent_trailing(agent, op);
		break;
	case OP_RELEASE:
		agent_release(agent);
		break;
	}
}

/* Runs the script; `frame_in` and `kill_in`: one in how many steps, 0 never. */
static void agent_run(struct agent *agent, const struct script *script, unsigned frame_in,
		      unsigned kill_in)
{
	agent_start(agent);
	for (unsigned i = 0; i < MODEL_STREAMS; i++) {
		const struct tl_ev_file file = {.h = {.flags = TL_EVF_STDOUT},
						.file = {.ino = 500 + i},
						.kind = TL_FILE_PIPE};

		assert_int_equal(tl_streams_file(agent->streams, &file)->number, i + 1);
	}
	if (frame_in)
		agent_frame(agent);
	while (agent->next < script->n) {
		agent_op(agent, &script->ops[agent->next++]);
		if (frame_in && below(frame_in) == 0)
			agent_frame(agent);
		if (kill_in && below(kill_in) == 0)
			agent_kill(agent);
	}
	tl_lines_flush(agent->bed.lines);
	agent_release(agent);
}

static void agent_done(struct agent *agent)
{
	log_clear(agent);
	free(agent->log);
	tl_streams_free(agent->streams);
	bed_done(&agent->bed);
}

/* --- what came out --- */

static int by_place(const void *a, const void *b)
{
	const struct got *x = a, *y = b;

	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	return x->extents[0].from < y->extents[0].from ? -1
						       : x->extents[0].from > y->extents[0].from;
}

static int model_by_place(const void *a, const void *b)
{
	const struct model_line *x = a, *y = b;

	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	return x->offsets[0] < y->offsets[0] ? -1 : x->offsets[0] > y->offsets[0];
}

static void run_model(struct model *m, const struct script *script)
{
	*m = (struct model){.max_line = MAX_LINE, .partial_ns = PARTIAL_NS};
	for (size_t i = 0; i < script->n; i++) {
		const struct op *op = &script->ops[i];

		if (op->kind == OP_LOG)
			model_log(m, op->stream, &op->event, op->data, op->hole);
		else if (op->kind == OP_EXIT)
			model_exit(m, op->event.h.tgid, op->event.h.start_ns);
		else if (op->kind == OP_TICK)
			model_tick(m, op->event.h.time_ns);
		else if (op->kind == OP_TRAILING)
			model_hole(m, op->stream, op->hole);
	}
	model_flush(m);
	qsort(m->out, m->n_out, sizeof(*m->out), model_by_place);
}

static void assert_same_line(const struct got *got, const struct model_line *want)
{
	size_t at = 0;

	assert_int_equal(got->stream, want->stream + 1);
	assert_int_equal(got->extents[0].from, want->offsets[0]);
	assert_int_equal(got->len, want->len);
	assert_memory_equal(got->body, want->body, want->len);
	for (uint32_t i = 0; i < got->n_extents; i++)
		for (uint64_t o = got->extents[i].from; o < got->extents[i].to; o++) {
			assert_true(at < want->n);
			assert_int_equal(want->offsets[at++], o);
		}
	assert_int_equal(at, want->n);
	assert_int_equal(got->flags, want->flags);
	assert_int_equal(got->writer.tid, want->tid);
}

/* Each byte of each stream is in one extent or in a hole: marks them, counts the rest. */
static void assert_tiles(const struct agent *agent)
{
	for (unsigned s = 0; s < MODEL_STREAMS; s++) {
		uint64_t size = tl_streams_get(agent->streams, s + 1)->next_offset, covered = 0;
		char *seen = calloc(1, size + 1);

		for (size_t i = 0; i < agent->bed.n; i++) {
			const struct got *got = &agent->bed.got[i];

			for (uint32_t e = 0; got->stream == s + 1 && e < got->n_extents; e++)
				for (uint64_t o = got->extents[e].from; o < got->extents[e].to;
				     o++, covered++) {
					assert_true(o < size);
					assert_int_equal(seen[o]++, 0);
				}
		}
		free(seen);
		assert_int_equal(size - covered, tl_streams_get(agent->streams, s + 1)->lost_bytes);
	}
}

static void check_against_model(unsigned seed, unsigned frame_in, unsigned kill_in)
{
	struct agent agent = {0};
	struct script script;
	struct model *model = calloc(1, sizeof(*model));
	size_t seen[64] = {0};

	srand(seed);
	make_script(&script, 2000, false);
	run_model(model, &script);
	agent_run(&agent, &script, frame_in, kill_in);
	assert_int_equal(agent.holes, model->hole_bytes);
	assert_tiles(&agent);
	qsort(agent.bed.got, agent.bed.n, sizeof(*agent.bed.got), by_place);
	for (size_t i = 0; i < agent.bed.n && i < model->n_out; i++) {
		assert_same_line(&agent.bed.got[i], &model->out[i]);
		seen[model->out[i].flags & (TL_LINE_BATCHED | TL_LINE_BUFFERED)]++;
	}
	assert_int_equal(agent.bed.n, model->n_out);
	/* Neither all of the lines are certain nor none. */
	assert_true(seen[0] > 50 && seen[TL_LINE_BATCHED] > 50 &&
		    seen[TL_LINE_BATCHED | TL_LINE_BUFFERED] > 50);
	if (kill_in)
		assert_true(agent.kills > 10);
	agent_done(&agent);
	model_done(model);
	free(model);
	script_done(&script);
}

static void random_writers_losses_and_ends_agree_with_the_model(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++)
		check_against_model(seed, 0, 0);
}

static void frames_change_nothing(void **state)
{
	(void)state;
	for (unsigned seed = 100; seed <= 112; seed++)
		check_against_model(seed, 5, 0);
}

static void killed_at_random_and_recovered_it_agrees_with_the_model(void **state)
{
	(void)state;
	for (unsigned seed = 200; seed <= 250; seed++)
		check_against_model(seed, 1 + seed % 20, 50);
}

/* With joining there is no model: a life without kills is the measure. */
static void joined_blocks_survive_kills(void **state)
{
	(void)state;
	for (unsigned seed = 300; seed <= 325; seed++) {
		struct agent calm = {.traces = true}, killed = {.traces = true};
		struct script script;
		size_t joined = 0;

		srand(seed);
		make_script(&script, 2000, true);
		agent_run(&calm, &script, 0, 0);
		agent_run(&killed, &script, 1 + seed % 20, 50);
		assert_tiles(&calm);
		assert_tiles(&killed);
		qsort(calm.bed.got, calm.bed.n, sizeof(*calm.bed.got), by_place);
		qsort(killed.bed.got, killed.bed.n, sizeof(*killed.bed.got), by_place);
		assert_int_equal(killed.bed.n, calm.bed.n);
		for (size_t i = 0; i < calm.bed.n; i++) {
			const struct got *a = &calm.bed.got[i], *b = &killed.bed.got[i];

			assert_int_equal(a->stream, b->stream);
			assert_int_equal(a->flags, b->flags);
			assert_int_equal(a->n_extents, b->n_extents);
			assert_memory_equal(a->extents, b->extents,
					    a->n_extents * sizeof(a->extents[0]));
			assert_int_equal(a->len, b->len);
			assert_memory_equal(a->body, b->body, a->len);
			joined += (a->flags & TL_LINE_JOINED) != 0;
		}
		assert_true(joined > 50);
		agent_done(&calm);
		agent_done(&killed);
		script_done(&script);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_writers_losses_and_ends_agree_with_the_model),
		cmocka_unit_test(frames_change_nothing),
		cmocka_unit_test(killed_at_random_and_recovered_it_agrees_with_the_model),
		cmocka_unit_test(joined_blocks_survive_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
