"""Stands between a service and a real Redis on TCP; while `refusal` is set it answers every command with that error."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import hiredis


class QuotaProxy:
    """`refused` counts the refused commands, by name."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.refusal = ""
        self.refused: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self._target.scheme == "unix":
            behind, ahead = await asyncio.open_unix_connection(self._target.path)
        else:
            behind, ahead = await asyncio.open_connection(self._target.hostname, self._target.port)
        back = asyncio.create_task(self._copy(behind, writer))
        commands = hiredis.Reader()
        try:
            while data := await reader.read(1 << 16):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    if self.refusal and command[0] not in (b"PING", b"INFO", b"CLIENT"):
                        self.refused[command[0].decode().upper()] += 1
                        writer.write(f"-{self.refusal}\r\n".encode())
                    else:
                        ahead.write(hiredis.pack_command(tuple(command)))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            back.cancel()
            for stream in (ahead, writer):
                stream.close()
            self._tasks.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)

    async def aclose(self) -> None:
        """Cut every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def running_quota_proxy(redis_url: str) -> AsyncIterator[QuotaProxy]:
    """A proxy on a free port of loopback."""
    proxy = QuotaProxy(redis_url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
