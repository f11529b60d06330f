"""Tells a new master, or one that was restarted, that it is one, before it serves anything else.

Replication is asynchronous, and so is the disk: a master that took over or came back may never have heard of the last
claims. It would deliver those entries again, and two workers would hold one token, which is no fence (I4). So every
connection of a store begins by naming the term it found; the first to find a new one marks how far each lane had come
(`failover.lua`), and a claim gives what stood there before a new entry (`adopting.lua`).
"""

from __future__ import annotations

from redis.asyncio.connection import Connection
from redis.exceptions import ResponseError

from shared.store.connection import error_advice, server_errors
from shared.store.engine import scripts
from shared.store.keys import Keys


async def set_up(keys: Keys, connection: Connection, term: str) -> None:
    """Run `failover.lua` for this term of the master. RedisError when the server refuses: then it is not ready.

    A host whose quota is used up refuses everything: that is for the command to hear that comes next. A user who may
    not do it is served nothing (`preflight/checks.py`), and greeted anew once it may.
    """
    script = scripts.load("failover")
    names = [keys.fixed(name) for name in script.keys]
    await connection.send_command("EVAL", script.source, len(names), *names, term)
    try:
        await connection.read_response()
    except ResponseError as error:
        if not server_errors.is_quota(str(error)) and not error_advice.is_permission(error):
            raise
