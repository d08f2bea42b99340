/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed of each service and why, for people: in the status file and as Prometheus
 * families. Walks the tables of tl_corr, so in the worker's thread only. */
#include "agent/worker_internal.h"

#include "userspace/base/json.h"
#include "userspace/base/metrics.h"

#define SERVICES_SHOWN 500

static const char *const how_names[] = TL_HOW_NAMES;
static const char *const why_names[] = TL_WHY_NAMES;
static const char *const state_names[] = TL_GATE_STATE_NAMES;
static const char *const unit_names[] = TL_UNIT_NAMES;

struct printing {
	const struct tl_worker *worker;
	struct tl_buf *out;
	/* the row before */
	uint64_t service, start_ns;
	uint32_t tgid, services;
	/* metrics: the family being written */
	const char *family;
	void (*sample)(struct printing *printing, const struct tl_gate_row *row);
};

static struct tl_span name_of(const struct tl_worker *worker, const struct tl_gate_row *row)
{
	const struct tl_attrs *attributes =
		tl_enrich_attributes(worker->enrich, row->tgid, row->start_ns);
	const struct tl_attr *name = attributes ? tl_attr_get(attributes, "service.name") : NULL;

	return name ? name->value : tl_span_str("?");
}

static const char *unit_of(const struct tl_gate_row *row)
{
	return row->unit_kind < ARRAY_SIZE(unit_names) ? unit_names[row->unit_kind] : "unit";
}

/* Whether the row is the first of its service; false for those past the limit too. */
static bool is_new(struct printing *printing, const struct tl_gate_row *row)
{
	if (printing->services && printing->service == row->service &&
	    printing->tgid == row->tgid && printing->start_ns == row->start_ns)
		return false;
	printing->service = row->service;
	printing->tgid = row->tgid;
	printing->start_ns = row->start_ns;
	printing->services++;
	return true;
}

static void number(struct tl_buf *out, const char *key, uint64_t value)
{
	tl_json_key(out, key);
	tl_buf_printf(out, "%llu", (unsigned long long)value);
}

static void text(struct tl_buf *out, const char *key, struct tl_span value)
{
	tl_json_key(out, key);
	tl_json_string(out, value);
}

static void put_none(struct tl_buf *out, const struct tl_gate_row *row)
{
	tl_json_key(out, "none");
	tl_buf_putc(out, '{');
	for (int i = 1; i < TL_WHYS; i++)
		if (row->why[i])
			number(out, why_names[i], row->why[i]);
	tl_buf_putc(out, '}');
}

static void put_row(void *arg, const struct tl_gate_row *row)
{
	struct printing *printing = arg;
	struct tl_buf *out = printing->out;
	bool first = is_new(printing, row);

	if (printing->services > SERVICES_SHOWN)
		return;
	tl_buf_puts(out, out->data[out->len - 1] == '[' ? "{" : ",{");
	text(out, "service.name", name_of(printing->worker, row));
	number(out, "process.pid", row->tgid);
	text(out, "unit", tl_span_str(unit_of(row)));
	text(out, "rule", tl_span_str(how_names[row->rule]));
	text(out, "state", tl_span_str(state_names[row->state]));
	number(out, "confirms", row->confirms);
	number(out, "contradicts", row->contradicts);
	number(out, "lines", row->lines);
	if (first)
		put_none(out, row);
	tl_buf_putc(out, '}');
}

void tl_worker_gates(const struct tl_worker *worker, struct tl_buf *out)
{
	struct printing printing = {.worker = worker, .out = out};

	tl_json_key(out, "gates");
	tl_buf_putc(out, '[');
	tl_corr_gates(worker->corr, put_row, &printing);
	tl_buf_putc(out, ']');
}

static void labels(struct printing *printing, const struct tl_gate_row *row)
{
	struct tl_buf *out = printing->out;

	tl_buf_printf(out, "%s{service=\"", printing->family);
	tl_metrics_label(out, name_of(printing->worker, row));
	tl_buf_printf(out, "\",pid=\"%u\",unit=\"%s\",rule=\"%s\"", row->tgid, unit_of(row),
		      how_names[row->rule]);
}

static void put_state(struct printing *printing, const struct tl_gate_row *row)
{
	labels(printing, row);
	tl_buf_printf(printing->out, ",state=\"%s\"} 1\n", state_names[row->state]);
}

static void put_confirms(struct printing *printing, const struct tl_gate_row *row)
{
	labels(printing, row);
	tl_buf_printf(printing->out, "} %llu\n", (unsigned long long)row->confirms);
}

static void put_contradicts(struct printing *printing, const struct tl_gate_row *row)
{
	labels(printing, row);
	tl_buf_printf(printing->out, "} %llu\n", (unsigned long long)row->contradicts);
}

static void put_lines(struct printing *printing, const struct tl_gate_row *row)
{
	labels(printing, row);
	tl_buf_printf(printing->out, "} %llu\n", (unsigned long long)row->lines);
}

static void put_sample(void *arg, const struct tl_gate_row *row)
{
	struct printing *printing = arg;

	(void)is_new(printing, row);
	if (printing->services <= SERVICES_SHOWN)
		printing->sample(printing, row);
}

void tl_worker_gate_metrics(const struct tl_worker *worker, struct tl_buf *out)
{
	static const struct {
		const char *name, *type, *help;
		void (*sample)(struct printing *printing, const struct tl_gate_row *row);
	} families[] = {
		{"tapline_agent_gate_state", "gauge",
		 "What is believed of a service: 1 at the state that each rule is in.", put_state},
		{"tapline_agent_gate_confirms_total", "counter",
		 "Requests (of rule tail: lines) that spoke for a rule of a service.",
		 put_confirms},
		{"tapline_agent_gate_contradicts_total", "counter",
		 "Requests or lines that spoke against a rule of a service.", put_contradicts},
		{"tapline_agent_gate_lines_total", "counter",
		 "Lines of a service that a rule gave their id.", put_lines},
	};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct printing printing = {.worker = worker,
					    .out = out,
					    .family = families[i].name,
					    .sample = families[i].sample};
		size_t before = out->len, head;

		tl_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", families[i].name,
			      families[i].help, families[i].name, families[i].type);
		head = out->len;
		tl_corr_gates(worker->corr, put_sample, &printing);
		/* A family without a sample is left out. */
		if (out->len == head)
			out->len = before;
	}
}
