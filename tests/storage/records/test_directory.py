"""Tree, devices, dead letters, processes, jobs and counters, as they are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.contracts.colours import Colour
from core.contracts.errors import ContractError
from core.contracts.outputs import (
    Cause,
    ColourOutput,
    Presence,
    PresenceOutput,
    TopologyOutput,
)
from core.storage.records import Records, changes, counters, devices, processes, refusals, tree
from core.storage.records.errors import NotFoundError
from core.storage.records.projection import apply
from core.storage.records.refusals import DeadLetter
from tests.storage.records.samples import DEVICES, FULL, NOW


@pytest.fixture
def estate(records: Records) -> Records:
    """The topology, with two devices heard and one colour."""
    with records.session() as session:
        apply(
            session,
            [
                TopologyOutput(NOW, FULL),
                PresenceOutput("lift-1", NOW, Presence.ONLINE, NOW, None),
                PresenceOutput("lift-2", NOW, Presence.OFFLINE, NOW - 9, Cause.EDGE),
                ColourOutput("b1", NOW + 1, Colour.BLUE, Colour.BLUE, 1, 2),
                ColourOutput("b1", NOW + 5, Colour.GREY, Colour.BLUE, 0, 2),
            ],
            NOW,
        )
    return records


def test_the_tree_lists_parents_first_with_colours(estate: Records) -> None:
    with estate.reading() as session:
        view = tree.tree_view(session)
    ids = [node["id"] for node in view["nodes"]]
    assert ids == ["street", "comm", "jinxiu", "b1", "b1f1", "b2"]
    assert (view["datum"], view["coverage_minimum"]) == ("wgs84", 0.5)
    assert view["groups"] == [
        {"id": "towers", "name": {"zh": "楼群", "en": "Towers"}, "members": ["b1"]}
    ]
    by_id = {node["id"]: node for node in view["nodes"]}
    assert by_id["b1"] | {"name": None} == {
        "id": "b1", "level": "building", "parent": "jinxiu", "site": "jinxiu", "name": None,
        "site_kind": None, "geometry": None, "occupants": None, "number": None,
        "colour": "grey", "alert_colour": "blue", "heard": 0, "total": 2,
    }  # fmt: skip
    assert (by_id["b1f1"]["occupants"], by_id["b1f1"]["number"]) == (12, -1)
    assert by_id["jinxiu"]["geometry"]["outline"][1] == [121.1, 31]


def test_without_a_topology_the_tree_is_empty(records: Records) -> None:
    with records.reading() as session:
        assert tree.tree_view(session) == {
            "datum": None, "coverage_minimum": None, "nodes": [], "groups": [],
        }  # fmt: skip
        with pytest.raises(NotFoundError):
            tree.get_node(session, "b1")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, sorted(DEVICES)),
        ({"node": "b1"}, ["door-1", "lift-1"]),
        ({"family": "elevator"}, ["lift-1", "lift-2"]),
        ({"presence": "online"}, ["lift-1"]),
        ({"presence": "unknown"}, ["door-1", "meter-1"]),
        ({"q": "LIFT"}, ["lift-1", "lift-2"]),
        ({"q": "设备door"}, ["door-1"]),
        ({"q": "%"}, []),
        ({"q": "\x00"}, []),
        ({"node": "street", "family": "elevator", "presence": "offline"}, ["lift-2"]),
    ],
)
def test_devices_by_every_filter(
    estate: Records, filters: dict[str, str], expected: list[str]
) -> None:
    with estate.reading() as session:
        page = devices.list_devices(session, **filters)  # type: ignore[arg-type]
    assert [item["id"] for item in page.items] == expected
    assert page.next is None


def test_devices_in_pages(estate: Records) -> None:
    with estate.reading() as session:
        first = devices.list_devices(session, limit=3)
        second = devices.list_devices(session, limit=3, after=first.next)
    assert [item["id"] for item in first.items + second.items] == sorted(DEVICES)
    assert second.next is None


def test_one_device(estate: Records) -> None:
    with estate.reading() as session:
        view = devices.device_view(*devices.get_device(session, "lift-2"))
        with pytest.raises(NotFoundError, match="device"):
            devices.get_device(session, "nothing")
        assert devices.count_presence(session) == {
            "unknown": 2, "online": 1, "late": 0, "offline": 1,
        }  # fmt: skip
    assert (view["presence"], view["last_heard"], view["cause"]) == ("offline", NOW - 9, "edge")
    assert view["presence_since"] == NOW
    assert (view["edge"], view["site"], view["limits"]) == ("edge-2", "jinxiu", {})


def test_when_a_device_that_is_online_was_last_heard_is_not_in_the_records(
    estate: Records,
) -> None:
    with estate.reading() as session:
        view = devices.device_view(*devices.get_device(session, "lift-1"))
        never = devices.device_view(*devices.get_device(session, "door-1"))
    assert (view["presence_since"], view["last_heard"]) == (NOW, None)
    assert (never["presence_since"], never["last_heard"]) == (None, None)


def test_a_presence_lasts_while_its_cause_or_the_learned_interval_change(estate: Records) -> None:
    def since(*outputs: PresenceOutput) -> tuple[int | None, str | None]:
        with estate.session() as session:
            apply(session, outputs, NOW)
        with estate.reading() as session:
            view = devices.device_view(*devices.get_device(session, "lift-2"))
        return view["presence_since"], view["cause"]

    heard = NOW - 9
    offline, online = Presence.OFFLINE, Presence.ONLINE
    assert since(PresenceOutput("lift-2", NOW + 5, offline, heard, Cause.BROKER)) == (NOW, "broker")
    assert since(
        PresenceOutput("lift-2", NOW + 6, online, NOW + 6, None),
        PresenceOutput("lift-2", NOW + 7, offline, NOW + 6, Cause.DEVICE),
    ) == (NOW + 7, "device")
    assert since(
        PresenceOutput("lift-2", NOW + 8, online, NOW + 8, None),
        PresenceOutput("lift-2", NOW + 9, online, NOW + 9, None, 5_000),
    ) == (NOW + 8, None)


def test_the_colours_of_the_past_begin_with_the_one_that_held(estate: Records) -> None:
    with estate.reading() as session:
        whole = devices.colour_history(session, "b1", NOW, NOW + 6)
        later = devices.colour_history(session, "b1", NOW + 3, NOW + 5)
    assert [(step["at"] - NOW, step["colour"]) for step in whole] == [(1, "blue"), (5, "grey")]
    assert [(step["at"] - NOW, step["heard"]) for step in later] == [(1, 1)]


def test_the_colours_of_the_past_are_trimmed_but_for_the_one_that_holds(estate: Records) -> None:
    with estate.session() as session:
        assert devices.trim_colour_history(session, NOW + 100) == 1
    with estate.reading() as session:
        left = devices.colour_history(session, "b1", 0, NOW + 100)
    assert [step["at"] - NOW for step in left] == [5]


def letter(pos: int, index: int = 0, **fields: str) -> DeadLetter:
    return DeadLetter(
        pos, index, NOW + pos, "batch/jinxiu/edge-1/epoch-01/event", "not a number",
        "data.power_w", b'{"power_w": "\xff"}', "jinxiu", **fields,
    )  # fmt: skip


def test_dead_letters_are_stored_once_counted_and_told(records: Records) -> None:
    letters = [letter(3), letter(3, 1), letter(4)]
    with records.session() as session:
        assert refusals.add_dead_letters(session, [*letters, letters[0]], NOW) == 3
        assert refusals.add_dead_letters(session, letters, NOW) == 0
        assert refusals.add_dead_letters(session, [letter(3, log="second")], NOW) == 1
    with records.reading() as session:
        assert counters.read_all(session)[counters.DEAD_LETTERS] == 4
        live = changes.changes_since(session, 0)
        items = refusals.list_dead_letters(session).items
    assert [(item.topic, item.ref, item.payload["added"]) for item in live] == [
        ("deadletter", "4-0", 3),
        ("deadletter", "second-3-0", 1),
    ]
    assert items[0] == {
        "id": "4-0", "pos": 4, "index": 0, "at": NOW + 4, "site": "jinxiu",
        "source": "batch/jinxiu/edge-1/epoch-01/event", "reason": "not a number",
        "field": "data.power_w", "size": 16, "raw": '{"power_w": "\ufffd"}',
        "state": "dead", "replayable": False, "asked_at": None, "asked_by": None, "why": None,
        "problem": None, "replayed_at": None, "replayed_by": None, "replayed_as": None,
        "discarded_at": None, "discarded_by": None,
    }  # fmt: skip


def test_dead_letters_in_pages_and_within_their_cap(records: Records) -> None:
    with records.session() as session:
        refusals.add_dead_letters(
            session, [letter(pos, i) for pos in range(5) for i in (0, 1)], NOW
        )
    with records.reading() as session:
        first = refusals.list_dead_letters(session, limit=6)
        second = refusals.list_dead_letters(session, limit=6, before=first.next)
        with pytest.raises(ContractError):
            refusals.list_dead_letters(session, before="4-0")
    assert [item["id"] for item in first.items + second.items] == [
        f"{pos}-{index}" for pos in (4, 3, 2, 1, 0) for index in (1, 0)
    ]
    with records.session() as session:
        assert refusals.cap_dead_letters(session, 4) == 6
        assert refusals.cap_dead_letters(session, 4) == 0
        assert refusals.count_dead_letters(session) == 4
        assert counters.read_all(session)[counters.DEAD_LETTERS_TRIMMED] == 6


def test_dead_letters_are_ordered_by_when_they_were_noted(records: Records) -> None:
    """A device's clock may be of 1970, or of 2036."""
    years = (replace(letter(0), at=NOW + 10**12), letter(1), replace(letter(2), at=0))
    with records.session() as session:
        for noted, row in enumerate(years):
            refusals.add_dead_letters(session, [row], NOW + noted)
    with records.reading() as session:
        first = refusals.list_dead_letters(session, limit=1)
        rest = refusals.list_dead_letters(session, before=first.next)
        found = refusals.fresh_dead_letters(session, NOW + 1)
        assert refusals.fresh_dead_letters(session, NOW + 3) is None
    assert [item["id"] for item in first.items + rest.items] == ["2-0", "1-0", "0-0"]
    assert found is not None
    assert (found.count, found.first, found.last.id) == (2, NOW + 1, "2-0")
    with records.session() as session:
        assert refusals.cap_dead_letters(session, 1) == 2
        assert [item["id"] for item in refusals.list_dead_letters(session).items] == ["2-0"]


