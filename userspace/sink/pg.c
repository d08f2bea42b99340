/* SPDX-License-Identifier: Apache-2.0 */
/* libpq without its blocking calls: a server that is frozen keeps its sockets open and would hold
 * PQexec for ever. Each wait polls in short slices, so that a stop is seen; a stop lets what is
 * under way end for some seconds, because a commit in flight is better known than guessed.
 *
 * SQLSTATE decides what a failure means. While connecting libpq gives none, but writes it into its
 * message when asked to be verbose, in any language. */
#include "userspace/sink/pg.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/backoff.h"

#define SLICE_MS 100
#define STOP_GRACE_NS (3 * TL_SEC)
#define CONNECT_MAX_NS (15 * TL_SEC)
#define BACKOFF_MAX_NS (10 * TL_SEC)

static struct tl_metric connects = {.name = "tapline_sink_connects_total",
				    .type = TL_COUNTER,
				    .help = "Connections made to the target."};

int tl_pg_class(const char *state)
{
	static const char *const again[] = {"08", "40", "53", "57", "58", "XX", "55", "25", "F0"};
	static const char *const row[] = {"22", "23", "54", "44", "P0"};

	if (!*state || strcmp(state, "26000") == 0)
		return -EAGAIN;
	for (size_t i = 0; i < ARRAY_SIZE(again); i++)
		if (strncmp(state, again[i], 2) == 0)
			return -EAGAIN;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++)
		if (strncmp(state, row[i], 2) == 0)
			return -EBADMSG;
	return -EPROTO;
}

static bool is_state(const char *p)
{
	for (int i = 0; i < 5; i++)
		if (!isdigit((unsigned char)p[i]) && !isupper((unsigned char)p[i]))
			return false;
	return p[5] == ':';
}

/* One line of a message, with the SQLSTATE of a verbose one taken out into `state`. */
static void note(struct tl_pg *pg, const char *message)
{
	const char *p = strstr(message, "FATAL:  ");

	pg->state[0] = '\0';
	p = p ? p + 8 : message;
	if (p != message && is_state(p)) {
		memcpy(pg->state, p, 5);
		pg->state[5] = '\0';
		p += 7;
	}
	snprintf(pg->why, sizeof(pg->why), "%.*s", (int)strcspn(p, "\n"), p);
}

static void note_where(struct tl_pg *pg)
{
	const char *host = PQhost(pg->conn), *port = PQport(pg->conn), *db = PQdb(pg->conn),
		   *user = PQuser(pg->conn);

	snprintf(pg->where, sizeof(pg->where), "%.80s:%.8s, database %.60s, user %.60s",
		 host && *host ? host : "localhost", port ? port : "", db ? db : "",
		 user ? user : "");
}

void tl_pg_drop(struct tl_pg *pg)
{
	if (pg->conn)
		PQfinish(TAKE_PTR(pg->conn));
}

static bool stopped_long_ago(struct tl_pg *pg)
{
	if (!pg->stop || !*pg->stop)
		return false;
	if (!pg->stopped_ns)
		pg->stopped_ns = tl_mono_ns();
	return tl_mono_ns() - pg->stopped_ns > STOP_GRACE_NS;
}

/* Until the socket is ready for one of `events`. */
static int wait_socket(struct tl_pg *pg, short events, uint64_t deadline)
{
	for (;;) {
		struct pollfd fd = {.fd = PQsocket(pg->conn), .events = events};

		if (poll(&fd, 1, SLICE_MS) > 0)
			return 0;
		if (stopped_long_ago(pg)) {
			tl_pg_drop(pg);
			return -EINTR;
		}
		if (tl_mono_ns() >= deadline) {
			pg->state[0] = '\0';
			snprintf(pg->why, sizeof(pg->why), "the server does not answer");
			tl_pg_drop(pg);
			return -EAGAIN;
		}
	}
}

/* The connection is no good: notes why. */
static int lost(struct tl_pg *pg)
{
	note(pg, PQerrorMessage(pg->conn));
	tl_pg_drop(pg);
	return -EAGAIN;
}

static int connect_failed(struct tl_pg *pg)
{
	int r;

	note_where(pg);
	note(pg, PQerrorMessage(pg->conn));
	if (PQconnectionNeedsPassword(pg->conn))
		snprintf(pg->state, sizeof(pg->state), "28P01");
	r = tl_pg_class(pg->state);
	tl_pg_drop(pg);
	return r == -EBADMSG ? -EPROTO : r;
}

