/* SPDX-License-Identifier: Apache-2.0 */
/* FastCGI: the parser in any pieces, and whole exchanges in the correlator. */
#include "tests/unit/correlate_fixture.h"

#include "agent/correlate/fastcgi.h"
#include "agent/runtimes/php.h"

#define CONN 88

static bool keeps = true; /* the web server wants the next requests' connection to stay */

static void record(struct tl_buf *out, uint8_t type, const void *data, size_t len, uint8_t pad)
{
	uint8_t head[8] = {1, type, 0, 1, (uint8_t)(len >> 8), (uint8_t)len, pad, 0};

	tl_buf_add(out, head, sizeof(head));
	if (len)
		tl_buf_add(out, data, len);
	for (uint8_t i = 0; i < pad; i++)
		tl_buf_putc(out, 0);
}

static void param(struct tl_buf *out, const char *name, const char *value)
{
	size_t n = strlen(value);

	tl_buf_putc(out, (char)strlen(name));
	if (n > 127) {
		uint8_t len[4] = {0x80, 0, (uint8_t)(n >> 8), (uint8_t)n};

		tl_buf_add(out, len, 4);
	} else {
		tl_buf_putc(out, (char)n);
	}
	tl_buf_puts(out, name);
	tl_buf_puts(out, value);
}

/* A request as nginx sends it; parameters in two records, cut in the middle of one. */
static void fastcgi_request(struct tl_buf *out, const char *id)
{
	struct tl_buf params = {0};
	char longer[300];

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	param(&params, "SCRIPT_NAME", "/index.php");
	param(&params, "HTTP_COOKIE", longer);
	param(&params, "REQUEST_URI", "/cart?secret=1");
	param(&params, "HTTP_X_REQUEST_ID", id);
	param(&params, "REQUEST_METHOD", "POST");
	param(&params, "EMPTY", "");
	record(out, 1, keeps ? "\0\1\1\0\0\0\0\0" : "\0\1\0\0\0\0\0\0", 8, 0);
	record(out, 4, params.data, 100, 3);
	record(out, 4, params.data + 100, params.len - 100, 0);
	record(out, 4, NULL, 0, 0);
	record(out, 5, "a body", 6, 2);
	record(out, 5, NULL, 0, 0);
	tl_buf_done(&params);
}

static void fastcgi_answer(struct tl_buf *out, const char *head)
{
	record(out, 7, "a warning", 9, 7);
	record(out, 6, head, strlen(head), 1);
	record(out, 6, "more", 4, 0);
	record(out, 6, NULL, 0, 0);
	record(out, 3, "\0\0\0\0\0\0\0\0", 8, 0);
}

static const struct who worker = {6, 6, 0, 0}, web = {7, 7, 0, 0};

static void move(struct bed *bed, const struct who *who, uint8_t flags, const struct tl_buf *bytes,
		 size_t piece)
{
	for (size_t at = 0; at < bytes->len; at += piece) {
		struct tl_ev_wire event = {.h = head_of(bed, who, TL_EV_WIRE),
					   .sock = 0x1000 + CONN,
					   .sock_ino = CONN};

		event.call_len = bytes->len - at < piece ? bytes->len - at : piece;
		event.h.len = (uint32_t)event.call_len;
		event.h.flags = flags;
		tl_corr_wire(bed->corr, &event, bytes->data + at);
	}
}

static void an_exchange_is_told_however_it_is_cut(void **state)
{
	(void)state;
	for (size_t piece = 8; piece < 700; piece = piece < 30 ? piece + 1 : piece * 3) {
		struct tl_buf asked = {0}, answered = {0};
		struct bed bed;

		bed_init(&bed, (struct tl_corr_options){0});
		fastcgi_request(&asked, "php-1");
		fastcgi_answer(&answered,
			       "Status: 404 Not Found\r\nX-Correlation-Id: born\r\n\r\nbody");
		move(&bed, &worker, TL_EVF_RECV, &asked, piece);
		move(&bed, &worker, 0, &answered, piece);
		assert_int_equal(bed.exchanges, 1);
		assert_int_equal(bed.complete, 1);
		assert_int_equal(bed.servers, 1);
		assert_int_equal(bed.status, 404);
		assert_string_equal(bed.path, "/cart");
		assert_string_equal(bed.exchange_id, "php-1");
		assert_int_equal(bed.request_bytes, 6);
		assert_int_equal(bed.response_bytes, 8);
		/* The connection is kept and the next request comes. */
		move(&bed, &worker, TL_EVF_RECV, &asked, piece);
		move(&bed, &worker, 0, &answered, piece);
		assert_int_equal(bed.complete, 2);
		bed_done(&bed);
		tl_buf_done(&asked);
		tl_buf_done(&answered);
	}
}

