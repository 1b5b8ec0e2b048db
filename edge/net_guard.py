"""Where an edge does not connect to on somebody's word: itself, its link, a cloud's metadata."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from core.contracts.errors import EstateError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Metadata services of clouds that are no link-local addresses.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "fd00:ec2::254", "192.0.0.192")
)


class ForbiddenAddressError(EstateError):
    """An address that is not connected to unless the settings allow it."""


def why_not(address: Address, allowed: Sequence[Network]) -> str | None:
    """Return why an address is not connected to, None where it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return None
    if address in _METADATA:
        return "a metadata address"
    for name in ("loopback", "link_local", "multicast", "unspecified", "reserved"):
        if getattr(address, f"is_{name}"):
            return f"a {name.replace('_', '-')} address"
    return None


async def resolve(host: str, port: int, allowed: Sequence[Network]) -> str:
    """Return the address to connect to, so that no second look-up can give another one.

    Raises :class:`ForbiddenAddressError`, or OSError where the name is not known. A name with
    any forbidden address is refused whole.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if (why := why_not(address, allowed)) is not None:
            raise ForbiddenAddressError(f"{host} is {why} ({address}); allow it in the settings")
    if not addresses:
        raise OSError(f"{host} has no address")
    return str(addresses[0])
