"""What tests/integration/timescale.sh sends, and whether the database has it.

usage: check_timescale.py make N                     N metric rows, whole numbers, so that sums are exact
       check_timescale.py queries                    the SQL whose output `check` reads
       check_timescale.py check DELTAS LINES ROWS
       check_timescale.py odd | check-odd ODD SUM SUM_1H REASONS
       check_timescale.py ones N                     N rows of count 1, of now
       check_timescale.py docs FILE                  the SQL in a page, Grafana's macros replaced
       check_timescale.py old-server PORTFILE        a server that says it is PostgreSQL 9.6
"""
import collections
import json
import os
import random
import socket
import struct
import sys
import time

BASE = 1795132800  # 2026-11-20


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime(seconds))


def row(start, name, labels, count, total, low, high, buckets=None):
    out = {"window_start": stamp(start), "window_end": stamp(start + 10), "name": name, "labels": labels, "count": count,
           "sum": total, "min": low, "max": high}
    if buckets:
        out["buckets"] = buckets
    return json.dumps(out, separators=(",", ":"))


def make(n):
    rng = random.Random(1)
    services = ["cart", "billing", 'od"d', "höhe", "back\\slash", "x" * 900]
    for i in range(n):
        # Most are of now, one in ten up to three days late.
        start = BASE + i // 50 * 10 - (rng.randrange(259200) // 10 * 10 if i % 10 == 0 else 0)
        service = rng.choice(services)
        if i % 3:
            print(row(start, "log.records", {"service.name": service, "severity_text": rng.choice(["INFO", "ERROR"])},
                      rng.randrange(1, 100), rng.randrange(1000), rng.randrange(10), rng.randrange(10, 1000)))
        else:
            print(row(start, "http.server.request.duration", {"service.name": service, "http.route": "/a/{id}"},
                      rng.randrange(1, 100), rng.randrange(1000), rng.randrange(10), rng.randrange(10, 1000),
                      [rng.randrange(5) for _ in range(15)]))


QUERIES = """
COPY (SELECT 'raw', count(*), sum(count), sum(sum), min(min), max(max), tapline.sum_buckets(buckets)::text FROM tapline.metrics) TO STDOUT;
COPY (SELECT 'metrics_1m', extract(epoch FROM bucket)::bigint, name, labels->>'service.name', labels->>'severity_text',
      count, sum, min, max, coalesce(buckets::text, '') FROM tapline.metrics_1m) TO STDOUT;
COPY (SELECT 'metrics_1h', extract(epoch FROM bucket)::bigint, name, labels->>'service.name', labels->>'severity_text',
      count, sum, min, max, coalesce(buckets::text, '') FROM tapline.metrics_1h) TO STDOUT;
COPY (SELECT 'logs', count(*), count(DISTINCT uid), count(DISTINCT (uid, body)), min(length(body)) FROM tapline.logs) TO STDOUT;
COPY (SELECT 'dead', count(*) FROM tapline.dead_letters) TO STDOUT;
"""


def buckets_of(text):
    return tuple(int(x) for x in text.strip("{}").split(",")) if text else ()


def add(total, r):
    old = total.get(r[0])
    new = r[1]
    if old:
        buckets = tuple(a + b for a, b in zip(old[4], new[4])) if old[4] and new[4] else old[4] or new[4]
        new = (old[0] + new[0], old[1] + new[1], min(old[2], new[2]), max(old[3], new[3]), buckets)
    total[r[0]] = new


