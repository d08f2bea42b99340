/* SPDX-License-Identifier: Apache-2.0 */
/* The process that is captured: `writer KIND [COUNT]` writes the pattern to its fd 1 by one kind of
 * call, reports how many bytes the kernel accepted on WRITER_REPORT, and ends. Needs nothing but
 * libc. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/capture/pattern.h"

static uint64_t written; /* accepted so far */
static char data[4 << 20];
static const char *self;

static void die(const char *what)
{
	fprintf(stderr, "writer: %s: %s\n", what, strerror(errno));
	_exit(9);
}

static void report(uint64_t value)
{
	if (write(WRITER_REPORT, &value, sizeof(value)) != sizeof(value))
		die("report");
}

static void wait_go(void)
{
	char byte;

	if (read(WRITER_GO, &byte, 1) != 1)
		die("go");
}

/* The next n bytes of the pattern. */
static char *next(size_t n)
{
	pattern_fill(data, written, n);
	return data;
}

static void took(ssize_t n)
{
	if (n < 0)
		die("write");
	written += (uint64_t)n;
}

/* Cuts the next n bytes into `count` segments of different lengths, empty ones among them. */
static int cut(struct iovec *iov, int count, size_t n)
{
	char *p = next(n);
	size_t left = n;

	for (int i = 0; i < count; i++) {
		size_t len = i == count - 1 ? left
			     : i % 5 == 3   ? 0
					    : (n / (size_t)count) + (size_t)(i % 3);

		if (len > left)
			len = left;
		iov[i] = (struct iovec){p, len};
		p += len;
		left -= len;
	}
	return count;
}

static void do_write(int count)
{
	static const size_t sizes[] = {1,    127,  128,	 129,  256,   700,
				       1024, 2000, 4096, 8192, 16384, 16385};

	for (int i = 0; i < count; i++) {
		size_t n = sizes[(size_t)i % (sizeof(sizes) / sizeof(sizes[0]))];

		took(write(1, next(n), n));
	}
}

static void do_small(int count)
{
	for (int i = 0; i < count; i++)
		took(write(1, next(100), 100));
}

/* Small writes with pauses, about 10,000 a second, until the next byte from the test. */
static void do_paced(int count)
{
	(void)count;
	fcntl(WRITER_GO, F_SETFL, O_NONBLOCK);
	for (char byte; read(WRITER_GO, &byte, 1) != 1;) {
		took(write(1, next(100), 100));
		usleep(50);
	}
}

static void do_big(int count)
{
	for (int i = 0; i < count; i++)
		took(write(1, next(1000000), 1000000));
}

static void do_writev(int count)
{
	struct iovec iov[8];

	for (int i = 0; i < count; i++)
		took(writev(1, iov, cut(iov, 1 + i % 8, 50 + 333 * (size_t)i)));
}

static void do_iovecs(int count)
{
	static struct iovec iov[1024];

	took(writev(1, iov, cut(iov, count, 100000)));
	took(writev(1, iov, cut(iov, count, (size_t)count)));
}

static void do_pwrite(int count)
{
	for (int i = 0; i < count; i++)
		took(pwrite(1, next(321), 321, (off_t)written));
}

static void do_pwritev(int count)
{
	struct iovec iov[3];

	for (int i = 0; i < count; i++)
		took(pwritev(1, iov, cut(iov, 3, 500), (off_t)written));
}

static void do_pwritev2(int count)
{
	struct iovec iov[3];

	for (int i = 0; i < count; i++)
		took(pwritev2(1, iov, cut(iov, 3, 500), (off_t)written, 0));
}

static void do_sendto(int count)
{
	for (int i = 0; i < count; i++)
		took(send(1, next(200), 200, 0));
}

static void do_sendmsg(int count)
{
	struct iovec iov[4];

	for (int i = 0; i < count; i++) {
		struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)cut(iov, 1 + i % 4, 400)};

		took(sendmsg(1, &m, 0));
	}
}

