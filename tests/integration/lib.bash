# Shared by the pipeline tests: one temporary folder, real servers in it, programs started and ended by pid. Sourced.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
O=${O:-$root/build}
tapline=$O/tapline
servers=$root/tests/servers
work=$(mktemp -d "${TMPDIR:-/tmp}/tapline-test.XXXXXX")

# Ours and running: the number of one that has ended may be another's by now.
is_ours() { jobs -rp | grep -qx "$1"; }

cleanup() {
	local status=$? pid
	set +e
	for pid in $(jobs -rp); do kill -TERM "$pid" 2>/dev/null; done
	for pid in $(jobs -rp); do
		for _ in $(seq 50); do is_ours "$pid" || break; sleep 0.1; done
		! is_ours "$pid" || kill -KILL "$pid" 2>/dev/null
	done
	[ "$(type -t test_cleanup)" != function ] || test_cleanup
	[ ! -d "$work/apps" ] || "$servers/apps/apps.sh" stop --dir "$work/apps"
	[ ! -d "$work/kafka" ] || "$servers/kafka.sh" stop --dir "$work/kafka"
	[ ! -d "$work/s3" ] || "$servers/s3.sh" stop --dir "$work/s3"
	[ ! -d "$work/search" ] || "$servers/opensearch.sh" stop --dir "$work/search"
	if [ $status != 0 ]; then
		for log in "$work"/*.log; do [ -s "$log" ] && { echo "-- $log"; tail -15 "$log"; }; done
	fi
	[ -n "${KEEP:-}" ] || rm -rf "$work"
	exit $status
}
trap cleanup EXIT

say() { printf '%s\n' "$*"; }
die() { say "FAILED: $*"; exit 1; }

# background NAME COMMAND...: starts it, output to $work/NAME.log; its pid in $last.
background() {
	local name=$1
	shift
	"$@" >> "$work/$name.log" 2>&1 < /dev/null &
	last=$!
}

# wait_until SECONDS WHAT COMMAND...: polls; dies with WHAT when the time is over.
wait_until() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		[ $SECONDS -lt $deadline ] || die "$what"
		sleep 0.2
	done
}

# stop_pid PID: TERM and wait for it.
stop_pid() {
	! is_ours "$1" || kill -TERM "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

start_kafka() {
	"$servers/kafka.sh" start --dir "$work/kafka" --owner $$ "$@"
	. "$work/kafka/env"
	brokers=$KAFKA_BOOTSTRAP
}

start_search() {
	"$servers/opensearch.sh" start --dir "$work/search" --owner $$ "$@"
	. "$work/search/env"
	search=$OPENSEARCH_URL
}

start_s3() {
	"$servers/s3.sh" start --dir "$work/s3" --owner $$ "$@"
	. "$work/s3/env"
	export AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$S3_SECRET_KEY
}

# documents INDEX: number of documents, 0 while there is no index.
documents() {
	curl -s -XPOST "$search/$1/_refresh" > /dev/null
	curl -s "$search/$1/_count" | jq -r '.count // 0'
}

has_documents() { [ "$(documents "$1")" -ge "$2" ]; }

# The pids of a process and of all that descend from it, as `--pid N` flags.
pid_flags() {
	local pid
	for pid in "$@"; do
		printf -- '--pid %s ' "$pid"
		# shellcheck disable=SC2046
		pid_flags $(pgrep -P "$pid" || true)
	done
}
