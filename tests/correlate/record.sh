#!/bin/bash
# Records a small trace of each cell given into tests/correlate/traces/ (run as root, real BPF). The load is test traffic.
# usage: tests/correlate/record.sh [REQUESTS=800] CELL...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export O=${O:-$here/../../build} AGENT TAPLINE_TRACE
AGENT=$O/tests/correlate/recording-agent
requests=800
mkdir -p "$here/traces"
for cell in "$@"; do
	if [[ $cell =~ ^[0-9]+$ ]]; then requests=$cell; continue; fi
	TAPLINE_TRACE=$(mktemp)
	"$here/bench.py" quick -v --requests "$requests" "$cell" || true
	zstd -q -19 -f "$TAPLINE_TRACE" -o "$here/traces/${cell//:/-}.trace.zst"
	rm -f "$TAPLINE_TRACE"
	ls -l "$here/traces/${cell//:/-}.trace.zst" | awk '{print "    " $5 " bytes"}'
done
