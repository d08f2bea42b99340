#!/bin/bash
# The benches of `make bench`, as one table with ratios: what capture adds to a system call; CPU of the agent per line to a real
# broker, beside rsyslog + omkafka on the same lines and beside bare librdkafka producers of the same bytes (the floor),
# interleaved round by round; latency from write to broker. docs/performance.md says what each figure means.
# environment: O (build folder), BENCH_ROUNDS, BENCH_LINES, BENCH_RATE (lines/s), BENCH_SECONDS (of each latency run)
. "$(dirname "$0")/../integration/lib.bash"
bench=$O/tests/bench
rounds=${BENCH_ROUNDS:-5} lines=${BENCH_LINES:-600000} rate=${BENCH_RATE:-100000} seconds=${BENCH_SECONDS:-8}
hz=$(getconf CLK_TCK)
results=$work/results
mkdir -p "$results"
mkfifo "$work/go"

# cpu_ms PID...: user and system time of processes, in ms (steps of a tick).
cpu_ms() {
	local pid
	for pid in "$@"; do cat "/proc/$pid/stat"; done |
		awk -v hz="$hz" '{ sub(/.*\) /, ""); n += $12 + $13 } END { printf "%d", n * 1000 / hz }'
}

# --- the programs under test: start_NAME leaves their pids in $tested and the topic in $topic ---

# The writer waits for a line in the fifo, so that it is selected, or its file watched, before it writes. Pid in $writer.
start_writer() {
	: > "$work/service.log"
	sh -c "read _ < '$work/go'; exec '$bench/bench_writer' $1 $2" >> "$work/service.log" 2> "$work/writer.cost" &
	writer=$!
	pids+=("$writer")
}

connected() { [ -s "$1/status.json" ] && jq -e .kafka.connected "$1/status.json" > /dev/null; }

start_tapline() {
	local state=$work/state.$RANDOM$RANDOM
	background agent "$tapline" agent --brokers "$brokers" --topic-prefix bench- --state "$state" --pin none \
		--path "$work/service.log" --pid "$writer"
	wait_until 30 "the agent does not reach the broker" connected "$state"
	tested="$last $(pgrep -P "$last" | tr '\n' ' ')"
	topic=bench-raw
}

watches_files() { grep -qs '^inotify wd' /proc/"$1"/fdinfo/*; }

# start_rsyslog TEMPLATE [QUEUE]: the settings of librdkafka are the agent's.
start_rsyslog() {
	local dir=$work/rsyslog.$RANDOM$RANDOM
	mkdir "$dir"
	sed -e "s|@DIR@|$dir|; s|@FILE@|$work/service.log|; s|@BROKERS@|$brokers|; s|@TEMPLATE@|$1|; s|@QUEUE@|${2:-}|" \
		"$root/tests/bench/rsyslog.conf.in" > "$dir/rsyslog.conf"
	background rsyslog rsyslogd -n -f "$dir/rsyslog.conf" -i "$dir/pid"
	tested=$last
	wait_until 30 "rsyslog does not watch its file" watches_files "$tested"
	topic=bench-rsyslog
}
start_rsyslog_default() { start_rsyslog enveloped; }
start_rsyslog_direct() { start_rsyslog enveloped ' queue.type="Direct"'; }
start_rsyslog_plain() { start_rsyslog plain ' queue.type="Direct"'; }

# The agent ends its own child.
stop_tested() { stop_pid "${tested%% *}"; }

nothing_lost() {
	[ "$1" != tapline ] || jq -e '.bytes.gaps == 0' "$(ls -td "$work"/state.*/ | head -1)/status.json" > /dev/null ||
		say "note: the ring was full for a while in this round; the lost bytes were told as gaps"
}

# --- CPU per line ---

note() { echo "$3" >> "$results/$1.$2"; }

# cpu_round NAME: CPU ns a line of program, broker and writer between the first write and the broker's having all.
cpu_round() {
	local name=$1 broker messages used used_broker
	broker=$(cat "$work/kafka/pid")
	start_writer "$lines" "$rate"
	"start_$name"
	messages=$("$bench/bench_broker" count "$brokers" "$topic")
	used=$(cpu_ms $tested) used_broker=$(cpu_ms "$broker")
	echo > "$work/go"
	"$bench/bench_broker" await "$brokers" "$topic" $((messages + lines)) 60 || die "$name: not all lines came"
	note "$name" program $((($(cpu_ms $tested) - used) * 1000000 / lines))
	note "$name" broker $((($(cpu_ms "$broker") - used_broker) * 1000000 / lines))
	wait "$writer" || die "the writer failed"
	note "$name" writer "$(cat "$work/writer.cost")"
	stop_tested
	nothing_lost "$name"
}

# floor_round NAME [ARGS...]: a bare producer of the same messages.
floor_round() {
	local name=$1
	shift
	note "$name" program "$("$bench/bench_producer" "$brokers" bench-floor "$lines" lz4 "$@" 2>> "$work/producer.log")"
}

# --- latency ---

# latency_run NAME RATE RESULT: adds a line "received P50 P99 MAX appended P50 P99 MAX".
latency_run() {
	local name=$1 count=$(($2 * seconds)) consumer
	: > "$work/latency"
	start_writer "$count" "$2"
	"start_$name"
	"$bench/bench_broker" latency "$brokers" "$topic" "$count" $((seconds + 30)) > "$work/latency" 2>> "$work/latency.log" &
	consumer=$!
	pids+=("$consumer")
	wait_until 20 "the consumer is not ready" grep -q ready "$work/latency"
	echo > "$work/go"
	wait "$consumer" || die "$name: $(tail -1 "$work/latency.log")"
	wait "$writer" || die "the writer failed"
	stop_tested
	tail -1 "$work/latency" >> "$results/latency.$3"
}

