#!/bin/bash
# The elasticsearch sink's shapes on a real server (SERVER=opensearch or elasticsearch): the flat, ecs and otel mappings with their
# templates, HTTP exchanges in indices of their own, and a data stream that rolls over again and again while the sink is SIGKILLed:
# each record is there once.
. "$(dirname "$0")/lib.bash"
server=${SERVER:-opensearch} count=${COUNT:-30000} kills=${KILLS:-8}

chmod 711 "$work" # Elasticsearch runs as nobody
start_kafka &
kafka=$!
"$servers/$server.sh" start --dir "$work/search" --owner $$
wait $kafka
. "$work/kafka/env"; brokers=$KAFKA_BOOTSTRAP
. "$work/search/env"; search=${OPENSEARCH_URL:-${ELASTICSEARCH_URL:-}}
test_cleanup() { "$servers/$server.sh" stop --dir "$work/search"; }
for topic in logs http dlq; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "tapline.$topic" --partitions 3 > /dev/null
done

# 1. Mappings: one record of each kind of value, and one exchange.
long=$(head -c 40000 /dev/zero | tr '\0' 'x')
cat > "$work/records" <<- END
	{"uid":"e-1-0","timestamp":"2026-11-23T01:00:00.100000000Z","observed_timestamp":"2026-11-23T01:00:00.123456789Z","severity_number":17,"severity_text":"ERROR","body":"payment refused","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","resource":{"service.name":"cart","host.name":"n1","process.pid":"812"},"attributes":{"log.iostream":"stdout","thread.id":815,"correlation.id":"req-1","correlation.how":"unit","deep.key":"v","big":"$long"}}
END
cat > "$work/exchanges" <<- END
	{"uid":"h-1-0","timestamp":"2026-11-23T01:00:00.100000000Z","observed_timestamp":"2026-11-23T01:00:00.123456789Z","body":"GET /pay 500","resource":{"service.name":"cart"},"attributes":{"http.request.method":"GET","http.response.status_code":500,"correlation.id":"req-1"}}
END
kcat -b "$brokers" -t tapline.logs -P -l "$work/records"
kcat -b "$brokers" -t tapline.http -P -l "$work/exchanges"

# hits INDEX QUERY: how many documents a query string finds.
hits() {
	curl -s -XPOST "$search/$1/_refresh" > /dev/null
	curl -s -G "$search/$1/_count" --data-urlencode "q=$2" | jq -r '.count // 0'
}
one_hit() { [ "$(hits "$1" "$2")" = 1 ]; }
found() { wait_until 60 "$1: $2 finds $(hits "$1" "$2") documents instead of one" one_hit "$1" "$2"; }

for mapping in flat ecs otel; do
	background "$mapping" "$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance "$mapping" --group "$mapping" \
		--mapping "$mapping" --index-prefix "$mapping-logs-" --http-index-prefix "$mapping-http-"
done
found 'flat-logs-2026.11.23' 'attributes.correlation.id:"req-1" AND resource.service.name:cart AND severity_text:ERROR AND body:refused'
found 'flat-http-2026.11.23' 'attributes.correlation.id:"req-1"'
found 'ecs-logs-2026.11.23' 'service.name:cart AND process.pid:812 AND message:refused AND trace.id:4bf92f3577b34da6a3ce929d0e0e4736 AND labels.correlation_id:"req-1" AND log.level:ERROR'
found 'ecs-http-2026.11.23' 'http.response.status_code:500 AND http.request.method:GET'
found 'otel-logs-2026.11.23' 'resource.attributes.service.name:cart AND attributes.correlation.id:"req-1" AND body.text:refused'
for mapping in ecs otel; do
	curl -s "$search/$mapping-logs-2026.11.23/_search" | jq -e --arg long "$long" '.hits.hits[0]._source | .unindexed.big == $long and ."@timestamp" == "2026-11-23T01:00:00.100000000Z"' > /dev/null \
		|| die "$mapping: the long value or the time is not kept"
done
for pid in $(jobs -rp); do stop_pid "$pid"; done
say "flat, ecs, otel: found by their fields"

# 2. A data stream that rolls over under kills.
"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic ds.logs --partitions 3 > /dev/null
"$O/tests/tools/produce" "$brokers" ds.logs "$count"
sink=("$tapline" sink elasticsearch --brokers "$brokers" --topic-prefix ds. --url "$search" --instance ds --data-stream logs-tapline-default
	--http-index-prefix ds-http- --batch 500 --replicas 0)
documents_in_stream() { documents logs-tapline-default; }
for ((i = 0; i < kills; i++)); do
	"${sink[@]}" >> "$work/ds.log" 2>&1 < /dev/null &
	pid=$!
	sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
	kill -KILL $pid 2> /dev/null
	wait $pid 2> /dev/null || true
	# What was written and not committed is sent again, to another backing index.
	curl -s -XPOST "$search/logs-tapline-default/_rollover" > /dev/null
done
background ds "${sink[@]}"
has_all() { [ "$(documents_in_stream)" -ge "$count" ]; }
wait_until 120 "the data stream has $(documents_in_stream) of $count" has_all
curl -s -XPOST "$search/logs-tapline-default/_rollover" > /dev/null
stop_pid "$last"
backing=$(curl -s "$search/logs-tapline-default/_settings/index.creation_date" | jq length)
# Ids over all backing indices: twice in two of them is what a plain `create` would leave.
python3 - "$search" "$count" << 'END' || die "ids of the data stream"
import collections, json, sys, urllib.request
search, count = sys.argv[1], int(sys.argv[2])
def call(path, body):
    data = json.dumps(body).encode() if body else b""
    request = urllib.request.Request(search + path, data, {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))
call("/logs-tapline-default/_refresh", None)
ids, after = collections.Counter(), None
while True:
    body = {"size": 5000, "_source": False, "sort": [{"@timestamp": "asc"}, {"uid": "asc"}], "query": {"match_all": {}}}
    if after: body["search_after"] = after
    hits = call("/logs-tapline-default/_search", body)["hits"]["hits"]
    if not hits: break
    ids.update(h["_id"] for h in hits)
    after = hits[-1]["sort"]
twice = [i for i, n in ids.items() if n > 1]
print(f"{len(ids)} ids of {count}, {len(twice)} twice")
sys.exit(len(ids) != count or bool(twice))
END
say "RESULT $server: three mappings, exchanges, a data stream of $backing indices under $kills kills: each of $count records once"
