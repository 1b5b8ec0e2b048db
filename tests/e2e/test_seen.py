"""What can be seen of a running town: metrics, the way of an event through the logs, the doctor.

One town for all of it: every process, on its own port, with JSON logs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from estate.cli import app
from estate.doctor import flow
from scripts.metrics_reference import TABLES
from tests.e2e.town import Town, town, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DOOR = "jinxiu-b1-u1-door"
#: Counters of what need not happen within a few seconds have no sample until it does.
ONLY_WHEN_IT_HAPPENS = {
    "estate_edge_evicted_events_total",
    "estate_edge_commands_total",
    "estate_collector_rules_not_folded",
    "estate_collector_alert_steps_total",
    "estate_collector_process_cpu_seconds_total",
    "estate_collector_process_resident_memory_bytes",
}

#: Making one takes longer than asking a process.
CLIENT = httpx.Client(timeout=10, verify=False)
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("seen")
    log = {"level": "debug", "json_lines": True}
    with town(folder, "--speed", "4", "--scenario", "quiet", log=log) as started:
        until(started.online, "every edge is online", 60)
        until(lambda: started.heard(DOOR), "the door is heard", 60)
        yield started


def scraped(target: str) -> tuple[dict[str, str], Samples]:
    """Return (kind of each family, samples of each name) as Prometheus reads them."""
    answer = CLIENT.get(f"http://{target}/metrics")
    assert answer.status_code == 200
    kinds, samples = {}, Samples()
    for family in text_string_to_metric_families(answer.text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kinds[name] = family.type
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found = samples.setdefault(sample.name, {})
            assert labels not in found, "a sample comes once"
            found[labels] = sample.value
    return kinds, samples


def targets(started: Town) -> dict[str, str]:
    """Return the address of each process, from the files that Prometheus reads."""
    found = {}
    for path in (started.data / "metrics").glob("*.json"):
        (group,) = json.loads(path.read_text())
        (found[group["labels"]["process"]],) = group["targets"]
    return found


def test_every_process_tells_what_the_tables_promise(running: Town) -> None:
    everyone = {"supervisor", "collector", "worker", "api", "simulators"}
    found = until(lambda: set(targets(running)) >= everyone and targets(running), "addresses", 20)
    edges = {name for name in found if name.startswith("edge-")}
    assert set(found) == everyone | edges
    assert len(edges) == len(running.get("edges"))
    common, link = list(TABLES.values())[:2]
    for process, target in found.items():
        assert target.startswith("127.0.0.1:")
        kinds, samples = scraped(target)
        table = TABLES["edge" if process in edges else process] + common
        if process in edges | {"collector", "api"}:
            table += link
        declared = {spec.name: spec.kind for spec in table}
        assert kinds == declared, process
        for spec in table:
            if spec.name in ONLY_WHEN_IT_HAPPENS or spec.kind == "histogram":
                continue
            assert samples.get(spec.name), f"{process} has no sample of {spec.name}"
            for labels in samples[spec.name]:
                assert {name for name, _ in labels} == set(spec.labels)
        assert samples["estate_scrape_sources_failed"][()] == 0, process
        assert samples["process_cpu_seconds_total"][()] > 0


def test_what_is_told_agrees_with_what_the_console_shows(running: Town) -> None:
    found = targets(running)

    def sums() -> dict[str, float]:
        told: dict[str, float] = {}
        for target in found.values():
            for name, values in scraped(target)[1].items():
                told[name] = told.get(name, 0) + sum(values.values())
        return told

    before = sums()
    assert before["estate_edge_events_total"] > 0
    assert before["estate_records_devices"] == len(running.get("devices")["items"])
    assert before["estate_edge_devices"] > 0
    assert before["estate_supervisor_process_up"] == len(running.processes())
    points = before["estate_collector_series_points_total"]
    until(lambda: sums()["estate_collector_series_points_total"] > points, "it goes on", 20)
    after = sums()
    assert after["estate_collector_ticks_total"] > before["estate_collector_ticks_total"]
    assert after["estate_collector_receipts_total"] > 0
    assert after["estate_api_requests_total"] > before["estate_api_requests_total"]


def lines_of(started: Town) -> list[dict[str, Any]]:
    """Return every JSON line of every log; beside them are the words that greet a person."""
    return [
        json.loads(line)
        for path in (started.data / "logs").glob("*.log")
        for line in path.read_text().splitlines()
        if line.startswith("{")
    ]


def forced(running: Town) -> dict[str, Any]:
    """Force the door and return the alert; again, where somebody held it open just then."""
    for _ in range(4):
        with contextlib.suppress(AssertionError):
            running.perform("force_door", DOOR)
        with contextlib.suppress(AssertionError):
            found = until(lambda: running.alerts_of("door-forced", DOOR), "the alert rings", 10)
            return dict(found[0])
    raise AssertionError("no alert of four forced doors")


def test_an_alert_is_followed_back_to_the_edge_by_one_id(running: Town) -> None:
    alert = forced(running)
    answer = running.http.post(
        f"/api/v1/alerts/{alert['id']}/acknowledge",
        json={"revision": alert["attention"], "comment": ""},
        headers={
            "X-Estate-CSRF": running.csrf,
            "Origin": running.url,
            "X-Request-ID": "watch-desk-0815",
        },
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Request-ID"] == "watch-desk-0815"
    origin = alert["reason"]["event"]
    batch = "/".join(str(origin[part]) for part in ("edge", "epoch", "lane", "seq"))

    def way() -> dict[tuple[str, str], dict[str, Any]] | None:
        found = {
            (line["process"], line["event"]): line
            for line in lines_of(running)
            if line.get("batch") == batch or batch in line.get("batches", ())
        }
        return found if (f"edge-{origin['edge']}", "batches receipted") in found else None

    found = until(way, "the whole way is logged", 20)
    edge = f"edge-{origin['edge']}"
    assert set(found) >= {
        (edge, "batch journalled"),
        (edge, "batches sent"),
        ("collector", "batches journalled"),
        (edge, "batches receipted"),
        ("collector", "alert"),
        ("api", "alert acknowledged"),
    }
    journalled = found["collector", "batches journalled"]
    assert 0 < journalled["first_pos"] <= journalled["last_pos"]
    raised = found["collector", "alert"]
    assert (raised["alert"], raised["rule"]) == (alert["id"], "door-forced")
    assert raised["index"] == origin["index"]
    seen = found["api", "alert acknowledged"]
    assert (seen["alert"], seen["revision"]) == (alert["id"], alert["attention"])
    assert seen["request"] == "watch-desk-0815"
    (access,) = (
        line
        for line in lines_of(running)
        if line["event"] == "request" and line.get("request") == "watch-desk-0815"
    )
    assert (access["method"], access["status"]) == ("POST", 200)


def test_a_request_id_that_is_none_is_replaced_and_no_token_is_logged(running: Town) -> None:
    for given in ("short", "x" * 65, "with space", '{"a": 1}'):
        answer = running.http.get("/api/v1/health", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] != given
        assert len(answer.headers["X-Request-ID"]) == 32
    log = (running.data / "logs" / "api.log").read_text()
    assert "/sign-in" in log
    assert "token=" not in log


def doctor(started: Town) -> tuple[int, list[dict[str, Any]]]:
    ports = {
        "ESTATE_API__PORT": started.url.rpartition(":")[2],
        "ESTATE_BROKER__PORT": str(started.mqtt_port),
    }
    done = CliRunner().invoke(app, ["doctor", "--settings", str(started.file), "--json"], env=ports)
    assert done.exit_code in (0, 1), done.output
    told = json.loads(done.stdout)
    assert told["ok"] is (done.exit_code == 0)
    return done.exit_code, told["findings"]


def test_the_doctor_finds_nothing_in_a_town_that_is_well_and_everything_in_one_that_is_not(
    running: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "_AGAIN_S", 0.1)  # it ticks, or it does not
    code, findings = doctor(running)
    assert code == 0, [finding for finding in findings if not finding["ok"]]
    with running.http.stream("GET", "/api/v1/live") as reader:
        assert reader.status_code == 200
        running.process.terminate()  # also with a reader who never lets go
        assert running.process.wait(10) == 0
    words = running.said() + "".join(
        path.read_text() for path in (running.data / "logs").glob("*.log")
    )
    assert "did not stop in time" not in words, "nobody had to be killed"
    assert "not stopped in time" not in words
    assert running.audit() > 0, "what was journalled is stored"
    code, findings = doctor(running)
    assert code == 1
    bad = {f["part"]: f for f in findings if not f["ok"]}
    assert set(bad) == {"broker", "collector", "processes", "edges", "console"}
    assert "does not run" in bad["collector"]["text"]
    assert bad["collector"]["since"] is not None
    assert all(finding["remedy"] for finding in bad.values())
    assert not list((running.data / "metrics").glob("*.json")), "nobody is asked any more"
