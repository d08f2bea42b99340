"""Compares what OpenSearch holds with the truth: what the load generator sent and what each service counted itself.

Exit status 0: no wrong id, no line lost, none twice.
"""
import argparse
import collections
import hashlib
import json
import re
import sys
import urllib.request

parser = argparse.ArgumentParser()
for name in ("search", "truth", "go-truth", "py-truth", "go-pid", "py-pid"):
    parser.add_argument("--" + name, required=True)
args = parser.parse_args()


def documents():
    url, body = f"{args.search}/tapline-logs-*/_search?scroll=1m", {"size": 5000, "sort": ["_doc"]}
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(request))
        hits = answer["hits"]["hits"]
        if not hits:
            return
        yield from (hit["_source"] for hit in hits)
        url, body = f"{args.search}/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]}


def truth(path):
    return {key: int(value) for key, value in (line.strip().split("=") for line in open(path))}


ids = {}  # gt -> id
for row in open(args.truth):
    request_id, gt, _, status = row.rstrip("\n").split("\t")
    ids[gt] = request_id
services = {args.go_pid: "go", args.py_pid: "py"}
counts = {"go": truth(args.go_truth), "py": truth(args.py_truth)}
seen = {"go": collections.Counter(), "py": collections.Counter()}
bytes_seen = collections.Counter()
cells = collections.Counter()  # (service, class, right | wrong | none)
how, why = collections.Counter(), collections.Counter()
wrong = []
uids = collections.Counter()
gaps = 0

for record in documents():
    attributes = record["attributes"]
    uids[record["uid"]] += 1
    if "tapline.gap.bytes" in attributes:
        gaps += int(attributes["tapline.gap.bytes"])
    service = services.get(str(record["resource"].get("process.pid")))
    text = json.dumps(record["body"]) + json.dumps(attributes)
    number = re.search(r'(?:\bn=|"n": ?"?|\\"n\\":)(\d+)', text)
    if service is None or number is None:
        continue
    seen[service][int(number.group(1))] += 1
    kind = re.search(r'class(?:=|\\?": ?\\?")(\w+)', text).group(1)
    gt = re.search(r'gt(?:=|\\?": ?\\?"?)([0-9a-f]{12})', text)
    given = attributes.get("correlation.id")
    how[service, attributes.get("correlation.how")] += 1
    if given is None:
        cells[service, kind, "none"] += 1
        why[service, kind, attributes.get("correlation.why")] += 1
    elif gt and ids.get(gt.group(1)) == given:
        cells[service, kind, "right"] += 1
    else:
        cells[service, kind, "wrong"] += 1
        wrong.append(record)

bad = []
for service, numbers in seen.items():
    last = counts[service]["last_n"]
    lost = [n for n in range(1, last + 1) if n not in numbers]
    twice = [n for n, k in numbers.items() if k > 1]
    lines = counts[service]["stdout_lines"] + counts[service]["stderr_lines"]
    if lost:
        bad.append(f"{service}: {len(lost)} of {lines} lines lost, n= {lost[:5]}")
    if twice:
        bad.append(f"{service}: {len(twice)} lines twice, n= {twice[:5]}")
    print(f"{service}: {sum(numbers.values())} of {lines} lines found, {len(lost)} lost, {len(twice)} twice")
    for kind in ("request", "child", "background"):
        right, false, none = (cells[service, kind, x] for x in ("right", "wrong", "none"))
        print(f"  {kind:10} right {right:6} wrong {false} none {none:6}  recall {right / max(1, right + false + none):.4f}")
    print("  how:", {h: n for (s, h), n in sorted(how.items(), key=str) if s == service})
    print("  why none:", {f"{k}/{w}": n for (s, k, w), n in sorted(why.items(), key=str) if s == service})
if wrong:
    bad.append(f"{len(wrong)} wrong ids, the first: {json.dumps(wrong[0])}")
repeated = [uid for uid, n in uids.items() if n > 1]
if repeated:
    bad.append(f"{len(repeated)} uids twice")
if gaps:
    bad.append(f"{gaps} bytes lost (gap records)")
for line in bad:
    print("FAILED:", line)
recall = {s: cells[s, "request", "right"] / max(1, sum(cells[s, "request", x] for x in ("right", "wrong", "none"))) for s in seen}
print(f"RESULT wrong 0 lost 0 twice 0; recall go {recall['go']:.3f} py {recall['py']:.3f}" if not bad else "RESULT bad")
sys.exit(1 if bad else 0)
