/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks double in size up to BLOCK_KEEP, so that a round that needs much soon needs one block
 * only, and that block is the one kept. Under AddressSanitizer memory not handed out is poisoned: a
 * span used after the reset that took it back is then found. */
#include "userspace/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN ((size_t)16)
#define DEFAULT_MAX ((size_t)64 << 20)
#define BLOCK_FIRST ((size_t)16 << 10)
#define BLOCK_KEEP ((size_t)1 << 20)

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct tl_arena_block {
	struct tl_arena_block *next; /* older */
	size_t size, used;	     /* bytes of data */
	char data[] __attribute__((aligned(16)));
};

static struct tl_arena_block *add_block(struct tl_arena *arena, size_t need)
{
	size_t size = arena->blocks ? arena->blocks->size * 2 : BLOCK_FIRST;
	struct tl_arena_block *block;

	if (size > BLOCK_KEEP)
		size = BLOCK_KEEP;
	if (size < need)
		size = need;
	block = malloc(sizeof(*block) + size);
	if (!block)
		return NULL;
	block->next = arena->blocks;
	block->size = size;
	block->used = 0;
	ASAN_POISON_MEMORY_REGION(block->data, size);
	arena->blocks = block;
	return block;
}

void *tl_arena_alloc(struct tl_arena *arena, size_t size)
{
	size_t max = arena->max ? arena->max : DEFAULT_MAX;
	struct tl_arena_block *block = arena->blocks;
	size_t rounded = (size + !size + ALIGN - 1) & ~(ALIGN - 1);
	void *p;

	if (rounded < size || arena->used > max || rounded > max - arena->used)
		return NULL;
	if (!block || rounded > block->size - block->used)
		block = add_block(arena, rounded);
	if (!block)
		return NULL;
	p = block->data + block->used;
	block->used += rounded;
	arena->used += rounded;
	ASAN_UNPOISON_MEMORY_REGION(p, size);
	return p;
}

struct tl_span tl_arena_copy(struct tl_arena *arena, struct tl_span s)
{
	char *p = tl_arena_alloc(arena, s.len);

	if (!p)
		return (struct tl_span){NULL, 0};
	if (s.len)
		memcpy(p, s.data, s.len);
	return (struct tl_span){p, s.len};
}

struct tl_span tl_arena_printf(struct tl_arena *arena, const char *format, ...)
{
	va_list args;
	char *p;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	p = n < 0 ? NULL : tl_arena_alloc(arena, (size_t)n + 1);
	if (!p)
		return (struct tl_span){NULL, 0};
	va_start(args, format);
	vsnprintf(p, (size_t)n + 1, format, args);
	va_end(args);
	return (struct tl_span){p, (size_t)n};
}

void tl_arena_reset(struct tl_arena *arena)
{
	struct tl_arena_block *block = arena->blocks, *keep = NULL;

	while (block) {
		struct tl_arena_block *next = block->next;

		/* The newest that is not a giant made for one request: the largest of the usual
		 * ones. */
		if (!keep && block->size <= BLOCK_KEEP)
			keep = block;
		else
			free(block);
		block = next;
	}
	if (keep) {
		keep->next = NULL;
		keep->used = 0;
		ASAN_POISON_MEMORY_REGION(keep->data, keep->size);
	}
	arena->blocks = keep;
	arena->used = 0;
}

void tl_arena_done(struct tl_arena *arena)
{
	tl_arena_reset(arena);
	free(arena->blocks);
	arena->blocks = NULL;
}
