"""Checks that OpenSearch and the store hold the uids of tests/tools/produce exactly once each, and that metric deltas add up.

usage: check_sinks.py --count N [--search URL] [--store FILE --deltas N]
"""
import argparse
import collections
import json
import sqlite3
import sys
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, required=True)
parser.add_argument("--search")
parser.add_argument("--store")
parser.add_argument("--deltas", type=int, default=0)
args = parser.parse_args()
wanted = {f"00000000000000aa-1-{n:x}" for n in range(args.count)}
bad = []


def compare(name, uids):
    found = collections.Counter(uids)
    twice = [uid for uid, k in found.items() if k > 1]
    lost = wanted - found.keys()
    strange = found.keys() - wanted
    for what, which in (("twice", twice), ("lost", lost), ("unknown", strange)):
        if which:
            bad.append(f"{name}: {len(which)} {what}, for example {sorted(which)[:3]}")
    print(f"{name}: {len(found)} of {args.count} uids, {len(lost)} lost, {len(twice)} twice")


def documents():
    url = f"{args.search}/tapline-logs-*/_search?scroll=1m"
    body = {"size": 10000, "sort": ["_doc"], "_source": ["uid"]}
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(request))
        if not answer["hits"]["hits"]:
            return
        for hit in answer["hits"]["hits"]:
            if hit["_id"] != hit["_source"]["uid"]:
                bad.append(f"document {hit['_id']} has uid {hit['_source']['uid']}")
            yield hit["_id"]
        url, body = f"{args.search}/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]}


if args.search:
    compare("OpenSearch", documents())
if args.store:
    db = sqlite3.connect(f"file:{args.store}", uri=True)
    compare("store", (uid for (uid,) in db.execute("SELECT uid FROM logs")))
    db.execute("INSERT INTO logs_fts(logs_fts, rank) VALUES('integrity-check', 1)")
    (words,) = db.execute("SELECT count(*) FROM logs_fts WHERE logs_fts MATCH 'quoted'").fetchone()
    if words != args.count:
        bad.append(f"the full-text index finds {words} of {args.count} rows")
    for (check,) in db.execute("PRAGMA integrity_check"):
        if check != "ok":
            bad.append(f"integrity: {check}")
    if args.deltas:
        total, sums, low, high = db.execute("SELECT sum(count), sum(sum), min(min), max(max) FROM metrics").fetchone()
        buckets = [sum(b) for b in zip(*(json.loads(b) for (b,) in db.execute("SELECT buckets FROM metrics")))]
        print(f"metrics: {total} of {args.deltas}, buckets {buckets}")
        if (total, sums, low, high) != (args.deltas, args.deltas, 0, args.deltas - 1):
            bad.append(f"metrics add up to {(total, sums, low, high)}")
        if buckets != [args.deltas, 0, 2 * args.deltas]:
            bad.append(f"buckets add up to {buckets}")
for line in bad:
    print("FAILED:", line)
sys.exit(1 if bad else 0)
