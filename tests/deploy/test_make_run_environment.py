"""`make run` gives each service the settings that it reads: keys of providers reach the worker alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.environment import of_service
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port

SECRETS = {
    "OPENAI_API_KEY": "sk-planted-1", "ANTHROPIC_API_KEY_FILE": "", "PROVIDER_LOCAL_KEY": "planted-2",
    "PROVIDER_PROXY": "http://user:planted-3@proxy", "SOME_API_KEY": "planted-4",
}  # fmt: skip


def test_a_key_is_the_worker_s_alone(tmp_path: Path) -> None:
    """The gateway still knows which models may be asked for: PROVIDERS, computed where it is not set."""
    key = tmp_path / "key"
    key.write_text("planted-5")
    environment = {"PATH": "/bin", "GATEWAY_PORT": "1", **SECRETS, "ANTHROPIC_API_KEY_FILE": str(key)}
    assert of_service("worker", environment) == environment
    for name in ("gateway", "notifier"):
        given = of_service(name, environment)
        assert not set(SECRETS) & set(given)
        assert "planted" not in str(given)
        assert given["PROVIDERS"].split(",")[0].startswith("openai:")
        assert "anthropic:" in given["PROVIDERS"]
        assert given["GATEWAY_PORT"] == "1"
    assert of_service("gateway", {**environment, "PROVIDERS": "demo"})["PROVIDERS"] == "demo"
    assert of_service("gateway", {})["PROVIDERS"] == "demo:demo"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows a process's environment")
async def test_no_other_process_has_a_key(tmp_path: Path) -> None:
    """Neither the server nor the gateway nor the notifier of a running `make run`, and a job for the key's provider is
    taken."""
    ports = {name: str(free_port()) for name in ("GATEWAY_PORT", "NOTIFIER_PORT", "WORKER_METRICS_PORT")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATA_DIR": "~/päth with blanks", **ports}
    environment |= {"OPENAI_API_KEY": "sk-planted", "OPENAI_BASE_URL": f"http://127.0.0.1:{free_port()}/v1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        gateway = f"http://127.0.0.1:{ports['GATEWAY_PORT']}"
        async with asyncio.timeout(60), httpx.AsyncClient(verify=NO_TLS, trust_env=False, timeout=10) as client:
            body = {"projectId": "p", "userId": "u", "organizationId": "o", "prompt": "x", "provider": "openai"}
            while True:
                assert process.returncode is None
                try:
                    answer = await client.post(f"{gateway}/api/ai/generate-content", json=body)
                    if answer.status_code == 202:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        assert (tmp_path / "päth with blanks" / "appendonlydir").is_dir()
        assert _holders("sk-planted", process.pid) == {"deploy.local", "services.worker"}
    finally:
        process.terminate()
        assert await process.wait() == 0


def _holders(secret: str, supervisor: int) -> set[str]:
    """Processes with the secret in their environment or arguments: the supervisor and those below it."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            arguments = (folder / "cmdline").read_text().split("\0")
            text = (folder / "environ").read_text(errors="replace")
        except OSError:
            continue
        if supervisor in (parent, int(folder.name)) and secret in text + " ".join(arguments):
            found.add(arguments[2])
    return found
