/* SPDX-License-Identifier: Apache-2.0 */
/* Scope cleanup: a variable declared _cleanup_(f) is passed by address to f when its scope ends;
 * TAKE_PTR / TAKE_FD move the value out, so that a function returns what it would else release. */
#ifndef TL_BASE_CLEANUP_H
#define TL_BASE_CLEANUP_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Moves the pointer out of `p`, leaving NULL. */
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *_pp = &(p);                                                         \
		__typeof__(p) _v = *_pp;                                                           \
		*_pp = NULL;                                                                       \
		_v;                                                                                \
	})

/* Moves the file descriptor out of `fd`, leaving -1. */
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *_fp = &(fd);                                                                  \
		int _v = *_fp;                                                                     \
		*_fp = -1;                                                                         \
		_v;                                                                                \
	})

/* Defines `func`p(T *p), which calls func(*p) unless *p is NULL: for _cleanup_(`func`p). */
#define TL_DEFINE_CLEANUP(T, func)                                                                 \
	static inline void func##p(T *p)                                                           \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}                                                                                          \
	struct tl_cleanup_##func

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
