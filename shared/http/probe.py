"""`python -m shared.http.probe PORT`: exit status 0 when the service on this machine's PORT says that it is ready.

For health checks of containers, which have no curl. Standard library alone and few imports: it runs every few seconds.
"""

from __future__ import annotations

import contextlib
import sys
from http.client import HTTPConnection, HTTPException
from typing import Final

SECONDS: Final = 3.0
"""Seconds for the response: the service asks Redis first, with a time-out of 2 s."""


def ready(port: int) -> bool:
    """Whether /health/ready on loopback answers 200 in time; False for every fault."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Run the probe. Exit status 0: ready; 1: not ready; 2: the port is missing or no port."""
    if len(arguments) != 1 or not arguments[0].isdecimal() or not 0 < int(arguments[0]) < 65_536:
        with contextlib.suppress(OSError, AttributeError):  # standard error may be closed
            sys.stderr.write("usage: python -m shared.http.probe PORT\n")
        return 2
    return 0 if ready(int(arguments[0])) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
