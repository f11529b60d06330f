"""The calls of the API as steps: written once, carried out by both clients."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urljoin

from presswork_client.errors import (
    JobCancelled,
    JobFailed,
    OrganizationLimit,
    Problem,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WaitTimeout,
)
from presswork_client.exchange import READ_S, Call, Pause, Steps, exchange
from presswork_client.models import JobView, UsageReport
from presswork_client.patience import Backoff
from presswork_client.problems import problem
from presswork_client.reading import report_of, view_of
from presswork_client.requests import body_of, new_key
from presswork_client.settings import Settings

WAIT_S: Final = 20.0
"""Seconds that one call waits for the end of a job."""

POLL_S: Final = 0.5
"""Least time between two of them: a service that does not wait is not asked without a pause."""

PAGE: Final = 100
_API: Final = "/api/ai"
_SUBMIT: Final = f"{_API}/generate-content"


class Accepted(NamedTuple):
    """A job that is in the queue, and the address of its stream."""

    job_id: str
    events: str | None


class Operations:
    """Calls of one caller. `patience_s`: how long a call is repeated."""

    def __init__(self, settings: Settings, patience_s: float) -> None:
        self.settings = settings
        self.patience_s = patience_s

    def call(self, call: Call) -> Steps[dict[str, Any]]:
        """Any call, with its repetitions."""
        return exchange(call, self.patience_s)

    def submit(self, prompt: str, options: Mapping[str, Any], idempotency_key: str | None) -> Steps[Accepted]:
        """Submit a job."""
        body = body_of(self.settings, prompt, options)
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        answer = yield from self.call(Call(method="POST", path=_SUBMIT, body=body, headers=headers))
        return _accepted(answer)

    def submit_batch(self, items: Sequence[dict[str, Any]]) -> Steps[list[Accepted | Problem]]:
        """Submit at most `BATCH_MAX` jobs, each with a key; those that may be taken a little later are sent again."""
        answers: dict[int, Accepted | Problem] = {}
        left = list(range(len(items)))
        backoff = Backoff(self.patience_s)
        while True:
            body = {"jobs": [items[i] for i in left]}
            found = yield from self.call(Call(method="POST", path=f"{_SUBMIT}/batch", body=body))
            listed = found.get("jobs")
            if not isinstance(listed, list) or len(listed) != len(left):
                raise UnexpectedAnswer("the batch has not one answer for each job")
            answers |= {i: _answer(one) for i, one in zip(left, listed, strict=True)}

            again = [i for i in left if _passing(answers[i])]
            if len(again) < len(left):
                backoff.succeeded()
            wait = backoff.next() if again else None
            if wait is None:
                return [answers[i] for i in range(len(items))]
            left = again
            yield Pause(wait)

    def status(self, job_id: str, wait_s: float = 0.0, *, patience_s: float | None = None) -> Steps[JobView]:
        """The job as it stands, or as soon as it has ended."""
        params: dict[str, Any] = {"jobId": job_id} | ({"wait": round(wait_s, 3)} if wait_s else {})
        call = Call(path=f"{_API}/job-status", params=params, read_s=READ_S + wait_s)
        patience_s = self.patience_s if patience_s is None else patience_s
        return view_of((yield from exchange(call, patience_s)))

    def glance(self, job_id: str) -> Steps[JobView | None]:
        """The same, waiting for its end, tried once; None when the service does not answer."""
        try:
            return (yield from self.status(job_id, WAIT_S, patience_s=0.0))
        except (Unreachable, Unavailable):
            return None

    def end(self, job_id: str, timeout_s: float | None) -> Steps[JobView]:
        """The job once it has ended. WaitTimeout."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            began = time.monotonic()
            wait_s = WAIT_S if deadline is None else max(0.0, min(WAIT_S, deadline - began))
            view = yield from self.status(job_id, wait_s)
            if view.ended:
                return view

            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise WaitTimeout(f"{job_id} is {view.status} after {timeout_s:g} s; it goes on")
            if now - began < POLL_S:
                yield Pause(POLL_S)

    def result(self, job_id: str, timeout_s: float | None) -> Steps[JobView]:
        """The completed job. JobFailed or JobCancelled otherwise, WaitTimeout."""
        return completed((yield from self.end(job_id, timeout_s)))

    def cancel(self, job_id: str) -> Steps[JobView]:
        """End a job. JobEnded when it had ended otherwise."""
        return view_of((yield from self.call(Call(method="POST", path=f"{_API}/jobs/{_in_path(job_id)}/cancel"))))

    def retry(self, job_id: str) -> Steps[Accepted]:
        """Make the one new job of a failed or cancelled one."""
        return _accepted((yield from self.call(Call(method="POST", path=f"{_API}/jobs/{_in_path(job_id)}/retry"))))

    def delete(self, job_id: str) -> Steps[None]:
        """Delete a job."""
        yield from self.call(Call(method="DELETE", path=f"{_API}/jobs/{_in_path(job_id)}"))

    def page(
        self, organization: str | None, status: str | None, cursor: str | None, limit: int = PAGE
    ) -> Steps[tuple[list[JobView], str | None]]:
        """A page of jobs, newest first, and the cursor of the next."""
        params = self._named(organization) | {"status": status, "cursor": cursor, "limit": limit}
        found = yield from self.call(Call(path=f"{_API}/jobs", params=_given(params)))
        return [view_of(one) for one in found.get("jobs", ())], found.get("cursor")

    def usage(self, first: date | None, last: date | None, organization: str | None) -> Steps[UsageReport]:
        """Usage by day, project and model; several calls when there is much of it."""
        params = self._named(organization) | {"from": first, "to": last}
        pages = []
        while True:
            found = yield from self.call(Call(path=f"{_API}/usage", params=_given(params)))
            pages.append(found)
            if not found.get("next"):
                return report_of(pages)
            params |= {"from": found["next"], "to": found["to"]}

    def stats(self) -> Steps[dict[str, Any]]:
        """The number of jobs in each state."""
        return dict((yield from self.call(Call(path=f"{_API}/queue-stats")))["stats"])

    def ticket(self, job_id: str) -> Steps[str]:
        """Whole address with which a browser opens the stream of a job."""
        call = Call(method="POST", path=f"{_API}/event-tickets", body={"jobId": job_id})
        return urljoin(self.settings.url, str((yield from self.call(call))["events"]))

    def _named(self, organization: str | None) -> dict[str, Any]:
        return {"organizationId": organization or self.settings.organization or None}


def completed(view: JobView) -> JobView:
    """The same job if it is completed; JobFailed or JobCancelled otherwise."""
    if view.status == "failed":
        reason = "" if view.error is None else f": {view.error.type}: {view.error.message}"
        raise JobFailed(f"{view.job_id} failed{reason}", view)
    if view.status == "cancelled":
        raise JobCancelled(f"{view.job_id} was cancelled", view)
    return view


def _accepted(found: Mapping[str, Any]) -> Accepted:
    if not isinstance(found.get("jobId"), str):
        raise UnexpectedAnswer("the answer names no job: is this a Presswork gateway?")
    return Accepted(found["jobId"], (found.get("links") or {}).get("events"))


def _answer(found: Mapping[str, Any]) -> Accepted | Problem:
    if refused := found.get("error"):
        return problem(int(refused.get("status", 500)), refused)
    return _accepted(found)


def _passing(answer: Accepted | Problem) -> bool:
    """Whether the same job may be taken a little later."""
    return isinstance(answer, OrganizationLimit) or (isinstance(answer, Problem) and answer.status == 503)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _in_path(job_id: str) -> str:
    return quote(job_id, safe="")
