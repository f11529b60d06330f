"""`python -m tests.browser.pictures`: the pictures of docs/operations.md, of the demo's world as an operator sees it.

`--all FOLDER` writes every page at three widths in both colour schemes there instead, to be looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from tests.browser.console import Console
from tests.support.callers import bearer
from tests.support.chromium import BINARY, Chromium
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port

PICTURES: Final = ROOT / "docs" / "images"
WORLD_S: Final = 90.0
"""Time after which the demo has failures, a blocked gate and curves."""

CURVES_S: Final = 25.0
PORTS: Final = ("GATEWAY_PORT", "NOTIFIER_PORT", "WORKER_METRICS_PORT")
WIDTHS: Final = ((1440, 900), (1024, 768), (390, 844))
QUALITY: Final = 62
"""Of the WebP files: the letters stay sharp, and all of them are less than 600 KB."""


class Picture(NamedTuple):
    """A page as docs show it. `place`: in the console; `{failed}`, `{waiting}`: ids of such jobs."""

    name: str
    place: str
    size: tuple[int, int] = (1440, 900)
    scheme: str = "light"


DOCUMENTED: Final = (
    Picture("overview", "overview", (1440, 960)),
    Picture("overview-dark", "overview", (1440, 960), "dark"),
    Picture("jobs", "jobs", (1440, 720)),
    Picture("waiting", "jobs/{waiting}", (1440, 720)),
    Picture("failures", "failures", (1440, 720)),
    Picture("gates", "gates", (1440, 720)),
    Picture("workers", "workers", (1440, 720)),
    Picture("organizations", "organizations", (1440, 720)),
    Picture("overview-phone", "overview", (390, 844)),
)
PLACES: Final = (
    "overview", "jobs", "jobs/{waiting}", "jobs/{failed}", "failures", "gates", "workers", "organizations", "usage",
    "usage?organizationId=org-2", "keys", "audit", "submit", "jobs?organizationId=org-1",
)  # fmt: skip


@asynccontextmanager
async def _demo(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Address of the demo's gateway, and its operator's key, once its world is alive."""
    ports = {name: str(free_port()) for name in PORTS}
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **ports}
    log = folder / "out"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.demo", cwd=folder, env=environment, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(rb"operator +(pw_\w+)", log.read_bytes())):
                await asyncio.sleep(0.2)
        await asyncio.sleep(WORLD_S)
        yield f"http://127.0.0.1:{ports['GATEWAY_PORT']}", found[1].decode()
    finally:
        process.terminate()
        async with asyncio.timeout(60):
            await process.wait()


async def _jobs(client: httpx.AsyncClient, key: str) -> dict[str, str]:
    """A job that failed, and one that waits for a gate."""
    found = {}
    for name, parameters in (("failed", {"status": "failed"}), ("waiting", {"status": "queued", "limit": "50"})):
        jobs = (await client.get("/api/admin/jobs", params=parameters, headers=bearer(key))).json()["jobs"]
        of_three = [job["jobId"] for job in jobs if name == "failed" or job["organizationId"] == "org-3"]
        found[name] = of_three[-1] if of_three else jobs[0]["jobId"]
    return found


@asynccontextmanager
async def _console(folder: Path) -> AsyncIterator[tuple[Console, dict[str, str]]]:
    """The console with an operator who is signed in, and jobs to show."""
    async with (
        _demo(folder) as (url, key),
        httpx.AsyncClient(verify=NO_TLS, base_url=url, timeout=30) as client,
        Chromium(folder / "profile") as browser,
        browser.page() as page,
    ):
        console = Console(page, None, client)  # type: ignore[arg-type]  # the services are not a test's
        await page.show_as(1440, 900)
        await page.open(f"{url}/console/#/overview")
        await console.sign_in(key)
        await asyncio.sleep(CURVES_S)  # of the overview
        yield console, await _jobs(client, key)


async def _show(c: Console, picture: Picture, jobs: dict[str, str]) -> None:
    place = picture.place.format(**jobs)
    await c.page.show_as(*picture.size, picture.scheme)
    await c.go(f"#/{place}")
    await c.page.until(
        f"location.hash === {json.dumps(f'#/{place}')} && document.querySelector('main h1, main h2')"
        " && !document.querySelector('main [aria-busy=true]')"
    )
    await c.page.evaluate("document.fonts.ready.then(() => new Promise((done) => setTimeout(done, 700)))")


async def _write(pictures: Sequence[Picture], into: Path, *, quality: int | None) -> None:
    with tempfile.TemporaryDirectory(prefix="presswork-pictures-") as folder:
        async with _console(Path(folder)) as (console, jobs):
            for picture in pictures:
                await _show(console, picture, jobs)
                form = "png" if quality is None else "webp"
                (into / f"{picture.name}.{form}").write_bytes(await console.page.screenshot(quality=quality))


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    if BINARY is None:
        sys.stderr.write("Chromium is not installed\n")
        return 2
    into = Path(arguments[1]) if arguments[:1] == ["--all"] else PICTURES
    into.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(KeyboardInterrupt):
        if arguments[:1] == ["--all"]:
            every = [
                Picture(f"{re.sub(r'[^a-z0-9]+', '-', place)}-{size[0]}-{scheme}", place, size, scheme)
                for place in PLACES
                for scheme in ("light", "dark")
                for size in WIDTHS
            ]
            asyncio.run(_write(every, into, quality=None))
        else:
            asyncio.run(_write(DOCUMENTED, into, quality=QUALITY))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
