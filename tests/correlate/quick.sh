#!/bin/bash
# The everyday subset of the correlation bench: a few cells with few requests, real BPF, real runtimes; one wrong id fails.
# What is not installed is skipped, said by name. The whole: `make correlate`.
set -euo pipefail
cd "$(dirname "$0")/../.."
export O=${O:-$PWD/build}
[ "$(id -u)" = 0 ] || { echo "capture needs root"; exit 77; }
exec tests/correlate/bench.py quick "$@"
