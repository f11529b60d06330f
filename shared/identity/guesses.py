"""Counts bad tokens by address: more than 20 a minute are answered with 429 in place of 401.

Of this process alone. Good tokens are never refused: they are checked first, whatever came from their address.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

LIMIT: Final = 20
WINDOW_S: Final = 60.0

ADDRESSES_MAX: Final = 10_000
"""Addresses that are counted at once; beyond it the oldest is forgotten."""

_NETWORK_BITS: Final = 64
"""Of an IPv6 address: one customer has at least so large a network."""


class Guesses:
    """Failures of each address in the minute since its first one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, address: str) -> float | None:
        """Count a failure. The time in s after which its address is answered 401 again; None: it is within the
        limit."""
        now, network = self._clock(), _network(address)
        began, count = self._windows.get(network, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        if count == 0:
            self._windows.pop(network, None)
        self._windows[network] = (began, count + 1)
        if len(self._windows) > ADDRESSES_MAX:
            self._windows.popitem(last=False)
        return began + WINDOW_S - now if count >= LIMIT else None


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, _NETWORK_BITS), strict=False))
