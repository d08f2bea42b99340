/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspector_probe.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "agent/procfs.h"

#define MAPS_MAX 65536 /* lines of /proc/PID/maps looked at */
#define SLOTS 32       /* of thread-specific data in a glibc thread's own block */
#define SLOT_AT(n)                                                                                 \
	(0x310 + 16 * (uint64_t)(n) + 8) /* struct pthread, specific_1stblock[n].data              \
					  */
#define JVM_THREADS 64			 /* looked at */

struct attached {
	uint32_t tgid;
	uint64_t start_ns;
	struct tl_uprobe *probe; /* owned */
};

struct tl_probes {
	struct tl_capture *capture; /* borrowed */
	int proc;		    /* borrowed */
	struct attached *attached;  /* owned; those of a process are neighbours */
	size_t n, cap;
};

struct tl_probes *tl_probes_new(struct tl_capture *capture, int proc)
{
	struct tl_probes *probes = calloc(1, sizeof(*probes));

	if (!probes)
		return NULL;
	probes->capture = capture;
	probes->proc = proc;
	return probes;
}

void tl_probes_free(struct tl_probes *probes)
{
	if (!probes)
		return;
	for (size_t i = 0; i < probes->n; i++)
		tl_uprobe_free(probes->attached[i].probe);
	free(probes->attached);
	free(probes);
}

/* --- mapped files --- */

struct mapping {
	uint64_t start, end, offset, ino;
	char code;	 /* 'x' or '-' */
	char path[4096]; /* as the process sees it; empty for no file */
};

static void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* Calls `each` for every mapping of a file; a value other than 0 stops and is returned. */
static int each_mapping(int proc, uint32_t tgid, int (*each)(void *arg, const struct mapping *m),
			void *arg)
{
	_cleanup_(fclosep) FILE *file = NULL;
	char path[32], line[4352];
	int fd, r = 0;

	snprintf(path, sizeof(path), "%u/maps", tgid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	for (int n = 0; n < MAPS_MAX && r == 0 && fgets(line, sizeof(line), file); n++) {
		struct mapping m = {0};
		int at = 0;

		if (sscanf(line, "%lx-%lx %*c%*c%c%*c %lx %*x:%*x %lu %n", &m.start, &m.end,
			   &m.code, &m.offset, &m.ino, &at) < 5 ||
		    !m.ino || !at || line[at] != '/')
			continue;
		snprintf(m.path, sizeof(m.path), "%.*s", (int)strcspn(line + at, "\n"), line + at);
		r = each(arg, &m);
	}
	return r;
}

/* Opens the file of a mapping, as long as it still is at its path. */
static int open_mapping(int proc, uint32_t tgid, const struct mapping *m)
{
	char path[4160];
	_cleanup_(closep) int fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), "%u/root%s", tgid, m->path);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_ino == m->ino && S_ISREG(st.st_mode) ? TAKE_FD(fd) : -ESTALE;
}

struct wanted {
	const char *glob; /* of the base name; or NULL: by inode */
	uint64_t ino;	  /* with a NULL glob */
	bool code;	  /* must be code that contains `offset` of the file */
	uint64_t offset;
	struct mapping found;
};

static int fits(void *arg, const struct mapping *m)
{
	struct wanted *wanted = arg;

	if (wanted->glob ? fnmatch(wanted->glob, strrchr(m->path, '/') + 1, 0) != 0
			 : m->ino != wanted->ino)
		return 0;
	if (wanted->code && (m->code != 'x' || wanted->offset < m->offset ||
			     wanted->offset - m->offset >= m->end - m->start))
		return 0;
	wanted->found = *m;
	return 1;
}

int tl_probes_module(struct tl_probes *probes, uint32_t tgid, const char *glob,
		     struct tl_module_info *ret, int *ret_fd)
{
	_cleanup_(closep) int fd = -1;
	struct wanted wanted = {.glob = glob};
	struct stat st;
	int r;

