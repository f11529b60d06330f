"""A service that answers the example front end with the answers of a test, on the page's own origin."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.chromium import Page
from tests.support.processes import ROOT

FRONTEND = ROOT / "examples/frontend"

JOB = "ai-job-1737465123456-abc123def"
OTHER = "ai-job-1737465123457-abc123xyz"
ERROR = "document.getElementById('error').textContent"


QUEUED = ("queued", {"jobId": JOB})
PROCESSING = ("processing", {"jobId": JOB, "attempt": 1})
HELLO = ("delta", {"jobId": JOB, "text": "Hello "})
WORLD = ("delta", {"jobId": JOB, "text": "world"})
COMPLETED = ("completed", {"jobId": JOB, "result": "Hello world", "provider": "demo", "model": "demo"})
WHOLE = (PROCESSING, HELLO, WORLD, COMPLETED)
FAILED = ("failed", {"jobId": JOB, "error": {"type": "Timeout", "message": "It took too long"}})
CANCELLED = ("cancelled", {"jobId": JOB, "result": "Hello "})
STATUS = {"jobId": JOB, "status": "completed", "result": "Hello world"}


class StaticFiles(SimpleHTTPRequestHandler):
    """The front end's files as they are, but for `config.js`, which every operator writes."""

    config = ""

    def do_GET(self) -> None:
        if self.path != "/config.js":
            super().do_GET()
            return
        body = self.config.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name for it
        """Say nothing."""


@contextmanager
def serving_files(folder: Path) -> Iterator[tuple[str, type[StaticFiles]]]:
    """Address of the files of a folder, and the handler whose `config` is served beside them."""
    handler = type("Configured", (StaticFiles,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


class Answer(NamedTuple):
    """`cut`: so many bytes are promised and not sent. `until`: the answer's end waits for it."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    cut: int = 0
    until: threading.Event | None = None


def said(content: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; `retry_after="1"` is a header."""
    names = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, json.dumps(content).encode(), headers=names)


def accepted(job_id: str = JOB) -> Answer:
    """The answer to a submit."""
    links = {"status": "", "events": f"/api/ai/job-events?jobId={job_id}", "cancel": ""}
    return said({"jobId": job_id, "status": "queued", "links": links}, 202)


def streamed(*events: tuple[str, dict[str, Any]], until: threading.Event | None = None, retry: int = 20) -> Answer:
    """A stream of these events, which ends at once or when `until` is set."""
    lines = [f"retry: {retry}\n\n"]
    lines += [f"id: x-{i}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for i, (kind, data) in enumerate(events)]
    return Answer(200, "".join(lines).encode(), "text/event-stream", until=until)


class Request(NamedTuple):
    """A request of the page."""

    key: str
    body: str


@dataclass
class Service:
    """`answers` of a route are given in turn, the last one repeatedly. `asked`: the requests, by route."""

    origin: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: dict[str, list[Request]] = field(default_factory=lambda: defaultdict(list))

    def next(self, route: str, request: Request) -> Answer:
        """Note a request; returns its answer."""
        self.asked[route].append(request)
        left = self.answers.get(route) or [Answer(404)]
        return left.pop(0) if len(left) > 1 else left[0]


class Seen(NamedTuple):
    """A page at its service."""

    page: Page
    service: Service

    async def write(self, prompt: str = "Say hello") -> None:
        """Fill in the form and send it."""
        await self.page.fill("#prompt", prompt)
        await self.page.click("#submit")

    async def hurry(self, times: float) -> None:
        """Shorten every pause that the page makes from now on."""
        await self.page.evaluate(
            f"{{const real = setTimeout; window.setTimeout = (call, ms) => real(call, ms / {times});}}"
        )

    async def status(self, wanted: str, seconds: float = 20) -> None:
        """Wait until the page shows a job of this status."""
        await self.page.until(f"document.body.dataset.status === '{wanted}'", seconds=seconds)

    async def shows(self, text: str) -> None:
        """Wait until the page shows this text, and no other."""
        await self.page.until(f"document.getElementById('text').textContent === {text!r}")


class _Handler(StaticFiles):
    config = "window.PRESSWORK = {};"
    service: Service

    def do_GET(self) -> None:
        if self.path.startswith("/api/ai/job-status"):
            self._answer("status")
        elif self.path.startswith("/api/ai/job-events"):
            self._answer("events")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        last = self.path.rpartition("/")[2]
        self._answer({"cancel": "cancel", "event-tickets": "ticket"}.get(last, "submit"))

    def _answer(self, route: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        answer = self.service.next(route, Request(self.headers.get("Idempotency-Key", ""), body))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.kind != "text/event-stream":
            self.send_header("Content-Length", str(len(answer.body) + answer.cut))
        self.end_headers()
        if answer.kind == "text/event-stream":
            self.wfile.write(answer.body)
        if answer.until is not None:
            answer.until.wait(30)
        if answer.kind != "text/event-stream":
            self.wfile.write(answer.body)


@contextmanager
def running() -> Iterator[Service]:
    """The front end and its service."""
    service = Service()
    handler = type("Bound", (_Handler,), {"service": service})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(FRONTEND))) as server:
        server.daemon_threads = True
        service.origin = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield service
        server.shutdown()
        thread.join()
