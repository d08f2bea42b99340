#!/bin/bash
# The shipped BPF object on Debian's kernels: tests/kernel/capture.sh [SERIES...] (default: 5.10 6.1 6.12 7.x).
# environment: O (build folder, default build). Exit status 77: no qemu.
cd "$(dirname "$0")/../.." || exit 1
bin=${O:-build}/tests/capture
command -v qemu-system-x86_64 > /dev/null || { echo "no qemu-system-x86_64: apt-get install qemu-system-x86"; exit 77; }
files=()
for t in test_capture test_account test_wire test_ends test_probe test_pins writer; do
	files+=(--file "$bin/$t:/bin/$t")
done
exec tests/kernel/run.sh --check tests/kernel/check_capture.sh "${files[@]}" --timeout 400 "$@"
