"""Colours, lanes, levels, topics and alert states: the small closed sets."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import topics
from core.contracts.alerts import AlertState, OperatorSide, RuleSide, alert_id, state_at
from core.contracts.colours import TOKENS, Colour, worst
from core.contracts.events import KINDS, Lane
from core.contracts.topology import Level
from tests.contracts.strategies import IDS


def test_colours_have_an_order_and_a_meaning() -> None:
    assert sorted(Colour, key=lambda c: c.rank) == list(Colour)
    assert [c for c in Colour if c.is_alert] == ["blue", "yellow", "orange", "red"]
    assert [TOKENS[c].level for c in Colour] == [None, None, 4, 3, 2, 1]
    assert set(TOKENS) == set(Colour)
    for colour, token in TOKENS.items():
        assert token.colour is colour
        assert all(re.fullmatch("#[0-9a-f]{6}", value) for value in (token.dark, token.light))
        assert token.name_en
        assert token.name_zh
        assert token.meaning_en
        assert token.meaning_zh
    assert len({token.symbol for token in TOKENS.values()}) == len(Colour)


@given(st.lists(st.sampled_from(list(Colour))))
def test_worst_is_the_most_urgent(colours: list[Colour]) -> None:
    result = worst(colours)
    assert all(colour.rank <= result.rank for colour in colours)
    assert result in colours or (not colours and result is Colour.GREEN)


def _luminance(value: str) -> float:
    channels = [int(value[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", list(Colour))
def test_tokens_stand_out_on_their_surfaces(colour: Colour) -> None:
    for value, surface in ((TOKENS[colour].dark, "#141414"), (TOKENS[colour].light, "#ffffff")):
        one, other = sorted((_luminance(value), _luminance(surface)))
        assert (other + 0.05) / (one + 0.05) >= 3


def test_lanes_and_levels_are_ordered() -> None:
    assert [lane.priority for lane in Lane] == [0, 1, 2, 3, 4]
    assert [lane.value for lane in Lane] == ["urgent", "event", "state", "reading", "media"]
    assert [level.depth for level in Level] == list(range(7))
    assert all(spec.lane is not Lane.MEDIA for spec in KINDS.values())


@given(IDS, IDS)
def test_topics_are_read_back(site: str, sender: str) -> None:
    for build, pattern in (
        (topics.batch, topics.ALL_BATCHES),
        (topics.status, topics.ALL_STATUS),
        (topics.plain_event, topics.ALL_EVENTS),
        (topics.receipt, f"{topics.ROOT}/+/+/receipt"),
        (topics.command, f"{topics.ROOT}/+/+/command"),
        (topics.reply, f"{topics.ROOT}/+/+/reply"),
        (topics.alert, topics.ALL_ALERTS),
    ):
        topic = build(site, sender)
        levels, wanted = topic.split("/"), pattern.split("/")
        assert len(levels) == len(wanted)
        assert all(want in ("+", level) for level, want in zip(levels, wanted, strict=True))
    assert topics.address(topics.batch(site, sender)) == topics.Address(site, sender)
    assert topics.colour(site).split("/")[2] == site


@pytest.mark.parametrize("topic", ["", "estate/v1/a/b", "estate/v1/a/b/batch/x", "x/v1/a/b/batch"])
def test_other_topics_have_no_address(topic: str) -> None:
    assert topics.address(topic) is None


def _alert(*, late: bool, cleared: bool, attention: int = 3) -> RuleSide:
    return RuleSide(
        id="a", rule="r", key="k", site="s", node="n", device=None, colour=Colour.RED, began_at=1,
        raised_at=2, noticed_at=3, revision=4, attention=attention, late=late,
        cleared_at=9 if cleared else None,
    )  # fmt: skip


SHELVES = (None, 99, 100, 101)
#: acknowledged at, revision that the acknowledgement saw
ACKNOWLEDGEMENTS = ((None, 0), (50, 2), (50, 3), (50, 4))


@pytest.mark.parametrize(
    ("out", "suppressed", "shelf", "acknowledgement", "late", "cleared"),
    list(itertools.product((False, True), (False, True), SHELVES, ACKNOWLEDGEMENTS,
                           (False, True), (False, True))),
)  # fmt: skip
def test_every_combination_has_its_state(
    out: bool, suppressed: bool, shelf: int | None, acknowledgement: tuple[int | None, int],
    late: bool, cleared: bool,
) -> None:  # fmt: skip
    at, revision = acknowledgement
    operator = OperatorSide(
        acknowledged_at=at, acknowledged_revision=revision,
        shelved_until=shelf, suppressed=suppressed, out_of_service=out,
    )  # fmt: skip
    state = state_at(_alert(late=late, cleared=cleared), operator, now=100)
    seen = late or revision >= 3
    if out:
        expected = AlertState.OUT_OF_SERVICE
    elif suppressed:
        expected = AlertState.SUPPRESSED
    elif shelf == 101:
        expected = AlertState.SHELVED
    else:
        expected = {
            (False, False): AlertState.UNACKNOWLEDGED,
            (False, True): AlertState.ACKNOWLEDGED,
            (True, False): AlertState.RTN_UNACKNOWLEDGED,
            (True, True): AlertState.NORMAL,
        }[cleared, seen]
    assert state is expected


def test_worsening_asks_again() -> None:
    operator = OperatorSide(acknowledged_at=5, acknowledged_by="li", acknowledged_revision=1)
    before = _alert(late=False, cleared=False, attention=1)
    after = _alert(late=False, cleared=False, attention=2)
    assert state_at(before, operator, 10) is AlertState.ACKNOWLEDGED
    assert state_at(after, operator, 10) is AlertState.UNACKNOWLEDGED


def test_an_alert_id_is_frozen() -> None:
    assert alert_id("r", "k", "e1/ep/event/4/0") == alert_id("r", "k", "e1/ep/event/4/0")
    ids = {alert_id(r, k, o) for r in "ab" for k in "ab" for o in "ab"}
    assert len(ids) == 8
    assert alert_id("trapped", "lift-1", "e/1") == "51d62fb7-4fe6-51b4-86ff-2d5f72344cfd"
