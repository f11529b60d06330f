"""The router of `/api/admin`."""

from __future__ import annotations

from typing import Final

from litestar import Router

from services.gateway.admin.keys import KeyCalls
from shared.http.health import NO_STORE
from shared.identity.authenticator import Authenticator
from shared.store.job_store import JobStore

PATH: Final = "/api/admin"


def admin_router(store: JobStore, authenticator: Authenticator) -> Router:
    """All calls that administer."""
    return Router(
        PATH,
        route_handlers=KeyCalls(store.api_keys, authenticator.addresses).routes(),
        dependencies={"identity": authenticator.provide()},
        response_headers=[NO_STORE],
        tags=["administration"],
    )
