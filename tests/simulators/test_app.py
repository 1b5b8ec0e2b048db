"""The composition root: files, ports, actions on real peers, the network's cut, the stop."""

import asyncio
import contextlib
import json
import time

import httpx
import pytest
import yaml
from pymodbus.client import AsyncModbusTcpClient

from core.contracts.errors import ContractError, SettingsError
from core.contracts.topology import load as load_topology
from core.runtime.settings import Settings
from simulators.app import SimulatorsApp
from simulators.community import generate
from simulators.devices.dlt645 import Frame, FrameReader
from simulators.devices.scene import Disturbance
from simulators.network import TcpRelay
from tests.simulators.helpers import FakeClock, at_hour, until

LIFT = "jinxiu-b6-u1-lift-1"


@contextlib.asynccontextmanager
async def app(folder, *, scenario="quiet", clock=None, broker_port=1, seed=1):
    clock = clock or FakeClock(at_hour(19))
    simulators = SimulatorsApp(
        Settings(data=folder), clock, scenario=scenario, seed=seed,
        broker_host="127.0.0.1", broker_port=broker_port,
    )  # fmt: skip
    await simulators.start()
    try:
        yield simulators, clock
    finally:
        await simulators.stop()


def written(folder):
    return json.loads((folder / "simulation" / "simulation.json").read_text())


def test_it_writes_what_the_other_processes_need(tmp_path):
    async def run():
        # Processor time: other work on the machine must not decide this.
        began = time.process_time()
        async with app(tmp_path) as (simulators, _):
            assert time.process_time() - began < 2
            folder = tmp_path / "simulation"
            file = written(tmp_path)
            topology = load_topology(yaml.safe_load((folder / file["topology"]).read_text()))
            assert set(file["edges"]) == set(file["relays"]) == set(topology.edge_by_id)
            assert (file["scenario"], file["seed"]) == ("quiet", 1)
            for edge, path in file["edges"].items():
                config = yaml.safe_load((folder / path).read_text())
                assert config["edge"] == edge
                assert config["drivers"]
                assert (folder / path).stat().st_mode & 0o077 == 0
            assert all(1024 < port < 65_536 for port in file["ports"].values())
            assert simulators.simulation.ports().items() <= file["ports"].items()
            assert not list(folder.rglob("*.part"))

    asyncio.run(run())


def test_ports_and_registers_survive_a_restart(tmp_path):
    async def run():
        clock = FakeClock(at_hour(19))
        async with app(tmp_path, clock=clock) as (simulators, _):
            await simulators.perform("overload_meter", "jinxiu-b8-meter-2", factor=2)
            await clock.advance(600)
            await simulators.perform("normal_load", "jinxiu-b8-meter-2")
            register = simulators.simulation.meter("jinxiu-b8-meter-2").energy_wh(clock.now_ms())
            first = written(tmp_path)
        assert not (tmp_path / "simulation" / "simulation.json").exists()
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", first["ports"][LIFT])
        async with app(tmp_path, clock=clock) as (simulators, _):
            second = written(tmp_path)
            meter = simulators.simulation.meter("jinxiu-b8-meter-2")
            assert meter.energy_wh(clock.now_ms()) == pytest.approx(register)
        taken.close()
        changed = {name for name, port in first["ports"].items() if second["ports"][name] != port}
        assert changed == {LIFT}
        assert first["control"]["token"] != second["control"]["token"]

    asyncio.run(run())


