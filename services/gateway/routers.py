"""The gateway's calls, put together from the parts that they share."""

from __future__ import annotations

import asyncio

from litestar import Router
from litestar.handlers import ASGIRouteHandler
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry

from services.gateway.admin.overview_events import OverviewEvents
from services.gateway.admin.overview_events import described as overview_calls
from services.gateway.admin.overview_feed import OverviewFeed
from services.gateway.admin.overview_reading import OverviewReading
from services.gateway.ai_sdk.completion import CompletionCall
from services.gateway.ai_sdk.described import described as ai_sdk_calls
from services.gateway.docs import document
from services.gateway.http.bodies import Posts
from services.gateway.http.refusals import RefusalCounts
from services.gateway.http.responses import Links
from services.gateway.jobs.cancel import CancelCall
from services.gateway.jobs.delete import DeleteCall
from services.gateway.jobs.event_tickets import EventTicketsCall
from services.gateway.jobs.finder import JobFinder
from services.gateway.jobs.listing import ListingCall
from services.gateway.jobs.request import RequestCall
from services.gateway.jobs.retry import RetryCall
from services.gateway.jobs.status import StatusCall
from services.gateway.jobs.usage import UsageCall
from services.gateway.responses.create import CreateCall
from services.gateway.responses.described import described as openai_calls
from services.gateway.responses.new_responses import ResponseMaker
from services.gateway.responses.routes import OpenAiCalls
from services.gateway.responses.stored import StoredCalls
from services.gateway.responses.streaming import ResponseStreams
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
from shared.streams.fair_shares import StreamQuotas
from shared.streams.serving import Serving
from shared.streams.subscription import Hub
from shared.telemetry.command_budget import Meter
from shared.telemetry.metrics import LimitMetrics, StreamMetrics, SubmitMetrics


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
        meter: Meter,
        refusals: RefusalCounts,
        stop: asyncio.Event,
    ) -> None:
        """`meter`: of the commands that this process sends; `refusals`: counts of them."""
        self._noticed = refusals.note
        self._store = store
        self._settings = settings
        self._authenticator = authenticator
        self._signer, self._meter, self._stop = signer, meter, stop
        self._links, self._maker = Links(settings.public_events_url), JobMaker(settings)
        self._finder, awaited = JobFinder(store), AwaitedJobs(store)
        self._submits = SubmitMetrics(registry)
        self.stats = StatsCache(store.queries.stats, _kept_seconds(settings, frugal=store.settings.frugal))
        self.figures = OverviewReading(store, self.stats, meter, budget=settings.redis_commands_budget)
        self.admission = Admission(store, self.stats, settings.max_queued_jobs)

        limited = LimitMetrics(registry).refusals
        self._stream_quotas = StreamQuotas(store, settings.organization_streams)
        self._streams = InUse(STREAMS, self._stream_quotas, limited)
        polls = InUse(LONG_POLLS, lambda _: settings.organization_long_polls, limited)
        bodies = InUse(BODY_BYTES, lambda _: settings.organization_body_bytes, limited)

        self._posts = Posts(authenticator, self._submits.refused, bodies)
        self._single = SubmitCall(
            self._posts, maker=self._maker, admission=self.admission, metrics=self._submits, links=self._links,
            submit=awaited.submit if store.settings.frugal else store.submit, signer=signer,
        )  # fmt: skip
        self._status = StatusCall(store, self._finder, awaited, stop, polls)
        self._cancel = CancelCall(store, self._finder, stop, authenticator.addresses)
        self._delete = DeleteCall(store, self._finder, self._cancel, authenticator.addresses)

    def raw(self) -> Router:
        """Submits, which read their bodies themselves."""
        batch = BatchCall(
            self._single, self._posts, self._maker, self.admission, metrics=self._submits, noticed=self._noticed
        )
        return Router(document.API, route_handlers=[self._single.route(), batch.route()])

    def serving(self, hub: Hub, metrics: StreamMetrics) -> Serving:
        """The part that serves streams, of all protocols."""
        return Serving(
            self._store, hub, self._authenticator, metrics, self._settings, open_streams=self._streams,
            quotas=self._stream_quotas,
        )  # fmt: skip

    def streamed(self, serving: Serving) -> list[ControllerRouterHandler]:
        """The calls that answer with streams, but for a job's own events."""
        completion = CompletionCall(
            self._posts,
            self._single,
            serving=serving,
            store=self._store,
            finder=self._finder,
            cancel=self._cancel,
            stop=self._stop,
        )
        feed = OverviewFeed(self.figures)
        overview = OverviewEvents(feed, serving, self._authenticator, self._store.settings)
        return [Router(document.API, route_handlers=[completion.route()]), self._openai(serving), overview.route()]

    def _openai(self, serving: Serving) -> ASGIRouteHandler:
        """The calls of OpenAI's API, which read their bodies and write their streams themselves."""
        settings, chain = self._settings, self._settings.chain
        streams = ResponseStreams(self._store, serving, chain)
        create = CreateCall(
            self._posts,
            maker=ResponseMaker(self._maker, self._finder, settings),
            single=self._single,
            status=self._status,
            finder=self._finder,
            streams=streams,
            repeats=self._store.repeats,
            chain=chain,
            foreground_s=settings.foreground_seconds,
            stop=self._stop,
        )
        stored = StoredCalls(self._finder, self._cancel, self._delete, streams, chain)
        return OpenAiCalls(
            self._authenticator, create, stored, chain=chain, refused=self._submits.refused, noticed=self._noticed
        ).route()

    def typed(self) -> Router:
        """All other calls of `/api/ai`."""
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
                self._status.route(),
                ListingCall(self._store).route(),
                RequestCall(self._finder).route(),
                QueueStatsCall(self.stats, self._store.organizations, self._meter).route(),
                UsageCall(self._store).route(),
                self._cancel.route(),
                self._delete.route(),
                retry.route(),
                EventTicketsCall(self._finder, self._signer, self._links, organization_events=has_events).route(),
            ],
            dependencies={"identity": self._authenticator.provide()},
            response_headers=[NO_STORE],
            tags=["jobs"],
        )


def described() -> list[Router]:
    """The calls of other protocols, for the OpenAPI document."""
    return [ai_sdk_calls(document.API), openai_calls(), overview_calls()]


def _kept_seconds(settings: GatewaySettings, *, frugal: bool) -> float:
    if settings.stats_kept_seconds is not None:
        return settings.stats_kept_seconds
    return FRUGAL_KEPT_S if frugal else 0.0
