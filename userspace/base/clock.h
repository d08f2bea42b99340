/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and how times are written. All times are nanoseconds in uint64_t; "wall" is since 1970
 * UTC. */
#ifndef TL_BASE_CLOCK_H
#define TL_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define TL_SEC UINT64_C(1000000000)
#define TL_MS UINT64_C(1000000)

uint64_t tl_wall_ns(void);
uint64_t tl_mono_ns(void); /* CLOCK_MONOTONIC, the clock of BPF events */

/* What to add to a monotonic time to get the wall time, sampled now as the best of a few readings.
 */
int64_t tl_mono_to_wall_offset(void);

#define TL_TIME_LEN 30 /* "2026-11-23T01:00:00.123456789Z" without NUL */

/* Writes exactly TL_TIME_LEN bytes and a NUL to `out`: RFC 3339, UTC, nanoseconds. */
void tl_time_format(uint64_t wall_ns, char out[TL_TIME_LEN + 1]);

/* Writes "2026-11-23" / "2026.11.23" (by `separator`) and a NUL to `out`. */
void tl_date_format(uint64_t wall_ns, char separator, char out[11]);

/* Reads what tl_time_format writes, with 0 to 9 fraction digits, ending in Z. Errors: -EINVAL. */
int tl_time_parse(const char *text, size_t len, uint64_t *ret_wall_ns);

#endif
