"""The runner on a fake clock: periods, back-off, time-outs, health, isolation of the stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random

from core.contracts.errors import JournalFullError
from edge.backoff import Backoff
from edge.driver import Driver, LinkError, PollingDriver, ReportRule, StreamingDriver, health_rule
from edge.runner import Runner

from .support import START, FakeClock, Recorder, run

READING = {"medium": "electricity", "energy_kwh": 1.0}


class Polled(PollingDriver):
    """A meter whose answers are scripted."""

    def __init__(
        self, act: Callable[[int], object] = lambda n: None, *, name: str = "meter",
        period_s: float = 60, poll_timeout_s: float = 5,
    ) -> None:  # fmt: skip
        super().__init__(name, (name,), period_s=period_s, poll_timeout_s=poll_timeout_s)
        self.act = act
        self.polls = 0

    async def poll(self) -> None:
        self.polls += 1
        outcome = self.act(self.polls)
        if isinstance(outcome, asyncio.Future):
            await outcome
        if isinstance(outcome, Exception):
            raise outcome
        await self._sink.reached(self.devices[0], 1.5)
        await self._sink.emit("meter.reading", self.devices[0], READING)


class Streamed(StreamingDriver):
    """A camera that lives as long as it is told."""

    def __init__(self, act: Callable[[int], Exception | None]) -> None:
        super().__init__("camera", ("camera",))
        self.act = act
        self.lives = 0

    @property
    def reports(self) -> dict[str, ReportRule]:
        return {"device.health": health_rule(60)}

    async def run(self) -> None:
        self.lives += 1
        error = self.act(self.lives)
        if error is not None:
            raise error
        for _ in range(5):
            await self._sink.reached("camera")
            await asyncio.sleep(0)


class Run:
    """A runner on a fake clock whose real pauses cost nothing but are written down."""

    def __init__(self, *drivers: Driver, speed: float = 1) -> None:
        self.clock = FakeClock()
        self.sink = Recorder(clock=self.clock)
        self.pauses: list[float] = []
        self.real = 0.0
        self.runner = Runner(
            drivers, self.sink, self.clock,
            random=Random(7), sleep=self._sleep,
            monotonic=lambda: self.real + (self.clock.now - START) / 1000 / speed,
        )  # fmt: skip

    async def _sleep(self, seconds: float) -> None:
        self.real += seconds
        if seconds > 0:
            self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def __aenter__(self) -> Run:
        await self.runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.stop()


def test_polls_once_a_period() -> None:
    async def scenario() -> None:
        driver = Polled()
        async with Run(driver) as r:
            await r.sink.until(lambda: driver.polls >= 12)
            times = [at for kind, _, _, at in r.sink.events if kind == "meter.reading"]
        assert 0 <= times[0] - START <= 5_000
        assert 0 <= times[1] - times[0] <= 60_000
        assert {b - a for a, b in pairwise(times[1:])} == {60_000}
        assert r.sink.of("device.health") == [
            {"online": True, "latency_ms": 1.5, "error_rate": 0.0, "last_contact": times[0]}
        ]
        assert r.runner.counters()["meter"]["emitted"] >= 11

    run(scenario())


def test_a_fast_clock_does_not_make_a_busy_loop() -> None:
    async def scenario() -> None:
        driver = Polled(period_s=0.1)
        async with Run(driver, speed=1000) as r:
            await r.sink.until(lambda: driver.polls >= 20)
        assert sum(r.pauses) >= 0.09 * (driver.polls - 2)

    run(scenario())


def test_failure_backs_off_tells_once_and_recovers() -> None:
    async def scenario() -> None:
        driver = Polled(lambda n: LinkError("no answer", "device") if 3 <= n <= 12 else None)
        async with Run(driver) as r:
            await r.sink.until(lambda: len(r.sink.of("meter.reading")) >= 4)
        health = r.sink.of("device.health")
        assert [h["online"] for h in health] == [True, False, True]
        assert health[1]["cause"] == "device"
        assert health[1]["error"] == "no answer"
        assert 0 < health[1]["error_rate"] < 1
        backoffs = [p for p in r.pauses if p > 0]
        assert len(backoffs) == 10
        assert all(0.1 <= p <= min(30, 2**i) for i, p in enumerate(backoffs))
        condition = r.runner.health()["meter"]
        assert (condition.online, condition.error) == (True, None)

    run(scenario())


def test_one_lost_poll_is_not_an_outage() -> None:
    async def scenario() -> None:
        driver = Polled(lambda n: OSError("reset") if n % 2 == 0 else None)
        async with Run(driver) as r:
            await r.sink.until(lambda: driver.polls >= 11)
        assert [h["online"] for h in r.sink.of("device.health")] == [True]

    run(scenario())


def test_a_stuck_device_delays_nobody() -> None:
    async def scenario() -> None:
        stuck = Polled(
            lambda n: asyncio.get_running_loop().create_future(), name="stuck", poll_timeout_s=0.05
        )
        good = Polled(name="good")
        async with Run(stuck, good) as r:
            await r.sink.until(lambda: r.sink.of("device.health", "stuck"))
        assert good.polls > 20 > stuck.polls
        (lost,) = r.sink.of("device.health", "stuck")
        assert lost["online"] is False
        assert lost["cause"] == "network"
        assert lost["error"] == "no answer in time"

    run(scenario())


def test_a_faulty_driver_stays_supervised() -> None:
    async def scenario() -> None:
        driver = Polled(lambda n: ZeroDivisionError("oops") if n <= 3 else None)
        async with Run(driver) as r:
            await r.sink.until(lambda: r.sink.of("meter.reading"))
        assert r.runner.counters()["meter"]["crashed"] == 3
        assert [h["online"] for h in r.sink.of("device.health")] == [False, True]

    run(scenario())


def test_a_refused_observation_is_counted_and_a_full_journal_is_not_the_devices_fault() -> None:
    async def scenario() -> None:
        driver = Polled()
        r = Run(driver)
        async with r:
            await r.sink.until(lambda: driver.polls >= 2)
            r.sink.refuse = lambda kind: JournalFullError("no room")
            await r.sink.until(lambda: r.runner.counters()["meter"].get("journal_refused", 0) >= 3)
            r.sink.refuse = lambda kind: None
            READING["energy_kwh"] = -1.0
            try:
                await r.sink.until(lambda: r.runner.counters()["meter"].get("refused", 0) >= 2)
            finally:
                READING["energy_kwh"] = 1.0
        assert [h["online"] for h in r.sink.of("device.health")] == [True]

    run(scenario())


def test_a_stream_is_restarted_and_its_health_repeated() -> None:
    async def scenario() -> None:
        driver = Streamed(lambda n: LinkError("gone", "network") if 3 <= n <= 6 else None)
        async with Run(driver) as r:
            await r.sink.until(lambda: driver.lives >= 5)
            r.clock.now += 61_000
            await r.sink.until(lambda: driver.lives >= 9)
            r.clock.now += 61_000
            await r.sink.until(lambda: len(r.sink.of("device.health")) >= 4)
        states = [h["online"] for h in r.sink.of("device.health")]
        assert states[0] is True
        assert False in states
        assert states[-2:] == [True, True]
        assert dict(r.runner.snapshot())["camera"]["states"][0]["data"]["online"] is True

    run(scenario())


def test_backoff_is_bounded_and_jittered() -> None:
    backoff = Backoff(Random(1), base_s=1, cap_s=30)
    pauses = [backoff.next() for _ in range(200)]
    assert all(0 <= pause <= 30 for pause in pauses)
    assert max(pauses) > 25
    assert min(pauses[10:]) < 5
    backoff.reset()
    assert backoff.next() <= 1
