"""promtool on the configuration, the rules and the alerts, and a runbook for every alert."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.observe import configuration
from tests.support.dashboards import RULES, answers_to_alerts, rules
from tests.support.processes import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def promtool(*arguments: str) -> str:
    """The output of promtool, which must succeed."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_configuration_for_compose_is_valid() -> None:
    """promtool accepts it with all of its rule files."""
    assert f"{len(list(RULES.glob('*.yml')))} rule files found" in promtool(
        "check", "config", str(PROMETHEUS / "prometheus.yml")
    )


@needs_promtool
def test_the_configuration_for_a_laptop_is_valid(tmp_path: Path) -> None:
    """The configuration that `make observe` writes is accepted, with the same rules."""
    path = tmp_path / "prometheus.yml"
    path.write_text(configuration({"gateway": ["127.0.0.1:8000"], "worker": ["127.0.0.1:9100", "127.0.0.1:9101"]}))
    assert f"{len(list(RULES.glob('*.yml')))} rule files found" in promtool("check", "config", str(path))


@needs_promtool
def test_rules_pass_promtools_linter() -> None:
    """No duplicate rules, no labels that cannot be."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, sorted(RULES.glob("*.yml"))))


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    """The scenarios of deploy/prometheus/tests, each with its neighbour that must stay silent."""
    promtool("test", "rules", *map(str, sorted((PROMETHEUS / "tests").glob("*.yml"))))


def test_every_alert_is_tried_in_a_scenario() -> None:
    """An alert without a scenario may never have fired."""
    scenarios = "".join(path.read_text() for path in (PROMETHEUS / "tests").glob("*.yml"))
    named = {name for pattern in re.findall(r'alertname=~?"([^"]+)"', scenarios) for name in _alerts(pattern)}
    assert {rule["alert"] for rule in rules() if "alert" in rule} == named


def test_every_alert_has_a_page_that_answers_it() -> None:
    """The table of docs/operations.md has each alert once, with the anchor of its checks and a page of the console."""
    rows = answers_to_alerts()
    assert sorted(row.alert for row in rows) == sorted(rule["alert"] for rule in rules() if "alert" in rule)
    assert all(row.anchor == row.alert.lower() for row in rows)
    navigation = (ROOT / "services/gateway/console/static/app/navigation.js").read_text()
    pages = {f"`#/{path}`" for path in re.findall(r"path: '(\w+)'", navigation)}
    assert {row.page for row in rows} <= {*pages, "none"}


def _alerts(pattern: str) -> list[str]:
    return [rule["alert"] for rule in rules() if "alert" in rule and re.fullmatch(pattern, rule["alert"])]


@pytest.mark.parametrize("rule", [rule for rule in rules() if "alert" in rule], ids=lambda rule: rule["alert"])
def test_every_alert_has_a_severity_and_a_runbook(rule: dict[str, dict[str, str]]) -> None:
    """The link leads to a section of the documentation that has the alert's name."""
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]
    assert anchor == str(rule["alert"]).lower()
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
