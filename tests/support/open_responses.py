"""Answers of `/v1/responses` as two schemas have them: that of Open Responses, release 2026-04-24
(`schemas/open_responses.json`), and the models of the `openai` package that is installed, both without any leniency.

A field that Open Responses does not name is a fault, unless it is one of ours that docs/responses.md names.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

import jsonschema_rs
import pydantic
from openai.types.responses import Response, ResponseStreamEvent

from tests.support.schemas.refresh import EVENT, FILE, RESPONSE

Json = dict[str, Any]

SCHEMAS: Final[Mapping[str, Json]] = json.loads(FILE.read_text())
REQUIRED: Final = frozenset(SCHEMAS[RESPONSE]["required"])
"""Fields that every response object has."""

OURS: Final = {RESPONSE: {"user", "presswork"}, "InputTokensDetails": {"cache_write_tokens"}}
"""Fields beside those of Open Responses: OpenAI's, and one with what only jobs have."""

ERROR: Final = "error"
"""The event that OpenAI's package has in a form of its own, in which ours is (docs/responses.md)."""


def _closed() -> dict[str, Json]:
    """The schemas, with no other fields than those that they name."""
    closed: dict[str, Json] = copy.deepcopy(dict(SCHEMAS))
    for name, schema in closed.items():
        if "properties" in schema:
            schema["additionalProperties"] = False
            schema["properties"] |= {field: {} for field in OURS.get(name, ())}
    return closed


_COMPONENTS: Final = {"schemas": _closed()}


def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    whole = {"$ref": f"#/components/schemas/{name}", "components": _COMPONENTS}
    return jsonschema_rs.Draft202012Validator(whole)


_response: Final = _validator(RESPONSE)
_events: Final = {
    schema["properties"]["type"]["enum"][0]: _validator(name)
    for name, schema in SCHEMAS.items()
    if name.endswith(EVENT)
}
_models: Final[dict[str, type[pydantic.BaseModel]]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(ResponseStreamEvent)[0])
}

EVENTS: Final = frozenset({
    *(f"response.{state}" for state in ("created", "queued", "in_progress", "completed", "failed", "incomplete")),
    *(f"response.{part}.{change}" for part in ("output_item", "content_part") for change in ("added", "done")),
    "response.output_text.delta",
    "response.output_text.done",
})  # fmt: skip
"""Types of events that a stream of text has, but for `error`."""


def faults_of(response: Any) -> list[str]:
    """The places in which a response is not as it must be."""
    return [*_faults(_response.iter_errors(response)), *_faults_of_model(Response, response)]


def faults_of_event(event: Json) -> list[str]:
    """The same of one event."""
    kind = event["type"]
    if kind not in EVENTS | {ERROR}:
        return [f"{kind} is no event of a text"]
    found = [] if kind == ERROR else _faults(_events[kind].iter_errors(event))
    return [*found, *_faults_of_model(_models[kind], event)]


def faults_of_stream(events: Sequence[Json]) -> list[str]:
    """The same of the events of one stream, and of their order: numbers from 0 on; each part of an item is opened
    before it grows, closed with the text that its deltas add up to, and closed before the end."""
    found = [fault for event in events for fault in faults_of_event(event)]
    if [event["sequence_number"] for event in events] != list(range(len(events))):
        found.append("sequence_number")
    return found or _faults_of_order(events)


def _faults(errors: Iterable[jsonschema_rs.ValidationError]) -> list[str]:
    return ["/".join(map(str, error.instance_path)) + f": {error.message}" for error in errors]


def _faults_of_model(model: type[pydantic.BaseModel], found: Any) -> list[str]:
    try:
        model.model_validate(found, strict=True)
    except pydantic.ValidationError as error:
        return [f"openai {'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return []


def _faults_of_order(events: Sequence[Json]) -> list[str]:
    open_items: dict[int, str] = {}
    texts: dict[tuple[str, int], str] = {}
    found = []
    for event in events:
        part = (event.get("item_id", ""), event.get("content_index", 0))
        match event["type"]:
            case "response.output_item.added":
                open_items[event["output_index"]] = event["item"]["id"]
            case "response.content_part.added":
                texts[part] = event["part"]["text"]
            case "response.output_text.delta":
                texts[part] = texts.get(part, "a part that was not added") + event["delta"]
            case "response.output_text.done" if event["text"] != texts.get(part):
                found.append(f"{part}: its deltas add up to another text")
            case "response.content_part.done" if event["part"]["text"] != texts.pop(part, None):
                found.append(f"{part}: closed with another text")
            case "response.output_item.done" if open_items.pop(event["output_index"], None) != event["item"]["id"]:
                found.append(f"{event['output_index']}: closed as another item")
    return found + [f"{left} is left open" for left in (*open_items, *texts)]
