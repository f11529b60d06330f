"""The clock of a server under test, put forward and back while it runs, as a fail-over to another host does."""

from __future__ import annotations

import shlex
from pathlib import Path

LIBRARIES = ("/usr/lib", "/usr/lib64", "/opt/homebrew/lib")


class ServerClock:
    """Wraps a server's binary so that libfaketime sets its clock; `binary` is the file to start.

    Its steady clock is left alone: no machine's jumps. `step` acts within a second.
    """

    def __init__(self, folder: Path, library: Path, server: Path) -> None:
        self._file = folder / "clock"
        self._offset_s = 0.0
        self._tell()
        self.binary = folder / "server-with-a-clock"
        environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        self.binary.write_text(f'#!/bin/sh\n{settings} exec {shlex.quote(str(server))} "$@"\n')
        self.binary.chmod(0o700)

    def step(self, seconds: float) -> None:
        """Put the clock forward, or back when below zero."""
        self._offset_s += seconds
        self._tell()

    def _tell(self) -> None:
        # Renamed into place: a server that reads a half-written file would leap to the epoch.
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._offset_s:+.3f}s\n")
        new.rename(self._file)


def find_library() -> Path | None:
    """The shared library of Debian's package faketime or its like; None where it is not installed."""
    for folder in LIBRARIES:
        for found in sorted(Path(folder).glob("**/faketime/libfaketimeMT.so.1")):
            return found
    return None
