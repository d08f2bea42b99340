#!/bin/bash
# The BPF side on this host's kernel: every kind of call on both kinds of ring, and the pins.
# environment: O (build folder, default build). Exit status 77: not root.
cd "$(dirname "$0")/../.." || exit 1
bin=${O:-build}/tests/capture
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for ring in bpf perf; do
	for t in capture account wire ends probe; do
		"$bin/test_$t" --ring=$ring || exit 1
	done
done
"$bin/test_pins"
