"""When a worker may conclude that another one is gone (I6)."""

from __future__ import annotations

import pytest

from services.worker.loops.server_watch import View

LEASE = 15.0


def _watch(view: View, now: float, until: float, *, step: float = 2.0, generation: int = 1) -> None:
    """The server answers every `step` seconds."""
    while now <= until:
        view.looked(now, now + 0.01, 1_000_000 + round(now * 1000), generation)
        now += step


def _watched(until: float) -> View:
    """A view of a server that answered from 0 on."""
    view = View(LEASE, 0.0)
    _watch(view, 0.0, until)
    return view


def test_a_whole_lease_must_have_been_seen() -> None:
    """Nothing is recovered before, everything may be after."""
    view = _watched(14.0)
    assert not view.whole(14.9)
    assert view.whole_in(14.0) == pytest.approx(1.0)
    assert view.whole(15.0)


@pytest.mark.parametrize(
    "breaking",
    [
        lambda view: view.broken(20.0),
        lambda view: view.timer(18.0, 20.0),
        lambda view: view.looked(20.0, 20.1, 1_000_000 + 20_100, 2),
        lambda view: view.looked(18.0, 20.0, 1_000_000 + 20_000, 1),
        lambda view: view.looked(20.0, 20.1, 1_000_000 + 35_000, 1),
        lambda view: view.looked(20.0, 20.1, 1_000_000 + 10_000, 1),
    ],
    ids=["lost connection", "late timer", "new connection", "late answer", "server clock ahead", "server clock back"],
)
def test_any_break_costs_another_lease(breaking: object) -> None:
    """A lost or new connection, a late timer or answer, a clock that jumped: the view begins anew."""
    view = _watched(19.0)
    assert view.whole(20.0)
    assert callable(breaking)
    breaking(view)
    _watch(view, 22.0, 34.0)
    assert not view.whole(34.0)
    _watch(view, 36.0, 38.0)
    assert view.whole(38.0)


def test_a_refused_write_breaks_the_view_before_anything_is_asked() -> None:
    """The count of refusals and connections changed: another lease must pass."""
    view = _watched(19.0)
    view.same(19.5, 1)
    assert view.whole(19.5)
    view.same(19.5, 2)
    assert not view.whole(19.5)
    _watch(view, 20.0, 34.0, generation=2)
    assert not view.whole(34.0)


def test_who_has_not_looked_of_late_looks_first() -> None:
    """A worker whose last look was more than half a lease ago takes nothing before two more."""
    view = _watched(19.0)
    assert not view.whole(27.0)
    assert view.whole_in(27.0) == 0.0


def test_after_a_silence_a_second_look_is_needed() -> None:
    """Who slept for a lease on a good connection looks twice, a second apart, before anything is taken."""
    view = _watched(0.0)
    view.timer(15.0, 15.1)
    view.looked(15.1, 15.11, 1_000_000 + 15_110, 1)
    assert not view.whole(15.2)
    assert view.whole_in(15.2) == pytest.approx(0.91)
    assert view.whole(16.2)
