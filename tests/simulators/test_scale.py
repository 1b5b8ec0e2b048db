"""A street's traffic: valid, counted, repeatable, at its natural rates; and its way on the wire."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import topology
from core.contracts.batch import Receipt, decode_batch
from core.contracts.codec import decode_event
from core.contracts.events import KINDS, Lane
from simulators.scale.plan import CAMERAS, DOORS, HOUSEHOLDS, LIFTS, StreetPlan
from simulators.scale.sender import WINDOW, EdgeSender
from simulators.scale.traffic import SiteTraffic

#: 2025-11-21 19:00 in China: the evening's peak.
PEAK = 1_763_722_800_000


def test_a_whole_street_has_its_devices_and_a_valid_topology() -> None:
    plan = StreetPlan()
    sites = plan.sites
    assert sum(len(s.meters) for s in sites) == HOUSEHOLDS
    assert sum(len(s.lifts) for s in sites) == LIFTS
    assert sum(len(s.doors) for s in sites) == DOORS
    assert sum(len(s.cameras) for s in sites) == CAMERAS
    assert plan.devices == 88_000
    small = StreetPlan(0.02)
    loaded = topology.load(small.topology())
    assert len(loaded.devices) == small.devices == 1_760
    with pytest.raises(ValueError, match="share"):
        StreetPlan(0)


def test_every_event_is_valid_in_its_lane_and_counted() -> None:
    traffic = SiteTraffic(StreetPlan(0.01).sites[0], 3)
    for second in range(180):
        traffic.second(PEAK + second * 1000)
    interval = traffic.take()
    found: Counter[str] = Counter()
    for lane, events in interval.events.items():
        for raw in events:
            event = decode_event(raw)
            assert KINDS[event.kind].lane is lane
            found[event.kind] += 1
    assert found == interval.counts
    assert traffic.take().counts == {}
    assert {"meter.reading", "elevator.status", "access.granted", "access.door",
            "camera.motion", "device.health"} <= set(found)  # fmt: skip


def test_meters_read_once_a_minute_and_lifts_each_second() -> None:
    site = StreetPlan(0.01).sites[0]
    traffic = SiteTraffic(site, 3)
    for second in range(120):
        traffic.second(PEAK + second * 1000)
    interval = traffic.take()
    readings = Counter(decode_event(raw).device for raw in interval.events[Lane.READING]
                       if b"meter.reading" in raw)  # fmt: skip
    assert readings == dict.fromkeys(site.meters, 2)
    assert interval.counts["elevator.status"] == 120 * len(site.lifts)


def test_a_street_at_its_peak_says_about_four_thousand_events_a_second() -> None:
    plan = StreetPlan()
    traffics = [SiteTraffic(site, 1) for site in plan.sites]
    for second in range(60):
        for traffic in traffics:
            traffic.second(PEAK + second * 1000)
    counts = sum((traffic.take().counts for traffic in traffics), Counter())
    doors = sum(counts[kind] for kind in counts if kind.startswith("access.")) / 60
    assert 150 < doors < 250
    assert 3_500 < counts.total() / 60 < 4_500


def test_the_same_seed_gives_the_same_events() -> None:
    def first_minute(seed: int) -> list[bytes]:
        traffic = SiteTraffic(StreetPlan(0.01).sites[0], seed)
        for second in range(60):
            traffic.second(PEAK + second * 1000)
        return [raw for events in traffic.take().events.values() for raw in events]

    assert first_minute(5) == first_minute(5)
    assert first_minute(5) != first_minute(6)


EVENT = b'{"kind":"access.door","device":"d1","at":1,"seen":1,"data":{"open":true}}'


def receipt(sender: EdgeSender, seq: int) -> Receipt:
    return Receipt(sender.edge, sender.epoch, {"urgent": seq})


def seqs(payloads: list[bytes]) -> list[int]:
    return [decode_batch(payload).seq for payload in payloads]


def test_a_sender_keeps_its_window_and_goes_back_without_progress() -> None:
    sender = EdgeSender("s1", "s1-edge")
    for _ in range(WINDOW + 10):
        sender.add(Lane.EVENT, [EVENT], 5)
    assert seqs(sender.due(0.0)) == list(range(1, WINDOW + 1))
    assert sender.due(1.0) == []
    sender.take(receipt(sender, 4), 2.0)
    assert seqs(sender.due(2.0)) == [WINDOW + 1, WINDOW + 2, WINDOW + 3, WINDOW + 4]
    again = sender.due(20.0)
    assert seqs(again) == list(range(5, WINDOW + 5))
    assert decode_batch(again[0]).oldest == 5
    sender.take(Receipt(sender.edge, "another-epoch", {"urgent": 40}), 21.0)
    assert sender.held == WINDOW + 6, "a receipt of another epoch is not ours"


def test_a_large_load_is_cut_into_batches_in_its_order() -> None:
    sender = EdgeSender("s1", "s1-edge")
    events = [EVENT.replace(b'"at":1', b'"at":%d' % n) for n in range(2_500)]
    sender.add(Lane.EVENT, events, 5)
    batches = [decode_batch(payload) for payload in sender.due(0.0)]
    assert [event.at for batch in batches for _, event in batch.events] == list(range(2_500))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=60))
def test_whatever_is_lost_every_batch_arrives_in_the_end(steps: list[tuple[int, int]]) -> None:
    """``steps``: how many batches are added, and how many of those under way arrive."""
    sender, arrived, now, added = EdgeSender("s1", "e"), set[int](), 0.0, 0
    for more, through in [*steps, *[(0, 99)] * 40]:
        for _ in range(more):
            sender.add(Lane.EVENT, [EVENT], 5)
        added += more
        now += 3.0
        arrived |= set(seqs(sender.due(now))[:through])
        contiguous = next(n for n in range(len(arrived) + 1) if n + 1 not in arrived)
        if contiguous:
            sender.take(receipt(sender, contiguous), now)
    assert arrived == set(range(1, added + 1))
    assert sender.held == 0
