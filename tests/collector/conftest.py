"""Fixtures: the collector's parts over one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.office import Office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """The parts of one collector; a crash at the end, as always."""
    opened = Office(tmp_path)
    yield opened
    opened.close()
