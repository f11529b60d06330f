"""The package alone: its imports, its weight at import, and wheel and source archive in empty environments."""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Final

import pytest
from presswork_client import AsyncJob, AsyncPresswork, Job, Presswork

from tests.support.processes import ROOT

FOLDER: Final = ROOT / "clients" / "python"
PACKAGE: Final = FOLDER / "src" / "presswork_client"
MODULES_MAX: Final = 30
"""Most modules that `import presswork_client` loads beyond those of httpx2 and anyio: 19 today."""

_COUNT: Final = """\
import sys, anyio, httpx2
before = set(sys.modules)
import presswork_client
print(len(set(sys.modules) - before), *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"presswork_client"}


def test_it_shares_no_code_with_the_services() -> None:
    """Only declared packages are imported, those of the command line in its folder alone."""
    declared = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {one.partition(">")[0] for one in declared["dependencies"]}
    extra = {one.partition(">")[0] for one in declared["optional-dependencies"]["cli"]}
    for path in PACKAGE.rglob("*.py"):
        allowed = names | extra if path.parent.name == "cli" else names
        assert _imports(path) <= allowed, path


def test_an_import_is_light() -> None:
    """Counted in modules, which the machine's load does not change; the command line's packages are not among them."""
    loaded = subprocess.run(
        [sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True, timeout=60,
        env={"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *sys.path])},
    ).stdout.split()  # fmt: skip
    assert int(loaded[0]) <= MODULES_MAX
    assert {"presswork_client", "httpx2"} <= set(loaded)
    assert not {"cyclopts", "rich", "msgspec", "litestar", "tomllib", "asyncio.subprocess"} & set(loaded)


def _run(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=240, check=False, env=environment
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def _empty(folder: Path) -> Path:
    venv.create(folder, with_pip=False)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def _pip(environment: Path, *words: str | Path) -> str:
    """Our own pip works on another environment: making one of its own in each costs most of the time."""
    return _run(sys.executable, "-m", "pip", "--python", environment / "python", *words).stdout


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(600)
def test_wheel_and_source_archive_install_into_empty_environments(tmp_path: Path) -> None:
    """The wheel with its command line, the archive without; types, licence and the version come along."""
    source = tmp_path / "source"
    shutil.copytree(FOLDER, source, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "build"))
    builder, with_cli, plain = (_empty(tmp_path / name) for name in ("builder", "with-cli", "plain"))
    needed = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    _pip(builder, "install", "--quiet", "build", *needed)
    _run(builder / "python", "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", source)
    (wheel,), (archive,) = (list((tmp_path / "dist").glob(name)) for name in ("*.whl", "*.tar.gz"))

    _pip(with_cli, "install", "--quiet", f"{wheel}[cli]")
    version = _run(with_cli / "presswork", "--version").stdout.strip()
    shown = _run(with_cli / "python", "-c", "import presswork_client as p; print(p.__version__)").stdout.strip()
    assert version == shown
    assert wheel.name == f"presswork_client-{version}-py3-none-any.whl"

    _pip(plain, "install", "--quiet", archive)
    refused = _run(plain / "presswork", "jobs", check=False)
    assert (refused.returncode, "pip install 'presswork_client[cli]'" in refused.stderr) == (1, True)
    files = _pip(plain, "show", "--files", "presswork_client")
    for name in ("py.typed", "LICENSE", "client.py"):
        assert name in files


@pytest.mark.parametrize("pair", [(Presswork, AsyncPresswork), (Job, AsyncJob)], ids=lambda pair: pair[0].__name__)
def test_both_clients_have_the_same_methods(pair: tuple[type, type]) -> None:
    """With the same parameters and the same words; only the names of closing differ."""

    def methods(kind: type) -> dict[str, tuple[list[str], str | None]]:
        public = {name: value for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}
        return {
            name.removeprefix("a") if name == "aclose" else name: (
                list(inspect.signature(value).parameters),
                value.__doc__,
            )
            for name, value in public.items()
        }

    ordinary, coroutines = map(methods, pair)
    assert ordinary == coroutines
