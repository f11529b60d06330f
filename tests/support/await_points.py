"""Finds every await of an attempt by driving its tasks, and makes one of them raise, be cancelled, or hang.

A task factory wraps the coroutines of an attempt (`TASKS`). Each time such a coroutine suspends, its chain of awaits is
read off: function and line of every frame from the task's first to the innermost. A chain is a point; a task that goes
through a loop passes the same point again.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

TASKS: Final = {"Pool._work": "attempt", "Pool._finalize": "attempt", "DeltaWriter._write": "self"}
"""The tasks of an attempt, and the local name that leads to its claim."""

FAULTS: Final = ("raises", "cancelled", "hangs", "deaf")
"""A hang lets itself be cancelled; the deaf one does not."""


class Point(msgspec.Struct, frozen=True):
    """An await of an attempt: the task it is in, and function and line of each frame, the innermost last."""

    task: str
    frames: tuple[tuple[str, str, int], ...]

    def __str__(self) -> str:
        return f"{self.task}: " + " > ".join(f"{name}:{line}" for _, name, line in self.frames)


class Fault(msgspec.Struct):
    """The fault for the first job that comes to a point. `met`: it has happened."""

    point: Point
    kind: str
    met: bool = False


class Boom(Exception):
    """An unforeseen error."""


@Coroutine.register
class _Driven:
    """An attempt's coroutine, between it and its task, which calls `send`, `throw` and `close` alone."""

    def __init__(self, inner: Any, watch: Watch, name: str, job_id: str) -> None:
        self._inner = inner
        self._watch = watch
        self._name = name
        self._job_id = job_id
        self._deaf = False
        self.task: asyncio.Task[Any] | None = None

    def send(self, value: Any) -> Any:
        return self._after(self._inner.send(value))

    def throw(self, kind: Any, value: Any = None, _: TracebackType | None = None) -> Any:
        if self._deaf and not self._watch.released:
            return _never()
        error = kind if value is None else value
        return self._after(self._inner.throw(error))

    def close(self) -> None:
        self._inner.close()

    def _after(self, waited: Any) -> Any:
        kind = self._watch.reached(self._name, self._job_id, _frames(self._inner))
        if kind is None:
            return waited
        assert self.task is not None
        if kind == "cancelled":
            self.task.get_loop().call_soon(self.task.cancel)
            return waited
        if waited is not None:
            waited._asyncio_future_blocking = False
        if kind == "raises":
            return self._after(self._inner.throw(Boom()))
        if kind == "deaf":
            self._deaf = True
            self._watch.deaf.append(self.task)
        return _never()


class Watch:
    """Sees every await of every attempt while it is `watching`. `faults` by job id; `tasks`: how many of each name a
    job had; `points`: where each job came by."""

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self.points: dict[str, dict[Point, None]] = {}
        self.tasks: dict[tuple[str, str], int] = {}
        self.deaf: list[asyncio.Task[Any]] = []
        self.released = False

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the running loop for the length of the block; at its end no task is deaf any more."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._make)
        try:
            yield
        finally:
            loop.set_task_factory(None)
            await self.release()

    def _make(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        name = getattr(coroutine, "__qualname__", "")
        if name not in TASKS:
            return asyncio.Task(coroutine, loop=loop, **more)
        of = coroutine.cr_frame.f_locals[TASKS[name]]
        job_id = (of._claim if TASKS[name] == "self" else of.claim).job_id
        self.tasks[name, job_id] = self.tasks.get((name, job_id), 0) + 1
        driven: Any = _Driven(coroutine, self, name, job_id)
        driven.task = asyncio.Task(driven, loop=loop, **more)
        task: asyncio.Task[Any] = driven.task
        return task

    def reached(self, task: str, job_id: str, frames: tuple[tuple[str, str, int], ...]) -> str | None:
        """Note that a job suspends here; returns its fault."""
        point = Point(task, frames)
        self.points.setdefault(job_id, {})[point] = None
        fault = self.faults.get(job_id)
        if fault is None or fault.met or fault.point != point:
            return None
        fault.met = True
        return fault.kind

    async def release(self) -> None:
        """End the deafness of tasks, and wait for their end."""
        self.released = True
        for task in self.deaf:
            task.cancel()
        if self.deaf:
            await asyncio.wait(self.deaf, timeout=5)


def _never() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future._asyncio_future_blocking = True
    return future


def _frames(coroutine: Any) -> tuple[tuple[str, str, int], ...]:
    found = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None:
            found.append((frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno))
        inner = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
        # The step of an async generator does not name its generator: the frame that iterates does.
        if type(inner).__name__.startswith("async_generator_") and frame is not None:
            inner = frame.f_locals.get("stream")
        coroutine = inner
    return tuple(found)


def written_awaits(files: Iterable[Path]) -> set[tuple[str, int]]:
    """Every `await` and `async for` in the text of these files: path and line."""
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Await | ast.AsyncFor):
                found.add((str(path), node.lineno))
    return found
