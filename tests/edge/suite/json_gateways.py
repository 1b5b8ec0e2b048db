"""JSON by mapping files: a gateway that is asked, one that posts, and one on a broker."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from simulators.devices.faults import LineFaults
from simulators.devices.json_gateway import (
    JsonHttpPeer,
    JsonMqttPeer,
    JsonPushPeer,
    JsonState,
)
from tests.servers import free_port, mosquitto_server

from .bacnet import calm
from .peer import Peer

LIFTS = ("L1", "L2")


class JsonPeer(Peer):
    """Two lifts behind one gateway."""

    expects = frozenset({"elevator.status", "elevator.alarm_button"})
    prefix: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        now = self.clock.now_ms()
        self.state = JsonState(self.clock, lifts={name: calm(now) for name in LIFTS})
        self.gateway: Any = None

    async def start(self) -> None:
        await self.gateway.start()

    async def stop(self) -> None:
        await self.gateway.stop()

    @property
    def devices(self) -> dict[str, str]:
        return {name: f"{self.prefix}-{name}" for name in LIFTS}

    @property
    def faults(self) -> LineFaults:
        faults: LineFaults = self.gateway.listener.faults
        return faults

    async def refuse(self) -> None:
        await self.gateway.listener.suspend()

    async def accept(self) -> None:
        await self.gateway.listener.start()

    async def stir(self) -> tuple[str, str]:
        self.state.lifts["L1"].fault(self.clock.now_ms(), 2)
        return "elevator.fault", f"{self.prefix}-L1"


class PollPeer(JsonPeer):
    """Asked over HTTP."""

    protocol = "json_http"
    prefix = "json_http"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gateway = JsonHttpPeer(self.state, token="s3cret")

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "json_http", "url": f"http://127.0.0.1:{self.gateway.port}/api/lifts",
            "auth": "bearer", "password": "s3cret", "map": "lift_http",
            "period_s": 0.3, "timeout_s": 0.5, "devices": self.devices,
        }  # fmt: skip


class PushPeer(JsonPeer):
    """Posts to the edge."""

    protocol = "json_http"
    variant = "push"
    prefix = "json_httppush"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.gateway = JsonPushPeer(
            self.state, port=self.port, path="/push", token="s3cret", period_s=0.2
        )

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "json_http", "password": "s3cret", "map": "lift_http",
            "listen": {"port": self.port, "path": "/push", "silence_s": 1.5},
            "devices": self.devices,
        }  # fmt: skip


class MqttPeer(JsonPeer):
    """Publishes on a broker of its own."""

    protocol = "json_mqtt"
    prefix = "json_mqtt"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._stack = contextlib.ExitStack()
        self._port = 0

    async def start(self) -> None:
        broker = self._stack.enter_context(mosquitto_server(self.folder))
        self._port = broker.port
        self.gateway = JsonMqttPeer(
            self.state, broker_port=broker.port, root="vendor", period_s=0.2
        )
        await self.gateway.start()

    async def stop(self) -> None:
        await self.gateway.stop()
        self._stack.close()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "json_mqtt", "broker": {"host": "127.0.0.1", "port": self._port},
            "root": "vendor", "map": "lift_mqtt", "timeout_s": 1, "silence_s": 1.5,
            "devices": self.devices,
        }  # fmt: skip


PEERS = (PollPeer, PushPeer, MqttPeer)
