#!/usr/bin/env python3
"""Sends requests with a fresh X-Request-ID each over 8 connections, until it is ended: first 1,500 as fast as they go, on
which the thread rule proves itself (it counts those that overlap), then at a pace that one can read.

usage: requests.py URL
"""
import http.client
import itertools
import os
import sys
import threading
import time
import urllib.parse
import uuid

URL = urllib.parse.urlsplit(sys.argv[1])
THREADS, WARM_UP, PAUSE = 8, 1500, 0.4
sent = itertools.count()


def send():
    while True:
        connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=5)
        try:
            while True:
                connection.request("GET", URL.path or "/", headers={"X-Request-ID": str(uuid.uuid4())})
                connection.getresponse().read()
                if next(sent) > WARM_UP:
                    time.sleep(PAUSE)
        except (OSError, http.client.HTTPException):
            time.sleep(0.3)  # not up yet, or going down
        finally:
            connection.close()


for _ in range(THREADS):
    threading.Thread(target=send, daemon=True).start()
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.5)