/* What each session needs; names are always written with their schema. */
static const char session[] =
	"SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET statement_timeout = 0; "
	"SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '120s'; "
	"SET client_min_messages = warning; SET extra_float_digits = 1";

static void on_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

int tl_pg_connect(struct tl_pg *pg)
{
	const char *const keys[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
	const char *const values[] = {pg->dsn, "tapline-sink", "UTF8", NULL};
	uint64_t limit = pg->timeout_ns < CONNECT_MAX_NS ? pg->timeout_ns : CONNECT_MAX_NS;
	uint64_t deadline = tl_mono_ns() + limit;
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	if (pg->conn && PQstatus(pg->conn) == CONNECTION_OK)
		return 0;
	tl_pg_drop(pg);
	pg->conn = PQconnectStartParams(keys, values, 1);
	if (!pg->conn)
		return -EAGAIN;
	PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE);
	while (PQstatus(pg->conn) != CONNECTION_BAD && state != PGRES_POLLING_OK) {
		int r = wait_socket(pg, state == PGRES_POLLING_READING ? POLLIN : POLLOUT,
				    deadline);

		if (r < 0)
			return r;
		state = PQconnectPoll(pg->conn);
		if (state == PGRES_POLLING_FAILED)
			break;
	}
	if (PQstatus(pg->conn) != CONNECTION_OK)
		return connect_failed(pg);
	note_where(pg);
	PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
	PQsetNoticeProcessor(pg->conn, on_notice, NULL);
	PQsetnonblocking(pg->conn, 1);
	tl_metric_add(&connects, 1);
	return tl_pg_exec(pg, session);
}

/* Sends what libpq holds, reading meanwhile what the server says. */
static int flush(struct tl_pg *pg, uint64_t deadline)
{
	for (;;) {
		int r = PQflush(pg->conn);

		if (r == 0)
			return 0;
		if (r < 0)
			return lost(pg);
		r = wait_socket(pg, POLLIN | POLLOUT, deadline);
		if (r < 0)
			return r;
		if (!PQconsumeInput(pg->conn))
			return lost(pg);
	}
}

static void note_result(struct tl_pg *pg, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	snprintf(pg->state, sizeof(pg->state), "%s", state ? state : "");
	if (!primary)
		note(pg, PQresultErrorMessage(result));
	else
		snprintf(pg->why, sizeof(pg->why), "%.200s%s%.100s", primary, detail ? ": " : "",
			 detail ? detail : "");
	for (char *p = pg->why; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
}

static int next_result(struct tl_pg *pg, PGresult **ret, uint64_t deadline)
{
	while (PQisBusy(pg->conn)) {
		int r = wait_socket(pg, POLLIN, deadline);

		if (r < 0)
			return r;
		if (!PQconsumeInput(pg->conn))
			return lost(pg);
	}
	*ret = PQgetResult(pg->conn);
	return 0;
}

/* All results of what was sent: the first failure counts, else the last result is given. In a COPY
 * it ends with the copy open. */
static int collect(struct tl_pg *pg, PGresult **ret_last)
{
	_cleanup_(PQclearp) PGresult *last = NULL;
	uint64_t deadline = tl_mono_ns() + pg->timeout_ns;
	int failed = 0, r = flush(pg, deadline);

	while (r == 0) {
		PGresult *result = NULL;
		ExecStatusType status;

		r = next_result(pg, &result, deadline);
		if (r < 0 || !result)
			break;
		status = PQresultStatus(result);
		if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
			if (!failed) {
				note_result(pg, result);
				failed = tl_pg_class(pg->state);
			}
			PQclear(result);
			continue;
		}
		PQclear(last);
		last = result;
		if (status == PGRES_COPY_IN)
			break;
	}
	r = r < 0 ? r : failed;
	if (r == -EAGAIN)
		tl_pg_drop(pg);
	if (r == 0 && ret_last)
		*ret_last = TAKE_PTR(last);
	return r;
}

int tl_pg_exec(struct tl_pg *pg, const char *sql)
{
	if (!pg->conn)
		return -EAGAIN;
	return PQsendQuery(pg->conn, sql) ? collect(pg, NULL) : lost(pg);
}

int tl_pg_ask(struct tl_pg *pg, const char *sql, int n, const char *const *values,
	      PGresult **ret_result)
{
	PGresult *result = NULL;
	int r;

	if (!pg->conn)
		return -EAGAIN;
	if (!PQsendQueryParams(pg->conn, sql, n, NULL, values, NULL, NULL, 0))
		return lost(pg);
	r = collect(pg, &result);
	if (r == 0)
		*ret_result = result;
	return r;
}

