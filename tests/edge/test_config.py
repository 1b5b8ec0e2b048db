"""The edge's file: what it may say of the outbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.contracts.errors import SettingsError
from core.runtime.settings import Settings
from core.runtime.settings import parse as parse_settings
from core.storage.journal import least_budget
from edge.config import from_raw
from edge.outbox import JOURNAL_BYTES, LEAST_BYTES, WINDOW

FILE = {"edge": "e", "site": "s", "drivers": []}


def test_the_outbox_has_the_size_that_the_file_says(tmp_path: Path) -> None:
    assert from_raw(FILE, "edge.yaml", tmp_path).journal_bytes == JOURNAL_BYTES
    small = from_raw({**FILE, "journal_bytes": LEAST_BYTES}, "edge.yaml", tmp_path)
    assert small.journal_bytes == LEAST_BYTES > least_budget(WINDOW)


def test_an_outbox_that_is_too_small_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"journal_bytes.* 1048576"):
        from_raw({**FILE, "journal_bytes": LEAST_BYTES - 1}, "edge.yaml", tmp_path)


def test_a_log_that_is_too_small_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"collector\.journal_bytes.* 1048576"):
        parse_settings(Settings, {"collector": {"journal_bytes": 20_000}}, "settings.yaml")
