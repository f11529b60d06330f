"""When a worker may conclude that another one is gone (I6)."""

from __future__ import annotations

import pytest

from services.worker.loops.server_watch import ServerWatch

LEASE = 15.0


def _watch(watch: ServerWatch, now: float, until: float, *, step: float = 2.0, generation: int = 1) -> None:
    """The server answers every `step` seconds."""
    while now <= until:
        watch.answered(now, now + 0.01, 1_000_000 + round(now * 1000), generation)
        now += step


def _watched(until: float) -> ServerWatch:
    """A watch over a server that answered from 0 on."""
    watch = ServerWatch(LEASE, 0.0)
    _watch(watch, 0.0, until)
    return watch


def test_a_whole_lease_must_have_been_seen() -> None:
    """Nothing is recovered before, everything may be after."""
    watch = _watched(14.0)
    assert not watch.trusted(14.9)
    assert watch.trusted_in_s(14.0) == pytest.approx(1.0)
    assert watch.trusted(15.0)


@pytest.mark.parametrize(
    "breaking",
    [
        lambda watch: watch.restart(20.0),
        lambda watch: watch.timer_fired(18.0, 20.0),
        lambda watch: watch.answered(20.0, 20.1, 1_000_000 + 20_100, 2),
        lambda watch: watch.answered(18.0, 20.0, 1_000_000 + 20_000, 1),
        lambda watch: watch.answered(20.0, 20.1, 1_000_000 + 35_000, 1),
        lambda watch: watch.answered(20.0, 20.1, 1_000_000 + 10_000, 1),
    ],
    ids=["lost connection", "late timer", "new connection", "late answer", "server clock ahead", "server clock back"],
)
def test_any_break_costs_another_lease(breaking: object) -> None:
    """A lost or new connection, a late timer or answer, a clock that jumped: the watch starts again."""
    watch = _watched(19.0)
    assert watch.trusted(20.0)
    assert callable(breaking)
    breaking(watch)
    _watch(watch, 22.0, 34.0)
    assert not watch.trusted(34.0)
    _watch(watch, 36.0, 38.0)
    assert watch.trusted(38.0)


def test_a_refused_write_breaks_the_watch_before_anything_is_asked() -> None:
    """The count of refusals and connections changed: another lease must pass."""
    watch = _watched(19.0)
    watch.connected(19.5, 1)
    assert watch.trusted(19.5)
    watch.connected(19.5, 2)
    assert not watch.trusted(19.5)
    _watch(watch, 20.0, 34.0, generation=2)
    assert not watch.trusted(34.0)


def test_a_watch_without_a_recent_answer_needs_two_more() -> None:
    """A worker whose last answer is more than half a lease old recovers nothing before two more."""
    watch = _watched(19.0)
    assert not watch.trusted(27.0)
    assert watch.trusted_in_s(27.0) == 0.0


def test_after_a_silence_a_second_answer_is_needed() -> None:
    """A worker that slept for a lease on a good connection takes two answers, a second apart, before it recovers."""
    watch = _watched(0.0)
    watch.timer_fired(15.0, 15.1)
    watch.answered(15.1, 15.11, 1_000_000 + 15_110, 1)
    assert not watch.trusted(15.2)
    assert watch.trusted_in_s(15.2) == pytest.approx(0.91)
    assert watch.trusted(16.2)
