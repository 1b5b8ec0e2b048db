"""The projections that need no engine: what they are, and several of them at work on one log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from collector.caution import Notebook
from collector.feed import DecodedEntries, Feed
from collector.media_projection import MediaProjection
from collector.projector import Projection, Projector, ProjectorState
from collector.series_projection import SeriesProjection
from collector.settlement import Settlement
from core.contracts.log import EVENT_FAMILIES
from core.runtime.clock import Clock
from core.runtime.settings import Settings
from core.storage.journal import FollowedLog
from core.storage.media import MediaStore
from core.storage.records import Records
from core.storage.series import open_writer

#: The names of :func:`store_projections`, in their order.
STORES = (SeriesProjection.name, MediaProjection.name)


def store_projections(
    settings: Settings,
    records: Records,
    clock: Clock,
    log_id: str,
    settlement: Settlement | None = None,
) -> list[Projection]:
    """Return the projections into the series store and the media store.

    ``settlement`` is of a log that ends with a tenure, where other logs came before.
    """
    return [
        SeriesProjection(
            lambda: open_writer(settings, log=log_id, clock=clock),
            records,
            clock,
            log_id,
            settlement=settlement,
        ),
        MediaProjection(
            MediaStore(settings.data / "media"), records, clock, log_id, settlement=settlement
        ),
    ]


def at_once(stops: Iterable[Callable[[], None]]) -> None:
    """Stop several that fold what is left: one after the other would take too long."""
    threads = [threading.Thread(target=stop, name="stop") for stop in stops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Followers:
    """Projections that follow one log, each in a thread of its own.

    ``times`` as in a feed; those that ``ahead`` names have the log read ahead for them.
    """

    def __init__(
        self,
        log: FollowedLog,
        projections: Sequence[Projection],
        notebook: Notebook,
        *,
        times: int = 1,
        ahead: frozenset[str] = frozenset(),
    ) -> None:
        alike = sum(
            each.families is None or each.families >= EVENT_FAMILIES for each in projections
        )
        decoded = DecodedEntries() if alike > 1 else None
        self._projectors = [
            Projector(
                each,
                Feed(
                    log,
                    each.families,
                    decoded,
                    most_bytes=each.most_bytes,
                    times=times,
                    ahead=each.name in ahead,
                ),
                notebook,
            )
            for each in projections
        ]

    def start(self) -> None:
        """Start them in the background; their stores may be down."""
        for projector in self._projectors:
            projector.start()

    def stop(self) -> None:
        """Fold what the log holds, as far as that is quick, and stop."""
        at_once(projector.stop for projector in self._projectors)

    def states(self) -> list[ProjectorState]:
        """Return how each of them stands."""
        return [projector.state() for projector in self._projectors]
