#!/bin/bash
# The benches of `make bench-sinks`: each sink beside the tool that people would use by hand, on the same rows in one run.
# docs/performance.md says what each figure means. usage: tests/bench/sinks.sh [BENCH...]; a bench is a function bench_NAME.
# environment: O (build folder), BENCH_ROUNDS, BENCH_ROWS
. "$(dirname "$0")/../integration/lib.bash"
bench=$O/tests/bench
rounds=${BENCH_ROUNDS:-5} rows=${BENCH_ROWS:-200000}
results=$work/results
mkdir -p "$results"

# figure FILE: "MEDIAN (MIN..MAX)" of its numbers.
figure() { sort -n "$1" | awk '{ v[NR] = $1 } END { f = v[1] < 100 ? "%.2f (%.2f..%.2f)" : "%d (%d..%d)"; printf f, v[int((NR + 1) / 2)], v[1], v[NR] }'; }

# goal WHAT FILE LIMIT: the median of ratios against its goal.
goal() {
	awk -v what="$1" -v figure="$(figure "$2" | cut -d' ' -f1)" -v limit="$3" 'BEGIN {
		printf "  %-52s %8s x   goal >= %-5s %s\n", what, figure, limit, (figure + 0 >= limit + 0) ? "met" : "NOT met" }'
}

# --- timescale: the sink's COPY beside psql's \copy ---

# copy_table KIND TABLE ROLLUPS LABEL: rounds of the sink and psql in turn, each into the same empty table.
copy_table() {
	local kind=$1 table=$2 rollups=$3 name=copy.$1.$2.$3 round
	for round in $(seq 0 "$rounds"); do
		sql "$kind" "DROP SCHEMA IF EXISTS tapline CASCADE"
		sql "$kind" "CHECKPOINT"
		"$bench/bench_copy" "$(sed -n 's/^POSTGRES_DSN="\(.*\)"/\1/p' "$work/$kind/env")" "$table" "$rows" "$rollups" > "$work/out" 2>> "$work/bench.log" ||
			die "bench_copy: $(tail -1 "$work/bench.log")"
		sql "$kind" "\\copy (SELECT * FROM tapline.$table) TO '$work/rows'"
		sql "$kind" "TRUNCATE tapline.$table"
		sql "$kind" "CHECKPOINT"
		# psql's own clock: starting it is not counted, as connecting is not for the sink.
		printf '\\timing on\n\\copy tapline.%s FROM '"'%s'"'\n' "$table" "$work/rows" > "$work/copy.sql"
		"$servers/postgres.sh" psql --dir "$work/$kind" -d postgres -f "$work/copy.sql" > "$work/timing" 2>> "$work/psql.log"
		[ "$round" = 0 ] && continue # the first one warms up
		sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$work/timing" >> "$results/$name.psql"
		awk '{ print $2 }' "$work/out" >> "$results/$name.sink"
		awk '{ print $3 * 1000000 / $1 }' "$work/out" >> "$results/$name.cpu"
		awk '{ print $4 / 1024 }' "$work/out" >> "$results/$name.rss"
	done
	paste "$results/$name.psql" "$results/$name.sink" | awk '{ printf "%.3f\n", $1 / $2 }' > "$results/$name.ratio"
	printf '  %-34s %-24s %-24s %-20s %s\n' "$4" "$(figure "$results/$name.sink")" "$(figure "$results/$name.psql")" \
		"$(figure "$results/$name.ratio")" "$(figure "$results/$name.cpu")"
}

sql() { PGOPTIONS='-c client_min_messages=warning' "$servers/postgres.sh" psql --dir "$work/$1" -d postgres -c "$2" 2>> "$work/psql.log"; }

