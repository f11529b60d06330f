"""Serves an application the way Vercel's Python runtime does: the module is loaded from its file, uvicorn serves it.

`python -m tests.support.imported_app services/gateway/asgi.py PORT auto`. The application must pass for ASGI by the
properties that the runtime checks: an async callable with three parameters (vercel/vercel, python/vercel-runtime,
resolver.py).
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import uvicorn


def load(path: Path) -> ModuleType:
    """The module, loaded from its file under a name that is not its own."""
    name = "vc__handler__python"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def application(path: Path) -> Any:
    """The module's `app`, after the runtime's check of its kind."""
    app = load(path).app
    assert not hasattr(app, "asgi")
    assert inspect.iscoroutinefunction(app.__call__)
    required = [
        parameter for parameter in inspect.signature(app).parameters.values() if parameter.default is parameter.empty
    ]
    assert len(required) == 3
    return app


if __name__ == "__main__":
    uvicorn.run(application(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), lifespan=sys.argv[3])  # type: ignore[arg-type]  # auto or off
