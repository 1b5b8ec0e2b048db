"""Acknowledging and commenting: one acknowledges what one saw, and it leaves a trail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from core.contracts.alerts import RuleSide
from core.contracts.colours import Colour
from core.contracts.outputs import StepKind
from core.storage.records import accounts
from tests.api.harness import NOW, Running, alert, raised


@pytest.fixture
def side(run: Running) -> RuleSide:
    side = alert(1, colour=Colour.ORANGE)
    run.apply(raised(side))
    return side


@pytest.fixture
def operator(run: Running) -> httpx.Client:
    return run.signed_in()


def acknowledge(client: httpx.Client, id: str, **body: Any) -> httpx.Response:
    return client.post(f"/api/v1/alerts/{id}/acknowledge", json=body)


def test_acknowledging(run: Running, side: RuleSide, operator: httpx.Client) -> None:
    run.clock.move(seconds=5)
    answer = acknowledge(operator, side.id, revision=1, comment="on my way")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["state"] == "acknowledged"
    assert body["acknowledged_at"] == NOW + 5_000
    assert body["acknowledged_by"] == "admin"
    assert operator.get("/api/v1/alerts").json()["unacknowledged"] == 0
    steps = operator.get(f"/api/v1/alerts/{side.id}").json()["steps"]
    assert [(step["kind"], step["by"], step["text"]) for step in steps] == [
        ("raised", None, None),
        ("acknowledged", "admin", "on my way"),
    ]
    with run.records.reading() as session:
        (line,) = accounts.list_audit(session, target=f"alert/{side.id}").items
    assert (line.user, line.action, line.detail) == ("admin", "alert.acknowledged", {"revision": 1})
    assert line.address == "127.0.0.1"


def test_again_changes_nothing(side: RuleSide, operator: httpx.Client) -> None:
    first = acknowledge(operator, side.id, revision=1).json()
    assert acknowledge(operator, side.id, revision=1).json() == first


def test_what_worsened_meanwhile_is_not_acknowledged(
    run: Running, side: RuleSide, operator: httpx.Client
) -> None:
    worse = alert(1, colour=Colour.RED, revision=2, attention=2, worsened_at=NOW)
    run.apply(raised(worse, StepKind.WORSENED))
    answer = acknowledge(operator, side.id, revision=1)
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["type"].endswith(":worsened")
    assert problem["field"] == "revision"
    assert "revision 2" in problem["detail"]
    now = operator.get(f"/api/v1/alerts/{side.id}").json()
    assert (now["state"], now["colour"]) == ("unacknowledged", "red")
    assert acknowledge(operator, side.id, revision=2).json()["state"] == "acknowledged"


def test_a_revision_that_there_is_not_yet(side: RuleSide, operator: httpx.Client) -> None:
    answer = acknowledge(operator, side.id, revision=7)
    assert (answer.status_code, answer.json()["field"]) == (422, "revision")


def test_two_at_once_leave_one_acknowledgement(run: Running, side: RuleSide) -> None:
    clients = [run.signed_in() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda client: acknowledge(client, side.id, revision=1), clients))
    assert {answer.status_code for answer in answers} == {200}
    steps = clients[0].get(f"/api/v1/alerts/{side.id}").json()["steps"]
    assert [step["kind"] for step in steps].count("acknowledged") == 1


def test_comments(run: Running, side: RuleSide, operator: httpx.Client) -> None:
    text = "<script>alert(1)</script> =1+1 灯笼 \x00"
    answer = operator.post(f"/api/v1/alerts/{side.id}/comment", json={"text": text})
    assert answer.status_code == 200
    assert answer.json()["steps"][-1]["text"] == text.replace("\x00", "\ufffd")
    assert answer.json()["state"] == "unacknowledged"
    empty = operator.post(f"/api/v1/alerts/{side.id}/comment", json={"text": ""})
    assert (empty.status_code, empty.json()["field"]) == (422, "text")
    with run.records.reading() as session:
        (line,) = accounts.list_audit(session, target=f"alert/{side.id}").items
    assert line.action == "alert.commented"


def test_unknown_alerts(run: Running, operator: httpx.Client) -> None:
    unknown = alert(9).id
    assert operator.get(f"/api/v1/alerts/{unknown}").status_code == 404
    assert acknowledge(operator, unknown, revision=1).status_code == 404
    answer = operator.post(f"/api/v1/alerts/{unknown}/comment", json={"text": "x"})
    assert answer.status_code == 404
    with run.records.reading() as session:
        assert not accounts.list_audit(session, target=f"alert/{unknown}").items
    assert operator.get("/api/v1/alerts/not-an-id").status_code == 422
