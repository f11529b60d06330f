"""The cost of decoding a bad body: measured as CPU time, which no busy neighbour lengthens."""

from __future__ import annotations

import time

import pytest

from services.gateway.http.decoding import decode
from services.gateway.submit.schemas import JobRequest, faults
from services.gateway.submit.single import BODY_MAX
from shared.http.problems import MAX_ERRORS, Problem
from tests.hostile.bodies import AT, DEPTHS, hostile_bodies, nested_body

MODELS = {"demo": frozenset({"demo"})}


def _problem(body: bytes) -> Problem | None:
    try:
        faults(decode(body, JobRequest), body, MODELS)
    except Problem as problem:
        return problem
    return None


@pytest.mark.parametrize("body", list(hostile_bodies()), ids=lambda body: repr(body[:30]))
def test_a_bad_body_costs_little(body: bytes) -> None:
    """Any body within the limit is judged in a tenth of a second, in a few kilobytes."""
    body = body[:BODY_MAX]
    began = time.thread_time()
    problem = _problem(body)
    document = problem.body() if problem is not None else b""
    assert time.thread_time() - began < 0.1
    assert len(document) < 16_384
    assert problem is None or len(problem.details.errors) <= MAX_ERRORS


@pytest.mark.parametrize("depth", [1, 15, 16, *DEPTHS])
@pytest.mark.parametrize("field", ["metadata", "parameters"])
def test_metadata_and_parameters_are_at_most_sixteen_deep(field: str, depth: int) -> None:
    """The same on every Python, and the field is named, however deep it goes."""
    problem = _problem(nested_body(field, depth)[:BODY_MAX])
    if depth <= 16 and (field == "metadata" or depth == 1):
        assert problem is None
    else:
        assert problem is not None
        (fault,) = problem.details.errors
        assert fault.field.startswith(field)
        assert depth <= 16 or fault.message == "nested more than 16 deep"


def test_an_error_that_quotes_its_own_end_names_its_field() -> None:
    """Text that looks like the end of an error is neither searched nor believed."""
    for text in (AT * 9, f"x{AT[:-1]}", "`" * 500):
        problem = _problem(nested_body("metadata", 1)[:-1] + b',"priority":"' + text.encode() + b'"}')
        assert problem is not None
        (fault,) = problem.details.errors
        assert (fault.field, fault.message) == ("priority", "must be one of high, normal, low")


@pytest.mark.parametrize("field", ["metadata", "parameters"])
def test_numbers_that_take_long_to_read_are_few(field: str) -> None:
    """A record with them is read again and again; the same in a text is no number."""
    far = b", ".join([b"-5E-324"] * 100)
    problem = _problem(nested_body(field, 1)[:-3] + b"[%s]}}" % far)
    assert problem is not None
    assert [fault.field for fault in problem.details.errors] == [field]
    assert "exponent" in problem.details.errors[0].message
    assert _problem(nested_body(field, 1)[:-3] + b'"\\"%s"}}' % far) is None
