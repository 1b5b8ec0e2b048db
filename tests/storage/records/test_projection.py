"""The projection: whatever the rules say, once or again, leaves the same rows."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.alerts import AlertState
from core.contracts.colours import Colour
from core.contracts.outputs import (
    AlertOutput,
    ColourOutput,
    EdgeOutput,
    LossOutput,
    Output,
    Presence,
    PresenceOutput,
    StepKind,
    TopologyOutput,
)
from core.storage.records import Records, alerts, changes, devices, refusals, tree
from core.storage.records.projection import apply, cursor, save_cursor
from tests.storage.records.samples import (
    FULL,
    NOW,
    SMALLER,
    everything,
    outputs,
    raised,
    rule_side,
    wipe,
)

PROPERTY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def store(records: Records, *lists: list[Output]) -> None:
    for each in lists:
        with records.session() as session:
            apply(session, each, NOW)


def stored(records: Records) -> dict[str, Any]:
    with records.reading() as session:
        return everything(session)


def told(records: Records, since: int = 0) -> list[changes.LiveChange]:
    with records.reading() as session:
        return changes.changes_since(session, since)


@PROPERTY
@given(outputs(), st.integers(0, 14), st.integers(0, 14))
def test_outputs_again_from_any_cut_and_in_any_batches_leave_the_same_rows(
    records: Records, said: list[Output], cut: int, split: int
) -> None:
    with records.session() as session:
        wipe(session)
    store(records, said)
    once = stored(records)
    store(records, said[cut:])
    assert stored(records) == once
    store(records, said)
    assert stored(records) == once
    with records.session() as session:
        wipe(session)
    store(records, said[:split], said[split:])
    assert stored(records) == once


@PROPERTY
@given(outputs(stable=True), st.integers(0, 14))
def test_outputs_again_tell_nothing_new(records: Records, said: list[Output], cut: int) -> None:
    with records.session() as session:
        wipe(session)
    store(records, [TopologyOutput(NOW, FULL), *said])
    before = told(records)
    store(records, said[cut:], [TopologyOutput(NOW, FULL), *said])
    assert told(records) == before


def test_an_alert_is_stored_with_its_path_and_told_as_the_interface_shows_it(
    records: Records,
) -> None:
    store(records, [TopologyOutput(NOW, FULL), raised()])
    (live,) = [change for change in told(records) if change.topic == "alert"]
    with records.reading() as session:
        view = alerts.alert_view(alerts.get_alert(session, rule_side().id), NOW)
    assert live.payload == view
    assert view["state"] == AlertState.UNACKNOWLEDGED
    assert view["title"] == {"zh": "有人被困", "en": "Somebody is trapped"}
    assert view["reason"]["values"] == {"floor": 7}
    assert [step["id"] for step in view["path"]] == ["street", "comm", "jinxiu", "b1"]
    assert view["path"][2] == {
        "id": "jinxiu",
        "level": "site",
        "name": {"zh": "金绣家园", "en": "Jinxiu Garden"},
    }


def test_a_burst_of_revisions_is_one_change_and_every_step(records: Records) -> None:
    cleared = rule_side(revision=3, attention=2, cleared_at=NOW)
    store(
        records,
        [
            raised(colour=Colour.ORANGE),
            AlertOutput(rule_side(revision=2, attention=2), StepKind.WORSENED, NOW - 10),
            AlertOutput(cleared, StepKind.CLEARED, NOW),
        ],
    )
    (live,) = told(records)
    assert live.payload["revision"] == 3
    assert live.payload["state"] == AlertState.RTN_UNACKNOWLEDGED
    with records.reading() as session:
        steps = alerts.steps_of(session, cleared.id)
    assert [(step.kind, step.revision) for step in steps] == [
        ("raised", 1),
        ("worsened", 2),
        ("cleared", 3),
    ]


def test_the_rules_never_touch_what_operators_wrote(records: Records) -> None:
    store(records, [raised()])
    with records.session() as session:
        alerts.acknowledge(session, rule_side().id, 1, "li", "on my way", NOW)
    store(records, [AlertOutput(rule_side(revision=2, cleared_at=NOW), StepKind.CLEARED, NOW)])
    with records.reading() as session:
        row = alerts.get_alert(session, rule_side().id)
    assert (row.acknowledged_by, row.acknowledged_at, row.acknowledged_revision) == ("li", NOW, 1)
    assert alerts.alert_view(row, NOW)["state"] == AlertState.NORMAL


def test_a_new_topology_keeps_what_it_still_has_and_forgets_the_rest(records: Records) -> None:
    store(
        records,
        [
            TopologyOutput(NOW, FULL),
            ColourOutput("b1", NOW, Colour.RED, Colour.RED, 2, 2),
            ColourOutput("b2", NOW, Colour.GREEN, Colour.GREEN, 1, 1),
            PresenceOutput("lift-1", NOW, Presence.ONLINE, NOW, None),
            PresenceOutput("lift-2", NOW, Presence.LATE, NOW, None),
            EdgeOutput("edge-2", "jinxiu", NOW, online=True, drained=True, epoch="epoch-01"),
        ],
        [TopologyOutput(NOW + 1, SMALLER)],
    )
    with records.reading() as session:
        view = tree.tree_view(session)
        found = devices.list_devices(session).items
        edges = devices.list_edges(session)
        past = devices.colour_history(session, "b2", 0, NOW + 1)
    assert {node["id"]: node["colour"] for node in view["nodes"]} == {
        "street": "grey", "comm": "grey", "jinxiu": "grey", "b1": "red", "b1f1": "grey",
    }  # fmt: skip
    assert [(item["id"], item["presence"]) for item in found] == [
        ("door-1", "unknown"),
        ("lift-1", "online"),
        ("meter-1", "unknown"),
    ]
    assert [edge["id"] for edge in edges] == ["edge-1"]
    assert [step["colour"] for step in past] == ["green"]
    assert told(records)[-1].topic == "topology"


def test_the_same_topology_again_is_no_change(records: Records) -> None:
    store(records, [TopologyOutput(NOW, FULL)])
    before = told(records)
    store(records, [TopologyOutput(NOW + 5, FULL)])
    assert told(records) == before
    with records.reading() as session:
        meta = tree.topology_meta(session)
    assert meta is not None
    assert meta.at == NOW + 5


def test_an_edge_since_when_it_is_so_and_its_backlog(records: Records) -> None:
    def said(at: int, *, online: bool, drained: bool, backlog: int | None = None) -> EdgeOutput:
        return EdgeOutput("edge-1", "jinxiu", at, online, drained, "epoch-01", backlog)

    def edge() -> dict[str, Any]:
        with records.reading() as session:
            return devices.list_edges(session)[0]

    store(records, [TopologyOutput(NOW, FULL)])
    assert (edge()["online"], edge()["since"], edge()["backlog"]) == (False, None, None)
    store(records, [said(NOW + 1, online=True, drained=False, backlog=40)])
    assert (edge()["online"], edge()["since"], edge()["backlog"]) == (True, NOW + 1, 40)
    store(records, [said(NOW + 2, online=True, drained=True)])
    assert (edge()["drained"], edge()["since"], edge()["backlog"]) == (True, NOW + 1, 0)
    store(records, [said(NOW + 3, online=False, drained=False)])
    assert (edge()["online"], edge()["since"], edge()["devices"]) == (False, NOW + 3, 2)


def test_losses_are_listed_newest_first(records: Records) -> None:
    losses: list[Output] = [
        LossOutput(pos, 0, NOW, "jinxiu", "edge-1", "epoch-01", "reading", 1, 9, events, "budget")
        for pos, events in ((5, 12), (9, None), (7, 3))
    ]
    store(records, losses, losses)
    with records.reading() as session:
        first = refusals.list_losses(session, limit=2)
        second = refusals.list_losses(session, limit=2, before=first.next)
    assert [item["pos"] for item in first.items + second.items] == [9, 7, 5]
    assert first.items[0]["events"] is None
    assert second.next is None


def test_a_cursor_is_stored_with_its_snapshot(records: Records) -> None:
    with records.session() as session:
        assert cursor(session, "rules") == (0, None)
        save_cursor(session, "rules", 17, b"\x00snapshot")
        save_cursor(session, "series", 3, None)
        save_cursor(session, "series", 4, None)
    with records.reading() as session:
        assert cursor(session, "rules") == (17, b"\x00snapshot")
        assert cursor(session, "series") == (4, None)


def test_thousands_of_outputs_go_through_in_one_transaction(records: Records) -> None:
    many: list[Output] = [raised(f"key-{n}") for n in range(3_000)]
    many += [PresenceOutput(f"device-{n}", NOW, Presence.ONLINE, NOW, None) for n in range(3_000)]
    store(records, many)
    with records.reading() as session:
        assert changes.last_seq(session) == 6_000
        assert alerts.count_alerts(session, now=NOW).by_colour["red"] == 3_000
