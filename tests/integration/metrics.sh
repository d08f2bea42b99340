#!/bin/bash
# /metrics of agent, stream and both sinks: valid text, the families that docs/operating.md names, and numbers that agree along
# the chain with what the service wrote; /healthz answers. `tapline status` says the same.
. "$(dirname "$0")/lib.bash"
count=3000
check_metrics=$root/tests/integration/check_metrics.py

start_kafka &
kafka=$!
start_search &
wait $!
wait $kafka
. "$work/kafka/env"; brokers=$KAFKA_BOOTSTRAP
. "$work/search/env"; search=$OPENSEARCH_URL
mkfifo "$work/go"
background writer sh -c "read _ < '$work/go'; exec '$O/tests/tools/lines' $count 0 128 '$work/truth' metrics > '$work/service.out'"
writer=$last
background agent "$tapline" agent --brokers "$brokers" --state "$work/agent" --pin none --path "$work/service.out" --pid "$writer" \
	--metrics 127.0.0.1:29540
background stream "$tapline" stream --brokers "$brokers" --instance metrics-1 --metrics 127.0.0.1:29541
background search "$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance metrics-1 --metrics 127.0.0.1:29542
background store "$tapline" sink store --brokers "$brokers" --path "$work/store.db" --instance metrics-2 --metrics 127.0.0.1:29543
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"
echo > "$work/go"
wait "$writer" || true
. "$work/truth"
wait_until 60 "OpenSearch has $(documents 'tapline-logs-*') of $count" has_documents 'tapline-logs-*' $count
in_store() { [ "$("$tapline" search --store "$work/store.db" -o json --limit 10000 '' | wc -l)" -ge $count ]; }
wait_until 30 "the store has not all" in_store

page() { curl -sf "http://127.0.0.1:$1/metrics"; }
valid() { # NAME PORT FAMILY...
	local name=$1 port=$2
	shift 2
	page "$port" > "$work/$name.metrics" || die "$name serves no metrics"
	python3 "$check_metrics" "$@" < "$work/$name.metrics" || die "$name's metrics"
	if command -v promtool > /dev/null; then promtool check metrics < "$work/$name.metrics" || die "promtool refuses $name's metrics"; fi
	curl -sf "http://127.0.0.1:$port/healthz" > /dev/null || die "$name: no /healthz"
}
value() { awk -v name="$2" 'substr($0, 1, length(name) + 1) == name " " { print $NF }' "$work/$1.metrics"; }
is() { [ "$(value "$1" "$2")" = "$3" ] || die "$1 says $2 is '$(value "$1" "$2")', not $3"; }

# What is told of kernel and broker is of the last second.
told() { page 29540 > "$work/agent.metrics" && [ "$(value agent tapline_agent_seen_bytes_total)" = "$bytes" ] &&
	[ "$(value agent tapline_agent_kafka_records_total)" = $count ]; }
wait_until 10 "the agent does not tell all bytes and records" told
valid agent 29540 tapline_agent_seen_bytes_total tapline_agent_dropped_bytes_total tapline_agent_log_full_total \
	tapline_agent_ring_pending_bytes tapline_agent_uncorrelated_lines_total tapline_agent_kafka_records_total \
	tapline_agent_info tapline_agent_stream_seen_bytes_total tapline_agent_log_unread_bytes
is agent tapline_agent_seen_bytes_total "$bytes"
is agent tapline_agent_received_bytes_total "$bytes"
is agent tapline_agent_records_total $count
is agent tapline_agent_kafka_records_total $count
is agent "tapline_agent_stream_delivered_bytes_total{stream=\"1\",kind=\"file\",path=\"$work/service.out\"}" "$bytes"
is agent 'tapline_agent_dropped_bytes_total{cause="ring_full"}' 0
[ "$(awk '/^tapline_agent_lines_total{/ { n += $2 } END { print n }' "$work/agent.metrics")" = $count ] || die "the lines by how do not add up"
valid stream 29541 tapline_stream_received_records_total tapline_stream_transactions_total
is stream tapline_stream_received_records_total $count
valid search 29542 tapline_sink_records_total tapline_sink_batches_total
is search 'tapline_sink_records_total{result="written"}' $count
valid store 29543 tapline_sink_records_total tapline_sink_batches_total
"$tapline" status --state "$work/agent" > "$work/status"
grep -Eq "^bytes .* seen $bytes, .*gaps 0" "$work/status" || { cat "$work/status"; die "status does not tell the bytes seen"; }
grep -Eq "^kafka .*connected true, .*records $count" "$work/status" || { cat "$work/status"; die "status does not tell the broker's side"; }
say "RESULT $(cat "$work"/*.metrics | grep -vc '^#') series of four programs"
