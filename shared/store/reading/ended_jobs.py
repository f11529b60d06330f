"""Reads the indexes of failed and of cancelled jobs, of one organisation or of all, that
`lua/include/failure_index.lua` writes. Read only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Final

import msgspec

from shared.chain import split
from shared.settings import StoreSettings
from shared.store.engine.calls import Reads
from shared.store.keys import OPERATORS, Keys, decode_id, encode_id
from shared.yielding import Yields

PIECE: Final = 500
"""Entries that one command reads: a ms of the server, and a few of this process."""

_FIRST, _LAST = "-", "+"
_UNKNOWN: Final = "-"
_PARTS: Final = 7


class EndedAs(Enum):
    """The kind of an index; the value is the beginning of its keys."""

    FAILED = "failures"
    CANCELLED = "cancellations"


class EndedJob(msgspec.Struct, frozen=True, kw_only=True):
    """An entry. `id` names its place, and with it the time of its end; ids and names that are not known are empty."""

    id: str
    job_id: str
    organization_id: str
    project_id: str = ""
    user_id: str = ""
    provider: str = ""
    model: str = ""
    error_type: str = ""

    @property
    def at_ms(self) -> int:
        """The time of its end, in ms since the epoch."""
        return int(self.id.partition("-")[0])


class EndedFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The entries wanted: those that agree in each field that is not None; from `from_ms` to `to_ms`, both included."""

    error_type: str | None = None
    provider: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def matches(self, job: EndedJob) -> bool:
        """Whether an entry is wanted that is not older than `from_ms`."""
        wanted = (
            (self.error_type, job.error_type),
            (self.provider, job.provider),
            (self.project_id, job.project_id),
            (self.user_id, job.user_id),
        )
        in_time = self.to_ms is None or job.at_ms <= self.to_ms
        return in_time and all(asked in (None, held) for asked, held in wanted)


