"""Messages to an operator about a wrong setting. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args, get_origin

import msgspec

_WORDS: Final = {"int": "a whole number", "float": "a number", "bool": "1 or 0"}
_NO_TEXT: Final = re.compile(r"Expected `(int|float|bool)(?: \| null)?`, got `str`")


def complaint(kind: type[msgspec.Struct], field: str, what: str, value: object) -> str:
    """The line about a wrong setting: msgspec's words for a programmer become an operator's, without the value."""
    types = {found.name: found.type for found in msgspec.structs.fields(kind)}
    if get_origin(types.get(field)) is Literal:
        what = f"expected one of {', '.join(get_args(types[field]))}"
    elif (found := _NO_TEXT.match(what)) is not None:
        what = f"expected {_WORDS[found.group(1)]}"
    return f"{field.upper() or 'a setting'}: {what[:1].lower()}{what[1:]}{_service_link(field, value)}"


def _service_link(field: str, value: object) -> str:
    """Advice for an address that Kubernetes, or Docker's links, set as NAME_PORT=tcp://… in every container beside a
    service called NAME; else empty."""
    if not isinstance(value, str) or not value.startswith(("tcp://", "udp://", "sctp://")):
        return ""
    return (
        "; it holds the address of a service with that name, as Kubernetes and Docker set it: turn service links "
        f"off (enableServiceLinks: false), or set {field.upper()} yourself"
    )
