"""Bodies as other programs write them: a mark before the text, another encoding, half an emoji."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from services.gateway.http.body_errors import SIZE_MAX, half_characters
from shared.store.embedded.server import EmbeddedServer
from tests.support.gateway import BATCH, SUBMIT, body, fields, problem, running_gateway

JSON = {"content-type": "application/json"}
HALVES = [r"\ud83d", r"see \uD83D", r"\ude00", r"\ud83d\ud83d\ude00", r"\\\ud83d", r"\ud83d\\\ude00"]
WHOLE = r"\ud83d\ude00 \\ud83d \\\\ \u0041\n"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: EmbeddedServer) -> AsyncIterator[httpx.AsyncClient]:
    """One gateway for all bodies."""
    async with running_gateway(server.url) as opened:
        yield opened


async def test_a_byte_order_mark_is_no_part_of_the_text(client: httpx.AsyncClient) -> None:
    """The mark that .NET and some editors write before UTF-8 is accepted, for one job and for many."""
    job = json.dumps(body())
    for path, text in ((SUBMIT, job), (BATCH, f'{{"jobs": [{job}]}}')):
        answer = await client.post(path, content=b"\xef\xbb\xbf" + text.encode(), headers=JSON)
        assert answer.status_code == 202, answer.text
    empty = await client.post(SUBMIT, content=b"\xef\xbb\xbf", headers=JSON)
    assert "is empty" in problem(empty, 400, "invalid-request")["detail"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("path", [SUBMIT, BATCH])
async def test_another_encoding_is_named(client: httpx.AsyncClient, path: str, encoding: str) -> None:
    """With a mark or without, the answer says which encoding came and which is wanted."""
    answer = await client.post(path, content=json.dumps(body()).encode(encoding), headers=JSON)
    detail = problem(answer, 400, "invalid-request")["detail"]
    assert detail == f"body: is {encoding[:6].upper()}: JSON is sent as UTF-8"


@pytest.mark.parametrize("half", HALVES)
async def test_half_an_emoji_names_its_field(client: httpx.AsyncClient, half: str) -> None:
    """Half a character is found in a text, a key, a list, at the end of a string or of the body."""

    async def named(changes: str, path: str = SUBMIT, wrap: str = "%s") -> set[str]:
        job = json.dumps(body()).removesuffix("}") + f", {changes}}}"
        answer = await client.post(path, content=(wrap % job).encode(), headers=JSON)
        return fields(problem(answer, 400, "invalid-request"))

    for field in ("prompt", "projectId", "userId", "organizationId", "priority", "model"):
        assert await named(f'"{field}": "{half}"') == {field}
    assert await named(f'"metadata": {{"a": "x", "b": {{"c": ["{half}"]}}}}') == {"metadata.b"}
    assert await named(f'"parameters": {{"tone": "{half}", "keywords": ["a", "{half}"], "length": "{WHOLE}"}}') == {
        "parameters.tone",
        "parameters.keywords",
    }
    assert {name[:12] for name in await named(f'"parameters": {{"t{half}": "x"}}')} == {"parameters.t"}
    assert {name[0] for name in await named(f'"x{half}": "x"')} == {"x"}
    assert await named(f'"prompt": "{half}"', BATCH, f'{{"jobs": [{json.dumps(body())}, %s]}}') == {"jobs[1].prompt"}


async def test_whole_characters_pass(client: httpx.AsyncClient) -> None:
    """A pair of escapes is one emoji, and an escaped backslash before a `u` is no escape."""
    content = json.dumps(body()).replace("Write a post", WHOLE).encode()
    answer = await client.post(SUBMIT, content=content, headers=JSON)
    assert answer.status_code == 202
    assert half_characters(content, "") == []


@pytest.mark.parametrize("text", [rb"\ud83d", rb"\ud83d\ude00", rb"\\", b"{", rb"\u"])
async def test_the_search_is_linear(text: bytes) -> None:
    """The largest body that is searched takes moments, with any content."""
    content = b'{"prompt":"' + text * ((SIZE_MAX - 40) // len(text)) + b'\\ude00"}'
    assert len(content) <= SIZE_MAX
    started = time.process_time()
    half_characters(content, "")
    assert time.process_time() - started < 1
