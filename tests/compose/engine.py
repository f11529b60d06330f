"""docker and docker compose, for one project of the repository's Compose file."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Final, cast

from tests.support.processes import ROOT

GZIP: Final = b"\x1f\x8b"


class DockerFailed(Exception):
    """A docker command ended with another status than 0; the text is its error output."""


def docker(*arguments: str) -> str:
    """Output of a docker command. DockerFailed with its error output."""
    return _run(["docker", *arguments], None)


def _run(command: list[str], environment: Mapping[str, str] | None) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DockerFailed(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


class Project:
    """One Compose project. `variables` are those that the Compose file interpolates."""

    def __init__(self, name: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self._environment = {**os.environ, **variables}

    async def compose(self, *arguments: str) -> str:
        """Output of a docker compose command. DockerFailed with its error output."""
        return await asyncio.to_thread(_run, ["docker", "compose", "-p", self.name, *arguments], self._environment)

    async def containers(self, service: str = "", *, running: bool = True) -> list[dict[str, Any]]:
        """`docker inspect` of the containers of a service, or of all."""
        wanted = ["ps", "--no-trunc", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}"]
        if service:
            wanted += ["--filter", f"label=com.docker.compose.service={service}"]
        if not running:
            wanted.append("--all")
        ids = (await asyncio.to_thread(docker, *wanted)).split()
        found: list[dict[str, Any]] = json.loads(await asyncio.to_thread(docker, "inspect", *ids)) if ids else []
        return found

    @contextmanager
    def exits(self) -> Iterator[dict[str, int]]:
        """The exit statuses of the containers that end in this block, by name; complete after the block."""
        query = ["--filter", "event=die", "--filter", f"label=com.docker.compose.project={self.name}"]
        watcher = subprocess.Popen(
            ["docker", "events", *query, "--format", "{{json .Actor.Attributes}}"], stdout=subprocess.PIPE, text=True
        )
        ended: dict[str, int] = {}
        try:
            yield ended
        finally:
            watcher.terminate()
            for line in watcher.communicate()[0].splitlines():
                attributes = json.loads(line)
                ended[attributes["name"]] = int(attributes["exitCode"])


def image_size(image: str) -> int:
    """Bytes of an image and of the base image under it together."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def planted_in_image(image: str, planted: bytes) -> list[str]:
    """Places of a text in an image: names of layer files, or `history`. [] is right."""
    found = ["history"] if planted.decode() in docker("history", "--no-trunc", image) else []
    saved = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    stream = cast("IO[bytes]", saved.stdout)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not member.isfile():
                continue
            content = cast("IO[bytes]", archive.extractfile(member)).read()
            if planted in (gzip.decompress(content) if content.startswith(GZIP) else content):
                found.append(member.name)
    stream.close()
    if saved.wait():
        raise DockerFailed(f"docker save {image} failed")
    return found
