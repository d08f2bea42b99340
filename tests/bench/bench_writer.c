/* SPDX-License-Identifier: Apache-2.0 */
/* The tapped service of the benches: one write(2) a line to stdout, at a steady rate, each line
 * with its number and the wall time of its write. At its end it says on stderr what a line cost it:
 * CPU ns. usage: bench_writer LINES RATE     RATE in lines/s, 0 as fast as it goes */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/line.h"
#include "userspace/base/clock.h"

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * TL_SEC + (uint64_t)t.tv_nsec;
}

static void pace(uint64_t start, uint64_t n, uint64_t rate)
{
	uint64_t due = start + n * TL_SEC / rate;
	const struct timespec until = {(time_t)(due / TL_SEC), (long)(due % TL_SEC)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static int write_line(char *line, uint64_t number)
{
	size_t done = 0;

	line_stamp(line, number, tl_wall_ns());
	while (done < LINE_BYTES) {
		ssize_t n = write(1, line + done, LINE_BYTES - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static char pool[LINE_POOL][LINE_BYTES];
	uint64_t lines = argc == 3 ? strtoull(argv[1], NULL, 10) : 0,
		 rate = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	unsigned burst = rate > 10000 ? 16 : 1;
	uint64_t start = tl_mono_ns(), cpu;

	if (!lines) {
		fprintf(stderr, "usage: bench_writer LINES RATE\n");
		return 2;
	}
	for (unsigned i = 0; i < LINE_POOL; i++)
		line_make(pool[i], i);
	cpu = cpu_ns();
	for (uint64_t n = 1; n <= lines; n++) {
		if (write_line(pool[n % LINE_POOL], n) < 0)
			return 1;
		if (rate && n % burst == 0)
			pace(start, n, rate);
	}
	fprintf(stderr, "%.0f\n", (double)(cpu_ns() - cpu) / (double)lines);
	return 0;
}
