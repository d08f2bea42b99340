"""An OTLP/HTTP server (JSON, not packed) that answers as the specification allows and tests need.

usage: otlp_faults.py PORTFILE UIDFILE [--status N] [--busy N] [--spoiler TEXT] [--reject N]
The first --busy requests get 503 with Retry-After: 1; requests with --spoiler in them get 400; the first accepted one is a
partial success with --reject records refused; with --status every request gets that. The uids of what was taken go to
UIDFILE, one a line.
"""
import argparse
import http.server
import json
import os
import threading

parser = argparse.ArgumentParser()
parser.add_argument("portfile")
parser.add_argument("uidfile")
parser.add_argument("--status", type=int)
parser.add_argument("--busy", type=int, default=0)
parser.add_argument("--spoiler", default="\0")
parser.add_argument("--reject", type=int, default=0)
args = parser.parse_args()
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def take(self, text):
        with open(args.uidfile, "a", encoding="utf-8") as file:
            for group in json.loads(text)["resourceLogs"]:
                for record in group["scopeLogs"][0]["logRecords"]:
                    uid = next(a for a in record["attributes"] if a["key"] == "log.record.uid")
                    file.write(uid["value"]["stringValue"] + "\n")

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode(errors="replace")
        with lock:
            if args.status:
                return self.answer(args.status, {"code": 16, "message": "not you"})
            if args.busy:
                args.busy -= 1
                return self.answer(503, {"code": 14, "message": "busy"}, (("Retry-After", "1"),))
            if args.spoiler in text:
                return self.answer(400, {"code": 3, "message": "a spoiler"})
            self.take(text)
            rejected, args.reject = args.reject, 0
        partial = {"rejectedLogRecords": str(rejected), "errorMessage": "too old"}
        self.answer(200, {"partialSuccess": partial} if rejected else {})

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(args.portfile + ".new", "w", encoding="utf-8") as out:
    out.write(str(server.server_address[1]))
os.rename(args.portfile + ".new", args.portfile)
server.serve_forever()
