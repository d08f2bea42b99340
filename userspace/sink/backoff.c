/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/backoff.h"

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"

#define FIRST_NS (100 * TL_MS)
#define DOUBLINGS 9u /* 51 s: above every maximum in use */

uint64_t tl_backoff_ns(unsigned failures, uint64_t max_ns)
{
	uint64_t ns = FIRST_NS << (failures < DOUBLINGS ? failures : DOUBLINGS);
	uint32_t random;

	if (ns > max_ns)
		ns = max_ns;
	tl_random(&random, sizeof(random));
	return ns / 2 + ns / 2 * (random & 0xffff) / 0xffff;
}
