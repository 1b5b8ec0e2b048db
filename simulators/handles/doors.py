"""What a scenario can do to doors: of ISAPI and ONVIF controllers, and of OSDP readers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.arguments import (
    Arguments,
    CrowdArguments,
    DenyArguments,
    DriftArguments,
    GrantArguments,
    LoseArguments,
    RebootArguments,
    RepeatArguments,
    ReportArguments,
    ShareArguments,
)
from simulators.devices.door import DoorPeer
from simulators.devices.isapi import Code
from simulators.devices.onvif import OnvifDoors
from simulators.devices.osdp_reader import OsdpReader
from simulators.devices.wiegand import w26
from simulators.handles.base import Handle, Line
from simulators.osdp_cards import Cards
from simulators.seeds import stream

#: So long (s) somebody takes from the reader to the handle, and through the door.
_TO_THE_HANDLE_S, _THROUGH_S = 1.0, 3.0
#: Somebody who was refused tries again after so long (s).
_AGAIN_S = 2.0


class DoorHandle(Handle, ABC):
    """What all doors have: people who come, one after the other or in a crowd."""

    async def grant_access(self, given: GrantArguments) -> None:
        """Let people come, each with a credential of their own."""
        for index in range(given.people):
            if index:
                await self.clock.sleep(given.apart)
            self._grant(index)

    async def crowd(self, given: CrowdArguments) -> None:
        """Let many people come at random moments within a time."""
        random = stream(given.people, self.device, "crowd", self.now_ms())
        began = self.now_ms()
        moments = sorted(random.uniform(0, given.within) for _ in range(given.people))
        for index, moment in enumerate(moments):
            await self.clock.sleep(max(began + moment * 1000 - self.now_ms(), 0) / 1000)
            self._grant(index)

    @abstractmethod
    def _grant(self, index: int) -> None:
        """Let the person of this number through."""


class IsapiDoorHandle(DoorHandle):
    """One door of an ISAPI controller."""

    def __init__(self, device: str, clock: Clock, peer: DoorPeer, number: int) -> None:
        super().__init__(device, clock, peer.listener)
        self.peer = peer
        self.controller = peer.controller
        self.number = number

        self._usual = self.controller.doors[number].arrivals

    def state(self) -> dict[str, Any]:
        """Return whether the door stands open."""
        return {"open": self.controller.doors[self.number].open}

    async def fewer_people(self, given: ShareArguments) -> None:
        """Let so many people come, as a share of the usual, once the next one has come."""
        self.controller.doors[self.number].arrivals = self._usual.scaled(given.share)

    async def usual_people(self, _: Arguments) -> None:
        """Let as many come as ever."""
        self.controller.doors[self.number].arrivals = self._usual

    async def force_door(self, _: Arguments) -> None:
        """Break the door open."""
        await self.controller.force(self.number)

    async def hold_door(self, _: Arguments) -> None:
        """Let somebody in and keep the door open."""
        await self.controller.hold(self.number)

    async def close_door(self, _: Arguments) -> None:
        """Close it."""
        await self.controller.close(self.number)

    async def deny_access(self, given: DenyArguments) -> None:
        """Refuse somebody, several times in a row."""
        await self.controller.deny(self.number, Code[given.reason.upper()], times=given.times)

    def _grant(self, index: int) -> None:
        self.controller.admit(self.number, index)

    def admit(self, index: int) -> None:
        """Let one person in."""
        self._grant(index)

    async def report_door(self, given: ReportArguments) -> None:
        """Report an event as it is."""
        if given.event == "remote_open":
            self.controller.remote_open(self.number)
            return
        names = {"tailgate": Code.TRAILING}
        code = names.get(given.event) or Code[given.event.upper()]
        await self.controller.report(self.number, code)

    async def tamper_device(self, _: Arguments) -> None:
        """Open the controller's case."""
        await self.controller.report(self.number, Code.CONTROLLER_TAMPER)

    async def end_tamper(self, _: Arguments) -> None:
        """Shut it again."""
        await self.controller.report(self.number, Code.CONTROLLER_CLOSED)

    async def fail_supply(self, _: Arguments) -> None:
        """Take the mains away: the controller runs on its battery."""
        await self.controller.report(self.number, Code.MAINS_OFF)

    async def restore_supply(self, _: Arguments) -> None:
        """Give it back."""
        await self.controller.report(self.number, Code.MAINS_ON)

    async def lose_serials(self, given: LoseArguments) -> None:
        """Let events go unheard: kept in the controller's memory, or lost with their numbers."""
        if given.kept:
            self.controller.unheard += given.count
        else:
            self.controller.skip_serials(given.count)

    async def repeat_serials(self, given: RepeatArguments) -> None:
        """Send each event several times."""
        self.peer.repeats = given.times

    async def tell_once(self, _: Arguments) -> None:
        """Send each event once."""
        self.peer.repeats = 1

    async def reset_serials(self, _: Arguments) -> None:
        """Begin to count anew with an empty memory, as after a factory reset."""
        self.controller.reset_serials()

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the controller's clock be wrong."""
        self.controller.drift_s = given.seconds

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.controller.drift_s = 0.0

    async def reboot(self, given: RebootArguments) -> None:
        """Restart the controller."""
        await self.peer.reboot(given.away)


