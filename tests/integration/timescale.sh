#!/bin/bash
# The timescale sink over a real Kafka, on plain PostgreSQL and on TimescaleDB (where it is cached, or TIMESCALE=1 fetches it).
# The sinks are SIGKILLed KILLS times each at random points of LINES metric rows and LINES records, their servers killed, stopped and
# frozen in between: afterwards rows, roll-ups and records are the truth, nothing lost, nothing twice. Then what goes wrong is told
# with what to do, rows that the database refuses are dead letters, of two writers one gives up, a full disk is waited for, old rows go.
. "$(dirname "$0")/lib.bash"
kills=${KILLS:-6}
lines=${LINES:-$((kills < 50 ? 20000 : 1000000))}
check=$root/tests/integration/check_timescale.py

kinds=plain
[ ! -x "$servers/timescaledb.sh" ] || [ -z "${TIMESCALE:-}" ] || "$servers/timescaledb.sh" > /dev/null
if "$servers/timescaledb.sh" --cached > /dev/null; then kinds="plain timescale"; else say "note: TimescaleDB is not cached (TIMESCALE=1 fetches it): plain PostgreSQL only"; fi

postgres() { "$servers/postgres.sh" "$1" --dir "$work/$2" "${@:3}"; }
test_cleanup() {
	local kind
	for kind in $kinds; do [ ! -d "$work/$kind" ] || postgres stop "$kind"; done
	! mountpoint -q "$work/small" || umount "$work/small"
}
# sql KIND STATEMENT [DATABASE]
sql() { postgres psql "$1" -d "${3:-postgres}" -c "$2" 2>> "$work/psql.log"; }
dsn() { sed -n 's/^POSTGRES_DSN="\(.*\)"/\1/p' "$work/$1/env"; }
with_dsn() { printf '%s' "$(dsn "$1" | sed "s/dbname=.*/dbname=$2/")"; }

start_kafka &
kafka=$!
for kind in $kinds; do
	postgres start "$kind" --kind "$kind" --owner $$ --tls
	cat "$work/$kind/pgpass" >> "$work/pgpass"
done
chmod 600 "$work/pgpass"
export PGPASSFILE=$work/pgpass
wait $kafka
. "$work/kafka/env"
brokers=$KAFKA_BOOTSTRAP
for topic in tapline.metrics tapline.logs tapline.dlq odd.metrics; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "$topic" --partitions 6 > /dev/null &
done
wait $(jobs -p) 2>/dev/null || true
say "servers are up after $SECONDS s"
began=$SECONDS

# --- nothing lost, nothing twice ---

# Late, early, with odd labels; of each third a histogram. The truth is what check_timescale.py makes of the same file.
python3 "$check" make "$lines" > "$work/deltas"
"$O/tests/tools/produce" "$brokers" tapline.logs "$lines" 0 $((lines / (kills + 1))) >> "$work/producer.log" 2>&1 &
producer=$!
split -n l/4 "$work/deltas" "$work/deltas."
(for part in "$work"/deltas.*; do
	kcat -b "$brokers" -t tapline.metrics -P -l "$part" -X partitioner=random
	sleep "$(awk "BEGIN { print $kills / 5 }")"
done) 2>> "$work/producer.log" &
metrics_producer=$!

sink() {
	local kind=$1
	shift
	printf '%s\n' "$tapline" sink timescale --brokers "$brokers" --dsn "$(dsn "$kind")" --instance "$kind-1" --group "sink-$kind" \
		--timeout 2s --batch 2000 --logs --kafka session.timeout.ms=6000 "$@"
}

# kill_again KIND: starts the sink and kills it after a random time, KILLS times; of three kills one may come while it starts, the
# others only come once it writes.
kill_again() {
	local kind=$1 pid i command before tries
	trap 'kill -KILL "$pid" 2>/dev/null; exit 1' TERM
	mapfile -t command < <(sink "$kind")
	for ((i = 0; i < kills; i++)); do
		before=$(grep -c ': writing' "$work/$kind.log" 2> /dev/null || true)
		"${command[@]}" >> "$work/$kind.log" 2>&1 < /dev/null &
		pid=$!
		for ((tries = i % 3 ? 100 : 0; tries > 0; tries--)); do
			[ "$(grep -c ': writing' "$work/$kind.log")" = "${before:-0}" ] || break
			sleep 0.1 &
			wait $!
		done
		sleep "0.$((RANDOM % 10))$((RANDOM % 10))" &
		wait $! # a trap runs at once
		kill -KILL "$pid" 2> /dev/null || { echo "the sink ended by itself" > "$work/$kind.bad"; return 1; }
		wait "$pid" 2> /dev/null || true
		echo $((i + 1)) > "$work/$kind.kills"
	done
}

