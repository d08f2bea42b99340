#!/bin/bash
# Units of real runtimes: children of goroutines, asyncio's tasks, virtual threads, plaintext of TLS. Each service logs the hash of its
# request's id, and no id: what tapline says is compared with what the client sent. One wrong id fails the test.
# arguments: the parts to run (default: go gotls tls nginx aiohttp uvicorn virtual; also: pythons). environment: REQUESTS (default 1200),
# CONCURRENCY (64), FLAGS of `tapline run`.
. "$(dirname "$0")/lib.bash"
export TAPLINE_STORE=$work/store.db
requests=${REQUESTS:-1200}
concurrency=${CONCURRENCY:-64}
apps=$servers/runtimes
load=$root/tests/integration/runtimes_load.py
cache=${TAPLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tapline}
[ "$(id -u)" = 0 ] || { say "needs root"; exit 77; }

listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# tapped NAME PORT FLAGS -- COMMAND...: runs the service under tapline, loads it, ends it; the records are in $work/NAME.json.
tapped() {
	local name=$1 port=$2 tls=$3 run
	shift 3
	"$tapline" run -o json "${flags[@]}" -- "$@" > "$work/$name.json" 2> "$work/$name.log" &
	run=$!
	wait_until 20 "$name does not listen" listens $port
	# The first requests have the runtime looked at.
	/usr/bin/python3 "$load" load "$port" 50 4 "$work/$name.ids" $tls || die "$name: the load failed"
	sleep 1
	/usr/bin/python3 "$load" load "$port" "$requests" "$concurrency" "$work/$name.ids" $tls || die "$name: the load failed"
	sleep 0.5
	cp "$work"/run-*/status.json "$work/$name.status" 2> /dev/null || true
	kill -TERM $run
	wait $run || true
}
# shellcheck disable=SC2206
flags=(--gate-confirms=100 ${FLAGS:-})
. "$apps/parts.bash"
[ $# -gt 0 ] || set -- go gotls tls nginx aiohttp uvicorn virtual
for part in "$@"; do
	part_$part
done
say "RESULT units and TLS of real runtimes: no wrong id in: $*"
