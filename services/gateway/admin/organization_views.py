"""Bodies of the calls that administer organisations: as callers see them, and as they are stored."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.job import NANO
from shared.store.tenant_settings import TenantSettings

USD_MAX: Final = 1_000_000_000
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)] | None | UnsetType
Bytes = Annotated[int, Meta(ge=0, le=1 << 40)] | None | UnsetType
Usd = Annotated[float, Meta(ge=0, le=USD_MAX)] | None | UnsetType
Seconds = Annotated[int, Meta(ge=1, le=366 * 86_400)] | None | UnsetType
Days = Annotated[int, Meta(ge=1, le=36_500)] | None | UnsetType


class _Change(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """A change: a field that is left out stays as it is; null is the fleet's default again."""


class LimitsChange(_Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Limits; 0: none."""

    submits_per_minute: Count = UNSET
    queued_jobs: Count = UNSET
    queued_bytes: Bytes = UNSET
    delayed_jobs: Count = UNSET
    running_jobs: Count = UNSET
    tokens_per_minute: Count = UNSET
    streams: Count = UNSET


class BudgetChange(_Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """USD a month and a day, in UTC; 0: nothing may be spent."""

    month_usd: Usd = UNSET
    day_usd: Usd = UNSET


class RetentionChange(_Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Lifetimes of prompts, results, event logs and sums of usage."""

    prompt_seconds: Seconds = UNSET
    result_seconds: Seconds = UNSET
    events_seconds: Seconds = UNSET
    usage_days: Days = UNSET


class OrganizationChange(_Change, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Changes of an organisation's settings."""

    weight: Annotated[int, Meta(ge=1, le=16)] | UnsetType | None = UNSET
    slot_share: Annotated[int, Meta(ge=0, le=100)] | UnsetType | None = UNSET
    limits: LimitsChange | UnsetType = UNSET
    budget: BudgetChange | UnsetType = UNSET
    retention: RetentionChange | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class LimitsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Limits; null: the fleet's default, 0: none."""

    submits_per_minute: int | None
    queued_jobs: int | None
    queued_bytes: int | None
    delayed_jobs: int | None
    running_jobs: int | None
    tokens_per_minute: int | None
    streams: int | None


class BudgetView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """USD a month and a day; null: the fleet's default."""

    month_usd: float | None
    day_usd: float | None


class RetentionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Lifetimes; null: the fleet's default."""

    prompt_seconds: int | None
    result_seconds: int | None
    events_seconds: int | None
    usage_days: int | None


class OrganizationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An organisation's settings. `slot_share` null: the fleet's default."""

    id: str
    weight: int
    slot_share: int | None
    limits: LimitsView
    budget: BudgetView
    retention: RetentionView
    paused: bool


class OrganizationList(msgspec.Struct, frozen=True):
    """Organisations that have keys or settings, by id."""

    organizations: list[OrganizationView]


_AMOUNTS: Final = {"month_usd": "month_nano_usd", "day_usd": "day_nano_usd"}


def stored_changes(change: OrganizationChange) -> dict[str, int | None]:
    """The fields that change, as `TenantSettings` names them."""
    found: dict[str, int | None] = {}
    for part in (change, change.limits, change.budget, change.retention):
        for name in () if part is UNSET else part.__struct_fields__:
            value: Any = getattr(part, name)
            if value is UNSET or isinstance(value, msgspec.Struct):
                continue
            if name in _AMOUNTS:
                found[_AMOUNTS[name]] = None if value is None else round(value * NANO)
            elif name == "paused":
                found[name] = 1 if value else None
            else:
                found[name] = value
    return found


def view_organization(organization_id: str, settings: TenantSettings) -> OrganizationView:
    """The settings as a caller sees them."""

    def part(kind: type[msgspec.Struct]) -> dict[str, int | None]:
        return {name: getattr(settings, name) for name in kind.__struct_fields__}

    return OrganizationView(
        id=organization_id,
        weight=settings.weight or 1,
        slot_share=settings.slot_share,
        limits=LimitsView(**part(LimitsView)),
        budget=BudgetView(month_usd=_usd(settings.month_nano_usd), day_usd=_usd(settings.day_nano_usd)),
        retention=RetentionView(**part(RetentionView)),
        paused=bool(settings.paused),
    )


def _usd(nano: int | None) -> float | None:
    return None if nano is None else nano / NANO
