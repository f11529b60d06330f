"""Bad queries, ids, methods and paths: always a problem document that names what is wrong, and nothing is written."""

from __future__ import annotations

import httpx
import pytest

from tests.support.gateway import BATCH, STATUS, SUBMIT, fields, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"{STATUS}?jobId=a&wait=abc", "wait: expected `number`"),
        (
            "/api/ai/jobs?organizationId=a&status=done",
            "must be one of queued, processing, completed, failed, cancelled",
        ),
        ("/api/ai/usage?organizationId=a&from=31.1.2026", "from: must be a date as in 2026-01-31"),
        ("/api/ai/usage?organizationId=a&to=2024-01-31", "and 2024-01-31, a missing day is of this month"),
    ],
)
async def test_a_bad_query_is_explained(strict: httpx.AsyncClient, query: str, message: str) -> None:
    """The detail names the allowed values, also of fields that the caller left out."""
    assert message in problem(await strict.get(query), 400, "invalid-request")["detail"]


@pytest.mark.parametrize("job_id", ["x", "ai-job-0000000000000-000000000", "../../x", "%7Bx%7D", "*"])
async def test_an_unknown_job_is_404_everywhere(strict: httpx.AsyncClient, job_id: str) -> None:
    """An id that names no job is 404 in any form."""
    problem(await strict.get(f"{STATUS}?jobId={job_id}"), 404, "not-found")
    problem(await strict.post(f"/api/ai/jobs/{job_id}/cancel"), 404, "not-found")
    problem(await strict.post(f"/api/ai/jobs/{job_id}/retry"), 404, "not-found")


@pytest.mark.parametrize("job_id", ["", "%20", "+", "%00", "ai-job-0000000000000-00000000%0a", "x" * 65])
async def test_a_malformed_job_id_is_400(strict: httpx.AsyncClient, job_id: str) -> None:
    """Empty, blank, with control characters or too long: the caller's code is wrong, and the answer says so."""
    for query in (f"{STATUS}?jobId={job_id}", f"{STATUS}?jobId={job_id}&wait=1"):
        assert fields(problem(await strict.get(query), 400, "invalid-request")) == {"jobId"}
    if job_id not in ("", "+"):  # in a path they are another path, and a plus sign
        for verb in ("cancel", "retry"):
            answer = await strict.post(f"/api/ai/jobs/{job_id}/{verb}")
            assert fields(problem(answer, 400, "invalid-request")) == {"jobId"}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (STATUS, "jobId"),
        (f"{STATUS}?jobId=a&jobId=b", "jobId"),
        (f"{STATUS}?jobId=a&wait=31", "wait"),
        (f"{STATUS}?jobId=a&wait=-1", "wait"),
        (f"{STATUS}?jobId=a&wait=nan", "wait"),
        (f"{STATUS}?jobId=a&wait=", "wait"),
        (f"{STATUS}?jobId=%ff", "query"),
        ("/api/ai/jobs", "organizationId"),
        ("/api/ai/jobs?organizationId=a%20b", "organizationId"),
        ("/api/ai/jobs?organizationId=a&status=done", "status"),
        ("/api/ai/jobs?organizationId=a&cursor=x", "cursor"),
        ("/api/ai/jobs?organizationId=a&cursor=%C3%A9", "cursor"),
        ("/api/ai/jobs?organizationId=a&limit=0", "limit"),
        ("/api/ai/jobs?organizationId=a&limit=101", "limit"),
        ("/api/ai/jobs?organizationId=a&limit=1.5", "limit"),
        ("/api/ai/jobs?organizationId=a&Limit=1", "Limit"),
        ("/api/ai/usage?organizationId=a&from=2026-01-01&from=2026-01-01", "from"),
        ("/api/ai/usage?organizationId=a&first=2026-01-01", "first"),
        ("/api/ai/queue-stats?a=1", "a"),
        (f"/api/ai/queue-stats?{'x' * 300}", "x" * 100),
        (f"{STATUS}?{'&' * 200}jobId=a", "query"),
    ],
)
async def test_a_bad_query_is_named(strict: httpx.AsyncClient, path: str, field: str) -> None:
    """A query parameter that is missing, unknown, given twice or out of range is 400 and named."""
    assert fields(problem(await strict.get(path), 400, "invalid-request")) == {field}


async def test_all_bad_parameters_are_named_at_once(strict: httpx.AsyncClient) -> None:
    """A query with many faults is answered with all of them, as a body is, also of calls that change something."""
    answer = await strict.get("/api/ai/jobs?organizationId=a%20b&status=done&limit=0&offset=3")
    assert fields(problem(answer, 400, "invalid-request")) == {"organizationId", "status", "limit", "offset"}
    for verb in ("cancel", "retry"):
        answer = await strict.post(f"/api/ai/jobs/x/{verb}?force=1&why=no")
        document = problem(answer, 400, "invalid-request")
        assert document["errors"] == [{"field": name, "message": "unknown field"} for name in ("force", "why")]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", SUBMIT, "POST"),
        ("HEAD", BATCH, "POST"),
        ("DELETE", SUBMIT, "POST"),
        ("POST", STATUS, "GET"),
        ("PUT", "/api/ai/queue-stats", "GET"),
        ("GET", "/api/ai/jobs/x/cancel", "POST"),
        ("POST", "/metrics", "GET"),
        ("POST", "/api/ai/job-events", "GET"),
        ("GET", "/api/ai/completion", "POST"),
        ("POST", "/api/admin/overview/events", "GET"),
        ("GET", "/v1/responses", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/v1/responses/ai-job-1737465123456-0bc123def", "DELETE, GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_with_allow(strict: httpx.AsyncClient, method: str, path: str, allow: str) -> None:
    """A method that a call does not have is 405 and says which it has; OPTIONS says the same."""
    answer = await strict.request(method, path)
    assert answer.status_code == 405
    assert allow in answer.headers["allow"]
    options = await strict.options(path)
    assert options.status_code == 204
    assert allow in options.headers["allow"]


@pytest.mark.parametrize("path", ["/nope", "/api/ai/nope", "/api/ai/jobs/x/nope", "/docs/assets/nope.js"])
async def test_an_unknown_path_is_a_problem_document_too(strict: httpx.AsyncClient, path: str) -> None:
    """404 of the router has the same shape as every other error."""
    problem(await strict.get(path), 404, "not-found")
