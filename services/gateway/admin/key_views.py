"""Bodies of the calls that administer keys."""

from __future__ import annotations

import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from services.gateway.submit.schemas import Identifier
from shared.events import Time, iso_time
from shared.http.auth import Scope
from shared.identity.key_text import PATTERN
from shared.store.api_keys import ApiKey
from shared.store.keys import OPERATORS

LABEL_MAX: Final = 100
MODELS_MAX: Final = 64
OVERLAP_MAX: Final = 30 * 86_400
OPERATORS_MEANING: Final = "`*`: an operator's key, of no organization"

Model = Annotated[str, Meta(min_length=3, max_length=64 + 1 + 128, pattern=r"^[^\s,=:]+:[^\s,=]+\Z")]


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A new key. `models`: the `provider:model` names that it may use; left out: all that are served."""

    organization_id: Annotated[
        Identifier | None, Meta(description=f"May be left out by a bound key; {OPERATORS_MEANING}")
    ] = None
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope))]
    label: Annotated[str, Meta(max_length=LABEL_MAX, pattern=r"^[^\x00-\x1f\x7f]*\Z")] = ""
    expires_at: Annotated[datetime.datetime, Meta(tz=True)] | None = None
    models: Annotated[list[Model], Meta(max_length=MODELS_MAX)] = []


class RotateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Time that the old key goes on beside the new one, in s."""

    overlap_seconds: Annotated[float, Meta(ge=0, le=OVERLAP_MAX)] = 0


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new key. `key` is shown here and never again."""

    id: str
    key: Annotated[str, Meta(extra_json_schema={"pattern": f"^{PATTERN}$"})]
    organization_id: str
    scopes: list[str]
    label: str
    models: list[str]
    created_at: Time
    expires_at: Time | None


class KeyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key without its secret. `last_used_on` is a day, in UTC."""

    id: str
    organization_id: str
    scopes: list[str]
    label: str
    models: list[str]
    created_at: Time
    expires_at: Time | None
    last_used_on: Annotated[str, Meta(extra_json_schema={"format": "date"})] | None
    revoked_at: Time | None


class KeyList(msgspec.Struct, frozen=True):
    """Keys, also those that ended in the last 30 days."""

    keys: list[KeyView]


def _at(ms: int | None) -> str | None:
    return None if ms is None else iso_time(ms)


def holder(organization_id: str | None) -> str:
    """The organisation of a key as it is shown."""
    return OPERATORS if organization_id is None else organization_id


def created_view(key: ApiKey, text: str) -> CreatedKey:
    """The one answer that holds the key's text."""
    return CreatedKey(
        id=key.id, key=text, organization_id=holder(key.organization_id), scopes=list(key.scopes), label=key.label,
        models=list(key.models), created_at=iso_time(key.created_ms), expires_at=_at(key.expires_ms),
    )  # fmt: skip


def view_key(key: ApiKey) -> KeyView:
    """A row of a listing."""
    return KeyView(
        id=key.id, organization_id=holder(key.organization_id), scopes=list(key.scopes), label=key.label,
        models=list(key.models), created_at=iso_time(key.created_ms), expires_at=_at(key.expires_ms),
        last_used_on=key.used_on, revoked_at=_at(key.revoked_ms),
    )  # fmt: skip
