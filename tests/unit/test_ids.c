/* SPDX-License-Identifier: Apache-2.0 */
/* Every header that carries an id: what its grammar accepts, what it refuses, and what is made of
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "agent/correlate/ids.h"
#include "agent/correlate/pack.h"
#include "userspace/base/cleanup.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"
#define H255 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static int add(struct tl_ids *ids, const char *name, const char *value)
{
	return tl_ids_header(ids, tl_span_str(name), tl_span_str(value), false);
}

struct row {
	const char *name, *value;
	int result;
	const char *trace, *span; /* NULL: none expected */
	int flags;
};

static const struct row rows[] = {
	/* traceparent */
	{"traceparent", "00-" TRACE "-" SPAN "-01", 1, TRACE, SPAN, 1},
	{"TraceParent", "00-" TRACE "-" SPAN "-00", 1, TRACE, SPAN, 0},
	{"traceparent", "cc-" TRACE "-" SPAN "-01-what-comes-later", 1, TRACE, SPAN, 1},
	{"traceparent", "cc-" TRACE "-" SPAN "-01", 1, TRACE, SPAN, 1},
	{"traceparent", "cc-" TRACE "-" SPAN "-01x", -EINVAL, NULL, NULL, 0},
	{"traceparent", "00-" TRACE "-" SPAN "-01-more", -EINVAL, NULL, NULL, 0},
	{"traceparent", "ff-" TRACE "-" SPAN "-01", -EINVAL, NULL, NULL, 0},
	{"traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", -EINVAL, NULL, NULL, 0},
	{"traceparent", "00-00000000000000000000000000000000-" SPAN "-01", -EINVAL, NULL, NULL, 0},
	{"traceparent", "00-" TRACE "-0000000000000000-01", -EINVAL, NULL, NULL, 0},
	{"traceparent", "00-" TRACE "-" SPAN "-0", -EINVAL, NULL, NULL, 0},
	{"traceparent", "00_" TRACE "-" SPAN "-01", -EINVAL, NULL, NULL, 0},
	{"traceparent", "", -EINVAL, NULL, NULL, 0},
	/* b3 */
	{"b3", TRACE "-" SPAN "-1", 1, TRACE, SPAN, 1},
	{"b3", TRACE "-" SPAN "-d-05e3ac9a4f6e3b90", 1, TRACE, SPAN, 1},
	{"b3", TRACE "-" SPAN "-0", 1, TRACE, SPAN, 0},
	{"b3", TRACE "-" SPAN, 1, TRACE, SPAN, -1},
	{"b3", "a3ce929d0e0e4736-" SPAN "-1", 1, "0000000000000000a3ce929d0e0e4736", SPAN, 1},
	{"b3", "0", 0, NULL, NULL, 0},
	{"b3", "1", 0, NULL, NULL, 0},
	{"b3", "d", 0, NULL, NULL, 0},
	{"b3", "2", -EINVAL, NULL, NULL, 0},
	{"b3", TRACE, -EINVAL, NULL, NULL, 0},
	{"b3", TRACE "-" SPAN "-2", -EINVAL, NULL, NULL, 0},
	{"b3", TRACE "-" SPAN "-1-05e3", -EINVAL, NULL, NULL, 0},
	{"b3", TRACE "-" SPAN "-1-05e3ac9a4f6e3b90x", -EINVAL, NULL, NULL, 0},
	{"x-b3-traceid", TRACE, 1, TRACE, NULL, -1},
	{"x-b3-traceid", "A3CE929D0E0E4736", 1, "0000000000000000a3ce929d0e0e4736", NULL, -1},
	{"x-b3-traceid", "a3ce929d0e0e473", -EINVAL, NULL, NULL, 0},
	{"x-b3-traceid", TRACE "0", -EINVAL, NULL, NULL, 0},
	{"x-b3-sampled", "1", 0, NULL, NULL, 0},
	/* Jaeger */
	{"uber-trace-id", TRACE ":" SPAN ":0:1", 1, TRACE, SPAN, 1},
	{"uber-trace-id", "a3ce929d0e0e4736%3A67aa0ba902b7%3a0%3A0", 1,
	 "0000000000000000a3ce929d0e0e4736", "000067aa0ba902b7", 0},
	{"uber-trace-id", TRACE ":" SPAN ":1", -EINVAL, NULL, NULL, 0},
	{"uber-trace-id", TRACE "0:" SPAN ":0:1", -EINVAL, NULL, NULL, 0},
	{"uber-trace-id", "0:" SPAN ":0:1", -EINVAL, NULL, NULL, 0},
	{"uber-trace-id", TRACE ":" SPAN ":0:zz", -EINVAL, NULL, NULL, 0},
	/* AWS */
	{"x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793", 1,
	 "5759e988bd862e3fe1be46a994272793", NULL, -1},
	{"x-amzn-trace-id",
	 "Self=1-67891234-12456789abcdef012345678;Root=1-5759e988-bd862e3fe1be46a994272793;Parent="
	 "53995c3f42cd8ad8;Sampled=1",
	 1, "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8", 1},
	{"x-amzn-trace-id", "Root=2-5759e988-bd862e3fe1be46a994272793", -EINVAL, NULL, NULL, 0},
	{"x-amzn-trace-id", "Root=1-5759e98-bd862e3fe1be46a994272793", -EINVAL, NULL, NULL, 0},
	{"x-amzn-trace-id", "Self=1-5759e988-bd862e3fe1be46a994272793", -EINVAL, NULL, NULL, 0},
	/* Google */
	{"x-cloud-trace-context", TRACE "/255;o=1", 1, TRACE, "00000000000000ff", 1},
	{"x-cloud-trace-context", TRACE, 1, TRACE, NULL, -1},
	{"x-cloud-trace-context", TRACE ";o=0", 1, TRACE, NULL, 0},
	{"x-cloud-trace-context", TRACE "/", -EINVAL, NULL, NULL, 0},
	{"x-cloud-trace-context", TRACE "/18446744073709551616", -EINVAL, NULL, NULL, 0},
	{"x-cloud-trace-context", TRACE ";x=1", -EINVAL, NULL, NULL, 0},
	/* Datadog */
	{"x-datadog-trace-id", "18446744073709551615", 1, "0000000000000000ffffffffffffffff", NULL,
	 -1},
	{"x-datadog-trace-id", "18446744073709551616", -EINVAL, NULL, NULL, 0},
	{"x-datadog-trace-id", "0", -EINVAL, NULL, NULL, 0},
	{"x-datadog-trace-id", "12a", -EINVAL, NULL, NULL, 0},
	/* single vendors */
	{"sw8", "1-MWYyZDRiZjQ3YmY3-YzI=", -EINVAL, NULL, NULL, -1},
	{"elastic-apm-traceparent", "00-" TRACE "-" SPAN "-01", 1, TRACE, SPAN, 1},
	{"sentry-trace", TRACE "-" SPAN "-1", 1, TRACE, SPAN, 1},
	{"newrelic", "eyJ2IjpbMCwxXX0=", 1, NULL, NULL, -1},
	{"grpc-trace-bin", "AAA=", -EINVAL, NULL, NULL, -1},
	{"ot-tracer-traceid", "a3ce929d0e0e4736", 1, "0000000000000000a3ce929d0e0e4736", NULL, -1},
	{"cf-ray", "7d3ab-FRA", -EINVAL, NULL, NULL, -1},
	{"x-amz-cf-id", "abc==", 1, NULL, NULL, -1},
	{"x-ms-request-id", "0b8c", 1, NULL, NULL, -1},
	/* request ids */
	{"X-Request-ID", "a1b2", 1, NULL, NULL, -1},
	{"x-correlation-id", "c", 1, NULL, NULL, -1},
	{"correlation-id", "c", 1, NULL, NULL, -1},
	{"x-trace-id", "c", 1, NULL, NULL, -1},
	{"x-transaction-id", "c", 1, NULL, NULL, -1},
	{"request-id", "|abc.1.", 1, NULL, NULL, -1},
	{"kong-request-id", "0f1c#12", 1, NULL, NULL, -1},
	{"x-kong-request-id", "c", 1, NULL, NULL, -1},
	{"x-request-id", H255 H255 H255 H255 "aaa", 1, NULL, NULL, -1},
	{"x-request-id", H255 H255 H255 H255 "aaaa", -EINVAL, NULL, NULL, 0},
	{"x-request-id", "", -EINVAL, NULL, NULL, 0},
	{"x-request-id", "a\nb", -EINVAL, NULL, NULL, 0},
	{"x-request-id", "caf\xc3\xa9", -EINVAL, NULL, NULL, 0},
	/* no ids */
	{"cookie", "session=secret", 0, NULL, NULL, 0},
	{"authorization", "Bearer secret", 0, NULL, NULL, 0},
	{"x-request-idx", "a", 0, NULL, NULL, 0},
};

