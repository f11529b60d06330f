"""Parts of URLs: the path in front of all paths (ROOT_PATH, or that of a proxy in `X-Forwarded-Prefix`), and job ids.

Both kinds of proxy work: those that take the prefix off a path and those that leave it there.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast
from urllib.parse import unquote

from shared.errors import JobNotFound, SettingsInvalid
from shared.http.problems import invalid
from shared.job_ids import JOB_ID

PREFIX_MAX: Final = 200
JOB_ID_MAX: Final = 64
WITH_IDS: Final = "/api/admin/"
"""Beginning of the paths with ids that are made elsewhere, and may hold a slash."""

SLASH: Final = "\ue02f"
"""A character of no id."""

_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+")
_KEY: Final = "presswork.prefix"


def read_root_path(text: str) -> str:
    """The setting ROOT_PATH: empty, or as in `/presswork`. SettingsInvalid for anything else."""
    prefix = text.rstrip("/")
    if prefix and _sound(prefix) is None:
        raise SettingsInvalid("ROOT_PATH: expected a path as in /presswork")
    return prefix


def _sound(prefix: str) -> str | None:
    """The prefix if it is safe in any link: it is put into responses, and any client can send a header."""
    return prefix if len(prefix) <= PREFIX_MAX and _PREFIX.fullmatch(prefix) else None


def _forwarded_prefix(headers: list[bytes]) -> str:
    """The prefix in a proxy's header, empty where there is none or several."""
    return (_sound(headers[0].decode("latin-1").rstrip("/")) or "") if len(headers) == 1 else ""


def take_off(scope: Any, root_path: str, forwarded: list[bytes]) -> None:
    """Find the prefix of a request, remember it for `prefix_of`, and take it off the request's path.

    A server that mounts the application elsewhere wins over the setting, the setting over the proxy's header.
    """
    prefix = scope.get("root_path") or root_path or _forwarded_prefix(forwarded)
    if not prefix:
        return
    scope[_KEY], scope["root_path"] = prefix, ""
    path = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        scope["path"] = path[len(prefix) :] or "/"
        if raw := scope.get("raw_path"):
            scope["raw_path"] = raw.removeprefix(prefix.encode()) or b"/"


def keep_slashes(scope: Any) -> None:
    """Make encoded slashes in a path below `WITH_IDS` a `SLASH`: the others divide it."""
    raw = scope.get("raw_path") or b""
    if b"%" in raw and scope["path"].startswith(WITH_IDS):
        parts = raw.decode("latin-1").split("/")
        scope["path"] = "/".join(unquote(part).replace("/", SLASH) for part in parts)


def prefix_of(scope: Any) -> str:
    """The path before every path of this service, as its clients see it; empty for none."""
    return cast("str", scope.get(_KEY, ""))


def read_job_id(text: str) -> str:
    """A text that may become part of a key. JobNotFound for a text that is no id of ours.

    A 400 `Problem` for a text that is not meant as an id (empty, blank, with control characters, too long): it is a
    fault of the caller's code, while a wrong id may be one of a job that is long gone.
    """
    if not text.strip():
        raise invalid("jobId", "is empty")
    if len(text) > JOB_ID_MAX:
        raise invalid("jobId", f"longer than {JOB_ID_MAX} characters")
    if not text.isprintable():
        raise invalid("jobId", "must not hold control characters")
    if JOB_ID.match(text) is None:
        raise JobNotFound(text)
    return text
