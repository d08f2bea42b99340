"""What the Python services under test share: lines with their truth, noise, and what a path asks for."""

import hashlib
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(4)
lock = threading.Lock()


def say(kind, gt, text):
    """One line by one write(2), whoever else writes."""
    os.write(1, f'level=info class={kind} gt={gt} msg="{text}"\n'.encode())


def truth(request_id):
    return hashlib.sha256(request_id.encode("latin-1")).hexdigest()[:12] if request_id else "none"


def delay():
    return random.random() * 0.002 if random.random() < 0.5 else 0


def pause():
    seconds = delay()
    if seconds:
        time.sleep(seconds)


def child(gt):
    pause()
    say("child", gt, "child's work")


def extras(path, gt):
    """What a path asks for beside the answer, in a threaded server."""
    if path == "/child":
        threading.Thread(target=child, args=(gt,)).start()
    elif path == "/pool":
        pool.submit(say, "pool", gt, "pooled work").result()
    elif path == "/late":
        threading.Timer(random.random() * 0.05, say, ("after-response", gt, "late")).start()
    elif path == "/cache":
        with lock:
            pause()
            say("sync", gt, "computed under the lock")


def every(name, function):
    rate = int(os.environ.get(name, "0"))
    if not rate:
        return

    def run():
        while True:
            time.sleep(1 / rate)
            function()

    threading.Thread(target=run, daemon=True).start()


def start():
    say("startup", "-", "starting")
    every("BACKGROUND", lambda: say("background", "-", "housekeeping"))
    every("JOBS", lambda: pool.submit(say, "background", "-", "job on the pool"))


def port():
    return int(sys.argv[1])