static void each_format_accepts_its_grammar_and_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct tl_ids ids;

		tl_ids_init(&ids);
		if (add(&ids, row->name, row->value) != row->result)
			fail_msg("%s: %s", row->name, row->value);
		tl_ids_settle(&ids);
		assert_int_equal(ids.n, row->result == 1);
		assert_string_equal(ids.trace_id, row->trace ? row->trace : "");
		assert_string_equal(ids.span_id, row->span ? row->span : "");
		if (row->result != 1)
			continue;
		assert_int_equal(ids.trace_flags, row->flags);
		assert_int_equal(ids.id[0].len, strlen(row->value));
		assert_memory_equal(ids.id[0].value, row->value, ids.id[0].len);
	}
}

static void two_traceparents_reject_both(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	add(&ids, "x-request-id", "r1");
	add(&ids, "traceparent", "00-" TRACE "-" SPAN "-01");
	add(&ids, "traceparent", "00-" TRACE "-" SPAN "-01");
	tl_ids_settle(&ids);
	assert_int_equal(ids.n, 1);
	assert_string_equal(ids.trace_id, "");
	assert_int_equal(ids.primary, 0);
}

static void the_first_of_duplicated_request_ids_counts_and_is_flagged(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	assert_int_equal(add(&ids, "x-request-id", "first"), 1);
	assert_int_equal(add(&ids, "X-Request-Id", "second"), 0);
	tl_ids_settle(&ids);
	assert_int_equal(ids.n, 1);
	assert_true(ids.id[0].duplicate);
	assert_true(tl_ids_has(&ids, TL_SPAN_LIT("first")));
	assert_false(tl_ids_has(&ids, TL_SPAN_LIT("second")));
}

