"""Alerts and colours over MQTT: retained, and there again after a broker has forgotten them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.contracts import topics
from core.contracts.log import Activation
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings
from rules.builtin import builtin
from tests.servers import Server
from tests.wire.harness import SITE, Collector, run, topology, until

pytestmark = pytest.mark.mosquitto


class Subscriber:
    def __init__(self, broker: Server, name: str) -> None:
        self.found: dict[str, Any] = {}
        self.link = Link(BrokerSettings(port=broker.port), LinkOptions(name))
        self.link.subscribe(topics.ALL_ALERTS, self.take)
        self.link.subscribe(topics.ALL_COLOURS, self.take)
        self.link.start()

    def take(self, message: Message) -> None:
        self.found[message.topic] = json.loads(message.payload) if message.payload else None

    def alert(self) -> dict[str, Any] | None:
        """Return the alert of this module's door; the broker may have others' retained."""
        alerts = (v for k, v in self.found.items() if "/alert/" in k and v is not None)
        return next((alert for alert in alerts if alert["device"] == "door-1"), None)


def test_a_standing_alert_is_announced_and_again_to_a_broker_that_forgot_it(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-8")
        site = topology("e-8", "door-1")
        site["devices"][0] |= {"family": "door", "edge": None}
        collector.activation = Activation(topology=site, rules=dict(builtin()))
        await collector.start()
        await until(lambda: collector.app.connected, "connected")
        first = Subscriber(mosquitto, "announce-1")
        await until(lambda: first.link.connected, "the subscriber is connected")
        forced = b'{"kind":"access.forced","data":{}}'
        first.link.publish(topics.plain_event(SITE, "door-1"), forced)
        await until(lambda: first.alert() is not None, "the alert is announced")
        alert = first.alert()
        assert alert is not None
        assert (alert["rule"], alert["colour"]) == ("door-forced", "orange")
        await until(lambda: topics.colour(SITE) in first.found, "the colours are announced")
        first.link.stop()
        mosquitto.kill()
        mosquitto.start()  # here, since a server dies with the thread that started it
        second = Subscriber(mosquitto, "announce-2")
        await until(lambda: second.alert() is not None, "the new broker has the alert, too")
        assert second.alert()["id"] == alert["id"]  # type: ignore[index]
        second.link.stop()
        await collector.stop()

    run(main())
