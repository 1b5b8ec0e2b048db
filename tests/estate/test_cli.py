"""The ``estate`` command, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.storage.journal import Append, Journal, OnFull
from core.storage.records import Records
from estate.cli import app

RULE = """\
version: 1
rules:
  - id: too-warm
    title: {zh: 过热, en: Too warm}
    advice: {zh: 通风, en: Open a window}
    on: sensor.reading
    type: sustained
    for: 1m
    when: quantity == 'temperature' and valeu > 40
    colour: yellow
"""


def estate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_help_names_every_command() -> None:
    shown = estate("--help").output
    for command in ("run", "edge", "collector", "worker", "api", "simulate", "rules", "doctor"):
        assert command in shown
    listed = [line.strip(" │").split(" ")[0] for line in shown.splitlines()]
    assert "record" in listed
    assert "broker" not in listed, "an inner part is not a user's business"


def test_the_built_in_rules_are_in_order() -> None:
    done = estate("rules", "check")
    assert done.exit_code == 0, done.output
    assert "are in order" in done.output


def test_a_wrong_rule_is_shown_with_line_column_and_a_near_name(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(RULE)
    done = estate("rules", "check", str(file))
    assert done.exit_code == 1
    assert f"{file}:9:" in done.output
    assert "value" in done.output
    file.write_text(RULE.replace("valeu", "value"))
    assert estate("rules", "check", str(file)).exit_code == 0


@pytest.mark.parametrize("command", ["run", "collector", "api", "worker", "simulate", "doctor"])
def test_an_unknown_setting_is_refused_with_the_nearest_name(command: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("broker: {prot: 1883}\n")
    done = estate(command, "--settings", str(file))
    assert done.exit_code == 2
    assert "broker.prot: unknown key; did you mean port?" in done.output


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = estate("edge", str(tmp_path / "nowhere.yaml"))
    assert done.exit_code == 2
    assert "nowhere.yaml" in done.output


def test_a_collector_without_a_topology_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["collector"], env={"ESTATE_DATA": str(tmp_path)})
    assert done.exit_code == 2
    assert "topology" in done.output


def test_plain_http_beyond_loopback_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"data: {tmp_path}\napi: {{host: 0.0.0.0, port: 0}}\n")
    done = estate("api", "--settings", str(file))
    assert done.exit_code == 2
    assert "api.allow_plain_http" in done.output


def test_the_doctor_names_what_is_broken_and_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"data: {tmp_path / 'nothing'}\nbroker: {{port: 1}}\napi: {{port: 1}}\n")
    done = estate("doctor", "--settings", str(file))
    assert done.exit_code == 1
    assert "BAD  broker: 127.0.0.1:1" in done.output
    assert "`estate run`" in done.output
    assert "ok   rules" in done.output


@pytest.mark.parametrize("url", ["nonsense", "postgresql://estate:hunter2@db:port/estate"])
@pytest.mark.parametrize(
    "command",
    [
        ["audit"],
        ["deadletters", "list"],
        ["devices", "unknown"],
        ["collectors", "list"],
        ["sign-in-link"],
        ["collector"],
        ["worker"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_a_wrong_address_of_the_records_is_named_and_never_shown(
    command: list[str], url: str, tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    topology = Path("deploy/topology.yaml").absolute()
    places = f"data: data\ntopology: {topology}\nbroker: {{port: 1}}\n"
    file.write_text(f"{places}records: {{url: '{url}'}}\n")
    done = estate(*command, "--settings", str(file))
    assert done.exit_code == (1 if command == ["doctor"] else 2), done.output
    assert "records.url" in done.output
    assert "postgresql://estate@db.example:5432/estate" in done.output
    assert "hunter2" not in done.output


def test_an_audit_over_a_damaged_log_says_what_can_be_done(tmp_path: Path) -> None:
    Records(f"sqlite:///{tmp_path / 'records.sqlite'}").open().close()
    path = tmp_path / "collector.sqlite"
    journal = Journal(path, owner="c", budget=1 << 24, on_full=OnFull.REFUSE)
    journal.open()
    for number in range(400):
        journal.append(Append("plain/s/d", b"x" * 900, number)).result()
    journal.close()
    content = path.read_bytes()
    path.write_bytes(content[: 3 * 4096] + b"\xa5" * (len(content) - 3 * 4096))
    done = CliRunner().invoke(app, ["audit"], env={"ESTATE_DATA": str(tmp_path)})
    assert done.exit_code == 2, done.output
    assert f"{path}: the journal is damaged" in done.output
    assert "restore a backup or move it away" in " ".join(done.output.split())
