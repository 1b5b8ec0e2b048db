"""The lift driver: status on change, faults and alarm button as events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.driver import DriverContext, ReportRule
from edge.drivers.elevator_modbus.register_map import LiftMap, load
from edge.drivers.elevator_modbus.settings import ElevatorModbusSettings
from edge.drivers.settings import report_rules
from edge.modbus.blocks import Image
from edge.modbus.meaning import Reading
from edge.modbus.poller import ModbusDevice, ModbusPoller

_REPORTS = {
    # Counters move with every trip: they ride along but are no reason to report.
    "elevator.status": ReportRule(
        period_s=15,
        deadbands={"load_kg": 50},
        ignore=frozenset({"running_h", "trips", "door_cycles"}),
    )
}


def create(settings: ElevatorModbusSettings, context: DriverContext) -> ElevatorModbusDriver:
    """Build the driver with its register maps; raise :class:`SettingsError`."""
    lifts = [
        _Lift(lift.device, lift.unit, load(lift.map, Path(context.base), lift.fault_codes))
        for lift in settings.all_lifts()
    ]
    return ElevatorModbusDriver(settings, lifts, context)


class _Lift(ModbusDevice):
    """One lift, and whether its alarm button was told as pressed."""

    def __init__(self, device: str, unit: int, lift_map: LiftMap) -> None:
        super().__init__(device, unit, lift_map.device_map)
        self.lift_map = lift_map
        self.alarm: bool | None = None


class ElevatorModbusDriver(ModbusPoller):
    """Reads lifts behind one gateway."""

    def __init__(
        self, settings: ElevatorModbusSettings, lifts: list[_Lift], context: DriverContext
    ) -> None:
        super().__init__("elevator_modbus", settings, lifts, context)
        self._settings = settings
        self._lifts = {lift.device: lift for lift in lifts}
        units = "+".join(str(lift.unit) for lift in lifts)
        self.name = f"elevator_modbus {settings.endpoint.name}/{units}"

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return when the status is reported."""
        return report_rules(self._settings, _REPORTS)

    @property
    def patience(self) -> int:
        """Return 3: with a poll a second, one lost packet is not an outage."""
        return 3

    async def observe(self, item: ModbusDevice, reading: Reading, image: Image) -> None:
        """Tell alarm button and faults, also where the status as a whole is not known."""
        del image
        lift = self._lifts[item.device]
        at = self._clock.now_ms()
        status = lift.lift_map.complete(reading)
        known = status or next((data for _, data in reading.observations), {})
        pressed = known.get("alarm_button")
        if pressed is not None and pressed is not lift.alarm:
            await self._sink.emit("elevator.alarm_button", lift.device, {"active": pressed}, at)
            lift.alarm = pressed
        floor = {"floor": known["floor"]} if "floor" in known else {}
        await lift.signals.tell(reading, self._sink, at, **floor)
        if status is not None:
            await self._sink.emit("elevator.status", lift.device, status, at)
