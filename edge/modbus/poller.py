"""What the drivers over Modbus have in common: several devices behind one shared gateway."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from core.contracts.errors import DeviceError
from edge.driver import DriverContext, DriverSink, LinkError, PollingDriver
from edge.modbus.blocks import Image
from edge.modbus.errors import NoAnswerError
from edge.modbus.gateway import Gateway, acquire
from edge.modbus.meaning import DeviceMap, Reading
from edge.modbus.reader import DeviceReader
from edge.modbus.settings import GatewaySettings
from edge.modbus.signals import Signals

#: Everything of one poll is bounded by its time-outs; this is for waiting behind others.
_SPARE_S = 60.0


class ModbusDevice:
    """One device: its unit, its map, and what was told of it."""

    def __init__(self, device: str, unit: int, device_map: DeviceMap) -> None:
        self.device = device
        self.unit = unit
        self.map = device_map
        self.signals = Signals(device)


class ModbusPoller(PollingDriver):
    """Polls devices behind one gateway, one after the other."""

    def __init__(
        self,
        name: str,
        settings: GatewaySettings,
        devices: Sequence[ModbusDevice],
        context: DriverContext,
    ) -> None:
        blocks = sum(len(item.map.blocks) + 2 for item in devices)
        super().__init__(
            f"{name} {settings.endpoint.name}",
            tuple(item.device for item in devices),
            period_s=settings.period_s,
            poll_timeout_s=settings.timeout_s * (blocks + 1) + _SPARE_S,
        )
        self._timeout_s = settings.timeout_s
        self._items = devices
        self._clock = context.clock
        self._shared = context.shared
        self._key = settings.endpoint.key
        self._gateway: Gateway = acquire(context.shared, settings.endpoint)
        self._held = True
        self._readers: dict[str, DeviceReader] = {}
        for item in devices:
            self._gateway.units.know(item.unit)
            self._readers[item.device] = DeviceReader(
                self._gateway, item.unit, item.map.blocks, self._timeout_s, self._note
            )

    @property
    def gateway(self) -> str | None:
        """Return the gateway's address, or the serial port."""
        return self._gateway.name

    def health(self) -> Mapping[str, int]:
        """Return the counters of the connection, which other drivers may share."""
        missing = sum(reader.missing for reader in self._readers.values())
        return {**self._gateway.counts, "blocks_missing": missing}

    async def start(self, sink: DriverSink) -> None:
        """Take the sink."""
        await super().start(sink)
        if not self._held:
            self._shared.acquire(self._key, lambda: self._gateway)
            self._held = True

    async def stop(self) -> None:
        """Give the connection back; the last driver on it closes it."""
        if self._held:
            self._held = False
            await self._shared.release(self._key)

    async def poll(self) -> None:
        """Read every device that is due; a silent one does not keep the others waiting."""
        failures: list[tuple[ModbusDevice, DeviceError]] = []
        silent: dict[int, NoAnswerError] = {}
        for item in self._items:
            if item.unit in silent:
                failures.append((item, silent[item.unit]))
                continue
            if not self._gateway.units.due(item.unit):
                continue
            try:
                await self._poll_one(item)
            except NoAnswerError as error:
                silent[item.unit] = error
                failures.append((item, error))
            except LinkError as error:
                if error.cause != "protocol":
                    raise  # the connection itself
                failures.append((item, error))
            except DeviceError as error:
                failures.append((item, error))
        if silent and self._nobody_answers():
            raise LinkError(f"no unit answers: {list(silent.values())[-1]}", "bus")
        for item, failure in failures:
            await self._sink.failed(item.device, failure)

    @abstractmethod
    async def observe(self, item: ModbusDevice, reading: Reading, image: Image) -> None:
        """Emit what was read of one device."""

    async def _poll_one(self, item: ModbusDevice) -> None:
        image, latency_ms = await self._readers[item.device].read()
        reading = item.map.read(image)
        if reading.problems:
            self._sink.count("bad_values", len(reading.problems))
        if not reading.incomplete:
            await self._sink.reached(item.device, latency_ms)
        await self.observe(item, reading, image)
        if reading.incomplete:
            raise LinkError(f"{self._gateway.name}: {reading.incomplete[0]}", "protocol")

    def _nobody_answers(self) -> bool:
        units = self._gateway.units
        return not units.alone() and not units.anybody_answers()

    def _note(self, name: str) -> None:
        self._sink.count(name)
