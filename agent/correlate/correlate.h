/* SPDX-License-Identifier: Apache-2.0 */
/* tl_corr: joins lines to requests. Pure user space over an ordered event stream: no clock of its
 * own, no system calls, so that recorded traces replay exactly. The law: a wrong id is worse than
 * none; every line says how it got its id, or why it has none. Bounded: every table has a maximum;
 * full means `none`, counted. One thread. docs/correlation.md explains the levels to people.
 *
 * Levels, from strong to weak: `app` (the line itself carries an id field), `unit` (the unit, such
 * as a goroutine, that completed the request's header), `unit-bracket` (the unit that wrote its
 * response, where another had read it), `thread` (the thread that did both), `thread-bracket` (the
 * worker thread that wrote its response), `echo` (the thread that sent an outbound request with its
 * id), `tail` (the thread or unit that has just finished its
 * response) and `inline-token` (the text holds exactly one id of this process's open or recent
 * requests). What proves each is told in gate.h, bracket.h, echo.h and tail.h. */
#ifndef TL_CORRELATE_CORRELATE_H
#define TL_CORRELATE_CORRELATE_H

#include "agent/correlate/ids.h"
#include "agent/correlate/place.h"
#include "agent/line.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

struct tl_corr;

enum tl_how {
	TL_HOW_NONE,
	TL_HOW_APP,
	TL_HOW_UNIT,
	TL_HOW_UNIT_BRACKET,
	TL_HOW_THREAD,
	TL_HOW_THREAD_BRACKET,
	TL_HOW_ECHO,
	TL_HOW_TAIL,
	TL_HOW_INLINE,
	TL_HOWS
};
#define TL_HOW_NAMES                                                                               \
	{                                                                                          \
		"none", "app", "unit", "unit-bracket", "thread", "thread-bracket", "echo", "tail", \
			"inline-token"                                                             \
	}

/* Sets of levels: bit 1 << enum tl_how. `single` gives a candidate, never an id, and is not among
 * all. */
#define TL_LEVELS_ALL (((1u << TL_HOWS) - 1) & ~(1u << TL_HOW_NONE))
#define TL_LEVEL_SINGLE (1u << TL_HOWS)
#define TL_LEVELS_GIVEN (1u << 31) /* the set is meant, even when it is empty */

enum tl_why {
	TL_WHY_NOTHING,	       /* there is an id */
	TL_WHY_NO_REQUEST,     /* no request was open on this unit or thread */
	TL_WHY_GATE_CLOSED,    /* the thread rule is not (or no longer) proved for this service */
	TL_WHY_AMBIGUOUS,      /* more than one request fits, or two levels disagree */
	TL_WHY_FOREIGN,	       /* written by a thread or unit that serves no request itself */
	TL_WHY_BATCHED,	       /* a stdio buffer mixed several lines into one write */
	TL_WHY_SHARED,	       /* pieces of several threads */
	TL_WHY_AFTER_RESPONSE, /* the thread's request had been answered already */
	TL_WHY_UNANSWERED,   /* held, but the response did not come in time or by another thread */
	TL_WHY_DESYNC,	     /* the connection's framing is not known */
	TL_WHY_LOST,	     /* an event of the process was refused meanwhile */
	TL_WHY_RESTART,	     /* the agent was restarted while the line was held */
	TL_WHY_UNIT_UNKNOWN, /* the runtime's unit could not be read */
	TL_WHY_FULL,	     /* a table was full */
	TL_WHY_OFF,	     /* correlation is switched off */
	TL_WHY_CUT,	 /* the thread may have been given other work between line and response */
	TL_WHY_UNPROVED, /* the position fits, but lines of this form are not proved to be requests'
			  */
	TL_WHYS
};
#define TL_WHY_NAMES                                                                               \
	{                                                                                          \
		"", "no-request", "gate-closed", "ambiguous", "foreign-unit", "batched", "shared", \
			"after-response", "unanswered", "desync", "lost", "restart",               \
			"unit-unknown", "full", "off", "cut", "unproved"                           \
	}

struct tl_attribution {
	enum tl_how how;
	enum tl_why why;	  /* set when how is none */
	const struct tl_ids *ids; /* of the request; NULL for none and app; valid during the call */
	const struct tl_ids *candidate; /* level single: a guess where how is none; NULL; as ids */
};

/* An HTTP exchange, told when the response is complete or the connection ended. */
struct tl_exchange {
	uint32_t tgid, tid;
	uint64_t start_ns; /* process identity */
	bool server;	   /* seen at the server's end; else this process was the client */
	uint64_t request_ns, header_ns, response_ns,
		end_ns; /* monotonic: first byte, header complete, first response byte, end */
	struct tl_span method, path;		/* path without the query string */
	int status;				/* 0: the connection ended without a response */
	uint64_t request_bytes, response_bytes; /* bodies */
	bool complete;				/* the response's end was seen */
	const struct tl_ids *ids;
	const struct tl_ev_wire *socket; /* addresses; valid during the call */
	struct tl_place hop;	/* its id as an exchange, the same at both ends of the connection */
	struct tl_place parent; /* hop of the request in whose service it was made; 0, 0 unknown */
	uint64_t connection, number; /* connection's hash and the request's number on it: the
					record's key and uid */
};

