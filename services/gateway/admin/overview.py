"""`GET /api/admin/overview`: the fleet in a few figures. Operators only."""

from __future__ import annotations

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.admin.overview_reading import OverviewReading
from services.gateway.admin.overview_view import Overview
from services.gateway.http.calls import reading
from services.gateway.http.queries import NoQuery
from shared.http.auth import Identity, Scope


class OverviewCall:
    """Answers the figures; callers share one reading."""

    def __init__(self, figures: OverviewReading) -> None:
        self._figures = figures

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/admin`."""

        @reading("/overview", "The fleet in a few figures", 400, scope=Scope.ADMIN)
        async def read_overview(identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]) -> Overview:
            return await self.read(identity)

        return read_overview

    async def read(self, identity: Identity) -> Overview:
        """The figures, of a reading that is young enough; a `Problem` for a bound key."""
        identity.require_operator()
        return await self._figures.latest()
