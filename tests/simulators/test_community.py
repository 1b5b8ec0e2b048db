"""The generated community: valid, the same for the same seed, and configured edge by edge."""

from collections import Counter

import pytest
import yaml

from core.contracts.topology import DeviceFamily, Level, SiteKind
from core.contracts.topology import load as load_topology
from simulators.community import generate
from simulators.simulation import Simulation
from tests.simulators.helpers import FakeClock, at_hour


@pytest.fixture(scope="module")
def community():
    return generate(1)


@pytest.fixture(scope="module")
def topology(community):
    # As the file is read again: what YAML cannot carry would show here.
    return load_topology(yaml.safe_load(yaml.safe_dump(community.topology)))


def test_it_is_a_whole_community(topology):
    families = Counter(device.family for device in topology.devices)
    assert 60 <= families[DeviceFamily.METER] <= 120
    assert 8 <= families[DeviceFamily.ELEVATOR] <= 10
    assert 12 <= families[DeviceFamily.DOOR] <= 18
    assert 3 <= families[DeviceFamily.CAMERA] <= 4
    kinds = {node.site_kind for node in topology.nodes if node.level is Level.SITE}
    assert kinds == {SiteKind.RESIDENTIAL_ESTATE, SiteKind.OFFICE_BUILDING}
    assert {node.level for node in topology.nodes} == set(Level)
    assert sum(node.occupants or 0 for node in topology.nodes) > 1000
    assert topology.node_by_id["jinxiu"].name.zh == "金绣家园"
    for device in topology.devices:
        assert device.expect_s
        assert device.position
        assert topology.site_of(device.node) == topology.edge_by_id[device.edge].site
        assert (device.family is DeviceFamily.METER) == ("power_w" in device.limits)


def test_buildings_stand_apart_on_their_site(topology):
    site = topology.node_by_id["jinxiu"].geometry.outline
    west, east = min(p[0] for p in site), max(p[0] for p in site)
    south, north = min(p[1] for p in site), max(p[1] for p in site)
    boxes = []
    for node in topology.nodes:
        if node.level is not Level.BUILDING or node.parent != "jinxiu":
            continue
        xs, ys = zip(*node.geometry.outline, strict=True)
        assert west < min(xs) < max(xs) < east
        assert south < min(ys) < max(ys) < north
        assert 8 < node.geometry.height_m < 100
        boxes.append((min(xs), max(xs), min(ys), max(ys)))
    assert len(boxes) == 8
    for index, (w, e, s, n) in enumerate(boxes):
        for w2, e2, s2, n2 in boxes[index + 1 :]:
            assert e < w2 or e2 < w or n < s2 or n2 < s


def test_the_seed_decides_everything(community):
    assert generate(1) == community
    other = generate(2)
    assert other != community
    assert {d["id"] for d in other.topology["devices"]} != set()


def test_every_device_is_read_by_exactly_its_edge(community, topology):
    simulation = Simulation(community, FakeClock(at_hour(8)), broker=("127.0.0.1", 1))
    names = (
        [p.id for p in community.gateways] + [p.device for p in community.lifts]
        + [p.id for p in community.controllers] + [p.device for p in community.cameras]
    )  # fmt: skip
    ports = {name: 20_000 + index for index, name in enumerate(names)}
    assert not simulation.ports()
    found = {}
    for edge in community.edges:
        config = yaml.safe_load(yaml.safe_dump(community.edge_file(edge, ports)))
        assert set(config) == {"edge", "site", "drivers"}
        assert (config["edge"], config["site"]) == (edge, community.edges[edge])
        for driver in config["drivers"]:
            match driver["driver"]:
                case "dlt645":
                    assert all(len(meter["address"]) == 12 for meter in driver["meters"])
                    devices = [meter["device"] for meter in driver["meters"]]
                case "isapi_door":
                    devices = list(driver["doors"].values())
                case "elevator_modbus" | "camera":
                    devices = [driver["device"]]
            for device in devices:
                assert device not in found
                found[device] = edge
    assert found == {device.id: device.edge for device in topology.devices}
    addresses = [meter.address for gateway in community.gateways for meter in gateway.meters]
    assert len(set(addresses)) == len(addresses)
