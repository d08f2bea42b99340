"""An asyncio service whose requests are worked on by tasks: the request's own, a sub-task, one that lives on after the response, an
executor's thread with the request's context (asyncio.to_thread); besides a task in the background. Each line tells its class and, as
the ground truth of a test, the first 12 hex digits of the SHA-256 of the request's id.

  aio.py aiohttp PORT | aio.py uvicorn PORT | aio.py plain PORT (a small server of our own: for every Python)
"""

import asyncio
import contextvars
import hashlib
import random
import sys


def say(kind, gt):
    sys.stdout.write(f"class={kind} gt={gt}\n")
    sys.stdout.flush()


async def child(gt):
    say("child", gt)
    await asyncio.sleep(random.random() / 200)
    say("child", gt)


async def late(gt):
    await asyncio.sleep(0.02)
    say("late", gt)


async def background():
    while True:
        await asyncio.sleep(0.005)
        say("background", "-")


keep = set()


async def work(ident):
    gt = hashlib.sha256(ident.encode()).hexdigest()[:12]
    say("direct", gt)
    await asyncio.sleep(random.random() / 200)
    task = asyncio.create_task(child(gt))
    after = asyncio.create_task(late(gt))
    keep.add(after)
    after.add_done_callback(keep.discard)
    say("direct", gt)
    await task
    run = contextvars.copy_context().run  # as asyncio.to_thread does, which 3.8 lacks
    await asyncio.get_running_loop().run_in_executor(None, run, say, "thread", gt)
    say("direct", gt)


def run_aiohttp(port):
    from aiohttp import web

    async def handle(request):
        await work(request.headers.get("X-Request-ID", ""))
        return web.Response(text="ok\n")

    async def start(app):
        app["background"] = asyncio.create_task(background())

    app = web.Application()
    app.router.add_get("/work", handle)
    app.on_startup.append(start)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        scope["state"] = {"background": asyncio.create_task(background())}
        keep.add(scope["state"]["background"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    ident = dict(scope["headers"]).get(b"x-request-id", b"").decode()
    await work(ident)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"ok\n"})


def run_uvicorn(port):
    import uvicorn

    uvicorn.run(asgi, host="127.0.0.1", port=port, log_level="warning", access_log=False)


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            await work(dict(h.split(": ", 1) for h in head[1:] if h).get("X-Request-ID", ""))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def plain(port):
    keep.add(asyncio.create_task(background()))
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=256)
    async with server:
        await server.serve_forever()


def run_plain(port):
    asyncio.run(plain(port))


{"aiohttp": run_aiohttp, "uvicorn": run_uvicorn, "plain": run_plain}[sys.argv[1]](int(sys.argv[2]))
