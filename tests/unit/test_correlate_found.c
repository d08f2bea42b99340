/* SPDX-License-Identifier: Apache-2.0 */
/* What the bench (tests/correlate) found, on real services and in replayed traces, cut down to its
 * essence; and the hazards that only a bench meets. Each was seen failing with its guard taken out;
 * which, says its comment. */
#include "tests/unit/correlate_fixture.h"

#define CONFIRMS 10

static const struct who goroutine = {100, 101, 11, TL_UNIT_GOROUTINE};
static const struct who t1 = {10, 11, 0, TL_UNIT_THREAD}, t2 = {10, 12, 0, TL_UNIT_THREAD};

static const struct tl_corr_options few = {.gate_confirms = CONFIRMS};

/* Answers that go by io_uring are not seen: then nothing proves that a thread answers what it
 * reads. Guard: a second header before the first answer contradicts (tl_actor_bind in actor.c). */
static void answers_that_are_not_seen_close_the_gate(void **state)
{
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "first-0001");
	held = line(&bed, &t1);
	request(&bed, 1, &t1, "second-0002");
	assert_int_equal(held->how, TL_HOW_NONE);
	assert_none(line(&bed, &t1), TL_WHY_GATE_CLOSED);
	bed_done(&bed);
}

/* After 101 the connection speaks another protocol, for hours: its frames are no requests and
 * its lines nobody's. An event stream stays its own unit's. Guard: TL_HTTP1_TUNNEL ends the request
 * (conn_read.c, http1.c). */
