"""A traced fleet as processes: unsent spans leave with SIGTERM, and a collector that hangs holds no process."""

from __future__ import annotations

import time
from pathlib import Path

from shared.store.embedded.server import EmbeddedServer
from shared.tracing import exporting
from tests.support.collector import Collector, running_collector
from tests.support.processes import ServiceProcess
from tests.support.stack import running_stack

PLANTED = "a secret launch of the zebra umbrella"


async def _run(server: EmbeddedServer, folder: Path, collector: Collector) -> list[float]:
    """Run a job and end the services; how long each took to end, in s."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    async with running_stack(server, folder, settings) as running:
        assert (await running.end(await running.submit(1, prompt=PLANTED)))["status"] == "completed"
        return [await _stopped(service) for service in (running.workers[0], running.gateway)]


async def _stopped(service: ServiceProcess) -> float:
    began = time.monotonic()
    assert await service.stop() == 0
    return time.monotonic() - began


async def test_spans_leave_with_sigterm(server: EmbeddedServer, tmp_path: Path) -> None:
    """A trace is whole although no batch was due: each process sends what it has before it ends."""
    with running_collector() as collector:
        await _run(server, tmp_path, collector)
        spans, everything = collector.spans, b"".join(collector.bodies)
    assert [span.name for span in spans] == ["chat demo", "attempt", "submit"]
    call, attempt, submit = spans
    assert (call.parent, attempt.parent, submit.parent) == (attempt.span, submit.span, "")
    assert len({span.trace for span in spans}) == 1
    assert PLANTED.encode() not in everything


async def test_a_collector_that_hangs_holds_no_process(server: EmbeddedServer, tmp_path: Path) -> None:
    """They end within the bound of a flush, and the drain that they need anyway."""
    with running_collector() as collector:
        collector.answer.clear()
        took = await _run(server, tmp_path, collector)
    assert max(took) < exporting.FLUSH_SECONDS + 8.0
