"""Writes the picture and tables of docs/architecture.md: `python -m tests.support.rooms_page`.

They are read from the imports of the code, from the packages' docstrings and from .importlinter.
"""

from __future__ import annotations

import ast
import configparser
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import grimp

from tests.support.processes import ROOT

PATH: Final = ROOT / "docs" / "architecture.md"
PARTS: Final = {
    "services.gateway": "gateway",
    "services.worker": "worker",
    "services.notifier": "notifier",
    "shared.streams": "event streams",
    "shared.identity": "callers",
    "shared.server": "HTTP server",
    "shared.http": "HTTP",
    "shared.store": "store",
    "shared.telemetry": "telemetry",
    "shared": "job, events, errors, settings",
}
"""The boxes of the picture; a module belongs to the longest name that it begins with."""

_BLOCK: Final = re.compile(r"(<!-- written by make docs: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Imports = Mapping[str, set[str]]


def written(text: str, graph: grimp.ImportGraph) -> str:
    """The page with its picture and tables as the code has them."""
    blocks = {"picture": _picture(graph), "rooms": _rooms(graph), "contracts": _contracts()}
    return _BLOCK.sub(lambda found: f"{found[1]}\n{blocks[found[2]]}\n{found[3]}", text)


def parts(graph: grimp.ImportGraph) -> Imports:
    """The parts that each part imports, `services` and empty packages aside."""
    imports: dict[str, set[str]] = {part: set() for part in PARTS}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            importer, imported = _part(module), _part(other)
            if importer and imported and importer != imported:
                imports[importer].add(imported)
    return imports


def reachable(imports: Imports, start: str) -> set[str]:
    """All parts that `start` imports, directly or through others."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for part in imports[waiting.pop()] - found:
            found.add(part)
            waiting.append(part)
    return found


def _part(module: str) -> str | None:
    return next((part for part in PARTS if f"{module}.".startswith(f"{part}.")), None)


def _picture(graph: grimp.ImportGraph) -> str:
    """The parts and their imports as Mermaid; an import that another one implies is left out."""
    imports = parts(graph)
    boxes = [f'    {part.replace(".", "_")}["{words}<br>{_path(part)}"]\n' for part, words in PARTS.items()]
    arrows = [
        f"    {part.replace('.', '_')} --> {other.replace('.', '_')}\n"
        for part, others in imports.items()
        for other in PARTS
        if other in others and not any(other in reachable(imports, between) for between in others - {other})
    ]
    return "```mermaid\nflowchart TD\n" + "".join(boxes + arrows) + "```\n"


def _rooms(graph: grimp.ImportGraph) -> str:
    """One row for each package: its purpose, and what it imports: packages, and single files of a package around it."""
    imports: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            imports[_room(module)].add(_imported(_room(module), other))
    rooms = sorted({_room(module) for module in graph.modules if module != "services"})
    rows = (
        f"| `{_path(room)}` | {_purpose(room)} | {', '.join(f'`{_short(room, other)}`' for other in others)} |\n"
        for room in rooms
        for others in [sorted(imports[room] - {room})]
    )
    return "| room | purpose | imports |\n|---|---|---|\n" + "".join(rows)


def _room(module: str) -> str:
    return module if (ROOT / module.replace(".", "/")).is_dir() else module.rpartition(".")[0]


def _imported(room: str, other: str) -> str:
    """The room of an imported module, or the module itself where that room is around the importer: a room may know a
    file beside it, though not the house."""
    around = _room(other)
    return other if room.startswith(f"{around}.") and around not in ("shared", other) else around


def _path(room: str) -> str:
    path = room.replace(".", "/")
    return path if (ROOT / path).is_dir() else f"{path}.py"


def _short(room: str, other: str) -> str:
    """The name of a room without the beginning that it shares with its importer's service."""
    own = "/".join(room.split(".")[:2])
    return _path(other).removeprefix(f"{own}/")


def _purpose(room: str) -> str:
    tree = ast.parse((ROOT / _path(room) / "__init__.py").read_text(encoding="utf-8"))
    return " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())


def _contracts() -> str:
    """The rules that `make lint` checks."""
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter", encoding="utf-8")
    rows = (f"- {rules[section]['name']}.\n" for section in rules.sections() if "name" in rules[section])
    return "".join(rows)


if __name__ == "__main__":
    code = grimp.build_graph("services", "shared")
    PATH.write_text(written(PATH.read_text(encoding="utf-8"), code), encoding="utf-8")
