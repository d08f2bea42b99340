"""aiohttp: `python3 aio.py PORT`. One thread, a task for each connection; children are tasks, `pool` is an executor."""

import asyncio
import os
import random

from aiohttp import web

import lib

flight = {}


async def pause():
    seconds = lib.delay()
    if seconds:
        await asyncio.sleep(seconds)


async def child(gt):
    await pause()
    lib.say("child", gt, "child's work")


async def compute(gt):
    await pause()
    lib.say("sync", gt, "computed for all")
    flight.clear()


async def extras(path, gt):
    loop = asyncio.get_running_loop()
    if path == "/child":
        loop.create_task(child(gt))
    elif path == "/pool":
        await loop.run_in_executor(None, lib.say, "pool", gt, "pooled work")
    elif path == "/late":
        loop.call_later(random.random() * 0.05, lib.say, "after-response", gt, "late")
    elif path == "/cache":
        if "k" not in flight:
            flight["k"] = loop.create_task(compute(gt))
        await asyncio.shield(flight["k"])
        lib.say("after-await", gt, "shared result")


async def serve(request):
    gt = lib.truth(request.headers.get("x-request-id", "").strip())
    lib.say("sync", gt, f"begin {request.method} {request.path}")
    await request.read()
    await pause()
    lib.say("after-await", gt, "worked")
    await extras(request.path, gt)
    if request.path in ("/empty", "/notmod"):
        return web.Response(status=204 if request.path == "/empty" else 304)
    if request.path == "/chunked" and request.method != "HEAD":
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(f"{gt}\n".encode())
        lib.say("after-await", gt, "between chunks")
        await pause()
        await response.write_eof(b"more")
        return response
    return web.Response(text=f"{gt}\n")


async def noise(name, text):
    rate = int(os.environ.get(name, "0"))
    while rate:
        await asyncio.sleep(1 / rate)
        lib.say("background", "-", text)


async def main():
    lib.say("startup", "-", "starting")
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", lib.port(), backlog=1024).start()
    await asyncio.gather(noise("BACKGROUND", "housekeeping"), noise("JOBS", "timer's job"), asyncio.Event().wait())


asyncio.run(main())
