#!/bin/bash
# Runs the everyday tests and says one line for each program: ok, FAILED or skipped, with its time. Output is kept in
# $O/test-logs; a failed one's end is shown.
# usage: tests/run.sh [SUITE...]     suites: check unit fuzz capture correlate kernel pipeline, kernel_all pipeline_all; default all but the two of `make soak`
# environment: O (build folder, default build), JOBS (tests at once where they do not measure, default 3: they mostly wait for servers)
set -u
cd "$(dirname "$0")/.."
O=${O:-$PWD/build}
export O
logs=$O/test-logs
mkdir -p "$logs"
results=$logs/results
: > "$results"
jobs=${JOBS:-3}

# run NAME COMMAND...: exit status 77 means skipped; the last line of the output says why.
run() {
	local name=$1 log="$logs/${1//\//-}.log" start=$EPOCHREALTIME status took text
	shift
	"$@" > "$log" 2>&1 < /dev/null
	status=$?
	took=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }")
	case $status in
	0) text=$(printf 'ok       %6ss  %s  %s' "$took" "$name" "$(grep -h '^RESULT' "$log" | tail -1)") ;;
	77) text=$(printf 'skipped  %6ss  %s: %s' "$took" "$name" "$(tail -1 "$log")") ;;
	*)
		text=$(printf 'FAILED   %6ss  %s (status %s, %s)\n' "$took" "$name" "$status" "$log"
			tail -40 "$log" | sed 's/^/    | /')
		;;
	esac
	printf '%s\n' "$text"
	printf '%s\n' "${text%% *}" >> "$results"
}

# The same beside others, $JOBS at once. `wait` waits for all.
run_beside() {
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
	run "$@" &
}

count() { grep -c "^$1" "$results" || true; }

suite_check() { run check tests/check.sh; }

suite_unit() {
	local t
	for t in tests/unit/test_*.c; do
		t=$(basename "$t" .c)
		run_beside "unit/$t" timeout 300 "$O/tests/unit/$t"
	done
}

suite_capture() {
	local t
	for t in tests/capture/*.sh; do
		run "capture/$(basename "$t" .sh)" timeout 600 "$t"
	done
}

# A smoke of a few seconds a target, the same inputs every time; `make fuzz` looks for new ones, for longer.
suite_fuzz() { run fuzz env FUZZ_RUNS="${FUZZ_RUNS:-20000}" timeout 600 tests/fuzz/run.sh; }

suite_correlate() { run correlate timeout 180 tests/correlate/quick.sh; }

# The oldest and the newest, beside the next suite: a guest keeps one CPU busy for minutes. `make soak` boots those between, too.
suite_kernel() { run_beside kernel timeout 900 tests/kernel/capture.sh 5.10 7.x; }

suite_kernel_all() { run kernel timeout 1800 tests/kernel/capture.sh; }

# Everyday ones; the rest, and more kills, are in `make soak`.
suite_pipeline() {
	local t
	for t in ${PIPELINE:-embedded loss broker_down restart whole levels runtimes chain hops protocols bad_input privileges metrics \
		direct otlp otlp_kafka timescale s3 elastic dashboards web}; do
		run_beside "pipeline/$t" timeout 600 "tests/integration/$t.sh"
	done
}

suite_pipeline_all() {
	local t
	for t in tests/integration/*.sh; do
		run "pipeline/$(basename "$t" .sh)" timeout 3000 "$t"
	done
}

suites=${*:-check unit fuzz capture correlate kernel pipeline}
for suite in $suites; do
	echo "== $suite"
	"suite_$suite"
	[ "$suite" = kernel ] || wait
done
wait
echo "$(count ok) passed, $(count FAILED) failed, $(count skipped) skipped"
[ "$(count FAILED)" = 0 ]
