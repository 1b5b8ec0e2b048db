"""A pull-point subscription: created, pulled, renewed in time, synchronised, given back."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING

from core.contracts.errors import DeviceRefusedError
from edge.onvif import names
from edge.onvif.client import OnvifClient
from edge.onvif.notification import Notification, notifications
from edge.onvif.soap import addressing, child, local, text, utc_ms, utc_text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MESSAGE_LIMIT = 64
_MOST_REFERENCES = 8
#: A subscription that ends sooner than this share of what was asked is renewed by an absolute
#: time: the device misreads durations.
_MISREAD_SHARE = 0.05
_RENEW_AT = 0.6
_LEAST_RENEWAL_S = 0.5


class PullPoint:
    """One subscription on one device."""

    def __init__(self, client: OnvifClient, lifetime_s: float) -> None:
        self._client = client
        self._asked_s = lifetime_s
        self._address = ""
        self._to = ""
        self._references = ""
        self._granted_s = lifetime_s
        self._expires = time.monotonic() + lifetime_s
        self.renews = True
        """False: the device refused to renew; it lives for as long as it lives."""
        self.synchronises = True
        """False: the device has no synchronisation point."""
        self.unread = 0
        """Notifications that could not be read, so far."""

    async def create(self) -> None:
        """Subscribe to everything; raise :class:`LinkError` or :class:`DeviceRefusedError`."""
        client = self._client
        service = client.address(names.EVENTS)
        answer = await client.call(
            service,
            names.CREATE_PULL_POINT,
            f'<e:CreatePullPointSubscription xmlns:e="{names.EVENTS}">'
            f"<e:InitialTerminationTime>{duration(self._asked_s)}</e:InitialTerminationTime>"
            "</e:CreatePullPointSubscription>",
            headers=addressing(service, names.CREATE_PULL_POINT),
        )
        reference = child(answer, "SubscriptionReference")
        given = "" if reference is None else text(reference, "Address")
        # Without a usable address (``urn:uuid:…``, nothing) the event service itself is asked.
        self._address = client.reach(given) or service
        # The header names the address as the device gave it: that is how it knows its own.
        self._to = given or service
        self._references = "" if reference is None else _references(reference)
        if not self._note_end(answer):
            await self._renew_until()

    async def pull(self, wait_s: float) -> list[Notification]:
        """Wait for notifications; an empty list when the time is over without any."""
        answer = await self._call(
            names.PULL_MESSAGES,
            f'<e:PullMessages xmlns:e="{names.EVENTS}"><e:Timeout>{duration(wait_s)}</e:Timeout>'
            f"<e:MessageLimit>{_MESSAGE_LIMIT}</e:MessageLimit></e:PullMessages>",
            wait_s=wait_s,
        )
        self._note_end(answer)
        found, unread = notifications(answer)
        self.unread += unread
        return found

    async def renew(self) -> None:
        """Prolong the subscription; a device that cannot is not asked again."""
        body = (
            f'<n:Renew xmlns:n="{names.NOTIFICATION}"><n:TerminationTime>'
            f"{duration(self._asked_s)}</n:TerminationTime></n:Renew>"
        )
        try:
            answer = await self._call(names.RENEW, body)
        except DeviceRefusedError:
            self.renews = False
            return
        if not self._note_end(answer):
            await self._renew_until()

    async def synchronise(self) -> bool:
        """Ask for every property's present state; tell whether the device does that."""
        if self.synchronises:
            body = f'<e:SetSynchronizationPoint xmlns:e="{names.EVENTS}"/>'
            try:
                await self._call(names.SYNCHRONISE, body)
            except DeviceRefusedError:
                self.synchronises = False
        return self.synchronises

    async def unsubscribe(self) -> None:
        """Give the subscription back: devices have few."""
        await self._call(names.UNSUBSCRIBE, f'<n:Unsubscribe xmlns:n="{names.NOTIFICATION}"/>')

    @property
    def renewal_in_s(self) -> float:
        """Return after how many seconds of real time it should be renewed."""
        left_s = self._expires - time.monotonic()
        return max(left_s - self._granted_s * (1 - _RENEW_AT), _LEAST_RENEWAL_S)

    async def _renew_until(self) -> None:
        """Renew by an absolute time of the device's clock."""
        until = self._client.device_now_ms + round(self._asked_s * 1000)
        body = (
            f'<n:Renew xmlns:n="{names.NOTIFICATION}"><n:TerminationTime>'
            f"{utc_text(until)}</n:TerminationTime></n:Renew>"
        )
        try:
            self._note_end(await self._call(names.RENEW, body))
        except DeviceRefusedError:
            self.renews = False

    async def _call(self, action: str, body: str, wait_s: float = 0.0) -> Element:
        headers = addressing(self._to, action, self._references)
        # A pull whose answer was lost has taken its messages along: it is not repeated blindly.
        return await self._client.call(
            self._address, action, body, headers=headers, wait_s=wait_s,
            again=action != names.PULL_MESSAGES,
        )  # fmt: skip

    def _note_end(self, answer: Element) -> bool:
        """Take over when the subscription ends; False for an end that cannot be meant."""
        ends, now = utc_ms(text(answer, "TerminationTime")), utc_ms(text(answer, "CurrentTime"))
        left_s = self._asked_s  # a device that does not say does as it was asked
        if ends is not None:
            left_s = (ends - (self._client.device_now_ms if now is None else now)) / 1000
        if left_s <= self._asked_s * _MISREAD_SHARE:
            return False
        self._granted_s = min(left_s, self._asked_s)
        self._expires = time.monotonic() + self._granted_s
        return True


def duration(seconds: float) -> str:
    """Return seconds as xs:duration (whole seconds where possible: some read nothing else)."""
    return f"PT{seconds:.0f}S" if seconds == int(seconds) else f"PT{seconds:.3f}S"


def _references(reference: Element) -> str:
    """Return the reference parameters as headers, as WS-Addressing wants them back."""
    holder = child(reference, "ReferenceParameters")
    found: list[str] = []
    for item in [] if holder is None else list(holder)[:_MOST_REFERENCES]:
        space, _, name = item.tag.removeprefix("{").rpartition("}")
        if not space or len(item) or not name.replace("-", "").replace("_", "").isalnum():
            continue
        kept = "".join(
            f' {local(key)}="{escape(value)}"'
            for key, value in item.attrib.items()
            if key.isidentifier()
        )
        found.append(
            f'<r:{name} xmlns:r="{escape(space)}" xmlns:wsa="{names.ADDRESSING}"'
            f' wsa:IsReferenceParameter="true"{kept}>{escape((item.text or "").strip())}</r:{name}>'
        )
    return "".join(found)
