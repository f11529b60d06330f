"""Bodies that were made to hurt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.gateway import body

AT = " - at `$ ``"
DEPTHS = (17, 100, 900, 976, 1_000, 1_500, 20_000, 60_000)


def _json(**changes: Any) -> bytes:
    return json.dumps(body(**changes)).encode()


def _nested(depth: int, opening: str, closing: str) -> str:
    return opening * depth + "1" + closing * depth


def _with(field: str, raw: str) -> bytes:
    return json.dumps(body())[:-1].encode() + f',"{field}":{raw}}}'.encode()


def nested_body(field: str, depth: int) -> bytes:
    """A body whose field is so many objects deep."""
    return _with(field, _nested(depth, '{"a":', "}"))


def _schemas() -> Iterator[bytes]:
    """Schemas that are dear to compile, or to read."""
    laughs: dict[str, Any] = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(100)}
    yield _json(responseSchema={"$defs": laughs | {"d100": {}}, "$ref": "#/$defs/d0"})
    yield _json(responseSchema={"$ref": "#"})
    yield _json(responseSchema={"$ref": "http://169.254.169.254/latest/meta-data"})
    yield _json(responseSchema={"$schema": "http://127.0.0.1:6379/"})
    yield _json(responseSchema={"$ref": "#" + "/a" * 60_000})
    yield _json(responseSchema={"anyOf": [{"pattern": f"(\\w{{1,{i}}}){{1,50}}"} for i in range(1, 500)]})
    yield _json(responseSchema={"pattern": "(a+)+$" * 20})
    yield _json(responseSchema={"enum": list(range(40_000))})
    yield _json(responseSchema={"properties": {f"p{i}": {"type": "string"} for i in range(8_000)}})


def hostile_bodies() -> Iterator[bytes]:
    """Bodies of a submit, some above its limit."""
    yield _json(priority=AT * 13_000)
    yield _json(priority="x`" * 65_000)
    yield _json(**{f"{AT}{i}": 1 for i in range(15_000)})
    yield _json(parameters={f"{AT}{i}": 1 for i in range(15_000)})
    yield _json(parameters={f"{i}{AT * 300}": None for i in range(60)})
    yield _json(metadata={f"{i}\0": "\0" for i in range(12_000)})
    yield _json(prompt="\0" * 40_000)
    yield _json(prompt="\ud800" * 40_000)
    yield _json(providers=["x"] * 50_000)
    yield _json(userId="a" * 250_000)
    for depth in DEPTHS:
        yield nested_body("metadata", depth)
        yield nested_body("parameters", depth)
        yield _with("metadata", f'{{"a":{_nested(depth, "[", "]")}}}')
        yield _with("unknown", _nested(depth, "[", "]"))
    for number in ("9" * 250_000, "1e999999", "0." + "9" * 250_000, "-" * 9, "1" + "0" * 400, "NaN"):
        yield _with("temperature", number)
        yield _with("metadata", f'{{"a":{number}}}')
    yield from _schemas()
    for number in ("1E308", "5e-324", "1.5e300"):
        yield _with("metadata", f'{{"a":[{",".join([number] * 40_000)[:250_000].rpartition(",")[0]}]}}')
    yield b"[" * 250_000
    yield b'{"a":' * 50_000
    yield b'"' * 250_000
    yield b"\\" * 250_000
    yield b"{}" * 100_000
    yield b"\xef\xbb\xbf" + _json(prompt="x")[:-1]
    yield _json(prompt="x").decode().encode("utf-16")
    yield b"\xff" * 250_000


def hostile_batches() -> Iterator[bytes]:
    """Bodies of a batch."""
    bad = json.dumps(body(parameters={f"{AT}{i}": None for i in range(60)}))
    yield f'{{"jobs":[{",".join([bad] * 500)}]}}'.encode()
    for depth in DEPTHS:
        deep = nested_body("metadata", depth).decode()
        yield f'{{"jobs":[{json.dumps(body())},{deep}]}}'.encode()
    yield b'{"jobs":[' + b"[]," * 2_700_000 + b"1]}"
    yield b'{"jobs":[' + (b"[" * 19 + b"]" * 19 + b",") * 200_000 + b"1]}"
    yield b'{"jobs":[' + b'"",' * 2_700_000 + b"1]}"
    yield b'{"jobs":[{"prompt":"' + b"x" * 8_000_000 + b'"}]}'
    yield b" " * (8 << 20)
    yield b"[" * (8 << 20)
    yield b'"' * (8 << 20)
