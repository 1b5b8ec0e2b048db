"""A driver for tests of the agent: it reads what it is told to, and writes down what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import Field

from core.contracts.commands import Action
from core.contracts.errors import SettingsError
from edge import config
from edge.driver import (
    CommandRefusedError,
    Driver,
    DriverContext,
    LinkError,
    Params,
    PollingDriver,
    ReportRule,
    StreamingDriver,
)
from edge.drivers.settings import DriverSettings, report_rules
from edge.registry import DRIVERS


class ProbeSettings(DriverSettings):
    """One entry of a probe."""

    devices: list[str]
    period_s: float = 60
    can: list[Action] = Field(default_factory=list)
    shared: str | None = None
    streams: bool = False
    note: str = ""

    def device_ids(self) -> tuple[str, ...]:
        return tuple(self.devices)


class Probes:
    """Every probe that was made, and what they did together."""

    def __init__(self) -> None:
        self.made: list[PolledProbe | StreamedProbe] = []
        self.acts: list[tuple[str, Action, dict[str, Any]]] = []
        self.polls: list[tuple[float, str]] = []
        self.hinder: Callable[[str, Action], BaseException | float | None] = lambda *_: None
        self.dead: set[str] = set()
        self.reading: dict[str, dict[str, Any]] = {}
        self.cannot_start: set[str] = set()
        self.settings = ProbeSettings

    def create(self, settings: DriverSettings, context: DriverContext) -> Driver:
        assert isinstance(settings, ProbeSettings)
        made = (StreamedProbe if settings.streams else PolledProbe)(self, settings)
        self.made.append(made)
        return made

    def of(self, device: str) -> list[PolledProbe | StreamedProbe]:
        return [made for made in self.made if device in made.devices]


class _Able(Driver):
    probes: Probes
    settings: ProbeSettings
    stopped = False

    @property
    def gateway(self) -> str | None:
        return self.settings.shared

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        return report_rules(self.settings, {})

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        return dict.fromkeys(self.devices, frozenset(self.settings.can))

    async def start(self, sink: Any) -> None:
        await super().start(sink)
        for device in self.devices:
            if device in self.probes.cannot_start:
                raise SettingsError(f"{device} cannot start")

    async def stop(self) -> None:
        self.stopped = True

    async def act(self, device: str, action: Action, params: Params) -> Params:
        hindered = self.probes.hinder(device, action)
        if isinstance(hindered, BaseException):
            raise hindered
        if hindered is not None:
            await asyncio.sleep(hindered)
        if params.get("for_s") == -1:
            raise CommandRefusedError("for_s must be above 0")
        self.probes.acts.append((device, action, dict(params)))
        return {"switched": True}


class PolledProbe(_Able, PollingDriver):
    """Polls; devices that are listed as dead do not answer."""

    def __init__(self, probes: Probes, settings: ProbeSettings) -> None:
        PollingDriver.__init__(
            self, f"probe {settings.devices[0]}", settings.device_ids(),
            period_s=settings.period_s, poll_timeout_s=5,
        )  # fmt: skip
        self.probes = probes
        self.settings = settings

    async def poll(self) -> None:
        for device in self.devices:
            self.probes.polls.append((asyncio.get_running_loop().time(), device))
            if device in self.probes.dead:
                await self._sink.failed(device, LinkError("no answer", "device"))
                continue
            await self._sink.reached(device, 1.0)
            data = self.probes.reading.get(device, {"medium": "electricity", "energy_kwh": 1.0})
            await self._sink.emit("meter.reading", device, data)


class StreamedProbe(_Able, StreamingDriver):
    """Streams what the test says."""

    def __init__(self, probes: Probes, settings: ProbeSettings) -> None:
        StreamingDriver.__init__(self, f"probe {settings.devices[0]}", settings.device_ids())
        self.probes = probes
        self.settings = settings

    async def run(self) -> None:
        while True:
            for device in self.devices:
                await self._sink.reached(device)
            await asyncio.sleep(0.2)

    async def say(self, kind: str, device: str, **data: Any) -> None:
        await self._sink.emit(kind, device, data)


def install(monkeypatch: pytest.MonkeyPatch) -> Probes:
    """Let configurations name the driver ``probe``."""
    probes = Probes()
    monkeypatch.setattr(config, "DRIVERS", {**DRIVERS, "probe": probes})
    monkeypatch.setattr("edge.runner.FIRST_POLL_S", 0.1)
    return probes
