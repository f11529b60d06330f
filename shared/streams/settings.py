"""Settings of who serves event streams."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.server.metrics_port import MetricsSettings
from shared.settings import PositiveSeconds, Quota


class StreamSettings(MetricsSettings, frozen=True, kw_only=True):
    """How many streams, how long and how patient.

    `notifier_max_connections`: beyond so many streams a new one is asked to come back later.
    `notifier_heartbeat_seconds`: the longest silence on a stream. `notifier_send_seconds`: a reader that takes nothing
    for so long is disconnected. `notifier_stream_seconds`: a stream is closed after so long and its browser comes back
    to where it was, for platforms that cut every answer after a time; 0: it lasts as long as its job.
    `organization_streams`: how many streams one organisation may have open here; 0: no limit.
    """

    notifier_max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    notifier_heartbeat_seconds: PositiveSeconds = 15.0
    notifier_send_seconds: PositiveSeconds = 10.0
    notifier_stream_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    organization_streams: Quota = 0
