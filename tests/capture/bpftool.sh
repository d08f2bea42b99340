#!/bin/bash
# Runs every command of docs/bpftool.md against a live agent with pins of its own, and looks at what each one says.
# environment: O (build folder, default build). Exit status 77: not root, or no bpftool.
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
PATH=$PATH:/usr/sbin:/sbin
command -v bpftool > /dev/null || { echo "needs bpftool"; exit 77; }
. "$(dirname "$0")/../integration/lib.bash"
pins=/sys/fs/bpf/tapline-bpftool-$$
was_on=$(sysctl -n kernel.bpf_stats_enabled)
test_cleanup() {
	sysctl -qw "kernel.bpf_stats_enabled=$was_on"
	"$tapline" unload --pin "$pins"
}

# A pipe as a service's stdout, an HTTP request, a child: something for every map.
background writer python3 -uc 'import http.client, http.server, os, threading, time
time.sleep(1)
http.server.SimpleHTTPRequestHandler.protocol_version = "HTTP/1.1"
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
while True:
    print("a line")
    connection.request("GET", "/")
    connection.getresponse().read()
    os.system(":")
    time.sleep(0.1)'
writer=$last
cp "$(command -v sleep)" "$work/tl-excluded"
background excluded "$work/tl-excluded" 1000
background agent "$tapline" agent --state "$work/agent" --pin "$pins" --pid "$writer" --path "$work/writer.log" --exclude-comm tl-excluded
agent=$last
wait_until 30 "nothing is captured" sh -c "jq -e '.exchanges > 2' '$work/agent/status.json' > /dev/null 2>&1"

# What the commands print, in their order on the page.
bytes='[0-9]+'
expected=(
	"^ *$writer .*python3"                       # who is selected
	"tapline (agent|-worker)|tapline-worker|tapline agent" # who is denied
	"^$writer	thread	lost events: 0"
	'^\[\]$'
	"^$bytes:$bytes	$bytes	log	$bytes	0"          # verdicts
	"^$bytes /proc/$writer/fd/1"
	'"state":1,"sockets":[1-9]'
	'^ring_full 0'                               # drops
	'"seen_bytes":[1-9].*"emitted_events":[1-9].*"wire_events":[1-9]'
	'"name":"tl_(exit|multi)","recursion_misses":0'
	'"follow_fork": 1'                           # control
	'^[0-4](\.[0-9]+)?$'
	'name tl_fork'                               # programs
	'name tl_exit_(direct|core|multi)'
	'name tl_streams'
	'seen_bytes;'
	'^; if \(.*'
	'^tl_(exit|multi)	[1-9][0-9]* calls	[1-9][0-9]* ns	[1-9][0-9]* ns a call'
)

# The blocks of the page, one command each.
mapfile -t commands < <(sed -n '/^```sh$/,/^```$/ { /^```/d; p }' "$root/docs/bpftool.md")
[ ${#commands[@]} = ${#expected[@]} ] || die "docs/bpftool.md has ${#commands[@]} commands, this test knows ${#expected[@]}"
for i in "${!commands[@]}"; do
	command=${commands[$i]//\/sys\/fs\/bpf\/tapline/$pins}
	bash -c "$command" > "$work/out" 2> "$work/err" || { cat "$work/out" "$work/err"; die "fails: $command"; }
	! grep -i error "$work/err" || die "says an error: $command"
	grep -Eq "${expected[$i]}" "$work/out" || { cat "$work/out" "$work/err"; die "does not say ${expected[$i]}: $command"; }
done

# Typed throughout: every program, and every map that has values.
for map in "$pins"/tl_*; do
	[ "$map" != "$pins/tl_ring" ] || continue
	bpftool -j map show pinned "$map" | jq -e '.btf_id > 0' > /dev/null || die "$map has no types"
done
for link in "$pins"/*link*; do
	id=$(bpftool -j link show pinned "$link" | jq .prog_id)
	bpftool -j prog show id "$id" | jq -e '.btf_id > 0 and (.name | startswith("tl_"))' > /dev/null || die "$link: program without types or name"
done
stop_pid "$agent"
"$tapline" unload --pin "$pins"
[ ! -e "$pins" ] || die "tapline unload leaves $(ls "$pins")"
say "RESULT ${#commands[@]} commands of docs/bpftool.md"
