"""The outermost layer of each service: its names, the origins that may call it, and the headers of every response."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.types import Receive, Send

from shared.errors import SettingsInvalid
from shared.http.cors import Cors, Headers, is_foreign
from shared.http.headers import NOTHING_LOADS, POLICY, SAFE
from shared.http.problems import FOREIGN_ORIGIN, INVALID, MISDIRECTED, Problem, send_problem
from shared.http.urls import keep_slashes, read_root_path, take_off
from shared.setting_values import entries

_ENTRY: Final = re.compile(r"\*|(?:\*?\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f:.]+\]?")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/?#\s]+)(?::\d{0,5})?")
_KNOWN_MAX: Final = 64


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`, or to the server that `host` in a URL names."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Hosts:
    """The names by which a service may be called: all of them, unless it is bound to loopback or they are listed.

    A page whose own name was pointed at the service (DNS rebinding) is of the same origin as what it reads, so neither
    CORS nor `Sec-Fetch-Site` shows it: the name alone does.

    Names of loopback are always served, for probes on this machine; so is the address that a connection came to, for
    probes and scrapers that know a container by its address alone. Neither can be pointed at another machine.
    """

    def __init__(self, allowed: str, *, bound: str) -> None:
        """`allowed`: ALLOWED_HOSTS, separated by commas: names, `*.example.com`, `*`; SettingsInvalid for others."""
        self._names: set[str] = set()
        self._suffixes: list[str] = []
        named = entries(allowed)
        self._all = not named and not is_loopback(bound)

        for entry in named:
            if _ENTRY.fullmatch(entry) is None:
                raise SettingsInvalid(
                    "ALLOWED_HOSTS: expected names as in app.example.com or *.example.com, without a port, or *"
                )
            self._add(entry.lower().rstrip("."))

        self._known: set[bytes] = set()
        """Headers that were found good: there are few, and they come with every request."""

    def _add(self, entry: str) -> None:
        if entry == "*":
            self._all = True
        elif entry.startswith(("*.", ".")):
            self._suffixes.append(entry.removeprefix("*"))
        else:
            self._names.add(entry.strip("[]"))

    def serves(self, given: list[bytes], scope: Any) -> bool:
        """Whether all `Host` headers of a request name this service."""
        if not self._all:
            for host in given:
                if host not in self._known and not self._good(host, scope):
                    return False
        return True

    def _good(self, header: bytes, scope: Any) -> bool:
        found = _HOST.fullmatch(header.decode("latin-1").lower())
        if found is None:
            return False
        name = found.group(1).strip("[]").rstrip(".")
        if name in self._names or is_loopback(name) or name.endswith(tuple(self._suffixes)):
            if len(self._known) < _KNOWN_MAX:
                self._known.add(header)
            return True
        own = (scope.get("server") or ("",))[0].removeprefix("::ffff:")
        return bool(self._names or self._suffixes) and name == own


READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_READ: Final = frozenset({
    b"host", b"origin", b"sec-fetch-site", b"x-forwarded-host", b"x-forwarded-prefix",
    b"access-control-request-method", b"access-control-request-headers", b"access-control-request-private-network",
})  # fmt: skip


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of every service that browsers or proxies reach.

    `allowed_hosts`: names it is served by; empty: all, on loopback the names of loopback. `cors_allowed_origins`,
    `cors_allowed_headers`: see `cors.py`. `root_path`: the path that a proxy puts before all paths.
    """

    allowed_hosts: str = ""
    cors_allowed_origins: str = ""
    cors_allowed_headers: str = ""
    root_path: str = ""


def check(settings: AccessSettings, *, host: str) -> None:
    """Raise SettingsInvalid for a setting that nothing can match: a service checks before it connects."""
    Hosts(settings.allowed_hosts, bound=host)
    Cors(settings.cors_allowed_origins, settings.cors_allowed_headers)
    read_root_path(settings.root_path)


