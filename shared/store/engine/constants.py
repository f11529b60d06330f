"""Values of the scripts' headers that are the same in every call of a store: its settings, and bounds of our own."""

from __future__ import annotations

from typing import Final

from shared.settings import MAX_DEADLINE_SECONDS, StoreSettings
from shared.store.routing import Routing

JOB_TRAIL_LENGTH: Final = 10_000
JOB_TRAIL_MS: Final = 90 * 86_400_000
"""Cancels and deletions that the trail of an organisation remembers, about, and for how long after the last, in ms."""

LOSSES_MAX: Final = 3
RELEASES_MAX: Final = 20
"""Number of times a job may lose its worker or be released before it fails (I7)."""

INDEX_LENGTH: Final = 20_000
"""Newest jobs of one organisation and day that the listing keeps."""

CONSUMER_IDLE_MS: Final = 3_600_000

STALE_SLACK_MS: Final = 750
"""Milliseconds beyond a lease, at most, for which an entry is left to its worker: a quarter of a lease. A healthy
worker whose renewals were refused for a moment renews within that time."""


def notice_ms(settings: StoreSettings) -> int:
    """Milliseconds within which a worker is woken for a due time: one that sleeps for minutes for each."""
    return MAX_DEADLINE_SECONDS * 1000 if settings.frugal else settings.lease_ms


def script_constants(settings: StoreSettings, routing: Routing, *, fenced: bool) -> dict[str, str | int]:
    """Values of the scripts' headers that are the same in every call."""
    return {
        "lease_ms": settings.lease_ms,
        "notice_ms": notice_ms(settings),
        "result_ttl": round(settings.result_ttl_seconds * 1000),
        "failed_ttl": round(max(settings.failed_ttl_seconds, settings.result_ttl_seconds) * 1000),
        "failed_jobs_max": settings.failed_jobs_max,
        "failed_bytes_max": settings.failed_bytes_max,
        "log_ttl": round(settings.log_ttl_seconds * 1000),
        "organization_events": int(settings.organization_events),
        "quiet": int(settings.quiet),
        "usage_ttl": round(settings.usage_ttl_days * 86_400_000),
        "index_ttl": round((86_400 + MAX_DEADLINE_SECONDS + settings.result_ttl_seconds) * 1000),
        "index_length": INDEX_LENGTH if settings.listing else 0,
        # No layer below a submit sends it twice: the pay-per-command profile relies on that, and saves one command.
        "sent_once": int(settings.frugal),
        "submits_max": settings.organization_submits_per_minute,
        "job_trail_length": JOB_TRAIL_LENGTH,
        "job_trail_ttl": JOB_TRAIL_MS,
        "losses_max": LOSSES_MAX,
        "releases_max": RELEASES_MAX,
        "stale_ms": settings.lease_ms + min(settings.lease_ms // 4, STALE_SLACK_MS),
        "consumer_idle_ms": CONSUMER_IDLE_MS,
        "fenced": int(fenced),
        "slot_share": settings.slot_share,
        "running_max": settings.organization_running_jobs,
        "tokens_max": settings.organization_tokens_per_minute,
        "queued_max": settings.organization_queued_jobs,
        "queued_kib_max": -(-settings.organization_queued_bytes // 1024),
        "delayed_max": settings.organization_delayed_jobs,
        **routing.constants,
    }
