"""A BACnet/IP device with Lift objects, fire contacts and sensors, on a UDP socket of its own.

The protocol stack is bacpypes3's; what is simulated is the device on it: the state of its
lifts, and how it fails.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bacpypes3.apdu import ErrorRejectAbortNack
from bacpypes3.app import Application
from bacpypes3.basetypes import EngineeringUnits
from bacpypes3.errors import UnrecognizedService
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.analog import AnalogInputObject
from bacpypes3.local.binary import BinaryInputObject
from bacpypes3.local.cov import GenericCriteria
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.object import Object
from bacpypes3.object import LiftObject
from bacpypes3.pdu import IPv4Address

from core.runtime.clock import Clock
from simulators.devices.elevator_model import CarState, ElevatorModel, ServiceMode
from simulators.devices.faults import LineFaults

_BUFFER = 1 << 20
#: Service mode -> BACnetLiftCarMode.
_MODES = {
    ServiceMode.STOPPED: 12, ServiceMode.NORMAL: 1, ServiceMode.INSPECTION: 8,
    ServiceMode.FIRE_RETURN: 11, ServiceMode.FIREFIGHTER: 6, ServiceMode.EMERGENCY_POWER: 7,
    ServiceMode.EARTHQUAKE: 10,
}  # fmt: skip
#: The model's fault codes (as lift platforms number them) -> BACnetLiftFault.
_FAULTS = {1: 5, 2: 6, 3: 7, 4: 8, 5: 2, 6: 13, 7: 14, 8: 10, 12: 2}
_OTHER_FAULT = 0
#: How often the objects follow their models (s, real time), so that subscribers are told.
_FOLLOW_S = 0.25


class _LiftCriteria(GenericCriteria):  # type: ignore[misc]  # bacpypes3 ships no types
    """Every property that a monitoring application shows is worth a notification."""

    properties_tracked = (
        "carPosition", "carMovingDirection", "carDoorStatus", "carDoorZone", "carMode",
        "passengerAlarm", "faultSignals",
    )  # fmt: skip
    properties_reported = ("carPosition", "carMovingDirection", "passengerAlarm")
    monitored_property_reference = "carPosition"

    def execute(self) -> None:
        """Notify of any of them."""
        self.send_cov_notifications()


class _Lift(Object, LiftObject):  # type: ignore[misc]
    """A Lift object that can be subscribed to."""

    _cov_criteria = _LiftCriteria


class _Device(Application):  # type: ignore[misc]
    """The device's application; ``multiple`` is whether it knows ReadPropertyMultiple."""

    multiple = True
    follow: Callable[[], None]

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802 (bacpypes3's name)
        """Answer with the state of now."""
        self.follow()
        await super().do_ReadPropertyRequest(apdu)

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802
        """Answer, or reject the service as a small controller does."""
        if not self.multiple:
            raise UnrecognizedService("no ReadPropertyMultiple")
        self.follow()
        await super().do_ReadPropertyMultipleRequest(apdu)

    def cov_confirmation(self, _cov: Any, future: Any) -> None:
        """Take the answer to a confirmed notification; a subscriber may have gone."""
        if not future.cancelled() and not isinstance(future.exception(), ErrorRejectAbortNack):
            future.result()


@dataclass
class SimulatedLift:
    """One lift of the device."""

    model: ElevatorModel
    rated_kg: float = 1_000
    energy_kwh: float = 0.0
    strange: dict[str, Any] = field(default_factory=dict)
    """Property -> what it says instead of the truth, for example an enumeration's odd value."""
    lacks: frozenset[str] = frozenset()
    """Optional properties that this lift does not have; to be set before the start."""


def lift_properties(state: CarState, lift: SimulatedLift) -> dict[str, Any]:
    """Return a Lift object's properties for a car's state."""
    driving = state.moving
    found: dict[str, Any] = {
        "carPosition": lift.model.floors.index(state.floor) + 1,
        "carMovingDirection": {0: 2, 1: 3, 2: 4}[state.direction if driving else 0],
        "carDoorStatus": [0 if state.door_closed else 1],
        "carDoorZone": state.in_door_zone,
        "carMode": _MODES[state.mode],
        "carLoad": float(state.load_kg),
        "carLoadUnits": EngineeringUnits.kilograms,
        "carDriveStatus": 5 if driving else 1,
        "passengerAlarm": state.alarm,
        "energyMeter": lift.energy_kwh,
        "faultSignals": [_FAULTS.get(code, _OTHER_FAULT) for code in state.faults if code],
        "outOfService": False,
    }
    found.update(lift.strange)
    return {name: value for name, value in found.items() if name not in lift.lacks}


class _FaultyTransport:
    """A datagram transport whose line can go wrong."""

    def __init__(self, transport: asyncio.DatagramTransport, faults: LineFaults) -> None:
        self._transport = transport
        self._faults = faults

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        """Send a datagram, late, spoilt, twice or not at all."""
        if self._faults.cut:
            self._faults.cut = False
            return
        for piece in self._faults.apply(bytes(data)):
            if self._faults.delay_s:
                loop = asyncio.get_running_loop()
                loop.call_later(self._faults.delay_s, self._late, piece, address)
            else:
                self._transport.sendto(piece, address)

    def _late(self, data: bytes, address: tuple[str, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, address)

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()


class BacnetLiftPeer:
    """One BACnet device; ``lifts`` by the instance of their objects."""

    def __init__(
        self,
        clock: Clock,
        lifts: Mapping[int, SimulatedLift],
        *,
        instance: int = 4_001,
        contacts: Mapping[int, str] | None = None,
        sensors: Mapping[int, tuple[str, float]] | None = None,
        multiple: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """``contacts`` are binary inputs, ``sensors`` analog inputs with a name and a value."""
        self.lifts = dict(lifts)
        self.contacts = dict.fromkeys(contacts or {}, False)
        self.broken_lines: set[int] = set()
        """Contacts whose line is cut: reliability open-loop."""
        self.sensors = {number: value for number, (_, value) in (sensors or {}).items()}
        self.faults = LineFaults()
        self._names = (dict(contacts or {}), {n: name for n, (name, _) in (sensors or {}).items()})
        self._clock = clock
        self._instance = instance
        self._multiple = multiple
        self._host = host
        self._port = port
        self._app: _Device | None = None
        self._layer: Any = None
        self._objects: dict[tuple[str, int], Any] = {}
        self._following: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Return the UDP port; the one asked for before the start."""
        return self._port

    @property
    def listener(self) -> BacnetLiftPeer:
        """Return itself: it has the faults, and can go away and come back."""
        return self

    @property
    def open(self) -> bool:
        """Tell whether the device answers."""
        return self._app is not None

    async def start(self) -> None:
        """Listen on the port (also after :meth:`suspend`), or on another one when it is taken."""
        if self._app is not None:
            return
        logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)
        sock = _bind(self._host, self._port)
        self._port = sock.getsockname()[1]
        self._objects = self._make_objects()
        device = DeviceObject(
            objectIdentifier=("device", self._instance), objectName=f"lifts-{self._instance}",
            vendorName="smart-estate simulators", modelName="lift gateway",
        )  # fmt: skip
        app: _Device = _Device.from_object_list([device, *self._objects.values()])
        app.multiple, app.follow = self._multiple, self.follow
        address = IPv4Address(f"{self._host}:{self._port}")
        layer = NormalLinkLayer(address, bind_socket=sock)
        app.nsap.bind(layer, address=address)
        await asyncio.gather(*layer.server._transport_tasks)  # noqa: SLF001 (no other sign)
        layer.server.local_transport = _FaultyTransport(layer.server.local_transport, self.faults)
        self._app, self._layer = app, layer
        self._following = asyncio.create_task(self._follow())

    async def suspend(self) -> None:
        """Go away: datagrams find nobody until :meth:`start`."""
        await self.stop()

    async def drop(self) -> None:
        """Forget all subscriptions, as after a restart; there are no connections to drop."""
        await self.stop()
        await self.start()

    async def reboot(self, seconds: float) -> None:
        """Be away for so long (real time), and know nothing of any subscriber afterwards."""
        await self.stop()
        await asyncio.sleep(seconds)
        await self.start()

    async def stop(self) -> None:
        """Close the socket."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
        if self._layer is not None:
            self._layer.close()
            self._app = self._layer = None

    def _make_objects(self) -> dict[tuple[str, int], Any]:
        found: dict[tuple[str, int], Any] = {}
        for number, lift in self.lifts.items():
            found["lift", number] = _Lift(
                objectIdentifier=("lift", number), objectName=f"lift {number}",
                elevatorGroup=("elevatorGroup", 4_194_303), groupID=1, installationID=number,
                **lift_properties(lift.model.state(self._clock.now_ms()), lift),
            )  # fmt: skip
        contacts, sensors = self._names
        for number, name in contacts.items():
            found["contact", number] = BinaryInputObject(
                objectIdentifier=("binaryInput", number), objectName=name, presentValue=0,
                eventState=0, outOfService=False, polarity=0, reliability=0,
            )  # fmt: skip
        for number, name in sensors.items():
            found["sensor", number] = AnalogInputObject(
                objectIdentifier=("analogInput", number), objectName=name,
                presentValue=self.sensors[number], eventState=0, outOfService=False,
                units="degreesCelsius", reliability=0, covIncrement=0.1,
            )  # fmt: skip
        return found

    async def _follow(self) -> None:
        while True:
            self.follow()
            await asyncio.sleep(_FOLLOW_S)

    def follow(self) -> None:
        """Take the models' state over into the objects."""
        now = self._clock.now_ms()
        for number, lift in self.lifts.items():
            _assign(self._objects["lift", number], lift_properties(lift.model.state(now), lift))
        for number, active in self.contacts.items():
            broken = number in self.broken_lines
            values = {"presentValue": int(active), "reliability": 4 if broken else 0}
            _assign(self._objects["contact", number], values)
        for number, value in self.sensors.items():
            _assign(self._objects["sensor", number], {"presentValue": value})


def _assign(target: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(target, name, value)


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        try:
            sock.bind((host, port))
        except OSError:
            if port == 0:
                raise
            sock.bind((host, 0))
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock
