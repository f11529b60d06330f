"""The gateway's calls, put together from the parts that they share."""

from __future__ import annotations

import asyncio

from litestar import Router
from prometheus_client import CollectorRegistry

from services.gateway.docs import document
from services.gateway.http.bodies import Posts
from services.gateway.http.responses import Links
from services.gateway.jobs.cancel import CancelCall
from services.gateway.jobs.delete import DeleteCall
from services.gateway.jobs.event_tickets import EventTicketsCall
from services.gateway.jobs.finder import JobFinder
from services.gateway.jobs.listing import ListingCall
from services.gateway.jobs.retry import RetryCall
from services.gateway.jobs.status import StatusCall
from services.gateway.jobs.usage import UsageCall
from services.gateway.settings import GatewaySettings
from services.gateway.stats.queue_stats import QueueStatsCall
from services.gateway.stats.stats_cache import FRUGAL_KEPT_S, StatsCache
from services.gateway.submit.admission import Admission
from services.gateway.submit.batch import BatchCall
from services.gateway.submit.new_jobs import JobMaker
from services.gateway.submit.single import SubmitCall
from services.gateway.waiting.awaited_jobs import AwaitedJobs
from shared.http.health import NO_STORE
from shared.http.organization_limits import BODY_BYTES, LONG_POLLS, STREAMS, InUse
from shared.identity.authenticator import Authenticator
from shared.identity.ticket_signer import TicketSigner
from shared.store.job_store import JobStore
from shared.streams.quotas import StreamQuotas
from shared.telemetry.command_budget import Meter
from shared.telemetry.metrics import LimitMetrics, SubmitMetrics


class Calls:
    """Of one gateway. `stop` ends calls that wait."""

    def __init__(
        self,
        store: JobStore,
        settings: GatewaySettings,
        *,
        authenticator: Authenticator,
        signer: TicketSigner,
        registry: CollectorRegistry,
        stop: asyncio.Event,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._signer = signer
        self._stop = stop
        self._links, self._maker = Links(settings.public_events_url), JobMaker(settings)
        self._finder, self._awaited = JobFinder(store), AwaitedJobs(store)
        self._submits = SubmitMetrics(registry)
        self.stats = StatsCache(store.queries.stats, _kept_seconds(settings, frugal=store.settings.frugal))
        self.admission = Admission(store, self.stats, settings.max_queued_jobs)

        refusals = LimitMetrics(registry).refusals
        self.stream_quotas = StreamQuotas(store, settings.organization_streams)
        self.streams = InUse(STREAMS, self.stream_quotas, refusals)
        self._polls = InUse(LONG_POLLS, lambda _: settings.organization_long_polls, refusals)
        self._bodies = InUse(BODY_BYTES, lambda _: settings.organization_body_bytes, refusals)

    def raw(self) -> Router:
        """Submits, which read their bodies themselves."""
        posts = Posts(self._authenticator, self._submits.refused, self._bodies)
        single = SubmitCall(
            posts,
            maker=self._maker,
            admission=self.admission,
            submit=self._awaited.submit if self._store.settings.frugal else self._store.submit,
            metrics=self._submits,
            links=self._links,
            signer=self._signer,
        )
        batch = BatchCall(single, posts, self._maker, self.admission, self._submits)
        return Router(document.API, route_handlers=[single.route(), batch.route()])

    def typed(self, meter: Meter) -> Router:
        """All other calls of `/api/ai`. `meter`: of the commands that this process sends."""
        cancel = CancelCall(self._store, self._finder, self._stop)
        retry = RetryCall(
            self._store,
            self._finder,
            maker=self._maker,
            admission=self.admission,
            metrics=self._submits,
            links=self._links,
            signer=self._signer,
        )
        has_events = self._store.settings.organization_events
        return Router(
            document.API,
            route_handlers=[
                StatusCall(self._store, self._finder, self._awaited, self._stop, self._polls).route(),
                ListingCall(self._store).route(),
                QueueStatsCall(self.stats, self._store.organizations, meter).route(),
                UsageCall(self._store).route(),
                cancel.route(),
                DeleteCall(self._store, self._finder, cancel).route(),
                retry.route(),
                EventTicketsCall(self._finder, self._signer, self._links, organization_events=has_events).route(),
            ],
            dependencies={"identity": self._authenticator.provide()},
            response_headers=[NO_STORE],
            tags=["jobs"],
        )


def _kept_seconds(settings: GatewaySettings, *, frugal: bool) -> float:
    if settings.stats_kept_seconds is not None:
        return settings.stats_kept_seconds
    return FRUGAL_KEPT_S if frugal else 0.0
