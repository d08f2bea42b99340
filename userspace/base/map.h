/* SPDX-License-Identifier: Apache-2.0 */
/* tl_map: a hash table from fixed-size keys to fixed-size values, with a maximum given at birth.
 * Keys are compared as bytes (zero the padding). Linear probing, backward-shift deletion, so value
 * pointers hold only until the next insert or delete. Not thread-safe. */
#ifndef TL_BASE_MAP_H
#define TL_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "userspace/base/cleanup.h"

struct tl_map;

/* `max` entries at most. Returns NULL when memory is out. */
struct tl_map *tl_map_new(size_t key_size, size_t value_size, size_t max);
void tl_map_free(struct tl_map *map);
TL_DEFINE_CLEANUP(struct tl_map *, tl_map_free);

/* Returns the value or NULL. */
void *tl_map_get(const struct tl_map *map, const void *key);

/* Returns the value of `key`, a zeroed new one when it was absent (`*ret_new` may be NULL). NULL
 * when the map is full or memory is out: the caller counts that. */
void *tl_map_put(struct tl_map *map, const void *key, bool *ret_new);

/* True when it was there. */
bool tl_map_del(struct tl_map *map, const void *key);

size_t tl_map_count(const struct tl_map *map);

/* Walks all entries in no order: start with *iter = 0; returns false at the end. Deleting while
 * walking is not allowed; collect keys first. */
bool tl_map_next(const struct tl_map *map, size_t *iter, const void **ret_key, void **ret_value);

/* The hash the map uses, for other tables too. Not stable between versions; never stored. */
uint64_t tl_hash(const void *data, size_t len);

#endif