def test_actions_reach_the_wire(tmp_path):
    async def run():
        async with app(tmp_path) as (simulators, clock):
            ports = simulators.simulation.ports()
            client = AsyncModbusTcpClient("127.0.0.1", port=ports[LIFT])
            await client.connect()
            await simulators.perform("trap", LIFT, alarm_after=5, code=11)
            await clock.advance(60)
            registers = (await client.read_holding_registers(0, count=18, device_id=1)).registers
            assert registers[:9] == [1, 0, 0, 2, registers[4], 1, 1, 1, 1]
            assert registers[16] == 11
            await simulators.perform("free", LIFT)
            await clock.advance(30)
            freed = (await client.read_holding_registers(0, count=18, device_id=1)).registers
            assert (freed[3], freed[8], freed[16]) == (1, 0, 0)
            client.close()

            gateway = next(
                g for g in simulators.simulation.community.gateways if g.edge == "yunqi-tower"
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", ports[gateway.id])
            meter = gateway.meters[0]
            await simulators.perform("open_relay", meter.device)
            writer.write(Frame(meter.address, 0x11, bytes.fromhex("03050004")).encode())
            async with asyncio.timeout(3):
                (reply,) = FrameReader().feed(await reader.read(100))
            assert reply.data.hex() == "030500045000"
            await simulators.perform("drop_connections", meter.device)
            async with asyncio.timeout(3):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read(100) == b""
            writer.close()

            camera = "jinxiu-gate-camera"
            await simulators.perform("cover_camera", camera, how="dark")
            assert simulators.simulation.camera(camera).scene.disturbance is Disturbance.DARK
            await simulators.perform("silence", camera)
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", ports[camera])
            await simulators.perform("resume", camera)
            _, writer = await asyncio.open_connection("127.0.0.1", ports[camera])
            writer.close()
            done = [(step.action, step.outcome) for step in simulators.steps]
            lines = (tmp_path / "simulation" / "steps.jsonl").read_text().splitlines()
            assert [json.loads(line)["action"] for line in lines] == [name for name, _ in done]
            assert {outcome for _, outcome in done} == {"done"}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "target", "given", "message"),
    [
        ("trapp", LIFT, {}, "did you mean trap?"),
        ("trap", "jinxiu-b6-u1-lift", {}, "did you mean jinxiu-b6-u1-lift-1?"),
        ("trap", LIFT, {"cod": 1}, "did you mean code?"),
        ("cut_edge_network", "jinxiu-nord", {}, "did you mean jinxiu-north?"),
    ],
)
def test_impossible_orders_are_refused_by_name(tmp_path, name, target, given, message):
    async def run():
        async with app(tmp_path) as (simulators, _):
            with pytest.raises(ContractError) as caught:
                await simulators.perform(name, target, **given)
            assert message in str(caught.value)

    asyncio.run(run())


def test_the_control_interface(tmp_path):
    async def run():
        async with app(tmp_path) as (_, _clock), httpx.AsyncClient() as client:
            control = written(tmp_path)["control"]
            url = f"http://127.0.0.1:{control['port']}"
            headers = {"Authorization": f"Bearer {control['token']}"}
            order = {"action": "force_door", "target": "jinxiu-gate-east"}
            assert (await client.post(f"{url}/perform", json=order)).status_code == 401
            done = await client.post(f"{url}/perform", json=order, headers=headers)
            assert (done.status_code, done.json()["outcome"]) == (200, "done")
            again = await client.post(f"{url}/perform", json=order, headers=headers)
            assert again.status_code == 409
            assert "forced or held already" in again.json()["detail"]
            for bad in ({"action": 1, "target": "x"}, {"do": "trap"}, []):
                answer = await client.post(f"{url}/perform", json=bad, headers=headers)
                assert answer.status_code == 400
            steps = (await client.get(f"{url}/steps", headers=headers)).json()
            assert [step["outcome"] for step in steps] == ["done", "refused"]
            state = (await client.get(f"{url}/state", headers=headers)).json()
            assert state["jinxiu-gate-east"] == {"open": True}
            assert state["yunqi-b1-siren"] == {"on": False, "switched": 0}
            assert (await client.get(f"{url}/state")).status_code == 401

    asyncio.run(run())


def test_the_outage_scenario_cuts_the_network_while_two_lifts_trap(tmp_path):
    async def run():
        clock = FakeClock(at_hour(19))
        async with app(tmp_path, scenario="outage", clock=clock) as (simulators, _):
            simulation = simulators.simulation
            freed, stays = simulation.lift("jinxiu-b5-u1-lift-1"), simulation.lift(LIFT)
            await clock.advance(61)
            assert not simulation.relay("jinxiu-north").up
            assert simulation.relay("jinxiu-south").up
            await clock.advance(180)
            freed.model.advance(clock.now_ms())
            assert freed.model.trapped
            await clock.advance(420)
            assert simulation.relay("jinxiu-north").up
            freed.model.advance(clock.now_ms())
            stays.model.advance(clock.now_ms())
            assert not freed.model.trapped
            assert stays.model.trapped
            assert {step.outcome for step in simulators.steps} == {"done"}

    asyncio.run(run())


