"""Objects and events of Open Responses as its specification of 2026-04-24 (openresponses.org) requires them.

Written from the specification: its required fields, their types and their values, for responses of text. Fields that it
does not name are allowed, as it allows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import jsonschema_rs

VERSION: Final = "2026-04-24"

Json = dict[str, Any]
_TEXT: Final[Json] = {"type": "string"}
_WHOLE: Final[Json] = {"type": "integer"}
_NUMBER: Final[Json] = {"type": "number"}
_FLAG: Final[Json] = {"type": "boolean"}


def _one_of(*words: str) -> Json:
    return {"type": "string", "enum": list(words)}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(optional: Mapping[str, Json] | None = None, /, **required: Json) -> Json:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


_ANNOTATION: Final = _object(type=_one_of("url_citation"), url=_TEXT, start_index=_WHOLE, end_index=_WHOLE, title=_TEXT)
_TOP_LOGPROB: Final = _object(token=_TEXT, logprob=_NUMBER, bytes=_list(_WHOLE))
_LOGPROB: Final = _object(token=_TEXT, logprob=_NUMBER, bytes=_list(_WHOLE), top_logprobs=_list(_TOP_LOGPROB))
_PART: Final = _object(
    {"logprobs": _list(_LOGPROB)}, type=_one_of("output_text"), text=_TEXT, annotations=_list(_ANNOTATION)
)
_MESSAGE: Final = _object(
    {"phase": _one_of("commentary", "final_answer")},
    type=_one_of("message"),
    id=_TEXT,
    status=_one_of("in_progress", "completed", "incomplete"),
    role=_one_of("user", "assistant", "system", "developer"),
    content=_list(_PART),
)
_FORMAT: Final[Json] = {
    "oneOf": [
        _object(type=_one_of("text")),
        _object(
            type=_one_of("json_schema"),
            name=_TEXT,
            description=_or_null(_TEXT),
            schema={"type": "object"},
            strict=_FLAG,
        ),
    ]
}
_USAGE: Final = _object(
    input_tokens=_WHOLE,
    output_tokens=_WHOLE,
    total_tokens=_WHOLE,
    input_tokens_details=_object(cached_tokens=_WHOLE),
    output_tokens_details=_object(reasoning_tokens=_WHOLE),
)
_REASONING: Final = _object(
    effort=_or_null(_one_of("none", "minimal", "low", "medium", "high", "xhigh")),
    summary=_or_null(_one_of("concise", "detailed", "auto")),
)

RESPONSE: Final = _object(
    id=_TEXT,
    object=_one_of("response"),
    created_at=_WHOLE,
    completed_at=_or_null(_WHOLE),
    status=_one_of("queued", "in_progress", "completed", "incomplete", "failed", "cancelled"),
    incomplete_details=_or_null(_object(reason=_TEXT)),
    model=_TEXT,
    previous_response_id=_or_null(_TEXT),
    instructions=_or_null(_TEXT),
    output=_list(_MESSAGE),
    error=_or_null(_object(code=_TEXT, message=_TEXT)),
    tools=_list({"type": "object"}),
    tool_choice=_one_of("none", "auto", "required"),
    truncation=_one_of("auto", "disabled"),
    parallel_tool_calls=_FLAG,
    text=_object({"verbosity": _one_of("low", "medium", "high")}, format=_FORMAT),
    top_p=_NUMBER,
    presence_penalty=_NUMBER,
    frequency_penalty=_NUMBER,
    top_logprobs=_WHOLE,
    temperature=_NUMBER,
    reasoning=_or_null(_REASONING),
    usage=_or_null(_USAGE),
    max_output_tokens=_or_null(_WHOLE),
    max_tool_calls=_or_null(_WHOLE),
    store=_FLAG,
    background=_FLAG,
    service_tier=_TEXT,
    metadata={"type": "object", "additionalProperties": _TEXT},
    safety_identifier=_or_null(_TEXT),
    prompt_cache_key=_or_null(_TEXT),
)
"""The response object."""

_STATES: Final = ("created", "queued", "in_progress", "completed", "failed", "incomplete")
_PLACE: Final = {"item_id": _TEXT, "output_index": _WHOLE, "content_index": _WHOLE}
_LOGPROBS: Final = {"logprobs": _list(_LOGPROB)}


def _event(kind: str, optional: Mapping[str, Json] | None = None, /, **required: Json) -> Json:
    return _object(optional, type=_one_of(kind), sequence_number=_WHOLE, **required)


EVENTS: Final[Mapping[str, Json]] = {
    **{f"response.{state}": _event(f"response.{state}", response=RESPONSE) for state in _STATES},
    **{
        kind: _event(kind, output_index=_WHOLE, item=_or_null(_MESSAGE))
        for kind in ("response.output_item.added", "response.output_item.done")
    },
    **{
        kind: _event(kind, **_PLACE, part=_PART)
        for kind in ("response.content_part.added", "response.content_part.done")
    },
    "response.output_text.delta": _event(
        "response.output_text.delta", {**_LOGPROBS, "obfuscation": _TEXT}, **_PLACE, delta=_TEXT
    ),
    "response.output_text.done": _event("response.output_text.done", _LOGPROBS, **_PLACE, text=_TEXT),
}
"""Events of a stream by their type. `error` is not among them: ours has the fields that OpenAI's SDKs read
(docs/responses.md)."""

_response: Final = jsonschema_rs.Draft202012Validator(RESPONSE)
_events: Final = {kind: jsonschema_rs.Draft202012Validator(schema) for kind, schema in EVENTS.items()}


def faults_of(response: Any) -> list[str]:
    """The places in which a response is not as it must be."""
    return _faults(_response.iter_errors(response))


def faults_of_stream(events: Sequence[Json]) -> list[str]:
    """The same of the events of one stream, and of their order: numbers from 0 on; each part of an item is opened
    before it grows, closed with the text that its deltas add up to, and closed before the end."""
    found = [f"{event['type']} is no event" for event in events if event["type"] not in EVENTS]
    known = [event for event in events if event["type"] in EVENTS]
    found += [fault for event in known for fault in _faults(_events[event["type"]].iter_errors(event))]
    if [event["sequence_number"] for event in events] != list(range(len(events))):
        found.append("sequence_number")
    return found or _faults_of_order(known)


def _faults(errors: Iterable[jsonschema_rs.ValidationError]) -> list[str]:
    return ["/".join(map(str, error.instance_path)) + f": {error.message}" for error in errors]


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
