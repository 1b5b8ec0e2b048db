"""Asking a device for something from its page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from core.contracts.commands import Action, Command, Outcome, Reply
from core.contracts.topology import DeviceFamily
from dashboard_api.commands.dispatch import Dispatcher
from tests.web.harness import METER, Site, Watched

pytestmark = pytest.mark.chromium


@pytest.fixture
def asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """What would have gone to the edge; a door is refused, anything else is done."""
    commands: list[Command] = []

    async def ask(_self: Dispatcher, _site: str, edge: str, command: Command) -> Reply:
        commands.append(command)
        refused = command.action is Action.UNLOCK
        outcome = Outcome.REFUSED if refused else Outcome.DONE
        reason = "not listed <b>here</b>" if refused else ""
        return Reply(command.id, edge, outcome, command.issued_at + 5, reason)

    monkeypatch.setattr(Dispatcher, "ask", ask)
    return commands


def test_a_device_is_read_now(watched: Watched, site: Site, asked: list[Command]) -> None:
    page = watched.page
    page.goto(f"/devices/{METER}")
    expect(page.get_by_test_id("command-unlock")).to_have_count(0)
    expect(page.get_by_test_id("command-snapshot")).to_have_count(0)
    page.get_by_test_id("command-report").click()
    expect(page.get_by_text("已完成：立即读取")).to_be_visible()
    assert [(c.action, c.device) for c in asked] == [(Action.REPORT, METER)]
    assert watched.surprises == []


def test_a_door_is_unlocked_with_a_reason_only(
    watched: Watched, site: Site, asked: list[Command]
) -> None:
    door = next(
        device.id for device in site.topology.devices
        if device.family is DeviceFamily.DOOR and device.edge is not None
    )  # fmt: skip
    page = watched.page
    page.goto(f"/devices/{door}")
    page.get_by_test_id("command-unlock").click()
    confirm = page.get_by_test_id("unlock-confirm")
    expect(confirm).to_be_disabled()
    page.get_by_test_id("unlock-reason").fill("   ")
    expect(confirm).to_be_disabled()
    page.keyboard.press("Escape")
    expect(confirm).to_have_count(0)
    page.get_by_test_id("command-unlock").click()
    page.get_by_test_id("unlock-reason").fill("住户忘带门禁卡")
    confirm.click()
    expect(page.get_by_text("被拒绝：开门（not listed <b>here</b>）")).to_be_visible()
    (command,) = asked
    assert (command.action, command.reason) == (Action.UNLOCK, "住户忘带门禁卡")
    assert watched.surprises == []


def test_without_a_broker_it_is_said_so(watched: Watched, site: Site) -> None:
    watched.expected += ["503"]
    page = watched.page
    page.goto(f"/devices/{METER}")
    page.get_by_test_id("command-report").click()
    expect(page.get_by_text("未下达")).to_be_visible()
    assert watched.surprises == []
