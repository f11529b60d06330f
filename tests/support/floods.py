"""Servers whose answers have no end, or are far larger than they look; and the cost of calling them."""

from __future__ import annotations

import asyncio
import itertools
import re
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

MIB = 1 << 20


def bomb(unit: bytes, mebibytes: int, *, before: bytes = b"") -> bytes:
    """A gzip stream of a thousandth of its content, which is `before` and then `unit` again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    head = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the next bytes depend on nothing before them, so it may come any number of times.
    block = packer.compress(unit * (MIB // len(unit))) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * mebibytes


class Flood:
    """A server of one test, at `url`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"


@asynccontextmanager
async def flooding(head: bytes, pieces: Iterable[bytes], *, gap_s: float = 0.0) -> AsyncIterator[Flood]:
    """Answers each request with `head` and the pieces, `gap_s` apart, until they or the client's patience end."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            handlers.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            asked = await reader.readuntil(b"\r\n\r\n")
            if (length := re.search(rb"content-length: (\d+)", asked.lower())) is not None:
                await reader.readexactly(int(length[1]))
            writer.write(head)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(gap_s)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield Flood(server.sockets[0].getsockname()[1])
        if handlers:
            await asyncio.wait(handlers, timeout=10)


def endless(piece: bytes) -> Iterable[bytes]:
    """The same piece without end."""
    return itertools.repeat(piece)


class Strain:
    """Cost of a block for the process: `grown_mib` above its memory at the start, `stalled_s` its loop's longest
    stop."""

    grown_mib = 0.0
    stalled_s = 0.0


def _resident_mib(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@asynccontextmanager
async def measured() -> AsyncIterator[Strain]:
    """Measure a block; to be read after its end."""
    strain, loop = Strain(), asyncio.get_running_loop()

    async def tick() -> None:
        last = loop.time()
        while True:
            await asyncio.sleep(0.01)
            now = loop.time()
            strain.stalled_s, last = max(strain.stalled_s, now - last - 0.01), now

    ticking = asyncio.create_task(tick())
    _forget_peak()
    before = _resident_mib("VmRSS")
    try:
        yield strain
    finally:
        strain.grown_mib = _resident_mib("VmHWM") - before
        await asyncio.sleep(0.02)
        ticking.cancel()
