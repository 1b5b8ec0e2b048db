"""The generated community: valid, the same for the same seed, and configured edge by edge."""

import inspect
from collections import Counter
from pathlib import Path

import pytest
import yaml

from core.contracts.topology import DeviceFamily, Level, SiteKind
from core.contracts.topology import load as load_topology
from edge import config
from edge.registry import DRIVERS
from simulators.actions import ACTIONS, EDGE
from simulators.community import generate
from simulators.handles.base import Handle
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
    assert 12 <= families[DeviceFamily.ELEVATOR] <= 16
    assert 14 <= families[DeviceFamily.DOOR] <= 22
    assert 6 <= families[DeviceFamily.CAMERA] <= 8
    others = {"barrier", "fire_panel", "sensor", "output"}
    assert {family.value for family in families} == {"meter", "elevator", "door", "camera"} | others
    kinds = {node.site_kind for node in topology.nodes if node.level is Level.SITE}
    assert kinds == {SiteKind.RESIDENTIAL_ESTATE, SiteKind.OFFICE_BUILDING}
    assert {node.level for node in topology.nodes} == set(Level)
    assert sum(node.occupants or 0 for node in topology.nodes) > 1000
    assert topology.node_by_id["jinxiu"].name.zh == "金绣家园"
    for device in topology.devices:
        assert device.expect_s
        assert device.position
        assert topology.site_of(device.node) == topology.edge_by_id[device.edge].site
        assert device.family is DeviceFamily.METER or not device.limits
    unlimited = [d.id for d in topology.devices if d.family is DeviceFamily.METER and not d.limits]
    assert all(name.endswith(("water", "gas", "water-main")) for name in unlimited)


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
    assert not simulation.ports()
    plans = [*community.gateways, *community.controllers, *community.more]
    names = [p.id for p in plans] + [p.device for p in (*community.lifts, *community.cameras)]
    assert len(set(names)) == len(names)
    ports = {name: 20_000 + index for index, name in enumerate(names)}
    found = {}
    for edge in community.edges:
        raw = yaml.safe_load(yaml.safe_dump(community.edge_file(edge, ports)))
        assert (raw["edge"], raw["site"]) == (edge, community.edges[edge])
        # The edge's own check of its file: every key, every device once, every name known.
        for device in config.from_raw(raw, edge, Path()).device_ids():
            assert device not in found
            found[device] = edge
    assert found == {device.id: device.edge for device in topology.devices}
    addresses = [meter.address for gateway in community.gateways for meter in gateway.meters]
    assert len(set(addresses)) == len(addresses)


def test_every_driver_is_there(community):
    plans = [*community.gateways, *community.controllers, *community.more]
    names = [p.id for p in plans] + [p.device for p in (*community.lifts, *community.cameras)]
    files = [community.edge_file(edge, dict.fromkeys(names, 20_000)) for edge in community.edges]
    drivers = {driver["driver"] for file in files for driver in file["drivers"]}
    # A broker of the vendor's own would be one more server; the suite of the drivers has it.
    assert drivers == set(DRIVERS) - {"json_mqtt"}


def test_a_scenario_reaches_every_device_by_actions_that_exist(community, topology):
    kinds = community.handles
    assert set(kinds) == {device.id for device in topology.devices}
    known = {name for name in dir(Handle) if not name.startswith("_")} | set(ACTIONS)
    for kind in set(kinds.values()):
        own = {
            name for name, value in vars(kind).items()
            if inspect.iscoroutinefunction(value) and not name.startswith("_")
        }  # fmt: skip
        assert own <= known | {"pass_by"}
    for action in ACTIONS.values():
        if action.target != EDGE:
            assert any(action.fits(kind) for kind in kinds.values()), action.name
