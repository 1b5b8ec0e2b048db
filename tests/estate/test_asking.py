"""``estate command``: straight over the broker to a running edge."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from estate.cli import app
from tests.edge.agent import SITE, Agent
from tests.edge.drivers.support import run
from tests.edge.probe import Probes, install
from tests.servers import Server
from tests.wire.harness import topology


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    return install(monkeypatch)


def estate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def settings(folder: Path, port: int, edge: str) -> str:
    raw = topology(edge, "door-1", "alone")
    raw["nodes"][1]["id"] = raw["edges"][0]["site"] = SITE
    for device in raw["devices"]:
        device["node"] = SITE
    del raw["devices"][1]["edge"]
    tree = folder / "tree.yaml"
    tree.write_text(json.dumps(raw), encoding="utf-8")
    file = folder / "settings.yaml"
    broker = {"embedded": False, "port": port}
    file.write_text(yaml.safe_dump({"broker": broker, "topology": str(tree)}), encoding="utf-8")
    return str(file)


@pytest.mark.mosquitto
def test_a_command_is_sent_and_its_outcome_printed(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    door = {"driver": "probe", "devices": ["door-1"], "can": ["relay_output", "unlock"]}

    async def scene() -> None:
        a = Agent(
            tmp_path, port=mosquitto.port, drivers=[door], commands={"relay_output": ["door-1"]}
        )
        file = settings(tmp_path, mosquitto.port, a.edge)

        async def typed(*arguments: str) -> Result:
            return await asyncio.to_thread(estate, "command", *arguments, "--settings", file)

        away = await typed("door-1", "report")
        assert away.exit_code == 2
        assert "not connected" in away.output
        async with a:
            await a.until(lambda: a.app.uplink._link.connected)
            done = await typed(
                "door-1", "relay_output", "--param", "on=true", "--param", "for_s=5",
                "--reason", "a test",
            )  # fmt: skip
            assert done.exit_code == 0, done.output
            assert "done" in done.output
            assert probes.acts[0][2] == {"on": True, "for_s": 5}
            (audit,) = a.told("edge.command")
            assert audit["by"].endswith("at the command line")
            assert audit["reason"] == "a test"
            refused = await typed("door-1", "unlock")
            assert refused.exit_code == 1
            assert "commands.unlock" in refused.output
            done = await typed(a.edge, "reload")
            assert done.exit_code == 0, done.output

    run(scene(), 60)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nobody", "report"), "no device and no edge nobody"),
        (("alone", "report"), "speaks for itself"),
        (("door-1", "explode"), "known are"),
        (("door-1", "report", "--param", "on"), "name=value"),
        (("e-1", "unlock"), "only report and reload"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    done = estate("command", *arguments, "--settings", settings(tmp_path, 9, "e-1"))
    assert done.exit_code == 2
    assert why in " ".join(done.output.split())
