"""``estate edge``: the agent's own commands, as a technician types them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from core.runtime.clock import ScaledClock
from estate import discovery
from estate.cli import app
from estate.discovery import Wanted
from simulators.devices.meter import MeterGateway
from simulators.devices.meter_model import MeterModel
from simulators.loads import LoadKind, LoadPlan, LoadSpec

ADDRESSES = ("000000000001", "000000000002")


def estate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@contextmanager
def gateway() -> Iterator[int]:
    """A DL/T 645 gateway with two meters, in a thread of its own; gives its port."""
    loop = asyncio.new_event_loop()
    clock = ScaledClock()
    spec = LoadSpec(LoadKind.HOUSEHOLD, 8_000)
    meters = {a: MeterModel(7, a, LoadPlan(7, a, spec), phases=1) for a in ADDRESSES}
    peer = MeterGateway(clock, meters)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(peer.start(), loop).result(5)
    try:
        yield peer.port
    finally:
        asyncio.run_coroutine_threadsafe(peer.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def written(folder: Path, *drivers: dict[str, Any], **sections: Any) -> str:
    file = folder / "edge.yaml"
    whole = {"edge": "e1", "site": "s1", "drivers": list(drivers), **sections}
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return str(file)


def meters(port: int, *addresses: str) -> dict[str, Any]:
    listed = [{"device": f"m{int(a)}", "address": a} for a in addresses]
    return {
        "driver": "dlt645", "host": "127.0.0.1", "port": port, "timeout_s": 0.4, "meters": listed,
    }  # fmt: skip


def test_a_file_alone_still_starts_an_edge(tmp_path: Path) -> None:
    for arguments in (["edge", "none.yaml"], ["edge", "run", "none.yaml"]):
        done = estate(*arguments)
        assert done.exit_code == 2, done.output
        assert "none.yaml" in done.output
    shown = estate("edge", "--help").output
    assert "check" in shown
    assert "discover" in shown


def test_check_shows_a_reading_of_every_device(tmp_path: Path) -> None:
    with gateway() as port:
        done = estate("edge", "check", written(tmp_path, meters(port, *ADDRESSES)))
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("ok ")]
    assert len(lines) == 2
    assert all(" ms" in line and "meter.reading" in line for line in lines)
    assert "2 of 2 devices were reached" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edge.yaml"], "nothing is stored"


def test_check_says_what_is_wrong_and_what_to_look_at(tmp_path: Path) -> None:
    with gateway() as port:
        file = written(tmp_path, meters(port, ADDRESSES[0], "000000000009"), {
            **meters(9, "000000000003"), "port": 9,
        })  # fmt: skip
        done = estate("edge", "check", file, "--timeout", "4")
    assert done.exit_code == 1, done.output
    assert "1 of 3 devices were reached" in done.output
    shown = {line.split()[1]: line for line in done.output.splitlines() if line.startswith("BAD")}
    assert set(shown) == {"m9", "m3"}
    assert " device " in shown["m9"]
    assert "its address on the bus" in done.output
    assert "host and port" in done.output


def test_check_refuses_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    done = estate("edge", "check", written(tmp_path, {**meters(9, ADDRESSES[0]), "prot": 1}))
    assert done.exit_code == 2
    assert "did you mean port?" in done.output
    rules = {"builtin": ["door-duresss"]}
    done = estate("edge", "check", written(tmp_path, meters(9, ADDRESSES[0]), local_rules=rules))
    assert done.exit_code == 2
    assert "door-duresss" in done.output


def test_discover_finds_meters_and_writes_entries_to_paste(tmp_path: Path) -> None:
    with gateway() as port:
        where = ("--hosts", "127.0.0.1", "--ports", str(port), "--units", ADDRESSES[0])
        done = estate("edge", "discover", "dlt645", *where)
        assert done.exit_code == 0, done.output
        assert ADDRESSES[0] in done.output
        assert "1 found" in done.output
        done = estate("edge", "discover", "dlt645", *where, "--yaml")
    (entry,) = yaml.safe_load(done.output)
    assert (entry["driver"], entry["port"]) == ("dlt645", port)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("zigbee",), "known are"),
        (("modbus",), "say where to look"),
        (("modbus", "--hosts", "10.0.0.300-310"), "300"),
        (("modbus", "--hosts", "10.0.0.9-3"), "ends before"),
        (("modbus", "--hosts", "10.0.0.0/8"), "addresses"),
        (("modbus", "--hosts", "host name"), "no address"),
        (("modbus", "--hosts", "10.0.0.1-60", "--units", "1-247"), "--yes"),
        (("modbus", "--hosts", "10.0.0.1", "--units", "1-300"), "outside"),
        (("modbus", "--hosts", "10.0.0.1", "--ports", "none"), "no number"),
        (("bacnet", "--hosts", "10.0.0.1", "--serial", "/dev/ttyS1"), "no serial line"),
        (("dlt645", "--hosts", "10.0.0.1", "--units", "123"), "in pairs"),
        (("onvif", "--interface", "eth0"), "--interface"),
    ],
)
def test_a_range_that_makes_no_sense_or_is_too_wide_is_refused(
    arguments: tuple[str, ...], why: str
) -> None:
    done = estate("edge", "discover", *arguments)
    assert done.exit_code == 2, done.output
    assert why in done.output


def test_ranges_are_read_as_they_are_typed() -> None:
    wanted = Wanted.of(
        "modbus", ["10.0.0.9-11,10.0.1.0/30", "gateway-3"], "502,1502-1503", "1-3,7", []
    )
    assert wanted.hosts == (
        "10.0.0.9", "10.0.0.10", "10.0.0.11", "10.0.1.1", "10.0.1.2", "gateway-3",
    )  # fmt: skip
    assert wanted.ports == (502, 1502, 1503)
    assert wanted.units == (1, 2, 3, 7)
    assert discovery.numbers("3", "x", 0, 9) == (3,)
