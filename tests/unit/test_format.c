/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "userspace/cli/format.h"

struct fixture {
	struct tl_record record;
	struct tl_buf out;
	struct tl_format format;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	setenv("TZ", "UTC", 1);
	tzset();
	tl_record_reset(&f->record);
	f->record.observed_ns = UINT64_C(1795395600123456789);
	f->record.severity_number = 17;
	f->record.body = TL_SPAN_LIT("payment refused");
	tl_attr_set(&f->record.resource, "service.name", TL_SPAN_LIT("cart"));
	tl_attr_set(&f->record.attributes, "correlation.id", TL_SPAN_LIT("a1b2"));
	tl_attr_set(&f->record.attributes, "correlation.how", TL_SPAN_LIT("unit"));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tl_buf_done(&f->out);
	free(f);
	return 0;
}

static void assert_line(struct fixture *f, const char *wanted)
{
	tl_buf_clear(&f->out);
	assert_int_equal(tl_format_record(&f->format, &f->record, &f->out), 0);
	tl_buf_putc(&f->out, '\0');
	assert_string_equal(f->out.data, wanted);
}

static void line_tells_time_severity_service_request_and_body(void **state)
{
	struct fixture *f = *state;

	assert_line(f, "01:00:00.123 ERROR cart [a1b2 unit] payment refused\n");
	f->format.date = true;
	assert_line(f, "2026-11-23 01:00:00.123 ERROR cart [a1b2 unit] payment refused\n");
}

static void line_without_id_tells_why(void **state)
{
	struct fixture *f = *state;

	f->record.severity_number = 0;
	f->record.attributes.n = 0;
	assert_line(f, "01:00:00.123 -     cart [-] payment refused\n");
	tl_attr_set(&f->record.attributes, "correlation.why", TL_SPAN_LIT("no-request"));
	assert_line(f, "01:00:00.123 -     cart [- no-request] payment refused\n");
}

static void control_bytes_cannot_move_the_readers_cursor(void **state)
{
	struct fixture *f = *state;

	f->record.body = TL_SPAN_LIT("a\033[2Jb\rc\tü\0d\x7f");
	assert_line(f, "01:00:00.123 ERROR cart [a1b2 unit] a\\x1b[2Jb\\x0dc\tü\\x00d\\x7f\n");
	tl_attr_set(&f->record.resource, "service.name", TL_SPAN_LIT("c\033[31m"));
	f->record.body = TL_SPAN_LIT("x");
	assert_line(f, "01:00:00.123 ERROR c [a1b2 unit] x\n");
}

static void colours_of_a_service_are_kept_for_terminals_and_ended(void **state)
{
	struct fixture *f = *state;

	f->record.body = TL_SPAN_LIT("\033[1;31mred");
	assert_line(f, "01:00:00.123 ERROR cart [a1b2 unit] red\n");
	f->format.colour = true;
	tl_buf_clear(&f->out);
	assert_int_equal(tl_format_record(&f->format, &f->record, &f->out), 0);
	tl_buf_putc(&f->out, '\0');
	assert_non_null(strstr(f->out.data, "\033[1;31mred\033[0m\n"));
}

static void exchange_tells_method_path_status_and_duration(void **state)
{
	struct fixture *f = *state;
	struct tl_attrs *a = &f->record.attributes;

	tl_attr_set(a, "network.direction", TL_SPAN_LIT("server"));
	tl_attr_set(a, "http.request.method", TL_SPAN_LIT("GET"));
	tl_attr_set(a, "url.path", TL_SPAN_LIT("/cart"));
	tl_attr_set_span(a, TL_SPAN_LIT("http.response.status_code"), TL_SPAN_LIT("503"),
			 TL_ATTR_LITERAL);
	tl_attr_set_span(a, TL_SPAN_LIT("http.server.request.duration"), TL_SPAN_LIT("0.0125"),
			 TL_ATTR_LITERAL);
	assert_int_equal(tl_format_exchange(&f->format, &f->record, &f->out), 0);
	tl_buf_putc(&f->out, '\0');
	assert_string_equal(f->out.data,
			    "01:00:00.123 cart [a1b2 unit] server GET /cart 503 12.5 ms\n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(line_tells_time_severity_service_request_and_body),
		T(line_without_id_tells_why),
		T(control_bytes_cannot_move_the_readers_cursor),
		T(colours_of_a_service_are_kept_for_terminals_and_ended),
		T(exchange_tells_method_path_status_and_duration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
