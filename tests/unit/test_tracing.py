"""The names of attributes, and the contexts of traces."""

from __future__ import annotations

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, messaging_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas

from shared.tracing import conventions
from shared.tracing.traceparents import of_lease, valid

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_names_are_those_of_the_conventions() -> None:
    """Each but our own is in the registry under the same name, and the pinned version has a schema."""
    known = {**vars(gen_ai_attributes), **vars(messaging_attributes), **vars(error_attributes)}
    names = {
        name: value for name, value in vars(conventions).items() if str(value).startswith(("gen_ai.", "messaging."))
    }
    assert len(names) > 15
    assert {name: known.get(name) for name in names} == names
    assert conventions.ERROR_TYPE == error_attributes.ERROR_TYPE
    assert conventions.SCHEMA_URL in {schema.value for schema in Schemas}
    ours = [value for value in vars(conventions).values() if str(value).startswith("presswork.")]
    assert len(ours) == len(set(ours)) > 5


def test_providers_have_the_words_of_the_conventions() -> None:
    """A name that the conventions know otherwise is theirs, any other stays."""
    known = {value.value for value in gen_ai_attributes.GenAiProviderNameValues}
    assert {conventions.provider_name(name) for name in ("openai", "anthropic", "mistral", "xai", "groq")} <= known
    assert conventions.provider_name("house") == "house"


@pytest.mark.parametrize(("reason", "shown"), [("stop", "stop"), ("tool_calls", "tool_calls"), ("a text", "other")])
def test_a_finish_reason_is_a_word(reason: str, shown: str) -> None:
    """A server may answer any text for one."""
    assert conventions.finish_reason(reason) == shown


def test_a_lease_has_one_context() -> None:
    """In the trace of its parent with the parent's flags; without one in a trace of the job; and valid."""
    first, again = (of_lease("job", "q1-0", PARENT) for _ in range(2))
    assert first == again == valid(first)
    assert (first[:36], first[52:]) == (PARENT[:36], PARENT[52:])
    assert of_lease("job", "q1-0", PARENT[:-1] + "0")[-2:] == "00"
    assert len({first, of_lease("job", "q2-0", PARENT), of_lease("other", "q1-0", PARENT), PARENT}) == 4

    alone = [of_lease("job", token, parent) for token, parent in (("q1-0", None), ("q2-0", "malformed"))]
    assert alone[0][:36] == alone[1][:36]
    assert [valid(text) for text in alone] == alone
