/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the pair between worker and inspector: one SOCK_SEQPACKET message a request, one a
 * reply. Each type of request has one size; another size is refused. Both ends are one build: no
 * version. Private to inspector*.c. */
#ifndef TL_AGENT_INSPECTOR_PROTO_H
#define TL_AGENT_INSPECTOR_PROTO_H

#include "agent/inspector.h"

enum tl_inspect_type {
	TL_INSPECT_PROCESS = 1, /* -> struct tl_proc_info, and a descriptor when asked for */
	TL_INSPECT_PIPE_READER, /* result 1 or 0 */
	TL_INSPECT_DECIDE,
	TL_INSPECT_IGNORE_SOCK,
	TL_INSPECT_SET_UNIT,
	TL_INSPECT_FORGET,  /* -> struct tl_stream */
	TL_INSPECT_STREAM,  /* -> struct tl_stream */
	TL_INSPECT_STATS,   /* -> struct tl_stats */
	TL_INSPECT_SCAN,    /* result: how many are selected */
	TL_INSPECT_STREAMS, /* -> rows; result: how many, 0 at the end */
	TL_INSPECT_MODULE,  /* -> struct tl_module_info, and a descriptor */
	TL_INSPECT_PROBE,
	TL_INSPECT_SLOT, /* result: the slot */
	TL_INSPECT_JVM,	 /* -> struct tl_jvm_layout */
	TL_INSPECT_TYPES
};

struct tl_inspect_process_req {
	uint32_t type, tgid;
	uint32_t want_exe, pad;
};

struct tl_inspect_pipe_req {
	uint32_t type, tgid;
	struct tl_file_id file;
};

struct tl_inspect_decide_req {
	uint32_t type, verdict;
	struct tl_file_id file;
};

struct tl_inspect_sock_req {
	uint32_t type, pad;
	struct tl_sock_key sock;
};

struct tl_inspect_unit_req {
	uint32_t type, tgid;
	uint64_t start_ns;
	struct tl_proc unit;
};

struct tl_inspect_file_req { /* FORGET, STREAM */
	uint32_t type, pad;
	struct tl_file_id file;
};

struct tl_inspect_plain_req { /* STATS, SCAN */
	uint32_t type, pad;
};

struct tl_inspect_streams_req {
	uint32_t type, cursor, max, pad;
};

struct tl_inspect_module_req {
	uint32_t type, tgid;
	char glob[64]; /* NUL-terminated */
};

struct tl_inspect_probe_req {
	uint32_t type, tgid;
	uint64_t start_ns;
	struct tl_probe_at at;
};

struct tl_inspect_slot_req {
	uint32_t type, tgid;
	uint64_t address;
};

struct tl_inspect_jvm_req {
	uint32_t type, tgid;
	struct tl_jvm_words words;
};

union tl_inspect_request {
	uint32_t type;
	struct tl_inspect_module_req module;
	struct tl_inspect_probe_req probe;
	struct tl_inspect_slot_req slot;
	struct tl_inspect_jvm_req jvm;
	struct tl_inspect_process_req process;
	struct tl_inspect_pipe_req pipe;
	struct tl_inspect_decide_req decide;
	struct tl_inspect_sock_req sock;
	struct tl_inspect_unit_req unit;
	struct tl_inspect_file_req file;
	struct tl_inspect_plain_req plain;
	struct tl_inspect_streams_req streams;
};

/* Begins every reply; the data follows. */
struct tl_inspect_reply {
	int32_t result; /* negative errno, or what the call returns */
	uint32_t len;	/* bytes of data */
};

#define TL_INSPECT_DATA_MAX (TL_INSPECT_MAX - sizeof(struct tl_inspect_reply))
#define TL_INSPECT_ROWS_MAX (TL_INSPECT_DATA_MAX / sizeof(struct tl_stream_row))

_Static_assert(sizeof(struct tl_proc_info) <= TL_INSPECT_DATA_MAX, "a reply holds it");
_Static_assert(sizeof(struct tl_stats) <= TL_INSPECT_DATA_MAX, "a reply holds it");

#endif