struct tl_corr_options {
	uint64_t hold_ns;	/* longest a line is held; default 500 ms */
	uint64_t hold_bytes;	/* held per process; default 1 MiB */
	uint32_t gate_confirms; /* confirmations without contradiction that open a gate; default
				   300 */
	uint32_t levels;	/* those that may speak, by tl_levels_parse; 0: TL_LEVELS_ALL */
	uint32_t max_conns, max_requests, max_procs; /* 0: 65536, 65536, 32768 */
	bool off;				     /* every line is none, why off */
	const char *instance;	    /* makes minted ids unlike any other host's: 16 hex digits */
	const int64_t *wall_offset; /* monotonic + this = wall time, in ns; borrowed; NULL: 0 */
	/* A held line's fate. `line->stage` was HELD. */
	void (*released)(void *arg, struct tl_line *line, const struct tl_attribution *attribution);
	void (*exchange)(void *arg, const struct tl_exchange *exchange);
	/* The socket will never be HTTP: tell the kernel (may be NULL). */
	void (*ignore)(void *arg, uint64_t sock, uint64_t sock_ino);
	void *arg;
};

/* Reads a comma list of level names; `default` is all but `single`; with `-` in front a level is
 * taken away, at the list's begin from the default. Errors: -EINVAL an unknown name. */
int tl_levels_parse(const char *text, uint32_t *ret_levels, struct tl_error *error);

int tl_corr_new(const struct tl_corr_options *options, struct tl_corr **ret_corr,
		struct tl_error *error);
void tl_corr_free(struct tl_corr *corr);
TL_DEFINE_CLEANUP(struct tl_corr *, tl_corr_free);

/* Bytes on a socket (TL_EV_WIRE, data behind the struct) or its end (TL_EV_SOCK). May release lines
 * and tell exchanges. */
void tl_corr_wire(struct tl_corr *corr, const struct tl_ev_wire *event, const char *data);

/* The unit `event` (its tgid, start_ns, unit_kind, unit, tid and time) began to serve stream
 * `stream` of the HTTP/2 connection `sock`: a runtime's probe says so. False: that stream is not
 * known, or has somebody already. */
bool tl_corr_bind_stream(struct tl_corr *corr, const struct tl_event *event,
			 const struct tl_sock_key *sock, uint32_t stream);

/* Fork, exec, exit. `service` (for EXEC, SELECTED: hash of executable and command line; 0 unknown)
 * pools the gate's evidence. */
void tl_corr_proc(struct tl_corr *corr, const struct tl_ev_proc *event, uint64_t service);

/* A unit asks a client's connection for a request, or writes for one (TL_EV_CALL). */
void tl_corr_call(struct tl_corr *corr, const struct tl_ev_unit *event);

/* A unit was born of another (TL_EV_UNIT). */
void tl_corr_unit(struct tl_corr *corr, const struct tl_ev_unit *event);

/* Names the service of a process whose gate evidence is pooled with others of the same hash. */
void tl_corr_service(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns, uint64_t service);

/* The process's runtime serves one request at a time, on one thread, and does nothing else
 * meanwhile (php-fpm): its thread rule needs no proof, but one contradiction ends it all the same.
 */
void tl_corr_serial(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns);

/* Asks for a line. Returns 1 with `*ret` decided now; 0 when it is held: `released` will be called,
 * in order per writer thread. The line must live until then. Lines of one writer thread are never
 * decided out of order. */
int tl_corr_line(struct tl_corr *corr, struct tl_line *line, struct tl_attribution *ret);

/* Ends holds that are too old. Returns the next deadline, UINT64_MAX none. */
uint64_t tl_corr_tick(struct tl_corr *corr, uint64_t now_ns);

/* Releases everything held as it stands (shutdown): unproved lines become none. */
void tl_corr_flush(struct tl_corr *corr);

struct tl_corr_usage {
	uint64_t conns, requests, held, held_bytes; /* now */
	uint64_t exchanges, confirms, contradicts;  /* ever */
	uint64_t how[TL_HOWS], why[TL_WHYS];	    /* lines, ever */
	uint64_t generated;			    /* requests given an id of ours, ever */
	uint64_t full;				    /* times a table was full */
};
void tl_corr_usage(const struct tl_corr *corr, struct tl_corr_usage *ret);

/* What is believed of each service, and why: calls `each` for every rule of every service that has
 * evidence or lines. */
enum tl_gate_state {
	TL_GATE_OFF,	     /* the level is switched off */
	TL_GATE_CLOSED,	     /* not proved yet */
	TL_GATE_STRAIGHT,    /* thread: believed for requests during which the thread was given no
				other work */
	TL_GATE_OPEN,	     /* believed */
	TL_GATE_QUARANTINED, /* contradicted: not believed any more */
};
#define TL_GATE_STATE_NAMES                                                                        \
	{                                                                                          \
		"off", "closed", "straight", "open", "quarantined"                                 \
	}

struct tl_gate_row {
	uint64_t service;
	uint32_t tgid;	   /* a process of it */
	uint64_t start_ns; /* of that process */
	uint8_t unit_kind; /* enum tl_unit_kind */
	enum tl_how rule;
	enum tl_gate_state state;
	uint64_t confirms, contradicts;
	uint64_t lines;	     /* the rule has attached */
	const uint64_t *why; /* [TL_WHYS]: lines of the service without an id; borrowed */
};
void tl_corr_gates(const struct tl_corr *corr,
		   void (*each)(void *arg, const struct tl_gate_row *row), void *arg);

#endif