# trouble KIND: as long as the killer is at it, the server is killed, frozen for longer than the sink's timeout, or stopped.
trouble() {
	local kind=$1 n=0
	trap 'postgres thaw "$kind"; exit 1' TERM
	while kill -0 "$2" 2> /dev/null; do
		sleep "0.$((RANDOM % 9))" &
		wait $!
		case $((n++ % 3)) in
		0) postgres kill "$kind"; postgres start "$kind" --owner $$ ;;
		1) postgres freeze "$kind"; sleep 2.5; postgres thaw "$kind" ;;
		2) postgres stop "$kind"; postgres start "$kind" --owner $$ ;;
		esac
		sleep $((kills > 20 ? RANDOM % 5 : 0)) &
		wait $!
	done
	echo "$n" > "$work/$kind.troubles"
}

declare -A killer troubler
# A second worker comes to the first one's group in the middle and stays: partitions are taken and given under the kills.
second_worker() {
	local command
	mapfile -t command < <(sink plain --instance plain-2)
	exec "${command[@]}"
}

for kind in $kinds; do
	kill_again "$kind" &
	killer[$kind]=$!
	trouble "$kind" "${killer[$kind]}" >> "$work/trouble.log" 2>&1 &
	troubler[$kind]=$!
done
killed_once() { [ -s "$work/plain.kills" ]; }
wait_until 60 "no sink was killed" killed_once
background second second_worker
second=$last
for kind in $kinds; do
	wait "${killer[$kind]}" || die "$kind: $(cat "$work/$kind.bad"): $(tail -3 "$work/$kind.log")"
	wait "${troubler[$kind]}" || die "$kind: $(tail -3 "$work/trouble.log")"
	mapfile -t command < <(sink "$kind")
	background "$kind" "${command[@]}"
	declare "sink_$kind=$last"
done
# One more outage under a sink that lives: it goes on by itself.
for kind in $kinds; do postgres kill "$kind"; postgres start "$kind" --owner $$; done
wait "$producer" || die "the producer failed"
wait "$metrics_producer" || die "the metrics' producer failed"
has_rows() {
	[ "$(sql "$1" 'SELECT count(*) FROM tapline.metrics')" -ge "$lines" ] && [ "$(sql "$1" 'SELECT count(*) FROM tapline.logs')" -ge "$lines" ]
}
for kind in $kinds; do
	wait_until 300 "$kind has $(sql "$kind" 'SELECT count(*) FROM tapline.metrics'), $(sql "$kind" 'SELECT count(*) FROM tapline.logs') rows of $lines" has_rows "$kind"
	pid=sink_$kind
	[ "$kind" != plain ] || { kill -0 "$second" || die "the second worker ended: $(tail -2 "$work/second.log")"; stop_pid "$second"; }
	memory=$(awk '/^VmHWM/ { print $2 }' "/proc/${!pid}/status")
	[ "$memory" -lt 131072 ] || die "$kind: the sink takes $memory KiB of memory"
	kill -TERM "${!pid}"
	wait "${!pid}" || die "$kind: a stopped sink ends with status $?: $(tail -3 "$work/$kind.log")"
	postgres psql "$kind" -d postgres -c "$(python3 "$check" queries)" > "$work/$kind.rows"
	python3 "$check" check "$work/deltas" "$lines" "$work/$kind.rows" || die "$kind: the rows are not the truth"
	say "$kind: right after $kills kills of the sink and $(cat "$work/$kind.troubles") of the server, at $((SECONDS - began)) s"
done
[ "$kinds" = plain ] || [ "$(sql timescale "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_schema = 'tapline'")" = 5 ] ||
	die "the tables are no hypertables on TimescaleDB"

# --- the queries of the docs, and no Kafka at all ---

