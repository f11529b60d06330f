"""Ids of jobs, and the form of the ids that callers bring."""

from __future__ import annotations

import os
import re
import time
from typing import Final

SHARD: Final = "0"
"""First character of a job id's random part: names the shard. One shard is shipped, 36 would fit."""

JOB_ID: Final = re.compile(r"ai-job-[0-9]{13}-[0-9a-z]{9}\Z")
IDENTIFIER_MAX: Final = 128
IDENTIFIER: Final = re.compile(rf"[!-~]{{1,{IDENTIFIER_MAX}}}\Z")
"""An organisation's, a project's or a user's id, as identity providers make them: printable ASCII without blanks. Where
it becomes part of a key it is encoded (`shared/store/keys.py`)."""

_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(first + second for first in _BASE36 for second in _BASE36)


def new_job_id() -> str:
    """A fresh id like the guide's: `ai-job-<13 digits, ms since the epoch>-<shard><8 base-36 characters>`."""
    stamp = int(time.time() * 1000)
    # One system call; 64 bits over 36^8 values are even to one part in six million.
    drawn = int.from_bytes(os.urandom(8), "big") % 36**8
    tail = ""
    for _ in range(4):
        drawn, pair = divmod(drawn, len(_PAIRS))
        tail += _PAIRS[pair]
    return f"ai-job-{stamp:013d}-{SHARD}{tail}"
