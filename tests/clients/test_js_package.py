"""The npm package as an application gets it: it installs, type-checks, is small, and has the types of the document."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from shared.version import VERSION
from tests.support.gateway import running_gateway
from tests.support.node import MODULES, NEWEST_TSC, PACKAGE, TSC, last_json, needs_node, run
from tests.support.processes import ROOT

pytestmark = [needs_node, pytest.mark.timeout(300)]

TYPES: Final = PACKAGE / "tests/types"
SIZE_MAX: Final = 6 * 1024
"""Bytes of the client, compressed, with all that it depends on and without React."""

AI_SDK_SIZE_MAX: Final = 7 * 1024
"""Bytes of the entry for the AI SDK, with the client that it needs."""

STRICT: Final = (
    "--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom,dom.iterable", "--jsx",
    "react-jsx", "--exactOptionalPropertyTypes", "false", "--noUncheckedIndexedAccess",
)  # fmt: skip


@pytest.fixture
async def project(tmp_path: Path) -> Path:
    """An empty project into which the packed package was installed; React and the AI SDK are beside it, with types."""
    packed = await run("npm", "pack", "--silent", "--pack-destination", tmp_path, folder=PACKAGE)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    tarball = tmp_path / packed.split()[-1]
    await run("npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", tarball, folder=folder)
    for name in ("react", "@types", "csstype", "ai", "@ai-sdk"):
        (folder / "node_modules" / name).symlink_to(MODULES / name)
    return folder


METHODS: Final = """
const methods = ([name, made]) => Object.getOwnPropertyNames(made.prototype ?? {}).map((method) => `${name}.${method}`);
const found = Object.entries(made);
console.log(JSON.stringify({ names: found.map(([name]) => name), methods: found.flatMap(methods) }));
"""


def _declared(types: str) -> set[str]:
    return set(re.findall(r"^export (?:class|function) (\w+)", types, re.MULTILINE))


def _declared_methods(types: str) -> set[str]:
    found = set()
    for name, body in re.findall(r"^export class (\w+).*?{\n(.*?)^}", types, re.MULTILINE | re.DOTALL):
        found |= {f"{name}.{method}" for method in re.findall(r"^  (\w+)[<(]", body, re.MULTILINE)}
    return found


async def test_it_installs_into_an_empty_project(project: Path) -> None:
    """Each of its entries is imported, and exports what its types declare; of the tests nothing is in it."""
    installed = project / "node_modules/@presswork/client"
    assert {path.name for path in installed.iterdir()} == {"LICENSE", "README.md", "package.json", "src"}
    assert json.loads((installed / "package.json").read_text())["version"] == VERSION
    for entry in ("index", "react", "server", "ai-sdk"):
        name = "@presswork/client" + ("" if entry == "index" else f"/{entry}")
        script = f"import * as made from '{name}';{METHODS}"
        said = last_json(await run("node", "--input-type=module", "--eval", script, folder=project))
        types = (installed / f"src/{entry}.d.ts").read_text()
        assert set(said["names"]) == _declared(types), entry
        assert set(said["methods"]) >= _declared_methods(types), entry
        assert len(_declared_methods(types)) > 15 or entry != "index"


@pytest.mark.parametrize("compiler", [TSC, NEWEST_TSC], ids=["5.9", "newest"])
async def test_programs_that_use_it_type_check(project: Path, compiler: Path) -> None:
    """`tsc --strict` takes a program and components; a request without a prompt is an error."""
    for name in ("use.ts", "component.tsx"):
        shutil.copy(TYPES / name, project)
    await run("node", compiler, *STRICT, "--types", "react", "use.ts", "component.tsx", folder=project)


@pytest.mark.parametrize("compiler", [TSC, NEWEST_TSC], ids=["5.9", "newest"])
async def test_chats_that_use_it_type_check(project: Path, compiler: Path) -> None:
    """The transport is one for `useChat`, the fetch one for `useCompletion`; a prompt beside messages is an error."""
    shutil.copy(TYPES / "chat.tsx", project)
    await run("node", compiler, *STRICT, "--types", "react,node", "chat.tsx", folder=project)


async def test_its_types_are_those_of_the_document(project: Path, redis_url: str) -> None:
    """Answers and events of the served document fit its types, and its requests those of the document."""
    async with running_gateway(redis_url) as client:
        (project / "openapi.json").write_bytes((await client.get("/openapi.json")).content)
    await run(MODULES / ".bin/openapi-typescript", "openapi.json", "-o", "api.d.ts", folder=project)
    shutil.copy(TYPES / "document.ts", project)
    await run("node", TSC, *STRICT, "document.ts", folder=project)


async def test_the_example_has_the_present_client(tmp_path: Path) -> None:
    """`presswork.js` of the example front end is what `npm run bundle` makes."""
    made = tmp_path / "presswork.js"
    await run("npm", "run", "--silent", "bundle", "--", f"--outfile={made}", folder=PACKAGE)
    assert made.read_text() == (ROOT / "examples/frontend/presswork.js").read_text()


async def _compressed(entry: str, folder: Path) -> int:
    bundle = folder / "bundle.js"
    options = ["--bundle", "--minify", "--format=esm", "--external:react", f"--outfile={bundle}"]
    await run(MODULES / ".bin/esbuild", PACKAGE / "src" / entry, *options, folder=PACKAGE)
    return len(gzip.compress(bundle.read_bytes(), 9))


async def test_it_is_small(tmp_path: Path) -> None:
    """At most 6 KB compressed, with the hooks too."""
    assert await _compressed("index.js", tmp_path) <= SIZE_MAX
    assert await _compressed("react.js", tmp_path) <= SIZE_MAX
    assert await _compressed("ai-sdk.js", tmp_path) <= AI_SDK_SIZE_MAX