bench_copy() {
	local kind kinds=plain
	! "$servers/timescaledb.sh" --cached > /dev/null || kinds="plain timescale"
	say; say "== timescale: ms for $rows rows, JSON to committed, batches of 10,000; $rounds rounds in turn, median (min..max)"
	printf '  %-34s %-24s %-24s %-20s %s\n' '' 'the sink' 'psql \copy FROM' 'psql / sink' "sink's CPU ns a row"
	for kind in $kinds; do
		"$servers/postgres.sh" start --dir "$work/$kind" --kind "$kind" --owner $$ --set max_wal_size=4GB
		export PGPASSFILE=$work/$kind/pgpass
		copy_table "$kind" metrics none "$kind: metrics, no roll-ups"
		copy_table "$kind" metrics own "$kind: metrics with roll-ups"
		copy_table "$kind" logs none "$kind: logs"
		"$servers/postgres.sh" stop --dir "$work/$kind"
	done
	say "  memory of the bench, its $rows messages included: $(figure "$results/copy.plain.logs.none.rss") MiB"
	for kind in $kinds; do
		goal "COPY of metrics against psql \\copy, $kind" "$results/copy.$kind.metrics.none.ratio" 0.9
		goal "COPY of logs against psql \\copy, $kind" "$results/copy.$kind.logs.none.ratio" 0.9
	done
}

# --- s3: records in memory to objects in a bucket, beside `zstd -1` from file to file ---

# timed COMMAND...: "WALL CPU" in seconds.
timed() {
	local TIMEFORMAT='%R %U %S'
	{ time "$@" > /dev/null 2>> "$work/bench.log"; } 2>&1 | awk '{ print $1, $2 + $3 }'
}

# s3_rounds FORMAT NAME: rounds of the sink and zstd in turn.
s3_rounds() {
	local round
	for round in $(seq 0 "$rounds"); do
		"$bench/bench_s3" "$S3_ENDPOINT" bench "$2$round/" "$s3_rows" "$1" > "$work/out" 2>> "$work/bench.log" ||
			die "bench_s3: $(tail -1 "$work/bench.log")"
		timed zstd -1 -q -f "$work/records" -o "$work/records.zst" > "$work/peer"
		rm -rf "$S3_DATA/bench/$2$round"
		[ "$round" = 0 ] && continue # the first one warms up
		awk '{ print $2 / $3 / 1e6 }' "$work/out" >> "$results/s3.$2.rate"
		paste -d' ' "$work/out" "$work/peer" | awk '{ print $5 / $3 }' >> "$results/s3.$2.wall"
		paste -d' ' "$work/out" "$work/peer" | awk '{ print $6 / $4 }' >> "$results/s3.$2.cpu"
		awk '{ print $4 * 1e9 / $1 }' "$work/out" >> "$results/s3.$2.ns"
	done
	printf '  %-34s %-24s %-24s %-20s %s\n' "$2" "$(figure "$results/s3.$2.rate")" "$(figure "$results/s3.$2.wall")" \
		"$(figure "$results/s3.$2.cpu")" "$(figure "$results/s3.$2.ns")"
}

bench_s3() {
	local s3_rows=${BENCH_S3_ROWS:-1000000}
	start_s3 --bucket bench
	"$bench/bench_s3" "$S3_ENDPOINT" bench x "$s3_rows" 0 "$work/records"
	say; say "== s3: $s3_rows records, $(($(stat -c %s "$work/records") / 1000000)) MB of NDJSON; $rounds rounds in turn, median (min..max)"
	printf '  %-34s %-24s %-24s %-20s %s\n' '' 'the sink, MB/s' 'zstd -1 / sink, time' 'zstd / sink, CPU' "sink's CPU ns a record"
	s3_rounds 0 ndjson
	s3_rounds 1 parquet
	goal "S3 (NDJSON) against zstd -1 of the same bytes, CPU" "$results/s3.ndjson.cpu" 0.8
	goal "S3 (NDJSON) against zstd -1 of the same bytes, time" "$results/s3.ndjson.wall" 0.8
	"$servers/s3.sh" stop --dir "$work/s3"
}

# --- elasticsearch and otlp: records in memory to a server that takes everything at once ---

