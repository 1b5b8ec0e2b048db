"""The Grafana dashboard: every query of it is asked of a real InfluxDB, and finds something."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from core.contracts.codec import FIELDS
from core.contracts.events import KINDS
from core.runtime.settings import InfluxSettings
from core.storage.series import InfluxWriter
from tests.servers import Server
from tests.storage.series.support import BASE, HOUR, StandingClock, door, entry, lift, meter, point

FOLDER = Path(__file__).parents[3] / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads(
    (FOLDER / "dashboards" / "estate-series.json").read_text(encoding="utf-8")
)
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
FAULT = {"fault": "door_close", "active": True, "raw_code": "02"}
TARGETS = [
    (f"{panel['title']} {target['refId']}", target["query"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


def substituted(query: str, values: dict[str, str]) -> str:
    """Put in what Grafana would."""
    query = query.replace(
        "$timeFilter", f"time >= {BASE}ms AND time <= {BASE + 6 * HOUR}ms"
    ).replace("$__interval", "10m")
    for name, value in values.items():
        query = query.replace(f"${{{name}:regex}}", value)
    assert "$" not in query.replace("$/", "/"), query
    return query


@pytest.fixture(scope="module")
def filled(influxdb: Server) -> Iterator[tuple[str, str]]:
    """A database that holds what the dashboard shows, and what it shall not mix in."""
    database = "estate_grafana"
    settings = InfluxSettings(url=influxdb.url, database=database)
    writer = InfluxWriter(settings, clock=StandingClock(), sync_s=0)
    writer.open()
    points = [door("d9", BASE)]
    for hour in range(4):
        at = BASE + hour * HOUR
        points += [
            meter("m1", at, 100.0 + hour, energy_kwh=10.0 + hour, voltage_l1_v=230.0),
            lift("l1", at, 3, moving=True, load_kg=300.0),
            door("d1", at + 1, person="p"),
            point("access.denied", "d1", at + 2, {"reason": "no_permission"}),
            point("access.forced", "d1", at + 3, {}),
            point("access.held_open", "d1", at + 4, {"open_s": 60.0}),
            point(
                "elevator.fault",
                "l1",
                at + 5,
                {"fault": "door_close", "active": True, "raw_code": "02"},
            ),
        ]
    assert writer.write(entry(1, *points), 1) == []
    writer.close()
    yield influxdb.url, database
    httpx.post(f"{influxdb.url}/query", params={"q": f'DROP DATABASE "{database}"'})


def ask(where: tuple[str, str], query: str) -> list[dict[str, Any]]:
    url, database = where
    answer = httpx.get(f"{url}/query", params={"db": database, "q": query, "epoch": "ms"}).json()
    (result,) = answer["results"]
    assert "error" not in result, (query, result)
    found: list[dict[str, Any]] = result.get("series", [])
    return found


@pytest.mark.influxdb
@pytest.mark.parametrize(("name", "query"), TARGETS, ids=[name for name, _ in TARGETS])
def test_every_panel_finds_something(filled: tuple[str, str], name: str, query: str) -> None:
    everything = dict.fromkeys(["site", "meter", "lift"], ".*")
    series = ask(filled, substituted(query, everything))
    assert any(row[1] is not None for one in series for row in one["values"]), name
    assert not any("estate_cursor" in one["name"] for one in series)
    chosen = {"site": "jinxiu", "meter": "m1", "lift": "l1"}
    assert ask(filled, substituted(query, chosen))
    assert not ask(filled, substituted(query, {**chosen, "site": "another"})), (
        "sites are kept apart"
    )


@pytest.mark.influxdb
def test_the_variables_list_sites_and_devices(filled: tuple[str, str]) -> None:
    found = {
        variable["name"]: {
            row[1]
            for series in ask(filled, substituted(variable["query"], {"site": ".*"}))
            for row in series["values"]
        }
        for variable in VARIABLES
    }
    assert found == {"site": {"jinxiu"}, "meter": {"m1"}, "lift": {"l1"}}


def test_panels_name_kinds_and_fields_that_exist() -> None:
    assert len(TARGETS) == 10
    for name, query in TARGETS:
        for kind in re.findall(r'FROM "([^"]+)"', query):
            assert kind in KINDS, name
            fields = set(re.findall(r'\("(\w+)"\)', query)) - {"seen"}
            assert fields <= set(FIELDS[kind]), name


def test_the_provisioned_source_is_the_dashboards() -> None:
    source = yaml.safe_load(
        (FOLDER / "provisioning" / "datasources" / "estate.yaml").read_text(encoding="utf-8")
    )["datasources"][0]
    provider = yaml.safe_load(
        (FOLDER / "provisioning" / "dashboards" / "estate.yaml").read_text(encoding="utf-8")
    )["providers"][0]
    assert provider["type"] == "file"
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
    assert used | {variable["datasource"]["uid"] for variable in VARIABLES} == {source["uid"]}
    assert source["type"] == "influxdb"
