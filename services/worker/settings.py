"""Settings of the worker, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from services.worker.providers.settings import ProviderSettings, read_servers, unused_servers
from shared.errors import SettingsInvalid
from shared.setting_values import read
from shared.settings import Port, PositiveSeconds


class WorkerSettings(ProviderSettings, frozen=True, kw_only=True):
    """The jobs it runs at once, and how long it waits for whom; the providers come with `ProviderSettings`.

    `worker_concurrency`: jobs at once; one renewal carries twice as many leases at most, and Lua unpacks under 8,000.
    `allowed_hosts`: names by which its health and metrics are asked for, see `shared/http/access.py`.
    `drain_seconds`: how long running jobs may go on after SIGTERM before they are released. `first_token_seconds`,
    `token_gap_seconds`: how long a provider may be silent; `thinking_seconds`: how long it may think at a stretch
    instead.
    """

    worker_concurrency: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 50
    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: Port = 9100
    allowed_hosts: str = ""
    drain_seconds: Annotated[float, msgspec.Meta(ge=0)] = 8.0
    first_token_seconds: PositiveSeconds = 60.0
    token_gap_seconds: PositiveSeconds = 30.0
    thinking_seconds: PositiveSeconds = 300.0
    log_level: str = "INFO"


def read_worker(mapping: Mapping[str, str], **given: object) -> WorkerSettings:
    """Read the worker's settings with the servers that PROVIDERS names. SettingsInvalid with one line for a wrong
    one."""
    settings = read(mapping, WorkerSettings, **{"servers": (), **given})
    if not settings.providers and (unused := unused_servers(mapping, ())):
        raise SettingsInvalid(f"PROVIDER_{unused[0]}_… is set, and PROVIDERS names no model of {unused[0].lower()}")
    return msgspec.structs.replace(settings, servers=read_servers(mapping, settings.chain))
