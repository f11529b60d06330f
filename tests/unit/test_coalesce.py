"""Many callers, one call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.errors import Overloaded, StoreRejected, StoreUnavailable
from shared.store.engine.batching import MAX_BYTES, MAX_ITEMS, Coalescer


class Server:
    """Records batches; answers each item with itself once it may."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def flush(self, items: Sequence[int]) -> list[int]:
        """Answer a batch."""
        self.batches.append(list(items))
        await self.gate.wait()
        return list(items)


async def test_calls_during_a_flight_leave_together() -> None:
    """The first iteration is one batch; calls during it are the next, in order, at most 64 at a time."""
    server = Server()
    call = Coalescer(server.flush, patience_s=5.0)
    first = [asyncio.create_task(call(number)) for number in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(call(number)) for number in range(3, 103)]
    await asyncio.sleep(0)
    server.gate.set()
    assert await asyncio.gather(*first, *later) == list(range(103))
    assert [len(batch) for batch in server.batches] == [3, MAX_ITEMS, 100 - MAX_ITEMS]


async def test_a_batch_is_bounded_in_bytes() -> None:
    """Big items leave in smaller batches; one that is larger than the bound goes alone."""
    server = Server()
    server.gate.set()
    call = Coalescer(server.flush, patience_s=5.0)
    sizes = [MAX_BYTES // 2, MAX_BYTES // 2, 10, MAX_BYTES * 2, 10]
    await asyncio.gather(*(call(number, size) for number, size in enumerate(sizes)))
    assert server.batches == [[0, 1], [2], [3], [4]]


async def test_a_caller_that_gave_up_takes_its_item_along() -> None:
    """Unsent calls are not sent any more."""
    server = Server()
    call = Coalescer(server.flush, patience_s=5.0)
    sent = asyncio.create_task(call(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(call(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    server.gate.set()
    assert [await sent, await waiting[1]] == [1, 3]
    assert server.batches == [[1], [3]]


async def test_patience_tells_whether_the_item_was_sent() -> None:
    """A caller in the batch in flight may have been served, one that waited behind it was not."""
    server = Server()
    call = Coalescer(server.flush, patience_s=0.05)
    results = asyncio.gather(call(1), asyncio.sleep(0.01, 0), return_exceptions=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable) as unsent:
        await call(2)
    sent = (await results)[0]
    assert isinstance(sent, StoreUnavailable)
    assert (sent.sent, unsent.value.sent) == (True, False)
    server.gate.set()
    await call.aclose()
    assert server.batches == [[1]]


async def test_an_error_reaches_every_caller_of_its_batch_and_nobody_else() -> None:
    """The next batch is still sent."""
    calls = 0

    async def flush(items: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreUnavailable("gone", sent=True)
        return list(items)

    call = Coalescer(flush, patience_s=None)
    results = await asyncio.gather(*(call(number) for number in range(MAX_ITEMS + 1)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results[:MAX_ITEMS])
    assert results[MAX_ITEMS] == MAX_ITEMS


async def test_the_queue_of_waiters_is_bounded() -> None:
    """Beyond the bound a caller is refused at once, and nothing of it is sent."""
    server = Server()
    call = Coalescer(server.flush, patience_s=5.0, max_waiting=2)
    waiting = [asyncio.create_task(call(number)) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await asyncio.gather(call(7), call(8), call(9))
    server.gate.set()
    assert await asyncio.gather(*waiting) == [0, 1]


async def test_full_only_sends_nothing_but_full_batches_beside_another_call() -> None:
    """Less than a batch waits for the answer on its way; full batches leave at once, as far as they may."""
    server = Server()
    call = Coalescer(server.flush, patience_s=5.0, in_flight=3, full_only=True)
    calls = [asyncio.create_task(call(0))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls += [asyncio.create_task(call(number)) for number in range(1, MAX_ITEMS)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert server.batches == [[0]]
    calls += [asyncio.create_task(call(number)) for number in range(MAX_ITEMS, 4 * MAX_ITEMS)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(batch) for batch in server.batches] == [1, MAX_ITEMS, MAX_ITEMS]
    server.gate.set()
    assert await asyncio.gather(*calls) == list(range(4 * MAX_ITEMS))
    assert [len(batch) for batch in server.batches] == [1, MAX_ITEMS, MAX_ITEMS, MAX_ITEMS, MAX_ITEMS - 1]


async def test_who_waits_is_answered_also_when_the_sender_is_cancelled() -> None:
    """No caller waits without end, neither for the batch that was cut nor for the next one; the next call is sent."""
    server = Server()
    call = Coalescer(server.flush, patience_s=None)
    waiting = [asyncio.create_task(call(number)) for number in range(MAX_ITEMS + 2)]
    async with asyncio.timeout(30):
        while not server.batches:
            await asyncio.sleep(0)
        (sender,) = (task for task in asyncio.all_tasks() if task.get_name() == "coalescer")
        sender.cancel()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        server.gate.set()
        assert await call(7) == 7
    assert {type(one) for one in found} == {StoreUnavailable}


async def test_an_answer_of_another_length_is_an_error_of_every_caller() -> None:
    """No caller gets a neighbour's answer or waits without end."""

    async def flush(items: Sequence[int]) -> Sequence[int]:
        return items[1:]

    call = Coalescer(flush, patience_s=None)
    async with asyncio.timeout(30):
        found = await asyncio.gather(*(call(number) for number in range(3)), return_exceptions=True)
    assert {type(one) for one in found} == {StoreRejected}
