/* SPDX-License-Identifier: Apache-2.0 */
/* Small C services under test: `cserver PORT threads|reactor|shared|batched|forks`.
 * threads: a thread per connection reads, logs and answers. reactor: one thread reads with epoll, a
 * pool of 8 logs and answers. shared: as reactor, and the pool runs jobs of nobody's request too
 * (JOBS a second). batched: as threads, its lines through a stdio buffer that all threads share.
 * forks: processes that serve a few connections each, and whose successors have their process ids.
 * CHURN=1: a thread that takes and frees file descriptors all the time, of files, pipes and
 * sockets, so that a connection's number is something else's before and after. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/correlate/sha256.h"

#define HEAD_MAX 65536
#define WORKERS 8
#define CHURNED 32
#define CONNECTIONS_OF_A_PROCESS 20

struct client {
	int fd;
	size_t len;
	bool close;
	char path[64], gt[GT_LEN + 1];
	struct client *next;
	char head[HEAD_MAX + 1];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct client *first, *last;
} queue = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL};
static struct client job; /* stands for one of nobody's */
static int poller = -1;
static bool batched;

static void say(const char *class, const char *gt, const char *text)
{
	char line[256];
	int n;

	if (batched) {
		printf("level=info class=%s gt=%s msg=\"%s\"\n", class, gt, text);
		return;
	}
	n = snprintf(line, sizeof(line), "level=info class=%s gt=%s msg=\"%s\"\n", class, gt, text);
	if (write(1, line, (size_t)n) < 0)
		exit(1);
}

static void nap(unsigned us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&t, NULL);
}

static void pause_a_little(void)
{
	static __thread unsigned seed;

	if (!seed)
		seed = (unsigned)pthread_self() | 1;
	if (rand_r(&seed) & 1)
		nap((unsigned)rand_r(&seed) % 2000);
}

static const char *header(const char *head, const char *name, size_t *ret_len)
{
	size_t n = strlen(name);

	for (const char *p = strchr(head, '\n'); p; p = strchr(p, '\n')) {
		if (strncasecmp(++p, name, n) || p[n] != ':')
			continue;
		p += n + 1;
		p += strspn(p, " \t");
		*ret_len = strcspn(p, "\r\n");
		while (*ret_len && (p[*ret_len - 1] == ' ' || p[*ret_len - 1] == '\t'))
			--*ret_len;
		return p;
	}
	return NULL;
}

/* One read. Returns 1 a request is whole, 0 more is needed, -1 the connection is over. */
static int read_more(struct client *c)
{
	ssize_t n = read(c->fd, c->head + c->len, HEAD_MAX - c->len);
	const char *value;
	size_t len = 0;

	if (n <= 0)
		return -1;
	c->len += (size_t)n;
	c->head[c->len] = '\0';
	if (!strstr(c->head, "\r\n\r\n"))
		return c->len < HEAD_MAX ? 0 : -1;
	if (sscanf(c->head, "%*s %63[^ ?]", c->path) != 1)
		return -1;
	value = header(c->head, "x-request-id", &len);
	if (value && len)
		gt_of(value, len, c->gt);
	else
		strcpy(c->gt, "none");
	value = header(c->head, "connection", &len);
	c->close = value && strncasecmp(value, "close", 5) == 0;
	return 1;
}

static void *child(void *arg)
{
	pause_a_little();
	say("child", arg, "child's work");
	free(arg);
	return NULL;
}

static void start_child(const char *gt)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, child, strdup(gt)) == 0)
		pthread_detach(thread);
}

static void answer(struct client *c)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n%s\n",
			 strlen(c->gt) + 1, c->close ? "Connection: close\r\n" : "", c->gt);

	if (write(c->fd, text, (size_t)n) < 0)
		c->close = true;
}

static void serve(struct client *c)
{
	say("sync", c->gt, "begin");
	pause_a_little();
	say("after-await", c->gt, "worked");
	if (strcmp(c->path, "/child") == 0)
		start_child(c->gt);
	answer(c);
	say("access-log", c->gt, "done");
	if (strcmp(c->path, "/late") == 0) {
		nap(200);
		say("after-response", c->gt, "late");
	}
	c->len = 0;
}

static void end(struct client *c)
{
	close(c->fd);
	free(c);
}

static void *connection(void *arg)
{
	struct client *c = arg;
	int r;

	do {
		while ((r = read_more(c)) == 0)
			;
		if (r > 0)
			serve(c);
	} while (r > 0 && !c->close);
	end(c);
	return NULL;
}

static void push(struct client *c)
{
	pthread_mutex_lock(&queue.lock);
	c->next = NULL;
	if (queue.last)
		queue.last->next = c;
	else
		queue.first = c;
	queue.last = c;
	pthread_cond_signal(&queue.change);
	pthread_mutex_unlock(&queue.lock);
}

static struct client *pop(void)
{
	struct client *c;

