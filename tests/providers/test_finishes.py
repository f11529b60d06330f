"""Finish reasons: the table, and the outcome of an answer that ends with each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers import Action
from services.worker.providers.failures.error_bodies import squash
from services.worker.providers.replies.finish_reasons import (
    SHOWN_CHARACTERS,
    SOURCES,
    UNSAID,
    Finish,
    finish_of,
    said,
    shown,
)
from tests.support.adapters import BOTH, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.llm_bodies import START, choice, delta, event

NOTHING: tuple[object, ...] = (None, "", "None", " null ", 0, True, 7, [], {})
KNOWN = sorted({(reason, source.finish) for source in SOURCES for reason in source.reasons}, key=lambda pair: pair[0])


def url(llm: LlmServer, name: str) -> str:
    """The base URL of the stand-in for this vendor."""
    return {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]


def whole(name: str, reason: object) -> list[str]:
    """An answer of `Hi you` that ends for this reason."""
    if name == "openai":
        end = event({"choices": [{"delta": {}, "finish_reason": reason}]})
        return [choice("Hi you"), end, "data: [DONE]\n\n"]
    end = event({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 2}})
    return [START, delta("Hi you"), end, event({"type": "message_stop"})]


def test_every_reason_means_one_thing() -> None:
    """No two servers give one word two meanings, and no word is among those that say nothing."""
    meanings = {squash(reason): finish for reason, finish in KNOWN}
    assert all(meanings[squash(reason)] is finish for reason, finish in KNOWN)
    assert not meanings.keys() & {squash(word) for word in UNSAID}


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, lambda word: word.replace("_", "-")])
def test_case_and_separators_do_not_matter(change: object) -> None:
    """A word is the same in capitals, with hyphens, or after the name of its enumeration."""
    for reason, finish in KNOWN:
        assert finish_of(change(reason)) is finish  # type: ignore[operator]  # they are functions of a text
    assert finish_of("FinishReason.SAFETY") is finish_of("FINISH_REASON_SAFETY") is Finish.REFUSED
    assert finish_of("content_filter: SPII") is Finish.REFUSED
    assert finish_of("function_call_filter: MALFORMED_FUNCTION_CALL") is Finish.BROKEN
    assert finish_of("engine_error") is finish_of("aborted_by_scheduler") is Finish.BROKEN
    assert finish_of("reason") is finish_of("敏") is finish_of("") is Finish.OTHER


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(
    st.sampled_from(["type", "reason"]), one)))  # fmt: skip
def test_any_reason_is_a_word_or_none(reason: object) -> None:
    """Any JSON can be looked up, and the shown part is short and printable."""
    word = said(reason)
    text = shown(finish_of(word), word)
    assert len(text) <= SHOWN_CHARACTERS
    assert not text or text.isprintable()


@pytest.mark.parametrize(
    ("reason", "error_type", "action"),
    [
        ("network_error", "StreamFailed", Action.RETRY),
        ("error", "StreamFailed", Action.RETRY),
        ("aborted", "StreamFailed", Action.RETRY),
        ("insufficient_system_resource", "StreamFailed", Action.RETRY),
        ("MALFORMED_FUNCTION_CALL", "StreamFailed", Action.RETRY),
        ("SAFETY", "ContentFiltered", Action.FAIL),
        ("Content-Filter", "ContentFiltered", Action.FAIL),
        ("sensitive", "ContentFiltered", Action.FAIL),
        ("tool_calls", "ToolRequested", Action.RETRY),
        ("pause_turn", "ToolRequested", Action.RETRY),
        *((nothing, "StreamTruncated", Action.RETRY) for nothing in NOTHING),
    ],
)
@pytest.mark.parametrize("name", BOTH)
async def test_a_broken_answer_is_no_result(
    llm: LlmServer, name: str, reason: object, error_type: str, action: Action
) -> None:
    """Half a text is not published: an end that is not one is a failure, and so is no reason at all."""
    await llm.behave(Behaviour(raw=whole(name, reason)))
    async with open_provider(name, url(llm, name)) as provider:
        seen = await collect(provider, request(name))
    assert (seen.failed.error.type, seen.failed.action) == (error_type, action)
    assert seen.text == "Hi you"


@pytest.mark.parametrize(
    ("reason", "shown_as"),
    [
        ("eos_token", "stop"),
        ("COMPLETE", "stop"),
        ({"type": "stop", "matched": 7}, "stop"),
        ("MAX_TOKENS", "length"),
        ("max_output_tokens", "length"),
        ("model_length", "length"),
        ("new in 2027", "new in 2027"),
        ("敏感", "敏感"),
        ("x" * 1_000, "x" * SHOWN_CHARACTERS),
        ("odd\n\ud83d\x00", "odd???"),
    ],
)
@pytest.mark.parametrize("name", BOTH)
async def test_whole_answers(llm: LlmServer, name: str, reason: object, shown_as: str) -> None:
    """A reason that is known is `stop` or `length`; an unknown one completes and stays as it is."""
    await llm.behave(Behaviour(raw=whole(name, reason)))
    async with open_provider(name, url(llm, name)) as provider:
        seen = await collect(provider, request(name))
    assert (seen.text, seen.done.finish_reason) == ("Hi you", shown_as)


@pytest.mark.parametrize(
    ("native", "error_type"), [("SAFETY", "ContentFiltered"), ("network_error", "StreamFailed"), ("STOP", None)]
)
async def test_the_word_of_the_server_behind(llm: LlmServer, native: str, error_type: str | None) -> None:
    """OpenRouter sends both its own word and the one behind it: the word for a fault counts."""
    end = event({"choices": [{"delta": {}, "finish_reason": "stop", "native_finish_reason": native}]})
    await llm.behave(Behaviour(raw=[choice("Hi you"), end]))
    async with open_provider("openai", llm.openai_url) as provider:
        seen = await collect(provider, request("openai"))
    assert (seen.error.error.type if seen.error else None) == error_type
