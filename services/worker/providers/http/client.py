"""Builds the HTTP client of both adapters, and describes errors of transport and bodies as faults.

The SDKs sign, address and check the calls; the streams are read in `stream_reader.py`. Their own readers build a
pydantic model for each chunk: 260 us (openai 3.54) and 70 us (anthropic 2.12) of CPU per token, against 4 us here.
"""

from __future__ import annotations

import email.utils
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

import httpx2

from services.worker.providers import Access
from services.worker.providers.failures.classification import CallFailure, Fault, hint_in
from services.worker.providers.failures.error_bodies import error_in
from services.worker.providers.failures.retry_after import reset_in, seconds_in_message
from services.worker.providers.http.bounds import BoundedTransport
from services.worker.providers.http.transport import StreamTransport
from shared.job import ParameterValue

_STATUSES: Final = frozenset(map(str, range(400, 600)))
_BUSY: Final = frozenset({None, 429, 503, 529})
"""Statuses whose message may name a time to wait."""

_LOGGERS: Final = ("openai", "anthropic", "httpx2", "httpcore2")


class Brief(Protocol):
    """Instructions and limit that follow from a job's parameters; the user's prompt is not part of them."""

    @property
    def system(self) -> str:
        """Instructions for the model; empty for none."""

    @property
    def max_tokens(self) -> int | None:
        """The limit that the platform and the length imply."""


class Briefing(Protocol):
    """Makes the brief of a job."""

    def __call__(self, parameters: Mapping[str, ParameterValue], /) -> Brief:
        """The brief of these parameters."""


def new_http_client(access: Access) -> httpx2.AsyncClient:
    """One pool for a provider and process. The environment's proxies and certificates are ignored.

    A proxy meant for a browser would see every prompt; set PROVIDER_PROXY to use one. The number of
    connections has no bound of its own: the worker's slots are the bound.
    """
    # The libraries log requests with their bodies at DEBUG, and URLs at INFO: neither may be in our logs.
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    transport: httpx2.AsyncBaseTransport = StreamTransport()
    if access.proxy is not None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0)
        transport = httpx2.AsyncHTTPTransport(proxy=access.proxy, limits=limits, trust_env=False)
    return httpx2.AsyncClient(
        # Tokens are too small to be worth it, and a proxy that compresses holds them back until there are enough.
        headers={"accept-encoding": "identity"},
        timeout=httpx2.Timeout(connect=5.0, read=access.read_timeout_s, write=30.0, pool=30.0),
        transport=BoundedTransport(transport),
        trust_env=False,
        follow_redirects=False,
    )


def fault_of(error: BaseException | None) -> Fault:
    """The fault of a transport error. An error of another kind counts as a broken connection."""
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)):
        return Fault.UNREACHABLE
    if isinstance(error, httpx2.TimeoutException):
        return Fault.TIMEOUT
    if isinstance(error, httpx2.DecodingError):
        return Fault.MALFORMED
    return Fault.DROPPED


def _late_status(code: str) -> int | None:
    """The status that was known too late: vLLM (a number) and LiteLLM (a text) put it into the code of an error."""
    return int(code) if code in _STATUSES else None


def _wait_in(message: str, status: int | None) -> str | None:
    return seconds_in_message(message) if status in _BUSY else None


def reported(error: Any, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> CallFailure:
    """The failure that a body, or the `error` in it, describes; `status` None: it came inside a stream.

    `error`: the bytes, or those that were read, in any shape (`error_in`). Reads type, code and headers; of the
    message only a hint (`hint_in`) and a time to wait, because messages quote prompts.
    """
    fields, headers = error_in(error), headers or {}
    status = _late_status(fields.code) if status is None else status
    date = headers.get("date") or email.utils.formatdate(usegmt=True)
    return CallFailure(
        status=status,
        fault=Fault.REPORTED if status is None else None,
        kind=fields.kind or None,
        code=fields.code or None,
        hint=hint_in(fields.message),
        retry_after=headers.get("retry-after"),
        retry_after_ms=headers.get("retry-after-ms") or headers.get("x-ms-retry-after-ms"),
        body_wait=fields.delay or _wait_in(fields.message, status),
        reset=reset_in(headers, date) if status == 429 else None,
        date=date,
    )
