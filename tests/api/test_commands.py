"""Commands over HTTP: who may ask, what leaves, who can answer, and the trail of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from core.contracts import topics
from core.contracts.codec import encode, make_event
from core.contracts.commands import Command, Outcome, Reply
from core.contracts.ports import Point
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings
from core.storage.records import accounts
from core.storage.series import open_writer
from tests.api.harness import CSRF, NOW, Running, populate, running
from tests.servers import Server

pytestmark = pytest.mark.mosquitto

EDGE = "jinxiu-b1"
REASON = {"reason": "a resident has no card"}
Answer = Callable[[Command], Reply | None]


class FakeEdge:
    """Takes the commands of one edge, and answers as the test says."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.commands: list[Command] = []
        self.messages: list[Message] = []
        self.answer: Answer = lambda c: Reply(c.id, EDGE, Outcome.DONE, NOW + 5, data={"on": True})
        self.topic = topics.reply("jinxiu", EDGE)
        self.link = Link(broker, LinkOptions(client_id=f"fake-edge-{id(self)}"))
        self.link.subscribe(topics.command("jinxiu", EDGE), self._take, as_published=True)

    def _take(self, message: Message) -> None:
        self.messages.append(message)
        command = msgspec.json.decode(message.payload, type=Command)
        self.commands.append(command)
        reply = self.answer(command)
        if reply is not None:
            self.link.publish(self.topic, encode(reply))


@contextmanager
def edge(run: Running) -> Iterator[FakeEdge]:
    fake = FakeEdge(run.settings.broker)
    fake.link.start()
    try:
        assert fake.link.wait_connected(10)
        yield fake
    finally:
        fake.link.stop()


@pytest.fixture
def api(mosquitto: Server, tmp_path: Path, template: Path) -> Iterator[Running]:
    broker = BrokerSettings(embedded=False, host=mosquitto.host, port=mosquitto.port)
    with running(tmp_path, template=template, broker=broker, mqtt=True) as started:
        populate(started)
        health = started.app.services.health
        for _ in range(100):
            health.forget()
            if {part.name: part.state for part in health.parts()}["mqtt"] == "ok":
                break
            threading.Event().wait(0.1)
        yield started


def ask(client: httpx.Client, device: str = "door-1", **body: Any) -> httpx.Response:
    return client.post(f"/api/v1/devices/{device}/commands", json=body)


def named(run: Running, name: str, role: str) -> httpx.Client:
    """A browser of somebody with a role."""
    client = run.client()
    with run.records.session() as session:
        user = accounts.create_user(session, name, role, run.wall.now_ms())
        accounts.create_link(session, f"link-of-{name}", user.id, run.wall.now_ms(), 2**50)
    client.get("/sign-in", params={"token": f"link-of-{name}"})
    client.headers[CSRF] = client.get("/api/v1/session").json()["csrf"]
    return client


def trail(run: Running, target: str) -> list[tuple[str, dict[str, Any]]]:
    with run.records.reading() as session:
        lines = accounts.list_audit(session, target=target).items
        return [(line.action, dict(line.detail)) for line in reversed(lines)]


def test_a_command_goes_to_the_edge_and_its_reply_comes_back(api: Running) -> None:
    client = api.signed_in()
    with edge(api) as fake:
        answer = ask(client, action="relay_output", params={"on": True, "for_s": 5}, **REASON)
    assert answer.status_code == 200, answer.text
    (command,) = fake.commands
    assert (command.device, command.action, command.params) == (
        "door-1", "relay_output", {"on": True, "for_s": 5},
    )  # fmt: skip
    assert (command.by, command.reason) == ("admin", "a resident has no card")
    assert command.expires_at - command.issued_at == 15_000
    assert command.issued_at == NOW
    assert answer.json() == {
        "id": command.id, "edge": EDGE, "outcome": "done", "reason": "", "at": NOW + 5,
        "data": {"on": True},
    }  # fmt: skip
    assert not fake.messages[0].retained
    asked, ended = trail(api, "device/door-1")
    assert asked[0] == "command.asked"
    assert ended[0] == "command.ended"
    assert ended[1] == {**asked[1], "outcome": "done"}
    assert asked[1]["command"] == command.id


def test_what_the_edge_refuses_is_an_outcome(api: Running) -> None:
    client = api.signed_in()
    with edge(api) as fake:
        fake.answer = lambda c: Reply(c.id, EDGE, Outcome.REFUSED, NOW, "not under commands.unlock")
        body = ask(client, action="unlock", **REASON).json()
    assert (body["outcome"], body["reason"]) == ("refused", "not under commands.unlock")


