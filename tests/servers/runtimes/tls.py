"""A threaded HTTPS service on the OpenSSL of the system: each connection has a thread. Each line tells, as the ground truth of a test, the
first 12 hex digits of the SHA-256 of its request's id.

  tls.py PORT CERTIFICATE KEY
"""

import hashlib
import http.server
import random
import socket
import ssl
import sys
import threading
import time


def say(kind, gt):
    sys.stdout.write(f"class={kind} gt={gt}\n")
    sys.stdout.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        # The handshake is the connection's thread's.
        self.request = context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self):
        gt = hashlib.sha256(self.headers["X-Request-ID"].encode()).hexdigest()[:12]
        say("direct", gt)
        time.sleep(random.random() / 200)
        say("direct", gt)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def background():
    while True:
        time.sleep(0.005)
        say("background", "-")


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
threading.Thread(target=background, daemon=True).start()
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
