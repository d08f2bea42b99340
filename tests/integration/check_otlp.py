"""Checks what a Collector wrote (file exporter, one OTLP/JSON request a line) against the truth.

usage: check_otlp.py --produced N [--once] FILE...   the records of tests/tools/produce, every field
       check_otlp.py --bodies TRUTH [--once] FILE...  each line of TRUTH is a body that must be there
       check_otlp.py --count FILE...                  only prints how many different uids there are
Every record has a log.record.uid; --once: none comes twice.
"""
import argparse
import collections
import json
import sys

parser = argparse.ArgumentParser()
parser.add_argument("files", nargs="+")
parser.add_argument("--produced", type=int)
parser.add_argument("--missing", type=int, default=0, help="of each N records the last is none (produce --bad N)")
parser.add_argument("--bodies")
parser.add_argument("--once", action="store_true")
parser.add_argument("--count", action="store_true")
args = parser.parse_args()
BEGIN = 1795132800
START = '{"resourceLogs":'
SEVERITIES = [9, 9, 9, 9, 9, 13, 9, 17]
TEXTS = {9: "INFO", 13: "WARN", 17: "ERROR"}
bad = []


def plain(value):
    """The Python value of an AnyValue."""
    for kind, convert in (("stringValue", str), ("intValue", int), ("boolValue", bool), ("doubleValue", float)):
        if kind in value:
            return convert(value[kind])
    return value.get("bytesValue")


def attributes(of):
    return {a["key"]: plain(a["value"]) for a in of.get("attributes", [])}


def requests(text):
    """The whole requests of a line: a killed Collector leaves a part of one, and the next behind it."""
    decoder = json.JSONDecoder()
    at = text.find(START)
    while at >= 0:
        try:
            request, end = decoder.raw_decode(text, at)
            yield request
        except json.JSONDecodeError:
            end = at + 1
        at = text.find(START, end)


def records():
    for name in args.files:
        with open(name, encoding="utf-8", errors="replace") as file:
            for line in file:
                for request in requests(line):
                    for group in request["resourceLogs"]:
                        resource = attributes(group["resource"])
                        for scope in group["scopeLogs"]:
                            for record in scope["logRecords"]:
                                yield resource, scope["scope"].get("name"), record


def expected(n):
    severity = SEVERITIES[n % 8]
    return {
        "time": str((BEGIN + n) * 10**9), "severity": severity, "text": TEXTS[severity],
        "body": f'request n={n} of /cart/{n % 977} took {n % 1303} ms, user u{n % 71} "quoted"',
        "resource": {"service.name": "cart" if n % 3 else "billing", "host.name": "n1", "process.pid": 812},
        "attributes": {"log.record.uid": f"00000000000000aa-1-{n:x}", "log.iostream": "stdout",
                       "correlation.id": f"req-{n // 4}", "correlation.how": "unit",
                       "http.response.status_code": 200 if n % 50 else 500},
    }


def compare(n, resource, record):
    found = {"time": record["timeUnixNano"], "severity": record["severityNumber"], "text": record["severityText"],
             "body": plain(record["body"]), "resource": resource, "attributes": attributes(record)}
    if found != expected(n):
        bad.append(f"record {n} is {found}, not {expected(n)}")
    if record["observedTimeUnixNano"] != found["time"]:
        bad.append(f"record {n} was observed at {record['observedTimeUnixNano']}")


seen = collections.Counter()
bodies = collections.Counter()
for resource, scope, record in records():
    uid = attributes(record).get("log.record.uid")
    if not uid or scope != "tapline":
        bad.append(f"a record without uid or scope: {record}")
        continue
    seen[uid] += 1
    if seen[uid] == 1:
        bodies[plain(record["body"])] += 1
    if args.produced is not None:
        compare(int(uid.rsplit("-", 1)[1], 16), resource, record)
if args.count:
    print(len(seen))
    sys.exit(0)
if args.produced is not None:
    wanted = {f"00000000000000aa-1-{n:x}" for n in range(args.produced)
              if not args.missing or n % args.missing != args.missing - 1}
    if lost := wanted - seen.keys():
        bad.append(f"{len(lost)} records lost, for example {sorted(lost)[:3]}")
    if strange := seen.keys() - wanted:
        bad.append(f"{len(strange)} records unknown, for example {sorted(strange)[:3]}")
if args.bodies:
    with open(args.bodies, encoding="utf-8") as file:
        truth = collections.Counter(line.rstrip("\n") for line in file)
    if lost := truth - bodies:
        bad.append(f"{lost.total()} lines lost, for example {list(lost)[:3]}")
    if more := bodies - truth:
        bad.append(f"{more.total()} lines too many, for example {list(more)[:3]}")
again = sum(n - 1 for n in seen.values())
if args.once and again:
    bad.append(f"{again} came twice")
print(f"{len(seen)} records, {again} again")
for line in bad[:10]:
    print("FAILED:", line)
sys.exit(1 if bad else 0)
