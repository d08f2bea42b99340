/* SPDX-License-Identifier: Apache-2.0 */
/* Real Go executables, built here by every Go toolchain found: static, cgo, position-independent,
 * stripped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/runtimes/runtime.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/fs.h"

static char dir[] = "/tmp/tapline-go.XXXXXX";

static const char source[] =
	"package main\n"
	"/*\n#include <errno.h>\nstatic __thread int block[32];\n"
	"static int f(int x) { block[x & 31]++; return errno + block[x & 31]; }\n*/\n"
	"import \"C\"\nimport \"fmt\"\nfunc main() { fmt.Println(C.f(3)) }\n";
static const char pure[] = "package main\nimport \"fmt\"\nfunc main() { fmt.Println(1) }\n";

static const struct {
	const char *name, *file, *cgo, *flags;
} builds[] = {
	{"static", "pure.go", "0", ""},
	{"static-stripped", "pure.go", "0", "-ldflags='-s -w'"},
	{"pie", "pure.go", "0", "-buildmode=pie"},
	{"cgo", "cgo.go", "1", ""},
	{"cgo-stripped", "cgo.go", "1", "-ldflags='-s -w'"},
	{"cgo-pie", "cgo.go", "1", "-buildmode=pie"},
	{"cgo-pie-stripped", "cgo.go", "1", "-buildmode=pie -ldflags='-s -w'"},
	{"cgo-static", "cgo.go", "1", "-ldflags='-linkmode=external -extldflags=-static'"},
	{"cgo-static-stripped", "cgo.go", "1",
	 "-ldflags='-s -w -linkmode=external -extldflags=-static'"},
};

static const char *const toolchains[] = {"/usr/lib/go-1.19/bin/go", "/usr/local/go/bin/go",
					 "/usr/bin/go"};

static void write_file(const char *name, const char *text)
{
	char path[256];
	struct tl_error error;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(tl_file_replace(path, tl_span_str(text), false, &error), 0);
}

static bool build(const char *go, size_t i)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "cd %s && env -u GOROOT GO111MODULE=off GOTOOLCHAIN=local "
		 "GOCACHE=${TAPLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tapline}/go-build "
		 "CGO_ENABLED=%s %s build %s -o %s %s "
		 ">build.log 2>&1",
		 dir, builds[i].cgo, go, builds[i].flags, builds[i].name, builds[i].file);
	return system(command) == 0;
}

static int detect(const char *name, struct tl_runtime_unit *ret, struct tl_error *error)
{
	char path[512];
	_cleanup_(closep) int fd = -1;

	if (name[0] == '/')
		snprintf(path, sizeof(path), "%s", name);
	else
		snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	return tl_runtime_detect(fd, TL_PROBES_GO, ret, error) != NULL;
}

/* Builds of one toolchain agree: those with DWARF and symbols are the truth for the stripped ones.
 */
static void check_toolchain(const char *go)
{
	struct tl_runtime_unit unit[ARRAY_SIZE(builds)];
	struct tl_error error = {0};
	bool built[ARRAY_SIZE(builds)];

	for (size_t i = 0; i < ARRAY_SIZE(builds); i++) {
		built[i] = build(go, i);
		if (!built[i])
			continue;
		assert_true(detect(builds[i].name, &unit[i], &error));
		if (unit[i].refused)
			fail_msg("%s %s: %s", go, builds[i].name, error.message);
		assert_int_equal(unit[i].unit.unit_kind, TL_UNIT_GOROUTINE);
		assert_memory_equal(unit[i].version, "go1.", 4);
	}
	assert_true(built[0] && built[1]);
	assert_string_equal(unit[0].source, "DWARF");
	assert_memory_equal(unit[1].source, "table", 5);
	assert_memory_equal(&unit[0].unit, &unit[1].unit, sizeof(unit[0].unit));
	assert_int_equal(unit[0].unit.tls_off, -8);
	/* Where goroutines are born: by the symbol in one, by the pc table in the other. */
	assert_true(unit[0].n_probes > 0);
	assert_int_equal(unit[0].n_probes, unit[1].n_probes);
	assert_int_equal(unit[0].probes[0].offset, unit[1].probes[0].offset);
	for (size_t i = 4; i < ARRAY_SIZE(builds); i += 2)
		if (built[i] && built[i - 1])
			assert_memory_equal(&unit[i].unit, &unit[i - 1].unit, sizeof(unit[0].unit));
}

static void stripped_go_is_read_as_unstripped_go_says(void **state)
{
	int tried = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(toolchains); i++)
		if (access(toolchains[i], X_OK) == 0) {
			check_toolchain(toolchains[i]);
			tried++;
		}
	if (!tried)
		skip();
}

static void a_c_program_is_no_go(void **state)
{
	struct tl_runtime_unit unit;
	struct tl_error error;

	(void)state;
	assert_false(detect("/bin/true", &unit, &error));
	assert_false(detect("/proc/self/exe", &unit, &error));
	assert_false(detect("/etc/passwd", &unit, &error));
	assert_false(detect("/dev/null", &unit, &error));
}

/* An executable cut at many places, and with bytes changed in its headers: an answer or a refusal,
 * never a crash. */
static void damaged_executables_do_no_harm(void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf file = {0};
	struct tl_runtime_unit unit;
	struct tl_error error;
	char path[256];
	uint64_t seed = 42;

	(void)state;
	snprintf(path, sizeof(path), "%s/static", dir);
	if (access(path, R_OK) != 0)
		skip();
	assert_int_equal(tl_file_read(path, 64 << 20, &file, &error), 0);
	for (size_t i = 0; i < 60; i++) {
		size_t keep = file.len * i / 60 + i % 7;

		assert_int_equal(tl_file_replace("/tmp/tapline-go-cut",
						 (struct tl_span){file.data, keep}, false, &error),
				 0);
		(void)detect("/tmp/tapline-go-cut", &unit, &error);
	}
	for (size_t i = 0; i < 100; i++) {
		char before[64 + 56 * 8];

		memcpy(before, file.data, sizeof(before));
		for (int k = 0; k < 3; k++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			file.data[(seed >> 33) % sizeof(before)] = (char)(seed >> 20);
		}
		assert_int_equal(
			tl_file_replace("/tmp/tapline-go-cut", tl_buf_span(&file), false, &error),
			0);
		(void)detect("/tmp/tapline-go-cut", &unit, &error);
		memcpy(file.data, before, sizeof(before));
	}
	unlink("/tmp/tapline-go-cut");
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	write_file("pure.go", pure);
	write_file("cgo.go", source);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return tl_remove_tree(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stripped_go_is_read_as_unstripped_go_says),
		cmocka_unit_test(a_c_program_is_no_go),
		cmocka_unit_test(damaged_executables_do_no_harm),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
