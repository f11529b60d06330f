"""Logs: JSON lines with time, level and service; nothing sensitive; the standard library included."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
import structlog

from shared.errors import SettingsInvalid
from shared.telemetry import logs

pytestmark = pytest.mark.usefixtures("logging_restored")


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_json_with_time_level_and_service(capsys: pytest.CaptureFixture[str]) -> None:
    """One event is one line of JSON with an ISO time in UTC."""
    logs.configure("gateway", "info")
    structlog.get_logger().info("job_submitted", job_id="ai-job-1", attempt=2, odd={1, 2}.__class__)
    (line,) = _lines(capsys)
    assert (line["event"], line["level"], line["service"]) == ("job_submitted", "info", "gateway")
    assert (line["job_id"], line["attempt"]) == ("ai-job-1", 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])


def test_sensitive_keys_are_dropped_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A prompt or a secret that is logged by mistake does not reach the line; its key does."""
    logs.configure("worker", "INFO")
    structlog.get_logger().warning("oops", prompt="Buy shoes", api_key="sk-1", authorization="Bearer x", kept=1)
    text = capsys.readouterr().err
    assert not any(secret in text for secret in ("Buy shoes", "sk-1", "Bearer"))
    assert json.loads(text)["dropped"] == ["api_key", "authorization", "prompt"]
    assert json.loads(text)["kept"] == 1


def test_the_level_holds_for_both_kinds_of_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the level nothing is written; of libraries only warnings are, in the same shape."""
    logs.configure("notifier", "INFO")
    structlog.get_logger().debug("quiet")
    logging.getLogger("uvicorn.error").info("quiet too")
    logging.getLogger("uvicorn.error").warning("heard %s", "this")
    (line,) = _lines(capsys)
    assert (line["event"], line["logger"], line["service"]) == ("heard this", "uvicorn.error", "notifier")


def test_an_exception_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A logged exception stays on one line, with its type."""
    logs.configure("gateway", "INFO")
    structlog.get_logger().error("failed", exc_info=RuntimeError("broken"))
    (line,) = _lines(capsys)
    assert "RuntimeError: broken" in line["exception"]


def test_an_unknown_level_is_refused() -> None:
    """A misspelt LOG_LEVEL is an invalid setting."""
    with pytest.raises(SettingsInvalid, match="LOG_LEVEL"):
        logs.configure("gateway", "LOUD")
