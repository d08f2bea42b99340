"""Checks that a topic or index holds each line tag=T n=1..N exactly once, and each uid once.

usage: check_lines.py --tag T --lines N (--search URL | --stdin)     --stdin: records as JSON lines
                      [--gaps]  lines may be missing when gap records tell as many bytes: --bytes N is the writer's count
"""
import argparse
import collections
import json
import re
import sys
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--tag", required=True)
parser.add_argument("--lines", type=int, required=True)
parser.add_argument("--bytes", type=int)
parser.add_argument("--search")
parser.add_argument("--stdin", action="store_true")
parser.add_argument("--gaps", action="store_true")
parser.add_argument("--ordered", action="store_true", help="lines come in order (of the input)")
args = parser.parse_args()


def from_search():
    url, body = f"{args.search}/tapline-logs-*/_search?scroll=1m", {"size": 5000, "sort": ["_doc"]}
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(request))
        if not answer["hits"]["hits"]:
            return
        for hit in answer["hits"]["hits"]:
            yield hit["_source"]
        url, body = f"{args.search}/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]}


numbers, uids, gap_bytes, covered = collections.Counter(), collections.Counter(), 0, collections.defaultdict(list)
gap_streams, last, disorder = collections.Counter(), 0, 0
for record in (json.loads(line) for line in sys.stdin) if args.stdin else from_search():
    attributes = record["attributes"]
    gap = "tapline.gap.bytes" in attributes
    text = json.dumps(record["body"]) + json.dumps(attributes)
    match = re.search(r'(?:tag=|"tag": ")' + re.escape(args.tag) + r'\b', text)
    number = re.search(r'(?:\bn=|"n": ?"?)(\d+)', text)
    stream = attributes["stream.id"]
    if gap:
        gap_bytes += int(attributes["tapline.gap.bytes"])
    if match or gap:
        uids[record["uid"]] += 1
        for part in attributes["stream.ranges"].split(","):
            start, end = (int(x, 16) for x in part.split("-"))
            covered[stream].append((start, end))
    if match and number:
        n = int(number.group(1))
        numbers[n] += 1
        disorder += n < last
        last = n

bad = []
lost = [n for n in range(1, args.lines + 1) if n not in numbers]
twice = [n for n, k in numbers.items() if k > 1]
if lost and not args.gaps:
    bad.append(f"{len(lost)} of {args.lines} lines lost, n= {lost[:5]}")
if twice:
    bad.append(f"{len(twice)} lines twice, n= {twice[:5]}")
if any(k > 1 for k in uids.values()):
    bad.append(f"{sum(k > 1 for k in uids.values())} uids twice")
if args.ordered and disorder:
    bad.append(f"{disorder} lines out of order")
if args.gaps and lost and not gap_bytes:
    bad.append(f"{len(lost)} lines are missing and no gap record says so")
if args.bytes is not None:
    tiled = 0
    for stream, parts in covered.items():
        parts.sort()
        for (a, b), (c, d) in zip(parts, parts[1:]):
            if c != b:
                bad.append(f"stream {stream}: {'overlap' if c < b else 'hole'} between {b:x} and {c:x}")
        tiled += sum(b - a for a, b in parts)
    if tiled != args.bytes:
        bad.append(f"records and gaps tile {tiled} bytes, the writer wrote {args.bytes}")
for line in bad[:20]:
    print("FAILED:", line)
print(f"RESULT {len(numbers)} of {args.lines} lines, {len(lost)} missing, {gap_bytes} bytes told as gaps, {len(twice)} twice")
sys.exit(1 if bad else 0)
