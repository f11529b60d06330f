"""Settings of the worker, read once from the environment."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from shared.chain import fleet_chain
from shared.errors import SettingsInvalid
from shared.settings import Port, PositiveSeconds, entries

_LIMIT: Final = re.compile(r"(\S+)=(\d{1,9})(?:/(\d{1,9}))?\Z")


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much it runs at once, and on what.

    `worker_concurrency`: jobs at once; one renewal carries twice as many leases at most, and Lua unpacks under 8,000.
    `allowed_hosts`: names by which its health and metrics are asked for, see `shared/http/hosts.py`.
    `drain_seconds`: how long running jobs may go on after SIGTERM before they are handed back. `providers`:
    `provider:model` entries separated by commas, in order of preference; empty: those whose keys are set, else the
    demo. `provider_limits`: `provider:model=requests/tokens` a minute, separated by commas, for the whole fleet.
    `gate_failures`: so many failures in a row close a provider's gate. `first_token_seconds`, `token_gap_seconds`: how
    long a provider may be silent. `openai_priced`, `anthropic_priced`: whether the vendor's price list holds at the
    base URL; by default at the vendor's own alone. `provider_proxy`: URL of an HTTP proxy for all calls of providers;
    the environment's proxies are not looked at.
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
    provider_proxy: str = ""
    openai_api_key: str = ""
    openai_base_url: str = ""
    openai_priced: bool | None = None
    anthropic_api_key: str = ""
    anthropic_base_url: str = ""
    anthropic_priced: bool | None = None
    demo_first_token_ms: Annotated[float, msgspec.Meta(ge=0)] = 200.0
    demo_tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 80.0
    demo_failure_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    log_level: str = "INFO"

    @property
    def keys(self) -> dict[str, str]:
        """API keys by provider, empty where there is none."""
        return {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key}

    @property
    def base_urls(self) -> dict[str, str]:
        """Addresses by provider, empty for the vendor's own. A server of one's own may need no key."""
        return {"openai": self.openai_base_url, "anthropic": self.anthropic_base_url}

    @property
    def priced(self) -> dict[str, bool | None]:
        """Whether the vendor's price list holds, by provider."""
        return {"openai": self.openai_priced, "anthropic": self.anthropic_priced}

    @property
    def chain(self) -> tuple[str, ...]:
        """The `provider:model` names jobs may run on, the default first. SettingsInvalid for a malformed entry."""
        return fleet_chain(self.providers, self.keys)

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
