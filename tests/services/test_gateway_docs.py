"""The page at /docs and its document."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.support.gateway import running_gateway


async def test_the_docs_page_needs_nothing_from_elsewhere(redis_url: str) -> None:
    """Everything the page loads comes from the gateway itself, exists, and the policy forbids the rest."""
    async with running_gateway(redis_url) as client:
        index = await client.get("/")
        assert (index.status_code, index.headers["location"]) == (302, "/docs")
        page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(assets) == 4
        for asset in assets:
            answer = await client.get(asset)
            assert answer.status_code == 200
            assert len(answer.content) > 100
        assert 'url: "/docs/openapi.json"' in (await client.get("/docs/start.js")).text


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
    """OpenAPI 3.1 with every call of the contract; each reference resolves; providers are those of the settings."""
    settings = {"PROVIDERS": "openai:gpt-x", "PUBLIC_EVENTS_URL": "https://events.example.org"}
    async with running_gateway(redis_url, **settings) as client:
        document = (await client.get("/docs/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        "/api/ai/generate-content", "/api/ai/generate-content/batch", "/api/ai/job-status", "/api/ai/queue-stats",
        "/api/ai/jobs", "/api/ai/jobs/{jobId}/cancel", "/api/ai/jobs/{jobId}/retry", "/api/ai/job-events",
        "/api/ai/usage", "/health/live", "/health/ready", "/metrics",
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    references = {reference.rpartition("/")[2] for reference in _references(document)}
    assert references <= set(schemas)
    assert schemas["JobRequest"]["additionalProperties"] is False
    assert schemas["JobRequest"]["properties"]["model"]["enum"] == ["gpt-x", None]
    assert schemas["BatchJob"]["properties"]["providers"]["items"]["enum"] == ["openai:gpt-x"]
    assert document["paths"]["/api/ai/job-events"]["servers"] == [{"url": "https://events.example.org"}]


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


async def test_head_answers_like_get_without_a_body(redis_url: str) -> None:
    """HEAD works on every call that reads."""
    async with running_gateway(redis_url) as client:
        for path in ("/docs", "/docs/openapi.json", "/api/ai/queue-stats", "/health/live", "/health/ready", "/metrics"):
            head, get = await client.head(path), await client.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
