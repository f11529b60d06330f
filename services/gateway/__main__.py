"""`python -m services.gateway` serves; `… hash-token` makes a line for API_TOKENS; `… keys` administers API keys."""

from __future__ import annotations

import os
import sys

from services.gateway import key_command
from services.gateway.app import run
from shared.http.auth import hash_token
from shared.server import serve
from shared.telemetry.log_sink import say


def _hash_token() -> int:
    token = sys.stdin.read().strip() if sys.stdin is not None else ""
    if not token:
        say(sys.stderr, "give the token on standard input")
        return 2
    return 0 if say(sys.stdout, hash_token(token)) else 1


def main(arguments: list[str]) -> int:
    """The exit status: 0 after a clean stop, 2 with one line for a bad setting or argument."""
    if arguments == ["hash-token"]:
        return _hash_token()
    if arguments[:1] == ["keys"]:
        return key_command.main(arguments[1:], os.environ)
    if arguments:
        say(sys.stderr, "usage: python -m services.gateway [hash-token | keys create|create-first|list|revoke …]")
        return 2
    return serve.run("gateway", run(os.environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
