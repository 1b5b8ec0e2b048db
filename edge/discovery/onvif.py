"""WS-Discovery: asks a network's ONVIF devices to name themselves.

One multicast on one interface (it does not pass routers), or datagrams to single addresses; no
port is tried, nobody signs in. WS-Discovery April 2005, as ONVIF Core wants it.
"""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from core.contracts.errors import SettingsError
from edge.discovery.found import Found
from edge.onvif.soap import child, children, text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PORT = 3702
GROUP = "239.255.255.250"
_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_TO = "urn:schemas-xmlsoap-org:ws:2005:04:discovery"
#: What is asked for: cameras and encoders by their older type, everything else as a device.
_TYPES = (
    ("dn", "http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter"),
    ("tds", "http://www.onvif.org/ver10/device/wsdl", "Device"),
)
#: Datagrams are lost: each probe is sent so often, so far apart (s).
_REPEATS, _REPEAT_S = 2, 0.2
_MOST_ANSWERS = 4096
_MOST_MATCHES = 64
_SCOPE = "onvif://www.onvif.org/"
#: Profiles of access control: C (doors) and A (credentials).
_DOOR_PROFILES = frozenset({"a", "c", "door"})


@dataclass(frozen=True, slots=True)
class Match:
    """One answer, as far as it could be read."""

    endpoint: str
    types: frozenset[str]
    scopes: tuple[str, ...]
    addresses: tuple[str, ...]


async def scan(
    *,
    addresses: Sequence[str] = (),
    interface: str = "",
    port: int = PORT,
    wait_s: float = 3.0,
) -> AsyncIterator[Found]:
    """Yield each device that answers within ``wait_s``, once.

    With ``addresses`` each of them is asked on its own, and only these; without, one multicast
    goes out of the interface with the address ``interface`` (IPv4; empty: the default one).
    Raises :class:`SettingsError` for an interface that is none of this machine's.
    """
    targets = [(address, port) for address in addresses] or [(GROUP, port)]
    loop = asyncio.get_running_loop()
    transport, ear = await loop.create_datagram_endpoint(_Ear, sock=_socket(interface))
    probes = {f"urn:uuid:{uuid.uuid4()}": types for types in _TYPES}
    sending = asyncio.create_task(_send(transport, targets, probes))
    seen: set[str] = set()
    ends = time.monotonic() + wait_s
    try:
        while (left_s := ends - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    data, sender = await ear.heard.get()
            except TimeoutError:
                break
            for match in matches(data, probes.keys()):
                name = match.endpoint or f"{sender} {match.addresses}"
                if name not in seen:
                    seen.add(name)
                    yield found(match, sender)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        transport.close()


async def _send(
    transport: asyncio.DatagramTransport,
    targets: Sequence[tuple[str, int]],
    probes: dict[str, tuple[str, str, str]],
) -> None:
    for _ in range(_REPEATS):
        for message, types in probes.items():
            for target in targets:
                transport.sendto(probe(message, *types), target)
        await asyncio.sleep(_REPEAT_S)


def probe(message: str, prefix: str, space: str, name: str) -> bytes:
    """Return a probe for one type."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        f' xmlns:a="{_ADDRESSING}" xmlns:d="{_DISCOVERY}" xmlns:{prefix}="{space}">'
        f"<s:Header><a:Action>{_DISCOVERY}/Probe</a:Action><a:MessageID>{message}</a:MessageID>"
        f"<a:To>{_TO}</a:To></s:Header>"
        f"<s:Body><d:Probe><d:Types>{prefix}:{name}</d:Types></d:Probe></s:Body></s:Envelope>"
    ).encode()


def matches(data: bytes, asked: Collection[str]) -> list[Match]:
    """Return what a datagram tells; nothing for one that answers no probe of ours."""
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return []
    header, body = child(root, "Header"), child(root, "Body")
    if header is None or body is None:
        return []
    if text(header, "RelatesTo") not in asked:
        return []
    holder = child(body, "ProbeMatches")
    return [
        Match(
            text(item, "EndpointReference", "Address")[:200],
            frozenset(name.rpartition(":")[2] for name in text(item, "Types").split()[:32]),
            tuple(text(item, "Scopes").split()[:64]),
            tuple(text(item, "XAddrs").split()[:16]),
        )
        for item in ([] if holder is None else children(holder, "ProbeMatch")[:_MOST_MATCHES])
    ]


def found(match: Match, sender: str) -> Found:
    """Return what a configuration could begin with.

    A device with several addresses is reached where it answered from, if it names that one;
    else (a translation stands between) at the sender's address on the port that it names.
    """
    parts = [part for part in map(_split, match.addresses) if part is not None]
    own = next((part for part in parts if part[1] == sender), parts[0] if parts else None)
    scheme, _, port, path = own or ("http", sender, None, "/onvif/device_service")
    usual = port is None or port == (443 if scheme == "https" else 80)
    base_url = f"{scheme}://{sender}" + ("" if usual else f":{port}")
    scopes = [unquote(s.removeprefix(_SCOPE)) for s in match.scopes if s.startswith(_SCOPE)]
    profiles = {s.partition("/")[2].lower() for s in scopes if s.lower().startswith("profile/")}
    doors = bool(profiles & _DOOR_PROFILES) and "NetworkVideoTransmitter" not in match.types
    entry: dict[str, object] = {
        "driver": "onvif_door" if doors else "onvif_camera",
        "base_url": base_url,
    }
    if path not in ("", "/", "/onvif/device_service"):
        entry["path"] = path
    said = [_said(scopes, "name"), _said(scopes, "hardware"), _said(scopes, "location")]
    if profiles:
        named = (name.upper() if len(name) == 1 else name for name in profiles)
        said.append("profiles " + ", ".join(sorted(named)))
    what = "; ".join(item for item in said if item) or ", ".join(sorted(match.types))
    return Found(str(entry["driver"]), base_url, what[:200], entry)


def _split(address: str) -> tuple[str, str, int | None, str] | None:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port, parts.path


def _said(scopes: Sequence[str], name: str) -> str:
    values = [s.partition("/")[2] for s in scopes if s.lower().startswith(f"{name}/")]
    return " ".join(value for value in values if value)[:80]


def _socket(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 (the socket module's own signature)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        if interface:
            packed = socket.inet_aton(interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, packed)
        sock.bind((interface, 0))
    except OSError as error:
        sock.close()
        raise SettingsError(f"interface {interface or 'default'}: {error}") from None
    return sock


class _Ear(asyncio.DatagramProtocol):
    """Collects answers; what comes beyond the bound is dropped."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue(_MOST_ANSWERS)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if not self.heard.full():
            self.heard.put_nowait((data, str(addr[0])))

    def error_received(self, exc: Exception) -> None:
        """Nobody at one address is no reason to stop asking the others."""
