/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of tl_corr, private to correlate/. Ownership: the tables of struct tl_corr own
 * processes, actors, connections and gates; a connection owns its requests until they end, then the
 * list `recent` does, so that lines that come late (joined, or cut off by a time-out) still find
 * the request of their own time. Pointers between them are borrowed; whoever goes first clears
 * them. */
#ifndef TL_CORRELATE_CORR_H
#define TL_CORRELATE_CORR_H

#include "agent/correlate/correlate.h"
#include "agent/correlate/http1.h"
#include "agent/correlate/place.h"
#include "userspace/base/map.h"

#define TL_WINDOWS 16 /* requests an actor remembers */
#define TL_TAIL_FORMS 4
#define TL_ECHO_FORMS 4
#define TL_RECENT_NS                                                                               \
	UINT64_C(30000000000) /* how long an ended request can still be named by a line */
#define TL_PARSE_BYTES_MAX                                                                         \
	((size_t)64 << 20) /* header bytes and ids under way, all connections together */
#define TL_TOKENS_MAX 4	   /* ids of one request that are looked for in text */

struct tl_evidence {
	uint64_t confirms, contradicts;
	uint64_t lines; /* attached by the rule */
};

struct tl_gate {
	uint64_t service; /* 0: private to the process below */
	uint32_t tgid;	  /* a process of it */
	uint64_t start_ns;
	struct tl_evidence rules[TL_HOWS];
	uint64_t why[TL_WHYS];	 /* lines without an id */
	uint8_t unit_kind;	 /* of its units; THREAD: none were seen */
	uint64_t direct_answers; /* requests that the thread which read them answered */
	bool direct;	       /* a thread has answered what it had read itself: there is more than
				  a hand-off, so thread-bracket is never believed */
	bool handed_over;      /* a thread has answered what another had read: threads take work
				  that nobody sees them take */
	struct tl_form *forms; /* owned: hash table of TL_FORM_SLOTS, NULL before the first */
	bool forms_full;
	uint32_t n_forms, trusted;		    /* trusted: forms that prove `tail` */
	uint64_t relay_confirms, relay_contradicts; /* relay.h */
	bool serial; /* its runtime serves one request at a time on one thread, by design */
};

struct tl_cproc {
	uint32_t tgid;
	uint64_t start_ns, service;
	struct tl_gate *gate; /* NULL: the table of gates is full: no rule is believed */
	uint64_t serial;      /* unlike any other process's of this tl_corr */
	uint64_t started;     /* server requests ever */
	uint64_t held_bytes;
	uint64_t
		blind_ns; /* when a table was full for it: what it serves may be unknown; 0 never */
	uint32_t open_server; /* server requests open now */
	uint64_t ended_ns;    /* when one ended last */
	uint64_t sure_ns;     /* met at work: what lines say about their forms counts from here */
	uint32_t lost_gen;
	uint32_t refs;	 /* connections, requests, actors */
	uint32_t tokens; /* entries in the index of ids */
	bool gen_known, dead, mapped;
	struct tl_request *open; /* list of requests not ended */
	struct tl_conn *conns;	 /* list */
};

/* Who reads and answers: a unit or a thread of a process. */
struct tl_actor_key {
	uint64_t proc; /* tl_cproc.serial */
	uint64_t id;   /* unit, or tid */
	uint64_t kind; /* enum tl_unit_kind */
};

/* The request that a thread works for by an outbound request it sent (echo.h). */
struct tl_echo {
	uint64_t connection, number;   /* names the request; number 0: none */
	uint64_t on;		       /* hash of the outbound connection */
	uint64_t active_ns;	       /* when it was sent, then when its response came */
	uint64_t forms[TL_ECHO_FORMS]; /* of lines seen since */
	uint32_t n_forms;
	bool answered;
};

