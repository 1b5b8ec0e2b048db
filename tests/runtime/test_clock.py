"""One scaled clock for all processes of a run."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.errors import SettingsError
from core.runtime.clock import VARIABLE, ScaledClock


def test_the_machines_time_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = time.time_ns() // 1_000_000
    shown = ScaledClock.from_environment().now_ms()
    assert before <= shown <= time.time_ns() // 1_000_000


@given(st.integers(0, 4_102_444_800_000), st.floats(0.001, 10_000))
def test_a_child_process_shows_the_same_time(at_ms: int, speed: float) -> None:
    clock = ScaledClock.starting_now(speed, at_ms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, clock.to_environment())
        assert ScaledClock.from_environment() == clock


def test_time_runs_at_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_790_000_000_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    clock = ScaledClock.starting_now(60, at_ms=1_000_000)
    assert clock.now_ms() == 1_000_000
    now += 1_500_000_000
    assert clock.now_ms() == 1_000_000 + 90_000
    assert ScaledClock.starting_now(5).now_ms() == now // 1_000_000


@pytest.mark.parametrize(
    "text", ["x", "1:2", "1:2:3:4", "a:1:1", "1:1:0", "1:1:-2", "1:1:nan", "1:1:inf"]
)
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(SettingsError, match=VARIABLE):
        ScaledClock.from_environment()


def test_waits_are_scaled() -> None:
    clock = ScaledClock.starting_now(1000)
    began = time.monotonic()
    assert clock.wait(threading.Event(), 20) is False
    asyncio.run(clock.sleep(20))
    asyncio.run(clock.sleep(-1))
    assert 0.04 <= time.monotonic() - began < 5
    done = threading.Event()
    done.set()
    assert clock.wait(done, 1e6) is True
