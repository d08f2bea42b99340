#!/bin/bash
# Targets that freeze for longer than Kafka's max.poll.interval: two workers of one group for each of the elasticsearch, timescale and otlp
# sinks, frozen FREEZES times while records come in. A worker that is thrown out of its group drops what is not acknowledged, joins again
# and goes on: all of them live to the end, and every target has each record once (otlp: at least once). A real successor of a worker's
# name still ends it.
. "$(dirname "$0")/lib.bash"
count=${COUNT:-16000} freezes=${FREEZES:-1} frozen_s=${FROZEN:-8}
check=$root/tests/integration/check_otlp.py

"$servers/collector.sh" build > "$work/build.log" 2>&1 || { tail -1 "$work/build.log"; exit 77; }
test_cleanup() {
	freeze CONT
	"$servers/postgres.sh" stop --dir "$work/pg"
	"$servers/collector.sh" stop --dir "$work/otlp"
}
freeze() { # SIGNAL: the targets
	local verb=freeze
	[ "$1" = STOP ] || verb=thaw
	kill "-$1" "$(cat "$work/search/pid")" "$(cat "$work/otlp/pid")"
	"$servers/postgres.sh" $verb --dir "$work/pg"
}
sql() { "$servers/postgres.sh" psql --dir "$work/pg" -d postgres -c "$1" 2>> "$work/psql.log"; }

start_kafka &
"$servers/postgres.sh" start --dir "$work/pg" --owner $$ &
"$servers/collector.sh" start --dir "$work/otlp" --owner $$ &
start_search
wait
. "$work/kafka/env"; brokers=$KAFKA_BOOTSTRAP
. "$work/pg/env"; export PGPASSFILE=$work/pg/pgpass
for topic in logs metrics dlq; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "tapline.$topic" --partitions 4 > /dev/null &
done
wait

workers=()
worker() { # NAME COMMAND...
	background "$1" "${@:2}" --brokers "$brokers" --instance "$1" --kafka session.timeout.ms=6000 --kafka max.poll.interval.ms=6000 --batch 500
	workers+=("$1:$last")
}
for n in 1 2; do
	worker "elastic-$n" "$tapline" sink elasticsearch --url "$search" --replicas 0 --timeout 2s
	worker "timescale-$n" "$tapline" sink timescale --dsn "$POSTGRES_DSN" --logs --timeout 2s
	worker "otlp-$n" "$tapline" sink otlp --url "$(sed -n 's/^COLLECTOR_URL=//p' "$work/otlp/env")" --timeout 2s
done
all_live() {
	local w
	for w in "${workers[@]}"; do kill -0 "${w#*:}" 2> /dev/null || die "${w%:*} ended: $(tail -2 "$work/${w%:*}.log")"; done
}

background producer "$O/tests/tools/produce" "$brokers" tapline.logs "$count" 0 $((count / (freezes * (frozen_s + 5))))
producer=$last
rows() { sql 'SELECT count(*) FROM tapline.logs' || echo 0; }
taken() { python3 "$check" --count "$work/otlp/out.jsonl"; }
have() { # N: everywhere
	[ "$(documents 'tapline-logs-*')" -ge "$1" ] && [ "$(rows)" -ge "$1" ] && [ "$(taken)" -ge "$1" ]
}
told() { say "documents $(documents 'tapline-logs-*'), rows $(rows), otlp $(taken)"; }
wait_until 30 "the workers do not begin" have 500
for ((i = 0; i < freezes; i++)); do
	freeze STOP
	sleep "$frozen_s" # is the fault itself: longer than max.poll.interval
	freeze CONT
	all_live
	more=$(($(rows) + 500))
	goes_on() { all_live; have $((more < count ? more : count)); }
	wait_until 60 "the sinks do not go on" goes_on
done
wait "$producer" || die "the producer failed"
everything() { all_live; have "$count"; }
wait_until 120 "not everything arrives: $(told)" everything

# A real successor: whoever takes over a name that is in use ends the other.
background successor "$tapline" sink otlp --url http://127.0.0.1:1 --brokers "$brokers" --instance otlp-1 --kafka session.timeout.ms=6000
successor=$last
old=$(printf '%s\n' "${workers[@]}" | sed -n 's/^otlp-1://p')
wait_until 20 "two workers go on under one name" eval "! kill -0 $old 2> /dev/null"
grep -q 'another worker with the same --instance' "$work/otlp-1.log" || die "the replaced worker does not say why: $(tail -1 "$work/otlp-1.log")"
stop_pid "$successor"
mapfile -t workers < <(printf '%s\n' "${workers[@]}" | grep -v '^otlp-1:')
all_live

for w in "${workers[@]}"; do
	kill -TERM "${w#*:}"
done
for w in "${workers[@]}"; do
	wait "${w#*:}" || die "${w%:*} ends with status $?: $(tail -2 "$work/${w%:*}.log")"
done
python3 "$root/tests/integration/check_sinks.py" --search "$search" --count "$count" || die "OpenSearch"
python3 "$check" --produced "$count" "$work/otlp/out.jsonl" || die "the Collector"
[ "$(sql "SELECT count(*), count(DISTINCT uid) FROM tapline.logs")" = "$count|$count" ] || die "PostgreSQL has $(sql "SELECT count(*), count(DISTINCT uid) FROM tapline.logs") of $count"
thrown_out=$(cat "$work"/{elastic,timescale,otlp}-?.log | grep -c 'joins its group again' || true)
[ "$thrown_out" -ge 2 ] || die "no worker was thrown out: the test shows nothing"
say "RESULT targets frozen $frozen_s s, $freezes times: 6 workers live, $thrown_out joined again, each of $count records once"
