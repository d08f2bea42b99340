#!/bin/bash
# The otlp sink over real Kafka to real Collectors: every field of every record by protobuf with gzip and by JSON over TLS; then the
# sink SIGKILLed KILLS times, its Collector killed and frozen, and each uid is there all the same; then a server that is busy, refuses one
# record, counts others as rejected: dead letters, counters, and words for people. The credentials are never shown.
. "$(dirname "$0")/lib.bash"
kills=${KILLS:-4}
count=${COUNT:-$((kills > 20 ? 400000 : 20000))}
first=$((count / 2)) # the rest comes while the sink is killed
check=$root/tests/integration/check_otlp.py

test_cleanup() {
	for name in plain tls killed; do "$servers/collector.sh" stop --dir "$work/$name"; done
}
"$servers/collector.sh" build > "$work/build.log" 2>&1 || { tail -1 "$work/build.log"; exit 77; }

start_kafka
"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic tapline.logs --partitions 6 > /dev/null &
for name in plain tls killed; do
	flags=
	[ $name != tls ] || flags=--tls
	# shellcheck disable=SC2086
	"$servers/collector.sh" start --dir "$work/$name" --owner $$ $flags
done
wait $!
url() { sed -n 's/^COLLECTOR_URL=//p' "$work/$1/env"; }
"$O/tests/tools/produce" "$brokers" tapline.logs "$first" --bad 1000
"$O/tests/tools/produce" "$brokers" tapline.logs $((count - first)) "$first" $(((count - first) / (kills + 1))) --bad 1000 &
producer=$!
wanted=$((count - count / 1000))

sink() { # NAME ARGS...
	background "sink-$1" env OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20top-secret "$tapline" sink otlp --brokers "$brokers" \
		--group "$1" --instance "$1" --kafka session.timeout.ms=6000 "${@:2}"
}

# 1. Every field, both encodings; an unknown authority is not believed.
sink plain --url "$(url plain)" --request-size 100k
plain=$last
sink tls --url "$(url tls)" --encoding json --request-compression none --ca "$work/tls/tls/server.pem"
tls=$last
sink stranger --url "$(url tls)"
stranger=$last

# 2. The sink killed at random points, its Collector killed once and frozen once.
for ((k = 0; k < kills; k++)); do
	sink killed --url "$(url killed)" --timeout 1s --batch 500
	[ $k != 1 ] || { sleep 0.3; "$servers/collector.sh" kill --dir "$work/killed"; }
	[ $k != 2 ] || kill -STOP "$(cat "$work/killed/pid")"
	sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
	kill -KILL "$last" 2> /dev/null || die "the sink ended by itself: $(tail -1 "$work/sink-killed.log")"
	wait "$last" 2> /dev/null || true
	[ $k != 1 ] || "$servers/collector.sh" start --dir "$work/killed" --owner $$
	[ $k != 2 ] || kill -CONT "$(cat "$work/killed/pid")"
done
sink killed --url "$(url killed)" --timeout 1s
killed=$last
wait $producer || die "the producer failed"
arrived() { [ "$(python3 "$check" --count "$work/$1/out.jsonl")" -ge "$wanted" ]; }
for name in plain tls killed; do wait_until $((60 + count / 2000)) "$name: not all of $wanted arrived" arrived $name; done
for pid in $plain $tls $killed $stranger; do stop_pid "$pid"; done
python3 "$check" --produced "$count" --missing 1000 --once "$work/plain/out.jsonl" || die "protobuf with gzip"
python3 "$check" --produced "$count" --missing 1000 --once "$work/tls/out.jsonl" || die "JSON over TLS"
python3 "$check" --produced "$count" --missing 1000 "$work/killed/out.jsonl" || die "after the kills"
grep -qi 'certificate' "$work/sink-stranger.log" || die "a certificate of an unknown authority is believed"
dead() { kcat -b "$brokers" -t tapline.dlq -C -e -q -f '%h\t%s\n' 2> /dev/null | grep -c "$1"; }
[ "$(dead 'tapline-reason=malformed_record')" -ge $((2 * count / 1000)) ] || die "records that are none are no dead letters"

# 3. A server that is busy at first, refuses one record, and rejects three of those it took.
python3 "$servers/otlp_faults.py" "$work/port" "$work/uids" --busy 2 --spoiler 'n=777 ' --reject 3 &
wait_until 10 "the server does not start" test -s "$work/port"
metrics_port=$(bash -c '. "$1"; srv_free_port' _ "$servers/lib.sh")
sink faults --url "http://127.0.0.1:$(cat "$work/port")" --encoding json --request-compression none --metrics "127.0.0.1:$metrics_port"
faults=$last
taken() { [ "$(sort -u "$work/uids" 2> /dev/null | wc -l)" -ge $((wanted - 1)) ]; }
wait_until 60 "$(sort -u "$work/uids" | wc -l) of $((wanted - 1)) taken" taken
wait_until 20 "the refused record is no dead letter" eval '[ "$(dead "bad_request: status 400: a spoiler")" = 1 ]'
counted() { curl -s "http://127.0.0.1:$metrics_port/metrics" | grep -q 'tapline_sink_records_total{result="rejected"} 3$'; }
wait_until 10 "the rejected ones are not counted" counted
stop_pid "$faults"
[ "$(sort "$work/uids" | uniq -d | wc -l)" = 0 ] || die "what was taken was sent again"
grep -q 'status 503' "$work/sink-faults.log" && grep -q 'refused 3 of .*too old' "$work/sink-faults.log" || die "the server's words are not told"

# 4. What a person must see.
for status in 401 404 415; do
	rm -f "$work/port"
	python3 "$servers/otlp_faults.py" "$work/port" "$work/none" --status $status &
	wait_until 10 "the server does not start" test -s "$work/port"
	sink "s$status" --url "http://127.0.0.1:$(cat "$work/port")"
	pid=$last
	wait_until 30 "status $status does not end the sink" eval "! kill -0 $pid 2> /dev/null"
	! wait "$pid" || die "status $status is success"
done
grep -q 'headers-file' "$work/sink-s401.log" && grep -q 'logs-url' "$work/sink-s404.log" && grep -q -- '--encoding' "$work/sink-s415.log" ||
	die "there is no advice"
! grep -l 'top-secret' "$work"/*.log || die "credentials are shown"
say "RESULT $count records by protobuf+gzip and JSON+TLS field by field; $kills kills: all there; busy, 400, partial success, 401/404/415"
