"""The way of the data: edges, the collector's log, its projections, and what got stuck.

Read from the files and the records as they are, so that it can be told while parts are down.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from sqlalchemy import select

from core.contracts.codec import decode_event
from core.contracts.errors import JournalCorruptError, JournalError
from core.contracts.log import TICK
from core.storage.journal import JournalReader
from core.storage.journal.survey import Survey, holder, survey
from core.storage.records import projection, refusals
from core.storage.records.models import CursorRow, EdgeRow, EdgeState
from edge.outbox import JOURNAL_BYTES
from estate.doctor.finding import BrokenError, Finding, Patient, for_long
from rules.engine import Engine

#: Real seconds without a tick, after which the log is looked at twice.
_TICK_S = 5.0
#: Real seconds between the two looks.
_AGAIN_S = 2.5
#: Real seconds that a projection may be behind; the rules keep their state every 20 s.
_BEHIND_S = 120.0
_BACKLOG_S = 600.0
_NEARLY_FULL = 0.8
_SKEW_S = 5.0
_LETTERS_S = 3600.0
_NAMED = 5
_DAMAGED = (
    "stop the collector and keep a copy, then restore a backup (docs/backup.md); or move it away "
    "(with its -wal and -shm): the next start begins a new log, the stores keep what they have, "
    "the edges send what they still have, and what was in this log only is lost"
)


def collector(patient: Patient) -> str:
    """Look whether a collector holds the log and lets its time go on."""
    pid = holder(patient.log)
    if not patient.log.exists():
        raise _not_ticking(patient, pid, None)
    ticked, position = _last_tick(patient)
    if pid is None or ticked is None or patient.age_s(ticked) > _TICK_S:
        time.sleep(_AGAIN_S)
        if _last_tick(patient)[1] == position:
            raise _not_ticking(patient, pid, ticked)
    return f"it runs and ticks; {position:,} entries so far"


def _not_ticking(patient: Patient, pid: int | None, ticked: int | None) -> BrokenError:
    if pid is None:
        remedy = f"`estate run` or `estate collector`; see {patient.log_of('collector')}"
        return BrokenError("it does not run", remedy, ticked)
    since = "" if ticked is None else f" for {for_long(patient.age_s(ticked))}"
    return BrokenError(
        f"it runs (process {pid}), but has journalled no tick{since}",
        f"see {patient.log_of('collector')}: a full disk or budget, or a process that was stopped",
        ticked,
    )


def journal(patient: Patient) -> str:
    """Look at the room in the log's budget."""
    budget = patient.settings.collector.journal_bytes
    try:
        with survey(patient.log) as seen:
            seen.check(patient.log)
            used, cursors = seen.used_bytes(), seen.cursors()
    except JournalCorruptError as error:
        raise BrokenError(str(error).partition("; ")[0], _DAMAGED) from None
    except JournalError as error:
        remedy = "`estate run` or `estate collector` makes it; or set `data`"
        raise BrokenError(str(error), remedy) from None
    share = used / budget
    if share >= _NEARLY_FULL:
        held = min(cursors, key=lambda name: cursors[name], default="no projection")
        raise BrokenError(
            f"{share:.0%} of its {budget >> 20} MiB are used; the edges must keep what comes then",
            f"{held} is furthest behind: mend its store, or raise collector.journal_bytes",
        )
    return f"{share:.0%} of its {budget >> 20} MiB are used"


def projections(patient: Patient) -> list[Finding] | str:
    """Look how far each projection is behind the log."""
    runs, log = holder(patient.log) is not None, patient.log_of("collector")
    with patient.survey() as seen:
        lags = {name: _lag(patient, seen, at) for name, at in seen.cursors().items()}
    if not lags:
        raise BrokenError("none has begun", "start the collector once")
    bad = [
        Finding(
            "projections", False,
            f"{name} is {entries:,} entries and {for_long(seconds)} behind",
            f"see {log} for why its store refuses it (`projector stands still`)", since,
        )
        for name, (entries, seconds, since) in lags.items()
        if runs and seconds > _BEHIND_S
    ]  # fmt: skip
    most = max(entries for entries, _, _ in lags.values())
    return bad or f"at most {most:,} entries behind" + (
        "" if runs else "; folded at the next start"
    )


def edges(patient: Patient) -> list[Finding] | str:
    """Look at the edges as the collector last heard of them."""
    with patient.records() as records, records.reading() as session:
        rows = list(session.scalars(select(EdgeState)))
        known = set(session.scalars(select(EdgeRow.id)))
    bad = [finding for row in rows for finding in _edge(patient, row)]
    silent = sorted(known - {row.edge for row in rows})
    if silent:
        text = f"never heard of: {_some(silent)}"
        bad.append(Finding("edges", False, text, "start them with `estate edge FILE`"))
    return bad or f"{len(rows)} online and drained"


