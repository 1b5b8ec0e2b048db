"""Root causes: a gateway that is down is told once, and its devices name it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from edge.driver import Driver, LinkError, PollingDriver
from edge.runner import Runner
from tests.edge.drivers.support import FakeClock, Recorder, run

GATEWAY = "10.0.0.9:8001"


class Bus(PollingDriver):
    """A bus whose weather is set by the test."""

    def __init__(self, *devices: str, name: str = "bus", gateway: str | None = GATEWAY) -> None:
        super().__init__(name, devices, period_s=60, poll_timeout_s=5)
        self.connection: Exception | None = None
        self.once: Exception | None = None
        self.dead: set[str] = set()
        self.polls = 0
        self._gateway = gateway

    @property
    def gateway(self) -> str | None:
        return self._gateway

    async def poll(self) -> None:
        self.polls += 1
        error, self.once = self.once or self.connection, None
        if error is not None:
            raise error
        for device in self.devices:
            if device in self.dead:
                await self._sink.failed(device, LinkError("no answer", "device"))
            else:
                await self._sink.reached(device, 1.0)


class Run:
    """A runner on a fake clock."""

    def __init__(self, *drivers: Driver) -> None:
        self.clock = FakeClock()
        self.sink = Recorder(clock=self.clock)
        self.runner = Runner(
            drivers, self.sink, self.clock, edge="e1", random=Random(7), sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    async def __aenter__(self) -> Run:
        await self.runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.stop()

    def told(self) -> list[tuple[bool, str | None]]:
        """Return (online, cause) of everything that was told of gateways."""
        return [(data["online"], data.get("cause")) for data in self.sink.of("edge.gateway", "e1")]

    def health(self, device: str) -> list[tuple[bool, str | None]]:
        """Return (online, root) of everything that was told of a device."""
        return [(d["online"], d.get("root")) for d in self.sink.of("device.health", device)]

    async def rounds(self, driver: Bus, count: int) -> None:
        goal = driver.polls + count
        await self.sink.until(lambda: driver.polls >= goal)


def test_a_dead_gateway_is_told_once_and_before_its_devices() -> None:
    devices = [f"m{number}" for number in range(80)]
    bus = Bus(*devices)

    async def scene() -> None:
        async with Run(bus) as r:
            await r.rounds(bus, 3)
            bus.connection = LinkError("refused", "gateway")
            before = len(r.sink.events)
            await r.sink.until(lambda: all(r.health(d)[-1][0] is False for d in devices))
            await r.rounds(bus, 5)
            assert r.sink.events[before][0] == "edge.gateway"
            assert r.told() == [(True, None), (False, "gateway")]
            lost = r.sink.of("edge.gateway")[-1]
            assert (lost["gateway"], lost["devices"], lost["error"]) == (GATEWAY, 80, "refused")
            assert all(r.health(d) == [(True, None), (False, GATEWAY)] for d in devices)
            assert r.runner.gateways() == {GATEWAY: False}
            bus.connection = None
            await r.sink.until(lambda: all(r.health(d)[-1] == (True, None) for d in devices))
            assert r.told()[2:] == [(True, None)]

    run(scene())


def test_one_dead_device_of_many_is_its_own_fault() -> None:
    bus = Bus("m1", "m2", "m3")

    async def scene() -> None:
        async with Run(bus) as r:
            await r.rounds(bus, 2)
            bus.dead = {"m2"}
            await r.rounds(bus, 6)
            assert r.told() == [(True, None)]
            assert r.health("m2") == [(True, None), (False, None)]

    run(scene())


def test_when_every_device_fails_it_is_the_bus_and_those_told_before_are_told_anew() -> None:
    bus = Bus("m1", "m2", "m3")

    async def scene() -> None:
        async with Run(bus) as r:
            await r.rounds(bus, 2)
            bus.dead = {"m1"}
            await r.rounds(bus, 5)
            assert r.health("m1") == [(True, None), (False, None)]
            bus.dead = {"m1", "m2", "m3"}
            await r.rounds(bus, 5)
            assert r.told() == [(True, None), (False, "bus")]
            assert r.health("m1")[2:] == [(False, GATEWAY)]
            assert r.health("m3") == [(True, None), (False, GATEWAY)]
            bus.dead = {"m1"}
            await r.rounds(bus, 5)
            assert r.told()[2:] == [(True, None)]
            assert r.health("m1")[3:] == [(False, None)], "now it is its own fault again"

    run(scene())


def test_drivers_that_share_a_connection_have_one_gateway() -> None:
    first, second = Bus("m1", name="one"), Bus("m2", name="two")

    async def scene() -> None:
        async with Run(first, second) as r:
            await r.rounds(second, 2)
            first.connection = second.connection = LinkError("no route", "network")
            await r.sink.until(lambda: all(r.health(d)[-1][0] is False for d in ("m1", "m2")))
            assert r.told() == [(True, None), (False, "network")]
            assert r.health("m1")[-1] == r.health("m2")[-1] == (False, GATEWAY)
            second.connection = None
            await r.sink.until(lambda: r.health("m2")[-1] == (True, None))
            await r.sink.until(lambda: r.health("m1")[-1] == (False, None))
            assert r.told()[2:] == [(True, None)]

    run(scene())


def test_a_lone_device_and_a_passing_fault_are_no_gateways_matter() -> None:
    lone, bus = Bus("m1", gateway="10.0.0.1:502"), Bus("m2", "m3")

    async def scene() -> None:
        async with Run(lone, bus) as r:
            await r.rounds(bus, 2)
            lone.connection = LinkError("refused", "gateway")
            await r.sink.until(lambda: r.health("m1")[-1] == (False, None))
            bus.once = LinkError("reset", "network")
            await r.rounds(bus, 4)
            assert r.told() == [(True, None)]
            assert r.health("m2") == [(True, None)]

    run(scene())


def test_the_edges_own_list_is_told_when_it_is_whole() -> None:
    one, two = Bus("m1", "m2", gateway="g1"), Bus("m3", "m4", gateway="g2", name="other")
    two.connection = RuntimeError("not yet")

    async def scene() -> None:
        async with Run(one, two) as r:
            await r.sink.until(lambda: r.told())
            assert "e1" not in dict(r.runner.snapshot())
            two.connection = LinkError("refused", "gateway")
            await r.sink.until(lambda: r.sink.of("device.snapshot", "e1"))
            (listed,) = r.sink.of("device.snapshot", "e1")
            states: list[dict[str, Any]] = listed["states"]
            assert [(s["data"]["gateway"], s["data"]["online"]) for s in states] == [
                ("g2", False), ("g1", True),
            ]  # fmt: skip
            assert dict(r.runner.snapshot())["e1"] == listed

    run(scene())