static void a_request_id_is_primary_before_a_trace_and_the_strongest_trace_wins(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	add(&ids, "uber-trace-id", "1:2:0:1");
	add(&ids, "traceparent", "00-" TRACE "-" SPAN "-01");
	add(&ids, "x-correlation-id", "c");
	add(&ids, "x-request-id", "r");
	tl_ids_settle(&ids);
	assert_string_equal(ids.id[ids.primary].header, "x-request-id");
	assert_string_equal(ids.trace_id, TRACE);
	assert_true(tl_ids_has(&ids, TL_SPAN_LIT(TRACE)));
}

static void contexts_of_several_headers_are_put_together(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	add(&ids, "x-b3-spanid", SPAN);
	add(&ids, "x-b3-traceid", TRACE);
	tl_ids_settle(&ids);
	assert_string_equal(ids.span_id, SPAN);
	tl_ids_init(&ids);
	add(&ids, "x-datadog-tags", "_dd.p.dm=-4,_dd.p.tid=640cfd8d00000000,team=secret");
	add(&ids, "x-datadog-trace-id", "1");
	add(&ids, "x-datadog-parent-id", "2");
	tl_ids_settle(&ids);
	assert_string_equal(ids.trace_id, "640cfd8d000000000000000000000001");
	assert_string_equal(ids.span_id, "0000000000000002");
	assert_int_equal(ids.id[0].len, strlen("_dd.p.tid=640cfd8d00000000"));
}

static void check_one(const char *header, const char *value, const char *trace, const char *span,
		      const char *kept)
{
	struct tl_ids ids;
	int r;

	tl_ids_init(&ids);
	r = tl_ids_header(&ids, tl_span_str(header), tl_span_str(value), false);
	tl_ids_settle(&ids);
	assert_int_equal(r, kept ? 1 : -EINVAL);
	assert_string_equal(ids.trace_id, trace);
	assert_string_equal(ids.span_id, span);
	if (kept) {
		assert_int_equal(ids.id[0].len, strlen(kept));
		assert_memory_equal(ids.id[0].value, kept, strlen(kept));
	}
}

