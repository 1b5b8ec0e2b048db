"""`estate broker-config` from run to run: what it keeps, adds, renews, revokes and refuses."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from core.contracts.errors import SettingsError
from core.runtime import settings
from estate.broker_config import mosquitto
from estate.broker_config.folder import ConfigFolder
from estate.broker_config.identities import PARTS, Role, of_edge_file, placed, rights
from estate.cli import app
from tests.wire.harness import topology

BASE = ("--host", "broker.lan", "--host", "192.0.2.7", "--edge", "s1/gw-7", "--edge", "s1/gw-8")
#: Written anew on each run.
ANEW = re.compile(r"\.crl$")


def broker_config(folder: Path, *options: str) -> str:
    done = CliRunner().invoke(app, ["broker-config", str(folder), *options])
    assert done.exit_code == 0, done.output
    return done.output


def refused(folder: Path, *options: str) -> str:
    done = CliRunner().invoke(app, ["broker-config", str(folder), *options])
    assert done.exit_code == 2, done.output
    return done.output


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not ANEW.search(path.name)
    }


def revoked(folder: Path, name: str) -> set[int]:
    listed = x509.load_pem_x509_crl((folder / "broker" / f"{name}.crl").read_bytes())
    return {entry.serial_number for entry in listed}


def certificate(folder: Path, place: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / place / "cert.pem").read_bytes())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes."""
    folder = tmp_path_factory.mktemp("written")
    broker_config(folder, *BASE)
    return folder


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    broker_config(tmp_path, *BASE)
    before = contents(tmp_path)
    broker_config(tmp_path, *BASE)
    assert contents(tmp_path) == before
    said = broker_config(tmp_path)
    assert contents(tmp_path) == before, "what was given once is remembered"
    assert "new" not in said.split("Broker:")[0]


def test_a_new_edge_is_added_and_the_others_keep_their_keys(tmp_path: Path) -> None:
    broker_config(tmp_path, *BASE)
    before = contents(tmp_path)
    broker_config(tmp_path, "--edge", "s2/gw-9")
    after = contents(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"broker/acl", "ca/state.json"}
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {"gw-9"}
    assert b"user gw-9\ntopic write estate/v1/s2/gw-9/batch\n" in after["broker/acl"]


def test_topology_and_edge_files_name_who_gets_access(tmp_path: Path) -> None:
    tree = topology("gw-7", "m-1")
    tree["devices"].append({**tree["devices"][0], "id": "cam-1", "edge": None})
    (tmp_path / "topology.json").write_text(json.dumps(tree))
    (tmp_path / "gw-20.yaml").write_text("edge: gw-20\nsite: s2\ndrivers: []\n")
    chosen = tmp_path / "estate.yaml"
    chosen.write_text("topology: topology.json\nedges: [gw-20.yaml]\n")
    folder = tmp_path / "out"
    broker_config(folder, "--host", "broker.lan", "--settings", str(chosen))
    acl = (folder / "broker" / "acl").read_text()
    names = set(re.findall(r"^user (.*)$", acl, re.MULTILINE))
    assert names == {one.name for one in PARTS} | {"gw-7", "gw-20", "cam-1"}
    assert "topic write estate/v1/site-1/cam-1/event\n" in acl
    broker_config(folder, "--renew", "part:api")  # without the topology nobody loses anything
    assert (folder / "broker" / "acl").read_text() == acl
    chosen.write_text("edges: [gw-20.yaml]\n")
    said = broker_config(folder, "--settings", str(chosen))
    assert "without rights: cam-1, gw-7" in said
    assert "user gw-7\n" not in (folder / "broker" / "acl").read_text()


def test_what_is_printed_for_each_part_can_be_loaded(tmp_path: Path) -> None:
    broker_config(tmp_path, *BASE, "--port", "18883", "--house-port", "18884")
    for place, port in (("parts/collector", 18884), ("parts/api", 18884), ("edges/gw-7", 18883)):
        loaded = settings.load(tmp_path / place / "broker.yaml", {}).broker
        assert (loaded.host, loaded.port, loaded.embedded) == ("broker.lan", port, False)
        files = [loaded.ca_file, loaded.cert_file, loaded.key_file]
        if place == "parts/collector":
            files += [loaded.canary_cert_file, loaded.canary_key_file]
            assert loaded.canary_port == 18883
        assert all(file is not None and file.is_file() for file in files)


