"""Health and the state of the system over the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from dashboard_api.schemas import Ms, Schema, example

_PROCESS: dict[str, Any] = {
    "name": "collector",
    "state": "running",
    "pid": 4711,
    "restarts": 0,
    "since": 1_763_000_000_000,
    "message": "",
}


class PartState(StrEnum):
    """How a part is; unknown is said as unknown."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


class Part(Schema):
    """One part of the system."""

    name: str
    state: PartState
    message: str


class Health(Schema):
    """Whether the system works; ``degraded`` when a part is known not to."""

    model_config = example(
        {
            "status": "ok",
            "version": "0.1.0",
            "time": 1_763_000_000_000,
            "parts": [{"name": "records", "state": "ok", "message": "sqlite"}],
        }
    )

    status: Literal["ok", "degraded"]
    version: str
    time: Ms
    """The run's time."""
    parts: list[Part]


class Process(Schema):
    """A supervised process."""

    model_config = example(_PROCESS)

    name: str
    state: str
    pid: int | None
    restarts: int
    since: Ms
    message: str


class Job(Schema):
    """How a worker's job went the last time."""

    name: str
    started_at: Ms
    finished_at: Ms
    ok: bool
    message: str
    runs: int
    failures: int


class SeriesState(Schema):
    """Where time series are kept, and whether that store answers."""

    kind: Literal["embedded", "influxdb"]
    state: PartState
    message: str


class ClockState(Schema):
    """The run's clock."""

    now: Ms
    speed: float
    """1: real time; more in a simulation."""


class System(Schema):
    """The state of the system."""

    model_config = example(
        {
            "processes": [_PROCESS],
            "jobs": [],
            "counters": {"dead_letters": 0, "live_clients": 1},
            "series": {"kind": "embedded", "state": "ok", "message": ""},
            "clock": {"now": 1_763_000_000_000, "speed": 1.0},
        }
    )

    processes: list[Process]
    jobs: list[Job]
    counters: dict[str, int]
    """Numbers of the records (``dead_letters``, devices by presence as ``devices_online``) and of
    this process (``live_clients``, ``live_dropped``, ``sign_in_throttled``)."""
    series: SeriesState
    clock: ClockState
