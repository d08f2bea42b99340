/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that a selected one had started before anybody looked, such as the workers of a server
 * whose master is named. */
#include "tests/unit/inspector_fixture.h"

/* A process with a child that has a child. */
struct tree {
	struct sample top;
	pid_t child, grandchild;
};

static void be_top(int out)
{
	pid_t pids[2] = {fork()};

	if (pids[0] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pids[0] = getpid();
		pids[1] = fork();
		if (pids[1] == 0)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		else if (write(out, pids, sizeof(pids)) != sizeof(pids))
			_exit(1);
	}
	for (;;)
		pause();
}

static struct tree start_tree(void)
{
	struct tree tree;
	pid_t pids[2];
	int out[2];

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	tree.top.pid = fork();
	if (tree.top.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		be_top(out[1]);
	}
	assert_int_equal(read(out[0], pids, sizeof(pids)), sizeof(pids));
	close(out[0]);
	close(out[1]);
	tree.child = pids[0];
	tree.grandchild = pids[1];
	return tree;
}

static void end_tree(struct tree *tree)
{
	kill(tree->grandchild, SIGKILL);
	kill(tree->child, SIGKILL);
	end_sample(&tree->top);
}

static void descendants_of_a_number_are_selected_at_start(void **state)
{
	struct tree tree = start_tree();
	struct sample other = start_sample("tl-sibling", -1);
	uint32_t pid = (uint32_t)tree.top.pid;
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1, .follow_fork = true};

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 3);
	assert_int_equal(fake->how[tree.child], TL_SELECTED);
	assert_int_equal(fake->how[tree.grandchild], TL_SELECTED);
	assert_int_equal(fake->how[other.pid], 0);
	stop_inspector();
	end_tree(&tree);
	end_sample(&other);
}

static void descendants_stay_out_when_forks_are_not_followed(void **state)
{
	struct tree tree = start_tree();
	uint32_t pid = (uint32_t)tree.top.pid;
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1};

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 1);
	assert_int_equal(fake->how[tree.child], 0);
	stop_inspector();
	end_tree(&tree);
}

static void a_denied_descendant_stays_out(void **state)
{
	struct tree tree = start_tree();
	uint32_t pid = (uint32_t)tree.top.pid;
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1, .follow_fork = true};

	(void)state;
	start_inspector(&selectors, &tree.child, 1, 0);
	assert_int_equal(tl_inspect_scan(fd), 2);
	assert_int_equal(fake->how[tree.child], TL_DENIED);
	assert_int_equal(fake->how[tree.grandchild], TL_SELECTED);
	stop_inspector();
	end_tree(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INSPECTOR_TEST(descendants_of_a_number_are_selected_at_start),
		INSPECTOR_TEST(descendants_stay_out_when_forks_are_not_followed),
		INSPECTOR_TEST(a_denied_descendant_stays_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
