"""Sends requests with ids to a service and checks what tapline made of the lines of it.

  load PORT N CONCURRENCY IDS [tls]   N requests on CONCURRENCY connections; the ids go to the file IDS
  check RECORDS IDS RECALL...         RECALL is CLASS=SHARE (at least that share of the class's lines is right) or CLASS=none (no line of
                                      it has an id); a wrong id anywhere fails
"""

import collections
import hashlib
import http.client
import json
import ssl
import sys
import threading
import uuid


def load(port, total, concurrency, ids_path, tls):
    lock, left, ids, failed = threading.Lock(), [total], [], []
    context = ssl._create_unverified_context()  # a certificate made for the test

    def dial():
        if tls:
            return http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        return http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def client():
        connection = dial()
        while True:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            ident = str(uuid.uuid4())
            try:
                connection.request("GET", "/work", headers={"X-Request-ID": ident})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    failed.append(answer.status)
                if answer.will_close:
                    connection.close()
                    connection = dial()
            except OSError as error:
                failed.append(error)
                connection.close()
                connection = dial()
            with lock:
                ids.append(ident)

    threads = [threading.Thread(target=client) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(ids_path, "a") as file:
        file.writelines(i + "\n" for i in ids)
    if failed:
        sys.exit(f"{len(failed)} of {total} requests failed: {failed[0]}")


def check(records, ids_path, wanted):
    truth = {}
    for ident in open(ids_path).read().split():
        truth[hashlib.sha256(ident.encode()).hexdigest()[:12]] = ident
    score = collections.defaultdict(collections.Counter)
    wrong = []
    for text in open(records):
        record = json.loads(text)
        fields = dict(f.split("=", 1) for f in record["body"].split() if "=" in f)
        if "class" not in fields or (fields["gt"] != "-" and fields["gt"] not in truth):
            continue
        attributes = record["attributes"]
        has, is_ = attributes.get("correlation.id"), truth.get(fields["gt"])
        how = attributes["correlation.how"]
        if how == "none":
            score[fields["class"]]["none:" + attributes.get("correlation.why", "")] += 1
        elif has == is_:
            score[fields["class"]]["right:" + how] += 1
            score[fields["class"]]["right"] += 1
        else:
            score[fields["class"]]["WRONG:" + how] += 1
            wrong.append(text)
        score[fields["class"]]["all"] += 1
    for name, counts in sorted(score.items()):
        print(f"{name:12}", dict(sorted(counts.items())))
    if wrong:
        sys.exit(f"{len(wrong)} wrong ids, the first: {wrong[0]}")
    for want in wanted:
        name, share = want.split("=")
        counts = score[name]
        if not counts["all"]:
            sys.exit(f"no lines of class {name}")
        if share == "none" and counts["right"]:
            sys.exit(f"lines of class {name} have ids")
        if share != "none" and counts["right"] < float(share) * counts["all"]:
            sys.exit(f"{name}: {counts['right']} of {counts['all']} lines have their id, wanted {share}")


if sys.argv[1] == "load":
    load(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6:] == ["tls"])
else:
    check(sys.argv[2], sys.argv[3], sys.argv[4:])
