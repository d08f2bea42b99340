#!/bin/bash
# What a compiler does not check: layers, headers that compile alone, generated docs, no path of a machine in the tree.
set -u
cd "$(dirname "$0")/.."
O=${O:-$PWD/build}
bad=0
say() { echo "$*"; bad=1; }

# Layers: base <- all; log, record <- all but base; agent and stream never see each other.
forbid() { # FOLDER PATTERN WHY
	local hits
	hits=$(grep -rnE "#include \"($2)" "$1" --include='*.[ch]' || true)
	[ -z "$hits" ] || say "$3:"$'\n'"$hits"
}
forbid userspace/base 'userspace/(log|record|bus|parse|stream|sink|store|web|cli)|agent|bpf' 'base includes a higher layer'
forbid userspace/log 'userspace/(record|bus|parse|stream|sink|web|cli)|agent|bpf' 'log includes a higher layer'
forbid userspace/record 'userspace/(bus|parse|stream|sink|web|cli)|agent|bpf' 'record includes a higher layer'
forbid userspace/parse 'userspace/(bus|stream|sink|web|cli)|agent|bpf' 'parse includes a higher layer'
forbid userspace/bus 'userspace/(stream|sink|cli)|agent|bpf' 'bus includes a higher layer'
forbid userspace/stream 'agent|bpf|userspace/(sink|cli)' 'stream includes the agent or a higher layer'
forbid userspace/sink 'agent|bpf|userspace/cli' 'sink includes the agent or a higher layer'
forbid agent 'userspace/(stream|sink|cli)' 'the agent includes stream or sink'

mkdir -p "$O/check"
libs=$(pkg-config --cflags libpq) # its header has a folder of its own
echo '#define TL_VERSION ""' > "$O/check/version.h"
for h in $(git ls-files 'agent/*.h' 'agent/**/*.h' 'userspace/**/*.h' bpf/event.h | sort -u); do
	echo "#include \"$h\"" | ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -I. -I"$O/check" -I"$O" $libs -x c -fsyntax-only - \
		|| say "$h does not compile alone"
done

if [ -x "$O/tapline" ]; then
	"$O/tapline" config reference | diff -u docs/configuration.md - > "$O/check/reference.diff" \
		|| say "docs/configuration.md is not what the tables say: run \`make docs\`"
	for page in docs/sinks/*.md; do
		"$O/tapline" config page "$page" | diff -u "$page" - > "$O/check/page.diff" || say "$page is not what the tables say: run \`make docs\`"
	done
	for sink in $(sed -n 's/^## tapline sink //p' docs/configuration.md); do
		grep -q "^<!-- settings of $sink -->" "docs/sinks/$sink.md" || say "docs/sinks/$sink.md is missing or has no settings"
	done
fi
hits=$(git grep -nE '/work/(main|shared|\.library)|\.\./shared' -- . ':!tests/check.sh' || true)
[ -z "$hits" ] || say "paths of one machine:"$'\n'"$hits"
exit $bad
