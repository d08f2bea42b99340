/* SPDX-License-Identifier: Apache-2.0 */
/* Joining: what belongs to a stack trace, and what must not wait. */
#include "tests/unit/lines_fixture.h"

#include "agent/multiline.h"

static struct bed bed;

static int open_with(const char *rules, const char *const *custom, size_t n)
{
	struct tl_lines_options options;

	bed_init(&bed);
	tl_lines_free(bed.lines);
	options = bed_options(&bed);
	options.multiline = rules;
	options.custom = custom;
	options.n_custom = n;
	bed_open(&bed, &options);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return open_with("auto", NULL, 0);
}

static int teardown(void **state)
{
	(void)state;
	bed_done(&bed);
	return 0;
}

/* Each line in a write of its own, then the ordinary line "next". */
static void write_by_line(const char *text)
{
	while (*text) {
		size_t len = (size_t)(strchr(text, '\n') + 1 - text);

		bed_write(&bed, 0, 100, 1, text, len);
		text += len;
	}
	bed_puts(&bed, 1, "next\n");
}

/* `text` ends in a newline; it is to be one record, whether it comes in one write, line by line, or
 * byte by byte. */
static void assert_one_block(const char *text)
{
	size_t len = strlen(text) - 1;
	uint64_t from;

	for (int how = 0; how < 3; how++) {
		bed_forget(&bed);
		from = bed.offset[0];
		if (how == 0) {
			bed_puts(&bed, 1, text);
			tl_lines_tick(bed.lines, UINT64_MAX - 1);
			bed_puts(&bed, 1, "next\n");
		} else if (how == 1) {
			write_by_line(text);
		} else {
			for (const char *p = text; *p; p++) {
				bed_write(&bed, 1, 100, 2, "noise\n", 6);
				bed_write(&bed, 0, 100, 1, p, 1);
			}
			bed_puts(&bed, 1, "next\n");
		}
		for (size_t i = 0; i < bed.n;)
			if (bed.got[i].stream == 2) {
				free(bed.got[i].body);
				memmove(&bed.got[i], &bed.got[i + 1],
					(--bed.n - i) * sizeof(bed.got[0]));
			} else {
				i++;
			}
		if (bed.n != 2)
			for (size_t i = 0; i < bed.n; i++)
				print_error("how %d, %zu: [%s]\n", how, i, bed.got[i].body);
		assert_int_equal(bed.n, 2);
		assert_int_equal(bed.got[0].len, len);
		assert_memory_equal(bed.got[0].body, text, len);
		assert_int_equal(bed.got[0].flags, TL_LINE_JOINED);
		assert_int_equal(bed.got[0].n_extents, 1);
		assert_int_equal(bed.got[0].extents[0].from, from);
		assert_int_equal(bed.got[0].extents[0].to, from + len + 1);
		assert_line(&bed, 1, "next", 0);
	}
}

static void java_traces_are_one_record(void **state)
{
	(void)state;
	assert_one_block("java.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\n\tat "
			 "a.B.d(B.java:2)\n");
	assert_one_block(
		"2026-01-02 03:04:05 ERROR [main] a.B - failed\njava.lang.RuntimeException\n"
		"\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: disk\n\tat a.B.e(B.java:9)\n"
		"\t... 17 more\n");
	assert_one_block("Exception in thread \"main\" a.b.MyException: x\n    at a.B.c(B.java:1)\n"
			 "\tSuppressed: a.b.Other: y\n\t\tat a.C.f(C.java:3)\n\t\t... 1 more\n"
			 "Caused by: a.b.Deep: z\n\t... 2 common frames omitted\n");
	assert_one_block("SEVERE: broken\na.b.C$InnerError: x\n\tat a.B.c(Native Method)\n");
}

