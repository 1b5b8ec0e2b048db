"""Supervised processes: restarted with a back-off, stopped in order, ended with their parent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from estate.supervisor import ProcessSpec, ProcessState, Supervisor


def until(true: Callable[[], bool], supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 30
    while not true():
        supervisor.check()
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_a_process_that_dies_is_told_of_and_restarted(tmp_path: Path) -> None:
    told: list[ProcessState] = []
    supervisor = Supervisor(tmp_path, told.append)
    variables = {"ESTATE_DATA": str(tmp_path / "data"), "ESTATE_BROKER__PORT": "0"}
    supervisor.start(ProcessSpec("worker", ("worker",), variables))
    first = supervisor.pid("worker")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(
        lambda: any(state.restarts == 1 and state.state == "running" for state in told), supervisor
    )
    assert [state.state for state in told] == ["running", "down", "running"]
    assert told[1].message == "killed by SIGKILL"
    assert supervisor.pid("worker") != first
    supervisor.stop()
    assert told[-1].state == "stopped"


def test_a_process_that_hangs_is_killed_and_restarted(tmp_path: Path) -> None:
    told: list[ProcessState] = []
    supervisor = Supervisor(tmp_path, told.append, hang_s=15)
    variables = {"ESTATE_DATA": str(tmp_path / "data"), "ESTATE_BROKER__PORT": "0"}
    supervisor.start(ProcessSpec("worker", ("worker",), variables))
    first = supervisor.pid("worker")
    assert first is not None
    log = tmp_path / "worker.log"
    until(lambda: "runs" in log.read_text(), supervisor)  # it has said that it works
    os.kill(first, signal.SIGSTOP)
    until(
        lambda: any(state.restarts == 1 and state.state == "running" for state in told), supervisor
    )
    assert [state.message for state in told if state.state == "down"] == [
        "it hung for 15 s and was killed"
    ]
    assert supervisor.pid("worker") != first
    supervisor.stop()


def test_what_cannot_start_backs_off_and_says_why(tmp_path: Path) -> None:
    told: list[ProcessState] = []
    supervisor = Supervisor(tmp_path, told.append)
    supervisor.start(ProcessSpec("nonsense", ("no-such-command",)))
    until(lambda: sum(state.state == "down" for state in told) >= 2, supervisor)
    assert {state.message for state in told if state.state == "down"} == {"ended with code 2"}
    assert "no-such-command" in (tmp_path / "nonsense.log").read_text()
    supervisor.stop()


def test_stopping_is_in_order_and_in_time(tmp_path: Path) -> None:
    told: list[ProcessState] = []
    supervisor = Supervisor(tmp_path, told.append)
    variables = {"ESTATE_DATA": str(tmp_path / "data"), "ESTATE_BROKER__PORT": "0"}
    supervisor.start(ProcessSpec("through", ("worker",), variables, last=True))
    supervisor.start(ProcessSpec("first", ("worker",), variables))
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 6
    assert [state.name for state in told if state.state == "stopped"] == ["first", "through"]
