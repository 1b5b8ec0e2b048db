"""From one collector to several: what the one leaves goes where each site's first owner looks.

To those it is as if each site had been given by plan (ADR 0026): its lanes go on behind what is
stored, its rules from where they stood, its accounts where the one log's end.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from collector import announce
from collector.followers import STORES
from collector.rules_projection import RulesProjection
from collector.sites import place
from collector.station import LEFT
from collector.streams import StreamKey, parse_lane
from collector.tenure import Kept
from core.contracts.errors import JournalError, SettingsError
from core.contracts.log import BATCH, CONTROL, MEDIA, PLAIN
from core.runtime.clock import ScaledClock
from core.runtime.settings import Settings
from core.storage.journal import Journal, OnFull
from core.storage.records import Records, ledger, projection, tenures
from core.storage.records.accounts import Who, audit_by
from core.storage.records.ledger import Witness
from core.storage.records.tenures import Left
from core.storage.series import open_writer
from rules.handover import divide

_OF_SITES = (BATCH, MEDIA, PLAIN, CONTROL)


@dataclass(frozen=True, slots=True)
class TakenOver:
    """How many lanes each site's next owner goes on with.

    ``is_same_store``: the store holds what the accounts say of former days.
    """

    sites: dict[str, int]
    is_same_store: bool


def take_over(former: Settings, shared: Settings, who: Who, reason: str = "") -> TakenOver:
    """Leave the sites of the one collector of ``former`` to those that share ``shared``'s records.

    It must have stopped, with all of its log stored and counted. Until one of them has taken a
    site it may be done again.

    Raises:
        SettingsError: these are not the settings of one collector and of one of several, or its
            records are not those of its log.
        InUseError: the collector runs, or others have begun.
        JournalError: it has no log, or not all of that is stored.
        SnapshotError: its rules' state is another program version's.
        StoreUnavailableError: the records or the series store do not answer.
    """
    if former.collector.shared:
        raise SettingsError("collector.shared: the former settings are of one of several already")
    if not shared.collector.shared or shared.series.kind != "influxdb":
        raise SettingsError(
            "collector.shared: name with --settings one of those that are to share the sites"
        )
    with held(former) as log, closing(Records(shared.records_url).open()) as records:
        _check_stored(log)
        is_same_store = former.series.kind == "influxdb" and _holds(shared, log)
        left = _leave(records, log, former.collector.name, who, reason, same=is_same_store)
        log.advance(LEFT, log.position).result()
    lanes = {
        site: sum(len(seqs) for epochs in each.lanes.values() for _, seqs in epochs)
        for site, each in left.items()
    }
    return TakenOver(lanes, is_same_store)


@contextmanager
def held(former: Settings) -> Iterator[Journal]:
    """Hold the one collector's log, so that it neither runs nor starts."""
    path = former.data / "collector.sqlite"
    if not path.exists():
        raise JournalError(f"{path}: there is no log of one collector")
    log = Journal(
        path,
        owner=former.collector.name,
        budget=former.collector.journal_bytes,
        on_full=OnFull.REFUSE,
    )
    log.open()
    with closing(log):
        yield log


def _leave(
    records: Records, log: Journal, name: str, who: Who, reason: str, *, same: bool
) -> dict[str, Left]:
    with records.session() as session:
        snapshot = _rules_state(session, log)
        left = _parts(log, snapshot)
        # First, since it holds off whoever takes a site.
        tenures.leave_all(session, name, left)
        if same:
            ledger.leave_all(session, {s: each.log for s, each in left.items()}, who.at)
        told, _ = projection.cursor(session, announce.NAME)
        projection.save_cursor(session, place(name), told, None)
        detail = {"log": log.epoch, "sites": sorted(left), "reason": reason}
        audit_by(session, who, "sites.take_over", f"collector/{name}", detail)
    return left


def _check_stored(log: Journal) -> None:
    cursors = log.cursors()
    behind = {
        name: log.position - cursors.get(name, 0)
        for name in (RulesProjection.name, *STORES)
        if cursors.get(name, 0) < log.position
    }
    if behind:
        waits = ", ".join(f"{number:,} entries for {name}" for name, number in behind.items())
        raise JournalError(
            f"{log.path}: not all of it is stored, there wait {waits}; start its collector, let it "
            "catch up with its stores running, and stop it in good order"
        )


def _holds(shared: Settings, log: Journal) -> bool:
    """Tell whether a series store is the one that the log is stored in."""
    with closing(open_writer(shared, log=log.epoch, clock=ScaledClock())) as store:
        return store.position() >= log.position


def _rules_state(session: Session, log: Journal) -> bytes:
    """Return the rules' state at the log's end, once the records know all of the log."""
    check_known(session, log)
    kept, snapshot = projection.cursor(session, projection.snapshot_cursor(log.epoch))
    counted = [projection.cursor(session, witness.cursor(log.epoch))[0] for witness in Witness]
    if snapshot is None or min(kept, *counted) < log.position:
        raise SettingsError(
            f"records.url: these records do not have all of the log {log.path}; if they were "
            "copied, copy them again into an empty database, now that its collector has stopped"
        )
    return snapshot


def check_known(session: Session, log: Journal) -> None:
    """Raise SettingsError where records are not those of a log."""
    if ledger.beginning(session, log.epoch) is None:
        raise SettingsError(
            f"records.url: these records do not know the log {log.path}; bring its own here first "
            "(estate records copy)"
        )


def _parts(log: Journal, snapshot: bytes) -> dict[str, Left]:
    lasts = log.last_seqs()
    states = divide(snapshot, heard_sites(log))
    lanes: dict[str, dict[StreamKey, int]] = {site: {} for site in states}
    for lane, last in lasts.items():
        if (key := parse_lane(lane)) is not None and last:
            lanes[key.site][key] = last
    return {site: _left(log.epoch, site, lanes[site], state) for site, state in states.items()}


def heard_sites(log: Journal) -> set[str]:
    """Return the sites that a log has heard of."""
    lanes = (lane.split("/") for lane in log.last_seqs())
    return {parts[1] for parts in lanes if parts[0] in _OF_SITES}


def _left(log_id: str, site: str, lanes: Mapping[StreamKey, int], snapshot: bytes) -> Left:
    kept = Kept({})
    kept.add(dict(lanes))
    # A log of its own that the site never had, the same whenever this is done.
    name = str(uuid.uuid5(uuid.UUID(log_id), site))
    return Left(name, kept.lanes(), snapshot)