static void python_traces_are_one_record(void **state)
{
	(void)state;
	assert_one_block("Traceback (most recent call last):\n  File \"a.py\", line 1, in "
			 "<module>\n    f()\n    ^^^\n"
			 "ValueError: bad\n");
	assert_one_block("ERROR:root:failed\nTraceback (most recent call last):\n  File \"a.py\", "
			 "line 1, in f\n"
			 "    1/0\nZeroDivisionError: division by zero\n");
	assert_one_block("Traceback (most recent call last):\n  File \"a.py\", line 1, in "
			 "f\nKeyError: 'a'\n\n"
			 "During handling of the above exception, another exception occurred:\n\n"
			 "Traceback (most recent call last):\n  File \"a.py\", line 3, in "
			 "f\nValueError: b\n");
	assert_one_block("Traceback (most recent call last):\n  File \"a.py\", line 1, in "
			 "f\nKeyError: 'a'\n\n"
			 "The above exception was the direct cause of the following exception:\n\n"
			 "Traceback (most recent call last):\n  File \"a.py\", line 3, in "
			 "f\nValueError: b\n");
	assert_one_block("  + Exception Group Traceback (most recent call last):\n  |   File "
			 "\"a.py\", line 1, in f\n"
			 "  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---------------- 1 "
			 "----------------\n"
			 "    | ValueError: 1\n    +------------------------------------\n");
}

static void go_panics_are_one_record(void **state)
{
	(void)state;
	assert_one_block(
		"panic: runtime error: invalid memory address or nil pointer dereference\n"
		"[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47a]\n\n"
		"goroutine 1 [running]:\nmain.(*T).f(0x0?, {0x1, 0x2})\n\t/src/a.go:12 +0x1d\n"
		"created by main.main in goroutine 1\n\t/src/a.go:5 +0x25\nexit status 2\n");
	assert_one_block("fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan "
			 "receive]:\n"
			 "main.main()\n\t/src/a.go:4 +0x28\n\ngoroutine 7 "
			 "[select]:\nmain.g(...)\n\t/src/a.go:9\n");
	assert_one_block("goroutine 34 gp=0xc000002380 m=0 mp=0x5 "
			 "[running]:\nmain.main()\n\t/src/a.go:4 +0x28\n");
}

static void a_trace_behind_an_ordinary_line_in_its_call_belongs_to_it(void **state)
{
	static const char java[] =
		"10:00 WARN a.B - odd\njava.io.IOException: x\n\tat a.B.c(B.java:1)";
	static const char class_only[] =
		"10:00 WARN a.B - odd\na.b.Oddity: x\n\tat a.B.c(B.java:1)";
	static const char python[] =
		"WARNING:root:odd\nTraceback (most recent call last):\n  File \"a\", line 1\nE: x";
	static const char go[] = "2026/01/02 http: panic serving 127.0.0.1: x\ngoroutine 6 "
				 "[running]:\nmain.f()\n\t/a.go:1 +0x1";
	static const char message[] =
		"10:00 WARN odd\na.b.SqlException: no table; statement:\nselect 1\n  from x\n"
		"\tat a.B.c(B.java:1)";
	const char *const texts[] = {java, class_only, python, go, message};

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		char text[400];

		snprintf(text, sizeof(text), "%s\n", texts[i]);
		bed_forget(&bed);
		bed_puts(&bed, 1, text);
		tl_lines_tick(bed.lines, UINT64_MAX - 1);
		assert_int_equal(bed.n, 1);
		assert_line(&bed, 0, texts[i], TL_LINE_JOINED);
	}
}

static void an_ordinary_line_is_handed_out_at_once(void **state)
{
	static const char *const texts[] = {
		"2026-01-02 03:04:05 INFO started\n",
		"{\"level\":\"ERROR\",\"msg\":\"x\"}\n",
		"GET /a.Error: 1\n",
		"\n",
		"127.0.0.1 - - [x] \"GET / HTTP/1.1\" 200\n",
		"python: no error\n",
		"Tracing on\n",
		"gopher 1\n",
		"MIRRORED files\n",
		"www.example.com: up\n",
		"panicking\n",
		"level=error msg=x\n",
		"a.b.c.d: x\n",
		"Traceback-less\n",
		"TERRORS\n",
		"at 5 pm\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		bed_puts(&bed, 1, texts[i]);
		if (bed.n != i + 1)
			print_error("waits: %s", texts[i]);
		assert_int_equal(bed.n, i + 1);
		assert_int_equal(bed.got[i].flags, 0);
	}
	bed_forget(&bed);
	bed_puts(&bed, 1, "one\ntwo\nhalf");
	assert_int_equal(bed.n, 2);
}

