"""An outage leaves no hole: every event of a controller arrives once, in order, or is declared."""

from __future__ import annotations

import asyncio
from pathlib import Path

import edge.isapi.access as access
from core.contracts.commands import Action
from simulators.devices.isapi import Code, RawCode
from tests.edge.drivers.support import run

from .support import HOLDER, Site


async def connected(site: Site, streams: int = 1) -> None:
    await site.sink.until(lambda: site.peer.streams >= streams and site.sink.counts["heartbeats"])


def test_what_happens_during_an_outage_arrives_once_and_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            await connected(site)
            site.happen(5)
            await site.settled()
            await site.peer.listener.suspend()
            site.happen(100)  # more than three pages
            await site.sink.until(lambda: listening.errors)
            await site.peer.listener.start()
            await site.settled()
            site.happen(5)
            await site.settled()
            assert site.told == site.sent
            assert site.sink.counts["backfilled"] >= 100
            assert listening.driver.health()["missed_serials"] == 0

    run(scenario(), 40)


def test_also_across_a_restart_of_the_edge(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            async with site.listening():
                await connected(site)
                site.happen(5)
                await site.settled()
            site.happen(40)
            async with site.listening():
                await site.settled()
                site.happen(3)
                await site.settled()
            site.happen(1)
            async with site.listening():
                await site.settled()
            await asyncio.sleep(0.3)
            assert site.told == site.sent

    run(scenario(), 40)


def test_streams_that_are_cut_again_and_again_lose_and_double_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            await connected(site)
            for _ in range(12):
                site.happen(4)
                await asyncio.sleep(0.03)
                await site.peer.listener.drop()
                site.happen(2)
                await asyncio.sleep(0.02)
            await site.settled()
            await asyncio.sleep(0.3)
            assert site.told == site.sent
            assert listening.driver.health()["missed_serials"] == 0

    run(scenario(), 40)


def test_what_a_live_stream_leaves_out_is_fetched_before_what_showed_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening():
            await connected(site)
            await site.sink.until(lambda: site.peer.searches == 1)
            site.happen(1)
            await site.settled()
            access_pause, access._PAUSE_S = access._PAUSE_S, 0.0
            try:
                site.model.unheard = 3
                site.happen(4)
                await site.settled()
            finally:
                access._PAUSE_S = access_pause
            assert sorted(site.told) == site.sent
            assert site.sink.counts["holes"] == 1

    run(scenario(), 30)


def test_the_same_event_twice_is_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, replay=50) as site, site.listening():
            await connected(site)
            site.peer.repeats = 3
            site.happen(5)
            await site.settled()
            await site.peer.listener.drop()
            await connected(site, 2)
            site.happen(1)
            await site.settled()
            await site.sink.until(lambda: site.sink.counts["duplicates"] >= 15)
            assert site.told == site.sent

    run(scenario(), 30)


