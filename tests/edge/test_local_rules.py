"""Rules at the edge: what cannot wait is done here, with nobody above."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from core.contracts.commands import Action
from core.contracts.errors import SettingsError
from core.runtime.clock import ScaledClock
from edge.driver import CommandRefusedError, LinkError
from edge.local_rules import state as states
from simulators.devices.door_model import Code
from simulators.devices.io_module import IoModule
from simulators.devices.modbus import ModbusPeer
from tests.edge.drivers.support import listen, run

from .agent import Agent
from .probe import Probes, StreamedProbe, install
from .suite.isapi_door import IsapiDoorPeer

DOOR = {"driver": "probe", "devices": ["door-1"], "streams": True}
LIFT = {"driver": "probe", "devices": ["lift-1"], "streams": True}
SIREN = {
    "driver": "probe", "devices": ["siren"], "can": ["relay_output", "snapshot", "unlock"],
    "period_s": 3600,
}  # fmt: skip
ON, OFF = {"on": True}, {"on": False}
TRAPPED = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": False,
    "floor": 3, "door_closed": True, "occupied": True,
}  # fmt: skip

FREE = {**TRAPPED, "occupied": False}
STOOD = """version: 1
rules:
  - id: stood
    title: {zh: 停梯, en: It stands}
    advice: {zh: 查看。, en: Look.}
    on: elevator.status
    type: sustained
    for: 30s
    when: occupied and not moving and door_closed and not in_door_zone
    colour: red