static void formats_of_single_vendors_are_read_by_their_grammar(void **state)
{
	static const char sw8[] =
		"1-VFJBQ0VJRA==-U0VHTUVOVElE-3-UEFSRU5U-SU5TVA==-L2VuZHBvaW50-aG9zdDo4MA==",
			  grpc[] = "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE";

	(void)state;
	check_one("sw8", sw8, "", "", "1-VFJBQ0VJRA==-U0VHTUVOVElE");
	check_one("sw8", "1-VFJBQ0VJRA==-U0VHTUVOVElE-3", "", "", NULL);
	check_one("sw8", "2-a-b-3-c-d-e-f", "", "", NULL);
	check_one("elastic-apm-traceparent", "00-" TRACE "-" SPAN "-01", TRACE, SPAN,
		  "00-" TRACE "-" SPAN "-01");
	check_one("sentry-trace", TRACE "-" SPAN "-1", TRACE, SPAN, TRACE "-" SPAN "-1");
	check_one("sentry-trace", TRACE "-" SPAN, TRACE, SPAN, TRACE "-" SPAN);
	check_one("sentry-trace", TRACE "-" SPAN "-2", "", "", NULL);
	check_one("grpc-trace-bin", grpc, TRACE, SPAN, grpc);
	check_one("grpc-trace-bin", "AABL+S81d7NNpqPOkp0ODkc2AgDwZ6oLqQK3AgE", "", "", NULL);
	check_one("ot-tracer-traceid", "463ac35c9f6413ad", "0000000000000000463ac35c9f6413ad", "",
		  "463ac35c9f6413ad");
	check_one("request-id", "|" TRACE "." SPAN ".", TRACE, SPAN, "|" TRACE "." SPAN ".");
	check_one("request-id", "|fe2c.1.2_", "", "", "|fe2c.1.2_");
	check_one("request-id", "|nothing", "", "", NULL);
	check_one("request-id", "plain-7", "", "", "plain-7");
	check_one("cf-ray", "7d0fbb3d1c2e4a5b-AMS", "", "", "7d0fbb3d1c2e4a5b-AMS");
	check_one("cf-ray", "7d0fbb3d1c2e4a5b-ams", "", "", NULL);
	check_one("x-amz-cf-id", "SnYXJd8OB6S9pNTn-i0Zq0bLFfUZhZ1WZ3Q0n3mK5mB1==", "", "",
		  "SnYXJd8OB6S9pNTn-i0Zq0bLFfUZhZ1WZ3Q0n3mK5mB1==");
	check_one("kong-request-id", "b6a8dd3b-8a3e-4d7d-8c63-8a0e5f2d1c9a#17", "", "",
		  "b6a8dd3b-8a3e-4d7d-8c63-8a0e5f2d1c9a#17");
	check_one(
		"x-amzn-trace-id",
		"Self=1-67891234-12456789abcdef012345678a;Root=1-67891233-abcdef012345678912345678",
		"67891233abcdef012345678912345678", "",
		"Self=1-67891234-12456789abcdef012345678a;Root=1-67891233-"
		"abcdef012345678912345678");
}

/* Envoy: the same request on two hops. */
static void a_uuid_is_the_same_but_for_its_nibble_14(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	add(&ids, "x-request-id", "55d7f7b3-8a3e-4d7d-8c63-8a0e5f2d1c9a");
	tl_ids_settle(&ids);
	assert_true(tl_ids_has(&ids, TL_SPAN_LIT("55d7f7b3-8a3e-9d7d-8c63-8a0e5f2d1c9a")));
	assert_false(tl_ids_has(&ids, TL_SPAN_LIT("55d7f7b3-8a3e-9d7e-8c63-8a0e5f2d1c9a")));
	/* Its echo in the response is no other id. */
	assert_int_equal(tl_ids_header(&ids, TL_SPAN_LIT("X-Request-Id"),
				       TL_SPAN_LIT("55d7f7b3-8a3e-ad7d-8c63-8a0e5f2d1c9a"), true),
			 0);
	assert_int_equal(ids.n, 1);
	tl_ids_init(&ids);
	add(&ids, "x-request-id", "55d7f7b3x8a3e-4");
	assert_false(tl_ids_has(&ids, TL_SPAN_LIT("55d7f7b3x8a3e-9")));
}

static void several_ids_are_all_kept_and_a_trace_is_no_request_id(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	add(&ids, "sentry-trace", TRACE "-" SPAN "-1");
	add(&ids, "request-id", "|root.1.");
	add(&ids, "cf-ray", "7d0fbb3d1c2e4a5b-AMS");
	add(&ids, "x-correlation-id", "mine");
	add(&ids, "x-correlation-id", "another");
	tl_ids_settle(&ids);
	assert_int_equal(ids.n, 4);
	assert_string_equal(ids.id[ids.primary].header, "x-correlation-id");
	assert_true(ids.id[ids.primary].duplicate);
	assert_string_equal(ids.trace_id, TRACE);
}

