/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF side as a table in memory: defines the tl_capture functions that the inspector calls, so
 * that the linker does not take the real ones. Include in one test file. State lives in shared
 * memory: the inspector may run in a forked child. */
#ifndef TL_TESTS_FAKE_CAPTURE_H
#define TL_TESTS_FAKE_CAPTURE_H

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/inspector.h"

#define FAKE_CGROUPS 64
#define FAKE_STREAMS 5000

struct fake_capture {
	uint8_t how[TL_PID_SLOTS];
	uint64_t cgroups[FAKE_CGROUPS];
	unsigned n_cgroups;
	bool all;
	unsigned selects;   /* calls of tl_capture_select */
	unsigned n_streams; /* streams with ino 1000 + index */
	struct tl_file_id decided_file;
	enum tl_verdict decided;
	struct tl_sock_key ignored;
	uint32_t unit_tgid;
	struct tl_proc unit;
	unsigned probes;	  /* attached ever */
	struct tl_probe_at probe; /* the newest; pad: of which process */
	struct tl_control control;
	int control_fd;
};

static struct fake_capture *fake_capture_new(void)
{
	struct fake_capture *fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (fake == MAP_FAILED)
		return NULL;
	fake->control_fd = memfd_create("control", MFD_CLOEXEC);
	if (ftruncate(fake->control_fd, sysconf(_SC_PAGESIZE)) < 0)
		return NULL;
	return fake;
}

static void fake_capture_free(struct fake_capture *fake)
{
	close(fake->control_fd);
	munmap(fake, sizeof(*fake));
}

static struct fake_capture *fake_of(const struct tl_capture *capture)
{
	return (struct fake_capture *)(uintptr_t)capture;
}

static struct tl_stream fake_stream(unsigned i)
{
	return (struct tl_stream){.seen_bytes = 10 * i, .lost_bytes = i, .verdict = TL_VERDICT_LOG};
}

void tl_capture_fds(const struct tl_capture *capture, struct tl_capture_fds *ret_fds)
{
	*ret_fds = (struct tl_capture_fds){.ring = -1, .control = fake_of(capture)->control_fd};
}

int tl_capture_select(struct tl_capture *capture, uint32_t tgid, uint8_t how)
{
	fake_of(capture)->how[tgid % TL_PID_SLOTS] = how;
	fake_of(capture)->selects++;
	return 0;
}

int tl_capture_selected(struct tl_capture *capture, uint32_t tgid)
{
	return fake_of(capture)->how[tgid % TL_PID_SLOTS];
}

int tl_capture_select_cgroup(struct tl_capture *capture, uint64_t cgroup_id, bool on)
{
	struct fake_capture *fake = fake_of(capture);

	if (on && fake->n_cgroups < FAKE_CGROUPS)
		fake->cgroups[fake->n_cgroups++] = cgroup_id;
	return 0;
}

int tl_capture_select_all(struct tl_capture *capture, bool on)
{
	fake_of(capture)->all = on;
	return 0;
}

int tl_capture_set_unit(struct tl_capture *capture, uint32_t tgid, uint64_t start_ns,
			const struct tl_proc *unit)
{
	(void)start_ns;
	fake_of(capture)->unit_tgid = tgid;
	fake_of(capture)->unit = *unit;
	return 0;
}

int tl_capture_probe(struct tl_capture *capture, uint32_t tgid, const char *path, uint64_t offset,
		     enum tl_probe_kind kind, struct tl_uprobe **ret_probe)
{
	struct fake_capture *fake = fake_of(capture);
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	fake->probes++;
	fake->probe = (struct tl_probe_at){st.st_ino, offset, kind, tgid};
	*ret_probe = NULL;
	return 0;
}

void tl_uprobe_free(struct tl_uprobe *probe)
{
	(void)probe;
}

void tl_capture_unprobed(struct tl_capture *capture)
{
	(void)capture;
}

void tl_capture_forget_tls(struct tl_capture *capture, uint32_t tgid)
{
	(void)capture;
	(void)tgid;
}

int tl_capture_decide(struct tl_capture *capture, const struct tl_file_id *file,
		      enum tl_verdict verdict)
{
	struct fake_capture *fake = fake_of(capture);

	if (file->ino < 1000 || file->ino >= 1000 + fake->n_streams)
		return -ENOENT;
	fake->decided_file = *file;
	fake->decided = verdict;
	return 0;
}

int tl_capture_ignore_sock(struct tl_capture *capture, const struct tl_sock_key *sock)
{
	fake_of(capture)->ignored = *sock;
	return 0;
}

int tl_capture_stream(struct tl_capture *capture, const struct tl_file_id *file,
		      struct tl_stream *ret)
{
	struct fake_capture *fake = fake_of(capture);

	if (file->ino < 1000 || file->ino >= 1000 + fake->n_streams)
		return -ENOENT;
	*ret = fake_stream((unsigned)file->ino - 1000);
	return 0;
}

int tl_capture_forget(struct tl_capture *capture, const struct tl_file_id *file,
		      struct tl_stream *ret_last)
{
	return tl_capture_stream(capture, file, ret_last);
}

int tl_capture_streams(struct tl_capture *capture,
		       int (*each)(void *arg, const struct tl_file_id *file,
				   const struct tl_stream *stream),
		       void *arg)
{
	for (unsigned i = 0; i < fake_of(capture)->n_streams; i++) {
		struct tl_file_id file = {.ino = 1000 + i};
		struct tl_stream stream = fake_stream(i);
		int r = each(arg, &file, &stream);

		if (r != 0)
			return r;
	}
	return 0;
}

int tl_capture_stats(struct tl_capture *capture, struct tl_stats *ret_stats)
{
	*ret_stats = (struct tl_stats){.seen_calls = fake_of(capture)->selects, .seen_bytes = 77};
	return 0;
}

#endif
