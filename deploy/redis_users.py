"""`python3 -m deploy.redis_users FOLDER [HOST]`: a Redis user for each service, with a password that it makes once.

Writes `redis-users.acl` for the server (`aclfile`) and `redis-url-<service>` for each service. The rules are those of
deploy/redis/rules.acl, which `make docs` writes from the scripts. Needs no package.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

RULES: Final = Path(__file__).resolve().parent / "redis" / "rules.acl"
DEFAULT: Final = "user default off resetpass ~* &* +@all"
"""Nobody may be it, and it may do all: a server that starts runs its append-only file as this user, and would drop each
transaction of which it may not run a command."""

HEALTH: Final = "user health on nopass resetchannels -@all +ping"
"""Health checks, with any password."""


def rules() -> dict[str, str]:
    """The rules of each service's user, by its name."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    found = (line.split(" ", 2) for line in lines if line.startswith("user "))
    return {name: words for _, name, words in found}


def write(folder: Path, host: str = "valkey:6379") -> None:
    """Write all files, with the passwords that are there already. The users of containers are others than ours: the
    files can be read by all, the folder should be its owner's alone."""
    lines = [DEFAULT, HEALTH]
    for name, words in rules().items():
        path = folder / f"redis-url-{name}"
        password = urlsplit(path.read_text(encoding="utf-8").strip()).password if path.exists() else None
        password = password or secrets.token_urlsafe(32)
        lines.append(f"user {name} on #{hashlib.sha256(password.encode()).hexdigest()} {words}")
        _write(path, f"redis://{name}:{password}@{host}/0\n")
    _write(folder / "redis-users.acl", "\n".join(lines) + "\n")


def _write(path: Path, text: str) -> None:
    """In place: a container that has mounted the file sees the new text."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def main(arguments: list[str]) -> int:
    """The exit status: 0, or 2 without a folder."""
    if len(arguments) not in (1, 2):
        print("usage: python3 -m deploy.redis_users FOLDER [HOST]", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    if not folder.exists():
        os.makedirs(folder, mode=0o700)
    write(folder, *arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
