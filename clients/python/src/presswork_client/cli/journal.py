"""The journal beside a file of jobs: its lines that are submitted already, and the keys that make a repetition safe.

Its first line holds a salt, written before the first submit. A job's idempotency key is made of the salt, its line, and
how many equal lines come before it: the same file gives the same jobs however often a run is cut, and lines may be
added, moved and repaired between two runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

SUFFIX: Final = ".jobs"


class Journal:
    """Job ids by key. A line that was cut by a crash is ignored: its job is submitted again, and is the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs: dict[str, str] = {}
        self._salt = ""
        self._equal: Counter[bytes] = Counter()

    def __enter__(self) -> Self:
        self._read()
        self._file = self.path.open("ab")
        if not self._salt:
            self._salt = secrets.token_hex(16)
            self._write([{"salt": self._salt}])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def key(self, line: bytes) -> str:
        """The idempotency key of a line. To be called once for each line of the file, in order."""
        digest = hashlib.sha256(self._salt.encode() + line).digest()[:16]
        self._equal[digest] += 1
        return f"{digest.hex()}-{self._equal[digest]}"

    def add(self, accepted: Iterable[tuple[str, str]]) -> None:
        """Write down keys and the ids of their jobs."""
        rows = [{"key": key, "jobId": job_id} for key, job_id in accepted]
        self.jobs |= {row["key"]: row["jobId"] for row in rows}
        self._write(rows)

    def _read(self) -> None:
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            row = _row(line)
            if isinstance(row.get("salt"), str):
                self._salt = self._salt or row["salt"]
            elif isinstance(row.get("key"), str) and isinstance(row.get("jobId"), str):
                self.jobs[row["key"]] = row["jobId"]

    def _write(self, rows: Iterable[dict[str, str]]) -> None:
        # The line end comes first: the line before may have been cut.
        self._file.write(b"".join(b"\n" + json.dumps(row).encode() for row in rows))
        self._file.flush()
        os.fsync(self._file.fileno())


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