static void do_sendmmsg(int count)
{
	struct iovec iov[16];
	struct mmsghdr m[16] = {0};
	size_t n = count < 16 ? (size_t)count : 16;

	pattern_fill(data, written, n * 60);
	for (size_t i = 0; i < n; i++) {
		iov[i] = (struct iovec){data + i * 60, 60};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	if (sendmmsg(1, m, (unsigned)n, 0) != (int)n)
		die("sendmmsg");
	written += n * 60;
}

/* A datagram to an address given in each call, from a socket that is not connected. */
static void do_named(int count)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	for (int i = 0; i < count; i++)
		took(sendto(fd, next(150), 150, 0, (struct sockaddr *)&to, sizeof(to)));
}

/* Full and half full pipes: short writes and EAGAIN, waited out in between. */
static void do_nonblock(int count)
{
	fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
	for (int i = 0; i < count;) {
		ssize_t n = write(1, next(100000), 100000);

		if (n < 0 && errno != EAGAIN)
			die("write");
		if (n > 0) {
			written += (uint64_t)n;
			i++;
		}
		usleep(200);
	}
}

static void do_dup(int count)
{
	int fd = dup(1);

	dup2(2, 1);
	dup2(fd, 2);
	for (int i = 0; i < count; i++)
		took(write(fd, next(77), 77));
}

static void do_fork(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			took(write(1, next(40), 40));
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		written += 40;
	}
}

/* Goes on as another program image, with the count of what was written so far. */
static void do_exec(int count)
{
	char at[32];

	took(write(1, next(60), 60));
	if (count <= 1)
		return;
	snprintf(at, sizeof(at), "%llu", (unsigned long long)written);
	setenv("WRITER_AT", at, 1);
	snprintf(at, sizeof(at), "%d", count - 1);
	execl(self, self, "exec", at, NULL);
	die("exec");
}

/* Two steps, each on a byte from the test. */
static void do_steps(int count)
{
	for (int i = 0; i < count; i++) {
		wait_go();
		took(write(1, next(500), 500));
		report(written);
	}
}

static void do_sendfile(int count)
{
	int fd = open(self, O_RDONLY);

	if (sendfile(1, fd, NULL, (size_t)count) != count)
		die("sendfile");
	took(write(1, next(10), 10));
	if (sendfile(1, fd, NULL, 1000) != 1000)
		die("sendfile");
}

static void no_compat(int signal)
{
	(void)signal;
	_exit(77);
}

/* write(2) by the 32-bit entry: number 4, arguments in bx, cx, dx. */
static void do_compat(int count)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long n;

	if (low == MAP_FAILED)
		die("mmap");
	signal(SIGSEGV, no_compat);
	for (int i = 0; i < count; i++) {
		pattern_fill(low, written, 90);
		__asm__ volatile("int $0x80"
				 : "=a"(n)
				 : "a"(4L), "b"(1L), "c"((long)low), "d"(90L)
				 : "memory");
		if (n == -ENOSYS)
			_exit(77);
		took(n);
	}
}

