"""Job ids as they come in URLs."""

from __future__ import annotations

from typing import Final

from shared.errors import JobNotFound
from shared.http.problems import invalid
from shared.job import JOB_ID

LENGTH_MAX: Final = 64


def read_job_id(text: str) -> str:
    """A text that may become part of a key. JobNotFound for a text that is no id of ours.

    A 400 `Problem` for a text that is not meant as an id (empty, blank, with control characters, too long): it is a
    fault of the caller's code, while a wrong id may be one of a job that is long gone.
    """
    if not text.strip():
        raise invalid("jobId", "is empty")
    if len(text) > LENGTH_MAX:
        raise invalid("jobId", f"longer than {LENGTH_MAX} characters")
    if not text.isprintable():
        raise invalid("jobId", "must not hold control characters")
    if JOB_ID.match(text) is None:
        raise JobNotFound(text)
    return text
