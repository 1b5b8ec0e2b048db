"""Commands: what an edge may be asked to do from above, checked, done once, audited, answered.

The order is what makes it safe: a command is noted durably, then judged, then done, then its
audit is journalled as ``edge.command``, then it is answered. Whatever cannot be noted is not
done; whatever was begun before a crash is not done again.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from core.contracts.batch import decode_struct
from core.contracts.codec import encode, whole
from core.contracts.commands import COMMAND, LONGEST_LIFE_S, Action, Command, Outcome, Reply
from core.contracts.errors import (
    ContractError,
    DeviceError,
    EstateError,
    JournalError,
    RetryableError,
)
from core.contracts.events import ID_PATTERN
from core.runtime.clock import Clock
from core.runtime.link import Message
from edge.command_memory import CommandMemory, Noted
from edge.desk import describe
from edge.driver import CommandRefusedError, Params, Sink

log = structlog.get_logger(__name__)

T = TypeVar("T")
#: A command's bytes; more is not read.
MOST_BYTES = 8 * 1024
#: A command may say that it was issued this far (ms) in the edge's future.
SKEW_MS = 60_000
#: Commands that wait to be taken, and that are under way at a time.
_WAITING, _AT_ONCE = 64, 16
#: How long (real seconds) a device may take, and an answer may be tried to be given.
ACT_S, REPLY_S = 20.0, 15.0
_PAUSE_S = 1.0
_REPLY_LIVES_S = 60
_MOST_TEXT = 200
_MOST_DATA = 16
_WITHOUT_DEVICE = frozenset({Action.REPORT, Action.RELOAD})
_BAD = "not a command: "


class _OnlyId(msgspec.Struct):
    id: str


_decode_id = msgspec.json.Decoder(_OnlyId).decode


class Deeds(Protocol):
    """What commands are done with."""

    def permits(self, action: Action, device: str | None) -> str | None:
        """Return why the edge's file does not allow something, None where it does."""
        ...

    def abilities(self, device: str) -> frozenset[Action] | None:
        """Return what can be asked of a device; None where there is no such device here."""
        ...

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Let a device's driver act."""
        ...

    async def report(self, device: str | None) -> Params:
        """Read a device (or all) now and report everything."""
        ...

    async def reload(self) -> Params:
        """Read the edge's file again; raise CommandRefusedError where it cannot be used."""
        ...


