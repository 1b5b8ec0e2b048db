"""The Modbus driver: reads what the maps say, reports what the registers mean, switches relays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from core.contracts.commands import Action
from core.contracts.errors import SettingsError
from edge.driver import DriverContext, DriverSink, Params, ReportRule
from edge.drivers.modbus import maps
from edge.drivers.modbus.outputs import Board, Outputs
from edge.drivers.modbus.settings import ModbusDeviceSettings, ModbusSettings
from edge.drivers.settings import report_rules
from edge.modbus.blocks import Image
from edge.modbus.fields import OutputSpec
from edge.modbus.maps import load
from edge.modbus.meaning import DeviceMap, Reading
from edge.modbus.poller import ModbusDevice, ModbusPoller


def create(settings: ModbusSettings, context: DriverContext) -> ModbusDriver:
    """Build the driver with its maps; raise :class:`SettingsError`."""
    devices = [
        ModbusDevice(item.device, item.unit, _map(item, context.base)) for item in settings.devices
    ]
    boards = [
        Board(item.device, item.unit, _outputs(item, device.map))
        for item, device in zip(settings.devices, devices, strict=True)
        if device.map.outputs
    ]
    return ModbusDriver(settings, devices, boards, context)


def _map(item: ModbusDeviceSettings, base: Path) -> DeviceMap:
    where = f"device {item.device}"
    try:
        path = maps.find(item.map, base)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
    inputs = {str(name): given for name, given in item.inputs.items()}
    return load(path, parameters=item.parameters, inputs=inputs, where=where)


def _outputs(item: ModbusDeviceSettings, device_map: DeviceMap) -> dict[str, OutputSpec]:
    if item.outputs is None:
        return dict(device_map.outputs)
    chosen = [str(name) for name in item.outputs]
    for name in chosen:
        if name not in device_map.outputs:
            known = ", ".join(device_map.outputs)
            raise SettingsError(
                f"device {item.device}: outputs: {device_map.name} has no {name}; it has {known}"
            )
    return {name: device_map.outputs[name] for name in chosen}


class ModbusDriver(ModbusPoller):
    """Reads meters, counters, contacts and sensors, and switches outputs."""

    def __init__(
        self,
        settings: ModbusSettings,
        devices: list[ModbusDevice],
        boards: list[Board],
        context: DriverContext,
    ) -> None:
        super().__init__("modbus", settings, devices, context)
        self._settings = settings
        self._boards = [board for board in boards if board.outputs]
        safe = re.sub(r"[^A-Za-z0-9.]+", "_", settings.endpoint.name)
        first = settings.devices[0].device
        self._outputs = Outputs(
            self._boards, self._gateway, settings.timeout_s, context.clock,
            context.data / f"outputs-{safe}-{first}.json",
        )  # fmt: skip
        self._started = False

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules; readings are reported each time unless told otherwise."""
        return report_rules(self._settings, {})

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return the devices that have outputs."""
        return {board.device: frozenset({Action.RELAY_OUTPUT}) for board in self._boards}

    def health(self) -> Mapping[str, int]:
        """Return the counters of the connection, and how many outputs are on for a time."""
        return {**super().health(), "timed_outputs": self._outputs.timed}

    async def start(self, sink: DriverSink) -> None:
        """Take the sink, and up what an earlier run left switched on."""
        await super().start(sink)
        self._outputs.start()
        self._started = True

    async def stop(self) -> None:
        """Switch timed outputs off, and give the connection back."""
        if self._started:
            self._started = False
            await self._outputs.stop()
        await super().stop()

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Switch an output."""
        if action is not Action.RELAY_OUTPUT:
            return await super().act(device, action, params)
        return await self._outputs.switch(device, params)

    async def observe(self, item: ModbusDevice, reading: Reading, image: Image) -> None:
        """Emit signals first, then readings."""
        del image
        at = self._clock.now_ms()
        await item.signals.tell(reading, self._sink, at)
        for kind, data in reading.observations:
            if not any(text.startswith(f"{kind} ") for text in reading.incomplete):
                await self._sink.emit(kind, item.device, data, at)
