/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connections in the correlator: streams are requests, whatever order they end in. */
#include "tests/unit/correlate_fixture.h"
#include "tests/unit/h2_fixture.h"

#define CONN 77

static const struct who server = {5, 51, 0, TL_UNIT_GOROUTINE},
			handler = {5, 52, 99, TL_UNIT_GOROUTINE};

struct pair {
	struct h2_peer client, server;
};

static void open_pair(struct pair *pair)
{
	h2_open(&pair->client);
	h2_open(&pair->server);
}

static void close_pair(struct pair *pair)
{
	h2_close(&pair->client);
	h2_close(&pair->server);
}

/* What was gathered goes in one call each way. */
static void flush(struct bed *bed, struct h2_peer *peer, uint8_t flags)
{
	struct tl_ev_wire event = {.h = head_of(bed, &server, TL_EV_WIRE),
				   .sock = 0x1000 + CONN,
				   .sock_ino = CONN,
				   .call_len = peer->out.len};

	event.h.flags = flags;
	event.h.len = (uint32_t)peer->out.len;
	tl_corr_wire(bed->corr, &event, peer->out.data);
	peer->out.len = 0;
}

static void ask(struct pair *pair, uint32_t stream, const char *id)
{
	const char *fields[] = {":method", "GET", ":path", "/h2?q", "x-request-id", id, NULL};

	h2_headers(&pair->client, stream, true, (struct h2_shape){0}, fields);
}

static void reply(struct pair *pair, uint32_t stream, const char *status)
{
	const char *fields[] = {":status", status, NULL};

	h2_headers(&pair->server, stream, false, (struct h2_shape){0}, fields);
	h2_frame(&pair->server, H2_DATA, 0x1, stream, "body", 4);
}

