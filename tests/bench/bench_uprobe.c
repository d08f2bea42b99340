/* SPDX-License-Identifier: Apache-2.0 */
/* What a uprobe adds to a call of the probed function, in the service's own CPU time: a function of
 * this program that looks like the runtime's is called with nothing attached, then with the
 * probe. Median of the rounds, smallest and largest. The ring is emptied between. usage:
 * bench_uprobe [ROUNDS]     needs the rights of the inspector */
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/inspector.h"
#include "agent/procfs.h"
#include "agent/ring.h"
#include "userspace/base/clock.h"

#define CALLS 20000
#define ROUNDS_MAX 64

struct fake_g {
	uint64_t pad, m, id;
};
struct fake_state {
	uint64_t pad[3], thread_id;
	void *context;
};

static __thread struct fake_g *current_g;
static __thread struct fake_state *current_state;

/* As compilers write them: what begins with a push is emulated by the kernel, as a call is; a
 * return is stepped over, with a second trap. */
void *fake_newproc(void *g);
void *fake_copy(void *context);
void fake_end(void *context);
extern const char fake_newproc_call[], fake_newproc_return[];
__asm__(".text\n"
	".globl fake_newproc\n.type fake_newproc, @function\nfake_newproc:\n"
	"	push %rbx\n	mov %rdi, %rax\n	mov %rdi, %rbx\n"
	"fake_newproc_call:\n	call fake_leaf\n	pop %rbx\n"
	"fake_newproc_return:\n	ret\nfake_leaf:\n	ret\n"
	".size fake_newproc, . - fake_newproc\n"
	".globl fake_copy\n.type fake_copy, @function\nfake_copy:\n"
	"	push %rbx\n	mov %rdi, %rax\n	pop %rbx\n	ret\n"
	".size fake_copy, . - fake_copy\n"
	".globl fake_end\n.type fake_end, @function\nfake_end:\n"
	"	push %rbx\n	pop %rbx\n	ret\n"
	".size fake_end, . - fake_end\n");

static struct tl_capture *capture;
static struct tl_ring *ring;
static uint64_t start_ns;
static char contexts[64];

static void call_newproc(unsigned i)
{
	static struct fake_g child = {.id = 18};

	(void)i;
	(void)fake_newproc(&child);
}

static void call_copy(unsigned i)
{
	(void)fake_copy(&contexts[i % sizeof(contexts)]);
}

static void call_end(unsigned i)
{
	fake_end(&contexts[i % sizeof(contexts)]);
}

static const struct {
	const char *name;
	const void *at;
	enum tl_probe_kind kind;
	void (*call)(unsigned i);
	bool python;
} cases[] = {
	{"goroutine born (a call)", fake_newproc_call, TL_PROBE_GO_QUEUED, call_newproc, false},
	{"goroutine born (a RET)", fake_newproc_return, TL_PROBE_GO_BORN, call_newproc, false},
	{"context born (return probe)", (const void *)fake_copy, TL_PROBE_PY_BORN, call_copy, true},
	{"context ends (entry)", (const void *)fake_end, TL_PROBE_PY_END, call_end, true},
};

static int find_base(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = info->dlpi_addr;
	return 1; /* the first is the program */
}

static int32_t tls_offset(const void *slot)
{
	return (int32_t)((const char *)slot - (const char *)__builtin_thread_pointer());
}

static void be(bool python)
{
	const struct tl_proc go = {.unit_kind = TL_UNIT_GOROUTINE,
				   .tls_off = tls_offset(&current_g),
				   .g_m_off = offsetof(struct fake_g, m),
				   .g_goid_off = offsetof(struct fake_g, id)};
	const struct tl_proc context = {.unit_kind = TL_UNIT_CONTEXT,
					.flags = TL_PROCF_VERSIONED,
					.tls_off = tls_offset(&current_state),
					.g_m_off = offsetof(struct fake_state, context),
					.m_curg_off = offsetof(struct fake_state, thread_id)};

	(void)tl_capture_set_unit(capture, (uint32_t)getpid(), start_ns, python ? &context : &go);
}

static double run(void (*call)(unsigned i))
{
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (unsigned i = 0; i < CALLS; i++)
		call(i);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	while (tl_ring_next(ring))
		tl_ring_release(ring);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(values[0]), by_size);
	return values[n / 2];
}

/* First bare, then probed: taking a probe out takes the kernel a while. */
static void measure(size_t i, unsigned rounds)
{
	double bare[ROUNDS_MAX], probed[ROUNDS_MAX], floor;
	struct tl_uprobe *probe = NULL;
	uint64_t base = 0;
	int e;

	dl_iterate_phdr(find_base, &base);
	be(cases[i].python);
	for (unsigned r = 0; r < rounds; r++)
		bare[r] = run(cases[i].call);
	floor = median(bare, rounds);
	e = tl_capture_probe(capture, (uint32_t)getpid(), "/proc/self/exe",
			     (uint64_t)(uintptr_t)cases[i].at - base, cases[i].kind, &probe);
	if (e < 0) {
		printf("%s: %s\n", cases[i].name, strerror(-e));
		return;
	}
	for (unsigned r = 0; r < rounds; r++)
		probed[r] = run(cases[i].call) - floor;
	tl_uprobe_free(probe);
	median(probed, rounds);
	printf("%-28s %6.0f ns (%.0f to %.0f)\n", cases[i].name, probed[rounds / 2], probed[0],
	       probed[rounds - 1]);
}

static int open_all(struct tl_error *error)
{
	const struct tl_capture_options options = {
		.ring_bytes = 16 << 20, .wire = true, .undecided_max = 65536, .wire_max = 4096};
	struct tl_capture_fds fds;
	struct tl_procfs_stat stat;
	int proc = tl_procfs_open();
	bool reused;
	int r;

	if (proc < 0 || tl_procfs_stat(proc, (uint32_t)getpid(), &stat) < 0)
		return -ESRCH;
	start_ns = stat.start_ns;
	r = tl_capture_open(&options, &capture, &reused, error);
	if (r < 0)
		return r;
	tl_capture_fds(capture, &fds);
	return tl_ring_open(&fds, &ring, error);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 15;
	struct fake_g g = {.id = 17};
	struct fake_state state = {.thread_id = (uint64_t)(uintptr_t)__builtin_thread_pointer(),
				   .context = contexts};
	struct tl_error error = {0};

	current_g = &g;
	current_state = &state;
	if (open_all(&error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		measure(i, rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX);
	tl_ring_close(ring);
	tl_capture_close(capture, false);
	return 0;
}