static void an_error_line_waits_for_a_trace_until_its_time_is_over(void **state)
{
	uint64_t then = bed.now;
	struct tl_lines_usage usage;

	(void)state;
	bed_puts(&bed, 1, "[x] ERROR: refused\n");
	assert_int_equal(bed.n, 0);
	tl_lines_usage(bed.lines, &usage);
	assert_int_equal(usage.open, 1);
	assert_int_equal(tl_lines_tick(bed.lines, then + 249 * MS), then + 250 * MS);
	tl_lines_tick(bed.lines, then + 250 * MS);
	assert_line(&bed, 0, "[x] ERROR: refused", 0);
}

static void a_block_waits_from_its_last_line_on(void **state)
{
	uint64_t last;

	(void)state;
	bed_puts(&bed, 1, "a.BException: x\n");
	bed.now += 200 * MS;
	last = bed.now;
	bed_puts(&bed, 1, "\tat a.b.c(A.java:1)\n");
	assert_int_equal(tl_lines_tick(bed.lines, last + 249 * MS), last + 250 * MS);
	assert_int_equal(bed.n, 0);
}

static void a_units_lines_come_out_in_their_order(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "ERROR one\n");
	bed_puts(&bed, 2, "other thread\n");
	bed_puts(&bed, 1, "two\n");
	assert_line(&bed, 0, "other thread", 0);
	assert_line(&bed, 1, "ERROR one", 0);
	assert_line(&bed, 2, "two", 0);
}

static void a_unit_keeps_its_order_between_buffered_and_direct_writes(void **state)
{
	(void)state;
	bed_full(&bed, 1, "begin", 4096);
	bed_puts(&bed, 1, "end of it\nERROR buffered\n");
	bed_forget(&bed);
	bed_puts(&bed, 2, "other\n");
	bed_puts(&bed, 1, "direct\n");
	assert_line(&bed, 0, "other", TL_LINE_BATCHED);
	assert_line(&bed, 1, "ERROR buffered", TL_LINE_BATCHED | TL_LINE_BUFFERED);
	assert_line(&bed, 2, "direct", TL_LINE_BATCHED);
}

static void traces_of_two_threads_do_not_mix(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "a.AException: 1\n");
	bed_puts(&bed, 2, "b.BException: 2\n");
	bed_puts(&bed, 1, "\tat a.A.f(A.java:1)\n");
	bed_puts(&bed, 2, "\tat b.B.f(B.java:2)\n");
	tl_lines_flush(bed.lines);
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "a.AException: 1\n\tat a.A.f(A.java:1)", TL_LINE_JOINED);
	assert_line(&bed, 1, "b.BException: 2\n\tat b.B.f(B.java:2)", TL_LINE_JOINED);
	assert_int_equal(bed.got[0].n_extents, 2);
}

/* The trace lies over the end of the buffer that thread 1 flushed; thread 2 flushes the rest. */
static void a_trace_goes_on_over_a_full_buffers_end(void **state)
{
	char data[4096];
	size_t n;

	(void)state;
	memset(data, 'x', sizeof(data));
	n = sizeof(data) - 60;
	memcpy(data + n, "\na.b.MyException: no\n\tat a.B.c(B.java:1)\n\tat a.B.dddddddddddddddd",
	       60);
	bed_write(&bed, 0, 100, 1, data, sizeof(data));
	bed_puts(&bed, 2, "(B.java:2)\nnext\n");
	assert_int_equal(bed.n, 3 - 1);
	assert_non_null(
		strstr(bed.got[0].body, "x\na.b.MyException: no\n\tat a.B.c(B.java:1)\n\tat a.B."));
	assert_non_null(strstr(bed.got[0].body, "(B.java:2)"));
	assert_int_equal(bed.got[0].flags,
			 TL_LINE_JOINED | TL_LINE_BATCHED | TL_LINE_BUFFERED | TL_LINE_SHARED);
	assert_line(&bed, 1, "next", TL_LINE_BATCHED | TL_LINE_BUFFERED);
}

