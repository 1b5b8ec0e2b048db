"""Unknown devices and edges keep their data, are listed, and get a place when they are adopted."""

from __future__ import annotations

from typing import Any

import pytest

from core.contracts.log import ActivationEntry
from core.contracts.outputs import Presence
from core.contracts.topology import DeviceFamily
from core.storage.records import accounts, adoptions, devices, quarantine
from core.storage.records.accounts import Who
from core.storage.records.adoptions import Place
from core.storage.series import open_reader
from tests.collector.office import EDGE, FOREVER, NOW, SITE, Office, batch, reading

LEVEL = b'{"kind":"sensor.reading","data":{"quantity":"level","value":1.5,"unit":"m"}}'


def unknown(office: Office) -> dict[str, dict[str, Any]]:
    with office.records.reading() as session:
        items, _ = quarantine.list_unknown(session)
    return {item["id"]: item for item in items}


def adopt(office: Office, name: str, family: str = "meter", node: str = SITE) -> None:
    place = Place(node, DeviceFamily(family), "表", "meter", expect_s=60)
    with office.records.session() as session:
        adoptions.adopt(session, name, place, Who("li", NOW), office.clock.now_ms())


def presence(office: Office, name: str) -> str:
    with office.records.reading() as session:
        _, state = devices.get_device(session, name)
        return Presence.UNKNOWN if state is None else state.presence


def activations(office: Office) -> list[list[str]]:
    return [
        [device["id"] for device in entry.activation.topology["devices"]]
        for entry in office.logged()
        if isinstance(entry, ActivationEntry)
    ]


def test_what_an_unknown_device_says_is_stored_and_it_is_listed_exactly(office: Office) -> None:
    office.batch(batch(reading("ghost", power_w=1), reading("m1"), reading("ghost", power_w=2)))
    office.clock.ms += 5_000
    office.plain("lone", LEVEL)
    office.fold()
    office.restart()  # the engine folds again from its last state: nobody is counted twice
    office.fold()
    assert office.stored() == 4
    found = unknown(office)
    assert found.keys() == {"ghost", "lone"}
    assert found["ghost"] == {
        "id": "ghost", "is_edge": False, "site": SITE, "edge": EDGE,
        "source": f"estate/v1/{SITE}/{EDGE}/batch", "first_seen": NOW, "last_seen": NOW,
        "events": 2, "kinds": {"meter.reading": 2}, "owner": None,
        "sample": {
            "kind": "meter.reading", "at": NOW, "data": {"medium": "electricity", "power_w": 2.0},
        },
    }  # fmt: skip
    assert found["lone"]["source"] == f"estate/v1/{SITE}/lone/event"
    assert (found["lone"]["edge"], found["lone"]["first_seen"]) == (None, NOW + 5_000)


def test_who_speaks_for_anothers_device_is_listed_and_does_not_get_it(office: Office) -> None:
    office.batch(batch(reading("m1", power_w=999_999), edge="edge-9"), edge="edge-9")
    office.fold()
    found = unknown(office)
    assert {name: (item["edge"], item["owner"]) for name, item in found.items()} == {
        "edge-9": ("edge-9", None), "m1": ("edge-9", EDGE),
    }  # fmt: skip
    assert presence(office, "m1") == Presence.UNKNOWN, "no rule takes what he says"
    with pytest.raises(Exception, match="m1 is edge-1's"):
        adopt(office, "m1")
    office.restart()
    adopt(office, "edge-9", "edge")
    office.adoptions.step()
    office.fold()
    assert unknown(office) == {}, "another topology: whoever does it again is listed again"


def test_an_adopted_device_is_known_from_then_on_with_its_past(office: Office) -> None:
    office.batch(batch(reading("ghost", at=NOW - 60_000)))
    office.fold()
    adopt(office, "ghost")
    office.adoptions.step()
    office.adoptions.step()
    assert activations(office) == [["m1"], ["m1", "ghost"]]
    office.fold()
    assert unknown(office) == {}
    assert presence(office, "ghost") == Presence.UNKNOWN
    office.batch(batch(reading("ghost"), seq=2))
    office.fold()
    assert presence(office, "ghost") == Presence.ONLINE
    reader = open_reader(office.settings)
    assert [event.at for event in reader.events("ghost", 0, FOREVER)] == [NOW, NOW - 60_000]
    reader.close()
    with office.records.reading() as session:
        [line] = accounts.list_audit(session, target="device/ghost").items
    assert (line.user, line.action, line.detail["entry"]["node"]) == ("li", "device.adopt", SITE)

    office.restart()
    office.fold()
    assert activations(office) == [["m1"], ["m1", "ghost"]]
    assert presence(office, "ghost") == Presence.ONLINE


def test_an_edge_is_adopted_before_what_it_reads(office: Office) -> None:
    office.batch(batch(reading("ghost"), edge="edge-9"), edge="edge-9")
    office.fold()
    assert {name: item["is_edge"] for name, item in unknown(office).items()} == {
        "edge-9": True, "ghost": False,
    }  # fmt: skip
    with pytest.raises(Exception, match="adopt edge-9 first"):
        adopt(office, "ghost")
    with pytest.raises(Exception, match="its family is edge"):
        adopt(office, "edge-9")
    adopt(office, "edge-9", "edge")
    adopt(office, "ghost")
    office.adoptions.step()
    office.fold()
    office.batch(batch(reading("ghost"), seq=2, edge="edge-9"), edge="edge-9")
    office.fold()
    assert presence(office, "ghost") == Presence.ONLINE
    assert unknown(office) == {}


def test_a_file_that_names_the_device_wins_and_one_without_its_place_is_told(
    office: Office,
) -> None:
    office.batch(batch(reading("ghost"), reading("other")))
    office.fold()
    adopt(office, "ghost")
    adopt(office, "other")
    office.adoptions.step()
    named = {
        **office.tree["devices"][0],
        "id": "ghost",
        "name": {"zh": "文件", "en": "of the file"},
    }
    before = office.tree
    office.tree = {**before, "devices": [*before["devices"], named]}
    office.restart()
    office.fold()
    with office.records.reading() as session:
        row, _ = devices.get_device(session, "ghost")
        ghost, other = adoptions.list_adoptions(session)
    assert row.name_en == "of the file"
    assert (ghost["superseded_at"], other["superseded_at"]) == (NOW, None)
    assert activations(office)[-1] == ["m1", "ghost", "other"]

    office.tree = {**before, "edges": [], "devices": []}
    office.restart()
    office.fold()
    with office.records.reading() as session:
        ghost, other = adoptions.list_adoptions(session)
    assert other["problem"] == "the topology has no edge edge-1 any more"
    assert activations(office)[-1] == []  # what the file has won it may also drop


def test_a_withdrawn_device_is_unknown_again_when_it_speaks(office: Office) -> None:
    office.batch(batch(reading("ghost")))
    office.fold()
    adopt(office, "ghost")
    office.adoptions.step()
    office.fold()
    with office.records.session() as session:
        adoptions.withdraw(session, "ghost", Who("li", NOW))
    office.adoptions.step()
    office.batch(batch(reading("ghost"), seq=2))
    office.fold()
    assert activations(office)[-1] == ["m1"]
    assert unknown(office)["ghost"]["events"] == 1
    assert office.stored() == 2
