"""The dashboards keep to Grafana's own types, and to a few rules of good taste."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.monitoring.dashboards import dashboards, panels, queries, variables

ALL = dashboards()
each = pytest.mark.parametrize("dashboard", ALL.values(), ids=ALL.keys())
# What Prometheus's annotations hold beside what all annotations do: Grafana's types leave such to the data source.
OF_ANNOTATIONS = {"titleFormat", "textFormat", "step"}


def lost(given: Any, kept: Any, where: str = "") -> list[str]:
    """What of `given` isn't in `kept`."""
    if isinstance(given, dict) and isinstance(kept, dict):
        there = [key for key in given if key in kept]
        missing = [f"{where}.{key}" for key in given.keys() - kept.keys() - OF_ANNOTATIONS]
        return missing + [each for key in there for each in lost(given[key], kept[key], f"{where}.{key}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [each for n, pair in enumerate(zip(given, kept, strict=True)) for each in lost(*pair, f"{where}[{n}]")]
    return [] if given == kept else [f"{where}: {given!r} became {kept!r}"]


@each
def test_all_of_a_dashboard_is_known_to_grafana(dashboard: dict[str, Any]) -> None:
    register_default_plugins()
    kept = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    assert lost(dashboard, kept) == []
    assert dashboard["schemaVersion"] == Dashboard().schema_version


def test_what_grafana_does_not_know_would_be_found() -> None:
    dashboard = json.loads(json.dumps(ALL["overview"]))
    dashboard["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    dashboard["panels"][1]["target"] = []
    kept = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    assert set(lost(dashboard, kept)) == {".panels[1].fieldConfig.defaults.units", ".panels[1].target"}


def test_uids_and_titles_are_unique_and_the_four_are_there() -> None:
    assert ALL.keys() == {"overview", "instrument", "storage", "ledger"}
    for name, dashboard in ALL.items():
        assert dashboard["uid"] == f"spillway-{name}"
        assert dashboard["tags"] == ["spillway"] and dashboard["timezone"] == "utc"
        assert "id" not in dashboard, "given by Grafana"
    assert len({dashboard["title"] for dashboard in ALL.values()}) == len(ALL)


@each
def test_venue_symbol_and_data_source_can_be_chosen(dashboard: dict[str, Any]) -> None:
    assert list(variables(dashboard)) == ["datasource", "venue", "symbol"]
    everything = json.dumps(dashboard["panels"])
    assert '"uid": "${datasource}"' in everything
    for panel in panels(dashboard):
        assert {source["uid"] for source in [panel["datasource"], *(t["datasource"] for t in panel["targets"])]} == {
            "${datasource}"
        }


@each
def test_each_panel_asks_something_has_a_unit_and_a_name_of_its_own_in_its_row(dashboard: dict[str, Any]) -> None:
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    for panel in panels(dashboard):
        assert panel["title"] and panel["targets"], panel["id"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        if panel["type"] in {"timeseries", "bargauge"}:
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    assert all(expr.strip() for _, expr in queries(dashboard))


@each
def test_panels_lie_on_the_grid_and_not_on_each_other(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(place["x"] + place["w"] <= 24 and place["w"] > 0 and place["h"] > 0 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