def _edge(patient: Patient, row: EdgeState) -> Iterator[Finding]:
    log = patient.log_of(f"edge {row.edge}")
    if not row.online:
        waits = _waiting(patient, row.edge)
        backlog = f"; {waits:,} batches wait in its outbox" if waits else ""
        long = for_long(patient.age_s(row.since))
        yield Finding(
            "edges", False, f"{row.edge} is offline for {long}{backlog}",
            f"see whether it runs and reaches the broker, on its own machine; {log}",
            row.since,
        )  # fmt: skip
    elif not row.drained and patient.age_s(row.since) > _BACKLOG_S:
        yield Finding(
            "edges", False, f"{row.edge} is online, but has not handed on its backlog",
            f"see {log} and {patient.log_of('collector')}", row.since,
        )  # fmt: skip


def outboxes(patient: Patient) -> list[Finding] | str:
    """Look at the outboxes that are on this machine."""
    paths = sorted(patient.settings.data.glob("edges/*/outbox.sqlite"))
    bad = []
    for path in paths:
        try:
            with survey(path) as seen:
                share = seen.used_bytes() / JOURNAL_BYTES
                ages = [lane.oldest_at for lane in seen.lanes() if lane.oldest_at is not None]
        except JournalCorruptError as error:
            text, _, remedy = str(error).partition("; ")
            bad.append(Finding("outboxes", False, text, remedy))
            continue
        if share >= _NEARLY_FULL:
            bad.append(
                Finding(
                    "outboxes", False,
                    f"{path.parent.name}: {share:.0%} used; then the lowest class is dropped",
                    "see why nothing is receipted: broker, collector, journal above",
                    min(ages, default=None),
                )
            )  # fmt: skip
    return bad or f"{len(paths)} on this machine, with room"


def clocks(patient: Patient) -> list[Finding] | str:
    """Look at the clocks of the edges, as their last births told them."""
    bad = []
    with patient.survey() as seen, closing(JournalReader(patient.log)) as reader:
        lanes = {head.name: head.last for head in seen.lanes() if head.name.startswith("control/")}
        reader.open()
        for name, last in lanes.items():
            told = [
                (event.data.skew_s, entry.at)
                for entry in reader.read_lane(name, max(last - 50, 0), limit=50)
                if (event := decode_event(entry.body)).kind == "edge.clock"
            ]
            if told and abs(told[-1][0]) > _SKEW_S:
                skew, at = told[-1]
                text = f"{name.rpartition('/')[2]} was {skew:+.0f} s from the collector's clock"
                bad.append(Finding("clocks", False, text, "run NTP on both machines", at))
    return bad or f"no edge of {len(lanes)} is more than {_SKEW_S:g} s off"


def unknown_devices(patient: Patient) -> str:
    """Look for whoever speaks and is in no topology, in the engine's last state."""
    with patient.survey() as seen:
        cursor = projection.snapshot_cursor(seen.epoch)
    with patient.records() as records, records.reading() as session:
        blob = session.scalar(select(CursorRow.snapshot).where(CursorRow.projector == cursor))
    if blob is None:
        return "the rules have kept no state yet"
    unknown = Engine.load(blob).unknown
    if unknown:
        names = sorted(unknown, key=lambda name: -unknown[name])
        raise BrokenError(
            f"{len(names)} speak that no topology names: {_some(names)}",
            "`estate devices unknown` lists them; adopt them, or name them in the topology file",
        )
    return "none"


def dead_letters(patient: Patient) -> str:
    """Look for what was refused within the last hour, and is not brought back or set aside."""
    since = patient.past(_LETTERS_S)
    with patient.records() as records, records.reading() as session:
        fresh = refusals.fresh_dead_letters(session, since)
        kept = refusals.count_dead_letters(session)
    if fresh is not None:
        last = fresh.last
        raise BrokenError(
            f"{fresh.count:,} in the last hour; the last from {last.source}: "
            f"{f'{last.field}: ' if last.field else ''}{last.reason}",
            "the console's system page lists them; mend what sends them",
            fresh.first,
        )
    return f"none in the last hour, {kept:,} in all"


def _last_tick(patient: Patient) -> tuple[int | None, int]:
    with patient.survey() as seen:
        return seen.newest_at(TICK), seen.position


def _lag(patient: Patient, seen: Survey, position: int) -> tuple[int, float, int | None]:
    since = seen.at_after(position)
    age = 0.0 if since is None else patient.age_s(since)
    return max(seen.position - position, 0), age, since


def _waiting(patient: Patient, edge: str) -> int:
    path = patient.settings.data / "edges" / edge / "outbox.sqlite"
    if not path.exists():
        return 0
    with survey(path) as seen:
        return sum(lane.entries for lane in seen.lanes())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