"""


def rules(**output: Any) -> dict[str, Any]:
    wanted = {"when": {"colour_at_least": "orange"}, "device": "siren", **output}
    return {"builtin": ["door-duress", "door-fire-release", "door-held-open"],
            "outputs": [wanted]}  # fmt: skip


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    return install(monkeypatch)


class House(Agent):
    """An agent with a door, a lift and a siren, and nobody above it."""

    def __init__(self, folder: Path, probes: Probes, **sections: Any) -> None:
        self.probes = probes
        super().__init__(
            folder, **{"drivers": [DOOR, LIFT, SIREN], "local_rules": rules(), **sections}
        )

    async def say(self, device: str, kind: str, **data: Any) -> None:
        speaker = self.probes.of(device)[-1]
        assert isinstance(speaker, StreamedProbe)
        await speaker.say(kind, device, **data)

    def siren(self) -> list[dict[str, Any]]:
        return [params for device, _, params in self.probes.acts if device == "siren"]


def test_duress_at_a_real_door_sounds_a_real_siren_with_the_broker_down(tmp_path: Path) -> None:
    async def scene() -> None:
        door = IsapiDoorPeer(tmp_path)
        board = IoModule(door.clock)
        relays = ModbusPeer({1: board})
        await door.start()
        await relays.start()
        local = {
            "builtin": ["door-duress"],
            "outputs": [{"when": {"colour_at_least": "red"}, "device": "siren-1",
                         "params": {"output": 3, "for_s": 60}}],
        }  # fmt: skip
        siren = {
            "driver": "modbus", "host": "127.0.0.1", "port": relays.port, "period_s": 1,
            "timeout_s": 0.5, "devices": [{"device": "siren-1", "unit": 1, "map": "relay_8"}],
        }  # fmt: skip
        try:
            async with Agent(tmp_path, drivers=[door.entry, siren], local_rules=local) as a:
                await a.until(lambda: a.app.runner.health()["isapi_door-1"].online, "the door")
                await a.until(lambda: a.app.runner.health()["siren-1"].online, "the board")
                assert not a.app.uplink.online
                began = time.monotonic()
                await door.model.report(1, Code.DURESS)
                await a.until(lambda: board.relay(2), "the siren sounds", 5)
                assert time.monotonic() - began < 2
                (told,) = await a.until(lambda: a.told("edge.rule"), "the rule is told")
                assert told == {
                    "rule": "door-duress", "key": "isapi_door-1", "active": True, "colour": "red",
                    "target": "isapi_door-1", "outputs": ["siren-1"],
                }  # fmt: skip
                (audit,) = await a.until(lambda: a.told("edge.command"), "its audit")
                assert (audit["by"], audit["local"], audit["outcome"]) == (
                    "rule door-duress", True, "done",
                )  # fmt: skip
        finally:
            await relays.stop()
            await door.stop()

    run(scene(), 40)


def test_on_while_an_alert_asks_and_off_when_the_last_is_over(
    tmp_path: Path, probes: Probes
) -> None:
    async def scene() -> None:
        async with House(tmp_path, probes) as a:
            await a.until(lambda: a.told("device.health", "door-1"))
            await a.say("door-1", "access.fire_release", active=True)
            await a.until(lambda: a.siren() == [ON])
            await a.say("door-1", "access.duress")
            await a.say("door-1", "access.fire_release", active=False)
            await a.until(lambda: len(a.told("edge.rule")) == 3)
            assert a.siren() == [ON], "the duress still asks"
            assert [(r["rule"], r["active"]) for r in a.told("edge.rule")] == [
                ("door-fire-release", True), ("door-duress", True), ("door-fire-release", False),
            ]  # fmt: skip
            await a.say("door-1", "access.held_open")
            await a.until(lambda: len(a.told("edge.rule")) == 4)
            assert a.told("edge.rule")[3]["outputs"] == [], "yellow is not orange"
            assert a.siren() == [ON]

    run(scene(), 40)


def test_a_restart_in_the_middle_neither_forgets_nor_repeats(
    tmp_path: Path, probes: Probes
) -> None:
    async def scene() -> None:
        a = House(tmp_path, probes)
        async with a:
            await a.until(lambda: a.told("device.health", "door-1"))
            await a.say("door-1", "access.fire_release", active=True)
            await a.until(lambda: a.siren() == [ON])
        async with a:
            await a.until(lambda: a.told("device.health", "door-1"))
            await asyncio.sleep(0.5)
            assert a.siren() == [ON], "not again"
            assert len(a.told("edge.rule")) == 1
            await a.say("door-1", "access.fire_release", active=False)
            await a.until(lambda: a.siren() == [ON, OFF], "not forgotten")

    run(scene(), 40)


def test_a_crash_forgets_nothing_that_was_journalled(tmp_path: Path, probes: Probes) -> None:
    """As a kill leaves it: the state is older than the journal, which has the rest."""

    async def scene() -> None:
        a = House(tmp_path, probes)
        file = tmp_path / "data" / "edges" / a.edge / "local_rules.state"
        async with a:
            await a.until(lambda: a.told("device.health", "door-1"))
            local = a.app.local_rules
            assert local is not None
            await local._save()
            old = file.read_bytes()
            a.probes.hinder = lambda *_: LinkError("dead", "device")
            await a.say("door-1", "access.fire_release", active=True)
            await a.say("door-1", "access.duress")
            await a.until(lambda: len(a.told("edge.rule")) == 2)
        file.write_bytes(old)
        a.probes.hinder = lambda *_: None
        async with a:
            await a.until(lambda: a.siren() == [ON], "what the journal held is folded again")
            local = a.app.local_rules
            assert local is not None
            assert sorted(alert.rule for alert in local.alerts) == [
                "door-duress", "door-fire-release",
            ]  # fmt: skip
            assert local.counts["replayed"] >= 2

    run(scene(), 40)


def test_what_was_heard_and_not_yet_journalled_is_not_counted_twice(
    tmp_path: Path, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.contracts.errors import JournalFullError
    from edge.outbox import Outbox

    local = {"builtin": ["door-repeated-denials"],
             "outputs": [{"device": "siren"}]}  # fmt: skip
    plain = Outbox.emit
    full = asyncio.Event()

    async def emit(self: Outbox, kind: str, *rest: Any) -> None:
        if full.is_set():
            raise JournalFullError("full")
        await plain(self, kind, *rest)

    monkeypatch.setattr(Outbox, "emit", emit)

    async def scene() -> None:
        async with House(tmp_path, probes, local_rules=local) as a:
            await a.until(lambda: a.told("device.health", "door-1"))
            full.set()
            at = a.clock.now_ms()
            speaker = a.probes.of("door-1")[-1]
            for _ in range(8):  # one event, told again and again until the journal takes it
                with pytest.raises(JournalFullError):
                    await speaker._sink.emit("access.denied", "door-1", {"reason": "expired"}, at)
            assert a.siren() == []
            for n in range(4):
                with pytest.raises(JournalFullError):
                    await speaker._sink.emit(
                        "access.denied", "door-1", {"reason": "expired"}, at + 100 * n + 100
                    )
            await a.until(lambda: a.siren() == [ON], "five are five, with the journal full, too")
            full.clear()
            await a.until(lambda: a.told("edge.rule"), "what was owed is told", 15)

    run(scene(), 40)


def test_a_siren_that_does_not_answer_is_tried_again_while_it_is_wanted(
    tmp_path: Path, probes: Probes
) -> None:
    async def scene() -> None:
        async with House(tmp_path, probes) as a:
            await a.until(lambda: a.told("device.health", "door-1"))
            tries: list[Action] = []

            def hinder(_device: str, action: Action) -> LinkError | None:
                tries.append(action)
                return LinkError("no answer", "bus") if len(tries) < 4 else None

            a.probes.hinder = hinder
            await a.say("door-1", "access.fire_release", active=True)
            await a.until(lambda: a.siren() == [ON], "tried until it does", 20)
            audits = await a.until(
                lambda: len(a.told("edge.command")) == 2 and a.told("edge.command")
            )
            assert [audit["outcome"] for audit in audits] == ["failed", "done"]
            a.probes.hinder = lambda *_: CommandRefusedError("not now")
            await a.say("door-1", "access.fire_release", active=False)
            await a.until(lambda: len(a.told("edge.command")) == 3)
            a.probes.hinder = lambda *_: None
            await a.until(lambda: a.siren() == [ON, OFF], "and off again", 20)

    run(scene(), 60)


def test_a_timed_output_sounds_for_each_alert_and_a_door_is_unlocked_once(
    tmp_path: Path, probes: Probes
) -> None:
    local = {
        **rules(params={"for_s": 5, "output": 2}),
        "files": ["own.yaml"],
    }  # fmt: skip
    local["outputs"].append({"when": {"rules": ["smoke"]}, "do": "unlock", "device": "siren"})
    (tmp_path / "own.yaml").write_text(
        "version: 1\nrules:\n  - id: smoke\n    title: {zh: 烟, en: Smoke}\n"
        "    advice: {zh: 跑, en: Run}\n    on: fire.alarm\n    when: active\n    colour: yellow\n",
        encoding="utf-8",
    )

    async def scene() -> None:
        a = House(tmp_path, probes, local_rules=local, commands={"unlock": ["siren"]})
        async with a:
            await a.until(lambda: a.told("device.health", "door-1"))
            await a.say("door-1", "access.duress")
            timed = {"for_s": 5, "output": 2, "on": True}
            await a.until(lambda: a.siren() == [timed])
            await a.say("door-1", "access.fire_release", active=True)
            await a.until(lambda: a.siren() == [timed, timed])
            await a.say("lift-1", "fire.alarm", active=True)
            await a.until(lambda: ("siren", Action.UNLOCK, {}) in a.probes.acts)
        async with a:
            await a.until(lambda: a.told("device.health", "door-1"))
            await asyncio.sleep(0.3)
            assert [act for _, act, _ in a.probes.acts].count(Action.UNLOCK) == 1

    run(scene(), 40)


def test_a_sustained_rule_counts_on_over_a_restart(tmp_path: Path, probes: Probes) -> None:
    clock = ScaledClock.starting_now(10)
    (tmp_path / "stood.yaml").write_text(STOOD)
    local = {**rules(), "files": [str(tmp_path / "stood.yaml")]}

    async def scene() -> None:
        a = House(tmp_path, probes, local_rules=local)
        a.clock = clock
        async with a:
            await a.until(lambda: a.told("device.health", "lift-1"))
            await a.say("lift-1", "elevator.status", **TRAPPED)
            await clock.sleep(20)
            assert a.siren() == []
        async with a:
            await a.until(lambda: a.app.runner.health()["lift-1"].online)
            began = clock.now_ms()
            await a.say("lift-1", "elevator.status", **TRAPPED)
            await a.until(lambda: a.siren() == [ON], "trapped for 30 s altogether")
            assert clock.now_ms() - began < 25_000

    run(scene(), 40)


def test_a_week_without_anybody_above(tmp_path: Path, probes: Probes) -> None:
    """Seven days of the run's clock, a full journal, and the rules still work and stay small."""
    clock = ScaledClock.starting_now(80_000)
    meters = {"driver": "probe", "devices": ["m1", "m2"], "period_s": 600}

    async def scene() -> None:
        a = House(tmp_path, probes, drivers=[DOOR, LIFT, SIREN, meters], journal_bytes=1 << 20)
        a.clock = clock
        began = clock.now_ms()
        rounds = 0
        async with a:
            await a.until(lambda: a.told("device.health", "door-1"))
            local = a.app.local_rules
            assert local is not None
            while clock.now_ms() - began < 7 * 86_400_000:
                rounds += 1
                await a.say("door-1", "access.fire_release", active=True)
                await a.until(lambda: len(a.siren()) == 2 * rounds - 1)  # noqa: B023
                await a.say("door-1", "access.fire_release", active=False)
                await a.until(lambda: len(a.siren()) == 2 * rounds)  # noqa: B023
                passing = [
                    a.say("door-1", "access.granted", person=f"p-{rounds}-{n}") for n in range(400)
                ]
                status = {**FREE, "floor": rounds % 9}
                await asyncio.gather(*passing, a.say("lift-1", "elevator.status", **status))
            assert rounds > 5
            assert local.alerts == []
            assert a.app.journal.size <= 2 << 20
            assert len(local._fold.engine.timers) < 1_000
            assert local._state.standing == {}
            file = tmp_path / "data" / "edges" / a.edge / "local_rules.state"
            await local._save()
            assert file.stat().st_size < 100_000

    run(scene(), 90)


