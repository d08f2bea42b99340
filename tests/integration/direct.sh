#!/bin/bash
# No Kafka at all. A target that is away: what it did not take is kept, and the command that tapline names sends it. An agent with the
# list `sinks:` in its configuration: sinks SIGKILLed KILLS times, the agent stopped and started; files hold each line once, the Collector
# each uid; what a target refuses is in the file of dead letters. `tapline run` with a real command straight to a Collector, to OpenSearch,
# PostgreSQL, S3 and files: every line once in each.
. "$(dirname "$0")/lib.bash"
kills=${KILLS:-4}
"$servers/s3.sh" build > "$work/s3-build.log" 2>&1 || { tail -1 "$work/s3-build.log"; exit 77; }
[ "$kills" -le 12 ] || kills=12 # the pause before a start doubles with each
lines=${LINES:-4000}
check=$root/tests/integration/check_otlp.py
export TAPLINE_STORE=$work/store.db

test_cleanup() {
	for name in run late host; do "$servers/collector.sh" stop --dir "$work/$name"; done
	[ ! -d "$work/pg" ] || "$servers/postgres.sh" stop --dir "$work/pg"
}
"$servers/collector.sh" build > "$work/build.log" 2>&1 || { tail -1 "$work/build.log"; exit 77; }
url() { sed -n 's/^COLLECTOR_URL=//p' "$work/$1/env"; }
bodies_once() { # TRUTH, and NDJSON on stdin
	jq -r '.body' | sort > "$work/bodies"
	sort "$1" | diff -q - "$work/bodies" > /dev/null
}

# The slow ones start meanwhile.
{ "$servers/opensearch.sh" start --dir "$work/search" --owner $$ && "$servers/postgres.sh" start --dir "$work/pg" --owner $$; } &
starting=$!

