"""The cells of the correlation bench: which services there are, how each is started, and which loads meet it."""

import dataclasses
import fnmatch
import glob
import hashlib
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS = os.path.join(HERE, "servers")
O = os.environ.get("O", os.path.join(HERE, "..", "..", "build"))
CACHE = os.environ.get("TAPLINE_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "tapline")


class Missing(Exception):
    """A program that a cell needs is not installed."""


def need(*candidates):
    for name in candidates:
        path = shutil.which(name) or next(iter(sorted(glob.glob(name))), None)
        if path:
            return path
    raise Missing(f"{candidates[0]} is not installed")


def built(source, suffix, command):
    """Builds once per content of `source` and compiler; `command(out)` makes `out`."""
    text = open(source, "rb").read() + suffix.encode()
    out = os.path.join(CACHE, "correlate", hashlib.sha256(text).hexdigest()[:16])
    if not os.path.exists(out):
        os.makedirs(os.path.dirname(out), exist_ok=True)
        temporary = f"{out}.{os.getpid()}"
        subprocess.run(command(temporary), check=True, cwd=os.path.dirname(source),
                       env={**os.environ, "GO111MODULE": "off", "GOTOOLCHAIN": "local"})
        os.rename(temporary, out)
    return out


def go(compiler, cgo="0", flags=()):
    def start(cell, port, work):
        tool = need(*compiler)
        version = subprocess.run([tool, "version"], capture_output=True, text=True,
                                 env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
        binary = built(os.path.join(SERVERS, "go", "main.go"), version + cgo + str(flags),
                       lambda out: ["env", f"CGO_ENABLED={cgo}", tool, "build", *flags, "-o", out, "main.go"])
        return [[binary, str(port)]]
    return start


def python(script, *options):
    def start(cell, port, work):
        need("/usr/bin/python3")
        if script == "aio.py" and not glob.glob("/usr/lib/python3/dist-packages/aiohttp"):
            raise Missing("python3-aiohttp is not installed")
        return [["/usr/bin/python3", os.path.join(SERVERS, script), str(port), *options]]
    return start


def gunicorn(*options):
    def start(cell, port, work):
        return [[need("/usr/bin/gunicorn"), "--chdir", SERVERS, "-b", f"127.0.0.1:{port}", "--backlog", "1024",
                 "--keep-alive", "75", "--log-level", "warning", *options, "wsgi:app"]]
    return start


def uvicorn(cell, port, work):
    return [[need("/usr/bin/uvicorn"), "--app-dir", SERVERS, "--port", str(port), "--no-access-log", "--log-level",
             "warning", "asgi:app"]]


def java_home():
    for home in [os.environ.get("JAVA17_HOME", ""), *sorted(glob.glob("/usr/lib/jvm/*17*"))]:
        if os.path.exists(os.path.join(home, "bin", "javac")):
            return home
    raise Missing("no JDK 17")


def java(mode):
    def start(cell, port, work):
        home = java_home()
        classes = built(os.path.join(SERVERS, "Server.java"), home,
                        lambda out: [f"{home}/bin/javac", "-nowarn", "-d", out, "Server.java"])
        return [[f"{home}/bin/java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                 "-Dsun.net.httpserver.maxReqTime=30", "-Dsun.net.httpserver.nodelay=true", "-cp", classes, "Server",
                 str(port), mode]]
    return start


def node(cell, port, work):
    return [[need("/usr/bin/node", "node"), os.path.join(SERVERS, "node.js"), str(port)]]


def webrick(cell, port, work):
    return [[need("/usr/bin/ruby"), os.path.join(SERVERS, "webrick.rb"), str(port)]]


def puma(cell, port, work):
    return [[need("/usr/bin/puma"), "-q", "-b", f"tcp://127.0.0.1:{port}", "-t", "8:8", "-e", "production",
             os.path.join(SERVERS, "config.ru")]]


def c(mode):
    def start(cell, port, work):
        return [[os.path.join(O, "tests", "correlate", "servers", "server"), str(port), mode]]
    return start


def nginx(location, behind=None):
    def start(cell, port, work):
        program = need("nginx", "/usr/sbin/nginx")
        user = "user nobody nogroup;" if os.getuid() == 0 else ""
        text = open(os.path.join(SERVERS, "nginx.conf.in")).read()
        inner = behind(cell, port + 1, work) if behind else []
        for key, value in {"USER": user, "DIR": work, "PORT": port, "BEHIND": port + 1,
                           "LOCATION": location.replace("@SERVERS@", SERVERS).replace("@DIR@", work)}.items():
            text = text.replace(f"@{key}@", str(value))
        with open(os.path.join(work, "nginx.conf"), "w") as file:
            file.write(text)
        open(os.path.join(work, "nginx.log"), "w").close()
        return [[program, "-e", "stderr", "-p", work, "-c", "nginx.conf"], *inner]
    return start


def php(cell, port, work):
    program = need("/usr/sbin/php-fpm8.2", "/usr/sbin/php-fpm*")
    os.chmod(work, 0o777)
    open(os.path.join(work, "php.log"), "w").close()
    os.chmod(os.path.join(work, "php.log"), 0o666)
    with open(os.path.join(work, "fpm.conf"), "w") as file:
        file.write(f"[global]\nerror_log = /dev/stderr\ndaemonize = no\n[www]\nlisten = {work}/fpm.sock\nlisten.mode = 0666\n"
                   f"listen.backlog = 1024\nuser = nobody\ngroup = nogroup\npm = static\npm.max_children = 8\n")
    location = (f"fastcgi_pass unix:{work}/fpm.sock; fastcgi_param SCRIPT_FILENAME {SERVERS}/index.php; "
                f"fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri; "
                f"fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param BENCH_LOG {work}/php.log;")
    fpm = [program, "-n", "-y", os.path.join(work, "fpm.conf"), "-F"] + (["-R"] if os.getuid() == 0 else [])
    return [*nginx(location)(cell, port, work), fpm]


GO_NEW = ("/usr/local/go/bin/go", "/usr/lib/go-1.2*/bin/go")
GO_OLD = ("/usr/lib/go-1.19/bin/go",)
ALL = "/sync,/child,/pool,/late,/cache,/chunked,/empty,/notmod"
PLAIN = "/sync,/child,/late"


@dataclasses.dataclass(frozen=True)
class Server:
    start: object
    paths: str
    lines: float          # lines of the class `sync`, `after-await`, `access-log` a request, about
    full: bool = True     # HTTP/1.1 in all its forms: bodies, HEAD, 100-continue, pipelining
    rate: int = 4000      # requests a second on two cores, about: how long a cell may take
    floor: float = 0.0    # recall of the lines asked that a run must reach
    asked: tuple = ("sync", "after-await")  # classes of lines whose recall is told: those written while a request is served


SERVER = {
    "go": Server(go(GO_NEW), ALL, 2.1, floor=0.999, rate=8000),
    "go119": Server(go(GO_OLD), ALL, 2.6, floor=0.999, rate=8000),
    "go-cgo": Server(go(GO_NEW, "1"), ALL, 2.6, floor=0.999, rate=8000),
    "go-pie": Server(go(GO_NEW, "0", ("-buildmode=pie", "-ldflags=-s -w")), ALL, 2.6, floor=0.999, rate=8000),
    "python": Server(python("threads.py"), ALL, 2.1, floor=0.4, rate=2000),
    "gunicorn-sync": Server(gunicorn("-w", "4"), PLAIN + ",/pool,/empty", 2, rate=1200, full=False),
    "gunicorn-gthread": Server(gunicorn("-w", "2", "-k", "gthread", "--threads", "8"), PLAIN + ",/pool,/empty", 2,
                               rate=900, full=False),
    "aiohttp": Server(python("aio.py"), ALL, 2, rate=1200),
    "uvicorn": Server(uvicorn, PLAIN + ",/pool", 3, rate=1500),
    "java": Server(java("sync"), ALL, 2.1, floor=0.5, rate=6000),
    "java-shared": Server(java("shared"), ALL, 3, rate=3000),
    "java-async": Server(java("async"), ALL, 2, rate=3000),
    "node": Server(node, ALL, 3, rate=3000),
    "webrick": Server(webrick, PLAIN + ",/chunked", 2, rate=500),
    "puma": Server(puma, PLAIN + ",/pool,/empty", 2, rate=1500),
    "c-threads": Server(c("threads"), PLAIN, 3, full=False, rate=10000, floor=0.5),
    "c-reactor": Server(c("reactor"), PLAIN, 3, full=False, rate=10000),
    "c-shared": Server(c("shared"), PLAIN, 3, full=False, rate=10000),
    "c-batched": Server(c("batched"), PLAIN, 3, full=False, rate=10000),
    "c-forks": Server(c("forks"), "/sync,/late", 3, full=False, rate=3000, floor=0.5),
    "nginx": Server(nginx('return 200 "$http_x_gt\\n";'), "/sync", 1, rate=15000, floor=0.6, asked=("access-log",)),
    "nginx-go": Server(nginx("proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection '';",
                             go(GO_NEW)), ALL, 3.6, rate=4000),
    "nginx-python": Server(nginx("proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection '';",
                                 python("threads.py")), ALL, 4, rate=600),
    "php": Server(php, "/sync,/late,/empty", 3, rate=2500),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    server: str
    concurrency: int
    mode: str             # close keepalive pipeline
    variant: str = "plain"  # plain, mix (wire and headers), split, jobs, late-start, late-mix,
                          # drop, drop-mix, stop, inline, no-uprobes, churn

    @property
    def name(self):
        return f"{self.server}:{self.concurrency}:{self.mode}" + (f":{self.variant}" if self.variant != "plain" else "")

    @property
    def spec(self):
        return SERVER[self.server]

    def load_flags(self):
        flags = ["--mode", self.mode, "--concurrency", str(self.concurrency), "--paths", self.spec.paths]
        if self.variant == "split" or (self.variant == "mix" and not self.spec.full):
            flags += ["--wire", "split"]
        elif self.variant in ("mix", "late-mix", "drop-mix"):
            flags += ["--wire", "mix"]
        if self.variant in ("mix", "late-mix", "drop-mix"):
            flags += ["--headers", "mix"]
        return flags

    def noise(self):
        return {"BACKGROUND": "200", "JOBS": "500" if self.variant == "jobs" else "0", "CHURN": str(int(self.variant == "churn"))}


STRESS = ("late-start", "late-mix", "drop", "drop-mix", "stop")


def matrix():
    cells = []
    for name, spec in SERVER.items():
        for concurrency in (1, 8, 64, 512):
            for mode in ("close", "keepalive"):
                cells.append(Cell(name, concurrency, mode))
        for variant in ("mix", "split", "jobs", *STRESS, "inline", "no-uprobes"):
            cells.append(Cell(name, 64, "keepalive", variant))
        cells.append(Cell(name, 64, "close", "mix"))
        if name.startswith("c-"):
            cells.append(Cell(name, 64, "close", "churn"))
        if spec.full and not name.startswith("nginx-"):
            cells.append(Cell(name, 8, "pipeline"))
            cells.append(Cell(name, 64, "pipeline", "mix"))
    return cells


QUICK = [
    "go:64:keepalive:mix", "go119:8:close", "go:8:pipeline", "go:64:keepalive:no-uprobes", "go:64:keepalive:drop",
    "go:64:keepalive:inline", "python:64:keepalive", "python:64:keepalive:mix", "java:8:close:mix",
    "java-shared:64:keepalive:jobs", "java-async:8:keepalive", "nginx:64:keepalive", "c-threads:64:close",
    "c-reactor:64:keepalive", "c-shared:64:keepalive:jobs", "c-batched:8:close", "c-threads:64:close:churn", "c-forks:8:close", "node:8:keepalive", "aiohttp:8:keepalive",
    "uvicorn:8:keepalive", "gunicorn-gthread:8:keepalive", "puma:8:keepalive", "php:8:keepalive",
]


def parse(name):
    parts = name.split(":")
    return Cell(parts[0], int(parts[1]), parts[2], parts[3] if len(parts) > 3 else "plain")


def select(patterns):
    """The cells that any pattern fits (`go:*`, `go:64:keepalive`); a name in full need not be of the matrix."""
    if not patterns:
        return matrix()
    chosen = []
    for pattern in patterns:
        found = [cell for cell in matrix() if fnmatch.fnmatchcase(cell.name, pattern)]
        if not found:
            found = [parse(pattern)]
        chosen += [cell for cell in found if cell not in chosen]
    return chosen
