"""The simulated BACnet device, seen by a plain client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.runtime.clock import ScaledClock
from edge.drivers.bacnet.link import BacnetLink, NackError, Unread
from simulators.devices.bacnet_lift import BacnetLiftPeer, SimulatedLift, lift_properties
from simulators.devices.elevator_model import ServiceMode
from tests.edge.drivers.support import run
from tests.edge.suite.bacnet import calm

CLOCK = ScaledClock()


def peer(**more: Any) -> BacnetLiftPeer:
    return BacnetLiftPeer(CLOCK, {1: SimulatedLift(calm(CLOCK.now_ms()))}, **more)


def test_a_cars_state_as_properties() -> None:
    model = calm(CLOCK.now_ms())
    lift = SimulatedLift(model, lacks=frozenset({"carMode"}), strange={"carLoad": -5.0})
    model.set_mode(CLOCK.now_ms(), ServiceMode.FIREFIGHTER)
    model.fault(CLOCK.now_ms(), 4)
    found = lift_properties(model.state(CLOCK.now_ms()), lift)
    assert found["carPosition"] == 2
    assert found["faultSignals"] == [8]
    assert found["carLoad"] == -5.0
    assert "carMode" not in found
    plain = lift_properties(model.state(CLOCK.now_ms()), SimulatedLift(model))
    assert plain["carMode"] == 6


def test_it_follows_its_models_and_says_strange_things() -> None:
    async def scene() -> None:
        device, link = peer(contacts={1: "fire"}), BacnetLink("127.0.0.1", 0)
        await device.start()
        address = f"127.0.0.1:{device.port}"
        assert await link.read(address, "lift,1", "car-mode", 1) == 1
        device.lifts[1].strange["carMode"] = 4_000
        device.lifts[1].strange["faultSignals"] = [60_000]
        assert await link.read(address, "lift,1", "car-mode", 1) == 4_000
        assert await link.read(address, "lift,1", "fault-signals", 1) == [60_000]
        device.contacts[1] = True
        device.broken_lines.add(1)
        assert await link.read(address, "binary-input,1", "present-value", 1) == 1
        assert await link.read(address, "binary-input,1", "reliability", 1) == 4
        with pytest.raises(NackError):
            await link.read(address, "lift,1", "floor-text", 1)
        link.close()
        await device.stop()

    run(scene())


def test_its_line_goes_wrong_and_it_reboots() -> None:
    async def scene() -> None:
        device, link = peer(multiple=False), BacnetLink("127.0.0.1", 0)
        await device.start()
        port, address = device.port, f"127.0.0.1:{device.port}"

        async def ask(seconds: float = 0.3) -> Any:
            return await link.read(address, "lift,1", "car-position", seconds)

        for fault, value in (("mute", True), ("cut", True), ("truncate", 1.0)):
            setattr(device.faults, fault, value)
            with pytest.raises(TimeoutError):
                await ask()
            device.faults.clear()
        device.faults.delay_s = 0.2
        with pytest.raises(TimeoutError):
            await ask(0.1)
        assert await ask(2) == 2
        device.faults.clear()
        with pytest.raises(NackError):
            await link.read_multiple(address, [("lift,1", ["car-position"])], 1)
        rebooting = asyncio.create_task(device.reboot(0.4))
        await asyncio.sleep(0.05)
        assert not device.open
        with pytest.raises(TimeoutError):
            await ask(0.1)
        await rebooting
        assert device.port == port
        assert not isinstance(await ask(1), Unread)
        link.close()
        await device.stop()

    run(scene())
