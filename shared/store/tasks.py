"""Tasks: a redrive or a discard of many failed jobs, or the deletion of an organisation, which workers do one after the
other.

A task's set is fixed when it is accepted: the entries of the index up to `until`, or the jobs named. A worker holds a
task under a lease and resumes one whose worker is gone; each job is one script, so that it is done once, and counted.
"""

from __future__ import annotations

import secrets
from typing import Any, Final, Literal

import msgspec

from shared.errors import Overloaded, TaskNotFound
from shared.store.audit_trail import TRAIL_LENGTH, Actor, entry
from shared.store.engine.calls import Reads, ScriptCalls, check_item
from shared.store.engine.items import DiscardItem
from shared.store.keys import OPERATORS, TASKS, Keys, encode_id
from shared.store.reading.ended_jobs import EndedFilter, EndedJob

KEPT_MS: Final = 14 * 86_400_000
"""Life of a task's record, from its acceptance and from its end."""

TASKS_MAX: Final = 1000

TASK_ID: Final = r"^[0-9a-f]{16}$"

_FIELDS: Final = ("plan", "state", "count", "done", "position", "receipt", "prompts_gone", "jobs", "keys", "entries")
_encode: Final = msgspec.json.Encoder().encode


class TaskPlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The order. `organization_id`: whose jobs; None: all organisations'. `wanted` with `until`, the last entry of the
    index, or `job_ids`. `owner`: the organisation that gave it, None: an operator.

    Of a redrive: `chain`, `models` (empty: all) and `deadline_ms` of the new jobs; `queued_max`: no job is redriven
    while more than half as many wait.
    """

    kind: Literal["redrive", "discard", "erase"]
    organization_id: str | None = None
    owner: str | None = None
    wanted: EndedFilter = EndedFilter()
    until: str = ""
    job_ids: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    deadline_ms: int = 0
    queued_max: int = 0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it stands. `done` of `count` jobs; `prompts_gone`: jobs that it could not redrive, their prompts are
    not kept any more; `position`: the last entry, or number of the last job, that was handled.

    Of a deletion: `jobs`, `keys`, `entries` that were removed, whichever workers did it; `position`: the hash in place
    of the name, once all of it is gone and the order does not name it any more.
    """

    id: str
    plan: TaskPlan
    running: bool
    count: int
    done: int
    position: str
    receipt: bytes = b""
    prompts_gone: int = 0
    jobs: int = 0
    keys: int = 0
    entries: int = 0


_ACTIONS: Final = {
    "redrive": "failures.redrive", "discard": "failures.discard", "erase": "organization.deletion",
}  # fmt: skip
_decoder: Final = msgspec.json.Decoder(TaskPlan)


class Tasks:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    @property
    def channel(self) -> str:
        """Channel on which workers learn of a new task."""
        return self._keys.control(TASKS)

    async def create(self, plan: TaskPlan, count: int, actor: Actor) -> str:
        """Accept a task of `count` jobs; answers its id. Overloaded: too many are not done."""
        task_id = secrets.token_hex(8)
        details: dict[str, Any] = {"task": task_id}
        if plan.kind != "erase":
            details |= {"count": count, "filter": msgspec.to_builtins(plan.wanted)}
        whose = OPERATORS if plan.organization_id is None else encode_id(plan.organization_id)
        code = await self._calls.administer(
            "create_task", id=task_id, plan=_encode(plan), count=count, kept=KEPT_MS, tasks_max=TASKS_MAX,
            organization=whose, entry=entry(_ACTIONS[plan.kind], actor, **details), trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        if code == b"FULL":
            raise Overloaded(f"{TASKS_MAX} tasks are not done")
        return task_id

    async def read(self, task_id: str) -> Task:
        """A task. TaskNotFound: there is none, or it is not known any more."""
        values = await self._reads.execute("HMGET", self._keys.prefix("task") + task_id, *_FIELDS)
        return _parse(task_id, values)

    async def waiting(self) -> bool:
        """Whether a task is not done, held by a worker or not. One cheap read."""
        return bool(await self._reads.execute("EXISTS", self._keys.fixed("tasks")))

    async def take(self, holder: str) -> Task | None:
        """Take the lease of a task that no other worker holds; None: there is none, or it cannot be read."""
        reply = await self._calls.administer("take_task", holder=holder, kept=KEPT_MS)
        if not reply:
            return None
        try:
            return _parse(reply[0].decode(), reply[1:])
        except TaskNotFound:
            await self.advance(reply[0].decode(), holder, "", ended=True)
            return None

    async def advance(
        self,
        task_id: str,
        holder: str,
        position: str,
        *,
        ended: bool = False,
        receipt: bytes = b"",
        plan: TaskPlan | None = None,
        trail_entry: bytes = b"",
        prompts_gone: int = 0,
    ) -> bool:
        """Renew the lease and note what was handled, `prompts_gone` of it in vain; False: another worker has the task.

        `plan`: replaces the order; `trail_entry`: the entry of its end in the audit trail.
        """
        reply = await self._calls.administer(
            "advance_task", id=task_id, holder=holder, position=position, over=int(ended), receipt=receipt,
            plan=b"" if plan is None else _encode(plan), entry=trail_entry, prompts_gone=prompts_gone, kept=KEPT_MS,
            trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        return bool(reply == b"OK")

    async def discard(self, jobs: list[EndedJob], task_id: str) -> None:
        """Take failed jobs out of the index; their records live as long as those of other jobs. `task_id`: counts them
        as done, empty: they are not counted."""
        items = [DiscardItem(job.job_id, encode_id(job.organization_id), job.id, task_id) for job in jobs]
        for reply in await self._calls.administer("discard", items):
            check_item(reply)


def _parse(task_id: str, values: list[bytes | None]) -> Task:
    plan, state, count, done, position, receipt, *numbers = values
    try:
        if plan is None or count is None:
            raise ValueError("there is no such task")  # noqa: TRY301 - one place says what follows
        prompts_gone, jobs, keys, entries = (int(number or 0) for number in numbers)
        return Task(
            id=task_id, plan=_decoder.decode(plan), running=state == b"running", count=int(count), done=int(done or 0),
            position=(position or b"").decode(), receipt=receipt or b"", prompts_gone=prompts_gone,
            jobs=jobs, keys=keys, entries=entries,
        )  # fmt: skip
    except ValueError:
        raise TaskNotFound(task_id) from None
