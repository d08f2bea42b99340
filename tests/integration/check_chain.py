"""Compares the ids and parents of a chain's lines and exchanges with the truth.

Each line of a request names its truth (what the load generator sent in X-Truth). Wrong is: an id on lines of two requests, an id on
a line of none, another request's id, a parent of another request. Not wrong, but no recall: a line without an id, or with
one that is its request's alone and not the chain's. Exit status 0: nothing is wrong.
"""
import argparse
import collections
import json
import os
import re
import sys

parser = argparse.ArgumentParser()
for name in ("records", "http", "sent", "made", "scenario"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--least", type=float, default=0, help="recall that each hop must reach")
args = parser.parse_args()
HOPS = ("nginx", "go", "py", "java")

made = dict(line.split() for line in open(args.made))  # truth -> nginx's id
path_of = {}  # path -> truth
for row in open(args.sent):
    truth, _, path, status = row.rstrip("\n").split("\t")
    if status == "200":
        path_of[path] = truth


def records(path):
    for line in open(path, errors="replace"):
        if line.startswith('{"uid"'):
            yield json.loads(line)


lines = []  # (hop, truth, id, how, why, source)
for record in records(args.records):
    attributes = record["attributes"]
    text = record["body"] + json.dumps(attributes)
    found = re.search(r'hop(?:=|": ?")(\w+).*?truth(?:=|": ?")([\w-]+)', text)
    if found:
        lines.append((found[1], found[2], attributes.get("correlation.id"), attributes.get("correlation.how"),
                      attributes.get("correlation.why"), attributes.get("correlation.source")))

owners = collections.defaultdict(set)
for hop, truth, given, *_ in lines:
    if given:
        owners[given].add(truth)
chain = {}  # truth -> the id that the chain should have
if args.scenario == "made":
    chain = made
    foreign = {request_id: truth for truth, request_id in made.items()}
else:
    foreign = {}
    for wanted in reversed(HOPS):  # the hop nearest to the root wins
        for hop, truth, given, *_ in lines:
            if hop == wanted and given:
                chain[truth] = given

cells, how, wrong = collections.Counter(), collections.Counter(), []
for line in lines:
    hop, truth, given, level, why, source = line
    kind = "none"
    if given and (len(owners[given]) > 1 or truth == "none" or foreign.get(given, truth) != truth):
        kind = "wrong"
        wrong.append(line)
    elif given:
        kind = "right" if given == chain.get(truth) else "apart"
    cells[hop, truth == "none", kind] += 1
    if truth != "none":
        how[hop, level if given else f"none/{why}", source] += 1

bad = []
if wrong:
    bad.append(f"{len(wrong)} wrong ids, the first: {wrong[0]}")
recall = []
for hop in HOPS:
    right, apart, none, false = (cells[hop, False, kind] for kind in ("right", "apart", "none", "wrong"))
    total = right + apart + none + false
    if total != (1 if hop == "nginx" else 2) * len(path_of):
        bad.append(f"{hop}: {total} lines of {len(path_of)} requests")
    recall.append(f"{hop} {right / max(1, total):.3f}")
    if right < args.least * total:
        bad.append(f"{hop}: recall {right / max(1, total):.3f}, expected {args.least} at least")
    print(f"{args.scenario:10} {hop:6} right {right:6} apart {apart:6} none {none:6} wrong {false}  recall {right / max(1, total):.4f}"
          f"  of no request: {cells[hop, True, 'none']} none, {cells[hop, True, 'wrong']} wrong")
for (hop, level, source), n in sorted(how.items(), key=str):
    print(f"    {hop:6} {level:28} {source or '':16} {n}")

# Exchanges: both ends of a call have one hop id; a parent is the request of the same path that the caller was serving.
by_hop, parents, wrong_parents, ends = {}, 0, 0, collections.Counter()
exchanges = list(records(args.http))
for record in exchanges:
    attributes = record["attributes"]
    path = attributes.get("url.path", "")
    if path in path_of:
        ends[attributes["correlation.hop.id"]] += 1
        if by_hop.setdefault(attributes["correlation.hop.id"], path) != path:
            bad.append(f"hop id {attributes['correlation.hop.id']} is on {path} and {by_hop[attributes['correlation.hop.id']]}")
for record in exchanges:
    parent, path = record["attributes"].get("correlation.parent.id"), record["attributes"].get("url.path", "")
    if parent and path in path_of:
        parents += 1
        if by_hop.get(parent) != path:
            wrong_parents += 1
if wrong_parents:
    bad.append(f"{wrong_parents} parents are another request's")
print(f"{args.scenario:10} exchanges {len(exchanges)}, hop ids seen at both ends {sum(1 for n in ends.values() if n == 2)}, "
      f"at one {sum(1 for n in ends.values() if n == 1)}, parents {parents}, of them wrong {wrong_parents}")
for text in bad:
    print("FAILED:", text)
with open(os.path.join(os.path.dirname(args.http), "recall"), "w", encoding="ascii") as file:
    file.write(f"{args.scenario}: {', '.join(recall)};\n")
sys.exit(1 if bad else 0)
