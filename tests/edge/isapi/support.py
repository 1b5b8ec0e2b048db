"""A simulated door controller and its driver, for tests of the back-fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.runtime.clock import ScaledClock
from edge.drivers.isapi_door.driver import IsapiDoorDriver
from edge.drivers.isapi_door.settings import IsapiDoorSettings
from simulators.devices.door import DoorPeer
from simulators.devices.door_model import Door, DoorController
from simulators.devices.isapi import Code, Holder, Identity
from simulators.rhythms import RESIDENTIAL, Arrivals
from tests.edge.drivers.support import Recorder, Streaming, context

HOLDER = Holder("10001", "张三", "3020100111")


class Site:
    """One controller; drivers may come and go."""

    def __init__(self, folder: Path, *, replay: int = 3) -> None:
        self.folder = folder
        self.clock = ScaledClock()
        doors = [Door(n, Arrivals(1, f"d{n}", RESIDENTIAL.scaled(0))) for n in (1, 2)]
        self.model = DoorController(1, "site", self.clock, doors, [HOLDER])
        self.peer = DoorPeer(
            self.clock, self.model, identity=Identity("site", "192.0.2.1", "02:00:5e:10:00:01"),
            username="edge", password="secret", replay=replay, heartbeat_s=0.2,
        )  # fmt: skip
        self.sink = Recorder()
        self.sent: list[int] = []

    async def __aenter__(self) -> Site:
        await self.peer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.peer.stop()

    def driver(self, **more: Any) -> IsapiDoorDriver:
        raw = {
            "driver": "isapi_door", "base_url": f"http://127.0.0.1:{self.peer.port}",
            "username": "edge", "password": "secret", "doors": {"1": "door-1", "2": "door-2"},
            "silence_s": 2, "request_timeout_s": 1, "controller": "controller",
        }  # fmt: skip
        settings = IsapiDoorSettings.model_validate(raw | more)
        return IsapiDoorDriver(settings, context(self.folder, self.clock))

    def listening(self, **more: Any) -> Streaming:
        return Streaming(self.driver(**more), self.sink)

    def happen(self, times: int = 1) -> None:
        """Let somebody badge in so often."""
        for _ in range(times):
            self.sent.append(self.model.record(1, Code.CARD_OK, HOLDER).serial)

    @property
    def told(self) -> list[int]:
        """Return the serial numbers of the grants that were told, in their order."""
        return [data["serial"] for data in self.sink.of("access.granted")]

    async def settled(self) -> None:
        """Wait until everything that happened is told."""
        await self.sink.until(lambda: set(self.sent) <= set(self.told))
