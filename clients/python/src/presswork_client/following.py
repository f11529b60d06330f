"""A job's stream over as many connections as it takes. Pure: it decides where to connect, from which event, how long to
wait before that, and when it is over; the clients connect.

A stream that ended or broke is resumed with the id of the last event. After three requests in a row that gave no event
the job's status is asked for, as there are proxies that let no stream through; its end counts when three more gave
none either.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx2

from presswork_client.errors import PressworkError, UnexpectedAnswer, Unreachable
from presswork_client.events import ENDS, Event, EventReader
from presswork_client.exchange import UNSENT, final, may_pass, unreachable
from presswork_client.models import JobView
from presswork_client.patience import Backoff, spread
from presswork_client.problems import error_of, retry_after

SILENCE_S: Final = 45.0
"""Seconds without a byte after which a stream counts as broken: the service sends a heartbeat every 15."""

HELD_S: Final = 5.0
"""Seconds after which a connection that ended without an event counts as a good one: there was nothing to send."""

FRUITLESS_MAX: Final = 3
"""Requests in a row that reached the service and gave no event, after which the status is asked for."""

EVENT_MAX: Final = 64 * 1024 * 1024
"""Most bytes of one event: the last one carries the whole text."""

_PATH: Final = "/api/ai/job-events"
_ANOTHER_WAY: Final = frozenset({401, 403, 404, 405, 421})
"""Statuses of another origin after which the gateway's own is asked."""


class Known(NamedTuple):
    """The place of a reader: the id of the last event that it has, and the text that held then."""

    after: str = ""
    so_far: str = ""


class Follower:
    """The stream of one job. `ended`: there is nothing more to come."""

    def __init__(self, job_id: str, base: str, *, link: str | None, known: Known, patience_s: float) -> None:
        """`link`: address of the stream as a submit answered it."""
        self._reader = EventReader(job_id, known.so_far)
        self._base = base
        self._own = f"{base}{_PATH}?jobId={job_id}"
        self._url = self._own if link is None or _origin(urljoin(base, link)) == _origin(base) else link
        self._cursor = known.after
        self._backoff = Backoff(patience_s)
        self._fruitless = 0
        self._known_ended = False
        self._opened_at = 0.0
        self._eventful = False
        self._retry_s: float | None = None
        self.ended = False

    @property
    def url(self) -> str:
        """Address of the next connection."""
        return self._url

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the next connection."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        return headers | {"Last-Event-ID": self._cursor} if self._cursor else headers

    @property
    def foreign(self) -> bool:
        """Whether the next connection leads to another origin than the gateway's, which must not see the key."""
        return _origin(self._url) != _origin(self._base)

    @property
    def polls(self) -> bool:
        """Whether streams do not get through, and the status is to be asked for."""
        return self._fruitless >= FRUITLESS_MAX

    def opened(self, response: httpx2.Response) -> bool:
        """Take the head of an answer; whether it is a stream. False: read its body and call `refused`."""
        self._opened_at, self._eventful, self._retry_s = time.monotonic(), False, None
        if response.status_code == 204:
            self.ended = True
            return False
        return response.status_code == 200 and response.headers.get("content-type", "").startswith("text/event-stream")

    def refused(self, response: httpx2.Response) -> float:
        """Seconds to wait after an answer that is no stream. A PressworkError when it is final."""
        if self.foreign and response.status_code in _ANOTHER_WAY:
            self._url = self._own
            return 0.0
        error = UnexpectedAnswer("no event stream") if response.is_success else error_of(response)
        if not response.is_success and not may_pass(response.status_code, error):
            raise error
        return self._failed(error, retry_after(response))

    def take(self, message: httpx2.ServerSentEvent) -> Event | None:
        """The event of a message; None for one that only moves the cursor or sets the wait."""
        if message.retry is not None:
            self._retry_s = message.retry / 1000
        repeated = bool(message.id) and message.id == self._cursor
        self._cursor = message.id or self._cursor
        if not message.data or repeated:
            return None

        event = self._reader.read(message.event, self._cursor, _json(message.data))
        self._eventful, self._fruitless = True, 0
        self._backoff.succeeded()
        self.ended = message.event in ENDS
        return event

    def closed(self) -> float:
        """Seconds to wait after a stream that the service ended. Unreachable when patience is over."""
        wait = 0.0 if self._retry_s is None else spread(self._retry_s)
        if self._eventful:
            return wait
        if self._held:
            self._backoff.succeeded()
        return max(wait, self._failed(Unreachable("the service ends the stream before an event"), self._retry_s))

    def broke(self, error: httpx2.RequestError) -> float:
        """Seconds to wait after a connection that could not be opened, or broke. Unreachable when patience is over."""
        if final(error):
            raise unreachable(error) from error
        if self.foreign and not self._eventful:
            self._url = self._own
        if isinstance(error, httpx2.ReadTimeout):
            self._fruitless = FRUITLESS_MAX
        elif self._held:
            self._backoff.succeeded()
        return self._failed(unreachable(error), None, sent=not isinstance(error, UNSENT))

    def polled(self, view: JobView | None) -> Iterator[Event]:
        """The events that follow from a status: none, or the end, after a gap when text is missing. None: it did not
        come either."""
        if view is None:
            self._fruitless = 0
            return

        self._backoff.succeeded()
        if not view.ended or not self._known_ended:
            self._known_ended, self._fruitless = view.ended, 0
            return

        if self._reader.text != (view.text or ""):
            gap = {"jobId": view.job_id, "status": view.status, "text": view.text}
            yield self._reader.read("gap", self._cursor, gap)
        self.ended = True
        yield self._reader.read(view.status, "", dict(view.raw))

    @property
    def _held(self) -> bool:
        return self._opened_at > 0 and time.monotonic() - self._opened_at >= HELD_S

    def _failed(self, error: PressworkError, asked_s: float | None, *, sent: bool = True) -> float:
        self._fruitless += sent
        self._opened_at, self._eventful = 0.0, False
        wait = self._backoff.next(asked_s)
        if wait is None:
            raise error
        return wait


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise UnexpectedAnswer("the stream holds something else than JSON: is this a Presswork gateway?") from None
