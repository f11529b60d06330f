"""Two gates, and what a worker does to them through the store."""

from __future__ import annotations

from shared.job import Claim
from shared.store.job_store import JobStore
from shared.store.replies import CallReport
from shared.store.routing import GateLimits, Routing
from tests.support.store import claim, submit

A, B = "openai:gpt-a", "anthropic:claude-b"


def routing(*chain: str, rpm: int = 0, tpm: int = 0, failures: int = 3) -> Routing:
    """All of the chain gated, with the same limits."""
    limits = [GateLimits(gate=gate, requests_per_minute=rpm, tokens_per_minute=tpm) for gate in chain]
    return Routing(chain=chain, limits=tuple(limits), failures=failures)


async def reroute(
    store: JobStore, held: Claim, report: CallReport, *others: str, gate: str = A, retry_ms: int | None = None
) -> tuple[str, str]:
    """What becomes of a job whose call failed: the state and the gate."""
    found = await store.reroute(held, gate, report, retry_after_ms=retry_ms, candidates=others, spent=None)
    return found.state, found.gate


async def close(store: JobStore, *, ms: int = 60_000, consumer: str = "closer") -> str:
    """Close gate A by a job that was told to wait; its id."""
    (job_id,) = await submit(store)
    (held,) = await claim(store, 1, consumer)
    assert await reroute(store, held, CallReport.LIMITED, retry_ms=ms) == ("parked", "")
    return job_id
