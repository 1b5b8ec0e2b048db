"""DL/T 645-2007 over TCP: a gateway with two meters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.faults import LineFaults
from simulators.devices.meter import MeterGateway
from simulators.devices.meter_model import MeterModel
from simulators.loads import LoadKind, LoadPlan, LoadSpec

from .peer import Peer

ADDRESSES = {"dlt645-1": "000000000001", "dlt645-2": "000000000002"}


class Dlt645Peer(Peer):
    """Two single-phase meters behind one socket."""

    protocol = "dlt645"
    expects = frozenset({"meter.reading", "meter.event"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        spec = LoadSpec(LoadKind.HOUSEHOLD, 8_000)
        self.meters = {
            device: MeterModel(7, device, LoadPlan(7, device, spec), phases=1)
            for device in ADDRESSES
        }
        self.gateway = MeterGateway(
            self.clock, {ADDRESSES[device]: model for device, model in self.meters.items()}
        )

    async def start(self) -> None:
        await self.gateway.start()

    async def stop(self) -> None:
        await self.gateway.stop()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "dlt645", "host": "127.0.0.1", "port": self.gateway.port,
            "period_s": 0.3, "timeout_s": 0.4,
            "meters": [{"device": d, "address": a} for d, a in ADDRESSES.items()],
        }  # fmt: skip

    @property
    def faults(self) -> LineFaults:
        return self.gateway.listener.faults

    async def refuse(self) -> None:
        await self.gateway.listener.suspend()

    async def accept(self) -> None:
        await self.gateway.listener.start()

    async def stir(self) -> tuple[str, str]:
        self.meters["dlt645-1"].set_relay(self.clock.now_ms(), opened=True)
        return "meter.event", "dlt645-1"


PEER = Dlt645Peer
