"""The stations of one of several collectors: taking sites over, and giving them away."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from collector.announce import Announcer
from collector.parts import Parts
from collector.station import Station
from collector.tenure import Tenure
from core.runtime.clock import Clock
from core.runtime.settings import Settings
from core.storage.records import Records, ledger, projection, tenures
from rules.handover import Inheritance, inherit
from rules.snapshot import SnapshotError

log = structlog.get_logger(__name__)

#: So many sites change hands at once.
_HANDS = 4
#: Where in the data folder the logs of sites are, each in its site's folder.
FOLDER = "sites"


class Sites:
    """Stations by site; each change of one is done in the background, one at a time a site."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        records: Records,
        parts: Parts,
        announcer: Callable[[], Announcer],
        on_failure: Callable[[BaseException], None] | None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._records = records
        self._parts = parts
        self._announcer = announcer
        self._on_failure = on_failure
        self._name = settings.collector.name
        self._hands = ThreadPoolExecutor(_HANDS, thread_name_prefix="sites")
        self._lock = threading.Lock()
        self._stations: dict[str, tuple[Station, int]] = {}
        self._busy: set[str] = set()
        self.taken = 0
        """Sites that were taken since the start, and those of them that were lost again."""
        self.lost = 0
        self.failures = 0

    def stations(self) -> list[Station]:
        """Return the stations that run."""
        with self._lock:
            return [station for station, _ in self._stations.values()]

    def terms(self) -> dict[str, int]:
        """Return the sites that are served, with the terms since which they are."""
        with self._lock:
            return {site: term for site, (_, term) in self._stations.items()}

    def owns(self, site: str) -> bool:
        """Tell whether a site is served here."""
        return site in self._stations

    def take(self, site: str) -> None:
        """Take a site over in the background."""
        self._do(site, self._take)

    def give(self, site: str) -> None:
        """Give a site away in the background."""
        self._do(site, self._give)

    def drop(self, site: str) -> None:
        """Stop serving a site that is another's, or may be by now."""
        self._do(site, self._drop)

    def close(self) -> None:
        """Give all sites away and wait for it."""
        self._hands.shutdown(wait=True)
        with ThreadPoolExecutor(_HANDS) as hands:
            list(hands.map(self._give, list(self.terms())))

    def _do(self, site: str, action: Callable[[str], None]) -> None:
        with self._lock:
            if site in self._busy:
                return
            self._busy.add(site)
        self._hands.submit(self._guarded, site, action)

    def _guarded(self, site: str, action: Callable[[str], None]) -> None:
        try:
            action(site)
        except Exception:
            # The next orders come in a second; what was half begun is undone.
            self.failures += 1
            log.exception("a site did not change hands", site=site)
        finally:
            with self._lock:
                self._busy.discard(site)

    # -- in the background -------------------------------------------------------------------

    def _take(self, site: str) -> None:
        if self.owns(site):
            return
        folder = self._settings.data / FOLDER / site
        folder.mkdir(parents=True, exist_ok=True)
        self._clear(folder)
        station = Station(
            self._settings,
            self._clock,
            self._records,
            path=folder / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.sqlite",
            rules=self._parts.rules,
            ground=lambda adopted: self._parts.part(adopted, site),
            name=f"{self._name}:{site}",
            site=site,
            on_stored=lambda: self._announcer().wake(),
            on_failure=self._on_failure,
        )
        try:
            station.open()
            tenure, since = self._inherit(site, station.journal.epoch)
            if tenure is None:
                station.stop()
                return
            station.start(tenure)
            station.connect()
            station.attend()
        except BaseException:
            station.disconnect([])
            station.stop()
            raise
        with self._lock:
            self._stations[site] = station, tenure.term
        self.taken += 1
        self._announcer().adopt(site, since)
        log.info("site taken", site=site, term=tenure.term)

    def _inherit(self, site: str, log_id: str) -> tuple[Tenure | None, int]:
        """Make a site ours; return what there is to go on from, and what was told of it."""
        with self._records.session() as session:
            taken = tenures.take(session, site, self._name, log_id)
            if taken is None:
                return None, 0
            ledger.succeed(session, site, taken.log, log_id, self._clock.now_ms())
            state = None if taken.snapshot is None else self._read(site, taken.snapshot)
            if state is not None:
                cursor = projection.snapshot_cursor(log_id)
                projection.save_cursor(session, cursor, 0, state.snapshot)
            told, _ = projection.cursor(session, place(taken.former or self._name))
        online = {} if state is None else state.online
        return Tenure(site, taken.term, taken.lanes, online), told

    def _read(self, site: str, snapshot: bytes) -> Inheritance | None:
        try:
            return inherit(snapshot)
        except SnapshotError as error:
            # Of another program's version: the edges' fresh states say what stands.
            log.warning("the rules begin anew", site=site, why=str(error))
            return None

    def _give(self, site: str) -> None:
        term = self._end(site)
        if term is not None:
            with self._records.session() as session:
                tenures.give(session, site, term)
            log.info("site given", site=site, term=term)

    def _drop(self, site: str) -> None:
        term = self._end(site)
        if term is not None:
            self.lost += 1
            log.warning("site lost", site=site, term=term)

    def _end(self, site: str) -> int | None:
        with self._lock:
            station, term = self._stations.pop(site, (None, None))
        if station is not None:
            station.disconnect([])
            station.stop()
        return term

    def _clear(self, folder: Path) -> None:
        """Remove the logs of former terms that are older than what a log keeps."""
        since = time.time() - self._settings.collector.journal_retention_h * 3600
        for path in folder.iterdir():
            if path.stat().st_mtime < since:
                path.unlink(missing_ok=True)


def place(collector: str) -> str:
    """Return the name of a collector's place in the live sequence."""
    return f"announce:{collector}"
