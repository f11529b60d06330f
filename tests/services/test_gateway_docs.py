"""The page at /docs and its document."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest

from shared.events import EventKind
from shared.version import VERSION
from tests.support.dashboards import answers_to_alerts
from tests.support.gateway import BATCH, SUBMIT, body, problem, running_gateway
from tests.support.processes import ROOT


async def test_the_docs_page_needs_nothing_from_elsewhere(redis_url: str) -> None:
    """Everything the page loads comes from the gateway itself, exists, and the policy forbids the rest."""
    async with running_gateway(redis_url) as client:
        page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(assets) == 4
        for asset in assets:
            answer = await client.get(urljoin("/docs", asset))
            assert answer.status_code == 200
            assert len(answer.content) > 100
        assert VERSION in page.text
        assert (await client.get("/favicon.ico")).headers["content-type"] == "image/png"


@pytest.mark.parametrize("prefix", ["", "/presswork", "/a/b"])
async def test_the_docs_page_works_below_any_path(redis_url: str, prefix: str) -> None:
    """Page, assets, document and links are found below the prefix, taken off by a proxy or not."""
    async with running_gateway(redis_url, ROOT_PATH=prefix) as client:
        for page in (f"{prefix}/docs", f"{prefix}/docs/"):
            for asset in re.findall(r'(?:src|href)="([^"]+)"', (await client.get(page)).text):
                assert urljoin(page, asset).startswith(f"{prefix}/docs/")
                assert (await client.get(urljoin(page, asset))).status_code == 200
        for place in (f"{prefix}/docs/openapi.json", f"{prefix}/openapi.json", "/openapi.json"):
            assert (await client.get(place)).json()["servers"] == [{"url": prefix or "/"}]
        accepted = await client.post(f"{prefix}{SUBMIT}", json=body())
        links = accepted.json()["links"]
        assert accepted.headers["location"] == links["status"]
        assert (await client.get(links["status"])).json()["jobId"] == accepted.json()["jobId"]
        assert links["events"].startswith(f"{prefix}/api/ai/job-events?jobId=")
        assert (await client.post(links["cancel"])).json()["status"] == "cancelled"
        again = await client.post(links["cancel"].replace("/cancel", "/retry"))
        assert again.headers["location"].startswith(f"{prefix}/api/ai/job-status")


NO_ASSETS = (
    "", "index.html", "%00", "x" * 300, "x" * 5000, "%2e%2e", "%2e%2e%2findex.html", "..%2f..%2f__init__.py",
    "swagger-ui-bundle.js%00", "oauth2-redirect.html", "%ff", "folder/", "%5c..%5c", "swagger-ui.css%2f..",
    "%2fetc%2fpasswd", "swagger-ui-bundle.js.map",
)  # fmt: skip
OTHER_SPELLINGS = (
    "/metrics/", "//metrics", "/Metrics", "/%6detrics", "/metrics%2f", "/health/live/", "//health/live", "/%2fmetrics"
)  # fmt: skip


async def test_only_what_the_page_needs_is_an_asset(redis_url: str) -> None:
    """Swagger's own index calls a foreign server; no name is a file's elsewhere, and none is a 500."""
    async with running_gateway(redis_url) as client:
        for name in NO_ASSETS:
            problem(await client.get(f"/docs/assets/{name}"), 404, "not-found")


async def test_operators_paths_have_one_spelling(redis_url: str) -> None:
    """A proxy keeps them from the world by name; no other spelling reaches them."""
    async with running_gateway(redis_url) as client:
        for path in OTHER_SPELLINGS:
            answer = await client.get(client.base_url.copy_with(raw_path=path.encode()))
            assert answer.status_code == 404, path
        assert (await client.get("/metrics")).status_code == 200


async def test_every_example_is_accepted_as_it_stands(redis_url: str) -> None:
    """Execute in the page is answered with a 202, for every example of every call that takes a body."""
    async with running_gateway(redis_url) as client:
        document = (await client.get("/openapi.json")).json()
        posts = {path: document["paths"][path]["post"] for path in (SUBMIT, BATCH)}
        for path, call in posts.items():
            examples = call["requestBody"]["content"]["application/json"]["examples"]
            for name, example in examples.items():
                answer = await client.post(path, json=example["value"])
                assert answer.status_code == 202, (name, answer.text)
                assert "error" not in answer.text


def test_the_document_names_the_release() -> None:
    """pyproject.toml, metrics and the document say the same version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def _references(held: object) -> Iterator[str]:
    if isinstance(held, dict):
        for name, value in held.items():
            if name == "$ref":
                yield str(value)
            else:
                yield from _references(value)
    elif isinstance(held, list):
        for value in held:
            yield from _references(value)


