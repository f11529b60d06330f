"""The no-op job of every peer: notes when it started and answers 600 bytes."""

from __future__ import annotations

import os
import struct
import time

RESULT = "r" * 600
_START = struct.Struct("=d30s")
_FILE = os.open(os.environ["BENCH_STARTS"], os.O_WRONLY | os.O_APPEND) if "BENCH_STARTS" in os.environ else -1


def note_start() -> None:
    """Leave one record in the file that the bench reads."""
    os.write(_FILE, _START.pack(time.time(), b""))
