"""`make observe`: this machine's Prometheus on loopback beside `make run`, with the rules of deploy/prometheus.

Needs the `prometheus` binary, such as Debian's package. Nothing it scrapes or stores leaves the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shared.errors import SettingsInvalid
from shared.store.embedded import data_folder

RULES: Final = Path(__file__).resolve().parent / "prometheus" / "rules" / "*.yml"
PORTS: Final = {
    "gateway": ("GATEWAY_PORT", "8000"),
    "notifier": ("NOTIFIER_PORT", "8001"),
    "worker": ("WORKER_METRICS_PORT", "9100"),
}


def configuration(targets: Mapping[str, list[str]], *, interval_seconds: int = 5) -> str:
    """A configuration that scrapes fixed `host:port` targets by service; JSON, which is YAML too.

    Jobs are named as in deploy/prometheus/prometheus.yml, because the rules ask for these names.
    """
    scrapes = [
        {"job_name": f"presswork-{service}", "static_configs": [{"targets": addresses}]}
        for service, addresses in targets.items()
    ]
    interval = f"{interval_seconds}s"
    document = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(RULES)],
        "scrape_configs": scrapes,
    }
    return json.dumps(document, indent=2)


def command(binary: str, folder: Path, port: int) -> list[str]:
    """The command line of Prometheus with its configuration and data in `folder`."""
    return [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=7d",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def main() -> None:
    """Become Prometheus; exit status 1 with one line when there is none on this machine, or no folder for it."""
    binary = shutil.which("prometheus")
    if binary is None:
        sys.exit("observe: no `prometheus` found; on Debian: apt-get install prometheus")
    try:
        data = data_folder.named(os.environ.get("DATA_DIR") or ".data", os.environ)
        data_folder.prepare(data)
    except SettingsInvalid as error:
        sys.exit(f"observe: {error}")

    folder = data / "prometheus"
    folder.mkdir(mode=0o700, exist_ok=True)
    targets = {service: [f"127.0.0.1:{os.environ.get(name) or default}"] for service, (name, default) in PORTS.items()}
    (folder / "prometheus.yml").write_text(configuration(targets), encoding="utf-8")
    port = int(os.environ.get("PROMETHEUS_PORT") or 9090)
    print(f"Prometheus is at http://127.0.0.1:{port} (alerts: /alerts); Ctrl-C stops it", flush=True)
    os.execv(binary, command(binary, folder, port))  # noqa: S606 - this process has nothing left to do


if __name__ == "__main__":
    main()
