"""Sign-in, languages, devices, system, and small screens, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from core.storage.records import ledger, projection
from tests.web.accounts import accounts
from tests.web.harness import LIFT, METER, Site, Watched, readings, trouble, until, watching

pytestmark = pytest.mark.chromium

PASSWORD = "plenty of lanterns"


def test_a_link_signs_in_once_and_the_password_from_then_on(browser: Browser, site: Site) -> None:
    with watching(browser, site) as watched:
        page = watched.page
        watched.expected += ["401", "410"]
        link = site.link()
        page.goto(link)
        expect(page).to_have_url(f"{site.url}/")
        page.get_by_test_id("password-banner").get_by_role("button", name="现在设置").click()
        fields = page.get_by_role("dialog").locator("input[type=password]")
        fields.nth(0).fill("short")
        fields.nth(1).fill("short")
        page.get_by_role("button", name="保存").click()
        expect(page.get_by_role("alert")).to_contain_text("至少 10 个字符")
        for number in (0, 1):
            fields.nth(number).fill(PASSWORD)
        page.get_by_role("button", name="保存").click()
        expect(page.get_by_test_id("password-banner")).to_have_count(0)
        page.get_by_test_id("user-menu").click()
        page.get_by_test_id("sign-out").click()
        page.get_by_label("用户名").fill("admin")
        page.get_by_label("密码").fill("wrong password")
        page.get_by_role("button", name="登录").click()
        expect(page.get_by_role("alert")).to_contain_text("用户名或密码不对")
        page.get_by_label("密码").fill(PASSWORD)
        page.get_by_role("button", name="登录").click()
        expect(page.get_by_test_id("coverage")).to_be_visible()
        page.goto(link)
        expect(page.get_by_role("heading")).to_contain_text("no longer works")
        assert watched.surprises == []


def test_a_session_that_ends_asks_to_sign_in_again(browser: Browser, site: Site) -> None:
    with watching(browser, site) as watched:
        watched.expected += ["401"]
        watched.page.goto(site.link())
        expect(watched.page.get_by_test_id("connection")).to_have_attribute("data-phase", "live")
        watched.context.clear_cookies()
        watched.page.get_by_role("link", name="设备").click()
        expect(watched.page.get_by_text("会话已结束")).to_be_visible()
        assert watched.surprises == []


def test_the_language_is_the_browsers_until_it_is_switched(browser: Browser, site: Site) -> None:
    for locale, heading, other in (("zh-CN", "告警", "Alerts"), ("en-GB", "Alerts", "告警")):
        with watching(browser, site, locale=locale) as watched:
            page = watched.page
            page.goto(site.link())
            expect(page.get_by_role("heading", level=1)).to_have_text(heading)
            page.get_by_test_id("language").click()
            expect(page.get_by_role("heading", level=1)).to_have_text(other)
            page.reload()
            expect(page.get_by_role("heading", level=1)).to_have_text(other)
            assert page.locator("html").get_attribute("lang") == (
                "en" if other == "Alerts" else "zh-CN"
            )
            assert watched.surprises == []


def test_a_device_shows_units_words_and_gaps(watched: Watched, site: Site) -> None:
    readings(site)
    page = watched.page
    page.goto(f"/devices/{METER}")
    latest = page.get_by_test_id("latest")
    expect(latest).to_contain_text("累计电能")
    expect(latest).to_contain_text(re.compile(r"12,3\d\d[.\d]* kWh"))
    chart = page.get_by_test_id("chart").locator("canvas")
    expect(chart).to_be_visible()
    page.get_by_role("button", name="24 小时").click()
    page.get_by_role("button", name="累计电能").click()
    expect(page.get_by_text("断开处表示没有收到数据")).to_be_visible()
    page.goto(f"/devices/{LIFT}")
    expect(page.get_by_test_id("latest")).to_contain_text("轿厢有人")
    page.get_by_test_id("language").click()
    expect(page.get_by_test_id("latest")).to_contain_text("142 kg")
    expect(page.get_by_test_id("latest")).to_contain_text("normal")
    page.goto("/devices/nobody")
    watched.expected += ["404"]
    expect(page.get_by_role("alert")).to_contain_text("no such device")


def test_devices_are_found(watched: Watched, site: Site) -> None:
    page = watched.page
    page.goto("/devices")
    expect(page.get_by_test_id("device-row")).to_have_count(100)
    page.get_by_test_id("search").fill(METER)
    expect(page.get_by_test_id("device-row")).to_have_count(1)
    page.get_by_test_id("search").fill("")
    page.get_by_label("类别").select_option("camera")
    expect(page.get_by_test_id("device-row")).to_have_count(8)
    page.get_by_test_id("device-row").first.click()
    expect(page).to_have_url(re.compile("/devices/jinxiu-.*camera"))


def test_the_system_page_tells_refusals_as_text(watched: Watched, site: Site) -> None:
    trouble(site)
    page = watched.page
    page.goto("/system")
    expect(page.get_by_test_id("deadletters")).to_contain_text("data.value: expected a number")
    expect(page.get_by_test_id("deadletters")).to_contain_text("warm <b>or</b> not")
    expect(page.get_by_test_id("losses")).to_contain_text("超出缓存预算")
    expect(page.get_by_test_id("edges")).to_contain_text("离线")
    expect(page.get_by_test_id("processes")).to_contain_text("edge jinxiu-south")


def test_the_system_page_adds_up(watched: Watched, site: Site) -> None:
    page = watched.page
    page.goto("/system")
    panel = page.get_by_test_id("conservation")
    expect(panel).to_contain_text("还没有账目")
    trouble(site)
    accounts(site)
    page.reload()
    month = page.get_by_test_id("law-d30")
    expect(month).to_have_text(
        re.compile(r"291,060.*287,968.*72.*2,900.*120.*分毫不差.*逐日核对：2 / 2 天", re.DOTALL)
    )
    way = page.get_by_test_id("on-its-way")
    expect(way).to_contain_text("离线，不详")
    expect(way.locator("tr", has_text="jinxiu-gate")).to_contain_text("120")
    page.get_by_test_id("language").click()
    expect(month).to_contain_text("exact")


def test_the_system_page_is_loud_where_it_does_not_add_up(watched: Watched, site: Site) -> None:
    accounts(site, missing=7, held=95_900)
    page = watched.page
    page.goto("/system")
    month = page.get_by_test_id("law-d30")
    expect(month).to_contain_text("7 条收到后不知去向")
    expect(month).to_contain_text("入库 95,976，现存 95,900")
    expect(page.get_by_test_id("law-h24").get_by_text("不知去向")).to_have_count(0)
    month.get_by_role("link", name="查看死信").click()
    expect(page.get_by_test_id("deadletters")).to_be_in_viewport()


def test_the_system_page_says_what_a_dead_collector_leaves_unknown(
    watched: Watched, site: Site
) -> None:
    accounts(site, held=96_000, waiting=0)
    now = site.clock.now_ms()
    with site.records.session() as session:
        ledger.succeed(session, "jinxiu", "", "first", now - 2 * ledger.DAY_MS)
        ledger.succeed(session, "jinxiu", "first", "second", now - ledger.DAY_MS)
    page = watched.page
    page.goto("/system")
    month = page.get_by_test_id("law-d30")
    expect(month).to_contain_text("分毫不差")
    expect(month).to_contain_text("1 份日志随采集器中断")
    expect(month).to_contain_text("24 条尚未结账")
    expect(page.get_by_test_id("law-today")).not_to_contain_text("中断")
    page.get_by_test_id("language").click()
    expect(month).to_contain_text("24 held that nobody has settled")


def test_a_collector_that_stands_still_makes_the_picture_grey_and_says_so(
    watched: Watched, site: Site
) -> None:
    accounts(site)
    health = site.app.services.health
    with site.records.session() as session:
        projection.save_cursor(session, "rules/log", 1, None)
    health.forget()
    health.parts()
    page = watched.page
    page.goto("/")
    building = page.locator('[data-place="jinxiu-b1"]').first
    expect(building).to_have_attribute("data-colour", "green")
    site.skipped_s = 60
    health.forget()
    expect(page.get_by_test_id("stale")).to_contain_text("的采集器自")
    expect(building).to_have_attribute("data-colour", "grey")
    page.goto("/system")
    expect(page.get_by_test_id("edges")).not_to_contain_text("在线")
    expect(page.get_by_test_id("conservation")).to_contain_text("此后那里未再记账")
    with site.records.session() as session:
        projection.save_cursor(session, "rules/log", 2, None)
    page.goto("/")
    expect(page.get_by_test_id("stale")).to_have_count(0)
    expect(building).to_have_attribute("data-colour", "green")


def test_accounts_that_cannot_be_read_are_said_to_be_old(watched: Watched, site: Site) -> None:
    accounts(site)
    page = watched.page
    watched.expected += ["503"]
    page.clock.install()
    page.route("**/api/v1/conservation*", lambda route: route.fulfill(status=503, body="{}"))
    page.goto("/system")
    panel = page.get_by_test_id("conservation")
    expect(panel.get_by_role("alert")).to_contain_text("账目读不出来")
    page.unroute("**/api/v1/conservation*")
    page.clock.run_for(11_000)
    expect(panel.get_by_test_id("law-today")).to_contain_text("分毫不差")
    expect(panel.get_by_role("alert")).to_have_count(0)


def test_grey_is_told_and_a_snapshot_is_seen_on_demand(watched: Watched, site: Site) -> None:
    trouble(site)
    page = watched.page
    expect(page.get_by_test_id("coverage")).to_contain_text("104 台设备中有 61 台")
    expect(page.locator('[data-place="jinxiu-b5"]')).to_have_attribute("data-colour", "grey")
    page.get_by_text("消防通道被占用").click()
    page.get_by_role("button", name="查看抓拍").click()
    picture = page.get_by_role("img", name="抓拍画面")
    expect(picture).to_be_visible()
    until(page, "document.querySelector('img.picture').naturalWidth === 320")


def _fits(page: Page) -> bool:
    return bool(
        page.evaluate(
            "document.documentElement.scrollWidth <= innerWidth && "
            "document.documentElement.scrollHeight <= innerHeight"
        )
    )


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_nothing_scrolls_sideways_on_a_phone(browser: Browser, site: Site, locale: str) -> None:
    trouble(site)
    readings(site)
    phone = {"width": 390, "height": 844}
    with watching(
        browser, site, viewport=phone, locale=locale, is_mobile=True, has_touch=True
    ) as w:
        page = w.page
        page.goto(site.link())
        expect(page.get_by_test_id("alert")).to_have_count(5)
        assert _fits(page)
        page.get_by_test_id("alert").first.locator("a.title").click()
        expect(page.get_by_test_id("alert-panel")).to_be_visible()
        assert _fits(page)
        page.get_by_test_id("close-panel").click()
        for path, sign in (
            ("/map", "plan"),
            ("/devices", "search"),
            (f"/devices/{METER}", "chart"),
            ("/system", "processes"),
        ):
            page.goto(path)
            expect(page.get_by_test_id(sign)).to_be_visible()
            assert _fits(page), path
        assert w.surprises == []


def test_the_whole_page_is_visible_on_a_desktop(watched: Watched, site: Site) -> None:
    trouble(site)
    expect(watched.page.get_by_test_id("alert")).to_have_count(5)
    assert _fits(watched.page)