def truth(path):
    raw, rollups = {}, {"metrics_1m": {}, "metrics_1h": {}}
    n = 0
    for line in open(path):
        m = json.loads(line)
        n += 1
        start = int(time.mktime(time.strptime(m["window_start"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone)
        values = (m["count"], m["sum"], m["min"], m["max"], tuple(m.get("buckets", ())))
        add(raw, ("all", values))
        labels = (m["name"], m["labels"]["service.name"], m["labels"].get("severity_text"))
        add(rollups["metrics_1m"], ((start // 60 * 60, *labels), values))
        add(rollups["metrics_1h"], ((start // 3600 * 3600, *labels), values))
    return n, raw["all"], rollups


def unescape(text):
    return None if text == "\\N" else text.replace("\\\\", "\\")


def check(deltas, lines, rows):
    n, raw, rollups = truth(deltas)
    found = {"metrics_1m": {}, "metrics_1h": {}}
    bad = []
    for line in open(rows):
        f = [unescape(x) for x in line.rstrip("\n").split("\t")]
        if f[0] == "raw":
            got = (int(f[2]), float(f[3]), float(f[4]), float(f[5]), buckets_of(f[6]))
            if int(f[1]) != n or got != raw:
                bad.append(f"metrics has {f[1]} rows of {n}: {got} instead of {raw}")
        elif f[0] == "logs":
            if [int(x) for x in f[1:4]] != [lines] * 3 or int(f[4]) < 20:
                bad.append(f"logs has {f[1]} rows, {f[2]} uids of {lines}")
        elif f[0] == "dead":
            if f[1] != "0":
                bad.append(f"{f[1]} dead letters")
        elif f[0]:
            key = (int(f[1]), f[2], f[3], f[4])
            if key in found[f[0]]:
                bad.append(f"{f[0]} has {key} twice")
            found[f[0]][key] = (int(f[5]), float(f[6]), float(f[7]), float(f[8]), buckets_of(f[9]))
    for table, want in rollups.items():
        wrong = [k for k in want.keys() | found[table].keys() if want.get(k) != found[table].get(k)]
        if wrong:
            k = wrong[0]
            bad.append(f"{table}: {len(wrong)} of {len(want)} rows are wrong, for example {k}: {found[table].get(k)} instead of {want.get(k)}")
    return bad


ODD = [  # (row, what its dead letter says; None: it is taken)
    (row(BASE, "a", {"service.name": "cart"}, 7, 1, 1, 1), None),
    (row(BASE, "a", {"service.name": "nul\0here"}, 1, 1, 1, 1), None),
    (row(BASE, "a", {"service.name": "teapot"}, 1, 1, 1, 1), "constraint_violation: .*no_teapots"),
    (row(BASE, "a", {"service.name": "cart"}, 7, 1, 1, 1), None),
    (row(BASE, "n" * 201, {}, 1, 1, 1, 1), "malformed_record: .*name is empty or longer"),
    (row(BASE, "", {}, 1, 1, 1, 1), "malformed_record: .*name is empty or longer"),
    (row(BASE, "a", [], 1, 1, 1, 1), "malformed_record: .*labels"),
    (row(BASE, "a", {}, -1, 1, 1, 1), "malformed_record: .*count"),
    (row(BASE, "a", {}, 10**13, 1, 1, 1), "malformed_record: .*count"),
    (row(BASE, "a", {}, 1, 1e300, 1, 1), "malformed_record: .*sum"),
    (row(BASE, "a", {}, 1, 1, 1, 1, [1, -1]), "malformed_record: .*buckets"),
    ('{"window_start":"yesterday"}', "malformed_record: .*window_start is not"),
    ('{"name":"a"}', "malformed_record: .*window_start is missing"),
    ("{", "malformed_record: malformed JSON"),
    ("no JSON at all", "malformed_record: no JSON object"),
    (row(BASE, "a", {"service.name": "x"}, 1, 1, 1, 1).replace('"x"', "1e999999"), "data_exception: "),
    (row(BASE, "a", {"service.name": "x"}, 1, 1, 1, 1).replace('"x"', '"\\ud800"'), "data_exception: "),
    (row(BASE, "a", {"service.name": "teapot"}, 1, 1, 1, 1), "constraint_violation: .*no_teapots"),
    (row(BASE, "a", {"service.name": "cart"}, 7, 1, 1, 1), None),
]


def check_odd(total, total_1h, reasons):
    import re
    bad = []
    want = sum(json.loads(text)["count"] for text, reason in ODD if reason is None)
    if int(total) != want or int(total_1h) != want:
        bad.append(f"counts add up to {total} and {total_1h} instead of {want}")
    left = open(reasons).read().splitlines()
    for _, reason in ODD:
        if reason is None:
            continue
        hit = next((x for x in left if re.match(reason, x)), None)
        if hit is None:
            bad.append(f"no dead letter says {reason}")
        else:
            left.remove(hit)
    return bad + [f"unexpected dead letter: {x}" for x in left]


def docs(path):
    import re
    for query in re.findall(r"```sql\n(.*?)```", open(path).read(), re.S):
        query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2026-11-01' AND '2100-01-01'", query)
        print(re.sub(r"\$__timeGroupAlias\((\w+), \$__interval\)", r'floor(extract(epoch from \1) / 60) * 60 AS "time"', query))


def old_server(path):
    server = socket.create_server(("127.0.0.1", 0))
    with open(path + ".new", "w") as out:
        out.write(str(server.getsockname()[1]))
    os.rename(path + ".new", path)

    def message(kind, body):
        return kind + struct.pack(">I", len(body) + 4) + body

    while True:
        conn, _ = server.accept()
        try:
            talk(conn, message)
        except OSError:
            pass  # the sink has seen enough
        conn.close()


def talk(conn, message):
    if conn.recv(4096):
        status = b"".join(message(b"S", k + b"\0" + v + b"\0") for k, v in (
            (b"server_version", b"9.6.24"), (b"client_encoding", b"UTF8"), (b"standard_conforming_strings", b"on")))
        conn.sendall(message(b"R", struct.pack(">I", 0)) + status + message(b"Z", b"I"))
        while conn.recv(4096):
            conn.sendall(message(b"C", b"SET\0") + message(b"Z", b"I"))


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    bad = []
    if verb == "make":
        make(int(args[0]))
    elif verb == "queries":
        print(QUERIES)
    elif verb == "check":
        bad = check(args[0], int(args[1]), args[2])
    elif verb == "odd":
        print("\n".join(text for text, _ in ODD))
    elif verb == "check-odd":
        bad = check_odd(*args[1:])
    elif verb == "ones":
        for _ in range(int(args[0])):
            print(row(int(time.time()) // 10 * 10, "ones", {"service.name": "x"}, 1, 1, 1, 1))
    elif verb == "docs":
        docs(args[0])
    elif verb == "old-server":
        old_server(args[0])
    for line in bad:
        print("FAILED:", line)
    return 1 if bad else 0


sys.exit(main())