static void websocket_is_nobodys_and_an_event_stream_its_units(void **state)
{
	static const struct who other = {100, 102, 12, TL_UNIT_GOROUTINE};
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &goroutine, "GET /ws HTTP/1.1\r\nx-request-id: ws-00001\r\n\r\n");
	put(&bed, 1, &goroutine, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
	assert_none(line(&bed, &goroutine), TL_WHY_AFTER_RESPONSE);
	request(&bed, 1, &goroutine, "evil-0001");
	assert_none(line(&bed, &goroutine), TL_WHY_AFTER_RESPONSE);
	request(&bed, 2, &other, "sse-00001");
	put(&bed, 2, &other, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n");
	bed.now += UINT64_C(7200000000000);
	assert_id(line(&bed, &other), TL_HOW_UNIT, "sse-00001");
	bed_done(&bed);
}

/* Found by the bench (go:64:keepalive:mix). The D of a HEAD that comes byte by byte began a request
 * of method D, whose answer then seemed to have a body: everything behind it was out of step, a
 * body became a request. Guard: TL_ROLE_UNDECIDED in conn.c; without it the second line is
 * `after-response`. */
static void head_in_single_bytes_is_head(void **state)
{
	static const char head[] = "HEAD /p HTTP/1.1\r\nx-request-id: first-0001\r\n\r\n";
	struct bed bed;
	struct noted *first, *second;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	for (size_t i = 0; i < sizeof(head) - 1; i++)
		wire(&bed, 1, &goroutine, TL_EVF_RECV, (char[]){head[i], '\0'}, 1);
	first = line(&bed, &goroutine);
	put(&bed, 1, &goroutine, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n");
	request(&bed, 1, &goroutine, "second-0002");
	second = line(&bed, &goroutine);
	answer(&bed, 1, &goroutine);
	assert_int_equal(first->how, TL_HOW_UNIT);
	assert_string_equal(first->id, "first-0001");
	assert_int_equal(second->how, TL_HOW_UNIT);
	assert_string_equal(second->id, "second-0002");
	bed_done(&bed);
}

/* Found by the bench (python:64:keepalive:mix). CPython's header ends at a line that is none, so
 * the id behind it is not the request's; Go and others refuse it. Guard: tl_http1_header_line. */
static void id_behind_a_line_that_is_no_header_is_nobodys(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &goroutine,
	    "GET /p HTTP/1.1\r\nno colon here\r\nx-request-id: bad-0001\r\n\r\n");
	noted = line(&bed, &goroutine);
	assert_int_equal(noted->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* Found by replaying go-64-keepalive-mix with tiny tables. A connection that had no room when it
 * began is met in the middle of a body which looks like a request. Guard: tl_conn_new begins it out
 * of step once a table was full; without it the line is `evil-0001`'s. */
static void body_of_a_connection_that_had_no_room_is_no_request(void **state)
{
	static const struct who other = {100, 102, 12, TL_UNIT_GOROUTINE};
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){.max_conns = 1});
	request(&bed, 1, &goroutine, "first-0001");
	get(&bed, 2, &other,
	    "POST /p HTTP/1.1\r\nx-request-id: second-0002\r\nContent-Length: 90\r\n\r\n");
	answer(&bed, 1, &goroutine);
	closed(&bed, 1);
	request(&bed, 2, &other, "evil-0001");
	noted = line(&bed, &other);
	assert_int_equal(noted->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* The same for one that was forgotten to make room while its body was still coming. Guard:
 * forgettable() in conn.c looks at the parsers. */
static void connection_in_the_middle_of_a_body_is_not_forgotten(void **state)
{
	static const struct who other = {100, 102, 12, TL_UNIT_GOROUTINE};
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){.max_conns = 1});
	get(&bed, 1, &goroutine,
	    "POST /p HTTP/1.1\r\nx-request-id: first-0001\r\nContent-Length: 90\r\n\r\n");
	answer(&bed, 1, &goroutine);
	request(&bed, 2, &other, "second-0002");
	answer(&bed, 2, &other);
	closed(&bed, 2);
	request(&bed, 1, &goroutine, "evil-0001");
	noted = line(&bed, &goroutine);
	assert_int_equal(noted->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* Found by the bench (java:64:keepalive:mix), where one closed the gate of a service for good: a
 * client that had reset the connection before it was accepted, or one that its handler dropped,
 * gets no answer; the thread that goes on to another connection does not contradict. Guard:
 * TL_EVF_SHUT in correlate.c. */
static void request_without_an_answer_on_a_dead_connection_contradicts_nothing(void **state)
{
	static const char dead[] = "GET /p HTTP/1.1\r\nx-request-id: dead-0001\r\n\r\n";
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	wire(&bed, 1, &t1, TL_EVF_RECV | TL_EVF_SHUT, dead, strlen(dead));
	line(&bed, &t1);
	request(&bed, 2, &t1, "dropped-0002");
	shut(&bed, 2);
	request(&bed, 3, &t1, "third-0003");
	held = line(&bed, &t1);
	answer(&bed, 3, &t1);
	assert_id(held, TL_HOW_THREAD, "third-0003");
	bed_done(&bed);
}

/* What comes after this end's last byte is the rest of a body (a lingering close reads it), even if
 * it looks like a request. Guard: tl_conn_shut makes a tunnel of it. */
static void body_behind_the_last_byte_sent_is_no_request(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &goroutine,
	    "POST /p HTTP/1.1\r\nx-request-id: first-0001\r\nContent-Length: 90\r\n\r\n");
	answer(&bed, 1, &goroutine);
	shut(&bed, 1);
	request(&bed, 1, &goroutine, "evil-0001");
	assert_none(line(&bed, &goroutine), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

/* `text` comes in, `from` bytes after the begin of its direction. */
static void get_at(struct bed *bed, unsigned conn, const struct who *who, uint32_t from,
		   const char *text)
{
	struct tl_ev_wire event = {.h = head_of(bed, who, TL_EV_WIRE),
				   .sock = 0x1000 + conn,
				   .sock_ino = conn,
				   .call_len = strlen(text),
				   .family = TL_SOCK_INET,
				   .placed = 1,
				   .seq = 1000 + from,
				   .base_in = 1000};

	event.h.flags = TL_EVF_RECV;
	event.h.len = (uint32_t)event.call_len;
	tl_corr_wire(bed->corr, &event, text);
}

/* Found by the bench (late-mix): an agent that comes in the middle of a body which looks like a
 * request. Only the first byte of a connection is known to begin a message. Guard: at_begin() in
 * conn.c. */
static void body_met_in_the_middle_of_a_connection_is_no_request(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get_at(&bed, 1, &goroutine, 4096, "GET /p HTTP/1.1\r\nx-request-id: evil-0001\r\n\r\n");
	assert_int_equal(line(&bed, &goroutine)->how, TL_HOW_NONE);
	get_at(&bed, 2, &goroutine, 0, "GET /p HTTP/1.1\r\nx-request-id: first-0001\r\n\r\n");
	assert_id(line(&bed, &goroutine), TL_HOW_UNIT, "first-0001");
	bed_done(&bed);
}

/* The head of the request was refused to us, and its body looks like one. */
static void body_of_a_request_whose_head_was_lost_is_no_request(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get_at(&bed, 1, &goroutine, 0, "GET /p HTTP/1.1\r\nx-request-id: first-0001\r\n\r\n");
	answer(&bed, 1, &goroutine);
	bed.lost_gen++;
	get_at(&bed, 1, &goroutine, 500, "GET /p HTTP/1.1\r\nx-request-id: evil-0001\r\n\r\n");
	assert_int_equal(line(&bed, &goroutine)->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* A client that waits to be told to go on, on a connection out of step: its body is no request.
 * Seen for real, 2 wrong ids. Guard: hear_response() in step.c. */
static void body_that_was_asked_for_is_no_request_out_of_step(void **state)
{
	static const char body[] = "GET /evil HTTP/1.1\r\nx-request-id: evil-0001\r\n\r\n";
	struct bed bed;

	(void)state;
	for (int late = 0; late < 2; late++) {
		bed_init(&bed, (struct tl_corr_options){0});
		if (!late) {
			get(&bed, 1, &goroutine, "GET / HTTP/1.1\r\nno header\r\n\r\n");
			put(&bed, 1, &goroutine, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
			get(&bed, 1, &goroutine, "P");
			get(&bed, 1, &goroutine, "OST / HTTP/1.1\r\nContent-Length: 51\r\n");
			get(&bed, 1, &goroutine, "Expect: 100-continue\r\n\r\n");
		}
		put(&bed, 1, &goroutine, "HTTP/1.1 100 Continue\r\n\r\n");
		get(&bed, 1, &goroutine, body);
		assert_int_equal(line(&bed, &goroutine)->how, TL_HOW_NONE);
		answer(&bed, 1, &goroutine);
		request(&bed, 1, &goroutine, "next-0001");
		assert_id(line(&bed, &goroutine), TL_HOW_UNIT, "next-0001");
		bed_done(&bed);
	}
}

/* Bytes that moved unseen (io_uring) leave what follows unknown, even if it looks like a request.
 * Guard: tl_step_tiles() in step.c. */
static void request_behind_bytes_that_nobody_saw_is_nobodys(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get_at(&bed, 1, &goroutine, 0, "GET /p HTTP/1.1\r\nx-request-id: first-0001\r\n\r\n");
	assert_id(line(&bed, &goroutine), TL_HOW_UNIT, "first-0001");
	answer(&bed, 1, &goroutine);
	get_at(&bed, 1, &goroutine, 500, "GET /p HTTP/1.1\r\nx-request-id: evil-0001\r\n\r\n");
	assert_int_equal(line(&bed, &goroutine)->how, TL_HOW_NONE);
	bed_done(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_that_are_not_seen_close_the_gate),
		cmocka_unit_test(websocket_is_nobodys_and_an_event_stream_its_units),
		cmocka_unit_test(head_in_single_bytes_is_head),
		cmocka_unit_test(id_behind_a_line_that_is_no_header_is_nobodys),
		cmocka_unit_test(body_of_a_connection_that_had_no_room_is_no_request),
		cmocka_unit_test(connection_in_the_middle_of_a_body_is_not_forgotten),
		cmocka_unit_test(
			request_without_an_answer_on_a_dead_connection_contradicts_nothing),
		cmocka_unit_test(body_behind_the_last_byte_sent_is_no_request),
		cmocka_unit_test(body_met_in_the_middle_of_a_connection_is_no_request),
		cmocka_unit_test(body_of_a_request_whose_head_was_lost_is_no_request),
		cmocka_unit_test(body_that_was_asked_for_is_no_request_out_of_step),
		cmocka_unit_test(request_behind_bytes_that_nobody_saw_is_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
