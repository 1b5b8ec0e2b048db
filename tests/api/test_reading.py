"""Reading the tree, devices, alerts, edges, letters, colours, snapshots and the system."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from core.contracts.colours import Colour
from core.contracts.outputs import Output
from core.storage.media import MediaStore, new_media_id
from core.storage.records import accounts, counters, processes, projection, refusals
from tests.api.harness import NOW, Running, alert, populate, raised

SEQUENCE = "x-estate-sequence"
Get = Callable[..., Any]


@pytest.fixture
def get(reader: httpx.Client) -> Get:
    def ask(path: str, **params: Any) -> Any:
        answer = reader.get(f"/api/v1/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


def test_tree(reader: httpx.Client, estate: Running) -> None:
    answer = reader.get("/api/v1/tree")
    tree = answer.json()
    assert tree["datum"] == "wgs84"
    assert tree["coverage_minimum"] == 0.5
    assert [node["id"] for node in tree["nodes"]][:4] == ["street", "west", "grid", "jinxiu"]
    nodes = {node["id"]: node for node in tree["nodes"]}
    assert nodes["b1"]["colour"] == "red"
    assert nodes["b1"]["site"] == "jinxiu"
    assert nodes["b1"]["geometry"]["height_m"] == 54
    assert nodes["b2"]["colour"] == "grey"
    assert tree["groups"] == [
        {"id": "towers", "name": {"zh": "towers", "en": "towers"}, "members": ["b1"]}
    ]
    assert int(answer.headers[SEQUENCE]) == estate.app.services.hub.seq > 0


def test_devices_are_filtered_and_paged(get: Get) -> None:
    def ids(**params: Any) -> list[str]:
        return [item["id"] for item in get("devices", **params)["items"]]

    everything = ["door-1", "door-2", "door-3", "lift-1", "meter-1"]
    assert ids() == everything
    assert ids(node="b1") == ["lift-1", "meter-1"]
    assert ids(node="jinxiu") == everything
    assert ids(node="nowhere") == []
    assert ids(family="door") == ["door-1", "door-2", "door-3"]
    assert ids(presence="offline") == ["door-1"]
    assert ids(presence="unknown") == ["door-2", "door-3", "meter-1"]
    assert ids(q="设备DOOR-2") == ["door-2"]
    assert ids(q="%") == []
    first = get("devices", limit=2)
    assert [item["id"] for item in first["items"]] == everything[:2]
    second = get("devices", limit=3, after=first["next"])
    assert [item["id"] for item in second["items"]] == everything[2:]
    assert second["next"] is None


def test_one_device(get: Get, reader: httpx.Client) -> None:
    device = get("devices/lift-1")
    assert [part["id"] for part in device["path"]] == ["street", "west", "grid", "jinxiu", "b1"]
    assert (device["presence"], device["presence_since"]) == ("online", NOW - 60_000)
    assert device["last_heard"] == NOW - 10_000, "its newest word, not when it came online"
    assert device["latest_known"] is True
    assert device["latest"] == [
        {"at": NOW - 10_000, "kind": "elevator.alarm_button", "data": {"active": True}}
    ]
    assert [item["id"] for item in device["alerts"]] == [alert(1).id, alert(3).id]
    missing = reader.get("/api/v1/devices/lift-9")
    assert missing.status_code == 404
    assert "lift-9" in missing.json()["detail"]


def test_a_list_does_not_say_when_a_device_that_is_online_was_last_heard(get: Get) -> None:
    devices = {item["id"]: item for item in get("devices")["items"]}
    assert devices["lift-1"]["last_heard"] is None
    assert devices["lift-1"]["presence_since"] == NOW - 60_000
    assert devices["door-1"]["presence_since"] == NOW - 60_000
    assert devices["door-2"]["presence_since"] is None


def test_events_of_a_device(get: Get, reader: httpx.Client) -> None:
    page = get("devices/meter-1/events", limit=10)
    assert page["complete"] is False
    assert [item["data"]["power_w"] for item in page["items"]] == [99.0 - n for n in range(10)]
    window = get("devices/meter-1/events", start=NOW - 3_000, end=NOW - 1_000)
    assert [item["at"] for item in window["items"]] == [NOW - 2_000, NOW - 3_000]
    assert window["complete"] is True
    assert get("devices/meter-1/events", kind="device.health")["items"] == []
    assert page["next"].endswith(".meter.reading")
    pages, before = [page], page["next"]
    while before:
        pages.append(get("devices/meter-1/events", limit=37, before=before))
        before = pages[-1]["next"]
    ats = [event["at"] for part in pages for event in part["items"]]
    assert len(ats) == 100
    assert ats == sorted(set(ats), reverse=True)
    assert [part["complete"] for part in pages] == [False, False, False, True]
    bad = reader.get("/api/v1/devices/meter-1/events", params={"before": "yesterday"})
    assert (bad.status_code, bad.json()["field"]) == (422, "before")
    assert reader.get("/api/v1/devices/nobody/events").status_code == 404
    near = reader.get("/api/v1/devices/meter-1/events", params={"kind": "meter.readings"}).json()
    assert near["field"] == "kind"
    assert "did you mean meter.reading?" in near["detail"]


def test_alerts_are_listed_filtered_and_counted(get: Get) -> None:
    def ids(**params: Any) -> list[str]:
        return [item["id"] for item in get("alerts", **params)["items"]]

    one, two, three = (alert(number).id for number in (1, 2, 3))
    assert ids() == [three, two, one]
    assert ids(order="urgency") == [one, two, three]
    assert ids(state="standing") == [two, one]
    assert ids(state="unacknowledged") == [three, two, one]
    assert ids(state="history") == []
    assert ids(colour="yellow") == [two]
    assert ids(node="b2") == [two]
    assert ids(device="lift-1") == [three, one]
    page = get("alerts")
    assert page["counts"] == {"red": 1, "orange": 0, "yellow": 1, "blue": 1}
    assert page["unacknowledged"] == 3
    assert get("alerts", node="b2")["counts"]["red"] == 0
    states = {item["id"]: item["state"] for item in page["items"]}
    assert states == {one: "unacknowledged", two: "unacknowledged", three: "rtn_unacknowledged"}


@pytest.mark.parametrize("order", ["noticed", "urgency"])
def test_alerts_are_paged_without_gap_or_repetition(run: Running, order: str) -> None:
    colours = [Colour.RED, Colour.BLUE, Colour.ORANGE]
    sides = [alert(n, colour=colours[n % 3], noticed_at=NOW + n // 2) for n in range(25)]
    run.apply(*map(raised, sides))
    client = run.signed_in()
    seen: list[str] = []
    before = None
    for _ in range(10):
        params = {"limit": 7, "order": order} | ({"before": before} if before else {})
        page = client.get("/api/v1/alerts", params=params).json()
        seen += [item["id"] for item in page["items"]]
        before = page["next"]
        if before is None:
            break
    assert len(seen) == len(set(seen)) == 25
    assert set(seen) == {side.id for side in sides}


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("alerts", {"limit": 0}, "limit"),
        ("alerts", {"limit": 501}, "limit"),
        ("alerts", {"state": "shut"}, "state"),
        ("alerts", {"colour": "grey"}, "colour"),
        ("alerts", {"before": "nonsense"}, "before"),
        ("alerts", {"node": "../x"}, "node"),
        ("devices", {"limit": "many"}, "limit"),
        ("devices", {"family": "toaster"}, "family"),
        ("deadletters", {"before": "x"}, "before"),
        ("losses", {"limit": -1}, "limit"),
        ("colours/history", {"node": "b1", "start": 5, "end": 5}, "end"),
        ("colours/history", {"node": "b1", "start": 5}, "end"),
        ("live", {"since": -1}, "since"),
    ],
)
def test_bad_parameters_are_named(
    reader: httpx.Client, path: str, params: dict[str, Any], field: str
) -> None:
    answer = reader.get(f"/api/v1/{path}", params=params)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == field


def test_edges_and_losses(get: Get) -> None:
    (edge,) = get("edges")
    assert edge["id"] == "jinxiu-b1"
    assert edge["online"] is True
    assert edge["drained"] is True
    assert edge["devices"] == 5
    (loss,) = get("losses")["items"]
    assert loss["events"] == 50
    assert get("losses", edge="other")["items"] == []


def test_dead_letters_are_paged(run: Running) -> None:
    letters = [
        refusals.DeadLetter(n, 0, NOW, "plain/jinxiu/x", "bad", "data.value", b"\xff<b>")
        for n in range(5)
    ]
    with run.records.session() as session:
        refusals.add_dead_letters(session, letters, NOW)
    client = run.signed_in()
    first = client.get("/api/v1/deadletters", params={"limit": 3}).json()
    assert [item["pos"] for item in first["items"]] == [4, 3, 2]
    assert first["items"][0]["field"] == "data.value"
    rest = client.get("/api/v1/deadletters", params={"limit": 3, "before": first["next"]}).json()
    assert [item["pos"] for item in rest["items"]] == [1, 0]
    assert rest["next"] is None


def test_colours_of_the_past(get: Get, reader: httpx.Client) -> None:
    at = NOW - 60_000
    history = get("colours/history", node="b1", start=at + 10_000, end=NOW)
    assert [(change["at"], change["colour"]) for change in history["changes"]] == [
        (at, "green"),
        (at + 30_000, "red"),
    ]
    assert history["complete"] is True
    missing = reader.get("/api/v1/colours/history", params={"node": "x", "start": 0, "end": 9})
    assert missing.status_code == 404


def test_a_snapshot_is_shown_and_its_view_is_kept(run: Running) -> None:
    jpeg = b"\xff\xd8\xff\xe0 picture \xff\xd9"
    media = new_media_id(datetime.fromtimestamp(NOW / 1000, UTC).date())
    MediaStore(run.settings.data / "media").put(media, jpeg, {"device": "cam-1"})
    client = run.signed_in()
    answer = client.get(f"/api/v1/media/{media}", params={"reason": "fire lane"})
    assert answer.content == jpeg
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    with run.records.reading() as session:
        (line,) = accounts.list_audit(session, target=f"media/{media}").items
    assert (line.user, line.action, line.address) == ("admin", "media.viewed", "127.0.0.1")
    assert line.detail == {"device": "cam-1", "reason": "fire lane"}
    assert client.get(f"/api/v1/media/{new_media_id(date(2025, 1, 1))}").status_code == 404
    for bad in ("..%2F..%2Frecords.sqlite", "x", "%00"):
        assert client.get(f"/api/v1/media/{bad}").status_code in (404, 422)


def test_system(run: Running) -> None:
    with run.records.session() as session:
        processes.set_process(session, "collector", "running", 4711, 2, NOW, "restarted 2 times")
        counters.add(session, "things", 3)
    populate(run)
    system = run.signed_in().get("/api/v1/system").json()
    assert system["clock"] == {"now": NOW, "speed": 1.0}
    assert system["processes"][0]["restarts"] == 2
    assert system["counters"]["things"] == 3
    assert system["counters"]["devices_online"] == 1
    assert system["series"]["kind"] == "embedded"


def test_health_needs_no_sign_in_and_says_what_is_unknown(run: Running) -> None:
    health = run.client().get("/api/v1/health").json()
    parts = {part["name"]: part["state"] for part in health["parts"]}
    assert parts["records"] == "ok"
    assert parts["live"] == "ok"
    assert parts["mqtt"] == "unknown"
    assert parts["rules"] == "unknown"
    assert parts["processes"] == "unknown"
    assert health["time"] == NOW


def test_health_is_degraded_when_a_process_is_gone(run: Running) -> None:
    with run.records.session() as session:
        processes.set_process(session, "collector", "running", 2**22 + 1, 0, NOW)
        processes.set_process(session, "worker", "down", None, 3, NOW, "killed by SIGKILL")
        projection.save_cursor(session, "rules/log", 5, None)
    health = run.app.services.health
    health.forget()
    parts = {part.name: part for part in health.parts()}
    assert parts["collector"].state == "down"
    assert parts["worker"].message == "killed by SIGKILL"
    assert parts["rules"].state == "unknown"
    with run.records.session() as session:
        projection.save_cursor(session, "rules/log", 6, None)
    health.forget()
    assert {part.name: part.state for part in health.parts()}["rules"] == "ok"
    assert run.client().get("/api/v1/health").json()["status"] == "degraded"


def test_records_that_are_down_are_said_to_be(run: Running, monkeypatch: Any) -> None:
    from core.contracts.errors import StoreUnavailableError

    client = run.signed_in()

    def down(*_: object) -> list[Output]:
        raise StoreUnavailableError("no route to the database")

    monkeypatch.setattr("dashboard_api.tree.endpoints.tree_view", down)
    answer = client.get("/api/v1/tree")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "database" not in answer.text
