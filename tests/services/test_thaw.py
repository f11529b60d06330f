"""A process that was frozen, as serverless hosts do, and whose connections were closed meanwhile."""

from __future__ import annotations

import threading
import time

import redis

from shared.settings import StoreSettings
from shared.store.connection.multiplexer import IDLE_S
from shared.store.job_store import open_store


def _close_all_connections(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.client_kill_filter(_type="normal", skipme=True)
    client.close()


async def test_the_first_command_after_a_freeze_goes_over_a_connection_that_is_open(redis_url: str) -> None:
    """The event loop stands still, the server closes the connection: the next call opens another one instead of being
    written to nobody."""
    async with open_store(StoreSettings(redis_url=redis_url), client_name="frozen") as store:
        for _ in range(3):
            await store.queries.stats()
            closing = threading.Thread(target=_close_all_connections, args=(redis_url,))
            closing.start()
            time.sleep(IDLE_S + 0.2)  # noqa: ASYNC251 - the loop must not turn
            closing.join()
            assert (await store.queries.stats()).queued == 0