static void a_trace_in_one_write_is_not_batched(void **state)
{
	static const char *const traces[] = {
		"java.io.IOException: x\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)\nCaused by: "
		"a.C: y\n\t... 2 more",
		"Traceback (most recent call last):\r\n  File \"a.py\", line 1\r\nKeyError: "
		"1\r\n\r\n"
		"During handling of the above exception, another exception occurred:\r\n\r\n"
		"Traceback (most recent call last):\r\n  File \"a.py\", line 3\r\nValueError: b\r",
		"Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    "
		"1/0\nKeyError: 'a'\n\n"
		"During handling of the above exception, another exception occurred:\n\n"
		"Traceback (most recent call last):\n  File \"a.py\", line 3, in f\nValueError: b",
		"2026/01/02 http: panic serving 127.0.0.1: x\ngoroutine 6 "
		"[running]:\nmain.f()\n\t/a.go:1 +0x1",
	};
	char text[400];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "%s\n", traces[i]);
		bed_forget(&bed);
		bed_puts(&bed, 1, text);
		bed_puts(&bed, 1, "next\n");
		bed_puts(&bed, 2, "other\n");
		assert_int_equal(bed.n, 3);
		assert_int_equal(bed.got[0].flags, TL_LINE_JOINED);
		assert_line(&bed, 1, "next", 0);
		assert_line(&bed, 2, "other", 0);
	}
	bed_puts(&bed, 1, "java.io.IOException: x\n\tat a.B.c(B.java:1)\nplain\n");
	assert_int_equal(bed.got[3].flags, TL_LINE_JOINED | TL_LINE_BATCHED);
	assert_line(&bed, 4, "plain", TL_LINE_BATCHED);
}

/* print() to sys.stderr writes a frame with its source line at once; and a write may begin in
 * mid-line. */
static void lines_that_continue_the_waiting_trace_in_one_write_are_not_batched(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "Traceback (most recent call last):\n");
	bed_puts(&bed, 1, "  File \"a.py\", line 1, in f\n    g()\n");
	bed_puts(&bed, 1, "  File \"a.py\", ");
	bed_puts(&bed, 2, "other\n");
	bed_puts(&bed, 1, "line 2, in g\n    1/0\n");
	bed_puts(&bed, 1, "ZeroDivisionError: division by zero\n");
	bed_puts(&bed, 1, "next\n");
	assert_int_equal(bed.n, 3);
	assert_line(&bed, 0, "other", 0);
	assert_int_equal(bed.got[1].flags, TL_LINE_JOINED);
	assert_line(&bed, 2, "next", 0);
}

/* `text` as one call whose first chunk is of `cut` bytes. */
static void put_chunks(const char *text, size_t cut)
{
	struct tl_ev_log event = bed_call(&bed, 100, 1, cut);

	event.call_len = (uint32_t)strlen(text);
	event.h.flags |= TL_EVF_MORE;
	bed_event(&bed, 0, &event, text);
	event = bed_call(&bed, 100, 1, strlen(text) - cut);
	event.call_len = (uint32_t)strlen(text);
	event.call_off = (uint32_t)cut;
	event.h.flags = TL_EVF_STDOUT;
	bed_event(&bed, 0, &event, text + cut);
}

