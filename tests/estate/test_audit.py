"""The audit: what agrees is exact, and each way not to agree is named."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.contracts.batch import Batch, Reject
from core.contracts.codec import Event, make_event
from core.contracts.events import Lane
from core.contracts.ledger import Ledger, Stream
from core.contracts.log import BatchEntry, EventEntry, LogEntry, Unreadable, UnreadableEntry
from core.contracts.ports import Point
from core.runtime.settings import Settings
from core.storage.journal import Append, Journal, OnFull
from core.storage.records import Records
from core.storage.records.ledger import DAY_MS
from core.storage.records.ledger_models import LedgerLine
from core.storage.series import open_writer
from edge.outbox import open_journal
from estate.audit import FOREVER, Audit, audit, audit_shared
from estate.cli import app
from estate.street import StreetAudit
from tests.collector.office import NOW, SITE, Office
from tests.collector.office import batch as wire_batch
from tests.collector.office import reading as wire_reading
from tests.collector.tenancy import Town
from tests.wire.harness import CLOCK

EPOCH = "0d7e6c9e-epoch-1"
READINGS = Stream("s", "e", EPOCH, "reading")


def reading(at: int) -> Event:
    return make_event("meter.reading", device="m", at=at, seen=at, data={"medium": "electricity"})


def batch(seq: int, *events: Event, lane: Lane = Lane.READING, rejects: int = 0) -> LogEntry:
    refused = [Reject(len(events) + n, "no such kind", "kind", b"{}") for n in range(rejects)]
    body = Batch("e", EPOCH, lane, seq, 1, 1, list(enumerate(events)), refused)
    return BatchEntry(seq, 1_000 * seq, "s", body)


def hole(first: int, last: int) -> LogEntry:
    data = {"epoch": EPOCH, "lane": "reading", "first_seq": first, "last_seq": last}
    return EventEntry(
        99, 99, "s", "e", 1, make_event("edge.hole", device="e", at=9, seen=9, data=data)
    )


def note(first: int, last: int, events: int) -> Event:
    data = {
        "lane": "reading", "first_seq": first, "last_seq": last, "events": events,
        "reason": "budget",
    }  # fmt: skip
    return make_event("edge.dropped", device="e", at=9, seen=9, data=data)


def ledger(*entries: LogEntry, start: int = 0, end: int = FOREVER) -> Ledger:
    made = Ledger(start, end)
    made.fold(entries)
    made.close()
    return made


def found(made: Ledger, letters: int = 0, **stored: int) -> Audit:
    kinds = Counter({name.replace("_", "."): n for name, n in stored.items()})
    return Audit(made, kinds, Counter(), letters, 0)


def test_what_came_once_and_is_stored_is_exact() -> None:
    told = found(ledger(batch(1, reading(1)), batch(2, reading(2), rejects=1)), 1, meter_reading=2)
    assert told.exact, list(told.problems())
    assert (told.journalled, told.dead, told.declared) == (3, 1, 0)


def test_a_batch_that_is_one_letter_is_there_once() -> None:
    lane = f"batch/s/e/{EPOCH}/reading"
    letter = UnreadableEntry(2, 2_000, Unreadable(lane, "of a newer version", b"{}"), seq=2)
    told = found(ledger(batch(1, reading(1)), letter, batch(3, reading(3))), 1, meter_reading=2)
    assert told.exact, list(told.problems())
    assert (told.journalled, told.dead) == (3, 1)


def test_what_was_dropped_and_counted_is_exact() -> None:
    made = ledger(
        batch(1, note(2, 4, 30), lane=Lane.EVENT),
        batch(1, reading(1)),
        hole(2, 4),
        batch(5, reading(5)),
    )
    told = found(made, meter_reading=2, edge_dropped=1, edge_hole=1)
    assert told.exact, list(told.problems())
    assert told.declared == 30


def test_a_lane_of_which_all_was_dropped_is_known_by_its_notes_alone() -> None:
    made = ledger(batch(1, note(1, 5, 64), lane=Lane.EVENT))
    assert (made.accounts[READINGS].dropped, made.accounts[READINGS].beyond) == (64, 5)
    assert found(made, edge_dropped=1).exact


def test_a_note_of_what_came_all_the_same_declares_nothing() -> None:
    made = ledger(batch(1, reading(1)), batch(1, note(1, 1, 1), lane=Lane.EVENT))
    told = found(made, meter_reading=1, edge_dropped=1)
    assert told.exact
    assert told.declared == 0


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ((batch(1, reading(1)), batch(3, reading(3))), "1 batches are missing"),
        ((batch(1, reading(1)), batch(1, reading(1))), "came twice or out of order"),
        ((batch(1, reading(1)), hole(2, 3), batch(4)), "2 batches were passed over and never"),
        (
            (batch(1), batch(2), hole(3, 3), batch(1, note(2, 3, 8), lane=Lane.EVENT)),
            "1 batches came although they were declared dropped",
        ),
    ],
)
def test_what_a_lane_lacks_is_named(entries: tuple[LogEntry, ...], problem: str) -> None:
    made = ledger(*entries)
    assert not made.accounts[READINGS].exact
    assert problem in "\n".join(found(made).problems())


def test_a_store_that_holds_too_little_or_too_much_is_named() -> None:
    made = ledger(batch(1, reading(1), reading(2)))
    assert found(made, meter_reading=2).exact
    for stored in (1, 3):
        assert f"{stored} stored" in "\n".join(found(made, meter_reading=stored).problems())
    assert "dead letters" in "\n".join(found(made, 1, meter_reading=2).problems())


def test_a_period_counts_events_by_their_own_time() -> None:
    entries = [batch(1, reading(10), reading(20)), batch(2, reading(30))]
    assert ledger(*entries, start=15, end=31).kinds == {"meter.reading": 2}


def test_a_street_is_exact_when_all_that_was_sent_is_logged() -> None:
    told = found(ledger(batch(1, reading(1))), meter_reading=1)
    assert StreetAudit(Counter({"meter.reading": 1}), told).exact
    short = StreetAudit(Counter({"meter.reading": 2}), told)
    assert not short.exact
    assert "NOT EXACT: 1" in "\n".join(short.lines())


@pytest.fixture
def system(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A data folder with a log, a store and an outbox; returns how to audit it."""
    settings = Settings(data=tmp_path)
    Records(settings.records_url).open().close()
    log = Journal(
        tmp_path / "collector.sqlite", owner="collector", budget=1 << 30, on_full=OnFull.REFUSE
    )
    log.open()
    outbox = open_journal(tmp_path / "edges" / "e" / "outbox.sqlite", "e", 1 << 30, CLOCK)
    epoch, now = outbox.epoch, CLOCK.now_ms()
    body = (
        f'{{"edge":"e","epoch":"{epoch}","lane":"reading","seq":1,"oldest":1,"sealed_at":1,'
        f'"events":[{{"at":{now},"seen":{now},"device":"m","kind":"meter.reading",'
        '"data":{"medium":"electricity"}}]}'
    ).encode()
    log.append(Append(f"batch/s/e/{epoch}/reading", body, 1_000)).result()
    outbox.append(*[Append("reading", body, 1_000) for _ in range(3)]).result()
    outbox.note_sent("reading", 1).result()
    outbox.acknowledge("reading", 1).result()
    identity = log.epoch
    outbox.close()
    log.close()
    writer = open_writer(settings, log=identity)
    writer.write([(1, Point(now * 1_000_000 + 1_000, "s", reading(now)))], 1)
    writer.close()

    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            app, ["audit", *options], env={"ESTATE_DATA": str(tmp_path)}, catch_exceptions=False
        )
        return done.exit_code, done.output

    return run