def test_an_unplayable_scenario_starts_nothing(tmp_path):
    async def run():
        with pytest.raises(SettingsError, match="did you mean quiet"):
            async with app(tmp_path, scenario="quite"):
                raise AssertionError
        assert not (tmp_path / "simulation").exists()

    asyncio.run(run())


def test_it_stops_at_once_with_clients_connected(tmp_path):
    async def run():
        async with app(tmp_path) as (simulators, _), httpx.AsyncClient(timeout=5) as client:
            ports = simulators.simulation.ports()
            url = f"http://127.0.0.1:{ports['jinxiu-gate-camera']}/stream"
            async with client.stream("GET", url) as response:
                await anext(response.aiter_raw())
                lift = AsyncModbusTcpClient("127.0.0.1", port=ports[LIFT])
                await lift.connect()
                began, began_cpu = time.monotonic(), time.process_time()
                await simulators.stop()
                assert time.process_time() - began_cpu < 1
                assert time.monotonic() - began < 5
                lift.close()

    asyncio.run(run())


def test_the_relay_is_cut_and_restored_on_the_same_port():
    async def run():
        async def echo(reader, writer):
            while data := await reader.read(100):
                writer.write(data)
            writer.close()

        broker = await asyncio.start_server(echo, "127.0.0.1", 0)
        relay = TcpRelay("127.0.0.1", broker.sockets[0].getsockname()[1])
        await relay.start()
        port = relay.port

        async def roundtrip():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            async with asyncio.timeout(3):
                assert await reader.readexactly(5) == b"hello"
            return reader, writer

        reader, writer = await roundtrip()
        assert relay.bytes_passed == 10
        await relay.cut()
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await relay.start()
        assert relay.port == port
        _, writer = await roundtrip()
        writer.close()
        await until(lambda: relay.connections == 0)
        broker.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b""
        writer.close()
        await relay.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("story", "minutes"),
    [("fire-drill", 20), ("power-cut", 19), ("shift-change", 7), ("holiday-week", 60 * 13)],
)
def test_a_story_is_played_without_a_refusal(tmp_path, story, minutes):
    async def run():
        clock = FakeClock(at_hour(9))
        async with app(tmp_path, scenario=story, clock=clock) as (simulators, _):
            await clock.advance(60 * minutes)
            # A restart takes real time; the timeline goes on meanwhile.
            await until(lambda: not [s for s in simulators.steps if s.outcome == "refused"])
            done = [step.action for step in simulators.steps]
            if story == "fire-drill":
                panel = simulators.simulation.handle("yunqi-b1-fire-panel")
                assert not any(panel.bank.contacts[:3]), "the panel was reset"
                assert done.count("lift_out_of_service") == done.count("lift_in_service") == 3
                assert done.count("crowd") == 4
            elif story == "shift-change":
                controller = simulators.simulation.handle("yunqi-b1-turnstile-1").controller
                crowd = [r for r in controller.memory if r.at_ms >= at_hour(9) + 20_000]
                assert len(crowd) / 300 > 5, "several events a second"
            elif story == "power-cut":
                assert simulators.simulation.handle("jinxiu-b6-meter").line.open
            else:
                assert "nobody_home" in done

    asyncio.run(run())


@pytest.mark.parametrize("target", sorted(generate(1).handles))
def test_every_line_can_go_wrong_and_be_whole_again(community_running, target):
    simulators, loop = community_running
    handle = simulators.simulation.handle(target)
    loop.run_until_complete(
        simulators.perform("fault_line", target, delay_ms=20, garble=0.5, noise=3, mute=True)
    )
    faults = handle.line.faults
    assert (faults.delay_s, faults.garble, faults.mute, len(faults.noise)) == (0.02, 0.5, True, 3)
    loop.run_until_complete(simulators.perform("clear_line", target))
    assert not faults.any
    loop.run_until_complete(simulators.perform("silence", target))
    loop.run_until_complete(simulators.perform("resume", target))


@pytest.fixture(scope="module")
def community_running(tmp_path_factory):
    loop = asyncio.new_event_loop()
    simulators = SimulatorsApp(
        Settings(data=tmp_path_factory.mktemp("running")), FakeClock(at_hour(19)),
        scenario="quiet", seed=1, broker_host="127.0.0.1", broker_port=1,
    )  # fmt: skip
    loop.run_until_complete(simulators.start())
    yield simulators, loop
    loop.run_until_complete(simulators.stop())
    loop.close()
