/* SPDX-License-Identifier: Apache-2.0 */
/* An inspector in a child process over a capture that is only a table, and sample processes for it
 * to find. */
#ifndef TL_TESTS_INSPECTOR_FIXTURE_H
#define TL_TESTS_INSPECTOR_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agent/inspector.h"
#include "tests/unit/fake_capture.h"
#include "userspace/base/clock.h"

#define DEADLINE_NS (10 * TL_SEC)

static struct fake_capture *fake;
static pid_t service; /* the inspector */
static int fd = -1;   /* the worker's end */

/* A process named `name` that waits to be ended; of our descriptors it keeps `keep_fd`. */
struct sample {
	pid_t pid;
};

static struct sample start_sample(const char *name, int keep_fd)
{
	struct sample sample;
	int ready[2];
	char byte = 0;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	sample.pid = fork();
	if (sample.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
		for (int i = 3; i < 64; i++)
			if (i != keep_fd && i != ready[1])
				close(i);
		(void)!write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return sample;
}

static void end_sample(struct sample *sample)
{
	kill(sample->pid, SIGKILL);
	waitpid(sample->pid, NULL, 0);
}

static void start_inspector(const struct tl_selectors *selectors, const pid_t *denied,
			    size_t n_denied, unsigned scan_ms)
{
	struct tl_inspector_options options = {.capture = (struct tl_capture *)fake,
					       .selectors = selectors,
					       .denied = denied,
					       .n_denied = n_denied,
					       .scan_ms = scan_ms};
	struct tl_error error = {0};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	service = fork();
	if (service == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[1]);
		_exit(tl_inspector_serve(pair[0], &options, &error) == 0 ? 0 : 1);
	}
	close(pair[0]);
	fd = pair[1];
}

/* Closes the worker's end and expects the inspector to end well. */
static void stop_inspector(void)
{
	int status = 0;

	if (fd < 0)
		return;
	close(TAKE_FD(fd));
	assert_int_equal(waitpid(service, &status, 0), service);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int set_up(void **state)
{
	(void)state;
	fake = fake_capture_new();
	return fake == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	if (fd >= 0) {
		close(TAKE_FD(fd));
		kill(service, SIGKILL);
		waitpid(service, NULL, 0);
	}
	fake_capture_free(fake);
	return 0;
}

#define INSPECTOR_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
