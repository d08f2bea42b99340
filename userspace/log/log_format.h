/* SPDX-License-Identifier: Apache-2.0 */
/* The local log's layout on disk, written as it is in memory. docs/local-log.md explains it.
 * Internal to userspace/log. */
#ifndef TL_LOG_FORMAT_H
#define TL_LOG_FORMAT_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "the log is little-endian, written as it is in memory");

#define TL_LOG_VERSION 1
#define TL_LOG_SEGMENT_MAGIC UINT64_C(0x314745534c504154) /* "TAPLSEG1" in the file */
#define TL_LOG_HEAD_MAGIC UINT64_C(0x314445484c504154)	  /* "TAPLHED1" */
#define TL_LOG_FRAME_MAGIC UINT32_C(0x52464c54)		  /* "TLFR": a frame of tl_log_append */
#define TL_LOG_CHECKPOINT_MAGIC UINT32_C(0x50434c54)	  /* "TLCP": the first frame of a segment */

struct tl_log_segment_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size;	     /* of this header */
	uint64_t id;	     /* log id */
	uint8_t boot[16];    /* boot id of the kernel it was begun under */
	uint64_t start;	     /* position of this header */
	uint64_t created_ns; /* wall; for people */
	uint32_t reserved;
	uint32_t crc; /* of all before */
};
_Static_assert(sizeof(struct tl_log_segment_header) == 64, "format");

struct tl_log_frame_header {
	uint32_t magic;
	uint32_t len;	/* bytes that follow, a multiple of 8 */
	uint32_t count; /* entries in them */
	uint32_t crc;	/* of log id, frame position, len, count and the bytes that follow */
};
_Static_assert(sizeof(struct tl_log_frame_header) == 16, "format");

struct tl_log_entry_header {
	uint16_t type;
	uint16_t reserved;
	uint32_t len; /* bytes of data; padded with zeros to a multiple of 8 */
};
_Static_assert(sizeof(struct tl_log_entry_header) == 8, "format");

/* --- head: one page shared by the writer and all readers --- */

#define TL_LOG_HEAD_BYTES 4096

struct tl_log_head {
	uint64_t magic;
	uint32_t version;
	uint32_t crc;	    /* of id and boot */
	uint64_t id;	    /* log id the writer appends under */
	uint8_t boot[16];   /* boot id of the writer */
	uint64_t committed; /* atomic: all before is whole and may be read */
	uint64_t synced;    /* atomic: all before survives a power loss */
	uint32_t seq;	    /* atomic: futex word, changes whenever committed or closed does */
	uint32_t waiting; /* atomic: a reader sleeps; the writer clears it as it wakes them, so that
			   * a reader killed in its sleep costs one needless wake, not one for each
			   * append */
	uint32_t closed;  /* atomic */
	uint32_t sync_ms; /* of the writer; 0: readers need not sync their commits either */
	uint32_t pid;	  /* of the writer; for people */
};

/* --- consumers/NAME --- */

struct tl_log_consumer {
	uint64_t position;
	uint64_t id; /* log id the position was read under */
	uint32_t crc;
	uint32_t reserved;
};
_Static_assert(sizeof(struct tl_log_consumer) == 24, "format");

#endif
