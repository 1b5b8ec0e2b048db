"""Water and gas meters after CJ/T 188 behind one gateway."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.devices.cjt188 import FlowMeterGateway
from simulators.devices.water_meter import COLD_WATER, GAS, LEAK, FlowMeterModel
from simulators.handles.base import Handle
from simulators.handles.meters import FlowMeterHandle
from simulators.plans.base import HOST, Entries, Fixture, Simple, World

__all__ = ["COLD_WATER", "GAS", "FlowMeterPlan", "FlowPlan"]


@dataclass(frozen=True, slots=True)
class FlowMeterPlan:
    """One meter: its 14-digit address, its type T, and its size (1: a household)."""

    device: str
    address: str
    kind: int
    size: float = 1.0


@dataclass(frozen=True, slots=True)
class FlowPlan(Simple):
    """The gateway and its meters."""

    id: str
    edge: str
    meters: tuple[FlowMeterPlan, ...]
    period_s: float = 60

    def handles(self) -> dict[str, type[Handle]]:
        """Return what each device is."""
        return {meter.device: FlowMeterHandle for meter in self.meters}

    def build(self, world: World, port: int) -> Fixture:
        """Build the gateway."""
        models = {
            plan: FlowMeterModel(world.seed, plan.device, kind=plan.kind, size=plan.size)
            for plan in self.meters
        }
        line = {plan.address: model for plan, model in models.items()}
        peer = FlowMeterGateway(world.clock, line, port=port)
        return Fixture(
            peer,
            {
                plan.device: FlowMeterHandle(plan.device, world.clock, peer.listener, model)
                for plan, model in models.items()
            },
        )

    def entries(self, port: int) -> Entries:
        """Return the gateway's entry."""
        return [{
            "driver": "cjt188", "host": HOST, "port": port, "period_s": self.period_s,
            "meters": [
                {
                    "device": meter.device, "address": meter.address, "type": f"{meter.kind:02X}",
                    "status_events": {LEAK.bit_length() - 1: "leak"},
                }
                for meter in self.meters
            ],
        }]  # fmt: skip
