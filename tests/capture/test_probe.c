/* SPDX-License-Identifier: Apache-2.0 */
/* Uprobes, on functions of this program that look like those of the runtimes: who was born of whom,
 * numbers of contexts whose addresses are used again, and the plaintext of a TLS library, joined to
 * the socket that its call moved. */
#include <elf.h>
#include <link.h>
#include <sys/socket.h>

#include "agent/inspector.h"
#include "agent/procfs.h"
#include "userspace/base/clock.h"
#include "tests/capture/lib/harness.c" /* one program, one source for the build */

static struct harness h;
static uint64_t start_ns;
static struct tl_uprobe *probes[16];
static int n_probes;

/* --- what is probed --- */

struct fake_m;
struct fake_g {
	uint64_t pad;
	struct fake_m *m;
	uint64_t id;
};
struct fake_m {
	uint64_t pad;
	struct fake_g *current;
};
struct fake_state {
	uint64_t pad[3];
	uint64_t thread_id;
	void *context;
};

static __thread struct fake_g *current_g;
static __thread struct fake_state *current_state;

#define FUNCTION static __attribute__((noinline, noclone, used))

/* A function that returns its argument, with its return at a place that has a name. */
void *fake_newproc(void *g); /* assembly below */
extern const char fake_newproc_return[];
__asm__(".text\n.globl fake_newproc\n.type fake_newproc, @function\nfake_newproc:\n"
	"	push %rbp\n	mov %rdi, %rax\n	pop %rbp\nfake_newproc_return:\n	"
	"ret\n"
	".size fake_newproc, . - fake_newproc\n");

/* One that hands its argument on in BX, by a call that has a name. */
void fake_queue(void *g); /* assembly below */
extern const char fake_queue_call[];
__asm__(".text\n.globl fake_queue\n.type fake_queue, @function\nfake_queue:\n"
	"	push %rbx\n	mov %rdi, %rbx\nfake_queue_call:\n	call 1f\n	pop %rbx\n"
	"	ret\n1:	ret\n"
	".size fake_queue, . - fake_queue\n");

FUNCTION void *fake_copy(void *context)
{
	__asm__ volatile("");
	return context;
}

FUNCTION void fake_end(void *context)
{
	__asm__ volatile("" : : "r"(context));
}

FUNCTION int fake_ssl_read(void *ssl, void *buf, int len)
{
	int fd = *(int *)ssl, n;
	char cipher[64];

	n = (int)read(fd, cipher, sizeof(cipher));
	if (n <= 0)
		return -1;
	n = snprintf(buf, (size_t)len, "GET / HTTP/1.1\r\nX-Request-ID: a\r\n\r\n");
	return n;
}

FUNCTION int fake_ssl_write(void *ssl, const void *buf, int len)
{
	int fd = *(int *)ssl;

	__asm__ volatile("" : : "r"(buf) : "memory");
	return write(fd, "\x17\x03\x03\x00\x01z", 6) == 6 ? len : -1;
}

/* --- attaching --- */

static int find_base(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = info->dlpi_addr;
	return 1; /* the first is the program */
}

static void attach(const void *address, enum tl_probe_kind kind)
{
	uint64_t base = 0;
	int r;

	dl_iterate_phdr(find_base, &base);
	/* A position-independent program of one linker: addresses are offsets in the file. */
	r = tl_capture_probe(h.capture, (uint32_t)getpid(), "/proc/self/exe",
			     (uint64_t)(uintptr_t)address - base, kind, &probes[n_probes]);
	if (r < 0)
		fail_msg("probe %d: %s", kind, strerror(-r));
	n_probes++;
}

static void be(enum tl_unit_kind kind, uint16_t flags, const void *slot, uint32_t a, uint32_t b,
	       uint32_t c)
{
	const struct tl_proc unit = {
		.unit_kind = kind,
		.flags = flags,
		.tls_off = slot ? (int32_t)((const char *)slot -
					    (const char *)__builtin_thread_pointer())
				: 0,
		.g_m_off = a,
		.m_curg_off = b,
		.g_goid_off = c,
	};

	assert_int_equal(tl_capture_set_unit(h.capture, (uint32_t)getpid(), start_ns, &unit), 0);
}

