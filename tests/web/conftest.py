"""Fixtures: one Chromium for all, and an API of a test's own over the simulated community."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from core.storage.records import Records
from dashboard_api.console import STATIC
from tests.web.harness import CHROMIUM, WITH_WEBGL, WITHOUT_WEBGL, Site, Watched, serving, watching


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated, empty records to copy."""
    path = tmp_path_factory.mktemp("records") / "template.sqlite"
    Records(f"sqlite:///{path}").open().close()
    return path


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright's driver."""
    if not (STATIC / "index.html").is_file():
        pytest.fail("the console is not built: run `npm ci && npm run build` in web/")
    expect.set_options(timeout=15_000)
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium without WebGL: the console shows its flat plan."""
    launched = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_WEBGL)
    yield launched
    launched.close()


@pytest.fixture
def drawing_browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium that draws WebGL in software."""
    launched = playwright.chromium.launch(executable_path=CHROMIUM, args=WITH_WEBGL)
    yield launched
    launched.close()


@pytest.fixture
def site(tmp_path: Path, template: Path) -> Iterator[Site]:
    """An API over the community, all of it heard and well."""
    with serving(tmp_path, template=template) as started:
        yield started


@pytest.fixture
def watched(browser: Browser, site: Site) -> Iterator[Watched]:
    """A signed-in page, 1920 by 1080, in Chinese; nothing unexpected may happen in it."""
    with watching(browser, site) as watched:
        watched.page.goto(site.link())
        yield watched
        assert watched.surprises == []