class Access:
    """An ASGI application around Litestar's. It is not `async` itself: a stream would keep one more frame in memory."""

    def __init__(self, app: Litestar, settings: AccessSettings, *, host: str) -> None:
        """`host`: where the service listens. SettingsInvalid for a setting that nothing can match."""
        self._app = app
        self._hosts = Hosts(settings.allowed_hosts, bound=host)
        self._cors = Cors(settings.cors_allowed_origins, settings.cors_allowed_headers)
        self._root_path = read_root_path(settings.root_path)
        self._headers: Headers = [*SAFE, *self._cors.varies]

    def __call__(self, scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one connection."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        given: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                given.setdefault(name, []).append(value)
        hosts = given.get(b"host")
        if hosts is not None and len(given) == 1 and self._hosts.serves(hosts, scope):
            return self._on(scope, receive, send, self._headers, [])  # neither a browser's nor a proxy's: most are so
        return self._judge(scope, receive, send, given)

    def _judge(self, scope: Any, receive: Receive, send: Send, given: dict[bytes, list[bytes]]) -> Awaitable[None]:
        origin, headers, allowed = given.get(b"origin"), self._headers, False
        if origin is not None and len(origin) == 1 and self._cors.allows(origin[0].lower()):
            headers, allowed = [*headers, *self._cors.simple(origin[0])], True
        if (problem := self._fault(scope, given, allowed=allowed)) is not None:
            return send_problem(_with(send, headers), problem)
        if origin and scope["method"] == "OPTIONS" and b"access-control-request-method" in given:
            return self._preflight(_with(send, self._headers), given, origin[0], allowed=allowed)
        return self._on(scope, receive, send, headers, given.get(b"x-forwarded-prefix", []))

    def _on(
        self, scope: Any, receive: Receive, send: Send, headers: Headers, forwarded: list[bytes]
    ) -> Awaitable[None]:
        """Handle a request as `Litestar.__call__` does, without that frame, which each stream would keep."""
        if forwarded or self._root_path or scope.get("root_path"):
            take_off(scope, self._root_path, forwarded)
        keep_slashes(scope)
        scope["app"] = scope["litestar_app"] = self._app
        scope.setdefault("state", {})
        return self._app.asgi_handler(scope, receive, _with(send, headers))

    def _fault(self, scope: Any, given: dict[bytes, list[bytes]], *, allowed: bool) -> Problem | None:
        hosts = given.get(b"host", [])
        if not hosts and scope["http_version"] == "1.1":
            return Problem(INVALID, "a request of HTTP/1.1 names its Host")
        if not self._hosts.serves(hosts, scope):
            return Problem(MISDIRECTED, "to be added to ALLOWED_HOSTS, if it is one of this service's names")
        if scope["method"] not in READING and not allowed and _is_foreign(given):
            return Problem(FOREIGN_ORIGIN, _HINT)
        return None

    async def _preflight(self, send: Send, given: dict[bytes, list[bytes]], origin: bytes, *, allowed: bool) -> None:
        if not allowed:
            await send_problem(send, Problem(FOREIGN_ORIGIN, _HINT))
            return
        wanted = b", ".join(given.get(b"access-control-request-headers", []))
        private = given.get(b"access-control-request-private-network") == [b"true"]
        headers = self._cors.preflight(origin, wanted, private_network=private)
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


_HINT: Final = "to be added to CORS_ALLOWED_ORIGINS, if its pages may call this service"


def _is_foreign(given: dict[bytes, list[bytes]]) -> bool:
    """Whether a page of another origin asks."""
    origin, site = given.get(b"origin", []), given.get(b"sec-fetch-site", [])
    hosts = given.get(b"host", []) + given.get(b"x-forwarded-host", [])
    return bool(origin or site) and is_foreign(origin, site, hosts)


def _with(send: Send, headers: Headers) -> Send:
    """Wrap `send`: these headers are added to every response, and a policy to those that have none of their own."""

    def answer(message: Any) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            for name, _ in own:
                if name == POLICY:
                    break
            else:
                own.append(NOTHING_LOADS)
            message["headers"] = own + headers
        return send(message)

    return answer
