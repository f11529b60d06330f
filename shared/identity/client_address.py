"""The address of a caller, and whether it came over TLS: of the connection, or as a trusted proxy names it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from shared.errors import SettingsInvalid
from shared.setting_values import entries

UNKNOWN: Final = "unknown"
"""Of a connection over a Unix socket, or of a server that names none."""

_HOPS_MAX: Final = 32
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ClientAddresses:
    """Finds callers' addresses. `trusted`: TRUSTED_PROXIES, addresses and networks separated by commas."""

    def __init__(self, trusted: str) -> None:
        """SettingsInvalid for an entry that is neither an address nor a network."""
        self._trusted: list[_Network] = []
        for entry in entries(trusted):
            try:
                self._trusted.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                raise SettingsInvalid(
                    "TRUSTED_PROXIES: expected addresses or networks as in 10.0.0.0/8, separated by commas"
                ) from None

    def over_tls(self, scope: Mapping[str, Any]) -> bool:
        """Whether the caller speaks TLS: with this process, or with a trusted proxy, as `X-Forwarded-Proto` says."""
        if scope.get("scheme") == "https":
            return True
        client = scope.get("client")
        peer = _address(str(client[0])) if client else None
        if peer is None or not self._trusts(peer):
            return False
        given = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        return b",".join(given).rpartition(b",")[2].strip().lower() == b"https"

    def of(self, scope: Mapping[str, Any]) -> str:
        """The peer, or the last untrusted entry of `X-Forwarded-For` where the peer is a trusted proxy."""
        client = scope.get("client")
        peer = _address(str(client[0])) if client else None
        if peer is None:
            return UNKNOWN
        if not self._trusts(peer):
            return str(peer)

        values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        found = peer
        for hop in reversed(",".join(values).split(",")[-_HOPS_MAX:]):
            named = _address(hop.strip())
            if named is None:  # nothing before it can be believed
                break
            found = named
            if not self._trusts(named):
                break
        return str(found)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def _address(text: str) -> _Address | None:
    """The address in a text as proxies write it: also in brackets, or with a port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
