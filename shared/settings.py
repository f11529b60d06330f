"""Settings: frozen, read once from a mapping (the environment), with one clear line when one is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from shared.errors import SettingsInvalid
from shared.setting_values import read, setting

PositiveSeconds = Annotated[float, msgspec.Meta(gt=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Quota = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A limit of each organisation; 0: none."""

FRUGAL: Final = {"lease_seconds": 300.0, "deltas": False, "listing": False, "audit_seconds": 86_400.0}
"""Further settings of the pay-per-command profile. Workers sleep for a lease at most and renew every third of one; an
audit reads every record once."""

MAX_DEADLINE_SECONDS: Final = 8 * 86_400
"""Longest life of a job before its end: a delay of 7 days and a day to run."""

KEY_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
"""Characters that mean nothing in a pattern of channels or ACL rules, nor in a hash tag of a cluster."""

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class RestEndpoint(msgspec.Struct, frozen=True):
    """A Redis over HTTP (Upstash REST). The token never shows, neither here nor in a URL."""

    url: str
    token: str

    def __repr__(self) -> str:
        return "RestEndpoint(...)"


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the engine. Durations in s.

    `key_prefix`: the beginning of every key and channel; environments that differ in it share a server and nothing
    else. `lease_seconds`: a worker silent for this long loses its jobs. `result_ttl_seconds`, `log_ttl_seconds`: life
    of an ended job's record and of its deltas. `usage_ttl_days`: life of the sums of an organisation's usage.
    `timeout_seconds`: how long a caller waits for Redis. `rest`: the REST pair when it is set; `redis_transport`: the
    transport of the store, `auto` is decided at the start (`select_transport.py`). `redis_url_derived`: the URL was not
    set, but made from the pair. `frugal`: the host bills every command (docs/upstash.md). `deltas`: the text is written
    to the event log while it grows. `listing`: an organisation's jobs can be listed. `audit_seconds`: how often one
    worker reads all records. `durability`: where a submit must be before it is confirmed; `wait_replicas`: on how many
    replicas. `sentinel_username`, `sentinel_password`: credentials for the sentinels.
    `failed_ttl_seconds`: life of a failed job's record, prompt included, RESULT_TTL_SECONDS at least; of an
    organisation the newest `failed_jobs_max` of together `failed_bytes_max` bytes, older ones live as long as any job.
    `organization_submits_per_minute`: how many jobs one organisation may submit in a minute over all gateways; the
    other limits of each organisation: jobs that run, wait or are delayed, bytes of prompts that wait,
    tokens a minute at each gate; 0: no limit.
    `slot_share`: % of the running jobs above which an organisation starts none while others may; 0: no limit.
    """

    redis_url: str
    key_prefix: str = "pw"
    sentinel_username: str = ""
    sentinel_password: str = ""
    durability: Literal["server", "replicated", "fsync"] = "server"
    wait_replicas: Annotated[int, msgspec.Meta(ge=0, le=16)] | None = None
    rest: RestEndpoint | None = None
    redis_transport: Literal["auto", "tcp", "rest"] = "auto"
    redis_url_derived: bool = False
    frugal: bool = False
    deltas: bool = True
    listing: bool = True
    audit_seconds: Annotated[float, msgspec.Meta(ge=60)] = 3600.0
    lease_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 15.0
    result_ttl_seconds: PositiveSeconds = 86_400.0
    log_ttl_seconds: PositiveSeconds = 900.0
    usage_ttl_days: Annotated[float, msgspec.Meta(ge=1, le=36_500)] = 400.0
    failed_ttl_seconds: PositiveSeconds = 1_209_600.0
    failed_jobs_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    failed_bytes_max: Annotated[int, msgspec.Meta(ge=1, le=2**40)] = 64 << 20
    organization_events: bool = False
    organization_submits_per_minute: Quota = 0
    timeout_seconds: PositiveSeconds = 1.8
    slot_share: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50
    organization_running_jobs: Quota = 0
    organization_tokens_per_minute: Quota = 0
    organization_queued_jobs: Quota = 0
    organization_queued_bytes: Quota = 0
    organization_delayed_jobs: Quota = 0

    def __post_init__(self) -> None:
        if not KEY_PREFIX.match(self.key_prefix):
            raise SettingsInvalid("KEY_PREFIX: must be 1 to 64 letters, digits or . _ : -, a letter or digit first")
        if self.durability == "replicated" and self.wait_replicas == 0:
            raise SettingsInvalid("WAIT_REPLICAS: must be 1 or more when DURABILITY is replicated")

    @property
    def confirming_replicas(self) -> int:
        """Number of replicas that must have a submit: one by default; with `fsync` the master's disk is enough."""
        if self.wait_replicas is not None:
            return self.wait_replicas
        return int(self.durability == "replicated")

    @property
    def profile(self) -> dict[str, object]:
        """Facts for an operator on how Redis is used; no secret in them."""
        return {
            "transport": self.redis_transport,
            "frugal": self.frugal,
            "deltas": self.deltas,
            "listing": self.listing,
            "lease_seconds": self.lease_seconds,
        }

    @property
    def quiet(self) -> bool:
        """Whether starts of jobs are not published, only ends: without deltas there is nothing to show before."""
        return self.frugal and not self.deltas and not self.organization_events

    @property
    def overview_events(self) -> bool:
        """Whether the overview has a stream: not where it would cost commands all the time, nor over REST."""
        return not self.frugal and self.redis_transport != "rest"

    @property
    def lease_ms(self) -> int:
        """The lease in ms."""
        return round(self.lease_seconds * 1000)