# --- figures ---

# figure FILE: "MEDIAN (MIN..MAX)" of its numbers.
figure() {
	sort -n "$1" | awk '{ v[NR] = $1 } END { f = v[1] < 100 ? "%.2f (%.2f..%.2f)" : "%d (%d..%d)"
		printf f, v[int((NR + 1) / 2)], v[1], v[NR] }'
}
median() { figure "$1" | cut -d' ' -f1; }

# ratio NAME OTHER: of the program's CPU in the same round.
ratio() {
	paste "$results/$1.program" "$results/$2.program" | awk '{ printf "%.3f\n", $1 / $2 }' > "$results/ratio"
	figure "$results/ratio"
}

# goal WHAT FIGURE LIMIT UNIT
goal() {
	awk -v what="$1" -v figure="$2" -v limit="$3" -v unit="$4" 'BEGIN {
		printf "  %-52s %8s %-3s goal <= %-5s %s\n", what, figure, unit, limit, figure <= limit ? "met" : "NOT met" }'
}

cpu_row() {
	local writer=- broker=-
	[ ! -s "$results/$1.writer" ] || writer=$(figure "$results/$1.writer") broker=$(figure "$results/$1.broker")
	printf '  %-32s %-20s %-20s %s\n' "$2" "$(figure "$results/$1.program")" "$writer" "$broker"
}

# column FILE N: the median of a column.
column() { awk -v n="$2" '{ print $n }' "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

latency_row() {
	local file=$2
	printf '  %-32s %8.2f %8.2f %8.2f   %-22s %.2f, %.2f\n' "$1" "$(column "$file" 2)" "$(column "$file" 3)" "$(column "$file" 4)" \
		"($(awk '{ printf "%s%.1f", (NR > 1 ? ", " : ""), $3 }' "$file"))" "$(column "$file" 6)" "$(column "$file" 7)"
}

machine() {
	local other
	other=$(bpftool link list 2> /dev/null | grep -c "'sys_exit'" || true)
	say "machine: $(uname -sr), $(nproc) CPUs$(sed -n 's/^model name[^:]*: */, /p' /proc/cpuinfo | head -1)," \
		"load $(cut -d' ' -f1 /proc/loadavg), $("$tapline" --version | head -1)"
	[ "$other" = 0 ] || say "note: $other other programs are attached to sys_exit and make every system call dearer"
	awk '$1 > 1 { print "note: the machine is busy, so that the figures are too large and spread widely" }' /proc/loadavg
}

# --- the run ---

machine
say; say "== what capture adds to a call (CPU of the caller, medians, smallest..largest)"
"$bench/bench_capture" 15 2> "$work/capture.log" | tee "$results/capture" || die "$(tail -1 "$work/capture.log")"

start_kafka --set log.message.timestamp.type=LogAppendTime
for name in floor rsyslog; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "bench-$name" --partitions 6 >> "$work/topics.log" 2>&1
done
floor_round warm # the broker's code gets compiled, the topics get their logs
# Latency first: later the disk has gigabytes to write.
latency_run tapline 500 warm
for _ in 1 2 3; do
	latency_run tapline 2000 tapline
	latency_run rsyslog_default 2000 rsyslog
done
latency_run tapline 20 sparse
say; say "== ms from write to broker, medians of the runs (p99 of each run)"
printf '  %-32s %8s %8s %8s   %-22s %s\n' 'received by a consumer' p50 p99 max '' 'appended: p50, p99'
latency_row 'tapline, 2000 lines/s' "$results/latency.tapline"
latency_row 'tapline, 20 lines/s' "$results/latency.sparse"
latency_row 'rsyslog, 2000 lines/s' "$results/latency.rsyslog"

for _ in $(seq "$rounds"); do
	cpu_round tapline
	cpu_round rsyslog_default
	cpu_round rsyslog_direct
	cpu_round rsyslog_plain
	floor_round floor
	floor_round floor_bare bare
done
say; say "== CPU ns a line of 128 B to a real broker: $lines lines at $rate/s, lz4, acks=all; $rounds rounds, median (min..max)"
printf '  %-32s %-20s %-20s %s\n' '' 'program' 'writer' 'broker'
cpu_row tapline 'tapline agent'
cpu_row rsyslog_default 'rsyslog, the same envelope'
cpu_row rsyslog_direct 'rsyslog, without its queue'
cpu_row rsyslog_plain 'rsyslog, also no envelope'
cpu_row floor 'librdkafka, the same messages'
cpu_row floor_bare 'librdkafka, without headers'
say "  tapline / rsyslog, the same envelope    $(ratio tapline rsyslog_default)"
say "  tapline / rsyslog, without its queue    $(ratio tapline rsyslog_direct)"
say "  tapline / rsyslog, also no envelope     $(ratio tapline rsyslog_plain)"
say "  tapline / librdkafka, same messages     $(ratio tapline floor)"

say; say "== goals"
goal 'added to a captured write of 128 B' "$(awk '/^write 128 B/ { print $(NF - 3) + 0 }' "$results/capture")" 350 ns
goal 'agent CPU a line / rsyslog, the same envelope' "$(ratio tapline rsyslog_default | cut -d' ' -f1)" 0.30 x
goal 'write to broker, p50' "$(column "$results/latency.tapline" 2)" 5 ms
goal 'write to broker, p99' "$(column "$results/latency.tapline" 3)" 15 ms
say "$SECONDS s"
