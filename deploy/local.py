"""`make run`: the whole of Presswork on one machine.

Starts the embedded server unless a Redis is named, then gateway, notifier and worker, and keeps them running. Ctrl-C or
SIGTERM drains: the worker first, then the others, then the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from deploy.environment import of_service
from deploy.signals import pass_hang_ups, prepared, stop_by_signals
from shared.errors import PressworkError, SettingsInvalid
from shared.setting_values import read
from shared.settings import read_store, redis_url
from shared.store.embedded import data_folder
from shared.store.embedded.server import EmbeddedServer
from shared.telemetry.log_sink import Sink, occupy_closed_descriptors, say

READY_SECONDS = 20.0
STOP_SECONDS = 30.0
"""Longest time for a service to start or to drain before the supervisor gives up on it."""

WRONG_SETTING: Final = 2
"""The status with which a service, and the supervisor, end when something is set wrong."""

_out: Final = Sink(sys.stdout)
"""Standard output. A reader that is slow or gone ends nothing and delays nothing."""

# A proxy of the environment is for other machines.
_open: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of the services and folder of the embedded server, read as the services read them."""

    gateway_host: str = "127.0.0.1"
    gateway_port: Port = 8000
    notifier_host: str = "127.0.0.1"
    notifier_port: Port = 8001
    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: Port = 9100
    data_dir: str = ".data"


class Child:
    """One service process that is started again when it ends by itself, with a growing pause."""

    def __init__(self, name: str, url: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.url = url
        self.obstacle = ""
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._not_before = 0.0

    def start(self) -> None:
        """Start the process in a group of its own, so that Ctrl-C reaches the supervisor alone."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"services.{self.name}"],
            env=dict(self._environment),
            start_new_session=True,
            preexec_fn=prepared(),  # noqa: PLW1509 - two async-signal-safe calls
        )

    def ready(self) -> bool:
        """Whether /health/ready answers 200; `obstacle` is the answer if not.

        RuntimeError: the process has ended; SettingsInvalid: because something is set wrong.
        """
        status = None if self._process is None else self._process.poll()
        if self._process is None or status is not None:
            kind = SettingsInvalid if status == WRONG_SETTING else RuntimeError
            raise kind(f"{self.name} ended while starting; its last lines are above")

        try:
            with _open(f"{self.url}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            self.obstacle = f": {msgspec.json.decode(error.read())['title']}"
            return False
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def watch(self) -> None:
        """Start the process again when it ended and its pause is over."""
        if self._process is None or self._process.poll() is None:
            return
        now = time.monotonic()
        if not self._not_before:
            self._failures += 1
            self._not_before = now + min(0.25 * 2.0**self._failures, 10.0)
            _out.write(f"presswork: {self.name} ended with status {self._process.returncode}, starting it again\n")
        elif now >= self._not_before:
            self._not_before = 0.0
            self.start()

    def hang_up(self) -> None:
        """SIGHUP, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """SIGTERM and wait; SIGKILL when it takes longer than any drain."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _children(places: Places, environment: Mapping[str, str]) -> list[Child]:
    """The three services in the order they start, each with its address. PressworkError when a port is taken."""
    addresses = {
        "gateway": (places.gateway_host, places.gateway_port, "GATEWAY"),
        "notifier": (places.notifier_host, places.notifier_port, "NOTIFIER"),
        "worker": (places.worker_metrics_host, places.worker_metrics_port, "WORKER_METRICS"),
    }

    children = []
    with contextlib.ExitStack() as probes:  # all at once: two services may have been given one port
        for name, (host, port, setting) in addresses.items():
            probe = probes.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                reason = error.strerror or "unknown host"
                raise PressworkError(
                    f"the {name} cannot use {host}:{port} ({reason}): set {setting}_HOST or {setting}_PORT"
                ) from None
            children.append(Child(name, f"http://{_reach(host)}:{port}", of_service(name, environment)))
    return children


def _reach(host: str) -> str:
    """The host part of a URL by which this machine reaches a server bound to `host`."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"  # noqa: S104 - as above
    return f"[{host}]" if ":" in host else host


def _wait_ready(children: list[Child], stop: threading.Event) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    waiting = list(children)
    while waiting and not stop.is_set():
        waiting = [child for child in waiting if not child.ready()]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{waiting[0].name} did not become ready in {READY_SECONDS:g} s{waiting[0].obstacle}")
        stop.wait(0.05)
    return not stop.is_set()


def _announce(children: list[Child], server: EmbeddedServer | None) -> None:
    gateway, notifier, worker = (child.url for child in children)
    store = f"embedded Valkey under {server.folder}" if server else "the Redis of the environment"
    _out.write(
        f"\nPresswork is up ({store})\n"
        f"  console   {gateway}/console/\n"
        f"  API       {gateway}/api/ai/queue-stats\n"
        f"  docs      {gateway}/docs\n"
        f"  events    {notifier}/api/ai/job-events?jobId=...\n"
        f"  metrics   {gateway}/metrics  {notifier}/metrics  {worker}/metrics\n"
        "Ctrl-C drains and stops.\n\n"
    )


def _supervise(children: list[Child], server: EmbeddedServer | None, stop: threading.Event) -> None:
    for child in children:
        child.start()
    if _wait_ready(children, stop):
        _announce(children, server)
    while not stop.wait(0.2):
        if server is not None and not server.running:
            _out.write("presswork: the embedded server ended, starting it again\n")
            server.kill()
            server.start()
        for child in children:
            child.watch()


def _start_server(folder: Path) -> EmbeddedServer:
    server = EmbeddedServer(folder)
    try:
        server.start()
    except OSError as error:
        raise SettingsInvalid(f"DATA_DIR: {folder} cannot be used: {error.strerror}") from None
    return server


def main() -> int:
    """Run until a signal; 0 after a clean stop, 1 with one line when something cannot start, 2 for a wrong setting."""
    occupy_closed_descriptors()
    stop = threading.Event()
    stop_by_signals(stop)
    children: list[Child] = []
    pass_hang_ups(children, stop)
    environment = dict(os.environ)
    server: EmbeddedServer | None = None

    try:
        places = read(environment, Places)
        if redis_url(environment) is None:
            server = _start_server(data_folder.named(places.data_dir, environment))
            environment["REDIS_URL"] = server.url
        read_store(environment)  # read by all services: a fault is reported once
        # On a laptop the browser reaches the notifier directly.
        environment.setdefault("PUBLIC_EVENTS_URL", f"http://{_reach(places.notifier_host)}:{places.notifier_port}")
        children += _children(places, environment)
        _supervise(children, server, stop)
    except (PressworkError, RuntimeError) as error:
        say(sys.stderr, f"presswork: {error}")
        return WRONG_SETTING if isinstance(error, SettingsInvalid) else 1
    finally:
        # The worker first: releasing jobs needs the store, and readers should still see it.
        for child in reversed(children):
            child.stop()
        if server is not None:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