def test_keys_are_for_their_owner_only(written: Path) -> None:
    keys = [*written.rglob("*.key"), *written.rglob("key.pem"), written / "ca" / "state.json"]
    assert len(keys) == 2 + 1 + 3 + 1 + 2 + 1
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_certificates_say_what_they_are_for(tmp_path: Path) -> None:
    said = broker_config(tmp_path, *BASE, "--days", "100")
    edge = certificate(tmp_path, "edges/gw-7")
    until = edge.not_valid_after_utc
    assert abs(until - datetime.now(UTC) - timedelta(days=100)) < timedelta(minutes=5)
    assert f"{until:%Y-%m-%d}" in said
    usage = edge.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one._name for one in usage] == ["clientAuth"]
    server = x509.load_pem_x509_certificate((tmp_path / "broker" / "server.pem").read_bytes())
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one._name for one in usage] == ["serverAuth"]
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.lan"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    broker_config(tmp_path, "--host", "other.lan")
    server = x509.load_pem_x509_certificate((tmp_path / "broker" / "server.pem").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["other.lan"]
    assert "host: other.lan" in (tmp_path / "edges" / "gw-7" / "broker.yaml").read_text()


def test_what_ends_soon_is_made_anew(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    folder = ConfigFolder(tmp_path, now)
    folder.state.hosts = ["broker.lan"]
    folder.write(PARTS, [])
    soon = now + timedelta(days=folder.state.days - 20)
    assert all(held.is_new for held in ConfigFolder(tmp_path, soon).write(PARTS, []))
    early = now + timedelta(days=20)
    assert not any(held.is_new for held in ConfigFolder(tmp_path, early).write(PARTS, []))


def test_who_is_revoked_is_listed_and_comes_back_only_when_renewed(tmp_path: Path) -> None:
    broker_config(tmp_path, *BASE)
    first = certificate(tmp_path, "edges/gw-8").serial_number
    assert "gw-8 is shut out" in broker_config(tmp_path, "--revoke", "gw-8")
    broker_config(tmp_path, "--renew", "all")
    acl = tmp_path / "broker" / "acl"
    assert revoked(tmp_path, "field") == {first}
    assert revoked(tmp_path, "house") == set()
    assert "user gw-8\n" not in acl.read_text()
    broker_config(tmp_path, "--renew", "gw-8")
    assert certificate(tmp_path, "edges/gw-8").serial_number != first
    assert revoked(tmp_path, "field") == {first}, "the stolen one stays out"
    assert "user gw-8\n" in acl.read_text()
    part = certificate(tmp_path, "parts/api").serial_number
    broker_config(tmp_path, "--revoke", "part:api")
    assert part in revoked(tmp_path, "house")


def test_what_an_option_named_can_be_taken_back(tmp_path: Path) -> None:
    said = broker_config(tmp_path, *BASE, "--simulator", "street")
    assert "May speak as every edge: simulator:street" in said
    serial = certificate(tmp_path, "simulators/street").serial_number
    broker_config(tmp_path, "--forget", "simulator:street")
    assert "simulator" not in (tmp_path / "broker" / "acl").read_text()
    assert serial in revoked(tmp_path, "field")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--edge", "gw-7"), "--edge 'gw-7': write site/id"),
        (("--edge", "s1/a+"), "--edge: 'a+' is no id"),
        (("--device", "s1/#"), "--device: '#' is no id"),
        (("--edge", "s1/alert"), "--edge: alert has a meaning in topics"),
        (("--edge", "canary/x"), "--edge: canary has a meaning in topics"),
        (("--device", "s1/gw-7"), "gw-7 is the edge of s1 and the device of s1"),
        (("--edge", "s2/gw-7"), "gw-7 is the edge of s1 and the edge of s2"),
        (("--host", "a b"), "--host 'a b': this is no host name"),
        (("--bind", "0.0.0.0\nallow_anonymous true"), "--bind"),
        (("--installed", "/etc/x\nlistener 1"), "--installed"),
        (("--port", "8884"), "--house-port: must be another than --port"),
        (("--revoke", "gw-77"), "--revoke gw-77: nobody is called that; did you mean gw-7?"),
        (("--renew", "gw-77"), "--renew gw-77: nobody is called that; did you mean gw-7?"),
        (("--forget", "gw-77"), "--forget gw-77: nobody is called that; did you mean gw-7?"),
        (("--revoke", "broker"), "--renew broker"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    written: Path, options: tuple[str, ...], said: str
) -> None:
    before = contents(written)
    assert said in refused(written, *options)
    assert contents(written) == before


def test_without_a_host_or_with_a_lost_authority_nothing_is_written(tmp_path: Path) -> None:
    assert "--host: name the broker's machine" in refused(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    broker_config(tmp_path / "b", *BASE)
    (tmp_path / "b" / "ca" / "field.key").unlink()
    assert "restore them from a backup" in refused(tmp_path / "b")
    broker_config(tmp_path / "c", *BASE)
    (tmp_path / "c" / "ca" / "state.json").unlink()
    assert "restore it from a backup" in refused(tmp_path / "c")


def test_a_damaged_pair_is_made_anew(tmp_path: Path) -> None:
    broker_config(tmp_path, *BASE)
    other = (tmp_path / "edges" / "gw-8" / "key.pem").read_bytes()
    (tmp_path / "edges" / "gw-7" / "key.pem").write_bytes(other)
    said = broker_config(tmp_path)
    assert re.search(r"new +gw-7 ", said)
    assert re.search(r"kept +gw-8 ", said)


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_id_can_widen_the_list(site: str, sender: str) -> None:
    """Whatever is taken gives lines about that site and sender only, and no other lines."""
    try:
        edge = placed(Role.EDGE, f"{site}/{sender}", "--edge")
    except SettingsError:
        with pytest.raises(SettingsError):
            of_edge_file({"edge": sender, "site": site}, "edge.yaml")
        return
    lines = mosquitto.access_list([edge]).splitlines()
    assert lines[2] == f"user {sender}"
    assert len(lines) == 3 + len(rights(edge))
    own = re.compile(rf"topic (read|write) estate/v1/{re.escape(site)}/{re.escape(sender)}/[a-z]+")
    shared = "topic read estate/v1/collector/status"
    assert all(line == shared or own.fullmatch(line) for line in lines[3:])


def test_the_section_is_plain_yaml(written: Path) -> None:
    text = (written / "edges" / "gw-7" / "broker.yaml").read_text()
    assert set(yaml.safe_load(text)) == {"broker"}
