"""One sentinel of a set of three."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

from redis.exceptions import RedisError

from shared.store.embedded.server import bundled_binary, die_with_parent
from tests.support.checks import RawRedis
from tests.support.processes import free_port
from tests.support.tls import Authority

MASTER_NAME: Final = "queue"
DOWN_MS: Final = 1500
"""Silence after which a master is replaced, in ms. A machine under load must not reach it by accident."""


def _lines(options: tuple[str, ...]) -> list[str]:
    return [f"{name.removeprefix('--')} {value}" for name, value in zip(options[::2], options[1::2], strict=True)]


class Sentinel:
    """One sentinel process."""

    def __init__(
        self, folder: Path, master_port: int, binary: Path | None, password: str, tls: Authority | None = None
    ) -> None:
        self.port = free_port()
        user = f":{quote(password, safe='')}@" if password else ""
        self.url = f"redis{'s' if tls else ''}://{user}127.0.0.1:{self.port}{tls.query if tls else ''}"
        self._binary = binary or bundled_binary()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        lines = [
            *(_lines(tls.options(self.port)) if tls else [f"port {self.port}"]),
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master_port} 2",
            f"sentinel down-after-milliseconds {MASTER_NAME} {DOWN_MS}",
            f"sentinel failover-timeout {MASTER_NAME} 10000",
        ]
        if password:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
            lines += [f"sentinel auth-pass {MASTER_NAME} {password}"]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def __enter__(self) -> Sentinel:
        with (self._folder / "sentinel.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binary), str(self._folder / "sentinel.conf"), "--sentinel"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one async-signal-safe call
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def ask(self, *command: str) -> Any:
        """One command."""
        async with RawRedis(self.url) as raw:
            return await raw(*command)

    async def master(self) -> tuple[int, int]:
        """When the master that it knows was agreed on, as an epoch, and its port."""
        flat = await self.ask("SENTINEL", "MASTER", MASTER_NAME)
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return int(fields[b"config-epoch"]), int(fields[b"port"])

    async def knows_all(self, replicas: int) -> bool:
        """Whether it has found the replicas and both other sentinels."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            flat = await self.ask("SENTINEL", "MASTER", MASTER_NAME)
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            found = (int(fields[b"num-slaves"]), int(fields[b"num-other-sentinels"]), fields[b"flags"])
            return found == (replicas, 2, b"master")
        return False
