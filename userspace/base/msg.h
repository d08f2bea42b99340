/* SPDX-License-Identifier: Apache-2.0 */
/* What a program says to its operator, on stderr, one line a message: "tapline-agent: warning:
 * ...". Programs say a thing once, with what to do about it; library code does not talk above
 * debug. */
#ifndef TL_BASE_MSG_H
#define TL_BASE_MSG_H

enum tl_level { TL_ERROR, TL_WARNING, TL_INFO, TL_DEBUG };

/* Sets the name in front of each message (borrowed for ever) and the least important level shown.
 */
void tl_msg_init(const char *program, enum tl_level level);

/* Prints one message with a single write(2), so that lines of several processes never mix. Any
 * thread. */
void tl_msg(enum tl_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As tl_msg, at most once per `*last_ns` + `every_ms`; the number of swallowed messages is told by
 * the next. `gate` is the caller's static state, zeroed at first. */
struct tl_msg_gate {
	unsigned long long last_ns; /* CLOCK_MONOTONIC of the last one shown */
	unsigned long long muted;   /* swallowed since */
};
void tl_msg_limited(struct tl_msg_gate *gate, unsigned every_ms, enum tl_level level,
		    const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
