/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of processes, and how services are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/enrich.h"
#include "agent/service_name.h"
#include "userspace/base/clock.h"

#define ID64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define START UINT64_C(1234567890123)

static struct tl_enrich *enrich;
static struct tl_frame frame;

static void open_enrich(size_t max, const char *service)
{
	struct tl_enrich_options options = {.service_name = service, .host_name = "n1", .max = max};

	enrich = tl_enrich_new(&options);
	assert_non_null(enrich);
}

static int set_up(void **state)
{
	(void)state;
	open_enrich(4, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tl_enrich_free(TAKE_PTR(enrich));
	tl_frame_done(&frame);
	return 0;
}

static struct tl_proc_info proc_info(uint32_t tgid, const char *exe, const char *cmdline,
				     const char *cgroup)
{
	struct tl_proc_info info = {.tgid = tgid, .uid = 33, .vpid = tgid, .start_ns = START};

	snprintf(info.comm, sizeof(info.comm), "comm");
	snprintf(info.exe, sizeof(info.exe), "%s", exe);
	snprintf(info.cmdline, sizeof(info.cmdline), "%s", cmdline);
	snprintf(info.cgroup, sizeof(info.cgroup), "%s", cgroup);
	return info;
}

static void see(uint32_t what, uint32_t tgid, uint64_t start_ns, uint32_t parent, const char *comm)
{
	struct tl_ev_proc event = {.h = {.type = TL_EV_PROC, .tgid = tgid, .start_ns = start_ns},
				   .what = what,
				   .parent = parent};

	snprintf(event.comm, sizeof(event.comm), "%s", comm);
	tl_enrich_seen(enrich, &event);
}

static uint32_t resource(uint32_t tgid, uint64_t start_ns)
{
	struct tl_writer writer = {.tgid = tgid, .tid = tgid, .start_ns = start_ns};

	return tl_enrich_resource(enrich, &writer, &frame);
}

static void expect(uint32_t tgid, uint64_t start_ns, const char *key, const char *value)
{
	const struct tl_attrs *attrs = tl_enrich_attributes(enrich, tgid, start_ns);
	const struct tl_attr *attr;
	char got[600];

	assert_non_null(attrs);
	attr = tl_attr_get(attrs, key);
	if (!value) {
		assert_null(attr);
		return;
	}
	if (!attr)
		fail_msg("no attribute %s", key);
	snprintf(got, sizeof(got), "%.*s", (int)attr->value.len, attr->value.data);
	assert_string_equal(got, value);
}

static void learn(uint32_t tgid, const char *exe, const char *cmdline)
{
	struct tl_proc_info info = proc_info(tgid, exe, cmdline, "/");

	tl_enrich_learn(enrich, tgid, START, &info);
}

static void a_learnt_process_has_a_full_resource(void **state)
{
	struct tl_proc_info info =
		proc_info(812, "/usr/bin/python3.11", "python3 /srv/cart.py --password hunter2",
			  "/system.slice/docker-" ID64 ".scope");

	(void)state;
	info.vpid = 7;
	tl_enrich_learn(enrich, 812, START + 1234, &info);
	assert_true(tl_enrich_known(enrich, 812, START + 1234));
	expect(812, START + 1234, "service.name", "cart");
	expect(812, START + 1234, "host.name", "n1");
	expect(812, START + 1234, "process.pid", "812");
	expect(812, START + 1234, "process.vpid", "7");
	expect(812, START + 1234, "process.user.id", "33");
	expect(812, START + 1234, "process.executable.name", "python3.11");
	expect(812, START + 1234, "process.executable.path", "/usr/bin/python3.11");
	expect(812, START + 1234, "process.command", "python3");
	expect(812, START + 1234, "container.id", ID64);
	expect(812, START + 1234, "process.linux.cgroup", "/system.slice/docker-" ID64 ".scope");
	expect(812, START + 1234, "k8s.pod.uid", NULL);
}

static void a_resource_is_announced_once_before_its_first_record(void **state)
{
	_cleanup_(tl_resources_freep) struct tl_resources *resources = tl_resources_new(10);
	uint32_t number;

	(void)state;
	learn(5, "/usr/sbin/nginx", "nginx: master");
	number = resource(5, START);
	assert_int_equal(number, 1);
	assert_int_equal(frame.n, 2);
	assert_int_equal(frame.entries[0].type, TL_ENTRY_RESOURCE);
	assert_int_equal(frame.entries[1].type, TL_STATE_RESOURCE);
	assert_int_equal(
		tl_resources_learn(resources,
				   (struct tl_span){frame.bytes.data + frame.entries[0].from,
						    frame.entries[0].len}),
		0);
	assert_int_equal(resource(5, START), number);
	assert_int_equal(frame.n, 2);
}

static void a_new_segment_is_told_of_all_live_resources(void **state)
{
	(void)state;
	learn(5, "/a", "a");
	learn(6, "/b", "b");
	learn(7, "/c", "c");
	resource(5, START);
	resource(6, START);
	tl_frame_clear(&frame);
	tl_enrich_save(enrich, &frame);
	/* 7 wrote nothing. */
	assert_int_equal(frame.n, 4);
}

static void an_unknown_process_goes_by_what_its_event_said(void **state)
{
	(void)state;
	see(TL_PROC_SELECTED, 9, START, 0, "shortlived");
	assert_false(tl_enrich_known(enrich, 9, START));
	assert_int_not_equal(resource(9, START), 0);
	expect(9, START, "service.name", "shortlived");
	expect(9, START, "process.executable.name", "shortlived");
	expect(9, START, "process.user.id", NULL);
	assert_int_not_equal(resource(10, START), 0);
	expect(10, START, "service.name", "unknown_service");
	expect(10, START, "process.pid", "10");
}

static void a_fork_is_its_parents_program_until_it_executes_another(void **state)
{
	(void)state;
	learn(5, "/usr/sbin/nginx", "nginx: master");
	see(TL_PROC_FORK, 6, START + TL_SEC, 5, "nginx");
	expect(6, START + TL_SEC, "service.name", "nginx");
	expect(6, START + TL_SEC, "process.executable.path", "/usr/sbin/nginx");
	expect(6, START + TL_SEC, "process.pid", "6");
	expect(6, START + TL_SEC, "process.user.id", NULL);
	assert_false(tl_enrich_known(enrich, 6, START + TL_SEC));
	see(TL_PROC_EXEC, 6, START + TL_SEC, 0, "logrotate");
	expect(6, START + TL_SEC, "service.name", "logrotate");
	expect(6, START + TL_SEC, "process.executable.path", NULL);
}

static void another_program_is_another_resource(void **state)
{
	uint32_t before, after;

	(void)state;
	learn(5, "/bin/sh", "sh /start");
	before = resource(5, START);
	see(TL_PROC_EXEC, 5, START, 0, "cart");
	assert_false(tl_enrich_known(enrich, 5, START));
	after = resource(5, START);
	assert_int_not_equal(before, after);
	learn(5, "/srv/cart", "cart");
	assert_int_not_equal(resource(5, START), after);
	expect(5, START, "service.name", "cart");
}

static void what_proc_says_of_a_later_process_is_not_taken(void **state)
{
	struct tl_proc_info info = proc_info(5, "/other", "other", "/");

	(void)state;
	info.start_ns = START + TL_SEC;
	see(TL_PROC_SELECTED, 5, START, 0, "first");
	tl_enrich_learn(enrich, 5, START, &info);
	assert_false(tl_enrich_known(enrich, 5, START));
	expect(5, START, "service.name", "first");
}

static void two_lives_of_a_number_are_two_resources(void **state)
{
	uint32_t first;

	(void)state;
	see(TL_PROC_SELECTED, 5, START, 0, "first");
	first = resource(5, START);
	see(TL_PROC_SELECTED, 5, START + TL_SEC, 0, "second");
	assert_int_not_equal(resource(5, START + TL_SEC), first);
	assert_int_equal(resource(5, START), first);
	/* Without a start the newest is meant. */
	expect(5, 0, "service.name", "second");
	assert_int_equal(resource(5, 0), resource(5, START + TL_SEC));
}

static void a_name_given_wins(void **state)
{
	(void)state;
	tl_enrich_free(TAKE_PTR(enrich));
	open_enrich(4, "shop");
	learn(5, "/usr/sbin/nginx", "nginx");
	expect(5, START, "service.name", "shop");
	expect(5, START, "process.executable.name", "nginx");
}

static void an_ended_process_stays_while_its_lines_come(void **state)
{
	uint64_t now = tl_mono_ns();
	uint32_t number;

	(void)state;
	learn(5, "/a", "a");
	number = resource(5, START);
	tl_enrich_tick(enrich, now);
	tl_enrich_exit(enrich, 5, START);
	tl_enrich_tick(enrich, now + 59 * TL_SEC);
	assert_int_equal(resource(5, START), number);
	tl_enrich_tick(enrich, now + 118 * TL_SEC);
	assert_int_equal(resource(5, START), number);
	tl_enrich_tick(enrich, now + 178 * TL_SEC);
	assert_null(tl_enrich_attributes(enrich, 5, START));
}

static void a_full_table_lets_the_oldest_ended_process_go(void **state)
{
	(void)state;
	for (uint32_t pid = 1; pid <= 4; pid++)
		learn(pid, "/a", "a");
	tl_enrich_exit(enrich, 3, START);
	tl_enrich_exit(enrich, 2, START);
	assert_int_not_equal(resource(50, START), 0);
	assert_null(tl_enrich_attributes(enrich, 3, START));
	assert_non_null(tl_enrich_attributes(enrich, 2, START));
	assert_int_not_equal(resource(51, START), 0);
	assert_null(tl_enrich_attributes(enrich, 2, START));
}

static void a_table_full_of_living_processes_gives_number_0(void **state)
{
	uint64_t now = tl_mono_ns();

	(void)state;
	tl_enrich_tick(enrich, now);
	for (uint32_t pid = 1; pid <= 4; pid++)
		learn(pid, "/a", "a");
	assert_int_equal(resource(50, START), 0);
	assert_int_equal(frame.n, 0);
	/* One that was quiet for long may have ended unseen. */
	tl_enrich_tick(enrich, now + 61 * TL_SEC);
	assert_int_not_equal(resource(1, START), 0);
	assert_int_not_equal(resource(50, START), 0);
	assert_null(tl_enrich_attributes(enrich, 2, START));
	assert_non_null(tl_enrich_attributes(enrich, 1, START));
}

static struct tl_span entry(size_t i)
{
	return (struct tl_span){frame.bytes.data + frame.entries[i].from, frame.entries[i].len};
}

static void a_restarted_agent_goes_on_with_the_same_numbers(void **state)
{
	uint32_t number, next;

	(void)state;
	learn(5, "/a", "a");
	learn(6, "/b", "b");
	resource(5, START);
	number = resource(6, START);
	next = tl_enrich_next_number(enrich);
	tl_enrich_free(TAKE_PTR(enrich));
	open_enrich(4, NULL);
	for (size_t i = 0; i < frame.n; i++)
		assert_int_equal(tl_enrich_recover(enrich, frame.entries[i].type, entry(i)), 0);
	tl_enrich_set_next_number(enrich, 1);
	assert_int_equal(tl_enrich_next_number(enrich), next);
	tl_frame_clear(&frame);
	assert_int_equal(resource(6, START), number);
	assert_int_equal(frame.n, 0);
	tl_enrich_save(enrich, &frame);
	assert_int_equal(frame.n, 4);
	assert_true(resource(99, START) >= next);
}

static void damaged_state_is_ebadmsg(void **state)
{
	(void)state;
	assert_int_equal(tl_enrich_recover(enrich, TL_STATE_RESOURCE, TL_SPAN_LIT("short")),
			 -EBADMSG);
	assert_int_equal(tl_enrich_recover(enrich, TL_ENTRY_RESOURCE, TL_SPAN_LIT("anything")), 0);
	assert_int_equal(tl_enrich_recover(enrich, TL_STATE_RESOURCE, TL_SPAN_LIT("short")),
			 -EBADMSG);
}

static void services_are_named_as_people_would(void **state)
{
	static const struct {
		const char *exe, *cmdline, *cgroup, *name;
	} rows[] = {
		{"/usr/sbin/nginx", "nginx: worker process", "/", "nginx"},
		{"/usr/bin/python3.11", "python3 app.py", "/", "app"},
		{"/usr/bin/python3.11", "/usr/bin/python3 -u -W ignore /srv/shop/cart.py --port 80",
		 "/", "cart"},
		{"/usr/bin/python3.11", "python3 -m http.server 80", "/", "http.server"},
		{"/usr/bin/python3.11", "python3 -c import", "/", "python3.11"},
		{"/usr/bin/python3.11", "python3", "/", "python3.11"},
		{"/usr/bin/python3.11", "python3 /srv/cart/__main__.py", "/", "cart"},
		{"/usr/bin/python3.11",
		 "/venv/bin/python /venv/bin/gunicorn -b 0.0.0.0:80 shop.wsgi:application", "/",
		 "shop"},
		{"/usr/bin/python3.11", "python -m uvicorn cart.main:app --port 80", "/", "cart"},
		{"/usr/bin/node", "node server.js", "/", "server"},
		{"/usr/bin/node", "node --require ./trace.js /srv/cart/index.js", "/", "cart"},
		{"/usr/bin/node", "node index.js", "/", "index"},
		{"/usr/bin/node", "node -e code", "/", "node"},
		{"/usr/lib/jvm/bin/java", "java -Xmx1g -jar /opt/x.jar", "/", "x"},
		{"/usr/lib/jvm/bin/java", "java -jar /opt/cart-service-1.4.2-SNAPSHOT.jar run", "/",
		 "cart-service"},
		{"/usr/lib/jvm/bin/java", "java -cp a.jar:b.jar com.example.CartMain", "/",
		 "CartMain"},
		{"/usr/bin/dotnet", "dotnet /app/Cart.dll", "/", "Cart"},
		{"/usr/bin/ruby3.1", "ruby3.1 -I lib bin/cart.rb", "/", "cart"},
		{"/usr/bin/bash", "bash /opt/run.sh", "/", "run"},
		{"/usr/bin/bash", "bash -c something", "/", "bash"},
		{"/usr/bin/shadow", "shadow x", "/", "shadow"},
		{"/bin/busybox", "/usr/sbin/httpd -f", "/", "httpd"},
		{"", "", "/", "comm"},
		{"/usr/lib/postgresql/15/bin/postgres", "postgres",
		 "/system.slice/postgresql@15-main.service", "postgresql"},
		{"/usr/bin/python3", "python3 app.py", "/system.slice/my\\x2dcart.service",
		 "my-cart"},
		{"/usr/bin/python3", "python3 app.py", "/system.slice/run-u12.service", "app"},
		{"/usr/bin/python3", "python3 app.py", "/system.slice/ci.service", "app"},
		{"/usr/bin/python3", "python3 app.py", "/user.slice/user@1000.service/app.slice",
		 "app"},
	};
	char name[TL_SERVICE_NAME_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tl_proc_info info =
			proc_info(1, rows[i].exe, rows[i].cmdline, rows[i].cgroup);

		/* tapline itself runs in ci.service: that says nothing of what it started. */
		tl_service_name(&info, "/system.slice/ci.service", name);
		if (strcmp(name, rows[i].name) != 0)
			fail_msg("\"%s\" is called %s, not %s", rows[i].cmdline, name,
				 rows[i].name);
	}
}

static void hostile_command_lines_do_no_harm(void **state)
{
	struct tl_proc_info info = proc_info(1, "/usr/bin/java", "", "/");
	char name[TL_SERVICE_NAME_MAX];

	(void)state;
	memset(info.cmdline, 'x', sizeof(info.cmdline) - 1);
	memcpy(info.cmdline, "java -jar ", 10);
	tl_service_name(&info, NULL, name);
	assert_int_equal(strlen(name), TL_SERVICE_NAME_MAX - 1);
	memset(info.cmdline, ' ', sizeof(info.cmdline) - 1);
	tl_service_name(&info, NULL, name);
	assert_string_equal(name, "java");
	snprintf(info.cmdline, sizeof(info.cmdline), "java -jar");
	tl_service_name(&info, NULL, name);
	assert_string_equal(name, "java");
	snprintf(info.cmdline, sizeof(info.cmdline), "java -jar /");
	tl_service_name(&info, NULL, name);
	assert_string_equal(name, "java");
	memset(info.cgroup, '/', sizeof(info.cgroup) - 1);
	tl_service_name(&info, NULL, name);
	assert_string_equal(name, "java");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_learnt_process_has_a_full_resource),
		T(a_resource_is_announced_once_before_its_first_record),
		T(a_new_segment_is_told_of_all_live_resources),
		T(an_unknown_process_goes_by_what_its_event_said),
		T(a_fork_is_its_parents_program_until_it_executes_another),
		T(another_program_is_another_resource),
		T(what_proc_says_of_a_later_process_is_not_taken),
		T(two_lives_of_a_number_are_two_resources),
		T(a_name_given_wins),
		T(an_ended_process_stays_while_its_lines_come),
		T(a_full_table_lets_the_oldest_ended_process_go),
		T(a_table_full_of_living_processes_gives_number_0),
		T(a_restarted_agent_goes_on_with_the_same_numbers),
		T(damaged_state_is_ebadmsg),
		cmocka_unit_test(services_are_named_as_people_would),
		cmocka_unit_test(hostile_command_lines_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
