/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker gives up, and what the inspector cannot do without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "agent/inspector.h"

static void expect_status(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no %s in:\n%s", line, text);
}

static void a_worker_has_no_capability_left(void **state)
{
	char text[4096] = {0};
	int out[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		struct tl_error error = {0};
		int file, signal_number = 0;
		ssize_t n;

		if (tl_drop_privileges(&error) < 0)
			_exit(1);
		if (prctl(PR_GET_DUMPABLE) != 0 || prctl(PR_GET_PDEATHSIG, &signal_number) < 0 ||
		    signal_number != SIGTERM)
			_exit(2);
		file = open("/proc/self/status", O_RDONLY);
		n = read(file, text, sizeof(text) - 1);
		_exit(n > 0 && write(out[1], text, (size_t)n) == n ? 0 : 3);
	}
	close(out[1]);
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	close(out[0]);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	expect_status(text, "CapInh:\t0000000000000000\n");
	expect_status(text, "CapPrm:\t0000000000000000\n");
	expect_status(text, "CapEff:\t0000000000000000\n");
	expect_status(text, "CapAmb:\t0000000000000000\n");
	expect_status(text, "NoNewPrivs:\t1\n");
	if (geteuid() == 0)
		expect_status(text, "CapBnd:\t0000000000000000\n");
}

static void a_missing_capability_is_named_with_its_remedy(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		struct tl_error error = {0};

		if (tl_drop_privileges(&error) < 0)
			_exit(1);
		if (tl_check_privileges(&error) != -EPERM)
			_exit(2);
		_exit(strstr(error.message, "CAP_BPF") && strstr(error.message, "setcap") ? 0 : 3);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_worker_has_no_capability_left),
		cmocka_unit_test(a_missing_capability_is_named_with_its_remedy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
