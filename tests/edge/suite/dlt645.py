"""DL/T 645-2007: two meters behind a TCP gateway, and two on a serial port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.meter import MeterGateway, SerialMeters
from simulators.devices.meter_model import MeterModel
from simulators.loads import LoadKind, LoadPlan, LoadSpec

from .peer import DevicePeer

ADDRESSES = ("000000000001", "000000000002")


class Dlt645Peer(DevicePeer[MeterGateway | SerialMeters]):
    """A single-phase and a three-phase meter behind one socket."""

    protocol = "dlt645"
    expects = frozenset({"meter.reading", "meter.event"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        prefix = f"{self.protocol}-{self.variant}" if self.variant else self.protocol
        spec = LoadSpec(LoadKind.HOUSEHOLD, 8_000)
        self.meters = {
            f"{prefix}-{number}": MeterModel(
                7, f"{number}", LoadPlan(7, f"{number}", spec), phases=phases
            )
            for number, phases in ((1, 1), (2, 3))
        }
        self.first = f"{prefix}-1"
        self.by_address = dict(zip(ADDRESSES, self.meters.values(), strict=True))
        self.device = self.make()

    def make(self) -> MeterGateway | SerialMeters:
        return MeterGateway(self.clock, self.by_address)

    @property
    def channel(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.device.port}

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "dlt645", **self.channel, "period_s": 0.3, "timeout_s": 0.4,
            "meters": [
                {"device": device, "address": address, "phases": model.phases}
                for (device, model), address in zip(self.meters.items(), ADDRESSES, strict=True)
            ],
        }  # fmt: skip

    async def stir(self) -> tuple[str, str]:
        self.meters[self.first].set_relay(self.clock.now_ms(), opened=True)
        return "meter.event", self.first


class SerialPeer(Dlt645Peer):
    """The same meters on a serial port, which is a pseudo-terminal and so has no parity."""

    variant = "serial"

    def make(self) -> SerialMeters:
        return SerialMeters(self.clock, self.by_address, self.folder / "ttyMeters")

    @property
    def channel(self) -> dict[str, Any]:
        return {"serial": {"port": self.device.port, "parity": "none", "gap_s": 0.001}}


PEERS = (Dlt645Peer, SerialPeer)
