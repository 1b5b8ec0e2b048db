"""The built console: served, cached, deep-linked; or a page that says how to build it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.harness import Running, running

HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("static")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("<!doctype html><title>console</title>")
    (folder / "assets" / "index-abc123.js").write_text("export const answer = 42;" * 200)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder.parent / "secret.txt").write_text("secret")
    data = tmp_path_factory.mktemp("data")
    with running(data, template=template, static=folder) as run:
        yield run.client()


def test_pages_are_checked_again_each_time(console: httpx.Client) -> None:
    page = console.get("/")
    assert "console" in page.text
    assert page.headers["cache-control"] == "no-cache"
    again = console.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    assert "default-src 'self'" in again.headers["content-security-policy"]


def test_hashed_files_are_kept_for_ever_and_compressed(console: httpx.Client) -> None:
    script = console.get("/assets/index-abc123.js")
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-encoding"] == "gzip"
    assert script.headers["content-type"].startswith("text/javascript")
    again = console.get(
        "/assets/index-abc123.js", headers={"If-None-Match": script.headers["etag"]}
    )
    assert again.status_code == 304
    assert console.get("/favicon.svg").headers["cache-control"] == "no-cache"


def test_deep_links_get_the_console_and_missing_files_do_not(console: httpx.Client) -> None:
    assert "console" in console.get("/devices/lift-1", headers=HTML).text
    assert console.get("/assets/gone.js", headers=HTML).status_code == 404
    assert console.get("/gone.png").status_code == 404
    answer = console.get("/api/v1/gone", headers=HTML)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert console.post("/").status_code == 405


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "//etc/passwd", "/%00"]
)
def test_nothing_outside_is_served(console: httpx.Client, path: str) -> None:
    answer = console.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_without_a_console_a_page_says_how_to_build_it(tmp_path: Path, template: Path) -> None:
    (tmp_path / "empty").mkdir()
    with running(tmp_path, template=template, static=tmp_path / "empty") as run:
        page = run.client().get("/")
        assert page.status_code == 503
        assert "make run" in page.text


def test_the_link_page_needs_no_console(estate: Running) -> None:
    page = estate.client().get("/sign-in")
    assert page.status_code == 410
    assert page.headers["content-type"].startswith("text/html")
