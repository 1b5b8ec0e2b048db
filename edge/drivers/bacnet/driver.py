"""The BACnet driver: lifts, contacts and points of one device, over the edge's application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.contracts.errors import DeviceError, DeviceRefusedError
from edge.driver import DriverContext, DriverSink, LinkError, PollingDriver, ReportRule
from edge.drivers.bacnet import lift as lifts
from edge.drivers.bacnet import points
from edge.drivers.bacnet.changes import Subscriptions
from edge.drivers.bacnet.link import BacnetLink, Unread
from edge.drivers.bacnet.reader import Reader
from edge.drivers.bacnet.settings import (
    BacnetSettings,
    ContactSection,
    LiftSection,
    PointSection,
)
from edge.drivers.settings import report_rules

_REPORTS = {
    "elevator.status": ReportRule(
        period_s=15,
        deadbands={"load_kg": 50},
        ignore=frozenset({"running_h", "trips", "door_cycles"}),
    ),
    "meter.reading": ReportRule(period_s=300, deadbands={"energy_kwh": 1.0}),
}
#: So many objects are asked for in one request: the answer fits the smallest usual APDU (480).
_CHUNK = 10


def create(settings: BacnetSettings, context: DriverContext) -> BacnetDriver:
    """Build the driver; nothing is opened."""
    return BacnetDriver(settings, context)


class BacnetDriver(PollingDriver):
    """Reads one BACnet device."""

    def __init__(self, settings: BacnetSettings, context: DriverContext) -> None:
        requests = len(settings.lifts) + (len(settings.contacts) + len(settings.points)) / _CHUNK
        super().__init__(
            f"bacnet {settings.host}:{settings.port}",
            settings.device_ids(),
            period_s=settings.period_s,
            # Generous: a device that does not answer ends the poll with its first request.
            poll_timeout_s=min(settings.timeout_s * (4 + requests) + 5, 600),
        )
        self._settings = settings
        self._clock = context.clock
        self._shared = context.shared
        self._key = ("bacnet", settings.local_host, settings.local_port)
        self._reader: Reader | None = None
        self._changes: Subscriptions | None = None
        self._identified = settings.instance is None
        self._points_at: int | None = None
        self._positions: dict[str, int] = {}
        self._told: dict[tuple[str, ...], bool] = {}

    @property
    def gateway(self) -> str | None:
        """Return the device's address where several of ours hang on it."""
        settings = self._settings
        return f"{settings.host}:{settings.port}" if len(self.devices) > 1 else None

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return when statuses and the lift's energy are reported."""
        return report_rules(self._settings, _REPORTS)

    @property
    def patience(self) -> int:
        """Return 3: datagrams are lost now and then."""
        return 3

    async def start(self, sink: DriverSink) -> None:
        """Take the sink and the shared application."""
        await super().start(sink)
        settings = self._settings
        link = self._shared.acquire(
            self._key, lambda: BacnetLink(settings.local_host, settings.local_port)
        )
        address = f"{settings.host}:{settings.port}"
        self._reader = Reader(link, address, settings.timeout_s, sink.count)
        if settings.cov:
            self._changes = Subscriptions(link, self._reader, settings, self._clock, sink.count)

    async def stop(self) -> None:
        """Give the application back; the last driver closes it."""
        if self._reader is None:
            return
        if self._changes is not None:
            self._changes.forget()
        self._reader = self._changes = None
        await self._shared.release(self._key)

    async def poll(self) -> None:
        """Read what is due; report what changed."""
        settings = self._settings
        try:
            await self._identify()
            for lift in settings.lifts:
                await self._lift(lift)
            for at in range(0, len(settings.contacts), _CHUNK):
                await self._contacts(settings.contacts[at : at + _CHUNK])
            if self._points_due():
                for at in range(0, len(settings.points), _CHUNK):
                    await self._points(settings.points[at : at + _CHUNK])
                self._points_at = self._clock.now_ms()
        except DeviceError:
            # Whoever answers next may be another, or has forgotten our subscriptions.
            self._identified = settings.instance is None
            self._reading.forget()
            if self._changes is not None:
                self._changes.forget()
            raise

    @property
    def _reading(self) -> Reader:
        if self._reader is None:
            raise RuntimeError("not started")
        return self._reader

    async def _identify(self) -> None:
        if self._identified:
            return
        device = f"device,{self._settings.instance}"
        found = await self._reading.read([(device, ["object-name"])])
        if not found or isinstance(found[device, "object-name"], Unread):
            text = f"{self._reading.address} is not device {self._settings.instance}"
            raise LinkError(text, "protocol")
        self._identified = True

    async def _read(self, wants: Sequence[tuple[str, Sequence[str]]]) -> dict[str, dict[str, Any]]:
        """Return the values by object, then property."""
        found = await self._reading.read(wants)
        values: dict[str, dict[str, Any]] = {name: {} for name, _ in wants}
        for (name, wanted), value in found.items():
            values[name][wanted] = value
        return values

    async def _due(self, names: Sequence[str]) -> bool:
        return self._changes is None or await self._changes.due(names)

    # -- lifts -------------------------------------------------------------------------------

    async def _lift(self, lift: LiftSection) -> None:
        name = f"lift,{lift.object}"
        if not await self._due([name]):
            return
        wanted = [*lifts.PROPERTIES, *([lifts.ENERGY] if lift.energy_meter else [])]
        values = (await self._read([(name, wanted)]))[name]
        at = self._clock.now_ms()
        try:
            if not values:
                raise DeviceRefusedError(f"there is no {name}", "unknown-object")
            reading = lifts.decode(values, lift, self._positions.get(name))
        except DeviceError as error:
            await self._sink.failed(lift.device, error)
            if lift.energy_meter:
                await self._sink.failed(lift.energy_meter, error)
            return
        self._positions[name] = int(values["car-position"])
        for counter in reading.unclear:
            self._sink.count(counter)
        await self._sink.reached(lift.device)
        await self._report_lift(lift, reading, at)
        if lift.energy_meter and reading.energy_kwh is not None:
            await self._sink.reached(lift.energy_meter)
            data = {"medium": "electricity", "energy_kwh": reading.energy_kwh}
            await self._sink.emit("meter.reading", lift.energy_meter, data, at)
        elif lift.energy_meter:
            await self._sink.failed(
                lift.energy_meter, DeviceRefusedError(f"{name} has no energy-meter", "absent")
            )
        self._seen([name])

    async def _report_lift(self, lift: LiftSection, reading: lifts.LiftReading, at: int) -> None:
        device, floor = lift.device, reading.status["floor"]
        alarm = {"active": reading.status["alarm_button"]}
        await self._tell(("alarm", device), "elevator.alarm_button", device, alarm, at)
        told = {
            int(key[2]) for key, on in self._told.items() if key[:2] == ("fault", device) and on
        }
        for code in sorted(told - reading.faults) + sorted(reading.faults - told):
            data = {
                "fault": lifts.FAULTS.get(code, "other"), "active": code in reading.faults,
                "raw_code": str(code), "floor": floor,
            }  # fmt: skip
            await self._tell(("fault", device, str(code)), "elevator.fault", device, data, at)
        data = {
            "fault": "configuration", "active": reading.decoupled, "part": f"lift,{lift.object}",
            "raw_code": "out-of-service",
        }  # fmt: skip
        await self._tell_end(("decoupled", device), "device.fault", device, data, at)
        await self._sink.emit("elevator.status", device, reading.status, at)

    # -- contacts and points -------------------------------------------------------------------

    async def _contacts(self, contacts: Sequence[ContactSection]) -> None:
        names = [contact.object for contact in contacts]
        if not await self._due(names):
            return
        values = await self._read([(name, points.PROPERTIES) for name in dict.fromkeys(names)])
        at = self._clock.now_ms()
        for contact in contacts:
            value = await self._value(contact.device, contact.object, values)
            if value is None:
                continue
            device, active = contact.device, points.contact_active(value, contact)
            place = {
                name: text for name, text in (("loop", contact.loop), ("point", contact.point))
                if text is not None
            }  # fmt: skip
            place.setdefault("point", contact.object)
            broken = {**place, "active": value.trouble is not None, "raw_code": value.trouble}
            if value.trouble is None:
                del broken["raw_code"]
                signal = {**place, "active": active}
                told = ("contact", device, contact.object, contact.signal)
                await self._tell(told, f"fire.{contact.signal}", device, signal, at)
            line = ("line", device, contact.object)
            if contact.signal == "fault":
                broken["point"] = f"{place['point']}/line"[:64]
            await self._tell_end(line, "fire.fault", device, broken, at)
        self._seen(names)

    async def _points(self, chunk: Sequence[PointSection]) -> None:
        names = list(dict.fromkeys(point.object for point in chunk))
        values = await self._read([(name, points.PROPERTIES) for name in names])
        at = self._clock.now_ms()
        for point in chunk:
            value = await self._value(point.device, point.object, values)
            if value is None:
                continue
            data = {
                "fault": "sensor", "active": value.trouble is not None, "part": point.object,
                **({} if value.trouble is None else {"raw_code": value.trouble}),
            }  # fmt: skip
            await self._tell_end(
                ("sensor", point.device, point.object), "device.fault", point.device, data, at
            )
            if value.trouble is None:
                reading = points.reading(value, point)
                await self._sink.emit("sensor.reading", point.device, reading, at)

    async def _value(
        self, device: str, name: str, values: Mapping[str, Mapping[str, Any]]
    ) -> points.Value | None:
        try:
            if not values[name]:
                raise DeviceRefusedError(f"there is no {name}", "unknown-object")
            value = points.decode(name, values[name])
        except DeviceError as error:
            await self._sink.failed(device, error)
            return None
        await self._sink.reached(device)
        return value

    def _points_due(self) -> bool:
        if self._points_at is None:
            return True
        return abs(self._clock.now_ms() - self._points_at) >= self._settings.points_period_s * 1000

    # -- what was told -------------------------------------------------------------------------

    def _seen(self, names: Sequence[str]) -> None:
        """Note that these objects are read and told whole; not before."""
        if self._changes is not None:
            self._changes.seen(names)

    async def _tell(
        self, key: tuple[str, ...], kind: str, device: str, data: dict[str, Any], at: int
    ) -> None:
        """Tell a state when it changed, and once at the start."""
        if self._told.get(key) is data["active"]:
            return
        await self._sink.emit(kind, device, data, at)
        self._told[key] = data["active"]

    async def _tell_end(
        self, key: tuple[str, ...], kind: str, device: str, data: dict[str, Any], at: int
    ) -> None:
        """Tell a fault when it begins and when it is over, but not that there was none."""
        if data["active"] or self._told.get(key):
            await self._tell(key, kind, device, data, at)
