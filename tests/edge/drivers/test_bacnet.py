"""The BACnet driver against a device made of bacpypes3's own objects, and what it makes of them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from bacpypes3.app import Application
from bacpypes3.basetypes import LiftCarMode, LiftFault
from bacpypes3.errors import UnrecognizedService
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.analog import AnalogInputObject
from bacpypes3.local.binary import BinaryInputObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.object import Object
from bacpypes3.object import LiftObject
from bacpypes3.pdu import IPv4Address
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.codec import make_event
from core.contracts.errors import DeviceError, SettingsError
from core.runtime.settings import parse
from edge.discovery.bacnet import scan
from edge.driver import LinkError
from edge.drivers.bacnet import lift as lifts
from edge.drivers.bacnet.driver import BacnetDriver, create
from edge.drivers.bacnet.link import BacnetLink, Unread
from edge.drivers.bacnet.settings import BacnetSettings, LiftSection

from .support import START, Recorder, context, run

VALUES: dict[str, Any] = {
    "car-position": 3, "car-moving-direction": 2, "car-door-status": [0], "car-door-zone": True,
    "car-mode": 1, "car-load": 320.0, "car-load-units": 39, "car-drive-status": 1,
    "passenger-alarm": False, "out-of-service": False, "fault-signals": [],
}  # fmt: skip
STATUS = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": True,
    "floor": 3, "door_closed": True, "occupied": True, "load_kg": 320.0, "alarm_button": False,
}  # fmt: skip
LIFT = LiftSection(device="lift-1")


class Lift(Object, LiftObject):
    """bacpypes3's Lift object, served."""


