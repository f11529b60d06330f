"""Streams of a process go on in turn, by organisation."""

from __future__ import annotations

import asyncio

from shared.streams.fair_shares import RoundRobin


async def _take(turns: RoundRobin, organization_id: str, order: list[str]) -> None:
    await turns.wait(organization_id)
    order.append(organization_id)


async def test_one_organisation_delays_no_other() -> None:
    """A thousand streams of one organisation want to go on: the one of another is next, and none is forgotten."""
    turns, order = RoundRobin(at_once=4), list[str]()
    async with asyncio.TaskGroup() as group:
        for _ in range(1000):
            group.create_task(_take(turns, "a", order))
        group.create_task(_take(turns, "b", order))
    assert order.index("b") < 4 + 2
    assert len(order) == 1001


async def test_organisations_share_each_iteration() -> None:
    """Of those that wait each has the same part of an iteration, whatever the number of its streams."""
    turns, order = RoundRobin(at_once=6), list[str]()
    async with asyncio.TaskGroup() as group:
        for name, streams in (("a", 60), ("b", 20), ("c", 20)):
            for _ in range(streams):
                group.create_task(_take(turns, name, order))
    shared = order[6:60]
    assert {name: shared.count(name) for name in "abc"} == {"a": 18, "b": 18, "c": 18}


async def test_streams_that_left_take_no_turn() -> None:
    """A stream that is cancelled while it waits leaves its turn to the next."""
    turns, order = RoundRobin(at_once=1), list[str]()
    tasks = [asyncio.create_task(_take(turns, "a", order)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[1:-1]:
        task.cancel()
    await asyncio.wait_for(tasks[-1], 5)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(order) < 50


async def test_few_streams_wait_for_nothing() -> None:
    """Below the bound a turn is taken without giving the event loop away."""
    turns = RoundRobin()
    for _ in range(5):
        turn = turns.wait("a")
        try:
            turn.send(None)
        except StopIteration:
            continue
        raise AssertionError("it waited")
