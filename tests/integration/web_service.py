#!/usr/bin/env python3
"""Two small services for the test of the live page: `shop PORT STOCK_PORT` answers and asks `stock PORT` on its way.
The name is that of the file: a test copies this one under both. They log as services do, with levels, and what
hostile input may make of a line.
"""
import http.client
import http.server
import os
import sys
import time

NAME = os.path.basename(sys.argv[0]).removesuffix(".py")
STOCK = int(sys.argv[2]) if len(sys.argv) > 2 else 0
HOSTILE = [
    'WARN unknown user <img src=x onerror="window.pwned=1"><script>window.pwned=2</script>',
    "INFO \x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[0m \x1b]0;title\x07\x1b[2J\x1b]8;;javascript:window.pwned=3\x07link\x1b]8;;\x07",
    "INFO order \u202egnp.exe \x07 javascript:window.pwned=4 data:text/html,<svg onload=window.pwned=5>",
]


def log(text):
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def ask_stock(self, item):
        connection = http.client.HTTPConnection("127.0.0.1", STOCK, timeout=5)
        connection.request("GET", f"/stock/{item}", headers={"X-Request-ID": self.headers.get("X-Request-ID", "")})
        connection.getresponse().read()
        connection.close()

    def do_GET(self):
        path, request = self.path.split("?")[0], self.headers.get("X-Request-ID", "-")
        if NAME == "stock":
            log(f"DEBUG lookup of {path.rsplit('/', 1)[-1]} in warehouse 7")
            time.sleep(0.003)
            log("INFO 12 left")
            return self.answer(200, "12")
        log(f"INFO order received: {path} from {self.client_address[0]}")
        if path == "/hostile":
            for line in HOSTILE:
                log(line)
            return self.answer(200, "ok")
        if path.startswith("/burst/"):
            for n in range(int(path.rsplit("/", 1)[-1])):
                log(f"INFO burst line {n} with some words to be found")
            return self.answer(200, "ok")
        time.sleep(0.002)
        self.ask_stock(path.rsplit("/", 1)[-1])
        if path.startswith("/fail"):
            log(f"ERROR payment refused: card expired rid={request}")
            return self.answer(500, "no")
        if path.startswith("/slow"):
            time.sleep(0.02)
            log("WARN the payment provider took 20 ms")
        log(f"INFO order shipped rid={request}")
        return self.answer(200, "ok")


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
