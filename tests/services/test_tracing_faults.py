"""Tracing costs nothing where it is off, and spans alone where its collector fails."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach
from structlog.testing import capture_logs

from shared.errors import SettingsInvalid
from shared.job import JobStatus
from shared.setting_values import read
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.tracing import exporting
from shared.tracing.opening import open_tracer
from shared.tracing.settings import TracingSettings
from shared.tracing.spans import Kind, Tracer
from tests.support.collector import Collector
from tests.support.processes import ROOT, ServiceProcess
from tests.support.store import claim_one, complete, new_job
from tests.support.worker import Scripted, answers, ended, running_worker, until

NOWHERE = "http://127.0.0.1:9"


def _settings(url: str) -> TracingSettings:
    return TracingSettings(otel_exporter_otlp_endpoint=url)


async def test_tracing_costs_no_command_of_redis(redis_url: str, collector: Collector) -> None:
    """A submit, a claim and an end send the same commands with a tracer as without."""
    await _commands(redis_url, None)  # the first on a server makes its groups
    async with open_tracer(_settings(collector.url), "worker") as tracer:
        assert await _commands(redis_url, tracer) == await _commands(redis_url, None) != []


async def _commands(redis_url: str, tracer: Tracer | None) -> list[tuple[str, int]]:
    sent: list[tuple[str, int]] = []

    def note(verb: str, commands: int) -> None:
        sent.append((verb, commands))

    settings = StoreSettings(redis_url=redis_url)
    async with open_store(settings, client_name="test", observer=note, tracer=tracer) as store:
        await complete(store, await claim_one(store))
    return sent


@pytest.mark.parametrize("fault", ["down", "hangs", "refuses"])
async def test_a_collector_that_fails_costs_spans_alone(
    fault: str, collector: Collector, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs complete, the loop goes on, the queue drops what is too much, and the end waits no longer than its bound."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    collector.status = 503
    if fault == "hangs":
        collector.answer.clear()

    silences: list[float] = []
    watching = asyncio.create_task(_watch(silences))
    async with open_tracer(_settings(NOWHERE if fault == "down" else collector.url), "worker") as tracer:
        async with running_worker(store.settings, {"demo": Scripted(answers)}, tracer):
            jobs = [new_job() for _ in range(30)]
            for job in jobs:
                await store.submit(job)
            assert {(await ended(store, job.id)).status for job in jobs} == {JobStatus.COMPLETED}
        began = time.monotonic()

    assert time.monotonic() - began < exporting.FLUSH_SECONDS + 1.0
    watching.cancel()
    assert max(silences) < 2.0
    assert collector.spans == []


async def _watch(silences: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        silences.append(time.monotonic() - began)


async def test_failing_exports_are_one_line_until_they_work(collector: Collector) -> None:
    """One line when they begin to fail, one with the lost spans when they work again, none of the library."""
    collector.status = 400
    with capture_logs() as logs:
        async with open_tracer(_settings(collector.url), "worker") as tracer:
            assert tracer is not None
            for number in range(3):
                tracer.begin("submit", Kind.PRODUCER, {}).end()
                await _answered(collector, number + 1)
            collector.status = 200
            tracer.begin("submit", Kind.PRODUCER, {}).end()
            await collector.named("submit")
    assert [(line["event"], line.get("lost")) for line in logs] == [
        ("span_export_failed", None), ("span_export_resumed", 3),
    ]  # fmt: skip


async def _answered(collector: Collector, times: int) -> None:
    async def reached() -> bool:
        return collector.refused >= times

    await until(reached)


async def test_libraries_find_no_tracer_of_ours(collector: Collector) -> None:
    """SDKs that trace themselves, with prompts if they are set to, find nothing registered for the process."""
    async with open_tracer(_settings(collector.url), "worker") as tracer:
        assert tracer is not None
        with trace.get_tracer("a library").start_as_current_span("chat") as span:
            assert not span.is_recording()


async def test_what_a_library_leaves_in_the_context_is_no_parent(collector: Collector) -> None:
    """A span has the parent that it was given, or none."""
    context = trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False)))
    token = attach(context)
    try:
        async with open_tracer(_settings(collector.url), "worker") as tracer:
            assert tracer is not None
            tracer.begin("submit", Kind.PRODUCER, {}).end()
            (seen,) = await collector.named("submit")
    finally:
        detach(token)
    assert seen.parent == ""


SERVICES = ("gateway", "worker")


@pytest.mark.parametrize("service", SERVICES)
async def test_without_the_extra_a_service_says_what_to_install(service: str, redis_url: str, tmp_path: Path) -> None:
    """One line at start; the service runs, untraced."""
    code = (
        "import runpy, sys; sys.modules['opentelemetry.sdk'] = None; "
        f"runpy.run_module('services.{service}', run_name='__main__')"
    )
    environment = {"REDIS_URL": redis_url, "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}
    log = tmp_path / "log"
    async with ServiceProcess(service, environment, log, command=[sys.executable, "-c", code]) as running:
        assert await running.stop() == 0
    said = log.read_text()
    assert said.count("tracing_not_installed") == 1
    assert "requirements/tracing.txt" in said


@pytest.mark.parametrize("service", ["gateway", "notifier", "worker"])
async def test_opentelemetry_is_imported_where_it_is_asked_for_alone(service: str) -> None:
    """A service that does not trace loads neither the SDK nor its exporter. Where they are installed,
    redis-py and Anthropic's SDK load other parts by themselves."""
    ours = {"shared.tracing.exporting", "opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf"}
    code = f"import sys, services.{service}.app; sys.exit(bool({ours} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    assert await process.wait() == 0


@pytest.mark.parametrize("url", ["collector:4318", "http://", "ftp://collector", "http://collector:port"])
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    """With one line that says how it must look."""
    with pytest.raises(SettingsInvalid, match="OTEL_EXPORTER_OTLP_ENDPOINT must be the URL of a collector"):
        read({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, TracingSettings)


def test_headers_may_come_from_a_file_and_are_not_shown(tmp_path: Path) -> None:
    """They may hold a key of the collector."""
    path = tmp_path / "headers"
    path.write_text("authorization=Bearer planted")
    settings = read({"OTEL_EXPORTER_OTLP_HEADERS_FILE": str(path)}, TracingSettings)
    assert settings.otel_exporter_otlp_headers == "authorization=Bearer planted"
    assert "planted" not in repr(settings)
