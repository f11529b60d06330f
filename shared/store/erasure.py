"""Deletion of an organisation: all that is kept of it goes, in passes over the whole keyspace.

Its settings, which keep its submits out meanwhile, go last. Sums of the fleet stay, as does one entry of the audit
trail with a keyed hash in place of its name. Backups, and copies that a host keeps, are outside; the append-only file
has it until the server rewrites it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from shared.store.append_only_file import FileState
from shared.store.audit_trail import Actor, entry
from shared.store.engine.calls import Reads, ScriptCalls, check_item
from shared.store.engine.items import CancelItem, DeleteItem, KeyItem
from shared.store.keys import Keys, encode_id
from shared.store.refusal_trail import digest_of

PIECE: Final = 64
PAGE: Final = 500
"""Keys, and entries of a stream, that one call handles at most."""

OWNED: Final = (
    "idem", "index", "usage", "org", "submits", "backlog", "delayed", "ended", "failures", "cancellations",
    "failure_totals", "org_keys", "blocked_users", "job_trail", "budget", "token_clock",
    "waiting_chains", "suspect_backlog", "refusals",
)  # fmt: skip
"""Keys that name their organisation after the kind."""

_OF_VALUE: Final = ("job", "key")
"""Keys whose field `org` names it."""

_STREAMS: Final = ("audit_trail", "refusal_trail", "failures", "cancellations")
_ERASER: Final = Actor(key_id="deletion")


class Receipt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Parts that were removed: jobs, keys of Redis beside theirs, and entries of what all organisations share.

    `append_only_file_rewritten`: the server's file was rewritten since, so that it has nothing of them; False: it was
    not, there is none, or that is not known.
    """

    jobs: int
    keys: int
    entries: int
    append_only_file_rewritten: bool = False


class StoredReceipt(Receipt, frozen=True, kw_only=True, rename="camel"):
    """With the state of the server when the last part had been removed: the run, and how many rewrites had begun in it.
    Empty: not known."""

    run_id: str = ""
    rewrites: int = 0

    def shown(self, state: FileState | None) -> Receipt:
        """The receipt of callers, by the present state of the server's file."""
        rewritten = self.append_only_file_rewritten
        if not rewritten and self.run_id and state is not None:
            rewritten = state.shows_rewrite_since(self.run_id, self.rewrites)
        return Receipt(jobs=self.jobs, keys=self.keys, entries=self.entries, append_only_file_rewritten=rewritten)


class Erasure:
    """Of one store. Every method may raise StoreUnavailable, and may be called again."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys
        self._kinds = {keys.prefix(name): name for name in (*OWNED, *_OF_VALUE, "throttled", "deleted")}

    async def pieces(self, organization_id: str) -> AsyncIterator[tuple[list[str], list[str]]]:
        """Ids of its jobs, and names of its other keys, a piece of the keyspace at a time."""
        whose, cursor = encode_id(organization_id), b"0"
        while True:
            cursor, found = await self._reads.execute("SCAN", cursor, "MATCH", self._keys.pattern, "COUNT", PIECE)
            yield await self._divide(whose, [name.decode(errors="surrogateescape") for name in found])
            if cursor == b"0":
                return

    async def _divide(self, whose: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
        jobs, others, doubtful = [], [], []
        for name in names:
            kind, rest = self._kind_of(name)
            if kind in _OF_VALUE or kind == "deleted":
                doubtful.append((kind, name, rest))
            elif _is_named(kind, rest, whose):
                others.append(name)

        owners = await asyncio.gather(*(self._owner(kind, name) for kind, name, _ in doubtful))
        for (kind, name, rest), owner in zip(doubtful, owners, strict=True):
            if owner == whose and kind == "job":
                jobs.append(rest)
            elif owner == whose:
                others.append(name)
        return jobs, others

    def _kind_of(self, name: str) -> tuple[str, str]:
        """Kind of a key, empty for others, and the part of its name behind the prefix."""
        prefix = next((prefix for prefix in self._kinds if name.startswith(prefix)), "")
        return self._kinds.get(prefix, ""), name[len(prefix) :]

    async def _owner(self, kind: str, name: str) -> str:
        if kind == "deleted":
            value = await self._reads.execute("GET", name)
        else:
            (value,) = await self._reads.execute("HMGET", name, "org")
        return (value or b"").decode(errors="replace")

    async def erase_jobs(self, organization_id: str, job_ids: Sequence[str], task_id: str = "") -> int:
        """End and delete jobs, running ones too: their leases are void; answers how many are gone. The task, if there
        is one, counts them, as it does the parts below."""
        whose, erased = encode_id(organization_id), 0
        for first in range(0, len(job_ids), PIECE):
            piece = job_ids[first : first + PIECE]
            await self._calls.run("cancel", [CancelItem(job_id, 1, whose) for job_id in piece])
            for reply in await self._calls.run("delete", [DeleteItem(job_id, whose, task=task_id) for job_id in piece]):
                erased += reply == b"DELETED"
        return erased

    async def erase_keys(self, names: Sequence[str], task_id: str = "") -> int:
        """Delete keys; answers how many there were."""
        replies = (
            await self._calls.administer("erase_keys", [KeyItem(name) for name in names], task=task_id) if names else []
        )
        for reply in replies:
            check_item(reply)
        return sum(replies)

    async def erase_entries(self, organization_id: str, task_id: str = "") -> int:
        """Remove it from all that organisations share, but for its settings; answers the number of entries."""
        removed = 0
        for index in _STREAMS:
            start = "-"
            while start:
                found, start = await self._shared(organization_id, task_id, index, start)
                removed += found
        return removed

    async def close(self, organization_id: str, task_id: str = "") -> None:
        """Forget its settings, too: nothing names it any more but the task."""
        await self._shared(organization_id, task_id, "audit_trail", "+", last=True)

    async def _shared(
        self, organization_id: str, task_id: str, index: str, start: str, *, last: bool = False
    ) -> tuple[int, str]:
        removed, after = await self._calls.administer(
            "erase_organization", organization=encode_id(organization_id), digest=digest_of(organization_id),
            task=task_id, index=index, start=start, page=PAGE, last=int(last),
        )  # fmt: skip
        return removed, after.decode()


def hash_of(organization_id: str, secret: str) -> str:
    """The name of an organisation that was deleted, in the entry that stays."""
    return hmac.new(secret.encode(), organization_id.encode(), hashlib.sha256).hexdigest()[:32]


def entry_of(organization_hash: str, receipt: Receipt) -> bytes:
    """The entry that stays."""
    return entry("organization.deleted", _ERASER, organizationHash=organization_hash, **msgspec.to_builtins(receipt))


def _is_named(kind: str, rest: str, whose: str) -> bool:
    """Whether a key names its organisation, and this one. `rest`: the part of its name behind the prefix."""
    if kind == "throttled":
        return rest.endswith(f" {whose}")
    return kind != "" and (rest == whose or rest.startswith(f"{whose}:"))
