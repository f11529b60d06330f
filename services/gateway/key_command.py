"""`python -m services.gateway keys …`: administers API keys without HTTP; the first one is made so."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from shared.errors import KeyNotFound, PressworkError, SettingsInvalid, TooManyKeys
from shared.http.auth import Scope
from shared.identity.key_text import KEY_ID, new_key
from shared.job_ids import IDENTIFIER
from shared.settings import read_store
from shared.store.api_keys import ApiKey
from shared.store.audit_trail import Actor
from shared.store.connection import select_transport
from shared.store.job_store import JobStore, open_store
from shared.store.keys import OPERATORS
from shared.store.preflight.requirements import Role
from shared.telemetry.log_sink import say

_ACTOR: Final = Actor(key_id="command")
_DAY_MS: Final = 86_400_000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.gateway keys", description="Administer API keys.")
    commands = parser.add_subparsers(dest="command", required=True)

    create = commands.add_parser("create", help="make a key and print it; it is never shown again")
    create.add_argument("--organization", required=True, help="id of the organization; '*' for an operator's key")
    create.add_argument(
        "--scope", dest="scopes", action="extend", nargs="+", required=True, choices=[str(scope) for scope in Scope],
        help="a right; may be given more than once",
    )  # fmt: skip
    create.add_argument("--label", default="", help="a name for people")
    create.add_argument(
        "--model", dest="models", action="extend", nargs="+", default=[], help="provider:model it may use"
    )
    create.add_argument("--days", type=float, help="days until it expires; left out: never")

    commands.add_parser(
        "create-first", help="make an operator's key with all scopes and print it, unless a valid one is there"
    )

    listing = commands.add_parser("list", help="print the keys, without their secrets")
    listing.add_argument("--organization", help="id of the organization; '*' for operators' keys; left out: all")

    commands.add_parser(
        "rotate-ticket-secret", help="sign event tickets with a new secret; those of the last stay valid"
    )

    revoke = commands.add_parser("revoke", help="end a key at once")
    revoke.add_argument("id", help="id of the key: the 12 characters after pw_")
    return parser


def main(arguments: Sequence[str], mapping: Mapping[str, str]) -> int:
    """The exit status: 0, 1 when Redis refuses or is away, 2 with one line for a bad argument or setting."""
    wanted = _parser().parse_args(arguments)
    try:
        _check(wanted)
        return asyncio.run(_run(wanted, mapping))
    except SettingsInvalid as error:
        say(sys.stderr, str(error))
        return 2
    except (KeyNotFound, TooManyKeys) as error:
        say(sys.stderr, f"{'no such key' if isinstance(error, KeyNotFound) else 'too many keys'}: {error}")
        return 1
    except PressworkError as error:
        say(sys.stderr, f"Redis: {error}")
        return 1


def _check(wanted: argparse.Namespace) -> None:
    organization = getattr(wanted, "organization", None)
    if organization is not None and IDENTIFIER.match(organization) is None:
        raise SettingsInvalid("--organization: 1 to 128 printable ASCII characters without blanks")
    if wanted.command == "create" and wanted.days is not None and wanted.days <= 0:
        raise SettingsInvalid("--days: must be more than 0")
    if wanted.command == "revoke" and KEY_ID.match(wanted.id) is None:
        raise SettingsInvalid("an id is the 12 characters after pw_")


async def _run(wanted: argparse.Namespace, mapping: Mapping[str, str]) -> int:
    settings = await select_transport.select(read_store(mapping), may_use_rest=True)
    async with open_store(settings, client_name="presswork-keys", role=Role.GATEWAY) as store:
        if wanted.command == "create":
            lines = [await _create(store, _wanted(wanted))]
        elif wanted.command == "create-first":
            lines = await _create_first(store)
        elif wanted.command == "revoke":
            await store.api_keys.revoke(wanted.id, _ACTOR, owner=None)
            lines = [f"revoked {wanted.id}"]
        elif wanted.command == "rotate-ticket-secret":
            await store.ticket_secrets.rotate()
            lines = ["tickets of the secret before the last are void"]
        else:
            lines = await _list(store, wanted.organization)

    sys.stdout.write("".join(f"{line}\n" for line in lines))  # not as a log writes: the new key is to be seen
    return 0


def _wanted(wanted: argparse.Namespace) -> ApiKey:
    expires = None if wanted.days is None else round(time.time() * 1000 + wanted.days * _DAY_MS)
    return ApiKey(
        id="", digest="", organization_id=_named(wanted.organization), label=wanted.label,
        scopes=tuple(dict.fromkeys(wanted.scopes)), models=tuple(dict.fromkeys(wanted.models)), expires_ms=expires,
    )  # fmt: skip


async def _create(store: JobStore, wanted: ApiKey) -> str:
    text = new_key()
    await store.api_keys.create(msgspec.structs.replace(wanted, id=text.id, digest=text.digest), _ACTOR)
    return text.text


async def _create_first(store: JobStore) -> list[str]:
    """The text of a new operator's key, or nothing: an operator who has one makes the others with it."""
    now_ms = time.time() * 1000
    for key in await store.api_keys.of(None):
        if Scope.ADMIN in key.scopes and not key.ended(now_ms):
            return []
    first = ApiKey(id="", digest="", organization_id=None, label="first key", scopes=tuple(map(str, Scope)))
    return [await _create(store, first)]


async def _list(store: JobStore, organization: str | None) -> list[str]:
    keys = await (store.api_keys.all() if organization is None else store.api_keys.of(_named(organization)))
    now_ms = time.time() * 1000
    return [
        "\t".join((
            key.id, key.organization_id or OPERATORS, " ".join(key.scopes), "ended" if key.ended(now_ms) else "valid",
            _day(key.expires_ms), key.used_on or "-", key.label,
        ))
        for key in keys
    ]  # fmt: skip


def _named(organization: str) -> str | None:
    return None if organization == OPERATORS else organization


def _day(ms: int | None) -> str:
    return "-" if ms is None else datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).date().isoformat()
