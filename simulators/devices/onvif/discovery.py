"""WS-Discovery: answers probes over UDP, as devices do on port 3702."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, cast

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from simulators.devices.faults import LineFaults
from simulators.devices.onvif.peer import OnvifDevice
from simulators.devices.onvif.soap import find

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_NETWORK = "http://www.onvif.org/ver10/network/wsdl"
_DEVICE = "http://www.onvif.org/ver10/device/wsdl"
_SPACE = uuid.UUID("2bd6a0a4-9df3-5a3c-8f0e-6f6e76696621")


class DiscoveryResponder:
    """Answers for some devices on one UDP port (unicast, as multicast needs an interface)."""

    def __init__(
        self, devices: Sequence[OnvifDevice], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.devices = list(devices)
        self.faults = LineFaults()
        self.probes = 0
        self._host = host
        self._port = port
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        """Return the port."""
        return self._port

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Protocol(self), local_addr=(self._host, self._port)
        )
        self._transport = transport
        self._port = transport.get_extra_info("sockname")[1]

    async def stop(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def received(self, data: bytes, sender: tuple[str, int]) -> None:
        """Answer one datagram."""
        try:
            root: Element = fromstring(data, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError):
            return
        probe, message = find(root, "Probe"), find(root, "MessageID")
        if probe is None or message is None:
            return
        self.probes += 1
        wanted = find(probe, "Types")
        names = ("" if wanted is None else wanted.text or "").split()
        locals_ = {name.rpartition(":")[2] for name in names}
        for device in self.devices:
            if locals_ <= set(self._types(device)):
                for piece in self.faults.apply(self.match(device, (message.text or "").strip())):
                    if self._transport is not None:
                        self._transport.sendto(piece, sender)

    @staticmethod
    def _types(device: OnvifDevice) -> tuple[str, ...]:
        return ("NetworkVideoTransmitter", "Device") if "trt" in device.services else ("Device",)

    def match(self, device: OnvifDevice, relates_to: str) -> bytes:
        """Return the ProbeMatches of one device."""
        types = " ".join(
            f"{'dn' if name != 'Device' else 'tds'}:{name}" for name in self._types(device)
        )
        scopes = " ".join(
            f"onvif://www.onvif.org/{scope}"
            for scope in (
                f"name/{escape(device.name)}",
                f"hardware/{device.model}",
                *(f"Profile/{profile}" for profile in device.profiles),
            )
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
            f' xmlns:a="{_ADDRESSING}" xmlns:d="{_DISCOVERY}" xmlns:dn="{_NETWORK}"'
            f' xmlns:tds="{_DEVICE}"><s:Header>'
            f"<a:Action>{_DISCOVERY}/ProbeMatches</a:Action>"
            f"<a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>"
            f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo>"
            f"<a:To>{_ADDRESSING}/role/anonymous</a:To>"
            '<d:AppSequence InstanceId="1" MessageNumber="1"/></s:Header><s:Body>'
            "<d:ProbeMatches><d:ProbeMatch><a:EndpointReference>"
            f"<a:Address>urn:uuid:{uuid.uuid5(_SPACE, device.name)}</a:Address>"
            f"</a:EndpointReference><d:Types>{types}</d:Types><d:Scopes>{scopes}</d:Scopes>"
            f"<d:XAddrs>{device.url('device_service')}</d:XAddrs>"
            "<d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches>"
            "</s:Body></s:Envelope>"
        ).encode()


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, responder: DiscoveryResponder) -> None:
        self._responder = responder

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._responder.received(data, cast("tuple[str, int]", addr[:2]))