class EndedJobs:
    """Of one store. Methods may raise StoreUnavailable. `organization_id` None: of all organisations."""

    def __init__(self, reads: Reads, keys: Keys, settings: StoreSettings) -> None:
        self._reads = reads
        self._keys = keys
        self._kept_ms = {
            EndedAs.FAILED: round(max(settings.failed_ttl_seconds, settings.result_ttl_seconds) * 1000),
            EndedAs.CANCELLED: round(settings.result_ttl_seconds * 1000),
        }

    async def page(
        self,
        kind: EndedAs,
        organization_id: str | None,
        wanted: EndedFilter,
        *,
        before: str | None,
        limit: int,
        searched_max: int,
    ) -> tuple[list[EndedJob], str | None]:
        """The newest entries that are wanted, before one entry: up to `limit` of them, and of about `searched_max` that
        are searched; with the id to go on before, None at the end. Records of these jobs may be gone."""
        found: list[EndedJob] = []
        searched = 0
        async for rows in self._newest(kind, organization_id, wanted, before=before):
            for entry_id, job in rows:
                if job is not None:
                    found.append(job)
                if len(found) == limit:
                    return found, entry_id
            searched += len(rows)
            if rows and searched >= searched_max:
                return found, rows[-1][0]
        return found, None

    async def span(self, kind: EndedAs, organization_id: str | None, wanted: EndedFilter) -> tuple[int, int]:
        """The time in which wanted entries may lie, in ms since the epoch: what the filter leaves open ends with the
        oldest entry, and now. Its end is never before its beginning."""
        key = self._key(kind, organization_id)
        clock, oldest, newest = await asyncio.gather(
            self._reads.execute("TIME"),
            self._reads.execute("XRANGE", key, _FIRST, _LAST, "COUNT", 1),
            self._reads.execute("XREVRANGE", key, _LAST, _FIRST, "COUNT", 1),
        )
        now_ms = int(clock[0]) * 1000
        # A clock that was set back is behind the entries.
        last_ms = max([now_ms, *(_at_ms(row) for row in newest)])
        first_ms = min([last_ms, *(_at_ms(row) for row in oldest)]) if wanted.from_ms is None else wanted.from_ms

        to_ms = last_ms if wanted.to_ms is None else min(wanted.to_ms, last_ms)
        return min(max(first_ms, now_ms - self._kept_ms[kind], 0), to_ms), to_ms

    async def count(self, kind: EndedAs, organization_id: str | None, wanted: EndedFilter, *, until: str) -> int:
        """Count the entries that are wanted, up to one entry."""
        pieces = self._newest(kind, organization_id, wanted, until=until)
        return sum([sum(job is not None for _, job in rows) async for rows in pieces])

    async def _newest(
        self,
        kind: EndedAs,
        organization_id: str | None,
        wanted: EndedFilter,
        *,
        before: str | None = None,
        until: str | None = None,
    ) -> AsyncIterator[list[tuple[str, EndedJob | None]]]:
        """Pieces of the index, newest first: ids of entries, with those that are wanted."""
        now = await self._reads.execute("TIME")
        oldest_ms = int(now[0]) * 1000 - self._kept_ms[kind]
        first = f"{max(wanted.from_ms or 0, oldest_ms, 0)}-0"
        last = until or (_LAST if wanted.to_ms is None else str(wanted.to_ms))
        if before is not None:
            last = f"({before}"

        key, yields = self._key(kind, organization_id), Yields()
        while True:
            rows = await self._reads.execute("XREVRANGE", key, last, first, "COUNT", PIECE)
            yield [(row[0].decode(), _wanted(row, wanted)) for row in rows]
            if len(rows) < PIECE:
                return
            last = f"({rows[-1][0].decode()}"
            await yields.give()

    async def oldest(
        self, kind: EndedAs, organization_id: str | None, wanted: EndedFilter, *, after: str | None, until: str
    ) -> AsyncIterator[list[EndedJob]]:
        """Pieces of the index after one entry, up to another, oldest first: the entries that are wanted."""
        first = _FIRST if wanted.from_ms is None else f"{wanted.from_ms}-0"
        if after:
            first = f"({after}"
        key, yields = self._key(kind, organization_id), Yields()
        while True:
            rows = await self._reads.execute("XRANGE", key, first, until, "COUNT", PIECE)
            yield [job for row in rows if (job := _wanted(row, wanted)) is not None]
            if len(rows) < PIECE:
                return
            first = f"({rows[-1][0].decode()}"
            await yields.give()

    async def last_id(self, kind: EndedAs, organization_id: str | None) -> str | None:
        """The id of the newest entry; None: there is none."""
        rows = await self._reads.execute("XREVRANGE", self._key(kind, organization_id), "+", "-", "COUNT", 1)
        return rows[0][0].decode() if rows else None

    async def dropped(self, organization_id: str | None) -> int:
        """The number of failed jobs that were dropped for newer ones, since that happened first."""
        (count,) = await self._reads.execute("HMGET", self._of("failure_totals", organization_id), "dropped")
        return int(count) if count is not None and count.isdigit() else 0

    async def redrivable(self, job_id: str, organization_id: str | None) -> bool:
        """Whether it is a failed job, of that organisation, that was not retried yet and has its prompt."""
        state, holder, retried, prompt_gone = await self._reads.execute(
            "HMGET", self._keys.job(job_id), "state", "org", "retried_as", "prompt_gone"
        )
        if state != b"failed" or retried is not None or holder is None or prompt_gone is not None:
            return False
        return organization_id is None or holder.decode() == encode_id(organization_id)

    def _key(self, kind: EndedAs, organization_id: str | None) -> str:
        return self._of(kind.value, organization_id)

    def _of(self, prefix: str, organization_id: str | None) -> str:
        whose = OPERATORS if organization_id is None else encode_id(organization_id)
        return self._keys.prefix(prefix) + whose


def _at_ms(row: tuple[bytes, list[bytes]]) -> int:
    return int(row[0].partition(b"-")[0])


def _wanted(row: tuple[bytes, list[bytes]], wanted: EndedFilter) -> EndedJob | None:
    job = _parse(row)
    return job if job is not None and wanted.matches(job) else None


def _parse(row: tuple[bytes, list[bytes]]) -> EndedJob | None:
    """An entry; None for one that cannot be read."""
    entry_id, fields = row
    parts = fields[1].decode("utf-8", "replace").split(" ") if len(fields) == 2 else []
    if len(parts) != _PARTS:
        return None
    job_id, organization, _, project, user, gate, error = parts
    provider, model = split(gate)
    return EndedJob(
        id=entry_id.decode(), job_id=job_id, organization_id=decode_id(organization), project_id=_known(project),
        user_id=_known(user), provider=_known(provider), model=model, error_type=_known(error),
    )  # fmt: skip


def _known(word: str) -> str:
    return "" if word == _UNKNOWN else word
