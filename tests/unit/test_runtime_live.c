/* SPDX-License-Identifier: Apache-2.0 */
/* Runtimes that are told by the files a process has mapped: the interpreters and libraries of this
 * machine, in a process that is only a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/learn.h"
#include "agent/runtimes/runtime.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/fs.h"

#define START 0x7f0000000000ULL /* where everything is mapped */

struct mapped {
	const char *paths[8]; /* the first is the executable; NULL at the end */
	int slot;	      /* what is read where the slot's number is, or -errno */
	uint64_t asked;	      /* the address it was asked of */
	struct tl_jvm_words words;
	int jvm; /* result */
};

static int module(void *arg, const char *wanted, struct tl_module_info *ret, int *ret_fd)
{
	struct mapped *mapped = arg;
	struct stat st;

	for (int i = 0; mapped->paths[i]; i++) {
		const char *name = strrchr(mapped->paths[i], '/') + 1;

		if (wanted[0] ? fnmatch(wanted, name, 0) != 0 : i != 0)
			continue;
		*ret_fd = open(mapped->paths[i], O_RDONLY | O_CLOEXEC);
		if (*ret_fd < 0)
			return -ENOENT;
		assert_int_equal(fstat(*ret_fd, &st), 0);
		*ret = (struct tl_module_info){.start = START, .ino = st.st_ino};
		snprintf(ret->name, sizeof(ret->name), "%s", name);
		return 0;
	}
	return -ENOENT;
}

static int slot(void *arg, uint64_t address)
{
	struct mapped *mapped = arg;

	mapped->asked = address;
	return mapped->slot;
}

static int jvm(void *arg, const struct tl_jvm_words *words, struct tl_jvm_layout *ret)
{
	struct mapped *mapped = arg;

	mapped->words = *words;
	*ret = (struct tl_jvm_layout){.slot = 3, .entry = 700, .id = words->id ? 800 : 0};
	return mapped->jvm;
}

static int live(struct mapped *mapped, unsigned sets, struct tl_runtime_unit *ret,
		struct tl_error *error)
{
	const struct tl_runtime_view view = {
		.arg = mapped, .module = module, .slot = slot, .jvm = jvm, .sets = sets};

	memset(ret, 0, sizeof(*ret));
	return tl_runtime_live(&view, ret, error) != NULL;
}

/* --- CPython --- */

#define PYTHON "/usr/bin/python3.11"

static const char *asyncio_path(void)
{
	static char path[512];
	glob_t found;

	if (glob("/usr/lib/python3*/lib-dynload/_asyncio.cpython-311*.so", 0, NULL, &found) != 0)
		skip();
	snprintf(path, sizeof(path), "%s", found.gl_pathv[0]);
	globfree(&found);
	return path;
}

static void cpython_with_asyncio_has_contexts(void **state)
{
	struct mapped mapped = {.paths = {PYTHON, asyncio_path(), "/x/libc.so.6"}, .slot = 5};
	struct tl_runtime_unit unit;
	struct tl_error error = {0};

	(void)state;
	if (access(PYTHON, R_OK) != 0)
		skip();
	mapped.paths[2] = "/lib/x86_64-linux-gnu/libc.so.6";
	assert_true(live(&mapped, TL_PROBES_PYTHON, &unit, &error));
	assert_false(unit.refused);
	assert_int_equal(unit.unit.unit_kind, TL_UNIT_CONTEXT);
	assert_int_equal(unit.unit.tls_off, 0x310 + 16 * 5 + 8);
	assert_int_equal(unit.unit.g_m_off, 224);
	assert_string_equal(unit.version, "python3.11");
	assert_true(mapped.asked > START);
	assert_int_equal(unit.probed, TL_PROCF_VERSIONED);
	assert_int_equal(unit.n_probes, 2);
	assert_int_equal(unit.probes[0].kind, TL_PROBE_PY_END);
	/* Without probes the unit is read all the same. */
	assert_true(live(&mapped, 0, &unit, &error));
	assert_int_equal(unit.n_probes, 0);
	assert_int_equal(unit.probed, 0);
}

static void cpython_without_asyncio_keeps_its_threads(void **state)
{
	struct mapped mapped = {.paths = {PYTHON, "/lib/x86_64-linux-gnu/libc.so.6"}, .slot = 5};
	struct tl_runtime_unit unit;
	struct tl_error error = {0};

	(void)state;
	assert_false(live(&mapped, TL_PROBES_PYTHON, &unit, &error));
}

static void cpython_that_is_not_known_for_certain_is_refused(void **state)
{
	struct mapped mapped = {.paths = {PYTHON, asyncio_path()}, .slot = 5};
	struct tl_runtime_unit unit;
	struct tl_error error = {0};

	(void)state;
	/* Another C library. */
	assert_true(live(&mapped, TL_PROBES_PYTHON, &unit, &error));
	assert_true(unit.refused);
	assert_non_null(strstr(error.message, "glibc"));
	assert_int_equal(unit.unit.unit_kind, TL_UNIT_CONTEXT);
	assert_int_equal(unit.n_probes, 0);
	/* No slot where its number should be. */
	mapped.paths[2] = "/lib/x86_64-linux-gnu/libc.so.6";
	mapped.slot = -ERANGE;
	assert_true(live(&mapped, TL_PROBES_PYTHON, &unit, &error));
	assert_true(unit.refused);
}

/* --- JVM --- */

static const char *find_jvm(const char *pattern)
{
	static char path[512];
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		return NULL;
	snprintf(path, sizeof(path), "%s", found.gl_pathv[0]);
	globfree(&found);
	return path;
}

