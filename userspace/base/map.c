/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing in two arrays: 32-bit tags (the hash; 0 means free) that a probe walks in cache
 * order, and slots (key, then value, both aligned to 8) touched only where the tag agrees. A tag
 * also gives its slot's home, so that growing and deleting never hash a key again. At most 3/4
 * full; doubles until `max` fits. */
#include "userspace/base/map.h"

#include <string.h>
#include <sys/auxv.h>

#define FIRST_CAP ((size_t)16)
#define ALIGN8(n) (((n) + 7) & ~(size_t)7)

struct tl_map {
	size_t key_size, value_size, max;
	size_t value_at; /* offset of the value in a slot */
	size_t stride;	 /* bytes a slot */
	size_t mask;	 /* capacity - 1; capacity is a power of two */
	size_t count;
	uint32_t *tags;
	char *slots;
};

static uint64_t hash_seed;

/* A seed per process, so that nobody who chooses the keys can choose where they collide. */
__attribute__((constructor)) static void seed_hash(void)
{
	const void *random = (const void *)getauxval(AT_RANDOM);

	if (random)
		memcpy(&hash_seed, random, sizeof(hash_seed));
}

static uint64_t load8(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t load4(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Both halves of the full product: each input bit reaches every output bit. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Odd constants with as many ones as zeros: the first digits of pi and e, and of the golden ratio.
 */
#define K0 UINT64_C(0x243f6a8885a308d3)
#define K1 UINT64_C(0xb7e151628aed2a6b)
#define K2 UINT64_C(0x9e3779b97f4a7c15)

uint64_t tl_hash(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t state = hash_seed ^ K0, a = 0, b = 0;
	size_t left = len;

	if (left > 48) {
		uint64_t second = state ^ K2;

		for (; left > 32; left -= 32, p += 32) {
			state = fold(load8(p) ^ K1, load8(p + 8) ^ state);
			second = fold(load8(p + 16) ^ K2, load8(p + 24) ^ second);
		}
		state ^= second;
	}
	for (; left > 16; left -= 16, p += 16)
		state = fold(load8(p) ^ K1, load8(p + 8) ^ state);
	if (left >= 8) {
		a = load8(p);
		b = load8(p + left - 8);
	} else if (left >= 4) {
		a = load4(p);
		b = load4(p + left - 4);
	} else if (left > 0) {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1];
	}
	return fold(K2 ^ len, fold(a ^ K1, b ^ state));
}

static uint32_t tag_of(const struct tl_map *map, const void *key)
{
	uint32_t tag = (uint32_t)tl_hash(key, map->key_size);

	return tag ? tag : 1;
}

struct tl_map *tl_map_new(size_t key_size, size_t value_size, size_t max)
{
	struct tl_map *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	map->key_size = key_size;
	map->value_size = value_size;
	map->max = max;
	map->value_at = ALIGN8(key_size);
	map->stride = map->value_at + ALIGN8(value_size);
	map->mask = FIRST_CAP - 1;
	map->tags = calloc(FIRST_CAP, sizeof(*map->tags));
	map->slots = calloc(FIRST_CAP, map->stride ? map->stride : 1);
	if (!map->tags || !map->slots) {
		tl_map_free(map);
		return NULL;
	}
	return map;
}

void tl_map_free(struct tl_map *map)
{
	if (!map)
		return;
	free(map->tags);
	free(map->slots);
	free(map);
}

static char *slot_at(const struct tl_map *map, size_t i)
{
	return map->slots + i * map->stride;
}

static bool key_equal(const struct tl_map *map, const char *slot, const void *key)
{
	if (map->key_size == 8)
		return memcmp(slot, key, 8) == 0;
	if (map->key_size == 4)
		return memcmp(slot, key, 4) == 0;
	return memcmp(slot, key, map->key_size) == 0;
}

/* The index of `key`, or of the free slot where its probe ends. */
static size_t probe(const struct tl_map *map, const void *key, uint32_t tag)
{
	size_t i = tag & map->mask;

	while (map->tags[i] && (map->tags[i] != tag || !key_equal(map, slot_at(map, i), key)))
		i = (i + 1) & map->mask;
	return i;
}

void *tl_map_get(const struct tl_map *map, const void *key)
{
	size_t i = probe(map, key, tag_of(map, key));

	return map->tags[i] ? slot_at(map, i) + map->value_at : NULL;
}

static bool grow(struct tl_map *map)
{
	size_t old_cap = map->mask + 1, cap = old_cap * 2, mask = cap - 1;
	_cleanup_(freep) uint32_t *tags = NULL;
	_cleanup_(freep) char *slots = NULL;

	/* Tags carry 32 bits of home. */
	if (cap > (size_t)1 << 31)
		return false;
	tags = calloc(cap, sizeof(*tags));
	slots = calloc(cap, map->stride);
	if (!tags || !slots)
		return false;
	for (size_t i = 0; i < old_cap; i++) {
		size_t to = map->tags[i] & mask;

		if (!map->tags[i])
			continue;
		while (tags[to])
			to = (to + 1) & mask;
		tags[to] = map->tags[i];
		memcpy(slots + to * map->stride, slot_at(map, i), map->stride);
	}
	free(map->tags);
	free(map->slots);
	map->tags = TAKE_PTR(tags);
	map->slots = TAKE_PTR(slots);
	map->mask = mask;
	return true;
}

void *tl_map_put(struct tl_map *map, const void *key, bool *ret_new)
{
	uint32_t tag = tag_of(map, key);
	size_t i = probe(map, key, tag);
	bool absent = !map->tags[i];
	char *slot;

	if (absent) {
		if (map->count >= map->max)
			return NULL;
		if ((map->count + 1) * 4 > (map->mask + 1) * 3) {
			if (!grow(map))
				return NULL;
			i = probe(map, key, tag);
		}
		map->tags[i] = tag;
		map->count++;
		slot = slot_at(map, i);
		memcpy(slot, key, map->key_size);
		memset(slot + map->value_at, 0, map->value_size);
	}
	if (ret_new)
		*ret_new = absent;
	return slot_at(map, i) + map->value_at;
}

bool tl_map_del(struct tl_map *map, const void *key)
{
	size_t hole = probe(map, key, tag_of(map, key)), i = hole;

	if (!map->tags[hole])
		return false;
	/* Each follower moves into the hole unless that would put it before its home. */
	for (;;) {
		size_t home;

		i = (i + 1) & map->mask;
		if (!map->tags[i])
			break;
		home = map->tags[i] & map->mask;
		if (((i - home) & map->mask) < ((i - hole) & map->mask))
			continue;
		map->tags[hole] = map->tags[i];
		memcpy(slot_at(map, hole), slot_at(map, i), map->stride);
		hole = i;
	}
	map->tags[hole] = 0;
	map->count--;
	return true;
}

size_t tl_map_count(const struct tl_map *map)
{
	return map->count;
}

bool tl_map_next(const struct tl_map *map, size_t *iter, const void **ret_key, void **ret_value)
{
	for (size_t i = *iter; i <= map->mask; i++) {
		if (!map->tags[i])
			continue;
		*iter = i + 1;
		if (ret_key)
			*ret_key = slot_at(map, i);
		if (ret_value)
			*ret_value = slot_at(map, i) + map->value_at;
		return true;
	}
	*iter = map->mask + 1;
	return false;
}