def test_rules_that_are_taken_out_let_go_of_what_they_switched(
    tmp_path: Path, probes: Probes
) -> None:
    async def scene() -> None:
        async with House(tmp_path, probes) as a:
            await a.until(lambda: a.told("device.health", "door-1"))
            await a.say("door-1", "access.fire_release", active=True)
            await a.until(lambda: a.siren() == [ON])
            a.write(drivers=[DOOR, LIFT, SIREN], local_rules=rules(when={"rules": ["door-duress"]}))
            await a.app.reload()
            assert a.siren() == [ON], "the same output, whoever asks; the alert still stands"
            a.write(drivers=[DOOR, LIFT, SIREN])
            await a.app.reload()
            await a.until(lambda: a.siren() == [ON, OFF])
            await a.until(lambda: a.told("edge.rule")[-1]["active"] is False)
            await a.say("door-1", "access.fire_release", active=True)
            await asyncio.sleep(0.2)
            assert a.siren() == [ON, OFF]

    run(scene(), 40)


def test_a_notice_is_posted_on_the_local_network_and_kept_until_it_is_taken(
    tmp_path: Path, probes: Probes
) -> None:
    posted: list[tuple[bytes, dict[str, Any]]] = []
    answers = ["503 Busy", "503 Busy"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )  # fmt: skip
            body = await reader.readexactly(length)
            status = answers.pop(0) if answers else "204 No Content"
            if status.startswith("204"):
                posted.append((head, json.loads(body)))
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()

    async def scene() -> None:
        server, port = await listen(serve)
        url = f"http://127.0.0.1:{port}/notice?site=1"
        local = {"builtin": ["door-duress"],
                 "notices": [{"url": url, "allow": ["127.0.0.0/8"]}]}  # fmt: skip
        a = House(tmp_path, probes, local_rules=local)
        async with server:
            async with a:
                await a.until(lambda: a.told("device.health", "door-1"))
                answers.extend(["503 Busy"] * 50)
                await a.say("door-1", "access.duress")
                await a.until(lambda: len(answers) < 52, "tried")
            answers.clear()
            async with a:
                await a.until(lambda: posted, "a restart does not lose it", 15)
        ((head, body),) = posted
        assert b"POST /notice?site=1 HTTP/1.1" in head
        assert b"application/cloudevents+json" in head
        assert (body["specversion"], body["type"]) == ("1.0", "smart-estate.edge.rule")
        assert body["source"] == f"/sites/s1/edges/{a.edge}"
        assert body["data"]["rule"] == "door-duress"
        assert body["data"]["title"]["zh"].startswith("胁迫开门")

    run(scene(), 60)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/x", "http://[::1]/x", "http://169.254.169.254/latest", "http://0.0.0.0/",
     "http://100.100.100.200/", "http://[fe80::1]/", "http://[::ffff:127.0.0.1]/",
     "http://224.0.0.1/", "ftp://10.0.0.1/", "http://user:word@10.0.0.1/"],
)  # fmt: skip
def test_a_notice_goes_nowhere_that_it_must_not(url: str, tmp_path: Path, probes: Probes) -> None:
    local = {"builtin": ["door-duress"], "notices": [{"url": url}]}

    async def scene() -> None:
        with pytest.raises(SettingsError):
            await House(tmp_path, probes, local_rules=local).start()

    run(scene())