python3 "$check" docs "$root/docs/sinks/timescale.md" > "$work/queries.sql"
for kind in $kinds; do
	postgres psql "$kind" -d postgres -f "$work/queries.sql" > "$work/answers" 2> "$work/psql.err" || die "$kind: a query of docs/sinks/timescale.md fails: $(cat "$work/psql.err")"
	[ "$(wc -l < "$work/answers")" -ge 100 ] || die "$kind: the queries of docs/sinks/timescale.md find only $(wc -l < "$work/answers") rows"
done
sql plain "CREATE DATABASE direct"
TAPLINE_STORE=$work/store.db "$tapline" run -o none --sink "timescale --dsn '$(with_dsn plain direct)' --logs" -- seq 1 3000 2> "$work/direct.log" ||
	die "tapline run ends with $?: $(tail -1 "$work/direct.log")"
[ "$(sql plain "SELECT (SELECT count(DISTINCT body) FROM tapline.logs), (SELECT sum(count) FROM tapline.metrics_1h WHERE name = 'log.records')" direct)" = '3000|3000' ] ||
	die "without Kafka: $(sql plain 'SELECT count(*), count(DISTINCT body) FROM tapline.logs' direct) of 3000"

# --- what goes wrong is told ---

# refused STATUS PATTERN ARGS...: the sink must end with STATUS and say PATTERN.
refused() {
	local status=0 wanted=$1 pattern=$2
	shift 2
	timeout 30 "$tapline" sink timescale --brokers "$brokers" --instance refused --group refused --wait 0 "$@" > "$work/out" 2> "$work/err" < /dev/null || status=$?
	[ $status = "$wanted" ] || { cat "$work/err"; die "$*: status $status instead of $wanted"; }
	grep -q -- "$pattern" "$work/err" || { cat "$work/err"; die "$*: does not say $pattern"; }
	! grep -q 'seCret' "$work/err" || die "$*: shows the password"
}
port=$(sed -n 's/^PGPORT=//p' "$work/plain/env")
sql plain "CREATE ROLE poor LOGIN PASSWORD 'seCret-poor'"
sql plain "CREATE DATABASE poors"
sql plain "CREATE DATABASE strange"
sql plain "CREATE SCHEMA tapline; CREATE TABLE tapline.metrics (name text, labels json)" strange
echo "postgresql://poor:seCret-poor@127.0.0.1:$port/poors" > "$work/dsn"
refused 1 'give --dsn DSN or --dsn-file'
refused 1 'DSN is not understood: .*write postgresql://' --dsn 'host'
refused 1 'DSN is not understood: write postgresql://' --dsn 'postgresql://u:seCret@h:x y/db?sslmode'
refused 1 'password authentication failed.*~/.pgpass' --dsn "postgresql://postgres:seCret@127.0.0.1:$port/postgres"
PGPASSFILE=/dev/null refused 1 'no password supplied.*--dsn-file' --dsn "postgresql://postgres@127.0.0.1:$port/postgres"
refused 1 'database "nothing" does not exist.*createdb' --dsn "$(with_dsn plain nothing)"
refused 1 'permission denied for database poors.*GRANT CREATE ON DATABASE' --dsn-file "$work/dsn"
refused 1 'no column `.*Alter it, or rename it' --dsn "$(with_dsn plain strange)"
refused 1 'Connection refused.*check --dsn' --dsn 'host=127.0.0.1 port=1 dbname=x user=x'
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$work/other.key" -out "$work/other.crt" 2> /dev/null
refused 1 'certificate verify failed' --dsn "$(dsn plain) sslmode=verify-full sslrootcert=$work/other.crt"
refused 1 'TimescaleDB is not installed on the server' --dsn "$(with_dsn plain poors)" --timescaledb yes
refused 1 'community edition' --dsn "$(with_dsn plain poors)" --rollups continuous
refused 1 'metrics_1m is there as a table' --dsn "$(dsn plain)" --rollups none
refused 2 'did you mean' --dsn "$(dsn plain)" --rollup none
python3 "$check" old-server "$work/old" &
wait_until 10 "the old server does not start" test -s "$work/old"
refused 1 'is PostgreSQL 9; the sink needs 12 or newer' --dsn "host=127.0.0.1 port=$(cat "$work/old") user=x dbname=x sslmode=disable"
[ "$kinds" = plain ] || {
	sql timescale "CREATE ROLE poor LOGIN PASSWORD 'seCret-poor'"
	sql timescale "CREATE DATABASE poors OWNER postgres"
	echo "postgresql://poor:seCret-poor@127.0.0.1:$(sed -n 's/^PGPORT=//p' "$work/timescale/env")/poors" > "$work/dsn"
	refused 1 'superuser run CREATE EXTENSION timescaledb' --dsn-file "$work/dsn"
	refused 1 'community edition' --dsn "$(with_dsn timescale poors)" --rollups continuous
}
# A schema that somebody else made, and a user who may only write.
sql plain "CREATE DATABASE made"
timeout -s TERM 30 "$tapline" sink timescale --brokers "$brokers" --dsn "$(with_dsn plain made)" --group maker --instance 1 --topic-prefix none. \
	--partitions 1 >> "$work/maker.log" 2>&1 &
