"""Two gates, and a worker's calls for them through the store."""

from __future__ import annotations

from shared.job import Claim
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.routing import GateLimits, Routing
from shared.store.transitions import Reroute
from tests.support.checks import RawRedis
from tests.support.store import KEYS, claim, submit

RESTS, GATE_WORDS = 1e15, 21
"""Scores of organisations that rest begin there (queues.lua); words before `rested_at` in the state of a gate."""

A, B = "openai:gpt-a", "anthropic:claude-b"


def routing(*chain: str, rpm: int = 0, tpm: int = 0, failures: int = 3) -> Routing:
    """All of the chain gated, with the same limits."""
    limits = [GateLimits(gate=gate, requests_per_minute=rpm, tokens_per_minute=tpm) for gate in chain]
    return Routing(chain=chain, limits=tuple(limits), failures=failures)


async def reroute(
    store: JobStore, held: Claim, report: CallReport, *others: str, gate: str = A, retry_ms: int | None = None
) -> tuple[str, str]:
    """Outcome of a job whose call failed: the state and the gate."""
    found = await store.reroute(Reroute(held, gate, report, retry_after_ms=retry_ms, candidates=others, spent=None))
    return found.state, found.gate


async def block_by_job(store: JobStore, *, ms: int = 60_000, consumer: str = "blocker") -> str:
    """Block gate A by a job that got a retry-after; returns its id."""
    (job_id,) = await submit(store)
    (held,) = await claim(store, 1, consumer)
    assert await reroute(store, held, CallReport.LIMITED, retry_ms=ms) == ("throttled", "")
    return job_id


async def block(store: JobStore, *gates: str, ms: int = 60_000) -> None:
    """The providers say when to come back; waiting and new jobs are throttled."""
    for gate in gates:
        await store.report(gate, CallReport.LIMITED, retry_after_ms=ms)


async def throttle_all(store: JobStore) -> None:
    """Claim until nothing is left that could be delivered; all of it must have been throttled."""
    more = True
    while more:
        claimed = await store.claim("throttler", 64, poll=True, suspect=True)
        assert claimed.claims == []
        more = claimed.more


async def pay_tokens(raw: RawRedis) -> None:
    """Let the time pass until all organisations have paid the tokens that they used, and rest at no gate."""
    for key in await raw("KEYS", f"{KEYS.prefix('token_clock')}*"):
        await raw("DEL", key)
    for key in await raw("KEYS", f"{KEYS.prefix('throttled_by')}*"):
        for organization in await raw("ZRANGEBYSCORE", key, RESTS, "+inf"):
            await raw("ZADD", key, "XX", RESTS + 1, organization)
    flat = await raw("HGETALL", KEYS.fixed("gates"))
    for gate, state in zip(flat[::2], flat[1::2], strict=True):
        *words, rested_at = state.decode().split()
        if len(words) == GATE_WORDS and rested_at != "0":
            await raw("HSET", KEYS.fixed("gates"), gate, " ".join([*words, "1"]))
    await raw("HDEL", KEYS.fixed("gates"), "@")


async def free(raw: RawRedis, *gates: str) -> None:
    """The gates have room without any limit, at full speed, as after long use."""
    seconds, _ = await raw("TIME")
    for gate in gates:
        await raw("HSET", KEYS.fixed("gates"), gate, f"0 0 0 0 1 {int(seconds) * 1000} 0 0 0 0 0 0 0")


async def throttled_jobs(store: JobStore, count: int) -> bool:
    """Whether so many jobs wait for gates."""
    return (await store.queries.stats()).throttled == count
