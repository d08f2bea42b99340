"""A bare ASGI application for uvicorn: `uvicorn asgi:app`. The handler runs in a task of its own for each request."""

import asyncio
import os
import random

import lib


async def pause():
    seconds = lib.delay()
    if seconds:
        await asyncio.sleep(seconds)


async def child(gt):
    await pause()
    lib.say("child", gt, "child's work")


async def noise(name, text):
    rate = int(os.environ.get(name, "0"))
    while rate:
        await asyncio.sleep(1 / rate)
        lib.say("background", "-", text)


async def extras(path, gt):
    loop = asyncio.get_running_loop()
    if path == "/child":
        loop.create_task(child(gt))
    elif path == "/pool":
        await loop.run_in_executor(None, lib.say, "pool", gt, "pooled work")
    elif path == "/late":
        loop.call_later(random.random() * 0.05, lib.say, "after-response", gt, "late")


async def read_all(receive):
    while (await receive()).get("more_body"):
        pass


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        lib.say("startup", "-", "starting")
        for name in ("BACKGROUND", "JOBS"):
            asyncio.create_task(noise(name, name.lower()))
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = dict(scope["headers"])
    gt = lib.truth(headers.get(b"x-request-id", b"").decode("latin-1").strip())
    path = scope["path"]
    lib.say("sync", gt, f"begin {scope['method']} {path}")
    await read_all(receive)
    await pause()
    lib.say("after-await", gt, "worked")
    await extras(path, gt)
    status = {"/empty": 204, "/notmod": 304}.get(path, 200)
    body = f"{gt}\n".encode() if status == 200 else b""
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-length", str(len(body)).encode())] if status == 200 else []})
    await send({"type": "http.response.body", "body": body})
    lib.say("access-log", gt, f"{path} {status}")
