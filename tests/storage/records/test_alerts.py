"""Alerts: their lists, and what operators do to them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import text

from core.contracts.alerts import AlertState
from core.contracts.colours import Colour
from core.contracts.errors import ContractError
from core.contracts.outputs import AlertOutput, Output, StepKind, TopologyOutput
from core.storage.records import Records, alerts, changes
from core.storage.records.alerts import Filter, acknowledge, add_comment, alert_view, list_alerts
from core.storage.records.errors import NotFoundError, RevisionConflictError
from core.storage.records.projection import apply
from tests.storage.records.samples import FULL, NOW, raised, rule_side

ID = rule_side().id

FIFTY_THOUSAND = """
WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < 49999)
INSERT INTO alert (
    id, rule, key, site, node, colour, rank, began_at, raised_at, noticed_at, late, revision,
    attention, title_zh, title_en, advice_zh, advice_en, reason, path, cleared_at,
    acknowledged_at, acknowledged_revision
)
SELECT CAST(n AS TEXT), 'r', 'k', 'jinxiu', CASE WHEN n % 100 = 0 THEN 'b1f1' ELSE 'b1' END,
    'red', n % 4 + 1, :now, :now, :now + n, FALSE, 1,
    1, '题', 't', '', '', '{"condition": "occupied and stopped"}', '[]',
    CASE WHEN n % 2 = 1 THEN :now END, CASE WHEN n % 2 = 1 THEN :now END, n % 2
