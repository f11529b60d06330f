"""`/api/admin/failures`: failed jobs by cause; redrives and discards many of them, as a task of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from services.gateway.admin.failure_grouping import Buckets, Grouping
from services.gateway.admin.failure_views import (
    AcceptedTask,
    FailureFilter,
    FailureGroups,
    FailuresQuery,
    FailuresRequest,
    TaskView,
)
from services.gateway.http.actor import AnyRequest, actor_of
from services.gateway.http.calls import changing, reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.settings import GatewaySettings
from shared.errors import TaskNotFound
from shared.http.auth import Identity, Scope
from shared.http.problems import COUNT_CHANGED, Problem, invalid
from shared.identity.client_address import ClientAddresses
from shared.store.audit_trail import Actor
from shared.store.erasure import Receipt, StoredReceipt
from shared.store.job_store import JobStore
from shared.store.reading.ended_jobs import EndedAs, EndedFilter
from shared.store.tasks import TASK_ID, Task, TaskPlan

GROUPED_MAX: Final = 50_000
"""Failures that one answer groups, about: its cursor goes on."""

IDS_PER_PIECE: Final = 100

TaskIdInPath = Annotated[
    str, PathParameter(name="taskId", description="Id of the task", schema_extra={"pattern": TASK_ID})
]
Kind = Literal["redrive", "discard"]


class FailureCalls:
    """Handles failures."""

    def __init__(self, store: JobStore, settings: GatewaySettings, addresses: ClientAddresses) -> None:
        self._store = store
        self._settings = settings
        self._addresses = addresses

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/admin`."""
        return [self._groups_route(), self._redrive_route(), self._discard_route(), self._task_route()]

    def _groups_route(self) -> HTTPRouteHandler:
        @reading("/failures", "Failed jobs, by cause", 400, scope=Scope.ADMIN, query=FailuresQuery)
        async def group_failures(
            identity: NamedDependency[Identity], params: NamedDependency[FailuresQuery]
        ) -> FailureGroups:
            return await self.groups(identity, params)

        return group_failures

    def _redrive_route(self) -> HTTPRouteHandler:
        summary = "Retry failed jobs, each by one new job"

        @changing("/failures/redrive", summary, 400, 409, scope=Scope.ADMIN, status=202, body=FailuresRequest)
        async def redrive_failures(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            _params: NamedDependency[NoQuery],
            content: NamedDependency[FailuresRequest],
        ) -> AcceptedTask:
            return await self.accept("redrive", identity, content, actor_of(identity, request, self._addresses))

        return redrive_failures

    def _discard_route(self) -> HTTPRouteHandler:
        summary = "Forget failed jobs: they are listed no more, and their records end as those of other jobs"

        @changing("/failures/discard", summary, 400, 409, scope=Scope.ADMIN, status=202, body=FailuresRequest)
        async def discard_failures(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            _params: NamedDependency[NoQuery],
            content: NamedDependency[FailuresRequest],
        ) -> AcceptedTask:
            return await self.accept("discard", identity, content, actor_of(identity, request, self._addresses))

        return discard_failures

    def _task_route(self) -> HTTPRouteHandler:
        @reading("/tasks/{taskId:str}", "A task as it stands", 400, 404, scope=Scope.ADMIN)
        async def read_task(
            identity: NamedDependency[Identity], task_id: TaskIdInPath, _params: NamedDependency[NoQuery]
        ) -> TaskView:
            return await self.task(identity, task_id)

        return read_task

    async def groups(self, identity: Identity, query: FailuresQuery) -> FailureGroups:
        """The failures of an organisation, or of all, by cause and over time."""
        organization, ended_jobs = query.of(identity), self._store.ended_jobs
        async with in_time():
            span = await ended_jobs.span(EndedAs.FAILED, organization, query.wanted)
            found, cursor = await ended_jobs.page(
                EndedAs.FAILED, organization, query.wanted, before=query.cursor, limit=GROUPED_MAX,
                searched_max=GROUPED_MAX,
            )  # fmt: skip
            dropped = await ended_jobs.dropped(organization)

        grouping = Grouping(query.fields, Buckets.over(*span))
        await grouping.add(found)
        return FailureGroups(await grouping.groups(), grouping.buckets, cursor, dropped)

    async def accept(self, kind: Kind, identity: Identity, wanted: FailuresRequest, actor: Actor) -> AcceptedTask:
        """Make a task of failures. A 409 `Problem` when there are not as many as the caller expects."""
        plan = await self._plan(kind, identity, wanted)
        count = await self._count(plan)
        if count != wanted.expected:
            raise Problem(COUNT_CHANGED, f"{count} match now", count=count)
        async with in_time():
            return AcceptedTask(task_id=await self._store.tasks.create(plan, count, actor), count=count)

    async def task(self, identity: Identity, task_id: str) -> TaskView:
        """A task as it stands. TaskNotFound also for another organisation's."""
        if not _is_id(task_id):
            raise TaskNotFound(task_id)
        async with in_time():
            task = await self._store.tasks.read(task_id)
        if identity.organization_id not in (None, task.plan.owner):
            raise TaskNotFound(task_id)
        state: Literal["running", "done"] = "running" if task.running else "done"
        return TaskView(
            task_id=task.id, kind=task.plan.kind, state=state, done=task.done, count=task.count,
            prompts_gone=task.prompts_gone, receipt=await self._receipt(task),
        )  # fmt: skip

    async def _receipt(self, task: Task) -> Receipt | msgspec.UnsetType:
        """Of a deletion that is over: the server's file may have been rewritten since."""
        if not task.receipt:
            return msgspec.UNSET
        receipt = msgspec.json.decode(task.receipt, type=StoredReceipt)
        if receipt.append_only_file_rewritten or not receipt.run_id:
            return receipt.shown(None)
        async with in_time():
            return receipt.shown(await self._store.append_only_file.state())

    async def _plan(self, kind: Kind, identity: Identity, wanted: FailuresRequest) -> TaskPlan:
        """The order, with its set fixed: failures that come later are not in it."""
        if isinstance(wanted.filter, FailureFilter) == isinstance(wanted.job_ids, list):
            raise invalid("filter", "give either filter or jobIds")
        organization, asked, until = identity.organization_id, EndedFilter(), ""
        ids: tuple[str, ...] = ()
        if isinstance(wanted.filter, FailureFilter):
            organization, asked = wanted.filter.of(identity), wanted.filter.wanted
            async with in_time():
                until = await self._store.ended_jobs.last_id(EndedAs.FAILED, organization) or "0-0"
        elif isinstance(wanted.job_ids, list):
            ids = tuple(dict.fromkeys(wanted.job_ids))

        settings = self._settings
        return TaskPlan(
            kind=kind, organization_id=organization, owner=identity.organization_id, wanted=asked, until=until,
            job_ids=ids, chain=settings.chain, models=tuple(sorted(identity.models)),
            deadline_ms=round(settings.deadline_seconds * 1000), queued_max=settings.max_queued_jobs,
        )  # fmt: skip

    async def _count(self, plan: TaskPlan) -> int:
        """The jobs of a plan. Not within the time of other calls: there may be many, each read is bounded."""
        if plan.job_ids:
            return await self._count_named(plan.job_ids, plan.organization_id)
        return await self._store.ended_jobs.count(EndedAs.FAILED, plan.organization_id, plan.wanted, until=plan.until)

    async def _count_named(self, ids: Sequence[str], organization: str | None) -> int:
        count = 0
        for first in range(0, len(ids), IDS_PER_PIECE):
            asked = (
                self._store.ended_jobs.redrivable(job_id, organization) for job_id in ids[first : first + IDS_PER_PIECE]
            )
            count += sum(await asyncio.gather(*asked))
        return count


def _is_id(task_id: str) -> bool:
    return len(task_id) == 16 and all(character in "0123456789abcdef" for character in task_id)
