// SPDX-License-Identifier: GPL-2.0-only
/* The load-time constants, defined once. */
#include "bpf/maps.bpf.h"

const volatile bool tl_perf = false;
const volatile bool tl_wire = true;
const volatile __u64 tl_ring_size = 8 << 20;
const volatile __u32 tl_owner = 0;

char LICENSE[] SEC("license") = "GPL";