def test_the_command_says_exact_and_what_waits(system: Callable[..., tuple[int, str]]) -> None:
    code, text = system("--json")
    document = json.loads(text)
    assert (code, document["exact"]) == (0, True)
    (lane,) = document["lanes"]
    assert (lane["batches"], lane["waiting_batches"], lane["site"]) == (1, 2, "s")
    assert document["stored"] == {"meter.reading": 1}
    code, text = system()
    assert code == 0
    assert text.strip().endswith("exact")


def test_a_store_that_does_not_agree_is_named_and_the_exit_code_is_one(
    system: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    now = CLOCK.now_ms()
    writer = open_writer(Settings(data=tmp_path), log="another")
    writer.write([(1, Point(now * 1_000_000, "s", reading(now)))], 1)
    writer.close()
    code, text = system()
    assert code == 1
    assert "NOT EXACT: meter.reading: 1 in the log, 2 stored" in text


def test_a_period_is_dates_times_or_ms(system: Callable[..., tuple[int, str]]) -> None:
    for since in ("1970-01-01T00:00:02+00:00", "1970-01-02", "19700102", "1970-01-01T08:00", "7"):
        assert system("--from", since)[0] == 0
    for options, why in (
        (("--from", "yesterday"), "--from: 'yesterday' is no time"),
        (("--from", "99999999999999999999"), "--from: '99999999999999999999' is beyond"),
        (("--to", "9999-12-31"), "--to: '9999-12-31' is beyond"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), "--to: must be later than --from"),
    ):
        code, text = system(*options)
        assert (code, why in text) == (2, True), text


