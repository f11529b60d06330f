"""HTTP on loopback: no certificate is checked."""

from __future__ import annotations

import ssl
from typing import Final

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For httpx's `verify`. Left alone each client reads the machine's authorities, in 20 ms; thousands are made."""