class Commands:
    """Takes commands from the network thread and works on them in the loop of :meth:`start`."""

    def __init__(
        self,
        *,
        edge: str,
        clock: Clock,
        memory: CommandMemory,
        deeds: Deeds,
        sink: Sink,
        reply: Callable[[bytes, int], Future[int]],
    ) -> None:
        self._edge = edge
        self._clock = clock
        self._memory = memory
        self._deeds = deeds
        self._sink = sink
        self._reply = reply
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._file = asyncio.Lock()
        self.counts: Counter[str] = Counter()

    async def start(self) -> None:
        """Open the memory and tell what an earlier run could not tell any more."""
        await asyncio.to_thread(self._memory.open)
        self._loop = asyncio.get_running_loop()
        self._spawn(self._catch_up())

    async def stop(self) -> None:
        """Give up what is under way: it is noted, and will be told as interrupted."""
        self._loop = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._file:
            await asyncio.to_thread(self._memory.close)

    # -- from the network thread ----------------------------------------------------------

    def post(self, message: Message) -> None:
        """Take a message of the edge's command topic; may be called from any thread."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: Message) -> None:
        if self._loop is None:
            return
        if message.retained:
            # It would be done again after each reconnect; whoever sent it does not mean now.
            self._refuse_unread("retained_commands", "a command must not be retained")
        elif len(message.payload) > MOST_BYTES:
            self._refuse_unread("oversize_commands", f"longer than {MOST_BYTES} bytes")
        elif len(self._tasks) >= _WAITING:
            self._refuse_unread("commands_in_excess", "too many commands at a time")
        else:
            self._spawn(self._read(message.payload))

    def _refuse_unread(self, name: str, why: str) -> None:
        self.counts[name] += 1
        log.warning("command refused unread", edge=self._edge, why=why)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.counts["commands_crashed"] += 1
            log.error("a command crashed", edge=self._edge, exc_info=error)

    # -- one command ----------------------------------------------------------------------

    async def _read(self, payload: bytes) -> None:
        try:
            command = decode_struct(payload, COMMAND)
        except ContractError as refused:
            self.counts["bad_commands"] += 1
            log.warning("command refused", edge=self._edge, why=str(refused))
            if (known := _id_of(payload)) is not None:
                text = (_BAD + str(refused))[:_MOST_TEXT]
                await self._answer(known, Outcome.REFUSED, text, {})
            return
        async with self._gate:
            await self._once(command)

    async def _once(self, command: Command) -> None:
        if command.id in self._under_way:
            self.counts["commands_repeated"] += 1
            return
        self._under_way.add(command.id)
        try:
            try:
                known = await self._remember(self._memory.begin, command, self._clock.now_ms())
            except EstateError as error:
                self.counts["commands_not_noted"] += 1
                log.warning("command refused: it cannot be noted", edge=self._edge, why=str(error))
                why = "the edge cannot note it now, and does nothing that it could do twice"
                await self._answer(command.id, Outcome.FAILED, why, {})
                return
            if known is not None:
                self.counts["commands_repeated"] += 1
                await self._repeat(known)
                return
            outcome, why, data = await self._do(command)
            await self._conclude(command, outcome, why, data)
        finally:
            self._under_way.discard(command.id)

    async def _repeat(self, known: Noted) -> None:
        """Answer a command that came again as it was answered, without doing it again."""
        if known.outcome is None:
            await self._answer(known.id, Outcome.FAILED, _INTERRUPTED, {})
        else:
            await self._answer(known.id, known.outcome, known.why, known.data, known.at)

    async def _do(self, command: Command) -> tuple[Outcome, str, Params]:
        known = command.device is not None and self._deeds.abilities(command.device) is not None
        turn = (command.device or "") if known else ""
        # A device does one thing at a time.
        async with self._turns.setdefault(turn, asyncio.Lock()):
            verdict = self._judge(command)
            if verdict is not None:
                return *verdict, {}
            try:
                async with asyncio.timeout(ACT_S):
                    return Outcome.DONE, "", await self._act(command)
            except CommandRefusedError as error:
                return Outcome.REFUSED, str(error), {}
            except TimeoutError:
                why = "no answer in time; whether the device did it is not known"
                return Outcome.FAILED, why, {}
            except (DeviceError, OSError, JournalError) as error:
                return Outcome.FAILED, describe(error), {}
            except Exception as error:
                self.counts["commands_crashed"] += 1
                log.exception("a driver crashed at a command", action=command.action)
                return Outcome.FAILED, f"an error of the driver: {error!r}", {}

    def _judge(self, command: Command) -> tuple[Outcome, str] | None:
        """Return why a command is not done, or None where it is."""
        now = self._clock.now_ms()
        life_ms = command.expires_at - command.issued_at
        if life_ms <= 0 or life_ms > LONGEST_LIFE_S * 1000:
            return Outcome.REFUSED, f"a command lives more than nothing and {LONGEST_LIFE_S} s"
        if command.expires_at <= now:
            late_s = (now - command.expires_at) / 1000
            return Outcome.EXPIRED, f"it came {late_s:.1f} s too late by the edge's clock"
        if command.issued_at > now + SKEW_MS:
            return Outcome.REFUSED, "issued in the future, by the edge's clock"
        device, action = command.device, command.action
        if device is None and action not in _WITHOUT_DEVICE:
            return Outcome.REFUSED, f"{action} needs a device"
        if action is Action.RELOAD and device is not None:
            return Outcome.REFUSED, "reload is about the edge and takes no device"
        if device is not None:
            abilities = self._deeds.abilities(device)
            if abilities is None:
                return Outcome.REFUSED, f"there is no device {device} at this edge"
            if action is not Action.REPORT and action not in abilities:
                return Outcome.REFUSED, f"{device} cannot do {action}"
        why = self._deeds.permits(action, device)
        return None if why is None else (Outcome.REFUSED, why)

    async def _act(self, command: Command) -> Params:
        if command.action is Action.RELOAD:
            return await self._deeds.reload()
        if command.action is Action.REPORT:
            return await self._deeds.report(command.device)
        return await self._deeds.act(command.device or "", command.action, command.params)

    # -- afterwards -----------------------------------------------------------------------

    async def _conclude(self, command: Command, outcome: Outcome, why: str, data: Params) -> None:
        self.counts[f"commands_{outcome}"] += 1
        why = why[:_MOST_TEXT]
        told = dict(list(data.items())[:_MOST_DATA])
        now = self._clock.now_ms()
        try:
            await self._remember(self._memory.end, command.id, outcome, why, told, now)
        except EstateError as error:
            log.warning("a command's outcome is not noted", id=command.id, why=str(error))
        await self._audit(
            Noted(
                command.id, command.action.value, command.device, command.by, command.reason,
                outcome, why, told, now,
            )
        )  # fmt: skip
        await self._answer(command.id, outcome, why, told, now)

    async def _audit(self, noted: Noted) -> None:
        """Journal what came of a command; wait while the journal has no room."""
        data: dict[str, Any] = {
            "command": noted.id, "action": noted.action,
            "outcome": (noted.outcome or Outcome.FAILED).value, "by": noted.by,
        }  # fmt: skip
        reason = noted.asked_why
        if noted.why:
            reason = noted.why + (f"; asked for: {reason}" if reason else "")
        data |= {"target": noted.target} if noted.target else {}
        data |= {"reason": reason[:_MOST_TEXT]} if reason else {}
        while True:
            try:
                await self._sink.emit("edge.command", self._edge, data, noted.at)
                break
            except JournalError:
                self.counts["journal_waits"] += 1
                await asyncio.sleep(_PAUSE_S)
        try:
            await self._remember(self._memory.told, noted.id)
        except EstateError as error:
            log.warning("an audit may be told twice", id=noted.id, why=str(error))
        log.info("command", edge=self._edge, id=noted.id, action=noted.action,
                 target=noted.target, outcome=data["outcome"], by=noted.by)  # fmt: skip

    async def _catch_up(self) -> None:
        """Tell of the commands that an earlier run began, or did without telling."""
        for noted in await self._remember(self._memory.untold):
            if noted.id in self._under_way:
                continue
            if noted.outcome is None:
                self.counts["commands_interrupted"] += 1
                now = self._clock.now_ms()
                await self._remember(
                    self._memory.end, noted.id, Outcome.FAILED, _INTERRUPTED, {}, now
                )
                noted = replace(noted, outcome=Outcome.FAILED, why=_INTERRUPTED, at=now)
            await self._audit(noted)

    async def _answer(
        self, id: str, outcome: Outcome, why: str, data: Params, at: int | None = None
    ) -> None:
        now = self._clock.now_ms() if at is None else at
        payload = encode(Reply(id, self._edge, outcome, now, why, dict(data)))
        deadline = time.monotonic() + REPLY_S
        while True:
            try:
                await asyncio.wrap_future(self._reply(payload, _REPLY_LIVES_S))
            except RetryableError as error:
                if time.monotonic() > deadline:
                    self.counts["replies_lost"] += 1
                    log.warning("a reply found no way", id=id, why=str(error))
                    return
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    async def _remember(self, act: Callable[..., T], *values: Any) -> T:
        async with self._file:
            return await asyncio.to_thread(act, *values)


_INTERRUPTED = "the edge was interrupted: whether it was done is not known; it is not done again"


def _id_of(payload: bytes) -> str | None:
    """Return the id of something that is no command, where it has a usable one."""
    try:
        found = _decode_id(payload).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if re.match(whole(ID_PATTERN), found) else None
