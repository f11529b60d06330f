"""Notes of failed calls and chains: they add up, for a day, within bounds."""

from __future__ import annotations

import pytest

from shared.store.job_store import JobStore
from shared.store.recent_calls import (
    CHAINS_MAX,
    DAY_STRETCHES,
    ERRORS_MAX,
    HOUR_STRETCHES,
    STRETCH_MS,
    GateError,
    NotedCalls,
)
from tests.support.checks import RawRedis, leaks
from tests.support.gates import A, B
from tests.support.store import KEYS

PREFIX = KEYS.prefix("recent_calls")
BYTES_MAX = 33_000
"""Of one string: `note_calls.lua` adds numbers to lines that it has room for."""


async def _stretch(raw: RawRedis) -> int:
    return int((await raw("TIME"))[0]) * 1000 // STRETCH_MS


async def test_notes_add_up(store: JobStore, raw: RawRedis) -> None:
    """Those of several workers, by gate and type; a chain is known at each of its gates, also of calls that succeed."""
    for _ in range(2):
        await store.recent_calls.note({NotedCalls(A, "Timeout", (A, B)): 2, NotedCalls(A, "RateLimited", (A,)): 1}, [])
    await store.recent_calls.note({}, [(B, A)])
    found = await store.recent_calls.read()
    assert found[A].errors == [GateError("Timeout", 4, 4), GateError("RateLimited", 2, 2)]
    assert found[A].chains == [(A, B), (A,), (B, A)]
    assert found[B].errors == []
    assert set(found[B].chains) == {(A, B), (B, A)}
    assert await leaks(store.settings.redis_url) == []
    (key,) = await raw("KEYS", PREFIX + "*")
    assert 0 < await raw("PTTL", key) <= (DAY_STRETCHES + 3) * STRETCH_MS


async def test_the_hour_and_the_day_are_told_apart(store: JobStore, raw: RawRedis) -> None:
    """Calls of two hours ago are of the day alone, those of two days ago of neither."""
    last = await _stretch(raw)
    for at, calls in ((last, 1), (last - HOUR_STRETCHES + 1, 2), (last - 12, 4), (last - 2 * DAY_STRETCHES, 8)):
        await raw("SET", f"{PREFIX}{at}", f"{calls} {A} Timeout {A}")
    assert (await store.recent_calls.read())[A].errors == [GateError("Timeout", 3, 7)]


async def test_whatever_callers_choose_a_string_stays_small(store: JobStore, raw: RawRedis) -> None:
    """Chains of jobs are theirs to make up: when there are too many, failed calls are counted without them, and what
    is noted first stays."""
    for first in range(0, 2000, 100):
        chains = [(A, f"openai:model-{number}") for number in range(first, first + 100)]
        await store.recent_calls.note({NotedCalls(A, "Timeout", chain): 1 for chain in chains}, chains)
    await store.recent_calls.note({NotedCalls(B, "RateLimited", (B, A)): 7}, [])
    found = await store.recent_calls.read()
    assert found[A].errors == [GateError("Timeout", 2000, 2000)]
    assert found[B].errors == [GateError("RateLimited", 7, 7)]
    assert len(found[A].chains) == CHAINS_MAX
    assert sum([await raw("STRLEN", key) for key in await raw("KEYS", PREFIX + "*")]) <= 2 * BYTES_MAX


async def test_one_gate_has_few_types(store: JobStore) -> None:
    """The most frequent ones."""
    await store.recent_calls.note({NotedCalls(A, f"Error{number}", ()): number + 1 for number in range(40)}, [])
    errors = (await store.recent_calls.read())[A].errors
    assert [one.last_hour for one in errors] == list(range(40, 40 - ERRORS_MAX, -1))


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b"7", b"x y z w", f"1 {A} Timeout {A} more".encode(), b"\n\n", "² a b c".encode()]
)
async def test_damage_counts_as_nothing(store: JobStore, raw: RawRedis, damage: bytes) -> None:
    """And the next note has its place beside what can be read."""
    await raw("SET", f"{PREFIX}{await _stretch(raw)}", damage)
    assert dict(await store.recent_calls.read()) == {}
    await store.recent_calls.note({NotedCalls(A, "Timeout", (A,)): 1}, [])
    assert (await store.recent_calls.read())[A].errors == [GateError("Timeout", 1, 1)]


async def test_another_type_of_key_is_replaced(store: JobStore, raw: RawRedis) -> None:
    """A string takes its place."""
    await raw("RPUSH", f"{PREFIX}{await _stretch(raw)}", "x")
    await store.recent_calls.note({NotedCalls(A, "Timeout", (A,)): 1}, [])
    assert (await store.recent_calls.read())[A].errors == [GateError("Timeout", 1, 1)]


async def test_a_name_that_is_none_loses_its_chain_alone(store: JobStore) -> None:
    """A model with a blank or a comma in its name would be several words."""
    await store.recent_calls.note({NotedCalls(A, "Timeout", (A, "any:two words")): 1}, [(A, "any:a,b")])
    found = (await store.recent_calls.read())[A]
    assert (found.errors, found.chains) == ([GateError("Timeout", 1, 1)], [])
