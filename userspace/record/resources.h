/* SPDX-License-Identifier: Apache-2.0 */
/* What entry.c reads from a struct tl_resources. Internal to userspace/record. */
#ifndef TL_RECORD_RESOURCES_H
#define TL_RECORD_RESOURCES_H

#include "userspace/record/entry.h"

struct tl_resource {
	struct tl_resource *older, *newer; /* by when they were last announced */
	uint32_t number;
	uint32_t n, dropped;
	struct tl_attr *attrs; /* owned; their spans point into `packed` */
	struct tl_buf json;    /* "{...}" */
	size_t packed_len;
	char packed[]; /* the entry it was learnt from */
};

/* Borrowed until the next learn; NULL when it was never announced or is forgotten. */
const struct tl_resource *tl_resources_get(const struct tl_resources *resources, uint32_t number);

#endif
