"""A log and the projections that follow it in threads of their own, without a broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collector.caution import Notebook
from collector.followers import Followers
from collector.media_projection import MediaProjection
from collector.rules_projection import RulesProjection
from collector.series_projection import SeriesProjection
from core.contracts.codec import encode
from core.contracts.log import ACTIVATION, Activation, batch_lane
from core.runtime.settings import RecordsSettings, Settings
from core.storage.journal import Append, Journal, OnFull
from core.storage.media import MediaStore
from core.storage.records import Records, counters, refusals
from core.storage.series import open_reader, open_writer
from estate.audit import Audit, audit_of
from rules.builtin import builtin
from tests.collector.office import EDGE, EPOCH, FOREVER, NOW, SITE, FakeClock, batch, reading
from tests.wire.harness import topology

LANE = batch_lane(SITE, EDGE, EPOCH, "reading")


class Works:
    """A log and the projections that follow it in their threads, as a collector has them."""

    def __init__(self, folder: Path, records_url: str | None = None) -> None:
        self.ahead = frozenset[str]()
        """The projections that the log is read ahead for."""
        self.settings = Settings(data=folder, records=RecordsSettings(url=records_url))
        self.clock = FakeClock()
        self.records = Records(self.settings.records_url).open()
        self.journal = Journal(
            folder / "collector.sqlite", owner="collector", budget=1 << 30, on_full=OnFull.REFUSE
        )
        self.journal.open()
        self.seq = self.journal.last_seqs().get(LANE, 0)
        self.followers: Followers | None = None
        if not self.journal.position:
            self.append(ACTIVATION, encode(Activation(topology(EDGE, "m1", "m2"), dict(builtin()))))

    def append(self, lane: str, body: bytes, seq: int | None = None, at: int = NOW) -> int:
        append = Append(lane, body, at, seq=seq)
        return self.journal.append(append).result()[0].pos

    def batch(self, *powers: float) -> int:
        """Journal a batch of readings; return its position."""
        self.seq += 1
        events = [reading(at=NOW + 1000 * self.seq + i, power_w=p) for i, p in enumerate(powers)]
        return self.append(LANE, batch(*events, seq=self.seq), self.seq)

    def start(self) -> None:
        log_id = self.journal.epoch
        self.rules = RulesProjection(self.records, self.clock, log_id, lambda: None)
        self.series = SeriesProjection(
            lambda: open_writer(self.settings, log=log_id, clock=self.clock),
            self.records, self.clock, log_id,
        )  # fmt: skip
        media = MediaProjection(MediaStore(self.settings.data / "media"), self.records, self.clock,
                                log_id)  # fmt: skip
        self.followers = Followers(
            self.journal,
            [self.rules, self.series, media],
            Notebook(self.records, log_id, self.clock),
            ahead=self.ahead,
        )
        self.followers.start()

    def settle(self) -> None:
        """Let the projections come to the log's end, then stop them."""
        self.start()
        try:
            self.await_end()
        finally:
            self.stop()

    def await_end(self) -> None:
        end = self.journal.position
        until(lambda: all(state.position >= end for state in self.states()), 60)

    def states(self) -> list[Any]:
        assert self.followers is not None
        return self.followers.states()

    def stop(self) -> None:
        if self.followers is not None:
            self.followers.stop()
            self.followers = None

    def close(self) -> None:
        self.stop()
        self.journal.close()
        self.records.close()

    def letters(self) -> list[dict[str, Any]]:
        with self.records.reading() as session:
            return sorted(
                refusals.list_dead_letters(session).items, key=lambda x: (x["pos"], x["index"])
            )

    def counted(self) -> int:
        with self.records.reading() as session:
            return counters.read(session, counters.LEFT_OUT)

    def powers(self) -> list[float]:
        """What the series store has, in order of time."""
        reader = open_reader(self.settings)
        try:
            return [e.data["power_w"] for e in reader.events("m1", 0, FOREVER)][::-1]
        finally:
            reader.close()

    def audit(self) -> Audit:
        reader = open_reader(self.settings)
        try:
            return audit_of(self.settings.data / "collector.sqlite", [], reader, self.records)
        finally:
            reader.close()


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)
