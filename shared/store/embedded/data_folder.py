"""The folder of the embedded server: its name, its access rights, and the place of its socket."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from shared.errors import SettingsInvalid

SOCKET: Final = "valkey.sock"
SOCKET_PATH_MAX: Final = 100
"""Longest path of a Unix socket that is safe everywhere, in bytes (Linux allows 107, others 103)."""

_HOMES: Final = ("$HOME", "${HOME}")


def named(text: str, environment: Mapping[str, str]) -> Path:
    """Resolve the folder that DATA_DIR names. `~`, `~user`, `$HOME` and `${HOME}` at its beginning are replaced as in a
    shell: files that set variables are often read without one. Everything else is part of the name.

    SettingsInvalid when there is no such home, or the links of the path lead in a circle.
    """
    try:
        folder = Path(os.path.expanduser(_at_home(text, environment.get("HOME", "")))).resolve()
        # Before Python 3.13 a circle is an error; since then its links stay.
        in_a_circle = any(part.is_symlink() for part in (folder, *folder.parents))
    except RuntimeError:
        in_a_circle = True
    except OSError as error:
        raise SettingsInvalid(f"DATA_DIR cannot be used: {error.strerror}") from None
    if in_a_circle:
        raise SettingsInvalid("DATA_DIR cannot be used: its links lead in a circle")
    return folder


def _at_home(text: str, home: str) -> str:
    for variable in _HOMES:
        if text == variable or text.startswith(f"{variable}/"):
            text = "~" + text.removeprefix(variable)
    if text != "~" and not text.startswith("~/"):
        return text
    if not home:
        raise SettingsInvalid("DATA_DIR begins with the home folder, and HOME is not set")
    return home + text[1:]


def prepare(folder: Path) -> None:
    """Make the folder, for its owner alone. One that exists keeps its mode; SettingsInvalid when others can write to
    it: they could put their own socket in our place. OSError when it cannot be made."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return
    found = folder.stat()
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise SettingsInvalid(
            f"DATA_DIR: others can write to {folder} (mode {mode:o}): name a folder of your own, or chmod go-w it"
        )
    if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise SettingsInvalid(f"DATA_DIR: {folder} belongs to another user: name a folder of your own")


def fits_a_socket(folder: Path) -> bool:
    """Whether a socket in this folder can be named: by the system, which counts bytes, and in a URL, which is text."""
    path = os.fsencode(folder / SOCKET)
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return len(path) <= SOCKET_PATH_MAX


def short_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the socket alone, where the data's own is too deep. SettingsInvalid when every place is."""
    for place in (None, "/tmp"):  # noqa: S108 - a folder with a name that cannot be guessed, mode 0700
        try:
            made = tempfile.TemporaryDirectory(prefix="presswork-", dir=place)
        except OSError:
            continue
        if fits_a_socket(Path(made.name)):
            return made
        made.cleanup()
    raise SettingsInvalid(f"DATA_DIR is too long for a socket ({SOCKET_PATH_MAX} bytes), and so is TMPDIR: shorten one")


def url_of(socket_path: Path) -> str:
    """The REDIS_URL for a server on this socket: in a URL most special characters of a name mean something else."""
    return f"unix://{quote(os.fsencode(socket_path))}"
