/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of a sink that collects: what is polled is taken over (the bus need not keep it for a
 * rewind), positions are stored by the sink when its target has what they stand for.
 *
 * Back-pressure is not to poll. A member of a group that does not poll for minutes is thrown out,
 * so after some seconds fetching is paused and polls go on that give nothing new. What a full sink
 * does not take of a batch is given again (rewind), and what it did take it recognises by offset.
 */
#include "userspace/base/clock.h"
#include "userspace/sink/runner_internal.h"

#define POLL_MS 100u
#define WAIT_MS 100u
#define SILENT_NS (10 * TL_SEC) /* without a poll */
#define DRAIN_NS (10 * TL_SEC)

struct collecting {
	struct tl_runner *runner;
	uint64_t polled_ns, stopped_ns; /* when last; when told to stop first */
	bool paused;
};

static int set_pause(struct collecting *c, bool on)
{
	if (c->paused == on)
		return 0;
	c->paused = on;
	return c->runner->bus->ops->pause(c->runner->bus, on);
}

/* Hands over what was polled. Returns as tl_runner_poll_error. */
static int hand_over(struct tl_runner *runner, struct tl_error *error)
{
	struct tl_bus *bus = runner->bus;
	int r = tl_runner_prepare(runner, error);

	if (r == 0)
		r = tl_runner_write(runner, error);
	if (r == 0) {
		tl_runner_show(runner);
		bus->ops->take(bus);
		runner->n_batch = 0;
		return 0;
	}
	tl_runner_drop(runner);
	if (r == -EBUSY)
		return bus->ops->abort(bus, error);
	return r == -EAGAIN ? tl_runner_poll_error(runner, r, error) : r;
}

/* One poll; what it gives is left where it is when the sink is being emptied. */
static int poll_once(struct collecting *c, unsigned timeout_ms, bool discard,
		     struct tl_error *error)
{
	struct tl_runner *runner = c->runner;
	int r = runner->bus->ops->poll(runner->bus, runner->polled, runner->options->batch_messages,
				       timeout_ms, error);

	c->polled_ns = tl_mono_ns();
	if (runner->failed.code) {
		*error = runner->failed;
		return error->code;
	}
	if (r < 0)
		return tl_runner_poll_error(runner, r, error);
	runner->n_polled = (size_t)r;
	if (r == 0)
		return 0;
	if (discard) {
		runner->bus->ops->take(runner->bus);
		return 0;
	}
	return hand_over(runner, error);
}

/* Returns 0 to go on, 1 the end, or a final error. */
static int round_trip(struct collecting *c, bool drain, struct tl_error *error)
{
	struct tl_runner *runner = c->runner;
	int r = runner->sink->ops->advance(runner->sink, runner->bus, WAIT_MS, drain, error);
	bool quiet = r == TL_ADVANCE_FULL || drain;

	if (r < 0)
		return r;
	if (drain && r == TL_ADVANCE_EMPTY)
		return 1;
	if (quiet && tl_mono_ns() - c->polled_ns < SILENT_NS)
		return 0;
	r = set_pause(c, quiet);
	if (r < 0)
		return tl_error_set(error, r, "fetching cannot be paused");
	r = poll_once(c, quiet ? 0 : POLL_MS, drain, error);
	/* When it is being emptied, the end is when it is empty. */
	return drain && r == 1 ? 0 : r;
}

/* Told to stop, a worker brings away what it has. The embedded mode first reads what is in the log,
 * for a time: there are no others. */
static bool is_over(struct collecting *c)
{
	const struct tl_runner *runner = c->runner;

	if (!runner->options->stop || !*runner->options->stop)
		return false;
	if (!runner->pipeline)
		return true;
	if (!c->stopped_ns)
		c->stopped_ns = tl_mono_ns();
	else if (runner->n_polled == 0)
		return true;
	return tl_mono_ns() - c->stopped_ns > DRAIN_NS;
}

int tl_runner_collect(struct tl_runner *runner, struct tl_error *error)
{
	struct collecting c = {.runner = runner, .polled_ns = tl_mono_ns()};
	uint64_t lag_ns = 0;
	bool drain = false;
	int r = 0;

	while (r == 0) {
		/* The end of a closed local log is a reason to end too. */
		drain = drain || is_over(&c);
		if (runner->options->give_up && *runner->options->give_up)
			break;
		runner->n_polled = 0;
		r = round_trip(&c, drain, error);
		if (r == 1 && !drain) {
			drain = true;
			r = 0;
		}
		tl_runner_note_lag(runner, &lag_ns);
	}
	return r < 0 ? r : 0;
}
