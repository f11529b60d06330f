"""Settings: frozen, read once from a mapping (the environment), with one clear line when one is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from shared.errors import SettingsInvalid

SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)

PositiveSeconds = Annotated[float, msgspec.Meta(gt=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

MAX_DEADLINE_SECONDS: Final = 8 * 86_400
"""Longest life of a job before its end: a delay of 7 days and a day to run."""


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine needs to know. Durations in s.

    `lease_seconds`: a worker silent for so long loses its jobs. `result_ttl_seconds`, `log_ttl_seconds`: how long an
    ended job's record and its deltas stay. `usage_ttl_days`: how long the sums of what an organisation used stay.
    `timeout_seconds`: how long a caller waits for Redis. `durability`: what a submit is confirmed by; `wait_replicas`:
    by how many replicas. `sentinel_username`, `sentinel_password`: what the sentinels ask for.
    """

    redis_url: str
    sentinel_username: str = ""
    sentinel_password: str = ""
    durability: Literal["server", "replicated", "fsync"] = "server"
    wait_replicas: Annotated[int, msgspec.Meta(ge=0, le=16)] | None = None
    lease_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 15.0
    result_ttl_seconds: PositiveSeconds = 86_400.0
    log_ttl_seconds: PositiveSeconds = 900.0
    usage_ttl_days: Annotated[float, msgspec.Meta(ge=1, le=36_500)] = 400.0
    organization_events: bool = False
    timeout_seconds: PositiveSeconds = 1.8

    def __post_init__(self) -> None:
        if self.durability == "replicated" and self.wait_replicas == 0:
            raise SettingsInvalid("WAIT_REPLICAS: must be 1 or more when DURABILITY is replicated")

    @property
    def confirming_replicas(self) -> int:
        """How many replicas must have a submit: one when nothing is said; with `fsync` the master's disk is enough."""
        if self.wait_replicas is not None:
            return self.wait_replicas
        return int(self.durability == "replicated")

    @property
    def lease_ms(self) -> int:
        """The lease in ms."""
        return round(self.lease_seconds * 1000)


def _value(mapping: Mapping[str, str], name: str) -> str | None:
    """A setting's text: the variable, else the content of the file that NAME_FILE names. Empty counts as unset."""
    if mapping.get(name):
        return mapping[name]
    path = mapping.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        raise SettingsInvalid(f"{name}_FILE cannot be read") from None


def read(mapping: Mapping[str, str], kind: type[SettingsT], **given: object) -> SettingsT:
    """Fill `kind` from a mapping: field `gateway_port` is the variable GATEWAY_PORT, or the file GATEWAY_PORT_FILE.

    `given` wins over the mapping. SettingsInvalid with one line that names the setting, never its value.
    """
    values: dict[str, Any] = dict(given)
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        if field.name not in values and (text := _value(mapping, name)) is not None:
            values[field.name] = text
        elif field.name not in values and field.required:
            raise SettingsInvalid(f"{name} is not set")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise SettingsInvalid(f"{where.rstrip('`').upper() or 'a setting'}: {what.lower()}") from None


def redis_url(mapping: Mapping[str, str]) -> str | None:
    """Where Redis is, by DESIGN section 7: REDIS_URL, KV_URL, else derived from the REST pair; None: nothing is set.

    Upstash's TCP endpoint is the REST host on port 6379 with TLS and user `default` (its documentation, "Connect Your
    Client"); SettingsInvalid when only half of the pair is there.
    """
    for name in ("REDIS_URL", "KV_URL"):
        if (url := _value(mapping, name)) is not None:
            return url
    for prefix in ("UPSTASH_REDIS_REST", "KV_REST_API"):
        url, token = _value(mapping, f"{prefix}_URL"), _value(mapping, f"{prefix}_TOKEN")
        if url is not None and token is not None:
            host = urlsplit(url).hostname
            if not host:
                raise SettingsInvalid(f"{prefix}_URL is not a URL")
            return f"rediss://default:{quote(token, safe='')}@{host}:6379"
        if url is not None or token is not None:
            raise SettingsInvalid(f"{prefix}_URL and {prefix}_TOKEN must be set together")
    return None


def read_store(mapping: Mapping[str, str]) -> StoreSettings:
    """The engine's settings. SettingsInvalid when no Redis is named."""
    url = redis_url(mapping)
    if url is None:
        raise SettingsInvalid("REDIS_URL is not set (`make run` starts an embedded server and sets it)")
    return read(mapping, StoreSettings, redis_url=url)
