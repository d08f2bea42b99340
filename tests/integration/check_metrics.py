"""Checks the text of a /metrics page (stdin) against the rules of the Prometheus text format, and what good names look like.

usage: check_metrics.py NAME...     every NAME must be a family of the page, with a sample
"""
import re
import sys

NAME, LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(\{{(?:{LABEL}(?:,{LABEL})*)?\}})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|[+-]Inf)$")
helps, types, seen, bad, family, counts = {}, {}, set(), [], None, {}
text = sys.stdin.read()
if not text.endswith("\n"):
    bad.append("the last line does not end")
for number, line in enumerate(text.splitlines(), 1):
    comment = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line)
    if comment:
        kind, name, rest = comment.groups()
        table = helps if kind == "HELP" else types
        if name in table:
            bad.append(f"line {number}: a second {kind} of {name}")
        table[name], family = rest, name
        continue
    sample = SAMPLE.fullmatch(line)
    if not sample:
        bad.append(f"line {number}: no sample: {line}")
        continue
    name, labels, value = sample.groups()
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    owner = base if types.get(base) in ("histogram", "summary") else name
    if owner != family:
        bad.append(f"line {number}: {name} stands among the samples of {family}")
    if owner not in helps or owner not in types:
        bad.append(f"line {number}: {name} has no HELP or TYPE before it")
    if (name, labels) in seen:
        bad.append(f"line {number}: {name}{labels or ''} twice")
    seen.add((name, labels))
    counts[owner] = counts.get(owner, 0) + 1
    if types.get(owner) == "counter" and float(value) < 0:
        bad.append(f"line {number}: a negative counter")
for name, kind in types.items():
    if (kind == "counter") != name.endswith("_total"):
        bad.append(f"{name} is a {kind}: counters, and only they, end in _total")
    if not name.startswith("tapline_") or name != name.lower():
        bad.append(f"{name}: names are tapline_ and lower case")
    if not helps.get(name, "").endswith("."):
        bad.append(f"{name}: its help is no sentence: {helps.get(name)}")
    if name not in counts:
        bad.append(f"{name} has no sample")
bad += [f"{name} is missing" for name in sys.argv[1:] if name not in counts]
for line in bad:
    print("FAILED:", line)
print(f"{len(counts)} families, {len(seen)} series")
sys.exit(1 if bad else 0)
