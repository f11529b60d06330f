"""Traces of jobs, at a collector: one trace from the caller through the queue to the provider, and no text in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import msgspec
import pytest

from services.worker.providers import Action, Completion, GenerationRequest, Item, ProviderError
from shared.job import JobError, JobStatus, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from shared.tracing import conventions
from shared.tracing.opening import open_tracer
from shared.tracing.settings import TracingSettings
from tests.support.collector import Collector, Seen
from tests.support.gateway import SUBMIT, body, running_gateway
from tests.support.store import new_job, submit
from tests.support.worker import Scripted, ended, raises, running_worker, waits_until_closed

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"

BUSY = ProviderError(JobError(type="ProviderUnavailable", message="the provider is busy", retryable=True), Action.RETRY)
REFUSED = ProviderError(JobError(type="BadRequest", message="the provider refused the request"), Action.FAIL)

HEADERS = "x-team=a%20b,authorization=Bearer planted"

SECRETS = ("zebra-umbrella", "user-planted", "project-planted", "tone-planted", "answer-planted", "instruction-planted")
"""Texts of a job that no span may hold."""


Traced = Callable[..., Any]


@pytest.fixture
async def traced(collector: Collector, redis_url: str) -> AsyncIterator[Traced]:
    """`await traced(provider)`: a traced gateway's client, before a traced worker."""
    async with AsyncExitStack() as exits:

        async def start(provider: Scripted) -> httpx.AsyncClient:
            settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
            tracing = TracingSettings(otel_exporter_otlp_endpoint=collector.url, otel_exporter_otlp_headers=HEADERS)
            tracer = await exits.enter_async_context(open_tracer(tracing, "worker"))
            await exits.enter_async_context(running_worker(settings, {"demo": provider}, tracer))
            gateway = running_gateway(
                redis_url, PROVIDERS="demo:demo", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
                OTEL_EXPORTER_OTLP_HEADERS=HEADERS,
            )  # fmt: skip
            return await exits.enter_async_context(gateway)

        yield start


def _fails_once() -> Scripted:
    async def stream(request: GenerationRequest) -> AsyncIterator[Item]:
        if request.attempt == 1:
            raise BUSY
        yield "answer-planted"
        usage = Usage(input_tokens=7, output_tokens=11, cached_tokens=3, reasoning_tokens=2)
        yield Completion(usage=usage, finish_reason="stop")

    return Scripted(stream)


class Told(msgspec.Struct, frozen=True):
    """The spans of a job whose first attempt failed."""

    job_id: str
    submit: Seen
    first: Seen
    second: Seen
    failed: Seen
    answered: Seen


async def _told(traced: Traced, collector: Collector) -> Told:
    """All spans of a job with texts, from a caller that traces."""
    client = await traced(_fails_once())
    sent = body(
        prompt=SECRETS[0], userId=SECRETS[1], projectId=SECRETS[2], parameters={"tone": SECRETS[3]},
        instructions=SECRETS[5], maxTokens=50, temperature=0.5, metadata={"a": SECRETS[0]},
    )  # fmt: skip
    answer = await client.post(SUBMIT, json=sent, headers={"traceparent": TRACEPARENT})
    attempts, calls = await collector.named("attempt", 2), await collector.named("chat demo", 2)
    return Told(answer.json()["jobId"], *await collector.named("submit"), *attempts, *calls)


async def test_a_job_is_one_trace_from_its_caller_to_its_provider(traced: Traced, collector: Collector) -> None:
    """Submit is the caller's child, attempts are the submit's, calls their attempts'; the retry is linked to the
    attempt before it, with the reason."""
    told = await _told(traced, collector)
    assert {span.trace for span in collector.spans} == {TRACE}
    assert {span.schema for span in collector.spans} == {conventions.SCHEMA_URL}

    shapes = [(span.parent, span.kind, span.service) for span in collector.spans]
    assert sorted(shapes) == sorted([
        (SPAN, "producer", "presswork-gateway"),
        (told.submit.span, "consumer", "presswork-worker"),
        (told.submit.span, "consumer", "presswork-worker"),
        (told.first.span, "client", "presswork-worker"),
        (told.second.span, "client", "presswork-worker"),
    ])  # fmt: skip
    assert (told.failed.parent, told.answered.parent) == (told.first.span, told.second.span)
    assert told.first.links == {}
    assert told.second.links == {told.first.span: {"presswork.retry.reason": "error", "presswork.attempt": 1}}
    assert [span.name for span in collector.spans if span.failed] == ["chat demo", "attempt"]


async def test_spans_of_the_queue_say_which_job_and_how_it_goes_on(traced: Traced, collector: Collector) -> None:
    """In the words of the conventions for messages, and a few of our own."""
    told = await _told(traced, collector)
    queued = {
        "messaging.system": "presswork", "messaging.destination.name": "normal", "messaging.message.id": told.job_id,
        "presswork.organization.id": "org-789",
    }  # fmt: skip
    assert told.submit.attributes == queued | {
        "messaging.operation.name": "submit", "messaging.operation.type": "send", "presswork.job.created": True,
    }  # fmt: skip

    attempt = queued | {"messaging.operation.name": "attempt", "messaging.operation.type": "process"}
    assert told.second.attributes.pop("presswork.job.wait_seconds") >= 0
    assert told.second.attributes == attempt | {
        "presswork.attempt": 2, "presswork.job.status": "completed", "presswork.job.cost_usd": 0.06,
    }  # fmt: skip
    assert told.first.attributes.pop("presswork.job.wait_seconds") >= 0
    assert told.first.attributes == attempt | {
        "presswork.attempt": 1, "presswork.job.status": "queued", "presswork.retry.reason": "error",
        "error.type": "ProviderUnavailable",
    }  # fmt: skip