static void the_web_server_is_the_client(void **state)
{
	struct tl_buf asked = {0}, answered = {0};
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	fastcgi_request(&asked, "php-1");
	fastcgi_answer(&answered, "Content-Type: text/html\r\n\r\n");
	move(&bed, &web, 0, &asked, asked.len);
	move(&bed, &web, TL_EVF_RECV, &answered, answered.len);
	assert_int_equal(bed.complete, 1);
	assert_int_equal(bed.servers, 0);
	assert_int_equal(bed.status, 200);
	bed_done(&bed);
	tl_buf_done(&asked);
	tl_buf_done(&answered);
}

static void a_line_of_php_fpm_needs_no_proof(void **state)
{
	struct tl_buf asked = {0}, answered = {0};
	struct noted *held;
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	fastcgi_request(&asked, "php-1");
	fastcgi_answer(&answered, "Content-Type: text/html\r\n\r\n");
	move(&bed, &worker, TL_EVF_RECV, &asked, asked.len);
	assert_none(line(&bed, &worker), TL_WHY_GATE_CLOSED);
	move(&bed, &worker, 0, &answered, answered.len);
	tl_corr_serial(bed.corr, worker.tgid, bed.start_ns);
	move(&bed, &worker, TL_EVF_RECV, &asked, asked.len);
	held = line(&bed, &worker);
	assert_int_equal(held->how, HELD);
	move(&bed, &worker, 0, &answered, answered.len);
	assert_id(held, TL_HOW_THREAD, "php-1");
	assert_int_not_equal(line(&bed, &worker)->how, TL_HOW_THREAD);
	bed_done(&bed);
	tl_buf_done(&asked);
	tl_buf_done(&answered);
	assert_true(tl_runtime_is_serial("/usr/sbin/php-fpm8.2"));
	assert_true(tl_runtime_is_serial("php-fpm"));
	assert_false(tl_runtime_is_serial("/usr/bin/php8.2"));
	assert_false(tl_runtime_is_serial("/opt/php-fpm-exporter"));
}

static void two_requests_at_once_on_a_connection_are_not_followed(void **state)
{
	struct tl_buf asked = {0}, answered = {0};
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	fastcgi_request(&asked, "php-1");
	move(&bed, &worker, TL_EVF_RECV, &asked, asked.len);
	/* Its body is not over, and another begins. */
	asked.len -= 8;
	move(&bed, &worker, TL_EVF_RECV, &asked, asked.len);
	fastcgi_request(&answered, "php-2");
	move(&bed, &worker, TL_EVF_RECV, &answered, answered.len);
	assert_true(bed.exchanges >= 2);
	assert_int_equal(bed.complete, 0);
	bed_done(&bed);
	tl_buf_done(&asked);
	tl_buf_done(&answered);
}

static void a_connection_that_ends_with_its_request_is_forgotten(void **state)
{
	struct tl_buf asked = {0}, answered = {0};
	struct tl_corr_usage usage;
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	fastcgi_answer(&answered, "Content-Type: text/html\r\n\r\n");
	for (size_t piece = 8; piece < 700; piece = piece < 30 ? piece + 1 : piece * 3) {
		keeps = piece % 2;
		fastcgi_request(&asked, "php-1");
		move(&bed, &worker, TL_EVF_RECV, &asked, piece);
		tl_corr_usage(bed.corr, &usage);
		assert_int_equal(usage.conns, 1);
		move(&bed, &worker, 0, &answered, piece);
		tl_corr_usage(bed.corr, &usage);
		assert_int_equal(usage.conns, keeps);
		tl_buf_clear(&asked);
	}
	keeps = true;
	bed_done(&bed);
	tl_buf_done(&asked);
	tl_buf_done(&answered);
}

static void what_begins_a_request_is_known_by_8_bytes(void **state)
{
	(void)state;
	assert_int_equal(tl_fastcgi_looks(TL_SPAN_LIT("\1\1\0\7\0\10\0\0\0\1")), 2);
	assert_int_equal(tl_fastcgi_looks(TL_SPAN_LIT("\1\1\0")), 1);
	assert_int_equal(tl_fastcgi_looks(TL_SPAN_LIT("\1\4\0\1\0\10\0\0")), 0);
	assert_int_equal(tl_fastcgi_looks(TL_SPAN_LIT("GET / HTTP/1.1")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exchange_is_told_however_it_is_cut),
		cmocka_unit_test(the_web_server_is_the_client),
		cmocka_unit_test(a_line_of_php_fpm_needs_no_proof),
		cmocka_unit_test(two_requests_at_once_on_a_connection_are_not_followed),
		cmocka_unit_test(a_connection_that_ends_with_its_request_is_forgotten),
		cmocka_unit_test(what_begins_a_request_is_known_by_8_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