def test_what_the_controller_no_longer_has_is_declared(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            await connected(site)
            site.happen(3)
            await site.settled()
            await site.peer.listener.suspend()
            site.happen(20)
            site.model.forget(keep=5)
            del site.sent[3:18]
            await site.peer.listener.start()
            await site.settled()
            site.model.skip_serials(4)
            site.happen(1)
            await site.settled()
            await site.sink.until(lambda: listening.driver.health()["missed_serials"] == 15 or
                                  listening.driver.health()["open_serials"] == 4)  # fmt: skip
            assert site.told == site.sent
            assert listening.driver.health()["missed_serials"] in (15, 19)

    run(scenario(), 30)


def test_numbers_that_begin_anew_are_no_duplicates(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            await connected(site)
            site.happen(5)
            await site.settled()
            await site.peer.listener.suspend()
            await asyncio.sleep(1.1)  # the new numbers carry later seconds
            site.model.reset_serials()
            before = len(site.told)
            await site.peer.listener.start()
            site.happen(5)
            await site.sink.until(lambda: len(site.told) == before + 5)
            assert site.told[-5:] == [1, 2, 3, 4, 5]
            site.happen(2)
            await site.sink.until(lambda: len(site.told) == before + 7)
            assert listening.driver.health()["serial_eras"] == 1
            assert listening.driver.health()["missed_serials"] == 0

    run(scenario(), 30)


def test_another_controller_at_the_same_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            await connected(site)
            site.happen(5)
            await site.settled()
            await site.peer.listener.suspend()
            site.model.reset_serials()
            site.model.skip_serials(90_000_000_000)
            site.peer.serial_number = "another one"
            await site.peer.listener.start()
            await connected(site, 2)
            await site.sink.until(lambda: listening.driver.health()["serial_eras"] == 1)
            site.happen(3)
            await site.settled()
            assert site.told == site.sent
            assert listening.driver.health()["missed_serials"] == 0

    run(scenario(), 30)


def test_the_first_start_does_not_import_years(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, replay=500) as site:
            site.model.drift_s = -3 * 86_400
            site.happen(50)
            site.model.drift_s = 0
            site.sent.clear()
            site.peer.says_current = True
            site.peer._heard_before = True  # it plays everything again, marked as old
            site.happen(2)
            async with site.listening(backfill_first_s=3600):
                await site.settled()
                await site.sink.until(lambda: site.sink.counts["heartbeats"] > 2)
                assert site.told == site.sent
        async with Site(tmp_path / "second") as site:
            site.happen(5)
            site.sent.clear()
            async with site.listening(backfill=False):
                await connected(site)
                site.happen(1)
                await site.settled()
                assert site.told == site.sent
                assert site.peer.searches == 0

    run(scenario(), 30)


def test_a_search_that_fails_is_tried_again_and_holds_nothing_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        pauses = access._PAUSE_S, access._PAUSE_AFTER_FAILURE_S
        access._PAUSE_S = access._PAUSE_AFTER_FAILURE_S = 0.3
        try:
            async with Site(tmp_path, replay=0) as site:
                async with site.listening():
                    await connected(site)
                    site.happen(2)
                    await site.settled()
                site.happen(3)
                missed = site.sent[-3:]
                site.peer.search_status = 503
                async with site.listening():
                    await site.sink.until(lambda: site.sink.counts["backfill_failed"])
                    site.happen(1)
                    await site.sink.until(lambda: site.sent[-1] in site.told)
                    assert not set(missed) & set(site.told)
                    site.peer.search_status = None
                    await site.settled()
                    assert sorted(site.told) == site.sent
                    assert site.sink.counts["duplicates"] <= 8
        finally:
            access._PAUSE_S, access._PAUSE_AFTER_FAILURE_S = pauses

    run(scenario(), 30)


def test_a_reboot_keeps_the_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            await connected(site)
            site.happen(2)
            await site.settled()
            await site.peer.reboot(0.3)
            site.happen(2)
            await site.settled()
            assert site.told == site.sent
            assert site.sink.of("device.fault", "controller") == [
                {"fault": "mains_off", "active": active, "part": "controller", "raw_code": code}
                for active, code in ((True, "2/1025"), (False, "2/1024"))
            ]
            assert listening.driver.health()["missed_serials"] == 0

    run(scenario(), 30)


def test_a_clock_that_is_off_is_told_and_its_times_are_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening():
            site.model.drift_s = 92
            await site.sink.until(lambda: site.sink.of("device.fault", "controller"))
            (fault,) = site.sink.of("device.fault", "controller")
            assert (fault["fault"], fault["active"]) == ("clock", True)
            assert fault["raw_code"] in ("+91 s", "+92 s")
            site.happen(1)
            await site.settled()
            (event,) = [e for e in site.sink.events if e[0] == "access.granted"]
            assert 90_000 < event[3] - site.clock.now_ms() < 93_000
            site.model.drift_s = 0
            await site.sink.until(lambda: len(site.sink.of("device.fault", "controller")) == 2)
            assert site.sink.of("device.fault")[-1]["active"] is False

    run(scenario(), 30)


def test_nothing_is_lost_or_doubled_when_a_journal_fills_in_between(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening():
            await connected(site)
            seen = 0

            def refuse(kind: str) -> Exception | None:
                nonlocal seen
                seen += kind == "access.fire_release"
                return OSError("disk full") if seen == 2 else None

            site.sink.refuse = refuse
            site.model.record(0, Code.FIRE_RELEASE_ON)  # of both doors
            site.model.record(0, RawCode(9, 9))
            await site.sink.until(lambda: len(site.sink.of("access.fire_release")) == 2)
            site.happen(1)
            await site.settled()
            assert [e[1] for e in site.sink.events if e[0] == "access.fire_release"] == [
                "door-1", "door-2",
            ]  # fmt: skip

    run(scenario(), 30)


def test_people_stay_unnamed_also_in_what_is_fetched(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            site.happen(1)
            async with site.listening():
                await site.settled()
                site.happen(1)
                await site.settled()
            first, second = (event["person"] for event in site.sink.of("access.granted"))
            assert first == second
            kept = "".join(p.read_text("utf-8") for p in (tmp_path / "isapi").iterdir())
            assert not any(secret in kept for secret in (HOLDER.card, HOLDER.name, '"10001"'))

    run(scenario(), 30)


def test_nonces_that_expired_are_no_wrong_password(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            await connected(site)
            for streams in (2, 3):
                site.peer.sign_in.expire()
                await site.peer.listener.drop()
                site.happen(2)
                await connected(site, streams)
                await site.settled()
            site.peer.sign_in.expire()
            assert await listening.driver.act("door-1", Action.UNLOCK, {}) == {}
            assert site.told[:4] == site.sent
            assert site.peer.sign_in.refused == 0

    run(scenario(), 30)
