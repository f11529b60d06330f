"""Compliance with Open Responses: its cases for text, by plain HTTP against the running services."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import StackMaker
from tests.support.open_responses import EVENTS, REQUIRED, faults_of, faults_of_stream
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)

CASES: dict[str, list[dict[str, str]]] = {
    "basic": [{"type": "message", "role": "user", "content": "Say hello in exactly three words."}],
    "system prompt": [
        {"type": "message", "role": "system", "content": "You are a pirate. Speak like one."},
        {"type": "message", "role": "user", "content": "Say hello."},
    ],
    "multi-turn": [
        {"type": "message", "role": "user", "content": "My name is Ada."},
        {"type": "message", "role": "assistant", "content": "Hello Ada! What can I do for you?"},
        {"type": "message", "role": "user", "content": "What is my name?"},
    ],
}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORMAT = {"format": {"type": "json_schema", "name": "greeting", "schema": SCHEMA}}


async def _create(running: Stack, **asked: Any) -> dict[str, Any]:
    answer = await running.client.post(f"{running.gateway.url}/v1/responses", json={"model": "demo:demo", **asked})
    response: dict[str, Any] = answer.raise_for_status().json()
    assert faults_of(response) == []
    return response


async def _stream(running: Stack, **asked: Any) -> list[dict[str, Any]]:
    """All events of a new response, checked."""
    answer = await running.client.post(
        f"{running.gateway.url}/v1/responses", json={"model": "demo:demo", "stream": True, **asked}
    )
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n") if not block.startswith((":", "retry"))]
    assert blocks.pop() == ["data: [DONE]"]
    events = []
    for kind, data in blocks:
        events.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {events[-1]['type']}"
    assert faults_of_stream(events) == []
    return events


@pytest.mark.parametrize("case", CASES)
async def test_the_cases_of_text(stack: StackMaker, case: str) -> None:
    """Each is completed with a message, alone and streamed, and retrieved as it was answered."""
    async with stack(DEMO_TOKENS_PER_SECOND="200") as running:
        response = await _create(running, input=CASES[case])
        assert (response["status"], [item["type"] for item in response["output"]]) == ("completed", ["message"])
        kept = await running.client.get(f"{running.gateway.url}/v1/responses/{response['id']}")
        assert kept.json() == response

        events = await _stream(running, input=CASES[case])
    assert events[-1]["type"] == "response.completed"
    assert {event["type"] for event in events} == EVENTS - {"response.failed", "response.incomplete"}
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == text != ""


async def test_other_ends_and_forms_are_valid_too(stack: StackMaker) -> None:
    """Cut at its limit, made to a schema, continued, cancelled, and failed."""
    hello = CASES["basic"]
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running:
        cut = await _stream(running, input=hello, max_output_tokens=3)
        first = await _create(running, input=hello, text=FORMAT, instructions="Sound warm.", metadata={"a": "b"})
        second = await _create(running, input="And now?", previous_response_id=first["id"])
    async with stack(DEMO_TOKENS_PER_SECOND="1") as running:
        waiting = await _create(running, input=hello, background=True)
        ended = await running.client.post(f"{running.gateway.url}/v1/responses/{waiting['id']}/cancel")
    async with stack(DEMO_TOKENS_PER_SECOND="0", DEMO_MISMATCHES="2") as running:
        failed = await _create(running, input=hello, text=FORMAT)

    assert (cut[-1]["type"], cut[-1]["response"]["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "max_output_tokens"},
    )
    assert first["text"]["format"]["schema"] == SCHEMA
    assert json.loads(first["output"][0]["content"][0]["text"]).keys() == {"name"}
    assert second["previous_response_id"] == first["id"]
    assert (faults_of(ended.json()), ended.json()["status"]) == ([], "cancelled")
    assert (failed["status"], failed["error"]["message"].partition(":")[0]) == ("failed", "SchemaMismatch")


def test_the_check_itself_can_fail() -> None:
    """A field less or more, another type, a hole in the numbers, a part that is not closed, another event."""
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    event = {"type": "response.output_text.delta", **place, "delta": "x", "logprobs": [], "sequence_number": 0}
    missing = "\n".join(faults_of({}))
    assert [field for field in REQUIRED if f': "{field}" is a required property' not in missing] == []
    assert faults_of_stream([{**event, "sequence_number": 1}]) == ["sequence_number"]
    assert faults_of_stream([event]) == ["('m', 0) is left open"]
    assert "delta" in faults_of_stream([{**event, "delta": 1}])[0]
    assert "more" in faults_of_stream([{**event, "more": 1}])[0]
    assert faults_of_stream([{**event, "type": "response.tool"}]) == ["response.tool is no event of a text"]
