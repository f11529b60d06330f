"""`python -m services.gateway` serves; `python -m services.gateway hash-token` makes a line for API_TOKENS."""

from __future__ import annotations

import os
import sys

from services.gateway.app import run
from shared.http import server
from shared.http.identity import hash_token


def _hash_token() -> int:
    token = sys.stdin.read().strip()
    if not token:
        sys.stderr.write("give the token on standard input\n")
        return 2
    sys.stdout.write(f"{hash_token(token)}\n")
    return 0


def main(arguments: list[str]) -> int:
    """The exit status: 0 after a clean stop, 2 with one line for a bad setting or argument."""
    if arguments == ["hash-token"]:
        return _hash_token()
    if arguments:
        sys.stderr.write("usage: python -m services.gateway [hash-token]\n")
        return 2
    return server.run("gateway", run(os.environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
