#!/usr/bin/env python3
"""Sends requests to the shop: `web_load.py PORT COUNT [RATE]` over 6 connections at once, ids req-000001 and so on (RATE
requests a second, else as fast as they go). Prints the last id."""
import http.client
import itertools
import sys
import threading
import time

PORT, COUNT = int(sys.argv[1]), int(sys.argv[2])
RATE = float(sys.argv[3]) if len(sys.argv) > 3 else 0
numbers = itertools.count(1)
began = time.monotonic()


def one(n):
    kind = "fail" if n % 23 == 0 else "slow" if n % 11 == 0 else "order"
    if RATE:
        time.sleep(max(0.0, began + n / RATE - time.monotonic()))
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    connection.request("GET", f"/{kind}/{n % 50}", headers={"X-Request-ID": f"req-{n:06d}"})
    connection.getresponse().read()
    connection.close()


def work():
    while (n := next(numbers)) <= COUNT:
        one(n)


threads = [threading.Thread(target=work) for _ in range(6)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f"req-{COUNT:06d}")
