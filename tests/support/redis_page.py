"""Writes the lists and tables of docs/redis-requirements.md, and the rules of deploy/redis/rules.acl:
`python -m tests.support.redis_page`.

They are the rows that tests/services/test_redis_requirements.py tries.
"""

from __future__ import annotations

import re
from typing import Final

from shared.store.keys import Keys
from shared.store.preflight.requirements import Role, acl
from tests.support.processes import ROOT
from tests.support.redis_rows import REFUSALS, SERVERS, USERS, UserRow

RULES: Final = ROOT / "deploy" / "redis" / "rules.acl"
DURABLE: Final = {Role.GATEWAY: " +wait +waitaof"}
"""Rights for any DURABILITY: settings must not need other users."""

PATH: Final = ROOT / "docs" / "redis-requirements.md"
_BLOCK: Final = re.compile(r"(<!-- written by make docs: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(text: str) -> str:
    """The page with its lists and tables as they must be."""
    blocks = {"users": _users(), "lacks": _lacks(), "servers": _servers(), "refusals": _refusals()}
    return _BLOCK.sub(lambda found: f"{found[1]}\n{blocks[found[2]]}\n{found[3]}", text)


def rules() -> str:
    """The users of Compose and Kubernetes without their passwords, a line each as an ACL file has them."""
    lines = (f"user {role.value} {' '.join(acl(role, Keys()))}{DURABLE.get(role, '')}\n" for role in Role)
    head = "# Written by make docs. The smallest rights of each service, see docs/redis-requirements.md.\n"
    return head + "".join(lines)


def _users() -> str:
    return "\n".join(f"`{role.value}`:\n\n```\n{' '.join(acl(role, Keys()))}\n```\n" for role in Role)


def _lacks() -> str:
    rows = (f"| {row.lacks} | {_roles(row)} | … {row.said} … |\n" for row in USERS)
    return "| the user lacks | needed by | the log line says |\n|---|---|---|\n" + "".join(rows)


def _roles(row: UserRow) -> str:
    return "all" if row.roles == tuple(Role) else ", ".join(role.value for role in row.roles)


def _servers() -> str:
    rows = (f"| {row.what} | … {row.said} … |\n" for row in SERVERS)
    return "| the server | the log line says |\n|---|---|\n" + "".join(rows)


def _refusals() -> str:
    rows = (f"| `{code}` | {words} … |\n" for code, words in REFUSALS.items())
    return "| the server says | the log line says |\n|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    PATH.write_text(written(PATH.read_text(encoding="utf-8")), encoding="utf-8")
    RULES.write_text(rules(), encoding="utf-8")
