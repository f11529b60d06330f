"""The router of `/api/admin`."""

from __future__ import annotations

from typing import Final

from litestar import HttpMethod, Router
from litestar.routes import HTTPRoute

from services.gateway.admin.audit import AuditCall
from services.gateway.admin.blocked_users import BlockedUserCalls
from services.gateway.admin.failures import FailureCalls
from services.gateway.admin.gates import GateCalls
from services.gateway.admin.jobs import AdminJobsCall
from services.gateway.admin.keys import KeyCalls
from services.gateway.admin.organizations import OrganizationCalls
from services.gateway.admin.overview import OverviewCall
from services.gateway.admin.overview_reading import OverviewReading
from services.gateway.admin.usage import AdminUsageCall
from services.gateway.admin.workers import WorkerCalls
from services.gateway.http.actor import AnyRequest
from services.gateway.settings import GatewaySettings
from shared.http.health import NO_STORE
from shared.http.urls import SLASH
from shared.identity.authenticator import Authenticator
from shared.store.job_store import JobStore

PATH: Final = "/api/admin"


def admin_router(
    store: JobStore, settings: GatewaySettings, authenticator: Authenticator, figures: OverviewReading
) -> Router:
    """All calls that administer. `figures`: of the fleet."""
    router = Router(
        PATH,
        route_handlers=[
            *KeyCalls(store.api_keys, authenticator.addresses).routes(),
            *OrganizationCalls(store, authenticator.addresses).routes(),
            *BlockedUserCalls(store.organizations, authenticator.addresses).routes(),
            *GateCalls(store.gates, store.recent_calls, settings.chain, authenticator.addresses).routes(),
            *WorkerCalls(store.workers, authenticator.addresses).routes(),
            AuditCall(store.audit_trail).route(),
            OverviewCall(figures).route(),
            AdminJobsCall(store).route(),
            AdminUsageCall(store).route(),
            *FailureCalls(store, settings, authenticator.addresses).routes(),
        ],
        dependencies={"identity": authenticator.provide()},
        before_request=_read_slashes,
        response_headers=[NO_STORE],
        tags=["administration"],
    )
    _forget_options(router)
    return router


async def _read_slashes(request: AnyRequest) -> None:
    """Give the handlers ids as they are: see `keep_slashes`."""
    given = request.scope["path_params"]
    request.scope["path_params"] = {name: str(text).replace(SLASH, "/") for name, text in given.items()}


def _forget_options(router: Router) -> None:
    """Drop the answers to OPTIONS, which Litestar makes again for the application: those of the router name the first
    method of a path alone."""
    for route in router.routes:
        if isinstance(route, HTTPRoute):
            route.route_handlers = [one for one in route.route_handlers if one.http_methods != {HttpMethod.OPTIONS}]
