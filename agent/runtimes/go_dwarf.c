/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime package is one compilation unit named "runtime"; runtime.g and runtime.m are
 * structure types at its top level. Walks are bounded: a hostile file may be large, not endless. */
#include "agent/runtimes/go.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <string.h>

#define UNITS_MAX 200000
#define ENTRIES_MAX 2000000
#define OFFSET_MAX 65536

static void endp(Dwarf **dwarf)
{
	if (*dwarf)
		dwarf_end(*dwarf);
}

static bool named(Dwarf_Die *die, const char *name)
{
	const char *actual = dwarf_diename(die);

	return actual && strcmp(actual, name) == 0;
}

static bool member_offset(Dwarf_Die *structure, const char *name, uint32_t *ret)
{
	Dwarf_Die member;
	Dwarf_Attribute attribute;
	Dwarf_Word offset;
	unsigned seen = 0;

	if (dwarf_child(structure, &member) != 0)
		return false;
	do {
		if (dwarf_tag(&member) != DW_TAG_member || !named(&member, name))
			continue;
		if (!dwarf_attr(&member, DW_AT_data_member_location, &attribute) ||
		    dwarf_formudata(&attribute, &offset) != 0 || offset >= OFFSET_MAX)
			return false;
		*ret = (uint32_t)offset;
		return true;
	} while (++seen < ENTRIES_MAX && dwarf_siblingof(&member, &member) == 0);
	return false;
}

/* Looks through the top level of the runtime's unit. */
static bool read_structures(Dwarf_Die *unit, struct tl_go_offsets *ret)
{
	struct tl_go_offsets found = {0};
	bool has_g = false, has_m = false;
	unsigned seen = 0;
	Dwarf_Die entry;

	if (dwarf_child(unit, &entry) != 0)
		return false;
	do {
		if (dwarf_tag(&entry) != DW_TAG_structure_type)
			continue;
		if (!has_g && named(&entry, "runtime.g"))
			has_g = member_offset(&entry, "m", &found.g_m) &&
				member_offset(&entry, "goid", &found.g_goid);
		else if (!has_m && named(&entry, "runtime.m"))
			has_m = member_offset(&entry, "curg", &found.m_curg);
	} while (!(has_g && has_m) && ++seen < ENTRIES_MAX && dwarf_siblingof(&entry, &entry) == 0);
	if (!has_g || !has_m || !found.g_goid)
		return false;
	*ret = found;
	return true;
}

bool tl_go_dwarf(int exe_fd, struct tl_go_offsets *ret)
{
	_cleanup_(endp) Dwarf *dwarf = dwarf_begin(exe_fd, DWARF_C_READ);
	Dwarf_Off at = 0, next;
	size_t header;
	Dwarf_Die unit;

	for (unsigned i = 0; dwarf && i < UNITS_MAX; i++, at = next) {
		if (dwarf_nextcu(dwarf, at, &next, &header, NULL, NULL, NULL) != 0)
			return false;
		if (next <= at || !dwarf_offdie(dwarf, at + header, &unit))
			return false;
		if (named(&unit, "runtime") && read_structures(&unit, ret))
			return true;
	}
	return false;
}
