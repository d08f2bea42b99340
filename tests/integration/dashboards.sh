#!/bin/bash
# Every query of the dashboards, saved searches and alerts, run against what tapline itself wrote: a real chain (nginx, Go, Python;
# agent, Kafka, stream, both sinks) into OpenSearch and PostgreSQL, scraped by a real Prometheus. Each answers, and the numbers that
# the truth knows agree.
. "$(dirname "$0")/lib.bash"
requests=${REQUESTS:-600} server=${SERVER:-opensearch}

promtool test rules "$root/deploy/prometheus/tapline.rules.test.yml" > "$work/rules.log" 2>&1 || die "the alert rules fail their tests"
chmod 711 "$work"
start_kafka &
kafka=$!
"$servers/postgres.sh" start --dir "$work/pg" --kind plain --owner $$ &
pg=$!
"$servers/$server.sh" start --dir "$work/search" --owner $$
test_cleanup() {
	"$servers/$server.sh" stop --dir "$work/search"
	"$servers/postgres.sh" stop --dir "$work/pg"
}
wait $pg && wait $kafka || die "servers do not start"
. "$work/kafka/env"; brokers=$KAFKA_BOOTSTRAP
. "$work/search/env"; search=${OPENSEARCH_URL:-${ELASTICSEARCH_URL:-}}
export PGPASSFILE=$work/pg/pgpass
dsn=$(sed -n 's/^POSTGRES_DSN="\(.*\)"/\1/p' "$work/pg/env")

# free_port: one that nobody listens on.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
agent_port=$(free_port) stream_port=$(free_port) search_port=$(free_port) pg_port=$(free_port) prometheus_port=$(free_port)
"$servers/apps/apps.sh" build > /dev/null
mkfifo "$work/go"
background launcher bash -c "read -r _ < '$work/go'; exec '$servers/apps/apps.sh' start --dir '$work/apps' --owner $$"
launcher=$last
background agent "$tapline" agent --brokers "$brokers" --state "$work/agent" --pin none --pid "$launcher" --metrics "127.0.0.1:$agent_port"
agent=$last
background stream "$tapline" stream --brokers "$brokers" --instance d1 --metrics "127.0.0.1:$stream_port"
background search "$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance d1 --metrics "127.0.0.1:$search_port"
background timescale "$tapline" sink timescale --brokers "$brokers" --dsn "$dsn" --instance d1 --metrics "127.0.0.1:$pg_port"
sed -e "s/scrape_interval: .*/scrape_interval: 1s/; s/9301/$agent_port/; s/9302/$stream_port/; s/\"127.0.0.1:9303\"/\"127.0.0.1:$search_port\", \"127.0.0.1:$pg_port\"/" \
	"$root/deploy/prometheus/prometheus.yml" > "$work/prometheus.yml"
cp "$root/deploy/prometheus/tapline.rules.yml" "$work/"
background prometheus prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" --web.listen-address="127.0.0.1:$prometheus_port"
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"

began=$(date +%s)
echo > "$work/go"
wait "$launcher" || die "the services did not start"
. "$work/apps/env"
python3 "$servers/apps/load.py" --url "$APPS_URL" -n "$requests" -c 16 --truth "$work/truth"
"$servers/apps/apps.sh" stop --dir "$work/apps"
lines=$(awk -F= '/_lines/ { n += $2 } END { print n }' "$APPS_GO_TRUTH" "$APPS_PY_TRUTH")
wait_until 60 "the search has $(documents 'tapline-logs-*') of $((lines + requests)) lines" has_documents 'tapline-logs-*' $((lines + requests))
counted() { [ "$("$servers/postgres.sh" psql --dir "$work/pg" -Atc "SELECT coalesce(sum(count), 0) FROM tapline.metrics WHERE name = 'log.records'" 2>/dev/null || echo 0)" -ge $((lines + requests)) ]; }
wait_until 60 "PostgreSQL does not have all counts" counted
python3 "$root/tests/integration/check_dashboards.py" --root "$root" --search "$search" --server "$server" --postgres "$servers/postgres.sh psql --dir $work/pg" \
	--prometheus "http://127.0.0.1:$prometheus_port" --since "$began" --requests "$requests" --truth "$work/truth"
stop_pid "$agent"
