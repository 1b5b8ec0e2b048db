"""Reads properties of one BACnet device, by whatever service it offers.

ReadPropertyMultiple first; a device that does not know it, or whose answer would be too long
for it, is asked for each property. A property that it does not have is not asked for again for
some hours.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.drivers.bacnet.link import BacnetLink, NackError, Unread

#: For so long (s, real time) what a device refused is not asked for again.
_FORGET_S = 6 * 3_600
#: Errors by which a device says that it has no such property or object.
_ABSENT = frozenset({"unknown-property", "property-is-not-an-array", "unknown-object"})
_OBJECT = "unknown-object"

T = TypeVar("T")
Wants = Sequence[tuple[str, Sequence[str]]]
Answers = dict[tuple[str, str], Any]


class Reader:
    """Asks one device."""

    def __init__(
        self,
        link: BacnetLink,
        address: str,
        timeout_s: float,
        count: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self.address = address
        self._timeout_s = timeout_s
        self._count = count
        self._monotonic = monotonic
        self._absent: dict[tuple[str, str], float] = {}
        self._one_by_one: dict[str, float] = {}

    def forget(self) -> None:
        """Ask for everything again: the device was away, perhaps it is another now."""
        self._absent.clear()
        self._one_by_one.clear()

    async def read(self, wants: Wants) -> Answers:
        """Return the values by (object, property); what the device lacks is left out.

        An :class:`Unread` stands for what it has and did not give. Raises :class:`LinkError`
        without an answer, and :class:`DeviceRefusedError` for a device that refuses whatever
        is asked.
        """
        asked = [
            (name, [p for p in properties if not self._remembered(self._absent, (name, p))])
            for name, properties in wants
        ]
        asked = [(name, properties) for name, properties in asked if properties]
        if not asked:
            return {}
        found = await self._read(asked)
        for (name, wanted), value in list(found.items()):
            if isinstance(value, Unread) and value.why in _ABSENT:
                self._absent[name, wanted] = self._monotonic() + _FORGET_S
                del found[name, wanted]
        return found

    async def call(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do one request, twice when it is not answered; raise :class:`LinkError`."""
        try:
            return await act()
        except TimeoutError:
            self._count("repeated")
        try:
            return await act()
        except TimeoutError:
            raise LinkError(f"{self.address}: no answer", "device") from None

    def _remembered(self, known: Mapping[Any, float], key: Any) -> bool:
        return known.get(key, 0.0) > self._monotonic()

    async def _read(self, wants: Wants) -> Answers:
        if len(wants) == 1 and self._remembered(self._one_by_one, wants[0][0]):
            return await self._single(*wants[0])
        if any(self._remembered(self._one_by_one, name) for name, _ in wants):
            return await self._apart(wants)
        try:
            found = await self.call(
                lambda: self._link.read_multiple(self.address, wants, self._timeout_s)
            )
        except NackError:
            # The service itself, one object of several, or the length of the answer.
            if len(wants) > 1:
                return await self._apart(wants)
            name, properties = wants[0]
            self._count("asked_one_by_one")
            answers = await self._single(name, properties)
            self._one_by_one[name] = self._monotonic() + _FORGET_S
            return answers
        return self._checked(found, wants)

    async def _apart(self, wants: Wants) -> Answers:
        found: Answers = {}
        for item in wants:
            found.update(await self._read([item]))
        return found

    def _checked(self, found: Answers, wants: Wants) -> Answers:
        """Raise :class:`LinkError` for an answer to another question."""
        asked = {(name, wanted) for name, properties in wants for wanted in properties}
        if missing := asked - found.keys():
            raise LinkError(f"{self.address}: no answer about {min(missing)}", "protocol")
        for extra in found.keys() - asked:
            self._count("unasked")
            del found[extra]
        return found

    async def _single(self, name: str, properties: Sequence[str]) -> Answers:
        found: Answers = {}
        refused: NackError | None = None
        for wanted in properties:
            try:
                found[name, wanted] = await self.call(
                    lambda wanted=wanted: self._link.read(  # type: ignore[misc]
                        self.address, name, wanted, self._timeout_s
                    )
                )
            except NackError as nack:
                code = nack.text.rsplit(":", 1)[-1].strip()
                found[name, wanted] = Unread(code)
                if code == _OBJECT:
                    return {(name, each): Unread(_OBJECT) for each in properties}
                refused = None if code in _ABSENT else refused or nack
        if refused is not None and all(isinstance(v, Unread) for v in found.values()):
            raise DeviceRefusedError(f"{self.address}: {refused.text}", refused.text[:60])
        return found
