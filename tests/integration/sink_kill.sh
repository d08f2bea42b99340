#!/bin/bash
# Both sinks SIGKILLed KILLS times each at random points of COUNT records, OpenSearch killed and started again in between: each then
# holds each uid exactly once, and the store's metrics add up to what was sent.
. "$(dirname "$0")/lib.bash"
count=${COUNT:-200000} kills=${KILLS:-50} deltas=20000

start_kafka
start_search
for topic in logs http metrics dlq; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "tapline.$topic" --partitions 6 > /dev/null
done
# Metric rows of one each, in a hundred windows: lost or twice, the sum tells.
python3 - "$deltas" > "$work/deltas" <<-'END'
	import sys
	for i in range(int(sys.argv[1])):
	    window = f"2026-11-23T01:{i % 100 // 60:02}:{i % 60:02}.000000000Z"
	    print(f'{{"window_start":"{window}","window_end":"{window}","name":"log.records","labels":{{"service.name":"s{i % 5}"}},'
	          f'"count":1,"sum":1,"min":{i},"max":{i},"buckets":[1,0,2]}}')
END
background producer "$O/tests/tools/produce" "$brokers" tapline.logs "$count" 0 $((count / 40))
producer=$last
kcat -b "$brokers" -t tapline.metrics -P -l "$work/deltas" -X partitioner=random

elasticsearch=("$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance kill-1 --replicas 0 --batch 2000)
store=("$tapline" sink store --brokers "$brokers" --path "$work/store.db" --instance kill-1)

# kill_again NAME COMMAND...: starts it and kills it after a random time, KILLS times; then leaves one running.
kill_again() {
	local name=$1 pid i
	shift
	trap 'kill -KILL "$pid" 2>/dev/null; exit 1' TERM
	for ((i = 0; i < kills; i++)); do
		"$@" >> "$work/$name.log" 2>&1 < /dev/null &
		pid=$!
		sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))" &
		wait $! # a trap runs at once
		kill -KILL "$pid" 2>/dev/null || { echo "$name ended by itself" > "$work/$name.bad"; return 1; }
		wait "$pid" 2>/dev/null || true
		echo $((i + 1)) > "$work/$name.kills"
	done
}
kill_again elasticsearch "${elasticsearch[@]}" &
killer_1=$!
kill_again store "${store[@]}" &
killer_2=$!

killed_by() { [ -s "$work/$1.bad" ] || [ "$(cat "$work/$1.kills" 2>/dev/null || echo 0)" -ge "$2" ]; }
wait_until 300 "the sinks are not killed often enough" killed_by elasticsearch $((kills / 3))
"$servers/opensearch.sh" kill --dir "$work/search"
"$servers/opensearch.sh" start --dir "$work/search" --owner $$
wait "$killer_1" || die "$(cat "$work/elasticsearch.bad"): $(tail -3 "$work/elasticsearch.log")"
wait "$killer_2" || die "$(cat "$work/store.bad"): $(tail -3 "$work/store.log")"
background elasticsearch "${elasticsearch[@]}"
sink_1=$last
background store "${store[@]}"
sink_2=$last
wait "$producer" || die "the producer failed"

rows() { sqlite3 -readonly "$work/store.db" "$1" 2>/dev/null || echo 0; }
has_rows() { [ "$(rows 'SELECT count(*) FROM logs')" -ge "$count" ] && [ "$(rows 'SELECT sum(count) FROM metrics')" -ge "$deltas" ]; }
wait_until 300 "OpenSearch has $(documents 'tapline-logs-*') of $count" has_documents 'tapline-logs-*' "$count"
wait_until 120 "the store has $(rows 'SELECT count(*) FROM logs') of $count" has_rows
# What would come twice must have the time to.
stop_pid "$sink_1"
stop_pid "$sink_2"
python3 "$root/tests/integration/check_sinks.py" --search "$search" --store "$work/store.db" --count "$count" --deltas "$deltas"
say "RESULT each killed $kills times: $count records once in OpenSearch and in the store, $deltas metric rows add up"
