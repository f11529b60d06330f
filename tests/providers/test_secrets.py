"""No key, prompt or answer leaves by a log or an error."""

from __future__ import annotations

import logging
import traceback

import pytest

from services.worker.providers import ProviderError
from tests.support.adapters import BOTH, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Failing

KEY, PROMPT, ANSWER = "sk-planted-key-7391", "planted prompt 5528", "planted answer 6417"


def _behaviours() -> list[Behaviour]:
    quoting = {"error": {"type": "invalid_request_error", "message": f"{PROMPT} is bad, {KEY}", "param": PROMPT}}
    bad = f'data: {{"choices": [{{"delta": {{"content": "{ANSWER}"}}}}], "type": "x" \n\n'
    return [
        Behaviour(),
        Behaviour(raw=[bad]),
        Behaviour(cut="drop"),
        Behaviour(cut="stall"),
        *(Behaviour(fail=Failing(status=status, body=quoting)) for status in (400, 401, 403, 404, 429, 500, 529)),
    ]


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
@pytest.mark.parametrize("name", BOTH)
async def test_nothing_planted_comes_out(
    llm: LlmServer, name: str, level: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every kind of end, with everything logged: at the default level, and even at DEBUG."""
    caplog.set_level(level)
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    said: list[str] = []
    failed = 0
    for behaviour in _behaviours():
        await llm.behave(behaviour)
        async with open_provider(name, url, api_key=KEY, read_timeout_s=0.3) as provider:
            seen = await collect(provider, request(name, prompt=PROMPT))
        if seen.error is not None:
            failed += 1
            said += [repr(seen.error), str(seen.error.error), _report(seen.error)]
    assert failed == len(_behaviours()) - 1
    said += [caplog.text, *capfd.readouterr(), repr(provider)]
    for planted in (KEY, PROMPT, ANSWER):
        assert not [text for text in said if planted in text]


def _report(error: ProviderError) -> str:
    return "".join(traceback.format_exception(error))
