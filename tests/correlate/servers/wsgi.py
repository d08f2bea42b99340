"""A WSGI application for gunicorn (sync and gthread workers) and the like: `gunicorn wsgi:app`."""

import lib

lib.start()


def app(environ, start_response):
    gt = lib.truth(environ.get("HTTP_X_REQUEST_ID", "").strip())
    path = environ["PATH_INFO"]
    lib.say("sync", gt, f"begin {environ['REQUEST_METHOD']} {path}")
    environ["wsgi.input"].read()
    lib.pause()
    lib.say("after-await", gt, "worked")
    lib.extras(path, gt)
    body = f"{gt}\n".encode()
    if path in ("/empty", "/notmod"):
        start_response("204 No Content" if path == "/empty" else "304 Not Modified", [])
        return []
    start_response("200 OK", [("Content-Length", str(len(body))), ("Content-Type", "text/plain")])
    return [body]
