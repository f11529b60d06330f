"""Settings of the notifier, read once from the environment."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.http.access import AccessSettings
from shared.settings import Port, PositiveSeconds


class NotifierSettings(AccessSettings, frozen=True, kw_only=True):
    """Where it listens and whom it serves.

    `notifier_max_connections`: beyond so many streams a new one is asked to come back later.
    `notifier_heartbeat_seconds`: the longest silence on a stream. `notifier_send_seconds`: a reader that takes nothing
    for so long is disconnected. `notifier_stream_seconds`: a stream is closed after so long and its browser comes back
    to where it was, for platforms that cut every answer after a time; 0: it lasts as long as its job.
    """

    notifier_host: str = "127.0.0.1"
    notifier_port: Port = 8001
    notifier_max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    notifier_heartbeat_seconds: PositiveSeconds = 15.0
    notifier_send_seconds: PositiveSeconds = 10.0
    notifier_stream_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    api_tokens: str = ""
    allow_anonymous: bool = False
    log_level: str = "INFO"