maker=$!
made() { [ "$(sql plain "SELECT to_regclass('tapline.metrics_1h') IS NOT NULL" made)" = t ]; }
wait_until 20 "the tables are not made: $(tail -1 "$work/maker.log" 2>&1)" made
kill -TERM $maker
wait $maker || true
sql plain "GRANT USAGE ON SCHEMA tapline TO poor; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tapline TO poor" made
echo "postgresql://poor:seCret-poor@127.0.0.1:$port/made?sslmode=verify-full&sslrootcert=$work/plain/data/server.crt" > "$work/dsn-made"

# --- rows that the database refuses, as the user who may only write; then two writers ---

sql plain "ALTER TABLE tapline.metrics ADD CONSTRAINT no_teapots CHECK (labels->>'service.name' <> 'teapot')" made
python3 "$check" odd > "$work/odd"
kcat -b "$brokers" -t odd.metrics -P -l "$work/odd" 2>> "$work/producer.log"
background odd "$tapline" sink timescale --brokers "$brokers" --dsn-file "$work/dsn-made" --topic-prefix odd. --group odd --instance odd-1
odd=$last
odd_rows() { [ "$(sql plain "SELECT (SELECT count(*) FROM tapline.metrics) + (SELECT count(*) FROM tapline.dead_letters)" made)" -ge "$(wc -l < "$work/odd")" ]; }
wait_until 30 "of the odd rows $(sql plain 'SELECT (SELECT count(*) FROM tapline.metrics), (SELECT count(*) FROM tapline.dead_letters)' made) came" odd_rows
sql plain "SELECT reason FROM tapline.dead_letters ORDER BY 1" made > "$work/reasons"
python3 "$check" check-odd "$work/odd" "$(sql plain 'SELECT sum(count) FROM tapline.metrics' made)" "$(sql plain 'SELECT sum(count) FROM tapline.metrics_1h' made)" "$work/reasons" ||
	die "the dead letters are not those that should be"

# Another group on the same database: it comes to the same offsets, and whoever is second must not write.
background rival "$tapline" sink timescale --brokers "$brokers" --dsn-file "$work/dsn-made" --topic-prefix odd. --group rival --instance rival-1
rival=$last
wait_until 20 "the rival does not start" grep -q 'rival-1: writing' "$work/rival.log"
rows_before=$(sql plain 'SELECT sum(count) FROM tapline.metrics' made)
sent=0
one_gave_up() {
	kcat -b "$brokers" -t odd.metrics -P -l <(python3 "$check" ones 10) -X partitioner=random
	sent=$((sent + 10))
	! kill -0 "$odd" 2> /dev/null || ! kill -0 "$rival" 2> /dev/null
}
wait_until 30 "two writers go on side by side" one_gave_up
grep -q 'another sink writes the same topics' "$work/odd.log" "$work/rival.log" || die "the loser does not say why: $(tail -2 "$work/odd.log" "$work/rival.log")"
winner=$odd
kill -0 "$odd" 2> /dev/null || winner=$rival
kill -0 "$winner" 2> /dev/null || die "both writers gave up"
ones_there() { [ "$(sql plain 'SELECT sum(count) FROM tapline.metrics' made)" = $((rows_before + sent)) ]; }
wait_until 20 "the winner has $(sql plain 'SELECT sum(count) FROM tapline.metrics' made) of $((rows_before + sent))" ones_there

