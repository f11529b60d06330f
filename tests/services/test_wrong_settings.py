"""Every service with a wrong setting ends at once, in the same way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.processes import ROOT


@pytest.mark.parametrize("service", ["gateway", "notifier", "worker"])
def test_a_wrong_setting_is_one_line_and_status_2(service: str) -> None:
    """A supervisor can distinguish it from a crash; the line names the service and the setting, and not its value."""
    done = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env={"REDIS_URL": "redis://:pa[planted@127.0.0.1:1"},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{service}: REDIS_URL")
    assert "planted" not in done.stderr + done.stdout
