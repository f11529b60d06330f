"""schemathesis against the gateway's own OpenAPI document: no server error, no undocumented answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess

CONFIG = """
seed = 7
workers = 1

[generation]
allow-x00 = false
max-examples = 15
database = "none"

# A body that is wrong may be too large as well.
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]

[[operations]]
include-name = "POST /api/ai/generate-content"
# A deadline must exceed the delay, `providers` excludes `provider` and `model`: the schema does not say that.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /api/ai/jobs"
# Only a cursor of an earlier page is one.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /api/admin/keys"
# An expiry must be in the future, models and organisations are named in more ways than a schema says.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /v1/responses"
# Much that OpenAI's schema has is refused here by its value; a model must be served.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /v1/responses/{responseId}"
# `starting_after` is for streams alone.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /api/ai/usage"
# How far apart two days may be, and in which order, a schema cannot say.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /api/admin/usage"
# As above.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /api/admin/jobs"
# Cursors, and jobs that are listed only by organisation.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /api/admin/organizations/{id}"
# Each id that may be one has its settings, also after a deletion, which goes on after its answer.
checks.use_after_free.enabled = false

[[operations]]
include-name = "GET /api/admin/organizations/{id}/blocked-users"
checks.use_after_free.enabled = false

[[operations]]
include-name = "PATCH /api/admin/organizations/{id}"
# 400.0 is an integer to a schema.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "PATCH /api/admin/gates/{gate}"
# As above.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /api/admin/failures/redrive"
# 400.0 is an integer to a schema.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /api/admin/failures/discard"
# As above.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /api/ai/generate-content/batch"
# Bad jobs of a batch are answered one by one, within a 202.
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false
"""


async def _document(url: str) -> dict[str, Any]:
    """The gateway's document without streams, and with waits of at most a moment: the run is not to sleep in them."""
    async with httpx.AsyncClient(verify=NO_TLS, base_url=url) as client:
        document: dict[str, Any] = (await client.get("/docs/openapi.json")).json()
    parameters = document["paths"]["/api/ai/job-status"]["get"]["parameters"]
    (wait,) = (parameter for parameter in parameters if parameter["name"] == "wait")
    wait["schema"]["maximum"] = 0.05
    parameters = document["paths"]["/v1/responses/{responseId}"]["get"]["parameters"]
    (stream,) = (parameter for parameter in parameters if parameter["name"] == "stream")
    response = document["components"]["schemas"]["ResponseRequest"]
    stream["schema"] = response["properties"]["stream"] = {"enum": [False]}
    response["properties"]["background"] = {"enum": [True]}
    response["required"].append("background")
    return document


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_call_answers_what_the_document_does_not_say(redis_url: str, tmp_path: Path) -> None:
    """Generated good and bad requests to every call, also in sequences, find no answer outside the document."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    async with ServiceProcess("gateway", {"REDIS_URL": redis_url, "LOG_LEVEL": "ERROR"}, tmp_path / "log") as gateway:
        (tmp_path / "openapi.json").write_text(json.dumps(await _document(gateway.url)))
        command = [
            str(Path(sys.executable).parent / "schemathesis"), "run", "openapi.json", "--url", gateway.url,
            "--no-color", "--exclude-path", "/api/ai/job-events", "--exclude-path", "/api/ai/completion",
            "--exclude-path", "/api/admin/overview/events",
        ]  # fmt: skip
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=280
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "request_failed" not in gateway.log.read_text()
