/* SPDX-License-Identifier: Apache-2.0 */
/* A PostgreSQL server of the test's own, and in front of it a proxy in this process that cuts the
 * connection at a COMMIT: before the server hears it, or after, so that its answer is lost. */
#ifndef TL_TEST_POSTGRES_PROXY_H
#define TL_TEST_POSTGRES_PROXY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "userspace/base/cleanup.h"

enum cut { CUT_NOTHING, CUT_BEFORE_COMMIT, CUT_AFTER_COMMIT };

static struct {
	char dir[64], dsn[160], direct[160];
	int port, listener;
	pthread_t thread;
	volatile int cut, cuts, over;
	PGconn *control; /* straight to the server */
} pg;

static bool forward(int from, int to, char *bytes, ssize_t *n)
{
	*n = read(from, bytes, 65536);
	return *n > 0 && write(to, bytes, (size_t)*n) == *n;
}

/* One direction of the client's bytes; true: go on. */
static bool client_says(int client, int server)
{
	char bytes[65536];
	ssize_t n = recv(client, bytes, sizeof(bytes), MSG_PEEK);
	bool commit = n == 12 && memcmp(bytes, "Q\0\0\0\vCOMMIT", 12) == 0;
	struct pollfd answer = {.fd = server, .events = POLLIN};

	if (!commit || pg.cut == CUT_NOTHING)
		return forward(client, server, bytes, &n);
	pg.cuts++;
	if (pg.cut == CUT_AFTER_COMMIT && forward(client, server, bytes, &n))
		poll(&answer, 1, 10000);
	pg.cut = CUT_NOTHING;
	return false;
}

static void serve(int client)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)pg.port)};
	struct pollfd fds[2];
	char bytes[65536];
	ssize_t n;
	int server = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(server, (struct sockaddr *)&to, sizeof(to)) == 0)
		while (!pg.over) {
			fds[0] = (struct pollfd){.fd = client, .events = POLLIN};
			fds[1] = (struct pollfd){.fd = server, .events = POLLIN};
			if (poll(fds, 2, 50) <= 0)
				continue;
			if (fds[0].revents && !client_says(client, server))
				break;
			if (fds[1].revents && !forward(server, client, bytes, &n))
				break;
		}
	close(server);
	close(client);
}

/* One connection at a time: the sink has one. */
static void *proxy(void *arg)
{
	(void)arg;
	while (!pg.over) {
		struct pollfd fd = {.fd = pg.listener, .events = POLLIN};

		if (poll(&fd, 1, 50) > 0)
			serve(accept(pg.listener, NULL, NULL));
	}
	return NULL;
}

static int run(const char *verb)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "tests/servers/postgres.sh %s --dir %s $OWNER >> %s.log 2>&1", verb, pg.dir,
		 pg.dir);
	return system(command);
}

static int read_port(void)
{
	char path[128], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/env", pg.dir);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "PGPORT=%d", &pg.port) == 1)
			break;
	if (file)
		fclose(file);
	snprintf(path, sizeof(path), "%s/pgpass", pg.dir);
	return pg.port;
}

/* The password of pgpass is for the server's port; the proxy has another. */
static void read_password(char out[64])
{
	char path[128], line[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/pgpass", pg.dir);
	file = fopen(path, "r");
	if (file && fgets(line, sizeof(line), file))
		line[strcspn(line, "\n")] = '\0';
	if (file)
		fclose(file);
	snprintf(out, 64, "%s", strrchr(line, ':') ? strrchr(line, ':') + 1 : "");
}

/* Returns 0, 1 there is no server to be had here. */
static int start_postgres(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	char password[64], owner[32];

	snprintf(pg.dir, sizeof(pg.dir), "/tmp/tapline-unit-pg.XXXXXX");
	snprintf(owner, sizeof(owner), "--owner %d", (int)getpid());
	setenv("OWNER", owner, 1);
	if (access("tests/servers/postgres.sh", X_OK) < 0 || !mkdtemp(pg.dir) ||
	    run("start") != 0 || !read_port())
		return 1;
	read_password(password);
	setenv("PGPASSWORD", password, 1);
	pg.listener = socket(AF_INET, SOCK_STREAM, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(pg.listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(pg.listener, 8), 0);
	getsockname(pg.listener, (struct sockaddr *)&at, &len);
	snprintf(pg.dsn, sizeof(pg.dsn),
		 "host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable",
		 ntohs(at.sin_port));
	snprintf(pg.direct, sizeof(pg.direct),
		 "host=127.0.0.1 port=%d user=postgres dbname=postgres", pg.port);
	pthread_create(&pg.thread, NULL, proxy, NULL);
	pg.control = PQconnectdb(pg.direct);
	PQclear(PQexec(pg.control, "SET client_min_messages = warning"));
	return PQstatus(pg.control) != CONNECTION_OK;
}

static void stop_postgres(void)
{
	char command[192];

	pg.over = 1;
	if (pg.thread)
		pthread_join(pg.thread, NULL);
	PQfinish(pg.control);
	setenv("OWNER", "", 1);
	run("stop");
	snprintf(command, sizeof(command), "rm -rf '%s' '%s.log'", pg.dir, pg.dir);
	(void)!system(command);
}

static void sql(const char *statement)
{
	PGresult *result = PQexec(pg.control, statement);

	if (PQresultStatus(result) == PGRES_FATAL_ERROR)
		fail_msg("%s: %s", statement, PQresultErrorMessage(result));
	PQclear(result);
}

/* The first value of a query, as a number. */
static long long number(const char *query)
{
	PGresult *result = PQexec(pg.control, query);
	long long out;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", query, PQresultErrorMessage(result));
	out = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);
	return out;
}

#endif