FROM counted
"""


def store(records: Records, *outputs: Output) -> None:
    with records.session() as session:
        apply(session, outputs, NOW)


def keys(records: Records, state: Filter = "all", **filters: Any) -> list[str]:
    with records.reading() as session:
        return [row.key for row in list_alerts(session, state=state, now=NOW, **filters).items]


@pytest.fixture
def estate(records: Records) -> Records:
    """Four alerts: standing, standing and acknowledged, over and unseen, over and late."""
    store(
        records,
        TopologyOutput(NOW, FULL),
        raised("standing", noticed_at=NOW + 1),
        raised("seen", noticed_at=NOW + 2, colour=Colour.ORANGE, node="b1f1"),
        raised("over", noticed_at=NOW + 3, cleared_at=NOW + 3, colour=Colour.YELLOW, node="b2"),
        raised("late", noticed_at=NOW + 4, cleared_at=NOW, late=True, colour=Colour.BLUE),
    )
    with records.session() as session:
        acknowledge(session, rule_side("seen").id, 1, "li", None, NOW)
    return records


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("all", ["late", "over", "seen", "standing"]),
        ("open", ["over", "seen", "standing"]),
        ("standing", ["seen", "standing"]),
        ("unacknowledged", ["over", "standing"]),
        ("history", ["late"]),
    ],
)
def test_lists_by_state_agree_with_the_state_itself(
    estate: Records, state: Filter, expected: list[str]
) -> None:
    assert keys(estate, state) == expected
    with estate.reading() as session:
        rows = list_alerts(session, state="all", now=NOW).items
    states = {row.key: alert_view(row, NOW)["state"] for row in rows}
    unseen = {AlertState.UNACKNOWLEDGED, AlertState.RTN_UNACKNOWLEDGED}
    by_state = {
        "all": set(states),
        "open": {key for key, each in states.items() if each != AlertState.NORMAL},
        "history": {key for key, each in states.items() if each == AlertState.NORMAL},
        "unacknowledged": {key for key, each in states.items() if each in unseen},
        "standing": {row.key for row in rows if row.cleared_at is None},
    }
    assert set(expected) == by_state[state]


def test_lists_by_colour_node_device_and_urgency(estate: Records) -> None:
    assert keys(estate, colour=Colour.ORANGE) == ["seen"]
    assert keys(estate, node="b1") == ["late", "seen", "standing"]
    assert keys(estate, node="b1f1") == ["seen"]
    assert keys(estate, node="street") == keys(estate)
    assert keys(estate, node="nowhere") == []
    assert keys(estate, nodes={"b2", "b1f1"}) == ["over", "seen"]
    assert keys(estate, device="lift-1") == keys(estate)
    assert keys(estate, order="urgency") == ["standing", "seen", "over", "late"]


@pytest.mark.parametrize("order", ["noticed", "urgency"])
def test_pages_are_disjoint_and_complete(records: Records, order: alerts.Order) -> None:
    colours = [Colour.RED, Colour.BLUE, Colour.ORANGE]
    store(
        records,
        *(raised(f"key-{n}", noticed_at=NOW + n // 4, colour=colours[n % 3]) for n in range(23)),
    )
    whole = keys(records, order=order)
    found: list[str] = []
    before: str | None = None
    for _ in range(9):
        with records.reading() as session:
            page = list_alerts(session, state="all", now=NOW, order=order, limit=5, before=before)
        found += [row.key for row in page.items]
        before = page.next
        if before is None:
            break
    assert found == whole
    assert len(set(found)) == 23


@pytest.mark.parametrize("bad", ["", "x", "1", "a.b", "99999999999999999999.id"])
def test_a_key_of_another_list_is_refused(records: Records, bad: str) -> None:
    with records.reading() as session, pytest.raises(ContractError, match="before"):
        list_alerts(session, now=NOW, before=bad)


def test_counts_by_colour_and_the_unacknowledged(estate: Records) -> None:
    with estate.reading() as session:
        counts = alerts.count_alerts(session, now=NOW)
        below = alerts.count_alerts(session, now=NOW, node="b2")
    assert counts.by_colour == {"red": 1, "orange": 1, "yellow": 1, "blue": 0}
    assert counts.unacknowledged == 2
    assert below.by_colour == {"red": 0, "orange": 0, "yellow": 1, "blue": 0}


def test_shelving_ends_by_time(records: Records) -> None:
    store(records, raised())
    with records.session() as session:
        alerts.get_alert(session, ID).shelved_until = NOW + 100
    with records.reading() as session:
        assert list_alerts(session, state="unacknowledged", now=NOW).items == []
        assert len(list_alerts(session, state="unacknowledged", now=NOW + 100).items) == 1


def test_an_acknowledgement_is_a_step_and_a_change(records: Records) -> None:
    store(records, raised())
    with records.session() as session:
        row = acknowledge(session, ID, 1, "li", "on my way", NOW + 7)
        assert alert_view(row, NOW + 7)["state"] == AlertState.ACKNOWLEDGED
    with records.reading() as session:
        steps = [alerts.step_view(step) for step in alerts.steps_of(session, ID)]
        last = changes.changes_since(session, 1)
        assert last[0].payload == alert_view(alerts.get_alert(session, ID), NOW + 7)
    assert steps[-1] == {
        "at": NOW + 7, "kind": "acknowledged", "revision": 1, "by": "li", "text": "on my way",
        "detail": {},
    }  # fmt: skip
    assert last[0].payload["acknowledged_by"] == "li"


def test_acknowledging_again_is_harmless(records: Records) -> None:
    store(records, raised())
    for user in ("li", "wang"):
        with records.session() as session:
            row = acknowledge(session, ID, 1, user, None, NOW)
    assert row.acknowledged_by == "li"
    with records.session() as session:
        acknowledge(session, ID, 1, "wang", "I saw it too", NOW)
    with records.reading() as session:
        kinds = [(step.kind, step.by) for step in alerts.steps_of(session, ID)]
        assert changes.last_seq(session) == 3
    assert kinds[1:] == [("acknowledged", "li"), ("comment", "wang")]


def test_nobody_acknowledges_what_they_have_not_seen(records: Records) -> None:
    worse = rule_side(revision=2, attention=2, colour=Colour.RED, worsened_at=NOW)
    store(records, raised(colour=Colour.ORANGE), AlertOutput(worse, StepKind.WORSENED, NOW))
    with pytest.raises(RevisionConflictError) as refused, records.session() as session:
        acknowledge(session, ID, 1, "li", None, NOW)
    assert (refused.value.seen, refused.value.attention) == (1, 2)
    with pytest.raises(ContractError, match="revision"), records.session() as session:
        acknowledge(session, ID, 3, "li", None, NOW)
    with records.reading() as session:
        row = alerts.get_alert(session, ID)
        assert row.acknowledged_at is None
        assert len(alerts.steps_of(session, ID)) == 2


def test_an_alert_that_worsens_asks_again(records: Records) -> None:
    store(records, raised())
    with records.session() as session:
        acknowledge(session, ID, 1, "li", None, NOW)
    store(records, AlertOutput(rule_side(revision=2, attention=2), StepKind.WORSENED, NOW))
    assert keys(records, "unacknowledged") == ["lift-1"]
    with records.session() as session:
        row = acknowledge(session, ID, 2, "wang", None, NOW + 1)
    assert (row.acknowledged_by, row.acknowledged_revision) == ("wang", 2)


def test_a_revision_that_eased_may_be_acknowledged_by_who_saw_the_worse(records: Records) -> None:
    eased = rule_side(revision=2, attention=1, colour=Colour.YELLOW)
    store(records, raised(), AlertOutput(eased, StepKind.EASED, NOW))
    with records.session() as session:
        assert acknowledge(session, ID, 1, "li", None, NOW).acknowledged_revision == 1
    assert keys(records, "unacknowledged") == []


def test_a_comment(records: Records) -> None:
    store(records, raised())
    with records.session() as session:
        add_comment(session, ID, "doors \x00 forced", "li", NOW)
    with records.reading() as session:
        assert alerts.steps_of(session, ID)[-1].text == "doors \ufffd forced"


def test_an_unknown_alert(records: Records) -> None:
    with pytest.raises(NotFoundError, match="alert"), records.session() as session:
        acknowledge(session, "no-such-alert", 1, "li", None, NOW)
    with pytest.raises(NotFoundError), records.session() as session:
        add_comment(session, "no-such-alert", "text", "li", NOW)


def test_the_first_page_of_fifty_thousand_alerts_comes_quickly(records: Records) -> None:
    with records.session() as session:
        apply(session, [TopologyOutput(NOW, FULL)], NOW)
        session.execute(text(FIFTY_THOUSAND), {"now": NOW})

    def quick(**filters: Any) -> bool:
        for _ in range(20):  # other work on this machine may slow some of the tries
            begun = time.perf_counter()
            with records.reading() as session:
                page = list_alerts(session, now=NOW, limit=100, **filters)
            assert len(page.items) == 100
            if time.perf_counter() - begun < 0.05:
                return True
        return False

    for state in ("open", "standing", "unacknowledged", "all", "history"):
        assert quick(state=state), state
    assert quick(state="open", order="urgency")
    assert quick(state="all", node="b1f1")
    assert quick(state="open", before=f"{NOW + 25_000}.x")
    with records.reading() as session:
        counts = alerts.count_alerts(session, now=NOW)
    assert counts.by_colour["red"] == counts.unacknowledged == 25_000
