/* SPDX-License-Identifier: Apache-2.0 */
/* What the running kernel can: found by asking it, by version only where nothing else tells. */
#include <bpf/btf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "agent/capture_internal.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define TRACEFS_MAGIC 0x74726163
#define BPF_FS_MAGIC 0xcafe4a11

static void mount_once(const char *type, const char *path, long magic)
{
	struct statfs fs;

	if (statfs(path, &fs) < 0 || fs.f_type == magic)
		return;
	(void)mount(type, path, type, MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    magic == BPF_FS_MAGIC ? "mode=0700" : NULL);
}

void tl_probe_mounts(void)
{
	mount_once("tracefs", "/sys/kernel/tracing", TRACEFS_MAGIC);
	mount_once("bpf", "/sys/fs/bpf", BPF_FS_MAGIC);
}

static bool locked_down(void)
{
	_cleanup_(closep) int fd = open("/sys/kernel/security/lockdown", O_RDONLY | O_CLOEXEC);
	char text[128] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return false;
	return strstr(text, "[confidentiality]") != NULL;
}

int tl_probe_kernel(struct tl_error *error)
{
	struct utsname name;

	uname(&name);
	if (access(BTF_PATH, R_OK) < 0 && errno == EACCES)
		return tl_probe_explain(-EPERM, "reading " BTF_PATH, "", error);
	if (access(BTF_PATH, R_OK) < 0)
		return tl_error_set(
			error, -ENOTSUP,
			"this kernel (%s) has no type information in " BTF_PATH " (%s); "
			"tapline needs 5.10 or newer, built with CONFIG_DEBUG_INFO_BTF=y",
			name.release, strerror(errno));
	if (locked_down())
		return tl_error_set(
			error, -EPERM,
			"the kernel is locked down (lockdown=confidentiality): no BPF "
			"program may read memory; boot with lockdown=integrity or none");
	return 0;
}

bool tl_probe_tracepoints_lose(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	/* From 7.2 on system call tracepoints run preemptibly and a program is skipped while
	 * another task is inside it on the same CPU. Nothing but the version tells: a quiet system
	 * loses nothing. */
	uname(&name);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 7 || (major == 7 && minor >= 2);
}

bool tl_probe_direct(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool found = btf && btf__find_by_name_kind(btf, "bpf_rdonly_cast", BTF_KIND_FUNC) > 0;

	btf__free(btf);
	return found;
}

static const char *const syscalls[] = {
	"__x64_sys_connect",
	"__x64_sys_write",
	"__x64_sys_writev",
	"__x64_sys_pwrite64",
	"__x64_sys_pwritev",
	"__x64_sys_pwritev2",
	"__x64_sys_sendto",
	"__x64_sys_sendmsg",
	"__x64_sys_sendmmsg",
	"__x64_sys_sendfile64",
	"__x64_sys_splice",
	"__x64_sys_copy_file_range",
	"__x64_sys_read",
	"__x64_sys_readv",
	"__x64_sys_recvfrom",
	"__x64_sys_recvmsg",
	"__x64_sys_recvmmsg",
	"__ia32_sys_write",
	"__ia32_compat_sys_writev",
	"__ia32_sys_writev",
	/* waits */
	"__x64_sys_accept",
	"__x64_sys_accept4",
	"__x64_sys_epoll_pwait",
	"__x64_sys_epoll_pwait2",
	"__x64_sys_epoll_wait",
	"__x64_sys_futex",
	"__x64_sys_futex_wait",
	"__x64_sys_futex_waitv",
	"__x64_sys_io_getevents",
	"__x64_sys_io_uring_enter",
	"__x64_sys_mq_timedreceive",
	"__x64_sys_msgrcv",
	"__x64_sys_pause",
	"__x64_sys_poll",
	"__x64_sys_ppoll",
	"__x64_sys_pselect6",
	"__x64_sys_rt_sigsuspend",
	"__x64_sys_rt_sigtimedwait",
	"__x64_sys_select",
	"__x64_sys_semop",
	"__x64_sys_semtimedop",
};

int tl_probe_syscalls(const char ***ret_names, size_t *ret_n, struct tl_error *error)
{
	FILE *file = fopen("/sys/kernel/tracing/available_filter_functions", "re");
	_cleanup_(freep) const char **names = calloc(ARRAY_SIZE(syscalls), sizeof(*names));
	bool seen[ARRAY_SIZE(syscalls)] = {false};
	char line[256];
	size_t n = 0;

	if (!file)
		return tl_error_set(error, -ENOTSUP, "this kernel lists no functions to probe (%s)",
				    strerror(errno));
	while (names && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "__x64_", 6) != 0 && strncmp(line, "__ia32_", 7) != 0)
			continue;
		line[strcspn(line, " \t\n")] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(syscalls); i++)
			if (!seen[i] && !strcmp(line, syscalls[i])) {
				seen[i] = true;
				names[n++] = syscalls[i];
			}
	}
	fclose(file);
	if (!names || n == 0 || !seen[0])
		return tl_error_set(error, -ENOTSUP,
				    "this kernel offers no probe on __x64_sys_write");
	*ret_n = n;
	*ret_names = TAKE_PTR(names);
	return 0;
}

int tl_probe_explain(int r, const char *what, const char *log, struct tl_error *error)
{
	/* EACCES is the verifier's word for a program that it does not like. */
	if (r == -EPERM)
		return tl_error_set(error, -EPERM,
				    "%s was not permitted%s%s: run as root, or grant CAP_BPF and "
				    "CAP_PERFMON (kernels before 5.11 also count BPF maps against "
				    "the locked memory "
				    "limit: ulimit -l unlimited); a container's seccomp profile "
				    "may forbid bpf(2)",
				    what, *log ? ": " : "", log);
	return tl_error_set(error, r, "%s failed: %s%s%s", what, strerror(-r), *log ? ": " : "",
			    log);
}