static void streams_are_told_each_with_its_id(void **state)
{
	struct bed bed;
	struct pair pair;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	open_pair(&pair);
	tl_buf_puts(&pair.client.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	h2_frame(&pair.client, H2_SETTINGS, 0, 0, NULL, 0);
	ask(&pair, 1, "one");
	ask(&pair, 3, "two");
	flush(&bed, &pair.client, TL_EVF_RECV);
	h2_frame(&pair.server, H2_SETTINGS, 0, 0, NULL, 0);
	reply(&pair, 3, "404");
	flush(&bed, &pair.server, 0);
	assert_int_equal(bed.exchanges, 1);
	assert_string_equal(bed.exchange_id, "two");
	assert_string_equal(bed.path, "/h2");
	assert_int_equal(bed.status, 404);
	assert_int_equal(bed.response_bytes, 4);
	reply(&pair, 1, "200");
	flush(&bed, &pair.server, 0);
	assert_string_equal(bed.exchange_id, "one");
	assert_int_equal(bed.complete, 2);
	/* A stream that is reset ends without a response. */
	ask(&pair, 5, "three");
	h2_frame(&pair.client, H2_RST, 0, 5, "\0\0\0\0", 4);
	flush(&bed, &pair.client, TL_EVF_RECV);
	assert_int_equal(bed.exchanges, 3);
	assert_int_equal(bed.complete, 2);
	assert_int_equal(bed.status, 0);
	close_pair(&pair);
	bed_done(&bed);
}

static void a_line_has_an_id_only_when_its_unit_is_bound_to_the_stream(void **state)
{
	struct tl_sock_key key = {0x1000 + CONN, CONN};
	struct bed bed;
	struct pair pair;
	struct tl_event born;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	open_pair(&pair);
	tl_buf_puts(&pair.client.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	ask(&pair, 1, "one");
	ask(&pair, 3, "two");
	flush(&bed, &pair.client, TL_EVF_RECV);
	assert_none(line(&bed, &handler), TL_WHY_FOREIGN);
	born = head_of(&bed, &handler, 0);
	assert_false(tl_corr_bind_stream(bed.corr, &born, &key, 5));
	assert_true(tl_corr_bind_stream(bed.corr, &born, &key, 3));
	assert_false(tl_corr_bind_stream(bed.corr, &born, &key, 3));
	assert_id(line(&bed, &handler), TL_HOW_UNIT, "two");
	/* The reader of frames serves nobody. */
	assert_int_equal(line(&bed, &server)->how, TL_HOW_NONE);
	reply(&pair, 3, "200");
	flush(&bed, &pair.server, 0);
	assert_none(line(&bed, &handler), TL_WHY_AFTER_RESPONSE);
	close_pair(&pair);
	bed_done(&bed);
}

static void in_the_middle_streams_are_told_from_the_next_frames_on(void **state)
{
	static const char *const other[] = {":method", "GET", "x-correlation-id", "anew", NULL};
	static const char *const traced[] = {
		":method", "GET", "x-request-id",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", NULL};
	struct bed bed;
	struct pair pair;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	open_pair(&pair);
	ask(&pair, 1, "before");
	pair.client.out.len = 0;
	ask(&pair, 3, "before"); /* an index now, of an entry that was never seen */
	flush(&bed, &pair.client, TL_EVF_RECV);
	reply(&pair, 3, "200");
	flush(&bed, &pair.server, 0);
	assert_int_equal(bed.exchanges, 1);
	assert_int_equal(strlen(bed.exchange_id), 32);
	/* A new value of a name that was entered before us is not known either ... */
	ask(&pair, 5, "after");
	flush(&bed, &pair.client, TL_EVF_RECV);
	reply(&pair, 5, "200");
	flush(&bed, &pair.server, 0);
	assert_int_equal(strlen(bed.exchange_id), 32);
	/* ... but of one that comes anew, and a trace context by whatever name. */
	h2_headers(&pair.client, 7, true, (struct h2_shape){0}, other);
	flush(&bed, &pair.client, TL_EVF_RECV);
	reply(&pair, 7, "200");
	flush(&bed, &pair.server, 0);
	assert_string_equal(bed.exchange_id, "anew");
	h2_headers(&pair.client, 9, true, (struct h2_shape){0}, traced);
	flush(&bed, &pair.client, TL_EVF_RECV);
	reply(&pair, 9, "200");
	flush(&bed, &pair.server, 0);
	assert_string_equal(bed.exchange_id, traced[3]);
	close_pair(&pair);
	bed_done(&bed);
}

static void a_lost_event_makes_what_was_known_unknown(void **state)
{
	struct bed bed;
	struct pair pair;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	open_pair(&pair);
	tl_buf_puts(&pair.client.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	ask(&pair, 1, "one");
	flush(&bed, &pair.client, TL_EVF_RECV);
	bed.lost_gen++;
	ask(&pair, 3, "lost"); /* this block never comes: its entry shifts all others */
	pair.client.out.len = 0;
	ask(&pair, 5, "one");
	flush(&bed, &pair.client, TL_EVF_RECV);
	reply(&pair, 5, "200");
	flush(&bed, &pair.server, 0);
	assert_string_not_equal(bed.exchange_id, "lost");
	assert_string_not_equal(bed.exchange_id, "one");
	close_pair(&pair);
	bed_done(&bed);
}

static void an_upgraded_request_is_answered_as_stream_1(void **state)
{
	struct bed bed;
	struct pair pair;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	open_pair(&pair);
	get(&bed, CONN, &server,
	    "GET /up HTTP/1.1\r\nHost: h\r\nX-Request-Id: first\r\nConnection: Upgrade, "
	    "HTTP2-Settings\r\n"
	    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n");
	tl_buf_puts(
		&pair.server.out,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
	h2_frame(&pair.server, H2_SETTINGS, 0, 0, NULL, 0);
	reply(&pair, 1, "200");
	flush(&bed, &pair.server, 0);
	assert_int_equal(bed.exchanges, 1);
	assert_string_equal(bed.exchange_id, "first");
	assert_int_equal(bed.status, 200);
	tl_buf_puts(&pair.client.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	ask(&pair, 3, "second");
	flush(&bed, &pair.client, TL_EVF_RECV);
	reply(&pair, 3, "204");
	flush(&bed, &pair.server, 0);
	assert_string_equal(bed.exchange_id, "second");
	assert_int_equal(bed.ignored, 0);
	close_pair(&pair);
	bed_done(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_told_each_with_its_id),
		cmocka_unit_test(a_line_has_an_id_only_when_its_unit_is_bound_to_the_stream),
		cmocka_unit_test(in_the_middle_streams_are_told_from_the_next_frames_on),
		cmocka_unit_test(a_lost_event_makes_what_was_known_unknown),
		cmocka_unit_test(an_upgraded_request_is_answered_as_stream_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
