"""Relay outputs: switched by command, and timed ones switched off again whatever happens.

A timed output is written down, with the time at which it is due, before it is switched on. It
is switched off when it is due, when the driver stops, or, after a crash, when the edge is there
again; what could not be reached is tried again until it is done. Only a board that times by
itself (``pulse`` in its map) switches off while the edge is dead, so that is used where it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.contracts.errors import DeviceError
from core.runtime.clock import Clock
from core.storage.files import sync_folder, write_whole
from edge.driver import CommandRefusedError, Params
from edge.modbus.fields import OutputSpec
from edge.modbus.gateway import Gateway
from edge.modbus.questions import Write

_log = structlog.get_logger(__name__)

#: Longest timed output: longer ones are lasting ones that somebody switches off.
_LONGEST_S = 3_600.0
_RETRY_S = 2.0
_STOP_S = 1.5
_KNOWN = frozenset({"on", "for_s", "output"})
_PULSES_A_SECOND = 10


@dataclass(frozen=True, slots=True)
class Board:
    """The outputs that commands to one device may switch, by name."""

    device: str
    unit: int
    outputs: Mapping[str, OutputSpec]


@dataclass(frozen=True, slots=True)
class _Order:
    """What one command asks."""

    name: str
    output: OutputSpec
    on: bool
    for_s: float | None


class Outputs:
    """The outputs of one driver's devices."""

    def __init__(
        self, boards: Sequence[Board], gateway: Gateway, timeout_s: float, clock: Clock, file: Path
    ) -> None:
        self._boards = {board.device: board for board in boards}
        self._gateway = gateway
        self._timeout_s = timeout_s
        self._clock = clock
        self._file = file
        self._due: dict[tuple[str, str], int] = {}
        self._timers: dict[tuple[str, str], asyncio.Task[None]] = {}

    @property
    def timed(self) -> int:
        """Return how many outputs are on for a time."""
        return len(self._due)

    def start(self) -> None:
        """Take up what an earlier run left on."""
        for key, due in self._read().items():
            if key[0] in self._boards and key[1] in self._boards[key[0]].outputs:
                self._due[key] = due
                self._arm(key)
            else:
                _log.warning("timed_output_unknown", device=key[0], output=key[1])

    async def stop(self) -> None:
        """Switch every timed output off now; what cannot be reached is due at the next start."""
        for task in self._timers.values():
            task.cancel()
        await asyncio.gather(*self._timers.values(), return_exceptions=True)
        self._timers.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                for key in list(self._due):
                    with contextlib.suppress(DeviceError, OSError):
                        await self._off(key)

    async def switch(self, device: str, params: Params) -> Params:
        """Do one command; return what was done.

        Raises :class:`CommandRefusedError` for bad parameters and :class:`DeviceError` when the
        board does not do it.
        """
        order = self._order(device, params)
        board, key = self._boards[device], (device, order.name)
        if order.for_s is not None and order.output.pulse is not None:
            tenths = max(round(order.for_s * _PULSES_A_SECOND), 1)
            await self._write(board, Write("holding", order.output.pulse, tenths))
            self._forget(key)
        elif order.for_s is not None:
            # Written down first: a crash between the two switches off what was never on. And
            # timed whatever the board answers: it may have switched all the same.
            self._note(key, self._clock.now_ms() + round(order.for_s * 1000))
            try:
                await self._put(board, order)
            finally:
                self._arm(key)
        else:
            await self._put(board, order)
            self._forget(key)
        told: dict[str, str | int | float | bool] = {"output": order.name, "on": order.on}
        return told if order.for_s is None else {**told, "for_s": order.for_s}

    def _order(self, device: str, params: Params) -> _Order:
        board = self._boards.get(device)
        if board is None:
            raise CommandRefusedError(f"{device} has no outputs")
        for name in params:
            if name not in _KNOWN:
                raise CommandRefusedError(f"{name}: unknown; known are {', '.join(sorted(_KNOWN))}")
        on, for_s = params.get("on", True), params.get("for_s")
        if not isinstance(on, bool):
            raise CommandRefusedError("on: true or false")
        if for_s is not None:
            timed = isinstance(for_s, int | float) and not isinstance(for_s, bool)
            if not on or not timed or not 0 < float(for_s) <= _LONGEST_S:
                raise CommandRefusedError(
                    f"for_s: seconds up to {_LONGEST_S:.0f}, and only for switching on"
                )
        name = str(params.get("output", next(iter(board.outputs))))
        if name not in board.outputs:
            known = ", ".join(board.outputs)
            raise CommandRefusedError(f"output {name}: {device} has {known}")
        return _Order(name, board.outputs[name], on, None if for_s is None else float(for_s))

    async def _put(self, board: Board, order: _Order) -> None:
        value = order.output.value_on if order.on else order.output.value_off
        await self._write(board, Write(order.output.table, order.output.address, value))

    async def _write(self, board: Board, question: Write) -> None:
        written, _ = await self._gateway.ask(board.unit, question, self._timeout_s, urgent=True)
        if written and written[0] != question.value:
            raise DeviceError(f"{board.device}: {question} was answered with {written[0]}")

    def _arm(self, key: tuple[str, str]) -> None:
        old = self._timers.pop(key, None)
        if old is not None:
            old.cancel()
        self._timers[key] = asyncio.create_task(self._expire(key), name=f"output {key}")

    async def _expire(self, key: tuple[str, str]) -> None:
        left_ms = self._due[key] - self._clock.now_ms()
        await self._clock.sleep(max(left_ms / 1000, 0))
        told = False
        while key in self._due:
            try:
                await self._off(key)
            except (DeviceError, OSError) as error:
                if not told:
                    _log.error("output_still_on", device=key[0], output=key[1], error=str(error))
                told = True
                await asyncio.sleep(_RETRY_S)
        self._timers.pop(key, None)

    async def _off(self, key: tuple[str, str]) -> None:
        board = self._boards[key[0]]
        output = board.outputs[key[1]]
        await self._write(board, Write(output.table, output.address, output.value_off))
        self._due.pop(key, None)
        self._save()

    def _forget(self, key: tuple[str, str]) -> None:
        if key in self._due:
            del self._due[key]
            self._save()
        task = self._timers.pop(key, None)
        if task is not None:
            task.cancel()

    def _note(self, key: tuple[str, str], due: int) -> None:
        task = self._timers.pop(key, None)
        if task is not None:
            task.cancel()
        self._due[key] = due
        self._save()

    def _save(self) -> None:
        if not self._due:
            self._file.unlink(missing_ok=True)
            return
        rows = [[device, name, due] for (device, name), due in sorted(self._due.items())]
        write_whole(self._file, json.dumps(rows).encode())
        sync_folder(self._file.parent)

    def _read(self) -> dict[tuple[str, str], int]:
        if not self._file.exists():
            return {}
        try:
            rows = json.loads(self._file.read_text(encoding="utf-8"))
            return {(str(device), str(name)): int(due) for device, name, due in rows}
        except (OSError, ValueError, TypeError) as error:
            _log.error("timed_outputs_lost", file=str(self._file), error=str(error))
            return {}
