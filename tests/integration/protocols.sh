#!/bin/bash
# HTTP/2 on plain sockets and FastCGI, real programs at both ends: a client of libnghttp2 and nginx (h2c, 20 streams at a time on one connection), nginx and
# php-fpm (unix and TCP sockets). Each exchange is told with its own id by both ends, under one hop id; PHP's lines get the id of
# their request, 0 wrong.
. "$(dirname "$0")/lib.bash"
port=${PORT:-21640}
requests=${REQUESTS:-600}
dir=$work/p
mkdir -p "$dir"
chmod 755 "$work" # nobody serves from it
export TAPLINE_STORE=$work/store.db

background run "$tapline" run -o json -- "$servers/protocols/serve.sh" "$dir" "$port"
run=$last
wait_until 40 "the servers do not start" test -e "$dir/env"
# The client is started by the tapped script, so that both ends are seen.
echo "'$O/tests/tools/h2client' $port 200 20" > "$dir/ask.new"
mv "$dir/ask.new" "$dir/ask"
python3 "$servers/apps/load.py" --url "http://127.0.0.1:$((port + 1))" --paths /unix/,/tcp/ -n "$requests" -c 6 --truth "$work/truth"
wait_until 30 "the client does not end" test -e "$dir/done"
stop_pid "$run"
"$tapline" search --http -o json --limit 100000 > "$work/http" 2> /dev/null
python3 - "$work" "$requests" << 'END' || die "see above"
import collections, json, re, sys
work, requests = sys.argv[1], int(sys.argv[2])
records = [json.loads(line) for line in open(f"{work}/http")]
bad = []
ends = collections.defaultdict(list)  # hop id -> [(direction, id, path)]
for record in records:
    a = record["attributes"]
    if "secret" in json.dumps(record):
        bad.append(f"a query left the agent: {record}")
    ends[a["correlation.hop.id"]].append((a["network.direction"], a.get("http.request.header.x-request-id"), a.get("url.path"),
                                          a.get("http.response.status_code")))
h2 = {hop: seen for hop, seen in ends.items() if seen[0][2] and seen[0][2].startswith("/h2/")}
for seen in h2.values():
    number = seen[0][2].rsplit("/", 1)[1]
    if sorted(x[0] for x in seen) != ["client", "server"] or {x[1] for x in seen} != {f"h2-id-{number}"} or {x[3] for x in seen} != {200}:
        bad.append(f"h2: {seen}")
if len(h2) != 200:
    bad.append(f"h2: {len(h2)} of 200 exchanges")
truth = {}
for row in open(f"{work}/truth"):
    request_id, gt, path, status = row.rstrip("\n").split("\t")
    truth[gt] = request_id
# Of each request nginx is the server once (HTTP/1), the client once and php-fpm the server once (FastCGI, one hop id).
both = collections.Counter(tuple(sorted(x[0] for x in seen)) for seen in ends.values() if re.match("/(unix|tcp)/", seen[0][2] or ""))
right = wrong = none = 0
for line in open(f"{work}/run.log", errors="replace"):
    if not line.startswith('{"uid"'):
        continue
    record = json.loads(line)
    found = re.search(r"served GET gt=([0-9a-f]{12})", record["body"])
    if not found:
        continue
    given = record["attributes"].get("correlation.id")
    right, wrong, none = right + (given == truth[found[1]]), wrong + (given not in (None, truth[found[1]])), none + (given is None)
print(f"h2 streams told by both ends: {len(h2)}; FastCGI by both ends: {both['client', 'server']} of {requests}")
print(f"php lines: right {right} wrong {wrong} none {none}")
if both["client", "server"] < requests * 0.99:
    bad.append(f"FastCGI: {both}")
if wrong or right + none != requests or right < requests * 0.95:
    bad.append("php lines")
for text in bad[:5]:
    print("FAILED:", text)
print(f"RESULT wrong {wrong}; h2 {len(h2)}/200, php recall {right / requests:.3f}" if not bad else "RESULT bad")
sys.exit(1 if bad else 0)
END
