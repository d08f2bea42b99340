#!/bin/bash
# Forced loss: a tiny ring and an agent stopped for a second. Records and gap records tile the stream to the writer's last
# byte; status and metrics show the same numbers.
. "$(dirname "$0")/lib.bash"
count=300000

start_kafka
mkfifo "$work/go"
background writer sh -c "read _ < '$work/go'; exec '$O/tests/tools/lines' $count 0 128 - loss > '$work/service.txt'"
writer=$last
background agent "$tapline" agent --brokers "$brokers" --state "$work/agent" --pin none --path "$work/service.txt" --pid "$writer" \
	--ring-size 256KiB --metrics 127.0.0.1:29563
agent=$last
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"
echo > "$work/go"
sleep 0.1
worker=$(pgrep -P "$agent")
kill -STOP "$worker"
sleep 1
kill -CONT "$worker"
wait "$writer" || true
# The file is the truth; the writer writes nothing else, so the totals must be the stream's.
lines=$(wc -l < "$work/service.txt") bytes=$(stat -c %s "$work/service.txt")
sleep 2.5 # the periodic read of the kernel's counters finds trailing loss
curl -s http://127.0.0.1:29563/metrics > "$work/metrics"
stop_pid "$agent"
kcat -C -b "$brokers" -t tapline.raw -o beginning -e -q 2> /dev/null > "$work/raw"
python3 "$root/tests/integration/check_lines.py" --stdin --gaps --tag loss --lines "$lines" --bytes "$bytes" < "$work/raw" | tee "$work/result"
told=$(sed -n 's/.* \([0-9]*\) bytes told as gaps.*/\1/p' "$work/result")
[ "$told" -gt 0 ] || die "nothing was lost: the test did not test"
metric() { sed -n "s/^$1 //p" "$work/metrics"; }
[ "$(metric 'tapline_agent_dropped_bytes_total{cause="ring_full"}')" = "$told" ] || die "metrics say $(metric 'tapline_agent_dropped_bytes_total{cause="ring_full"}') bytes dropped, the records $told"
[ "$(metric tapline_agent_seen_bytes_total)" = "$bytes" ] || die "metrics say $(metric tapline_agent_seen_bytes_total) bytes seen, the writer wrote $bytes"
"$tapline" status --state "$work/agent" -o json | jq -e ".bytes.gaps == $told and .bytes.seen == $bytes" > /dev/null || die "status disagrees"
"$tapline" status --state "$work/agent" | grep -q ring_full || die "status does not name the cause"
