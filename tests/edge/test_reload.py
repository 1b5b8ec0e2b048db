"""Reading the file again while the edge runs: what did not change does not even notice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.contracts.commands import Action, Outcome
from edge.driver import CommandRefusedError
from tests.edge.drivers.support import run
from tests.servers import Server

from .agent import Agent, Caller
from .probe import Probes, install

KEPT = {"driver": "probe", "devices": ["kept"], "period_s": 0.2}


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    return install(monkeypatch)


def probe(*devices: str, **changes: Any) -> dict[str, Any]:
    return {"driver": "probe", "devices": list(devices), "period_s": 0.2, **changes}


def test_an_unchanged_driver_goes_on_without_a_gap(tmp_path: Path, probes: Probes) -> None:
    async def scene() -> None:
        async with Agent(tmp_path, drivers=[KEPT, probe("m1")]) as a:
            await a.until(lambda: len(a.told("meter.reading", "kept")) > 5)
            for round_ in range(5):
                a.write(drivers=[probe("m1", note=str(round_)), KEPT, probe("m2")])
                told = await a.app.reload()
                assert told["kept"] == (1 if round_ == 0 else 2)
                await asyncio.sleep(0.3)
            times = [at for at, device in probes.polls if device == "kept"]
            assert max(b - a for a, b in pairwise(times[2:])) < 0.5
            assert len(probes.of("kept")) == 1
            assert not probes.of("kept")[0].stopped
            assert all(old.stopped for old in probes.of("m1")[:-1])
            assert not probes.of("m1")[-1].stopped
            await a.until(lambda: a.told("meter.reading", "m2"), "the new one reads")
            assert [d.devices[0] for d in a.app.runner.drivers] == ["m1", "kept", "m2"]
            assert a.told("device.health", "m1") == a.told("device.health", "m1")[:1]

    run(scene(), 40)


def test_a_file_that_cannot_be_used_leaves_everything_as_it_was(
    tmp_path: Path, probes: Probes
) -> None:
    async def scene() -> None:
        async with Agent(tmp_path, drivers=[KEPT, probe("m1")]) as a:
            await a.until(lambda: a.told("meter.reading", "m1"))
            before = a.app.runner.drivers
            bad: list[tuple[dict[str, Any], str]] = [
                ({"drivers": [KEPT, probe("m1", perriod=3)]}, "perriod"),
                ({"drivers": [KEPT, probe("kept")]}, "stands twice"),
                ({"drivers": [KEPT], "site": "elsewhere"}, "stays s1"),
                ({"drivers": [KEPT], "edge": "another"}, f"stays {a.edge}"),
                ({"drivers": [KEPT], "commands": {"unlock": ["kept"]}}, "cannot do unlock"),
                ({"drivers": [KEPT], "local_rules": {"files": ["none.yaml"]}}, "none.yaml"),
                ({"drivers": [KEPT, probe("broken"), probe("m9")]}, "broken cannot start"),
            ]
            probes.cannot_start = {"broken"}
            for sections, why in bad:
                a.write(**sections)
                with pytest.raises(CommandRefusedError, match=why):
                    await a.app.reload()
            a.file.write_text("drivers: [", encoding="utf-8")
            with pytest.raises(CommandRefusedError):
                await a.app.reload()
            a.file.unlink()
            with pytest.raises(CommandRefusedError):
                await a.app.reload()
            assert a.app.runner.drivers == before
            assert not any(driver.stopped for driver in before)  # type: ignore[attr-defined]
            assert all(made.stopped for made in probes.of("broken"))
            notes = a.told("edge.configuration")
            assert [note["outcome"] for note in notes] == ["applied"] + ["refused"] * 9
            assert all(note["error"] and note["drivers"] == 2 for note in notes[1:])
            count = len(a.told("meter.reading", "m1"))
            await a.until(lambda: len(a.told("meter.reading", "m1")) > count + 2, "it goes on")

    run(scene(), 40)


def test_a_driver_that_is_taken_out_ends_its_poll_first(tmp_path: Path, probes: Probes) -> None:
    async def scene() -> None:
        async with Agent(tmp_path, drivers=[KEPT, probe("m1")]) as a:
            await a.until(lambda: a.told("meter.reading", "m1"))
            (leaving,) = probes.of("m1")
            began, ended = asyncio.Event(), asyncio.Event()
            plain = leaving.poll  # type: ignore[union-attr]

            async def slow() -> None:
                began.set()
                await asyncio.sleep(0.5)
                await plain()
                ended.set()

            leaving.poll = slow  # type: ignore[method-assign, union-attr]
            await asyncio.wait_for(began.wait(), 5)
            a.write(drivers=[KEPT])
            await a.app.reload()
            assert ended.is_set()
            assert leaving.stopped
            (last,) = a.told("device.health", "m1")[-1:]
            assert last["online"] is False
            assert "configuration" in last["error"]
            assert "m1" not in dict(a.app.runner.snapshot())

    run(scene(), 40)


def test_what_is_written_is_what_is_allowed_from_then_on(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    door = probe("door-1", can=["unlock"])

    async def scene() -> None:
        a = Agent(tmp_path, port=mosquitto.port, drivers=[door])
        async with a, Caller(mosquitto.port, a) as caller:
            reply = await caller.ask(caller.command(Action.UNLOCK, "door-1"))
            assert reply.outcome is Outcome.REFUSED
            a.write(drivers=[door], commands={"unlock": ["door-1"]})
            reply = await caller.ask(caller.command(Action.RELOAD))
            assert reply.data == {"kept": 1, "begun": 0, "ended": 0}
            reply = await caller.ask(caller.command(Action.UNLOCK, "door-1"))
            assert reply.outcome is Outcome.DONE
            a.file.write_text("nonsense: true", encoding="utf-8")
            reply = await caller.ask(caller.command(Action.RELOAD))
            assert reply.outcome is Outcome.REFUSED
            assert reply.reason.startswith("edge.yaml: edge: Field required")

    run(scene(), 40)


def test_a_gateway_that_is_taken_out_is_not_listed_any_more(tmp_path: Path, probes: Probes) -> None:
    bus = probe("m1", "m2", shared="10.0.0.9:8001")

    async def scene() -> None:
        probes.dead = {"m1", "m2"}
        async with Agent(tmp_path, drivers=[KEPT, bus]) as a:
            await a.until(lambda: a.told("edge.gateway"), "the bus is down")
            listed = await a.until(lambda: dict(a.app.runner.snapshot()).get(a.edge))
            assert listed["states"]
            a.write(drivers=[KEPT])
            await a.app.reload()
            assert dict(a.app.runner.snapshot())[a.edge] == {"states": []}
            assert a.told("device.snapshot", a.edge)[-1] == {"states": []}

    run(scene(), 40)


def test_a_signal_makes_a_running_process_read_its_file_again(tmp_path: Path) -> None:
    """The process that ``estate edge FILE`` starts, with a real driver that finds nobody."""

    def meters(*devices: str) -> str:
        listed = [{"device": d, "address": f"{n:012}"} for n, d in enumerate(devices)]
        entry = {"driver": "dlt645", "host": "127.0.0.1", "port": 9, "meters": listed}
        return yaml.safe_dump({"edge": "e-signal", "site": "s1", "drivers": [entry]})

    file = tmp_path / "edge.yaml"
    file.write_text(meters("m1"), encoding="utf-8")
    environment = {
        **os.environ, "ESTATE_DATA": str(tmp_path / "data"), "ESTATE_BROKER__PORT": "9",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip

    async def scene() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "estate", "edge", str(file), env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        lines: list[str] = []

        async def until(text: str) -> None:
            async with asyncio.timeout(20):
                while not any(text in line for line in lines):
                    line = await process.stdout.readline()  # type: ignore[union-attr]
                    assert line, lines
                    lines.append(line.decode())

        try:
            await until("The edge e-signal runs.")
            file.write_text(meters("m1", "m2"), encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            await until("configuration applied")
            file.write_text("edge: [", encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            await until("configuration refused")
            assert process.returncode is None
        finally:
            process.terminate()
            await process.communicate()
        assert process.returncode == 0

    assert threading.current_thread() is threading.main_thread()
    run(scene(), 60)
