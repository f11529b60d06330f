"""Instruments of those who ask who calls."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter


class AuthMetrics:
    """Of the gateway and the notifier."""

    def __init__(self, registry: CollectorRegistry, reasons: Iterable[str] = ()) -> None:
        self.failures = Counter(
            "presswork_auth_failures_total",
            "Requests without a known caller: no token, or a bad one.",
            ("reason",),
            registry=registry,
        )
        for reason in reasons:
            self.failures.labels(reason)  # from 0 on, so that the first one is seen as an increase