static void a_jvm_with_virtual_threads_tells_where_they_are(void **state)
{
	const char *path = find_jvm("/usr/lib/jvm/*2[4-9]*/lib/server/libjvm.so");
	struct mapped mapped = {.paths = {"/bin/true", path}};
	struct tl_runtime_unit unit;
	struct tl_error error = {0};

	(void)state;
	if (!path)
		skip();
	assert_true(live(&mapped, 0, &unit, &error));
	assert_false(unit.refused);
	assert_int_equal(unit.unit.unit_kind, TL_UNIT_VTHREAD);
	assert_int_equal(unit.unit.tls_off, 0x310 + 16 * 3 + 8);
	assert_int_equal(unit.unit.g_m_off, 700);
	assert_int_equal(unit.unit.m_curg_off, 800);
	assert_true(mapped.words.list > START && mapped.words.id > START);
	/* Its threads are not where they should be: threads stay the unit. */
	mapped.jvm = -ENOENT;
	assert_true(live(&mapped, 0, &unit, &error));
	assert_true(unit.refused);
	assert_int_equal(unit.unit.unit_kind, TL_UNIT_THREAD);
}

static void a_jvm_before_virtual_threads_keeps_its_threads(void **state)
{
	const char *path = find_jvm("/usr/lib/jvm/*17*/lib/server/libjvm.so");
	struct mapped mapped = {.paths = {"/bin/true", path}};
	struct tl_runtime_unit unit;
	struct tl_error error = {0};

	(void)state;
	if (!path)
		skip();
	assert_false(live(&mapped, 0, &unit, &error));
}

/* --- TLS --- */

static void openssl_is_probed_entries_last(void **state)
{
	struct mapped mapped = {.paths = {"/bin/true", "/usr/lib/x86_64-linux-gnu/libssl.so.3"}};
	const struct tl_runtime_view view = {
		.arg = &mapped, .module = module, .sets = TL_PROBES_TLS};
	struct tl_runtime_unit unit = {0};
	bool entry = false;

	(void)state;
	if (access(mapped.paths[1], R_OK) != 0)
		skip();
	assert_int_equal(tl_tls_live(&view, &unit), 1);
	assert_int_equal(unit.probed, TL_PROCF_TLS);
	assert_int_equal(unit.n_probes, 11);
	for (unsigned i = 0; i < unit.n_probes; i++) {
		bool leave = unit.probes[i].kind == TL_PROBE_TLS_LEAVE;

		assert_false(entry && leave);
		entry |= !leave && unit.probes[i].kind != TL_PROBE_TLS_END;
	}
	mapped.paths[1] = NULL;
	unit = (struct tl_runtime_unit){0};
	assert_int_equal(tl_tls_live(&view, &unit), 0);
	assert_int_equal(unit.n_probes, 0);
}

/* A library cut at many places, and with bytes changed: an answer or none, never a crash. */
static void damaged_libraries_do_no_harm(void **state)
{
	static const char path[] = "/tmp/tapline-damaged-libssl.so.3";
	_cleanup_(tl_buf_done) struct tl_buf file = {0};
	struct mapped mapped = {.paths = {"/bin/true", path}};
	const struct tl_runtime_view view = {
		.arg = &mapped, .module = module, .sets = TL_PROBES_TLS};
	uint64_t seed = 7;

	(void)state;
	if (tl_file_read("/usr/lib/x86_64-linux-gnu/libssl.so.3", 8 << 20, &file, NULL) < 0)
		skip();
	for (int round = 0; round < 60; round++) {
		struct tl_runtime_unit unit = {0};
		struct tl_span part = tl_buf_span(&file);
		char saved[16];

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		if (round % 2)
			part.len = (seed >> 33) % part.len;
		memcpy(saved, file.data + 16 * (round % 200), 16);
		memset(file.data + 16 * (round % 200), round % 3 ? 0xff : (int)(seed >> 56), 16);
		assert_int_equal(tl_file_replace(path, part, false, NULL), 0);
		(void)tl_tls_live(&view, &unit);
		memcpy(file.data + 16 * (round % 200), saved, 16);
	}
	unlink(path);
}

/* --- the set --- */

static void sets_are_auto_off_or_a_list(void **state)
{
	struct tl_error error = {0};
	unsigned sets;

	(void)state;
	assert_int_equal(tl_learn_sets("auto", &sets, &error), 0);
	assert_int_equal(sets, TL_PROBES_GO | TL_PROBES_PYTHON | TL_PROBES_TLS);
	assert_int_equal(tl_learn_sets("off", &sets, &error), 0);
	assert_int_equal(sets, 0);
	assert_int_equal(tl_learn_sets("go,tls", &sets, &error), 0);
	assert_int_equal(sets, TL_PROBES_GO | TL_PROBES_TLS);
	assert_int_equal(tl_learn_sets("go,perl", &sets, &error), -EINVAL);
	assert_non_null(strstr(error.message, "go,perl"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpython_with_asyncio_has_contexts),
		cmocka_unit_test(cpython_without_asyncio_keeps_its_threads),
		cmocka_unit_test(cpython_that_is_not_known_for_certain_is_refused),
		cmocka_unit_test(a_jvm_with_virtual_threads_tells_where_they_are),
		cmocka_unit_test(a_jvm_before_virtual_threads_keeps_its_threads),
		cmocka_unit_test(openssl_is_probed_entries_last),
		cmocka_unit_test(damaged_libraries_do_no_harm),
		cmocka_unit_test(sets_are_auto_off_or_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