int tl_pg_copy_begin(struct tl_pg *pg, const char *sql)
{
	_cleanup_(PQclearp) PGresult *result = NULL;
	int r;

	if (!pg->conn)
		return -EAGAIN;
	r = PQsendQuery(pg->conn, sql) ? collect(pg, &result) : lost(pg);
	if (r == 0 && PQresultStatus(result) != PGRES_COPY_IN) {
		snprintf(pg->why, sizeof(pg->why), "COPY does not begin");
		tl_pg_drop(pg);
		r = -EAGAIN;
	}
	return r;
}

/* libpq's own buffer is kept small: it would grow to hold all that the socket does not take. */
#define PUT_MAX ((size_t)64 << 10)

int tl_pg_copy_put(struct tl_pg *pg, struct tl_span data)
{
	while (data.len) {
		size_t len = data.len < PUT_MAX ? data.len : PUT_MAX;
		int r = pg->conn ? flush(pg, tl_mono_ns() + pg->timeout_ns) : -EAGAIN;

		if (r < 0)
			return r;
		if (PQputCopyData(pg->conn, data.data, (int)len) < 0)
			return lost(pg);
		data.data += len;
		data.len -= len;
	}
	return 0;
}

size_t tl_pg_copy_push(struct tl_pg *pg, struct tl_span data)
{
	size_t taken = 0;

	while (taken < data.len && pg->conn && PQflush(pg->conn) == 0) {
		size_t len = data.len - taken < PUT_MAX ? data.len - taken : PUT_MAX;

		if (PQputCopyData(pg->conn, data.data + taken, (int)len) != 1)
			break;
		taken += len;
	}
	return taken;
}

int tl_pg_copy_end(struct tl_pg *pg)
{
	int r = pg->conn ? flush(pg, tl_mono_ns() + pg->timeout_ns) : -EAGAIN;

	if (r < 0)
		return r;
	return PQputCopyEnd(pg->conn, NULL) < 0 ? lost(pg) : collect(pg, NULL);
}

int tl_pg_back_off(struct tl_pg *pg)
{
	static struct tl_msg_gate gate;
	uint64_t until = tl_mono_ns() + tl_backoff_ns(pg->failures++, BACKOFF_MAX_NS);

	tl_msg_limited(&gate, 10000, TL_WARNING, "%s: %s%s; trying on", pg->where, pg->why,
		       strcmp(pg->state, "53100") == 0 ? ": make room on the server's disk" : "");
	while (tl_mono_ns() < until) {
		if (pg->stop && *pg->stop)
			return -EINTR;
		usleep(20000);
	}
	return 0;
}

static const struct {
	const char *state; /* or its class, two letters */
	int code;
	const char *advice;
} advices[] = {
	{"28", -EACCES,
	 "; check user and password (PGPASSWORD, ~/.pgpass, or --dsn-file) and the server's "
	 "pg_hba.conf"},
	{"3D000", -ENOENT, "; make it (createdb) or name another in the DSN"},
	{"42501", -EACCES,
	 "; GRANT CREATE ON DATABASE for the first start, or let its owner start the sink once; "
	 "later the user needs USAGE on schema tapline and INSERT, SELECT, UPDATE, DELETE on its "
	 "tables"},
	{"42P01", -ENOENT, "; the tables are made at start: start the sink again"},
	{"3F000", -ENOENT, "; the schema is made at start: start the sink again"},
	{"53100", -ENOSPC, "; make room on the server's disk"},
	{"53300", -ECONNREFUSED, "; raise max_connections on the server"},
	{"57P03", -ECONNREFUSED, "; wait until the server is up, or raise --wait"},
	{"", -ECONNREFUSED, "; check --dsn, that the server runs, and sslmode"},
};

int tl_pg_fail(const struct tl_pg *pg, int code, const char *what, struct tl_error *error)
{
	if (code == -EINTR)
		return tl_error_set(error, -EINTR,
				    "stopped while the database was away; nothing is lost");
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++) {
		const char *state = advices[i].state;

		if (strncmp(pg->state, state, strlen(state)) != 0 || (!*state && *pg->state))
			continue;
		return tl_error_set(error, advices[i].code, "%s: %s (%s)%s", what, pg->why,
				    pg->where, advices[i].advice);
	}
	return tl_error_set(error, -EPROTO, "%s: %s (%s; SQLSTATE %s)", what, pg->why, pg->where,
			    pg->state);
}
