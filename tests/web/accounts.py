"""Accounts of the conservation law for the system page to show."""

from __future__ import annotations

from core.contracts.ledger import HOUR_MS, Line, Stream
from core.storage.records import ledger, projection
from tests.web.harness import Site


def accounts(site: Site, *, missing: int = 0, held: int | None = None, waiting: int = 120) -> None:
    """Keep accounts of the last three days: all that came is accounted for, but for ``missing``.

    The series store holds ``held`` readings of yesterday, where that is not what it took, and has
    yet to store the ``waiting`` events of the gate.
    """
    now = site.clock.now_ms()
    hour = now - now % HOUR_MS
    south = Stream("jinxiu", "jinxiu-south", "epoch-1", "reading")
    gate = Stream("jinxiu", "jinxiu-gate", "epoch-1", "event")
    with site.records.session() as session:
        ledger.begin(session, "log", 0, now - 3 * ledger.DAY_MS)
        for back in range(72):
            line = Line(hour - back * HOUR_MS, south)
            first = 1 + 40 * (71 - back)
            seqs = {"first_seq": first, "last_seq": first + 39, "batches": 40}
            lost = missing if back == 30 else 0
            counts = ledger.Counts(
                **seqs, events=4_000, stored=3_999 - lost, dead=1, last_pos=7_200 - 100 * back
            )
            ledger.add(session, "log", {line: counts})
        waits = ledger.Counts(
            first_seq=1, last_seq=7, batches=7, events=40 + waiting, stored=40, last_pos=9_000
        )
        ledger.add(session, "log", {Line(hour, gate): waits})
        for witness in ledger.Witness:
            at = 8_000 if witness is ledger.Witness.SERIES else 9_000
            projection.save_cursor(session, witness.cursor("log"), at, None)
        for back in (1, 2):
            day = now // ledger.DAY_MS - back
            ledger.add_stored(session, {(day, "meter.reading"): 95_976})
            found = 95_976 if held is None or back == 2 else held
            ledger.note_found(
                session, day, ledger.stored_on(session, day), {"meter.reading": found}, now
            )
