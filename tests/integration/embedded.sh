#!/bin/bash
# `tapline run` on one host: records on stdout and nothing else there, exit status passed on, every line kept and found, ids by the
# thread rule after its gate opens, buffered output named with its remedy, --passthrough, --tty, attach by --pid.
. "$(dirname "$0")/lib.bash"
export TAPLINE_STORE=$work/store.db

# 1. json on stdout, nothing else; exit status; every line.
status=0
"$tapline" run -o json -- sh -c 'for i in $(seq 200); do echo "line n=$i"; done; echo "to stderr" >&2; exit 7' \
	> "$work/out" 2> "$work/err" || status=$?
[ $status = 7 ] || { cat "$work/err"; die "exit status $status instead of 7"; }
[ "$(jq -r .body "$work/out" | grep -c '^line n=')" = 200 ] || die "not every line on stdout: $(wc -l < "$work/out")"
jq -e 'select(.body == "to stderr") | .attributes["log.iostream"] == "stderr"' "$work/out" > /dev/null || die "stderr is not told"
jq -es 'all(.uid and .observed_timestamp and .resource["process.pid"] and .attributes["correlation.how"])' "$work/out" > /dev/null \
	|| die "a record lacks its fields"

# 2. found again.
[ "$("$tapline" search -o json --limit 1000 'line' | jq -s length)" -ge 200 ] || die "search does not find the lines"

# 3. --passthrough copies, --tty makes a terminal.
"$tapline" run -o none --passthrough -- echo through > /dev/null 2> "$work/err"
grep -q '^through' "$work/err" || die "--passthrough shows nothing"
"$tapline" run -o json --tty -- sh -c 'test -t 1 && echo is a tty' > "$work/out" 2> "$work/err"
jq -e 'select(.body | startswith("is a tty"))' "$work/out" > /dev/null || die "--tty gives no terminal"

# 4. a service that keeps its output in stdio is named with the remedy.
"$tapline" run -o json -- env -u PYTHONUNBUFFERED /usr/bin/python3 -c 'for i in range(2000): print("buffered line number", i)' > "$work/out" 2> "$work/err"
[ "$(wc -l < "$work/out")" = 2000 ] || die "buffered lines: $(wc -l < "$work/out") of 2000"
grep -q 'PYTHONUNBUFFERED\|python3 -u' "$work/err" || { cat "$work/err"; die "the buffer is not named with its remedy"; }

# 5. a command that cannot be run; one that is killed.
status=0; "$tapline" run -o none -- /no/such/program 2> "$work/err" || status=$?
[ $status = 127 ] || die "a missing command gives $status instead of 127"
status=0; "$tapline" run -o none -- sh -c 'kill -9 $$' 2> "$work/err" || status=$?
[ $status = 137 ] || die "a killed command gives $status instead of 137"
# ... and tapline itself cut short: the command's lines until then are kept, and the status is not the command's.
"$tapline" run -o json -- sh -c 'echo before; exec sleep 60' > "$work/out" 2> "$work/err" &
run=$!
wait_until 20 "no line before the agent is killed" grep -q '"body":"before' "$work/out"
# Asleep meanwhile, it finds agent and pipeline ended at once.
both_ended() { [ "$(ps --ppid $run -o stat= | grep -c Z)" = 2 ]; }
kill -STOP $run
kill -9 "$(pgrep -P $run -f 'tapline agent')"
wait_until 20 "the pipeline does not end with the agent" both_ended
kill -CONT $run
status=0; wait $run || status=$?
[ $status = 125 ] || { cat "$work/err"; die "a run whose agent was killed gives $status instead of 125"; }
grep -q 'agent ended unexpectedly' "$work/err" || die "the agent's end is not told"

# 6. attach to what runs, and the thread rule.
python3 -u -m http.server --bind 127.0.0.1 29561 > "$work/server.txt" 2>&1 &
server=$!
"$tapline" run -o json --pid $server --path "$work/server.txt" --for 15s > "$work/out" 2> "$work/err" &
run=$!
wait_until 20 "tapline run does not start" sh -c "ls $work/run-*/status.json"
# The thread rule proves itself on requests that overlap: 8 clients at once.
python3 - << 'END' || die "the requests failed"
import concurrent.futures, http.client, uuid

def one(_):  # the server closes each connection
    connection = http.client.HTTPConnection("127.0.0.1", 29561, timeout=5)
    connection.request("GET", "/", headers={"X-Request-ID": str(uuid.uuid4())})
    connection.getresponse().read()
    connection.close()

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(one, range(3000)))
END
wait $run || { cat "$work/err"; die "tapline run --pid failed"; }
threads=$(jq -s '[.[] | select(.attributes["correlation.how"] == "thread")] | length' "$work/out")
[ "$threads" -gt 100 ] || { jq -c .attributes "$work/out" | tail -3; die "only $threads lines by the thread rule"; }
say "RESULT run, search, exit status, buffers, tty; $threads lines by the thread rule"