class Device:
    """An application of bacpypes3 as its samples build one."""

    def __init__(self, *, multiple: bool = True, instance: int = 77, bad: bool = False) -> None:
        self.lift = Lift(
            objectIdentifier=("lift", 5), objectName="car A", elevatorGroup=("elevatorGroup", 1),
            groupID=1, installationID=1, carPosition=3, carMovingDirection="up",
            carDoorStatus=["closed", "closed"], carDoorZone=False, carMode="normal",
            carLoad=50.0, carLoadUnits="percent", carDriveStatus="ratedSpeed",
            passengerAlarm=False, outOfService=False, energyMeter=1234.5,
            faultSignals=["positionLost"], registeredCarCall=[],
        )  # fmt: skip
        self.contact = BinaryInputObject(
            objectIdentifier=("binaryInput", 1), objectName="fire", presentValue="inactive",
            eventState="normal", outOfService=False, polarity="normal",
            reliability="noFaultDetected",
        )  # fmt: skip
        self.room = AnalogInputObject(
            objectIdentifier=("analogInput", 2), objectName="room", presentValue=21.5,
            eventState="normal", outOfService=False, units="degreesCelsius", covIncrement=0.5,
            reliability="noFaultDetected",
        )  # fmt: skip
        self.requests = 0
        self._multiple = multiple
        self._instance = instance
        self._layer: Any = None

    async def __aenter__(self) -> Device:
        device = self

        class Counting(Application):
            async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802
                device.requests += 1
                if not device._multiple:
                    raise UnrecognizedService("no")
                await super().do_ReadPropertyMultipleRequest(apdu)

            async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802
                device.requests += 1
                await super().do_ReadPropertyRequest(apdu)

        about = DeviceObject(
            objectIdentifier=("device", self._instance), objectName="controller",
            vendorName="a vendor", modelName="X1",
        )  # fmt: skip
        app = Counting.from_object_list([about, self.lift, self.contact, self.room])
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self.port: int = sock.getsockname()[1]
        address = IPv4Address(f"127.0.0.1:{self.port}")
        self._layer = NormalLinkLayer(address, bind_socket=sock)
        app.nsap.bind(self._layer, address=address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._layer.close()


def settings(port: int, **more: Any) -> BacnetSettings:
    raw: dict[str, Any] = {
        "driver": "bacnet", "host": "127.0.0.1", "port": port, "timeout_s": 0.6,
        "lifts": [{"device": "lift-1", "object": 5, "rated_load_kg": 1000}],
    }  # fmt: skip
    return parse(BacnetSettings, raw | more, "test")


class Polled:
    """A started driver."""

    def __init__(self, given: BacnetSettings, folder: Path) -> None:
        self.sink = Recorder()
        self.driver: BacnetDriver = create(given, context(folder))

    async def __aenter__(self) -> Polled:
        await self.driver.start(self.sink)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.stop()
        await self.driver.stop()


@pytest.mark.parametrize("multiple", [True, False])
def test_reads_a_lift_object(multiple: bool, tmp_path: Path) -> None:
    async def scene() -> None:
        async with Device(multiple=multiple) as device:
            lift = {
                "device": "lift-1", "object": 5, "rated_load_kg": 1000, "floors": [-1, 1, 2],
                "energy_meter": "meter-1",
            }  # fmt: skip
            given = settings(device.port, instance=77, lifts=[lift])
            async with Polled(given, tmp_path) as polled:
                sink = polled.sink
                await polled.driver.poll()
                assert sink.of("elevator.status") == [
                    {
                        "service_mode": "normal", "moving": True, "direction": "up",
                        "in_door_zone": False, "floor": 2, "door_closed": True,
                        "occupied": True, "load_kg": 500.0, "alarm_button": False,
                    }
                ]  # fmt: skip
                assert sink.of("elevator.alarm_button") == [{"active": False}]
                assert sink.of("elevator.fault") == [
                    {"fault": "position_lost", "active": True, "raw_code": "14", "floor": 2}
                ]
                assert sink.of("meter.reading", "meter-1") == [
                    {"medium": "electricity", "energy_kwh": 1234.5}
                ]
                assert sink.reached_devices == ["lift-1", "meter-1"]

                device.lift.faultSignals = ["doorClosingFault", 1025]
                device.lift.passengerAlarm = True
                device.lift.carMode = LiftCarMode(1030)
                await polled.driver.poll()
                await polled.driver.poll()
                faults = [
                    (f["fault"], f["raw_code"], f["active"]) for f in sink.of("elevator.fault")[1:]
                ]
                assert faults == [
                    ("position_lost", "14", False), ("door_close", "6", True),
                    ("other", "1025", True),
                ]  # fmt: skip
                assert sink.of("elevator.alarm_button") == [{"active": False}, {"active": True}]
                assert sink.of("elevator.status")[-1]["service_mode"] == "unknown"
                assert sink.counts["unknown_modes"] == 2
                before = device.requests
                await polled.driver.poll()
                # What it lacks, and that it knows no ReadPropertyMultiple, is remembered.
                assert device.requests - before == (1 if multiple else len(lifts.PROPERTIES) + 1)

    run(scene())


def test_contacts_and_points(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Device() as device:
            given = settings(
                device.port, lifts=[], points_period_s=3600,
                contacts=[{"device": "fire-1", "object": "binary-input,1", "loop": "2"}],
                points=[{
                    "device": "room-1", "object": "analog-input,2", "quantity": "temperature",
                    "unit": "K", "offset": 273.15,
                }],
            )  # fmt: skip
            async with Polled(given, tmp_path) as polled:
                sink = polled.sink
                await polled.driver.poll()
                place = {"loop": "2", "point": "binary-input,1"}
                assert sink.of("fire.alarm") == [{**place, "active": False}]
                reading = {"quantity": "temperature", "value": 294.65, "unit": "K"}
                assert sink.of("sensor.reading") == [reading]
                device.contact.presentValue = "active"
                await polled.driver.poll()
                assert sink.of("fire.alarm")[1:] == [{**place, "active": True}]
                # A cut line is a fault, and says nothing about a fire.
                device.contact.presentValue = "inactive"
                device.contact.reliability = "openLoop"
                await polled.driver.poll()
                device.contact.reliability = "noFaultDetected"
                await polled.driver.poll()
                assert sink.of("fire.fault") == [
                    {**place, "active": True, "raw_code": "open-loop"}, {**place, "active": False},
                ]  # fmt: skip
                assert [alarm["active"] for alarm in sink.of("fire.alarm")] == [False, True, False]
                assert len(sink.of("sensor.reading")) == 1

    run(scene())


def test_a_broken_sensor_gives_a_fault_and_no_reading(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Device() as device:
            point = {
                "device": "room-1", "object": "analog-input,2", "quantity": "t", "unit": "Cel"
            }  # fmt: skip
            given = settings(device.port, lifts=[], points=[point], points_period_s=0.1)
            async with Polled(given, tmp_path) as polled:
                device.room.reliability = "noSensor"
                await polled.driver.poll()
                device.room.reliability = "noFaultDetected"
                await asyncio.sleep(0.11)
                await polled.driver.poll()
                faults = [(f["active"], f.get("raw_code")) for f in polled.sink.of("device.fault")]
                assert faults == [(True, "no-sensor"), (False, None)]
                assert len(polled.sink.of("sensor.reading")) == 1

    run(scene())


def test_an_object_that_is_not_there_costs_only_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Device() as device:
            given = settings(
                device.port,
                lifts=[{"device": "lift-9", "object": 9}],
                contacts=[
                    {"device": "fire-1", "object": "binary-input,1"},
                    {"device": "fire-8", "object": "binary-input,8"},
                ],
            )
            async with Polled(given, tmp_path) as polled:
                await polled.driver.poll()
                assert sorted({device for device, _ in polled.sink.failures}) == [
                    "fire-8", "lift-9",
                ]  # fmt: skip
                assert polled.sink.reached_devices == ["fire-1"]
                assert len(polled.sink.of("fire.alarm", "fire-1")) == 1

    run(scene())


def test_another_device_at_the_address_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Device(instance=78) as device:
            given = settings(device.port, instance=77)
            async with Polled(given, tmp_path) as polled:
                with pytest.raises(LinkError, match="is not device 77") as refused:
                    await polled.driver.poll()
                assert refused.value.cause == "protocol"

    run(scene())


def test_nobody_answers(tmp_path: Path) -> None:
    async def scene() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            given = settings(silent.getsockname()[1], timeout_s=0.1)
            async with Polled(given, tmp_path) as polled:
                with pytest.raises(LinkError, match="no answer") as nobody:
                    await polled.driver.poll()
                assert nobody.value.cause == "device"
                assert polled.sink.counts["repeated"] == 1

    run(scene())


def test_drivers_of_one_local_address_share_a_socket(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Device() as one, Device(instance=78) as two:
            shared = context(tmp_path)
            drivers = [create(settings(d.port), shared) for d in (one, two)]
            sinks = [Recorder(), Recorder()]
            for driver, sink in zip(drivers, sinks, strict=True):
                await driver.start(sink)
            await asyncio.gather(*(driver.poll() for driver in drivers))
            assert all(sink.of("elevator.status") for sink in sinks)
            assert drivers[0]._reader._link is drivers[1]._reader._link
            await drivers[0].stop()
            await drivers[1].poll()
            await drivers[1].stop()

    run(scene())


def test_changes_are_subscribed_to_where_the_device_can(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Device() as device:
            given = settings(
                device.port, cov=True, check_s=3600, lifts=[],
                contacts=[{"device": "fire-1", "object": "binary-input,1"}],
            )  # fmt: skip
            async with Polled(given, tmp_path) as polled:
                sink = polled.sink
                await polled.driver.poll()
                await asyncio.sleep(0.2)  # the first notification comes with the subscription
                await polled.driver.poll()
                before = device.requests
                for _ in range(5):
                    await polled.driver.poll()
                assert device.requests == before
                device.contact.presentValue = "active"
                async with asyncio.timeout(5):
                    while not [a for a in sink.of("fire.alarm") if a["active"]]:
                        await polled.driver.poll()
                        await asyncio.sleep(0.02)
                assert device.requests == before + 1

    run(scene())


def test_a_device_without_subscriptions_is_polled(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            Device() as device,
            Polled(settings(device.port, cov=True), tmp_path) as polled,
        ):
            for _ in range(3):
                await polled.driver.poll()
            assert polled.sink.counts["subscriptions_refused"] == 1
            assert len(polled.sink.of("elevator.status")) == 3

    run(scene())


def test_broken_datagrams_are_survived(tmp_path: Path) -> None:
    """Every prefix and many spoilt copies of a real answer: never more than a refused poll."""

    async def scene() -> None:
        async with (
            Device() as device,
            Polled(settings(device.port, timeout_s=0.05), tmp_path) as polled,
        ):
            await polled.driver.poll()
            transport = device._layer.server.local_transport
            step = 0

            class Spoiling:
                def sendto(self, data: bytes, address: Any) -> None:
                    nonlocal step
                    step += 1
                    spoilt = bytearray(data)
                    if step % 3 == 0:
                        del spoilt[step % len(spoilt) :]
                    else:
                        spoilt[step * 7 % len(spoilt)] ^= 1 << step % 8
                    transport.sendto(bytes(spoilt), address)

                def close(self) -> None:
                    transport.close()

            device._layer.server.local_transport = Spoiling()
            refused = 0
            for _ in range(40):
                try:
                    await polled.driver.poll()
                except DeviceError:
                    refused += 1
            assert refused + len(polled.sink.failures) >= 10
            device._layer.server.local_transport = transport
            polled.driver._reading._timeout_s = 1.0
            polled.driver._reading.forget()
            before = len(polled.sink.of("elevator.status"))
            await polled.driver.poll()
            assert len(polled.sink.of("elevator.status")) == before + 1

    run(scene(), 30)


def test_the_bytes_on_the_wire() -> None:
    """BVLC, NPDU and APDU after ASHRAE 135 (annex J, clauses 6.2 and 20), made by hand."""

    async def scene() -> None:
        asked: list[bytes] = []

        class Peer(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, address: Any) -> None:
                asked.append(data)
                answer = (
                    bytes.fromhex("0100 30")
                    + data[8:9]
                    + bytes.fromhex("0c 0c 0ec00005 1a 01ca 3e 21 07 3f")
                )
                head = bytes.fromhex("810a") + (len(answer) + 4).to_bytes(2, "big")
                self.transport.sendto(head + answer, address)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
        link = BacnetLink("127.0.0.1", 0)
        port = transport.get_extra_info("sockname")[1]
        assert await link.read(f"127.0.0.1:{port}", "lift,5", "car-position", 1.0) == 7
        assert asked[0][:4] == bytes.fromhex("810a0012")
        assert asked[0][4:6] == bytes.fromhex("0104")
        assert asked[0][9:] == bytes.fromhex("0c 0c0ec00005 1a01ca")
        link.close()
        transport.close()

    run(scene())


# -- what the properties mean ------------------------------------------------------------------


def test_the_plain_case() -> None:
    assert lifts.decode(VALUES, LIFT, None).status == STATUS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"car-mode": 6}, {"service_mode": "firefighter"}),
        ({"car-mode": 7}, {"service_mode": "emergency_power", "power_on": False}),
        ({"car-mode": 8}, {"service_mode": "inspection"}),
        ({"car-mode": 10}, {"service_mode": "earthquake"}),
        ({"car-mode": 11}, {"service_mode": "fire_return"}),
        ({"car-mode": 12}, {"service_mode": "stopped"}),
        ({"car-mode": 5}, {"service_mode": "normal"}),
        ({"car-mode": 0}, {"service_mode": "unknown"}),
        ({"car-mode": Unread("x")}, {"service_mode": "unknown"}),
        ({"out-of-service": True}, {"service_mode": "unknown"}),
        ({"car-drive-status": 5, "car-moving-direction": 4}, {"moving": True, "direction": "down"}),
        ({"car-drive-status": 1, "car-moving-direction": 3}, {"moving": False}),
        ({"car-drive-status": 0, "car-moving-direction": 3}, {"moving": True, "direction": "up"}),
        ({"car-drive-status": Unread("x"), "car-moving-direction": 1}, {"moving": False}),
        ({"car-door-status": [0, 1]}, {"door_closed": False}),
        ({"car-door-status": [0, 5]}, {"door_closed": True}),
        ({"car-door-status": [2]}, {"door_closed": False}),
        ({"car-door-status": []}, {"door_closed": False}),
        ({"car-door-zone": False}, {"in_door_zone": False}),
        ({"car-door-zone": Unread("x"), "fault-signals": [8]}, {"in_door_zone": False}),
        ({"car-load": 10.0}, {"occupied": False, "load_kg": 10.0}),
        ({"car-load": 100.0, "car-load-units": 40}, {"load_kg": 45.359237}),
        ({"passenger-alarm": True}, {"alarm_button": True}),
    ],
)  # fmt: skip
def test_properties_in_our_words(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    status = lifts.decode({**VALUES, **changes}, LIFT, None).status
    assert {name: status[name] for name in expected} == expected


def test_without_a_load_cell_the_calls_in_the_car_tell() -> None:
    values = {name: value for name, value in VALUES.items() if not name.startswith("car-load")}
    assert lifts.decode(values, LIFT, None).status["occupied"] is False
    called = {**values, "registered-car-call": [[], [4]]}
    assert lifts.decode(called, LIFT, None).status["occupied"] is True
    assert lifts.decode({**values, "passenger-alarm": True}, LIFT, None).status["occupied"] is True
    assert "load_kg" not in lifts.decode(values, LIFT, None).status


def test_an_unknown_direction_is_judged_by_the_position() -> None:
    values = {**VALUES, "car-moving-direction": 0, "car-drive-status": 0}
    assert lifts.decode(values, LIFT, 3).status["moving"] is False
    assert lifts.decode(values, LIFT, 2).status["moving"] is True


def test_percent_needs_a_rated_load() -> None:
    values = {**VALUES, "car-load": 30.0, "car-load-units": 98}
    reading = lifts.decode(values, LIFT, None)
    assert "load_kg" not in reading.status
    assert reading.unclear == ["loads_without_unit"]
    rated = LiftSection(device="lift-1", rated_load_kg=800)
    assert lifts.decode(values, rated, None).status["load_kg"] == 240.0


def test_a_floor_outside_of_the_configured_ones_is_refused() -> None:
    short = LiftSection(device="lift-1", floors=[1, 2])
    with pytest.raises(LinkError, match="2 floors are configured"):
        lifts.decode(VALUES, short, None)


@pytest.mark.parametrize("name", ["car-position", "passenger-alarm", "fault-signals"])
def test_required_properties(name: str) -> None:
    for values in (
        {n: v for n, v in VALUES.items() if n != name}, {**VALUES, name: Unread("broken")},
    ):  # fmt: skip
        with pytest.raises(LinkError, match=name):
            lifts.decode(values, LIFT, None)


def test_the_tables_are_those_of_the_standard() -> None:
    assert {mode for mode in LiftCarMode._attr_map if mode not in lifts.MODES} == {0, 9, 13}
    assert lifts.FAULTS.keys() == LiftFault._attr_map.keys()
    assert lifts.FAULTS[LiftFault.doorClosingFault] == "door_close"
    assert lifts.FAULTS[LiftFault.carStoppedOutsideLandingZone] == "stopped_outside_zone"
    assert lifts.FAULTS[LiftFault.runtimeLimitExceeded] == "run_time_limiter"
    assert lifts.FAULTS[LiftFault.loadMeasurementFault] == "load"


anything = st.one_of(
    st.integers(0, 255), st.booleans(), st.floats(), st.lists(st.integers(0, 20), max_size=4),
    st.just(Unread("x")),
)  # fmt: skip


@given(
    st.fixed_dictionaries(
        {
            "car-position": st.integers(1, 150), "car-moving-direction": st.integers(0, 2000),
            "car-door-status": st.lists(st.integers(0, 20), max_size=4),
            "passenger-alarm": st.booleans(),
            "fault-signals": st.lists(st.integers(0, 65_535), max_size=5),
        },
        optional=dict.fromkeys(
            (
                "car-door-zone", "car-mode", "car-load", "car-load-units", "car-drive-status",
                "out-of-service",
            ),
            anything,
        ),
    )
)  # fmt: skip
def test_whatever_the_optional_properties_say_the_status_is_a_status(
    values: dict[str, Any],
) -> None:
    reading = lifts.decode(values, LIFT, None)
    load = reading.status.get("load_kg", 0.0)
    if load <= 20_000:
        make_event("elevator.status", device="d", at=START, seen=START, data=reading.status)


# -- settings and discovery ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"lifts": []}, "give lifts, contacts or points"),
        ({"lifts": [{"device": "a"}, {"device": "b"}]}, "same device id or the same object"),
        ({"contacts": [{"device": "c", "object": "lift,1"}]}, "contacts.0.object"),
        ({"contacts": [{"device": "lift-1", "object": "binary-input,1"}]}, "ids of their own"),
        ({"timeout": 3}, "did you mean timeout_s"),
    ],
)
def test_bad_settings_are_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(47808, **more)


