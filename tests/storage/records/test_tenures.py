"""Leases, terms, and the colours above the sites: on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.contracts import topology as topologies
from core.contracts.colours import Colour
from core.contracts.errors import InUseError
from core.contracts.ledger import HOUR_MS, Line, Stream
from core.contracts.outputs import ColourOutput, TopologyOutput
from core.storage.records import (
    Records,
    changes,
    conservation,
    ledger,
    projection,
    tenures,
    tree,
)
from core.storage.records.errors import LostSiteError, NotFoundError
from core.storage.records.tenures import Orders

NAME = {"zh": "名", "en": "name"}
LEASE = 60_000
SITES = ["s-1", "s-2", "s-3"]


def town() -> topologies.Topology:
    site = {"level": "site", "name": NAME, "site_kind": "residential_estate"}
    device = {"family": "sensor", "name": NAME}
    return topologies.load({
        "datum": "wgs84",
        "nodes": [
            {"id": "street", "level": "street", "name": NAME},
            {"id": "c-1", "level": "community", "name": NAME, "parent": "street"},
            {"id": "s-1", "parent": "c-1", **site},
            {"id": "b-1", "level": "building", "name": NAME, "parent": "s-1"},
            {"id": "s-2", "parent": "c-1", **site},
            {"id": "s-3", "parent": "street", **site},
        ],
        "devices": [
            {"id": "d-1", "node": "b-1", **device}, {"id": "d-2", "node": "s-2", **device},
            {"id": "d-3", "node": "s-3", **device}, {"id": "d-4", "node": "s-3", **device},
        ],
    })  # fmt: skip


@pytest.fixture
def shared(records: Records) -> Records:
    with records.session() as session:
        projection.apply(session, [TopologyOutput(1, town())], 1)
    return records


def beat(records: Records, name: str, *own: str, lease: int = LEASE, instance: str = "") -> Orders:
    with records.session() as session:
        return tenures.beat(session, name, instance or f"{name}-1", lease, own=own)


def take(records: Records, site: str, name: str, log: str = "log") -> tenures.Taken | None:
    with records.session() as session:
        return tenures.take(session, site, name, log)


def test_sites_that_are_nobodys_go_to_the_one_with_the_fewest(shared: Records) -> None:
    beat(shared, "b")
    orders = beat(shared, "a", "s-2")
    assert "s-2" in orders.take
    for site in orders.take:
        take(shared, site, "a")
    rest = beat(shared, "b").take
    assert sorted(rest + orders.take) == SITES
    assert rest


def test_a_site_has_one_owner_and_each_new_one_a_new_term(shared: Records) -> None:
    beat(shared, "a")
    beat(shared, "b")
    first = take(shared, "s-1", "a", "log-a")
    assert first is not None
    assert (first.term, first.former, first.lanes, first.snapshot) == (1, None, {}, None)
    assert take(shared, "s-1", "b") is None, "its owner lives"
    lanes: tenures.Lanes = {"e": [("epoch-2", {"event": 7}), ("epoch-1", {"event": 3})]}
    with shared.session() as session:
        tenures.keep(session, "s-1", 1, lanes)
        projection.save_cursor(session, "rules-snapshot/log-a", 9, b"state")
        projection.save_cursor(session, "rules/log-a", 9, None)
    again = take(shared, "s-1", "a", "log-b")
    assert again is not None
    assert (again.term, again.former, again.snapshot) == (2, "a", b"state")
    assert [[epoch, dict(seqs)] for epoch, seqs in again.lanes["e"]] == [
        ["epoch-2", {"event": 7}], ["epoch-1", {"event": 3}],
    ]  # fmt: skip
    with shared.reading() as session:
        assert projection.cursor(session, "rules/log-a") == (0, None), "that log is no more"


def test_what_a_former_owner_writes_does_not_count(shared: Records) -> None:
    beat(shared, "a")
    take(shared, "s-1", "a")
    take(shared, "s-1", "a")

    def write_late() -> None:
        with shared.session() as session:
            projection.save_cursor(session, "rules/x", 1, None)
            tenures.check(session, "s-1", 1)

    with pytest.raises(LostSiteError):
        write_late()
    with shared.reading() as session:
        assert projection.cursor(session, "rules/x") == (0, None)
    with pytest.raises(LostSiteError), shared.session() as session:
        tenures.keep(session, "s-1", 1, {})
    with shared.session() as session:
        tenures.check(session, "s-1", 2)
        tenures.give(session, "s-1", 1)  # it has nothing to give
    assert beat(shared, "a").held == {"s-1": 2}


def test_a_lease_that_runs_out_frees_the_sites(shared: Records) -> None:
    beat(shared, "a", *SITES)
    for site in SITES:
        take(shared, site, "a")
    assert beat(shared, "b").take == []
    beat(shared, "a", lease=0)
    with shared.reading() as session:
        began = tenures.now_ms(session)
    while True:  # the database's clock has to move on by a millisecond
        with shared.reading() as session:
            if tenures.now_ms(session) > began:
                break
    assert beat(shared, "b").take == SITES
    assert take(shared, "s-1", "b") is not None


def test_a_name_is_one_process_at_a_time(shared: Records) -> None:
    beat(shared, "a")
    with pytest.raises(InUseError, match="lives already"):
        beat(shared, "a", instance="another")
    with shared.session() as session:
        tenures.leave(session, "a", "a-1")
    beat(shared, "a", instance="another")


def test_a_site_moves_when_it_is_wanted_elsewhere(shared: Records) -> None:
    beat(shared, "a")
    take(shared, "s-1", "a")
    with shared.session() as session:
        tenures.assign(session, "s-1", "b")
    assert beat(shared, "a").give == [], "b does not live"
    assert "s-1" not in beat(shared, "b").take, "a still has it"
    assert beat(shared, "a").give == ["s-1"]
    with shared.session() as session:
        tenures.give(session, "s-1", 1)
    assert "s-1" in beat(shared, "b").take
    assert "s-1" not in beat(shared, "a").take
    with pytest.raises(NotFoundError), shared.session() as session:
        tenures.assign(session, "nowhere", "a")


def test_a_site_that_only_speaks_is_somebodys_too(shared: Records) -> None:
    with shared.session() as session:
        tenures.note_site(session, "unheard-of")
    assert "unheard-of" in beat(shared, "a").take


def test_of_many_that_reach_for_a_site_one_gets_it(open_records: Callable[[], Records]) -> None:
    records = open_records()
    with records.session() as session:
        projection.apply(session, [TopologyOutput(1, town())], 1)
    names = [f"c-{n}" for n in range(4)]
    for name in names:
        beat(records, name)
    each = [open_records() for _ in names]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda pair: take(pair[0], "s-1", pair[1]), zip(each, names, strict=True))
        )
    assert sum(taken is not None for taken in found) == 1


def colours(records: Records, site: str, at: int, *rows: tuple[str, Colour, int, int]) -> None:
    outputs = [
        ColourOutput(node, at, colour, colour, heard, total) for node, colour, heard, total in rows
    ]
    with records.session() as session:
        projection.apply(session, outputs, at, site=site)


def shown(records: Records) -> dict[str, tuple[str, str, int, int]]:
    with records.reading() as session:
        nodes = tree.tree_view(session)["nodes"]
    return {n["id"]: (n["colour"], n["alert_colour"], n["heard"], n["total"]) for n in nodes}


def test_nodes_above_the_sites_are_the_sum_of_what_each_knows(shared: Records) -> None:
    red, green = Colour.RED, Colour.GREEN
    # Each knows only its own part of the community and the street.
    colours(
        shared, "s-1", 10, ("b-1", red, 1, 1), ("s-1", red, 1, 1), ("c-1", red, 1, 1),
        ("street", red, 1, 1),
    )  # fmt: skip
    assert shown(shared)["c-1"] == ("red", "red", 1, 2)
    assert shown(shared)["street"] == ("grey", "red", 1, 4), "most of it is not heard"
    colours(shared, "s-3", 11, ("s-3", green, 2, 2), ("street", green, 2, 2))
    colours(shared, "s-2", 12, ("s-2", green, 1, 1), ("c-1", green, 1, 1), ("street", green, 1, 1))
    found = shown(shared)
    assert found["b-1"] == ("red", "red", 1, 1)
    assert found["c-1"] == ("red", "red", 2, 2)
    assert found["street"] == ("red", "red", 4, 4)
    colours(shared, "s-1", 13, ("s-1", green, 1, 1), ("c-1", green, 1, 1), ("street", green, 1, 1))
    assert shown(shared)["street"] == ("green", "green", 4, 4)


HOUR = 10 * HOUR_MS


def settle(records: Records, log: str, upto: int, *, term: int = 1, site: str = "s-1") -> None:
    """Settle one batch of ten events that ends at a position, and tell of three that wait."""
    counts = ledger.Counts(upto, upto, 1, events=10, stored=10, last_pos=upto)
    line = Line(HOUR, Stream(site, "e", "epoch-1", "reading"))
    kinds = {(0, "meter.reading"): 7, (0, "access.granted"): 3}
    with records.session() as session:
        tenures.keep(session, site, term, {"e": [("epoch-1", {"reading": upto})]})
        ledger.settle(session, log, {line: counts}, kinds, [[HOUR, "e", 3]], upto, HOUR + upto)


def begin(records: Records, log: str, now: int, site: str = "s-1") -> None:
    """Have somebody take a site with a new log, whoever has it."""
    with records.session() as session:
        taken = tenures.take(session, site, "a", log)
        assert taken is not None
        ledger.succeed(session, site, taken.log, log, now)


def law_of(records: Records) -> conservation.Law:
    with records.reading() as session:
        return conservation.law(session, 0, 100 * HOUR_MS)


def test_accounts_of_a_log_end_where_the_next_ones_begin(shared: Records) -> None:
    beat(shared, "a")
    begin(shared, "log-1", HOUR)
    settle(shared, "log-1", 1)
    law = law_of(shared)
    assert (law.total.received, law.total.stored, law.total.on_its_way) == (13, 10, 3)
    begin(shared, "log-2", HOUR + 50)
    law = law_of(shared)
    assert (law.total.received, law.total.on_its_way, law.cut_off) == (10, 0, 1), "it comes again"
    settle(shared, "log-2", 2, term=2)
    with shared.session() as session:
        ledger.end(session, "log-2", HOUR + 90)
    begin(shared, "log-3", HOUR + 99)
    law = law_of(shared)
    assert law.exact
    assert (law.total.received, law.total.stored, law.cut_off) == (20, 20, 1)
    with shared.reading() as session:
        assert ledger.stored_on(session, 0) == {"meter.reading": 14, "access.granted": 6}
        unsettled = conservation.unsettled_days(session)
        assert [tenures.is_current(session, f"log-{n}") for n in (1, 2, 3)] == [False, False, True]
    assert unsettled.explain(conservation.Taken(0, "meter.reading", 14, 15))
    assert not unsettled.explain(conservation.Taken(0, "meter.reading", 14, 13))
    with pytest.raises(LostSiteError):
        settle(shared, "log-2", 3, term=2)
    assert law_of(shared).total.received == 20


def test_accounts_that_begin_with_a_later_log_compare_from_the_second_day_on(
    shared: Records,
) -> None:
    beat(shared, "a")
    take(shared, "s-1", "a", "log-of-an-earlier-program")
    begin(shared, "log-2", HOUR)
    settle(shared, "log-2", 1, term=2)
    law = law_of(shared)
    assert (law.exact, law.total.received, law.cut_off, law.days) == (True, 13, 0, 0)


def test_sites_that_settle_at_once_wait_for_nobody(open_records: Callable[[], Records]) -> None:
    records = open_records()
    with records.session() as session:
        projection.apply(session, [TopologyOutput(1, town())], 1)
    beat(records, "a")
    for site in SITES:
        begin(records, f"log-{site}", HOUR, site)
    each = [open_records() for _ in (*SITES, *SITES)]

    def work(index: int) -> None:
        site = SITES[index % len(SITES)]
        for upto in range(1, 21):
            if index < len(SITES):
                settle(each[index], f"log-{site}", upto, site=site)
                continue
            with each[index].session() as session:  # as the site's rules do meanwhile
                changes.lock(session)
                tenures.check(session, site, 1)

    with ThreadPoolExecutor(len(each)) as pool:
        list(pool.map(work, range(len(each))))
    law = law_of(records)
    assert law.total.stored == 10 * 20 * len(SITES)
    with records.reading() as session:
        assert sum(ledger.stored_on(session, 0).values()) == law.total.stored
