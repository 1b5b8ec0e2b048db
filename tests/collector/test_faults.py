"""Parts of the collector meet faults: they go on, and what happened can be seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from collector import feed
from collector.caution import Notebook
from collector.edges import EdgeRegister
from collector.feed import Chunk, Feed
from collector.projector import Projector
from collector.series_projection import SeriesProjection
from collector.ticker import Ticker
from core.contracts.batch import EdgeStatus, LaneStatus
from core.contracts.codec import encode, make_event
from core.contracts.errors import StoreLostError, StoreUnavailableError
from core.contracts.log import TICK, LogEntry
from core.runtime.clock import ScaledClock
from core.runtime.link import Message
from core.runtime.settings import Settings
from core.storage.journal import Append, Journal, LaneBounds, OnFull
from core.storage.records import Records, conservation, ledger
from core.storage.records.refusals import DeadLetter
from core.storage.series import EmbeddedWriter, open_reader, open_writer
from edge.receipts import credible

CLOCK = ScaledClock()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "log", owner="c", budget=20_000, on_full=OnFull.REFUSE)
    journal.open()
    yield journal
    journal.close()


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    records = Records(f"sqlite:///{tmp_path}/records.sqlite").open()
    yield Notebook(records, "log", CLOCK)
    records.close()


class Shaky:
    """A projection that fails in each way once, then works."""

    name = "shaky"
    families: frozenset[str] | None = None
    most_bytes = 1 << 20

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.faults: list[Exception] = [StoreUnavailableError("down"), KeyError("a bug")]

    def open(self) -> int:
        return self.seen[-1] if self.seen else 0

    def apply(self, chunk: Chunk) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.seen += [entry.pos for entry in chunk.entries]

    def needed_after(self) -> int:
        return self.open()

    def rest(self) -> None:
        pass

    def close(self) -> None:
        pass

    def letters(self, entry: LogEntry, index: int, reason: str, /) -> list[DeadLetter]:
        return []

    def done(self) -> dict[str, int]:
        return {"seen": len(self.seen)}


def test_a_projector_gets_the_lanes_that_it_wants_and_passes_over_the_rest(
    journal: Journal, notebook: Notebook
) -> None:
    shaky = Shaky()
    shaky.faults, shaky.families = [], frozenset({TICK})
    # What it passes over is not even read: these bytes are nobody's snapshot.
    lanes = [TICK, "media/s/e/epoch-1", TICK, "media/s/e/epoch-1"]
    for lane in lanes:
        journal.append(Append(lane, b"", CLOCK.now_ms(), events=0)).result()
    projector = Projector(shaky, Feed(journal, shaky.families), notebook)
    projector.start()
    until(lambda: projector.position == len(lanes))
    projector.stop()
    assert shaky.seen == [1, 3]
    assert projector.state().done == {"seen": 2}


def test_what_is_read_ahead_comes_once_and_in_its_order(
    journal: Journal, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_READ_ENTRIES", 2)
    decoded_by: list[str] = []
    real = feed.decode_entry

    def decode(lane: str, pos: int, seq: int, at: int, body: bytes) -> LogEntry:
        decoded_by.append(threading.current_thread().name.partition("_")[0])
        return real(lane, pos, seq, at, body)

    monkeypatch.setattr(feed, "decode_entry", decode)
    for _ in range(41):
        journal.append(Append(TICK, b"", CLOCK.now_ms(), events=0)).result()
    shaky = Shaky()  # its store is down once, and it fails once
    projector = Projector(shaky, Feed(journal, ahead=True), notebook)
    projector.start()
    until(lambda: projector.position == 41)
    journal.append(Append(TICK, b"", CLOCK.now_ms(), events=0)).result()
    until(lambda: projector.position == 42)
    projector.stop()
    assert shaky.seen == list(range(1, 43))
    assert projector.failures == 2
    assert "read-ahead" in decoded_by


def test_housekeeping_waits_for_what_waits_in_the_log(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.feed._READ_ENTRIES", 2)
    tidied: list[int] = []

    class Keeper(EmbeddedWriter):
        def tidy(self) -> bool:
            tidied.append(self._progress.written)
            return super().tidy()

    records = Records(Settings(data=tmp_path).records_url).open()
    series = SeriesProjection(
        lambda: opened(Keeper(tmp_path / "series", log=journal.epoch)),
        records,
        CLOCK,
        journal.epoch,
    )
    for _ in range(5):
        journal.append(Append(TICK, b"", CLOCK.now_ms(), events=0)).result()
    feed = Feed(journal, series.families)
    feed.open()
    position = series.open()
    while raws := feed.read(position, 0):
        series.apply(feed.decode(raws))
        position = raws[-1].pos
    series.close()
    feed.close()
    records.close()
    assert (position, tidied) == (5, [5])


def opened(writer: EmbeddedWriter) -> EmbeddedWriter:
    writer.open()
    return writer


def test_a_projector_survives_a_store_that_is_down_and_a_bug(
    journal: Journal, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.projector._BACKOFF_S", (0.01, 0.05))
    shaky = Shaky()
    projector = Projector(shaky, Feed(journal), notebook)
    projector.start()
    for _ in range(3):
        journal.append(Append(TICK, b"", 1, events=0)).result()
    until(lambda: shaky.seen == [1, 2, 3])
    assert projector.failures == 2
    until(lambda: projector.trouble is None)
    projector.stop()


def test_a_store_that_is_gone_is_opened_anew_and_written_from_where_it_says(
    journal: Journal, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.projector._ANEW_S", 0.01)

    class Emptied(Shaky):
        def apply(self, chunk: Chunk) -> None:
            if self.faults:
                self.seen.clear()
            super().apply(chunk)

        def close(self) -> None:
            if not self.seen:
                raise StoreUnavailableError("what is gone cannot be ended")

    shaky = Emptied()
    shaky.faults = []
    projector = Projector(shaky, Feed(journal), notebook)
    projector.start()
    for _ in range(3):
        journal.append(Append(TICK, b"", 1, events=0)).result()
    until(lambda: shaky.seen == [1, 2, 3])
    shaky.faults = [StoreLostError("gone")]
    journal.append(Append(TICK, b"", 1, events=0)).result()
    until(lambda: shaky.seen == [1, 2, 3, 4])
    assert projector.failures == 1
    until(lambda: projector.trouble is None)
    projector.stop()
    assert notebook.load()["shaky"].is_alive is False


@pytest.mark.parametrize("kind", ["embedded", pytest.param("influxdb", marks=pytest.mark.influxdb)])
def test_what_a_store_has_lost_comes_back_from_the_log(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    raw: dict[str, Any] = {"data": tmp_path, "series": {"kind": kind}}
    if kind == "influxdb":
        server = request.getfixturevalue("influxdb")
        name = request.getfixturevalue("influxdb_database")
        raw["series"]["influxdb"] = {"url": server.url, "database": name}
    settings = Settings.model_validate(raw)
    log = Journal(tmp_path / "log", owner="c", budget=1 << 24, on_full=OnFull.REFUSE)
    log.open()
    records = Records(settings.records_url).open()
    with records.session() as session:
        ledger.begin(session, log.epoch, 0, CLOCK.now_ms())

    def journalled(count: int) -> None:
        for _ in range(count):
            event = make_event(
                "meter.reading", device="m1", at=CLOCK.now_ms(), seen=CLOCK.now_ms(),
                data={"medium": "water"},
            )  # fmt: skip
            log.append(Append("plain/s/m1", encode(event), CLOCK.now_ms())).result()

    def stored() -> int:
        reader = open_reader(settings)
        try:
            return reader.count(0, 4_000_000_000_000)
        finally:
            reader.close()

    def lose() -> None:
        if kind == "influxdb":
            httpx.post(f"{server.url}/query", data={"q": f'DROP DATABASE "{name}"'})
            return
        (path,) = (tmp_path / "series").glob("20*.sqlite")
        path.rename(tmp_path / "damaged")

    def projector() -> Projector:
        series = SeriesProjection(
            lambda: open_writer(settings, log=log.epoch), records, CLOCK, log.epoch
        )
        return Projector(series, Feed(log, series.families), Notebook(records, log.epoch, CLOCK))

    runs = projector()
    runs.start()
    journalled(20)
    until(lambda: runs.position == 20)
    if kind == "embedded":  # who has the file open sees its loss at the next start
        runs.stop()
    lose()
    if kind == "embedded":
        runs = projector()
        runs.start()
    journalled(5)
    until(lambda: runs.position == 25 and runs.trouble is None)
    runs.stop()
    assert stored() == 25
    with records.reading() as session:
        found = conservation.law(session, 0, 4_000_000_000_000)
    assert found.total.stored == 25, "counted once"
    records.close()
    log.close()


def test_the_ticker_outlives_a_log_that_takes_nothing(journal: Journal) -> None:
    journal.append(Append("a", bytes(19_900), 1)).result()
    ticker = Ticker(journal, ScaledClock.starting_now(100), retention_h=1)
    ticker.start()
    until(lambda: ticker.refused >= 2)
    journal.advance("reader", journal.position).result()
    until(lambda: journal.last_seqs().get(TICK, 0) >= 1)
    ticker.stop()


def birth(epoch: str = "epoch-0001") -> EdgeStatus:
    clock = CLOCK.now_ms()
    lanes = {"event": LaneStatus(1, 4), "state": LaneStatus(3, 2)}
    return EdgeStatus(online=True, edge="e", epoch=epoch, clock=clock, lanes=lanes)


def arrived(status: EdgeStatus, *, retained: bool = False) -> Message:
    return Message("t", encode(status), retained, [], lambda: None)


def test_a_birth_is_answered_only_when_its_note_is_durable(journal: Journal) -> None:
    register = EdgeRegister(journal, CLOCK)
    journal.append(Append("a", bytes(19_800), 1)).result()
    status = birth()
    assert not register.take("s", status, arrived(status), {}, [])
    journal.advance("reader", journal.position).result()
    journal.retain(1 << 50).result()
    assert register.take("s", status, arrived(status), {}, [])
    assert register.take("s", status, arrived(status), {}, []), "repeated, answered, not noted"
    assert journal.last_seqs()["control/s/e"] == 1


def test_a_birth_that_is_repeated_later_is_no_skewed_clock(journal: Journal) -> None:
    register = EdgeRegister(journal, CLOCK)
    for clock in (CLOCK.now_ms() - 3_000, CLOCK.now_ms()):
        status = structs.replace(birth(), clock=clock)
        assert register.take("s", status, arrived(status), {}, [])
    assert journal.last_seqs()["control/s/e"] == 1


def test_a_clock_that_is_off_is_noted_until_it_is_right_again(journal: Journal) -> None:
    register = EdgeRegister(journal, CLOCK)
    skewed = []
    for epoch, ahead in (("epoch-0001", 600_000), ("epoch-0002", 0)):
        status = structs.replace(birth(epoch), clock=CLOCK.now_ms() + ahead)
        assert register.take("s", status, arrived(status), {}, [])
        skewed.append(register.skewed)
    reader = journal.reader()
    notes = [e.body for e in reader.read_lane("control/s/e", 0) if b"edge.clock" in e.body]
    reader.close()
    assert (skewed, len(notes)) == ([1, 0], 2)


def test_a_retained_birth_may_be_of_the_dead(journal: Journal) -> None:
    register = EdgeRegister(journal, CLOCK)
    status = birth()
    assert not register.take("s", status, arrived(status, retained=True), {}, [])
    assert "control/s/e" not in journal.last_seqs()


def test_an_epoch_that_vanishes_is_noted_even_after_a_restart(journal: Journal) -> None:
    register = EdgeRegister(journal, CLOCK)
    status = birth("epoch-0002")
    assert register.take("s", status, arrived(status), {}, ["epoch-0001"])
    reader = journal.reader()
    kinds = [entry.body for entry in reader.read_lane("control/s/e", 0)]
    reader.close()
    assert b"edge.epoch_abandoned" in kinds[0]
    assert b"edge.online" in kinds[1]


@pytest.mark.parametrize(
    ("bounds", "seq", "believed"),
    [
        (LaneBounds(oldest=1, last=100, sent=60), 60, True),
        (LaneBounds(oldest=1, last=100, sent=60), 61, False),
        (LaneBounds(oldest=101, last=160, sent=100), 101, False),
        (LaneBounds(oldest=101, last=110, sent=100), 111, False),
        (None, 0, True),
        (None, 1, False),
    ],
)
def test_a_receipt_beyond_what_was_sent_is_of_another_life(
    bounds: LaneBounds | None, seq: int, believed: bool
) -> None:
    assert credible(bounds, seq) is believed


def test_what_was_sent_is_known_after_a_restart(tmp_path: Path) -> None:
    def opened() -> Journal:
        journal = Journal(tmp_path / "j", owner="e", budget=1 << 30, on_full=OnFull.REFUSE)
        journal.open()
        return journal

    journal = opened()
    journal.append(*[Append("event", b"x", 1) for _ in range(9)]).result()
    journal.note_sent("event", 7).result()
    assert journal.bounds()["event"] == LaneBounds(oldest=1, last=9, sent=7)
    journal.acknowledge("event", 3).result()
    journal.close()
    journal = opened()
    assert journal.bounds()["event"] == LaneBounds(oldest=4, last=9, sent=7)
    journal.close()


def test_waiting_threads_are_none_after_a_close(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", owner="e", budget=1 << 30, on_full=OnFull.REFUSE)
    journal.open()
    journal.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("journal-j")]