static void a_trace_in_chunks_is_not_batched_and_two_records_in_chunks_are(void **state)
{
	static const char trace[] = "Traceback (most recent call last):\n  File \"a.py\", line 1, "
				    "in f\n    1/0\nE: x\n";
	static const char two[] = "Traceback (most recent call last):\n  File \"a.py\", line 1, in "
				  "f\nE: x\nplain text\n";
	static const char plain[] = "plain text\n[2] plain text\n";

	(void)state;
	for (size_t cut = 1; cut + 1 < sizeof(trace); cut++) {
		bed_forget(&bed);
		put_chunks(trace, cut);
		bed_puts(&bed, 1, "next\n");
		assert_int_equal(bed.n, 2);
		assert_int_equal(bed.got[0].flags, TL_LINE_JOINED);
		assert_line(&bed, 1, "next", 0);
	}
	for (size_t cut = 1; cut + 1 < sizeof(two); cut++) {
		bed_done(&bed);
		open_with("auto", NULL, 0);
		put_chunks(two, cut);
		bed_puts(&bed, 2, "next\n");
		assert_int_equal(bed.n, 3);
		assert_int_equal(bed.got[0].flags, TL_LINE_JOINED | TL_LINE_BATCHED);
		assert_line(&bed, 1, "plain text", TL_LINE_BATCHED);
		assert_line(&bed, 2, "next", TL_LINE_BATCHED);
	}
	for (size_t cut = 1; cut + 1 < sizeof(plain); cut++) {
		bed_done(&bed);
		open_with("auto", NULL, 0);
		put_chunks(plain, cut);
		assert_int_equal(bed.n, 2);
		assert_line(&bed, 0, "plain text", TL_LINE_BATCHED);
		assert_line(&bed, 1, "[2] plain text", TL_LINE_BATCHED);
	}
}

static void chunks_of_one_call_are_joined_without_waiting_for_more(void **state)
{
	struct tl_ev_log event = bed_call(&bed, 100, 1, 9);

	(void)state;
	event.call_len = 45;
	event.h.flags |= TL_EVF_MORE;
	bed_event(&bed, 0, &event, "ordinary\n");
	assert_int_equal(bed.n, 0);
	event.h.flags = 0;
	event.call_off = 9;
	event.h.len = 36;
	bed_event(&bed, 0, &event, "a.BException: x\n\tat a.b.c(A.java:1)\n");
	tl_lines_flush(bed.lines);
	assert_int_equal(bed.n, 1);
	assert_int_equal(bed.got[0].flags, TL_LINE_JOINED);
}

static void a_line_without_newline_at_exit_still_belongs_to_its_trace(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "Traceback (most recent call last):\n  File \"a.py\", line 1\n");
	bed_puts(&bed, 1, "ValueError: cut");
	tl_lines_exit(bed.lines, 100, 100000);
	assert_int_equal(bed.n, 1);
	assert_line(&bed, 0,
		    "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: cut",
		    TL_LINE_JOINED | TL_LINE_PARTIAL);
}

static void a_blank_line_after_a_trace_in_its_call_stays_alone(void **state)
{
	(void)state;
	bed_puts(&bed, 1,
		 "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: "
		 "x\n\nnext\n");
	assert_int_equal(bed.n, 3);
	assert_int_equal(bed.got[0].flags, TL_LINE_JOINED | TL_LINE_BATCHED);
	assert_line(&bed, 1, "", TL_LINE_BATCHED);
	assert_line(&bed, 2, "next", TL_LINE_BATCHED);
}

static void a_block_past_the_limit_is_split_and_goes_on(void **state)
{
	struct tl_lines_options options = bed_options(&bed);
	size_t bytes = 0;

	(void)state;
	tl_lines_free(bed.lines);
	options.multiline = "java";
	options.max_line = 100;
	bed_open(&bed, &options);
	bed_puts(&bed, 1, "a.BException: x\n");
	for (int i = 0; i < 19; i++)
		bed_puts(&bed, 1, "\tat a.b.c(A.java:1)\n");
	tl_lines_flush(bed.lines);
	assert_int_equal(bed.n, 4);
	for (size_t i = 0; i < bed.n; i++) {
		assert_true(bed.got[i].len <= 100);
		assert_int_equal(bed.got[i].flags,
				 TL_LINE_JOINED | (i + 1 < bed.n ? TL_LINE_SPLIT : 0));
		bytes += bed.got[i].extents[0].to - bed.got[i].extents[0].from;
	}
	assert_int_equal(bytes, bed.offset[0]);
}