def test_a_process_is_told_when_it_changes(records: Records) -> None:
    for state in ("starting", "running", "running"):
        with records.session() as session:
            processes.set_process(session, "collector", state, 42, 0, NOW)
    with records.session() as session:
        processes.set_process(session, "edge:old", "stopped", None, 3, NOW, "ended")
        assert processes.forget_processes(session, {"collector"}) == 1
    with records.reading() as session:
        live = [(c.topic, c.payload["state"]) for c in changes.changes_since(session, 0)]
        assert processes.list_processes(session) == [
            {"name": "collector", "state": "running", "pid": 42, "restarts": 0, "since": NOW,
             "message": ""},
        ]  # fmt: skip
    assert live == [("process", "starting"), ("process", "running"), ("process", "stopped")]


def test_jobs_tell_how_they_went(records: Records) -> None:
    with records.session() as session:
        processes.record_job(session, "trim", NOW, NOW + 1, ok=True, message="3 removed")
        processes.record_job(session, "trim", NOW + 2, NOW + 3, ok=False, message="disk full")
    with records.reading() as session:
        (job,) = processes.list_jobs(session)
    assert job == {
        "name": "trim", "started_at": NOW + 2, "finished_at": NOW + 3, "ok": False,
        "message": "disk full", "runs": 2, "failures": 1,
    }  # fmt: skip
