"""(e) Commands of one idle worker, notifier and gateway together."""

from __future__ import annotations

import time

from bench.commands import listing
from bench.report import Report
from bench.server import fresh_server, sent_by_us
from bench.services import service
from bench.sizes import Sizes


def run(sizes: Sizes) -> Report:
    """One window, after a warm-up that is longer than two leases."""
    with (
        fresh_server() as probe,
        service("gateway", probe.url),
        service("notifier", probe.url),
        service("worker", probe.url),
    ):
        time.sleep(sizes.idle_warm_up)
        before = probe.commands()
        time.sleep(sizes.idle_seconds)
        commands = probe.commands() - before
        sent = sent_by_us(commands)
    minutes = sizes.idle_seconds / 60
    report = Report(name="idle", title=f"commands a minute of the three idle services, {sizes.idle_seconds:g} s")
    report.add_table(
        ["a minute", "total", "what"],
        [
            ["commands, inside scripts too", commands.total() / minutes, listing(commands, minutes)],
            ["sent by clients", sent.total() / minutes, listing(sent, minutes)],
        ],
    )
    report.figures = {"commands a minute": commands.total() / minutes}
    return report
