"""A TCP proxy that cuts connections after a number of bytes of their answers, as bad networks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class CuttingProxy:
    """`lives`: from a request to the bytes of answers that may follow it before its connection is cut; None: no matter
    how many. `target`: where connections lead. `cuts` counts the connections that were cut, `connections` all."""

    def __init__(self, target: str, lives: Callable[[bytes], int | None]) -> None:
        self.target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._lives = lives
        self.url = ""
        self.cuts = 0
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(self.target)
        behind, ahead = await asyncio.open_connection(target.hostname, target.port)
        life: list[int | None] = [None]

        async def requests() -> None:
            while data := await reader.read(1 << 16):
                if b" HTTP/1.1\r\n" in data:  # a body may come by itself
                    life[0] = self._lives(data)
                ahead.write(data)

        async def answers() -> None:
            while data := await behind.read(1 << 16):
                left = life[0]
                writer.write(data[:left])
                await writer.drain()
                if left is not None and len(data) >= left:
                    self.cuts += 1
                    return
                life[0] = None if left is None else left - len(data)

        halves = [asyncio.create_task(requests()), asyncio.create_task(answers())]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)
            ahead.transport.abort()

    async def aclose(self) -> None:
        """Cut every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def running_cutting_proxy(target: str, lives: Callable[[bytes], int | None]) -> AsyncIterator[CuttingProxy]:
    """A proxy before this address, on a free port of loopback."""
    proxy = CuttingProxy(target, lives)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
