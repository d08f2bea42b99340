/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/place.h"

#include <string.h>

#define MOMENT_NS UINT64_C(128000000000)

/* Stafford's variant 13 of the murmur finaliser. Part of ids that two agents must agree about: a
 * change of it, or of what is hashed in which order, is a change of the format. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

void tl_place_add(struct tl_place *place, uint64_t word)
{
	place->word[0] = mix(place->word[0] + word + UINT64_C(0x9e3779b97f4a7c15));
	place->word[1] = mix(place->word[1] ^ word ^ place->word[0]);
}

static unsigned direction(const struct tl_ev_wire *event)
{
	return (event->h.flags & TL_EVF_RECV) ? 1 : 0;
}

void tl_placing_call(struct tl_placing *placing, const struct tl_ev_wire *event)
{
	unsigned d = direction(event);

	if (!event->placed || (placing->known[d] && placing->next[d] != event->seq))
		placing->torn = true;
	placing->known[d] = true;
	placing->next[d] = event->seq + (uint32_t)event->call_len;
	if (placing->based || !event->placed)
		return;
	placing->based = true;
	placing->base_in = event->base_in;
	placing->base_out = event->base_out;
}

void tl_placing_restart(struct tl_placing *placing)
{
	placing->torn = placing->begun = false;
	placing->known[0] = placing->known[1] = false;
}

void tl_placing_begin(struct tl_placing *placing, const struct tl_ev_wire *event, uint64_t offset)
{
	uint64_t at = (uint64_t)event->seq + offset;

	placing->begun = !placing->torn && placing->based;
	placing->seq = (uint32_t)at;
	/* `wraps` counts from where the direction began, and changes where that number comes again.
	 */
	placing->wraps = event->wraps;
	if (offset) {
		uint32_t base = direction(event) ? placing->base_in : placing->base_out;
		uint64_t from = (uint64_t)event->wraps << 32 | (uint32_t)(event->seq - base);

		placing->wraps = (uint32_t)((from + offset) >> 32);
	}
}

/* Addresses as IPv6 has them: a server that listens for both families sees an IPv4 client so. */
static void add_address(struct tl_place *place, const struct tl_ev_wire *event, bool remote)
{
	const uint8_t *address = remote ? event->remote_addr : event->local_addr;
	uint8_t v6[16] = {[10] = 0xff, [11] = 0xff};
	uint64_t half[2];

	if (event->family == TL_SOCK_INET)
		memcpy(v6 + 12, address, 4);
	else
		memcpy(v6, address, 16);
	memcpy(half, v6, 16);
	tl_place_add(place, half[0]);
	tl_place_add(place, half[1]);
	tl_place_add(place, remote ? event->remote_port : event->local_port);
}

struct tl_place tl_placing_request(const struct tl_placing *placing,
				   const struct tl_ev_wire *address, bool server)
{
	struct tl_place place = {{1, 1}};
	uint32_t request, response;

	if (!placing->begun || address->family == TL_SOCK_UNIX)
		return (struct tl_place){{0, 0}};
	/* The client opened the connection: its own count has the SYN in it. */
	request = server ? placing->base_in : placing->base_out + 1;
	response = server ? placing->base_out : placing->base_in;
	add_address(&place, address, server);
	add_address(&place, address, !server);
	tl_place_add(&place, (uint64_t)request << 32 | response);
	tl_place_add(&place, (uint64_t)placing->wraps << 32 | placing->seq);
	return place;
}

struct tl_place tl_place_at(const struct tl_place *place, uint64_t wall_ns)
{
	struct tl_place at = *place;

	tl_place_add(&at, wall_ns / MOMENT_NS);
	return at;
}
