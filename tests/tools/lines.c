/* SPDX-License-Identifier: Apache-2.0 */
/* A service that only logs: writes numbered lines to stdout at a steady rate, one write(2) a line,
 * and its truth (lines and bytes that the kernel accepted) to a file at its end. usage: lines COUNT
 * RATE SIZE TRUTH [TAG]     TRUTH may be -, for none; RATE in lines/s, 0 as fast as it goes; SIZE
 * bytes a line with its newline */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_LINE 65536

static volatile sig_atomic_t stop; /* SIGTERM: the line being written is the last one */

static void on_term(int signal_number)
{
	(void)signal_number;
	stop = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pace(uint64_t start, uint64_t n, uint64_t rate)
{
	uint64_t due = start + n * 1000000000u / rate, now = now_ns();
	struct timespec t;

	if (now >= due)
		return;
	t.tv_sec = (time_t)((due - now) / 1000000000u);
	t.tv_nsec = (long)((due - now) % 1000000000u);
	nanosleep(&t, NULL);
}

static int write_truth(const char *path, uint64_t lines, uint64_t bytes)
{
	FILE *file;

	if (strcmp(path, "-") == 0)
		return 0;
	file = fopen(path, "w");
	if (!file)
		return 1;
	fprintf(file, "lines=%llu\nbytes=%llu\n", (unsigned long long)lines,
		(unsigned long long)bytes);
	return fclose(file);
}

int main(int argc, char **argv)
{
	static char line[SIZE_MAX_LINE];
	uint64_t count, rate, size, bytes = 0, start = now_ns(), n;
	const char *tag = argc > 5 ? argv[5] : "t";

	if (argc < 5) {
		fprintf(stderr, "usage: lines COUNT RATE SIZE TRUTH [TAG]\n");
		return 2;
	}
	count = strtoull(argv[1], NULL, 10);
	rate = strtoull(argv[2], NULL, 10);
	size = strtoull(argv[3], NULL, 10);
	if (size < 64 || size > sizeof(line))
		size = 64;
	memset(line, 'x', sizeof(line));
	signal(SIGTERM, on_term);
	for (n = 0; n < count && !stop; n++) {
		int len = snprintf(line, 64, "tag=%s n=%llu ", tag, (unsigned long long)n + 1);
		size_t off = 0;

		line[len] = 'x';
		line[size - 1] = '\n';
		while (off < size) {
			ssize_t r = write(1, line + off, size - off);

			if (r < 0 && errno != EINTR && errno != EAGAIN)
				goto out;
			if (r > 0)
				off += (size_t)r, bytes += (uint64_t)r;
		}
		if (rate && n % 16 == 15)
			pace(start, n, rate);
	}
out:
	return write_truth(argv[4], n, bytes);
}
