"""One call with its repetitions. Pure: a generator of steps, which the clients carry out, the one with threads and the
other with tasks."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import httpx2

from presswork_client.errors import OrganizationLimit, PressworkError, Unreachable
from presswork_client.patience import Backoff
from presswork_client.problems import REPEATED, error_of, json_of, retry_after

READ_S: Final = 30.0
"""Seconds for an answer: the service bounds its own time by far less."""

UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""Errors of a request that did not reach the service: any call may be repeated after them."""

_FINAL: Final = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.DecodingError)
"""Errors that another try does not change."""

_log: Final = logging.getLogger("presswork_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to the gateway. `body` is sent as JSON. `repeatable`: carried out twice, it does the same as once."""

    method: str = "GET"
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    read_s: float = READ_S


class Pause(NamedTuple):
    """A wait, in s."""

    seconds: float


ResultT = TypeVar("ResultT")

Steps = Generator[Call | Pause, Any, ResultT]
"""Steps of an operation. A call is answered by its response or throws an `httpx2.RequestError`."""


def exchange(call: Call, patience_s: float) -> Steps[dict[str, Any]]:
    """Make a call, again while that is safe and may help; answers its JSON. A PressworkError otherwise."""
    backoff = Backoff(patience_s)
    while True:
        asked = None
        try:
            response: httpx2.Response = yield call
        except httpx2.RequestError as raised:
            error: PressworkError = unreachable(raised)
            again = not final(raised) and (call.repeatable or isinstance(raised, UNSENT))
            cause: Exception | None = raised
        else:
            if response.is_success:
                return json_of(response)
            error, cause, asked = error_of(response), None, retry_after(response)
            again = call.repeatable and may_pass(response.status_code, error)

        wait = backoff.next(asked) if again else None
        if wait is None:
            raise error from cause
        _log.info("%s; trying again in %.1f s", error, wait)
        yield Pause(wait)


def may_pass(status: int, error: PressworkError) -> bool:
    """Whether an answer with this status may be another one a little later."""
    return status in REPEATED and (status != 429 or isinstance(error, OrganizationLimit))


def unreachable(error: httpx2.RequestError) -> Unreachable:
    """The error of a request without an answer. Its message holds no address: one may carry a ticket."""
    reason = str(error) or type(error).__name__
    return Unreachable(f"the service does not answer ({reason})")


def final(error: httpx2.RequestError) -> bool:
    """Whether another try cannot help: the request is wrong, or the server's certificate is."""
    return isinstance(error, _FINAL) or any("CERTIFICATE_VERIFY_FAILED" in str(one) for one in (error, error.__cause__))