class OnvifDoorHandle(DoorHandle):
    """One door of an ONVIF controller."""

    _REASONS: ClassVar[dict[str, str]] = {
        "no_right": "Unauthorized", "wrong_period": "NotPermittedAtThisTime",
        "expired": "CredentialExpired", "face_failed": "InvalidPIN",
    }  # fmt: skip

    def __init__(self, device: str, clock: Clock, peer: OnvifDoors, door: str) -> None:
        super().__init__(device, clock, peer.listener)
        self.peer = peer
        self.door = door
        self._point = f"AP-{door}"
        self._held: asyncio.Task[None] | None = None

    def state(self) -> dict[str, Any]:
        """Return whether the door stands open, and whether it was released from afar."""
        states = self.peer.doors[self.door].states
        return {
            "open": states["DoorPhysicalState"] == "Open",
            "unlocked": self.peer.unlocked.count(self.door),
        }

    async def force_door(self, _: Arguments) -> None:
        """Break the door open."""
        self.peer.force(self.door)

    async def hold_door(self, _: Arguments) -> None:
        """Let somebody in and keep the door open; after half a minute the controller complains."""
        self.peer.grant(self._point, "card-1", "holder-1")
        self.peer.open(self.door)
        self._held = asyncio.ensure_future(self._complain())

    async def _complain(self) -> None:
        await self.clock.sleep(30)
        self.peer.hold(self.door)

    async def close_door(self, _: Arguments) -> None:
        """Close it."""
        if self._held is not None:
            self._held.cancel()
            self._held = None
        self.peer.close(self.door)

    async def deny_access(self, given: DenyArguments) -> None:
        """Refuse somebody, several times in a row."""
        for turn in range(given.times):
            if turn:
                await self.clock.sleep(_AGAIN_S)
            if given.reason == "invalid":
                self.peer.deny_unknown(self._point, "A1B2C3D4")
            else:
                self.peer.deny(self._point, "card-7", self._REASONS[given.reason], "holder-7")

    def _grant(self, index: int) -> None:
        self.peer.grant(self._point, f"card-{index % 60}", f"holder-{index % 60}")

    async def pass_by(self) -> None:
        """Let somebody walk through."""
        self._grant(self.now_ms() // 1000)
        await self.clock.sleep(_TO_THE_HANDLE_S)
        if self.peer.doors[self.door].states["DoorPhysicalState"] == "Open":
            return
        self.peer.open(self.door)
        await self.clock.sleep(_THROUGH_S)
        if self.peer.doors[self.door].states["DoorAlarm"] == "Normal" and self._held is None:
            self.peer.close(self.door)

    async def report_door(self, given: ReportArguments) -> None:
        """Report what an ONVIF controller can: duress, and the exit button."""
        if given.event == "duress":
            self.peer.duress(self._point)
        elif given.event == "exit_button":
            self.peer.grant(self._point)
        else:
            raise ContractError(f"{self.device} cannot report {given.event}", field="event")

    async def tamper_device(self, _: Arguments) -> None:
        """Tamper with the door's contacts."""
        self.peer.set_state(self.door, "DoorTamper", "TamperDetected")

    async def end_tamper(self, _: Arguments) -> None:
        """End it."""
        self.peer.set_state(self.door, "DoorTamper", "NotInTamper")

    async def fail_door(self, _: Arguments) -> None:
        """Let the controller report a fault of the door."""
        self.peer.set_state(self.door, "DoorFault", "FaultDetected")

    async def mend_door(self, _: Arguments) -> None:
        """End it."""
        self.peer.set_state(self.door, "DoorFault", "NotInFault")

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the controller's clock be wrong."""
        self.peer.faults.clock_offset_ms = round(given.seconds * 1000)

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.peer.faults.clock_offset_ms = 0

    async def reboot(self, given: RebootArguments) -> None:
        """Restart the controller: subscriptions are forgotten."""
        await self.peer.listener.suspend()
        await asyncio.sleep(given.away)
        await self.peer.reboot()
        await self.peer.listener.start()


class OsdpDoorHandle(DoorHandle):
    """A door whose readers hang on the edge's own bus; its edge decides."""

    #: Inputs of the reader.
    CONTACT, EXIT_BUTTON, FIRE_RELEASE = 0, 1, 2

    def __init__(
        self, device: str, clock: Clock, line: Line, reader: OsdpReader, cards: Cards
    ) -> None:
        super().__init__(device, clock, line)
        self.reader = reader
        self.cards = cards
        self._disturbed = False

    def state(self) -> dict[str, Any]:
        """Return whether the lock is released."""
        return {"released": self.reader.output(0)}

    def _present(self, number: int) -> None:
        self.reader.present(*w26(self.cards.facility, number))

    async def force_door(self, _: Arguments) -> None:
        """Break the door open."""
        self._take()
        self.reader.set_input(self.CONTACT, active=True)

    async def hold_door(self, _: Arguments) -> None:
        """Let somebody in and keep the door open."""
        self._take()
        self._grant(0)
        await self.clock.sleep(_TO_THE_HANDLE_S)
        self.reader.set_input(self.CONTACT, active=True)

    async def close_door(self, _: Arguments) -> None:
        """Close it."""
        self.reader.set_input(self.CONTACT, active=False)
        self._disturbed = False

    async def deny_access(self, given: DenyArguments) -> None:
        """Present a card that is refused, several times in a row."""
        card = self.cards.expired if given.reason == "expired" else self.cards.unknown
        for turn in range(given.times):
            if turn:
                await self.clock.sleep(_AGAIN_S)
            self._present(card)

    def _grant(self, index: int) -> None:
        self._present(self.cards.allowed[index % len(self.cards.allowed)])

    async def pass_by(self) -> None:
        """Let somebody walk through."""
        if self._disturbed:
            return
        self._grant(self.now_ms() // 1000)
        await self.clock.sleep(_TO_THE_HANDLE_S)
        if self._disturbed:
            return
        self.reader.set_input(self.CONTACT, active=True)
        await self.clock.sleep(_THROUGH_S)
        if not self._disturbed:
            self.reader.set_input(self.CONTACT, active=False)

    async def report_door(self, given: ReportArguments) -> None:
        """Press the button, release by fire, present the black card, enter a code for duress."""
        if given.event == "exit_button":
            self.reader.set_input(self.EXIT_BUTTON, active=True)
            await self.clock.sleep(1)
            self.reader.set_input(self.EXIT_BUTTON, active=False)
        elif given.event in ("fire_release_on", "fire_release_off"):
            active = given.event == "fire_release_on"
            self.reader.set_input(self.FIRE_RELEASE, active=active)
        elif given.event == "blacklisted":
            self._present(self.cards.blacklisted)
        elif given.event == "duress":
            self._present(self.cards.with_code)
            self.reader.press(f"{self.cards.duress_code}#")
        elif given.event == "controller_tamper":
            self.reader.set_tamper(active=True)
        else:
            raise ContractError(f"{self.device} cannot report {given.event}", field="event")

    async def tamper_device(self, _: Arguments) -> None:
        """Take the reader off the wall."""
        self.reader.set_tamper(active=True)

    async def end_tamper(self, _: Arguments) -> None:
        """Put it back."""
        self.reader.set_tamper(active=False)

    async def fail_supply(self, _: Arguments) -> None:
        """Take the reader's supply away: it runs on its battery."""
        self.reader.set_mains_off(active=True)

    async def restore_supply(self, _: Arguments) -> None:
        """Give it back."""
        self.reader.set_mains_off(active=False)

    async def silence(self, _: Arguments) -> None:
        """Take the power of this reader; the others on its bus go on."""
        self.reader.powered = False

    async def resume(self, _: Arguments) -> None:
        """Give it back."""
        self.reader.powered = True
        self.reader.reboot()

    async def reboot(self, given: RebootArguments) -> None:
        """Switch the reader off and on."""
        self.reader.powered = False
        await asyncio.sleep(given.away)
        self.reader.powered = True
        self.reader.reboot()

    def _take(self) -> None:
        if self._disturbed:
            raise ContractError(f"{self.device} is forced or held already")
        self._disturbed = True
