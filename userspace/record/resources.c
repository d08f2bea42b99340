/* SPDX-License-Identifier: Apache-2.0 */
/* A map from number to resource, and a list by the time of the last announcement. An announcement
 * that says nothing new (one comes with every segment) only moves its resource to the front. */
#include "userspace/record/resources.h"

#include "userspace/base/map.h"
#include "userspace/record/entry_format.h"
#include "userspace/record/record_emit.h"

struct tl_resources {
	struct tl_map *by_number; /* uint32_t -> struct tl_resource * */
	size_t max;
	struct tl_resource *oldest, *newest;
};

struct tl_resources *tl_resources_new(size_t max)
{
	struct tl_resources *resources = calloc(1, sizeof(*resources));

	if (!resources)
		return NULL;
	resources->max = max ? max : 1;
	resources->by_number =
		tl_map_new(sizeof(uint32_t), sizeof(struct tl_resource *), resources->max);
	if (!resources->by_number) {
		free(resources);
		return NULL;
	}
	return resources;
}

static void resource_free(struct tl_resource *resource)
{
	free(resource->attrs);
	tl_buf_done(&resource->json);
	free(resource);
}

TL_DEFINE_CLEANUP(struct tl_resource *, resource_free);

void tl_resources_free(struct tl_resources *resources)
{
	while (resources->oldest) {
		struct tl_resource *resource = resources->oldest;

		resources->oldest = resource->newer;
		resource_free(resource);
	}
	tl_map_free(resources->by_number);
	free(resources);
}

static void detach(struct tl_resources *resources, struct tl_resource *resource)
{
	*(resource->older ? &resource->older->newer : &resources->oldest) = resource->newer;
	*(resource->newer ? &resource->newer->older : &resources->newest) = resource->older;
}

static void attach(struct tl_resources *resources, struct tl_resource *resource)
{
	resource->older = resources->newest;
	resource->newer = NULL;
	*(resource->older ? &resource->older->newer : &resources->oldest) = resource;
	resources->newest = resource;
}

static void forget(struct tl_resources *resources, struct tl_resource *resource)
{
	detach(resources, resource);
	tl_map_del(resources->by_number, &resource->number);
	resource_free(resource);
}

const struct tl_resource *tl_resources_get(const struct tl_resources *resources, uint32_t number)
{
	struct tl_resource **found = tl_map_get(resources->by_number, &number);

	return found ? *found : NULL;
}

static int take_attrs(struct tl_resource *resource, struct tl_span rest)
{
	resource->attrs = calloc(resource->n + 1, sizeof(*resource->attrs));
	if (!resource->attrs)
		return -ENOMEM;
	for (uint32_t i = 0; i < resource->n; i++)
		if (!tl_entry_take_attr(&rest, &resource->attrs[i]))
			return -EBADMSG;
	return 0;
}

static int make_json(struct tl_resource *resource)
{
	struct tl_attrs attrs;
	struct tl_emit emit;

	attrs.n = resource->n;
	attrs.dropped = resource->dropped;
	memcpy(attrs.items, resource->attrs, resource->n * sizeof(*attrs.items));
	tl_emit_begin(&emit, &resource->json, resource->packed_len * 2);
	tl_emit_attrs_object(&emit, &attrs);
	return tl_emit_end(&emit) < 0 ? -ENOMEM : 0;
}

static int parse(struct tl_span data, struct tl_resource **ret)
{
	_cleanup_(resource_freep) struct tl_resource *resource = NULL;
	struct tl_entry_resource_fixed fixed;
	int r;

	if (data.len < sizeof(fixed))
		return -EBADMSG;
	memcpy(&fixed, data.data, sizeof(fixed));
	if (fixed.version == 0 || fixed.version > TL_ENTRY_VERSION || fixed.fixed < sizeof(fixed) ||
	    fixed.fixed > data.len || fixed.number == 0 || fixed.n_attrs > TL_ATTRS_MAX)
		return -EBADMSG;
	resource = calloc(1, sizeof(*resource) + data.len);
	if (!resource)
		return -ENOMEM;
	resource->number = fixed.number;
	resource->n = fixed.n_attrs;
	resource->dropped = fixed.dropped;
	resource->packed_len = data.len;
	memcpy(resource->packed, data.data, data.len);
	r = take_attrs(resource,
		       (struct tl_span){resource->packed + fixed.fixed, data.len - fixed.fixed});
	if (r == 0)
		r = make_json(resource);
	if (r == 0)
		*ret = TAKE_PTR(resource);
	return r;
}

static struct tl_resource *known(struct tl_resources *resources, struct tl_span data)
{
	uint32_t number;
	struct tl_resource **found;

	if (data.len < sizeof(struct tl_entry_resource_fixed))
		return NULL;
	memcpy(&number, data.data + offsetof(struct tl_entry_resource_fixed, number),
	       sizeof(number));
	found = tl_map_get(resources->by_number, &number);
	return found ? *found : NULL;
}

int tl_resources_learn(struct tl_resources *resources, struct tl_span data)
{
	struct tl_resource *old = known(resources, data), *resource = NULL, **slot;
	int r;

	if (old && tl_span_eq(data, (struct tl_span){old->packed, old->packed_len})) {
		detach(resources, old);
		attach(resources, old);
		return 0;
	}
	r = parse(data, &resource);
	if (r < 0)
		return r;
	if (old)
		forget(resources, old);
	else if (tl_map_count(resources->by_number) >= resources->max)
		forget(resources, resources->oldest);
	slot = tl_map_put(resources->by_number, &resource->number, NULL);
	if (!slot) {
		resource_free(resource);
		return -ENOMEM;
	}
	*slot = resource;
	attach(resources, resource);
	return 0;
}
