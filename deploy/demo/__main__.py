"""`make demo`: `make run` with keys and a small generated world, in a data folder of its own that begins empty."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import threading
from pathlib import Path
from typing import Final

from deploy import local
from deploy.demo import provider, world
from shared.http.auth import hash_token
from shared.telemetry.log_sink import say

FOLDER: Final = Path(".data/demo")


def main() -> int:
    """The exit status, as of `make run`."""
    if any(os.environ.get(name) for name in ("REDIS_URL", "KV_URL", "UPSTASH_REDIS_REST_URL", "KV_REST_API_URL")):
        say(sys.stderr, "the demo has an embedded server of its own: unset REDIS_URL and its like")
        return 2
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, mode=0o700)
    prices, token = FOLDER / "prices.json", secrets.token_urlsafe(32)
    prices.write_text(json.dumps(world.PRICES), encoding="utf-8")

    servers = {name.partition(":")[0] for name in world.PROVIDERS}
    with provider.running() as vendor:
        os.environ |= {f"PROVIDER_{name.upper()}_BASE_URL": vendor for name in servers}
        os.environ |= {
            "DATA_DIR": str(FOLDER / "redis"), "API_TOKENS": hash_token(token), "API_KEYS": "1", "PRICES": str(prices),
            "PROVIDERS": ",".join(world.PROVIDERS), "PROVIDER_LIMITS": "limited:editor=30/0",
            "WORKER_CONCURRENCY": "24",
        }  # fmt: skip
        os.environ.setdefault("LOG_LEVEL", "ERROR")
        url = f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '8000')}"
        gateway = world.Gateway(url, token)
        wanted = (gateway, _write, f"{url}/console/")
        threading.Thread(target=world.populate, args=wanted, daemon=True, name="world").start()
        return local.main()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
