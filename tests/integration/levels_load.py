"""Asks a server for /?gt=HASH with a request id whose hash that is, and later compares what the records say with it.

load PORT REQUESTS CLIENTS TRUTH: each client waits for its answer before it asks again.
check TRUTH RECORDS REQUESTS LEAST: every record with `gt=` in its text; exit status 1 when an id is wrong, a line is missing, or
less than LEAST percent of them have an id. Prints how they got it, and why not.
"""
import asyncio
import collections
import hashlib
import json
import re
import sys
import uuid


async def ask(reader, writer, gt, request_id):
    """Returns whether the connection can be used again."""
    writer.write(f"GET /?gt={gt} HTTP/1.1\r\nHost: t\r\nX-Request-ID: {request_id}\r\n"
                 "Accept: */*\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"content-length: *(\d+)", head)
    if length:
        await reader.readexactly(int(length.group(1)))
    elif b"chunked" in head:
        while int(await reader.readline(), 16):
            await reader.readuntil(b"\r\n")
        await reader.readline()
    else:
        await reader.read()
    return head.startswith(b"http/1.1") and b"connection: close" not in head


async def client(port, numbers, truth):
    reader = writer = None
    for _ in numbers:
        request_id = str(uuid.uuid4())
        gt = hashlib.sha256(request_id.encode()).hexdigest()[:12]
        truth.write(f"{gt}\t{request_id}\n")
        again = False
        for _ in range(20):  # a server with a short backlog refuses some
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                again = await ask(reader, writer, gt, request_id)
                break
            except (OSError, asyncio.IncompleteReadError):
                if writer:
                    writer.close()
                writer = None
                await asyncio.sleep(0.02)
        if not again and writer:
            writer.close()
            writer = None


async def load(port, requests, clients, path):
    numbers = iter(range(requests))
    with open(path, "w") as truth:
        await asyncio.gather(*(client(port, numbers, truth) for _ in range(clients)))


def check(path, records, requests, least):
    ids = dict(line.rstrip("\n").split("\t") for line in open(path))
    cells, why, lines, wrong = collections.Counter(), collections.Counter(), 0, []
    for line in open(records):
        record = json.loads(line)
        attributes = record["attributes"]
        given, how = attributes.get("correlation.id"), attributes.get("correlation.how")
        gt = re.search(r"gt=([0-9a-f]{12})", json.dumps(record))
        if gt is None:
            if given:
                wrong.append(record)
            continue
        lines += 1
        if given is None:
            why[attributes.get("correlation.why")] += 1
        elif ids.get(gt.group(1)) == given:
            cells[how] += 1
        else:
            wrong.append(record)
    right = sum(cells.values())
    print(f"  lines {lines} right {right} wrong {len(wrong)} recall {right / max(1, lines):.3f}",
          dict(cells), "none:", dict(why))
    for record in wrong[:3]:
        print("  WRONG", json.dumps(record))
    if lines < requests:
        print(f"  only {lines} lines of {requests} requests")
    if right * 100 < lines * least:
        print(f"  less than {least} %")
    sys.exit(bool(wrong) or lines < requests or right * 100 < lines * least)


if sys.argv[1] == "load":
    asyncio.run(load(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
else:
    check(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
