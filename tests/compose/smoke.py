"""The smoke run: build, start, use, scale, kill, drain, start again. Every step raises when it does not hold."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from deploy import redis_users
from tests.compose.engine import Project, docker, image_size, planted_in_image
from tests.compose.front_end import FrontEnd
from tests.support.processes import ROOT, free_port

IMAGES = ("presswork-gateway", "presswork-worker", "presswork-notifier")
SERVICES = ("valkey", "gateway", "notifier", "worker", "edge", "prometheus")
"""All but Grafana, which is provisioned with the same files and needs nothing of ours to run."""

SETTINGS = "PROVIDERS=demo:demo\nLEASE_SECONDS=3\nDRAIN_SECONDS=2\nWORKER_CONCURRENCY=8\nDEMO_TOKENS_PER_SECOND=20\n"
"""A long text takes 8 s or more: longer than the drain, and 24 run at once on three workers."""

SDKS = """
from importlib.util import find_spec
print(*[name for name in ("openai", "anthropic") if find_spec(name)])
"""


class Smoke:
    """One run in a project of its own, which is gone with its volumes afterwards."""

    def __init__(self, folder: Path, client: httpx.AsyncClient, say: Callable[[str], object]) -> None:
        self._say = say
        self._planted = f"sk-planted-{secrets.token_hex(16)}"
        key, settings = folder / "openai.key", folder / "settings.env"
        key.write_text(self._planted)
        folder.chmod(0o700)
        key.chmod(0o644)
        settings.write_text(SETTINGS)
        redis_users.write(folder)
        edge, self._prometheus = free_port(), f"http://127.0.0.1:{(prometheus := free_port())}"
        self._project = Project(
            f"presswork-smoke-{secrets.token_hex(3)}",
            {
                "EDGE_PORT": str(edge),
                "PROMETHEUS_PORT": str(prometheus),
                "PRESSWORK_ENV": str(settings),
                "REDIS_SECRETS": str(folder),
                "OPENAI_API_KEY_FILE": str(key),
            },
        )
        self._client = client
        self._key = ""
        self._front = FrontEnd(client, f"http://127.0.0.1:{edge}")

    async def run(self) -> None:
        """All steps; AssertionError, TimeoutError or DockerFailed when one does not hold."""
        self._say(f"engine {docker('version', '--format', '{{.Server.Version}}').strip()}")
        self._say(f"compose {(await self._project.compose('version', '--short')).strip()}")
        await self._build()
        await self._contents()
        try:
            await self._up()
            await self._first_key()
            await self._calls()
            await self._hardened()
            await self._up(workers=3)
            await self._prometheus_sees(workers=3)
            completed = await self._kill_one()
            await self._drain_and_return(completed)
            await self._keeps_secrets()
        except BaseException:
            self._say(await self._project.compose("logs", "--no-color", "--tail", "15"))
            raise
        finally:
            await self._project.compose("--profile", "observability", "down", "--volumes", "--timeout", "5")

    async def _build(self) -> None:
        planted = ROOT / f"{self._planted[:18]}.key"
        planted.write_text(self._planted)
        began = time.monotonic()
        try:
            await self._project.compose("build")
        finally:
            planted.unlink()
        self._say(f"built in {time.monotonic() - began:.0f} s")
        for image in IMAGES:
            assert await asyncio.to_thread(planted_in_image, image, self._planted.encode()) == []
            self._say(f"{image}: {image_size(image) / 1e6:.0f} MB, no secret of the build context in a layer")

    async def _up(self, workers: int = 1) -> None:
        began = time.monotonic()
        await self._project.compose("up", "--detach", "--wait", "--scale", f"worker={workers}", *SERVICES)
        self._say(f"up with {workers} worker(s) in {time.monotonic() - began:.0f} s")

    async def _first_key(self) -> None:
        """A key opens the door, and is made once."""
        stats = f"{self._front.origin}/api/ai/queue-stats"
        assert (await self._client.get(stats)).status_code == 401
        command = ("exec", "-T", "gateway", "python", "-m", "services.gateway", "keys", "create-first")
        self._key = (await self._project.compose(*command)).strip()
        assert await self._project.compose(*command) == ""
        self._client.headers["Authorization"] = f"Bearer {self._key}"
        assert (await self._client.get(stats)).status_code == 200
        self._say("without a key 401; the first key was made once, and opens the API")

    async def _calls(self) -> None:
        async with asyncio.timeout(30):
            status = await self._front.guide()
        assert len(status["result"].split()) >= 10
        spread = await self._front.live_stream()
        inside = ("/metrics", "/metrics/", "//metrics", "/Metrics", "/%6detrics", "/docs/..%2fmetrics", "/health/other")
        for path, expected in (("/health/ready", 200), ("/docs", 200), *((path, 404) for path in inside)):
            answer = await self._client.get(self._front.origin + path, follow_redirects=True)
            assert (path, answer.status_code) == (path, expected)
        rebound = await self._client.get(f"{self._front.origin}/api/ai/queue-stats", headers={"Host": "evil.example"})
        assert rebound.status_code == 421
        self._say(f"the guide's calls work; a stream came through the edge over {spread:.1f} s, as it was written")

    async def _hardened(self) -> None:
        containers = await self._project.containers()
        assert len(containers) == len(SERVICES)
        for container in containers:
            name, host = container["Name"], container["HostConfig"]
            assert host["ReadonlyRootfs"], name
            assert host["CapDrop"] == ["ALL"], name
            users = docker("top", container["Id"], "-eo", "uid,pid").splitlines()[1:]
            assert [line.split()[0] for line in users if line.split()[0] == "0"] == [], name
            published = [binding for bindings in (host["PortBindings"] or {}).values() for binding in bindings]
            assert {binding["HostIp"] for binding in published} <= {"127.0.0.1"}, name
        self._say("no process runs as root, every root file system is read-only, ports are on loopback")

    async def _contents(self) -> None:
        """No build tools in an image, and no package of another service: the SDKs of the providers are the worker's."""
        for image in IMAGES:
            run = ("run", "--rm", "--read-only", "--network", "none", image)
            tools = await asyncio.to_thread(docker, *run, "sh", "-c", "command -v gcc cc make curl wget || true")
            assert tools == "", (image, tools)
            sdks = await asyncio.to_thread(docker, *run, "python", "-c", SDKS)
            assert sdks.split() == (["openai", "anthropic"] if image.endswith("worker") else []), (image, sdks)
        self._say("no build tools in the images; only the worker has the providers' SDKs")

    async def _prometheus_sees(self, workers: int) -> None:
        wanted = {"presswork-gateway": 1, "presswork-notifier": 1, "presswork-worker": workers}
        async with asyncio.timeout(90):
            while True:
                answer = await self._client.get(
                    f"{self._prometheus}/api/v1/query", params={"query": "sum by (job) (up)"}
                )
                result = answer.json()["data"]["result"]
                if {sample["metric"]["job"]: int(sample["value"][1]) for sample in result} == wanted:
                    break
                await asyncio.sleep(0.5)
        self._say(f"Prometheus scrapes {wanted}")

    async def _kill_one(self) -> int:
        """Kill a worker that runs jobs; answers how many jobs are completed at the end."""
        jobs = [await self._front.submit("long") for _ in range(48)]
        followers = [asyncio.create_task(self._front.follow(job_id)) for job_id in jobs]
        await self._front.until_running(24)
        victim = (await self._project.containers("worker"))[0]
        await asyncio.to_thread(docker, "kill", victim["Id"])
        async with asyncio.timeout(120):
            statuses = [await self._front.end(job_id) for job_id in jobs]
            readings = await asyncio.gather(*followers)
        assert {status["status"] for status in statuses} == {"completed"}
        assert [problem for reading in readings for problem in reading.problems()] == []
        lost = [data for reading in readings for _, kind, data in reading.events if kind == "retrying"]
        assert 1 <= len(lost) <= 8
        assert {data["reason"] for data in lost} == {"worker_lost"}
        self._say(f"a worker was killed under {len(lost)} of {len(jobs)} jobs; all of them ended, each stream is whole")
        return (await self._front.stats())["completed"]

    async def _drain_and_return(self, completed: int) -> None:
        """`down` in mid-job, then `up`: nothing is lost and no attempt is used."""
        running = [await self._front.submit("long") for _ in range(4)]
        await self._front.until_running(4)
        began = time.monotonic()
        with self._project.exits() as exits:
            await self._project.compose("--profile", "observability", "down")
        took = time.monotonic() - began
        assert await self._project.containers(running=False) == []
        assert {name: status for name, status in exits.items() if status} == {}
        assert len(exits) == len(SERVICES) + 1
        self._say(f"down drained {len(exits)} containers in {took:.0f} s, each ended with status 0")
        await self._up(workers=2)
        async with asyncio.timeout(60):
            statuses = [await self._front.end(job_id) for job_id in running]
        assert {(status["status"], status["attempt"]) for status in statuses} == {("completed", 1)}
        assert (await self._front.stats())["completed"] == completed + len(running)
        self._say("after up again the released jobs completed in their first attempt; the counts are those of before")

    async def _keeps_secrets(self) -> None:
        logs = await self._project.compose("logs", "--no-color")
        inspected = str(await self._project.containers())
        worker = (await self._project.containers("worker"))[0]
        mounted = await asyncio.to_thread(docker, "exec", worker["Id"], "cat", "/run/secrets/openai_api_key")
        assert mounted == self._planted
        for secret in (self._planted, self._key, "ticket="):
            assert secret not in logs
            assert secret not in inspected
        self._say("the provider's key reached the worker as a file; logs and docker inspect show no key and no ticket")
