/* SPDX-License-Identifier: Apache-2.0 */
/* Ids at rest: struct tl_ids has room for the longest and takes 3 KiB; packed, a request's ids take
 * as much as they are long. Private to correlate/. */
#ifndef TL_CORRELATE_PACK_H
#define TL_CORRELATE_PACK_H

#include "agent/correlate/ids.h"

struct tl_packed;

/* A copy (free with free), or NULL when memory is out. */
struct tl_packed *tl_ids_pack(const struct tl_ids *ids);

/* Fills `ret`; NULL gives no ids. */
void tl_ids_unpack(const struct tl_packed *packed, struct tl_ids *ret);

/* The primary id's index, -1 none. */
int tl_ids_packed_primary(const struct tl_packed *packed);

/* True when both hold the same ids, and at least one. */
bool tl_ids_packed_equal(const struct tl_packed *a, const struct tl_packed *b);

#endif
