"""Gates as callers see them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.events import iso_time
from shared.store.gates import Gate, GateMode
from shared.store.recent_calls import RecentGateCalls

Limit = Annotated[int, Meta(ge=0, le=1_000_000_000)] | None | UnsetType


class GateLimitsChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Limits of a gate; 0: none, null: as the workers are set up. One that is left out stays."""

    requests_per_minute: Limit = UNSET
    tokens_per_minute: Limit = UNSET


class GateErrorView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Failed calls of one type, over the last hour and the last day, right to ten minutes."""

    error_type: str
    last_hour: int
    last_day: int


class GateView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A gate. `reason`: of a blocked or half-open one; `until`: the end of its block; `waiting`: jobs that wait for it,
    `requests_per_minute`, `tokens_per_minute`: limits that operators settled, 0: none; `requests_left`, `tokens_left`:
    the part of a minute's share that no call has reserved, left out where there is no limit. `chains`: those of jobs of
    the last day that may pass it, up to nine, the fleet's first; `errors`: its failed calls, the most frequent of the
    last hour first; both in the list alone. All but state and `until` for operators only."""

    gate: str
    state: GateMode
    reason: str | None = None
    until: str | None = None
    waiting: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_left: int | None = None
    tokens_left: int | None = None
    chains: list[list[str]] | None = None
    errors: list[GateErrorView] | None = None


class GateList(msgspec.Struct, frozen=True):
    """Gates: those of the fleet's chain in its order, then others by name."""

    gates: list[GateView]


class QueueState(msgspec.Struct, frozen=True):
    """Whether the queue is paused: then no job starts."""

    paused: bool


def view(gate: Gate) -> GateView:
    """A gate as operators see it."""
    return GateView(
        gate=gate.name, state=gate.mode, reason=gate.reason, until=_until(gate), waiting=gate.waiting,
        requests_per_minute=gate.requests_per_minute, tokens_per_minute=gate.tokens_per_minute,
        requests_left=gate.requests_left, tokens_left=gate.tokens_left,
    )  # fmt: skip


def bound_view(gate: Gate) -> GateView:
    """The same for a key that is bound to an organisation: nothing of the fleet's work."""
    return GateView(gate=gate.name, state=gate.mode, until=_until(gate))


def with_calls(shown: GateView, calls: RecentGateCalls | None, fleet: tuple[str, ...]) -> GateView:
    """The same with its chains and failed calls. `fleet`: the chain of jobs that bring none."""
    taken = calls.chains if calls is not None else []
    chains = dict.fromkeys([*([fleet] if shown.gate in fleet else []), *taken])
    errors = [
        GateErrorView(error_type=one.error_type, last_hour=one.last_hour, last_day=one.last_day)
        for one in (calls.errors if calls is not None else [])
    ]
    return msgspec.structs.replace(shown, chains=[list(chain) for chain in chains], errors=errors)


def _until(gate: Gate) -> str | None:
    return None if gate.until_ms is None else iso_time(gate.until_ms)