	if (!glob[0]) {
		fd = tl_procfs_open_exe(probes->proc, tgid);
		if (fd < 0 || fstat(fd, &st) < 0)
			return fd < 0 ? fd : -errno;
		wanted.glob = NULL;
		wanted.ino = st.st_ino;
	}
	r = each_mapping(probes->proc, tgid, fits, &wanted);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	if (fd < 0)
		fd = open_mapping(probes->proc, tgid, &wanted.found);
	if (fd < 0)
		return fd;
	*ret = (struct tl_module_info){.start = wanted.found.start,
				       .offset = wanted.found.offset,
				       .ino = wanted.found.ino};
	snprintf(ret->name, sizeof(ret->name), "%s", strrchr(wanted.found.path, '/') + 1);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* --- attaching --- */

static bool lives(const struct tl_probes *probes, uint32_t tgid, uint64_t start_ns)
{
	struct tl_procfs_stat stat;

	return tl_procfs_stat(probes->proc, tgid, &stat) == 0 && stat.state != 'Z' &&
	       tl_procfs_same_start(start_ns, stat.start_ns);
}

/* A place behind the others of the process. NULL: there is none. */
static struct attached *place(struct tl_probes *probes, uint32_t tgid, int *ret_error)
{
	size_t at = 0, of_process = 0;

	for (size_t i = 0; i < probes->n; i++)
		if (probes->attached[i].tgid == tgid) {
			of_process++;
			at = i + 1;
		}
	*ret_error = -ENOSPC;
	if (of_process >= TL_PROBES_PER_PROCESS || probes->n >= TL_PROBES_MAX)
		return NULL;
	if (probes->n == probes->cap) {
		size_t cap = probes->cap ? 2 * probes->cap : 64;
		struct attached *attached = reallocarray(probes->attached, cap, sizeof(*attached));

		*ret_error = -ENOMEM;
		if (!attached)
			return NULL;
		probes->attached = attached;
		probes->cap = cap;
	}
	if (!of_process)
		at = probes->n;
	memmove(&probes->attached[at + 1], &probes->attached[at],
		(probes->n - at) * sizeof(probes->attached[0]));
	probes->n++;
	probes->attached[at] = (struct attached){.tgid = tgid};
	return &probes->attached[at];
}

static void remove_at(struct tl_probes *probes, size_t at)
{
	tl_uprobe_free(probes->attached[at].probe);
	probes->n--;
	memmove(&probes->attached[at], &probes->attached[at + 1],
		(probes->n - at) * sizeof(probes->attached[0]));
}

int tl_probes_attach(struct tl_probes *probes, uint32_t tgid, uint64_t start_ns,
		     const struct tl_probe_at *at)
{
	struct wanted wanted = {.ino = at->ino, .code = true, .offset = at->offset};
	_cleanup_(closep) int fd = -1;
	struct attached *attached;
	struct stat st;
	char path[32];
	int r;

	if (!lives(probes, tgid, start_ns))
		return -ESRCH;
	r = each_mapping(probes->proc, tgid, fits, &wanted);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	fd = tl_procfs_open_exe(probes->proc, tgid);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_ino != at->ino) {
		closep(&fd);
		fd = open_mapping(probes->proc, tgid, &wanted.found);
	}
	if (fd < 0)
		return fd;
	attached = place(probes, tgid, &r);
	if (!attached)
		return r;
	attached->start_ns = start_ns;
	/* The descriptor, not the path: what was checked is what is probed. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = tl_capture_probe(probes->capture, tgid, path, at->offset, (enum tl_probe_kind)at->kind,
			     &attached->probe);
	if (r < 0)
		remove_at(probes, (size_t)(attached - probes->attached));
	return r;
}

void tl_probes_sweep(struct tl_probes *probes)
{
	bool alive = false;

	for (size_t i = probes->n; i-- > 0;) {
		const struct attached *a = &probes->attached[i];

		/* Neighbours of one process are asked about once. */
		if (i + 1 >= probes->n || probes->attached[i + 1].tgid != a->tgid ||
		    probes->attached[i + 1].start_ns != a->start_ns) {
			alive = lives(probes, a->tgid, a->start_ns);
			if (!alive)
				tl_capture_forget_tls(probes->capture, a->tgid);
		}
		if (!alive)
			remove_at(probes, i);
	}
}

