"""Options that every command has, and the client they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from presswork_client.cli.output import Output
from presswork_client.client import Presswork

PATIENCE_S: Final = 10.0
"""Seconds for which a single call is repeated: a person waits for it."""

LONG_PATIENCE_S: Final = 120.0
"""The same for jobs that are followed and files that are submitted: a restart of the service must not end them."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Caller:
    """Address, organisation and form of the output; the key is never an argument, which others could see."""

    json: Annotated[bool, Parameter(negative="", help="Write JSON")] = False
    url: Annotated[str | None, Parameter(help="Address of the gateway, instead of PRESSWORK_URL")] = None
    organization: Annotated[str | None, Parameter(help="Organization, instead of PRESSWORK_ORGANIZATION")] = None

    @property
    def output(self) -> Output:
        """Standard output in the form that was asked for."""
        return Output(as_json=self.json)

    def client(self, patience: float = PATIENCE_S) -> Presswork:
        """A client, to be entered with `with`. ConfigError."""
        return Presswork(self.url, organization=self.organization, patience=patience)


ANYBODY: Final = Caller()
