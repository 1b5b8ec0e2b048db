"""What `deploy/` names exists: commands, settings, files; nothing runs wider than it must.

The containers themselves cannot be run here; docs/deploy.md says so.
"""

from __future__ import annotations

import configparser
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from core.runtime import canary, settings
from core.runtime.settings import Settings
from edge import config
from estate.activation import read_activation
from estate.broker_config.folder import ConfigFolder
from estate.cli import app

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = {name: service for name, service in SERVICES.items() if "build" in service}
UNITS = {path.name: path for path in sorted((DEPLOY / "systemd").glob("*.service"))}
#: What a person makes before the first start, as docs/deploy.md tells.
MADE = ("certificates", "secrets", "data", "edge/data")


def mounts(service: dict[str, Any]) -> dict[str, Path]:
    """Return target -> source of the bind mounts."""
    pairs = [text.split(":") for text in service.get("volumes", [])]
    return {target: DEPLOY / source for source, target, *_ in pairs if source.startswith("./")}


def is_made(path: Path) -> bool:
    return any(path == DEPLOY / made or DEPLOY / made in path.parents for made in MADE)


def inside(service: dict[str, Any], path: str) -> Path:
    """Return where a path of a container is outside."""
    for target, source in mounts(service).items():
        if path == target or path.startswith(target + "/"):
            return source / path.removeprefix(target).lstrip("/")
    raise AssertionError(f"{path} is not mounted")


def variables(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service["environment"].items()}


def load(service: dict[str, Any]) -> Settings:
    given = variables(service)
    return settings.load(inside(service, given["ESTATE_SETTINGS"]), given)


def unit(path: Path) -> dict[str, list[str]]:
    """Return the directives of a unit's section [Service], repeated ones together."""
    section = path.read_text("utf-8").split("[Service]")[1].split("[Install]")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def exists(words: list[str]) -> None:
    """Fail unless `estate` has the command, and what follows is no unknown option."""
    done = CliRunner().invoke(app, [words[0], "--help"])
    assert done.exit_code == 0, done.output
    assert not [word for word in words[1:] if word.startswith("-") and word not in done.output]


def test_the_parts_are_there() -> None:
    assert {"collector", "worker", "api", "edge"} == set(PARTS)
    assert {"broker", "records", "series"} == set(SERVICES) - set(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_starts_by_a_command_that_exists_and_settings_that_load(name: str) -> None:
    service = PARTS[name]
    exists(service["command"])
    loaded = load(service)
    assert not loaded.broker.embedded
    assert loaded.broker.host in SERVICES
    assert str(loaded.data) in mounts(service)
    if name == "edge":
        return
    assert loaded.series.influxdb.url == "http://series:8086"
    assert loaded.records.url is not None
    assert "@records/" in loaded.records.url
    secrets = {f"/run/secrets/{secret}" for secret in service["secrets"]}
    assert {str(loaded.series.influxdb.token_file), service["environment"]["PGPASSFILE"]} <= secrets


@pytest.mark.parametrize("name", PARTS)
def test_a_part_runs_without_rights_that_it_does_not_need(name: str) -> None:
    service = PARTS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].startswith("${ESTATE_UID")
    assert "privileged" not in service
    assert name == "worker" or service["healthcheck"]["test"]


def test_every_file_that_is_mounted_exists_or_is_made_as_the_guide_says() -> None:
    named = [source for service in SERVICES.values() for source in mounts(service).values()]
    named += [DEPLOY / secret["file"] for secret in COMPOSE["secrets"].values()]
    assert len(named) > 15
    for path in named:
        assert path.exists() or is_made(path), path
        if is_made(path):
            assert path.relative_to(DEPLOY).parts[0] in GUIDE
    for secret in COMPOSE["secrets"]:
        assert f"secrets/{secret}" in GUIDE
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])


def test_what_waits_for_a_healthy_service_waits_for_one_that_tells() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]


def test_the_guides_command_makes_what_compose_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [command] = re.findall(
        r"^estate (broker-config certificates(?:.*\\\n)*.*)$", GUIDE, re.MULTILINE
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "topology.yaml").write_bytes((DEPLOY / "topology.yaml").read_bytes())
    done = CliRunner().invoke(app, shlex.split(command.replace("\\\n", " ")))
    assert done.exit_code == 0, done.output
    for service in SERVICES.values():
        for source in mounts(service).values():
            if source.is_relative_to(DEPLOY / "certificates"):
                assert (tmp_path / source.relative_to(DEPLOY)).is_dir(), source
    collector = load(PARTS["collector"]).broker
    assert canary.is_wanted(collector)
    kept = ConfigFolder(tmp_path / "certificates", datetime.now(UTC)).state
    assert (collector.port, collector.canary_port) == (kept.house_port, kept.port)
    assert collector.host in kept.hosts
    conf = (tmp_path / "certificates" / "broker" / "mosquitto.conf").read_text()
    [place] = mounts(SERVICES["broker"])
    assert f"acl_file {place}/acl" in conf
    for file in ("cert_file", "key_file", "ca_file", "canary_cert_file", "canary_key_file"):
        found = getattr(collector, file).relative_to(DEPLOY / "broker")
        assert (tmp_path / "certificates" / "parts" / "collector" / found).is_file()
    port = load(PARTS["edge"]).broker.port
    assert f"{port}:{kept.port}" in SERVICES["broker"]["ports"]


def test_the_examples_topology_and_edge_belong_together() -> None:
    loaded = load(PARTS["collector"])
    assert loaded.topology == DEPLOY / "topology.yaml"
    tree = read_activation(loaded).topology
    example = config.load(inside(PARTS["edge"], PARTS["edge"]["command"][1]))
    assert {(one["id"], one["site"]) for one in tree["edges"]} == {(example.edge, example.site)}
    assert {one["id"] for one in tree["devices"]} == set(example.device_ids())


def test_the_image_copies_what_the_project_is_made_of() -> None:
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    copied = [shlex.split(line)[1:-1] for line in lines if line.startswith("COPY ")]
    sources = {word for words in copied for word in words if not word.startswith(("--", "/"))}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert packages <= sources
    assert "USER estate" in lines


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_hardened(name: str) -> None:
    given = unit(UNITS[name])
    for directive, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "RestrictSUIDSGID": "yes",
        "SystemCallArchitectures": "native",
        "UMask": "0077",
    }.items():
        assert given[directive] == [value], directive
    assert given["User"] == ["mosquitto" if name == "estate-broker.service" else "estate"]
    assert configparser.ConfigParser(strict=False, interpolation=None).read(UNITS[name])


@pytest.mark.parametrize("name", sorted(set(UNITS) - {"estate-broker.service"}))
def test_a_unit_starts_by_a_command_that_exists_and_settings_that_load(name: str) -> None:
    given = unit(UNITS[name])
    program, *words = given["ExecStart"][0].split()
    assert program == "/opt/estate/bin/estate"
    exists(words)
    variables = dict(text.split("=", 1) for text in given["Environment"])
    place = variables["ESTATE_SETTINGS"]
    shown = DEPLOY / ("edge/estate.yaml" if "@" in name else "systemd/estate.yaml")
    assert place.startswith("/etc/estate/")
    assert place.rsplit("/", 1)[1] == shown.name
    loaded = settings.load(shown, variables)
    assert str(loaded.data) == f"/var/lib/{given['StateDirectory'][0]}"
    if name == "estate-collector.service":
        assert canary.is_wanted(loaded.broker)
        assert loaded.broker.canary_cert_file is not None
