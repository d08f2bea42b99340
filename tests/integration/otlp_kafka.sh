#!/bin/bash
# The stream worker writes tapline.logs and, as OTLP protobuf in the same transaction, otlp_logs: while it is SIGKILLed KILLS times, a
# Collector's kafkareceiver (encoding otlp_proto) reads the topic and has every record; read committed, the topic has each exactly once,
# by the Collector's decoder too.
. "$(dirname "$0")/lib.bash"
kills=${KILLS:-3}
lines=${LINES:-$((kills > 20 ? 400000 : 20000))}
check=$root/tests/integration/check_otlp.py

test_cleanup() {
	for name in reader decoder; do "$servers/collector.sh" stop --dir "$work/$name"; done
}
"$servers/collector.sh" build > "$work/build.log" 2>&1 || { tail -1 "$work/build.log"; exit 77; }
start_kafka
background feed "$O/tests/tools/feed" "$brokers" tapline. "$work/spool" "$lines" 2 "${RATE:-$((lines / (kills + 2)))}"
feed=$last
worker() {
	background stream "$O/tapline-stream" --brokers "$brokers" --instance w1 --otlp-topic otlp_logs --kafka session.timeout.ms=6000
}
for ((k = 0; k < kills; k++)); do
	worker
	sleep "$((1 + RANDOM % 2)).$((RANDOM % 10))"
	kill -KILL "$last" 2> /dev/null || die "the worker ended by itself: $(tail -1 "$work/stream.log")"
	wait "$last" 2> /dev/null || true
done
worker
"$servers/collector.sh" start --dir "$work/reader" --kafka "$brokers" --owner $$
"$servers/collector.sh" start --dir "$work/decoder" --owner $$
wait "$feed" || die "the feed failed"

committed() { kcat -C -b "$brokers" -t "$1" -o beginning -e -q -X isolation.level=read_committed "${@:2}" 2>> "$work/kcat.log"; }
all_there() { [ "$(committed tapline.logs -f '%o\n' | wc -l)" -ge "$lines" ]; }
wait_until $((60 + lines / 2000)) "tapline.logs has $(committed tapline.logs -f '%o\n' | wc -l) of $lines" all_there
read_by_collector() { [ "$(python3 "$check" --count "$work/reader/out.jsonl")" -ge "$lines" ]; }
wait_until $((30 + lines / 2000)) "the Collector did not read all of the topic" read_by_collector
stop_pid "$last"
committed tapline.logs -f '%s\n' | jq -r .body > "$work/truth"
python3 "$check" --bodies "$work/truth" "$work/reader/out.jsonl" || die "what the kafkareceiver read"

# Committed messages alone, decoded by the Collector.
committed otlp_logs -f '%S\n%s' > "$work/messages"
python3 - "$work/messages" "$(sed -n 's/^COLLECTOR_URL=//p' "$work/decoder/env")/v1/logs" <<-'END2' || die "a message is no OTLP"
	import sys, urllib.request
	with open(sys.argv[1], "rb") as file:
	    while size := file.readline():
	        body = file.read(int(size))
	        urllib.request.urlopen(urllib.request.Request(sys.argv[2], body, {"Content-Type": "application/x-protobuf"})).read()
END2
decoded() { [ "$(python3 "$check" --count "$work/decoder/out.jsonl")" -ge "$lines" ]; }
wait_until $((20 + lines / 2000)) "not every record can be decoded" decoded
python3 "$check" --bodies "$work/truth" --once "$work/decoder/out.jsonl" || die "committed messages"
say "RESULT $lines records, worker killed $kills times: all read by the kafkareceiver, committed exactly once"
