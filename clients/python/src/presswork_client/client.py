"""The client for ordinary code. `async_client` has the same for coroutines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from presswork_client.errors import Problem
from presswork_client.events import Event
from presswork_client.exchange import Call, Pause, Steps
from presswork_client.following import EVENT_MAX, Follower, Known
from presswork_client.models import JobView, UsageReport
from presswork_client.operations import Accepted, Operations
from presswork_client.requests import JobOptions, JobRequest, batch_item, batches, with_defaults
from presswork_client.settings import read_settings
from presswork_client.transport import PATIENCE_S, Requests, options

ResultT = TypeVar("ResultT")


class Presswork:
    """A connection to a Presswork gateway. Threads may share it.

    `url`, `key`, `organization`, `project` and `user` are taken from the environment (`PRESSWORK_URL`,
    `PRESSWORK_API_KEY`, …) or from a file where they are left out. `patience`: s for which a call is repeated, and a
    stream resumed, while the service does not answer. `http`: a client of your own, which you close.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        organization: str | None = None,
        project: str | None = None,
        user: str | None = None,
        patience: float = PATIENCE_S,
        http: httpx2.Client | None = None,
    ) -> None:
        given = {"url": url, "key": key, "organization": organization, "project": project, "user": user}
        settings = read_settings(given)
        self._operations = Operations(settings, patience)
        self._requests = Requests(settings)
        self._own = http is None
        self._http = httpx2.Client(**options(settings)) if http is None else http

    def submit(self, prompt: str, *, idempotency_key: str | None = None, **job: Unpack[JobOptions]) -> Job:
        """Submit a job. It is one job, however often it has to be sent.

        `idempotency_key`: give one that you keep where your own code repeats the call, also after a crash.
        """
        return self._job(self._drive(self._operations.submit(prompt, job, idempotency_key)))

    def submit_many(self, jobs: Iterable[str | JobRequest]) -> list[Job | Problem]:
        """Submit prompts, or jobs with options, in batches; one answer for each, in order. A job that was refused is
        answered by its error, which is not raised."""
        return self.submit_bodies(batch_item(self._operations.settings, job) for job in jobs)

    def submit_bodies(self, bodies: Iterable[Mapping[str, Any]]) -> list[Job | Problem]:
        """The same for bodies as the API has them (`maxTokens`), such as lines of a file; each should have an
        `idempotencyKey`."""
        answers: list[Job | Problem] = []
        for batch in batches(with_defaults(self._operations.settings, body) for body in bodies):
            found = self._drive(self._operations.submit_batch(batch))
            answers += [one if isinstance(one, Problem) else self._job(one) for one in found]
        return answers

    def job(self, job_id: str) -> Job:
        """The job with an id; asks nothing yet."""
        return Job(self, job_id, None)

    def jobs(self, *, status: str | None = None, organization: str | None = None) -> Iterator[JobView]:
        """All jobs of an organisation that are listed, newest first, without their texts."""
        cursor = None
        while True:
            page, cursor = self._drive(self._operations.page(organization, status, cursor))
            yield from page
            if cursor is None:
                return

    def usage(
        self, first: date | None = None, last: date | None = None, *, organization: str | None = None
    ) -> UsageReport:
        """Usage and cost from `first` to `last`, both included (UTC); left out: this month."""
        return self._drive(self._operations.usage(first, last, organization))

    def stats(self) -> dict[str, Any]:
        """The number of jobs in each state."""
        return self._drive(self._operations.stats())

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Any other call of the API (`/api/…`); answers its JSON. `repeatable`: may be sent again when its answer is
        lost; left out: unless it is a POST."""
        again = method != "POST" if repeatable is None else repeatable
        call = Call(method=method, path=path, params=params or {}, body=body, repeatable=again)
        return self._drive(self._operations.call(call))

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _job(self, accepted: Accepted) -> Job:
        return Job(self, accepted.job_id, accepted.events)

    def _drive(self, steps: Steps[ResultT]) -> ResultT:
        """Carry out the steps of an operation; its result."""
        answer: httpx2.Response | httpx2.RequestError | None = None
        while True:
            try:
                step = steps.throw(answer) if isinstance(answer, httpx2.RequestError) else steps.send(answer)
            except StopIteration as end:
                result: ResultT = end.value
                return result
            answer = self._carry_out(step)

    def _carry_out(self, step: Call | Pause) -> httpx2.Response | httpx2.RequestError | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.request(**self._requests.of_call(step))
        except httpx2.RequestError as error:
            return error

    def _follow(self, follower: Follower, job_id: str) -> Iterator[Event]:
        """The events of a job to its end."""
        while not follower.ended:
            if follower.polls:
                yield from follower.polled(self._drive(self._operations.glance(job_id)))
                continue
            try:
                with self._http.stream(**self._requests.of_stream(follower)) as response:
                    if follower.opened(response):
                        self._requests.allow_silence(response)
                        for message in httpx2.EventSource(response, EVENT_MAX):
                            if (event := follower.take(message)) is not None:
                                yield event
                            if follower.ended:
                                return
                        wait = follower.closed()
                    else:
                        response.read()
                        wait = follower.refused(response)
            except httpx2.RequestError as error:
                wait = follower.broke(error)
            time.sleep(wait)


class Job:
    """A job; `id` names it."""

    def __init__(self, client: Presswork, job_id: str, events: str | None) -> None:
        self._client = client
        self._operations = client._operations
        self._events = events
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def result(self, *, timeout: float | None = None) -> JobView:
        """Wait for the end, at most `timeout` s; the completed job: `text`, `usage`, `cost_usd`, ….

        JobFailed, JobCancelled; WaitTimeout: it goes on.
        """
        return self._client._drive(self._operations.result(self.id, timeout))

    def text(self, *, timeout: float | None = None) -> str:
        """Wait for the end; the generated text. Errors as of `result`."""
        return self.result(timeout=timeout).text or ""

    def json(self, *, timeout: float | None = None) -> Any:
        """Wait for the end of a job with a `response_schema`; its text, read as JSON. Errors as of `result`."""
        return self.result(timeout=timeout).json()

    def events(self, *, after: str = "", so_far: str = "") -> Iterator[Event]:
        """The events to the end of the job, each once and in order, over as many connections as it takes.

        `after`, `so_far`: those of the last event that you have, to go on from there. An event's `so_far` is the text
        that holds then: of the running attempt, also after a gap.
        """
        known, patience_s = Known(after, so_far), self._operations.patience_s
        base = self._operations.settings.url
        follower = Follower(self.id, base, link=self._events, known=known, patience_s=patience_s)
        return self._client._follow(follower, self.id)

    def status(self, *, wait: float = 0.0) -> JobView:
        """Return the job as it stands; with `wait` (s, at most 30) as soon as it has ended."""
        return self._client._drive(self._operations.status(self.id, wait))

    def cancel(self) -> JobView:
        """End the job; answers it as it ended. JobEnded when it had ended otherwise."""
        return self._client._drive(self._operations.cancel(self.id))

    def retry(self) -> Job:
        """The one new job that a failed or cancelled one gets; called again, the same. JobNotFailed."""
        return self._client._job(self._client._drive(self._operations.retry(self.id)))

    def delete(self) -> None:
        """Delete the job and its texts; a running one is cancelled first."""
        self._client._drive(self._operations.delete(self.id))

    def ticket(self) -> str:
        """Address with which a browser's `EventSource` opens the stream of this job, and nothing else."""
        return self._client._drive(self._operations.ticket(self.id))
