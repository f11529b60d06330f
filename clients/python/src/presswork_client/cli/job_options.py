"""Options of a job: those of its text, and the bounds of its time and cost."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from presswork_client.cli.exits import WrongArgument

_READ_FIRST: Final = {"parameter", "schema"}
"""Options that the client takes in another form."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The request beside its prompt; an option that is left out is as the service has it."""

    platform: str | None = None
    tone: str | None = None
    length: str | None = None
    parameter: Annotated[
        list[str] | None,
        Parameter(name=["--parameter", "-p"], negative="", help="Another parameter of the text, as name=value."),
    ] = None
    priority: Literal["high", "normal", "low"] | None = None
    provider: str | None = None
    model: str | None = None
    max_tokens: int | None = None
    max_cost_usd: Annotated[float | None, Parameter(help="What all attempts together may cost.")] = None
    temperature: float | None = None
    timeout_seconds: float | None = None
    schema: Annotated[Path | None, Parameter(help="A file with a JSON Schema, which the text then fits as JSON.")] = (
        None
    )
    project: str | None = None
    user: str | None = None

    def asked(self) -> dict[str, Any]:
        """The keywords for `Presswork.submit`: what was given. WrongArgument."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _READ_FIRST}
        given["response_schema"] = _schema(self.schema)
        asked = {name: value for name, value in given.items() if value is not None}
        return asked | {"parameters": _parameters(self.parameter or [])}


NO_OPTIONS: Final = JobOptions()


def _schema(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongArgument(f"--schema: {path} cannot be read as JSON: {error}") from None
    if not isinstance(schema, dict):
        raise WrongArgument(f"--schema: {path} holds no JSON object")
    return schema


def _parameters(given: list[str]) -> dict[str, str]:
    """WrongArgument for one that is not name=value."""
    parameters = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise WrongArgument(f"--parameter {one}: expected name=value, as in --parameter audience=bakers")
        parameters[name] = value
    return parameters
