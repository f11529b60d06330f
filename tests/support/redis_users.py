"""Users of a Redis server with the rights of one service, more or less, and what a store says of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import StoreUnavailable, StoreUnfit
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from shared.store.keys import Keys
from shared.store.preflight.requirements import Role, acl
from tests.support.checks import RawRedis

KEYS = Keys()
BROAD = (
    "~pw:{0}:*", "&pw:{0}:bell:*", "&pw:{0}:orgbell:*", "&pw:{0}:control:*", "&pw:{0}:key_channel:*",
    "+@all", "-@admin", "-@dangerous", "+info",
)  # fmt: skip
"""One user for all services."""


async def give_rights(raw: RawRedis, role: Role, *rules: str, frugal: bool = False) -> None:
    """Make the smallest user of a role, and change it by `rules`."""
    await raw("ACL", "SETUSER", role.value, "reset", "on", ">p", *acl(role, KEYS, frugal=frugal), *rules)


def url_of(server: EmbeddedServer, role: Role) -> str:
    """As that user."""
    return server.url.replace("unix://", f"unix://{role.value}:p@")


@asynccontextmanager
async def opened(server: EmbeddedServer, role: Role, **settings: object) -> AsyncIterator[JobStore]:
    """The store of a service, as that service's user."""
    chosen = StoreSettings(redis_url=url_of(server, role), **settings)  # type: ignore[arg-type]  # names of fields
    async with open_store(chosen, client_name="t", role=role) as store:
        yield store


async def missing(server: EmbeddedServer, role: Role, **settings: object) -> str:
    """The named fault; empty when the service is ready."""
    async with opened(server, role, **settings) as store:
        try:
            await ping_or_unfit(store)
        except StoreUnfit as unfit:
            return str(unfit)
    return ""


async def ping_or_unfit(store: JobStore) -> None:
    """Ping, and again where the machine was too slow."""
    for _ in range(5):
        try:
            await store.ping()
            return
        except StoreUnfit:
            raise
        except StoreUnavailable:
            await asyncio.sleep(0.1)
