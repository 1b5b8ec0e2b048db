"""``estate collectors``, and what the doctor says of several."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.contracts import topology as topologies
from core.contracts.outputs import TopologyOutput
from core.runtime.settings import CollectorSettings, Settings
from core.storage.records import Records, accounts, projection, tenures
from estate.cli import app
from estate.doctor import examine
from tests.wire.harness import SITE, topology

LONG = 600_000


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    monkeypatch.setenv("ESTATE_DATA", str(tmp_path))
    return Records(Settings(data=tmp_path).records_url).open()


def estate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["collectors", *arguments])


def lives(records: Records, name: str, *sites: str, lease_ms: int = LONG) -> None:
    with records.session() as session:
        tenures.beat(session, name, f"{name}-1", lease_ms, own=sites)
        for site in sites:
            assert tenures.take(session, site, name, f"log-{site}") is not None


def found(folder: Path) -> list[tuple[bool, str]]:
    shared = Settings(data=folder, collector=CollectorSettings(shared=True))
    return [(f.ok, f.text) for f in examine(shared) if f.part == "collectors"]


def test_collectors_are_listed_and_sites_assigned(records: Records, tmp_path: Path) -> None:
    assert "Nobody shares these records" in estate("list").output
    lives(records, "north", "s-1", "s-2")
    lives(records, "south", "s-3")
    listed = estate("list").output.splitlines()
    assert listed[:2] == ["north  lives; sites: s-1, s-2", "south  lives; sites: s-3"]
    assert found(tmp_path) == [(True, "2 live, with 3 sites")]

    assert "s-1: to be south's" in estate("assign", "s-1", "south", "--reason", "a test").output
    assert "site s-1: to be south's" in estate("list").output
    assert "s-1: to be anybody's" in estate("assign", "s-1").output
    unknown = estate("assign", "nowhere", "south")
    assert (unknown.exit_code, "no site 'nowhere'" in unknown.output) == (2, True)
    assert "there are s-1, s-2, s-3" in unknown.output
    unheard = estate("assign", "s-1", "west")
    assert (unheard.exit_code, "collector 'west'" in unheard.output) == (2, True)
    assert "there are north, south" in unheard.output
    assert "s-1: to be south's" not in estate("list").output
    assert "s-1: to be west's" in estate("assign", "s-1", "west", "--force").output
    with records.reading() as session:
        lines = accounts.list_audit(session).items
    assert [(line.action, line.target) for line in lines] == [("site.assign", "site/s-1")] * 3
    records.close()


def test_a_site_of_the_settings_that_is_nobodys_is_no_site(
    records: Records, tmp_path: Path
) -> None:
    tree = topologies.load(topology("edge-1"))
    with records.session() as session:
        projection.apply(session, [TopologyOutput(1, tree)], 1)
    assert estate("assign", SITE, "north", "--force").exit_code == 0, "before anybody has begun"
    lives(records, "north", SITE)
    with records.session() as session:
        tenures.beat(session, "north", "north-1", LONG, own=[SITE, "nosite"])
    assert "no site 'nosite'" in estate("assign", "nosite", "north").output
    own = CollectorSettings(shared=True, sites=[SITE, "nosite"])
    settings = Settings(data=tmp_path, collector=own)
    (bad,) = [f for f in examine(settings) if f.part == "collectors" and not f.ok]
    assert bad.text == "collector.sites names what no topology does: nosite"
    assert SITE in bad.remedy
    with records.session() as session:
        tenures.note_site(session, "nosite")  # an edge speaks for it
        assert "nosite" in tenures.beat(session, "north", "north-1", LONG, own=["nosite"]).take
    records.close()


def test_a_collector_that_is_gone_is_named(records: Records, tmp_path: Path) -> None:
    lives(records, "north", "s-1", lease_ms=-40_000)
    assert "north  not heard for 40 s" in estate("list").output
    assert found(tmp_path) == [(False, "north has not been heard of for 40 s")]
    records.close()
