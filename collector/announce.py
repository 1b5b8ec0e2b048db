"""Announces alerts and colours over MQTT, from the live sequence in the records.

The sequence is the truth and MQTT only wakes its readers; what could not be published is
published later, because the announcer goes on from the number that it has reached.
"""

from __future__ import annotations

import threading

import structlog

from core.contracts import topics
from core.contracts.alerts import AlertState
from core.contracts.codec import encode
from core.contracts.errors import RetryableError
from core.runtime.link import Link
from core.storage.records import Records, changes, projection, tree
from core.storage.records.changes import LiveChange

log = structlog.get_logger(__name__)

_NAME = "announce"
_POLL_S = 0.25
_SAVE_EVERY = 200
_AT_ONCE = 500


class Announcer:
    """Publishes what the live sequence says about alerts and colours, each message retained.

    An alert that is over and acknowledged is published once more, then its topic is emptied.
    """

    def __init__(self, records: Records, link: Link) -> None:
        self._records = records
        self._link = link
        self._stopping = threading.Event()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._seq = 0
        self.published = 0

    def start(self) -> None:
        """Start in the background."""
        self._thread = threading.Thread(target=self._run, name="announce", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that the live sequence may have grown."""
        self._news.set()

    def stop(self) -> None:
        """Stop; what is left is announced after the next start."""
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

    def _run(self) -> None:
        saved: int | None = None
        while not self._stopping.is_set():
            # Operators change alerts in another process: those are found by looking.
            self._news.wait(_POLL_S)
            self._news.clear()
            if not self._link.connected:
                continue
            try:
                if saved is None:
                    saved = self._seq = self._load()
                self._step()
                if self._seq - saved >= _SAVE_EVERY:
                    saved = self._save()
            except RetryableError as error:
                log.debug("announcing later", why=str(error))
        try:
            if saved is not None and self._seq > saved:
                self._save()
        except RetryableError as error:
            log.warning("the announcer's place was not kept", why=str(error))

    def _load(self) -> int:
        with self._records.reading() as session:
            seq, _ = projection.cursor(session, _NAME)
            return max(seq, changes.first_seq(session) - 1)

    def _save(self) -> int:
        with self._records.session() as session:
            projection.save_cursor(session, _NAME, self._seq, None)
        return self._seq

    def _step(self) -> None:
        with self._records.reading() as session:
            found = changes.changes_since(session, self._seq, _AT_ONCE)
            coloured = any(change.topic == "colour" for change in found)
            nodes = tree.tree_view(session)["nodes"] if coloured else []
        sites: dict[str, dict[str, str]] = {}
        for node in nodes:
            if node["site"] is not None:
                sites.setdefault(node["site"], {})[node["id"]] = node["colour"]
        site_of = {node["id"]: node["site"] for node in nodes}
        touched = {site_of.get(change.ref) for change in found if change.topic == "colour"}
        for change in found:
            if change.topic == "alert":
                self._alert(change)
        for site in touched - {None}:
            self._publish(topics.colour(str(site)), encode(sites[str(site)]), retain=True)
        if found:
            self._seq = found[-1].seq

    def _alert(self, change: LiveChange) -> None:
        topic = topics.alert(change.payload["site"], change.ref)
        over = change.payload["state"] == AlertState.NORMAL
        self._publish(topic, encode(change.payload), retain=not over)
        if over:
            self._publish(topic, b"", retain=True)

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self._link.publish(topic, payload, retain=retain, content_type="application/json")
        self.published += 1
