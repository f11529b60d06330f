"""Usage of jobs: the ledger's lines and the sums they are folded into by `lua/include/ledger.lua`.

A line is `<project> <provider:model> <input> <output> <cached> <nano-USD or -> <estimated 0|1>`, after the organisation
and, in the ledger, the status and the day; a folded field is `<project> <provider:model>` with the packed sums `<jobs>
<input> <output> <cached> <nano-USD> <jobs of unknown cost> <estimated jobs>`. Sums are exact below 2^53, Lua's
integers: 9 million USD, or 9e15 tokens, of one project, model and day.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from shared.job import NANO, Outcome
from shared.store.keys import encode_id

EXACT_MAX: Final = 2**53 - 1
DIGITS_MAX: Final = 20
_PACKED: Final = re.compile(rb"[0-9]{1,20}(?: [0-9]{1,20}){6}\Z")
_SPACE: Final = re.compile(r"\s")


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of one day (days since the epoch), project and model. `cost_nano_usd` (1e-9 USD) lacks `unknown_cost_jobs`.

    `estimated_jobs`: how many did not get their tokens from the provider, but from an estimate.
    """

    day: int
    project_id: str
    provider: str
    model: str
    jobs: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_nano_usd: int
    unknown_cost_jobs: int
    estimated_jobs: int


def _bounded(number: int) -> int:
    """Bound a figure that a provider reported: it must not spoil the sums of a day."""
    return number if 0 <= number <= EXACT_MAX else max(0, min(number, EXACT_MAX))


def nano_usd(cost_usd: float | None) -> int | None:
    """Convert a cost to nano-USD; None for an unknown one, or one that is no amount."""
    if cost_usd is None or not 0 <= cost_usd < math.inf:
        return None
    return round(min(cost_usd * NANO, EXACT_MAX))


@lru_cache(maxsize=256)
def _name(provider: str, model: str | None) -> str:
    return _SPACE.sub("_", f"{provider}:{model or ''}")


def line(organization_id: str, project_id: str, outcome: Outcome) -> str:
    """The line for the ledger of a job that ended; empty when nothing was used, or the provider is unknown.

    The zero before the input tokens says that the job was counted as running (`lua/include/ended_lines.lua`)."""
    used = outcome.usage
    if used is None or not outcome.provider:
        return ""
    nano = nano_usd(outcome.cost_usd)
    cost = "-" if nano is None else nano
    return (
        f"{encode_id(organization_id)} {project_id} {_name(outcome.provider, outcome.model)} "
        f"0{_bounded(used.input_tokens)} {_bounded(used.output_tokens)} {_bounded(used.cached_tokens)} {cost} "
        f"{int(used.estimated)}"
    )


def _numbers(words: Sequence[bytes]) -> Sequence[int] | None:
    """The numbers of a line, in the order of packed sums; `words`: those after its field. None: it is no line."""
    if len(words) != 5 or words[4] not in (b"0", b"1") or any(len(word) > DIGITS_MAX for word in words):
        return None
    *tokens, cost, estimated = words
    unknown = cost == b"-"
    if not (unknown or cost.isdigit()) or not all(map(bytes.isdigit, tokens)):
        return None
    return (1, *map(int, tokens), 0 if unknown else int(cost), int(unknown), int(estimated))


def packed_sums(folded: Sequence[bytes]) -> dict[bytes, list[int]]:
    """The sums of a day's hash, or of a part of it: fields and values alternate. Values that are no packed sums are
    left out."""
    return {
        field: [int(number) for number in packed.split()]
        for field, packed in zip(folded[::2], folded[1::2], strict=True)
        if field.count(b" ") == 1 and _PACKED.match(packed)
    }


def add_lines(sums: dict[bytes, list[int]], lines: Sequence[bytes]) -> None:
    """Add lines of the ledger, without status, day and organisation. A text that is no line adds nothing, as in the
    script."""
    for text in lines:
        words = text.split(b" ")
        numbers = _numbers(words[2:])
        if numbers is not None:
            total = sums.setdefault(b" ".join(words[:2]), [0] * 7)
            for i, number in enumerate(numbers):
                total[i] += number


def rows_of(day: int, sums: Mapping[bytes, Sequence[int]]) -> list[UsageRow]:
    """The rows of one day, by project and model."""
    rows = {field.decode("utf-8", "replace"): numbers for field, numbers in sums.items()}
    return [_row(day, field, numbers) for field, numbers in sorted(rows.items())]


def parse_day(day: int, folded: Sequence[bytes], lines: Sequence[bytes]) -> list[UsageRow]:
    """The rows of one day from its hash (fields and values alternate) and its list."""
    sums = packed_sums(folded)
    add_lines(sums, lines)
    return rows_of(day, sums)


def _row(day: int, field: str, numbers: Sequence[int]) -> UsageRow:
    project, _, name = field.partition(" ")
    provider, _, model = name.partition(":")  # a model's name may hold colons, a provider's does not
    jobs, used, made, cached, cost, unknown, estimated = numbers
    return UsageRow(
        day=day, project_id=project, provider=provider, model=model, jobs=jobs, input_tokens=used, output_tokens=made,
        cached_tokens=cached, cost_nano_usd=cost, unknown_cost_jobs=unknown, estimated_jobs=estimated,
    )  # fmt: skip
