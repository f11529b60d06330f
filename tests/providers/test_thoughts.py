"""Thoughts: in fields of their own or in tags before the text, and counted in both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers.replies.thoughts import BLANKS_MAX, ThoughtFilter
from tests.support.adapters import collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.llm_bodies import START, choice, delta, event, stop

TAGS = ("think", "thinking")


def filtered(text: str, cuts: list[int]) -> tuple[str, int]:
    """Text and characters of thought, fed in pieces of these lengths."""
    thoughts, out, thought = ThoughtFilter(TAGS), "", 0
    for cut in [*cuts, len(text)]:
        piece, text = text[:cut], text[cut:]
        if thoughts.over:
            out += piece
            continue
        kept, dropped = thoughts.feed(piece)
        out, thought = out + kept, thought + dropped
        assert len(thoughts._held) <= BLANKS_MAX + 40
    if thoughts.over:
        return out, thought
    kept, dropped = thoughts.rest()
    return out + kept, thought + dropped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>hm</think>\n\nHi", ("Hi", 2)),
        (" \n<think>hm</think>Hi", ("Hi", 2)),
        ("<THINKING>a</b></think></Thinking>Hi", ("Hi", 13)),
        ("<think></think>Hi", ("Hi", 0)),
        ("<think>a</think> <think>b</think> Hi", ("Hi", 2)),
        ("<think>never ends", ("", 10)),
        ("<think>" + "x" * 800 + "</thin", ("", 806)),
        ("<think>a</think>\n", ("", 1)),
        ("Hi <think>kept</think>", ("Hi <think>kept</think>", 0)),
        ("<thin", ("<thin", 0)),
        ("<b>Hi</b>", ("<b>Hi</b>", 0)),
        ("  Hi", ("  Hi", 0)),
        (" " * 1_000 + "<think>", (" " * 1_000 + "<think>", 0)),
        ("", ("", 0)),
    ],
)
@given(cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=20))
def test_tags_may_come_in_pieces(text: str, expected: tuple[str, int], cuts: list[int]) -> None:
    """Wherever the pieces are cut, the same is text and the same was thought; little is held."""
    assert filtered(text, cuts) == filtered(text, [1] * len(text)) == expected


def thinking(**fields: Any) -> str:
    """A chunk of a chat completion without content, with these fields in its delta."""
    return choice(None, **fields)


SUMMARY = [{"type": "reasoning.summary", "summary": "abcd"}]
DETAILS = [{"type": "reasoning.text", "text": "abcd"}]
GEMINI = {"google": {"thought": True}}
MISTRAL = [{"type": "thinking", "thinking": [{"type": "text", "text": "abcd"}]}]


@pytest.mark.parametrize(
    "sent",
    [
        thinking(reasoning_content="abcd"),
        thinking(reasoning="abcd"),
        thinking(reasoning="abcd", reasoning_content="abcd", reasoning_details=DETAILS),
        thinking(reasoning_details=SUMMARY),
        event({"choices": [{"delta": {"content": "abcd", "extra_content": GEMINI}}]}),
        event({"choices": [{"delta": {"content": MISTRAL}}]}),
        event({"type": "response.reasoning_summary_text.delta", "delta": "abcd"}),
        choice("<think>") + choice("abcd") + choice("</think>"),
    ],
)
async def test_thoughts_of_chat_completions(llm: LlmServer, sent: str) -> None:
    """Each form of a thought counts its characters once, and none of them is text."""
    await llm.behave(Behaviour(raw=[sent, choice("Hi you", "stop")]))
    async with open_provider("openai", llm.openai_url) as provider:
        seen = await collect(provider, request("openai"))
    usage = seen.done.usage
    assert (seen.text, sum(seen.thoughts), usage.output_tokens, usage.reasoning_tokens) == ("Hi you", 4, 3, 1)


async def test_thoughts_that_are_not_shown(llm: LlmServer) -> None:
    """A model that thinks in secret is not silent."""
    hidden = thinking(reasoning_details=[{"type": "reasoning.encrypted", "data": "x" * 99}])
    await llm.behave(Behaviour(raw=[hidden, choice("Hi you", "stop")]))
    async with open_provider("openai", llm.openai_url) as provider:
        assert (await collect(provider, request("openai"))).thoughts == [0]
    block = event({"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "x"}})
    await llm.behave(Behaviour(raw=[START, block, delta("Hi you"), stop("end_turn")]))
    async with open_provider("anthropic", llm.anthropic_url) as provider:
        assert (await collect(provider, request("anthropic"))).thoughts == [0]


async def test_thoughts_of_messages(llm: LlmServer) -> None:
    """A block that thinks is counted from its start, the API's own count wins, and a ping is no thought."""
    raw = [
        START,
        event({"type": "ping"}),
        event({"type": "content_block_start", "content_block": {"type": "thinking", "thinking": "ab"}}),
        event({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "cd"}}),
        event({"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}}),
        delta("Hi you"),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
               "usage": {"output_tokens": 12, "output_tokens_details": {"thinking_tokens": 10}}}),
        event({"type": "message_stop"}),
    ]  # fmt: skip
    await llm.behave(Behaviour(raw=raw))
    async with open_provider("anthropic", llm.anthropic_url) as provider:
        seen = await collect(provider, request("anthropic"))
    usage = seen.done.usage
    assert (seen.text, sum(seen.thoughts), usage.output_tokens, usage.reasoning_tokens) == ("Hi you", 4, 12, 10)
    await llm.behave(Behaviour(raw=[START, event({"type": "ping"}), delta("Hi you"), stop("end_turn")]))
    async with open_provider("anthropic", llm.anthropic_url) as provider:
        assert (await collect(provider, request("anthropic"))).thoughts == []


async def test_tags_are_text_when_the_setting_says_so(llm: LlmServer) -> None:
    """Without names of tags a text stays as it is."""
    written = "<think>hm</think>Hi"
    await llm.behave(Behaviour(raw=[choice(written, "stop")]))
    async with open_provider("openai", llm.openai_url, think_tags=()) as provider:
        assert (await collect(provider, request("openai"))).text == written


@pytest.mark.parametrize(("finish", "error_type"), [("stop", "EmptyAnswer"), ("length", "TokenLimitTooSmall")])
async def test_a_thought_alone_is_no_text(llm: LlmServer, finish: str, error_type: str) -> None:
    """An answer that was thought and never written is empty, in every form of its thought."""
    for raw in ([choice("<think>on and on", finish)], [thinking(reasoning="on and on"), choice(None, finish)]):
        await llm.behave(Behaviour(raw=raw))
        async with open_provider("openai", llm.openai_url) as provider:
            seen = await collect(provider, request("openai"))
        assert (seen.failed.error.type, sum(seen.thoughts)) == (error_type, 9)


async def test_a_thought_without_end_is_left(llm: LlmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thoughts are bounded like a text."""
    monkeypatch.setattr("services.worker.providers.replies.stream_reader.TEXT_MAX", 10_000)
    await llm.behave(Behaviour(raw=[choice("<think>"), *[choice("x" * 1_000)] * 1_000], cut="stall"))
    async with open_provider("openai", llm.openai_url) as provider:
        assert (await collect(provider, request("openai"))).failed.error.type == "StreamMalformed"