	pthread_mutex_lock(&queue.lock);
	while (!queue.first)
		pthread_cond_wait(&queue.change, &queue.lock);
	c = queue.first;
	queue.first = c->next;
	if (!queue.first)
		queue.last = NULL;
	pthread_mutex_unlock(&queue.lock);
	return c;
}

static void arm(struct client *c, int how)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = c};

	epoll_ctl(poller, how, c->fd, &event);
}

static void *worker(void *arg)
{
	for (;;) {
		struct client *c = pop();

		if (c->fd < 0) {
			say("background", "-", "job on the pool");
			free(c);
			continue;
		}
		serve(c);
		if (c->close)
			end(c);
		else
			arm(c, EPOLL_CTL_MOD);
	}
	return arg;
}

static void *reactor(void *arg)
{
	struct epoll_event events[64];

	for (;;) {
		int n = epoll_wait(poller, events, 64, -1);

		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			int r = read_more(c);

			if (r > 0)
				push(c);
			else if (r < 0)
				end(c);
			else
				arm(c, EPOLL_CTL_MOD);
		}
	}
	return arg;
}

static unsigned rate(const char *name)
{
	const char *text = getenv(name);

	return text ? (unsigned)atoi(text) : 0;
}

static void *background(void *arg)
{
	unsigned lines = rate("BACKGROUND"), jobs = arg ? rate("JOBS") : 0;
	unsigned most = lines > jobs ? lines : jobs;

	while (most) {
		nap(1000000 / most);
		if (lines)
			say("background", "-", "housekeeping");
		if (jobs) {
			struct client *c = calloc(1, sizeof(*c));

			c->fd = -1;
			push(c);
		}
	}
	return NULL;
}

static void start(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg) != 0)
		exit(1);
	pthread_detach(thread);
}

static int any_fd(unsigned n)
{
	int pair[2];

	if (n % 3 == 0)
		return open("/dev/null", O_WRONLY);
	if (n % 3 == 1)
		return socket(AF_INET, SOCK_STREAM, 0);
	if (pipe(pair))
		return -1;
	close(pair[0]);
	return pair[1];
}

static void *churn(void *arg)
{
	int fds[CHURNED];

	for (unsigned n = 0;; n++) {
		for (unsigned i = 0; i < CHURNED; i++)
			fds[i] = any_fd(n + i);
		nap(1000);
		for (unsigned i = 0; i < CHURNED; i++)
			if (fds[i] >= 0)
				close(fds[i]);
	}
	return arg;
}

/* --- forks --- */

static _Noreturn void serve_some(int server)
{
	say("background", "-", "a process begins");
	for (int i = 0; i < CONNECTIONS_OF_A_PROCESS; i++) {
		struct client *c = calloc(1, sizeof(*c));
		int r = 0;

		if (!c)
			break;
		c->fd = accept(server, NULL, NULL);
		while (c->fd >= 0 && (r = read_more(c)) == 0)
			;
		if (r > 0)
			serve(c);
		end(c);
	}
	say("background", "-", "a process ends");
	_exit(0);
}

/* Under this process id, where it is free and we may choose. */
static pid_t start_process(int server, pid_t wanted)
{
	struct clone_args args = {.exit_signal = SIGCHLD,
				  .set_tid = wanted ? (uint64_t)(uintptr_t)&wanted : 0,
				  .set_tid_size = wanted ? 1 : 0};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0 && wanted)
		return start_process(server, 0);
	if (pid == 0)
		serve_some(server);
	return pid;
}

static void keep_processes(int server)
{
	for (int i = 0; i < WORKERS; i++)
		start_process(server, 0);
	for (;;) {
		pid_t ended = waitpid(-1, NULL, 0);

		if (ended > 0)
			start_process(server, ended);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);
	bool pooled;

	if (argc != 3)
		return 2;
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	batched = strcmp(argv[2], "batched") == 0;
	pooled = strcmp(argv[2], "reactor") == 0 || strcmp(argv[2], "shared") == 0;
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(server, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(server, 1024) < 0)
		return 1;
	say("startup", "-", "starting");
	start(background, strcmp(argv[2], "shared") == 0 ? &job : NULL);
	if (rate("CHURN"))
		start(churn, NULL);
	if (strcmp(argv[2], "forks") == 0)
		keep_processes(server);
	if (pooled) {
		poller = epoll_create1(0);
		start(reactor, NULL);
		for (int i = 0; i < WORKERS; i++)
			start(worker, NULL);
	}
	for (;;) {
		struct client *c = malloc(sizeof(*c));

		if (!c)
			return 1;
		memset(c, 0, offsetof(struct client, head));
		c->fd = accept(server, NULL, NULL);
		if (c->fd < 0)
			free(c);
		else if (pooled)
			arm(c, EPOLL_CTL_ADD);
		else
			start(connection, c);
	}
}