static void a_custom_rule_begins_records_by_its_regex(void **state)
{
	static const char *const rules[] = {"stamp=^\\d{4}-\\d\\d-\\d\\d "};

	(void)state;
	bed_done(&bed);
	open_with("auto", rules, 1);
	bed_puts(&bed, 1, "2026-01-02 first\n  more\n");
	bed_puts(&bed, 1, "and more\n\n");
	assert_int_equal(bed.n, 0);
	bed_puts(&bed, 1, "2026-01-02 second\n");
	assert_line(&bed, 0, "2026-01-02 first\n  more\nand more\n", TL_LINE_JOINED);
	tl_lines_flush(bed.lines);
	assert_line(&bed, 1, "2026-01-02 second", 0);
}

static void only_the_rules_that_are_named_join(void **state)
{
	static const char *const rules[] = {"mine=^>"};

	(void)state;
	bed_done(&bed);
	open_with("go, python", rules, 1);
	bed_puts(&bed, 1, "a.BException: x\n\tat a.b.c(A.java:1)\n");
	assert_int_equal(bed.n, 2);
	bed_done(&bed);
	open_with("off", rules, 1);
	bed_puts(&bed, 1, "Traceback (most recent call last):\n  File\nE: x\n");
	assert_int_equal(bed.n, 3);
}

static void a_rule_that_is_wrong_is_refused_by_name(void **state)
{
	static const char *const broken[] = {"mine=^[a"}, *const nameless[] = {"^a"};
	struct tl_multiline *multiline;
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(tl_multiline_new("jva", NULL, 0, &multiline, &error), -EINVAL);
	assert_non_null(strstr(error.message, "\"java\"?"));
	assert_int_equal(tl_multiline_new("auto", broken, 1, &multiline, &error), -EINVAL);
	assert_non_null(strstr(error.message, "\"mine\""));
	assert_int_equal(tl_multiline_new("auto", nameless, 1, &multiline, &error), -EINVAL);
	assert_non_null(strstr(error.message, "name=REGEX"));
}

static void a_regex_that_never_ends_is_cut_off(void **state)
{
	static const char *const rules[] = {"slow=^(a+)+$"};
	char line[3000];

	(void)state;
	bed_done(&bed);
	open_with("slow", rules, 1);
	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 2] = '!';
	line[sizeof(line) - 1] = '\n';
	for (int i = 0; i < 3; i++)
		bed_write(&bed, 0, 100, 1, line, sizeof(line));
	tl_lines_flush(bed.lines);
	assert_true(bed.n >= 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(java_traces_are_one_record),
		TEST(python_traces_are_one_record),
		TEST(go_panics_are_one_record),
		TEST(a_trace_behind_an_ordinary_line_in_its_call_belongs_to_it),
		TEST(an_ordinary_line_is_handed_out_at_once),
		TEST(an_error_line_waits_for_a_trace_until_its_time_is_over),
		TEST(a_block_waits_from_its_last_line_on),
		TEST(a_units_lines_come_out_in_their_order),
		TEST(a_unit_keeps_its_order_between_buffered_and_direct_writes),
		TEST(traces_of_two_threads_do_not_mix),
		TEST(a_trace_goes_on_over_a_full_buffers_end),
		TEST(a_trace_in_one_write_is_not_batched),
		TEST(lines_that_continue_the_waiting_trace_in_one_write_are_not_batched),
		TEST(a_trace_in_chunks_is_not_batched_and_two_records_in_chunks_are),
		TEST(chunks_of_one_call_are_joined_without_waiting_for_more),
		TEST(a_line_without_newline_at_exit_still_belongs_to_its_trace),
		TEST(a_blank_line_after_a_trace_in_its_call_stays_alone),
		TEST(a_block_past_the_limit_is_split_and_goes_on),
		TEST(a_custom_rule_begins_records_by_its_regex),
		TEST(only_the_rules_that_are_named_join),
		TEST(a_rule_that_is_wrong_is_refused_by_name),
		TEST(a_regex_that_never_ends_is_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
