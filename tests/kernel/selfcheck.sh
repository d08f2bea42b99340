#!/bin/sh
# The smallest check: does this guest have what every other check builds on?

echo "NOTE kernel $(uname -r), $(nproc) CPUs"
[ -r /sys/kernel/btf/vmlinux ] || { echo "FAIL no BTF of the kernel"; exit 1; }
echo "NOTE BTF of $(stat -c %s /sys/kernel/btf/vmlinux) bytes"
for fs in tracefs:/sys/kernel/tracing bpf:/sys/fs/bpf cgroup2:/sys/fs/cgroup; do
	grep -q " ${fs#*:} ${fs%%:*} " /proc/mounts || { echo "FAIL ${fs%%:*} is not mounted"; exit 1; }
done
[ -d /sys/kernel/tracing/events/raw_syscalls ] || { echo "FAIL no raw_syscalls tracepoints"; exit 1; }
# A program linked dynamically on the host runs here.
openssl version >/dev/null || { echo "FAIL openssl does not run"; exit 1; }
