"""Where a client finds what it asks for next."""

from __future__ import annotations

import re
from typing import Final

from shared.errors import SettingsInvalid
from shared.store.results import Submitted

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]~/-]+\Z")


class Links:
    """Builds the links of a job: relative, but for the events when the notifier has an origin of its own."""

    def __init__(self, public_events_url: str) -> None:
        """SettingsInvalid when the notifier's origin is not an http(s) URL."""
        if public_events_url and _ORIGIN.match(public_events_url) is None:
            raise SettingsInvalid("PUBLIC_EVENTS_URL is not an http(s) URL")
        self._events = public_events_url.rstrip("/")

    def accepted(self, submitted: Submitted, prefix: str) -> tuple[bytes, bytes]:
        """The Location header and the body of a 202. Nothing in it needs escaping.

        `prefix`: what stands before every path (`prefix_of`).
        """
        job = submitted.job_id
        status = f"{prefix}/api/ai/job-status?jobId={job}"
        body = (
            f'{{"jobId":"{job}","status":"{submitted.status}","links":{{"status":"{status}",'
            f'"events":"{self._events or prefix}/api/ai/job-events?jobId={job}",'
            f'"cancel":"{prefix}/api/ai/jobs/{job}/cancel"}}}}'
        )
        return status.encode(), body.encode()