static void an_id_of_ours_yields_to_one_that_came_and_to_none_after_it(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	tl_ids_add(&ids, TL_ID_GENERATED, NULL, TL_SPAN_LIT("0123"));
	assert_int_equal(ids.id[ids.primary].kind, TL_ID_GENERATED);
	assert_string_equal(ids.id[ids.primary].header, "generated");
	tl_ids_add(&ids, TL_ID_INHERITED, NULL, TL_SPAN_LIT("4567"));
	assert_int_equal(ids.n, 1);
	tl_ids_init(&ids);
	add(&ids, "x-request-id", "r");
	tl_ids_settle(&ids);
	tl_ids_add(&ids, TL_ID_INHERITED, NULL, TL_SPAN_LIT("4567"));
	assert_int_equal(ids.n, 1);
	tl_ids_init(&ids);
	tl_ids_add(&ids, TL_ID_ADOPTED, "x-request-id", TL_SPAN_LIT("89"));
	assert_string_equal(ids.id[ids.primary].header, "x-request-id");
}

static void what_was_given_out_stays_primary_when_the_response_brings_an_id(void **state)
{
	struct tl_ids ids;

	(void)state;
	tl_ids_init(&ids);
	tl_ids_settle(&ids);
	tl_ids_add(&ids, TL_ID_GENERATED, NULL, TL_SPAN_LIT("0123"));
	assert_int_equal(
		tl_ids_header(&ids, TL_SPAN_LIT("x-request-id"), TL_SPAN_LIT("born"), true), 1);
	tl_ids_settle(&ids);
	assert_int_equal(ids.id[ids.primary].kind, TL_ID_GENERATED);
	tl_ids_init(&ids);
	add(&ids, "x-request-id", "came");
	assert_int_equal(
		tl_ids_header(&ids, TL_SPAN_LIT("x-request-id"), TL_SPAN_LIT("came"), true), 0);
	assert_int_equal(ids.n, 1);
}

static void past_the_maximum_ids_are_dropped_and_counted(void **state)
{
	struct tl_ids ids;
	unsigned added = 0;

	(void)state;
	tl_ids_init(&ids);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].result == 1)
			added += (unsigned)add(&ids, rows[i].name, rows[i].value);
	assert_int_equal(ids.n, TL_IDS_MAX);
	assert_int_equal(added, TL_IDS_MAX);
	assert_true(ids.dropped > 0);
	tl_ids_settle(&ids);
}

static void packing_keeps_everything(void **state)
{
	struct tl_ids ids, back;
	_cleanup_(freep) struct tl_packed *packed = NULL;

	(void)state;
	tl_ids_init(&ids);
	add(&ids, "x-request-id", "r");
	add(&ids, "traceparent", "00-" TRACE "-" SPAN "-01");
	tl_ids_settle(&ids);
	packed = tl_ids_pack(&ids);
	assert_non_null(packed);
	tl_ids_unpack(packed, &back);
	assert_int_equal(back.n, 2);
	assert_int_equal(back.primary, ids.primary);
	assert_string_equal(back.trace_id, TRACE);
	assert_string_equal(back.span_id, SPAN);
	assert_int_equal(back.trace_flags, 1);
	assert_memory_equal(back.id[0].value, "r", 1);
	assert_true(tl_ids_packed_equal(packed, packed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_format_accepts_its_grammar_and_nothing_else),
		cmocka_unit_test(two_traceparents_reject_both),
		cmocka_unit_test(the_first_of_duplicated_request_ids_counts_and_is_flagged),
		cmocka_unit_test(
			a_request_id_is_primary_before_a_trace_and_the_strongest_trace_wins),
		cmocka_unit_test(contexts_of_several_headers_are_put_together),
		cmocka_unit_test(formats_of_single_vendors_are_read_by_their_grammar),
		cmocka_unit_test(a_uuid_is_the_same_but_for_its_nibble_14),
		cmocka_unit_test(several_ids_are_all_kept_and_a_trace_is_no_request_id),
		cmocka_unit_test(an_id_of_ours_yields_to_one_that_came_and_to_none_after_it),
		cmocka_unit_test(what_was_given_out_stays_primary_when_the_response_brings_an_id),
		cmocka_unit_test(past_the_maximum_ids_are_dropped_and_counted),
		cmocka_unit_test(packing_keeps_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
