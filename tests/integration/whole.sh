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
# The services are children of a shell that the agent selects first: they are tapped from their first byte.
"$servers/apps/apps.sh" build > /dev/null
mkfifo "$work/go"
background launcher bash -c "read -r _ < '$work/go'; exec '$servers/apps/apps.sh' start --dir '$work/apps' --owner $$"
launcher=$last
background agent "$tapline" agent --brokers "$brokers" --state "$work/agent" --pin none --pid "$launcher"
agent=$last
background stream "$tapline" stream --brokers "$brokers" --instance whole-1
background sink "$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance whole-1
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"

echo > "$work/go"
wait "$launcher" || die "the services did not start"
. "$work/apps/env"
go=$(cat "$work/apps/go/pid") py=$(cat "$work/apps/py/pid")
python3 "$servers/apps/load.py" --url "$APPS_URL" -n "$requests" -c 32 --truth "$work/truth"
"$servers/apps/apps.sh" stop --dir "$work/apps"
stop_pid "$agent"
lines=$(awk -F= '/_lines/ { n += $2 } END { print n }' "$APPS_GO_TRUTH" "$APPS_PY_TRUTH")
say "the services wrote $lines lines; waiting for the search"
wait_until 400 "OpenSearch has $(documents 'tapline-logs-*') of $lines documents" has_documents 'tapline-logs-*' $((lines + requests))
python3 "$root/tests/integration/check_whole.py" --search "$search" --truth "$work/truth" \
	--go-truth "$APPS_GO_TRUTH" --py-truth "$APPS_PY_TRUTH" --go-pid "$go" --py-pid "$py"
