#!/bin/bash
# The test of the whole: nginx -> Go and threaded Python on loopback, 10,000 requests at concurrency 32 with x-request-id; agent ->
# Kafka -> stream -> sink -> OpenSearch. A checker that knows the truth from the load generator and from the services' own
# counts finds 0 wrong ids, 0 lost lines, 0 duplicates; it prints the recall per service.
. "$(dirname "$0")/lib.bash"
requests=${REQUESTS:-10000}

start_kafka &
kafka=$!
start_search &
wait $!
wait $kafka
. "$work/kafka/env"; brokers=$KAFKA_BOOTSTRAP
. "$work/search/env"; search=$OPENSEARCH_URL
"$servers/apps/apps.sh" start --dir "$work/apps" --owner $$
. "$work/apps/env"

go=$(cat "$work/apps/go/pid") py=$(cat "$work/apps/py/pid") nginx=$(cat "$work/apps/nginx/pid")
# shellcheck disable=SC2046
background agent "$tapline" agent --brokers "$brokers" --state "$work/agent" --pin none --path "$work/apps/*/log" \
	$(pid_flags "$go" "$py" "$nginx")
agent=$last
background stream "$tapline" stream --brokers "$brokers" --instance whole-1
background sink "$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance whole-1
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"

python3 "$servers/apps/load.py" --url "$APPS_URL" -n "$requests" -c 32 --truth "$work/truth"
"$servers/apps/apps.sh" stop --dir "$work/apps"
stop_pid "$agent"
lines=$(awk -F= '/_lines/ { n += $2 } END { print n }' "$APPS_GO_TRUTH" "$APPS_PY_TRUTH")
say "the services wrote $lines lines; waiting for the search"
wait_until 120 "OpenSearch has $(documents 'tapline-logs-*') of $lines documents" has_documents 'tapline-logs-*' $((lines + requests))
python3 "$root/tests/integration/check_whole.py" --search "$search" --truth "$work/truth" \
	--go-truth "$APPS_GO_TRUTH" --py-truth "$APPS_PY_TRUTH" --go-pid "$go" --py-pid "$py"
