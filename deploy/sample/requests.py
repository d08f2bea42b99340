#!/usr/bin/env python3
"""Sends requests with a fresh X-Request-ID each, about 100 a second over 8 threads, until it is ended.

usage: requests.py URL
"""
import http.client
import os
import sys
import threading
import time
import urllib.parse
import uuid

URL = urllib.parse.urlsplit(sys.argv[1])
THREADS, PAUSE = 8, 0.08


def send():
    while True:
        connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=5)
        try:
            while True:
                connection.request("GET", URL.path or "/", headers={"X-Request-ID": str(uuid.uuid4())})
                connection.getresponse().read()
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
