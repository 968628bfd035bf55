"""Recording and alert rules: Prometheus takes them, each alert fires and clears, and each says what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from spillway.cli import app
from tests.monitoring.prometheus import CONFIG, ROOT, RULES, promtool, rules

RUNBOOK = ROOT / "docs" / "runbook.md"
UNIT_TESTS = ROOT / "config" / "prometheus" / "alerts_test.yml"
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}
each_alert = pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS.keys())


def test_prometheus_takes_configuration_and_rules() -> None:
    promtool("check", "config", CONFIG)
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_each_alert_fires_and_clears_where_its_unit_test_says() -> None:
    promtool("test", "rules", UNIT_TESTS)


def test_each_alert_has_a_unit_test_in_which_it_is_quiet_fires_and_clears() -> None:
    told: dict[str, list[int]] = {}
    for case in yaml.safe_load(UNIT_TESTS.read_text())["tests"]:
        (expr,) = {check["expr"] for check in case["promql_expr_test"]}
        (name,) = re.findall(r'alertname="(\w+)"', expr)
        assert case["name"].split(":")[0] == name
        told[name] = [len(check.get("exp_samples", [])) for check in case["promql_expr_test"]]
        assert told[name] == [0, 1, 0], name
    assert told.keys() == ALERTS.keys()


@each_alert
def test_an_alert_says_how_urgent_it_is_and_what_is_wrong(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "warning"}
    told = alert["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert 10 < len(told["summary"]) < 100 and len(told["description"]) > 20
    assert told["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_each_alert_has_a_section_in_the_runbook_and_each_section_an_alert() -> None:
    sections = re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    bodies = {section.split("\n", 1)[0]: section.split("\n", 1)[1].strip() for section in sections}
    assert bodies.keys() == ALERTS.keys()
    assert list(bodies) == list(ALERTS), "in the rules' order"
    for name, body in bodies.items():
        assert len(body) > 80, name


def test_each_command_that_the_runbook_names_is_there_with_its_options() -> None:
    named = set(re.findall(r"`spillway ([a-z]+)((?: [a-z]+)?)([^`]*)`", re.sub(r"\s+", " ", RUNBOOK.read_text())))
    assert {"spill", "compact", "verify", "backfill", "gaps", "ledger", "status", "doctor"} <= {name for name, _, _ in named}
    for name, sub, options in sorted(named):
        help_text = CliRunner().invoke(app, [name, *sub.split(), "--help"], env={"COLUMNS": "200"}).output
        assert "Usage" in help_text, (name, sub)
        assert [option for option in re.findall(r"--[a-z-]+", options) if option not in help_text] == [], (name, sub)


def test_each_recorded_series_is_named_by_level_metric_and_operation() -> None:
    for name in RECORDED:
        assert re.fullmatch(r"(instrument|venue|folder|spillway):[a-z_]+:[a-z0-9_]+", name), name


def test_what_is_recorded_is_read_by_an_alert_or_a_dashboard() -> None:
    readers = "".join(rule["expr"] for rule in ALERTS.values())
    readers += "".join(path.read_text() for path in (ROOT / "grafana" / "dashboards").glob("*.json"))
    assert [name for name in RECORDED if name not in readers] == []
