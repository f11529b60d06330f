"""Signals to the supervisor of `make run`: some end it, SIGHUP is passed on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from shared.store.embedded.server import die_with_parent


class Service(Protocol):
    """A process that gets the hang-up signal."""

    def hang_up(self) -> None: ...


def prepared() -> Callable[[], None]:
    """For `preexec_fn`: a service dies with the supervisor, and gets no SIGHUP before it handles it."""
    bound = die_with_parent()

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if bound is not None:
            bound()

    return prepare


def stop_by_signals(stop: threading.Event) -> None:
    """Ctrl-C and SIGTERM set `stop`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def pass_hang_ups(children: Sequence[Service], stop: threading.Event) -> None:
    """SIGHUP is passed on: services read their prices and keys again. From a terminal that was closed it sets `stop`;
    with nohup that is to be outlived."""
    outlives, had_terminal = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, _has_terminal()

    def received(*_: object) -> None:
        if had_terminal and not outlives and not _has_terminal():
            stop.set()
            return
        for child in children:
            child.hang_up()

    signal.signal(signal.SIGHUP, received)
