"""The ledger's lines and sums, without a server."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.job import Outcome, Usage
from shared.store.reading.usage import EXACT_MAX, line, nano_usd, parse_day

COUNTS = st.integers(0, 10**9)


def _outcome(model: str | None = "m", **numbers: int | bool) -> Outcome:
    tokens: dict[str, int | bool] = {"input_tokens": 1, "output_tokens": 2}
    return Outcome(provider="openai", model=model, usage=Usage(**(tokens | numbers)))  # type: ignore[arg-type]  # by name


def _line(outcome: Outcome) -> bytes:
    """As the store reads it: without the organisation that it begins with."""
    return line("o", "p", outcome).encode().removeprefix(b"o ")


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, st.none() | COUNTS, st.booleans()), max_size=20))
def test_lines_sum_up_to_what_went_in(jobs: list[tuple[int, int, int, int | None, bool]]) -> None:
    """For any numbers the one row of a project and model holds their sums."""
    lines = []
    for used, made, cached, nano, estimated in jobs:
        usage = Usage(input_tokens=used, output_tokens=made, cached_tokens=cached, estimated=estimated)
        cost = None if nano is None else nano / 1e9
        lines.append(_line(Outcome(provider="a", model="b:c", usage=usage, cost_usd=cost)))
    rows = parse_day(3, [], lines)
    assert len(rows) == min(len(jobs), 1)
    for row in rows:
        assert (row.day, row.project_id, row.provider, row.model) == (3, "p", "a", "b:c")
        assert row.jobs == len(jobs)
        assert row.input_tokens == sum(job[0] for job in jobs)
        assert row.output_tokens == sum(job[1] for job in jobs)
        assert row.cached_tokens == sum(job[2] for job in jobs)
        assert row.cost_nano_usd == sum(job[3] or 0 for job in jobs)
        assert row.unknown_cost_jobs == sum(job[3] is None for job in jobs)
        assert row.estimated_jobs == sum(job[4] for job in jobs)


def test_folded_sums_and_lines_add_up() -> None:
    """A field of the hash and a line of the same project and model become one row."""
    (row,) = parse_day(1, [b"p a:b", b"5 50 5 0 1000 2 1"], [b"p a:b 1 2 3 4 1"])
    assert (row.jobs, row.input_tokens, row.output_tokens, row.cached_tokens) == (6, 51, 7, 3)
    assert (row.cost_nano_usd, row.unknown_cost_jobs, row.estimated_jobs) == (1004, 2, 2)


@pytest.mark.parametrize("cost", [None, math.nan, math.inf, -1.0])
def test_a_cost_that_is_none_is_unknown(cost: float | None) -> None:
    """It never becomes zero, and never an error at the end of a job."""
    assert nano_usd(cost) is None


def test_costs_are_rounded_to_the_nano() -> None:
    """A cost keeps nine decimals, up to the largest number that Lua holds exactly."""
    assert nano_usd(0.1 + 0.2) == 300_000_000
    assert nano_usd(0.0) == 0
    assert nano_usd(1e300) == EXACT_MAX


def test_odd_names_and_numbers_stay_one_line() -> None:
    """A model's name with spaces or line ends, negative and enormous counts: one line of seven words, still counted."""
    text = _line(_outcome("my model\nx 9 9 9", input_tokens=-5, output_tokens=10**40))
    (row,) = parse_day(0, [], [text])
    assert (row.provider, row.model) == ("openai", "my_model_x_9_9_9")
    assert (row.input_tokens, row.output_tokens) == (0, EXACT_MAX)
    (row,) = parse_day(0, [], [_line(_outcome(None))])
    assert (row.provider, row.model) == ("openai", "")