def test_without_a_reply_nobody_knows(api: Running) -> None:
    client = api.signed_in()
    with edge(api) as fake:
        fake.answer = lambda _: None
        began = time.monotonic()
        body = ask(client, action="report", ttl_s=1).json()
        assert body["outcome"] == "unanswered"
        assert body["at"] is None
        assert 1 <= time.monotonic() - began < 8
    assert trail(api, "device/door-1")[-1][1]["outcome"] == "unanswered"


def test_only_the_edge_that_was_asked_can_answer(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard_api.commands.dispatch.GRACE_S", 0.5)
    client = api.signed_in()
    with edge(api) as fake:
        fake.topic = topics.reply("jinxiu", "another-edge")
        assert ask(client, action="report", ttl_s=1).json()["outcome"] == "unanswered"
        fake.topic = topics.reply("jinxiu", EDGE)
        fake.answer = lambda c: Reply(c.id, "another-edge", Outcome.DONE, NOW)
        assert ask(client, action="report", ttl_s=1).json()["outcome"] == "unanswered"
        fake.answer = lambda _: None
        fake.link.publish(fake.topic, b"\xff nonsense")
        assert ask(client, action="report", ttl_s=1).json()["outcome"] == "unanswered"
    assert api.app.services.commands.strange_replies >= 2


def test_an_edge_that_is_not_connected_is_a_conflict(api: Running) -> None:
    answer = ask(api.signed_in(), action="report")
    assert answer.status_code == 409, answer.text
    assert "not connected" in answer.json()["detail"]
    assert trail(api, "device/door-1")[-1][1]["outcome"] == "not sent"


def test_without_a_broker_nothing_is_asked(run: Running) -> None:
    populate(run)
    answer = ask(run.signed_in(), action="report")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("broker-unavailable")


@pytest.mark.parametrize(
    ("device", "body", "status", "field"),
    [
        ("nobody", {"action": "report"}, 404, None),
        ("door-1", {"action": "unlock"}, 422, "reason"),
        ("door-1", {"action": "relay_output", "reason": "  "}, 422, "reason"),
        ("door-1", {"action": "reload"}, 422, "action"),
        ("door-1", {"action": "report", "ttl_s": 3600}, 422, "ttl_s"),
        ("door-1", {"action": "report", "params": {"x": [1]}}, 422, None),
        ("door-1", {"action": "report", "reason": "x" * 300}, 422, "reason"),
        ("door-1", {"action": "report", "extra": 1}, 422, "extra"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    api: Running, device: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    client = api.signed_in()
    with edge(api) as fake:
        answer = ask(client, device, **body)
    assert answer.status_code == status, answer.text
    if field:
        assert answer.json()["field"] == field
    assert fake.commands == []


def test_who_may_not_does_not(api: Running) -> None:
    with edge(api) as fake:
        assert ask(api.client(), action="report").status_code == 401
        careless = api.signed_in()
        del careless.headers["X-Estate-CSRF"]
        assert ask(careless, action="report").status_code == 403
        viewer = named(api, "wang", "viewer")
        assert ask(viewer, action="report").status_code == 403
        operator = named(api, "li", "operator")
        assert ask(operator, action="report").status_code == 200
        reload = {"action": "reload"}
        assert operator.post(f"/api/v1/edges/{EDGE}/commands", json=reload).status_code == 403
        admin = api.signed_in()
        assert admin.post(f"/api/v1/edges/{EDGE}/commands", json=reload).status_code == 200
        assert [(c.action, c.device) for c in fake.commands] == [
            ("report", "door-1"), ("reload", None),
        ]  # fmt: skip
    assert trail(api, f"edge/{EDGE}")[-1][1]["outcome"] == "done"


def test_what_an_edge_did_is_listed(api: Running) -> None:
    data = {
        "command": "c-1", "action": "relay_output", "target": "siren", "outcome": "done",
        "by": "rule door-duress", "local": True,
    }  # fmt: skip
    event = make_event("edge.command", device=EDGE, at=NOW - 1_000, seen=NOW, data=data)
    writer = open_writer(api.settings)
    writer.write([(1_000, Point(event.at * 1_000_000, "jinxiu", event))], 1_000)
    writer.close()
    found = api.signed_in().get(f"/api/v1/edges/{EDGE}/commands").json()
    assert found == {"items": [{"at": NOW - 1_000, "reason": None, **data}], "complete": True}
    assert api.signed_in().get("/api/v1/edges/nobody/commands").status_code == 404
