"""Every instrument of Presswork, in groups: a service makes the groups it needs on a registry of its own.

No label has unbounded values: a job, an organisation or a customer's text is never one. Durations are in s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from shared.telemetry.log_sink import DROPPED
from shared.version import VERSION

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
"""Media type of `/metrics`; Litestar adds the charset to every text."""

JOB_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800)
"""Buckets from 50 ms to 30 min: from the demo to the longest time-out that customers ask for."""

_MODEL: Final = ("provider", "model")

FIRST_TOKEN_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60)


def new_registry(service: str) -> CollectorRegistry:
    """An empty registry with the metrics of every service: `presswork_build_info` and the process's own figures."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the client has no type here
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    info = Gauge(
        "presswork_build_info", "Always 1; labels: service, version.", ("service", "version"), registry=registry
    )
    info.labels(service, VERSION).set(1)
    registry.register(DROPPED)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The body of `/metrics`, of media type `CONTENT_TYPE`."""
    return generate_latest(registry)


class SubmitMetrics:
    """Metrics of the gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.submitted = Counter(
            "presswork_jobs_submitted_total", "Jobs accepted, by priority.", ("priority",), registry=registry
        )
        self.refused = Counter(
            "presswork_submits_refused_total",
            "Submits and retries refused, batches also when a part was; reason: the problem's name.",
            ("reason",),
            registry=registry,
        )


class LimitMetrics:
    """Of each service that knows limits of organisations."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.refusals = Counter(
            "presswork_organization_limit_refusals_total",
            "Requests refused because an organization had reached a limit of its own, by limit.",
            ("limit",),
            registry=registry,
        )


class QueueMetrics:
    """The queue as the store counts it; the gateway alone exports it, else a sum over services would count it twice."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Gauge(
            "presswork_queue_jobs", "Jobs by state; they add up to all accepted jobs.", ("state",), registry=registry
        )
        self.delayed = Gauge(
            "presswork_queue_delayed_jobs", "The part of queued that is not due yet.", registry=registry
        )
        self.throttled = Gauge(
            "presswork_queue_throttled_jobs", "The part of queued that waits for a provider's gate.", registry=registry
        )
        self.unbooked = Gauge(
            "presswork_usage_unbooked_jobs",
            "Jobs whose usage is in no sum: it could not be written.",
            registry=registry,
        )
        self.gate_blocked = Gauge(
            "presswork_gate_blocked",
            "1 while calls of a provider's model wait; reason: rate_limited or unavailable.",
            ("provider", "model", "reason"),
            registry=registry,
        )
        self.oldest = Gauge(
            "presswork_queue_oldest_waiting_seconds", "Age of the oldest job that could be claimed.", registry=registry
        )
        self.forget()

    def show(
        self,
        jobs: Mapping[str, int],
        *,
        delayed: int,
        throttled: int,
        oldest_seconds: float,
        gates: Iterable[tuple[str, str, str, bool]],
    ) -> None:
        """Set all of them from one reading of the store. `gates`: provider, model, reason and whether it is blocked."""
        self.gate_blocked.clear()
        for provider, model, reason, blocked in gates:
            self.gate_blocked.labels(provider, model, reason).set(blocked)
        self.throttled.set(throttled)
        for state, count in jobs.items():
            self.jobs.labels(state).set(count)
        self.delayed.set(delayed)
        self.oldest.set(oldest_seconds)

    def forget(self) -> None:
        """Remove all figures, which would be old, while the store does not answer."""
        self.jobs.clear()
        self.gate_blocked.clear()
        self.throttled.set(math.nan)
        self.delayed.set(math.nan)
        self.oldest.set(math.nan)


class ProviderCalls:
    """Metrics of a worker's calls of providers: how they ended, and their cost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.first_token = Histogram(
            "presswork_job_first_token_seconds",
            "From claim to the provider's first text.",
            buckets=FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self.requests = Counter(
            "presswork_provider_requests_total",
            "Calls of providers: ok, adjusted (made again), limited, failed, refused, rejected, or why cut.",
            ("provider", "model", "outcome"),
            registry=registry,
        )
        self.tokens = Counter(
            "presswork_provider_tokens_total",
            "Tokens of all calls, broken ones estimated; cached is a part of input.",
            ("provider", "model", "direction"),
            registry=registry,
        )
        self.unknown_finish_reasons = Counter(
            "presswork_unknown_finish_reasons_total",
            "Whole answers whose finish reason is in no table; the log names each once.",
            _MODEL,
            registry=registry,
        )
        self.cost = Counter(
            "presswork_provider_cost_usd_total", "USD of all calls whose price is known.", _MODEL, registry=registry
        )
        self.cut = Counter(
            "presswork_cut_calls_total",
            "Calls whose reported cost was above what was reserved for them, and was cut to it.",
            _MODEL,
            registry=registry,
        )
        self.wasted = Counter(
            "presswork_wasted_tokens_total",
            "Tokens paid for text that was not delivered, by reason.",
            ("reason",),
            registry=registry,
        )


class WorkerMetrics:
    """Metrics of a worker: ends and durations of jobs, and its load; `calls`: results of their provider calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.finished = Counter(
            "presswork_jobs_finished_total", "Jobs this worker ended, by outcome.", ("outcome",), registry=registry
        )
        self.retries = Counter(
            "presswork_job_retries_total",
            "Jobs that this worker requeued, by reason.",
            ("reason",),
            registry=registry,
        )
        self.recoveries = Counter(
            "presswork_recoveries_total", "Jobs this worker recovered from lost ones.", registry=registry
        )
        self.wait = Histogram(
            "presswork_job_wait_seconds", "From claimable to claimed.", buckets=JOB_BUCKETS, registry=registry
        )
        self.run = Histogram(
            "presswork_job_run_seconds", "From claim to end of one attempt.", buckets=JOB_BUCKETS, registry=registry
        )
        self.total = Histogram(
            "presswork_job_total_seconds", "From submit to the end of the job.", buckets=JOB_BUCKETS, registry=registry
        )
        self.calls = ProviderCalls(registry)
        self.slots = Gauge("presswork_worker_slots", "Jobs this worker may run at once.", registry=registry)
        self.busy = Gauge("presswork_worker_slots_busy", "Jobs this worker runs now.", registry=registry)
        self.draining = Gauge("presswork_worker_draining", "1 after SIGTERM: no new jobs.", registry=registry)
        self.stuck = Gauge(
            "presswork_worker_stuck_tasks",
            "Tasks that live on although their jobs were taken from them: /health/live fails after two leases of one.",
            registry=registry,
        )
        self.budgets_reached = _budgets_reached(registry)
        self.loop_failures = Counter(
            "presswork_worker_loop_failures_total",
            "Unforeseen errors that ended a background loop, which was restarted.",
            ("loop",),
            registry=registry,
        )


def _budgets_reached(registry: CollectorRegistry) -> Counter:
    counter = Counter(
        "presswork_budgets_reached_total",
        "Budgets of organizations of which so many per cent (80 or 100) were spent, once a month or day.",
        ("period", "percent"),
        registry=registry,
    )
    for period in ("month", "day"):
        for percent in (80, 100):
            counter.labels(period, percent)
    return counter


class StreamMetrics:
    """Metrics of the notifier."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge("presswork_sse_connections", "Open event streams.", registry=registry)
        self.limit = Gauge("presswork_sse_connections_limit", "Most event streams at once.", registry=registry)
        self.events = Counter("presswork_sse_events_total", "Events sent, by kind.", ("kind",), registry=registry)
