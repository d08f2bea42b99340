#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes the trimmed vmlinux.h of one architecture to standard output, from a kernel's BTF (default: the running kernel's):
#   vmlinux/generate.sh [BTF] > vmlinux/x86/vmlinux.h
# Only the structures and fields named in types.txt are kept. All are marked preserve_access_index, so that the loader
# moves each access to where the running kernel has the field; a field that a kernel lacks fails the load by name.
set -eu
here=$(dirname "$0")
btf=${1:-/sys/kernel/btf/vmlinux}
bpftool=$(command -v bpftool || echo /usr/sbin/bpftool)

cat <<'HEAD'
/* Written by vmlinux/generate.sh from vmlinux/types.txt; do not edit. Facts of the kernel's interface only: the names and
 * types of the fields that the BPF programs read. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u8 u8;
typedef __s8 s8;
typedef __u16 u16;
typedef __s16 s16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef _Bool bool;
typedef __u32 dev_t;
typedef __u16 umode_t;
typedef __u32 fmode_t;
typedef __s64 loff_t;
typedef int pid_t;
typedef __u16 __kernel_sa_family_t;
enum { false = 0, true = 1 };

HEAD
"$bpftool" btf dump file "$btf" format c | awk -v types="$here/types.txt" '
function flush_struct(	i, n, want, out) {
	n = split(fields[name], want, " ")
	out = ""
	for (i = 1; i <= n; i++) {
		if (!(want[i] in decl)) {
			print "generate.sh: this kernel has no " name "." want[i] > "/dev/stderr"
			bad = 1
		}
		out = out "\t" decl[want[i]] "\n"
	}
	body[name] = out
}
BEGIN {
	while ((getline line < types) > 0) {
		if (line ~ /^#/ || line == "")
			continue
		k = substr(line, 1, index(line, ":") - 1)
		fields[k] = substr(line, index(line, ":") + 1)
		order[++kinds] = k
	}
}
inside && (/^};$/ || /^} [a-z0-9_]+;$/) {
	if ($2 != "") {
		name = $2
		sub(/;/, "", name)
	}
	if (name in fields)
		flush_struct()
	inside = 0
	next
}
inside {
	d = $0
	gsub(/^[ \t]+/, "", d)
	if (d ~ /^(struct|union) \{$/ ) { depth++; if (depth == 1) group = ""; }
	if (depth) group = group d "\n"
	n = d
	sub(/[ ]*=.*$/, "", n)
	sub(/,$/, "", n)
	sub(/;.*$/, "", n)
	sub(/ : [0-9]+$/, "", n)
	sub(/(\[[0-9]*\])+$/, "", n)
	sub(/^.*[ *]/, "", n)
	if (d ~ /^} ?[a-z0-9_]*;$/ && depth) {
		depth--
		if (depth == 0 && n != "}" && n != "")
			decl[n] = group
		next
	}
	if (!(n in decl) && (depth == 0 || d !~ /\{$/))
		decl[n] = d
	next
}
/^(struct|enum) [a-z0-9_]+ \{$/ || /^typedef struct \{$/ {
	name = $1 " " $2
	inside = 1
	depth = 0
	delete decl
}
END {
	for (i = 1; i <= kinds; i++)
		if (order[i] ~ /^struct /)
			print order[i] ";"
	print ""
	print "#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)\n"
	for (i = 1; i <= kinds; i++) {
		k = order[i]
		if (body[k] == "") {
			print "generate.sh: this kernel has no " k > "/dev/stderr"
			bad = 1
		} else if (k ~ /^struct /)
			printf "%s {\n%s};\n\n", k, body[k]
		else if (k ~ /^enum /)
			printf "%s {\n%s};\n\n", k, body[k]
		else
			printf "typedef struct {\n%s} %s;\n\n", body[k], k
	}
	print "#pragma clang attribute pop\n"
	exit bad
}'
cat <<'TAIL'
/* The parts of the BPF interface that programs name (values of the kernel's ABI, never renumbered). */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_F_MMAPABLE = 1 << 10 };
#define BPF_F_CURRENT_CPU 0xffffffffULL
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };
struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

#endif
TAIL
