"""What a newcomer sees: colours, plain events, InfluxDB; on real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.town import Town, town, until
from tests.servers import Server, binary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

COLOURS = {"blue", "yellow", "orange", "red"}


def test_the_showcase_raises_every_colour_survives_kills_and_clears(tmp_path: Path) -> None:
    with town(tmp_path, "--speed", "4") as started:
        until(
            lambda: {a["colour"] for a in started.alerts()} >= COLOURS,
            "an alert of each colour",
            120,
        )
        for name in ("broker", "collector", "edge jinxiu-north"):
            started.kill(name)
        for colour in COLOURS:
            until(
                lambda colour=colour: [
                    a for a in started.alerts(colour=colour) if a["cleared_at"] is not None
                ],
                f"a {colour} alert is cleared",
                120,
            )
        trapped = [a for a in started.alerts() if a["rule"] == "lift-entrapment"]
        assert len({(a["device"], a["began_at"]) for a in trapped}) == len(trapped), "none doubled"
        plain_events(started)
        assert_acknowledged(started)
        assert started.stop() < 6
        assert started.audit(dead=1) > 1000


def plain_events(started: Town) -> None:
    """A hand-written event rings in the console, a malformed one says which field is wrong."""
    publish = [binary("mosquitto_pub"), "-V", "5", "-q", "1", "-p", str(started.mqtt_port)]
    topic = "estate/v1/jinxiu/jinxiu-b1-u1-door/event"
    good = '{"kind": "access.forced", "data": {"raw_code": "by hand"}}'
    bad = '{"kind": "access.held_open", "data": {"open_s": "long"}}'
    for payload in (good, bad):
        subprocess.run([*publish, "-t", topic, "-m", payload], check=True, timeout=10)
    until(lambda: started.alerts_of("door-forced", "jinxiu-b1-u1-door"), "the alert rings", 20)
    span = {"start": 0, "end": 4_102_444_800_000}

    def stored() -> list[dict[str, Any]]:
        events = started.get("devices/jinxiu-b1-u1-door/events", **span)
        return [e for e in events["items"] if e["data"].get("raw_code") == "by hand"]

    until(stored, "it is stored", 20)  # rules and stores follow the log each at its own pace
    until(
        lambda: [
            letter
            for letter in started.get("deadletters")["items"]
            if letter["field"] == "data.open_s"
        ],
        "the malformed event is a dead letter that names its field",
        20,
    )


def assert_acknowledged(started: Town) -> None:
    alert = started.alerts(state="unacknowledged")[0]
    path = f"alerts/{alert['id']}/acknowledge"
    answer = started.post(path, {"revision": alert["attention"], "comment": "on my way"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] in ("acknowledged", "normal")
    kinds = [step["kind"] for step in started.get(f"alerts/{alert['id']}")["steps"]]
    assert kinds[0] == "raised"
    assert "acknowledged" in kinds


@pytest.mark.influxdb
def test_the_same_run_fills_a_real_influxdb(
    tmp_path: Path, influxdb: Server, influxdb_database: str
) -> None:
    series = {
        "kind": "influxdb",
        "influxdb": {"url": influxdb.url, "version": 1, "database": influxdb_database},
    }
    with town(tmp_path, "--scenario", "quiet", series=series) as started:
        meter = until(
            lambda: next(iter(started.get("devices", family="meter")["items"]), None),
            "the meters are known",
            60,
        )["id"]
        samples = until(
            lambda: started.samples(meter, "meter.reading", "power_w"),
            "the chart reads from InfluxDB",
            60,
        )
        assert samples[0][1] > 0
        assert not (started.data / "series").exists()
        started.stop()
        assert started.audit() > 50


def test_ports_and_folders_in_use_are_refused_plainly(tmp_path: Path) -> None:
    with town(tmp_path, "--scenario", "quiet") as started:
        command = [sys.executable, "-m", "estate", "run", "--settings", str(started.file)]
        again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert again.returncode == 2
        assert "another `estate run` uses this data folder" in again.stderr
        started.stop()
