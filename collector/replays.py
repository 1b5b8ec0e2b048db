"""Puts dead letters back into the log, whose owner the collector is (ADR 0018).

Once only, whatever dies in between: what is in the lane ``replay`` is not put there again, the
log keeps it until the rules have folded it, and the rules' projection notes it with its cursor.
A message that never got a place in an edge's numbering goes the way of the messages instead, and
the edge's lane knows whether it was there before.
"""

from __future__ import annotations

import msgspec
import structlog

from collector.ingest import Ingest
from collector.streams import StreamKey
from core.contracts.batch import decode_envelope
from core.contracts.codec import encode
from core.contracts.errors import ContractError
from core.contracts.letters import Family, Replay, open_letter
from core.contracts.log import REPLAY
from core.runtime.clock import Clock
from core.runtime.link import Message
from core.storage.journal import Append, Log
from core.storage.records import Records, letters
from core.storage.records.letters import Asked

log = structlog.get_logger(__name__)

_AT_ONCE = 100


class _Name(msgspec.Struct):
    letter: str


_decode_name = msgspec.json.Decoder(_Name).decode


class Replays:
    """Carries out what was asked of dead letters; used by one thread."""

    name = "replays"

    def __init__(
        self,
        records: Records,
        journal: Log,
        clock: Clock,
        ingest: Ingest,
        site: str | None = None,
    ) -> None:
        """``site`` is the one whose letters it puts back, None: all."""
        self._site = site
        self._records = records
        self._journal = journal
        self._clock = clock
        self._ingest = ingest
        self._logged: set[str] | None = None

    def step(self) -> None:
        """Look once; raise StoreUnavailableError or JournalError to be called again."""
        if self._logged is None:
            self._logged = self._in_the_log()
        with self._records.reading() as session:
            found = letters.asked(session, _AT_ONCE, self._site)
        for letter in found:
            if letter.id not in self._logged:
                self._take(letter, self._logged)

    def _in_the_log(self) -> set[str]:
        """Return the letters that an earlier life of this process has put back."""
        reader = self._journal.reader()
        found: set[str] = set()
        try:
            last = 0
            while entries := reader.read_lane(REPLAY, last):
                found.update(_decode_name(e.body).letter for e in entries)
                last = entries[-1].seq
        finally:
            reader.close()
        return found

    def _take(self, letter: Asked, logged: set[str]) -> None:
        try:
            contents = open_letter(letter.origin, letter.raw)
            if letter.origin.family is Family.MESSAGE and contents.edge:
                self._send(letter, contents.site)
                return
        except ContractError as refused:
            self._refuse(letter, str(refused))
            return
        replay = Replay(letter.id, letter.by, letter.origin, letter.raw)
        number = max(len(contents.events), 1)
        append = Append(REPLAY, encode(replay), self._clock.now_ms(), events=number)
        self._journal.append(append).result()
        logged.add(letter.id)
        log.info("dead letter replayed", letter=letter.id, by=letter.by, events=number)

    def _send(self, letter: Asked, site: str) -> None:
        """Hand a mended batch to the ingest as if it came now, or note that it is in the log."""
        head = decode_envelope(letter.raw)
        key = StreamKey(site, head.edge, head.epoch, head.lane)
        last = self._journal.last_seqs().get(key.journal_lane, 0)
        if head.seq <= last:
            where = f"{key.journal_lane}/{head.seq}"
            told = letters.Replayed(letter.id, self._clock.now_ms(), letter.by, where)
            with self._records.session() as session:
                letters.mark_replayed(session, [told], told.at)
        elif head.seq == last + 1 or head.oldest >= head.seq:
            topic = letter.origin.topic
            self._ingest.on_batch(
                Message(topic, letter.raw, retained=False, properties=[], ack=lambda: None)
            )
        else:
            raise ContractError(
                f"the log has this lane up to {last}, and the edge still has what comes next",
                field="seq", remedy="ask again when the edge has sent it",
            )  # fmt: skip

    def _refuse(self, letter: Asked, why: str) -> None:
        log.warning("dead letter not replayed", letter=letter.id, why=why)
        with self._records.session() as session:
            letters.note_problem(session, letter.id, why)