/* Writes while 100 other processes of ours hang in a write to a full pipe. */
static void do_blocked(int count)
{
	pid_t pids[100];
	int full[2];

	if (pipe(full) < 0)
		die("pipe");
	for (int i = 0; i < 100; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			if (dup2(full[1], 1) < 0 || write(1, data, sizeof(data)) < 0)
				die("full pipe");
			_exit(0);
		}
	}
	usleep(100000); /* not waited for: whoever does not hang yet hangs later */
	do_small(count);
	for (int i = 0; i < 100; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

/* Eight processes at once, COUNT lines each. */
static void do_storm(int count)
{
	for (int i = 0; i < 8; i++)
		if (fork() == 0) {
			do_small(count);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	written = 800ULL * (uint64_t)count;
}

/* Writes the pattern to a file that is not behind fd 1 or 2. */
static void do_file(int count)
{
	int fd = open(getenv("WRITER_FILE"), O_RDWR | O_CREAT, 0600);

	for (int i = 0; i < count; i++)
		took(write(fd, next(64), 64));
}

static int serve(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 4) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		die("listen");
	report(ntohs(a.sin_port));
	return accept(fd, NULL, NULL);
}

/* Reads one request as it comes, answers in two segments, and reads to the end of the connection.
 */
static void do_http(int count)
{
	struct iovec iov[2] = {{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 38}, {"hello", 5}};
	char request[4096], peek[8];
	size_t have = 0;
	int fd = serve();

	recv(fd, peek, sizeof(peek), MSG_PEEK);
	while (have < sizeof(request) - 1) {
		ssize_t n = count == 1 ? read(fd, request + have, sizeof(request) - 1 - have)
				       : recv(fd, request + have, sizeof(request) - 1 - have, 0);

		if (n <= 0)
			break;
		have += (size_t)n;
		request[have] = '\0';
		if (strstr(request, "\r\n\r\n"))
			break;
	}
	if (writev(fd, iov, 2) != 43)
		die("answer");
	while (read(fd, request, sizeof(request)) > 0)
		;
	close(fd);
}

/* Echoes what is no HTTP. */
static void do_echo(int count)
{
	char buf[64];
	int fd = serve();
	ssize_t n;

	(void)count;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(fd, buf, (size_t)n) != n)
			die("echo");
	close(fd);
}

static void *sleep_a_little(void *word)
{
	(void)word;
	usleep(1000);
	return NULL;
}

/* Pairs of writes with something between them: see a_line_tells_how_long_ago_its_thread_waited. */
static void do_waits(int count)
{
	struct timespec little = {.tv_nsec = 1000000};
	pthread_t thread = 0;
	struct pollfd wait[2] = {{.fd = -1}, {.fd = -1}};
	int ends[2], word = 0;
	char byte = 0;

	if (pipe(ends) < 0 || write(ends[1], &byte, 1) != 1)
		die("pipe");
	for (int step = 0; step < count; step++) {
		took(write(1, next(100), 100));
		switch (step) {
		case 1:
			poll(wait, 2, 1);
			break;
		case 2:
			syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, &little, NULL, 0);
			break;
		case 6: /* for nothing else than one descriptor, and time */
			poll(wait, 1, 1);
			usleep(1000);
			break;
		case 3: /* the word has another value: no wait */
			syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 1, &little, NULL, 0);
			break;
		case 4:
			if (read(ends[0], &byte, 1) != 1)
				die("pipe");
			break;
		case 5: /* another thread's wait */
			if (pthread_create(&thread, NULL, sleep_a_little, NULL))
				die("thread");
			for (uint64_t i = 0; i < 10000000; i++)
				__asm__ volatile("");
			break;
		}
	}
	if (count > 5)
		pthread_join(thread, NULL);
}

static const struct {
	const char *name;
	void (*run)(int count);
} kinds[] = {
	{"write", do_write},	   {"small", do_small},	      {"paced", do_paced},
	{"big", do_big},	   {"writev", do_writev},     {"iovecs", do_iovecs},
	{"pwrite", do_pwrite},	   {"pwritev", do_pwritev},   {"pwritev2", do_pwritev2},
	{"sendto", do_sendto},	   {"sendmsg", do_sendmsg},   {"sendmmsg", do_sendmmsg},
	{"named", do_named},	   {"nonblock", do_nonblock}, {"dup", do_dup},
	{"fork", do_fork},	   {"exec", do_exec},	      {"steps", do_steps},
	{"sendfile", do_sendfile}, {"compat", do_compat},     {"storm", do_storm},
	{"blocked", do_blocked},   {"file", do_file},	      {"http", do_http},
	{"echo", do_echo},	   {"waits", do_waits},
};

int main(int argc, char **argv)
{
	self = argv[0];
	if (getenv("WRITER_AT"))
		written = strtoull(getenv("WRITER_AT"), NULL, 10);
	for (size_t i = 0; argc > 1 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, argv[1])) {
			kinds[i].run(argc > 2 ? atoi(argv[2]) : 1);
			report(written);
			return 0;
		}
	fprintf(stderr, "usage: writer KIND [COUNT]\n");
	return 2;
}
