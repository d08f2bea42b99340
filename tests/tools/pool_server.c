/* SPDX-License-Identifier: Apache-2.0 */
/* A server that hands requests over: one thread reads them (epoll), workers take them from a queue,
 * log and answer. The pool also runs jobs that log lines of their own, and a timer logs in a thread
 * of its own. Each line of a request ends in `gt=` with the value of the query's gt; others have
 * none. `pool_server PORT WORKERS JOBS`: JOBS is 1 for jobs on the pool. Ends at SIGTERM. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUE 4096

struct item {
	int fd; /* -1: a job */
	char gt[64];
};

static struct item queue[QUEUE];
static unsigned head, tail;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static int loop;

static void push(const struct item *item)
{
	pthread_mutex_lock(&lock);
	if (tail - head < QUEUE)
		queue[tail++ % QUEUE] = *item;
	pthread_cond_signal(&filled);
	pthread_mutex_unlock(&lock);
}

static struct item pop(void)
{
	struct item item;

	pthread_mutex_lock(&lock);
	while (head == tail)
		pthread_cond_wait(&filled, &lock);
	item = queue[head++ % QUEUE];
	pthread_mutex_unlock(&lock);
	return item;
}

static void say(const char *what, int number, const char *gt)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "%s n=%d%s%s\n", what, number, gt ? " gt=" : "",
			 gt ? gt : "");

	if (write(1, line, (size_t)n) < 0)
		exit(1);
}

static void answer(const struct item *item, int number)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = item->fd};

	say("begin", number, item->gt);
	if (number % 4 == 0)
		usleep(300);
	say("about to answer", number, item->gt);
	if (write(item->fd, text, sizeof(text) - 1) < 0) {
		close(item->fd);
		return;
	}
	if (number % 2)
		say("answered", number, item->gt);
	epoll_ctl(loop, EPOLL_CTL_MOD, item->fd, &event);
}

static void *work(void *arg)
{
	(void)arg;
	for (int number = 0;; number++) {
		struct item item = pop();

		if (item.fd < 0)
			say("job", number, NULL);
		else
			answer(&item, number);
	}
	return NULL;
}

static void *tick(void *jobs)
{
	const struct item job = {.fd = -1};

	for (int number = 0;; number++) {
		usleep(2000);
		if (number % 10 == 0)
			say("tick", number, NULL);
		if (jobs)
			push(&job);
	}
	return NULL;
}

static void take(int fd)
{
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	struct item item = {.fd = fd};
	const char *gt;

	if (n <= 0) {
		close(fd);
		return;
	}
	text[n] = '\0';
	gt = strstr(text, "gt=");
	if (gt)
		sscanf(gt + 3, "%63[0-9a-f]", item.gt);
	push(&item);
}

static int listen_on(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 512) < 0) {
		perror("pool_server");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event events[64], event = {.events = EPOLLIN};
	pthread_t thread;
	int fd;

	if (argc < 4)
		return 2;
	fd = listen_on(atoi(argv[1]));
	loop = epoll_create1(0);
	event.data.fd = fd;
	epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
	for (int i = 0; i < atoi(argv[2]); i++)
		pthread_create(&thread, NULL, work, NULL);
	pthread_create(&thread, NULL, tick, atoi(argv[3]) ? argv : NULL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int n = epoll_wait(loop, events, 64, -1);

		for (int i = 0; i < n; i++) {
			struct epoll_event client = {.events = EPOLLIN | EPOLLONESHOT};

			if (events[i].data.fd != fd) {
				take(events[i].data.fd);
				continue;
			}
			client.data.fd = accept(fd, NULL, NULL);
			epoll_ctl(loop, EPOLL_CTL_ADD, client.data.fd, &client);
		}
	}
}
