"""The HTTP client below: bounds, headers, and the requests of calls."""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from presswork_client.exchange import Call
from presswork_client.following import SILENCE_S, Follower
from presswork_client.settings import Settings
from presswork_client.version import VERSION

PATIENCE_S: Final = 60.0
"""Seconds for which a call is repeated, and a stream resumed, while the service does not answer."""

CONNECT_S: Final = 10.0
FIRST_S: Final = 10.0
"""Seconds for the head of a stream's answer: the service sends it at once, a proxy that buffers may hold it back."""

LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
"""No bound on connections: each open stream has one, and a call must not wait for a stream to end."""

_TICKET: Final = re.compile(r"(?<=[?&]ticket=)[^&\s]+")
_AGENT: Final = f"presswork-client-python/{VERSION}"


class _WithoutTickets(logging.Filter):
    """Takes tickets out of the addresses that the HTTP client logs: each opens a stream to its reader."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and any("ticket=" in str(value) for value in record.args):
            record.args = tuple(
                _TICKET.sub("…", str(value)) if isinstance(value, (str, httpx2.URL)) else value for value in record.args
            )
        return True


_HTTP_LOG: Final = logging.getLogger("httpx2")
_WITHOUT_TICKETS: Final = _WithoutTickets()


class Requests:
    """Makes the arguments of an HTTP client's `request` and `stream`."""

    def __init__(self, settings: Settings) -> None:
        _HTTP_LOG.addFilter(_WITHOUT_TICKETS)
        self._base = settings.url
        self._headers = {"User-Agent": _AGENT, "Accept": "application/json"}
        self._key = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}

    def of_call(self, call: Call) -> dict[str, Any]:
        """Of a call to the gateway."""
        content = {} if call.body is None else {"json": call.body}
        return content | {
            "method": call.method,
            "url": self._base + call.path,
            "params": dict(call.params) or None,
            "headers": self._headers | self._key | dict(call.headers),
            "timeout": _timeout(call.read_s),
            "follow_redirects": False,
        }

    def of_stream(self, follower: Follower) -> dict[str, Any]:
        """Of the next connection of a stream. The key goes to the gateway's own origin alone."""
        key = {} if follower.foreign else self._key
        return {
            "method": "GET",
            "url": follower.url,
            "headers": self._headers | key | follower.headers,
            "timeout": _timeout(FIRST_S),
            "follow_redirects": False,
        }

    @staticmethod
    def allow_silence(stream: httpx2.Response) -> None:
        """Let a stream that has begun be silent for as long as streams may be: its body is read by this bound."""
        stream.request.extensions["timeout"]["read"] = SILENCE_S


def options(settings: Settings) -> dict[str, Any]:
    """Options of an HTTP client of our own. A proxy of the environment is for other machines than this one."""
    return {"limits": LIMITS, "trust_env": not _loopback(urlsplit(settings.url).hostname or "")}


def _timeout(read_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(CONNECT_S, read=read_s)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
