"""Wait and run times of jobs: histograms that `lua/include/durations.lua` adds up, one for each hour of ends.

Bucket `b` counts times from `2 ** (b / 4) - 1` ms up to the next bucket's: a percentile is right to about a tenth. The
ledger's lines, `durations:<hour>:<waited>/<ran>,...` in ms, are not in the sums yet.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import msgspec

from shared.store.engine.calls import ScriptCalls

HOUR_MS: Final = 3_600_000
LAST_BUCKET: Final = 127
PER_OCTAVE: Final = 4 / math.log(2)

_LINE: Final = re.compile(rb"durations:([0-9]{1,9}):([0-9/,]*)\Z")
_LASTED: Final = re.compile(rb"([0-9]{1,15})/([0-9]{1,15})")
_PACKED: Final = re.compile(rb"([wr])([0-9]{1,3})=([0-9]{1,15})")


def bucket_of(ms: int) -> int:
    """The bucket of a time."""
    return min(math.floor(PER_OCTAVE * math.log(ms + 1)), LAST_BUCKET)


class Histogram(Counter[int]):
    """Jobs by bucket."""

    def percentile_ms(self, share: float) -> float | None:
        """The time within which `share` (0 to 1) of the jobs were done, in ms; None: there are none."""
        wanted, seen = share * self.total(), 0
        for bucket in sorted(self):
            if seen + self[bucket] >= wanted and self[bucket]:
                inside = (wanted - seen) / self[bucket]
                return float(2 ** ((bucket + inside) / 4) - 1)
            seen += self[bucket]
        return None


class Durations(msgspec.Struct, frozen=True):
    """Those of one hour or more. `waited`: from submit, or due time, to start; `ran`: from start to end. Of a job that
    was tried more than once, its last attempt's."""

    waited: Histogram = msgspec.field(default_factory=Histogram)
    ran: Histogram = msgspec.field(default_factory=Histogram)

    @classmethod
    def of(cls, all_of_them: Iterable[Self]) -> Self:
        """The sum."""
        total = cls()
        for one in all_of_them:
            total.waited.update(one.waited)
            total.ran.update(one.ran)
        return total

    def add_packed(self, packed: bytes) -> None:
        """Add sums; damaged ones count as none."""
        for kind, bucket, jobs in _PACKED.findall(packed):
            (self.waited if kind == b"w" else self.ran)[min(int(bucket), LAST_BUCKET)] += int(jobs)

    def add_line(self, lasted: bytes) -> None:
        """Add the times of a line of the ledger."""
        for waited, ran in _LASTED.findall(lasted):
            self.waited[bucket_of(int(waited))] += 1
            self.ran[bucket_of(int(ran))] += 1


def parse(first_hour: int, sums: Sequence[bytes], lines: Iterable[bytes]) -> Mapping[int, Durations]:
    """By hour since the epoch, of each hour that was asked for."""
    hours = {hour: Durations() for hour in range(first_hour, first_hour + len(sums))}
    for hour, packed in zip(hours, sums, strict=True):
        hours[hour].add_packed(packed)

    for text in lines:
        found = _LINE.match(text)
        if found and (durations := hours.get(int(found[1]))):
            durations.add_line(found[2])
    return hours


async def read(calls: ScriptCalls, first_hour: int, last_hour: int) -> Mapping[int, Durations]:
    """Of these hours (since the epoch, Redis's clock), in three commands. StoreUnavailable."""
    sums, lines = await calls.run("durations", first_hour=first_hour, last_hour=last_hour)
    return parse(first_hour, sums, lines)
