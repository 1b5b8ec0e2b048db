"""From a gateway's socket to the alerts: eighty meters lose their gateway, one alert is raised."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import yaml

from collector.app import CollectorApp
from core.contracts.log import Activation
from core.runtime.clock import ScaledClock
from core.runtime.settings import BrokerSettings, CollectorSettings, Settings
from core.storage.records import Records, alerts
from edge.app import EdgeApp
from rules.builtin import builtin
from simulators.devices.meter import MeterGateway
from simulators.devices.meter_model import MeterModel
from simulators.loads import LoadKind, LoadPlan, LoadSpec
from tests.servers import Server
from tests.wire.harness import SITE, run, topology, until

pytestmark = pytest.mark.mosquitto

COUNT = 80
EDGE = "e-eighty"
METERS = [f"m{number:02}" for number in range(COUNT)]


class Gears:
    """A clock whose speed is changed while it runs."""

    def __init__(self) -> None:
        self.clock = ScaledClock.starting_now()

    def shift(self, speed: float) -> None:
        self.clock = ScaledClock.starting_now(speed, self.clock.now_ms())

    def now_ms(self) -> int:
        return self.clock.now_ms()

    async def sleep(self, seconds: float) -> None:
        ends = self.now_ms() + seconds * 1000
        while (left_ms := ends - self.now_ms()) > 0:  # noqa: ASYNC110 (the speed may change)
            await asyncio.sleep(min(left_ms / 1000 / self.clock.speed, 0.1))

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return self.clock.wait(event, seconds)


def test_a_dead_gateway_with_eighty_meters_is_exactly_one_alert(
    mosquitto: Server, tmp_path: Path
) -> None:
    clock = Gears()
    spec = LoadSpec(LoadKind.HOUSEHOLD, 8_000)
    addresses = {device: f"{number + 1:012}" for number, device in enumerate(METERS)}
    models = {a: MeterModel(7, a, LoadPlan(7, a, spec), phases=1) for a in addresses.values()}

    async def scene() -> None:
        peer = MeterGateway(clock, models)
        await peer.start()
        file = tmp_path / "edge.yaml"
        entry = {
            "driver": "dlt645", "host": "127.0.0.1", "port": peer.port, "period_s": 20,
            "timeout_s": 0.5,
            "meters": [{"device": d, "address": a} for d, a in addresses.items()],
        }  # fmt: skip
        file.write_text(yaml.safe_dump({"edge": EDGE, "site": SITE, "drivers": [entry]}))
        raw = topology(EDGE, *METERS)
        for device in raw["devices"]:
            device["expect_s"] = 60
        settings = Settings(
            data=tmp_path,
            broker=BrokerSettings(port=mosquitto.port),
            collector=CollectorSettings(companion=False),
        )
        collector = CollectorApp(
            settings, clock, activation=Activation(topology=raw, rules=builtin())
        )
        agent = EdgeApp(settings, clock, file)
        await collector.start()
        await agent.start()
        records = Records(settings.records_url)
        records.open()

        def raised() -> list[tuple[str, str | None, bool]]:
            with records.reading() as session:
                found = alerts.list_alerts(session, state="all", now=clock.now_ms(), limit=200)
                views = [alerts.alert_view(a, clock.now_ms()) for a in found.items]
            return sorted((v["rule"], v["key"], v["cleared_at"] is None) for v in views)

        try:
            health = agent.runner.health
            await until(lambda: all(health()[d].online for d in METERS), "all meters are read")
            assert raised() == []
            await peer.listener.suspend()
            name = f"127.0.0.1:{peer.port}"
            await until(lambda: agent.runner.gateways() == {name: False}, "the edge knows")
            clock.shift(50)
            alert = ("gateway-unreachable", f"{EDGE}/{name}", True)
            await until(lambda: raised() == [alert], "the gateway's alert")
            later = clock.now_ms() + 300_000
            await until(lambda: clock.now_ms() > later, "five minutes: four missed intervals")
            assert raised() == [alert]
            clock.shift(1)
            await peer.listener.start()
            await until(lambda: raised() == [(*alert[:2], False)], "it is over")
            await until(lambda: all(health()[d].online for d in METERS), "all meters are back")
            assert raised() == [(*alert[:2], False)]
        finally:
            records.close()
            await agent.stop()
            await collector.stop()
            await peer.stop()

    run(scene(), 100)
