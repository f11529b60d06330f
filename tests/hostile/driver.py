"""Sends hostile requests to a gateway process, while a neighbour submits, and reports on both."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.hostile.requests import Send
from tests.support.gateway import SUBMIT, body
from tests.support.plain import NO_TLS

TICK_S = 0.01
"""The unit in which Linux counts the CPU time of a process."""


@dataclass
class Findings:
    """`stall_cpu_s`: the most CPU time that the gateway used for others while one submit of the neighbour waited.
    `stall_s`: the longest wait, which other processes of the machine lengthen too. Memory in MiB."""

    statuses: Counter[int] = field(default_factory=Counter)
    neighbour: Counter[int] = field(default_factory=Counter)
    stall_cpu_s: float = 0.0
    stall_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """Answers of 5xx."""
        return sum(count for status, count in (self.statuses + self.neighbour).items() if status >= 500)


def document_of(url: str) -> dict[str, Any]:
    """The gateway's OpenAPI document."""
    document: dict[str, Any] = httpx.get(f"{url}/docs/openapi.json", verify=NO_TLS).raise_for_status().json()
    return document


def cpu_s(pid: int) -> float:
    """CPU time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * TICK_S


def memory_mib(pid: int) -> float:
    """Memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


class _Neighbour(threading.Thread):
    """Submits one good job after the other."""

    def __init__(self, url: str, pid: int, findings: Findings) -> None:
        super().__init__(name="neighbour")
        self._url = url
        self._pid = pid
        self._findings = findings
        self.stop = threading.Event()

    def run(self) -> None:
        found = self._findings
        with httpx.Client(verify=NO_TLS, base_url=self._url, timeout=30) as client:
            while not self.stop.wait(0.02):
                cpu, began = cpu_s(self._pid), time.monotonic()
                status = client.post(SUBMIT, json=body(organizationId="neighbour", delaySeconds=600)).status_code
                wait = time.monotonic() - began
                found.neighbour[status] += 1
                found.waits_s.append(wait)
                found.stall_s = max(found.stall_s, wait)
                found.stall_cpu_s = max(found.stall_cpu_s, cpu_s(self._pid) - cpu)


def attack(url: str, pid: int, requests: Iterable[Send]) -> Findings:
    """Send all of them, one after the other, to the gateway at `url`, whose process is `pid`."""
    findings = Findings()
    neighbour = _Neighbour(url, pid, findings)
    neighbour.start()
    try:
        with httpx.Client(verify=NO_TLS, base_url=url, timeout=60) as client:
            for number, send in enumerate(requests):
                try:
                    findings.statuses[send(client)] += 1
                except (httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError):
                    findings.statuses[0] += 1  # answered and closed before all of it was sent
                if number % 100 == 0:
                    findings.memory.append(memory_mib(pid))
    finally:
        neighbour.stop.set()
        neighbour.join()
    findings.memory.append(memory_mib(pid))
    return findings
