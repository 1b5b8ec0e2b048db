"""The operator's page in a real browser: alerts arrive, ring, are acknowledged, and resume."""

from __future__ import annotations

import dataclasses
import re
import time

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core.contracts.colours import Colour
from core.contracts.outputs import ColourOutput, StepKind
from tests.web.harness import Site, Watched, raised, until, watching

pytestmark = pytest.mark.chromium

TRAPPED = ("电梯困人：1号楼", "Trapped in a lift, building 1")
HELD = ("门未关：3号楼", "Door held open, building 3")
MUTED = ("离线期间的告警", "While away")
#: A page that cannot have a SharedWorker takes the other ways to share a connection.
WITHOUT_WORKER = "delete window.SharedWorker"
COUNT_TONES = """
  window.tones = 0;
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (...args) {
    window.tones += 1;
    start.apply(this, args);
  };
"""


def is_live(page: Page) -> None:
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "live")


def test_an_alert_appears_live_and_leaves_when_it_is_over_and_seen(
    watched: Watched, site: Site
) -> None:
    page = watched.page
    is_live(page)
    expect(page.get_by_test_id("nothing")).to_contain_text("目前没有已知的异常")
    expect(page.get_by_test_id("coverage")).to_contain_text("104 台设备中有 104 台")
    page.evaluate("window.sameDocument = true")
    alert = site.alert("lift", Colour.RED, TRAPPED)
    site.say(
        raised(alert), ColourOutput("jinxiu-b1", alert.raised_at, Colour.RED, Colour.RED, 12, 12)
    )
    card = page.get_by_test_id("alert")
    expect(card).to_contain_text(TRAPPED[0])
    expect(card).to_contain_text("1号楼 › 1单元")
    expect(page.get_by_test_id("count-red")).to_contain_text("1")
    expect(page.locator('[data-place="jinxiu-b1"]')).to_have_attribute("data-colour", "red")
    cleared = dataclasses.replace(alert, revision=2, cleared_at=site.clock.now_ms())
    site.say(raised(cleared, StepKind.CLEARED))
    expect(card).to_contain_text("已恢复 · 待确认")
    expect(page.get_by_test_id("count-red")).to_contain_text("0")
    card.get_by_test_id("acknowledge").click()
    expect(page.get_by_test_id("nothing")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True


def test_a_comment_goes_with_the_acknowledgement_and_stands_in_the_timeline(
    watched: Watched, site: Site
) -> None:
    page = watched.page
    site.say(raised(site.alert("lift", Colour.RED, TRAPPED)))
    page.get_by_test_id("alert").locator("a.title").click()
    panel = page.get_by_test_id("alert-panel")
    expect(panel).to_contain_text("立即与轿厢通话")
    expect(panel).to_contain_text("已持续2分钟")
    panel.get_by_role("textbox").fill("<img src=x onerror=alert(1)> 已派人")
    panel.get_by_test_id("acknowledge").click()
    expect(panel).to_contain_text("<img src=x onerror=alert(1)> 已派人")
    expect(panel.get_by_test_id("acknowledge")).to_have_count(0)
    expect(page.get_by_test_id("alert")).to_contain_text("已确认")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def test_nobody_acknowledges_what_they_have_not_seen(browser: Browser, site: Site) -> None:
    alert = site.alert("door", Colour.YELLOW, HELD)
    site.say(raised(alert))
    with watching(browser, site) as watched:
        page = watched.page
        watched.expected += ["ERR_FAILED", "409"]
        page.add_init_script(WITHOUT_WORKER)
        page.route("**/api/v1/live*", lambda route: route.abort())
        page.goto(site.link())
        card = page.get_by_test_id("alert")
        expect(card).to_have_attribute("data-colour", "yellow")
        now = site.clock.now_ms()
        worse = dataclasses.replace(
            alert, revision=2, attention=2, colour=Colour.ORANGE, worsened_at=now
        )
        site.say(raised(worse, StepKind.WORSENED))
        card.get_by_test_id("acknowledge").click()
        expect(page.get_by_text("告警已加重")).to_be_visible()
        expect(card).to_have_attribute("data-colour", "orange")
        expect(card).to_contain_text("待确认")
        assert watched.surprises == []


def test_the_map_is_drawn_and_a_building_opens(drawing_browser: Browser, site: Site) -> None:
    with watching(drawing_browser, site, viewport={"width": 1280, "height": 800}) as watched:
        page = watched.page
        page.goto(site.link())
        canvas = page.get_by_test_id("map").locator("canvas")
        expect(canvas).to_be_visible()
        expect(page.locator(".map-label")).to_have_count(8)
        now = site.clock.now_ms()
        site.say(ColourOutput("jinxiu-b2", now, Colour.RED, Colour.RED, 12, 12))
        expect(page.locator('[data-place="jinxiu-b2"]')).to_have_attribute("data-colour", "red")
        deadline = time.monotonic() + 15
        while _red_share(canvas) < 0.01:
            assert time.monotonic() < deadline, "the building did not turn red"
        page.locator('[data-place="jinxiu-b2"]').click()
        panel = page.get_by_test_id("place-panel")
        expect(panel).to_contain_text("可感知 12 / 12")
        expect(panel.get_by_text("2号楼1单元1号电梯")).to_be_visible()
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto("/map")
        expect(canvas).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert watched.surprises == []


def _red_share(canvas: Locator) -> float:
    picture = cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = cv2.split(picture.astype(int))
    return float(((red > 120) & (red > 2 * green) & (red > 2 * blue)).mean())


def test_red_repeats_until_it_is_acknowledged(browser: Browser, site: Site) -> None:
    with watching(browser, site) as watched:
        page = watched.page
        page.add_init_script(COUNT_TONES)
        page.goto(site.link())
        is_live(page)
        page.get_by_test_id("sound").click()
        until(page, "tones === 1")  # what it sounds like, once
        site.say(raised(site.alert("lift", Colour.RED, TRAPPED)))
        until(page, "tones >= 1 + 3 * 6", seconds=12)
        page.get_by_test_id("acknowledge").click()
        expect(page.get_by_test_id("alert")).to_contain_text("已确认")
        before = page.evaluate("tones")
        page.wait_for_timeout(3_000)
        assert page.evaluate("tones") == before
        assert watched.surprises == []


def test_it_says_that_it_is_blind_and_catches_up_when_the_server_is_back(
    browser: Browser, site: Site
) -> None:
    with watching(browser, site) as watched:
        page = watched.page
        watched.expected += ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"]
        page.goto(site.link())
        is_live(page)
        site.stop()
        expect(page.get_by_test_id("connection")).to_contain_text("正在重连")
        expect(page.get_by_test_id("stale")).to_contain_text("看不到")
        site.start()
        site.say(raised(site.alert("away", Colour.ORANGE, MUTED)))
        expect(page.get_by_test_id("alert")).to_contain_text(MUTED[0], timeout=30_000)
        is_live(page)
        expect(page.get_by_test_id("stale")).to_have_count(0)
        assert watched.surprises == []


@pytest.mark.parametrize("worker", [True, False], ids=["shared worker", "leading tab"])
def test_two_tabs_share_one_connection(browser: Browser, site: Site, *, worker: bool) -> None:
    with watching(browser, site) as watched:
        if not worker:
            watched.context.add_init_script(WITHOUT_WORKER)
        first = watched.page
        first.goto(site.link())
        is_live(first)
        second = watched.context.new_page()
        second.goto("/")
        is_live(second)
        assert site.app.services.hub.clients == 1
        site.say(raised(site.alert("lift", Colour.RED, TRAPPED)))
        for page in (first, second):
            expect(page.get_by_test_id("alert")).to_contain_text(TRAPPED[0])
        if not worker:  # the leader goes, the other takes over
            first.close()
            site.say(raised(site.alert("door", Colour.YELLOW, HELD)))
            expect(second.get_by_text(HELD[0])).to_be_visible(timeout=10_000)
        assert watched.surprises == []


def test_a_process_that_died_is_told(watched: Watched, site: Site) -> None:
    page = watched.page
    is_live(page)
    site.process("collector", "failed", 0, "exit status 9")
    expect(page.get_by_text(re.compile("collector 已停止.*exit status 9"))).to_be_visible()
    site.process("collector", "running", 1)
    expect(page.get_by_text("collector 已重启（第 1 次）")).to_be_visible()


def test_without_webgl_there_is_a_plan(watched: Watched) -> None:
    plan = watched.page.get_by_test_id("plan")
    expect(plan.locator(".block")).to_have_count(8)
    plan.locator(".block").first.focus()
    watched.page.keyboard.press("Enter")
    expect(watched.page.get_by_test_id("place-panel")).to_be_visible()