def test_a_name_that_leads_to_a_forbidden_address_is_not_posted_to(
    tmp_path: Path, probes: Probes
) -> None:
    reached: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(10))
        writer.close()

    async def scene() -> None:
        server, port = await listen(serve)
        local = {"builtin": ["door-duress"], "notices": [{"url": f"http://localhost:{port}/"}]}
        async with server, House(tmp_path, probes, local_rules=local) as a:
            await a.until(lambda: a.told("device.health", "door-1"))
            await a.say("door-1", "access.duress")
            local_rules = a.app.local_rules
            assert local_rules is not None
            (poster,) = local_rules._posters
            await a.until(lambda: poster.failures >= 2)
            assert reached == []

    run(scene(), 40)


@pytest.mark.parametrize(
    ("local", "why"),
    [
        ({"builtin": ["no-such-rule"]}, "no-such-rule"),
        ({}, "name rule files"),
        ({"builtin": ["door-duress"], "outputs": [{"device": "sirene"}]}, "did you mean siren"),
        ({"builtin": ["door-duress"], "outputs": [{"device": "door-1"}]}, "cannot do relay_output"),
        ({"builtin": ["door-duress"], "outputs": [{"device": "siren", "do": "unlock"}]},
         "commands.unlock"),
        ({"builtin": ["door-duress"],
          "outputs": [{"device": "siren", "when": {"rules": ["lift-fault"]}}]}, "lift-fault"),
        ({"files": ["bad.yaml"]}, "bad.yaml:"),
    ],
)  # fmt: skip
def test_local_rules_that_cannot_work_are_refused(
    local: dict[str, Any], why: str, tmp_path: Path, probes: Probes
) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\nrules: [{id: x}]\n", encoding="utf-8")

    async def scene() -> None:
        with pytest.raises(SettingsError, match=why):
            await House(tmp_path, probes, local_rules=local).start()

    run(scene())


def test_a_state_that_cannot_be_read_is_no_reason_not_to_start(
    tmp_path: Path, probes: Probes
) -> None:
    async def scene() -> None:
        a = House(tmp_path, probes)
        file = tmp_path / "data" / "edges" / a.edge / "local_rules.state"
        file.parent.mkdir(parents=True)
        for nonsense in (b"", b"\xff" * 50, states.encode(states.State(engine=b"not an engine"))):
            file.write_bytes(nonsense)
            async with a:
                await a.until(lambda: a.app.runner.health()["door-1"].online)
                count = len(a.siren())
                await a.say("door-1", "access.fire_release", active=True)
                await a.until(lambda: len(a.siren()) > count)  # noqa: B023
                await a.say("door-1", "access.fire_release", active=False)
                await a.until(lambda: a.siren()[-1] == OFF)

    run(scene(), 60)