struct tl_actor {
	struct tl_actor_key key;
	struct tl_cproc *proc;
	struct tl_request *current; /* the newest bound one while it is open */
	struct tl_request
		*windows[TL_WINDOWS]; /* bound to it, ascending header_ns; NULL at the end */
	struct tl_request *answered[TL_WINDOWS]; /* whose response's head it wrote, in order */
	uint32_t n_windows, n_answered;
	uint32_t refs;		 /* requests whose reader or writer it is */
	struct tl_request *tail; /* has just been finished by it; nothing else was touched since */
	uint64_t touch_conn, touch_ns; /* server connection it moved bytes of last, and when */
	uint64_t other_ns;	       /* when it last moved bytes of another one */
	struct tl_seen *seen;	       /* owned: forms of lines that wait for its next response */
	uint32_t n_seen;
	struct tl_echo echo;
	struct tl_actor *next_watched, *prev_watched; /* actors that have either, oldest first */
	uint64_t watched_ns;			      /* since when it stands there; 0 not */
	struct tl_hold *holds, *holds_tail;	      /* lines that wait, oldest first */
	struct tl_actor *next_holding, *prev_holding; /* list of actors with holds */
	struct tl_actor *next_dirty; /* queue of actors whose holds must be looked at again */
	bool dirty;		     /* stands there */
};

/* The server request that an outbound one may belong to. */
struct tl_relayed {
	struct tl_sock_key conn;
	uint64_t number; /* on it; 0: none */
};

enum tl_request_state { TL_REQ_OPEN, TL_REQ_ANSWERING, TL_REQ_DONE };

struct tl_request {
	struct tl_conn *conn; /* NULL once ended */
	struct tl_cproc *proc;
	struct tl_actor *reader;  /* NULL: client side, unit unknown, or no room */
	struct tl_actor *writer;  /* of the response's head; NULL as above, or several */
	uint64_t writer_wait_ns;  /* the writer's last wait before it; 0 for units */
	uint64_t writer_other_ns; /* when the writer last touched another connection before it */
	uint64_t tail_until_ns;	  /* when the writer went on to another; 0 not yet */
	uint64_t tail_given_ns;	  /* when it was given bytes as a client; 0 not yet */
	uint64_t tail_forms[TL_TAIL_FORMS]; /* of lines seen behind the response */
	uint64_t number;		    /* on its connection */
	uint32_t stream;		    /* HTTP/2; 0: none */
	uint64_t connection;		    /* hash */
	uint64_t first_ns, header_ns, response_ns, settled_ns, end_ns;
	uint64_t left_ns; /* the reader went on to other work while the response lasts until close;
			     0 not */
	uint64_t started_before; /* proc->started at its header */
	uint64_t request_bytes, response_bytes;
	uint32_t tid, lost_gen;
	int status;
	uint8_t state; /* enum tl_request_state */
	uint8_t why;   /* enum tl_why: why it ended early, NOTHING when it did not */
	bool server, head, connect;
	bool ambiguous; /* another request was on its reader, or on its connection, at the same time
			 */
	bool pipelined; /* another was on its connection at the same time */
	bool contradicted; /* its reader went to another connection before the answer: counted */
	bool overlapped;   /* another server request of the process was open at its header */
	bool until_close;  /* the response lasts until the connection ends */
	bool proved;	   /* its reader wrote the response's head */
	bool one_writer;   /* `writer` wrote everything of the response so far */
	bool complete;	   /* the response's end was seen */
	bool minted;	   /* it was given its own id, for good */
	bool placed;	   /* it stands in `ends` */
	bool joined;	   /* its other end is known */
	bool relays;	   /* an outbound request was guessed to be its */
	struct tl_place place;	/* names it at both ends; unknown: 0, 0 */
	struct tl_place hop;	/* its id as an exchange */
	struct tl_place parent; /* hop of the request in whose service it was made; unknown: 0, 0 */
	char *method, *path;	/* owned, NUL-terminated, until told */
	struct tl_packed *ids;	/* owned; NULL none */
	struct tl_token *tokens;		  /* owned: entries in the index of ids */
	struct tl_request *next;		  /* of the connection's queue, or of `recent` */
	struct tl_request *next_open, *prev_open; /* of the process */
};

