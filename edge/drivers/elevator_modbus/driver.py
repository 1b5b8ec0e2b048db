"""The lift driver: one block read a poll, status on change, faults and alarm button as events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from core.contracts.errors import DeviceRefusedError
from core.runtime.clock import Clock
from edge.driver import DriverContext, DriverSink, LinkError, PollingDriver, ReportRule
from edge.drivers.elevator_modbus.register_map import LiftState, RegisterMap, load
from edge.drivers.elevator_modbus.settings import ElevatorModbusSettings
from edge.drivers.settings import report_rules

_REPORTS = {
    # Counters move with every trip: they ride along but are no reason to report.
    "elevator.status": ReportRule(
        period_s=15,
        deadbands={"load_kg": 50},
        ignore=frozenset({"running_h", "trips", "door_cycles"}),
    )
}
#: Modbus exceptions by which a gateway says that it cannot reach the lift behind it.
_BEHIND_GATEWAY = frozenset({0x0A, 0x0B})


def create(settings: ElevatorModbusSettings, context: DriverContext) -> ElevatorModbusDriver:
    """Build the driver with its register map; raise :class:`SettingsError`."""
    return ElevatorModbusDriver(settings, load(settings.map, Path(context.base)), context.clock)


class ElevatorModbusDriver(PollingDriver):
    """Reads one lift."""

    def __init__(
        self, settings: ElevatorModbusSettings, register_map: RegisterMap, clock: Clock
    ) -> None:
        super().__init__(
            f"elevator_modbus {settings.host}:{settings.port}/{settings.unit}",
            settings.device_ids(),
            period_s=settings.period_s,
            poll_timeout_s=settings.timeout_s * 2 + 2,
        )
        self._settings = settings
        self._map = register_map
        self._clock = clock
        self._client: AsyncModbusTcpClient | None = None
        self._faults: dict[int, str] = {}
        self._alarm: bool | None = None

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return when the status is reported."""
        return report_rules(self._settings, _REPORTS)

    @property
    def patience(self) -> int:
        """Return 3: with a poll a second, one lost packet is not an outage."""
        return 3

    async def start(self, sink: DriverSink) -> None:
        """Take the sink."""
        await super().start(sink)
        # The library logs each failed request as an error; the runner logs the first.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

    async def stop(self) -> None:
        """Close the connection."""
        self._close()

    async def poll(self) -> None:
        """Read the registers, report what changed."""
        try:
            words, latency_ms = await self._read()
            state = self._map.decode(words)
        except (LinkError, DeviceRefusedError, asyncio.CancelledError):
            self._close()
            raise
        at = self._clock.now_ms()
        device = self._settings.device
        await self._sink.reached(device, latency_ms)
        await self._report_alarm(state, at)
        await self._report_faults(state, at)
        await self._sink.emit("elevator.status", device, state.status, at)

    async def _read(self) -> tuple[list[int], float]:
        settings, read = self._settings, self._map.read
        where = f"{settings.host}:{settings.port}"
        try:
            client = await self._connected()
            function = (
                client.read_holding_registers
                if read.table == "holding"
                else client.read_input_registers
            )
            began = time.monotonic()
            async with asyncio.timeout(settings.timeout_s):
                reply: ModbusPDU = await function(
                    read.address, count=read.count, device_id=settings.unit
                )
        except TimeoutError:
            raise LinkError(f"{where}: no answer", "device") from None
        except (ModbusException, OSError) as error:
            raise LinkError(f"{where}: {error}", "network") from error
        if reply.isError():
            code = getattr(reply, "exception_code", 0)
            if code in _BEHIND_GATEWAY:
                raise LinkError(f"{where}: the gateway does not reach the lift", "bus")
            raise DeviceRefusedError(f"{where}: Modbus exception {code}", f"{code:02X}")
        return list(reply.registers), (time.monotonic() - began) * 1000

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is None or not self._client.connected:
            self._close()
            settings = self._settings
            # Reconnecting is the runner's: it owns back-off and counting.
            self._client = AsyncModbusTcpClient(
                settings.host, port=settings.port, timeout=settings.timeout_s,
                retries=0, reconnect_delay=0,
            )  # fmt: skip
            async with asyncio.timeout(settings.timeout_s):
                if not await self._client.connect():
                    raise LinkError(f"{settings.host}:{settings.port}: no connection", "network")
        return self._client

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _report_alarm(self, state: LiftState, at: int) -> None:
        pressed = state.status.get("alarm_button")
        if pressed is None or pressed is self._alarm:
            return
        await self._sink.emit(
            "elevator.alarm_button", self._settings.device, {"active": pressed}, at
        )
        self._alarm = pressed

    async def _report_faults(self, state: LiftState, at: int) -> None:
        for code in sorted(self._faults.keys() - state.faults.keys()):
            await self._fault(code, self._faults[code], state, at, active=False)
            del self._faults[code]
        for code in sorted(state.faults.keys() - self._faults.keys()):
            await self._fault(code, state.faults[code], state, at, active=True)
            self._faults[code] = state.faults[code]

    async def _fault(
        self, code: int, fault: str, state: LiftState, at: int, *, active: bool
    ) -> None:
        data = {
            "fault": fault, "active": active, "raw_code": f"{code:02d}",
            "floor": state.status["floor"],
        }  # fmt: skip
        await self._sink.emit("elevator.fault", self._settings.device, data, at)
