"""What the API says of a site whose rules stand still: nothing is known of it any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.contracts.colours import Colour
from core.contracts.outputs import (
    Cause,
    ColourOutput,
    EdgeOutput,
    Presence,
    PresenceOutput,
    TopologyOutput,
)
from core.contracts.topology import Topology
from core.contracts.topology import load as load_topology
from core.storage.records import changes, projection
from core.storage.records.tenure_models import TenureRow
from dashboard_api.system.standstill import STALL_S
from tests.api.harness import NOW, Running, name, running


@dataclass
class Seconds:
    """A monotonic clock that is moved by hand."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Town:
    """An API over two sites, whose rules move when they are told to."""

    run: Running
    seconds: Seconds
    client: httpx.Client
    position: int = 0

    def pass_by(self, seconds: float, *cursors: str) -> None:
        """Let time pass, in which the rules of some logs move on."""
        self.seconds.now += seconds
        self.run.clock.move(seconds=seconds)
        self.position += 1
        with self.run.records.session() as session:
            for cursor in cursors:
                projection.save_cursor(session, cursor, self.position, None)
        health = self.run.app.services.health
        health.forget()
        health.parts()

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(f"/api/v1/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def colours(self) -> dict[str, tuple[str, int]]:
        return {node["id"]: (node["colour"], node["heard"]) for node in self.get("tree")["nodes"]}

    def presence(self, **params: Any) -> dict[str, tuple[str, str | None]]:
        items = self.get("devices", **params)["items"]
        return {item["id"]: (item["presence"], item["cause"]) for item in items}


def topology() -> Topology:
    node = {"name": name("x")}
    site = {**node, "level": "site", "parent": "street", "site_kind": "residential_estate"}
    return load_topology(
        {
            "datum": "wgs84",
            "coverage_minimum": 0.6,
            "nodes": [
                {**node, "id": "street", "level": "street"},
                {**site, "id": "north"},
                {**site, "id": "south"},
            ],
            "edges": [
                {"id": f"{s}-edge", "site": s, "name": name("e")} for s in ("north", "south")
            ],
            "devices": [
                {
                    "id": f"{s}-{n}", "family": "door", "name": name("d"), "node": s,
                    "edge": f"{s}-edge",
                }
                for s in ("north", "south")
                for n in (1, 2)
            ],
        }
    )  # fmt: skip


@pytest.fixture
def town(tmp_path: Path, template: Path) -> Iterator[Town]:
    seconds = Seconds()
    with running(tmp_path, template=template, monotonic=seconds) as run:
        at = NOW - 60_000
        run.apply(
            TopologyOutput(at, topology()),
            *(ColourOutput(s, at, Colour.GREEN, Colour.GREEN, 2, 2) for s in ("north", "south")),
            ColourOutput("street", at, Colour.GREEN, Colour.GREEN, 4, 4),
            *(
                PresenceOutput(f"{s}-{n}", at, Presence.ONLINE, at, None)
                for s in ("north", "south")
                for n in (1, 2)
            ),
            *(
                EdgeOutput(f"{s}-edge", s, at, online=True, drained=True, epoch="epoch-0001")
                for s in ("north", "south")
            ),
        )
        yield Town(run, seconds, run.signed_in())


def test_where_the_rules_stand_still_all_is_grey_and_the_collector_is_the_cause(
    town: Town,
) -> None:
    town.pass_by(1, "rules/log")
    town.pass_by(STALL_S - 1, "rules/log")
    town.pass_by(STALL_S - 1)
    assert set(town.colours().values()) == {("green", 2), ("green", 4)}
    assert set(town.presence().values()) == {("online", None)}
    stood_at = town.run.clock.ms - int((STALL_S - 1) * 1000)
    town.pass_by(2)
    assert town.colours() == {"street": ("grey", 0), "north": ("grey", 0), "south": ("grey", 0)}
    assert town.get("tree")["still"] == {"north": stood_at, "south": stood_at}
    assert set(town.presence().values()) == {("offline", "collector")}
    assert len(town.presence(presence="offline")) == 4
    assert town.presence(presence="online") == {}
    device = town.get("devices/north-1")
    assert (device["cause"], device["presence_since"]) == (Cause.COLLECTOR, stood_at)
    assert [edge["known"] for edge in town.get("edges")] == [False, False]
    counters = town.get("system")["counters"]
    assert (counters["devices_offline"], counters["devices_online"]) == (4, 0)
    town.pass_by(1, "rules/log")
    assert town.colours()["street"] == ("green", 4), "it goes on: what was said holds"
    assert set(town.presence(presence="online").values()) == {("online", None)}
    assert [edge["known"] for edge in town.get("edges")] == [True, True]
    assert town.get("tree")["still"] == {}


def test_of_several_collectors_the_site_of_the_one_that_stands_is_grey(town: Town) -> None:
    with town.run.records.session() as session:
        for site in ("north", "south"):
            session.add(
                TenureRow(
                    site=site, collector=site, wanted=site, term=1, log=f"log-{site}", since=NOW,
                    lanes={},
                )
            )  # fmt: skip
    town.pass_by(1, "rules/log-north", "rules/log-south", "rules/of-before")
    town.pass_by(STALL_S, "rules/log-south")
    assert town.colours() == {"street": ("grey", 2), "north": ("grey", 0), "south": ("green", 2)}
    assert set(town.presence(presence="offline")) == {"north-1", "north-2"}
    assert set(town.presence(presence="online")) == {"south-1", "south-2"}
    rules = next(p for p in town.get("health")["parts"] if p["name"] == "rules")
    assert rules["state"] == "down"
    assert rules["message"].startswith("north: has stood at 1 for 15 s")


def test_a_standstill_and_its_end_are_in_the_live_sequence_once(town: Town) -> None:
    def told() -> list[list[str]]:
        with town.run.records.reading() as session:
            found = changes.changes_since(session, 0)
        return [sorted(c.payload["sites"]) for c in found if c.topic == "standstill"]

    health = town.run.app.services.health
    town.pass_by(1, "rules/log")
    health.tell()
    assert told() == []
    town.pass_by(STALL_S)
    health.tell()
    health.tell()
    assert told() == [["north", "south"]]
    town.pass_by(1, "rules/log")
    health.tell()
    assert told() == [["north", "south"], []]
