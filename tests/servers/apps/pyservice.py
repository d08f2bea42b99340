"""A small threaded HTTP service as people write them with http.server: `python3 -u pyservice.py PORT`.

It knows nothing of tapline. One thread per connection, HTTP/1.1 with keep-alive. Its lines carry what a checker
needs to know the truth without it: n= (each number from 1 up in exactly one line of the process), class= (request, child: by a thread the
handler started, background: by nobody's request), gt= (the first 12 hex digits of SHA-256(x-request-id); none in
background lines). Lines go to stdout by print and to stderr by logging, each by one write. At SIGTERM or SIGINT it
finishes what it serves and writes to the file that TRUTH_FILE names how many lines and bytes it wrote to each.
"""

import hashlib
import itertools
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

numbers = itertools.count(1)
last_n = 0


class Counter:
    """Counts the lines and bytes written through it to a stream; one write per line."""

    def __init__(self, stream):
        self.stream, self.lines, self.bytes, self.lock = stream, 0, 0, threading.Lock()

    def write(self, text):
        with self.lock:
            self.stream.write(text)
            self.stream.flush()
            self.lines += text.count("\n")
            self.bytes += len(text.encode())

    def flush(self):
        self.stream.flush()


out, err = Counter(sys.stdout), Counter(sys.stderr)
logging.basicConfig(stream=err, level=logging.INFO, format="%(asctime)s %(levelname)s %(threadName)s %(message)s")


def next_n():
    global last_n
    n = last_n = next(numbers)
    return n


def truth_of(request_id):
    return hashlib.sha256(request_id.encode()).hexdigest()[:12] if request_id else "-"


def work():
    time.sleep(random.random() * 0.003)


def child(gt):
    work()
    logging.info("audit written gt=%s n=%d class=child", gt, next_n())
    serving.leave()


class Serving:
    """What is being served now, children included; once closed it lets nothing new in."""

    def __init__(self):
        self.change, self.inside, self.closed = threading.Condition(), 0, False

    def enter(self, child=False):
        with self.change:
            if self.closed and not child:
                return False
            self.inside += 1
            return True

    def leave(self):
        with self.change:
            self.inside -= 1
            self.change.notify_all()

    def close(self, seconds):
        with self.change:
            self.closed = True
            return self.change.wait_for(lambda: self.inside == 0, seconds)


serving = Serving()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120  # longer than nginx keeps an idle connection, so that it never meets a closed one
    disable_nagle_algorithm = True

    def do_GET(self):
        if not serving.enter():
            self.close_connection = True
            self.answer(503, b"closing\n")
            return
        try:
            self.serve()
        finally:
            serving.leave()

    def serve(self):
        gt = truth_of(self.headers.get("x-request-id"))
        began = time.monotonic()
        logging.info("begin %s %s gt=%s n=%d class=request", self.command, self.path, gt, next_n())
        work()
        if random.random() < 0.25:
            serving.enter(child=True)
            threading.Thread(target=child, args=(gt,)).start()
        if random.random() < 0.5:
            line = {"level": "info", "msg": "looked up", "gt": gt, "n": next_n(), "class": "request"}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
            work()
        spent = int((time.monotonic() - began) * 1e6)
        out.write(f"level=info msg=done status=200 us={spent} gt={gt} n={next_n()} class=request\n")
        self.answer(200, f"gt={gt}\n".encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """The access log is nginx's business."""


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True  # an idle keep-alive connection must not hold the end up


def background(stop):
    while not stop.wait(0.005):
        logging.info("housekeeping n=%d class=background", next_n())


def write_truth():
    name = os.environ.get("TRUTH_FILE")
    if not name:
        return
    with open(name + ".tmp", "w", encoding="ascii") as file:
        file.write(f"stdout_lines={out.lines}\nstdout_bytes={out.bytes}\n"
                   f"stderr_lines={err.lines}\nstderr_bytes={err.bytes}\nlast_n={last_n}\n")
    os.rename(name + ".tmp", name)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -u pyservice.py PORT")
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    housekeeper = threading.Thread(target=background, args=(stop,), name="housekeeper")
    housekeeper.start()
    server.serve_forever(poll_interval=0.1)
    stop.set()
    housekeeper.join()
    if not serving.close(10):
        sys.exit("still serving after 10 s: no truth is written")
    write_truth()


if __name__ == "__main__":
    main()
