"""Makes docs/correlation-results.md of the results that the bench keeps."""

import glob
import json
import os
import platform
import subprocess

CLASSES = ("sync", "after-await", "access-log", "after-response", "child", "pool", "background", "startup")

HEAD = """# Correlation, measured

Made by `make correlate`; do not edit. One wrong id in any cell fails the run. How it is measured: `tests/correlate/`.

Each service is unmodified and of stock packages; it logs `gt=`, the first 12 hex digits of SHA-256 of the request id it received, which
the agent does not know. The levels that read a line's text (`app`, `inline-token`) are off, but in the cells `inline`. A line is *right*
when its `correlation.id` hashes to its `gt`, *wrong* when it carries another id or is nobody's, else *none*. `recall` is right / all of
the lines written while their request was served (classes `sync` and `after-await`; of nginx alone, its access lines); the thread
levels pay 300 requests until their gate opens. Cells are server : concurrency : connection [: variant]; `mix` sends split headers,
bodies, HEAD, 100-continue, aborted requests and malformed headers, `split` headers in small pieces, `jobs` runs 500 jobs/s on pools,
`drop` has a ring of 1 MiB emptied ten times a second, `stop` stops the agent for 5 s, `late-start` starts it under load, `churn` takes
and frees descriptors all the time; the processes of `c-forks` live for 20 requests and leave their ids to their successors. A background logger writes 200 lines/s in every cell.
"""


def load(folder):
    results = [json.load(open(path)) for path in glob.glob(os.path.join(folder, "*.json"))]
    return sorted((r for r in results if "lines" in r), key=lambda r: (r["cell"].split(":")[0], r["cell"]))


def shares(result, kind):
    """`99.9 % unit` or `-`: what the lines of a class got."""
    right, none = {}, {}
    for name, cell in result["lines"].items():
        parts = name.split("/")
        if parts[0] != kind:
            continue
        if cell["right"]:
            right[parts[1]] = right.get(parts[1], 0) + cell["right"]
        if cell["none"]:
            none[parts[-1]] = none.get(parts[-1], 0) + cell["none"]
    total = sum(right.values()) + sum(none.values())
    if not total:
        return "-"
    if right:
        return f"{100 * sum(right.values()) / total:.1f} % {'+'.join(sorted(right))}"
    return max(none, key=none.get)


def row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def table(head, rows):
    return row(head) + row("---" for _ in head) + "".join(row(r) for r in rows) + "\n"


def main_table(results):
    return table(("cell", "attached", "wrong", "recall", "levels used"),
                 ((f"`{r['cell']}`", f"{r['total']['attached']:,}", r["total"]["wrong"], f"{r['total']['recall']:.4f}",
                   ", ".join(sorted({name.split("/")[1] for name, c in r["lines"].items() if c["right"]})) or "-") for r in results))


def class_table(results):
    plain = [r for r in results if r["cell"].endswith(":keepalive") and ":64:" in r["cell"]]
    return table(("cell", *CLASSES), ((f"`{r['cell']}`", *(shares(r, kind) for kind in CLASSES)) for r in plain))


def others_table(results):
    def cell(c):
        judged = c["right"] + c["wrong"]
        return f"{c['right']:,} / **{c['wrong']:,}** ({100 * c['wrong'] / judged:.1f} %)" if judged else "-"
    with_others = [r for r in results if r.get("others")]
    if not with_others:
        return ""
    rules = list(with_others[0]["others"])
    return table(("cell", *rules), ((f"`{r['cell']}`", *(cell(r["others"][rule]) for rule in rules)) for r in with_others))


def cost_table(results):
    return table(("cell", "p50 us", "p99 us", "service CPU us/request", "agent CPU us/request"),
                 ((f"`{r['cell']}`", *(f"{a} -> {b}" for a, b in (r["cost"]["p50_us"], r["cost"]["p99_us"], r["cost"]["service_us"])),
                   r["cost"]["agent_us"]) for r in results if r.get("cost")))


def machine():
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            cwd=os.path.dirname(os.path.abspath(__file__))).stdout.strip()
    return f"{os.cpu_count()} CPUs, Linux {platform.release()}, commit {commit}"


def text(folder):
    results = load(folder)
    wrong = sum(r["total"]["wrong"] for r in results)
    attached = sum(r["total"]["attached"] for r in results)
    return (HEAD + f"\n**{wrong} wrong ids in {attached:,} attached lines, {len(results)} cells** ({machine()}).\n\n"
            + "## Cells\n\n" + main_table(results)
            + "## By class of line\nShare of lines that got their id and by which levels, or the most frequent reason why not "
            + "(64 connections, keep-alive).\n\n" + class_table(results)
            + "## The rules of others on the same traffic\nright / **wrong** of a short trace of each cell, all classes of lines: the "
            + "request that the thread read last; the only one in flight; ingress makes it and egress ends it, per goroutine or "
            + "thread. Ours had 0 wrong there.\n\n" + others_table(results)
            + "## Cost\nThe same load without and with the agent, one run each on a machine that also ran the load and the agent: "
            + "an upper bound, not a benchmark (that is docs/performance.md).\n\n" + cost_table(results))
