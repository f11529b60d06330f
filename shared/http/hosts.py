"""The names by which a server is served: a page whose own name was pointed at it (DNS rebinding) reads nothing.

Such a page is of the same origin as what it reads, so neither CORS nor `Sec-Fetch-Site` shows it: the name alone does.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from shared.errors import SettingsInvalid
from shared.settings import entries

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
