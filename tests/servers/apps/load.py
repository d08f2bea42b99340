"""Sends requests with unique ids and writes down the truth: `python3 load.py --url http://127.0.0.1:PORT -n 10000 -c 32 --truth FILE`.

Every connection is kept alive and carries one request at a time. A request is never repeated: one whose connection
broke has status 0. The truth file has a line per request: id, gt (the first 12 hex digits of the id's SHA-256, what
the services put into their lines), path, status, separated by tabs. Exit status: 0 every answer was 200 and named the
right gt, 1 otherwise.
"""

import argparse
import asyncio
import hashlib
import sys
import time
import uuid
from urllib.parse import urlsplit


def truth_of(request_id):
    return hashlib.sha256(request_id.encode()).hexdigest()[:12]


async def read_answer(reader):
    """Returns (status, body, keep). Knows Content-Length and chunked bodies."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict((k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in head[1:] if line))
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), body, headers.get("connection", "").lower() != "close"


class Load:
    def __init__(self, args):
        url = urlsplit(args.url)
        self.host, self.port = url.hostname, url.port or 80
        self.args, self.paths = args, args.paths.split(",")
        self.sent, self.rows, self.wrong, self.broken = 0, [], 0, 0
        self.began = time.monotonic()

    async def next_turn(self):
        """The number of the next request, in time with --rate; None when all are sent."""
        if self.sent >= self.args.n:
            return None
        number, self.sent = self.sent, self.sent + 1
        if self.args.rate:
            await asyncio.sleep(max(0.0, self.began + number / self.args.rate - time.monotonic()))
        return number

    async def one(self, reader, writer, request_id, path):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
                     f"{self.args.header}: {request_id}\r\n\r\n".encode())
        async with asyncio.timeout(self.args.timeout):
            return await read_answer(reader)

    def complain(self, path, error):
        self.broken += 1
        if self.broken <= 5:
            print(f"load: {path}: {error!r}" + (", no more of these are shown" if self.broken == 5 else ""), file=sys.stderr)

    async def connection(self):
        reader = writer = None
        while (number := await self.next_turn()) is not None:
            request_id, path = str(uuid.uuid4()), self.paths[number % len(self.paths)] + str(number)
            gt, status, body, keep = truth_of(request_id), 0, b"", False
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(self.host, self.port)
                status, body, keep = await self.one(reader, writer, request_id, path)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.complain(path, error)
            if status != 200 or (self.args.check and f"gt={gt}".encode() not in body):
                self.wrong += 1
            self.rows.append(f"{request_id}\t{gt}\t{path}\t{status}\n")
            if not keep and writer is not None:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    async def run(self):
        await asyncio.gather(*(self.connection() for _ in range(self.args.c)))
        spent = time.monotonic() - self.began
        with open(self.args.truth, "w", encoding="ascii") as file:
            file.writelines(self.rows)
        print(f"load: {len(self.rows)} requests, {self.wrong} wrong, {spent:.2f} s, {len(self.rows) / spent:.0f}/s")
        return 1 if self.wrong else 0


def main():
    parser = argparse.ArgumentParser(description="Sends requests with unique ids and writes down the truth.")
    parser.add_argument("--url", required=True, help="http://HOST:PORT")
    parser.add_argument("--paths", default="/go/,/py/", help="begins of paths, taken in turn (default: %(default)s)")
    parser.add_argument("-n", type=int, default=1000, help="requests (default: %(default)s)")
    parser.add_argument("-c", type=int, default=8, help="connections at once (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0, help="requests a second, 0: as fast as answers come")
    parser.add_argument("--header", default="x-request-id", help="name of the id's header (default: %(default)s)")
    parser.add_argument("--truth", required=True, help="file for id, gt, path, status of each request")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for one answer (default: %(default)s)")
    parser.add_argument("--no-check", dest="check", action="store_false", help="answers need not name the gt")
    sys.exit(asyncio.run(Load(parser.parse_args()).run()))


if __name__ == "__main__":
    main()
