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

say "machine: $(uname -sr), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg), $("$tapline" --version | head -1)"
[ $# -gt 0 ] || set -- copy s3
for name in "$@"; do "bench_$name"; done
