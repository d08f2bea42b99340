#!/usr/bin/python3
"""The correlation bench: real services, real BPF, a truth that the agent cannot see.

usage: bench.py [quick | full] [--lines N] [--again] [--list] [--keep] [CELL...]
A cell is server:concurrency:connection[:variant]; patterns choose (`'go:*'`). `full` wants N in-request lines of each
cell (default 1,000,000 for go, python, java and nginx, a tenth for others), keeps each cell's result in $O/correlate/ and goes on
where it was left (--again: anew). `quick` is the everyday subset with few requests. One wrong id fails the run.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cells
import report
from cells import O

MAIN = ("go", "python", "java", "nginx")


def tool(name):
    return os.path.join(O, "tests", "correlate", name)


def free_port():
    """Two ports in a row below the ephemeral ones."""
    first, last = (int(x) for x in os.environ.get("PORTS", "21400-21499").split("-"))
    for _ in range(200):
        port = random.randrange(first, last, 2)
        with contextlib.closing(socket.socket()) as a, contextlib.closing(socket.socket()) as b:
            try:
                for s, p in ((a, port), (b, port + 1)):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", p))
                return port
            except OSError:
                continue
    raise SystemExit(f"no free ports in {first}-{last}")


def wait_for(seconds, condition, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(what)
        time.sleep(0.02)


def port_open(port):
    with contextlib.closing(socket.socket()) as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def parent_and_start(pid):
    with contextlib.suppress(OSError):
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[1]), fields[19]
    return None


def descendants(pid):
    """{pid: start time} of the processes below: php-fpm makes a session of its own, which no signal to the group reaches."""
    all_ = {int(name): parent_and_start(name) for name in filter(str.isdigit, os.listdir("/proc"))}
    found, parents = {}, {pid}
    while parents:
        parents = {child for child, known in all_.items() if known and known[0] in parents and child not in found}
        found.update((child, all_[child][1]) for child in parents)
    return found


def stop(process, first=signal.SIGTERM, seconds=8):
    """Ends a process group that we made ourselves, and what left it."""
    below = descendants(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, first)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pid, start in below.items():
        known = parent_and_start(pid)
        if known and known[1] == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def group_cpu(pgid):
    """CPU seconds of the processes of a group that live now."""
    ticks = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = open(f"/proc/{name}/stat").read().rsplit(")", 1)[1].split()
            if int(fields[2]) == pgid:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Run:
    """One cell: services behind a launcher that the agent selects first, so that they are tapped from their first byte."""

    def __init__(self, cell, requests, seconds, work, tapped=True):
        self.cell, self.requests, self.seconds, self.work, self.tapped = cell, requests, seconds, work, tapped
        self.port = free_port()
        self.agent = self.launcher = None
        self.ring = "1MiB" if cell.variant.startswith("drop") else "32MiB"

    def start_services(self):
        commands = self.cell.spec.start(self.cell, self.port, self.work)
        fifo, script = os.path.join(self.work, "go"), os.path.join(self.work, "launch")
        os.mkfifo(fifo)
        with open(script, "w") as file:
            file.write(f"read -r _ < '{fifo}'\n")
            for command in commands:
                file.write(" ".join(f"'{word}'" for word in command) + " &\n")
            file.write("wait\n")
        self.out, err = (open(os.path.join(self.work, name), "ab") for name in ("out.txt", "err.txt"))
        self.launcher = subprocess.Popen(["/bin/sh", script], stdout=self.out, stderr=err, stdin=subprocess.DEVNULL,
                                         start_new_session=True, env={**os.environ, **self.cell.noise()})
        self.fifo = fifo

    def release_services(self):
        with open(self.fifo, "w") as file:
            file.write("\n")
        wait_for(30, lambda: port_open(self.port) and (not self.cell.server.startswith("nginx-") or port_open(self.port + 1)),
                 "the service does not listen")

    def start_agent(self):
        ready, other = os.pipe()
        flags = ["--state", os.path.join(self.work, "state"), "--pin", "none", "--pid", str(self.launcher.pid),
                 "--log-size", "16GiB", "--log-sync", "0", "--ring-size", self.ring, "--quiet", "--ready-fd", str(other)]
        if self.cell.variant.startswith("drop"):
            flags += ["--drain-interval", "100ms", "--idle-interval", "100ms"]
        if self.cell.variant == "no-uprobes":
            flags += ["--uprobes=off"]
        if self.cell.variant != "inline":
            flags += ["--inline-tokens=false"]
        program = os.environ.get("AGENT", os.path.join(O, "tapline-agent"))
        log = open(os.path.join(self.work, "agent.txt"), "ab")
        self.agent = subprocess.Popen([program, *flags, *os.environ.get("AGENT_FLAGS", "").split()], stdout=log, stderr=log,
                                      stdin=subprocess.DEVNULL, pass_fds=(other,), start_new_session=True)
        os.close(other)
        with os.fdopen(ready) as file:
            if not file.read(1):
                raise RuntimeError("the agent did not start: " + open(os.path.join(self.work, "agent.txt")).read()[-500:])

    def load(self):
        command = [tool("load"), "--port", str(self.port), "--requests", str(self.requests), "--seconds", str(self.seconds),
                   *self.cell.load_flags()]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if self.cell.variant.startswith("late-"):
                time.sleep(min(1.0, self.requests / self.cell.spec.rate / 4))
                self.start_agent()
            if self.cell.variant == "stop":
                self.stop_and_go(process)
            out, err = process.communicate(timeout=self.seconds + 60)
        finally:
            process.kill()
        return json.loads(out or "{}"), err

    def stop_and_go(self, load):
        """SIGSTOP for a while under load: the kernel goes on recording."""
        time.sleep(0.5)
        os.killpg(self.agent.pid, signal.SIGSTOP)
        with contextlib.suppress(subprocess.TimeoutExpired):
            load.wait(float(os.environ.get("STOP_SECONDS", "5")))
        os.killpg(self.agent.pid, signal.SIGCONT)

    def score(self):
        texts = [os.path.join(self.work, name) for name in ("out.txt", "err.txt", "nginx.log", "php.log")]
        texts = [text for text in texts if os.path.exists(text)]
        result = subprocess.run([tool("score"), os.path.join(self.work, "state"), *texts], capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError("score: " + result.stderr)
        return json.loads(result.stdout)

    def run(self):
        try:
            self.start_services()
            if self.tapped and not self.cell.variant.startswith("late-"):
                self.start_agent()
            self.release_services()
            # The first milliseconds, in which the agent still reads the executable, are the cells of late-start.
            time.sleep(0.3)
            before = group_cpu(self.launcher.pid)
            load, errors = self.load()
            cpu = group_cpu(self.launcher.pid) - before
            time.sleep(0.1)  # late lines: what is not written by then is not counted either
            stop(self.launcher)
            self.launcher = None
            if not self.tapped:
                return {"load": load, "service_cpu_s": cpu}
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            stop(self.agent, seconds=60)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.agent = None
            result = self.score()
            result["load"], result["load_errors"], result["service_cpu_s"] = load, errors[-1000:], cpu
            result["agent_cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)
            return result
        finally:
            for process in (self.launcher, self.agent):
                if process:
                    stop(process)


def summary(cell, result):
    """Counts over the lines whose recall is asked, and wrong ones over all lines."""
    right = wrong = none = 0
    for name, lines in result["lines"].items():
        wrong += lines["wrong"]
        if name.split("/")[0] in cell.spec.asked:
            right += lines["right"]
            none += lines["none"]
    everything = sum(lines["right"] for lines in result["lines"].values())
    return {"right": right, "wrong": wrong, "none": none, "attached": everything,
            "recall": right / max(1, right + none)}


def faults(cell, result, total):
    # Lines between the pieces of an answer to HEAD come after it.
    # Broken requests may close a gate, which is safe: there only a wrong id fails.
    floor = 0 if cell.variant == "mix" else cell.spec.floor
    bad = []
    if total["wrong"]:
        bad.append(f"{total['wrong']} WRONG ids: " + " | ".join(result["first_wrong"][:3]))
    if result["twice"]:
        bad.append(f"{result['twice']} lines twice")
    if result["load"].get("bad") or not result["load"].get("answers"):
        bad.append(f"load: {result['load']} {result['load_errors'][-300:]}")
    if cell.variant not in cells.STRESS and (result["gap_bytes"] or result["records"] != result["written"]):
        bad.append(f"{result['records']} of {result['written']} lines, {result['gap_bytes']} bytes lost")
    if cell.variant not in cells.STRESS and cell.concurrency > 1 and cell.mode != "pipeline" and total["recall"] < floor:
        bad.append(f"recall {total['recall']:.3f} below {floor:.3f}")
    return bad


def breakdown(result):
    """{class: {how or why: n}} in short."""
    rows = {}
    for name, cell in result["lines"].items():
        kind, rest = name.split("/", 1)
        rows.setdefault(kind, []).append(
            f"{rest.removeprefix('none/')}={cell['right'] + cell['none']}" + (f" WRONG={cell['wrong']}" if cell["wrong"] else ""))
    return "; ".join(f"{kind}: {', '.join(row)}" for kind, row in sorted(rows.items()))


def measure(cell, requests, seconds, keep=False, tapped=True):
    work = tempfile.mkdtemp(prefix="tapline-correlate.")
    os.chmod(work, 0o755)
    try:
        return Run(cell, requests, seconds, work, tapped).run()
    finally:
        if keep:
            print(f"    kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def run_cell(cell, requests, args):
    began = time.monotonic()
    seconds = int(requests / cell.spec.rate * 6) + 20
    try:
        result = measure(cell, requests, seconds, args.keep)
    except cells.Missing as why:
        print(f"skipped  {cell.name}: {why}", flush=True)
        return None
    except RuntimeError as why:
        print(f"FAILED   {cell.name}: {why}", flush=True)
        return {"cell": cell.name, "total": {"attached": 0, "wrong": 0}, "bad": [str(why)], "requests": 0}
    total = summary(cell, result)
    bad = faults(cell, result, total)
    took = time.monotonic() - began
    print(f"{'FAILED ' if bad else 'ok     '} {took:6.1f}s  {cell.name:28} attached {total['attached']:8} wrong {total['wrong']} "
          f"recall {total['recall']:.4f}", flush=True)
    for line in bad:
        print(f"    {line}", flush=True)
    if bad or args.verbose:
        print(f"    {breakdown(result)}", flush=True)
    result.update(cell=cell.name, total=total, bad=bad, requests=requests, seconds=round(took, 1))
    return result


def at_least(cell, requests):
    """Stress takes time: the agent starts, or stands still, while the load goes on."""
    return max(requests, cell.spec.rate * {"late-start": 4, "late-mix": 4, "stop": 8}.get(cell.variant, 0))


def wanted(cell, args):
    lines = args.lines or (1000000 if cell.server in MAIN else 100000)
    return at_least(cell, max(300, int(lines / cell.spec.lines)))


def other_rules(cell):
    """A short trace of the cell, scored by the rules of others: {rule: {right, wrong, none}}, and by ours."""
    with tempfile.NamedTemporaryFile(suffix=".trace") as trace:
        os.environ.update(TAPLINE_TRACE=trace.name, AGENT=tool("recording-agent"))
        try:
            measure(cell, 3000, 60)
        finally:
            del os.environ["TAPLINE_TRACE"], os.environ["AGENT"]
        rules = subprocess.run([tool("trace_tool"), "baselines", trace.name], capture_output=True, text=True, check=True)
        return json.loads(rules.stdout)


def cost(cell, requests, result):
    """The same load without the agent, before or after: latency and CPU of the service beside those with it."""
    bare = measure(cell, requests, 120, tapped=False)
    answers, bare_answers = max(1, result["load"]["answers"]), max(1, bare["load"]["answers"])
    return {"p99_us": [bare["load"]["p99_us"], result["load"]["p99_us"]],
            "p50_us": [bare["load"]["p50_us"], result["load"]["p50_us"]],
            "service_us": [round(bare["service_cpu_s"] * 1e6 / bare_answers, 1),
                           round(result["service_cpu_s"] * 1e6 / answers, 1)],
            "agent_us": round(result["agent_cpu_s"] * 1e6 / answers, 1)}


def quick(args):
    names = args.cells or cells.QUICK
    chosen = [cells.parse(name) for name in names]
    results = [run_cell(cell, args.requests or at_least(cell, min(6000, cell.spec.rate * 2)), args) for cell in chosen]
    done = [result for result in results if result]
    wrong = sum(result["total"]["wrong"] for result in done)
    print(f"RESULT wrong {wrong} in {sum(r['total']['attached'] for r in done)} attached lines, {len(done)} cells")
    return any(result["bad"] for result in done)


def full(args):
    folder = os.path.join(O, "correlate")
    os.makedirs(folder, exist_ok=True)
    chosen, failed = cells.select(args.cells), False
    for number, cell in enumerate(chosen, 1):
        path = os.path.join(folder, cell.name + ".json")
        requests = args.requests or wanted(cell, args)
        if os.path.exists(path) and not args.again and json.load(open(path))["requests"] >= requests:
            continue
        print(f"[{number}/{len(chosen)}] {cell.name}: {requests} requests", flush=True)
        result = run_cell(cell, requests, args)
        if result and not result["bad"] and cell.variant not in cells.STRESS:
            result["others"] = other_rules(cell)
            if (cell.concurrency, cell.mode, cell.variant) == (64, "keepalive", "plain"):
                result["cost"] = cost(cell, requests, result)
        if result:
            failed |= bool(result["bad"])
            with open(path + ".tmp", "w") as file:
                json.dump(result, file)
            os.rename(path + ".tmp", path)
    with open(args.report or os.path.join(cells.HERE, "..", "..", "docs", "correlation-results.md"), "w") as file:
        file.write(report.text(folder))
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quick", "full", "list"))
    parser.add_argument("cells", nargs="*", metavar="CELL")
    parser.add_argument("--lines", type=int, help="in-request lines wanted of each cell")
    parser.add_argument("--requests", type=int, help="requests of each cell, instead")
    parser.add_argument("--again", action="store_true", help="also cells that have a result")
    parser.add_argument("--report", help="where the results go (default docs/correlation-results.md)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the runs")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every cell's counts")
    args = parser.parse_intermixed_args()
    if args.what == "list":
        print("\n".join(cell.name for cell in cells.select(args.cells)))
        return 0
    return 1 if (quick if args.what == "quick" else full)(args) else 0


if __name__ == "__main__":
    sys.exit(main())
