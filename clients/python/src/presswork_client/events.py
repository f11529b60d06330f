"""Events of a job's stream. Each carries `so_far`: the text that holds when it has happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from presswork_client.errors import UnexpectedAnswer
from presswork_client.models import JobView, Json
from presswork_client.reading import time_of, view_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; of a kind that this release does not know when it is of none of the classes below.

    `id` resumes a stream after it (`events(after=…)`); a gap has that of the event before, and an end that no stream
    brought has none. `so_far`: the text of the running attempt, up to and with this event. `raw`: its JSON.
    """

    kind: str
    id: str
    job_id: str
    so_far: str
    raw: Json = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(Event):
    """The job is in the queue."""

    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing(Event):
    """An attempt began: text of an earlier one is void."""

    attempt: int
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta(Event):
    """A piece of the text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying(Event):
    """The attempt ended without a result and the job waits again. `reason`: error, worker_lost, drain, rate_limited,
    schema_mismatch."""

    reason: str
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(Event):
    """Some events are no longer kept: `so_far` is the text as it is now, which replaces what was shown.

    `status` is that of the job; `gone`: there is no such job any more.
    """

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Event):
    """The last event. `view`: the job as it ended."""

    view: JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(End):
    """The job is completed: `so_far` is its whole text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(End):
    """The job failed; `view.error` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(End):
    """The job was cancelled; `so_far` is the part that came."""


ENDS: Final[Mapping[str, type[End]]] = {"completed": Completed, "failed": Failed, "cancelled": Cancelled}


class EventReader:
    """Makes events of the bytes of a stream, and keeps the text that holds."""

    def __init__(self, job_id: str, so_far: str = "") -> None:
        self._job_id = job_id
        self.text = so_far

    def read(self, kind: str, event_id: str, found: Any) -> Event:
        """The event of a message. UnexpectedAnswer for one that is not about this job."""
        if not isinstance(found, dict) or found.get("jobId") != self._job_id:
            raise UnexpectedAnswer("the stream is not that of the job: is this a Presswork gateway?")
        if kind == "processing":
            self.text = ""
        elif kind == "delta":
            self.text += str(found.get("text", ""))
        elif kind == "gap":
            self.text = str(found.get("text") or "")
        elif kind in ENDS and isinstance(found.get("result"), str):
            self.text = found["result"]
        return self._event(kind, {"kind": kind, "id": event_id, "job_id": self._job_id, "so_far": self.text}, found)

    @staticmethod
    def _event(kind: str, common: dict[str, Any], found: dict[str, Any]) -> Event:
        made, own = _KINDS.get(kind, (Event, _nothing))
        return made(**common, **own(found), raw=found)


def _nothing(_: Json) -> dict[str, Any]:
    return {}


def _end(found: Json) -> dict[str, Any]:
    return {"view": view_of(found)}


_KINDS: Final[Mapping[str, tuple[type[Event], Callable[[Json], dict[str, Any]]]]] = {
    "queued": (Queued, lambda found: {"created_at": time_of(found.get("createdAt"))}),
    "processing": (
        Processing,
        lambda found: {"attempt": int(found.get("attempt", 1)), "started_at": time_of(found.get("startedAt"))},
    ),
    "delta": (Delta, lambda found: {"text": str(found.get("text", ""))}),
    "retrying": (
        Retrying,
        lambda found: {
            "reason": str(found.get("reason", "")),
            "next_attempt_at": time_of(found.get("nextAttemptAt")),
        },
    ),
    "gap": (Gap, lambda found: {"status": str(found.get("status", ""))}),
    **{kind: (made, _end) for kind, made in ENDS.items()},
}
