"""What the whole system must show, on real processes."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.town import Town, town, until
from tests.servers import Server, binary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

COLOURS = {"blue", "yellow", "orange", "red"}


def by_rule(alerts: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((alert["rule"], alert["device"]) for alert in alerts)


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
        assert started.audit() > 1000


def plain_events(started: Town) -> None:
    """A hand-written event shows up, a malformed one says which field is wrong."""
    publish = [binary("mosquitto_pub"), "-V", "mqttv5", "-q", "1", "-p", str(started.mqtt_port)]
    topic = "estate/v1/jinxiu/my-pump/event"
    good = '{"kind": "sensor.reading", "data": {"quantity": "level", "value": 1.5, "unit": "m"}}'
    bad = '{"kind": "sensor.reading", "data": {"quantity": "level", "value": "high", "unit": "m"}}'
    for payload in (good, bad):
        subprocess.run([*publish, "-t", topic, "-m", payload], check=True, timeout=10)
    until(
        lambda: [
            letter
            for letter in started.get("deadletters")["items"]
            if letter["field"] == "data.value"
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


def test_kill_9_of_anything_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with town(tmp_path, "--speed", "2", "--scenario", "quiet") as started:
        until(started.online, "every edge is online", 60)
        started.perform("trap", "jinxiu-b5-u1-lift-1")
        for _ in range(2):
            for name in ("broker", "collector", "edge jinxiu-north"):
                started.kill(name)
        until(
            lambda: [a for a in started.alerts() if a["rule"] == "lift-entrapment"],
            "the trapped person is told of",
            90,
        )
        started.perform("free", "jinxiu-b5-u1-lift-1")
        until(
            lambda: [
                a
                for a in started.alerts()
                if a["rule"] == "lift-entrapment" and a["cleared_at"] is not None
            ],
            "freed",
            60,
        )
        raised = by_rule([a for a in started.alerts() if a["rule"] == "lift-entrapment"])
        assert raised == {("lift-entrapment", "jinxiu-b5-u1-lift-1"): 1}
        started.stop()
        assert started.audit() > 300


def test_an_outage_is_silent_about_what_is_over_and_rings_for_what_stands(tmp_path: Path) -> None:
    """Ten minutes without network: one trapped and freed, one trapped and still inside."""
    edge, freed, inside = "jinxiu-north", "jinxiu-b5-u1-lift-1", "jinxiu-b6-u1-lift-1"
    with town(tmp_path, "--speed", "15", "--scenario", "quiet") as started:
        until(started.online, "every edge is online", 60)
        until(lambda: started.heard(freed) and started.heard(inside), "the lifts are heard", 60)
        start = started.now()
        started.perform("cut_edge_network", edge)
        started.perform("trap", freed)
        started.await_time(start + 2 * 60_000)
        started.perform("trap", inside)
        started.await_time(start + 4 * 60_000)
        started.perform("free", freed)
        started.await_time(start + 10 * 60_000)
        assert not started.alerts_of("lift-entrapment", inside), "nobody can know yet"
        started.perform("restore_edge_network", edge)
        rings = until(
            lambda: started.alerts_of("lift-entrapment", inside),
            "the standing entrapment rings",
            60,
        )
        until(
            lambda: [a for a in started.alerts_of("lift-entrapment", freed) if a["late"]],
            "the other is history",
            60,
        )
        (alert,) = started.alerts_of("lift-entrapment", inside)
        (history,) = started.alerts_of("lift-entrapment", freed)
        away = [a for a in started.alerts() if a["rule"] == "edge-offline" and a["key"] == edge]
        assert alert["id"] == rings[0]["id"], "its id was frozen when it was first told"
        assert not alert["late"]
        assert alert["colour"] == "red"
        assert alert["noticed_at"] - alert["began_at"] > 300_000, "it began during the outage"
        assert history["state"] == "normal", "silent: nobody has to acknowledge it"
        assert history["cleared_at"] < alert["noticed_at"]
        assert 180_000 < history["cleared_at"] - history["began_at"] < 300_000
        assert len(away) == 1, "one root alert for the edge"
        silent = [a for a in started.alerts() if a["rule"] == "device-silent"]
        assert not silent, "no device of an absent edge is blamed"
        started.stop()
        started.audit()


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
            lambda: started.get(
                "series", device=meter, kind="meter.reading", field="power_w",
                start=0, end=4_102_444_800_000, every_ms=86_400_000,
            )["samples"],
            "the chart reads from InfluxDB",
            60,
        )  # fmt: skip
        assert samples[0][1] > 0
        assert not (started.data / "series").exists()
        started.stop()
        assert started.audit() > 50


def test_a_second_start_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    with town(tmp_path, "--scenario", "quiet") as started:
        until(lambda: started.get("devices")["items"], "devices are known", 60)
        assert started.stop() < 6
        took = started.start("--scenario", "quiet")
        assert took < 20, "5 s are promised on an idle machine"
        until(started.online, "every edge is back", 60)
        started.stop()
        started.audit()


def test_ports_and_folders_in_use_are_refused_plainly(tmp_path: Path) -> None:
    with town(tmp_path, "--scenario", "quiet") as started:
        command = [shutil.which("estate") or "estate", "run", "--settings", str(started.file)]
        again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert again.returncode == 2
        assert "another `estate run` uses this data folder" in again.stderr
        started.stop()
