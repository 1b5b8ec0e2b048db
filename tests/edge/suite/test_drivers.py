"""Every driver against its simulated peer: it reads, it tells, and it says when it cannot."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from core.contracts.errors import SettingsError
from edge.config import build, from_raw
from tests.edge.drivers.support import run

from .bench import SOON_S, Bench, note, settle
from .peer import Peer
from .peers import found, name_of

PEERS = found()
each = pytest.mark.parametrize("kind", PEERS, ids=name_of)
BAD_LINES: dict[str, Any] = {
    "mute": True, "noise": b"\xfe\x00\xa5", "garble": 1.0, "truncate": 1.0,
}  # fmt: skip


def those_with(fault: str) -> pytest.MarkDecorator:
    """Try a fault on every peer that can have it."""
    able = [kind for kind in PEERS if fault not in kind.exempt]
    return pytest.mark.parametrize("kind", able, ids=name_of)


async def awake(bench: Bench) -> None:
    await bench.until(bench.online, "all devices online")


def cause(bench: Bench, peer: Peer) -> str:
    causes = {bench.runner.health()[device].cause for device in bench.devices}
    del peer
    return "offline, cause " + "/".join(sorted(str(item) for item in causes))


@each
def test_reads_its_peer(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        async with Bench(tmp_path, kind(tmp_path)) as bench:
            await awake(bench)
            await bench.until(
                lambda: kind.expects <= {event[0] for event in bench.sink.events},
                f"{sorted(kind.expects)}",
            )
            assert {event[1] for event in bench.sink.events} <= set(bench.devices) | {"e1"}
            assert bench.counted("crashed") == bench.counted("refused") == 0

    run(scene(), 40)


@each
def test_what_happens_is_told_once(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        async with Bench(tmp_path, peer) as bench:
            await awake(bench)
            await settle()
            before = len(bench.sink.events)
            happened, device = await peer.stir()

            def news() -> list[Any]:
                return [e for e in bench.sink.events[before:] if e[:2] == (happened, device)]

            await bench.until(news, f"{happened} of {device}")
            await settle(1.0)
            if not happened.endswith((".reading", ".status", ".count")):
                assert len(news()) == 1

    run(scene(), 40)


@each
def test_a_full_journal_loses_nothing_that_happens(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        async with Bench(tmp_path, peer) as bench:
            await awake(bench)
            await settle()
            bench.refusing = True
            before = len(bench.sink.events)
            happened, device = await peer.stir()
            await settle(1.5)
            bench.refusing = False
            took = await bench.until(
                lambda: any(e[:2] == (happened, device) for e in bench.sink.events[before:]),
                f"{happened} of {device} after the journal has room again", 20,
            )  # fmt: skip
            assert bench.counted("crashed") == 0
            note(peer, "journal full for 1.5 s", "told when there is room", took)

    run(scene(), 60)


@those_with("refuse")
def test_a_peer_that_goes_away_is_told_and_found_again(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        async with Bench(tmp_path, peer) as bench:
            await awake(bench)
            await peer.refuse()
            took = await bench.until(bench.offline, "all devices offline", 30)
            note(peer, "connection refused", cause(bench, peer), took)
            assert all(bench.runner.health()[device].error for device in bench.devices)
            await peer.accept()
            took = await bench.until(bench.online, "all devices online again", 45)
            note(peer, "back after a refusal", "online", took)

    run(scene(), 100)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        pytest.param(kind, fault, id=f"{name_of(kind)}-{fault}")
        for kind in PEERS
        for fault in BAD_LINES
        if fault not in kind.exempt
    ],
)
def test_a_bad_line_is_noticed_and_survived(kind: type[Peer], fault: str, tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        async with Bench(tmp_path, peer) as bench:
            await awake(bench)
            setattr(peer.faults, fault, BAD_LINES[fault])
            if fault == "noise":
                await settle(2.0)
                outcome, took = ("goes on" if bench.online() else cause(bench, peer)), None
            else:
                took = await bench.until(bench.offline, "all devices offline", 30)
                outcome = cause(bench, peer)
            note(peer, fault, outcome, took)
            assert bench.counted("crashed") == 0
            peer.faults.clear()
            took = await bench.until(bench.online, "all devices online again", 45)
            note(peer, f"back after {fault}", "online", took)

    run(scene(), 100)


@those_with("delay")
def test_a_slow_peer_is_waited_for(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        async with Bench(tmp_path, peer) as bench:
            await awake(bench)
            peer.faults.delay_s = 0.15
            await settle(2.0)
            assert bench.online()
            happened, device = await peer.stir()
            await bench.until(
                lambda: bench.told(happened, device), f"{happened} of {device}", SOON_S
            )
            note(peer, "each answer 150 ms late", "goes on", None)

    run(scene(), 60)


@those_with("cut")
def test_a_cut_line_is_mended(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        async with Bench(tmp_path, peer) as bench:
            await awake(bench)
            peer.faults.cut = True
            await settle(1.0)
            happened, device = await peer.stir()
            took = await bench.until(
                lambda: bench.told(happened, device), f"{happened} of {device}", 30
            )
            await bench.until(bench.online, "all devices online", 30)
            note(peer, "cut in the middle of an answer", "goes on, nothing lost", took)

    run(scene(), 100)


@each
def test_stops_at_once_whatever_hangs(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        async with Bench(tmp_path, peer) as bench:
            await awake(bench)
            peer.faults.mute = True
            await settle(0.3)
            began = time.monotonic()
            await bench.runner.stop()
            assert time.monotonic() - began < 4

    run(scene(), 40)


@each
def test_settings_are_checked_and_nothing_is_opened(kind: type[Peer], tmp_path: Path) -> None:
    async def scene() -> None:
        peer = kind(tmp_path)
        await peer.start()
        try:
            entry = peer.entry
        finally:
            await peer.stop()
        whole = {"edge": "e1", "site": "s1", "drivers": [entry]}
        config = from_raw(whole, "suite", tmp_path)
        assert config.device_ids()
        build(config, peer.clock, tmp_path)  # the peer is gone: building must not connect
        with pytest.raises(SettingsError, match="perriod_s"):
            from_raw({**whole, "drivers": [{**entry, "perriod_s": 3}]}, "suite", tmp_path)

    run(scene())


def test_who_is_exempt_says_why() -> None:
    faults = {"refuse", "delay", "cut", *BAD_LINES}
    for kind in PEERS:
        assert set(kind.exempt) <= faults
        assert all(len(reason) > 20 for reason in kind.exempt.values())
        assert len(kind.exempt) < len(faults) / 2, "a peer that has no faults is no peer"


def test_every_driver_of_the_registry_has_a_peer() -> None:
    from edge.registry import DRIVERS

    assert {peer.protocol for peer in PEERS} == set(DRIVERS)


def test_a_stuck_peer_of_any_kind_delays_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        peers = [kind(tmp_path / name_of(kind)) for kind in PEERS if "mute" not in kind.exempt]
        for peer in peers:
            peer.folder.mkdir()
        async with Bench(tmp_path, *peers) as bench:
            await bench.until(bench.online, "all devices online", 40)
            for stuck in peers:
                others = [
                    driver.devices[0]
                    for driver, peer in zip(bench.runner.drivers, peers, strict=True)
                    if peer is not stuck
                ]
                stuck.faults.mute = True
                await asyncio.sleep(0.7)
                before = {d: bench.runner.health()[d].last_contact or 0 for d in others}
                await bench.until(
                    lambda: all(
                        (bench.runner.health()[d].last_contact or 0) > before[d]  # noqa: B023
                        for d in others  # noqa: B023
                    ),
                    f"every other device heard while {name_of(type(stuck))} hangs", 10,
                )  # fmt: skip
                stuck.faults.clear()

    run(scene(), 200)
