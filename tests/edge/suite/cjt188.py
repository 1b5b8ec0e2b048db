"""CJ/T 188 over TCP: a gateway with a water, a heat and a gas meter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.cjt188 import FlowMeterGateway
from simulators.devices.water_meter import COLD_WATER, GAS, HEAT, FlowMeterModel

from .peer import DevicePeer

KINDS = {"cjt188-water": COLD_WATER, "cjt188-heat": HEAT, "cjt188-gas": GAS}


class Cjt188Peer(DevicePeer[FlowMeterGateway]):
    """Three meters behind one socket."""

    protocol = "cjt188"
    expects = frozenset({"meter.reading", "meter.event"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.meters = {
            device: FlowMeterModel(7, device, kind=kind) for device, kind in KINDS.items()
        }
        self.addresses = {device: f"7833{n:010d}" for n, device in enumerate(KINDS)}
        self.device = FlowMeterGateway(
            self.clock, {self.addresses[device]: model for device, model in self.meters.items()}
        )

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "cjt188", "host": "127.0.0.1", "port": self.device.port,
            "period_s": 0.3, "timeout_s": 0.4,
            "meters": [
                {"device": device, "address": self.addresses[device], "type": f"{kind:02X}"}
                for device, kind in KINDS.items()
            ],
        }  # fmt: skip

    async def stir(self) -> tuple[str, str]:
        self.meters["cjt188-water"].set_valve(self.clock.now_ms(), opened=False)
        return "meter.event", "cjt188-water"


PEER = Cjt188Peer
