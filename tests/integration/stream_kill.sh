#!/bin/bash
# The stream worker SIGKILLed KILLS times at random points, and the broker twice, while LINES lines come in, each of them sent
# twice by the agent's forwarder (the second time as after a restart that knew nothing). Then tapline.logs, read committed,
# holds each uid exactly once, and the counts in tapline.metrics add up to the lines.
. "$(dirname "$0")/lib.bash"
kills=${KILLS:-50} lines=${LINES:-200000} partitions=6
RANDOM=${SEED:-$$}
say "seed ${SEED:-$$}"

start_kafka

committed() {
	kcat -C -b "$brokers" -t "tapline.$1" -o beginning -e -q -X isolation.level=read_committed "${@:2}" 2>> "$work/kcat.log"
}

worker() {
	background stream "$O/tapline-stream" --brokers "$brokers" --instance w1 --partitions $partitions \
		--kafka session.timeout.ms=6000
}

# Lives between 50 ms and 2.5 s: before it has joined, in the middle of a transaction, between two.
live_and_die() {
	worker
	sleep "$(printf '%d.%03d' $((RANDOM % 25 / 10)) $((50 + RANDOM % 900)))"
	kill -KILL "$last" 2> /dev/null || die "the worker ended by itself: $(tail -1 "$work/stream.log")"
	wait "$last" 2> /dev/null || true
}

# Spread over the kills, so that there is always something to do.
background feed "$O/tests/tools/feed" "$brokers" tapline. "$work/spool" "$lines" 2 "${RATE:-4000}"
feed=$last
for k in $(seq "$kills"); do
	live_and_die
	case $k in
	$((kills / 3)) | $((kills * 2 / 3)))
		"$servers/kafka.sh" kill --dir "$work/kafka"
		live_and_die || true
		start_kafka
		;;
	esac
done
wait "$feed" || die "the feed failed"
worker
last_worker=$last

all_there() { [ "$(committed logs -f '%o\n' | wc -l)" -ge "$lines" ] && [ "$(committed raw -f '%o\n' | wc -l)" -ge $((2 * lines)) ]; }
wait_until 120 "tapline.logs did not get all lines" all_there
# What is too much would come now: the group has to stand at the end of everything.
at_end() {
	! "$servers/kafka.sh" tool --dir "$work/kafka" groups --describe --group tapline-stream 2> /dev/null |
		awk '$2 ~ /^tapline\./ && $5 - ($4 == "-" ? 0 : $4) > 1 { behind = 1 } END { exit !behind }'
}
wait_until 60 "the group has not read everything" at_end
stop_pid "$last_worker"

committed raw -f '%h\n' | grep -o 'tapline-uid=[^,]*' | sort | uniq -c | awk '{ print $1 }' | sort | uniq -c > "$work/raw.times"
committed logs -f '%s\n' | python3 -c '
import collections, json, sys
lines = int(sys.argv[1])
seen = collections.Counter(json.loads(l)["uid"] for l in sys.stdin)
want = {"9f0b6c1e5d2a4477-%x-%x" % (1 + i % 16, i * 128) for i in range(lines)}
twice = sum(1 for n in seen.values() if n > 1)
lost = len(want - seen.keys())
print("logs: %d messages, %d uids, %d lost, %d twice" % (sum(seen.values()), len(seen), lost, twice))
sys.exit(bool(lost or twice or seen.keys() - want))' "$lines" || die "tapline.logs is wrong"
committed metrics -f '%s\n' | python3 -c '
import json, sys
lines = int(sys.argv[1])
rows = [json.loads(l) for l in sys.stdin]
count = sum(r["count"] for r in rows if r["name"] == "log.records")
errors = sum(r["count"] for r in rows if r["name"] == "log.records" and r["labels"]["severity_text"] == "ERROR")
print("metrics: %d rows, log.records %d, of them ERROR %d" % (len(rows), count, errors))
sys.exit(count != lines or errors != (lines + 9) // 10)' "$lines" || die "tapline.metrics is wrong"
say "times each line was in tapline.raw: $(awk '{ printf "%s x%s ", $1, $2 }' "$work/raw.times")"
[ "$(committed dlq | wc -l)" = 0 ] || die "there are dead letters"
say "stream_kill: ok, $kills kills"
