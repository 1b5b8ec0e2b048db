"""Finds BACnet/IP devices: Who-Is to given addresses, then their names and their objects.

A Who-Is is one datagram to a broadcast address (it does not pass routers) or to a single
device; only instances within the range answer. Nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from typing import Any

from core.contracts.errors import DeviceError, SettingsError
from edge.discovery.found import Found
from edge.drivers.bacnet.link import BacnetLink, IAm, NackError, Unread
from edge.drivers.bacnet.reader import Reader

PORT = 47_808
HIGHEST = 4_194_302
#: Datagrams are lost: each Who-Is is sent so often, so far apart (s).
_REPEATS, _REPEAT_S = 2, 0.3
_MOST_DEVICES = 1_024
#: Devices without segmentation give their object list one by one; so many are asked for.
_MOST_OBJECTS = 500
_NAMES = ("object-name", "vendor-name", "model-name", "description")
_WORTH = ("lift", "binary-input", "analog-input")


async def scan(
    addresses: Sequence[str],
    *,
    low: int = 0,
    high: int = HIGHEST,
    wait_s: float = 3.0,
    timeout_s: float = 1.0,
    local_host: str = "0.0.0.0",  # noqa: S104 (a client's source address, not a service)
    local_port: int = PORT,
) -> AsyncIterator[Found]:
    """Yield the devices with an instance from ``low`` to ``high`` that answer.

    ``addresses`` are IPv4 addresses, broadcast or single, with or without a port. Many devices
    answer by a broadcast to port 47808: with another ``local_port`` those are not heard.
    Raises :class:`SettingsError` for a range that makes no sense, OSError when the port is taken.
    """
    if not 0 <= low <= high <= HIGHEST:
        raise SettingsError(f"instances {low} to {high}: give 0 to {HIGHEST}, the lower first")
    targets = [_address(text) for text in addresses]
    if not targets:
        raise SettingsError("addresses: give at least one, for example 192.168.10.255")
    link = BacnetLink(local_host, local_port, broadcast=True)
    heard: asyncio.Queue[IAm] = asyncio.Queue(_MOST_DEVICES)
    known: set[IAm] = set()

    def hear(answer: IAm) -> None:
        if low <= answer.instance <= high and answer not in known:
            known.add(answer)
            with contextlib.suppress(asyncio.QueueFull):
                heard.put_nowait(answer)

    asking = asyncio.create_task(_ask(link, targets, low, high, hear))
    deadline = asyncio.get_running_loop().time() + wait_s
    try:
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    answer = await heard.get()
            except TimeoutError:
                break
            yield await _look(link, answer, timeout_s)
        # What has answered while others were looked at.
        while not heard.empty():
            yield await _look(link, heard.get_nowait(), timeout_s)
        await asking
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        link.close()


async def _ask(link: BacnetLink, targets: Sequence[str], low: int, high: int, hear: Any) -> None:
    for attempt in range(_REPEATS):
        for target in targets:
            await link.who_is(target, low, high, hear)
        if attempt + 1 < _REPEATS:
            await asyncio.sleep(_REPEAT_S)


async def _look(link: BacnetLink, answer: IAm, timeout_s: float) -> Found:
    if answer.port == 0:
        what = f"device {answer.instance}, behind a router: the driver does not reach it"
        return Found("bacnet", f"{answer.host} device {answer.instance}", what)
    address = f"{answer.host}:{answer.port}"
    name = f"device,{answer.instance}"
    reader = Reader(link, address, timeout_s, lambda _: None)
    entry: dict[str, Any] = {"driver": "bacnet", "host": answer.host, "instance": answer.instance}
    if answer.port != PORT:
        entry["port"] = answer.port
    try:
        named = await reader.read([(name, _NAMES)])
        objects = await _objects(link, reader, name, timeout_s)
    except DeviceError as error:
        what = f"vendor {answer.vendor}; {error}"
        return Found("bacnet", f"{address} device {answer.instance}", what, entry)
    parts = [str(named[name, each]) for each in _NAMES if _is_text(named.get((name, each)))]
    counts = {kind: sum(o.startswith(f"{kind},") for o in objects) for kind in _WORTH}
    parts += [f"{count} {kind}" for kind, count in counts.items() if count]
    lifts = sorted(int(o.split(",")[1]) for o in objects if o.startswith("lift,"))
    if lifts:
        entry["lifts"] = [
            {"device": f"lift-{answer.instance}-{number}", "object": number} for number in lifts
        ]
    return Found("bacnet", f"{address} device {answer.instance}", ", ".join(parts), entry)


async def _objects(link: BacnetLink, reader: Reader, name: str, timeout_s: float) -> list[str]:
    """Return the device's objects; one by one where the list is too long for one answer."""
    with contextlib.suppress(NackError):
        whole = await reader.call(lambda: link.read(reader.address, name, "object-list", timeout_s))
        if isinstance(whole, list):
            return [str(item) for item in whole]
    found: list[str] = []
    with contextlib.suppress(NackError):
        count = await _element(link, reader, name, 0, timeout_s)
        last = min(count, _MOST_OBJECTS) if isinstance(count, int) else 0
        found += [
            str(await _element(link, reader, name, index, timeout_s))
            for index in range(1, last + 1)
        ]
    return found


async def _element(
    link: BacnetLink, reader: Reader, name: str, index: int, timeout_s: float
) -> Any:
    return await reader.call(
        lambda: link.read(reader.address, name, "object-list", timeout_s, index)
    )


def _is_text(value: Any) -> bool:
    return value is not None and not isinstance(value, Unread) and bool(str(value))


def _address(text: str) -> str:
    host, _, port = text.partition(":")
    try:
        ipaddress.IPv4Address(host)
        number = int(port or PORT)
    except ValueError:
        raise SettingsError(f"{text}: give an IPv4 address, with or without a port") from None
    if not 1 <= number <= 65_535:
        raise SettingsError(f"{text}: the port is out of range")
    return f"{host}:{number}"