def test_who_is_finds_devices_and_their_lifts() -> None:
    async def scene() -> None:
        async with Device() as one, Device(instance=500) as two:
            addresses = [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"]

            async def found(**more: Any) -> list[Any]:
                options = {"local_host": "127.0.0.1", "local_port": 0, "wait_s": 0.8, **more}
                return [item async for item in scan(addresses, **options)]

            both = await found()
            assert {item.entry["instance"] for item in both} == {77, 500}
            first = next(item for item in both if item.entry["instance"] == 77)
            assert first.protocol == "bacnet"
            assert first.address == f"127.0.0.1:{one.port} device 77"
            assert first.what == "controller, a vendor, X1, 1 lift, 1 binary-input, 1 analog-input"
            assert first.entry["lifts"] == [{"device": "lift-77-5", "object": 5}]
            parse(BacnetSettings, dict(first.entry), "found")
            assert [item.entry["instance"] for item in await found(low=100)] == [500]

    run(scene())


def test_a_scan_stays_within_what_is_asked_for() -> None:
    async def scene(**more: Any) -> None:
        async for _ in scan(**{"addresses": ["127.0.0.1"], "local_port": 0, **more}):
            pass

    for bad in (
        {"low": 5, "high": 4}, {"high": 4_194_303}, {"addresses": []}, {"addresses": ["lifts"]},
        {"addresses": ["127.0.0.1:99999"]},
    ):  # fmt: skip
        with pytest.raises(SettingsError):
            run(scene(**bad))
