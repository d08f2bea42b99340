#!/bin/bash
# What goes wrong around a sink, with real servers: wrong flags, no such server, wrong credentials, data streams, mapping conflicts (dead
# letters), requests over the server's limit, a store that cannot be written. Each is told with what to do, and nothing is lost.
. "$(dirname "$0")/lib.bash"

# refused STATUS PATTERN COMMAND...: it must end with STATUS and say PATTERN on stderr.
refused() {
	local status=0 wanted=$1 pattern=$2
	shift 2
	timeout 60 "$@" > "$work/out" 2> "$work/err" < /dev/null || status=$?
	[ $status = "$wanted" ] || { cat "$work/err"; die "$*: status $status instead of $wanted"; }
	grep -qi -- "$pattern" "$work/err" || { cat "$work/err"; die "$*: does not say $pattern"; }
}

start_kafka
start_search --set http.max_content_length=1mb
elasticsearch=("$tapline" sink elasticsearch --brokers "$brokers" --instance errors-1)

# 1. Wrong flags.
refused 2 'did you mean `store`' "$tapline" sink stores
refused 2 'url' "$tapline" sink elasticsearch --brokers "$brokers"
refused 2 'index-prefix' "${elasticsearch[@]}" --url "$search" --index-prfix x-
refused 1 'lower-case' "${elasticsearch[@]}" --url "$search" --index-prefix Logs-
refused 1 'http://HOST' "${elasticsearch[@]}" --url "ftp://x"

# 2. Servers that are not there, or no search servers.
refused 1 '--url' "${elasticsearch[@]}" --url http://127.0.0.1:1 --wait 0
refused 1 'Elasticsearch or OpenSearch?' "${elasticsearch[@]}" --url "$search/no/such/place" --wait 0
refused 1 'unreachable\|cannot be reached\|127.0.0.1:1' timeout 45 "$tapline" sink elasticsearch --brokers 127.0.0.1:1 --url "$search"

# 3. Credentials: a server that refuses all of them.
python3 - "$work/port" <<-'END' &
	import http.server, sys
	class Refuse(http.server.BaseHTTPRequestHandler):
	    def do_GET(self):
	        self.send_response(401)
	        self.send_header("Content-Length", "0")
	        self.end_headers()
	    def log_message(self, *args):
	        pass
	server = http.server.HTTPServer(("127.0.0.1", 0), Refuse)
	with open(sys.argv[1] + ".new", "w") as file:
	    file.write(str(server.server_address[1]))
	import os
	os.rename(sys.argv[1] + ".new", sys.argv[1])
	server.serve_forever()
END
wait_until 10 "the refusing server does not start" test -s "$work/port"
echo secret > "$work/password"
refused 1 'credentials.*--password-file' "${elasticsearch[@]}" --url "http://127.0.0.1:$(cat "$work/port")" --user u --password-file "$work/password"
! grep -q secret "$work/err" || die "the password is shown"

# 4. Names that are data streams.
curl -fsS -XPUT -H 'Content-Type: application/json' "$search/_index_template/streams" \
	-d '{"index_patterns":["stream-logs-*"],"priority":500,"data_stream":{}}' > /dev/null
refused 1 'data streams.*--index-prefix' "${elasticsearch[@]}" --url "$search" --index-prefix stream-logs-

# 5. A store that cannot be written.
refused 1 'no such file' "$tapline" sink store --brokers "$brokers" --path "$work/no/such/folder/x.db"
echo 'This is a text of some length, and certainly no database of ours.' > "$work/text"
refused 1 'move it away' "$tapline" sink store --brokers "$brokers" --path "$work/text"

# 6. Records that the mapping refuses, and requests over the server's limit of 1 MB: all others arrive, these are dead letters.
for topic in logs http metrics dlq; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "tapline.$topic" --partitions 2 > /dev/null
done
"$O/tests/tools/produce" "$brokers" tapline.logs 20000 --bad 1000
background sink "${elasticsearch[@]}" --url "$search" --no-gzip --request-size 4MiB --replicas 0
sink=$last
wait_until 120 "OpenSearch has $(documents 'tapline-logs-*') of 19980" has_documents 'tapline-logs-*' 19980
dead() { kcat -b "$brokers" -t tapline.dlq -C -e -q -f '%h\t%s\n' 2>/dev/null; }
has_dead() { [ "$(dead | wc -l)" -ge 20 ]; }
wait_until 60 "$(dead | wc -l) dead letters of 20" has_dead
stop_pid "$sink"
[ "$(documents 'tapline-logs-*')" = 19980 ] || die "$(documents 'tapline-logs-*') documents instead of 19980"
[ "$(dead | grep -c 'tapline-reason=mapper_parsing_exception.*tapline-stage=sink.*tapline-topic=logs.*"severity_number":"none"')" = 20 ] ||
	{ dead | head -3; die "the dead letters do not tell their reason"; }

# 7. Stopped in the middle: it ends at once, though the server is away.
"$O/tests/tools/produce" "$brokers" tapline.logs 5000 20000
background sink "${elasticsearch[@]}" --url "$search" --batch 100
sink=$last
wait_until 30 "the sink does not begin" has_documents 'tapline-logs-*' 20100
"$servers/opensearch.sh" kill --dir "$work/search"
wait_until 30 "the outage is not told" grep -q 'trying on' "$work/sink.log"
kill -TERM "$sink"
ended() { ! kill -0 "$sink" 2>/dev/null; }
wait_until 15 "the sink does not end" ended
wait "$sink" || die "a stopped sink ends with status $?"
say "RESULT wrong flags, servers, credentials, streams, stores are told; 20 refused records are dead letters, 19980 arrived"
