"""Every query of the dashboard, the recording rules and the alerts, and their selectors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import promql_parser
import yaml

from tests.support.processes import ROOT

DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
RULES = ROOT / "deploy" / "prometheus" / "rules"


class Query(msgspec.Struct, frozen=True):
    """One expression and where it stands."""

    place: str
    expression: str


class Selector(msgspec.Struct, frozen=True):
    """A metric that a query reads, and the labels it matches."""

    metric: str
    labels: frozenset[str]


def dashboard_queries() -> list[Query]:
    """Of every panel of every dashboard."""
    return [
        Query(f"{path.name}: {panel['title']}", target["expr"])
        for path in sorted(DASHBOARDS.glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", [])
    ]


def rules() -> Iterator[dict[str, Any]]:
    """Every recording rule and alert, as it is in its file."""
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


class AlertAnswer(NamedTuple):
    """A row of the table of alerts in docs/operations.md. `call`: method and path."""

    alert: str
    anchor: str
    page: str
    call: tuple[str, str]


def answers_to_alerts() -> list[AlertAnswer]:
    """The page and the call that answer each alert, as the runbook has them."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[(\w+)\]\(observability\.md#(\w+)\) \| (\S+) \| `([A-Z]+) (\S+)` \| .+ \|$", text, re.MULTILINE
    )
    return [AlertAnswer(alert, anchor, page, (method, path)) for alert, anchor, page, method, path in rows]


def rule_queries() -> list[Query]:
    """Of every recording rule and alert."""
    return [Query(rule.get("record") or rule["alert"], rule["expr"]) for rule in rules()]


def selectors(expression: str) -> set[Selector]:
    """Metrics that an expression reads. ValueError when it is no PromQL."""
    found: set[Selector] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            labels = frozenset(matcher.name for matcher in node.matchers.matchers)
            found.add(Selector(node.name or "", labels))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def grouping(expression: str) -> set[str]:
    """The labels that an expression groups by, in any `by (…)`."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found
