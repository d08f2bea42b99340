#!/bin/bash
# Runs the everyday tests and says one line for each program: ok, FAILED or skipped, with its time. Output is kept in
# $O/test-logs; a failed one's end is shown.
# usage: tests/run.sh [SUITE...]     suites: check unit fuzz capture correlate kernel pipeline pipeline_all; default all but pipeline_all
# environment: O (build folder, default build)
set -u
cd "$(dirname "$0")/.."
O=${O:-$PWD/build}
export O
logs=$O/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

# run NAME COMMAND...: exit status 77 means skipped; the last line of the output says why.
run() {
	local name=$1 log="$logs/${1//\//-}.log" start=$EPOCHREALTIME status took
	shift
	"$@" > "$log" 2>&1 < /dev/null
	status=$?
	took=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }")
	case $status in
	0) passed=$((passed + 1)); printf 'ok       %6ss  %s  %s\n' "$took" "$name" "$(grep -h '^RESULT' "$log" | tail -1)" ;;
	77) skipped=$((skipped + 1)); printf 'skipped  %6ss  %s: %s\n' "$took" "$name" "$(tail -1 "$log")" ;;
	*)
		failed=$((failed + 1))
		printf 'FAILED   %6ss  %s (status %s, %s)\n' "$took" "$name" "$status" "$log"
		tail -40 "$log" | sed 's/^/    | /'
		;;
	esac
}

suite_check() { run check tests/check.sh; }

suite_unit() {
	local t
	for t in tests/unit/test_*.c; do
		t=$(basename "$t" .c)
		run "unit/$t" timeout 300 "$O/tests/unit/$t"
	done
}

suite_capture() {
	local t
	for t in tests/capture/*.sh; do
		run "capture/$(basename "$t" .sh)" timeout 600 "$t"
	done
}

# A smoke of a few seconds a target; `make fuzz` goes on for longer.
suite_fuzz() { run fuzz env FUZZ_SECONDS="${FUZZ_SECONDS:-3}" timeout 600 tests/fuzz/run.sh; }

suite_correlate() { run correlate timeout 180 tests/correlate/quick.sh; }

suite_kernel() { run kernel timeout 900 tests/kernel/capture.sh; }

# Everyday ones; the rest, and more kills, are in `make soak`.
suite_pipeline() {
	local t
	for t in ${PIPELINE:-embedded loss broker_down restart whole levels runtimes chain hops protocols bad_input privileges metrics direct \
		otlp otlp_kafka timescale s3 elastic web}; do
		run "pipeline/$t" timeout 600 "tests/integration/$t.sh"
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
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
