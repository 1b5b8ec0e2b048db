"""What a driver is, and what it is given.

A driver speaks one protocol over one connection: a bus gateway with its meters, a lift, a door
controller, a camera. It is built by a factory of ``edge.registry`` from validated settings
(nothing is opened), then started, stopped, and asked for its health. The runner owns
everything else: period, spread of the starts, time-outs, back-off, supervision, counting, the
``device.health`` events and the report on change.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from core.contracts.commands import Action
from core.contracts.errors import DeviceError, JournalError, SettingsError
from core.runtime.clock import Clock
from edge.shared import Shared

#: Where a fault lies, as in ``device.health``.
Cause = Literal["device", "gateway", "bus", "network", "credentials", "protocol"]

#: The parameters of a command, and what its reply tells.
Params = Mapping[str, str | int | float | bool]

_JOURNAL_PAUSE_S = 1.0


class LinkError(DeviceError):
    """A device cannot be reached or understood; ``cause`` says where the fault lies.

    With the causes ``gateway``, ``bus`` and ``network`` the fault is that of the connection,
    and of everything else on it (:attr:`Driver.gateway`).
    """

    def __init__(self, message: str, cause: Cause) -> None:
        self.cause: Cause = cause
        super().__init__(message)


class CommandRefusedError(DeviceError):
    """A command cannot or may not be done; the message says why."""


class Sink(Protocol):
    """Takes observations on their way to the outbox."""

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        """Take one observation; return only when the journal has committed it.

        ``at`` is the device's time in ms since the Unix epoch (default: now) and ``id`` the
        source's own id. Raises :class:`ContractError` when ``data`` breaks the kind's model
        and :class:`JournalError` when it cannot be kept; it is then not reported.
        """
        ...

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        """Take one blurred JPEG (at most 256 kB); return only when it is committed."""
        ...


class DriverSink(Sink, Protocol):
    """A sink that also hears how the talk with each device goes; the runner makes one."""

    async def reached(self, device: str, latency_ms: float | None = None) -> None:
        """Note that a device answered (or that its stream is alive)."""
        ...

    async def failed(self, device: str, error: Exception) -> None:
        """Note that a device did not answer, while its connection goes on for others."""
        ...

    def count(self, name: str, amount: int = 1) -> None:
        """Count something that was skipped or refused, so that it can be seen."""
        ...


@dataclass(frozen=True, slots=True)
class ReportRule:
    """When an observation of one kind is worth an event: on change, or when the period is over.

    ``period_s`` is run time; None: on change only. ``deadbands`` gives for a numeric field the
    change that counts; ``ignore`` are fields whose change alone is no reason to report.
    """

    period_s: float | None = None
    deadbands: Mapping[str, float] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()


#: Fields of ``device.health`` that vary with each answer.
HEALTH_DETAIL = frozenset({"error", "latency_ms", "error_rate", "last_contact"})


def health_rule(period_s: float | None = None) -> ReportRule:
    """Return the rule of ``device.health``: on change, and each period where one is given.

    Drivers of devices that can be silent for long (doors, cameras) give a period, so that
    silence and absence can be told apart.
    """
    return ReportRule(period_s, ignore=HEALTH_DETAIL)


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What every driver may use besides its settings."""

    edge: str
    clock: Clock
    data: Path
    """The edge's own data folder (keys)."""
    base: Path
    """The folder of the configuration file; relative paths start here."""
    shared: Shared = field(default_factory=Shared)
    """What several drivers of this edge use together, by key: connections, models."""


@dataclass(frozen=True, slots=True)
class DeviceCondition:
    """What is known about the talk with one device; times are ms of the run's clock."""

    online: bool | None
    since: int | None = None
    cause: Cause | None = None
    error: str | None = None
    latency_ms: float | None = None
    error_rate: float = 0.0
    last_contact: int | None = None


class Driver:
    """One connection to one device, or to a gateway with several."""

    def __init__(self, name: str, devices: tuple[str, ...]) -> None:
        self.name = name
        """The driver's name and address, for logs; never holds a secret."""
        self.devices = devices

    @property
    def gateway(self) -> str | None:
        """Return the name of the gateway or bus that the devices hang on, None without one.

        Drivers that share a connection give the same name (usually ``host:port`` or the serial
        port), so that one dead gateway is told once and not once a device.
        """
        return None

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return what can be asked of each device beside being read."""
        return {}

    async def act(self, device: str, action: Action, params: Params) -> Params:  # noqa: ARG002
        """Do what a command asks and return what is to be told of it.

        Only for what :attr:`actions` names. Raises :class:`CommandRefusedError` for bad
        parameters, :class:`DeviceError` or OSError when the device does not do it.
        """
        raise CommandRefusedError(f"{device} cannot do {action}")

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rule of each kind that is not reported each time."""
        return {}

    @property
    def patience(self) -> int:
        """Return after how many failures in a row a device counts as offline."""
        return 2

    async def start(self, sink: DriverSink) -> None:
        """Take the sink and get ready (keys, threads); connections are made when needed."""
        self._sink = sink

    async def stop(self) -> None:
        """Release everything; safe to call twice and without a start."""

    def health(self) -> Mapping[str, int]:
        """Return the driver's own counters, by name."""
        return {}


class PollingDriver(Driver, ABC):
    """A driver that asks its device again and again."""

    def __init__(
        self, name: str, devices: tuple[str, ...], *, period_s: float, poll_timeout_s: float
    ) -> None:
        super().__init__(name, devices)
        self.period_s = period_s
        """Run time between the starts of two polls."""
        self.poll_timeout_s = poll_timeout_s
        """Real time after which a whole poll is given up."""

    @abstractmethod
    async def poll(self) -> None:
        """Read once, emit, and call ``reached`` or ``failed`` for each device that was tried.

        Raises :class:`DeviceError` or OSError when the connection as a whole fails.
        """


class StreamingDriver(Driver, ABC):
    """A driver whose device speaks by itself."""

    @abstractmethod
    async def run(self) -> None:
        """Connect and listen until the stream ends; call ``reached`` while it is alive.

        Raises :class:`DeviceError` or OSError when the stream is lost; returning means the
        same. The runner calls it again after a back-off.
        """


async def insist(act: Callable[[], Awaitable[None]], sink: DriverSink) -> None:
    """Emit what will not be told twice: while the journal refuses, wait and try again.

    The stream is not read meanwhile, so the back-pressure reaches the device.
    """
    while True:
        try:
            await act()
        except JournalError:
            sink.count("journal_waits")
            await asyncio.sleep(_JOURNAL_PAUSE_S)
        else:
            return


def read_secret(
    value: str | None, file: Path | None, variable: str | None, base: Path, name: str
) -> str:
    """Return a secret given in place, in a file or in an environment variable.

    Raises :class:`SettingsError` when none or more than one is given or it cannot be read.
    """
    given = [item for item in (value, file, variable) if item is not None]
    if len(given) != 1:
        raise SettingsError(f"{name}: give exactly one of {name}, {name}_file, {name}_env")
    if file is not None:
        path = base / file
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_file: {path}: {error}") from None
    if variable is not None:
        found = os.environ.get(variable)
        if not found:
            raise SettingsError(f"{name}_env: the variable {variable} is not set")
        return found
    return value or ""
