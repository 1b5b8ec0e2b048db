"""Relays: what a command switches, and that what is timed goes off whatever happens."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from core.contracts.commands import Action
from core.contracts.errors import DeviceError
from core.runtime.clock import ScaledClock
from edge.driver import CommandRefusedError
from edge.drivers.modbus.driver import ModbusDriver, create
from edge.drivers.modbus.settings import ModbusSettings
from simulators.devices.io_module import PULSE_BASE, IoModule
from simulators.devices.modbus import ModbusPeer

from .support import Recorder, context, run

SWITCH = Action.RELAY_OUTPUT
OWN = f"""
name: own
outputs:
  door: {{address: 0, value_on: 0, value_off: 1}}
  siren: {{address: 1, pulse: {PULSE_BASE + 1}}}
"""


class Board:
    """A board with relays, and the driver that switches them."""

    def __init__(self, folder: Path, **device: Any) -> None:
        self.folder = folder
        self.clock = ScaledClock()
        self.module = IoModule(self.clock)
        self.peer = ModbusPeer({1: self.module})
        self.device = {"device": "board", "unit": 1, "map": "relay_8", **device}
        self.sink = Recorder()

    async def driver(self) -> ModbusDriver:
        raw = {"driver": "modbus", "host": "127.0.0.1", "port": self.peer.port, "timeout_s": 0.4,
               "devices": [self.device]}  # fmt: skip
        driver = create(ModbusSettings.model_validate(raw), context(self.folder, self.clock))
        await driver.start(self.sink)
        return driver

    @property
    def files(self) -> list[Path]:
        return list(self.folder.glob("outputs-*.json"))

    def on(self, number: int = 0) -> bool:
        return self.module.relay(number)


def test_commands_switch_outputs(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = Board(tmp_path)
        await board.peer.start()
        driver = await board.driver()
        assert driver.actions == {"board": frozenset({SWITCH})}
        assert await driver.act("board", SWITCH, {"on": True}) == {"output": "1", "on": True}
        assert await driver.act("board", SWITCH, {"on": True, "output": 8}) == {
            "output": "8",
            "on": True,
        }
        assert board.on(0)
        assert board.on(7)
        await driver.act("board", SWITCH, {"on": False})
        assert not board.on(0)
        told = await driver.act("board", SWITCH, {"on": True, "for_s": 0.3})
        assert told == {"output": "1", "on": True, "for_s": 0.3}
        assert board.on(0)
        assert driver.health()["timed_outputs"] == 1
        await board.sink.until(lambda: not board.on(0), 5)
        assert board.on(7), "a lasting one stays"
        await driver.poll()
        assert board.sink.reached_devices == ["board"]
        await driver.stop()
        assert board.on(7)
        assert board.files == []
        await board.peer.stop()

    run(scenario())


@pytest.mark.parametrize(
    "params",
    [{"on": 1}, {"on": True, "for_s": 0}, {"on": True, "for_s": -1}, {"on": True, "for_s": 1e9},
     {"on": True, "for_s": True}, {"on": False, "for_s": 5}, {"on": True, "for_s": float("nan")},
     {"on": True, "output": "9"}, {"on": True, "output": 2}, {"open": True}],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(params: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        board = Board(tmp_path, outputs=[1, "3"])
        await board.peer.start()
        driver = await board.driver()
        with pytest.raises(CommandRefusedError):
            await driver.act("board", SWITCH, params)
        with pytest.raises(CommandRefusedError):
            await driver.act("other", SWITCH, {"on": True})
        with pytest.raises(CommandRefusedError):
            await driver.act("board", Action.UNLOCK, {})
        assert board.module.switched == []
        await driver.stop()
        await board.peer.stop()

    run(scenario())


def test_a_stopping_edge_switches_timed_outputs_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = Board(tmp_path)
        await board.peer.start()
        driver = await board.driver()
        await driver.act("board", SWITCH, {"on": True, "for_s": 600})
        assert len(board.files) == 1
        await driver.stop()
        assert not board.on()
        assert board.files == []
        await board.peer.stop()

    run(scenario())


def test_after_a_crash_the_next_start_switches_off_what_is_due(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = Board(tmp_path)
        await board.peer.start()
        driver = await board.driver()
        await driver.act("board", SWITCH, {"on": True, "for_s": 600, "output": 2})
        await driver.act("board", SWITCH, {"on": True, "for_s": 0.5, "output": 3})
        (file,) = board.files
        kept = file.read_text(encoding="utf-8")
        assert {name for _, name, _ in json.loads(kept)} == {"2", "3"}
        await driver.stop()
        # As a killed process leaves it: the file is there, and the relays are on.
        file.write_text(kept, encoding="utf-8")
        board.module.write("coil", 1, [1, 1])
        await asyncio.sleep(0.5)
        again = await board.driver()
        await board.sink.until(lambda: not board.on(2), 5)
        assert board.on(1), "not due yet"
        await again.stop()
        assert not board.on(1)
        file.write_text("nonsense", encoding="utf-8")
        await (await board.driver()).stop()
        await board.peer.stop()

    run(scenario())


def test_an_output_that_cannot_be_reached_is_switched_off_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = Board(tmp_path)
        await board.peer.start()
        driver = await board.driver()
        await driver.act("board", SWITCH, {"on": True, "for_s": 0.3})
        board.peer.units[1].faults.silent = True
        await asyncio.sleep(0.9)
        assert board.on()
        board.peer.units[1].faults.silent = False
        await board.sink.until(lambda: not board.on(), 8)
        # Whether a command that was not answered switched something is not known: it is
        # switched off in any case.
        board.peer.listener.faults.mute = True
        with pytest.raises(DeviceError):
            await driver.act("board", SWITCH, {"on": True, "for_s": 0.5})
        assert board.on()
        board.peer.listener.faults.clear()
        await board.sink.until(lambda: not board.on(), 8)
        await driver.stop()
        await board.peer.stop()

    run(scenario(), 30)


def test_outputs_of_a_map_of_ones_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
        board = Board(tmp_path, map="own.yaml")
        await board.peer.start()
        board.module.write("coil", 0, [1])
        driver = await board.driver()
        await driver.act("board", SWITCH, {"on": True})
        assert not board.on(0), "normally closed: on is 0"
        await driver.act("board", SWITCH, {"on": True, "for_s": 0.4, "output": "siren"})
        assert board.on(1)
        assert board.files == [], "the board times by itself"
        await driver.stop()
        await board.sink.until(lambda: not board.on(1), 5)
        await board.peer.stop()

    run(scenario())
