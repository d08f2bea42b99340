/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cgroup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "userspace/base/cleanup.h"

#define CONTAINER_ID_LEN 64

/* Whether `controllers` ("cpu,cpuacct", ends at `end`) names `want`. */
static bool has_controller(const char *controllers, const char *end, const char *want)
{
	size_t len = strlen(want);

	while (controllers < end) {
		const char *comma = memchr(controllers, ',', (size_t)(end - controllers));
		const char *stop = comma ? comma : end;

		if ((size_t)(stop - controllers) == len && memcmp(controllers, want, len) == 0)
			return true;
		controllers = stop + 1;
	}
	return false;
}

/* A line is "ID:CONTROLLERS:PATH"; the unified tree has id 0 and no controllers. */
static void parse_line(const char *line, size_t len, struct tl_cgroup *cgroup)
{
	const char *end = line + len;
	const char *controllers = memchr(line, ':', len);
	const char *path;
	int tree;

	if (!controllers)
		return;
	controllers++;
	path = memchr(controllers, ':', (size_t)(end - controllers));
	if (!path)
		return;
	if (path == controllers)
		tree = TL_CGROUP_UNIFIED;
	else if (has_controller(controllers, path, "memory"))
		tree = TL_CGROUP_MEMORY;
	else if (has_controller(controllers, path, "name=systemd"))
		tree = TL_CGROUP_SYSTEMD;
	else
		return;
	path++;
	snprintf(cgroup->path[tree], sizeof(cgroup->path[tree]), "%.*s", (int)(end - path), path);
}

void tl_cgroup_parse(const char *text, struct tl_cgroup *ret)
{
	memset(ret, 0, sizeof(*ret));
	while (*text) {
		size_t len = strcspn(text, "\n");

		parse_line(text, len, ret);
		text += len;
		text += *text == '\n';
	}
}

const char *tl_cgroup_telling(const struct tl_cgroup *cgroup)
{
	static const int order[] = {TL_CGROUP_UNIFIED, TL_CGROUP_SYSTEMD, TL_CGROUP_MEMORY};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (cgroup->path[order[i]][0] && strcmp(cgroup->path[order[i]], "/") != 0)
			return cgroup->path[order[i]];
	return "/";
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool tl_cgroup_container(const char *path, char out[72])
{
	bool found = false;

	for (const char *p = path; *p;) {
		size_t run = 0;

		while (is_hex(p[run]))
			run++;
		if (run == CONTAINER_ID_LEN && (p == path || !isalnum((unsigned char)p[-1])) &&
		    !isalnum((unsigned char)p[run])) {
			memcpy(out, p, run);
			out[run] = '\0';
			found = true;
		}
		p += run ? run : 1;
	}
	return found;
}

bool tl_cgroup_pod(const char *path, char out[40])
{
	static const char dashes[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	const char *p = strstr(path, "kubepods");

	for (p = p ? strstr(p, "pod") : NULL; p; p = strstr(p + 3, "pod")) {
		size_t i;

		for (i = 0; i < sizeof(dashes) - 1; i++) {
			char c = p[3 + i];

			if (dashes[i] == '-' ? c != '-' && c != '_' : !is_hex(c))
				break;
			out[i] = dashes[i] == '-' ? '-' : c;
		}
		if (i == sizeof(dashes) - 1) {
			out[i] = '\0';
			return true;
		}
	}
	return false;
}

bool tl_cgroup_unit(const char *path, char *out, size_t size)
{
	static const char suffix[] = ".service";
	bool found = false;

	while (*path) {
		size_t len = strcspn(path, "/");

		if (len > sizeof(suffix) - 1 && len < size &&
		    memcmp(path + len - (sizeof(suffix) - 1), suffix, sizeof(suffix) - 1) == 0 &&
		    strncmp(path, "user@", 5) != 0) {
			memcpy(out, path, len);
			out[len] = '\0';
			found = true;
		}
		path += len;
		path += *path == '/';
	}
	return found;
}

/* A line of mountinfo: "ID PARENT MAJ:MIN ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE SUPER"
 * (proc(5)). Mounts of a part of a tree (ROOT is not "/") do not answer for paths from its root. */
static void mount_line(const char *line, struct tl_cgroup_mounts *mounts)
{
	char root[256], point[256], type[32], super[256];
	const char *dash = strstr(line, " - ");
	size_t len;
	int tree;

	if (!dash || sscanf(line, "%*u %*u %*s %255s %255s", root, point) != 2 ||
	    sscanf(dash, " - %31s %*s %255s", type, super) != 2 || strcmp(root, "/") != 0)
		return;
	len = strlen(super);
	if (strcmp(type, "cgroup2") == 0)
		tree = TL_CGROUP_UNIFIED;
	else if (strcmp(type, "cgroup") == 0 && has_controller(super, super + len, "memory"))
		tree = TL_CGROUP_MEMORY;
	else if (strcmp(type, "cgroup") == 0 && has_controller(super, super + len, "name=systemd"))
		tree = TL_CGROUP_SYSTEMD;
	else
		return;
	if (!mounts->path[tree][0])
		snprintf(mounts->path[tree], sizeof(mounts->path[tree]), "%s", point);
}

int tl_cgroup_mounts_read(int proc, struct tl_cgroup_mounts *ret)
{
	int fd = openat(proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "re");
	_cleanup_(freep) char *line = NULL;
	size_t size = 0;

	if (!file) {
		int e = errno;

		closep(&fd);
		return -e;
	}
	memset(ret, 0, sizeof(*ret));
	while (getline(&line, &size, file) > 0)
		mount_line(line, ret);
	fclose(file);
	return 0;
}

/* Inode number of the group's folder in a tree: its kernfs id on 64-bit kernels. */
static uint64_t folder_id(const struct tl_cgroup_mounts *mounts, const struct tl_cgroup *cgroup,
			  enum tl_cgroup_tree tree)
{
	char path[1024];
	struct stat st;

	/* "/.." begins a path outside of our cgroup namespace: no folder of ours. */
	if (!mounts->path[tree][0] || !cgroup->path[tree][0] ||
	    strncmp(cgroup->path[tree], "/..", 3) == 0)
		return 0;
	snprintf(path, sizeof(path), "%s%s", mounts->path[tree], cgroup->path[tree]);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

uint64_t tl_cgroup_id(const struct tl_cgroup_mounts *mounts, const struct tl_cgroup *cgroup)
{
	bool in_unified_root = strcmp(cgroup->path[TL_CGROUP_UNIFIED], "/") == 0 ||
			       !cgroup->path[TL_CGROUP_UNIFIED][0];
	uint64_t id = 0;

	if (in_unified_root)
		id = folder_id(mounts, cgroup, TL_CGROUP_MEMORY);
	return id ? id : folder_id(mounts, cgroup, TL_CGROUP_UNIFIED);
}
