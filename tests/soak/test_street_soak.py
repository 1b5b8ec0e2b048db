"""A simulated hour of a full street, about 20,000 events a second for twelve minutes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.runtime.settings import Settings
from estate.street import StreetNode, StreetRun

pytestmark = pytest.mark.soak


def test_an_hour_of_a_whole_street_is_stored_exactly(tmp_path: Path) -> None:
    hours = float(os.environ.get("SOAK_STREET_HOURS", "1"))
    run = StreetRun(share=1.0, seconds=round(hours * 3600), speed=5)
    audit = StreetNode(Settings(data=tmp_path), run, tmp_path / "street", print).play()
    print("\n".join(audit.lines()))
    assert audit.sent.total() > 12_000_000 * hours
    assert audit.exact
