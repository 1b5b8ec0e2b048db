"""Are the events that a camera is to raise armed, and did they ever come?

``GET /ISAPI/Event/triggers`` lists what a camera does when something happens: an event reaches
the alert stream only when "notify the surveillance centre" is among it. Whether the detection
itself is switched on stands in each detection's own settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge.drivers.isapi_camera.event_types import SWITCHES, canonical
from edge.isapi.client import AnswerError, IsapiClient
from edge.isapi.values import branch, each, find, flag, text, whole

_TRIGGERS = "/ISAPI/Event/triggers"
#: Ways of notifying by which an event gets onto the alert stream.
_NOTIFIES = frozenset({"center", "http"})
_DAY_MS = 86_400_000

Reason = Literal["not_armed", "never_seen"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is missing at one camera; no events: nothing."""

    reason: Reason
    events: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return the data of ``camera.unarmed``."""
        data: dict[str, Any] = {"active": bool(self.events), "reason": self.reason}
        return data | {"events": ", ".join(self.events)[:200]} if self.events else data


class ArmedCheck:
    """Looks at what is armed, and remembers when each expected type was last seen."""

    def __init__(
        self, client: IsapiClient, expect: Iterable[str], within_days: float | None
    ) -> None:
        self._client = client
        self._expect = tuple(dict.fromkeys(canonical(name) for name in expect))
        self._within_ms = None if within_days is None else round(within_days * _DAY_MS)
        self._seen: dict[str, int] = {}

    def saw(self, device: str, name: str, now: int) -> bool:
        """Note that an event of a type came; tell whether that is worth writing down."""
        if name not in self._expect:
            return False
        key = f"{device}/{name}"
        worth = now - self._seen.get(key, 0) > 3_600_000
        self._seen[key] = now
        return worth

    async def look(self, channel: str, device: str, now: int) -> Verdict | None:
        """Return what is missing at one camera, None where nothing is expected.

        Raises :class:`LinkError` when the camera does not answer.
        """
        if not self._expect:
            return None
        for name in self._expect:
            self._seen.setdefault(f"{device}/{name}", now)  # the wait begins with the first look
        disarmed = await self._disarmed(channel)
        if disarmed:
            return Verdict("not_armed", disarmed)
        if self._within_ms is None:
            return Verdict("not_armed")
        since = now - self._within_ms
        unseen = tuple(n for n in self._expect if self._seen[f"{device}/{n}"] < since)
        return Verdict("never_seen", unseen) if unseen else Verdict("not_armed")

    def dump(self) -> dict[str, int]:
        """Return when each type was last seen."""
        return dict(self._seen)

    def restore(self, memory: Any) -> None:
        """Take over what :meth:`dump` returned; nonsense is ignored."""
        for key, at in memory.items() if isinstance(memory, Mapping) else ():
            if isinstance(key, str) and isinstance(at, int):
                self._seen[key] = at

    async def _disarmed(self, channel: str) -> tuple[str, ...]:
        notified = await self._notified(channel)
        return tuple(
            [
                name
                for name in self._expect
                if (notified is not None and name not in notified)
                or not await self._switched_on(name, channel)
            ]
        )

    async def _notified(self, channel: str) -> frozenset[str] | None:
        """Return the types that reach the stream; None where the camera does not say."""
        try:
            content = (await self._client.request("GET", _TRIGGERS)).content()
        except AnswerError as error:
            if error.unsupported:
                return None
            raise
        triggers = find({"all": content}, "EventTrigger")
        found = set()
        for trigger in each(triggers):
            name = text(branch(trigger, "eventType"))
            told = next(
                (number for field in ("dynVideoInputChannelID", "videoInputChannelID")
                 if (number := whole(branch(trigger, field)))), None,
            )  # fmt: skip
            if name is None or (told is not None and str(told) != channel):
                continue
            listed = find(branch(trigger, "EventTriggerNotificationList"),
                          "EventTriggerNotification")  # fmt: skip
            methods = {(text(branch(n, "notificationMethod")) or "").lower() for n in each(listed)}
            if methods & _NOTIFIES:
                found.add(canonical(name))
        return frozenset(found)

    async def _switched_on(self, name: str, channel: str) -> bool:
        """Return False only where the camera itself says that a detection is off."""
        path = SWITCHES.get(name)
        if path is None:
            return True
        try:
            content = (await self._client.request("GET", path.format(channel=channel))).content()
        except AnswerError as error:
            if error.unsupported:
                return True  # the trigger alone decides
            raise
        return flag(branch(content, "enabled")) is not False