# --- stopped while the server is away: it ends soon, and nothing is lost ---

postgres freeze plain
kcat -b "$brokers" -t odd.metrics -P -l <(python3 "$check" ones 10)
sleep 1 # it is in the middle of a batch by then, or it is not: both must end
kill -TERM "$winner"
ended() { ! kill -0 "$winner" 2> /dev/null; }
wait_until 12 "the sink does not end while its server is frozen" ended
wait "$winner" || die "stopped while the server is frozen it ends with status $?"
postgres thaw plain

# --- a full disk ---

mkdir "$work/small"
if mount -t tmpfs -o size=24m tapline "$work/small" 2> /dev/null; then
	mkdir "$work/small/space"
	sql plain "CREATE TABLESPACE small LOCATION '$work/small/space'"
	sql plain "CREATE DATABASE small TABLESPACE small"
	background small "$tapline" sink timescale --brokers "$brokers" --dsn "$(with_dsn plain small)" --topic-prefix odd. --group small --instance small-1
	small=$last
	small_has() { [ "$(sql plain 'SELECT coalesce(sum(count), 0) FROM tapline.metrics' small 2> /dev/null)" -ge "$1" ]; }
	wait_until 30 "the sink on the small disk has nothing: $(tail -1 "$work/small.log" 2>&1)" small_has "$rows_before"
	dd if=/dev/zero of="$work/small/ballast" bs=8k 2> /dev/null || true
	full_rows=$(sql plain 'SELECT sum(count) FROM tapline.metrics' small)
	kcat -b "$brokers" -t odd.metrics -P -l <(python3 "$check" ones 3000) -X partitioner=random
	wait_until 30 "a full disk is not told: $(tail -1 "$work/small.log")" grep -q "make room on the server's disk" "$work/small.log"
	rm "$work/small/ballast"
	wait_until 30 "after the full disk there are $(sql plain 'SELECT sum(count) FROM tapline.metrics' small)" small_has $((full_rows + 3000))
	stop_pid "$small"
	[ "$(sql plain 'SELECT sum(count) FROM tapline.metrics_1h' small)" = "$(sql plain 'SELECT sum(count) FROM tapline.metrics' small)" ] ||
		die "after a full disk the roll-ups are wrong"
	sql plain "DROP DATABASE small"
	sql plain "DROP TABLESPACE small"
	umount "$work/small"
else
	say "note: no tmpfs can be mounted here: a full disk is not tested"
fi

# --- retention, and the last ten ---

background keep "$tapline" sink timescale --brokers "$brokers" --dsn "$(with_dsn plain made)" --topic-prefix odd. --group odd --instance odd-1 --keep 1s --keep-rollups 1s --keep-logs 1s
kept() { [ "$(sql plain "SELECT (SELECT count(*) FROM tapline.metrics WHERE window_start < now() - interval '3 hours') + (SELECT count(*) FROM tapline.metrics_1h WHERE bucket < now() - interval '3 hours')" made)" = 0 ]; }
wait_until 20 "old rows are not removed" kept
[ "$(sql plain "SELECT sum(next_offset) FROM tapline.offsets WHERE next_offset > 0" made)" -gt 0 ] || die "the offsets are gone"
stop_pid "$last"
if [ "$kinds" != plain ]; then
	chunks() { sql timescale "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name IN ('metrics', 'logs') AND range_end < now()"; }
	[ "$(chunks)" -gt 0 ] || die "there are no chunks to drop"
	mapfile -t command < <(sink timescale --keep 1s --keep-rollups 1s --keep-logs 1s)
	background timescale "${command[@]}"
	kcat -b "$brokers" -t tapline.metrics -P -l <(python3 "$check" ones 1)
	dropped() { [ "$(chunks)" = 0 ]; }
	wait_until 20 "$(chunks) chunks are not dropped: $(tail -1 "$work/timescale.log")" dropped
	stop_pid "$last"
fi
for log in plain timescale odd rival keep; do
	! grep -q seCret "$work/$log.log" 2> /dev/null || die "$log.log shows the password"
done
say "RESULT $kinds: sinks killed $kills times each, $lines metric rows and $lines records once each, roll-ups exact; $((SECONDS - began)) s"