def rest_endpoint(mapping: Mapping[str, str]) -> RestEndpoint | None:
    """The REST pair under Upstash's or Vercel's names. SettingsInvalid when half of it is there, or it is no https URL.

    Plain http would carry the token in the clear: it is taken on loopback only.
    """
    for prefix in ("UPSTASH_REDIS_REST", "KV_REST_API"):
        url, token = setting(mapping, f"{prefix}_URL"), setting(mapping, f"{prefix}_TOKEN")
        if url is None and token is None:
            continue
        if url is None or token is None:
            raise SettingsInvalid(f"{prefix}_URL and {prefix}_TOKEN must be set together")
        if not _safe_for_a_token(url):
            raise SettingsInvalid(f"{prefix}_URL is not an https:// URL")
        if not token.isascii() or not token.isprintable():
            raise SettingsInvalid(f"{prefix}_TOKEN is not a token")
        return RestEndpoint(url.rstrip("/"), token)
    return None


def _safe_for_a_token(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    return secure and bool(parts.hostname) and "@" not in parts.netloc


def _given_url(mapping: Mapping[str, str]) -> str | None:
    return setting(mapping, "REDIS_URL") or setting(mapping, "KV_URL")


def redis_url(mapping: Mapping[str, str]) -> str | None:
    """The URL of Redis: REDIS_URL, KV_URL, else derived from the REST pair; None: nothing is set.

    Upstash's TCP endpoint is the REST host on port 6379 with TLS and user `default` (its documentation, "Connect Your
    Client"); SettingsInvalid when only half of the pair is there.
    """
    if (url := _given_url(mapping)) is not None:
        return url
    rest = rest_endpoint(mapping)
    if rest is None:
        return None
    return f"rediss://default:{quote(rest.token, safe='')}@{urlsplit(rest.url).hostname}:6379"


def read_store(mapping: Mapping[str, str]) -> StoreSettings:
    """The engine's settings. SettingsInvalid when no Redis is named."""
    url = redis_url(mapping)
    if url is None:
        raise SettingsInvalid("REDIS_URL is not set (`make run` starts an embedded server and sets it)")
    rest = rest_endpoint(mapping)
    _host(url)
    settings = read(mapping, StoreSettings, redis_url=url, rest=rest, redis_url_derived=_given_url(mapping) is None)
    return _pay_per_command(mapping, settings)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # its text may repeat the password
        raise SettingsInvalid("REDIS_URL cannot be read: are user and password percent-encoded?") from None


def _pay_per_command(mapping: Mapping[str, str], settings: StoreSettings) -> StoreSettings:
    """Apply the pay-per-command profile: on by itself where the host is known to bill commands. Settings set by hand
    are kept."""
    if setting(mapping, "FRUGAL") is None:
        settings = msgspec.structs.replace(settings, frugal=_host(settings.redis_url).endswith(".upstash.io"))
    if not settings.frugal:
        return settings
    unset = {name: value for name, value in FRUGAL.items() if setting(mapping, name.upper()) is None}
    return msgspec.structs.replace(settings, **unset)