/* UNDECIDED: it was met at a single H, which HEAD and HTTP/1.1 both begin with. */
enum tl_conn_role { TL_ROLE_UNKNOWN, TL_ROLE_UNDECIDED, TL_ROLE_SERVER, TL_ROLE_CLIENT };

struct tl_conn {
	struct tl_corr *corr;
	struct tl_cproc *proc; /* used it last */
	struct tl_sock_key key;
	struct tl_ev_wire address; /* of its first event */
	uint64_t hash;		   /* names it in records */
	uint64_t number;	   /* requests so far */
	uint8_t role;		   /* enum tl_conn_role */
	bool desync;		   /* framing unknown */
	bool quiet;		   /* desync: nothing seems to be in flight */
	bool asked;		   /* desync: for a body, by a response that is not final */
	bool pipelined;		   /* its client does not wait for answers: once desync, for ever */
	bool tunnel;		   /* HTTP is over on it */
	bool clean; /* this call has not moved bytes of an earlier message in the direction being
		       read */
	struct tl_http1 request, response;	   /* parsers of the directions */
	struct tl_ids *request_ids, *response_ids; /* owned, while the head is read and has some */
	char *method, *path; /* owned: of the request whose head is being read */
	uint64_t first_ns, response_first_ns;
	struct tl_actor_key response_writer;
	struct tl_actor_key began_by; /* who moved the first byte of the request being read */
	struct tl_actor_key read_by;  /* server: thread that read since the last write; id 0: none,
					 TL_ACTOR_SEVERAL */
	bool written;		      /* since */
	struct tl_placing placing;
	uint64_t request_at;	   /* what the request parser had been fed before this call */
	struct tl_conn_fcgi *fcgi; /* owned: it speaks FastCGI */
	struct tl_conn_h2 *h2;	   /* owned: it speaks HTTP/2 */
	uint32_t answers;	   /* h2: stream whose response block is under way */
	bool upgrade;		   /* the response under way switches to HTTP/2 */
	struct tl_relayed relayed; /* client: whose its newest request is */
	bool mixed; /* the request being read began in one call with the end of another */
	struct tl_request *queue, *queue_tail; /* open requests, oldest first */
	uint32_t depth;			       /* their number */
	struct tl_conn *next_of_proc, *prev_of_proc;
	struct tl_conn *newer, *older; /* all connections by last use */
};

struct tl_lineage;

struct tl_corr {
	struct tl_corr_options options;
	char instance[17];
	struct tl_map *procs;  /* u32 tgid -> struct tl_cproc * */
	struct tl_map *gates;  /* struct tl_gate_key -> struct tl_gate * */
	struct tl_map *actors; /* struct tl_actor_key -> struct tl_actor * */
	struct tl_map *conns;  /* struct tl_sock_key -> struct tl_conn * */
	struct tl_lineage *lineage;
	struct tl_map *index; /* u64 -> struct tl_token *: ids of server requests, by word */
	struct tl_map *ends;  /* struct tl_place -> the requests at both ends */
	struct tl_relay *relay;
	struct tl_calls *calls;
	struct tl_conn *newest, *oldest;
	struct tl_request *recent, *recent_tail; /* ended server requests, oldest first */
	uint32_t n_recent, n_requests;		 /* n_requests: all that exist */
	struct tl_actor *holding;		 /* actors with holds */
	struct tl_hold *first_hold, *last_hold;	 /* all holds, by deadline */
	struct tl_actor *dirty, *dirty_tail;
	struct tl_actor *watched, *watched_tail; /* actors with something that waits */
	uint32_t form_tables;
	bool reviewing;
	size_t parse_bytes;
	uint64_t serial;		/* of processes */
	uint64_t at_ns;			/* of what is being looked at */
	uint64_t now_ns;		/* newest time seen */
	const struct tl_ev_wire *event; /* being read */
	struct tl_cproc *event_proc;
	struct tl_ids answer;  /* what an attribution points to */
	struct tl_ids scratch; /* packing and telling */
	struct tl_corr_usage usage;
};

#endif
