"""A server that speaks OpenAI's chat completions and behaves as the name of the model says."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

OUTAGE_S: Final = 60.0
OUTAGE_EVERY_S: Final = 240.0
"""The model `writer` answers nothing but 500 for the first of these times out of every second one."""

RETRY_AFTER_S: Final = 45
CALLS_A_MINUTE: Final = 8
"""Of the model `editor`: beyond them it answers 429."""

FAILURES: Final = 0.05
"""Share of the calls of `copywriter` that fail."""

TOKENS_A_SECOND: Final = {"copywriter": 25.0, "essayist": 9.0, "writer": 40.0, "editor": 30.0, "house": 50.0}

_OPENINGS: Final = (
    "Meet the small change that your mornings were waiting for.", "Some launches shout. This one simply works.",
    "We asked forty teams about their week, and then built this.", "Less to manage, more to show for it.",
)  # fmt: skip
_SENTENCES: Final = (
    "It takes the work that nobody wants and gives back the hours that everybody needs.",
    "Set it up before lunch, and see the first results on the same day.",
    "Every figure can be traced to its source, so that no meeting is about whose numbers are right.",
    "Your customers will notice the difference before you tell them.",
    "It fits the tools that you have, and asks for no new habits.",
    "Start with one project; the rest of the team will ask for it.",
)  # fmt: skip


class Vendor:
    """The state of the simulated vendor."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._calls: list[float] = []

    def refusal(self, model: str, prompt: str) -> tuple[int, str, dict[str, str]] | None:
        """Status, type and headers of the answer to a call that is refused; None: it is served."""
        if model == "writer" and (time.monotonic() - self._began) % OUTAGE_EVERY_S < OUTAGE_S:
            return 500, "server_error", {}
        if model == "editor" and self._is_over():
            return 429, "rate_limit_error", {"Retry-After": str(RETRY_AFTER_S)}
        if model == "copywriter" and random.random() < FAILURES:
            return 503, "overloaded", {}
        if model == "house" and "guaranteed" in prompt:
            return 400, "content_filter", {}
        return None

    def _is_over(self) -> bool:
        """Whether a call is one too many in this minute."""
        with self._lock:
            now = time.monotonic()
            self._calls = [at for at in self._calls if now - at < 60]
            if len(self._calls) >= CALLS_A_MINUTE:
                return True
            self._calls.append(now)
            return False


def _words() -> list[str]:
    text = " ".join([random.choice(_OPENINGS), *random.sample(_SENTENCES, random.randint(3, 6))])
    return [f"{' ' if i else ''}{word}" for i, word in enumerate(text.split())]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vendor: Vendor

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        model, prompt = asked["model"], str(asked["messages"][-1]["content"])
        refused = self.vendor.refusal(model, prompt)
        if refused is not None:
            self._refuse(*refused)
            return

        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):  # the caller left: its job was cancelled
            for data in _stream(model, len(prompt.split())):
                self.wfile.write(f"data: {data}\n\n".encode())
                self.wfile.flush()

    def _refuse(self, status: int, kind: str, headers: dict[str, str]) -> None:
        error = {"type": kind, "code": kind, "message": "the simulated vendor refuses on purpose", "param": None}
        body = json.dumps({"error": error}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name for it
        """Say nothing."""


def _stream(model: str, prompt_words: int) -> Iterator[str]:
    """The events of an answer, at the model's pace."""
    head = {"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 1, "model": model}
    words, pause_s = _words(), 1 / TOKENS_A_SECOND.get(model, 40.0)
    time.sleep(random.uniform(0.3, 1.2))
    for word in words:
        yield json.dumps(head | {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
        time.sleep(pause_s)
    yield json.dumps(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage: dict[str, Any] = {"prompt_tokens": prompt_words * 2 + 60, "completion_tokens": len(words) * 2}
    usage["total_tokens"] = sum(itertools.chain(usage.values()))
    yield json.dumps(head | {"choices": [], "usage": usage})
    yield "[DONE]"


@contextmanager
def running() -> Iterator[str]:
    """The base URL of a vendor on a free port of loopback, for the length of the block."""
    handler = type("Bound", (_Handler,), {"vendor": Vendor()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
