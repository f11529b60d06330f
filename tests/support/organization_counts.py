"""The counts that are kept of each organisation, and whether they are those of its jobs."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.checks import RawRedis
from tests.support.store import KEYS


async def counts_of(raw: RawRedis) -> dict[str, dict[str, int]]:
    """The counts of each organisation, as in lua/include/organizations.lua. Ends in the ledger are taken off."""
    ended: dict[str, int] = {}
    for line in await raw("LRANGE", KEYS.fixed("ledger"), 0, -1):
        words = line.decode().split(" ")
        if words[0].isalpha() and (len(words) == 3 or words[5].startswith("0")):
            ended[words[2]] = ended.get(words[2], 0) + 1
    flat = await raw("HGETALL", KEYS.fixed("organizations"))
    return {
        name.decode(): {
            "waiting": int(packed) >> 43,
            "running": (int(packed) >> 27 & 0x3FFF) - ended.get(name.decode(), 0),
            "placed": int(packed) >> 22 & 0x1F,
            "kib": int(packed) & 0x3FFFFF,
        }
        for name, packed in zip(flat[::2], flat[1::2], strict=True)
    }


async def miscounted(raw: RawRedis, accepted: Sequence[str]) -> list[str]:
    """Differences between the counts of organisations and their jobs (I3 of each of them)."""
    kept = {name: counts for name, counts in (await counts_of(raw)).items() if any(counts.values())}
    true: dict[str, dict[str, int]] = {}
    chains: dict[str, int] = {}
    for job_id in accepted:
        organization, state, entry, spec, route = await raw(
            "HMGET", KEYS.job(job_id), "org", "state", "entry", "spec", "route"
        )
        if state not in (b"queued", b"processing"):
            continue
        if state == b"queued" and route is not None:
            chain = f"{organization.decode()} {route.decode()}"
            chains[chain] = chains.get(chain, 0) + 1
        counts = true.setdefault(organization.decode(), {"waiting": 0, "running": 0, "placed": 0, "kib": 0})
        counts["running" if state == b"processing" else "waiting"] += 1
        if state == b"queued":
            counts["placed"] += entry.startswith(b"q")
            counts["kib"] += -(-len(spec) // 1024)
    return [
        f"{name}: kept {was}, true {right}"
        for found, wanted in ((kept, true), (await _waiting_chains(raw), chains))
        for name in found | wanted
        if (was := found.get(name)) != (right := wanted.get(name))
    ]


async def _waiting_chains(raw: RawRedis) -> dict[str, int]:
    """Jobs that wait by organisation and chain of their own, as they are kept."""
    prefix = KEYS.prefix("waiting_chains")
    found = {}
    for key in await raw("KEYS", f"{prefix}*"):
        flat = await raw("HGETALL", key)
        for chain, count in zip(flat[::2], flat[1::2], strict=True):
            found[f"{key.decode().removeprefix(prefix)} {chain.decode()}"] = int(count)
    return found