/* --- slots --- */

static bool peek(uint32_t tgid, uint64_t address, void *out, size_t len)
{
	struct iovec to = {out, len}, from = {(void *)(uintptr_t)address, len};

	return process_vm_readv((pid_t)tgid, &to, 1, &from, 1, 0) == (ssize_t)len;
}

int tl_probes_slot(uint32_t tgid, uint64_t address)
{
	uint32_t slot;

	if (!peek(tgid, address, &slot, sizeof(slot)))
		return -EFAULT;
	return slot < SLOTS ? (int)slot : -ERANGE;
}

/* A field's offset: a small number. */
static int peek_offset(uint32_t tgid, uint64_t address, uint32_t *ret)
{
	uint64_t offset;

	if (!peek(tgid, address, &offset, sizeof(offset)))
		return -EFAULT;
	if (offset > UINT16_MAX)
		return -ERANGE;
	*ret = (uint32_t)offset;
	return 0;
}

struct jvm {
	uint32_t length, threads, os_thread, pthread, entry, id;
};

static int read_jvm(uint32_t tgid, const struct tl_jvm_words *words, struct jvm *ret)
{
	int r = peek_offset(tgid, words->length, &ret->length);

	ret->id = 0;
	if (r == 0)
		r = peek_offset(tgid, words->threads, &ret->threads);
	if (r == 0)
		r = peek_offset(tgid, words->os_thread, &ret->os_thread);
	if (r == 0)
		r = peek_offset(tgid, words->pthread, &ret->pthread);
	if (r == 0)
		r = peek_offset(tgid, words->entry, &ret->entry);
	if (r == 0 && words->id)
		r = peek_offset(tgid, words->id, &ret->id);
	return r == 0 && (!ret->entry || !ret->os_thread) ? -ERANGE : r;
}

/* Which slots of the thread hold its JavaThread, as bits; 0 when it cannot be read. */
static uint32_t slots_of(uint32_t tgid, const struct jvm *jvm, uint64_t thread)
{
	uint64_t os_thread, self, value;
	uint32_t slots = 0;

	if (!peek(tgid, thread + jvm->os_thread, &os_thread, 8) ||
	    !peek(tgid, os_thread + jvm->pthread, &self, 8))
		return 0;
	for (int i = 0; i < SLOTS; i++)
		if (peek(tgid, self + SLOT_AT(i), &value, 8) && value == thread)
			slots |= 1u << i;
	return slots;
}

int tl_probes_jvm(uint32_t tgid, const struct tl_jvm_words *words, struct tl_jvm_layout *ret)
{
	uint64_t list, threads, thread;
	uint32_t n, common = UINT32_MAX, seen = 0;
	struct jvm jvm;
	int r = read_jvm(tgid, words, &jvm);

	if (r < 0)
		return r;
	if (!peek(tgid, words->list, &list, 8) || !peek(tgid, list + jvm.length, &n, 4) ||
	    !peek(tgid, list + jvm.threads, &threads, 8))
		return -EFAULT;
	for (uint32_t i = 0; i < n && i < JVM_THREADS; i++) {
		uint32_t slots;

		if (!peek(tgid, threads + 8 * (uint64_t)i, &thread, 8))
			break;
		slots = slots_of(tgid, &jvm, thread);
		/* One that is just ending. */
		if (!slots)
			continue;
		common &= slots;
		seen++;
	}
	if (!seen || !common || (common & (common - 1)))
		return -ENOENT;
	*ret = (struct tl_jvm_layout){
		.slot = (uint32_t)__builtin_ctz(common), .entry = jvm.entry, .id = jvm.id};
	return 0;
}
