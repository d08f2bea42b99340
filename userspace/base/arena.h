/* SPDX-License-Identifier: Apache-2.0 */
/* tl_arena: memory for one record or batch, released all at once. Pointers stay valid until
 * tl_arena_reset. */
#ifndef TL_BASE_ARENA_H
#define TL_BASE_ARENA_H

#include "userspace/base/buf.h"

struct tl_arena_block;

struct tl_arena {
	struct tl_arena_block *blocks; /* owned; newest first */
	size_t used;		       /* bytes handed out since the last reset */
	size_t max; /* hands out no more than this between resets; 0 means 64 MiB */
};

/* Returns `size` bytes aligned to 16, or NULL past max or out of memory. */
void *tl_arena_alloc(struct tl_arena *arena, size_t size);

/* Copies `s`; a span with NULL data and len 0 when there is no room. */
struct tl_span tl_arena_copy(struct tl_arena *arena, struct tl_span s);

/* Formats into the arena; as tl_arena_copy. */
struct tl_span tl_arena_printf(struct tl_arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Takes everything back, keeping one block for the next round. */
void tl_arena_reset(struct tl_arena *arena);
void tl_arena_done(struct tl_arena *arena);

#endif
