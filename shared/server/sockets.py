"""Listening sockets: one for each address of a host name."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Final

from shared.errors import SettingsInvalid

BACKLOG: Final = 2048
_ABSENT: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors for `::1` of a machine without IPv6, also when its `localhost` names it."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of `host`; `::` serves IPv4 as well. Port 0 takes a free one, the same on all.

    SettingsInvalid with one line when an address cannot be used; one that this machine does not have is passed over
    while there is another.
    """
    with contextlib.ExitStack() as closing:
        bound: list[socket.socket] = []
        absent: OSError | None = None
        try:
            for family, address in _addresses(host):
                try:
                    bound.append(closing.enter_context(_bind(family, address, port)))
                except OSError as error:
                    if error.errno not in _ABSENT:
                        raise
                    absent = error
                else:
                    port = bound[-1].getsockname()[1]
            if not bound:
                raise absent or OSError
        except OSError as error:
            raise SettingsInvalid(f"cannot listen on {host}:{port}: {error.strerror or 'unknown host'}") from None
        closing.pop_all()
        return bound


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    flags = socket.AI_PASSIVE
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    both = address == "::" and socket.has_dualstack_ipv6()
    bound = socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    # Connections inherit it. asyncio's own loop would not set it on them: a response's body would wait 40 ms for an
    # ACK.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
