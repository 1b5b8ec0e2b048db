"""Talks to one ONVIF device: signs its requests with the device's own time, bounds the answers."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit

import httpx

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.onvif import names
from edge.onvif.soap import SignInError, Token, child, children, envelope, local, parse, text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Answers and pictures are read up to so many bytes; a longer one is refused.
LONGEST_ANSWER = 1024 * 1024
LONGEST_PICTURE = 8 * 1024 * 1024
#: Devices lock an account after a few wrong passwords: pauses (real seconds) between tries.
_PAUSES_S = (10.0, 60.0, 300.0, 900.0, 1800.0)
#: The device's time has whole seconds: an offset below is no offset.
_LEAST_OFFSET_MS = 2_000
_LONGEST_ADDRESS = 500

Auth = Literal["auto", "token", "digest"]


@dataclass(frozen=True, slots=True)
class Account:
    """Where a device is, and as whom one signs in.

    ``auth``: ``token`` sends WS-Security UsernameTokens, ``digest`` answers HTTP Digest
    challenges, ``auto`` does both.
    """

    base_url: str
    path: str
    username: str
    password: str
    auth: Auth
    timeout_s: float


class OnvifClient:
    """One device's services; nothing is opened before the first call."""

    def __init__(
        self, account: Account, now_ms: Callable[[], int], *, verify: ssl.SSLContext | bool
    ) -> None:
        self._account = account
        self._now_ms = now_ms
        self._digest = httpx.DigestAuth(account.username, account.password)
        self._http = httpx.AsyncClient(
            verify=verify,
            # No proxy of the environment stands between an edge and its devices.
            trust_env=False,
            limits=httpx.Limits(max_connections=4, keepalive_expiry=30),
            headers={"Accept-Encoding": "identity", "User-Agent": "smart-estate"},
        )
        self._services: dict[str, str] = {}
        self._refused = 0
        self._not_before = 0.0
        self.offset_ms = 0
        """The device's clock minus ours."""
        self.latency_ms: float | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # -- what every device has ---------------------------------------------------------------

    async def connect(self) -> None:
        """Read the device's clock and its services; raise :class:`LinkError`."""
        if time.monotonic() < self._not_before:
            raise SignInError("credentials refused; waiting before the next try")
        await self.read_clock()
        self._services = await self._read_services()

    async def read_clock(self) -> None:
        """Read the device's time, so that tokens carry it; it is asked for without a token."""
        body = f'<d:GetSystemDateAndTime xmlns:d="{names.DEVICE}"/>'
        began = time.monotonic()
        try:
            answer = await self._exchange(self._device, "GetSystemDateAndTime", body, signed=False)
        except SignInError:
            # Some devices want a token for everything; then their clock must agree with ours.
            answer = await self._exchange(self._device, "GetSystemDateAndTime", body, signed=True)
        self.latency_ms = (time.monotonic() - began) * 1000
        moment = _device_time(answer)
        self.offset_ms = 0 if moment is None else moment - self._now_ms()
        if abs(self.offset_ms) < _LEAST_OFFSET_MS:
            self.offset_ms = 0

    @property
    def device_now_ms(self) -> int:
        """Return what the device's clock shows now."""
        return self._now_ms() + self.offset_ms

    def has(self, service: str) -> bool:
        """Tell whether the device offers a service (by its namespace)."""
        return service in self._services

    def address(self, service: str) -> str:
        """Return a service's address; raise :class:`DeviceRefusedError` where it has none."""
        try:
            return self._services[service]
        except KeyError:
            raise DeviceRefusedError(f"the device has no service {service}", "no_service") from None

    def reach(self, given: str) -> str | None:
        """Return an address that the device gave, as it is reached from here.

        Devices behind a translation (and some that are badly set up) give a host that is not
        theirs. So requests, and the password's digest with them, go to the configured host
        only; a port of its own is kept where the host agrees.
        """
        base = urlsplit(self._account.base_url)
        try:
            parts = urlsplit(given.strip()[:_LONGEST_ADDRESS])
            same = parts.hostname == base.hostname and parts.scheme == base.scheme
            netloc = parts.netloc.rpartition("@")[2] if same and parts.port else base.netloc
        except ValueError:
            return None
        if parts.scheme not in ("http", "https", "") or not parts.path.startswith("/"):
            return None
        return urlunsplit((base.scheme, netloc, parts.path, parts.query, ""))

    # -- requests ----------------------------------------------------------------------------

    async def call(
        self,
        address: str,
        operation: str,
        body: str,
        *,
        headers: str = "",
        wait_s: float = 0.0,
        again: bool = True,
    ) -> Element:
        """Send one signed request and return the first element of the answer's body.

        ``wait_s`` is how long the device may hold the answer back; ``again``: a request that
        found its connection closed is sent once more. Raises :class:`LinkError`,
        :class:`SignInError` or :class:`DeviceRefusedError`.
        """
        try:
            answer = await self._exchange(
                address, operation, body, headers=headers, wait_s=wait_s, again=again
            )
        except SignInError:
            # Perhaps its clock was set since it was read: then the token is out of its time.
            before = self.offset_ms
            await self.read_clock()
            if abs(self.offset_ms - before) < _LEAST_OFFSET_MS:
                raise self._lock_out() from None
            try:
                answer = await self._exchange(
                    address, operation, body, headers=headers, wait_s=wait_s, again=again
                )
            except SignInError:
                raise self._lock_out() from None
        self._refused = 0
        return answer

    async def ask(
        self, service: str, operation: str, inner: str = "", *, again: bool = True
    ) -> Element:
        """Call an operation of a service; ``inner`` is its content with the prefix ``q``."""
        body = f'<q:{operation} xmlns:q="{service}">{inner}</q:{operation}>'
        address = self.address(service)
        return await self.call(address, f"{service}/{operation}", body, again=again)

    async def picture(self, address: str) -> bytes:
        """Fetch a picture; raise :class:`LinkError`."""
        url = self.reach(address)
        if url is None:
            raise LinkError("the device gave no usable address for its picture", "protocol")
        account = self._account
        status, challenge, content = await self._send(
            "GET", url, None, {}, self._digest, account.timeout_s, LONGEST_PICTURE
        )
        if status == httpx.codes.UNAUTHORIZED and "basic" in challenge.lower():
            basic = httpx.BasicAuth(account.username, account.password)
            status, _, content = await self._send(
                "GET", url, None, {}, basic, account.timeout_s, LONGEST_PICTURE
            )
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SignInError(f"the picture is refused ({status})")
        if status != httpx.codes.OK:
            raise LinkError(f"HTTP status {status} for the picture", "protocol")
        return content

    # -- the leaf ----------------------------------------------------------------------------

    @property
    def _device(self) -> str:
        return self._account.base_url.rstrip("/") + self._account.path

    async def _read_services(self) -> dict[str, str]:
        inner = "<d:IncludeCapability>false</d:IncludeCapability>"
        body = f'<d:GetServices xmlns:d="{names.DEVICE}">{inner}</d:GetServices>'
        found = {names.DEVICE: self._device}
        try:
            answer = await self.call(self._device, f"{names.DEVICE}/GetServices", body)
        except DeviceRefusedError:
            return found | await self._read_capabilities()
        for service in children(answer, "Service"):
            address = self.reach(text(service, "XAddr"))
            if address is not None:
                found[text(service, "Namespace")] = address
        return found

    async def _read_capabilities(self) -> dict[str, str]:
        """Ask a device of before GetServices."""
        body = (
            f'<d:GetCapabilities xmlns:d="{names.DEVICE}"><d:Category>All</d:Category>'
            "</d:GetCapabilities>"
        )
        answer = await self.call(self._device, f"{names.DEVICE}/GetCapabilities", body)
        known = {"Events": names.EVENTS, "Media": names.MEDIA, "Analytics": names.ANALYTICS}
        all_of_it = child(answer, "Capabilities")
        found: dict[str, str] = {}
        for part in () if all_of_it is None else all_of_it:
            address = self.reach(text(part, "XAddr"))
            if local(part.tag) in known and address is not None:
                found[known[local(part.tag)]] = address
        return found

    async def _exchange(
        self,
        address: str,
        action: str,
        body: str,
        *,
        signed: bool = True,
        headers: str = "",
        wait_s: float = 0.0,
        again: bool = True,
    ) -> Element:
        account = self._account
        token = ""
        if signed and account.auth != "digest":
            token = Token(account.username, account.password, self.device_now_ms).header()
        kind = f'application/soap+xml; charset=utf-8; action="{action}"'
        auth = self._digest if signed and account.auth != "token" else None
        status, _, content = await self._send(
            "POST", address, envelope(body, (headers, token)), {"Content-Type": kind}, auth,
            account.timeout_s + wait_s, LONGEST_ANSWER, again=again,
        )  # fmt: skip
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SignInError(f"credentials refused ({status})")
        if status == httpx.codes.OK or content.lstrip()[:1] == b"<":
            try:
                return parse(content)
            except LinkError as error:
                if status == httpx.codes.OK or isinstance(error, SignInError):
                    raise
        if status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            raise DeviceRefusedError(f"HTTP status {status}", str(status))
        raise LinkError(f"HTTP status {status}", "protocol")

    async def _send(
        self,
        method: str,
        url: str,
        content: bytes | None,
        headers: Mapping[str, str],
        auth: httpx.Auth | None,
        timeout_s: float,
        longest: int,
        *,
        again: bool = True,
    ) -> tuple[int, str, bytes]:
        """Send one request; return status, challenge and the bounded body."""
        timeout = httpx.Timeout(timeout_s, connect=self._account.timeout_s)
        try:
            # Also an answer that drips in byte by byte has an end.
            async with asyncio.timeout(2 * timeout_s + self._account.timeout_s):
                async with self._http.stream(
                    method, url, content=content, headers=dict(headers), auth=auth, timeout=timeout
                ) as response:
                    read = await _bounded(response, longest)
                    challenge = response.headers.get("www-authenticate", "")
                    return response.status_code, challenge, read
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            # A device may close a connection that rests at any time.
            if again:
                return await self._send(
                    method, url, content, headers, auth, timeout_s, longest, again=False
                )
            raise LinkError(str(error) or type(error).__name__, "network") from error
        except (httpx.TimeoutException, TimeoutError):
            raise LinkError(f"no answer within {timeout_s:g} s", "device") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, ssl.SSLError) as error:
            raise LinkError(str(error) or type(error).__name__, "network") from error

    def _lock_out(self) -> SignInError:
        pause = _PAUSES_S[min(self._refused, len(_PAUSES_S) - 1)]
        self._refused += 1
        self._not_before = time.monotonic() + pause
        return SignInError("credentials refused")


async def _bounded(response: httpx.Response, longest: int) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise LinkError("the answer is compressed, which was not asked for", "protocol")
    read = bytearray()
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) > longest:
            raise LinkError(f"the answer is longer than {longest} bytes", "protocol")
    return bytes(read)


def _device_time(answer: Element) -> int | None:
    """Return the device's UTC time (ms since the epoch), None where it gives none."""
    outer = child(answer, "SystemDateAndTime")
    utc = None if outer is None else child(outer, "UTCDateTime")
    if utc is None:
        return None
    try:
        year, month, day = (int(text(utc, "Date", name)) for name in ("Year", "Month", "Day"))
        hour, minute, second = (
            int(text(utc, "Time", name)) for name in ("Hour", "Minute", "Second")
        )
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    # Clocks that were never set show 1970; nothing here needs dates beyond 2099.
    return round(moment.timestamp() * 1000) if 1970 <= year < 2100 else None
