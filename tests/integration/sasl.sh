#!/bin/bash
# The chain over SASL_SSL with ACLs: each program with its own user and only its own rights; a wrong password and a missing
# right are told so.
. "$(dirname "$0")/lib.bash"

start_kafka --sasl-ssl &
kafka=$!
start_search &
wait $!
wait $kafka
. "$work/kafka/env"; brokers=$KAFKA_BOOTSTRAP
. "$work/search/env"; search=$OPENSEARCH_URL

# The client's properties as --kafka flags; the password from a file.
flags() { # USER
	local key value
	while IFS='=' read -r key value; do
		case $key in
		bootstrap.servers | metadata.broker.list | '') ;;
		sasl.password) printf '%s' "$value" > "$work/$1.password"; printf -- '--kafka\nsasl.password=@%s\n' "$work/$1.password" ;;
		*) printf -- '--kafka\n%s=%s\n' "$key" "$value" ;;
		esac
	done < "$KAFKA_CLIENTS/$1.properties"
}
mapfile -t agent_flags < <(flags tapline-agent)
mapfile -t stream_flags < <(flags tapline-stream)
mapfile -t sink_flags < <(flags tapline-sink)
mapfile -t admin_flags < <(flags admin)

"$servers/kafka.sh" tool --dir "$work/kafka" topics --list > /dev/null
for topic in raw http logs metrics dlq marks; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --if-not-exists --topic "tapline.$topic" --partitions 3 \
		$([ $topic != marks ] || echo --config cleanup.policy=compact) > /dev/null
done

mkfifo "$work/go"
background writer sh -c "read _ < '$work/go'; exec '$O/tests/tools/lines' 5000 0 128 '$work/truth' sasl > '$work/service.txt'"
writer=$last
background agent "$tapline" agent --brokers "$brokers" --state "$work/agent" --pin none --path "$work/service.txt" --pid "$writer" \
	"${agent_flags[@]}"
agent=$last
background stream "$tapline" stream --brokers "$brokers" --instance sasl-1 "${stream_flags[@]}"
background sink "$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance sasl-1 "${sink_flags[@]}"
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"
echo > "$work/go"
wait "$writer" || true
wait_until 90 "OpenSearch has $(documents 'tapline-logs-*') of 5000" has_documents 'tapline-logs-*' 5000
stop_pid "$agent"
python3 "$root/tests/integration/check_lines.py" --search "$search" --tag sasl --lines 5000

printf wrong > "$work/tapline-stream.password"
if timeout 60 "$tapline" stream --brokers "$brokers" --instance sasl-2 "${stream_flags[@]}" > "$work/denied" 2>&1; then
	die "a wrong password was accepted"
fi
grep -qi 'password\|credential\|authentic' "$work/denied" || { cat "$work/denied"; die "the message does not name the credentials"; }
if timeout 60 "$tapline" stream --brokers "$brokers" --instance sasl-3 "${sink_flags[@]}" > "$work/denied" 2>&1; then
	die "the sink's user may run the stream worker"
fi
grep -qi 'ACL\|authoriz\|right\|denied' "$work/denied" || { cat "$work/denied"; die "the message does not name the missing right"; }
say "RESULT 5000 lines over SASL_SSL with ACLs; wrong password and missing right are told"
