#!/bin/bash
# Two agents that know nothing of each other, one at each end of a connection, as on two hosts: a client that sends no id and a server.
# Each request has the same hop id in both agents' records, and the server's lines have it.
. "$(dirname "$0")/lib.bash"
port=${PORT:-21690}
requests=${REQUESTS:-300}

cat > "$work/server.py" << 'END'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
END
cat > "$work/client.py" << 'END'
import http.client, sys, threading
def work(first, step):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    for n in range(first, int(sys.argv[2]), step):
        connection.request("GET", f"/two/{n}")
        connection.getresponse().read()
        if n % 7 == 0:  # the next one is on a connection of its own
            connection.close()
threads = [threading.Thread(target=work, args=(i, 4)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
END
TAPLINE_STORE=$work/server.db background server "$tapline" run -o json --gate-confirms 50 -- python3 -u "$work/server.py" "$port"
server=$last
wait_until 30 "the server does not start" bash -c "(exec 3<>/dev/tcp/127.0.0.1/$port) 2> /dev/null"
TAPLINE_STORE=$work/client.db "$tapline" run -o none -- python3 "$work/client.py" "$port" "$requests" 2> "$work/client.log"
stop_pid "$server"
for end in server client; do
	TAPLINE_STORE=$work/$end.db "$tapline" search --http -o json --limit 100000 > "$work/$end.http" 2> /dev/null
done
python3 - "$work" "$requests" << 'END' || die "see above"
import json, re, sys
work, requests = sys.argv[1], int(sys.argv[2])
ends = {}
for end in ("server", "client"):
    ends[end] = {r["attributes"]["url.path"]: r["attributes"]["correlation.hop.id"] for r in map(json.loads, open(f"{work}/{end}.http"))
                 if r["attributes"]["url.path"].startswith("/two/")}
same = sum(1 for path, hop in ends["server"].items() if ends["client"].get(path) == hop)
right = wrong = 0
for line in open(f"{work}/server.log", errors="replace"):
    found = line.startswith('{"uid"') and re.search(r'GET (/two/\d+) HTTP', json.loads(line)["body"])
    given = found and json.loads(line)["attributes"].get("correlation.id")
    if given:
        right, wrong = right + (given == ends["client"][found[1]]), wrong + (given != ends["client"][found[1]])
different = len(set(ends["client"].values()))
print(f"requests {requests}, seen by the server's agent {len(ends['server'])}, by the client's {len(ends['client'])}, the same hop id {same}, "
      f"different ones {different}; server's lines: right {right} wrong {wrong}")
if same < requests * 0.99 or different != requests or wrong or right < requests / 2:
    sys.exit("FAILED")
print(f"RESULT wrong {wrong}; the same hop id at both ends {same}/{requests}")
END
