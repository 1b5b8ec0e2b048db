"""Announces alerts and colours over MQTT, from the live sequence in the records.

The sequence is the truth and MQTT only wakes its readers; what could not be published is
published later, because the announcer goes on from the number that it has reached.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog

from core.contracts import topics
from core.contracts.alerts import AlertState
from core.contracts.codec import encode
from core.contracts.errors import RetryableError
from core.runtime.background import Background
from core.runtime.clock import Clock
from core.runtime.link import Link
from core.storage.records import Records, alerts, changes, projection, tree
from core.storage.records.changes import LiveChange

log = structlog.get_logger(__name__)

#: Of the announcer's place in the sequence, where one has all sites.
NAME = "announce"
_POLL_S = 0.25
_SAVE_EVERY = 200
_AT_ONCE = 500
_ANSWER_S = 5.0
_PAUSE_S = 1.0


class Announcer:
    """Publishes what the live sequence says about alerts and colours, each message retained.

    An alert that is over and acknowledged is published once more, then its topic is emptied.
    """

    def __init__(
        self,
        records: Records,
        link: Link,
        clock: Clock,
        *,
        name: str = NAME,
        owns: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``name`` is that of its place in the sequence; ``owns`` tells whose sites it tells of."""
        self._name = name
        self._owns = owns
        self._clock = clock
        self._records = records
        self._link = link
        self._background = Background("announce", self._run)
        self._news = threading.Event()
        self._again = threading.Event()
        self._adopted: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._seq = 0
        self.published = 0
        self.failures = 0

    def start(self) -> None:
        """Start in the background."""
        self._link.on_up(self._again.set)
        self._background.start()

    def wake(self) -> None:
        """Say that the live sequence may have grown."""
        self._news.set()

    def adopt(self, site: str, since: int) -> None:
        """Announce a site from now on, and what was told of it since a number of the sequence."""
        self._adopted.put((site, since))
        self._news.set()

    def stop(self) -> None:
        """Stop; what is left is announced after the next start."""
        self._background.stopping.set()
        self._news.set()
        self._background.stop()

    def _run(self) -> None:
        saved: int | None = None
        while not self._background.stopping.is_set():
            # Operators change alerts in another process: those are found by looking.
            self._news.wait(_POLL_S)
            self._news.clear()
            if not self._link.connected:
                continue
            try:
                if saved is None:
                    saved = self._seq = self._load()
                if self._again.is_set():
                    self._again.clear()
                    self._announce_all()
                self._catch_up()
                self._step()
                if self._seq - saved >= _SAVE_EVERY:
                    saved = self._save()
            except (RetryableError, TimeoutError) as error:
                self._again.set()
                log.debug("announcing later", why=str(error))
            except Exception:
                self.failures += 1
                self._again.set()
                log.exception("announcing failed")
                self._background.stopping.wait(_PAUSE_S)
        try:
            if saved is not None and self._seq > saved:
                self._save()
        except RetryableError as error:
            log.warning("the announcer's place was not kept", why=str(error))

    def _load(self) -> int:
        with self._records.reading() as session:
            seq, _ = projection.cursor(session, self._name)
            return max(seq, changes.first_seq(session) - 1)

    def _save(self) -> int:
        with self._records.session() as session:
            projection.save_cursor(session, self._name, self._seq, None)
        return self._seq

    def _announce_all(self) -> None:
        """Publish what stands now: a broker that was started anew has forgotten it."""
        with self._records.reading() as session:
            now = self._clock.now_ms()
            page = alerts.list_alerts(session, now=now, order="urgency", limit=500)
            standing = [alerts.alert_view(row, now) for row in page.items if self._owns(row.site)]
            nodes = tree.tree_view(session)["nodes"]
        sent = [
            self._publish(topics.alert(alert["site"], alert["id"]), encode(alert), retain=True)
            for alert in standing
        ]
        sent += self._colours(nodes, {node["site"] for node in nodes})
        _await(sent)

    def _catch_up(self) -> None:
        """Tell of sites that another has announced until now what that one may not have told."""
        while not self._adopted.empty():
            site, since = self._adopted.get()
            sent: list[Future[int]] = []
            while since < self._seq:
                with self._records.reading() as session:
                    found = changes.changes_since(session, since, _AT_ONCE)
                for change in found:
                    if change.topic == "alert" and change.payload["site"] == site:
                        sent += self._alert(change)
                since = found[-1].seq if found else self._seq
            _await(sent)
            self._again.set()

    def _step(self) -> None:
        with self._records.reading() as session:
            found = changes.changes_since(session, self._seq, _AT_ONCE)
            coloured = {change.ref for change in found if change.topic == "colour"}
            nodes = tree.tree_view(session)["nodes"] if coloured else []
        sent: list[Future[int]] = []
        for change in found:
            if change.topic == "alert" and self._owns(change.payload["site"]):
                sent += self._alert(change)
        sent += self._colours(nodes, {n["site"] for n in nodes if n["id"] in coloured})
        _await(sent)
        if found:
            self._seq = found[-1].seq

    def _colours(self, nodes: list[dict[str, Any]], sites: set[str | None]) -> list[Future[int]]:
        """Publish the colours of all nodes of each of the sites."""
        return [
            self._publish(
                topics.colour(site),
                encode({node["id"]: node["colour"] for node in nodes if node["site"] == site}),
                retain=True,
            )
            for site in sorted(site for site in sites if site is not None and self._owns(site))
        ]

    def _alert(self, change: LiveChange) -> list[Future[int]]:
        topic = topics.alert(change.payload["site"], change.ref)
        over = change.payload["state"] == AlertState.NORMAL
        sent = [self._publish(topic, encode(change.payload), retain=not over)]
        if over:
            sent.append(self._publish(topic, b"", retain=True))
        return sent

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> Future[int]:
        self.published += 1
        return self._link.publish(topic, payload, retain=retain, content_type="application/json")


def _await(sent: list[Future[int]]) -> None:
    """Wait for the broker's answers; raise when one did not come, so that all is sent again."""
    for future in sent:
        future.result(_ANSWER_S)
