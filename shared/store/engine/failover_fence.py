"""Marks the term of a new or restarted master before it serves anything else.

Replication is asynchronous, and so is the disk: a master that took over or restarted may lack the last claims. It would
deliver those entries again, and two workers would hold one token, which is no fence (I4). So every connection of a
store first names the term it found; the first to find a new term marks the last entry of each stream (`failover.lua`),
and a claim replaces entries up to that mark (`adopting.lua`).
"""

from __future__ import annotations

from redis.asyncio.connection import Connection
from redis.exceptions import ResponseError

from shared.store.connection import error_advice, server_errors
from shared.store.engine import scripts
from shared.store.keys import Keys


async def set_up(keys: Keys, connection: Connection, term: str) -> None:
    """Run `failover.lua` for this term of the master. RedisError when the server refuses: then the connection is not
    ready.

    A host whose quota is used up refuses everything: the next command gets that error. A user without permission is
    served nothing (`preflight/checks.py`), and the connection is greeted again once it has permission.
    """
    script = scripts.load("failover")
    names = [keys.fixed(name) for name in script.keys]
    await connection.send_command("EVAL", script.source, len(names), *names, term)
    try:
        await connection.read_response()
    except ResponseError as error:
        if not server_errors.is_quota(str(error)) and not error_advice.is_permission(error):
            raise
