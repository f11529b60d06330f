"""Requests to be sent: schemathesis' negative data, and bodies, queries and headers that were made to hurt."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from tests.hostile.bodies import hostile_batches, hostile_bodies
from tests.support.gateway import BATCH, STATUS, SUBMIT

Send = Callable[[httpx.Client], int]
"""Sends one request; answers its status."""

JSON = {"content-type": "application/json"}


def _queries() -> Iterator[str]:
    yield f"{STATUS}?jobId=ai-job-%D9%A1737465123456-abc123def"
    yield f"{STATUS}?jobId={'%00' * 15_000}"
    yield f"{STATUS}?" + "&".join(f"a{i}=1" for i in range(8_000))
    yield f"{STATUS}?jobId=a&wait={'9' * 5_000}"
    yield f"{STATUS}?jobId=a&wait=-0"
    for cursor in ("A" * 256, "MTIzNDU2IGFpLWpvYi0xNzM3NDY1MTIzNDU2LWFiYzEyM2RlZg", "%ED%A0%80", "=" * 200):
        yield f"/api/ai/jobs?organizationId=a&cursor={cursor}"
    for organization in ("%7Bx%7D", "%253A", "a:b", "*", "a%20b", "%F0%9F%98%80", "x" * 129):
        yield f"/api/ai/jobs?organizationId={organization}"
        yield f"/api/ai/usage?organizationId={organization}"
    yield "/api/ai/usage?organizationId=a&from=0001-01-01&to=9999-12-31"
    yield f"/api/ai/jobs/{'%2F' * 10_000}/cancel"


def _made() -> Iterator[Send]:
    def post(path: str, content: bytes, headers: dict[str, str]) -> Send:
        return lambda client: client.post(path, content=content, headers=JSON | headers).status_code

    for content in hostile_bodies():
        yield post(SUBMIT, content, {})
    for content in hostile_batches():
        yield post(BATCH, content, {})
    for headers in (
        {"idempotency-key": "x" * 60_000},
        {"traceparent": "00-" + "0" * 60_000},
        {"content-type": "application/json" + "; a=b" * 10_000},
        {"authorization": "Bearer " + "x" * 60_000},
    ):
        yield post(SUBMIT, b"1", headers)
    for path in _queries():
        yield lambda client, path=path: client.get(path).status_code  # type: ignore[misc]  # bound at once


def _cases(operation: Any, each: int, number: int) -> list[Any]:
    """Bad requests to one call; none when it takes nothing that could be bad."""
    cases: list[Any] = []

    @seed(number)
    @settings(
        max_examples=each,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def collect(case: Any) -> None:
        cases.append(case)

    with contextlib.suppress(Unsatisfiable):
        collect()
    return cases


def _negative(document: dict[str, Any], each: int, number: int) -> Iterator[Send]:
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        if not isinstance(found, Ok) or "job-events" in found.ok().path:
            continue
        for case in _cases(found.ok(), each, number):
            yield lambda client, case=case: int(case.call(base_url=str(client.base_url)).status_code)  # type: ignore[misc]


def hostile_requests(document: dict[str, Any], count: int, number: int = 7) -> Iterator[Send]:
    """About `count` requests to a gateway with this OpenAPI document; `number` seeds the generator.

    Those that were made by hand come once in a thousand, and once at least.
    """
    made = list(_made())
    sevenths = max(0, count - len(made)) // 7
    for start in range(0, max(sevenths, 1), 130):
        yield from _negative(document, min(130, sevenths - start) or 1, number + start)
        yield from made
