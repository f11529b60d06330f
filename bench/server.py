"""A fresh server per measurement, and its own counts of commands and memory."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from redis import Redis

from bench.processes import free_port
from shared.store.embedded.server import EmbeddedServer
from shared.store.keys import Keys

_OWN: Final = frozenset({"info", "client|list", "hello", "client|setinfo", "config|resetstat"})
"""Commands of the measurement itself and of connecting."""


_SENT: Final = frozenset(
    {
        "evalsha", "script|load", "bzpopmin", "xread", "exists", "subscribe", "unsubscribe", "psubscribe", "ping",
        "scan", "set", "xgroup|create",
    }
)  # fmt: skip
"""Commands that our services send themselves and that no script runs. (The server's own count per client, tot-cmds,
counts commands inside scripts too.)"""


def sent_by_us(commands: Counter[str]) -> Counter[str]:
    """The part of all commands that our services sent: round trips. Not for peers, nor for runs that read jobs."""
    return Counter({name: count for name, count in commands.items() if name in _SENT})


class Probe:
    """Looks at a server from the outside over a connection of its own."""

    def __init__(self, port: int, pid: int) -> None:
        self.url = f"redis://127.0.0.1:{port}"
        self.pid = pid
        self._client: Any = Redis(host="127.0.0.1", port=port, client_name="bench", socket_timeout=60)

    def commands(self) -> Counter[str]:
        """Calls so far by command, those inside scripts included, without the probe's own."""
        stats = self._client.info("commandstats")
        calls = Counter({name.removeprefix("cmdstat_"): values["calls"] for name, values in stats.items()})
        return Counter({name: count for name, count in calls.items() if name not in _OWN})

    def used_memory(self) -> int:
        """Bytes."""
        return int(self._client.info("memory")["used_memory"])

    def keys(self) -> int:
        """Number of keys."""
        return int(self._client.dbsize())

    def count(self, pattern: str) -> int:
        """Number of keys that match."""
        return sum(1 for _ in self._client.scan_iter(pattern, count=1000))

    def length(self, stream: str) -> int:
        """Entries of a stream, 0 when it isn't there."""
        return int(self._client.xlen(stream))

    def members(self, pattern: str) -> int:
        """Members of all sorted sets whose names match."""
        return sum(int(self._client.zcard(name)) for name in self._client.scan_iter(pattern, count=1000))

    def completed(self) -> int:
        """Jobs that ended, where none fails: counted, or still a line in the ledger. Never too many: a fold between the
        two readings moves lines to places that were searched already."""
        keys = Keys()
        counted = int(self._client.hget(keys.fixed("counts"), "completed") or 0)
        lines = self._client.lrange(keys.fixed("ledger"), 0, -1)
        return counted + sum(not line.startswith(b"durations:") for line in lines)

    def slowest(self, sha: str) -> float:
        """Time of the longest call of one script since the last reading, in ms by the server's slow log."""
        if not sha:
            self._client.config_set("slowlog-log-slower-than", 0)
            self._client.config_set("slowlog-max-len", 10_000)
        entries = self._client.slowlog_get(10_000) if sha else []
        self._client.slowlog_reset()
        return max((entry["duration"] for entry in entries if sha.encode() in entry["command"]), default=0) / 1000

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@contextmanager
def fresh_server(*, aof: bool = False) -> Iterator[Probe]:
    """An empty server on loopback, in a folder that is removed afterwards. Every queue gets the same binary."""
    with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder:
        port = free_port()
        with EmbeddedServer(Path(folder), port=port, aof=aof) as server:
            probe = Probe(port, server.pid)
            try:
                yield probe
            finally:
                probe.close()
