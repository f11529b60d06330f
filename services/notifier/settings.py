"""Settings of the notifier, read once from the environment."""

from __future__ import annotations

from shared.settings import Port
from shared.streams.settings import StreamSettings


class NotifierSettings(StreamSettings, frozen=True, kw_only=True):
    """Address, callers and limits of streams."""

    notifier_host: str = "127.0.0.1"
    notifier_port: Port = 8001
    log_level: str = "INFO"