static int open_all(void **state)
{
	struct tl_procfs_stat stat;
	int proc = tl_procfs_open();

	(void)state;
	assert_int_equal(tl_procfs_stat(proc, (uint32_t)getpid(), &stat), 0);
	close(proc);
	start_ns = stat.start_ns;
	harness_open(&h, 8 << 20);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	harness_close(&h);
	return 0;
}

static int forget(void **state)
{
	(void)state;
	harness_forget_events(&h);
	return 0;
}

static int detach(void **state)
{
	(void)state;
	while (n_probes)
		tl_uprobe_free(probes[--n_probes]);
	be(TL_UNIT_THREAD, 0, NULL, 0, 0, 0);
	tl_capture_select(h.capture, (uint32_t)getpid(), TL_DENIED);
	return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, forget, detach)

/* The n-th event of that type; fails when there is none. */
static const void *nth(uint8_t type, size_t n)
{
	/* Perf buffers are merged by time: the newest events wait for those of other CPUs. */
	for (uint64_t until = tl_mono_ns() + 2 * TL_SEC; tl_mono_ns() < until;) {
		size_t k = n;

		harness_drain(&h);
		for (size_t i = 0; i < h.n; i++)
			if (h.events[i]->type == type && k-- == 0)
				return h.events[i];
	}
	fail_msg("no such event of type %u", type);
	return NULL;
}

static bool is_told(uint32_t what)
{
	for (size_t i = 0; i < h.n; i++)
		if (h.events[i]->type == TL_EV_PROC &&
		    ((const struct tl_ev_proc *)(const void *)h.events[i])->what == what)
			return true;
	return false;
}

/* --- tests --- */

static void a_goroutine_is_born_of_the_one_that_runs(void **state)
{
	struct fake_m m = {0};
	struct fake_g system = {.m = &m}, parent = {.m = &m, .id = 17}, child = {.id = 18};
	const struct tl_ev_unit *e;

	(void)state;
	m.current = &parent;
	current_g = &system;
	be(TL_UNIT_GOROUTINE, 0, &current_g, offsetof(struct fake_g, m),
	   offsetof(struct fake_m, current), offsetof(struct fake_g, id));
	attach(fake_newproc_return, TL_PROBE_GO_BORN);
	assert_ptr_equal(fake_newproc(&child), &child);
	e = nth(TL_EV_UNIT, 0);
	assert_int_equal(e->h.unit_kind, TL_UNIT_GOROUTINE);
	assert_int_equal(e->h.unit, 18);
	assert_int_equal(e->parent, 17);
	assert_int_equal(e->h.tgid, getpid());
}

static void a_goroutine_is_told_where_it_is_queued(void **state)
{
	struct fake_m m = {0};
	struct fake_g system = {.m = &m}, parent = {.m = &m, .id = 27}, child = {.id = 28};
	const struct tl_ev_unit *e;

	(void)state;
	m.current = &parent;
	current_g = &system;
	be(TL_UNIT_GOROUTINE, 0, &current_g, offsetof(struct fake_g, m),
	   offsetof(struct fake_m, current), offsetof(struct fake_g, id));
	attach(fake_queue_call, TL_PROBE_GO_QUEUED);
	fake_queue(&child);
	e = nth(TL_EV_UNIT, 0);
	assert_int_equal(e->h.unit, 28);
	assert_int_equal(e->parent, 27);
}

static void a_context_keeps_its_number_until_its_end(void **state)
{
	static char a, b;
	struct fake_state me = {.thread_id = (uint64_t)(uintptr_t)__builtin_thread_pointer(),
				.context = &a};
	const struct tl_ev_unit *one, *two, *three, *four;

	(void)state;
	current_state = &me;
	be(TL_UNIT_CONTEXT, TL_PROCF_VERSIONED, &current_state,
	   offsetof(struct fake_state, context), offsetof(struct fake_state, thread_id), 0);
	attach((void *)fake_end, TL_PROBE_PY_END);
	attach((void *)fake_copy, TL_PROBE_PY_BORN);
	fake_copy(&b);
	fake_copy(&b);
	one = nth(TL_EV_UNIT, 0);
	two = nth(TL_EV_UNIT, 1);
	assert_true(one->h.unit & TL_UNIT_VERSIONED);
	assert_true(one->parent & TL_UNIT_VERSIONED);
	assert_int_equal(one->parent, two->parent); /* the same context ran */
	assert_true(one->h.unit != two->h.unit);    /* born anew at the same address */
	fake_end(&a);
	fake_copy(&b);
	three = nth(TL_EV_UNIT, 2);
	assert_true(three->parent != one->parent); /* another context at the same address */
	me.context = &b;
	fake_copy(&a);
	four = nth(TL_EV_UNIT, 3);
	assert_int_equal(four->parent, three->h.unit);
}

