"""Behaviour and records of the simulated OpenAI and Anthropic server, and a test's access to both."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Literal

import msgspec

EVERY_MODEL = "*"


class Failing(msgspec.Struct, forbid_unknown_fields=True):
    """Answers with `status` the `first` so many calls, or for `seconds`; without either, always."""

    status: int
    retry_after: float | None = None
    headers: dict[str, str] = {}
    body: Any = None
    first: int | None = None
    seconds: float | None = None


class Refusal(msgspec.Struct, forbid_unknown_fields=True):
    """Answers calls that have `parameter` in their body so; `system`: with instructions in a role of their own."""

    parameter: str
    status: int
    body: Any = None

    def fits(self, body: dict[str, Any]) -> bool:
        """Whether a call is refused."""
        if self.parameter == "system":
            return "system" in body or any(message.get("role") == "system" for message in body.get("messages", ()))
        return self.parameter in body


class Behaviour(msgspec.Struct, forbid_unknown_fields=True):
    """Answers to calls of a model.

    `tokens` pieces of text, `gap_s` apart, the first after `first_token_s` and up to `first_spread_s` more, at random.
    `stamped`: each is `llm_dialects.STAMP` with the moment it is written. After `cut_after` pieces the stream ends
    as `cut` says. `raw`: send these strings as the body instead, then do as `cut` says (None: end it in order).
    `content_type`: of an answer. `refuses`: fields that calls may not have, in this order. `endless`: with a gap, the
    pieces come again and again, until `/_release`.
    """

    tokens: int = 16
    first_token_s: float = 0.0
    first_spread_s: float = 0.0
    stamped: bool = False
    endless: bool = False
    gap_s: float = 0.0
    usage: bool = True
    fail: Failing | None = None
    refuses: list[Refusal] = []
    cut: Literal["end", "drop", "stall"] | None = None
    cut_after: int = 0
    raw: list[str] | None = None
    content_type: str | None = "text/event-stream"
    keep_bodies: bool = False


class Call(msgspec.Struct):
    """One call that arrived. Times in s since the epoch; `end` is None while its stream is open."""

    at: float
    model: str
    dialect: str
    status: int
    tokens: int = 0
    end: Literal["answered", "complete", "cut", "disconnected"] | None = None
    ended_at: float | None = None
    body: Any = None
    headers: dict[str, str] | None = None
    path: str = ""


class State:
    """The server's behaviour and its records."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything but open streams."""
        self.behaviours: dict[str, Behaviour] = {}
        self.told_at: dict[str, float] = {}
        self.calls: deque[Call] = deque(maxlen=200_000)
        self.peak = 0
        self.connections = 0
        self.open: set[object] = getattr(self, "open", set())

    def tell(self, model: str, behaviour: Behaviour) -> None:
        """Calls of `model` (or EVERY_MODEL) that have no behaviour of their own are answered so from now on."""
        self.behaviours[model] = behaviour
        self.told_at[model] = time.monotonic()

    def release(self) -> None:
        """Endless streams end with their next piece."""
        for behaviour in self.behaviours.values():
            behaviour.endless = False

    def answer_to(self, model: str) -> tuple[Behaviour, Failing | None]:
        """The behaviour of this call, and the failure if it is to fail."""
        name = model if model in self.behaviours else EVERY_MODEL
        behaviour = self.behaviours.get(name) or Behaviour()
        failing = behaviour.fail
        if failing is None:
            return behaviour, None
        if failing.seconds is not None and time.monotonic() - self.told_at[name] >= failing.seconds:
            return behaviour, None
        if failing.first is not None:
            if failing.first == 0:
                return behaviour, None
            failing.first -= 1
        return behaviour, failing


class Control:
    """Routes for a test, all with POST or GET alike.

    `/_behaviour?model=NAME` (none: every model) takes a `Behaviour`; `/_calls?model=NAME` answers the `Call`s;
    `/_stats` answers `calls`, streams `open` and at their `peak`, `connections`; `/_release` ends the endless streams;
    `/_reset` forgets all of it.
    """

    def __init__(self, state: State, respond: Any) -> None:
        self._state = state
        self._respond = respond

    def handle(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        """Answer one request."""
        (model,) = query.get("model", [EVERY_MODEL])
        if path == "/_behaviour":
            try:
                self._state.tell(model, msgspec.json.decode(body, type=Behaviour))
            except msgspec.MsgspecError as error:
                self._respond(400, {"error": str(error)})
                return
        elif path == "/_release":
            self._state.release()
        elif path == "/_reset":
            self._state.reset()
        elif path == "/_calls":
            self._respond(200, [call for call in self._state.calls if model in (EVERY_MODEL, call.model)])
            return
        elif path != "/_stats":
            self._respond(404, {})
            return
        state = self._state
        self._respond(200, {
            "calls": len(state.calls), "open": len(state.open), "peak": state.peak, "connections": state.connections,
        })  # fmt: skip