# 1. A target that is away.
port=$(bash -c '. "$1"; srv_free_port' _ "$servers/lib.sh")
"$tapline" run -o none --otlp "http://127.0.0.1:$port" --drain 1s -- echo kept for later 2> "$work/late.log" || die "the command's status is lost"
resend=$(sed -n 's/.*to send the rest: //p' "$work/late.log")
[ -n "$resend" ] || die "it is not said how to send the rest: $(cat "$work/late.log")"
"$servers/collector.sh" start --dir "$work/late" --port "$port" --owner $$
echo "kept for later" > "$work/late.truth"
timeout 20 "$O/tapline" ${resend#tapline} --until-end || die "$resend ends with $?"
python3 "$check" --bodies "$work/late.truth" --once "$work/late/out.jsonl" || die "what was kept"
status=0
"$tapline" run --sink 'kafkaesque --x' -- true 2> "$work/no.log" || status=$?
[ $status = 2 ] || die "a sink that is none gives status $status"

# 2. An agent and the list sinks:.
"$servers/collector.sh" start --dir "$work/host" --owner $$
python3 "$servers/otlp_faults.py" "$work/faults.port" "$work/uids" --spoiler 'n=77 ' &
wait_until 10 "the server does not start" test -s "$work/faults.port"
cat > "$work/tapline.yaml" <<-END2
	agent:
	  state: $work/state
	  pin: none
	  path: [ "$work/host.txt" ]
	stream:
	  redact: [ "secret-[0-9]+" ]
	sinks:
	  - type: otlp
	    url: $(url host)
	    batch: 200
	  - type: file
	    path: $work/host-files
	    max-size: 100k
	    batch: 200
	  - type: otlp
	    group: faults
	    url: http://127.0.0.1:$(cat "$work/faults.port")
	    encoding: json
	    request-compression: none
END2
"$tapline" config check "$work/tapline.yaml" > /dev/null || die "config check"
cat > "$work/writer.sh" <<-END2
	until [ -e "$work/go" ]; do sleep 0.05; done
	i=0
	while [ \$i -lt $lines ]; do
	  [ \$i != $((lines / 2)) ] || until [ -e "$work/go-on" ]; do sleep 0.05; done
	  echo "host line n=\$i secret-\$i "
	  i=\$((i + 1))
	  [ \$((i % 100)) != 0 ] || sleep 0.05
	done
	touch "$work/written"
	until [ -e "$work/end" ]; do sleep 0.1; done
END2
sh "$work/writer.sh" > "$work/host.txt" 2> /dev/null &
writer=$!
agent() { background agent "$tapline" agent --config "$work/tapline.yaml" --pid $writer; agent=$last; }
capturing() { [ "$(grep -c 'capturing with' "$work/agent.log")" -ge "$1" ]; }
background sinks "$tapline" sink --config "$work/tapline.yaml"
sinks=$last
agent
wait_until 20 "the agent does not start" capturing 1
touch "$work/go"
for ((k = 0; k < kills; k++)); do
	sleep "0.$((RANDOM % 9))"
	pid=$({ pgrep -P "$sinks" || true; } | shuf -n 1)
	[ -z "$pid" ] || kill -KILL "$pid"
done
half() { [ "$(wc -l < "$work/host.txt")" -ge $((lines / 2)) ]; }
wait_until 60 "the writer does not write" half
stop_pid "$agent"
agent
wait_until 20 "the agent does not start again" capturing 2
touch "$work/go-on"
wait_until 60 "the writer does not end" test -e "$work/written"
host_files() { cat "$work"/host-files/logs-*.ndjson 2> /dev/null | wc -l; }
all_there() { [ "$(host_files)" -ge "$lines" ] && [ "$(python3 "$check" --count "$work/host/out.jsonl")" -ge "$lines" ] &&
	[ "$(sort -u "$work/uids" | wc -l)" -ge $((lines - 1)) ]; }
wait_until 60 "files: $(host_files), Collector: $(python3 "$check" --count "$work/host/out.jsonl") of $lines" all_there
wait_until 10 "no dead letter" test -s "$work/state/dead-sink-faults.ndjson"
touch "$work/end"
stop_pid "$agent"
stop_pid "$sinks"
sed 's/secret-[0-9]*/[redacted]/' "$work/host.txt" > "$work/host.truth"
cat "$work"/host-files/logs-*.ndjson | bodies_once "$work/host.truth" || die "the files of the agent's sinks"
python3 "$check" --bodies "$work/host.truth" "$work/host/out.jsonl" || die "the Collector of the agent's sinks"
jq -e 'select(.stage == "sink" and (.reason | test("bad_request: status 400")) and (.value | test("n=77 ")))' \
	"$work/state/dead-sink-faults.ndjson" > /dev/null || die "the dead letter does not tell its reason"
# 3. One command, five targets: by --otlp, --sink, and the list in a file.
"$servers/collector.sh" start --dir "$work/run" --owner $$
start_s3 --bucket archive
wait $starting || die "OpenSearch or PostgreSQL does not start"
. "$work/search/env"
search=$OPENSEARCH_URL
. "$work/pg/env"
export PGPASSFILE
command=(find /usr/share/doc /usr/lib/python3 -name '*.[cp]*')
"${command[@]}" > "$work/truth"
cat > "$work/run.yaml" <<-END2
	sinks:
	  - type: elasticsearch
	    url: $search
	    replicas: 0
	  - type: timescale
	    dsn: "$POSTGRES_DSN"
	    logs: true
END2
"$tapline" run -o none --otlp "$(url run)" --sink "file --path '$work/files of run' --zstd" --sink "s3 --endpoint $S3_ENDPOINT --bucket archive" --config "$work/run.yaml" \
	-- "${command[@]}" 2> "$work/run.log" || die "tapline run ends with $?"
n=$(wc -l < "$work/truth")
python3 "$check" --bodies "$work/truth" --once "$work/run/out.jsonl" || die "the Collector"
zstdcat "$work/files of run"/logs-*.zst | bodies_once "$work/truth" || die "the files"
has_documents 'tapline-logs-*' "$n" || die "OpenSearch has $(documents 'tapline-logs-*') of $n"
[ "$(psql -At "$POSTGRES_DSN" -c 'SELECT count(*), count(DISTINCT uid), (SELECT sum(count) FROM tapline.metrics) FROM tapline.logs')" = "$n|$n|$n" ] ||
	die "PostgreSQL: $(psql -At "$POSTGRES_DSN" -c 'SELECT count(*), (SELECT sum(count) FROM tapline.metrics) FROM tapline.logs') of $n"
find "$work/s3/data/archive" -name '*.zst' -exec zstdcat {} + | bodies_once "$work/truth" || die "the bucket"
[ "$(zstdcat "$work/files of run"/metrics-*.zst | jq -s 'map(select(.name == "log.records").count) | add')" = "$n" ] || die "the metrics do not add up"

say "RESULT $n lines to five targets at once; away: kept and sent; host: $lines lines, $kills sinks killed, agent restarted"
