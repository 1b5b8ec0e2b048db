"""The edge's own BACnet application: one for each local address, shared by all drivers.

The stack is bacpypes3's. Its own repetitions are off: who repeats what is the reader's. It
answers no Who-Is, so that an edge never competes for a device instance.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bacpypes3.apdu import (
    ErrorRejectAbortNack,
    IAmRequest,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    SubscribeCOVRequest,
    WhoIsRequest,
)
from bacpypes3.app import Application
from bacpypes3.basetypes import PropertyReference, ReadAccessSpecification
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import IPv4Address
from bacpypes3.primitivedata import ObjectIdentifier, Unsigned
from bacpypes3.vendor import get_vendor_info

#: The stack's own patience (ms); every request is given up earlier.
_STACK_TIMEOUT_MS = 11_000
#: Nobody sees this instance: the application announces nothing.
_OWN_INSTANCE = 4_194_302
_RECEIVE_BUFFER = 1 << 20


class NackError(Exception):
    """A device answered with an error, a reject or an abort; ``text`` says which."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a property has no value: the device's error code, or what is wrong with the answer."""

    why: str


@dataclass(frozen=True, slots=True)
class IAm:
    """One answer to Who-Is."""

    host: str
    port: int
    instance: int
    vendor: int


class _Client(Application):  # type: ignore[misc]  # bacpypes3 ships no types
    """An application that asks, and tells whoever subscribed of changes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.listeners: dict[tuple[str, int], Callable[[], None]] = {}
        self.on_i_am: Callable[[IAm], None] | None = None

    async def do_WhoIsRequest(self, apdu: Any) -> None:  # noqa: N802 (bacpypes3's name)
        """Stay silent."""

    async def do_IAmRequest(self, apdu: Any) -> None:  # noqa: N802 (bacpypes3's name)
        """Take an answer to Who-Is."""
        if self.on_i_am is not None and isinstance(apdu, IAmRequest):
            source = apdu.pduSource
            # A device behind a router has the router's word for an address, and no port.
            host, port = getattr(source, "addrTuple", None) or (str(source), 0)
            instance = int(apdu.iAmDeviceIdentifier[1])
            self.on_i_am(IAm(host, port, instance, int(apdu.vendorID)))

    async def do_UnconfirmedCOVNotificationRequest(self, apdu: Any) -> None:  # noqa: N802
        """Tell the subscriber that something changed; the values are read afresh."""
        key = (str(apdu.pduSource), int(apdu.subscriberProcessIdentifier))
        if (listener := self.listeners.get(key)) is not None:
            listener()


class BacnetLink:
    """A socket and an application on it; opened when first needed."""

    def __init__(self, host: str, port: int, *, broadcast: bool = False) -> None:
        self._local = (host, port)
        self._broadcast = broadcast
        self._app: _Client | None = None
        self._layer: Any = None
        self._opening = asyncio.Lock()
        self._processes = 0

    async def open(self) -> None:
        """Bind; raise OSError."""
        async with self._opening:
            if self._app is not None:
                return
            # The library logs every datagram that it cannot read; the reader counts them.
            logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)
            device = DeviceObject(
                objectIdentifier=("device", _OWN_INSTANCE), objectName="smart-estate-edge",
                apduTimeout=_STACK_TIMEOUT_MS, numberOfApduRetries=0,
            )  # fmt: skip
            sock = _bind(self._local, broadcast=self._broadcast)
            # The library would try for ever to bind a taken port; so the socket comes bound.
            address = IPv4Address(f"{self._local[0]}:{sock.getsockname()[1]}")
            app = _Client.from_object_list([device])
            layer = NormalLinkLayer(address, bind_socket=sock)
            app.nsap.bind(layer, address=address)
            await asyncio.gather(*layer.server._transport_tasks)  # noqa: SLF001 (no other sign)
            self._app, self._layer = app, layer

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        if self._layer is not None:
            self._layer.close()
        self._app = self._layer = None

    async def read_multiple(
        self, address: str, wants: Sequence[tuple[str, Sequence[str]]], timeout_s: float
    ) -> dict[tuple[str, str], Any]:
        """Read properties of objects at once; an :class:`Unread` stands for what has no value.

        Raises TimeoutError, :class:`NackError` and OSError.
        """
        specs = [
            ReadAccessSpecification(
                objectIdentifier=ObjectIdentifier(name),
                listOfPropertyReferences=[
                    PropertyReference(propertyIdentifier=item) for item in properties
                ],
            )
            for name, properties in wants
        ]
        request = ReadPropertyMultipleRequest(
            listOfReadAccessSpecs=specs, destination=IPv4Address(address)
        )
        reply = await self._ask(request, timeout_s)
        found: dict[tuple[str, str], Any] = {}
        for result in getattr(reply, "listOfReadAccessResults", ()):
            name = str(result.objectIdentifier)
            for element in result.listOfResults:
                identifier = element.propertyIdentifier
                outcome = element.readResult
                error = outcome.propertyAccessError
                found[name, str(identifier)] = (
                    Unread(str(error.errorCode))
                    if error is not None
                    else _value(result.objectIdentifier, identifier, outcome.propertyValue)
                )
        return found

    async def read(
        self, address: str, name: str, wanted: str, timeout_s: float, index: int | None = None
    ) -> Any:
        """Read one property, or one element of it; raise as :meth:`read_multiple` does."""
        request = ReadPropertyRequest(
            objectIdentifier=ObjectIdentifier(name), propertyIdentifier=wanted,
            destination=IPv4Address(address),
        )  # fmt: skip
        if index is not None:
            request.propertyArrayIndex = index
        reply = await self._ask(request, timeout_s)
        if str(getattr(reply, "objectIdentifier", "")) != name:
            return Unread("the answer is about something else")
        return _value(reply.objectIdentifier, reply.propertyIdentifier, reply.propertyValue, index)

    def new_process(self) -> int:
        """Return a process identifier for one subscription."""
        self._processes += 1
        return self._processes

    async def subscribe(
        self,
        address: str,
        name: str,
        process: int,
        timeout_s: float,
        *,
        lifetime_s: int,
        changed: Callable[[], None],
    ) -> None:
        """Subscribe (or renew) unconfirmed notifications; raise as :meth:`read_multiple` does."""
        request = SubscribeCOVRequest(
            subscriberProcessIdentifier=process,
            monitoredObjectIdentifier=ObjectIdentifier(name),
            issueConfirmedNotifications=False, lifetime=lifetime_s,
            destination=IPv4Address(address),
        )  # fmt: skip
        await self.open()
        if self._app is not None:
            self._app.listeners[str(IPv4Address(address)), process] = changed
        await self._ask(request, timeout_s)

    def forget(self, address: str, process: int) -> None:
        """Listen no more to a subscription; at the device it ends with its lifetime."""
        if self._app is not None:
            self._app.listeners.pop((str(IPv4Address(address)), process), None)

    async def who_is(self, address: str, low: int, high: int, heard: Callable[[IAm], None]) -> None:
        """Ask who is there; ``heard`` is called for each answer from now on. Raises OSError."""
        await self.open()
        app = self._app
        if app is None:
            raise OSError("the link is closed")
        app.on_i_am = heard
        request = WhoIsRequest(
            deviceInstanceRangeLowLimit=low, deviceInstanceRangeHighLimit=high,
            destination=IPv4Address(address),
        )  # fmt: skip
        await app.request(request)

    async def _ask(self, request: Any, timeout_s: float) -> Any:
        await self.open()
        app = self._app
        if app is None:
            raise OSError("the link is closed")
        try:
            async with asyncio.timeout(timeout_s):
                return await app.request(request)
        except ErrorRejectAbortNack as nack:
            raise NackError(str(nack)) from None


def _bind(local: tuple[str, int], *, broadcast: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(local)
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock


def _value(identifier: Any, wanted: Any, raw: Any, index: int | None = None) -> Any:
    """Return a property's value as plain Python, or why there is none."""
    try:
        kind = get_vendor_info(0).get_object_class(identifier[0])
        datatype = kind.get_property_type(wanted) if kind else None
        if datatype is None:
            return Unread(f"{wanted} of {identifier} is not known")
        if index is not None:
            datatype = datatype._subtype if index else Unsigned  # noqa: SLF001 (no other way)
        return plain(raw.cast_out(datatype))
    except Exception as error:  # noqa: BLE001 (the library raises whatever broken bytes lead to)
        return Unread(f"{wanted} of {identifier}: {error or type(error).__name__}")


def plain(value: Any) -> Any:
    """Return bacpypes3's value as bool, int, float, str or a list of them."""
    if isinstance(value, ObjectIdentifier):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    floors = getattr(value, "floorNumbers", None)
    return [int(floor) for floor in floors] if floors is not None else value
