"""The way of log lines out of the process: no caller that writes one waits for it or gets an error.

A line goes out at once where there is room for it. Where the reader of a pipe is slow a thread writes the waiting
lines, in order and within bounds. A line that cannot be written (the reader died, the disk is full, the stream was
closed) is lost; a metric counts them, and so does a line as soon as one can be written again.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

from prometheus_client import Counter

from shared.telemetry.redaction import redacted

WAITING_BYTES: Final = 256 * 1024
"""Bytes that may wait for a slow reader; beyond that lines are lost."""

DRAIN_S: Final = 1.0
"""Seconds that the end of a process may wait for a slow reader."""

DROPPED: Final = Counter("presswork_log_lines_dropped_total", "Log lines that could not be written.", registry=None)
"""Lines this process could not write; on every registry that `metrics.new_registry` makes."""


class Sink:
    """A stream of text that takes whole lines. `stream` None: it was closed before the process began.

    `on_recovered`: called with the number of lost lines, once one could be written again.
    """

    def __init__(self, stream: TextIO | None, *, on_recovered: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._on_recovered = on_recovered
        self._lost = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()

    def write(self, text: str) -> bool:
        """Write one line with its end; whether it was taken. Secrets are removed from it. Never raises, never waits."""
        data = redacted(text).encode(self._encoding, "backslashreplace")
        with self._changed:
            taken = self._take(data)
            lost, self._lost = (self._lost, 0) if taken else (0, self._lost + 1)
        if not taken:
            DROPPED.inc()
        elif lost and self._on_recovered is not None:
            self._on_recovered(lost)
        return taken

    def flush(self) -> None:
        """Do nothing: every line leaves as soon as it can."""

    def drain(self, seconds: float = DRAIN_S) -> None:
        """Wait until a slow reader has taken the waiting bytes, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds)

    def _take(self, data: bytes) -> bool:
        if self._descriptor is None:
            return self._write_text(data)
        if self._waiting or not self._has_room(len(data)):
            return self._enqueue(data)
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            return self._enqueue(data)
        except OSError:
            return False
        return written == len(data) or self._enqueue(data[written:])

    def _write_text(self, data: bytes) -> bool:
        if self._stream is None:
            return False
        try:
            self._stream.write(data.decode(self._encoding))
            self._stream.flush()
        except (OSError, ValueError):
            return False
        return True

    def _has_room(self, size: int) -> bool:
        """Whether `size` bytes can be written at once. A pipe that can take anything takes PIPE_BUF bytes (POSIX)."""
        if self._descriptor is None or _is_file(self._descriptor):
            return True
        return size <= select.PIPE_BUF and _writable(self._descriptor, 0)

    def _enqueue(self, data: bytes) -> bool:
        if self._waiting_bytes + len(data) > WAITING_BYTES:
            return False
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if len(self._waiting) == 1:
            threading.Thread(target=self._write_waiting, name="log-writer", daemon=True).start()
        return True

    def _write_waiting(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    return
                data = self._waiting[0]

            written = self._write_all(data)
            with self._changed:
                self._waiting.popleft()
                self._waiting_bytes -= len(data)
                if not written:
                    self._lost += 1
                    DROPPED.inc()
                self._changed.notify_all()
                if not self._waiting:
                    return  # under the same lock under which the next line would start another thread

    def _write_all(self, data: bytes) -> bool:
        while data and self._descriptor is not None:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                _writable(self._descriptor, 1000)
            except OSError:
                return False
        return True


def say(stream: TextIO | None, line: str) -> bool:
    """Write one line of text for a person, as `Sink` does, waiting for a slow reader a little; whether it was taken."""
    sink = Sink(stream)
    taken = sink.write(f"{line}\n")
    sink.drain()
    return taken


def occupy_closed_descriptors() -> None:
    """Put the null device where standard streams were closed: else the next socket would get such a number, and text
    that a library writes to "standard error" would reach a customer."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def _descriptor(stream: TextIO | None) -> int | None:
    if stream is None:
        return None
    with contextlib.suppress(OSError, ValueError):  # a stream in memory has none, a closed one neither
        return stream.fileno()
    return None


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _writable(descriptor: int, wait_ms: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(wait_ms))
