"""What is published on the broker wakes the live push."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.contracts import topics
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings
from tests.api.harness import running
from tests.servers import Server

pytestmark = pytest.mark.mosquitto


@pytest.mark.parametrize("topic", [topics.alert("jinxiu", "some-id"), topics.colour("jinxiu")])
def test_alerts_and_colours_wake_the_live_push(
    mosquitto: Server, tmp_path: Path, template: Path, topic: str
) -> None:
    broker = BrokerSettings(embedded=False, host=mosquitto.host, port=mosquitto.port)
    with running(tmp_path, template=template, broker=broker, mqtt=True) as run:
        health = run.app.services.health
        woken = threading.Event()
        hub = run.app.services.hub
        hub.wake = woken.set  # type: ignore[method-assign]
        sender = Link(broker, LinkOptions(client_id="wake-test-sender"))
        sender.start()
        try:
            assert sender.wait_connected(10)
            for _ in range(50):
                health.forget()
                if {part.name: part.state for part in health.parts()}["mqtt"] == "ok":
                    break
                threading.Event().wait(0.1)
            else:
                pytest.fail("the API did not connect to the broker")
            sender.publish(topic, b"{}").result(5)
            assert woken.wait(5)
        finally:
            sender.stop()
