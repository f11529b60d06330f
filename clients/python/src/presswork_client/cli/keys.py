"""`presswork keys`: lists, makes, replaces and revokes API keys."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import App, Parameter

from presswork_client.cli.caller import ANYBODY, Caller
from presswork_client.cli.exits import OK
from presswork_client.cli.operators import admin, listed
from presswork_client.cli.output import columns_of, note

SHOWN: Final = ("id", "organizationId", "scopes", "label", "createdAt", "expiresAt", "lastUsedOn", "revokedAt")

app: Final = App(name="keys", help="List API keys; make, replace and revoke them.")


def add_to(parent: App) -> None:
    """Add the commands."""
    parent.command(app)


@app.default
def keys(*, caller: Caller = ANYBODY) -> int:
    """List the keys, without their secrets."""
    params = {} if caller.organization is None else {"organizationId": caller.organization}
    with caller.client() as client:
        rows = listed(admin(client, "GET", "keys", params=params), "keys")
    shown = rows if caller.json else [row | {"scopes": " ".join(row.get("scopes") or ())} for row in rows]
    caller.output.table(columns_of(shown, SHOWN), shown)
    return OK


@app.command
def create(
    *,
    scope: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    label: str | None = None,
    expires_at: str | None = None,
    model: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    caller: Caller = ANYBODY,
) -> int:
    """Make a key, of the organization given with --organization ("*": an operator's). It is shown this once.

    Parameters
    ----------
    scope
        Its rights: jobs:write, jobs:read, jobs:cancel, events:read, usage:read, stats:read, admin.
    label
        Its purpose, for the listing.
    expires_at
        Time of its end (ISO 8601); left out: none.
    model
        The provider:model names that it may use; left out: all.
    """
    given = {"organizationId": caller.organization, "label": label, "expiresAt": expires_at, "models": model}
    body = {name: value for name, value in given.items() if value is not None} | {"scopes": scope}
    with caller.client() as client:
        _show(caller, admin(client, "POST", "keys", body=body))
    return OK


@app.command
def rotate(key_id: str, /, *, overlap_seconds: float = 0.0, caller: Caller = ANYBODY) -> int:
    """Make a key in the place of another. It is shown this once.

    Parameters
    ----------
    key_id
        Id of the old key.
    overlap_seconds
        Seconds for which the old one goes on.
    """
    path, body = f"keys/{quote(key_id, safe='')}/rotate", {"overlapSeconds": overlap_seconds}
    with caller.client() as client:
        _show(caller, admin(client, "POST", path, body=body))
    return OK


@app.command
def revoke(key_id: str, /, *, caller: Caller = ANYBODY) -> int:
    """Revoke a key at once."""
    with caller.client() as client:
        admin(client, "DELETE", f"keys/{quote(key_id, safe='')}")
    caller.output.record({"id": key_id, "revoked": True})
    return OK


def _show(caller: Caller, made: dict[str, Any]) -> None:
    caller.output.record(made)
    if not caller.json:
        note("The key is shown this once; keep it in a file of mode 0600 or a secret store")
