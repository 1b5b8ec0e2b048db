"""Finds Modbus devices: asks units in a given range who they are, and tries the known maps.

A scan opens one connection at a time to each address that it is given, asks one unit after the
other, and writes nothing. On a line that is in use it disturbs the polling of others, so it is
for commissioning.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.contracts.errors import DeviceError, SettingsError
from edge.discovery.found import Found
from edge.driver import LinkError
from edge.drivers.modbus import maps
from edge.modbus.blocks import Image, Span
from edge.modbus.errors import NoAnswerError, RefusedError
from edge.modbus.fields import IdentifySpec, Source
from edge.modbus.gateway import Gateway
from edge.modbus.maps import read_identification
from edge.modbus.numbers import BadValueError
from edge.modbus.questions import Identify, Read
from edge.modbus.settings import Endpoint, ModbusSerialSettings

#: A scan asks at most so many addresses, and units at each.
MOST_HOSTS, MOST_UNITS = 1_024, 256
_VENDOR, _PRODUCT, _REVISION = 0, 1, 2
_NAMES = {_VENDOR: "vendor", _PRODUCT: "product", _REVISION: "revision"}


@dataclass(frozen=True, slots=True)
class _Known:
    """A map that says how its device is told."""

    name: str
    path: Path
    identify: IdentifySpec
    table: Literal["coil", "discrete", "input", "holding"]


async def scan(
    hosts: Iterable[str] = (),
    *,
    ports: Sequence[int] = (502,),
    units: Sequence[int] = tuple(range(1, 248)),
    framing: Literal["tcp", "rtu"] = "tcp",
    serial: Sequence[ModbusSerialSettings] = (),
    timeout_s: float = 0.5,
    own_maps: Sequence[Path] = (),
) -> AsyncIterator[Found]:
    """Yield what answers at some hosts (addresses, names or networks like 192.168.10.0/28).

    ``own_maps`` are tried beside the built-in ones. An address that does not take the
    connection costs one time-out, a unit that is silent another. Raises
    :class:`SettingsError` for a range that is too wide or cannot be read.
    """
    endpoints = [
        Endpoint(framing, host=host, port=port) for host in addresses(hosts) for port in ports
    ]
    endpoints += [Endpoint("rtu", serial=line) for line in serial]
    if len(endpoints) > MOST_HOSTS or len(units) > MOST_UNITS:
        raise SettingsError(
            f"a scan asks at most {MOST_HOSTS} addresses and {MOST_UNITS} units at each; "
            "give a smaller range"
        )
    known = _known(own_maps)
    for endpoint in endpoints:
        gateway = Gateway(endpoint)
        try:
            async for found in _scan_one(gateway, units, known, timeout_s):
                yield found
        except LinkError:
            continue  # nobody there, or no Modbus
        finally:
            await gateway.close()


def addresses(hosts: Iterable[str]) -> list[str]:
    """Return the single addresses of hosts and networks; raise :class:`SettingsError`."""
    found: list[str] = []
    for host in hosts:
        if "/" not in host:
            found.append(host)
            continue
        try:
            network = ipaddress.ip_network(host, strict=False)
        except ValueError as error:
            raise SettingsError(f"{host}: {error}") from None
        if network.num_addresses > MOST_HOSTS:
            raise SettingsError(
                f"{host}: {network.num_addresses} addresses; at most {MOST_HOSTS}, for example a "
                f"/{network.max_prefixlen - 8}"
            )
        found += [str(address) for address in network.hosts()]
    return found


async def _scan_one(
    gateway: Gateway, units: Sequence[int], known: Sequence[_Known], timeout_s: float
) -> AsyncIterator[Found]:
    for unit in units:
        try:
            said = await _identify(gateway, unit, timeout_s)
            match = await _match(gateway, unit, known, said, timeout_s)
        except NoAnswerError:
            continue
        except RefusedError:
            match, said = None, {}
        yield _found(gateway.endpoint, unit, said, match)


async def _identify(gateway: Gateway, unit: int, timeout_s: float) -> dict[int, str]:
    """Return what a unit says of itself, nothing where it only shows that it is there."""
    try:
        said, _ = await gateway.ask(unit, Identify(), timeout_s)
    except RefusedError:
        return {}
    except NoAnswerError:
        # Many devices are mute to functions that they do not know.
        with contextlib.suppress(RefusedError):
            await gateway.ask(unit, Read("holding", 0, 1), timeout_s)
        return {}
    return said


async def _match(
    gateway: Gateway, unit: int, known: Sequence[_Known], said: dict[int, str], timeout_s: float
) -> _Known | None:
    names = " ".join(said.values()).lower()
    named = [item for item in known if any(name in names for name in item.identify.names)]
    if named:
        return named[0]
    fitting = [
        item
        for item in known
        if item.identify.probes and await _plausible(gateway, unit, item, timeout_s)
    ]
    # Where two maps fit, neither is told: a wrong map reads wrong values without an error.
    return fitting[0] if len(fitting) == 1 else None


async def _plausible(gateway: Gateway, unit: int, item: _Known, timeout_s: float) -> bool:
    for probe in item.identify.probes:
        source: Source = probe.value.placed(item.table, "big", "big")
        image = Image()
        try:
            for table, address, count in source.spans():
                words, _ = await gateway.ask(unit, Read(table, address, count), timeout_s)
                image.add(Span(table, address, count), words)
            value: Any = source.decode(image.look)
        except (DeviceError, BadValueError) as error:
            if isinstance(error, LinkError) and not isinstance(error, NoAnswerError):
                raise
            return False
        if not isinstance(value, int | float) or not probe.least <= value <= probe.most:
            return False
    return True


def _found(endpoint: Endpoint, unit: int, said: dict[int, str], match: _Known | None) -> Found:
    words = [f"{_NAMES.get(number, number)} {text}" for number, text in sorted(said.items())]
    if match is not None:
        words.append(f"answers as {match.name}")
    entry: dict[str, Any] = {"driver": "modbus"}
    if endpoint.serial is not None:
        entry["serial"] = endpoint.serial.model_dump(exclude_defaults=True)
    else:
        entry |= {"host": endpoint.host, "port": endpoint.port, "framing": endpoint.framing}
    device: dict[str, Any] = {"unit": unit}
    if match is not None:
        device["map"] = match.name if match.path.parent == maps.FOLDER else str(match.path)
    entry["devices"] = [device]
    what = ", ".join(words) or "answers, and does not say what it is"
    return Found("modbus", f"{endpoint.name} unit {unit}", what, entry)


def _known(own: Sequence[Path]) -> list[_Known]:
    found: list[_Known] = []
    for path in [maps.FOLDER / f"{name}.yaml" for name in maps.names()] + list(own):
        identify, table = read_identification(path)
        if identify is not None:
            found.append(_Known(path.stem, path, identify, table))
    return found
