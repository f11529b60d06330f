"""Metrics: the documented names, per registry, with labels that are bounded."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry

from shared.identity.refusals import Reason
from shared.telemetry.auth_metrics import AuthMetrics
from shared.telemetry.command_budget import RedisMetrics
from shared.telemetry.metrics import (
    JOB_BUCKETS,
    QueueMetrics,
    StreamMetrics,
    SubmitMetrics,
    WorkerMetrics,
    exposition,
    new_registry,
)

DOCUMENTED = {
    "presswork_jobs_submitted": ("priority",),
    "presswork_submits_refused": ("reason",),
    "presswork_jobs_finished": ("outcome",),
    "presswork_job_retries": ("reason",),
    "presswork_recoveries": (),
    "presswork_job_wait_seconds": (),
    "presswork_job_run_seconds": (),
    "presswork_job_total_seconds": (),
    "presswork_job_first_token_seconds": (),
    "presswork_provider_requests": ("provider", "model", "outcome"),
    "presswork_provider_tokens": ("provider", "model", "direction"),
    "presswork_provider_cost_usd": ("provider", "model"),
    "presswork_unknown_finish_reasons": ("provider", "model"),
    "presswork_wasted_tokens": ("reason",),
    "presswork_cut_calls": ("provider", "model"),
    "presswork_budgets_reached": ("period", "percent"),
    "presswork_worker_slots": (),
    "presswork_worker_slots_busy": (),
    "presswork_worker_draining": (),
    "presswork_worker_stuck_tasks": (),
    "presswork_worker_loop_failures": ("loop",),
    "presswork_queue_jobs": ("state",),
    "presswork_queue_delayed_jobs": (),
    "presswork_queue_throttled_jobs": (),
    "presswork_usage_unbooked_jobs": (),
    "presswork_gate_blocked": ("provider", "model", "reason"),
    "presswork_queue_oldest_waiting_seconds": (),
    "presswork_auth_failures": ("reason",),
    "presswork_sse_connections": (),
    "presswork_sse_connections_limit": (),
    "presswork_sse_events": ("kind",),
    "presswork_redis_commands": ("verb",),
    "presswork_redis_quota_exceeded": (),
    "presswork_redis_round_trips": (),
    "presswork_build_info": ("service", "version"),
    "presswork_log_lines_dropped": (),
}


def _all(service: str = "gateway") -> CollectorRegistry:
    registry = new_registry(service)
    for group in (SubmitMetrics, QueueMetrics, WorkerMetrics, StreamMetrics, RedisMetrics):
        group(registry)
    AuthMetrics(registry, Reason)
    return registry


def test_every_instrument_has_its_documented_name() -> None:
    """All groups on one registry export exactly the documented metrics, no name twice, beside the process's own."""
    names = {family.name for family in _all().collect() if not family.name.startswith("process_")}
    assert names == set(DOCUMENTED)


def test_registries_share_nothing() -> None:
    """Two registries in one process count by themselves."""
    first, second = new_registry("gateway"), new_registry("gateway")
    SubmitMetrics(first).submitted.labels("high").inc()
    SubmitMetrics(second)
    assert first.get_sample_value("presswork_jobs_submitted_total", {"priority": "high"}) == 1
    assert second.get_sample_value("presswork_jobs_submitted_total", {"priority": "high"}) is None


def test_the_exposition_is_text_without_creation_times() -> None:
    """`/metrics` holds the build info and no `_created` series, which would double its length."""
    text = exposition(_all("worker")).decode()
    assert 'presswork_build_info{service="worker"' in text
    assert "_created" not in text


def test_job_times_fit_llm_jobs() -> None:
    """The buckets reach from 50 ms to 30 min, growing."""
    assert (JOB_BUCKETS[0], JOB_BUCKETS[-1]) == (0.05, 1800)
    assert list(JOB_BUCKETS) == sorted(JOB_BUCKETS)


def test_the_observer_counts_commands_and_round_trips() -> None:
    """A script that sent 19 commands is 20 commands in one round trip; the verb is the label."""
    registry = new_registry("gateway")
    metrics = RedisMetrics(registry)
    metrics.observe("submit", 20)
    metrics.observe("submit", 1)
    metrics.observe("SUBSCRIBE", 2)
    assert registry.get_sample_value("presswork_redis_commands_total", {"verb": "submit"}) == 21
    assert registry.get_sample_value("presswork_redis_commands_total", {"verb": "subscribe"}) == 2
    assert registry.get_sample_value("presswork_redis_round_trips_total") == 3


def test_queue_gauges_show_nothing_before_and_after_a_reading() -> None:
    """Without figures of the store the gauges are absent or NaN, never an old number."""
    registry = new_registry("gateway")
    metrics = QueueMetrics(registry)
    gates = [("openai", "gpt", "unavailable", True)]
    metrics.show({"queued": 3, "failed": 1}, delayed=2, throttled=1, oldest_seconds=1.5, gates=gates)
    labels = {"provider": "openai", "model": "gpt", "reason": "unavailable"}
    assert registry.get_sample_value("presswork_gate_blocked", labels) == 1
    assert registry.get_sample_value("presswork_queue_jobs", {"state": "queued"}) == 3
    assert registry.get_sample_value("presswork_queue_oldest_waiting_seconds") == 1.5
    metrics.forget()
    assert registry.get_sample_value("presswork_queue_jobs", {"state": "queued"}) is None
    oldest = registry.get_sample_value("presswork_queue_oldest_waiting_seconds")
    assert oldest is not None
    assert math.isnan(oldest)
