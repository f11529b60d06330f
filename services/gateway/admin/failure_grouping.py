"""Groups failed jobs by cause, and counts them over time. Both in pieces, so that other calls run in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.gateway.admin.failure_views import FailureBuckets, FailureGroup
from shared.events import iso_time
from shared.store.reading.ended_jobs import EndedJob
from shared.yielding import Yields

EXAMPLES: Final = 3
BUCKETS: Final = 60
"""Buckets of one answer, at most, and two that are not whole: an hour that began a moment ago has minutes too."""

COUNTED_GROUPS: Final = 100
"""Groups, the largest, that are counted over time too."""

WIDTHS_S: Final = (10, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800)
"""Widths of buckets, in s; beyond them whole weeks."""

PIECE: Final = 500


class Buckets(msgspec.Struct, frozen=True):
    """Stretches of time of one width, each beginning at a multiple of it (ms since the epoch)."""

    first_ms: int
    width_ms: int
    number: int

    @classmethod
    def over(cls, from_ms: int, to_ms: int) -> Buckets:
        """As narrow as their number allows."""
        least_s = (to_ms - from_ms) / 1000 / (BUCKETS + 1)
        weeks_s = WIDTHS_S[-1]
        width_s = next((width for width in WIDTHS_S if width >= least_s), -int(-least_s // weeks_s) * weeks_s)

        first, last = from_ms // (width_s * 1000), to_ms // (width_s * 1000)
        return cls(first * width_s * 1000, width_s * 1000, last - first + 1)

    def index(self, at_ms: int) -> int:
        """The bucket of a time; the nearest one of a time outside: a failure may come while they are read."""
        return min(max((at_ms - self.first_ms) // self.width_ms, 0), self.number - 1)

    def dense(self, counts: Mapping[int, int]) -> list[int]:
        """Counts in the order of buckets."""
        return [counts.get(index, 0) for index in range(self.number)]


class _Held:
    """One group while it grows."""

    __slots__ = ("count", "counts", "examples", "oldest")

    def __init__(self) -> None:
        self.examples: list[EndedJob] = []
        self.counts: dict[int, int] = {}
        self.count = 0
        self.oldest: EndedJob | None = None

    def add(self, job: EndedJob, bucket: int) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append(job)
        self.count += 1
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.oldest = job


class Grouping:
    """Groups entries that come newest first."""

    def __init__(self, fields: Sequence[str], buckets: Buckets) -> None:
        self._fields = fields
        self._buckets = buckets
        self._groups: defaultdict[tuple[str, ...], _Held] = defaultdict(_Held)
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._yields = Yields()

    async def add(self, jobs: Sequence[EndedJob]) -> None:
        """Take the next entries."""
        for begin in range(0, len(jobs), PIECE):
            for job in jobs[begin : begin + PIECE]:
                self._add(job)
            await self._yields.give()

    def _add(self, job: EndedJob) -> None:
        values = {"errorType": job.error_type, "provider": job.provider, "organizationId": job.organization_id}
        bucket = self._buckets.index(job.at_ms)
        self._counts[bucket] += 1
        self._groups[tuple(values[name] for name in self._fields)].add(job, bucket)

    @property
    def buckets(self) -> FailureBuckets:
        """All entries over time."""
        shape = self._buckets
        return FailureBuckets(
            from_=iso_time(shape.first_ms), seconds=shape.width_ms // 1000, counts=shape.dense(self._counts)
        )

    async def groups(self) -> list[FailureGroup]:
        """The groups, the largest first."""
        keys = sorted(self._groups, key=lambda key: (-self._groups[key].count, key))
        groups: list[FailureGroup] = []
        for begin in range(0, len(keys), PIECE):
            groups += [self._group(key, begin + offset) for offset, key in enumerate(keys[begin : begin + PIECE])]
            await self._yields.give()
        return groups

    def _group(self, key: tuple[str, ...], rank: int) -> FailureGroup:
        named, held = dict(zip(self._fields, key, strict=True)), self._groups[key]
        newest, oldest = held.examples[0], held.oldest or held.examples[0]
        return FailureGroup(
            error_type=named.get("errorType"), provider=named.get("provider"),
            organization_id=named.get("organizationId"), count=held.count, first_at=iso_time(oldest.at_ms),
            last_at=iso_time(newest.at_ms), job_ids=[job.job_id for job in held.examples],
            counts=self._buckets.dense(held.counts) if rank < COUNTED_GROUPS else None,
        )  # fmt: skip
