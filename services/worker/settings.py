"""Settings of the worker, read once from the environment."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.settings import Port, parse_providers


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much it runs at once, and on what.

    `worker_concurrency`: jobs at once; one renewal carries twice as many leases at most, and Lua unpacks under 8,000.
    `drain_seconds`: how long running jobs may go on after SIGTERM before they are handed back. `providers`:
    `provider:model` entries separated by commas, in order of preference; empty: the demo.
    """

    worker_concurrency: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 50
    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: Port = 9100
    drain_seconds: Annotated[float, msgspec.Meta(ge=0)] = 8.0
    providers: str = ""
    demo_first_token_ms: Annotated[float, msgspec.Meta(ge=0)] = 200.0
    demo_tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 80.0
    demo_failure_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    log_level: str = "INFO"

    @property
    def chain(self) -> tuple[tuple[str, str], ...]:
        """The (provider, model) pairs jobs may run on, the default first. SettingsInvalid for a malformed entry."""
        return parse_providers(self.providers)
