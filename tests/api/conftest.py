"""Fixtures: an API of a test's own, and one that is only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.storage.records import Records
from tests.api.harness import Running, populate, running


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated, empty records to copy."""
    path = tmp_path_factory.mktemp("records") / "template.sqlite"
    Records(f"sqlite:///{path}").open().close()
    return path


@pytest.fixture
def run(tmp_path: Path, template: Path) -> Iterator[Running]:
    """An API of the test's own, with nothing in it."""
    with running(tmp_path, template=template) as started:
        yield started


@pytest.fixture(scope="package")
def estate(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Running]:
    """An API over a small estate; tests only read it."""
    with running(tmp_path_factory.mktemp("estate"), template=template) as started:
        populate(started)
        yield started


@pytest.fixture(scope="package")
def reader(estate: Running) -> httpx.Client:
    """The administrator's browser, reading the small estate."""
    return estate.signed_in()


@pytest.fixture(scope="module")
def fuzzed(
    tmp_path_factory: pytest.TempPathFactory, template: Path
) -> Iterator[tuple[Running, httpx.Client]]:
    """An API whose rows may be changed at random, and the administrator's browser."""
    with running(tmp_path_factory.mktemp("fuzzed"), template=template) as started:
        populate(started)
        yield started, started.signed_in()
