#!/bin/bash
# The s3 sink SIGKILLed KILLS times at random points of LINES records, the S3 server killed, frozen and started again meanwhile:
# the objects then hold each record exactly once, byte for byte, in the folder of its hour, as NDJSON and as Parquet. Before it:
# what goes wrong at the start; after it: names that are taken, by the same content and by another.
. "$(dirname "$0")/lib.bash"
kills=${KILLS:-6} partitions=3
lines=${LINES:-$((kills > 50 ? 1000000 : 40000))}
RANDOM=${SEED:-$$}
say "seed ${SEED:-$$}"

start_kafka &
kafka_starting=$!
start_s3 --bucket archive --bucket names
python=$("$servers/fetch.sh" python 2>/dev/null || "$servers/fetch.sh" python)
wait "$kafka_starting"
. "$work/kafka/env"
brokers=$KAFKA_BOOTSTRAP
topics=()
for topic in tapline.logs one.logs; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "$topic" --partitions \
		"$([ $topic = one.logs ] && echo 1 || echo $partitions)" > /dev/null &
	topics+=($!)
done

# 1. Refused at the start, with what to do.
sink=("$tapline" sink s3 --brokers "$brokers" --instance s3-1 --spool "$work" --kafka session.timeout.ms=6000)
refused() { # STATUS PATTERN COMMAND...
	local status=0 wanted=$1 pattern=$2
	shift 2
	timeout 60 "$@" > "$work/out" 2> "$work/err" < /dev/null || status=$?
	[ $status = "$wanted" ] || { cat "$work/err"; die "$*: status $status instead of $wanted"; }
	grep -qi -- "$pattern" "$work/err" || { cat "$work/err"; die "$*: does not say $pattern"; }
}
here=(--endpoint "$S3_ENDPOINT" --bucket archive)
refused 2 'bucket' "${sink[@]}"
refused 1 'AWS_ACCESS_KEY_ID' env -u AWS_ACCESS_KEY_ID HOME=/nonexistent "${sink[@]}" "${here[@]}"
refused 1 'SignatureDoesNotMatch.*secret key is wrong' env AWS_SECRET_ACCESS_KEY=wrong-and-secret "${sink[@]}" "${here[@]}"
! grep -q wrong-and-secret "$work/err" || die "the secret is shown"
refused 1 'NoSuchBucket.*make the bucket' "${sink[@]}" --endpoint "$S3_ENDPOINT" --bucket nobody
refused 1 'no answer.*--endpoint' "${sink[@]}" --endpoint http://127.0.0.1:1 --bucket archive --wait 0
refused 1 'region' "${sink[@]}" "${here[@]}" --region eu-west-9
refused 1 'http://HOST' "${sink[@]}" --endpoint ftp://x --bucket archive
refused 1 '--spool' "${sink[@]}" "${here[@]}" --spool /proc/nothing
printf '[tap]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$S3_ACCESS_KEY" "$S3_SECRET_KEY" > "$work/credentials"
refused 1 'no profile \[default\]' "${sink[@]}" "${here[@]}" --credentials-file "$work/credentials"

# 2. Kills. Small generations, so that each is hit in every step; ages too, so that some are closed by the clock.
kill_sink() { kill -KILL "$1" 2> /dev/null && ! wait "$1" 2> /dev/null; }
small=("${here[@]}" --format both --object-size 96KiB --part-size 5MiB --max-age 700ms --credentials-file "$work/credentials"
	--profile tap --timeout 3s --batch 2000)
for pid in "${topics[@]}"; do wait "$pid" || die "a topic cannot be made"; done
background producer "$O/tests/tools/produce" "$brokers" tapline.logs "$lines" 0 "${RATE:-$((lines / (kills + 2)))}"
producer=$last
for k in $(seq "$kills"); do
	background sink "${sink[@]}" "${small[@]}"
	sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
	case $k in
	$((kills / 3 + 1))) "$servers/s3.sh" kill --dir "$work/s3" && sleep 0.3 && start_s3 ;;
	$((kills / 2 + 1))) "$servers/s3.sh" freeze --dir "$work/s3" && sleep 1 && "$servers/s3.sh" thaw --dir "$work/s3" ;;
	esac
	kill_sink "$last" || die "the sink ended by itself: $(tail -1 "$work/sink.log")"
done
wait "$producer" || die "the producer failed"
printf 'no json\n{"uid":"1","body":"no time"}\n{"uid":"x-1-2","observed_timestamp":"2026-11-20T00:00:00Z"\n' > "$work/malformed"
kcat -b "$brokers" -t tapline.logs -P -l "$work/malformed" -p 0
background sink "${sink[@]}" "${small[@]}"
# All is read and brought away: the group stands at the end of each partition.
at_end() {
	"$servers/kafka.sh" tool --dir "$work/kafka" groups --describe --group "${2:-tapline-sink-s3}" 2> /dev/null |
		awk -v topic="^$1[.](logs|dlq)$" '$2 ~ topic { n++; behind += ($4 == "-" ? 0 : $4) != $5 } END { exit !n || behind }'
}
wait_until 120 "not all records are in the bucket" at_end tapline
kill -TERM "$last"
wait "$last" || die "a stopped sink ends with status $?: $(tail -1 "$work/sink.log")"

