"""Commands over a real broker: who may what, until when, once, audited and answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.contracts import topics
from core.contracts.codec import encode
from core.contracts.commands import Action, Outcome
from edge.command_memory import CommandMemory
from edge.driver import LinkError
from tests.edge.drivers.support import run
from tests.servers import Server

from .agent import SITE, Agent, Caller
from .probe import Probes, install

pytestmark = pytest.mark.mosquitto

DOOR = {"driver": "probe", "devices": ["door-1"], "can": ["unlock", "relay_output", "snapshot"]}
DRIVERS = [DOOR, {"driver": "probe", "devices": ["m1", "m2"], "period_s": 3600}]
ALLOWED = {"unlock": ["door-1"], "relay_output": ["door-1"]}


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    return install(monkeypatch)


def agent(folder: Path, server: Server, **sections: Any) -> Agent:
    return Agent(folder, port=server.port, **{"drivers": DRIVERS, "commands": ALLOWED, **sections})


def test_a_door_is_unlocked_once_audited_and_answered(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    async def scene() -> None:
        async with agent(tmp_path, mosquitto) as a, Caller(mosquitto.port, a) as caller:
            command = caller.command(Action.UNLOCK, "door-1", reason="a resident has no card")
            reply = await caller.ask(command)
            assert (reply.outcome, reply.edge, reply.data) == (
                Outcome.DONE, a.edge, {"switched": True},
            )  # fmt: skip
            assert a.told("edge.command", a.edge) == [
                {
                    "command": command.id, "action": "unlock", "target": "door-1",
                    "outcome": "done", "by": "tester", "reason": "a resident has no card",
                }
            ], "the audit is journalled before the reply"  # fmt: skip
            await caller.send(encode(command))
            again = await caller.reply(command.id, count=2)
            assert (again.outcome, again.at) == (Outcome.DONE, reply.at)
            assert probes.acts == [("door-1", Action.UNLOCK, {})]
            assert len(a.told("edge.command")) == 1
            assert caller.retained == []

    run(scene(), 40)


def test_a_command_is_not_done_again_after_a_restart(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    async def scene() -> None:
        a = agent(tmp_path, mosquitto)
        async with a, Caller(mosquitto.port, a) as caller:
            command = caller.command(Action.UNLOCK, "door-1")
            await caller.ask(command)
        async with a, Caller(mosquitto.port, a) as caller:
            assert (await caller.ask(command)).outcome is Outcome.DONE
        assert len(probes.acts) == 1

    run(scene(), 40)


def test_what_a_crash_interrupted_is_told_and_not_done_again(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    async def scene() -> None:
        a = agent(tmp_path, mosquitto)
        async with a, Caller(mosquitto.port, a) as caller:
            command = caller.command(Action.UNLOCK, "door-1")
        # As a crash leaves it: noted, and nothing after that.
        memory = CommandMemory(tmp_path / "data" / "edges" / a.edge / "commands.sqlite")
        memory.open()
        assert memory.begin(command, command.issued_at) is None
        memory.close()
        async with a, Caller(mosquitto.port, a) as caller:
            (told,) = await a.until(lambda: a.told("edge.command"), "the audit")
            assert (told["command"], told["outcome"]) == (command.id, "failed")
            assert "interrupted" in told["reason"]
            reply = await caller.ask(command)
            assert reply.outcome is Outcome.FAILED
            assert "not done again" in reply.reason
        assert probes.acts == []

    run(scene(), 40)


@pytest.mark.parametrize(
    ("changes", "outcome", "why"),
    [
        ({"age": 30_000, "life": 20_000}, Outcome.EXPIRED, "too late"),
        ({"life": 301_000}, Outcome.REFUSED, "300 s"),
        ({"life": 0}, Outcome.REFUSED, "300 s"),
        ({"age": -120_000}, Outcome.REFUSED, "future"),
        ({"device": "door-2"}, Outcome.REFUSED, "no device door-2"),
        ({"device": None}, Outcome.REFUSED, "needs a device"),
        ({"device": "m1"}, Outcome.REFUSED, "m1 cannot do unlock"),
        ({"action": Action.RELOAD}, Outcome.REFUSED, "takes no device"),
        ({"params": {"for_s": -1}}, Outcome.REFUSED, "above 0"),
    ],
)
def test_what_may_not_be_done_is_refused_with_the_reason(
    changes: dict[str, Any], outcome: Outcome, why: str,
    tmp_path: Path, mosquitto: Server, probes: Probes,
) -> None:  # fmt: skip
    async def scene() -> None:
        async with agent(tmp_path, mosquitto) as a, Caller(mosquitto.port, a) as caller:
            issued = a.clock.now_ms() - changes.pop("age", 0)
            times = {"issued_at": issued, "expires_at": issued + changes.pop("life", 20_000)}
            action, device = changes.pop("action", Action.UNLOCK), changes.pop("device", "door-1")
            reply = await caller.ask(caller.command(action, device, **times, **changes))
            assert reply.outcome is outcome
            assert why in reply.reason
            assert probes.acts == []
            (told,) = a.told("edge.command")
            assert told["outcome"] == outcome.value
            assert why in told["reason"]

    run(scene(), 40)


def test_only_what_the_edges_file_lists_is_switched(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    async def scene() -> None:
        quiet = {"snapshot": False, "reload": False}
        async with (
            agent(tmp_path, mosquitto, commands=quiet) as a,
            Caller(mosquitto.port, a) as caller,
        ):
            for action in (Action.UNLOCK, Action.RELAY_OUTPUT, Action.SNAPSHOT):
                reply = await caller.ask(caller.command(action, "door-1"))
                assert reply.outcome is Outcome.REFUSED
                assert "file does not" in reply.reason
            reply = await caller.ask(caller.command(Action.RELOAD))
            assert reply.outcome is Outcome.REFUSED
            assert probes.acts == []

    run(scene(), 40)


def test_a_device_that_fails_or_hangs_is_told_as_it_is(
    tmp_path: Path, mosquitto: Server, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.commands.ACT_S", 0.3)

    async def scene() -> None:
        async with agent(tmp_path, mosquitto) as a, Caller(mosquitto.port, a) as caller:
            cases: list[tuple[BaseException | float, str]] = [
                (LinkError("no route", "network"), "no route"),
                (ConnectionResetError("reset"), "reset"),
                (ZeroDivisionError("oops"), "driver"),
                (5.0, "not known"),
            ]
            for hindrance, why in cases:
                probes.hinder = lambda *_, h=hindrance: h
                reply = await caller.ask(caller.command(Action.UNLOCK, "door-1"))
                assert reply.outcome is Outcome.FAILED
                assert why in reply.reason
            assert probes.acts == []

    run(scene(), 40)


def test_what_is_no_command_or_comes_the_wrong_way_is_not_done(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    async def scene() -> None:
        async with agent(tmp_path, mosquitto) as a, Caller(mosquitto.port, a) as caller:
            good = caller.command(Action.UNLOCK, "door-1")
            await caller.send(encode(good), topics.command(SITE, "another-edge"))
            await caller.send(encode(good), topics.command("another-site", a.edge))
            await caller.send(encode(good), topics.reply(SITE, a.edge) + "/command")
            await caller.send(b'{"id": "broken-1", "action": "explode"}')
            await caller.send(b"\xff\xfe not JSON")
            await caller.send(b"[" * 5_000)
            await caller.send(b'{"id": "broken-2", "x": "' + b"x" * 9_000 + b'"}')
            extra = encode(good).replace(b'"by"', b'"extra":1,"by"')
            await caller.send(extra)
            assert (await caller.reply("broken-1")).outcome is Outcome.REFUSED
            assert "not a command" in (await caller.reply(good.id)).reason
            counts = a.app.commands.counts
            await a.until(lambda: counts["bad_commands"] >= 4, "bad ones are counted")
            assert counts["oversize_commands"] == 1
            assert probes.acts == []
            assert a.told("edge.command") == []

    run(scene(), 40)


def test_a_retained_command_is_never_done(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    async def scene() -> None:
        a = agent(tmp_path, mosquitto)
        topic = topics.command(SITE, a.edge)
        async with a, Caller(mosquitto.port, a) as caller:
            await caller.send(encode(caller.command(Action.UNLOCK, "door-1")), retain=True)
            counts = a.app.commands.counts
            await a.until(lambda: counts["retained_commands"] == 1, "refused as it comes")
        async with a, Caller(mosquitto.port, a) as caller:
            counts = a.app.commands.counts
            await a.until(lambda: counts["retained_commands"] == 1, "refused as it is kept")
            await caller.send(b"", topic, retain=True)
        assert probes.acts == []

    run(scene(), 40)


def test_report_reads_now_and_tells_what_did_not_change(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    drivers = [
        {"driver": "probe", "devices": ["m1", "m2"], "period_s": 3600,
         "report": {"meter.reading": {"period_s": 86_400}}},
        {"driver": "probe", "devices": ["cam-1"], "streams": True},
    ]  # fmt: skip

    async def scene() -> None:
        async with (
            agent(tmp_path, mosquitto, drivers=drivers, commands={}) as a,
            Caller(mosquitto.port, a) as caller,
        ):
            await a.until(lambda: a.told("meter.reading", "m2"), "the first poll")
            reply = await caller.ask(caller.command(Action.REPORT, "m1"))
            assert (reply.outcome, reply.data) == (Outcome.DONE, {"devices": 1, "online": 1})
            assert len(a.told("meter.reading", "m1")) == 2
            assert len(a.told("meter.reading", "m2")) == 1, "m2 was read too, and not changed"
            await a.until(lambda: a.told("device.health", "cam-1"), "the camera is heard")
            reply = await caller.ask(caller.command(Action.REPORT))
            assert reply.data == {"devices": 3, "online": 3}
            (listed,) = a.told("device.snapshot", "cam-1")[-1:]
            assert listed["states"][0].kind == "device.health"
            probes.dead = {"m1"}
            reply = await caller.ask(caller.command(Action.REPORT, "m1"))
            reply = await caller.ask(caller.command(Action.REPORT, "m1"))
            assert (reply.outcome, reply.data["online"]) == (Outcome.DONE, 0)

    run(scene(), 40)


def test_commands_to_one_device_wait_for_each_other(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    async def scene() -> None:
        async with agent(tmp_path, mosquitto) as a, Caller(mosquitto.port, a) as caller:
            probes.hinder = lambda *_: 0.3
            commands = [
                caller.command(Action.RELAY_OUTPUT, "door-1", params={"on": n % 2 == 0})
                for n in range(4)
            ]
            late = caller.command(
                Action.RELAY_OUTPUT, "door-1", params={"on": True},
                expires_at=a.clock.now_ms() + 600,
            )  # fmt: skip
            for command in (*commands, late):
                await caller.send(encode(command))
            for command in commands:
                assert (await caller.reply(command.id)).outcome is Outcome.DONE
            assert [params["on"] for *_, params in probes.acts] == [True, False, True, False]
            assert (await caller.reply(late.id)).outcome is Outcome.EXPIRED, "it waited too long"

    run(scene(), 40)


def test_a_full_journal_keeps_the_answer_back_until_the_audit_stands(
    tmp_path: Path, mosquitto: Server, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.contracts.errors import JournalFullError
    from edge.outbox import Outbox

    full = asyncio.Event()
    plain = Outbox.emit

    async def emit(self: Outbox, kind: str, *rest: Any) -> None:
        if full.is_set() and kind == "edge.command":
            raise JournalFullError("full")
        await plain(self, kind, *rest)

    monkeypatch.setattr(Outbox, "emit", emit)
    monkeypatch.setattr("edge.commands._PAUSE_S", 0.05)

    async def scene() -> None:
        async with agent(tmp_path, mosquitto) as a, Caller(mosquitto.port, a) as caller:
            full.set()
            command = caller.command(Action.UNLOCK, "door-1")
            await caller.send(encode(command))
            await a.until(lambda: a.app.commands.counts["journal_waits"] > 2, "it waits")
            assert probes.acts
            assert caller.replies == []
            full.clear()
            assert (await caller.reply(command.id)).outcome is Outcome.DONE
            assert len(a.told("edge.command")) == 1

    run(scene(), 40)
