"""Clients that generators make of the served document: they submit, wait and stream."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from shared.http.auth import hash_token
from tests.e2e.conftest import StackMaker
from tests.support.node import MODULES, OWN_PATH, PATH_22, TSC, VERSION, VERSION_22, last_json, needs_node, run
from tests.support.processes import ROOT
from tests.support.stack import Stack

HERE: Final = Path(__file__).parent / "generated"
VENV: Final = ROOT / ".venv-generators/bin"
TOKEN: Final = "alice-token"
HEY_API_NEEDS: Final = (22, 18)
SETTINGS: Final = {"API_TOKENS": f"{hash_token(TOKEN)} alice", "DEMO_TOKENS_PER_SECOND": "100"}

pytestmark = pytest.mark.timeout(300)


async def _document(running: Stack, folder: Path) -> Path:
    path = folder / "openapi.json"
    path.write_bytes((await running.client.get(f"{running.gateway.url}/openapi.json")).content)
    return path


def _check(said: dict[str, Any]) -> None:
    assert said["status"] == "completed"
    assert said["text"] == said["end"] == said["result"]
    assert len(said["text"]) > 20
    assert said["problem"] == "urn:presswork:problem:not-found"


@needs_node
async def test_openapi_typescript_makes_a_client(stack: StackMaker, tmp_path: Path) -> None:
    """Its types hold a program that submits, waits and streams, under `strict` of TypeScript 5.9; and it runs."""
    async with stack(**SETTINGS) as running:
        document = await _document(running, tmp_path)
        (tmp_path / "node_modules").symlink_to(MODULES)
        (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
        shutil.copy(HERE / "use.ts", tmp_path)
        await run(MODULES / ".bin/openapi-typescript", document, "-o", "api.d.ts", folder=tmp_path)
        options = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom,dom.asynciterable"]
        await run("node", TSC, *options, "--outDir", "made", "use.ts", folder=tmp_path)
        said = last_json(await run("node", "made/use.js", running.gateway.url, TOKEN, folder=tmp_path))
    _check(said)


@needs_node
@pytest.mark.skipif(
    max(VERSION, VERSION_22) < HEY_API_NEEDS, reason="hey-api needs node from 22.18 on: make install-dev"
)
async def test_hey_api_makes_a_client(stack: StackMaker, tmp_path: Path) -> None:
    """Its client holds a program that submits, waits and streams, under `strict` of TypeScript 5.9; and it runs."""
    path = OWN_PATH if VERSION >= HEY_API_NEEDS else PATH_22
    async with stack(**SETTINGS) as running:
        document = await _document(running, tmp_path)
        (tmp_path / "node_modules").symlink_to(MODULES)
        script = shutil.copy(HERE / "use_hey.ts", tmp_path)
        await run(
            MODULES / ".bin/openapi-ts", "--input", document, "--output", tmp_path / "api", folder=tmp_path, PATH=path
        )
        options = ["--strict", "--noEmit", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
        library = ["--lib", "es2023,dom,dom.iterable,dom.asynciterable"]
        await run("node", TSC, *options, *library, script, folder=tmp_path, PATH=path)
        bundled = ["--bundle", "--format=esm", "--platform=node", "--outfile=made.mjs"]
        await run(MODULES / ".bin/esbuild", script, *bundled, folder=tmp_path, PATH=path)
        said = last_json(await run("node", "made.mjs", running.gateway.url, TOKEN, folder=tmp_path, PATH=path))
    _check(said)


@pytest.mark.skipif(not VENV.exists(), reason="openapi-python-client is not here: make install-dev")
async def test_openapi_python_client_makes_a_client(stack: StackMaker, tmp_path: Path) -> None:
    """It makes a package of the document without a warning, whose models read answers and events."""
    async with stack(**SETTINGS) as running:
        document = await _document(running, tmp_path)
        package = tmp_path / "presswork_api"
        generate: list[str | Path] = [
            "generate",
            "--path",
            document,
            "--output-path",
            package,
            "--meta",
            "none",
            "--fail-on-warning",
        ]
        await run(VENV / "openapi-python-client", *generate, folder=tmp_path, PATH=f"{VENV}:/usr/bin:/bin")
        script = shutil.copy(HERE / "use.py", tmp_path)
        said = last_json(await run(VENV / "python", script, running.gateway.url, TOKEN, folder=tmp_path))
    _check(said)
    assert said["created"] > 1e9
