"""What the simulators tell Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from core.runtime.metrics import Spec

DEVICES = Spec("estate_simulators_devices", "gauge", "Devices of the simulated community.")
STEPS = Spec(
    "estate_simulators_steps_total", "counter",
    "Steps of the scenario and by hand: done, refused.", ("outcome",),
)  # fmt: skip


def collect(devices: int, outcomes: Mapping[str, int]) -> Iterator[Metric]:
    """Yield the families; ``outcomes`` counts steps by what became of them."""
    yield DEVICES.of(devices)
    yield STEPS.each({name: outcomes.get(name, 0) for name in ("done", "refused")})