@pytest.mark.parametrize("command", [["audit"], ["deadletters", "list"], ["devices", "unknown"]])
def test_a_folder_that_holds_nothing_is_named_with_what_to_do(
    command: list[str], tmp_path: Path
) -> None:
    for data in (tmp_path, tmp_path / "no-such-folder"):
        done = CliRunner().invoke(app, command, env={"ESTATE_DATA": str(data)})
        assert done.exit_code == 2
        assert f"{data}/records.sqlite: there are no records; name the settings" in done.output
        assert not list(tmp_path.iterdir())


def test_what_the_log_has_trimmed_is_answered_by_the_accounts(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.batch(wire_batch(wire_reading(at=NOW), wire_reading(at=NOW - 3 * DAY_MS)))
    office.plain("probe", wire_reading("probe", power_w="warm"))
    office.clock.ms += DAY_MS
    office.batch(wire_batch(wire_reading(at=NOW + DAY_MS), seq=2))
    office.fold()
    office.law()
    office.journal.advance("all", office.journal.position - 1).result()
    office.journal.retain(NOW + DAY_MS // 2).result()
    office.journal.append(Append("tick", b"", office.clock.ms, events=0)).result()
    found = audit(office.settings)
    assert found.accounts is not None
    assert found.accounts.trimmed
    assert found.exact, list(found.lines())
    assert found.accounts.compared == 3
    assert found.accounts.law.total.journalled == 4
    first = audit(office.settings, NOW, NOW + 1)
    assert first.accounts is not None
    assert first.accounts.law.total.journalled == 3
    days = [tmp_path / "series" / f"{date}.sqlite" for date in ("2025-11-10",)]
    office.series.close()
    with sqlite3.connect(days[0]) as db:
        db.execute("DELETE FROM hot")
    lost = audit(office.settings)
    assert "2025-11-10 meter.reading: 1 were stored, 0 are in the store" in list(lost.problems())
    office.close()


def test_accounts_that_are_not_what_the_log_holds_are_named(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.batch(wire_batch(wire_reading(), wire_reading(at=NOW + 1)))
    office.fold()
    office.law()
    assert audit(office.settings).exact
    with office.records.session() as session:
        (line,) = session.query(LedgerLine)
        line.events = line.stored = 1
    wrong = audit(office.settings)
    assert any("is not what the log holds" in problem for problem in wrong.problems())
    office.close()


def test_a_batch_that_only_a_newer_program_can_read_is_no_missing_one(tmp_path: Path) -> None:
    office = Office(tmp_path)
    newer = wire_batch(wire_reading(), seq=2).replace(b'"events"', b'"v":9,"events"', 1)
    for payload in (wire_batch(wire_reading()), newer, wire_batch(wire_reading(), seq=3)):
        office.batch(payload)
    office.fold()
    office.law()
    found = audit(office.settings)
    assert found.exact, list(found.lines())
    assert found.ledger.rejects == 1
    office.close()


def test_several_collectors_are_audited_by_their_accounts_and_the_logs_that_are_here(
    tmp_path: Path,
) -> None:
    town = Town(tmp_path)
    north = town.take()
    for seq in (1, 2):
        north.batch(wire_batch(wire_reading(at=NOW + seq), seq=seq))
    north.fold()
    north.settle()
    north.batch(wire_batch(wire_reading(at=NOW + 3), seq=3))
    north.fold()
    north.die()
    south = town.take()
    south.batch(wire_batch(wire_reading(at=NOW + 3), seq=3))
    south.fold()
    south.settle()

    def audited(**other: int) -> Audit:
        return audit_shared(sorted(tmp_path.glob("c-*.sqlite")), town.store, town.records, **other)

    told = audited()
    assert told.exact, list(told.lines())
    assert told.accounts is not None
    assert (told.journalled, told.dead, told.declared) == (told.accounts.law.total.stored, 0, 0)
    assert told.accounts.law.cut_off == 1
    lines = list(told.lines())
    assert any(line.startswith("1 logs ended with their collector") for line in lines)
    document = told.document()
    assert document["accounts"]["logs_cut_off"] == 1
    json.dumps(document)

    # A point more, on a day when a collector died: nobody knows. One less is a difference.
    town.store.points.add((SITE, "lonely", "meter.reading", NOW * 1_000_000 + 77))
    told = audited()
    assert told.exact
    assert any("UNKNOWN" in line and "3 are settled, 4 are in the" in line for line in told.lines())
    town.store.points = {point for point in town.store.points if point[1] != "m1"}
    assert not audited().exact

    with town.records.session() as session:
        line = session.query(LedgerLine).filter_by(log=south.journal.epoch, lane="reading").one()
        line.events += 1
        line.stored += 1
    assert any("is not what the log holds" in problem for problem in audited().problems())
    assert audited(start=NOW + 7 * DAY_MS).journalled == 0
    south.give()
    town.close()
