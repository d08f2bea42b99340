#!/usr/bin/python3
"""Takes out each guard against a wrong id, one at a time, in a copy of the tree, and wants a unit test to fail.

usage: mutants.py [NUMBER...]      (all take about ten minutes on two idle cores)
A mutant is (hazard, file, text, replacement): hazards are numbered as in tests/unit/test_correlate_hazards.c, `tail` and the like name
a rule. A mutant that no test notices fails the run; so does one whose text is not found any more, or that does not build.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

TESTS = ["correlate", "correlate_found", "correlate_hazards", "correlate_inline", "correlate_lineage", "correlate_places",
         "correlate_tails", "correlate_threads", "lines", "correlate_model"]

MUTANTS = [
    ("1 batched", "decide.c", "if (line->flags & TL_LINE_BATCHED)", "if (0)"),
    ("1 batched", "correlate.c", "(TL_LINE_SHARED | TL_LINE_BATCHED | TL_LINE_JOINED)", "(TL_LINE_SHARED | TL_LINE_JOINED)"),
    ("1 batched", "../lines_bytes.c", "line->flags |= TL_LINE_BATCHED;", ";"),
    ("2 logger threads", "decide.c", "return stranger(proc, line);",
     "return proc->open ? (struct finding){.how = rule, .request = proc->open} : stranger(proc, line);"),
    ("3 reused threads", "decide.c", "if (line->time_ns > over)", "if (0)"),
    ("3 reused threads", "decide.c", "if (request->ambiguous)\n\t\treturn no(TL_WHY_AMBIGUOUS);", ""),
    ("4 reused contexts", "bracket.c", "request->reader == request->writer || request->header_ns > line->time_ns",
     "request->reader == request->writer"),
    ("4 reused contexts", "bracket.c", "if (is_shared_unit(request))", "if (0 && is_shared_unit(request))"),
    ("5 born in a request", "decide.c", "line->end_ns > over + TL_LINEAGE_NS", "0"),
    ("5 born in a request", "decide.c", "(!actor || (!actor->n_windows && !actor->n_answered))", "1"),
    ("6 unseen bytes", "step.c", "if (!event->placed || !conn->placing.torn)", "if (true)"),
    ("6 unseen bytes", "step.c", "\tif (!event->placed || !conn->placing.torn)", "\tif (!event->placed || !conn->placing.torn || conn->desync)"),
    ("6 unseen answers", "actor.c", "if (current->conn == request->conn && !mixed)", "if (0)"),
    ("7 other processes", "actor.c", ".proc = proc->serial,", ".proc = 0,"),
    ("7 other processes", "proc.c", "return a == b || (a > b ? a - b : b - a) < START_TICK_NS;", "return a != b + 1;"),
    ("8 upgrades", "conn_read.c", "conn->tunnel = over;", "conn->tunnel = false;"),
    ("9 equal ids", "request.c", "return a == b || tl_ids_packed_equal(a->ids, b->ids);", "return a == b;"),
    ("9 several ids", "decide.c", "if (!matches.n || matches.several)\n\t\treturn;\n\tif (ret->request)",
     "if (!matches.n)\n\t\treturn;\n\tif (ret->request)"),
    ("10 across the end", "decide.c", "if (line->end_ns > over || line->end_ns >= next_ns)", "if (0)"),
    ("11 met in the middle", "conn.c", "conn->desync = desync;", "conn->desync = false;"),
    ("11 met in the middle", "step.c", "conn->quiet = !conn->asked;", "conn->quiet = true;"),
    ("11 met in the middle", "step.c", "!conn->quiet || conn->pipelined || looks != 2", "looks != 2"),
    ("loss", "decide.c", "if (line->lost_gen != request->lost_gen)\n\t\treturn no(TL_WHY_LOST);", ""),
    ("loss", "tail.c", "line->lost_gen != request->lost_gen", "0"),
    ("loss", "tail.c", "before->lost_gen == request->lost_gen", "1"),
    ("tail", "tail.c", "&& gate->handed_over", "&& 0"),
    ("tail", "hands.c", "gate->handed_over = true;", "(void)gate;"),
    ("tail", "hands.c", "&& !conn->queue", ""),
    ("tail", "gate.c", "gate->handed_over |= proc->gate->handed_over;", ";"),
    ("tail", "tail.c", "if (lacks_form(request, before, form))", "if (form->tails && lacks_form(request, before, form))"),
    ("tail", "tail.c", "&& !has_open(actor)", "&& 0"),
    ("tail", "tail.c", "request->end_ns >= last->end_ns", "0"),
    ("tail", "tail.c", "if (!request || !is_finished(request) ||", "if (!request ||"),
    ("tail", "tail.c", "before->end_ns >= request->proc->sure_ns &&", ""),
    ("11 met at work", "correlate.c", "line->time_ns >= proc->sure_ns &&", ""),
    ("tail", "tail.c", "actor->tail->tail_given_ns = corr->at_ns;", ";"),
    ("tail", "tail.c", "line->wait_ns <= request->end_ns &&", ""),
    ("tail", "tail.c", "request->tail_until_ns && line->end_ns >= request->tail_until_ns", "0"),
    ("tail", "tail.c", "line->end_ns > request->end_ns + TL_TAIL_NS ||", ""),
    ("tail", "tail.c", "return is_strict(request, line) || is_dedicated(request) ? request : NULL;",
     "(void)is_dedicated; (void)is_strict; return request;"),
    ("tail", "tail.c", "return is_strict(request, line) || tl_gate_open(corr, gate, rule);", "(void)rule; (void)is_strict; return true;"),
    ("tail", "tail.c", "request->state == TL_REQ_DONE && request->complete && request->one_writer &&",
     "request->state == TL_REQ_DONE && request->complete &&"),
    ("tail", "tail.c", "has_form(request, form) || !note_form(request, form)", "!has_form(request, form) && !note_form(request, form)"),
    ("forms", "form.c", "return form && !form->ambient && !form->tail_refuted &&", "return form && !form->tail_refuted &&"),
    ("forms", "form.c", "return form && !form->ambient && !form->tail_refuted &&", "return form && !form->ambient &&"),
    ("forms", "form.c", "return form && !form->ambient && form->heads", "return form && form->heads"),
    ("forms", "form.c", "form->tails >= corr->options.gate_confirms;", "form->tails >= 1;"),
    ("forms", "form.c", "form->heads >= (head ? (needed + 9) / 10 : needed)", "(head || needed)"),
    ("forms", "correlate.c", "if (!proc->open_server && (!request || form->tail_refuted))", "if (0)"),
    ("bracket", "bracket.c", "return request->writer_wait_ns >= time_ns || request->writer_other_ns >= time_ns;",
     "return request->writer_other_ns >= time_ns;"),
    ("bracket", "bracket.c", "return request->writer_wait_ns >= time_ns || request->writer_other_ns >= time_ns;",
     "return request->writer_wait_ns >= time_ns;"),
    ("bracket", "bracket.c", "if (request->header_ns > seen->time_ns)\n\t\ttl_form_ambient(corr, gate, form);\n\telse if",
     "(void)corr;\n\tif"),
    ("bracket", "bracket.c", "gate->direct = true;", "(void)gate;"),
    ("bracket", "bracket.c", "request->header_ns <= before->end_ns)", "0)"),
    ("thread", "decide.c", "return form && !form->ambient;", "return true || form;"),
    ("thread", "decide.c", "if (finding->straight && request->writer_wait_ns > request->header_ns) {", "if (0) {"),
    ("thread", "decide.c", "line->wait_ns > finding->request->header_ns ||", ""),
    ("thread", "decide.c", "if (!request->proved) {", "if (0) {"),
    ("thread", "conn_read.c", "request->one_writer = false;", ""),
    ("gate", "gate.c", "if (evidence->contradicts || never)", "if (never)"),
    ("gate", "gate.c", "if (evidence->contradicts || never)", "if (evidence->contradicts)"),
    ("gate", "gate.c", "rule == TL_HOW_THREAD && gate->direct_answers >= corr->options.gate_confirms", "rule == TL_HOW_THREAD"),
    ("gate", "decide.c", "tl_form_ambient(corr, proc->gate, form);", ";"),
]


def run(tree, out, mutant):
    """Names of the tests that notice it, or why there is no telling."""
    _, name, text, new = mutant
    path = os.path.normpath(os.path.join(tree, "agent/correlate", name))
    source = open(path).read()
    if text not in source:
        return None, "its text is not in the file"
    open(path, "w").write(source.replace(text, new, 1))
    try:
        goals = [f"{out}/tests/unit/test_{test}" for test in TESTS]
        built = subprocess.run(["make", "-s", "-j2", "WARN=", f"O={out}", *goals], cwd=tree, capture_output=True, text=True)
        if built.returncode:
            return None, "does not build: " + built.stderr[-300:]
        failed = []
        for goal in goals:
            result = subprocess.run([goal], cwd=tree, capture_output=True, text=True, timeout=300, check=False)
            if result.returncode:
                failed += re.findall(r"\[  FAILED  \] (\w+)$", result.stdout + result.stderr, re.M) or [os.path.basename(goal)]
        return sorted(set(failed)), ""
    finally:
        open(path, "w").write(source)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.join(here, "..", "..")
    only = {int(word) for word in sys.argv[1:]}
    bad = 0
    with tempfile.TemporaryDirectory(prefix="tapline-mutants.") as work:
        tree, out = os.path.join(work, "tree"), os.path.join(work, "build")
        for name in subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split():
            os.makedirs(os.path.dirname(os.path.join(tree, name)), exist_ok=True)
            shutil.copy(os.path.join(root, name), os.path.join(tree, name))
        for number, mutant in enumerate(MUTANTS):
            if only and number not in only:
                continue
            failed, why = run(tree, out, mutant)
            bad += not failed
            what = f"{len(failed)} notice: {', '.join(failed)[:90]}" if failed else f"SURVIVED {why}"
            print(f"{number:3} {mutant[0]:21} {mutant[1]:12} {mutant[2][:50]!r:54} {what}", flush=True)
    print(f"RESULT {bad} of {len(only) or len(MUTANTS)} guards without a test")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
