"""Settings of the gateway, read once from the environment."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.chain import fleet_chain, split
from shared.settings import MAX_DEADLINE_SECONDS, Port, Quota
from shared.streams.settings import StreamSettings


class GatewaySettings(StreamSettings, frozen=True, kw_only=True):
    """Address, callers and defaults of jobs.

    `public_events_url`: origin of the notifier as browsers reach it; empty: the links to events are relative.
    `providers`: `provider:model` entries separated by commas, in order of preference; empty: the default models of the
    providers whose keys are set, else the demo. The keys are used for nothing else. `gateway_max_connections`: beyond
    these a new one closes the one that was silent longest. `foreground_seconds`: how long a request to `/v1/responses`
    that is neither streamed nor of the background waits for its end. `max_queued_jobs`: number of waiting jobs from
    which on new ones are refused. `stats_kept_seconds`: largest age of counts; None: exact, in the pay-per-command
    profile a minute. `organization_long_polls`, `organization_body_bytes`: how many calls of one organisation may wait
    at once, and how many bytes of its bodies may be read at once; 0: no limit. `console`: whether the console is
    served; None: on loopback, or where callers need keys. `redis_commands_budget`: commands that a month may take,
    shown beside those of this process in the overview; 0: none.
    """

    gateway_host: str = "127.0.0.1"
    gateway_port: Port = 8000
    public_events_url: str = ""
    providers: str = ""
    openai_api_key: str = ""
    anthropic_api_key: str = ""
    gateway_max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    foreground_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 270.0
    max_queued_jobs: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    stats_kept_seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    job_timeout_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 300.0
    deadline_seconds: Annotated[float, msgspec.Meta(ge=1, le=MAX_DEADLINE_SECONDS)] = 86_400.0
    organization_long_polls: Quota = 0
    organization_body_bytes: Quota = 0
    console: bool | None = None
    redis_commands_budget: Quota = 0
    log_level: str = "INFO"

    @property
    def chain(self) -> tuple[str, ...]:
        """The `provider:model` names a job may name, the default first. SettingsInvalid for a malformed entry."""
        return fleet_chain(self.providers, {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key})

    @property
    def models(self) -> dict[str, frozenset[str]]:
        """The models a job may name, by provider. SettingsInvalid for an entry without a provider."""
        found: dict[str, set[str]] = {}
        for provider, model in map(split, self.chain):
            found.setdefault(provider, set()).add(model)
        return {provider: frozenset(models) for provider, models in found.items()}
