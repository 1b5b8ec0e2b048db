"""The conservation law over HTTP, of what a collector's parts have counted."""

from __future__ import annotations

from pathlib import Path

from core.contracts.ledger import HOUR_MS
from core.storage.records.ledger import DAY_MS
from tests.api.harness import running
from tests.collector.office import EDGE, NOW, SITE, Office, batch, reading
from tests.collector.tenancy import Town

WHERE = "/api/v1/conservation"


def test_the_law_of_a_period(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.batch(batch(reading(power_w=1), reading(power_w="warm")))
    office.clock.ms += 2 * HOUR_MS
    office.batch(batch(reading(power_w=2), seq=2))
    office.plain("probe", reading("probe"))
    office.fold()
    office.law()
    with running(tmp_path) as run:
        client = run.signed_in()
        whole = client.get(WHERE, params={"start": 0, "end": NOW + 9 * HOUR_MS}).json()
        hour = client.get(WHERE, params={"start": NOW, "end": NOW + 1}).json()
        empty = client.get(WHERE, params={"start": 0, "end": 1}).json()
        assert client.get(WHERE).status_code == 422
        assert client.get(WHERE, params={"start": -1}).json()["field"] == "start"
        turned = client.get(WHERE, params={"start": NOW, "end": NOW - 1})
        assert (turned.status_code, turned.json()["field"]) == (422, "start")
    office.close()
    assert whole["exact"] is True
    assert whole["since"] == NOW
    total = whole["total"]
    assert (total["journalled"], total["stored"], total["dead"]) == (4, 3, 1)
    assert [(flow["site"], flow["edge"], flow["stored"]) for flow in whole["edges"]] == [
        (SITE, None, 1),
        (SITE, EDGE, 2),
    ]
    assert (whole["days"], whole["days_compared"]) == (1, 0)
    # What is asked about is widened to whole hours, and the answer says so.
    assert (hour["start"], hour["end"]) == (NOW - NOW % HOUR_MS, NOW - NOW % HOUR_MS + HOUR_MS)
    assert hour["total"]["journalled"] == 2
    assert empty["total"]["journalled"] == 0


def test_nobody_reads_it_without_signing_in(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        assert run.client().get(WHERE, params={"start": 0}).status_code == 401
        law = run.signed_in().get(WHERE, params={"start": 0}).json()
    assert (law["since"], law["exact"], law["edges"]) == (None, True, [])


def test_what_a_collector_that_died_alone_knew_is_told_as_unknown(tmp_path: Path) -> None:
    town = Town(tmp_path)
    north = town.take()
    north.plain("probe", reading("probe"))
    north.fold()
    north.die()
    south = town.take()
    south.batch(batch(reading(power_w=1)))
    south.give()
    town.compare(NOW // DAY_MS)
    with running(tmp_path) as run:
        found = run.signed_in().get(WHERE, params={"start": 0, "end": NOW + HOUR_MS}).json()
    town.close()
    assert (found["exact"], found["logs_cut_off"], found["differences"]) == (True, 1, [])
    (row,) = found["unsettled"]
    assert (row["kind"], row["stored"], row["held"]) == ("meter.reading", 1, 2)