kcat -b "$brokers" -t tapline.logs -C -e -q -f '%s\n' 2>> "$work/kcat.log" | grep -vxFf "$work/malformed" | LC_ALL=C sort > "$work/truth"
[ "$(wc -l < "$work/truth")" = "$lines" ] || die "the topic has $(wc -l < "$work/truth") good records"
find "$S3_DATA/archive/logs" -name '*.json.zst' -print0 | xargs -0 zstd -dcq | LC_ALL=C sort > "$work/archived"
cmp "$work/truth" "$work/archived" || die "the NDJSON objects are not what the topic holds: $(wc -l < "$work/archived") of $lines
$(comm -3 "$work/truth" "$work/archived" | cut -c1-120 | head -5)"
objects=$(find "$S3_DATA/archive/logs" -name '*.json.zst' | wc -l)
PYTHONPATH=$python python3 "$root/tests/integration/check_s3.py" --data "$S3_DATA/archive" --count "$lines" \
	--endpoint "$S3_ENDPOINT" --bucket archive --truth "$work/truth"
[ "$(kcat -b "$brokers" -t tapline.dlq -C -e -q -f '%s\n' 2> /dev/null | sort -u | cmp - <(sort "$work/malformed") && echo same)" = same ] ||
	die "malformed records are not among the dead letters"

# The tables and saved queries of deploy/athena over these objects.
PYTHONPATH=$python python3 "$root/tests/integration/check_athena.py" --data "$S3_DATA/archive" --truth "$work/truth" \
	--athena "$root/deploy/athena"

# 3. A name that is taken. Another group makes the same generation of the same records: found to be there, and left alone; then
# one of the objects is not ours, and the partition stops.
"$O/tests/tools/produce" "$brokers" one.logs 1000
one=("${sink[@]}" --endpoint "$S3_ENDPOINT" --bucket names --topic-prefix one. --max-age 2s)
there() { find "$S3_DATA/names" -name '*_*_*.json.zst'; }
has_object() { [ "$(there | wc -l)" -ge 1 ]; }
background one "${one[@]}" --group first
wait_until 20 "no object" has_object
wait_until 20 "the first group does not end" at_end one first
stop_pid "$last"
before=$(stat -c '%n %y' $(there))
background one "${one[@]}" --group second
wait_until 20 "the second group does not end" at_end one second
kill -TERM "$last"
wait "$last" || die "the same content ends with status $?: $(tail -1 "$work/one.log")"
[ "$before" = "$(stat -c '%n %y' $(there))" ] || die "an object that was there was written again"
key=$(there | head -1)
key=${key#"$S3_DATA"/}
printf other | curl -fsS --aws-sigv4 aws:amz:us-east-1:s3 -u "$S3_ACCESS_KEY:$S3_SECRET_KEY" -X PUT --data-binary @- \
	-H "x-amz-content-sha256: $(printf other | sha256sum | cut -d' ' -f1)" "$S3_ENDPOINT/${key//=/%3D}"
refused 1 'partition 0 is stopped.*other content.*--prefix' timeout 30 "${one[@]}" --group third
[ "$(cat "$S3_DATA/$key")" = other ] || die "an object of someone else was overwritten"
! at_end one third || die "the position went over a stopped partition"
# 4. No Kafka: what a run could not send is kept, and sent straight from its log by a sink that is killed as well.
export TAPLINE_STORE=$work/store.db
seq -f 'line %.0f of one command' 30000 > "$work/run.truth"
"$tapline" run -o none --drain 1s --sink "s3 --endpoint http://127.0.0.1:1 --wait 0 --bucket names" -- cat "$work/run.truth" 2> "$work/run.log" ||
	die "tapline run ends with $?"
log=$(sed -n 's/.*to send the rest: .* --log-dir \([^ ]*\) .*/\1/p' "$work/run.log")
[ -d "$log" ] || die "it is not said how to send the rest: $(cat "$work/run.log")"
direct=("$tapline" sink s3 --log-dir "$log" --group run-1 --spool "$work" --endpoint "$S3_ENDPOINT" --bucket names --prefix run/
	--max-age 1ms --batch 500)
for k in 1 2 3 4; do
	background direct "${direct[@]}"
	sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
	kill -KILL "$last" 2> /dev/null || true
	wait "$last" 2> /dev/null || true
done
timeout 60 "${direct[@]}" --until-end >> "$work/direct.log" 2>&1 || die "the last one ends with $?: $(tail -1 "$work/direct.log")"
find "$S3_DATA/names/run" -name '*.json.zst' -print0 | xargs -0 zstd -dcq | jq -r .body | sort > "$work/run.archived"
sort "$work/run.truth" | cmp - "$work/run.archived" || die "the run's lines are not in the bucket once each: $(wc -l < "$work/run.archived")"
say "RESULT $kills kills, $lines records once in $objects NDJSON objects, the same in Parquet; names that are taken are told"
