"""End users as vendors learn of them: under a keyed hash, and only where it is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers import Access
from services.worker.providers.anthropic import AnthropicProvider
from services.worker.providers.openai import OpenAIProvider
from tests.support.adapters import BOTH, briefing, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Call, Refusal

USER = "c0ffee" * 10
NAMED: dict[str, dict[str, Any]] = {"openai": {"safety_identifier": USER}, "anthropic": {"metadata": {"user_id": USER}}}


async def _calls(llm: LlmServer, name: str, *refusals: Refusal, jobs: int = 1, **access: Any) -> tuple[Any, list[Call]]:
    """The last of some jobs of an end user, and all calls that they made."""
    await llm.behave(Behaviour(keep_bodies=True, refuses=list(refusals)))
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    async with open_provider(name, url, **access) as provider:
        for _ in range(jobs):
            seen = await collect(provider, request(name, end_user=USER))
    return seen, await llm.calls()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("wanted", [True, False, None])
async def test_other_servers_are_told_on_request(llm: LlmServer, name: str, wanted: bool | None) -> None:
    """A server that is no vendor's own learns of end users only if it is to."""
    _, (call,) = await _calls(llm, name, names_end_users=wanted)
    told = {key: call.body[key] for key in NAMED[name] if key in call.body}
    assert told == (NAMED[name] if wanted else {})


@pytest.mark.parametrize(
    ("provider", "address"),
    [
        (OpenAIProvider, None),
        (OpenAIProvider, "https://eu.api.openai.com/v1"),
        (OpenAIProvider, "https://some.openai.azure.com"),
        (AnthropicProvider, None),
    ],
)
async def test_vendors_are_told(provider: type[OpenAIProvider | AnthropicProvider], address: str | None) -> None:
    """At their own addresses, unless it is switched off; a job without a user names none."""
    name = "openai" if provider is OpenAIProvider else "anthropic"
    for wanted, end_user, told in ((None, USER, True), (False, USER, False), (None, None, False)):
        adapter = provider(Access(api_key="k", base_url=address, names_end_users=wanted), briefing)
        sent = adapter._draft(request(name, end_user=end_user)).sent
        assert all((sent.get(key) == value) is told for key, value in NAMED[name].items())
        await adapter.aclose()


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("openai", {"error": {"message": "Unrecognized request argument supplied: safety_identifier"}}),
        ("openai", {"detail": [{"loc": ["body", "safety_identifier"], "msg": "Extra inputs are not permitted"}]}),
        ("openai", [{"error": {"message": 'Unknown name "safety_identifier": Cannot find field.', "code": 400}}]),
        (
            "anthropic",
            {"error": {"type": "invalid_request_error", "message": "metadata: Extra inputs are not permitted"}},
        ),
        ("anthropic", {"error": {"type": "invalid_request_error", "message": "metadata.user_id: unexpected field"}}),
    ],
)
async def test_a_server_that_refuses_it_is_not_told_again(llm: LlmServer, name: str, refusal: Any) -> None:
    """One more call the first time; the result does not show a parameter that no job asked for."""
    (parameter,) = NAMED[name]
    refuses = Refusal(parameter=parameter, status=400, body=refusal)
    seen, calls = await _calls(llm, name, refuses, jobs=3, names_end_users=True)
    assert [call.status for call in calls] == [400, 200, 200, 200]
    assert seen.done.metadata is None
