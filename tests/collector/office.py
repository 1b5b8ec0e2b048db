"""A collector's log, ingest and projections without a broker, folded by hand on a fake clock."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

from collector.adoptions import Adoptions
from collector.feed import Chunk
from collector.ingest import Ingest
from collector.media_projection import MediaProjection
from collector.replays import Replays
from collector.rules_projection import RulesProjection
from collector.series_projection import SeriesProjection
from core.contracts.adoption import merge
from core.contracts.batch import envelope, seal
from core.contracts.events import Lane
from core.contracts.log import LogEntry, decode_entry
from core.runtime.link import Message
from core.runtime.settings import RecordsSettings, SeriesSettings, Settings
from core.storage.journal import Journal, OnFull
from core.storage.media import MediaStore
from core.storage.records import Records, conservation, ledger, letters, refusals
from core.storage.records.accounts import Who
from core.storage.records.conservation import Law
from core.storage.series import open_reader, open_writer
from rules.builtin import builtin
from tests.wire.harness import topology

NOW = 1_763_000_000_000
EPOCH = "0d3f7a52-1f1e-4a57-9d55-2a6d8f2f9c11"
SITE = "site-1"
EDGE = "edge-1"
FOREVER = 4_102_444_800_000


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = NOW

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.is_set()


def reading(device: str = "m1", at: int = NOW, power_w: Any = 5.0) -> bytes:
    """A meter's reading; with a text for a number it is refused."""
    power = f'"{power_w}"' if isinstance(power_w, str) else str(power_w)
    return (
        f'{{"at":{at},"seen":{at},"device":"{device}","kind":"meter.reading",'
        f'"data":{{"medium":"electricity","power_w":{power}}}}}'
    ).encode()


def batch(*events: bytes, seq: int = 1, edge: str = EDGE, oldest: int = 1) -> bytes:
    """A batch of readings as an edge writes it."""
    return envelope(edge, EPOCH, Lane.READING, seq, oldest, seal(list(events), NOW))


class ByHand:
    """Folds a log into its projections, whenever a test says so."""

    journal: Journal
    rules: RulesProjection
    series: SeriesProjection
    places: dict[str, int]

    def logged(self, after: int = 0) -> list[LogEntry]:
        reader = self.journal.reader()
        try:
            found = reader.read(after)
        finally:
            reader.close()
        return [decode_entry(e.lane, e.pos, e.seq, e.at, e.body) for e in found]

    def fold(self, *names: str) -> None:
        """Let the projections take what the log holds."""
        for name in names or ("rules", "series"):
            projection = self.rules if name == "rules" else self.series
            if entries := self.logged(self.places[name]):
                self.places[name] = entries[-1].pos
                projection.apply(Chunk(entries, entries[-1].pos))


class Office(ByHand):
    """The collector's parts over one folder; ``restart`` is a crash and a new start."""

    def __init__(
        self, folder: Path, *, retention_days: int = 400, records_url: str | None = None
    ) -> None:
        self.settings = Settings(
            data=folder,
            series=SeriesSettings(retention_days=retention_days),
            records=RecordsSettings(url=records_url),
        )
        self.clock = FakeClock()
        self.tree = topology(EDGE, "m1")
        self.records = Records(self.settings.records_url).open()
        self.start()

    def start(self) -> None:
        self.journal = Journal(
            self.settings.data / "collector.sqlite",
            owner="collector", budget=1 << 30, on_full=OnFull.REFUSE,
        )  # fmt: skip
        self.journal.open()
        with self.records.session() as session:
            ledger.begin(session, self.journal.epoch, self.journal.position, NOW)
        self.adoptions = Adoptions(
            self.records, self.journal, self.clock, builtin(), partial(merge, self.tree)
        )
        self.adoptions.activate()
        log_id = self.journal.epoch
        self.rules = RulesProjection(self.records, self.clock, log_id, lambda: None)
        self.series = SeriesProjection(
            lambda: open_writer(self.settings, log=log_id, clock=self.clock),
            self.records, self.clock, log_id,
        )  # fmt: skip
        self.places = {"rules": self.rules.open(), "series": self.series.open()}
        self.ingest = Ingest(self.journal, self.clock, lambda *_: None)
        self.ingest.start()
        self.replays = Replays(self.records, self.journal, self.clock, self.ingest)

    def crash(self) -> None:
        """End without folding what is left."""
        self.ingest.stop()
        self.series.close()
        self.journal.close()

    def rest(self) -> None:
        """End in good order: all is stored and counted."""
        self.ingest.stop()
        self.fold()
        media = MediaProjection(
            MediaStore(self.settings.data / "media"), self.records, self.clock, self.journal.epoch
        )
        if entries := self.logged(media.open()):
            media.apply(Chunk(entries, entries[-1].pos))
        for projection in (self.rules, self.series, media):
            projection.rest()
            self.journal.advance(projection.name, projection.needed_after())
        self.rules.close()
        self.series.close()
        self.journal.close()

    def restart(self) -> None:
        self.crash()
        self.start()

    def close(self) -> None:
        self.crash()
        self.records.close()

    def arrives(self, topic: str, payload: bytes) -> None:
        """Let a message arrive and be journalled."""
        before = self.journal.position
        message = Message(topic, payload, retained=False, properties=[], ack=lambda: None)
        if topic.endswith("/event"):
            self.ingest.on_plain(message)
        else:
            self.ingest.on_batch(message)
        assert self.journal.wait(before, 10), "nothing was journalled"

    def batch(self, payload: bytes, edge: str = EDGE) -> None:
        self.arrives(f"estate/v1/{SITE}/{edge}/batch", payload)

    def batch_again(self, payload: bytes) -> None:
        """Let a batch arrive that is in the log already; what comes after it is a tick's work."""
        topic = f"estate/v1/{SITE}/{EDGE}/batch"
        again = Message(topic, payload, retained=False, properties=[], ack=lambda: None)
        before = self.journal.position
        self.ingest.on_batch(again)
        self.ingest.stop()  # it decides on what has arrived
        assert self.journal.position == before
        self.ingest = Ingest(self.journal, self.clock, lambda *_: None)
        self.ingest.start()
        self.replays = Replays(self.records, self.journal, self.clock, self.ingest)

    def plain(self, device: str, payload: bytes) -> None:
        self.arrives(f"estate/v1/{SITE}/{device}/event", payload)

    def letters(self) -> list[dict[str, Any]]:
        with self.records.reading() as session:
            return refusals.list_dead_letters(session).items

    def dead(self) -> int:
        with self.records.reading() as session:
            return refusals.count_dead_letters(session)

    def law(self, start: int = 0, end: int = FOREVER) -> Law:
        """Return the conservation law once everybody has kept what was counted."""
        self.rules.close()
        self.series.close()
        with self.records.reading() as session:
            found = conservation.law(session, start, end)
        self.places = {"rules": self.rules.open(), "series": self.series.open()}
        return found

    def stored(self) -> int:
        reader = open_reader(self.settings)
        try:
            return sum(
                number for kind, number in reader.counts(0, FOREVER).items()
                if not kind.startswith("edge.")
            )  # fmt: skip
        finally:
            reader.close()

    def ask(self, letter: str, mended: bytes | None = None) -> None:
        with self.records.session() as session:
            letters.ask_replay(
                session, letter, Who("li", NOW), self.clock.now_ms(), reason="why", mended=mended
            )
