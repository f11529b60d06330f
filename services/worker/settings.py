"""Settings of the worker, read once from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from services.worker.providers import THINK_TAGS
from services.worker.providers.settings import Server, read_servers, unused_servers
from shared.chain import fleet_chain
from shared.errors import SettingsInvalid
from shared.settings import Port, PositiveSeconds, entries, read

_LIMIT: Final = re.compile(r"(\S+)=(\d{1,9})(?:/(\d{1,9}))?\Z")


_TAG: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
TAGS_MAX: Final = 8
SECRET_MIN: Final = 32


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs it runs at once, and the providers it runs them on.

    `worker_concurrency`: jobs at once; one renewal carries twice as many leases at most, and Lua unpacks under 8,000.
    `allowed_hosts`: names by which its health and metrics are asked for, see `shared/http/hosts.py`.
    `drain_seconds`: how long running jobs may go on after SIGTERM before they are released. `providers`:
    `provider:model` entries separated by commas, in order of preference; empty: those whose keys are set, else the
    demo. `provider_limits`: `provider:model=requests/tokens` a minute, separated by commas, for the whole fleet.
    `gate_failures`: so many failures in a row close a provider's gate. `first_token_seconds`, `token_gap_seconds`: how
    long a provider may be silent; `thinking_seconds`: how long it may think at a stretch instead. `think_tags`: names
    of the tags around thoughts at the start of a text, separated by commas; empty: they are text. `openai_priced`,
    `anthropic_priced`: whether the vendor's price list holds at the base URL, or whose; by default that of the vendor
    whose address it is. `prices`: a file of prices, which come before any list. `servers`: those with settings of their
    own (`read_worker`). `provider_proxy`: URL of an HTTP proxy for all calls of providers; the environment's proxies
    are ignored. `attribution`: who is told an identifier of the end user: the vendors, all servers, or nobody;
    `attribution_secret`: the key of that identifier, one for the whole fleet; empty: one that is kept in Redis.
    """

    worker_concurrency: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 50
    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: Port = 9100
    allowed_hosts: str = ""
    drain_seconds: Annotated[float, msgspec.Meta(ge=0)] = 8.0
    providers: str = ""
    provider_limits: str = ""
    gate_failures: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 5
    first_token_seconds: PositiveSeconds = 60.0
    token_gap_seconds: PositiveSeconds = 30.0
    thinking_seconds: PositiveSeconds = 300.0
    think_tags: str = ",".join(THINK_TAGS)
    provider_proxy: str = ""
    openai_api_key: str = ""
    openai_base_url: str = ""
    openai_priced: str = ""
    anthropic_api_key: str = ""
    anthropic_base_url: str = ""
    anthropic_priced: str = ""
    prices: str = ""
    attribution: Literal["vendors", "all", "off"] = "vendors"
    attribution_secret: str = ""
    servers: tuple[Server, ...] = ()
    demo_first_token_ms: Annotated[float, msgspec.Meta(ge=0)] = 200.0
    demo_tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 80.0
    demo_failure_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if 0 < len(self.attribution_secret) < SECRET_MIN:
            raise SettingsInvalid(f"ATTRIBUTION_SECRET: must have at least {SECRET_MIN} characters")

    def __repr__(self) -> str:
        return "WorkerSettings(...)"  # there are keys in it

    @property
    def keys(self) -> dict[str, str]:
        """API keys of the vendors, empty where there is none."""
        return {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key}

    @property
    def known_servers(self) -> dict[str, Server]:
        """Every server that may be called, by the name of its provider. One of one's own may need no key."""
        openai = Server(
            name="openai", dialect="openai", base_url=self.openai_base_url, key=self.openai_api_key,
            priced=self.openai_priced,
        )  # fmt: skip
        anthropic = Server(
            name="anthropic", dialect="anthropic", base_url=self.anthropic_base_url, key=self.anthropic_api_key,
            priced=self.anthropic_priced,
        )  # fmt: skip
        return {server.name: server for server in (openai, anthropic, *self.servers)}

    @property
    def chain(self) -> tuple[str, ...]:
        """The `provider:model` names jobs may run on, the default first. SettingsInvalid for a malformed entry."""
        return fleet_chain(self.providers, self.keys)

    @property
    def tags(self) -> tuple[str, ...]:
        """`think_tags` one by one, in lower case. SettingsInvalid for an entry that is no name of a tag."""
        found = tuple(dict.fromkeys(entry.lower() for entry in entries(self.think_tags)))
        if len(found) > TAGS_MAX or not all(_TAG.fullmatch(tag) for tag in found):
            raise SettingsInvalid(
                f"THINK_TAGS: at most {TAGS_MAX} names separated by commas, letters only: think,thinking"
            )
        return found

    @property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Requests and tokens a minute (0: no limit) by `provider:model`. SettingsInvalid for a malformed entry."""
        found = {}
        for entry in entries(self.provider_limits):
            parsed = _LIMIT.match(entry)
            if parsed is None:
                raise SettingsInvalid("PROVIDER_LIMITS: every entry is `provider:model=requests/tokens`")
            found[parsed.group(1)] = (int(parsed.group(2)), int(parsed.group(3) or 0))
        return found


def read_worker(mapping: Mapping[str, str], **given: object) -> WorkerSettings:
    """The worker's settings with the servers that PROVIDERS names. SettingsInvalid with one line for a wrong one."""
    settings = read(mapping, WorkerSettings, **{"servers": (), **given})
    if not settings.providers and (unused := unused_servers(mapping, ())):
        raise SettingsInvalid(f"PROVIDER_{unused[0]}_… is set, and PROVIDERS names no model of {unused[0].lower()}")
    return msgspec.structs.replace(settings, servers=read_servers(mapping, settings.chain))