static void a_state_of_another_thread_is_no_unit(void **state)
{
	static char a, b;
	struct fake_state me = {.thread_id = 1, .context = &a};
	const struct tl_ev_unit *e;

	(void)state;
	current_state = &me;
	be(TL_UNIT_CONTEXT, TL_PROCF_VERSIONED, &current_state,
	   offsetof(struct fake_state, context), offsetof(struct fake_state, thread_id), 0);
	attach((void *)fake_copy, TL_PROBE_PY_BORN);
	fake_copy(&b);
	e = nth(TL_EV_UNIT, 0);
	assert_int_equal(e->parent, 0);
}

static void attach_tls(void)
{
	be(TL_UNIT_THREAD, TL_PROCF_TLS, NULL, 0, 0, 0);
	attach((void *)fake_ssl_read, TL_PROBE_TLS_LEAVE);
	attach((void *)fake_ssl_write, TL_PROBE_TLS_LEAVE);
	attach((void *)fake_ssl_read, TL_PROBE_TLS_READ);
	attach((void *)fake_ssl_write, TL_PROBE_TLS_WRITE);
	tl_capture_select(h.capture, (uint32_t)getpid(), TL_SELECTED);
}

static void plaintext_is_of_the_socket_inside_the_call(void **state)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	const struct tl_ev_wire *in, *out;
	static int pair[2]; /* also the SSL object, whose address is not used again */
	char buf[256];

	(void)state;
	if (harness_options.ring == TL_RING_PERF)
		skip();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(write(pair[1], "\x17\x03\x03\x00\x01y", 6), 6);
	attach_tls();
	assert_true(fake_ssl_read(&pair[0], buf, sizeof(buf)) > 0);
	assert_int_equal(fake_ssl_write(&pair[0], answer, sizeof(answer) - 1), sizeof(answer) - 1);
	tl_capture_select(h.capture, (uint32_t)getpid(), TL_DENIED);
	in = nth(TL_EV_WIRE, 0);
	out = nth(TL_EV_WIRE, 1);
	assert_int_equal(in->h.syscall_class, TL_CALL_TLS);
	assert_int_equal(in->h.flags & TL_EVF_RECV, TL_EVF_RECV);
	assert_memory_equal(in + 1, buf, in->h.len);
	assert_int_equal(out->h.flags & TL_EVF_RECV, 0);
	assert_int_equal(out->h.len, sizeof(answer) - 1);
	assert_memory_equal(out + 1, answer, out->h.len);
	assert_int_equal(in->sock, out->sock);
	assert_true(in->sock && in->sock_ino);
	/* Its ciphertext made it known as TLS, and is not shown. */
	assert_int_equal(count_events(&h, (uint32_t)getpid(), TL_EV_WIRE), 2);
	assert_true(is_told(TL_PROC_TLS));
	close(pair[0]);
	close(pair[1]);
}

static void plaintext_without_a_socket_is_not_shown(void **state)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\n\r\n";
	static int pipes[2];
	char buf[256];

	(void)state;
	if (harness_options.ring == TL_RING_PERF)
		skip();
	assert_int_equal(pipe(pipes), 0);
	attach_tls();
	assert_true(fake_ssl_write(&pipes[1], answer, sizeof(answer) - 1) > 0);
	assert_true(fake_ssl_read(&pipes[0], buf, sizeof(buf)) > 0);
	tl_capture_select(h.capture, (uint32_t)getpid(), TL_DENIED);
	harness_drain(&h);
	assert_int_equal(count_events(&h, (uint32_t)getpid(), TL_EV_WIRE), 0);
	close(pipes[0]);
	close(pipes[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(a_goroutine_is_born_of_the_one_that_runs),
		CASE(a_goroutine_is_told_where_it_is_queued),
		CASE(a_context_keeps_its_number_until_its_end),
		CASE(a_state_of_another_thread_is_no_unit),
		CASE(plaintext_is_of_the_socket_inside_the_call),
		CASE(plaintext_without_a_socket_is_not_shown),
	};

	return harness_main(argc, argv, tests, ARRAY_SIZE(tests), open_all, close_all);
}
