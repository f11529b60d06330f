"""The depth of a body, found before anything decodes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.http import decoding
from services.gateway.http.body_errors import deep_field
from services.gateway.http.decoding import Fault, scan, too_deep

JSON = st.recursive(
    st.none() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=30,
)


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@given(JSON, st.booleans(), st.integers(1, 64))
def test_the_depth_is_that_of_the_json(value: Any, ascii_only: bool, piece: int) -> None:
    """Brackets are counted as a decoder counts them, with any strings and keys, and any end of a piece."""
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    before, decoding.PIECE = decoding.PIECE, piece  # type: ignore[misc]  # a small one, to end everywhere
    try:
        for levels in (1, 2, 3, 4):
            assert too_deep(body, levels) == (_depth(value) > levels)
    finally:
        decoding.PIECE = before  # type: ignore[misc]


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_field_that_is_too_deep_is_named(fields: dict[str, Any]) -> None:
    """The first field, in the order of the body, that holds more levels than are allowed."""
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
    named = next((name for name, value in fields.items() if _depth(value) > 2), "")
    assert deep_field(body, 3) == json.dumps(named, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass").decode(
        "utf-8", "replace"
    )


@pytest.mark.parametrize("body", [b'"' * 99_999, b"]" * 99_999 + b"[" * 9, b'["\\' * 30_000, b'[\\"[[[[[['])
def test_what_is_no_json_is_left_to_the_decoder(body: bytes) -> None:
    """Nonsense makes no error here, and is read once."""
    assert len(list(scan(body, 1_000_000))) <= 2


@pytest.mark.parametrize(("items", "fault"), [(1, None), (500, None), (501, Fault.MANY), (100_000, Fault.MANY)])
def test_a_list_is_counted_before_it_is_made(items: int, fault: Fault | None) -> None:
    """Items count, not their contents."""
    body = json.dumps({"jobs": [{"a": [1, 2, 3], "b": ",,,"}] * items}).encode()
    assert next((found for found in scan(body, 100, 500) if found), None) is fault
