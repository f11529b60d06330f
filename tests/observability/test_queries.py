"""Dashboard, rules and alerts ask only for metrics that the services export."""

from __future__ import annotations

import inspect
import json
import pkgutil
from importlib import import_module

import pytest
from prometheus_client import CollectorRegistry

from shared import telemetry
from shared.telemetry import metrics
from tests.support.dashboards import DASHBOARDS, Query, dashboard_queries, grouping, rule_queries, rules, selectors

OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
OF_A_SCRAPE = {"job", "instance"}


def exported() -> dict[str, set[str]]:
    """Sample names and their labels, of every group of instruments the services make."""
    registry = metrics.new_registry("gateway")
    names = [found.name for found in pkgutil.iter_modules(telemetry.__path__)]
    modules = [import_module(f"{telemetry.__name__}.{name}") for name in names]
    groups = [
        group
        for module in modules
        for name, group in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Metrics") and group.__module__ == module.__name__
    ]
    for group in groups:
        group(registry)  # type: ignore[call-arg]  # found by name: mypy takes it for any class
    return _samples(registry)


def _samples(registry: CollectorRegistry) -> dict[str, set[str]]:
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        collector = registry._names_to_collectors.get(family.name)
        labels = set(getattr(collector, "_labelnames", ()))
        for suffix in suffixes[family.type]:
            found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def recorded() -> dict[str, set[str]]:
    """Recorded series and their labels, which their names begin with: `state:…`, `provider_model:…`, `fleet:…`."""
    names = [rule["record"] for rule in rules() if "record" in rule]
    return {name: set(name.split(":")[0].split("_")) - {"fleet"} for name in names}


KNOWN = OF_PROMETHEUS | exported() | recorded()


@pytest.mark.parametrize("query", dashboard_queries() + rule_queries(), ids=lambda query: query.place)
def test_every_query_selects_metrics_and_labels_that_exist(query: Query) -> None:
    """A renamed metric or label would leave an empty panel and an alert that never fires."""
    for selector in selectors(query.expression):
        assert selector.metric in KNOWN, f"nobody exports {selector.metric}"
        assert selector.labels <= KNOWN[selector.metric] | OF_A_SCRAPE


@pytest.mark.parametrize("rule", [rule for rule in rules() if "record" in rule], ids=lambda rule: rule["record"])
def test_a_recorded_name_tells_its_labels(rule: dict[str, str]) -> None:
    """The level in front of a recorded name is exactly the rule's grouping, or the part that it keeps of another
    rule's."""
    if by := grouping(rule["expr"]):
        assert by == recorded()[rule["record"]]


def test_every_own_metric_is_watched() -> None:
    """Every metric that a service exports for its operator is on the dashboard or in a rule, histograms by their
    buckets."""
    read = {s.metric for query in dashboard_queries() + rule_queries() for s in selectors(query.expression)}
    own = {name for name in exported() if name.startswith("presswork_") and not name.endswith(("_count", "_sum"))}
    assert own - read == set()


def test_the_dashboard_names_the_provisioned_source() -> None:
    """Every panel and query asks the data source that provisioning makes, by its uid; panel ids are unique."""
    for path in DASHBOARDS.glob("*.json"):
        panels = json.loads(path.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        sources = [panel["datasource"] for panel in panels if panel["type"] != "row"]
        sources += [target["datasource"] for panel in panels for target in panel.get("targets", [])]
        assert {source["uid"] for source in sources} == {"presswork-prometheus"}
    provisioned = (DASHBOARDS.parent / "provisioning" / "datasources" / "prometheus.yml").read_text()
    assert "uid: presswork-prometheus\n" in provisioned
