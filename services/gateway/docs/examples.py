"""The examples of the document: requests that are accepted as they are, and their answers."""

from __future__ import annotations

from typing import Any, Final

from litestar.openapi.spec import Example

Json = dict[str, Any]

ORGANIZATION: Final = "org-789"
_JOB_ID: Final = "ai-job-1795630060584-06jz76zhl"
_WHO: Final = {"projectId": "project-123", "userId": "user-456", "organizationId": ORGANIZATION}

_LINKEDIN: Final[Json] = {
    **_WHO,
    "prompt": "Create a social media post about our new product, an accounting tool for small bakeries",
    "parameters": {"tone": "professional", "length": "short", "platform": "linkedin"},
    "priority": "high",
}
_EMAIL: Final[Json] = {
    **_WHO,
    "prompt": "Invite our newsletter's readers to the spring sale: 20 % off all planners until Sunday",
    "parameters": {"platform": "email", "tone": "friendly", "audience": "returning customers", "length": "medium"},
    "metadata": {"campaignId": "spring-sale"},
}
_AD: Final[Json] = {
    **_WHO,
    "prompt": "Write an ad for a travel mug that keeps coffee hot for twelve hours",
    "parameters": {"platform": "ad", "keywords": ["travel mug", "hot coffee"], "callToAction": "Order today"},
    "maxTokens": 200,
    "temperature": 0.9,
}
_BLOG: Final[Json] = {
    **_WHO,
    "prompt": "Outline a blog article: five ways to plan a month of social media in one afternoon",
    "parameters": {"platform": "blog", "length": "long", "language": "English"},
    "priority": "low",
    "delaySeconds": 60,
    "deadlineSeconds": 3600,
    "maxAttempts": 5,
}

_HEADLINES: Final[Json] = {
    **_WHO,
    "prompt": "Three headlines for our spring sale of planners",
    "responseSchema": {
        "type": "object",
        "properties": {"headlines": {"type": "array", "items": {"type": "string"}, "minItems": 3}},
        "required": ["headlines"],
        "additionalProperties": False,
    },
}

JOBS: Final = {
    "linkedin": Example(summary="A LinkedIn post, before others", value=_LINKEDIN),
    "email": Example(summary="A newsletter, with metadata of yours", value=_EMAIL),
    "ad": Example(summary="An ad, short and bold", value=_AD),
    "blog": Example(summary="A blog article, in a minute, when there is nothing else to do", value=_BLOG),
    "headlines": Example(summary="Three headlines, as JSON of your own form", value=_HEADLINES),
}
BATCHES: Final = {
    "campaign": Example(
        summary="One launch on three channels",
        value={
            "jobs": [
                {**_LINKEDIN, "parameters": {"platform": platform, "tone": "enthusiastic", "length": "short"}}
                for platform in ("linkedin", "instagram", "x")
            ]
        },
    )
}
ACCEPTED: Final[Json] = {
    "jobId": _JOB_ID,
    "status": "queued",
    "links": {
        "status": f"/api/ai/job-status?jobId={_JOB_ID}",
        "events": f"/api/ai/job-events?jobId={_JOB_ID}",
        "cancel": f"/api/ai/jobs/{_JOB_ID}/cancel",
    },
}
JOB: Final[Json] = {
    "jobId": _JOB_ID,
    "status": "completed",
    "result": "Meet the accounting tool that smells of fresh bread. …",
    "provider": "openai",
    "model": "gpt-6-luna",
    "usage": {"inputTokens": 71, "outputTokens": 58, "cachedTokens": 0, "estimated": False},
    "costUsd": 0.0001,
    "finishReason": "stop",
    **_WHO,
    "priority": "high",
    "attempt": 1,
    "maxAttempts": 3,
    "createdAt": "2026-11-25T18:07:40.584Z",
    "deadlineAt": "2026-11-26T18:07:40.584Z",
    "startedAt": "2026-11-25T18:07:40.587Z",
    "endedAt": "2026-11-25T18:07:42.113Z",
}