hz=$(getconf CLK_TCK)
cpu_ms() { awk -v hz="$hz" '{ sub(/.*\) /, ""); printf "%d", ($12 + $13) * 1000 / hz }' "/proc/$1/stat"; }

start_stub() {
	background stub "$bench/bench_stub" "$work/stub.port"
	wait_until 10 "the stub does not start" test -s "$work/stub.port"
	stub=http://127.0.0.1:$(cat "$work/stub.port")
}

# bulk_round NAME ARGS...: docs/s and docs/s per core of one run.
bulk_round() {
	"$bench/bench_bulk" "$stub" "$bulk_rows" "${@:2}" > "$work/out" 2>> "$work/bench.log" || die "bench_bulk: $(tail -1 "$work/bench.log")"
	awk '{ printf "%.0f\n", $1 / $3 }' "$work/out" >> "$results/bulk.$1.wall"
	awk '{ printf "%.0f\n", $1 / $4 }' "$work/out" >> "$results/bulk.$1.core"
}

# rsyslog follows a file of the same records and sends them as they are, without ids and unpacked.
rsyslog_round() {
	local dir=$work/rsyslog.$RANDOM$RANDOM had began used
	mkdir "$dir"
	cat > "$dir/rsyslog.conf" <<-END
		global(workDirectory="$dir" maxMessageSize="64k")
		module(load="imfile" mode="inotify")
		module(load="omelasticsearch")
		template(name="plain" type="list") { property(name="msg") }
		ruleset(name="out") {
			action(type="omelasticsearch" server="127.0.0.1" serverport="${stub##*:}" searchIndex="tapline-logs-2026.11.20" searchType=""
				bulkmode="on" maxbytes="4m" template="plain" queue.type="LinkedList" queue.size="100000" queue.dequeuebatchsize="5000")
		}
		input(type="imfile" file="$work/records" tag="bench" ruleset="out")
	END
	had=$(curl -s "$stub/count")
	began=$EPOCHREALTIME
	background rsyslog rsyslogd -n -f "$dir/rsyslog.conf" -i "$dir/pid"
	took() { [ $(($(curl -s "$stub/count") - had)) -ge "$bulk_rows" ]; }
	wait_until 120 "rsyslog sent $(($(curl -s "$stub/count") - had)) of $bulk_rows" took
	used=$(cpu_ms "$last")
	awk -v n="$bulk_rows" -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f\n", n / (b - a) }' >> "$results/bulk.rsyslog.wall"
	awk -v n="$bulk_rows" -v ms="$used" 'BEGIN { printf "%.0f\n", n * 1000 / ms }' >> "$results/bulk.rsyslog.core"
	stop_pid "$last"
}

ratio() { paste "$results/$1" "$results/$2" | awk '{ printf "%.3f\n", $1 / $2 }' > "$results/$1.ratio"; figure "$results/$1.ratio"; }

bench_bulk() {
	local bulk_rows=$rows round name
	start_stub
	"$bench/bench_bulk" "$stub" "$bulk_rows" floor 0 "$work/records"
	for round in $(seq "$rounds"); do
		bulk_round floor floor 0
		bulk_round plain elastic 0
		bulk_round gzip elastic 1
		rsyslog_round
		bulk_round otlp-plain otlp 0
		bulk_round otlp-gzip otlp 1
	done
	say; say "== elasticsearch, otlp: $bulk_rows records of $(($(stat -c %s "$work/records") / bulk_rows)) B to a server that takes all at once; $rounds rounds in turn, median (min..max)"
	printf '  %-44s %-34s %-24s %s\n' '' 'records/s per core of the client' 'beside the floor' 'records/s'
	for name in floor plain gzip rsyslog otlp-plain otlp-gzip; do
		printf '  %-44s %-34s %-24s %s\n' "$(bulk_label $name)" "$(figure "$results/bulk.$name.core")" "$(ratio bulk.$name.core bulk.floor.core)" "$(figure "$results/bulk.$name.wall")"
	done
	say "  elasticsearch, not packed, beside rsyslog: $(ratio bulk.plain.core bulk.rsyslog.core)"
}

