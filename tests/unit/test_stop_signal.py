"""The stop of an attempt, and which of its reasons counts."""

from __future__ import annotations

import asyncio

import pytest

from services.worker.execution.attempt import Interrupted, StopReason, StopSignal


def test_the_first_reason_counts_but_a_lost_lease_overrules_all() -> None:
    """An attempt whose lease is gone must write nothing, with any reason before or after."""
    signal = StopSignal(0.0, 1.0)
    for given, reason in (
        (StopReason.DRAIN, StopReason.DRAIN),
        (StopReason.CANCELLED, StopReason.DRAIN),
        (StopReason.LEASE_LOST, StopReason.LEASE_LOST),
    ):
        signal.stop(given)
        assert signal.reason is reason
    signal.stop(StopReason.TIMEOUT)
    assert signal.reason is StopReason.LEASE_LOST


@pytest.mark.parametrize("inside", [False, True])
async def test_a_task_whose_attempt_was_taken_ends_no_step(inside: bool) -> None:
    """It cannot begin another one, nor end well the one it is in: its next write would not be its own any more."""
    signal = StopSignal(0.0, 1.0)
    entered = False
    if not inside:
        signal.revoke()

    async def step() -> None:
        nonlocal entered
        with signal.step(float("inf")):
            entered = True
            await asyncio.sleep(0)
            signal.revoke()

    with pytest.raises(Interrupted):
        await step()
    assert entered is inside
