"""The client for coroutines, on asyncio or trio. `client` has the same for ordinary code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import anyio
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


class AsyncPresswork:
    """A connection to a Presswork gateway. Tasks of one event loop may share it.

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
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        given = {"url": url, "key": key, "organization": organization, "project": project, "user": user}
        settings = read_settings(given)
        self._operations = Operations(settings, patience)
        self._requests = Requests(settings)
        self._own = http is None
        self._http = httpx2.AsyncClient(**options(settings)) if http is None else http

    async def submit(self, prompt: str, *, idempotency_key: str | None = None, **job: Unpack[JobOptions]) -> AsyncJob:
        """Submit a job. It is one job, however often it has to be sent.

        `idempotency_key`: give one that you keep where your own code repeats the call, also after a crash.
        """
        return self._job(await self._drive(self._operations.submit(prompt, job, idempotency_key)))

    async def submit_many(self, jobs: Iterable[str | JobRequest]) -> list[AsyncJob | Problem]:
        """Submit prompts, or jobs with options, in batches; one answer for each, in order. A job that was refused is
        answered by its error, which is not raised."""
        return await self.submit_bodies(batch_item(self._operations.settings, job) for job in jobs)

    async def submit_bodies(self, bodies: Iterable[Mapping[str, Any]]) -> list[AsyncJob | Problem]:
        """The same for bodies as the API has them (`maxTokens`), such as lines of a file; each should have an
        `idempotencyKey`."""
        answers: list[AsyncJob | Problem] = []
        for batch in batches(with_defaults(self._operations.settings, body) for body in bodies):
            found = await self._drive(self._operations.submit_batch(batch))
            answers += [one if isinstance(one, Problem) else self._job(one) for one in found]
        return answers

    def job(self, job_id: str) -> AsyncJob:
        """The job with an id; asks nothing yet."""
        return AsyncJob(self, job_id, None)

    async def jobs(self, *, status: str | None = None, organization: str | None = None) -> AsyncIterator[JobView]:
        """All jobs of an organisation that are listed, newest first, without their texts."""
        cursor = None
        while True:
            page, cursor = await self._drive(self._operations.page(organization, status, cursor))
            for one in page:
                yield one
            if cursor is None:
                return

    async def usage(
        self, first: date | None = None, last: date | None = None, *, organization: str | None = None
    ) -> UsageReport:
        """Usage and cost from `first` to `last`, both included (UTC); left out: this month."""
        return await self._drive(self._operations.usage(first, last, organization))

    async def stats(self) -> dict[str, Any]:
        """The number of jobs in each state."""
        return await self._drive(self._operations.stats())

    async def call(
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
        return await self._drive(self._operations.call(call))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _job(self, accepted: Accepted) -> AsyncJob:
        return AsyncJob(self, accepted.job_id, accepted.events)

    async def _drive(self, steps: Steps[ResultT]) -> ResultT:
        """Carry out the steps of an operation; its result."""
        answer: httpx2.Response | httpx2.RequestError | None = None
        while True:
            try:
                step = steps.throw(answer) if isinstance(answer, httpx2.RequestError) else steps.send(answer)
            except StopIteration as end:
                result: ResultT = end.value
                return result
            answer = await self._carry_out(step)

    async def _carry_out(self, step: Call | Pause) -> httpx2.Response | httpx2.RequestError | None:
        if isinstance(step, Pause):
            await anyio.sleep(step.seconds)
            return None
        try:
            return await self._http.request(**self._requests.of_call(step))
        except httpx2.RequestError as error:
            return error

    async def _follow(self, follower: Follower, job_id: str) -> AsyncIterator[Event]:
        """The events of a job to its end."""
        while not follower.ended:
            if follower.polls:
                view = await self._drive(self._operations.glance(job_id))
                for followed in follower.polled(view):
                    yield followed
                continue
            try:
                async with self._http.stream(**self._requests.of_stream(follower)) as response:
                    if follower.opened(response):
                        self._requests.allow_silence(response)
                        async for message in httpx2.EventSource(response, EVENT_MAX):
                            if (event := follower.take(message)) is not None:
                                yield event
                            if follower.ended:
                                return
                        wait = follower.closed()
                    else:
                        await response.aread()
                        wait = follower.refused(response)
            except httpx2.RequestError as error:
                wait = follower.broke(error)
            await anyio.sleep(wait)


class AsyncJob:
    """A job; `id` names it."""

    def __init__(self, client: AsyncPresswork, job_id: str, events: str | None) -> None:
        self._client = client
        self._operations = client._operations
        self._events = events
        self.id = job_id

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

    async def result(self, *, timeout: float | None = None) -> JobView:
        """Wait for the end, at most `timeout` s; the completed job: `text`, `usage`, `cost_usd`, ….

        JobFailed, JobCancelled; WaitTimeout: it goes on.
        """
        return await self._client._drive(self._operations.result(self.id, timeout))

    async def text(self, *, timeout: float | None = None) -> str:
        """Wait for the end; the generated text. Errors as of `result`."""
        return (await self.result(timeout=timeout)).text or ""

    async def json(self, *, timeout: float | None = None) -> Any:
        """Wait for the end of a job with a `response_schema`; its text, read as JSON. Errors as of `result`."""
        return (await self.result(timeout=timeout)).json()

    def events(self, *, after: str = "", so_far: str = "") -> AsyncIterator[Event]:
        """The events to the end of the job, each once and in order, over as many connections as it takes.

        `after`, `so_far`: those of the last event that you have, to go on from there. An event's `so_far` is the text
        that holds then: of the running attempt, also after a gap.
        """
        known, patience_s = Known(after, so_far), self._operations.patience_s
        base = self._operations.settings.url
        follower = Follower(self.id, base, link=self._events, known=known, patience_s=patience_s)
        return self._client._follow(follower, self.id)

    async def status(self, *, wait: float = 0.0) -> JobView:
        """Return the job as it stands; with `wait` (s, at most 30) as soon as it has ended."""
        return await self._client._drive(self._operations.status(self.id, wait))

    async def cancel(self) -> JobView:
        """End the job; answers it as it ended. JobEnded when it had ended otherwise."""
        return await self._client._drive(self._operations.cancel(self.id))

    async def retry(self) -> AsyncJob:
        """The one new job that a failed or cancelled one gets; called again, the same. JobNotFailed."""
        return self._client._job(await self._client._drive(self._operations.retry(self.id)))

    async def delete(self) -> None:
        """Delete the job and its texts; a running one is cancelled first."""
        await self._client._drive(self._operations.delete(self.id))

    async def ticket(self) -> str:
        """Address with which a browser's `EventSource` opens the stream of this job, and nothing else."""
        return await self._client._drive(self._operations.ticket(self.id))
