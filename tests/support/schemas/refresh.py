"""Makes `open_responses.json` beside this file again, from the document that a package carries unchanged:

    pip download --no-deps --dest SCRATCH openresponses-py==0.1.2
    python -m tests.support.schemas.refresh SCRATCH/openresponses_py-0.1.2-py3-none-any.whl

What is left is the response object, the events of a stream, and every schema that they refer to, without descriptions,
titles, examples and defaults. One is mended: the document lets a `json_schema` format show no schema but null.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

Json = Any

FILE: Final = Path(__file__).with_name("open_responses.json")
DOCUMENT: Final = "openresponses/openapi/2026-04-24.json"
SHA256: Final = "d598753c3a86fd8a2434828fe39dcc8786a7a694bbe46080a0d24c9fa40e72df"

RESPONSE: Final = "ResponseResource"
EVENT: Final = "StreamingEvent"
"""The schema of a response, and how the name of an event's one ends."""

_LEFT_OUT: Final = frozenset({"description", "title", "example", "default", "discriminator"})


def cut(document: Json) -> dict[str, Json]:
    """The schemas that answers and events need, by their names."""
    whole = document["components"]["schemas"]
    found: dict[str, Json] = {}
    waiting = [RESPONSE, *(name for name in whole if name.endswith(EVENT))]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _bare(whole[name])
            waiting += references(found[name])

    found["JsonSchemaResponseFormat"]["properties"]["schema"] = {"type": ["object", "null"]}
    return dict(sorted(found.items()))


def references(schema: Json) -> Iterator[str]:
    """Names of the schemas that a schema refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from references(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from references(value)


def _bare(schema: Json) -> Json:
    if isinstance(schema, list):
        return [bare for item in schema if (bare := _bare(item)) != {}]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _bare(held) for field, held in value.items()} if name == "properties" else _bare(value)
        for name, value in schema.items()
        if name not in _LEFT_OUT and not name.startswith("x-")
    }


def main(wheel: Path) -> None:
    """Write the file."""
    document = zipfile.ZipFile(wheel).read(DOCUMENT)
    assert hashlib.sha256(document).hexdigest() == SHA256, "the document is another one"
    FILE.write_text(json.dumps(cut(json.loads(document)), separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
