"""Notes failed calls of providers, and the chains that jobs bring, for those who look at gates. The notes are gathered
and sent beside the jobs: a worker whose calls succeed, and whose jobs bring no new chain, sends nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog

from services.worker.execution.attempt import TRANSIENT
from shared.errors import StoreRejected
from shared.store.job_store import JobStore
from shared.store.recent_calls import NotedCalls
from shared.telemetry.causes import cause_of

GATHERED_S: Final = 5.0
FRUGAL_GATHERED_S: Final = 60.0
"""Time after the first note of which all are sent, in s; the second where every command is billed."""

KINDS_MAX: Final = 200
"""Kinds of failed calls that one call of a script takes: beyond them the chain is left out, then the call."""

CHAINS_MAX: Final = 500
"""Chains that are remembered. When there are more, all are noted again."""

CHAIN_NOTED_S: Final = 23 * 3600.0
"""Time after which a chain that is still used is noted again, in s: notes are kept for a day."""

_log: Final = structlog.get_logger(__name__)


class RecentCalls:
    """Of one worker. Notes may get lost."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._failed: Counter[NotedCalls] = Counter()
        self._chains: list[tuple[str, ...]] = []
        self._noted: dict[tuple[str, ...], float] = {}
        self._sending: asyncio.Task[None] | None = None

    def took(self, chain: Sequence[str]) -> None:
        """Note the chain that a job brought."""
        now, brought = time.monotonic(), tuple(chain)
        if now - self._noted.get(brought, -CHAIN_NOTED_S) < CHAIN_NOTED_S:
            return
        if len(self._noted) >= CHAINS_MAX:
            self._noted.clear()
        self._noted[brought] = now
        if len(self._chains) < KINDS_MAX:
            self._chains.append(brought)
            self._send_later()

    def failed(self, gate: str, error_type: str, chain: Sequence[str]) -> None:
        """Count a failed call."""
        kind = NotedCalls(gate, error_type, tuple(chain))
        if kind not in self._failed and len(self._failed) >= KINDS_MAX:
            kind = NotedCalls(gate, error_type, ())
        if kind in self._failed or len(self._failed) < 2 * KINDS_MAX:
            self._failed[kind] += 1
            self._send_later()

    async def close(self) -> None:
        """Send what is gathered."""
        if self._sending is not None:
            self._sending.cancel()
        await self._send()

    def _send_later(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        while self._failed or self._chains:
            await asyncio.sleep(FRUGAL_GATHERED_S if self._store.settings.frugal else GATHERED_S)
            await self._send()

    async def _send(self) -> None:
        failed, chains = self._failed, self._chains
        if not failed and not chains:
            return
        self._failed, self._chains = Counter(), []
        try:
            await self._store.recent_calls.note(failed, chains)
        except (*TRANSIENT, StoreRejected):
            pass
        except Exception as error:  # notes may get lost, but not in silence
            _log.error("call_notes_failed", cause=cause_of(error))
