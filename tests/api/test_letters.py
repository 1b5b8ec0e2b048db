"""Dead letters and unknown devices over HTTP, carried out by a collector's parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.storage.records import accounts
from tests.api.harness import CSRF, Running, running
from tests.collector.office import EDGE, NOW, SITE, Office, batch, reading
from tests.servers import PostgresServer

REPLAY = {"reason": "the probe sent a word for a number", "raw": reading(power_w=2).decode()}
METER = {
    "node": SITE, "family": "meter", "name": {"zh": "水表", "en": "water meter"},
    "expect_s": 60, "reason": "put in on Monday",
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Office, Running, httpx.Client]]:
    """A collector's parts and an API over the same records, and the administrator's browser."""
    office = Office(tmp_path)
    office.batch(batch(reading(power_w=1), reading(power_w="warm"), reading("ghost")))
    office.fold()
    with running(tmp_path) as run:
        yield office, run, run.signed_in()
    office.close()


def audit(run: Running, target: str) -> list[tuple[str | None, str]]:
    with run.records.reading() as session:
        lines = accounts.list_audit(session, target=target).items
    return [(line.user, line.action) for line in lines]


def post(client: httpx.Client, path: str, **body: Any) -> httpx.Response:
    return client.post(f"/api/v1/{path}", json=body)


def test_a_letter_is_shown_mended_and_replayed(
    site: tuple[Office, Running, httpx.Client],
) -> None:
    office, run, client = site
    [item] = client.get("/api/v1/deadletters", params={"state": "dead"}).json()["items"]
    where = f"deadletters/{item['id']}"
    assert client.get(f"/api/v1/{where}").json() == item
    assert item["raw"] == reading(power_w="warm").decode()

    refused = post(client, f"{where}/replay", reason="as it is")
    assert (refused.status_code, refused.json()["field"]) == (422, "data.power_w")
    assert post(client, f"{where}/replay", raw="{}").json()["field"] == "reason"
    asked = post(client, f"{where}/replay", **REPLAY)
    assert (asked.status_code, asked.json()["state"]) == (202, "asked")
    assert post(client, f"{where}/replay", **REPLAY).status_code == 409
    assert post(client, f"{where}/discard", reason="x").status_code == 409

    office.replays.step()
    office.fold()
    told = client.get(f"/api/v1/{where}").json()
    assert (told["state"], told["why"]) == ("replayed", REPLAY["reason"])
    assert post(client, f"{where}/replay", **REPLAY).status_code == 409
    assert (office.stored(), office.dead()) == (3, 0)
    assert client.get("/api/v1/deadletters", params={"state": "dead"}).json()["items"] == []
    assert audit(run, f"deadletter/{item['id']}") == [
        ("admin", "deadletter.replayed"), ("admin", "deadletter.replay"),
    ]  # fmt: skip
    assert post(client, "deadletters/none/replay", **REPLAY).status_code == 404


def test_a_discarded_letter_is_kept(site: tuple[Office, Running, httpx.Client]) -> None:
    office, run, client = site
    [item] = client.get("/api/v1/deadletters", params={"field": "data.power_w"}).json()["items"]
    done = post(client, f"deadletters/{item['id']}/discard", reason="a test on the bench")
    assert (done.status_code, done.json()["state"], office.dead()) == (200, "discarded", 1)
    assert audit(run, f"deadletter/{item['id']}") == [("admin", "deadletter.discard")]


def test_an_unknown_device_is_listed_and_adopted(
    site: tuple[Office, Running, httpx.Client],
) -> None:
    office, run, client = site
    page = client.get("/api/v1/quarantine").json()
    [ghost] = page["items"]
    assert (page["total"], page["unlisted_events"], page["next"]) == (1, 0, None)
    assert (ghost["id"], ghost["edge"], ghost["events"]) == ("ghost", EDGE, 1)
    assert ghost["sample"]["data"] == {"medium": "electricity", "power_w": 5.0}
    assert client.get("/api/v1/quarantine", params={"edges": True}).json()["items"] == []

    wrong = post(client, "quarantine/ghost/adopt", **METER | {"node": "nowhere"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "node")
    assert post(client, "quarantine/nobody/adopt", **METER).status_code == 404
    assert post(client, "quarantine/ghost/adopt", **METER).json()["body"]["edge"] == EDGE
    office.adoptions.step()
    office.fold()
    assert client.get("/api/v1/devices/ghost").json()["name"]["en"] == "water meter"
    span = {"start": NOW - 1000, "end": NOW + 1000}
    series = {"device": "ghost", "kind": "meter.reading", "field": "power_w", "every_ms": 0}
    assert client.get("/api/v1/series", params=series | span).json()["samples"] == [[NOW, 5.0]]
    assert client.get("/api/v1/quarantine").json()["items"] == []
    [one] = client.get("/api/v1/adoptions").json()["items"]
    assert (one["by"], one["reason"], one["problem"]) == ("admin", "put in on Monday", None)

    assert post(client, "adoptions/ghost/withdraw", reason="not ours").status_code == 204
    assert post(client, "adoptions/ghost/withdraw").status_code == 404
    office.adoptions.step()
    office.batch(batch(reading("ghost"), seq=2))
    office.fold()
    assert post(client, "quarantine/ghost/forget").status_code == 204
    assert post(client, "quarantine/ghost/forget").status_code == 404
    assert audit(run, "device/ghost") == [
        ("admin", "device.forget"), ("admin", "device.withdraw"), ("admin", "device.adopt"),
    ]  # fmt: skip


def test_only_an_administrator_decides(site: tuple[Office, Running, httpx.Client]) -> None:
    _, run, _ = site
    with run.records.session() as session:
        user = accounts.create_user(session, "wang", "operator", run.wall.now_ms())
        accounts.create_link(session, "link-of-wang", user.id, run.wall.now_ms(), 2**50)
    operator = run.client()
    operator.get("/sign-in", params={"token": "link-of-wang"})
    operator.headers[CSRF] = operator.get("/api/v1/session").json()["csrf"]
    assert operator.get("/api/v1/quarantine").status_code == 200
    [item] = operator.get("/api/v1/deadletters").json()["items"]
    for path, body in [
        (f"deadletters/{item['id']}/replay", REPLAY),
        (f"deadletters/{item['id']}/discard", {"reason": "x"}),
        ("quarantine/ghost/adopt", METER),
        ("quarantine/ghost/forget", {}),
        ("adoptions/ghost/withdraw", {}),
    ]:
        assert post(operator, path, **body).status_code == 403


@pytest.mark.postgresql
def test_letters_and_unknown_devices_on_postgresql(
    tmp_path: Path, postgresql: PostgresServer, postgresql_database: str
) -> None:
    office = Office(tmp_path, records_url=postgresql_database)
    office.batch(batch(reading(power_w="warm"), reading("ghost")))
    office.fold()
    [letter] = office.letters()
    office.ask(letter["id"], reading())
    office.replays.step()
    office.fold()
    office.restart()
    assert (office.stored(), office.dead()) == (2, 0)
    office.close()