async def test_the_document_is_complete(redis_url: str) -> None:
    """OpenAPI 3.1 with every call of the contract; each reference resolves; its examples of models are served here."""
    async with running_gateway(redis_url, PROVIDERS="openai:gpt-x") as client:
        document = (await client.get("/docs/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        "/api/ai/generate-content", "/api/ai/generate-content/batch", "/api/ai/job-status", "/api/ai/queue-stats",
        "/api/ai/jobs", "/api/ai/jobs/{jobId}", "/api/ai/jobs/{jobId}/cancel", "/api/ai/jobs/{jobId}/retry",
            "/api/ai/jobs/{jobId}/request",
        "/api/ai/job-events", "/api/ai/usage", "/api/ai/event-tickets", "/api/admin/keys",
        "/api/admin/keys/{keyId}", "/api/admin/keys/{keyId}/rotate",
        "/api/admin/organizations", "/api/admin/organizations/{id}",
        "/api/admin/organizations/{id}/blocked-users", "/api/admin/organizations/{id}/blocked-users/{userId}",
        "/api/admin/audit", "/api/admin/jobs",
        "/api/admin/usage", "/api/admin/failures", "/api/admin/failures/redrive", "/api/admin/failures/discard",
        "/api/admin/tasks/{taskId}", "/api/admin/gates", "/api/admin/gates/{gate}", "/api/admin/gates/{gate}/pause",
        "/api/admin/gates/{gate}/resume", "/api/admin/queue", "/api/admin/queue/pause", "/api/admin/queue/resume",
        "/api/admin/workers", "/api/admin/workers/{worker}/drain", "/api/admin/workers/{worker}/resume",
        "/api/admin/overview", "/api/admin/overview/events",
        "/api/ai/completion", "/v1/responses", "/v1/responses/{responseId}",
        "/v1/responses/{responseId}/cancel", "/v1/models", "/v1/models/{model}", "/health/live",
        "/health/ready", "/metrics",
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    references = {reference.rpartition("/")[2] for reference in _references(document)}
    assert references <= set(schemas)
    assert schemas["JobRequest"]["additionalProperties"] is False
    assert schemas["JobRequest"]["properties"]["model"]["examples"] == ["gpt-x"]
    assert schemas["BatchJob"]["properties"]["providers"]["examples"] == [["openai:gpt-x"]]
    assert {name for item in document["paths"].values() for name in item} == {"get", "post", "patch", "delete"}
    location = document["paths"]["/api/ai/generate-content"]["post"]["responses"]["202"]["headers"]["Location"]
    assert location["schema"] == {"type": "string"}
    parameters = document["paths"]["/api/ai/jobs"]["get"]["parameters"]
    assert [held["name"] for held in parameters] == ["organizationId", "status", "cursor", "limit"]


async def test_the_calls_that_answer_alerts_are_there(redis_url: str) -> None:
    """The runbook names no call that the gateway does not document."""
    async with running_gateway(redis_url) as client:
        paths = (await client.get("/docs/openapi.json")).json()["paths"]
    rows = answers_to_alerts()
    assert len(rows) > 20
    for row in rows:
        method, path = row.call
        assert method.lower() in paths[path], row


async def test_the_document_is_the_same_for_every_server(redis_url: str) -> None:
    """A client that is generated from one server's document works with others: models are examples, never an enum."""

    async def schemas(**settings: str) -> dict[str, Any]:
        async with running_gateway(redis_url, **settings) as client:
            found: dict[str, Any] = (await client.get("/openapi.json")).json()["components"]["schemas"]
        for request in ("JobRequest", "BatchJob"):
            for field in ("provider", "model", "providers"):
                assert found[request]["properties"][field].pop("examples")
        return found

    assert await schemas() == await schemas(PROVIDERS="openai:gpt-x", PUBLIC_EVENTS_URL="https://events.example.org")


def _times(schemas: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for kind, schema in schemas.items():
        for name, held in schema.get("properties", {}).items():
            if re.search(r"(?:At|^at|timestamp)$", name):
                yield f"{kind}.{name}", held


async def test_times_events_and_problems_are_typed(redis_url: str) -> None:
    """Times are date-time, events are one of their kinds, the type of a problem is one of those that are raised."""
    async with running_gateway(redis_url) as client:
        document = (await client.get("/openapi.json")).json()
        raised = problem(await client.get("/api/ai/job-status"), 400, "invalid-request")["type"]
    schemas = document["components"]["schemas"]
    times = dict(_times(schemas))
    assert len(times) > 15
    for name, schema in times.items():
        assert "date-time" in str(schema), name

    streamed = document["paths"]["/api/ai/job-events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert streamed["schema"] == {"$ref": "#/components/schemas/JobEvent"}
    watched = document["paths"]["/api/admin/overview/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert watched["schema"] == {"$ref": "#/components/schemas/OverviewEvent"}
    assert set(schemas["JobEvent"]["discriminator"]["mapping"]) == set(EventKind)
    assert raised in schemas["ProblemType"]["enum"]
    assert schemas["ProblemDetails"]["properties"]["type"] == {"$ref": "#/components/schemas/ProblemType"}


async def test_browsers_of_allowed_origins_may_call(redis_url: str) -> None:
    """A preflight of an allowed origin passes, also where tokens are needed; another origin gets no permission."""
    settings = {"CORS_ALLOWED_ORIGINS": "https://app.example.org", "API_TOKENS": "0" * 64}
    async with running_gateway(redis_url, **settings) as client:

        async def preflight(origin: str) -> str | None:
            headers = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
            }
            answer = await client.options("/api/ai/generate-content", headers=headers)
            allowed: str | None = answer.headers.get("access-control-allow-origin")
            return allowed

        assert await preflight("https://app.example.org") == "https://app.example.org"
        assert await preflight("https://evil.example.org") is None
        refused = await client.get("/api/ai/queue-stats", headers={"Origin": "https://app.example.org"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example.org"


async def test_browsers_may_use_every_method_of_the_document(redis_url: str) -> None:
    """A preflight allows the methods of all calls."""
    origin = "https://app.example.org"
    async with running_gateway(redis_url, CORS_ALLOWED_ORIGINS=origin) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        headers = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
        answer = await client.options("/api/admin/organizations/acme", headers=headers)
        allowed = answer.headers["access-control-allow-methods"].split(", ")
        assert {method.upper() for calls in paths.values() for method in calls} <= set(allowed)


async def test_head_answers_like_get_without_a_body(redis_url: str) -> None:
    """HEAD works on every call that reads."""
    async with running_gateway(redis_url) as client:
        for path in ("/docs", "/docs/openapi.json", "/api/ai/queue-stats", "/health/live", "/health/ready", "/metrics"):
            head, get = await client.head(path), await client.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
