"""What ``estate edge discover`` asks: ranges as they are typed, and the scan of each protocol.

Nothing but the range that was given is asked, and a wide range only when that was said twice.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.contracts.errors import SettingsError
from edge.discovery.found import Found

#: Questions (hosts x ports x units) beyond which ``--yes`` is asked for, and the most of all.
MOST_WITHOUT_YES, MOST = 2_048, 262_144
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,252}")
_LAST_OCTETS = re.compile(r"(\d+\.\d+\.\d+)\.(\d+)-(\d+)")
_PORT_OF: dict[str, tuple[int, ...]] = {
    "modbus": (502,), "dlt645": (8001,), "cjt188": (8001,),
}  # fmt: skip
#: Protocols that a bus behind each host or serial port is asked by.
_LINES = frozenset({"dlt645", "cjt188"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checked question."""

    protocol: str
    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    units: tuple[int, ...]
    serial: tuple[str, ...]
    suffix: str
    baud: int | None
    interface: str
    wait_s: float | None
    """For answers; None: as long as is usual with the protocol."""

    @classmethod
    def of(
        cls, protocol: str, hosts: Sequence[str], ports: str, units: str, serial: Sequence[str],
        *, baud: int | None = None, interface: str = "", wait_s: float | None = None,
        wide: bool = False,
    ) -> Wanted:  # fmt: skip
        """Check what was typed; raise :class:`SettingsError`."""
        if protocol not in _SCANS:
            raise SettingsError(f"{protocol!r} cannot be scanned; known are {', '.join(_SCANS)}")
        if interface:
            _address(interface, "--interface")
        found = _hosts(hosts)
        wanted = cls(
            protocol,
            found,
            numbers(ports, "--ports", 1, 65_535) if ports else _PORT_OF.get(protocol, ()),
            numbers(units, "--units", 0, 255) if units and protocol not in _LINES else (),
            tuple(serial),
            units if protocol in _LINES else "",
            baud,
            interface,
            wait_s,
        )
        wanted._check(wide=wide)
        return wanted

    def _check(self, *, wide: bool) -> None:
        if self.suffix and not (self.suffix.isdecimal() and len(self.suffix) % 2 == 0):
            raise SettingsError("--units: the last digits of the meters' addresses, in pairs")
        if not self.hosts and not self.serial and self.protocol != "onvif":
            raise SettingsError("--hosts or --serial: say where to look; nothing else is asked")
        if self.serial and self.protocol not in _LINES | {"modbus"}:
            raise SettingsError(f"--serial: {self.protocol} has no serial line")
        lines = len(self.hosts) * max(len(self.ports), 1) + len(self.serial)
        questions = lines * (len(self.units) or (247 if self.protocol == "modbus" else 1))
        if questions > MOST:
            raise SettingsError(f"{questions:,} questions are too many; at most {MOST:,}")
        if questions > MOST_WITHOUT_YES and not wide:
            raise SettingsError(
                f"{questions:,} questions would be asked; narrow the range, or say --yes"
            )


def scan(wanted: Wanted) -> AsyncIterator[Found]:
    """Scan as wanted; raises what the protocol's scan raises."""
    return _SCANS[wanted.protocol](wanted)


def numbers(text: str, name: str, low: int, high: int) -> tuple[int, ...]:
    """Return the numbers of ``1-3,7``; raise :class:`SettingsError` that names the option."""
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise SettingsError(f"{name}: {part!r} is no number and no range; such as 1-16,20")
        begin, end = int(first), int(last) if dash else int(first)
        if not low <= begin <= end <= high:
            raise SettingsError(f"{name}: {part!r} lies outside of {low} to {high}")
        found |= dict.fromkeys(range(begin, end + 1))
    return tuple(found)


def _hosts(texts: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in (part.strip() for whole in texts for part in whole.split(",")):
        found |= dict.fromkeys(_expand(text))
        if len(found) > MOST:
            raise SettingsError(f"--hosts: {text} makes more than {MOST:,} addresses")
    return tuple(found)


def _expand(text: str) -> list[str]:
    if (match := _LAST_OCTETS.fullmatch(text)) is not None:
        prefix, first, last = match[1], int(match[2]), int(match[3])
        if not first <= last <= 255:
            raise SettingsError(f"--hosts: {text!r}: the range ends before it begins, or above 255")
        return [str(_address(f"{prefix}.{n}", "--hosts")) for n in range(first, last + 1)]
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise SettingsError(f"--hosts: {error}") from None
        if network.num_addresses > MOST:
            raise SettingsError(f"--hosts: {text} has {network.num_addresses:,} addresses")
        return [str(host) for host in network.hosts()]
    if _HOST.fullmatch(text) is None:
        raise SettingsError(f"--hosts: {text!r} is no address, name or range")
    return [text]


def _address(text: str, name: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


# -- the protocols' scans, loaded when they are asked for ---------------------------------------


def _bacnet(wanted: Wanted) -> AsyncIterator[Found]:
    from edge.discovery import bacnet

    ports = wanted.ports or (bacnet.PORT,)
    places = [f"{host}:{port}" for host in wanted.hosts for port in ports]
    host = wanted.interface or "0.0.0.0"  # noqa: S104 (a client's source address, not a service)
    return bacnet.scan(places, wait_s=wanted.wait_s or 3.0, local_host=host)


def _modbus(wanted: Wanted) -> AsyncIterator[Found]:
    from edge.discovery import modbus
    from edge.modbus.settings import ModbusSerialSettings

    baud = {} if wanted.baud is None else {"baud": wanted.baud}
    return modbus.scan(
        wanted.hosts,
        ports=wanted.ports,
        units=wanted.units or tuple(range(1, 248)),
        serial=[ModbusSerialSettings(port=port, **baud) for port in wanted.serial],
        timeout_s=wanted.wait_s or 0.5,
    )


def _onvif(wanted: Wanted) -> AsyncIterator[Found]:
    from edge.discovery import onvif

    return onvif.scan(
        addresses=wanted.hosts, interface=wanted.interface, wait_s=wanted.wait_s or 3.0
    )


async def _lines(wanted: Wanted, module: Any) -> AsyncIterator[Found]:
    from core.contracts.errors import DeviceError
    from edge.transport.settings import ChannelSettings, MeterSerialSettings

    baud: dict[str, Any] = {} if wanted.baud is None else {"baud": wanted.baud}
    channels = [
        ChannelSettings(host=host, port=port) for host in wanted.hosts for port in wanted.ports
    ] + [ChannelSettings(serial=MeterSerialSettings(port=port, **baud)) for port in wanted.serial]
    reached = 0
    last: DeviceError | None = None
    for channel in channels:
        try:
            wait_s = wanted.wait_s or 0.6
            async for found in module.scan(channel, suffix=wanted.suffix, timeout_s=wait_s):
                reached += 1
                yield found
        except DeviceError as error:
            last = error  # one of several hosts that is not there is no reason to stop
    if last is not None and len(channels) == 1 and not reached:
        raise last


def _dlt645(wanted: Wanted) -> AsyncIterator[Found]:
    from edge.discovery import dlt645

    return _lines(wanted, dlt645)


def _cjt188(wanted: Wanted) -> AsyncIterator[Found]:
    from edge.discovery import cjt188

    return _lines(wanted, cjt188)


_SCANS: dict[str, Callable[[Wanted], AsyncIterator[Found]]] = {
    "bacnet": _bacnet,
    "cjt188": _cjt188,
    "dlt645": _dlt645,
    "modbus": _modbus,
    "onvif": _onvif,
}
