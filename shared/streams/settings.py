"""Settings of services that serve event streams."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.identity.settings import IdentitySettings
from shared.settings import PositiveSeconds, Quota


class StreamSettings(IdentitySettings, frozen=True, kw_only=True):
    """Bounds of streams: number, seconds, patience.

    `notifier_max_connections`: with more streams a new one is asked to come back later. `notifier_heartbeat_seconds`:
    the longest silence on a stream. `notifier_send_seconds`: a reader that takes nothing for this long is disconnected.
    `notifier_stream_seconds`: a stream is closed after this time and its browser continues at its cursor, for platforms
    that cut every response after a time; 0: it lasts as long as its job. `organization_streams`: how
    many streams one organisation may have open here; 0: no limit.
    """

    notifier_max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    notifier_heartbeat_seconds: PositiveSeconds = 15.0
    notifier_send_seconds: PositiveSeconds = 10.0
    notifier_stream_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    organization_streams: Quota = 0
