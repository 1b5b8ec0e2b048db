"""A running collector carries out what people decide: replays, and adoptions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from core.contracts import topics
from core.contracts.outputs import Presence
from core.contracts.topology import DeviceFamily
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings
from core.storage.records import adoptions, devices, letters, quarantine, refusals
from core.storage.records.accounts import Who
from core.storage.records.adoptions import Place
from core.storage.records.errors import NotFoundError
from tests.servers import Server
from tests.wire.harness import CLOCK, SITE, Collector, run, until

LEVEL = b'{"kind":"sensor.reading","data":{"quantity":"level","value":%b,"unit":"m"}}'
WHO = Who("li", 1)


def test_a_device_that_nobody_knows_is_mended_replayed_and_adopted(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto)
        await collector.start()
        await until(lambda: collector.app.connected, "connected")
        records = collector.app.records
        device = Link(BrokerSettings(port=mosquitto.port), LinkOptions("unknown-device"))
        device.start()
        await until(lambda: device.connected, "the device is connected")
        topic = topics.plain_event(SITE, "pump-9")

        async def say(value: bytes) -> None:
            await asyncio.to_thread(device.publish(topic, LEVEL % value).result, 5)

        def found() -> list[dict[str, Any]]:
            with collector.app.records.reading() as session:
                return refusals.list_dead_letters(session).items

        def presence() -> str | None:
            with collector.app.records.reading() as session:
                try:
                    state = devices.get_device(session, "pump-9")[1]
                except NotFoundError:
                    return None
            return Presence.UNKNOWN if state is None else state.presence

        def unknown() -> list[dict[str, Any]]:
            with collector.app.records.reading() as session:
                return quarantine.list_unknown(session)[0]

        await say(b'"high"')
        await until(lambda: len(found()) == 1, "the dead letter is there")
        with records.session() as session:
            letter = found()[0]["id"]
            letters.ask_replay(
                session, letter, WHO, CLOCK.now_ms(), reason="why", mended=LEVEL % b"1"
            )
        await until(lambda: found()[0]["state"] == "replayed", "it is replayed")
        await say(b"2")
        await until(lambda: [u["id"] for u in unknown()] == ["pump-9"], "it is listed")
        with records.session() as session:
            place = Place(SITE, DeviceFamily.SENSOR, "泵", "pump")
            adoptions.adopt(session, "pump-9", place, WHO, CLOCK.now_ms())
        await until(lambda: presence() == Presence.UNKNOWN, "it is adopted")
        await say(b"3")
        await until(lambda: presence() == Presence.ONLINE, "it is online")
        await collector.settle()
        assert unknown() == []
        await collector.stop()
        assert collector.stored() == 3
        await collector.start()
        await collector.settle()
        assert presence() == Presence.ONLINE
        device.stop()
        await collector.stop()

    run(main())
