"""Usage and cost as the two adapters report them, for any report of the server."""

from __future__ import annotations

from typing import Any

import pytest

from shared.job import Usage
from tests.support.adapters import BOTH, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.llm_bodies import choice, delta, event, stop, usage
from tests.support.llm_dialects import CACHED_TOKENS, INPUT_TOKENS, text


def url(llm: LlmServer, name: str) -> str:
    """The base URL of the stand-in for this vendor."""
    return {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]


def plain(usage: Usage) -> Usage:
    """Usage without the counts that only a price needs."""
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        estimated=usage.estimated,
    )


@pytest.mark.parametrize("name", BOTH)
async def test_usage_counts_cached_tokens_in_and_apart(llm: LlmServer, name: str) -> None:
    """`input_tokens` includes the cached ones at both vendors, although Anthropic reports them apart."""
    await llm.behave(Behaviour(tokens=7))
    async with open_provider(name, url(llm, name)) as provider:
        seen = await collect(provider, request(name))
    assert seen.text == text(7)
    assert plain(seen.done.usage) == Usage(input_tokens=INPUT_TOKENS, output_tokens=7, cached_tokens=CACHED_TOKENS)


async def test_a_server_without_usage(llm: LlmServer) -> None:
    """Usage that is not reported is estimated, and marked so."""
    await llm.behave(Behaviour(tokens=40, usage=False))
    async with open_provider("openai", llm.openai_url) as provider:
        usage = (await collect(provider, request("openai"))).done.usage
    assert usage.estimated
    assert usage.output_tokens == pytest.approx(len(text(40)) / 4, abs=1)
    assert usage.input_tokens > 0


async def test_anthropic_usage_comes_first(llm: LlmServer) -> None:
    """The usage in the start of a message is passed on at once: a stream that breaks is priced with it."""
    await llm.behave(Behaviour(tokens=9, cut="drop", cut_after=2))
    async with open_provider("anthropic", llm.anthropic_url) as provider:
        seen = await collect(provider, request("anthropic"))
    assert seen.failed.error.type == "StreamBroken"
    assert [plain(usage) for usage in seen.reported] == [
        Usage(input_tokens=INPUT_TOKENS, output_tokens=1, cached_tokens=CACHED_TOKENS)
    ]


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([usage(10, 2)], Usage(input_tokens=10, output_tokens=2)),
        ([usage(10, 1), usage(10, 2, cached_tokens=4)], Usage(input_tokens=10, output_tokens=2, cached_tokens=4)),
        ([usage(10, 2), usage(None, "x")], Usage(input_tokens=10, output_tokens=2)),
        ([usage(0, 0)], Usage(input_tokens=8, output_tokens=2, estimated=True)),
        ([usage(None, None)], Usage(input_tokens=8, output_tokens=2, estimated=True)),
        ([usage(10, 0)], Usage(input_tokens=10, output_tokens=2, estimated=True)),
        ([usage(-1, 1 << 62)], Usage(input_tokens=8, output_tokens=2, estimated=True)),
        ([], Usage(input_tokens=8, output_tokens=2, estimated=True)),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_usage_as_servers_report_it(llm: LlmServer, reports: list[str], expected: Usage, late: bool) -> None:
    """Once, with every piece, before or after the finish reason, as nothing or as nonsense: tokens that were used are
    never counted as none, and an estimate is marked so."""
    end = [choice("Hi you", "stop")]
    await llm.behave(Behaviour(raw=[*end, *reports] if late else [*reports, *end]))
    async with open_provider("openai", llm.openai_url) as provider:
        assert plain((await collect(provider, request("openai"))).done.usage) == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ({"input_tokens": 9, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 5}, (9, 5, False)),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 9, "output_tokens": 5}, (9, 5, False)),
        ({"input_tokens": 9, "output_tokens": 0}, {"output_tokens": 0}, (9, 2, True)),
        ({}, {}, (8, 2, True)),
    ],
)
async def test_usage_as_compatible_servers_of_messages_report_it(
    llm: LlmServer, start: dict[str, int], end: dict[str, int], expected: tuple[int, int, bool]
) -> None:
    """At the start or at the end: a later zero changes nothing, and missing counts are estimated."""
    begin = event({"type": "message_start", "message": {"usage": start}})
    last = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end})
    await llm.behave(Behaviour(raw=[begin, delta("Hi you"), last, event({"type": "message_stop"})]))
    async with open_provider("anthropic", llm.anthropic_url) as provider:
        found = (await collect(provider, request("anthropic"))).done.usage
    assert (found.input_tokens, found.output_tokens, found.estimated) == expected


@pytest.mark.parametrize(
    ("name", "model", "raw", "usd"),
    [
        # USD per million: 1 in, 5 out, 0.10 read, 1.25 and 2 written for 5 minutes and for an hour.
        ("anthropic", "claude-haiku-4-5", {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 1000}, 1370),
        (
            "anthropic", "claude-haiku-4-5",
            {"cache_creation_input_tokens": 1000, "cache_creation": {"ephemeral_1h_input_tokens": 400}}, 1660,
        ),
        # USD per million: 0.10 in, 0.50 out, 0.125 written.
        ("openai", "gpt-6-luna", {"cache_write_tokens": 1000}, 136),
    ],
)  # fmt: skip
async def test_what_the_prompt_cache_was_written_for_has_its_own_price(
    llm: LlmServer, name: str, model: str, raw: dict[str, Any], usd: int
) -> None:
    """100 tokens in beside those of the cache, and 2 out: the vendor charges more for a token that it keeps."""
    if name == "anthropic":
        start = event({"type": "message_start", "message": {"usage": {"input_tokens": 100, "output_tokens": 1, **raw}}})
        body = [start, delta("Hi you"), stop("end_turn", 2)]
    else:
        body = [choice("Hi you", "stop"), usage(1100, 2, **raw)]
    await llm.behave(Behaviour(raw=body))
    async with open_provider(name, url(llm, name), priced=True) as provider:
        found = (await collect(provider, request(name, model=model))).done.usage
        assert found.input_tokens == (1200 if "cache_read_input_tokens" in raw else 1100)
        assert provider.cost(model, found) == usd * 1000


async def test_a_usage_before_a_break_is_passed_on(llm: LlmServer) -> None:
    """A server that counts as it goes has its stream settled with its last count, also when it breaks."""
    await llm.behave(Behaviour(raw=[choice("Hi"), usage(70, 1)], cut="drop"))
    async with open_provider("openai", llm.openai_url) as provider:
        seen = await collect(provider, request("openai"))
    assert seen.failed.error.type == "StreamBroken"
    assert [plain(usage) for usage in seen.reported] == [Usage(input_tokens=70, output_tokens=1)]
