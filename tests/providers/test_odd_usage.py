"""Usage in the shapes that compatible servers make of it: what cannot be read costs the figure, never the text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.odd_streams import call
from tests.support.adapters import BOTH
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.llm_bodies import choice, delta, event, usage

BAD = ["12", 1.5, None, -3, 1 << 62, {"n": 1}, [3], True, "x" * 1_000]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", BOTH)
async def test_a_bad_usage_costs_the_usage(llm: LlmServer, name: str, bad: Any) -> None:
    """One field that is no number of tokens is estimated; the text and the other fields stay."""
    if name == "openai":
        raw = [choice("Hi you", "stop"), usage(70, bad, cached_tokens=bad)]
    else:
        start = event({"type": "message_start", "message": {"usage": {"input_tokens": 70, "output_tokens": bad}}})
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": bad}}
        raw = [start, delta("Hi you"), event(end), event({"type": "message_stop"})]
    seen = await call(llm, name, Behaviour(raw=raw))
    found = seen.done.usage
    assert (seen.text, found.input_tokens, found.output_tokens, found.estimated) == ("Hi you", 70, 2, True)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", BOTH)
async def test_a_usage_that_is_none(llm: LlmServer, name: str, bad: Any) -> None:
    """Neither is the text lost when the whole usage is something else."""
    raw = [choice("Hi you", "stop"), event({"choices": [], "usage": bad})]
    if name == "anthropic":
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": bad}
        raw = [event({"type": "message_start", "message": {"usage": bad}}), delta("Hi you"), event(end)]
        raw.append(event({"type": "message_stop"}))
    seen = await call(llm, name, Behaviour(raw=raw))
    assert (seen.text, seen.done.usage.estimated) == ("Hi you", True)


@pytest.mark.parametrize(
    ("counts", "made", "thought"),
    [
        ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 14}, 9, 7),
        ({"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 14}, 9, 7),
        ({"completion_tokens": 2, "total_tokens": 14}, 9, 7),
        ({"completion_tokens": 2, "total_tokens": 1 << 30}, 2, 0),
        ({"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": "x"}, "total_tokens": 7}, 2, 0),
        ({"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 99}, "total_tokens": 7}, 2, 2),
    ],
)
async def test_thoughts_are_part_of_what_was_made(llm: LlmServer, counts: Any, made: int, thought: int) -> None:
    """Also where a server leaves them out of its count of the output, and in its total alone."""
    report = event({"choices": [], "usage": {"prompt_tokens": 5, **counts}})
    found = (await call(llm, "openai", Behaviour(raw=[choice("Hi you", "stop"), report]))).done.usage
    assert (found.output_tokens, found.reasoning_tokens or 0, found.estimated) == (made, thought, False)


async def test_no_more_is_cached_than_was_asked(llm: LlmServer) -> None:
    """A part that is greater than its whole is shown as it is priced: cut."""
    raw = [choice("Hi you", "stop"), usage(5, 2, cached_tokens=99)]
    found = (await call(llm, "openai", Behaviour(raw=raw))).done.usage
    assert (found.input_tokens, found.cached_tokens, found.estimated) == (5, 5, False)
