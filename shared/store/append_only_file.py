"""The append-only file of the server: whether it was rewritten since a moment, so that nothing deleted before is in it.

Hosts and the rules of Redis users may forbid to ask, or to have it rewritten; then nothing is known.
"""

from __future__ import annotations

from typing import Final

import msgspec
from redis.exceptions import ResponseError

from shared.store.connection.multiplexer import Transport

_FIELDS: Final = (
    "run_id", "aof_enabled", "aof_rewrites", "aof_rewrite_in_progress", "aof_rewrite_scheduled",
    "aof_last_bgrewrite_status",
)  # fmt: skip


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """Of one server, `run_id`: its start. `rewrites`: begun since then, the one that is `busy` among them; `ok`: the
    last one that ended was written."""

    run_id: str
    enabled: bool
    rewrites: int
    busy: bool
    ok: bool

    def shows_rewrite_since(self, run_id: str, rewrites: int) -> bool:
        """Whether the file was rewritten, from beginning to end, since `rewrites` had begun in that run of the server.

        After a restart, or a take-over by another server, nothing is known.
        """
        return self.enabled and self.run_id == run_id and self.rewrites > rewrites and not self.busy and self.ok


class AppendOnlyFile:
    """Of the server that a store writes to. Methods may raise StoreUnavailable when it cannot be reached."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def state(self) -> FileState | None:
        """Its present state; None where a host, the rules of this user or an old server keep it back."""
        found: dict[str, str] = {}
        for section in ("server", "persistence"):
            try:
                text = await self._transport.execute("INFO", section)
            except ResponseError:
                return None
            lines = text.decode(errors="replace").splitlines() if isinstance(text, bytes) else []
            found |= dict(line.split(":", 1) for line in lines if line.partition(":")[0] in _FIELDS)

        try:
            return FileState(
                run_id=found["run_id"], enabled=found["aof_enabled"] == "1", rewrites=int(found["aof_rewrites"]),
                busy="1" in (found["aof_rewrite_in_progress"], found["aof_rewrite_scheduled"]),
                ok=found["aof_last_bgrewrite_status"] == "ok",
            )  # fmt: skip
        except (KeyError, ValueError):
            return None

    async def rewrite(self) -> bool:
        """Have it rewritten in the background; False: the server refuses."""
        try:
            await self._transport.execute("BGREWRITEAOF")
        except ResponseError:
            return False
        return True
