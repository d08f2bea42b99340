/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "userspace/base/clock.h"
#include "userspace/base/msg.h"

/* stderr is a pipe between begin_capture and end_capture, which returns what was written. */
static int saved_stderr, capture_fd;

static void begin_capture(void)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	capture_fd = fds[0];
}

static const char *end_capture(void)
{
	static char text[16384];
	size_t len = 0;
	ssize_t n;

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	while ((n = read(capture_fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(capture_fd);
	return text;
}

static void a_message_has_program_and_level(void **state)
{
	(void)state;
	begin_capture();
	tl_msg_init("tapline-agent", TL_INFO);
	tl_msg(TL_WARNING, "ring is %d %% full", 90);
	tl_msg(TL_ERROR, "no");
	tl_msg(TL_INFO, "ready");
	assert_string_equal(end_capture(), "tapline-agent: warning: ring is 90 % full\n"
					   "tapline-agent: error: no\n"
					   "tapline-agent: ready\n");
}

static void less_important_levels_are_not_shown(void **state)
{
	(void)state;
	begin_capture();
	tl_msg_init("t", TL_WARNING);
	tl_msg(TL_INFO, "hidden");
	tl_msg(TL_DEBUG, "hidden");
	tl_msg(TL_WARNING, "shown");
	assert_string_equal(end_capture(), "t: warning: shown\n");
}

static void a_message_is_one_line_whatever_it_holds(void **state)
{
	char big[5000];
	const char *text;

	(void)state;
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	begin_capture();
	tl_msg_init("t", TL_INFO);
	tl_msg(TL_INFO, "a\nb");
	tl_msg(TL_INFO, "%s", big);
	text = end_capture();
	assert_memory_equal(text, "t: a b\nt: yyy", 13);
	assert_true(strlen(text) < 2100);
	assert_int_equal(text[strlen(text) - 1], '\n');
	assert_ptr_equal(strchr(text + 7, '\n'), text + strlen(text) - 1);
}

static void a_limited_message_is_shown_once_and_the_muted_are_told_later(void **state)
{
	struct tl_msg_gate gate = {0};

	(void)state;
	begin_capture();
	tl_msg_init("t", TL_INFO);
	for (int i = 0; i < 5; i++)
		tl_msg_limited(&gate, 60000, TL_INFO, "drop %d", i);
	gate.last_ns -= 61000 * TL_MS;
	tl_msg_limited(&gate, 60000, TL_INFO, "drop 5");
	assert_string_equal(end_capture(), "t: drop 0\nt: drop 5 (4 more not shown)\n");
	assert_int_equal(gate.muted, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_has_program_and_level),
		cmocka_unit_test(less_important_levels_are_not_shown),
		cmocka_unit_test(a_message_is_one_line_whatever_it_holds),
		cmocka_unit_test(a_limited_message_is_shown_once_and_the_muted_are_told_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
