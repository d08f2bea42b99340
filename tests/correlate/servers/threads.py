"""http.server with a thread per connection: `python3 threads.py PORT`."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import lib


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def serve(self):
        gt = lib.truth((self.headers.get("x-request-id") or "").strip())
        path = self.path.split("?")[0]
        lib.say("sync", gt, f"begin {self.command} {path}")
        try:
            self.read_body()
        except ValueError:
            self.send_error(400)
            self.close_connection = True
            return
        lib.pause()
        lib.say("after-await", gt, "worked")
        lib.extras(path, gt)
        self.answer(path, gt)
        lib.say("access-log", gt, f"{path} 200")

    def answer(self, path, gt):
        if path in ("/empty", "/notmod"):
            self.send_response(204 if path == "/empty" else 304)
            self.end_headers()
            return
        body = f"{gt}\n".encode()
        self.send_response(200)
        if path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
            lib.say("sync", gt, "between chunks")
            self.wfile.write(b"4\r\nmore\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = serve

    def log_message(self, *args):
        """Our own lines are enough."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


lib.start()
Server(("127.0.0.1", lib.port()), Handler).serve_forever()