async def test_calls_of_providers_follow_the_conventions(traced: Traced, collector: Collector) -> None:
    """The request, the usage and the end of a call, and the type of its error."""
    told = await _told(traced, collector)
    asked = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "demo", "gen_ai.request.model": "demo",
        "gen_ai.request.stream": True, "gen_ai.output.type": "text", "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5, "presswork.organization.id": "org-789",
    }  # fmt: skip
    assert told.failed.attributes == asked | {
        "presswork.call.outcome": "failed", "error.type": "ProviderUnavailable",
    }  # fmt: skip
    assert 0 <= told.answered.attributes.pop("gen_ai.response.time_to_first_chunk") < 30
    assert told.answered.attributes == asked | {
        "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 11, "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2, "gen_ai.response.finish_reasons": ["stop"],
        "presswork.call.outcome": "ok",
    }  # fmt: skip


async def test_no_text_of_a_job_and_no_user_is_exported(traced: Traced, collector: Collector) -> None:
    """None of them is in the bytes that a collector gets; its own headers are sent as they are set."""
    await _told(traced, collector)
    everything = b"".join(collector.bodies)
    assert b"org-789" in everything
    assert [text for text in SECRETS if text.encode() in everything] == []
    assert (collector.headers["x-team"], collector.headers["authorization"]) == ("a b", "Bearer planted")


@pytest.mark.parametrize(
    "header",
    ["x", TRACEPARENT.upper(), "00-" + "0" * 60_000, f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
     f"{TRACEPARENT}-more", f"00-{'0' * 32}-{SPAN}-01"],
    ids=["short", "upper", "long", "version", "no-span", "more", "no-trace"],
)  # fmt: skip
async def test_a_malformed_context_of_a_caller_is_none(
    header: str, traced: Traced, collector: Collector, store: JobStore
) -> None:
    """The job is taken, in a trace of its own, and its record holds that of its submit, at its one length."""
    client = await traced(_fails_once())
    answer = await client.post(SUBMIT, json=body(), headers={"traceparent": header})
    assert answer.status_code == 202
    job = await ended(store, answer.json()["jobId"])
    (submit,) = await collector.named("submit")
    assert submit.parent == ""
    assert submit.trace not in {TRACE, "0" * 32}
    assert job.spec.traceparent == f"00-{submit.trace}-{submit.span}-01"
    assert len(job.spec.traceparent) == 55


async def test_a_caller_that_is_not_sampled_gets_no_span(traced: Traced, collector: Collector, store: JobStore) -> None:
    """Its flag crosses the queue, so the attempt is not exported either."""
    client = await traced(_fails_once())
    for flags in ("00", "01"):
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}
        await ended(store, (await client.post(SUBMIT, json=body(), headers=headers)).json()["jobId"])
    await collector.named("chat demo", 2)
    assert len(await collector.named("submit")) == 1
    assert len(await collector.named("attempt", 2)) == 2


async def test_a_retry_of_a_job_is_linked_to_its_submit(traced: Traced, collector: Collector, store: JobStore) -> None:
    """The call `…/retry` begins a trace of its own, or continues its caller's, and names the submit before."""
    client = await traced(Scripted(raises(REFUSED)))
    failed = (await client.post(SUBMIT, json=body())).json()["jobId"]
    assert (await ended(store, failed)).status is JobStatus.FAILED
    await client.post(f"/api/ai/jobs/{failed}/retry", headers={"traceparent": TRACEPARENT})
    first, second = await collector.named("submit", 2)
    assert (list(second.links), second.trace, second.parent) == ([first.span], TRACE, SPAN)
    assert first.trace != TRACE

    attempt = (await collector.named("attempt"))[0]
    assert (attempt.attributes["presswork.job.status"], attempt.attributes["error.type"]) == ("failed", "BadRequest")


async def test_a_job_of_an_untraced_gateway_is_one_trace(collector: Collector, store: JobStore) -> None:
    """Its attempts have a trace that is derived from its id, and are linked like all others."""
    tracing = TracingSettings(otel_exporter_otlp_endpoint=collector.url)
    async with (
        open_tracer(tracing, "worker") as tracer,
        running_worker(store.settings, {"demo": _fails_once()}, tracer),
    ):
        job = new_job()
        await store.submit(job)
        await ended(store, job.id)
    first, second = await collector.named("attempt", 2)
    assert first.trace == second.trace
    assert (first.parent, second.parent, list(second.links)) == ("", "", [first.span])


async def test_an_attempt_whose_lease_was_lost_has_a_span(collector: Collector, store: JobStore) -> None:
    """It says so, and its call, which was cut, too."""
    closed = asyncio.Event()
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)
    provider = Scripted(waits_until_closed(closed))
    tracing = TracingSettings(otel_exporter_otlp_endpoint=collector.url)
    async with open_tracer(tracing, "worker") as tracer, running_worker(quick, {"demo": provider}, tracer):
        (job_id,) = await submit(store)
        await provider.called()
        await store.cancel(job_id, force=True)
        (attempt,), (call,) = await collector.named("attempt"), await collector.named("chat demo")
    assert (attempt.attributes["error.type"], call.attributes["error.type"]) == ("lease_lost", "lost")
    assert "presswork.job.status" not in attempt.attributes
