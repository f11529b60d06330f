"""Reads single settings from a mapping, or from the file that it names, and fills a struct with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from shared.errors import SettingsInvalid
from shared.setting_errors import complaint

SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)


def _text(mapping: Mapping[str, str], name: str) -> str | None:
    text = mapping.get(name, "").strip()
    # Some readers of .env files keep quotes. A key with quotes would only be refused by its vendor, job by job.
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise SettingsInvalid(f"remove the quotes around {name}: they are read as part of its value")
    return text or None


def _content(mapping: Mapping[str, str], file: str, name: str) -> str | None:
    path = _text(mapping, file)
    if path is None:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError):
        raise SettingsInvalid(f"{file} cannot be read") from None
    return _text({name: text}, name)


def setting(mapping: Mapping[str, str], name: str) -> str | None:
    """The text of one setting, stripped: the variable, else the content of the file that NAME_FILE names. None: neither
    is set, or it is empty. SettingsInvalid when it is in quotes, or its file cannot be read."""
    return _text(mapping, name) or _content(mapping, f"{name}_FILE", name)


def entries(text: str) -> list[str]:
    """The values of a setting with several: separated by commas, without blanks around them, none empty."""
    return [entry for part in text.split(",") if (entry := part.strip())]


def read(mapping: Mapping[str, str], kind: type[SettingsT], **given: object) -> SettingsT:
    """Fill `kind` from a mapping: field `gateway_port` is the variable GATEWAY_PORT, or the file GATEWAY_PORT_FILE.

    `given` wins over the mapping. SettingsInvalid with one line that names the setting, never its value.
    """
    values: dict[str, Any] = dict(given)
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        if field.name not in values and (text := setting(mapping, name)) is not None:
            values[field.name] = text
        elif field.name not in values and field.required:
            raise SettingsInvalid(f"{name} is not set")

    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        wrong = where.rstrip("`")
        raise SettingsInvalid(complaint(kind, wrong, what, values.get(wrong))) from None
