"""Problem documents: which error becomes which, and how a bad field is named."""

from __future__ import annotations

import datetime
import enum
import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from litestar.exceptions import MethodNotAllowedException, NotFoundException, TooManyRequestsException

from shared.errors import IdempotencyConflict, JobNotFound, LeaseLost, Overloaded, StoreFull, StoreUnavailable
from shared.http.error_responses import from_error, unavailable
from shared.http.field_errors import field_error
from shared.http.problems import INVALID, MAX_ERRORS, FieldError, Problem, invalid


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (JobNotFound("x"), 404, "not-found"),
        (IdempotencyConflict("x"), 409, "idempotency-conflict"),
        (StoreUnavailable("redis://secret@host"), 503, "store-unavailable"),
        (StoreFull("x"), 503, "store-full"),
        (Overloaded("x"), 503, "overloaded"),
        (NotFoundException(), 404, "not-found"),
        (MethodNotAllowedException(headers={"Allow": "GET"}), 405, "method-not-allowed"),
        (TooManyRequestsException("secret detail"), 429, "http-error"),
        (LeaseLost("secret"), 500, "internal-error"),
        (ValueError("secret"), 500, "internal-error"),
    ],
)
def test_every_error_has_its_problem_and_shows_nothing_else(error: Exception, status: int, slug: str) -> None:
    """Known errors have a type of their own, unknown ones are 500; no error's own words reach the document."""
    problem = from_error(error)
    document = json.loads(problem.body())
    assert (document["status"], document["type"]) == (status, f"urn:presswork:problem:{slug}")
    assert "secret" not in problem.body().decode()


def test_headers_that_matter_survive() -> None:
    """405 keeps Allow, 503 says when to come back."""
    assert from_error(MethodNotAllowedException(headers={"Allow": "GET"})).headers == {"Allow": "GET"}
    assert unavailable().headers == {"Retry-After": "1"}


def test_a_document_names_what_a_client_needs() -> None:
    """Bad fields, detail and further members are in the document."""
    assert json.loads(invalid("prompt", "required").body()) == {
        "type": "urn:presswork:problem:invalid-request",
        "title": "The request is not valid",
        "status": 400,
        "detail": "prompt: required",
        "errors": [{"field": "prompt", "message": "required"}],
    }
    assert json.loads(unavailable("ai-job-1").body())["jobId"] == "ai-job-1"


def test_who_shows_the_detail_alone_learns_of_the_first_bad_field() -> None:
    """Without words of its own a document's detail is its first bad field, and how many there are besides."""
    faults = [FieldError("prompt", "required"), FieldError("userId", "required"), FieldError("x", "unknown field")]
    assert Problem(INVALID, errors=faults).details.detail == "prompt: required (and 2 more)"
    assert Problem(INVALID, errors=faults[:1]).details.detail == "prompt: required"
    assert b"detail" not in Problem(INVALID).body()


def test_a_document_names_a_bounded_number_of_fields() -> None:
    """However many fields are bad, the document stays small."""
    problem = Problem(INVALID, errors=[FieldError(str(i), "bad") for i in range(10_000)])
    assert len(json.loads(problem.body())["errors"]) == MAX_ERRORS


class _Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=3)] = ""


class _Outer(msgspec.Struct, forbid_unknown_fields=True):
    items: list[_Inner]
    limits: dict[Annotated[str, msgspec.Meta(max_length=2)], int] = {}


@pytest.mark.parametrize(
    ("text", "prefix", "field"),
    [
        (b'{"items":[{},{"name":"long"}]}', "", "items[1].name"),
        (b'{"items":[{},{"name":"long"}]}', "jobs[3]", "jobs[3].items[1].name"),
        (b'{"items":[{"other":1}]}', "", "items[0].other"),
        (b"{}", "", "items"),
        (b"{}", "jobs[3]", "jobs[3].items"),
        (b'{"items":[],"limits":{"abc":1}}', "", "limits"),
        (b"[]", "", "body"),
        (b"[]", "jobs[3]", "jobs[3]"),
        (b"{", "", "body"),
        (b'{"items":[{"name":"\xff"}]}', "", "body"),
        (b'{"x' + b"y" * 9000 + b'":1}', "", "x" + "y" * 199),
    ],
)
def test_the_bad_field_is_named_by_its_path(text: bytes, prefix: str, field: str) -> None:
    """msgspec's complaint becomes the path of the field, below a prefix, of bounded length."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any of its errors
        msgspec.json.decode(text, type=_Outer)
    named = field_error(caught.value, prefix)
    assert named.field == field
    assert 0 < len(named.message) <= 200


class _Queue(enum.Enum):
    HIGH = "high"
    LOW = "low"


class _Waiting(msgspec.Struct):
    queue: _Queue = _Queue.LOW
    rest: Annotated[list[list[Literal["c", "d"]]], msgspec.Meta(max_length=3)] | None = None


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b"5", str, "expected `string`, got `integer`"),
        (b'"5"', int | None, "expected `integer | null`, got `string`"),
        (b"{}", str | float | bool, "expected `boolean | number | string`, got `object`"),
        (b"true", list[str], "expected `array`, got `boolean`"),
        (b'"a b"', Annotated[str, msgspec.Meta(pattern=r"^[a-z.]+\Z")], "expected `string` matching regex '^[a-z.]+$'"),
        (b"3.5", Annotated[float, msgspec.Meta(le=2)], "expected `number` <= 2.0"),
        (b'"str"', _Queue, "must be one of high, low"),
        (b'"urgent"', _Queue | None, "must be one of high, low"),
        (b'"x"', Literal["a", "b"] | None, "must be one of a, b"),
        (b'"x"', Annotated[Literal["a"], msgspec.Meta(description="A word")], "must be a"),
        (b'[{"queue":"low"},{"queue":"x"}]', str | list[_Waiting], "must be one of high, low"),
        (b'{"a.b":{"queue":"x"}}', dict[str, _Waiting], "must be one of high, low"),
        (b'{"rest":[["z"]]}', _Waiting, "must be one of c, d"),
        (b'"31.1.2026"', datetime.date, "must be a date as in 2026-01-31"),
        (b"{'a':1}", dict[str, int], "JSON is malformed: object keys must be strings (byte 1)"),
    ],
)
def test_a_bad_value_is_explained_in_the_words_of_json(text: bytes, kind: Any, message: str) -> None:
    """The message speaks of JSON's types, JavaScript's patterns and the words that are allowed."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any of its errors
        msgspec.json.decode(text, type=kind)
    assert field_error(caught.value, "", kind).message == message
