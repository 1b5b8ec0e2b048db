"""A topology is checked whole, and an error names the place in the file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.errors import ContractError
from core.contracts.topology import Level, SiteKind, Topology, check_parts, load, narrowed


def name(text: str) -> dict[str, str]:
    return {"zh": f"{text}中", "en": text}


STREET: dict[str, Any] = {
    "datum": "wgs84",
    "nodes": [
        {"id": "st", "level": "street", "name": name("Street")},
        {"id": "c1", "level": "community", "parent": "st", "name": name("One")},
        {"id": "c2", "level": "community", "parent": "st", "name": name("Two")},
        {"id": "g1", "level": "grid", "parent": "c1", "name": name("Grid")},
        {"id": "s1", "level": "site", "parent": "g1", "site_kind": "residential_estate",
         "name": name("Garden"),
         "geometry": {"outline": [[121.1, 31.1], [121.2, 31.1], [121.2, 31.2]], "height_m": 3}},
        {"id": "s2", "level": "site", "parent": "c2", "site_kind": "office_building",
         "name": name("Tower")},
        {"id": "b1", "level": "building", "parent": "s1", "name": name("Building 1")},
        {"id": "u1", "level": "unit", "parent": "b1", "name": name("Unit 1")},
        {"id": "f-1", "level": "floor", "parent": "u1", "number": -1, "name": name("B1")},
        {"id": "f3", "level": "floor", "parent": "s2", "number": 3, "occupants": 42,
         "name": name("3")},
    ],
    "edges": [{"id": "e1", "site": "s1", "name": name("Edge")}],
    "devices": [
        {"id": "m1", "family": "meter", "node": "u1", "edge": "e1", "expect_s": 60,
         "name": name("Meter"), "limits": {"power_w": 8000}},
        {"id": "p1", "family": "fire_panel", "node": "s2", "name": name("Panel")},
    ],
    "groups": [{"id": "towers", "name": name("Towers"), "members": ["b1", "s2"]}],
}  # fmt: skip


def test_a_street_is_read() -> None:
    street = load(STREET)
    assert street.device_by_id["m1"].limits == {"power_w": 8000}
    assert street.edge_by_id["e1"].site == "s1"
    assert [node.id for node in street.ancestors("u1")] == ["u1", "b1", "s1", "g1", "c1", "st"]
    assert street.site_of("u1") == "s1"
    assert street.site_of("f3") == "s2"
    assert street.site_of("c1") is None
    assert street.site_of("nobody") is None
    assert {node.site_kind for node in street.nodes} - {None} <= set(SiteKind)
    assert street.coverage_minimum == 0.5
    assert load(street.model_dump(mode="json")) == street


Edit = Callable[[dict[str, Any]], None]


def put(*path: Any, value: Any) -> Edit:
    def edit(raw: dict[str, Any]) -> None:
        holder: Any = raw
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value

    return edit


def add(list_name: str, **entry: Any) -> Edit:
    return lambda raw: raw[list_name].append({"name": name("x"), **entry})


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (put("datum", value="mars"), "datum: Input should be 'wgs84'"),
        (put("version", value=2), "version: "),
        (put("nodez", value=[]), "nodez: Extra inputs"),
        (put("coverage_minimum", value=1.5), "coverage_minimum: "),
        (put("nodes", 3, "parent", value="nobody"), "nodes.g1.parent: nobody is not defined above"),
        (put("nodes", 1, "parent", value=None), "nodes.c1.parent: a street has none"),
        (put("nodes", 0, "parent", value="c1"), "nodes.st.parent: a street has none"),
        (put("nodes", 6, "parent", value="u1"), "nodes.b1.parent: u1 is not defined above it"),
        (put("nodes", 7, "parent", value="s2"), "OK"),
        (put("nodes", 3, "parent", value="g1"), "nodes.g1.parent: g1 is not defined above it"),
        (put("nodes", 5, "parent", value="s1"), "nodes.s2: a site cannot be inside a site"),
        (put("nodes", 4, "site_kind", value=None), "nodes.s1.site_kind: sites have one"),
        (put("nodes", 4, "site_kind", value="villa"), "nodes.4.site_kind: "),
        (put("nodes", 6, "site_kind", value="office_building"), "nodes.b1.site_kind: sites have"),
        (put("nodes", 2, "id", value="c1"), "nodes: the id c1 is used twice"),
        (put("nodes", 2, "id", value="c 1"), "nodes.2.id: "),
        (put("nodes", 2, "name", value={"zh": "二"}), "nodes.2.name.en: Field required"),
        (put("nodes", 9, "occupants", value=-1), "nodes.9.occupants: "),
        (put("nodes", 4, "geometry", "outline", value=[[0, 0]]), "nodes.4.geometry.outline: "),
        (put("nodes", 4, "geometry", "outline", 0, value=[31, 121]), "nodes.4.geometry.outline.0"),
        (put("devices", 0, "node", value="u9"), "devices.m1.node: u9 is unknown"),
        (put("devices", 0, "edge", value="e9"), "devices.m1.edge: e9 is unknown"),
        (put("devices", 0, "family", value="toaster"), "devices.0.family: "),
        (put("devices", 0, "expect_s", value=0), "devices.0.expect_s: "),
        (put("devices", 1, "id", value="m1"), "devices: the id m1 is used twice"),
        (put("devices", 1, "id", value="e1"), "devices: the id e1 is used twice"),
        (put("devices", 1, "id", value="b1"), "devices: the id b1 is used twice"),
        (put("edges", 0, "site", value="b1"), "edges.e1.site: b1 is not a site"),
        (put("edges", 0, "site", value="zz"), "edges.e1.site: zz is not a site"),
        (put("groups", 0, "members", value=["b1", "b9"]), "groups.towers.members: b9 is unknown"),
        (put("groups", 0, "members", value=[]), "groups.0.members: "),
        (add("edges", id="e1", site="s2"), "edges: the id e1 is used twice"),
        (add("edges", id="s1", site="s1"), "edges: the id s1 is used twice"),
        (add("groups", id="towers", members=["b1"]), "groups: the id towers is used twice"),
    ],
)  # fmt: skip
def test_an_error_names_its_place(edit: Edit, says: str) -> None:
    raw = copy.deepcopy(STREET)
    edit(raw)
    if says == "OK":
        load(raw)
        return
    with pytest.raises(ContractError) as caught:
        load(raw)
    assert str(caught.value).startswith(says), str(caught.value)


@pytest.mark.parametrize("raw", [None, [], 5, "nodes", {}, {"datum": "wgs84", "nodes": None}])
def test_other_things_are_refused(raw: Any) -> None:
    with pytest.raises(ContractError):
        load(raw)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(list(Level)[1:]), st.integers(0, 50)), max_size=25))
def test_every_accepted_tree_leads_up_to_its_street(picks: list[tuple[Level, int]]) -> None:
    nodes = [{"id": "n0", "level": "street", "name": name("s")}]
    for number, (level, pick) in enumerate(picks, 1):
        above = [n for n in nodes if Level(str(n["level"])).depth < level.depth]
        node: dict[str, Any] = {"id": f"n{number}", "level": level.value, "name": name("x")}
        node["parent"] = above[pick % len(above)]["id"]
        if level is Level.SITE:
            node["site_kind"] = "industrial_park"
        nodes.append(node)
    tree: Topology = load({"datum": "cgcs2000", "nodes": nodes})
    for node in tree.nodes:
        way = list(tree.ancestors(node.id))
        assert way[0] is node
        assert way[-1].level is Level.STREET
        depths = [step.level.depth for step in way]
        assert depths == sorted(set(depths), reverse=True)


def test_a_sites_part_holds_what_is_above_it_and_in_it() -> None:
    street = load(STREET)
    garden = load(narrowed(street, "s1"))
    assert [node.id for node in garden.nodes] == ["st", "c1", "g1", "s1", "b1", "u1", "f-1"]
    assert [device.id for device in garden.devices] == ["m1"]
    assert [edge.id for edge in garden.edges] == ["e1"]
    tower = load(narrowed(street, "s2"))
    assert [device.id for device in tower.devices] == ["p1"]
    assert not tower.edges
    assert garden.device_by_id["m1"] == street.device_by_id["m1"]
    assert narrowed(garden, "s1") == narrowed(street, "s1")


def test_an_edge_that_reads_another_sites_device_ties_the_two_together() -> None:
    raw = copy.deepcopy(STREET)
    raw["devices"][1] |= {"edge": "e1"}
    check_parts(load(STREET))
    with pytest.raises(ContractError, match=r"devices\.p1\.edge.*one collector to all"):
        check_parts(load(raw))


def test_a_site_that_no_topology_names_has_an_empty_part() -> None:
    assert load(narrowed(load(STREET), "unheard-of")).devices == []
