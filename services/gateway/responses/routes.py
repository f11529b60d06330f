"""Everything under `/v1`: OpenAI's paths, and its form of errors. Raw ASGI, as its streams are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
import structlog
from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send
from prometheus_client import Counter

from services.gateway.http.bodies import ClientGone, send_json
from services.gateway.http.queries import NoQuery, decode_query
from services.gateway.responses.create import CreateCall
from services.gateway.responses.errors import refusal
from services.gateway.responses.models import find_model, list_models
from services.gateway.responses.new_responses import caller_of
from services.gateway.responses.stored import StoredCalls
from shared.http import auth
from shared.http.auth import Identity
from shared.http.error_responses import Noticed, from_error
from shared.http.methods import answer_other_method
from shared.http.problems import INTERNAL, NOT_FOUND, Problem
from shared.identity.authenticator import Authenticator

PATH: Final = "/v1"
_SERVED: Final = "only /v1/responses and /v1/models are served here"

Call = Callable[[Identity], Awaitable[None]]

_encode: Final = msgspec.json.Encoder().encode
_log: Final = structlog.get_logger(__name__)


class OpenAiCalls:
    """The calls of OpenAI's API that are served here."""

    def __init__(
        self,
        authenticator: Authenticator,
        create: CreateCall,
        stored: StoredCalls,
        *,
        chain: Sequence[str],
        refused: Counter,
        noticed: Noticed,
    ) -> None:
        """`refused` counts requests for new responses that were refused, by the type of their problem; `noticed` gets
        the problems of all."""
        self._authenticator = authenticator
        self._create = create
        self._stored = stored
        self._chain = chain
        self._refused = refused
        self._noticed = noticed

    def route(self) -> ASGIRouteHandler:
        """The handler of all paths below `/v1`."""

        @asgi(PATH, is_mount=True, copy_scope=False)
        async def openai_calls(scope: Scope, receive: Receive, send: Send) -> None:
            await self._handle(scope, receive, send)  # type: ignore[arg-type]  # it is mounted for HTTP alone

        return openai_calls

    async def _handle(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        sending = _Sending(send)
        parts = [part for part in scope["path"].split("/") if part]
        try:
            await self._dispatch(parts, scope, receive, sending)
        except ClientGone:
            return
        except Exception as error:
            if sending.begun:
                raise
            self._note(error, scope["method"], parts)
            answer = refusal(error)
            await send_json(send, answer.status, answer.body, *answer.headers)

    def _note(self, error: Exception, method: str, parts: list[str]) -> None:
        problem = from_error(error)
        kind = problem.kind
        self._noticed(problem)
        if (method, parts) == ("POST", ["responses"]):
            self._refused.labels(kind.slug).inc()
        if kind is INTERNAL:
            _log.error("request_failed", path_template=f"{PATH}/{parts[0] if parts else ''}", exc_info=error)

    async def _dispatch(self, parts: list[str], scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer a call; a 404 or 405 `Problem` when there is none."""
        calls = self._calls(parts, scope, receive, send)
        call = calls.get(scope["method"])
        if call is None:
            await answer_other_method(scope["method"], send, *calls)
            return
        await call(caller_of(scope, await self._authenticator.identify(scope)))

    def _calls(self, parts: list[str], scope: HTTPScope, receive: Receive, send: Send) -> dict[str, Call]:
        """The calls of a path, by method. All that has a GET has a HEAD."""
        calls = self._named_calls(parts, scope, receive, send)
        return calls | {"HEAD": calls["GET"]} if "GET" in calls else calls

    def _named_calls(self, parts: list[str], scope: HTTPScope, receive: Receive, send: Send) -> dict[str, Call]:
        match parts:
            case ["responses"]:
                return {"POST": lambda caller: self._new(scope, receive, send, caller)}
            case ["responses", name]:
                return {
                    "GET": lambda caller: self._stored.retrieve(name, scope, receive, send, caller),
                    "DELETE": lambda caller: self._stored.delete(name, scope, send, caller),
                }
            case ["responses", name, "cancel"]:
                return {"POST": lambda caller: self._stored.cancel(name, scope, send, caller)}
            case ["models", *names]:
                return {"GET": lambda caller: self._models("/".join(names), scope, send, caller)}
        raise Problem(NOT_FOUND, _SERVED)

    async def _new(self, scope: HTTPScope, receive: Receive, send: Send, identity: Identity) -> None:
        identity.require_scope(auth.Scope.JOBS_WRITE)
        await self._create.answer(scope, receive, send, identity)

    async def _models(self, name: str, scope: HTTPScope, send: Send, identity: Identity) -> None:
        decode_query(scope["query_string"], NoQuery)
        identity.require_scope(auth.Scope.JOBS_WRITE)
        found = find_model(self._chain, name, identity) if name else list_models(self._chain, identity)
        await send_json(send, 200, _encode(found))


class _Sending:
    """A `send` that knows whether the response has begun. The stream's transport is found through it
    (`sse.WithTransport` reads it before)."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    def __call__(self, message: Any) -> Awaitable[None]:
        self.begun = True
        return self._send(message)