bulk_label() {
	case $1 in
	floor) echo "the floor: bodies of constants, one request" ;;
	plain) echo "elasticsearch, --no-gzip" ;;
	gzip) echo "elasticsearch, as it is set (gzip)" ;;
	rsyslog) echo "rsyslog + omelasticsearch, imfile, no ids" ;;
	otlp-plain) echo "otlp, --request-compression none" ;;
	otlp-gzip) echo "otlp, as it is set (protobuf, gzip)" ;;
	esac
}

# --- memory: each sink over a real Kafka, the most that it ever had resident ---

memory_of() { # NAME IS-DONE ARGS...
	local name=$1 done=$2 pid
	background "memory-$name" "$tapline" sink "${@:3}" --brokers "$brokers" --instance m
	pid=$last
	wait_until 120 "$name: not all of $rows arrived: $(tail -1 "$work/memory-$name.log")" "$done"
	printf '  %-20s %s MiB\n' "$name" "$(awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$pid/status")"
	awk '/^VmHWM/ { print $2 / 1024 }' "/proc/$pid/status" >> "$results/memory"
	stop_pid "$pid"
}

read_all() {
	[ "$(curl -s "http://127.0.0.1:$metrics_port/metrics" | awk '/^tapline_sink_records_total.*(written|duplicate)/ { n += $2 } END { print n + 0 }')" -ge "$rows" ]
}

# A sink that collects counts what it has stored; the rest is brought away while it is stopped.
no_lag() { curl -s "http://127.0.0.1:$metrics_port/metrics" | grep -q '^tapline_consumer_lag_records 0$'; }

bench_memory() {
	local metrics_port
	metrics_port=$(bash -c '. "$1"; srv_free_port' _ "$servers/lib.sh")
	start_kafka
	[ -n "${stub:-}" ] || start_stub
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic tapline.logs --partitions 6 > /dev/null
	"$bench/bench_bulk" "$stub" "$rows" floor 0 "$work/records"
	kcat -b "$brokers" -t tapline.logs -P -l "$work/records" -X partitioner=random -z lz4
	"$servers/postgres.sh" start --dir "$work/plain" --kind plain --owner $$ --set max_wal_size=4GB
	export PGPASSFILE=$work/plain/pgpass
	start_s3 --bucket bench
	mkdir "$work/files"
	say; say "== memory: the most resident while $rows records in Kafka are brought away"
	memory_of elasticsearch read_all elasticsearch --url "$stub" --metrics "127.0.0.1:$metrics_port"
	memory_of otlp read_all otlp --url "$stub" --metrics "127.0.0.1:$metrics_port"
	memory_of timescale read_all timescale --logs --dsn "$(sed -n 's/^POSTGRES_DSN="\(.*\)"/\1/p' "$work/plain/env")" --metrics "127.0.0.1:$metrics_port"
	memory_of s3 no_lag s3 --endpoint "$S3_ENDPOINT" --bucket bench --metrics "127.0.0.1:$metrics_port"
	memory_of file read_all file --path "$work/files" --metrics "127.0.0.1:$metrics_port"
	memory_of store read_all store --path "$work/memory.db" --metrics "127.0.0.1:$metrics_port"
	sort -n "$results/memory" | tail -1 | awk '{ printf "  %-52s %8.0f MiB goal <= 128   %s\n", "the largest of them", $1, $1 <= 128 ? "met" : "NOT met" }'
	"$servers/postgres.sh" stop --dir "$work/plain"
	"$servers/s3.sh" stop --dir "$work/s3"
	"$servers/kafka.sh" stop --dir "$work/kafka"
}

say "machine: $(uname -sr), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg), $("$tapline" --version | head -1)"
[ $# -gt 0 ] || set -- copy s3 bulk memory
for name in "$@"; do "bench_$name"; done
