"""Meters are found by their addresses: alone on a line, or several by their low digits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import from_raw
from edge.discovery import cjt188, dlt645
from edge.discovery.found import Found, entries
from edge.discovery.shortened import Heard, Search
from edge.driver import LinkError
from edge.transport.settings import ChannelSettings
from simulators.devices.cjt188 import FlowMeterGateway
from simulators.devices.meter import MeterGateway, SerialMeters
from simulators.devices.meter_model import MeterModel
from simulators.devices.water_meter import HEAT, FlowMeterModel
from simulators.loads import LoadKind, LoadPlan, LoadSpec
from tests.edge.drivers.support import FakeClock, run

A, B, C = "330101000003", "330101000005", "330101010005"


def meter(name: str, phases: int = 1) -> MeterModel:
    return MeterModel(7, name, LoadPlan(7, name, LoadSpec(LoadKind.HOUSEHOLD, 8000)), phases=phases)


def tcp(port: int) -> ChannelSettings:
    return ChannelSettings(host="127.0.0.1", port=port)


def usable(found: Found, folder: Path) -> None:
    """Check that an entry can be put into a configuration as it is."""
    from_raw({"edge": "e", "site": "s", "drivers": [dict(found.entry)]}, "found", folder)


def test_a_lone_meter_on_a_serial_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer = SerialMeters(FakeClock(), {A: meter("a", 3)}, tmp_path / "tty")
        await peer.start()
        raw = {"serial": {"port": peer.port, "parity": "none"}}
        channel = ChannelSettings.model_validate(raw)
        found = [item async for item in dlt645.scan(channel, timeout_s=0.15)]
        await peer.stop()
        assert [(item.protocol, item.address) for item in found] == [
            ("dlt645", f"{A} at {peer.port}")
        ]
        assert "3 phases" in found[0].what
        assert "kWh" in found[0].what
        assert found[0].entry["meters"][0]["phases"] == 3
        usable(found[0], tmp_path)

    run(scenario())


def test_several_meters_are_told_apart_within_the_bound(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer = MeterGateway(FakeClock(), {A: meter("a"), B: meter("b")})
        await peer.start()
        seen = [i async for i in dlt645.scan(tcp(peer.port), timeout_s=0.1, most=8)]
        assert {item.entry["meters"][0]["address"] for item in seen} == {A, B}
        fewer = [i async for i in dlt645.scan(tcp(peer.port), timeout_s=0.1, most=5)]
        assert {item.entry["meters"][0]["address"] for item in fewer} == {A}
        within = [i async for i in dlt645.scan(tcp(peer.port), suffix="0005", timeout_s=0.1)]
        assert [item.entry["meters"][0]["address"] for item in within] == [B]
        await peer.stop()
        usable(seen[0], tmp_path)

    run(scenario())


def test_nobody_there_and_no_line() -> None:
    async def scenario() -> None:
        silent = meter("a")
        silent.answers = False
        peer = MeterGateway(FakeClock(), {A: silent})
        await peer.start()
        assert [i async for i in dlt645.scan(tcp(peer.port), timeout_s=0.05)] == []
        await peer.stop()
        for module in (dlt645, cjt188):
            with pytest.raises(LinkError):
                [i async for i in module.scan(tcp(peer.port), timeout_s=0.05)]
            for bad in ("1", "0" * 16, "0A"):
                with pytest.raises(ValueError, match="low digits"):
                    [i async for i in module.scan(tcp(peer.port), suffix=bad)]

    run(scenario())


@pytest.mark.parametrize("turned", [False, True])
def test_a_water_and_a_heat_meter(turned: bool, tmp_path: Path) -> None:
    async def scenario() -> None:
        models = {
            "78330000000003": FlowMeterModel(7, "w"),
            "11110000000004": FlowMeterModel(7, "h", kind=HEAT),
        }
        for address, model in models.items():
            peer = FlowMeterGateway(FakeClock(), {address: model}, high_byte_first=turned)
            await peer.start()
            (item,) = [i async for i in cjt188.scan(tcp(peer.port), timeout_s=0.1)]
            await peer.stop()
            assert item.entry["meters"][0]["address"] == address
            assert item.entry["identifier_order"] == ("high" if turned else "low")
            assert item.entry["meters"][0]["type"] == f"{model.kind:02X}"
            usable(item, tmp_path)
        peer = FlowMeterGateway(FakeClock(), models, high_byte_first=turned)
        await peer.start()
        found = [i async for i in cjt188.scan(tcp(peer.port), timeout_s=0.1, most=7)]
        await peer.stop()
        assert {i.entry["meters"][0]["address"] for i in found} == set(models)

    run(scenario())


addresses = st.sets(st.integers(0, 999_999).map(lambda n: f"{n:06d}"), max_size=12)


@given(addresses, st.integers(1, 400))
@settings(deadline=None)
def test_a_search_finds_everybody_whose_voice_is_not_covered(there: set[str], most: int) -> None:
    asked: list[str] = []

    async def ask(low: str) -> Heard:
        asked.append(low)
        speaking = [address for address in there if address.endswith(low)]
        # Of several who speak at once nothing can be read.
        return Heard((speaking[0],), True) if len(speaking) == 1 else Heard((), not speaking)

    async def scenario(bound: int) -> tuple[list[str], bool]:
        search = Search("line", ask, 6, bound)
        found = [address async for address in search.run()]
        return found, search.complete

    found, complete = asyncio.run(scenario(100_000))
    assert complete
    assert sorted(found) == sorted(there)
    asked.clear()
    some, complete = asyncio.run(scenario(most))
    assert len(asked) <= most
    assert set(some) <= there
    assert not complete or set(some) == there


def test_meters_of_one_line_are_one_entry_and_those_of_another_are_not() -> None:
    def found(port: int, device: str) -> Found:
        entry = {"host": "gw", "port": port, "meters": [{"device": device}]}
        return Found("dlt645", device, "a meter", entry)

    made = entries([found(1, "a"), found(2, "b"), found(1, "c")])
    assert [(entry["port"], entry["meters"]) for entry in made] == [
        (1, [{"device": "a"}, {"device": "c"}]),
        (2, [{"device": "b"}]),
    ]
