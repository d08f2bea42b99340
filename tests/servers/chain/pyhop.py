"""A threaded hop of the chain: `python3 -u pyhop.py PORT NEXT-PORT`. One thread a connection; a fresh connection for each call."""

import http.client
import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
next_port = int(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        truth = self.headers.get("X-Truth", "")
        logging.info("hop=py asks truth=%s", truth)
        headers = {name: self.headers[name] for name in ("X-Truth", "X-Request-Id") if name in self.headers}
        call = http.client.HTTPConnection("127.0.0.1", next_port, timeout=30)
        call.request("GET", self.path, headers=headers)
        body = call.getresponse().read()
        call.close()
        logging.info("hop=py was told %d bytes truth=%s", len(body), truth)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """The access log is nginx's business."""


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


def housekeeping():
    while True:
        time.sleep(0.005)
        logging.info("hop=py housekeeping truth=none")


threading.Thread(target=housekeeping, daemon=True).start()
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
